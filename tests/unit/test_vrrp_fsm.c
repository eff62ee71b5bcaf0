/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual router, event by event. Node 0 is 198.51.100.1 and so on; self is node 0 unless a
 * test says otherwise. Times are absolute microseconds from T0 on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/vrrp_fsm.h"

#define T0 UINT64_C(100000000)
#define SECOND UINT64_C(1000000)
#define NEVER VRRP_NEVER_US

static struct vrrp_conf conf;
static struct vrrp_fsm fsm;
static struct vrrp_actions actions;

/* ---- helpers ---- */

static void configure(uint8_t version, uint64_t advert_int_us, int nodes, const uint8_t *priorities)
{
	memset(&conf, 0, sizeof(conf));
	conf.version = version;
	conf.advert_int_us = advert_int_us;
	conf.nodes_count = nodes;
	for (int i = 0; i < nodes; i++) {
		conf.nodes[i].address = (struct ip_addr){.family = IP_V4,
							 .bytes = {198, 51, 100, (uint8_t)(i + 1)}};
		conf.nodes[i].priority = priorities[i];
	}
	conf.stop_wait_us = 3 * SECOND;
	conf.undetermined_wait_us = 10 * SECOND;
	conf.garp_master_delay_us = SECOND;
	conf.garp_master_refresh_us = 10 * SECOND;
}

/* Version 3, one second, priorities 100 (self), 90 and 80. */
static void configure_three(void)
{
	static const uint8_t priorities[] = {100, 90, 80};

	configure(3, SECOND, 3, priorities);
}

static void step(struct vrrp_event ev, uint64_t now_us)
{
	ev.now_us = now_us;
	vrrp_fsm_step(&fsm, &ev, &actions);
}

static void simple(enum vrrp_event_type type, uint64_t now_us)
{
	step((struct vrrp_event){.type = type}, now_us);
}

static void timer(uint64_t now_us)
{
	simple(VRRP_EV_TIMER, now_us);
}

static void link_is(bool up, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_LINK};

	ev.u.link.up = up;
	step(ev, now_us);
}

static void health_is(uint8_t priority, bool undetermined, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_HEALTH};

	ev.u.health.priority = priority;
	ev.u.health.undetermined = undetermined;
	step(ev, now_us);
}

static void hear_at(int node, uint8_t priority, uint64_t arrival_us, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_ADVERT};

	ev.u.advert.arrival_us = arrival_us;
	ev.u.advert.node = node;
	ev.u.advert.priority = priority;
	ev.u.advert.advert_int_us = conf.advert_int_us;
	step(ev, now_us);
}

static void hear(int node, uint8_t priority, uint64_t now_us)
{
	hear_at(node, priority, now_us, now_us);
}

static void start(void)
{
	vrrp_fsm_init(&fsm, &conf);
	link_is(true, T0);
	simple(VRRP_EV_START, T0);
}

/* As letters: S<priority> send, H hold, R release, A announce, W watch, U unwatch, T<state>
 * transition,
 * !<alarm>, . stopped. */
static const char *did(void)
{
	static char text[256];
	size_t at = 0;

	text[0] = '\0';
	for (int i = 0; i < actions.count; i++) {
		const struct vrrp_action *action = &actions.list[i];
		char one[32] = "";

		switch (action->type) {
		case VRRP_DO_SEND:
			snprintf(one, sizeof(one), "S%d", action->u.priority);
			break;
		case VRRP_DO_HOLD:
			snprintf(one, sizeof(one), "H");
			break;
		case VRRP_DO_RELEASE:
			snprintf(one, sizeof(one), "R");
			break;
		case VRRP_DO_ANNOUNCE:
			snprintf(one, sizeof(one), "A");
			break;
		case VRRP_DO_WATCH:
			snprintf(one, sizeof(one), "W");
			break;
		case VRRP_DO_UNWATCH:
			snprintf(one, sizeof(one), "U");
			break;
		case VRRP_DO_TRANSITION:
			snprintf(one, sizeof(one), "T%s/%s",
				 vrrp_fsm_state_name(action->u.transition.to),
				 vrrp_fsm_cause_name(action->u.transition.cause));
			break;
		case VRRP_DO_ALARM:
			snprintf(one, sizeof(one), "!%d", (int)action->u.alarm);
			break;
		case VRRP_DO_STOPPED:
			snprintf(one, sizeof(one), ".");
			break;
		case VRRP_ACTION_TYPES:
			break;
		}
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? " " : "", one);
	}
	return text;
}

