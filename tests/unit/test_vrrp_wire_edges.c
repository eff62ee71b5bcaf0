/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the captures of test_vrrp_wire.c do not show: leftovers behind the ends of lists, the rare
 * combinations, and values at their limits. Most of these stand for a mutant that survived.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/vrrp_wire.h"

static struct vrrp_wire_conf ours, theirs;
static struct vrrp_packet packet;
static struct vrrp_advert advert;
static uint8_t bytes[VRRP_WIRE_BYTES_MAX];

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	assert_true(ip_parse(text, &a));
	return a;
}

static struct vrrp_wire_conf make(uint8_t version, bool six)
{
	struct vrrp_wire_conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.version = version;
	conf.vrid = 51;
	conf.family = six ? IP_V6 : IP_V4;
	conf.advert_int_cs = 100;
	conf.ttl_min = 255;
	conf.nodes_count = 2;
	conf.nodes[0] = addr(six ? "fe80::1" : "198.51.100.1");
	conf.nodes[1] = addr(six ? "fe80::2" : "198.51.100.2");
	conf.vips_count = 1;
	conf.vips[0] = addr(six ? "2001:db8::100" : "198.51.100.100");
	return conf;
}

/* Node 0 sends to node 1, which is us. */
static void set_up(uint8_t version, bool six)
{
	theirs = make(version, six);
	ours = make(version, six);
	ours.self = 1;
	memset(&advert, 0xff, sizeof(advert)); /* whatever was there before */
}

static enum vrrp_verdict exchange(enum vrrp_checksum checksum)
{
	packet.source = theirs.nodes[0];
	packet.destination = ours.nodes[1];
	packet.ttl = 255;
	packet.payload = bytes;
	packet.size =
		vrrp_wire_encode(&theirs, 100, checksum, &packet.destination, bytes, sizeof(bytes));
	assert_true(packet.size > 0);
	return vrrp_wire_decode(&ours, &packet, &advert);
}

static void nothing_remains_of_an_earlier_advert(void **state)
{
	(void)state;
	set_up(3, false);
	assert_int_equal(exchange(VRRP_CHECKSUM_PSEUDO), VRRP_OK);
	assert_int_equal(advert.family, IP_V4);
	assert_int_equal(advert.checksum, VRRP_CHECKSUM_PSEUDO);
	for (size_t i = 4; i < sizeof(advert.addresses[0].bytes); i++)
		assert_int_equal(advert.addresses[0].bytes[i], 0);
	assert_memory_equal(&advert.addresses[0], &ours.vips[0], sizeof(ours.vips[0]));
	assert_int_equal(exchange(VRRP_CHECKSUM_PLAIN), VRRP_OK);
	assert_int_equal(advert.checksum, VRRP_CHECKSUM_PLAIN);
	/* The second address of the first advert is not one of the second. */
	theirs.vips[theirs.vips_count++] = addr("198.51.100.101");
	ours.vips[ours.vips_count++] = addr("198.51.100.101");
	assert_int_equal(exchange(VRRP_CHECKSUM_PSEUDO), VRRP_OK);
	theirs.vips_count = 1;
	assert_int_equal(exchange(VRRP_CHECKSUM_PSEUDO), VRRP_OTHER_ADDRESSES);
}

static void what_lies_behind_the_lists_of_a_file_counts_for_nothing(void **state)
{
	(void)state;
	set_up(3, false);
	ours.nodes[2] = addr("198.51.100.3");
	theirs.nodes[0] = addr("198.51.100.3");
	assert_int_equal(exchange(VRRP_CHECKSUM_PSEUDO), VRRP_UNKNOWN_SOURCE);
	assert_int_equal(advert.node, -1);
	set_up(2, false);
	theirs.advert_int_cs = 200;
	theirs.vips[0] = ours.vips[1] = addr("198.51.100.101");
	assert_int_equal(exchange(VRRP_CHECKSUM_PLAIN), VRRP_STRANGE_INTERVAL);
}

