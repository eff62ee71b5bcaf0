/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual router in MASTER. */
#include "tests/unit/vrrp_fixture.h"

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
	expect_did("S100 S100 S100 R TBACKUP/higher-priority");
	expect_deadline(now_us + 100000 + 3609375);
	assert_int_equal(vrrp_fsm_master(&fsm), 1);
}

static void master_that_took_over_from_a_living_one_yields_without_a_word(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.nodes[1].priority = 120;
	start();
	hear(2, 80, T0 + SECOND);
	now_us = vrrp_fsm_deadline(&fsm);
	hear(2, 80, now_us - 1000);
	timer(now_us);
	assert_int_equal(fsm.cause, VRRP_CAUSE_PREEMPT);
	hear(2, 80, now_us + 1000); /* the last word of the one that it was taken from: no alarm */
	expect_did("S100");
	hear(1, 120, now_us + 100000);
	expect_did("R TBACKUP/higher-priority");
}

static void master_yields_to_an_equal_priority_with_a_higher_address_only(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.nodes[1].priority = 100;
	now_us = become_master();
	hear(1, 100, now_us + 100000);
	expect_did("S100 S100 S100 R TBACKUP/higher-address");

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

/* What was announced, at once and by the timer until then: "m120000 c20000", kinds and microseconds
 * after now_us. */
static const char *announced_until(uint64_t now_us, uint64_t until_us)
{
	static char text[256];
	size_t at = 0;

	text[0] = '\0';
	for (;;) {
		for (int i = 0; i < actions.count; i++)
			if (actions.list[i].type == VRRP_DO_ANNOUNCE)
				at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%c%llu",
						       at ? " " : "",
						       "mrc"[actions.list[i].u.announce],
						       (unsigned long long)(fsm.now_us - now_us));
		if (vrrp_fsm_deadline(&fsm) > until_us)
			return text;
		timer(vrrp_fsm_deadline(&fsm));
	}
}

static void each_announcement_says_what_it_is_for(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	now_us = become_master();
	assert_string_equal(announced_until(now_us, now_us + 22 * SECOND),
			    "m0 m1000000 r11000000 r21000000");
	/* Without a second one the first of the others is a refresh. */
	configure_three();
	conf.garp_master_delay_us = 0;
	now_us = become_master();
	assert_string_equal(announced_until(now_us, now_us + 12 * SECOND), "m0 r10000000");
	conf.garp_master_delay_us = 1;
	now_us = become_master();
	assert_string_equal(announced_until(now_us, now_us + 11 * SECOND), "m0 m1 r10000001");
	/* One packet for both: as many as the weightier one has. */
	configure_three();
	now_us = become_master();
	hear(1, 90, now_us + SECOND - 20000);
	assert_string_equal(announced_until(now_us + SECOND, now_us + SECOND + 10000), "m0");
	simple(VRRP_EV_ADDRESS_LOST, now_us + SECOND + 15000);
	assert_string_equal(announced_until(now_us + SECOND, now_us + SECOND + 30000),
			    "m15000 c30000");
}

