/* SPDX-License-Identifier: Apache-2.0 */
/* Clearing up after a commit, without losing what an editor wrote into a file that was replaced. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "syncd/stage_private.h"

struct sweep {
	struct objects *objects;
	enum stage_sweep_which which;
	const char *id; /* as text; "" for all */
	stage_rescue_fn fn;
	void *ctx;
	struct fault *fault;
};

/* R10. What was staged came from the object store and what was displaced is in it since it was
 * scanned; only an edit through a descriptor that was open during the exchange is not. */
static int rescue_file(struct sweep *sweep, int dirfd, const char *name, const char *live_path)
{
	uint8_t hash[ENTRY_HASH_BYTES];
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	int rc = objects_hash_fd(fd, UINT64_MAX, hash, NULL);
	if (rc == 0 && !objects_have(sweep->objects, hash)) {
		rc = lseek(fd, 0, SEEK_SET) < 0 ? -errno
						: objects_add_fd(sweep->objects, fd, UINT64_MAX,
								 hash, NULL, sweep->fault);
		if (rc == 0)
			rc = objects_sync(sweep->objects, sweep->fault);
		if (rc == 0 && sweep->fn)
			sweep->fn(sweep->ctx, live_path, hash);
	}
	close(fd);
	return rc;
}

/* live_path has room for ENTRY_PATH_BYTES_MAX + 1 and is put back before returning. */
static int rescue_tree(struct sweep *sweep, int fd, char *live_path)
{
	size_t size = strlen(live_path);
	int rc = 0;
	DIR *dir = fdopendir(fd);
	if (!dir) {
		rc = -errno;
		close(fd);
		return rc;
	}
	for (struct dirent *e; rc == 0 && (e = readdir(dir));) {
		struct stat st;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (size + 1 + strlen(e->d_name) > ENTRY_PATH_BYTES_MAX)
			continue; /* no manifest could have put it here */
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		sprintf(live_path + size, "/%s", e->d_name);
		if (S_ISREG(st.st_mode)) {
			rc = rescue_file(sweep, dirfd(dir), e->d_name, live_path);
		} else if (S_ISDIR(st.st_mode)) {
			int below = openat(dirfd(dir), e->d_name,
					   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (below >= 0)
				rc = rescue_tree(sweep, below, live_path);
		}
		live_path[size] = '\0';
	}
	closedir(dir);
	return rc;
}

static bool is_id(const char *name)
{
	return strlen(name) == STAGE_ID_TEXT_BYTES - 1 &&
	       strspn(name, "0123456789abcdef") == STAGE_ID_TEXT_BYTES - 1;
}

static int sweep_one(struct sweep *sweep, int stage_fd, const char *id, const char *root)
{
	static const char *const parts[] = {"new", "old"};
	char live_path[ENTRY_PATH_BYTES_MAX + 1];
	int rc = 0;
	int id_fd = openat(stage_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	for (size_t i = 0; i < 2 && rc == 0 && id_fd >= 0; i++) {
		int fd = openat(id_fd, parts[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		snprintf(live_path, sizeof live_path, "%s", strcmp(root, "/") == 0 ? "" : root);
		rc = rescue_tree(sweep, fd, live_path);
	}
	if (id_fd >= 0)
		close(id_fd);
	/* What could not be kept elsewhere is not removed. */
	return rc < 0 ? rc : stage_remove_tree(stage_fd, id);
}

static int sweep_root(struct sweep *sweep, const char *root)
{
	int rc = 0;
	int root_fd = open(root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (root_fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	int stage_fd = stage_openat(root_fd, ENTRY_STAGE_NAME, O_RDONLY | O_DIRECTORY, 0);
	if (stage_fd < 0) {
		close(root_fd);
		return stage_fd == -ENOENT ? 0 : stage_fd;
	}
	int list_fd = dup(stage_fd);
	DIR *dir = list_fd >= 0 ? fdopendir(list_fd) : NULL;
	if (!dir) {
		rc = -errno;
		if (list_fd >= 0)
			close(list_fd);
	}
	for (struct dirent *e; dir && rc == 0 && (e = readdir(dir));)
		if (is_id(e->d_name) &&
		    (strcmp(e->d_name, sweep->id) == 0) == (sweep->which == STAGE_SWEEP_ONE))
			rc = sweep_one(sweep, stage_fd, e->d_name, root);
	if (dir)
		closedir(dir);
	close(stage_fd);
	/* Stays, if something is spared. */
	if (rc == 0)
		(void)unlinkat(root_fd, ENTRY_STAGE_NAME, AT_REMOVEDIR);
	close(root_fd);
	return rc;
}

/* mountinfo writes blanks and the like as \ooo. */
static void unescape(char *text)
{
	char *to = text;
	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* A mirror's path, the mounts below it, and, for a path that was made by a commit, the directories
 * above it. */
static int sweep_mirror_path(struct sweep *sweep, const char *path)
{
	char *line = NULL;
	size_t room = 0;
	int rc = sweep_root(sweep, path);
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	if (!mounts)
		return rc < 0 ? rc : -errno;
	while (rc == 0 && getline(&line, &room, mounts) > 0) {
		char *at = line, *field = NULL;
		for (int i = 0; i < 5 && at; i++)
			field = strsep(&at, " ");
		if (!at || !field)
			continue;
		unescape(field);
		if (entry_path_below(field, strlen(field), path, strlen(path)))
			rc = sweep_root(sweep, field);
	}
	free(line);
	fclose(mounts);
	char above[ENTRY_PATH_BYTES_MAX + 1];
	snprintf(above, sizeof above, "%s", path);
	for (char *slash; rc == 0 && (slash = strrchr(above, '/')) && slash != above;) {
		*slash = '\0';
		rc = sweep_root(sweep, above);
	}
	return rc;
}

int stage_sweep(const char *const *paths, int paths_count, enum stage_sweep_which which,
		const uint8_t *id, struct objects *objects, stage_rescue_fn fn, void *ctx,
		struct fault *fault)
{
	char text[STAGE_ID_TEXT_BYTES] = "";
	struct fault cause = {{0}};
	struct sweep sweep = {objects, which, text, fn, ctx, &cause};
	assert((id == NULL) == (which == STAGE_SWEEP_ALL));
	for (int i = 0; id && i < GENERATION_ID_BYTES; i++)
		sprintf(text + (ptrdiff_t)2 * i, "%02x", id[i]);
	for (int i = 0; i < paths_count; i++) {
		int rc = sweep_mirror_path(&sweep, paths[i]);
		if (rc < 0)
			return fault_set(fault, rc, "%s: cannot clear up the stage%s%s", paths[i],
					 cause.text[0] ? ": " : "", cause.text);
	}
	return 0;
}
