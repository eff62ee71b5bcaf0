/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer_fixture: the two ends of a transfer over toy object stores, `here` and `there`, with the
 * frames between them as they would travel; and trees to send.
 */
#ifndef TANDEM_TRANSFER_FIXTURE_H
#define TANDEM_TRANSFER_FIXTURE_H

#include <errno.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/wire.h"
#include "syncd/delta.h"
#include "syncd/transfer.h"

#define OBJECTS_MAX 6000
#define FRAMES_MAX 512

struct object {
	uint8_t hash[SESSION_HASH_BYTES];
	uint8_t *bytes;
	size_t size;
};

struct store {
	struct object objects[OBJECTS_MAX];
	int count;
	int fail; /* -errno of the next add_object */
};

static struct store here, there;

/* What has been sent: encoded, as it would travel. */
struct sent {
	uint8_t type;
	uint8_t *payload;
	size_t size;
};
static struct sent sent[FRAMES_MAX];
static int sent_count;
static size_t sent_bytes;
static size_t room = SIZE_MAX;

static inline void put(struct store *store, const void *bytes, size_t size, uint8_t hash[32])
{
	struct object *object = &store->objects[store->count++];

	assert_true(store->count < OBJECTS_MAX);
	SHA256(bytes, size, object->hash);
	object->bytes = malloc(size ? size : 1);
	assert_non_null(object->bytes);
	memcpy(object->bytes, bytes, size);
	object->size = size;
	memcpy(hash, object->hash, 32);
}

static inline struct object *get(struct store *store, const uint8_t *hash)
{
	for (int i = 0; i < store->count; i++) {
		if (memcmp(store->objects[i].hash, hash, 32) == 0)
			return &store->objects[i];
	}
	return NULL;
}

static inline int open_object(void *ctx, const uint8_t *hash)
{
	struct object *object = get(ctx, hash);
	int fd;

	if (!object)
		return -ENOENT;
	fd = memfd_create("object", MFD_CLOEXEC);
	assert_int_equal(pwrite(fd, object->bytes, object->size, 0), object->size);
	return fd;
}

static inline bool has_object(void *ctx, const uint8_t *hash)
{
	return get(ctx, hash) != NULL;
}

static inline int add_object(void *ctx, const uint8_t *hash, int fd, uint64_t size)
{
	struct store *store = ctx;
	uint8_t *bytes = malloc(size ? size : 1), own[32];

	if (store->fail) {
		free(bytes);
		return store->fail;
	}
	assert_int_equal(read(fd, bytes, size), size);
	put(store, bytes, size, own);
	assert_memory_equal(own, hash, 32);
	free(bytes);
	return 0;
}

static inline int send_frame(void *ctx, const struct session_frame *frame)
{
	static uint8_t payload[SESSION_PAYLOAD_BYTES_MAX];
	struct sent *s = &sent[sent_count++];

	(void)ctx;
	assert_true(sent_count < FRAMES_MAX);
	s->size = session_wire_encode(frame, payload, sizeof(payload));
	assert_true(s->size > 0);
	s->type = frame->type;
	s->payload = malloc(s->size);
	memcpy(s->payload, payload, s->size);
	sent_bytes += s->size;
	room = room > s->size ? room - s->size : 0;
	return 0;
}

static inline size_t room_left(void *ctx)
{
	(void)ctx;
	return room;
}

static const struct transfer_port tx_port = {.ctx = &here,
					     .open_object = open_object,
					     .has_object = has_object,
					     .add_object = add_object,
					     .tmp_dirfd = -1,
					     .send = send_frame,
					     .room = room_left};
static const struct transfer_port rx_port = {.ctx = &there,
					     .open_object = open_object,
					     .has_object = has_object,
					     .add_object = add_object,
					     .tmp_dirfd = -1};
static const char *const paths[] = {"/etc/nginx"};

static inline void forget_sent(void)
{
	for (int i = 0; i < sent_count; i++)
		free(sent[i].payload);
	sent_count = 0;
	sent_bytes = 0;
}

static inline void clear(struct store *store)
{
	for (int i = 0; i < store->count; i++)
		free(store->objects[i].bytes);
	memset(store, 0, sizeof(*store));
}

static inline int setup(void **state)
{
	(void)state;
	room = SIZE_MAX;
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	forget_sent();
	clear(&here);
	clear(&there);
	return 0;
}

/* ---- trees ---- */

