/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/generation.h"

#include <assert.h>
#include <string.h>

#define ENCODING_VERSION 1
/* Half the range: a hostile header cannot bring anybody near the end of the numbers. */
#define COUNTER_MAX (UINT64_MAX / 2)

const char *generation_verdict_text(enum generation_verdict verdict)
{
	switch (verdict) {
	case GENERATION_OK:
		return "well-formed";
	case GENERATION_TRUNCATED:
		return "ends in the middle";
	case GENERATION_TRAILING:
		return "goes on after its end";
	case GENERATION_BAD_VERSION:
		return "is encoded in a way that this version does not know";
	case GENERATION_BAD_VECTOR:
		return "has an empty, unsorted or too long version vector";
	case GENERATION_BAD_NODE:
		return "names a node in a way that no node can be named";
	case GENERATION_BAD_AUTHOR:
		return "has an author that its own version vector does not have";
	case GENERATION_BAD_PARENTS:
		return "has parents that cannot be";
	case GENERATION_BAD_LAMPORT:
		return "has a number that cannot be";
	case GENERATION_VERDICTS:
		break;
	}
	assert(!"a verdict without words");
	return "";
}

const char *generation_relation_name(enum generation_relation relation)
{
	switch (relation) {
	case GENERATION_SAME:
		return "same";
	case GENERATION_EQUIVALENT:
		return "equivalent";
	case GENERATION_ANCESTOR:
		return "ancestor";
	case GENERATION_DESCENDANT:
		return "descendant";
	case GENERATION_CONCURRENT:
		return "concurrent";
	case GENERATION_UNRELATED:
		return "unrelated";
	case GENERATION_FORKED:
		return "forked";
	}
	assert(!"a relation without a name");
	return "";
}

/* Node names are zero padded in every struct, so that they compare and hash as bytes. */
static void set_node(char to[GENERATION_NODE_BYTES_MAX + 1], const char *node)
{
	const char *end = memchr(node, '\0', GENERATION_NODE_BYTES_MAX + 1);
	assert(end);
	memset(to, 0, GENERATION_NODE_BYTES_MAX + 1);
	memcpy(to, node, (size_t)(end - node));
}

static int compare_component(const struct generation_component *a, const char *node,
			     uint64_t incarnation)
{
	int order = memcmp(a->node, node, sizeof a->node);
	if (order != 0)
		return order;
	return a->incarnation < incarnation ? -1 : a->incarnation > incarnation;
}

/* The index of the component, or where it would stand. padded: zero padded. */
static int find_component(const struct generation_vector *vector, const char *padded,
			  uint64_t incarnation, bool *ret_found)
{
	int at = 0;
	*ret_found = false;
	for (; at < vector->count; at++) {
		int order = compare_component(&vector->items[at], padded, incarnation);
		if (order < 0)
			continue;
		*ret_found = order == 0;
		break;
	}
	return at;
}

uint64_t generation_vector_get(const struct generation_vector *vector, const char *node,
			       uint64_t incarnation)
{
	char padded[GENERATION_NODE_BYTES_MAX + 1];
	bool found;
	set_node(padded, node);
	int at = find_component(vector, padded, incarnation, &found);
	return found ? vector->items[at].counter : 0;
}

bool generation_vector_set(struct generation_vector *vector, const char *node, uint64_t incarnation,
			   uint64_t counter)
{
	char padded[GENERATION_NODE_BYTES_MAX + 1];
	bool found;
	assert(counter > 0);
	set_node(padded, node);
	int at = find_component(vector, padded, incarnation, &found);
	if (!found) {
		if (vector->count >= GENERATION_VECTOR_MAX)
			return false;
		memmove(&vector->items[at + 1], &vector->items[at],
			(size_t)(vector->count - at) * sizeof vector->items[0]);
		vector->count++;
		memcpy(vector->items[at].node, padded, sizeof padded);
		vector->items[at].incarnation = incarnation;
		vector->items[at].counter = 0;
	}
	if (vector->items[at].counter < counter)
		vector->items[at].counter = counter;
	return true;
}

bool generation_vector_join(const struct generation_vector *a, const struct generation_vector *b,
			    struct generation_vector *ret_join)
{
	struct generation_vector join = *a;
	for (int i = 0; i < b->count; i++)
		if (!generation_vector_set(&join, b->items[i].node, b->items[i].incarnation,
					   b->items[i].counter))
			return false;
	*ret_join = join;
	return true;
}

void generation_vector_meet(const struct generation_vector *a, const struct generation_vector *b,
			    struct generation_vector *ret_meet)
{
	struct generation_vector meet;
	memset(&meet, 0, sizeof meet);
	for (int i = 0; i < a->count; i++) {
		uint64_t other =
			generation_vector_get(b, a->items[i].node, a->items[i].incarnation);
		if (other == 0)
			continue;
		struct generation_component *item = &meet.items[meet.count++];
		*item = a->items[i];
		if (other < item->counter)
			item->counter = other;
	}
	*ret_meet = meet;
}

