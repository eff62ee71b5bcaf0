/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_hooks: the runner's queues of notify commands, one for each virtual router.
 *
 * In a queue one command runs at a time, in the order of the transitions: first the state's own
 * (notify_master, ...), without arguments, then `notify` with the four that keepalived gives:
 * INSTANCE, the router's name, the state, the priority. Exit codes change nothing; they are logged
 * and told. A queue lives longer than an engine, so a transition is told once whatever dies.
 */
#ifndef TANDEM_AGENT_HOOKS_H
#define TANDEM_AGENT_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/agent_snapshot.h"
#include "agent/engine_msg.h"
#include "shared/loop.h"

#define AGENT_HOOKS_RUNNING_MAX 32 /* of all routers together: hundreds may change at once */
#define AGENT_HOOKS_WAITING_MAX 64 /* of one router; past it the oldest that waits is given up */

struct agent_hooks;

/* What became of a command; strings are borrowed for the call. At the end of the last one
 * agent_hooks_idle() is already true. outcome is "running" at its start,
 * then "exit 0" and the like. */
struct agent_hook_report {
	const char *router, *hook, *state, *outcome, *output;
	bool ok;
	int exit;	  /* its exit code; -1: it has none (yet) */
	uint64_t took_us; /* while it runs 0 */
	uint64_t at_us;	  /* monotonic: when it started or ended */
};
typedef void (*agent_hooks_report_fn)(void *ctx, const struct agent_hook_report *report);

/* fn is told when a command starts and when it has ended. -ENOMEM. */
int agent_hooks_new(struct loop *loop, agent_hooks_report_fn fn, void *ctx,
		    struct agent_hooks **ret_hooks);
/* Kills what runs. */
struct agent_hooks *agent_hooks_free(struct agent_hooks *hooks);

/* Queues what router `place` of the snapshot says for state. The same state twice in a row (an
 * engine that starts anew) is told once. */
void agent_hooks_queue(struct agent_hooks *hooks, struct agent_snapshot *snapshot, int place,
		       enum engine_hook_state state, int priority);
/* Likewise for a group of routers; keepalived gives its scripts the priority 0. */
void agent_hooks_queue_group(struct agent_hooks *hooks, struct agent_snapshot *snapshot, int place,
			     enum engine_hook_state state);
/* Nothing runs and nothing waits. */
bool agent_hooks_idle(const struct agent_hooks *hooks);
/* Tells the last report of each router again: to a new engine. */
void agent_hooks_repeat(const struct agent_hooks *hooks);

#endif
