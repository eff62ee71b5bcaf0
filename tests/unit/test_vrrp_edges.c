/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exact edges: the microsecond at which an advert, a departure or a deadline begins to mean
 * something else, and what a state forgets. Most of these stand for a mutant that survived
 * everything else (tests/mutants/mutate.py).
 */
#include "tests/unit/vrrp_fixture.h"

static void group_take(uint64_t now_us)
{
	simple(VRRP_EV_GROUP_TAKE, now_us);
}

static void group_left(int node, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_GROUP_LEFT};

	ev.u.left.node = node;
	step(ev, now_us);
}

/* Nodes 100, 90, 80, 70, one second, version 3; self as given. */
static void configure_four(int self)
{
	static const uint8_t priorities[] = {100, 90, 80, 70};

	configure(3, SECOND, 4, priorities);
	conf.self = self;
}

/* ---- departures ---- */

static void the_last_word_counts_for_ten_seconds(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		configure_three();
		conf.self = 1;
		start();
		hear(0, 0, T0 + 1000);
		hear(0, 1, T0 + 1000 + VRRP_LAST_WORD_US - (late ? 0 : 1));
		assert_int_equal(fsm.peers[0].priority, late ? 1 : 0);
		assert_int_equal(fsm.peers[0].last_word, !late);
		assert_int_equal(fsm.master, late ? 0 : -1);
	}
}

static void an_advert_is_overtaken_for_25_ms_or_half_an_interval(void **state)
{
	static const uint64_t intervals_us[] = {SECOND, 20000};

	(void)state;
	for (int i = 0; i < 2; i++) {
		for (int late = 0; late < 2; late++) {
			const uint64_t for_us = i ? 10000 : 25000;

			configure_three();
			conf.self = 1;
			conf.advert_int_us = intervals_us[i];
			start();
			hear(0, 100, T0 + 500);
			hear(0, 0, T0 + 1000);
			hear(0, 100, T0 + 1000 + for_us - (late ? 0 : 1));
			assert_int_equal(fsm.peers[0].priority, late ? 100 : 0);
			assert_int_equal(fsm.master, late ? 0 : -1);
		}
	}
}

static void who_was_alive_again_has_another_last_word(void **state)
{
	(void)state;
	configure_three();
	conf.self = 1;
	start();
	hear(0, 0, T0 + 1000);
	hear(0, 1, T0 + 40000);
	assert_true(fsm.peers[0].last_word);
	hear(0, 100, T0 + 100000);
	assert_false(fsm.peers[0].last_word);
	hear(0, 0, T0 + 200000);
	hear(0, 1, T0 + 240000);
	assert_int_equal(fsm.peers[0].priority, 0);
}

static void a_master_does_nothing_for_an_advert_that_was_overtaken(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 100000;
	hear(1, 0, now_us);
	hear(1, 90, now_us + 1000);
	expect_did("");
}

static void a_departure_of_somebody_else_frees_nothing(void **state)
{
	(void)state;
	configure_four(2);
	start();
	hear(0, 100, T0 + 1000);
	hear(1, 0, T0 + 2000);
	assert_int_equal(fsm.master, 0);
	assert_false(fsm.master_left);
	expect_deadline(T0 + 1000 + 3 * SECOND + 176 * SECOND / 256);
	/* Where nobody is obeyed it does. */
	start();
	hear(3, 0, T0 + 2000);
	assert_true(fsm.master_left);
	assert_int_equal(fsm.left_node, 3);
}

static void a_departure_ends_every_reason_to_wait(void **state)
{
	(void)state;
	configure_four(0);
	conf.preempt_delay_us = 60 * SECOND;
	start();
	hear(1, 90, T0 + 1000);
	assert_true(fsm.preempt_since_us == T0 + 1000);
	fsm.doubted = true;
	hear(1, 0, T0 + 2000);
	assert_true(fsm.preempt_since_us == NEVER && fsm.take_base_us == NEVER);
	assert_false(fsm.doubted);
	expect_deadline(T0 + 2000 + 156 * SECOND / 256);
}

