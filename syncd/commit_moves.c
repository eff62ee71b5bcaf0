/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at the two places of an operation, and moving what stands there. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "syncd/commit_private.h"
#include "syncd/owner.h"

/* An editor that saves faster than two renames follow each other, for so many times in a row, is
 * not an editor. */
#define EXCHANGES_MAX 1000
#define MADE_NAME "made"

/* ---- places ---- */

static bool is_put(enum plan_kind kind)
{
	return kind == PLAN_CREATE || kind == PLAN_REPLACE;
}

void commit_place_open(struct stage *stage, size_t op, struct commit_place *ret_place)
{
	struct stage_place at = stage_place_of(stage, op);
	struct commit_place place = {.op = &stage->ops[op],
				     .root = at.root,
				     .relative = at.relative,
				     .kept_fd = -ENOENT};
	place.live_fd = stage_open_parent(at.root->fd, at.relative, &place.live_name);
	if (is_put(place.op->kind))
		place.kept_fd = stage_open_parent(at.root->new_fd, at.relative, &place.kept_name);
	else if (place.op->kind == PLAN_REMOVE)
		place.kept_fd = stage_open_parent(at.root->old_fd, at.relative, &place.kept_name);
	*ret_place = place;
}

void commit_place_close(struct commit_place *place)
{
	if (place->live_fd >= 0)
		close(place->live_fd);
	if (place->kept_fd >= 0)
		close(place->kept_fd);
}

int commit_place_make_kept(struct stage *stage, struct commit_place *place, struct fault *fault)
{
	int top = is_put(place->op->kind) ? place->root->new_fd : place->root->old_fd;
	if (place->kept_fd >= 0)
		return 0;
	int rc = stage_make_parents(stage, place->root, top, place->relative, false, fault);
	if (rc < 0)
		return rc;
	place->kept_fd = stage_open_parent(top, place->relative, &place->kept_name);
	return place->kept_fd < 0 ? fault_set(fault, place->kept_fd, "%s: cannot open its stage",
					      plan_op_entry(place->op)->path)
				  : 0;
}

/* ---- looking ---- */

struct numbers {
	uint32_t uid, gid, mode;
};

/* What the entry's owner and mode are as numbers here: for what was live, as it was seen, since its
 * name may lead nowhere; for what is to come, as it was staged. */
static struct numbers numbers_of(const struct entry *entry, bool was_live)
{
	if (was_live && entry->seen.ino != 0)
		return (struct numbers){entry->seen.uid, entry->seen.gid, entry->seen.mode & 07777};
	return (struct numbers){owner_uid(entry, NULL), owner_gid(entry, NULL), entry->mode};
}

static bool attrs_match(struct numbers n, const struct stat *st)
{
	return st->st_uid == n.uid && st->st_gid == n.gid && (st->st_mode & 07777) == n.mode;
}

/* The content of what stands there, read at most once for both comparisons. */
struct content {
	int dirfd;
	const char *name;
	bool read;
	uint8_t hash[ENTRY_HASH_BYTES];
};

