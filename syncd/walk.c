/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/walk.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "shared/wire.h"

/* A peer that answers for ever is not listened to for ever. */
#define ANSWERS_MAX 100000

/* What a directory's own hash leaves to its parent: all that a reader of the tree can see of this
 * entry (entry_equal), and for a directory what is below it. */
static void hash_of(const struct entry *entry, uint8_t ret_hash[SESSION_HASH_BYTES])
{
	uint8_t bytes[ENTRY_ENCODED_BYTES_MAX + ENTRY_HASH_BYTES];
	struct entry plain = *entry;
	struct wire_writer w;

	plain.path = "/";
	plain.path_size = 1;
	plain.mtime_ns = 0;
	if (plain.owner[0])
		plain.uid = 0;
	if (plain.group[0])
		plain.gid = 0;
	wire_writer_init(&w, bytes, sizeof(bytes));
	entry_encode(&w, &plain);
	wire_put_bytes(&w, entry->hash, ENTRY_HASH_BYTES);
	SHA256(bytes, w.at, ret_hash);
}

static enum session_walk_type type_of(const struct entry *entry)
{
	switch (entry->type) {
	case ENTRY_DIR:
		return SESSION_WALK_DIR;
	case ENTRY_SYMLINK:
		return SESSION_WALK_SYMLINK;
	default:
		return SESSION_WALK_FILE;
	}
}

/* The roots are named by their whole path, everything else by its last component. */
static struct session_string name_of(const struct entry *entry, bool root)
{
	size_t at = root ? 0 : entry_path_parent(entry->path, entry->path_size) + 1;

	return (struct session_string){entry->path + at, entry->path_size - at};
}

static int compare_names(struct session_string a, struct session_string b)
{
	return entry_path_compare(a.bytes, a.size, b.bytes, b.size);
}

void walk_answer(const struct tree *tree, const struct session_walk_ask *ask, uint8_t *bytes,
		 size_t room, struct session_frame *ret_frame)
{
	struct session_walk_answer *answer = &ret_frame->walk_answer;
	const struct entry *child;
	size_t at = 0;

	memset(ret_frame, 0, sizeof(*ret_frame));
	ret_frame->type = SESSION_WALK_ANSWER;
	answer->walk = ask->walk;
	answer->path = ask->path;
	answer->bytes = bytes;
	if (room > SESSION_CHUNK_BYTES_MAX - ask->path.size)
		room = SESSION_CHUNK_BYTES_MAX - ask->path.size;
	while ((child = tree_child_next(tree, ask->path.bytes, ask->path.size, &at))) {
		struct session_walk_entry entry = {.type = type_of(child),
						   .name = name_of(child, ask->path.size == 0)};

		if (ask->after.size > 0 && compare_names(entry.name, ask->after) <= 0)
			continue;
		hash_of(child, entry.hash);
		if (answer->count == UINT16_MAX ||
		    !session_walk_put(bytes, room, &answer->size, &entry)) {
			answer->more = true;
			break;
		}
		answer->count++;
	}
}

struct walk {
	struct tree *tree;
	char *questions[WALK_QUESTIONS_MAX]; /* the last one is out */
	int questions_count;
	char *after; /* of the question that is out; NULL: from the start */
	bool found;  /* something differed in it */
	int answers;
	char *paths[WALK_PATHS_MAX];
	size_t paths_count, total;
};

int walk_new(struct tree *tree, struct walk **ret_walk)
{
	struct walk *walk = calloc(1, sizeof(*walk));

	if (!walk)
		return -ENOMEM;
	walk->questions[0] = strdup("");
	if (!walk->questions[0]) {
		free(walk);
		return -ENOMEM;
	}
	walk->questions_count = 1;
	walk->tree = tree_ref(tree);
	*ret_walk = walk;
	return 0;
}

struct walk *walk_free(struct walk *walk)
{
	if (!walk)
		return NULL;
	tree_free(walk->tree);
	for (int i = 0; i < walk->questions_count; i++)
		free(walk->questions[i]);
	for (size_t i = 0; i < walk->paths_count; i++)
		free(walk->paths[i]);
	free(walk->after);
	free(walk);
	return NULL;
}

bool walk_question(const struct walk *walk, struct session_string *ret_path,
		   struct session_string *ret_after)
{
	const char *path;

	if (walk->questions_count == 0)
		return false;
	path = walk->questions[walk->questions_count - 1];
	*ret_path = (struct session_string){path, strlen(path)};
	*ret_after = (struct session_string){walk->after, walk->after ? strlen(walk->after) : 0};
	return true;
}

