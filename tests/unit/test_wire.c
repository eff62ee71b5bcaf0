/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shared/wire.h"

static void numbers_are_in_network_order(void **state)
{
	static const uint8_t expected[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
					   0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f};
	uint8_t bytes[15];
	struct wire_writer w;
	struct wire_reader r;

	(void)state;
	wire_writer_init(&w, bytes, sizeof(bytes));
	wire_put_u8(&w, 0x01);
	wire_put_u16(&w, 0x0203);
	wire_put_u32(&w, 0x04050607);
	wire_put_u64(&w, UINT64_C(0x08090a0b0c0d0e0f));
	assert_true(wire_writer_ok(&w));
	assert_int_equal(w.at, sizeof(bytes));
	assert_memory_equal(bytes, expected, sizeof(bytes));

	wire_reader_init(&r, bytes, sizeof(bytes));
	assert_int_equal(wire_get_u8(&r), 0x01);
	assert_int_equal(wire_get_u16(&r), 0x0203);
	assert_int_equal(wire_get_u32(&r), 0x04050607);
	assert_false(wire_reader_done(&r));
	assert_true(wire_get_u64(&r) == UINT64_C(0x08090a0b0c0d0e0f));
	assert_true(wire_reader_done(&r));
}

static void a_read_past_the_end_gives_zero_and_sticks(void **state)
{
	const uint8_t bytes[] = {0xff, 0xff, 0xff};
	struct wire_reader r;

	(void)state;
	wire_reader_init(&r, bytes, sizeof(bytes));
	assert_int_equal(wire_get_u32(&r), 0);
	assert_false(wire_reader_ok(&r));
	assert_int_equal(r.at, 0);
	assert_int_equal(wire_left(&r), 0);
	/* Even what would still fit. */
	assert_int_equal(wire_get_u8(&r), 0);
	assert_false(wire_reader_done(&r));
}

static void a_size_near_the_largest_does_not_wrap(void **state)
{
	const uint8_t bytes[] = {1, 2, 3};
	struct wire_reader r;

	(void)state;
	wire_reader_init(&r, bytes, sizeof(bytes));
	wire_get_u8(&r);
	assert_null(wire_get_slice(&r, SIZE_MAX));
	assert_false(wire_reader_ok(&r));
}

static void failed_bytes_are_zeros(void **state)
{
	const uint8_t bytes[] = {1, 2};
	uint8_t out[3] = {9, 9, 9};
	const uint8_t zeros[3] = {0};
	struct wire_reader r;

	(void)state;
	wire_reader_init(&r, bytes, sizeof(bytes));
	wire_get_bytes(&r, out, 3);
	assert_memory_equal(out, zeros, 3);
	assert_false(wire_reader_ok(&r));
}

static void an_empty_buffer_may_be_null(void **state)
{
	struct wire_reader r;
	uint8_t none;

	(void)state;
	wire_reader_init(&r, NULL, 0);
	assert_non_null(wire_get_slice(&r, 0));
	wire_get_bytes(&r, &none, 0);
	assert_true(wire_reader_done(&r));
	assert_int_equal(wire_get_u8(&r), 0);
	assert_false(wire_reader_ok(&r));
}

static void strings_carry_their_length(void **state)
{
	const uint8_t expected[] = {0, 3, 'a', 'b', 'c', 0, 0};
	uint8_t bytes[7];
	struct wire_writer w;
	struct wire_reader r;
	size_t size = 99;
	char text[4] = "zzz";

	(void)state;
	wire_writer_init(&w, bytes, sizeof(bytes));
	wire_put_string(&w, "abc", 3);
	wire_put_string(&w, "", 0);
	assert_true(wire_writer_ok(&w));
	assert_memory_equal(bytes, expected, sizeof(bytes));

	wire_reader_init(&r, bytes, sizeof(bytes));
	assert_memory_equal(wire_get_string(&r, &size), "abc", 3);
	assert_int_equal(size, 3);
	assert_non_null(wire_get_string(&r, &size));
	assert_int_equal(size, 0);
	assert_true(wire_reader_done(&r));

	wire_reader_init(&r, bytes, sizeof(bytes));
	wire_get_string_into(&r, text, sizeof(text));
	assert_string_equal(text, "abc");
	wire_get_string_into(&r, text, sizeof(text));
	assert_string_equal(text, "");
	assert_true(wire_reader_done(&r));
}

