/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a transfer, frame by frame, over toy object stores; and the descent. */
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
#include "syncd/walk.h"

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

static void put(struct store *store, const void *bytes, size_t size, uint8_t hash[32])
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

static struct object *get(struct store *store, const uint8_t *hash)
{
	for (int i = 0; i < store->count; i++) {
		if (memcmp(store->objects[i].hash, hash, 32) == 0)
			return &store->objects[i];
	}
	return NULL;
}

static int open_object(void *ctx, const uint8_t *hash)
{
	struct object *object = get(ctx, hash);
	int fd;

	if (!object)
		return -ENOENT;
	fd = memfd_create("object", MFD_CLOEXEC);
	assert_int_equal(pwrite(fd, object->bytes, object->size, 0), object->size);
	return fd;
}

static bool has_object(void *ctx, const uint8_t *hash)
{
	return get(ctx, hash) != NULL;
}

static int add_object(void *ctx, const uint8_t *hash, int fd, uint64_t size)
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

static int send_frame(void *ctx, const struct session_frame *frame)
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

static size_t room_left(void *ctx)
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

static void forget_sent(void)
{
	for (int i = 0; i < sent_count; i++)
		free(sent[i].payload);
	sent_count = 0;
	sent_bytes = 0;
}

static void clear(struct store *store)
{
	for (int i = 0; i < store->count; i++)
		free(store->objects[i].bytes);
	memset(store, 0, sizeof(*store));
}

static int setup(void **state)
{
	(void)state;
	room = SIZE_MAX;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	forget_sent();
	clear(&here);
	clear(&there);
	return 0;
}

/* ---- trees ---- */

static void add(struct tree *tree, uint8_t type, const char *path, const uint8_t *hash, size_t size,
		uint32_t mode)
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

static void add_file(struct tree *tree, struct store *store, const char *path, const char *text)
{
	uint8_t hash[32];

	if (store)
		put(store, text, strlen(text), hash);
	else
		SHA256((const uint8_t *)text, strlen(text), hash);
	add(tree, ENTRY_FILE, path, hash, strlen(text), 0644);
}

static struct tree *begin(void)
{
	struct tree *tree = tree_new();

	assert_non_null(tree);
	add(tree, ENTRY_DIR, "/etc/nginx", NULL, 0, 0755);
	add(tree, ENTRY_DIR, "/etc/nginx/conf.d", NULL, 0, 0755);
	return tree;
}

static struct tree *finish(struct tree *tree)
{
	assert_int_equal(tree_seal(tree, NULL), 0);
	return tree;
}

static struct generation generation_of(const struct tree *tree)
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
static void send_all(struct tree *tree, struct tree *base)
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

static struct session_frame decoded(int i)
{
	struct session_frame frame;

	assert_int_equal(session_wire_decode(sent[i].type, sent[i].payload, sent[i].size, &frame),
			 SESSION_OK);
	return frame;
}

static struct transfer_rx *receive_offer(struct tree *tree, struct tree *base)
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
static int receive_rest(struct transfer_rx *rx, int from)
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

static int count_of(uint8_t type)
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
static struct tree *common_base(void)
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

static void an_ordinary_edit_goes_one_way_and_is_small(void **state)
{
	struct tree *base = common_base(), *tree = begin(), *got = NULL;
	const uint8_t *missing;
	struct transfer_rx *rx;
	char text[1024];
	size_t count;

	(void)state;
	snprintf(text, sizeof(text), "%s# edited\n", vhost);
	add_file(tree, NULL, "/etc/nginx/nginx.conf", "events {}\n");
	add_file(tree, &here, "/etc/nginx/conf.d/shop.conf", text);
	add(tree, ENTRY_SYMLINK, "/etc/nginx/link", NULL, 0, 0777);
	finish(tree);
	send_all(tree, base);
	assert_int_equal(sent_count, 4); /* OFFER, ENTRIES, CONTENT, END */
	assert_int_equal(decoded(2).content.encoding, SESSION_DELTA);
	printf("figure: one edited vhost of %zu bytes travels in %zu bytes of frames\n",
	       strlen(text), sent_bytes);
	assert_true(sent_bytes < 1000);
	rx = receive_offer(tree, base);
	assert_int_equal(receive_rest(rx, 1), 0);
	assert_int_equal(transfer_rx_end(rx, &got, &missing, &count), 0);
	assert_memory_equal(got->hash, tree->hash, 32);
	transfer_rx_free(rx);
	tree_free(got);
	tree_free(tree);
	tree_free(base);
}

