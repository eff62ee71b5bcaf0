/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_world: nodes whose virtual routers move together, each router in a network of its own, with
 * the real cores of routers, groups and checks in virtual time. sim_group.c breaks things here and
 * judges what comes of it.
 */
#ifndef TANDEM_GROUP_WORLD_H
#define TANDEM_GROUP_WORLD_H

#include "agent/group_fsm.h"
#include "agent/health_fsm.h"
#include "tests/sim/sim.h"
#include "tests/sim/vrrp_shape.h"

#define NODES_MAX 4
#define NETWORKS_MAX 3
#define CHECKS_MAX 2
#define MESSAGES_MAX 1024
#define SECOND UINT64_C(1000000)
#define NEVER VRRP_NEVER_US

struct message {
	uint64_t at_us;
	int from, to, network;
	bool announcement;
	uint8_t priority;
};

/* What the node's file says of a router; a reload may change it. */
enum member { MEMBER, ALONE, ABSENT };

struct node {
	struct vrrp_fsm routers[NETWORKS_MAX];
	enum member members[NETWORKS_MAX];
	struct group_fsm group;
	bool mixed; /* since a reload that may have brought together what did not belong together */
	bool running, stopping;
	bool up[NETWORKS_MAX]; /* its interfaces */
	uint8_t base;
	struct health_track checks[CHECKS_MAX]; /* every member tracks all of them */
	int checks_count;
	struct health_rank rank;
	bool maintenance;
	uint64_t paused_until_us;
	uint64_t report_us;	 /* when checks that have not reported do */
	uint64_t quiet_until_us; /* its start-up delay, whoever runs the engine */
	/* Between two engines. */
	uint64_t restart_us;
	bool resumes[NETWORKS_MAX]; /* the addresses are still there */
	bool handed_over[NETWORKS_MAX];
	uint64_t last_advert_us[NETWORKS_MAX];
	struct message inbox[MESSAGES_MAX];
	int inbox_count;
};

static struct {
	uint64_t now_us;
	int nodes_count, networks_count;
	struct vrrp_conf conf; /* with the longest of the intervals */
	uint64_t intervals_us[NETWORKS_MAX];
	struct node nodes[NODES_MAX];
	struct message messages[MESSAGES_MAX];
	int messages_count;
	uint64_t startup_delay_us;
	int loss_percent[NETWORKS_MAX];
	uint64_t cut_until_us[NETWORKS_MAX][NODES_MAX][NODES_MAX];
	bool gap; /* nobody held an address of one of the networks */
} world;
static uint64_t steps, take_overs;

static inline void note(int node, int network, const char *what)
{
	tell("n%d.%d %s", node, network, what);
}

/* ---- steps ---- */

static inline void post(int from, int network, bool announcement, uint8_t priority)
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

static inline void step(int index, int network, struct vrrp_event ev)
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
		fail("A28", "%s", wrong);
	for (int i = 0; i < actions.count; i++) {
		const struct vrrp_action *action = &actions.list[i];

		if (action->type == VRRP_DO_SEND && action->u.priority)
			node->last_advert_us[network] = world.now_us;
		if (action->type == VRRP_DO_SEND && node->up[network])
			post(index, network, false, action->u.priority);
		if (action->type == VRRP_DO_ANNOUNCE && node->up[network])
			post(index, network, true, 0);
		if (action->type == VRRP_DO_TRANSITION) {
			take_overs += action->u.transition.to == VRRP_MASTER;
			tell("n%d.%d %s -> %s cause=%s prio=%d", index, network,
			     vrrp_fsm_state_name(action->u.transition.from),
			     vrrp_fsm_state_name(action->u.transition.to),
			     vrrp_fsm_cause_name(action->u.transition.cause), fsm->priority);
		}
	}
}

