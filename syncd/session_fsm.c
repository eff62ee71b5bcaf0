/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/session_fsm.h"

#include <assert.h>
#include <string.h>

/* ---- small helpers ---- */

static bool same_id(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, SESSION_HASH_BYTES) == 0;
}

static void copy_id(uint8_t *to, const uint8_t *from)
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

static void say_string(struct sentence *s, struct session_string string)
{
	size_t size = string.size;

	if (size > SESSION_REASON_ROOM - 1 - s->at)
		size = SESSION_REASON_ROOM - 1 - s->at;
	if (size > 0)
		memcpy(s->text + s->at, string.bytes, size);
	s->at += size;
	s->text[s->at] = '\0';
}

static struct session_action *act(struct session_actions *out, enum session_action_kind kind,
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

static struct session_frame *act_send(struct session_actions *out, int mirror, uint8_t type)
{
	struct session_frame *frame;

	assert(out->frames_count < (int)(sizeof(out->frames) / sizeof(out->frames[0])));
	frame = &out->frames[out->frames_count++];
	memset(frame, 0, sizeof(*frame));
	frame->type = type;
	act(out, SESSION_ACT_SEND, mirror)->frame = frame;
	return frame;
}

static void act_frame(struct session_actions *out, enum session_action_kind kind, int mirror,
		      const struct session_frame *frame)
{
	act(out, kind, mirror)->frame = frame;
}

static void become_closing(struct session_fsm *fsm, struct session_actions *out)
{
	fsm->state = SESSION_CLOSING;
	act(out, SESSION_ACT_CLOSE, 0)->reason = fsm->reason;
}

/* "TYPE frame from PEER refused: WHY". */
static void close_for(struct session_fsm *fsm, uint8_t type, const char *why,
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
static void close_silent(struct session_fsm *fsm, const char *what, const char *limit, int mirror,
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

/* ---- offering ---- */

/* R-S3: a head that the peer lacks, may have, and has not answered for. */
static bool offer_due(const struct session_mirror *m)
{
	const struct session_heads *h = &m->heads;

	if (m->state != SESSION_MIRROR_SHARED || m->tx != SESSION_TX_IDLE || !m->heads_known)
		return false;
	if (!h->local_present || !h->offerable)
		return false;
	if (m->answered && same_id(m->answered_id, h->local_id))
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
static bool want_due(const struct session_mirror *m)
{
	const struct session_heads *h = &m->heads;

	if (m->state != SESSION_MIRROR_SHARED || m->rx != SESSION_RX_IDLE || m->asked)
		return false;
	if (!m->heads_known || !h->peer_present || h->peer_held)
		return false;
	return h->relation == SESSION_PEER_AHEAD || h->relation == SESSION_CONCURRENT ||
	       h->relation == SESSION_UNRELATED;
}

static void start_transfer(struct session_fsm *fsm, int i, const uint8_t *id, bool wanted,
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
		copy_id(m->tx_id, id);
	action = act(out, SESSION_ACT_TRANSFER, i);
	action->transfer = m->tx_transfer;
	copy_id(action->id, id);
	action->has_base = has_base;
	if (has_base)
		copy_id(action->base, base);
}

/* Whatever may go out now, goes. */
static void consider(struct session_fsm *fsm, int i, uint64_t now_us, struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];

	if (fsm->state != SESSION_OPEN || m->state != SESSION_MIRROR_SHARED)
		return;
	if (m->tx == SESSION_TX_IDLE && m->wanted) {
		m->wanted = false;
		start_transfer(fsm, i, m->wanted_id, true, m->wanted_has_base, m->wanted_base, out);
	}
	if (offer_due(m) && (m->heads.made_here || now_us >= m->relay_us))
		start_transfer(fsm, i, m->heads.local_id, false, m->heads.has_base, m->heads.base,
			       out);
}

static void send_want(struct session_fsm *fsm, int i, const uint8_t *id, uint64_t now_us,
		      struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];
	struct session_frame *frame = act_send(out, i, SESSION_WANT);

	frame->want.slot = (uint8_t)i;
	copy_id(frame->want.id, id);
	frame->want.has_base = m->heads_known && m->heads.has_base;
	if (frame->want.has_base)
		copy_id(frame->want.base, m->heads.base);
	m->asked = true;
	copy_id(m->asked_id, id);
	m->asked_silence_us = now_us + SESSION_SILENCE_US;
}

static void send_verify(struct session_fsm *fsm, int i, bool answer, struct session_actions *out)
{
	const struct session_mirror *m = &fsm->mirrors[i];
	struct session_frame *frame = act_send(out, i, SESSION_VERIFY);

	frame->verify.slot = (uint8_t)i;
	frame->verify.answer = answer;
	copy_id(frame->verify.id, m->scanned_id);
	copy_id(frame->verify.tree, m->scanned_tree);
}

static void forget_answer(struct session_mirror *m)
{
	m->answered = false;
}

/* ---- states ---- */

static void become_down(struct session_fsm *fsm, struct session_actions *out)
{
	fsm->state = SESSION_DOWN;
	for (int i = 0; i < fsm->conf.mirrors_count; i++) {
		struct session_mirror *m = &fsm->mirrors[i];

		if (m->tx == SESSION_TX_SENDING)
			act(out, SESSION_ACT_STOP_SENDING, i)->transfer = m->tx_transfer;
		if (m->rx != SESSION_RX_IDLE)
			act(out, SESSION_ACT_STOP_RECEIVING, i)->transfer = m->rx_transfer;
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
			forget_answer(m);
	}
}

static void become_greeting(struct session_fsm *fsm, uint64_t now_us, struct session_actions *out)
{
	struct session_frame *frame;

	fsm->state = SESSION_GREETING;
	fsm->hello_deadline_us = now_us + SESSION_HELLO_WAIT_US;
	fsm->transfer_next = 1;
	frame = act_send(out, 0, SESSION_HELLO);
	copy_id(frame->hello.config_hash, fsm->conf.config_hash);
	memcpy(frame->hello.software, fsm->conf.software, sizeof(frame->hello.software));
	frame->hello.mirrors_count = (uint8_t)fsm->conf.mirrors_count;
	for (int i = 0; i < fsm->conf.mirrors_count; i++) {
		memcpy(frame->hello.mirrors[i].name, fsm->conf.mirrors[i].name,
		       sizeof(frame->hello.mirrors[i].name));
		copy_id(frame->hello.mirrors[i].definition, fsm->conf.mirrors[i].definition);
	}
}

static void become_open(struct session_fsm *fsm, const struct session_frame *frame, uint64_t now_us,
			struct session_actions *out)
{
	const struct session_hello *hello = &frame->hello;

	fsm->state = SESSION_OPEN;
	act_frame(out, SESSION_ACT_OPEN, 0, frame);
	for (int i = 0; i < fsm->conf.mirrors_count; i++) {
		const struct session_conf_mirror *own = &fsm->conf.mirrors[i];
		struct session_mirror *m = &fsm->mirrors[i];

		m->state = SESSION_MIRROR_ABSENT;
		for (int j = 0; j < hello->mirrors_count; j++) {
			if (memcmp(own->name, hello->mirrors[j].name, sizeof(own->name)) != 0)
				continue;
			m->peer_slot = (uint8_t)j;
			m->state = same_id(own->definition, hello->mirrors[j].definition)
					   ? SESSION_MIRROR_SHARED
					   : SESSION_MIRROR_DEFINITION_DIFFERS;
		}
		act(out, SESSION_ACT_MIRROR, i)->mirror_state = m->state;
		if (m->state != SESSION_MIRROR_SHARED)
			continue;
		/* Its maker may be connecting at this very moment as well. */
		m->relay_us = now_us + SESSION_RELAY_DELAY_US;
		act(out, SESSION_ACT_SEND_HEAD, i);
	}
}

/* ---- frames of an open session ---- */

/* The shared mirror that the peer calls by slot; -1 if there is none. */
static int mirror_of(const struct session_fsm *fsm, uint8_t slot)
{
	for (int i = 0; i < fsm->conf.mirrors_count; i++) {
		if (fsm->mirrors[i].state == SESSION_MIRROR_SHARED &&
		    fsm->mirrors[i].peer_slot == slot)
			return i;
	}
	return -1;
}

static void on_offer(struct session_fsm *fsm, int i, const struct session_event *ev,
		     struct session_actions *out)
{
	const struct session_offer *offer = &ev->frame->offer;
	struct session_mirror *m = &fsm->mirrors[i];

	if (offer->transfer <= m->rx_transfer) {
		close_for(fsm, SESSION_OFFER, "its transfer number was used before", out);
		return;
	}
	/* The peer has given the one before up, whether it said so or not. */
	if (m->rx != SESSION_RX_IDLE)
		act(out, SESSION_ACT_STOP_RECEIVING, i)->transfer = m->rx_transfer;
	m->rx = SESSION_RX_RECEIVING;
	m->rx_transfer = offer->transfer;
	m->rx_entries_left = offer->entries_count;
	m->rx_silence_us = ev->now_us + SESSION_SILENCE_US;
	m->asked = false;
	act_frame(out, SESSION_ACT_RECEIVE, i, ev->frame);
}

/* ENTRIES, CONTENT and END: R-S8. True if it belongs to the transfer that is being received. */
static bool belongs(struct session_fsm *fsm, int i, uint32_t transfer,
		    const struct session_event *ev, struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];

	if (transfer > m->rx_transfer) {
		close_for(fsm, ev->frame->type, "it belongs to no offer", out);
		return false;
	}
	/* Late: the transfer has been answered, and this was on its way already. */
	if (transfer < m->rx_transfer || m->rx == SESSION_RX_IDLE)
		return false;
	if (m->rx == SESSION_RX_DECIDING) {
		close_for(fsm, ev->frame->type, "its transfer has ended", out);
		return false;
	}
	m->rx_silence_us = ev->now_us + SESSION_SILENCE_US;
	return true;
}

static void on_entries(struct session_fsm *fsm, int i, const struct session_event *ev,
		       struct session_actions *out)
{
	const struct session_entries *entries = &ev->frame->entries;
	struct session_mirror *m = &fsm->mirrors[i];

	if (!belongs(fsm, i, entries->transfer, ev, out))
		return;
	if (entries->count > m->rx_entries_left) {
		close_for(fsm, SESSION_ENTRIES, "more entries come than were announced", out);
		return;
	}
	m->rx_entries_left -= entries->count;
	act_frame(out, SESSION_ACT_RECEIVE, i, ev->frame);
}

static void on_content(struct session_fsm *fsm, int i, const struct session_event *ev,
		       struct session_actions *out)
{
	if (!belongs(fsm, i, ev->frame->content.transfer, ev, out))
		return;
	if (fsm->mirrors[i].rx_entries_left > 0) {
		close_for(fsm, SESSION_CONTENT, "it comes before the last of the entries", out);
		return;
	}
	act_frame(out, SESSION_ACT_RECEIVE, i, ev->frame);
}

static void on_end(struct session_fsm *fsm, int i, const struct session_event *ev,
		   struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];

	if (!belongs(fsm, i, ev->frame->end.transfer, ev, out))
		return;
	if (m->rx_entries_left > 0) {
		close_for(fsm, SESSION_END, "fewer entries came than were announced", out);
		return;
	}
	m->rx = SESSION_RX_DECIDING;
	act_frame(out, SESSION_ACT_RECEIVE, i, ev->frame);
}

