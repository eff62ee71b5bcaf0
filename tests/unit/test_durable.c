/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

#include "shared/durable.h"

struct place {
	char path[64];
	int fd;
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	if (!place)
		return -1;
	strcpy(place->path, "/tmp/tandem-test-durable-XXXXXX");
	if (!mkdtemp(place->path))
		return -1;
	place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = place;
	return place->fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;
	static const char *const names[] = {"file", ".file.new", "fifo"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unlinkat(place->fd, names[i], 0);
	(void)unlinkat(place->fd, "a/b/c", AT_REMOVEDIR);
	(void)unlinkat(place->fd, "a/b", AT_REMOVEDIR);
	(void)unlinkat(place->fd, "a", AT_REMOVEDIR);
	close(place->fd);
	rmdir(place->path);
	free(place);
	return 0;
}

static int entries(const struct place *place)
{
	DIR *dir = opendir(place->path);
	int count = -2; /* . and .. */

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void what_was_written_is_read_back_with_its_mode(void **state)
{
	const struct place *place = *state;
	mode_t before = umask(077);
	struct stat st;
	char *data = NULL;
	size_t size = 0;

	assert_int_equal(durable_write(place->fd, "file", "hello\0you", 9, 0644), 0);
	umask(before);
	assert_int_equal(fstatat(place->fd, "file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(durable_read(place->fd, "file", 9, &data, &size), 0);
	assert_int_equal(size, 9);
	assert_memory_equal(data, "hello\0you", 10);
	free(data);
	assert_int_equal(entries(place), 1);
}

static void an_old_file_is_replaced_whole(void **state)
{
	const struct place *place = *state;
	char *data = NULL;
	size_t size = 0;

	assert_int_equal(durable_write(place->fd, "file", "a long old content", 18, 0600), 0);
	assert_int_equal(durable_write(place->fd, "file", "new", 3, 0600), 0);
	assert_int_equal(durable_read(place->fd, "file", 100, &data, &size), 0);
	assert_string_equal(data, "new");
	free(data);
	assert_int_equal(durable_write(place->fd, "file", "", 0, 0600), 0);
	assert_int_equal(durable_read(place->fd, "file", 100, &data, &size), 0);
	assert_int_equal(size, 0);
	assert_string_equal(data, "");
	free(data);
}

static void what_a_crash_left_behind_is_no_hindrance(void **state)
{
	const struct place *place = *state;
	int fd = openat(place->fd, ".file.new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(durable_write(place->fd, "file", "new", 3, 0600), 0);
	assert_int_equal(entries(place), 1);
}

static void a_link_planted_in_its_way_is_not_followed(void **state)
{
	const struct place *place = *state;
	struct stat st;

	assert_int_equal(symlinkat("/tmp/tandem-test-durable-elsewhere", place->fd, ".file.new"),
			 0);
	assert_int_equal(durable_write(place->fd, "file", "new", 3, 0600), 0);
	assert_int_equal(access("/tmp/tandem-test-durable-elsewhere", F_OK), -1);
	assert_int_equal(fstatat(place->fd, "file", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void on_a_full_disk_the_old_file_stays(void **state)
{
	const struct place *place = *state;
	static char bytes[256 * 1024];
	char path[80], *data = NULL;
	size_t size = 0;
	int fd;

	/* A tmpfs of a few pages, which goes with this process's mount namespace. */
	assert_int_equal(mkdirat(place->fd, "a", 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/a", place->path);
	assert_int_equal(mount("tandem-test", path, "tmpfs", 0, "size=64k"), 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(durable_write(fd, "file", "old", 3, 0600), 0);
	assert_int_equal(durable_write(fd, "file", bytes, sizeof(bytes), 0600), -ENOSPC);
	assert_int_equal(durable_read(fd, "file", 100, &data, &size), 0);
	assert_int_equal(faccessat(fd, ".file.new", F_OK, 0), -1);
	close(fd);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	assert_string_equal(data, "old");
	free(data);
}

static void what_is_too_large_or_no_file_is_refused(void **state)
{
	const struct place *place = *state;
	char *data = NULL;
	size_t size = 0;

	assert_int_equal(durable_write(place->fd, "file", "1234567890", 10, 0600), 0);
	assert_int_equal(durable_read(place->fd, "file", 9, &data, &size), -EFBIG);
	assert_int_equal(durable_read(place->fd, "nothing", 9, &data, &size), -ENOENT);
	assert_int_equal(durable_read(place->fd, ".", 9, &data, &size), -EISDIR);
	/* Would be waited for, for ever. */
	assert_int_equal(mkfifoat(place->fd, "fifo", 0600), 0);
	assert_int_equal(durable_read(place->fd, "fifo", 9, &data, &size), -EINVAL);
	assert_null(data);
}

static void a_file_without_a_size_is_read_too(void **state)
{
	char *data = NULL;
	size_t size = 0;

	(void)state;
	assert_int_equal(durable_read(AT_FDCWD, "/proc/self/status", 65536, &data, &size), 0);
	assert_true(size > 100);
	assert_non_null(strstr(data, "Name:"));
	free(data);
	data = NULL;
	assert_int_equal(durable_read(AT_FDCWD, "/proc/self/status", 100, &data, &size), -EFBIG);
	assert_null(data);
}

static void directories_are_made_all_the_way(void **state)
{
	const struct place *place = *state;
	char path[128];
	struct stat st;
	mode_t before = umask(077);

	(void)snprintf(path, sizeof(path), "%s//a/b/c/", place->path);
	assert_int_equal(durable_mkdir(path, 0751), 0);
	assert_int_equal(durable_mkdir(path, 0700), 0);
	umask(before);
	assert_int_equal(stat(path, &st), 0);
	/* As asked for, and left alone the second time. */
	assert_int_equal(st.st_mode & 07777, 0751);
	assert_int_equal(durable_write(place->fd, "file", "x", 1, 0600), 0);
	(void)snprintf(path, sizeof(path), "%s/file/a", place->path);
	assert_int_equal(durable_mkdir(path, 0700), -ENOTDIR);
	assert_int_equal(durable_mkdir("", 0700), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_written_is_read_back_with_its_mode),
		TEST(an_old_file_is_replaced_whole),
		TEST(what_a_crash_left_behind_is_no_hindrance),
		TEST(a_link_planted_in_its_way_is_not_followed),
		TEST(on_a_full_disk_the_old_file_stays),
		TEST(what_is_too_large_or_no_file_is_refused),
		TEST(a_file_without_a_size_is_read_too),
		TEST(directories_are_made_all_the_way),
	};

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		(void)fputs("test_durable mounts a full disk and so needs root: sudo make check\n",
			    stderr);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