#define expect_did(text) assert_string_equal(did(), text)
#define expect_deadline(us) assert_true(vrrp_fsm_deadline(&fsm) == (us))

/* MASTER for master-down; returns when. */
static uint64_t become_master(void)
{
	uint64_t now_us;

	start();
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	assert_int_equal(fsm.state, VRRP_MASTER);
	return now_us;
}

/* Goes on as MASTER, on time, until now_us. */
static void keep_on(uint64_t now_us)
{
	while (vrrp_fsm_deadline(&fsm) <= now_us)
		timer(vrrp_fsm_deadline(&fsm));
}

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
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		assert_true(vrrp_fsm_skew_us(cells[i].version, cells[i].priority,
					     cells[i].interval_us) == cells[i].skew_us);
		assert_true(vrrp_fsm_master_down_us(cells[i].version, cells[i].priority,
						    cells[i].interval_us) == cells[i].down_us);
	}
}

static void the_others_wait_is_that_of_the_quickest_peer(void **state)
{
	(void)state;
	configure_three();
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == vrrp_fsm_master_down_us(3, 90, SECOND));
	conf.nodes[1].priority = 0;
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == vrrp_fsm_master_down_us(3, 80, SECOND));
	conf.nodes[2].priority = 0;
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == NEVER);
}

/* ---- start ---- */

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

/* ---- MASTER ---- */

static void master_advertises_every_interval_without_drift(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.garp_master_delay_us = conf.garp_master_refresh_us = 0;
	now_us = become_master();
	for (int i = 1; i <= 10; i++) {
		expect_deadline(now_us + (uint64_t)i * SECOND);
		timer(now_us + (uint64_t)i * SECOND + 300);
		expect_did("S100");
	}
}

static void master_that_is_late_sends_no_burst(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.garp_master_delay_us = conf.garp_master_refresh_us = 0;
	now_us = become_master();
	timer(now_us + 2500000);
	expect_did("S100");
	expect_deadline(now_us + 3500000);
}

static void master_announces_after_the_delay_and_then_periodically(void **state)
{
	uint64_t now_us, announced = 0;

	(void)state;
	configure_three();
	now_us = become_master();
	for (uint64_t end_us = now_us + 25 * SECOND; vrrp_fsm_deadline(&fsm) < end_us;) {
		timer(vrrp_fsm_deadline(&fsm));
		for (int i = 0; i < actions.count; i++)
			announced += actions.list[i].type == VRRP_DO_ANNOUNCE;
	}
	assert_true(announced == 3); /* 1, 11 and 21 s */
}

static void master_yields_to_a_higher_priority(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.nodes[1].priority = 120;
	now_us = become_master();
	hear(1, 120, now_us + 100000);
	expect_did("R TBACKUP/higher-priority");
	expect_deadline(now_us + 100000 + 3609375);
	assert_int_equal(vrrp_fsm_master(&fsm), 1);
}

static void master_yields_to_an_equal_priority_with_a_higher_address_only(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.nodes[1].priority = 100;
	now_us = become_master();
	hear(1, 100, now_us + 100000);
	expect_did("R TBACKUP/higher-address");

	configure_three();
	conf.self = 1;
	conf.nodes[1].priority = 100;
	now_us = become_master();
	hear(0, 100, now_us + 100000);
	assert_int_equal(fsm.state, VRRP_MASTER);
}

