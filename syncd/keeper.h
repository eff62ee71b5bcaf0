/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper: the one process that decides what the mirrored paths hold.
 *
 * Root, no network. Watches and scans the paths, makes generations, talks with the peers through
 * the link, stages, validates (through the runner), commits, reloads, proves, answers the control
 * socket. Its rooms: keeper.c (start, loop, messages), keeper_mirror.c (one mirror: what to do
 * next), keeper_author.c (a local change becomes a generation), keeper_apply.c (a generation
 * becomes the live tree), keeper_peer.c (sessions), keeper_status.c (what it says of itself),
 * keeper_command.c (what people ask of it).
 */
#ifndef TANDEM_KEEPER_H
#define TANDEM_KEEPER_H

#include "shared/conf.h"

struct keeper_options {
	struct conf_snapshot *snapshot; /* borrowed; self is set */
	const char *state_dir;
	int runner_fd;	/* the channel to the runner; taken over */
	int link_fd;	/* the channel to the link; taken over */
	int control_fd; /* listening */
};

/* Returns the exit status: 0 after RUNNER_MSG_STOP, not 0 if it cannot go on (already said). */
int keeper_main(const struct keeper_options *options);

/* Completes or undoes what an earlier keeper was committing, and leaves; says what it did. Returns
 * the exit status. */
int keeper_recover(const char *state_dir);

#endif
