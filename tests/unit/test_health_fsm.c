/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/health_fsm.h"

static struct health_fsm make(int fall, int rise, bool init_fail)
{
	const struct health_conf conf = {.fall = fall, .rise = rise, .init_fail = init_fail};
	struct health_fsm fsm;

	health_fsm_init(&fsm, &conf, 1000);
	return fsm;
}

/* One letter a result: o ok, f failed, t timed out, n not executed; returns the states after each:
 * U up, D down, ? undetermined. */
static void run(struct health_fsm *fsm, const char *results, const char *states)
{
	uint64_t now_us = 2000;

	for (size_t i = 0; results[i]; i++) {
		const enum health_state before = fsm->state;
		const enum health_result result = results[i] == 'o'   ? HEALTH_OK
						  : results[i] == 'f' ? HEALTH_FAILED
						  : results[i] == 't' ? HEALTH_TIMED_OUT
								      : HEALTH_NOT_EXECUTED;
		const bool changed = health_fsm_result(fsm, result, now_us);
		const char state = fsm->state == HEALTH_UP     ? 'U'
				   : fsm->state == HEALTH_DOWN ? 'D'
							       : '?';

		assert_int_equal(changed, fsm->state != before);
		if (state != states[i])
			fail_msg("%s: after result %zu %c instead of %c", results, i, state,
				 states[i]);
		if (changed)
			assert_true(fsm->since_us == now_us && fsm->streak == 0);
		assert_true(fsm->last_us == now_us && fsm->last == result);
		now_us += 1000;
	}
}

static void the_first_result_decides_whatever_fall_and_rise_are(void **state)
{
	struct health_fsm fsm = make(3, 3, false);

	(void)state;
	assert_int_equal(fsm.state, HEALTH_UNDETERMINED);
	run(&fsm, "o", "U");
	fsm = make(3, 3, false);
	run(&fsm, "f", "D");
}

static void init_fail_starts_failed_and_needs_its_rise(void **state)
{
	struct health_fsm fsm = make(1, 2, true);

	(void)state;
	assert_int_equal(fsm.state, HEALTH_DOWN);
	run(&fsm, "ofoo", "DDDU");
}

static void it_falls_after_fall_failures_in_a_row(void **state)
{
	struct health_fsm fsm = make(3, 1, false);

	(void)state;
	run(&fsm, "offoffof", "UUUUUUUU");
	run(&fsm, "ff", "UD"); /* with the one before: three in a row */
	fsm = make(3, 1, false);
	run(&fsm, "offf", "UUUD");
}

static void it_rises_after_rise_successes_in_a_row(void **state)
{
	struct health_fsm fsm = make(1, 3, false);

	(void)state;
	run(&fsm, "foofooo", "DDDDDDU");
}

static void a_check_that_times_out_or_cannot_be_executed_has_failed(void **state)
{
	struct health_fsm fsm = make(3, 1, false);

	(void)state;
	run(&fsm, "otnf", "UUUD");
	assert_true(fsm.results[HEALTH_OK] == 1 && fsm.results[HEALTH_TIMED_OUT] == 1 &&
		    fsm.results[HEALTH_NOT_EXECUTED] == 1 && fsm.results[HEALTH_FAILED] == 1);
	fsm = make(1, 1, false);
	run(&fsm, "on", "UD");
	fsm = make(2, 2, false);
	run(&fsm, "n", "D");
}

static void a_reload_keeps_what_is_known(void **state)
{
	const struct health_conf patient = {.fall = 5, .rise = 1, .init_fail = true};
	struct health_fsm fsm = make(1, 1, false);

	(void)state;
	run(&fsm, "o", "U");
	health_fsm_reconfigure(&fsm, &patient);
	assert_int_equal(fsm.state, HEALTH_UP);
	run(&fsm, "fffff", "UUUUD");
}

#define UP HEALTH_UP
#define DOWN HEALTH_DOWN
#define UNKNOWN HEALTH_UNDETERMINED

#define T(s, w)                                                                                    \
	{                                                                                          \
		.state = (s), .weight = (w)                                                        \
	}
