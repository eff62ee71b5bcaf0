/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrrp_world: nodes with the real VRRP core, nodes with a small model of keepalived, and the wire
 * between them, in virtual time. sim_vrrp.c breaks things here and judges what comes of it.
 */
#ifndef TANDEM_VRRP_WORLD_H
#define TANDEM_VRRP_WORLD_H

#include <assert.h>

#include "agent/health_fsm.h"
#include "tests/sim/sim.h"
#include "tests/sim/vrrp_oracle.h"
#include "tests/sim/vrrp_shape.h"

#define NODES_MAX 5
#define CHECKS_MAX 3
#define MESSAGES_MAX 4096 /* in flight; reaching it is an advert storm */
#define INBOX_MAX 4096
#define HEARD_MAX 32 /* adverts that may be replayed */
#define NEVER VRRP_NEVER_US

struct message {
	uint64_t at_us; /* delivery; in an inbox: arrival by the receiver's clock */
	int from, to;
	bool announcement;
	uint8_t priority;
	uint64_t interval_us;
	enum vrrp_verdict verdict;
};

/* What a node tracks. Its own account of the last results stands beside the core's. */
struct check {
	struct health_fsm fsm;
	struct health_conf conf;
	int weight;
	bool well;	/* what the next result says */
	int same, says; /* results of one kind in a row, and of which kind; 0 same: none yet */
};

/* As much of keepalived 2.2.7 as a peer sees: RFC 9568 with weights and preempt_delay, FAULT when a
 * check of weight 0 fails, and no notion of sickness. */
struct keepalived {
	bool master;
	bool fault;
	uint64_t preempt_since_us; /* a lower master is heard; 0: none */
	uint64_t down_us, advert_us;
	uint64_t interval_us;
	uint8_t priority;
};

struct node {
	struct vrrp_fsm fsm;
	struct oracle oracle;
	struct keepalived ka;
	bool foreign;
	bool running;
	bool link_up;
	bool send_broken;
	int holds_to_fail;
	uint8_t base;	  /* priority as the file has it; 0: takes no part */
	uint8_t priority; /* effective */
	bool maintenance;
	bool undetermined;
	struct check checks[CHECKS_MAX];
	int checks_count;
	uint64_t determined_us; /* when its checks report; NEVER */
	uint64_t paused_until_us;
	bool deaf;		 /* paused as a machine: nothing is queued */
	uint64_t lag_us;	 /* its clock stood still for so long */
	uint64_t lateness_us;	 /* how late its loop wakes up */
	uint64_t last_advert_us; /* by its own clock, for a resume */
	uint64_t restart_us;	 /* an engine that is being restarted */
	bool resume;
	bool handed_over; /* to its peers by an engine that died */
	bool stopping;
	bool held; /* a keepalived's addresses, or what a dead engine left */
	int inbox_first, inbox_count;
};

struct world {
	uint64_t now_us;
	struct vrrp_conf conf; /* of all nodes, less self */
	uint64_t intervals_us[NODES_MAX];
	int count;
	struct node nodes[NODES_MAX];
	int messages_count;
	struct message heard[HEARD_MAX]; /* the latest, round and round */
	uint64_t heard_count;
	enum vrrp_verdict verdict; /* of every advert: the files may differ a little */
	uint64_t cut_until_us[NODES_MAX][NODES_MAX];
	uint64_t slow_until_us[NODES_MAX][NODES_MAX];
	uint64_t slow_us; /* so much later, at most */
	uint64_t last_at_us[NODES_MAX][NODES_MAX];
	int loss_percent;
	uint64_t startup_delay_us; /* of whoever starts, and does not resume */
	uint64_t delay_max_us;
	bool healed;
	bool any_mute, any_hold_failed;
	uint64_t both_since_us; /* two masters, in the quiet phase */
	uint64_t gap_since_us;	/* nobody holds; NEVER: somebody does */
	uint64_t gap_max_us;
};

static struct world world;
/* Apart, and counted: clearing them for each schedule would cost more than the schedule. */
static struct message messages[MESSAGES_MAX];
static struct message inboxes[NODES_MAX][INBOX_MAX];
static uint64_t steps, take_overs, virtual_us;

