/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual router in BACKUP. */
#include "tests/unit/vrrp_fixture.h"

/* ---- BACKUP ---- */

static void backup_obeys_a_higher_and_an_equal_priority(void **state)
{
	(void)state;
	configure_three();
	conf.nodes[1].priority = 120;
	start();
	hear(1, 120, T0 + SECOND);
	expect_deadline(T0 + 4 * SECOND + 609375);
	assert_int_equal(vrrp_fsm_master(&fsm), 1);
	conf.nodes[1].priority = 100;
	start();
	hear(1, 100, T0 + SECOND);
	expect_deadline(T0 + 4 * SECOND + 609375);
}

static void backup_with_preempt_does_not_rearm_for_a_lower_priority(void **state)
{
	(void)state;
	configure_three();
	start();
	for (uint64_t at = T0 + SECOND; at < T0 + 3609375; at += SECOND) {
		hear(1, 90, at);
		expect_deadline(T0 + 3609375);
	}
	timer(T0 + 3609375);
	expect_did("S100 H A TMASTER/preempt");
}

static void backup_with_nopreempt_obeys_every_healthy_master(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	for (uint64_t at = T0 + SECOND; at < T0 + 20 * SECOND; at += SECOND) {
		hear(1, 90, at);
		expect_deadline(at + 3609375);
	}
}

static void backup_with_nopreempt_takes_from_a_sick_holder_after_its_own_skew(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	hear(1, 90, T0 + SECOND);
	hear(1, 70, T0 + 2 * SECOND); /* the advert that tells of the failed check */
	expect_deadline(T0 + 2 * SECOND + 609375);
	hear(1, 70, T0 + 2 * SECOND + 500000); /* a further one does not begin the wait anew */
	expect_deadline(T0 + 2 * SECOND + 609375);
	timer(T0 + 2 * SECOND + 609375);
	expect_did("S100 H A TMASTER/sick-holder");
}

static void backup_leaves_a_sick_holder_alone_that_ranks_equal_or_higher(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	health_is(70, false, T0);
	hear(1, 70, T0 + SECOND);
	assert_true(vrrp_fsm_deadline(&fsm) > T0 + 4 * SECOND);
	hear(1, 71, T0 + 2 * SECOND);
	assert_true(vrrp_fsm_deadline(&fsm) > T0 + 5 * SECOND);
}

static void backup_forgets_a_sick_holder_that_recovers(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	hear(1, 70, T0 + SECOND);
	hear(1, 90, T0 + SECOND + 300000);
	expect_deadline(T0 + SECOND + 300000 + 3609375);
}

static void a_backup_that_recovers_takes_from_a_sick_holder(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	health_is(60, false, T0);
	hear(1, 70, T0 + SECOND);
	health_is(100, false, T0 + SECOND + 200000);
	expect_deadline(T0 + SECOND + 200000 + 609375);
}

static void a_backup_that_falls_sick_gives_up_its_claim(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	hear(1, 70, T0 + SECOND);
	health_is(60, false, T0 + SECOND + 100000);
	assert_true(vrrp_fsm_deadline(&fsm) > T0 + 4 * SECOND);
}

/* Seed 469578: the holder had died, the claim on it had not. */
static void a_claim_on_a_holder_that_is_heard_no_more_lapses_with_the_rank(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	health_is(60, true, T0);
	hear(1, 70, T0 + SECOND);
	health_is(100, false, T0 + 3 * SECOND + 900000);
	health_is(60, false, T0 + 4 * SECOND + 100000);
	timer(vrrp_fsm_deadline(&fsm));
	expect_did("S60 H A TMASTER/master-down");
}

static void a_backup_with_unknown_health_takes_from_nobody(void **state)
{
	(void)state;
	configure_three();
	start();
	health_is(100, true, T0);
	for (uint64_t at = T0 + SECOND; at < T0 + 20 * SECOND; at += SECOND) {
		hear(1, at < T0 + 10 * SECOND ? 90 : 1, at);
		assert_true(vrrp_fsm_deadline(&fsm) >= at + 3 * SECOND);
	}
}

static void a_backup_with_unknown_health_does_not_wait_for_ever(void **state)
{
	(void)state;
	configure_three();
	vrrp_fsm_init(&fsm, &conf);
	link_is(true, T0);
	health_is(100, true, T0);
	simple(VRRP_EV_START, T0);
	expect_deadline(T0 + 10 * SECOND);
	timer(T0 + 10 * SECOND);
	expect_did("S100 H A TMASTER/master-down");
}

/* Seed 47. */
static void health_that_comes_late_casts_no_doubt_on_the_silence(void **state)
{
	(void)state;
	configure_three();
	start();
	health_is(100, true, T0);
	health_is(100, false, T0 + 8 * SECOND);
	timer(T0 + 8 * SECOND);
	expect_did("S100 H A TMASTER/master-down");
}

