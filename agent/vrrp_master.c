/* SPDX-License-Identifier: Apache-2.0 */
/* A router in MASTER: adverts, announcements, contention, resignation. RFC 9568 section 6.4.3. */
#include "agent/vrrp_fsm_private.h"

/* NEVER: the series is over, or there is none. */
uint64_t vrrp_fsm_contend_deadline_us(const struct vrrp_fsm *fsm)
{
	static const uint64_t after_us[VRRP_CONTENTION_ANNOUNCES] = {20000, 50000, 200000,
								     VRRP_NEVER_US};
	const uint64_t last_us = fsm->conf.garp_lower_prio_delay_us;
	const int step = fsm->contend_step;

	if (step >= VRRP_CONTENTION_ANNOUNCES)
		return VRRP_NEVER_US;
	return later(fsm->contend_from_us,
		     last_us ? min_us(after_us[step], last_us) : after_us[step]);
}

/* A peer that knows nothing of sickness and would have to be told. by_last_word: by what it
 * last said of itself, if it ever did; otherwise by what it says when nothing ails it. Where the
 * file does not say that, and the peer was never heard, nobody is known who would take over. */
static bool foreign_is_higher(const struct vrrp_fsm *fsm, bool by_last_word)
{
	const struct vrrp_conf *conf = &fsm->conf;

	for (int i = 0; i < conf->nodes_count; i++) {
		const struct vrrp_peer *peer = &fsm->peers[i];
		uint8_t priority = conf->nodes[i].priority;

		if (i == conf->self || !conf->nodes[i].foreign || priority == 0)
			continue;
		if (conf->nodes[i].unsaid && !peer->heard)
			continue;
		if (by_last_word && peer->heard && peer->priority > 0)
			priority = peer->priority;
		if (priority > fsm->priority)
			return true;
	}
	return false;
}

static uint64_t resign_backoff_us(const struct vrrp_fsm *fsm)
{
	const uint64_t down_us =
		vrrp_fsm_master_down_us(&fsm->conf, fsm->priority, fsm->conf.advert_int_us);

	return VRRP_RESIGN_BACKOFF_DOWNS * down_us << fsm->resign_doublings;
}

static void enter_master(struct vrrp_fsm *fsm)
{
	vrrp_fsm_clear_deadlines(fsm);
	fsm->contend_last_us = 0;
	fsm->handed_over = false; /* the successor has failed, or there was none */
	fsm->stats.became_master++;
	fsm->announced_once = fsm->conf.garp_master_delay_us > 0;
	fsm->announce_us = later(
		fsm->now_us, fsm->conf.garp_master_delay_us	? fsm->conf.garp_master_delay_us
			     : fsm->conf.garp_master_refresh_us ? fsm->conf.garp_master_refresh_us
								: VRRP_NEVER_US);
	/* Whoever held it has just left or fallen silent: no use in offering it back at once. */
	fsm->resign_again_us = vrrp_fsm_sick(fsm) && fsm->conf.nopreempt
				       ? later(fsm->now_us, resign_backoff_us(fsm))
				       : VRRP_NEVER_US;
}

/* RFC 9568 section 6.4.1 (115) to (145) and 6.4.2 (350) to (380): the advert first, which ends any
 * contention, then the addresses, then their announcement. */
void vrrp_fsm_become_master(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			    int node)
{
	enter_master(fsm);
	fsm->evidence_us = fsm->now_us;
	fsm->advert_us = later(fsm->now_us, fsm->conf.advert_int_us);
	vrrp_fsm_send(fsm, out, fsm->priority);
	vrrp_fsm_act(out, VRRP_DO_HOLD);
	vrrp_fsm_announce(fsm, out, VRRP_ANNOUNCE_MASTER);
	vrrp_fsm_transition(fsm, out, VRRP_MASTER, cause, node);
}

/* The engine died as MASTER and was started again, the addresses are still there. Nothing is sent
 * here: the adverts that came meanwhile wait in the sockets and are judged first; the deadline is
 * now, so that the advert follows at once. */
void vrrp_fsm_resume(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out)
{
	const uint64_t last_us = min_us(ev->u.resume.last_advert_us, ev->now_us);

	assert(ev->u.resume.priority > 0);
	if (!fsm->link_up || ev->now_us >= later(last_us, vrrp_fsm_others_wait_us(fsm))) {
		vrrp_fsm_act(out, VRRP_DO_RELEASE);
		if (!fsm->link_up)
			vrrp_fsm_become_fault(fsm, out, VRRP_CAUSE_LINK_DOWN, VRRP_NEVER_US);
		else
			vrrp_fsm_become_backup(fsm, out, VRRP_CAUSE_AWAY, -1,
					       later(fsm->now_us, fsm->conf.advert_int_us));
		return;
	}
	if (!fsm->maintenance)
		fsm->rank = fsm->priority = ev->u.resume.priority;
	fsm->priority_kept = true;
	enter_master(fsm);
	fsm->evidence_us = last_us;
	fsm->sent_us = last_us;
	fsm->advert_us = fsm->now_us;
	vrrp_fsm_act(out, VRRP_DO_HOLD);
	vrrp_fsm_transition(fsm, out, VRRP_MASTER, VRRP_CAUSE_RESUMED, -1);
}

