/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exact edges of a router that holds the addresses, MASTER or LEAVING: as test_vrrp_edges.c.
 */
#include "tests/unit/vrrp_fixture.h"

static void away(uint64_t pause_us, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_AWAY};

	ev.u.away.pause_us = pause_us;
	step(ev, now_us);
}

static void resume(uint64_t last_advert_us, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_RESUME};

	ev.u.resume.last_advert_us = last_advert_us;
	ev.u.resume.priority = 100;
	step(ev, now_us);
}

/* A MASTER of priority 100 under nopreempt; node 0, or where self is 1 node 1, is a keepalived with
 * the priority given. */
static uint64_t foreign_pair(int self, uint8_t priority)
{
	static const uint8_t priorities[] = {100, 100, 80};

	configure(3, SECOND, 3, priorities);
	conf.self = self;
	conf.nopreempt = true;
	conf.nodes[!self].foreign = true;
	conf.nodes[!self].priority = priority;
	return become_master() + 100000;
}

/* ---- resignation ---- */

static void whom_it_resigns_for_goes_by_what_that_node_said_last(void **state)
{
	static const struct {
		uint8_t file, said; /* 255: nothing yet */
		bool resigns;
	} cells[] = {
		{90, 255, true},  /* by the file, where it has not been heard */
		{50, 255, false}, /* not higher than 50: equal */
		{51, 255, true},  {90, 50, false}, {90, 51, true},
		{40, 60, true},	  {90, 0, true}, /* it left: that is no priority */
		{90, 1, false},	  {1, 255, false},
	};

	(void)state;
	for (int self = 0; self < 2; self++) {
		for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
			const uint64_t now_us = foreign_pair(self, cells[i].file);

			if (cells[i].said < 255)
				hear(!self, cells[i].said, now_us);
			health_is(50, false, now_us + 1000);
			if ((fsm.stats.resignations == 1) != cells[i].resigns)
				fail_msg("cell %zu", i);
		}
	}
}

static void a_lower_foreign_priority_of_1_in_the_file_takes_part(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = foreign_pair(0, 1);
	hear(1, 60, now_us); /* it says more than the file has */
	health_is(50, false, now_us + 1000);
	assert_int_equal(fsm.stats.resignations, 1);
	/* What takes no part is not resigned for. */
	now_us = foreign_pair(0, 90);
	conf.nodes[1].priority = 0;
	reload(&conf, now_us);
	health_is(50, false, now_us + 1000);
	assert_int_equal(fsm.stats.resignations, 0);
}

/* Without a change of health it goes by the file: what the peer said when it lost may be old. */
static void after_its_back_off_it_resigns_by_the_file(void **state)
{
	uint64_t now_us, again_us;

	(void)state;
	now_us = foreign_pair(0, 90);
	hear(1, 40, now_us);
	health_is(50, false, now_us + 1000);
	assert_int_equal(fsm.stats.resignations, 0);
	again_us = fsm.resign_again_us;
	assert_true(again_us == now_us + 1000 + 10 * (3 * SECOND + 206 * SECOND / 256));
	keep_on(again_us - 1);
	assert_int_equal(fsm.stats.resignations, 0);
	timer(again_us);
	expect_did("S0 !4"); /* and nothing else, though an advert is due soon */
}

static void a_change_of_health_begins_the_back_off_anew(void **state)
{
	const uint64_t down_us = 3 * SECOND + 206 * SECOND / 256;
	uint64_t now_us;

	(void)state;
	now_us = foreign_pair(0, 90);
	health_is(50, false, now_us);
	assert_true(fsm.resign_again_us == now_us + 10 * down_us);
	keep_on(fsm.resign_again_us);
	assert_int_equal(fsm.resign_doublings, 2);
	assert_int_equal(fsm.stats.resignations, 2);
	now_us = fsm.now_us + 2 * SECOND;
	keep_on(now_us);
	health_is(100, false, now_us);
	assert_true(fsm.resign_again_us == NEVER && fsm.resign_doublings == 0);
	health_is(50, false, now_us + 1000);
	assert_int_equal(fsm.stats.resignations, 3);
	/* Ill again in another way while it is silent: no second word, but another try. */
	health_is(60, false, now_us + 2000);
	expect_did("");
	assert_true(fsm.resign_again_us == now_us + 2000 + 10 * (3 * SECOND + 196 * SECOND / 256));
}