/* Seed 918438: it had slept through its deadline after that. */
static void health_that_comes_in_time_does_not_end_all_doubt(void **state)
{
	(void)state;
	configure_three();
	start();
	health_is(100, true, T0);
	hear(1, 70, T0 + SECOND);
	health_is(100, false, T0 + 2 * SECOND);
	expect_deadline(T0 + 2 * SECOND + 609375);
	timer(T0 + 10 * SECOND);
	expect_did("!5");
	assert_int_equal(fsm.state, VRRP_BACKUP);
}

static void a_sick_backup_takes_over_when_nobody_else_does(void **state)
{
	(void)state;
	configure_three();
	start();
	health_is(1, false, T0);
	expect_deadline(T0 + 3996093);
	timer(T0 + 3996093);
	expect_did("S1 H A TMASTER/master-down");
}

static void priority_0_leaves_skew_time(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	hear(1, 90, T0 + SECOND);
	hear(1, 0, T0 + 2 * SECOND);
	expect_deadline(T0 + 2 * SECOND + 609375);
	timer(T0 + 2 * SECOND + 609375);
	expect_did("S100 H A TMASTER/master-left");
}

/* A sender that repeats its priority 0 must not be able to hold us up. */
static void a_repeated_priority_0_does_not_begin_the_wait_anew(void **state)
{
	(void)state;
	configure_three();
	start();
	hear(1, 90, T0 + SECOND);
	for (uint64_t at = T0 + 2 * SECOND; at < T0 + 2 * SECOND + 600000; at += 200000) {
		hear(1, 0, at);
		expect_deadline(T0 + 2 * SECOND + 609375);
	}
}

static void priority_0_from_somebody_who_is_not_the_master_frees_nothing(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	hear(1, 90, T0 + SECOND);
	hear(2, 0, T0 + SECOND + 100000);
	expect_deadline(T0 + SECOND + 3609375);
}

/* Seed 798: the network turned the order round. */
static void an_advert_that_its_priority_0_has_overtaken_is_no_sign_of_life(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	hear(1, 90, T0 + SECOND);
	hear(1, 0, T0 + 2 * SECOND);
	hear(1, 90, T0 + 2 * SECOND + 10000);
	expect_deadline(T0 + 2 * SECOND + 609375);
	hear(1, 90, T0 + 2 * SECOND + 100000); /* but this one is */
	expect_deadline(T0 + 2 * SECOND + 100000 + 3609375);
}

/* Seed 37. */
static void a_lesser_master_counts_once_the_greater_one_has_left(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	hear(1, 90, T0 + SECOND);
	hear(2, 80, T0 + SECOND + 500000); /* cut off from the other, perhaps */
	hear(1, 0, T0 + SECOND + 600000);
	expect_deadline(T0 + SECOND + 500000 + 3609375);
	assert_int_equal(vrrp_fsm_master(&fsm), 2);
}

static void a_lesser_masters_sickness_is_no_reason_to_take_over(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	hear(1, 90, T0 + SECOND);
	hear(2, 10, T0 + SECOND + 500000);
	assert_true(vrrp_fsm_deadline(&fsm) >= T0 + 4 * SECOND);
	assert_int_equal(vrrp_fsm_master(&fsm), 1);
}

static void preempt_delay_begins_with_the_first_lower_advert(void **state)
{
	(void)state;
	configure_three();
	conf.preempt_delay_us = 5 * SECOND;
	start();
	hear(1, 90, T0 + SECOND);
	expect_deadline(T0 + SECOND + 3609375);
	hear(1, 90, T0 + 5 * SECOND);
	expect_deadline(T0 + 5 * SECOND + 3609375);
	hear(1, 90, T0 + 7 * SECOND); /* past the delay: discarded */
	expect_deadline(T0 + 5 * SECOND + 3609375);
	timer(T0 + 5 * SECOND + 3609375);
	expect_did("S100 H A TMASTER/preempt");
}

static void preempt_delay_delays_no_cold_start_and_spares_no_sick_holder(void **state)
{
	(void)state;
	configure_three();
	conf.preempt_delay_us = 1000 * SECOND;
	start();
	expect_deadline(T0 + 3609375);
	hear(1, 70, T0 + SECOND);
	expect_deadline(T0 + SECOND + 609375);
}

static void silence_is_judged_by_arrival(void **state)
{
	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	/* Read late, all at once, after a hang of three seconds. */
	hear_at(1, 90, T0 + SECOND, T0 + 5 * SECOND);
	hear_at(1, 90, T0 + 2 * SECOND, T0 + 5 * SECOND);
	expect_deadline(T0 + 2 * SECOND + 3609375);
}

static void a_deadline_seen_very_late_is_doubted_once(void **state)
{
	(void)state;
	configure_three();
	start();
	timer(T0 + 3609375 + SECOND + 1);
	expect_did("!5");
	expect_deadline(T0 + 3609375 + SECOND + 1 + SECOND + 609375);
	timer(T0 + 60 * SECOND);
	expect_did("S100 H A TMASTER/master-down");
}

