/* SPDX-License-Identifier: Apache-2.0 */
/* Entries and manifests: R1, R2, R3. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/tree.h"

static struct entry make(uint8_t type, const char *path)
{
	struct entry e;
	memset(&e, 0, sizeof e);
	e.type = type;
	e.path = path;
	e.path_size = (uint16_t)strlen(path);
	e.mode = type == ENTRY_DIR ? 0755 : type == ENTRY_FILE ? 0644 : 0777;
	e.owner = "root";
	e.group = "root";
	e.target = "";
	if (type == ENTRY_SYMLINK) {
		e.target = "target";
		e.target_size = 6;
	}
	return e;
}

static struct tree *sealed(const struct entry *entries, size_t count)
{
	struct tree *tree = tree_new();
	assert_non_null(tree);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(tree_add(tree, &entries[i]), 0);
	assert_int_equal(tree_seal(tree, NULL), 0);
	return tree;
}

static void paths_sort_so_that_a_directory_is_followed_by_what_is_in_it(void **state)
{
	(void)state;
	static const char *const sorted[] = {"/a",     "/a/b", "/a/b/c", "/a/b-c",
					     "/a/b.c", "/a-b", "/aa"};
	for (size_t i = 0; i < 7; i++)
		for (size_t j = 0; j < 7; j++) {
			int order = entry_path_compare(sorted[i], strlen(sorted[i]), sorted[j],
						       strlen(sorted[j]));
			assert_int_equal(order < 0, i < j);
			assert_int_equal(order > 0, i > j);
		}
}

static void paths_that_are_not_in_normal_form_are_refused(void **state)
{
	(void)state;
	char deep[1024] = "", name[300], longest[5000];
	static const struct {
		const char *path;
		enum entry_verdict verdict;
	} cells[] = {
		{"/a", ENTRY_OK},
		{"/a/b", ENTRY_OK},
		{"/a/..b", ENTRY_OK},
		{"/a/...", ENTRY_OK},
		{"/.a", ENTRY_OK},
		{"/a/.tandem-stages", ENTRY_OK},
		{"", ENTRY_BAD_PATH},
		{"/", ENTRY_BAD_PATH},
		{"a", ENTRY_BAD_PATH},
		{"a/b", ENTRY_BAD_PATH},
		{"//a", ENTRY_BAD_PATH},
		{"/a//b", ENTRY_BAD_PATH},
		{"/a/", ENTRY_BAD_PATH},
		{"/.", ENTRY_BAD_PATH},
		{"/..", ENTRY_BAD_PATH},
		{"/a/./b", ENTRY_BAD_PATH},
		{"/a/../b", ENTRY_BAD_PATH},
		{"/a/..", ENTRY_BAD_PATH},
		{"/a/.tandem-stage", ENTRY_STAGE_PATH},
		{"/.tandem-stage/a", ENTRY_STAGE_PATH},
	};
	for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++)
		if (entry_path_check(cells[i].path, strlen(cells[i].path)) != cells[i].verdict)
			fail_msg("'%s'", cells[i].path);
	assert_int_equal(entry_path_check("/a\0b", 4), ENTRY_BAD_PATH);
	for (int i = 0; i < ENTRY_DEPTH_MAX; i++)
		strcat(deep, "/d");
	assert_int_equal(entry_path_check(deep, strlen(deep)), ENTRY_OK);
	strcat(deep, "/d");
	assert_int_equal(entry_path_check(deep, strlen(deep)), ENTRY_BAD_PATH);
	memset(name, 'n', sizeof name);
	name[0] = '/';
	assert_int_equal(entry_path_check(name, 1 + ENTRY_NAME_BYTES_MAX), ENTRY_OK);
	assert_int_equal(entry_path_check(name, 2 + ENTRY_NAME_BYTES_MAX), ENTRY_BAD_PATH);
	for (size_t i = 0; i < sizeof longest; i++)
		longest[i] = i % 100 == 0 ? '/' : 'l';
	assert_int_equal(entry_path_check(longest, ENTRY_PATH_BYTES_MAX), ENTRY_OK);
	assert_int_equal(entry_path_check(longest, ENTRY_PATH_BYTES_MAX + 1), ENTRY_BAD_PATH);
}

static void entries_that_must_not_travel_are_refused(void **state)
{
	(void)state;
	struct entry e = make(ENTRY_FILE, "/m/f");
	assert_int_equal(entry_check(&e), ENTRY_OK);
	e.mode = 04755; /* setuid */
	assert_int_equal(entry_check(&e), ENTRY_BAD_MODE);
	e.mode = 02755;
	assert_int_equal(entry_check(&e), ENTRY_BAD_MODE);
	e.mode = 01644;
	assert_int_equal(entry_check(&e), ENTRY_BAD_MODE);
	e = make(ENTRY_DIR, "/m/d");
	e.mode = 03775;
	assert_int_equal(entry_check(&e), ENTRY_OK);
	e.mode = 04755;
	assert_int_equal(entry_check(&e), ENTRY_BAD_MODE);
	e.mode = 0100755;
	assert_int_equal(entry_check(&e), ENTRY_BAD_MODE);
	e = make(ENTRY_SYMLINK, "/m/l");
	assert_int_equal(entry_check(&e), ENTRY_OK);
	e.mode = 0755;
	assert_int_equal(entry_check(&e), ENTRY_BAD_MODE);
	e = make(ENTRY_SYMLINK, "/m/l");
	e.target = "";
	e.target_size = 0;
	assert_int_equal(entry_check(&e), ENTRY_BAD_TARGET);
	e = make(ENTRY_SYMLINK, "/m/l");
	e.hash[0] = 1;
	assert_int_equal(entry_check(&e), ENTRY_BAD_TARGET);
	e = make(ENTRY_FILE, "/m/f");
	e.target = "x";
	e.target_size = 1;
	assert_int_equal(entry_check(&e), ENTRY_BAD_TARGET);
	e = make(ENTRY_FILE, "/m/f");
	e.size = ENTRY_FILE_BYTES_MAX + 1;
	assert_int_equal(entry_check(&e), ENTRY_BAD_SIZE);
	e = make(ENTRY_DIR, "/m/d");
	e.size = 1;
	assert_int_equal(entry_check(&e), ENTRY_BAD_SIZE);
	static const char *const bad_owners[] = {"a:b", "a/b", "a b", "a\nb", "\x7f"};
	for (size_t i = 0; i < 5; i++) {
		e = make(ENTRY_FILE, "/m/f");
		e.owner = bad_owners[i];
		assert_int_equal(entry_check(&e), ENTRY_BAD_OWNER);
		e = make(ENTRY_FILE, "/m/f");
		e.group = bad_owners[i];
		assert_int_equal(entry_check(&e), ENTRY_BAD_OWNER);
	}
	e = make(0, "/m/f");
	assert_int_equal(entry_check(&e), ENTRY_BAD_TYPE);
	e.type = 4;
	assert_int_equal(entry_check(&e), ENTRY_BAD_TYPE);
	/* Every verdict has its words. */
	for (int v = 0; v < ENTRY_VERDICTS; v++)
		assert_true(strlen(entry_verdict_text((enum entry_verdict)v)) > 3);
}

