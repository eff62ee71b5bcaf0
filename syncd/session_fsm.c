/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/session_fsm.h"

#include <assert.h>
#include <string.h>

#include "syncd/session_private.h"

/* ---- states ---- */

static void become_down(struct session_fsm *fsm, struct session_actions *out)
{
	fsm->state = SESSION_DOWN;
	for (int i = 0; i < fsm->conf.mirrors_count; i++) {
		struct session_mirror *m = &fsm->mirrors[i];

		if (m->tx == SESSION_TX_SENDING)
			session_act(out, SESSION_ACT_STOP_SENDING, i)->transfer = m->tx_transfer;
		if (m->rx != SESSION_RX_IDLE)
			session_act(out, SESSION_ACT_STOP_RECEIVING, i)->transfer = m->rx_transfer;
		m->tx = SESSION_TX_IDLE;
		m->rx = SESSION_RX_IDLE;
		m->rx_transfer = 0;
		m->state = SESSION_MIRROR_UNKNOWN;
		m->wanted = false;
		m->asked = false;
		m->walk = 0;
		m->heads.relation = SESSION_RELATION_UNKNOWN;
		m->heads.peer_present = false;
		/* An outcome that was still to come may have been lost with the connection: the
		 * offer is made again, and what the peer holds costs it one frame to say. */
		if (m->answered && !session_outcome_final(m->answered_outcome))
			m->answered = false;
	}
}

static void become_greeting(struct session_fsm *fsm, const struct session_event *ev,
			    struct session_actions *out)
{
	struct session_frame *frame;

	fsm->state = SESSION_GREETING;
	fsm->hello_deadline_us = ev->now_us + SESSION_HELLO_WAIT_US;
	fsm->transfer_next = 1;
	frame = session_act_send(out, 0, SESSION_HELLO);
	session_copy_id(frame->hello.config_hash, fsm->conf.config_hash);
	memcpy(frame->hello.software, fsm->conf.software, sizeof(frame->hello.software));
	memcpy(frame->hello.signed_by, ev->signed_by, sizeof(frame->hello.signed_by));
	frame->hello.mirrors_count = (uint8_t)fsm->conf.mirrors_count;
	for (int i = 0; i < fsm->conf.mirrors_count; i++) {
		memcpy(frame->hello.mirrors[i].name, fsm->conf.mirrors[i].name,
		       sizeof(frame->hello.mirrors[i].name));
		session_copy_id(frame->hello.mirrors[i].definition,
				fsm->conf.mirrors[i].definition);
	}
}

static void become_open(struct session_fsm *fsm, const struct session_frame *frame, uint64_t now_us,
			struct session_actions *out)
{
	const struct session_hello *hello = &frame->hello;

	fsm->state = SESSION_OPEN;
	session_act_frame(out, SESSION_ACT_OPEN, 0, frame);
	for (int i = 0; i < fsm->conf.mirrors_count; i++) {
		const struct session_conf_mirror *own = &fsm->conf.mirrors[i];
		struct session_mirror *m = &fsm->mirrors[i];

		m->state = SESSION_MIRROR_ABSENT;
		for (int j = 0; j < hello->mirrors_count; j++) {
			if (memcmp(own->name, hello->mirrors[j].name, sizeof(own->name)) != 0)
				continue;
			m->peer_slot = (uint8_t)j;
			m->state = session_same_id(own->definition, hello->mirrors[j].definition)
					   ? SESSION_MIRROR_SHARED
					   : SESSION_MIRROR_DEFINITION_DIFFERS;
		}
		session_act(out, SESSION_ACT_MIRROR, i)->mirror_state = m->state;
		if (m->state != SESSION_MIRROR_SHARED)
			continue;
		/* Its maker may be connecting at this very moment as well. */
		m->relay_us = now_us + SESSION_RELAY_DELAY_US;
		session_act(out, SESSION_ACT_SEND_HEAD, i);
	}
	if (fsm->maintenance)
		session_act_send(out, 0, SESSION_NODE)->node.maintenance = true;
}

/* ---- events of the shell ---- */

