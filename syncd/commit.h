/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit: makes a staged generation live, under a redo journal, without ever losing a local edit.
 *
 * Not pure. The order: journal row (durable), for each operation a rename that exchanges the live
 * file with the staged one, a look at what came out, fsync of each directory touched, then in one
 * transaction: journal cleared, head moved, live tree and its sights stored.
 *
 * If what came out is not what the live tree was known to be, a local edit has slipped in: the
 * exchange is undone, and so is everything before it. The result is the old tree with the edit, the
 * head has not moved, and the edit will be found by the next scan as any other (R9, R10). So what
 * is live is the old generation or the new one, with or without a local edit, but never a mix.
 *
 *   stage_build(); validate, and stage_sync() meanwhile; commit_run(); reload; prove;
 *   a minute later stage_sweep()
 *
 * To go back after a failed proof: stage_build() from the live tree to the old one under the old
 * id, and commit_run() again.
 */
#ifndef TANDEM_SYNCD_COMMIT_H
#define TANDEM_SYNCD_COMMIT_H

#include <stddef.h>

#include "syncd/fault.h"
#include "syncd/stage.h"
#include "syncd/store.h"

enum commit_outcome {
	COMMIT_NOTHING, /* recovery: there was no journal */
	COMMIT_LIVE,	/* the new generation is live and the head */
	COMMIT_EDITED,	/* a local edit was in the way and is kept; the old generation stays */
	COMMIT_FAILED	/* the world failed (the fault says how) and everything was undone */
};
const char *commit_outcome_name(enum commit_outcome outcome);

enum commit_note_kind {
	COMMIT_NOTE_EDIT,    /* a local edit at this path was kept */
	COMMIT_NOTE_RESCUED, /* an edit could not stay live: its content is the object `hash` */
	COMMIT_NOTE_LEFT     /* a directory that should go is not empty (excluded files, say) */
};
struct commit_note {
	enum commit_note_kind kind;
	char *path;
	uint8_t hash[ENTRY_HASH_BYTES];
};
#define COMMIT_NOTES_MAX 1000

struct commit_result {
	enum commit_outcome outcome;
	uint8_t id[GENERATION_ID_BYTES]; /* of the journal: what was to become live */
	struct tree *live;		 /* the live tree now with its sights; NULL: as it was */
	struct commit_note *notes;
	size_t notes_count, notes_dropped;
	uint64_t exchange_us; /* from the first rename to the last: how long a reader could see a
				 mix */
};
void commit_result_release(struct commit_result *result);

/* 0 for every outcome that leaves a whole tree and no journal (the fault says why where it is
 * COMMIT_FAILED). A negative errno: the journal could not be closed, or undoing failed as well: the
 * journal is still there and recovery goes on from it. Calls stage_sync() if nobody has. */
int commit_run(struct store *store, const char *mirror, struct stage *stage,
	       struct commit_result *ret_result, struct fault *fault);

/* Completes, or undoes, what an earlier process began. To be called at start for every mirror that
 * has a journal (store_journals()), before anything is scanned, and by `tandem-syncd --recover`. */
int commit_recover(struct store *store, struct objects *objects, const char *mirror,
		   struct commit_result *ret_result, struct fault *fault);

#endif