static void master_answers_a_lower_priority_at_once_and_announces_four_times(void **state)
{
	static const uint64_t after_us[] = {20000, 50000, 200000, 1000000};
	uint64_t now_us;
	int at = 0;

	(void)state;
	configure_three();
	conf.garp_master_delay_us = conf.garp_master_refresh_us = 0;
	now_us = become_master() + 100000;
	hear(1, 90, now_us);
	expect_did("!3 S100");
	while (at < 4) {
		timer(vrrp_fsm_deadline(&fsm));
		for (int i = 0; i < actions.count; i++)
			if (actions.list[i].type == VRRP_DO_ANNOUNCE)
				assert_true(fsm.now_us == now_us + after_us[at++]);
	}
	assert_true(vrrp_fsm_deadline(&fsm) > now_us + SECOND);
}

static void answers_and_announcements_in_a_lasting_contention_are_bounded(void **state)
{
	uint64_t now_us, sent = 0, announced = 0, alarms = 0;

	(void)state;
	configure_three();
	conf.garp_master_delay_us = conf.garp_master_refresh_us = 0;
	now_us = become_master();
	/* A thousand adverts in a second. */
	for (uint64_t at = now_us; at < now_us + SECOND; at += 1000) {
		hear(1, 90, at);
		for (int i = 0; i < actions.count; i++) {
			sent += actions.list[i].type == VRRP_DO_SEND;
			alarms += actions.list[i].type == VRRP_DO_ALARM;
		}
		while (vrrp_fsm_deadline(&fsm) <= at) {
			timer(at);
			for (int i = 0; i < actions.count; i++)
				announced += actions.list[i].type == VRRP_DO_ANNOUNCE;
		}
	}
	assert_in_range(sent, 40, 50);
	assert_in_range(announced, 3, 4);
	assert_int_equal(alarms, 1);
}

static void master_answers_priority_0_with_an_advert(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master();
	hear(1, 0, now_us + 100000);
	expect_did("S100");
}

static void master_ignores_what_arrived_before_it_took_over(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.nodes[1].priority = 120;
	now_us = become_master();
	hear_at(1, 120, now_us - 1, now_us + 1000);
	expect_did("");
	assert_int_equal(fsm.state, VRRP_MASTER);
}

static void master_tells_a_change_of_health_at_once(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master();
	health_is(80, false, now_us + 100000);
	expect_did("S80");
	assert_true(vrrp_fsm_sick(&fsm));
	health_is(80, false, now_us + 200000);
	expect_did("");
	health_is(100, false, now_us + 300000);
	expect_did("S100");
}

static void master_with_a_failed_weight_0_check_goes_on_holding(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.nopreempt = true;
	now_us = become_master();
	health_is(1, false, now_us + 100000);
	keep_on(now_us + 60 * SECOND);
	assert_int_equal(fsm.state, VRRP_MASTER);
	assert_int_equal(fsm.stats.resignations, 0); /* its peers know what sickness is */
}

static void master_releases_when_its_interface_dies(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master();
	link_is(false, now_us + 100000);
	expect_did("S0 R TFAULT/link-down");
	expect_deadline(NEVER);
	link_is(true, now_us + 200000);
	expect_did("TBACKUP/link-up");
}

static void master_that_was_silent_for_too_long_lets_go_before_it_asks(void **state)
{
	uint64_t now_us;
	const uint64_t wait_us = 3648437; /* of node 1, the quickest peer */

	(void)state;
	configure_three();
	now_us = become_master();
	timer(now_us + wait_us);
	expect_did("R TBACKUP/away");
	expect_deadline(now_us + wait_us + SECOND + 609375);

	now_us = become_master();
	timer(now_us + wait_us - 1);
	assert_int_equal(fsm.state, VRRP_MASTER);

	/* The advert that waits in the socket is judged after that, as a backup. */
	now_us = become_master();
	hear_at(1, 90, now_us + 3 * SECOND, now_us + wait_us);
	expect_did("R TBACKUP/away");
	assert_int_equal(vrrp_fsm_master(&fsm), 1);
}

static void master_lets_go_when_told_of_a_pause_that_its_clock_does_not_show(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_AWAY};
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master();
	ev.u.away.pause_us = 2 * SECOND;
	step(ev, now_us + 100000);
	expect_did("");
	ev.u.away.pause_us = 4 * SECOND;
	step(ev, now_us + 200000);
	expect_did("R TBACKUP/away");
}

