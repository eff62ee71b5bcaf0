/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrrp_oracle: checks one node's steps against docs/INVARIANTS.md, chapter Agent.
 *
 * It keeps its own account of what the node was told and what it did, and looks at the state
 * machine's fields only to learn its state and priority: a mistake in the core must not be able to
 * hide itself. A broken invariant is reported by its number through oracle_fail(), which the
 * simulator defines.
 */
#ifndef TANDEM_VRRP_ORACLE_H
#define TANDEM_VRRP_ORACLE_H

#include <string.h>

#include "agent/vrrp_fsm.h"

#define ORACLE_RING 10

struct oracle_peer {
	uint64_t arrival_us; /* of its last advert; 0: none */
	bool last_word;
	uint8_t priority;
	uint64_t interval_us;
	bool sick;
	bool must_obey; /* at arrival: equal or higher than our own */
	bool lesser;	/* another master was heard that outranks it */
	bool read;	/* by a node that was BACKUP */
};

struct oracle {
	bool held;
	bool begun; /* until START or RESUME a dead engine's addresses may still be there */
	enum vrrp_state state;
	bool void_advert;     /* the event in hand is one that must have no effect */
	uint64_t spoke_us;    /* last advert above 0 */
	uint64_t resigned_us; /* 0: not since spoke_us */
	uint64_t evidence_us; /* since when adverts bind a MASTER */
	uint64_t answered_us;
	uint64_t left_us; /* LEAVING began */
	uint64_t left_end_us;
	int zeros; /* sent in LEAVING */
	int successor;
	uint64_t successor_us; /* first advert in LEAVING; 0: none */
	uint64_t undetermined_until_us;
	uint64_t quiet_until_us; /* the start-up delay */
	bool undetermined;
	bool handed_over;
	bool returns; /* from LEAVING */
	uint8_t priority;
	uint64_t health_us; /* last change */
	uint64_t resign_last_us;
	int resigns; /* since health_us */
	uint64_t announces[ORACLE_RING];
	int announces_count;
	uint64_t put_backs[VRRP_PUT_BACKS_MAX];
	int put_backs_count;
	struct oracle_peer peers[VRRP_NODES_MAX];
};

void oracle_fail(const char *invariant, const char *what);

static inline void oracle_init(struct oracle *o, const struct vrrp_fsm *fsm, bool held)
{
	memset(o, 0, sizeof(*o));
	o->held = held;
	o->state = VRRP_INIT;
	o->priority = fsm->priority;
}

static inline uint64_t oracle_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* By whom a MASTER must let itself be replaced, RFC 9568 section 6.4.3. */
static inline bool oracle_outranked(const struct vrrp_fsm *fsm, int node, uint8_t priority)
{
	const struct vrrp_conf *conf = &fsm->conf;

	if (priority != fsm->priority)
		return priority > fsm->priority;
	return ip_compare(&conf->nodes[node].address, &conf->nodes[conf->self].address) > 0;
}

static inline uint64_t oracle_succession_us(const struct vrrp_fsm *fsm)
{
	return vrrp_fsm_skew_us(fsm->conf.version, 1, fsm->conf.advert_int_us) + 100000;
}

/* Of two masters heard at one time the higher one is the holder; the other is about to yield. */
static inline void oracle_rank_masters(struct oracle *o, const struct vrrp_fsm *fsm, int node)
{
	struct oracle_peer *peer = &o->peers[node];

	peer->lesser = false;
	for (int i = 0; i < fsm->conf.nodes_count; i++) {
		struct oracle_peer *other = &o->peers[i];

		if (i == node || other->priority == 0 ||
		    other->arrival_us + fsm->conf.down_adverts * other->interval_us <=
			    peer->arrival_us)
			continue;
		if (other->priority >= peer->priority)
			peer->lesser = true;
		if (other->priority <= peer->priority)
			other->lesser = true;
	}
}

