/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer's frames mean in an open session. */
#include <assert.h>
#include <string.h>

#include "syncd/session_private.h"

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
		session_close_for(fsm, SESSION_OFFER, "its transfer number was used before", out);
		return;
	}
	/* The peer has given the one before up, whether it said so or not. */
	if (m->rx != SESSION_RX_IDLE)
		session_act(out, SESSION_ACT_STOP_RECEIVING, i)->transfer = m->rx_transfer;
	m->rx = SESSION_RX_RECEIVING;
	m->rx_transfer = offer->transfer;
	m->rx_entries_left = offer->entries_count;
	m->rx_silence_us = ev->now_us + SESSION_SILENCE_US;
	m->asked = false;
	session_act_frame(out, SESSION_ACT_RECEIVE, i, ev->frame);
}

/* ENTRIES, CONTENT and END: R-S8. True if it belongs to the transfer that is being received. */
static bool belongs(struct session_fsm *fsm, int i, uint32_t transfer,
		    const struct session_event *ev, struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];

	if (transfer > m->rx_transfer) {
		session_close_for(fsm, ev->frame->type, "it belongs to no offer", out);
		return false;
	}
	/* Late: the transfer has been answered, and this was on its way already. */
	if (transfer < m->rx_transfer || m->rx == SESSION_RX_IDLE)
		return false;
	if (m->rx == SESSION_RX_DECIDING) {
		session_close_for(fsm, ev->frame->type, "its transfer has ended", out);
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
		session_close_for(fsm, SESSION_ENTRIES, "more entries come than were announced",
				  out);
		return;
	}
	m->rx_entries_left -= entries->count;
	session_act_frame(out, SESSION_ACT_RECEIVE, i, ev->frame);
}

static void on_content(struct session_fsm *fsm, int i, const struct session_event *ev,
		       struct session_actions *out)
{
	if (!belongs(fsm, i, ev->frame->content.transfer, ev, out))
		return;
	if (fsm->mirrors[i].rx_entries_left > 0) {
		session_close_for(fsm, SESSION_CONTENT, "it comes before the last of the entries",
				  out);
		return;
	}
	session_act_frame(out, SESSION_ACT_RECEIVE, i, ev->frame);
}

static void on_end(struct session_fsm *fsm, int i, const struct session_event *ev,
		   struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];

	if (!belongs(fsm, i, ev->frame->end.transfer, ev, out))
		return;
	if (m->rx_entries_left > 0) {
		session_close_for(fsm, SESSION_END, "fewer entries came than were announced", out);
		return;
	}
	m->rx = SESSION_RX_DECIDING;
	session_act_frame(out, SESSION_ACT_RECEIVE, i, ev->frame);
}

static bool same_head(const struct session_mirror *m)
{
	return m->heads.local_present && session_same_id(m->heads.local_id, m->tx_id);
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
		session_close_for(fsm, SESSION_NEED, "there was no such offer", out);
		return;
	}
	if (need->kind == SESSION_NEED_MANIFEST) {
		if (!m->tx_has_base) {
			session_close_for(fsm, SESSION_NEED,
					  "the offer had no base that could be missing", out);
			return;
		}
		if (m->tx == SESSION_TX_SENDING)
			session_act(out, SESSION_ACT_STOP_SENDING, i)->transfer = m->tx_transfer;
		m->tx = SESSION_TX_IDLE;
		/* R-S4: if there is a newer head by now, then that. */
		if (m->tx_wanted || same_head(m))
			session_start_transfer(fsm, i, m->tx_id, m->tx_wanted, false, NULL, out);
		else if (session_offer_due(m))
			session_start_transfer(fsm, i, m->heads.local_id, false, false, NULL, out);
		return;
	}
	if (m->tx != SESSION_TX_AWAITING) {
		session_close_for(fsm, SESSION_NEED, "the transfer has not ended yet", out);
		return;
	}
	m->tx = SESSION_TX_SENDING;
	struct session_action *action = session_act(out, SESSION_ACT_CONTENTS, i);

	action->transfer = m->tx_transfer;
	session_copy_id(action->id, m->tx_id);
	action->frame = ev->frame;
}

static void on_cancel(struct session_fsm *fsm, int i, const struct session_event *ev,
		      struct session_actions *out)
{
	struct session_mirror *m = &fsm->mirrors[i];

