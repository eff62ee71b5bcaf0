/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_status: what the keeper says of itself, and of the others as far as it knows
 * (docs/PROTOCOL.md). Nothing is remembered for it: every answer is made from what is true now.
 */
#include <stdio.h>
#include <string.h>

#include "syncd/keeper_private.h"

static json_t *hex(const uint8_t *bytes, size_t size)
{
	char text[2 * 64 + 1];

	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

static json_t *text_or_null(const char *text)
{
	return text != NULL && *text ? ctl_text(text, strlen(text)) : json_null();
}

static json_t *age(const struct keeper *k, uint64_t at_us)
{
	return at_us ? json_integer((json_int_t)(loop_now_us(k->loop) - at_us)) : json_null();
}

static json_t *generation(const struct held *held)
{
	return held->present ? json_integer((json_int_t)held->header.lamport) : json_null();
}

/* What a mirror's state is follows from what is true, worst first. text may stay "". */
static const char *state_here(struct mirror *m, char *text, size_t room)
{
	struct keeper *k = m->keeper;
	const char *state = NULL;

	text[0] = '\0';
	if (!m->looked)
		return "starting";
	for (int i = 0; i < k->peers_count; i++) {
		const struct peer_mirror *pm = &k->peers[i].mirrors[m->index];

		if (!pm->conflict)
			continue;
		snprintf(text, room, "%s", pm->reason);
		if (pm->verdict == MERGE_DIVERGED)
			return "diverged";
		state = "conflict";
	}
	if (state != NULL)
		return state;
	if (m->local == MERGE_LOCAL_INVALID) {
		snprintf(text, room, "%s", m->reason);
		return "invalid";
	}
	for (int i = 0; i < k->peers_count; i++) {
		const struct peer_mirror *pm = &k->peers[i].mirrors[m->index];

		if (pm->refused || pm->waiting) {
			snprintf(text, room, "%s", pm->reason);
			if (pm->refused)
				return "refused";
			state = "waiting";
		}
	}
	if (state != NULL)
		return state;
	if (m->trouble[0] != '\0' || watch_degraded(m->watch) != NULL || m->unloaded[0] != '\0') {
		snprintf(text, room, "%s",
			 m->trouble[0]		    ? m->trouble
			 : watch_degraded(m->watch) ? watch_degraded(m->watch)
						    : m->unloaded);
		/* A stopped nginx is nobody's fault: live, not loaded. */
		return m->trouble[0] == '\0' && watch_degraded(m->watch) == NULL &&
				       strcmp(m->unloaded, "nginx is not running") == 0
			       ? "in-step"
			       : "degraded";
	}
	if (m->job.kind == JOB_APPLY || m->job.kind == JOB_LOAD) {
		snprintf(text, room, "generation %llu is being taken over",
			 (unsigned long long)m->job.target.header.lamport);
		return "pending";
	}
	if (m->local != MERGE_LOCAL_CLEAN || m->job.kind != JOB_NONE) {
		snprintf(text, room, "an edit is being looked at");
		return "pending";
	}
	if (!m->head.present) {
		snprintf(text, room, "there is nothing in %s yet", m->paths[0]);
		return "pending";
	}
	for (int i = 0; i < k->peers_count; i++) {
		const struct peer *p = &k->peers[i];
		const struct peer_mirror *pm = &p->mirrors[m->index];

		if (!p->connected || pm->state != SESSION_MIRROR_SHARED || !pm->head_known)
			continue;
		if (pm->head.present && pm->verdict != MERGE_SAME && pm->verdict != MERGE_IGNORE &&
		    memcmp(pm->head.id, m->head.id, sizeof m->head.id) != 0) {
			snprintf(text, room, "generation %llu of %s is on its way",
				 (unsigned long long)pm->head.header.lamport, p->name);
			return "pending";
		}
	}
	return "in-step";
}

static const char *state_there(const struct mirror *m, const struct peer *p,
			       const char **ret_reason)
{
	const struct peer_mirror *pm = &p->mirrors[m->index];
	bool ours = pm->reported && m->head.present &&
		    memcmp(pm->report_id, m->head.id, sizeof m->head.id) == 0;

	*ret_reason = NULL;
	if (!p->connected) {
		*ret_reason = p->error[0] ? p->error : "no contact";
		return "unknown";
	}
	switch (pm->state) {
	case SESSION_MIRROR_ABSENT:
		*ret_reason = "has no mirror of this name";
		return "degraded";
	case SESSION_MIRROR_DEFINITION_DIFFERS:
		*ret_reason =
			"defines this mirror differently (paths, exclude): nothing is exchanged "
			"until the files are the same";
		return "degraded";
	default:
		break;
	}
	if (!pm->head_known)
		return "starting";
	if (pm->conflict) {
		*ret_reason = pm->reason;
		return pm->verdict == MERGE_DIVERGED ? "diverged" : "conflict";
	}
	if (ours) {
		*ret_reason = pm->report_text;
		switch (pm->report) {
		case SESSION_REFUSED:
		case SESSION_FAILED:
			return "refused";
		case SESSION_WAITING:
			return "waiting";
		case SESSION_CONFLICT:
			return "conflict";
		case SESSION_DIVERGED:
			return "diverged";
		case SESSION_LIVE:
			return "in-step";
		default:
			*ret_reason = NULL;
			break;
		}
	}
	if (m->head.present && pm->head.present &&
	    memcmp(pm->head.id, m->head.id, sizeof m->head.id) == 0) {
		*ret_reason = pm->drift[0] ? pm->drift : NULL;
		return pm->drift[0] ? "pending" : "in-step";
	}
	if (!pm->head.present && !m->head.present)
		return "in-step";
	/* It has something that we do not take: what is wrong is said at our own line. */
	if (pm->refused || pm->waiting)
		return "in-step";
	return "pending";
}

static json_t *node_of_self(struct mirror *m, const char *state, const char *text)
{
	struct keeper *k = m->keeper;

	return json_pack("{s:s, s:s, s:o, s:o, s:n, s:o}", "node", keeper_self(k), "state", state,
			 "generation", generation(&m->head), "reason", text_or_null(text),
			 "latency_us", "age_us", json_integer(0));
}

static json_t *node_of_peer(struct mirror *m, const struct peer *p)
{
	const struct peer_mirror *pm = &p->mirrors[m->index];
	const char *reason;
	const char *state = state_there(m, p, &reason);
	json_t *latency = pm->latency_us ? json_integer((json_int_t)pm->latency_us) : json_null();

	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "node", p->name, "state", state,
			 "generation", generation(&pm->head), "reason", text_or_null(reason),
			 "latency_us", latency, "age_us",
			 age(m->keeper, pm->reported ? pm->report_us : p->since_us));
}

