/* SPDX-License-Identifier: Apache-2.0 */
/* Headers and how they are related: R2, R4, R5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/generation.h"

static const uint8_t definition[32] = {1};

struct made {
	struct generation g;
	uint8_t id[32];
};

static struct made author(const struct made *a, const struct made *b, const char *node,
			  uint64_t incarnation, uint64_t counter, uint8_t tree)
{
	struct made m;
	const struct generation *parents[2] = {a ? &a->g : NULL, b ? &b->g : NULL};
	uint8_t ids[2][32] = {{0}}, hash[32] = {tree};
	if (a)
		memcpy(ids[0], a->id, 32);
	if (b)
		memcpy(ids[1], b->id, 32);
	assert_true(generation_author(parents, (const uint8_t(*)[32])ids, (a != NULL) + (b != NULL),
				      definition, hash, node, incarnation, counter, &m.g));
	generation_id(&m.g, m.id);
	return m;
}

static struct made merge(const struct made *a, const struct made *b, uint8_t tree)
{
	struct made m;
	uint8_t hash[32] = {tree};
	assert_true(generation_merge(&a->g, a->id, &b->g, b->id, hash, &m.g));
	generation_id(&m.g, m.id);
	return m;
}

static enum generation_relation relate(const struct made *a, const struct made *b)
{
	return generation_relate(&a->g, a->id, &b->g, b->id);
}

static void expect(const struct made *a, const struct made *b, enum generation_relation there,
		   enum generation_relation back)
{
	assert_string_equal(generation_relation_name(relate(a, b)),
			    generation_relation_name(there));
	assert_string_equal(generation_relation_name(relate(b, a)), generation_relation_name(back));
}

static void versions_alone_tell_how_two_generations_are_related(void **state)
{
	(void)state;
	struct made a1 = author(NULL, NULL, "web1", 7, 1, 1);
	struct made a2 = author(&a1, NULL, "web1", 7, 2, 2);
	struct made b1 = author(&a1, NULL, "web2", 9, 1, 3);
	struct made other = author(NULL, NULL, "web2", 9, 1, 1);
	expect(&a1, &a1, GENERATION_SAME, GENERATION_SAME);
	expect(&a1, &a2, GENERATION_ANCESTOR, GENERATION_DESCENDANT);
	expect(&a2, &b1, GENERATION_CONCURRENT, GENERATION_CONCURRENT);
	expect(&a2, &other, GENERATION_UNRELATED, GENERATION_UNRELATED);
	/* The same version with other parents is another content. */
	expect(&b1, &other, GENERATION_FORKED, GENERATION_FORKED);
	struct made m = merge(&a2, &b1, 4);
	expect(&a2, &m, GENERATION_ANCESTOR, GENERATION_DESCENDANT);
	expect(&b1, &m, GENERATION_ANCESTOR, GENERATION_DESCENDANT);
	expect(&a1, &m, GENERATION_ANCESTOR, GENERATION_DESCENDANT);
	/* Someone who starts anew counts anew: another incarnation is another author. */
	struct made again = author(NULL, NULL, "web1", 8, 1, 1);
	expect(&a1, &again, GENERATION_UNRELATED, GENERATION_UNRELATED);
	struct made resolved = author(&a2, &other, "web1", 7, 3, 1);
	expect(&a2, &resolved, GENERATION_ANCESTOR, GENERATION_DESCENDANT);
	expect(&other, &resolved, GENERATION_ANCESTOR, GENERATION_DESCENDANT);
	assert_int_equal(resolved.g.lamport, 3);
}

static void a_merge_is_the_same_wherever_it_is_made(void **state)
{
	(void)state;
	struct made base = author(NULL, NULL, "web1", 7, 1, 1);
	struct made a = author(&base, NULL, "web1", 7, 2, 2);
	struct made b = author(&base, NULL, "web2", 9, 1, 3);
	struct made here = merge(&a, &b, 4), there = merge(&b, &a, 4);
	assert_memory_equal(here.id, there.id, 32);
	assert_int_equal(here.g.author[0], 0);
	assert_int_equal(here.g.lamport, 3);
	struct made otherwise = merge(&a, &b, 5);
	expect(&here, &otherwise, GENERATION_FORKED, GENERATION_FORKED);
}

static void three_merged_in_another_order_are_equivalent(void **state)
{
	(void)state;
	struct made base = author(NULL, NULL, "web1", 7, 1, 1);
	struct made a = author(&base, NULL, "web1", 7, 2, 2);
	struct made b = author(&base, NULL, "web2", 9, 1, 3);
	struct made c = author(&base, NULL, "web3", 5, 1, 4);
	struct made ab = merge(&a, &b, 5), bc = merge(&b, &c, 6);
	struct made abc = merge(&ab, &c, 7), bca = merge(&bc, &a, 7);
	expect(&abc, &bca, GENERATION_EQUIVALENT, GENERATION_EQUIVALENT);
	expect(&ab, &bc, GENERATION_CONCURRENT, GENERATION_CONCURRENT);
}

