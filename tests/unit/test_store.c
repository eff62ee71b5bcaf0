/* SPDX-License-Identifier: Apache-2.0 */
/* The object store and the database: R16 to R19. */
#include "tests/unit/syncd_fixture.h"

#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#define M "nginx"

static struct tree *tree_of(struct node *node, int files, int changed)
{
	struct tree *tree = tree_new();
	struct entry e;
	char path[400], text[64];
	memset(&e, 0, sizeof e);
	e.type = ENTRY_DIR;
	e.mode = 0755;
	e.owner = e.group = "root";
	e.target = "";
	e.path = node->path;
	e.path_size = (uint16_t)strlen(node->path);
	assert_int_equal(tree_add(tree, &e), 0);
	for (int i = 0; i < files; i++) {
		snprintf(path, sizeof path, "%s/%05d", node->path, i);
		snprintf(text, sizeof text, "content %d of %d", i,
			 i == changed % files ? changed : 0);
		e.type = ENTRY_FILE;
		e.path = path;
		e.path_size = (uint16_t)strlen(path);
		e.size = strlen(text);
		e.mtime_ns = 1000 + (i == changed % files ? changed : 0);
		assert_int_equal(
			objects_add_memory(node->objects, text, strlen(text), e.hash, &node->fault),
			0);
		assert_int_equal(tree_add(tree, &e), 0);
	}
	assert_int_equal(tree_seal(tree, NULL), 0);
	return tree;
}

/* ---- objects ---- */

