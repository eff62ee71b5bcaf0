/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_apply: a generation becomes the live tree: staged, validated as it would be, committed,
 * loaded, proven; or the node goes back to the one before and says why. Nothing here authors (R12):
 * a merge has no author, and a settlement was made by a person.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "syncd/keeper_private.h"

/* Everybody whose head this was an answer to. */
static void tell(struct mirror *m, enum session_outcome outcome, const char *text)
{
	struct keeper *k = m->keeper;

	if (m->job.source < 0)
		return;
	for (int i = 0; i < k->peers_count; i++) {
		struct peer_mirror *pm = &k->peers[i].mirrors[m->index];

		if (pm->head.present &&
		    memcmp(pm->head.id, m->job.source_id, sizeof m->job.source_id) == 0)
			peer_tell(&k->peers[i], m, m->job.source_id, outcome, text);
	}
}

static struct peer_mirror *source(struct mirror *m)
{
	return m->job.source < 0 ? NULL : &m->keeper->peers[m->job.source].mirrors[m->index];
}

static void end(struct mirror *m)
{
	job_clear(m);
	mirror_next(m);
}

/* Refused for its content (and remembered), for the world's reasons, or in conflict. */
static void give_up(struct mirror *m, enum session_outcome outcome, const char *words,
		    bool remember)
{
	struct peer_mirror *pm = source(m);

	log_warn("%s: generation %llu is not taken (%s): %s", m->conf->name,
		 (unsigned long long)m->job.target.header.lamport, session_outcome_name(outcome),
		 words);
	if (remember &&
	    store_refused_put(m->keeper->store, m->conf->name, m->job.target.id, words) < 0)
		log_err("%s: %s", m->conf->name, store_error(m->keeper->store));
	if (pm != NULL) {
		pm->refused = outcome != SESSION_CONFLICT && outcome != SESSION_WAITING;
		pm->conflict = outcome == SESSION_CONFLICT;
		pm->waiting = outcome == SESSION_WAITING;
		snprintf(pm->reason, sizeof pm->reason, "%s", words);
	}
	tell(m, outcome, words);
	if (m->job.reason == APPLY_SETTLE)
		settle_end(m, NULL, outcome == SESSION_REFUSED ? "invalid" : "failed", words);
	end(m);
}

/* ---- it is live ---- */

static void succeed(struct mirror *m, enum load_outcome outcome, const char *text)
{
	struct keeper *k = m->keeper;
	struct peer_mirror *pm = source(m);
	uint64_t lamport = m->job.target.header.lamport;
	char id[13];

	if (outcome != LOAD_FAILED)
		(void)store_acked_set(k->store, m->conf->name, keeper_self(k), m->job.target.id);
	snprintf(m->unloaded, sizeof m->unloaded, "%s", outcome == LOAD_NOT_RUNNING ? text : "");
	if (outcome == LOAD_DONE)
		mirror_mark(m, MARK_LOADED, lamport);
	if (pm != NULL) {
		pm->refused = pm->conflict = pm->waiting = false;
		pm->reason[0] = '\0';
		(void)store_conflict_clear(k->store, m->conf->name, k->peers[m->job.source].name);
	}
	id_text(m->job.target.id, id);
	log_info("%s: generation %llu (%s, %s%s) is live%s%s", m->conf->name,
		 (unsigned long long)lamport, id, *m->job.target.header.author ? "by " : "a merge",
		 m->job.target.header.author,
		 outcome == LOAD_DONE ? " and loaded" : ", not loaded: ",
		 outcome == LOAD_DONE ? "" : text);
	tell(m, outcome == LOAD_DONE ? SESSION_LOADED : SESSION_LIVE,
	     outcome == LOAD_DONE ? "" : text);
	if (m->job.reason == APPLY_SETTLE)
		settle_end(m, "settled", NULL, outcome == LOAD_DONE ? "live and loaded" : text);
	end(m);
}

static void take_live(struct mirror *m, struct commit_result *result, const struct held *head)
{
	struct tree *live = result->live;

	result->live = NULL;
	mirror_set_live(m, live);
	tree_free(m->stored);
	m->stored = tree_ref(live);
	held_copy(&m->head, head);
	m->local = MERGE_LOCAL_CLEAN;
	mirror_head_changed(m);
	mirror_mark(m, MARK_LIVE, head->header.lamport);
	loop_timer_set(m->sweep, loop_now_us(m->keeper->loop) + KEEPER_SWEEP_US);
	log_debug("%s: exchanged in %llu us", m->conf->name,
		  (unsigned long long)result->exchange_us);
}

