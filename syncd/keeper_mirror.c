/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "syncd/keeper_private.h"
#include "syncd/owner.h"

static void arm(struct mirror *m)
{
	uint64_t at_us = settle_deadline(&m->settle);

	/* A job's own writes ring as well; they are looked at when it has ended. */
	if (m->job.kind != JOB_NONE)
		at_us = LOOP_NEVER_US;
	else if (at_us == SETTLE_NEVER_US && m->ripe_us != 0)
		at_us = m->ripe_us;
	loop_timer_set(m->timer, at_us);
}

void mirror_mark(struct mirror *m, enum mark mark, uint64_t lamport)
{
	m->marks[mark] = (struct stage_mark){
		.set = true, .lamport = lamport, .at_us = loop_refresh_us(m->keeper->loop)};
}

void mirror_set_live(struct mirror *m, struct tree *tree)
{
	tree_free(m->live);
	m->live = tree;
}

/* ---- generations ---- */

int held_load(struct keeper *k, const char *mirror, const uint8_t *id, bool with_tree,
	      struct held *ret_held)
{
	struct store_generation generation;
	struct tree *tree = NULL;
	int r = store_generation_get(k->store, mirror, id, &generation);

	if (r == 0 && with_tree)
		r = store_tree_get(k->store, mirror, id, &tree);
	if (r < 0)
		return r;
	held_release(ret_held);
	ret_held->present = true;
	memcpy(ret_held->id, id, sizeof ret_held->id);
	ret_held->header = generation.header;
	memcpy(ret_held->signer, generation.signer, sizeof ret_held->signer);
	memset(ret_held->signed_by, 0, sizeof ret_held->signed_by);
	if (generation.signature_size == sizeof ret_held->signed_by)
		memcpy(ret_held->signed_by, generation.signature, sizeof ret_held->signed_by);
	ret_held->tree = tree;
	return 0;
}

int held_sign(struct keeper *k, struct held *held)
{
	snprintf(held->signer, sizeof held->signer, "%s", keeper_self(k));
	return identity_sign(k->identity, IDENTITY_GENERATION, held->id, held->signed_by);
}

int mirror_record(struct mirror *m, const struct held *held, bool loaded, struct fault *fault)
{
	struct keeper *k = m->keeper;
	struct store_generation generation = {.header = held->header};
	const char *name = m->conf->name;
	int r = objects_sync(k->objects, fault); /* R16 */

	if (r < 0)
		return r;
	snprintf(generation.mirror, sizeof generation.mirror, "%s", name);
	memcpy(generation.id, held->id, sizeof generation.id);
	snprintf(generation.signer, sizeof generation.signer, "%s", held->signer);
	memcpy(generation.signature, held->signed_by, sizeof held->signed_by);
	generation.signature_size = sizeof held->signed_by;
	r = store_begin(k->store);
	if (r == 0)
		r = store_generation_put(k->store, &generation, held->tree);
	if (r == 0)
		r = store_head_set(k->store, name, held->id);
	if (r == 0)
		r = store_live_set(k->store, name, m->live);
	if (r == 0 && loaded)
		r = store_acked_set(k->store, name, keeper_self(k), held->id);
	if (r == 0)
		r = store_commit(k->store);
	if (r < 0) {
		fault_set(fault, r, "cannot record generation %llu: %s",
			  (unsigned long long)held->header.lamport, store_error(k->store));
		store_rollback(k->store);
		return r;
	}
	tree_free(m->stored);
	m->stored = tree_ref(m->live);
	held_copy(&m->head, held);
	mirror_head_changed(m);
	peers_tell_scanned(m);
	return 0;
}

void mirror_head_changed(struct mirror *m)
{
	m->head_since_us = loop_now_us(m->keeper->loop);
	m->local = MERGE_LOCAL_CLEAN;
	m->reason[0] = '\0';
	peers_tell_head(m);
}

/* ---- looking ---- */

static bool may_differ(const void *ctx, const char *path, size_t path_size)
{
	return watch_may_differ(ctx, path, path_size);
}

