/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrrp_fsm_private: what the rooms of the state machine share: vrrp_fsm.c (the machine, INIT and
 * FAULT), vrrp_backup.c, vrrp_master.c and vrrp_leaving.c. Nobody else includes this.
 */
#ifndef TANDEM_VRRP_FSM_PRIVATE_H
#define TANDEM_VRRP_FSM_PRIVATE_H

#include <assert.h>

#include "agent/vrrp_fsm.h"

static inline uint64_t later(uint64_t base_us, uint64_t by_us)
{
	return base_us > VRRP_NEVER_US - by_us ? VRRP_NEVER_US : base_us + by_us;
}

static inline uint64_t min_us(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_us(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline bool resigned(const struct vrrp_fsm *fsm)
{
	return fsm->resigned_until_us != VRRP_NEVER_US;
}

static inline bool mute(const struct vrrp_fsm *fsm)
{
	return fsm->mute && fsm->now_us < fsm->mute_until_us;
}

/* How long a master with that interval may be silent, skew time apart. */
static inline uint64_t patience_us(const struct vrrp_fsm *fsm, uint64_t advert_int_us)
{
	return fsm->conf.down_adverts * advert_int_us;
}

/* Priority 255 takes whatever it finds, but not back what it was told to hand over. */
static inline bool owner(const struct vrrp_fsm *fsm)
{
	return fsm->priority == VRRP_PRIORITY_OWNER && !fsm->handed_over;
}

/* In the start-up delay: it obeys whoever is heard, and takes over from nobody (A32). */
static inline bool quiet(const struct vrrp_fsm *fsm)
{
	return fsm->now_us < fsm->quiet_until_us;
}

/* May it take from a healthy holder of lower priority? */
static inline bool may_preempt(const struct vrrp_fsm *fsm)
{
	return owner(fsm) || (!fsm->conf.nopreempt && !fsm->handed_over);
}

/* Does who advertises this advertise less than when nothing ails it, as far as is known? */
static inline bool peer_is_sick(const struct vrrp_fsm *fsm, int node, uint8_t priority)
{
	return !fsm->conf.nodes[node].unsaid && priority < fsm->conf.nodes[node].priority;
}

/* Actions. */
struct vrrp_action *vrrp_fsm_act(struct vrrp_actions *out, enum vrrp_action_type type);
void vrrp_fsm_raise(struct vrrp_actions *out, enum vrrp_alarm which);
void vrrp_fsm_send(struct vrrp_fsm *fsm, struct vrrp_actions *out, uint8_t priority);
void vrrp_fsm_announce(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_announce which);
void vrrp_fsm_transition(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_state to,
			 enum vrrp_cause cause, int node);

/* Entering a state. */
void vrrp_fsm_clear_deadlines(struct vrrp_fsm *fsm);
void vrrp_fsm_become_backup(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			    int node, uint64_t down_base_us);
/* The same for who has already let go. */
void vrrp_fsm_enter_backup(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			   int node, uint64_t down_base_us);
void vrrp_fsm_become_fault(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			   uint64_t retry_us);
void vrrp_fsm_become_master(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause,
			    int node);
void vrrp_fsm_become_leaving(struct vrrp_fsm *fsm, struct vrrp_actions *out, enum vrrp_cause cause);
void vrrp_fsm_resume(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out);

/* What every state treats alike. note_health and note_maintenance return whether the effective
 * priority changed. */
void vrrp_fsm_note_link(struct vrrp_fsm *fsm, bool up);
bool vrrp_fsm_note_health(struct vrrp_fsm *fsm, const struct vrrp_event *ev);
bool vrrp_fsm_note_maintenance(struct vrrp_fsm *fsm, const struct vrrp_event *ev);
void vrrp_fsm_note_handover(struct vrrp_fsm *fsm, const struct vrrp_event *ev); /* lifted? */
void vrrp_fsm_note_conf(struct vrrp_fsm *fsm, const struct vrrp_conf *conf);

/* Judgements. */
bool vrrp_fsm_outranks(const struct vrrp_fsm *fsm, uint8_t priority, int node, uint8_t that,
		       int other);
uint64_t vrrp_fsm_interval_us(const struct vrrp_fsm *fsm, int node);
void vrrp_fsm_judge_master(struct vrrp_fsm *fsm, int node, uint64_t arrival_us, uint64_t since_us);
void vrrp_fsm_hear_last_word(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			     struct vrrp_actions *out);

/* Times. */
uint64_t vrrp_fsm_succession_us(const struct vrrp_fsm *fsm);
uint64_t vrrp_fsm_backup_deadline_us(const struct vrrp_fsm *fsm);
uint64_t vrrp_fsm_contend_deadline_us(const struct vrrp_fsm *fsm);

/* One for each state that has its own room. */
void vrrp_fsm_step_backup(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			  struct vrrp_actions *out);
void vrrp_fsm_step_master(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			  struct vrrp_actions *out);
void vrrp_fsm_step_leaving(struct vrrp_fsm *fsm, const struct vrrp_event *ev,
			   struct vrrp_actions *out);

#endif
