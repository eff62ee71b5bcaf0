/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_decide: what a peer's head means for this node. The decision itself is syncd/merge's; this
 * gathers what it needs, does what it says, and remembers it, so that nothing is decided twice.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "syncd/keeper_private.h"

void decide_describe_edit(struct mirror *m, char *text, size_t room)
{
	struct tree *nothing = NULL;
	struct tree_diff diff;
	struct tree_change change;
	const char *first = NULL;
	size_t count = 0;

	if (!m->head.present) {
		nothing = tree_new();
		if (nothing == NULL || tree_seal(nothing, NULL) != 0) {
			snprintf(text, room, "waits for the unpublished tree of %s",
				 keeper_self(m->keeper));
			tree_free(nothing);
			return;
		}
	}
	tree_diff_init(&diff, m->head.present ? m->head.tree : nothing, m->live);
	while (tree_diff_next(&diff, &change)) {
		const struct entry *entry = change.to ? change.to : change.from;

		/* A directory is there because of what is in it. */
		if (first == NULL || entry->type != ENTRY_DIR)
			first = entry->path;
		count++;
		if (count > 1 && entry->type != ENTRY_DIR)
			break;
	}
	while (tree_diff_next(&diff, &change))
		count++;
	if (count > 1)
		snprintf(text, room, "waits for an unpublished edit of %s (and %zu more) on %s%s%s",
			 first, count - 1, keeper_self(m->keeper), *m->reason ? ": " : "",
			 m->reason);
	else
		snprintf(text, room, "waits for an unpublished edit of %s on %s%s%s",
			 first ? first : "the tree", keeper_self(m->keeper), *m->reason ? ": " : "",
			 m->reason);
	tree_free(nothing);
}

static void clear(struct mirror *m, struct peer *p)
{
	struct peer_mirror *pm = &p->mirrors[m->index];

	if (pm->conflict)
		(void)store_conflict_clear(m->keeper->store, m->conf->name, p->name);
	pm->refused = pm->conflict = pm->waiting = false;
	pm->reason[0] = '\0';
}

/* Holds both versions, and says so once. */
static void hold(struct mirror *m, struct peer *p, bool diverged,
		 const struct merge_conflict *items, size_t count, const char *text)
{
	struct keeper *k = m->keeper;
	struct peer_mirror *pm = &p->mirrors[m->index];
	struct store_conflict conflict = {.diverged = diverged, .since_unix_s = time(NULL)};
	struct store_conflict known;
	bool is_new = true;

	if (store_conflict_get(k->store, m->conf->name, p->name, &known) == 0) {
		/* People want to know since when, not since which restart. */
		conflict.since_unix_s = known.since_unix_s;
		is_new = memcmp(known.local, m->head.id, sizeof known.local) != 0 ||
			 memcmp(known.remote, pm->head.id, sizeof known.remote) != 0;
		store_conflict_release(&known);
	}
	snprintf(conflict.mirror, sizeof conflict.mirror, "%s", m->conf->name);
	snprintf(conflict.node, sizeof conflict.node, "%s", p->name);
	memcpy(conflict.local, m->head.id, sizeof conflict.local);
	memcpy(conflict.remote, pm->head.id, sizeof conflict.remote);
	conflict.paths = calloc(count + 1, sizeof *conflict.paths);
	for (size_t i = 0; conflict.paths != NULL && i < count; i++) {
		const struct entry *entry = items[i].left    ? items[i].left
					    : items[i].right ? items[i].right
							     : items[i].base;

		conflict.paths[conflict.paths_count] = strdup(entry->path);
		if (conflict.paths[conflict.paths_count] != NULL)
			conflict.paths_count++;
	}
	if (store_conflict_put(k->store, &conflict) < 0)
		log_err("%s: cannot hold a conflict: %s", m->conf->name, store_error(k->store));
	store_conflict_release(&conflict);
	pm->conflict = true;
	pm->verdict = diverged ? MERGE_DIVERGED : MERGE_MERGE;
	snprintf(pm->reason, sizeof pm->reason, "%s", text);
	if (is_new)
		log_warn("%s: %s with %s: %s; both versions are held, take one with `tandem sync "
			 "--from "
			 "NODE`",
			 m->conf->name, diverged ? "diverged" : "conflict", p->name, text);
	peer_tell(p, m, pm->head.id, diverged ? SESSION_DIVERGED : SESSION_CONFLICT, text);
}

/* ---- merges ---- */

