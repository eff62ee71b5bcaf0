/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual router, arm by arm: what an event does is all that it does, and of the nodes those
 * count that there are. Each case here is a small mistake that mutate.py made and nobody noticed.
 */
#include "tests/unit/vrrp_fixture.h"

/* ---- one event, one arm ---- */

/* As it is stored: a flag that was read out of a pointer may be neither 0 nor 1. */
static uint8_t handed_over_byte(void)
{
	uint8_t byte;

	memcpy(&byte, &fsm.handed_over, 1);
	return byte;
}

static void a_reload_does_nothing_but_reload(void **state)
{
	static const uint8_t sick[] = {90, 100};
	/* A pointer beside a flag: one of the two has a first byte that is not 0. */
	static struct vrrp_conf confs[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		/* Not given away by it, nor taken back. */
		configure_three();
		confs[i] = conf;
		vrrp_fsm_init(&fsm, &conf);
		reload(&confs[i], T0);
		assert_int_equal(handed_over_byte(), 0);
		hand_over(false, T0);
		reload(&confs[i], T0);
		assert_int_equal(handed_over_byte(), 1);
		link_is(true, T0);
		simple(VRRP_EV_START, T0);
		reload(&confs[i], T0 + 1);
		expect_did("");
		assert_int_equal(handed_over_byte(), 1);
		link_is(false, T0 + 2);
		reload(&confs[i], T0 + 3);
		expect_did("");
		assert_int_equal(handed_over_byte(), 1);
		/* A member of a group stays what it is. */
		configure(3, SECOND, 2, sick);
		conf.grouped = true;
		confs[i] = conf;
		start();
		hear(1, 100, T0 + 1000);
		reload(&confs[i], T0 + 2000);
		expect_did("");
		assert_int_equal(fsm.state, VRRP_BACKUP);
		timer(vrrp_fsm_deadline(&fsm));
		simple(VRRP_EV_GROUP_TAKE, fsm.now_us);
		assert_int_equal(fsm.state, VRRP_MASTER);
		reload(&confs[i], fsm.now_us + 1000);
		expect_did("S90");
		assert_int_equal(fsm.state, VRRP_MASTER);
	}
}

static void maintenance_does_nothing_but_maintenance(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	vrrp_fsm_init(&fsm, &conf);
	maintenance_is(true, T0);
	expect_did("");
	maintenance_is(false, T0);
	/* A BACKUP in a group is told, and takes nothing. */
	conf.grouped = true;
	start();
	maintenance_is(true, T0 + 1);
	expect_did("");
	assert_int_equal(fsm.state, VRRP_BACKUP);
	/* A MASTER that is in it already hands over no more, nor does one that leaves it. */
	configure_three();
	now_us = become_master() + 1000;
	maintenance_is(false, now_us);
	expect_did("");
	maintenance_is(true, now_us);
	expect_did("S0 W TLEAVING/maintenance");
	keep_on(now_us + 2 * SECOND);
	assert_int_equal(fsm.state, VRRP_MASTER);
	maintenance_is(true, now_us + 2 * SECOND);
	expect_did("");
	maintenance_is(false, now_us + 2 * SECOND + 1);
	expect_did("S100");
}

static void a_handover_that_is_lifted_is_no_maintenance(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 1000;
	hand_over(true, now_us);
	expect_did("");
	assert_false(fsm.maintenance);
}

static void who_belongs_to_no_group_does_not_yield_with_one(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 1000;
	simple(VRRP_EV_GROUP_YIELD, now_us);
	expect_did("");
	assert_int_equal(fsm.state, VRRP_MASTER);
}

static void a_timer_does_not_end_a_fault_whose_link_is_down(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 1000;
	simple(VRRP_EV_HOLD_FAILED, now_us);
	link_is(false, now_us + 1000);
	timer(now_us + 20 * SECOND);
	expect_did("");
	assert_int_equal(fsm.state, VRRP_FAULT);
	/* It stops, and nothing is to be tried again. */
	simple(VRRP_EV_STOP, now_us + 21 * SECOND);
	expect_did("TINIT/stop .");
	expect_deadline(NEVER);
}

static void a_stop_after_a_handover_that_found_nobody_is_a_stop(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 1000;
	hand_over(false, now_us);
	keep_on(now_us + 2 * SECOND);
	assert_int_equal(fsm.state, VRRP_MASTER);
	simple(VRRP_EV_STOP, now_us + 2 * SECOND);
	keep_on(now_us + 4 * SECOND);
	assert_int_equal(fsm.state, VRRP_INIT);
}

