/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_peer: the shell around one session_fsm for each peer: events in, actions out. The bulk of
 * transfers is in keeper_transfer.c.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "syncd/keeper_private.h"

struct peer *peer_of_node(struct keeper *k, int node)
{
	for (int i = 0; i < k->peers_count; i++)
		if (k->peers[i].node == node)
			return &k->peers[i];
	return NULL;
}

static struct peer *peer_of_conn(struct keeper *k, uint32_t conn)
{
	for (int i = 0; i < k->peers_count; i++)
		if (k->peers[i].connected && k->peers[i].conn == conn)
			return &k->peers[i];
	return NULL;
}

/* ---- events, one at a time ---- */

/* An event's strings and hashes are borrowed: one that has to wait takes copies along. */
static void put_off(struct peer *p, const struct session_event *event)
{
	struct queued_event *q = calloc(1, sizeof *q);
	const struct session_string *strings[] = {&event->text, &event->path, &event->after};
	char **copies[] = {&q->text, &q->path, &q->after};

	if (q == NULL)
		abort();
	q->event = *event;
	for (int i = 0; i < 3; i++) {
		if (strings[i]->size == 0)
			continue;
		*copies[i] = malloc(strings[i]->size);
		if (*copies[i] == NULL)
			abort();
		memcpy(*copies[i], strings[i]->bytes, strings[i]->size);
	}
	q->event.text.bytes = q->text;
	q->event.path.bytes = q->path;
	q->event.after.bytes = q->after;
	if (event->hashes_count > 0) {
		q->hashes = malloc(event->hashes_count * SESSION_HASH_BYTES);
		if (q->hashes == NULL)
			abort();
		memcpy(q->hashes, event->hashes, event->hashes_count * SESSION_HASH_BYTES);
		q->event.hashes = q->hashes;
	}
	assert(event->frame == NULL);
	*p->queue_end = q;
	p->queue_end = &q->next;
}

static void free_queued(struct queued_event *q)
{
	free(q->text);
	free(q->path);
	free(q->after);
	free(q->hashes);
	free(q);
}

static void perform(struct peer *p, const struct session_action *action);

static void step(struct peer *p, struct session_event *event)
{
	event->now_us = loop_now_us(p->keeper->loop);
	p->stepping = true;
	session_fsm_step(&p->fsm, event, &p->actions);
	for (int i = 0; i < p->actions.count; i++)
		perform(p, &p->actions.items[i]);
	p->stepping = false;
}

void peer_event(struct peer *p, struct session_event *event)
{
	if (p->stepping) {
		put_off(p, event);
		return;
	}
	step(p, event);
	while (p->queue != NULL) {
		struct queued_event *q = p->queue;

		p->queue = q->next;
		if (p->queue == NULL)
			p->queue_end = &p->queue;
		step(p, &q->event);
		free_queued(q);
	}
	loop_timer_set(p->timer, session_fsm_deadline(&p->fsm));
}

static void on_deadline(void *ctx)
{
	struct session_event event = {.kind = SESSION_EV_TICK};

	peer_event(ctx, &event);
}

/* ---- heads ---- */

static void on_peer_head(struct peer *p, const struct session_action *action)
{
	const struct session_head *frame = &action->frame->head;
	struct mirror *m = &p->keeper->mirrors[action->mirror];
	struct peer_mirror *pm = &p->mirrors[action->mirror];
	char text[KEEPER_TEXT_MAX];
	uint8_t before[GENERATION_ID_BYTES];

	memcpy(before, pm->head.id, sizeof before);
	pm->head_known = true;
	held_release(&pm->head);
	if (frame->present && !peer_take_header(p, m, frame->header, frame->header_size,
						frame->signed_by, &pm->head, text, sizeof text)) {
		log_err("%s: %s", m->conf->name, text);
		/* Its head was made before a change of `paths`, say: another comes. */
		snprintf(pm->reason, sizeof pm->reason, "%s", text);
		pm->head_known = false;
	}
	/* What was refused, or failed, was another. */
	if (pm->head.present && memcmp(pm->head.id, before, sizeof before) != 0)
		pm->refused = false;
	/* It says itself that it has live what we hold: a base, whatever came before. */
	if (pm->head.present && store_generation_have(p->keeper->store, m->conf->name, pm->head.id))
		(void)store_acked_set(p->keeper->store, m->conf->name, p->name, pm->head.id);
	peer_tell_heads(p, m);
	mirror_next(m);
}