static void end_resignation(struct vrrp_fsm *fsm)
{
	fsm->resigned_until_us = VRRP_NEVER_US;
}

static void advertise(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const uint64_t due_us = later(fsm->advert_us, fsm->conf.advert_int_us);

	vrrp_fsm_send(fsm, out, fsm->priority);
	/* In step with the last one unless that is past: no drift, and no burst after a delay. */
	fsm->advert_us =
		due_us > fsm->now_us ? due_us : later(fsm->now_us, fsm->conf.advert_int_us);
}

static void advertise_now(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	fsm->advert_us = fsm->now_us;
	advertise(fsm, out);
}

/* One priority 0, then silence until the slowest peer has had its time; the addresses stay. Any
 * advert in between would make a keepalived with nopreempt obey for another master-down. */
static void resign(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	vrrp_fsm_send(fsm, out, VRRP_PRIORITY_LEAVE);
	vrrp_fsm_raise(out, VRRP_ALARM_RESIGNED);
	fsm->stats.resignations++;
	fsm->resigned_until_us = later(fsm->now_us, vrrp_fsm_succession_us(fsm));
	fsm->advert_us = fsm->resigned_until_us;
	if (fsm->announce_us < fsm->resigned_until_us)
		fsm->announce_us = fsm->resigned_until_us;
	fsm->resign_again_us = later(fsm->now_us, resign_backoff_us(fsm));
	if (fsm->resign_doublings < VRRP_RESIGN_DOUBLINGS_MAX)
		fsm->resign_doublings++;
}

static void rank_changed(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	/* Once for each change of health, then with back-off: resigning whenever sick passed the
	 * addresses to and fro, resigning once only stranded them: both were
	 * seen in simulation. */
	fsm->resign_doublings = 0;
	fsm->resign_again_us = VRRP_NEVER_US;
	if (vrrp_fsm_sick(fsm) && fsm->conf.nopreempt) {
		if (!resigned(fsm) && foreign_is_higher(fsm, true)) {
			resign(fsm, out);
			return;
		}
		fsm->resign_again_us = later(fsm->now_us, resign_backoff_us(fsm));
		if (resigned(fsm))
			return;
	}
	/* At once: who is to take from a sick holder should not wait for the next one. */
	end_resignation(fsm);
	advertise_now(fsm, out);
}

/* It may be asked for where nobody would take over: then there is nobody to wait for either. */
static void hand_over(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause)
{
	if (vrrp_fsm_others_wait_us(fsm) == VRRP_NEVER_US)
		return;
	vrrp_fsm_become_leaving(fsm, out, cause);
	fsm->returns = true;
	fsm->handed_over = cause == VRRP_CAUSE_HANDOVER;
}

static void master_maintenance(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			       struct vrrp_actions *out)
{
	const bool was_on = fsm->maintenance, changed = vrrp_fsm_note_maintenance(fsm, ev);

	if (fsm->maintenance && !was_on)
		hand_over(fsm, out, VRRP_CAUSE_MAINTENANCE);
	if (changed && fsm->state == VRRP_MASTER)
		rank_changed(fsm, out);
}

/* The announcements that follow a contention; A9 bounds them. */
static void begin_series(struct vrrp_fsm *fsm)
{
	if (fsm->contend_before_us &&
	    fsm->now_us < later(fsm->contend_before_us, VRRP_CONTENTION_GAP_US))
		return;
	fsm->contend_step = 0;
	fsm->contend_before_us = fsm->contend_from_us;
	fsm->contend_from_us = fsm->now_us;
}

/* Somebody of lower rank believes that he is the master. RFC 9568 section 6.4.3 (735) only
 * discards; keepalived answers with five gratuitous ARPs each time, 860 a second in a split. The
 * answer's rate is bounded, and the announcements come when the other's own are through. */
static void win_contention(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const uint64_t quiet_us = max_us(3 * fsm->conf.advert_int_us, 2000000);
	const bool took_it =
		fsm->cause == VRRP_CAUSE_PREEMPT || fsm->cause == VRRP_CAUSE_SICK_HOLDER;
	const uint64_t silent_us =
		fsm->contend_last_us ? fsm->now_us - fsm->contend_last_us : VRRP_NEVER_US;
	const bool first = silent_us > quiet_us;

	/* The last word of the one that it was taken from is no contention. */
	if (first && !(took_it && fsm->now_us - fsm->since_us < fsm->conf.advert_int_us)) {
		vrrp_fsm_raise(out, VRRP_ALARM_CONTENTION);
		fsm->stats.contentions++;
	}
	fsm->contend_last_us = fsm->now_us;
	/* What is left of the series of an earlier one must not keep this one waiting: who left out
	 * an advert or two has probably yielded meanwhile, and taken over once more. */
	if (silent_us > 2 * fsm->conf.advert_int_us ||
	    vrrp_fsm_contend_deadline_us(fsm) == VRRP_NEVER_US)
		begin_series(fsm);
}