static void the_back_off_doubles_ten_times(void **state)
{
	(void)state;
	health_is(50, false, foreign_pair(0, 90));
	while (fsm.stats.resignations < 14)
		keep_on(vrrp_fsm_deadline(&fsm));
	assert_int_equal(fsm.resign_doublings, VRRP_RESIGN_DOUBLINGS_MAX);
	assert_true(fsm.resign_again_us ==
		    fsm.now_us + (10 * (3 * SECOND + 206 * SECOND / 256) << 10));
}

static void who_takes_over_while_sick_waits_before_it_resigns(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = foreign_pair(0, 90);
	assert_true(fsm.resign_again_us == NEVER); /* it is well */
	for (int nopreempt = 0; nopreempt < 2; nopreempt++) {
		conf.nopreempt = nopreempt;
		start();
		health_is(50, false, T0 + 1);
		now_us = vrrp_fsm_deadline(&fsm);
		timer(now_us);
		assert_int_equal(fsm.state, VRRP_MASTER);
		assert_true(fsm.resign_again_us ==
			    (nopreempt ? now_us + 10 * (3 * SECOND + 206 * SECOND / 256) : NEVER));
	}
}

static void a_resignation_is_silent_to_its_end(void **state)
{
	uint64_t now_us, until_us;

	(void)state;
	now_us = foreign_pair(0, 90);
	health_is(50, false, now_us);
	expect_did("S0 !4");
	until_us = now_us + 255 * SECOND / 256 + 100000;
	assert_true(fsm.resigned_until_us == until_us && fsm.advert_us == until_us);
	assert_true(fsm.announce_us >= until_us);
	simple(VRRP_EV_ADDRESS_LOST, now_us + 1000);
	expect_did("H !0");
	hear(1, 0, now_us + 2000);
	expect_did("");
	timer(until_us - 1);
	expect_did("");
	keep_on(until_us);
	assert_true(fsm.resigned_until_us == NEVER);
	assert_true(fsm.sent_us == until_us);
	/* The announcement that fell into the silence follows it. */
	assert_true(fsm.stats.announces > 1);
}

static void a_resignation_ends_when_somebody_lower_speaks(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = foreign_pair(0, 90);
	hear(2, 30, now_us);
	expect_did("!3 S100");
	health_is(50, false, now_us + 1000);
	expect_did("S0 !4");
	hear(2, 30, now_us + 2000); /* answered, though the last answer is 2 ms old */
	expect_did("S50");
	assert_true(fsm.resigned_until_us == NEVER);
	/* And when health is back. */
	now_us = foreign_pair(0, 90);
	health_is(50, false, now_us);
	health_is(100, false, now_us + 1000);
	expect_did("S100");
	assert_true(fsm.resigned_until_us == NEVER);
}

/* ---- contention ---- */

static void a_contention_is_over_after_three_intervals_and_two_seconds_at_least(void **state)
{
	static const struct {
		uint64_t interval_us, quiet_us;
	} cells[] = {{SECOND, 3 * SECOND}, {100000, 2 * SECOND}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		for (int over = 0; over < 2; over++) {
			uint64_t now_us;

			configure_three();
			conf.advert_int_us = cells[i].interval_us;
			now_us = become_master() + 10000;
			hear(1, 90, now_us);
			assert_int_equal(fsm.stats.contentions, 1);
			now_us += cells[i].quiet_us;
			keep_on(now_us);
			hear(1, 90, now_us + (over ? 1 : 0));
			assert_int_equal(fsm.stats.contentions, over ? 2 : 1);
		}
	}
}

