/* SPDX-License-Identifier: Apache-2.0 */
/* stage_private: what the stage and the commit share. Nobody else includes this. */
#ifndef TANDEM_SYNCD_STAGE_PRIVATE_H
#define TANDEM_SYNCD_STAGE_PRIVATE_H

#include <stdbool.h>

#include "syncd/stage.h"

struct stage_root {
	char *path;
	int fd;	      /* O_PATH: the root */
	int stage_fd; /* ROOT/.tandem-stage */
	int id_fd;    /* ROOT/.tandem-stage/<id> */
	int new_fd, gone_fd, old_fd;
	uint64_t bytes, inodes; /* what will be written there */
};

struct stage {
	struct stage_options options; /* paths copied */
	char **paths;
	uint8_t id[GENERATION_ID_BYTES];
	char id_text[STAGE_ID_TEXT_BYTES];
	struct plan_op *ops;
	size_t ops_count;
	uint16_t *op_roots; /* by operation: index into roots */
	struct plan_totals totals;
	struct stage_root *roots;
	size_t roots_count;
	bool durable;
	bool committed;
};
#define STAGE_ROOTS_MAX 256

/* Where an operation takes place: the root, and the path relative to it ("." for the root itself).
 */
struct stage_place {
	struct stage_root *root;
	const char *relative;
};
struct stage_place stage_place_of(struct stage *stage, size_t op);

/* openat2 beneath dirfd, through no link and into no other mount (R15). */
int stage_openat(int dirfd, const char *relative, int flags, mode_t mode);
/* The directory that relative stands in, as an O_PATH descriptor, and the last component. */
int stage_open_parent(int dirfd, const char *relative, const char **ret_name);
/* Makes the directories above relative that are not there: 0700, or with the attributes that the
 * manifest, or else the live directory, has at that path. */
int stage_make_parents(struct stage *stage, const struct stage_root *root, int dirfd,
		       const char *relative, bool with_attrs, struct fault *fault);
/* Owner and mode, as this host understands the entry; through a descriptor that may be O_PATH. */
int stage_set_attrs(int fd, const struct entry *entry);
/* Puts a file or link with all that belongs to it below dirfd, whose parents are there. */
int stage_put(struct stage *stage, int dirfd, const char *relative, const struct entry *entry,
	      struct fault *fault);
/* Makes a file that was put durable. */
int stage_sync_file(int dirfd, const char *relative);
/* Removes name below dirfd with everything in it. 0 if it is not there. */
int stage_remove_tree(int dirfd, const char *name);

#endif
