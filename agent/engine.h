/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine: the process that holds the addresses. The shell around the cores.
 *
 * It opens the sockets, turns packets, netlink messages, check results and deadlines into events of
 * vrrp_fsm, and carries out the actions; it serves the control socket. It runs as an unprivileged
 * user with CAP_NET_ADMIN and CAP_NET_RAW, with real-time priority and locked memory, and executes
 * nothing: commands are the runner's (engine_msg.h). It beats to the runner, and leaves with it
 * whatever is needed to go on, or to clean up, after its death.
 */
#ifndef TANDEM_ENGINE_H
#define TANDEM_ENGINE_H

#include <stdint.h>

#include "shared/conf.h"
#include "shared/priv.h"

/* After so many missed beats the runner kills the engine. */
#define ENGINE_BEATS_MISSED_MAX 3

struct engine_start {
	int channel_fd;	       /* to the runner */
	int listen_fd;	       /* of the control socket */
	struct priv_user user; /* to become; uid 0: stay root (tests of the engine alone) */
};

/* How often an engine with this configuration beats: often enough that three missed beats are over
 * before a peer would take over, where that is possible. */
uint64_t engine_beat_us(const struct conf *conf);

/* Runs until the runner says LEAVE or goes away. Takes over the descriptors. The exit status. */
int engine_main(const struct engine_start *start);

#endif