/* An attempt that was undone has left the old tree, perhaps with an edit in it, and with other
 * inodes where files have been moved there and back. The head has not moved. */
static void keep_live(struct mirror *m, struct commit_result *result)
{
	if (result->live == NULL)
		return;
	mirror_set_live(m, result->live);
	result->live = NULL;
	tree_free(m->stored);
	m->stored = tree_ref(m->live);
}

static void say_notes(struct mirror *m, const struct commit_result *result)
{
	for (size_t i = 0; i < result->notes_count; i++) {
		const struct commit_note *note = &result->notes[i];

		switch (note->kind) {
		case COMMIT_NOTE_EDIT:
			log_notice("%s: %s was edited here meanwhile: the edit is kept, and comes "
				   "first",
				   m->conf->name, note->path);
			break;
		case COMMIT_NOTE_RESCUED:
			log_warn("%s: an edit of %s could not stay: it is kept aside, see `tandem "
				 "conflicts`",
				 m->conf->name, note->path);
			break;
		case COMMIT_NOTE_LEFT:
			log_info("%s: %s stays: it holds what is excluded", m->conf->name,
				 note->path);
			break;
		}
	}
}

/* ---- the way back ---- */

static void on_loaded_back(struct mirror *m, enum load_outcome outcome, const char *text)
{
	char words[KEEPER_TEXT_MAX];

	snprintf(words, sizeof words, "%s", m->job.words);
	if (outcome == LOAD_FAILED) {
		log_err("%s: nginx does not load the generation before either: %s", m->conf->name,
			text);
		snprintf(m->unloaded, sizeof m->unloaded, "%s", text);
	} else {
		(void)store_acked_set(m->keeper->store, m->conf->name, keeper_self(m->keeper),
				      m->job.before.id);
	}
	/* Where what was live before does not load any more, the content is not what is wrong. */
	give_up(m, SESSION_FAILED, words, outcome != LOAD_FAILED);
}

static void go_back(struct mirror *m, const char *words)
{
	struct keeper *k = m->keeper;
	struct stage_options options = {
		.paths = m->paths,
		.paths_count = m->conf->paths_count,
		.id = m->job.before.id,
		.from = m->live,
		.to = m->job.live_before,
		.objects = k->objects,
	};
	struct commit_result result = {0};
	struct fault fault = {""};
	struct held before = {0};
	int r;

	snprintf(m->job.words, sizeof m->job.words, "nginx did not load it: %s", words);
	log_warn("%s: %s; going back to generation %llu", m->conf->name, m->job.words,
		 (unsigned long long)m->job.before.header.lamport);
	r = stage_build(&options, &m->job.stage, &fault);
	if (r == 0)
		r = commit_run(k->store, m->conf->name, m->job.stage, &result, &fault);
	say_notes(m, &result);
	if (r == 0 && result.outcome == COMMIT_LIVE) {
		m->job.stage = stage_free(m->job.stage);
		held_copy(&before, &m->job.before);
		take_live(m, &result, &before);
		held_release(&before);
		commit_result_release(&result);
		load_start(m, m->job.parse_us, on_loaded_back);
		return;
	}
	keep_live(m, &result);
	commit_result_release(&result);
	log_err("%s: cannot go back: %s", m->conf->name,
		*fault.text ? fault.text : "a local edit is in the way");
	snprintf(m->unloaded, sizeof m->unloaded, "%s", m->job.words);
	/* m->job.words goes with the job. */
	char copy[KEEPER_TEXT_MAX];

	snprintf(copy, sizeof copy, "%s", m->job.words);
	give_up(m, SESSION_FAILED, copy, false);
}

static void on_loaded(struct mirror *m, enum load_outcome outcome, const char *text)
{
	if (outcome != LOAD_FAILED) {
		succeed(m, outcome, text);
	} else if (m->job.before.present) {
		go_back(m, text);
	} else {
		/* There is nothing to go back to that was ever a generation. */
		snprintf(m->unloaded, sizeof m->unloaded, "%s", text);
		give_up(m, SESSION_FAILED, text, false);
	}
}

/* ---- forward ---- */

