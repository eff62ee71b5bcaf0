/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file with one number. The directory is watched, not the file: it may come, go, or be replaced
 * by another one. What inotify does not tell (NFS, /proc, a directory that is not there yet) is
 * found by looking again at each interval.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/engine_private.h"
#include "shared/log.h"

#define EVENTS                                                                                     \
	(IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM |        \
	 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct engine_file {
	struct engine_check *check;
	char dir[PATH_MAX];
	const char *base; /* in the check's path */
	int fd;		  /* inotify; -1: none */
	int wd;		  /* -1: the directory is not watched */
	struct loop_fd *source;
	bool misread; /* said once */
};

static void on_change(void *ctx, int fd, uint32_t events)
{
	struct engine_file *file = ctx;
	/* Aligned for the events that the kernel writes there. */
	_Alignas(struct inotify_event) char bytes[4096];
	bool concerned = false;
	ssize_t size;

	(void)events;
	while ((size = read(fd, bytes, sizeof bytes)) > 0) {
		for (char *at = bytes; at < bytes + size;) {
			const struct inotify_event *event = (const void *)at;

			if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED))
				file->wd = -1;
			concerned = concerned || !event->len || !strcmp(event->name, file->base);
			at += sizeof *event + event->len;
		}
	}
	if (concerned)
		engine_check_start(file->check);
}

int engine_file_new(struct engine_check *check, struct engine_file **ret_file)
{
	struct engine_file *file = calloc(1, sizeof *file);
	const char *path = check->conf->file;
	const char *slash = strrchr(path, '/');
	int error;

	if (!file)
		return -ENOMEM;
	file->check = check;
	file->wd = -1;
	file->base = slash + 1;
	snprintf(file->dir, sizeof file->dir, "%.*s", slash == path ? 1 : (int)(slash - path),
		 path);
	file->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	error = file->fd < 0 ? -errno
			     : loop_fd_add(check->engine->loop, file->fd, EPOLLIN, on_change, file,
					   &file->source);
	if (error)
		log_warn("check %s: %s cannot be watched (%s), only looked at each interval",
			 check->conf->name, path, strerror(-error));
	*ret_file = file;
	return 0;
}

struct engine_file *engine_file_free(struct engine_file *file)
{
	if (!file)
		return NULL;
	loop_fd_remove(file->source);
	if (file->fd >= 0)
		close(file->fd);
	free(file);
	return NULL;
}

/* 0: *ret_value; a missing or empty file is 0. -EINVAL: it holds no number. */
static int read_value(const char *path, int32_t *ret_value)
{
	/* Not blocking, for who puts a fifo there. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char text[64], *end;
	ssize_t size;
	long value;

	*ret_value = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	size = read(fd, text, sizeof text - 1);
	if (size < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	close(fd);
	text[size] = '\0';
	if (!text[strspn(text, " \t\r\n")])
		return 0;
	errno = 0;
	value = strtol(text, &end, 10);
	end += strspn(end, " \t\r\n");
	if (*end || errno || value < INT32_MIN || value > INT32_MAX)
		return -EINVAL;
	*ret_value = (int32_t)value;
	return 0;
}

enum health_result engine_file_look(struct engine_file *file)
{
	struct engine_check *check = file->check;
	const char *path = check->conf->file;
	int error;

	/* Watching comes before reading, so that no change falls between the two. */
	if (file->wd < 0 && file->source)
		file->wd = inotify_add_watch(file->fd, file->dir, EVENTS);
	error = read_value(path, &check->value);
	if (!error || error == -EINVAL)
		snprintf(check->detail, sizeof check->detail, "%s %s %d", path,
			 error ? "holds no number, which counts as" : "says", check->value);
	else
		snprintf(check->detail, sizeof check->detail, "%s: %s", path, strerror(-error));
	if (error == -EINVAL && !file->misread)
		log_warn("check %s: %s", check->conf->name, check->detail);
	file->misread = error == -EINVAL;
	return error && error != -EINVAL ? HEALTH_NOT_EXECUTED : HEALTH_OK;
}
