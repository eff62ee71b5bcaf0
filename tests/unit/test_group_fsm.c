/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two nodes with two virtual routers each, which move together: the real cores in virtual time. The
 * two routers live in networks of their own, each of which may be cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/group_fsm.h"
#include "tests/sim/vrrp_shape.h"

#define SECOND UINT64_C(1000000)
#define NODES 2
#define ROUTERS 2
#define STEP_US 1000
#define QUEUE_MAX 64

struct packet {
	int from, router;
	uint8_t priority;
};

static struct {
	uint64_t now_us;
	struct {
		struct vrrp_fsm routers[ROUTERS];
		struct group_fsm group;
		bool alive;
		bool up[ROUTERS];
	} nodes[NODES];
	bool cut[ROUTERS][NODES]; /* adverts from that node do not get through */
	struct packet queue[QUEUE_MAX];
	int queued;
	unsigned moves; /* transitions to MASTER */
} w;

static void step(int node, int router, const struct vrrp_event *ev);

static void judge(int node)
{
	struct group_member members[ROUTERS];
	bool again = true;

	for (int round = 0; again; round++) {
		assert_in_range(round, 0, 16); /* it comes to rest */
		again = false;
		for (int r = 0; r < ROUTERS; r++)
			members[r].fsm = &w.nodes[node].routers[r];
		group_fsm_judge(&w.nodes[node].group, members, ROUTERS);
		for (int r = 0; r < ROUTERS; r++) {
			struct vrrp_event ev = {.now_us = w.now_us};

			if (members[r].todo == GROUP_DO_NOTHING)
				continue;
			again = true;
			ev.type = members[r].todo == GROUP_DO_HAND_OVER ? VRRP_EV_HANDOVER
				  : members[r].todo == GROUP_DO_TAKE	? VRRP_EV_GROUP_TAKE
				  : members[r].todo == GROUP_DO_YIELD	? VRRP_EV_GROUP_YIELD
									: VRRP_EV_GROUP_LEFT;
			if (ev.type == VRRP_EV_GROUP_LEFT)
				ev.u.left.node = members[r].left_node;
			if (ev.type == VRRP_EV_GROUP_YIELD)
				ev.u.yield.handed_over = members[r].handed_over;
			step(node, r, &ev);
		}
	}
}

static void step(int node, int router, const struct vrrp_event *ev)
{
	struct vrrp_fsm *fsm = &w.nodes[node].routers[router], before;
	struct vrrp_actions actions;
	const char *wrong;

	memcpy(&before, fsm, sizeof(before));
	vrrp_fsm_step(fsm, ev, &actions);
	wrong = vrrp_shape_broken(&before, fsm, ev, &actions);
	if (wrong)
		fail_msg("%s", wrong);
	for (int i = 0; i < actions.count; i++) {
		if (actions.list[i].type == VRRP_DO_TRANSITION)
			w.moves += actions.list[i].u.transition.to == VRRP_MASTER;
		if (actions.list[i].type != VRRP_DO_SEND || w.cut[router][node] ||
		    !w.nodes[node].up[router])
			continue;
		assert_true(w.queued < QUEUE_MAX);
		w.queue[w.queued++] = (struct packet){node, router, actions.list[i].u.priority};
	}
}

static void event(int node, int router, struct vrrp_event ev)
{
	ev.now_us = w.now_us;
	step(node, router, &ev);
	judge(node);
}

static void links(int node)
{
	/* One that is down takes the other with it: that is the shell's part. */
	bool up = true;

	for (int r = 0; r < ROUTERS; r++)
		up = up && w.nodes[node].up[r];
	for (int r = 0; r < ROUTERS; r++) {
		struct vrrp_event ev = {.type = VRRP_EV_LINK};

		ev.u.link.up = up;
		event(node, r, ev);
	}
}

static void health(int node, uint8_t priority)
{
	for (int r = 0; r < ROUTERS; r++) {
		struct vrrp_event ev = {.type = VRRP_EV_HEALTH};

		ev.u.health.priority = priority;
		event(node, r, ev);
	}
}

