/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/vrrp_fsm_private.h"

#include <string.h>

/* ---- times ---- */

/* RFC 9568 section 6.1, Skew_Time; RFC 3768 section 6.1 does not scale it by the interval. */
uint64_t vrrp_fsm_skew_us(uint8_t version, uint8_t priority, uint64_t advert_int_us)
{
	const uint64_t unit_us = version == 2 ? 1000000 : advert_int_us;

	return (256u - priority) * unit_us / 256;
}

uint64_t vrrp_fsm_master_down_us(const struct vrrp_conf *conf, uint8_t priority,
				 uint64_t advert_int_us)
{
	return conf->down_adverts * advert_int_us +
	       vrrp_fsm_skew_us(conf->version, priority, advert_int_us);
}

uint64_t vrrp_fsm_others_wait_us(const struct vrrp_fsm *fsm)
{
	const struct vrrp_conf *conf = &fsm->conf;
	uint64_t wait_us = VRRP_NEVER_US;

	for (int i = 0; i < conf->nodes_count; i++)
		if (i != conf->self && conf->nodes[i].priority > 0)
			wait_us = min_us(wait_us,
					 vrrp_fsm_master_down_us(conf, conf->nodes[i].priority,
								 conf->advert_int_us));
	return wait_us;
}

/* After a priority 0 the slowest peer, at priority 1, takes over by then; in a group when the
 * slowest of its members is ready to. */
uint64_t vrrp_fsm_succession_us(const struct vrrp_fsm *fsm)
{
	return max_us(vrrp_fsm_skew_us(fsm->conf.version, 1, fsm->conf.advert_int_us),
		      fsm->conf.group_skew_us) +
	       VRRP_LEAVE_MARGIN_US;
}

