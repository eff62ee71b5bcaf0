/* SPDX-License-Identifier: Apache-2.0 */
/*
 * objects: the contents of files, each stored once under its SHA-256, in
 * STATE_DIR/objects/ab/<hex>.
 *
 * Not pure. Raw content, 0600 root below 0700. Objects are written beside and renamed into place,
 * so that what has a name is whole; objects_sync() makes durable what was added since the last
 * time, and must be called before anything durable refers to it (store_generation_put()). Whoever
 * copies an object hashes it again (objects_copy()): a torn one is dropped and counts as missing.
 */
#ifndef TANDEM_SYNCD_OBJECTS_H
#define TANDEM_SYNCD_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/entry.h"
#include "syncd/fault.h"

struct objects;

/* Makes STATE_DIR/objects if it is not there, and removes what an earlier run left half-written. */
int objects_open(const char *state_dir, struct objects **ret_objects, struct fault *fault);
struct objects *objects_free(struct objects *objects);

bool objects_have(struct objects *objects, const uint8_t hash[ENTRY_HASH_BYTES]);
/* A read-only descriptor, the caller's, and the size. -ENOENT: not here. */
int objects_get(struct objects *objects, const uint8_t hash[ENTRY_HASH_BYTES], int *ret_fd,
		uint64_t *ret_size);
/* The whole content in memory (malloc'ed), for showing. -EFBIG past size_max. */
int objects_read(struct objects *objects, const uint8_t hash[ENTRY_HASH_BYTES], size_t size_max,
		 uint8_t **ret_data, size_t *ret_size);

/* Stores it, unless it is here already, and says its name. */
int objects_add_memory(struct objects *objects, const void *data, size_t size,
		       uint8_t ret_hash[ENTRY_HASH_BYTES], struct fault *fault);
/* From the descriptor's current offset to its end, hashed while copied. -EFBIG past size_max. */
int objects_add_fd(struct objects *objects, int fd, uint64_t size_max,
		   uint8_t ret_hash[ENTRY_HASH_BYTES], uint64_t *ret_size, struct fault *fault);
/* Hashes only. For "has it changed", without storing. */
int objects_hash_fd(int fd, uint64_t size_max, uint8_t ret_hash[ENTRY_HASH_BYTES],
		    uint64_t *ret_size);

/* Copies to a descriptor and proves the hash. -ENOENT: not here; -EBADMSG: it was torn and has been
 * dropped (fetch it again); -ENOSPC ... from the destination. */
int objects_copy(struct objects *objects, const uint8_t hash[ENTRY_HASH_BYTES], int to_fd,
		 struct fault *fault);

/* Everything added so far survives a power cut after this. */
int objects_sync(struct objects *objects, struct fault *fault);

/* Removes every object for which keep() says false. Returns how many went, or a negative errno. */
typedef bool (*objects_keep_fn)(void *ctx, const uint8_t hash[ENTRY_HASH_BYTES]);
int64_t objects_collect(struct objects *objects, objects_keep_fn keep, void *ctx);

#endif