	if (m->rx == SESSION_RX_IDLE || ev->frame->cancel.transfer != m->rx_transfer)
		return;
	m->rx = SESSION_RX_IDLE;
	struct session_action *action = session_act(out, SESSION_ACT_STOP_RECEIVING, i);

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
	if (m->tx != SESSION_TX_IDLE && session_same_id(m->tx_id, want->id))
		return;
	m->wanted = true;
	session_copy_id(m->wanted_id, want->id);
	m->wanted_has_base = want->has_base;
	if (want->has_base)
		session_copy_id(m->wanted_base, want->base);
	session_consider(fsm, i, ev->now_us, out);
}

static void on_result(struct session_fsm *fsm, int i, const struct session_event *ev,
		      struct session_actions *out)
{
	const struct session_result *result = &ev->frame->result;
	struct session_mirror *m = &fsm->mirrors[i];

	if (result->outcome == SESSION_ABSENT) {
		/* Said to one who asked; not an answer to an offer. */
		if (m->asked && session_same_id(m->asked_id, result->id)) {
			m->asked = false;
			m->want_us = ev->now_us + SESSION_WANT_DELAY_US;
		}
		session_act_frame(out, SESSION_ACT_REPORT, i, ev->frame);
		return;
	}
	if (m->tx != SESSION_TX_IDLE && session_same_id(m->tx_id, result->id)) {
		if (m->tx == SESSION_TX_SENDING)
			session_act(out, SESSION_ACT_STOP_SENDING, i)->transfer = m->tx_transfer;
		m->tx = SESSION_TX_IDLE;
	}
	if (m->heads_known && m->heads.local_present &&
	    session_same_id(m->heads.local_id, result->id)) {
		m->answered = true;
		session_copy_id(m->answered_id, result->id);
		m->answered_outcome = (enum session_outcome)result->outcome;
	}
	session_act_frame(out, SESSION_ACT_REPORT, i, ev->frame);
	session_consider(fsm, i, ev->now_us, out);
}

static void on_verify(struct session_fsm *fsm, int i, const struct session_event *ev,
		      struct session_actions *out)
{
	const struct session_verify *verify = &ev->frame->verify;
	struct session_mirror *m = &fsm->mirrors[i];

	if (!verify->answer && m->scanned)
		session_send_verify(fsm, i, true, out);
	if (m->scanned && session_same_id(m->scanned_id, verify->id)) {
		if (session_same_id(m->scanned_tree, verify->tree))
			session_copy_id(session_act(out, SESSION_ACT_VERIFIED, i)->id, verify->id);
		else if (verify->answer && m->walk == 0)
			session_act(out, SESSION_ACT_DESCEND, i);
		return;
	}
	/* What failed there for the world's reasons (a full disk, say) is tried again at each full
	 * resync; what was refused for its content is not (R-S3). */
	if (m->answered && m->answered_outcome == SESSION_FAILED)
		m->answered = false;
	session_consider(fsm, i, ev->now_us, out);
}

void session_step_frame(struct session_fsm *fsm, const struct session_event *ev,
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
	case SESSION_NODE:
		session_act_frame(out, SESSION_ACT_PEER_NODE, 0, frame);
		return;
	case SESSION_HELLO:
		session_close_for(fsm, frame->type, "there was one before", out);
		return;
	default:
		/* WELCOME, PING, PONG and BYE are the links' own. */
		session_close_for(fsm, frame->type, "it is not for a session", out);
		return;
	}
	i = mirror_of(fsm, slot);
	if (i < 0) {
		session_close_for(fsm, frame->type,
				  "it names a mirror that the two nodes do not share", out);
		return;
	}
	struct session_mirror *m = &fsm->mirrors[i];

	switch (frame->type) {
	case SESSION_HEAD:
		m->heads.relation = SESSION_RELATION_UNKNOWN;
		session_act_frame(out, SESSION_ACT_PEER_HEAD, i, frame);
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
		session_act_frame(out, SESSION_ACT_WALK_ASKED, i, frame);
		break;
	case SESSION_WALK_ANSWER:
		if (m->walk != 0 && frame->walk_answer.walk == m->walk) {
			m->walk = 0;
			session_act_frame(out, SESSION_ACT_WALK_ANSWERED, i, frame);
		}
		break;
	case SESSION_SYNC_REQUEST:
		m->answered = false;
		session_act(out, SESSION_ACT_SYNC, i);
		session_consider(fsm, i, ev->now_us, out);
		break;
	default:
		assert(!"the first switch let it through");
	}
}