static void a_single_node_is_never_away(void **state)
{
	static const uint8_t priorities[] = {100};
	uint64_t now_us;

	(void)state;
	configure(3, SECOND, 1, priorities);
	now_us = become_master();
	timer(now_us + 3600 * SECOND);
	assert_int_equal(fsm.state, VRRP_MASTER);
}

static void lost_addresses_are_put_back_five_times_and_then_slowly(void **state)
{
	uint64_t now_us, put_back_us;

	(void)state;
	configure_three();
	conf.garp_master_refresh_us = conf.garp_master_delay_us = 0;
	now_us = become_master();
	for (int i = 0; i < 5; i++) {
		simple(VRRP_EV_ADDRESS_LOST, now_us);
		expect_did("H A !0");
	}
	simple(VRRP_EV_ADDRESS_LOST, now_us);
	expect_did("!1");
	simple(VRRP_EV_ADDRESS_LOST, now_us);
	expect_did("");
	put_back_us = 0;
	while (!put_back_us) {
		timer(vrrp_fsm_deadline(&fsm));
		for (int i = 0; i < actions.count; i++)
			if (actions.list[i].type == VRRP_DO_HOLD)
				put_back_us = fsm.now_us;
	}
	assert_true(put_back_us == now_us + 12 * SECOND);
}

static void addresses_that_the_kernel_refuses_are_a_fault_and_tried_again(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master();
	simple(VRRP_EV_HOLD_FAILED, now_us);
	expect_did("S0 R TFAULT/hold-failed");
	expect_deadline(now_us + 10 * SECOND);
	timer(now_us + 10 * SECOND);
	expect_did("TBACKUP/hold-retry");
}

static void a_master_that_cannot_send_holds_until_somebody_else_is_heard(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master();
	simple(VRRP_EV_SEND_FAILED, now_us);
	expect_did("!2");
	timer(now_us + SECOND);
	simple(VRRP_EV_SEND_FAILED, now_us + SECOND);
	expect_did("");
	timer(now_us + 2 * SECOND);
	simple(VRRP_EV_SEND_FAILED, now_us + 2 * SECOND);
	assert_int_equal(fsm.state, VRRP_MASTER);
	hear(1, 90, now_us + 2 * SECOND + 1);
	expect_did("R TBACKUP/mute");
	/* And it does not preempt what it could not tell. */
	for (uint64_t at = now_us + 3 * SECOND; at < now_us + 10 * SECOND; at += SECOND) {
		hear(1, 90, at);
		assert_true(vrrp_fsm_deadline(&fsm) > at + 3 * SECOND);
	}
}

static void one_failed_advert_is_forgotten_with_the_next_that_goes_out(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master();
	simple(VRRP_EV_SEND_FAILED, now_us);
	timer(now_us + SECOND);
	timer(now_us + 2 * SECOND);
	hear(1, 90, now_us + 2 * SECOND + 1);
	assert_int_equal(fsm.state, VRRP_MASTER);
}

static void a_reload_changes_ranks_intervals_and_addresses_without_a_transition(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_CONF};
	struct vrrp_conf other;
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master();
	other = conf;
	other.advert_int_us = 2 * SECOND;
	ev.u.conf.conf = &other;
	step(ev, now_us + 100000);
	expect_did("S100");
	ev.u.conf.vips_changed = true;
	step(ev, now_us + 200000);
	expect_did("H A S100");
	assert_int_equal(fsm.state, VRRP_MASTER);
}

static void a_reload_that_moves_the_nodes_keeps_what_is_known_of_them(void **state)
{
	struct vrrp_event ev = {.type = VRRP_EV_CONF};
	struct vrrp_conf other;

	(void)state;
	configure_three();
	conf.nopreempt = true;
	start();
	hear(1, 90, T0 + SECOND);
	other = conf;
	other.nodes[1] = conf.nodes[2];
	other.nodes[2] = conf.nodes[1];
	ev.u.conf.conf = &other;
	step(ev, T0 + SECOND + 1);
	expect_did("");
	assert_int_equal(vrrp_fsm_master(&fsm), 2);
	assert_int_equal(fsm.peers[2].priority, 90);
	assert_false(fsm.peers[1].heard);
	expect_deadline(T0 + SECOND + 3609375);
}

