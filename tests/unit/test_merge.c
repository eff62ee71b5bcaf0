/* SPDX-License-Identifier: Apache-2.0 */
/* What to do with a generation of another node, and three-way merges: R6, R7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/merge.h"

/* ---- deciding ---- */

static const uint8_t ours[32] = {1}, theirs[32] = {2};

struct made {
	struct generation g;
	uint8_t id[32];
};

static struct made author(const struct made *parent, const char *node, uint64_t counter,
			  uint8_t tree)
{
	struct made m;
	const struct generation *parents[1] = {parent ? &parent->g : NULL};
	uint8_t ids[1][32] = {{0}}, hash[32] = {tree};
	if (parent)
		memcpy(ids[0], parent->id, 32);
	assert_true(generation_author(parents, (const uint8_t(*)[32])ids, parent != NULL, ours,
				      hash, node, 1, counter, &m.g));
	generation_id(&m.g, m.id);
	return m;
}

static enum merge_verdict decide(const struct made *head, enum merge_local local,
				 const struct made *remote)
{
	struct merge_situation s = {.definition = ours,
				    .head = head ? &head->g : NULL,
				    .head_id = head ? head->id : NULL,
				    .local = local,
				    .remote = &remote->g,
				    .remote_id = remote->id};
	return merge_decide(&s);
}

static void each_relation_and_local_state_has_its_verdict(void **state)
{
	(void)state;
	struct made base = author(NULL, "web1", 1, 1);
	struct made ahead = author(&base, "web1", 2, 2);
	struct made aside = author(&base, "web2", 1, 3);
	struct made stranger = author(NULL, "web3", 1, 9);
	struct made twin = author(NULL, "web3", 1, 1); /* no common past, the same tree */
	/* Rows: remote; columns: unknown, clean, edited, invalid. */
	struct {
		const struct made *head, *remote;
		enum merge_verdict verdicts[4];
	} cells[] = {
		{&base, &base, {MERGE_SAME, MERGE_SAME, MERGE_SAME, MERGE_SAME}},
		{&ahead, &base, {MERGE_IGNORE, MERGE_IGNORE, MERGE_IGNORE, MERGE_IGNORE}},
		{&base, &ahead, {MERGE_WAIT, MERGE_FAST_FORWARD, MERGE_WAIT, MERGE_WAIT}},
		{&ahead, &aside, {MERGE_WAIT, MERGE_MERGE, MERGE_WAIT, MERGE_WAIT}},
		{&base,
		 &stranger,
		 {MERGE_DIVERGED, MERGE_DIVERGED, MERGE_DIVERGED, MERGE_DIVERGED}},
		{&base, &twin, {MERGE_WAIT, MERGE_MERGE, MERGE_WAIT, MERGE_WAIT}},
		{NULL, &base, {MERGE_WAIT, MERGE_WAIT, MERGE_WAIT, MERGE_WAIT}},
	};
	for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++)
		for (int local = 0; local < 4; local++) {
			enum merge_verdict verdict =
				decide(cells[i].head, (enum merge_local)local, cells[i].remote);
			if (verdict != cells[i].verdicts[local])
				fail_msg("row %zu, column %d: %s", i, local,
					 merge_verdict_name(verdict));
		}
}

static void nodes_that_define_a_mirror_differently_exchange_nothing(void **state)
{
	(void)state;
	struct made base = author(NULL, "web1", 1, 1);
	struct made remote = author(&base, "web1", 2, 2);
	memcpy(remote.g.definition, theirs, 32);
	generation_id(&remote.g, remote.id);
	for (int local = 0; local < 4; local++)
		assert_int_equal(decide(&base, (enum merge_local)local, &remote),
				 MERGE_OTHER_DEFINITION);
	/* A head from before our own change of the definition: what left it would look deleted. */
	struct made head = base, next = author(&base, "web1", 2, 2);
	memcpy(head.g.definition, theirs, 32);
	assert_int_equal(decide(&head, MERGE_LOCAL_CLEAN, &next), MERGE_WAIT);
}

static void one_version_with_two_contents_is_held(void **state)
{
	(void)state;
	struct made base = author(NULL, "web1", 1, 1);
	struct made one = author(&base, "web1", 2, 2), two = author(&base, "web1", 2, 3);
	struct made after = author(&one, "web1", 3, 4);
	assert_int_equal(decide(&one, MERGE_LOCAL_CLEAN, &two), MERGE_DIVERGED);
	/* By its numbers `two` is in the past of `after`; the store knows better. */
	struct merge_situation s = {.definition = ours,
				    .head = &after.g,
				    .head_id = after.id,
				    .local = MERGE_LOCAL_CLEAN,
				    .remote = &two.g,
				    .remote_id = two.id,
				    .same_version_id = one.id};
	assert_int_equal(merge_decide(&s), MERGE_DIVERGED);
	s.same_version_id = two.id;
	assert_int_equal(merge_decide(&s), MERGE_IGNORE);
}

