/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/announce.h"
#include "agent/engine_private.h"
#include "shared/log.h"

/* The lease that the kernel is given: if nobody renews it, the address goes (design: "When the
 * engine dies or hangs"). Never shorter than what a restart of the engine may take. */
#define LEASE_S_MIN 3

static uint32_t lease_s(const struct engine_router *router)
{
	uint64_t down_us = vrrp_fsm_master_down_us(&router->fsm.conf, VRRP_PRIORITY_LEAVE,
						   router->fsm.conf.advert_int_us);
	uint64_t seconds = (2 * down_us + 999999) / 1000000;

	return seconds < LEASE_S_MIN ? LEASE_S_MIN : (uint32_t)seconds;
}

static struct engine_held *find_held(struct engine_router *router, const struct ip_addr *addr)
{
	for (int i = 0; i < router->held_count; i++)
		if (ip_equal(&router->held[i].prefix.addr, addr))
			return &router->held[i];
	return NULL;
}

static const struct conf_vip *find_vip(const struct conf_vrrp *v, const struct ip_addr *addr)
{
	for (int i = 0; i < v->vips_count; i++)
		if (ip_equal(&v->vips[i].prefix.addr, addr))
			return &v->vips[i];
	return NULL;
}

/* Where vip lives; 0: there is no such interface. */
static int ifindex_of(const struct engine_router *router, const struct conf_vip *vip)
{
	const char *name = conf_vip_interface(router->conf, vip, router->wire.self);
	const struct netmon_link *link;

	if (conf_vip_on_vmac(router->conf, vip))
		return router->vmac_ifindex;
	if (!vip->devs || !name)
		return router->ifindex;
	link = netmon_link_by_name(router->engine->netmon, name);
	return link ? link->ifindex : 0;
}

bool engine_vips_wanted(const struct engine_router *router, const struct engine_held *held)
{
	const struct conf_vip *vip = find_vip(router->conf, &held->prefix.addr);

	return vip && ifindex_of(router, vip) == held->ifindex;
}

static struct address_options options_of(const struct conf_vip *vip)
{
	struct address_options options = {.scope = vip->scope, .broadcast = vip->broadcast};

	memcpy(options.label, vip->label, sizeof options.label);
	return options;
}

/* By the newest file, which the router itself may not have been told of yet. */
static bool will_want(const struct engine_router *router, const struct engine_held *held)
{
	const struct agent_snapshot *newest = router->engine->snapshot;
	int place = conf_vrrp_index(newest->conf.conf, router->conf->name);
	const struct conf_vrrp *v;
	const struct conf_vip *vip;
	const struct netmon_link *link;

	if (place < 0 || !engine_router_is(router, newest, place))
		return false;
	v = &newest->conf.conf->vrrps[place];
	vip = find_vip(v, &held->prefix.addr);
	link = netmon_link_by_index(router->engine->netmon, held->ifindex);
	return vip && link && !strcmp(conf_vip_interface(v, vip, router->wire.self), link->name);
}

/* Another router that holds its addresses, this one among them: a reload moved it there. */
static struct engine_router *heir_of(const struct engine_router *router,
				     const struct engine_held *held)
{
	for (struct engine_router *other = router->engine->routers; other; other = other->next)
		if (other != router && vrrp_fsm_holds(&other->fsm) && will_want(other, held))
			return other;
	return NULL;
}

static void append(struct engine_router *router, int ifindex, const struct ip_prefix *prefix,
		   bool ours)
{
	struct engine_held *held;

	if (router->held_count == ENGINE_HELD_MAX)
		return; /* twice what one configuration can name: a reload's old and new ones */
	held = &router->held[router->held_count++];
	*held = (struct engine_held){.ifindex = ifindex, .prefix = *prefix, .ours = ours};
	router->record_due = true;
}

/* The interface whose subnets count: of an interface of the router's own the one below it. */
static int below(const struct engine_router *router, int ifindex)
{
	return ifindex == router->vmac_ifindex ? router->ifindex : ifindex;
}

/* As a host's own address where the interface has the subnet: a service address that became the
 * subnet's primary one would take the node's own with it when it goes. */
static void choose_prefix(const struct engine_router *router, int ifindex,
			  const struct ip_prefix *wanted, struct ip_prefix *ret_prefix)
{
	*ret_prefix = *wanted;
	if (netmon_has_subnet(router->engine->netmon, ifindex, &wanted->addr) ||
	    netmon_has_subnet(router->engine->netmon, below(router, ifindex), &wanted->addr))
		ret_prefix->prefix_len = (uint8_t)(ip_size(&wanted->addr) * 8);
}