int mirror_scan(struct mirror *m, bool distrust, struct scan_result *ret_result)
{
	struct scan_options options = {
		.paths = m->paths,
		.paths_count = m->conf->paths_count,
		.ignore = &m->ignore,
		.objects = m->keeper->objects,
		.previous = m->live,
		.distrust = distrust,
		.may_differ = m->resync_due ? NULL : may_differ,
		.may_differ_ctx = m->watch,
	};
	struct fault fault = {""};
	int r = scan_run(&options, ret_result, &fault);

	if (r < 0) {
		if (strcmp(m->trouble, fault.text) != 0)
			log_err("%s: cannot look at the tree: %s", m->conf->name, fault.text);
		snprintf(m->trouble, sizeof m->trouble, "%s", fault.text);
	} else {
		m->trouble[0] = '\0';
		m->ripe_us =
			ret_result->young > 0 ? loop_now_us(m->keeper->loop) + KEEPER_RIPE_US : 0;
	}
	return r;
}

void mirror_looked(struct mirror *m, const struct scan_result *result)
{
	/* What could not be mirrored is in no tree, and is looked for each time. */
	if (result->problems_count == 0 && !result->unstable)
		watch_looked(m->watch);
	else
		watch_doubt(m->watch);
}

static void become_invalid(struct mirror *m, const char *reason)
{
	if (m->local != MERGE_LOCAL_INVALID || strcmp(m->reason, reason) != 0)
		log_warn("%s: what is saved here stays here: %s", m->conf->name, reason);
	m->local = MERGE_LOCAL_INVALID;
	snprintf(m->reason, sizeof m->reason, "%s", reason);
	/* What cannot be mirrored is in no tree: whether it is still there is looked at each time.
	 */
	m->invalid_judged = false;
}

/* A path that has gone takes everything below it along; that is not an edit that anybody made. */
static const char *missing_path(const struct mirror *m)
{
	for (int i = 0; i < m->conf->paths_count; i++) {
		const char *path = m->paths[i];

		if (tree_find(m->live, path, strlen(path)) == NULL && m->head.present &&
		    tree_find(m->head.tree, path, strlen(path)) != NULL)
			return path;
	}
	return NULL;
}

/* Objects that are not yet part of a generation (a transfer, a stage) would go as well. */
static bool is_quiet(const struct keeper *k)
{
	for (int i = 0; i < k->mirrors_count; i++) {
		if (k->mirrors[i].job.kind != JOB_NONE)
			return false;
		for (int p = 0; p < k->peers_count; p++)
			if (k->peers[p].mirrors[i].tx != NULL || k->peers[p].mirrors[i].rx != NULL)
				return false;
	}
	return true;
}

int mirror_store_live(struct mirror *m)
{
	int r = 0;

	if (m->live != m->stored)
		r = store_live_set(m->keeper->store, m->conf->name, m->live);
	if (r == 0 && m->live != m->stored) {
		tree_free(m->stored);
		m->stored = tree_ref(m->live);
	}
	return r;
}

/* What failed for this host's reasons (a full disk, say) has another chance at each full look; what
 * was refused for its content has not. */
static void forget_failures(struct mirror *m)
{
	struct keeper *k = m->keeper;

	for (int i = 0; i < k->peers_count; i++) {
		struct peer_mirror *pm = &k->peers[i].mirrors[m->index];

		if (!pm->refused || !pm->head.present ||
		    store_refused_get(k->store, m->conf->name, pm->head.id, NULL) == 0)
			continue;
		pm->refused = pm->decided = false;
		peer_tell_heads(&k->peers[i], m);
	}
}

static void keep_house(struct mirror *m)
{
	struct keeper *k = m->keeper;
	int r = mirror_store_live(m);

	owner_forget();
	if (r == 0)
		r = store_prune(k->store, m->conf->name, KEEPER_HISTORY);
	if (r == 0 && is_quiet(k)) {
		int64_t gone = store_collect(k->store, k->objects);

		r = gone < 0 ? (int)gone : 0;
		/* What another mirror has seen and not recorded may have gone as well. */
		for (int i = 0; gone > 0 && i < k->mirrors_count; i++)
			watch_doubt(k->mirrors[i].watch);
	}
	if (r < 0)
		log_warn("%s: cannot tidy up the history: %s", m->conf->name,
			 store_error(k->store));
}