/* ---- actions ---- */

static void send_frame(struct peer *p, const struct session_frame *frame)
{
	int r = link_client_send(p->keeper->link, p->conn, frame);

	if (r == -ENOBUFS)
		link_client_close(p->keeper->link, p->conn, "it does not take what is sent to it");
	else if (r < 0 && r != -ENOTCONN && r != -EPIPE)
		log_err("cannot send %s to %s: %s", session_frame_name(frame->type), p->name,
			strerror(-r));
}

static void send_head(struct peer *p, const struct session_action *action)
{
	struct mirror *m = &p->keeper->mirrors[action->mirror];
	uint8_t header[GENERATION_ENCODED_BYTES_MAX];
	struct session_frame frame = {.type = SESSION_HEAD};
	struct wire_writer w;

	frame.head.slot = action->slot;
	frame.head.present = m->head.present;
	if (m->head.present) {
		wire_writer_init(&w, header, sizeof header);
		generation_encode(&w, &m->head.header);
		assert(wire_writer_ok(&w));
		frame.head.header = header;
		frame.head.header_size = w.at;
		memcpy(frame.head.signed_by, m->head.signed_by, sizeof frame.head.signed_by);
	}
	send_frame(p, &frame);
}

static void copy_string(char *to, size_t room, struct session_string from)
{
	size_t size = from.size < room ? from.size : room - 1;

	if (size > 0)
		memcpy(to, from.bytes, size);
	to[size] = '\0';
}

static void on_report(struct peer *p, const struct session_action *action)
{
	const struct session_result *result = &action->frame->result;
	struct keeper *k = p->keeper;
	struct mirror *m = &k->mirrors[action->mirror];
	struct peer_mirror *pm = &p->mirrors[action->mirror];
	bool ours = m->head.present && memcmp(m->head.id, result->id, sizeof m->head.id) == 0;

	if (result->outcome == SESSION_ABSENT)
		return;
	/* It has it whole and durable: a base for deltas from now on. */
	if (result->outcome <= SESSION_WAITING &&
	    store_generation_have(k->store, m->conf->name, result->id))
		(void)store_acked_set(k->store, m->conf->name, p->name, result->id);
	pm->reported = true;
	memcpy(pm->report_id, result->id, sizeof pm->report_id);
	pm->report = (enum session_outcome)result->outcome;
	copy_string(pm->report_text, sizeof pm->report_text, result->text);
	pm->report_us = loop_now_us(k->loop);
	if ((pm->report == SESSION_LOADED || pm->report == SESSION_LIVE) && ours &&
	    memcmp(m->edit_id, result->id, sizeof m->edit_id) == 0) {
		pm->latency_us = pm->report_us - m->edit_us;
		log_info("%s: generation %llu is %s on %s, %llu ms after the edit", m->conf->name,
			 (unsigned long long)m->head.header.lamport,
			 session_outcome_name(pm->report), p->name,
			 (unsigned long long)(pm->latency_us / 1000));
	} else if (pm->report >= SESSION_REFUSED && pm->report <= SESSION_FAILED) {
		log_warn("%s: generation %llu is %s on %s: %s", m->conf->name,
			 ours ? (unsigned long long)m->head.header.lamport : 0ull,
			 session_outcome_name(pm->report), p->name, pm->report_text);
	}
}

static void on_mirror_state(struct peer *p, const struct session_action *action)
{
	struct mirror *m = &p->keeper->mirrors[action->mirror];
	struct peer_mirror *pm = &p->mirrors[action->mirror];

	pm->state = action->mirror_state;
	pm->head_known = false;
	held_release(&pm->head);
	pm->decided = false;
	if (pm->state == SESSION_MIRROR_ABSENT)
		log_warn("%s: %s has no mirror of this name: nothing is exchanged", m->conf->name,
			 p->name);
	else if (pm->state == SESSION_MIRROR_DEFINITION_DIFFERS)
		log_warn("%s: %s defines this mirror differently (paths, exclude): nothing is "
			 "exchanged "
			 "until the files are the same",
			 m->conf->name, p->name);
	else if (m->looked)
		mirror_resync(m, false);
}

/* ---- descent ---- */

