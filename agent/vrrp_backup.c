/* SPDX-License-Identifier: Apache-2.0 */
/* A router in BACKUP: whom it obeys, and when it takes over. RFC 9568 section 6.4.2. */
#include "agent/vrrp_fsm_private.h"

static uint64_t own_skew_us(const struct vrrp_fsm *fsm)
{
	return vrrp_fsm_skew_us(fsm->conf.version, fsm->priority, fsm->master_int_us);
}

static uint64_t take_deadline_us(const struct vrrp_fsm *fsm)
{
	return later(fsm->take_base_us, own_skew_us(fsm));
}

/* When its time to take over has come, or will have. */
static uint64_t take_over_us(const struct vrrp_fsm *fsm)
{
	const uint64_t due_us =
		min_us(later(fsm->down_base_us, own_skew_us(fsm)), take_deadline_us(fsm));
	const uint64_t deadline_us = max_us(due_us, fsm->quiet_until_us);

	/* A node that does not know its own health leaves an address that nobody holds to the
	 * others for a while, but not for ever (A15). */
	return fsm->undetermined ? max_us(deadline_us, fsm->undetermined_until_us) : deadline_us;
}

uint64_t vrrp_fsm_backup_deadline_us(const struct vrrp_fsm *fsm)
{
	/* The group decides from here on. */
	return fsm->wants ? VRRP_NEVER_US : take_over_us(fsm);
}

/* v3: the master's interval holds (RFC 9568 section 6.1). v2 knows one interval only; a peer that
 * was given another one is still alive between two of its adverts. */
uint64_t vrrp_fsm_interval_us(const struct vrrp_fsm *fsm, int node)
{
	const uint64_t interval_us = fsm->peers[node].advert_int_us;

	return fsm->conf.version == 3 ? interval_us : max_us(fsm->conf.advert_int_us, interval_us);
}

/* Never to an earlier time: an advert of one master does not make another's worth less. */
static void rearm(struct vrrp_fsm *fsm, int node, uint64_t arrival_us)
{
	const uint64_t wait_us = patience_us(fsm, vrrp_fsm_interval_us(fsm, node));

	fsm->down_base_us = max_us(fsm->down_base_us, later(arrival_us, wait_us));
}

/* What an advert of a living master means to a backup. arrival_us re-arms master-down; since_us is
 * when the reason to take over, if there is one, came to be. RFC 9568 section 6.4.2 (420) to (470),
 * with two departures: a sick holder is not protected by nopreempt, and gives way after skew time
 * (nopreempt means: do not take from a healthy holder); and preempt_delay. */
void vrrp_fsm_judge_master(struct vrrp_fsm *fsm, int node, uint64_t arrival_us, uint64_t since_us)
{
	const struct vrrp_peer *peer = &fsm->peers[node];
	const uint8_t priority = peer->priority;
	const bool sick = peer_is_sick(fsm, node, priority);
	const bool may = !fsm->undetermined && !mute(fsm) && !quiet(fsm);

	fsm->master = node;
	fsm->master_left = false;
	fsm->left_node = -1;
	fsm->doubted = false;
	fsm->master_int_us = vrrp_fsm_interval_us(fsm, node);
	if (may && sick && fsm->priority > priority) {
		rearm(fsm, node, arrival_us);
		fsm->take_base_us = min_us(fsm->take_base_us, since_us);
		fsm->preempt_since_us = VRRP_NEVER_US;
		return;
	}
	fsm->take_base_us = VRRP_NEVER_US;
	if (may && fsm->priority > priority && may_preempt(fsm)) {
		fsm->preempt_since_us = min_us(fsm->preempt_since_us, since_us);
		/* Past the delay its adverts no longer re-arm the timer, which so runs out. */
		if (fsm->now_us >= later(fsm->preempt_since_us, fsm->conf.preempt_delay_us))
			return;
	} else {
		fsm->preempt_since_us = VRRP_NEVER_US;
	}
	rearm(fsm, node, arrival_us);
}

