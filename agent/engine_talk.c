/* SPDX-License-Identifier: Apache-2.0 */
/* What the runner says to the engine, and what people ask on the control socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/engine_private.h"
#include "shared/log.h"

static bool take_snapshot(struct engine *engine, struct wire_reader *in, int fd)
{
	uint32_t number = wire_get_u32(in);
	char node[CONF_NAME_BYTES_MAX + 1];
	struct conf_snapshot received;
	struct agent_snapshot *snapshot;

	wire_get_string_into(in, node, sizeof node);
	if (!wire_reader_done(in) || fd < 0) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (conf_snapshot_receive(number, node, fd, &received))
		return false;
	snapshot = agent_snapshot_new(&received);
	if (!snapshot) {
		conf_snapshot_release(&received);
		return false;
	}
	if (engine->snapshot && strcmp(engine->snapshot->conf.conf->control_group,
				       snapshot->conf.conf->control_group) != 0)
		engine->ctl_due = true;
	agent_snapshot_drop(engine->snapshot);
	engine->snapshot = snapshot;
	if (engine->started && !engine->leaving)
		engine_apply(engine);
	return true;
}

static bool take_left_record(struct engine *engine, const uint8_t *payload, size_t size)
{
	struct agent_record *record;

	if (engine->records_count == ENGINE_ROUTERS_MAX || engine->started)
		return false;
	record = malloc(sizeof *record);
	if (!record || !agent_record_decode(payload, size, record)) {
		free(record);
		return false;
	}
	engine->records[engine->records_count++] = record;
	if (record->id >= engine->next_router_id)
		engine->next_router_id = record->id + 1;
	return true;
}

static bool take_left_socket(struct engine *engine, struct wire_reader *in, int fd)
{
	uint32_t id = wire_get_u32(in);

	if (wire_reader_done(in) && fd >= 0 && engine_sockets_inherit(engine, id, fd))
		return true;
	if (fd >= 0)
		close(fd);
	return false;
}

static bool take_health(struct engine *engine, struct wire_reader *in)
{
	int at = engine->health_count;

	if (at == CONF_CHECKS_MAX)
		return false;
	wire_get_string_into(in, engine->health[at].name, sizeof engine->health[at].name);
	engine->health[at].state = wire_get_u8(in);
	if (!wire_reader_done(in) || engine->health[at].state >= HEALTH_STATES)
		return false;
	engine->health_count++;
	return true;
}

/* By an engine before this one. */
static bool take_handed_over(struct engine *engine, struct wire_reader *in)
{
	char *name = engine->handed_over[engine->handed_over_count];

	if (engine->handed_over_count == ENGINE_ROUTERS_MAX || engine->started)
		return false;
	wire_get_string_into(in, name, sizeof engine->handed_over[0]);
	if (!wire_reader_done(in))
		return false;
	engine->handed_over_count++;
	return true;
}

static bool take_check_done(struct engine *engine, struct wire_reader *in)
{
	uint32_t run = wire_get_u32(in);
	unsigned outcome = wire_get_u8(in);
	char words[ENGINE_DETAIL_BYTES];

	wire_get_string_into(in, words, sizeof words);
	if (!wire_reader_done(in) || outcome >= ENGINE_CHECK_OUTCOMES)
		return false;
	/* The check may have gone in a reload meanwhile. */
	for (struct engine_check *check = engine->checks; check; check = check->next) {
		if (check->run == run) {
			engine_check_done(check, (enum engine_check_outcome)outcome, words);
			break;
		}
	}
	return true;
}

static bool take_restart_done(struct engine *engine, struct wire_reader *in)
{
	uint32_t run = wire_get_u32(in);
	bool good = wire_get_u8(in) != 0;
	char words[ENGINE_DETAIL_BYTES];

	wire_get_string_into(in, words, sizeof words);
	if (!wire_reader_done(in))
		return false;
	for (struct engine_check *check = engine->checks; check; check = check->next) {
		if (check->restart_run == run) {
			engine_check_restarted(check, good, words);
			break;
		}
	}
	return true;
}

