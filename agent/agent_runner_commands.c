/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine asks for and only root can do: by place and snapshot, never by a command line.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/agent_maintenance.h"
#include "agent/agent_runner_private.h"
#include "shared/log.h"

void agent_runner_on_hook(void *ctx, const struct agent_hook_report *report)
{
	struct agent_runner *r = ctx;
	uint8_t bytes[RUN_OUTPUT_BYTES_MAX + 1024];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_string(&w, report->router, strlen(report->router));
	wire_put_string(&w, report->hook, strlen(report->hook));
	wire_put_string(&w, report->state, strlen(report->state));
	wire_put_u8(&w, report->ok);
	wire_put_u16(&w, report->exit < 0 ? ENGINE_HOOK_NO_EXIT : (uint16_t)report->exit);
	wire_put_u64(&w, report->took_us);
	wire_put_u64(&w, report->at_us);
	wire_put_string(&w, report->outcome, strlen(report->outcome));
	wire_put_string(&w, report->output, strlen(report->output));
	agent_runner_send(r, RUNNER_MSG_HOOK_DONE, &w, -1);
	if (r->left && agent_hooks_idle(r->hooks))
		loop_quit(r->loop, 0);
}

static void tell_outcome(struct agent_runner *r, enum runner_msg type, uint32_t id, uint8_t outcome,
			 const char *words)
{
	uint8_t bytes[1024];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, id);
	wire_put_u8(&w, outcome);
	wire_put_string(&w, words, strlen(words));
	agent_runner_send(r, type, &w, -1);
}

static void tell_check(struct agent_runner *r, uint32_t id, enum engine_check_outcome outcome,
		       const char *words)
{
	tell_outcome(r, RUNNER_MSG_CHECK_DONE, id, (uint8_t)outcome, words);
}

/* How it ended; and the last words say best what was found. */
static void describe(const struct run_result *result, char *words, size_t room)
{
	char text[128];
	size_t size;

	run_describe(result, text, sizeof text);
	snprintf(words, room, "%s%s%.300s", text, result->output_size ? ": " : "",
		 result->output + (result->output_size > 300 ? result->output_size - 300 : 0));
	for (size = strlen(words); size && words[size - 1] == '\n'; size--)
		words[size - 1] = '\0';
}

static void on_check_done(void *ctx, const struct run_result *result)
{
	struct check_run *check = ctx;
	enum engine_check_outcome outcome = ENGINE_CHECK_FAILED;
	char words[512];

	check->run = NULL;
	describe(result, words, sizeof words);
	if (run_succeeded(result))
		outcome = ENGINE_CHECK_OK;
	else if (result->timed_out)
		outcome = ENGINE_CHECK_TIMED_OUT;
	else if (result->exec_errno)
		outcome = ENGINE_CHECK_NOT_EXECUTED;
	tell_check(check->runner, check->id, outcome, words);
}

bool agent_runner_start_check(struct agent_runner *r, struct wire_reader *in)
{
	const struct agent_snapshot *snapshot = agent_runner_numbered(r, wire_get_u32(in));
	int place = wire_get_u16(in);
	uint32_t id = wire_get_u32(in);
	const struct conf_check *conf;
	struct check_run *check = NULL;
	struct run_options options = {0};
	int error;

	if (!wire_reader_done(in) || !snapshot || place >= snapshot->conf.conf->checks_count)
		return false;
	conf = &snapshot->conf.conf->checks[place];
	if (conf->kind != CONF_CHECK_SCRIPT)
		return false;
	for (int i = 0; i < CONF_CHECKS_MAX && !check; i++)
		if (!r->checks[i].run)
			check = &r->checks[i];
	if (!check) {
		tell_check(r, id, ENGINE_CHECK_NOT_EXECUTED, "too many check scripts run");
		return true;
	}
	options.command = &conf->script;
	options.timeout_us = conf->timeout_us;
	check->runner = r;
	check->id = id;
	error = run_start(r->loop, &options, on_check_done, check, &check->run);
	if (error) {
		check->run = NULL;
		tell_check(r, id, ENGINE_CHECK_NOT_EXECUTED,
			   error == -ESRCH ? "its user does not exist" : strerror(-error));
	}
	return true;
}

static void on_restart_done(void *ctx, const struct run_result *result)
{
	struct check_run *restart = ctx;
	bool good = run_succeeded(result);
	char words[512];

	restart->run = NULL;
	describe(result, words, sizeof words);
	if (good)
		log_notice("check %s: its restart command: %s", restart->name, words);
	else
		log_err("check %s: its restart command: %s", restart->name, words);
	if (restart->id)
		tell_outcome(restart->runner, RUNNER_MSG_RESTART_DONE, restart->id, good, words);
}

