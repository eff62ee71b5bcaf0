/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syncd_fixture: a node of the replicator in a temporary directory, for tests: a mirrored
 * directory, a state directory, an object store and a database; a small scan that knows nothing of
 * excludes.
 */
#ifndef TANDEM_TESTS_SYNCD_FIXTURE_H
#define TANDEM_TESTS_SYNCD_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/log.h"
#include "syncd/commit.h"
#include "syncd/objects.h"
#include "syncd/owner.h"
#include "syncd/stage.h"
#include "syncd/store.h"
#include "syncd/tree.h"

struct node {
	char name[16];
	char dir[256];	/* of everything */
	char path[300]; /* the mirrored directory */
	char state[300];
	const char *paths[1];
	struct objects *objects;
	struct store *store;
	struct fault fault;
};

__attribute__((unused)) static void run_rm(const char *dir)
{
	char command[512];
	/* Made by mkdtemp, so nothing else can be meant. */
	assert_true(strncmp(dir, "/tmp/tandem-", 12) == 0 ||
		    strncmp(dir, "/dev/shm/tandem-", 16) == 0);
	snprintf(command, sizeof command, "rm -rf --one-file-system '%s'", dir);
	assert_int_equal(system(command), 0);
}

__attribute__((unused)) static void node_open(struct node *node)
{
	int rc = objects_open(node->state, &node->objects, &node->fault);
	if (rc == 0)
		rc = store_open(node->state, &node->store, &node->fault);
	if (rc != 0)
		fail_msg("%s", node->fault.text);
}

__attribute__((unused)) static void node_close(struct node *node)
{
	node->store = store_free(node->store);
	node->objects = objects_free(node->objects);
}

/* Below dir, which must exist. */
__attribute__((unused)) static void node_init_in(struct node *node, const char *name,
						 const char *dir)
{
	memset(node, 0, sizeof *node);
	snprintf(node->name, sizeof node->name, "%s", name);
	snprintf(node->dir, sizeof node->dir, "%s/%s", dir, name);
	snprintf(node->path, sizeof node->path, "%s/%s/live", dir, name);
	snprintf(node->state, sizeof node->state, "%s/%s/state", dir, name);
	node->paths[0] = node->path;
	assert_int_equal(mkdir(node->dir, 0755), 0);
	assert_int_equal(mkdir(node->path, 0755), 0);
	node_open(node);
}

/* For cmocka: one node in a temporary directory of its own. */
__attribute__((unused)) static int node_set_up(void **state)
{
	char top[] = "/tmp/tandem-node-XXXXXX";
	struct node *node = calloc(1, sizeof *node);
	assert_non_null(node);
	assert_non_null(mkdtemp(top));
	node_init_in(node, "web1", top);
	*state = node;
	return 0;
}

__attribute__((unused)) static int node_tear_down(void **state)
{
	struct node *node = *state;
	node_close(node);
	*strrchr(node->dir, '/') = '\0';
	run_rm(node->dir);
	free(node);
	return 0;
}

/* ---- a scan ---- */

static void scan_into(struct node *node, struct tree *tree, const char *path, const char *as_prefix)
{
	struct stat st;
	struct entry entry;
	char shown[ENTRY_PATH_BYTES_MAX + 1], target[ENTRY_PATH_BYTES_MAX + 1] = "";
	memset(&entry, 0, sizeof entry);
	assert_int_equal(lstat(path, &st), 0);
	/* Nodes of one test live in different directories, so the path that is mirrored is named
	 * alike: all of them are shown below as_prefix. */
	snprintf(shown, sizeof shown, "%s%s", as_prefix, path + strlen(node->path));
	entry.path = shown;
	entry.path_size = (uint16_t)strlen(shown);
	entry.mode = st.st_mode & 07777;
	entry.uid = st.st_uid;
	entry.gid = st.st_gid;
	entry.owner = owner_user_name(st.st_uid);
	entry.group = owner_group_name(st.st_gid);
	entry.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	entry.target = target;
	entry.seen = (struct entry_seen){
		.ino = st.st_ino,
		.ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
		.mtime_ns = entry.mtime_ns,
		.size = (uint64_t)st.st_size,
		.mode = st.st_mode,
		.uid = st.st_uid,
		.gid = st.st_gid,
	};
	if (S_ISDIR(st.st_mode)) {
		entry.type = ENTRY_DIR;
	} else if (S_ISLNK(st.st_mode)) {
		entry.type = ENTRY_SYMLINK;
		entry.mode = 0777;
		ssize_t size = readlink(path, target, sizeof target - 1);
		assert_true(size > 0);
		target[size] = '\0';
		entry.target_size = (uint16_t)size;
	} else {
		entry.type = ENTRY_FILE;
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		int rc = objects_add_fd(node->objects, fd, UINT64_MAX, entry.hash, &entry.size,
					&node->fault);
		if (rc < 0)
			fail_msg("%s", node->fault.text);
		close(fd);
	}
	assert_int_equal(tree_add(tree, &entry), 0);
	if (!S_ISDIR(st.st_mode))
		return;
	DIR *dir = opendir(path);
	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		char below[ENTRY_PATH_BYTES_MAX + 1];
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    strcmp(e->d_name, ENTRY_STAGE_NAME) == 0)
			continue;
		snprintf(below, sizeof below, "%s/%s", path, e->d_name);
		scan_into(node, tree, below, as_prefix);
	}
	closedir(dir);
}

