/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENT_BUFFER_BYTES (64 * 1024)
#define WRITTEN_NAMES_MAX 8

#define MASK                                                                                       \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_MODIFY |        \
	 IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK)
/* The directory above a mirrored path may be /etc: only what can replace the path itself is asked
 * for. IN_MASK_ADD where it lies inside another mirrored path is not needed: paths do not nest. */
#define PARENT_MASK (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR | IN_MASK_ADD)

enum place { INSIDE, ABOVE };

/* One watched directory; wd -1 is a free slot of the table. */
struct entry {
	int wd;
	enum place place;
	uint32_t seen; /* round of the last walk that met it */
	char *path;
};

struct written {
	int wd;
	char name[NAME_MAX + 1];
};

struct watch {
	struct loop *loop;
	const char *const *paths;
	int paths_count;
	const struct ignore *ignore;
	watch_fn fn;
	void *ctx;

	int fd;
	struct loop_fd *source;
	int mounts_fd;
	struct loop_fd *mounts_source;

	struct entry *entries; /* open addressing by wd */
	size_t room, used, tombs;
	uint32_t round;
	size_t missed; /* directories that could not be watched in this walk */
	int missed_errno;
	char degraded[256];

	/* Directories in which something has changed since watch_looked(). */
	char *changed[WATCH_CHANGED_MAX];
	int changed_count;
	bool all_changed;

	/* The last few files that were seen being written: one of these renamed away was a
	 * temporary file, and its writing and renaming are one save. */
	struct written written[WRITTEN_NAMES_MAX];
	unsigned written_at;
};

#define FREE_SLOT 0
#define TOMB (-1)

static size_t slot_of(const struct watch *w, int wd)
{
	size_t at = ((size_t)wd * 2654435761u) & (w->room - 1);

	while (w->entries[at].wd != FREE_SLOT && w->entries[at].wd != wd)
		at = (at + 1) & (w->room - 1);
	return at;
}

static struct entry *find(const struct watch *w, int wd)
{
	if (w->room == 0 || wd <= 0)
		return NULL;

	size_t at = slot_of(w, wd);

	return w->entries[at].wd == wd ? &w->entries[at] : NULL;
}

static int grow(struct watch *w)
{
	struct entry *old = w->entries;
	size_t old_room = w->room;
	size_t room = w->used < 64 ? 256 : w->used * 4;
	size_t power = 256;

	while (power < room)
		power *= 2;
	w->entries = calloc(power, sizeof *w->entries);
	if (w->entries == NULL) {
		w->entries = old;
		return -ENOMEM;
	}
	w->room = power;
	w->tombs = 0;
	for (size_t i = 0; i < old_room; i++)
		if (old[i].wd > 0)
			w->entries[slot_of(w, old[i].wd)] = old[i];
	free(old);
	return 0;
}

static int remember(struct watch *w, int wd, const char *path, enum place place)
{
	struct entry *known = find(w, wd);

	if (known != NULL) {
		known->seen = w->round;
		if (strcmp(known->path, path) != 0) {
			char *copy = strdup(path);

			if (copy == NULL)
				return -ENOMEM;
			free(known->path);
			known->path = copy;
		}
		/* A directory may be both: the inside of one path is the stronger role. */
		if (place == INSIDE)
			known->place = INSIDE;
		return 0;
	}
	if ((w->used + w->tombs + 1) * 2 > w->room) {
		int r = grow(w);

		if (r < 0)
			return r;
	}
	char *copy = strdup(path);

	if (copy == NULL)
		return -ENOMEM;
	w->entries[slot_of(w, wd)] =
		(struct entry){.wd = wd, .place = place, .seen = w->round, .path = copy};
	w->used++;
	return 0;
}

static void forget(struct watch *w, struct entry *entry)
{
	free(entry->path);
	*entry = (struct entry){.wd = TOMB};
	w->used--;
	w->tombs++;
}

