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
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "syncd/session_fsm.h"

#define NODES_MAX 3
#define MIRRORS_MAX 2
#define GENERATIONS_MAX 400
#define QUEUE_MAX 512
#define NEVER SESSION_NEVER_US
#define MS 1000ull
#define S 1000000ull

static const char *const names[NODES_MAX] = {"web1", "web2", "web3"};
static bool trace;
static uint64_t seed, rng, now;

static uint64_t next_random(void)
{
	uint64_t z = rng += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t below(uint64_t n)
{
	return next_random() % n;
}

static bool chance(unsigned percent)
{
	return below(100) < percent;
}

/* ---- toy generations: one registry for all nodes ---- */

struct generation {
	int mirror;
	uint32_t vector[NODES_MAX];
	int author; /* -1: a merge */
	uint8_t id[SESSION_HASH_BYTES];
	unsigned refused_by; /* nodes whose validate says no */
};

static struct generation generations[GENERATIONS_MAX];
static int generations_count;

static int generation_by_id(const uint8_t *id)
{
	for (int i = 0; i < generations_count; i++) {
		if (memcmp(generations[i].id, id, SESSION_HASH_BYTES) == 0)
			return i;
	}
	return -1;
}

/* The same vector in the same mirror is the same generation: merges are made by each on its own. */
static int generation_get(int mirror, const uint32_t *vector, int author)
{
	struct generation *g;

	for (int i = 0; i < generations_count; i++) {
		if (generations[i].mirror == mirror &&
		    memcmp(generations[i].vector, vector, sizeof(g->vector)) == 0)
			return i;
	}
	assert(generations_count < GENERATIONS_MAX);
	g = &generations[generations_count];
	memset(g, 0, sizeof(*g));
	g->mirror = mirror;
	memcpy(g->vector, vector, sizeof(g->vector));
	g->author = author;
	for (int i = 0; i < 4; i++) {
		uint64_t part = next_random();

		memcpy(g->id + 8 * i, &part, 8);
	}
	for (int i = 0; i < NODES_MAX; i++) {
		if (i != author && chance(5))
			g->refused_by |= 1u << i;
	}
	return generations_count++;
}

static bool within(int a, int b)
{
	for (int i = 0; i < NODES_MAX; i++) {
		if (generations[a].vector[i] > generations[b].vector[i])
			return false;
	}
	return true;
}

static bool conflicting(int a, int b)
{
	return (generations[a].id[0] ^ generations[b].id[0]) % 8 == 0;
}

static enum session_relation relate(int local, int peer)
{
	if (local == peer)
		return SESSION_SAME;
	if (peer < 0)
		return SESSION_LOCAL_AHEAD;
	if (local < 0)
		return SESSION_PEER_AHEAD;
	if (within(peer, local))
		return SESSION_LOCAL_AHEAD;
	if (within(local, peer))
		return SESSION_PEER_AHEAD;
	return SESSION_CONCURRENT;
}

/* ---- nodes, sessions, links ---- */

struct frame {
	uint64_t at;
	uint8_t type;
	uint8_t payload[256];
	size_t size;
};

struct mirror {
	int head; /* -1: none */
	bool held[GENERATIONS_MAX];
	bool refused[GENERATIONS_MAX];
	bool failed[GENERATIONS_MAX]; /* until the next scan */
	uint64_t apply_at[GENERATIONS_MAX];
	uint64_t scan_at;
};

/* One node's end of one link. */
struct end {
	struct session_fsm fsm;
	bool up;
	int peer_head[MIRRORS_MAX]; /* -2: not told */
	/* what the shell sends of a transfer */
	bool sending[MIRRORS_MAX];
	uint32_t transfer[MIRRORS_MAX];
	int tx_generation[MIRRORS_MAX];
	bool tx_has_base[MIRRORS_MAX];
	int tx_base[MIRRORS_MAX];
	int tx_step[MIRRORS_MAX]; /* 0 OFFER, 1.. ENTRIES, then CONTENT, END */
	uint64_t tx_at[MIRRORS_MAX];
	/* what the shell receives */
	int rx_generation[MIRRORS_MAX];
	uint32_t rx_transfer[MIRRORS_MAX];
	bool rx_asked[MIRRORS_MAX];
	/* frames on their way here */
	struct frame queue[QUEUE_MAX];
	int first, count;
	uint64_t last_at;
	/* the oracle's memory */
	bool said_hello;
	uint32_t last_transfer;
	bool answered_final[MIRRORS_MAX][GENERATIONS_MAX];
	bool want_in[MIRRORS_MAX];
	bool peer_maintenance; /* as it said since HELLO */
};

struct node {
	bool maintenance;
	struct mirror mirrors[MIRRORS_MAX];
	struct end ends[NODES_MAX];
	uint32_t counters[MIRRORS_MAX];
	uint64_t hung_until;
};

static struct node nodes[NODES_MAX];
static int nodes_count, mirrors_count;
static uint64_t link_up_at[NODES_MAX][NODES_MAX]; /* a < b; NEVER: it is up */
static bool healed;
static uint64_t steps, transfers, reports, verified, wants, closes;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list args;

	if (!trace)
		return;
	printf("%10.3f ", (double)now / 1e3);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

__attribute__((format(printf, 1, 2), noreturn)) static void broken(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "seed %" PRIu64 " at %.3f ms: ", seed, (double)now / 1e3);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nreplay: sim_session --seed %" PRIu64 " --trace\n", seed);
	exit(1);
}

