/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view: shows one command the tree as it would be, and throws away what it writes.
 *
 * In a mount namespace of its own the host's mounts are replayed, each beneath an overlay whose
 * upper layer is a small tmpfs; on the mirrored paths the stage of a generation (what is new, and
 * what is gone) lies over the live files. Network, processes and users are the host's: a private
 * network would let pass what the real reload refuses. No byte reaches the host's file systems.
 *
 * A command that leaves the namespace (docker exec, systemctl, ssh) would judge the old tree and
 * pass. So the mirrored paths of the view carry a fanotify mark, and a command during which no
 * file beneath them was opened has not validated anything: view_was_used().
 *
 *   view_new(), in the process that starts the command;
 *   run_start() with view_prepare and the view as prepare and prepare_ctx;
 *   when it has ended: view_was_used(), view_error(), view_explain(); view_retire();
 *   view_free(), best not before VIEW_RETIRE_US later.
 */
#ifndef TANDEM_VIEW_H
#define TANDEM_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIEW_MOUNTS_MAX 1024
#define VIEW_RETIRE_US 250000u
#define VIEW_SCRATCH_BYTES "size=128m,nr_inodes=200k,mode=0755"

struct view;

struct view_options {
	const char *scratch;	  /* an existing directory to build in; nothing stays there */
	const char *const *paths; /* the mirror's */
	int paths_count;
	const char *generation_hex; /* whose stage lies over the paths; NULL: the live tree */
};

/* Copies what it needs. -ENOMEM, or what the kernel says of its witness. */
int view_new(const struct view_options *options, struct view **ret_view);
struct view *view_free(struct view *view);
/* A run_prepare_fn: in the child, as root. 0, or an errno with view_error() saying where. */
int view_prepare(void *view);
/* Some file or directory beneath a mirrored path was opened. */
bool view_was_used(const struct view *view);
/* "" if the view could be built. */
const char *view_error(const struct view *view);
/* Nothing is asked of it any more. Freed right now it would make its process wait for the kernel
 * (see view_witness.h); VIEW_RETIRE_US later it does not. */
void view_retire(struct view *view);
/* Monotonic us at which the view stood and the command could start; 0: it never did. */
uint64_t view_ready_us(const struct view *view);
/* Appends to a validate command's words what they mean and what to do, where tandem knows more than
 * the command does: a sentence, or NULL. */
const char *view_explain(const char *output);

#endif
