/* SPDX-License-Identifier: Apache-2.0 */
/* store_private: what the rooms of the store share. Nobody else includes this. */
#ifndef TANDEM_SYNCD_STORE_PRIVATE_H
#define TANDEM_SYNCD_STORE_PRIVATE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "syncd/store.h"

/* The trees used last: what is authored or received next differs from one of them by a file. */
#define STORE_CACHED_TREES 2
struct store_cached_tree {
	char mirror[64];
	uint8_t id[GENERATION_ID_BYTES];
	struct tree *tree; /* NULL: the slot is free */
};

struct store {
	sqlite3 *db;
	struct store_cached_tree cache[STORE_CACHED_TREES];
	unsigned cache_next;
	int lock_fd;
	uint64_t incarnation;
	bool open;   /* store_begin() has been called */
	bool failed; /* something in it has failed: it cannot be committed */
	char error[512];
};

#define store_cleanup_stmt __attribute__((cleanup(store_finalize)))
void store_finalize(sqlite3_stmt **stmt);

/* Keeps the database's words, and gives the errno that says the same. */
int store_fail(struct store *store, const char *what);
int store_fail_with(struct store *store, int rc, const char *what);

/* Prepares and binds in one: 't' a string (NULL: NULL), 'b' bytes and their int size, 'i' an
 * int64_t. */
int store_prepare(struct store *store, sqlite3_stmt **ret_stmt, const char *sql, const char *types,
		  ...);
/* 1: a row; 0: no more; a negative errno. */
int store_step(struct store *store, sqlite3_stmt *stmt);
/* Prepares, binds, runs to the end. */
int store_run(struct store *store, const char *sql, const char *types, ...);

/* The bytes of a column, if there are exactly size of them. */
bool store_column(sqlite3_stmt *stmt, int column, void *ret_bytes, int size);
void store_column_text(sqlite3_stmt *stmt, int column, char *text, size_t room);

/* Around what one function writes: its own transaction, or a part of the one that is open.
 *   rc = store_enter(store); if (rc == 0) rc = ...; return store_leave(store, rc); */
int store_enter(struct store *store);
int store_leave(struct store *store, int rc);

/* A manifest as bytes to keep: compressed. malloc'ed. */
int store_pack(const void *data, size_t size, void **ret_data, int *ret_size);
int store_unpack(const void *data, int size, size_t size_max, uint8_t **ret_data, size_t *ret_size);

void store_cache_clear(struct store *store);

/* Every object that the manifests refer to (store_generation.c), the live trees and the journals
 * (store_live.c), for store_objects(). */
int store_objects_of_generations(struct store *store, store_hash_fn fn, void *ctx);
int store_objects_of_live(struct store *store, store_hash_fn fn, void *ctx);

#endif