static void commit_now(struct mirror *m)
{
	struct keeper *k = m->keeper;
	struct commit_result result = {0};
	struct fault fault = {""};
	struct held head = {0};
	int r = commit_run(k->store, m->conf->name, m->job.stage, &result, &fault);

	say_notes(m, &result);
	if (r < 0) {
		/* The journal is still there: recovery goes on from it, in a new process. */
		log_err("%s: the commit could not be completed: %s", m->conf->name, fault.text);
		commit_result_release(&result);
		tell(m, SESSION_FAILED, fault.text);
		loop_quit(k->loop, EXIT_FAILURE);
		return;
	}
	switch (result.outcome) {
	case COMMIT_LIVE:
		/* What was displaced stays in the stage for a while: an editor may hold it. */
		m->job.stage = stage_free(m->job.stage);
		held_copy(&head, &m->job.target);
		take_live(m, &result, &head);
		held_release(&head);
		commit_result_release(&result);
		load_start(m, m->job.parse_us, on_loaded);
		return;
	case COMMIT_EDITED:
		keep_live(m, &result);
		commit_result_release(&result);
		settle_want(&m->settle, loop_now_us(k->loop));
		m->local = MERGE_LOCAL_UNKNOWN;
		/* Decided anew when it is known what the edit is. */
		if (source(m) != NULL)
			source(m)->decided = false;
		give_up(m, SESSION_WAITING,
			"an edit was saved here at the same moment and comes first", false);
		return;
	case COMMIT_NOTHING:
	case COMMIT_FAILED:
		keep_live(m, &result);
		commit_result_release(&result);
		give_up(m, SESSION_FAILED, *fault.text ? fault.text : "the commit failed", false);
		return;
	}
}

static void on_validated(struct mirror *m, enum keeper_answer answer, uint64_t own_us,
			 const char *text)
{
	switch (answer) {
	case KEEPER_PASSED:
		break;
	case KEEPER_FAILED:
		/* Each side was valid, both together are not: a person has to look. */
		if (m->job.reason == APPLY_MERGE) {
			char words[KEEPER_TEXT_MAX];

			snprintf(words, sizeof words, "both changes together do not validate: %s",
				 text);
			give_up(m, SESSION_CONFLICT, words, false);
		} else {
			give_up(m, SESSION_REFUSED, text, m->job.reason == APPLY_FORWARD);
		}
		return;
	case KEEPER_NOT_JUDGED:
	case KEEPER_ANSWERS:
		give_up(m, SESSION_REFUSED, text, false);
		return;
	}
	m->job.parse_us = own_us;
	mirror_mark(m, MARK_VALIDATED, m->job.target.header.lamport);
	if (settle_deadline(&m->settle) != SETTLE_NEVER_US && !m->job.forced) {
		/* Something is being saved here this very moment: it comes first. */
		struct peer_mirror *pm = source(m);

		if (pm != NULL)
			pm->decided = false;
		end(m);
		return;
	}
	commit_now(m);
}

/* The same files, another generation: nothing to stage, nothing to load. */
static void record_only(struct mirror *m)
{
	struct fault fault = {""};
	struct held held = {0};
	bool was_loaded = m->unloaded[0] == '\0' && m->marks[MARK_LOADED].set;
	int r;

	held_copy(&held, &m->job.target);
	r = mirror_record(m, &held, was_loaded, &fault);
	held_release(&held);
	if (r < 0) {
		give_up(m, SESSION_FAILED, fault.text, false);
		return;
	}
	mirror_mark(m, MARK_LIVE, m->head.header.lamport);
	if (was_loaded)
		succeed(m, LOAD_DONE, "");
	else
		succeed(m, m->conf->reload.argv ? LOAD_NOT_RUNNING : LOAD_NOT_WANTED,
			*m->unloaded ? m->unloaded : "no `reload` is configured");
}

static int store_target(struct mirror *m, struct fault *fault)
{
	struct keeper *k = m->keeper;
	struct store_generation generation = {.header = m->job.target.header};
	int r;

	if (store_generation_have(k->store, m->conf->name, m->job.target.id))
		return 0;
	snprintf(generation.mirror, sizeof generation.mirror, "%s", m->conf->name);
	memcpy(generation.id, m->job.target.id, sizeof generation.id);
	snprintf(generation.signer, sizeof generation.signer, "%s", m->job.target.signer);
	memcpy(generation.signature, m->job.target.signed_by, sizeof m->job.target.signed_by);
	generation.signature_size = sizeof m->job.target.signed_by;
	r = objects_sync(k->objects, fault);
	if (r == 0) {
		r = store_generation_put(k->store, &generation, m->job.target.tree);
		if (r < 0)
			fault_set(fault, r, "%s", store_error(k->store));
	}
	return r;
}