static void who_would_have_resigned_again_does_not_once_it_is_no_master(void **state)
{
	uint64_t now_us;

	(void)state;
	for (int i = 0; i < 2; i++) {
		configure_three();
		conf.nopreempt = true;
		now_us = become_master() + 1000;
		health_is(50, false, now_us);
		assert_true(fsm.resign_again_us != NEVER);
		if (i == 0)
			simple(VRRP_EV_STOP, now_us + 1000);
		else
			link_is(false, now_us + 1000);
		assert_true(fsm.resign_again_us == NEVER);
	}
}

static void another_link_is_not_mute(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 1000;
	simple(VRRP_EV_SEND_FAILED, now_us);
	assert_true(fsm.mute);
	link_is(true, now_us + 1);
	assert_true(fsm.mute);
	link_is(false, now_us + 2);
	assert_false(fsm.mute);
}

static void who_could_not_send_may_take_over_again_after_a_minute(void **state)
{
	uint64_t now_us;

	(void)state;
	for (int i = 0; i < 2; i++) {
		configure_three();
		now_us = become_master() + 1000;
		simple(VRRP_EV_SEND_FAILED, now_us);
		hear(1, 90, now_us + 1000);
		expect_did("R TBACKUP/mute");
		hear(1, 90, now_us + VRRP_MUTE_FORGET_US - 1 + (uint64_t)i);
		assert_true((fsm.preempt_since_us != NEVER) == i);
	}
}

/* ---- which nodes count ---- */

static void others_are_those_that_there_are(void **state)
{
	static const uint8_t priorities[] = {100, 90, 1};

	(void)state;
	/* The quickest of them, wherever it stands. */
	configure(3, SECOND, 3, priorities);
	conf.self = 1;
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == 3 * SECOND + 156 * SECOND / 256);
	/* Priority 1 is one. */
	conf.nodes[0].priority = 0;
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == 3 * SECOND + 255 * SECOND / 256);
	/* What stands behind the last one is none. */
	conf.nodes_count = 2;
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == NEVER);
}

static void nobody_resigns_for_a_node_that_is_not_there(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.nopreempt = true;
	conf.nodes[2].foreign = true;
	conf.nodes[2].priority = 200;
	conf.nodes_count = 2;
	now_us = become_master() + 1000;
	health_is(50, false, now_us);
	expect_did("S50");
}

static void a_node_that_is_not_there_is_no_master(void **state)
{
	(void)state;
	configure_three();
	conf.self = 2;
	conf.nodes_count = 3;
	start();
	hear(0, 100, T0 + 1000);
	fsm.peers[3] = fsm.peers[0];
	hear(0, 0, T0 + 2000);
	assert_int_equal(fsm.master, -1);
}

static void a_reload_knows_the_nodes_that_were_there(void **state)
{
	struct vrrp_conf with;

	(void)state;
	configure_three();
	start();
	hear(2, 80, T0 + 1000);
	with = conf;
	with.nodes_count = 2;
	reload(&with, T0 + 2000);
	/* It remains in the memory behind the last node; who comes in its place is new. */
	fsm.peers[2].heard = true;
	fsm.peers[2].heard_us = T0 + 1000;
	fsm.conf.nodes[2] = conf.nodes[2];
	reload(&conf, T0 + 3000);
	assert_false(fsm.peers[2].heard);
}

static void a_departure_is_forgotten_over_a_reload(void **state)
{
	(void)state;
	configure_three();
	conf.self = 2;
	start();
	hear(0, 100, T0 + 1000);
	hear(0, 0, T0 + 2000);
	assert_int_equal(fsm.left_node, 0);
	reload(&conf, T0 + 3000);
	assert_int_equal(fsm.left_node, -1);
}

/* ---- whom a BACKUP obeys ---- */

static void the_interval_is_the_masters_in_version_3_and_the_longer_one_in_version_2(void **state)
{
	static const struct {
		uint8_t version;
		uint64_t interval_us, counts_us;
	} cells[] = {{3, SECOND / 2, SECOND / 2},
		     {3, 2 * SECOND, 2 * SECOND},
		     {2, SECOND / 2, SECOND},
		     {2, 2 * SECOND, 2 * SECOND}};
	static const uint8_t priorities[] = {90, 100};

	(void)state;
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		struct vrrp_event ev = {.type = VRRP_EV_ADVERT};

		configure(cells[i].version, SECOND, 2, priorities);
		start();
		ev.u.advert.node = 1;
		ev.u.advert.priority = 100;
		ev.u.advert.advert_int_us = cells[i].interval_us;
		ev.u.advert.arrival_us = T0 + 10 * SECOND;
		step(ev, T0 + 10 * SECOND);
		assert_true(fsm.master_int_us == cells[i].counts_us);
		expect_deadline(T0 + 10 * SECOND + 3 * cells[i].counts_us +
				vrrp_fsm_skew_us(cells[i].version, 90, cells[i].counts_us));
	}
}