static void removals_types_and_modes_travel(void **state)
{
	struct tree *base = common_base(), *tree = tree_new(), *got = NULL;
	const uint8_t *missing;
	struct transfer_rx *rx;
	size_t count;

	(void)state;
	/* conf.d is a link now, nginx.conf has another mode, link is gone. */
	add(tree, ENTRY_DIR, "/etc/nginx", NULL, 0, 0700);
	add(tree, ENTRY_SYMLINK, "/etc/nginx/conf.d", NULL, 0, 0777);
	add_file(tree, NULL, "/etc/nginx/nginx.conf", "events {}\n");
	finish(tree);
	send_all(tree, base);
	assert_int_equal(count_of(SESSION_CONTENT), 0);
	rx = receive_offer(tree, base);
	assert_int_equal(receive_rest(rx, 1), 0);
	assert_int_equal(transfer_rx_end(rx, &got, &missing, &count), 0);
	assert_memory_equal(got->hash, tree->hash, 32);
	assert_int_equal(got->count, 3);
	transfer_rx_free(rx);
	tree_free(got);
	tree_free(tree);
	tree_free(base);
}

static void a_renamed_file_costs_no_content(void **state)
{
	struct tree *base = common_base(), *tree = begin(), *got = NULL;
	const uint8_t *missing;
	struct transfer_rx *rx;
	size_t count;

	(void)state;
	add_file(tree, NULL, "/etc/nginx/nginx.conf", "events {}\n");
	add_file(tree, NULL, "/etc/nginx/conf.d/store.conf", vhost);
	add(tree, ENTRY_SYMLINK, "/etc/nginx/link", NULL, 0, 0777);
	finish(tree);
	send_all(tree, base);
	assert_int_equal(count_of(SESSION_CONTENT), 0);
	rx = receive_offer(tree, base);
	assert_int_equal(receive_rest(rx, 1), 0);
	assert_int_equal(transfer_rx_end(rx, &got, &missing, &count), 0);
	assert_memory_equal(got->hash, tree->hash, 32);
	transfer_rx_free(rx);
	tree_free(got);
	tree_free(tree);
	tree_free(base);
}

/* END -> NEED -> contents -> END, in rounds of what one NEED may name. */
static struct tree *complete(struct transfer_rx *rx, struct tree *tree, int *ret_rounds)
{
	const uint8_t *missing;
	struct tree *got = NULL;
	size_t count;
	int rc;

	*ret_rounds = 0;
	while ((rc = transfer_rx_end(rx, &got, &missing, &count)) == -EAGAIN) {
		struct session_need_frame need = {.kind = SESSION_NEED_OBJECTS, .hashes = missing};
		struct transfer_tx *tx;

		++*ret_rounds;
		need.count = (uint16_t)(count < SESSION_NEED_HASHES_MAX ? count
									: SESSION_NEED_HASHES_MAX);
		forget_sent();
		assert_int_equal(transfer_tx_contents(&tx_port, 0, 1, tree, &need, &tx), 0);
		while ((rc = transfer_tx_pump(tx)) == -EAGAIN) {
			assert_int_equal(receive_rest(rx, 0), 0);
			forget_sent();
		}
		assert_int_equal(rc, 0);
		transfer_tx_free(tx);
		assert_int_equal(receive_rest(rx, 0), 0);
	}
	assert_int_equal(rc, 0);
	return got;
}

