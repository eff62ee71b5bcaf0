/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrrp_faults: what goes wrong in a cluster of vrrp_world.h, and what people do to it.
 */
#ifndef TANDEM_VRRP_FAULTS_H
#define TANDEM_VRRP_FAULTS_H

#include "tests/sim/vrrp_world.h"

static inline uint64_t longest_interval_us(void)
{
	uint64_t longest = 0;

	for (int i = 0; i < world.count; i++)
		if (world.intervals_us[i] > longest)
			longest = world.intervals_us[i];
	return longest;
}

static inline uint64_t some_time_us(void)
{
	const uint64_t interval_us = longest_interval_us();

	switch (below(3)) {
	case 0:
		return below(interval_us);
	case 1:
		return below(4 * interval_us);
	default:
		return below(12 * interval_us);
	}
}

static inline void crash(int index)
{
	struct node *node = &world.nodes[index];

	tell("n%d ! dies", index);
	node->running = false;
	node->restart_us = NEVER;
	node->resume = false;
	node->handed_over = false;
	node->held = false;
	node->lag_us = 0;
	node->deaf = false;
	node->paused_until_us = 0;
	node->inbox_count = 0;
	node->determined_us = NEVER;
}

/* After results of its checks, or another priority in the file. */
static inline void set_health(int index)
{
	struct node *node = &world.nodes[index];
	const bool faulty = node->ka.fault, undetermined = node->undetermined;
	const uint8_t before = node->priority;

	rank(index);
	if (node->priority == before && node->ka.fault == faulty &&
	    node->undetermined == undetermined)
		return;
	tell("n%d ! priority %d%s", index, node->priority, node->undetermined ? " or so" : "");
	if (node->foreign) {
		node->ka.priority = node->priority;
		/* FAULT is left through BACKUP, and entered with a priority 0. */
		if (node->running && node->ka.fault && node->ka.master)
			ka_send(index, 0);
		if (node->running && node->ka.fault != faulty)
			ka_become_backup(index, world.intervals_us[index]);
	} else if (node->running && world.now_us >= node->paused_until_us) {
		feed_health(index);
	}
}

/* A check says the same thing a few times: often enough to be believed, or not. */
static inline void flap(int index)
{
	struct node *node = &world.nodes[index];
	int which;

	if (!node->checks_count || !node->running)
		return;
	which = (int)below((uint64_t)node->checks_count);
	node->checks[which].well = chance(40);
	for (uint64_t n = 1 + below(4); n > 0; n--)
		result(index, which);
	set_health(index);
}

static inline bool again(int index, const struct message *old)
{
	struct message *m;

	if (old->to != index || world.messages_count == MESSAGES_MAX)
		return false;
	m = &messages[world.messages_count++];
	*m = *old;
	m->at_us = world.now_us + 50 + below(world.delay_max_us);
	tell("! n%d gets n%d's advert of priority %d once more", index, m->from, m->priority);
	return true;
}

/* Adverts carry no number, so whoever recorded one can send it again. */
static inline void replay(int index)
{
	for (uint64_t n = world.heard_count < HEARD_MAX ? world.heard_count : HEARD_MAX; n > 0; n--)
		if (again(index, &world.heard[below(world.heard_count) % HEARD_MAX]))
			return;
}

static inline void set_link(int index, bool up)
{
	struct node *node = &world.nodes[index];

	if (node->link_up == up)
		return;
	tell("n%d ! link %s", index, up ? "up" : "down");
	node->link_up = up;
	if (!node->running)
		return;
	if (node->foreign)
		ka_become_backup(index, world.intervals_us[index]);
	else
		feed_link(index);
}

static inline void stop(int index)
{
	struct node *node = &world.nodes[index];

	if (!node->running)
		return;
	tell("n%d ! stops", index);
	node->restart_us = NEVER;
	if (node->foreign) {
		if (node->ka.master)
			ka_send(index, 0);
		node->running = false;
		node->ka.master = false;
		return;
	}
	node->stopping = true;
	feed(index, &(struct vrrp_event){.type = VRRP_EV_STOP});
}

/* The engine dies; the addresses stay, and the runner starts another one with what it knew. */
static inline void kill_engine(int index)
{
	struct node *node = &world.nodes[index];

	if (!node->running || node->foreign)
		return;
	tell("n%d ! engine dies", index);
	node->resume = node->fsm.state == VRRP_MASTER;
	node->handed_over = node->fsm.handed_over;
	node->held = node->resume && node->oracle.held;
	node->running = false;
	node->paused_until_us = 0;
	node->restart_us = world.now_us + below(3 * world.intervals_us[index]);
}

static inline void pause_node(int index)
{
	struct node *node = &world.nodes[index];
	const uint64_t pause_us = some_time_us();

	if (!node->running || node->stopping || node->foreign)
		return;
	node->paused_until_us = world.now_us + pause_us;
	switch (below(3)) {
	case 0: /* the process: its sockets go on */
		tell("n%d ! hangs for %" PRIu64 " us", index, pause_us);
		break;
	case 1: /* the machine; its clock shows it */
		tell("n%d ! machine stands for %" PRIu64 " us", index, pause_us);
		node->deaf = true;
		break;
	case 2: /* the machine; its clock does not show it, but something else may */
		tell("n%d ! machine and clock stand for %" PRIu64 " us", index, pause_us);
		node->deaf = true;
		node->lag_us += pause_us;
		/* Its clock must not run back meanwhile: nothing steps it until it wakes. */
		break;
	}
}

