/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three nodes with real directories, edited at random, that take over each other's generations in
 * any order: R5, R6, R7, R9, R12, and that all become equal once people settle their conflicts.
 *
 * A generation is carried from node to node by hand; deciding, merging, planning, staging and
 * committing are the real ones. A run is named by its seed: `test_replica_model SEED` replays one.
 */
#include "tests/unit/syncd_fixture.h"

#include "syncd/merge.h"

#define MIRROR "nginx"
#define NODES 3
#define ROUNDS 120
#define SEEDS 40
#define SETTLING_MAX 60

static char top[64], live_path[128];
static const char *const live_paths[1] = {live_path};
static const uint8_t definition[32] = {1};
static uint64_t random_state;
static unsigned seed_now, merges, conflicts, fast_forwards, divergences;

/* ---- chance ---- */

static unsigned pick(unsigned count)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)((random_state >> 20) % count);
}

/* ---- nodes: all mirror the same path, so the one that acts has its directory there ---- */

struct replica {
	struct node node;
	char parked[300];
	uint8_t head_id[32];
	struct generation head;
	bool has_head;
};

static void enter(struct replica *r)
{
	assert_int_equal(rename(r->parked, live_path), 0);
}

static void leave(struct replica *r)
{
	assert_int_equal(rename(live_path, r->parked), 0);
}

static struct tree *look(struct replica *r)
{
	return node_scan_as(&r->node, live_path);
}

static void note_head(struct replica *r)
{
	struct store_generation g;
	assert_int_equal(store_head_get(r->node.store, MIRROR, r->head_id), 0);
	assert_int_equal(store_generation_get(r->node.store, MIRROR, r->head_id, &g), 0);
	r->head = g.header;
	r->has_head = true;
}

static void put(struct replica *r, const struct generation *header, const struct tree *tree,
		uint8_t ret_id[32])
{
	struct store_generation g;
	memset(&g, 0, sizeof g);
	strcpy(g.mirror, MIRROR);
	strcpy(g.signer, r->node.name);
	g.header = *header;
	generation_id(&g.header, g.id);
	assert_int_equal(objects_sync(r->node.objects, &r->node.fault), 0);
	assert_int_equal(store_generation_put(r->node.store, &g, tree), 0);
	memcpy(ret_id, g.id, 32);
}

/* ---- edits ---- */

static void edit(void)
{
	static const char *const names[] = {"a", "b", "d", "d/a", "d/b", "d/e", "d/e/f", "g",
					    "h", "i", "j", "k/l", "k",	 "m",	"n",	 "o"};
	char path[512], command[2048], text[16];
	snprintf(path, sizeof path, "%s/%s", live_path, names[pick(16)]);
	snprintf(text, sizeof text, "%u", pick(4));
	switch (pick(8)) {
	case 0:
	case 1:
	case 2:
	case 3: {
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
		if (fd < 0)
			return; /* a directory, or none to stand in */
		assert_int_equal(write(fd, text, strlen(text)), strlen(text));
		close(fd);
		return;
	}
	case 4:
		(void)!mkdir(path, 0755);
		return;
	case 5:
		snprintf(command, sizeof command, "rm -rf '%s'", path);
		assert_int_equal(system(command), 0);
		return;
	case 6:
		(void)!symlink(text, path);
		return;
	case 7: {
		struct stat st;
		if (lstat(path, &st) == 0 && !S_ISLNK(st.st_mode))
			(void)!chmod(path, S_ISDIR(st.st_mode) ? 0700 + pick(2) * 055
							       : 0600 + pick(2) * 044);
		return;
	}
	}
}

