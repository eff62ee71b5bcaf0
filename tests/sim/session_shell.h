/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_shell: as much of a keeper as a session sees: it takes frames apart, sends transfers bit
 * by bit, applies what it has received, and tells the core what became of it. Every action of the
 * core passes through here, and is held against R-S1 ... of docs/INVARIANTS.md.
 */
#ifndef TANDEM_SESSION_SHELL_H
#define TANDEM_SESSION_SHELL_H

#include "tests/sim/session_world.h"

static void step(int n, int p, struct session_event *ev);
static void link_down(int a, int b, uint64_t for_us);

/* The toy header is the generation's number. */
static inline void put_header(uint8_t *header, int g)
{
	memcpy(header, &g, sizeof(g));
}

static inline int get_header(const uint8_t *header, size_t size)
{
	int g;

	assert(size == sizeof(g));
	memcpy(&g, header, sizeof(g));
	assert(g >= 0 && g < generations_count);
	return g;
}

static inline void tell_heads(int n, int p, int i)
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

static inline void tell_all(int n, int i)
{
	for (int p = 0; p < nodes_count; p++) {
		if (p != n)
			tell_heads(n, p, i);
	}
}

static inline void tell_result(int n, int p, int i, int g, uint32_t transfer,
			       enum session_outcome outcome)
{
	struct session_event ev = {.kind = SESSION_EV_RESULT,
				   .now_us = now,
				   .mirror = i,
				   .transfer = transfer,
				   .outcome = outcome};

	memcpy(ev.id, generations[g].id, SESSION_HASH_BYTES);
	step(n, p, &ev);
}

static inline void scanned(int n, int i)
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
static inline void apply(int n, int i, int g)
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
	tell("%s mirror %d: generation %d %s, head %d", names[n], i, g,
	     session_outcome_name(outcome), m->head);
	for (int p = 0; p < nodes_count; p++) {
		if (p != n)
			tell_result(n, p, i, g, 0, outcome);
	}
	if (m->head != head)
		tell_all(n, i);
}

static inline void edit(int n, int i)
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
	tell("%s mirror %d: edit, generation %d", names[n], i, g);
	tell_all(n, i);
}

/* ---- what the shell does with actions ---- */

static inline void on_receive(int n, int p, int i, const struct session_frame *frame)
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
			fail("R-S8", "END of transfer %u, %u is received", frame->end.transfer,
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

static inline void on_transfer(int n, int p, const struct session_action *a)
{
	struct end *end = &nodes[n].ends[p];
	int i = a->mirror, g = generation_by_id(a->id);

	transfers++;
	if (end->sending[i])
		fail("R-S2", "two transfers of mirror %d from %s to %s", i, names[n], names[p]);
	if (a->kind == SESSION_ACT_TRANSFER) {
		if (a->transfer <= end->last_transfer)
			fail("R-S2", "transfer number %u after %u", a->transfer,
			     end->last_transfer);
		end->last_transfer = a->transfer;
		if (g != nodes[n].mirrors[i].head && !end->want_in[i])
			fail("R-S4", "%s offers %d, its head is %d", names[n], g,
			     nodes[n].mirrors[i].head);
		if (end->answered_final[i][g] && !end->want_in[i])
			fail("R-S3", "%s offers %d again, %s has answered it", names[n], g,
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
	tell("%s -> %s mirror %d: transfer %u of generation %d%s", names[n], names[p], i,
	     a->transfer, g, a->has_base ? " with a base" : "");
}

/* One frame of a transfer that is being sent. */
static inline void send_some(int n, int p, int i)
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

static inline void on_report(int n, int p, int i, const struct session_result *result)
{
	int g = generation_by_id(result->id);

	reports++;
	if (g < 0)
		fail("R-S9", "a result for a generation that does not exist");
	tell("%s: %s says of generation %d: %s", names[n], names[p], g,
	     session_outcome_name((enum session_outcome)result->outcome));
	/* What failed is tried again; an ABSENT answers a question, not an offer; and what is said
	 * of a generation before it is this node's head is not remembered. */
	if (g == nodes[n].mirrors[i].head &&
	    session_outcome_final((enum session_outcome)result->outcome) &&
	    result->outcome != SESSION_FAILED && result->outcome != SESSION_ABSENT)
		nodes[n].ends[p].answered_final[i][g] = true;
}

static inline void act(int n, int p, const struct session_action *a)
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
			fail("R-S1", "%s says %s before the greeting", names[n],
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
			fail("R-S1", "mirror %d is %s, not shared", i,
			     session_mirror_state_name(a->mirror_state));
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
			fail("R-S2", "STOP_SENDING of what is not being sent");
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
		fail("R-S9", "two trees of one generation differ, in a world where they cannot");
	case SESSION_ACT_WALK_ASKED:
	case SESSION_ACT_WALK_ANSWERED:
		break;
	case SESSION_ACT_SYNC:
		memset(end->answered_final[i], 0, sizeof(end->answered_final[i]));
		break;
	case SESSION_ACT_CLOSE:
		closes++;
		tell("%s closes: %s", names[n], a->reason);
		if (strstr(a->reason, "refused"))
			fail("R-S11", "%s: %s", names[n], a->reason);
		link_down(n, p, 100 * MS + below(2 * S));
		break;
	case SESSION_ACTIONS:
		assert(!"no such action");
	}
}

static inline void step(int n, int p, struct session_event *ev)
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
	tell("%s with %s: %s in %s", names[n], names[p], session_event_name(ev->kind),
	     session_state_name(end->fsm.state));
	session_fsm_step(&end->fsm, ev, &out);
	deadline = session_fsm_deadline(&end->fsm);
	if (ev->kind == SESSION_EV_TICK && deadline <= now)
		fail("R-S10", "%s: deadline %" PRIu64 " after a tick at %" PRIu64, names[n],
		     deadline, now);
	if (!was_up && ev->kind != SESSION_EV_UP && ev->kind != SESSION_EV_DOWN && out.count > 0)
		fail("R-S6", "%s acts on %s without a connection", names[n],
		     session_event_name(ev->kind));
	for (int k = 0; k < out.count; k++) {
		/* What an action before did may have ended the connection. */
		if (was_up && !end->up && ev->kind != SESSION_EV_DOWN)
			break;
		tell("%s with %s: -> %s", names[n], names[p],
		     session_action_name(out.items[k].kind));
		act(n, p, &out.items[k]);
	}
}

#endif
