/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer must not get away with in a transfer, and what each host may fail at. */
#include "tests/unit/transfer_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(entries_that_reach_outside_are_refused),
		test(entries_that_are_none_are_refused),
		test(contents_that_do_not_belong_are_refused),
		test(a_peer_that_never_brings_what_it_announced_is_given_up),
		test(a_full_disk_is_this_hosts_failure_not_the_peers),
		test(an_object_that_is_gone_here_is_said),
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