static void after_a_departure_the_next_master_is_one_heard_within_three_intervals(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		configure_four(2);
		start();
		hear(0, 100, T0 + 1000);
		hear(1, 90, T0 + 2000); /* passed over */
		assert_int_equal(fsm.master, 0);
		hear(0, 100, T0 + 1000 + SECOND);
		hear(0, 100, T0 + 1000 + 2 * SECOND);
		hear(0, 100, T0 + 1900 + 2 * SECOND);
		hear(0, 0, T0 + 2000 + 3 * SECOND - (late ? 0 : 1));
		assert_int_equal(fsm.master, late ? -1 : 1);
	}
}

static void after_a_departure_the_highest_of_the_others_is_the_master(void **state)
{
	(void)state;
	configure_four(3);
	conf.nodes[2].priority = 120;
	start();
	hear(2, 120, T0 + 1000);
	hear(0, 100, T0 + 2000);
	hear(1, 90, T0 + 3000);
	assert_int_equal(fsm.master, 2);
	hear(2, 0, T0 + 4000);
	assert_int_equal(fsm.master, 0);
}

/* ---- two masters ---- */

static void the_lower_of_two_masters_counts_once_the_higher_is_three_intervals_old(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		configure_four(2);
		start();
		hear(0, 100, T0 + 1000);
		hear(1, 90, T0 + 1000 + 3 * SECOND - (late ? 0 : 1));
		assert_int_equal(fsm.master, late ? 1 : 0);
	}
}

static void under_nopreempt_a_lower_master_is_obeyed_beside_a_higher_one(void **state)
{
	(void)state;
	configure_four(2);
	conf.nopreempt = true;
	start();
	hear(0, 100, T0 + 1000);
	hear(3, 70, T0 + 2 * SECOND);
	assert_int_equal(fsm.master, 0);
	expect_deadline(T0 + 5 * SECOND + 176 * SECOND / 256);
	conf.nopreempt = false;
	start();
	hear(0, 100, T0 + 1000);
	hear(3, 70, T0 + 2 * SECOND);
	expect_deadline(T0 + 1000 + 3 * SECOND + 176 * SECOND / 256);
}

static void a_master_whose_own_address_is_not_known_yields_to_its_equal(void **state)
{
	(void)state;
	configure_three();
	conf.nodes[0].address.family = IP_NONE;
	hear(1, 100, become_master() + 100000);
	assert_int_equal(fsm.cause, VRRP_CAUSE_HIGHER_ADDRESS);
	/* And one that knows its own does not yield to an unknown one. */
	configure_three();
	conf.nodes[1].address.family = IP_NONE;
	hear(1, 100, become_master() + 100000);
	assert_int_equal(fsm.state, VRRP_MASTER);
}

/* ---- what is judged again ---- */

/* The master was heard at T0; our own rank rises above it so much later. */
static void outgrow(int self, int master, uint64_t later_us)
{
	configure_four(self);
	conf.nodes[self].priority = 60;
	conf.preempt_delay_us = 60 * SECOND;
	start();
	hear(master, conf.nodes[master].priority, T0);
	assert_true(fsm.preempt_since_us == NEVER);
	health_is(200, false, T0 + later_us);
}

static void who_outgrows_the_master_judges_it_for_three_intervals(void **state)
{
	(void)state;
	outgrow(2, 0, 3 * SECOND - 1);
	assert_true(fsm.preempt_since_us == T0 + 3 * SECOND - 1);
	outgrow(2, 0, 3 * SECOND);
	assert_true(fsm.preempt_since_us == NEVER);
}

static void a_sick_master_of_priority_1_is_judged_like_any_other(void **state)
{
	(void)state;
	configure_four(2);
	start();
	health_is(1, false, T0 + 1);
	hear(0, 1, T0 + 1000);
	assert_true(fsm.take_base_us == NEVER);
	health_is(80, false, T0 + 2000);
	assert_true(fsm.take_base_us == T0 + 2000);
}

static void a_reason_to_preempt_that_goes_away_begins_anew(void **state)
{
	(void)state;
	configure_four(0);
	conf.preempt_delay_us = 60 * SECOND;
	start();
	hear(1, 90, T0 + 1000);
	health_is(50, false, T0 + 2000);
	assert_true(fsm.preempt_since_us == NEVER);
	health_is(100, false, T0 + 3000);
	assert_true(fsm.preempt_since_us == T0 + 3000);
	/* Nor does it outlive the master. */
	health_is(99, false, T0 + 1000 + 3 * SECOND);
	assert_true(fsm.preempt_since_us == NEVER);
}