static inline void oracle_take_over(const struct oracle *o, const struct vrrp_fsm *fsm,
				    const struct vrrp_event *ev, enum vrrp_cause cause)
{
	const uint64_t now = ev->now_us;
	const bool yields = o->handed_over || (fsm->conf.nopreempt && fsm->priority < 255);
	const char *const number = o->handed_over ? "A25" : "A5";
	const struct oracle_peer *latest = NULL;
	bool sick_heard = false, lower_heard = false, zero_heard = false;

	for (int i = 0; i < fsm->conf.nodes_count; i++) {
		const struct oracle_peer *peer = &o->peers[i];

		if (!peer->arrival_us)
			continue;
		if (peer->priority > 0 && peer->sick && peer->priority < fsm->priority &&
		    now < peer->arrival_us + fsm->conf.down_adverts * peer->interval_us + 2000000)
			sick_heard = true;
		if (peer->priority > 0 && peer->priority < fsm->priority &&
		    now <= peer->arrival_us + fsm->conf.down_adverts * peer->interval_us)
			lower_heard = true;
		zero_heard |= peer->priority == 0;
		/* What it heard as MASTER it has answered. */
		if (!peer->read)
			continue;
		if ((!latest || peer->arrival_us > latest->arrival_us) && !peer->lesser)
			latest = peer;
		if (peer->priority == 0)
			continue;
		if (yields && !peer->sick && !peer->lesser &&
		    now < peer->arrival_us + peer->interval_us)
			oracle_fail(number, "took over under nopreempt one interval after a "
					    "healthy advert");
		if (cause == VRRP_CAUSE_MASTER_DOWN && peer->must_obey &&
		    now < peer->arrival_us + fsm->conf.down_adverts * peer->interval_us)
			oracle_fail("A6", "took over for master-down while a master was heard");
	}
	if (latest && latest->priority > 0 && !latest->sick && yields &&
	    now < latest->arrival_us + fsm->conf.down_adverts * latest->interval_us)
		oracle_fail(number, "took over under nopreempt from a healthy holder");
	if (cause == VRRP_CAUSE_SICK_HOLDER && !sick_heard)
		oracle_fail("A16", "took over from a sick holder that does not rank lower");
	if (cause == VRRP_CAUSE_PREEMPT && (!lower_heard || yields))
		oracle_fail("A31", "preempted nobody that it may preempt");
	if (cause == VRRP_CAUSE_MASTER_LEFT && !zero_heard)
		oracle_fail("A31", "took over from a master that did not leave");
	if (cause == VRRP_CAUSE_OWNER && fsm->priority != 255)
		oracle_fail("A31", "took over as the owner, which it is not");
	if (cause != VRRP_CAUSE_PREEMPT && cause != VRRP_CAUSE_MASTER_LEFT &&
	    cause != VRRP_CAUSE_OWNER && cause != VRRP_CAUSE_MASTER_DOWN &&
	    cause != VRRP_CAUSE_SICK_HOLDER)
		oracle_fail("A31", "took over for a cause that is none");
	if (o->undetermined && (cause == VRRP_CAUSE_PREEMPT || cause == VRRP_CAUSE_SICK_HOLDER ||
				cause == VRRP_CAUSE_OWNER))
		oracle_fail("A15", "took from somebody without knowing its own health");
	if (o->undetermined && now < o->undetermined_until_us)
		oracle_fail("A15", "did not wait for its checks");
	if (now < o->quiet_until_us)
		oracle_fail("A32", "took over in its start-up delay");
}

