/* SPDX-License-Identifier: Apache-2.0 */
/* Routers that move together: what group_fsm decides, carried out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/engine_private.h"
#include "shared/log.h"

/* Each member is told at most a few things before all of them rest. */
#define ROUNDS_MAX (4 * GROUP_MEMBERS_MAX)

_Static_assert(CONF_MEMBERS_MAX <= GROUP_MEMBERS_MAX, "a group of the file fits into the core");

struct engine_group *engine_group_find(struct engine *engine, const char *name)
{
	for (int i = 0; i < CONF_GROUPS_MAX; i++)
		if (!strcmp(engine->groups[i].name, name) && *name)
			return &engine->groups[i];
	return NULL;
}

/* In the order of the file; a group that stays keeps its state. */
void engine_groups_apply(struct engine *engine)
{
	const struct conf *conf = engine->snapshot->conf.conf;
	static struct engine_group old[CONF_GROUPS_MAX];

	memcpy(old, engine->groups, sizeof old);
	memset(engine->groups, 0, sizeof engine->groups);
	for (int i = 0; i < conf->groups_count; i++) {
		struct engine_group *group = &engine->groups[i];

		group_fsm_init(&group->fsm);
		for (int j = 0; j < CONF_GROUPS_MAX; j++) {
			if (strcmp(old[j].name, conf->groups[i].name) != 0)
				continue;
			*group = old[j];
			old[j].hook = old[j].hook_failed = NULL;
		}
		snprintf(group->name, sizeof group->name, "%s", conf->groups[i].name);
	}
	for (int j = 0; j < CONF_GROUPS_MAX; j++) {
		free(old[j].hook);
		free(old[j].hook_failed);
	}
}

/* The router that runs for a member, unless it is on its way out. */
static struct engine_router *member_of(const struct engine *engine, const struct conf *conf,
				       int place)
{
	for (struct engine_router *router = engine->routers; router; router = router->next)
		if (!router->leaving && !strcmp(router->conf->name, conf->vrrps[place].name))
			return router;
	return NULL;
}

const struct engine_router *engine_group_fault(const struct engine_router *router)
{
	const struct conf *conf = router->snapshot->conf.conf;
	const struct conf_group *group;

	if (router->conf->group < 0)
		return NULL;
	group = &conf->groups[router->conf->group];
	for (int i = 0; i < group->members_count; i++) {
		const struct engine_router *member =
			member_of(router->engine, conf, group->members[i]);

		if (member && member != router && member->looked && !member->usable)
			return member;
	}
	return NULL;
}

bool engine_group_together(const struct engine_router *a, const struct engine_router *b)
{
	return a->snapshot == b->snapshot && a->conf->group >= 0 &&
	       a->conf->group == b->conf->group;
}

bool engine_group_handed_over(const struct engine_router *router)
{
	const struct conf *conf = router->snapshot->conf.conf;
	const struct conf_group *group;

	if (router->conf->group < 0)
		return false;
	group = &conf->groups[router->conf->group];
	for (int i = 0; i < group->members_count; i++) {
		const struct engine_router *member =
			member_of(router->engine, conf, group->members[i]);

		if (member && member->fsm.handed_over)
			return true;
	}
	return false;
}

static void tell_hook(struct engine *engine, int place, enum engine_hook_state state)
{
	uint8_t bytes[16];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, engine->snapshot->conf.number);
	wire_put_u16(&w, (uint16_t)place);
	wire_put_u8(&w, (uint8_t)state);
	engine_tell(engine, ENGINE_MSG_GROUP_HOOK_RUN, &w, -1);
}

static void tell_state(struct engine *engine, int place, enum vrrp_state state)
{
	log_notice("group %s: %s", engine->groups[place].name, vrrp_fsm_state_name(state));
	if (state == VRRP_MASTER)
		tell_hook(engine, place, ENGINE_HOOK_MASTER);
	else if (state == VRRP_BACKUP)
		tell_hook(engine, place, ENGINE_HOOK_BACKUP);
	else if (state == VRRP_FAULT)
		tell_hook(engine, place, ENGINE_HOOK_FAULT);
}