/* Makes what is live a generation; other: a second parent (a resolution), or NULL. */
static void author(struct replica *r, const struct generation *other, const uint8_t *other_id)
{
	struct tree *tree = look(r);
	const struct generation *parents[2] = {&r->head, other};
	uint8_t ids[2][32], id[32];
	uint64_t counter = 0;
	struct generation next;
	if (r->has_head && !other && memcmp(tree->hash, r->head.tree, 32) == 0) {
		tree_free(tree);
		return;
	}
	memcpy(ids[0], r->head_id, 32);
	if (other)
		memcpy(ids[1], other_id, 32);
	assert_int_equal(store_counter_last(r->node.store, MIRROR, r->node.name,
					    store_incarnation(r->node.store), &counter),
			 0);
	assert_true(generation_author(parents, (const uint8_t(*)[32])ids,
				      r->has_head ? 1 + (other != NULL) : 0, definition, tree->hash,
				      r->node.name, store_incarnation(r->node.store), counter + 1,
				      &next));
	put(r, &next, tree, id);
	assert_int_equal(store_head_set(r->node.store, MIRROR, id), 0);
	assert_int_equal(store_live_set(r->node.store, MIRROR, tree), 0);
	note_head(r);
	tree_free(tree);
}

/* ---- taking over ---- */

static void carry(struct replica *from, struct replica *to, struct tree *tree)
{
	for (size_t i = 0; i < tree->count; i++) {
		uint8_t *data, hash[32];
		size_t size;
		if (tree->entries[i].type != ENTRY_FILE)
			continue;
		assert_int_equal(
			objects_read(from->node.objects, tree->entries[i].hash, 1000, &data, &size),
			0);
		assert_int_equal(
			objects_add_memory(to->node.objects, data, size, hash, &to->node.fault), 0);
		free(data);
	}
}

static void make_live(struct replica *r, struct tree *to, const uint8_t *id)
{
	struct stage *stage;
	struct commit_result result;
	struct tree *from = look(r);
	assert_memory_equal(from->hash, r->head.tree, 32);
	struct stage_options options = {live_paths, 1, id, from, to, r->node.objects};
	if (stage_build(&options, &stage, &r->node.fault) != 0)
		fail_msg("seed %u: %s", seed_now, r->node.fault.text);
	if (commit_run(r->node.store, MIRROR, stage, &result, &r->node.fault) != 0)
		fail_msg("seed %u: %s", seed_now, r->node.fault.text);
	assert_int_equal(result.outcome, COMMIT_LIVE);
	assert_int_equal(result.notes_count, 0);
	commit_result_release(&result);
	stage_free(stage);
	assert_int_equal(stage_sweep(live_paths, 1, STAGE_SWEEP_ALL, NULL, r->node.objects, NULL,
				     NULL, &r->node.fault),
			 0);
	note_head(r);
	assert_memory_equal(r->head_id, id, 32);
	/* R12. */
	struct tree *now = look(r);
	if (memcmp(now->hash, to->hash, 32) != 0)
		fail_msg("seed %u: what is live is not what was committed", seed_now);
	tree_free(now);
	tree_free(from);
}

/* R6, path by path, from the words of the invariant and not from the merge. */
static void check_merge(const struct tree *base, const struct tree *a, const struct tree *b,
			const struct tree *merged)
{
	const struct tree *all[4] = {base, a, b, merged};
	for (int t = 0; t < 4; t++)
		for (size_t i = 0; all[t] && i < all[t]->count; i++) {
			const struct entry *e[4];
			for (int k = 0; k < 4; k++)
				e[k] = all[k] ? tree_find(all[k], all[t]->entries[i].path,
							  all[t]->entries[i].path_size)
					      : NULL;
#define SAME(x, y) ((x) == (y) || ((x) && (y) && entry_equal(x, y)))
			bool good = SAME(e[1], e[2])   ? SAME(e[3], e[1])
				    : SAME(e[0], e[1]) ? SAME(e[3], e[2])
				    : SAME(e[0], e[2]) ? SAME(e[3], e[1])
						       : false;
			if (!good)
				fail_msg("seed %u: %s is merged wrongly", seed_now,
					 all[t]->entries[i].path);
		}
}

