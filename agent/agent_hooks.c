/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent_hooks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "shared/log.h"
#include "shared/run.h"

struct job {
	struct job *next;
	struct agent_snapshot *snapshot;
	bool group; /* place is one of groups, not of vrrps */
	int place;
	enum conf_hook hook;
	enum engine_hook_state state;
	int priority;
};

struct queue {
	struct queue *next;
	struct agent_hooks *owner;
	char name[CONF_NAME_BYTES_MAX + 1];
	struct job *first, **last;
	int waiting;
	struct job *running;
	struct run *run;
	bool told; /* last_state means something */
	enum engine_hook_state last_state;
	/* The last report, for a new engine. */
	bool reported;
	struct agent_hook_report report;
	char outcome[160];
	char output[RUN_OUTPUT_BYTES_MAX + 1];
};

struct agent_hooks {
	struct loop *loop;
	agent_hooks_report_fn fn;
	void *ctx;
	struct queue *queues;
	int running;
};

static const struct {
	const char *state; /* keepalived's word for it */
	enum conf_hook hook;
} states[ENGINE_HOOK_STATES] = {
	[ENGINE_HOOK_MASTER] = {"MASTER", CONF_HOOK_MASTER},
	[ENGINE_HOOK_BACKUP] = {"BACKUP", CONF_HOOK_BACKUP},
	[ENGINE_HOOK_FAULT] = {"FAULT", CONF_HOOK_FAULT},
	[ENGINE_HOOK_STOP] = {"STOP", CONF_HOOK_STOP},
};

static const char *const hook_names[CONF_HOOKS] = {
	[CONF_HOOK_MASTER] = "notify_master", [CONF_HOOK_BACKUP] = "notify_backup",
	[CONF_HOOK_FAULT] = "notify_fault",   [CONF_HOOK_STOP] = "notify_stop",
	[CONF_HOOK_ANY] = "notify",
};

static void start_next(struct queue *queue);

int agent_hooks_new(struct loop *loop, agent_hooks_report_fn fn, void *ctx,
		    struct agent_hooks **ret_hooks)
{
	struct agent_hooks *hooks = calloc(1, sizeof *hooks);

	if (!hooks)
		return -ENOMEM;
	hooks->loop = loop;
	hooks->fn = fn;
	hooks->ctx = ctx;
	*ret_hooks = hooks;
	return 0;
}

static struct job *job_free(struct job *job)
{
	if (job)
		agent_snapshot_drop(job->snapshot);
	free(job);
	return NULL;
}

static struct job *take_first(struct queue *queue)
{
	struct job *job = queue->first;

	queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	queue->waiting--;
	return job;
}

struct agent_hooks *agent_hooks_free(struct agent_hooks *hooks)
{
	if (!hooks)
		return NULL;
	while (hooks->queues) {
		struct queue *queue = hooks->queues;

		hooks->queues = queue->next;
		run_abandon(queue->run);
		job_free(queue->running);
		while (queue->first)
			job_free(take_first(queue));
		free(queue);
	}
	free(hooks);
	return NULL;
}

static struct queue *queue_of(struct agent_hooks *hooks, const char *name)
{
	struct queue *queue;

	for (queue = hooks->queues; queue; queue = queue->next)
		if (!strcmp(queue->name, name))
			return queue;
	queue = calloc(1, sizeof *queue);
	if (!queue)
		return NULL;
	queue->owner = hooks;
	snprintf(queue->name, sizeof queue->name, "%s", name);
	queue->last = &queue->first;
	queue->next = hooks->queues;
	hooks->queues = queue;
	return queue;
}

/* result: how it ended; NULL: it runs, or could not be started. */
static void report(struct queue *queue, enum conf_hook hook, enum engine_hook_state state,
		   const char *outcome, const struct run_result *result, bool ok)
{
	const bool exited = result && !result->exec_errno && WIFEXITED(result->wait_status);

	snprintf(queue->outcome, sizeof queue->outcome, "%s", outcome);
	snprintf(queue->output, sizeof queue->output, "%s", result ? result->output : "");
	queue->report = (struct agent_hook_report){
		.router = queue->name,
		.hook = hook_names[hook],
		.state = states[state].state,
		.outcome = queue->outcome,
		.output = queue->output,
		.ok = ok,
		.exit = exited ? WEXITSTATUS(result->wait_status) : -1,
		.took_us = result ? result->duration_us : 0,
		.at_us = loop_now_us(queue->owner->loop),
	};
	queue->reported = true;
	queue->owner->fn(queue->owner->ctx, &queue->report);
}

static void finish(struct queue *queue, const char *outcome, const struct run_result *result,
		   bool ok)
{
	enum conf_hook hook = queue->running->hook;
	enum engine_hook_state state = queue->running->state;
	const char *output = result ? result->output : "";

	if (ok)
		log_info("%s: %s (%s): %s", queue->name, hook_names[hook], states[state].state,
			 outcome);
	else
		log_warn("%s: %s (%s): %s%s%s", queue->name, hook_names[hook], states[state].state,
			 outcome, *output ? ": " : "", output);
	/* Before it is told: who is told may ask whether all is done. */
	queue->running = job_free(queue->running);
	queue->owner->running--;
	report(queue, hook, state, outcome, result, ok);
}