static void the_first_contention_of_a_mastership_is_told(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 10000;
	hear(1, 90, now_us);
	hear(1, 110, now_us + 500000);
	assert_int_equal(fsm.state, VRRP_BACKUP);
	hear(1, 0, now_us + 600000);
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	assert_int_equal(fsm.state, VRRP_MASTER);
	hear(2, 80, now_us + 1); /* answered at once, and told, whatever was before */
	expect_did("!3 S100");
}

static void who_was_preempted_says_one_more_word_within_an_interval(void **state)
{
	(void)state;
	for (int over = 0; over < 2; over++) {
		uint64_t now_us;

		configure_three();
		start();
		hear(1, 50, T0 + 1000); /* sick */
		now_us = vrrp_fsm_deadline(&fsm);
		timer(now_us);
		expect_did("S100 H A TMASTER/sick-holder");
		keep_on(now_us + SECOND - 1);
		hear(1, 50, now_us + SECOND - (over ? 0 : 1));
		assert_int_equal(fsm.stats.contentions, over);
	}
}

static void answers_are_20_ms_or_half_an_interval_apart(void **state)
{
	(void)state;
	for (int quick = 0; quick < 2; quick++) {
		const uint64_t gap_us = quick ? 5000 : 20000;
		uint64_t now_us;

		configure_three();
		conf.advert_int_us = quick ? 10000 : SECOND;
		now_us = become_master() + 1000;
		hear(1, 90, now_us);
		expect_did("!3 S100");
		hear(1, 90, now_us + gap_us - 1);
		assert_true(fsm.sent_us == now_us);
		hear(1, 90, now_us + gap_us);
		expect_did("S100");
	}
}

static void a_last_word_is_heard_unless_it_came_before_or_the_series_runs(void **state)
{
	uint64_t now_us;

	(void)state;
	for (int early = 1; early >= 0; early--) {
		configure_three();
		conf.self = 1;
		start();
		hear(0, 0, T0 + 1000);
		now_us = vrrp_fsm_deadline(&fsm);
		timer(now_us);
		assert_int_equal(fsm.state, VRRP_MASTER);
		hear_at(0, 1, now_us - (early ? 1 : 0), now_us + 1000);
		expect_did(early ? "" : "A");
	}
	/* Two of them: one series. */
	hear(2, 0, now_us + 2000);
	hear(2, 1, now_us + 30000);
	expect_did("");
}

static void who_resigned_does_not_announce_at_a_last_word(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = foreign_pair(0, 90);
	hear(2, 0, now_us);
	health_is(50, false, now_us + 1000);
	hear(2, 1, now_us + 40000);
	expect_did("");
}

/* ---- what counts from when ---- */

static void an_advert_of_the_very_moment_of_the_take_over_counts(void **state)
{
	(void)state;
	for (int early = 0; early < 2; early++) {
		uint64_t now_us;

		configure_three();
		now_us = become_master();
		hear_at(1, 110, now_us - (early ? 1 : 0), now_us + 10);
		assert_int_equal(fsm.state, early ? VRRP_MASTER : VRRP_BACKUP);
	}
}

static void a_restarted_engine_hears_what_came_since_its_last_advert(void **state)
{
	(void)state;
	for (int early = 0; early < 2; early++) {
		configure_three();
		vrrp_fsm_init(&fsm, &conf);
		link_is(true, T0);
		resume(T0 - 500000, T0);
		expect_did("H TMASTER/resumed");
		hear_at(1, 110, T0 - 500000 - (early ? 1 : 0), T0 + 10);
		assert_int_equal(fsm.state, early ? VRRP_MASTER : VRRP_BACKUP);
	}
	vrrp_fsm_init(&fsm, &conf);
	link_is(false, T0);
	resume(T0 - 500000, T0);
	expect_did("R TFAULT/link-down");
	expect_deadline(NEVER);
}

