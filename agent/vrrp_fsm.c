/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/vrrp_fsm.h"

#include <assert.h>
#include <string.h>

/* ---- times ---- */

static uint64_t later(uint64_t base_us, uint64_t by_us)
{
	return base_us > VRRP_NEVER_US - by_us ? VRRP_NEVER_US : base_us + by_us;
}

static uint64_t min_us(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_us(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* RFC 9568 section 6.1, Skew_Time; RFC 3768 section 6.1 does not scale it by the interval. */
uint64_t vrrp_fsm_skew_us(uint8_t version, uint8_t priority, uint64_t advert_int_us)
{
	const uint64_t unit_us = version == 2 ? 1000000 : advert_int_us;

	return (256u - priority) * unit_us / 256;
}

uint64_t vrrp_fsm_master_down_us(uint8_t version, uint8_t priority, uint64_t advert_int_us)
{
	return 3 * advert_int_us + vrrp_fsm_skew_us(version, priority, advert_int_us);
}

uint64_t vrrp_fsm_others_wait_us(const struct vrrp_fsm *fsm)
{
	const struct vrrp_conf *conf = &fsm->conf;
	uint64_t wait_us = VRRP_NEVER_US;

	for (int i = 0; i < conf->nodes_count; i++)
		if (i != conf->self && conf->nodes[i].priority > 0)
			wait_us = min_us(wait_us, vrrp_fsm_master_down_us(conf->version,
									  conf->nodes[i].priority,
									  conf->advert_int_us));
	return wait_us;
}

/* After a priority 0 the slowest peer, at priority 1, takes over by then. */
static uint64_t succession_us(const struct vrrp_fsm *fsm)
{
	return vrrp_fsm_skew_us(fsm->conf.version, 1, fsm->conf.advert_int_us) +
	       VRRP_LEAVE_MARGIN_US;
}

static uint64_t own_skew_us(const struct vrrp_fsm *fsm)
{
	return vrrp_fsm_skew_us(fsm->conf.version, fsm->priority, fsm->master_int_us);
}

static uint64_t take_deadline_us(const struct vrrp_fsm *fsm)
{
	return later(fsm->take_base_us, own_skew_us(fsm));
}

static uint64_t backup_deadline_us(const struct vrrp_fsm *fsm)
{
	const uint64_t deadline_us =
		min_us(later(fsm->down_base_us, own_skew_us(fsm)), take_deadline_us(fsm));

	/* A node that does not know its own health leaves an address that nobody holds to the
	 * others for a while, but not for ever (A15). */
	return fsm->undetermined ? max_us(deadline_us, fsm->undetermined_until_us) : deadline_us;
}

static uint64_t contend_deadline_us(const struct vrrp_fsm *fsm)
{
	static const uint32_t after_us[VRRP_CONTENTION_ANNOUNCES] = {20000, 50000, 200000, 1000000};

	if (fsm->contend_step >= VRRP_CONTENTION_ANNOUNCES)
		return VRRP_NEVER_US;
	return later(fsm->contend_from_us, after_us[fsm->contend_step]);
}

uint64_t vrrp_fsm_deadline(const struct vrrp_fsm *fsm)
{
	switch (fsm->state) {
	case VRRP_INIT:
		return VRRP_NEVER_US;
	case VRRP_BACKUP:
		return backup_deadline_us(fsm);
	case VRRP_MASTER:
		return min_us(min_us(min_us(fsm->advert_us, fsm->announce_us),
				     min_us(contend_deadline_us(fsm), fsm->put_back_us)),
			      fsm->resign_again_us);
	case VRRP_LEAVING:
		return min_us(fsm->repeat_us, fsm->release_us);
	case VRRP_FAULT:
		return fsm->link_up ? fsm->retry_us : VRRP_NEVER_US;
	case VRRP_STATES:
		break;
	}
	assert(!"a state");
	return VRRP_NEVER_US;
}

/* ---- what is known ---- */

bool vrrp_fsm_holds(const struct vrrp_fsm *fsm)
{
	return fsm->state == VRRP_MASTER || fsm->state == VRRP_LEAVING;
}

bool vrrp_fsm_sick(const struct vrrp_fsm *fsm)
{
	return fsm->priority < fsm->conf.nodes[fsm->conf.self].priority;
}

int vrrp_fsm_master(const struct vrrp_fsm *fsm)
{
	if (vrrp_fsm_holds(fsm))
		return fsm->conf.self;
	return fsm->state == VRRP_BACKUP ? fsm->master : -1;
}

static bool resigned(const struct vrrp_fsm *fsm)
{
	return fsm->resigned_until_us != VRRP_NEVER_US;
}

static bool mute(const struct vrrp_fsm *fsm)
{
	return fsm->mute && fsm->now_us < fsm->mute_until_us;
}

/* An advert with this priority, from node, outranks one with that priority from other. */
static bool outranks(const struct vrrp_fsm *fsm, uint8_t priority, int node, uint8_t that,
		     int other)
{
	const struct ip_addr *a = &fsm->conf.nodes[node].address;
	const struct ip_addr *b = &fsm->conf.nodes[other].address;

	if (priority != that)
		return priority > that;
	if (a->family != b->family) /* our own is not known yet: whoever has one goes first */
		return b->family == IP_NONE;
	return ip_compare(a, b) > 0;
}

/* A peer that knows nothing of sickness and would have to be told. known_only: by what it last said
 * of itself, if it ever did; otherwise by what it says when nothing ails it. */
static bool foreign_is_higher(const struct vrrp_fsm *fsm, bool by_last_word)
{
	const struct vrrp_conf *conf = &fsm->conf;

	for (int i = 0; i < conf->nodes_count; i++) {
		const struct vrrp_peer *peer = &fsm->peers[i];
		uint8_t priority = conf->nodes[i].priority;

		if (i == conf->self || !conf->nodes[i].foreign || priority == 0)
			continue;
		if (by_last_word && peer->heard && peer->priority > 0)
			priority = peer->priority;
		if (priority > fsm->priority)
			return true;
	}
	return false;
}

/* ---- actions ---- */

static struct vrrp_action *act(struct vrrp_actions *out, enum vrrp_action_type type)
{
	struct vrrp_action *action;

	assert(out->count < VRRP_ACTIONS_MAX);
	action = &out->list[out->count++];
	memset(action, 0, sizeof(*action));
	action->type = type;
	return action;
}

static void alarm(struct vrrp_actions *out, enum vrrp_alarm which)
{
	act(out, VRRP_DO_ALARM)->u.alarm = which;
}

static void send_advert(struct vrrp_fsm *fsm, struct vrrp_actions *out, uint8_t priority)
{
	act(out, VRRP_DO_SEND)->u.priority = priority;
	fsm->stats.adverts_sent++;
	if (priority == VRRP_PRIORITY_LEAVE) {
		fsm->stats.priority_zero_sent++;
		return;
	}
	/* A failure comes back before the next event: none came, so the last one went out. */
	if (fsm->sending)
		fsm->mute = false;
	fsm->sending = true;
	fsm->sent_us = fsm->now_us;
}

static void announce(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	act(out, VRRP_DO_ANNOUNCE);
	fsm->stats.announces++;
}

static void transition(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_state to,
		       enum vrrp_cause cause, int node)
{
	struct vrrp_action *action = act(out, VRRP_DO_TRANSITION);

	action->u.transition.from = fsm->state;
	action->u.transition.to = to;
	action->u.transition.cause = cause;
	action->u.transition.node = node;
	fsm->state = to;
	fsm->cause = cause;
	fsm->since_us = fsm->now_us;
	fsm->stats.transitions++;
}

/* ---- entering states ---- */

/* No deadline of one state may live on in another. */
static void clear_deadlines(struct vrrp_fsm *fsm)
{
	fsm->master = -1;
	fsm->master_int_us = fsm->conf.advert_int_us;
	fsm->down_base_us = VRRP_NEVER_US;
	fsm->master_left = false;
	fsm->take_base_us = VRRP_NEVER_US;
	fsm->preempt_since_us = VRRP_NEVER_US;
	fsm->doubted = false;
	fsm->advert_us = VRRP_NEVER_US;
	fsm->announce_us = VRRP_NEVER_US;
	fsm->contend_step = VRRP_CONTENTION_ANNOUNCES;
	fsm->put_back_us = VRRP_NEVER_US;
	fsm->resigned_until_us = VRRP_NEVER_US;
	fsm->repeat_us = VRRP_NEVER_US;
	fsm->release_us = VRRP_NEVER_US;
	fsm->leave_end_us = VRRP_NEVER_US;
	fsm->successor = -1;
	fsm->successor_priority = 0;
	fsm->retry_us = VRRP_NEVER_US;
}

/* down_base_us: see there. Adverts that arrived later than that re-arm it. */
static void become_backup(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			  int node, uint64_t down_base_us)
{
	if (vrrp_fsm_holds(fsm))
		act(out, VRRP_DO_RELEASE);
	clear_deadlines(fsm);
	fsm->resign_again_us = VRRP_NEVER_US;
	fsm->down_base_us = down_base_us;
	transition(fsm, out, VRRP_BACKUP, cause, node);
}

static void become_fault(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			 uint64_t retry_us)
{
	if (vrrp_fsm_holds(fsm)) {
		send_advert(fsm, out, VRRP_PRIORITY_LEAVE); /* should the link still carry it */
		act(out, VRRP_DO_RELEASE);
	}
	clear_deadlines(fsm);
	fsm->resign_again_us = VRRP_NEVER_US;
	fsm->retry_us = retry_us;
	transition(fsm, out, VRRP_FAULT, cause, -1);
}

static uint64_t resign_backoff_us(const struct vrrp_fsm *fsm)
{
	const uint64_t down_us =
		vrrp_fsm_master_down_us(fsm->conf.version, fsm->priority, fsm->conf.advert_int_us);

	return VRRP_RESIGN_BACKOFF_DOWNS * down_us << fsm->resign_doublings;
}

static void enter_master(struct vrrp_fsm *fsm)
{
	clear_deadlines(fsm);
	fsm->answer_us = 0;
	fsm->contend_last_us = 0;
	fsm->stats.became_master++;
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
static void become_master(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			  int node)
{
	enter_master(fsm);
	fsm->evidence_us = fsm->now_us;
	fsm->advert_us = later(fsm->now_us, fsm->conf.advert_int_us);
	send_advert(fsm, out, fsm->priority);
	act(out, VRRP_DO_HOLD);
	announce(fsm, out);
	transition(fsm, out, VRRP_MASTER, cause, node);
}

/* From INIT, and from FAULT once its reason is gone. RFC 9568 section 6.4.1. */
static void begin(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause)
{
	if (!fsm->link_up)
		become_fault(fsm, out, VRRP_CAUSE_LINK_DOWN, VRRP_NEVER_US);
	else if (fsm->priority == VRRP_PRIORITY_OWNER && !fsm->undetermined)
		become_master(fsm, out, VRRP_CAUSE_OWNER, -1);
	else
		become_backup(fsm, out, cause, -1, later(fsm->now_us, 3 * fsm->conf.advert_int_us));
}

static void become_leaving(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const bool alone = vrrp_fsm_others_wait_us(fsm) == VRRP_NEVER_US;

	clear_deadlines(fsm);
	fsm->resign_again_us = VRRP_NEVER_US;
	send_advert(fsm, out, VRRP_PRIORITY_LEAVE);
	act(out, VRRP_DO_WATCH);
	transition(fsm, out, VRRP_LEAVING, VRRP_CAUSE_STOP, -1);
	fsm->repeat_us = alone ? VRRP_NEVER_US : later(fsm->now_us, VRRP_LEAVE_REPEAT_US);
	/* Backups are silent, so that none is there cannot be known: the wait is what the slowest
	 * would need. */
	fsm->leave_end_us =
		alone ? fsm->now_us
		      : later(fsm->now_us, min_us(fsm->conf.stop_wait_us, succession_us(fsm)));
	fsm->release_us = fsm->leave_end_us;
}

/* The last word of priority 1 makes a keepalived successor announce again, which reaches those who
 * resolved an address while two nodes held it (X4, X6). Only to a successor that was heard: a
 * backup that had not taken over yet would take it for a living master. And only to one that
 * outranks it: at priority 1, as with a failed check of weight 0, it would have to yield to it. */
static void finish_leaving(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause)
{
	const bool last_word = fsm->successor_priority > 1 && fsm->link_up;

	act(out, VRRP_DO_RELEASE);
	if (last_word)
		send_advert(fsm, out, 1);
	act(out, VRRP_DO_UNWATCH);
	clear_deadlines(fsm);
	transition(fsm, out, VRRP_INIT, cause, -1);
	act(out, VRRP_DO_STOPPED);
}

/* ---- events that several states treat alike ---- */

static void note_link(struct vrrp_fsm *fsm, bool up)
{
	if (up != fsm->link_up)
		fsm->mute = false;
	fsm->link_up = up;
}

/* Returns true if the effective priority changed. */
static bool note_health(struct vrrp_fsm *fsm, const struct vrrp_event *ev)
{
	const bool undetermined = ev->u.health.undetermined;
	const uint8_t before = fsm->priority;

	assert(ev->u.health.priority > 0);
	if (undetermined && !fsm->undetermined)
		fsm->undetermined_until_us = later(ev->now_us, fsm->conf.undetermined_wait_us);
	fsm->undetermined = undetermined;
	/* A resumed master knew its health; what it knew holds until it is known again. */
	if (undetermined && fsm->priority_kept)
		return false;
	fsm->priority_kept = false;
	fsm->priority = ev->u.health.priority;
	return fsm->priority != before;
}

/* A reload may have moved the nodes' places in the file: what is known follows the address. */
static void note_conf(struct vrrp_fsm *fsm, const struct vrrp_conf *conf)
{
	struct vrrp_peer peers[VRRP_NODES_MAX];
	int master = -1;

	assert(conf->version == fsm->conf.version);
	assert(conf->nodes_count <= VRRP_NODES_MAX && conf->self < conf->nodes_count);
	memset(peers, 0, sizeof(peers));
	for (int i = 0; i < conf->nodes_count; i++) {
		for (int j = 0; j < fsm->conf.nodes_count; j++) {
			if (!ip_equal(&conf->nodes[i].address, &fsm->conf.nodes[j].address))
				continue;
			peers[i] = fsm->peers[j];
			if (j == fsm->master)
				master = i;
		}
	}
	memcpy(fsm->peers, peers, sizeof(peers));
	fsm->master = master;
	fsm->successor = -1; /* a matter of milliseconds */
	fsm->conf = *conf;
}

/* ---- BACKUP ---- */

/* v3: the master's interval holds (RFC 9568 section 6.1). v2 knows one interval only; a peer that
 * was given another one is still alive between two of its adverts. */
static uint64_t interval_of(const struct vrrp_fsm *fsm, int node)
{
	const uint64_t interval_us = fsm->peers[node].advert_int_us;

	return fsm->conf.version == 3 ? interval_us : max_us(fsm->conf.advert_int_us, interval_us);
}

/* Never to an earlier time: an advert of one master does not make another's worth less. */
static void rearm(struct vrrp_fsm *fsm, int node, uint64_t arrival_us)
{
	const uint64_t base_us = later(arrival_us, 3 * interval_of(fsm, node));

	fsm->down_base_us =
		fsm->down_base_us == VRRP_NEVER_US ? base_us : max_us(fsm->down_base_us, base_us);
}

/* What an advert of a living master means to a backup. arrival_us re-arms master-down; since_us is
 * when the reason to take over, if there is one, came to be. RFC 9568 section 6.4.2 (420) to (470),
 * with two departures: a sick holder is not protected by nopreempt, and gives way after skew time
 * (DESIGN: "nopreempt means: do not take from a healthy holder"); and preempt_delay. */
static void judge_master(struct vrrp_fsm *fsm, int node, uint64_t arrival_us, uint64_t since_us)
{
	const struct vrrp_peer *peer = &fsm->peers[node];
	const uint8_t priority = peer->priority;
	const bool sick = priority < fsm->conf.nodes[node].priority;
	const bool may = !fsm->undetermined && !mute(fsm);

	fsm->master = node;
	fsm->master_left = false;
	fsm->doubted = false;
	fsm->master_int_us = interval_of(fsm, node);
	if (may && sick && fsm->priority > priority) {
		rearm(fsm, node, arrival_us);
		fsm->take_base_us = min_us(fsm->take_base_us, since_us);
		fsm->preempt_since_us = VRRP_NEVER_US;
		return;
	}
	fsm->take_base_us = VRRP_NEVER_US;
	if (may && fsm->priority > priority &&
	    (!fsm->conf.nopreempt || fsm->priority == VRRP_PRIORITY_OWNER)) {
		fsm->preempt_since_us = min_us(fsm->preempt_since_us, since_us);
		/* Past the delay its adverts no longer re-arm the timer, which so runs out. */
		if (fsm->now_us >= later(fsm->preempt_since_us, fsm->conf.preempt_delay_us) &&
		    fsm->down_base_us != VRRP_NEVER_US)
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
	    fsm->now_us >= later(fsm->peers[master].heard_us, 3 * interval_of(fsm, master))) {
		/* Nobody, or nobody any more: what is left is master-down. */
		fsm->take_base_us = VRRP_NEVER_US;
		fsm->preempt_since_us = VRRP_NEVER_US;
		return;
	}
	judge_master(fsm, master, fsm->peers[master].heard_us, fsm->now_us);
}

/* The highest master but node that was heard lately, or -1. */
static int other_master(const struct vrrp_fsm *fsm, int node, uint64_t now_us)
{
	int best = -1;

	for (int i = 0; i < fsm->conf.nodes_count; i++) {
		const struct vrrp_peer *peer = &fsm->peers[i];

		if (i == node || !peer->heard || peer->priority == VRRP_PRIORITY_LEAVE ||
		    now_us >= later(peer->heard_us, 3 * interval_of(fsm, i)))
			continue;
		if (best < 0 || outranks(fsm, peer->priority, i, fsm->peers[best].priority, best))
			best = i;
	}
	return best;
}

static void backup_hears(struct vrrp_fsm *fsm, int node, uint8_t priority, uint64_t arrival_us)
{
	const int master = fsm->master;
	int other;

	if (priority == VRRP_PRIORITY_LEAVE) {
		/* 6.4.2 (425). From somebody who is not the master it frees nothing. A repeat does
		 * not begin the wait anew, or a sender that repeats it would block us (X3). */
		if (master >= 0 && master != node)
			return;
		fsm->down_base_us = min_us(fsm->down_base_us, arrival_us);
		fsm->master = -1;
		fsm->master_left = true;
		fsm->take_base_us = VRRP_NEVER_US;
		fsm->preempt_since_us = VRRP_NEVER_US;
		fsm->doubted = false;
		other = other_master(fsm, node, arrival_us);
		if (other >= 0) /* its advert was passed over while a higher one was heard */
			judge_master(fsm, other, fsm->peers[other].heard_us, arrival_us);
		return;
	}
	/* Of two masters the one that will win is the one that counts, for as long as it is heard:
	 * the other one's sickness or departure is no reason to do anything. */
	if (master >= 0 && master != node &&
	    arrival_us < later(fsm->peers[master].heard_us, 3 * fsm->master_int_us) &&
	    outranks(fsm, fsm->peers[master].priority, master, priority, node)) {
		if (priority >= fsm->priority || fsm->conf.nopreempt)
			rearm(fsm, node, arrival_us);
		return;
	}
	judge_master(fsm, node, arrival_us, arrival_us);
}

static void backup_timer(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const uint64_t deadline_us = backup_deadline_us(fsm);
	const int node = fsm->master;
	enum vrrp_cause cause = VRRP_CAUSE_MASTER_DOWN;

	if (fsm->now_us < deadline_us)
		return;
	/* Seen so late that the silence may have been ours (a frozen machine's network card drops
	 * what comes): listen for one more interval, once. */
	if (!fsm->doubted && fsm->now_us - deadline_us > fsm->master_int_us) {
		fsm->doubted = true;
		fsm->down_base_us = later(fsm->now_us, fsm->master_int_us);
		fsm->take_base_us = VRRP_NEVER_US;
		alarm(out, VRRP_ALARM_DOUBT);
		return;
	}
	if (fsm->now_us >= take_deadline_us(fsm))
		cause = VRRP_CAUSE_SICK_HOLDER;
	else if (fsm->master_left)
		cause = VRRP_CAUSE_MASTER_LEFT;
	else if (fsm->preempt_since_us != VRRP_NEVER_US &&
		 fsm->now_us <= later(fsm->peers[node].heard_us, 3 * fsm->master_int_us))
		cause = VRRP_CAUSE_PREEMPT;
	become_master(fsm, out, cause, node);
}

static void step_backup(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out)
{
	bool was_undetermined;

	switch (ev->type) {
	case VRRP_EV_ADVERT:
		backup_hears(fsm, ev->u.advert.node, ev->u.advert.priority,
			     min_us(ev->u.advert.arrival_us, ev->now_us));
		break;
	case VRRP_EV_TIMER:
		backup_timer(fsm, out);
		break;
	case VRRP_EV_HEALTH:
		was_undetermined = fsm->undetermined;
		note_health(fsm, ev);
		if (was_undetermined && !fsm->undetermined && fsm->priority == VRRP_PRIORITY_OWNER)
			become_master(fsm, out, VRRP_CAUSE_OWNER, -1);
		else
			judge_again(fsm);
		/* That an elapsed deadline waited for the checks is no reason to doubt it. */
		if (was_undetermined && !fsm->undetermined)
			fsm->doubted = true;
		break;
	case VRRP_EV_LINK:
		note_link(fsm, ev->u.link.up);
		if (!fsm->link_up)
			become_fault(fsm, out, VRRP_CAUSE_LINK_DOWN, VRRP_NEVER_US);
		break;
	case VRRP_EV_STOP:
		clear_deadlines(fsm);
		transition(fsm, out, VRRP_INIT, VRRP_CAUSE_STOP, -1);
		act(out, VRRP_DO_STOPPED);
		break;
	case VRRP_EV_AWAY:
		/* Silence that nobody listened to proves nothing. */
		fsm->down_base_us =
			max_us(fsm->down_base_us, later(fsm->now_us, fsm->master_int_us));
		fsm->take_base_us = VRRP_NEVER_US;
		break;
	case VRRP_EV_CONF:
		note_conf(fsm, ev->u.conf.conf);
		judge_again(fsm);
		break;
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
}

/* ---- MASTER ---- */

static void end_resignation(struct vrrp_fsm *fsm)
{
	fsm->resigned_until_us = VRRP_NEVER_US;
}

static void advertise(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const uint64_t due_us = later(fsm->advert_us, fsm->conf.advert_int_us);

	send_advert(fsm, out, fsm->priority);
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
	send_advert(fsm, out, VRRP_PRIORITY_LEAVE);
	alarm(out, VRRP_ALARM_RESIGNED);
	fsm->stats.resignations++;
	fsm->resigned_until_us = later(fsm->now_us, succession_us(fsm));
	fsm->advert_us = fsm->resigned_until_us;
	if (fsm->announce_us < fsm->resigned_until_us)
		fsm->announce_us = fsm->resigned_until_us;
	fsm->resign_again_us = later(fsm->now_us, resign_backoff_us(fsm));
	if (fsm->resign_doublings < VRRP_RESIGN_DOUBLINGS_MAX)
		fsm->resign_doublings++;
}

static void master_health(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			  struct vrrp_actions *out)
{
	if (!note_health(fsm, ev))
		return;
	/* Once for each change of health, then with back-off: resigning whenever sick passed the
	 * addresses to and fro, resigning once only stranded them (X26). */
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

/* Somebody of lower rank believes that he is the master. RFC 9568 section 6.4.3 (735) only
 * discards; keepalived answers with five gratuitous ARPs each time, 860 a second in a split. The
 * answer's rate is bounded, and the announcements come when the other's own are through. */
static void win_contention(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const uint64_t quiet_us = max_us(3 * fsm->conf.advert_int_us, 2000000);

	if (fsm->contend_last_us == 0 || fsm->now_us - fsm->contend_last_us > quiet_us) {
		alarm(out, VRRP_ALARM_CONTENTION);
		fsm->stats.contentions++;
	}
	fsm->contend_last_us = fsm->now_us;
	if (fsm->contend_step >= VRRP_CONTENTION_ANNOUNCES) {
		fsm->contend_step = 0;
		fsm->contend_from_us = fsm->now_us;
	}
}

/* Who handed over to us has let go by now: whoever resolved an address while both of us held it may
 * have got the other one (X5). */
static void hear_last_word(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			   struct vrrp_actions *out)
{
	if (resigned(fsm) || ev->u.advert.arrival_us < fsm->evidence_us ||
	    fsm->contend_step < VRRP_CONTENTION_ANNOUNCES)
		return;
	announce(fsm, out);
	fsm->contend_step = 0;
	fsm->contend_from_us = fsm->now_us;
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
	if (outranks(fsm, priority, node, fsm->priority, self))
		cause = priority > fsm->priority ? VRRP_CAUSE_HIGHER_PRIORITY
						 : VRRP_CAUSE_HIGHER_ADDRESS;
	else if (resigned(fsm) && priority >= fsm->conf.nodes[node].priority)
		cause = VRRP_CAUSE_RESIGNED; /* a healthy successor is what was asked for */
	else if (mute(fsm))
		cause = VRRP_CAUSE_MUTE;
	else
		cause = VRRP_CAUSE_NONE;
	if (cause == VRRP_CAUSE_NONE) {
		end_resignation(fsm);
		win_contention(fsm, out);
		answer(fsm, out);
		return;
	}
	become_backup(fsm, out, cause, node, later(arrival_us, 3 * fsm->conf.advert_int_us));
	judge_master(fsm, node, arrival_us, fsm->now_us);
}

/* Put back what somebody removed, at once while that is rare. The allowance fills up again with
 * time, so that two managers who fight over an address do not do it at full speed (A17). */
static void put_back(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const uint64_t room_us = (VRRP_PUT_BACKS_MAX - 1) * (uint64_t)VRRP_PUT_BACK_GAP_US;

	if (fsm->put_back_full_us > later(fsm->now_us, room_us)) {
		if (fsm->put_back_us == VRRP_NEVER_US)
			alarm(out, VRRP_ALARM_PUT_BACK_LIMITED);
		fsm->put_back_us = fsm->put_back_full_us - room_us;
		return;
	}
	fsm->put_back_full_us =
		later(max_us(fsm->put_back_full_us, fsm->now_us), VRRP_PUT_BACK_GAP_US);
	fsm->put_back_us = VRRP_NEVER_US;
	fsm->stats.put_backs++;
	act(out, VRRP_DO_HOLD);
	if (!resigned(fsm))
		announce(fsm, out);
	alarm(out, VRRP_ALARM_ADDRESS_LOST);
}

static void master_timer(struct vrrp_fsm *fsm, struct vrrp_actions *out)
{
	const uint64_t now_us = fsm->now_us;
	bool due = false;

	if (now_us >= fsm->resign_again_us) {
		fsm->resign_again_us = VRRP_NEVER_US;
		if (vrrp_fsm_sick(fsm) && fsm->conf.nopreempt && !resigned(fsm) &&
		    foreign_is_higher(fsm, false)) {
			resign(fsm, out);
			return;
		}
	}
	if (now_us >= fsm->advert_us) {
		end_resignation(fsm);
		advertise(fsm, out);
	}
	if (now_us >= fsm->put_back_us)
		put_back(fsm, out);
	while (now_us >= contend_deadline_us(fsm)) {
		fsm->contend_step++;
		due = true;
	}
	if (now_us >= fsm->announce_us) {
		fsm->announce_us = fsm->conf.garp_master_refresh_us
					   ? later(now_us, fsm->conf.garp_master_refresh_us)
					   : VRRP_NEVER_US;
		due = true;
	}
	if (due && !resigned(fsm))
		announce(fsm, out);
}

static void step_master(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out)
{
	switch (ev->type) {
	case VRRP_EV_ADVERT:
		master_hears(fsm, ev, out);
		break;
	case VRRP_EV_TIMER:
		master_timer(fsm, out);
		break;
	case VRRP_EV_HEALTH:
		master_health(fsm, ev, out);
		break;
	case VRRP_EV_LINK:
		note_link(fsm, ev->u.link.up);
		if (!fsm->link_up)
			become_fault(fsm, out, VRRP_CAUSE_LINK_DOWN, VRRP_NEVER_US);
		break;
	case VRRP_EV_STOP:
		become_leaving(fsm, out);
		break;
	case VRRP_EV_HOLD_FAILED:
		become_fault(fsm, out, VRRP_CAUSE_HOLD_FAILED,
			     later(fsm->now_us, VRRP_HOLD_RETRY_US));
		break;
	case VRRP_EV_ADDRESS_LOST:
		put_back(fsm, out);
		break;
	case VRRP_EV_SEND_FAILED:
		/* Holding on is right while nobody else is heard; see VRRP_CAUSE_MUTE. */
		fsm->stats.send_failures++;
		if (!fsm->mute)
			alarm(out, VRRP_ALARM_SEND_FAILED);
		fsm->mute = true;
		fsm->mute_until_us = later(fsm->now_us, VRRP_MUTE_FORGET_US);
		fsm->sending = false;
		break;
	case VRRP_EV_CONF:
		note_conf(fsm, ev->u.conf.conf);
		if (ev->u.conf.vips_changed) {
			act(out, VRRP_DO_HOLD);
			if (!resigned(fsm))
				announce(fsm, out);
		}
		/* The others follow a new interval from the next advert on. */
		if (!resigned(fsm))
			advertise_now(fsm, out);
		break;
	case VRRP_EV_AWAY: /* judged before, in vrrp_fsm_step() */
	case VRRP_EV_ANNOUNCED:
		break;
	case VRRP_EV_START:
	case VRRP_EV_RESUME:
	case VRRP_EVENTS:
		assert(!"an event of MASTER");
	}
}

/* A master whose adverts have been missing for longer than the quickest peer waits has been
 * replaced by now, whether it noticed the time or not. Silence after a resignation is meant. */
static bool was_away(const struct vrrp_fsm *fsm, const struct vrrp_event *ev)
{
	const uint64_t pause_us = ev->type == VRRP_EV_AWAY ? ev->u.away.pause_us : 0;
	const uint64_t spoke_us =
		resigned(fsm) ? max_us(fsm->sent_us, fsm->resigned_until_us) : fsm->sent_us;

	return later(fsm->now_us, pause_us) >= later(spoke_us, vrrp_fsm_others_wait_us(fsm));
}

/* ---- LEAVING, INIT, FAULT ---- */

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
	/* It is heard before it answers: 2.5 ms with one address, 11 ms with 200 (X2). */
	fsm->successor = node;
	fsm->successor_priority = priority;
	fsm->repeat_us = VRRP_NEVER_US;
	fsm->release_us = min_us(fsm->leave_end_us, later(arrival_us, VRRP_LEAVE_GRACE_US));
}

static void step_leaving(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
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
		if (fsm->now_us >= fsm->release_us) {
			finish_leaving(fsm, out,
				       fsm->successor_priority ? VRRP_CAUSE_SUCCESSOR
							       : VRRP_CAUSE_NO_SUCCESSOR);
			break;
		}
		if (fsm->now_us >= fsm->repeat_us) {
			/* Seen too late it would only hold up who is about to take over (X3). */
			if (fsm->now_us <= later(fsm->since_us, 2 * VRRP_LEAVE_REPEAT_US))
				send_advert(fsm, out, VRRP_PRIORITY_LEAVE);
			fsm->repeat_us = VRRP_NEVER_US;
		}
		break;
	case VRRP_EV_LINK:
		note_link(fsm, ev->u.link.up);
		if (!fsm->link_up)
			finish_leaving(fsm, out, VRRP_CAUSE_LINK_DOWN);
		break;
	case VRRP_EV_HEALTH:
		note_health(fsm, ev);
		break;
	case VRRP_EV_CONF:
		note_conf(fsm, ev->u.conf.conf);
		break;
	case VRRP_EV_STOP:
	case VRRP_EV_SEND_FAILED:
	case VRRP_EV_ADDRESS_LOST:
	case VRRP_EV_HOLD_FAILED:
		break;
	case VRRP_EV_START:
	case VRRP_EV_RESUME:
	case VRRP_EVENTS:
		assert(!"an event of LEAVING");
	}
}

/* The engine died as MASTER and was started again, the addresses are still there. Nothing is sent
 * here: the adverts that came meanwhile wait in the sockets and are judged first; the deadline is
 * now, so that the advert follows at once. */
static void resume(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out)
{
	const uint64_t last_us = min_us(ev->u.resume.last_advert_us, ev->now_us);

	assert(ev->u.resume.priority > 0);
	if (!fsm->link_up || ev->now_us >= later(last_us, vrrp_fsm_others_wait_us(fsm))) {
		act(out, VRRP_DO_RELEASE);
		if (!fsm->link_up)
			become_fault(fsm, out, VRRP_CAUSE_LINK_DOWN, VRRP_NEVER_US);
		else
			become_backup(fsm, out, VRRP_CAUSE_AWAY, -1,
				      later(fsm->now_us, fsm->conf.advert_int_us));
		return;
	}
	fsm->priority = ev->u.resume.priority;
	fsm->priority_kept = true;
	enter_master(fsm);
	fsm->evidence_us = last_us;
	fsm->sent_us = last_us;
	fsm->advert_us = fsm->now_us;
	act(out, VRRP_DO_HOLD);
	transition(fsm, out, VRRP_MASTER, VRRP_CAUSE_RESUMED, -1);
}

static void step_init(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out)
{
	switch (ev->type) {
	case VRRP_EV_START:
		fsm->undetermined_until_us = later(fsm->now_us, fsm->conf.undetermined_wait_us);
		begin(fsm, out, VRRP_CAUSE_START);
		break;
	case VRRP_EV_RESUME:
		fsm->undetermined_until_us = later(fsm->now_us, fsm->conf.undetermined_wait_us);
		resume(fsm, ev, out);
		break;
	case VRRP_EV_LINK:
		note_link(fsm, ev->u.link.up);
		break;
	case VRRP_EV_HEALTH:
		note_health(fsm, ev);
		break;
	case VRRP_EV_CONF:
		note_conf(fsm, ev->u.conf.conf);
		break;
	case VRRP_EV_STOP:
		act(out, VRRP_DO_STOPPED);
		break;
	case VRRP_EV_ADVERT: /* before the start, or after the stop */
	case VRRP_EV_TIMER:
	case VRRP_EV_AWAY:
	case VRRP_EV_SEND_FAILED:
	case VRRP_EV_ADDRESS_LOST:
	case VRRP_EV_HOLD_FAILED:
	case VRRP_EV_ANNOUNCED:
		break;
	case VRRP_EVENTS:
		assert(!"an event of INIT");
	}
}

static void step_fault(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out)
{
	switch (ev->type) {
	case VRRP_EV_LINK:
		note_link(fsm, ev->u.link.up);
		if (fsm->link_up &&
		    (fsm->retry_us == VRRP_NEVER_US || fsm->now_us >= fsm->retry_us))
			begin(fsm, out, VRRP_CAUSE_LINK_UP);
		break;
	case VRRP_EV_TIMER:
		if (fsm->link_up && fsm->now_us >= fsm->retry_us)
			begin(fsm, out, VRRP_CAUSE_HOLD_RETRY);
		break;
	case VRRP_EV_HEALTH:
		note_health(fsm, ev);
		break;
	case VRRP_EV_CONF:
		note_conf(fsm, ev->u.conf.conf);
		break;
	case VRRP_EV_STOP:
		clear_deadlines(fsm);
		transition(fsm, out, VRRP_INIT, VRRP_CAUSE_STOP, -1);
		act(out, VRRP_DO_STOPPED);
		break;
	case VRRP_EV_ADVERT:
	case VRRP_EV_AWAY:
	case VRRP_EV_SEND_FAILED:
	case VRRP_EV_ADDRESS_LOST:
	case VRRP_EV_HOLD_FAILED:
	case VRRP_EV_ANNOUNCED:
		break;
	case VRRP_EV_START:
	case VRRP_EV_RESUME:
	case VRRP_EVENTS:
		assert(!"an event of FAULT");
	}
}

/* ---- the machine ---- */

void vrrp_fsm_init(struct vrrp_fsm *fsm, const struct vrrp_conf *conf)
{
	assert(conf->version == 2 || conf->version == 3);
	assert(conf->nodes_count >= 1 && conf->nodes_count <= VRRP_NODES_MAX);
	assert(conf->self >= 0 && conf->self < conf->nodes_count);
	assert(conf->nodes[conf->self].priority > 0 && conf->advert_int_us > 0);
	memset(fsm, 0, sizeof(*fsm));
	fsm->conf = *conf;
	fsm->priority = conf->nodes[conf->self].priority;
	fsm->undetermined_until_us = VRRP_NEVER_US;
	fsm->resign_again_us = VRRP_NEVER_US;
	clear_deadlines(fsm);
}

/* What an advert says of its sender. */
enum word { WORD_ALIVE, WORD_LEAVES, WORD_OVERTAKEN, WORD_LAST };

static enum word note_peer(struct vrrp_fsm *fsm, const struct vrrp_event *ev)
{
	const uint64_t arrival_us = min_us(ev->u.advert.arrival_us, ev->now_us);
	const uint8_t priority = ev->u.advert.priority;
	struct vrrp_peer *peer;

	assert(ev->u.advert.node >= 0 && ev->u.advert.node < fsm->conf.nodes_count);
	assert(ev->u.advert.node != fsm->conf.self && ev->u.advert.advert_int_us > 0);
	assert(vrrp_wire_usable(ev->u.advert.verdict));
	peer = &fsm->peers[ev->u.advert.node];
	fsm->stats.adverts_received++;
	fsm->stats.priority_zero_received += priority == VRRP_PRIORITY_LEAVE;
	fsm->stats.mismatches_received +=
		vrrp_wire_grade(ev->u.advert.verdict) == VRRP_GRADE_MISMATCH;
	if (peer->heard && peer->priority == VRRP_PRIORITY_LEAVE && priority > 0) {
		/* See finish_leaving(). Only one: who goes on like this is alive. */
		if (priority == 1 && !peer->last_word &&
		    arrival_us < later(peer->heard_us, VRRP_LAST_WORD_US)) {
			peer->last_word = true;
			return WORD_LAST;
		}
		/* The network may turn the order of the last advert and the priority 0 round. */
		if (arrival_us < later(peer->heard_us,
				       min_us(VRRP_OVERTAKEN_US, ev->u.advert.advert_int_us / 2)))
			return WORD_OVERTAKEN;
	}
	peer->heard = true;
	peer->heard_us = arrival_us;
	peer->priority = priority;
	peer->last_word = false;
	peer->advert_int_us = ev->u.advert.advert_int_us;
	peer->verdict = ev->u.advert.verdict;
	return priority == VRRP_PRIORITY_LEAVE ? WORD_LEAVES : WORD_ALIVE;
}

void vrrp_fsm_step(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out)
{
	assert(ev->now_us >= fsm->now_us);
	fsm->now_us = ev->now_us;
	out->count = 0;
	/* Before anything else, and before the event is looked at: it lets go before it asks. One
	 * interval is then enough to hear who replaced it. */
	if (fsm->state == VRRP_MASTER && was_away(fsm, ev))
		become_backup(fsm, out, VRRP_CAUSE_AWAY, -1,
			      later(fsm->now_us, fsm->conf.advert_int_us));
	if (ev->type == VRRP_EV_ADVERT) {
		const enum word word = note_peer(fsm, ev);

		if (word == WORD_LAST && fsm->state == VRRP_MASTER)
			hear_last_word(fsm, ev, out);
		if (word == WORD_LAST || word == WORD_OVERTAKEN)
			return;
	}
	switch (fsm->state) {
	case VRRP_INIT:
		step_init(fsm, ev, out);
		break;
	case VRRP_BACKUP:
		step_backup(fsm, ev, out);
		break;
	case VRRP_MASTER:
		step_master(fsm, ev, out);
		break;
	case VRRP_LEAVING:
		step_leaving(fsm, ev, out);
		break;
	case VRRP_FAULT:
		step_fault(fsm, ev, out);
		break;
	case VRRP_STATES:
		assert(!"a state");
	}
}