static void a_reload_a_handover_and_maintenance_judge_the_master_again(void **state)
{
	(void)state;
	configure_four(0);
	conf.nopreempt = true;
	conf.preempt_delay_us = 60 * SECOND;
	start();
	hear(1, 90, T0 + 1000);
	assert_true(fsm.preempt_since_us == NEVER);
	conf.nopreempt = false;
	reload(&conf, T0 + 2000);
	assert_true(fsm.preempt_since_us == T0 + 2000);
	maintenance_is(true, T0 + 3000);
	assert_true(fsm.preempt_since_us == NEVER);
	maintenance_is(false, T0 + 4000);
	assert_true(fsm.preempt_since_us == T0 + 4000);
	fsm.handed_over = true;
	hear(1, 90, T0 + 5000);
	assert_true(fsm.preempt_since_us == NEVER);
	hand_over(true, T0 + 6000);
	assert_true(fsm.preempt_since_us == T0 + 6000);
}

static void a_sick_master_that_was_heard_keeps_master_down_going(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_AWAY};

	(void)state;
	configure_four(1);
	start();
	hear(0, 50, T0 + 3 * SECOND);
	expect_deadline(T0 + 3 * SECOND + 166 * SECOND / 256);
	/* After an absence it is heard first, and for as long as after any advert. */
	ev.u.away.pause_us = 10;
	step(ev, T0 + 3 * SECOND + 1000);
	assert_true(fsm.take_base_us == NEVER);
	expect_deadline(T0 + 6 * SECOND + 166 * SECOND / 256);
}

/* ---- doubt ---- */

static void a_deadline_is_doubted_when_it_is_more_than_an_interval_late(void **state)
{
	uint64_t deadline_us;

	(void)state;
	configure_three();
	start();
	deadline_us = vrrp_fsm_deadline(&fsm);
	timer(deadline_us + SECOND);
	assert_int_equal(fsm.state, VRRP_MASTER);
	start();
	timer(deadline_us + SECOND + 1);
	assert_int_equal(fsm.state, VRRP_BACKUP);
	assert_true(fsm.doubted);
	/* Whoever is heard again may be doubted again. */
	hear(1, 110, deadline_us + SECOND + 2);
	assert_false(fsm.doubted);
}

static void a_deadline_that_waited_for_the_checks_is_not_doubted(void **state)
{
	uint64_t due_us;

	(void)state;
	for (int early = 0; early < 2; early++) {
		configure_three();
		start();
		health_is(100, true, T0 + 1000);
		due_us = T0 + 3 * SECOND + 156 * SECOND / 256;
		health_is(100, false, due_us - (early ? 1 : 0));
		assert_int_equal(fsm.doubted, !early);
	}
}

/* ---- FAULT ---- */

static void fault_waits_for_the_link_and_for_its_time(void **state)
{
	uint64_t now_us, retry_us;

	(void)state;
	configure_three();
	now_us = become_master();
	simple(VRRP_EV_HOLD_FAILED, now_us + 1000);
	assert_int_equal(fsm.state, VRRP_FAULT);
	retry_us = now_us + 1000 + VRRP_HOLD_RETRY_US;
	expect_deadline(retry_us);
	link_is(false, now_us + 2000);
	expect_deadline(NEVER);
	timer(retry_us - 2);
	link_is(true, retry_us - 1); /* too early */
	assert_int_equal(fsm.state, VRRP_FAULT);
	link_is(false, retry_us);
	assert_int_equal(fsm.state, VRRP_FAULT);
	timer(retry_us);
	assert_int_equal(fsm.state, VRRP_FAULT);
	link_is(true, retry_us);
	assert_int_equal(fsm.state, VRRP_BACKUP);
	assert_int_equal(fsm.cause, VRRP_CAUSE_LINK_UP);
}

static void fault_without_a_time_waits_for_the_link_alone(void **state)
{
	(void)state;
	configure_three();
	start();
	link_is(false, T0 + 1000);
	expect_did("TFAULT/link-down");
	link_is(false, T0 + 2000);
	expect_did("");
	timer(T0 + 100 * SECOND);
	expect_did("");
	simple(VRRP_EV_STOP, T0 + 101 * SECOND);
	expect_did("TINIT/stop .");
}

