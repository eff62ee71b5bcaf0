/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_vrrp: whole clusters of the real VRRP core in virtual time.
 *
 * Each seed names one history: a configuration, 2 to 5 nodes (some of them keepalived as a small
 * model has it), and a run of faults: lost, delayed and one-way cut adverts, crashes, engines that
 * are restarted, hangs, paused machines, dead interfaces, checks that flap, orderly stops, reloads,
 * handovers, maintenance.
 * Every step of every node is checked against docs/INVARIANTS.md (vrrp_oracle.h). Then the network
 * heals, and what must come about is waited for and checked: one holder, the right one, a handover
 * without a gap, a take-over in time.
 *
 * usage: sim_vrrp [--seeds N] [--seed S] [--trace]
 */
#include "tests/sim/vrrp_world.h"

/* ---- faults ---- */

static uint64_t longest_interval_us(void)
{
	uint64_t longest = 0;

	for (int i = 0; i < world.count; i++)
		if (world.intervals_us[i] > longest)
			longest = world.intervals_us[i];
	return longest;
}

static uint64_t some_time_us(void)
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

static void crash(int index)
{
	struct node *node = &world.nodes[index];

	tell("n%d ! dies", index);
	node->running = false;
	node->restart_us = NEVER;
	node->resume = false;
	node->held = false;
	node->lag_us = 0;
	node->deaf = false;
	node->paused_until_us = 0;
	node->inbox_count = 0;
	node->determined_us = NEVER;
}

static void set_health(int index, uint8_t priority)
{
	struct node *node = &world.nodes[index];

	if (node->priority == priority)
		return;
	tell("n%d ! priority %d", index, priority);
	node->priority = priority;
	if (node->foreign) {
		node->ka.priority = priority;
		if (node->running && node->ka.master && !node->link_up)
			ka_become_backup(index, world.intervals_us[index]);
	} else if (node->running && world.now_us >= node->paused_until_us) {
		feed_health(index);
	}
}

static void set_link(int index, bool up)
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

static void stop(int index)
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
static void kill_engine(int index)
{
	struct node *node = &world.nodes[index];

	if (!node->running || node->foreign)
		return;
	tell("n%d ! engine dies", index);
	node->resume = node->fsm.state == VRRP_MASTER;
	node->held = node->resume && node->oracle.held;
	node->running = false;
	node->paused_until_us = 0;
	node->restart_us = world.now_us + below(3 * world.intervals_us[index]);
}

static void pause_node(int index)
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

static void reload_all(void)
{
	/* Another rank for somebody, or nopreempt: reaches the nodes one after the other. */
	switch (below(3)) {
	case 0:
		world.conf.nopreempt = !world.conf.nopreempt;
		break;
	case 1:
		world.conf.preempt_delay_us = some_time_us();
		break;
	case 2: {
		const int index = (int)below((uint64_t)world.count);
		const uint8_t priority = (uint8_t)(1 + below(254));

		if (world.conf.nodes[index].priority == 255)
			return;
		world.conf.nodes[index].priority = priority;
		set_health(index, priority);
		break;
	}
	}
}

static void reload(int index)
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

static void fault(void)
{
	const int index = (int)below((uint64_t)world.count);
	struct node *node = &world.nodes[index];
	const bool awake = world.now_us >= node->paused_until_us;

	if (awake)
		node->paused_until_us = 0;
	switch (below(17)) {
	case 0:
		crash(index);
		break;
	case 1:
	case 2:
		if (!node->running && node->restart_us == NEVER) {
			node->undetermined = chance(50);
			start(index);
		}
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
	case 10: { /* a check fails, or is well again */
		const uint8_t full = world.conf.nodes[index].priority;
		uint8_t priority = full;

		if (chance(60))
			priority = chance(30) ? 1 : (uint8_t)(1 + below(full));
		if (awake && full < 255)
			set_health(index, priority);
		break;
	}
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
	}
	if (node->running)
		node->lateness_us = chance(90) ? below(300) : below(world.intervals_us[index] / 4);
}

/* ---- one schedule ---- */