void oracle_fail(const char *invariant, const char *what)
{
	fail(invariant, "%s", what);
}

/* ---- the wire ---- */

static inline void post(int from, bool announcement, uint8_t priority, uint64_t interval_us)
{
	for (int to = 0; to < world.count; to++) {
		struct message *m;

		if (to == from || chance(world.loss_percent) ||
		    world.now_us < world.cut_until_us[from][to])
			continue;
		if (world.messages_count == MESSAGES_MAX)
			oracle_fail("A9", "an advert storm");
		m = &messages[world.messages_count++];
		*m = (struct message){.at_us = world.now_us + 50 + below(world.delay_max_us),
				      .from = from,
				      .to = to,
				      .announcement = announcement,
				      .priority = priority,
				      .interval_us = interval_us,
				      .verdict = world.verdict};
		if (world.now_us < world.slow_until_us[from][to])
			m->at_us += below(world.slow_us);
		/* An advert that arrives behind its sender's priority 0 stops a keepalived's
		 * take-over, and nothing that we send can help it: to it the order is kept. */
		if (world.nodes[to].foreign && m->at_us <= world.last_at_us[from][to])
			m->at_us = world.last_at_us[from][to] + 1;
		world.last_at_us[from][to] = m->at_us;
		if (!announcement)
			world.heard[world.heard_count++ % HEARD_MAX] = *m;
	}
}

static inline uint64_t local_us(const struct node *node)
{
	return world.now_us - node->lag_us;
}

/* ---- a node with the real core ---- */

static void feed(int index, struct vrrp_event *ev);

static inline void carry_out(int index, const struct vrrp_actions *actions)
{
	struct node *node = &world.nodes[index];

	bool sent = true, held = true;

	for (int i = 0; i < actions->count; i++) {
		const struct vrrp_action *action = &actions->list[i];

		if (sim.trace) {
			if (action->type == VRRP_DO_TRANSITION)
				tell("n%d %s -> %s cause=%s prio=%d node=%d", index,
				     vrrp_fsm_state_name(action->u.transition.from),
				     vrrp_fsm_state_name(action->u.transition.to),
				     vrrp_fsm_cause_name(action->u.transition.cause),
				     node->fsm.priority, action->u.transition.node);
			else if (action->type == VRRP_DO_SEND)
				tell("n%d send %d", index, action->u.priority);
			else if (action->type == VRRP_DO_ALARM)
				tell("n%d alarm: %s", index, vrrp_fsm_alarm_text(action->u.alarm));
			else
				tell("n%d %s", index, vrrp_fsm_action_name(action->type));
		}
		switch (action->type) {
		case VRRP_DO_SEND:
			if (node->send_broken || !node->link_up) {
				sent = false;
				break;
			}
			if (action->u.priority)
				node->last_advert_us = local_us(node);
			post(index, false, action->u.priority, node->fsm.conf.advert_int_us);
			break;
		case VRRP_DO_HOLD:
			if (node->holds_to_fail > 0) {
				node->holds_to_fail--;
				held = false;
			}
			break;
		case VRRP_DO_ANNOUNCE:
			if (held)
				post(index, true, 0, 0);
			break;
		case VRRP_DO_TRANSITION:
			take_overs += action->u.transition.to == VRRP_MASTER;
			break;
		case VRRP_DO_STOPPED:
			node->running = false;
			node->stopping = false;
			break;
		case VRRP_DO_RELEASE:
		case VRRP_DO_WATCH:
		case VRRP_DO_UNWATCH:
		case VRRP_DO_ALARM:
		case VRRP_ACTION_TYPES:
			break;
		}
	}
	/* Effects return as events, once the list is done and before anything else. */
	if (!sent)
		feed(index, &(struct vrrp_event){.type = VRRP_EV_SEND_FAILED});
	if (!held)
		feed(index, &(struct vrrp_event){.type = VRRP_EV_HOLD_FAILED});
}

