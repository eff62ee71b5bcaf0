/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/plan.h"

#include <assert.h>
#include <string.h>

const char *plan_kind_name(enum plan_kind kind)
{
	switch (kind) {
	case PLAN_MAKE_DIR:
		return "make-dir";
	case PLAN_CREATE:
		return "create";
	case PLAN_REPLACE:
		return "replace";
	case PLAN_ATTRS:
		return "attrs";
	case PLAN_REMOVE:
		return "remove";
	case PLAN_REMOVE_DIR:
		return "remove-dir";
	case PLAN_KINDS:
		break;
	}
	assert(!"a kind without a name");
	return "";
}

const struct entry *plan_op_entry(const struct plan_op *op)
{
	/* Removing makes room for another type: it is about what was there. */
	if (op->kind == PLAN_REMOVE || op->kind == PLAN_REMOVE_DIR)
		return op->from;
	return op->to ? op->to : op->from;
}

size_t plan_ops_max(size_t from_count, size_t to_count)
{
	return from_count + to_count;
}

struct cursor {
	const struct entry *from, *to;
	size_t from_count, to_count, from_at, to_at;
};

/* The next path that either side has, with what each has there. */
static bool next_pair(struct cursor *c, const struct entry **ret_from, const struct entry **ret_to)
{
	const struct entry *from = c->from_at < c->from_count ? &c->from[c->from_at] : NULL;
	const struct entry *to = c->to_at < c->to_count ? &c->to[c->to_at] : NULL;
	if (!from && !to)
		return false;
	int order =
		!from ? 1
		: !to ? -1
		      : entry_path_compare(from->path, from->path_size, to->path, to->path_size);
	*ret_from = order <= 0 ? from : NULL;
	*ret_to = order >= 0 ? to : NULL;
	c->from_at += order <= 0;
	c->to_at += order >= 0;
	return true;
}

enum phase { CLEARING, MAKING, CREATING, REPLACING, ADJUSTING, REMOVING, PHASES };

/* A directory on one side alone: the two do not exchange places, one goes before the other comes.
 */
static bool changes_kind(const struct entry *from, const struct entry *to)
{
	return from && to && (from->type == ENTRY_DIR) != (to->type == ENTRY_DIR);
}

/* Whether what goes has to go first: something in its own place, or in the place of a directory
 * above it, is about to be made. cleared: the last directory that makes room, which comes before
 * everything below it. */
static bool clears(const struct entry *from, const struct entry *to, const struct entry *cleared)
{
	if (changes_kind(from, to))
		return true;
	return from && !to && cleared &&
	       entry_path_below(from->path, from->path_size, cleared->path, cleared->path_size);
}

/* What the pair needs in this phase; PLAN_KINDS: nothing. */
static enum plan_kind needs(enum phase phase, const struct entry *from, const struct entry *to,
			    bool clearing)
{
	bool kinds_change = changes_kind(from, to);
	switch (phase) {
	case CLEARING:
		if (clearing)
			return from->type == ENTRY_DIR ? PLAN_REMOVE_DIR : PLAN_REMOVE;
		break;
	case MAKING:
		if (to && to->type == ENTRY_DIR && (!from || kinds_change))
			return PLAN_MAKE_DIR;
		break;
	case CREATING:
		if (to && to->type != ENTRY_DIR && (!from || kinds_change))
			return PLAN_CREATE;
		break;
	case REPLACING:
		if (from && to && !kinds_change && to->type != ENTRY_DIR && !entry_equal(from, to))
			return PLAN_REPLACE;
		break;
	case ADJUSTING:
		if (from && to && !kinds_change && to->type == ENTRY_DIR && !entry_equal(from, to))
			return PLAN_ATTRS;
		break;
	case REMOVING:
		if (from && !to && !clearing)
			return from->type == ENTRY_DIR ? PLAN_REMOVE_DIR : PLAN_REMOVE;
		break;
	case PHASES:
		break;
	}
	return PLAN_KINDS;
}

static void count(struct plan_totals *totals, enum plan_kind kind, const struct entry *to)
{
	totals->ops++;
	switch (kind) {
	case PLAN_CREATE:
	case PLAN_REPLACE:
		totals->put_files++;
		totals->put_bytes += to->size;
		break;
	case PLAN_MAKE_DIR:
		totals->dirs++;
		break;
	case PLAN_REMOVE:
		totals->removed++;
		break;
	case PLAN_ATTRS:
	case PLAN_REMOVE_DIR:
	case PLAN_KINDS:
		break;
	}
}

size_t plan_build(const struct entry *from, size_t from_count, const struct entry *to,
		  size_t to_count, struct plan_op *ops, struct plan_totals *ret_totals)
{
	struct plan_totals totals;
	size_t ops_count = 0;
	memset(&totals, 0, sizeof totals);
	for (int phase = CLEARING; phase < PHASES; phase++) {
		struct cursor cursor = {from, to, from_count, to_count, 0, 0};
		const struct entry *f, *t, *cleared = NULL;
		size_t first = ops_count;
		while (next_pair(&cursor, &f, &t)) {
			bool clearing = clears(f, t, cleared);
			if (changes_kind(f, t) && f->type == ENTRY_DIR)
				cleared = f;
			enum plan_kind kind = needs((enum phase)phase, f, t, clearing);
			if (kind == PLAN_KINDS)
				continue;
			assert(ops_count < plan_ops_max(from_count, to_count));
			ops[ops_count++] = (struct plan_op){kind, f, t};
			count(&totals, kind, t);
		}
		/* What goes, goes children first. */
		if (phase != CLEARING && phase != REMOVING)
			continue;
		for (size_t low = first, high = ops_count; low + 1 < high; low++) {
			struct plan_op swap = ops[--high];
			ops[high] = ops[low];
			ops[low] = swap;
		}
	}
	*ret_totals = totals;
	return ops_count;
}