/* ---- a sick master and a foreign peer ---- */

static uint64_t become_sick_before_a_foreign_peer(void)
{
	uint64_t now_us;

	configure_three();
	conf.nopreempt = true;
	conf.nodes[1].foreign = true;
	conf.garp_master_delay_us = conf.garp_master_refresh_us = 0;
	now_us = become_master() + 100000;
	health_is(80, false, now_us);
	return now_us;
}

static void a_sick_master_resigns_once_and_holds_in_silence(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = become_sick_before_a_foreign_peer();
	expect_did("S0 !4");
	assert_true(vrrp_fsm_holds(&fsm));
	/* Skew time at priority 1 and 100 ms. */
	expect_deadline(now_us + 996093 + 100000);
	timer(vrrp_fsm_deadline(&fsm));
	expect_did("S80");
	keep_on(now_us + 30 * SECOND);
	assert_int_equal(fsm.stats.resignations, 1);
}

static void a_master_that_resigned_yields_to_a_healthy_successor(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = become_sick_before_a_foreign_peer();
	hear(1, 90, now_us + 700000);
	expect_did("R TBACKUP/higher-priority");
	now_us = become_sick_before_a_foreign_peer();
	health_is(85, false, now_us + 1);
	hear(2, 80, now_us + 700000); /* lower, and well */
	expect_did("R TBACKUP/resigned");
}

static void resignations_without_a_change_of_health_back_off(void **state)
{
	uint64_t now_us, at_us[5], down_us;
	int count = 0;

	(void)state;
	now_us = become_sick_before_a_foreign_peer();
	down_us = vrrp_fsm_master_down_us(3, 80, SECOND);
	at_us[count++] = now_us;
	while (count < 5) {
		timer(vrrp_fsm_deadline(&fsm));
		if (actions.count && actions.list[0].type == VRRP_DO_SEND &&
		    actions.list[0].u.priority == 0)
			at_us[count++] = fsm.now_us;
	}
	for (int i = 1; i < 5; i++)
		assert_true(at_us[i] - at_us[i - 1] == (10 * down_us << (i - 1)));
}

static void nobody_resigns_without_nopreempt_or_before_a_lower_peer_or_when_well(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.nodes[1].foreign = true;
	now_us = become_master();
	health_is(80, false, now_us + 1);
	expect_did("S80"); /* a peer that preempts needs no telling */

	configure_three();
	conf.nopreempt = true;
	conf.nodes[1].foreign = true;
	now_us = become_master();
	health_is(95, false, now_us + 1);
	expect_did("S95");
	keep_on(now_us + 600 * SECOND);
	assert_int_equal(fsm.stats.resignations, 0);
}

static void a_master_that_recovers_while_resigned_says_so_at_once(void **state)
{
	uint64_t now_us;

	(void)state;
	now_us = become_sick_before_a_foreign_peer();
	health_is(100, false, now_us + 10000);
	expect_did("S100");
	keep_on(now_us + 600 * SECOND);
	assert_int_equal(fsm.stats.resignations, 1);
}

/* ---- LEAVING ---- */

