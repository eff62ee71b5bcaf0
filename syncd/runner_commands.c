/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/runner_commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/log.h"
#include "shared/run.h"
#include "shared/wire.h"
#include "syncd/generation.h"
#include "syncd/keeper_msg.h"
#include "syncd/view.h"

struct job {
	struct runner_commands *commands; /* NULL: free */
	struct run *run;
	struct view *view;
	struct msg_channel *channel;
	uint32_t ticket;
	enum keeper_command kind;
	char first_path[256];
	char what[128];
};

struct runner_commands {
	struct loop *loop;
	char *scratch;
	struct job jobs[RUNNER_COMMANDS_MAX];
	/* Freeing a view at once would hold up the reload that is asked for next. */
	struct view *retired[RUNNER_COMMANDS_MAX];
	int retired_count;
	struct loop_timer *retire;
};

static void free_retired(void *ctx)
{
	struct runner_commands *commands = ctx;

	while (commands->retired_count > 0)
		view_free(commands->retired[--commands->retired_count]);
}

static void retire(struct runner_commands *commands, struct view *view)
{
	if (commands->retired_count == RUNNER_COMMANDS_MAX)
		free_retired(commands);
	view_retire(view);
	commands->retired[commands->retired_count++] = view;
	loop_timer_set(commands->retire, loop_now_us(commands->loop) + VIEW_RETIRE_US);
}

int runner_commands_new(struct loop *loop, const char *scratch,
			struct runner_commands **ret_commands)
{
	struct runner_commands *commands = calloc(1, sizeof *commands);
	int r;

	if (commands == NULL)
		return -ENOMEM;
	commands->loop = loop;
	commands->scratch = strdup(scratch);
	r = commands->scratch ? loop_timer_new(loop, free_retired, commands, &commands->retire)
			      : -ENOMEM;
	if (r < 0) {
		runner_commands_free(commands);
		return r;
	}
	*ret_commands = commands;
	return 0;
}

static void clear(struct job *job)
{
	if (job->view)
		retire(job->commands, job->view);
	*job = (struct job){0};
}

void runner_commands_abandon(struct runner_commands *commands)
{
	for (int i = 0; i < RUNNER_COMMANDS_MAX; i++) {
		struct job *job = &commands->jobs[i];

		if (job->commands == NULL)
			continue;
		if (job->run)
			run_abandon(job->run);
		clear(job);
	}
}

struct runner_commands *runner_commands_free(struct runner_commands *commands)
{
	if (commands == NULL)
		return NULL;
	runner_commands_abandon(commands);
	free_retired(commands);
	loop_timer_free(commands->retire);
	free(commands->scratch);
	free(commands);
	return NULL;
}

static void answer(struct msg_channel *channel, uint32_t ticket, enum keeper_answer answer,
		   uint64_t own_us, const char *text)
{
	uint8_t payload[KEEPER_MSG_TEXT_MAX + 64];
	struct wire_writer w;
	size_t size = strlen(text);

	while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' '))
		size--;
	wire_writer_init(&w, payload, sizeof payload);
	wire_put_u32(&w, ticket);
	wire_put_u8(&w, (uint8_t)answer);
	wire_put_u64(&w, own_us);
	wire_put_string(&w, text, size < KEEPER_MSG_TEXT_MAX ? size : KEEPER_MSG_TEXT_MAX);
	(void)msg_send(channel, RUNNER_MSG_DONE, payload, w.at, -1);
}