/* The tree has settled: what is it? */
static void judge(struct mirror *m, struct scan_result *result)
{
	struct keeper *k = m->keeper;
	bool same_definition = m->head.present && memcmp(m->head.header.definition, m->definition,
							 sizeof m->definition) == 0;
	const char *path;

	mirror_set_live(m, result->tree);
	result->tree = NULL;
	m->looked = true;
	if (result->problems_count > 0) {
		char reason[KEEPER_TEXT_MAX];

		snprintf(reason, sizeof reason, "%s", result->problems[0]);
		if (result->problems_count > 1) {
			size_t used = strlen(reason);

			snprintf(reason + used, sizeof reason - used, " (and %zu more)",
				 result->problems_count - 1);
		}
		become_invalid(m, reason);
		mirror_looked(m, result);
		settle_clear(&m->settle);
		m->first_event_us = 0;
		return;
	}
	if ((path = missing_path(m)) != NULL) {
		char reason[KEEPER_TEXT_MAX];

		snprintf(reason, sizeof reason,
			 "%s is gone or replaced: put it back (a missing mount?), or take the "
			 "peer's with "
			 "`tandem sync --from NODE`",
			 path);
		become_invalid(m, reason);
		settle_clear(&m->settle);
		m->first_event_us = 0;
		return;
	}
	if (m->head.present && same_definition &&
	    memcmp(m->live->hash, m->head.tree->hash, sizeof m->live->hash) == 0) {
		if (m->local == MERGE_LOCAL_INVALID)
			log_info("%s: the edit that did not validate is gone", m->conf->name);
		mirror_looked(m, result);
		m->local = MERGE_LOCAL_CLEAN;
		m->reason[0] = '\0';
		m->first_event_us = 0;
		settle_clear(&m->settle);
		if (m->resync_due) {
			keep_house(m);
			forget_failures(m);
		}
		/* Each head is compared once, and all of it again at every full look. */
		if (m->resync_due || memcmp(m->compared, m->head.id, sizeof m->compared) != 0)
			peers_tell_scanned(m);
		m->resync_due = m->distrust_due = false;
		return;
	}
	m->resync_due = m->distrust_due = false;
	if (!m->head.present && m->live->count <= (size_t)m->conf->paths_count) {
		uint64_t files, bytes;

		/* Nothing here yet, and nothing to lose: whatever a peer has is welcome. */
		tree_totals(m->live, &files, &bytes);
		if (files == 0) {
			m->local = MERGE_LOCAL_CLEAN;
			m->first_event_us = 0;
			settle_clear(&m->settle);
			return;
		}
	}
	if (m->local == MERGE_LOCAL_INVALID && m->invalid_judged && !m->forced &&
	    memcmp(m->invalid_tree, m->live->hash, sizeof m->invalid_tree) == 0) {
		/* The same tree is not asked about again and again. */
		settle_clear(&m->settle);
		m->first_event_us = 0;
		return;
	}
	(void)k;
	author_start(m, tree_ref(m->live));
}

static void look(struct mirror *m)
{
	struct keeper *k = m->keeper;
	struct scan_result result;
	uint64_t now_us;

	if (m->resync_due)
		watch_rearm(m->watch);
	if (mirror_scan(m, m->distrust_due, &result) < 0) {
		/* The disk failed. Nothing is known, and nothing is done, until it comes back. */
		m->looked = true;
		settle_clear(&m->settle);
		settle_want(&m->settle, loop_now_us(k->loop) + KEEPER_RETRY_US);
		arm(m);
		return;
	}
	now_us = loop_refresh_us(k->loop);
	if (result.unstable && now_us > m->settle.first_us + SETTLE_WAIT_MAX_US) {
		char reason[KEEPER_TEXT_MAX];

		/* It would never settle, and nobody would know why. */
		snprintf(reason, sizeof reason,
			 "%.3000s changes all the time and cannot be mirrored: exclude it, or move "
			 "it "
			 "away",
			 result.unstable_path);
		become_invalid(m, reason);
		m->looked = true;
		m->first_event_us = 0;
		settle_clear(&m->settle);
	} else if (result.unstable) {
		settle_change(&m->settle, SETTLE_WRITTEN, now_us);
	} else if (settle_scanned(&m->settle, result.fingerprint, now_us) == SETTLE_SETTLED) {
		judge(m, &result);
	} else {
		/* What was read need not be read again by the second scan. */
		mirror_set_live(m, result.tree);
		result.tree = NULL;
	}
	scan_result_release(&result);
	mirror_next(m);
}

