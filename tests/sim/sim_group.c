/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_group: nodes whose virtual routers move together, each router in a network of its own, with
 * the real cores of routers and groups in virtual time.
 *
 * Each seed names one history: 2 to 4 nodes, 2 or 3 networks, and a run of faults: adverts lost in
 * one network, one-way cuts, interfaces that go down, crashes, restarts, processes that hang,
 * checks that flap, orderly stops, handovers. After every event each node holds the whole group or
 * nothing (A27 of docs/INVARIANTS.md; A28 for every step). Then the networks heal: one node must
 * hold all of the group, nobody takes over again without a reason, and if the holder dies another
 * one has all of it in time.
 *
 * usage: sim_group [--seeds N] [--seed S] [--trace]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/group_fsm.h"
#include "tests/sim/vrrp_shape.h"

#ifdef __SANITIZE_ADDRESS__
#define SEEDS 2000
#else
#define SEEDS 20000
#endif
#define NODES_MAX 4
#define NETWORKS_MAX 3
#define MESSAGES_MAX 1024
#define SECOND UINT64_C(1000000)
#define NEVER VRRP_NEVER_US

struct message {
	uint64_t at_us;
	int from, to, network;
	bool announcement;
	uint8_t priority;
};

struct node {
	struct vrrp_fsm routers[NETWORKS_MAX];
	struct group_fsm group;
	bool running;
	bool up[NETWORKS_MAX]; /* its interfaces */
	uint8_t full, priority;
	uint64_t paused_until_us;
	struct message inbox[MESSAGES_MAX];
	int inbox_count;
};

static struct {
	uint64_t rng, now_us;
	int nodes_count, networks_count;
	struct vrrp_conf conf;
	struct node nodes[NODES_MAX];
	struct message messages[MESSAGES_MAX];
	int messages_count;
	int loss_percent[NETWORKS_MAX];
	uint64_t cut_until_us[NETWORKS_MAX][NODES_MAX][NODES_MAX];
} world;
static uint64_t seed_now, steps, take_overs, schedules;
static bool trace;

static void fail(const char *invariant, const char *what)
{
	fprintf(stderr,
		"sim_group: invariant %s broken at %" PRIu64 " us of seed %" PRIu64 ": %s\n"
		"replay: tests/sim/sim_group --seed %" PRIu64 " --trace\n",
		invariant, world.now_us, seed_now, what, seed_now);
	exit(1);
}

