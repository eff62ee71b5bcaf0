/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/wire.h"
#include "syncd/delta.h"
#include "syncd/transfer.h"
#include "syncd/transfer_private.h"

/* In one call, so that the loop gets its turn: so many frames, and so much to be encoded. */
#define FRAMES_PER_PUMP 64
#define ENCODE_BYTES_PER_PUMP (8ull * 1024 * 1024)

enum phase { PHASE_OFFER, PHASE_ENTRIES, PHASE_CONTENT, PHASE_END, PHASE_DONE };

/* One object to be sent. */
struct item {
	uint8_t hash[SESSION_HASH_BYTES];
	uint8_t base[SESSION_HASH_BYTES];
	bool has_base;
	bool held; /* the peer has it already */
	uint64_t size;
};

struct transfer_tx {
	struct transfer_port port;
	uint8_t slot;
	uint32_t transfer;
	enum phase phase;
	bool runnable;
	struct tree *tree, *base_tree;
	/* OFFER */
	uint8_t header[SESSION_HEADER_BYTES_MAX];
	struct session_offer offer;
	/* ENTRIES */
	struct tree_diff diff;
	struct tree_change pending; /* taken from diff, did not fit the last frame */
	bool has_pending;
	/* CONTENT */
	struct item *items;
	size_t items_count, items_room, item_at;
	struct delta_encoded encoded; /* of items[item_at]; fd -1: not yet */
	uint64_t offset;
	uint64_t content_bytes;
	char why[TRANSFER_WHY_ROOM];
};

static int fail(struct transfer_tx *tx, int rc, const char *what)
{
	snprintf(tx->why, sizeof(tx->why), "%s: %s", what, strerror(-rc));
	return rc;
}

static int compare_items(const void *a, const void *b)
{
	return memcmp(((const struct item *)a)->hash, ((const struct item *)b)->hash,
		      SESSION_HASH_BYTES);
}

static int add_item(struct transfer_tx *tx, const struct entry *entry, const struct entry *base)
{
	struct item *item;

	if (tx->items_count == tx->items_room) {
		size_t room = tx->items_room ? tx->items_room * 2 : 16;

		item = realloc(tx->items, room * sizeof(*item));
		if (!item)
			return -ENOMEM;
		tx->items = item;
		tx->items_room = room;
	}
	item = &tx->items[tx->items_count++];
	memset(item, 0, sizeof(*item));
	memcpy(item->hash, entry->hash, SESSION_HASH_BYTES);
	item->size = entry->size;
	if (base && base->type == ENTRY_FILE) {
		memcpy(item->base, base->hash, SESSION_HASH_BYTES);
		item->has_base = true;
	}
	return 0;
}

/* Sorted, each once; and what some file of the base holds is at the peer already (a renamed file
 * costs nothing). */
static void settle_items(struct transfer_tx *tx)
{
	size_t kept = 0;

	if (tx->items_count == 0)
		return;
	qsort(tx->items, tx->items_count, sizeof(*tx->items), compare_items);
	for (size_t i = 0; i < tx->items_count; i++) {
		if (kept > 0 && compare_items(&tx->items[kept - 1], &tx->items[i]) == 0)
			continue;
		tx->items[kept++] = tx->items[i];
	}
	tx->items_count = kept;
	for (size_t i = 0; tx->base_tree && i < tx->base_tree->count; i++) {
		const struct entry *entry = &tx->base_tree->entries[i];
		struct item key, *item;

		if (entry->type != ENTRY_FILE)
			continue;
		memcpy(key.hash, entry->hash, SESSION_HASH_BYTES);
		item = bsearch(&key, tx->items, tx->items_count, sizeof(key), compare_items);
		if (item)
			item->held = true;
	}
}

/* Counts the changes, and with a base notes the contents that come along. */
static int look_through(struct transfer_tx *tx, bool with_contents)
{
	struct tree_change change;
	struct tree_diff diff;
	int rc = 0;

	tree_diff_init(&diff, tx->base_tree, tx->tree);
	while (rc == 0 && tree_diff_next(&diff, &change)) {
		const struct entry *from = change.from, *to = change.to;

		tx->offer.entries_count++;
		if (!with_contents || !to || to->type != ENTRY_FILE)
			continue;
		if (from && from->type == ENTRY_FILE &&
		    memcmp(from->hash, to->hash, SESSION_HASH_BYTES) == 0)
			continue;
		rc = add_item(tx, to, from);
	}
	settle_items(tx);
	return rc;
}

static struct transfer_tx *new_tx(const struct transfer_port *port, uint8_t slot, uint32_t transfer,
				  struct tree *tree)
{
	struct transfer_tx *tx = calloc(1, sizeof(*tx));

	if (!tx)
		return NULL;
	tx->port = *port;
	tx->slot = slot;
	tx->transfer = transfer;
	tx->tree = tree_ref(tree);
	tx->encoded.fd = -1;
	return tx;
}