static void on_heads(struct session_fsm *fsm, int i, const struct session_event *ev,
		     struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];
	const struct session_heads *new = &ev->heads, *old = &m->heads;
	bool moved = !m->heads_known || new->local_present != old->local_present ||
		     (new->local_present && !session_same_id(new->local_id, old->local_id));
	bool peer_moved = !m->heads_known || new->peer_present != old->peer_present ||
			  (new->peer_present && !session_same_id(new->peer_id, old->peer_id));
	bool told = m->heads_known;

	m->heads = *new;
	m->heads_known = true;
	/* What is known of the peer's head from an earlier session is worth nothing. */
	if (fsm->state != SESSION_OPEN)
		m->heads.relation = SESSION_RELATION_UNKNOWN;
	if (moved)
		m->relay_us = ev->now_us + SESSION_RELAY_DELAY_US;
	if (peer_moved)
		m->want_us = ev->now_us + SESSION_WANT_DELAY_US;
	if (fsm->state != SESSION_OPEN || m->state != SESSION_MIRROR_SHARED)
		return;
	/* The first HEAD of a session was sent as it opened. */
	if (moved && told)
		session_act(out, SESSION_ACT_SEND_HEAD, i);
	session_consider(fsm, i, ev->now_us, out);
}

static void on_sent(struct session_fsm *fsm, int i, const struct session_event *ev)
{
	struct session_mirror *m = &fsm->mirrors[i];

	/* Stopped meanwhile, and the shell had finished first. */
	if (m->tx != SESSION_TX_SENDING || m->tx_transfer != ev->transfer)
		return;
	m->tx = SESSION_TX_AWAITING;
	m->tx_silence_us = ev->now_us + SESSION_SILENCE_US;
}

static void on_send_failed(struct session_fsm *fsm, int i, const struct session_event *ev,
			   struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];
	struct session_frame *frame;

	if (m->tx != SESSION_TX_SENDING || m->tx_transfer != ev->transfer)
		return;
	m->tx = SESSION_TX_IDLE;
	if (fsm->state != SESSION_OPEN)
		return;
	frame = session_act_send(out, i, SESSION_CANCEL);
	frame->cancel.slot = (uint8_t)i;
	frame->cancel.transfer = ev->transfer;
	frame->cancel.reason = ev->text;
	if (m->tx_wanted) {
		frame = session_act_send(out, i, SESSION_RESULT);
		frame->result.slot = (uint8_t)i;
		session_copy_id(frame->result.id, m->tx_id);
		frame->result.outcome = SESSION_ABSENT;
		frame->result.text = ev->text;
	} else {
		/* As if the peer had failed: tried again at the next full resync, not at once. */
		m->answered = true;
		session_copy_id(m->answered_id, m->tx_id);
		m->answered_outcome = SESSION_FAILED;
	}
	session_consider(fsm, i, ev->now_us, out);
}

static void on_needs(struct session_fsm *fsm, int i, const struct session_event *ev,
		     struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];
	struct session_frame *frame;
	bool objects = ev->kind == SESSION_EV_NEED_OBJECTS;
	size_t count = ev->hashes_count;

	if (fsm->state != SESSION_OPEN || m->rx == SESSION_RX_IDLE ||
	    m->rx_transfer != ev->transfer)
		return;
	if (count > SESSION_NEED_HASHES_MAX)
		count = SESSION_NEED_HASHES_MAX;
	frame = session_act_send(out, i, SESSION_NEED);
	frame->need.slot = (uint8_t)i;
	frame->need.transfer = ev->transfer;
	if (objects) {
		assert(m->rx == SESSION_RX_DECIDING && count > 0);
		frame->need.kind = SESSION_NEED_OBJECTS;
		frame->need.count = (uint16_t)count;
		frame->need.hashes = ev->hashes;
		m->rx = SESSION_RX_NEEDING;
		m->rx_silence_us = ev->now_us + SESSION_SILENCE_US;
	} else {
		/* A new offer comes; the rest of this one is late from now on. */
		frame->need.kind = SESSION_NEED_MANIFEST;
		m->rx = SESSION_RX_IDLE;
		m->want_us = ev->now_us + SESSION_WANT_DELAY_US;
	}
}

static void on_own_result(struct session_fsm *fsm, int i, const struct session_event *ev,
			  struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];
	struct session_frame *frame;

	if (fsm->state != SESSION_OPEN || m->state != SESSION_MIRROR_SHARED)
		return;
	/* transfer 0: later news of a generation whose transfer has been answered. */
	if (ev->transfer != 0 && ev->transfer == m->rx_transfer) {
		m->rx = SESSION_RX_IDLE;
		m->want_us = ev->now_us + SESSION_WANT_DELAY_US;
	}
	frame = session_act_send(out, i, SESSION_RESULT);
	frame->result.slot = (uint8_t)i;
	session_copy_id(frame->result.id, ev->id);
	frame->result.outcome = (uint8_t)ev->outcome;
	frame->result.text = ev->text;
}