static inline void feed(int index, struct vrrp_event *ev)
{
	struct node *node = &world.nodes[index];
	struct vrrp_actions actions;
	struct vrrp_fsm before;
	const char *wrong;

	ev->now_us = local_us(node);
	if (sim.trace && ev->type != VRRP_EV_TIMER && ev->type != VRRP_EV_ADVERT)
		tell("n%d * %s", index, vrrp_fsm_event_name(ev->type));
	if (sim.trace && ev->type == VRRP_EV_ADVERT)
		tell("n%d * advert of n%d prio %d, %" PRIu64 " us old", index, ev->u.advert.node,
		     ev->u.advert.priority, ev->now_us - ev->u.advert.arrival_us);
	oracle_before(&node->oracle, &node->fsm, ev);
	memcpy(&before, &node->fsm, sizeof(before));
	vrrp_fsm_step(&node->fsm, ev, &actions);
	wrong = vrrp_shape_broken(&before, &node->fsm, ev, &actions);
	if (wrong)
		oracle_fail("A28", wrong);
	oracle_after(&node->oracle, &node->fsm, ev, &actions);
	steps++;
	carry_out(index, &actions);
}

/* The core's answers, beside what follows from the account of results. */
static inline bool check_is_down(const struct check *check)
{
	return check->fsm.state == HEALTH_DOWN;
}

static inline void rank(int index)
{
	struct node *node = &world.nodes[index];
	struct health_track tracks[CHECKS_MAX] = {{0}};
	int weights[CHECKS_MAX] = {0}, sum = node->base, full = node->base;
	bool lowest = false;
	struct health_rank got;

	for (int i = 0; i < node->checks_count; i++) {
		const struct check *check = &node->checks[i];

		tracks[i] =
			(struct health_track){.state = check->fsm.state, .weight = check->weight};
		weights[i] = check->weight;
		if (check->weight > 0)
			full += check->weight;
		if (check->weight > 0 && !check_is_down(check))
			sum += check->weight;
		if (check->weight < 0 && check_is_down(check))
			sum += check->weight;
		if (check->weight == 0 && check_is_down(check))
			lowest = true;
	}
	sum = node->base == 255 ? 255 : sum < 1 ? 1 : sum > 254 ? 254 : sum;
	full = node->base == 255 ? 255 : full > 254 ? 254 : full;
	got = health_fsm_rank(node->base, tracks, node->checks_count);
	if (got.priority != (lowest ? 1 : sum) || got.sick != (got.priority < full) ||
	    health_fsm_full_priority(node->base, weights, node->checks_count) != full)
		oracle_fail("A29", "a rank that does not follow from the checks");
	node->priority = got.priority;
	node->undetermined = got.undetermined;
	world.conf.nodes[index].priority = (uint8_t)full;
	node->ka.fault = node->foreign && lowest;
}

/* One result of one check. */
static inline void result(int index, int which)
{
	struct check *check = &world.nodes[index].checks[which];
	const enum health_state before = check->fsm.state;
	const bool ok = check->well;
	bool changed, expected;

	check->same = check->same && check->says == ok ? check->same + 1 : 1;
	check->says = ok;
	if (before == HEALTH_UNDETERMINED)
		expected = true;
	else if (ok == (before == HEALTH_UP))
		expected = false;
	else
		expected = check->same >= (ok ? check->conf.rise : check->conf.fall);
	changed =
		health_fsm_result(&check->fsm, ok ? HEALTH_OK : (enum health_result)(1 + below(3)),
				  local_us(&world.nodes[index]));
	if (changed != expected || changed != (before != check->fsm.state))
		oracle_fail("A29", "a check that changed too early or too late");
}

/* Every check reports until its results are believed. */
static inline void report(int index)
{
	struct node *node = &world.nodes[index];

	for (int i = 0; i < node->checks_count; i++) {
		struct check *check = &node->checks[i];
		const enum health_state truth = check->well ? HEALTH_UP : HEALTH_DOWN;

		for (int n = 0; check->fsm.state != truth; n++) {
			if (n > check->conf.rise + check->conf.fall)
				oracle_fail("A29", "a check that is never believed");
			result(index, i);
		}
	}
}

