/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/store_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>
#include <zstd.h>

#include "shared/durable.h"

#define SCHEMA_VERSION 1
#define DATABASE "syncd.db"

/* One row of text is one thing that a person can name. Numbers of 64 unsigned bits are kept as the
 * signed ones with the same bits; only equality is ever asked of them, and counters stay below half
 * the range (generation.c). */
static const char schema[] =
	"CREATE TABLE node(incarnation INTEGER NOT NULL);"
	"CREATE TABLE generation(mirror TEXT NOT NULL, id BLOB NOT NULL, header BLOB NOT NULL,"
	" lamport INTEGER NOT NULL, author TEXT NOT NULL, incarnation INTEGER NOT NULL,"
	" counter INTEGER NOT NULL, signer TEXT NOT NULL, signature BLOB NOT NULL,"
	" base BLOB, depth INTEGER NOT NULL, manifest BLOB NOT NULL,"
	" PRIMARY KEY(mirror, id)) WITHOUT ROWID;"
	"CREATE INDEX generation_version ON generation(mirror, author, incarnation, counter);"
	"CREATE INDEX generation_age ON generation(mirror, lamport);"
	"CREATE TABLE ref(mirror TEXT NOT NULL, name TEXT NOT NULL, id BLOB NOT NULL,"
	" PRIMARY KEY(mirror, name)) WITHOUT ROWID;"
	"CREATE TABLE refused(mirror TEXT NOT NULL, id BLOB NOT NULL, reason TEXT NOT NULL,"
	" PRIMARY KEY(mirror, id)) WITHOUT ROWID;"
	"CREATE TABLE conflict(mirror TEXT NOT NULL, node TEXT NOT NULL, local BLOB NOT NULL,"
	" remote BLOB NOT NULL, diverged INTEGER NOT NULL, since INTEGER NOT NULL,"
	" paths BLOB NOT NULL, PRIMARY KEY(mirror, node)) WITHOUT ROWID;"
	"CREATE TABLE rescue(mirror TEXT NOT NULL, path BLOB NOT NULL, hash BLOB NOT NULL,"
	" since INTEGER NOT NULL, PRIMARY KEY(mirror, path, hash)) WITHOUT ROWID;"
	"CREATE TABLE journal(mirror TEXT NOT NULL PRIMARY KEY, id BLOB NOT NULL,"
	" direction INTEGER NOT NULL, before BLOB NOT NULL, after BLOB NOT NULL,"
	" paths BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE live(mirror TEXT NOT NULL, key BLOB NOT NULL, entry BLOB NOT NULL,"
	" PRIMARY KEY(mirror, key)) WITHOUT ROWID;"
	"CREATE TABLE live_known(mirror TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;";

/* ---- the small words around SQLite ---- */

void store_finalize(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}

static int errno_of(sqlite3 *db)
{
	switch (sqlite3_errcode(db)) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR: {
		int error = sqlite3_system_errno(db);
		return error ? -error : -EIO;
	}
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	default:
		return -EIO;
	}
}

int store_fail_with(struct store *store, int rc, const char *what)
{
	snprintf(store->error, sizeof store->error, "%s: %s", what, strerror(-rc));
	if (store->open)
		store->failed = true;
	return rc;
}

int store_fail(struct store *store, const char *what)
{
	int rc = errno_of(store->db);
	snprintf(store->error, sizeof store->error, "%s: %s", what, sqlite3_errmsg(store->db));
	if (store->open)
		store->failed = true;
	return rc;
}

static int bind_all(sqlite3_stmt *stmt, const char *types, va_list ap)
{
	int rc = SQLITE_OK;
	for (int i = 1; *types && rc == SQLITE_OK; i++, types++) {
		switch (*types) {
		case 't': {
			rc = sqlite3_bind_text(stmt, i, va_arg(ap, const char *), -1,
					       SQLITE_TRANSIENT);
			break;
		}
		case 'b': {
			const void *bytes = va_arg(ap, const void *);
			int size = va_arg(ap, int);
			/* An empty blob is not NULL. */
			rc = sqlite3_bind_blob(stmt, i, bytes ? bytes : "", size, SQLITE_TRANSIENT);
			break;
		}
		case 'i':
			rc = sqlite3_bind_int64(stmt, i, va_arg(ap, int64_t));
			break;
		default:
			assert(!"no such type");
		}
	}
	return rc;
}