/* Who handed over to us has let go by now: whoever resolved an address while both of us held it may
 * have got the other one. */
void vrrp_fsm_hear_last_word(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			     struct vrrp_actions *out)
{
	if (resigned(fsm) || ev->u.advert.arrival_us < fsm->evidence_us ||
	    vrrp_fsm_contend_deadline_us(fsm) != VRRP_NEVER_US)
		return;
	vrrp_fsm_announce(fsm, out, VRRP_ANNOUNCE_MASTER);
	begin_series(fsm);
}

static void answer(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	if (fsm->now_us < fsm->answer_us)
		return;
	advertise_now(fsm, out);
	fsm->answer_us =
		later(fsm->now_us, min_us(VRRP_ANSWER_GAP_US, fsm->conf.advert_int_us / 2));
}

/* RFC 9568 section 6.4.3 (700) to (760). */
static void master_hears(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			 struct vrrp_actions *out)
{
	const int node = ev->u.advert.node, self = fsm->conf.self;
	const uint8_t priority = ev->u.advert.priority;
	const uint64_t arrival_us = min_us(ev->u.advert.arrival_us, ev->now_us);
	enum vrrp_cause cause;

	/* What arrived before we took over was part of why we did. */
	if (arrival_us < fsm->evidence_us)
		return;
	if (priority == VRRP_PRIORITY_LEAVE) { /* (705) */
		if (!resigned(fsm))
			answer(fsm, out);
		return;
	}
	if (vrrp_fsm_outranks(fsm, priority, node, fsm->priority, self))
		cause = priority > fsm->priority ? VRRP_CAUSE_HIGHER_PRIORITY
						 : VRRP_CAUSE_HIGHER_ADDRESS;
	else if (resigned(fsm) && !peer_is_sick(fsm, node, priority))
		cause = VRRP_CAUSE_RESIGNED; /* a healthy successor is what was asked for */
	else if (mute(fsm))
		cause = VRRP_CAUSE_MUTE;
	else
		cause = VRRP_CAUSE_NONE;
	if (cause == VRRP_CAUSE_NONE) {
		if (resigned(fsm)) {
			end_resignation(fsm);
			fsm->answer_us = 0; /* the silence ends here and now */
		}
		win_contention(fsm, out);
		answer(fsm, out);
		return;
	}
	/* It was silence that made us master, so who is heard now may have held all along, and half
	 * of the neighbours know our hardware address. It may never have heard of us: told, it
	 * announces (see win_contention). Without that a client missed the address for 8 s after a
	 * split; and where adverts get lost, so may the one that tells it. */
	if (fsm->cause == VRRP_CAUSE_MASTER_DOWN && cause != VRRP_CAUSE_MUTE && !resigned(fsm))
		for (int i = 0; i < VRRP_YIELD_ADVERTS; i++)
			vrrp_fsm_send(fsm, out, fsm->priority);
	vrrp_fsm_become_backup(fsm, out, cause, node,
			       later(arrival_us, patience_us(fsm, fsm->conf.advert_int_us)));
	vrrp_fsm_judge_master(fsm, node, arrival_us, fsm->now_us);
}

/* Put back what somebody removed, at once while that is rare. The allowance fills up again with
 * time, so that two managers who fight over an address do not do it at full speed (A17). */
static void put_back(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const uint64_t room_us = (VRRP_PUT_BACKS_MAX - 1) * (uint64_t)VRRP_PUT_BACK_GAP_US;

	if (fsm->put_back_full_us > later(fsm->now_us, room_us)) {
		if (fsm->put_back_us == VRRP_NEVER_US)
			vrrp_fsm_raise(out, VRRP_ALARM_PUT_BACK_LIMITED);
		fsm->put_back_us = fsm->put_back_full_us - room_us;
		return;
	}
	fsm->put_back_full_us =
		later(max_us(fsm->put_back_full_us, fsm->now_us), VRRP_PUT_BACK_GAP_US);
	fsm->put_back_us = VRRP_NEVER_US;
	fsm->stats.put_backs++;
	vrrp_fsm_act(out, VRRP_DO_HOLD);
	if (!resigned(fsm))
		vrrp_fsm_announce(fsm, out, VRRP_ANNOUNCE_MASTER);
	vrrp_fsm_raise(out, VRRP_ALARM_ADDRESS_LOST);
}