static void without_a_base_only_what_is_missing_is_sent(void **state)
{
	struct tree *tree = begin(), *got;
	struct transfer_rx *rx;
	uint8_t hash[32];
	int rounds;

	(void)state;
	add_file(tree, &here, "/etc/nginx/nginx.conf", "events {}\n");
	add_file(tree, &here, "/etc/nginx/conf.d/shop.conf", vhost);
	finish(tree);
	put(&there, "events {}\n", 10, hash);
	send_all(tree, NULL);
	assert_int_equal(count_of(SESSION_CONTENT), 0);
	rx = receive_offer(tree, NULL);
	assert_int_equal(receive_rest(rx, 1), 0);
	got = complete(rx, tree, &rounds);
	assert_int_equal(rounds, 1);
	assert_int_equal(count_of(SESSION_CONTENT), 1);
	assert_memory_equal(got->hash, tree->hash, 32);
	assert_int_equal(there.count, 2);
	transfer_rx_free(rx);
	tree_free(got);
	tree_free(tree);
}

static void a_base_object_that_is_lost_costs_one_question(void **state)
{
	struct tree *base = common_base(), *tree = begin(), *got;
	struct transfer_rx *rx;
	char text[1024];
	int rounds;

	(void)state;
	snprintf(text, sizeof(text), "%s# edited\n", vhost);
	add_file(tree, NULL, "/etc/nginx/nginx.conf", "events {}\n");
	add_file(tree, &here, "/etc/nginx/conf.d/shop.conf", text);
	add(tree, ENTRY_SYMLINK, "/etc/nginx/link", NULL, 0, 0777);
	finish(tree);
	send_all(tree, base);
	clear(&there);
	rx = receive_offer(tree, base);
	assert_int_equal(receive_rest(rx, 1), 0);
	got = complete(rx, tree, &rounds);
	assert_int_equal(rounds, 1);
	assert_int_not_equal(decoded(0).content.encoding, SESSION_DELTA);
	assert_memory_equal(got->hash, tree->hash, 32);
	transfer_rx_free(rx);
	tree_free(got);
	tree_free(tree);
	tree_free(base);
}

static void a_thousand_files_go_in_bounded_frames_as_room_allows(void **state)
{
	struct tree *tree = begin(), *got;
	struct generation generation;
	struct transfer_offer offer = {.transfer = 1, .signed_by = signed_by};
	struct transfer_rx *rx;
	struct transfer_tx *tx;
	char path[128], text[256];
	int rounds, waits = 0, rc;

	(void)state;
	for (int i = 0; i < 2500; i++) {
		snprintf(path, sizeof(path), "/etc/nginx/conf.d/a-rather-long-name-%05d.conf", i);
		snprintf(text, sizeof(text), "server { server_name host%d; }\n", i);
		add_file(tree, &here, path, text);
	}
	finish(tree);
	generation = generation_of(tree);
	offer.generation = &generation;
	offer.tree = tree;
	assert_int_equal(transfer_tx_new(&tx_port, &offer, &tx), 0);
	room = 0;
	while ((rc = transfer_tx_pump(tx)) == -EAGAIN) {
		if (!transfer_tx_runnable(tx)) {
			waits++;
			room = SESSION_PAYLOAD_BYTES_MAX;
		}
	}
	assert_int_equal(rc, 0);
	transfer_tx_free(tx);
	assert_true(waits > 3);
	assert_true(count_of(SESSION_ENTRIES) > 3);
	room = SIZE_MAX;
	rx = receive_offer(tree, NULL);
	assert_int_equal(receive_rest(rx, 1), 0);
	got = complete(rx, tree, &rounds);
	assert_int_equal(rounds, 3); /* 1024, 1024, 452 */
	assert_memory_equal(got->hash, tree->hash, 32);
	assert_int_equal(there.count, 2500);
	transfer_rx_free(rx);
	tree_free(got);
	tree_free(tree);
}