/* 0: watched. 1: there is no such directory (any more). Negative: it could not be watched. */
static int add(struct watch *w, const char *path, enum place place)
{
	int wd;

	if (w->used >= WATCH_DIRECTORIES_MAX) {
		errno = ENOSPC;
		wd = -1;
	} else {
		wd = inotify_add_watch(w->fd, path, place == INSIDE ? MASK : PARENT_MASK);
	}
	if (wd < 0) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
			return 1;
		w->missed++;
		w->missed_errno = errno;
		return -errno;
	}
	return remember(w, wd, path, place);
}

static void walk(struct watch *w, const char *path, int depth)
{
	/* The watch comes first, the reading second: what is made in between is seen twice rather
	 * than never. A directory without a watch is still entered, so that the count of what is
	 * missing is the true one. */
	if (add(w, path, INSIDE) == 1 || depth >= WATCH_DEPTH_MAX)
		return;

	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir == NULL) {
		if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
			w->missed++; /* all below it, however much that is */
			w->missed_errno = errno;
		}
		if (fd >= 0)
			close(fd);
		return;
	}
	for (struct dirent *d; (d = readdir(dir)) != NULL;) {
		char child[PATH_MAX];

		if (d->d_type != DT_DIR && d->d_type != DT_UNKNOWN)
			continue;
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if ((size_t)snprintf(child, sizeof child, "%s/%s", path, d->d_name) >= sizeof child)
			continue;
		if (d->d_type == DT_UNKNOWN) {
			struct stat st;

			if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			    !S_ISDIR(st.st_mode))
				continue;
		}
		if (!ignore_entry(w->ignore, child, true))
			walk(w, child, depth + 1);
	}
	closedir(dir);
}