static void step(int n, int p, struct session_event *ev);

static void post(int n, int p, const struct session_frame *frame)
{
	struct end *end = &nodes[p].ends[n];
	struct frame *slot;

	if (!nodes[n].ends[p].up)
		broken("R-S6: %s sends %s to %s, to whom there is no connection", names[n],
		       session_frame_name(frame->type), names[p]);
	if (!end->up)
		return; /* the other side's link has noticed first */
	if (end->count == QUEUE_MAX)
		broken("a frame storm");
	slot = &end->queue[(end->first + end->count++) % QUEUE_MAX];
	slot->type = frame->type;
	slot->size = session_wire_encode(frame, slot->payload, sizeof(slot->payload));
	if (slot->size == 0)
		broken("%s cannot be encoded", session_frame_name(frame->type));
	slot->at = now + 100 + below(5 * MS);
	if (slot->at < end->last_at)
		slot->at = end->last_at;
	end->last_at = slot->at;
}

/* The toy header is the generation's number. */
static void put_header(uint8_t *header, int g)
{
	memcpy(header, &g, sizeof(g));
}

static int get_header(const uint8_t *header, size_t size)
{
	int g;

	assert(size == sizeof(g));
	memcpy(&g, header, sizeof(g));
	assert(g >= 0 && g < generations_count);
	return g;
}

static void tell_heads(int n, int p, int i)
{
	struct end *end = &nodes[n].ends[p];
	struct mirror *m = &nodes[n].mirrors[i];
	struct session_event ev = {.kind = SESSION_EV_HEADS, .now_us = now, .mirror = i};
	int local = m->head, peer = end->peer_head[i];

	ev.heads.offerable = true;
	if (local >= 0) {
		ev.heads.local_present = true;
		memcpy(ev.heads.local_id, generations[local].id, SESSION_HASH_BYTES);
		ev.heads.made_here = generations[local].author == n;
	}
	if (peer >= 0) {
		ev.heads.peer_present = true;
		memcpy(ev.heads.peer_id, generations[peer].id, SESSION_HASH_BYTES);
		ev.heads.peer_held = m->held[peer] || m->refused[peer] || m->failed[peer];
		if (m->held[peer]) {
			ev.heads.has_base = true;
			memcpy(ev.heads.base, generations[peer].id, SESSION_HASH_BYTES);
		}
	}
	ev.heads.relation = peer == -2 ? SESSION_RELATION_UNKNOWN : relate(local, peer);
	step(n, p, &ev);
}

static void tell_all(int n, int i)
{
	for (int p = 0; p < nodes_count; p++) {
		if (p != n)
			tell_heads(n, p, i);
	}
}