static void a_large_object_comes_in_pieces(void **state)
{
	size_t size = 3 * SESSION_CHUNK_BYTES_MAX + 17;
	uint8_t *noise = malloc(size), hash[32];
	struct tree *tree = begin(), *got;
	struct transfer_rx *rx;
	uint64_t random = 1;
	int rounds;

	(void)state;
	for (size_t i = 0; i < size; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		noise[i] = (uint8_t)(random >> 56);
	}
	put(&here, noise, size, hash);
	add(tree, ENTRY_FILE, "/etc/nginx/geo.mmdb", hash, size, 0644);
	finish(tree);
	send_all(tree, NULL);
	rx = receive_offer(tree, NULL);
	assert_int_equal(receive_rest(rx, 1), 0);
	got = complete(rx, tree, &rounds);
	assert_int_equal(count_of(SESSION_CONTENT), 4);
	assert_memory_equal(get(&there, hash)->bytes, noise, size);
	transfer_rx_free(rx);
	tree_free(got);
	tree_free(tree);
	free(noise);
}

/* ---- what a peer must not get away with ---- */

static void put_one(struct wire_writer *w, const char *path, uint8_t type)
{
	struct entry entry = {.path = path,
			      .path_size = (uint16_t)strlen(path),
			      .type = type,
			      .mode = 0644,
			      .owner = "root",
			      .group = "root",
			      .target = ""};

	wire_put_u8(w, 1);
	entry_encode(w, &entry);
}

/* One ENTRIES frame with what the writer has; then END. */
static int offend(struct tree *base, const uint8_t *bytes, size_t size, uint16_t entries,
		  const char *expected)
{
	struct session_offer offer = {.transfer = 1,
				      .entries_count = entries,
				      .tree_count = 1,
				      .header = bytes,
				      .header_size = 1};
	struct session_frame frame = {.type = SESSION_ENTRIES};
	struct generation generation;
	struct transfer_rx *rx;
	const uint8_t *missing;
	struct tree *got = NULL;
	size_t count;
	int rc;

	memset(&generation, 0, sizeof(generation));
	assert_int_equal(transfer_rx_new(&rx_port, &offer, &generation, base, paths, 1, &rx), 0);
	frame.entries.transfer = 1;
	frame.entries.count = entries;
	frame.entries.bytes = bytes;
	frame.entries.size = size;
	rc = transfer_rx_frame(rx, &frame);
	if (rc == 0)
		rc = transfer_rx_end(rx, &got, &missing, &count);
	assert_null(got);
	if (!strstr(transfer_rx_why(rx), expected))
		fail_msg("it says: %s", transfer_rx_why(rx));
	transfer_rx_free(rx);
	return rc;
}

static void entries_that_reach_outside_are_refused(void **state)
{
	static const char *const outside[] = {"/etc", "/etc/passwd", "/etc/nginx2", "/"};
	uint8_t bytes[4096];
	struct wire_writer w;

	(void)state;
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		wire_writer_init(&w, bytes, sizeof(bytes));
		put_one(&w, outside[i], ENTRY_DIR);
		assert_int_equal(offend(NULL, bytes, w.at, 1, ""), -EBADMSG);
	}
	wire_writer_init(&w, bytes, sizeof(bytes));
	put_one(&w, "/etc/passwd", ENTRY_FILE);
	assert_int_equal(offend(NULL, bytes, w.at, 1, "/etc/passwd: "), -EBADMSG);
	wire_writer_init(&w, bytes, sizeof(bytes));
	put_one(&w, "/etc/nginx/../passwd", ENTRY_DIR);
	assert_int_equal(offend(NULL, bytes, w.at, 1, "an entry of the manifest: "), -EBADMSG);
	wire_writer_init(&w, bytes, sizeof(bytes));
	wire_put_u8(&w, 0);
	wire_put_string(&w, "../x", 4);
	assert_int_equal(offend(NULL, bytes, w.at, 1, "a removed path: "), -EBADMSG);
}