static inline void die(int index)
{
	struct node *node = &world.nodes[index];

	note(index, 0, "! is gone");
	node->running = false;
	node->inbox_count = 0;
	node->restart_us = node->report_us = NEVER;
	node->quiet_until_us = 0;
	memset(node->resumes, 0, sizeof(node->resumes));
	memset(node->handed_over, 0, sizeof(node->handed_over));
}

/* Steps those that are asked for something; returns whether anybody was. */
static inline bool judge_once(int index)
{
	struct node *node = &world.nodes[index];
	struct group_member members[NETWORKS_MAX];
	int networks[NETWORKS_MAX], count = 0;
	bool told = false;

	for (int i = 0; i < world.networks_count; i++) {
		if (node->members[i] != MEMBER)
			continue;
		members[count].fsm = &node->routers[i];
		networks[count++] = i;
	}
	if (count)
		group_fsm_judge(&node->group, members, count);
	for (int i = 0; i < count; i++) {
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
		told = true;
		step(index, networks[i], ev);
	}
	return told;
}

static inline void judge(int index)
{
	struct node *node = &world.nodes[index];
	bool master = false, without = false, stopped = true;

	for (int round = 0; judge_once(index); round++)
		if (round > 16)
			fail("A27", "a group that does not come to rest");
	for (int i = 0; i < world.networks_count; i++) {
		const enum vrrp_state state = node->routers[i].state;

		stopped &= state == VRRP_INIT;
		if (node->members[i] != MEMBER)
			continue;
		master |= state == VRRP_MASTER;
		without |= state == VRRP_BACKUP || state == VRRP_FAULT;
	}
	if (!master || !without)
		node->mixed = false;
	else if (node->running && !node->mixed)
		fail("A27", "holds a part of the group");
	if (node->running && stopped)
		die(index);
}

static inline void all_members(int index, struct vrrp_event ev)
{
	for (int i = 0; i < world.networks_count; i++)
		step(index, i, ev);
	judge(index);
}

/* An interface that is down takes the others of the group with it: that is the shell's part. */
static inline struct vrrp_event link_of(const struct node *node, int network)
{
	struct vrrp_event ev = {.type = VRRP_EV_LINK};

	ev.u.link.up = node->up[network];
	for (int i = 0; i < world.networks_count; i++)
		if (node->members[network] == MEMBER && node->members[i] == MEMBER)
			ev.u.link.up &= node->up[i];
	return ev;
}

static inline void links(int index)
{
	for (int i = 0; i < world.networks_count; i++)
		step(index, i, link_of(&world.nodes[index], i));
	judge(index);
}

static inline struct vrrp_event rank_of(const struct node *node)
{
	struct vrrp_event ev = {.type = VRRP_EV_HEALTH};

	ev.u.health.priority = node->rank.priority;
	ev.u.health.undetermined = node->rank.undetermined;
	return ev;
}

/* What all members are told alike: the shell gives all of them the same tracks. */
static inline void health(int index)
{
	struct node *node = &world.nodes[index];

	node->rank = health_fsm_rank(node->base, node->checks, node->checks_count);
	if (!node->running || world.now_us < node->paused_until_us)
		return;
	if (node->routers[0].rank != node->rank.priority ||
	    node->routers[0].undetermined != node->rank.undetermined)
		all_members(index, rank_of(node));
}

static inline void report(int index)
{
	struct node *node = &world.nodes[index];

	node->report_us = NEVER;
	for (int i = 0; i < node->checks_count; i++)
		if (node->checks[i].state == HEALTH_UNDETERMINED)
			node->checks[i].state = chance(80) ? HEALTH_UP : HEALTH_DOWN;
}

static inline struct vrrp_event maintenance_of(const struct node *node)
{
	struct vrrp_event ev = {.type = VRRP_EV_MAINTENANCE};

	ev.u.maintenance.on = node->maintenance;
	return ev;
}

