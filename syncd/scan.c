/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/scan.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "syncd/owner.h"

struct scan {
	const struct scan_options *options;
	struct scan_result *result;
	struct fault *fault;
	EVP_MD_CTX *digest;
	int64_t started_ns; /* real time, as files are stamped */
	char path[ENTRY_PATH_BYTES_MAX + 1];
	size_t path_size;
	int depth;
	/* Of the directory that was read last, with all below it. */
	size_t kept, ignored;
};

__attribute__((format(printf, 2, 3))) static void problem(struct scan *scan, const char *format,
							  ...)
{
	struct scan_result *result = scan->result;
	va_list args;

	if (result->problems_count < SCAN_PROBLEMS_MAX) {
		va_start(args, format);
		vsnprintf(result->problems[result->problems_count], SCAN_PROBLEM_TEXT_MAX, format,
			  args);
		va_end(args);
	}
	result->problems_count++;
}

static void changed_meanwhile(struct scan *scan)
{
	scan->result->unstable = true;
	memcpy(scan->result->unstable_path, scan->path, scan->path_size + 1);
}

static int64_t to_ns(struct statx_timestamp stamp)
{
	return stamp.tv_sec * INT64_C(1000000000) + stamp.tv_nsec;
}

static struct entry_seen sight_of(const struct statx *stx)
{
	return (struct entry_seen){
		.ino = stx->stx_ino,
		.ctime_ns = to_ns(stx->stx_ctime),
		.mtime_ns = to_ns(stx->stx_mtime),
		.size = stx->stx_size,
		.mode = stx->stx_mode,
		.uid = stx->stx_uid,
		.gid = stx->stx_gid,
	};
}

static int look(int fd, const char *name, struct statx *ret_stx)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_SYNC_AS_STAT;

	if (*name == '\0')
		flags |= AT_EMPTY_PATH;
	return statx(fd, name, flags, STATX_BASIC_STATS, ret_stx) < 0 ? -errno : 0;
}

static void add_fingerprint(struct scan *scan, const struct entry *entry,
			    const struct entry_seen *sight)
{
	/* Field by field: a struct has holes. */
	uint64_t numbers[] = {entry->path_size,
			      entry->type,
			      sight->ino,
			      (uint64_t)sight->ctime_ns,
			      (uint64_t)sight->mtime_ns,
			      sight->size,
			      sight->mode,
			      sight->uid,
			      sight->gid};

	uint8_t own[SCAN_FINGERPRINT_BYTES];
	unsigned size = sizeof own;

	/* A directory's own times change with every temporary file in it; what counts of it is
	 * that it is there, whose it is, and what is in it. */
	if (entry->type == ENTRY_DIR)
		numbers[3] = numbers[4] = numbers[5] = 0;
	EVP_DigestInit_ex(scan->digest, EVP_sha256(), NULL);
	EVP_DigestUpdate(scan->digest, entry->path, entry->path_size);
	EVP_DigestUpdate(scan->digest, numbers, sizeof numbers);
	if (entry->type == ENTRY_FILE)
		EVP_DigestUpdate(scan->digest, entry->hash, sizeof entry->hash);
	EVP_DigestFinal_ex(scan->digest, own, &size);
	/* In whatever order they come: a directory lists its names as it likes. */
	for (size_t i = 0; i < sizeof own; i++)
		scan->result->fingerprint[i] ^= own[i];
}

static int put(struct scan *scan, struct entry *entry, const struct entry_seen *sight)
{
	enum entry_verdict verdict;
	int r;

	add_fingerprint(scan, entry, sight);
	/* A file that was stamped this very moment may be written again with the same stamp. */
	if (scan->started_ns - sight->ctime_ns < SCAN_YOUNG_NS) {
		entry->seen = (struct entry_seen){0};
		scan->result->young++;
	} else {
		entry->seen = *sight;
	}
	r = tree_add(scan->result->tree, entry);
	if (r <= 0)
		return r;
	verdict = (enum entry_verdict)r;
	if (verdict == ENTRY_BAD_MODE)
		problem(scan,
			"%s has a set-user-id bit, which is never mirrored: chmod u-s it, or "
			"exclude "
			"it",
			scan->path);
	else if (verdict == ENTRY_TOO_MANY || verdict == ENTRY_TOO_LARGE)
		problem(scan,
			"there is more below the mirrored paths than can be mirrored (%u entries): "
			"exclude what is not configuration",
			TREE_ENTRIES_MAX);
	else
		problem(scan, "%s cannot be mirrored: %s", scan->path, entry_verdict_text(verdict));
	return 0;
}

