/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/merge.h"

#include <assert.h>
#include <string.h>

const char *merge_verdict_name(enum merge_verdict verdict)
{
	switch (verdict) {
	case MERGE_SAME:
		return "same";
	case MERGE_IGNORE:
		return "ignore";
	case MERGE_FAST_FORWARD:
		return "fast-forward";
	case MERGE_MERGE:
		return "merge";
	case MERGE_WAIT:
		return "wait";
	case MERGE_DIVERGED:
		return "diverged";
	case MERGE_OTHER_DEFINITION:
		return "other-definition";
	case MERGE_VERDICTS:
		break;
	}
	assert(!"a verdict without a name");
	return "";
}

/* Whether the tree may be changed now (R7). A head that was made under another definition has to be
 * made anew under the present one first: what left the definition would look like a deletion. */
static bool may_change(const struct merge_situation *s)
{
	return s->local == MERGE_LOCAL_CLEAN &&
	       memcmp(s->head->definition, s->definition, ENTRY_HASH_BYTES) == 0;
}

enum merge_verdict merge_decide(const struct merge_situation *s)
{
	if (memcmp(s->remote->definition, s->definition, ENTRY_HASH_BYTES) != 0)
		return MERGE_OTHER_DEFINITION;
	if (!s->head)
		return MERGE_WAIT;
	enum generation_relation relation =
		generation_relate(s->remote, s->remote_id, s->head, s->head_id);
	if (relation == GENERATION_SAME)
		return MERGE_SAME;
	if (s->same_version_id &&
	    memcmp(s->same_version_id, s->remote_id, GENERATION_ID_BYTES) != 0)
		return MERGE_DIVERGED;
	switch (relation) {
	case GENERATION_ANCESTOR:
		return MERGE_IGNORE;
	case GENERATION_EQUIVALENT:
		/* All nodes end at the lower id without a word between them. */
		if (memcmp(s->remote_id, s->head_id, GENERATION_ID_BYTES) > 0)
			return MERGE_IGNORE;
		return may_change(s) ? MERGE_FAST_FORWARD : MERGE_WAIT;
	case GENERATION_DESCENDANT:
		return may_change(s) ? MERGE_FAST_FORWARD : MERGE_WAIT;
	case GENERATION_CONCURRENT:
		return may_change(s) ? MERGE_MERGE : MERGE_WAIT;
	case GENERATION_UNRELATED:
		/* Two nodes that were set up alike: nothing has to change for them to be one. */
		if (memcmp(s->remote->tree, s->head->tree, ENTRY_HASH_BYTES) != 0)
			return MERGE_DIVERGED;
		return may_change(s) ? MERGE_MERGE : MERGE_WAIT;
	case GENERATION_FORKED:
		return MERGE_DIVERGED;
	case GENERATION_SAME:
		break;
	}
	assert(!"a relation without a verdict");
	return MERGE_DIVERGED;
}

static bool same(const struct entry *a, const struct entry *b)
{
	if (!a || !b)
		return a == b;
	return entry_equal(a, b);
}

enum merge_choice merge_path(const struct entry *base, const struct entry *left,
			     const struct entry *right)
{
	if (same(left, right))
		return MERGE_LEFT;
	if (same(base, left))
		return MERGE_RIGHT;
	if (same(base, right))
		return MERGE_LEFT;
	return MERGE_CONFLICT;
}

static void add_conflict(struct merge_output *output, enum merge_conflict_kind kind,
			 const struct entry *base, const struct entry *left,
			 const struct entry *right)
{
	if (output->conflicts_count < output->conflicts_room) {
		struct merge_conflict *conflict = &output->conflicts[output->conflicts_count];
		conflict->kind = kind;
		conflict->base = base;
		conflict->left = left;
		conflict->right = right;
	}
	output->conflicts_count++;
}

/* The lowest path of up to three heads; those that have it are returned, the others NULL. */
static void next_path(const struct merge_input *in, size_t at[3], const struct entry *ret[3])
{
	const struct entry *heads[3] = {
		at[0] < in->base_count ? &in->base[at[0]] : NULL,
		at[1] < in->left_count ? &in->left[at[1]] : NULL,
		at[2] < in->right_count ? &in->right[at[2]] : NULL,
	};
	const struct entry *lowest = NULL;
	for (int i = 0; i < 3; i++) {
		ret[i] = NULL;
		if (heads[i] &&
		    (!lowest || entry_path_compare(heads[i]->path, heads[i]->path_size,
						   lowest->path, lowest->path_size) < 0))
			lowest = heads[i];
	}
	for (int i = 0; lowest && i < 3; i++) {
		if (heads[i] && entry_path_compare(heads[i]->path, heads[i]->path_size,
						   lowest->path, lowest->path_size) == 0) {
			ret[i] = heads[i];
			at[i]++;
		}
	}
}

/* The directory that the entry stands in, among what has been put out so far: entries come in
 * order, so it is there already if it will be there at all. */
static const struct entry *find_output(const struct merge_output *output, const char *path,
				       size_t path_size)
{
	size_t low = 0, high = output->entries_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct entry *e = output->entries[middle];
		int order = entry_path_compare(e->path, e->path_size, path, path_size);
		if (order == 0)
			return e;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* R6: an entry of the result needs its directory, if it had one on its own side. A root of the
 * mirror has none. */
static bool stands(const struct merge_input *in, const struct merge_output *output,
		   const struct entry *taken, bool from_left)
{
	size_t parent_size = entry_path_parent(taken->path, taken->path_size);
	const struct entry *own =
		from_left ? entry_find(in->left, in->left_count, taken->path, parent_size)
			  : entry_find(in->right, in->right_count, taken->path, parent_size);
	if (!own)
		return true;
	const struct entry *there = find_output(output, taken->path, parent_size);
	return there && there->type == ENTRY_DIR;
}

bool merge_trees(const struct merge_input *in, struct merge_output *output)
{
	size_t at[3] = {0, 0, 0};
	const struct entry *heads[3];
	output->entries_count = 0;
	output->conflicts_count = 0;
	for (;;) {
		next_path(in, at, heads);
		const struct entry *base = heads[0], *left = heads[1], *right = heads[2];
		if (!base && !left && !right)
			break;
		enum merge_choice choice = merge_path(base, left, right);
		bool contested = choice == MERGE_CONFLICT;
		if (contested) {
			bool removed = !left || !right;
			add_conflict(output, removed ? MERGE_CHANGED_REMOVED : MERGE_BOTH_CHANGED,
				     base, left, right);
			/* Whatever stands below is judged as if this had stayed: one conflict for
			 * a directory, not one for everything in it. */
			choice = left ? MERGE_LEFT : MERGE_RIGHT;
		}
		const struct entry *taken = choice == MERGE_LEFT ? left : right;
		if (!taken)
			continue;
		if (!contested && !stands(in, output, taken, choice == MERGE_LEFT)) {
			add_conflict(output, MERGE_NO_DIRECTORY, base, left, right);
			continue;
		}
		assert(output->entries_count < in->left_count + in->right_count);
		output->entries[output->entries_count++] = taken;
	}
	return output->conflicts_count == 0;
}