int transfer_tx_new(const struct transfer_port *port, const struct transfer_offer *offer,
		    struct transfer_tx **ret_tx)
{
	struct transfer_tx *tx = new_tx(port, offer->slot, offer->transfer, offer->tree);
	uint64_t files;
	struct wire_writer w;
	int rc = -ENOMEM;

	if (!tx)
		return rc;
	/* Without a base the changes are those from the empty tree. */
	rc = offer->base ? 0 : tree_from_entries(NULL, 0, &tx->base_tree);
	if (rc == 0 && offer->base)
		tx->base_tree = tree_ref(offer->base_tree);
	if (rc == 0)
		rc = look_through(tx, offer->base != NULL);
	if (rc != 0) {
		transfer_tx_free(tx);
		return rc < 0 ? rc : -EINVAL;
	}
	wire_writer_init(&w, tx->header, sizeof(tx->header));
	generation_encode(&w, offer->generation);
	assert(wire_writer_ok(&w));
	tx->offer.slot = offer->slot;
	tx->offer.transfer = offer->transfer;
	tx->offer.header = tx->header;
	tx->offer.header_size = w.at;
	memcpy(tx->offer.signed_by, offer->signed_by, SESSION_SIGNED_BYTES);
	if (offer->base) {
		tx->offer.has_base = true;
		memcpy(tx->offer.base, offer->base, SESSION_HASH_BYTES);
	}
	tx->offer.tree_count = (uint32_t)tx->tree->count;
	tree_totals(tx->tree, &files, &tx->offer.tree_bytes);
	tree_diff_init(&tx->diff, tx->base_tree, tx->tree);
	*ret_tx = tx;
	return 0;
}

int transfer_tx_contents(const struct transfer_port *port, uint8_t slot, uint32_t transfer,
			 struct tree *tree, const struct session_need_frame *need,
			 struct transfer_tx **ret_tx)
{
	struct transfer_tx *tx = new_tx(port, slot, transfer, tree);
	struct item *needed;
	int rc = 0;

	if (!tx)
		return -ENOMEM;
	needed = calloc(need->count ? need->count : 1, sizeof(*needed));
	if (!needed) {
		transfer_tx_free(tx);
		return -ENOMEM;
	}
	for (size_t i = 0; i < need->count; i++)
		memcpy(needed[i].hash, need->hashes + i * SESSION_HASH_BYTES, SESSION_HASH_BYTES);
	qsort(needed, need->count, sizeof(*needed), compare_items);
	for (size_t i = 0; rc == 0 && i < tree->count; i++) {
		struct item key;

		if (tree->entries[i].type != ENTRY_FILE)
			continue;
		memcpy(key.hash, tree->entries[i].hash, SESSION_HASH_BYTES);
		if (bsearch(&key, needed, need->count, sizeof(key), compare_items))
			rc = add_item(tx, &tree->entries[i], NULL);
	}
	free(needed);
	if (rc < 0) {
		transfer_tx_free(tx);
		return rc;
	}
	settle_items(tx);
	tx->phase = PHASE_CONTENT;
	*ret_tx = tx;
	return 0;
}

/* ---- frames ---- */

static int send_offer(struct transfer_tx *tx)
{
	struct session_frame frame = {.type = SESSION_OFFER, .offer = tx->offer};

	tx->phase = tx->offer.entries_count > 0 ? PHASE_ENTRIES : PHASE_CONTENT;
	return tx->port.send(tx->port.ctx, &frame);
}

static void put_change(struct wire_writer *w, const struct tree_change *change)
{
	if (change->to) {
		wire_put_u8(w, TRANSFER_PUT);
		entry_encode(w, change->to);
	} else {
		wire_put_u8(w, TRANSFER_REMOVE);
		wire_put_string(w, change->from->path, change->from->path_size);
	}
}

static int send_entries(struct transfer_tx *tx)
{
	uint8_t bytes[SESSION_CHUNK_BYTES_MAX];
	struct session_frame frame = {.type = SESSION_ENTRIES};
	struct wire_writer w, before;

	wire_writer_init(&w, bytes, sizeof(bytes));
	while (frame.entries.count < UINT16_MAX) {
		if (!tx->has_pending && !tree_diff_next(&tx->diff, &tx->pending)) {
			tx->phase = PHASE_CONTENT;
			break;
		}
		tx->has_pending = true;
		before = w;
		put_change(&w, &tx->pending);
		if (!wire_writer_ok(&w)) {
			w = before;
			break;
		}
		tx->has_pending = false;
		frame.entries.count++;
	}
	if (frame.entries.count == 0)
		return 0; /* the last frame took the last one */
	frame.entries.slot = tx->slot;
	frame.entries.transfer = tx->transfer;
	frame.entries.bytes = bytes;
	frame.entries.size = w.at;
	return tx->port.send(tx->port.ctx, &frame);
}