/* R1: each thing that a reader can see changes the hash, and nothing else does. */
static void the_hash_is_about_what_can_be_seen(void **state)
{
	(void)state;
	struct entry base[] = {make(ENTRY_DIR, "/m"), make(ENTRY_DIR, "/m/d"),
			       make(ENTRY_FILE, "/m/d/f"), make(ENTRY_SYMLINK, "/m/d/l")};
	struct tree *original = sealed(base, 4);
	for (int change = 0; change < 16; change++) {
		struct entry e[4];
		bool differs = true;
		int about = 2;
		memcpy(e, base, sizeof e);
		switch (change) {
		case 0:
			e[2].mode = 0600;
			break;
		case 1:
			e[2].owner = "www-data";
			break;
		case 2:
			e[2].group = "www-data";
			break;
		case 3:
			e[2].size = 1;
			break;
		case 4:
			e[2].hash[31] = 1;
			break;
		case 5:
			e[3].target = "other!";
			about = 3;
			break;
		case 6:
			e[1].mode = 0700;
			about = 1;
			break;
		case 7:
			e[0].mode = 0700;
			about = 0;
			break;
		case 8:
			e[2].path = "/m/d/g";
			about = -1;
			break;
		case 9:
			e[2].owner = "";
			break;
		case 10:
			e[3].owner = "x";
			about = 3;
			break;
		case 11:
			e[2].mtime_ns = 5;
			differs = false;
			break;
		case 12:
			e[2].uid = 5;
			differs = false;
			break; /* it has a name */
		case 13:
			e[1].gid = 5;
			differs = false;
			break;
		case 14:
			e[1].mtime_ns = -1;
			differs = false;
			break;
		case 15:
			e[2].seen.ino = 5;
			differs = false;
			break;
		}
		struct tree *changed = sealed(e, 4);
		struct tree_diff diff;
		struct tree_change found;
		int differences = 0;
		if ((memcmp(original->hash, changed->hash, 32) != 0) != differs)
			fail_msg("change %d", change);
		tree_diff_init(&diff, original, changed);
		while (tree_diff_next(&diff, &found))
			differences++;
		assert_int_equal(differences, !differs ? 0 : about < 0 ? 2 : 1);
		if (about >= 0)
			assert_int_equal(entry_equal(&base[about], &e[about]), !differs);
		tree_free(changed);
	}
	tree_free(original);
	/* Where there is no name the number counts. */
	struct entry n[2] = {make(ENTRY_DIR, "/m"), make(ENTRY_DIR, "/m")};
	n[0].owner = n[1].owner = "";
	n[1].uid = 7;
	struct tree *a = sealed(&n[0], 1), *b = sealed(&n[1], 1);
	assert_memory_not_equal(a->hash, b->hash, 32);
	assert_false(entry_equal(&n[0], &n[1]));
	tree_free(a);
	tree_free(b);
}