static void a_healthy_master_that_falls_sick_is_no_longer_preempted_but_replaced(void **state)
{
	(void)state;
	configure_three();
	conf.preempt_delay_us = 10 * SECOND;
	start();
	hear(1, 90, T0 + 1000);
	assert_true(fsm.preempt_since_us == T0 + 1000);
	hear(1, 80, T0 + SECOND);
	assert_true(fsm.preempt_since_us == NEVER);
	expect_deadline(T0 + SECOND + 156 * SECOND / 256);
}

/* A priority 0 of somebody who is not the master frees nothing, and begins nothing anew. */
static void the_departure_of_another_node_does_not_move_the_take_over(void **state)
{
	static const uint8_t priorities[] = {90, 100, 80};
	uint64_t deadline_us;

	(void)state;
	configure(3, SECOND, 3, priorities);
	conf.self = 1;
	start();
	hear(0, 50, T0 + 1000);
	deadline_us = T0 + 1000 + 156 * SECOND / 256;
	expect_deadline(deadline_us);
	hear(2, 0, T0 + 100000);
	assert_int_equal(fsm.master, 0);
	expect_deadline(deadline_us);
	timer(deadline_us);
	expect_did("S100 H A TMASTER/sick-holder");
}

static void a_sick_holder_that_leaves_is_one_that_left(void **state)
{
	(void)state;
	configure_three();
	start();
	hear(1, 50, T0 + 1000);
	hear(1, 0, T0 + 100000);
	expect_deadline(T0 + 100000 + 156 * SECOND / 256);
	timer(vrrp_fsm_deadline(&fsm));
	expect_did("S100 H A TMASTER/master-left");
}

/* Seed 286127 of sim_vrrp. */
static void when_a_master_leaves_all_others_that_were_heard_count(void **state)
{
	static const uint8_t priorities[] = {100, 189, 221, 254};

	(void)state;
	for (int last = 1; last < 3; last++) {
		configure(3, SECOND, 4, priorities);
		start();
		hear(3, 254, T0 + SECOND);
		hear(3 - last, priorities[3 - last], T0 + SECOND + 100000);
		hear(last, priorities[last], T0 + SECOND + 900000);
		hear(3, 0, T0 + 2 * SECOND);
		assert_int_equal(fsm.master, 2);
		expect_deadline(T0 + 4 * SECOND + 900000 + 156 * SECOND / 256);
	}
}

static void the_second_of_two_masters_counts_if_it_ranks_as_high_as_this_node(void **state)
{
	(void)state;
	for (int lower = 0; lower < 2; lower++) {
		const uint8_t priorities[] = {90, 100, (uint8_t)(90 - lower)};
		const uint64_t heard_us = T0 + (lower ? 1 : 2) * SECOND;

		configure(3, SECOND, 3, priorities);
		start();
		hear(1, 100, T0 + SECOND);
		hear(2, priorities[2], T0 + 2 * SECOND);
		assert_int_equal(fsm.master, 1);
		expect_deadline(heard_us + 3 * SECOND + 166 * SECOND / 256);
	}
}

/* Silence of three intervals is what tells preemption from master-down. */
static void a_take_over_is_preemption_while_the_lower_master_is_heard(void **state)
{
	static const uint64_t skew_us = 156 * SECOND / 256;

	(void)state;
	for (int i = 0; i < 3; i++) {
		configure_three();
		start();
		hear(1, 90, T0 + skew_us - 1 + (uint64_t)i);
		expect_deadline(T0 + 3 * SECOND + skew_us);
		timer(T0 + 3 * SECOND + skew_us);
		expect_did(i ? "S100 H A TMASTER/preempt" : "S100 H A TMASTER/master-down");
	}
}

static void a_deadline_that_is_doubted_lies_ahead_whatever_it_was_for(void **state)
{
	(void)state;
	configure_three();
	start();
	hear(1, 50, T0 + 1000);
	timer(T0 + 5 * SECOND);
	expect_did("!5");
	expect_deadline(T0 + 6 * SECOND + 156 * SECOND / 256);
}

