/* SPDX-License-Identifier: Apache-2.0 */
/* From two manifests to ordered operations, and from any crash point to what is left: R9, R10. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/journal.h"
#include "syncd/plan.h"

#define SIDE_MAX 24
struct side {
	struct entry entries[SIDE_MAX];
	size_t count;
};

/* One letter, a blank and a path: 'd' and 'D' are directories of two modes, anything else a file
 * with that content, 'l' a link. Sorted. */
static void side_of(const char *const *lines, struct side *side)
{
	side->count = 0;
	for (; *lines; lines++) {
		struct entry *e = &side->entries[side->count++];
		char letter = (*lines)[0];
		assert_true(side->count < SIDE_MAX);
		memset(e, 0, sizeof *e);
		e->path = *lines + 2;
		e->path_size = (uint16_t)strlen(e->path);
		e->owner = e->group = "root";
		e->target = "";
		e->type = letter == 'd' || letter == 'D' ? ENTRY_DIR
			  : letter == 'l'		 ? ENTRY_SYMLINK
							 : ENTRY_FILE;
		e->mode = letter == 'D' ? 0700 : 0755;
		e->hash[0] = (uint8_t)letter;
		if (e->type == ENTRY_FILE)
			e->size = 10;
	}
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_plan(const char *const *from_lines, const char *const *to_lines,
			const char *const *wanted)
{
	struct side from, to;
	struct plan_op ops[2 * SIDE_MAX];
	struct plan_totals totals;
	side_of(from_lines, &from);
	side_of(to_lines, &to);
	size_t count = plan_build(from.entries, from.count, to.entries, to.count, ops, &totals);
	assert_int_equal(totals.ops, count);
	for (size_t i = 0; i < count; i++) {
		char text[256];
		snprintf(text, sizeof text, "%s %s", plan_kind_name(ops[i].kind),
			 plan_op_entry(&ops[i])->path);
		if (!wanted[i])
			fail_msg("one more: %s", text);
		assert_string_equal(text, wanted[i]);
	}
	assert_null(wanted[count]);
}

static void equal_trees_need_nothing(void **state)
{
	(void)state;
	assert_plan(LINES("d /m", "a /m/f"), LINES("d /m", "a /m/f"), LINES(NULL));
	assert_plan(LINES(NULL), LINES(NULL), LINES(NULL));
}

static void what_comes_comes_before_what_goes(void **state)
{
	(void)state;
	assert_plan(LINES("d /m", "a /m/changed", "d /m/old", "d /m/old/deep", "a /m/old/deep/x"),
		    LINES("d /m", "b /m/changed", "d /m/new", "d /m/new/deep", "a /m/new/deep/x"),
		    LINES("make-dir /m/new", "make-dir /m/new/deep", "create /m/new/deep/x",
			  "replace /m/changed", "remove /m/old/deep/x", "remove-dir /m/old/deep",
			  "remove-dir /m/old"));
}

static void attributes_of_directories_change_in_place_and_of_files_with_the_file(void **state)
{
	(void)state;
	struct side from, to;
	struct plan_op ops[8];
	struct plan_totals totals;
	assert_plan(LINES("d /m", "d /m/d"), LINES("d /m", "D /m/d"), LINES("attrs /m/d"));
	side_of(LINES("d /m", "a /m/f"), &from);
	side_of(LINES("d /m", "a /m/f"), &to);
	to.entries[1].mode = 0600;
	assert_int_equal(plan_build(from.entries, 2, to.entries, 2, ops, &totals), 1);
	assert_int_equal(ops[0].kind, PLAN_REPLACE);
	/* What cannot be seen needs nothing. */
	to.entries[1].mode = from.entries[1].mode;
	to.entries[1].mtime_ns = 5;
	assert_int_equal(plan_build(from.entries, 2, to.entries, 2, ops, &totals), 0);
}

static void a_change_of_type_makes_room_first(void **state)
{
	(void)state;
	assert_plan(LINES("d /m", "a /m/x"), LINES("d /m", "d /m/x", "b /m/x/y"),
		    LINES("remove /m/x", "make-dir /m/x", "create /m/x/y"));
	assert_plan(LINES("d /m", "d /m/x", "d /m/x/d", "b /m/x/y"), LINES("d /m", "a /m/x"),
		    LINES("remove /m/x/y", "remove-dir /m/x/d", "remove-dir /m/x", "create /m/x"));
	assert_plan(LINES("d /m", "d /m/x"), LINES("d /m", "l /m/x"),
		    LINES("remove-dir /m/x", "create /m/x"));
	/* A file and a link exchange places like two files. */
	assert_plan(LINES("d /m", "a /m/x"), LINES("d /m", "l /m/x"), LINES("replace /m/x"));
	assert_plan(LINES("d /m", "l /m/x"), LINES("d /m", "a /m/x"), LINES("replace /m/x"));
}

static void a_neighbour_with_the_same_beginning_is_not_below(void **state)
{
	(void)state;
	assert_plan(LINES("d /m", "d /m/x", "b /m/x/y", "b /m/x-y"), LINES("d /m", "a /m/x"),
		    LINES("remove /m/x/y", "remove-dir /m/x", "create /m/x", "remove /m/x-y"));
}

static void totals_say_what_it_will_cost(void **state)
{
	(void)state;
	struct side from, to;
	struct plan_op ops[2 * SIDE_MAX];
	struct plan_totals totals;
	side_of(LINES("d /m", "a /m/1", "a /m/2", "d /m/d"), &from);
	side_of(LINES("d /m", "b /m/1", "c /m/3", "d /m/e"), &to);
	plan_build(from.entries, from.count, to.entries, to.count, ops, &totals);
	assert_int_equal(totals.put_files, 2);
	assert_int_equal(totals.put_bytes, 20);
	assert_int_equal(totals.dirs, 1);
	assert_int_equal(totals.removed, 1);
}

/* ---- the journal ---- */

/* A disk of two places, and what each may hold. '-' nothing, 'o' the old, 'n' the new, 'e' and 'f'
 * edits. Running an operation's steps until nothing is left must come to an end in which no edit is
 * lost, whatever the disk held, and however often it is begun anew. */
struct disk {
	char live, stage;
	bool rescued[2]; /* e, f */
	bool edited;
};

static enum journal_sight sight_of(char content)
{
	return content == '-'	? JOURNAL_ABSENT
	       : content == 'o' ? JOURNAL_OLD
	       : content == 'n' ? JOURNAL_NEW
				: JOURNAL_OTHER;
}

static void note_rescue(struct disk *disk)
{
	if (disk->stage == 'e' || disk->stage == 'f')
		disk->rescued[disk->stage - 'e'] = true;
}

/* As commit_moves.c does it: never overwriting. */
static void move(struct disk *disk, enum plan_kind kind, enum journal_direction direction)
{
	char swap = disk->live;
	bool into_live = (kind == PLAN_CREATE) == (direction == JOURNAL_FORWARD);
	if (kind == PLAN_REPLACE) {
		assert_true(disk->live != '-' && disk->stage != '-');
		disk->live = disk->stage;
		disk->stage = swap;
		return;
	}
	if (into_live) {
		assert_true(disk->live == '-' && disk->stage != '-');
		disk->live = disk->stage;
		disk->stage = '-';
	} else {
		assert_true(disk->stage == '-' && disk->live != '-');
		disk->stage = disk->live;
		disk->live = '-';
	}
}

static enum journal_step step_once(struct disk *disk, enum plan_kind kind,
				   enum journal_direction direction)
{
	enum journal_step step =
		journal_decide(kind, direction, sight_of(disk->live), sight_of(disk->stage));
	switch (step) {
	case JOURNAL_DONE:
	case JOURNAL_STEPS:
		break;
	case JOURNAL_KEEP:
		disk->edited = true;
		break;
	case JOURNAL_RESCUE:
		note_rescue(disk);
		disk->stage = direction == JOURNAL_FORWARD ? 'o' : 'n'; /* it counts as known now */
		break;
	case JOURNAL_RESTAGE:
		assert_int_equal(disk->stage, '-');
		disk->stage = direction == JOURNAL_FORWARD ? 'n' : 'o';
		break;
	case JOURNAL_RETURN:
		if (kind == PLAN_REPLACE)
			move(disk, kind, direction);
		else {
			assert_int_equal(disk->live, '-');
			disk->live = disk->stage;
			disk->stage = '-';
		}
		disk->edited = true;
		break;
	case JOURNAL_MOVE:
		move(disk, kind, direction);
		break;
	}
	return step;
}

static bool has(const struct disk *disk, char edit)
{
	return disk->live == edit || disk->stage == edit || disk->rescued[edit - 'e'];
}

static void from_every_state_of_the_disk_no_edit_is_lost_and_an_end_is_reached(void **state)
{
	(void)state;
	static const enum plan_kind kinds[] = {PLAN_CREATE, PLAN_REPLACE, PLAN_REMOVE};
	static const char contents[] = "-one";
	int cells = 0;
	for (int k = 0; k < 3; k++)
		for (int d = 0; d < 2; d++)
			for (int l = 0; l < 4; l++)
				for (int s = 0; s < 4; s++) {
					struct disk disk = {.live = contents[l],
							    .stage = contents[s]};
					/* Two edits at two places are two. */
					if (disk.live == 'e' && disk.stage == 'e')
						disk.stage = 'f';
					struct disk before = disk;
					enum journal_step step = JOURNAL_STEPS;
					int steps = 0;
					do
						step = step_once(&disk, kinds[k],
								 (enum journal_direction)d);
					while (step != JOURNAL_DONE && step != JOURNAL_KEEP &&
					       step != JOURNAL_RESCUE && ++steps < 10);
					if (steps >= 10)
						fail_msg("%s never ends", plan_kind_name(kinds[k]));
					/* R10: live, or rescued. In the stage alone it would be
					 * swept. */
					for (char edit = 'e'; edit <= 'f'; edit++)
						if (has(&before, edit) && disk.live != edit &&
						    !disk.rescued[edit - 'e'])
							fail_msg("%s, direction %d, live %c, "
								 "stage %c: an edit is lost",
								 plan_kind_name(kinds[k]), d,
								 before.live, before.stage);
					cells++;
				}
	assert_int_equal(cells, 96);
}

/* R9: what the operation itself leaves behind at any point leads to the end it should. */
static void an_undisturbed_operation_ends_where_it_should(void **state)
{
	(void)state;
	static const struct {
		enum plan_kind kind;
		const char *begin, *end; /* live, stage */
	} cells[] = {
		{PLAN_CREATE, "-n", "n-"}, {PLAN_REPLACE, "on", "no"}, {PLAN_REMOVE, "o-", "-o"}};
	for (int i = 0; i < 3; i++)
		for (int point = 0; point < 2; point++)
			for (int d = 0; d < 2; d++) {
				const char *now = point ? cells[i].end : cells[i].begin;
				const char *goal =
					d == JOURNAL_FORWARD ? cells[i].end : cells[i].begin;
				struct disk disk = {.live = now[0], .stage = now[1]};
				while (step_once(&disk, cells[i].kind, (enum journal_direction)d) !=
				       JOURNAL_DONE)
					;
				assert_int_equal(disk.live, goal[0]);
				assert_int_equal(disk.stage, goal[1]);
				assert_false(disk.edited);
			}
}

static void an_emptied_stage_is_filled_again(void **state)
{
	(void)state;
	struct disk disk = {.live = 'o', .stage = '-'};
	assert_int_equal(step_once(&disk, PLAN_REPLACE, JOURNAL_FORWARD), JOURNAL_RESTAGE);
	assert_int_equal(step_once(&disk, PLAN_REPLACE, JOURNAL_FORWARD), JOURNAL_MOVE);
	assert_int_equal(disk.live, 'n');
	disk = (struct disk){.live = 'n', .stage = '-'};
	assert_int_equal(step_once(&disk, PLAN_REPLACE, JOURNAL_BACK), JOURNAL_RESTAGE);
	assert_int_equal(step_once(&disk, PLAN_REPLACE, JOURNAL_BACK), JOURNAL_MOVE);
	assert_int_equal(disk.live, 'o');
	disk = (struct disk){.live = '-', .stage = '-'};
	assert_int_equal(step_once(&disk, PLAN_CREATE, JOURNAL_FORWARD), JOURNAL_RESTAGE);
}

/* One row for each kind and direction; columns: absent, old, new, other. */
static void directories_have_a_step_for_each_sight(void **state)
{
	(void)state;
	static const struct {
		enum plan_kind kind;
		enum journal_direction direction;
		const char *steps;
	} rows[] = {
		{PLAN_MAKE_DIR, JOURNAL_FORWARD, "move keep done keep"},
		{PLAN_MAKE_DIR, JOURNAL_BACK, "done done move keep"},
		{PLAN_ATTRS, JOURNAL_FORWARD, "keep move done keep"},
		{PLAN_ATTRS, JOURNAL_BACK, "keep done move keep"},
		{PLAN_REMOVE_DIR, JOURNAL_FORWARD, "done move done keep"},
		{PLAN_REMOVE_DIR, JOURNAL_BACK, "move done keep keep"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[128] = "";
		for (int live = 0; live < JOURNAL_SIGHTS; live++) {
			strcat(text, live ? " " : "");
			strcat(text, journal_step_name(journal_decide(
					     rows[i].kind, rows[i].direction,
					     (enum journal_sight)live, JOURNAL_ABSENT)));
		}
		assert_string_equal(text, rows[i].steps);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_trees_need_nothing),
		cmocka_unit_test(what_comes_comes_before_what_goes),
		cmocka_unit_test(
			attributes_of_directories_change_in_place_and_of_files_with_the_file),
		cmocka_unit_test(a_change_of_type_makes_room_first),
		cmocka_unit_test(a_neighbour_with_the_same_beginning_is_not_below),
		cmocka_unit_test(totals_say_what_it_will_cost),
		cmocka_unit_test(
			from_every_state_of_the_disk_no_edit_is_lost_and_an_end_is_reached),
		cmocka_unit_test(an_undisturbed_operation_ends_where_it_should),
		cmocka_unit_test(an_emptied_stage_is_filled_again),
		cmocka_unit_test(directories_have_a_step_for_each_sight),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
