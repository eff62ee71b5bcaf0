/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/tree.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define ENCODING_VERSION 1
#define ARENA_CHUNK_BYTES (64 * 1024)

/* Strings are only ever added, and go all at once. */
struct tree_arena {
	struct tree_arena *next;
	size_t used, room;
	char bytes[];
};

static char *arena_take(struct tree *tree, const char *text, size_t size)
{
	struct tree_arena *chunk = tree->arena;
	if (!chunk || chunk->room - chunk->used < size + 1) {
		size_t room = size + 1 > ARENA_CHUNK_BYTES ? size + 1 : ARENA_CHUNK_BYTES;
		/* A small tree (a scan of one directory) should not cost a large chunk. */
		if (!tree->arena && size + 1 <= 4096)
			room = 4096;
		chunk = malloc(sizeof *chunk + room);
		if (!chunk)
			return NULL;
		chunk->next = tree->arena;
		chunk->used = 0;
		chunk->room = room;
		tree->arena = chunk;
	}
	char *to = chunk->bytes + chunk->used;
	if (size)
		memcpy(to, text, size);
	to[size] = '\0';
	chunk->used += size + 1;
	return to;
}

struct tree *tree_new(void)
{
	struct tree *tree = calloc(1, sizeof *tree);
	if (tree)
		tree->refs = 1;
	return tree;
}

struct tree *tree_ref(struct tree *tree)
{
	assert(tree->refs > 0);
	tree->refs++;
	return tree;
}

struct tree *tree_free(struct tree *tree)
{
	if (!tree || --tree->refs > 0)
		return NULL;
	while (tree->arena) {
		struct tree_arena *next = tree->arena->next;
		free(tree->arena);
		tree->arena = next;
	}
	free(tree->entries);
	free(tree);
	return NULL;
}

static size_t encoded_size(const struct entry *entry)
{
	size_t size = 1 + 2 + (size_t)entry->path_size + 4 + 4 + 4 + 2 + strlen(entry->owner) + 2 +
		      strlen(entry->group) + 8;
	if (entry->type == ENTRY_FILE)
		size += 8 + ENTRY_HASH_BYTES;
	else if (entry->type == ENTRY_SYMLINK)
		size += 2 + (size_t)entry->target_size;
	return size;
}

/* Most files of a mirror have the owner of their neighbour. */
static const char *take_owner(struct tree *tree, const char *name, const char *neighbour)
{
	if (name[0] == '\0')
		return "";
	if (neighbour && strcmp(name, neighbour) == 0)
		return neighbour;
	return arena_take(tree, name, strlen(name));
}

int tree_add(struct tree *tree, const struct entry *entry)
{
	assert(!tree->sealed);
	/* R3: nothing that is not well-formed gets in, from a peer or from the disk. */
	enum entry_verdict verdict = entry_check(entry);
	if (verdict != ENTRY_OK)
		return (int)verdict;
	if (tree->count >= TREE_ENTRIES_MAX)
		return ENTRY_TOO_MANY;
	size_t bytes = encoded_size(entry);
	if (tree->string_bytes + bytes > TREE_ENCODED_BYTES_MAX - 5)
		return ENTRY_TOO_LARGE;
	if (tree->count == tree->room) {
		size_t room = tree->room ? 2 * tree->room : 64;
		struct entry *entries = realloc(tree->entries, room * sizeof *entries);
		if (!entries)
			return -ENOMEM;
		tree->entries = entries;
		tree->room = room;
	}
	const struct entry *neighbour = tree->count ? &tree->entries[tree->count - 1] : NULL;
	struct entry copy = *entry;
	copy.path = arena_take(tree, entry->path, entry->path_size);
	copy.owner = take_owner(tree, entry->owner, neighbour ? neighbour->owner : NULL);
	copy.group = take_owner(tree, entry->group, neighbour ? neighbour->group : NULL);
	copy.target = entry->target_size ? arena_take(tree, entry->target, entry->target_size) : "";
	if (!copy.path || !copy.owner || !copy.group || !copy.target)
		return -ENOMEM;
	if (copy.type != ENTRY_FILE)
		memset(copy.hash, 0, sizeof copy.hash);
	tree->entries[tree->count++] = copy;
	tree->string_bytes += bytes;
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	return entry_path_compare(x->path, x->path_size, y->path, y->path_size);
}