/* Memory is taken when there is something to be kept: the engine's is locked, and there may be
 * hundreds of routers without a hook. */
static void keep_hook(struct engine_hook **kept, const struct engine_hook *hook)
{
	if (!*kept)
		*kept = malloc(sizeof **kept);
	if (*kept)
		**kept = *hook;
}

static void take_hook(struct engine_hook **last, struct engine_hook **failed,
		      const struct engine_hook *hook)
{
	keep_hook(last, hook);
	if (!hook->ok)
		keep_hook(failed, hook);
}

static bool take_hook_done(struct engine *engine, struct wire_reader *in)
{
	char name[CONF_NAME_BYTES_MAX + 1];
	static struct engine_hook hook;
	struct engine_group *group;

	wire_get_string_into(in, name, sizeof name);
	wire_get_string_into(in, hook.name, sizeof hook.name);
	wire_get_string_into(in, hook.state, sizeof hook.state);
	hook.ok = wire_get_u8(in) != 0;
	hook.exit = wire_get_u16(in);
	hook.took_us = wire_get_u64(in);
	hook.at_us = wire_get_u64(in);
	wire_get_string_into(in, hook.outcome, sizeof hook.outcome);
	wire_get_string_into(in, hook.output, sizeof hook.output);
	if (!wire_reader_done(in))
		return false;
	for (struct engine_router *router = engine->routers; router; router = router->next)
		if (!strcmp(router->conf->name, name))
			take_hook(&router->hook, &router->hook_failed, &hook);
	group = engine_group_find(engine, name);
	if (group)
		take_hook(&group->hook, &group->hook_failed, &hook);
	return true;
}

struct ctl_client *engine_waiter_take(struct engine *engine, uint32_t request)
{
	for (int i = 0; i < CTL_CLIENTS_MAX; i++) {
		struct engine_waiter *waiter = &engine->waiters[i];
		struct ctl_client *client = waiter->client;

		if (!client || waiter->request != request)
			continue;
		waiter->client = NULL;
		return client;
	}
	return NULL;
}

void engine_refuse_reload(struct ctl_client *client, unsigned outcome, const char *why,
			  size_t why_size, const char *problems, size_t size)
{
	ctl_answer(client, json_pack("{s:b s:s s:o s:o}", "ok", 0, "code",
				     outcome == RUNNER_RELOAD_BUSY ? "busy" : "wrong-configuration",
				     "error", ctl_text(why, why_size), "problems",
				     ctl_text(problems, size)));
}

static bool take_reload_done(struct engine *engine, struct wire_reader *in)
{
	uint32_t request = wire_get_u32(in);
	unsigned outcome = wire_get_u8(in);
	size_t why_size, size;
	const char *why = wire_get_string(in, &why_size);
	const char *text = wire_get_string(in, &size);
	struct ctl_client *client;

	if (!wire_reader_done(in))
		return false;
	client = engine_waiter_take(engine, request);
	if (client && outcome == RUNNER_RELOADED)
		ctl_answer(client, json_pack("{s:b s:i s:o}", "ok", 1, "snapshot",
					     (int)engine->snapshot->conf.number, "problems",
					     ctl_text(text, size)));
	else if (client)
		engine_refuse_reload(client, outcome, why, why_size, text, size);
	return true;
}

