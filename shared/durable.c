/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/durable.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int durable_write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		ssize_t n = write(fd, at, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int durable_write(int dirfd, const char *name, const void *data, size_t size, mode_t mode)
{
	char temporary[NAME_MAX + 1];
	int fd = -1, r, n;

	assert(!strchr(name, '/'));
	/* One fixed name: what a crash left behind is replaced by the next try, and never piles up.
	 * Each file has one writer. */
	n = snprintf(temporary, sizeof(temporary), ".%s.new", name);
	if (n < 0 || (size_t)n >= sizeof(temporary))
		return -ENAMETOOLONG;
	if (unlinkat(dirfd, temporary, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = durable_write_all(fd, data, size);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0 && errno != EINTR)
		r = -errno;
	if (r == 0 && renameat(dirfd, temporary, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, temporary, 0);
		return r;
	}
	return durable_sync_dir(dirfd);
}

int durable_read(int dirfd, const char *name, size_t size_max, char **ret_data, size_t *ret_size)
{
	struct stat st;
	char *data = NULL;
	size_t size = 0, room;
	int fd, r;

	/* O_NONBLOCK: a FIFO in the file's place is refused below instead of waited for. */
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		r = -errno;
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
		goto out;
	}
	r = -EFBIG;
	if (st.st_size < 0 || (uintmax_t)st.st_size > size_max)
		goto out;
	/* Two more than it should be: one tells that the file has grown meanwhile, one terminates.
	 */
	room = (size_t)st.st_size + 1;
	data = malloc(room + 1);
	r = -ENOMEM;
	if (!data)
		goto out;
	for (;;) {
		ssize_t n = read(fd, data + size, room - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = -errno;
			goto out;
		}
		if (n == 0)
			break;
		size += (size_t)n;
		if (size > size_max) {
			r = -EFBIG;
			goto out;
		}
		if (size == room) {
			char *grown = realloc(data, 2 * room + 1);

			if (!grown) {
				r = -ENOMEM;
				goto out;
			}
			data = grown;
			room *= 2;
		}
	}
	data[size] = '\0';
	*ret_data = data;
	*ret_size = size;
	data = NULL;
	r = 0;
out:
	free(data);
	close(fd);
	return r;
}

int durable_sync_dir(int dirfd)
{
	return fsync(dirfd) < 0 ? -errno : 0;
}

/* Makes one component below dirfd and returns it opened, or a negative errno. */
static int make_component(int dirfd, const char *name, mode_t mode)
{
	int fd, made = 0, r = 0;

	if (mkdirat(dirfd, name, mode) == 0)
		made = 1;
	else if (errno != EEXIST)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (made) {
		/* mkdir(2) takes the umask away. */
		if (fchmod(fd, mode) < 0)
			r = -errno;
		if (r == 0)
			r = durable_sync_dir(dirfd);
		/* The first parent may be one that cannot be synced, such as / of a container. */
		if (r == -EINVAL || r == -EROFS)
			r = 0;
	}
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int durable_mkdir(const char *path, mode_t mode)
{
	const char *at = path;
	int fd;

	if (*path == '\0')
		return -ENOENT;
	fd = open(*path == '/' ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (;;) {
		char name[NAME_MAX + 1];
		size_t size;
		int next;

		at += strspn(at, "/");
		size = strcspn(at, "/");
		if (size == 0)
			break;
		if (size > NAME_MAX) {
			close(fd);
			return -ENAMETOOLONG;
		}
		memcpy(name, at, size);
		name[size] = '\0';
		at += size;
		next = make_component(fd, name, mode);
		close(fd);
		if (next < 0)
			return next;
		fd = next;
	}
	close(fd);
	return 0;
}