/* ---- the hash (R1) ---- */

struct hasher {
	EVP_MD_CTX *levels[ENTRY_DEPTH_MAX + 2]; /* one for each directory that is open */
	bool failed;
};

static void hash_bytes(struct hasher *h, EVP_MD_CTX *level, const void *bytes, size_t size)
{
	if (!h->failed && EVP_DigestUpdate(level, bytes, size) != 1)
		h->failed = true;
}

static void hash_owner(struct hasher *h, EVP_MD_CTX *level, const char *name, uint32_t number)
{
	uint8_t head[5] = {name[0] == '\0', (uint8_t)(number >> 24), (uint8_t)(number >> 16),
			   (uint8_t)(number >> 8), (uint8_t)number};
	if (name[0] == '\0')
		hash_bytes(h, level, head, 5);
	else {
		hash_bytes(h, level, head, 1);
		hash_bytes(h, level, name, strlen(name) + 1);
	}
}

static EVP_MD_CTX *open_level(struct hasher *h, size_t depth, const char *label)
{
	assert(depth < ENTRY_DEPTH_MAX + 2);
	if (!h->levels[depth])
		h->levels[depth] = EVP_MD_CTX_new();
	if (!h->levels[depth] || EVP_DigestInit_ex(h->levels[depth], EVP_sha256(), NULL) != 1)
		h->failed = true;
	else
		hash_bytes(h, h->levels[depth], label, strlen(label) + 1);
	return h->levels[depth];
}

static void close_level(struct hasher *h, size_t depth, uint8_t ret_hash[ENTRY_HASH_BYTES])
{
	unsigned size = ENTRY_HASH_BYTES;
	if (!h->failed && EVP_DigestFinal_ex(h->levels[depth], ret_hash, &size) != 1)
		h->failed = true;
}

/* What a directory's hash says of one thing in it: everything that entry_equal() looks at. */
static void hash_record(struct hasher *h, EVP_MD_CTX *level, const struct entry *entry,
			const char *name, size_t name_size)
{
	uint8_t head[5] = {entry->type, (uint8_t)(entry->mode >> 24), (uint8_t)(entry->mode >> 16),
			   (uint8_t)(entry->mode >> 8), (uint8_t)entry->mode};
	hash_bytes(h, level, name, name_size);
	hash_bytes(h, level, "", 1);
	hash_bytes(h, level, head, sizeof head);
	hash_owner(h, level, entry->owner, entry->uid);
	hash_owner(h, level, entry->group, entry->gid);
	if (entry->type == ENTRY_SYMLINK) {
		hash_bytes(h, level, entry->target, entry->target_size);
		hash_bytes(h, level, "", 1);
		return;
	}
	if (entry->type == ENTRY_FILE) {
		uint8_t size[8];
		for (int i = 0; i < 8; i++)
			size[i] = (uint8_t)(entry->size >> (56 - 8 * i));
		hash_bytes(h, level, size, sizeof size);
	}
	hash_bytes(h, level, entry->hash, ENTRY_HASH_BYTES);
}

/* Hashes what is in the directory at `at`, fills in its hash, and returns the index after
 * everything below it. The depth is bounded by ENTRY_DEPTH_MAX, which entry_check() holds. */
static size_t hash_directory(struct hasher *h, struct tree *tree, size_t at, size_t depth)
{
	struct entry *dir = &tree->entries[at++];
	EVP_MD_CTX *level = open_level(h, depth, "tandem directory 1");
	while (at < tree->count &&
	       entry_path_below(tree->entries[at].path, tree->entries[at].path_size, dir->path,
				dir->path_size)) {
		struct entry *child = &tree->entries[at];
		size_t next = at + 1;
		if (child->type == ENTRY_DIR)
			next = hash_directory(h, tree, at, depth + 1);
		hash_record(h, level, child, child->path + dir->path_size + 1,
			    (size_t)(child->path_size - dir->path_size - 1));
		at = next;
	}
	close_level(h, depth, dir->hash);
	return at;
}

