/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/engine_private.h"
#include "shared/log.h"

/* A step can fail again when it is told of a failure; the core ends that long before. */
#define FAILURES_MAX 8

static const struct conf *conf_of(const struct agent_snapshot *snapshot)
{
	return snapshot->conf.conf;
}

static const char *interface_of(const struct engine_router *router)
{
	return router->conf->interfaces[conf_of(router->snapshot)->self];
}

static uint64_t now_us(const struct engine_router *router)
{
	return loop_now_us(router->engine->loop);
}

static void on_timer(void *ctx);

int engine_router_new(struct engine *engine, struct agent_snapshot *snapshot, int place,
		      struct engine_router **ret_router)
{
	struct engine_router *router = calloc(1, sizeof *router);
	struct vrrp_conf conf;
	int error;

	if (!router)
		return -ENOMEM;
	router->engine = engine;
	error = loop_timer_new(engine->loop, on_timer, router, &router->timer);
	if (error) {
		free(router);
		return error;
	}
	router->id = engine->next_router_id++;
	router->snapshot = agent_snapshot_hold(snapshot);
	router->place = place;
	router->conf = &conf_of(snapshot)->vrrps[place];
	engine_router_wire_conf(snapshot, router->conf, &router->wire);
	engine_router_fsm_conf(snapshot, router->conf, &router->wire, &conf);
	vrrp_fsm_init(&router->fsm, &conf);
	*ret_router = router;
	return 0;
}

struct engine_router *engine_router_free(struct engine_router *router)
{
	if (!router)
		return NULL;
	engine_sockets_part(router);
	engine_vips_unwatch(router);
	free(router->hook);
	free(router->hook_failed);
	loop_timer_free(router->timer);
	agent_snapshot_drop(router->snapshot);
	free(router);
	return NULL;
}

bool engine_router_is(const struct engine_router *router, const struct agent_snapshot *snapshot,
		      int place)
{
	const struct conf *conf = conf_of(snapshot);
	const struct conf_vrrp *v = &conf->vrrps[place];
	int self = conf->self;

	return !router->leaving && !strcmp(router->conf->name, v->name) &&
	       router->conf->vrid == v->vrid && router->conf->version == v->version &&
	       router->conf->multicast == v->multicast &&
	       (!v->multicast || ip_equal(&router->conf->mcast_group, &v->mcast_group)) &&
	       self == conf_of(router->snapshot)->self && v->priorities[self] &&
	       !strcmp(interface_of(router), v->interfaces[self]) &&
	       !strcmp(router->conf->vmac, v->vmac) &&
	       ip_equal(engine_node_source(snapshot, v, self),
			engine_node_source(router->snapshot, router->conf, self));
}

bool engine_router_tracks(const struct engine_router *router, const char *check)
{
	for (int i = 0; i < router->conf->tracks_count; i++) {
		int at = router->conf->tracks[i].check;

		if (!strcmp(conf_of(router->snapshot)->checks[at].name, check))
			return true;
	}
	return false;
}

/* ---- what the runner keeps ---- */

static void send_record(struct engine_router *router)
{
	static struct agent_record record;
	static uint8_t bytes[AGENT_RECORD_BYTES_MAX];
	struct wire_writer w;

	memset(&record, 0, sizeof record);
	record.id = router->id;
	snprintf(record.name, sizeof record.name, "%s", router->conf->name);
	snprintf(record.interface, sizeof record.interface, "%s", interface_of(router));
	record.vrid = router->wire.vrid;
	record.version = router->wire.version;
	record.state = (uint8_t)router->fsm.state;
	record.priority = router->fsm.priority;
	record.handed_over = router->fsm.handed_over;
	record.advert_int_us = router->fsm.conf.advert_int_us;
	record.last_advert_us = router->fsm.state == VRRP_MASTER ? router->fsm.sent_us : 0;
	record.since_us = router->fsm.since_us;
	snprintf(record.vmac, sizeof record.vmac, "%s", router->conf->vmac);
	record.socket = router->socket ? router->socket->id : 0;
	for (int i = 0; i < router->held_count && record.addresses_count < CONF_VIPS_MAX; i++) {
		if (!router->held[i].ours)
			continue;
		record.addresses[record.addresses_count].ifindex = router->held[i].ifindex;
		record.addresses[record.addresses_count++].prefix = router->held[i].prefix;
	}
	if (router->fsm.state == VRRP_MASTER)
		engine_packets_wills(router, &record);
	wire_writer_init(&w, bytes, sizeof bytes);
	w.at = agent_record_encode(&record, bytes, sizeof bytes);
	assert(w.at > 0);
	engine_tell(router->engine, ENGINE_MSG_RECORD, &w, -1);
	router->record_due = false;
}

