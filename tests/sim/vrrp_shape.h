/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrrp_shape: what must be true of every step of the VRRP core, whatever it decides (docs/
 * INVARIANTS.md, A28). Both the simulator and the unit tests ask it after each step.
 *
 *   before = fsm; vrrp_fsm_step(&fsm, ev, &out); vrrp_shape_broken(&before, &fsm, ev, &out)
 */
#ifndef TANDEM_VRRP_SHAPE_H
#define TANDEM_VRRP_SHAPE_H

#include <string.h>

#include "agent/vrrp_fsm.h"

static inline uint64_t vrrp_shape_count(const struct vrrp_actions *out, enum vrrp_action_type type)
{
	uint64_t count = 0;

	for (int i = 0; i < out->count; i++)
		count += out->list[i].type == type;
	return count;
}

static inline uint64_t vrrp_shape_alarms(const struct vrrp_actions *out, enum vrrp_alarm alarm)
{
	uint64_t count = 0;

	for (int i = 0; i < out->count; i++)
		count += out->list[i].type == VRRP_DO_ALARM && out->list[i].u.alarm == alarm;
	return count;
}

/* The counters say what was done and heard, no more and no less. */
static inline const char *vrrp_shape_counters(const struct vrrp_stats *a,
					      const struct vrrp_stats *b, enum vrrp_state state,
					      const struct vrrp_event *ev,
					      const struct vrrp_actions *out)
{
	const bool advert = ev->type == VRRP_EV_ADVERT;
	uint64_t zeros = 0, masters = 0;

	for (int i = 0; i < out->count; i++) {
		const struct vrrp_action *action = &out->list[i];

		zeros += action->type == VRRP_DO_SEND && action->u.priority == 0;
		masters += action->type == VRRP_DO_TRANSITION &&
			   action->u.transition.to == VRRP_MASTER;
	}
	if (b->adverts_sent - a->adverts_sent != vrrp_shape_count(out, VRRP_DO_SEND) ||
	    b->priority_zero_sent - a->priority_zero_sent != zeros)
		return "a wrong count of adverts sent";
	if (b->adverts_received - a->adverts_received != advert ||
	    b->priority_zero_received - a->priority_zero_received !=
		    (advert && ev->u.advert.priority == 0))
		return "a wrong count of adverts received";
	if (b->mismatches_received - a->mismatches_received !=
	    (advert && (ev->u.advert.verdict == VRRP_OTHER_PASSWORD ||
			ev->u.advert.verdict == VRRP_OTHER_AUTH_TYPE ||
			ev->u.advert.verdict == VRRP_OTHER_INTERVAL ||
			ev->u.advert.verdict == VRRP_OTHER_VERSION)))
		return "a wrong count of mismatches";
	if (b->announces - a->announces != vrrp_shape_count(out, VRRP_DO_ANNOUNCE))
		return "a wrong count of announcements";
	if (b->transitions - a->transitions != vrrp_shape_count(out, VRRP_DO_TRANSITION) ||
	    b->became_master - a->became_master != masters)
		return "a wrong count of transitions";
	if (b->contentions - a->contentions != vrrp_shape_alarms(out, VRRP_ALARM_CONTENTION))
		return "a wrong count of contentions";
	if (b->resignations - a->resignations != vrrp_shape_alarms(out, VRRP_ALARM_RESIGNED))
		return "a wrong count of resignations";
	if (b->put_backs - a->put_backs != vrrp_shape_alarms(out, VRRP_ALARM_ADDRESS_LOST))
		return "a wrong count of addresses put back";
	if (b->send_failures - a->send_failures !=
	    (ev->type == VRRP_EV_SEND_FAILED && state == VRRP_MASTER))
		return "a wrong count of adverts that could not be sent";
	return NULL;
}

