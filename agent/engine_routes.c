/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/engine_private.h"
#include "agent/route.h"
#include "shared/log.h"

#define ROUTE_TEXT_MAX (IP_TEXT_MAX + 8)

static const char *text_of(const struct conf_route *route, char text[ROUTE_TEXT_MAX])
{
	char addr[IP_TEXT_MAX];

	snprintf(text, ROUTE_TEXT_MAX, "%s/%d", ip_format(&route->destination.addr, addr),
		 route->destination.prefix_len);
	return text;
}

/* From what the kernel has told, not by a call: the engine's table of system calls has no ioctl. */
static int ifindex_of(const struct engine_router *router, const char *interface)
{
	const struct netmon_link *link = netmon_link_by_name(router->engine->netmon, interface);

	return link ? link->ifindex : 0;
}

static void remove_one(struct engine_router *router, const struct conf_vrrp *v,
		       const struct conf_route *route)
{
	const char *interface = conf_route_interface(v, route, router->wire.self);
	char text[ROUTE_TEXT_MAX];
	int error = interface ? route_remove(router->engine->routes, ifindex_of(router, interface),
					     route)
			      : 0;

	/* -ESRCH: the kernel took it with the address or the interface, or it was never ours. */
	if (error && error != -ESRCH && error != -ENODEV)
		log_err("%s: the route to %s cannot be removed: %s", v->name, text_of(route, text),
			strerror(-error));
}

void engine_routes_hold(struct engine_router *router)
{
	const struct conf_vrrp *v = router->conf;

	for (int i = 0; i < v->routes_count; i++) {
		const struct conf_route *route = &v->routes[i];
		const char *interface = conf_route_interface(v, route, router->wire.self);
		char text[ROUTE_TEXT_MAX];
		int error = interface ? route_add(router->engine->routes,
						  ifindex_of(router, interface), route)
				      : 0;

		/* A route is no reason to give the addresses away: they serve without it. */
		if (error == -EEXIST && !router->routes_held)
			log_notice("%s: a route to %s is already there: it is left alone", v->name,
				   text_of(route, text));
		else if (error && error != -EEXIST)
			log_err("%s: the route to %s cannot be added on %s: %s", v->name,
				text_of(route, text), interface, strerror(-error));
	}
	router->routes_held = true;
}

void engine_routes_release(struct engine_router *router)
{
	for (int i = 0; i < router->conf->routes_count; i++)
		remove_one(router, router->conf, &router->conf->routes[i]);
	router->routes_held = false;
}

static bool is_in(const struct conf_vrrp *v, const struct conf_route *route, const char *interface,
		  int self)
{
	for (int i = 0; i < v->routes_count; i++) {
		const char *other = conf_route_interface(v, &v->routes[i], self);

		if (conf_route_equal(&v->routes[i], route) && other && interface &&
		    !strcmp(other, interface))
			return true;
	}
	return false;
}

void engine_routes_change(struct engine_router *router, const struct conf_vrrp *before)
{
	const int self = router->wire.self;

	if (!router->routes_held)
		return;
	for (int i = 0; i < before->routes_count; i++) {
		const struct conf_route *route = &before->routes[i];

		if (!is_in(router->conf, route, conf_route_interface(before, route, self), self))
			remove_one(router, before, route);
	}
	engine_routes_hold(router);
}