static int hash_tree(struct tree *tree)
{
	struct hasher h;
	memset(&h, 0, sizeof h);
	EVP_MD_CTX *level = open_level(&h, 0, "tandem tree 1");
	for (size_t at = 0; at < tree->count;) {
		struct entry *root = &tree->entries[at];
		size_t next = at + 1;
		if (root->type == ENTRY_DIR)
			next = hash_directory(&h, tree, at, 1);
		hash_record(&h, level, root, root->path, root->path_size);
		at = next;
	}
	close_level(&h, 0, tree->hash);
	for (size_t i = 0; i < ENTRY_DEPTH_MAX + 2; i++)
		EVP_MD_CTX_free(h.levels[i]);
	return h.failed ? -ENOMEM : 0;
}

/* ---- sealing and checking ---- */

/* Everything below a directory follows it directly, so the directories that are open at an entry
 * are a stack of indices. Returns the entry's directory, SIZE_MAX for a root. false: it has none.
 */
struct stack {
	size_t at[ENTRY_DEPTH_MAX + 1];
	size_t depth;
};

static bool stack_enter(struct stack *stack, const struct tree *tree, size_t index, bool *ret_root)
{
	const struct entry *entry = &tree->entries[index];
	while (stack->depth > 0) {
		const struct entry *top = &tree->entries[stack->at[stack->depth - 1]];
		if (entry_path_below(entry->path, entry->path_size, top->path, top->path_size))
			break;
		stack->depth--;
	}
	*ret_root = stack->depth == 0;
	if (stack->depth > 0) {
		const struct entry *top = &tree->entries[stack->at[stack->depth - 1]];
		if (top->type != ENTRY_DIR ||
		    entry_path_parent(entry->path, entry->path_size) != top->path_size)
			return false;
	}
	assert(stack->depth <= ENTRY_DEPTH_MAX);
	stack->at[stack->depth++] = index;
	return true;
}

int tree_seal(struct tree *tree, const struct entry **ret_bad)
{
	assert(!tree->sealed);
	bool sorted = true;
	for (size_t i = 1; i < tree->count && sorted; i++)
		sorted = compare_entries(&tree->entries[i - 1], &tree->entries[i]) < 0;
	if (!sorted)
		qsort(tree->entries, tree->count, sizeof *tree->entries, compare_entries);
	struct stack stack = {.depth = 0};
	for (size_t i = 0; i < tree->count; i++) {
		int verdict = 0;
		bool root;
		if (i > 0 && compare_entries(&tree->entries[i - 1], &tree->entries[i]) == 0)
			verdict = ENTRY_DISORDER;
		else if (!stack_enter(&stack, tree, i, &root))
			verdict = ENTRY_NO_PARENT;
		if (verdict) {
			if (ret_bad)
				*ret_bad = &tree->entries[i];
			return verdict;
		}
	}
	int rc = hash_tree(tree);
	if (rc == 0)
		tree->sealed = true;
	return rc;
}

enum entry_verdict tree_check_paths(const struct tree *tree, const char *const *paths,
				    int paths_count, const struct entry **ret_bad)
{
	struct stack stack = {.depth = 0};
	assert(tree->sealed);
	for (size_t i = 0; i < tree->count; i++) {
		bool root = false, known = false;
		const struct entry *entry = &tree->entries[i];
		bool stands = stack_enter(&stack, tree, i, &root);
		assert(stands);
		if (!root)
			continue;
		for (int p = 0; p < paths_count && !known; p++)
			known = strcmp(paths[p], entry->path) == 0;
		if (known && entry->type == ENTRY_DIR)
			continue;
		if (ret_bad)
			*ret_bad = entry;
		return known ? ENTRY_BAD_TYPE : ENTRY_OUTSIDE;
	}
	return ENTRY_OK;
}

/* ---- reading ---- */

const struct entry *tree_find(const struct tree *tree, const char *path, size_t path_size)
{
	assert(tree->sealed);
	return entry_find(tree->entries, tree->count, path, path_size);
}

int tree_set_seen(struct tree *tree, const char *path, size_t path_size,
		  const struct entry_seen *seen)
{
	const struct entry *found = tree_find(tree, path, path_size);
	if (!found)
		return -ENOENT;
	tree->entries[found - tree->entries].seen = *seen;
	return 0;
}

