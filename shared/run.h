/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: starts one configured command and sees it through. The runner's only way to execute.
 *
 * A command is a struct conf_command: an argv, never a shell line. It runs in its own session, as
 * its user (with that user's groups), with stdin from /dev/null, stdout and stderr captured to a
 * ceiling, default signals and scheduling, no descriptors but those three, and with a time limit:
 * SIGTERM to its process group, SIGKILL two seconds later. Environment: the daemon's own less
 * IFS, LD_*, NOTIFY_SOCKET and WATCHDOG_*, as keepalived passes it. What it has started in the
 * background is left alone, and its output is read and thrown away, when it ends in time.
 */
#ifndef TANDEM_RUN_H
#define TANDEM_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/conf.h"
#include "shared/loop.h"

#define RUN_OUTPUT_BYTES_MAX 4096 /* the last so many bytes are kept */

struct run;

struct run_result {
	int exec_errno; /* not 0: it could not be executed at all (which, for a check, is failed) */
	int wait_status; /* as from waitpid(2), if it was */
	bool timed_out;
	uint64_t timeout_us; /* as it was asked for; 0: none */
	uint64_t duration_us;
	const char *output; /* borrowed for the call; terminated, at most RUN_OUTPUT_BYTES_MAX */
	size_t output_size;
};

/* Called once. The run is freed after it returns. */
typedef void (*run_done_fn)(void *ctx, const struct run_result *result);
/* Called in the child before exec, as root, before the user is changed: the place to enter a mount
 * namespace. Not 0: an errno that is reported as exec_errno. May be NULL. */
typedef int (*run_prepare_fn)(void *ctx);

struct run_options {
	const struct conf_command *command;
	const char *const *extra_argv; /* appended; NULL-terminated; may be NULL */
	uint64_t timeout_us;	       /* 0: none */
	run_prepare_fn prepare;
	void *prepare_ctx;
};

/* -ESRCH: the command's user does not exist. Other negative errnos: no process could be made. That
 * it cannot be executed is a result, not an error here. */
int run_start(struct loop *loop, const struct run_options *options, run_done_fn fn, void *ctx,
	      struct run **ret_run);
/* Kills the process group at once and forgets the run; its function is not called. */
struct run *run_abandon(struct run *run);
/* Of the command, which leads a process group of its own. */
pid_t run_pid(const struct run *run);
/* True if it was executed, ended in time and exited with 0. */
bool run_succeeded(const struct run_result *result);
/* "exit 1", "killed by SIGSEGV", "timed out after 2 s", "cannot be executed: No such file". */
const char *run_describe(const struct run_result *result, char *text, size_t room);

#endif
