/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge: what to do with a generation of another node, and how two trees become one. Pure.
 *
 * First merge_decide(): from the headers alone. Where it says MERGE_MERGE the caller finds the
 * merge base and calls merge_trees(); without conflicts the result is validated, staged and
 * committed as the authorless generation_merge() of both. `left` and `right` are the parents in
 * order of their ids, so that every node makes the same tree.
 *
 * Everything is borrowed; results go into the caller's arrays.
 */
#ifndef TANDEM_SYNCD_MERGE_H
#define TANDEM_SYNCD_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/entry.h"
#include "syncd/generation.h"

/* What stands on the disk here, compared with the head. */
enum merge_local {
	MERGE_LOCAL_UNKNOWN, /* not scanned yet */
	MERGE_LOCAL_CLEAN,   /* as the head says */
	MERGE_LOCAL_EDITED,  /* differs, not yet validated or still settling */
	MERGE_LOCAL_INVALID  /* differs and does not validate */
};

enum merge_verdict {
	MERGE_SAME,		/* we are there */
	MERGE_IGNORE,		/* in our past, or the same by another way: the peer takes ours */
	MERGE_FAST_FORWARD,	/* in our future: stage, validate, commit */
	MERGE_MERGE,		/* concurrent: merge_trees() tells whether it is a conflict */
	MERGE_WAIT,		/* would change the tree, but there is an unpublished local edit (or
				 * nothing is known of the local tree yet) */
	MERGE_DIVERGED,		/* no common past, or one version with two contents: hold both */
	MERGE_OTHER_DEFINITION, /* the nodes do not mean the same by this mirror */
	MERGE_VERDICTS
};
const char *merge_verdict_name(enum merge_verdict verdict);

struct merge_situation {
	const uint8_t *definition;     /* ours, of the mirror as configured now */
	const struct generation *head; /* NULL: no generation here yet */
	const uint8_t *head_id;
	enum merge_local local;
	const struct generation *remote;
	const uint8_t *remote_id;
	/* The id of the stored generation with the remote's author, incarnation and counter; NULL
	 * if there is none. Another id than remote_id is a fork (R4). */
	const uint8_t *same_version_id;
};

enum merge_verdict merge_decide(const struct merge_situation *situation);

enum merge_choice { MERGE_LEFT, MERGE_RIGHT, MERGE_CONFLICT };
/* One path; NULL is "nothing there". Both sides equal: MERGE_LEFT. */
enum merge_choice merge_path(const struct entry *base, const struct entry *left,
			     const struct entry *right);

enum merge_conflict_kind {
	MERGE_BOTH_CHANGED,    /* each side changed the path, differently */
	MERGE_CHANGED_REMOVED, /* one side changed what the other removed */
	MERGE_NO_DIRECTORY /* one side removed the directory (or made it something else) that the
			    * other has put something into */
};
struct merge_conflict {
	enum merge_conflict_kind kind;
	const struct entry *base, *left, *right; /* NULL: nothing there; at least one is not */
};

struct merge_input {
	const struct entry *base, *left, *right; /* sorted, as in struct tree */
	size_t base_count, left_count, right_count;
};
struct merge_output {
	const struct entry **entries; /* the caller's: room for left_count + right_count */
	size_t entries_count;
	struct merge_conflict *conflicts; /* the caller's: room for conflicts_room */
	size_t conflicts_room;
	size_t conflicts_count; /* may exceed the room: then the rest was only counted */
};
/* true: no conflict, entries are the merged tree, sorted. */
bool merge_trees(const struct merge_input *input, struct merge_output *output);

#endif
