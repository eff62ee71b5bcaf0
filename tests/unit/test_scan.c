/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/scan.h"

struct fixture {
	char top[32], mirror[64];
	const char *paths[1];
	struct ignore ignore;
	struct objects *objects;
	struct tree *previous;
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct fault fault = {""};

	strcpy(f->top, "/tmp/tandem-scan-XXXXXX");
	if (mkdtemp(f->top) == NULL)
		return -1;
	snprintf(f->mirror, sizeof f->mirror, "%s/etc", f->top);
	f->paths[0] = f->mirror;
	if (mkdir(f->mirror, 0755) < 0 || objects_open(f->top, &f->objects, &fault) < 0)
		return -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	objects_free(f->objects);
	tree_free(f->previous);
	nftw(f->top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static const char *at(const struct fixture *f, const char *name)
{
	static char path[2][PATH_MAX];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof path[turn], "%s/%s", f->mirror, name);
	return path[turn];
}

static void put_file(const struct fixture *f, const char *name, const char *text)
{
	int fd = open(at(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* Where something may have changed; "": everywhere. */
static char changed[PATH_MAX];

static bool may_differ(const void *ctx, const char *path, size_t path_size)
{
	(void)ctx;
	return strncmp(changed, path, path_size) == 0 &&
	       (changed[path_size] == '/' || changed[path_size] == '\0');
}

static void change_in(const struct fixture *f, const char *name)
{
	snprintf(changed, sizeof changed, "%s/%s", f->mirror, name);
}

static struct scan_result scan(struct fixture *f)
{
	struct scan_options options = {.paths = f->paths,
				       .paths_count = 1,
				       .ignore = &f->ignore,
				       .objects = f->objects,
				       .previous = f->previous,
				       .may_differ = *changed ? may_differ : NULL};
	struct scan_result result;
	struct fault fault = {""};

	assert_int_equal(scan_run(&options, &result, &fault), 0);
	return result;
}

/* Until every entry has a sight, which is what a keeper waits for as well. */
static void scan_until_ripe(struct fixture *f)
{
	struct scan_result result;

	do {
		result = scan(f);
		tree_free(f->previous);
		f->previous = result.tree;
	} while (result.young > 0);
}

static const struct entry *find(const struct fixture *f, const struct tree *tree, const char *name)
{
	const char *path = *name ? at(f, name) : f->mirror;

	return tree_find(tree, path, strlen(path));
}

static void a_scan_finds_files_links_directories_and_what_they_are(void **state)
{
	struct fixture *f = *state;
	struct scan_result result;
	const struct entry *entry;

	put_file(f, "nginx.conf", "events {}\n");
	assert_int_equal(mkdir(at(f, "conf.d"), 0750), 0);
	assert_int_equal(symlink("../nginx.conf", at(f, "conf.d/link")), 0);
	assert_int_equal(chmod(at(f, "nginx.conf"), 0600), 0);
	result = scan(f);
	assert_int_equal(result.problems_count, 0);
	assert_int_equal(result.tree->count, 4);
	entry = find(f, result.tree, "nginx.conf");
	assert_int_equal(entry->type, ENTRY_FILE);
	assert_int_equal(entry->mode, 0600);
	assert_int_equal(entry->size, 10);
	assert_string_equal(entry->owner, "root");
	assert_true(objects_have(f->objects, entry->hash));
	entry = find(f, result.tree, "conf.d");
	assert_int_equal(entry->type, ENTRY_DIR);
	assert_int_equal(entry->mode, 0750);
	entry = find(f, result.tree, "conf.d/link");
	assert_int_equal(entry->type, ENTRY_SYMLINK);
	assert_string_equal(entry->target, "../nginx.conf");
	scan_result_release(&result);
}

static void what_looks_as_before_is_not_read_again(void **state)
{
	struct fixture *f = *state;
	struct scan_result result;

	put_file(f, "a", "one");
	put_file(f, "b", "two");
	scan_until_ripe(f);
	put_file(f, "b", "other");
	result = scan(f);
	assert_int_equal(result.files_read, 1);
	assert_memory_equal(find(f, result.tree, "a")->hash, find(f, f->previous, "a")->hash, 32);
	assert_memory_not_equal(find(f, result.tree, "b")->hash, find(f, f->previous, "b")->hash,
				32);
	scan_result_release(&result);
}

static void an_edit_of_the_same_size_and_mtime_is_found(void **state)
{
	struct fixture *f = *state;
	struct scan_result result;
	struct stat st;

	put_file(f, "a", "one");
	scan_until_ripe(f);
	assert_int_equal(stat(at(f, "a"), &st), 0);
	put_file(f, "a", "two");
	struct timespec times[2] = {st.st_atim, st.st_mtim};

	assert_int_equal(utimensat(AT_FDCWD, at(f, "a"), times, 0), 0);
	result = scan(f);
	assert_memory_not_equal(find(f, result.tree, "a")->hash, find(f, f->previous, "a")->hash,
				32);
	scan_result_release(&result);
}

static void a_file_stamped_this_moment_gets_no_sight_and_is_read_again(void **state)
{
	struct fixture *f = *state;
	struct scan_result result;
	uint64_t limit_us = now_us() + 60000000;

	/* A scan may come too late to find it young: then it is stamped anew. */
	do {
		assert_true(now_us() < limit_us);
		tree_free(f->previous);
		f->previous = NULL;
		put_file(f, "a", "one");
		result = scan(f);
		f->previous = result.tree;
	} while (find(f, result.tree, "a")->seen.ino != 0);
	assert_true(result.young > 0);
	result = scan(f);
	assert_int_equal(result.files_read, 1);
	scan_result_release(&result);
}

static void what_editors_leave_behind_and_what_is_excluded_is_not_there(void **state)
{
	struct fixture *f = *state;
	char node_d[PATH_MAX];
	const char *excludes[] = {"*.bak", node_d};
	static const char *const debris[] = {"4913",	    "site.conf~",  ".site.conf.swp",
					     ".#site.conf", "#site.conf#", "nginx.conf.dpkg-new",
					     "old.bak"};
	struct scan_result result;

	snprintf(node_d, sizeof node_d, "%s/node.d/", f->mirror);
	f->ignore = (struct ignore){.excludes = excludes, .excludes_count = 2};
	put_file(f, "site.conf", "x");
	for (size_t i = 0; i < sizeof debris / sizeof *debris; i++)
		put_file(f, debris[i], "debris");
	assert_int_equal(mkdir(at(f, IGNORE_STAGE_NAME), 0700), 0);
	assert_int_equal(mkdir(at(f, "node.d"), 0755), 0);
	put_file(f, "node.d/own.conf", "only here");
	result = scan(f);
	assert_int_equal(result.tree->count, 2);
	assert_non_null(find(f, result.tree, "site.conf"));
	scan_result_release(&result);
}

static void sockets_pipes_and_setuid_files_are_named_with_their_cure(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct scan_result result;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool pipe_named = false, socket_named = false, setuid_named = false;

	snprintf(address.sun_path, sizeof address.sun_path, "%s/sock", f->mirror);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(mkfifo(at(f, "pipe"), 0600), 0);
	put_file(f, "tool", "x");
	assert_int_equal(chmod(at(f, "tool"), 04755), 0);
	result = scan(f);
	assert_int_equal(result.problems_count, 3);
	for (size_t i = 0; i < 3; i++) {
		pipe_named |= strstr(result.problems[i], "/pipe is a named pipe") != NULL &&
			      strstr(result.problems[i], "exclude it") != NULL;
		socket_named |= strstr(result.problems[i], "/sock is a socket") != NULL;
		setuid_named |= strstr(result.problems[i], "chmod u-s") != NULL;
	}
	assert_true(pipe_named && socket_named && setuid_named);
	scan_result_release(&result);
	close(fd);
}

static void a_missing_path_is_counted_and_a_link_in_its_place_is_a_problem(void **state)
{
	struct fixture *f = *state;
	struct scan_result result;

	assert_int_equal(rmdir(f->mirror), 0);
	result = scan(f);
	assert_int_equal(result.paths_missing, 1);
	assert_int_equal(result.tree->count, 0);
	scan_result_release(&result);
	assert_int_equal(symlink("/etc", f->mirror), 0);
	result = scan(f);
	assert_int_equal(result.problems_count, 1);
	assert_non_null(strstr(result.problems[0], "is not a directory"));
	scan_result_release(&result);
	assert_int_equal(unlink(f->mirror), 0);
}

static void a_directory_that_holds_only_what_is_excluded_does_not_come_back(void **state)
{
	struct fixture *f = *state;
	struct scan_result result;

	put_file(f, "keep", "x");
	scan_until_ripe(f);
	/* As a commit leaves it that removed the directory and everything else in it (R14). */
	assert_int_equal(mkdir(at(f, "gone"), 0755), 0);
	put_file(f, "gone/mine~", "x");
	assert_int_equal(mkdir(at(f, "empty"), 0755), 0);
	result = scan(f);
	assert_null(find(f, result.tree, "gone"));
	assert_non_null(find(f, result.tree, "empty"));
	scan_result_release(&result);
}

static void two_scans_of_a_tree_at_rest_have_one_fingerprint(void **state)
{
	struct fixture *f = *state;
	struct scan_result a, b;

	put_file(f, "a", "one");
	scan_until_ripe(f);
	a = scan(f);
	b = scan(f);
	assert_memory_equal(a.fingerprint, b.fingerprint, sizeof a.fingerprint);
	scan_result_release(&b);
	put_file(f, "a", "two");
	b = scan(f);
	assert_memory_not_equal(a.fingerprint, b.fingerprint, sizeof a.fingerprint);
	scan_result_release(&a);
	scan_result_release(&b);
}

static void where_nothing_can_have_changed_nothing_is_looked_at(void **state)
{
	struct fixture *f = *state;
	struct scan_result whole, part;

	assert_int_equal(mkdir(at(f, "a"), 0755), 0);
	assert_int_equal(mkdir(at(f, "a/deep"), 0755), 0);
	assert_int_equal(mkdir(at(f, "b"), 0755), 0);
	assert_int_equal(mkdir(at(f, "b-side"), 0755), 0);
	put_file(f, "a/deep/file", "old");
	put_file(f, "b/file", "old");
	put_file(f, "b-side/file", "old");
	scan_until_ripe(f);
	whole = scan(f);
	change_in(f, "b");
	part = scan(f);
	assert_memory_equal(part.fingerprint, whole.fingerprint, sizeof part.fingerprint);
	assert_memory_equal(part.tree->hash, whole.tree->hash, sizeof part.tree->hash);
	assert_int_equal(part.tree->count, whole.tree->count);
	scan_result_release(&whole);
	scan_result_release(&part);
	put_file(f, "a/deep/file", "new");
	put_file(f, "b/file", "new");
	put_file(f, "b-side/file", "new");
	part = scan(f);
	assert_int_equal(part.files_read, 1);
	assert_memory_equal(find(f, part.tree, "a/deep/file")->hash,
			    find(f, f->previous, "a/deep/file")->hash, ENTRY_HASH_BYTES);
	changed[0] = '\0';
	whole = scan(f);
	assert_int_equal(whole.files_read, 3);
	assert_memory_not_equal(part.tree->hash, whole.tree->hash, sizeof part.tree->hash);
	scan_result_release(&whole);
	scan_result_release(&part);
}

static void what_was_too_young_is_looked_at_wherever_it_is(void **state)
{
	struct fixture *f = *state;
	struct scan_result part;

	assert_int_equal(mkdir(at(f, "a"), 0755), 0);
	assert_int_equal(mkdir(at(f, "b"), 0755), 0);
	scan_until_ripe(f);
	do {
		put_file(f, "a/file", "young");
		part = scan(f);
		tree_free(f->previous);
		f->previous = part.tree;
	} while (find(f, f->previous, "a/file")->seen.ino != 0);
	put_file(f, "a/file", "other");
	change_in(f, "b");
	part = scan(f);
	changed[0] = '\0';
	assert_int_equal(part.files_read, 1);
	scan_result_release(&part);
}

static void an_edit_beside_20000_files_costs_what_its_directory_costs(void **state)
{
	struct fixture *f = *state;
	char name[64];
	uint64_t began_us, whole_us, part_us;
	struct scan_result part;

	for (int d = 0; d < 200; d++) {
		snprintf(name, sizeof name, "d%03d", d);
		assert_int_equal(mkdir(at(f, name), 0755), 0);
		for (int i = 0; i < 100; i++) {
			snprintf(name, sizeof name, "d%03d/f%02d", d, i);
			put_file(f, name, "the same everywhere\n");
		}
	}
	scan_until_ripe(f);
	began_us = now_us();
	part = scan(f);
	whole_us = now_us() - began_us;
	scan_result_release(&part);
	put_file(f, "d100/f50", "edited\n");
	change_in(f, "d100");
	began_us = now_us();
	part = scan(f);
	part_us = now_us() - began_us;
	changed[0] = '\0';
	assert_int_equal(part.files_read, 1);
	assert_int_equal(part.tree->count, 20201);
	scan_result_release(&part);
	printf("figure: 20,000 files in 200 directories: a whole look %llu ms, after an edit in "
	       "one "
	       "of them %llu ms\n",
	       (unsigned long long)(whole_us / 1000), (unsigned long long)(part_us / 1000));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_scan_finds_files_links_directories_and_what_they_are),
		TEST(what_looks_as_before_is_not_read_again),
		TEST(an_edit_of_the_same_size_and_mtime_is_found),
		TEST(a_file_stamped_this_moment_gets_no_sight_and_is_read_again),
		TEST(what_editors_leave_behind_and_what_is_excluded_is_not_there),
		TEST(sockets_pipes_and_setuid_files_are_named_with_their_cure),
		TEST(a_missing_path_is_counted_and_a_link_in_its_place_is_a_problem),
		TEST(a_directory_that_holds_only_what_is_excluded_does_not_come_back),
		TEST(two_scans_of_a_tree_at_rest_have_one_fingerprint),
		TEST(where_nothing_can_have_changed_nothing_is_looked_at),
		TEST(what_was_too_young_is_looked_at_wherever_it_is),
		TEST(an_edit_beside_20000_files_costs_what_its_directory_costs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
