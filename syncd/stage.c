/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/stage.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "syncd/stage_private.h"

/* Of a few files each is made durable by itself; of many the file system is told at once. */
#define SYNC_SINGLE_MAX 16

/* ---- roots: the mount that an operation's rename takes place in ---- */

static int mount_of(const char *path, uint64_t *ret_mount, bool *ret_directory)
{
	struct statx stx;
	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
		  STATX_TYPE | STATX_MNT_ID, &stx) < 0)
		return -errno;
	*ret_mount = stx.stx_mnt_id;
	*ret_directory = S_ISDIR(stx.stx_mode);
	return 0;
}

/* The last component off. "/" of "/a". */
static void go_up(char *path)
{
	char *slash = strrchr(path, '/');
	if (slash == path)
		slash++;
	*slash = '\0';
}

static bool has_stage(const char *dir, const char *id_text)
{
	char path[ENTRY_PATH_BYTES_MAX + 128];
	struct stat st;
	snprintf(path, sizeof path, "%s/" ENTRY_STAGE_NAME "/%s", dir, id_text);
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Where the stage for a mirror's path lies: in the path itself, or, while that does not exist, in
 * the nearest directory that does. In recovery it may exist by now: the stage still lies above. */
static int find_base(const struct stage *stage, const char *mirror_path, bool recovering,
		     char base[ENTRY_PATH_BYTES_MAX + 1])
{
	uint64_t mount = 0;
	bool directory = false;
	strcpy(base, mirror_path);
	if (recovering && !has_stage(base, stage->id_text)) {
		char above[ENTRY_PATH_BYTES_MAX + 1];
		strcpy(above, base);
		while (above[1] != '\0') {
			go_up(above);
			if (has_stage(above, stage->id_text)) {
				strcpy(base, above);
				return 0;
			}
		}
	}
	for (;;) {
		int rc = mount_of(base, &mount, &directory);
		if (rc == 0)
			return directory ? 0 : -ENOTDIR;
		if (rc != -ENOENT || base[1] == '\0')
			return rc;
		go_up(base);
	}
}

/* From base down to the directory that path stands in (or to path itself, if that is base): the
 * last directory at which the mount changes. What does not exist yet has no mount of its own. */
static int find_root(const char *base, const char *path, char root[ENTRY_PATH_BYTES_MAX + 1])
{
	char at[ENTRY_PATH_BYTES_MAX + 1];
	uint64_t mount = 0, here = 0;
	bool directory = false;
	strcpy(root, base);
	int rc = mount_of(base, &mount, &directory);
	if (rc < 0)
		return rc;
	size_t base_size = strcmp(base, "/") == 0 ? 0 : strlen(base);
	if (strlen(path) <= base_size)
		return 0;
	for (const char *slash = strchr(path + base_size + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		memcpy(at, path, (size_t)(slash - path));
		at[slash - path] = '\0';
		rc = mount_of(at, &here, &directory);
		if (rc == -ENOENT || (rc == 0 && !directory))
			return 0;
		if (rc < 0)
			return rc;
		if (here != mount) {
			strcpy(root, at);
			mount = here;
		}
	}
	return 0;
}

static int add_root(struct stage *stage, const char *path, size_t *ret_index, struct fault *fault)
{
	for (size_t i = 0; i < stage->roots_count; i++) {
		if (strcmp(stage->roots[i].path, path) == 0) {
			*ret_index = i;
			return 0;
		}
	}
	if (stage->roots_count == STAGE_ROOTS_MAX)
		return fault_set(fault, -EMFILE, "%s: too many mounts below the mirrored paths",
				 path);
	struct stage_root *root = &stage->roots[stage->roots_count];
	*root = (struct stage_root){
		.fd = -1, .stage_fd = -1, .id_fd = -1, .new_fd = -1, .gone_fd = -1, .old_fd = -1};
	root->path = strdup(path);
	if (!root->path)
		return fault_set(fault, -ENOMEM, "cannot stage");
	stage->roots_count++;
	root->fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (root->fd < 0)
		return fault_set(fault, -errno, "%s: cannot open", path);
	*ret_index = stage->roots_count - 1;
	return 0;
}

static const char *mirror_path_of(const struct stage *stage, const struct entry *entry)
{
	for (int i = 0; i < stage->options.paths_count; i++) {
		const char *path = stage->paths[i];
		size_t size = strlen(path);
		if ((entry->path_size == size && memcmp(entry->path, path, size) == 0) ||
		    entry_path_below(entry->path, entry->path_size, path, size))
			return path;
	}
	return NULL;
}

static int assign_roots(struct stage *stage, bool recovering, struct fault *fault)
{
	char base[ENTRY_PATH_BYTES_MAX + 1], root[ENTRY_PATH_BYTES_MAX + 1];
	const struct entry *last = NULL;
	for (size_t i = 0; i < stage->ops_count; i++) {
		const struct entry *entry = plan_op_entry(&stage->ops[i]);
		size_t parent = entry_path_parent(entry->path, entry->path_size), index = 0;
		/* Neighbours stand in one directory, and so in one mount. */
		if (last && entry_path_parent(last->path, last->path_size) == parent &&
		    memcmp(last->path, entry->path, parent) == 0 &&
		    mirror_path_of(stage, last) == mirror_path_of(stage, entry)) {
			stage->op_roots[i] = stage->op_roots[i - 1];
			continue;
		}
		const char *mirror_path = mirror_path_of(stage, entry);
		if (!mirror_path)
			return fault_set(fault, -EXDEV, "%s: lies outside the mirrored paths",
					 entry->path);
		int rc = find_base(stage, mirror_path, recovering, base);
		if (rc == 0)
			rc = find_root(base, entry->path, root);
		if (rc < 0)
			return fault_set(fault, rc, "%s: cannot look at it", mirror_path);
		rc = add_root(stage, root, &index, fault);
		if (rc < 0)
			return rc;
		stage->op_roots[i] = (uint16_t)index;
		/* A mirror's path itself: what stands beside it is not ours. */
		last = entry->path_size == strlen(mirror_path) ? NULL : entry;
	}
	return 0;
}

struct stage_place stage_place_of(struct stage *stage, size_t op)
{
	struct stage_root *root = &stage->roots[stage->op_roots[op]];
	const char *path = plan_op_entry(&stage->ops[op])->path;
	size_t size = strcmp(root->path, "/") == 0 ? 0 : strlen(root->path);
	return (struct stage_place){root, path[size] == '/' ? path + size + 1 : "."};
}

/* ---- the directories of the stage ---- */

static int make_dir_at(int dirfd, const char *name, bool must_be_new, int *ret_fd)
{
	if (mkdirat(dirfd, name, 0700) < 0 && (must_be_new || errno != EEXIST))
		return -errno;
	int fd = stage_openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

static int open_stage_dirs(struct stage *stage, struct stage_root *root, bool recovering,
			   struct fault *fault)
{
	struct stat st;
	int rc = make_dir_at(root->fd, ENTRY_STAGE_NAME, false, &root->stage_fd);
	/* Whoever else could have made it could also change what lies in it. */
	if (rc == 0 && fstat(root->stage_fd, &st) < 0)
		rc = -errno;
	if (rc == 0 && st.st_uid != geteuid())
		return fault_set(fault, -EPERM, "%s/" ENTRY_STAGE_NAME ": is not ours; remove it",
				 root->path);
	if (rc == 0 && (st.st_mode & 077) != 0 && fchmod(root->stage_fd, 0700) < 0)
		rc = -errno;
	if (rc == 0 && !recovering)
		rc = stage_remove_tree(root->stage_fd, stage->id_text);
	if (rc == 0)
		rc = make_dir_at(root->stage_fd, stage->id_text, !recovering, &root->id_fd);
	if (rc == 0)
		rc = make_dir_at(root->id_fd, "new", !recovering, &root->new_fd);
	if (rc == 0)
		rc = make_dir_at(root->id_fd, "gone", !recovering, &root->gone_fd);
	if (rc == 0)
		rc = make_dir_at(root->id_fd, "old", !recovering, &root->old_fd);
	return rc < 0 ? fault_set(fault, rc, "%s/" ENTRY_STAGE_NAME ": cannot make the stage",
				  root->path)
		      : 0;
}

/* new/ stands for the root itself when somebody looks at the tree as it would be. */
static int dress_new(struct stage *stage, struct stage_root *root, struct fault *fault)
{
	struct stat st;
	int rc = 0;
	const struct entry *entry = tree_find(stage->options.to, root->path, strlen(root->path));
	if (entry && entry->type == ENTRY_DIR)
		rc = stage_set_attrs(root->new_fd, entry);
	else if (fstat(root->fd, &st) < 0 || fchown(root->new_fd, st.st_uid, st.st_gid) < 0 ||
		 fchmod(root->new_fd, st.st_mode & 07777) < 0)
		rc = -errno;
	return rc < 0 ? fault_set(fault, rc, "%s: cannot make the stage", root->path) : 0;
}

/* ---- room ---- */

static int check_room(const struct stage_root *root, struct fault *fault)
{
	struct statvfs vfs;
	if (fstatvfs(root->fd, &vfs) < 0)
		return fault_set(fault, -errno, "%s: cannot look at the file system", root->path);
	/* A block more for each inode: its last one is rarely full, and directories grow. */
	uint64_t block = vfs.f_frsize ? vfs.f_frsize : 4096;
	uint64_t needed = root->bytes + root->inodes * block;
	uint64_t free_bytes = (uint64_t)vfs.f_bavail * block;
	if (needed > free_bytes)
		return fault_set(fault, -ENOSPC, "%s: needs %llu KiB, %llu KiB are free",
				 root->path, (unsigned long long)(needed / 1024),
				 (unsigned long long)(free_bytes / 1024));
	/* File systems without a fixed number of inodes say 0. */
	if (vfs.f_files != 0 && root->inodes > vfs.f_favail)
		return fault_set(fault, -ENOSPC, "%s: needs %llu inodes, %llu are free", root->path,
				 (unsigned long long)root->inodes,
				 (unsigned long long)vfs.f_favail);
	return 0;
}

static int check_rooms(struct stage *stage, struct fault *fault)
{
	for (size_t i = 0; i < stage->ops_count; i++) {
		const struct plan_op *op = &stage->ops[i];
		struct stage_root *root = &stage->roots[stage->op_roots[i]];
		root->inodes += 2; /* itself, and at most a directory for it to stand in */
		if (op->kind == PLAN_CREATE || op->kind == PLAN_REPLACE)
			root->bytes += op->to->size;
	}
	for (size_t i = 0; i < stage->roots_count; i++) {
		stage->roots[i].inodes += 4;
		int rc = check_room(&stage->roots[i], fault);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- building ---- */

static int stage_directory(struct stage *stage, const struct stage_place *place,
			   const struct entry *entry, struct fault *fault)
{
	const char *name;
	int rc = stage_make_parents(stage, place->root, place->root->new_fd, place->relative, true,
				    fault);
	if (rc < 0)
		return rc;
	if (strcmp(place->relative, ".") == 0)
		return 0; /* new/ itself, see dress_new() */
	int parent = stage_open_parent(place->root->new_fd, place->relative, &name);
	if (parent < 0)
		return fault_set(fault, parent, "%s: cannot stage it", entry->path);
	/* It may be there already, holding something. */
	rc = mkdirat(parent, name, 0700) < 0 && errno != EEXIST ? -errno : 0;
	close(parent);
	if (rc == 0) {
		int fd =
			stage_openat(place->root->new_fd, place->relative, O_PATH | O_DIRECTORY, 0);
		rc = fd < 0 ? fd : stage_set_attrs(fd, entry);
		if (fd >= 0)
			close(fd);
	}
	return rc < 0 ? fault_set(fault, rc, "%s: cannot stage it", entry->path) : 0;
}

/* Only the topmost of what goes is marked: with a directory goes all that is in it. */
static bool is_marked(const struct stage *stage, const struct entry *entry)
{
	size_t parent_size = entry_path_parent(entry->path, entry->path_size);
	if (!tree_find(stage->options.from, entry->path, parent_size))
		return true; /* a root of the mirror */
	const struct entry *parent = tree_find(stage->options.to, entry->path, parent_size);
	return parent && parent->type == ENTRY_DIR;
}

static int stage_mark(struct stage *stage, const struct stage_place *place,
		      const struct entry *entry, struct fault *fault)
{
	if (!is_marked(stage, entry))
		return 0;
	int rc = stage_make_parents(stage, place->root, place->root->gone_fd, place->relative,
				    false, fault);
	if (rc < 0)
		return rc;
	int fd = stage_openat(place->root->gone_fd, place->relative,
			      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fault_set(fault, fd, "%s: cannot stage its removal", entry->path);
	close(fd);
	return 0;
}

static int stage_op(struct stage *stage, size_t index, struct fault *fault)
{
	const struct plan_op *op = &stage->ops[index];
	struct stage_place place = stage_place_of(stage, index);
	switch (op->kind) {
	case PLAN_CREATE:
	case PLAN_REPLACE: {
		int rc = stage_make_parents(stage, place.root, place.root->new_fd, place.relative,
					    true, fault);
		return rc < 0 ? rc
			      : stage_put(stage, place.root->new_fd, place.relative, op->to, fault);
	}
	case PLAN_MAKE_DIR:
	case PLAN_ATTRS:
		return stage_directory(stage, &place, op->to, fault);
	case PLAN_REMOVE:
	case PLAN_REMOVE_DIR:
		return stage_mark(stage, &place, op->from, fault);
	case PLAN_KINDS:
		break;
	}
	assert(!"no such operation");
	return 0;
}

static int stage_all(struct stage *stage, struct fault *fault)
{
	int rc = 0;
	for (size_t i = 0; i < stage->roots_count && rc == 0; i++)
		rc = dress_new(stage, &stage->roots[i], fault);
	for (size_t i = 0; i < stage->ops_count && rc == 0; i++)
		rc = stage_op(stage, i, fault);
	return rc;
}

int stage_sync(struct stage *stage, struct fault *fault)
{
	bool each = stage->totals.put_files <= SYNC_SINGLE_MAX;
	int rc = 0;
	if (stage->durable)
		return 0;
	for (size_t i = 0; i < stage->ops_count && rc == 0 && each; i++) {
		const struct plan_op *op = &stage->ops[i];
		struct stage_place place = stage_place_of(stage, i);
		if ((op->kind != PLAN_CREATE && op->kind != PLAN_REPLACE) ||
		    op->to->type != ENTRY_FILE)
			continue;
		rc = stage_sync_file(place.root->new_fd, place.relative);
		if (rc < 0)
			fault_set(fault, rc, "%s: cannot make its stage durable", op->to->path);
	}
	for (size_t i = 0; i < stage->roots_count && rc == 0 && !each; i++)
		if (syncfs(stage->roots[i].new_fd) < 0)
			rc = fault_set(fault, -errno, "%s: cannot make the stage durable",
				       stage->roots[i].path);
	stage->durable = rc == 0;
	return rc;
}

/* ---- life ---- */

static int new_stage(const struct stage_options *options, struct stage **ret_stage)
{
	static const char digits[] = "0123456789abcdef";
	struct stage *stage = calloc(1, sizeof *stage);
	if (!stage)
		return -ENOMEM;
	stage->options = *options;
	stage->options.from = tree_ref(options->from);
	stage->options.to = tree_ref(options->to);
	memcpy(stage->id, options->id, sizeof stage->id);
	stage->options.id = stage->id;
	for (int i = 0; i < GENERATION_ID_BYTES; i++) {
		stage->id_text[2 * i] = digits[options->id[i] >> 4];
		stage->id_text[2 * i + 1] = digits[options->id[i] & 15];
	}
	size_t room = plan_ops_max(options->from->count, options->to->count);
	stage->paths = calloc((size_t)options->paths_count + 1, sizeof *stage->paths);
	stage->ops = calloc(room ? room : 1, sizeof *stage->ops);
	stage->roots = calloc(STAGE_ROOTS_MAX, sizeof *stage->roots);
	bool whole = stage->paths && stage->ops && stage->roots;
	for (int i = 0; whole && i < options->paths_count; i++)
		whole = (stage->paths[i] = strdup(options->paths[i])) != NULL;
	if (whole) {
		stage->options.paths = (const char *const *)stage->paths;
		stage->ops_count = plan_build(options->from->entries, options->from->count,
					      options->to->entries, options->to->count, stage->ops,
					      &stage->totals);
		stage->op_roots =
			calloc(stage->ops_count ? stage->ops_count : 1, sizeof *stage->op_roots);
		whole = stage->op_roots != NULL;
	}
	if (!whole) {
		stage_free(stage);
		return -ENOMEM;
	}
	*ret_stage = stage;
	return 0;
}

int stage_build(const struct stage_options *options, struct stage **ret_stage, struct fault *fault)
{
	struct stage *stage;
	int rc = new_stage(options, &stage);
	if (rc < 0)
		return fault_set(fault, rc, "cannot stage");
	rc = assign_roots(stage, false, fault);
	if (rc == 0)
		rc = check_rooms(stage, fault);
	for (size_t i = 0; i < stage->roots_count && rc == 0; i++)
		rc = open_stage_dirs(stage, &stage->roots[i], false, fault);
	if (rc == 0)
		rc = stage_all(stage, fault);
	if (rc < 0) {
		stage_discard(stage);
		return rc;
	}
	*ret_stage = stage;
	return 0;
}

int stage_open(const struct stage_options *options, struct stage **ret_stage, struct fault *fault)
{
	struct stage *stage;
	int rc = new_stage(options, &stage);
	if (rc < 0)
		return fault_set(fault, rc, "cannot open the stage");
	rc = assign_roots(stage, true, fault);
	for (size_t i = 0; i < stage->roots_count && rc == 0; i++)
		rc = open_stage_dirs(stage, &stage->roots[i], true, fault);
	if (rc < 0) {
		stage_free(stage);
		return rc;
	}
	stage->durable = true; /* or there would be no journal of it */
	*ret_stage = stage;
	return 0;
}

static void close_one(int fd)
{
	if (fd >= 0)
		close(fd);
}

struct stage *stage_free(struct stage *stage)
{
	if (!stage)
		return NULL;
	for (size_t i = 0; i < stage->roots_count; i++) {
		struct stage_root *root = &stage->roots[i];
		close_one(root->new_fd);
		close_one(root->gone_fd);
		close_one(root->old_fd);
		close_one(root->id_fd);
		close_one(root->stage_fd);
		close_one(root->fd);
		free(root->path);
	}
	for (int i = 0; stage->paths && i < stage->options.paths_count; i++)
		free(stage->paths[i]);
	tree_free(stage->options.from);
	tree_free(stage->options.to);
	free(stage->paths);
	free(stage->ops);
	free(stage->op_roots);
	free(stage->roots);
	free(stage);
	return NULL;
}

struct stage *stage_discard(struct stage *stage)
{
	if (!stage)
		return NULL;
	for (size_t i = 0; i < stage->roots_count && !stage->committed; i++) {
		struct stage_root *root = &stage->roots[i];
		if (root->stage_fd < 0)
			continue;
		/* What cannot be removed now goes with the next sweep. */
		(void)stage_remove_tree(root->stage_fd, stage->id_text);
		(void)unlinkat(root->fd, ENTRY_STAGE_NAME, AT_REMOVEDIR);
	}
	return stage_free(stage);
}

size_t stage_roots_count(const struct stage *stage)
{
	return stage->roots_count;
}

const char *stage_root(const struct stage *stage, size_t index)
{
	assert(index < stage->roots_count);
	return stage->roots[index].path;
}

const char *stage_id_text(const struct stage *stage)
{
	return stage->id_text;
}

const struct plan_op *stage_ops(const struct stage *stage, size_t *ret_count)
{
	*ret_count = stage->ops_count;
	return stage->ops;
}

const struct stage_options *stage_options_of(const struct stage *stage)
{
	return &stage->options;
}