static void tell_result(int n, int p, int i, int g, uint32_t transfer, enum session_outcome outcome)
{
	struct session_event ev = {.kind = SESSION_EV_RESULT,
				   .now_us = now,
				   .mirror = i,
				   .transfer = transfer,
				   .outcome = outcome};

	memcpy(ev.id, generations[g].id, SESSION_HASH_BYTES);
	step(n, p, &ev);
}

static void scanned(int n, int i)
{
	struct mirror *m = &nodes[n].mirrors[i];

	/* What failed for the world's sake is wanted again from now on. */
	memset(m->failed, 0, sizeof(m->failed));
	for (int p = 0; p < nodes_count; p++) {
		struct session_event ev = {.kind = SESSION_EV_SCANNED, .now_us = now, .mirror = i};

		if (p == n)
			continue;
		if (m->head >= 0) {
			memcpy(ev.id, generations[m->head].id, SESSION_HASH_BYTES);
			memcpy(ev.tree, generations[m->head].id, SESSION_HASH_BYTES);
			step(n, p, &ev);
		}
		tell_heads(n, p, i);
	}
}

/* What became of a generation that is held whole: to whoever may want to know. */
static void apply(int n, int i, int g)
{
	struct mirror *m = &nodes[n].mirrors[i];
	enum session_outcome outcome;
	int head = m->head;

	if (head >= 0 && within(g, head)) {
		outcome = SESSION_SUPERSEDED;
	} else if (generations[g].refused_by & 1u << n) {
		outcome = SESSION_REFUSED;
		m->refused[g] = true;
	} else if (head < 0 || within(head, g)) {
		m->head = g;
		outcome = SESSION_LOADED;
	} else if (conflicting(g, head)) {
		outcome = SESSION_CONFLICT;
	} else {
		uint32_t vector[NODES_MAX];
		int merged;

		for (int k = 0; k < NODES_MAX; k++)
			vector[k] = generations[g].vector[k] > generations[head].vector[k]
					    ? generations[g].vector[k]
					    : generations[head].vector[k];
		merged = generation_get(i, vector, -1);
		generations[merged].refused_by = 0;
		m->held[merged] = true;
		m->head = merged;
		outcome = SESSION_LIVE;
	}
	say("%s mirror %d: generation %d %s, head %d", names[n], i, g,
	    session_outcome_name(outcome), m->head);
	for (int p = 0; p < nodes_count; p++) {
		if (p != n)
			tell_result(n, p, i, g, 0, outcome);
	}
	if (m->head != head)
		tell_all(n, i);
}

static void edit(int n, int i)
{
	struct mirror *m = &nodes[n].mirrors[i];
	uint32_t vector[NODES_MAX] = {0};
	int g;

	if (m->head >= 0)
		memcpy(vector, generations[m->head].vector, sizeof(vector));
	vector[n] = ++nodes[n].counters[i];
	g = generation_get(i, vector, n);
	m->held[g] = true;
	m->head = g;
	say("%s mirror %d: edit, generation %d", names[n], i, g);
	tell_all(n, i);
}

/* ---- what the shell does with actions ---- */

static void on_receive(int n, int p, int i, const struct session_frame *frame)
{
	struct end *end = &nodes[n].ends[p];
	struct mirror *m = &nodes[n].mirrors[i];
	struct session_event ev = {.now_us = now, .mirror = i};
	int g;

	switch (frame->type) {
	case SESSION_OFFER:
		g = get_header(frame->offer.header, frame->offer.header_size);
		end->rx_generation[i] = g;
		end->rx_transfer[i] = frame->offer.transfer;
		end->rx_asked[i] = false;
		if (m->held[g] || m->refused[g]) {
			tell_result(n, p, i, g, frame->offer.transfer,
				    m->refused[g]	      ? SESSION_REFUSED
				    : m->apply_at[g] != NEVER ? SESSION_RECEIVED
							      : SESSION_SUPERSEDED);
			return;
		}
		if (frame->offer.has_base && chance(20)) {
			ev.kind = SESSION_EV_NEED_MANIFEST;
			ev.transfer = frame->offer.transfer;
			step(n, p, &ev);
		} else if (!healed && chance(5)) {
			m->failed[g] = true;
			tell_result(n, p, i, g, frame->offer.transfer, SESSION_FAILED);
		}
		return;
	case SESSION_END:
		g = end->rx_generation[i];
		if (frame->end.transfer != end->rx_transfer[i])
			broken("R-S8: END of transfer %u, %u is received", frame->end.transfer,
			       end->rx_transfer[i]);
		if (!end->rx_asked[i] && chance(30)) {
			static const uint8_t hashes[3 * SESSION_HASH_BYTES];

			end->rx_asked[i] = true;
			ev.kind = SESSION_EV_NEED_OBJECTS;
			ev.transfer = frame->end.transfer;
			ev.hashes = hashes;
			ev.hashes_count = 3;
			step(n, p, &ev);
			return;
		}
		m->held[g] = true;
		m->apply_at[g] = now + below(2 * S);
		tell_result(n, p, i, g, frame->end.transfer, SESSION_RECEIVED);
		tell_heads(n, p, i);
		return;
	default:
		return;
	}
}

