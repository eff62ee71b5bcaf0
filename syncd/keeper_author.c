/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_author: a local change becomes a generation: validated, loaded by the author's own nginx
 * and proven, recorded, offered. What fails on the way stays on this node, untouched.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "syncd/keeper_private.h"

static void end(struct mirror *m)
{
	job_clear(m);
	mirror_next(m);
}

/* judged: it is the tree's fault, and the same tree is not tried again by itself. */
static void fail(struct mirror *m, const char *reason, bool judged)
{
	log_warn("%s: what is saved here stays here: %s", m->conf->name, reason);
	m->local = MERGE_LOCAL_INVALID;
	snprintf(m->reason, sizeof m->reason, "%s", reason);
	m->invalid_judged = judged;
	memcpy(m->invalid_tree, m->job.tree->hash, sizeof m->invalid_tree);
	m->first_event_us = 0;
	/* Not a publication: but the next attempt keeps its distance as well. */
	settle_clear(&m->settle);
	end(m);
}

/* Whether what was validated (or loaded) is still what is there. If not, it is all done again when
 * it is quiet. */
static bool still_there(struct mirror *m)
{
	struct scan_result result;
	bool same;

	if (mirror_scan(m, false, &result) < 0) {
		settle_want(&m->settle, loop_now_us(m->keeper->loop) + KEEPER_RETRY_US);
		return false;
	}
	same = !result.unstable && result.problems_count == 0 &&
	       memcmp(result.tree->hash, m->job.tree->hash, sizeof result.tree->hash) == 0;
	if (same) {
		mirror_set_live(m, tree_ref(result.tree));
		mirror_looked(m, &result);
	} else {
		log_debug("%s: changed again meanwhile", m->conf->name);
		settle_change(&m->settle, SETTLE_ATOMIC, loop_now_us(m->keeper->loop));
	}
	scan_result_release(&result);
	return same;
}

int author_make(struct mirror *m, const struct held *other, struct tree *tree,
		struct held *ret_held)
{
	struct keeper *k = m->keeper;
	const struct held *all[2] = {m->head.present ? &m->head : other, other};
	const struct generation *parents[2];
	uint8_t ids[2][GENERATION_ID_BYTES];
	uint64_t incarnation = store_incarnation(k->store), counter;
	int count = (m->head.present ? 1 : 0) + (other ? 1 : 0);
	int r = store_counter_last(k->store, m->conf->name, keeper_self(k), incarnation, &counter);

	if (r < 0)
		return r;
	for (int i = 0; i < count; i++) {
		uint64_t used;

		parents[i] = &all[i]->header;
		memcpy(ids[i], all[i]->id, sizeof ids[i]);
		/* R19, also where the history that would show it has been pruned. */
		used = generation_vector_get(&parents[i]->vector, keeper_self(k), incarnation);
		counter = used > counter ? used : counter;
	}
	held_release(ret_held);
	if (!generation_author(parents, (const uint8_t(*)[GENERATION_ID_BYTES])ids, count,
			       m->definition, tree->hash, keeper_self(k), incarnation, counter + 1,
			       &ret_held->header))
		return -EOVERFLOW;
	ret_held->present = true;
	generation_id(&ret_held->header, ret_held->id);
	ret_held->tree = tree_ref(tree);
	return held_sign(k, ret_held);
}

static void on_loaded(struct mirror *m, enum load_outcome outcome, const char *text)
{
	struct keeper *k = m->keeper;
	struct fault fault = {""};
	struct held held = {0};
	char id[13];
	uint64_t detected_us = m->job.detected_us;
	int r;

	if (outcome == LOAD_FAILED) {
		char reason[KEEPER_TEXT_MAX];

		snprintf(reason, sizeof reason, "nginx did not load it: %s", text);
		fail(m, reason, true);
		return;
	}
	/* An edit that came meanwhile belongs to the next generation: what is recorded is the tree
	 * that was validated, and its entries are those of the scan before. */
	r = author_make(m, NULL, m->job.tree, &held);
	if (r == 0)
		r = mirror_record(m, &held, outcome != LOAD_FAILED, &fault);
	if (r < 0) {
		fault_set(&fault, r, "%s", *fault.text ? fault.text : "cannot make a generation");
		held_release(&held);
		fail(m, fault.text, false);
		return;
	}
	snprintf(m->unloaded, sizeof m->unloaded, "%s", outcome == LOAD_NOT_RUNNING ? text : "");
	memcpy(m->edit_id, held.id, sizeof m->edit_id);
	m->edit_us = detected_us;
	mirror_mark(m, MARK_PUBLISHED, held.header.lamport);
	mirror_mark(m, MARK_VALIDATED, held.header.lamport);
	mirror_mark(m, MARK_LIVE, held.header.lamport);
	if (outcome == LOAD_DONE)
		mirror_mark(m, MARK_LOADED, held.header.lamport);
	id_text(held.id, id);
	log_info("%s: generation %llu (%s) made here, %zu entries, %s, %llu ms after the edit",
		 m->conf->name, (unsigned long long)held.header.lamport, id, held.tree->count,
		 outcome == LOAD_DONE ? "loaded" : text,
		 (unsigned long long)((loop_refresh_us(k->loop) - detected_us) / 1000));
	held_release(&held);
	settle_published(&m->settle, loop_now_us(k->loop));
	end(m);
}

static void validated(struct mirror *m)
{
	if (!still_there(m)) {
		end(m);
		return;
	}
	load_start(m, m->job.parse_us, on_loaded);
}

static void on_validated(struct mirror *m, enum keeper_answer answer, uint64_t own_us,
			 const char *text)
{
	if (answer != KEEPER_PASSED) {
		fail(m, text, answer == KEEPER_FAILED);
		return;
	}
	m->job.parse_us = own_us;
	validated(m);
}

void author_start(struct mirror *m, struct tree *tree)
{
	uint64_t now_us = loop_now_us(m->keeper->loop);

	m->job.kind = JOB_AUTHOR;
	m->job.tree = tree;
	m->job.detected_us = m->first_event_us ? m->first_event_us : now_us;
	m->first_event_us = 0;
	m->local = MERGE_LOCAL_EDITED;
	m->marks[MARK_DETECTED] =
		(struct stage_mark){.set = true,
				    .lamport = m->head.present ? m->head.header.lamport + 1 : 1,
				    .at_us = m->job.detected_us};
	/* From here on a ring is a new change. */
	settle_clear(&m->settle);
	if (m->conf->validate.argv == NULL) {
		validated(m);
		return;
	}
	keeper_run(m, KEEPER_VALIDATE, NULL, on_validated);
	/* While nginx reads it: what the generation will need on the disk (R16). A failure comes
	 * again when it is recorded, and is said then. */
	(void)objects_sync(m->keeper->objects, NULL);
}