static inline void oracle_send(struct oracle *o, const struct vrrp_fsm *fsm,
			       const struct vrrp_event *ev, uint8_t priority, bool enters_fault)
{
	const uint64_t now = ev->now_us;
	const uint64_t gap_us =
		fsm->conf.advert_int_us / 2 < 20000 ? fsm->conf.advert_int_us / 2 : 20000;

	if (priority > 0 && fsm->state == VRRP_MASTER) {
		if (priority != fsm->priority)
			oracle_fail("A4", "advertised another priority than its own");
		if (ev->type == VRRP_EV_ADVERT && o->state == VRRP_MASTER) {
			if (o->answered_us && now < o->answered_us + gap_us)
				oracle_fail("A9", "answered too often");
			o->answered_us = now;
		}
		o->spoke_us = now;
		o->resigned_us = 0;
		return;
	}
	if (priority > 0 && o->state == VRRP_MASTER && fsm->state == VRRP_BACKUP &&
	    ev->type == VRRP_EV_ADVERT) {
		if (priority != fsm->priority || o->resigned_us)
			oracle_fail("A4", "yielded with another word than its own advert");
		return;
	}
	if (priority > 0) {
		if (priority != 1 || o->state != VRRP_LEAVING || !o->successor_us ||
		    fsm->state != (o->returns ? VRRP_BACKUP : VRRP_INIT))
			oracle_fail("A4", "an advert from a node that is not MASTER");
		return;
	}
	if (enters_fault)
		return;
	if (fsm->state == VRRP_LEAVING) {
		if (++o->zeros > 2 || (o->zeros == 2 && now > o->left_us + 10000))
			oracle_fail("A2", "repeated its priority 0 too often or too late");
		return;
	}
	if (o->state != VRRP_MASTER || fsm->state != VRRP_MASTER) {
		oracle_fail("A2", "a priority 0 from a node that holds nothing");
		return;
	}
	/* A resignation. */
	if (o->resigned_us)
		oracle_fail("A13", "resigned while resigned");
	bool higher = false;
	for (int i = 0; i < fsm->conf.nodes_count; i++)
		if (i != fsm->conf.self && fsm->conf.nodes[i].foreign &&
		    (!fsm->conf.nodes[i].unsaid || o->peers[i].arrival_us) &&
		    (fsm->conf.nodes[i].priority > fsm->priority ||
		     o->peers[i].priority > fsm->priority))
			higher = true;
	if (!higher || !fsm->conf.nopreempt ||
	    fsm->priority >= fsm->conf.nodes[fsm->conf.self].priority)
		oracle_fail("A13", "resigned without a reason");
	if (!((ev->type == VRRP_EV_HEALTH || ev->type == VRRP_EV_MAINTENANCE) &&
	      o->health_us == now)) {
		const uint64_t down_us =
			vrrp_fsm_master_down_us(&fsm->conf, fsm->priority, fsm->conf.advert_int_us);
		const uint64_t last_us = oracle_max(o->health_us, o->resign_last_us);
		const int doublings = o->resigns > 10 ? 10 : o->resigns;

		if (now < last_us + (10 * down_us << (doublings ? doublings - 1 : 0)))
			oracle_fail("A13", "resigned again too early");
	}
	o->resigned_us = now;
	o->answered_us = 0; /* what ends the silence may come at any time */
	o->resign_last_us = now;
	o->resigns++;
}

static inline void oracle_announce(struct oracle *o, const struct vrrp_fsm *fsm,
				   const struct vrrp_event *ev)
{
	if (fsm->state != VRRP_MASTER || !o->held)
		oracle_fail("A3", "announced without holding");
	if (o->resigned_us)
		oracle_fail("A3", "announced after it resigned");
	if (ev->type != VRRP_EV_TIMER || o->state != VRRP_MASTER)
		return;
	uint64_t *slot = &o->announces[o->announces_count++ % ORACLE_RING];

	if (*slot && ev->now_us < *slot + 1000000)
		oracle_fail("A9", "announced too often");
	*slot = ev->now_us;
}

static inline void oracle_end_leaving(const struct oracle *o, const struct vrrp_fsm *fsm,
				      const struct vrrp_event *ev)
{
	const bool granted = ev->type == VRRP_EV_ANNOUNCED || ev->type == VRRP_EV_LINK ||
			     ev->type == VRRP_EV_AWAY ||
			     (o->successor_us && ev->now_us >= o->successor_us + 50000) ||
			     ev->now_us >= o->left_end_us ||
			     vrrp_fsm_others_wait_us(fsm) == VRRP_NEVER_US;

	if (!granted)
		oracle_fail("A12", "let go before a successor was there");
	if (!o->returns && fsm->state != VRRP_INIT)
		oracle_fail("A24", "an orderly stop that goes on");
	if (o->returns && fsm->state == VRRP_INIT)
		oracle_fail("A24", "a handover that stops the router");
	if (o->returns && fsm->state == VRRP_BACKUP && ev->type == VRRP_EV_TIMER &&
	    !o->successor_us && ev->now_us <= o->left_end_us + fsm->conf.advert_int_us)
		oracle_fail("A24", "let go though nobody was there");
}

/* An advert behind its sender's own priority 0: overtaken by it, or the one last word. */
static inline bool oracle_from_leaver(const struct oracle_peer *peer, const struct vrrp_event *ev)
{
	const uint64_t arrival_us = ev->u.advert.arrival_us;
	const uint64_t half_us = ev->u.advert.advert_int_us / 2;

	if (!peer->arrival_us || peer->priority > 0 || ev->u.advert.priority == 0)
		return false;
	return arrival_us < peer->arrival_us +
				    (half_us < VRRP_OVERTAKEN_US ? half_us : VRRP_OVERTAKEN_US) ||
	       (ev->u.advert.priority == 1 && !peer->last_word &&
		arrival_us < peer->arrival_us + VRRP_LAST_WORD_US);
}