bool generation_vector_within(const struct generation_vector *a, const struct generation_vector *b)
{
	for (int i = 0; i < a->count; i++)
		if (a->items[i].counter >
		    generation_vector_get(b, a->items[i].node, a->items[i].incarnation))
			return false;
	return true;
}

static bool have_common_author(const struct generation_vector *a, const struct generation_vector *b)
{
	struct generation_vector meet;
	generation_vector_meet(a, b, &meet);
	return meet.count > 0;
}

/* R4. */
enum generation_relation generation_relate(const struct generation *a, const uint8_t *a_id,
					   const struct generation *b, const uint8_t *b_id)
{
	if (memcmp(a_id, b_id, GENERATION_ID_BYTES) == 0)
		return GENERATION_SAME;
	if (a->author[0] != '\0' && a->counter == b->counter && a->incarnation == b->incarnation &&
	    memcmp(a->author, b->author, sizeof a->author) == 0)
		return GENERATION_FORKED;
	bool a_in_b = generation_vector_within(&a->vector, &b->vector);
	bool b_in_a = generation_vector_within(&b->vector, &a->vector);
	if (a_in_b && b_in_a) {
		/* Of three concurrent generations two nodes can merge different pairs first: the
		 * same content along two ways. Anything else with one version is a fork. */
		bool same = memcmp(a->tree, b->tree, sizeof a->tree) == 0 &&
			    memcmp(a->definition, b->definition, sizeof a->definition) == 0;
		return same ? GENERATION_EQUIVALENT : GENERATION_FORKED;
	}
	if (a_in_b)
		return GENERATION_ANCESTOR;
	if (b_in_a)
		return GENERATION_DESCENDANT;
	return have_common_author(&a->vector, &b->vector) ? GENERATION_CONCURRENT
							  : GENERATION_UNRELATED;
}

static void set_parents(struct generation *generation,
			const uint8_t (*parent_ids)[GENERATION_ID_BYTES], int parents_count)
{
	generation->parents_count = parents_count;
	for (int i = 0; i < parents_count; i++)
		memcpy(generation->parents[i], parent_ids[i], GENERATION_ID_BYTES);
	if (parents_count == 2 && memcmp(parent_ids[0], parent_ids[1], GENERATION_ID_BYTES) > 0) {
		memcpy(generation->parents[0], parent_ids[1], GENERATION_ID_BYTES);
		memcpy(generation->parents[1], parent_ids[0], GENERATION_ID_BYTES);
	}
}

bool generation_author(const struct generation *const *parents,
		       const uint8_t (*parent_ids)[GENERATION_ID_BYTES], int parents_count,
		       const uint8_t *definition, const uint8_t *tree, const char *node,
		       uint64_t incarnation, uint64_t counter, struct generation *ret_generation)
{
	struct generation next;
	assert(parents_count >= 0 && parents_count <= GENERATION_PARENTS_MAX);
	assert(node[0] != '\0' && incarnation != 0 && counter != 0);
	memset(&next, 0, sizeof next);
	memcpy(next.definition, definition, sizeof next.definition);
	memcpy(next.tree, tree, sizeof next.tree);
	for (int i = 0; i < parents_count; i++) {
		if (!generation_vector_join(&next.vector, &parents[i]->vector, &next.vector))
			return false;
		if (parents[i]->lamport > next.lamport)
			next.lamport = parents[i]->lamport;
	}
	next.lamport++;
	/* R19: a counter that is in the past already would be a second content for one version. */
	assert(generation_vector_get(&next.vector, node, incarnation) < counter);
	if (next.lamport > COUNTER_MAX || counter > COUNTER_MAX ||
	    !generation_vector_set(&next.vector, node, incarnation, counter))
		return false;
	set_node(next.author, node);
	next.incarnation = incarnation;
	next.counter = counter;
	set_parents(&next, parent_ids, parents_count);
	*ret_generation = next;
	return true;
}

/* R5. */
bool generation_merge(const struct generation *a, const uint8_t *a_id, const struct generation *b,
		      const uint8_t *b_id, const uint8_t *tree, struct generation *ret_generation)
{
	struct generation merged;
	uint8_t ids[2][GENERATION_ID_BYTES];
	assert(memcmp(a_id, b_id, GENERATION_ID_BYTES) != 0);
	assert(memcmp(a->definition, b->definition, sizeof a->definition) == 0);
	memset(&merged, 0, sizeof merged);
	memcpy(merged.definition, a->definition, sizeof merged.definition);
	memcpy(merged.tree, tree, sizeof merged.tree);
	if (!generation_vector_join(&a->vector, &b->vector, &merged.vector))
		return false;
	merged.lamport = (a->lamport > b->lamport ? a->lamport : b->lamport) + 1;
	if (merged.lamport > COUNTER_MAX)
		return false;
	memcpy(ids[0], a_id, GENERATION_ID_BYTES);
	memcpy(ids[1], b_id, GENERATION_ID_BYTES);
	set_parents(&merged, (const uint8_t(*)[GENERATION_ID_BYTES])ids, 2);
	*ret_generation = merged;
	return true;
}

static void put_node(struct wire_writer *writer, const char node[GENERATION_NODE_BYTES_MAX + 1])
{
	const char *end = memchr(node, '\0', GENERATION_NODE_BYTES_MAX + 1);
	assert(end);
	wire_put_string(writer, node, (size_t)(end - node));
}

