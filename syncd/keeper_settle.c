/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_settle: a person has said which side is right. The side that loses stays in the history as
 * a parent; edits that were in no generation are kept aside first.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "syncd/keeper_private.h"

void settle_end(struct mirror *m, const char *outcome, const char *code, const char *text)
{
	struct settling *s = &m->keeper->settling;

	m->settle_from = -1;
	if (s->pending == 0)
		return;
	if (outcome != NULL) {
		json_t *generation = m->head.present
					     ? json_integer((json_int_t)m->head.header.lamport)
					     : json_null();

		json_array_append_new(s->mirrors,
				      json_pack("{s:s, s:s, s:o, s:o}", "name", m->conf->name,
						"outcome", outcome, "generation", generation,
						"text", ctl_text(text, strlen(text))));
	} else if (s->code[0] == '\0') {
		snprintf(s->code, sizeof s->code, "%s", code);
		snprintf(s->error, sizeof s->error, "%s: %s", m->conf->name, text);
	}
	if (--s->pending > 0)
		return;
	if (s->client != NULL && s->code[0] != '\0')
		ctl_fail(s->client, s->code, "%s", s->error);
	else if (s->client != NULL)
		ctl_answer(s->client, json_pack("{s:b, s:O}", "ok", 1, "mirrors", s->mirrors));
	json_decref(s->mirrors);
	*s = (struct settling){0};
}

/* The generation of peer p that is meant: its head, or, without contact, the one that is held in a
 * conflict. */
static int remote_id(struct mirror *m, struct peer *p, uint8_t ret_id[GENERATION_ID_BYTES])
{
	const struct peer_mirror *pm = &p->mirrors[m->index];
	struct store_conflict conflict;
	int r;

	if (pm->head.present) {
		memcpy(ret_id, pm->head.id, GENERATION_ID_BYTES);
		return 0;
	}
	r = store_conflict_get(m->keeper->store, m->conf->name, p->name, &conflict);
	if (r < 0)
		return r;
	memcpy(ret_id, conflict.remote, GENERATION_ID_BYTES);
	store_conflict_release(&conflict);
	return 0;
}

static enum generation_relation relate(const struct mirror *m, const struct held *remote)
{
	return generation_relate(&remote->header, remote->id, &m->head.header, m->head.id);
}

/* ---- ours is right ---- */

static bool take_ours_against(struct mirror *m, struct peer *p, bool *ret_settled)
{
	struct keeper *k = m->keeper;
	struct held remote = {0}, ours = {0};
	struct fault fault = {""};
	uint8_t id[GENERATION_ID_BYTES];
	bool ok = true;
	int r = remote_id(m, p, id);

	if (r < 0 || held_load(k, m->conf->name, id, true, &remote) < 0)
		return true; /* nothing of that peer is held, so nothing stands against ours */
	switch (relate(m, &remote)) {
	case GENERATION_SAME:
	case GENERATION_EQUIVALENT:
	case GENERATION_ANCESTOR:
		break;
	default:
		r = author_make(m, &remote, m->head.tree, &ours);
		if (r == 0)
			r = mirror_record(m, &ours, m->unloaded[0] == '\0', &fault);
		if (r < 0) {
			settle_end(m, NULL, "failed", *fault.text ? fault.text : strerror(-r));
			ok = false;
			break;
		}
		*ret_settled = true;
		mirror_mark(m, MARK_PUBLISHED, m->head.header.lamport);
		mirror_mark(m, MARK_LIVE, m->head.header.lamport);
		mirror_mark(m, MARK_LOADED, m->head.header.lamport);
		(void)store_conflict_clear(k->store, m->conf->name, p->name);
		log_notice(
			"%s: settled: the version of %s is taken over that of %s (generation %llu)",
			m->conf->name, keeper_self(k), p->name,
			(unsigned long long)m->head.header.lamport);
	}
	held_release(&ours);
	held_release(&remote);
	return ok;
}