/* A transition names the node whose advert caused it, and nobody where none did. */
static inline bool vrrp_shape_node_fits(const struct vrrp_fsm *fsm,
					const struct vrrp_action *action)
{
	const int node = action->u.transition.node;

	if (node != -1 && (node < 0 || node >= fsm->conf.nodes_count || node == fsm->conf.self))
		return false;
	switch (action->u.transition.cause) {
	case VRRP_CAUSE_PREEMPT:
	case VRRP_CAUSE_SICK_HOLDER:
	case VRRP_CAUSE_HIGHER_PRIORITY:
	case VRRP_CAUSE_HIGHER_ADDRESS:
	case VRRP_CAUSE_RESIGNED:
	case VRRP_CAUSE_MUTE:
		return node >= 0;
	case VRRP_CAUSE_MASTER_DOWN:
		return true; /* whoever was obeyed, if anybody */
	default:
		/* A handover ends behind its successor, if that was heard. */
		return node == -1 || (action->u.transition.from == VRRP_LEAVING &&
				      action->u.transition.to == VRRP_BACKUP);
	}
}

static inline const char *vrrp_shape_transitions(const struct vrrp_fsm *a, const struct vrrp_fsm *b,
						 const struct vrrp_actions *out)
{
	enum vrrp_cause cause = a->cause;
	uint64_t since_us = a->since_us;

	for (int i = 0; i < out->count; i++) {
		if (out->list[i].type != VRRP_DO_TRANSITION)
			continue;
		if (!vrrp_shape_node_fits(b, &out->list[i]))
			return "a transition that names the wrong node";
		cause = out->list[i].u.transition.cause;
		since_us = b->now_us;
	}
	if (b->cause != cause || b->since_us != since_us)
		return "the state's cause or age is not that of the last transition";
	return NULL;
}

/* No deadline and no memory of one state lives on in another. */
static inline const char *vrrp_shape_fields(const struct vrrp_fsm *fsm)
{
	const uint64_t never = VRRP_NEVER_US;

	if (fsm->state == VRRP_BACKUP) {
		if (fsm->master < -1 || fsm->master >= fsm->conf.nodes_count ||
		    fsm->master == fsm->conf.self || (fsm->master_left && fsm->master >= 0))
			return "a BACKUP that obeys nobody that there is";
		if (fsm->left_node < -1 || fsm->left_node >= fsm->conf.nodes_count ||
		    (fsm->left_node >= 0 && (fsm->master >= 0 || !fsm->master_left)))
			return "a BACKUP that remembers the departure of somebody that it obeys";
		if (fsm->down_base_us == never || fsm->master_int_us == 0 ||
		    (fsm->take_base_us != never && fsm->preempt_since_us != never))
			return "a BACKUP without an end to its patience";
	} else if (fsm->master != -1 || fsm->down_base_us != never || fsm->master_left ||
		   fsm->take_base_us != never || fsm->preempt_since_us != never || fsm->doubted ||
		   fsm->wants || fsm->left_node != -1 || fsm->master_int_us == 0) {
		return "what belongs to BACKUP outlived it";
	}
	if (fsm->state == VRRP_MASTER) {
		if (fsm->advert_us == never || fsm->evidence_us > fsm->now_us ||
		    fsm->sent_us > fsm->now_us)
			return "a MASTER without a next advert";
		if (fsm->contend_step < 0 || fsm->contend_step > VRRP_CONTENTION_ANNOUNCES ||
		    fsm->resign_doublings < 0 || fsm->resign_doublings > VRRP_RESIGN_DOUBLINGS_MAX)
			return "a MASTER that counts past the end";
	} else if (fsm->advert_us != never || fsm->announce_us != never ||
		   fsm->contend_step != VRRP_CONTENTION_ANNOUNCES || fsm->announced_once ||
		   fsm->put_back_us != never || fsm->resigned_until_us != never ||
		   fsm->resign_again_us != never) {
		return "what belongs to MASTER outlived it";
	}
	if (fsm->state == VRRP_LEAVING) {
		if (fsm->release_us > fsm->leave_end_us || fsm->leave_end_us == never ||
		    (fsm->successor >= 0) != (fsm->successor_priority > 0) || fsm->successor < -1)
			return "LEAVING without an end";
	} else if (fsm->repeat_us != never || fsm->release_us != never ||
		   fsm->leave_end_us != never || fsm->successor != -1 ||
		   fsm->successor_priority != 0) {
		return "what belongs to LEAVING outlived it";
	}
	if (fsm->state != VRRP_FAULT && fsm->retry_us != never)
		return "what belongs to FAULT outlived it";
	return NULL;
}