static void entries_that_are_none_are_refused(void **state)
{
	uint8_t bytes[4096];
	struct wire_writer w;

	(void)state;
	wire_writer_init(&w, bytes, sizeof(bytes));
	wire_put_u8(&w, 2);
	assert_int_equal(offend(NULL, bytes, w.at, 1, "neither put nor removed"), -EBADMSG);
	wire_writer_init(&w, bytes, sizeof(bytes));
	put_one(&w, "/etc/nginx", ENTRY_DIR);
	wire_put_u8(&w, 1);
	assert_int_equal(offend(NULL, bytes, w.at, 1, "bytes after the last entry"), -EBADMSG);
	wire_writer_init(&w, bytes, sizeof(bytes));
	put_one(&w, "/etc/nginx", ENTRY_DIR);
	assert_int_equal(offend(NULL, bytes, w.at - 1, 1, "an entry of the manifest"), -EBADMSG);
	/* Whole and right, but not what the generation names. */
	assert_int_equal(offend(NULL, bytes, w.at, 1, "does not have the hash"), -EBADMSG);
}

static void contents_that_do_not_belong_are_refused(void **state)
{
	struct tree *tree = begin();
	struct transfer_rx *rx;
	struct session_frame frame = {.type = SESSION_CONTENT};
	uint8_t bytes[64] = {0};
	static const char *const expected[] = {
		"content comes that the manifest does not name",
		"content comes with another size than in the manifest",
		"content begins in the middle",
		"an object: the content does not have the hash that was announced",
		"the pieces of an object do not follow each other",
	};

	(void)state;
	add_file(tree, &here, "/etc/nginx/nginx.conf", "events {}\n");
	finish(tree);
	send_all(tree, NULL);
	for (int i = 0; i < 5; i++) {
		rx = receive_offer(tree, NULL);
		assert_int_equal(receive_rest(rx, 1), 0);
		frame.content = (struct session_content){.transfer = 1,
							 .object_size = 10,
							 .encoded_size = 10,
							 .encoding = SESSION_RAW,
							 .bytes = bytes,
							 .size = 10};
		SHA256((const uint8_t *)"events {}\n", 10, frame.content.object);
		if (i == 0)
			frame.content.object[0] ^= 1;
		if (i == 1)
			frame.content.object_size = frame.content.encoded_size =
				frame.content.size = 11;
		if (i == 2) {
			frame.content.offset = 5;
			frame.content.size = 5;
		}
		if (i == 4) {
			frame.content.size = 5;
			assert_int_equal(transfer_rx_frame(rx, &frame), 0);
			frame.content.offset = 6;
			frame.content.size = 4;
		}
		assert_int_equal(transfer_rx_frame(rx, &frame), -EBADMSG);
		assert_string_equal(transfer_rx_why(rx), expected[i]);
		assert_int_equal(there.count, 0);
		transfer_rx_free(rx);
	}
	tree_free(tree);
}

static void a_peer_that_never_brings_what_it_announced_is_given_up(void **state)
{
	struct tree *tree = begin(), *got = NULL;
	const uint8_t *missing;
	struct transfer_rx *rx;
	size_t count;

	(void)state;
	add_file(tree, &here, "/etc/nginx/nginx.conf", "events {}\n");
	finish(tree);
	send_all(tree, NULL);
	rx = receive_offer(tree, NULL);
	assert_int_equal(receive_rest(rx, 1), 0);
	assert_int_equal(transfer_rx_end(rx, &got, &missing, &count), -EAGAIN);
	assert_int_equal(transfer_rx_end(rx, &got, &missing, &count), -EBADMSG);
	assert_string_equal(transfer_rx_why(rx), "the objects that were asked for did not come");
	transfer_rx_free(rx);
	tree_free(tree);
}