static void an_announcement_alone_leaves_the_successor_three_intervals(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 1000;
	hand_over(false, now_us);
	simple(VRRP_EV_ANNOUNCED, now_us + 1000);
	expect_did("R U TBACKUP/announced");
	expect_deadline(now_us + 1000 + 3 * SECOND + 156 * SECOND / 256);
}

/* ---- what a MASTER does again, and what not ---- */

/* Soon after the machine has started too. */
static void the_first_contention_is_told(void **state)
{
	static const uint8_t priorities[] = {255, 90};

	(void)state;
	configure(3, SECOND, 2, priorities);
	vrrp_fsm_init(&fsm, &conf);
	link_is(true, 1000);
	simple(VRRP_EV_START, 1000);
	assert_int_equal(fsm.state, VRRP_MASTER);
	hear(1, 90, 2000);
	assert_int_equal(fsm.stats.contentions, 1);
	hear(1, 90, 3000);
	assert_int_equal(fsm.stats.contentions, 1);
}

/* The addresses are put back when that is due: then nothing is due any more. */
static void a_limited_put_back_happens_once(void **state)
{
	uint64_t now_us, deadline_us;

	(void)state;
	configure_three();
	conf.garp_master_refresh_us = 0;
	now_us = become_master() + 1000;
	for (int i = 0; i <= VRRP_PUT_BACKS_MAX; i++)
		simple(VRRP_EV_ADDRESS_LOST, now_us);
	deadline_us = fsm.put_back_us;
	assert_true(deadline_us != NEVER);
	keep_on(deadline_us);
	assert_true(fsm.put_back_us == NEVER);
	assert_int_equal(fsm.stats.put_backs, VRRP_PUT_BACKS_MAX + 1);
	keep_on(deadline_us + 10 * SECOND);
	assert_int_equal(fsm.stats.put_backs, VRRP_PUT_BACKS_MAX + 1);
}

/* Due at one moment: neither waits for the other. */
static void who_resigns_puts_back_what_is_lost_too(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.nopreempt = true;
	conf.nodes[1].foreign = true;
	conf.nodes[1].priority = 60;
	now_us = become_master() + 1000;
	hear(1, 40, now_us);
	health_is(50, false, now_us);
	assert_int_equal(fsm.stats.resignations, 0);
	fsm.put_back_us = fsm.resign_again_us;
	while (vrrp_fsm_deadline(&fsm) < fsm.resign_again_us)
		timer(vrrp_fsm_deadline(&fsm));
	timer(fsm.resign_again_us);
	assert_int_equal(fsm.stats.resignations, 1);
	assert_int_equal(fsm.stats.put_backs, 1);
	assert_true(vrrp_fsm_deadline(&fsm) > fsm.now_us);
}

/* What is left of a contention's announcements would take the addresses back (A3). */
static void who_has_resigned_announces_nothing(void **state)
{
	uint64_t now_us, until_us, announces;

	(void)state;
	configure_three();
	conf.nopreempt = true;
	conf.nodes[1].foreign = true;
	now_us = become_master() + 1000;
	hear(2, 80, now_us);
	health_is(50, false, now_us + 1000);
	assert_int_equal(fsm.stats.resignations, 1);
	until_us = fsm.resigned_until_us;
	announces = fsm.stats.announces;
	keep_on(until_us - 1);
	assert_int_equal(fsm.stats.announces, announces);
	keep_on(until_us);
	assert_int_equal(fsm.stats.announces, announces + 1);
}

static void without_a_refresh_there_is_a_second_announcement_and_no_third(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.garp_master_refresh_us = 0;
	now_us = become_master();
	keep_on(now_us + 30 * SECOND);
	assert_int_equal(fsm.stats.announces, 2);
}

/* Which kind of announcement the last step asked for, or VRRP_ANNOUNCES. */
static enum vrrp_announce announced(void)
{
	for (int i = 0; i < actions.count; i++)
		if (actions.list[i].type == VRRP_DO_ANNOUNCE)
			return actions.list[i].u.announce;
	return VRRP_ANNOUNCES;
}