/* Merges remote into r; false: a conflict. */
static bool merge(struct replica *r, const struct generation *remote, const uint8_t *remote_id,
		  struct tree *remote_tree)
{
	uint8_t base_id[32], id[32];
	struct tree *base = NULL, *mine = NULL, *merged = NULL;
	struct generation next;
	if (store_base_find(r->node.store, MIRROR, &r->head, remote, base_id) == 0)
		assert_int_equal(store_tree_get(r->node.store, MIRROR, base_id, &base), 0);
	assert_int_equal(store_tree_get(r->node.store, MIRROR, r->head_id, &mine), 0);
	bool mine_left = memcmp(r->head_id, remote_id, 32) < 0;
	struct tree *left = mine_left ? mine : remote_tree, *right = mine_left ? remote_tree : mine;
	const struct entry **entries = calloc(left->count + right->count + 1, sizeof *entries);
	struct merge_conflict found[4];
	struct merge_input in = {base ? base->entries : NULL, left->entries, right->entries,
				 base ? base->count : 0,      left->count,   right->count};
	struct merge_output out = {.entries = entries, .conflicts = found, .conflicts_room = 4};
	bool clean = merge_trees(&in, &out);
	if (clean) {
		assert_int_equal(tree_from_entries(out.entries, out.entries_count, &merged), 0);
		check_merge(base, left, right, merged);
		assert_true(generation_merge(&r->head, r->head_id, remote, remote_id, merged->hash,
					     &next));
		put(r, &next, merged, id);
		make_live(r, merged, id);
		merges++;
	}
	free(entries);
	tree_free(base);
	tree_free(mine);
	tree_free(merged);
	return clean;
}

/* r takes over what `from` has. resolve: a person says that r's side is right. */
static void take(struct replica *r, struct replica *from, bool resolve)
{
	struct tree *tree = NULL;
	uint8_t id[32], same[32];
	if (!from->has_head)
		return;
	assert_int_equal(store_tree_get(from->node.store, MIRROR, from->head_id, &tree), 0);
	enter(r);
	bool known = from->head.author[0] != '\0' &&
		     store_version_find(r->node.store, MIRROR, from->head.author,
					from->head.incarnation, from->head.counter, same) == 0;
	struct merge_situation s = {.definition = definition,
				    .head = r->has_head ? &r->head : NULL,
				    .head_id = r->head_id,
				    .local = MERGE_LOCAL_CLEAN,
				    .remote = &from->head,
				    .remote_id = from->head_id,
				    .same_version_id = known ? same : NULL};
	bool held = false;
	switch (merge_decide(&s)) {
	case MERGE_SAME:
	case MERGE_IGNORE:
		break;
	case MERGE_FAST_FORWARD:
		carry(from, r, tree);
		put(r, &from->head, tree, id);
		assert_memory_equal(id, from->head_id, 32);
		make_live(r, tree, id);
		fast_forwards++;
		break;
	case MERGE_MERGE:
		carry(from, r, tree);
		put(r, &from->head, tree, id);
		held = !merge(r, &from->head, from->head_id, tree);
		conflicts += held;
		break;
	case MERGE_DIVERGED:
		held = true;
		divergences++;
		break;
	case MERGE_WAIT:
	case MERGE_OTHER_DEFINITION:
	case MERGE_VERDICTS:
		fail_msg("seed %u: nothing here is unpublished or defined otherwise", seed_now);
	}
	if (held && resolve) {
		struct generation other = from->head;
		uint8_t other_id[32];
		memcpy(other_id, from->head_id, 32);
		carry(from, r, tree);
		author(r, &other, other_id);
	}
	leave(r);
	tree_free(tree);
}

/* R5: the merge of two heads, made on both nodes, is one generation. */
static void merge_on_both(struct replica *a, struct replica *b)
{
	struct replica was = *b;
	uint8_t before_a[32];
	memcpy(before_a, a->head_id, 32);
	unsigned before = merges;
	take(a, b, false);
	if (merges == before)
		return;
	/* b meets what a had before it merged. */
	struct replica a_before = *a;
	struct store_generation g;
	assert_int_equal(store_generation_get(a->node.store, MIRROR, before_a, &g), 0);
	a_before.head = g.header;
	memcpy(a_before.head_id, before_a, 32);
	assert_memory_equal(b->head_id, was.head_id, 32);
	take(b, &a_before, false);
	if (merges == before + 2 && memcmp(a->head.tree, b->head.tree, 32) == 0)
		assert_memory_equal(a->head_id, b->head_id, 32);
}