static void a_full_disk_is_this_hosts_failure_not_the_peers(void **state)
{
	struct tree *base = common_base(), *tree = begin();
	struct transfer_rx *rx;

	(void)state;
	add_file(tree, NULL, "/etc/nginx/nginx.conf", "events {}\n");
	add_file(tree, &here, "/etc/nginx/conf.d/shop.conf", "server {}\n");
	add(tree, ENTRY_SYMLINK, "/etc/nginx/link", NULL, 0, 0777);
	finish(tree);
	send_all(tree, base);
	there.fail = -ENOSPC;
	rx = receive_offer(tree, base);
	assert_int_equal(receive_rest(rx, 1), -ENOSPC);
	assert_string_equal(transfer_rx_why(rx),
			    "an object cannot be stored: No space left on device");
	transfer_rx_free(rx);
	tree_free(tree);
	tree_free(base);
}

static void an_object_that_is_gone_here_is_said(void **state)
{
	struct tree *base = common_base(), *tree = begin();
	struct generation generation;
	struct transfer_offer offer = {.transfer = 1, .signed_by = signed_by};
	struct transfer_tx *tx;

	(void)state;
	add_file(tree, NULL, "/etc/nginx/nginx.conf", "gone\n");
	finish(tree);
	generation = generation_of(tree);
	offer.generation = &generation;
	offer.tree = tree;
	offer.base = base_id;
	offer.base_tree = base;
	assert_int_equal(transfer_tx_new(&tx_port, &offer, &tx), 0);
	assert_int_equal(transfer_tx_pump(tx), -ENOENT);
	assert_non_null(strstr(transfer_tx_why(tx), "an object of the generation cannot be read"));
	transfer_tx_free(tx);
	tree_free(tree);
	tree_free(base);
}

/* ---- the descent ---- */

static struct walk *descend(struct tree *own, struct tree *theirs, int *ret_questions)
{
	static uint8_t bytes[SESSION_CHUNK_BYTES_MAX];
	struct session_frame ask = {.type = SESSION_WALK_ASK}, answer;
	struct walk *walk;

	*ret_questions = 0;
	assert_int_equal(walk_new(own, &walk), 0);
	ask.walk_ask.walk = 1;
	while (walk_question(walk, &ask.walk_ask.path, &ask.walk_ask.after)) {
		static uint8_t payload[SESSION_PAYLOAD_BYTES_MAX];
		struct session_frame got;
		size_t size;

		++*ret_questions;
		walk_answer(theirs, &ask.walk_ask, bytes,
			    room < sizeof(bytes) ? room : sizeof(bytes), &answer);
		size = session_wire_encode(&answer, payload, sizeof(payload));
		assert_true(size > 0);
		assert_int_equal(session_wire_decode(SESSION_WALK_ANSWER, payload, size, &got),
				 SESSION_OK);
		assert_int_equal(walk_take(walk, &got.walk_answer), 0);
		assert_true(*ret_questions < 10000);
	}
	return walk;
}

static void two_trees(struct tree **own, struct tree **theirs)
{
	char path[64], text[32];

	*own = begin();
	*theirs = begin();
	for (int i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "/etc/nginx/conf.d/%03d.conf", i);
		snprintf(text, sizeof(text), "# %d\n", i);
		if (i != 17)
			add_file(*own, NULL, path, text);
		if (i != 250)
			add_file(*theirs, NULL, path, i == 100 ? "# other\n" : text);
	}
	add(*own, ENTRY_DIR, "/etc/nginx/same", NULL, 0, 0755);
	add(*theirs, ENTRY_DIR, "/etc/nginx/same", NULL, 0, 0755);
	add_file(*own, NULL, "/etc/nginx/same/a", "a");
	add_file(*theirs, NULL, "/etc/nginx/same/a", "a");
	add(*own, ENTRY_DIR, "/etc/nginx/owner", NULL, 0, 0755);
	add(*theirs, ENTRY_DIR, "/etc/nginx/owner", NULL, 0, 0700);
	add_file(*own, NULL, "/etc/nginx/owner/a", "a");
	add_file(*theirs, NULL, "/etc/nginx/owner/a", "a");
	finish(*own);
	finish(*theirs);
}