static int base_tree(struct mirror *m, const struct held *remote, struct tree **ret_tree)
{
	struct keeper *k = m->keeper;
	uint8_t id[GENERATION_ID_BYTES];
	int r = store_base_find(k->store, m->conf->name, &m->head.header, &remote->header, id);

	if (r == 0)
		return store_tree_get(k->store, m->conf->name, id, ret_tree);
	if (r != -ENOENT)
		return r;
	/* Two trees that never had anything in common, and are equal. */
	*ret_tree = tree_new();
	return *ret_tree == NULL ? -ENOMEM : tree_seal(*ret_tree, NULL);
}

static void describe_conflict(const struct merge_output *output, char *text, size_t room)
{
	const struct merge_conflict *first = &output->conflicts[0];
	const struct entry *entry = first->left	   ? first->left
				    : first->right ? first->right
						   : first->base;
	const char *what = first->kind == MERGE_BOTH_CHANGED ? "both sides changed"
			   : first->kind == MERGE_CHANGED_REMOVED
				   ? "one side changed and the other removed"
				   : "one side removed the directory of";

	if (output->conflicts_count > 1)
		snprintf(text, room, "%s %s (and %zu more)", what, entry->path,
			 output->conflicts_count - 1);
	else
		snprintf(text, room, "%s %s", what, entry->path);
}

static int merge(struct mirror *m, struct peer *p, const struct held *remote, bool *ret_started)
{
	const struct held *left = &m->head, *right = remote;
	struct tree *base = NULL;
	struct merge_input in;
	struct merge_output out = {.conflicts_room = STORE_CONFLICT_PATHS_MAX};
	struct held merged = {0};
	char text[1024];
	int r = base_tree(m, remote, &base);

	*ret_started = false;
	if (r < 0)
		return r;
	/* In the order of their ids, so that every node makes the same one (R5). */
	if (memcmp(left->id, right->id, sizeof left->id) > 0) {
		left = remote;
		right = &m->head;
	}
	in = (struct merge_input){
		.base = base->entries,
		.left = left->tree->entries,
		.right = right->tree->entries,
		.base_count = base->count,
		.left_count = left->tree->count,
		.right_count = right->tree->count,
	};
	out.entries = calloc(in.left_count + in.right_count + 1, sizeof *out.entries);
	out.conflicts = calloc(out.conflicts_room, sizeof *out.conflicts);
	if (out.entries == NULL || out.conflicts == NULL) {
		r = -ENOMEM;
		goto out;
	}
	if (!merge_trees(&in, &out)) {
		size_t named = out.conflicts_count < out.conflicts_room ? out.conflicts_count
									: out.conflicts_room;

		describe_conflict(&out, text, sizeof text);
		hold(m, p, false, out.conflicts, named, text);
		goto out;
	}
	r = tree_from_entries(out.entries, out.entries_count, &merged.tree);
	if (r > 0)
		r = -EBADMSG;
	if (r < 0)
		goto out;
	if (!generation_merge(&m->head.header, m->head.id, &remote->header, remote->id,
			      merged.tree->hash, &merged.header)) {
		hold(m, p, false, NULL, 0, "the history of both has too many authors to be merged");
		goto out;
	}
	merged.present = true;
	generation_id(&merged.header, merged.id);
	r = held_sign(m->keeper, &merged);
	if (r < 0)
		goto out;
	log_info("%s: merging generation %llu with %llu of %s", m->conf->name,
		 (unsigned long long)m->head.header.lamport,
		 (unsigned long long)remote->header.lamport, p->name);
	*ret_started = true;
	apply_start(m, &merged, APPLY_MERGE, p, false);
out:
	held_release(&merged);
	free(out.entries);
	free(out.conflicts);
	tree_free(base);
	return r;
}

/* ---- the decision ---- */

static enum merge_verdict judge(struct mirror *m, const struct peer_mirror *pm)
{
	const struct generation *header = &pm->head.header;
	uint8_t same_version[GENERATION_ID_BYTES];
	bool has_same = *header->author != '\0' &&
			store_version_find(m->keeper->store, m->conf->name, header->author,
					   header->incarnation, header->counter, same_version) == 0;
	struct merge_situation situation = {
		.definition = m->definition,
		.head = m->head.present ? &m->head.header : NULL,
		.head_id = m->head.id,
		.local = m->local,
		.remote = header,
		.remote_id = pm->head.id,
		.same_version_id = has_same ? same_version : NULL,
	};
	enum merge_verdict verdict = merge_decide(&situation);

	/* Nothing was ever here: whatever the peer has is welcome. */
	if (verdict == MERGE_WAIT && !m->head.present && m->local == MERGE_LOCAL_CLEAN)
		return MERGE_FAST_FORWARD;
	return verdict;
}