__attribute__((unused)) static struct tree *node_scan_as(struct node *node, const char *as_prefix)
{
	struct stat st;
	struct tree *tree = tree_new();
	assert_non_null(tree);
	if (lstat(node->path, &st) == 0)
		scan_into(node, tree, node->path, as_prefix);
	assert_int_equal(tree_seal(tree, NULL), 0);
	return tree;
}

__attribute__((unused)) static struct tree *node_scan(struct node *node)
{
	return node_scan_as(node, node->path);
}

/* ---- files ---- */

__attribute__((unused)) static const char *node_at(const struct node *node, const char *relative)
{
	static char paths[4][ENTRY_PATH_BYTES_MAX + 1];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, ENTRY_PATH_BYTES_MAX + 1, "%s/%s", node->path, relative);
	return path;
}

__attribute__((unused)) static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* As an editor saves: beside, then over it. */
__attribute__((unused)) static void save_text(const char *path, const char *text)
{
	char beside[ENTRY_PATH_BYTES_MAX + 8];
	snprintf(beside, sizeof beside, "%s~new", path);
	put_text(beside, text);
	assert_int_equal(rename(beside, path), 0);
}

__attribute__((unused)) static bool has_text(const char *path, const char *text)
{
	char found[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t size = read(fd, found, sizeof found);
	close(fd);
	return size == (ssize_t)strlen(text) && memcmp(found, text, (size_t)size) == 0;
}

/* ---- generations ---- */

/* Puts the tree into the node's store as the next generation by this author, without parents unless
 * there is a head. */
__attribute__((unused)) static void node_author(struct node *node, const char *mirror,
						const struct tree *tree, bool make_head,
						uint8_t ret_id[GENERATION_ID_BYTES])
{
	static const uint8_t definition[ENTRY_HASH_BYTES] = {1};
	struct store_generation g, head;
	const struct generation *parents[1] = {&head.header};
	uint8_t parent_ids[1][GENERATION_ID_BYTES];
	uint64_t counter = 0;
	memset(&g, 0, sizeof g);
	strcpy(g.mirror, mirror);
	strcpy(g.signer, node->name);
	int parents_count = store_head_get(node->store, mirror, parent_ids[0]) == 0;
	if (parents_count)
		assert_int_equal(store_generation_get(node->store, mirror, parent_ids[0], &head),
				 0);
	assert_int_equal(store_counter_last(node->store, mirror, node->name,
					    store_incarnation(node->store), &counter),
			 0);
	assert_true(generation_author(parents, (const uint8_t(*)[GENERATION_ID_BYTES])parent_ids,
				      parents_count, definition, tree->hash, node->name,
				      store_incarnation(node->store), counter + 1, &g.header));
	generation_id(&g.header, g.id);
	assert_int_equal(objects_sync(node->objects, &node->fault), 0);
	assert_int_equal(store_generation_put(node->store, &g, tree), 0);
	if (make_head) {
		assert_int_equal(store_head_set(node->store, mirror, g.id), 0);
		assert_int_equal(store_live_set(node->store, mirror, tree), 0);
	}
	memcpy(ret_id, g.id, GENERATION_ID_BYTES);
}

/* ---- stage and commit ---- */

/* What leads from one tree to the other, staged. */
__attribute__((unused)) static struct stage *node_stage(struct node *node, struct tree *from,
							struct tree *to, const uint8_t *id)
{
	struct stage *stage = NULL;
	struct stage_options options = {.paths = node->paths,
					.paths_count = 1,
					.id = id,
					.from = from,
					.to = to,
					.objects = node->objects};
	int rc = stage_build(&options, &stage, &node->fault);
	if (rc != 0)
		fail_msg("stage: %s", node->fault.text);
	return stage;
}

__attribute__((unused)) static void node_commit(struct node *node, const char *mirror,
						struct stage *stage, struct commit_result *result)
{
	int rc = commit_run(node->store, mirror, stage, result, &node->fault);
	if (rc != 0)
		fail_msg("commit: %s", node->fault.text);
}

#endif