static void master_timer(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const uint64_t now_us = fsm->now_us;
	enum vrrp_announce which = VRRP_ANNOUNCES;

	if (now_us >= fsm->resign_again_us) {
		fsm->resign_again_us = VRRP_NEVER_US;
		if (vrrp_fsm_sick(fsm) && fsm->conf.nopreempt && !resigned(fsm) &&
		    foreign_is_higher(fsm, false))
			resign(fsm, out);
	}
	if (now_us >= fsm->advert_us) {
		end_resignation(fsm);
		advertise(fsm, out);
	}
	if (now_us >= fsm->put_back_us)
		put_back(fsm, out);
	while (now_us >= vrrp_fsm_contend_deadline_us(fsm)) {
		fsm->contend_step++;
		which = VRRP_ANNOUNCE_CONTENTION;
	}
	if (now_us >= fsm->announce_us) {
		if (fsm->announced_once)
			which = VRRP_ANNOUNCE_MASTER;
		else if (which == VRRP_ANNOUNCES)
			which = VRRP_ANNOUNCE_REFRESH;
		fsm->announced_once = false;
		fsm->announce_us = fsm->conf.garp_master_refresh_us
					   ? later(now_us, fsm->conf.garp_master_refresh_us)
					   : VRRP_NEVER_US;
	}
	if (which != VRRP_ANNOUNCES && !resigned(fsm))
		vrrp_fsm_announce(fsm, out, which);
}

void vrrp_fsm_step_master(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			  struct vrrp_actions *out)
{
	switch (ev->type) {
	case VRRP_EV_ADVERT:
		master_hears(fsm, ev, out);
		break;
	case VRRP_EV_TIMER:
		master_timer(fsm, out);
		break;
	case VRRP_EV_HEALTH:
		if (vrrp_fsm_note_health(fsm, ev))
			rank_changed(fsm, out);
		break;
	case VRRP_EV_LINK:
		vrrp_fsm_note_link(fsm, ev->u.link.up);
		if (!fsm->link_up)
			vrrp_fsm_become_fault(fsm, out, VRRP_CAUSE_LINK_DOWN, VRRP_NEVER_US);
		break;
	case VRRP_EV_STOP:
		vrrp_fsm_become_leaving(fsm, out, VRRP_CAUSE_STOP);
		break;
	case VRRP_EV_HANDOVER:
		if (!ev->u.handover.lift)
			hand_over(fsm, out, VRRP_CAUSE_HANDOVER);
		break;
	case VRRP_EV_MAINTENANCE:
		master_maintenance(fsm, ev, out);
		break;
	case VRRP_EV_HOLD_FAILED:
		vrrp_fsm_become_fault(fsm, out, VRRP_CAUSE_HOLD_FAILED,
				      later(fsm->now_us, VRRP_HOLD_RETRY_US));
		break;
	case VRRP_EV_ADDRESS_LOST:
		put_back(fsm, out);
		break;
	case VRRP_EV_SEND_FAILED:
		/* Holding on is right while nobody else is heard; see VRRP_CAUSE_MUTE. */
		fsm->stats.send_failures++;
		if (!fsm->mute)
			vrrp_fsm_raise(out, VRRP_ALARM_SEND_FAILED);
		fsm->mute = true;
		fsm->mute_until_us = later(fsm->now_us, VRRP_MUTE_FORGET_US);
		fsm->sending = false;
		break;
	case VRRP_EV_CONF:
		vrrp_fsm_note_conf(fsm, ev->u.conf.conf);
		if (ev->u.conf.vips_changed) {
			vrrp_fsm_act(out, VRRP_DO_HOLD);
			if (!resigned(fsm))
				vrrp_fsm_announce(fsm, out, VRRP_ANNOUNCE_MASTER);
		}
		/* The others follow a new interval from the next advert on. */
		if (!resigned(fsm))
			advertise_now(fsm, out);
		break;
	case VRRP_EV_GROUP_YIELD:
		if (!fsm->conf.grouped)
			break;
		vrrp_fsm_send(fsm, out, VRRP_PRIORITY_LEAVE);
		vrrp_fsm_become_backup(
			fsm, out, VRRP_CAUSE_GROUP, -1,
			later(fsm->now_us, patience_us(fsm, fsm->conf.advert_int_us)));
		fsm->handed_over = ev->u.yield.handed_over;
		break;
	case VRRP_EV_GROUP_TAKE:
	case VRRP_EV_GROUP_LEFT:
	case VRRP_EV_AWAY: /* judged before, in vrrp_fsm_step() */
	case VRRP_EV_ANNOUNCED:
		break;
	case VRRP_EV_START:
	case VRRP_EV_RESUME:
	case VRRP_EVENTS:
		assert(!"an event of MASTER");
	}
}
