/* SPDX-License-Identifier: Apache-2.0 */
/* commit_private: what the commit's rooms share: looking at places, and moving things between them.
 * Nobody else includes this. */
#ifndef TANDEM_SYNCD_COMMIT_PRIVATE_H
#define TANDEM_SYNCD_COMMIT_PRIVATE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "syncd/commit.h"
#include "syncd/stage_private.h"

/* One operation's two places, opened: the directories and the names in them. */
struct commit_place {
	const struct plan_op *op;
	const struct stage_root *root;
	const char *relative;
	int live_fd; /* O_PATH directory, or a negative errno: nothing can stand there now */
	const char *live_name;
	int kept_fd; /* the same in the stage; -ENOENT also where the kind has no place there */
	const char *kept_name;
};
void commit_place_open(struct stage *stage, size_t op, struct commit_place *ret_place);
void commit_place_close(struct commit_place *place);
/* Makes the directories that the stage's place needs (for what is taken away). */
int commit_place_make_kept(struct stage *stage, struct commit_place *place, struct fault *fault);

/* What stands there, compared with the operation's entries. direction: how an interrupted change of
 * attributes is read. A negative errno if it cannot be looked at. */
int commit_look_live(const struct commit_place *place, enum journal_direction direction,
		     enum journal_sight *ret_sight);
int commit_look_kept(const struct commit_place *place, enum journal_sight *ret_sight);
/* What a scan would remember of it. */
int commit_see(const struct commit_place *place, struct entry_seen *ret_seen);

/* What one move has come to. */
enum commit_moved {
	COMMIT_MOVED,
	COMMIT_MOVED_EDIT, /* something else was in the way: a local edit, which is live */
	COMMIT_MOVED_LEFT  /* a directory that is not empty stays */
};
/* The operation's rename, in its direction, without a look at what came out (a positive enum
 * commit_moved or a negative errno). */
int commit_move(struct stage *stage, struct commit_place *place, enum journal_direction direction,
		struct fault *fault);
/* The same, and a look: what came out and was not expected goes live again. */
int commit_move_checked(struct stage *stage, struct commit_place *place,
			enum journal_direction direction, struct fault *fault);
/* Gives a directory that was there already the attributes that the operation would have. */
int commit_adopt_dir(const struct commit_place *place, struct fault *fault);
/* Puts an edit that lies in the stage back to where it was live, in place of what was put there
 * meanwhile; unless something else is there, which is a later edit, and stays. */
int commit_return(struct commit_place *place, enum journal_sight put_there, struct fault *fault);
/* Keeps the content of what lies in the stage as an object. */
int commit_rescue(struct stage *stage, struct commit_place *place,
		  uint8_t ret_hash[ENTRY_HASH_BYTES], struct fault *fault);
/* Makes the object of the operation in the stage again, from the object store. */
int commit_restage(struct stage *stage, struct commit_place *place,
		   enum journal_direction direction, struct fault *fault);

#endif
