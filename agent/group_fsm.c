/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/group_fsm.h"

#include <assert.h>

void group_fsm_init(struct group_fsm *fsm)
{
	*fsm = (struct group_fsm){.state = VRRP_INIT};
}

static enum vrrp_state state_of(const struct group_member *members, int count, int *ret_holders)
{
	int holders = 0;
	bool fault = false;

	for (int i = 0; i < count; i++) {
		if (!members[i].fsm || members[i].fsm->state == VRRP_INIT)
			return VRRP_INIT;
		holders += vrrp_fsm_holds(members[i].fsm);
		fault = fault || members[i].fsm->state == VRRP_FAULT;
	}
	*ret_holders = holders;
	if (fault)
		return VRRP_FAULT;
	return holders == count ? VRRP_MASTER : VRRP_BACKUP;
}

/* One hands over, and comes back: so do the others. Not those that have just found no successor, or
 * it would never end; a handover before this one is another matter. */
static void spread_handover(struct group_member *members, int count)
{
	uint64_t since_us = VRRP_NEVER_US;

	for (int i = 0; i < count; i++) {
		const struct vrrp_fsm *member = members[i].fsm;

		if (member->state == VRRP_LEAVING && member->handed_over &&
		    member->since_us < since_us)
			since_us = member->since_us;
	}
	for (int i = 0; since_us != VRRP_NEVER_US && i < count; i++)
		if (members[i].fsm->state == VRRP_MASTER &&
		    !(members[i].fsm->cause == VRRP_CAUSE_NO_SUCCESSOR &&
		      members[i].fsm->since_us >= since_us))
			members[i].todo = GROUP_DO_HAND_OVER;
}

/* Its engine died, and it is back too late to go on as the others do. */
static bool one_was_away(const struct group_member *members, int count)
{
	for (int i = 0; i < count; i++)
		if (members[i].fsm->state == VRRP_BACKUP &&
		    members[i].fsm->cause == VRRP_CAUSE_AWAY)
			return true;
	return false;
}

/* It obeys somebody who may keep all of the group. A reload can bring together what two nodes hold:
 * by this one of them keeps its part, and the other one lets go. */
static bool one_obeys_a_better(const struct group_member *members, int count)
{
	for (int i = 0; i < count; i++) {
		const struct vrrp_fsm *member = members[i].fsm;
		const struct ip_addr *own, *its;

		if (member->state != VRRP_BACKUP || member->master < 0)
			continue;
		own = &member->conf.nodes[member->conf.self].address;
		its = &member->conf.nodes[member->master].address;
		if (member->peers[member->master].priority > member->priority ||
		    (member->peers[member->master].priority == member->priority &&
		     own->family == its->family && ip_compare(its, own) > 0))
			return true;
	}
	return false;
}

bool group_fsm_joins(const struct vrrp_fsm *fsm)
{
	return fsm->state == VRRP_BACKUP && fsm->cause == VRRP_CAUSE_START && fsm->master < 0 &&
	       !fsm->master_left;
}

/* All others are MASTER. At the start of a node nobody is. */
static bool some_join_masters(const struct group_member *members, int count)
{
	int masters = 0, fresh = 0;

	for (int i = 0; i < count; i++) {
		masters += members[i].fsm->state == VRRP_MASTER;
		fresh += group_fsm_joins(members[i].fsm);
	}
	return masters && fresh && masters + fresh == count;
}

static bool was_handed_over(const struct group_member *members, int count)
{
	for (int i = 0; i < count; i++)
		if (members[i].fsm->handed_over)
			return true;
	return false;
}

/* A priority 0 that one member heard, and another one that obeys the same master did not. */
static void spread_leaving(struct group_member *members, int count)
{
	for (int i = 0; i < count; i++) {
		const struct vrrp_fsm *from = members[i].fsm;

		if (from->state != VRRP_BACKUP || !from->master_left || from->left_node < 0 ||
		    from->conf.nodes[from->left_node].foreign)
			continue;
		for (int j = 0; j < count; j++) {
			const struct vrrp_fsm *to = members[j].fsm;

			if (j == i || to->state != VRRP_BACKUP || to->master != from->left_node ||
			    to->conf.nodes_count <= from->left_node ||
			    to->peers[from->left_node].heard_us >
				    from->peers[from->left_node].heard_us)
				continue;
			members[j].todo = GROUP_DO_LEFT;
			members[j].left_node = from->left_node;
		}
	}
}

bool group_fsm_judge(struct group_fsm *fsm, struct group_member *members, int count)
{
	const enum vrrp_state before = fsm->state;
	bool all_ready = true;
	int holders = 0;

	assert(count > 0 && count <= GROUP_MEMBERS_MAX);
	for (int i = 0; i < count; i++)
		members[i].todo = GROUP_DO_NOTHING;
	fsm->state = state_of(members, count, &holders);
	if (fsm->state == VRRP_INIT)
		return fsm->state != before;
	fsm->ends = fsm->state != VRRP_MASTER && holders > 0 &&
		    (fsm->ends || before == VRRP_MASTER || one_was_away(members, count) ||
		     one_obeys_a_better(members, count));
	for (int i = 0; i < count; i++) {
		const struct vrrp_fsm *member = members[i].fsm;

		all_ready = all_ready && (member->state == VRRP_MASTER ||
					  (member->state == VRRP_BACKUP && member->wants));
	}
	if (all_ready || some_join_masters(members, count)) {
		for (int i = 0; i < count; i++)
			if (members[i].fsm->state == VRRP_BACKUP)
				members[i].todo = GROUP_DO_TAKE;
	} else if (fsm->state == VRRP_FAULT || fsm->ends) {
		for (int i = 0; i < count; i++) {
			if (members[i].fsm->state != VRRP_MASTER)
				continue;
			members[i].todo = GROUP_DO_YIELD;
			members[i].handed_over = was_handed_over(members, count);
		}
	} else {
		spread_leaving(members, count);
	}
	if (fsm->state == VRRP_MASTER)
		spread_handover(members, count);
	return fsm->state != before;
}
