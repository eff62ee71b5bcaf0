/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/vrrp_wire.h"
#include "tests/unit/vrrp_captures.h"

struct packet_bytes {
	uint8_t bytes[VRRP_WIRE_BYTES_MAX + 64];
	size_t size;
};

static void from_hex(const char *hex, struct packet_bytes *ret)
{
	ret->size = strlen(hex) / 2;
	assert_true(ret->size <= sizeof(ret->bytes));
	for (size_t i = 0; i < ret->size; i++) {
		unsigned byte;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
		ret->bytes[i] = (uint8_t)byte;
	}
}

/* What a socket hands up: addresses and TTL from the IP header, the message behind it. */
static struct vrrp_packet open_packet(const struct packet_bytes *raw)
{
	struct vrrp_packet packet;

	memset(&packet, 0, sizeof(packet));
	if (raw->bytes[0] >> 4 == 4) {
		packet.source.family = packet.destination.family = IP_V4;
		memcpy(packet.source.bytes, raw->bytes + 12, 4);
		memcpy(packet.destination.bytes, raw->bytes + 16, 4);
		packet.ttl = raw->bytes[8];
		packet.payload = raw->bytes + 20;
		packet.size = raw->size - 20;
	} else {
		packet.source.family = packet.destination.family = IP_V6;
		memcpy(packet.source.bytes, raw->bytes + 8, 16);
		memcpy(packet.destination.bytes, raw->bytes + 24, 16);
		packet.ttl = raw->bytes[7];
		packet.payload = raw->bytes + 40;
		packet.size = raw->size - 40;
	}
	return packet;
}

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	assert_true(ip_parse(text, &a));
	return a;
}

/* web2's view of an instance with these parameters. */
static struct vrrp_wire_conf conf_like(const struct capture *c, const struct vrrp_packet *packet)
{
	static const char *const v4[] = {"198.51.100.100", "198.51.100.101", "198.51.100.102"};
	static const char *const v6[] = {"fe80::100", "2001:db8::100"};
	struct vrrp_wire_conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.version = c->version;
	conf.vrid = 51;
	conf.family = packet->source.family;
	conf.auth_pass = c->auth_type == 1;
	if (conf.auth_pass)
		memcpy(conf.auth_data, "s3cret12", 8);
	conf.advert_int_cs = c->advert_int_cs;
	conf.ttl_min = 255;
	conf.self = 1;
	conf.nodes_count = 2;
	conf.nodes[0] = packet->source;
	conf.nodes[1] = addr(conf.family == IP_V4 ? "198.51.100.2" : "2001:db8::2");
	conf.vips_count = c->addresses;
	for (int i = 0; i < c->addresses; i++)
		conf.vips[i] = addr(conf.family == IP_V4 ? v4[i] : v6[i]);
	return conf;
}

static void every_captured_advert_of_keepalived_is_read(void **state)
{
	static struct vrrp_advert advert;

	(void)state;
	for (size_t i = 0; i < sizeof(captures) / sizeof(captures[0]); i++) {
		const struct capture *c = &captures[i];
		struct packet_bytes raw;
		struct vrrp_packet packet;
		struct vrrp_wire_conf conf;
		enum vrrp_verdict verdict;

		from_hex(c->hex, &raw);
		packet = open_packet(&raw);
		conf = conf_like(c, &packet);
		assert_int_equal(vrrp_wire_vrid(packet.payload, packet.size), 51);
		verdict = vrrp_wire_decode(&conf, &packet, &advert);
		if (verdict != c->verdict)
			fail_msg("%s: %s", c->name, vrrp_wire_verdict_name(verdict));
		if (verdict == VRRP_BAD_TTL) {
			conf.ttl_min = 0;
			verdict = vrrp_wire_decode(&conf, &packet, &advert);
			assert_int_equal(verdict, VRRP_OK);
		}
		assert_int_equal(advert.node, 0);
		assert_int_equal(advert.version, c->version);
		assert_int_equal(advert.priority, c->priority);
		assert_int_equal(advert.auth_type, c->auth_type);
		assert_int_equal(advert.advert_int_cs, c->advert_int_cs);
		assert_int_equal(advert.addresses_count, c->addresses);
		assert_int_equal(advert.checksum, c->checksum);
		for (int j = 0; j < c->addresses; j++)
			assert_true(ip_equal(&advert.addresses[j], &conf.vips[j]));
	}
}