static void on_need(struct session_fsm *fsm, int i, const struct session_event *ev,
		    struct session_actions *out)
{
	const struct session_need_frame *need = &ev->frame->need;
	struct session_mirror *m = &fsm->mirrors[i];

	/* Late: that transfer was given up here. */
	if (m->tx == SESSION_TX_IDLE || need->transfer < m->tx_transfer)
		return;
	if (need->transfer > m->tx_transfer) {
		close_for(fsm, SESSION_NEED, "there was no such offer", out);
		return;
	}
	if (need->kind == SESSION_NEED_MANIFEST) {
		if (!m->tx_has_base) {
			close_for(fsm, SESSION_NEED, "the offer had no base that could be missing",
				  out);
			return;
		}
		if (m->tx == SESSION_TX_SENDING)
			act(out, SESSION_ACT_STOP_SENDING, i)->transfer = m->tx_transfer;
		m->tx = SESSION_TX_IDLE;
		start_transfer(fsm, i, m->tx_id, m->tx_wanted, false, NULL, out);
		return;
	}
	if (m->tx != SESSION_TX_AWAITING) {
		close_for(fsm, SESSION_NEED, "the transfer has not ended yet", out);
		return;
	}
	m->tx = SESSION_TX_SENDING;
	struct session_action *action = act(out, SESSION_ACT_CONTENTS, i);