static json_t *stages(const struct mirror *m)
{
	static const char *const names[MARKS] = {
		[MARK_DETECTED] = "detected", [MARK_PUBLISHED] = "published",
		[MARK_SHIPPED] = "shipped",   [MARK_VALIDATED] = "validated",
		[MARK_LIVE] = "live",	      [MARK_LOADED] = "loaded",
		[MARK_VERIFIED] = "verified",
	};
	json_t *object = json_object();

	for (int i = 0; i < MARKS; i++) {
		const struct stage_mark *mark = &m->marks[i];

		json_object_set_new(object, names[i],
				    mark->set ? json_pack("{s:I, s:o}", "generation",
							  (json_int_t)mark->lamport, "age_us",
							  age(m->keeper, mark->at_us))
					      : json_null());
	}
	return object;
}

static void count_rescue(void *ctx, const struct store_rescue *rescue)
{
	(void)rescue;
	++*(size_t *)ctx;
}

static json_t *mirror_status(struct mirror *m)
{
	struct keeper *k = m->keeper;
	char text[KEEPER_TEXT_MAX];
	const char *state = state_here(m, text, sizeof text);
	json_t *nodes = json_array(), *object = json_object();
	uint64_t files = 0, bytes = 0;
	size_t rescued = 0;

	/* In the order of the file. */
	for (int i = 0; i < k->conf->nodes_count; i++) {
		const struct peer *p = peer_of_node(k, i);

		if (i == k->conf->self)
			json_array_append_new(nodes, node_of_self(m, state, text));
		else if (p != NULL)
			json_array_append_new(nodes, node_of_peer(m, p));
	}
	if (m->live != NULL)
		tree_totals(m->live, &files, &bytes);
	(void)store_rescues(k->store, m->conf->name, count_rescue, &rescued);
	json_object_set_new(object, "name", json_string(m->conf->name));
	json_object_set_new(object, "state", json_string(state));
	json_object_set_new(object, "reason", text_or_null(text));
	json_object_set_new(object, "generation", generation(&m->head));
	json_object_set_new(object, "id",
			    m->head.present ? hex(m->head.id, sizeof m->head.id) : json_null());
	json_object_set_new(object, "author",
			    m->head.present ? json_string(m->head.header.author) : json_null());
	json_object_set_new(object, "files", json_integer((json_int_t)files));
	json_object_set_new(object, "bytes", json_integer((json_int_t)bytes));
	json_object_set_new(object, "age_us", age(k, m->head_since_us));
	json_object_set_new(object, "watched",
			    json_integer((json_int_t)watch_directories(m->watch)));
	json_object_set_new(object, "rescued", json_integer((json_int_t)rescued));
	json_object_set_new(object, "stages", stages(m));
	json_object_set_new(object, "nodes", nodes);
	return object;
}

static json_t *peer_status(const struct peer *p)
{
	const struct keeper *k = p->keeper;

	return json_pack(
		"{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "node", p->name, "address",
		p->address, "connected", p->connected, "age_us", age(k, p->since_us), "rtt_us",
		p->connected && p->rtt_us ? json_integer((json_int_t)p->rtt_us) : json_null(),
		"tls", p->connected ? json_string(p->tls) : json_null(), "error",
		p->connected ? json_null() : text_or_null(p->error), "config_hash",
		p->greeted ? hex(p->config_hash, sizeof p->config_hash) : json_null(),
		"maintenance", p->greeted ? json_boolean(p->maintenance) : json_null());
}

json_t *status_make(struct keeper *k)
{
	json_t *peers = json_array(), *mirrors = json_array();

	for (int i = 0; i < k->peers_count; i++)
		json_array_append_new(peers, peer_status(&k->peers[i]));
	for (int i = 0; i < k->mirrors_count; i++)
		json_array_append_new(mirrors, mirror_status(&k->mirrors[i]));
	return json_pack("{s:b, s:i, s:s, s:s, s:s, s:I, s:o, s:o, s:o}", "ok", 1, "version", 1,
			 "program", "tandem-syncd", "node", keeper_self(k), "cluster",
			 k->conf->cluster, "snapshot", (json_int_t)k->options->snapshot->number,
			 "config_hash", hex(k->conf->hash, sizeof k->conf->hash), "peers", peers,
			 "mirrors", mirrors);
}
