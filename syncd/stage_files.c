/* SPDX-License-Identifier: Apache-2.0 */
/* What the stage does to single files and directories, always beneath a descriptor (R15). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "syncd/owner.h"
#include "syncd/stage_private.h"

int stage_openat(int dirfd, const char *relative, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned)flags | O_CLOEXEC,
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV,
	};
	for (;;) {
		long fd = syscall(SYS_openat2, dirfd, relative, &how, sizeof how);
		if (fd >= 0)
			return (int)fd;
		/* A rename anywhere on the system meanwhile: the kernel cannot tell, ask again. */
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}

int stage_open_parent(int dirfd, const char *relative, const char **ret_name)
{
	char parent[ENTRY_PATH_BYTES_MAX + 1];
	const char *slash = strrchr(relative, '/');
	if (!slash) {
		*ret_name = relative;
		return stage_openat(dirfd, ".", O_PATH | O_DIRECTORY, 0);
	}
	memcpy(parent, relative, (size_t)(slash - relative));
	parent[slash - relative] = '\0';
	*ret_name = slash + 1;
	return stage_openat(dirfd, parent, O_PATH | O_DIRECTORY, 0);
}

/* An O_PATH descriptor takes no fchmod(2); its link in /proc does, and follows nothing else. */
static int chmod_fd(int fd, mode_t mode)
{
	char link[40];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	return chmod(link, mode) < 0 ? -errno : 0;
}

int stage_set_attrs(int fd, const struct entry *entry)
{
	/* Owner first: changing it clears bits of the mode. */
	if (fchownat(fd, "", owner_uid(entry, NULL), owner_gid(entry, NULL), AT_EMPTY_PATH) < 0)
		return -errno;
	return entry->type == ENTRY_SYMLINK ? 0 : chmod_fd(fd, entry->mode);
}

/* Without an entry: as the live directory at this path is, so that what looks at the staged tree is
 * let in where it would be let in. */
static int set_attrs_as_live(int fd, const struct stage_root *root, const char *relative)
{
	struct stat st;
	int live = stage_openat(root->fd, relative, O_PATH | O_DIRECTORY, 0);
	if (live == -ENOENT)
		return 0;
	if (live < 0)
		return live;
	int rc = fstat(live, &st) < 0 ? -errno : 0;
	close(live);
	if (rc == 0 && fchownat(fd, "", st.st_uid, st.st_gid, AT_EMPTY_PATH) < 0)
		rc = -errno;
	return rc == 0 ? chmod_fd(fd, st.st_mode & 07777) : rc;
}

static const struct entry *find_at(const struct tree *tree, const char *root, const char *relative)
{
	char path[2 * ENTRY_PATH_BYTES_MAX];
	int size = strcmp(relative, ".") == 0
			   ? snprintf(path, sizeof path, "%s", root)
			   : snprintf(path, sizeof path, "%s/%s",
				      strcmp(root, "/") == 0 ? "" : root, relative);
	if (size < 0 || size > ENTRY_PATH_BYTES_MAX)
		return NULL;
	return tree_find(tree, path, (size_t)size);
}

int stage_make_parents(struct stage *stage, const struct stage_root *root, int dirfd,
		       const char *relative, bool with_attrs, struct fault *fault)
{
	char path[ENTRY_PATH_BYTES_MAX + 1];
	for (const char *slash = strchr(relative, '/'); slash; slash = strchr(slash + 1, '/')) {
		const char *name;
		memcpy(path, relative, (size_t)(slash - relative));
		path[slash - relative] = '\0';
		int parent = stage_open_parent(dirfd, path, &name);
		if (parent < 0)
			return fault_set(fault, parent, "%s: cannot stage %s", root->path, path);
		int rc = mkdirat(parent, name, 0700) < 0 ? -errno : 0;
		close(parent);
		if (rc == -EEXIST)
			continue;
		if (rc == 0 && with_attrs) {
			int fd = stage_openat(dirfd, path, O_PATH | O_DIRECTORY, 0);
			const struct entry *entry = find_at(stage->options.to, root->path, path);
			rc = fd < 0  ? fd
			     : entry ? stage_set_attrs(fd, entry)
				     : set_attrs_as_live(fd, root, path);
			if (fd >= 0)
				close(fd);
		}
		if (rc < 0)
			return fault_set(fault, rc, "%s: cannot stage %s", root->path, path);
	}
	return 0;
}

static void times_of(const struct entry *entry, struct timespec ret[2])
{
	/* C's division rounds towards zero; a time before 1970 needs the floor. */
	int64_t s = entry->mtime_ns / 1000000000, ns = entry->mtime_ns % 1000000000;
	if (ns < 0) {
		ns += 1000000000;
		s--;
	}
	ret[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
	ret[1] = (struct timespec){.tv_sec = (time_t)s, .tv_nsec = (long)ns};
}

static int put_file(struct stage *stage, int dirfd, const char *relative, const struct entry *entry,
		    struct fault *fault)
{
	struct timespec times[2];
	/* 0600 until it is whole and has its owner: it may be a private key. */
	int fd = stage_openat(dirfd, relative, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fault_set(fault, fd, "%s: cannot stage it", entry->path);
	struct fault cause = {{0}};
	int rc = objects_copy(stage->options.objects, entry->hash, fd, &cause);
	if (rc < 0) {
		close(fd);
		return fault_set(fault, rc, "%s: cannot stage it (%s)", entry->path, cause.text);
	}
	times_of(entry, times);
	rc = stage_set_attrs(fd, entry);
	if (rc == 0 && futimens(fd, times) < 0)
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc < 0 ? fault_set(fault, rc, "%s: cannot stage it", entry->path) : 0;
}

int stage_sync_file(int dirfd, const char *relative)
{
	int fd = stage_openat(dirfd, relative, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	int rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static int put_link(int dirfd, const char *relative, const struct entry *entry)
{
	const char *name;
	struct timespec times[2];
	int parent = stage_open_parent(dirfd, relative, &name);
	if (parent < 0)
		return parent;
	times_of(entry, times);
	int rc = 0;
	if (symlinkat(entry->target, parent, name) < 0 ||
	    fchownat(parent, name, owner_uid(entry, NULL), owner_gid(entry, NULL),
		     AT_SYMLINK_NOFOLLOW) < 0 ||
	    utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		rc = -errno;
	close(parent);
	return rc;
}

int stage_put(struct stage *stage, int dirfd, const char *relative, const struct entry *entry,
	      struct fault *fault)
{
	if (entry->type == ENTRY_FILE)
		return put_file(stage, dirfd, relative, entry, fault);
	int rc = put_link(dirfd, relative, entry);
	return rc < 0 ? fault_set(fault, rc, "%s: cannot stage it", entry->path) : 0;
}

int stage_remove_tree(int dirfd, const char *name)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	DIR *dir = fdopendir(fd);
	if (!dir) {
		int rc = -errno;
		close(fd);
		return rc;
	}
	int rc = 0;
	for (struct dirent *e; rc == 0 && (e = readdir(dir));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = stage_remove_tree(fd, e->d_name);
	closedir(dir);
	if (rc == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		rc = -errno;
	return rc;
}
