/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual router that stops. */
#include "tests/unit/vrrp_fixture.h"

/* ---- LEAVING ---- */

static void leaving_repeats_its_priority_0_once(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	expect_deadline(now_us + 5000);
	timer(now_us + 5000);
	expect_did("S0");
	expect_deadline(now_us + 996093 + 100000);
	/* Seen too late, the repeat would only hold up who is about to take over. */
	now_us = begin_leaving();
	timer(now_us + 11000);
	expect_did("");
	expect_deadline(now_us + 996093 + 100000);
}

static void leaving_lets_go_when_the_successor_announces_the_address(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	hear(1, 90, now_us + 650000);
	expect_did("");
	simple(VRRP_EV_ANNOUNCED, now_us + 652500);
	expect_did("R S1 U TINIT/announced .");
	expect_deadline(NEVER);
}

static void leaving_lets_go_50_ms_after_the_successors_advert(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	timer(now_us + 5000);
	hear(1, 90, now_us + 650000);
	expect_deadline(now_us + 700000);
	timer(now_us + 700000);
	expect_did("R S1 U TINIT/successor .");
}

static void leaving_ends_when_nobody_takes_over_and_says_no_last_word(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	timer(now_us + 5000);
	timer(now_us + 1096093);
	/* To a backup that is still waiting it would look like a living master. */
	expect_did("R U TINIT/no-successor .");
}

static void leaving_waits_no_longer_than_stop_wait(void **state)
{
	static const uint8_t priorities[] = {100, 90};
	uint64_t now_us;

	(void)state;
	configure(3, 40 * SECOND, 2, priorities);
	now_us = become_master() + 100000;
	simple(VRRP_EV_STOP, now_us);
	timer(now_us + 5000);
	expect_deadline(now_us + 3 * SECOND);
}

static void leaving_waits_996_ms_whatever_the_interval_of_version_2(void **state)
{
	static const uint8_t priorities[] = {100, 90};
	uint64_t now_us;

	(void)state;
	configure(2, 10 * SECOND, 2, priorities);
	now_us = become_master() + 100000;
	simple(VRRP_EV_STOP, now_us);
	timer(now_us + 5000);
	expect_deadline(now_us + 996093 + 100000);
}

static void leaving_waits_for_the_slowest_member_of_its_group(void **state)
{
	static const uint8_t priorities[] = {100, 90};
	uint64_t now_us;

	(void)state;
	configure(3, SECOND / 10, 2, priorities);
	conf.group_skew_us = 996093;
	now_us = become_master() + 1000;
	simple(VRRP_EV_STOP, now_us);
	timer(now_us + 5000);
	expect_deadline(now_us + 996093 + 100000);
	/* Unless that is this one. */
	configure(3, 10 * SECOND, 2, priorities);
	conf.group_skew_us = 996093;
	conf.stop_wait_us = 60 * SECOND;
	now_us = become_master() + 1000;
	simple(VRRP_EV_STOP, now_us);
	timer(now_us + 5000);
	expect_deadline(now_us + 9960937 + 100000);
}

static void a_single_node_leaves_without_waiting(void **state)
{
	static const uint8_t priorities[] = {100};
	uint64_t now_us;

	(void)state;
	configure(3, SECOND, 1, priorities);
	now_us = become_master() + 100000;
	simple(VRRP_EV_STOP, now_us);
	expect_deadline(now_us);
	timer(now_us);
	expect_did("R U TINIT/no-successor .");
}

/* Seed 47: with priority 1 the successor would have yielded to the last word by its address. */
static void leaving_says_no_last_word_to_a_successor_of_priority_1(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	hear(1, 1, now_us + 650000);
	simple(VRRP_EV_ANNOUNCED, now_us + 652500);
	expect_did("R U TINIT/announced .");
}

static void leaving_goes_on_waiting_when_its_successor_gives_up(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	timer(now_us + 5000);
	hear(1, 90, now_us + 650000);
	hear(1, 0, now_us + 651000);
	expect_deadline(now_us + 1096093);
	hear(2, 80, now_us + 700000);
	expect_deadline(now_us + 750000);
}

/* A reload forgot who the successor is, so that its giving up went unnoticed. */
static void leaving_knows_its_successor_after_a_reload_that_moves_it(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_CONF};
	const struct vrrp_node moved = {.address = {IP_V4, {198, 51, 100, 2}}, .priority = 90};
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	timer(now_us + 5000);
	hear(1, 90, now_us + 650000);
	conf.nodes[1] = conf.nodes[2];
	conf.nodes[2] = moved;
	ev.u.conf.conf = &conf;
	step(ev, now_us + 650500);
	expect_deadline(now_us + 700000);
	hear(2, 0, now_us + 651000);
	expect_deadline(now_us + 1096093);
	/* One that is no longer in the file has no last word to hear. */
	hear(2, 90, now_us + 690000);
	conf.nodes_count = 2;
	step(ev, now_us + 690500);
	timer(now_us + 740000);
	expect_did("R U TINIT/no-successor .");
}

static void leaving_does_not_take_an_old_advert_for_a_successor(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	timer(now_us + 5000);
	hear_at(1, 90, now_us - 1000, now_us + 6000);
	expect_deadline(now_us + 1096093);
}

static void leaving_puts_nothing_back_and_announces_nothing(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	simple(VRRP_EV_ADDRESS_LOST, now_us + 1);
	expect_did("");
	timer(now_us + 5000);
	simple(VRRP_EV_STOP, now_us + 6000);
	expect_did("");
	link_is(false, now_us + 7000);
	expect_did("R U TINIT/link-down .");
}

static void a_leavers_last_word_makes_its_successor_announce_again(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.self = 1;
	conf.garp_master_delay_us = conf.garp_master_refresh_us = 0;
	start();
	hear(0, 100, T0 + SECOND);
	hear(0, 0, T0 + 2 * SECOND);
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	expect_did("S90 H A TMASTER/master-left");
	hear(0, 1, now_us + 3000);
	expect_did("A"); /* and no alarm: a handover is no contention */
	assert_int_equal(actions.list[0].u.announce, VRRP_ANNOUNCE_MASTER);
	expect_deadline(now_us + 3000 + 20000);
	hear(0, 1, now_us + 500000); /* who goes on is alive */
	expect_did("!3 S90");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaving_repeats_its_priority_0_once),
		cmocka_unit_test(leaving_lets_go_when_the_successor_announces_the_address),
		cmocka_unit_test(leaving_lets_go_50_ms_after_the_successors_advert),
		cmocka_unit_test(leaving_ends_when_nobody_takes_over_and_says_no_last_word),
		cmocka_unit_test(leaving_waits_no_longer_than_stop_wait),
		cmocka_unit_test(leaving_waits_996_ms_whatever_the_interval_of_version_2),
		cmocka_unit_test(leaving_waits_for_the_slowest_member_of_its_group),
		cmocka_unit_test(a_single_node_leaves_without_waiting),
		cmocka_unit_test(leaving_says_no_last_word_to_a_successor_of_priority_1),
		cmocka_unit_test(leaving_goes_on_waiting_when_its_successor_gives_up),
		cmocka_unit_test(leaving_knows_its_successor_after_a_reload_that_moves_it),
		cmocka_unit_test(leaving_does_not_take_an_old_advert_for_a_successor),
		cmocka_unit_test(leaving_puts_nothing_back_and_announces_nothing),
		cmocka_unit_test(a_leavers_last_word_makes_its_successor_announce_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
