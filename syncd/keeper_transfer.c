/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_transfer: the bulk of one generation out to a peer, or in from it (syncd/transfer does the
 * work; this gives it trees, objects and room).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "syncd/keeper_private.h"

/* ---- the port ---- */

static int open_object(void *ctx, const uint8_t hash[SESSION_HASH_BYTES])
{
	struct peer *p = ctx;
	uint64_t size;
	int fd;
	int r = objects_get(p->keeper->objects, hash, &fd, &size);

	return r < 0 ? r : fd;
}

static bool has_object(void *ctx, const uint8_t hash[SESSION_HASH_BYTES])
{
	struct peer *p = ctx;

	return objects_have(p->keeper->objects, hash);
}

static int add_object(void *ctx, const uint8_t hash[SESSION_HASH_BYTES], int fd, uint64_t size)
{
	struct peer *p = ctx;
	uint8_t found[ENTRY_HASH_BYTES];
	uint64_t found_size;
	int r = objects_add_fd(p->keeper->objects, fd, size, found, &found_size, NULL);

	if (r < 0)
		return r;
	return found_size == size && memcmp(found, hash, sizeof found) == 0 ? 0 : -EBADMSG;
}

static int send_frame(void *ctx, const struct session_frame *frame)
{
	struct peer *p = ctx;

	return link_client_send(p->keeper->link, p->conn, frame);
}

static size_t room(void *ctx)
{
	struct peer *p = ctx;

	return link_client_room(p->keeper->link, p->conn);
}

static struct transfer_port port_of(struct peer *p)
{
	return (struct transfer_port){
		.ctx = p,
		.open_object = open_object,
		.has_object = has_object,
		.add_object = add_object,
		.tmp_dirfd = -1,
		.send = send_frame,
		.room = room,
	};
}

/* ---- sending ---- */

static void sending_failed(struct peer *p, int mirror, uint32_t transfer, const char *why)
{
	struct session_event event = {
		.kind = SESSION_EV_SEND_FAILED,
		.mirror = mirror,
		.transfer = transfer,
		.text = {why, strlen(why) < SESSION_REASON_BYTES_MAX ? strlen(why)
								     : SESSION_REASON_BYTES_MAX},
	};

	log_warn("%s: cannot send a generation to %s: %s", p->keeper->mirrors[mirror].conf->name,
		 p->name, why);
	peer_event(p, &event);
}

static struct tree *tree_of(struct mirror *m, const uint8_t *id)
{
	struct tree *tree = NULL;

	if (m->head.present && memcmp(m->head.id, id, sizeof m->head.id) == 0)
		return tree_ref(m->head.tree);
	if (store_tree_get(m->keeper->store, m->conf->name, id, &tree) < 0)
		return NULL;
	return tree;
}

void peer_start_sending(struct peer *p, const struct session_action *action)
{
	struct mirror *m = &p->keeper->mirrors[action->mirror];
	struct peer_mirror *pm = &p->mirrors[action->mirror];
	struct transfer_port port = port_of(p);
	struct held held = {0};
	struct tree *base = action->has_base ? tree_of(m, action->base) : NULL;
	struct transfer_offer offer = {.slot = action->slot, .transfer = action->transfer};
	int r;

	pm->tx = transfer_tx_free(pm->tx);
	pm->tx_transfer = action->transfer;
	if (m->head.present && memcmp(m->head.id, action->id, sizeof m->head.id) == 0) {
		held_copy(&held, &m->head);
		r = 0;
	} else {
		r = held_load(p->keeper, m->conf->name, action->id, true, &held);
	}
	if (r == 0) {
		offer.generation = &held.header;
		offer.signed_by = held.signed_by;
		offer.tree = held.tree;
		offer.base = base ? action->base : NULL;
		offer.base_tree = base;
		r = transfer_tx_new(&port, &offer, &pm->tx);
	}
	held_release(&held);
	tree_free(base);
	if (r < 0)
		sending_failed(p, action->mirror, action->transfer,
			       r == -ENOENT ? "it is not held here" : strerror(-r));
	else
		peer_pump(p);
}

void peer_send_contents(struct peer *p, const struct session_action *action)
{
	struct mirror *m = &p->keeper->mirrors[action->mirror];
	struct peer_mirror *pm = &p->mirrors[action->mirror];
	struct transfer_port port = port_of(p);
	struct tree *tree = tree_of(m, action->id);
	int r = tree ? 0 : -ENOENT;

	pm->tx = transfer_tx_free(pm->tx);
	pm->tx_transfer = action->transfer;
	if (r == 0)
		r = transfer_tx_contents(&port, action->slot, action->transfer, tree,
					 &action->frame->need, &pm->tx);
	tree_free(tree);
	if (r < 0)
		sending_failed(p, action->mirror, action->transfer, strerror(-r));
	else
		peer_pump(p);
}

void peer_stop_sending(struct peer *p, int mirror)
{
	p->mirrors[mirror].tx = transfer_tx_free(p->mirrors[mirror].tx);
}

