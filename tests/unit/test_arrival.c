/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/arrival.h"

#define WALL INT64_C(1800000000000000) /* some time in 2027 */
#define MONO INT64_C(50000000)

static void the_first_look_trusts_nothing(void **state)
{
	struct arrival arrival = {0};

	(void)state;
	assert_false(arrival_look(&arrival, MONO, WALL));
	assert_int_equal(arrival_us(&arrival, false, WALL - 700, 0, MONO), MONO);
}

static void a_stamp_is_told_in_monotonic_time_while_the_clocks_agree(void **state)
{
	struct arrival arrival = {0};

	(void)state;
	arrival_look(&arrival, MONO, WALL);
	assert_true(arrival_look(&arrival, MONO + 100000, WALL + 100000));
	assert_int_equal(arrival_us(&arrival, true, WALL + 99300, MONO, MONO + 100000),
			 MONO + 99300);
}

static void slewing_is_no_step(void **state)
{
	struct arrival arrival = {0};

	(void)state;
	arrival_look(&arrival, MONO, WALL);
	for (int i = 1; i <= 1000; i++) /* 500 ppm for 100 s */
		assert_true(arrival_look(&arrival, MONO + i * 100000, WALL + i * 100050));
}

static void a_step_of_the_wall_clock_makes_old_stamps_worthless(void **state)
{
	static const int64_t steps_us[] = {1500, -1500, 3600000000, -3600000000};

	(void)state;
	for (size_t i = 0; i < sizeof steps_us / sizeof *steps_us; i++) {
		struct arrival arrival = {0};
		bool still;

		arrival_look(&arrival, MONO, WALL);
		still = arrival_look(&arrival, MONO + 100000, WALL + 100000 + steps_us[i]);
		assert_false(still);
		assert_int_equal(arrival_us(&arrival, still, WALL + 50000, MONO, MONO + 100000),
				 MONO + 100000);
		/* The one after it is good again. */
		assert_true(arrival_look(&arrival, MONO + 200000, WALL + 200000 + steps_us[i]));
	}
}

static void a_packet_comes_after_its_socket_was_empty_and_not_in_the_future(void **state)
{
	struct arrival arrival = {0};

	(void)state;
	arrival_look(&arrival, MONO, WALL);
	arrival_look(&arrival, MONO + 1000, WALL + 1000);
	/* Stamped long before the socket was seen empty. */
	assert_int_equal(arrival_us(&arrival, true, WALL - 90000000, MONO + 500, MONO + 1000),
			 MONO + 500);
	/* Before the monotonic clock began. */
	assert_int_equal(arrival_us(&arrival, true, WALL - 2 * MONO, MONO + 500, MONO + 1000),
			 MONO + 500);
	/* Later than now: read in a turn that began before it came. */
	assert_int_equal(arrival_us(&arrival, true, WALL + 5000, MONO + 500, MONO + 1000),
			 MONO + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_look_trusts_nothing),
		cmocka_unit_test(a_stamp_is_told_in_monotonic_time_while_the_clocks_agree),
		cmocka_unit_test(slewing_is_no_step),
		cmocka_unit_test(a_step_of_the_wall_clock_makes_old_stamps_worthless),
		cmocka_unit_test(a_packet_comes_after_its_socket_was_empty_and_not_in_the_future),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