static void who_yields_waits_three_intervals_for_the_other(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 10000;
	hear_at(1, 110, now_us, now_us + 500);
	expect_did("S100 S100 S100 R TBACKUP/higher-priority");
	expect_deadline(now_us + 3 * SECOND + 156 * SECOND / 256);
	/* Nor less if that one goes faster than we do. */
	now_us = become_master() + 10000;
	conf.advert_int_us = 100000;
	hear_at(1, 110, now_us, now_us + 500);
	assert_true(fsm.down_base_us == now_us + 3 * SECOND);
}

static void an_advert_that_is_an_interval_late_is_followed_by_one_an_interval_later(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + SECOND;
	timer(now_us + SECOND);
	assert_true(fsm.advert_us == now_us + 2 * SECOND);
}

static void an_address_that_is_lost_again_and_again_is_told_once(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 1000;
	for (int i = 0; i < VRRP_PUT_BACKS_MAX; i++) {
		simple(VRRP_EV_ADDRESS_LOST, now_us);
		expect_did("H A !0");
	}
	simple(VRRP_EV_ADDRESS_LOST, now_us);
	expect_did("!1");
	simple(VRRP_EV_ADDRESS_LOST, now_us + 1);
	expect_did("");
	assert_true(fsm.put_back_us == now_us + VRRP_PUT_BACK_GAP_US);
}

static void a_reload_of_a_master_goes_by_the_new_file(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_CONF};
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 1000;
	conf.advert_int_us = SECOND / 2;
	ev.u.conf.conf = &conf;
	ev.u.conf.vips_changed = true;
	step(ev, now_us);
	expect_did("H A S100");
	assert_true(fsm.advert_us == now_us + SECOND / 2);
	/* One that has resigned says and announces nothing. */
	now_us = foreign_pair(0, 90);
	health_is(50, false, now_us);
	step(ev, now_us + 1);
	expect_did("H");
}

/* ---- LEAVING ---- */

static void a_successor_counts_from_the_moment_of_the_departure(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	hear_at(1, 90, now_us - 1, now_us + 1);
	assert_int_equal(fsm.successor, -1);
	hear_at(1, 90, now_us, now_us + 1);
	assert_int_equal(fsm.successor, 1);
	assert_true(fsm.repeat_us == NEVER);
	/* The first one counts, and where it is node 0 too. */
	hear(2, 80, now_us + 1000);
	assert_int_equal(fsm.successor, 1);
	configure_three();
	conf.self = 2;
	now_us = become_master() + 100000;
	simple(VRRP_EV_STOP, now_us);
	hear(0, 100, now_us + 1);
	hear(1, 90, now_us + 2);
	assert_int_equal(fsm.successor, 0);
}

static void a_successor_of_priority_2_hears_the_last_word(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	hear(1, 2, now_us + 1000);
	simple(VRRP_EV_ANNOUNCED, now_us + 2000);
	expect_did("R S1 U TINIT/announced .");
}

static void leaving_ends_with_an_absence_that_is_long_enough(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	away(1096093 - 1 - 10, now_us + 10);
	expect_did("");
	away(1096093 - 10, now_us + 10);
	expect_did("R U TINIT/away .");
}

static void the_repeat_is_sent_within_ten_milliseconds_or_not(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		const uint64_t now_us = begin_leaving();

		timer(now_us + 4999);
		expect_did("");
		timer(now_us + 10000 + (late ? 1 : 0));
		expect_did(late ? "" : "S0");
		expect_deadline(now_us + 1096093);
	}
}

static void what_is_told_while_leaving_is_known_and_changes_nothing(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = begin_leaving();
	health_is(40, false, now_us + 1);
	expect_did("");
	assert_int_equal(fsm.priority, 40);
	conf.nopreempt = true;
	reload(&conf, now_us + 2);
	expect_did("");
	assert_true(fsm.conf.nopreempt);
	expect_deadline(now_us + 5000);
}

