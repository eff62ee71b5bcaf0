/* SPDX-License-Identifier: Apache-2.0 */
/* The store's generations and their manifests. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "syncd/store_private.h"

/* A manifest is kept as what differs from a parent's, so that a saved file costs a row of some
 * hundred bytes and not a copy of the list; every so often as a whole, which bounds the way back.
 */
#define DELTA_DEPTH_MAX 16
#define MANIFEST_BYTES_MAX (2ull * TREE_ENCODED_BYTES_MAX)

/* ---- the trees used last ---- */

void store_cache_clear(struct store *store)
{
	for (unsigned i = 0; i < STORE_CACHED_TREES; i++)
		store->cache[i].tree = tree_free(store->cache[i].tree);
}

static struct tree *cache_find(const struct store *store, const char *mirror, const uint8_t *id)
{
	for (unsigned i = 0; i < STORE_CACHED_TREES; i++) {
		const struct store_cached_tree *slot = &store->cache[i];
		if (slot->tree && strcmp(slot->mirror, mirror) == 0 &&
		    memcmp(slot->id, id, GENERATION_ID_BYTES) == 0)
			return slot->tree;
	}
	return NULL;
}

static void cache_put(struct store *store, const char *mirror, const uint8_t *id,
		      const struct tree *tree)
{
	if (cache_find(store, mirror, id))
		return;
	struct store_cached_tree *slot = &store->cache[store->cache_next];
	store->cache_next = (store->cache_next + 1) % STORE_CACHED_TREES;
	tree_free(slot->tree);
	/* Only counted: nothing that this tree says of the generation will change. */
	slot->tree = tree_ref((struct tree *)tree);
	memset(slot->mirror, 0, sizeof slot->mirror);
	strncpy(slot->mirror, mirror, sizeof slot->mirror - 1);
	memcpy(slot->id, id, GENERATION_ID_BYTES);
}

/* ---- the encoding of a difference ---- */

/* Bit by bit as far as it travels, unlike entry_equal(). */
static bool identical(const struct entry *a, const struct entry *b)
{
	return entry_equal(a, b) && a->mtime_ns == b->mtime_ns && a->uid == b->uid &&
	       a->gid == b->gid;
}

/* The next path of either, in order. false: both are at their end. */
static bool next_pair(const struct tree *a, const struct tree *b, size_t at[2],
		      const struct entry *ret[2])
{
	const struct entry *x = at[0] < a->count ? &a->entries[at[0]] : NULL;
	const struct entry *y = at[1] < b->count ? &b->entries[at[1]] : NULL;
	if (!x && !y)
		return false;
	int order = !x	 ? 1
		    : !y ? -1
			 : entry_path_compare(x->path, x->path_size, y->path, y->path_size);
	ret[0] = order <= 0 ? x : NULL;
	ret[1] = order >= 0 ? y : NULL;
	at[0] += order <= 0;
	at[1] += order >= 0;
	return true;
}

/* u32 removed, {string path}..., u32 put, {entry}... */
static int encode_delta(const struct tree *base, const struct tree *tree, uint8_t **ret_data,
			size_t *ret_size)
{
	size_t at[2] = {0, 0}, room = 8;
	uint32_t removed = 0, put = 0;
	const struct entry *pair[2];
	while (next_pair(base, tree, at, pair)) {
		if (!pair[1]) {
			removed++;
			room += 2 + (size_t)pair[0]->path_size;
		} else if (!pair[0] || !identical(pair[0], pair[1])) {
			put++;
			room += ENTRY_ENCODED_BYTES_MAX - 2 * ENTRY_PATH_BYTES_MAX +
				(size_t)pair[1]->path_size + pair[1]->target_size;
		}
	}
	uint8_t *data = malloc(room);
	if (!data)
		return -ENOMEM;
	struct wire_writer writer;
	wire_writer_init(&writer, data, room);
	wire_put_u32(&writer, removed);
	at[0] = at[1] = 0;
	while (next_pair(base, tree, at, pair))
		if (!pair[1])
			wire_put_string(&writer, pair[0]->path, pair[0]->path_size);
	wire_put_u32(&writer, put);
	at[0] = at[1] = 0;
	while (next_pair(base, tree, at, pair))
		if (pair[1] && (!pair[0] || !identical(pair[0], pair[1])))
			entry_encode(&writer, pair[1]);
	assert(wire_writer_ok(&writer));
	*ret_data = data;
	*ret_size = writer.at;
	return 0;
}

/* What is decoded here was written here, but a disk may have changed it: it is checked as if it
 * came from a stranger. A path that leaves is put into the tree's own terms by the entries'
 * decoder. */
