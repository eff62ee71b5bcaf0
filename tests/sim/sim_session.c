/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_session: two or three nodes' sessions, the real core, in virtual time.
 *
 * Each seed names one history: mirrors with toy generations (a number, a version vector), nodes
 * that edit, links that break and come back, keepers that crash and hang, transfers that fail,
 * peers that refuse, lack a base, lack objects, or have a full disk. The invariants R-S1 ... of
 * docs/INVARIANTS.md are checked after every step; then everything heals, and what must come about
 * is waited for: each node has, or has answered for, what the others have.
 *
 * usage: sim_session [--seeds N] [--seed S] [--trace]
 */
#include "tests/sim/session_shell.h"

#define SEEDS 3000

/* ---- links that break, keepers that crash ---- */

static void end_down(int n, int p)
{
	struct end *end = &nodes[n].ends[p];
	struct session_event ev = {.kind = SESSION_EV_DOWN, .now_us = now};

	if (!end->up)
		return;
	step(n, p, &ev);
	end->up = false;
	for (int i = 0; i < mirrors_count; i++) {
		if (end->sending[i])
			fail("R-S6", "a transfer goes on without a connection");
		end->peer_head[i] = -2;
		end->want_in[i] = false;
	}
	end->count = 0;
	end->said_hello = false;
	end->last_transfer = 0;
}

static void link_down(int a, int b, uint64_t for_us)
{
	int low = a < b ? a : b, high = a < b ? b : a;

	if (link_up_at[low][high] != NEVER)
		return;
	tell("link %s-%s down for %.0f ms", names[low], names[high], (double)for_us / 1e3);
	link_up_at[low][high] = now + for_us;
	end_down(a, b);
	end_down(b, a);
}

static void link_up(int a, int b)
{
	struct session_event ev = {.kind = SESSION_EV_UP, .now_us = now};

	tell("link %s-%s up", names[a], names[b]);
	link_up_at[a][b] = NEVER;
	nodes[a].ends[b].up = nodes[b].ends[a].up = true;
	nodes[a].ends[b].last_at = nodes[b].ends[a].last_at = now;
	step(a, b, &ev);
	step(b, a, &ev);
}

static void tell_node(int n, int p)
{
	struct session_event ev = {.kind = SESSION_EV_NODE, .now_us = now};

	ev.maintenance = nodes[n].maintenance;
	step(n, p, &ev);
}

static void init_fsm(int n, int p)
{
	struct session_conf conf = {.mirrors_count = mirrors_count};
	struct end *end = &nodes[n].ends[p];

	snprintf(conf.peer, sizeof(conf.peer), "%s", names[p]);
	snprintf(conf.software, sizeof(conf.software), "sim");
	for (int i = 0; i < mirrors_count; i++) {
		snprintf(conf.mirrors[i].name, sizeof(conf.mirrors[i].name), "m%d", i);
		end->peer_head[i] = -2;
	}
	session_fsm_init(&end->fsm, &conf);
	memset(end->answered_final, 0, sizeof(end->answered_final));
	tell_node(n, p);
}

static void crash(int n)
{
	tell("%s: keeper crashes", names[n]);
	for (int p = 0; p < nodes_count; p++) {
		if (p == n)
			continue;
		link_down(n, p, 200 * MS + below(3 * S));
		init_fsm(n, p);
	}
	for (int i = 0; i < mirrors_count; i++)
		tell_all(n, i);
}

