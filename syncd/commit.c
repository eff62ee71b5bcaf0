/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/commit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "syncd/commit_private.h"

/* Directories: a few are made durable one by one, of many the file system is told at once. */
#define SYNC_SINGLE_MAX 16

struct run {
	struct store *store;
	const char *mirror;
	struct stage *stage;
	const struct tree *live; /* the whole live tree before; NULL: not known (recovery) */
	struct commit_result *result;
	struct fault *fault;
};

const char *commit_outcome_name(enum commit_outcome outcome)
{
	switch (outcome) {
	case COMMIT_NOTHING:
		return "nothing";
	case COMMIT_LIVE:
		return "live";
	case COMMIT_EDITED:
		return "edited";
	case COMMIT_FAILED:
		return "failed";
	}
	assert(!"an outcome without a name");
	return "";
}

void commit_result_release(struct commit_result *result)
{
	tree_free(result->live);
	for (size_t i = 0; i < result->notes_count; i++)
		free(result->notes[i].path);
	free(result->notes);
	memset(result, 0, sizeof *result);
}

static int add_note(struct run *run, enum commit_note_kind kind, const char *path,
		    const uint8_t *hash)
{
	struct commit_result *result = run->result;
	/* Running back meets the edit again that running forward has met. */
	for (size_t i = 0; i < result->notes_count; i++)
		if (result->notes[i].kind == kind && strcmp(result->notes[i].path, path) == 0 &&
		    (!hash || memcmp(result->notes[i].hash, hash, ENTRY_HASH_BYTES) == 0))
			return 0;
	if (result->notes_count == COMMIT_NOTES_MAX) {
		result->notes_dropped++;
		return 0;
	}
	struct commit_note *notes =
		realloc(result->notes, (result->notes_count + 1) * sizeof *notes);
	if (!notes)
		return -ENOMEM;
	result->notes = notes;
	struct commit_note *note = &notes[result->notes_count];
	memset(note, 0, sizeof *note);
	note->kind = kind;
	note->path = strdup(path);
	if (!note->path)
		return -ENOMEM;
	if (hash)
		memcpy(note->hash, hash, ENTRY_HASH_BYTES);
	result->notes_count++;
	return 0;
}

static const char *path_of(const struct commit_place *place)
{
	return plan_op_entry(place->op)->path;
}

static uint64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* What a move has come to, as a note. *edited is set where a local edit was in the way. */
static int judge_move(struct run *run, const struct commit_place *place, int moved, bool *edited)
{
	if (moved < 0 || moved == COMMIT_MOVED)
		return moved < 0 ? moved : 0;
	if (moved == COMMIT_MOVED_LEFT)
		return add_note(run, COMMIT_NOTE_LEFT, path_of(place), NULL);
	*edited = true;
	return add_note(run, COMMIT_NOTE_EDIT, path_of(place), NULL);
}

/* ---- the ordinary way: all renames in one burst, then a look at all that came out ---- */

static int burst(struct run *run, bool *edited)
{
	uint64_t begin_us = now_us();
	int rc = 0;
	for (size_t i = 0; i < run->stage->ops_count && rc == 0 && !*edited; i++) {
		struct commit_place place;
		commit_place_open(run->stage, i, &place);
		int moved = commit_move(run->stage, &place, JOURNAL_FORWARD, run->fault);
		rc = judge_move(run, &place, moved, edited);
		commit_place_close(&place);
	}
	run->result->exchange_us = now_us() - begin_us;
	return rc;
}

static int look_at_displaced(struct run *run, bool *edited)
{
	int rc = 0;
	for (size_t i = 0; i < run->stage->ops_count && rc == 0; i++) {
		struct commit_place place;
		enum journal_sight sight = JOURNAL_OLD;
		enum plan_kind kind = run->stage->ops[i].kind;
		if (kind != PLAN_REPLACE && kind != PLAN_REMOVE)
			continue;
		commit_place_open(run->stage, i, &place);
		rc = commit_look_kept(&place, &sight);
		if (rc < 0)
			fault_set(run->fault, rc, "%s: cannot read what was replaced",
				  path_of(&place));
		/* R10. Absent: it had been removed by somebody else already. */
		if (rc == 0 && sight != JOURNAL_OLD && sight != JOURNAL_ABSENT) {
			*edited = true;
			rc = add_note(run, COMMIT_NOTE_EDIT, path_of(&place), NULL);
		}
		commit_place_close(&place);
	}
	return rc;
}

/* ---- the careful way: from any state of the disk, in either direction (R9) ---- */