static void what_we_send_is_what_keepalived_sends_to_the_byte(void **state)
{
	uint8_t bytes[VRRP_WIRE_BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(captures) / sizeof(captures[0]); i++) {
		const struct capture *c = &captures[i];
		struct packet_bytes raw;
		struct vrrp_packet packet;
		struct vrrp_wire_conf conf;
		size_t size;

		if (c->auth_type == 2)
			continue; /* AH is not spoken */
		from_hex(c->hex, &raw);
		packet = open_packet(&raw);
		conf = conf_like(c, &packet);
		conf.self = 0;
		size = vrrp_wire_encode(&conf, c->priority, VRRP_CHECKSUM_PSEUDO,
					&packet.destination, bytes, sizeof(bytes));
		assert_int_equal(size, packet.size);
		if (memcmp(bytes, packet.payload, size) != 0)
			fail_msg("%s differs", c->name);
	}
}

/* ---- one packet, changed in one place ---- */

struct fixture {
	struct vrrp_wire_conf conf;
	struct vrrp_packet packet;
	uint8_t bytes[VRRP_WIRE_BYTES_MAX + 64];
	struct vrrp_advert advert;
};

static struct fixture fx;

/* Our instance (self is web2), and web1's advert of it with these parameters. */
static void prepare(uint8_t version)
{
	struct vrrp_wire_conf theirs;

	memset(&fx, 0, sizeof(fx));
	fx.conf.version = version;
	fx.conf.vrid = 7;
	fx.conf.family = IP_V4;
	fx.conf.auth_pass = version == 2;
	if (version == 2)
		memcpy(fx.conf.auth_data, "password", 8);
	fx.conf.advert_int_cs = 100;
	fx.conf.ttl_min = 255;
	fx.conf.self = 1;
	fx.conf.nodes_count = 2;
	fx.conf.nodes[0] = addr("198.51.100.1");
	fx.conf.nodes[1] = addr("198.51.100.2");
	fx.conf.vips_count = 2;
	fx.conf.vips[0] = addr("198.51.100.200");
	fx.conf.vips[1] = addr("198.51.100.201");
	fx.packet.source = fx.conf.nodes[0];
	fx.packet.destination = fx.conf.nodes[1];
	fx.packet.ttl = 255;
	fx.packet.payload = fx.bytes;
	theirs = fx.conf;
	theirs.self = 0;
	fx.packet.size = vrrp_wire_encode(&theirs, 120, VRRP_CHECKSUM_PSEUDO,
					  &fx.packet.destination, fx.bytes, sizeof(fx.bytes));
	assert_true(fx.packet.size > 0);
}

/* Sets the checksum right again after a byte was changed. */
static void seal(void)
{
	uint32_t sum = 0;

	fx.bytes[6] = fx.bytes[7] = 0;
	for (size_t i = 0; i < fx.packet.size; i++)
		sum += i % 2 ? fx.bytes[i] : (uint32_t)fx.bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	fx.bytes[6] = (uint8_t)(~sum >> 8);
	fx.bytes[7] = (uint8_t)~sum;
}

static void encode_theirs(const struct vrrp_wire_conf *theirs)
{
	struct vrrp_wire_conf conf = *theirs;

	conf.self = 0;
	fx.packet.size = vrrp_wire_encode(&conf, 120, VRRP_CHECKSUM_PSEUDO, &fx.packet.destination,
					  fx.bytes, sizeof(fx.bytes));
	assert_true(fx.packet.size > 0);
}

static void expect(enum vrrp_verdict expected)
{
	const enum vrrp_verdict verdict = vrrp_wire_decode(&fx.conf, &fx.packet, &fx.advert);

	if (verdict != expected)
		fail_msg("%s instead of %s", vrrp_wire_verdict_name(verdict),
			 vrrp_wire_verdict_name(expected));
}

static void a_checksum_with_the_pseudo_header_is_accepted_and_named(void **state)
{
	(void)state;
	prepare(3);
	expect(VRRP_OK);
	assert_int_equal(fx.advert.checksum, VRRP_CHECKSUM_PSEUDO);
}

static void a_checksum_without_the_pseudo_header_is_accepted_and_named(void **state)
{
	(void)state;
	prepare(3);
	seal();
	expect(VRRP_OK);
	assert_int_equal(fx.advert.checksum, VRRP_CHECKSUM_PLAIN);
}

