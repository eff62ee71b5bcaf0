/* SPDX-License-Identifier: Apache-2.0 */
/* The stage and the commit on a real file system: R8 to R15. */
#include "tests/unit/syncd_fixture.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "syncd/commit_private.h"

#define MIRROR "nginx"

/* The tree that the live directory would be after `change`, made in a copy of it; the objects are
 * in the node's store. */
static struct tree *tree_after(struct node *node, void (*change)(const char *dir))
{
	char command[1024];
	struct node copy = *node;
	snprintf(copy.path, sizeof copy.path, "%s/copy", node->dir);
	snprintf(command, sizeof command, "rm -rf '%s' && cp -a '%s' '%s'", copy.path, node->path,
		 copy.path);
	assert_int_equal(system(command), 0);
	change(copy.path);
	return node_scan_as(&copy, node->path);
}

/* What a scan finds now is the tree, in every way that counts. */
static void assert_live(struct node *node, const struct tree *tree)
{
	struct tree *live = node_scan(node);
	struct tree_diff diff;
	struct tree_change change;
	tree_diff_init(&diff, tree, live);
	while (tree_diff_next(&diff, &change))
		fail_msg("%s differs", change.from ? change.from->path : change.to->path);
	assert_memory_equal(live->hash, tree->hash, ENTRY_HASH_BYTES);
	tree_free(live);
}

static void assert_no_stage(struct node *node)
{
	struct stat st;
	assert_int_equal(stage_sweep(node->paths, 1, STAGE_SWEEP_ALL, NULL, node->objects, NULL,
				     NULL, &node->fault),
			 0);
	assert_int_equal(lstat(node_at(node, ENTRY_STAGE_NAME), &st), -1);
}

static void sh(const char *dir, const char *script)
{
	char command[4096];
	snprintf(command, sizeof command, "cd '%s' && %s", dir, script);
	assert_int_equal(system(command), 0);
}

static void make_first(const char *dir)
{
	sh(dir,
	   "mkdir -p conf.d sites-available sites-enabled old/deep empty &&"
	   "echo main > nginx.conf && echo a > conf.d/a.conf && echo b > conf.d/b.conf &&"
	   "echo s > sites-available/s && ln -s ../sites-available/s sites-enabled/s &&"
	   "echo x > old/x && echo y > old/deep/y && echo k > key && chmod 600 key &&"
	   "echo file > becomes-dir && mkdir becomes-file && echo in > becomes-file/in &&"
	   "mkdir becomes-link && ln -s a becomes-regular && touch -d 2001-02-03 conf.d/b.conf");
}

static void make_second(const char *dir)
{
	sh(dir,
	   "echo main2 > nginx.conf && rm conf.d/b.conf && echo c > conf.d/c.conf &&"
	   "chmod 0640 conf.d/a.conf && chown 1:2 key && rm -r old && mkdir -p new/deep &&"
	   "echo z > new/deep/z && chmod 0700 new && ln -sfn ../conf.d/c.conf sites-enabled/s &&"
	   "rm becomes-dir && mkdir becomes-dir && echo in > becomes-dir/in &&"
	   "rm -r becomes-file && echo f > becomes-file && rmdir becomes-link &&"
	   "ln -s new becomes-link && rm becomes-regular && echo r > becomes-regular &&"
	   "chmod 0711 empty && chown 3:4 empty && mkdir empty2 &&"
	   "touch -d 1969-12-31T23:59:58.25Z conf.d/c.conf");
}