static int apply_delta(const struct tree *base, const uint8_t *data, size_t size,
		       struct tree **ret_tree)
{
	struct wire_reader reader;
	struct entry_strings *strings = malloc(sizeof *strings);
	struct tree *added = tree_new();
	char **removed = NULL;
	size_t removed_count = 0;
	int rc = strings && added ? 0 : -ENOMEM;
	wire_reader_init(&reader, data, size);
	uint32_t count = wire_get_u32(&reader);
	if (rc == 0 && count > base->count)
		rc = -EIO;
	if (rc == 0 && !(removed = calloc(count ? count : 1, sizeof *removed)))
		rc = -ENOMEM;
	while (rc == 0 && removed_count < count) {
		size_t path_size = 0;
		const char *path = wire_get_string(&reader, &path_size);
		if (!wire_reader_ok(&reader))
			rc = -EIO;
		else if (!(removed[removed_count] = strndup(path, path_size)))
			rc = -ENOMEM;
		else
			removed_count++;
	}
	count = rc == 0 ? wire_get_u32(&reader) : 0;
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		struct entry entry;
		if (entry_decode(&reader, strings, &entry) != ENTRY_OK)
			rc = -EIO;
		else
			rc = tree_add(added, &entry) == 0 ? 0 : -EIO;
	}
	if (rc == 0 && !wire_reader_done(&reader))
		rc = -EIO;
	if (rc == 0) {
		/* Never sealed: its entries need not have their directories among them. */
		rc = tree_apply(base, (const char *const *)removed, removed_count, added->entries,
				added->count, ret_tree);
		if (rc > 0)
			rc = -EIO;
	}
	for (size_t i = 0; i < removed_count; i++)
		free(removed[i]);
	free(removed);
	tree_free(added);
	free(strings);
	return rc;
}

/* ---- putting ---- */

static int pack_whole(const struct tree *tree, void **ret_data, int *ret_size)
{
	size_t size = tree_encoded_size(tree);
	uint8_t *plain = malloc(size);
	if (!plain)
		return -ENOMEM;
	tree_encode(tree, plain);
	int rc = store_pack(plain, size, ret_data, ret_size);
	free(plain);
	return rc;
}

static int get_depth(struct store *store, const char *mirror, const uint8_t *id, int *ret_depth)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt, "SELECT depth FROM generation WHERE mirror=? AND id=?",
			       "tb", mirror, id, GENERATION_ID_BYTES);
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc == 1)
		*ret_depth = sqlite3_column_int(stmt, 0);
	return rc;
}

/* A parent whose manifest is a good base: stored, and not too far from a whole one. */
static int choose_base(struct store *store, const struct store_generation *g,
		       const uint8_t **ret_base, int *ret_depth)
{
	*ret_base = NULL;
	*ret_depth = 0;
	for (int i = 0; i < g->header.parents_count; i++) {
		int depth = 0;
		int rc = get_depth(store, g->mirror, g->header.parents[i], &depth);
		if (rc < 0)
			return rc;
		/* The parent that is in memory is the one that costs nothing. */
		bool better = !*ret_base || cache_find(store, g->mirror, g->header.parents[i]);
		if (rc == 1 && depth + 1 < DELTA_DEPTH_MAX && better) {
			*ret_base = g->header.parents[i];
			*ret_depth = depth + 1;
		}
	}
	return 0;
}

static int pack_manifest(struct store *store, const struct store_generation *g,
			 const struct tree *tree, const uint8_t **ret_base, int *ret_depth,
			 void **ret_data, int *ret_size)
{
	struct tree *base = NULL;
	int rc = choose_base(store, g, ret_base, ret_depth);
	if (rc < 0)
		return rc;
	if (!*ret_base)
		return pack_whole(tree, ret_data, ret_size);
	rc = store_tree_get(store, g->mirror, *ret_base, &base);
	if (rc < 0)
		return rc;
	uint8_t *plain = NULL;
	size_t size = 0;
	rc = encode_delta(base, tree, &plain, &size);
	if (rc == 0)
		rc = store_pack(plain, size, ret_data, ret_size);
	free(plain);
	tree_free(base);
	return rc;
}

