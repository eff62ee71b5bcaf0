/* SPDX-License-Identifier: Apache-2.0 */
/* What a session can say, and when an offer or a question is due. */
#include <assert.h>
#include <string.h>

#include "syncd/session_private.h"

/* ---- small helpers ---- */

bool session_same_id(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, SESSION_HASH_BYTES) == 0;
}

void session_copy_id(uint8_t *to, const uint8_t *from)
{
	memcpy(to, from, SESSION_HASH_BYTES);
}

static size_t length(const char *text, size_t room)
{
	const char *end = memchr(text, 0, room);

	assert(end != NULL);
	return (size_t)(end - text);
}

/* Sentences without stdio: appends as much as there is room for. */
struct sentence {
	char *text;
	size_t at;
};

static void say(struct sentence *s, const char *part)
{
	size_t size = length(part, SESSION_REASON_ROOM);

	if (size > SESSION_REASON_ROOM - 1 - s->at)
		size = SESSION_REASON_ROOM - 1 - s->at;
	memcpy(s->text + s->at, part, size);
	s->at += size;
	s->text[s->at] = '\0';
}

struct session_action *session_act(struct session_actions *out, enum session_action_kind kind,
				   int mirror)
{
	struct session_action *action;

	assert(out->count < SESSION_ACTIONS_MAX);
	action = &out->items[out->count++];
	memset(action, 0, sizeof(*action));
	action->kind = kind;
	action->mirror = mirror;
	action->slot = (uint8_t)mirror;
	return action;
}

struct session_frame *session_act_send(struct session_actions *out, int mirror, uint8_t type)
{
	struct session_frame *frame;

	assert(out->frames_count < (int)(sizeof(out->frames) / sizeof(out->frames[0])));
	frame = &out->frames[out->frames_count++];
	memset(frame, 0, sizeof(*frame));
	frame->type = type;
	session_act(out, SESSION_ACT_SEND, mirror)->frame = frame;
	return frame;
}

void session_act_frame(struct session_actions *out, enum session_action_kind kind, int mirror,
		       const struct session_frame *frame)
{
	session_act(out, kind, mirror)->frame = frame;
}

static void become_closing(struct session_fsm *fsm, struct session_actions *out)
{
	fsm->state = SESSION_CLOSING;
	session_act(out, SESSION_ACT_CLOSE, 0)->reason = fsm->reason;
}

/* "TYPE frame from PEER refused: WHY". */
void session_close_for(struct session_fsm *fsm, uint8_t type, const char *why,
		       struct session_actions *out)
{
	struct sentence s = {fsm->reason, 0};

	say(&s, session_frame_name(type));
	say(&s, " frame from ");
	say(&s, fsm->conf.peer);
	say(&s, " refused: ");
	say(&s, why);
	become_closing(fsm, out);
}

/* "PEER did not WHAT within 30 s". */
void session_close_silent(struct session_fsm *fsm, const char *what, const char *limit, int mirror,
			  struct session_actions *out)
{
	struct sentence s = {fsm->reason, 0};

	say(&s, fsm->conf.peer);
	say(&s, " did not ");
	say(&s, what);
	if (mirror >= 0) {
		say(&s, " for mirror ");
		say(&s, fsm->conf.mirrors[mirror].name);
	}
	say(&s, " within ");
	say(&s, limit);
	become_closing(fsm, out);
}

void session_close_bad(struct session_fsm *fsm, const struct session_event *ev,
		       struct session_actions *out)
{
	struct sentence s = {fsm->reason, 0};

	say(&s, session_frame_name(ev->frame_type));
	say(&s, " frame from ");
	say(&s, fsm->conf.peer);
	say(&s, " refused: ");
	say(&s, session_verdict_text(ev->verdict));
	say(&s, " (");
	say(&s, session_verdict_name(ev->verdict));
	say(&s, ")");
	become_closing(fsm, out);
}