static int hold_one(struct engine_router *router, const struct conf_vip *vip)
{
	struct engine *engine = router->engine;
	const struct ip_prefix *wanted = &vip->prefix;
	const char *interface = conf_vip_interface(router->conf, vip, router->wire.self);
	const int ifindex = ifindex_of(router, vip);
	const struct address_options options = options_of(vip);
	const struct netmon_address *there =
		ifindex ? netmon_address_find(engine->netmon, ifindex, &wanted->addr) : NULL;
	struct engine_held *held = find_held(router, &wanted->addr);
	struct ip_prefix prefix;
	char text[IP_TEXT_MAX];
	int error;

	if (held && there && held->ifindex == ifindex)
		return 0;
	if (held && held->ifindex != ifindex)
		held = NULL; /* it stays where it is until this one is there */
	if (there && there->protocol == ADDRESS_PROTOCOL) {
		/* Ours, from another router of this agent. */
		append(router, ifindex, &there->prefix, true);
		return 0;
	}
	if (there) {
		log_notice("%s: %s is already on %s and not ours: it is left alone",
			   router->conf->name, ip_format(&wanted->addr, text), interface);
		append(router, ifindex, &there->prefix, false);
		return 0;
	}
	choose_prefix(router, ifindex, wanted, &prefix);
	error = !ifindex ? -ENODEV
			 : address_add(engine->addresses, ifindex, &prefix, &options,
				       lease_s(router));
	if (error == -EEXIST)
		error = address_renew(engine->addresses, ifindex, &prefix, &options,
				      lease_s(router));
	if (error) {
		log_err("%s: %s cannot be added to %s: %s", router->conf->name,
			ip_format(&wanted->addr, text), interface, strerror(-error));
		return error;
	}
	if (held)
		*held = (struct engine_held){.ifindex = ifindex, .prefix = prefix, .ours = true};
	else
		append(router, ifindex, &prefix, true);
	router->record_due = true;
	/* With this one the interface has the subnet: the next one of it needs no more. */
	if (prefix.prefix_len < ip_size(&prefix.addr) * 8)
		netmon_catch_up(engine->netmon);
	return 0;
}

/* From another prefix to prefix, without a moment in between. */
static int refit_one(struct engine_router *router, struct engine_held *held,
		     const struct address_options *options, const struct ip_prefix *prefix)
{
	const struct ip_prefix before = held->prefix;
	int error = address_add(router->engine->addresses, held->ifindex, prefix, options,
				lease_s(router));

	if (error)
		return error;
	held->prefix = *prefix;
	router->record_due = true;
	(void)address_remove(router->engine->addresses, held->ifindex, &before);
	netmon_catch_up(router->engine->netmon);
	return 0;
}

/* The address that brought the subnet has gone, and with it the way to its hosts: another one of
 * the same subnet brings it again. */
static void refit(struct engine_router *router)
{
	for (int i = 0; i < router->conf->vips_count; i++) {
		const struct conf_vip *vip = &router->conf->vips[i];
		const struct address_options options = options_of(vip);
		struct engine_held *held = find_held(router, &vip->prefix.addr);
		struct ip_prefix prefix;

		if (!held || !held->ours)
			continue;
		choose_prefix(router, held->ifindex, &vip->prefix, &prefix);
		if (prefix.prefix_len < held->prefix.prefix_len)
			(void)refit_one(router, held, &options, &prefix);
	}
}

/* Ours goes, and the node's own must not go with it; nor the routes that name it, which even a
 * moment without it would cost: so this is done as soon as it comes, before there are any. */
void engine_vips_make_room(struct engine_router *router)
{
	for (int i = 0; i < router->held_count; i++) {
		struct engine_held *held = &router->held[i];
		const struct conf_vip *vip = find_vip(router->conf, &held->prefix.addr);
		struct ip_prefix prefix = held->prefix;
		struct address_options options;

		if (!vip || !held->ours || prefix.addr.family != IP_V4 || prefix.prefix_len == 32 ||
		    (!netmon_has_kin(router->engine->netmon, held->ifindex, &prefix) &&
		     !netmon_has_kin(router->engine->netmon, below(router, held->ifindex),
				     &prefix)))
			continue;
		options = options_of(vip);
		prefix.prefix_len = 32;
		(void)refit_one(router, held, &options, &prefix); /* or else when it goes */
	}
}

