/* SPDX-License-Identifier: Apache-2.0 */
/* A router that stops or hands over: it holds the addresses until somebody else has them. */
#include "agent/vrrp_fsm_private.h"

void vrrp_fsm_become_leaving(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause)
{
	const bool alone = vrrp_fsm_others_wait_us(fsm) == VRRP_NEVER_US;

	vrrp_fsm_clear_deadlines(fsm);
	fsm->resign_again_us = VRRP_NEVER_US;
	vrrp_fsm_send(fsm, out, VRRP_PRIORITY_LEAVE);
	vrrp_fsm_act(out, VRRP_DO_WATCH);
	vrrp_fsm_transition(fsm, out, VRRP_LEAVING, cause, -1);
	fsm->returns = false;
	fsm->repeat_us = alone ? VRRP_NEVER_US : later(fsm->now_us, VRRP_LEAVE_REPEAT_US);
	/* Backups are silent, so that none is there cannot be known: the wait is what the slowest
	 * would need. */
	fsm->leave_end_us = alone ? fsm->now_us
				  : later(fsm->now_us, min_us(fsm->conf.stop_wait_us,
							      vrrp_fsm_succession_us(fsm)));
	fsm->release_us = fsm->leave_end_us;
}

/* From holder to backup. In maintenance it is the rank that keeps it from taking back; after a
 * handover nothing but the wish. */
static void follow_successor(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause)
{
	const int node = fsm->successor;
	const uint64_t heard_us = node >= 0 ? fsm->peers[node].heard_us : fsm->now_us;

	if (!fsm->link_up) {
		vrrp_fsm_clear_deadlines(fsm);
		vrrp_fsm_transition(fsm, out, VRRP_FAULT, cause, -1);
		return;
	}
	/* One interval at least, for who was late itself. */
	vrrp_fsm_enter_backup(fsm, out, cause, node,
			      max_us(later(heard_us, patience_us(fsm, fsm->conf.advert_int_us)),
				     later(fsm->now_us, fsm->conf.advert_int_us)));
	if (node >= 0)
		vrrp_fsm_judge_master(fsm, node, heard_us, fsm->now_us);
}

/* The last word of priority 1 makes a keepalived successor announce again, which reaches those who
 * resolved an address while two nodes held it: without that
 * they were seen to miss the address for 27 s. Only to a successor that was heard: a
 * backup that had not taken over yet would take it for a living master. And only to one that
 * outranks it: at priority 1, as with a failed check of weight 0, it would have to yield to it. */
static void finish_leaving(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause)
{
	const bool last_word = fsm->successor_priority > 1 && fsm->link_up;

	if (fsm->returns && cause == VRRP_CAUSE_NO_SUCCESSOR) {
		vrrp_fsm_act(out, VRRP_DO_UNWATCH);
		vrrp_fsm_become_master(fsm, out, cause, -1); /* who still holds has no gap */
		return;
	}
	vrrp_fsm_act(out, VRRP_DO_RELEASE);
	if (last_word)
		vrrp_fsm_send(fsm, out, 1);
	vrrp_fsm_act(out, VRRP_DO_UNWATCH);
	if (fsm->returns) {
		follow_successor(fsm, out, cause);
		return;
	}
	vrrp_fsm_clear_deadlines(fsm);
	vrrp_fsm_transition(fsm, out, VRRP_INIT, cause, -1);
	vrrp_fsm_act(out, VRRP_DO_STOPPED);
}

static void leaving_hears(struct vrrp_fsm *fsm, int node, uint8_t priority, uint64_t arrival_us)
{
	if (arrival_us < fsm->since_us)
		return;
	if (priority == VRRP_PRIORITY_LEAVE) {
		/* The successor could not keep what it took: somebody else may. */
		if (fsm->successor == node) {
			fsm->successor = -1;
			fsm->successor_priority = 0;
			fsm->release_us = fsm->leave_end_us;
		}
		return;
	}
	if (fsm->successor >= 0)
		return;
	/* It is heard before it answers: 2.5 ms with one address, 11 ms with 200, as measured. */
	fsm->successor = node;
	fsm->successor_priority = priority;
	fsm->repeat_us = VRRP_NEVER_US;
	fsm->release_us = min_us(fsm->leave_end_us, later(arrival_us, VRRP_LEAVE_GRACE_US));
}

void vrrp_fsm_step_leaving(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			   struct vrrp_actions *out)
{
	switch (ev->type) {
	case VRRP_EV_ADVERT:
		leaving_hears(fsm, ev->u.advert.node, ev->u.advert.priority,
			      min_us(ev->u.advert.arrival_us, ev->now_us));
		break;
	case VRRP_EV_ANNOUNCED:
		finish_leaving(fsm, out, VRRP_CAUSE_ANNOUNCED);
		break;
	case VRRP_EV_AWAY:
		if (later(fsm->now_us, ev->u.away.pause_us) >= fsm->release_us)
			finish_leaving(fsm, out, VRRP_CAUSE_AWAY);
		break;
	case VRRP_EV_TIMER:
		/* Seen so late that the successor may have come and gone unheard: it lets go. */
		if (fsm->returns && !fsm->successor_priority &&
		    fsm->now_us > later(fsm->release_us, fsm->conf.advert_int_us)) {
			finish_leaving(fsm, out, VRRP_CAUSE_AWAY);
		} else if (fsm->now_us >= fsm->release_us) {
			finish_leaving(fsm, out,
				       fsm->successor_priority ? VRRP_CAUSE_SUCCESSOR
							       : VRRP_CAUSE_NO_SUCCESSOR);
		} else if (fsm->now_us >= fsm->repeat_us) {
			/* Seen too late it would only hold up who is about to take over. */
			if (fsm->now_us <= later(fsm->since_us, 2 * VRRP_LEAVE_REPEAT_US))
				vrrp_fsm_send(fsm, out, VRRP_PRIORITY_LEAVE);
			fsm->repeat_us = VRRP_NEVER_US;
		}
		break;
	case VRRP_EV_LINK:
		vrrp_fsm_note_link(fsm, ev->u.link.up);
		if (!fsm->link_up)
			finish_leaving(fsm, out, VRRP_CAUSE_LINK_DOWN);
		break;
	case VRRP_EV_HEALTH:
		vrrp_fsm_note_health(fsm, ev);
		break;
	case VRRP_EV_CONF:
		vrrp_fsm_note_conf(fsm, ev->u.conf.conf);
		break;
	case VRRP_EV_MAINTENANCE:
		vrrp_fsm_note_maintenance(fsm, ev);
		break;
	case VRRP_EV_HANDOVER: /* it is at it */
		vrrp_fsm_note_handover(fsm, ev);
		break;
	case VRRP_EV_STOP:
		fsm->returns = false;
		break;
	case VRRP_EV_SEND_FAILED:
	case VRRP_EV_ADDRESS_LOST:
	case VRRP_EV_HOLD_FAILED:
	case VRRP_EV_GROUP_TAKE:
	case VRRP_EV_GROUP_YIELD:
	case VRRP_EV_GROUP_LEFT:
		break;
	case VRRP_EV_START:
	case VRRP_EV_RESUME:
	case VRRP_EVENTS:
		assert(!"an event of LEAVING");
	}
}
