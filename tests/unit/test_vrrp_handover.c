/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual router that somebody moves by hand: handover and maintenance. Invariants A24 to A26. */
#include "tests/unit/vrrp_fixture.h"

static uint64_t begin_handover(void)
{
	uint64_t now_us;

	configure_three();
	now_us = become_master() + 100000;
	hand_over(false, now_us);
	expect_did("S0 W TLEAVING/handover");
	assert_true(vrrp_fsm_holds(&fsm));
	return now_us;
}

/* Handed over to node 1, which announced at the time that is returned. */
static uint64_t handed_over(void)
{
	uint64_t now_us = begin_handover();

	hear(1, 90, now_us + 650000);
	expect_did("");
	simple(VRRP_EV_ANNOUNCED, now_us + 652500);
	expect_did("R S1 U TBACKUP/announced");
	assert_int_equal(vrrp_fsm_master(&fsm), 1);
	return now_us + 652500;
}

/* ---- handover ---- */

static void a_handover_holds_until_the_successor_announces(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = handed_over();
	/* Three intervals since its advert, and our skew time at 100. */
	expect_deadline(now_us - 2500 + 3 * SECOND + 609375);
}

static void a_handover_follows_a_successor_50_ms_after_its_advert(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_handover();
	timer(now_us + 5000);
	expect_did("S0");
	hear(1, 90, now_us + 650000);
	timer(now_us + 700000);
	expect_did("R S1 U TBACKUP/successor");
}

static void a_handover_to_nobody_leaves_the_addresses_where_they_are(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_handover();
	timer(now_us + 5000);
	timer(now_us + 1096093);
	expect_did("U S100 H A TMASTER/no-successor");
	assert_false(fsm.handed_over);
}

/* Frozen for longer than a successor would need to come and go: nothing is known any more. */
static void a_handover_that_ends_much_too_late_lets_go(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_handover();
	timer(now_us + 5000);
	timer(now_us + 1096093 + SECOND);
	expect_did("U S100 H A TMASTER/no-successor");
	now_us = begin_handover();
	timer(now_us + 5000);
	timer(now_us + 1096093 + SECOND + 1);
	expect_did("R U TBACKUP/away");
}

static void a_handover_without_a_peer_does_nothing(void **state)
{
	static const uint8_t priorities[] = {100};
	uint64_t now_us;

	(void)state;
	configure(3, SECOND, 1, priorities);
	now_us = become_master() + 100000;
	hand_over(false, now_us);
	expect_did("");
	assert_int_equal(fsm.state, VRRP_MASTER);
	assert_false(fsm.handed_over);
}

static void who_handed_over_does_not_take_back_from_a_healthy_holder(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = handed_over();
	for (int i = 1; i <= 10; i++) {
		hear(1, 90, now_us + (uint64_t)i * SECOND);
		expect_did("");
		assert_true(vrrp_fsm_deadline(&fsm) > now_us + (uint64_t)(i + 3) * SECOND);
	}
}

static void who_handed_over_takes_back_from_a_sick_holder(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = handed_over();
	hear(1, 70, now_us + SECOND);
	expect_deadline(now_us + SECOND + 609375);
	timer(now_us + SECOND + 609375);
	expect_did("S100 H A TMASTER/sick-holder");
	assert_false(fsm.handed_over);
}

static void who_handed_over_takes_over_when_the_successor_falls_silent(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = handed_over();
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	expect_did("S100 H A TMASTER/master-down");
	assert_false(fsm.handed_over);
}

static void a_lifted_handover_gives_the_rank_its_right_back(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = handed_over();
	hear(1, 90, now_us + SECOND);
	hand_over(true, now_us + SECOND + 1);
	expect_did("");
	hear(1, 90, now_us + 2 * SECOND); /* no longer re-arms */
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	expect_did("S100 H A TMASTER/preempt");
}

static void a_handover_that_is_lifted_on_its_way_is_forgotten(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_handover();
	hand_over(true, now_us + 1000);
	expect_did("");
	hear(1, 90, now_us + 650000);
	simple(VRRP_EV_ANNOUNCED, now_us + 652500);
	expect_did("R S1 U TBACKUP/announced");
	assert_false(fsm.handed_over);
}

static void who_handed_over_and_starts_anew_does_not_take_back_either(void **state)
{
	(void)state;
	configure_three();
	vrrp_fsm_init(&fsm, &conf);
	hand_over(false, T0);
	link_is(true, T0);
	simple(VRRP_EV_START, T0);
	expect_did("TBACKUP/start");
	assert_true(fsm.handed_over);
	hear(1, 90, T0 + 1000);
	assert_true(fsm.preempt_since_us == VRRP_NEVER_US);
	hand_over(true, T0 + 2000);
	assert_true(fsm.preempt_since_us == T0 + 2000);
}