static void the_same_along_two_ways_ends_at_the_lower_id(void **state)
{
	(void)state;
	struct made base = author(NULL, "web1", 1, 1);
	struct made a = author(&base, "web1", 2, 2), b = author(&base, "web2", 1, 3);
	struct made c = author(&base, "web3", 1, 4), ab, bc, abc, bca;
	const uint8_t hash[32] = {7};
	assert_true(generation_merge(&a.g, a.id, &b.g, b.id, hash, &ab.g));
	generation_id(&ab.g, ab.id);
	assert_true(generation_merge(&b.g, b.id, &c.g, c.id, hash, &bc.g));
	generation_id(&bc.g, bc.id);
	assert_true(generation_merge(&ab.g, ab.id, &c.g, c.id, hash, &abc.g));
	generation_id(&abc.g, abc.id);
	assert_true(generation_merge(&bc.g, bc.id, &a.g, a.id, hash, &bca.g));
	generation_id(&bca.g, bca.id);
	bool abc_lower = memcmp(abc.id, bca.id, 32) < 0;
	const struct made *low = abc_lower ? &abc : &bca, *high = abc_lower ? &bca : &abc;
	assert_int_equal(decide(high, MERGE_LOCAL_CLEAN, low), MERGE_FAST_FORWARD);
	assert_int_equal(decide(high, MERGE_LOCAL_EDITED, low), MERGE_WAIT);
	assert_int_equal(decide(low, MERGE_LOCAL_CLEAN, high), MERGE_IGNORE);
}

/* ---- merging ---- */

/* An entry as a letter: its content. '-' nothing, 'd' a directory, 'l' a link. */
static bool entry_of(char letter, const char *path, struct entry *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->path = path;
	ret->path_size = (uint16_t)strlen(path);
	ret->owner = ret->group = "root";
	ret->target = "";
	ret->type = letter == 'd' || letter == 'D' ? ENTRY_DIR
		    : letter == 'l'		   ? ENTRY_SYMLINK
						   : ENTRY_FILE;
	ret->mode = letter == 'D' ? 0700 : 0755;
	if (letter == 'l') {
		ret->target = "t";
		ret->target_size = 1;
	}
	ret->hash[0] = (uint8_t)letter;
	return letter != '-';
}

static void three_versions_of_a_path_have_one_outcome(void **state)
{
	(void)state;
	/* base, left, right -> L, R or ! */
	static const char *const cells[] = {
		"---L", "--aR", "-a-L", "-aaL", "-ab!", "a--L", "a-aL", "a-b!", "aa-R", "aaaL",
		"aabR", "ab-!", "abaL", "abbL", "abc!", "adaL", "aadR", "ad-!", "a-d!", "adl!",
		"addL", "dDdL", "ddDR", "dD-!", "dd-R", "d-dL", "lalL", "llaR",
	};
	for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
		struct entry e[3];
		const struct entry *p[3];
		for (int j = 0; j < 3; j++)
			p[j] = entry_of(cells[i][j], "/m/f", &e[j]) ? &e[j] : NULL;
		enum merge_choice choice = merge_path(p[0], p[1], p[2]);
		char wanted = cells[i][3];
		char found = choice == MERGE_LEFT ? 'L' : choice == MERGE_RIGHT ? 'R' : '!';
		if (found != wanted)
			fail_msg("%s: %c", cells[i], found);
	}
}

#define SIDE_MAX 16
struct side {
	struct entry entries[SIDE_MAX];
	size_t count;
};

/* "d /m\na /m/f": one letter, a blank and a path a line, sorted. */
static void side_of(const char *const *lines, struct side *side)
{
	side->count = 0;
	for (; *lines; lines++) {
		assert_true(side->count < SIDE_MAX);
		entry_of((*lines)[0], *lines + 2, &side->entries[side->count++]);
	}
}

struct merged {
	const struct entry *entries[2 * SIDE_MAX];
	struct merge_conflict conflicts[8];
	struct merge_output out;
	struct side base, left, right;
	bool ok;
};