static void carry_out(struct engine_router *router, const struct group_member *member)
{
	struct vrrp_event ev = {.now_us = loop_now_us(router->engine->loop)};

	switch (member->todo) {
	case GROUP_DO_NOTHING:
		return;
	case GROUP_DO_TAKE:
		ev.type = VRRP_EV_GROUP_TAKE;
		break;
	case GROUP_DO_YIELD:
		ev.type = VRRP_EV_GROUP_YIELD;
		ev.u.yield.handed_over = member->handed_over;
		break;
	case GROUP_DO_HAND_OVER:
		ev.type = VRRP_EV_HANDOVER;
		break;
	case GROUP_DO_LEFT:
		ev.type = VRRP_EV_GROUP_LEFT;
		ev.u.left.node = member->left_node;
		break;
	}
	engine_router_step(router, &ev);
}

/* Returns whether anybody was told anything. */
static bool judge_once(struct engine *engine, int place)
{
	const struct conf *conf = engine->snapshot->conf.conf;
	const struct conf_group *group = &conf->groups[place];
	struct engine_router *routers[GROUP_MEMBERS_MAX];
	struct group_member members[GROUP_MEMBERS_MAX];
	const struct group_fsm before = engine->groups[place].fsm;
	bool told = false;

	for (int i = 0; i < group->members_count; i++) {
		routers[i] = member_of(engine, conf, group->members[i]);
		members[i] = (struct group_member){
			.fsm = routers[i] && routers[i]->started ? &routers[i]->fsm : NULL};
		/* While the file changes: who still runs by the one before comes in a moment. */
		if (members[i].fsm && !members[i].fsm->conf.grouped)
			members[i].fsm = NULL;
	}
	group_fsm_judge(&engine->groups[place].fsm, members, group->members_count);
	for (int i = 0; i < group->members_count; i++)
		told = told || members[i].todo != GROUP_DO_NOTHING;
	/* Invariant A6 holds for all of them: what is queued is heard before they take over. */
	for (int i = 0; i < group->members_count; i++) {
		if (members[i].todo != GROUP_DO_TAKE)
			continue;
		if (routers[i]->socket)
			engine_sockets_drain(routers[i]->socket);
		if (routers[i]->fsm.state != VRRP_BACKUP ||
		    (!routers[i]->fsm.wants && !group_fsm_joins(&routers[i]->fsm))) {
			engine->groups[place].fsm = before;
			return true;
		}
	}
	for (int i = 0; i < group->members_count; i++)
		if (routers[i])
			carry_out(routers[i], &members[i]);
	return told;
}

static void judge(struct engine *engine, int place)
{
	struct engine_group *group = &engine->groups[place];
	enum vrrp_state before = group->fsm.state;

	if (group->judging)
		return;
	group->judging = true;
	for (int i = 0; i < ROUNDS_MAX && judge_once(engine, place); i++)
		;
	group->judging = false;
	if (group->fsm.state != before) {
		tell_state(engine, place, group->fsm.state);
		engine_mail_group(engine, place, before, group->fsm.state);
	}
}

/* The last of its members has stopped with the agent. */
static bool has_stopped(const struct engine *engine, int place)
{
	const struct conf *conf = engine->snapshot->conf.conf;
	const struct conf_group *group = &conf->groups[place];

	for (int i = 0; i < group->members_count; i++)
		for (const struct engine_router *router = engine->routers; router;
		     router = router->next)
			if (!router->stopped &&
			    !strcmp(router->conf->name, conf->vrrps[group->members[i]].name))
				return false;
	return true;
}

void engine_group_judge(struct engine_router *router)
{
	struct engine *engine = router->engine;
	int place;

	if (router->conf->group < 0)
		return;
	place = conf_group_index(engine->snapshot->conf.conf,
				 router->snapshot->conf.conf->groups[router->conf->group].name);
	if (place < 0)
		return;
	if (!router->leaving)
		judge(engine, place);
	else if (engine->leaving && router->stopped && has_stopped(engine, place))
		tell_hook(engine, place, ENGINE_HOOK_STOP);
}

json_t *engine_group_status(const struct engine *engine, int place)
{
	const struct conf *conf = engine->snapshot->conf.conf;
	const struct conf_group *group = &conf->groups[place];
	json_t *members = json_array();

	for (int i = 0; i < group->members_count; i++)
		json_array_append_new(members, json_string(conf->vrrps[group->members[i]].name));
	return json_pack("{s:s s:s s:o s:o s:o}", "name", group->name, "state",
			 vrrp_fsm_state_name(engine->groups[place].fsm.state), "members", members,
			 "hook", engine_hook_status(engine, engine->groups[place].hook),
			 "hook_failed",
			 engine_hook_status(engine, engine->groups[place].hook_failed));
}