/* Between two changes: gives sights to what was too young for them. */
static void ripen(struct mirror *m)
{
	struct scan_result result;

	m->ripe_us = 0;
	if (mirror_scan(m, false, &result) == 0) {
		if (memcmp(result.tree->hash, m->live->hash, sizeof m->live->hash) == 0) {
			mirror_set_live(m, result.tree);
			result.tree = NULL;
			mirror_looked(m, &result);
		} else {
			settle_want(&m->settle, loop_now_us(m->keeper->loop));
		}
		scan_result_release(&result);
	}
	arm(m);
}

static void on_timer(void *ctx)
{
	struct mirror *m = ctx;

	if (m->job.kind != JOB_NONE)
		return;
	if (settle_deadline(&m->settle) <= loop_now_us(m->keeper->loop))
		look(m);
	else if (m->ripe_us != 0)
		ripen(m);
	else
		arm(m);
}

static void on_ring(void *ctx, enum settle_kind kind)
{
	struct mirror *m = ctx;
	uint64_t now_us = loop_now_us(m->keeper->loop);

	if (m->first_event_us == 0)
		m->first_event_us = now_us;
	settle_change(&m->settle, kind, now_us);
	arm(m);
}

void mirror_resync(struct mirror *m, bool distrust)
{
	m->resync_due = true;
	m->distrust_due |= distrust;
	settle_want(&m->settle, loop_now_us(m->keeper->loop));
	arm(m);
}

static void on_resync(void *ctx)
{
	struct mirror *m = ctx;
	uint64_t next_us = m->conf->resync_us;

	if (watch_degraded(m->watch) != NULL && next_us > KEEPER_DEGRADED_SCAN_US)
		next_us = KEEPER_DEGRADED_SCAN_US;
	loop_timer_set(m->resync, loop_now_us(m->keeper->loop) + next_us);
	mirror_resync(m, false);
}

static void on_rescued(void *ctx, const char *path, const uint8_t hash[ENTRY_HASH_BYTES])
{
	struct mirror *m = ctx;
	struct store_rescue rescue = {0};

	snprintf(rescue.mirror, sizeof rescue.mirror, "%s", m->conf->name);
	snprintf(rescue.path, sizeof rescue.path, "%s", path);
	memcpy(rescue.hash, hash, sizeof rescue.hash);
	log_warn("%s: %s was edited while it was being replaced: the edit is kept aside, see "
		 "`tandem "
		 "conflicts`",
		 m->conf->name, path);
	if (store_rescue_put(m->keeper->store, &rescue) < 0)
		log_err("%s: cannot keep an edit of %s: %s", m->conf->name, path,
			store_error(m->keeper->store));
}

int mirror_sweep(struct mirror *m, enum stage_sweep_which which, const uint8_t *id,
		 struct fault *fault)
{
	return stage_sweep(m->paths, m->conf->paths_count, which, id, m->keeper->objects,
			   on_rescued, m, fault);
}

static void sweep(void *ctx)
{
	struct mirror *m = ctx;
	struct fault fault = {""};

	if (m->job.kind != JOB_NONE) {
		loop_timer_set(m->sweep, loop_now_us(m->keeper->loop) + KEEPER_SWEEP_US);
		return;
	}
	if (mirror_sweep(m, STAGE_SWEEP_ALL, NULL, &fault) < 0)
		log_warn("%s: %s", m->conf->name, fault.text);
}

/* ---- what is next ---- */