static int rescue(struct run *run, struct commit_place *place)
{
	uint8_t hash[ENTRY_HASH_BYTES];
	int rc = commit_rescue(run->stage, place, hash, run->fault);
	return rc < 0 ? rc : add_note(run, COMMIT_NOTE_RESCUED, path_of(place), hash);
}

static int take_step(struct run *run, struct commit_place *place, enum journal_direction direction,
		     enum journal_step step, enum journal_sight live, bool *edited)
{
	enum journal_sight kept;
	bool was_edited = false;
	int rc = 0;
	switch (step) {
	case JOURNAL_DONE:
		/* Whoever made it, it stays, so it is dressed as it should be. */
		if (place->op->kind == PLAN_MAKE_DIR && direction == JOURNAL_FORWARD &&
		    live == JOURNAL_NEW)
			return commit_adopt_dir(place, run->fault);
		return 0;
	case JOURNAL_KEEP:
		*edited = true;
		return add_note(run, COMMIT_NOTE_EDIT, path_of(place), NULL);
	case JOURNAL_RESCUE:
		return rescue(run, place);
	case JOURNAL_RESTAGE:
		rc = commit_restage(run->stage, place, direction, run->fault);
		if (rc < 0)
			return rc;
		rc = judge_move(run, place,
				commit_move_checked(run->stage, place, direction, run->fault),
				&was_edited);
		break;
	case JOURNAL_MOVE:
		rc = judge_move(run, place,
				commit_move_checked(run->stage, place, direction, run->fault),
				&was_edited);
		break;
	case JOURNAL_RETURN:
		rc = judge_move(run, place, commit_return(place, JOURNAL_NEW, run->fault),
				&was_edited);
		break;
	case JOURNAL_STEPS:
		assert(!"no such step");
	}
	if (rc < 0 || !was_edited)
		return rc;
	*edited = true;
	/* Two edits of one path: the later one is live, the earlier one must not be lost. */
	rc = commit_look_kept(place, &kept);
	return rc == 0 && kept == JOURNAL_OTHER ? rescue(run, place) : rc;
}

static int settle_one(struct run *run, size_t op, enum journal_direction direction, bool *edited)
{
	struct commit_place place;
	enum journal_sight live = JOURNAL_ABSENT, kept = JOURNAL_ABSENT;
	commit_place_open(run->stage, op, &place);
	int rc = commit_look_live(&place, direction, &live);
	if (rc == 0)
		rc = commit_look_kept(&place, &kept);
	if (rc < 0)
		fault_set(run->fault, rc, "%s: cannot look at it", path_of(&place));
	else
		rc = take_step(run, &place, direction,
			       journal_decide(place.op->kind, direction, live, kept), live, edited);
	commit_place_close(&place);
	return rc;
}

/* Forward stops at the first edit: there is only one way from there. Back goes through to the end.
 */
static int settle(struct run *run, enum journal_direction direction, bool *edited)
{
	size_t count = run->stage->ops_count;
	int rc = 0;
	for (size_t i = 0; i < count && rc == 0; i++) {
		if (direction == JOURNAL_FORWARD) {
			rc = settle_one(run, i, direction, edited);
			if (*edited)
				break;
		} else {
			rc = settle_one(run, count - 1 - i, direction, edited);
		}
	}
	return rc;
}

/* ---- making it durable ---- */

struct touched {
	const struct stage_root *root;
	char relative[ENTRY_PATH_BYTES_MAX + 1];
};

static int sync_dir(const struct run *run, const struct stage_root *root, const char *relative)
{
	const struct tree *to = run->stage->options.to;
	char path[2 * ENTRY_PATH_BYTES_MAX];
	int fd = stage_openat(root->fd, relative, O_RDONLY | O_DIRECTORY, 0);
	/* Going back has removed it, or an edit has: then its own directory says so. */
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV)
		return 0;
	if (fd < 0)
		return fault_set(run->fault, fd, "%s/%s: cannot open", root->path, relative);
	/* The renames have changed its mtime; where the manifest has one, it is put back. */
	size_t size = strlen(root->path);
	memcpy(path, root->path, size);
	if (strcmp(root->path, "/") == 0)
		size = 0;
	if (strcmp(relative, ".") != 0) {
		path[size++] = '/';
		memcpy(path + size, relative, strlen(relative));
		size += strlen(relative);
	}
	const struct entry *entry = size <= ENTRY_PATH_BYTES_MAX ? tree_find(to, path, size) : NULL;
	if (entry && entry->type == ENTRY_DIR && run->result->outcome == COMMIT_LIVE) {
		struct timespec times[2] = {
			{.tv_nsec = UTIME_OMIT},
			{.tv_sec = entry->mtime_ns / 1000000000,
			 .tv_nsec = entry->mtime_ns % 1000000000},
		};
		/* For people alone: a directory that does not take it is as good without. */
		if (entry->mtime_ns > 0)
			(void)futimens(fd, times);
	}
	int rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc < 0 ? fault_set(run->fault, rc, "%s/%s: cannot make it durable", root->path,
				  relative)
		      : 0;
}