static inline struct vrrp_conf conf_of(int index, int network)
{
	struct vrrp_conf conf = world.conf;

	conf.self = index;
	conf.advert_int_us = world.intervals_us[network];
	conf.grouped = world.nodes[index].members[network] == MEMBER;
	if (!conf.grouped)
		conf.group_skew_us = 0;
	/* Each network knows the nodes by addresses of its own. */
	for (int i = 0; i < world.nodes_count; i++)
		conf.nodes[i].address.bytes[2] = (uint8_t)network;
	return conf;
}

/* As the shell does: what holds for it first, then START, or RESUME after an engine that died. */
static inline void start_router(int index, int network)
{
	struct node *node = &world.nodes[index];
	const bool resumes = node->resumes[network];
	struct vrrp_event ev = {.type = resumes ? VRRP_EV_RESUME : VRRP_EV_START};

	step(index, network, link_of(node, network));
	step(index, network, rank_of(node));
	if (node->maintenance)
		step(index, network, maintenance_of(node));
	if (node->handed_over[network])
		step(index, network, (struct vrrp_event){.type = VRRP_EV_HANDOVER});
	if (!resumes) {
		ev.u.start.quiet_until_us = node->quiet_until_us;
	} else {
		ev.u.resume.last_advert_us = node->last_advert_us[network];
		ev.u.resume.priority = node->rank.priority;
	}
	step(index, network, ev);
	node->resumes[network] = node->handed_over[network] = false;
}

static inline void start(int index)
{
	struct node *node = &world.nodes[index];

	note(index, 0, "! starts");
	node->paused_until_us = 0;
	if (node->restart_us == NEVER) {
		node->quiet_until_us = world.now_us + world.startup_delay_us;
		node->report_us = world.now_us + below(2 * world.conf.undetermined_wait_us);
		for (int i = 0; i < node->checks_count; i++)
			node->checks[i].state = HEALTH_UNDETERMINED;
		if (chance(60))
			report(index);
		node->inbox_count = 0;
	}
	node->restart_us = NEVER;
	node->rank = health_fsm_rank(node->base, node->checks, node->checks_count);
	group_fsm_init(&node->group);
	for (int i = 0; i < world.networks_count; i++) {
		const struct vrrp_conf conf = conf_of(index, i);

		vrrp_fsm_init(&node->routers[i], &conf);
	}
	node->running = true;
	node->stopping = false;
	for (int i = 0; i < world.networks_count; i++)
		if (node->members[i] != ABSENT)
			start_router(index, i);
	judge(index);
}

/* Another file: a router belongs to the group, or to itself, or to nobody. */
static inline void reload(int index, int network, enum member to)
{
	struct node *node = &world.nodes[index];
	struct vrrp_fsm *fsm = &node->routers[network];
	const enum member from = node->members[network];
	struct vrrp_event ev = {.type = VRRP_EV_CONF};
	struct vrrp_conf conf;

	if (from == to ||
	    (node->running && (node->stopping || (from == ABSENT && fsm->state != VRRP_INIT))))
		return;
	note(index, network, to == MEMBER ? "! a member" : to == ALONE ? "! alone" : "! absent");
	node->members[network] = to;
	node->mixed = true;
	if (!node->running)
		return;
	conf = conf_of(index, network);
	ev.u.conf.conf = &conf;
	if (to == ABSENT) {
		step(index, network, (struct vrrp_event){.type = VRRP_EV_STOP});
	} else if (from == ABSENT) {
		vrrp_fsm_init(fsm, &conf);
		start_router(index, network);
	} else {
		step(index, network, ev);
	}
	if (to == MEMBER) {
		/* Of a handover some members may know and others not: whoever makes another group
		 * says anew who is to have it. */
		struct vrrp_event lift = {.type = VRRP_EV_HANDOVER};

		lift.u.handover.lift = true;
		all_members(index, lift);
	}
	links(index);
}

static inline void stop(int index)
{
	note(index, 0, "! stops");
	world.nodes[index].stopping = true;
	all_members(index, (struct vrrp_event){.type = VRRP_EV_STOP});
}

/* The runner starts another engine at once. It lets the members of a group go on together or not at
 * all: otherwise it sends the last will of each that held something. */
