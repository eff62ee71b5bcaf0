/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer: one generation on its way to or from a peer: the bulk between two session_fsms.
 *
 * Not pure. It reads trees and objects through a port of the keeper's, makes the frames OFFER,
 * ENTRIES, CONTENT and END of one transfer as there is room for them, and at the other end puts the
 * manifest and the objects together again, believing nothing: what a peer sends lies under the
 * mirror's paths, has the announced hash, or is refused.
 *
 * Against a base (a generation that both hold) the entries are changes, and new contents come along
 * at once, as deltas against what stood at the same path: one way, no question. Without a base the
 * whole manifest goes and no content: the receiver asks for the objects it lacks.
 *
 * sending    ACT_TRANSFER: transfer_tx_new(), ACT_CONTENTS: transfer_tx_contents(); then
 *            transfer_tx_pump() now and at each on_sendable until it says 0: event SENT
 * receiving  RECEIVE(OFFER): decide by the header; transfer_rx_new(). RECEIVE(ENTRIES, CONTENT):
 *            transfer_rx_frame(). RECEIVE(END): transfer_rx_end(): NEED_OBJECTS or the tree
 */
#ifndef TANDEM_TRANSFER_H
#define TANDEM_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/generation.h"
#include "syncd/session_wire.h"
#include "syncd/tree.h"

#define TRANSFER_WHY_ROOM 512

struct transfer_port {
	void *ctx;
	/* A descriptor to read, the caller's; -ENOENT. */
	int (*open_object)(void *ctx, const uint8_t hash[SESSION_HASH_BYTES]);
	bool (*has_object)(void *ctx, const uint8_t hash[SESSION_HASH_BYTES]);
	/* fd holds size bytes that have been proven to have this hash; offset 0. 0 or -errno. */
	int (*add_object)(void *ctx, const uint8_t hash[SESSION_HASH_BYTES], int fd, uint64_t size);
	/* Where unlinked files may grow (the object store's file system); -1: memory. */
	int tmp_dirfd;
	/* Sending alone; as link_client_send() and link_client_room(). */
	int (*send)(void *ctx, const struct session_frame *frame);
	size_t (*room)(void *ctx);
};

struct transfer_tx;

struct transfer_offer {
	uint8_t slot;
	uint32_t transfer;
	const struct generation *generation; /* borrowed for the call */
	const uint8_t *signed_by;	     /* SESSION_SIGNED_BYTES */
	struct tree *tree;		     /* a reference is taken */
	const uint8_t *base;		     /* generation id; NULL: none */
	struct tree *base_tree;		     /* with base; a reference is taken */
};

/* port is copied. */
int transfer_tx_new(const struct transfer_port *port, const struct transfer_offer *offer,
		    struct transfer_tx **ret_tx);
/* The objects that a NEED names, then END. Those that are not in the tree are not sent, and none as
 * a delta: who had to ask may lack what it would build on. */
int transfer_tx_contents(const struct transfer_port *port, uint8_t slot, uint32_t transfer,
			 struct tree *tree, const struct session_need_frame *need,
			 struct transfer_tx **ret_tx);
/* 0: END has been sent. -EAGAIN: call again when there is room (or, after bounded work, soon:
 * transfer_tx_runnable()). Other -errno: SEND_FAILED, transfer_tx_why(). */
int transfer_tx_pump(struct transfer_tx *tx);
/* After -EAGAIN: there is room, it only stopped to let others run. */
bool transfer_tx_runnable(const struct transfer_tx *tx);
const char *transfer_tx_why(const struct transfer_tx *tx);
/* What has gone: encoded content bytes, for figures. */
uint64_t transfer_tx_content_bytes(const struct transfer_tx *tx);
struct transfer_tx *transfer_tx_free(struct transfer_tx *tx);

struct transfer_rx;

/* base_tree: the manifest of offer->base if it has one (a reference is taken). paths: of the
 * mirror, borrowed for as long as rx is. generation: the offer's header, which the caller has
 * decoded and judged; copied. */
int transfer_rx_new(const struct transfer_port *port, const struct session_offer *offer,
		    const struct generation *generation, struct tree *base_tree,
		    const char *const *paths, int paths_count, struct transfer_rx **ret_rx);
/* ENTRIES and CONTENT. 0. -errno: this host failed (disk full): RESULT FAILED. -EBADMSG: the peer
 * sent what cannot be (transfer_rx_why()): RESULT REFUSED or close. */
int transfer_rx_frame(struct transfer_rx *rx, const struct session_frame *frame);
/* At END. 0: *ret_tree is whole, a reference for the caller, and every object is in the store.
 * -EAGAIN: *ret_missing names objects to ask for (borrowed until the next call); go on with CONTENT
 * and END. -EBADMSG, other -errno as above. */
int transfer_rx_end(struct transfer_rx *rx, struct tree **ret_tree, const uint8_t **ret_missing,
		    size_t *ret_missing_count);
const char *transfer_rx_why(const struct transfer_rx *rx);
struct transfer_rx *transfer_rx_free(struct transfer_rx *rx);

#endif