static void take_ours(struct mirror *m)
{
	struct keeper *k = m->keeper;
	bool settled = false;

	if (m->local != MERGE_LOCAL_CLEAN || !m->head.present) {
		settle_end(m, NULL, "invalid",
			   *m->reason ? m->reason : "there is no valid version here yet");
		return;
	}
	for (int i = 0; i < k->peers_count; i++)
		if (!take_ours_against(m, &k->peers[i], &settled))
			return;
	settle_end(m, settled ? "settled" : "in-step", NULL,
		   settled ? "the other side follows" : "nothing stands against it");
}

/* ---- theirs is right ---- */

/* What is in no generation would be lost with the tree. */
static int keep_aside(struct mirror *m)
{
	struct keeper *k = m->keeper;
	struct tree *nothing = NULL;
	struct tree_diff diff;
	struct tree_change change;
	int r = 0;

	if (!m->head.present) {
		nothing = tree_new();
		if (nothing == NULL || tree_seal(nothing, NULL) != 0) {
			tree_free(nothing);
			return -ENOMEM;
		}
	}
	r = objects_sync(k->objects, NULL);
	tree_diff_init(&diff, m->head.present ? m->head.tree : nothing, m->live);
	while (r == 0 && tree_diff_next(&diff, &change)) {
		struct store_rescue rescue = {.since_unix_s = time(NULL)};

		if (change.to == NULL || change.to->type != ENTRY_FILE)
			continue;
		snprintf(rescue.mirror, sizeof rescue.mirror, "%s", m->conf->name);
		snprintf(rescue.path, sizeof rescue.path, "%s", change.to->path);
		memcpy(rescue.hash, change.to->hash, sizeof rescue.hash);
		r = store_rescue_put(k->store, &rescue);
	}
	tree_free(nothing);
	return r;
}

static void take_theirs(struct mirror *m, struct peer *p)
{
	struct keeper *k = m->keeper;
	struct peer_mirror *pm = &p->mirrors[m->index];
	struct held remote = {0}, target = {0};
	uint8_t id[GENERATION_ID_BYTES];
	char text[256];
	int r = peer_keep_received(p, m) ? remote_id(m, p, id) : -EIO;

	if (r == 0)
		r = held_load(k, m->conf->name, id, true, &remote);
	if (r < 0) {
		snprintf(text, sizeof text, "the version of %s is not held here%s", p->name,
			 p->connected ? " yet: try again in a moment" : " and there is no contact");
		settle_end(m, NULL, "not-held", text);
		return;
	}
	enum generation_relation relation =
		m->head.present ? relate(m, &remote) : GENERATION_DESCENDANT;

	switch (relation) {
	case GENERATION_SAME:
	case GENERATION_DESCENDANT:
	case GENERATION_EQUIVALENT:
		if (relation == GENERATION_SAME && m->local == MERGE_LOCAL_CLEAN) {
			held_release(&remote);
			settle_end(m, "in-step", NULL, "both have the same already");
			return;
		}
		held_copy(&target, &remote);
		(void)store_refused_clear(k->store, m->conf->name);
		break;
	case GENERATION_ANCESTOR:
		/* The older one again, as a new generation: the peer follows. */
		r = author_make(m, NULL, remote.tree, &target);
		break;
	case GENERATION_CONCURRENT:
	case GENERATION_UNRELATED:
	case GENERATION_FORKED:
		r = author_make(m, &remote, remote.tree, &target);
		break;
	}
	if (r == 0 && m->local != MERGE_LOCAL_CLEAN)
		r = keep_aside(m);
	held_release(&remote);
	if (r < 0) {
		held_release(&target);
		settle_end(m, NULL, "failed", strerror(-r));
		return;
	}
	log_notice("%s: settling: the version of %s is taken", m->conf->name, p->name);
	pm->decided = false;
	apply_start(m, &target, APPLY_SETTLE, p, true);
	held_release(&target);
}

void settle_start(struct mirror *m)
{
	struct keeper *k = m->keeper;
	struct peer *p;

	if (m->settle_from == k->conf->self) {
		take_ours(m);
		return;
	}
	p = peer_of_node(k, m->settle_from);
	if (p == NULL)
		settle_end(m, NULL, "no-such-node", "that node takes no part in replication");
	else
		take_theirs(m, p);
}