	action->transfer = m->tx_transfer;
	copy_id(action->id, m->tx_id);
	action->frame = ev->frame;
}

static void on_cancel(struct session_fsm *fsm, int i, const struct session_event *ev,
		      struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];

	if (m->rx == SESSION_RX_IDLE || ev->frame->cancel.transfer != m->rx_transfer)
		return;
	m->rx = SESSION_RX_IDLE;
	struct session_action *action = act(out, SESSION_ACT_STOP_RECEIVING, i);

	action->transfer = m->rx_transfer;
	action->frame = ev->frame;
	m->want_us = ev->now_us + SESSION_WANT_DELAY_US;
}

static void on_want(struct session_fsm *fsm, int i, const struct session_event *ev,
		    struct session_actions *out)
{
	const struct session_want *want = &ev->frame->want;
	struct session_mirror *m = &fsm->mirrors[i];

	/* It is on the way already. */
	if (m->tx != SESSION_TX_IDLE && same_id(m->tx_id, want->id))
		return;
	m->wanted = true;
	copy_id(m->wanted_id, want->id);
	m->wanted_has_base = want->has_base;
	if (want->has_base)
		copy_id(m->wanted_base, want->base);
	consider(fsm, i, ev->now_us, out);
}

static void on_result(struct session_fsm *fsm, int i, const struct session_event *ev,
		      struct session_actions *out)
{
	const struct session_result *result = &ev->frame->result;
	struct session_mirror *m = &fsm->mirrors[i];