static uint64_t next_event(uint64_t until)
{
	uint64_t at = until;

#define CONSIDER(t)                                                                                \
	do {                                                                                       \
		uint64_t t_ = (t);                                                                 \
		if (t_ < at)                                                                       \
			at = t_;                                                                   \
	} while (0)
	for (int n = 0; n < nodes_count; n++) {
		uint64_t from = nodes[n].hung_until;

		for (int i = 0; i < mirrors_count; i++) {
			CONSIDER(nodes[n].mirrors[i].scan_at > from ? nodes[n].mirrors[i].scan_at
								    : from);
			for (int g = 0; g < generations_count; g++) {
				if (nodes[n].mirrors[i].apply_at[g] != NEVER)
					CONSIDER(nodes[n].mirrors[i].apply_at[g] > from
							 ? nodes[n].mirrors[i].apply_at[g]
							 : from);
			}
		}
		for (int p = 0; p < nodes_count; p++) {
			struct end *end = &nodes[n].ends[p];
			uint64_t deadline;

			if (p == n)
				continue;
			if (n < p && link_up_at[n][p] != NEVER) {
				uint64_t both =
					from > nodes[p].hung_until ? from : nodes[p].hung_until;

				CONSIDER(link_up_at[n][p] > both ? link_up_at[n][p] : both);
			}
			if (!end->up)
				continue;
			deadline = session_fsm_deadline(&end->fsm);
			if (deadline != NEVER)
				CONSIDER(deadline > from ? deadline : from);
			if (end->count > 0)
				CONSIDER(end->queue[end->first].at > from
						 ? end->queue[end->first].at
						 : from);
			for (int i = 0; i < mirrors_count; i++) {
				if (end->sending[i])
					CONSIDER(end->tx_at[i] > from ? end->tx_at[i] : from);
			}
		}
	}
	return at;
}

static void run_end(int n, int p)
{
	struct end *end = &nodes[n].ends[p];
	struct session_event ev = {.now_us = now};
	struct session_frame frame;

	while (end->up && end->count > 0 && end->queue[end->first].at <= now) {
		struct frame raw = end->queue[end->first];

		end->first = (end->first + 1) % QUEUE_MAX;
		end->count--;
		if (session_wire_decode(raw.type, raw.payload, raw.size, &frame) != SESSION_OK)
			fail("R-S12", "%s cannot be decoded", session_frame_name(raw.type));
		ev.kind = SESSION_EV_FRAME;
		ev.frame = &frame;
		step(n, p, &ev);
	}
	for (int i = 0; i < mirrors_count; i++) {
		if (end->up && end->sending[i] && end->tx_at[i] <= now)
			send_some(n, p, i);
	}
	if (end->up && session_fsm_deadline(&end->fsm) <= now) {
		ev.kind = SESSION_EV_TICK;
		step(n, p, &ev);
	}
}

static void run_until(uint64_t until)
{
	while (now < until) {
		uint64_t at = next_event(until);

		now = at > now ? at : now + 1;
		if (now > until)
			now = until;
		for (int n = 0; n < nodes_count; n++) {
			if (nodes[n].hung_until > now)
				continue;
			for (int p = 0; p < nodes_count; p++) {
				if (p != n)
					run_end(n, p);
			}
			for (int i = 0; i < mirrors_count; i++) {
				struct mirror *m = &nodes[n].mirrors[i];

				for (int g = 0; g < generations_count; g++) {
					if (m->apply_at[g] != NEVER && m->apply_at[g] <= now) {
						m->apply_at[g] = NEVER;
						apply(n, i, g);
					}
				}
				if (m->scan_at <= now) {
					m->scan_at = now + 60 * S;
					scanned(n, i);
				}
			}
			for (int p = n + 1; p < nodes_count; p++) {
				if (link_up_at[n][p] <= now && nodes[p].hung_until <= now)
					link_up(n, p);
			}
		}
	}
}

static void fault(void)
{
	int n = (int)below((uint64_t)nodes_count), i = (int)below((uint64_t)mirrors_count);
	int p = (n + 1 + (int)below((uint64_t)nodes_count - 1)) % nodes_count;
	uint64_t kind = below(100);
	struct session_event ev = {.now_us = now, .mirror = i};

	if (nodes[n].hung_until > now)
		return;
	if (kind < 60) {
		edit(n, i);
	} else if (kind < 75) {
		link_down(n, p, 100 * MS + below(20 * S));
	} else if (kind < 82) {
		crash(n);
	} else if (kind < 87) {
		nodes[n].hung_until = now + below(60 * S);
		tell("%s: keeper hangs", names[n]);
	} else if (kind < 95) {
		ev.kind = SESSION_EV_SYNC;
		memset(nodes[n].ends[p].answered_final[i], 0,
		       sizeof(nodes[n].ends[p].answered_final[i]));
		step(n, p, &ev);
	} else if (kind < 97) {
		nodes[n].maintenance = !nodes[n].maintenance;
		for (p = 0; p < nodes_count; p++)
			if (p != n)
				tell_node(n, p);
	} else if (nodes[p].mirrors[i].head >= 0) {
		ev.kind = SESSION_EV_WANT;
		memcpy(ev.id, generations[nodes[p].mirrors[i].head].id, SESSION_HASH_BYTES);
		step(n, p, &ev);
	}
}