static void the_same_entries_in_any_order_are_one_tree(void **state)
{
	(void)state;
	struct entry e[] = {make(ENTRY_DIR, "/m"),	make(ENTRY_DIR, "/m/b"),
			    make(ENTRY_FILE, "/m/b/x"), make(ENTRY_FILE, "/m/b-c"),
			    make(ENTRY_DIR, "/n"),	make(ENTRY_FILE, "/n/y")};
	struct tree *forward = sealed(e, 6);
	struct tree *backward = tree_new();
	for (int i = 5; i >= 0; i--)
		assert_int_equal(tree_add(backward, &e[i]), 0);
	assert_int_equal(tree_seal(backward, NULL), 0);
	assert_memory_equal(forward->hash, backward->hash, 32);
	/* Children, one level at a time. */
	size_t at = 0;
	assert_string_equal(tree_child_next(forward, "", 0, &at)->path, "/m");
	assert_string_equal(tree_child_next(forward, "", 0, &at)->path, "/n");
	assert_null(tree_child_next(forward, "", 0, &at));
	at = 0;
	assert_string_equal(tree_child_next(forward, "/m", 2, &at)->path, "/m/b");
	assert_string_equal(tree_child_next(forward, "/m", 2, &at)->path, "/m/b-c");
	assert_null(tree_child_next(forward, "/m", 2, &at));
	at = 0;
	assert_null(tree_child_next(forward, "/m/b-c", 6, &at));
	at = 0;
	assert_null(tree_child_next(forward, "/x", 2, &at));
	assert_non_null(tree_find(forward, "/m/b/x", 6));
	assert_null(tree_find(forward, "/m/b/", 5));
	tree_free(forward);
	tree_free(backward);
}

static int seal_of(const struct entry *entries, size_t count, const char *bad_path)
{
	const struct entry *bad = NULL;
	struct tree *tree = tree_new();
	for (size_t i = 0; i < count; i++)
		assert_int_equal(tree_add(tree, &entries[i]), 0);
	int rc = tree_seal(tree, &bad);
	if (rc != 0)
		assert_string_equal(bad->path, bad_path);
	tree_free(tree);
	return rc;
}

static void doubles_and_orphans_are_refused(void **state)
{
	(void)state;
	struct entry twice[] = {make(ENTRY_DIR, "/m"), make(ENTRY_FILE, "/m/f"),
				make(ENTRY_FILE, "/m/f")};
	assert_int_equal(seal_of(twice, 3, "/m/f"), ENTRY_DISORDER);
	struct entry orphan[] = {make(ENTRY_DIR, "/m"), make(ENTRY_FILE, "/m/d/f")};
	assert_int_equal(seal_of(orphan, 2, "/m/d/f"), ENTRY_NO_PARENT);
	struct entry in_file[] = {make(ENTRY_DIR, "/m"), make(ENTRY_FILE, "/m/d"),
				  make(ENTRY_FILE, "/m/d/f")};
	assert_int_equal(seal_of(in_file, 3, "/m/d/f"), ENTRY_NO_PARENT);
	struct entry in_link[] = {make(ENTRY_DIR, "/m"), make(ENTRY_SYMLINK, "/m/d"),
				  make(ENTRY_FILE, "/m/d/f")};
	assert_int_equal(seal_of(in_link, 3, "/m/d/f"), ENTRY_NO_PARENT);
}