/* Turned round; a number in a file; and both. */
#define R(s, w)                                                                                    \
	{                                                                                          \
		.state = (s), .weight = (w), .reverse = true                                       \
	}
#define V(v, w)                                                                                    \
	{                                                                                          \
		.state = UP, .weight = (w), .valued = true, .value = (v)                           \
	}
#define RV(v, w)                                                                                   \
	{                                                                                          \
		.state = UP, .weight = (w), .valued = true, .value = (v), .reverse = true          \
	}

static void rank_follows_the_table(void **state)
{
	static const struct {
		uint8_t priority;
		struct health_track tracks[3];
		int count;
		uint8_t effective, full;
		bool sick, undetermined;
	} cells[] = {
		{100, {T(UP, 0)}, 0, 100, 100, false, false},
		/* Negative weights: subtracted while down. */
		{100, {T(UP, -20)}, 1, 100, 100, false, false},
		{100, {T(DOWN, -20)}, 1, 80, 100, true, false},
		{100, {T(UNKNOWN, -20)}, 1, 100, 100, false, true},
		{100, {T(DOWN, -20), T(DOWN, -30)}, 2, 50, 100, true, false},
		{100, {T(DOWN, -253)}, 1, 1, 100, true, false},
		/* Positive weights: added unless down. */
		{100, {T(UP, 20)}, 1, 120, 120, false, false},
		{100, {T(DOWN, 20)}, 1, 100, 120, true, false},
		{100, {T(UNKNOWN, 20)}, 1, 120, 120, false, true},
		{200, {T(UP, 100)}, 1, 254, 254, false, false},
		{200, {T(DOWN, 100)}, 1, 200, 254, true, false},
		{254, {T(DOWN, 100)}, 1, 254, 254, false, false},
		{100, {T(UP, 20), T(DOWN, -20)}, 2, 100, 120, true, false},
		/* Weight 0 decides alone. */
		{100, {T(UP, 0)}, 1, 100, 100, false, false},
		{100, {T(DOWN, 0)}, 1, 1, 100, true, false},
		{100, {T(UNKNOWN, 0)}, 1, 100, 100, false, true},
		{100, {T(DOWN, 0), T(UP, 50)}, 2, 1, 150, true, false},
		{100, {T(DOWN, 0), T(UNKNOWN, 0)}, 2, 1, 100, true, true},
		{1, {T(DOWN, 0)}, 1, 1, 1, false, false},
		/* The owner ignores weights, but not a check of weight 0. */
		{255, {T(DOWN, -20)}, 1, 255, 255, false, false},
		{255, {T(UP, 20)}, 1, 255, 255, false, false},
		{255, {T(DOWN, 0)}, 1, 1, 255, true, false},
		{255, {T(UNKNOWN, 0)}, 1, 255, 255, false, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		const struct health_rank rank =
			health_fsm_rank(cells[i].priority, cells[i].tracks, cells[i].count);
		int weights[3];

		for (int j = 0; j < cells[i].count; j++)
			weights[j] = cells[i].tracks[j].weight;
		if (rank.priority != cells[i].effective || rank.sick != cells[i].sick ||
		    rank.undetermined != cells[i].undetermined)
			fail_msg("cell %zu: %d, sick %d, undetermined %d", i, rank.priority,
				 rank.sick, rank.undetermined);
		assert_int_equal(
			health_fsm_full_priority(cells[i].priority, weights, cells[i].count),
			cells[i].full);
		/* What a peer concludes from the advert is what the node knows of itself. */
		assert_int_equal(rank.sick, rank.priority < cells[i].full);
	}
}

static void a_check_turned_round_counts_the_other_way(void **state)
{
	static const struct {
		struct health_track track;
		uint8_t effective;
		bool sick, undetermined;
	} cells[] = {
		{R(UP, -20), 80, true, false},	    {R(DOWN, -20), 100, false, false},
		{R(UP, 20), 100, true, false},	    {R(DOWN, 20), 120, false, false},
		{R(UP, 0), 1, true, false},	    {R(DOWN, 0), 100, false, false},
		{R(UNKNOWN, 20), 120, false, true}, {R(UNKNOWN, 0), 100, false, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
		const struct health_rank rank = health_fsm_rank(100, &cells[i].track, 1);

		if (rank.priority != cells[i].effective || rank.sick != cells[i].sick ||
		    rank.undetermined != cells[i].undetermined)
			fail_msg("cell %zu: %d, sick %d, undetermined %d", i, rank.priority,
				 rank.sick, rank.undetermined);
	}
}

static void the_number_in_a_file_is_multiplied_with_its_weight(void **state)
{
	static const struct {
		struct health_track track;
		uint8_t effective;
		bool sick;
	} cells[] = {
		{V(0, 1), 100, false},
		{V(7, 1), 107, false},
		{V(-7, 1), 93, true},
		{V(5, -10), 50, true},
		{V(-5, -10), 150, false},
		{RV(5, 10), 50, true},
		{V(500, 1), 254, false},
		{V(INT32_MAX, 253), 254, false},
		{V(-99, 1), 1, true},
		/* So much that it decides alone. */
		{V(-253, 1), 1, true},
		{V(-254, 1), 1, true},
		{V(INT32_MIN, 253), 1, true},
		/* Weight 0: any number but 0 decides alone. */
		{V(0, 0), 100, false},
		{V(1, 0), 1, true},
		{V(-1, 0), 1, true},
		{RV(0, 0), 1, true},
		{RV(1, 0), 100, false},
	};
	const struct health_track unreadable = {.state = DOWN, .weight = 1, .valued = true};
	const struct health_track unread = {
		.state = UNKNOWN, .weight = 0, .valued = true, .value = 9};
	/* What decides alone is not made good by what is added. */
	const struct health_track both[] = {V(-254, 1), T(UP, 100)};
	const struct health_track added[] = {V(-253, 1), T(UP, 200)};

	(void)state;
	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
		const struct health_rank rank = health_fsm_rank(100, &cells[i].track, 1);

		if (rank.priority != cells[i].effective || rank.sick != cells[i].sick)
			fail_msg("cell %zu: %d, sick %d", i, rank.priority, rank.sick);
	}
	assert_int_equal(health_fsm_rank(100, &unreadable, 1).priority, 1);
	assert_int_equal(health_fsm_rank(100, &unread, 1).priority, 100);
	assert_true(health_fsm_rank(100, &unread, 1).undetermined);
	assert_int_equal(health_fsm_rank(100, both, 2).priority, 1);
	assert_int_equal(health_fsm_rank(100, added, 2).priority, 47);
	assert_int_equal(health_fsm_rank(255, both, 1).priority, 1);
	assert_int_equal(health_fsm_rank(255, added, 1).priority, 255);
}

static void the_smallest_weight_and_the_smallest_rank_count(void **state)
{
	static const struct health_track up = T(UP, 1), down = T(DOWN, 1), minus = T(DOWN, -1);
	static const int weight = 1;

	(void)state;
	assert_int_equal(health_fsm_rank(100, &up, 1).priority, 101);
	assert_int_equal(health_fsm_rank(100, &down, 1).priority, 100);
	assert_true(health_fsm_rank(100, &down, 1).sick);
	assert_int_equal(health_fsm_full_priority(100, &weight, 1), 101);
	for (uint8_t priority = 2; priority < 5; priority++) {
		assert_int_equal(health_fsm_rank(priority, NULL, 0).priority, priority);
		assert_int_equal(health_fsm_rank(priority, &minus, 1).priority, priority - 1);
	}
	assert_int_equal(health_fsm_rank(1, &minus, 1).priority, 1);
}

static void the_rank_is_never_0_and_never_255_but_for_an_owner(void **state)
{
	(void)state;
	for (int priority = 1; priority < 255; priority++) {
		for (int weight = -HEALTH_WEIGHT_MAX; weight <= HEALTH_WEIGHT_MAX; weight++) {
			for (int s = 0; s < HEALTH_STATES; s++) {
				const struct health_track track = T((enum health_state)s, weight);
				const struct health_rank rank =
					health_fsm_rank((uint8_t)priority, &track, 1);

				assert_true(rank.priority >= 1 && rank.priority <= 254);
			}
		}
	}
}

#define S UINT64_C(1000000)

static bool fails(struct health_fsm *fsm, uint64_t now_us)
{
	return health_fsm_result(fsm, HEALTH_FAILED, now_us);
}

static void a_failure_counts_once_it_has_lasted_as_long_as_its_grace(void **state)
{
	const struct health_conf conf = {.fall = 2, .rise = 1, .grace_us = 5 * S};
	struct health_fsm fsm;

	(void)state;
	health_fsm_init(&fsm, &conf, 0);
	health_fsm_result(&fsm, HEALTH_OK, 1 * S);
	assert_true(health_fsm_grace_end_us(&fsm) == UINT64_MAX);
	assert_false(fails(&fsm, 2 * S));
	assert_true(health_fsm_grace_end_us(&fsm) == UINT64_MAX);
	assert_false(fails(&fsm, 3 * S));
	assert_true(health_fsm_grace_end_us(&fsm) == 7 * S);
	assert_false(fails(&fsm, 7 * S - 1));
	/* It came back in time: the next one has its whole grace again. */
	health_fsm_result(&fsm, HEALTH_OK, 7 * S - 1);
	assert_false(fails(&fsm, 10 * S));
	assert_false(fails(&fsm, 15 * S - 1));
	assert_true(fails(&fsm, 15 * S));
	assert_int_equal(fsm.state, HEALTH_DOWN);
}

static void what_has_failed_is_restarted_with_waits_that_double_and_so_often_at_most(void **state)
{
	const struct health_conf conf = {.fall = 1, .rise = 1, .restarts_max = 3};
	struct health_fsm fsm;

	(void)state;
	health_fsm_init(&fsm, &conf, 0);
	health_fsm_result(&fsm, HEALTH_OK, 1 * S);
	assert_false(health_fsm_restart(&fsm, 1 * S));
	/* The routers know first: it is failed, and then restarted. */
	assert_true(fails(&fsm, 2 * S));
	assert_true(health_fsm_restart(&fsm, 2 * S));
	assert_false(health_fsm_restart(&fsm, 2 * S));
	/* Not while one runs, and not before the wait is over. */
	fails(&fsm, 15 * S);
	assert_false(health_fsm_restart(&fsm, 15 * S));
	health_fsm_restarted(&fsm, 20 * S);
	fails(&fsm, 30 * S - 1);
	assert_false(health_fsm_restart(&fsm, 30 * S - 1));
	fails(&fsm, 30 * S);
	assert_true(health_fsm_restart(&fsm, 30 * S));
	health_fsm_restarted(&fsm, 31 * S);
	fails(&fsm, 51 * S - 1);
	assert_false(health_fsm_restart(&fsm, 51 * S - 1));
	fails(&fsm, 51 * S);
	assert_true(health_fsm_restart(&fsm, 51 * S));
	assert_false(health_fsm_given_up(&fsm));
	health_fsm_restarted(&fsm, 52 * S);
	assert_true(health_fsm_given_up(&fsm));
	fails(&fsm, 5000 * S);
	assert_false(health_fsm_restart(&fsm, 5000 * S));
	/* Well, but not for long: the limit still holds. */
	health_fsm_result(&fsm, HEALTH_OK, 100 * S);
	fails(&fsm, 101 * S);
	assert_false(health_fsm_restart(&fsm, 101 * S));
	health_fsm_result(&fsm, HEALTH_OK, 52 * S + HEALTH_RESTART_FORGET_US);
	fails(&fsm, 53 * S + HEALTH_RESTART_FORGET_US);
	assert_true(health_fsm_restart(&fsm, 53 * S + HEALTH_RESTART_FORGET_US));
}

static void the_wait_between_restarts_has_a_longest(void **state)
{
	const struct health_conf conf = {.fall = 1, .rise = 1, .restarts_max = 50};
	struct health_fsm fsm;
	uint64_t now_us = 1 * S, wait_us = HEALTH_RESTART_WAIT_US;

	(void)state;
	health_fsm_init(&fsm, &conf, 0);
	fails(&fsm, now_us);
	for (int i = 0; i < 40; i++) {
		assert_true(health_fsm_restart(&fsm, now_us));
		health_fsm_restarted(&fsm, now_us);
		fails(&fsm, now_us + wait_us - 1);
		assert_false(health_fsm_restart(&fsm, now_us + wait_us - 1));
		now_us += wait_us;
		fails(&fsm, now_us);
		wait_us = wait_us * 2 > HEALTH_RESTART_WAIT_MAX_US ? HEALTH_RESTART_WAIT_MAX_US
								   : wait_us * 2;
	}
}

static void restart_first_calls_it_failed_only_if_that_did_not_help(void **state)
{
	const struct health_conf conf = {
		.fall = 2, .rise = 1, .restarts_max = 5, .restart_first = true};
	struct health_fsm fsm;

	(void)state;
	health_fsm_init(&fsm, &conf, 0);
	health_fsm_result(&fsm, HEALTH_OK, 1 * S);
	fails(&fsm, 2 * S);
	assert_false(health_fsm_restart(&fsm, 2 * S));
	assert_false(fails(&fsm, 3 * S));
	assert_true(health_fsm_restart(&fsm, 3 * S));
	assert_false(fails(&fsm, 4 * S));
	assert_false(fails(&fsm, 5 * S));
	health_fsm_restarted(&fsm, 6 * S);
	/* It helped. */
	health_fsm_result(&fsm, HEALTH_OK, 6 * S);
	assert_int_equal(fsm.state, HEALTH_UP);
	/* The next time it does not: as many failures as at first, and it has failed. */
	fails(&fsm, 30 * S);
	assert_false(fails(&fsm, 31 * S));
	assert_true(health_fsm_restart(&fsm, 31 * S));
	health_fsm_restarted(&fsm, 32 * S);
	assert_false(fails(&fsm, 33 * S));
	assert_true(fails(&fsm, 34 * S));
	assert_false(health_fsm_restart(&fsm, 34 * S));
	/* And from then on it is restarted like any other. */
	fails(&fsm, 60 * S);
	assert_true(health_fsm_restart(&fsm, 60 * S));
}

static void without_a_command_nothing_is_restarted_and_nothing_given_up(void **state)
{
	struct health_fsm fsm = make(1, 1, false);

	(void)state;
	fails(&fsm, 1 * S);
	assert_false(health_fsm_restart(&fsm, 1 * S));
	assert_false(health_fsm_given_up(&fsm));
}

/* Not for long enough to be believed: what is well again is not restarted. */
static void a_restart_is_not_due_any_more_after_a_good_result(void **state)
{
	const struct health_conf conf = {.fall = 1, .rise = 3, .restarts_max = 3};
	struct health_fsm fsm;

	(void)state;
	health_fsm_init(&fsm, &conf, 7);
	assert_true(fsm.since_us == 7);
	health_fsm_result(&fsm, HEALTH_FAILED, 1 * S);
	assert_true(fsm.restart_due);
	health_fsm_result(&fsm, HEALTH_OK, 2 * S);
	assert_false(health_fsm_restart(&fsm, 2 * S));
}

static void a_restart_that_runs_is_not_forgotten_meanwhile(void **state)
{
	const struct health_conf conf = {.fall = 1, .rise = 1, .restarts_max = 3};
	const uint64_t late_us = UINT64_C(5) * HEALTH_RESTART_FORGET_US;
	struct health_fsm fsm;

	(void)state;
	health_fsm_init(&fsm, &conf, 0);
	health_fsm_result(&fsm, HEALTH_FAILED, late_us);
	assert_true(health_fsm_restart(&fsm, late_us));
	health_fsm_result(&fsm, HEALTH_OK, late_us + 1);
	assert_int_equal(fsm.restarts, 1);
	health_fsm_restarted(&fsm, late_us + 2);
	/* Once it is forgotten the next one waits for nothing. */
	health_fsm_result(&fsm, HEALTH_OK, late_us + 2 + HEALTH_RESTART_FORGET_US);
	assert_int_equal(fsm.restarts, 0);
}

static void each_failure_has_one_restart_of_its_own_first(void **state)
{
	const struct health_conf conf = {
		.fall = 1, .rise = 1, .restarts_max = 9, .restart_first = true};
	struct health_fsm fsm;

	(void)state;
	health_fsm_init(&fsm, &conf, 0);
	health_fsm_result(&fsm, HEALTH_OK, 1 * S);
	health_fsm_result(&fsm, HEALTH_FAILED, 100 * S);
	assert_true(health_fsm_restart(&fsm, 100 * S));
	health_fsm_restarted(&fsm, 101 * S);
	/* It did not help, and another one would be allowed by now: failed all the same. */
	assert_true(health_fsm_result(&fsm, HEALTH_FAILED, 200 * S));
	assert_int_equal(fsm.state, HEALTH_DOWN);
	/* The next failure is another one, though the first good result was the last, too. */
	health_fsm_restart(&fsm, 200 * S);
	health_fsm_restarted(&fsm, 201 * S);
	assert_true(health_fsm_result(&fsm, HEALTH_OK, 202 * S));
	assert_false(health_fsm_result(&fsm, HEALTH_FAILED, 400 * S));
	assert_true(health_fsm_restart(&fsm, 400 * S));
}

static void a_large_value_counts_no_more_than_any_rank(void **state)
{
	struct health_track tracks[] = {
		{.state = HEALTH_UP, .weight = 2, .valued = true, .value = 200},
		{.state = HEALTH_DOWN, .weight = -253},
	};

	(void)state;
	assert_int_equal(health_fsm_rank(100, tracks, 2).priority, 101);
	tracks[0].value = 127; /* 254 is not too large yet */
	assert_int_equal(health_fsm_rank(100, tracks, 2).priority, 101);
	tracks[0].value = 126;
	assert_int_equal(health_fsm_rank(100, tracks, 2).priority, 99);
}

static void states_and_results_have_names(void **state)
{
	(void)state;
	assert_string_equal(health_fsm_state_name(HEALTH_UP), "ok");
	assert_string_equal(health_fsm_state_name(HEALTH_DOWN), "failed");
	assert_string_equal(health_fsm_state_name(HEALTH_UNDETERMINED), "unknown");
	assert_string_equal(health_fsm_result_name(HEALTH_TIMED_OUT), "timed-out");
	assert_string_equal(health_fsm_result_name(HEALTH_NOT_EXECUTED), "not-executed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_result_decides_whatever_fall_and_rise_are),
		cmocka_unit_test(init_fail_starts_failed_and_needs_its_rise),
		cmocka_unit_test(it_falls_after_fall_failures_in_a_row),
		cmocka_unit_test(it_rises_after_rise_successes_in_a_row),
		cmocka_unit_test(a_check_that_times_out_or_cannot_be_executed_has_failed),
		cmocka_unit_test(a_reload_keeps_what_is_known),
		cmocka_unit_test(rank_follows_the_table),
		cmocka_unit_test(a_check_turned_round_counts_the_other_way),
		cmocka_unit_test(the_number_in_a_file_is_multiplied_with_its_weight),
		cmocka_unit_test(the_smallest_weight_and_the_smallest_rank_count),
		cmocka_unit_test(the_rank_is_never_0_and_never_255_but_for_an_owner),
		cmocka_unit_test(a_failure_counts_once_it_has_lasted_as_long_as_its_grace),
		cmocka_unit_test(
			what_has_failed_is_restarted_with_waits_that_double_and_so_often_at_most),
		cmocka_unit_test(the_wait_between_restarts_has_a_longest),
		cmocka_unit_test(restart_first_calls_it_failed_only_if_that_did_not_help),
		cmocka_unit_test(without_a_command_nothing_is_restarted_and_nothing_given_up),
		cmocka_unit_test(a_restart_is_not_due_any_more_after_a_good_result),
		cmocka_unit_test(a_restart_that_runs_is_not_forgotten_meanwhile),
		cmocka_unit_test(each_failure_has_one_restart_of_its_own_first),
		cmocka_unit_test(a_large_value_counts_no_more_than_any_rank),
		cmocka_unit_test(states_and_results_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
