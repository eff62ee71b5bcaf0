/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a transfer, frame by frame, over toy object stores. */
#include "tests/unit/transfer_fixture.h"

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
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
