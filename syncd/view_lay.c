/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/view_lay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 128
#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct lay {
	int depth;
	char *name; /* where it failed: the last part of the path */
	size_t room;
};

static int failed(struct lay *lay, int error, const char *name)
{
	snprintf(lay->name, lay->room, "%s", name);
	return error;
}

/* Calls fn for each entry of from_fd, with the place of the same name below to_fd. Takes over
 * from_fd. */
static int each(struct lay *lay, int from_fd, int to_fd,
		int (*fn)(struct lay *lay, int from_fd, int to_fd, const char *name))
{
	DIR *dir = fdopendir(from_fd);
	int r = 0;

	if (dir == NULL) {
		r = errno;
		close(from_fd);
		return r;
	}
	if (++lay->depth > DEPTH_MAX)
		r = ELOOP;
	for (struct dirent *d; r == 0 && (errno = 0, d = readdir(dir)) != NULL;)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			r = fn(lay, dirfd(dir), to_fd, d->d_name);
	if (r == 0)
		r = errno;
	lay->depth--;
	closedir(dir);
	return r;
}

static int remove_below(struct lay *lay, int from_fd, int to_fd, const char *name)
{
	int fd;
	int r;

	(void)to_fd;
	if (unlinkat(from_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return failed(lay, errno, name);
	fd = openat(from_fd, name, DIRECTORY);
	if (fd < 0)
		return failed(lay, errno, name);
	r = each(lay, fd, -1, remove_below);
	if (r == 0 && unlinkat(from_fd, name, AT_REMOVEDIR) < 0)
		r = failed(lay, errno, name);
	return r;
}

static int lay_gone(struct lay *lay, int from_fd, int to_fd, const char *name)
{
	struct stat st;
	int from, to;
	int r;

	if (fstatat(from_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(lay, errno, name);
	if (!S_ISDIR(st.st_mode))
		return remove_below(lay, to_fd, to_fd, name);
	from = openat(from_fd, name, DIRECTORY);
	to = from < 0 ? -1 : openat(to_fd, name, DIRECTORY);
	if (to < 0) {
		r = errno;
		if (from < 0)
			return failed(lay, r, name);
		close(from);
		/* Nothing is there that could be hidden. */
		return r == ENOENT || r == ENOTDIR || r == ELOOP ? 0 : failed(lay, r, name);
	}
	r = each(lay, from, to, lay_gone);
	close(to);
	return r;
}

static int dress(int fd, const struct stat *st)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, st->st_mtim};

	/* The owner first: changing it takes mode bits away. */
	return fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0 ||
			       futimens(fd, times) < 0
		       ? errno
		       : 0;
}

static int lay_file(int from_fd, int to_fd, const char *name, const struct stat *st)
{
	int from = openat(from_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int to = from < 0 ? -1
			  : openat(to_fd, name,
				   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = to < 0 ? errno : 0;
	ssize_t n;

	while (r == 0 && (n = sendfile(to, from, NULL, 1 << 20)) != 0)
		if (n < 0 && errno != EINTR)
			r = errno;
	if (r == 0)
		r = dress(to, st);
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return r;
}

static int lay_link(int from_fd, int to_fd, const char *name, const struct stat *st)
{
	char target[PATH_MAX + 1];
	ssize_t n = readlinkat(from_fd, name, target, sizeof target - 1);

	if (n < 0)
		return errno;
	target[n] = '\0';
	return symlinkat(target, to_fd, name) < 0 || fchownat(to_fd, name, st->st_uid, st->st_gid,
							      AT_SYMLINK_NOFOLLOW) < 0
		       ? errno
		       : 0;
}

static int lay_new(struct lay *lay, int from_fd, int to_fd, const char *name)
{
	struct stat st, old;
	int from, to;
	int r = 0;

	if (fstatat(from_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(lay, errno, name);
	/* Directories become one; whatever else is there gives way. */
	if (fstatat(to_fd, name, &old, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !(S_ISDIR(st.st_mode) && S_ISDIR(old.st_mode)))
		r = remove_below(lay, to_fd, to_fd, name);
	if (r != 0)
		return r;
	if (!S_ISDIR(st.st_mode)) {
		r = S_ISLNK(st.st_mode) ? lay_link(from_fd, to_fd, name, &st)
					: lay_file(from_fd, to_fd, name, &st);
		return r == 0 ? 0 : failed(lay, r, name);
	}
	if (mkdirat(to_fd, name, 0700) < 0 && errno != EEXIST)
		return failed(lay, errno, name);
	from = openat(from_fd, name, DIRECTORY);
	to = from < 0 ? -1 : openat(to_fd, name, DIRECTORY);
	if (to < 0) {
		r = failed(lay, errno, name);
		if (from >= 0)
			close(from);
		return r;
	}
	r = each(lay, from, to, lay_new);
	if (r == 0 && (r = dress(to, &st)) != 0)
		failed(lay, r, name);
	close(to);
	return r;
}

int view_lay(int stage_fd, int target_fd, char *ret_name, size_t room)
{
	struct lay lay = {.name = ret_name, .room = room};
	struct stat st;
	int r = 0;
	/* Not a path alone: it is read, and dressed. */
	int to = openat(target_fd, ".", DIRECTORY);
	int from;

	snprintf(ret_name, room, "its directory");
	if (to < 0)
		return errno;
	from = openat(stage_fd, "gone", DIRECTORY);
	if (from >= 0)
		r = each(&lay, from, to, lay_gone);
	else if (errno != ENOENT)
		r = errno;
	from = r == 0 ? openat(stage_fd, "new", DIRECTORY) : -1;
	if (from >= 0) {
		r = fstat(from, &st) < 0 ? errno : 0;
		if (r == 0)
			r = each(&lay, from, to, lay_new);
		else
			close(from);
		if (r == 0)
			r = dress(to, &st);
	} else if (r == 0 && errno != ENOENT) {
		r = errno;
	}
	close(to);
	return r;
}