static int build_stage(struct mirror *m, struct fault *fault)
{
	struct stage_options options = {
		.paths = m->paths,
		.paths_count = m->conf->paths_count,
		.id = m->job.target.id,
		.from = m->live,
		.to = m->job.target.tree,
		.objects = m->keeper->objects,
	};
	int r = mirror_sweep(m, STAGE_SWEEP_ONE, m->job.target.id, fault);

	if (r == 0)
		r = stage_build(&options, &m->job.stage, fault);
	/* What the commit before displaced is in the way. */
	if (r == -ENOSPC && mirror_sweep(m, STAGE_SWEEP_ALL, NULL, fault) == 0)
		r = stage_build(&options, &m->job.stage, fault);
	return r;
}

/* What a commit begins with. The disk works at it while the processor validates: every fsync waits
 * for whatever else the machine writes. */
static int make_durable(struct mirror *m, struct fault *fault)
{
	int r = store_target(m, fault);

	if (r == 0)
		r = stage_sync(m->job.stage, fault);
	if (r == 0)
		r = mirror_sweep(m, STAGE_SWEEP_OTHERS, m->job.target.id, fault);
	return r;
}

void apply_start(struct mirror *m, const struct held *target, enum apply_reason reason,
		 struct peer *from, bool forced)
{
	struct fault fault = {""};
	bool same;
	int r;

	assert(m->job.kind == JOB_NONE && target->tree != NULL);
	m->job.kind = JOB_APPLY;
	m->job.reason = reason;
	m->job.forced = forced;
	held_copy(&m->job.target, target);
	held_copy(&m->job.before, &m->head);
	m->job.live_before = tree_ref(m->live);
	if (from != NULL) {
		m->job.source = from->index;
		memcpy(m->job.source_id, from->mirrors[m->index].head.id, sizeof m->job.source_id);
	}
	same = memcmp(m->live->hash, target->tree->hash, sizeof m->live->hash) == 0;
	r = same ? 0 : build_stage(m, &fault);
	if (r == 0 && !same && m->conf->validate.argv != NULL)
		keeper_run(m, KEEPER_VALIDATE, m->job.target.id, on_validated);
	/* Whatever comes of it: first that it is here. */
	if (from != NULL && !peer_keep_received(from, m)) {
		end(m);
		return;
	}
	if (same) {
		record_only(m);
		return;
	}
	if (r == 0)
		r = make_durable(m, &fault);
	if (r < 0) {
		give_up(m, SESSION_FAILED, fault.text, false);
		return;
	}
	tell(m, SESSION_STAGED, "");
	if (m->conf->validate.argv == NULL)
		on_validated(m, KEEPER_PASSED, 0, "");
}

/* ---- after a start ---- */

/* The head went live and the process ended before it was proven. What was loaded last is known by
 * the acknowledgement of this node, which is written when a generation has been proven. */
static bool go_back_to_loaded(struct mirror *m, const char *words)
{
	struct keeper *k = m->keeper;
	uint8_t id[GENERATION_ID_BYTES];
	int r = store_acked_get(k->store, m->conf->name, keeper_self(k), id);

	if (r < 0 || m->live == NULL || memcmp(id, m->head.id, sizeof id) == 0)
		return false;
	r = held_load(k, m->conf->name, id, true, &m->job.before);
	if (r < 0) {
		log_warn("%s: what was loaded before cannot be read any more: %s", m->conf->name,
			 r == -ENOENT ? "it is not in the history" : strerror(-r));
		return false;
	}
	m->job.kind = JOB_APPLY;
	m->job.reason = APPLY_FORWARD;
	held_copy(&m->job.target, &m->head);
	m->job.live_before = tree_ref(m->job.before.tree);
	go_back(m, words);
	return true;
}

static void on_head_loaded(struct mirror *m, enum load_outcome outcome, const char *text)
{
	if (outcome == LOAD_FAILED) {
		if (go_back_to_loaded(m, text))
			return;
		log_err("%s: generation %llu is live, but nginx does not load it: %s",
			m->conf->name, (unsigned long long)m->head.header.lamport, text);
		snprintf(m->unloaded, sizeof m->unloaded, "%s", text);
	} else {
		(void)store_acked_set(m->keeper->store, m->conf->name, keeper_self(m->keeper),
				      m->head.id);
		snprintf(m->unloaded, sizeof m->unloaded, "%s",
			 outcome == LOAD_NOT_RUNNING ? text : "");
		if (outcome == LOAD_DONE)
			mirror_mark(m, MARK_LOADED, m->head.header.lamport);
	}
	end(m);
}

void apply_load_head(struct mirror *m)
{
	m->job.kind = JOB_LOAD;
	load_start(m, 0, on_head_loaded);
}
