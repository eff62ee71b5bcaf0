/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_fsm: virtual routers that move together. Pure.
 *
 * The members of a sync group rank alike (the configuration gives all of them the same tracks), and
 * one whose link is down takes the others' links down with it; both are the shell's work. What is
 * decided here is when they take over and when they let go:
 *
 * - A member whose time has come only wants to take over (vrrp_fsm.wants). When every member wants
 *   to, or is MASTER, all do. So a network on which the adverts get lost does not make a second
 *   master while the other networks still carry them, and nothing flaps.
 * - A master that left one member's group (priority 0) left all of them: whoever has heard nothing
 *   from it since takes it as said there too, so that the others need not wait for master-down.
 *   Only of a node that knows groups; a foreign one may have left a single router.
 * - When one member hands over, all do.
 * - One that is new, and has heard nobody, becomes MASTER at once where all others are: a reload that
 *   adds it takes nothing from the group.
 * - Of two nodes that hold parts of a group, as a reload may bring it about, the lower one lets go.
 * - When one member of a group that was MASTER as a whole no longer is, the others let go too.
 *
 * After every step of a member: fill in all members, call group_fsm_judge(), step the members as it
 * says, and again until it asks for nothing. Members that leave are no longer told of.
 */
#ifndef TANDEM_GROUP_FSM_H
#define TANDEM_GROUP_FSM_H

#include <stdbool.h>

#include "agent/vrrp_fsm.h"

#define GROUP_MEMBERS_MAX 32

enum group_do {
	GROUP_DO_NOTHING,
	GROUP_DO_TAKE,	    /* VRRP_EV_GROUP_TAKE */
	GROUP_DO_YIELD,	    /* VRRP_EV_GROUP_YIELD */
	GROUP_DO_HAND_OVER, /* VRRP_EV_HANDOVER */
	GROUP_DO_LEFT,	    /* VRRP_EV_GROUP_LEFT, with the node given beside it */
};

struct group_member {
	const struct vrrp_fsm *fsm; /* borrowed for the call; NULL: not there yet */
	enum group_do todo;	    /* the answer */
	int left_node;		    /* of GROUP_DO_LEFT */
	bool handed_over;	    /* of GROUP_DO_YIELD: the group was handed over */
};

struct group_fsm {
	/* INIT until all members have begun; MASTER: all hold; FAULT: one is. */
	enum vrrp_state state;
	bool ends; /* was MASTER, and some members still hold: they let go, those that leave when
		    * they have come to an end, whether they found a successor or not */
};

/* Has it just begun, and heard nobody yet? */
bool group_fsm_joins(const struct vrrp_fsm *fsm);
void group_fsm_init(struct group_fsm *fsm);
/* Returns true if fsm->state changed. */
bool group_fsm_judge(struct group_fsm *fsm, struct group_member *members, int count);

#endif
