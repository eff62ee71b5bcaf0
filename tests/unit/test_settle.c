/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/settle.h"

#define MS 1000u
#define SECOND (1000u * MS)
#define START (100u * SECOND)

static const uint8_t one[SETTLE_FINGERPRINT_BYTES] = {1}, two[SETTLE_FINGERPRINT_BYTES] = {2};

static void a_quiet_tree_asks_for_no_scan(void **state)
{
	struct settle s;

	(void)state;
	settle_init(&s);
	assert_true(settle_deadline(&s) == SETTLE_NEVER_US);
}

static void an_atomic_save_is_scanned_ten_milliseconds_later(void **state)
{
	struct settle s;

	(void)state;
	settle_init(&s);
	/* Write beside, close, rename over: as inotify tells it, all within a moment. */
	settle_change(&s, SETTLE_OPEN, START);
	settle_change(&s, SETTLE_WRITTEN, START + 100);
	settle_change(&s, SETTLE_REPLACED, START + 200);
	settle_change(&s, SETTLE_ATOMIC, START + 200);
	assert_true(settle_deadline(&s) == START + 200 + SETTLE_QUIET_ATOMIC_US);
}

static void a_temporary_file_that_was_synced_for_long_is_still_one_save(void **state)
{
	struct settle s;

	(void)state;
	settle_init(&s);
	settle_change(&s, SETTLE_OPEN, START);
	settle_change(&s, SETTLE_WRITTEN, START + 20 * MS);
	settle_change(&s, SETTLE_REPLACED, START + 45 * MS);
	settle_change(&s, SETTLE_ATOMIC, START + 45 * MS);
	assert_true(settle_deadline(&s) == START + 45 * MS + SETTLE_QUIET_ATOMIC_US);
}

static void every_further_change_doubles_the_quiet_time_up_to_two_seconds(void **state)
{
	struct settle s;
	uint64_t at = START, quiet = SETTLE_QUIET_ATOMIC_US;

	(void)state;
	settle_init(&s);
	for (int i = 0; i < 12; i++) {
		settle_change(&s, SETTLE_ATOMIC, at);
		assert_true(settle_deadline(&s) == at + quiet);
		at += 5 * MS;
		quiet = quiet * 2 < SETTLE_QUIET_MAX_US ? quiet * 2 : SETTLE_QUIET_MAX_US;
	}
	assert_true(quiet == SETTLE_QUIET_MAX_US);
}

static void events_of_one_moment_are_one_change(void **state)
{
	struct settle s;

	(void)state;
	settle_init(&s);
	for (unsigned i = 0; i < 20; i++)
		settle_change(&s, SETTLE_ATOMIC, START + i * 100);
	assert_true(settle_deadline(&s) == START + 1900 + SETTLE_QUIET_ATOMIC_US);
}

static void thirty_seconds_after_the_first_change_it_is_scanned_whatever_happens(void **state)
{
	struct settle s;
	uint64_t at;

	(void)state;
	settle_init(&s);
	for (at = START; at < START + 40ull * SECOND; at += 500 * MS)
		settle_change(&s, SETTLE_ATOMIC, at);
	assert_true(settle_deadline(&s) == START + (uint64_t)SETTLE_WAIT_MAX_US);
	/* And what that scan sees is taken, although no second one would agree with it. */
	assert_int_equal(settle_scanned(&s, one, START + SETTLE_WAIT_MAX_US), SETTLE_SETTLED);
}

static void a_writer_that_goes_on_is_waited_for(void **state)
{
	struct settle s;

	(void)state;
	settle_init(&s);
	settle_change(&s, SETTLE_OPEN, START);
	assert_true(settle_deadline(&s) == START + SETTLE_QUIET_OPEN_US);
	settle_change(&s, SETTLE_OPEN, START + 300 * MS);
	assert_true(settle_deadline(&s) == START + 300 * MS + SETTLE_QUIET_OPEN_US);
	settle_change(&s, SETTLE_WRITTEN, START + 400 * MS);
	assert_true(settle_deadline(&s) == START + 400 * MS + SETTLE_QUIET_WRITTEN_US);
}

static void two_equal_scans_settle_an_atomic_save_at_once(void **state)
{
	struct settle s;
	uint64_t at = START + SETTLE_QUIET_ATOMIC_US;

	(void)state;
	settle_init(&s);
	settle_change(&s, SETTLE_ATOMIC, START);
	assert_int_equal(settle_scanned(&s, one, at), SETTLE_AGAIN);
	assert_true(settle_deadline(&s) == at);
	assert_int_equal(settle_scanned(&s, one, at + 1), SETTLE_SETTLED);
	assert_true(settle_deadline(&s) == SETTLE_NEVER_US);
}