static void ask_next(struct peer *p, int index)
{
	struct peer_mirror *pm = &p->mirrors[index];
	struct mirror *m = &p->keeper->mirrors[index];
	struct session_event event = {.kind = SESSION_EV_WALK_ASK, .mirror = index};
	const char *const *paths;
	size_t count, total;

	if (walk_question(pm->walk, &event.path, &event.after)) {
		peer_event(p, &event);
		return;
	}
	paths = walk_paths(pm->walk, &count, &total);
	if (count > 0)
		snprintf(pm->drift, sizeof pm->drift, "differs at %.180s%s", paths[0],
			 total > 1 ? " and elsewhere" : "");
	log_warn("%s: %s says it has the same generation, and %s", m->conf->name, p->name,
		 count > 0 ? pm->drift : "another tree: no difference was found on a second look");
	pm->walk = walk_free(pm->walk);
}

static void on_descend(struct peer *p, int index)
{
	struct peer_mirror *pm = &p->mirrors[index];
	struct mirror *m = &p->keeper->mirrors[index];

	if (m->live == NULL)
		return;
	pm->walk = walk_free(pm->walk);
	if (walk_new(m->live, &pm->walk) == 0)
		ask_next(p, index);
}

static void on_walk_asked(struct peer *p, const struct session_action *action)
{
	static uint8_t bytes[SESSION_CHUNK_BYTES_MAX];
	struct mirror *m = &p->keeper->mirrors[action->mirror];
	struct session_frame frame;

	if (m->live == NULL)
		return;
	walk_answer(m->live, &action->frame->walk_ask, bytes, sizeof bytes, &frame);
	/* As the event WALK_ANSWER would do it; the frame cannot wait for the end of this step. */
	frame.walk_answer.slot = action->slot;
	send_frame(p, &frame);
}

static void on_walk_answered(struct peer *p, const struct session_action *action)
{
	struct peer_mirror *pm = &p->mirrors[action->mirror];

	if (pm->walk == NULL)
		return;
	if (walk_take(pm->walk, &action->frame->walk_answer) < 0)
		pm->walk = walk_free(pm->walk);
	else
		ask_next(p, action->mirror);
}

static void on_sync(struct peer *p, int index)
{
	struct mirror *m = &p->keeper->mirrors[index];

	log_info("%s: %s asks for another look", m->conf->name, p->name);
	(void)store_refused_clear(p->keeper->store, m->conf->name);
	m->forced = true;
	p->mirrors[index].decided = false;
	mirror_resync(m, false);
}

static void perform(struct peer *p, const struct session_action *action)
{
	struct keeper *k = p->keeper;

	switch (action->kind) {
	case SESSION_ACT_SEND:
		send_frame(p, action->frame);
		break;
	case SESSION_ACT_SEND_HEAD:
		send_head(p, action);
		break;
	case SESSION_ACT_MIRROR:
		on_mirror_state(p, action);
		break;
	case SESSION_ACT_OPEN:
		p->greeted = true;
		memcpy(p->config_hash, action->frame->hello.config_hash, sizeof p->config_hash);
		if (memcmp(p->config_hash, k->conf->hash, sizeof p->config_hash) != 0)
			log_warn("%s has another configuration file than this node", p->name);
		break;
	case SESSION_ACT_PEER_HEAD:
		on_peer_head(p, action);
		break;
	case SESSION_ACT_PEER_NODE:
		p->maintenance = action->frame->node.maintenance;
		log_info("%s is %s in maintenance", p->name, p->maintenance ? "now" : "no longer");
		break;
	case SESSION_ACT_TRANSFER:
		peer_start_sending(p, action);
		break;
	case SESSION_ACT_CONTENTS:
		peer_send_contents(p, action);
		break;
	case SESSION_ACT_STOP_SENDING:
		peer_stop_sending(p, action->mirror);
		break;
	case SESSION_ACT_RECEIVE:
		peer_receive(p, action);
		break;
	case SESSION_ACT_STOP_RECEIVING:
		peer_stop_receiving(p, action->mirror);
		break;
	case SESSION_ACT_REPORT:
		on_report(p, action);
		break;
	case SESSION_ACT_VERIFIED:
		p->mirrors[action->mirror].drift[0] = '\0';
		if (k->mirrors[action->mirror].head.present)
			mirror_mark(&k->mirrors[action->mirror], MARK_VERIFIED,
				    k->mirrors[action->mirror].head.header.lamport);
		break;
	case SESSION_ACT_DESCEND:
		on_descend(p, action->mirror);
		break;
	case SESSION_ACT_WALK_ASKED:
		on_walk_asked(p, action);
		break;
	case SESSION_ACT_WALK_ANSWERED:
		on_walk_answered(p, action);
		break;
	case SESSION_ACT_SYNC:
		on_sync(p, action->mirror);
		break;
	case SESSION_ACT_CLOSE:
		log_err("ending the session with %s: %s", p->name, action->reason);
		snprintf(p->error, sizeof p->error, "%s", action->reason);
		link_client_close(k->link, p->conn, action->reason);
		break;
	case SESSION_ACTIONS:
		assert(!"not an action");
	}
}