	if (result->outcome == SESSION_ABSENT) {
		/* Said to one who asked; not an answer to an offer. */
		if (m->asked && same_id(m->asked_id, result->id)) {
			m->asked = false;
			m->want_us = ev->now_us + SESSION_WANT_DELAY_US;
		}
		act_frame(out, SESSION_ACT_REPORT, i, ev->frame);
		return;
	}
	if (m->tx != SESSION_TX_IDLE && same_id(m->tx_id, result->id)) {
		if (m->tx == SESSION_TX_SENDING)
			act(out, SESSION_ACT_STOP_SENDING, i)->transfer = m->tx_transfer;
		m->tx = SESSION_TX_IDLE;
	}
	if (m->heads_known && m->heads.local_present && same_id(m->heads.local_id, result->id)) {
		m->answered = true;
		copy_id(m->answered_id, result->id);
		m->answered_outcome = (enum session_outcome)result->outcome;
	}
	act_frame(out, SESSION_ACT_REPORT, i, ev->frame);
	consider(fsm, i, ev->now_us, out);
}

static void on_verify(struct session_fsm *fsm, int i, const struct session_event *ev,
		      struct session_actions *out)
{
	const struct session_verify *verify = &ev->frame->verify;
	struct session_mirror *m = &fsm->mirrors[i];

	if (!verify->answer && m->scanned)
		send_verify(fsm, i, true, out);
	if (m->scanned && same_id(m->scanned_id, verify->id)) {
		if (same_id(m->scanned_tree, verify->tree))
			copy_id(act(out, SESSION_ACT_VERIFIED, i)->id, verify->id);
		else if (verify->answer && m->walk == 0)
			act(out, SESSION_ACT_DESCEND, i);
		return;
	}
	/* What failed there for the world's reasons (a full disk, say) is tried again at each full
	 * resync; what was refused for its content is not (R-S3). */
	if (m->answered && m->answered_outcome == SESSION_FAILED)
		forget_answer(m);
	consider(fsm, i, ev->now_us, out);
}

static void step_frame(struct session_fsm *fsm, const struct session_event *ev,
		       struct session_actions *out)
{
	const struct session_frame *frame = ev->frame;
	uint8_t slot = 0;
	int i;