static bool all_equal(struct replica *r)
{
	for (int i = 1; i < NODES; i++)
		if (memcmp(r[0].head_id, r[i].head_id, 32) != 0)
			return false;
	return true;
}

static void run(unsigned seed)
{
	struct replica r[NODES];
	char first_path[300];
	seed_now = seed;
	random_state = 0x9e3779b97f4a7c15ull * (seed + 1);
	memset(r, 0, sizeof r);
	for (int i = 0; i < NODES; i++) {
		char name[16];
		snprintf(name, sizeof name, "web%d", i + 1);
		node_init_in(&r[i].node, name, top);
		snprintf(r[i].parked, sizeof r[i].parked, "%s/%s/live", top, name);
		snprintf(r[i].node.path, sizeof r[i].node.path, "%s", live_path);
	}
	/* One node begins, the others are set up from it. */
	enter(&r[0]);
	author(&r[0], NULL, NULL);
	leave(&r[0]);
	for (int i = 1; i < NODES; i++) {
		struct tree *tree;
		uint8_t id[32];
		assert_int_equal(store_tree_get(r[0].node.store, MIRROR, r[0].head_id, &tree), 0);
		put(&r[i], &r[0].head, tree, id);
		assert_int_equal(store_head_set(r[i].node.store, MIRROR, id), 0);
		note_head(&r[i]);
		tree_free(tree);
	}
	for (int round = 0; round < ROUNDS; round++) {
		struct replica *a = &r[pick(NODES)], *b = &r[pick(NODES)];
		switch (pick(4)) {
		case 0:
		case 1:
			enter(a);
			for (unsigned n = 1 + pick(3); n > 0; n--)
				edit();
			author(a, NULL, NULL);
			leave(a);
			break;
		case 2:
			if (a != b)
				take(a, b, pick(3) == 0);
			break;
		case 3:
			if (a != b)
				merge_on_both(a, b);
			break;
		}
	}
	/* Heal: everybody hears everybody, and one person settles what is held. */
	int settling = 0;
	while (!all_equal(r)) {
		if (++settling > SETTLING_MAX)
			fail_msg("seed %u: the nodes never become equal", seed);
		for (int i = 0; i < NODES; i++)
			for (int j = 0; j < NODES; j++)
				if (i != j)
					take(&r[i], &r[j], i == 0);
	}
	uint8_t hash[NODES][32];
	for (int i = 0; i < NODES; i++) {
		enter(&r[i]);
		struct tree *tree = look(&r[i]);
		memcpy(hash[i], tree->hash, 32);
		tree_free(tree);
		leave(&r[i]);
		assert_memory_equal(hash[i], hash[0], 32);
		assert_true(store_collect(r[i].node.store, r[i].node.objects) >= 0);
		node_close(&r[i].node);
		snprintf(first_path, sizeof first_path, "%s", r[i].node.dir);
		run_rm(first_path);
	}
}

static unsigned only_seed;

static void nodes_that_hear_each_other_become_equal(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= SEEDS; seed++)
		if (only_seed == 0 || only_seed == seed)
			run(seed);
	if (only_seed != 0)
		return;
	printf("figure: %d histories of %d rounds: %u fast forwards, %u merges, %u conflicts, %u "
	       "divergences, equal in the end\n",
	       SEEDS, ROUNDS, fast_forwards, merges, conflicts, divergences);
	assert_true(fast_forwards > 50 && merges > 20 && conflicts > 20 && divergences < conflicts);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(top, "/dev/shm/tandem-model-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(live_path, sizeof live_path, "%s/live", top);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	run_rm(top);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_that_hear_each_other_become_equal),
	};
	only_seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