/* Our own rank or the file changed: the master that was heard last may mean something else now. */
static void judge_again(struct vrrp_fsm *fsm)
{
	const int master = fsm->master;

	if (master < 0 || fsm->peers[master].priority == VRRP_PRIORITY_LEAVE ||
	    fsm->now_us >= later(fsm->peers[master].heard_us,
				 patience_us(fsm, vrrp_fsm_interval_us(fsm, master)))) {
		/* Nobody, or nobody any more: what is left is master-down. */
		fsm->take_base_us = VRRP_NEVER_US;
		fsm->preempt_since_us = VRRP_NEVER_US;
		return;
	}
	vrrp_fsm_judge_master(fsm, master, fsm->peers[master].heard_us, fsm->now_us);
}

/* An advert of a living master; since_us as above. Of two masters the one that will win is the one
 * that counts, for as long as it is heard: the other one's sickness or departure is no reason to do
 * anything. */
static void hear_master(struct vrrp_fsm *fsm, int node, uint64_t arrival_us, uint64_t since_us)
{
	const uint8_t priority = fsm->peers[node].priority;
	const int master = fsm->master;

	if (master >= 0 && master != node &&
	    arrival_us < later(fsm->peers[master].heard_us, patience_us(fsm, fsm->master_int_us)) &&
	    vrrp_fsm_outranks(fsm, fsm->peers[master].priority, master, priority, node)) {
		if (priority >= fsm->priority || fsm->conf.nopreempt || fsm->handed_over)
			rearm(fsm, node, arrival_us);
		return;
	}
	vrrp_fsm_judge_master(fsm, node, arrival_us, since_us);
}

/* 6.4.2 (425). From somebody who is not the master it frees nothing. A repeat does not begin the
 * wait anew, or a sender that repeats it would block us. */
static void hear_leaving(struct vrrp_fsm *fsm, int node, uint64_t arrival_us)
{
	if (fsm->master >= 0 && fsm->master != node)
		return;
	fsm->down_base_us = min_us(fsm->down_base_us, arrival_us);
	fsm->master = -1;
	fsm->master_left = true;
	fsm->left_node = node;
	fsm->take_base_us = VRRP_NEVER_US;
	fsm->preempt_since_us = VRRP_NEVER_US;
	fsm->doubted = false;
	/* Other masters were passed over while it was heard. */
	for (int i = 0; i < fsm->conf.nodes_count; i++) {
		const struct vrrp_peer *peer = &fsm->peers[i];
		const uint64_t wait_us = patience_us(fsm, vrrp_fsm_interval_us(fsm, i));

		if (peer->priority != VRRP_PRIORITY_LEAVE &&
		    arrival_us < later(peer->heard_us, wait_us))
			hear_master(fsm, i, peer->heard_us, arrival_us);
	}
}

static void backup_timer(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const uint64_t deadline_us = take_over_us(fsm);
	const int node = fsm->master;
	enum vrrp_cause cause = VRRP_CAUSE_MASTER_DOWN;

	if (fsm->wants || fsm->now_us < deadline_us)
		return;
	/* Seen so late that the silence may have been ours (a frozen machine's network card drops
	 * what comes): listen for one more interval, once. */
	if (!fsm->doubted && fsm->now_us - deadline_us > fsm->master_int_us) {
		fsm->doubted = true;
		fsm->down_base_us = later(fsm->now_us, fsm->master_int_us);
		fsm->take_base_us = VRRP_NEVER_US;
		vrrp_fsm_raise(out, VRRP_ALARM_DOUBT);
		return;
	}
	if (fsm->now_us >= take_deadline_us(fsm))
		cause = VRRP_CAUSE_SICK_HOLDER;
	else if (fsm->master_left)
		cause = VRRP_CAUSE_MASTER_LEFT;
	else if (fsm->preempt_since_us != VRRP_NEVER_US &&
		 fsm->now_us <=
			 later(fsm->peers[node].heard_us, patience_us(fsm, fsm->master_int_us)))
		cause = VRRP_CAUSE_PREEMPT;
	if (fsm->conf.grouped) {
		fsm->wants = true;
		fsm->wants_cause = cause;
		fsm->wants_node = node;
		return;
	}
	vrrp_fsm_become_master(fsm, out, cause, node);
}

/* Another member of the group heard that this node gives up all of it. Like its priority 0 here,
 * unless it has been heard here since: an advert that is still under way is overtaken by it too. */
