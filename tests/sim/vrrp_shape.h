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
		   fsm->contend_step != VRRP_CONTENTION_ANNOUNCES || fsm->put_back_us != never ||
		   fsm->resigned_until_us != never || fsm->resign_again_us != never) {
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
