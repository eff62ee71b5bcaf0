/* SPDX-License-Identifier: Apache-2.0 */
/* The form of `status` is documented in docs/PROTOCOL.md, chapter "control: agent". */
#include <stdio.h>
#include <string.h>

#include "agent/engine_private.h"

static uint64_t age_us(const struct engine *engine, uint64_t at_us)
{
	uint64_t now_us = loop_now_us(engine->loop);

	return now_us > at_us ? now_us - at_us : 0;
}

static json_t *age(const struct engine *engine, uint64_t at_us)
{
	return json_integer((json_int_t)age_us(engine, at_us));
}

static json_t *address(const struct ip_addr *addr)
{
	char text[IP_TEXT_MAX];

	return json_string(ip_format(addr, text));
}

static json_t *prefix(const struct ip_prefix *p)
{
	char text[IP_TEXT_MAX], whole[IP_TEXT_MAX + 8];

	snprintf(whole, sizeof whole, "%s/%d", ip_format(&p->addr, text), p->prefix_len);
	return json_string(whole);
}

/* A peer that is heard is Master; the others keep silent, whether they live or not. */
static const char *peer_state(const struct engine *engine, const struct vrrp_peer *peer)
{
	if (!peer->heard || age_us(engine, peer->heard_us) > 4 * peer->advert_int_us)
		return "SILENT";
	return peer->priority == VRRP_PRIORITY_LEAVE ? "LEFT" : "MASTER";
}

/* Of who holds the addresses this can be known, and of nobody else. */
static bool peer_is_sick(const struct engine_router *router, int node)
{
	const struct vrrp_peer *peer = &router->fsm.peers[node];

	return strcmp(peer_state(router->engine, peer), "MASTER") == 0 &&
	       peer->priority < router->fsm.conf.nodes[node].priority;
}