int store_generation_put(struct store *store, const struct store_generation *g,
			 const struct tree *tree)
{
	uint8_t header[GENERATION_ENCODED_BYTES_MAX];
	struct wire_writer writer;
	assert(memcmp(g->header.tree, tree->hash, ENTRY_HASH_BYTES) == 0);
	assert(g->signature_size <= sizeof g->signature);
	if (store_generation_have(store, g->mirror, g->id))
		return 0;
	wire_writer_init(&writer, header, sizeof header);
	generation_encode(&writer, &g->header);
	assert(wire_writer_ok(&writer));
	const uint8_t *base;
	int depth, size = 0;
	void *data = NULL;
	int rc = pack_manifest(store, g, tree, &base, &depth, &data, &size);
	if (rc < 0)
		return store_fail_with(store, rc, "manifest");
	rc = store_enter(store);
	if (rc == 0)
		rc = store_run(store,
			       "INSERT INTO "
			       "generation(mirror,id,header,lamport,author,incarnation,counter,"
			       "signer,signature,base,depth,manifest) VALUES(?,?,?,?,?,?,?,?,?,"
			       "iif(?=0,NULL,?),?,?)",
			       "tbbitiitbibib", g->mirror, g->id, GENERATION_ID_BYTES, header,
			       (int)writer.at, (int64_t)g->header.lamport, g->header.author,
			       (int64_t)g->header.incarnation, (int64_t)g->header.counter,
			       g->signer, g->signature, (int)g->signature_size,
			       (int64_t)(base != NULL), base, base ? GENERATION_ID_BYTES : 0,
			       (int64_t)depth, data, size);
	rc = store_leave(store, rc);
	free(data);
	if (rc == 0)
		cache_put(store, g->mirror, g->id, tree);
	return rc;
}

/* ---- getting ---- */

#define COLUMNS "mirror,id,header,signer,signature"

static int read_row(struct store *store, sqlite3_stmt *stmt, struct store_generation *ret)
{
	struct wire_reader reader;
	memset(ret, 0, sizeof *ret);
	store_column_text(stmt, 0, ret->mirror, sizeof ret->mirror);
	store_column_text(stmt, 3, ret->signer, sizeof ret->signer);
	int signature_size = sqlite3_column_bytes(stmt, 4);
	const void *header = sqlite3_column_blob(stmt, 2);
	wire_reader_init(&reader, header, (size_t)sqlite3_column_bytes(stmt, 2));
	if (!store_column(stmt, 1, ret->id, GENERATION_ID_BYTES) ||
	    signature_size > STORE_SIGNATURE_BYTES_MAX ||
	    !store_column(stmt, 4, ret->signature, signature_size) || !header ||
	    generation_decode(&reader, &ret->header) != GENERATION_OK || !wire_reader_done(&reader))
		return store_fail_with(store, -EIO, "a generation cannot be read");
	ret->signature_size = (size_t)signature_size;
	return 0;
}

int store_generation_get(struct store *store, const char *mirror, const uint8_t *id,
			 struct store_generation *ret_generation)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt,
			       "SELECT " COLUMNS " FROM generation WHERE mirror=? AND id=?", "tb",
			       mirror, id, GENERATION_ID_BYTES);
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	return read_row(store, stmt, ret_generation);
}

bool store_generation_have(struct store *store, const char *mirror, const uint8_t *id)
{
	int depth;
	return get_depth(store, mirror, id, &depth) == 1;
}

static int read_tree(struct store *store, const char *mirror, const uint8_t *id, int depth_left,
		     struct tree **ret_tree)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	uint8_t base_id[GENERATION_ID_BYTES], *plain = NULL;
	size_t size = 0;
	struct tree *cached = cache_find(store, mirror, id);
	if (cached) {
		*ret_tree = tree_ref(cached);
		return 0;
	}
	int rc = store_prepare(store, &stmt,
			       "SELECT base,manifest FROM generation WHERE mirror=? AND id=?", "tb",
			       mirror, id, GENERATION_ID_BYTES);
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	bool whole = sqlite3_column_type(stmt, 0) == SQLITE_NULL;
	if (!whole && (depth_left == 0 || !store_column(stmt, 0, base_id, sizeof base_id)))
		return -EIO;
	rc = store_unpack(sqlite3_column_blob(stmt, 1), sqlite3_column_bytes(stmt, 1),
			  MANIFEST_BYTES_MAX, &plain, &size);
	if (rc < 0)
		return rc;
	if (whole) {
		rc = tree_decode(plain, size, ret_tree);
	} else {
		struct tree *base = NULL;
		/* A base that is gone is a damaged database, not an answer. */
		rc = read_tree(store, mirror, base_id, depth_left - 1, &base);
		rc = rc == -ENOENT ? -EIO : rc;
		if (rc == 0)
			rc = apply_delta(base, plain, size, ret_tree);
		tree_free(base);
	}
	free(plain);
	return rc > 0 ? -EIO : rc;
}