static uint64_t draw(void)
{
	uint64_t z = world.rng += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t below(uint64_t n)
{
	return n ? draw() % n : 0;
}

static bool chance(int percent)
{
	return below(100) < (uint64_t)percent;
}

static void tell(int node, int network, const char *what)
{
	if (trace)
		printf("%12" PRIu64 " n%d.%d %s\n", world.now_us, node, network, what);
}

/* ---- steps ---- */

static void post(int from, int network, bool announcement, uint8_t priority)
{
	for (int to = 0; to < world.nodes_count; to++) {
		if (to == from || chance(world.loss_percent[network]) ||
		    world.now_us < world.cut_until_us[network][from][to])
			continue;
		if (world.messages_count == MESSAGES_MAX)
			fail("A9", "an advert storm");
		world.messages[world.messages_count++] =
			(struct message){.at_us = world.now_us + 50 + below(2000),
					 .from = from,
					 .to = to,
					 .network = network,
					 .announcement = announcement,
					 .priority = priority};
	}
}

static void step(int index, int network, struct vrrp_event ev)
{
	struct node *node = &world.nodes[index];
	struct vrrp_fsm *fsm = &node->routers[network], before;
	struct vrrp_actions actions;
	const char *wrong;

	memcpy(&before, fsm, sizeof(before));
	ev.now_us = world.now_us;
	vrrp_fsm_step(fsm, &ev, &actions);
	steps++;
	wrong = vrrp_shape_broken(&before, fsm, &ev, &actions);
	if (wrong)
		fail("A28", wrong);
	for (int i = 0; i < actions.count; i++) {
		const struct vrrp_action *action = &actions.list[i];

		if (action->type == VRRP_DO_SEND && node->up[network])
			post(index, network, false, action->u.priority);
		if (action->type == VRRP_DO_ANNOUNCE && node->up[network])
			post(index, network, true, 0);
		if (action->type == VRRP_DO_TRANSITION) {
			take_overs += action->u.transition.to == VRRP_MASTER;
			if (trace)
				printf("%12" PRIu64 " n%d.%d %s -> %s cause=%s prio=%d\n",
				       world.now_us, index, network,
				       vrrp_fsm_state_name(action->u.transition.from),
				       vrrp_fsm_state_name(action->u.transition.to),
				       vrrp_fsm_cause_name(action->u.transition.cause),
				       fsm->priority);
		}
	}
}

static void die(int index)
{
	tell(index, 0, "! is gone");
	world.nodes[index].running = false;
	world.nodes[index].inbox_count = 0;
}

static void judge(int index)
{
	struct node *node = &world.nodes[index];
	struct group_member members[NETWORKS_MAX];
	bool again = true, master = false, without = false, stopped = true;

	for (int round = 0; again; round++) {
		if (round > 16)
			fail("A27", "a group that does not come to rest");
		again = false;
		for (int i = 0; i < world.networks_count; i++)
			members[i].fsm = &node->routers[i];
		group_fsm_judge(&node->group, members, world.networks_count);
		for (int i = 0; i < world.networks_count; i++) {
			struct vrrp_event ev = {.type = VRRP_EV_GROUP_TAKE};

			switch (members[i].todo) {
			case GROUP_DO_NOTHING:
				continue;
			case GROUP_DO_TAKE:
				break;
			case GROUP_DO_YIELD:
				ev.type = VRRP_EV_GROUP_YIELD;
				ev.u.yield.handed_over = members[i].handed_over;
				break;
			case GROUP_DO_HAND_OVER:
				ev.type = VRRP_EV_HANDOVER;
				break;
			case GROUP_DO_LEFT:
				ev.type = VRRP_EV_GROUP_LEFT;
				ev.u.left.node = members[i].left_node;
				break;
			}
			again = true;
			step(index, i, ev);
		}
	}
	for (int i = 0; i < world.networks_count; i++) {
		const enum vrrp_state state = node->routers[i].state;

		master |= state == VRRP_MASTER;
		without |= state == VRRP_BACKUP || state == VRRP_FAULT;
		stopped &= state == VRRP_INIT;
	}
	if (node->running && master && without)
		fail("A27", "holds a part of the group");
	if (node->running && stopped)
		die(index);
}

static void all_members(int index, struct vrrp_event ev)
{
	for (int i = 0; i < world.networks_count; i++)
		step(index, i, ev);
	judge(index);
}

/* An interface that is down takes the others with it: that is the shell's part. */
static void links(int index)
{
	struct vrrp_event ev = {.type = VRRP_EV_LINK};

	ev.u.link.up = true;
	for (int i = 0; i < world.networks_count; i++)
		ev.u.link.up &= world.nodes[index].up[i];
	all_members(index, ev);
}

static void health(int index, uint8_t priority)
{
	struct vrrp_event ev = {.type = VRRP_EV_HEALTH};

	world.nodes[index].priority = priority;
	if (!world.nodes[index].running || world.now_us < world.nodes[index].paused_until_us)
		return;
	ev.u.health.priority = priority;
	all_members(index, ev);
}

static void start(int index)
{
	struct node *node = &world.nodes[index];
	struct vrrp_conf conf = world.conf;
	struct vrrp_event ev = {.type = VRRP_EV_LINK};

	tell(index, 0, "! starts");
	conf.self = index;
	node->inbox_count = 0;
	node->paused_until_us = 0;
	group_fsm_init(&node->group);
	ev.u.link.up = true;
	for (int i = 0; i < world.networks_count; i++)
		ev.u.link.up &= node->up[i];
	for (int i = 0; i < world.networks_count; i++) {
		struct vrrp_event rank = {.type = VRRP_EV_HEALTH};

		/* Each network knows the nodes by addresses of its own. */
		for (int j = 0; j < world.nodes_count; j++)
			conf.nodes[j].address.bytes[2] = (uint8_t)i;
		vrrp_fsm_init(&node->routers[i], &conf);
		rank.u.health.priority = node->priority;
		step(index, i, ev);
		step(index, i, rank);
	}
	node->running = true;
	all_members(index, (struct vrrp_event){.type = VRRP_EV_START});
}

static void stop(int index)
{
	tell(index, 0, "! stops");
	all_members(index, (struct vrrp_event){.type = VRRP_EV_STOP});
}

/* ---- time ---- */

static void receive(int index, const struct message *m)
{
	struct vrrp_event ev = {.type = m->announcement ? VRRP_EV_ANNOUNCED : VRRP_EV_ADVERT};

	if (!m->announcement) {
		ev.u.advert.arrival_us = m->at_us;
		ev.u.advert.node = m->from;
		ev.u.advert.priority = m->priority;
		ev.u.advert.advert_int_us = world.conf.advert_int_us;
	} else if (world.nodes[index].routers[m->network].state != VRRP_LEAVING) {
		return;
	}
	step(index, m->network, ev);
	judge(index);
}

static uint64_t wake_us(const struct node *node)
{
	uint64_t at_us = NEVER;

	if (!node->running)
		return NEVER;
	for (int i = 0; i < world.networks_count; i++) {
		const uint64_t deadline_us = vrrp_fsm_deadline(&node->routers[i]);

		at_us = deadline_us < at_us ? deadline_us : at_us;
	}
	if (node->inbox_count)
		at_us = world.now_us;
	at_us = at_us < node->paused_until_us ? node->paused_until_us : at_us;
	return at_us < world.now_us ? world.now_us : at_us;
}

/* Everything that waits in the sockets, then the deadlines. */
static void turn(int index)
{
	struct node *node = &world.nodes[index];

	for (int i = 0; i < node->inbox_count; i++) {
		const struct message m = node->inbox[i];

		receive(index, &m);
	}
	node->inbox_count = 0;
	if (node->routers[0].priority != node->priority)
		health(index, node->priority); /* changed while it hung */
	for (int i = 0; i < world.networks_count; i++) {
		if (vrrp_fsm_deadline(&node->routers[i]) > world.now_us)
			continue;
		step(index, i, (struct vrrp_event){.type = VRRP_EV_TIMER});
		judge(index);
	}
}

static void deliver(const struct message *m)
{
	struct node *node = &world.nodes[m->to];

	if (node->running && node->up[m->network] && node->inbox_count < MESSAGES_MAX)
		node->inbox[node->inbox_count++] = *m;
}

static void run(uint64_t for_us)
{
	const uint64_t until_us = world.now_us + for_us;

	for (;;) {
		uint64_t at_us = until_us;
		int who = -1, which = -1;

		for (int i = 0; i < world.nodes_count; i++) {
			const uint64_t wake = wake_us(&world.nodes[i]);

			if (wake < at_us) {
				at_us = wake;
				who = i;
			}
		}
		for (int i = 0; i < world.messages_count; i++) {
			if (world.messages[i].at_us < at_us) {
				at_us = world.messages[i].at_us;
				which = i;
			}
		}
		world.now_us = at_us > world.now_us ? at_us : world.now_us;
		if (which >= 0) {
			const struct message m = world.messages[which];

			world.messages[which] = world.messages[--world.messages_count];
			deliver(&m);
		} else if (who >= 0) {
			turn(who);
		} else {
			return;
		}
	}
}

/* ---- faults ---- */

static uint64_t some_time_us(void)
{
	return below((chance(50) ? 2 : 10) * world.conf.advert_int_us);
}

static void fault(void)
{
	const int index = (int)below((uint64_t)world.nodes_count);
	const int network = (int)below((uint64_t)world.networks_count);
	struct node *node = &world.nodes[index];
	const bool awake = node->running && world.now_us >= node->paused_until_us;

	switch (below(9)) {
	case 0:
		if (node->running)
			die(index);
		break;
	case 1:
	case 2:
		if (!node->running)
			start(index);
		break;
	case 3:
		if (awake)
			stop(index);
		break;
	case 4:
		if (!awake && node->running)
			break;
		node->up[network] = !node->up[network];
		tell(index, network, node->up[network] ? "! up" : "! down");
		if (awake)
			links(index);
		break;
	case 5: {
		const int to = (int)below((uint64_t)world.nodes_count);

		tell(index, network, "! is cut off");
		world.cut_until_us[network][index][to] = world.now_us + some_time_us();
		if (chance(50))
			world.cut_until_us[network][to][index] = world.now_us + some_time_us();
		break;
	}
	case 6:
		health(index, chance(50) ? node->full : (uint8_t)(1 + below(node->full)));
		break;
	case 7:
		tell(index, 0, "! hangs");
		if (awake)
			node->paused_until_us = world.now_us + some_time_us();
		break;
	case 8:
		if (awake) {
			struct vrrp_event ev = {.type = VRRP_EV_HANDOVER};

			tell(index, network, "! hands over");
			ev.u.handover.lift = chance(30);
			if (ev.u.handover.lift) {
				all_members(index, ev);
			} else {
				step(index, network, ev);
				judge(index);
			}
		}
		break;
	}
}

/* ---- one schedule ---- */

static void set_up(uint64_t seed)
{
	struct vrrp_conf *conf = &world.conf;

	memset(&world, 0, sizeof(world));
	world.rng = seed;
	world.now_us = SECOND;
	world.nodes_count = 2 + (int)(chance(60) ? 0 : below(NODES_MAX - 1));
	world.networks_count = 2 + (int)below(NETWORKS_MAX - 1);
	conf->version = chance(40) ? 2 : 3;
	conf->advert_int_us = conf->version == 2 || chance(30) ? SECOND : SECOND / 10;
	conf->down_adverts = (uint8_t)(chance(80) ? 3 : 2 + below(4));
	conf->grouped = true;
	conf->nopreempt = chance(50);
	conf->preempt_delay_us = chance(20) ? below(10 * conf->advert_int_us) : 0;
	conf->stop_wait_us = 60 * SECOND;
	conf->undetermined_wait_us = SECOND;
	conf->garp_master_delay_us = SECOND;
	conf->nodes_count = world.nodes_count;
	for (int i = 0; i < world.networks_count; i++)
		world.loss_percent[i] = chance(60) ? 0 : (int)below(31);
	for (int i = 0; i < world.nodes_count; i++) {
		struct node *node = &world.nodes[i];

		conf->nodes[i].address =
			(struct ip_addr){.family = IP_V4, .bytes = {203, 0, 113, (uint8_t)(1 + i)}};
		conf->nodes[i].priority = (uint8_t)(chance(20) ? 100 : 1 + below(254));
		node->full = node->priority = conf->nodes[i].priority;
		for (int j = 0; j < world.networks_count; j++)
			node->up[j] = true;
	}
	for (int i = 0; i < world.nodes_count; i++)
		if (chance(90))
			start(i);
}

static int find_holder(void)
{
	int holder = -1;

	for (int i = 0; i < world.nodes_count; i++) {
		const struct node *node = &world.nodes[i];
		int held = 0;

		if (!node->running)
			continue;
		for (int j = 0; j < world.networks_count; j++)
			held += vrrp_fsm_holds(&node->routers[j]);
		if (held == 0)
			continue;
		if (held != world.networks_count)
			fail("A27", "holds a part of the group for good");
		if (holder >= 0)
			fail("A18", "two nodes hold the group for good");
		holder = i;
	}
	if (holder < 0)
		fail("A18", "nobody holds the group");
	return holder;
}

static int running_but(int index)
{
	int count = 0;

	for (int i = 0; i < world.nodes_count; i++)
		count += i != index && world.nodes[i].running;
	return count;
}

static void schedule(uint64_t seed)
{
	uint64_t down_us, quiet_us, before;
	int holder;

	seed_now = seed;
	set_up(seed);
	down_us = vrrp_fsm_master_down_us(&world.conf, 1, world.conf.advert_int_us);
	quiet_us = 6 * down_us + world.conf.preempt_delay_us + 2 * SECOND;
	for (uint64_t faults = below(20); faults > 0; faults--) {
		run(some_time_us());
		fault();
	}
	run(some_time_us());

	tell(0, 0, "! all heals");
	memset(world.cut_until_us, 0, sizeof(world.cut_until_us));
	memset(world.loss_percent, 0, sizeof(world.loss_percent));
	run(12 * world.conf.advert_int_us);
	for (int i = 0; i < world.nodes_count; i++) {
		struct node *node = &world.nodes[i];

		for (int j = 0; j < world.networks_count; j++)
			node->up[j] = true;
		if (node->running)
			links(i);
		else if (chance(70) || i == world.nodes_count - 1)
			start(i);
	}
	run(quiet_us);
	holder = find_holder();
	before = take_overs;
	/* One network alone loses what may be lost: nobody takes over in it. */
	if (running_but(holder)) {
		const int network = (int)below((uint64_t)world.networks_count);

		for (int i = 0; i < world.nodes_count; i++)
			world.cut_until_us[network][holder][i] = world.now_us + 2 * down_us;
		run(4 * down_us);
	}
	if (take_overs != before || find_holder() != holder)
		fail("A30", "a take-over that nothing called for");
	for (int i = 0; i < world.nodes_count; i++)
		if (i != holder && world.nodes[i].running && !world.conf.nopreempt &&
		    !world.nodes[i].routers[0].handed_over &&
		    world.nodes[i].priority > world.nodes[holder].priority)
			fail("A19", "the holder is outranked for good");

	/* The holder dies, or one of its interfaces does: another one has all of it in time. */
	if (running_but(holder)) {
		if (chance(50)) {
			die(holder);
		} else {
			world.nodes[holder].up[0] = false;
			links(holder);
		}
		run(down_us + SECOND / 100);
		if (find_holder() == holder)
			fail("A21", "nobody took over in time");
	}
	schedules++;
}

int main(int argc, char **argv)
{
	uint64_t seeds = SEEDS, first = 1;
	struct timespec began, ended;
	double seconds;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--trace")) {
			trace = true;
		} else if (!strcmp(argv[i], "--seeds") && i + 1 < argc) {
			seeds = strtoull(argv[++i], NULL, 10);
		} else if (!strcmp(argv[i], "--seed") && i + 1 < argc) {
			first = strtoull(argv[++i], NULL, 10);
			seeds = 1;
		} else {
			fprintf(stderr, "usage: sim_group [--seeds N] [--seed S] [--trace]\n");
			return 2;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (uint64_t seed = first; seed < first + seeds; seed++)
		schedule(seed);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	seconds = (double)(ended.tv_sec - began.tv_sec) +
		  (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
	printf("figure: groups: %" PRIu64 " schedules, %" PRIu64 " steps, %" PRIu64
	       " take-overs, %.0f schedules/s\n",
	       schedules, steps, take_overs, (double)schedules / (seconds > 0 ? seconds : 1e-9));
	return 0;
}