static void vectors_join_and_meet(void **state)
{
	(void)state;
	struct generation_vector a = {0}, b = {0}, join, meet;
	assert_true(generation_vector_set(&a, "web2", 1, 5));
	assert_true(generation_vector_set(&a, "web1", 2, 3));
	assert_true(generation_vector_set(&a, "web1", 1, 9));
	assert_true(generation_vector_set(&b, "web1", 2, 4));
	assert_true(generation_vector_set(&b, "web3", 1, 1));
	assert_int_equal(a.count, 3);
	assert_int_equal(a.items[0].incarnation, 1);
	assert_string_equal(a.items[2].node, "web2");
	assert_true(generation_vector_join(&a, &b, &join));
	assert_int_equal(join.count, 4);
	assert_int_equal(generation_vector_get(&join, "web1", 2), 4);
	generation_vector_meet(&a, &b, &meet);
	assert_int_equal(meet.count, 1);
	assert_int_equal(generation_vector_get(&meet, "web1", 2), 3);
	assert_true(generation_vector_within(&meet, &a) && generation_vector_within(&meet, &b));
	assert_true(generation_vector_within(&a, &join) && generation_vector_within(&b, &join));
	assert_false(generation_vector_within(&a, &b));
	/* A lower counter never takes a higher one back. */
	assert_true(generation_vector_set(&a, "web1", 1, 4));
	assert_int_equal(generation_vector_get(&a, "web1", 1), 9);
	struct generation_vector full = {0};
	for (uint64_t i = 0; i < GENERATION_VECTOR_MAX; i++)
		assert_true(generation_vector_set(&full, "n", i + 1, 1));
	assert_false(generation_vector_set(&full, "o", 1, 1));
	assert_true(generation_vector_set(&full, "n", 1, 2));
	assert_false(generation_vector_join(&full, &b, &join));
}

/* R4 over random histories of three nodes: what the vectors say is what the sets of authored
 * generations say. Merges add nothing of their own, so they do not count: who has merged the same
 * edits in another order is behind nobody. */
#define HISTORY 60

static void relations_agree_with_the_history_of_parents(void **state)
{
	(void)state;
	static struct made all[HISTORY];
	static uint64_t edits[HISTORY]; /* by generation: bit i is authored generation i */
	static const char *const nodes[] = {"web1", "web2", "web3"};
	int seen[GENERATION_FORKED + 1] = {0};
	for (unsigned seed = 1; seed <= 40; seed++) {
		unsigned random = seed;
		int heads[3] = {0, 0, 0};
		uint64_t counters[3] = {1, 0, 0};
		all[0] = author(NULL, NULL, "web1", 1, 1, 0);
		edits[0] = 1;
		for (int i = 1; i < HISTORY; i++) {
			random = random * 1103515245 + 12345;
			int node = (int)(random >> 16) % 3, from = (int)(random >> 20) % 3;
			int mine = heads[node], other = heads[from];
			bool merges = (random >> 24) % 2 && (edits[mine] & ~edits[other]) &&
				      (edits[other] & ~edits[mine]);
			if (merges)
				all[i] = merge(&all[mine], &all[other], (uint8_t)i);
			else
				all[i] = author(&all[mine], NULL, nodes[node], 1, ++counters[node],
						(uint8_t)i);
			edits[i] = edits[mine] | (merges ? edits[other] : UINT64_C(1) << i);
			heads[node] = i;
		}
		for (int i = 0; i < HISTORY; i++)
			for (int j = 0; j < HISTORY; j++) {
				enum generation_relation r = relate(&all[i], &all[j]), wanted;
				bool within = (edits[i] & ~edits[j]) == 0;
				bool around = (edits[j] & ~edits[i]) == 0;
				if (i == j)
					wanted = GENERATION_SAME;
				else if (within && around)
					wanted = GENERATION_FORKED; /* the trees are numbered */
				else if (within)
					wanted = GENERATION_ANCESTOR;
				else if (around)
					wanted = GENERATION_DESCENDANT;
				else
					wanted = GENERATION_CONCURRENT;
				seen[wanted]++;
				if (r != wanted)
					fail_msg("seed %u: %d is %s of %d, not %s", seed, i,
						 generation_relation_name(r), j,
						 generation_relation_name(wanted));
			}
	}
	assert_true(seen[GENERATION_ANCESTOR] > 0 && seen[GENERATION_CONCURRENT] > 0);
}

static size_t encode(const struct generation *g, uint8_t *data)
{
	struct wire_writer w;
	wire_writer_init(&w, data, GENERATION_ENCODED_BYTES_MAX);
	generation_encode(&w, g);
	assert_true(wire_writer_ok(&w));
	return w.at;
}

static enum generation_verdict decode(const uint8_t *data, size_t size, struct generation *ret)
{
	struct wire_reader r;
	uint8_t *exact = malloc(size ? size : 1);
	memcpy(exact, data, size);
	wire_reader_init(&r, exact, size);
	enum generation_verdict verdict = generation_decode(&r, ret);
	if (verdict == GENERATION_OK && !wire_reader_done(&r))
		verdict = GENERATION_TRAILING;
	free(exact);
	return verdict;
}