static void scans_that_differ_are_repeated_until_two_agree(void **state)
{
	struct settle s;

	(void)state;
	settle_init(&s);
	settle_change(&s, SETTLE_ATOMIC, START);
	assert_int_equal(settle_scanned(&s, one, START + 10 * MS), SETTLE_AGAIN);
	assert_int_equal(settle_scanned(&s, two, START + 11 * MS), SETTLE_AGAIN);
	assert_int_equal(settle_scanned(&s, one, START + 12 * MS), SETTLE_AGAIN);
	assert_int_equal(settle_scanned(&s, one, START + 13 * MS), SETTLE_SETTLED);
}

static void a_change_between_two_scans_begins_anew(void **state)
{
	struct settle s;

	(void)state;
	settle_init(&s);
	settle_change(&s, SETTLE_ATOMIC, START);
	assert_int_equal(settle_scanned(&s, one, START + 10 * MS), SETTLE_AGAIN);
	settle_change(&s, SETTLE_ATOMIC, START + 11 * MS);
	assert_int_equal(settle_scanned(&s, one, START + 31 * MS), SETTLE_AGAIN);
	assert_int_equal(settle_scanned(&s, one, START + 32 * MS), SETTLE_SETTLED);
}

static void the_second_scan_of_a_file_written_in_place_keeps_its_distance(void **state)
{
	struct settle s;
	uint64_t at = START + SETTLE_QUIET_WRITTEN_US;

	(void)state;
	settle_init(&s);
	settle_change(&s, SETTLE_WRITTEN, START);
	assert_true(settle_deadline(&s) == at);
	assert_int_equal(settle_scanned(&s, one, at), SETTLE_AGAIN);
	assert_true(settle_deadline(&s) > at);
}

static void publications_keep_a_second_between_them(void **state)
{
	struct settle s;

	(void)state;
	settle_init(&s);
	settle_change(&s, SETTLE_ATOMIC, START);
	settle_clear(&s);
	settle_published(&s, START + 50 * MS);
	assert_true(settle_deadline(&s) == SETTLE_NEVER_US);
	settle_change(&s, SETTLE_ATOMIC, START + 100 * MS);
	assert_true(settle_deadline(&s) == START + 50 * MS + SETTLE_PUBLISH_GAP_US);
	settle_clear(&s);
	settle_change(&s, SETTLE_ATOMIC, START + 5 * SECOND);
	assert_true(settle_deadline(&s) == START + 5 * SECOND + SETTLE_QUIET_ATOMIC_US);
}

static void a_change_during_the_publication_waits_its_turn_and_is_not_lost(void **state)
{
	struct settle s;

	(void)state;
	settle_init(&s);
	settle_change(&s, SETTLE_ATOMIC, START);
	settle_clear(&s);
	settle_change(&s, SETTLE_ATOMIC, START + 30 * MS);
	settle_published(&s, START + 60 * MS);
	assert_true(settle_deadline(&s) == START + 60 * MS + SETTLE_PUBLISH_GAP_US);
}

static void a_wanted_scan_is_due_at_once_and_disturbs_no_save(void **state)
{
	struct settle s;

	(void)state;
	settle_init(&s);
	settle_want(&s, START);
	assert_true(settle_deadline(&s) == START);
	settle_clear(&s);
	settle_change(&s, SETTLE_ATOMIC, START);
	settle_want(&s, START + 1);
	assert_true(settle_deadline(&s) == START + SETTLE_QUIET_ATOMIC_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quiet_tree_asks_for_no_scan),
		cmocka_unit_test(an_atomic_save_is_scanned_ten_milliseconds_later),
		cmocka_unit_test(a_temporary_file_that_was_synced_for_long_is_still_one_save),
		cmocka_unit_test(every_further_change_doubles_the_quiet_time_up_to_two_seconds),
		cmocka_unit_test(events_of_one_moment_are_one_change),
		cmocka_unit_test(
			thirty_seconds_after_the_first_change_it_is_scanned_whatever_happens),
		cmocka_unit_test(a_writer_that_goes_on_is_waited_for),
		cmocka_unit_test(two_equal_scans_settle_an_atomic_save_at_once),
		cmocka_unit_test(scans_that_differ_are_repeated_until_two_agree),
		cmocka_unit_test(a_change_between_two_scans_begins_anew),
		cmocka_unit_test(the_second_scan_of_a_file_written_in_place_keeps_its_distance),
		cmocka_unit_test(publications_keep_a_second_between_them),
		cmocka_unit_test(a_change_during_the_publication_waits_its_turn_and_is_not_lost),
		cmocka_unit_test(a_wanted_scan_is_due_at_once_and_disturbs_no_save),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
