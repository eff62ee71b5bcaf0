/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people move by hand: handover and maintenance. One such request is served at a time, and
 * answered when no router that it moved is still LEAVING.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/engine_private.h"
#include "shared/log.h"

static bool concerns(const struct engine_move *move, const struct engine_router *router)
{
	return !router->leaving && (!*move->name || !strcmp(move->name, router->conf->name));
}

static json_t *outcome_of(const struct engine_move *move, const struct engine_router *router)
{
	const int master = vrrp_fsm_master(&router->fsm);
	char name[IP_TEXT_MAX];
	const char *outcome = move->lift			 ? "lifted"
			      : !router->moved			 ? "not-held"
			      : router->fsm.state == VRRP_MASTER ? "nobody-answered"
								 : "handed-over";
	json_t *object = json_pack("{s:s s:s s:s}", "name", router->conf->name, "outcome", outcome,
				   "state", vrrp_fsm_state_name(router->fsm.state));

	json_object_set_new(object, "master",
			    master >= 0 ? json_string(engine_node_name(router, master, name))
					: json_null());
	json_object_set_new(
		object, "took_us",
		router->moved && router->fsm.since_us >= move->asked_us
			? json_integer((json_int_t)(router->fsm.since_us - move->asked_us))
			: json_null());
	return object;
}

void engine_moves_look(struct engine *engine)
{
	struct engine_move *move = &engine->move;
	struct ctl_client *client = move->client;
	json_t *list;

	if (!client || move->awaits_runner)
		return;
	for (const struct engine_router *router = engine->routers; router; router = router->next)
		if (concerns(move, router) && router->moved && router->fsm.state == VRRP_LEAVING)
			return;
	list = json_array();
	for (struct engine_router *router = engine->routers; router; router = router->next) {
		if (!concerns(move, router))
			continue;
		json_array_append_new(list, outcome_of(move, router));
		router->moved = false;
	}
	move->client = NULL;
	ctl_answer(client, json_pack("{s:b s:b s:o}", "ok", 1, "maintenance", engine->maintenance,
				     "instances", list));
}

static bool begin(struct engine *engine, struct ctl_client *client, const char *name, bool lift)
{
	struct engine_move *move = &engine->move;

	if (engine->leaving) {
		ctl_fail(client, "stopping", "the agent is stopping, and hands over everything");
		return false;
	}
	if (move->client) {
		ctl_fail(client, "busy", "another handover is on its way; try again in a second");
		return false;
	}
	*move = (struct engine_move){
		.client = client, .lift = lift, .asked_us = loop_now_us(engine->loop)};
	if (name)
		strncpy(move->name, name, sizeof move->name - 1);
	for (struct engine_router *router = engine->routers; router; router = router->next)
		router->moved = concerns(move, router) && vrrp_fsm_holds(&router->fsm);
	return true;
}

void engine_moves_handover(struct engine *engine, struct ctl_client *client, const json_t *request)
{
	const json_t *wanted = json_object_get(request, "instance");
	const char *name = json_string_value(wanted);
	const bool lift = json_is_true(json_object_get(request, "lift"));
	const struct engine_router *known = engine->routers;

	while (name && known && strcmp(known->conf->name, name) != 0)
		known = known->next;
	if ((wanted && !name) || !known) {
		ctl_fail(client, "no-such-instance",
			 "there is no instance \"%s\" on this node; `tandem status` names them",
			 name ? name : "");
		return;
	}
	if (!begin(engine, client, name, lift))
		return;
	log_notice("%s: handover %s", name ? name : "all instances", lift ? "lifted" : "asked for");
	for (struct engine_router *router = engine->routers; router; router = router->next) {
		struct vrrp_event ev = {.type = VRRP_EV_HANDOVER,
					.now_us = loop_now_us(engine->loop)};

		ev.u.handover.lift = lift;
		/* A handover of one member spreads by itself (group_fsm). */
		if (!concerns(&engine->move, router) &&
		    !(lift && engine_group_together(router, known)))
			continue;
		router->record_due = true; /* it says whether it was handed over */
		engine_router_step(router, &ev);
	}
	engine_moves_look(engine);
}

void engine_moves_maintenance(struct engine *engine, struct ctl_client *client,
			      const json_t *request)
{
	const json_t *on = json_object_get(request, "on");
	uint8_t bytes[8];
	struct wire_writer w;

	if (!json_is_boolean(on)) {
		ctl_fail(client, "wrong-request", "maintenance needs \"on\": true or false");
		return;
	}
	if (!begin(engine, client, NULL, !json_is_true(on)))
		return;
	/* First it is written down: what is done must still hold after a crash. */
	if (++engine->next_request == 0)
		engine->next_request = 1;
	engine->move.request = engine->next_request;
	engine->move.awaits_runner = true;
	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, engine->move.request);
	wire_put_u8(&w, json_is_true(on));
	engine_tell(engine, ENGINE_MSG_MAINTENANCE, &w, -1);
}

void engine_moves_tell(struct engine_router *router)
{
	struct vrrp_event ev = {.type = VRRP_EV_MAINTENANCE,
				.now_us = loop_now_us(router->engine->loop)};

	if (router->leaving)
		return;
	ev.u.maintenance.on = router->engine->maintenance;
	router->record_due = true; /* the priority is in it */
	engine_router_step(router, &ev);
}

/* An engine before this one was asked for it; or, of one that a reload adds, those that it moves
 * with were. */
void engine_moves_remember(struct engine_router *router)
{
	const struct engine *engine = router->engine;
	bool handed_over = engine->started && engine_group_handed_over(router);

	for (int i = 0; i < engine->handed_over_count && !engine->started; i++)
		if (!strcmp(engine->handed_over[i], router->conf->name))
			handed_over = true;
	if (handed_over)
		engine_router_event(router, VRRP_EV_HANDOVER);
}

bool engine_moves_written(struct engine *engine, struct wire_reader *in)
{
	struct engine_move *move = &engine->move;
	const uint32_t request = wire_get_u32(in);
	const bool on = wire_get_u8(in) != 0;
	size_t size;
	const char *error = wire_get_string(in, &size);
	const bool answers = move->awaits_runner && move->request == request;
	struct ctl_client *client = move->client;

	if (!wire_reader_done(in))
		return false;
	if (answers)
		move->awaits_runner = false;
	if (answers && size) {
		move->client = NULL;
		if (client)
			ctl_fail(client, "failed", "%.*s", (int)size, error);
		return true;
	}
	engine->maintenance = on;
	for (struct engine_router *router = engine->routers; router; router = router->next)
		engine_moves_tell(router);
	if (answers)
		engine_moves_look(engine);
	return true;
}
