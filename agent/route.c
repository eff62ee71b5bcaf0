/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdlib.h>

#include "agent/netlink.h"

struct route_port {
	struct nl_sock *socket;
};

/* libnl's word for what it has none for: among others, a gateway that is not to be reached. */
static int from_nl(int error)
{
	return error == -NLE_FAILURE ? -ENETUNREACH : netlink_errno(error);
}

int route_port_new(struct route_port **ret_port)
{
	struct route_port *port = calloc(1, sizeof *port);
	int error;

	if (!port)
		return -ENOMEM;
	error = netlink_open(&port->socket);
	if (error) {
		route_port_free(port);
		return error;
	}
	*ret_port = port;
	return 0;
}

struct route_port *route_port_free(struct route_port *port)
{
	if (!port)
		return NULL;
	nl_socket_free(port->socket);
	free(port);
	return NULL;
}

static struct nl_addr *to_nl(const struct ip_addr *addr, int prefix_len)
{
	struct nl_addr *nl = nl_addr_build(addr->family == IP_V6 ? AF_INET6 : AF_INET, addr->bytes,
					   ip_size(addr));

	if (nl && prefix_len >= 0)
		nl_addr_set_prefixlen(nl, prefix_len);
	return nl;
}

static int add_hop(struct rtnl_route *route, int ifindex, const struct ip_addr *via)
{
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	struct nl_addr *gateway = NULL;

	if (!hop)
		return -ENOMEM;
	rtnl_route_nh_set_ifindex(hop, ifindex);
	if (via->family != IP_NONE) {
		gateway = to_nl(via, -1);
		if (!gateway) {
			rtnl_route_nh_free(hop);
			return -ENOMEM;
		}
		rtnl_route_nh_set_gateway(hop, gateway);
		nl_addr_put(gateway);
	}
	rtnl_route_add_nexthop(route, hop);
	return 0;
}

static int make(int ifindex, const struct conf_route *conf, struct rtnl_route **ret_route)
{
	struct rtnl_route *route;
	struct nl_addr *destination, *source = NULL;
	int error = -ENOMEM;

	if (!ifindex)
		return -ENODEV;
	route = rtnl_route_alloc();
	destination = to_nl(&conf->destination.addr, conf->destination.prefix_len);
	if (conf->src.family != IP_NONE)
		source = to_nl(&conf->src, -1);
	if (!route || !destination || (conf->src.family != IP_NONE && !source))
		goto out;
	error = from_nl(rtnl_route_set_dst(route, destination));
	if (!error && source)
		error = from_nl(rtnl_route_set_pref_src(route, source));
	if (!error)
		error = add_hop(route, ifindex, &conf->via);
	if (error)
		goto out;
	rtnl_route_set_table(route, conf->table);
	rtnl_route_set_protocol(route, ROUTE_PROTOCOL);
	rtnl_route_set_scope(route,
			     conf->via.family == IP_NONE && conf->destination.addr.family == IP_V4
				     ? RT_SCOPE_LINK
				     : RT_SCOPE_UNIVERSE);
	rtnl_route_set_type(route, RTN_UNICAST);
	if (conf->metric)
		rtnl_route_set_priority(route, conf->metric);
	*ret_route = route;
	route = NULL;
out:
	nl_addr_put(destination);
	nl_addr_put(source);
	rtnl_route_put(route);
	return error;
}

int route_add(struct route_port *port, int ifindex, const struct conf_route *conf)
{
	struct rtnl_route *route;
	int error = make(ifindex, conf, &route);

	if (error)
		return error;
	error = from_nl(rtnl_route_add(port->socket, route, NLM_F_CREATE | NLM_F_EXCL));
	rtnl_route_put(route);
	return error;
}

int route_remove(struct route_port *port, int ifindex, const struct conf_route *conf)
{
	struct rtnl_route *route;
	int error = make(ifindex, conf, &route);

	if (error)
		return error;
	error = from_nl(rtnl_route_delete(port->socket, route, 0));
	rtnl_route_put(route);
	return error;
}
