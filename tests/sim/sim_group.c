/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_group: nodes whose virtual routers move together (group_world.h).
 *
 * Each seed names one history: 2 to 4 nodes, 2 or 3 networks, and a run of faults: adverts lost in
 * one network, one-way cuts, interfaces that go down, crashes, engines that die, restarts,
 * processes that hang, weighted checks that flap, orderly stops, handovers, maintenance, reloads
 * that make another group. After every event each node holds the whole group or nothing (A27 of
 * docs/INVARIANTS.md; A28 for every step). Then the networks heal: one node must hold all of the
 * group, nobody takes over again without a reason, nobody misses an address when the holder leaves
 * in order, and if it dies another one has all of it in time.
 *
 * usage: sim_group [--seeds N] [--seed S] [--trace]
 */
#include "shared/sanitizer.h"
#include "tests/sim/group_world.h"

#ifdef UNDER_SANITIZER
#define SEEDS 2000
#else
#define SEEDS 20000
#endif

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

	switch (below(14)) {
	case 0:
		if (node->running)
			die(index);
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
		if (node->running && !awake)
			break;
		node->up[network] = !node->up[network];
		note(index, network, node->up[network] ? "! up" : "! down");
		if (awake)
			links(index);
		break;
	case 5: {
		const int to = (int)below((uint64_t)world.nodes_count);

		note(index, network, "! is cut off");
		world.cut_until_us[network][index][to] = world.now_us + some_time_us();
		if (chance(50))
			world.cut_until_us[network][to][index] = world.now_us + some_time_us();
		break;
	}
	case 6:
		if (node->checks_count) {
			struct health_track *check =
				&node->checks[below((uint64_t)node->checks_count)];

			check->state = check->state == HEALTH_UP ? HEALTH_DOWN : HEALTH_UP;
			note(index, 0, check->state == HEALTH_UP ? "! is well" : "! is ill");
			health(index);
		}
		break;
	case 7:
		note(index, 0, "! hangs");
		if (awake)
			node->paused_until_us = world.now_us + some_time_us();
		break;
	case 8:
		if (awake) {
			struct vrrp_event ev = {.type = VRRP_EV_HANDOVER};

			note(index, network, "! hands over");
			ev.u.handover.lift = chance(30);
			if (ev.u.handover.lift) {
				all_members(index, ev);
			} else {
				step(index, network, ev);
				judge(index);
			}
		}
		break;
	case 9:
	case 10:
		if (node->running)
			kill_engine(index);
		break;
	case 11:
		if (node->running && !awake)
			break;
		node->maintenance = !node->maintenance;
		note(index, 0, node->maintenance ? "! maintenance" : "! no maintenance");
		if (node->running)
			all_members(index, maintenance_of(node));
		break;
	case 12:
	case 13: /* one of them remains, or it would be no node of these */
		if ((awake || !node->running) && network > 0)
			reload(index, network, (enum member)below(3));
		break;
	}
}

/* ---- one schedule ---- */