static int content_matches(struct content *content, const struct entry *entry)
{
	if (!content->read) {
		int fd = openat(content->dirfd, content->name,
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			return errno == ENOENT || errno == ELOOP ? 0 : -errno;
		int rc = objects_hash_fd(fd, UINT64_MAX, content->hash, NULL);
		close(fd);
		if (rc < 0)
			return rc;
		content->read = true;
	}
	return memcmp(content->hash, entry->hash, ENTRY_HASH_BYTES) == 0;
}

static int link_matches(int dirfd, const char *name, const struct entry *entry)
{
	char target[ENTRY_PATH_BYTES_MAX + 2];
	ssize_t size = readlinkat(dirfd, name, target, sizeof target);
	if (size < 0)
		return errno == ENOENT || errno == EINVAL ? 0 : -errno;
	return (size_t)size == entry->target_size &&
	       memcmp(target, entry->target, (size_t)size) == 0;
}

/* 1 if what stands there is the entry, 0 if not, or a negative errno. */
static int matches(const struct entry *entry, bool was_live, const struct stat *st,
		   struct content *content)
{
	if (!entry)
		return 0;
	struct numbers n = numbers_of(entry, was_live);
	switch (entry->type) {
	case ENTRY_DIR:
		return S_ISDIR(st->st_mode) && attrs_match(n, st);
	case ENTRY_FILE:
		if (!S_ISREG(st->st_mode) || (uint64_t)st->st_size != entry->size ||
		    !attrs_match(n, st))
			return 0;
		return content_matches(content, entry);
	case ENTRY_SYMLINK:
		/* A link's mode says nothing, and differs between file systems. */
		if (!S_ISLNK(st->st_mode) || st->st_uid != n.uid || st->st_gid != n.gid)
			return 0;
		return link_matches(content->dirfd, content->name, entry);
	default:
		assert(!"R3: an entry without a type");
		return 0;
	}
}

/* Between chown and chmod a crash leaves a part of each. Everything in it stems from one of the
 * two, so that the change is still to be made, in whichever direction. */
static bool is_between(const struct entry *from, const struct entry *to, const struct stat *st)
{
	struct numbers a = numbers_of(from, true), b = numbers_of(to, false);
	uint32_t mode = st->st_mode & 07777;
	return S_ISDIR(st->st_mode) && (st->st_uid == a.uid || st->st_uid == b.uid) &&
	       (st->st_gid == a.gid || st->st_gid == b.gid) && (mode == a.mode || mode == b.mode);
}

static int look(int dirfd, const char *name, const struct plan_op *op,
		enum journal_direction direction, enum journal_sight *ret_sight)
{
	struct stat st;
	struct content content = {.dirfd = dirfd, .name = name};
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return -errno;
		*ret_sight = JOURNAL_ABSENT;
		return 0;
	}
	/* A directory that is to be made and is there already, with something in it that no
	 * manifest names, becomes ours: its attributes are set when its turn is over. */
	if (op->kind == PLAN_MAKE_DIR && S_ISDIR(st.st_mode)) {
		*ret_sight = JOURNAL_NEW;
		return 0;
	}
	int rc = matches(op->to, false, &st, &content);
	if (rc == 1)
		*ret_sight = JOURNAL_NEW;
	if (rc == 0) {
		rc = matches(op->from, true, &st, &content);
		*ret_sight = rc == 1 ? JOURNAL_OLD : JOURNAL_OTHER;
	}
	if (rc == 0 && op->kind == PLAN_ATTRS && is_between(op->from, op->to, &st))
		*ret_sight = direction == JOURNAL_FORWARD ? JOURNAL_OLD : JOURNAL_NEW;
	return rc < 0 ? rc : 0;
}

int commit_look_live(const struct commit_place *place, enum journal_direction direction,
		     enum journal_sight *ret_sight)
{
	if (place->live_fd >= 0)
		return look(place->live_fd, place->live_name, place->op, direction, ret_sight);
	switch (place->live_fd) {
	case -ENOENT:
		*ret_sight = JOURNAL_ABSENT;
		return 0;
	case -ENOTDIR:
	case -ELOOP:
	case -EXDEV:
		/* Its directory has become something else: somebody's edit, and the path with it.
		 */
		*ret_sight = JOURNAL_OTHER;
		return 0;
	default:
		return place->live_fd;
	}
}

int commit_look_kept(const struct commit_place *place, enum journal_sight *ret_sight)
{
	if (place->kept_fd == -ENOENT || place->kept_fd == -ENOTDIR) {
		*ret_sight = JOURNAL_ABSENT;
		return 0;
	}
	if (place->kept_fd < 0)
		return place->kept_fd;
	return look(place->kept_fd, place->kept_name, place->op, JOURNAL_FORWARD, ret_sight);
}