static void addresses_that_are_new_are_announced_as_such(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_CONF};
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 1000;
	assert_int_equal(announced(), VRRP_ANNOUNCE_MASTER);
	ev.u.conf.conf = &conf;
	ev.u.conf.vips_changed = true;
	step(ev, now_us);
	assert_int_equal(announced(), VRRP_ANNOUNCE_MASTER);
	/* Whoever handed over has let go. */
	hear(1, 0, now_us + 1000);
	hear(1, 1, now_us + 2000);
	assert_int_equal(announced(), VRRP_ANNOUNCE_MASTER);
	/* However soon the second one comes. */
	configure_three();
	conf.garp_master_delay_us = 1;
	now_us = become_master();
	timer(now_us + 1);
	assert_int_equal(announced(), VRRP_ANNOUNCE_MASTER);
	keep_on(now_us + 1 + conf.garp_master_refresh_us);
	assert_int_equal(announced(), VRRP_ANNOUNCE_REFRESH);
}

static void a_contention_ends_with_the_announcement_that_the_file_asks_for(void **state)
{
	static const uint64_t delays_us[] = {0, 10000, 200000, 2 * SECOND};

	(void)state;
	for (size_t i = 0; i < sizeof(delays_us) / sizeof(delays_us[0]); i++) {
		const uint64_t last_us = delays_us[i];
		uint64_t from_us, at_us = 0, seen = 0;

		configure_three();
		conf.garp_master_refresh_us = 0;
		conf.garp_lower_prio_delay_us = last_us;
		from_us = become_master() + 10 * SECOND + 1000;
		keep_on(from_us);
		hear(1, 90, from_us);
		while (vrrp_fsm_deadline(&fsm) < from_us + 10 * SECOND) {
			timer(vrrp_fsm_deadline(&fsm));
			if (announced() != VRRP_ANNOUNCES) {
				assert_int_equal(announced(), VRRP_ANNOUNCE_CONTENTION);
				at_us = fsm.now_us - from_us;
				seen++;
			}
		}
		assert_int_equal(seen, last_us == 0	   ? 3
				       : last_us == 10000  ? 1
				       : last_us == 200000 ? 3
							   : 4);
		assert_true(at_us == (last_us ? last_us : 200000));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reload_does_nothing_but_reload),
		cmocka_unit_test(maintenance_does_nothing_but_maintenance),
		cmocka_unit_test(a_handover_that_is_lifted_is_no_maintenance),
		cmocka_unit_test(who_belongs_to_no_group_does_not_yield_with_one),
		cmocka_unit_test(a_timer_does_not_end_a_fault_whose_link_is_down),
		cmocka_unit_test(a_stop_after_a_handover_that_found_nobody_is_a_stop),
		cmocka_unit_test(who_would_have_resigned_again_does_not_once_it_is_no_master),
		cmocka_unit_test(another_link_is_not_mute),
		cmocka_unit_test(who_could_not_send_may_take_over_again_after_a_minute),
		cmocka_unit_test(others_are_those_that_there_are),
		cmocka_unit_test(nobody_resigns_for_a_node_that_is_not_there),
		cmocka_unit_test(a_node_that_is_not_there_is_no_master),
		cmocka_unit_test(a_reload_knows_the_nodes_that_were_there),
		cmocka_unit_test(a_departure_is_forgotten_over_a_reload),
		cmocka_unit_test(
			the_interval_is_the_masters_in_version_3_and_the_longer_one_in_version_2),
		cmocka_unit_test(
			a_healthy_master_that_falls_sick_is_no_longer_preempted_but_replaced),
		cmocka_unit_test(the_departure_of_another_node_does_not_move_the_take_over),
		cmocka_unit_test(a_sick_holder_that_leaves_is_one_that_left),
		cmocka_unit_test(when_a_master_leaves_all_others_that_were_heard_count),
		cmocka_unit_test(the_second_of_two_masters_counts_if_it_ranks_as_high_as_this_node),
		cmocka_unit_test(a_take_over_is_preemption_while_the_lower_master_is_heard),
		cmocka_unit_test(a_deadline_that_is_doubted_lies_ahead_whatever_it_was_for),
		cmocka_unit_test(an_announcement_alone_leaves_the_successor_three_intervals),
		cmocka_unit_test(the_first_contention_is_told),
		cmocka_unit_test(a_limited_put_back_happens_once),
		cmocka_unit_test(who_resigns_puts_back_what_is_lost_too),
		cmocka_unit_test(addresses_that_are_new_are_announced_as_such),
		cmocka_unit_test(a_contention_ends_with_the_announcement_that_the_file_asks_for),
		cmocka_unit_test(who_has_resigned_announces_nothing),
		cmocka_unit_test(without_a_refresh_there_is_a_second_announcement_and_no_third),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