static void what_lies_outside_the_mirrored_paths_is_refused(void **state)
{
	(void)state;
	static const char *const paths[] = {"/etc/nginx", "/etc/letsencrypt"};
	struct {
		struct entry entry;
		enum entry_verdict verdict;
	} cells[] = {
		{make(ENTRY_DIR, "/etc/nginx"), ENTRY_OK},
		{make(ENTRY_DIR, "/etc/letsencrypt"), ENTRY_OK},
		{make(ENTRY_DIR, "/etc"), ENTRY_OUTSIDE},
		{make(ENTRY_DIR, "/etc/nginx2"), ENTRY_OUTSIDE},
		{make(ENTRY_FILE, "/etc/passwd"), ENTRY_OUTSIDE},
		/* Below a path, but the path itself is missing. */
		{make(ENTRY_FILE, "/etc/nginx/f"), ENTRY_OUTSIDE},
		{make(ENTRY_FILE, "/etc/nginx"), ENTRY_BAD_TYPE},
		{make(ENTRY_SYMLINK, "/etc/nginx"), ENTRY_BAD_TYPE},
	};
	for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
		struct tree *tree = sealed(&cells[i].entry, 1);
		const struct entry *bad = NULL;
		if (tree_check_paths(tree, paths, 2, &bad) != cells[i].verdict)
			fail_msg("%s", cells[i].entry.path);
		assert_int_equal(bad != NULL, cells[i].verdict != ENTRY_OK);
		tree_free(tree);
	}
}

/* R2. */
static void what_is_encoded_decodes_to_the_same(void **state)
{
	(void)state;
	struct entry e[] = {make(ENTRY_DIR, "/m"), make(ENTRY_FILE, "/m/f"),
			    make(ENTRY_SYMLINK, "/m/l")};
	e[1].mtime_ns = -1234567890123;
	e[1].size = 1ull << 31;
	memset(e[1].hash, 0xab, 32);
	e[2].owner = "";
	e[2].uid = 0xfffffffe;
	struct tree *tree = sealed(e, 3), *back;
	size_t size = tree_encoded_size(tree);
	uint8_t *data = malloc(size), *again = malloc(size);
	tree_encode(tree, data);
	assert_int_equal(tree_decode(data, size, &back), 0);
	assert_int_equal(back->count, 3);
	assert_memory_equal(back->hash, tree->hash, 32);
	assert_int_equal(back->entries[1].mtime_ns, e[1].mtime_ns);
	assert_int_equal(back->entries[2].uid, 0xfffffffe);
	tree_encode(back, again);
	assert_memory_equal(data, again, size);
	tree_free(back);
	/* Each prefix, and one byte more. */
	for (size_t cut = 0; cut < size; cut++) {
		uint8_t *part = malloc(cut ? cut : 1);
		memcpy(part, data, cut);
		int rc = tree_decode(part, cut, &back);
		if (rc != ENTRY_TRUNCATED)
			fail_msg("cut at %zu: %d", cut, rc);
		free(part);
	}
	uint8_t *more = malloc(size + 1);
	memcpy(more, data, size);
	more[size] = 0;
	assert_int_equal(tree_decode(more, size + 1, &back), ENTRY_TRAILING);
	more[0] = 2;
	assert_int_equal(tree_decode(more, size, &back), ENTRY_BAD_VERSION);
	more[0] = 1;
	more[1] = 0xff;
	assert_int_equal(tree_decode(more, size, &back), ENTRY_TOO_MANY);
	free(more);
	/* Two entries change places. */
	struct entry_strings *strings = malloc(sizeof *strings);
	struct wire_writer writer;
	wire_writer_init(&writer, data, size);
	wire_put_u8(&writer, 1);
	wire_put_u32(&writer, 3);
	entry_encode(&writer, &e[0]);
	entry_encode(&writer, &e[2]);
	entry_encode(&writer, &e[1]);
	assert_int_equal(tree_decode(data, size, &back), ENTRY_DISORDER);
	free(strings);
	free(data);
	free(again);
	tree_free(tree);
}