	switch (frame->type) {
	case SESSION_HEAD:
		slot = frame->head.slot;
		break;
	case SESSION_OFFER:
		slot = frame->offer.slot;
		break;
	case SESSION_ENTRIES:
		slot = frame->entries.slot;
		break;
	case SESSION_CONTENT:
		slot = frame->content.slot;
		break;
	case SESSION_END:
		slot = frame->end.slot;
		break;
	case SESSION_NEED:
		slot = frame->need.slot;
		break;
	case SESSION_CANCEL:
		slot = frame->cancel.slot;
		break;
	case SESSION_WANT:
		slot = frame->want.slot;
		break;
	case SESSION_RESULT:
		slot = frame->result.slot;
		break;
	case SESSION_VERIFY:
		slot = frame->verify.slot;
		break;
	case SESSION_WALK_ASK:
		slot = frame->walk_ask.slot;
		break;
	case SESSION_WALK_ANSWER:
		slot = frame->walk_answer.slot;
		break;
	case SESSION_SYNC_REQUEST:
		slot = frame->sync_request.slot;
		break;
	case SESSION_HELLO:
		close_for(fsm, frame->type, "there was one before", out);
		return;
	default:
		/* WELCOME, PING, PONG and BYE are the links' own. */
		close_for(fsm, frame->type, "it is not for a session", out);
		return;
	}
	i = mirror_of(fsm, slot);
	if (i < 0) {
		close_for(fsm, frame->type, "it names a mirror that the two nodes do not share",
			  out);
		return;
	}
	struct session_mirror *m = &fsm->mirrors[i];

	switch (frame->type) {
	case SESSION_HEAD:
		m->heads.relation = SESSION_RELATION_UNKNOWN;
		act_frame(out, SESSION_ACT_PEER_HEAD, i, frame);
		break;
	case SESSION_OFFER:
		on_offer(fsm, i, ev, out);
		break;
	case SESSION_ENTRIES:
		on_entries(fsm, i, ev, out);
		break;
	case SESSION_CONTENT:
		on_content(fsm, i, ev, out);
		break;
	case SESSION_END:
		on_end(fsm, i, ev, out);
		break;
	case SESSION_NEED:
		on_need(fsm, i, ev, out);
		break;
	case SESSION_CANCEL:
		on_cancel(fsm, i, ev, out);
		break;
	case SESSION_WANT:
		on_want(fsm, i, ev, out);
		break;
	case SESSION_RESULT:
		on_result(fsm, i, ev, out);
		break;
	case SESSION_VERIFY:
		on_verify(fsm, i, ev, out);
		break;
	case SESSION_WALK_ASK:
		act_frame(out, SESSION_ACT_WALK_ASKED, i, frame);
		break;
	case SESSION_WALK_ANSWER:
		if (m->walk != 0 && frame->walk_answer.walk == m->walk) {
			m->walk = 0;
			act_frame(out, SESSION_ACT_WALK_ANSWERED, i, frame);
		}
		break;
	case SESSION_SYNC_REQUEST:
		forget_answer(m);
		act(out, SESSION_ACT_SYNC, i);
		consider(fsm, i, ev->now_us, out);
		break;
	default:
		assert(!"the first switch let it through");
	}
}

/* ---- events of the shell ---- */

static void on_heads(struct session_fsm *fsm, int i, const struct session_event *ev,
		     struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];
	const struct session_heads *new = &ev->heads, *old = &m->heads;
	bool moved = !m->heads_known || new->local_present != old->local_present ||
		     (new->local_present && !same_id(new->local_id, old->local_id));
	bool peer_moved = !m->heads_known || new->peer_present != old->peer_present ||
			  (new->peer_present && !same_id(new->peer_id, old->peer_id));
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
		act(out, SESSION_ACT_SEND_HEAD, i);
	consider(fsm, i, ev->now_us, out);
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
	frame = act_send(out, i, SESSION_CANCEL);
	frame->cancel.slot = (uint8_t)i;
	frame->cancel.transfer = ev->transfer;
	frame->cancel.reason = ev->text;
	if (m->tx_wanted) {
		frame = act_send(out, i, SESSION_RESULT);
		frame->result.slot = (uint8_t)i;
		copy_id(frame->result.id, m->tx_id);
		frame->result.outcome = SESSION_ABSENT;
		frame->result.text = ev->text;
	} else {
		/* As if the peer had failed: tried again at the next full resync, not at once. */
		m->answered = true;
		copy_id(m->answered_id, m->tx_id);
		m->answered_outcome = SESSION_FAILED;
	}
	consider(fsm, i, ev->now_us, out);
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
	frame = act_send(out, i, SESSION_NEED);
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
	frame = act_send(out, i, SESSION_RESULT);
	frame->result.slot = (uint8_t)i;
	copy_id(frame->result.id, ev->id);
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
	frame = act_send(out, i, SESSION_WALK_ASK);
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
			send_want(fsm, i, ev->id, ev->now_us, out);
		break;
	case SESSION_EV_SCANNED:
		m->scanned = true;
		copy_id(m->scanned_id, ev->id);
		copy_id(m->scanned_tree, ev->tree);
		if (shared)
			send_verify(fsm, i, false, out);
		break;
	case SESSION_EV_WALK_ASK:
		on_walk_ask(fsm, i, ev, out);
		break;
	case SESSION_EV_WALK_ANSWER:
		assert(ev->frame->type == SESSION_WALK_ANSWER);
		if (shared) {
			struct session_frame *frame = act_send(out, i, SESSION_WALK_ANSWER);

			*frame = *ev->frame;
			frame->walk_answer.slot = (uint8_t)i;
		}
		break;
	case SESSION_EV_SYNC:
		forget_answer(m);
		if (shared) {
			act_send(out, i, SESSION_SYNC_REQUEST)->sync_request.slot = (uint8_t)i;
			consider(fsm, i, ev->now_us, out);
		}
		break;
	case SESSION_EV_UP:
	case SESSION_EV_DOWN:
	case SESSION_EV_FRAME:
	case SESSION_EV_BAD_FRAME:
	case SESSION_EV_TICK:
	case SESSION_EVENTS:
		assert(!"not an event of one mirror");
	}
}