int store_tree_get(struct store *store, const char *mirror, const uint8_t *id,
		   struct tree **ret_tree)
{
	struct store_generation g;
	struct tree *tree = NULL;
	int rc = store_generation_get(store, mirror, id, &g);
	if (rc == 0)
		rc = read_tree(store, mirror, id, DELTA_DEPTH_MAX, &tree);
	if (rc == 0 && memcmp(tree->hash, g.header.tree, ENTRY_HASH_BYTES) != 0)
		rc = store_fail_with(store, -EIO, "a manifest is not the one of its generation");
	if (rc < 0) {
		tree_free(tree);
		return rc;
	}
	cache_put(store, mirror, id, tree);
	*ret_tree = tree;
	return 0;
}

/* ---- finding ---- */

int store_version_find(struct store *store, const char *mirror, const char *author,
		       uint64_t incarnation, uint64_t counter, uint8_t ret_id[GENERATION_ID_BYTES])
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt,
			       "SELECT id FROM generation WHERE mirror=? AND author=? AND "
			       "incarnation=? AND counter=?",
			       "ttii", mirror, author, (int64_t)incarnation, (int64_t)counter);
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	return store_column(stmt, 0, ret_id, GENERATION_ID_BYTES) ? 0 : -EIO;
}

int store_counter_last(struct store *store, const char *mirror, const char *author,
		       uint64_t incarnation, uint64_t *ret_counter)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	uint8_t head_id[GENERATION_ID_BYTES];
	struct store_generation head;
	int rc = store_prepare(store, &stmt,
			       "SELECT ifnull(max(counter),0) FROM generation WHERE mirror=? AND "
			       "author=? AND incarnation=?",
			       "tti", mirror, author, (int64_t)incarnation);
	if (rc == 0)
		rc = store_step(store, stmt);
	if (rc < 0)
		return rc;
	uint64_t counter = (uint64_t)sqlite3_column_int64(stmt, 0);
	/* R19: the author's own generations may have been dropped; what the head contains has not.
	 */
	rc = store_head_get(store, mirror, head_id);
	if (rc == 0)
		rc = store_generation_get(store, mirror, head_id, &head);
	if (rc == 0) {
		uint64_t known = generation_vector_get(&head.header.vector, author, incarnation);
		counter = known > counter ? known : counter;
	} else if (rc != -ENOENT) {
		return rc;
	}
	*ret_counter = counter;
	return 0;
}

int store_generations(struct store *store, const char *mirror, store_generation_fn fn, void *ctx)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt,
			       "SELECT " COLUMNS " FROM generation WHERE mirror=? "
			       "ORDER BY lamport DESC, id",
			       "t", mirror);
	while (rc == 0 && (rc = store_step(store, stmt)) == 1) {
		struct store_generation g;
		rc = read_row(store, stmt, &g);
		if (rc == 0 && !fn(ctx, &g))
			return 0;
	}
	return rc;
}

struct base_search {
	struct generation_vector meet;
	uint8_t id[GENERATION_ID_BYTES];
	bool found;
};

static bool is_base(void *ctx, const struct store_generation *g)
{
	struct base_search *search = ctx;
	if (!generation_vector_within(&g->header.vector, &search->meet))
		return true;
	memcpy(search->id, g->id, GENERATION_ID_BYTES);
	search->found = true;
	return false;
}

int store_base_find(struct store *store, const char *mirror, const struct generation *a,
		    const struct generation *b, uint8_t ret_id[GENERATION_ID_BYTES])
{
	struct base_search search = {.found = false};
	generation_vector_meet(&a->vector, &b->vector, &search.meet);
	int rc = store_generations(store, mirror, is_base, &search);
	if (rc < 0)
		return rc;
	if (!search.found)
		return -ENOENT;
	memcpy(ret_id, search.id, GENERATION_ID_BYTES);
	return 0;
}

/* ---- dropping ---- */

struct id_list {
	uint8_t (*ids)[GENERATION_ID_BYTES];
	size_t count, room;
};

static int add_id(struct id_list *list, const uint8_t *id)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		void *ids = realloc(list->ids, room * sizeof *list->ids);
		if (!ids)
			return -ENOMEM;
		list->ids = ids;
		list->room = room;
	}
	memcpy(list->ids[list->count++], id, GENERATION_ID_BYTES);
	return 0;
}

static bool have_id(const struct id_list *list, const uint8_t *id)
{
	for (size_t i = 0; i < list->count; i++)
		if (memcmp(list->ids[i], id, GENERATION_ID_BYTES) == 0)
			return true;
	return false;
}