/* ---- the link ---- */

static void go_down(struct peer *p, const char *reason)
{
	struct session_event event = {.kind = SESSION_EV_DOWN};

	if (!p->connected)
		return;
	p->connected = p->greeted = p->maintenance = false;
	p->since_us = loop_now_us(p->keeper->loop);
	if (p->error[0] == '\0')
		snprintf(p->error, sizeof p->error, "%s", reason);
	log_debug("no contact with %s: %s", p->name, reason); /* the link has said it */
	peer_event(p, &event);
	for (int i = 0; i < p->keeper->mirrors_count; i++) {
		struct peer_mirror *pm = &p->mirrors[i];

		pm->walk = walk_free(pm->walk);
		pm->head_known = false;
		pm->waiting = false;
		peer_stop_sending(p, i);
		peer_stop_receiving(p, i);
	}
}

static void on_up(void *ctx, uint32_t conn, const char *node, const char *address, const char *tls,
		  const uint8_t *binding)
{
	struct keeper *k = ctx;
	int index = conf_node_index(k->conf, node);
	struct peer *p = index < 0 ? NULL : peer_of_node(k, index);
	struct session_event event = {.kind = SESSION_EV_UP};

	if (p == NULL) {
		link_client_close(k->link, conn, "that node is not known here");
		return;
	}
	if (identity_sign(k->identity, IDENTITY_CONNECTION, binding, event.signed_by) < 0) {
		link_client_close(k->link, conn, "no memory");
		return;
	}
	if (p->connected)
		go_down(p, "a newer connection replaces it");
	p->connected = true;
	p->conn = conn;
	memcpy(p->binding, binding, sizeof p->binding);
	p->since_us = loop_now_us(k->loop);
	p->rtt_us = 0;
	p->error[0] = '\0';
	snprintf(p->address, sizeof p->address, "%s", address);
	snprintf(p->tls, sizeof p->tls, "%s", tls);
	log_debug("connected to %s (%s, %s)", p->name, address, tls);
	peer_event(p, &event);
}

static void on_down(void *ctx, uint32_t conn, const char *reason)
{
	struct peer *p = peer_of_conn(ctx, conn);

	if (p != NULL)
		go_down(p, reason);
}

static void on_trouble(void *ctx, const char *node, const char *text)
{
	struct keeper *k = ctx;
	int index = *node ? conf_node_index(k->conf, node) : -1;
	struct peer *p = index < 0 ? NULL : peer_of_node(k, index);

	/* The link has logged it; what concerns a node is for its line in the status. */
	if (p == NULL)
		return;
	snprintf(p->error, sizeof p->error, "%s", text);
}

/* R-S16. The link has proven that the peer's link has a key that the node's key once certified, and
 * nothing says when, or who has it by now. This is signed where the node's key is. */
static bool is_proven(const struct peer *p, const struct session_hello *hello)
{
	const struct conf_node *node = &p->keeper->conf->nodes[p->node];

	return identity_verify(node->pins, node->pins_count, IDENTITY_CONNECTION, p->binding,
			       hello->signed_by);
}

static void turn_away(struct peer *p)
{
	snprintf(p->error, sizeof p->error,
		 "HELLO from %s refused: this connection is not signed with the node's key; "
		 "somebody else has a key of its link",
		 p->name);
	log_err("%s", p->error);
	link_client_close(p->keeper->link, p->conn, p->error);
	/* Whatever else it says is not for us. */
	go_down(p, p->error);
}

static void on_frame(void *ctx, uint32_t conn, uint8_t type, const uint8_t *payload, size_t size)
{
	struct peer *p = peer_of_conn(ctx, conn);
	struct session_frame frame;
	struct session_event event = {.kind = SESSION_EV_FRAME};

	if (p == NULL)
		return;
	event.verdict = session_wire_decode(type, payload, size, &frame);
	event.frame_type = type;
	if (event.verdict == SESSION_OK)
		event.frame = &frame;
	else
		event.kind = SESSION_EV_BAD_FRAME;
	if (event.frame && type == SESSION_HELLO && !is_proven(p, &frame.hello))
		turn_away(p);
	else
		peer_event(p, &event);
}