static void on_transfer(int n, int p, const struct session_action *a)
{
	struct end *end = &nodes[n].ends[p];
	int i = a->mirror, g = generation_by_id(a->id);

	transfers++;
	if (end->sending[i])
		broken("R-S2: two transfers of mirror %d from %s to %s", i, names[n], names[p]);
	if (a->kind == SESSION_ACT_TRANSFER) {
		if (a->transfer <= end->last_transfer)
			broken("R-S2: transfer number %u after %u", a->transfer,
			       end->last_transfer);
		end->last_transfer = a->transfer;
		if (g != nodes[n].mirrors[i].head && !end->want_in[i])
			broken("R-S4: %s offers %d, its head is %d", names[n], g,
			       nodes[n].mirrors[i].head);
		if (end->answered_final[i][g] && !end->want_in[i])
			broken("R-S3: %s offers %d again, %s has answered it", names[n], g,
			       names[p]);
		end->tx_step[i] = 0;
	} else {
		end->tx_step[i] = 3;
	}
	end->sending[i] = true;
	end->transfer[i] = a->transfer;
	end->tx_generation[i] = g;
	end->tx_has_base[i] = a->has_base;
	end->tx_base[i] = a->has_base ? generation_by_id(a->base) : -1;
	end->tx_at[i] = now + below(3 * MS);
	say("%s -> %s mirror %d: transfer %u of generation %d%s", names[n], names[p], i,
	    a->transfer, g, a->has_base ? " with a base" : "");
}

/* One frame of a transfer that is being sent. */
static void send_some(int n, int p, int i)
{
	struct end *end = &nodes[n].ends[p];
	int g = end->tx_generation[i];
	struct session_frame f = {0};
	struct session_event ev = {.now_us = now, .mirror = i, .transfer = end->transfer[i]};
	uint8_t header[4], byte = 0;

	end->tx_at[i] = now + below(3 * MS);
	/* A generation that is asked for may not be here; now and then the disk fails. */
	if (!nodes[n].mirrors[i].held[g] || (!healed && chance(1))) {
		end->sending[i] = false;
		ev.kind = SESSION_EV_SEND_FAILED;
		ev.text = (struct session_string){"gone", 4};
		step(n, p, &ev);
		return;
	}
	switch (end->tx_step[i]++) {
	case 0:
		f.type = SESSION_OFFER;
		f.offer.slot = (uint8_t)i;
		f.offer.transfer = end->transfer[i];
		put_header(header, g);
		f.offer.header = header;
		f.offer.header_size = sizeof(header);
		f.offer.has_base = end->tx_has_base[i];
		if (f.offer.has_base)
			memcpy(f.offer.base, generations[end->tx_base[i]].id, SESSION_HASH_BYTES);
		f.offer.entries_count = 2;
		f.offer.tree_count = 2;
		break;
	case 1:
	case 2:
		f.type = SESSION_ENTRIES;
		f.entries.slot = (uint8_t)i;
		f.entries.transfer = end->transfer[i];
		f.entries.count = 1;
		f.entries.bytes = &byte;
		f.entries.size = 1;
		break;
	case 3:
		f.type = SESSION_CONTENT;
		f.content.slot = (uint8_t)i;
		f.content.transfer = end->transfer[i];
		break;
	default:
		f.type = SESSION_END;
		f.end.slot = (uint8_t)i;
		f.end.transfer = end->transfer[i];
		post(n, p, &f);
		end->sending[i] = false;
		ev.kind = SESSION_EV_SENT;
		step(n, p, &ev);
		return;
	}
	post(n, p, &f);
}