static json_t *peers_of(const struct engine_router *router)
{
	const struct conf *conf = router->snapshot->conf.conf;
	char name[IP_TEXT_MAX];
	json_t *list = json_array();

	for (int i = 0; i < router->wire.nodes_count; i++) {
		const struct vrrp_peer *peer = &router->fsm.peers[i];
		/* 0: it is not in the file. */
		const int priority = i < conf->nodes_count
					     ? router->conf->priorities[i]
					     : router->conf->peers[i - conf->nodes_count].priority;
		json_t *object;

		if (i == router->wire.self || router->wire.nodes[i].family == IP_NONE)
			continue;
		object = json_pack("{s:s s:o s:s}", "node", engine_node_name(router, i, name),
				   "address", address(&router->wire.nodes[i]), "state",
				   peer_state(router->engine, peer));
		json_object_set_new(object, "configured_priority",
				    priority ? json_integer(priority) : json_null());
		json_object_set_new(object, "priority",
				    peer->heard ? json_integer(peer->priority)
				    : priority	? json_integer(priority)
						: json_null());
		json_object_set_new(object, "sick", json_boolean(peer_is_sick(router, i)));
		json_object_set_new(object, "age_us",
				    peer->heard ? age(router->engine, peer->heard_us)
						: json_null());
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *master_of(const struct engine_router *router)
{
	int node = vrrp_fsm_master(&router->fsm);
	const struct vrrp_peer *peer;
	char name[IP_TEXT_MAX];
	json_t *object;

	if (node < 0)
		return json_null();
	object = json_pack("{s:o s:s}", "address", address(&router->wire.nodes[node]), "node",
			   engine_node_name(router, node, name));
	if (node == router->wire.self) {
		json_object_set_new(object, "priority", json_integer(router->fsm.priority));
		json_object_set_new(object, "age_us", age(router->engine, router->fsm.sent_us));
		return object;
	}
	peer = &router->fsm.peers[node];
	json_object_set_new(object, "priority", json_integer(peer->priority));
	json_object_set_new(object, "age_us", age(router->engine, peer->heard_us));
	return object;
}

static json_t *refused_of(const struct engine_router *router)
{
	char name[IP_TEXT_MAX];
	json_t *list = json_array();

	for (int i = 0; i < router->refusals.count; i++) {
		const struct refusal *refusal = &router->refusals.list[i];
		json_t *object = json_pack("{s:s s:o s:b s:I s:o s:s}", "verdict",
					   vrrp_wire_verdict_name(refusal->verdict), "source",
					   address(&refusal->source), "refused",
					   vrrp_wire_grade(refusal->verdict) == VRRP_GRADE_REFUSED,
					   "count", (json_int_t)refusal->count, "age_us",
					   age(router->engine, refusal->last_us), "text",
					   vrrp_wire_verdict_text(refusal->verdict));

		json_object_set_new(
			object, "node",
			refusal->node >= 0 && refusal->node < router->wire.nodes_count
				? json_string(engine_node_name(router, refusal->node, name))
				: json_null());
		json_array_append_new(list, object);
	}
	if (router->refusals.others)
		json_array_append_new(
			list, json_pack("{s:s s:n s:n s:b s:I s:n s:s}", "verdict", "others",
					"source", "node", "refused", 1, "count",
					(json_int_t)router->refusals.others, "age_us", "text",
					"from more sources than are counted one by one"));
	return list;
}

json_t *engine_hook_status(const struct engine *engine, const struct engine_hook *hook)
{
	json_t *object;

	if (!hook)
		return json_null();
	object = json_pack("{s:s s:s s:s s:b s:o}", "last", hook->name, "state", hook->state,
			   "outcome", hook->outcome, "ok", hook->ok, "age_us",
			   age(engine, hook->at_us));
	json_object_set_new(object, "exit",
			    hook->exit == ENGINE_HOOK_NO_EXIT ? json_null()
							      : json_integer(hook->exit));
	json_object_set_new(object, "took_us",
			    hook->took_us ? json_integer((json_int_t)hook->took_us) : json_null());
	json_object_set_new(object, "output", ctl_text(hook->output, strlen(hook->output)));
	return object;
}

static json_t *checks_of(const struct engine_router *router)
{
	json_t *list = json_array();

	for (int i = 0; i < router->conf->tracks_count; i++) {
		int at = router->conf->tracks[i].check;

		json_array_append_new(list,
				      json_string(router->snapshot->conf.conf->checks[at].name));
	}
	return list;
}

static json_t *alarms_of(const struct engine_router *router)
{
	json_t *list = json_array();

	for (int i = 0; i < VRRP_ALARMS; i++)
		if (router->alarms[i].count)
			json_array_append_new(
				list, json_pack("{s:s s:s s:I s:o}", "alarm",
						vrrp_fsm_alarm_name((enum vrrp_alarm)i), "text",
						vrrp_fsm_alarm_text((enum vrrp_alarm)i), "count",
						(json_int_t)router->alarms[i].count, "age_us",
						age(router->engine, router->alarms[i].last_us)));
	return list;
}

static json_t *counters_of(const struct vrrp_stats *stats)
{
	return json_pack(
		"{s:I s:I s:I s:I s:I s:I s:I s:I s:I s:I s:I}", "adverts_sent",
		(json_int_t)stats->adverts_sent, "adverts_received",
		(json_int_t)stats->adverts_received, "priority_zero_sent",
		(json_int_t)stats->priority_zero_sent, "priority_zero_received",
		(json_int_t)stats->priority_zero_received, "mismatches_received",
		(json_int_t)stats->mismatches_received, "send_failures",
		(json_int_t)stats->send_failures, "announces", (json_int_t)stats->announces,
		"became_master", (json_int_t)stats->became_master, "contentions",
		(json_int_t)stats->contentions, "resignations", (json_int_t)stats->resignations,
		"put_backs", (json_int_t)stats->put_backs);
}

static json_t *instance(const struct engine_router *router)
{
	const struct conf_vrrp *v = router->conf;
	json_t *addresses = json_array(), *object;

	for (int i = 0; i < v->vips_count; i++)
		json_array_append_new(addresses, prefix(&v->vips[i].prefix));
	object = json_pack("{s:s s:s s:s s:o s:i s:s s:i s:b s:i s:i s:b s:b s:o s:o}", "name",
			   v->name, "state", vrrp_fsm_state_name(router->fsm.state), "cause",
			   vrrp_fsm_cause_name(router->fsm.cause), "since_us",
			   age(router->engine, router->fsm.since_us), "vrid", v->vrid, "interface",
			   v->interfaces[router->snapshot->conf.conf->self], "version", v->version,
			   "multicast", v->multicast, "priority", v->priorities[router->wire.self],
			   "effective_priority", router->fsm.priority, "sick",
			   vrrp_fsm_sick(&router->fsm), "undetermined", router->fsm.undetermined,
			   "addresses", addresses, "source",
			   address(&router->wire.nodes[router->wire.self]));
	json_object_set_new(object, "group_address",
			    v->multicast ? address(&v->mcast_group) : json_null());
	json_object_set_new(object, "trouble",
			    *router->trouble ? json_string(router->trouble) : json_null());
	json_object_set_new(object, "accept", json_boolean(v->accept));
	json_object_set_new(object, "vmac", *v->vmac ? json_string(v->vmac) : json_null());
	json_object_set_new(
		object, "group",
		v->group >= 0 ? json_string(router->snapshot->conf.conf->groups[v->group].name)
			      : json_null());
	json_object_set_new(object, "wants", json_boolean(router->fsm.wants));
	json_object_set_new(object, "leaving", json_boolean(router->leaving));
	json_object_set_new(object, "handed_over", json_boolean(router->fsm.handed_over));
	json_object_set_new(object, "master", master_of(router));
	json_object_set_new(object, "peers", peers_of(router));
	json_object_set_new(object, "refused", refused_of(router));
	json_object_set_new(object, "in_use", engine_rivals_status(router));
	json_object_set_new(object, "checks", checks_of(router));
	json_object_set_new(object, "hook", engine_hook_status(router->engine, router->hook));
	json_object_set_new(object, "hook_failed",
			    engine_hook_status(router->engine, router->hook_failed));
	json_object_set_new(object, "alarms", alarms_of(router));
	json_object_set_new(object, "transitions",
			    json_integer((json_int_t)router->fsm.stats.transitions));
	json_object_set_new(object, "counters", counters_of(&router->fsm.stats));
	return object;
}

static json_t *restart_of(const struct engine_check *check)
{
	json_t *object = json_pack("{s:i s:i s:b s:b}", "count", check->health.restarts, "limit",
				   check->conf->restart_limit, "running", check->health.restarting,
				   "given_up", health_fsm_given_up(&check->health));

	json_object_set_new(object, "ok", json_boolean(check->restart_good));
	json_object_set_new(object, "outcome",
			    *check->restart_words
				    ? ctl_text(check->restart_words, strlen(check->restart_words))
				    : json_null());
	json_object_set_new(object, "age_us",
			    check->health.restart_us ? age(check->engine, check->health.restart_us)
						     : json_null());
	return object;
}

static const char *kind_of(const struct conf_check *conf, char *text, size_t room)
{
	const char *name = conf_check_kind_name(conf->kind);

	if (!conf->probe.target || conf->kind == CONF_CHECK_HTTP || conf->kind == CONF_CHECK_TCP)
		return name;
	snprintf(text, room, "%s+%s", name, conf->probe.http ? "http" : "tcp");
	return text;
}

static json_t *check_object(const struct engine_check *check)
{
	char kind[32];
	json_t *object =
		json_pack("{s:s s:s s:s s:i s:o}", "name", check->conf->name, "kind",
			  kind_of(check->conf, kind, sizeof kind), "state",
			  health_fsm_state_name(check->health.state), "weight", check->conf->weight,
			  "since_us", age(check->engine, check->health.since_us));

	if (check->conf->restart.argv)
		json_object_set_new(object, "restart", restart_of(check));
	if (check->conf->kind == CONF_CHECK_FILE)
		json_object_set_new(object, "value", json_integer(check->value));
	json_object_set_new(object, "detail", ctl_text(check->detail, strlen(check->detail)));
	json_object_set_new(object, "age_us",
			    check->health.last_us ? age(check->engine, check->health.last_us)
						  : json_null());
	json_object_set_new(object, "failures", json_integer((json_int_t)check->failures));
	json_object_set_new(
		object, "last_failure",
		check->failed_words
			? json_pack("{s:o s:o}", "age_us", age(check->engine, check->failed_us),
				    "detail",
				    ctl_text(check->failed_words, strlen(check->failed_words)))
			: json_null());
	return object;
}

static json_t *mail_of(const struct engine *engine)
{
	const struct engine_mails *mails = &engine->mails;
	json_t *object;

	if (!engine->snapshot->conf.conf->mail.to_count)
		return json_null();
	object = json_pack("{s:i s:I s:I}", "queued", mails->count, "sent", (json_int_t)mails->sent,
			   "dropped", (json_int_t)mails->dropped);
	json_object_set_new(object, "error",
			    *mails->error ? ctl_text(mails->error, strlen(mails->error))
					  : json_null());
	return object;
}

static json_t *late_of(const struct engine *engine)
{
	const struct engine_late *late = &engine->late;

	if (!late->count)
		return json_null();
	return json_pack("{s:I s:I s:o s:I s:o}", "count", (json_int_t)late->count, "by_us",
			 (json_int_t)late->by_us, "age_us", age(engine, late->last_us),
			 "worst_by_us", (json_int_t)late->worst_by_us, "worst_age_us",
			 age(engine, late->worst_us));
}

json_t *engine_status(const struct engine *engine)
{
	const struct conf *conf = engine->snapshot->conf.conf;
	json_t *instances = json_array(), *checks = json_array(), *groups = json_array();
	const uint64_t quiet_until_us = engine_quiet_until_us(engine);
	const uint64_t now_us = loop_now_us(engine->loop);
	char hash[2 * sizeof conf->hash + 1];

	for (size_t i = 0; i < sizeof conf->hash; i++)
		snprintf(hash + 2 * i, 3, "%02x", conf->hash[i]);
	for (const struct engine_router *router = engine->routers; router; router = router->next)
		json_array_append_new(instances, instance(router));
	for (const struct engine_check *check = engine->checks; check; check = check->next)
		json_array_append_new(checks, check_object(check));
	for (int i = 0; i < conf->groups_count; i++)
		json_array_append_new(groups, engine_group_status(engine, i));
	return json_pack("{s:b s:i s:s s:s s:s s:s s:i s:s s:b s:o s:I s:o s:o s:o s:o s:o}", "ok",
			 1, "version", 1, "program", "tandem-agent", "release", TANDEM_VERSION,
			 "node", engine->snapshot->conf.node, "cluster", conf->cluster, "snapshot",
			 (int)engine->snapshot->conf.number, "config_hash", hash, "maintenance",
			 engine->maintenance, "uptime_us", age(engine, engine->started_us),
			 "startup_delay_us",
			 (json_int_t)(quiet_until_us > now_us ? quiet_until_us - now_us : 0),
			 "instances", instances, "checks", checks, "groups", groups, "mail",
			 mail_of(engine), "late", late_of(engine));
}
