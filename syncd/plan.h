/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: from two manifests to the ordered operations that turn one into the other. Pure.
 *
 * The order, so that what reads in the middle of it finds as much of a whole as can be, and so that
 * each operation finds its directory: what must make room for another type (children first), new
 * directories (parents first), new files and links, replaced ones, attributes of directories,
 * removals (children first). A file or link whose attributes alone change is replaced as a whole:
 * one exchange, and the same proof that no local edit was lost.
 */
#ifndef TANDEM_SYNCD_PLAN_H
#define TANDEM_SYNCD_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/entry.h"

enum plan_kind {
	PLAN_MAKE_DIR,	 /* from NULL, or of another type and cleared before */
	PLAN_CREATE,	 /* a file or link where nothing is */
	PLAN_REPLACE,	 /* a file or link instead of a file or link */
	PLAN_ATTRS,	 /* a directory's mode and owner */
	PLAN_REMOVE,	 /* a file or link; to is NULL unless it makes room for another type */
	PLAN_REMOVE_DIR, /* an empty directory; as above */
	PLAN_KINDS
};
const char *plan_kind_name(enum plan_kind kind);

struct plan_op {
	enum plan_kind kind;
	const struct entry *from, *to;
};
/* The path that the operation is about. */
const struct entry *plan_op_entry(const struct plan_op *op);

struct plan_totals {
	uint64_t ops;
	uint64_t put_files; /* files and links to stage */
	uint64_t put_bytes; /* their content */
	uint64_t dirs;	    /* directories to make */
	uint64_t removed;   /* files and links that go */
};

/* ops is the caller's, with room for plan_ops_max() of them. Returns how many there are. */
size_t plan_ops_max(size_t from_count, size_t to_count);
size_t plan_build(const struct entry *from, size_t from_count, const struct entry *to,
		  size_t to_count, struct plan_op *ops, struct plan_totals *ret_totals);

#endif