static bool decided_already(const struct mirror *m, const struct peer_mirror *pm)
{
	return pm->decided && !m->forced &&
	       memcmp(pm->decided_remote, pm->head.id, sizeof pm->head.id) == 0 &&
	       memcmp(pm->decided_local, m->head.id, sizeof m->head.id) == 0 &&
	       pm->decided_state == m->local;
}

static void remember(const struct mirror *m, struct peer_mirror *pm)
{
	pm->decided = true;
	memcpy(pm->decided_remote, pm->head.id, sizeof pm->head.id);
	memcpy(pm->decided_local, m->head.id, sizeof m->head.id);
	pm->decided_state = m->local;
}

/* Not in the store yet: a step forward keeps it while it is being validated. */
static bool has_just_come(const struct peer_mirror *pm)
{
	return pm->received && memcmp(pm->rx_held.id, pm->head.id, sizeof pm->head.id) == 0;
}

static bool go_forward(struct mirror *m, struct peer *p)
{
	struct keeper *k = m->keeper;
	struct peer_mirror *pm = &p->mirrors[m->index];
	struct held remote = {0};
	char *reason = NULL;
	int r = 0;

	if (store_refused_get(k->store, m->conf->name, pm->head.id, &reason) == 0) {
		pm->refused = true;
		snprintf(pm->reason, sizeof pm->reason, "%s", reason);
		free(reason);
		peer_tell(p, m, pm->head.id, SESSION_REFUSED, pm->reason);
		return false;
	}
	if (has_just_come(pm))
		held_copy(&remote, &pm->rx_held);
	else
		r = held_load(k, m->conf->name, pm->head.id, true, &remote);
	if (r < 0) {
		log_err("%s: cannot read a generation of %s: %s", m->conf->name, p->name,
			store_error(k->store));
		return false;
	}
	apply_start(m, &remote, APPLY_FORWARD, p, false);
	held_release(&remote);
	return true;
}

bool decide(struct mirror *m, struct peer *p)
{
	struct keeper *k = m->keeper;
	struct peer_mirror *pm = &p->mirrors[m->index];
	struct held remote = {0};
	char text[KEEPER_TEXT_MAX];
	bool started = false;
	int r;

	if (!p->connected || pm->state != SESSION_MIRROR_SHARED || !pm->head_known ||
	    !pm->head.present || m->local == MERGE_LOCAL_UNKNOWN || decided_already(m, pm))
		return false;
	pm->verdict = judge(m, pm);
	switch (pm->verdict) {
	case MERGE_SAME:
	case MERGE_IGNORE:
		clear(m, p);
		remember(m, pm);
		return false;
	case MERGE_OTHER_DEFINITION: /* said by the session, which exchanges nothing then */
	case MERGE_VERDICTS:
		return false;
	default:
		break;
	}
	/* The rest needs its tree. It is on its way; this is asked again when it is here. */
	if (!(pm->verdict == MERGE_FAST_FORWARD && has_just_come(pm)) &&
	    !(peer_keep_received(p, m) &&
	      store_generation_have(k->store, m->conf->name, pm->head.id)))
		return false;
	remember(m, pm);
	switch (pm->verdict) {
	case MERGE_FAST_FORWARD:
		clear(m, p);
		started = go_forward(m, p);
		break;
	case MERGE_MERGE:
		r = held_load(k, m->conf->name, pm->head.id, true, &remote);
		if (r == 0)
			r = merge(m, p, &remote, &started);
		if (r < 0) {
			pm->decided = false;
			log_err("%s: cannot merge with %s: %s", m->conf->name, p->name,
				strerror(-r));
		}
		held_release(&remote);
		break;
	case MERGE_WAIT:
		decide_describe_edit(m, text, sizeof text);
		if (!pm->waiting)
			log_notice("%s: generation %llu of %s %s", m->conf->name,
				   (unsigned long long)pm->head.header.lamport, p->name, text);
		clear(m, p);
		pm->waiting = true;
		snprintf(pm->reason, sizeof pm->reason, "%s", text);
		peer_tell(p, m, pm->head.id, SESSION_WAITING, text);
		break;
	case MERGE_DIVERGED:
		snprintf(text, sizeof text,
			 m->head.present ? "the trees of %s and %s have no past in common"
					 : "the trees of %s and %s differ",
			 keeper_self(k), p->name);
		hold(m, p, true, NULL, 0, text);
		break;
	default:
		break;
	}
	return started;
}
