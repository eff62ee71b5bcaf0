/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage: the new files of a generation, complete, on the file systems where they will live.
 *
 * Not pure. For each mount at or below a mirror's path that the plan touches (a "root"; for a path
 * that does not exist yet the nearest directory above it that does):
 *
 *   ROOT/.tandem-stage/                   0700 root
 *   ROOT/.tandem-stage/<id>/new/<path>    files, links and directories with owner, mode, mtime
 *   ROOT/.tandem-stage/<id>/gone/<path>   an empty file for each path that goes; for a directory
 *                                         that goes, one for it and none for what is in it
 *   ROOT/.tandem-stage/<id>/old/<path>    during the commit: what was taken away
 *
 * where <id> is 64 hex digits and <path> is relative to ROOT. To see the tree as it would be: take
 * away what gone/ names, with all that is in it, then lay new/ over it. A directory in new/ may
 * stand there only to hold something: it has the attributes that it will have. A change of type is
 * in both.
 *
 * Files are copied from the object store with their hash proven. They can be looked at when
 * stage_build() returns, and are durable when stage_sync() does, which may take as long as what
 * looks at them: so it is a step of its own. Every path is resolved beneath its root, through no
 * link and into no other mount (R15). A failure leaves the live tree untouched and removes what was
 * staged.
 */
#ifndef TANDEM_SYNCD_STAGE_H
#define TANDEM_SYNCD_STAGE_H

#include <stddef.h>
#include <stdint.h>

#include "syncd/fault.h"
#include "syncd/generation.h"
#include "syncd/objects.h"
#include "syncd/plan.h"
#include "syncd/tree.h"

#define STAGE_ID_TEXT_BYTES (2 * GENERATION_ID_BYTES + 1)

struct stage;

struct stage_options {
	const char *const *paths; /* the mirror's; copied */
	int paths_count;
	const uint8_t *id;	 /* of the generation that becomes live */
	struct tree *from;	 /* the live tree as last scanned; a reference is taken */
	struct tree *to;	 /* a reference is taken */
	struct objects *objects; /* borrowed for the stage's life */
};

/* -ENOENT: a mirror path or an object is missing (the fault says which); -EBADMSG: an object was
 * torn; -ENOSPC: too little room or too few inodes (looked at before anything is written); -EROFS,
 * -EXDEV ... An old stage of the same id is removed first: call stage_sweep() for it before, if
 * what it displaced may still be in an editor's hands. */
int stage_build(const struct stage_options *options, struct stage **ret_stage, struct fault *fault);
/* Nothing to do if it is durable already. After an error it is not to be used: the kernel says once
 * only that it could not write. */
int stage_sync(struct stage *stage, struct fault *fault);
/* Opens what an earlier process built, for recovery. What is missing of it is not made again, only
 * the directories that it would stand in. */
int stage_open(const struct stage_options *options, struct stage **ret_stage, struct fault *fault);
/* Forgets it; what is on the disk stays (after a commit: the displaced files, for stage_sweep()).
 */
struct stage *stage_free(struct stage *stage);
/* Removes it from the disk, unless it has been committed, and frees it. */
struct stage *stage_discard(struct stage *stage);

/* The directories in which a stage lies: one for each mount that is touched. */
size_t stage_roots_count(const struct stage *stage);
const char *stage_root(const struct stage *stage, size_t index);
/* 64 hex digits: the stage's directory name. */
const char *stage_id_text(const struct stage *stage);
/* In their order; borrowed. */
const struct plan_op *stage_ops(const struct stage *stage, size_t *ret_count);
const struct stage_options *stage_options_of(const struct stage *stage);

enum stage_sweep_which {
	STAGE_SWEEP_ALL,
	STAGE_SWEEP_OTHERS, /* but the one with this id */
	STAGE_SWEEP_ONE,    /* that one alone */
};
/* Removes stages below the mirror's paths. What lies in them and is in no object is somebody's edit
 * to a file that was already replaced: it is put into the object store, and told. To be called a
 * minute after a commit, before the next one (at the latest: of the same id before it is built, the
 * others until it is committed), and at start (after recovery). id is borrowed, and NULL for ALL.
 */
typedef void (*stage_rescue_fn)(void *ctx, const char *path, const uint8_t hash[ENTRY_HASH_BYTES]);
int stage_sweep(const char *const *paths, int paths_count, enum stage_sweep_which which,
		const uint8_t *id, struct objects *objects, stage_rescue_fn fn, void *ctx,
		struct fault *fault);

#endif