/* Events that mean nothing to the state in which they arrive. */
static inline bool vrrp_shape_void(enum vrrp_state state, enum vrrp_event_type type)
{
	switch (type) {
	case VRRP_EV_SEND_FAILED:
	case VRRP_EV_ADDRESS_LOST:
	case VRRP_EV_HOLD_FAILED:
		return state != VRRP_MASTER;
	case VRRP_EV_GROUP_YIELD:
		return state != VRRP_MASTER;
	case VRRP_EV_GROUP_TAKE:
	case VRRP_EV_GROUP_LEFT:
		return state != VRRP_BACKUP;
	case VRRP_EV_ANNOUNCED:
		return state != VRRP_LEAVING;
	case VRRP_EV_TIMER:
		return state == VRRP_INIT;
	case VRRP_EV_AWAY:
		return state == VRRP_INIT || state == VRRP_FAULT || state == VRRP_MASTER;
	default:
		return false;
	}
}

/* Behind its sender's priority 0: overtaken by it on the way, or the one last word. */
static inline bool vrrp_shape_late(const struct vrrp_peer *peer, const struct vrrp_event *ev,
				   uint64_t arrival_us, bool *ret_last_word)
{
	const uint64_t half_us = ev->u.advert.advert_int_us / 2;

	*ret_last_word = false;
	if (!peer->heard || peer->priority > 0 || ev->u.advert.priority == 0)
		return false;
	*ret_last_word = ev->u.advert.priority == 1 && !peer->last_word &&
			 arrival_us < peer->heard_us + VRRP_LAST_WORD_US;
	return *ret_last_word ||
	       arrival_us <
		       peer->heard_us + (half_us < VRRP_OVERTAKEN_US ? half_us : VRRP_OVERTAKEN_US);
}

static inline bool vrrp_shape_same_peer(const struct vrrp_peer *a, const struct vrrp_peer *b)
{
	return a->heard == b->heard && a->heard_us == b->heard_us && a->priority == b->priority &&
	       a->last_word == b->last_word && a->advert_int_us == b->advert_int_us &&
	       a->verdict == b->verdict;
}

static inline const char *vrrp_shape_hears(const struct vrrp_fsm *a, const struct vrrp_fsm *b,
					   const struct vrrp_event *ev,
					   const struct vrrp_actions *out)
{
	const int node = ev->u.advert.node;
	const uint64_t arrival_us =
		ev->u.advert.arrival_us < ev->now_us ? ev->u.advert.arrival_us : ev->now_us;
	struct vrrp_peer peer = a->peers[node];
	bool last_word;

	if (vrrp_shape_late(&peer, ev, arrival_us, &last_word)) {
		peer.last_word |= last_word;
		if (a->state == b->state && out->count > 0 &&
		    !(last_word && b->state == VRRP_MASTER))
			return "did something for an advert that its sender's leaving overtook";
	} else {
		peer = (struct vrrp_peer){.heard = true,
					  .heard_us = arrival_us,
					  .priority = ev->u.advert.priority,
					  .advert_int_us = ev->u.advert.advert_int_us,
					  .verdict = ev->u.advert.verdict};
	}
	for (int i = 0; i < b->conf.nodes_count; i++)
		if (!vrrp_shape_same_peer(&b->peers[i], i == node ? &peer : &a->peers[i]))
			return "remembers another advert than it heard";
	return NULL;
}

/* A reload: what is known of a node follows its address. */
static inline const char *vrrp_shape_reloads(const struct vrrp_fsm *a, const struct vrrp_fsm *b,
					     const struct vrrp_event *ev)
{
	static const struct vrrp_peer unheard;

	if (memcmp(&b->conf, ev->u.conf.conf, sizeof(b->conf)) != 0)
		return "goes on by another file";
	if (b->left_node != -1)
		return "takes one node's departure for another's over a reload";
	for (int i = 0; i < b->conf.nodes_count; i++) {
		const struct vrrp_peer *peer = &unheard;

		for (int j = 0; j < a->conf.nodes_count; j++)
			if (ip_equal(&b->conf.nodes[i].address, &a->conf.nodes[j].address))
				peer = &a->peers[j];
		if (!vrrp_shape_same_peer(&b->peers[i], peer))
			return "mixes up who was heard over a reload";
	}
	return NULL;
}