static void parent_of(const char *path, char parent[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t size = slash > path ? (size_t)(slash - path) : 1;

	memcpy(parent, path, size);
	parent[size] = '\0';
}

static void say_degraded(struct watch *w)
{
	char limit[32] = "?";

	if (w->missed == 0) {
		w->degraded[0] = '\0';
		return;
	}
	if (w->missed_errno != ENOSPC) {
		snprintf(w->degraded, sizeof w->degraded,
			 "%zu directories cannot be watched: %s; they are looked at by time",
			 w->missed, strerror(w->missed_errno));
		return;
	}
	int fd = open("/proc/sys/fs/inotify/max_user_watches", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		ssize_t n = read(fd, limit, sizeof limit - 1);

		close(fd);
		if (n > 0)
			limit[strcspn(limit, "\n")] = '\0';
	}
	snprintf(w->degraded, sizeof w->degraded,
		 "inotify watches have run out: %zu of %zu directories are not watched (limit %s, "
		 "shared with other programs) and are looked at by time; raise "
		 "fs.inotify.max_user_watches",
		 w->missed, w->missed + w->used, limit);
}

void watch_looked(struct watch *w)
{
	for (int i = 0; i < w->changed_count; i++)
		free(w->changed[i]);
	w->changed_count = 0;
	w->all_changed = false;
}

void watch_doubt(struct watch *w)
{
	w->all_changed = true;
}

static void note_changed(struct watch *w, const char *path)
{
	if (w->all_changed)
		return;
	for (int i = 0; i < w->changed_count; i++)
		if (strcmp(w->changed[i], path) == 0)
			return;
	if (w->changed_count < WATCH_CHANGED_MAX)
		w->changed[w->changed_count] = strdup(path);
	if (w->changed_count == WATCH_CHANGED_MAX || w->changed[w->changed_count] == NULL)
		w->all_changed = true;
	else
		w->changed_count++;
}

bool watch_may_differ(const struct watch *w, const char *path, size_t path_size)
{
	if (w->all_changed || w->missed > 0 || w->mounts_source == NULL)
		return true;
	for (int i = 0; i < w->changed_count; i++)
		if (strncmp(w->changed[i], path, path_size) == 0 &&
		    (w->changed[i][path_size] == '/' || w->changed[i][path_size] == '\0'))
			return true;
	return false;
}

void watch_rearm(struct watch *w)
{
	/* What a directory was called before is worth nothing now. */
	watch_doubt(w);
	w->round++;
	w->missed = 0;
	for (int i = 0; i < w->paths_count; i++) {
		char parent[PATH_MAX];

		parent_of(w->paths[i], parent);
		add(w, parent, ABOVE);
		walk(w, w->paths[i], 0);
	}
	/* What this walk did not meet is no longer below any path: a directory that was moved
	 * away keeps its watch, and would ring for ever. */
	for (size_t i = 0; i < w->room; i++) {
		struct entry *entry = &w->entries[i];

		if (entry->wd > 0 && entry->seen != w->round) {
			inotify_rm_watch(w->fd, entry->wd);
			forget(w, entry);
		}
	}
	say_degraded(w);
}

static bool is_root(const struct watch *w, const char *parent, const char *name)
{
	for (int i = 0; i < w->paths_count; i++) {
		char above[PATH_MAX];
		const char *slash = strrchr(w->paths[i], '/');

		parent_of(w->paths[i], above);
		if (strcmp(above, parent) == 0 && strcmp(slash + 1, name) == 0)
			return true;
	}
	return false;
}

static void note_written(struct watch *w, int wd, const char *name)
{
	for (unsigned i = 0; i < WRITTEN_NAMES_MAX; i++)
		if (w->written[i].wd == wd && strcmp(w->written[i].name, name) == 0)
			return;

	struct written *slot = &w->written[w->written_at++ % WRITTEN_NAMES_MAX];

	slot->wd = wd;
	snprintf(slot->name, sizeof slot->name, "%s", name);
}

static bool was_written(struct watch *w, int wd, const char *name)
{
	for (unsigned i = 0; i < WRITTEN_NAMES_MAX; i++)
		if (w->written[i].wd == wd && strcmp(w->written[i].name, name) == 0) {
			w->written[i].wd = 0;
			return true;
		}
	return false;
}

/* What one event means. Returns false if it means nothing here. */
static bool judge(struct watch *w, const struct inotify_event *ev, enum settle_kind *ret_kind,
		  bool *ret_rearm)
{
	if (ev->mask & IN_Q_OVERFLOW) {
		*ret_kind = SETTLE_ATOMIC;
		*ret_rearm = true;
		return true;
	}
	struct entry *entry = find(w, ev->wd);

	if (entry == NULL)
		return false; /* of a watch that is gone: numbers are not used twice */
	if (ev->mask & IN_IGNORED) {
		bool inside = entry->place == INSIDE;

		/* The directory or its file system is gone. If it was ours that is a change. */
		forget(w, entry);
		*ret_kind = SETTLE_ATOMIC;
		*ret_rearm = true;
		return inside;
	}
	const char *name = ev->len > 0 ? ev->name : "";
	bool is_directory = (ev->mask & IN_ISDIR) != 0;

	if (entry->place == ABOVE) {
		*ret_kind = SETTLE_ATOMIC;
		*ret_rearm = true;
		return is_root(w, entry->path, name);
	}
	if (*name != '\0') {
		char path[PATH_MAX];

		if ((size_t)snprintf(path, sizeof path, "%s/%s", entry->path, name) < sizeof path &&
		    ignore_entry(w->ignore, path, is_directory))
			return false;
	}
	*ret_kind = SETTLE_ATOMIC;
	if (is_directory) {
		*ret_rearm = (ev->mask & (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM)) != 0;
		return true;
	}
	if (ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) {
		*ret_rearm = true;
	} else if (ev->mask & (IN_MOVED_FROM | IN_DELETE)) {
		if (was_written(w, ev->wd, name))
			*ret_kind = SETTLE_REPLACED;
	} else if (ev->mask & IN_CLOSE_WRITE) {
		note_written(w, ev->wd, name);
		*ret_kind = SETTLE_WRITTEN;
	} else if (ev->mask & IN_MODIFY) {
		note_written(w, ev->wd, name);
		*ret_kind = SETTLE_OPEN;
	} else if (ev->mask & IN_CREATE) {
		struct stat st;
		char path[PATH_MAX];

		/* A symbolic link, or a second name of a file, is complete as it appears. */
		snprintf(path, sizeof path, "%s/%s", entry->path, name);
		if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1) {
			note_written(w, ev->wd, name);
			*ret_kind = SETTLE_OPEN;
		}
	}
	return true;
}