static int sync_root(const struct run *run, const struct stage_root *root)
{
	return syncfs(root->stage_fd) < 0
		       ? fault_set(run->fault, -errno, "%s: cannot make it durable", root->path)
		       : 0;
}

/* The directory that the operation has renamed in, and the one that it is about. */
static int sync_touched(struct run *run)
{
	struct stage *stage = run->stage;
	struct touched *last = calloc(1, sizeof *last);
	size_t count = 0;
	int rc = last ? 0 : -ENOMEM;
	for (size_t i = 0; i < stage->ops_count && rc == 0; i++) {
		struct stage_place at = stage_place_of(stage, i);
		const char *slash = strrchr(at.relative, '/');
		size_t size = slash ? (size_t)(slash - at.relative) : 1;
		const char *parent = slash ? at.relative : ".";
		bool same = last->root == at.root && strlen(last->relative) == size &&
			    memcmp(last->relative, parent, size) == 0;
		if (!same) {
			if (count++ == SYNC_SINGLE_MAX)
				break;
			last->root = at.root;
			memcpy(last->relative, parent, size);
			last->relative[size] = '\0';
			rc = sync_dir(run, at.root, last->relative);
		}
		enum plan_kind kind = stage->ops[i].kind;
		if (rc == 0 && (kind == PLAN_MAKE_DIR || kind == PLAN_ATTRS))
			rc = sync_dir(run, at.root, at.relative);
	}
	free(last);
	for (size_t i = 0; i < stage->roots_count && rc == 0 && count > SYNC_SINGLE_MAX; i++)
		rc = sync_root(run, &stage->roots[i]);
	return rc;
}

/* ---- the live tree afterwards (R12) ---- */

/* The sight of what is live at the place, if it is what it should be; else none, so that the next
 * scan reads it. Taken twice around the reading: an edit in between changes it. */
static int see_if(struct run *run, size_t op, enum journal_sight wanted, struct entry_seen *ret)
{
	struct commit_place place;
	struct entry_seen before, after;
	enum journal_sight sight;
	commit_place_open(run->stage, op, &place);
	memset(ret, 0, sizeof *ret);
	int rc = commit_see(&place, &before);
	if (rc == 0)
		rc = commit_look_live(&place, JOURNAL_FORWARD, &sight);
	if (rc == 0 && sight == wanted) {
		rc = commit_see(&place, &after);
		if (rc == 0 && entry_seen_equal(&before, &after))
			*ret = after;
	}
	commit_place_close(&place);
	return rc == -ENOMEM ? rc : 0;
}

static int build_live(struct run *run)
{
	struct stage *stage = run->stage;
	bool is_new = run->result->outcome == COMMIT_LIVE;
	size_t room = stage->ops_count ? stage->ops_count : 1, removed_count = 0, count = 0;
	if (!run->live)
		return 0;
	const char **removed = malloc(room * sizeof *removed);
	struct entry *changed = malloc(room * sizeof *changed);
	int rc = removed && changed ? 0 : -ENOMEM;
	for (size_t i = 0; i < stage->ops_count && rc == 0; i++) {
		const struct plan_op *op = &stage->ops[i];
		bool removal = op->kind == PLAN_REMOVE || op->kind == PLAN_REMOVE_DIR;
		if (is_new && removal) {
			if (!op->to)
				removed[removed_count++] = op->from->path;
			continue; /* else what takes its place tells of it */
		}
		/* Going back: what stood there stands there again, as another sight. */
		const struct entry *entry = is_new ? op->to : op->from;
		if (!entry || (!is_new && !removal && entry->type != op->to->type &&
			       (entry->type == ENTRY_DIR || op->to->type == ENTRY_DIR)))
			continue;
		changed[count] = *entry;
		rc = see_if(run, i, is_new ? JOURNAL_NEW : JOURNAL_OLD, &changed[count].seen);
		count++;
	}
	if (rc == 0)
		rc = tree_apply(run->live, removed, removed_count, changed, count,
				&run->result->live);
	free(removed);
	free(changed);
	/* The live tree was well-formed, and so was the other: only memory can be missing. */
	assert(rc <= 0);
	return rc < 0 ? fault_set(run->fault, rc, "cannot describe the live tree") : 0;
}