static void group_left(struct vrrp_fsm *fsm, int node)
{
	assert(node >= 0 && node < fsm->conf.nodes_count);
	if (!fsm->conf.grouped || fsm->master != node)
		return;
	fsm->peers[node].priority = VRRP_PRIORITY_LEAVE;
	fsm->peers[node].heard_us = fsm->now_us;
	fsm->down_base_us = min_us(fsm->down_base_us, fsm->now_us);
	fsm->master = -1;
	fsm->master_left = true;
	fsm->take_base_us = VRRP_NEVER_US;
	fsm->preempt_since_us = VRRP_NEVER_US;
	fsm->doubted = false;
}

void vrrp_fsm_step_backup(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			  struct vrrp_actions *out)
{
	bool was_undetermined;
	uint64_t arrival_us;

	switch (ev->type) {
	case VRRP_EV_ADVERT:
		arrival_us = min_us(ev->u.advert.arrival_us, ev->now_us);
		if (ev->u.advert.priority == VRRP_PRIORITY_LEAVE)
			hear_leaving(fsm, ev->u.advert.node, arrival_us);
		else
			hear_master(fsm, ev->u.advert.node, arrival_us, arrival_us);
		break;
	case VRRP_EV_TIMER:
		backup_timer(fsm, out);
		break;
	case VRRP_EV_HEALTH:
		was_undetermined = fsm->undetermined;
		vrrp_fsm_note_health(fsm, ev);
		if (was_undetermined && !fsm->undetermined && owner(fsm) && !quiet(fsm))
			vrrp_fsm_become_master(fsm, out, VRRP_CAUSE_OWNER, -1);
		else
			judge_again(fsm);
		/* That an elapsed deadline waited for the checks is no reason to doubt it. */
		if (was_undetermined && !fsm->undetermined && fsm->state == VRRP_BACKUP &&
		    vrrp_fsm_backup_deadline_us(fsm) <= fsm->now_us)
			fsm->doubted = true;
		break;
	case VRRP_EV_LINK:
		vrrp_fsm_note_link(fsm, ev->u.link.up);
		if (!fsm->link_up)
			vrrp_fsm_become_fault(fsm, out, VRRP_CAUSE_LINK_DOWN, VRRP_NEVER_US);
		break;
	case VRRP_EV_STOP:
		vrrp_fsm_clear_deadlines(fsm);
		vrrp_fsm_transition(fsm, out, VRRP_INIT, VRRP_CAUSE_STOP, -1);
		vrrp_fsm_act(out, VRRP_DO_STOPPED);
		break;
	case VRRP_EV_AWAY:
		/* Silence that nobody listened to proves nothing. */
		fsm->down_base_us =
			max_us(fsm->down_base_us, later(fsm->now_us, fsm->master_int_us));
		fsm->take_base_us = VRRP_NEVER_US;
		break;
	case VRRP_EV_CONF:
		vrrp_fsm_note_conf(fsm, ev->u.conf.conf);
		judge_again(fsm);
		break;
	case VRRP_EV_HANDOVER:
		vrrp_fsm_note_handover(fsm, ev);
		judge_again(fsm);
		break;
	case VRRP_EV_MAINTENANCE:
		vrrp_fsm_note_maintenance(fsm, ev);
		judge_again(fsm);
		break;
	case VRRP_EV_GROUP_TAKE:
		if (!fsm->conf.grouped) /* a reload came between */
			break;
		vrrp_fsm_become_master(fsm, out, fsm->wants ? fsm->wants_cause : VRRP_CAUSE_GROUP,
				       fsm->wants ? fsm->wants_node : -1);
		break;
	case VRRP_EV_GROUP_LEFT:
		group_left(fsm, ev->u.left.node);
		break;
	case VRRP_EV_GROUP_YIELD:
	case VRRP_EV_SEND_FAILED: /* of a last priority 0 */
	case VRRP_EV_ADDRESS_LOST:
	case VRRP_EV_HOLD_FAILED:
	case VRRP_EV_ANNOUNCED:
		break;
	case VRRP_EV_START:
	case VRRP_EV_RESUME:
	case VRRP_EVENTS:
		assert(!"an event of BACKUP");
	}
	/* Whoever holds was heard again. */
	if (fsm->wants && (take_over_us(fsm) > fsm->now_us || !fsm->conf.grouped))
		fsm->wants = false;
}