static inline void feed_health(int index)
{
	struct vrrp_event ev = {.type = VRRP_EV_HEALTH};

	ev.u.health.priority = world.nodes[index].priority;
	ev.u.health.undetermined = world.nodes[index].undetermined;
	feed(index, &ev);
}

static inline void feed_maintenance(int index)
{
	struct vrrp_event ev = {.type = VRRP_EV_MAINTENANCE};

	ev.u.maintenance.on = world.nodes[index].maintenance;
	feed(index, &ev);
}

static inline void feed_handover(int index, bool lift)
{
	struct vrrp_event ev = {.type = VRRP_EV_HANDOVER};

	ev.u.handover.lift = lift;
	feed(index, &ev);
}

static inline void feed_link(int index)
{
	struct vrrp_event ev = {.type = VRRP_EV_LINK};

	ev.u.link.up = world.nodes[index].link_up;
	feed(index, &ev);
}

static inline struct vrrp_conf conf_of(int index)
{
	struct vrrp_conf conf = world.conf;

	conf.self = index;
	conf.advert_int_us = world.intervals_us[index];
	for (int i = 0; i < world.count; i++)
		if (conf.nodes[i].unsaid && conf.nodes[i].priority)
			conf.nodes[i].priority = 254;
	return conf;
}

static inline void start(int index)
{
	struct node *node = &world.nodes[index];
	struct vrrp_event ev = {.type = node->resume ? VRRP_EV_RESUME : VRRP_EV_START};
	struct vrrp_conf conf;

	if (!node->base)
		return;
	node->running = true;
	node->stopping = false;
	node->restart_us = NEVER;
	node->paused_until_us = 0;
	for (int i = 0; i < node->checks_count; i++) {
		health_fsm_init(&node->checks[i].fsm, &node->checks[i].conf, local_us(node));
		node->checks[i].same = 0;
	}
	if (node->foreign || chance(60))
		report(index);
	rank(index);
	conf = conf_of(index);
	if (!node->resume) {
		node->inbox_count = 0;
		node->held = false;
	}
	if (node->foreign) {
		node->ka = (struct keepalived){.interval_us = conf.advert_int_us,
					       .advert_us = NEVER,
					       .fault = node->ka.fault,
					       .priority = node->priority};
		node->ka.down_us = world.now_us + vrrp_fsm_master_down_us(&conf, node->priority,
									  conf.advert_int_us);
		return;
	}
	if (node->resume) {
		ev.u.resume.last_advert_us = node->last_advert_us;
		ev.u.resume.priority = node->fsm.priority ? node->fsm.priority : node->priority;
	} else if (world.startup_delay_us) {
		ev.u.start.quiet_until_us = local_us(node) + world.startup_delay_us;
	}
	vrrp_fsm_init(&node->fsm, &conf);
	oracle_init(&node->oracle, &node->fsm, node->held);
	node->fsm.now_us = 0;
	for (int i = 0; i < node->checks_count; i++)
		if (node->checks[i].fsm.results[HEALTH_OK] == 0)
			node->determined_us =
				world.now_us + below(2 * world.conf.undetermined_wait_us);
	feed_link(index);
	feed_health(index);
	if (node->maintenance)
		feed_maintenance(index);
	if (node->handed_over)
		feed_handover(index, false);
	node->handed_over = false;
	feed(index, &ev);
	node->resume = false;
	node->held = false;
}

static inline void receive(int index, const struct message *m)
{
	struct node *node = &world.nodes[index];
	struct vrrp_event ev = {.type = m->announcement ? VRRP_EV_ANNOUNCED : VRRP_EV_ADVERT};

	if (!m->announcement) {
		ev.u.advert.arrival_us = m->at_us;
		ev.u.advert.node = m->from;
		ev.u.advert.priority = m->priority;
		ev.u.advert.advert_int_us = m->interval_us;
		ev.u.advert.verdict = m->verdict;
	} else if (node->fsm.state != VRRP_LEAVING) {
		return; /* nobody watches */
	}
	feed(index, &ev);
}