static int prepare_va(struct store *store, sqlite3_stmt **ret_stmt, const char *sql,
		      const char *types, va_list ap)
{
	sqlite3_stmt *stmt = NULL;
	if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK ||
	    bind_all(stmt, types, ap) != SQLITE_OK) {
		int rc = store_fail(store, sql);
		sqlite3_finalize(stmt);
		return rc;
	}
	*ret_stmt = stmt;
	return 0;
}

int store_prepare(struct store *store, sqlite3_stmt **ret_stmt, const char *sql, const char *types,
		  ...)
{
	va_list ap;
	va_start(ap, types);
	int rc = prepare_va(store, ret_stmt, sql, types, ap);
	va_end(ap);
	return rc;
}

int store_step(struct store *store, sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : store_fail(store, sqlite3_sql(stmt));
}

int store_run(struct store *store, const char *sql, const char *types, ...)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	va_list ap;
	va_start(ap, types);
	int rc = prepare_va(store, &stmt, sql, types, ap);
	va_end(ap);
	while (rc == 0 && (rc = store_step(store, stmt)) == 1)
		rc = 0;
	return rc;
}

bool store_column(sqlite3_stmt *stmt, int column, void *ret_bytes, int size)
{
	const void *bytes = sqlite3_column_blob(stmt, column);
	if (sqlite3_column_bytes(stmt, column) != size || (size > 0 && !bytes))
		return false;
	if (size > 0)
		memcpy(ret_bytes, bytes, (size_t)size);
	return true;
}

void store_column_text(sqlite3_stmt *stmt, int column, char *text, size_t room)
{
	const unsigned char *from = sqlite3_column_text(stmt, column);
	/* Zero padded, as node names are compared as bytes. */
	memset(text, 0, room);
	if (from)
		strncpy(text, (const char *)from, room - 1);
}

/* ---- transactions ---- */

int store_begin(struct store *store)
{
	assert(!store->open);
	int rc = store_run(store, "BEGIN IMMEDIATE", "");
	if (rc == 0) {
		store->open = true;
		store->failed = false;
	}
	return rc;
}

int store_commit(struct store *store)
{
	assert(store->open);
	int rc = store->failed ? -ECANCELED : store_run(store, "COMMIT", "");
	if (rc < 0) {
		store_rollback(store);
		return rc;
	}
	store->open = false;
	return 0;
}

void store_rollback(struct store *store)
{
	if (!store->open)
		return;
	/* SQLite has rolled back by itself already after some errors, then this one is nothing. */
	if (!sqlite3_get_autocommit(store->db))
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	store->open = false;
	store->failed = false;
}

int store_enter(struct store *store)
{
	return store->open ? 0 : store_run(store, "BEGIN IMMEDIATE", "");
}

int store_leave(struct store *store, int rc)
{
	if (store->open) {
		if (rc < 0)
			store->failed = true;
		return rc;
	}
	if (rc >= 0) {
		int committed = store_run(store, "COMMIT", "");
		if (committed == 0)
			return rc;
		rc = committed;
	}
	if (!sqlite3_get_autocommit(store->db))
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* ---- compression ---- */

int store_pack(const void *data, size_t size, void **ret_data, int *ret_size)
{
	size_t room = ZSTD_compressBound(size);
	void *packed = malloc(room ? room : 1);
	if (!packed)
		return -ENOMEM;
	size_t n = ZSTD_compress(packed, room, data, size, 1);
	if (ZSTD_isError(n) || n > INT32_MAX) {
		free(packed);
		return -EFBIG;
	}
	*ret_data = packed;
	*ret_size = (int)n;
	return 0;
}

int store_unpack(const void *data, int size, size_t size_max, uint8_t **ret_data, size_t *ret_size)
{
	if (!data || size <= 0)
		return -EIO;
	unsigned long long room = ZSTD_getFrameContentSize(data, (size_t)size);
	if (room == ZSTD_CONTENTSIZE_ERROR || room == ZSTD_CONTENTSIZE_UNKNOWN || room > size_max)
		return -EIO;
	uint8_t *plain = malloc((size_t)room + 1);
	if (!plain)
		return -ENOMEM;
	size_t n = ZSTD_decompress(plain, (size_t)room, data, (size_t)size);
	if (ZSTD_isError(n) || n != room) {
		free(plain);
		return -EIO;
	}
	*ret_data = plain;
	*ret_size = n;
	return 0;
}

/* ---- opening (R18, R19) ---- */

static int take_lock(struct store *store, const char *state_dir, struct fault *fault)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/syncd.lock", state_dir);
	store->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (store->lock_fd < 0)
		return fault_set(fault, -errno, "%s: cannot open", path);
	if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return fault_set(fault, STORE_LOCKED,
				 "%s: another tandem-syncd uses this state directory; stop it, or "
				 "give this one its own --state-dir",
				 path);
	return fault_set(fault, -errno, "%s: cannot lock", path);
}