static void set_up(uint64_t seed)
{
	static const uint64_t v3_intervals_us[] = {10000, 100000, 300000, 1000000, 2500000};
	const bool some_foreign = (memset(&world, 0, sizeof(world)), world.rng = seed, chance(25));
	struct vrrp_conf *conf = &world.conf;
	uint64_t interval_us;

	world.now_us = 1000000; /* 0 means "never" to some */
	world.count = 2 + (int)(chance(50) ? 0 : below(NODES_MAX - 1));
	conf->version = chance(40) ? 2 : 3;
	interval_us = conf->version == 2 ? (1 + below(2)) * 1000000 : v3_intervals_us[below(5)];
	conf->nopreempt = chance(50);
	conf->preempt_delay_us = chance(30) ? below(10 * interval_us) : 0;
	conf->stop_wait_us = chance(50) ? 3000000 : 60000000;
	conf->undetermined_wait_us = 1 + below(4000000);
	conf->garp_master_delay_us = chance(80) ? 1000000 : 0;
	conf->garp_master_refresh_us = chance(80) ? 5000000 : 0;
	conf->nodes_count = world.count;
	world.loss_percent = chance(50) ? 0 : (int)below(31);
	world.delay_max_us = 1 + below(interval_us / 5 < 20000 ? interval_us / 5 : 20000);
	world.both_since_us = NEVER;
	world.gap_since_us = NEVER;
	for (int i = 0; i < world.count; i++) {
		struct vrrp_node *node = &conf->nodes[i];

		node->address = (struct ip_addr){.family = IP_V4,
						 .bytes = {198, 51, 100, (uint8_t)(1 + i)}};
		node->priority = (uint8_t)(chance(20) ? 100 : 1 + below(254));
		/* One node may own the addresses, one file may be the older one. */
		if (i == 0 && chance(5))
			node->priority = 255;
		world.intervals_us[i] = interval_us;
		if (conf->version == 3 && chance(5))
			world.intervals_us[i] = 2 * interval_us;
		world.nodes[i].foreign = some_foreign && i > 0 && chance(50);
		node->foreign = world.nodes[i].foreign;
		world.nodes[i].link_up = true;
		world.nodes[i].priority = node->priority;
		world.nodes[i].determined_us = NEVER;
		world.nodes[i].restart_us = NEVER;
		world.nodes[i].lateness_us = below(300);
	}
	for (int i = 0; i < world.count; i++) {
		world.nodes[i].undetermined = !world.nodes[i].foreign && chance(30);
		if (chance(90))
			start(i);
	}
}

static void heal(void)
{
	tell("! heals");
	memset(world.cut_until_us, 0, sizeof(world.cut_until_us));
	world.loss_percent = 0;
	for (int i = 0; i < world.count; i++) {
		struct node *node = &world.nodes[i];

		/* A machine whose clock stood is only let go when its time has come. */
		node->send_broken = false;
		node->holds_to_fail = 0;
		node->lateness_us = below(300);
	}
}

static void settle(void)
{
	int running = 0;

	for (int i = 0; i < world.count; i++) {
		struct node *node = &world.nodes[i];

		node->paused_until_us = 0;
		set_link(i, true);
		if (!node->running && node->restart_us == NEVER && chance(60))
			start(i);
		running += node->running || node->restart_us != NEVER;
	}
	if (!running)
		start((int)below((uint64_t)world.count));
	for (int i = 0; i < world.count; i++)
		reload(i);
}

/* A sick holder offers a foreign peer the addresses now and then, with back-off (A13): until that
 * is through, a lower node may have tried itself as master. */
static void await_resignations(void)
{
	const uint64_t interval_us = longest_interval_us();

	for (int i = 0; i < world.count; i++) {
		const struct node *node = &world.nodes[i];

		while (is_master(i) && !node->foreign && node->oracle.resign_last_us &&
		       local_us(node) < node->oracle.resign_last_us +
						oracle_succession_us(&node->fsm) + 2 * interval_us)
			run(world.now_us + interval_us);
	}
}

static int find_holder(void)
{
	int holder = -1;

	await_resignations();
	for (int i = 0; i < world.count; i++) {
		if (!holds(i))
			continue;
		if (holder >= 0)
			oracle_fail("A18", "two nodes hold the addresses for good");
		holder = i;
	}
	if (holder < 0)
		oracle_fail("A18", "nobody holds the addresses");
	return holder;
}

static uint8_t rank_of(int index)
{
	const struct node *node = &world.nodes[index];

	return node->foreign ? node->ka.priority : node->fsm.priority;
}

static void check_quiet(void)
{
	const int holder = find_holder();
	const uint8_t held_by = rank_of(holder);

	for (int i = 0; i < world.count; i++) {
		const struct node *node = &world.nodes[i];
		const bool free_to_take = (!world.conf.nopreempt || rank_of(i) == 255) &&
					  (node->foreign || !node->oracle.handed_over);

		if (i == holder || !node->running)
			continue;
		if (!node->foreign &&
		    (node->fsm.state != VRRP_BACKUP || vrrp_fsm_master(&node->fsm) != holder))
			oracle_fail("A18", "a running node does not obey the holder");
		if (rank_of(i) <= held_by)
			continue;
		if (free_to_take)
			oracle_fail("A19", "the holder is outranked for good");
		if (!node->foreign && held_by < world.conf.nodes[holder].priority)
			oracle_fail("A19", "a sick holder is outranked for good");
	}
}