static uint64_t begin_leaving(void)
{
	uint64_t now_us;

	configure_three();
	now_us = become_master() + 100000;
	simple(VRRP_EV_STOP, now_us);
	expect_did("S0 W TLEAVING/stop");
	assert_true(vrrp_fsm_holds(&fsm));
	return now_us;
}

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
	expect_deadline(now_us + 3000 + 20000);
	hear(0, 1, now_us + 500000); /* who goes on is alive */
	expect_did("!3 S90");
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
		cmocka_unit_test(the_others_wait_is_that_of_the_quickest_peer),
		cmocka_unit_test(start_goes_to_backup_and_waits_master_down),
		cmocka_unit_test(the_owner_of_the_addresses_takes_them_at_once),
		cmocka_unit_test(an_owner_waits_for_its_checks),
		cmocka_unit_test(start_on_a_dead_interface_is_a_fault),
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
		cmocka_unit_test(master_advertises_every_interval_without_drift),
		cmocka_unit_test(master_that_is_late_sends_no_burst),
		cmocka_unit_test(master_announces_after_the_delay_and_then_periodically),
		cmocka_unit_test(master_yields_to_a_higher_priority),
		cmocka_unit_test(master_yields_to_an_equal_priority_with_a_higher_address_only),
		cmocka_unit_test(master_answers_a_lower_priority_at_once_and_announces_four_times),
		cmocka_unit_test(answers_and_announcements_in_a_lasting_contention_are_bounded),
		cmocka_unit_test(master_answers_priority_0_with_an_advert),
		cmocka_unit_test(master_ignores_what_arrived_before_it_took_over),
		cmocka_unit_test(master_tells_a_change_of_health_at_once),
		cmocka_unit_test(master_with_a_failed_weight_0_check_goes_on_holding),
		cmocka_unit_test(master_releases_when_its_interface_dies),
		cmocka_unit_test(master_that_was_silent_for_too_long_lets_go_before_it_asks),
		cmocka_unit_test(master_lets_go_when_told_of_a_pause_that_its_clock_does_not_show),
		cmocka_unit_test(a_single_node_is_never_away),
		cmocka_unit_test(lost_addresses_are_put_back_five_times_and_then_slowly),
		cmocka_unit_test(addresses_that_the_kernel_refuses_are_a_fault_and_tried_again),
		cmocka_unit_test(a_master_that_cannot_send_holds_until_somebody_else_is_heard),
		cmocka_unit_test(one_failed_advert_is_forgotten_with_the_next_that_goes_out),
		cmocka_unit_test(
			a_reload_changes_ranks_intervals_and_addresses_without_a_transition),
		cmocka_unit_test(a_reload_that_moves_the_nodes_keeps_what_is_known_of_them),
		cmocka_unit_test(a_sick_master_resigns_once_and_holds_in_silence),
		cmocka_unit_test(a_master_that_resigned_yields_to_a_healthy_successor),
		cmocka_unit_test(resignations_without_a_change_of_health_back_off),
		cmocka_unit_test(
			nobody_resigns_without_nopreempt_or_before_a_lower_peer_or_when_well),
		cmocka_unit_test(a_master_that_recovers_while_resigned_says_so_at_once),
		cmocka_unit_test(leaving_repeats_its_priority_0_once),
		cmocka_unit_test(leaving_lets_go_when_the_successor_announces_the_address),
		cmocka_unit_test(leaving_lets_go_50_ms_after_the_successors_advert),
		cmocka_unit_test(leaving_ends_when_nobody_takes_over_and_says_no_last_word),
		cmocka_unit_test(leaving_waits_no_longer_than_stop_wait),
		cmocka_unit_test(leaving_waits_996_ms_whatever_the_interval_of_version_2),
		cmocka_unit_test(a_single_node_leaves_without_waiting),
		cmocka_unit_test(leaving_says_no_last_word_to_a_successor_of_priority_1),
		cmocka_unit_test(leaving_goes_on_waiting_when_its_successor_gives_up),
		cmocka_unit_test(leaving_does_not_take_an_old_advert_for_a_successor),
		cmocka_unit_test(leaving_puts_nothing_back_and_announces_nothing),
		cmocka_unit_test(a_leavers_last_word_makes_its_successor_announce_again),
		cmocka_unit_test(a_restarted_engine_goes_on_as_master_and_hears_before_it_speaks),
		cmocka_unit_test(a_restarted_engine_that_was_replaced_yields_first),
		cmocka_unit_test(a_restarted_engine_that_comes_too_late_lets_go),
		cmocka_unit_test(a_restarted_engine_on_a_dead_interface_lets_go),
		cmocka_unit_test(no_event_in_any_state_breaks_anything),
		cmocka_unit_test(everything_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