bool agent_runner_start_restart(struct agent_runner *r, struct wire_reader *in)
{
	const struct agent_snapshot *snapshot = agent_runner_numbered(r, wire_get_u32(in));
	int place = wire_get_u16(in);
	uint32_t id = wire_get_u32(in);
	const struct conf_check *conf;
	struct check_run *restart = NULL;
	struct run_options options = {0};
	const char *trouble = NULL;
	int error;

	if (!wire_reader_done(in) || !snapshot || place >= snapshot->conf.conf->checks_count)
		return false;
	conf = &snapshot->conf.conf->checks[place];
	if (!conf->restart.argv)
		return false;
	for (int i = 0; i < CONF_CHECKS_MAX; i++) {
		if (!r->restarts[i].run)
			restart = restart ? restart : &r->restarts[i];
		else if (!strcmp(r->restarts[i].name, conf->name))
			trouble = "the one before still runs"; /* for an engine that has gone */
	}
	if (!restart)
		trouble = "too many restart commands run";
	if (!trouble) {
		options.command = &conf->restart;
		options.timeout_us = conf->restart_timeout_us;
		restart->runner = r;
		restart->id = id;
		snprintf(restart->name, sizeof restart->name, "%s", conf->name);
		error = run_start(r->loop, &options, on_restart_done, restart, &restart->run);
		if (!error)
			return true;
		restart->run = NULL;
		trouble = strerror(-error);
	}
	log_err("check %s: its restart command is not started: %s", conf->name, trouble);
	tell_outcome(r, RUNNER_MSG_RESTART_DONE, id, false, trouble);
	return true;
}

bool agent_runner_queue_hook(struct agent_runner *r, struct wire_reader *in)
{
	struct agent_snapshot *snapshot = agent_runner_numbered(r, wire_get_u32(in));
	int place = wire_get_u16(in);
	unsigned state = wire_get_u8(in);
	int priority = wire_get_u8(in);

	if (!wire_reader_done(in) || !snapshot || place >= snapshot->conf.conf->vrrps_count ||
	    state >= ENGINE_HOOK_STATES)
		return false;
	agent_hooks_queue(r->hooks, snapshot, place, (enum engine_hook_state)state, priority);
	return true;
}

/* ---- maintenance ---- */

void agent_runner_tell_maintenance(struct agent_runner *r, uint32_t request, const char *error)
{
	uint8_t bytes[512];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, request);
	wire_put_u8(&w, r->maintenance);
	wire_put_string(&w, error, strlen(error));
	agent_runner_send(r, RUNNER_MSG_MAINTENANCE, &w, -1);
}

bool agent_runner_set_maintenance(struct agent_runner *r, struct wire_reader *in)
{
	const uint32_t request = wire_get_u32(in);
	const bool on = wire_get_u8(in) != 0;
	char text[400] = "";
	int error;

	if (!wire_reader_done(in))
		return false;
	error = agent_maintenance_write(r->options.state_dir, on);
	if (error) {
		snprintf(text, sizeof text, "%.300s/maintenance cannot be %s: %s",
			 r->options.state_dir, on ? "written" : "removed", strerror(-error));
		log_err("%s", text);
	} else {
		r->maintenance = on;
		log_notice("maintenance %s", on ? "on" : "off");
	}
	agent_runner_tell_maintenance(r, request, text);
	return true;
}

bool agent_runner_queue_group_hook(struct agent_runner *r, struct wire_reader *in)
{
	struct agent_snapshot *snapshot = agent_runner_numbered(r, wire_get_u32(in));
	int place = wire_get_u16(in);
	unsigned state = wire_get_u8(in);

	if (!wire_reader_done(in) || !snapshot || place >= snapshot->conf.conf->groups_count ||
	    state >= ENGINE_HOOK_STATES)
		return false;
	agent_hooks_queue_group(r->hooks, snapshot, place, (enum engine_hook_state)state);
	return true;
}

bool agent_runner_make_vmac(struct agent_runner *r, struct wire_reader *in)
{
	const uint32_t id = wire_get_u32(in);
	const struct agent_snapshot *snapshot = agent_runner_numbered(r, wire_get_u32(in));
	int place = wire_get_u16(in);
	char words[128] = "";
	uint8_t bytes[sizeof words + 8];
	struct wire_writer w;

	if (!wire_reader_done(in) || !snapshot || place >= snapshot->conf.conf->vrrps_count)
		return false;
	(void)agent_estate_equip_one(r->estate, snapshot->conf.conf, place, words, sizeof words);
	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, id);
	wire_put_string(&w, words, strlen(words));
	agent_runner_send(r, RUNNER_MSG_VMAC_DONE, &w, -1);
	return true;
}