static bool names_path(struct walk *walk, const char *path)
{
	size_t count, total;
	const char *const *found = walk_paths(walk, &count, &total);

	for (size_t i = 0; i < count; i++) {
		if (strcmp(found[i], path) == 0)
			return true;
	}
	return false;
}

static void a_descent_finds_exactly_what_differs(void **state)
{
	struct tree *own, *theirs;
	size_t count, total, small[] = {SIZE_MAX, 400, 120};
	int questions;

	(void)state;
	two_trees(&own, &theirs);
	/* Also when an answer holds only some names. */
	for (size_t i = 0; i < 3; i++) {
		struct walk *walk;

		room = small[i];
		walk = descend(own, theirs, &questions);
		(void)walk_paths(walk, &count, &total);
		assert_int_equal(total, 4);
		assert_true(names_path(walk, "/etc/nginx/conf.d/017.conf"));
		assert_true(names_path(walk, "/etc/nginx/conf.d/100.conf"));
		assert_true(names_path(walk, "/etc/nginx/conf.d/250.conf"));
		assert_true(names_path(walk, "/etc/nginx/owner"));
		if (i == 0)
			/* The roots, /etc/nginx, conf.d, owner; not "same". */
			assert_int_equal(questions, 4);
		walk_free(walk);
	}
	tree_free(own);
	tree_free(theirs);
}

static void equal_trees_take_one_question(void **state)
{
	struct tree *own = common_base();
	size_t count, total;
	int questions;
	struct walk *walk = descend(own, own, &questions);

	(void)state;
	(void)walk_paths(walk, &count, &total);
	assert_int_equal(total, 0);
	assert_int_equal(questions, 1);
	walk_free(walk);
	tree_free(own);
}

static void answers_that_go_backwards_end_the_descent(void **state)
{
	struct session_walk_entry entry = {.type = SESSION_WALK_FILE};
	struct session_walk_answer answer = {.walk = 1, .count = 2};
	struct tree *own = common_base();
	uint8_t bytes[512];
	struct walk *walk;
	size_t at = 0;

	(void)state;
	assert_int_equal(walk_new(own, &walk), 0);
	entry.name = (struct session_string){"/b", 2};
	assert_true(session_walk_put(bytes, sizeof(bytes), &at, &entry));
	entry.name = (struct session_string){"/a", 2};
	assert_true(session_walk_put(bytes, sizeof(bytes), &at, &entry));
	answer.bytes = bytes;
	answer.size = at;
	answer.path = (struct session_string){"", 0};
	assert_int_equal(walk_take(walk, &answer), -EBADMSG);
	walk_free(walk);
	/* And an answer to another question. */
	assert_int_equal(walk_new(own, &walk), 0);
	answer.path = (struct session_string){"/etc", 4};
	assert_int_equal(walk_take(walk, &answer), -EBADMSG);
	walk_free(walk);
	tree_free(own);
}

static int quiet(void **state)
{
	(void)state;
	delta_init();
	return 0;
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(an_ordinary_edit_goes_one_way_and_is_small),
		test(removals_types_and_modes_travel),
		test(a_renamed_file_costs_no_content),
		test(without_a_base_only_what_is_missing_is_sent),
		test(a_base_object_that_is_lost_costs_one_question),
		test(a_thousand_files_go_in_bounded_frames_as_room_allows),
		test(a_large_object_comes_in_pieces),
		test(entries_that_reach_outside_are_refused),
		test(entries_that_are_none_are_refused),
		test(contents_that_do_not_belong_are_refused),
		test(a_peer_that_never_brings_what_it_announced_is_given_up),
		test(a_full_disk_is_this_hosts_failure_not_the_peers),
		test(an_object_that_is_gone_here_is_said),
		test(a_descent_finds_exactly_what_differs),
		test(equal_trees_take_one_question),
		test(answers_that_go_backwards_end_the_descent),
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