static int collect_ids(struct store *store, const char *sql, const char *mirror,
		       struct id_list *list)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt, sql, "t", mirror);
	while (rc == 0 && (rc = store_step(store, stmt)) == 1) {
		uint8_t id[GENERATION_ID_BYTES];
		rc = store_column(stmt, 0, id, sizeof id) ? add_id(list, id) : -EIO;
	}
	return rc;
}

/* What refs, conflicts and the journal name, and the parents of these. */
static int collect_pinned(struct store *store, const char *mirror, struct id_list *pinned)
{
	static const char *const sources[] = {"SELECT id FROM ref WHERE mirror=?",
					      "SELECT local FROM conflict WHERE mirror=?",
					      "SELECT remote FROM conflict WHERE mirror=?",
					      "SELECT id FROM journal WHERE mirror=?"};
	int rc = 0;
	for (size_t i = 0; i < sizeof sources / sizeof sources[0] && rc == 0; i++)
		rc = collect_ids(store, sources[i], mirror, pinned);
	size_t direct = pinned->count;
	for (size_t i = 0; i < direct && rc == 0; i++) {
		struct store_generation g;
		rc = store_generation_get(store, mirror, pinned->ids[i], &g);
		if (rc == -ENOENT) {
			rc = 0; /* a peer has acknowledged what we have not got */
			continue;
		}
		for (int p = 0; rc == 0 && p < g.header.parents_count; p++)
			rc = add_id(pinned, g.header.parents[p]);
	}
	return rc;
}

static int make_whole(struct store *store, const char *mirror, const uint8_t *id)
{
	struct tree *tree = NULL;
	void *data = NULL;
	int size = 0;
	int rc = store_tree_get(store, mirror, id, &tree);
	if (rc == 0)
		rc = pack_whole(tree, &data, &size);
	if (rc == 0)
		rc = store_run(store,
			       "UPDATE generation SET base=NULL, depth=0, manifest=? "
			       "WHERE mirror=? AND id=?",
			       "btb", data, size, mirror, id, GENERATION_ID_BYTES);
	free(data);
	tree_free(tree);
	return rc;
}

static int drop_one(struct store *store, const char *mirror, const uint8_t *id)
{
	struct id_list dependents = {NULL, 0, 0};
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt, "SELECT id FROM generation WHERE mirror=? AND base=?",
			       "tb", mirror, id, GENERATION_ID_BYTES);
	while (rc == 0 && (rc = store_step(store, stmt)) == 1) {
		uint8_t dependent[GENERATION_ID_BYTES];
		rc = store_column(stmt, 0, dependent, sizeof dependent)
			     ? add_id(&dependents, dependent)
			     : -EIO;
	}
	for (size_t i = 0; i < dependents.count && rc == 0; i++)
		rc = make_whole(store, mirror, dependents.ids[i]);
	free(dependents.ids);
	if (rc == 0)
		rc = store_run(store, "DELETE FROM generation WHERE mirror=? AND id=?", "tb",
			       mirror, id, GENERATION_ID_BYTES);
	return rc;
}

int store_prune(struct store *store, const char *mirror, unsigned keep)
{
	struct id_list all = {NULL, 0, 0}, pinned = {NULL, 0, 0};
	int rc = store_enter(store);
	if (rc < 0)
		return rc;
	rc = collect_ids(store,
			 "SELECT id FROM generation WHERE mirror=? ORDER BY lamport DESC, id",
			 mirror, &all);
	if (rc == 0)
		rc = collect_pinned(store, mirror, &pinned);
	/* Newest first: what depends on a dropped base is mostly gone by then, or is made whole. */
	for (size_t i = keep; i < all.count && rc == 0; i++)
		if (!have_id(&pinned, all.ids[i]))
			rc = drop_one(store, mirror, all.ids[i]);
	free(all.ids);
	free(pinned.ids);
	store_cache_clear(store);
	return store_leave(store, rc);
}

int store_objects_of_generations(struct store *store, store_hash_fn fn, void *ctx)
{
	store_cleanup_stmt sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt,
			       "SELECT mirror,id FROM generation ORDER BY mirror,lamport", "");
	while (rc == 0 && (rc = store_step(store, stmt)) == 1) {
		char mirror[64];
		uint8_t id[GENERATION_ID_BYTES];
		struct tree *tree = NULL;
		store_column_text(stmt, 0, mirror, sizeof mirror);
		rc = store_column(stmt, 1, id, sizeof id) ? store_tree_get(store, mirror, id, &tree)
							  : -EIO;
		for (size_t i = 0; rc == 0 && i < tree->count; i++)
			if (tree->entries[i].type == ENTRY_FILE)
				rc = fn(ctx, tree->entries[i].hash);
		tree_free(tree);
	}
	return rc;
}