static void what_is_told_while_handing_over_does_not_stop_it(void **state)
{
	struct vrrp_event over = {.type = VRRP_EV_HANDOVER}, ill = {.type = VRRP_EV_MAINTENANCE};
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master() + 100000;
	step(over, now_us);
	assert_true(fsm.state == VRRP_LEAVING && fsm.returns && fsm.handed_over);
	ill.u.maintenance.on = true;
	step(ill, now_us + 1);
	assert_true(fsm.returns && fsm.handed_over);
	over.u.handover.lift = true;
	step(over, now_us + 2);
	assert_true(fsm.returns && !fsm.handed_over);
	/* A short absence is no reason to do anything either. */
	away(10, now_us + 6000);
	expect_did("");
}

static void who_handed_over_obeys_its_successor_from_its_last_advert(void **state)
{
	struct vrrp_event over = {.type = VRRP_EV_HANDOVER};

	(void)state;
	for (int self = 0; self < 2; self++) {
		uint64_t now_us;

		configure_three();
		conf.self = self;
		now_us = become_master() + 100000;
		step(over, now_us);
		hear(!self, 90, now_us + 1000);
		simple(VRRP_EV_ANNOUNCED, now_us + 3000);
		assert_int_equal(fsm.state, VRRP_BACKUP);
		assert_int_equal(fsm.master, !self);
		assert_true(fsm.down_base_us == now_us + 1000 + 3 * SECOND);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whom_it_resigns_for_goes_by_what_that_node_said_last),
		cmocka_unit_test(a_lower_foreign_priority_of_1_in_the_file_takes_part),
		cmocka_unit_test(after_its_back_off_it_resigns_by_the_file),
		cmocka_unit_test(a_change_of_health_begins_the_back_off_anew),
		cmocka_unit_test(the_back_off_doubles_ten_times),
		cmocka_unit_test(who_takes_over_while_sick_waits_before_it_resigns),
		cmocka_unit_test(a_resignation_is_silent_to_its_end),
		cmocka_unit_test(a_resignation_ends_when_somebody_lower_speaks),
		cmocka_unit_test(
			a_contention_is_over_after_three_intervals_and_two_seconds_at_least),
		cmocka_unit_test(the_first_contention_of_a_mastership_is_told),
		cmocka_unit_test(who_was_preempted_says_one_more_word_within_an_interval),
		cmocka_unit_test(answers_are_20_ms_or_half_an_interval_apart),
		cmocka_unit_test(a_last_word_is_heard_unless_it_came_before_or_the_series_runs),
		cmocka_unit_test(who_resigned_does_not_announce_at_a_last_word),
		cmocka_unit_test(an_advert_of_the_very_moment_of_the_take_over_counts),
		cmocka_unit_test(a_restarted_engine_hears_what_came_since_its_last_advert),
		cmocka_unit_test(who_yields_waits_three_intervals_for_the_other),
		cmocka_unit_test(
			an_advert_that_is_an_interval_late_is_followed_by_one_an_interval_later),
		cmocka_unit_test(an_address_that_is_lost_again_and_again_is_told_once),
		cmocka_unit_test(a_reload_of_a_master_goes_by_the_new_file),
		cmocka_unit_test(a_successor_counts_from_the_moment_of_the_departure),
		cmocka_unit_test(a_successor_of_priority_2_hears_the_last_word),
		cmocka_unit_test(leaving_ends_with_an_absence_that_is_long_enough),
		cmocka_unit_test(the_repeat_is_sent_within_ten_milliseconds_or_not),
		cmocka_unit_test(what_is_told_while_leaving_is_known_and_changes_nothing),
		cmocka_unit_test(what_is_told_while_handing_over_does_not_stop_it),
		cmocka_unit_test(who_handed_over_obeys_its_successor_from_its_last_advert),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
