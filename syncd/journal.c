/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/journal.h"

#include <assert.h>

const char *journal_sight_name(enum journal_sight sight)
{
	switch (sight) {
	case JOURNAL_ABSENT:
		return "absent";
	case JOURNAL_OLD:
		return "old";
	case JOURNAL_NEW:
		return "new";
	case JOURNAL_OTHER:
		return "other";
	case JOURNAL_SIGHTS:
		break;
	}
	assert(!"a sight without a name");
	return "";
}

const char *journal_step_name(enum journal_step step)
{
	switch (step) {
	case JOURNAL_DONE:
		return "done";
	case JOURNAL_MOVE:
		return "move";
	case JOURNAL_RESTAGE:
		return "restage";
	case JOURNAL_RETURN:
		return "return";
	case JOURNAL_KEEP:
		return "keep";
	case JOURNAL_RESCUE:
		return "rescue";
	case JOURNAL_STEPS:
		break;
	}
	assert(!"a step without a name");
	return "";
}

/* Two tables for each kind: one row for what the stage holds, one column for what is live, in the
 * order of enum journal_sight. Where both places hold what cannot have come from this operation,
 * somebody has been in the stage: what is live stays, what is not known anywhere is rescued. */
#define SIGHTS JOURNAL_SIGHTS
#define STEPS(a, b, c, d)                                                                          \
	{                                                                                          \
		JOURNAL_##a, JOURNAL_##b, JOURNAL_##c, JOURNAL_##d                                 \
	}

typedef enum journal_step table[2][SIGHTS][SIGHTS];

/* The stage holds the new object until the exchange, and what it displaced afterwards. An edit on
 * top of what was moved is a later edit of the new generation: forward, it is none of our business.
 */
static const table replace_steps = {
	{
		/* live:   absent   old      new      other */
		/* absent */ STEPS(KEEP, RESTAGE, DONE, KEEP),
		/* old    */ STEPS(DONE, DONE, DONE, DONE),
		/* new    */ STEPS(KEEP, MOVE, DONE, KEEP),
		/* other  */ STEPS(RESCUE, RESCUE, RETURN, RESCUE),
	},
	{
		/* absent */ STEPS(KEEP, DONE, RESTAGE, KEEP),
		/* old    */ STEPS(KEEP, DONE, MOVE, KEEP),
		/* new    */ STEPS(KEEP, DONE, KEEP, KEEP),
		/* other  */ STEPS(RESCUE, RESCUE, RETURN, RESCUE),
	},
};

/* Nothing is displaced: the stage is empty once the object has moved. Nothing at all at both places
 * is taken for an emptied stage, since the other reading, a removal between the commit and a crash,
 * would make a deletion travel that nobody may have asked for. */
static const table create_steps = {
	{
		/* live:   absent   old      new      other */
		/* absent */ STEPS(RESTAGE, KEEP, DONE, DONE),
		/* old    */ STEPS(RETURN, RESCUE, RESCUE, RESCUE),
		/* new    */ STEPS(MOVE, KEEP, DONE, KEEP),
		/* other  */ STEPS(RETURN, RESCUE, RESCUE, RESCUE),
	},
	{
		/* absent */ STEPS(DONE, DONE, MOVE, KEEP),
		/* old    */ STEPS(RETURN, RESCUE, RESCUE, RESCUE),
		/* new    */ STEPS(DONE, DONE, KEEP, KEEP),
		/* other  */ STEPS(RETURN, RESCUE, RESCUE, RESCUE),
	},
};

/* The stage takes what is taken away. NEW at the live path is the directory that the removal has
 * made room for. */
static const table remove_steps = {
	{
		/* live:   absent   old      new      other */
		/* absent */ STEPS(DONE, MOVE, DONE, KEEP),
		/* old    */ STEPS(DONE, DONE, DONE, DONE),
		/* new    */ STEPS(RETURN, RESCUE, RESCUE, RESCUE),
		/* other  */ STEPS(RETURN, RESCUE, RESCUE, RESCUE),
	},
	{
		/* absent */ STEPS(KEEP, DONE, KEEP, KEEP),
		/* old    */ STEPS(MOVE, DONE, KEEP, KEEP),
		/* new    */ STEPS(RETURN, RESCUE, RESCUE, RESCUE),
		/* other  */ STEPS(RETURN, RESCUE, RESCUE, RESCUE),
	},
};

/* Directories have no object in the stage: only the row for an empty place is ever looked at. */
static enum journal_step decide_directory(enum plan_kind kind, enum journal_direction direction,
					  enum journal_sight live)
{
	static const enum journal_step make[2][SIGHTS] = {
		/* absent, old, new, other */
		STEPS(MOVE, KEEP, DONE, KEEP),
		STEPS(DONE, DONE, MOVE, KEEP),
	};
	static const enum journal_step attrs[2][SIGHTS] = {
		STEPS(KEEP, MOVE, DONE, KEEP),
		STEPS(KEEP, DONE, MOVE, KEEP),
	};
	static const enum journal_step remove[2][SIGHTS] = {
		STEPS(DONE, MOVE, DONE, KEEP),
		STEPS(MOVE, DONE, KEEP, KEEP),
	};
	switch (kind) {
	case PLAN_MAKE_DIR:
		return make[direction][live];
	case PLAN_ATTRS:
		return attrs[direction][live];
	case PLAN_REMOVE_DIR:
		return remove[direction][live];
	case PLAN_CREATE:
	case PLAN_REPLACE:
	case PLAN_REMOVE:
	case PLAN_KINDS:
		break;
	}
	assert(!"not about a directory");
	return JOURNAL_KEEP;
}

/* R9, R10. */
enum journal_step journal_decide(enum plan_kind kind, enum journal_direction direction,
				 enum journal_sight live, enum journal_sight stage)
{
	assert(live >= JOURNAL_ABSENT && live < JOURNAL_SIGHTS);
	assert(stage >= JOURNAL_ABSENT && stage < JOURNAL_SIGHTS);
	assert(direction == JOURNAL_FORWARD || direction == JOURNAL_BACK);
	switch (kind) {
	case PLAN_CREATE:
		return create_steps[direction][stage][live];
	case PLAN_REPLACE:
		return replace_steps[direction][stage][live];
	case PLAN_REMOVE:
		return remove_steps[direction][stage][live];
	case PLAN_MAKE_DIR:
	case PLAN_ATTRS:
	case PLAN_REMOVE_DIR:
		assert(stage == JOURNAL_ABSENT);
		return decide_directory(kind, direction, live);
	case PLAN_KINDS:
		break;
	}
	assert(!"no such kind");
	return JOURNAL_KEEP;
}
