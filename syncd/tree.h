/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree: a manifest in memory: sorted entries that own their strings, and the hash over all of it.
 *
 * Not pure (it allocates and hashes), and touches no file. Built once, then only read, and shared
 * by counting:
 *
 *   tree_new(), tree_add() in any order, tree_seal(), then read; tree_free() by each holder.
 *
 * The hash is a Merkle tree over the directories: a directory's hash covers names, types, modes,
 * owners, content and what lies below, so that two trees that differ are compared by descending
 * only where hashes differ. mtimes and the numbers of named owners are not in it (entry.h).
 */
#ifndef TANDEM_SYNCD_TREE_H
#define TANDEM_SYNCD_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/entry.h"

#define TREE_ENTRIES_MAX 200000
#define TREE_ENCODED_BYTES_MAX (64u * 1024 * 1024)

struct tree_arena;

struct tree {
	struct entry *entries; /* sorted once sealed; strings are the tree's */
	size_t count;
	uint8_t hash[ENTRY_HASH_BYTES]; /* once sealed */
	/* private: */
	size_t room;
	unsigned refs;
	bool sealed;
	size_t string_bytes;
	struct tree_arena *arena;
};

/* NULL: no memory. */
struct tree *tree_new(void);
struct tree *tree_ref(struct tree *tree);
/* Drops one reference; NULL is fine; returns NULL. */
struct tree *tree_free(struct tree *tree);

/* Copies the entry with its strings and its sight. 0, -ENOMEM, or a positive enum entry_verdict. */
int tree_add(struct tree *tree, const struct entry *entry);
/* Sorts, finds doubles and entries without their directory, computes the hashes. 0, -ENOMEM, or a
 * positive enum entry_verdict, then *ret_bad (may be NULL) is the entry it is about. */
int tree_seal(struct tree *tree, const struct entry **ret_bad);
/* Every entry stands at or below one of the paths, and what has no parent in the tree is one of
 * them. tree_decode() and tree_apply() do not know the mirror's paths: the receiver asks here. */
enum entry_verdict tree_check_paths(const struct tree *tree, const char *const *paths,
				    int paths_count, const struct entry **ret_bad);

/* NULL: no such path. path "" is not an entry. */
const struct entry *tree_find(const struct tree *tree, const char *path, size_t path_size);
/* Direct children: *at starts at 0; NULL after the last. dir "" lists the roots. Children come in
 * order of name; a directory's hash covers all that is below it. */
const struct entry *tree_child_next(const struct tree *tree, const char *dir, size_t dir_size,
				    size_t *at);
/* The tree's own sight, for the holder of the live tree: the only thing that changes in a sealed
 * tree, and it never reaches the hash. -ENOENT: no such path. */
int tree_set_seen(struct tree *tree, const char *path, size_t path_size,
		  const struct entry_seen *seen);

/* What differs (entry_equal) between two sealed trees, in order of path. from NULL: new; to NULL:
 * gone. Equal directories are skipped by their hash. */
struct tree_change {
	const struct entry *from, *to;
};
struct tree_diff {
	const struct tree *from, *to;
	size_t from_at, to_at;
};
void tree_diff_init(struct tree_diff *diff, const struct tree *from, const struct tree *to);
bool tree_diff_next(struct tree_diff *diff, struct tree_change *ret_change);

/* base with the removed paths taken out and the entries put in (each replaces the one at its path),
 * sealed. base may be NULL (the empty tree). Paths that base does not have may be in removed.
 * Sights of base are kept where the entry is kept. 0, -ENOMEM or a positive enum entry_verdict. */
int tree_apply(const struct tree *base, const char *const *removed, size_t removed_count,
	       const struct entry *entries, size_t entries_count, struct tree **ret_tree);
/* A sealed tree of the given entries (in any order, not yet owned by a tree). */
int tree_from_entries(const struct entry *const *entries, size_t count, struct tree **ret_tree);

/* The canonical encoding of the whole: u8 version 1, u32 count, then the entries in order. */
size_t tree_encoded_size(const struct tree *tree);
/* Writes tree_encoded_size() bytes. */
void tree_encode(const struct tree *tree, uint8_t *data);
/* A sealed tree. 0, -ENOMEM, or a positive enum entry_verdict. */
int tree_decode(const uint8_t *data, size_t size, struct tree **ret_tree);

/* Regular files and their bytes. */
void tree_totals(const struct tree *tree, uint64_t *ret_files, uint64_t *ret_bytes);

/* What a mirror covers: nodes whose definitions differ exchange nothing. Order and repetition of
 * the settings do not count. */
void tree_definition_hash(const char *const *paths, int paths_count, const char *const *excludes,
			  int excludes_count, uint8_t ret_hash[ENTRY_HASH_BYTES]);

#endif