static int running_but(int index)
{
	int count = 0;

	for (int i = 0; i < world.count; i++)
		count += i != index && world.nodes[i].running;
	return count;
}

static void schedule(uint64_t seed)
{
	uint64_t interval_us, down_us, quiet_us;
	int holder;

	seed_now = seed;
	set_up(seed);
	interval_us = longest_interval_us();
	down_us = vrrp_fsm_master_down_us(world.conf.version, 1, interval_us);
	for (uint64_t faults = below(25); faults > 0; faults--) {
		run(world.now_us + some_time_us());
		fault();
	}
	run(world.now_us + some_time_us());

	/* No more faults. Whoever is paused wakes up by himself, then the rest is repaired. */
	heal();
	run(world.now_us + 12 * interval_us + 1);
	settle();
	run(world.now_us + 3 * interval_us); /* what was under way when the repair was made */
	world.healed = true;
	world.both_since_us = NEVER;
	quiet_us = 6 * down_us + world.conf.preempt_delay_us + 2 * world.conf.undetermined_wait_us;
	if (world.any_mute)
		quiet_us += VRRP_MUTE_FORGET_US + 2 * down_us;
	if (world.any_hold_failed)
		quiet_us += VRRP_HOLD_RETRY_US + 2 * down_us;
	run(world.now_us + quiet_us);
	for (int i = 0; i < 3; i++) {
		check_quiet();
		run(world.now_us + interval_us / 2 + below(interval_us));
	}

	/* The holder hands over: no gap, and nobody takes it back. */
	holder = find_holder();
	if (!world.nodes[holder].foreign && running_but(holder)) {
		world.gap_since_us = NEVER;
		world.gap_max_us = 0;
		feed_handover(holder, false);
		run(world.now_us + down_us + quiet_us);
		if (world.nodes[holder].fsm.state == VRRP_LEAVING)
			oracle_fail("A12", "a handover that does not end");
		if (world.gap_max_us || world.gap_since_us != NEVER)
			oracle_fail("A24", "nobody held the addresses during a handover");
		check_quiet();
	}

	/* The holder leaves in order: no gap. */
	holder = find_holder();
	if (!world.nodes[holder].foreign && running_but(holder)) {
		world.gap_since_us = NEVER;
		world.gap_max_us = 0;
		stop(holder);
		run(world.now_us + down_us + quiet_us);
		if (world.nodes[holder].running)
			oracle_fail("A12", "an orderly stop that does not end");
		if (world.conf.stop_wait_us >= oracle_succession_us(&world.nodes[holder].fsm) &&
		    (world.gap_max_us || world.gap_since_us != NEVER))
			oracle_fail("A20", "nobody held the addresses during an orderly stop");
		holder = find_holder();
		check_quiet();
	}
	/* The holder dies: the others take over in time. */
	if (running_but(holder)) {
		uint8_t best = 1;

		for (int i = 0; i < world.count; i++)
			if (i != holder && world.nodes[i].running && rank_of(i) > best)
				best = rank_of(i);
		world.gap_since_us = NEVER;
		world.gap_max_us = 0;
		crash(holder);
		watch();
		run(world.now_us + vrrp_fsm_master_down_us(world.conf.version, best, interval_us) +
		    world.delay_max_us + 5000);
		if (world.gap_since_us != NEVER)
			oracle_fail("A21", "nobody took over in time");
	}
	schedules++;
	virtual_us += world.now_us;
}

int main(int argc, char **argv)
{
	uint64_t seeds = 20000, first = 1;
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
			fprintf(stderr, "usage: sim_vrrp [--seeds N] [--seed S] [--trace]\n");
			return 2;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (uint64_t seed = first; seed < first + seeds; seed++)
		schedule(seed);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	seconds = (double)(ended.tv_sec - began.tv_sec) +
		  (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
	printf("figure: vrrp: %" PRIu64 " schedules, %" PRIu64 " steps, %" PRIu64 " take-overs, "
	       "%.0f virtual hours, %.0f schedules/s\n",
	       schedules, steps, take_overs, (double)virtual_us / 3.6e9,
	       (double)schedules / (seconds > 0 ? seconds : 1e-9));
	return 0;
}
