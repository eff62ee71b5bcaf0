/* SPDX-License-Identifier: Apache-2.0 */
/* The store's knowledge of what is on the disk: the live trees with their sights, and the journal.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "syncd/store_private.h"

#define SEEN_BYTES (4 * 8 + 3 * 4)
#define ROW_BYTES_MAX (SEEN_BYTES + ENTRY_ENCODED_BYTES_MAX)

/* The sight stands before the entry, so that both can be read with one reader. */
static void put_row(struct wire_writer *writer, const struct entry *entry)
{
	wire_put_u64(writer, entry->seen.ino);
	wire_put_u64(writer, (uint64_t)entry->seen.ctime_ns);
	wire_put_u64(writer, (uint64_t)entry->seen.mtime_ns);
	wire_put_u64(writer, entry->seen.size);
	wire_put_u32(writer, entry->seen.mode);
	wire_put_u32(writer, entry->seen.uid);
	wire_put_u32(writer, entry->seen.gid);
	entry_encode(writer, entry);
}

static int get_row(struct wire_reader *reader, struct entry_strings *strings, struct entry *ret)
{
	struct entry_seen seen;
	seen.ino = wire_get_u64(reader);
	seen.ctime_ns = (int64_t)wire_get_u64(reader);
	seen.mtime_ns = (int64_t)wire_get_u64(reader);
	seen.size = wire_get_u64(reader);
	seen.mode = wire_get_u32(reader);
	seen.uid = wire_get_u32(reader);
	seen.gid = wire_get_u32(reader);
	if (entry_decode(reader, strings, ret) != ENTRY_OK)
		return -EIO;
	ret->seen = seen;
	return 0;
}

/* Bytes that SQLite sorts as entry_path_compare() does: '/' lowest. No path holds a NUL. */
static void key_of(const struct entry *entry, char key[ENTRY_PATH_BYTES_MAX + 1])
{
	for (size_t i = 0; i < entry->path_size; i++)
		key[i] = entry->path[i] == '/' ? '\0' : entry->path[i];
}

/* ---- the live tree ---- */

int store_live_get(struct store *store, const char *mirror, struct tree **ret_tree)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL, *known = NULL;
	int rc = store_prepare(store, &known, "SELECT 1 FROM live_known WHERE mirror=?", "t",
			       mirror);
	if (rc == 0)
		rc = store_step(store, known);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	struct entry_strings *strings = malloc(sizeof *strings);
	struct tree *tree = tree_new();
	rc = strings && tree ? 0 : -ENOMEM;
	if (rc == 0)
		rc = store_prepare(store, &stmt,
				   "SELECT entry FROM live WHERE mirror=? ORDER BY key", "t",
				   mirror);
	while (rc == 0 && (rc = store_step(store, stmt)) == 1) {
		struct wire_reader reader;
		struct entry entry;
		wire_reader_init(&reader, sqlite3_column_blob(stmt, 0),
				 (size_t)sqlite3_column_bytes(stmt, 0));
		rc = get_row(&reader, strings, &entry);
		if (rc == 0 && wire_reader_done(&reader))
			rc = tree_add(tree, &entry);
	}
	if (rc == 0)
		rc = tree_seal(tree, NULL);
	free(strings);
	if (rc != 0) {
		tree_free(tree);
		return rc > 0 ? store_fail_with(store, -EIO, "the live tree cannot be read") : rc;
	}
	*ret_tree = tree;
	return 0;
}

struct row {
	const struct entry *entry; /* NULL: the key goes */
	char *key;
	int key_size;
};

struct rows {
	struct row *items;
	size_t count, room;
};

static int add_row(struct rows *rows, const struct entry *entry, const void *key, int key_size)
{
	if (rows->count == rows->room) {
		size_t room = rows->room ? 2 * rows->room : 64;
		struct row *items = realloc(rows->items, room * sizeof *items);
		if (!items)
			return -ENOMEM;
		rows->items = items;
		rows->room = room;
	}
	char *copy = malloc((size_t)key_size);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, key, (size_t)key_size);
	rows->items[rows->count++] = (struct row){entry, copy, key_size};
	return 0;
}

static int compare_keys(const void *a, int a_size, const void *b, int b_size)
{
	int order = memcmp(a, b, (size_t)(a_size < b_size ? a_size : b_size));
	return order != 0 ? order : a_size - b_size;
}