static int corrupt(struct store *store, const char *path, const char *words, struct fault *fault)
{
	(void)store;
	return fault_set(fault, STORE_CORRUPT,
			 "%s: damaged (%s); move the file away and start again: this node then "
			 "compares its files with the others as a new one",
			 path, words);
}

/* What the first look at the file says. SQLITE_NOTADB and SQLITE_CORRUPT are an answer, not a
 * failure of the world. */
static int judge(struct store *store, int rc, const char *path, struct fault *fault)
{
	int code = sqlite3_errcode(store->db);
	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
		return corrupt(store, path, sqlite3_errmsg(store->db), fault);
	return fault_set(fault, rc, "%s: cannot open (%s)", path, store->error);
}

static int make_schema(struct store *store)
{
	uint64_t incarnation = 0;
	char version[64];
	while (incarnation == 0)
		if (getrandom(&incarnation, sizeof incarnation, 0) != sizeof incarnation)
			return store_fail_with(store, -errno, "no random numbers");
	int rc = store_begin(store);
	if (rc < 0)
		return rc;
	if (sqlite3_exec(store->db, schema, NULL, NULL, NULL) != SQLITE_OK)
		rc = store_fail(store, "schema");
	if (rc == 0)
		rc = store_run(store, "INSERT INTO node(incarnation) VALUES(?)", "i",
			       (int64_t)incarnation);
	snprintf(version, sizeof version, "PRAGMA user_version=%d", SCHEMA_VERSION);
	if (rc == 0)
		rc = store_run(store, version, "");
	if (rc < 0) {
		store_rollback(store);
		return rc;
	}
	return store_commit(store);
}

static int get_number(struct store *store, const char *sql, int64_t *ret_number)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt, sql, "");
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc == 1)
		*ret_number = sqlite3_column_int64(stmt, 0);
	return rc;
}

static int check_whole(struct store *store, const char *path, struct fault *fault)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt, "PRAGMA quick_check(1)", "");
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc < 0)
		return judge(store, rc, path, fault);
	const char *words = rc == 1 ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
	if (!words || strcmp(words, "ok") != 0)
		return corrupt(store, path, words ? words : "no answer", fault);
	return 0;
}