static void start_node(int node, bool nopreempt)
{
	struct vrrp_conf conf = {.version = 3,
				 .advert_int_us = SECOND,
				 .down_adverts = 3,
				 .self = node,
				 .nodes_count = NODES,
				 .grouped = true,
				 .nopreempt = nopreempt,
				 .stop_wait_us = 3 * SECOND};
	static const uint8_t priorities[NODES] = {100, 90};

	w.nodes[node].alive = true;
	group_fsm_init(&w.nodes[node].group);
	for (int r = 0; r < ROUTERS; r++) {
		for (int n = 0; n < NODES; n++)
			conf.nodes[n] = (struct vrrp_node){
				.address = {.family = IP_V4,
					    .bytes = {198, 51, (uint8_t)(100 + r),
						      (uint8_t)(n + 1)}},
				.priority = priorities[n]};
		vrrp_fsm_init(&w.nodes[node].routers[r], &conf);
		w.nodes[node].up[r] = true;
	}
	links(node);
	health(node, priorities[node]);
	for (int r = 0; r < ROUTERS; r++)
		event(node, r, (struct vrrp_event){.type = VRRP_EV_START});
}

static void turn(void)
{
	struct packet arrived[QUEUE_MAX];
	int count = w.queued;

	w.now_us += STEP_US;
	memcpy(arrived, w.queue, sizeof arrived);
	w.queued = 0;
	for (int i = 0; i < count; i++) {
		int to = 1 - arrived[i].from, router = arrived[i].router;
		struct vrrp_event ev = {.type = VRRP_EV_ADVERT};

		if (!w.nodes[to].alive || !w.nodes[to].up[router])
			continue;
		ev.u.advert.arrival_us = w.now_us;
		ev.u.advert.node = arrived[i].from;
		ev.u.advert.priority = arrived[i].priority;
		ev.u.advert.advert_int_us = SECOND;
		event(to, router, ev);
	}
	for (int n = 0; n < NODES; n++)
		for (int r = 0; w.nodes[n].alive && r < ROUTERS; r++)
			if (vrrp_fsm_deadline(&w.nodes[n].routers[r]) <= w.now_us)
				event(n, r, (struct vrrp_event){.type = VRRP_EV_TIMER});
}

/* All routers of the node are in this state. */
static bool is(int node, enum vrrp_state state)
{
	for (int r = 0; r < ROUTERS; r++)
		if (w.nodes[node].routers[r].state != state)
			return false;
	return true;
}

/* Whole groups only: after each turn no node holds one of the addresses without the other. */
static void run(uint64_t us)
{
	for (uint64_t until_us = w.now_us + us; w.now_us < until_us;) {
		turn();
		for (int n = 0; n < NODES; n++)
			if (w.nodes[n].alive && w.nodes[n].group.state != VRRP_INIT &&
			    vrrp_fsm_holds(&w.nodes[n].routers[0]) !=
				    vrrp_fsm_holds(&w.nodes[n].routers[1]))
				fail_msg("node %d holds one half at %llu us", n,
					 (unsigned long long)w.now_us);
	}
}

/* How long until node is MASTER of all. */
static uint64_t until_master(int node, uint64_t at_most_us)
{
	uint64_t from_us = w.now_us;

	while (!is(node, VRRP_MASTER)) {
		if (w.now_us - from_us > at_most_us)
			fail_msg("node %d is not master after %llu us", node,
				 (unsigned long long)at_most_us);
		run(STEP_US);
	}
	return w.now_us - from_us;
}

static void set_up(bool nopreempt)
{
	memset(&w, 0, sizeof w);
	w.now_us = 100 * SECOND;
	for (int n = 0; n < NODES; n++)
		start_node(n, nopreempt);
	until_master(0, 5 * SECOND);
	run(5 * SECOND + SECOND / 2); /* between two adverts */
	assert_true(is(1, VRRP_BACKUP));
	assert_int_equal(w.nodes[0].group.state, VRRP_MASTER);
	assert_int_equal(w.nodes[1].group.state, VRRP_BACKUP);
	w.moves = 0;
}

static void a_dead_node_loses_the_whole_group(void **state)
{
	(void)state;
	set_up(false);
	w.nodes[0].alive = false;
	until_master(1, 4 * SECOND);
	w.moves = 0;
	start_node(0, false);
	until_master(0, 5 * SECOND);
	run(30 * SECOND);
	assert_true(is(1, VRRP_BACKUP));
	assert_int_equal(w.moves, ROUTERS);
}