/* Walks what is stored and what is to be stored side by side. */
static int find_changes(struct store *store, const char *mirror, const struct tree *tree,
			uint8_t *row, struct rows *changes)
{
	char key[ENTRY_PATH_BYTES_MAX + 1];
	size_t at = 0;
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt,
			       "SELECT key,entry FROM live WHERE mirror=? ORDER BY key", "t",
			       mirror);
	if (rc < 0)
		return rc;
	int more = store_step(store, stmt);
	while (rc == 0 && more >= 0 && (more == 1 || at < tree->count)) {
		const struct entry *entry = at < tree->count ? &tree->entries[at] : NULL;
		const void *old_key = more == 1 ? sqlite3_column_blob(stmt, 0) : NULL;
		int old_size = more == 1 ? sqlite3_column_bytes(stmt, 0) : 0;
		if (more == 1 && !old_key)
			return -EIO;
		if (entry)
			key_of(entry, key);
		int order = !entry     ? -1
			    : !old_key ? 1
				       : compare_keys(old_key, old_size, key, entry->path_size);
		if (order < 0) {
			rc = add_row(changes, NULL, old_key, old_size);
		} else if (order > 0) {
			rc = add_row(changes, entry, key, entry->path_size);
		} else {
			struct wire_writer writer;
			wire_writer_init(&writer, row, ROW_BYTES_MAX);
			put_row(&writer, entry);
			assert(wire_writer_ok(&writer));
			if ((size_t)sqlite3_column_bytes(stmt, 1) != writer.at ||
			    memcmp(sqlite3_column_blob(stmt, 1), row, writer.at) != 0)
				rc = add_row(changes, entry, key, entry->path_size);
		}
		at += order >= 0;
		if (rc == 0 && order <= 0)
			more = store_step(store, stmt);
	}
	return more < 0 ? more : rc;
}

static int apply_change(struct store *store, const char *mirror, const struct row *change,
			uint8_t *row)
{
	struct wire_writer writer;
	if (!change->entry)
		return store_run(store, "DELETE FROM live WHERE mirror=? AND key=?", "tb", mirror,
				 change->key, change->key_size);
	wire_writer_init(&writer, row, ROW_BYTES_MAX);
	put_row(&writer, change->entry);
	assert(wire_writer_ok(&writer));
	return store_run(store, "INSERT OR REPLACE INTO live(mirror,key,entry) VALUES(?,?,?)",
			 "tbb", mirror, change->key, change->key_size, row, (int)writer.at);
}

int store_live_set(struct store *store, const char *mirror, const struct tree *tree)
{
	struct rows changes = {NULL, 0, 0};
	uint8_t *row = malloc(ROW_BYTES_MAX);
	if (!row)
		return -ENOMEM;
	int rc = store_enter(store);
	if (rc < 0) {
		free(row);
		return rc;
	}
	rc = find_changes(store, mirror, tree, row, &changes);
	for (size_t i = 0; i < changes.count && rc == 0; i++)
		rc = apply_change(store, mirror, &changes.items[i], row);
	if (rc == 0)
		rc = store_run(store, "INSERT OR IGNORE INTO live_known(mirror) VALUES(?)", "t",
			       mirror);
	for (size_t i = 0; i < changes.count; i++)
		free(changes.items[i].key);
	free(changes.items);
	free(row);
	return store_leave(store, rc);
}

/* ---- the journal ---- */

void store_journal_release(struct store_journal *journal)
{
	tree_free(journal->from);
	tree_free(journal->to);
	for (int i = 0; i < journal->paths_count; i++)
		free(journal->paths[i]);
	free(journal->paths);
	memset(journal, 0, sizeof *journal);
}

/* u32 count, rows. */
static int pack_rows(const struct tree *tree, void **ret_data, int *ret_size)
{
	size_t room = 4 + tree->count * SEEN_BYTES + tree_encoded_size(tree);
	uint8_t *plain = malloc(room);
	struct wire_writer writer;
	if (!plain)
		return -ENOMEM;
	wire_writer_init(&writer, plain, room);
	wire_put_u32(&writer, (uint32_t)tree->count);
	for (size_t i = 0; i < tree->count; i++)
		put_row(&writer, &tree->entries[i]);
	assert(wire_writer_ok(&writer));
	int rc = store_pack(plain, writer.at, ret_data, ret_size);
	free(plain);
	return rc;
}

static int unpack_rows(sqlite3_stmt *stmt, int column, struct tree **ret_tree)
{
	uint8_t *plain = NULL;
	size_t size = 0;
	struct wire_reader reader;
	int rc = store_unpack(sqlite3_column_blob(stmt, column), sqlite3_column_bytes(stmt, column),
			      2ull * TREE_ENCODED_BYTES_MAX, &plain, &size);
	if (rc < 0)
		return rc;
	struct entry_strings *strings = malloc(sizeof *strings);
	struct tree *tree = tree_new();
	rc = strings && tree ? 0 : -ENOMEM;
	wire_reader_init(&reader, plain, size);
	uint32_t count = wire_get_u32(&reader);
	for (uint32_t i = 0; i < count && rc == 0; i++) {
		struct entry entry;
		rc = get_row(&reader, strings, &entry);
		if (rc == 0)
			rc = tree_add(tree, &entry);
	}
	if (rc == 0 && !wire_reader_done(&reader))
		rc = -EIO;
	if (rc == 0)
		rc = tree_seal(tree, NULL);
	free(strings);
	free(plain);
	if (rc != 0) {
		tree_free(tree);
		return rc > 0 ? -EIO : rc;
	}
	*ret_tree = tree;
	return 0;
}

