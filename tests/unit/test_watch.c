/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/watch.h"

#define SECOND_US UINT64_C(1000000)

struct fixture {
	struct loop *loop;
	struct watch *watch;
	struct ignore ignore;
	char top[32], mirror[64];
	const char *paths[1];
	int rings;
	enum settle_kind last;
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void on_ring(void *ctx, enum settle_kind kind)
{
	struct fixture *f = ctx;

	f->rings++;
	f->last = kind;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->top, "/tmp/tandem-watch-XXXXXX");
	if (mkdtemp(f->top) == NULL || loop_new(&f->loop) < 0)
		return -1;
	snprintf(f->mirror, sizeof f->mirror, "%s/etc", f->top);
	f->paths[0] = f->mirror;
	*state = f;
	return mkdir(f->mirror, 0755) < 0 ||
	       watch_new(f->loop, f->paths, 1, &f->ignore, on_ring, f, &f->watch) < 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	watch_free(f->watch);
	loop_free(f->loop);
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

static void put_file(const struct fixture *f, const char *name)
{
	int fd = open(at(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
}

/* Everything that the kernel has queued by now. */
static void drain(struct fixture *f)
{
	assert_int_equal(loop_turn(f->loop, 0), 0);
}

static void wait_for_ring(struct fixture *f)
{
	uint64_t limit_us = loop_refresh_us(f->loop) + 60 * SECOND_US;

	while (f->rings == 0) {
		assert_true(loop_now_us(f->loop) < limit_us);
		assert_int_equal(loop_turn(f->loop, limit_us), 0);
	}
}

static void expect_silence(struct fixture *f)
{
	/* inotify queues before the system call returns: what is not there now never comes. */
	drain(f);
	assert_int_equal(f->rings, 0);
}

static void a_rename_into_place_rings_as_an_atomic_change(void **state)
{
	struct fixture *f = *state;

	put_file(f, "site.conf.tmp");
	assert_int_equal(rename(at(f, "site.conf.tmp"), at(f, "site.conf")), 0);
	wait_for_ring(f);
	assert_int_equal(f->last, SETTLE_ATOMIC);
}

static void a_file_being_written_rings_as_open_and_then_as_written(void **state)
{
	struct fixture *f = *state;
	int fd = open(at(f, "a"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	wait_for_ring(f);
	assert_int_equal(f->last, SETTLE_OPEN);
	f->rings = 0;
	assert_int_equal(write(fd, "x", 1), 1);
	wait_for_ring(f);
	assert_int_equal(f->last, SETTLE_OPEN);
	f->rings = 0;
	close(fd);
	wait_for_ring(f);
	assert_int_equal(f->last, SETTLE_WRITTEN);
}

static void links_modes_and_deletions_ring(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(symlink("x", at(f, "link")), 0);
	wait_for_ring(f);
	assert_int_equal(f->last, SETTLE_ATOMIC);
	f->rings = 0;
	assert_int_equal(unlink(at(f, "link")), 0);
	wait_for_ring(f);
	put_file(f, "a");
	drain(f);
	f->rings = 0;
	assert_int_equal(chmod(at(f, "a"), 0600), 0);
	wait_for_ring(f);
	assert_int_equal(f->last, SETTLE_ATOMIC);
}

static void what_is_ignored_does_not_ring(void **state)
{
	struct fixture *f = *state;

	put_file(f, "4913");
	put_file(f, "a~");
	put_file(f, ".a.swp");
	assert_int_equal(mkdir(at(f, IGNORE_STAGE_NAME), 0700), 0);
	put_file(f, IGNORE_STAGE_NAME "/x");
	expect_silence(f);
}

static void a_new_directory_is_watched_with_all_that_came_with_it(void **state)
{
	struct fixture *f = *state;
	char outside[64], deep[80];

	snprintf(outside, sizeof outside, "%s/outside", f->top);
	snprintf(deep, sizeof deep, "%s/deep", outside);
	assert_int_equal(mkdir(outside, 0755), 0);
	assert_int_equal(mkdir(deep, 0755), 0);
	assert_int_equal(rename(outside, at(f, "inside")), 0);
	wait_for_ring(f);
	drain(f);
	f->rings = 0;
	put_file(f, "inside/deep/file");
	wait_for_ring(f);
}

static void a_directory_that_was_moved_away_rings_no_more(void **state)
{
	struct fixture *f = *state;
	char outside[64], file[80];
	size_t before = watch_directories(f->watch);

	snprintf(outside, sizeof outside, "%s/outside", f->top);
	snprintf(file, sizeof file, "%s/file", outside);
	assert_int_equal(mkdir(at(f, "dir"), 0755), 0);
	wait_for_ring(f);
	drain(f);
	assert_int_equal(watch_directories(f->watch), before + 1);
	f->rings = 0;
	assert_int_equal(rename(at(f, "dir"), outside), 0);
	wait_for_ring(f);
	drain(f);
	assert_int_equal(watch_directories(f->watch), before);
	f->rings = 0;
	close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	expect_silence(f);
}

static void a_replaced_path_rings_and_is_watched_anew(void **state)
{
	struct fixture *f = *state;
	char fresh[PATH_MAX], old[PATH_MAX];

	snprintf(fresh, sizeof fresh, "%s/fresh", f->top);
	snprintf(old, sizeof old, "%s/old", f->top);
	assert_int_equal(mkdir(fresh, 0755), 0);
	drain(f);
	f->rings = 0;
	assert_int_equal(rename(f->mirror, old), 0);
	assert_int_equal(rename(fresh, f->mirror), 0);
	wait_for_ring(f);
	drain(f);
	f->rings = 0;
	put_file(f, "a");
	wait_for_ring(f);
}

static void a_path_that_vanishes_and_comes_back_is_noticed_both_times(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rmdir(f->mirror), 0);
	wait_for_ring(f);
	drain(f);
	f->rings = 0;
	assert_int_equal(mkdir(f->mirror, 0755), 0);
	wait_for_ring(f);
	drain(f);
	f->rings = 0;
	put_file(f, "a");
	wait_for_ring(f);
}

static void a_mount_over_a_path_rings(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mount("tandem", f->mirror, "tmpfs", 0, NULL), 0);
	wait_for_ring(f);
	drain(f);
	f->rings = 0;
	put_file(f, "a");
	wait_for_ring(f);
	f->rings = 0;
	/* A lazy one: our own watches keep it busy. */
	assert_int_equal(umount2(f->mirror, MNT_DETACH), 0);
	wait_for_ring(f);
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* In a user namespace of its own, where the limit is nobody else's. */
static int watch_with_too_few(const struct fixture *f)
{
	struct loop *loop;
	struct watch *watch;
	const char *said;
	int status = 1;

	if (unshare(CLONE_NEWUSER) < 0 || !write_text("/proc/self/uid_map", "0 0 1") ||
	    !write_text("/proc/sys/user/max_inotify_watches", "2"))
		return 2;
	if (loop_new(&loop) < 0 ||
	    watch_new(loop, f->paths, 1, &f->ignore, on_ring, (void *)(uintptr_t)f, &watch) < 0)
		return 3;
	said = watch_degraded(watch);
	if (said != NULL && strstr(said, "fs.inotify.max_user_watches") != NULL &&
	    strstr(said, "2 of 4 directories") != NULL &&
	    write_text("/proc/sys/user/max_inotify_watches", "100")) {
		watch_rearm(watch);
		status = watch_degraded(watch) == NULL ? 0 : 4;
	}
	watch_free(watch);
	loop_free(loop);
	return status;
}

static void too_few_watches_are_said_with_the_cure(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	assert_int_equal(mkdir(at(f, "one"), 0755), 0);
	assert_int_equal(mkdir(at(f, "two"), 0755), 0);
	pid = fork();
	if (pid == 0)
		_exit(watch_with_too_few(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Mounts of these tests are nobody else's. */
static int go_private(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0;
}

static bool may_differ(const struct fixture *f, const char *name)
{
	const char *path = *name ? at(f, name) : f->mirror;

	return watch_may_differ(f->watch, path, strlen(path));
}

static void an_edited_file_makes_its_directory_differ_and_no_other(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(at(f, "a"), 0755), 0);
	assert_int_equal(mkdir(at(f, "a/deep"), 0755), 0);
	assert_int_equal(mkdir(at(f, "a/deep-er"), 0755), 0);
	assert_int_equal(mkdir(at(f, "b"), 0755), 0);
	wait_for_ring(f);
	drain(f);
	assert_true(may_differ(f, "b")); /* directories were made: everything may have changed */
	watch_looked(f->watch);
	assert_false(may_differ(f, ""));
	f->rings = 0;
	put_file(f, "a/deep/file");
	wait_for_ring(f);
	assert_true(may_differ(f, "a/deep"));
	assert_true(may_differ(f, "a"));
	assert_true(may_differ(f, ""));
	assert_false(may_differ(f, "b"));
	assert_false(may_differ(f, "a/deep-er"));
	assert_false(may_differ(f, "a/de"));
	watch_looked(f->watch);
	assert_false(may_differ(f, "a"));
}

static void whatever_happens_to_a_directory_makes_all_of_them_differ(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(at(f, "a"), 0755), 0);
	assert_int_equal(mkdir(at(f, "b"), 0755), 0);
	wait_for_ring(f);
	drain(f);
	watch_looked(f->watch);
	f->rings = 0;
	assert_int_equal(rename(at(f, "a"), at(f, "c")), 0);
	put_file(f, "c/file");
	wait_for_ring(f);
	assert_true(may_differ(f, "b"));
	watch_looked(f->watch);
	/* And by its new name it is known from then on. */
	f->rings = 0;
	put_file(f, "c/other");
	wait_for_ring(f);
	assert_true(may_differ(f, "c"));
	assert_false(may_differ(f, "b"));
	f->rings = 0;
	assert_int_equal(rmdir(at(f, "b")), 0);
	wait_for_ring(f);
	drain(f);
	assert_true(may_differ(f, "c/nothing"));
	watch_looked(f->watch);
	watch_doubt(f->watch);
	assert_true(may_differ(f, "c"));
}

static void more_changed_directories_than_are_told_apart_are_all(void **state)
{
	struct fixture *f = *state;
	char name[32];

	for (int i = 0; i <= WATCH_CHANGED_MAX; i++) {
		snprintf(name, sizeof name, "d%d", i);
		assert_int_equal(mkdir(at(f, name), 0755), 0);
	}
	assert_int_equal(mkdir(at(f, "quiet"), 0755), 0);
	wait_for_ring(f);
	drain(f);
	watch_looked(f->watch);
	for (int i = 0; i <= WATCH_CHANGED_MAX; i++) {
		assert_false(may_differ(f, "quiet"));
		f->rings = 0;
		snprintf(name, sizeof name, "d%d/file", i);
		put_file(f, name);
		wait_for_ring(f);
	}
	assert_true(may_differ(f, "quiet"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_rename_into_place_rings_as_an_atomic_change),
		TEST(a_file_being_written_rings_as_open_and_then_as_written),
		TEST(links_modes_and_deletions_ring),
		TEST(what_is_ignored_does_not_ring),
		TEST(a_new_directory_is_watched_with_all_that_came_with_it),
		TEST(a_directory_that_was_moved_away_rings_no_more),
		TEST(a_replaced_path_rings_and_is_watched_anew),
		TEST(a_path_that_vanishes_and_comes_back_is_noticed_both_times),
		TEST(a_mount_over_a_path_rings),
		TEST(too_few_watches_are_said_with_the_cure),
		TEST(an_edited_file_makes_its_directory_differ_and_no_other),
		TEST(whatever_happens_to_a_directory_makes_all_of_them_differ),
		TEST(more_changed_directories_than_are_told_apart_are_all),
	};

	return cmocka_run_group_tests(tests, go_private, NULL);
}
