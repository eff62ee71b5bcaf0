/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual router: times, start, restart, every pair of state and event. */
#include "tests/unit/vrrp_fixture.h"

/* ---- times ---- */

static void skew_and_master_down_are_the_rfcs(void **state)
{
	static const struct {
		uint8_t version, priority;
		uint64_t interval_us, skew_us, down_us;
	} cells[] = {
		{2, 100, 1000000, 609375, 3609375},
		{2, 255, 1000000, 3906, 3003906},
		{2, 1, 1000000, 996093, 3996093},
		/* Version 2 does not scale the skew by the interval, version 3 does. */
		{2, 100, 2000000, 609375, 6609375},
		{3, 100, 1000000, 609375, 3609375},
		{3, 100, 100000, 60937, 360937},
		{3, 254, 10000, 78, 30078},
		{3, 1, 40950000, 40790039, 163640039},
	};

	(void)state;
	configure_three();
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		conf.version = cells[i].version;
		assert_true(vrrp_fsm_skew_us(cells[i].version, cells[i].priority,
					     cells[i].interval_us) == cells[i].skew_us);
		assert_true(vrrp_fsm_master_down_us(&conf, cells[i].priority,
						    cells[i].interval_us) == cells[i].down_us);
	}
}

static void down_timer_adverts_take_the_place_of_three(void **state)
{
	uint64_t now_us = T0 + 100000;

	(void)state;
	configure_three();
	conf.down_adverts = 7;
	assert_true(vrrp_fsm_master_down_us(&conf, 100, SECOND) == 7609375);
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == 7 * SECOND + 648437);
	start();
	expect_deadline(T0 + 7609375);
	hear(1, 150, now_us);
	expect_deadline(now_us + 7609375);
	/* A reload makes it more patient, or less, from the next advert on. */
	conf.down_adverts = 1;
	step((struct vrrp_event){.type = VRRP_EV_CONF, .u.conf.conf = &conf}, now_us);
	hear(1, 150, now_us += 8000000);
	expect_deadline(now_us + 1609375);
	timer(now_us + 1609375);
	expect_did("S100 H A TMASTER/master-down");
}

static void the_others_wait_is_that_of_the_quickest_peer(void **state)
{
	(void)state;
	configure_three();
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == vrrp_fsm_master_down_us(&conf, 90, SECOND));
	conf.nodes[1].priority = 0;
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == vrrp_fsm_master_down_us(&conf, 80, SECOND));
	conf.nodes[2].priority = 0;
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == NEVER);
}

/* ---- start ---- */

static void begin_quiet_until(uint64_t us)
{
	vrrp_fsm_init(&fsm, &conf);
	link_is(true, T0);
	step((struct vrrp_event){.type = VRRP_EV_START, .u.start.quiet_until_us = us}, T0);
}

static void silence_counts_from_the_end_of_the_start_up_delay(void **state)
{
	(void)state;
	configure_three();
	begin_quiet_until(T0 + 10 * SECOND);
	expect_did("TBACKUP/start");
	expect_deadline(T0 + 13609375);
	timer(T0 + 13609374);
	expect_did("");
	timer(T0 + 13609375);
	expect_did("S100 H A TMASTER/master-down");
}

static void in_the_start_up_delay_nothing_makes_it_take_over(void **state)
{
	const uint64_t end_us = T0 + 10 * SECOND;

	(void)state;
	configure_three();
	begin_quiet_until(end_us);
	/* Lower, sick, and gone: each of them a reason at another time. */
	hear(1, 90, T0 + SECOND);
	hear(1, 50, T0 + 2 * SECOND);
	hear(1, 0, T0 + 3 * SECOND);
	expect_deadline(end_us);
	link_is(false, T0 + 4 * SECOND);
	link_is(true, T0 + 5 * SECOND);
	expect_did("TBACKUP/link-up");
	expect_deadline(end_us + 3609375);
	hear(1, 0, T0 + 6 * SECOND);
	timer(end_us - 1);
	expect_did("");
	timer(end_us);
	expect_did("S100 H A TMASTER/master-left");
}