/* ---- a node with keepalived ---- */

static inline void ka_send(int index, uint8_t priority)
{
	struct node *node = &world.nodes[index];

	if (node->link_up && !node->send_broken)
		post(index, false, priority, world.intervals_us[index]);
}

static inline void ka_become_master(int index)
{
	struct node *node = &world.nodes[index];

	tell("n%d keepalived MASTER prio %d", index, node->ka.priority);
	take_overs++;
	node->ka.master = true;
	node->ka.preempt_since_us = 0;
	node->ka.down_us = NEVER;
	node->ka.advert_us = world.now_us + world.intervals_us[index];
	ka_send(index, node->ka.priority);
	post(index, true, 0, 0);
}

static inline void ka_become_backup(int index, uint64_t interval_us)
{
	struct node *node = &world.nodes[index];

	if (node->ka.master)
		tell("n%d keepalived BACKUP", index);
	node->ka.master = false;
	node->ka.advert_us = NEVER;
	node->ka.interval_us = interval_us;
	node->ka.down_us =
		world.now_us + vrrp_fsm_master_down_us(&world.conf, node->ka.priority, interval_us);
}

static inline void ka_receive(int index, const struct message *m)
{
	struct node *node = &world.nodes[index];
	struct keepalived *ka = &node->ka;
	const struct vrrp_node *nodes = world.conf.nodes;

	if (m->announcement || ka->fault)
		return;
	tell("n%d * keepalived gets n%d's advert of priority %d", index, m->from, m->priority);
	if (ka->master) {
		if (m->priority > ka->priority ||
		    (m->priority == ka->priority &&
		     ip_compare(&nodes[m->from].address, &nodes[index].address) > 0)) {
			ka_become_backup(index, m->interval_us);
		} else {
			ka_send(index, ka->priority);
			ka->advert_us = world.now_us + world.intervals_us[index];
		}
		return;
	}
	if (m->priority == 0) {
		ka->down_us = world.now_us +
			      vrrp_fsm_skew_us(world.conf.version, ka->priority, ka->interval_us);
		return;
	}
	/* preempt_delay: from the first lower advert that is heard. */
	if (m->priority >= ka->priority)
		ka->preempt_since_us = 0;
	else if (!ka->preempt_since_us)
		ka->preempt_since_us = world.now_us;
	if (world.conf.nopreempt || m->priority >= ka->priority ||
	    world.now_us < ka->preempt_since_us + world.conf.preempt_delay_us)
		ka_become_backup(index, m->interval_us);
}

/* ---- time ---- */

static inline bool holds(int index)
{
	const struct node *node = &world.nodes[index];

	if (node->foreign)
		return node->running && node->ka.master && node->link_up;
	return (node->running && node->oracle.held) || node->held;
}

static inline bool is_master(int index)
{
	const struct node *node = &world.nodes[index];

	if (!node->running)
		return false;
	return node->foreign ? node->ka.master : node->fsm.state == VRRP_MASTER;
}

static inline uint64_t wake_us(const struct node *node)
{
	uint64_t at = NEVER;

	if (!node->running)
		return node->restart_us;
	if (node->foreign) {
		at = node->ka.master ? node->ka.advert_us : node->ka.down_us;
		if (!node->link_up || node->ka.fault)
			at = NEVER;
	} else if (vrrp_fsm_deadline(&node->fsm) != NEVER) {
		at = vrrp_fsm_deadline(&node->fsm) + node->lag_us;
	}
	if (at < world.now_us)
		at = world.now_us;
	if (at != NEVER)
		at += node->lateness_us;
	if (node->inbox_count && at > world.now_us + node->lateness_us)
		at = world.now_us + node->lateness_us;
	if (node->determined_us < at)
		at = node->determined_us;
	return at < node->paused_until_us ? node->paused_until_us : at;
}