static void set_up(void)
{
	struct vrrp_conf *conf = &world.conf;

	memset(&world, 0, sizeof(world));
	world.now_us = SECOND;
	world.nodes_count = 2 + (int)(chance(60) ? 0 : below(NODES_MAX - 1));
	world.networks_count = 2 + (int)below(NETWORKS_MAX - 1);
	conf->version = chance(40) ? 2 : 3;
	for (int i = 0; i < world.networks_count; i++) {
		world.intervals_us[i] = conf->version == 2 || chance(30) ? SECOND : SECOND / 10;
		if (i == 0 || world.intervals_us[i] > conf->advert_int_us)
			conf->advert_int_us = world.intervals_us[i];
	}
	conf->group_skew_us = vrrp_fsm_skew_us(conf->version, 1, conf->advert_int_us);
	conf->down_adverts = (uint8_t)(chance(80) ? 3 : 2 + below(4));
	world.startup_delay_us = chance(15) ? below(5 * SECOND) : 0;
	conf->grouped = true;
	conf->nopreempt = chance(50);
	conf->preempt_delay_us = chance(20) ? below(10 * conf->advert_int_us) : 0;
	conf->stop_wait_us = chance(30) ? 3 * SECOND : 60 * SECOND;
	conf->undetermined_wait_us = 1 + below(4 * SECOND);
	conf->garp_master_delay_us = SECOND;
	conf->garp_lower_prio_delay_us = SECOND;
	conf->nodes_count = world.nodes_count;
	for (int i = 0; i < world.networks_count; i++)
		world.loss_percent[i] = chance(60) ? 0 : (int)below(31);
	for (int i = 0; i < world.nodes_count; i++) {
		struct node *node = &world.nodes[i];
		int weights[CHECKS_MAX];

		conf->nodes[i].address =
			(struct ip_addr){.family = IP_V4, .bytes = {203, 0, 113, (uint8_t)(1 + i)}};
		conf->nodes[i].priority = (uint8_t)(chance(20) ? 100 : 1 + below(254));
		node->restart_us = node->report_us = NEVER;
		node->base = conf->nodes[i].priority;
		node->checks_count = (int)below(CHECKS_MAX + 1);
		for (int j = 0; j < node->checks_count; j++) {
			weights[j] = chance(30) ? 0 : (int)below(101) - 50;
			node->checks[j].weight = weights[j];
			node->checks[j].reverse = weights[j] != 0 && chance(10);
		}
		conf->nodes[i].priority =
			health_fsm_full_priority(node->base, weights, node->checks_count);
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

static void check_rank(int holder)
{
	const struct vrrp_fsm *held_by = &world.nodes[holder].routers[0];

	for (int i = 0; i < world.nodes_count; i++) {
		const struct node *node = &world.nodes[i];

		if (i == holder || !node->running || node->routers[0].priority <= held_by->priority)
			continue;
		if (!world.conf.nopreempt && !node->routers[0].handed_over)
			fail("A19", "the holder is outranked for good");
		if (vrrp_fsm_sick(held_by))
			fail("A19", "a sick holder is outranked for good");
	}
}

static void schedule(void)
{
	uint64_t down_us, quiet_us, before;
	int holder;

	set_up();
	down_us = vrrp_fsm_master_down_us(&world.conf, 1, world.conf.advert_int_us);
	quiet_us = 6 * down_us + world.conf.preempt_delay_us + 2 * SECOND +
		   2 * world.conf.undetermined_wait_us + world.startup_delay_us;
	for (uint64_t faults = below(20); faults > 0; faults--) {
		run(some_time_us());
		fault();
	}
	run(some_time_us());

	note(0, 0, "! all heals");
	memset(world.cut_until_us, 0, sizeof(world.cut_until_us));
	memset(world.loss_percent, 0, sizeof(world.loss_percent));
	run(12 * world.conf.advert_int_us);
	for (int i = 0; i < world.nodes_count; i++) {
		struct node *node = &world.nodes[i];

		for (int j = 0; j < world.networks_count; j++) {
			node->up[j] = true;
			reload(i, j, MEMBER);
		}
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
	check_rank(holder);

	/* The holder leaves in order, or hands over one of its routers: no gap in any of them. */
	if (running_but(holder) && chance(70)) {
		const int network = (int)below((uint64_t)world.networks_count);
		const bool stops = chance(50);

		world.gap = false;
		if (stops) {
			stop(holder);
		} else {
			note(holder, network, "! hands over");
			step(holder, network, (struct vrrp_event){.type = VRRP_EV_HANDOVER});
			judge(holder);
		}
		run(down_us + quiet_us);
		if (world.gap)
			fail(stops ? "A20" : "A24", "nobody held an address meanwhile");
		holder = find_holder();
		check_rank(holder);
	}

	/* The holder dies, or one of its interfaces does: another one has all of it in time. */
	if (running_but(holder)) {
		if (chance(50)) {
			die(holder);
		} else {
			world.nodes[holder].up[0] = false;
			links(holder);
		}
		run(down_us + SECOND / 100);
		if (!is_held())
			fail("A21", "nobody took over in time");
		/* Two that did at once are one soon (A22). */
		run(3 * world.conf.advert_int_us);
		if (find_holder() == holder)
			fail("A21", "nobody took over in time");
	}
}

int main(int argc, char **argv)
{
	const struct sim_run run = sim_run(argc, argv, &world.now_us, SEEDS, schedule);

	printf("figure: groups: %" PRIu64 " schedules, %" PRIu64 " steps, %" PRIu64
	       " take-overs, %.0f schedules/s\n",
	       run.seeds, steps, take_overs, run.per_second);
	return 0;
}