/* ---- the transactions around it ---- */

static int database_fault(struct run *run, int rc, const char *what)
{
	return fault_set(run->fault, rc, "%s: %s (%s)", run->mirror, what, store_error(run->store));
}

static int put_rescues(struct run *run)
{
	int rc = 0;
	for (size_t i = 0; i < run->result->notes_count && rc == 0; i++) {
		const struct commit_note *note = &run->result->notes[i];
		struct store_rescue rescued;
		if (note->kind != COMMIT_NOTE_RESCUED)
			continue;
		memset(&rescued, 0, sizeof rescued);
		strncpy(rescued.mirror, run->mirror, sizeof rescued.mirror - 1);
		strncpy(rescued.path, note->path, sizeof rescued.path - 1);
		memcpy(rescued.hash, note->hash, sizeof rescued.hash);
		rescued.since_unix_s = time(NULL);
		rc = store_rescue_put(run->store, &rescued);
	}
	return rc;
}

/* R11: the head, the live tree and the end of the journal are one step. */
static int close_journal(struct run *run, enum commit_outcome outcome)
{
	run->result->outcome = outcome;
	int rc = sync_touched(run);
	if (rc == 0)
		rc = build_live(run);
	if (rc < 0)
		return rc;
	rc = store_begin(run->store);
	if (rc < 0)
		return database_fault(run, rc, "cannot close the commit");
	rc = store_journal_clear(run->store, run->mirror);
	if (rc == 0 && outcome == COMMIT_LIVE)
		rc = store_head_set(run->store, run->mirror, run->stage->id);
	if (rc == 0 && run->result->live)
		rc = store_live_set(run->store, run->mirror, run->result->live);
	if (rc == 0)
		rc = put_rescues(run);
	if (rc == 0)
		rc = store_commit(run->store);
	else
		store_rollback(run->store);
	return rc < 0 ? database_fault(run, rc, "cannot close the commit") : 0;
}

static int run_back(struct run *run, enum commit_outcome outcome)
{
	bool edited = false;
	int rc = store_journal_direct(run->store, run->mirror, JOURNAL_BACK);
	if (rc < 0)
		return database_fault(run, rc, "cannot write the journal");
	rc = settle(run, JOURNAL_BACK, &edited);
	return rc < 0 ? rc : close_journal(run, outcome);
}

/* The journal needs what changes, and the directories that it stands in. */
static int add_with_parents(const struct tree *tree, const struct entry *entry,
			    const struct entry **list, size_t *count, size_t room)
{
	for (size_t size = entry->path_size; size > 0;
	     size = entry_path_parent(entry->path, size)) {
		const struct entry *found = tree_find(tree, entry->path, size);
		/* Neighbours share them: the rest is there already. */
		if (found && *count > 0 && list[*count - 1] == found)
			break;
		if (!found)
			continue;
		if (*count == room)
			return -EFBIG;
		list[(*count)++] = found;
	}
	return 0;
}

static int compare_pointers(const void *a, const void *b)
{
	const struct entry *x = *(const struct entry *const *)a;
	const struct entry *y = *(const struct entry *const *)b;
	return x < y ? -1 : x > y;
}

static int excerpt(const struct stage *stage, const struct tree *tree, struct tree **ret_tree)
{
	size_t room = stage->ops_count * (ENTRY_DEPTH_MAX / 8 + 1) + ENTRY_DEPTH_MAX, count = 0;
	const struct entry **list = NULL;
	int rc = -EFBIG;
	/* Deep trees with many changes need more room than most. */
	for (; rc == -EFBIG; room *= 2) {
		const struct entry **more = realloc(list, room * sizeof *list);
		if (!more) {
			rc = -ENOMEM;
			break;
		}
		list = more;
		count = 0;
		rc = 0;
		for (size_t i = 0; i < stage->ops_count && rc == 0; i++)
			rc = add_with_parents(tree, plan_op_entry(&stage->ops[i]), list, &count,
					      room);
	}
	if (rc == 0) {
		size_t kept = 0;
		qsort(list, count, sizeof *list, compare_pointers);
		for (size_t i = 0; i < count; i++)
			if (i == 0 || list[i] != list[i - 1])
				list[kept++] = list[i];
		rc = tree_from_entries(list, kept, ret_tree);
		assert(rc <= 0);
	}
	free(list);
	return rc;
}