static void tell_hook(struct engine_router *router, enum engine_hook_state state)
{
	uint8_t bytes[16];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, router->snapshot->conf.number);
	wire_put_u16(&w, (uint16_t)router->place);
	wire_put_u8(&w, (uint8_t)state);
	wire_put_u8(&w, router->fsm.priority);
	engine_tell(router->engine, ENGINE_MSG_HOOK_RUN, &w, -1);
}

/* ---- actions ---- */

static void do_transition(struct engine_router *router, const struct vrrp_action *action)
{
	enum vrrp_state to = action->u.transition.to;
	enum vrrp_cause cause = action->u.transition.cause;
	int node = action->u.transition.node;
	char name[IP_TEXT_MAX];

	/* The simulator's trace says it in the same words. */
	log_notice("%s: %s -> %s cause=%s prio=%d%s%s", router->conf->name,
		   vrrp_fsm_state_name(action->u.transition.from), vrrp_fsm_state_name(to),
		   vrrp_fsm_cause_name(cause), router->fsm.priority, node >= 0 ? " by=" : "",
		   node >= 0 ? engine_node_name(router, node, name) : "");
	if (to == VRRP_FAULT && *router->trouble)
		log_warn("%s: %s", router->conf->name, router->trouble);
	engine_mail_transition(router, action);
	router->record_due = true;
	engine_checks_state(router->engine, router);
	if (action->u.transition.from == VRRP_LEAVING)
		engine_soon(router->engine); /* somebody may wait for it */
	switch (to) {
	case VRRP_BACKUP:
		tell_hook(router, ENGINE_HOOK_BACKUP);
		break;
	case VRRP_MASTER:
		/* Nobody but the engine noticed that there was another one. */
		if (cause != VRRP_CAUSE_RESUMED)
			tell_hook(router, ENGINE_HOOK_MASTER);
		break;
	case VRRP_FAULT:
		tell_hook(router, ENGINE_HOOK_FAULT);
		break;
	case VRRP_INIT:
	case VRRP_LEAVING:
	case VRRP_STATES:
		break;
	}
}

static void do_alarm(struct engine_router *router, enum vrrp_alarm alarm)
{
	router->alarms[alarm].count++;
	router->alarms[alarm].last_us = now_us(router);
	if (alarm == VRRP_ALARM_SEND_FAILED)
		log_warn("%s: %s (%s)", router->conf->name, vrrp_fsm_alarm_text(alarm),
			 strerror(router->send_errno));
	else
		log_warn("%s: %s", router->conf->name, vrrp_fsm_alarm_text(alarm));
}

static void carry_out(struct engine_router *router, const struct vrrp_action *action)
{
	switch (action->type) {
	case VRRP_DO_SEND:
		engine_packets_send(router, action->u.priority);
		break;
	case VRRP_DO_HOLD:
		engine_vips_hold(router);
		engine_routes_hold(router);
		break;
	case VRRP_DO_RELEASE:
		engine_routes_release(router);
		engine_vips_release(router);
		break;
	case VRRP_DO_ANNOUNCE:
		engine_announce(router, action->u.announce);
		break;
	case VRRP_DO_WATCH:
		engine_vips_watch(router);
		break;
	case VRRP_DO_UNWATCH:
		engine_vips_unwatch(router);
		break;
	case VRRP_DO_TRANSITION:
		do_transition(router, action);
		break;
	case VRRP_DO_ALARM:
		do_alarm(router, action->u.alarm);
		break;
	case VRRP_DO_STOPPED:
		tell_hook(router, ENGINE_HOOK_STOP);
		router->stopped = true;
		engine_soon(router->engine);
		break;
	case VRRP_ACTION_TYPES:
		assert(false);
	}
}

static void step_once(struct engine_router *router, const struct vrrp_event *ev)
{
	struct vrrp_actions actions;

	vrrp_fsm_step(&router->fsm, ev, &actions);
	for (int i = 0; i < actions.count; i++)
		carry_out(router, &actions.list[i]);
}

/* What went wrong on the way, before any other event. */
static bool next_failure(struct engine_router *router, struct vrrp_event *ret_ev)
{
	memset(ret_ev, 0, sizeof *ret_ev);
	ret_ev->now_us = now_us(router);
	if (router->hold_failed) {
		router->hold_failed = false;
		ret_ev->type = VRRP_EV_HOLD_FAILED;
	} else if (router->send_failed) {
		router->send_failed = false;
		ret_ev->type = VRRP_EV_SEND_FAILED;
	} else if (router->address_lost) {
		router->address_lost = false;
		ret_ev->type = VRRP_EV_ADDRESS_LOST;
	} else {
		return false;
	}
	return true;
}