static void every_address_of_both_lists_is_compared(void **state)
{
	(void)state;
	set_up(2, false);
	ours.vips[ours.vips_count++] = addr("198.51.100.101");
	/* The first one alone is common: no stranger. */
	theirs.advert_int_cs = 200;
	assert_int_equal(exchange(VRRP_CHECKSUM_PLAIN), VRRP_OTHER_INTERVAL);
	theirs.advert_int_cs = 100;
	/* Our first one is missing. */
	theirs.vips[0] = addr("198.51.100.101");
	assert_int_equal(exchange(VRRP_CHECKSUM_PLAIN), VRRP_OTHER_ADDRESSES);
	/* Their first one is too many. */
	set_up(2, false);
	theirs.vips_count = 2;
	theirs.vips[0] = addr("198.51.100.99");
	theirs.vips[1] = ours.vips[0];
	assert_int_equal(exchange(VRRP_CHECKSUM_PLAIN), VRRP_OTHER_ADDRESSES);
}

static void over_ipv6_the_checksum_has_its_pseudo_header_always(void **state)
{
	uint32_t sum = 0;

	(void)state;
	set_up(3, true);
	/* Whatever is asked for. */
	assert_int_equal(exchange(VRRP_CHECKSUM_PLAIN), VRRP_OK);
	/* And one without is wrong. */
	bytes[6] = bytes[7] = 0;
	for (size_t i = 0; i < packet.size; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	bytes[6] = (uint8_t)(~sum >> 8);
	bytes[7] = (uint8_t)~sum;
	assert_int_equal(vrrp_wire_decode(&ours, &packet, &advert), VRRP_BAD_CHECKSUM);
}

static void a_wrong_checksum_is_called_that(void **state)
{
	(void)state;
	for (int version = 2; version <= 3; version++) {
		set_up((uint8_t)version, false);
		assert_int_equal(exchange(VRRP_CHECKSUM_PLAIN), VRRP_OK);
		bytes[6] ^= 1;
		assert_int_equal(vrrp_wire_decode(&ours, &packet, &advert), VRRP_BAD_CHECKSUM);
		assert_int_equal(vrrp_wire_grade(VRRP_BAD_CHECKSUM), VRRP_GRADE_REFUSED);
	}
}

static void a_packet_of_two_families_is_not_ours(void **state)
{
	(void)state;
	set_up(3, false);
	exchange(VRRP_CHECKSUM_PSEUDO);
	packet.destination = addr("fe80::2");
	assert_int_equal(vrrp_wire_decode(&ours, &packet, &advert), VRRP_OTHER_FAMILY);
	set_up(3, false);
	exchange(VRRP_CHECKSUM_PSEUDO);
	packet.source = addr("fe80::1");
	assert_int_equal(vrrp_wire_decode(&ours, &packet, &advert), VRRP_OTHER_FAMILY);
}

static void the_longest_intervals_are_exact(void **state)
{
	(void)state;
	set_up(2, false);
	theirs.advert_int_cs = ours.advert_int_cs = 25500;
	assert_int_equal(exchange(VRRP_CHECKSUM_PLAIN), VRRP_OK);
	assert_int_equal(bytes[5], 255);
	assert_int_equal(advert.advert_int_cs, 25500);
	set_up(3, false);
	theirs.advert_int_cs = ours.advert_int_cs = 4095;
	assert_int_equal(exchange(VRRP_CHECKSUM_PSEUDO), VRRP_OK);
	assert_int_equal(advert.advert_int_cs, 4095);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_remains_of_an_earlier_advert),
		cmocka_unit_test(what_lies_behind_the_lists_of_a_file_counts_for_nothing),
		cmocka_unit_test(every_address_of_both_lists_is_compared),
		cmocka_unit_test(over_ipv6_the_checksum_has_its_pseudo_header_always),
		cmocka_unit_test(a_wrong_checksum_is_called_that),
		cmocka_unit_test(a_packet_of_two_families_is_not_ours),
		cmocka_unit_test(the_longest_intervals_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