int commit_see(const struct commit_place *place, struct entry_seen *ret_seen)
{
	struct stat st;
	if (place->live_fd < 0)
		return place->live_fd;
	if (fstatat(place->live_fd, place->live_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ret_seen = (struct entry_seen){
		.ino = st.st_ino,
		.ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
		.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
		.size = (uint64_t)st.st_size,
		.mode = st.st_mode,
		.uid = st.st_uid,
		.gid = st.st_gid,
	};
	return 0;
}

/* ---- moving ---- */

static int failed(struct fault *fault, int rc, const struct commit_place *place, const char *what)
{
	return fault_set(fault, rc, "%s: cannot %s it", plan_op_entry(place->op)->path, what);
}

/* Something stands where nothing should, or nothing where something should, or what leads there is
 * a link or a mount now: in each case somebody's edit, and it has not been touched. */
static bool is_in_the_way(int rc)
{
	return rc == -EEXIST || rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP || rc == -EXDEV;
}

/* A name that leads nowhere is no way back to the owner that a directory had: the numbers count. */
static int dress_dir(int fd, const struct entry *entry, bool was_live)
{
	struct numbers n = numbers_of(entry, was_live);
	struct entry plain = *entry;
	plain.owner = plain.group = "";
	plain.uid = n.uid;
	plain.gid = n.gid;
	plain.mode = n.mode;
	return stage_set_attrs(fd, &plain);
}

static int set_dir_attrs(const struct commit_place *place, const struct entry *entry, bool was_live)
{
	int fd = stage_openat(place->root->fd, place->relative, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	int rc = dress_dir(fd, entry, was_live);
	close(fd);
	return rc;
}

int commit_adopt_dir(const struct commit_place *place, struct fault *fault)
{
	int rc = set_dir_attrs(place, place->op->to, false);
	return rc < 0 ? failed(fault, rc, place, "change") : 0;
}

/* A directory appears with its owner and mode, or not at all. */
static int make_dir(const struct commit_place *place, const struct entry *entry, bool was_live,
		    struct fault *fault)
{
	int id_fd = place->root->id_fd;
	if (is_in_the_way(place->live_fd))
		return COMMIT_MOVED_EDIT;
	if (place->live_fd < 0)
		return failed(fault, place->live_fd, place, "make");
	if (mkdirat(id_fd, MADE_NAME, 0700) < 0 && errno != EEXIST)
		return failed(fault, -errno, place, "make");
	int fd = stage_openat(id_fd, MADE_NAME, O_PATH | O_DIRECTORY, 0);
	int rc = fd < 0 ? fd : dress_dir(fd, entry, was_live);
	if (fd >= 0)
		close(fd);
	if (rc == 0 &&
	    renameat2(id_fd, MADE_NAME, place->live_fd, place->live_name, RENAME_NOREPLACE) < 0)
		rc = -errno;
	if (rc == -EEXIST) {
		enum journal_sight sight;
		(void)unlinkat(id_fd, MADE_NAME, AT_REMOVEDIR);
		rc = commit_look_live(place, JOURNAL_FORWARD, &sight);
		/* A directory is as good as ours; another thing is an edit. */
		bool making = place->op->kind == PLAN_MAKE_DIR;
		if (rc == 0 && sight != (making ? JOURNAL_NEW : JOURNAL_OLD))
			return COMMIT_MOVED_EDIT;
		if (rc == 0 && making)
			return commit_adopt_dir(place, fault);
	}
	return rc < 0 ? failed(fault, rc, place, "make") : COMMIT_MOVED;
}

static int remove_dir(const struct commit_place *place, bool makes_room, struct fault *fault)
{
	/* A mirror's path itself is never removed: the next generation may want to live there. */
	if (strcmp(place->live_name, ".") == 0)
		return COMMIT_MOVED_LEFT;
	if (place->live_fd == -ENOENT)
		return COMMIT_MOVED;
	if (is_in_the_way(place->live_fd))
		return COMMIT_MOVED_EDIT;
	if (place->live_fd < 0)
		return failed(fault, place->live_fd, place, "remove");
	if (unlinkat(place->live_fd, place->live_name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return COMMIT_MOVED;
	switch (errno) {
	case ENOTEMPTY:
	case EEXIST:
	case EBUSY: /* a mount point */
		/* R14. Where it is in the way of another type there is no going on. */
		return makes_room ? COMMIT_MOVED_EDIT : COMMIT_MOVED_LEFT;
	case ENOTDIR:
		return COMMIT_MOVED_EDIT;
	default:
		return failed(fault, -errno, place, "remove");
	}
}

static int exchange(const struct commit_place *place)
{
	if (place->live_fd < 0)
		return place->live_fd;
	if (place->kept_fd < 0)
		return place->kept_fd;
	return renameat2(place->kept_fd, place->kept_name, place->live_fd, place->live_name,
			 RENAME_EXCHANGE) < 0
		       ? -errno
		       : 0;
}

/* into_live: from the stage to the live path, or the other way; nothing is ever overwritten. */
static int move_one_way(const struct commit_place *place, bool into_live)
{
	if (place->live_fd < 0)
		return place->live_fd;
	if (place->kept_fd < 0)
		return place->kept_fd;
	int rc = into_live ? renameat2(place->kept_fd, place->kept_name, place->live_fd,
				       place->live_name, RENAME_NOREPLACE)
			   : renameat2(place->live_fd, place->live_name, place->kept_fd,
				       place->kept_name, RENAME_NOREPLACE);
	return rc < 0 ? -errno : 0;
}

int commit_move(struct stage *stage, struct commit_place *place, enum journal_direction direction,
		struct fault *fault)
{
	const struct plan_op *op = place->op;
	bool forward = direction == JOURNAL_FORWARD;
	int rc;
	switch (op->kind) {
	case PLAN_MAKE_DIR:
		return forward ? make_dir(place, op->to, false, fault)
			       : remove_dir(place, false, fault);
	case PLAN_REMOVE_DIR:
		return forward ? remove_dir(place, op->to != NULL, fault)
			       : make_dir(place, op->from, true, fault);
	case PLAN_ATTRS:
		rc = set_dir_attrs(place, forward ? op->to : op->from, !forward);
		if (is_in_the_way(rc))
			return COMMIT_MOVED_EDIT;
		return rc < 0 ? failed(fault, rc, place, "change") : COMMIT_MOVED;
	case PLAN_CREATE:
		rc = move_one_way(place, forward);
		break;
	case PLAN_REPLACE:
		rc = exchange(place);
		break;
	case PLAN_REMOVE:
		rc = commit_place_make_kept(stage, place, fault);
		if (rc < 0)
			return rc;
		rc = move_one_way(place, !forward);
		/* Somebody else has removed it: no other edit could be less in the way. */
		if (rc == -ENOENT && forward)
			return COMMIT_MOVED;
		break;
	case PLAN_KINDS:
	default:
		assert(!"no such operation");
		return -EINVAL;
	}
	if (is_in_the_way(rc))
		return COMMIT_MOVED_EDIT;
	return rc < 0 ? failed(fault, rc, place, "move") : COMMIT_MOVED;
}

/* ---- moving with a look at what came out (R10) ---- */

/* Who a file is, however often it is renamed. An edit in place changes its mtime or its size, or is
 * caught by its content. */
struct identity {
	ino_t ino;
	off_t size;
	struct timespec mtime;
};

static int identify(int dirfd, const char *name, struct identity *ret)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ret = (struct identity){st.st_ino, st.st_size, st.st_mtim};
	return 0;
}

static bool is_same(const struct identity *a, const struct identity *b)
{
	return a->ino == b->ino && a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
	       a->mtime.tv_nsec == b->mtime.tv_nsec;
}

/* An exchange has brought out an edit. It goes live again, and whatever comes out then, unless it
 * is the very thing that had been put there, is a later edit still: it goes live in turn. What had
 * been put there is known from before the exchange and never asked of the live path afterwards: who
 * answers there may be that later edit, which would be taken away for the earlier one. */
static int settle_exchange(struct commit_place *place, enum journal_sight put_there,
			   struct fault *fault)
{
	struct identity put = {0}, next = {0}, out = {0};
	enum journal_sight live;
	int rc = identify(place->live_fd, place->live_name, &put);
	if (rc == 0)
		rc = commit_look_live(place, JOURNAL_FORWARD, &live);
	/* Saved, or removed, once more already: that is live, and ours, in the stage, is rescued.
	 */
	if (rc == -ENOENT || (rc == 0 && live != put_there))
		return COMMIT_MOVED_EDIT;
	for (int i = 0; rc == 0 && i < EXCHANGES_MAX; i++) {
		rc = identify(place->kept_fd, place->kept_name, &next);
		if (rc == 0 && (rc = exchange(place)) == -ENOENT)
			return COMMIT_MOVED_EDIT;
		if (rc == 0)
			rc = identify(place->kept_fd, place->kept_name, &out);
		if (rc == 0 && is_same(&put, &out))
			return COMMIT_MOVED_EDIT;
		put = next;
	}
	return failed(fault, rc < 0 ? rc : -EBUSY, place, "exchange");
}

int commit_return(struct commit_place *place, enum journal_sight put_there, struct fault *fault)
{
	if (place->op->kind == PLAN_REPLACE)
		return settle_exchange(place, put_there, fault);
	int rc = move_one_way(place, true);
	/* Saved once more meanwhile: that edit is the live one. */
	if (rc < 0 && rc != -EEXIST)
		return failed(fault, rc, place, "put back");
	return COMMIT_MOVED_EDIT;
}

int commit_move_checked(struct stage *stage, struct commit_place *place,
			enum journal_direction direction, struct fault *fault)
{
	bool forward = direction == JOURNAL_FORWARD;
	enum journal_sight expected = forward ? JOURNAL_OLD : JOURNAL_NEW, out;
	int rc = commit_move(stage, place, direction, fault);
	if (rc != COMMIT_MOVED)
		return rc;
	bool displaces = place->op->kind == PLAN_REPLACE ||
			 (place->op->kind == PLAN_REMOVE && forward) ||
			 (place->op->kind == PLAN_CREATE && !forward);
	if (!displaces)
		return rc;
	rc = commit_look_kept(place, &out);
	if (rc < 0)
		return failed(fault, rc, place, "read");
	/* A removal of what somebody else has removed brings out nothing. */
	if (out == expected || out == JOURNAL_ABSENT)
		return COMMIT_MOVED;
	return commit_return(place, forward ? JOURNAL_NEW : JOURNAL_OLD, fault);
}

/* ---- the rare ones ---- */

int commit_rescue(struct stage *stage, struct commit_place *place,
		  uint8_t ret_hash[ENTRY_HASH_BYTES], struct fault *fault)
{
	char target[ENTRY_PATH_BYTES_MAX + 1];
	ssize_t size = readlinkat(place->kept_fd, place->kept_name, target, sizeof target);
	int rc;
	if (size >= 0) {
		rc = objects_add_memory(stage->options.objects, target, (size_t)size, ret_hash,
					fault);
	} else {
		int fd = openat(place->kept_fd, place->kept_name,
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			return failed(fault, -errno, place, "rescue an edit of");
		rc = objects_add_fd(stage->options.objects, fd, UINT64_MAX, ret_hash, NULL, fault);
		close(fd);
	}
	return rc == 0 ? objects_sync(stage->options.objects, fault) : rc;
}

int commit_restage(struct stage *stage, struct commit_place *place,
		   enum journal_direction direction, struct fault *fault)
{
	const struct plan_op *op = place->op;
	const struct entry *entry = direction == JOURNAL_FORWARD ? op->to : op->from;
	assert(op->kind == PLAN_REPLACE || op->kind == PLAN_CREATE);
	assert(entry && entry->type != ENTRY_DIR);
	int rc = commit_place_make_kept(stage, place, fault);
	if (rc == 0)
		rc = stage_put(stage, place->root->new_fd, place->relative, entry, fault);
	if (rc == 0 && entry->type == ENTRY_FILE) {
		rc = stage_sync_file(place->root->new_fd, place->relative);
		if (rc < 0)
			fault_set(fault, rc, "%s: cannot make it durable", entry->path);
	}
	return rc;
}