static void on_done(void *ctx, const struct run_result *result)
{
	struct queue *queue = ctx;
	char text[128];

	queue->run = NULL;
	run_describe(result, text, sizeof text);
	finish(queue, text, result, run_succeeded(result));
	start_next(queue);
	/* Others may have waited for a place. */
	for (struct queue *other = queue->owner->queues; other; other = other->next)
		start_next(other);
}

/* What the file says for one router, or for a group. */
struct source {
	const char *name;
	const struct conf_command *hooks;
	uint64_t timeout_us;
};

static struct source source_of(const struct agent_snapshot *snapshot, bool group, int place)
{
	const struct conf *conf = snapshot->conf.conf;

	if (group)
		return (struct source){conf->groups[place].name, conf->groups[place].hooks,
				       conf->groups[place].notify_timeout_us};
	return (struct source){conf->vrrps[place].name, conf->vrrps[place].hooks,
			       conf->vrrps[place].notify_timeout_us};
}

static int start(struct queue *queue)
{
	const struct job *job = queue->running;
	const struct source source = source_of(job->snapshot, job->group, job->place);
	char priority[8];
	const char *const arguments[] = {job->group ? "GROUP" : "INSTANCE", source.name,
					 states[job->state].state, priority, NULL};
	struct run_options options = {
		.command = &source.hooks[job->hook],
		.extra_argv = job->hook == CONF_HOOK_ANY ? arguments : NULL,
		.timeout_us = source.timeout_us,
	};

	snprintf(priority, sizeof priority, "%d", job->priority);
	return run_start(queue->owner->loop, &options, on_done, queue, &queue->run);
}

static void start_next(struct queue *queue)
{
	while (!queue->running && queue->first && queue->owner->running < AGENT_HOOKS_RUNNING_MAX) {
		int error;

		queue->running = take_first(queue);
		queue->owner->running++;
		error = start(queue);
		if (!error) {
			report(queue, queue->running->hook, queue->running->state, "running", NULL,
			       true);
		} else {
			char text[128];

			snprintf(text, sizeof text, "cannot be started: %s",
				 error == -ESRCH ? "its user does not exist" : strerror(-error));
			finish(queue, text, NULL, false);
		}
	}
}

static void add(struct queue *queue, struct agent_snapshot *snapshot, bool group, int place,
		enum conf_hook hook, enum engine_hook_state state, int priority)
{
	struct job *job;

	if (!source_of(snapshot, group, place).hooks[hook].argv)
		return;
	job = calloc(1, sizeof *job);
	if (!job) {
		log_err("%s: no memory for %s", queue->name, hook_names[hook]);
		return;
	}
	if (queue->waiting == AGENT_HOOKS_WAITING_MAX) {
		log_warn("%s: %d notify commands wait behind a slow one: the oldest (%s) is given "
			 "up; see notify_timeout",
			 queue->name, queue->waiting, states[queue->first->state].state);
		job_free(take_first(queue));
	}
	job->snapshot = agent_snapshot_hold(snapshot);
	job->group = group;
	job->place = place;
	job->hook = hook;
	job->state = state;
	job->priority = priority;
	*queue->last = job;
	queue->last = &job->next;
	queue->waiting++;
}

static void queue_state(struct agent_hooks *hooks, struct agent_snapshot *snapshot, bool group,
			int place, enum engine_hook_state state, int priority)
{
	const char *name = source_of(snapshot, group, place).name;
	struct queue *queue = queue_of(hooks, name);

	if (!queue) {
		log_err("%s: no memory for its notify commands", name);
		return;
	}
	if (queue->told && queue->last_state == state)
		return;
	queue->told = true;
	queue->last_state = state;
	add(queue, snapshot, group, place, states[state].hook, state, priority);
	add(queue, snapshot, group, place, CONF_HOOK_ANY, state, priority);
	start_next(queue);
}

void agent_hooks_queue(struct agent_hooks *hooks, struct agent_snapshot *snapshot, int place,
		       enum engine_hook_state state, int priority)
{
	queue_state(hooks, snapshot, false, place, state, priority);
}

void agent_hooks_queue_group(struct agent_hooks *hooks, struct agent_snapshot *snapshot, int place,
			     enum engine_hook_state state)
{
	queue_state(hooks, snapshot, true, place, state, 0);
}

bool agent_hooks_idle(const struct agent_hooks *hooks)
{
	for (const struct queue *queue = hooks->queues; queue; queue = queue->next)
		if (queue->running || queue->first)
			return false;
	return true;
}

void agent_hooks_repeat(const struct agent_hooks *hooks)
{
	for (const struct queue *queue = hooks->queues; queue; queue = queue->next)
		if (queue->reported)
			hooks->fn(hooks->ctx, &queue->report);
}
