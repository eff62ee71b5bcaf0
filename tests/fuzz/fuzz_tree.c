/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes the input as a manifest (first byte even) or as a generation's header (odd). What is
 * accepted encodes to the same bytes (R2), and every entry of it is well-formed (R3).
 * runs: 150000
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "syncd/generation.h"
#include "syncd/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static void one_tree(const uint8_t *data, size_t size)
{
	static const char *const paths[] = {"/etc/nginx", "/m"};
	struct tree *tree = NULL;
	int rc = tree_decode(data, size, &tree);
	CHECK(rc >= 0 && rc < ENTRY_VERDICTS);
	if (rc != 0)
		return;
	uint8_t *again = malloc(size);
	CHECK(again && tree_encoded_size(tree) == size);
	tree_encode(tree, again);
	CHECK(memcmp(again, data, size) == 0);
	free(again);
	for (size_t i = 0; i < tree->count; i++) {
		const struct entry *e = &tree->entries[i];
		CHECK(entry_check(e) == ENTRY_OK);
		CHECK(tree_find(tree, e->path, e->path_size) == e);
	}
	const struct entry *bad = NULL;
	enum entry_verdict verdict = tree_check_paths(tree, paths, 2, &bad);
	CHECK((verdict == ENTRY_OK) == (bad == NULL));
	for (size_t i = 0; verdict == ENTRY_OK && i < tree->count; i++) {
		const char *path = tree->entries[i].path;
		CHECK(strncmp(path, "/m", 2) == 0 || strncmp(path, "/etc/nginx", 10) == 0);
	}
	tree_free(tree);
}

static void one_generation(const uint8_t *data, size_t size)
{
	struct generation g;
	struct wire_reader reader;
	struct wire_writer writer;
	uint8_t again[GENERATION_ENCODED_BYTES_MAX];
	wire_reader_init(&reader, data, size);
	if (generation_decode(&reader, &g) != GENERATION_OK)
		return;
	wire_writer_init(&writer, again, sizeof again);
	generation_encode(&writer, &g);
	CHECK(wire_writer_ok(&writer) && writer.at == reader.at);
	CHECK(memcmp(again, data, writer.at) == 0);
	uint8_t id[GENERATION_ID_BYTES];
	generation_id(&g, id);
	CHECK(generation_relate(&g, id, &g, id) == GENERATION_SAME);
	CHECK(generation_vector_within(&g.vector, &g.vector));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 2 == 0)
		one_tree(data + 1, size - 1);
	else
		one_generation(data + 1, size - 1);
	return 0;
}