static void the_owner_holds_its_addresses_as_the_start_up_delay_ends(void **state)
{
	(void)state;
	configure_three();
	conf.nodes[0].priority = 255;
	begin_quiet_until(T0 + 10 * SECOND);
	health_is(255, true, T0 + SECOND);
	health_is(255, false, T0 + 2 * SECOND);
	expect_did("");
	expect_deadline(T0 + 10 * SECOND + 3906);
	begin_quiet_until(T0);
	expect_did("S255 H A TMASTER/owner");
}

static void a_master_that_is_heard_in_the_start_up_delay_is_judged_after_it(void **state)
{
	const uint64_t end_us = T0 + 10 * SECOND;

	(void)state;
	configure_three();
	begin_quiet_until(end_us);
	for (uint64_t us = T0; us < end_us; us += SECOND)
		hear(1, 50, us);
	expect_deadline(end_us + 3609375);
	hear(1, 50, end_us);
	expect_deadline(end_us + 609375);
	timer(end_us + 609375);
	expect_did("S100 H A TMASTER/sick-holder");
}

static void start_goes_to_backup_and_waits_master_down(void **state)
{
	(void)state;
	configure_three();
	start();
	expect_did("TBACKUP/start");
	expect_deadline(T0 + 3609375);
	timer(T0 + 3609374);
	expect_did("");
	timer(T0 + 3609375);
	expect_did("S100 H A TMASTER/master-down");
	assert_true(vrrp_fsm_holds(&fsm));
}

static void the_owner_of_the_addresses_takes_them_at_once(void **state)
{
	(void)state;
	configure_three();
	conf.nodes[0].priority = 255;
	start();
	expect_did("S255 H A TMASTER/owner");
}

static void an_owner_waits_for_its_checks(void **state)
{
	(void)state;
	configure_three();
	conf.nodes[0].priority = 255;
	vrrp_fsm_init(&fsm, &conf);
	link_is(true, T0);
	health_is(255, true, T0);
	simple(VRRP_EV_START, T0);
	expect_did("TBACKUP/start");
	health_is(255, false, T0 + SECOND);
	expect_did("S255 H A TMASTER/owner");
}

static void start_on_a_dead_interface_is_a_fault(void **state)
{
	(void)state;
	configure_three();
	vrrp_fsm_init(&fsm, &conf);
	simple(VRRP_EV_START, T0);
	expect_did("TFAULT/link-down");
	expect_deadline(NEVER);
	link_is(true, T0 + SECOND);
	expect_did("TBACKUP/link-up");
}

/* ---- a restarted engine ---- */

static void resume_at(uint64_t last_us, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_RESUME};

	vrrp_fsm_init(&fsm, &conf);
	link_is(true, now_us);
	health_is(100, true, now_us);
	ev.u.resume.last_advert_us = last_us;
	ev.u.resume.priority = 80;
	step(ev, now_us);
}

static void a_restarted_engine_goes_on_as_master_and_hears_before_it_speaks(void **state)
{
	(void)state;
	configure_three();
	resume_at(T0, T0 + SECOND);
	expect_did("H TMASTER/resumed");
	expect_deadline(T0 + SECOND);
	timer(T0 + SECOND);
	expect_did("S80"); /* with the rank that it had, until its checks have reported */
	health_is(100, true, T0 + SECOND + 1);
	expect_did("");
	health_is(100, false, T0 + SECOND + 2);
	expect_did("S100");
}

static void a_restarted_engine_that_was_replaced_yields_first(void **state)
{
	(void)state;
	configure_three();
	resume_at(T0, T0 + SECOND);
	hear_at(1, 90, T0 + 500000, T0 + SECOND);
	expect_did("R TBACKUP/higher-priority");
}

static void a_restarted_engine_that_comes_too_late_lets_go(void **state)
{
	(void)state;
	configure_three();
	resume_at(T0, T0 + 3648437);
	expect_did("R TBACKUP/away");
}

static void a_restarted_engine_on_a_dead_interface_lets_go(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_RESUME};

	(void)state;
	configure_three();
	vrrp_fsm_init(&fsm, &conf);
	ev.u.resume.last_advert_us = T0;
	ev.u.resume.priority = 100;
	step(ev, T0 + 1000);
	expect_did("R TFAULT/link-down");
}