static void on_walk_ask(struct session_fsm *fsm, int i, const struct session_event *ev,
			struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];
	struct session_frame *frame;

	if (fsm->state != SESSION_OPEN || m->state != SESSION_MIRROR_SHARED)
		return;
	if (++m->walk_next == 0)
		m->walk_next = 1;
	m->walk = m->walk_next;
	m->walk_silence_us = ev->now_us + SESSION_SILENCE_US;
	frame = session_act_send(out, i, SESSION_WALK_ASK);
	frame->walk_ask.slot = (uint8_t)i;
	frame->walk_ask.walk = m->walk;
	frame->walk_ask.path = ev->path;
	frame->walk_ask.after = ev->after;
}

/* Events that only touch one mirror, in any state. */
static void step_mirror(struct session_fsm *fsm, const struct session_event *ev,
			struct session_actions *out)
{
	int i = ev->mirror;
	struct session_mirror *m;
	bool shared;

	assert(i >= 0 && i < fsm->conf.mirrors_count);
	m = &fsm->mirrors[i];
	shared = fsm->state == SESSION_OPEN && m->state == SESSION_MIRROR_SHARED;
	switch (ev->kind) {
	case SESSION_EV_HEADS:
		on_heads(fsm, i, ev, out);
		break;
	case SESSION_EV_SENT:
		on_sent(fsm, i, ev);
		break;
	case SESSION_EV_SEND_FAILED:
		on_send_failed(fsm, i, ev, out);
		break;
	case SESSION_EV_NEED_MANIFEST:
	case SESSION_EV_NEED_OBJECTS:
		on_needs(fsm, i, ev, out);
		break;
	case SESSION_EV_RESULT:
		on_own_result(fsm, i, ev, out);
		break;
	case SESSION_EV_WANT:
		if (shared)
			session_send_want(fsm, i, ev->id, ev->now_us, out);
		break;
	case SESSION_EV_SCANNED:
		m->scanned = true;
		session_copy_id(m->scanned_id, ev->id);
		session_copy_id(m->scanned_tree, ev->tree);
		if (shared)
			session_send_verify(fsm, i, false, out);
		break;
	case SESSION_EV_WALK_ASK:
		on_walk_ask(fsm, i, ev, out);
		break;
	case SESSION_EV_WALK_ANSWER:
		assert(ev->frame->type == SESSION_WALK_ANSWER);
		if (shared) {
			struct session_frame *frame = session_act_send(out, i, SESSION_WALK_ANSWER);

			*frame = *ev->frame;
			frame->walk_answer.slot = (uint8_t)i;
		}
		break;
	case SESSION_EV_SYNC:
		m->answered = false;
		if (shared) {
			session_act_send(out, i, SESSION_SYNC_REQUEST)->sync_request.slot =
				(uint8_t)i;
			session_consider(fsm, i, ev->now_us, out);
		}
		break;
	case SESSION_EV_UP:
	case SESSION_EV_DOWN:
	case SESSION_EV_FRAME:
	case SESSION_EV_BAD_FRAME:
	case SESSION_EV_TICK:
	case SESSION_EV_NODE:
	case SESSION_EVENTS:
		assert(!"not an event of one mirror");
	}
}

static void step_tick(struct session_fsm *fsm, uint64_t now_us, struct session_actions *out)
{
	if (fsm->state == SESSION_GREETING && now_us >= fsm->hello_deadline_us) {
		session_close_silent(fsm, "say hello", "5 s", -1, out);
		return;
	}
	if (fsm->state != SESSION_OPEN)
		return;
	for (int i = 0; i < fsm->conf.mirrors_count; i++) {
		struct session_mirror *m = &fsm->mirrors[i];

		if (m->tx == SESSION_TX_AWAITING && now_us >= m->tx_silence_us) {
			session_close_silent(fsm, "answer a transfer", "30 s", i, out);
			return;
		}
		if ((m->rx == SESSION_RX_RECEIVING || m->rx == SESSION_RX_NEEDING) &&
		    now_us >= m->rx_silence_us) {
			session_close_silent(fsm, "go on with a transfer", "30 s", i, out);
			return;
		}
		if (m->asked && now_us >= m->asked_silence_us) {
			/* It may be sending something else first: then that is on the clock. */
			if (m->rx == SESSION_RX_IDLE) {
				session_close_silent(fsm, "bring the generation that was wanted",
						     "30 s", i, out);
				return;
			}
			m->asked_silence_us = now_us + SESSION_SILENCE_US;
		}
		if (m->walk != 0 && now_us >= m->walk_silence_us) {
			session_close_silent(fsm, "answer a question", "30 s", i, out);
			return;
		}
		if (session_want_due(m) && now_us >= m->want_us)
			session_send_want(fsm, i, m->heads.peer_id, now_us, out);
		session_consider(fsm, i, now_us, out);
	}
}