/* An entry that looks as it did keeps everything that is known of it, also what this host could not
 * represent (an owner that is unknown here). */
static bool keep_known(struct scan *scan, const struct entry_seen *sight, int *ret_r)
{
	const struct entry *known = NULL;
	struct entry copy;

	if (scan->options->previous == NULL)
		return false;
	known = tree_find(scan->options->previous, scan->path, scan->path_size);
	if (known == NULL || known->seen.ino == 0)
		return false;
	if (S_ISDIR(sight->mode)) {
		/* Times and size of a directory say nothing about the directory itself. */
		if (known->type != ENTRY_DIR || known->seen.mode != sight->mode ||
		    known->seen.uid != sight->uid || known->seen.gid != sight->gid ||
		    known->seen.ino != sight->ino)
			return false;
	} else {
		if (!entry_seen_equal(&known->seen, sight))
			return false;
		if (known->type == ENTRY_FILE &&
		    (scan->options->distrust || !objects_have(scan->options->objects, known->hash)))
			return false;
	}
	copy = *known;
	if (S_ISDIR(sight->mode))
		copy.mtime_ns = sight->mtime_ns;
	*ret_r = put(scan, &copy, sight);
	return true;
}

static void describe(struct scan *scan, const struct entry_seen *sight, uint8_t type,
		     struct entry *entry)
{
	*entry = (struct entry){
		.path = scan->path,
		.path_size = (uint16_t)scan->path_size,
		.type = type,
		.mode = type == ENTRY_SYMLINK ? 0777 : sight->mode & 07777,
		.uid = sight->uid,
		.gid = sight->gid,
		.owner = owner_user_name(sight->uid),
		.group = owner_group_name(sight->gid),
		.mtime_ns = sight->mtime_ns,
		.target = "",
	};
}

static int scan_file(struct scan *scan, int dir_fd, const char *name, struct entry_seen *sight)
{
	struct entry entry;
	struct statx before, after;
	int r;
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		if (errno == ENOENT || errno == ELOOP) {
			changed_meanwhile(scan);
			return 0;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			return fault_set(scan->fault, -errno, "cannot open %s", scan->path);
		problem(scan, "%s cannot be read: %s; give root access to it, or exclude it",
			scan->path, strerror(errno));
		return 0;
	}
	r = look(fd, "", &before);
	if (r == 0 && !S_ISREG(before.stx_mode)) {
		changed_meanwhile(scan);
		goto out;
	}
	if (r < 0)
		goto out;
	*sight = sight_of(&before);
	describe(scan, sight, ENTRY_FILE, &entry);
	if (before.stx_size > ENTRY_FILE_BYTES_MAX) {
		problem(scan, "%s is too large to be mirrored (%llu bytes): exclude it", scan->path,
			(unsigned long long)before.stx_size);
		goto out;
	}
	r = objects_add_fd(scan->options->objects, fd, ENTRY_FILE_BYTES_MAX, entry.hash,
			   &entry.size, scan->fault);
	if (r == -EIO || r == -EACCES || r == -EPERM) {
		problem(scan, "%s cannot be read: %s", scan->path, strerror(-r));
		r = 0;
		goto out;
	}
	if (r < 0)
		goto out;
	scan->result->files_read++;
	r = look(fd, "", &after);
	if (r < 0)
		goto out;

	struct entry_seen then = sight_of(&after);

	if (!entry_seen_equal(sight, &then) || entry.size != then.size) {
		changed_meanwhile(scan);
		*sight = then;
	}
	r = put(scan, &entry, sight);
out:
	close(fd);
	return r;
}

static int scan_link(struct scan *scan, int dir_fd, const char *name,
		     const struct entry_seen *sight)
{
	char target[ENTRY_PATH_BYTES_MAX + 1];
	struct entry entry;
	ssize_t n = readlinkat(dir_fd, name, target, sizeof target);

	if (n < 0 || (size_t)n >= sizeof target) {
		changed_meanwhile(scan);
		return 0;
	}
	target[n] = '\0';
	describe(scan, sight, ENTRY_SYMLINK, &entry);
	entry.target = target;
	entry.target_size = (uint16_t)n;
	return put(scan, &entry, sight);
}