/* dir "" : name is a whole path. NULL: no memory, or longer than a path may be. */
static char *join(const char *dir, struct session_string name)
{
	size_t dir_size = strlen(dir), slash = dir_size > 0 ? 1 : 0;
	char *path;

	if (dir_size + slash + name.size > ENTRY_PATH_BYTES_MAX)
		return NULL;
	path = malloc(dir_size + slash + name.size + 1);
	if (!path)
		return NULL;
	memcpy(path, dir, dir_size);
	if (slash)
		path[dir_size] = '/';
	memcpy(path + dir_size + slash, name.bytes, name.size);
	path[dir_size + slash + name.size] = '\0';
	return path;
}

static void differs(struct walk *walk, char *path)
{
	walk->total++;
	if (path && walk->paths_count < WALK_PATHS_MAX)
		walk->paths[walk->paths_count++] = path;
	else
		free(path);
}

struct questions {
	char *paths[WALK_QUESTIONS_MAX];
	int count;
};

/* Both have it, and not alike. */
static void compare(struct walk *walk, const char *dir, const struct entry *own,
		    const struct session_walk_entry *theirs, struct questions *more)
{
	uint8_t hash[SESSION_HASH_BYTES];
	char *path;

	hash_of(own, hash);
	if (theirs->type == type_of(own) && memcmp(hash, theirs->hash, SESSION_HASH_BYTES) == 0)
		return;
	walk->found = true;
	path = join(dir, theirs->name);
	if (path && own->type == ENTRY_DIR && theirs->type == SESSION_WALK_DIR &&
	    walk->questions_count + more->count < WALK_QUESTIONS_MAX)
		more->paths[more->count++] = path;
	else
		differs(walk, path);
}

/* Compares their names with ours from after on; ours past the last of theirs are left for the next
 * answer if there is one. */
static int compare_all(struct walk *walk, const char *dir, const struct session_walk_answer *answer,
		       struct questions *more)
{
	struct session_string last = {walk->after, walk->after ? strlen(walk->after) : 0};
	struct session_walk_entry theirs;
	bool root = dir[0] == '\0', have;
	const struct entry *own;
	size_t own_at = 0, at = 0;

	own = tree_child_next(walk->tree, dir, strlen(dir), &own_at);
	while (own && last.size > 0 && compare_names(name_of(own, root), last) <= 0)
		own = tree_child_next(walk->tree, dir, strlen(dir), &own_at);
	have = session_walk_next(answer, &at, &theirs);
	while (have || (own && !answer->more)) {
		int order = !own ? 1 : !have ? -1 : compare_names(name_of(own, root), theirs.name);

		if (have && ((last.size > 0 && compare_names(theirs.name, last) <= 0) ||
			     (!root && memchr(theirs.name.bytes, '/', theirs.name.size))))
			return -EBADMSG;
		if (order < 0) {
			walk->found = true;
			differs(walk, join(dir, name_of(own, root)));
		} else if (order > 0) {
			walk->found = true;
			differs(walk, join(dir, theirs.name));
		} else {
			compare(walk, dir, own, &theirs, more);
		}
		if (order <= 0)
			own = tree_child_next(walk->tree, dir, strlen(dir), &own_at);
		if (order >= 0) {
			last = theirs.name;
			have = session_walk_next(answer, &at, &theirs);
		}
	}
	if (!answer->more)
		return 0;
	free(walk->after);
	walk->after = strndup(last.bytes, last.size);
	return walk->after ? 0 : -ENOMEM;
}

int walk_take(struct walk *walk, const struct session_walk_answer *answer)
{
	struct questions *more;
	char *dir;
	int rc;

	if (walk->questions_count == 0 || ++walk->answers > ANSWERS_MAX)
		return -EBADMSG;
	dir = walk->questions[walk->questions_count - 1];
	if (answer->path.size != strlen(dir) ||
	    memcmp(answer->path.bytes, dir, answer->path.size) != 0)
		return -EBADMSG;
	more = calloc(1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	rc = compare_all(walk, dir, answer, more);
	/* The directory stays the one in question until all of it has come: new questions go
	 * below it. */
	if (rc == 0 && !answer->more) {
		walk->questions_count--;
		free(walk->after);
		walk->after = NULL;
		/* All that is in it is alike: then it is its own owner or mode. */
		if (!walk->found && dir[0] != '\0')
			differs(walk, dir);
		else
			free(dir);
		walk->found = false;
		dir = NULL;
	}
	for (int i = 0; i < more->count; i++) {
		if (dir) {
			walk->questions[walk->questions_count] =
				walk->questions[walk->questions_count - 1];
			walk->questions[walk->questions_count - 1] = more->paths[i];
		} else {
			walk->questions[walk->questions_count] = more->paths[i];
		}
		walk->questions_count++;
	}
	free(more);
	return rc;
}

const char *const *walk_paths(const struct walk *walk, size_t *ret_count, size_t *ret_total)
{
	*ret_count = walk->paths_count;
	*ret_total = walk->total;
	return (const char *const *)walk->paths;
}
