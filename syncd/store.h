/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: what the keeper must not forget, in STATE_DIR/syncd.db (SQLite, WAL, synchronous=FULL,
 * secure_delete=ON, 0600). Only the keeper opens it, one at a time (a lock file says so).
 *
 * Not pure. Every function that writes is a transaction of its own, or part of the one that
 * store_begin() opened. A failure leaves the old state as it was. 0, a negative errno (-ENOSPC,
 * -EIO, -ENOENT: no such row), or a positive enum store_verdict from store_open().
 */
#ifndef TANDEM_SYNCD_STORE_H
#define TANDEM_SYNCD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/fault.h"
#include "syncd/generation.h"
#include "syncd/journal.h"
#include "syncd/objects.h"
#include "syncd/tree.h"

#define STORE_SIGNATURE_BYTES_MAX 96 /* an Ed25519 public key and its signature */
#define STORE_REASON_BYTES_MAX 4096

enum store_verdict {
	STORE_OK,
	STORE_CORRUPT, /* not a database, or a damaged one: the fault names the cure */
	STORE_NEWER,   /* written by a later tandem */
	STORE_LOCKED   /* another keeper has it */
};

struct store;

/* Opens, migrates to this schema, and makes the incarnation if there is none yet. */
int store_open(const char *state_dir, struct store **ret_store, struct fault *fault);
struct store *store_free(struct store *store);
/* 64 random bits made with the state directory, never 0: a node that lost its state is another
 * author. */
uint64_t store_incarnation(const struct store *store);
/* The words of the last failure of any function here, for the log. */
const char *store_error(const struct store *store);

int store_begin(struct store *store);
int store_commit(struct store *store);
void store_rollback(struct store *store); /* nothing happens if none is open */

/* ---- generations and trees ---- */

struct store_generation {
	char mirror[64];
	uint8_t id[GENERATION_ID_BYTES];
	struct generation header;
	char signer[GENERATION_NODE_BYTES_MAX +
		    1]; /* whose signature; for a merge who sent or made it */
	uint8_t signature[STORE_SIGNATURE_BYTES_MAX];
	size_t signature_size; /* 0: not signed */
};

/* tree->hash must be the header's. Call objects_sync() first. A generation that is there already is
 * left as it is (0). */
int store_generation_put(struct store *store, const struct store_generation *generation,
			 const struct tree *tree);
int store_generation_get(struct store *store, const char *mirror, const uint8_t *id,
			 struct store_generation *ret_generation);
bool store_generation_have(struct store *store, const char *mirror, const uint8_t *id);
/* A sealed tree, the caller's. mtimes and owners' numbers are those of the generation; sights mean
 * nothing (store_live_get() has them). */
int store_tree_get(struct store *store, const char *mirror, const uint8_t *id,
		   struct tree **ret_tree);
/* The stored generation of this author with this counter. For merge_situation.same_version_id. */
int store_version_find(struct store *store, const char *mirror, const char *author,
		       uint64_t incarnation, uint64_t counter, uint8_t ret_id[GENERATION_ID_BYTES]);
/* The highest counter that this author has used here (0: none): the next one is one more. */
int store_counter_last(struct store *store, const char *mirror, const char *author,
		       uint64_t incarnation, uint64_t *ret_counter);
/* The merge base: the newest stored generation whose vector is within the meet of both. */
int store_base_find(struct store *store, const char *mirror, const struct generation *a,
		    const struct generation *b, uint8_t ret_id[GENERATION_ID_BYTES]);
/* Newest (lamport) first; until fn says false. The store must not be written to meanwhile. */
typedef bool (*store_generation_fn)(void *ctx, const struct store_generation *generation);
int store_generations(struct store *store, const char *mirror, store_generation_fn fn, void *ctx);
/* Drops all but the newest keep generations of the mirror, but never the head, what a peer has
 * acknowledged last, what a conflict or the journal names, or the parents of any of these. */
int store_prune(struct store *store, const char *mirror, unsigned keep);

/* ---- refs ---- */

int store_head_get(struct store *store, const char *mirror, uint8_t ret_id[GENERATION_ID_BYTES]);
int store_head_set(struct store *store, const char *mirror, const uint8_t *id);
/* What the peer said last that it has live: the base of deltas, pinned. */
int store_acked_get(struct store *store, const char *mirror, const char *node,
		    uint8_t ret_id[GENERATION_ID_BYTES]);
