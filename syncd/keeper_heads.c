/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_heads: what the sessions are told of this node's heads, and whether what a peer says of
 * its own is signed by who it should be.
 */
#include <stdio.h>
#include <string.h>

#include "syncd/keeper_private.h"

static enum session_relation relation_of(const struct mirror *m, const struct peer_mirror *pm)
{
	if (!pm->head_known)
		return SESSION_RELATION_UNKNOWN;
	if (!pm->head.present)
		return m->head.present ? SESSION_LOCAL_AHEAD : SESSION_SAME;
	if (!m->head.present)
		return SESSION_PEER_AHEAD;
	switch (generation_relate(&m->head.header, m->head.id, &pm->head.header, pm->head.id)) {
	case GENERATION_SAME:
		return SESSION_SAME;
	case GENERATION_EQUIVALENT:
		return memcmp(m->head.id, pm->head.id, sizeof m->head.id) < 0 ? SESSION_LOCAL_AHEAD
									      : SESSION_PEER_AHEAD;
	case GENERATION_ANCESTOR:
		return SESSION_PEER_AHEAD;
	case GENERATION_DESCENDANT:
		return SESSION_LOCAL_AHEAD;
	case GENERATION_CONCURRENT:
		return SESSION_CONCURRENT;
	case GENERATION_UNRELATED:
	case GENERATION_FORKED:
		break;
	}
	return SESSION_UNRELATED;
}

void peer_tell_heads(struct peer *p, struct mirror *m)
{
	struct keeper *k = m->keeper;
	struct peer_mirror *pm = &p->mirrors[m->index];
	struct session_event event = {.kind = SESSION_EV_HEADS, .mirror = m->index};
	struct session_heads *h = &event.heads;

	h->local_present = m->head.present;
	h->peer_present = pm->head_known && pm->head.present;
	memcpy(h->local_id, m->head.id, sizeof h->local_id);
	memcpy(h->peer_id, pm->head.id, sizeof h->peer_id);
	h->relation = relation_of(m, pm);
	h->made_here = m->head.present && strcmp(m->head.header.author, keeper_self(k)) == 0;
	h->offerable = m->head.present;
	/* The best base is what the peer has live; next best, what it said it has. */
	if (h->peer_present && store_generation_have(k->store, m->conf->name, pm->head.id)) {
		h->has_base = h->peer_held = true;
		memcpy(h->base, pm->head.id, sizeof h->base);
	} else if (store_acked_get(k->store, m->conf->name, p->name, h->base) == 0) {
		h->has_base = store_generation_have(k->store, m->conf->name, h->base);
	}
	/* Refused, or failed for the world's reasons: asked for again at the next resync at most.
	 */
	h->peer_held |= h->peer_present && pm->refused;
	if (h->peer_present && !h->peer_held)
		h->peer_held = store_refused_get(k->store, m->conf->name, pm->head.id, NULL) == 0;
	peer_event(p, &event);
}

void peers_tell_head(struct mirror *m)
{
	struct keeper *k = m->keeper;

	for (int i = 0; i < k->peers_count; i++) {
		k->peers[i].mirrors[m->index].drift[0] = '\0';
		peer_tell_heads(&k->peers[i], m);
	}
}

void peers_tell_scanned(struct mirror *m)
{
	struct keeper *k = m->keeper;
	struct session_event event = {.kind = SESSION_EV_SCANNED, .mirror = m->index};

	if (!m->head.present)
		return;
	memcpy(m->compared, m->head.id, sizeof m->compared);
	memcpy(event.id, m->head.id, sizeof event.id);
	memcpy(event.tree, m->live->hash, sizeof event.tree);
	for (int i = 0; i < k->peers_count; i++)
		peer_event(&k->peers[i], &event);
}

void peers_ask_sync(struct mirror *m)
{
	for (int i = 0; i < m->keeper->peers_count; i++) {
		struct session_event event = {.kind = SESSION_EV_SYNC, .mirror = m->index};

		peer_event(&m->keeper->peers[i], &event);
	}
}

void peer_tell(struct peer *p, struct mirror *m, const uint8_t *id, enum session_outcome outcome,
	       const char *text)
{
	struct session_event event = {
		.kind = SESSION_EV_RESULT, .mirror = m->index, .outcome = outcome};
	size_t size = strlen(text);

	memcpy(event.id, id, sizeof event.id);
	event.text = (struct session_string){
		text, size < SESSION_TEXT_BYTES_MAX ? size : SESSION_TEXT_BYTES_MAX};
	peer_event(p, &event);
}

static bool is_signed_rightly(struct keeper *k, const struct peer *from,
			      const struct generation *header, const uint8_t *id,
			      const uint8_t *signed_by, char *text, size_t room)
{
	const struct conf *conf = k->conf;
	uint8_t pin[IDENTITY_PIN_BYTES];
	char pin_text[IDENTITY_PIN_TEXT_ROOM];

	/* An authored generation carries its author's signature, whoever brings it; a merge that of
	 * any node that made it. */
	for (int i = 0; i < conf->nodes_count; i++) {
		const struct conf_node *node = &conf->nodes[i];

		if (*header->author != '\0' && strcmp(header->author, node->name) != 0)
			continue;
		if (identity_verify(node->pins, node->pins_count, IDENTITY_GENERATION, id,
				    signed_by))
			return true;
	}
	identity_signer_pin(signed_by, pin);
	identity_pin_format(pin, pin_text);
	if (*header->author != '\0' && conf_node_index(conf, header->author) < 0)
		snprintf(text, room,
			 "generation %llu was made by %s, which is not in the file of %s",
			 (unsigned long long)header->lamport, header->author, keeper_self(k));
	else
		snprintf(text, room,
			 "generation %llu from %s is signed by %s, which is not the key of %s in "
			 "the "
			 "file of %s",
			 (unsigned long long)header->lamport, from->name, pin_text,
			 *header->author ? header->author : "any node", keeper_self(k));
	return false;
}

/* Decodes and proves a header that a peer sent. false: text says what is wrong with it. */
bool peer_take_header(struct peer *p, struct mirror *m, const uint8_t *bytes, size_t size,
		      const uint8_t *signed_by, struct held *ret_held, char *text, size_t room)
{
	struct wire_reader r;
	struct held held = {.present = true};
	enum generation_verdict verdict;

	wire_reader_init(&r, bytes, size);
	verdict = generation_decode(&r, &held.header);
	if (verdict == GENERATION_OK && !wire_reader_done(&r))
		verdict = GENERATION_TRAILING;
	if (verdict != GENERATION_OK) {
		snprintf(text, room, "%s sends a generation header that is wrong: %s", p->name,
			 generation_verdict_text(verdict));
		return false;
	}
	generation_id(&held.header, held.id);
	if (memcmp(held.header.definition, m->definition, sizeof m->definition) != 0) {
		snprintf(text, room,
			 "generation %llu from %s was made under another definition of the mirror "
			 "(paths, "
			 "exclude)",
			 (unsigned long long)held.header.lamport, p->name);
		return false;
	}
	if (!is_signed_rightly(p->keeper, p, &held.header, held.id, signed_by, text, room))
		return false;
	snprintf(held.signer, sizeof held.signer, "%s",
		 *held.header.author ? held.header.author : p->name);
	memcpy(held.signed_by, signed_by, sizeof held.signed_by);
	*ret_held = held;
	return true;
}
