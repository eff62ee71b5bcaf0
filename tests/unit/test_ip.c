/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shared/ip.h"

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	if (!ip_parse(text, &a))
		fail_msg("%s is not read", text);
	return a;
}

static void addresses_are_read_and_written(void **state)
{
	/* RFC 5952 section 4 and 5, and RFC 4291 section 2.2. */
	static const char *const pairs[][2] = {
		{"198.51.100.7", "198.51.100.7"},
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"2001:db8::1", "2001:db8::1"},
		{"2001:0DB8:0:0:0:0:0:1", "2001:db8::1"},
		{"::", "::"},
		{"::1", "::1"},
		{"1::", "1::"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
		{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"::ffff:198.51.100.1", "::ffff:198.51.100.1"},
		{"::ffff:c633:6401", "::ffff:198.51.100.1"},
		{"64:ff9b::198.51.100.1", "64:ff9b::c633:6401"},
		{"0:0:0:0:0:0:0:0", "::"},
		{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
		{"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
		{"fe80::abcd:ef01", "fe80::abcd:ef01"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct ip_addr a = addr(pairs[i][0]);
		char text[IP_TEXT_MAX];

		assert_string_equal(ip_format(&a, text), pairs[i][1]);
	}
}

static void what_is_not_an_address_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"1",
		"1.2.3",
		"1.2.3.4.5",
		"1.2.3.",
		".1.2.3",
		"1..2.3",
		"256.1.1.1",
		"1.2.3.04",
		"01.2.3.4",
		"1.2.3.4 ",
		" 1.2.3.4",
		"1.2.3.4/24",
		"-1.2.3.4",
		"+1.2.3.4",
		"1.2.3.4294967297",
		"a.b.c.d",
		"web1",
		":",
		":::",
		"1:",
		":1",
		"1::2::3",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
		"1:2:3:4:5:6:7:8::",
		"::1:2:3:4:5:6:7:8",
		"12345::",
		"g::",
		"::1%eth0",
		"1:2:3:4:5:6:7:1.2.3.4",
		"::1.2.3",
		"::1.2.3.4:5",
		"1.2.3.4::",
		"2001:db8::1/64",
		"::ffff:1.2.3.4.5",
		"1:::2",
		"::1:",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ip_addr a = {.family = 99};

		if (ip_parse(texts[i], &a))
			fail_msg("\"%s\" was taken for an address", texts[i]);
		assert_int_equal(a.family, 99);
	}
}

/* The C library is the judge over what is random. */
static void reading_and_writing_agree_with_the_c_library(void **state)
{
	uint64_t seed = 20260101;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct ip_addr a = {.family = i % 2 ? IP_V4 : IP_V6}, b;
		char text[IP_TEXT_MAX], libc[INET6_ADDRSTRLEN];

		for (size_t j = 0; j < ip_size(&a); j++) {
			seed = seed * 6364136223846793005U + 1442695040888963407U;
			/* Mostly zeros, so that runs of them occur. */
			if (seed >> 62 == 0 || a.family == IP_V4)
				a.bytes[j] = (uint8_t)(seed >> 40);
		}
		ip_format(&a, text);
		assert_true(ip_parse(text, &b));
		assert_memory_equal(&a, &b, sizeof(a));
		assert_non_null(inet_ntop(a.family == IP_V4 ? AF_INET : AF_INET6, a.bytes, libc,
					  sizeof(libc)));
		assert_true(ip_parse(libc, &b));
		assert_memory_equal(&a, &b, sizeof(a));
		/* glibc writes ::1.2.3.4 for the long deprecated "compatible" addresses. */
		if (!strchr(libc, '.') || a.family == IP_V4)
			assert_string_equal(text, libc);
	}
}

static void prefixes_are_read(void **state)
{
	struct ip_prefix prefix;
	static const char *const bad[] = {"198.51.100.1/33",
					  "198.51.100.1/",
					  "198.51.100.1/024",
					  "198.51.100.1/-1",
					  "2001:db8::/129",
					  "198.51.100.1/24 ",
					  "/24",
					  "198.51.100.1//2"};

	(void)state;
	assert_true(ip_parse_prefix("198.51.100.200/24", &prefix));
	assert_int_equal(prefix.prefix_len, 24);
	assert_true(ip_parse_prefix("198.51.100.200", &prefix));
	assert_int_equal(prefix.prefix_len, 32);
	assert_true(ip_parse_prefix("2001:db8::1", &prefix));
	assert_int_equal(prefix.prefix_len, 128);
	assert_true(ip_parse_prefix("::/0", &prefix));
	assert_int_equal(prefix.prefix_len, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (ip_parse_prefix(bad[i], &prefix))
			fail_msg("\"%s\" was taken for a prefix", bad[i]);
	}
}

static void addresses_compare_as_numbers(void **state)
{
	struct ip_addr low = addr("198.51.100.9"), high = addr("198.51.100.10");
	struct ip_addr low6 = addr("fe80::1"), high6 = addr("fe80:0:0:1::");
	struct ip_addr same = addr("198.51.100.9");

	(void)state;
	assert_true(ip_compare(&low, &high) < 0);
	assert_true(ip_compare(&high, &low) > 0);
	assert_true(ip_compare(&low, &same) == 0);
	assert_true(ip_compare(&low6, &high6) < 0);
	assert_true(ip_equal(&low, &same));
	assert_false(ip_equal(&low, &high));
}

static void families_are_never_equal(void **state)
{
	struct ip_addr v4 = addr("0.0.0.0"), v6 = addr("::"), none = {0};

	(void)state;
	assert_false(ip_equal(&v4, &v6));
	assert_false(ip_equal(&v4, &none));
	assert_int_equal(ip_size(&none), 0);
}

static void a_prefix_holds_its_addresses(void **state)
{
	static const struct {
		const char *prefix, *inside, *outside;
	} cases[] = {
		{"198.51.100.0/24", "198.51.100.255", "198.51.101.0"},
		{"198.51.100.128/25", "198.51.100.128", "198.51.100.127"},
		{"198.51.100.4/31", "198.51.100.5", "198.51.100.6"},
		{"198.51.100.4/32", "198.51.100.4", "198.51.100.5"},
		{"0.0.0.0/0", "203.0.113.1", "2001:db8::1"},
		{"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
		{"2001:db8::1/128", "2001:db8::1", "2001:db8::2"},
		{"::/0", "2001:db8::1", "198.51.100.1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ip_prefix prefix;
		struct ip_addr in = addr(cases[i].inside), out = addr(cases[i].outside);

		assert_true(ip_parse_prefix(cases[i].prefix, &prefix));
		assert_true(ip_in_prefix(&in, &prefix));
		assert_false(ip_in_prefix(&out, &prefix));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_and_written),
		cmocka_unit_test(what_is_not_an_address_is_refused),
		cmocka_unit_test(reading_and_writing_agree_with_the_c_library),
		cmocka_unit_test(prefixes_are_read),
		cmocka_unit_test(addresses_compare_as_numbers),
		cmocka_unit_test(families_are_never_equal),
		cmocka_unit_test(a_prefix_holds_its_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