static void remove_one(struct engine_router *router, int at)
{
	struct engine_held held = router->held[at];
	struct engine_router *heir = heir_of(router, &held);
	char text[IP_TEXT_MAX];
	int error;

	/* Forgotten before it goes, so that the kernel's news of it is not taken for a loss. */
	memmove(router->held + at, router->held + at + 1,
		(size_t)(router->held_count - at - 1) * sizeof *router->held);
	router->held_count--;
	router->record_due = true;
	if (heir) {
		if (!find_held(heir, &held.prefix.addr))
			append(heir, held.ifindex, &held.prefix, held.ours);
		return;
	}
	if (!held.ours)
		return;
	error = address_remove(router->engine->addresses, held.ifindex, &held.prefix);
	if (error && error != -EADDRNOTAVAIL && error != -ENODEV)
		log_err("%s: %s cannot be removed: %s", router->conf->name,
			ip_format(&held.prefix.addr, text), strerror(-error));
}

void engine_vips_hold(struct engine_router *router)
{
	int failed = 0;

	/* What is new comes before what is old goes. */
	netmon_catch_up(router->engine->netmon);
	for (int i = 0; i < router->conf->vips_count; i++)
		if (hold_one(router, &router->conf->vips[i]))
			failed++;
	for (int i = router->held_count - 1; i >= 0; i--)
		if (!engine_vips_wanted(router, &router->held[i]))
			remove_one(router, i);
	router->renewed_us = loop_now_us(router->engine->loop);
	if (failed)
		router->hold_failed = true;
	netmon_catch_up(router->engine->netmon);
	refit(router);
}

void engine_vips_release(struct engine_router *router)
{
	for (int i = router->held_count - 1; i >= 0; i--)
		remove_one(router, i);
	netmon_catch_up(router->engine->netmon);
}

static void hear(struct engine_router *router, const struct ip_addr *addr)
{
	struct engine_held *held = find_held(router, addr);
	struct vrrp_event ev = {.type = VRRP_EV_ANNOUNCED,
				.now_us = loop_now_us(router->engine->loop)};

	if (!held || held->announced)
		return;
	held->announced = true;
	/* A successor announces one after another, in whatever order it has them. */
	for (int i = 0; i < router->held_count; i++)
		if (!router->held[i].announced)
			return;
	engine_router_step(router, &ev);
}

static void on_announcement(void *ctx, int fd, uint32_t events)
{
	struct engine_listener *listener = ctx;
	struct engine *engine = listener->engine;
	const struct netmon_link *link = netmon_link_by_index(engine->netmon, listener->ifindex);
	uint8_t mac[6];

	(void)events;
	if (!link)
		return; /* its end is on the way */
	memcpy(mac, link->mac, sizeof mac);
	for (int i = 0; i < 256; i++) {
		struct ip_addr addr;
		int error = announce_receive(fd, mac, &addr, NULL);

		if (error == -EBADMSG)
			continue;
		if (error)
			break;
		for (struct engine_router *router = engine->routers; router; router = router->next)
			for (int ear = 0; ear < ENGINE_EARS_MAX; ear++)
				if (router->watches[ear] == listener)
					hear(router, &addr);
	}
}

static int listener_on(struct engine *engine, int ifindex, enum ip_family family,
		       struct engine_listener **ret_listener)
{
	struct engine_listener *listener;
	int error;

	for (listener = engine->listeners; listener; listener = listener->next) {
		if (listener->ifindex == ifindex && listener->family == family) {
			*ret_listener = listener;
			return 0;
		}
	}
	listener = calloc(1, sizeof *listener);
	if (!listener)
		return -ENOMEM;
	listener->engine = engine;
	listener->ifindex = ifindex;
	listener->family = family;
	error = announce_listen(ifindex, family, &listener->fd);
	if (!error) {
		error = loop_fd_add(engine->loop, listener->fd, EPOLLIN, on_announcement, listener,
				    &listener->source);
		if (error)
			close(listener->fd);
	}
	if (error) {
		free(listener);
		return error;
	}
	listener->next = engine->listeners;
	engine->listeners = listener;
	*ret_listener = listener;
	return 0;
}