static void link_down(int a, int b, uint64_t for_us);

static void on_report(int n, int p, int i, const struct session_result *result)
{
	int g = generation_by_id(result->id);

	reports++;
	if (g < 0)
		broken("a result for a generation that does not exist");
	say("%s: %s says of generation %d: %s", names[n], names[p], g,
	    session_outcome_name((enum session_outcome)result->outcome));
	/* What failed is tried again; an ABSENT answers a question, not an offer; and what is said
	 * of a generation before it is this node's head is not remembered. */
	if (g == nodes[n].mirrors[i].head &&
	    session_outcome_final((enum session_outcome)result->outcome) &&
	    result->outcome != SESSION_FAILED && result->outcome != SESSION_ABSENT)
		nodes[n].ends[p].answered_final[i][g] = true;
}

static void act(int n, int p, const struct session_action *a)
{
	struct end *end = &nodes[n].ends[p];
	struct session_frame f = {0};
	int i = a->mirror;
	uint8_t header[4];

	switch (a->kind) {
	case SESSION_ACT_SEND:
		if (a->frame->type == SESSION_HELLO)
			end->said_hello = true;
		else if (!end->said_hello || end->fsm.state == SESSION_GREETING)
			broken("R-S1: %s says %s before the greeting", names[n],
			       session_frame_name(a->frame->type));
		wants += a->frame->type == SESSION_WANT;
		post(n, p, a->frame);
		break;
	case SESSION_ACT_SEND_HEAD:
		f.type = SESSION_HEAD;
		f.head.slot = a->slot;
		f.head.present = nodes[n].mirrors[i].head >= 0;
		if (f.head.present) {
			put_header(header, nodes[n].mirrors[i].head);
			f.head.header = header;
			f.head.header_size = sizeof(header);
		}
		post(n, p, &f);
		break;
	case SESSION_ACT_MIRROR:
		if (a->mirror_state != SESSION_MIRROR_SHARED)
			broken("mirror %d is not shared", i);
		break;
	case SESSION_ACT_OPEN:
		end->peer_maintenance = false;
		break;
	case SESSION_ACT_PEER_NODE:
		end->peer_maintenance = a->frame->node.maintenance;
		break;
	case SESSION_ACT_PEER_HEAD:
		end->peer_head[i] = a->frame->head.present ? get_header(a->frame->head.header,
									a->frame->head.header_size)
							   : -1;
		tell_heads(n, p, i);
		break;
	case SESSION_ACT_TRANSFER:
	case SESSION_ACT_CONTENTS:
		on_transfer(n, p, a);
		break;
	case SESSION_ACT_STOP_SENDING:
		if (!end->sending[i] || end->transfer[i] != a->transfer)
			broken("STOP_SENDING of what is not being sent");
		end->sending[i] = false;
		break;
	case SESSION_ACT_RECEIVE:
		on_receive(n, p, i, a->frame);
		break;
	case SESSION_ACT_STOP_RECEIVING:
		end->rx_generation[i] = -1;
		break;
	case SESSION_ACT_REPORT:
		on_report(n, p, i, &a->frame->result);
		break;
	case SESSION_ACT_VERIFIED:
		verified++;
		break;
	case SESSION_ACT_DESCEND:
		broken("two trees of one generation differ, in a world where they cannot");
	case SESSION_ACT_WALK_ASKED:
	case SESSION_ACT_WALK_ANSWERED:
		break;
	case SESSION_ACT_SYNC:
		memset(end->answered_final[i], 0, sizeof(end->answered_final[i]));
		break;
	case SESSION_ACT_CLOSE:
		closes++;
		say("%s closes: %s", names[n], a->reason);
		if (strstr(a->reason, "refused"))
			broken("R-S11: %s: %s", names[n], a->reason);
		link_down(n, p, 100 * MS + below(2 * S));
		break;
	case SESSION_ACTIONS:
		assert(!"no such action");
	}
}