/* The index after everything below the entry at `at`. */
static size_t after_subtree(const struct tree *tree, size_t at)
{
	const struct entry *top = &tree->entries[at];
	size_t low = at + 1, high = tree->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct entry *e = &tree->entries[middle];
		if (entry_path_below(e->path, e->path_size, top->path, top->path_size))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct entry *tree_child_next(const struct tree *tree, const char *dir, size_t dir_size,
				    size_t *at)
{
	assert(tree->sealed);
	/* *at is one more than the index of the child that was given last. */
	size_t index = 0;
	if (*at > 0)
		index = after_subtree(tree, *at - 1);
	else if (dir_size > 0) {
		const struct entry *found = tree_find(tree, dir, dir_size);
		if (!found || found->type != ENTRY_DIR)
			return NULL;
		index = (size_t)(found - tree->entries) + 1;
	}
	if (index >= tree->count)
		return NULL;
	const struct entry *child = &tree->entries[index];
	if (dir_size > 0 && !entry_path_below(child->path, child->path_size, dir, dir_size))
		return NULL;
	*at = index + 1;
	return child;
}

void tree_diff_init(struct tree_diff *diff, const struct tree *from, const struct tree *to)
{
	assert(from->sealed && to->sealed);
	*diff = (struct tree_diff){.from = from, .to = to};
}

bool tree_diff_next(struct tree_diff *diff, struct tree_change *ret_change)
{
	for (;;) {
		size_t f = diff->from_at, t = diff->to_at;
		const struct entry *from = f < diff->from->count ? &diff->from->entries[f] : NULL;
		const struct entry *to = t < diff->to->count ? &diff->to->entries[t] : NULL;
		if (!from && !to)
			return false;
		int order = !from ? 1 : !to ? -1 : compare_entries(from, to);
		if (order != 0) {
			*ret_change = (struct tree_change){order < 0 ? from : NULL,
							   order > 0 ? to : NULL};
			diff->from_at += order < 0;
			diff->to_at += order > 0;
			return true;
		}
		if (from->type == ENTRY_DIR && to->type == ENTRY_DIR &&
		    memcmp(from->hash, to->hash, ENTRY_HASH_BYTES) == 0) {
			diff->from_at = after_subtree(diff->from, f);
			diff->to_at = after_subtree(diff->to, t);
		} else {
			diff->from_at++;
			diff->to_at++;
		}
		if (!entry_equal(from, to)) {
			*ret_change = (struct tree_change){from, to};
			return true;
		}
	}
}

void tree_totals(const struct tree *tree, uint64_t *ret_files, uint64_t *ret_bytes)
{
	uint64_t files = 0, bytes = 0;
	for (size_t i = 0; i < tree->count; i++) {
		if (tree->entries[i].type != ENTRY_FILE)
			continue;
		files++;
		bytes += tree->entries[i].size;
	}
	*ret_files = files;
	*ret_bytes = bytes;
}

/* ---- making one from others ---- */

static int seal_or_free(struct tree *tree, int rc, struct tree **ret_tree)
{
	if (rc == 0)
		rc = tree_seal(tree, NULL);
	if (rc != 0) {
		tree_free(tree);
		return rc;
	}
	*ret_tree = tree;
	return 0;
}

int tree_from_entries(const struct entry *const *entries, size_t count, struct tree **ret_tree)
{
	struct tree *tree = tree_new();
	if (!tree)
		return -ENOMEM;
	int rc = 0;
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = tree_add(tree, entries[i]);
	return seal_or_free(tree, rc, ret_tree);
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted pointers to the strings, to be freed; NULL only without memory. */
static const char **sorted_texts(const char *const *texts, size_t count)
{
	const char **sorted = malloc((count ? count : 1) * sizeof *sorted);
	if (!sorted)
		return NULL;
	for (size_t i = 0; i < count; i++)
		sorted[i] = texts[i];
	qsort(sorted, count, sizeof *sorted, compare_texts);
	return sorted;
}

int tree_apply(const struct tree *base, const char *const *removed, size_t removed_count,
	       const struct entry *entries, size_t entries_count, struct tree **ret_tree)
{
	size_t base_count = base ? base->count : 0;
	const char **drop = sorted_texts(removed, removed_count);
	const char **put = malloc((entries_count ? entries_count : 1) * sizeof *put);
	struct tree *tree = tree_new();
	int rc = drop && put && tree ? 0 : -ENOMEM;
	if (rc == 0) {
		for (size_t i = 0; i < entries_count; i++)
			put[i] = entries[i].path;
		qsort(put, entries_count, sizeof *put, compare_texts);
	}
	for (size_t i = 0; i < base_count && rc == 0; i++) {
		const char *const *path = &base->entries[i].path;
		if (bsearch(path, drop, removed_count, sizeof *drop, compare_texts) ||
		    bsearch(path, put, entries_count, sizeof *put, compare_texts))
			continue;
		rc = tree_add(tree, &base->entries[i]);
	}
	for (size_t i = 0; i < entries_count && rc == 0; i++)
		rc = tree_add(tree, &entries[i]);
	free(drop);
	free(put);
	if (!tree)
		return rc;
	return seal_or_free(tree, rc, ret_tree);
}

/* ---- the encoding of the whole (R2) ---- */

size_t tree_encoded_size(const struct tree *tree)
{
	return 1 + 4 + tree->string_bytes;
}

void tree_encode(const struct tree *tree, uint8_t *data)
{
	struct wire_writer writer;
	assert(tree->sealed);
	wire_writer_init(&writer, data, tree_encoded_size(tree));
	wire_put_u8(&writer, ENCODING_VERSION);
	wire_put_u32(&writer, (uint32_t)tree->count);
	for (size_t i = 0; i < tree->count; i++)
		entry_encode(&writer, &tree->entries[i]);
	assert(wire_writer_ok(&writer) && writer.at == tree_encoded_size(tree));
}

static int decode_entries(struct wire_reader *reader, struct entry_strings *strings,
			  struct tree *tree)
{
	uint8_t version = wire_get_u8(reader);
	uint32_t count = wire_get_u32(reader);
	if (!wire_reader_ok(reader))
		return ENTRY_TRUNCATED;
	if (version != ENCODING_VERSION)
		return ENTRY_BAD_VERSION;
	if (count > TREE_ENTRIES_MAX)
		return ENTRY_TOO_MANY;
	for (uint32_t i = 0; i < count; i++) {
		struct entry entry;
		enum entry_verdict verdict = entry_decode(reader, strings, &entry);
		if (verdict != ENTRY_OK)
			return (int)verdict;
		int rc = tree_add(tree, &entry);
		if (rc != 0)
			return rc;
		if (i > 0 && compare_entries(&tree->entries[i - 1], &tree->entries[i]) >= 0)
			return ENTRY_DISORDER;
	}
	return wire_reader_done(reader) ? 0 : ENTRY_TRAILING;
}

int tree_decode(const uint8_t *data, size_t size, struct tree **ret_tree)
{
	if (size > TREE_ENCODED_BYTES_MAX)
		return ENTRY_TOO_LARGE;
	struct entry_strings *strings = malloc(sizeof *strings);
	struct tree *tree = tree_new();
	struct wire_reader reader;
	wire_reader_init(&reader, data, size);
	int rc = strings && tree ? decode_entries(&reader, strings, tree) : -ENOMEM;
	free(strings);
	if (!tree)
		return rc;
	return seal_or_free(tree, rc, ret_tree);
}

/* ---- what a mirror covers ---- */

static void hash_texts(struct hasher *h, EVP_MD_CTX *level, const char *label,
		       const char *const *texts, int count)
{
	const char **sorted = sorted_texts(texts, (size_t)count);
	hash_bytes(h, level, label, strlen(label) + 1);
	h->failed |= !sorted;
	for (int i = 0; i < count && sorted; i++)
		if (i == 0 || strcmp(sorted[i - 1], sorted[i]) != 0)
			hash_bytes(h, level, sorted[i], strlen(sorted[i]) + 1);
	free(sorted);
}

void tree_definition_hash(const char *const *paths, int paths_count, const char *const *excludes,
			  int excludes_count, uint8_t ret_hash[ENTRY_HASH_BYTES])
{
	struct hasher h;
	memset(&h, 0, sizeof h);
	EVP_MD_CTX *level = open_level(&h, 0, "tandem definition 1");
	hash_texts(&h, level, "paths", paths, paths_count);
	hash_texts(&h, level, "exclude", excludes, excludes_count);
	close_level(&h, 0, ret_hash);
	EVP_MD_CTX_free(h.levels[0]);
	/* A definition that could not be hashed must never look like another one. */
	if (h.failed)
		abort();
}