void session_fsm_init(struct session_fsm *fsm, const struct session_conf *conf)
{
	assert(conf->mirrors_count >= 0 && conf->mirrors_count <= SESSION_MIRRORS_MAX);
	memset(fsm, 0, sizeof(*fsm));
	fsm->conf = *conf;
	fsm->state = SESSION_DOWN;
}

static void step_down(struct session_fsm *fsm, const struct session_event *ev,
		      struct session_actions *out)
{
	switch (ev->kind) {
	case SESSION_EV_UP:
		become_greeting(fsm, ev, out);
		break;
	case SESSION_EV_DOWN:
	case SESSION_EV_FRAME:
	case SESSION_EV_BAD_FRAME:
	case SESSION_EV_TICK:
		/* Of a connection that has gone. */
		break;
	default:
		step_mirror(fsm, ev, out);
	}
}

static void step_greeting(struct session_fsm *fsm, const struct session_event *ev,
			  struct session_actions *out)
{
	switch (ev->kind) {
	case SESSION_EV_UP:
		assert(!"two connections at once");
		break;
	case SESSION_EV_DOWN:
		become_down(fsm, out);
		break;
	case SESSION_EV_FRAME:
		if (ev->frame->type == SESSION_HELLO)
			become_open(fsm, ev->frame, ev->now_us, out);
		else
			session_close_for(fsm, ev->frame->type, "it comes before HELLO", out);
		break;
	case SESSION_EV_BAD_FRAME:
		session_close_bad(fsm, ev, out);
		break;
	case SESSION_EV_TICK:
		step_tick(fsm, ev->now_us, out);
		break;
	default:
		step_mirror(fsm, ev, out);
	}
}

static void step_open(struct session_fsm *fsm, const struct session_event *ev,
		      struct session_actions *out)
{
	switch (ev->kind) {
	case SESSION_EV_UP:
		assert(!"two connections at once");
		break;
	case SESSION_EV_DOWN:
		become_down(fsm, out);
		break;
	case SESSION_EV_FRAME:
		session_step_frame(fsm, ev, out);
		break;
	case SESSION_EV_BAD_FRAME:
		session_close_bad(fsm, ev, out);
		break;
	case SESSION_EV_TICK:
		step_tick(fsm, ev->now_us, out);
		break;
	default:
		step_mirror(fsm, ev, out);
	}
}

static void step_closing(struct session_fsm *fsm, const struct session_event *ev,
			 struct session_actions *out)
{
	switch (ev->kind) {
	case SESSION_EV_UP:
		assert(!"DOWN comes first");
		break;
	case SESSION_EV_DOWN:
		become_down(fsm, out);
		break;
	case SESSION_EV_FRAME:
	case SESSION_EV_BAD_FRAME:
	case SESSION_EV_TICK:
		break;
	default:
		step_mirror(fsm, ev, out);
	}
}

/* In any state: what is not said now is said with HELLO. */
static void on_node(struct session_fsm *fsm, const struct session_event *ev,
		    struct session_actions *out)
{
	if (fsm->maintenance == ev->maintenance)
		return;
	fsm->maintenance = ev->maintenance;
	if (fsm->state == SESSION_OPEN)
		session_act_send(out, 0, SESSION_NODE)->node.maintenance = ev->maintenance;
}

