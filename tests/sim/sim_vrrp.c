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
#include "shared/sanitizer.h"
#include "tests/sim/vrrp_faults.h"

/* Some 15 s of one core; with those of sim_group 100,000. A build with sanitizers is eight times
 * slower, and looks for something else. */
#ifdef UNDER_SANITIZER
#define SEEDS 10000
#else
#define SEEDS 80000
#endif

/* ---- one schedule ---- */

static void draw_checks(struct node *node)
{
	static const int weights[] = {0, -253, 253};

	node->checks_count = chance(40) ? 0 : (int)(1 + below(CHECKS_MAX));
	for (int i = 0; i < node->checks_count; i++) {
		struct check *check = &node->checks[i];

		check->conf = (struct health_conf){.fall = 1 + (int)below(3),
						   .rise = 1 + (int)below(3),
						   .init_fail = chance(20)};
		check->weight = chance(30) ? weights[below(3)] : (int)below(101) - 50;
		check->well = chance(90);
		health_fsm_init(&check->fsm, &check->conf, 0);
	}
}

static void set_up(void)
{
	static const uint64_t v3_intervals_us[] = {10000, 100000, 300000, 1000000, 2500000};
	const bool some_foreign = chance(25);
	struct vrrp_conf *conf = &world.conf;
	uint64_t interval_us;
	bool six;

	memset(&world, 0, sizeof(world));
	world.now_us = 1000000; /* 0 means "never" to some */
	world.count = 2 + (int)(chance(50) ? 0 : below(NODES_MAX - 1));
	conf->version = chance(40) ? 2 : 3;
	interval_us = conf->version == 2 ? (1 + below(2)) * 1000000 : v3_intervals_us[below(5)];
	/* 1 has no room even for skew time: an advert a little late is a take-over. */
	conf->down_adverts = (uint8_t)(chance(75) ? 3 : 2 + below(6));
	conf->nopreempt = chance(50);
	conf->preempt_delay_us = chance(30) ? below(10 * interval_us) : 0;
	conf->stop_wait_us = chance(50) ? 3000000 : 60000000;
	conf->undetermined_wait_us = 1 + below(4000000);
	conf->garp_master_delay_us = chance(80) ? 1000000 : 0;
	conf->garp_master_refresh_us = chance(80) ? 5000000 : 0;
	conf->garp_lower_prio_delay_us = chance(80) ? 1000000 : below(10000000);
	world.startup_delay_us = chance(15) ? below(10 * interval_us) : 0;
	conf->nodes_count = world.count;
	six = conf->version == 3 && chance(30);
	world.verdict = chance(80)   ? VRRP_OK
			: chance(50) ? VRRP_OTHER_ADDRESSES
				     : VRRP_OTHER_PASSWORD;
	world.loss_percent = chance(50) ? 0 : (int)below(31);
	world.delay_max_us = 1 + below(interval_us / 5 < 20000 ? interval_us / 5 : 20000);
	world.slow_us = 1 + below(2 * interval_us);
	world.both_since_us = NEVER;
	world.gap_since_us = NEVER;
	for (int i = 0; i < world.count; i++) {
		struct vrrp_node *node = &conf->nodes[i];

		node->address = (struct ip_addr){.family = IP_V4,
						 .bytes = {198, 51, 100, (uint8_t)(1 + i)}};
		if (six)
			node->address = (struct ip_addr){
				.family = IP_V6, .bytes = {0xfe, 0x80, [15] = (uint8_t)(1 + i)}};
		world.nodes[i].base = (uint8_t)(chance(20) ? 100 : 1 + below(254));
		/* One node may own the addresses, one may take no part, one file may be the older
		 * one. */
		if (i == 0 && chance(5))
			world.nodes[i].base = 255;
		if (i > 1 && chance(10))
			world.nodes[i].base = 0;
		world.intervals_us[i] = interval_us;
		if (conf->version == 3 && chance(5))
			world.intervals_us[i] = 2 * interval_us;
		world.nodes[i].foreign = some_foreign && i > 0 && chance(50);
		node->foreign = world.nodes[i].foreign;
		node->unsaid = node->foreign && chance(40);
		world.nodes[i].link_up = true;
		if (world.nodes[i].base) {
			draw_checks(&world.nodes[i]);
			rank(i);
		}
		world.nodes[i].determined_us = NEVER;
		world.nodes[i].restart_us = NEVER;
		world.nodes[i].lateness_us = below(300);
	}
	for (int i = 0; i < world.count; i++)
		if (chance(90))
			start(i);
}

static void heal(void)
{
	tell("! heals");
	memset(world.cut_until_us, 0, sizeof(world.cut_until_us));
	memset(world.slow_until_us, 0, sizeof(world.slow_until_us));
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
		/* Checks go on reporting; and a keepalived in FAULT is as good as none. */
		for (int j = 0; j < node->checks_count; j++)
			if (node->foreign && node->checks[j].weight == 0)
				node->checks[j].well = true;
		if (node->running && node->determined_us == NEVER) {
			report(i);
			set_health(i);
		}
		running += node->running || node->restart_us != NEVER;
	}
	if (!running)
		start((int)below(2)); /* these take part */
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
		if (!node->foreign && !world.conf.nodes[holder].unsaid &&
		    held_by < world.conf.nodes[holder].priority)
			oracle_fail("A19", "a sick holder is outranked for good");
	}
}

/* ---- a take-over that nothing called for ---- */