static void a_string_with_a_nul_is_refused(void **state)
{
	const uint8_t bytes[] = {0, 3, 'a', 0, 'c'};
	struct wire_reader r;
	size_t size = 99;

	(void)state;
	wire_reader_init(&r, bytes, sizeof(bytes));
	assert_null(wire_get_string(&r, &size));
	assert_int_equal(size, 0);
	assert_int_equal(r.at, 0);
	assert_false(wire_reader_ok(&r));
}

static void a_string_longer_than_its_buffer_is_refused(void **state)
{
	const uint8_t bytes[] = {0, 3, 'a', 'b', 'c'};
	struct wire_reader r;
	char text[3] = "zz";

	(void)state;
	wire_reader_init(&r, bytes, sizeof(bytes));
	wire_get_string_into(&r, text, sizeof(text));
	assert_string_equal(text, "");
	assert_false(wire_reader_ok(&r));
	assert_int_equal(r.at, 0);
}

static void a_string_cut_short_is_refused(void **state)
{
	const uint8_t bytes[] = {0, 4, 'a', 'b', 'c'};
	struct wire_reader r;
	size_t size;

	(void)state;
	wire_reader_init(&r, bytes, sizeof(bytes));
	assert_null(wire_get_string(&r, &size));
	assert_false(wire_reader_ok(&r));
	assert_int_equal(r.at, 0);
}

static void a_write_past_the_end_writes_nothing_and_sticks(void **state)
{
	uint8_t bytes[4] = {7, 7, 7, 7};
	const uint8_t untouched[4] = {7, 7, 7, 7};
	struct wire_writer w;

	(void)state;
	wire_writer_init(&w, bytes, 3);
	wire_put_u32(&w, 1);
	assert_false(wire_writer_ok(&w));
	wire_put_u8(&w, 1);
	assert_int_equal(w.at, 0);
	assert_memory_equal(bytes, untouched, sizeof(bytes));

	/* Not the length without the bytes either. */
	wire_writer_init(&w, bytes, 3);
	wire_put_string(&w, "ab", 2);
	assert_false(wire_writer_ok(&w));
	assert_memory_equal(bytes, untouched, sizeof(bytes));
}

static void a_string_of_65536_bytes_is_refused(void **state)
{
	static uint8_t bytes[70000];
	static char string[65536];
	struct wire_writer w;

	(void)state;
	memset(string, 'a', sizeof(string));
	wire_writer_init(&w, bytes, sizeof(bytes));
	wire_put_string(&w, string, 65535);
	assert_true(wire_writer_ok(&w));
	assert_int_equal(w.at, 65537);
	wire_writer_init(&w, bytes, sizeof(bytes));
	wire_put_string(&w, string, 65536);
	assert_false(wire_writer_ok(&w));
	assert_int_equal(w.at, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_in_network_order),
		cmocka_unit_test(a_read_past_the_end_gives_zero_and_sticks),
		cmocka_unit_test(a_size_near_the_largest_does_not_wrap),
		cmocka_unit_test(failed_bytes_are_zeros),
		cmocka_unit_test(an_empty_buffer_may_be_null),
		cmocka_unit_test(strings_carry_their_length),
		cmocka_unit_test(a_string_with_a_nul_is_refused),
		cmocka_unit_test(a_string_longer_than_its_buffer_is_refused),
		cmocka_unit_test(a_string_cut_short_is_refused),
		cmocka_unit_test(a_write_past_the_end_writes_nothing_and_sticks),
		cmocka_unit_test(a_string_of_65536_bytes_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