static inline void reload_all(void)
{
	/* Another rank for somebody, or nopreempt: reaches the nodes one after the other. */
	const int index = (int)below((uint64_t)world.count);

	switch (below(6)) {
	case 0:
		world.conf.nopreempt = !world.conf.nopreempt;
		break;
	case 1:
		world.conf.preempt_delay_us = some_time_us();
		break;
	case 2:
		if (world.nodes[index].base == 255 || !world.nodes[index].base)
			return;
		world.nodes[index].base = (uint8_t)(1 + below(254));
		set_health(index);
		break;
	case 3:
		world.conf.stop_wait_us = chance(50) ? 3000000 : 60000000;
		break;
	case 4:
		world.conf.garp_master_delay_us = chance(80) ? 1000000 : 0;
		world.conf.garp_master_refresh_us = chance(80) ? 5000000 : 0;
		world.conf.garp_lower_prio_delay_us = chance(80) ? 1000000 : 0;
		break;
	case 5: { /* a check is told to be more patient, or less */
		struct check *check = &world.nodes[index].checks[0];

		check->conf.fall = 1 + (int)below(3);
		check->conf.rise = 1 + (int)below(3);
		if (world.nodes[index].checks_count && world.nodes[index].running)
			health_fsm_reconfigure(&check->fsm, &check->conf);
		break;
	}
	}
}

static inline void reload(int index)
{
	struct node *node = &world.nodes[index];
	const struct vrrp_conf conf = conf_of(index);
	struct vrrp_event ev = {.type = VRRP_EV_CONF};

	if (!node->running || node->foreign || world.now_us < node->paused_until_us)
		return;
	ev.u.conf.conf = &conf;
	ev.u.conf.vips_changed = chance(30);
	feed(index, &ev);
}

static inline void fault(void)
{
	const int index = (int)below((uint64_t)world.count);
	struct node *node = &world.nodes[index];
	const bool awake = world.now_us >= node->paused_until_us;

	if (awake)
		node->paused_until_us = 0;
	switch (below(19)) {
	case 0:
		crash(index);
		break;
	case 1:
	case 2:
		if (!node->running && node->restart_us == NEVER)
			start(index);
		break;
	case 3:
		if (awake)
			stop(index);
		break;
	case 4:
		if (awake)
			kill_engine(index);
		break;
	case 5:
		if (awake)
			pause_node(index);
		break;
	case 6:
		if (awake)
			set_link(index, !node->link_up);
		break;
	case 7: { /* one way */
		const int to = (int)below((uint64_t)world.count);

		world.cut_until_us[index][to] = world.now_us + some_time_us();
		tell("! n%d does not reach n%d", index, to);
		break;
	}
	case 8: /* all ways */
		tell("! n%d is cut off", index);
		for (int i = 0; i < world.count; i++)
			world.cut_until_us[index][i] = world.cut_until_us[i][index] =
				world.now_us + some_time_us();
		break;
	case 9:
	case 10: /* a check fails, or is well again */
		if (awake)
			flap(index);
		break;
	case 11:
		if (awake && node->running && !node->foreign) {
			for (uint64_t n = 1 + below(8); n > 0 && node->running; n--)
				feed(index, &(struct vrrp_event){.type = VRRP_EV_ADDRESS_LOST});
		}
		break;
	case 12:
		if (chance(20)) {
			node->holds_to_fail = 1;
			world.any_hold_failed = true;
		} else if (chance(20)) {
			node->send_broken = !node->send_broken;
			world.any_mute = true;
			tell("n%d ! sending %s", index, node->send_broken ? "fails" : "works");
		}
		break;
	case 13:
		if (awake && node->running && !node->foreign) {
			struct vrrp_event ev = {.type = VRRP_EV_AWAY};

			ev.u.away.pause_us = some_time_us();
			feed(index, &ev);
		}
		break;
	case 14:
		if (chance(40))
			reload_all();
		reload(index);
		break;
	case 15:
		if (awake && node->running && !node->foreign)
			feed_handover(index, chance(30));
		break;
	case 16:
		if (node->foreign || (node->running && !awake))
			break;
		node->maintenance = !node->maintenance;
		tell("n%d ! maintenance %s", index, node->maintenance ? "on" : "off");
		if (node->running)
			feed_maintenance(index);
		break;
	case 17:
		replay(index);
		break;
	case 18: { /* what overtakes what is left to chance */
		const int to = (int)below((uint64_t)world.count);

		world.slow_until_us[index][to] = world.now_us + some_time_us();
		tell("! n%d reaches n%d slowly", index, to);
		break;
	}
	}
	if (node->running)
		node->lateness_us = chance(90) ? below(300) : below(world.intervals_us[index] / 4);
}

#endif