int store_acked_set(struct store *store, const char *mirror, const char *node, const uint8_t *id);

/* ---- refused generations ---- */

int store_refused_put(struct store *store, const char *mirror, const uint8_t *id,
		      const char *reason);
/* -ENOENT: not refused. reason is malloc'ed; ret_reason may be NULL. */
int store_refused_get(struct store *store, const char *mirror, const uint8_t *id,
		      char **ret_reason);
int store_refused_clear(struct store *store, const char *mirror); /* all: try again */

/* ---- conflicts: at most one for each mirror and node ---- */

struct store_conflict {
	char mirror[64];
	char node[GENERATION_NODE_BYTES_MAX + 1]; /* whose generation it is */
	uint8_t local[GENERATION_ID_BYTES];	  /* our head then */
	uint8_t remote[GENERATION_ID_BYTES];
	bool diverged;	      /* no common past, instead of the same path */
	int64_t since_unix_s; /* for people only */
	char **paths;	      /* what is in conflict; none if diverged */
	size_t paths_count;
};
#define STORE_CONFLICT_PATHS_MAX 1000
void store_conflict_release(struct store_conflict *conflict);
int store_conflict_put(struct store *store, const struct store_conflict *conflict);
int store_conflict_get(struct store *store, const char *mirror, const char *node,
		       struct store_conflict *ret_conflict);
int store_conflict_clear(struct store *store, const char *mirror, const char *node);
typedef void (*store_conflict_fn)(void *ctx, const struct store_conflict *conflict);
/* mirror NULL: of all. */
int store_conflicts(struct store *store, const char *mirror, store_conflict_fn fn, void *ctx);

/* ---- what was rescued: edits that were made to a file after it was replaced ---- */

struct store_rescue {
	char mirror[64];
	char path[ENTRY_PATH_BYTES_MAX + 1];
	uint8_t hash[ENTRY_HASH_BYTES]; /* the object with the edit */
	int64_t since_unix_s;
};
int store_rescue_put(struct store *store, const struct store_rescue *rescue);
typedef void (*store_rescue_fn)(void *ctx, const struct store_rescue *rescue);
int store_rescues(struct store *store, const char *mirror, store_rescue_fn fn, void *ctx);
int store_rescue_clear(struct store *store, const char *mirror, const char *path);

/* ---- the redo journal: at most one for each mirror; written and read by commit.c ---- */

struct store_journal {
	char mirror[64];
	uint8_t id[GENERATION_ID_BYTES]; /* becomes the head; also the stage's name */
	enum journal_direction direction;
	struct tree
		*from;	 /* what the commit changes, before (with its sights) and after, and the */
	struct tree *to; /* directories that it stands in */
	char **paths;	 /* the mirror's paths then: the configuration may change before recovery */
	int paths_count;
};
void store_journal_release(struct store_journal *journal);
int store_journal_put(struct store *store, const struct store_journal *journal);
int store_journal_get(struct store *store, const char *mirror, struct store_journal *ret_journal);
int store_journal_direct(struct store *store, const char *mirror, enum journal_direction direction);
int store_journal_clear(struct store *store, const char *mirror);
/* The mirrors that have one. fn may not write. */
typedef void (*store_mirror_fn)(void *ctx, const char *mirror);
int store_journals(struct store *store, store_mirror_fn fn, void *ctx);

/* ---- how the live tree was last seen here ---- */

/* The live tree as it was last stored: entries and sights. -ENOENT: never. */
int store_live_get(struct store *store, const char *mirror, struct tree **ret_tree);
/* Writes the rows that differ. */
int store_live_set(struct store *store, const char *mirror, const struct tree *tree);

typedef int (*store_hash_fn)(void *ctx, const uint8_t hash[ENTRY_HASH_BYTES]);
/* Every object that something here refers to: what objects_collect() must keep. May repeat. */
int store_objects(struct store *store, store_hash_fn fn, void *ctx);
/* Both together: drops objects that nothing refers to. Returns how many, or a negative errno. Not
 * while a transfer or a stage is under way: what they have fetched is not referred to yet. */
int64_t store_collect(struct store *store, struct objects *objects);

#endif