static void the_owner_does_not_take_back_what_it_handed_over(void **state)
{
	static const uint8_t priorities[] = {255, 90};
	uint64_t now_us = T0 + SECOND;

	(void)state;
	configure(3, SECOND, 2, priorities);
	start();
	expect_did("S255 H A TMASTER/owner");
	hand_over(false, now_us);
	hear(1, 90, now_us + 650000);
	simple(VRRP_EV_ANNOUNCED, now_us + 652500);
	hear(1, 90, now_us + SECOND);
	assert_true(vrrp_fsm_deadline(&fsm) > now_us + 4 * SECOND);
	link_is(false, now_us + SECOND + 1);
	link_is(true, now_us + SECOND + 2);
	expect_did("TBACKUP/link-up");
}

static void a_stop_during_a_handover_ends_in_a_stop(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_handover();
	simple(VRRP_EV_STOP, now_us + 1000);
	expect_did("");
	hear(1, 90, now_us + 650000);
	simple(VRRP_EV_ANNOUNCED, now_us + 652500);
	expect_did("R S1 U TINIT/announced .");
}

static void a_handover_whose_link_goes_down_lets_go(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_handover();
	link_is(false, now_us + 1000);
	expect_did("R U TFAULT/link-down");
	link_is(true, now_us + 2000);
	expect_did("TBACKUP/link-up");
}

static void a_second_handover_at_once_changes_nothing(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_handover();
	hand_over(false, now_us + 1000);
	expect_did("");
	expect_deadline(now_us + 5000);
}

static void who_does_not_hold_has_nothing_to_hand_over(void **state)
{
	(void)state;
	configure_three();
	start();
	hand_over(false, T0 + 1);
	expect_did("");
	assert_false(fsm.handed_over);
	link_is(false, T0 + 2);
	hand_over(false, T0 + 3);
	expect_did("");
	assert_false(fsm.handed_over);
}

/* A reload in between moves the places of the nodes. */
static void a_handover_keeps_its_successor_over_a_reload(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_CONF};
	struct vrrp_conf other;
	uint64_t now_us;

	(void)state;
	now_us = begin_handover();
	timer(now_us + 5000);
	hear(1, 90, now_us + 650000);
	other = conf;
	other.nodes[1] = conf.nodes[2];
	other.nodes[2] = conf.nodes[1];
	ev.u.conf.conf = &other;
	step(ev, now_us + 651000);
	hear(2, 0, now_us + 652000);
	expect_deadline(now_us + 1096093); /* it gave up, under its new place */
}

/* ---- maintenance ---- */

static void a_master_hands_over_for_maintenance_and_ranks_last(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 100000;
	maintenance_is(true, now_us);
	expect_did("S0 W TLEAVING/maintenance");
	hear(1, 90, now_us + 650000);
	simple(VRRP_EV_ANNOUNCED, now_us + 652500);
	expect_did("R S1 U TBACKUP/announced");
	assert_int_equal(fsm.priority, 1);
	assert_true(vrrp_fsm_sick(&fsm));
	/* It waits as long as the last one in the order. */
	expect_deadline(now_us + 650000 + 3 * SECOND + 996093);
	hear(1, 70, now_us + SECOND); /* sick, and still better */
	expect_deadline(now_us + 4 * SECOND + 996093);
}

static void maintenance_takes_what_nobody_else_holds(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	vrrp_fsm_init(&fsm, &conf);
	link_is(true, T0);
	maintenance_is(true, T0);
	simple(VRRP_EV_START, T0);
	expect_did("TBACKUP/start");
	now_us = vrrp_fsm_deadline(&fsm);
	assert_true(now_us == T0 + 3 * SECOND + 996093);
	timer(now_us);
	expect_did("S1 H A TMASTER/master-down");
	/* Whoever comes is better. */
	hear(2, 80, now_us + 1000);
	expect_did("S1 S1 S1 R TBACKUP/higher-priority");
}

static void maintenance_with_nobody_there_keeps_the_addresses_at_the_lowest_rank(void **state)
{
	static const uint8_t priorities[] = {100};
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 100000;
	maintenance_is(true, now_us);
	timer(now_us + 5000);
	timer(now_us + 1096093);
	expect_did("U S1 H A TMASTER/no-successor");
	configure(3, SECOND, 1, priorities);
	now_us = become_master() + 100000;
	maintenance_is(true, now_us);
	expect_did("S1");
	assert_int_equal(fsm.state, VRRP_MASTER);
}

