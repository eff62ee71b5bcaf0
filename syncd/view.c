/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/view.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "syncd/ignore.h"
#include "syncd/view_lay.h"
#include "syncd/view_witness.h"

#define SCRATCH_BYTES_MAX 1000 /* two paths below it must fit into one page of mount options */

/* What parent and child share: the child cannot say anything else after exec. */
struct shared {
	uint64_t ready_us;
	char error[512];
};

struct view {
	char *scratch;
	char **paths;
	int paths_count;
	char *generation_hex; /* NULL: the live tree */
	struct witness witness;
	struct shared *shared;
};

/* A place where something is mounted in the view: one of the host's mounts, or a mirrored path. */
struct place {
	char *path;
	char *type; /* of the host's mount; "" for a path that is none */
	uint64_t mount_id;
	bool below_mirror;
	bool is_system;	   /* /proc, /sys, /dev */
	bool below_system; /* /proc/sys, /dev/pts, ...: comes along with what it lies below */
	bool is_mount;
};

/* What the kernel shows, and the devices: taken whole, whatever is mounted at and in them (a
 * container masks files below /proc, and its /dev is a tmpfs). They are used for writing too
 * (/dev/null), and keep nothing; /dev/shm would. */
static const char *const system_trees[] = {"/dev", "/proc", "/sys"};
#define SYSTEM_KEEPS "/dev/shm"

struct places {
	struct place items[VIEW_MOUNTS_MAX];
	int count;
};

