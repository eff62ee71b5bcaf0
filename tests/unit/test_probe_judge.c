/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/probe_judge.h"

static const struct conf_status usual[] = {{200, 399}};

static void a_status_is_good_within_any_of_the_ranges(void **state)
{
	static const struct conf_status wanted[] = {{200, 299}, {404, 404}};
	static const struct {
		long status;
		bool good;
	} table[] = {{0, false},   {199, false}, {200, true},  {299, true}, {300, false},
		     {403, false}, {404, true},	 {405, false}, {599, false}};
	struct probe_judge judge;

	(void)state;
	probe_judge_init(&judge, wanted, 2, NULL, 0);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		assert_int_equal(probe_judge_status_is_good(&judge, table[i].status),
				 table[i].good);
		assert_int_equal(probe_judge_verdict(&judge, table[i].status),
				 table[i].good ? PROBE_GOOD : PROBE_STATUS_WRONG);
	}
}

static void what_stands_behind_the_ranges_is_none(void **state)
{
	static const struct conf_status wanted[] = {{200, 299}, {404, 404}};
	struct probe_judge judge;

	(void)state;
	probe_judge_init(&judge, wanted, 1, NULL, 0);
	assert_false(probe_judge_status_is_good(&judge, 404));
}

static void any_body_will_do_where_none_is_asked_for(void **state)
{
	struct probe_judge judge;

	(void)state;
	probe_judge_init(&judge, usual, 1, "", 0);
	assert_int_equal(probe_judge_verdict(&judge, 204), PROBE_GOOD);
	assert_false(probe_judge_body(&judge, "anything", 8));
	assert_int_equal(probe_judge_verdict(&judge, 200), PROBE_GOOD);
}

/* Every way to cut the answer into two pieces, and into single bytes. */
static void a_word_is_found_across_pieces(void **state)
{
	static const char body[] = "status: alalive\n", word[] = "alive";
	const size_t size = sizeof body - 1, end = 15; /* of the word */
	struct probe_judge judge;

	(void)state;
	for (size_t cut = 0; cut <= size; cut++) {
		probe_judge_init(&judge, usual, 1, word, strlen(word));
		assert_int_equal(probe_judge_body(&judge, body, cut), cut >= end);
		assert_int_equal(probe_judge_verdict(&judge, 200),
				 cut >= end ? PROBE_GOOD : PROBE_BODY_LACKS);
		assert_true(probe_judge_body(&judge, body + cut, size - cut));
		assert_int_equal(probe_judge_verdict(&judge, 200), PROBE_GOOD);
	}
	probe_judge_init(&judge, usual, 1, word, strlen(word));
	for (size_t i = 0; i < size; i++)
		assert_int_equal(probe_judge_body(&judge, body + i, 1), i + 1 >= end);
	assert_int_equal(probe_judge_verdict(&judge, 500), PROBE_STATUS_WRONG);
}

static void what_is_not_there_is_not_found(void **state)
{
	struct probe_judge judge;

	(void)state;
	probe_judge_init(&judge, usual, 1, "alive", 5);
	assert_int_equal(probe_judge_verdict(&judge, 200), PROBE_BODY_LACKS);
	for (int i = 0; i < 100; i++)
		assert_false(probe_judge_body(&judge, "aliv", 4));
	assert_int_equal(probe_judge_verdict(&judge, 200), PROBE_BODY_LACKS);
}

static void a_single_byte_is_a_word(void **state)
{
	struct probe_judge judge;

	(void)state;
	probe_judge_init(&judge, usual, 1, "!", 1);
	assert_false(probe_judge_body(&judge, "well", 4));
	assert_true(probe_judge_body(&judge, "!", 1));
	assert_int_equal(probe_judge_verdict(&judge, 200), PROBE_GOOD);
}

/* Of a body that is shorter than the word nothing but the body is kept. */
static void nothing_is_found_in_what_was_not_there(void **state)
{
	static const char word[] = "\0\0\0ab";
	struct probe_judge judge;

	(void)state;
	probe_judge_init(&judge, usual, 1, word, 5);
	assert_false(probe_judge_body(&judge, "a", 1));
	assert_false(probe_judge_body(&judge, "b", 1));
	assert_int_equal(probe_judge_verdict(&judge, 200), PROBE_BODY_LACKS);
}

/* The longest word, at every place around the borders of the window, in pieces of several sizes. */
static void the_longest_word_is_found_wherever_it_stands(void **state)
{
	static char word[CONF_PROBE_BODY_BYTES_MAX], body[4 * CONF_PROBE_BODY_BYTES_MAX];

	(void)state;
	memset(word, 'w', sizeof word);
	word[0] = 'a';
	for (size_t at = 0; at + sizeof word <= sizeof body; at += 61) {
		for (size_t piece = 1; piece <= sizeof body; piece = piece * 3 + 1) {
			struct probe_judge judge;

			memset(body, '.', sizeof body);
			memcpy(body + at, word, sizeof word);
			probe_judge_init(&judge, usual, 1, word, sizeof word);
			for (size_t i = 0; i < sizeof body; i += piece)
				probe_judge_body(&judge, body + i,
						 i + piece > sizeof body ? sizeof body - i : piece);
			assert_int_equal(probe_judge_verdict(&judge, 200), PROBE_GOOD);
		}
	}
}

static void no_more_of_a_body_than_the_ceiling_counts(void **state)
{
	char *body = calloc(1, 2 * PROBE_BODY_BYTES_MAX);
	struct probe_judge judge;

	(void)state;
	assert_non_null(body);
	memset(body, 'x', 2 * PROBE_BODY_BYTES_MAX);
	/* Its last byte is one too far. */
	memcpy(body + PROBE_BODY_BYTES_MAX - 4, "alive", 5);
	probe_judge_init(&judge, usual, 1, "alive", 5);
	assert_false(probe_judge_body(&judge, body, PROBE_BODY_BYTES_MAX - 1));
	assert_true(probe_judge_body(&judge, body + PROBE_BODY_BYTES_MAX - 1, 100));
	assert_true(probe_judge_body(&judge, "alive", 5));
	assert_int_equal(judge.seen, PROBE_BODY_BYTES_MAX);
	assert_int_equal(probe_judge_verdict(&judge, 200), PROBE_BODY_LACKS);
	/* One byte earlier it is the last that counts. */
	memcpy(body + PROBE_BODY_BYTES_MAX - 5, "alive", 5);
	probe_judge_init(&judge, usual, 1, "alive", 5);
	assert_true(probe_judge_body(&judge, body, 2 * PROBE_BODY_BYTES_MAX));
	assert_int_equal(probe_judge_verdict(&judge, 200), PROBE_GOOD);
	free(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_status_is_good_within_any_of_the_ranges),
		cmocka_unit_test(what_stands_behind_the_ranges_is_none),
		cmocka_unit_test(any_body_will_do_where_none_is_asked_for),
		cmocka_unit_test(a_word_is_found_across_pieces),
		cmocka_unit_test(what_is_not_there_is_not_found),
		cmocka_unit_test(a_single_byte_is_a_word),
		cmocka_unit_test(nothing_is_found_in_what_was_not_there),
		cmocka_unit_test(the_longest_word_is_found_wherever_it_stands),
		cmocka_unit_test(no_more_of_a_body_than_the_ceiling_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