/* What the event tells, before the step. */
static inline void oracle_before(struct oracle *o, const struct vrrp_fsm *fsm,
				 const struct vrrp_event *ev)
{
	if (ev->type == VRRP_EV_ADVERT) {
		struct oracle_peer *peer = &o->peers[ev->u.advert.node];

		if (ev->u.advert.priority == 0 && o->successor == ev->u.advert.node)
			o->successor_us = 0;
		o->void_advert = oracle_from_leaver(peer, ev);
		if (o->void_advert) {
			peer->last_word |= ev->u.advert.priority == 1;
			return;
		}
		peer->last_word = false;
		peer->arrival_us = ev->u.advert.arrival_us;
		peer->priority = ev->u.advert.priority;
		peer->interval_us = fsm->conf.version == 3 ? ev->u.advert.advert_int_us
							   : oracle_max(ev->u.advert.advert_int_us,
									fsm->conf.advert_int_us);
		peer->sick = !fsm->conf.nodes[ev->u.advert.node].unsaid &&
			     ev->u.advert.priority < fsm->conf.nodes[ev->u.advert.node].priority;
		peer->must_obey = ev->u.advert.priority >= fsm->priority;
		peer->read = o->state == VRRP_BACKUP;
		oracle_rank_masters(o, fsm, ev->u.advert.node);
		if (o->state == VRRP_LEAVING && ev->u.advert.priority > 0 && !o->successor_us &&
		    ev->u.advert.arrival_us >= o->left_us) {
			o->successor_us = ev->u.advert.arrival_us;
			o->successor = ev->u.advert.node;
		}
	}
	if (ev->type == VRRP_EV_HEALTH) {
		if (ev->u.health.undetermined && !o->undetermined)
			o->undetermined_until_us = ev->now_us + fsm->conf.undetermined_wait_us;
		o->undetermined = ev->u.health.undetermined;
	}
	if (ev->type == VRRP_EV_START || ev->type == VRRP_EV_RESUME)
		o->begun = true;
	if (ev->type == VRRP_EV_START || ev->type == VRRP_EV_RESUME)
		o->undetermined_until_us = ev->now_us + fsm->conf.undetermined_wait_us;
	if (ev->type == VRRP_EV_START)
		o->quiet_until_us = ev->u.start.quiet_until_us;
	if (ev->type == VRRP_EV_STOP)
		o->returns = false;
	if (ev->type == VRRP_EV_HANDOVER && (ev->u.handover.lift || fsm->state == VRRP_INIT))
		o->handed_over = !ev->u.handover.lift;
	if (ev->type == VRRP_EV_CONF) /* other ranks: what was heard may mean something else */
		for (int i = 0; i < fsm->conf.nodes_count; i++)
			o->peers[i].sick =
				!ev->u.conf.conf->nodes[i].unsaid &&
				o->peers[i].priority < ev->u.conf.conf->nodes[i].priority;
}