void job_clear(struct mirror *m)
{
	load_stop(m);
	m->on_answer = NULL;
	m->job.tree = tree_free(m->job.tree);
	held_release(&m->job.target);
	m->job.stage = stage_discard(m->job.stage);
	held_release(&m->job.before);
	m->job.live_before = tree_free(m->job.live_before);
	m->job = (struct job){.source = -1};
}

void mirror_next(struct mirror *m)
{
	struct keeper *k = m->keeper;
	bool restless = settle_deadline(&m->settle) != SETTLE_NEVER_US;

	if (m->job.kind == JOB_NONE && m->looked && m->live != NULL && !restless && !k->stopping) {
		if (m->settle_from >= 0)
			settle_start(m);
		for (int i = 0; i < k->peers_count && m->job.kind == JOB_NONE; i++)
			decide(m, &k->peers[i]);
		m->forced = false;
	}
	arm(m);
}

/* ---- birth and death ---- */

static int load_state(struct mirror *m)
{
	struct keeper *k = m->keeper;
	uint8_t id[GENERATION_ID_BYTES];
	int r = store_head_get(k->store, m->conf->name, id);

	if (r == 0)
		r = held_load(k, m->conf->name, id, true, &m->head);
	if (r < 0 && r != -ENOENT)
		goto out;
	r = store_live_get(k->store, m->conf->name, &m->live);
	if (r == 0)
		m->stored = tree_ref(m->live);
	else if (r == -ENOENT)
		r = 0;
out:
	if (r < 0)
		log_err("%s: cannot read what was known: %s", m->conf->name, store_error(k->store));
	return r;
}

int mirror_init(struct keeper *k, int index)
{
	struct mirror *m = &k->mirrors[index];
	uint8_t loaded[GENERATION_ID_BYTES];
	int r;

	m->keeper = k;
	m->index = index;
	m->conf = &k->conf->mirrors[index];
	m->paths = (const char *const *)m->conf->paths;
	m->settle_from = -1;
	m->job.source = -1;
	m->local = MERGE_LOCAL_UNKNOWN;
	m->ignore = (struct ignore){.excludes = (const char *const *)m->conf->excludes,
				    .excludes_count = m->conf->excludes_count};
	tree_definition_hash(m->paths, m->conf->paths_count, m->ignore.excludes,
			     m->ignore.excludes_count, m->definition);
	settle_init(&m->settle);
	k->mirrors_count = index + 1;
	r = load_state(m);
	if (r == 0)
		r = loop_timer_new(k->loop, on_timer, m, &m->timer);
	if (r == 0)
		r = loop_timer_new(k->loop, on_resync, m, &m->resync);
	if (r == 0)
		r = loop_timer_new(k->loop, sweep, m, &m->sweep);
	if (r == 0)
		r = watch_new(k->loop, m->paths, m->conf->paths_count, &m->ignore, on_ring, m,
			      &m->watch);
	if (r < 0) {
		log_err("%s: cannot be watched: %s", m->conf->name, strerror(-r));
		return r;
	}
	if (watch_degraded(m->watch) != NULL)
		log_warn("%s: %s", m->conf->name, watch_degraded(m->watch));
	sweep(m);
	/* The head went live in an earlier life, which ended before nginx was seen to have it. */
	if (m->head.present &&
	    (store_acked_get(k->store, m->conf->name, keeper_self(k), loaded) < 0 ||
	     memcmp(loaded, m->head.id, sizeof loaded) != 0))
		apply_load_head(m);
	else if (m->head.present)
		mirror_mark(m, MARK_LOADED, m->head.header.lamport);
	if (m->head.present)
		mirror_mark(m, MARK_LIVE, m->head.header.lamport);
	m->head_since_us = 0;
	on_resync(m);
	return 0;
}

void mirror_release(struct mirror *m)
{
	if (m->keeper == NULL)
		return;
	job_clear(m);
	m->watch = watch_free(m->watch);
	m->timer = loop_timer_free(m->timer);
	m->resync = loop_timer_free(m->resync);
	m->sweep = loop_timer_free(m->sweep);
	held_release(&m->head);
	m->live = tree_free(m->live);
	m->stored = tree_free(m->stored);
}