/* ---- every pair of state and event ---- */

static void no_event_in_any_state_breaks_anything(void **state)
{
	(void)state;
	for (int s = 0; s < VRRP_STATES; s++) {
		for (int e = 0; e < VRRP_EVENTS; e++) {
			struct vrrp_event ev = {.type = (enum vrrp_event_type)e};
			uint64_t now_us = T0;

			configure_three();
			vrrp_fsm_init(&fsm, &conf);
			if (s == VRRP_BACKUP)
				start();
			else if (s == VRRP_MASTER)
				now_us = become_master();
			else if (s == VRRP_LEAVING)
				now_us = begin_leaving();
			else if (s == VRRP_FAULT)
				simple(VRRP_EV_START, T0);
			assert_int_equal(fsm.state, s);
			/* A second start is a mistake of the shell's, and asserted. */
			if (s != VRRP_INIT && (e == VRRP_EV_START || e == VRRP_EV_RESUME))
				continue;
			if (e == VRRP_EV_ADVERT) {
				hear(1, 90, now_us);
			} else {
				if (e == VRRP_EV_HEALTH)
					ev.u.health.priority = 50;
				if (e == VRRP_EV_RESUME)
					ev.u.resume.priority = 50;
				if (e == VRRP_EV_CONF)
					ev.u.conf.conf = &conf;
				step(ev, now_us);
			}
			assert_true(actions.count <= VRRP_ACTIONS_MAX);
			assert_int_equal(vrrp_fsm_holds(&fsm),
					 fsm.state == VRRP_MASTER || fsm.state == VRRP_LEAVING);
			if (e == VRRP_EV_STOP && s != VRRP_MASTER && s != VRRP_LEAVING)
				assert_int_equal(actions.list[actions.count - 1].type,
						 VRRP_DO_STOPPED);
		}
	}
}

static void everything_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i < VRRP_STATES; i++)
		assert_true(*vrrp_fsm_state_name((enum vrrp_state)i));
	for (int i = 0; i < VRRP_CAUSES; i++)
		assert_true(*vrrp_fsm_cause_name((enum vrrp_cause)i));
	for (int i = 0; i < VRRP_ALARMS; i++)
		assert_true(*vrrp_fsm_alarm_text((enum vrrp_alarm)i));
	for (int i = 0; i < VRRP_EVENTS; i++)
		assert_true(*vrrp_fsm_event_name((enum vrrp_event_type)i));
	for (int i = 0; i < VRRP_ACTION_TYPES; i++)
		assert_true(*vrrp_fsm_action_name((enum vrrp_action_type)i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(skew_and_master_down_are_the_rfcs),
		cmocka_unit_test(silence_counts_from_the_end_of_the_start_up_delay),
		cmocka_unit_test(in_the_start_up_delay_nothing_makes_it_take_over),
		cmocka_unit_test(the_owner_holds_its_addresses_as_the_start_up_delay_ends),
		cmocka_unit_test(a_master_that_is_heard_in_the_start_up_delay_is_judged_after_it),
		cmocka_unit_test(down_timer_adverts_take_the_place_of_three),
		cmocka_unit_test(the_others_wait_is_that_of_the_quickest_peer),
		cmocka_unit_test(start_goes_to_backup_and_waits_master_down),
		cmocka_unit_test(the_owner_of_the_addresses_takes_them_at_once),
		cmocka_unit_test(an_owner_waits_for_its_checks),
		cmocka_unit_test(start_on_a_dead_interface_is_a_fault),
		cmocka_unit_test(a_restarted_engine_goes_on_as_master_and_hears_before_it_speaks),
		cmocka_unit_test(a_restarted_engine_that_was_replaced_yields_first),
		cmocka_unit_test(a_restarted_engine_that_comes_too_late_lets_go),
		cmocka_unit_test(a_restarted_engine_on_a_dead_interface_lets_go),
		cmocka_unit_test(no_event_in_any_state_breaks_anything),
		cmocka_unit_test(everything_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
