/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk: a descent through two live trees, here and at a peer, to the paths that differ.
 *
 * Started where a VERIFY has shown the same head and another tree (ACT_DESCEND). One question is
 * out at a time: walk_question() -> event WALK_ASK; ACT_WALK_ANSWERED -> walk_take(); until there
 * is no question left. Nothing is changed by it: it is there to say what differs, and where. Not
 * pure (allocates); touches no file.
 */
#ifndef TANDEM_WALK_H
#define TANDEM_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/session_wire.h"
#include "syncd/tree.h"

#define WALK_PATHS_MAX 64	/* that are named; more are counted */
#define WALK_QUESTIONS_MAX 1024 /* directories that wait to be asked for */

/* Fills *ret_frame with the answer to ask from tree, entries in bytes (room of them, at most
 * SESSION_CHUNK_BYTES_MAX are used). For ACT_WALK_ASKED -> event WALK_ANSWER. */
void walk_answer(const struct tree *tree, const struct session_walk_ask *ask, uint8_t *bytes,
		 size_t room, struct session_frame *ret_frame);

struct walk;

int walk_new(struct tree *tree, struct walk **ret_walk); /* a reference is taken */
struct walk *walk_free(struct walk *walk);
/* false: the descent is over. The strings hold until walk_take(). */
bool walk_question(const struct walk *walk, struct session_string *ret_path,
		   struct session_string *ret_after);
/* -EBADMSG: it answers no question of ours, or goes backwards: the walk is over. */
int walk_take(struct walk *walk, const struct session_walk_answer *answer);
/* Paths that differ, deepest first found; *ret_total counts also what is not named. */
const char *const *walk_paths(const struct walk *walk, size_t *ret_count, size_t *ret_total);

#endif
