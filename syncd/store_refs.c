/* SPDX-License-Identifier: Apache-2.0 */
/* The store's small tables: refs, refused generations, conflicts, rescues. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "syncd/store_private.h"

/* ---- refs ---- */

static int ref_get(struct store *store, const char *mirror, const char *name,
		   uint8_t ret_id[GENERATION_ID_BYTES])
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt, "SELECT id FROM ref WHERE mirror=? AND name=?", "tt",
			       mirror, name);
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	return store_column(stmt, 0, ret_id, GENERATION_ID_BYTES) ? 0 : -EIO;
}

static int ref_set(struct store *store, const char *mirror, const char *name, const uint8_t *id)
{
	return store_run(store, "INSERT OR REPLACE INTO ref(mirror,name,id) VALUES(?,?,?)", "ttb",
			 mirror, name, id, GENERATION_ID_BYTES);
}

/* "@" cannot stand in a node's name, nor can "head" be one with it. */
static void acked_name(const char *node, char name[GENERATION_NODE_BYTES_MAX + 8])
{
	memcpy(name, "acked@", 7);
	strncat(name, node, GENERATION_NODE_BYTES_MAX);
}

int store_head_get(struct store *store, const char *mirror, uint8_t ret_id[GENERATION_ID_BYTES])
{
	return ref_get(store, mirror, "head", ret_id);
}

int store_head_set(struct store *store, const char *mirror, const uint8_t *id)
{
	return ref_set(store, mirror, "head", id);
}

int store_acked_get(struct store *store, const char *mirror, const char *node,
		    uint8_t ret_id[GENERATION_ID_BYTES])
{
	char name[GENERATION_NODE_BYTES_MAX + 8];
	acked_name(node, name);
	return ref_get(store, mirror, name, ret_id);
}

int store_acked_set(struct store *store, const char *mirror, const char *node, const uint8_t *id)
{
	char name[GENERATION_NODE_BYTES_MAX + 8];
	acked_name(node, name);
	return ref_set(store, mirror, name, id);
}

/* ---- refused generations ---- */

int store_refused_put(struct store *store, const char *mirror, const uint8_t *id,
		      const char *reason)
{
	char bounded[STORE_REASON_BYTES_MAX];
	strncpy(bounded, reason, sizeof bounded - 1);
	bounded[sizeof bounded - 1] = '\0';
	return store_run(store, "INSERT OR REPLACE INTO refused(mirror,id,reason) VALUES(?,?,?)",
			 "tbt", mirror, id, GENERATION_ID_BYTES, bounded);
}

int store_refused_get(struct store *store, const char *mirror, const uint8_t *id, char **ret_reason)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt, "SELECT reason FROM refused WHERE mirror=? AND id=?",
			       "tb", mirror, id, GENERATION_ID_BYTES);
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	if (!ret_reason)
		return 0;
	const char *reason = (const char *)sqlite3_column_text(stmt, 0);
	*ret_reason = strdup(reason ? reason : "");
	return *ret_reason ? 0 : -ENOMEM;
}

int store_refused_clear(struct store *store, const char *mirror)
{
	return store_run(store, "DELETE FROM refused WHERE mirror=?", "t", mirror);
}

/* ---- conflicts ---- */

void store_conflict_release(struct store_conflict *conflict)
{
	for (size_t i = 0; i < conflict->paths_count; i++)
		free(conflict->paths[i]);
	free(conflict->paths);
	memset(conflict, 0, sizeof *conflict);
}

/* A list of paths is the paths, each with its terminator: no path holds a NUL. */
int store_conflict_put(struct store *store, const struct store_conflict *conflict)
{
	size_t size = 0, count = conflict->paths_count;
	if (count > STORE_CONFLICT_PATHS_MAX)
		count = STORE_CONFLICT_PATHS_MAX;
	for (size_t i = 0; i < count; i++)
		size += strlen(conflict->paths[i]) + 1;
	char *paths = malloc(size ? size : 1);
	if (!paths)
		return -ENOMEM;
	char *at = paths;
	for (size_t i = 0; i < count; i++)
		at = stpcpy(at, conflict->paths[i]) + 1;
	int rc =
		store_run(store,
			  "INSERT OR REPLACE INTO conflict(mirror,node,local,remote,diverged,since,"
			  "paths) VALUES(?,?,?,?,?,?,?)",
			  "ttbbiib", conflict->mirror, conflict->node, conflict->local,
			  GENERATION_ID_BYTES, conflict->remote, GENERATION_ID_BYTES,
			  (int64_t)conflict->diverged, conflict->since_unix_s, paths, (int)size);
	free(paths);
	return rc;
}