static inline void kill_engine(int index)
{
	struct node *node = &world.nodes[index];
	bool whole = true;

	note(index, 0, "! engine dies");
	node->running = false;
	node->restart_us = world.now_us + below(2 * world.intervals_us[0]);
	for (int i = 0; i < world.networks_count; i++) {
		const struct vrrp_fsm *fsm = &node->routers[i];

		node->handed_over[i] = fsm->handed_over;
		node->resumes[i] =
			fsm->state == VRRP_MASTER && node->members[i] != ABSENT &&
			world.now_us - node->last_advert_us[i] < 2 * world.intervals_us[i];
		whole = whole &&
			(node->members[i] != MEMBER || node->resumes[i] || !vrrp_fsm_holds(fsm));
	}
	for (int i = 0; i < world.networks_count; i++) {
		node->resumes[i] = node->resumes[i] && (whole || node->members[i] != MEMBER);
		if (!node->resumes[i] && vrrp_fsm_holds(&node->routers[i]) && node->up[i])
			post(index, i, false, VRRP_PRIORITY_LEAVE);
	}
}

/* ---- time ---- */

static inline void receive(int index, const struct message *m)
{
	struct vrrp_event ev = {.type = m->announcement ? VRRP_EV_ANNOUNCED : VRRP_EV_ADVERT};

	if (!m->announcement) {
		ev.u.advert.arrival_us = m->at_us;
		ev.u.advert.node = m->from;
		ev.u.advert.priority = m->priority;
		ev.u.advert.advert_int_us = world.intervals_us[m->network];
	} else if (world.nodes[index].routers[m->network].state != VRRP_LEAVING) {
		return;
	}
	step(index, m->network, ev);
	judge(index);
}

static inline uint64_t wake_us(const struct node *node)
{
	uint64_t at_us = NEVER;

	if (!node->running)
		return node->restart_us;
	for (int i = 0; i < world.networks_count; i++) {
		const uint64_t deadline_us = vrrp_fsm_deadline(&node->routers[i]);

		at_us = deadline_us < at_us ? deadline_us : at_us;
	}
	at_us = node->report_us < at_us ? node->report_us : at_us;
	if (node->inbox_count)
		at_us = world.now_us;
	at_us = at_us < node->paused_until_us ? node->paused_until_us : at_us;
	return at_us < world.now_us ? world.now_us : at_us;
}

/* Everything that waits in the sockets, then the deadlines. */
static inline void turn(int index)
{
	struct node *node = &world.nodes[index];

	if (!node->running) {
		start(index);
		return;
	}
	for (int i = 0; i < node->inbox_count; i++) {
		const struct message m = node->inbox[i];

		receive(index, &m);
	}
	node->inbox_count = 0;
	if (node->report_us <= world.now_us)
		report(index);
	health(index); /* that, and what changed while it hung */
	for (int i = 0; i < world.networks_count; i++) {
		if (vrrp_fsm_deadline(&node->routers[i]) > world.now_us)
			continue;
		step(index, i, (struct vrrp_event){.type = VRRP_EV_TIMER});
		judge(index);
	}
}

static inline void deliver(const struct message *m)
{
	struct node *node = &world.nodes[m->to];

	if (node->running && node->up[m->network] && node->inbox_count < MESSAGES_MAX)
		node->inbox[node->inbox_count++] = *m;
}

/* Somebody holds the address of each of the networks. */
static inline bool is_held(void)
{
	for (int i = 0; i < world.networks_count; i++) {
		bool held = false;

		for (int j = 0; j < world.nodes_count; j++) {
			const struct node *node = &world.nodes[j];

			held |= node->resumes[i] ||
				(node->running && vrrp_fsm_holds(&node->routers[i]));
		}
		if (!held)
			return false;
	}
	return true;
}

static inline void run(uint64_t for_us)
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
		world.gap = world.gap || !is_held();
	}
}

#endif