void peer_pump(struct peer *p)
{
	struct keeper *k = p->keeper;
	bool runnable = false;

	for (int i = 0; i < k->mirrors_count; i++) {
		struct peer_mirror *pm = &p->mirrors[i];
		struct mirror *m = &k->mirrors[i];
		int r;

		if (pm->tx == NULL)
			continue;
		r = transfer_tx_pump(pm->tx);
		if (r == -EAGAIN) {
			runnable |= transfer_tx_runnable(pm->tx);
		} else if (r == 0) {
			struct session_event event = {
				.kind = SESSION_EV_SENT, .mirror = i, .transfer = pm->tx_transfer};

			log_debug("%s: sent to %s, %llu bytes of content", m->conf->name, p->name,
				  (unsigned long long)transfer_tx_content_bytes(pm->tx));
			pm->tx = transfer_tx_free(pm->tx);
			if (m->head.present)
				mirror_mark(m, MARK_SHIPPED, m->head.header.lamport);
			peer_event(p, &event);
		} else {
			char why[TRANSFER_WHY_ROOM];

			snprintf(why, sizeof why, "%s", transfer_tx_why(pm->tx));
			pm->tx = transfer_tx_free(pm->tx);
			sending_failed(p, i, pm->tx_transfer, why);
		}
	}
	loop_timer_set(p->pump, runnable ? loop_now_us(k->loop) : LOOP_NEVER_US);
}

/* ---- receiving ---- */

static void result(struct peer *p, int mirror, const uint8_t *id, enum session_outcome outcome,
		   const char *text)
{
	struct peer_mirror *pm = &p->mirrors[mirror];
	size_t size = strlen(text);
	struct session_event event = {
		.kind = SESSION_EV_RESULT,
		.mirror = mirror,
		.transfer = pm->rx_transfer,
		.outcome = outcome,
		.text = {text, size < SESSION_TEXT_BYTES_MAX ? size : SESSION_TEXT_BYTES_MAX},
	};

	memcpy(event.id, id, sizeof event.id);
	peer_event(p, &event);
}

/* The transfer ends here with a no. */
static void reject(struct peer *p, int mirror, enum session_outcome outcome, const char *why)
{
	struct mirror *m = &p->keeper->mirrors[mirror];
	struct peer_mirror *pm = &p->mirrors[mirror];
	uint8_t id[GENERATION_ID_BYTES];

	log_warn("%s: what %s sends is not taken: %s", m->conf->name, p->name, why);
	memcpy(id, pm->rx_held.id, sizeof id);
	pm->refused = true;
	snprintf(pm->reason, sizeof pm->reason, "%s", why);
	result(p, mirror, id, outcome, why);
	peer_stop_receiving(p, mirror);
	peer_tell_heads(p, m);
}

static void fail(struct peer *p, int mirror, int error)
{
	struct peer_mirror *pm = &p->mirrors[mirror];
	char why[TRANSFER_WHY_ROOM + 128];
	const char *words = pm->rx ? transfer_rx_why(pm->rx) : "";

	/* -EBADMSG is the peer's doing, the rest is this host's: a full disk, say. */
	snprintf(why, sizeof why, "%s%s%s", words, *words ? "" : strerror(-error),
		 error == -ENOSPC || error == -EDQUOT
			 ? (*words ? "; free some space in the state directory" : "")
			 : "");
	reject(p, mirror, error == -EBADMSG ? SESSION_REFUSED : SESSION_FAILED, why);
}

static void on_offer(struct peer *p, const struct session_action *action)
{
	const struct session_offer *offer = &action->frame->offer;
	struct keeper *k = p->keeper;
	int mirror = action->mirror;
	struct mirror *m = &k->mirrors[mirror];
	struct peer_mirror *pm = &p->mirrors[mirror];
	struct transfer_port port = port_of(p);
	struct tree *base = NULL;
	char text[KEEPER_TEXT_MAX];
	int r;

	peer_stop_receiving(p, mirror);
	pm->rx_transfer = offer->transfer;
	if (!peer_take_header(p, m, offer->header, offer->header_size, offer->signed_by,
			      &pm->rx_held, text, sizeof text)) {
		/* Its name is unknown where its header cannot be trusted: the answer goes to what
		 * hashes to what was sent. */
		EVP_Digest(offer->header, offer->header_size, pm->rx_held.id, NULL, EVP_sha256(),
			   NULL);
		reject(p, mirror, SESSION_REFUSED, text);
		return;
	}
	if (store_generation_have(k->store, m->conf->name, pm->rx_held.id)) {
		result(p, mirror, pm->rx_held.id, SESSION_RECEIVED, "");
		peer_stop_receiving(p, mirror);
		pm->decided = false;
		mirror_next(m);
		return;
	}
	if (offer->has_base) {
		r = store_tree_get(k->store, m->conf->name, offer->base, &base);
		if (r == -ENOENT) {
			struct session_event event = {.kind = SESSION_EV_NEED_MANIFEST,
						      .mirror = mirror,
						      .transfer = offer->transfer};

			peer_event(p, &event);
			return;
		}
		if (r < 0) {
			fail(p, mirror, r);
			return;
		}
	}
	r = transfer_rx_new(&port, offer, &pm->rx_held.header, base, m->paths, m->conf->paths_count,
			    &pm->rx);
	tree_free(base);
	if (r < 0)
		fail(p, mirror, r);
}