static void set_timer(struct engine_router *router)
{
	const uint64_t fsm_us = vrrp_fsm_deadline(&router->fsm);
	const uint64_t ask_us = engine_rivals_due_us(router);
	const uint64_t first_us = ask_us < fsm_us ? ask_us : fsm_us;

	/* What should have been before now is not late for that. */
	router->due_us = router->stopped	     ? LOOP_NEVER_US
			 : first_us > now_us(router) ? first_us
						     : now_us(router);
	loop_timer_set(router->timer, router->due_us);
}

void engine_router_step(struct engine_router *router, const struct vrrp_event *ev)
{
	struct vrrp_event failure;

	if (router->stopped)
		return;
	assert(!router->stepping);
	router->stepping = true;
	step_once(router, ev);
	for (int i = 0; i < FAILURES_MAX && !router->stopped && next_failure(router, &failure); i++)
		step_once(router, &failure);
	router->stepping = false;
	set_timer(router);
	if (router->record_due)
		send_record(router);
	engine_group_judge(router);
}

static void on_timer(void *ctx)
{
	struct engine_router *router = ctx;

	engine_timer_fires(router->engine, router->due_us);
	/* Invariant A6: what is queued is heard before a deadline fires. */
	if (router->socket)
		engine_sockets_drain(router->socket);
	if (engine_rivals_due_us(router) <= now_us(router))
		engine_rivals_ask(router);
	if (vrrp_fsm_deadline(&router->fsm) <= now_us(router))
		engine_router_event(router, VRRP_EV_TIMER);
	else
		set_timer(router);
}

void engine_router_event(struct engine_router *router, enum vrrp_event_type type)
{
	const struct vrrp_event ev = {.type = type, .now_us = now_us(router)};

	engine_router_step(router, &ev);
}

void engine_router_away(struct engine_router *router, uint64_t pause_us)
{
	const struct vrrp_event ev = {
		.type = VRRP_EV_AWAY, .now_us = now_us(router), .u.away.pause_us = pause_us};

	engine_router_step(router, &ev);
}

/* ---- what the world is like ---- */

static bool find_source(struct engine_router *router, struct ip_addr *ret_source)
{
	const struct netmon *netmon = router->engine->netmon;
	int self = router->wire.self;
	const struct ip_addr *wanted = engine_node_source(router->snapshot, router->conf, self);

	const bool on_link = router->conf->multicast || ip_is_link_local(wanted);

	if (netmon_address_find(netmon, on_link ? router->ifindex : 0, wanted)) {
		*ret_source = *wanted;
		return true;
	}
	/* Multicast leaves by the interface, so any address of its own will do unless the file
	 * names one. */
	if (router->conf->multicast && router->conf->sources[self].family == IP_NONE)
		return netmon_own_address(netmon, router->ifindex, ret_source);
	return false;
}

static bool is_usable(struct engine_router *router, const struct netmon_link *link)
{
	const struct engine_check *fault;
	struct ip_addr source;
	char text[IP_TEXT_MAX];
	int self = router->wire.self, error;

	if (!link || !link->up) {
		snprintf(router->trouble, sizeof router->trouble, "interface %s %s",
			 interface_of(router), link ? "is down" : "does not exist");
		return false;
	}
	if (!find_source(router, &source)) {
		snprintf(router->trouble, sizeof router->trouble,
			 "the source address %s is not on %s%s",
			 ip_format(engine_node_source(router->snapshot, router->conf, self), text),
			 router->conf->multicast ? interface_of(router) : "this host",
			 router->conf->family == IP_V6
				 ? ", or duplicate address detection is not through with it"
				 : "");
		return false;
	}
	if (!ip_equal(&source, &router->wire.nodes[self])) {
		router->wire.nodes[self] = source;
		engine_sockets_part(router);
		router->record_due = true;
	}
	if (!router->socket) {
		error = engine_sockets_join(router, 0);
		if (error) {
			snprintf(router->trouble, sizeof router->trouble,
				 "the VRRP socket on %s cannot be opened: %s", interface_of(router),
				 strerror(-error));
			return false;
		}
	}
	if (!engine_vmac_look(router)) {
		snprintf(router->trouble, sizeof router->trouble,
			 "its interface %s is not there%s%.100s", router->conf->vmac,
			 *router->vmac_trouble ? ": " : "", router->vmac_trouble);
		return false;
	}
	/* Last: so the socket is there, and a priority 0 can still be sent. */
	fault = engine_check_fault(router);
	if (fault) {
		snprintf(router->trouble, sizeof router->trouble, "the check %s has failed: %.100s",
			 fault->conf->name, fault->detail);
		return false;
	}
	router->trouble[0] = '\0';
	return true;
}