static inline bool vrrp_shape_spoke(const struct vrrp_actions *out)
{
	for (int i = 0; i < out->count; i++)
		if (out->list[i].type == VRRP_DO_SEND && out->list[i].u.priority > 0)
			return true;
	return false;
}

/* What the event says is known after it, whatever the state. */
static inline const char *vrrp_shape_knows(const struct vrrp_fsm *a, const struct vrrp_fsm *b,
					   const struct vrrp_event *ev,
					   const struct vrrp_actions *out)
{
	uint64_t until_us = a->undetermined_until_us;

	if (ev->type == VRRP_EV_START || ev->type == VRRP_EV_RESUME ||
	    (ev->type == VRRP_EV_HEALTH && ev->u.health.undetermined && !a->undetermined))
		until_us = ev->now_us + b->conf.undetermined_wait_us;
	if (b->undetermined_until_us != until_us)
		return "waits for its checks for another time";
	if (b->quiet_until_us !=
	    (ev->type == VRRP_EV_START ? ev->u.start.quiet_until_us : a->quiet_until_us))
		return "has forgotten its start-up delay, or made one up";
	if (b->undetermined !=
	    (ev->type == VRRP_EV_HEALTH ? ev->u.health.undetermined : a->undetermined))
		return "does not know whether its checks have reported";
	if (ev->type == VRRP_EV_HEALTH && !ev->u.health.undetermined &&
	    (b->rank != ev->u.health.priority || b->priority_kept))
		return "does not believe its checks";
	if (b->maintenance !=
	    (ev->type == VRRP_EV_MAINTENANCE ? ev->u.maintenance.on : a->maintenance))
		return "does not know whether it is in maintenance";
	if (ev->type == VRRP_EV_HANDOVER && ev->u.handover.lift && b->handed_over)
		return "a handover that cannot be lifted";
	if (b->link_up != (ev->type == VRRP_EV_LINK ? ev->u.link.up : a->link_up))
		return "does not know its link";
	if (ev->type == VRRP_EV_LINK && a->link_up != b->link_up && b->mute)
		return "is mute by what another link did";
	if (b->state == VRRP_FAULT && a->state != VRRP_FAULT && ev->type != VRRP_EV_CONF &&
	    b->retry_us != (b->cause == VRRP_CAUSE_HOLD_FAILED ? b->now_us + VRRP_HOLD_RETRY_US
							       : VRRP_NEVER_US))
		return "comes back from FAULT at another time";
	if (!vrrp_shape_spoke(out) && ev->type != VRRP_EV_RESUME &&
	    (b->sent_us != a->sent_us || (b->sending && !a->sending)))
		return "takes a priority 0 for an advert";
	if (ev->type == VRRP_EV_ADVERT)
		return vrrp_shape_hears(a, b, ev, out);
	if (ev->type == VRRP_EV_CONF)
		return vrrp_shape_reloads(a, b, ev);
	return NULL;
}

/* NULL, or what is wrong. */
static inline const char *vrrp_shape_broken(const struct vrrp_fsm *before,
					    const struct vrrp_fsm *after,
					    const struct vrrp_event *ev,
					    const struct vrrp_actions *out)
{
	struct vrrp_fsm same;
	const char *wrong;
	int master = -1;

	if (after->now_us != ev->now_us)
		return "a clock of its own";
	if (after->state == VRRP_MASTER || after->state == VRRP_LEAVING)
		master = after->conf.self;
	else if (after->state == VRRP_BACKUP)
		master = after->master;
	if (vrrp_fsm_master(after) != master)
		return "names another master than it obeys";
	wrong = vrrp_shape_counters(&before->stats, &after->stats, after->state, ev, out);
	if (!wrong)
		wrong = vrrp_shape_transitions(before, after, out);
	if (!wrong)
		wrong = vrrp_shape_fields(after);
	if (!wrong)
		wrong = vrrp_shape_knows(before, after, ev, out);
	if (wrong)
		return wrong;
	/* A MASTER that was away has let go before it looked at the event. */
	if (before->state == after->state && vrrp_shape_void(before->state, ev->type)) {
		memcpy(&same, before, sizeof(same));
		same.now_us = after->now_us;
		if (out->count || memcmp(&same, after, sizeof(same)) != 0)
			return "an event that means nothing had an effect";
	}
	return NULL;
}

#endif