static void one_dead_interface_moves_all_within_skew_time(void **state)
{
	(void)state;
	set_up(false);
	w.nodes[0].up[0] = false;
	links(0);
	assert_true(is(0, VRRP_FAULT));
	assert_int_equal(w.nodes[0].group.state, VRRP_FAULT);
	/* The one whose network is dead hears no priority 0, and does not wait for master-down. */
	assert_true(until_master(1, 4 * SECOND) < SECOND);
	w.nodes[0].up[0] = true;
	links(0);
	until_master(0, 5 * SECOND);
	run(SECOND);
	assert_true(is(1, VRRP_BACKUP));
}

static void adverts_lost_in_one_network_make_no_second_master(void **state)
{
	(void)state;
	set_up(false);
	w.cut[0][0] = true;
	run(60 * SECOND);
	assert_true(is(0, VRRP_MASTER));
	assert_true(is(1, VRRP_BACKUP));
	assert_true(w.nodes[1].routers[0].wants);
	/* Heard again, it no longer wants to. */
	w.cut[0][0] = false;
	run(2 * SECOND);
	assert_false(w.nodes[1].routers[0].wants);
	assert_int_equal(w.moves, 0);
	/* Lost in both: as without a group. */
	w.cut[0][0] = w.cut[1][0] = true;
	until_master(1, 4 * SECOND);
	w.cut[0][0] = w.cut[1][0] = false;
	run(10 * SECOND);
	assert_true(is(0, VRRP_MASTER));
	assert_true(is(1, VRRP_BACKUP));
}

/* Router 1 begins anew on both nodes, as after a reload that adds it. */
static void add_member(bool nopreempt)
{
	for (int n = NODES - 1; n >= 0; n--) {
		struct vrrp_fsm *fsm = &w.nodes[n].routers[1];
		struct vrrp_event health = {.type = VRRP_EV_HEALTH}, link = {.type = VRRP_EV_LINK};
		struct vrrp_conf conf = fsm->conf;

		conf.nopreempt = nopreempt;
		vrrp_fsm_init(fsm, &conf);
		link.u.link.up = true;
		event(n, 1, link);
		health.u.health.priority = conf.nodes[n].priority;
		event(n, 1, health);
		event(n, 1, (struct vrrp_event){.type = VRRP_EV_START});
	}
}

static void a_member_that_is_added_follows_the_others_at_once(void **state)
{
	(void)state;
	set_up(false);
	add_member(false);
	assert_true(is(0, VRRP_MASTER));
	assert_int_equal(w.nodes[0].group.state, VRRP_MASTER);
	assert_true(is(1, VRRP_BACKUP));
	run(20 * SECOND);
	assert_true(is(0, VRRP_MASTER));
	assert_true(is(1, VRRP_BACKUP));
	assert_int_equal(w.moves, 1);
}

static void who_has_heard_somebody_or_has_been_here_before_does_not_join(void **state)
{
	struct vrrp_fsm fsm = {.state = VRRP_BACKUP, .cause = VRRP_CAUSE_START, .master = -1};

	(void)state;
	assert_true(group_fsm_joins(&fsm));
	fsm.master = 0;
	assert_false(group_fsm_joins(&fsm));
	fsm.master = -1;
	fsm.master_left = true;
	assert_false(group_fsm_joins(&fsm));
	fsm.master_left = false;
	fsm.cause = VRRP_CAUSE_LINK_UP;
	assert_false(group_fsm_joins(&fsm));
	fsm.cause = VRRP_CAUSE_START;
	fsm.state = VRRP_FAULT;
	assert_false(group_fsm_joins(&fsm));
}

/* Here the group is the new thing, and its parts are held apart; nopreempt would keep them so. */
static void of_two_parts_the_lower_nodes_lets_go(void **state)
{
	(void)state;
	for (int lower = 0; lower < NODES; lower++) {
		set_up(true);
		/* Node 1 has router 1, by itself; node 0 keeps router 0. */
		w.nodes[0].group.state = w.nodes[1].group.state = VRRP_INIT;
		w.nodes[0].routers[1].state = VRRP_BACKUP;
		w.nodes[0].routers[1].cause = VRRP_CAUSE_HIGHER_PRIORITY;
		w.nodes[0].routers[1].master = 1;
		w.nodes[0].routers[1].peers[1].priority = lower ? 90 : 110;
		w.nodes[0].routers[1].peers[1].heard_us = w.now_us;
		w.nodes[0].routers[1].down_base_us = w.now_us + 3 * SECOND;
		judge(0);
		assert_int_equal(w.nodes[0].routers[0].state, lower ? VRRP_MASTER : VRRP_BACKUP);
	}
}

