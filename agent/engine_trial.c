/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reload would do: the runner has read and checked the file, and here it is held against
 * what runs, by the same question that a reload asks.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/engine_private.h"
#include "shared/conf_diff.h"
#include "shared/log.h"

static const struct engine_router *running(const struct engine *engine, const char *name)
{
	for (const struct engine_router *router = engine->routers; router; router = router->next)
		if (!router->leaving && !strcmp(router->conf->name, name))
			return router;
	return NULL;
}

static bool takes_part(const struct conf *conf, int place)
{
	return place >= 0 && conf->vrrps[place].priorities[conf->self];
}

static void add_instance(json_t *list, const char *name, const struct engine_router *router,
			 const char *effect, bool given_up)
{
	json_t *object = json_pack("{s:s s:s s:b}", "name", name, "effect", effect, "leaves_master",
				   given_up && router && vrrp_fsm_holds(&router->fsm));

	json_object_set_new(object, "state",
			    router ? json_string(vrrp_fsm_state_name(router->fsm.state))
				   : json_null());
	json_array_append_new(list, object);
}

/* As engine.c's apply_routers() would. */
static json_t *instances_of(const struct engine *engine, const struct agent_snapshot *next)
{
	const struct conf *conf = next->conf.conf;
	json_t *list = json_array();

	for (const struct engine_router *router = engine->routers; router; router = router->next) {
		const char *name = router->conf->name;
		int place = conf_vrrp_index(conf, name);

		if (router->leaving)
			continue;
		if (place >= 0 && engine_router_is(router, next, place))
			add_instance(list, name, router, "kept", false);
		else
			add_instance(list, name, router,
				     takes_part(conf, place) ? "restarted" : "removed", true);
	}
	for (int i = 0; i < conf->vrrps_count; i++)
		if (takes_part(conf, i) && !running(engine, conf->vrrps[i].name))
			add_instance(list, conf->vrrps[i].name, NULL, "added", false);
	return list;
}

static int changes_of(const struct engine *engine, const struct agent_snapshot *next,
		      json_t **ret_changes)
{
	int error = conf_diff(&engine->snapshot->conf, &next->conf, ret_changes);

	/* The replicator says those. */
	for (size_t i = error ? 0 : json_array_size(*ret_changes); i-- > 0;)
		if (!strcmp(json_string_value(
				    json_object_get(json_array_get(*ret_changes, i), "section")),
			    "mirrors"))
			json_array_remove(*ret_changes, i);
	return error;
}

static void answer(const struct engine *engine, struct ctl_client *client,
		   struct conf_snapshot *received, const char *problems, size_t size)
{
	struct agent_snapshot *next = agent_snapshot_new(received);
	json_t *changes;
	int error = next ? changes_of(engine, next, &changes) : -ENOMEM;

	if (error)
		ctl_fail(client, "failed", "the files cannot be compared: %s", strerror(-error));
	else
		ctl_answer(client, json_pack("{s:b s:b s:i s:o s:o s:o}", "ok", 1, "dry_run", 1,
					     "snapshot", (int)engine->snapshot->conf.number,
					     "problems", ctl_text(problems, size), "instances",
					     instances_of(engine, next), "changes", changes));
	if (!next)
		conf_snapshot_release(received);
	agent_snapshot_drop(next);
}

bool engine_trial_done(struct engine *engine, struct wire_reader *in, int fd)
{
	uint32_t request = wire_get_u32(in);
	unsigned outcome = wire_get_u8(in);
	size_t why_size, size;
	const char *why = wire_get_string(in, &why_size);
	const char *problems = wire_get_string(in, &size);
	char node[CONF_NAME_BYTES_MAX + 1];
	struct conf_snapshot received;
	struct ctl_client *client;

	wire_get_string_into(in, node, sizeof node);
	if (!wire_reader_done(in) || (outcome == RUNNER_RELOADED) != (fd >= 0)) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (fd >= 0 && conf_snapshot_receive(0, node, fd, &received))
		return false;
	client = engine_waiter_take(engine, request);
	if (client && fd >= 0) {
		answer(engine, client, &received, problems, size);
	} else if (client) {
		engine_refuse_reload(client, outcome, why, why_size, problems, size);
	} else if (fd >= 0) {
		conf_snapshot_release(&received);
	}
	return true;
}