static int open_journal(struct run *run)
{
	const struct stage_options *options = &run->stage->options;
	struct store_journal journal;
	memset(&journal, 0, sizeof journal);
	strncpy(journal.mirror, run->mirror, sizeof journal.mirror - 1);
	memcpy(journal.id, options->id, sizeof journal.id);
	journal.direction = JOURNAL_FORWARD;
	journal.paths = run->stage->paths;
	journal.paths_count = options->paths_count;
	int rc = excerpt(run->stage, options->from, &journal.from);
	if (rc == 0)
		rc = excerpt(run->stage, options->to, &journal.to);
	if (rc == 0)
		rc = store_begin(run->store);
	if (rc == 0) {
		/* Recovery goes on from what is stored: it has to be what the stage went out from.
		 */
		rc = store_live_set(run->store, run->mirror, options->from);
		if (rc == 0)
			rc = store_journal_put(run->store, &journal);
		if (rc == 0)
			rc = store_commit(run->store);
		else
			store_rollback(run->store);
	}
	tree_free(journal.from);
	tree_free(journal.to);
	return rc < 0 ? database_fault(run, rc, "cannot write the journal") : 0;
}

static void start_result(struct commit_result *result, const uint8_t *id)
{
	memset(result, 0, sizeof *result);
	if (id)
		memcpy(result->id, id, GENERATION_ID_BYTES);
}

int commit_run(struct store *store, const char *mirror, struct stage *stage,
	       struct commit_result *ret_result, struct fault *fault)
{
	struct commit_result result;
	struct run run = {store, mirror, stage, stage->options.from, &result, fault};
	bool edited = false;
	start_result(&result, stage->id);
	int rc = stage_sync(stage, fault); /* R8 */
	if (rc == 0)
		rc = open_journal(&run);
	if (rc < 0) {
		/* Nothing has been touched: the reason is in the fault. */
		result.outcome = COMMIT_FAILED;
		*ret_result = result;
		return 0;
	}
	/* From here on an editor may hold what lies in the stage. */
	stage->committed = true;
	rc = burst(&run, &edited);
	if (rc == 0 && !edited)
		rc = look_at_displaced(&run, &edited);
	if (rc == 0 && !edited) {
		rc = close_journal(&run, COMMIT_LIVE);
		if (rc == 0)
			assert(memcmp(result.live->hash, stage->options.to->hash,
				      ENTRY_HASH_BYTES) == 0); /* R12 */
	}
	if (rc < 0 || edited) {
		/* The reason is the first thing that went wrong, not what followed from it. */
		struct fault later = {{0}};
		result.live = tree_free(result.live);
		run.fault = &later;
		int back = run_back(&run, rc < 0 ? COMMIT_FAILED : COMMIT_EDITED);
		if (back < 0) {
			if (rc == 0)
				fault_set(fault, 0, "%s", later.text);
			commit_result_release(&result);
			return back;
		}
	}
	*ret_result = result;
	return 0;
}

/* ---- recovery ---- */

static int recover(struct run *run, enum journal_direction direction)
{
	bool edited = false;
	int rc = 0;
	if (direction == JOURNAL_FORWARD) {
		rc = settle(run, JOURNAL_FORWARD, &edited);
		if (rc == 0 && !edited)
			return close_journal(run, COMMIT_LIVE);
	}
	/* A world that failed then and now is left as it is: the journal stays, and says so. */
	return rc < 0 ? rc : run_back(run, COMMIT_EDITED);
}

int commit_recover(struct store *store, struct objects *objects, const char *mirror,
		   struct commit_result *ret_result, struct fault *fault)
{
	struct store_journal journal;
	struct commit_result result;
	struct tree *live = NULL;
	struct stage *stage = NULL;
	struct run run = {store, mirror, NULL, NULL, &result, fault};
	int rc = store_journal_get(store, mirror, &journal);
	start_result(&result, NULL);
	if (rc == -ENOENT) {
		*ret_result = result;
		return 0;
	}
	if (rc < 0)
		return database_fault(&run, rc, "cannot read the journal");
	start_result(&result, journal.id);
	struct stage_options options = {.paths = (const char *const *)journal.paths,
					.paths_count = journal.paths_count,
					.id = journal.id,
					.from = journal.from,
					.to = journal.to,
					.objects = objects};
	rc = store_live_get(store, mirror, &live);
	if (rc == 0 || rc == -ENOENT)
		rc = stage_open(&options, &stage, fault);
	else
		database_fault(&run, rc, "cannot read what was live");
	if (rc == 0) {
		stage->committed = true;
		run.stage = stage;
		run.live = live;
		rc = recover(&run, journal.direction);
	}
	stage_free(stage);
	tree_free(live);
	store_journal_release(&journal);
	if (rc < 0) {
		commit_result_release(&result);
		return rc;
	}
	*ret_result = result;
	return 0;
}