static void what_is_stored_is_found_by_its_hash(void **state)
{
	struct node *node = *state;
	uint8_t a[32], b[32], *data;
	size_t size;
	uint64_t big = 0;
	struct stat st;
	assert_int_equal(objects_add_memory(node->objects, "hello", 5, a, &node->fault), 0);
	assert_int_equal(objects_add_memory(node->objects, "hello", 5, b, &node->fault), 0);
	assert_memory_equal(a, b, 32);
	assert_true(objects_have(node->objects, a));
	assert_int_equal(objects_read(node->objects, a, 5, &data, &size), 0);
	assert_memory_equal(data, "hello", 6);
	free(data);
	assert_int_equal(objects_read(node->objects, a, 4, &data, &size), -EFBIG);
	/* The empty one, and one that does not fit into a buffer. */
	assert_int_equal(objects_add_memory(node->objects, "", 0, b, &node->fault), 0);
	assert_int_equal(b[0], 0xe3);
	char path[400];
	snprintf(path, sizeof path, "%s/big", node->dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char *block = malloc(1 << 20);
	for (int i = 0; i < 3; i++) {
		memset(block, 'a' + i, 1 << 20);
		assert_int_equal(write(fd, block, 1 << 20), 1 << 20);
	}
	free(block);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(objects_add_fd(node->objects, fd, UINT64_MAX, b, &big, &node->fault), 0);
	assert_int_equal(big, 3 << 20);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(objects_hash_fd(fd, UINT64_MAX, a, &big), 0);
	assert_memory_equal(a, b, 32);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(objects_add_fd(node->objects, fd, 1000, b, NULL, &node->fault), -EFBIG);
	close(fd);
	int object;
	assert_int_equal(objects_get(node->objects, a, &object, &big), 0);
	assert_int_equal(fstat(object, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close(object);
	memset(a, 9, 32);
	assert_false(objects_have(node->objects, a));
	assert_int_equal(objects_get(node->objects, a, &object, NULL), -ENOENT);
	assert_int_equal(objects_sync(node->objects, &node->fault), 0);
	snprintf(path, sizeof path, "%s/objects", node->state);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void what_is_left_half_written_goes_with_the_next_start(void **state)
{
	struct node *node = *state;
	struct objects *killed = node->objects;
	char dir_path[400], path[410];
	struct stat st;
	snprintf(dir_path, sizeof dir_path, "%s/objects/tmp", node->state);
	snprintf(path, sizeof path, "%s/0", dir_path);
	put_text(path, "half of a f");
	assert_int_equal(objects_open(node->state, &node->objects, &node->fault), 0);
	assert_int_equal(stat(dir_path, &st), 0);
	assert_int_equal(lstat(path, &st), -1);
	objects_free(killed);
}

/* ---- generations ---- */

static void manifests_come_back_as_they_were(void **state)
{
	struct node *node = *state;
	enum { COUNT = 40 };
	static uint8_t ids[COUNT][32], hashes[COUNT][32];
	for (int i = 0; i < COUNT; i++) {
		struct tree *tree = tree_of(node, i == 20 ? 3 : 10, i + 1);
		node_author(node, M, tree, true, ids[i]);
		memcpy(hashes[i], tree->hash, 32);
		tree_free(tree);
	}
	/* And by another process. */
	node_close(node);
	node_open(node);
	for (int i = COUNT - 1; i >= 0; i--) {
		struct tree *tree;
		struct store_generation g;
		assert_int_equal(store_tree_get(node->store, M, ids[i], &tree), 0);
		assert_memory_equal(tree->hash, hashes[i], 32);
		assert_int_equal(tree->entries[1 + (i + 1) % (i == 20 ? 3 : 10)].mtime_ns,
				 1000 + i + 1);
		tree_free(tree);
		assert_int_equal(store_generation_get(node->store, M, ids[i], &g), 0);
		assert_int_equal(g.header.counter, i + 1);
		assert_string_equal(g.signer, "web1");
		uint8_t found[32];
		assert_int_equal(store_version_find(node->store, M, "web1",
						    store_incarnation(node->store), (uint64_t)i + 1,
						    found),
				 0);
		assert_memory_equal(found, ids[i], 32);
	}
	uint8_t none[32] = {1};
	struct store_generation g;
	assert_int_equal(store_generation_get(node->store, M, none, &g), -ENOENT);
	assert_int_equal(store_generation_get(node->store, "other", ids[0], &g), -ENOENT);
	assert_int_equal(store_version_find(node->store, M, "web1", 1, 1, none), -ENOENT);
}

static int count_gone(struct node *node, const uint8_t (*ids)[32], int count)
{
	int gone = 0;
	for (int i = 0; i < count; i++)
		gone += !store_generation_have(node->store, M, ids[i]);
	return gone;
}

static void dropping_old_ones_leaves_the_others_whole(void **state)
{
	struct node *node = *state;
	enum { COUNT = 30 };
	static uint8_t ids[COUNT][32], hashes[COUNT][32];
	for (int i = 0; i < COUNT; i++) {
		struct tree *tree = tree_of(node, 10, i + 1);
		node_author(node, M, tree, true, ids[i]);
		memcpy(hashes[i], tree->hash, 32);
		tree_free(tree);
	}
	assert_int_equal(store_acked_set(node->store, M, "web2", ids[7]), 0);
	struct store_conflict conflict = {.mirror = M, .node = "web3"};
	memcpy(conflict.local, ids[29], 32);
	memcpy(conflict.remote, ids[12], 32);
	assert_int_equal(store_conflict_put(node->store, &conflict), 0);
	assert_int_equal(store_prune(node->store, M, 5), 0);
	/* Kept: the newest five, and 7 and 12 with their parents. */
	assert_int_equal(count_gone(node, (const uint8_t(*)[32])ids, COUNT), COUNT - 5 - 4);
	static const int kept[] = {6, 7, 11, 12, 25, 26, 27, 28, 29};
	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
		struct tree *tree;
		assert_int_equal(store_tree_get(node->store, M, ids[kept[i]], &tree), 0);
		assert_memory_equal(tree->hash, hashes[kept[i]], 32);
		tree_free(tree);
	}
	/* R19: what was dropped does not give its counter back. */
	uint64_t counter;
	assert_int_equal(store_counter_last(node->store, M, "web1", store_incarnation(node->store),
					    &counter),
			 0);
	assert_int_equal(counter, COUNT);
	/* R17: their objects go, the others' stay. */
	uint8_t hash[32];
	assert_int_equal(
		objects_add_memory(node->objects, "content 0 of 20", 15, hash, &node->fault), 0);
	assert_true(store_collect(node->store, node->objects) > 0);
	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
		struct tree *tree;
		assert_int_equal(store_tree_get(node->store, M, ids[kept[i]], &tree), 0);
		for (size_t j = 1; j < tree->count; j++)
			assert_true(objects_have(node->objects, tree->entries[j].hash));
		tree_free(tree);
	}
	assert_int_equal(store_collect(node->store, node->objects), 0);
}

static bool first_only(void *ctx, const struct store_generation *g)
{
	memcpy(ctx, g->id, 32);
	return false;
}

static void the_merge_base_is_the_newest_common_past(void **state)
{
	struct node *node = *state;
	static const uint8_t definition[32] = {1};
	uint8_t ids[3][32], found[32];
	struct store_generation g[3], other;
	struct tree *tree = NULL;
	for (int i = 0; i < 3; i++) {
		tree_free(tree);
		tree = tree_of(node, 3, i + 1);
		node_author(node, M, tree, true, ids[i]);
		assert_int_equal(store_generation_get(node->store, M, ids[i], &g[i]), 0);
	}
	/* web2 went on from the second. */
	const struct generation *parents[1] = {&g[1].header};
	memset(&other, 0, sizeof other);
	assert_true(generation_author(parents, (const uint8_t(*)[32])ids[1], 1, definition,
				      tree->hash, "web2", 5, 1, &other.header));
	generation_id(&other.header, other.id);
	assert_int_equal(store_base_find(node->store, M, &g[2].header, &other.header, found), 0);
	assert_memory_equal(found, ids[1], 32);
	struct generation stranger;
	assert_true(
		generation_author(NULL, NULL, 0, definition, tree->hash, "web3", 5, 1, &stranger));
	assert_int_equal(store_base_find(node->store, M, &g[2].header, &stranger, found), -ENOENT);
	assert_int_equal(store_generations(node->store, M, first_only, found), 0);
	assert_memory_equal(found, ids[2], 32);
	tree_free(tree);
}

/* ---- the small tables ---- */

static void count_conflict(void *ctx, const struct store_conflict *conflict)
{
	assert_string_equal(conflict->paths[1], "/m/two");
	++*(int *)ctx;
}

static void count_rescue(void *ctx, const struct store_rescue *rescue)
{
	assert_string_equal(rescue->path, "/m/f");
	++*(int *)ctx;
}

static void refs_refusals_conflicts_and_rescues_are_remembered(void **state)
{
	struct node *node = *state;
	struct store *s = node->store;
	uint8_t a[32] = {1}, b[32] = {2}, found[32];
	char *reason, one[] = "/m/one", two[] = "/m/two", *paths[] = {one, two};
	int count = 0;
	assert_int_equal(store_head_get(s, M, found), -ENOENT);
	assert_int_equal(store_head_set(s, M, a), 0);
	assert_int_equal(store_head_set(s, M, b), 0);
	assert_int_equal(store_acked_set(s, M, "web2", a), 0);
	assert_int_equal(store_head_get(s, M, found), 0);
	assert_memory_equal(found, b, 32);
	assert_int_equal(store_acked_get(s, M, "web2", found), 0);
	assert_memory_equal(found, a, 32);
	assert_int_equal(store_acked_get(s, M, "web3", found), -ENOENT);
	assert_int_equal(store_refused_get(s, M, a, NULL), -ENOENT);
	assert_int_equal(store_refused_put(s, M, a, "[emerg] no such file"), 0);
	assert_int_equal(store_refused_get(s, M, a, &reason), 0);
	assert_string_equal(reason, "[emerg] no such file");
	free(reason);
	assert_int_equal(store_refused_clear(s, M), 0);
	assert_int_equal(store_refused_get(s, M, a, NULL), -ENOENT);
	struct store_conflict conflict = {
		.mirror = M, .node = "web2", .since_unix_s = 5, .paths = paths, .paths_count = 2};
	struct store_conflict back;
	assert_int_equal(store_conflict_put(s, &conflict), 0);
	assert_int_equal(store_conflict_put(s, &conflict), 0);
	assert_int_equal(store_conflict_get(s, M, "web2", &back), 0);
	assert_int_equal(back.paths_count, 2);
	assert_string_equal(back.paths[0], "/m/one");
	assert_int_equal(back.since_unix_s, 5);
	store_conflict_release(&back);
	assert_int_equal(store_conflicts(s, NULL, count_conflict, &count), 0);
	assert_int_equal(store_conflicts(s, M, count_conflict, &count), 0);
	assert_int_equal(store_conflicts(s, "other", count_conflict, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(store_conflict_clear(s, M, "web2"), 0);
	assert_int_equal(store_conflict_get(s, M, "web2", &back), -ENOENT);
	struct store_rescue rescue = {.mirror = M, .path = "/m/f"};
	assert_int_equal(objects_add_memory(node->objects, "late", 4, rescue.hash, &node->fault),
			 0);
	assert_int_equal(store_rescue_put(s, &rescue), 0);
	count = 0;
	assert_int_equal(store_rescues(s, M, count_rescue, &count), 0);
	assert_int_equal(count, 1);
	/* R17. */
	assert_int_equal(store_collect(s, node->objects), 0);
	assert_true(objects_have(node->objects, rescue.hash));
	assert_int_equal(store_rescue_clear(s, M, "/m/f"), 0);
	assert_int_equal(store_collect(s, node->objects), 1);
}

static void the_live_tree_keeps_its_sights_and_changes_only_what_differs(void **state)
{
	struct node *node = *state;
	struct tree *tree = tree_of(node, 20, 1), *back, *next;
	struct entry_seen seen = {.ino = 77, .ctime_ns = -5, .mode = 0100644, .uid = 3};
	assert_int_equal(store_live_get(node->store, M, &back), -ENOENT);
	assert_int_equal(
		tree_set_seen(tree, tree->entries[3].path, tree->entries[3].path_size, &seen), 0);
	assert_int_equal(store_live_set(node->store, M, tree), 0);
	assert_int_equal(store_live_get(node->store, M, &back), 0);
	assert_memory_equal(back->hash, tree->hash, 32);
	assert_memory_equal(&back->entries[3].seen, &seen, sizeof seen);
	tree_free(back);
	const char *removed[] = {tree->entries[5].path};
	struct entry changed = tree->entries[6];
	changed.mode = 0600;
	assert_int_equal(tree_apply(tree, removed, 1, &changed, 1, &next), 0);
	assert_int_equal(store_live_set(node->store, M, next), 0);
	assert_int_equal(store_live_get(node->store, M, &back), 0);
	assert_memory_equal(back->hash, next->hash, 32);
	assert_memory_equal(&back->entries[3].seen, &seen, sizeof seen);
	tree_free(back);
	tree_free(next);
	tree_free(tree);
	/* The empty tree is known as well. */
	tree = tree_new();
	assert_int_equal(tree_seal(tree, NULL), 0);
	assert_int_equal(store_live_set(node->store, M, tree), 0);
	assert_int_equal(store_live_get(node->store, M, &back), 0);
	assert_int_equal(back->count, 0);
	tree_free(back);
	tree_free(tree);
}

static void a_transaction_is_all_or_nothing(void **state)
{
	struct node *node = *state;
	struct store *s = node->store;
	uint8_t a[32] = {1}, found[32];
	struct tree *tree = tree_of(node, 3, 1), *back;
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_head_set(s, M, a), 0);
	assert_int_equal(store_live_set(s, M, tree), 0);
	store_rollback(s);
	assert_int_equal(store_head_get(s, M, found), -ENOENT);
	assert_int_equal(store_live_get(s, M, &back), -ENOENT);
	/* A journal of its own mirror is there already: what failed cannot be committed. */
	struct store_journal journal = {.mirror = M, .from = tree, .to = tree};
	assert_int_equal(store_journal_put(s, &journal), 0);
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_head_set(s, M, a), 0);
	assert_int_equal(store_journal_put(s, &journal), -EEXIST);
	assert_int_equal(store_commit(s), -ECANCELED);
	assert_int_equal(store_head_get(s, M, found), -ENOENT);
	assert_int_equal(store_journal_clear(s, M), 0);
	tree_free(tree);
}

/* ---- opening ---- */

static void the_incarnation_is_made_once(void **state)
{
	struct node *node = *state;
	uint64_t first = store_incarnation(node->store);
	assert_true(first != 0);
	node_close(node);
	node_open(node);
	assert_true(store_incarnation(node->store) == first);
	node_close(node);
	run_rm(node->state);
	node_open(node);
	assert_true(store_incarnation(node->store) != first);
	char path[400];
	struct stat st;
	snprintf(path, sizeof path, "%s/syncd.db", node->state);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	strcat(path, "-wal");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_second_keeper_is_refused(void **state)
{
	struct node *node = *state;
	struct store *second = NULL;
	assert_int_equal(store_open(node->state, &second, &node->fault), STORE_LOCKED);
	assert_non_null(strstr(node->fault.text, "another tandem-syncd"));
	assert_null(second);
}

static void a_damaged_database_is_refused_with_its_cure(void **state)
{
	struct node *node = *state;
	struct store *store = NULL;
	char path[400];
	struct tree *tree = tree_of(node, 200, 1);
	uint8_t id[32];
	node_author(node, M, tree, true, id);
	tree_free(tree);
	node_close(node);
	snprintf(path, sizeof path, "%s/syncd.db", node->state);
	/* In the middle, where only the check of the whole finds it. */
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	char noise[4096];
	memset(noise, 0x5a, sizeof noise);
	for (off_t at = 4096; at < st.st_size; at += 4096)
		assert_int_equal(pwrite(fd, noise, sizeof noise, at), sizeof noise);
	close(fd);
	assert_int_equal(store_open(node->state, &store, &node->fault), STORE_CORRUPT);
	assert_non_null(strstr(node->fault.text, path));
	assert_non_null(strstr(node->fault.text, "move the file away"));
	/* And one that never was a database. */
	put_text(path, "this is no database, and long enough to be looked at as one, is it not");
	assert_int_equal(store_open(node->state, &store, &node->fault), STORE_CORRUPT);
	assert_int_equal(unlink(path), 0);
	node_open(node);
}

static void a_newer_database_is_refused_and_left_alone(void **state)
{
	struct node *node = *state;
	struct store *store = NULL;
	sqlite3 *db;
	char path[400];
	node_close(node);
	snprintf(path, sizeof path, "%s/syncd.db", node->state);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(store_open(node->state, &store, &node->fault), STORE_NEWER);
	assert_non_null(strstr(node->fault.text, "later tandem (schema 99"));
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=1", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	node_open(node);
}

/* R13: in a child with a small file system for the state. */
static int fill_up(struct node *node)
{
	uint8_t id[32], head[32], found[32];
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", node->state, "tmpfs", 0, "size=1m") != 0)
		return 10;
	node_open(node);
	struct tree *tree = tree_of(node, 5, 1);
	node_author(node, M, tree, true, head);
	tree_free(tree);
	/* To the brim, with objects: they tell of it. */
	char *block = malloc(65536);
	int rc = 0;
	for (int i = 0; rc == 0 && i < 100; i++) {
		memset(block, i, 65536);
		rc = objects_add_memory(node->objects, block, i < 50 ? 65536 : 1000, id,
					&node->fault);
	}
	if (rc != -ENOSPC || !strstr(node->fault.text, "free some space"))
		return 11;
	while (rc == -ENOSPC) {
		static int small;
		small++;
		memset(block, small, 4000);
		rc = objects_add_memory(node->objects, block, 100, id, &node->fault);
		if (small > 100)
			break;
	}
	/* The database grows until it cannot. */
	tree = tree_of(node, 5, 1);
	char reason[4000];
	memset(reason, 'r', sizeof reason - 1);
	reason[sizeof reason - 1] = '\0';
	rc = 0;
	for (int i = 0; rc == 0 && i < 2000; i++) {
		memcpy(id, &i, sizeof i);
		rc = store_refused_put(node->store, M, id, reason);
	}
	if (rc != -ENOSPC)
		return fprintf(stderr, "%d %s\n", rc, store_error(node->store)), 12;
	if (store_head_get(node->store, M, found) != 0 || memcmp(found, head, 32) != 0)
		return 13;
	struct tree *back;
	if (store_tree_get(node->store, M, head, &back) != 0 ||
	    memcmp(back->hash, tree->hash, 32) != 0)
		return 14;
	return 0;
}

static void a_full_disk_keeps_what_was_there(void **state)
{
	struct node *node = *state;
	int status;
	node_close(node);
	pid_t pid = fork();
	if (pid == 0)
		_exit(fill_up(node));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	node_open(node);
}

static void an_edit_of_a_large_tree_is_a_small_row(void **state)
{
	struct node *node = *state;
	struct timespec t[2];
	uint8_t id[32];
	char path[400];
	struct stat st[2];
	struct tree *tree = tree_of(node, 5000, 1);
	node_author(node, M, tree, true, id);
	tree_free(tree);
	node_close(node);
	snprintf(path, sizeof path, "%s/syncd.db", node->state);
	assert_int_equal(stat(path, &st[0]), 0);
	node_open(node);
	for (int i = 0; i < 10; i++) {
		tree = tree_of(node, 5000, i + 2);
		if (i == 9)
			clock_gettime(CLOCK_MONOTONIC, &t[0]);
		node_author(node, M, tree, false, id);
		if (i == 9)
			clock_gettime(CLOCK_MONOTONIC, &t[1]);
		assert_int_equal(store_head_set(node->store, M, id), 0);
		tree_free(tree);
	}
	node_close(node);
	assert_int_equal(stat(path, &st[1]), 0);
	printf("figure: 5000 files: a generation is recorded in %.1f ms and %ld bytes\n",
	       (double)(t[1].tv_sec - t[0].tv_sec) * 1e3 +
		       (double)(t[1].tv_nsec - t[0].tv_nsec) / 1e6,
	       (long)(st[1].st_size - st[0].st_size) / 10);
	node_open(node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, node_set_up, node_tear_down)
		T(what_is_stored_is_found_by_its_hash),
		T(what_is_left_half_written_goes_with_the_next_start),
		T(manifests_come_back_as_they_were),
		T(dropping_old_ones_leaves_the_others_whole),
		T(the_merge_base_is_the_newest_common_past),
		T(refs_refusals_conflicts_and_rescues_are_remembered),
		T(the_live_tree_keeps_its_sights_and_changes_only_what_differs),
		T(a_transaction_is_all_or_nothing),
		T(the_incarnation_is_made_once),
		T(a_second_keeper_is_refused),
		T(a_damaged_database_is_refused_with_its_cure),
		T(a_newer_database_is_refused_and_left_alone),
		T(a_full_disk_keeps_what_was_there),
		T(an_edit_of_a_large_tree_is_a_small_row),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