static enum generation_verdict verdict_of(const struct generation *g)
{
	uint8_t data[GENERATION_ENCODED_BYTES_MAX];
	struct generation back;
	return decode(data, encode(g, data), &back);
}

static void what_is_encoded_decodes_to_the_same_and_the_rest_has_a_name(void **state)
{
	(void)state;
	uint8_t data[GENERATION_ENCODED_BYTES_MAX + 1], again[GENERATION_ENCODED_BYTES_MAX];
	struct generation back, g;
	struct made base = author(NULL, NULL, "web1", 7, 1, 1);
	struct made a = author(&base, NULL, "web1", 7, 2, 2);
	struct made b = author(&base, NULL, "web2", 9, 1, 3);
	struct made m = merge(&a, &b, 4);
	size_t size = encode(&m.g, data);
	assert_int_equal(decode(data, size, &back), GENERATION_OK);
	assert_memory_equal(&back, &m.g, sizeof back);
	assert_int_equal(encode(&back, again), size);
	assert_memory_equal(data, again, size);
	for (size_t cut = 0; cut < size; cut++)
		assert_int_equal(decode(data, cut, &back), GENERATION_TRUNCATED);
	data[size] = 0;
	assert_int_equal(decode(data, size + 1, &back), GENERATION_TRAILING);
	data[0] = 2;
	assert_int_equal(decode(data, size, &back), GENERATION_BAD_VERSION);

	g = a.g;
	g.vector.count = 0;
	assert_int_equal(verdict_of(&g), GENERATION_BAD_VECTOR);
	g = m.g;
	struct generation_component swap = g.vector.items[0];
	g.vector.items[0] = g.vector.items[1];
	g.vector.items[1] = swap;
	assert_int_equal(verdict_of(&g), GENERATION_BAD_VECTOR);
	g = m.g;
	g.vector.items[1] = g.vector.items[0];
	assert_int_equal(verdict_of(&g), GENERATION_BAD_VECTOR);
	g = a.g;
	g.vector.items[0].counter = 0;
	assert_int_equal(verdict_of(&g), GENERATION_BAD_VECTOR);
	g = a.g;
	g.vector.items[0].counter = UINT64_MAX;
	assert_int_equal(verdict_of(&g), GENERATION_BAD_VECTOR);
	g = a.g;
	memcpy(g.vector.items[0].node, "1web", 5);
	assert_int_equal(verdict_of(&g), GENERATION_BAD_NODE);
	g = a.g;
	memcpy(g.author, "we b", 5);
	assert_int_equal(verdict_of(&g), GENERATION_BAD_NODE);
	g = a.g;
	g.counter = 5;
	assert_int_equal(verdict_of(&g), GENERATION_BAD_AUTHOR);
	g = a.g;
	memcpy(g.author, "web2", 5);
	assert_int_equal(verdict_of(&g), GENERATION_BAD_AUTHOR);
	g = a.g;
	memset(g.author, 0, sizeof g.author);
	assert_int_equal(verdict_of(&g), GENERATION_BAD_AUTHOR);
	g = m.g;
	g.parents_count = 1;
	assert_int_equal(verdict_of(&g), GENERATION_BAD_PARENTS);
	g = m.g;
	memcpy(g.parents[1], g.parents[0], 32);
	assert_int_equal(verdict_of(&g), GENERATION_BAD_PARENTS);
	g = a.g;
	g.lamport = 0;
	assert_int_equal(verdict_of(&g), GENERATION_BAD_LAMPORT);
	g = a.g;
	g.lamport = UINT64_MAX;
	assert_int_equal(verdict_of(&g), GENERATION_BAD_LAMPORT);
	for (int v = 0; v < GENERATION_VERDICTS; v++)
		assert_true(strlen(generation_verdict_text((enum generation_verdict)v)) > 3);
}

static void every_field_is_in_the_id(void **state)
{
	(void)state;
	struct made a = author(NULL, NULL, "web1", 7, 1, 1);
	for (int field = 0; field < 7; field++) {
		struct generation g = a.g;
		uint8_t id[32];
		switch (field) {
		case 0:
			g.definition[31] ^= 1;
			break;
		case 1:
			g.tree[31] ^= 1;
			break;
		case 2:
			g.vector.items[0].counter++;
			break;
		case 3:
			g.lamport++;
			break;
		case 4:
			g.author[0] = 'x';
			break;
		case 5:
			g.incarnation++;
			break;
		case 6:
			g.counter++;
			break;
		}
		generation_id(&g, id);
		assert_memory_not_equal(id, a.id, 32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_alone_tell_how_two_generations_are_related),
		cmocka_unit_test(a_merge_is_the_same_wherever_it_is_made),
		cmocka_unit_test(three_merged_in_another_order_are_equivalent),
		cmocka_unit_test(vectors_join_and_meet),
		cmocka_unit_test(relations_agree_with_the_history_of_parents),
		cmocka_unit_test(what_is_encoded_decodes_to_the_same_and_the_rest_has_a_name),
		cmocka_unit_test(every_field_is_in_the_id),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