static void on_done(void *ctx, const struct run_result *result)
{
	struct job *job = ctx;
	char text[2 * KEEPER_MSG_TEXT_MAX], how[128];
	const char *hint;
	uint64_t own_us = result->duration_us;
	uint64_t ended_us = loop_refresh_us(job->commands->loop);
	enum keeper_answer verdict;

	job->run = NULL;
	if (job->view != NULL && view_ready_us(job->view) != 0)
		own_us = ended_us - view_ready_us(job->view);
	if (result->exec_errno != 0) {
		const char *error = job->view ? view_error(job->view) : "";

		verdict = KEEPER_NOT_JUDGED;
		snprintf(text, sizeof text, "%s: %s", job->what,
			 *error ? error : run_describe(result, how, sizeof how));
	} else if (!run_succeeded(result)) {
		bool quiet = result->output_size == 0;

		verdict = KEEPER_FAILED;
		hint = job->kind == KEEPER_VALIDATE ? view_explain(result->output) : NULL;
		/* Its own words first; how it ended only where it had none, or was stopped. */
		snprintf(text, sizeof text, "%.*s%s%s%s%s", RUN_OUTPUT_BYTES_MAX, result->output,
			 quiet || result->timed_out ? job->what : "",
			 quiet || result->timed_out ? ": " : "",
			 quiet || result->timed_out ? run_describe(result, how, sizeof how) : "",
			 "");
		if (hint != NULL) {
			size_t used = strlen(text);

			snprintf(text + used, sizeof text - used, "%s%s",
				 used && text[used - 1] != '\n' ? "\n" : "", hint);
		}
	} else if (job->view != NULL && !view_was_used(job->view)) {
		verdict = KEEPER_NOT_JUDGED;
		snprintf(text, sizeof text,
			 "%s succeeded without opening anything below %s: it has not looked at the "
			 "tree that it should judge. A command that leaves its mount namespace "
			 "(docker "
			 "exec, systemctl, ssh) cannot validate; name the test itself, such as "
			 "\"nginx -t\"",
			 job->what, job->first_path);
	} else {
		verdict = KEEPER_PASSED;
		snprintf(text, sizeof text, "%.*s", RUN_OUTPUT_BYTES_MAX, result->output);
	}
	if (log_wants(LOG_DEBUG))
		log_debug("%s: %s in %llu us (its own part %llu us)", job->what,
			  run_describe(result, how, sizeof how),
			  (unsigned long long)result->duration_us, (unsigned long long)own_us);
	answer(job->channel, job->ticket, verdict, own_us, text);
	clear(job);
}

static struct job *free_job(struct runner_commands *commands)
{
	for (int i = 0; i < RUNNER_COMMANDS_MAX; i++)
		if (commands->jobs[i].commands == NULL)
			return &commands->jobs[i];
	return NULL;
}

static void to_hex(const uint8_t *id, char hex[2 * GENERATION_ID_BYTES + 1])
{
	for (int i = 0; i < GENERATION_ID_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
}

static int start(struct runner_commands *commands, struct job *job,
		 const struct conf_mirror *mirror, const uint8_t *id)
{
	struct run_options options = {0};
	char hex[2 * GENERATION_ID_BYTES + 1];
	int r;

	if (job->kind == KEEPER_VALIDATE) {
		struct view_options view = {
			.scratch = commands->scratch,
			.paths = (const char *const *)mirror->paths,
			.paths_count = mirror->paths_count,
			.generation_hex = id ? hex : NULL,
		};

		if (id)
			to_hex(id, hex);
		r = view_new(&view, &job->view);
		if (r < 0)
			return r;
		options.command = &mirror->validate;
		options.timeout_us = mirror->validate_timeout_us;
		options.prepare = view_prepare;
		options.prepare_ctx = job->view;
	} else {
		options.command = &mirror->reload;
		options.timeout_us = mirror->reload_timeout_us;
	}
	return run_start(commands->loop, &options, on_done, job, &job->run);
}

bool runner_commands_take(struct runner_commands *commands, const struct conf_snapshot *snapshot,
			  struct msg_channel *channel, const uint8_t *payload, size_t size)
{
	struct wire_reader r;
	uint32_t ticket, number;
	uint8_t place, kind, staged, id[GENERATION_ID_BYTES];

	wire_reader_init(&r, payload, size);
	ticket = wire_get_u32(&r);
	number = wire_get_u32(&r);
	place = wire_get_u8(&r);
	kind = wire_get_u8(&r);
	staged = wire_get_u8(&r);
	wire_get_bytes(&r, id, sizeof id);
	if (!wire_reader_done(&r) || kind >= KEEPER_COMMANDS || staged > 1 ||
	    number != snapshot->number || place >= snapshot->conf->mirrors_count)
		return false;

	const struct conf_mirror *mirror = &snapshot->conf->mirrors[place];
	const struct conf_command *command =
		kind == KEEPER_VALIDATE ? &mirror->validate : &mirror->reload;

	if (command->argv == NULL)
		return false;

	struct job *job = free_job(commands);

	if (job == NULL) {
		answer(channel, ticket, KEEPER_NOT_JUDGED, 0, "too many commands run already");
		return true;
	}
	job->commands = commands;
	job->channel = channel;
	job->ticket = ticket;
	job->kind = (enum keeper_command)kind;
	snprintf(job->first_path, sizeof job->first_path, "%s", mirror->paths[0]);
	snprintf(job->what, sizeof job->what, "%s",
		 command->text ? command->text : command->argv[0]);

	int result = start(commands, job, mirror, staged ? id : NULL);

	if (result < 0) {
		char text[256];

		snprintf(text, sizeof text, "%s cannot be started: %s", job->what,
			 strerror(-result));
		answer(channel, ticket, KEEPER_NOT_JUDGED, 0, text);
		clear(job);
	}
	return true;
}