/* Returns whether link_up changed. */
static bool look(struct engine_router *router)
{
	const struct netmon_link *link =
		netmon_link_by_name(router->engine->netmon, interface_of(router));
	const struct engine_router *fellow;
	int ifindex = link ? link->ifindex : 0;
	bool up;

	if (router->ifindex != ifindex) {
		if (router->ifindex)
			engine_sockets_part(router); /* bound to one that has gone */
		router->ifindex = ifindex;
	}
	router->has_mac = link && link->has_mac;
	if (link)
		memcpy(router->mac, link->mac, sizeof router->mac);
	up = is_usable(router, link);
	if (!router->looked || up != router->usable) {
		/* The others of its group look again. */
		router->looked = true;
		router->usable = up;
		if (router->conf->group >= 0) {
			router->engine->look_due = true;
			engine_soon(router->engine);
		}
	}
	fellow = up ? engine_group_fault(router) : NULL;
	if (fellow) {
		snprintf(router->trouble, sizeof router->trouble, "%s of its group: %.100s",
			 fellow->conf->name, fellow->trouble);
		up = false;
	}
	if (up == router->link_up)
		return false;
	router->link_up = up;
	if (up) {
		router->greetings = ENGINE_GREETINGS;
		engine_packets_greet(router);
	}
	return true;
}

static void tell_link(struct engine_router *router)
{
	const struct vrrp_event ev = {
		.type = VRRP_EV_LINK, .now_us = now_us(router), .u.link.up = router->link_up};

	engine_router_step(router, &ev);
}

static void tell_conf(struct engine_router *router, bool vips_changed);

void engine_router_look(struct engine_router *router)
{
	bool changed;

	if (!router->started || router->stopped)
		return;
	changed = look(router);
	tell_conf(router, false); /* the source address may be another one now */
	if (changed && !router->stopped)
		tell_link(router);
	if (router->stopped)
		return;
	engine_vips_make_room(router);
	if (router->record_due)
		send_record(router);
}

void engine_router_health(struct engine_router *router)
{
	const struct conf_vrrp *v = router->conf;
	struct health_track tracks[CONF_TRACKS_MAX];
	struct vrrp_event ev = {.type = VRRP_EV_HEALTH, .now_us = now_us(router)};
	struct health_rank rank;

	for (int i = 0; i < v->tracks_count; i++) {
		const char *name = conf_of(router->snapshot)->checks[v->tracks[i].check].name;
		const struct engine_check *check = engine_check_find(router->engine, name);

		tracks[i] = (struct health_track){
			.state = check ? check->health.state : HEALTH_UNDETERMINED,
			.weight = v->tracks[i].weight,
			.reverse = v->tracks[i].reverse,
			.valued = check && check->conf->kind == CONF_CHECK_FILE,
			.value = check ? check->value : 0,
		};
		/* Its failure is FAULT, which has no rank. */
		if (check && engine_check_is_fault(router, &v->tracks[i]) &&
		    check->health.state != HEALTH_UNDETERMINED)
			tracks[i].state = v->tracks[i].reverse ? HEALTH_DOWN : HEALTH_UP;
	}
	router->health_due = false;
	rank = health_fsm_rank((uint8_t)v->priorities[router->wire.self], tracks, v->tracks_count);
	ev.u.health.priority = rank.priority;
	ev.u.health.undetermined = rank.undetermined;
	engine_router_step(router, &ev);
	if (router->started && !router->stopped && router->fsm.state == VRRP_MASTER)
		send_record(router); /* the priority is in it */
}

/* ---- start, reload, stop ---- */

static bool same_conf(const struct vrrp_conf *a, const struct vrrp_conf *b)
{
	if (a->version != b->version || a->advert_int_us != b->advert_int_us ||
	    a->down_adverts != b->down_adverts || a->self != b->self ||
	    a->nodes_count != b->nodes_count || a->grouped != b->grouped ||
	    a->group_skew_us != b->group_skew_us || a->nopreempt != b->nopreempt ||
	    a->preempt_delay_us != b->preempt_delay_us || a->stop_wait_us != b->stop_wait_us ||
	    a->undetermined_wait_us != b->undetermined_wait_us ||
	    a->garp_master_delay_us != b->garp_master_delay_us ||
	    a->garp_master_refresh_us != b->garp_master_refresh_us ||
	    a->garp_lower_prio_delay_us != b->garp_lower_prio_delay_us)
		return false;
	for (int i = 0; i < a->nodes_count; i++)
		if (a->nodes[i].priority != b->nodes[i].priority ||
		    a->nodes[i].foreign != b->nodes[i].foreign ||
		    a->nodes[i].unsaid != b->nodes[i].unsaid ||
		    !ip_equal(&a->nodes[i].address, &b->nodes[i].address))
			return false;
	return true;
}