/* The first entry whose path is not below that of size bytes and all before it. */
static size_t first_from(const struct tree *tree, const char *path, size_t size)
{
	size_t low = 0, high = tree->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct entry *entry = &tree->entries[middle];
		size_t both = entry->path_size < size ? entry->path_size : size;
		int order = memcmp(entry->path, path, both);

		if (order < 0 || (order == 0 && entry->path_size < size))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Takes over all that the last scan found below this directory, if that is still true. */
static bool keep_below(struct scan *scan, const struct entry_seen *sight, int *ret_r)
{
	const struct scan_options *options = scan->options;
	const struct tree *previous = options->previous;
	size_t size = scan->path_size;
	const struct entry *known;

	if (previous == NULL || options->may_differ == NULL || options->distrust ||
	    options->may_differ(options->may_differ_ctx, scan->path, size))
		return false;
	known = tree_find(previous, scan->path, size);
	if (known == NULL || known->type != ENTRY_DIR || known->seen.ino != sight->ino)
		return false;
	scan->path[size] = '/';
	size_t from = first_from(previous, scan->path, size + 1), to = from;

	while (to < previous->count && previous->entries[to].path_size > size + 1 &&
	       memcmp(previous->entries[to].path, scan->path, size + 1) == 0)
		if (previous->entries[to++].seen.ino == 0) {
			scan->path[size] = '\0';
			return false; /* too young then: to be looked at again */
		}
	scan->path[size] = '\0';
	*ret_r = 0;
	for (size_t i = from; i < to && *ret_r == 0; i++) {
		struct entry copy = previous->entries[i];

		*ret_r = put(scan, &copy, &previous->entries[i].seen);
	}
	scan->kept = to - from;
	scan->ignored = 0;
	return true;
}

static int scan_directory(struct scan *scan, int fd);

static int put_directory(struct scan *scan, const struct entry_seen *sight)
{
	struct entry entry;
	int r;

	if (keep_known(scan, sight, &r))
		return r;
	describe(scan, sight, ENTRY_DIR, &entry);
	return put(scan, &entry, sight);
}

static int scan_child_directory(struct scan *scan, int dir_fd, const char *name,
				const struct entry_seen *sight)
{
	size_t kept = scan->kept, ignored = scan->ignored;
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
			changed_meanwhile(scan);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			return fault_set(scan->fault, -errno, "cannot open %s", scan->path);
		else
			problem(scan,
				"%s cannot be read: %s; give root access to it, or exclude it",
				scan->path, strerror(errno));
		return 0;
	}
	scan->kept = scan->ignored = 0;
	if (keep_below(scan, sight, &r))
		close(fd);
	else
		r = scan_directory(scan, fd);
	/* A directory that was to go stays while something excluded is in it (R14). It must not
	 * come back as a new one of ours. */
	if (r == 0 && (scan->kept > 0 || scan->ignored == 0 || scan->options->previous == NULL ||
		       tree_find(scan->options->previous, scan->path, scan->path_size) != NULL)) {
		r = put_directory(scan, sight);
		kept++;
	}
	scan->kept += kept;
	scan->ignored += ignored;
	return r;
}

static int scan_one(struct scan *scan, int dir_fd, const char *name)
{
	struct entry_seen sight;
	struct statx stx;
	int r = look(dir_fd, name, &stx);

	if (r == -ENOENT) {
		changed_meanwhile(scan); /* it was listed a moment ago */
		return 0;
	}
	if (r < 0) {
		problem(scan, "%s cannot be looked at: %s", scan->path, strerror(-r));
		return 0;
	}
	if (ignore_entry(scan->options->ignore, scan->path, S_ISDIR(stx.stx_mode))) {
		scan->ignored++;
		return 0;
	}
	sight = sight_of(&stx);
	if (!S_ISDIR(stx.stx_mode)) {
		scan->kept++;
		if (keep_known(scan, &sight, &r))
			return r;
	}
	switch (stx.stx_mode & S_IFMT) {
	case S_IFREG:
		return scan_file(scan, dir_fd, name, &sight);
	case S_IFLNK:
		return scan_link(scan, dir_fd, name, &sight);
	case S_IFDIR:
		break;
	default:
		problem(scan, "%s is a %s and cannot be mirrored: exclude it, or move it away",
			scan->path,
			S_ISSOCK(stx.stx_mode)	 ? "socket"
			: S_ISFIFO(stx.stx_mode) ? "named pipe"
						 : "device");
		return 0;
	}
	return scan_child_directory(scan, dir_fd, name, &sight);
}