void session_fsm_step(struct session_fsm *fsm, const struct session_event *ev,
		      struct session_actions *out)
{
	out->count = 0;
	out->frames_count = 0;
	if (ev->kind == SESSION_EV_NODE) {
		on_node(fsm, ev, out);
		return;
	}
	switch (fsm->state) {
	case SESSION_DOWN:
		step_down(fsm, ev, out);
		break;
	case SESSION_GREETING:
		step_greeting(fsm, ev, out);
		break;
	case SESSION_OPEN:
		step_open(fsm, ev, out);
		break;
	case SESSION_CLOSING:
		step_closing(fsm, ev, out);
		break;
	case SESSION_STATES:
		assert(!"no such state");
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t session_fsm_deadline(const struct session_fsm *fsm)
{
	uint64_t deadline_us = SESSION_NEVER_US;

	if (fsm->state == SESSION_GREETING)
		return fsm->hello_deadline_us;
	if (fsm->state != SESSION_OPEN)
		return SESSION_NEVER_US;
	for (int i = 0; i < fsm->conf.mirrors_count; i++) {
		const struct session_mirror *m = &fsm->mirrors[i];

		if (m->tx == SESSION_TX_AWAITING)
			deadline_us = earlier(deadline_us, m->tx_silence_us);
		if (m->rx == SESSION_RX_RECEIVING || m->rx == SESSION_RX_NEEDING)
			deadline_us = earlier(deadline_us, m->rx_silence_us);
		if (m->asked)
			deadline_us = earlier(deadline_us, m->asked_silence_us);
		if (m->walk != 0)
			deadline_us = earlier(deadline_us, m->walk_silence_us);
		if (session_want_due(m))
			deadline_us = earlier(deadline_us, m->want_us);
		if (session_offer_due(m))
			deadline_us = earlier(deadline_us, m->relay_us);
	}
	return deadline_us;
}

/* ---- names ---- */

static const char *const state_names[SESSION_STATES] = {
	[SESSION_DOWN] = "DOWN",
	[SESSION_GREETING] = "GREETING",
	[SESSION_OPEN] = "OPEN",
	[SESSION_CLOSING] = "CLOSING",
};

static const char *const mirror_state_names[SESSION_MIRROR_STATES] = {
	[SESSION_MIRROR_UNKNOWN] = "unknown",
	[SESSION_MIRROR_SHARED] = "shared",
	[SESSION_MIRROR_ABSENT] = "absent there",
	[SESSION_MIRROR_DEFINITION_DIFFERS] = "defined differently there",
};

static const char *const event_names[SESSION_EVENTS] = {
	[SESSION_EV_UP] = "UP",
	[SESSION_EV_DOWN] = "DOWN",
	[SESSION_EV_FRAME] = "FRAME",
	[SESSION_EV_BAD_FRAME] = "BAD_FRAME",
	[SESSION_EV_HEADS] = "HEADS",
	[SESSION_EV_SENT] = "SENT",
	[SESSION_EV_SEND_FAILED] = "SEND_FAILED",
	[SESSION_EV_NEED_MANIFEST] = "NEED_MANIFEST",
	[SESSION_EV_NEED_OBJECTS] = "NEED_OBJECTS",
	[SESSION_EV_RESULT] = "RESULT",
	[SESSION_EV_WANT] = "WANT",
	[SESSION_EV_SCANNED] = "SCANNED",
	[SESSION_EV_WALK_ASK] = "WALK_ASK",
	[SESSION_EV_WALK_ANSWER] = "WALK_ANSWER",
	[SESSION_EV_SYNC] = "SYNC",
	[SESSION_EV_NODE] = "NODE",
	[SESSION_EV_TICK] = "TICK",
};

static const char *const action_names[SESSION_ACTIONS] = {
	[SESSION_ACT_SEND] = "SEND",
	[SESSION_ACT_SEND_HEAD] = "SEND_HEAD",
	[SESSION_ACT_MIRROR] = "MIRROR",
	[SESSION_ACT_OPEN] = "OPEN",
	[SESSION_ACT_PEER_HEAD] = "PEER_HEAD",
	[SESSION_ACT_TRANSFER] = "TRANSFER",
	[SESSION_ACT_CONTENTS] = "CONTENTS",
	[SESSION_ACT_STOP_SENDING] = "STOP_SENDING",
	[SESSION_ACT_RECEIVE] = "RECEIVE",
	[SESSION_ACT_STOP_RECEIVING] = "STOP_RECEIVING",
	[SESSION_ACT_REPORT] = "REPORT",
	[SESSION_ACT_VERIFIED] = "VERIFIED",
	[SESSION_ACT_DESCEND] = "DESCEND",
	[SESSION_ACT_WALK_ASKED] = "WALK_ASKED",
	[SESSION_ACT_WALK_ANSWERED] = "WALK_ANSWERED",
	[SESSION_ACT_SYNC] = "SYNC",
	[SESSION_ACT_PEER_NODE] = "PEER_NODE",
	[SESSION_ACT_CLOSE] = "CLOSE",
};

const char *session_state_name(enum session_state state)
{
	return (unsigned)state < SESSION_STATES ? state_names[state] : "?";
}

const char *session_mirror_state_name(enum session_mirror_state state)
{
	return (unsigned)state < SESSION_MIRROR_STATES ? mirror_state_names[state] : "?";
}

const char *session_event_name(enum session_event_kind kind)
{
	return (unsigned)kind < SESSION_EVENTS ? event_names[kind] : "?";
}

const char *session_action_name(enum session_action_kind kind)
{
	return (unsigned)kind < SESSION_ACTIONS ? action_names[kind] : "?";
}