/* A router that did not change is not disturbed, not even by an event. */
static void tell_conf(struct engine_router *router, bool vips_changed)
{
	struct vrrp_conf conf;
	struct vrrp_event ev = {.type = VRRP_EV_CONF, .now_us = now_us(router)};

	engine_router_fsm_conf(router->snapshot, router->conf, &router->wire, &conf);
	if (!vips_changed && same_conf(&conf, &router->fsm.conf))
		return;
	ev.u.conf.conf = &conf;
	ev.u.conf.vips_changed = vips_changed;
	router->record_due = true;
	engine_router_step(router, &ev);
}

void engine_router_start(struct engine_router *router, const struct agent_record *record)
{
	struct vrrp_event ev = {.type = VRRP_EV_START, .now_us = now_us(router)};
	const struct netmon_link *link =
		netmon_link_by_name(router->engine->netmon, interface_of(router));

	if (record && link) {
		router->ifindex = link->ifindex;
		router->wire.nodes[router->wire.self] = record->source;
		if (engine_sockets_join(router, record->socket))
			log_err("%s: its old socket cannot be used", router->conf->name);
		engine_vips_adopt(router, record);
		router->routes_held = true;
	}
	look(router);
	tell_conf(router, false);
	tell_link(router);
	engine_router_health(router);
	if (router->engine->maintenance)
		engine_moves_tell(router);
	engine_moves_remember(router);
	router->started = true;
	if (record && link) {
		ev.type = VRRP_EV_RESUME;
		ev.u.resume.last_advert_us = record->last_advert_us;
		ev.u.resume.priority = record->priority;
	} else if (engine_quiet_until_us(router->engine) > ev.now_us)
		ev.u.start.quiet_until_us = engine_quiet_until_us(router->engine);
	router->record_due = true;
	engine_router_step(router, &ev);
	/* An address that did not survive its engine is lost like any other. */
	for (int i = 0; i < router->held_count; i++)
		if (!netmon_address_find(router->engine->netmon, router->held[i].ifindex,
					 &router->held[i].prefix.addr))
			router->address_lost = true;
	if (router->address_lost) {
		router->address_lost = false;
		engine_router_event(router, VRRP_EV_ADDRESS_LOST);
	}
}

/* Not the label, the scope and the broadcast address: they are given when the address is added. */
static bool same_vip(const struct conf_vrrp *a_of, const struct conf_vip *a,
		     const struct conf_vrrp *b_of, const struct conf_vip *b, int self)
{
	const char *a_dev = conf_vip_interface(a_of, a, self);
	const char *b_dev = conf_vip_interface(b_of, b, self);

	return ip_equal(&a->prefix.addr, &b->prefix.addr) && a->excluded == b->excluded && a_dev &&
	       b_dev && !strcmp(a_dev, b_dev);
}

void engine_router_reload(struct engine_router *router, struct agent_snapshot *snapshot, int place)
{
	const struct conf_vrrp *before = router->conf;
	struct agent_snapshot *old = router->snapshot;
	struct ip_addr source = router->wire.nodes[router->wire.self];
	bool vips_changed;

	router->snapshot = agent_snapshot_hold(snapshot);
	router->place = place;
	router->conf = &conf_of(snapshot)->vrrps[place];
	vips_changed = before->vips_count != router->conf->vips_count;
	for (int i = 0; i < before->vips_count && !vips_changed; i++)
		vips_changed = !same_vip(before, &before->vips[i], router->conf,
					 &router->conf->vips[i], router->wire.self);
	engine_router_wire_conf(snapshot, router->conf, &router->wire);
	router->wire.nodes[router->wire.self] = source;
	tell_conf(router, vips_changed);
	engine_routes_change(router, before);
	agent_snapshot_drop(old);
	engine_router_look(router);
	if (!router->stopped)
		engine_router_health(router);
}

void engine_router_stop(struct engine_router *router)
{
	if (router->leaving)
		return;
	router->leaving = true;
	engine_router_event(router, VRRP_EV_STOP);
}