/* Takes over fd. */
static int scan_directory(struct scan *scan, int fd)
{
	DIR *dir = fdopendir(fd);
	size_t size = scan->path_size;
	int r = 0;

	if (dir == NULL) {
		r = -errno;
		close(fd);
		return r;
	}
	if (++scan->depth > ENTRY_DEPTH_MAX) {
		problem(scan, "%s lies too deep to be mirrored", scan->path);
		goto out;
	}
	for (struct dirent *d; r == 0 && (errno = 0, d = readdir(dir)) != NULL;) {
		size_t name_size = strlen(d->d_name);

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (size + 1 + name_size >= sizeof scan->path) {
			problem(scan, "%s/%s has too long a path to be mirrored", scan->path,
				d->d_name);
			continue;
		}
		scan->path[size] = '/';
		memcpy(scan->path + size + 1, d->d_name, name_size + 1);
		scan->path_size = size + 1 + name_size;
		r = scan_one(scan, dirfd(dir), d->d_name);
		scan->path[size] = '\0';
		scan->path_size = size;
	}
	if (r == 0 && errno != 0)
		r = fault_set(scan->fault, -errno, "cannot list %s", scan->path);
out:
	scan->depth--;
	closedir(dir);
	return r;
}

static int scan_path(struct scan *scan, const char *path)
{
	struct statx stx;
	struct entry_seen sight;
	int r = look(AT_FDCWD, path, &stx);

	scan->path_size = strlen(path);
	assert(scan->path_size < sizeof scan->path);
	memcpy(scan->path, path, scan->path_size + 1);
	scan->depth = 0;
	for (const char *c = path; *c; c++)
		scan->depth += *c == '/';
	if (r == -ENOENT) {
		scan->result->paths_missing++;
		return 0;
	}
	if (r < 0)
		return fault_set(scan->fault, r, "cannot look at %s", path);
	if (!S_ISDIR(stx.stx_mode)) {
		problem(scan,
			"%s is not a directory: `paths` names directories, and a symbolic link to "
			"one "
			"is to be replaced by its target",
			path);
		return 0;
	}
	sight = sight_of(&stx);
	r = put_directory(scan, &sight);
	if (r < 0)
		return r;

	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return fault_set(scan->fault, -errno, "cannot open %s", path);
	return scan_directory(scan, fd);
}

int scan_run(const struct scan_options *options, struct scan_result *ret_result,
	     struct fault *fault)
{
	struct scan *scan = calloc(1, sizeof *scan);
	struct timespec now;
	const struct entry *bad = NULL;
	int r = -ENOMEM;

	memset(ret_result, 0, sizeof *ret_result);
	if (scan == NULL)
		return fault_set(fault, -ENOMEM, "cannot scan");
	scan->options = options;
	scan->result = ret_result;
	scan->fault = fault;
	ret_result->tree = tree_new();
	scan->digest = EVP_MD_CTX_new();
	if (ret_result->tree == NULL || scan->digest == NULL) {
		fault_set(fault, r, "cannot scan");
		goto out;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	scan->started_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
	for (int i = 0; i < options->paths_count; i++) {
		r = scan_path(scan, options->paths[i]);
		if (r < 0)
			goto out;
	}
	r = tree_seal(ret_result->tree, &bad);
	if (r > 0) {
		/* A directory that was refused takes what is below it along: the problem has been
		 * named; what is left is not a tree. */
		if (ret_result->problems_count == 0)
			problem(scan, "%s cannot be mirrored: %s", bad ? bad->path : "a path",
				entry_verdict_text((enum entry_verdict)r));
		tree_free(ret_result->tree);
		ret_result->tree = tree_new();
		r = ret_result->tree ? tree_seal(ret_result->tree, NULL) : -ENOMEM;
	}
	if (r < 0)
		fault_set(fault, r, "cannot scan");
out:
	EVP_MD_CTX_free(scan->digest);
	free(scan);
	if (r < 0)
		scan_result_release(ret_result);
	return r;
}

void scan_result_release(struct scan_result *result)
{
	result->tree = tree_free(result->tree);
}