static void step(int n, int p, struct session_event *ev)
{
	struct end *end = &nodes[n].ends[p];
	/* Actions point into the core's frames, and acting steps the core again: on the stack. */
	struct session_actions out;
	uint64_t deadline;
	bool was_up = end->up;

	steps++;
	/* A WANT or a SYNC excuses one more transfer of what was answered. */
	if (ev->kind == SESSION_EV_FRAME && ev->frame->type == SESSION_WANT) {
		for (int i = 0; i < mirrors_count; i++)
			end->want_in[i] = end->want_in[i] ||
					  end->fsm.mirrors[i].peer_slot == ev->frame->want.slot;
	}
	session_fsm_step(&end->fsm, ev, &out);
	deadline = session_fsm_deadline(&end->fsm);
	if (ev->kind == SESSION_EV_TICK && deadline <= now)
		broken("R-S10: %s: deadline %" PRIu64 " after a tick at %" PRIu64, names[n],
		       deadline, now);
	if (!was_up && ev->kind != SESSION_EV_UP && ev->kind != SESSION_EV_DOWN && out.count > 0)
		broken("R-S6: %s acts on %s without a connection", names[n],
		       session_event_name(ev->kind));
	for (int k = 0; k < out.count; k++) {
		/* What an action before did may have ended the connection. */
		if (was_up && !end->up && ev->kind != SESSION_EV_DOWN)
			break;
		act(n, p, &out.items[k]);
	}
}

/* ---- the world ---- */

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
			broken("a transfer goes on without a connection");
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
	say("link %s-%s down for %.0f ms", names[low], names[high], (double)for_us / 1e3);
	link_up_at[low][high] = now + for_us;
	end_down(a, b);
	end_down(b, a);
}

static void link_up(int a, int b)
{
	struct session_event ev = {.kind = SESSION_EV_UP, .now_us = now};

	say("link %s-%s up", names[a], names[b]);
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
	say("%s: keeper crashes", names[n]);
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
			broken("%s cannot be decoded", session_frame_name(raw.type));
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
		say("%s: keeper hangs", names[n]);
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

static void run_seed(void)
{
	int faults, n, p, i;

	rng = seed;
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
		broken("R-S7: %s has generation %d of mirror %d live, and %s neither holds it nor "
		       "has refused it",
		       names[n], nodes[n].mirrors[i].head, i, names[p]);
	for (n = 0; n < nodes_count; n++) {
		for (p = 0; p < nodes_count; p++) {
			if (p != n && nodes[n].ends[p].fsm.state != SESSION_OPEN)
				broken("R-S7: the session of %s with %s is not open", names[n],
				       names[p]);
			if (p != n && nodes[n].ends[p].peer_maintenance != nodes[p].maintenance)
				broken("R-S7: %s does not know of the maintenance of %s", names[n],
				       names[p]);
		}
	}
}

int main(int argc, char **argv)
{
	uint64_t seeds = 3000, first = 1;

	for (int k = 1; k < argc; k++) {
		if (strcmp(argv[k], "--trace") == 0) {
			trace = true;
		} else if (strcmp(argv[k], "--seeds") == 0 && k + 1 < argc) {
			seeds = strtoull(argv[++k], NULL, 10);
		} else if (strcmp(argv[k], "--seed") == 0 && k + 1 < argc) {
			first = strtoull(argv[++k], NULL, 10);
			seeds = 1;
		} else {
			fprintf(stderr, "usage: sim_session [--seeds N] [--seed S] [--trace]\n");
			return 2;
		}
	}
	for (seed = first; seed < first + seeds; seed++)
		run_seed();
	printf("figure: sim_session: %" PRIu64 " histories, %" PRIu64 " steps, %" PRIu64
	       " transfers, %" PRIu64 " results, %" PRIu64 " questions, %" PRIu64
	       " verified, %" PRIu64 " sessions ended by silence\n",
	       seeds, steps, transfers, reports, wants, verified, closes);
	if (seeds > 100 && (wants == 0 || verified == 0 || closes == 0)) {
		fprintf(stderr, "something was never tried\n");
		return 1;
	}
	return 0;
}
