/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generation: the header of one state of a mirror, what a commit is to a repository. Pure, but for
 * generation_id(), which hashes (generation_id.c).
 *
 * How two generations are related follows from their version vectors alone: for each author (a node
 * and its incarnation) how many of its generations are contained. No wall clock decides anything. A
 * merge has no author: both nodes make the very same one from the same two parents.
 */
#ifndef TANDEM_SYNCD_GENERATION_H
#define TANDEM_SYNCD_GENERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/wire.h"
#include "syncd/entry.h"

#define GENERATION_ID_BYTES 32
#define GENERATION_NODE_BYTES_MAX 63 /* CONF_NAME_BYTES_MAX */
#define GENERATION_VECTOR_MAX 64
#define GENERATION_PARENTS_MAX 2
#define GENERATION_ENCODED_BYTES_MAX                                                               \
	(1 + 32 + 32 + 2 + GENERATION_VECTOR_MAX * (2 + GENERATION_NODE_BYTES_MAX + 16) + 8 + 2 +  \
	 GENERATION_NODE_BYTES_MAX + 8 + 8 + 1 + 2 * 32)

struct generation_component {
	char node[GENERATION_NODE_BYTES_MAX + 1]; /* zero padded */
	uint64_t incarnation;
	uint64_t counter; /* never 0 */
};

/* Sorted by node, then incarnation. */
struct generation_vector {
	int count;
	struct generation_component items[GENERATION_VECTOR_MAX];
};

struct generation {
	uint8_t definition[ENTRY_HASH_BYTES]; /* tree_definition_hash() */
	uint8_t tree[ENTRY_HASH_BYTES];	      /* tree.hash */
	struct generation_vector vector;
	uint64_t lamport; /* one more than the parents' highest; what people see as "generation 41"
			   */
	char author[GENERATION_NODE_BYTES_MAX + 1]; /* zero padded; "": a merge */
	uint64_t incarnation;			    /* the author's; 0 for a merge */
	uint64_t counter;			    /* the author's; 0 for a merge */
	int parents_count;
	uint8_t parents[GENERATION_PARENTS_MAX][GENERATION_ID_BYTES]; /* sorted */
};

enum generation_relation {
	GENERATION_SAME,       /* one id */
	GENERATION_EQUIVALENT, /* same vector, same tree, made along another way: the lower id wins
				*/
	GENERATION_ANCESTOR,   /* a is in b's past */
	GENERATION_DESCENDANT, /* b is in a's past */
	GENERATION_CONCURRENT,
	GENERATION_UNRELATED, /* no author in common: no common past */
	GENERATION_FORKED     /* one version, two contents: never equal */
};

enum generation_verdict {
	GENERATION_OK,
	GENERATION_TRUNCATED,
	GENERATION_TRAILING,
	GENERATION_BAD_VERSION,
	GENERATION_BAD_VECTOR, /* empty, too many, unsorted, a zero counter */
	GENERATION_BAD_NODE,   /* not [A-Za-z][A-Za-z0-9_-]* */
	GENERATION_BAD_AUTHOR, /* not in its own vector with its own counter, or a merge's is not
				  empty */
	GENERATION_BAD_PARENTS,
	GENERATION_BAD_LAMPORT,
	GENERATION_VERDICTS
};

const char *generation_verdict_text(enum generation_verdict verdict);
const char *generation_relation_name(enum generation_relation relation);

uint64_t generation_vector_get(const struct generation_vector *vector, const char *node,
			       uint64_t incarnation);
/* Raises the component to at least counter. false: the vector is full. */
bool generation_vector_set(struct generation_vector *vector, const char *node, uint64_t incarnation,
			   uint64_t counter);
/* Each component the higher (lower) of both. false: more than GENERATION_VECTOR_MAX. */
bool generation_vector_join(const struct generation_vector *a, const struct generation_vector *b,
			    struct generation_vector *ret_join);
void generation_vector_meet(const struct generation_vector *a, const struct generation_vector *b,
			    struct generation_vector *ret_meet);
/* a is contained in b. The empty vector is in every other. */
bool generation_vector_within(const struct generation_vector *a, const struct generation_vector *b);

/* "a is a ... of b". */
enum generation_relation generation_relate(const struct generation *a, const uint8_t *a_id,
					   const struct generation *b, const uint8_t *b_id);

/* The next generation by an author. parents: none, one, or two (a resolution). The caller fills in
 * nothing. false: the vector is full, or the counter has run out. */
bool generation_author(const struct generation *const *parents,
		       const uint8_t (*parent_ids)[GENERATION_ID_BYTES], int parents_count,
		       const uint8_t *definition, const uint8_t *tree, const char *node,
		       uint64_t incarnation, uint64_t counter, struct generation *ret_generation);
/* The authorless merge of two: the same on every node, whichever is called a. false: vector full.
 */
bool generation_merge(const struct generation *a, const uint8_t *a_id, const struct generation *b,
		      const uint8_t *b_id, const uint8_t *tree, struct generation *ret_generation);

/* u8 version 1, definition, tree, u16 count, {string node, u64 incarnation, u64 counter}..., u64
 * lamport, string author, u64 incarnation, u64 counter, u8 parents, 32 bytes each. */
void generation_encode(struct wire_writer *writer, const struct generation *generation);
/* Decodes and checks from the reader; the caller asks wire_reader_done() if nothing may follow. */
enum generation_verdict generation_decode(struct wire_reader *reader,
					  struct generation *ret_generation);
/* SHA-256 of the encoding: what is signed. */
void generation_id(const struct generation *generation, uint8_t ret_id[GENERATION_ID_BYTES]);

#endif