int view_new(const struct view_options *options, struct view **ret_view)
{
	struct view *v = calloc(1, sizeof *v);
	int r = -ENOMEM;

	if (v == NULL)
		return -ENOMEM;
	v->witness.fd = -1;
	if (strlen(options->scratch) > SCRATCH_BYTES_MAX) {
		r = -ENAMETOOLONG;
		goto out;
	}
	v->scratch = strdup(options->scratch);
	v->paths = calloc((size_t)options->paths_count + 1, sizeof *v->paths);
	if (v->scratch == NULL || v->paths == NULL)
		goto out;
	for (int i = 0; i < options->paths_count; i++) {
		v->paths[i] = strdup(options->paths[i]);
		if (v->paths[i] == NULL)
			goto out;
		v->paths_count++;
	}
	if (options->generation_hex != NULL) {
		v->generation_hex = strdup(options->generation_hex);
		if (v->generation_hex == NULL)
			goto out;
	}
	v->shared = mmap(NULL, sizeof *v->shared, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (v->shared == MAP_FAILED) {
		v->shared = NULL;
		goto out;
	}
	r = witness_init(&v->witness);
	if (r < 0)
		goto out;
	*ret_view = v;
	return 0;
out:
	view_free(v);
	return r;
}

struct view *view_free(struct view *v)
{
	if (v == NULL)
		return NULL;
	witness_release(&v->witness);
	if (v->shared)
		munmap(v->shared, sizeof *v->shared);
	for (int i = 0; i < v->paths_count; i++)
		free(v->paths[i]);
	free(v->paths);
	free(v->scratch);
	free(v->generation_hex);
	free(v);
	return NULL;
}

bool view_was_used(const struct view *v)
{
	return witness_saw(&v->witness);
}

void view_retire(struct view *v)
{
	witness_retire(&v->witness);
}

const char *view_error(const struct view *v)
{
	return v->shared->error;
}

uint64_t view_ready_us(const struct view *v)
{
	return v->shared->ready_us;
}

/* --- in the child ------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int broken(struct view *v, int error,
							const char *format, ...)
{
	char what[400];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	snprintf(v->shared->error, sizeof v->shared->error, "%s: %s", what, strerror(error));
	return error ? error : EIO;
}

static bool is_below(const char *path, const char *dir)
{
	size_t size = strlen(dir);

	if (strcmp(dir, "/") == 0)
		return true;
	return strncmp(path, dir, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

/* "\040" and its like, as the kernel writes blanks, tabs, newlines and backslashes. */
static void unescape(char *text)
{
	char *to = text;

	for (char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + from[3] - '0');
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

static int put_place(struct places *places, const char *path, const char *type, uint64_t mount_id)
{
	for (int i = 0; i < places->count; i++) {
		if (strcmp(places->items[i].path, path) != 0)
			continue;
		/* Mounted over: the later one is what a path lookup finds. */
		char *copy = strdup(type);

		if (copy == NULL)
			return -ENOMEM;
		free(places->items[i].type);
		places->items[i].type = copy;
		places->items[i].mount_id = mount_id;
		return 0;
	}
	if (places->count == VIEW_MOUNTS_MAX)
		return -E2BIG;

	struct place *place = &places->items[places->count];

	place->path = strdup(path);
	place->type = strdup(type);
	place->mount_id = mount_id;
	place->is_mount = mount_id != 0;
	if (place->path == NULL || place->type == NULL)
		return -ENOMEM;
	places->count++;
	return 0;
}

static int read_mounts(struct places *places)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;
	int r = 0;

	if (file == NULL)
		return -errno;
	while (r == 0 && getline(&line, &room, file) > 0) {
		/* 36 35 98:0 /root /mount/point options... - type source options */
		char *save = NULL;
		char *id = strtok_r(line, " \n", &save);
		char *point = NULL;

		for (int i = 0; i < 4; i++)
			point = strtok_r(NULL, " \n", &save);
		char *word = point;

		while (word != NULL && strcmp(word, "-") != 0)
			word = strtok_r(NULL, " \n", &save);
		char *type = word ? strtok_r(NULL, " \n", &save) : NULL;

		if (id == NULL || type == NULL)
			continue;
		unescape(point);
		r = put_place(places, point, type, strtoull(id, NULL, 10));
	}
	free(line);
	fclose(file);
	return r;
}

static int by_path(const void *a, const void *b)
{
	/* A directory is a prefix of what lies below it, so it sorts first. */
	return strcmp(((const struct place *)a)->path, ((const struct place *)b)->path);
}

/* File systems that are views of the kernel: nothing that a configuration test writes to them is
 * worth keeping out, and an overlay would hide what they are for. */
static bool is_kernel_view(const char *type)
{
	static const char *const types[] = {
		"proc",	      "sysfs",	     "devtmpfs",  "devpts",	"mqueue", "cgroup",
		"cgroup2",    "debugfs",     "tracefs",	  "securityfs", "bpf",	  "pstore",
		"configfs",   "efivarfs",    "hugetlbfs", "fusectl",	"autofs", "nsfs",
		"rpc_pipefs", "binfmt_misc", "selinuxfs",
	};

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (strcmp(types[i], type) == 0)
			return true;
	return false;
}

/* An empty layer in which every deleted path is a whiteout. */
static int lay_whiteouts(struct view *v, int gone_fd, const char *layer, int depth)
{
	DIR *dir = fdopendir(gone_fd);
	int r = 0;

	if (dir == NULL) {
		r = broken(v, errno, "cannot read the stage");
		close(gone_fd);
		return r;
	}
	for (struct dirent *d; r == 0 && (d = readdir(dir)) != NULL;) {
		char path[PATH_MAX];
		struct stat st;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (snprintf(path, sizeof path, "%s/%s", layer, d->d_name) >= (int)sizeof path) {
			r = broken(v, ENAMETOOLONG, "cannot hide %s", d->d_name);
			break;
		}
		if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			r = broken(v, errno, "cannot read %s in the stage", d->d_name);
		} else if (!S_ISDIR(st.st_mode)) {
			if (mknod(path, S_IFCHR, makedev(0, 0)) < 0)
				r = broken(v, errno, "cannot hide %s", path);
		} else if (depth >= 128) {
			r = broken(v, ELOOP, "the stage is too deep at %s", path);
		} else {
			int child = openat(dirfd(dir), d->d_name,
					   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (child < 0 || mkdir(path, 0755) < 0) {
				r = broken(v, errno, "cannot hide what is gone below %s", path);
				if (child >= 0)
					close(child);
			} else {
				r = lay_whiteouts(v, child, path, depth + 1);
			}
		}
	}
	closedir(dir);
	return r;
}

/* One overlay: the live directory, what is gone, what is new, and an upper layer for what the
 * command writes. Layers are named through descriptors: a path may hold the ':' and ',' that
 * separate options. */
static int mount_overlay(struct view *v, int index, int lower_fd, int target_fd, const char *where,
			 int stage_fd)
{
	char upper[SCRATCH_BYTES_MAX + 32], work[SCRATCH_BYTES_MAX + 32];
	char gone[SCRATCH_BYTES_MAX + 32], options[3 * SCRATCH_BYTES_MAX];
	char layers[256] = "", target[64];
	int new_fd = -1, gone_fd = -1;
	int r = 0;

	snprintf(upper, sizeof upper, "%s/u%d", v->scratch, index);
	snprintf(work, sizeof work, "%s/w%d", v->scratch, index);
	snprintf(gone, sizeof gone, "%s/g%d", v->scratch, index);
	if (mkdir(upper, 0755) < 0 || mkdir(work, 0755) < 0)
		return broken(v, errno, "cannot make layers in %s", v->scratch);

	/* The root of the merged directory shows the upper layer's owner and mode. */
	struct stat st;

	if (fstat(lower_fd, &st) < 0 || chown(upper, st.st_uid, st.st_gid) < 0 ||
	    chmod(upper, st.st_mode & 07777) < 0)
		return broken(v, errno, "cannot copy the mode of %s", where);

	if (stage_fd >= 0) {
		new_fd = openat(stage_fd, "new", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (new_fd < 0 && errno != ENOENT)
			return broken(v, errno, "cannot open the stage of %s", where);
		int from =
			openat(stage_fd, "gone", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (from < 0 && errno != ENOENT) {
			r = broken(v, errno, "cannot open the stage of %s", where);
			goto out;
		}
		if (from >= 0) {
			if (mkdir(gone, 0755) < 0) {
				r = broken(v, errno, "cannot make layers in %s", v->scratch);
				close(from);
				goto out;
			}
			r = lay_whiteouts(v, from, gone, 0);
			if (r != 0)
				goto out;
			gone_fd = open(gone, O_PATH | O_DIRECTORY | O_CLOEXEC);
			if (gone_fd < 0) {
				r = broken(v, errno, "cannot open %s", gone);
				goto out;
			}
		}
	}
	size_t at = 0;

	if (new_fd >= 0)
		at += (size_t)snprintf(layers + at, sizeof layers - at,
				       "/proc/self/fd/%d:", new_fd);
	if (gone_fd >= 0)
		at += (size_t)snprintf(layers + at, sizeof layers - at,
				       "/proc/self/fd/%d:", gone_fd);
	snprintf(layers + at, sizeof layers - at, "/proc/self/fd/%d", lower_fd);
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", layers, upper,
		 work);
	snprintf(target, sizeof target, "/proc/self/fd/%d", target_fd);
	if (mount("tandem", target, "overlay", 0, options) < 0)
		r = errno;
out:
	if (new_fd >= 0)
		close(new_fd);
	if (gone_fd >= 0)
		close(gone_fd);
	return r;
}

static int mount_bind(struct view *v, int from_fd, int target_fd, const char *where,
		      unsigned long flags)
{
	char from[64], target[64];

	snprintf(from, sizeof from, "/proc/self/fd/%d", from_fd);
	snprintf(target, sizeof target, "/proc/self/fd/%d", target_fd);
	if (mount(from, target, NULL, MS_BIND | flags, NULL) < 0)
		return broken(v, errno, "cannot show %s", where);
	return 0;
}

static int remount_read_only(struct view *v, const char *path, const char *where)
{
	if (mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0)
		return broken(v, errno, "cannot make %s read-only", where);
	return 0;
}

static int mark(struct view *v, const char *path)
{
	int r = witness_mark(&v->witness, path);

	return r < 0 ? broken(v, -r, "cannot mark %s", path) : 0;
}

/* The bare stage directory of a place, or -1 where this generation has none there. */
static int open_stage(struct view *v, int lower_fd, int *ret_fd)
{
	*ret_fd = -1;
	if (v->generation_hex == NULL)
		return 0;

	char path[sizeof IGNORE_STAGE_NAME + 80];

	snprintf(path, sizeof path, "%s/%s", IGNORE_STAGE_NAME, v->generation_hex);
	*ret_fd = openat(lower_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_fd < 0 && errno != ENOENT && errno != ENOTDIR)
		return broken(v, errno, "cannot open the stage of the generation");
	return 0;
}

/* A mount of its own for the mirrored path, which carries the mark. */
static int bind_itself(struct view *v, const struct place *place, const char *target)
{
	if (place->is_mount || mount(target, target, NULL, MS_BIND, NULL) == 0)
		return 0;
	return broken(v, errno, "cannot show %s", place->path);
}

static int lay_stage(struct view *v, const struct place *place, int index, int target_fd,
		     int stage_fd, const char *target)
{
	char name[256];
	int r = mount_overlay(v, 2 * index + 1, target_fd, target_fd, place->path, stage_fd);

	if (r == 0 || v->shared->error[0] != '\0')
		return r;
	if (r != EINVAL)
		return broken(v, r, "cannot lay the stage over %s", place->path);
	/* It lies on an overlay already, and the kernel takes no third one. */
	r = view_lay(stage_fd, target_fd, name, sizeof name);
	if (r == EROFS)
		return broken(v, r,
			      "cannot lay the stage over %s, which lies on an overlay that cannot "
			      "be laid over: mount a volume there",
			      place->path);
	if (r != 0)
		return broken(v, r, "cannot lay the stage over %s: %s", place->path, name);
	return bind_itself(v, place, target);
}

static int show_place(struct view *v, const struct place *place, int index, const char *root)
{
	char target[PATH_MAX * 2];
	struct statx stx;
	int stage_fd = -1, target_fd = -1;
	int r = 0;
	int lower_fd = open(place->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (lower_fd < 0) /* a mount below something that was mounted over it, or a path to come */
		return 0;
	if (statx(lower_fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_MNT_ID, &stx) <
	    0) {
		r = broken(v, errno, "cannot look at %s", place->path);
		goto out;
	}
	if (place->is_mount && stx.stx_mnt_id != place->mount_id)
		goto out; /* hidden */
	snprintf(target, sizeof target, "%s%s", root, strcmp(place->path, "/") ? place->path : "");
	target_fd = open(target, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (target_fd < 0) {
		/* Below a read-only view of something else, or staged away. */
		if (errno == ENOENT && !place->below_mirror)
			goto out;
		r = broken(v, errno, "cannot show %s", place->path);
		goto out;
	}
	if (place->below_system && strcmp(place->path, SYSTEM_KEEPS) != 0)
		goto out;
	if (!S_ISDIR(stx.stx_mode)) {
		r = mount_bind(v, lower_fd, target_fd, place->path, 0);
		if (r == 0)
			r = remount_read_only(v, target, place->path);
		goto out;
	}
	if (place->is_system || is_kernel_view(place->type)) {
		r = mount_bind(v, lower_fd, target_fd, place->path, place->is_system ? MS_REC : 0);
		goto out;
	}
	if (place->is_mount) {
		r = mount_overlay(v, 2 * index, lower_fd, target_fd, place->path, -1);
		/* A file system that cannot lie under an overlay: shown, but not written to. */
		if (r != 0 && v->shared->error[0] == '\0' && strcmp(place->path, "/") != 0 &&
		    (r = mount_bind(v, lower_fd, target_fd, place->path, 0)) == 0)
			r = remount_read_only(v, target, place->path);
		else if (r == EINVAL && v->shared->error[0] == '\0')
			r = broken(v, r,
				   "cannot lay an overlay over /, which seems to be an overlay on "
				   "an overlay: run tandem-syncd where / is at most one");
		else if (r != 0 && v->shared->error[0] == '\0')
			r = broken(v, r, "cannot lay an overlay over /");
		if (r != 0)
			goto out;
	}
	r = open_stage(v, lower_fd, &stage_fd);
	if (r != 0 || (stage_fd < 0 && !place->below_mirror))
		goto out;
	if (stage_fd >= 0) {
		/* Over what the view shows there by now, not over the live directory: the kernel
		 * takes no two layers of which one lies in the other, as the stage does. */
		close(target_fd);
		target_fd = open(target, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		r = target_fd < 0 ? errno : lay_stage(v, place, index, target_fd, stage_fd, target);
	} else {
		r = bind_itself(v, place, target);
	}
out:
	if (stage_fd >= 0)
		close(stage_fd);
	if (target_fd >= 0)
		close(target_fd);
	if (lower_fd >= 0)
		close(lower_fd);
	return r;
}

/* Last of all: setting up opens directories, and that must not count. */
static int mark_places(struct view *v, const struct places *places, const char *root)
{
	char target[PATH_MAX * 2];
	int r = 0;

	for (int i = 0; r == 0 && i < v->paths_count; i++) {
		snprintf(target, sizeof target, "%s%s", root, v->paths[i]);
		if (access(v->paths[i], F_OK) == 0 || access(target, F_OK) < 0)
			continue;
		/* A path that exists in the stage alone has no mount of its own yet. */
		if (mount(target, target, NULL, MS_BIND, NULL) < 0)
			return broken(v, errno, "cannot show %s", v->paths[i]);
		r = mark(v, target);
	}
	for (int i = 0; r == 0 && i < places->count; i++) {
		snprintf(target, sizeof target, "%s%s", root, places->items[i].path);
		if (places->items[i].below_mirror && access(target, F_OK) == 0)
			r = mark(v, target);
	}
	return r;
}

static void mark_system(struct places *places)
{
	for (int i = 0; i < places->count; i++)
		for (size_t k = 0; k < sizeof system_trees / sizeof *system_trees; k++) {
			struct place *place = &places->items[i];
			bool is_one = strcmp(place->path, system_trees[k]) == 0;

			place->is_system |= is_one;
			place->below_system |= !is_one && is_below(place->path, system_trees[k]);
		}
}

static int collect_places(struct view *v, struct places *places)
{
	int r = read_mounts(places);

	if (r < 0)
		return broken(v, -r, "cannot read the mount table");
	for (int i = 0; i < v->paths_count; i++) {
		char path[PATH_MAX];
		bool known = false;

		/* A path that does not exist yet is staged in the nearest directory above it. */
		snprintf(path, sizeof path, "%s", v->paths[i]);
		while (access(path, F_OK) < 0 && strrchr(path, '/') != path)
			*strrchr(path, '/') = '\0';
		for (int k = 0; k < places->count; k++)
			known |= strcmp(places->items[k].path, path) == 0;
		if (!known && (r = put_place(places, path, "", 0)) < 0)
			return broken(v, -r, "too many mounts");
	}
	for (size_t i = 0; i < sizeof system_trees / sizeof *system_trees; i++) {
		bool known = false;

		for (int k = 0; k < places->count; k++)
			known |= strcmp(places->items[k].path, system_trees[i]) == 0;
		if (!known && (r = put_place(places, system_trees[i], "", 0)) < 0)
			return broken(v, -r, "too many mounts");
	}
	qsort(places->items, (size_t)places->count, sizeof *places->items, by_path);
	for (int i = 0; i < places->count; i++)
		for (int k = 0; k < v->paths_count; k++)
			places->items[i].below_mirror |=
				is_below(places->items[i].path, v->paths[k]);
	mark_system(places);
	return 0;
}

int view_prepare(void *ctx)
{
	struct view *v = ctx;
	struct places *places = calloc(1, sizeof *places);
	char root[PATH_MAX];
	struct timespec ts;
	int r;

	/* The child's memory goes with exec; nothing is freed here. */
	if (places == NULL)
		return broken(v, ENOMEM, "no memory");
	if (unshare(CLONE_NEWNS) < 0)
		return broken(v, errno, "cannot make a mount namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return broken(v, errno, "cannot make the mount namespace private");
	r = collect_places(v, places);
	if (r != 0)
		return r;
	if (mount("tandem", v->scratch, "tmpfs", MS_NOSUID, VIEW_SCRATCH_BYTES) < 0)
		return broken(v, errno, "cannot mount a tmpfs on %s", v->scratch);
	snprintf(root, sizeof root, "%s/root", v->scratch);
	if (mkdir(root, 0755) < 0)
		return broken(v, errno, "cannot make %s", root);

	for (int i = 0; i < places->count; i++) {
		const struct place *place = &places->items[i];

		/* What is mounted on the scratch directory is this view itself. */
		if (is_below(place->path, v->scratch))
			continue;
		r = show_place(v, place, i, root);
		if (r != 0)
			return r;
	}
	r = mark_places(v, places, root);
	if (r != 0)
		return r;
	if (chroot(root) < 0 || chdir("/") < 0)
		return broken(v, errno, "cannot enter the view");
	clock_gettime(CLOCK_MONOTONIC, &ts);
	v->shared->ready_us = (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
	return 0;
}

const char *view_explain(const char *output)
{
	/* nginx: [emerg] bind() to 198.51.100.200:80 failed (99: Cannot assign requested address)
	 */
	if (strstr(output, "bind() to") != NULL &&
	    (strstr(output, "Cannot assign requested address") != NULL ||
	     strstr(output, "(99:") != NULL))
		return "the address is not on this node and may not be bound here: set "
		       "net.ipv4.ip_nonlocal_bind=1 (and net.ipv6.ip_nonlocal_bind=1) with sysctl, "
		       "as the reload on a standby node needs it too";
	return NULL;
}