static void a_tree_is_made_of_another_and_changes(void **state)
{
	(void)state;
	struct entry e[] = {make(ENTRY_DIR, "/m"), make(ENTRY_FILE, "/m/a"),
			    make(ENTRY_FILE, "/m/b"), make(ENTRY_FILE, "/m/c")};
	e[1].seen.ino = 11;
	struct tree *base = sealed(e, 4), *next;
	static const char *const removed[] = {"/m/b", "/m/none"};
	struct entry changed[] = {make(ENTRY_FILE, "/m/d"), make(ENTRY_FILE, "/m/c")};
	changed[1].size = 9;
	assert_int_equal(tree_apply(base, removed, 2, changed, 2, &next), 0);
	assert_int_equal(next->count, 4);
	assert_null(tree_find(next, "/m/b", 4));
	assert_int_equal(tree_find(next, "/m/c", 4)->size, 9);
	assert_int_equal(tree_find(next, "/m/a", 4)->seen.ino, 11);
	tree_free(next);
	struct entry orphan = make(ENTRY_FILE, "/m/x/y");
	assert_int_equal(tree_apply(base, NULL, 0, &orphan, 1, &next), ENTRY_NO_PARENT);
	static const char *const root[] = {"/m"};
	/* Without its root nothing stands under another one, but the children are roots themselves:
	 * the receiver's check of the paths is what refuses them. */
	assert_int_equal(tree_apply(base, root, 1, NULL, 0, &next), 0);
	assert_int_equal(tree_check_paths(next, root, 1, NULL), ENTRY_OUTSIDE);
	tree_free(next);
	assert_int_equal(tree_apply(NULL, NULL, 0, e, 4, &next), 0);
	assert_memory_equal(next->hash, base->hash, 32);
	tree_free(next);
	tree_free(base);
}

static void a_definition_does_not_depend_on_order_or_repetition(void **state)
{
	(void)state;
	static const char *const p1[] = {"/a", "/b"}, *const p2[] = {"/b", "/a", "/b"};
	static const char *const x1[] = {"*.swp"}, *const x2[] = {"*.swp", "*~"};
	uint8_t a[32], b[32];
	tree_definition_hash(p1, 2, x1, 1, a);
	tree_definition_hash(p2, 3, x1, 1, b);
	assert_memory_equal(a, b, 32);
	tree_definition_hash(p1, 2, x2, 2, b);
	assert_memory_not_equal(a, b, 32);
	tree_definition_hash(p1, 1, x1, 1, b);
	assert_memory_not_equal(a, b, 32);
	tree_definition_hash(p1, 2, NULL, 0, b);
	assert_memory_not_equal(a, b, 32);
}

static void a_manifest_has_a_ceiling(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct entry e = make(ENTRY_DIR, "/m");
	char path[64];
	assert_int_equal(tree_add(tree, &e), 0);
	for (int i = 1; i < TREE_ENTRIES_MAX; i++) {
		snprintf(path, sizeof path, "/m/%06d", i);
		e = make(ENTRY_FILE, path);
		if (tree_add(tree, &e) != 0)
			fail_msg("entry %d", i);
	}
	e = make(ENTRY_FILE, "/m/z");
	assert_int_equal(tree_add(tree, &e), ENTRY_TOO_MANY);
	assert_int_equal(tree_seal(tree, NULL), 0);
	tree_free(tree);
	/* And in bytes. */
	tree = tree_new();
	char *longest = malloc(ENTRY_PATH_BYTES_MAX + 1), tail[16];
	int rc = 0, added = 0;
	while (rc == 0) {
		for (int i = 0; i < ENTRY_PATH_BYTES_MAX; i++)
			longest[i] = i % 200 == 0 ? '/' : 'l';
		longest[ENTRY_PATH_BYTES_MAX] = '\0';
		snprintf(tail, sizeof tail, "%08d", added);
		memcpy(longest + ENTRY_PATH_BYTES_MAX - 8, tail, 8);
		e = make(ENTRY_FILE, longest);
		rc = tree_add(tree, &e);
		added += rc == 0;
	}
	assert_int_equal(rc, ENTRY_TOO_LARGE);
	assert_true((size_t)added * ENTRY_PATH_BYTES_MAX < TREE_ENCODED_BYTES_MAX);
	free(longest);
	tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_sort_so_that_a_directory_is_followed_by_what_is_in_it),
		cmocka_unit_test(paths_that_are_not_in_normal_form_are_refused),
		cmocka_unit_test(entries_that_must_not_travel_are_refused),
		cmocka_unit_test(the_hash_is_about_what_can_be_seen),
		cmocka_unit_test(the_same_entries_in_any_order_are_one_tree),
		cmocka_unit_test(doubles_and_orphans_are_refused),
		cmocka_unit_test(what_lies_outside_the_mirrored_paths_is_refused),
		cmocka_unit_test(what_is_encoded_decodes_to_the_same),
		cmocka_unit_test(a_tree_is_made_of_another_and_changes),
		cmocka_unit_test(a_definition_does_not_depend_on_order_or_repetition),
		cmocka_unit_test(a_manifest_has_a_ceiling),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