static void a_backup_that_was_away_listens_again(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_AWAY};

	(void)state;
	configure_three();
	start();
	ev.u.away.pause_us = 60 * SECOND;
	step(ev, T0 + 3600000);
	expect_did("");
	expect_deadline(T0 + 3600000 + SECOND + 609375);
}

static void version_3_adopts_the_masters_interval_and_version_2_does_not(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_ADVERT};
	static const uint8_t priorities[] = {100, 120};

	(void)state;
	ev.u.advert.node = 1;
	ev.u.advert.priority = 120;
	ev.u.advert.advert_int_us = 4 * SECOND;
	ev.u.advert.arrival_us = T0;
	configure(3, SECOND, 2, priorities);
	start();
	step(ev, T0);
	expect_deadline(T0 + 12 * SECOND + 2437500);
	/* A v2 peer with another interval is a mistake in a file, and alive between two adverts. */
	ev.u.advert.verdict = VRRP_OTHER_INTERVAL;
	configure(2, SECOND, 2, priorities);
	start();
	step(ev, T0);
	expect_deadline(T0 + 12 * SECOND + 609375);
	assert_true(fsm.stats.mismatches_received == 1);
	ev.u.advert.advert_int_us = SECOND / 2;
	start();
	step(ev, T0);
	expect_deadline(T0 + 3 * SECOND + 609375);
}

static void a_peer_with_another_password_is_obeyed_like_any_other(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_ADVERT};

	(void)state;
	configure_three();
	conf.nodes[1].priority = 120;
	start();
	ev.u.advert.node = 1;
	ev.u.advert.priority = 120;
	ev.u.advert.advert_int_us = SECOND;
	ev.u.advert.arrival_us = T0 + SECOND;
	ev.u.advert.verdict = VRRP_OTHER_PASSWORD;
	step(ev, T0 + SECOND);
	expect_deadline(T0 + SECOND + 3609375);
	assert_int_equal(fsm.peers[1].verdict, VRRP_OTHER_PASSWORD);
}

static void backup_stops_without_a_word(void **state)
{
	(void)state;
	configure_three();
	start();
	simple(VRRP_EV_STOP, T0 + SECOND);
	expect_did("TINIT/stop .");
	expect_deadline(NEVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backup_obeys_a_higher_and_an_equal_priority),
		cmocka_unit_test(backup_with_preempt_does_not_rearm_for_a_lower_priority),
		cmocka_unit_test(backup_with_nopreempt_obeys_every_healthy_master),
		cmocka_unit_test(backup_with_nopreempt_takes_from_a_sick_holder_after_its_own_skew),
		cmocka_unit_test(backup_leaves_a_sick_holder_alone_that_ranks_equal_or_higher),
		cmocka_unit_test(backup_forgets_a_sick_holder_that_recovers),
		cmocka_unit_test(a_backup_that_recovers_takes_from_a_sick_holder),
		cmocka_unit_test(a_backup_that_falls_sick_gives_up_its_claim),
		cmocka_unit_test(a_claim_on_a_holder_that_is_heard_no_more_lapses_with_the_rank),
		cmocka_unit_test(a_backup_with_unknown_health_takes_from_nobody),
		cmocka_unit_test(a_backup_with_unknown_health_does_not_wait_for_ever),
		cmocka_unit_test(health_that_comes_late_casts_no_doubt_on_the_silence),
		cmocka_unit_test(health_that_comes_in_time_does_not_end_all_doubt),
		cmocka_unit_test(a_sick_backup_takes_over_when_nobody_else_does),
		cmocka_unit_test(priority_0_leaves_skew_time),
		cmocka_unit_test(a_repeated_priority_0_does_not_begin_the_wait_anew),
		cmocka_unit_test(priority_0_from_somebody_who_is_not_the_master_frees_nothing),
		cmocka_unit_test(an_advert_that_its_priority_0_has_overtaken_is_no_sign_of_life),
		cmocka_unit_test(a_lesser_master_counts_once_the_greater_one_has_left),
		cmocka_unit_test(a_lesser_masters_sickness_is_no_reason_to_take_over),
		cmocka_unit_test(preempt_delay_begins_with_the_first_lower_advert),
		cmocka_unit_test(preempt_delay_delays_no_cold_start_and_spares_no_sick_holder),
		cmocka_unit_test(silence_is_judged_by_arrival),
		cmocka_unit_test(a_deadline_seen_very_late_is_doubted_once),
		cmocka_unit_test(a_backup_that_was_away_listens_again),
		cmocka_unit_test(version_3_adopts_the_masters_interval_and_version_2_does_not),
		cmocka_unit_test(a_peer_with_another_password_is_obeyed_like_any_other),
		cmocka_unit_test(backup_stops_without_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