/* One thing that must not matter while the holder is there: a few adverts lost, late or sent again,
 * a short pause, a backup that comes and goes, a reload, a check that is not believed yet. */
static void disturb(int holder)
{
	const uint64_t interval_us = world.intervals_us[holder];
	/* Three intervals less what an advert may be late in the first place. */
	const uint64_t patience_us = 2 * interval_us - world.delay_max_us - 1000;
	const int index = (int)below((uint64_t)world.count);
	struct node *node = &world.nodes[index];

	switch (below(9)) {
	case 0: /* two, and the third a little late, is already as long as a backup may wait */
		for (int i = 0; i < world.count; i++)
			world.cut_until_us[holder][i] = world.now_us + below(interval_us);
		break;
	case 1:
		world.slow_us = 1 + below(interval_us);
		for (int i = 0; i < world.count; i++)
			if (!world.nodes[i].foreign) /* nobody reads its mind */
				world.slow_until_us[holder][i] = world.now_us + 3 * interval_us;
		break;
	case 2: /* a process that hangs has a socket that goes on, a machine has none */
		if (!node->running || node->foreign)
			break;
		node->paused_until_us = world.now_us + below(patience_us);
		node->deaf = index == holder && chance(50);
		break;
	case 3:
		if (node->running && !node->foreign && index != holder)
			node->paused_until_us = world.now_us + below(40 * interval_us);
		break;
	case 4: /* what was handed over may be taken back after a restart: that calls for it */
		if (index == holder || !node->running || node->oracle.handed_over)
			break;
		if (chance(50))
			crash(index);
		else
			stop(index);
		run(world.now_us + below(8 * interval_us));
		if (!node->running) {
			start(index);
			node->determined_us = NEVER;
			report(index);
			set_health(index);
		}
		break;
	case 5:
		reload(index);
		break;
	case 6:
		if (node->running && !node->foreign)
			feed(index, &(struct vrrp_event){.type = VRRP_EV_ADDRESS_LOST});
		break;
	case 7: { /* whoever says less than the holder does says nothing */
		const struct message *old =
			&world.heard[below(world.heard_count ? world.heard_count : 1) % HEARD_MAX];

		if (world.heard_count && !world.nodes[old->to].foreign && old->from != holder &&
		    old->priority > 0 && old->priority < rank_of(holder))
			again(old->to, old);
		break;
	}
	case 8:
		for (int i = 0; i < node->checks_count && node->running; i++) {
			struct check *check = &node->checks[i];

			if (check->fsm.state != HEALTH_UP || check->conf.fall == 1)
				continue;
			check->well = true;
			result(index, i);
			check->well = false;
			result(index, i);
			check->well = true;
			set_health(index);
			result(index, i);
		}
		break;
	}
}

static void check_calm(void)
{
	const int holder = find_holder();
	const uint64_t interval_us = longest_interval_us();

	/* A sick holder offers the addresses to a foreign peer now and then: that calls for it. */
	for (int i = 0; i < world.count; i++)
		if (world.nodes[i].foreign && rank_of(holder) < world.conf.nodes[holder].priority)
			return;
	if (world.conf.down_adverts < 3) /* one that is lost, and the next one late, is enough */
		return;
	for (uint64_t n = below(4); n > 0; n--) {
		const uint64_t before = take_overs;

		world.gap_since_us = NEVER;
		world.gap_max_us = 0;
		disturb(holder);
		for (int i = 0; i < world.count; i++)
			if (world.nodes[i].paused_until_us > world.now_us)
				run(world.nodes[i].paused_until_us);
		run(world.now_us + 8 * interval_us);
		if (take_overs != before || find_holder() != holder || world.gap_max_us)
			oracle_fail("A30", "a take-over that nothing called for");
	}
	run(world.now_us + world.startup_delay_us); /* of who has come back */
}

static int running_but(int index)
{
	int count = 0;

	for (int i = 0; i < world.count; i++)
		count += i != index && world.nodes[i].running;
	return count;
}

static void schedule(void)
{
	uint64_t interval_us, down_us, quiet_us;
	int holder;

	set_up();
	interval_us = longest_interval_us();
	down_us = vrrp_fsm_master_down_us(&world.conf, 1, interval_us);
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
	quiet_us = 6 * down_us + world.conf.preempt_delay_us + 2 * world.conf.undetermined_wait_us +
		   world.startup_delay_us;
	if (world.any_mute)
		quiet_us += VRRP_MUTE_FORGET_US + 2 * down_us;
	if (world.any_hold_failed)
		quiet_us += VRRP_HOLD_RETRY_US + 2 * down_us;
	run(world.now_us + quiet_us);
	for (int i = 0; i < 3; i++) {
		check_quiet();
		run(world.now_us + interval_us / 2 + below(interval_us));
	}
	check_calm();

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
		run(world.now_us + vrrp_fsm_master_down_us(&world.conf, best, interval_us) +
		    world.delay_max_us + 5000);
		if (world.gap_since_us != NEVER)
			oracle_fail("A21", "nobody took over in time");
	}
	virtual_us += world.now_us;
}

int main(int argc, char **argv)
{
	const struct sim_run run = sim_run(argc, argv, &world.now_us, SEEDS, schedule);

	printf("figure: vrrp: %" PRIu64 " schedules, %" PRIu64 " steps, %" PRIu64 " take-overs, "
	       "%.0f virtual hours, %.0f schedules/s\n",
	       run.seeds, steps, take_overs, (double)virtual_us / 3.6e9, run.per_second);
	return 0;
}
