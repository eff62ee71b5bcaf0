/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/view_witness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <unistd.h>

int witness_init(struct witness *witness)
{
	/* Its events are never read: that one is there is all there is to know. */
	witness->fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY);
	witness->by_inotify = witness->fd < 0;
	if (witness->by_inotify)
		witness->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	return witness->fd < 0 ? -errno : 0;
}

void witness_release(struct witness *witness)
{
	if (witness->fd >= 0)
		close(witness->fd);
	witness->fd = -1;
}

/* ---- inotify: one watch for each directory ---- */

struct list {
	char **paths;
	size_t count, room;
};

static int add(struct list *list, const char *path)
{
	if (list->count == WITNESS_DIRECTORIES_MAX)
		return 0; /* an open in one of so many is seen all the same, as good as always */
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		char **paths = realloc(list->paths, room * sizeof *paths);

		if (paths == NULL)
			return -ENOMEM;
		list->paths = paths;
		list->room = room;
	}
	list->paths[list->count] = strdup(path);
	return list->paths[list->count++] == NULL ? -ENOMEM : 0;
}

static int collect(struct list *list, const char *path, int depth)
{
	DIR *dir = depth < 128 ? opendir(path) : NULL;
	int r = add(list, path);

	if (dir == NULL)
		return r;
	for (struct dirent *d; r == 0 && (d = readdir(dir)) != NULL;) {
		char child[PATH_MAX];

		if (d->d_type != DT_DIR || strcmp(d->d_name, ".") == 0 ||
		    strcmp(d->d_name, "..") == 0)
			continue;
		if (snprintf(child, sizeof child, "%s/%s", path, d->d_name) < (int)sizeof child)
			r = collect(list, child, depth + 1);
	}
	closedir(dir);
	return r;
}

static int watch_all(const struct witness *witness, const char *path)
{
	struct list list = {0};
	int r = collect(&list, path, 0);

	/* After the walk, which opens directories itself. */
	for (size_t i = 0; r == 0 && i < list.count; i++)
		if (inotify_add_watch(witness->fd, list.paths[i], IN_OPEN) < 0)
			r = -errno;
	for (size_t i = 0; i < list.count; i++)
		free(list.paths[i]);
	free(list.paths);
	return r;
}

/* The end of the view's mounts leaves events too; only an open counts. */
static bool read_open(int fd)
{
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	while ((n = read(fd, buffer, sizeof buffer)) > 0) {
		for (char *at = buffer; at < buffer + n;) {
			const struct inotify_event *ev = (const struct inotify_event *)at;

			if (ev->mask & (IN_OPEN | IN_Q_OVERFLOW))
				return true;
			at += sizeof *ev + ev->len;
		}
	}
	return false;
}

/* ---- both ---- */

int witness_mark(const struct witness *witness, const char *path)
{
	if (witness->by_inotify)
		return watch_all(witness, path);
	if (fanotify_mark(witness->fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN | FAN_ONDIR,
			  AT_FDCWD, path) < 0)
		return -errno;
	return 0;
}

bool witness_saw(const struct witness *witness)
{
	struct pollfd pfd = {.fd = witness->fd, .events = POLLIN};

	if (poll(&pfd, 1, 0) != 1 || (pfd.revents & POLLIN) == 0)
		return false;
	return witness->by_inotify ? read_open(witness->fd) : true;
}

void witness_retire(const struct witness *witness)
{
	/* What inotify watched goes with the view's mounts. Those with a fanotify mark stay as long
	 * as an event names one of them. */
	if (!witness->by_inotify)
		(void)fanotify_mark(witness->fd, FAN_MARK_FLUSH | FAN_MARK_MOUNT, 0, AT_FDCWD, "/");
}