static void on_sendable(void *ctx, uint32_t conn)
{
	struct peer *p = peer_of_conn(ctx, conn);

	if (p != NULL)
		peer_pump(p);
}

static void on_rtt(void *ctx, uint32_t conn, uint64_t rtt_us)
{
	struct peer *p = peer_of_conn(ctx, conn);

	if (p != NULL)
		p->rtt_us = rtt_us;
}

static void on_closed(void *ctx, int reason)
{
	struct keeper *k = ctx;

	(void)reason;
	/* The runner starts another link and hands over a channel to it. */
	for (int i = 0; i < k->peers_count; i++)
		go_down(&k->peers[i], "the link has ended and is started again");
}

const struct link_client_handlers peer_handlers = {
	.on_up = on_up,
	.on_down = on_down,
	.on_trouble = on_trouble,
	.on_frame = on_frame,
	.on_sendable = on_sendable,
	.on_rtt = on_rtt,
	.on_closed = on_closed,
};

/* ---- birth and death ---- */

static void pump_again(void *ctx)
{
	peer_pump(ctx);
}

static void load_conflicts(struct peer *p)
{
	struct keeper *k = p->keeper;

	for (int i = 0; i < k->mirrors_count; i++) {
		struct peer_mirror *pm = &p->mirrors[i];
		struct store_conflict conflict;

		if (store_conflict_get(k->store, k->mirrors[i].conf->name, p->name, &conflict) < 0)
			continue;
		pm->conflict = true;
		pm->verdict = conflict.diverged ? MERGE_DIVERGED : MERGE_MERGE;
		if (conflict.diverged)
			snprintf(pm->reason, sizeof pm->reason,
				 "the trees of %s and %s have no past in common", keeper_self(k),
				 p->name);
		else
			snprintf(pm->reason, sizeof pm->reason, "both sides changed %s%s",
				 conflict.paths_count ? conflict.paths[0] : "the tree",
				 conflict.paths_count > 1 ? " (and more)" : "");
		store_conflict_release(&conflict);
	}
}

int peer_init(struct keeper *k, int node)
{
	struct peer *p = &k->peers[k->peers_count];
	struct session_conf conf = {.mirrors_count = k->mirrors_count};
	int r;

	p->keeper = k;
	p->index = k->peers_count++;
	p->node = node;
	p->name = k->conf->nodes[node].name;
	p->queue_end = &p->queue;
	ip_format(&k->conf->nodes[node].address, p->address);
	snprintf(conf.peer, sizeof conf.peer, "%s", p->name);
	snprintf(conf.software, sizeof conf.software, "%s", TANDEM_VERSION);
	memcpy(conf.config_hash, k->conf->hash, sizeof conf.config_hash);
	for (int i = 0; i < k->mirrors_count; i++) {
		snprintf(conf.mirrors[i].name, sizeof conf.mirrors[i].name, "%s",
			 k->mirrors[i].conf->name);
		memcpy(conf.mirrors[i].definition, k->mirrors[i].definition,
		       sizeof conf.mirrors[i].definition);
	}
	session_fsm_init(&p->fsm, &conf);
	r = loop_timer_new(k->loop, on_deadline, p, &p->timer);
	if (r == 0)
		r = loop_timer_new(k->loop, pump_again, p, &p->pump);
	if (r < 0)
		return r;
	load_conflicts(p);
	for (int i = 0; i < k->mirrors_count; i++)
		peer_tell_heads(p, &k->mirrors[i]);
	return 0;
}

void peer_release(struct peer *p)
{
	if (p->keeper == NULL)
		return;
	for (int i = 0; i < p->keeper->mirrors_count; i++) {
		peer_stop_sending(p, i);
		peer_stop_receiving(p, i);
		p->mirrors[i].walk = walk_free(p->mirrors[i].walk);
		held_release(&p->mirrors[i].head);
	}
	while (p->queue != NULL) {
		struct queued_event *q = p->queue;

		p->queue = q->next;
		free_queued(q);
	}
	p->timer = loop_timer_free(p->timer);
	p->pump = loop_timer_free(p->pump);
}