static void every_kind_of_change_goes_live_and_back(void **state)
{
	struct node *node = *state;
	struct commit_result result;
	uint8_t first_id[32], second_id[32];
	struct stat st;
	make_first(node->path);
	struct tree *first = node_scan(node);
	node_author(node, MIRROR, first, true, first_id);
	struct tree *second = tree_after(node, make_second);
	node_author(node, MIRROR, second, false, second_id);
	struct stage *stage = node_stage(node, first, second, second_id);
	/* Nothing has changed so far. */
	assert_live(node, first);
	node_commit(node, MIRROR, stage, &result);
	assert_int_equal(result.outcome, COMMIT_LIVE);
	assert_int_equal(result.notes_count, 0);
	assert_live(node, second);
	/* mtimes travel, also those before 1970. */
	assert_int_equal(lstat(node_at(node, "conf.d/c.conf"), &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, -2);
	assert_int_equal(st.st_mtim.tv_nsec, 250000000);
	/* R11: head and live tree are stored. */
	uint8_t head[32];
	assert_int_equal(store_head_get(node->store, MIRROR, head), 0);
	assert_memory_equal(head, second_id, 32);
	struct tree *live;
	assert_int_equal(store_live_get(node->store, MIRROR, &live), 0);
	assert_memory_equal(live->hash, second->hash, 32);
	/* R12: a scan sees nothing that it would have to read. */
	struct tree *scanned = node_scan(node);
	assert_int_equal(scanned->count, live->count);
	for (size_t i = 0; i < live->count; i++) {
		if (live->entries[i].type == ENTRY_DIR)
			continue;
		if (!entry_seen_equal(&live->entries[i].seen, &scanned->entries[i].seen))
			fail_msg("%s is seen in another way than by a scan", live->entries[i].path);
	}
	tree_free(scanned);
	stage_free(stage);

	/* And the way back. */
	assert_int_equal(stage_sweep(node->paths, 1, STAGE_SWEEP_ALL, NULL, node->objects, NULL,
				     NULL, &node->fault),
			 0);
	stage = node_stage(node, live, first, first_id);
	commit_result_release(&result);
	node_commit(node, MIRROR, stage, &result);
	assert_int_equal(result.outcome, COMMIT_LIVE);
	assert_live(node, first);
	stage_free(stage);
	commit_result_release(&result);
	tree_free(live);
	tree_free(first);
	tree_free(second);
	assert_no_stage(node);
}

static void save_a(const char *dir)
{
	sh(dir, "echo theirs > conf.d/a.conf");
}

/* One change of conf.d/a.conf and of more around it, staged and ready. */
static struct stage *stage_change(struct node *node, struct tree **ret_from, struct tree **ret_to,
				  void (*change)(const char *dir))
{
	uint8_t id[32];
	make_first(node->path);
	*ret_from = node_scan(node);
	node_author(node, MIRROR, *ret_from, true, id);
	*ret_to = tree_after(node, change);
	node_author(node, MIRROR, *ret_to, false, id);
	return node_stage(node, *ret_from, *ret_to, id);
}

static void expect_edited(struct node *node, struct stage *stage, const char *relative,
			  struct commit_result *result)
{
	uint8_t before[32], after[32];
	assert_int_equal(store_head_get(node->store, MIRROR, before), 0);
	node_commit(node, MIRROR, stage, result);
	assert_int_equal(result->outcome, COMMIT_EDITED);
	assert_true(result->notes_count >= 1);
	assert_int_equal(result->notes[0].kind, COMMIT_NOTE_EDIT);
	assert_string_equal(result->notes[0].path, node_at(node, relative));
	assert_int_equal(store_head_get(node->store, MIRROR, after), 0);
	assert_memory_equal(before, after, 32);
}

/* R9, R10: the tree afterwards is the old one with exactly this edit. */
static void assert_old_with(struct node *node, const struct tree *from, const char *relative)
{
	struct tree *live = node_scan(node);
	struct tree_diff diff;
	struct tree_change change;
	int differences = 0;
	tree_diff_init(&diff, from, live);
	while (tree_diff_next(&diff, &change)) {
		const char *path = change.from ? change.from->path : change.to->path;
		assert_string_equal(path, node_at(node, relative));
		differences++;
	}
	assert_int_equal(differences, 1);
	tree_free(live);
}

static void finish(struct stage *stage, struct tree *from, struct tree *to,
		   struct commit_result *result)
{
	stage_discard(stage);
	tree_free(from);
	tree_free(to);
	commit_result_release(result);
}

static void an_edit_of_a_replaced_file_is_kept_and_everything_goes_back(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	struct stage *stage = stage_change(node, &from, &to, make_second);
	save_text(node_at(node, "nginx.conf"), "mine\n");
	expect_edited(node, stage, "nginx.conf", &result);
	assert_true(has_text(node_at(node, "nginx.conf"), "mine\n"));
	assert_old_with(node, from, "nginx.conf");
	finish(stage, from, to, &result);
	assert_no_stage(node);
}

static void an_edit_in_place_of_the_same_size_is_kept(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	struct stage *stage = stage_change(node, &from, &to, save_a);
	const char *path = node_at(node, "conf.d/a.conf");
	const struct entry *was = tree_find(from, path, strlen(path));
	struct stat st;
	int fd = open(path, O_WRONLY);
	/* The clock that the kernel stamps files by may be a coarse one. */
	do {
		assert_int_equal(pwrite(fd, "A\n", 2, 0), 2);
		assert_int_equal(fstat(fd, &st), 0);
	} while ((int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec ==
		 was->seen.ctime_ns);
	close(fd);
	expect_edited(node, stage, "conf.d/a.conf", &result);
	assert_true(has_text(node_at(node, "conf.d/a.conf"), "A\n"));
	assert_old_with(node, from, "conf.d/a.conf");
	finish(stage, from, to, &result);
}

static void a_chmod_of_a_replaced_file_is_kept(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	struct stage *stage = stage_change(node, &from, &to, save_a);
	assert_int_equal(chmod(node_at(node, "conf.d/a.conf"), 0600), 0);
	expect_edited(node, stage, "conf.d/a.conf", &result);
	assert_old_with(node, from, "conf.d/a.conf");
	finish(stage, from, to, &result);
}

static void a_removal_of_a_replaced_file_is_kept(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	struct stage *stage = stage_change(node, &from, &to, save_a);
	assert_int_equal(unlink(node_at(node, "conf.d/a.conf")), 0);
	expect_edited(node, stage, "conf.d/a.conf", &result);
	assert_old_with(node, from, "conf.d/a.conf");
	finish(stage, from, to, &result);
}

static void remove_b(const char *dir)
{
	sh(dir, "rm conf.d/b.conf && echo n > conf.d/n.conf");
}

static void an_edit_of_a_removed_file_is_kept(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	struct stage *stage = stage_change(node, &from, &to, remove_b);
	save_text(node_at(node, "conf.d/b.conf"), "mine\n");
	expect_edited(node, stage, "conf.d/b.conf", &result);
	assert_true(has_text(node_at(node, "conf.d/b.conf"), "mine\n"));
	assert_old_with(node, from, "conf.d/b.conf");
	finish(stage, from, to, &result);
}

static void the_same_removal_on_both_sides_is_no_edit(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	struct stage *stage = stage_change(node, &from, &to, remove_b);
	assert_int_equal(unlink(node_at(node, "conf.d/b.conf")), 0);
	node_commit(node, MIRROR, stage, &result);
	assert_int_equal(result.outcome, COMMIT_LIVE);
	assert_live(node, to);
	finish(stage, from, to, &result);
}

static void a_file_made_where_one_should_come_is_kept(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	struct stage *stage = stage_change(node, &from, &to, remove_b);
	save_text(node_at(node, "conf.d/n.conf"), "mine\n");
	expect_edited(node, stage, "conf.d/n.conf", &result);
	assert_true(has_text(node_at(node, "conf.d/n.conf"), "mine\n"));
	assert_old_with(node, from, "conf.d/n.conf");
	finish(stage, from, to, &result);
}

static void replace_dir(const char *dir)
{
	sh(dir, "rm -r becomes-file && echo f > becomes-file && echo main2 > nginx.conf");
}

static void a_directory_that_holds_something_is_not_replaced(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	struct stage *stage = stage_change(node, &from, &to, replace_dir);
	put_text(node_at(node, "becomes-file/mine"), "mine\n");
	expect_edited(node, stage, "becomes-file", &result);
	assert_old_with(node, from, "becomes-file/mine");
	finish(stage, from, to, &result);
}

static void remove_old(const char *dir)
{
	sh(dir, "rm -r old");
}

static void a_directory_that_holds_what_no_manifest_names_stays(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	struct stage *stage = stage_change(node, &from, &to, remove_old);
	put_text(node_at(node, "old/deep/.swp"), "mine\n");
	node_commit(node, MIRROR, stage, &result);
	/* R14. */
	assert_int_equal(result.outcome, COMMIT_LIVE);
	assert_int_equal(result.notes_count, 2);
	assert_int_equal(result.notes[0].kind, COMMIT_NOTE_LEFT);
	assert_string_equal(result.notes[0].path, node_at(node, "old/deep"));
	assert_string_equal(result.notes[1].path, node_at(node, "old"));
	assert_true(has_text(node_at(node, "old/deep/.swp"), "mine\n"));
	assert_memory_equal(result.live->hash, to->hash, 32);
	finish(stage, from, to, &result);
}

static void a_link_put_into_the_way_leads_nowhere(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	char outside[300];
	struct stage *stage = stage_change(node, &from, &to, save_a);
	snprintf(outside, sizeof outside, "%s/outside", node->dir);
	assert_int_equal(mkdir(outside, 0755), 0);
	sh(node->path, "mv conf.d ../moved && ln -s ../outside conf.d");
	char file[320];
	snprintf(file, sizeof file, "%s/a.conf", outside);
	put_text(file, "a\n");
	/* R15: the very content that would be expected, behind a link. */
	expect_edited(node, stage, "conf.d/a.conf", &result);
	assert_true(has_text(file, "a\n"));
	finish(stage, from, to, &result);
}

static void the_stage_shows_the_tree_as_it_would_be(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct stat st;
	char path[1024];
	struct stage *stage = stage_change(node, &from, &to, make_second);
	assert_int_equal(stage_roots_count(stage), 1);
	assert_string_equal(stage_root(stage, 0), node->path);
	snprintf(path, sizeof path, "%s/" ENTRY_STAGE_NAME, node->path);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	snprintf(path, sizeof path, "%s/" ENTRY_STAGE_NAME "/%s/", node->path,
		 stage_id_text(stage));
	size_t size = strlen(path);
	static const char *const there[] = {"new/nginx.conf",	  "new/conf.d/c.conf",
					    "new/new/deep/z",	  "new/key",
					    "new/becomes-dir/in", "new/becomes-link",
					    "new/empty",	  "new/empty2",
					    "gone/old",		  "gone/conf.d/b.conf",
					    "gone/becomes-dir",	  "gone/becomes-file"};
	for (size_t i = 0; i < sizeof there / sizeof there[0]; i++) {
		strcpy(path + size, there[i]);
		if (lstat(path, &st) != 0)
			fail_msg("%s is not staged", there[i]);
	}
	strcpy(path + size, "gone/old/x");
	assert_int_equal(lstat(path, &st), -1);
	strcpy(path + size, "new/conf.d/b.conf");
	assert_int_equal(lstat(path, &st), -1);
	strcpy(path + size, "new/key");
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, 1);
	assert_int_equal(st.st_gid, 2);
	strcpy(path + size, "new/conf.d");
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	stage_discard(stage);
	assert_live(node, from);
	snprintf(path, sizeof path, "%s/" ENTRY_STAGE_NAME, node->path);
	assert_int_equal(lstat(path, &st), -1);
	tree_free(from);
	tree_free(to);
}

static void a_missing_mirror_path_comes_with_the_commit(void **state)
{
	struct node *node = *state;
	struct commit_result result;
	uint8_t id[32];
	struct stat st;
	make_first(node->path);
	struct tree *to = node_scan(node);
	sh(node->dir, "rm -rf live");
	struct tree *from = node_scan(node);
	assert_int_equal(from->count, 0);
	node_author(node, MIRROR, from, true, id);
	node_author(node, MIRROR, to, false, id);
	struct stage *stage = node_stage(node, from, to, id);
	assert_string_equal(stage_root(stage, 0), node->dir);
	assert_int_equal(lstat(node->path, &st), -1);
	node_commit(node, MIRROR, stage, &result);
	assert_int_equal(result.outcome, COMMIT_LIVE);
	assert_live(node, to);
	finish(stage, from, to, &result);
	assert_no_stage(node);
	char above[300];
	snprintf(above, sizeof above, "%s/" ENTRY_STAGE_NAME, node->dir);
	assert_int_equal(lstat(above, &st), -1);
}

static int rescued_count;
static char rescued_path[4096];

static void count_rescue(void *ctx, const char *path, const uint8_t hash[ENTRY_HASH_BYTES])
{
	struct node *node = ctx;
	assert_true(objects_have(node->objects, hash));
	rescued_count++;
	snprintf(rescued_path, sizeof rescued_path, "%s", path);
}

static void an_edit_through_a_descriptor_that_was_open_is_rescued(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	struct stage *stage = stage_change(node, &from, &to, save_a);
	int fd = open(node_at(node, "conf.d/a.conf"), O_WRONLY);
	node_commit(node, MIRROR, stage, &result);
	assert_int_equal(result.outcome, COMMIT_LIVE);
	finish(stage, from, to, &result);
	/* An editor that writes in place has had it open all the time. */
	assert_int_equal(write(fd, "late\n", 5), 5);
	close(fd);
	rescued_count = 0;
	assert_int_equal(stage_sweep(node->paths, 1, STAGE_SWEEP_ALL, NULL, node->objects,
				     count_rescue, node, &node->fault),
			 0);
	assert_int_equal(rescued_count, 1);
	assert_string_equal(rescued_path, node_at(node, "conf.d/a.conf"));
	assert_true(has_text(node_at(node, "conf.d/a.conf"), "theirs\n"));
	assert_no_stage(node);
}

static size_t op_of(struct node *node, const struct stage *stage, const char *relative)
{
	size_t count;
	const struct plan_op *ops = stage_ops(stage, &count);
	for (size_t i = 0; i < count; i++)
		if (strcmp(plan_op_entry(&ops[i])->path, node_at(node, relative)) == 0)
			return i;
	fail_msg("nothing is to be done with %s", relative);
	return 0;
}

static void an_edit_that_is_put_back_takes_the_place_of_no_later_one(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result = {0};
	struct commit_place place;
	struct stage *stage = stage_change(node, &from, &to, save_a);
	char path[ENTRY_PATH_BYTES_MAX + 1];
	strcpy(path, node_at(node, "conf.d/a.conf"));
	commit_place_open(stage, op_of(node, stage, "conf.d/a.conf"), &place);
	/* An edit comes before the exchange, a later one after it has been seen in the stage. */
	save_text(path, "earlier edit\n");
	assert_int_equal(commit_move(stage, &place, JOURNAL_FORWARD, &node->fault), COMMIT_MOVED);
	assert_true(has_text(path, "theirs\n"));
	save_text(path, "later edit\n");
	assert_int_equal(commit_return(&place, JOURNAL_NEW, &node->fault), COMMIT_MOVED_EDIT);
	assert_true(has_text(path, "later edit\n"));
	/* Without a later one it is live again, and what was put there is in the stage. */
	save_text(path, "theirs\n");
	assert_int_equal(commit_return(&place, JOURNAL_NEW, &node->fault), COMMIT_MOVED_EDIT);
	assert_true(has_text(path, "earlier edit\n"));
	commit_place_close(&place);
	finish(stage, from, to, &result);
	assert_no_stage(node);
}

static bool has_stage(struct node *node, const struct stage *stage)
{
	char relative[sizeof ENTRY_STAGE_NAME + 80];
	struct stat st;
	snprintf(relative, sizeof relative, ENTRY_STAGE_NAME "/%s", stage_id_text(stage));
	return lstat(node_at(node, relative), &st) == 0;
}

static void one_stage_is_swept_or_all_but_one(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	uint8_t id[32] = {7};
	struct stage *first = stage_change(node, &from, &to, save_a);
	node_commit(node, MIRROR, first, &result);
	assert_int_equal(result.outcome, COMMIT_LIVE);
	struct stage *second = node_stage(node, to, from, id);
	assert_true(has_stage(node, first) && has_stage(node, second));
	assert_int_equal(stage_sweep(node->paths, 1, STAGE_SWEEP_OTHERS, id, node->objects, NULL,
				     NULL, &node->fault),
			 0);
	assert_true(!has_stage(node, first) && has_stage(node, second));
	assert_int_equal(stage_sweep(node->paths, 1, STAGE_SWEEP_ONE, stage_options_of(first)->id,
				     node->objects, NULL, NULL, &node->fault),
			 0);
	assert_true(has_stage(node, second));
	assert_int_equal(stage_sweep(node->paths, 1, STAGE_SWEEP_ONE, id, node->objects, NULL, NULL,
				     &node->fault),
			 0);
	assert_false(has_stage(node, second));
	stage_free(second);
	finish(first, from, to, &result);
	assert_no_stage(node);
}

static void a_damaged_object_is_refused_and_dropped(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct stage *stage = stage_change(node, &from, &to, save_a);
	stage_discard(stage);
	const struct entry *entry = tree_find(to, node_at(node, "conf.d/a.conf"),
					      strlen(node_at(node, "conf.d/a.conf")));
	char path[1024], hex[65];
	for (int i = 0; i < 32; i++)
		sprintf(hex + (ptrdiff_t)2 * i, "%02x", entry->hash[i]);
	snprintf(path, sizeof path, "%s/objects/%.2s/%s", node->state, hex, hex);
	put_text(path, "torn");
	uint8_t id[32] = {7};
	struct stage_options options = {node->paths, 1, id, from, to, node->objects};
	assert_int_equal(stage_build(&options, &stage, &node->fault), -EBADMSG);
	assert_non_null(strstr(node->fault.text, "damaged"));
	assert_non_null(strstr(node->fault.text, "conf.d/a.conf"));
	assert_false(objects_have(node->objects, entry->hash));
	assert_int_equal(stage_build(&options, &stage, &node->fault), -ENOENT);
	assert_live(node, from);
	tree_free(from);
	tree_free(to);
	assert_no_stage(node);
}

/* ---- a full disk (R13) ---- */

/* In a child with a mount namespace of its own: a small tmpfs holds the live tree. */
static int on_small_disk(struct node *node, const char *options, const char *expected)
{
	struct fault fault = {{0}};
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", node->path, "tmpfs", 0, options) != 0)
		return 10;
	make_first(node->path);
	struct tree *from = node_scan(node);
	uint8_t id[32], head[32];
	node_author(node, MIRROR, from, true, id);
	memcpy(head, id, 32);
	/* Forty files of 64 KiB. */
	struct tree *to = tree_new();
	char *big = malloc(65536);
	for (size_t i = 0; i < from->count; i++)
		if (tree_add(to, &from->entries[i]) != 0)
			return 11;
	for (int i = 0; i < 40; i++) {
		char path[400];
		struct entry entry = from->entries[1];
		memset(big, 'a' + i % 26, 65536);
		memcpy(big, &i, sizeof i);
		snprintf(path, sizeof path, "%s/big%d", node->path, i);
		entry.path = path;
		entry.path_size = (uint16_t)strlen(path);
		entry.type = ENTRY_FILE;
		entry.mode = 0644;
		entry.size = 65536;
		entry.target = "";
		entry.target_size = 0;
		if (objects_add_memory(node->objects, big, 65536, entry.hash, &fault) != 0 ||
		    tree_add(to, &entry) != 0)
			return 12;
	}
	free(big);
	if (tree_seal(to, NULL) != 0)
		return 13;
	node_author(node, MIRROR, to, false, id);
	struct stage_options stage_options = {node->paths, 1, id, from, to, node->objects};
	struct stage *stage;
	int rc = stage_build(&stage_options, &stage, &fault);
	if (rc != -ENOSPC || !strstr(fault.text, expected) || !strstr(fault.text, node->path) ||
	    !strstr(fault.text, "free some space")) {
		fprintf(stderr, "%d: %s\n", rc, fault.text);
		return 14;
	}
	assert_live(node, from);
	uint8_t now[32];
	if (store_head_get(node->store, MIRROR, now) != 0 || memcmp(now, head, 32) != 0)
		return 15;
	assert_no_stage(node);
	tree_free(from);
	tree_free(to);
	return 0;
}

static void run_on_small_disk(struct node *node, const char *options, const char *expected)
{
	int status;
	node_close(node);
	pid_t pid = fork();
	if (pid == 0) {
		node_open(node);
		_exit(on_small_disk(node, options, expected));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	node_open(node);
}

static void a_full_disk_refuses_and_leaves_the_old_tree(void **state)
{
	run_on_small_disk(*state, "size=1m", "KiB are free");
}

static void a_disk_without_inodes_refuses_and_leaves_the_old_tree(void **state)
{
	run_on_small_disk(*state, "size=16m,nr_inodes=40", "inodes");
}

/* ---- mounts ---- */

static int across_mounts(struct node *node)
{
	struct commit_result result;
	uint8_t id[32];
	char certs[320];
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return 10;
	make_first(node->path);
	snprintf(certs, sizeof certs, "%s/certs", node->path);
	if (mkdir(certs, 0755) != 0 || mount("tmpfs", certs, "tmpfs", 0, "size=1m,mode=755") != 0)
		return 11;
	put_text(node_at(node, "certs/c.pem"), "old\n");
	struct tree *from = node_scan(node);
	node_author(node, MIRROR, from, true, id);
	struct tree *to = tree_after(node, make_second);
	struct tree *both = NULL;
	struct entry changed =
		*tree_find(to, node_at(node, "certs/c.pem"), strlen(node_at(node, "certs/c.pem")));
	if (objects_add_memory(node->objects, "new\n", 4, changed.hash, &node->fault) != 0 ||
	    tree_apply(to, NULL, 0, &changed, 1, &both) != 0)
		return 12;
	node_author(node, MIRROR, both, false, id);
	struct stage *stage = node_stage(node, from, both, id);
	if (stage_roots_count(stage) != 2)
		return 13;
	node_commit(node, MIRROR, stage, &result);
	if (result.outcome != COMMIT_LIVE || !has_text(node_at(node, "certs/c.pem"), "new\n"))
		return 14;
	assert_live(node, both);
	finish(stage, from, to, &result);
	tree_free(both);
	assert_no_stage(node);
	struct stat st;
	return lstat(node_at(node, "certs/" ENTRY_STAGE_NAME), &st) == -1 ? 0 : 15;
}

static void each_mount_has_its_own_stage(void **state)
{
	struct node *node = *state;
	int status;
	node_close(node);
	pid_t pid = fork();
	if (pid == 0) {
		node_open(node);
		_exit(across_mounts(node));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	node_open(node);
}

static void a_database_that_takes_no_journal_leaves_everything_as_it_is(void **state)
{
	struct node *node = *state;
	struct tree *from, *to;
	struct commit_result result;
	uint8_t id[32] = {9};
	struct stage *stage = stage_change(node, &from, &to, make_second);
	/* One that was never closed is in the way. */
	struct store_journal journal = {.mirror = MIRROR, .from = from, .to = to};
	memcpy(journal.id, id, sizeof id);
	assert_int_equal(store_journal_put(node->store, &journal), 0);
	assert_int_equal(commit_run(node->store, MIRROR, stage, &result, &node->fault), 0);
	assert_int_equal(result.outcome, COMMIT_FAILED);
	assert_non_null(strstr(node->fault.text, "cannot write the journal"));
	assert_live(node, from);
	finish(stage, from, to, &result);
	assert_no_stage(node);
}

/* ---- owners ---- */

/* The manifest's owner has a name that leads to another number here than the file has: an account
 * that was made after the file came. What was seen counts, not what the name says today. */
static void an_owner_whose_name_means_another_number_here_is_no_edit(void **state)
{
	struct node *node = *state;
	struct commit_result result;
	uint8_t id[32];
	make_first(node->path);
	assert_int_equal(chown(node_at(node, "conf.d/a.conf"), 4242, 4243), 0);
	struct tree *scanned = node_scan(node), *from, *to;
	const char *path = node_at(node, "conf.d/a.conf");
	struct entry named = *tree_find(scanned, path, strlen(path)), changed;
	named.owner = named.group = "root";
	assert_int_equal(tree_apply(scanned, NULL, 0, &named, 1, &from), 0);
	node_author(node, MIRROR, from, true, id);
	changed = named;
	changed.size = 7;
	assert_int_equal(
		objects_add_memory(node->objects, "theirs\n", 7, changed.hash, &node->fault), 0);
	assert_int_equal(tree_apply(from, NULL, 0, &changed, 1, &to), 0);
	node_author(node, MIRROR, to, false, id);
	struct stage *stage = node_stage(node, from, to, id);
	node_commit(node, MIRROR, stage, &result);
	assert_int_equal(result.outcome, COMMIT_LIVE);
	assert_true(has_text(node_at(node, "conf.d/a.conf"), "theirs\n"));
	tree_free(scanned);
	finish(stage, from, to, &result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, node_set_up, node_tear_down)
		T(every_kind_of_change_goes_live_and_back),
		T(an_edit_of_a_replaced_file_is_kept_and_everything_goes_back),
		T(an_edit_in_place_of_the_same_size_is_kept),
		T(a_chmod_of_a_replaced_file_is_kept),
		T(a_removal_of_a_replaced_file_is_kept),
		T(an_edit_of_a_removed_file_is_kept),
		T(the_same_removal_on_both_sides_is_no_edit),
		T(a_file_made_where_one_should_come_is_kept),
		T(a_directory_that_holds_something_is_not_replaced),
		T(a_directory_that_holds_what_no_manifest_names_stays),
		T(a_link_put_into_the_way_leads_nowhere),
		T(the_stage_shows_the_tree_as_it_would_be),
		T(a_missing_mirror_path_comes_with_the_commit),
		T(an_edit_through_a_descriptor_that_was_open_is_rescued),
		T(one_stage_is_swept_or_all_but_one),
		T(an_edit_that_is_put_back_takes_the_place_of_no_later_one),
		T(a_damaged_object_is_refused_and_dropped),
		T(a_full_disk_refuses_and_leaves_the_old_tree),
		T(a_disk_without_inodes_refuses_and_leaves_the_old_tree),
		T(each_mount_has_its_own_stage),
		T(a_database_that_takes_no_journal_leaves_everything_as_it_is),
		T(an_owner_whose_name_means_another_number_here_is_no_edit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