static inline void add(struct tree *tree, uint8_t type, const char *path, const uint8_t *hash,
		       size_t size, uint32_t mode)
{
	struct entry entry = {.path = path,
			      .path_size = (uint16_t)strlen(path),
			      .type = type,
			      .mode = mode,
			      .owner = "root",
			      .group = "root",
			      .target = type == ENTRY_SYMLINK ? "nginx.conf" : "",
			      .size = size};

	entry.target_size = (uint16_t)strlen(entry.target);
	if (hash)
		memcpy(entry.hash, hash, 32);
	assert_int_equal(tree_add(tree, &entry), 0);
}

static inline void add_file(struct tree *tree, struct store *store, const char *path,
			    const char *text)
{
	uint8_t hash[32];

	if (store)
		put(store, text, strlen(text), hash);
	else
		SHA256((const uint8_t *)text, strlen(text), hash);
	add(tree, ENTRY_FILE, path, hash, strlen(text), 0644);
}

static inline struct tree *begin(void)
{
	struct tree *tree = tree_new();

	assert_non_null(tree);
	add(tree, ENTRY_DIR, "/etc/nginx", NULL, 0, 0755);
	add(tree, ENTRY_DIR, "/etc/nginx/conf.d", NULL, 0, 0755);
	return tree;
}

static inline struct tree *finish(struct tree *tree)
{
	assert_int_equal(tree_seal(tree, NULL), 0);
	return tree;
}

static inline struct generation generation_of(const struct tree *tree)
{
	struct generation generation;
	uint8_t definition[32] = {0};

	assert_true(generation_author(NULL, NULL, 0, definition, tree->hash, "web1", 1, 1,
				      &generation));
	return generation;
}

static const uint8_t signed_by[SESSION_SIGNED_BYTES];
static const uint8_t base_id[32] = {9};

/* Sends all of it into sent[]. */
static inline void send_all(struct tree *tree, struct tree *base)
{
	struct generation generation = generation_of(tree);
	struct transfer_offer offer = {.slot = 0,
				       .transfer = 1,
				       .generation = &generation,
				       .signed_by = signed_by,
				       .tree = tree,
				       .base = base ? base_id : NULL,
				       .base_tree = base};
	struct transfer_tx *tx;
	int rc;

	assert_int_equal(transfer_tx_new(&tx_port, &offer, &tx), 0);
	while ((rc = transfer_tx_pump(tx)) == -EAGAIN)
		assert_true(transfer_tx_runnable(tx));
	assert_int_equal(rc, 0);
	transfer_tx_free(tx);
}

static inline struct session_frame decoded(int i)
{
	struct session_frame frame;

	assert_int_equal(session_wire_decode(sent[i].type, sent[i].payload, sent[i].size, &frame),
			 SESSION_OK);
	return frame;
}

static inline struct transfer_rx *receive_offer(struct tree *tree, struct tree *base)
{
	struct generation generation = generation_of(tree);
	struct session_frame frame = decoded(0);
	struct transfer_rx *rx;

	assert_int_equal(frame.type, SESSION_OFFER);
	assert_int_equal(transfer_rx_new(&rx_port, &frame.offer, &generation, base, paths, 1, &rx),
			 0);
	return rx;
}

/* From the frame after OFFER to before END; the first failure. */
static inline int receive_rest(struct transfer_rx *rx, int from)
{
	for (int i = from; i < sent_count; i++) {
		struct session_frame frame = decoded(i);
		int rc;

		if (frame.type == SESSION_END)
			continue;
		rc = transfer_rx_frame(rx, &frame);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static inline int count_of(uint8_t type)
{
	int count = 0;

	for (int i = 0; i < sent_count; i++)
		count += sent[i].type == type;
	return count;
}

static const char vhost[] =
	"server {\n  listen 80;\n  server_name shop.example;\n  root /srv/shop;\n"
	"  location / { try_files $uri $uri/ =404; }\n  location /api { proxy_pass http://app; }\n"
	"  access_log /var/log/nginx/shop.log;\n  error_log /var/log/nginx/shop-error.log;\n}\n";

/* A tree that both have: one vhost and a link. */
static inline struct tree *common_base(void)
{
	struct tree *tree = begin();

	add_file(tree, &here, "/etc/nginx/nginx.conf", "events {}\n");
	add_file(tree, &here, "/etc/nginx/conf.d/shop.conf", vhost);
	add(tree, ENTRY_SYMLINK, "/etc/nginx/link", NULL, 0, 0777);
	for (int i = 0; i < here.count; i++) {
		uint8_t hash[32];

		put(&there, here.objects[i].bytes, here.objects[i].size, hash);
	}
	return finish(tree);
}

static inline int quiet(void **state)
{
	(void)state;
	delta_init();
	return 0;
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