/* One turn of the node's loop: everything that waits in the sockets, then the deadline. */
static inline void turn(int index)
{
	struct node *node = &world.nodes[index];

	if (!node->running) {
		start(index);
		return;
	}
	node->deaf = false;
	if (node->determined_us <= world.now_us) {
		node->determined_us = NEVER;
		report(index);
		rank(index);
		if (!node->foreign)
			feed_health(index);
	}
	if (!node->foreign && node->fsm.rank != node->priority && !node->undetermined)
		feed_health(index); /* changed while it was away */
	while (node->running && node->inbox_count) {
		const struct message m = inboxes[index][node->inbox_first];

		node->inbox_first = (node->inbox_first + 1) % INBOX_MAX;
		node->inbox_count--;
		if (node->foreign)
			ka_receive(index, &m);
		else
			receive(index, &m);
	}
	if (!node->running)
		return;
	if (node->foreign) {
		if (node->ka.master && world.now_us >= node->ka.advert_us) {
			ka_send(index, node->ka.priority);
			node->ka.advert_us = world.now_us + world.intervals_us[index];
		} else if (!node->ka.master && !node->ka.fault && node->link_up &&
			   world.now_us >= node->ka.down_us) {
			ka_become_master(index);
		}
		return;
	}
	if (vrrp_fsm_deadline(&node->fsm) <= local_us(node))
		feed(index, &(struct vrrp_event){.type = VRRP_EV_TIMER});
}

static inline void deliver(const struct message *m)
{
	struct node *node = &world.nodes[m->to];

	if (world.now_us >= node->paused_until_us)
		node->deaf = false;
	if ((!node->running && node->restart_us == NEVER) || !node->link_up || node->deaf)
		return;
	if (node->inbox_count == INBOX_MAX)
		return; /* a socket's buffer is finite too */
	struct message *slot =
		&inboxes[m->to][(node->inbox_first + node->inbox_count++) % INBOX_MAX];
	*slot = *m;
	slot->at_us = world.now_us - node->lag_us;
}

/* What only the quiet phase promises. */
static inline void watch(void)
{
	int masters = 0, holders = 0;

	for (int i = 0; i < world.count; i++) {
		masters += is_master(i);
		holders += holds(i);
	}
	if (masters < 2)
		world.both_since_us = NEVER;
	else if (world.both_since_us == NEVER)
		world.both_since_us = world.now_us;
	if (holders) {
		if (world.gap_since_us != NEVER &&
		    world.now_us - world.gap_since_us > world.gap_max_us)
			world.gap_max_us = world.now_us - world.gap_since_us;
		world.gap_since_us = NEVER;
	} else if (world.gap_since_us == NEVER) {
		world.gap_since_us = world.now_us;
	}
	if (world.healed && world.both_since_us != NEVER) {
		uint64_t bound_us = 0;

		for (int i = 0; i < world.count; i++)
			if (world.intervals_us[i] > bound_us)
				bound_us = world.intervals_us[i];
		/* The first advert of priority 1 after a priority 0 is taken for a last word. */
		for (int i = 0; i < world.count; i++)
			if (is_master(i) && !world.nodes[i].foreign &&
			    world.nodes[i].fsm.priority == 1) {
				bound_us *= 2;
				break;
			}
		if (world.now_us - world.both_since_us > bound_us + 2 * world.delay_max_us + 5000)
			oracle_fail("A22", "two masters that hear each other for too long");
	}
}

/* Runs until until_us. */
static inline void run(uint64_t until_us)
{
	for (;;) {
		uint64_t at = until_us;
		int who = -1, which = -1;

		for (int i = 0; i < world.count; i++) {
			const uint64_t wake = wake_us(&world.nodes[i]);

			if (wake < at) {
				at = wake;
				who = i;
			}
		}
		for (int i = 0; i < world.messages_count; i++) {
			if (messages[i].at_us < at) {
				at = messages[i].at_us;
				which = i;
			}
		}
		world.now_us = at > world.now_us ? at : world.now_us;
		if (which >= 0) {
			const struct message m = messages[which];

			messages[which] = messages[--world.messages_count];
			deliver(&m);
		} else if (who >= 0) {
			turn(who);
		} else {
			return;
		}
		watch();
	}
}

#endif
