/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal: from any crash point to what is left to do. Pure.
 *
 * A commit is a list of operations (plan.h), each one rename. It runs forward, and if a local edit
 * is found to have slipped in it runs back, so that what is live is one generation or the other and
 * the edit, never a mix (R9). In either direction, for each operation, what is seen at the live
 * path and in its place in the stage says all that has happened to it: no counter has to be
 * trusted.
 */
#ifndef TANDEM_SYNCD_JOURNAL_H
#define TANDEM_SYNCD_JOURNAL_H

#include "syncd/plan.h"

enum journal_direction { JOURNAL_FORWARD, JOURNAL_BACK };

/* What stands at a place, compared with the operation's two entries. */
enum journal_sight {
	JOURNAL_ABSENT,
	JOURNAL_OLD,   /* as `from` */
	JOURNAL_NEW,   /* as `to` */
	JOURNAL_OTHER, /* neither: somebody's edit */
	JOURNAL_SIGHTS
};

enum journal_step {
	JOURNAL_DONE,	 /* nothing is left to do */
	JOURNAL_MOVE,	 /* do the operation's rename (in this direction) */
	JOURNAL_RESTAGE, /* somebody emptied the stage: make its object again, then move */
	JOURNAL_RETURN,	 /* the edit is in the stage: undo the rename, the edit goes live again */
	JOURNAL_KEEP,	 /* the edit is live: leave it */
	JOURNAL_RESCUE, /* an edit is in the stage and cannot go back: keep its content elsewhere */
	JOURNAL_STEPS
};
const char *journal_sight_name(enum journal_sight sight);
const char *journal_step_name(enum journal_step step);

/* stage: what lies in the operation's place there. For PLAN_CREATE and PLAN_REPLACE that is the new
 * object until it has moved, then what it displaced; for PLAN_REMOVE what was taken away; the kinds
 * that are about directories have none (JOURNAL_ABSENT). */
enum journal_step journal_decide(enum plan_kind kind, enum journal_direction direction,
				 enum journal_sight live, enum journal_sight stage);

#endif