uint64_t vrrp_fsm_deadline(const struct vrrp_fsm *fsm)
{
	switch (fsm->state) {
	case VRRP_INIT:
		return VRRP_NEVER_US;
	case VRRP_BACKUP:
		return vrrp_fsm_backup_deadline_us(fsm);
	case VRRP_MASTER:
		return min_us(min_us(min_us(fsm->advert_us, fsm->announce_us),
				     min_us(vrrp_fsm_contend_deadline_us(fsm), fsm->put_back_us)),
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

/* An advert with this priority, from node, outranks one with that priority from other. */
bool vrrp_fsm_outranks(const struct vrrp_fsm *fsm, uint8_t priority, int node, uint8_t that,
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

/* ---- actions ---- */

struct vrrp_action *vrrp_fsm_act(struct vrrp_actions *out, enum vrrp_action_type type)
{
	struct vrrp_action *action;

	assert(out->count < VRRP_ACTIONS_MAX);
	action = &out->list[out->count++];
	action->type = type;
	return action;
}

void vrrp_fsm_raise(struct vrrp_actions *out, enum vrrp_alarm which)
{
	vrrp_fsm_act(out, VRRP_DO_ALARM)->u.alarm = which;
}

void vrrp_fsm_send(struct vrrp_fsm *fsm, struct vrrp_actions *out, uint8_t priority)
{
	vrrp_fsm_act(out, VRRP_DO_SEND)->u.priority = priority;
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

void vrrp_fsm_announce(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_announce which)
{
	vrrp_fsm_act(out, VRRP_DO_ANNOUNCE)->u.announce = which;
	fsm->stats.announces++;
}

void vrrp_fsm_transition(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_state to,
			 enum vrrp_cause cause, int node)
{
	struct vrrp_action *action = vrrp_fsm_act(out, VRRP_DO_TRANSITION);

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
void vrrp_fsm_clear_deadlines(struct vrrp_fsm *fsm)
{
	fsm->master = -1;
	fsm->master_int_us = fsm->conf.advert_int_us;
	fsm->down_base_us = VRRP_NEVER_US;
	fsm->master_left = false;
	fsm->left_node = -1;
	fsm->take_base_us = VRRP_NEVER_US;
	fsm->preempt_since_us = VRRP_NEVER_US;
	fsm->doubted = false;
	fsm->advert_us = VRRP_NEVER_US;
	fsm->announce_us = VRRP_NEVER_US;
	fsm->announced_once = false;
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
void vrrp_fsm_become_backup(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			    int node, uint64_t down_base_us)
{
	if (vrrp_fsm_holds(fsm))
		vrrp_fsm_act(out, VRRP_DO_RELEASE);
	vrrp_fsm_enter_backup(fsm, out, cause, node, down_base_us);
}

void vrrp_fsm_enter_backup(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			   int node, uint64_t down_base_us)
{
	vrrp_fsm_clear_deadlines(fsm);
	fsm->resign_again_us = VRRP_NEVER_US;
	fsm->down_base_us = down_base_us;
	vrrp_fsm_transition(fsm, out, VRRP_BACKUP, cause, node);
}

void vrrp_fsm_become_fault(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			   uint64_t retry_us)
{
	if (vrrp_fsm_holds(fsm)) {
		vrrp_fsm_send(fsm, out, VRRP_PRIORITY_LEAVE); /* should the link still carry it */
		vrrp_fsm_act(out, VRRP_DO_RELEASE);
	}
	vrrp_fsm_clear_deadlines(fsm);
	fsm->resign_again_us = VRRP_NEVER_US;
	fsm->retry_us = retry_us;
	vrrp_fsm_transition(fsm, out, VRRP_FAULT, cause, -1);
}

/* From INIT, and from FAULT once its reason is gone. RFC 9568 section 6.4.1. */
static void begin(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause)
{
	/* In a start-up delay the network may not carry anything yet: silence counts from its end,
	 * and for the owner not at all. */
	const uint64_t from_us = max_us(fsm->now_us, fsm->quiet_until_us);
	const uint64_t wait_us =
		owner(fsm) && quiet(fsm) ? 0 : patience_us(fsm, fsm->conf.advert_int_us);

	if (!fsm->link_up)
		vrrp_fsm_become_fault(fsm, out, VRRP_CAUSE_LINK_DOWN, VRRP_NEVER_US);
	else if (owner(fsm) && !fsm->undetermined && !quiet(fsm))
		vrrp_fsm_become_master(fsm, out, VRRP_CAUSE_OWNER, -1);
	else
		vrrp_fsm_become_backup(fsm, out, cause, -1, later(from_us, wait_us));
}

/* ---- events that several states treat alike ---- */

void vrrp_fsm_note_link(struct vrrp_fsm *fsm, bool up)
{
	if (up != fsm->link_up)
		fsm->mute = false;
	fsm->link_up = up;
}

/* Returns true if the effective priority changed. */
bool vrrp_fsm_note_health(struct vrrp_fsm *fsm, const struct vrrp_event *ev)
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
	fsm->rank = ev->u.health.priority;
	fsm->priority = fsm->maintenance ? VRRP_MAINTENANCE_PRIORITY : fsm->rank;
	return fsm->priority != before;
}

bool vrrp_fsm_note_maintenance(struct vrrp_fsm *fsm, const struct vrrp_event *ev)
{
	const uint8_t before = fsm->priority;

	fsm->maintenance = ev->u.maintenance.on;
	fsm->priority = fsm->maintenance ? VRRP_MAINTENANCE_PRIORITY : fsm->rank;
	return fsm->priority != before;
}

/* Who does not hold the addresses has nothing to hand over; what is lifted is lifted anywhere. */
void vrrp_fsm_note_handover(struct vrrp_fsm *fsm, const struct vrrp_event *ev)
{
	if (ev->u.handover.lift)
		fsm->handed_over = false;
}

/* A reload may have moved the nodes' places in the file: what is known follows the address. */
void vrrp_fsm_note_conf(struct vrrp_fsm *fsm, const struct vrrp_conf *conf)
{
	struct vrrp_peer peers[VRRP_NODES_MAX];
	int master = -1, successor = -1;

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
			if (j == fsm->successor)
				successor = i;
		}
	}
	memcpy(fsm->peers, peers, sizeof(peers));
	fsm->master = master;
	fsm->successor = successor;
	fsm->left_node = -1; /* a matter of milliseconds */
	if (successor < 0)
		fsm->successor_priority = 0;
	fsm->conf = *conf;
}

/* ---- INIT and FAULT ---- */

static void step_init(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out)
{
	switch (ev->type) {
	case VRRP_EV_START:
		fsm->quiet_until_us = ev->u.start.quiet_until_us;
		fsm->undetermined_until_us = later(fsm->now_us, fsm->conf.undetermined_wait_us);
		begin(fsm, out, VRRP_CAUSE_START);
		break;
	case VRRP_EV_RESUME:
		fsm->undetermined_until_us = later(fsm->now_us, fsm->conf.undetermined_wait_us);
		vrrp_fsm_resume(fsm, ev, out);
		break;
	case VRRP_EV_LINK:
		vrrp_fsm_note_link(fsm, ev->u.link.up);
		break;
	case VRRP_EV_HEALTH:
		vrrp_fsm_note_health(fsm, ev);
		break;
	case VRRP_EV_CONF:
		vrrp_fsm_note_conf(fsm, ev->u.conf.conf);
		break;
	case VRRP_EV_HANDOVER: /* nobody is asked here: it is remembered */
		fsm->handed_over = !ev->u.handover.lift;
		break;
	case VRRP_EV_MAINTENANCE:
		vrrp_fsm_note_maintenance(fsm, ev);
		break;
	case VRRP_EV_STOP:
		vrrp_fsm_act(out, VRRP_DO_STOPPED);
		break;
	case VRRP_EV_ADVERT: /* before the start, or after the stop */
	case VRRP_EV_TIMER:
	case VRRP_EV_AWAY:
	case VRRP_EV_SEND_FAILED:
	case VRRP_EV_ADDRESS_LOST:
	case VRRP_EV_HOLD_FAILED:
	case VRRP_EV_ANNOUNCED:
	case VRRP_EV_GROUP_TAKE:
	case VRRP_EV_GROUP_YIELD:
	case VRRP_EV_GROUP_LEFT:
		break;
	case VRRP_EVENTS:
		assert(!"an event of INIT");
	}
}

static void step_fault(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out)
{
	switch (ev->type) {
	case VRRP_EV_LINK:
		vrrp_fsm_note_link(fsm, ev->u.link.up);
		if (fsm->link_up &&
		    (fsm->retry_us == VRRP_NEVER_US || fsm->now_us >= fsm->retry_us))
			begin(fsm, out, VRRP_CAUSE_LINK_UP);
		break;
	case VRRP_EV_TIMER:
		if (fsm->link_up && fsm->now_us >= fsm->retry_us)
			begin(fsm, out, VRRP_CAUSE_HOLD_RETRY);
		break;
	case VRRP_EV_HEALTH:
		vrrp_fsm_note_health(fsm, ev);
		break;
	case VRRP_EV_CONF:
		vrrp_fsm_note_conf(fsm, ev->u.conf.conf);
		break;
	case VRRP_EV_HANDOVER:
		vrrp_fsm_note_handover(fsm, ev);
		break;
	case VRRP_EV_MAINTENANCE:
		vrrp_fsm_note_maintenance(fsm, ev);
		break;
	case VRRP_EV_STOP:
		vrrp_fsm_clear_deadlines(fsm);
		vrrp_fsm_transition(fsm, out, VRRP_INIT, VRRP_CAUSE_STOP, -1);
		vrrp_fsm_act(out, VRRP_DO_STOPPED);
		break;
	case VRRP_EV_ADVERT:
	case VRRP_EV_AWAY:
	case VRRP_EV_SEND_FAILED:
	case VRRP_EV_ADDRESS_LOST:
	case VRRP_EV_HOLD_FAILED:
	case VRRP_EV_ANNOUNCED:
	case VRRP_EV_GROUP_TAKE:
	case VRRP_EV_GROUP_YIELD:
	case VRRP_EV_GROUP_LEFT:
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
	assert(conf->down_adverts > 0);
	memset(fsm, 0, sizeof(*fsm));
	fsm->conf = *conf;
	fsm->rank = fsm->priority = conf->nodes[conf->self].priority;
	fsm->resign_again_us = VRRP_NEVER_US;
	vrrp_fsm_clear_deadlines(fsm);
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
		vrrp_fsm_become_backup(fsm, out, VRRP_CAUSE_AWAY, -1,
				       later(fsm->now_us, fsm->conf.advert_int_us));
	if (ev->type == VRRP_EV_ADVERT) {
		const enum word word = note_peer(fsm, ev);

		if (word == WORD_LAST && fsm->state == VRRP_MASTER)
			vrrp_fsm_hear_last_word(fsm, ev, out);
		if (word == WORD_LAST || word == WORD_OVERTAKEN)
			return;
	}
	switch (fsm->state) {
	case VRRP_INIT:
		step_init(fsm, ev, out);
		break;
	case VRRP_BACKUP:
		vrrp_fsm_step_backup(fsm, ev, out);
		break;
	case VRRP_MASTER:
		vrrp_fsm_step_master(fsm, ev, out);
		break;
	case VRRP_LEAVING:
		vrrp_fsm_step_leaving(fsm, ev, out);
		break;
	case VRRP_FAULT:
		step_fault(fsm, ev, out);
		break;
	case VRRP_STATES:
		assert(!"a state");
	}
}
