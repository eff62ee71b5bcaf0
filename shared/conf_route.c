/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_route: `virtual_routes` of a `vrrp` entry.
 */
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

static const char *const known[] = {"destination", "via", "dev", "src", "table", "metric", NULL};

static const struct conf_hint hints[] = {
	{"to", "the setting is called destination"},
	{"gw", "the setting is called via"},
	{"gateway", "the setting is called via"},
	{"interface", "the setting is called dev"},
	{"no_track", "remove it: a route that somebody removes changes no state"},
	{NULL, NULL},
};

void conf_route_release(struct conf_route *route)
{
	for (int i = 0; route->devs && i < CONF_NODES_MAX; i++)
		free(route->devs[i]);
	free(route->devs);
}

const char *conf_route_interface(const struct conf_vrrp *vrrp, const struct conf_route *route,
				 int node)
{
	if (vrrp->priorities[node] == 0)
		return NULL;
	return route->devs ? route->devs[node] : vrrp->interfaces[node];
}

bool conf_route_equal(const struct conf_route *a, const struct conf_route *b)
{
	return ip_equal(&a->destination.addr, &b->destination.addr) &&
	       a->destination.prefix_len == b->destination.prefix_len &&
	       ip_equal(&a->via, &b->via) && ip_equal(&a->src, &b->src) && a->table == b->table &&
	       a->metric == b->metric;
}

static bool is_network(const struct ip_prefix *prefix)
{
	for (unsigned bit = prefix->prefix_len; bit < 8 * ip_size(&prefix->addr); bit++)
		if (prefix->addr.bytes[bit / 8] & (0x80 >> bit % 8))
			return false;
	return true;
}

static bool read_destination(const struct conf_scope *group, struct conf_route *route)
{
	static const char example[] = "destination = \"203.0.113.0/24\"; or \"default\";";
	char *text = NULL;
	bool good = true;

	if (!conf_get(group, "destination")) {
		conf_required(group, "destination", example);
		return false;
	}
	if (!conf_read_string(group, "destination", example, &text))
		return false;
	if (strcmp(text, "default") == 0) {
		route->destination.addr.family =
			route->via.family == IP_NONE ? (uint8_t)IP_V4 : route->via.family;
	} else if (!ip_parse_prefix(text, &route->destination)) {
		conf_error(group, "destination",
			   conf_say("\"%.80s\" is not a network with its prefix length", text),
			   conf_say("write %s", example));
		good = false;
	} else if (!is_network(&route->destination)) {
		conf_error(group, "destination",
			   conf_say("\"%.80s\" has bits beyond its prefix length", text),
			   conf_say("write the network's first address, or /%d for one host",
				    (int)(8 * ip_size(&route->destination.addr))));
		good = false;
	}
	free(text);
	return good;
}

static bool read_route(const struct conf_scope *group, const struct conf *conf,
		       const struct conf_vrrp *vrrp, struct conf_route *route)
{
	static const char *const names[] = {"via", "src"};
	int table = RT_TABLE_MAIN, metric = 0;
	bool good;

	conf_scope_known(group, known, hints);
	conf_read_address(group, "via", &route->via);
	conf_read_address(group, "src", &route->src);
	conf_read_int(group, "table", 1, INT32_MAX, &table);
	conf_read_int(group, "metric", 1, INT32_MAX, &metric);
	route->table = (uint32_t)table;
	route->metric = (uint32_t)metric;
	good = read_destination(group, route);
	for (int i = 0; good && i < 2; i++) {
		const struct ip_addr *addr = i ? &route->src : &route->via;

		if (addr->family != IP_NONE && addr->family != route->destination.addr.family)
			conf_error(group, names[i],
				   conf_say("is an IPv%d address, and the destination an IPv%d one",
					    addr->family, route->destination.addr.family),
				   conf_say("write one of the same family"));
	}
	if (!conf_get(group, "dev"))
		return good;
	route->devs = calloc(CONF_NODES_MAX, sizeof *route->devs);
	if (route->devs)
		conf_read_interfaces(group, "dev", conf, vrrp->priorities, route->devs);
	else
		group->reader->out_of_memory = true;
	return good;
}

void conf_read_routes(const struct conf_scope *scope, const struct conf *conf,
		      struct conf_vrrp *vrrp)
{
	static const char example[] = "virtual_routes = ( { destination = \"203.0.113.0/24\"; "
				      "via = \"198.51.100.254\"; } );";
	config_setting_t *list = conf_read_list(scope, "virtual_routes", CONF_ROUTES_MAX, example);

	if (!list)
		return;
	vrrp->routes = calloc((size_t)config_setting_length(list), sizeof *vrrp->routes);
	if (!vrrp->routes) {
		scope->reader->out_of_memory = true;
		return;
	}
	for (int i = 0; i < config_setting_length(list); i++) {
		config_setting_t *value = config_setting_get_elem(list, (unsigned)i);
		struct conf_route route = {0};
		struct conf_scope group;

		if (!conf_scope_open(scope, "virtual_routes", value, i, &group))
			continue;
		if (read_route(&group, conf, vrrp, &route))
			vrrp->routes[vrrp->routes_count++] = route;
		else
			conf_route_release(&route);
	}
}