static void what_is_told_before_the_start_or_in_fault_is_known_afterwards(void **state)
{
	(void)state;
	configure_three();
	vrrp_fsm_init(&fsm, &conf);
	fsm.handed_over = true;
	conf.nopreempt = true;
	reload(&conf, T0);
	hand_over(true, T0);
	maintenance_is(true, T0);
	assert_true(fsm.conf.nopreempt && !fsm.handed_over && fsm.priority == 1);
	maintenance_is(false, T0);
	link_is(false, T0);
	simple(VRRP_EV_START, T0);
	assert_int_equal(fsm.state, VRRP_FAULT);
	fsm.handed_over = true;
	conf.nopreempt = false;
	reload(&conf, T0 + 1);
	hand_over(true, T0 + 2);
	maintenance_is(true, T0 + 3);
	assert_true(!fsm.conf.nopreempt && !fsm.handed_over && fsm.priority == 1);
}

/* ---- reload ---- */

static void a_reload_knows_every_node_by_its_address(void **state)
{
	const struct vrrp_node stranger = {.address = {IP_V4, {198, 51, 100, 77}}, .priority = 60};
	struct vrrp_node first;

	(void)state;
	configure_four(2);
	start();
	hear(0, 100, T0 + 1000);
	hear(1, 90, T0 + 2000);
	first = conf.nodes[0];
	conf.nodes[0] = conf.nodes[3];
	conf.nodes[3] = first;
	reload(&conf, T0 + 3000);
	assert_int_equal(fsm.master, 3);
	/* One that is new has not been heard, in whatever place. */
	conf.nodes[1] = stranger;
	conf.nodes[0] = first;
	conf.nodes_count = 3;
	reload(&conf, T0 + 4000);
	assert_int_equal(fsm.master, 0);
	assert_false(fsm.peers[1].heard);
}

static void leaving_knows_a_successor_in_the_first_place(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_four(1);
	now_us = become_master() + 100000;
	simple(VRRP_EV_STOP, now_us);
	hear(0, 100, now_us + 1000);
	reload(&conf, now_us + 2000);
	assert_int_equal(fsm.successor, 0);
	timer(now_us + 51000);
	expect_did("R S1 U TINIT/successor .");
}

/* ---- groups ---- */

static void a_member_wants_and_waits_until_it_is_told(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_four(1);
	conf.grouped = true;
	start();
	hear(0, 50, T0 + 1000);
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	assert_true(fsm.wants && fsm.wants_cause == VRRP_CAUSE_SICK_HOLDER && fsm.wants_node == 0);
	expect_deadline(NEVER);
	timer(now_us + 1);
	expect_did("");
	group_take(now_us + 2);
	expect_did("S90 H A TMASTER/sick-holder");
	assert_int_equal(actions.list[3].u.transition.node, 0);
	assert_false(fsm.wants);
}

static void a_member_whose_time_has_not_come_takes_over_with_its_group(void **state)
{
	(void)state;
	configure_four(1);
	conf.grouped = true;
	start();
	hear(0, 100, T0 + 1000);
	group_take(T0 + 2000);
	expect_did("S90 H A TMASTER/group");
	assert_int_equal(actions.list[3].u.transition.node, -1);
	/* One that is in no group is told nothing. */
	conf.grouped = false;
	start();
	group_take(T0 + 2000);
	expect_did("");
	group_left(0, T0 + 3000);
	assert_false(fsm.master_left);
}

static void a_member_wants_no_more_when_the_holder_is_heard(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_four(1);
	conf.grouped = true;
	start();
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	assert_true(fsm.wants);
	hear(0, 100, now_us + 1000);
	assert_false(fsm.wants);
	expect_deadline(now_us + 1000 + 3 * SECOND + 166 * SECOND / 256);
	/* Nor after a reload that leaves the group. */
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	assert_true(fsm.wants);
	conf.grouped = false;
	reload(&conf, now_us);
	assert_false(fsm.wants);
	expect_deadline(now_us);
}