static void the_last_announcement_of_a_contention_comes_when_the_file_says(void **state)
{
	static const struct {
		uint64_t delay_us;
		const char *announced;
	} cells[] = {
		{0, "c20000 c50000 c200000"},
		{1, "c1"},
		{30000, "c20000 c30000"},
		{50000, "c20000 c50000"},
		{200000, "c20000 c50000 c200000"},
		{200001, "c20000 c50000 c200000 c200001"},
		{10 * SECOND, "c20000 c50000 c200000 c10000000"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		uint64_t now_us;

		configure_three();
		conf.garp_master_delay_us = conf.garp_master_refresh_us = 0;
		conf.garp_lower_prio_delay_us = cells[i].delay_us;
		now_us = become_master() + 100000;
		hear(1, 90, now_us);
		assert_string_equal(announced_until(now_us, now_us + 20 * SECOND),
				    cells[i].announced);
	}
}

static void a_new_contention_does_not_wait_for_the_last_one_to_be_through(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_three();
	conf.garp_master_delay_us = conf.garp_master_refresh_us = 0;
	conf.garp_lower_prio_delay_us = 100 * SECOND;
	now_us = become_master() + 100000;
	hear(1, 90, now_us);
	keep_on(now_us + 10 * SECOND);
	hear(1, 90, now_us += 10 * SECOND);
	expect_did("!3 S100");
	assert_string_equal(announced_until(now_us, now_us + 200 * SECOND),
			    "c20000 c50000 c200000 c100000000");
	/* Nor does one for which the other took over once more: it was silent for two intervals. */
	now_us = fsm.now_us + 10 * SECOND;
	keep_on(now_us);
	hear(1, 90, now_us);
	keep_on(now_us + 2 * SECOND);
	hear(1, 90, now_us + 2 * SECOND);
	assert_string_equal(announced_until(now_us, now_us + 4 * SECOND), "");
	hear(1, 90, now_us + 4 * SECOND + 1);
	assert_string_equal(announced_until(now_us, now_us + 5 * SECOND),
			    "c4020001 c4050001 c4200001");
	/* One that goes on is the same one; and of short series two are begun within a second. */
	conf.garp_lower_prio_delay_us = 0;
	step((struct vrrp_event){.type = VRRP_EV_CONF, .u.conf.conf = &conf}, fsm.now_us);
	now_us = fsm.now_us + SECOND;
	keep_on(now_us);
	hear(1, 90, now_us);
	keep_on(now_us + 400000);
	hear(1, 90, now_us + 400000);
	assert_string_equal(announced_until(now_us, now_us + 999999), "c420000 c450000 c600000");
	hear(1, 90, now_us + 999999);
	assert_string_equal(announced_until(now_us, now_us + 999999), "");
	hear(1, 90, now_us + SECOND);
	assert_string_equal(announced_until(now_us, now_us + SECOND + 50000), "c1020000 c1050000");
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
	down_us = vrrp_fsm_master_down_us(&conf, 80, SECOND);
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

static void configure_a_peer_of_unknown_priority(void)
{
	configure_three();
	conf.nopreempt = true;
	conf.nodes[1] = (struct vrrp_node){
		.address = conf.nodes[1].address, .priority = 254, .foreign = true, .unsaid = true};
}

static void a_peer_of_unknown_priority_is_the_quickest_and_is_never_sick(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_a_peer_of_unknown_priority();
	vrrp_fsm_init(&fsm, &conf);
	assert_true(vrrp_fsm_others_wait_us(&fsm) == 3 * SECOND + 7812);
	/* As a holder it is protected, however low it is. */
	start();
	hear(1, 1, T0 + 100000);
	expect_deadline(T0 + 100000 + 3609375);
	/* Once it was heard it may be higher, unless it says that it is not; and whoever it is, it
	 * is a successor. */
	now_us = become_master() + 100000;
	hear(1, 0, now_us);
	health_is(80, false, now_us);
	expect_did("S0 !4");
	hear(1, 70, now_us + 700000);
	expect_did("R TBACKUP/resigned");
	now_us = become_master();
	hear(1, 70, now_us + 1);
	health_is(80, false, now_us + 2);
	expect_did("S80");
	/* After the back-off by what it may have become: that is what it had not said. */
	assert_true(fsm.resign_again_us != NEVER);
	keep_on(fsm.resign_again_us);
	assert_int_equal(fsm.stats.resignations, 1);
}

/* A priority 0 towards nobody is an interruption for nothing. */
static void nobody_resigns_towards_a_peer_of_unknown_priority_that_was_never_heard(void **state)
{
	uint64_t now_us;

	(void)state;
	configure_a_peer_of_unknown_priority();
	now_us = become_master() + 100000;
	health_is(80, false, now_us);
	expect_did("S80");
	keep_on(now_us + 600 * SECOND);
	assert_int_equal(fsm.stats.resignations, 0);
	/* Nor is one that is there a reason to offer it to one that is not. */
	hear(2, 70, fsm.now_us + 1);
	health_is(75, false, fsm.now_us + 2);
	keep_on(fsm.now_us + 600 * SECOND);
	assert_int_equal(fsm.stats.resignations, 0);
	/* It stands behind one that is known, and is not in its way. */
	conf.nodes[2].foreign = true;
	now_us = become_master() + 100000;
	health_is(79, false, now_us);
	expect_did("S0 !4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(master_advertises_every_interval_without_drift),
		cmocka_unit_test(master_that_is_late_sends_no_burst),
		cmocka_unit_test(master_announces_after_the_delay_and_then_periodically),
		cmocka_unit_test(master_yields_to_a_higher_priority),
		cmocka_unit_test(master_that_took_over_from_a_living_one_yields_without_a_word),
		cmocka_unit_test(master_yields_to_an_equal_priority_with_a_higher_address_only),
		cmocka_unit_test(master_answers_a_lower_priority_at_once_and_announces_four_times),
		cmocka_unit_test(each_announcement_says_what_it_is_for),
		cmocka_unit_test(a_peer_of_unknown_priority_is_the_quickest_and_is_never_sick),
		cmocka_unit_test(
			nobody_resigns_towards_a_peer_of_unknown_priority_that_was_never_heard),
		cmocka_unit_test(the_last_announcement_of_a_contention_comes_when_the_file_says),
		cmocka_unit_test(a_new_contention_does_not_wait_for_the_last_one_to_be_through),
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