/* What the step did. */
static inline void oracle_after(struct oracle *o, const struct vrrp_fsm *fsm,
				const struct vrrp_event *ev, const struct vrrp_actions *out)
{
	const uint64_t now = ev->now_us, wait_us = vrrp_fsm_others_wait_us(fsm);
	const uint64_t silent_us =
		o->resigned_us ? o->resigned_us + oracle_succession_us(fsm) : o->spoke_us;
	const bool away = o->state == VRRP_MASTER && wait_us != VRRP_NEVER_US &&
			  now >= silent_us + wait_us && ev->type != VRRP_EV_CONF;
	enum vrrp_state chain = o->state;
	bool enters_fault = false;

	if (out->count > VRRP_ACTIONS_MAX)
		oracle_fail("A9", "too many actions");
	if (away && (out->count < 2 || out->list[0].type != VRRP_DO_RELEASE ||
		     out->list[1].type != VRRP_DO_TRANSITION ||
		     out->list[1].u.transition.cause != VRRP_CAUSE_AWAY))
		oracle_fail("A10", "went on after an absence");
	if (fsm->priority != o->priority) {
		o->priority = fsm->priority;
		o->health_us = now;
		o->resigns = 0;
	}
	for (int i = 0; i < out->count; i++)
		if (out->list[i].type == VRRP_DO_TRANSITION &&
		    out->list[i].u.transition.to == VRRP_FAULT)
			enters_fault = true;
	/* LEAVING begins before its first priority 0 is counted. */
	if (fsm->state == VRRP_LEAVING && o->state != VRRP_LEAVING) {
		const uint64_t wait = oracle_succession_us(fsm);

		o->left_us = now;
		o->left_end_us =
			now + (wait < fsm->conf.stop_wait_us ? wait : fsm->conf.stop_wait_us);
		o->zeros = 0;
		o->successor_us = 0;
		o->returns = ev->type != VRRP_EV_STOP;
		o->handed_over = ev->type == VRRP_EV_HANDOVER;
	}
	for (int i = 0; i < out->count; i++) {
		const struct vrrp_action *action = &out->list[i];

		switch (action->type) {
		case VRRP_DO_SEND:
			oracle_send(o, fsm, ev, action->u.priority, enters_fault);
			break;
		case VRRP_DO_HOLD:
			if (ev->type == VRRP_EV_ADDRESS_LOST ||
			    (ev->type == VRRP_EV_TIMER && o->state == VRRP_MASTER &&
			     chain == VRRP_MASTER)) {
				uint64_t *slot =
					&o->put_backs[o->put_backs_count++ % VRRP_PUT_BACKS_MAX];

				if (*slot && now < *slot + 12000000)
					oracle_fail("A17", "put back too often");
				*slot = now;
			}
			o->held = true;
			break;
		case VRRP_DO_RELEASE:
			o->held = false;
			break;
		case VRRP_DO_ANNOUNCE:
			oracle_announce(o, fsm, ev);
			break;
		case VRRP_DO_TRANSITION:
			if (action->u.transition.from != chain)
				oracle_fail("A14",
					    "a transition that does not begin where the last "
					    "one ended");
			if (chain == VRRP_LEAVING)
				oracle_end_leaving(o, fsm, ev);
			chain = action->u.transition.to;
			if (chain == VRRP_FAULT) /* it begins anew, with its own interval */
				for (int j = 0; j < VRRP_NODES_MAX; j++)
					o->peers[j].read = false;
			if (chain == VRRP_MASTER) {
				if (fsm->handed_over)
					oracle_fail("A25", "holds what it has handed over");
				o->evidence_us = now;
				if (action->u.transition.cause == VRRP_CAUSE_RESUMED)
					o->evidence_us = o->spoke_us = ev->u.resume.last_advert_us;
				else if (o->state != VRRP_LEAVING) /* see A24 */
					oracle_take_over(o, fsm, ev, action->u.transition.cause);
				/* It has taken over from whoever that was. */
				for (int j = 0; j < VRRP_NODES_MAX; j++)
					o->peers[j].read = false;
				o->resigned_us = 0;
				o->handed_over = false;
			}
			break;
		case VRRP_DO_WATCH:
		case VRRP_DO_UNWATCH:
		case VRRP_DO_ALARM:
		case VRRP_DO_STOPPED:
		case VRRP_ACTION_TYPES:
			break;
		}
	}
	if (chain != fsm->state)
		oracle_fail("A14", "the state is not where the last transition led");
	if (o->begun && o->held != (fsm->state == VRRP_MASTER || fsm->state == VRRP_LEAVING))
		oracle_fail("A1", "addresses and state do not agree");
	if (ev->type == VRRP_EV_ADVERT && ev->u.advert.priority > 0 && fsm->state == VRRP_MASTER &&
	    o->state == VRRP_MASTER && ev->u.advert.arrival_us >= o->evidence_us &&
	    !o->void_advert && oracle_outranked(fsm, ev->u.advert.node, ev->u.advert.priority))
		oracle_fail("A7", "stays MASTER though outranked");
	if (ev->type == VRRP_EV_TIMER && vrrp_fsm_deadline(fsm) <= now)
		oracle_fail("A8", "the deadline does not move on");
	if ((fsm->state == VRRP_MASTER || fsm->state == VRRP_BACKUP ||
	     fsm->state == VRRP_LEAVING) &&
	    vrrp_fsm_deadline(fsm) == VRRP_NEVER_US)
		oracle_fail("A8", "no deadline");
	if (fsm->maintenance && fsm->priority != 1)
		oracle_fail("A26", "ranks as if it were not in maintenance");
	if (!fsm->link_up && fsm->state != VRRP_FAULT && fsm->state != VRRP_INIT)
		oracle_fail("A11", "active on an interface that is down");
	o->state = fsm->state;
}

#endif