static int encode_item(struct transfer_tx *tx, const struct item *item)
{
	int base_fd = -1, fd, rc;

	fd = tx->port.open_object(tx->port.ctx, item->hash);
	if (fd < 0)
		return fail(tx, fd, "an object of the generation cannot be read");
	/* A base that is not here any more only costs some bytes. */
	if (item->has_base)
		base_fd = tx->port.open_object(tx->port.ctx, item->base);
	rc = delta_encode(base_fd, fd, tx->port.tmp_dirfd, &tx->encoded);
	if (base_fd >= 0)
		close(base_fd);
	close(fd);
	tx->offset = 0;
	return rc < 0 ? fail(tx, rc, "an object cannot be encoded") : 0;
}

static int send_content(struct transfer_tx *tx, uint64_t *encode_left)
{
	uint8_t bytes[SESSION_CHUNK_BYTES_MAX];
	struct session_frame frame = {.type = SESSION_CONTENT};
	const struct item *item;
	ssize_t n;
	int rc;

	while (tx->item_at < tx->items_count && tx->items[tx->item_at].held)
		tx->item_at++;
	if (tx->item_at == tx->items_count) {
		tx->phase = PHASE_END;
		return 0;
	}
	item = &tx->items[tx->item_at];
	if (tx->encoded.fd < 0) {
		if (*encode_left == 0)
			return -EAGAIN;
		*encode_left -= item->size < *encode_left ? item->size : *encode_left;
		rc = encode_item(tx, item);
		if (rc < 0)
			return rc;
	}
	do
		n = pread(tx->encoded.fd, bytes, sizeof(bytes), (off_t)tx->offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail(tx, -errno, "an object cannot be read");
	if (tx->offset + (uint64_t)n > tx->encoded.size ||
	    (n == 0 && tx->offset < tx->encoded.size))
		return fail(tx, -EIO, "an object has changed its size");
	frame.content.slot = tx->slot;
	frame.content.transfer = tx->transfer;
	memcpy(frame.content.object, item->hash, SESSION_HASH_BYTES);
	frame.content.object_size = item->size;
	frame.content.encoding = (uint8_t)tx->encoded.encoding;
	memcpy(frame.content.base, item->base, SESSION_HASH_BYTES);
	frame.content.encoded_size = tx->encoded.size;
	frame.content.offset = tx->offset;
	frame.content.bytes = bytes;
	frame.content.size = (size_t)n;
	tx->offset += (uint64_t)n;
	tx->content_bytes += (uint64_t)n;
	if (tx->offset == tx->encoded.size) {
		close(tx->encoded.fd);
		tx->encoded.fd = -1;
		tx->item_at++;
	}
	return tx->port.send(tx->port.ctx, &frame);
}

int transfer_tx_pump(struct transfer_tx *tx)
{
	struct session_frame end = {.type = SESSION_END};
	uint64_t encode_left = ENCODE_BYTES_PER_PUMP;
	int rc = 0;

	tx->runnable = false;
	for (int i = 0; i < FRAMES_PER_PUMP; i++) {
		if (tx->phase == PHASE_DONE)
			return 0;
		if (tx->port.room(tx->port.ctx) < SESSION_PAYLOAD_BYTES_MAX)
			return -EAGAIN;
		switch (tx->phase) {
		case PHASE_OFFER:
			rc = send_offer(tx);
			break;
		case PHASE_ENTRIES:
			rc = send_entries(tx);
			break;
		case PHASE_CONTENT:
			rc = send_content(tx, &encode_left);
			break;
		case PHASE_END:
			end.end.slot = tx->slot;
			end.end.transfer = tx->transfer;
			tx->phase = PHASE_DONE;
			rc = tx->port.send(tx->port.ctx, &end);
			break;
		case PHASE_DONE:
			break;
		}
		if (rc == -EAGAIN)
			break;
		if (rc < 0)
			return tx->why[0] ? rc : fail(tx, rc, "a frame cannot be sent");
	}
	if (tx->phase == PHASE_DONE)
		return 0;
	tx->runnable = true;
	return -EAGAIN;
}

bool transfer_tx_runnable(const struct transfer_tx *tx)
{
	return tx->runnable;
}

const char *transfer_tx_why(const struct transfer_tx *tx)
{
	return tx->why;
}

uint64_t transfer_tx_content_bytes(const struct transfer_tx *tx)
{
	return tx->content_bytes;
}

struct transfer_tx *transfer_tx_free(struct transfer_tx *tx)
{
	if (!tx)
		return NULL;
	if (tx->encoded.fd >= 0)
		close(tx->encoded.fd);
	tree_free(tx->tree);
	tree_free(tx->base_tree);
	free(tx->items);
	free(tx);
	return NULL;
}