static void a_check_of_the_group_moves_all_members(void **state)
{
	(void)state;
	for (int nopreempt = 0; nopreempt < 2; nopreempt++) {
		set_up(nopreempt);
		health(0, 80);
		until_master(1, 2 * SECOND);
		run(SECOND);
		assert_true(is(0, VRRP_BACKUP));
		health(0, 100);
		run(20 * SECOND);
		assert_true(is(nopreempt ? 1 : 0, VRRP_MASTER));
		assert_true(is(nopreempt ? 0 : 1, VRRP_BACKUP));
	}
}

static void a_member_that_cannot_hold_its_addresses_takes_the_others_down(void **state)
{
	(void)state;
	set_up(false);
	event(0, 1, (struct vrrp_event){.type = VRRP_EV_HOLD_FAILED});
	assert_int_equal(w.nodes[0].routers[1].state, VRRP_FAULT);
	assert_int_equal(w.nodes[0].routers[0].state, VRRP_BACKUP);
	assert_true(until_master(1, 4 * SECOND) < SECOND);
	/* It alone does not take over again while the other one is in FAULT. */
	run(5 * SECOND);
	assert_true(is(1, VRRP_MASTER));
	assert_int_equal(w.nodes[0].routers[0].state, VRRP_BACKUP);
}

static void a_foreign_master_that_left_one_router_has_not_left_the_others(void **state)
{
	struct vrrp_event zero = {.type = VRRP_EV_ADVERT};

	(void)state;
	for (int foreign = 0; foreign < 2; foreign++) {
		set_up(false);
		for (int r = 0; r < ROUTERS; r++)
			w.nodes[1].routers[r].conf.nodes[0].foreign = foreign;
		w.cut[0][0] = w.cut[1][0] = true;
		zero.u.advert.arrival_us = w.now_us;
		zero.u.advert.advert_int_us = SECOND;
		event(1, 0, zero);
		assert_true(w.nodes[1].routers[0].master_left);
		assert_int_equal(w.nodes[1].routers[1].master_left, !foreign);
		if (foreign)
			assert_true(until_master(1, 4 * SECOND) > SECOND);
		else
			assert_true(until_master(1, 4 * SECOND) < SECOND);
	}
}

static void all_members_hand_over_with_the_one_that_was_asked_to(void **state)
{
	(void)state;
	set_up(false);
	event(0, 1, (struct vrrp_event){.type = VRRP_EV_HANDOVER});
	assert_true(is(0, VRRP_LEAVING));
	assert_true(until_master(1, 4 * SECOND) < SECOND);
	run(SECOND);
	assert_true(is(0, VRRP_BACKUP));
	/* And where nobody comes, all go on. */
	set_up(false);
	w.nodes[1].alive = false;
	event(0, 0, (struct vrrp_event){.type = VRRP_EV_HANDOVER});
	until_master(0, 4 * SECOND);
	run(10 * SECOND);
	assert_true(is(0, VRRP_MASTER));
}

static void members_that_are_not_there_yet_hold_the_group_back(void **state)
{
	struct group_member members[ROUTERS] = {0};
	struct group_fsm group;

	(void)state;
	set_up(false);
	group_fsm_init(&group);
	w.nodes[1].routers[0].wants = true;
	members[0].fsm = &w.nodes[1].routers[0];
	assert_false(group_fsm_judge(&group, members, ROUTERS));
	assert_int_equal(group.state, VRRP_INIT);
	assert_int_equal(members[0].todo, GROUP_DO_NOTHING);
	assert_int_equal(members[1].todo, GROUP_DO_NOTHING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dead_node_loses_the_whole_group),
		cmocka_unit_test(one_dead_interface_moves_all_within_skew_time),
		cmocka_unit_test(adverts_lost_in_one_network_make_no_second_master),
		cmocka_unit_test(a_member_that_is_added_follows_the_others_at_once),
		cmocka_unit_test(who_has_heard_somebody_or_has_been_here_before_does_not_join),
		cmocka_unit_test(of_two_parts_the_lower_nodes_lets_go),
		cmocka_unit_test(a_check_of_the_group_moves_all_members),
		cmocka_unit_test(a_member_that_cannot_hold_its_addresses_takes_the_others_down),
		cmocka_unit_test(a_foreign_master_that_left_one_router_has_not_left_the_others),
		cmocka_unit_test(all_members_hand_over_with_the_one_that_was_asked_to),
		cmocka_unit_test(members_that_are_not_there_yet_hold_the_group_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