static void on_events(void *ctx, int fd, uint32_t events)
{
	struct watch *w = ctx;
	static char buffer[EVENT_BUFFER_BYTES]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	bool rearm = false;

	(void)events;
	/* Drained whole before anything is walked: hashing must never let the queue run over. */
	for (;;) {
		ssize_t n = read(fd, buffer, sizeof buffer);

		if (n <= 0)
			break;
		for (char *at = buffer; at < buffer + n;) {
			const struct inotify_event *ev = (const struct inotify_event *)at;
			enum settle_kind kind;
			bool wants_rearm = false;

			at += sizeof *ev + ev->len;
			if (judge(w, ev, &kind, &wants_rearm)) {
				const struct entry *entry = find(w, ev->wd);

				rearm |= wants_rearm;
				if (wants_rearm || entry == NULL)
					watch_doubt(w);
				else
					note_changed(w, entry->path);
				w->fn(w->ctx, kind);
			}
		}
	}
	if (rearm)
		watch_rearm(w);
}

static void on_mounts(void *ctx, int fd, uint32_t events)
{
	struct watch *w = ctx;
	char byte;

	(void)events;
	/* The condition is level-triggered until the table has been read from its start. */
	if (pread(fd, &byte, 1, 0) < 0)
		w->mounts_source = loop_fd_remove(w->mounts_source);
	watch_rearm(w);
	w->fn(w->ctx, SETTLE_ATOMIC);
}

int watch_new(struct loop *loop, const char *const *paths, int paths_count,
	      const struct ignore *ignore, watch_fn fn, void *ctx, struct watch **ret_watch)
{
	struct watch *w = calloc(1, sizeof *w);
	int r;

	if (w == NULL)
		return -ENOMEM;
	w->loop = loop;
	w->paths = paths;
	w->paths_count = paths_count;
	w->ignore = ignore;
	w->fn = fn;
	w->ctx = ctx;
	w->mounts_fd = -1;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0) {
		r = -errno;
		goto out;
	}
	r = loop_fd_add(loop, w->fd, EPOLLIN, on_events, w, &w->source);
	if (r < 0)
		goto out;
	w->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (w->mounts_fd >= 0) {
		r = loop_fd_add(loop, w->mounts_fd, EPOLLPRI, on_mounts, w, &w->mounts_source);
		if (r < 0)
			goto out;
	}
	watch_rearm(w);
	*ret_watch = w;
	return 0;
out:
	watch_free(w);
	return r;
}

struct watch *watch_free(struct watch *w)
{
	if (w == NULL)
		return NULL;
	if (w->mounts_source)
		loop_fd_remove(w->mounts_source);
	if (w->source)
		loop_fd_remove(w->source);
	if (w->mounts_fd >= 0)
		close(w->mounts_fd);
	if (w->fd >= 0)
		close(w->fd);
	for (size_t i = 0; i < w->room; i++)
		if (w->entries[i].wd > 0)
			free(w->entries[i].path);
	free(w->entries);
	watch_looked(w);
	free(w);
	return NULL;
}

const char *watch_degraded(const struct watch *w)
{
	return w->degraded[0] ? w->degraded : NULL;
}

size_t watch_directories(const struct watch *w)
{
	return w->used;
}