/* R-S7: what a node has live, each other node holds as well, or has refused, or has gone beyond. */
static bool settled(int *ret_n, int *ret_p, int *ret_i)
{
	for (int n = 0; n < nodes_count; n++) {
		for (int p = 0; p < nodes_count; p++) {
			for (int i = 0; p != n && i < mirrors_count; i++) {
				struct mirror *there = &nodes[p].mirrors[i];
				int g = nodes[n].mirrors[i].head;

				if (g < 0 || there->held[g] || there->refused[g] ||
				    (there->head >= 0 && within(g, there->head)))
					continue;
				*ret_n = n;
				*ret_p = p;
				*ret_i = i;
				return false;
			}
		}
	}
	return true;
}

static void schedule(void)
{
	int faults, n, p, i;

	now = 1 * S;
	memset(nodes, 0, sizeof(nodes));
	generations_count = 0;
	healed = false;
	nodes_count = 2 + (int)below(2);
	mirrors_count = 1 + (int)below(MIRRORS_MAX);
	for (n = 0; n < nodes_count; n++) {
		for (i = 0; i < mirrors_count; i++) {
			struct mirror *m = &nodes[n].mirrors[i];

			m->head = -1;
			m->scan_at = now + below(60 * S);
			for (int g = 0; g < GENERATIONS_MAX; g++)
				m->apply_at[g] = NEVER;
		}
		for (p = 0; p < nodes_count; p++) {
			if (p != n)
				init_fsm(n, p);
			link_up_at[n][p] = n < p ? now + below(S) : NEVER;
		}
		for (i = 0; i < mirrors_count; i++)
			tell_all(n, i);
	}
	faults = 10 + (int)below(60);
	for (int k = 0; k < faults; k++) {
		run_until(now + below(chance(30) ? 20 * S : 500 * MS));
		fault();
	}
	/* Everything heals; a minute for the scans, half a one for silences, and some. */
	healed = true;
	for (n = 0; n < nodes_count; n++)
		nodes[n].hung_until = 0;
	run_until(now + 240 * S);
	if (!settled(&n, &p, &i))
		fail("R-S7",
		     "%s has generation %d of mirror %d live, and %s neither holds it nor "
		     "has refused it",
		     names[n], nodes[n].mirrors[i].head, i, names[p]);
	for (n = 0; n < nodes_count; n++) {
		for (p = 0; p < nodes_count; p++) {
			if (p != n && nodes[n].ends[p].fsm.state != SESSION_OPEN)
				fail("R-S7", "the session of %s with %s is not open", names[n],
				     names[p]);
			if (p != n && nodes[n].ends[p].peer_maintenance != nodes[p].maintenance)
				fail("R-S7", "%s does not know of the maintenance of %s", names[n],
				     names[p]);
		}
	}
}

int main(int argc, char **argv)
{
	const struct sim_run run = sim_run(argc, argv, &now, SEEDS, schedule);

	printf("figure: sim_session: %" PRIu64 " histories, %" PRIu64 " steps, %" PRIu64
	       " transfers, %" PRIu64 " results, %" PRIu64 " questions, %" PRIu64
	       " verified, %" PRIu64 " sessions ended by silence\n",
	       run.seeds, steps, transfers, reports, wants, verified, closes);
	if (run.seeds > 100 && (wants == 0 || verified == 0 || closes == 0)) {
		fprintf(stderr, "something was never tried\n");
		return 1;
	}
	return 0;
}
