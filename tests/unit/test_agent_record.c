/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/agent_record.h"
#include "agent/vrrp_fsm.h"

static struct ip_addr v4(uint8_t last)
{
	return (struct ip_addr){.family = IP_V4, .bytes = {198, 51, 100, last}};
}

static void fill(struct agent_record *record, int addresses, int wills)
{
	memset(record, 0, sizeof *record);
	record->id = 77;
	strcpy(record->name, "VI_1");
	strcpy(record->interface, "eth0");
	record->vrid = 51;
	record->version = 3;
	record->state = VRRP_MASTER;
	record->priority = 90;
	record->handed_over = addresses != 1;
	strcpy(record->vmac, "vrrp.51");
	record->socket = 3;
	record->advert_int_us = 300000;
	record->last_advert_us = UINT64_C(0x123456789abcdef);
	record->since_us = 5;
	record->source = v4(1);
	record->ifindex = 2;
	record->addresses_count = addresses;
	for (int i = 0; i < addresses; i++) {
		record->addresses[i].ifindex = 2;
		record->addresses[i].prefix.addr = v4((uint8_t)(100 + i));
		record->addresses[i].prefix.prefix_len = 32;
	}
	record->wills_count = wills;
	for (int i = 0; i < wills; i++) {
		record->wills[i].destination = v4((uint8_t)(2 + i));
		record->wills[i].size = AGENT_RECORD_WILL_BYTES_MAX;
		memset(record->wills[i].bytes, i + 1, AGENT_RECORD_WILL_BYTES_MAX);
	}
}

static void a_record_comes_back_as_it_was(void **state)
{
	static const int sizes[][2] = {{0, 0}, {1, 1}, {CONF_VIPS_MAX, CONF_NODES_MAX}};
	static uint8_t bytes[AGENT_RECORD_BYTES_MAX];
	static struct agent_record before, after;

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t size;

		fill(&before, sizes[i][0], sizes[i][1]);
		size = agent_record_encode(&before, bytes, sizeof bytes);
		assert_true(size > 0);
		assert_true(agent_record_decode(bytes, size, &after));
		assert_memory_equal(&before, &after, sizeof before);
	}
}

static void a_record_that_is_cut_or_too_long_is_none(void **state)
{
	static uint8_t bytes[AGENT_RECORD_BYTES_MAX];
	static struct agent_record record;
	size_t size;

	(void)state;
	fill(&record, 3, 2);
	size = agent_record_encode(&record, bytes, sizeof bytes);
	for (size_t cut = 0; cut < size; cut++) {
		/* In memory of exactly its size, so that a sanitizer sees one byte too many. */
		uint8_t *exact = malloc(cut ? cut : 1);

		memcpy(exact, bytes, cut);
		assert_false(agent_record_decode(exact, cut, &record));
		free(exact);
	}
	assert_false(agent_record_decode(bytes, size + 1, &record));
}

static void numbers_that_cannot_be_are_refused(void **state)
{
	static uint8_t bytes[AGENT_RECORD_BYTES_MAX];
	static struct agent_record record;
	size_t size;

	(void)state;
	fill(&record, 1, 1);
	record.addresses[0].ifindex = 0;
	size = agent_record_encode(&record, bytes, sizeof bytes);
	assert_false(agent_record_decode(bytes, size, &record));

	fill(&record, 1, 1);
	record.addresses[0].prefix.prefix_len = 33;
	size = agent_record_encode(&record, bytes, sizeof bytes);
	assert_false(agent_record_decode(bytes, size, &record));

	fill(&record, 1, 1);
	record.source.family = 5;
	size = agent_record_encode(&record, bytes, sizeof bytes);
	assert_false(agent_record_decode(bytes, size, &record));

	fill(&record, 1, 1);
	record.ifindex = -1;
	size = agent_record_encode(&record, bytes, sizeof bytes);
	assert_false(agent_record_decode(bytes, size, &record));

	/* Counts beyond the arrays: the two bytes before the first address. */
	fill(&record, 1, 1);
	size = agent_record_encode(&record, bytes, sizeof bytes);
	for (size_t at = 0; at + 1 < size; at++) {
		uint8_t kept[2] = {bytes[at], bytes[at + 1]};

		bytes[at] = bytes[at + 1] = 0xff;
		(void)agent_record_decode(bytes, size, &record); /* must not write beyond */
		assert_true(record.addresses_count <= UINT16_MAX);
		bytes[at] = kept[0];
		bytes[at + 1] = kept[1];
	}
}

static void too_little_room_is_said(void **state)
{
	static struct agent_record record;
	uint8_t bytes[64];

	(void)state;
	fill(&record, 3, 2);
	assert_int_equal(agent_record_encode(&record, bytes, sizeof bytes), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_comes_back_as_it_was),
		cmocka_unit_test(a_record_that_is_cut_or_too_long_is_none),
		cmocka_unit_test(numbers_that_cannot_be_are_refused),
		cmocka_unit_test(too_little_room_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
