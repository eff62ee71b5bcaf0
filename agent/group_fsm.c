/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/group_fsm.h"

#include <assert.h>

void group_fsm_init(struct group_fsm *fsm)
{
	fsm->state = VRRP_INIT;
}

static enum vrrp_state state_of(const struct group_member *members, int count)
{
	int masters = 0;
	bool fault = false;

	for (int i = 0; i < count; i++) {
		if (!members[i].fsm || members[i].fsm->state == VRRP_INIT)
			return VRRP_INIT;
		masters += vrrp_fsm_holds(members[i].fsm);
		fault = fault || members[i].fsm->state == VRRP_FAULT;
	}
	if (fault)
		return VRRP_FAULT;
	return masters == count ? VRRP_MASTER : VRRP_BACKUP;
}

/* One hands over, and comes back: so do the others. */
static void spread_handover(struct group_member *members, int count)
{
	bool asked = false;

	for (int i = 0; i < count; i++)
		asked = asked ||
			(members[i].fsm->state == VRRP_LEAVING && members[i].fsm->handed_over);
	for (int i = 0; asked && i < count; i++)
		if (members[i].fsm->state == VRRP_MASTER &&
		    members[i].fsm->cause != VRRP_CAUSE_NO_SUCCESSOR)
			members[i].todo = GROUP_DO_HAND_OVER;
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
	bool all_ready = true, one_wants = false;

	assert(count > 0 && count <= GROUP_MEMBERS_MAX);
	for (int i = 0; i < count; i++)
		members[i].todo = GROUP_DO_NOTHING;
	fsm->state = state_of(members, count);
	if (fsm->state == VRRP_INIT)
		return fsm->state != before;
	for (int i = 0; i < count; i++) {
		const struct vrrp_fsm *member = members[i].fsm;

		all_ready = all_ready && (member->state == VRRP_MASTER ||
					  (member->state == VRRP_BACKUP && member->wants));
		one_wants = one_wants || (member->state == VRRP_BACKUP && member->wants);
	}
	if (all_ready && one_wants) {
		for (int i = 0; i < count; i++)
			if (members[i].fsm->state == VRRP_BACKUP)
				members[i].todo = GROUP_DO_TAKE;
	} else if (fsm->state == VRRP_FAULT || before == VRRP_MASTER) {
		for (int i = 0; i < count && fsm->state != VRRP_MASTER; i++)
			if (members[i].fsm->state == VRRP_MASTER)
				members[i].todo = GROUP_DO_YIELD;
	} else {
		spread_leaving(members, count);
	}
	if (fsm->state == VRRP_MASTER)
		spread_handover(members, count);
	return fsm->state != before;
}