static void do_merge(struct merged *m, const char *const *base, const char *const *left,
		     const char *const *right)
{
	side_of(base, &m->base);
	side_of(left, &m->left);
	side_of(right, &m->right);
	struct merge_input in = {m->base.entries, m->left.entries, m->right.entries,
				 m->base.count,	  m->left.count,   m->right.count};
	m->out = (struct merge_output){
		.entries = m->entries, .conflicts = m->conflicts, .conflicts_room = 8};
	m->ok = merge_trees(&in, &m->out);
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_result(const struct merged *m, const char *const *lines)
{
	struct side wanted;
	assert_true(m->ok);
	side_of(lines, &wanted);
	assert_int_equal(m->out.entries_count, wanted.count);
	for (size_t i = 0; i < wanted.count; i++) {
		assert_string_equal(m->entries[i]->path, wanted.entries[i].path);
		assert_true(entry_equal(m->entries[i], &wanted.entries[i]));
	}
}

static void assert_conflict(const struct merged *m, enum merge_conflict_kind kind, const char *path)
{
	assert_false(m->ok);
	assert_int_equal(m->out.conflicts_count, 1);
	const struct merge_conflict *c = &m->conflicts[0];
	assert_int_equal(c->kind, kind);
	assert_string_equal((c->left ? c->left : c->right)->path, path);
}

static void disjoint_changes_merge(void **state)
{
	(void)state;
	struct merged m;
	do_merge(&m, LINES("d /m", "a /m/1", "a /m/2", "a /m/3"),
		 LINES("d /m", "b /m/1", "a /m/2", "a /m/3", "n /m/4"),
		 LINES("d /m", "a /m/1", "a /m/3", "d /m/x", "y /m/x/y"));
	assert_result(&m, LINES("d /m", "b /m/1", "a /m/3", "n /m/4", "d /m/x", "y /m/x/y"));
	/* Nothing in common but the result. */
	do_merge(&m, LINES(NULL), LINES("d /m", "a /m/1"), LINES("d /m", "a /m/1"));
	assert_result(&m, LINES("d /m", "a /m/1"));
	/* Both remove a directory, one of them had more in it removed. */
	do_merge(&m, LINES("d /m", "d /m/d", "a /m/d/x"), LINES("d /m"), LINES("d /m", "d /m/d"));
	assert_result(&m, LINES("d /m"));
}

static void changes_of_one_path_are_a_conflict(void **state)
{
	(void)state;
	struct merged m;
	do_merge(&m, LINES("d /m", "a /m/1", "a /m/2"), LINES("d /m", "b /m/1", "b /m/2"),
		 LINES("d /m", "c /m/1", "a /m/2"));
	assert_conflict(&m, MERGE_BOTH_CHANGED, "/m/1");
	do_merge(&m, LINES("d /m", "a /m/1"), LINES("d /m"), LINES("d /m", "c /m/1"));
	assert_conflict(&m, MERGE_CHANGED_REMOVED, "/m/1");
	do_merge(&m, LINES("d /m"), LINES("d /m", "a /m/1"), LINES("d /m", "b /m/1"));
	assert_conflict(&m, MERGE_BOTH_CHANGED, "/m/1");
}

static void something_put_into_a_removed_directory_is_a_conflict(void **state)
{
	(void)state;
	struct merged m;
	do_merge(&m, LINES("d /m", "d /m/d", "a /m/d/x"), LINES("d /m"),
		 LINES("d /m", "d /m/d", "a /m/d/x", "n /m/d/y"));
	assert_conflict(&m, MERGE_NO_DIRECTORY, "/m/d/y");
	/* The other way round, and with a file in the directory's place. */
	do_merge(&m, LINES("d /m", "d /m/d"), LINES("d /m", "d /m/d", "n /m/d/y"),
		 LINES("d /m", "f /m/d"));
	assert_conflict(&m, MERGE_NO_DIRECTORY, "/m/d/y");
	/* Changed in it, and gone with it. */
	do_merge(&m, LINES("d /m", "d /m/d", "a /m/d/x"), LINES("d /m"),
		 LINES("d /m", "d /m/d", "b /m/d/x"));
	assert_conflict(&m, MERGE_CHANGED_REMOVED, "/m/d/x");
}

static void more_conflicts_than_fit_are_still_counted(void **state)
{
	(void)state;
	struct merged m;
	side_of(LINES("d /m"), &m.base);
	static const char *const names[] = {"/m/0", "/m/1", "/m/2", "/m/3", "/m/4",
					    "/m/5", "/m/6", "/m/7", "/m/8", "/m/9"};
	side_of(LINES("d /m"), &m.left);
	side_of(LINES("d /m"), &m.right);
	for (int i = 0; i < 10; i++) {
		entry_of('a', names[i], &m.left.entries[m.left.count++]);
		entry_of('b', names[i], &m.right.entries[m.right.count++]);
	}
	struct merge_input in = {m.base.entries, m.left.entries, m.right.entries,
				 m.base.count,	 m.left.count,	 m.right.count};
	m.out = (struct merge_output){
		.entries = m.entries, .conflicts = m.conflicts, .conflicts_room = 8};
	assert_false(merge_trees(&in, &m.out));
	assert_int_equal(m.out.conflicts_count, 10);
	assert_string_equal(m.conflicts[7].left->path, "/m/7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_relation_and_local_state_has_its_verdict),
		cmocka_unit_test(nodes_that_define_a_mirror_differently_exchange_nothing),
		cmocka_unit_test(one_version_with_two_contents_is_held),
		cmocka_unit_test(the_same_along_two_ways_ends_at_the_lower_id),
		cmocka_unit_test(three_versions_of_a_path_have_one_outcome),
		cmocka_unit_test(disjoint_changes_merge),
		cmocka_unit_test(changes_of_one_path_are_a_conflict),
		cmocka_unit_test(something_put_into_a_removed_directory_is_a_conflict),
		cmocka_unit_test(more_conflicts_than_fit_are_still_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