/* Opens an ear for where held lives, unless one is open. */
static int watch_one(struct engine_router *router, const struct engine_held *held)
{
	/* Two that share a virtual hardware address hear each other on the interface below. */
	const int ifindex = below(router, held->ifindex);
	const struct netmon_link *link = netmon_link_by_index(router->engine->netmon, ifindex);
	struct engine_listener *listener;
	struct ip_addr old;
	int ear = 0;
	int error = link && link->has_mac ? listener_on(router->engine, ifindex,
							held->prefix.addr.family, &listener)
					  : -ENODEV;

	if (error)
		return error;
	for (; ear < ENGINE_EARS_MAX && router->watches[ear]; ear++)
		if (router->watches[ear] == listener)
			return 0;
	if (ear == ENGINE_EARS_MAX)
		return -ENOSPC;
	if (!listener->watchers) {
		uint8_t mac[6];

		memcpy(mac, link->mac, sizeof mac);
		/* What an earlier watch left unread says nothing of this one. */
		while ((error = announce_receive(listener->fd, mac, &old, NULL)) != -EAGAIN)
			if (error && error != -EBADMSG)
				break;
		error = announce_hear(listener->fd, listener->family, true);
	}
	if (error)
		return error;
	listener->watchers++;
	router->watches[ear] = listener;
	return 0;
}

void engine_vips_watch(struct engine_router *router)
{
	int error = 0;

	engine_vips_unwatch(router);
	for (int i = 0; i < router->held_count; i++) {
		router->held[i].announced = false;
		if (!error)
			error = watch_one(router, &router->held[i]);
	}
	if (error)
		/* The core then goes by the successor's advert. */
		log_warn("%s: announcements cannot be watched for: %s", router->conf->name,
			 strerror(-error));
}

void engine_vips_unwatch(struct engine_router *router)
{
	for (int ear = 0; ear < ENGINE_EARS_MAX; ear++) {
		struct engine_listener *listener = router->watches[ear];

		router->watches[ear] = NULL;
		if (listener && --listener->watchers == 0)
			(void)announce_hear(listener->fd, listener->family, false);
	}
}

void engine_vips_forget(struct engine *engine, int ifindex)
{
	for (struct engine_listener **link = &engine->listeners; *link;) {
		struct engine_listener *listener = *link;

		if (ifindex && listener->ifindex != ifindex) {
			link = &listener->next;
			continue;
		}
		for (struct engine_router *router = engine->routers; router; router = router->next)
			for (int ear = 0; ear < ENGINE_EARS_MAX; ear++)
				if (router->watches[ear] == listener)
					router->watches[ear] = NULL;
		*link = listener->next;
		loop_fd_remove(listener->source);
		close(listener->fd);
		free(listener);
	}
}

void engine_vips_renew(struct engine_router *router)
{
	uint64_t now_us = loop_now_us(router->engine->loop);
	uint32_t lease = lease_s(router);

	if (!router->held_count || now_us - router->renewed_us < (uint64_t)lease * 1000000 / 3)
		return;
	router->renewed_us = now_us;
	for (int i = 0; i < router->held_count; i++) {
		struct engine_held *held = &router->held[i];
		const struct conf_vip *vip = find_vip(router->conf, &held->prefix.addr);
		const struct address_options options =
			vip ? options_of(vip) : (struct address_options){0};
		char text[IP_TEXT_MAX];
		int error;

		/* One that is lost comes back when the core says so, and not by accident. */
		if (!held->ours ||
		    !netmon_address_find(router->engine->netmon, held->ifindex, &held->prefix.addr))
			continue;
		error = address_renew(router->engine->addresses, held->ifindex, &held->prefix,
				      &options, lease);
		if (error)
			log_err("%s: the lease of %s cannot be renewed: %s", router->conf->name,
				ip_format(&held->prefix.addr, text), strerror(-error));
	}
}

void engine_vips_adopt(struct engine_router *router, const struct agent_record *record)
{
	for (int i = 0; i < record->addresses_count; i++)
		append(router, record->addresses[i].ifindex, &record->addresses[i].prefix, true);
	router->renewed_us = 0;
}

void engine_vips_gone(struct engine_router *router, const struct netmon_address *address)
{
	for (int i = 0; i < router->held_count; i++)
		if (router->held[i].ifindex == address->ifindex &&
		    router->held[i].prefix.prefix_len == address->prefix.prefix_len &&
		    ip_equal(&router->held[i].prefix.addr, &address->prefix.addr))
			router->address_lost = true;
	if (router->address_lost)
		engine_soon(router->engine);
}