static void a_plain_checksum_is_sent_when_asked_for(void **state)
{
	struct vrrp_wire_conf theirs;

	(void)state;
	prepare(3);
	theirs = fx.conf;
	theirs.self = 0;
	fx.packet.size = vrrp_wire_encode(&theirs, 120, VRRP_CHECKSUM_PLAIN, &fx.packet.destination,
					  fx.bytes, sizeof(fx.bytes));
	expect(VRRP_OK);
	assert_int_equal(fx.advert.checksum, VRRP_CHECKSUM_PLAIN);
}

static void each_single_flipped_bit_is_noticed(void **state)
{
	(void)state;
	for (uint8_t version = 2; version <= 3; version++) {
		prepare(version);
		for (size_t bit = 0; bit < fx.packet.size * 8; bit++) {
			enum vrrp_verdict verdict;

			fx.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			verdict = vrrp_wire_decode(&fx.conf, &fx.packet, &fx.advert);
			assert_false(vrrp_wire_usable(verdict));
			fx.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		expect(VRRP_OK);
	}
}

static void every_shorter_packet_is_refused(void **state)
{
	(void)state;
	for (uint8_t version = 2; version <= 3; version++) {
		prepare(version);
		for (size_t size = 0; size < fx.packet.size; size++) {
			struct vrrp_packet shorter = fx.packet;

			shorter.size = size;
			assert_int_equal(vrrp_wire_decode(&fx.conf, &shorter, &fx.advert),
					 size < 8 ? VRRP_TOO_SHORT : VRRP_BAD_LENGTH);
			assert_int_equal(vrrp_wire_vrid(fx.bytes, size), size < 8 ? 0 : 7);
		}
	}
}

static void a_longer_packet_is_refused(void **state)
{
	(void)state;
	prepare(3);
	fx.packet.size += 4;
	expect(VRRP_BAD_LENGTH);
}

static void a_version_that_is_neither_2_nor_3_is_refused(void **state)
{
	(void)state;
	prepare(3);
	for (uint8_t version = 0; version < 16; version++) {
		if (version == 2 || version == 3)
			continue;
		fx.bytes[0] = (uint8_t)(version << 4 | 1);
		seal();
		expect(VRRP_BAD_VERSION);
	}
}

static void a_type_other_than_advertisement_is_refused(void **state)
{
	(void)state;
	prepare(3);
	fx.bytes[0] = 0x32;
	seal();
	expect(VRRP_BAD_TYPE);
}

static void vrid_0_is_refused(void **state)
{
	(void)state;
	prepare(3);
	fx.bytes[1] = 0;
	seal();
	expect(VRRP_BAD_VRID);
}

static void another_vrid_is_not_ours(void **state)
{
	(void)state;
	prepare(3);
	fx.bytes[1] = 8;
	seal();
	expect(VRRP_OTHER_VRID);
	assert_int_equal(vrrp_wire_grade(VRRP_OTHER_VRID), VRRP_GRADE_NOT_OURS);
}

static void our_own_advert_come_back_is_not_ours(void **state)
{
	(void)state;
	prepare(3);
	fx.packet.source = fx.conf.nodes[1];
	expect(VRRP_OWN_PACKET);
}

static void another_family_is_not_ours(void **state)
{
	(void)state;
	prepare(3);
	fx.packet.source = addr("2001:db8::1");
	fx.packet.destination = addr("2001:db8::2");
	expect(VRRP_OTHER_FAMILY);
}

static void a_ttl_below_255_is_refused_unless_configured(void **state)
{
	(void)state;
	prepare(3);
	fx.packet.ttl = 254;
	expect(VRRP_BAD_TTL);
	fx.conf.ttl_min = 254;
	expect(VRRP_OK);
}

static void each_node_may_be_nearer_or_farther_away(void **state)
{
	(void)state;
	prepare(3);
	fx.conf.ttls[0] = (struct vrrp_ttl){.min = 250, .max = 253};
	for (int ttl = 249; ttl <= 255; ttl++) {
		fx.packet.ttl = ttl;
		expect(ttl >= 250 && ttl <= 253 ? VRRP_OK : VRRP_BAD_TTL);
	}
	/* What one may, another may not; and a stranger may what all may. */
	fx.packet.ttl = 250;
	fx.packet.source = addr("198.51.100.77");
	seal();
	expect(VRRP_BAD_TTL);
	fx.conf.ttl_min = 250;
	expect(VRRP_UNKNOWN_SOURCE);
}

static void an_address_count_of_0_is_refused(void **state)
{
	(void)state;
	prepare(3);
	fx.bytes[3] = 0;
	fx.packet.size = 8;
	seal();
	expect(VRRP_NO_ADDRESSES);
}

static void a_count_that_does_not_fit_the_length_is_refused(void **state)
{
	(void)state;
	prepare(3);
	fx.bytes[3] = 3;
	seal();
	expect(VRRP_BAD_LENGTH);
}

static void version_2_over_ipv6_is_refused(void **state)
{
	(void)state;
	prepare(3);
	fx.conf.family = IP_V6;
	fx.packet.source = fx.conf.nodes[0] = addr("2001:db8::1");
	fx.packet.destination = fx.conf.nodes[1] = addr("2001:db8::2");
	fx.bytes[0] = 0x21;
	fx.bytes[3] = 1;
	fx.packet.size = 8 + 16 + 8;
	seal();
	expect(VRRP_BAD_LENGTH);
}

static void a_source_that_is_no_node_is_refused(void **state)
{
	(void)state;
	prepare(2);
	fx.packet.source = addr("198.51.100.9");
	expect(VRRP_UNKNOWN_SOURCE);
	assert_int_equal(fx.advert.node, -1);
	assert_int_equal(fx.advert.priority, 120);
}

static void a_node_that_takes_no_part_is_an_unknown_source(void **state)
{
	(void)state;
	prepare(2);
	memset(&fx.conf.nodes[0], 0, sizeof(fx.conf.nodes[0]));
	expect(VRRP_UNKNOWN_SOURCE);
}

static void an_interval_of_0_is_refused(void **state)
{
	(void)state;
	prepare(2);
	fx.bytes[5] = 0;
	seal();
	expect(VRRP_BAD_INTERVAL);
	prepare(3);
	fx.bytes[4] = fx.bytes[5] = 0;
	seal();
	expect(VRRP_BAD_INTERVAL);
}

static void the_reserved_bits_of_version_3_are_ignored(void **state)
{
	(void)state;
	prepare(3);
	fx.bytes[4] |= 0xf0;
	seal();
	expect(VRRP_OK);
	assert_int_equal(fx.advert.advert_int_cs, 100);
}

static void another_interval_of_version_3_is_the_senders_business(void **state)
{
	struct vrrp_wire_conf theirs;

	(void)state;
	prepare(3);
	theirs = fx.conf;
	theirs.advert_int_cs = 4095;
	encode_theirs(&theirs);
	expect(VRRP_OK);
	assert_int_equal(fx.advert.advert_int_cs, 4095);
}

/* Each mistake in a peer's file: alive with an address in common, a stranger without. */
static void a_peer_with_another_password_is_alive(void **state)
{
	struct vrrp_wire_conf theirs;

	(void)state;
	prepare(2);
	theirs = fx.conf;
	memcpy(theirs.auth_data, "letmein", 8);
	encode_theirs(&theirs);
	expect(VRRP_OTHER_PASSWORD);
	assert_int_equal(vrrp_wire_grade(VRRP_OTHER_PASSWORD), VRRP_GRADE_MISMATCH);
	assert_true(vrrp_wire_usable(VRRP_OTHER_PASSWORD));
	assert_int_equal(fx.advert.priority, 120);
	assert_int_equal(fx.advert.node, 0);

	theirs.vips[0] = addr("198.51.100.7");
	theirs.vips[1] = addr("198.51.100.8");
	encode_theirs(&theirs);
	expect(VRRP_STRANGE_PASSWORD);
	assert_false(vrrp_wire_usable(VRRP_STRANGE_PASSWORD));
}

static void a_peer_without_a_password_is_alive_and_so_is_one_with(void **state)
{
	struct vrrp_wire_conf theirs;

	(void)state;
	prepare(2);
	theirs = fx.conf;
	theirs.auth_pass = false;
	encode_theirs(&theirs);
	expect(VRRP_OTHER_AUTH_TYPE);
	theirs.vips[0] = theirs.vips[1] = addr("198.51.100.7");
	encode_theirs(&theirs);
	expect(VRRP_STRANGE_AUTH_TYPE);

	prepare(2);
	fx.conf.auth_pass = false;
	expect(VRRP_OTHER_AUTH_TYPE);
}

static void authentication_data_is_ignored_where_none_is_asked_for(void **state)
{
	(void)state;
	prepare(2);
	fx.conf.auth_pass = false;
	fx.bytes[4] = 0; /* type none, and yet eight bytes that mean nothing */
	seal();
	expect(VRRP_OK);
}

static void an_unknown_authentication_type_is_refused(void **state)
{
	(void)state;
	prepare(2);
	for (int type = 2; type < 256; type++) {
		fx.bytes[4] = (uint8_t)type;
		seal();
		expect(VRRP_BAD_AUTH_TYPE);
	}
}

static void a_version_2_peer_with_another_interval_is_alive(void **state)
{
	struct vrrp_wire_conf theirs;

	(void)state;
	prepare(2);
	theirs = fx.conf;
	theirs.advert_int_cs = 500;
	encode_theirs(&theirs);
	expect(VRRP_OTHER_INTERVAL);
	assert_int_equal(fx.advert.advert_int_cs, 500);
	theirs.vips[0] = theirs.vips[1] = addr("198.51.100.7");
	encode_theirs(&theirs);
	expect(VRRP_STRANGE_INTERVAL);
}

static void a_peer_of_another_version_is_alive(void **state)
{
	struct vrrp_wire_conf theirs;

	(void)state;
	prepare(2);
	theirs = fx.conf;
	theirs.version = 3;
	encode_theirs(&theirs);
	expect(VRRP_OTHER_VERSION);
	theirs.vips[0] = theirs.vips[1] = addr("198.51.100.7");
	encode_theirs(&theirs);
	expect(VRRP_STRANGE_VERSION);

	prepare(3);
	theirs = fx.conf;
	theirs.version = 2;
	encode_theirs(&theirs);
	expect(VRRP_OTHER_VERSION);
}

static void another_list_of_addresses_is_accepted_and_said(void **state)
{
	struct vrrp_wire_conf theirs;

	(void)state;
	prepare(3);
	theirs = fx.conf;
	theirs.vips_count = 1;
	encode_theirs(&theirs);
	expect(VRRP_OTHER_ADDRESSES);
	assert_int_equal(vrrp_wire_grade(VRRP_OTHER_ADDRESSES), VRRP_GRADE_ACCEPTED);
	theirs.vips_count = 3;
	theirs.vips[2] = addr("198.51.100.7");
	encode_theirs(&theirs);
	expect(VRRP_OTHER_ADDRESSES);
	/* The one address was changed on one node first: still this router. */
	theirs.vips_count = 1;
	theirs.vips[0] = addr("198.51.100.7");
	encode_theirs(&theirs);
	expect(VRRP_OTHER_ADDRESSES);
}

static void the_order_of_the_addresses_means_nothing(void **state)
{
	struct vrrp_wire_conf theirs;

	(void)state;
	prepare(3);
	theirs = fx.conf;
	theirs.vips[0] = fx.conf.vips[1];
	theirs.vips[1] = fx.conf.vips[0];
	encode_theirs(&theirs);
	expect(VRRP_OK);
}

static void the_longest_advert_is_read_and_written(void **state)
{
	static struct vrrp_advert sent, got;
	static uint8_t bytes[VRRP_WIRE_BYTES_MAX];
	size_t size;

	(void)state;
	prepare(3);
	fx.conf.family = IP_V6;
	fx.packet.source = fx.conf.nodes[0] = addr("2001:db8::1");
	fx.packet.destination = fx.conf.nodes[1] = addr("2001:db8::2");
	memset(&sent, 0, sizeof(sent));
	sent.version = 3;
	sent.vrid = 7;
	sent.priority = 1;
	sent.family = IP_V6;
	sent.advert_int_cs = 1;
	sent.addresses_count = 255;
	for (int i = 0; i < 255; i++) {
		sent.addresses[i] = addr("2001:db8::");
		sent.addresses[i].bytes[15] = (uint8_t)i;
	}
	size = vrrp_wire_encode_advert(&sent, &fx.packet.source, &fx.packet.destination, bytes,
				       sizeof(bytes));
	assert_int_equal(size, 8 + 255 * 16);
	fx.packet.payload = bytes;
	fx.packet.size = size;
	assert_int_equal(vrrp_wire_decode(&fx.conf, &fx.packet, &got), VRRP_OTHER_ADDRESSES);
	assert_int_equal(got.addresses_count, 255);
	assert_true(ip_equal(&got.addresses[254], &sent.addresses[254]));
}

static void too_little_room_is_said_and_nothing_is_overrun(void **state)
{
	uint8_t bytes[64];
	size_t whole;

	(void)state;
	prepare(2);
	whole = fx.packet.size;
	for (size_t room = 0; room < whole; room++) {
		memset(bytes, 0xee, sizeof(bytes));
		assert_int_equal(vrrp_wire_encode(&fx.conf, 1, VRRP_CHECKSUM_PSEUDO,
						  &fx.packet.destination, bytes, room),
				 0);
		for (size_t i = room; i < sizeof(bytes); i++)
			assert_int_equal(bytes[i], 0xee);
	}
	assert_int_equal(vrrp_wire_encode(&fx.conf, 1, VRRP_CHECKSUM_PSEUDO, &fx.packet.destination,
					  bytes, whole),
			 whole);
}

static void each_verdict_has_a_name_a_text_and_a_grade(void **state)
{
	(void)state;
	for (int i = 0; i < VRRP_VERDICTS; i++) {
		const enum vrrp_verdict verdict = (enum vrrp_verdict)i;

		assert_true(strlen(vrrp_wire_verdict_name(verdict)) >= 2);
		assert_true(strlen(vrrp_wire_verdict_text(verdict)) >= 10);
		assert_int_equal(vrrp_wire_usable(verdict),
				 vrrp_wire_grade(verdict) == VRRP_GRADE_ACCEPTED ||
					 vrrp_wire_grade(verdict) == VRRP_GRADE_MISMATCH);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(vrrp_wire_verdict_name(verdict),
						vrrp_wire_verdict_name((enum vrrp_verdict)j));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_captured_advert_of_keepalived_is_read),
		cmocka_unit_test(what_we_send_is_what_keepalived_sends_to_the_byte),
		cmocka_unit_test(a_checksum_with_the_pseudo_header_is_accepted_and_named),
		cmocka_unit_test(a_checksum_without_the_pseudo_header_is_accepted_and_named),
		cmocka_unit_test(a_plain_checksum_is_sent_when_asked_for),
		cmocka_unit_test(each_single_flipped_bit_is_noticed),
		cmocka_unit_test(every_shorter_packet_is_refused),
		cmocka_unit_test(a_longer_packet_is_refused),
		cmocka_unit_test(a_version_that_is_neither_2_nor_3_is_refused),
		cmocka_unit_test(a_type_other_than_advertisement_is_refused),
		cmocka_unit_test(vrid_0_is_refused),
		cmocka_unit_test(another_vrid_is_not_ours),
		cmocka_unit_test(our_own_advert_come_back_is_not_ours),
		cmocka_unit_test(another_family_is_not_ours),
		cmocka_unit_test(a_ttl_below_255_is_refused_unless_configured),
		cmocka_unit_test(each_node_may_be_nearer_or_farther_away),
		cmocka_unit_test(an_address_count_of_0_is_refused),
		cmocka_unit_test(a_count_that_does_not_fit_the_length_is_refused),
		cmocka_unit_test(version_2_over_ipv6_is_refused),
		cmocka_unit_test(a_source_that_is_no_node_is_refused),
		cmocka_unit_test(a_node_that_takes_no_part_is_an_unknown_source),
		cmocka_unit_test(an_interval_of_0_is_refused),
		cmocka_unit_test(the_reserved_bits_of_version_3_are_ignored),
		cmocka_unit_test(another_interval_of_version_3_is_the_senders_business),
		cmocka_unit_test(a_peer_with_another_password_is_alive),
		cmocka_unit_test(a_peer_without_a_password_is_alive_and_so_is_one_with),
		cmocka_unit_test(authentication_data_is_ignored_where_none_is_asked_for),
		cmocka_unit_test(an_unknown_authentication_type_is_refused),
		cmocka_unit_test(a_version_2_peer_with_another_interval_is_alive),
		cmocka_unit_test(a_peer_of_another_version_is_alive),
		cmocka_unit_test(another_list_of_addresses_is_accepted_and_said),
		cmocka_unit_test(the_order_of_the_addresses_means_nothing),
		cmocka_unit_test(the_longest_advert_is_read_and_written),
		cmocka_unit_test(too_little_room_is_said_and_nothing_is_overrun),
		cmocka_unit_test(each_verdict_has_a_name_a_text_and_a_grade),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