bool peer_keep_received(struct peer *p, struct mirror *m)
{
	struct keeper *k = p->keeper;
	struct peer_mirror *pm = &p->mirrors[m->index];
	struct store_generation generation = {.header = pm->rx_held.header};
	struct fault fault = {""};
	uint8_t id[GENERATION_ID_BYTES];
	int r;

	if (!pm->received)
		return true;
	pm->received = false;
	r = objects_sync(k->objects, &fault); /* R16 */
	snprintf(generation.mirror, sizeof generation.mirror, "%s", m->conf->name);
	memcpy(generation.id, pm->rx_held.id, sizeof generation.id);
	memcpy(id, pm->rx_held.id, sizeof id);
	snprintf(generation.signer, sizeof generation.signer, "%s", pm->rx_held.signer);
	memcpy(generation.signature, pm->rx_held.signed_by, sizeof pm->rx_held.signed_by);
	generation.signature_size = sizeof pm->rx_held.signed_by;
	if (r == 0) {
		r = store_generation_put(k->store, &generation, pm->rx_held.tree);
		if (r < 0)
			fault_set(&fault, r, "%s", store_error(k->store));
	}
	if (r < 0) {
		reject(p, m->index, SESSION_FAILED, fault.text);
		return false;
	}
	log_debug("%s: received generation %llu from %s", m->conf->name,
		  (unsigned long long)generation.header.lamport, p->name);
	result(p, m->index, id, SESSION_RECEIVED, "");
	peer_stop_receiving(p, m->index);
	return true;
}

static void received(struct peer *p, int mirror, struct tree *tree)
{
	struct mirror *m = &p->keeper->mirrors[mirror];
	struct peer_mirror *pm = &p->mirrors[mirror];

	pm->rx_held.tree = tree_ref(tree);
	pm->received = true;
	pm->decided = false;
	mirror_next(m);
	/* If that began with it, it is kept by now. */
	(void)peer_keep_received(p, m);
}

static void on_end(struct peer *p, int mirror)
{
	struct peer_mirror *pm = &p->mirrors[mirror];
	struct mirror *m = &p->keeper->mirrors[mirror];
	struct tree *tree = NULL;
	const struct entry *bad;
	enum entry_verdict verdict;
	const uint8_t *missing;
	size_t count;
	int r = transfer_rx_end(pm->rx, &tree, &missing, &count);

	if (r == -EAGAIN) {
		struct session_event event = {
			.kind = SESSION_EV_NEED_OBJECTS,
			.mirror = mirror,
			.transfer = pm->rx_transfer,
			.hashes = missing,
			.hashes_count =
				count < SESSION_NEED_HASHES_MAX ? count : SESSION_NEED_HASHES_MAX,
		};

		peer_event(p, &event);
		return;
	}
	if (r < 0) {
		fail(p, mirror, r);
		return;
	}
	/* R3, once more, where it matters: nothing outside the mirrored paths can be named. */
	verdict = tree_check_paths(tree, m->paths, m->conf->paths_count, &bad);
	if (verdict != ENTRY_OK) {
		char why[TRANSFER_WHY_ROOM];

		snprintf(why, sizeof why, "%.300s: %s", bad ? bad->path : "the manifest",
			 entry_verdict_text(verdict));
		reject(p, mirror, SESSION_REFUSED, why);
	} else if (memcmp(tree->hash, pm->rx_held.header.tree, sizeof tree->hash) != 0) {
		reject(p, mirror, SESSION_REFUSED, "its tree is not the one that its header names");
	} else {
		received(p, mirror, tree);
	}
	tree_free(tree);
}

void peer_receive(struct peer *p, const struct session_action *action)
{
	struct peer_mirror *pm = &p->mirrors[action->mirror];
	int r;

	if (action->frame->type == SESSION_OFFER) {
		on_offer(p, action);
		return;
	}
	if (pm->rx == NULL)
		return; /* answered already */
	if (action->frame->type == SESSION_END) {
		on_end(p, action->mirror);
		return;
	}
	r = transfer_rx_frame(pm->rx, action->frame);
	if (r < 0)
		fail(p, action->mirror, r);
}

void peer_stop_receiving(struct peer *p, int mirror)
{
	struct peer_mirror *pm = &p->mirrors[mirror];

	pm->rx = transfer_rx_free(pm->rx);
	pm->received = false;
	held_release(&pm->rx_held);
}