int store_journal_put(struct store *store, const struct store_journal *journal)
{
	void *before = NULL, *after = NULL;
	int before_size = 0, after_size = 0;
	size_t paths_size = 0;
	for (int i = 0; i < journal->paths_count; i++)
		paths_size += strlen(journal->paths[i]) + 1;
	char *paths = malloc(paths_size ? paths_size : 1);
	int rc = paths ? 0 : -ENOMEM;
	if (rc == 0) {
		char *at = paths;
		for (int i = 0; i < journal->paths_count; i++)
			at = stpcpy(at, journal->paths[i]) + 1;
		rc = pack_rows(journal->from, &before, &before_size);
	}
	if (rc == 0)
		rc = pack_rows(journal->to, &after, &after_size);
	/* A second journal of one mirror would mean that a commit was never closed: INSERT fails.
	 */
	if (rc == 0)
		rc = store_run(store,
			       "INSERT INTO journal(mirror,id,direction,before,after,paths) "
			       "VALUES(?,?,?,?,?,?)",
			       "tbibbb", journal->mirror, journal->id, GENERATION_ID_BYTES,
			       (int64_t)journal->direction, before, before_size, after, after_size,
			       paths, (int)paths_size);
	free(before);
	free(after);
	free(paths);
	return rc;
}

static int read_texts(sqlite3_stmt *stmt, int column, char ***ret_texts, int *ret_count)
{
	const char *bytes = sqlite3_column_blob(stmt, column);
	size_t size = (size_t)sqlite3_column_bytes(stmt, column);
	int count = 0;
	if (size > 0 && (!bytes || bytes[size - 1] != '\0'))
		return -EIO;
	for (size_t i = 0; i < size; i++)
		count += bytes[i] == '\0';
	char **texts = calloc((size_t)count + 1, sizeof *texts);
	if (!texts)
		return -ENOMEM;
	/* Owned by the caller from here on, whole or not. */
	*ret_texts = texts;
	*ret_count = count;
	for (int i = 0; i < count; i++) {
		texts[i] = strdup(bytes);
		if (!texts[i])
			return -ENOMEM;
		bytes += strlen(bytes) + 1;
	}
	return 0;
}

int store_journal_get(struct store *store, const char *mirror, struct store_journal *ret_journal)
{
	struct store_journal journal;
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt,
			       "SELECT id,direction,before,after,paths FROM journal WHERE mirror=?",
			       "t", mirror);
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	memset(&journal, 0, sizeof journal);
	strncpy(journal.mirror, mirror, sizeof journal.mirror - 1);
	journal.direction =
		sqlite3_column_int(stmt, 1) == JOURNAL_BACK ? JOURNAL_BACK : JOURNAL_FORWARD;
	rc = store_column(stmt, 0, journal.id, sizeof journal.id) ? 0 : -EIO;
	if (rc == 0)
		rc = unpack_rows(stmt, 2, &journal.from);
	if (rc == 0)
		rc = unpack_rows(stmt, 3, &journal.to);
	if (rc == 0)
		rc = read_texts(stmt, 4, &journal.paths, &journal.paths_count);
	if (rc < 0) {
		store_journal_release(&journal);
		return store_fail_with(store, rc, "the journal cannot be read");
	}
	*ret_journal = journal;
	return 0;
}

int store_journal_direct(struct store *store, const char *mirror, enum journal_direction direction)
{
	return store_run(store, "UPDATE journal SET direction=? WHERE mirror=?", "it",
			 (int64_t)direction, mirror);
}

int store_journal_clear(struct store *store, const char *mirror)
{
	return store_run(store, "DELETE FROM journal WHERE mirror=?", "t", mirror);
}

int store_journals(struct store *store, store_mirror_fn fn, void *ctx)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt, "SELECT mirror FROM journal ORDER BY mirror", "");
	while (rc == 0 && (rc = store_step(store, stmt)) == 1) {
		char mirror[64];
		store_column_text(stmt, 0, mirror, sizeof mirror);
		fn(ctx, mirror);
		rc = 0;
	}
	return rc;
}

static int objects_of_tree(const struct tree *tree, store_hash_fn fn, void *ctx)
{
	int rc = 0;
	for (size_t i = 0; i < tree->count && rc == 0; i++)
		if (tree->entries[i].type == ENTRY_FILE)
			rc = fn(ctx, tree->entries[i].hash);
	return rc;
}

static int objects_of_mirror(struct store *store, const char *mirror, store_hash_fn fn, void *ctx)
{
	struct tree *live = NULL;
	struct store_journal journal;
	int rc = store_live_get(store, mirror, &live);
	if (rc == 0)
		rc = objects_of_tree(live, fn, ctx);
	tree_free(live);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	rc = store_journal_get(store, mirror, &journal);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	rc = objects_of_tree(journal.from, fn, ctx);
	if (rc == 0)
		rc = objects_of_tree(journal.to, fn, ctx);
	store_journal_release(&journal);
	return rc;
}

int store_objects_of_live(struct store *store, store_hash_fn fn, void *ctx)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(
		store, &stmt, "SELECT mirror FROM live_known UNION SELECT mirror FROM journal", "");
	while (rc == 0 && (rc = store_step(store, stmt)) == 1) {
		char mirror[64];
		store_column_text(stmt, 0, mirror, sizeof mirror);
		rc = objects_of_mirror(store, mirror, fn, ctx);
	}
	return rc;
}