static int read_paths(sqlite3_stmt *stmt, int column, char ***ret_paths, size_t *ret_count)
{
	const char *bytes = sqlite3_column_blob(stmt, column);
	size_t size = (size_t)sqlite3_column_bytes(stmt, column), count = 0;
	if (size > 0 && (!bytes || bytes[size - 1] != '\0'))
		return -EIO;
	for (size_t i = 0; i < size; i++)
		count += bytes[i] == '\0';
	char **paths = calloc(count ? count : 1, sizeof *paths);
	if (!paths)
		return -ENOMEM;
	for (size_t i = 0, at = 0; i < count; i++) {
		paths[i] = strdup(bytes + at);
		if (!paths[i]) {
			while (i > 0)
				free(paths[--i]);
			free(paths);
			return -ENOMEM;
		}
		at += strlen(bytes + at) + 1;
	}
	*ret_paths = paths;
	*ret_count = count;
	return 0;
}

#define CONFLICT_COLUMNS "mirror,node,local,remote,diverged,since,paths"

static int read_conflict(sqlite3_stmt *stmt, struct store_conflict *ret)
{
	memset(ret, 0, sizeof *ret);
	store_column_text(stmt, 0, ret->mirror, sizeof ret->mirror);
	store_column_text(stmt, 1, ret->node, sizeof ret->node);
	if (!store_column(stmt, 2, ret->local, sizeof ret->local) ||
	    !store_column(stmt, 3, ret->remote, sizeof ret->remote))
		return -EIO;
	ret->diverged = sqlite3_column_int(stmt, 4) != 0;
	ret->since_unix_s = sqlite3_column_int64(stmt, 5);
	return read_paths(stmt, 6, &ret->paths, &ret->paths_count);
}

int store_conflict_get(struct store *store, const char *mirror, const char *node,
		       struct store_conflict *ret_conflict)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(
		store, &stmt, "SELECT " CONFLICT_COLUMNS " FROM conflict WHERE mirror=? AND node=?",
		"tt", mirror, node);
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	return read_conflict(stmt, ret_conflict);
}

int store_conflict_clear(struct store *store, const char *mirror, const char *node)
{
	return store_run(store, "DELETE FROM conflict WHERE mirror=? AND node=?", "tt", mirror,
			 node);
}

int store_conflicts(struct store *store, const char *mirror, store_conflict_fn fn, void *ctx)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt,
			       "SELECT " CONFLICT_COLUMNS " FROM conflict WHERE ?1 IS NULL OR "
			       "mirror=?1 ORDER BY mirror,node",
			       "t", mirror);
	while (rc == 0 && (rc = store_step(store, stmt)) == 1) {
		struct store_conflict conflict;
		rc = read_conflict(stmt, &conflict);
		if (rc == 0) {
			fn(ctx, &conflict);
			store_conflict_release(&conflict);
		}
	}
	return rc;
}

/* ---- rescues ---- */

int store_rescue_put(struct store *store, const struct store_rescue *rescue)
{
	return store_run(store,
			 "INSERT OR IGNORE INTO rescue(mirror,path,hash,since) VALUES(?,?,?,?)",
			 "tbbi", rescue->mirror, rescue->path, (int)strlen(rescue->path),
			 rescue->hash, ENTRY_HASH_BYTES, rescue->since_unix_s);
}

int store_rescues(struct store *store, const char *mirror, store_rescue_fn fn, void *ctx)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(
		store, &stmt,
		"SELECT mirror,path,hash,since FROM rescue WHERE mirror=? ORDER BY path", "t",
		mirror);
	while (rc == 0 && (rc = store_step(store, stmt)) == 1) {
		struct store_rescue rescue;
		int size = sqlite3_column_bytes(stmt, 1);
		memset(&rescue, 0, sizeof rescue);
		store_column_text(stmt, 0, rescue.mirror, sizeof rescue.mirror);
		rescue.since_unix_s = sqlite3_column_int64(stmt, 3);
		if (size > ENTRY_PATH_BYTES_MAX || !store_column(stmt, 1, rescue.path, size) ||
		    !store_column(stmt, 2, rescue.hash, sizeof rescue.hash))
			return -EIO;
		fn(ctx, &rescue);
		rc = 0;
	}
	return rc;
}

int store_rescue_clear(struct store *store, const char *mirror, const char *path)
{
	return store_run(store, "DELETE FROM rescue WHERE mirror=? AND path=?", "tb", mirror, path,
			 (int)strlen(path));
}
