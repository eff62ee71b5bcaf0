/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/refusal.h"

static struct ip_addr source(unsigned number)
{
	return (struct ip_addr){.family = IP_V4,
				.bytes = {203, 0, (uint8_t)(number >> 8), (uint8_t)number}};
}

static void each_verdict_of_each_source_has_a_count_of_its_own(void **state)
{
	struct refusals refusals = {0};
	struct ip_addr a = source(1), b = source(2);

	(void)state;
	assert_true(refusal_note(&refusals, VRRP_BAD_TTL, &a, 1, 10));
	assert_false(refusal_note(&refusals, VRRP_BAD_TTL, &a, 1, 20));
	assert_true(refusal_note(&refusals, VRRP_BAD_CHECKSUM, &a, 1, 30));
	assert_true(refusal_note(&refusals, VRRP_BAD_TTL, &b, -1, 40));
	assert_int_equal(refusals.count, 3);
	assert_int_equal(refusals.list[0].count, 2);
	assert_int_equal(refusals.list[0].last_us, 20);
	assert_int_equal(refusals.list[2].node, -1);
}

static void a_flood_of_sources_is_counted_in_one_number(void **state)
{
	struct refusals refusals = {0};

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		struct ip_addr from = source(i);

		refusal_note(&refusals, VRRP_UNKNOWN_SOURCE, &from, -1, i);
	}
	assert_int_equal(refusals.count, REFUSALS_MAX);
	assert_int_equal(refusals.others, 1000 - REFUSALS_MAX);
}

static void a_place_is_taken_from_the_source_that_was_silent_the_longest(void **state)
{
	struct refusals refusals = {0};
	struct ip_addr late = source(5000);

	(void)state;
	for (unsigned i = 0; i < REFUSALS_MAX; i++) {
		struct ip_addr from = source(i);

		refusal_note(&refusals, VRRP_BAD_TTL, &from, -1, i == 7 ? 1 : 100);
	}
	assert_false(refusal_note(&refusals, VRRP_BAD_TTL, &late, -1, REFUSAL_OLD_US));
	assert_int_equal(refusals.others, 1);
	assert_true(refusal_note(&refusals, VRRP_BAD_TTL, &late, -1, REFUSAL_OLD_US + 1));
	assert_int_equal(refusals.count, REFUSALS_MAX);
	assert_true(ip_equal(&refusals.list[7].source, &late));
	assert_int_equal(refusals.list[7].count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_verdict_of_each_source_has_a_count_of_its_own),
		cmocka_unit_test(a_flood_of_sources_is_counted_in_one_number),
		cmocka_unit_test(a_place_is_taken_from_the_source_that_was_silent_the_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