static void checks_change_nothing_in_maintenance_and_count_again_after_it(void **state)
{
	uint64_t now_us = T0 + 1;

	(void)state;
	configure_three();
	start();
	maintenance_is(true, now_us);
	health_is(70, false, now_us + 1);
	assert_int_equal(fsm.priority, 1);
	maintenance_is(false, now_us + 2);
	assert_int_equal(fsm.priority, 70);
}

static void the_end_of_maintenance_gives_the_rank_back(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	start();
	maintenance_is(true, T0 + 1);
	hear(1, 90, T0 + SECOND);
	maintenance_is(false, T0 + SECOND + 1);
	hear(1, 90, T0 + 2 * SECOND);
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	expect_did("S100 H A TMASTER/preempt");
	/* A master says at once what it ranks. */
	maintenance_is(true, now_us + 1000);
	timer(now_us + 6000);
	timer(now_us + 1000 + 1096093);
	expect_did("U S1 H A TMASTER/no-successor");
	maintenance_is(false, now_us + 2 * SECOND);
	expect_did("S100");
}

static void an_engine_that_resumes_in_maintenance_keeps_the_lowest_rank(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_RESUME};

	(void)state;
	configure_three();
	vrrp_fsm_init(&fsm, &conf);
	link_is(true, T0);
	maintenance_is(true, T0);
	ev.u.resume.last_advert_us = T0 - 1000;
	ev.u.resume.priority = 1;
	step(ev, T0);
	expect_did("H TMASTER/resumed");
	timer(T0);
	expect_did("S1");
	maintenance_is(false, T0 + 1000);
	expect_did("S100");
}

static void maintenance_waits_out_a_fault(void **state)
{
	(void)state;
	configure_three();
	start();
	link_is(false, T0 + 1);
	maintenance_is(true, T0 + 2);
	expect_did("");
	assert_int_equal(fsm.priority, 1);
	link_is(true, T0 + 3);
	expect_did("TBACKUP/link-up");
}

static void maintenance_declared_while_it_leaves_counts_afterwards(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_handover();
	maintenance_is(true, now_us + 1000);
	expect_did("");
	timer(now_us + 5000);
	timer(now_us + 1096093);
	expect_did("U S1 H A TMASTER/no-successor");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_handover_holds_until_the_successor_announces),
		cmocka_unit_test(a_handover_follows_a_successor_50_ms_after_its_advert),
		cmocka_unit_test(a_handover_to_nobody_leaves_the_addresses_where_they_are),
		cmocka_unit_test(a_handover_that_ends_much_too_late_lets_go),
		cmocka_unit_test(a_handover_without_a_peer_does_nothing),
		cmocka_unit_test(who_handed_over_does_not_take_back_from_a_healthy_holder),
		cmocka_unit_test(who_handed_over_takes_back_from_a_sick_holder),
		cmocka_unit_test(who_handed_over_takes_over_when_the_successor_falls_silent),
		cmocka_unit_test(a_lifted_handover_gives_the_rank_its_right_back),
		cmocka_unit_test(a_handover_that_is_lifted_on_its_way_is_forgotten),
		cmocka_unit_test(who_handed_over_and_starts_anew_does_not_take_back_either),
		cmocka_unit_test(the_owner_does_not_take_back_what_it_handed_over),
		cmocka_unit_test(a_stop_during_a_handover_ends_in_a_stop),
		cmocka_unit_test(a_handover_whose_link_goes_down_lets_go),
		cmocka_unit_test(a_second_handover_at_once_changes_nothing),
		cmocka_unit_test(who_does_not_hold_has_nothing_to_hand_over),
		cmocka_unit_test(a_handover_keeps_its_successor_over_a_reload),
		cmocka_unit_test(a_master_hands_over_for_maintenance_and_ranks_last),
		cmocka_unit_test(maintenance_takes_what_nobody_else_holds),
		cmocka_unit_test(
			maintenance_with_nobody_there_keeps_the_addresses_at_the_lowest_rank),
		cmocka_unit_test(checks_change_nothing_in_maintenance_and_count_again_after_it),
		cmocka_unit_test(the_end_of_maintenance_gives_the_rank_back),
		cmocka_unit_test(an_engine_that_resumes_in_maintenance_keeps_the_lowest_rank),
		cmocka_unit_test(maintenance_waits_out_a_fault),
		cmocka_unit_test(maintenance_declared_while_it_leaves_counts_afterwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