static int open_database(struct store *store, const char *state_dir, struct fault *fault)
{
	char path[4096];
	int64_t version = 0, incarnation = 0;
	snprintf(path, sizeof path, "%s/" DATABASE, state_dir);
	/* Made here, so that it is never readable by others; its companions inherit the mode. */
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return fault_set(fault, -errno, "%s: cannot open", path);
	close(fd);
	if (sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return judge(store, store_fail(store, "open"), path, fault);
	/* Exclusive: one keeper, no shared memory file, and nobody reads past the rules. */
	int rc = store_run(store, "PRAGMA locking_mode=EXCLUSIVE", "");
	if (rc == 0)
		rc = store_run(store, "PRAGMA journal_mode=WAL", "");
	if (rc == 0)
		rc = store_run(store, "PRAGMA synchronous=FULL", "");
	if (rc == 0)
		rc = store_run(store, "PRAGMA secure_delete=ON", "");
	if (rc == 0)
		rc = store_run(store, "PRAGMA temp_store=MEMORY", "");
	if (rc == 0)
		rc = get_number(store, "PRAGMA user_version", &version);
	if (rc < 0)
		return judge(store, rc, path, fault);
	if (version > SCHEMA_VERSION)
		return fault_set(fault, STORE_NEWER,
				 "%s: written by a later tandem (schema %lld, this one knows %d); "
				 "install that version again, or move the file away",
				 path, (long long)version, SCHEMA_VERSION);
	if (version == 0) {
		rc = make_schema(store);
		if (rc < 0)
			return judge(store, rc, path, fault);
	} else {
		rc = check_whole(store, path, fault);
		if (rc != 0)
			return rc;
	}
	rc = get_number(store, "SELECT incarnation FROM node", &incarnation);
	if (rc < 0)
		return judge(store, rc, path, fault);
	if (rc == 0 || incarnation == 0)
		return corrupt(store, path, "no incarnation", fault);
	store->incarnation = (uint64_t)incarnation;
	return 0;
}

int store_open(const char *state_dir, struct store **ret_store, struct fault *fault)
{
	int rc = durable_mkdir(state_dir, 0700);
	if (rc < 0)
		return fault_set(fault, rc, "%s: cannot make the state directory", state_dir);
	struct store *store = calloc(1, sizeof *store);
	if (!store)
		return fault_set(fault, -ENOMEM, "cannot open the database");
	store->lock_fd = -1;
	rc = take_lock(store, state_dir, fault);
	if (rc == 0)
		rc = open_database(store, state_dir, fault);
	if (rc != 0) {
		store_free(store);
		return rc;
	}
	*ret_store = store;
	return 0;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	store_rollback(store);
	store_cache_clear(store);
	sqlite3_close(store->db);
	if (store->lock_fd >= 0)
		close(store->lock_fd);
	free(store);
	return NULL;
}

uint64_t store_incarnation(const struct store *store)
{
	return store->incarnation;
}

const char *store_error(const struct store *store)
{
	return store->error;
}

/* ---- across the rooms ---- */

static int objects_of_rescues(struct store *store, store_hash_fn fn, void *ctx)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt, "SELECT hash FROM rescue", "");
	while (rc == 0 && (rc = store_step(store, stmt)) == 1) {
		uint8_t hash[ENTRY_HASH_BYTES];
		rc = store_column(stmt, 0, hash, sizeof hash) ? fn(ctx, hash) : -EIO;
	}
	return rc;
}

int store_objects(struct store *store, store_hash_fn fn, void *ctx)
{
	int rc = store_objects_of_generations(store, fn, ctx);
	if (rc == 0)
		rc = store_objects_of_live(store, fn, ctx);
	if (rc == 0)
		rc = objects_of_rescues(store, fn, ctx);
	return rc;
}

struct hash_list {
	uint8_t (*hashes)[ENTRY_HASH_BYTES];
	size_t count, room;
};

static int add_hash(void *ctx, const uint8_t hash[ENTRY_HASH_BYTES])
{
	struct hash_list *list = ctx;
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 1024;
		void *hashes = realloc(list->hashes, room * sizeof *list->hashes);
		if (!hashes)
			return -ENOMEM;
		list->hashes = hashes;
		list->room = room;
	}
	memcpy(list->hashes[list->count++], hash, ENTRY_HASH_BYTES);
	return 0;
}

static int compare_hashes(const void *a, const void *b)
{
	return memcmp(a, b, ENTRY_HASH_BYTES);
}

static bool keep_hash(void *ctx, const uint8_t hash[ENTRY_HASH_BYTES])
{
	const struct hash_list *list = ctx;
	return list->count &&
	       bsearch(hash, list->hashes, list->count, sizeof *list->hashes, compare_hashes);
}

int64_t store_collect(struct store *store, struct objects *objects)
{
	struct hash_list list = {NULL, 0, 0};
	int64_t rc = store_objects(store, add_hash, &list);
	if (rc == 0) {
		if (list.count)
			qsort(list.hashes, list.count, sizeof *list.hashes, compare_hashes);
		rc = objects_collect(objects, keep_hash, &list);
	}
	free(list.hashes);
	return rc;
}
