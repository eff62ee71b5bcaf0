/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_runner: the parent process of tandem-agent.
 *
 * It reads the configuration and hands out numbered snapshots, starts check scripts and notify
 * commands by their place in a snapshot, and watches the engine: one that dies or misses three
 * beats is started again, and goes on as Master if that comes in time; otherwise the addresses are
 * taken off and the last wills sent first. It parses nothing that comes from a network.
 */
#ifndef TANDEM_AGENT_RUNNER_H
#define TANDEM_AGENT_RUNNER_H

#include <stdbool.h>

struct agent_options {
	const char *config;
	const char *node; /* NULL: found by this host's addresses */
	const char *run_dir;
	const char *state_dir;
	bool foreground; /* log to stderr whatever it is */
};

/* Runs until SIGTERM or SIGINT. The exit status: 0 after an orderly stop. */
int agent_runner_main(const struct agent_options *options);
/* Checks the file and what it needs of this host, prints every problem. 0, or 1 with errors. */
int agent_runner_check(const struct agent_options *options);

#endif