static void step_tick(struct session_fsm *fsm, uint64_t now_us, struct session_actions *out)
{
	if (fsm->state == SESSION_GREETING && now_us >= fsm->hello_deadline_us) {
		close_silent(fsm, "say hello", "5 s", -1, out);
		return;
	}
	if (fsm->state != SESSION_OPEN)
		return;
	for (int i = 0; i < fsm->conf.mirrors_count; i++) {
		struct session_mirror *m = &fsm->mirrors[i];

		if (m->tx == SESSION_TX_AWAITING && now_us >= m->tx_silence_us) {
			close_silent(fsm, "answer a transfer", "30 s", i, out);
			return;
		}
		if ((m->rx == SESSION_RX_RECEIVING || m->rx == SESSION_RX_NEEDING) &&
		    now_us >= m->rx_silence_us) {
			close_silent(fsm, "go on with a transfer", "30 s", i, out);
			return;
		}
		if (m->asked && now_us >= m->asked_silence_us) {
			/* It may be sending something else first: then that is on the clock. */
			if (m->rx == SESSION_RX_IDLE) {
				close_silent(fsm, "bring what it was asked for", "30 s", i, out);
				return;
			}
			m->asked_silence_us = now_us + SESSION_SILENCE_US;
		}
		if (m->walk != 0 && now_us >= m->walk_silence_us) {
			close_silent(fsm, "answer a question", "30 s", i, out);
			return;
		}
		if (want_due(m) && now_us >= m->want_us)
			send_want(fsm, i, m->heads.peer_id, now_us, out);
		consider(fsm, i, now_us, out);
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
		become_greeting(fsm, ev->now_us, out);
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

static void step_bad_frame(struct session_fsm *fsm, const struct session_event *ev,
			   struct session_actions *out)
{
	struct sentence s = {fsm->reason, 0};

	say(&s, session_frame_name(ev->frame_type));
	say(&s, " frame from ");
	say(&s, fsm->conf.peer);
	say(&s, " refused: ");
	say(&s, session_verdict_text(ev->verdict));
	say_string(&s, (struct session_string){" (", 2});
	say(&s, session_verdict_name(ev->verdict));
	say(&s, ")");
	become_closing(fsm, out);
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
			close_for(fsm, ev->frame->type, "it comes before HELLO", out);
		break;
	case SESSION_EV_BAD_FRAME:
		step_bad_frame(fsm, ev, out);
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
		step_frame(fsm, ev, out);
		break;
	case SESSION_EV_BAD_FRAME:
		step_bad_frame(fsm, ev, out);
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

void session_fsm_step(struct session_fsm *fsm, const struct session_event *ev,
		      struct session_actions *out)
{
	out->count = 0;
	out->frames_count = 0;
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
		if (want_due(m))
			deadline_us = earlier(deadline_us, m->want_us);
		if (offer_due(m))
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