/* ---- offering ---- */

/* R-S3: a head that the peer lacks, may have, and has not answered for. */
bool session_offer_due(const struct session_mirror *m)
{
	const struct session_heads *h = &m->heads;

	if (m->state != SESSION_MIRROR_SHARED || m->tx != SESSION_TX_IDLE || !m->heads_known)
		return false;
	if (!h->local_present || !h->offerable)
		return false;
	if (m->answered && session_same_id(m->answered_id, h->local_id))
		return false;
	switch (h->relation) {
	case SESSION_LOCAL_AHEAD:
	case SESSION_CONCURRENT:
	case SESSION_UNRELATED:
		return true;
	case SESSION_RELATION_UNKNOWN:
	case SESSION_SAME:
	case SESSION_PEER_AHEAD:
		break;
	}
	return false;
}

/* The peer has something that is not held here, and nothing of it is on the way. */
bool session_want_due(const struct session_mirror *m)
{
	const struct session_heads *h = &m->heads;

	if (m->state != SESSION_MIRROR_SHARED || m->rx != SESSION_RX_IDLE || m->asked)
		return false;
	if (!m->heads_known || !h->peer_present || h->peer_held)
		return false;
	return h->relation == SESSION_PEER_AHEAD || h->relation == SESSION_CONCURRENT ||
	       h->relation == SESSION_UNRELATED;
}

void session_start_transfer(struct session_fsm *fsm, int i, const uint8_t *id, bool wanted,
			    bool has_base, const uint8_t *base, struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];
	struct session_action *action;

	assert(m->tx == SESSION_TX_IDLE); /* R-S2 */
	m->tx = SESSION_TX_SENDING;
	m->tx_transfer = fsm->transfer_next++;
	m->tx_wanted = wanted;
	m->tx_has_base = has_base;
	if (id != m->tx_id)
		session_copy_id(m->tx_id, id);
	action = session_act(out, SESSION_ACT_TRANSFER, i);
	action->transfer = m->tx_transfer;
	session_copy_id(action->id, id);
	action->has_base = has_base;
	if (has_base)
		session_copy_id(action->base, base);
}

/* Whatever may go out now, goes. */
void session_consider(struct session_fsm *fsm, int i, uint64_t now_us, struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];

	if (fsm->state != SESSION_OPEN || m->state != SESSION_MIRROR_SHARED)
		return;
	if (m->tx == SESSION_TX_IDLE && m->wanted) {
		m->wanted = false;
		session_start_transfer(fsm, i, m->wanted_id, true, m->wanted_has_base,
				       m->wanted_base, out);
	}
	if (session_offer_due(m) && (m->heads.made_here || now_us >= m->relay_us))
		session_start_transfer(fsm, i, m->heads.local_id, false, m->heads.has_base,
				       m->heads.base, out);
}

void session_send_want(struct session_fsm *fsm, int i, const uint8_t *id, uint64_t now_us,
		       struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];
	struct session_frame *frame = session_act_send(out, i, SESSION_WANT);

	frame->want.slot = (uint8_t)i;
	session_copy_id(frame->want.id, id);
	frame->want.has_base = m->heads_known && m->heads.has_base;
	if (frame->want.has_base)
		session_copy_id(frame->want.base, m->heads.base);
	m->asked = true;
	session_copy_id(m->asked_id, id);
	m->asked_silence_us = now_us + SESSION_SILENCE_US;
}

void session_send_verify(struct session_fsm *fsm, int i, bool answer, struct session_actions *out)
{
	const struct session_mirror *m = &fsm->mirrors[i];
	struct session_frame *frame = session_act_send(out, i, SESSION_VERIFY);

	frame->verify.slot = (uint8_t)i;
	frame->verify.answer = answer;
	session_copy_id(frame->verify.id, m->scanned_id);
	session_copy_id(frame->verify.tree, m->scanned_tree);
}