void engine_on_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct engine *engine = ctx;
	struct wire_reader in;
	bool good = false;

	wire_reader_init(&in, payload, size);
	switch ((enum runner_msg)type) {
	case RUNNER_MSG_SNAPSHOT:
		good = take_snapshot(engine, &in, fd);
		fd = -1;
		break;
	case RUNNER_MSG_RECORD:
		good = take_left_record(engine, payload, size);
		break;
	case RUNNER_MSG_SOCKET:
		good = take_left_socket(engine, &in, fd);
		fd = -1;
		break;
	case RUNNER_MSG_HEALTH:
		good = take_health(engine, &in);
		break;
	case RUNNER_MSG_HANDED_OVER:
		good = take_handed_over(engine, &in);
		break;
	case RUNNER_MSG_START:
		engine->agent_began_us = wire_get_u64(&in);
		good = wire_reader_done(&in) && engine_begin(engine);
		break;
	case RUNNER_MSG_CHECK_DONE:
		good = take_check_done(engine, &in);
		break;
	case RUNNER_MSG_RESTART_DONE:
		good = take_restart_done(engine, &in);
		break;
	case RUNNER_MSG_HOOK_DONE:
		good = take_hook_done(engine, &in);
		break;
	case RUNNER_MSG_RELOAD_DONE:
		good = take_reload_done(engine, &in);
		break;
	case RUNNER_MSG_TRIED:
		good = engine_trial_done(engine, &in, fd);
		fd = -1;
		break;
	case RUNNER_MSG_PROBER:
		good = engine_probe_connect(engine, fd);
		fd = -1;
		break;
	case RUNNER_MSG_MAINTENANCE:
		good = engine_moves_written(engine, &in);
		break;
	case RUNNER_MSG_VMAC_DONE:
		good = engine_vmac_done(engine, &in);
		break;
	case RUNNER_MSG_LEAVE:
		good = true;
		engine_leave(engine);
		break;
	}
	if (fd >= 0)
		close(fd);
	if (!good) {
		log_err("the runner sent a message that means nothing (type %u)", type);
		loop_quit(engine->loop, 1);
	}
}

void engine_on_closed(void *ctx, int reason)
{
	struct engine *engine = ctx;

	if (engine->left_said) {
		loop_quit(engine->loop, 0);
		return;
	}
	log_err("the runner is gone%s%s: leaving", reason ? ": " : "",
		reason ? strerror(-reason) : "");
	engine->runner_gone = true;
	engine_leave(engine);
}

/* ---- the control socket ---- */

/* what: ENGINE_MSG_RELOAD, or ENGINE_MSG_TRY. */
static void ask_runner(struct engine *engine, struct ctl_client *client, enum engine_msg what)
{
	for (int i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (engine->waiters[i].client)
			continue;
		if (++engine->next_request == 0)
			engine->next_request = 1; /* 0 is nobody's */
		engine->waiters[i].client = client;
		engine->waiters[i].request = engine->next_request;
		engine_tell_number(engine, what, engine->next_request);
		return;
	}
	ctl_fail(client, "busy", "too many reloads wait; try again");
}

void engine_on_request(void *ctx, struct ctl_client *client, const char *command,
		       const json_t *request)
{
	struct engine *engine = ctx;

	if (!engine->started)
		ctl_fail(client, "starting", "the agent is starting; try again in a second");
	else if (!strcmp(command, "status"))
		ctl_answer(client, engine_status(engine));
	else if (!strcmp(command, "reload"))
		ask_runner(engine, client, ENGINE_MSG_RELOAD);
	else if (!strcmp(command, "reload-dry-run"))
		ask_runner(engine, client, ENGINE_MSG_TRY);
	else if (!strcmp(command, "handover"))
		engine_moves_handover(engine, client, request);
	else if (!strcmp(command, "maintenance"))
		engine_moves_maintenance(engine, client, request);
	else
		ctl_fail(client, "unknown-command",
			 "tandem-agent does not know \"%s\"; it knows status, reload, "
			 "reload-dry-run, handover and maintenance",
			 command);
}

void engine_on_client_gone(void *ctx, struct ctl_client *client)
{
	struct engine *engine = ctx;

	for (int i = 0; i < CTL_CLIENTS_MAX; i++)
		if (engine->waiters[i].client == client)
			engine->waiters[i].client = NULL;
	if (engine->move.client == client)
		engine->move.client = NULL;
}
