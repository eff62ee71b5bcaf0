/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_world: mirrors with toy generations, the nodes that have them, and the links between
 * them, in virtual time. session_shell.h acts in it, sim_session.c breaks it.
 */
#ifndef TANDEM_SESSION_WORLD_H
#define TANDEM_SESSION_WORLD_H

#include <assert.h>

#include "syncd/session_fsm.h"
#include "tests/sim/sim.h"

#define NODES_MAX 3
#define MIRRORS_MAX 2
#define GENERATIONS_MAX 400
#define QUEUE_MAX 512
#define NEVER SESSION_NEVER_US
#define MS 1000ull
#define S 1000000ull

static const char *const names[NODES_MAX] = {"web1", "web2", "web3"};
static uint64_t now;

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

static inline int generation_by_id(const uint8_t *id)
{
	for (int i = 0; i < generations_count; i++) {
		if (memcmp(generations[i].id, id, SESSION_HASH_BYTES) == 0)
			return i;
	}
	return -1;
}

/* The same vector in the same mirror is the same generation: merges are made by each on its own. */
static inline int generation_get(int mirror, const uint32_t *vector, int author)
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
		uint64_t part = draw();

		memcpy(g->id + 8 * i, &part, 8);
	}
	for (int i = 0; i < NODES_MAX; i++) {
		if (i != author && chance(5))
			g->refused_by |= 1u << i;
	}
	return generations_count++;
}

static inline bool within(int a, int b)
{
	for (int i = 0; i < NODES_MAX; i++) {
		if (generations[a].vector[i] > generations[b].vector[i])
			return false;
	}
	return true;
}

static inline bool conflicting(int a, int b)
{
	return (generations[a].id[0] ^ generations[b].id[0]) % 8 == 0;
}

static inline enum session_relation relate(int local, int peer)
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

/* A frame on its way from n to p. */
static inline void post(int n, int p, const struct session_frame *frame)
{
	struct end *end = &nodes[p].ends[n];
	struct frame *slot;

	if (!nodes[n].ends[p].up)
		fail("R-S6", "%s sends %s to %s, to whom there is no connection", names[n],
		     session_frame_name(frame->type), names[p]);
	if (!end->up)
		return; /* the other side's link has noticed first */
	if (end->count == QUEUE_MAX)
		fail("R-S5", "a frame storm");
	slot = &end->queue[(end->first + end->count++) % QUEUE_MAX];
	slot->type = frame->type;
	slot->size = session_wire_encode(frame, slot->payload, sizeof(slot->payload));
	if (slot->size == 0)
		fail("R-S12", "%s cannot be encoded", session_frame_name(frame->type));
	slot->at = now + 100 + below(5 * MS);
	if (slot->at < end->last_at)
		slot->at = end->last_at;
	end->last_at = slot->at;
}

#endif