void generation_encode(struct wire_writer *writer, const struct generation *generation)
{
	wire_put_u8(writer, ENCODING_VERSION);
	wire_put_bytes(writer, generation->definition, sizeof generation->definition);
	wire_put_bytes(writer, generation->tree, sizeof generation->tree);
	wire_put_u16(writer, (uint16_t)generation->vector.count);
	for (int i = 0; i < generation->vector.count; i++) {
		const struct generation_component *item = &generation->vector.items[i];
		put_node(writer, item->node);
		wire_put_u64(writer, item->incarnation);
		wire_put_u64(writer, item->counter);
	}
	wire_put_u64(writer, generation->lamport);
	put_node(writer, generation->author);
	wire_put_u64(writer, generation->incarnation);
	wire_put_u64(writer, generation->counter);
	wire_put_u8(writer, (uint8_t)generation->parents_count);
	for (int i = 0; i < generation->parents_count; i++)
		wire_put_bytes(writer, generation->parents[i], GENERATION_ID_BYTES);
}

/* [A-Za-z][A-Za-z0-9_-]*, or nothing where that is allowed. */
static bool take_node(struct wire_reader *reader, char node[GENERATION_NODE_BYTES_MAX + 1],
		      bool may_be_empty)
{
	size_t size = 0;
	const char *from = wire_get_string(reader, &size);
	memset(node, 0, GENERATION_NODE_BYTES_MAX + 1);
	if (!wire_reader_ok(reader))
		return true; /* the caller asks the reader */
	if (size == 0)
		return may_be_empty;
	if (size > GENERATION_NODE_BYTES_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = from[i];
		bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		bool more = (c >= '0' && c <= '9') || c == '_' || c == '-';
		if (!letter && (i == 0 || !more))
			return false;
	}
	memcpy(node, from, size);
	return true;
}

static enum generation_verdict check(const struct generation *generation)
{
	if (generation->lamport == 0 || generation->lamport > COUNTER_MAX)
		return GENERATION_BAD_LAMPORT;
	if (generation->parents_count == 2 &&
	    memcmp(generation->parents[0], generation->parents[1], GENERATION_ID_BYTES) >= 0)
		return GENERATION_BAD_PARENTS;
	if (generation->author[0] == '\0') {
		if (generation->incarnation != 0 || generation->counter != 0)
			return GENERATION_BAD_AUTHOR;
		if (generation->parents_count != 2)
			return GENERATION_BAD_PARENTS;
		return GENERATION_OK;
	}
	if (generation->incarnation == 0 || generation->counter == 0 ||
	    generation_vector_get(&generation->vector, generation->author,
				  generation->incarnation) != generation->counter)
		return GENERATION_BAD_AUTHOR;
	return GENERATION_OK;
}

enum generation_verdict generation_decode(struct wire_reader *reader,
					  struct generation *ret_generation)
{
	struct generation generation;
	memset(&generation, 0, sizeof generation);
	uint8_t version = wire_get_u8(reader);
	if (wire_reader_ok(reader) && version != ENCODING_VERSION)
		return GENERATION_BAD_VERSION;
	wire_get_bytes(reader, generation.definition, sizeof generation.definition);
	wire_get_bytes(reader, generation.tree, sizeof generation.tree);
	uint16_t count = wire_get_u16(reader);
	if (wire_reader_ok(reader) && (count == 0 || count > GENERATION_VECTOR_MAX))
		return GENERATION_BAD_VECTOR;
	generation.vector.count = count;
	for (int i = 0; i < count && wire_reader_ok(reader); i++) {
		struct generation_component *item = &generation.vector.items[i];
		if (!take_node(reader, item->node, false))
			return GENERATION_BAD_NODE;
		item->incarnation = wire_get_u64(reader);
		item->counter = wire_get_u64(reader);
		if (!wire_reader_ok(reader))
			break;
		if (item->counter == 0 || item->counter > COUNTER_MAX || item->incarnation == 0)
			return GENERATION_BAD_VECTOR;
		if (i > 0 && compare_component(&item[-1], item->node, item->incarnation) >= 0)
			return GENERATION_BAD_VECTOR;
	}
	generation.lamport = wire_get_u64(reader);
	if (!take_node(reader, generation.author, true))
		return GENERATION_BAD_NODE;
	generation.incarnation = wire_get_u64(reader);
	generation.counter = wire_get_u64(reader);
	uint8_t parents = wire_get_u8(reader);
	if (wire_reader_ok(reader) && parents > GENERATION_PARENTS_MAX)
		return GENERATION_BAD_PARENTS;
	generation.parents_count = parents;
	for (int i = 0; i < parents && wire_reader_ok(reader); i++)
		wire_get_bytes(reader, generation.parents[i], GENERATION_ID_BYTES);
	if (!wire_reader_ok(reader))
		return GENERATION_TRUNCATED;
	enum generation_verdict verdict = check(&generation);
	if (verdict == GENERATION_OK)
		*ret_generation = generation;
	return verdict;
}
