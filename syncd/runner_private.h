/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runner_private: what the files of tandem-syncd's runner share; nobody else includes this.
 *
 *   runner.c           start, the configuration and its snapshots, signals, the end
 *   runner_children.c  the lives of keeper and link
 */
#ifndef TANDEM_RUNNER_PRIVATE_H
#define TANDEM_RUNNER_PRIVATE_H

#include <sys/types.h>

#include "shared/conf.h"
#include "shared/loop.h"
#include "shared/msg.h"
#include "syncd/runner.h"
#include "syncd/runner_commands.h"
#include "syncd/runner_sockets.h"

enum runner_phase {
	RUNNER_RUNNING,
	RUNNER_RELOADING, /* the keeper is finishing; `next` is what comes */
	RUNNER_STOPPING,
};

struct runner_child {
	pid_t pid; /* 0: none */
	struct loop_child *watch;
	struct msg_channel *channel;
	uint64_t started_us;
	uint64_t delay_us; /* before the next start */
};

struct runner {
	const struct runner_options *options;
	struct loop *loop;
	enum runner_phase phase;
	struct conf_snapshot snapshot;
	struct conf_snapshot next; /* RUNNER_RELOADING */
	uint32_t numbers;

	struct runner_sockets sockets;
	struct runner_child keeper, link;
	struct runner_commands *commands;
	struct loop_timer *restart;  /* of whatever is missing */
	struct loop_timer *patience; /* with a keeper that is to leave */
	struct loop_timer *watchdog;
	uint64_t beat_us;
	bool ready_said;
	int status;
};

/* runner.c */
/* Reads the file; if it is whole the keeper is asked to finish, and what comes then is new. ticket:
 * of the request that is answered, if there is one. */
void runner_reload(struct runner *runner, bool has_ticket, uint32_t ticket);
/* Reads the file as a reload would, and hands the keeper what it says. */
void runner_try(struct runner *runner, uint32_t ticket);
/* The snapshot that waited is the one that runs. */
void runner_take_next(struct runner *runner);

/* runner_children.c */
/* ctx: the runner. Starts whichever of keeper and link does not run; tries again if it cannot. */
void runner_start_missing(void *ctx);
void runner_kill_child(struct runner_child *child);
/* Leaves the loop if the runner is to stop and nobody runs any more. */
void runner_finish_if_done(struct runner *runner);

#endif