static void what_the_group_heard_of_the_master_counts_here_too(void **state)
{
	(void)state;
	configure_four(1);
	conf.grouped = true;
	conf.preempt_delay_us = 60 * SECOND;
	start();
	hear(0, 100, T0 + 1000);
	group_left(2, T0 + 2000); /* somebody else */
	assert_int_equal(fsm.master, 0);
	fsm.doubted = true;
	group_left(0, T0 + 3000);
	assert_true(fsm.master_left && fsm.master == -1 && !fsm.doubted);
	expect_deadline(T0 + 3000 + 166 * SECOND / 256);
	/* Its last advert was still under way (seed 18060 of sim_group). */
	hear(0, 100, T0 + 3000 + VRRP_OVERTAKEN_US - 1);
	assert_true(fsm.master_left && fsm.master == -1);
	hear(0, 1, T0 + SECOND); /* and its last word */
	assert_true(fsm.master_left && fsm.master == -1);
	hear(0, 100, T0 + SECOND + 1);
	assert_int_equal(fsm.master, 0);
	/* Whatever the reason to wait was. */
	start();
	health_is(120, false, T0 + 500);
	hear(0, 100, T0 + 1000);
	assert_true(fsm.preempt_since_us == T0 + 1000);
	group_left(0, T0 + 3000);
	assert_true(fsm.preempt_since_us == NEVER);
	start();
	hear(0, 50, T0 + 1000);
	assert_true(fsm.take_base_us == T0 + 1000);
	group_left(0, T0 + 3000);
	assert_true(fsm.take_base_us == NEVER);
	assert_int_equal(fsm.left_node, -1);
}

static void a_member_yields_with_its_group(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_GROUP_YIELD};
	uint64_t now_us;

	(void)state;
	configure_four(1);
	conf.grouped = true;
	start();
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	group_take(now_us);
	simple(VRRP_EV_GROUP_YIELD, now_us + 1000);
	expect_did("S0 R TBACKUP/group");
	assert_false(fsm.handed_over);
	expect_deadline(now_us + 1000 + 3 * SECOND + 166 * SECOND / 256);
	/* What the group handed over it takes back from nobody. */
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	group_take(now_us);
	ev.u.yield.handed_over = true;
	step(ev, now_us + 1000);
	assert_true(fsm.handed_over);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_word_counts_for_ten_seconds),
		cmocka_unit_test(an_advert_is_overtaken_for_25_ms_or_half_an_interval),
		cmocka_unit_test(who_was_alive_again_has_another_last_word),
		cmocka_unit_test(a_master_does_nothing_for_an_advert_that_was_overtaken),
		cmocka_unit_test(a_departure_of_somebody_else_frees_nothing),
		cmocka_unit_test(a_departure_ends_every_reason_to_wait),
		cmocka_unit_test(
			after_a_departure_the_next_master_is_one_heard_within_three_intervals),
		cmocka_unit_test(after_a_departure_the_highest_of_the_others_is_the_master),
		cmocka_unit_test(
			the_lower_of_two_masters_counts_once_the_higher_is_three_intervals_old),
		cmocka_unit_test(under_nopreempt_a_lower_master_is_obeyed_beside_a_higher_one),
		cmocka_unit_test(a_master_whose_own_address_is_not_known_yields_to_its_equal),
		cmocka_unit_test(who_outgrows_the_master_judges_it_for_three_intervals),
		cmocka_unit_test(a_sick_master_of_priority_1_is_judged_like_any_other),
		cmocka_unit_test(a_reason_to_preempt_that_goes_away_begins_anew),
		cmocka_unit_test(a_reload_a_handover_and_maintenance_judge_the_master_again),
		cmocka_unit_test(a_sick_master_that_was_heard_keeps_master_down_going),
		cmocka_unit_test(a_deadline_is_doubted_when_it_is_more_than_an_interval_late),
		cmocka_unit_test(a_deadline_that_waited_for_the_checks_is_not_doubted),
		cmocka_unit_test(fault_waits_for_the_link_and_for_its_time),
		cmocka_unit_test(fault_without_a_time_waits_for_the_link_alone),
		cmocka_unit_test(what_is_told_before_the_start_or_in_fault_is_known_afterwards),
		cmocka_unit_test(a_reload_knows_every_node_by_its_address),
		cmocka_unit_test(leaving_knows_a_successor_in_the_first_place),
		cmocka_unit_test(a_member_wants_and_waits_until_it_is_told),
		cmocka_unit_test(a_member_whose_time_has_not_come_takes_over_with_its_group),
		cmocka_unit_test(a_member_wants_no_more_when_the_holder_is_heard),
		cmocka_unit_test(what_the_group_heard_of_the_master_counts_here_too),
		cmocka_unit_test(a_member_yields_with_its_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
