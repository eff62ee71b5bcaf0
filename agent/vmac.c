/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/vmac.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet.h>
#include <netlink/route/link/inet6.h>
#include <netlink/route/link/macvlan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/netlink.h"
#include "shared/log.h"

#define OWNER_BYTES 108 /* a path to a socket is no longer */
#define ROUTER_BYTES 64

/* What an interface below some of ours was like before. Their marks say it too, unless somebody
 * has removed all of them. */
struct below {
	struct below *next;
	int ifindex;
	uint32_t arp_ignore, arp_announce;
};

struct vmac_port {
	struct nl_sock *socket;
	struct below *below;
};

/* What stands in an alias. */
struct mark {
	char owner[OWNER_BYTES], router[ROUTER_BYTES];
	uint32_t arp_ignore, arp_announce; /* of the parent, before us */
};

int vmac_port_new(struct vmac_port **ret_port)
{
	struct vmac_port *port = calloc(1, sizeof *port);
	int error;

	if (!port)
		return -ENOMEM;
	error = netlink_open(&port->socket);
	if (error) {
		free(port);
		return error;
	}
	*ret_port = port;
	return 0;
}

struct vmac_port *vmac_port_free(struct vmac_port *port)
{
	if (!port)
		return NULL;
	while (port->below) {
		struct below *below = port->below;

		port->below = below->next;
		free(below);
	}
	nl_socket_free(port->socket);
	free(port);
	return NULL;
}

/* ---- what is there ---- */

static void write_mark(const struct mark *mark, char alias[IFALIASZ])
{
	snprintf(alias, IFALIASZ, "tandem %s %s arp_ignore=%u arp_announce=%u", mark->owner,
		 mark->router, mark->arp_ignore, mark->arp_announce);
}

static bool read_mark(struct rtnl_link *link, struct mark *ret_mark)
{
	const char *alias = rtnl_link_get_ifalias(link);

	return alias && rtnl_link_is_macvlan(link) &&
	       sscanf(alias, "tandem %107s %63s arp_ignore=%u arp_announce=%u", ret_mark->owner,
		      ret_mark->router, &ret_mark->arp_ignore, &ret_mark->arp_announce) == 4;
}

static int get_links(struct vmac_port *port, struct nl_cache **ret_links)
{
	return netlink_errno(rtnl_link_alloc_cache(port->socket, AF_UNSPEC, ret_links));
}

/* Calls fn for each that is ours, until it says stop. */
typedef bool (*each_fn)(void *ctx, struct rtnl_link *link, const struct mark *mark);

static void for_each(struct nl_cache *links, each_fn fn, void *ctx)
{
	for (struct nl_object *at = nl_cache_get_first(links); at; at = nl_cache_get_next(at)) {
		struct rtnl_link *link = (struct rtnl_link *)at;
		struct mark mark;

		if (read_mark(link, &mark) && fn(ctx, link, &mark))
			return;
	}
}

/* ---- the parent ---- */

/* Without arp_ignore the parent answers for the address too, with its own hardware address, and as
 * a rule first; without arp_announce it asks for the client's in the name of the service address,
 * which is taken for an announcement. */
static int set_arp(struct vmac_port *port, struct rtnl_link *parent, uint32_t ignore,
		   uint32_t announce)
{
	struct rtnl_link *change = rtnl_link_alloc();
	int error;

	if (!change)
		return -ENOMEM;
	error = netlink_errno(rtnl_link_inet_set_conf(change, IPV4_DEVCONF_ARP_IGNORE, ignore));
	if (!error)
		error = netlink_errno(
			rtnl_link_inet_set_conf(change, IPV4_DEVCONF_ARP_ANNOUNCE, announce));
	if (!error)
		error = netlink_errno(rtnl_link_change(port->socket, parent, change, 0));
	rtnl_link_put(change);
	return error;
}

struct same_parent {
	int parent;
	struct mark *mark;
	bool found;
};

static bool is_on_parent(void *ctx, struct rtnl_link *link, const struct mark *mark)
{
	struct same_parent *same = ctx;

	if (rtnl_link_get_link(link) != same->parent)
		return false;
	if (same->mark) {
		same->mark->arp_ignore = mark->arp_ignore;
		same->mark->arp_announce = mark->arp_announce;
	}
	same->found = true;
	return true;
}

static void remember(struct vmac_port *port, int ifindex, const struct mark *mark)
{
	struct below *below = calloc(1, sizeof *below);

	if (!below)
		return;
	*below = (struct below){.next = port->below,
				.ifindex = ifindex,
				.arp_ignore = mark->arp_ignore,
				.arp_announce = mark->arp_announce};
	port->below = below;
}

static void forget(struct vmac_port *port, int ifindex)
{
	for (struct below **link = &port->below; *link; link = &(*link)->next) {
		struct below *below = *link;

		if (below->ifindex != ifindex)
			continue;
		*link = below->next;
		free(below);
		return;
	}
}

/* As the parent was before the first of ours came. */
static void note_parent(struct vmac_port *port, struct nl_cache *links, struct rtnl_link *parent,
			struct mark *mark)
{
	struct same_parent same = {.parent = rtnl_link_get_ifindex(parent), .mark = mark};

	for (const struct below *below = port->below; below; below = below->next) {
		if (below->ifindex != same.parent)
			continue;
		mark->arp_ignore = below->arp_ignore;
		mark->arp_announce = below->arp_announce;
		return;
	}
	for_each(links, is_on_parent, &same);
	if (!same.found) {
		if (rtnl_link_inet_get_conf(parent, IPV4_DEVCONF_ARP_IGNORE, &mark->arp_ignore))
			mark->arp_ignore = 0;
		if (rtnl_link_inet_get_conf(parent, IPV4_DEVCONF_ARP_ANNOUNCE, &mark->arp_announce))
			mark->arp_announce = 0;
	}
	remember(port, same.parent, mark);
}

/* ---- making one ---- */

static struct nl_addr *to_nl(const struct vmac *vmac)
{
	return nl_addr_build(AF_LLC, vmac->mac, sizeof vmac->mac);
}

static bool is_right(struct rtnl_link *link, const struct vmac *vmac, int parent)
{
	struct nl_addr *mac = to_nl(vmac);
	struct mark mark;
	bool right = mac && read_mark(link, &mark) && !strcmp(mark.owner, vmac->owner) &&
		     !strcmp(mark.router, vmac->router) && rtnl_link_get_link(link) == parent &&
		     rtnl_link_get_addr(link) && !nl_addr_cmp(rtnl_link_get_addr(link), mac) &&
		     (rtnl_link_get_flags(link) & IFF_UP);

	nl_addr_put(mac);
	return right;
}

static int add(struct vmac_port *port, const struct vmac *vmac, int parent)
{
	struct rtnl_link *link = rtnl_link_macvlan_alloc();
	struct nl_addr *mac = to_nl(vmac);
	int error = link && mac ? 0 : -ENOMEM;

	if (!error) {
		rtnl_link_set_link(link, parent);
		rtnl_link_set_name(link, vmac->name);
		rtnl_link_set_addr(link, mac);
		error = netlink_errno(rtnl_link_macvlan_set_mode(link, MACVLAN_MODE_BRIDGE));
	}
	if (!error)
		error = netlink_errno(rtnl_link_add(port->socket, link, NLM_F_CREATE | NLM_F_EXCL));
	nl_addr_put(mac);
	rtnl_link_put(link);
	return error;
}

/* A router's advertisement would give it addresses and routes. No netlink message says this. */
static void ignore_routers(const char *name)
{
	char path[96];
	int fd;

	snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_ra", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return; /* a host without IPv6 */
	if (fd < 0 || write(fd, "0", 1) != 1)
		log_warn("%s cannot be written (%s): %s may take addresses from routers", path,
			 strerror(errno), name);
	if (fd >= 0)
		close(fd);
}

static int change(struct vmac_port *port, struct rtnl_link *link, struct rtnl_link *to)
{
	int error = to ? netlink_errno(rtnl_link_change(port->socket, link, to, 0)) : -ENOMEM;

	rtnl_link_put(to);
	return error;
}

static int silence_v6(struct vmac_port *port, struct rtnl_link *link)
{
	struct rtnl_link *to = rtnl_link_alloc();
	int error;

	if (to && rtnl_link_inet6_set_addr_gen_mode(to, IN6_ADDR_GEN_MODE_NONE)) {
		rtnl_link_put(to);
		return -ENOMEM;
	}
	error = change(port, link, to);
	return error == -EAFNOSUPPORT || error == -EOPNOTSUPP ? 0 : error; /* without IPv6 */
}

/* Marked before all else, so that a crash leaves none behind that nobody knows. */
static int finish(struct vmac_port *port, const struct vmac *vmac, const struct mark *mark)
{
	struct rtnl_link *link = NULL, *to = rtnl_link_alloc();
	char alias[IFALIASZ];
	int error = netlink_errno(rtnl_link_get_kernel(port->socket, 0, vmac->name, &link));

	if (error) {
		rtnl_link_put(to);
		return error;
	}
	write_mark(mark, alias);
	if (to)
		rtnl_link_set_ifalias(to, alias);
	error = change(port, link, to);
	if (!error)
		error = silence_v6(port, link);
	ignore_routers(vmac->name);
	to = rtnl_link_alloc();
	if (to) {
		/* Loose: the way back to a client is the parent's. It wins over a strict "all". */
		(void)rtnl_link_inet_set_conf(to, IPV4_DEVCONF_RP_FILTER, 2);
		(void)rtnl_link_inet_set_conf(to, IPV4_DEVCONF_ARP_IGNORE, 1);
	}
	if (!error)
		error = change(port, link, to);
	else
		rtnl_link_put(to);
	to = error ? NULL : rtnl_link_alloc();
	if (to)
		rtnl_link_set_flags(to, IFF_UP);
	if (!error)
		error = change(port, link, to);
	if (error)
		(void)rtnl_link_delete(port->socket, link);
	rtnl_link_put(link);
	return error;
}

static int make_on(struct vmac_port *port, const struct vmac *vmac, struct nl_cache *links,
		   struct rtnl_link *parent)
{
	struct rtnl_link *there = rtnl_link_get_by_name(links, vmac->name);
	const int ifindex = rtnl_link_get_ifindex(parent);
	struct mark mark, theirs;
	int error = 0;

	snprintf(mark.owner, sizeof mark.owner, "%s", vmac->owner);
	snprintf(mark.router, sizeof mark.router, "%s", vmac->router);
	note_parent(port, links, parent, &mark);
	if (there && !is_right(there, vmac, ifindex)) {
		if (read_mark(there, &theirs) && !strcmp(theirs.owner, vmac->owner))
			error = netlink_errno(rtnl_link_delete(port->socket, there));
		else
			error = -EEXIST;
		rtnl_link_put(there);
		there = NULL;
	}
	if (!error && !there) {
		error = add(port, vmac, ifindex);
		if (!error)
			error = finish(port, vmac, &mark);
		if (error == -EEXIST) /* the address, not the name */
			error = -EBUSY;
	}
	if (there)
		rtnl_link_put(there);
	return error ? error : set_arp(port, parent, mark.arp_ignore > 1 ? mark.arp_ignore : 1, 2);
}

int vmac_make(struct vmac_port *port, const struct vmac *vmac)
{
	struct nl_cache *links;
	struct rtnl_link *parent;
	int error = get_links(port, &links);

	if (error)
		return error;
	parent = rtnl_link_get_by_name(links, vmac->parent);
	error = parent ? make_on(port, vmac, links, parent) : -ENODEV;
	if (parent)
		rtnl_link_put(parent);
	nl_cache_free(links);
	return error;
}

/* ---- taking them away ---- */

struct sweep {
	struct vmac_port *port;
	const char *owner;
	vmac_stays_fn stays;
	void *ctx;
	int removed;
};

/* If none of ours is left on it, the parent is again what it was. */
static void restore_parent(struct vmac_port *port, int ifindex, const struct mark *mark)
{
	struct same_parent same = {.parent = ifindex};
	struct rtnl_link *parent;
	struct nl_cache *links;

	if (get_links(port, &links))
		return;
	for_each(links, is_on_parent, &same);
	parent = same.found ? NULL : rtnl_link_get(links, ifindex);
	if (parent && set_arp(port, parent, mark->arp_ignore, mark->arp_announce))
		log_warn("%s keeps the ARP settings that it has", rtnl_link_get_name(parent));
	if (!same.found)
		forget(port, ifindex);
	if (parent)
		rtnl_link_put(parent);
	nl_cache_free(links);
}

static bool sweep_one(void *ctx, struct rtnl_link *link, const struct mark *mark)
{
	struct sweep *sweep = ctx;
	const char *name = rtnl_link_get_name(link);
	int error;

	if (strcmp(mark->owner, sweep->owner) != 0 ||
	    (sweep->stays && sweep->stays(sweep->ctx, name)))
		return false;
	error = netlink_errno(rtnl_link_delete(sweep->port->socket, link));
	if (error && error != -ENODEV) {
		log_err("the interface %s cannot be removed: %s", name, strerror(-error));
		return false;
	}
	sweep->removed++;
	restore_parent(sweep->port, rtnl_link_get_link(link), mark);
	return false;
}

int vmac_sweep(struct vmac_port *port, const char *owner, vmac_stays_fn stays, void *ctx)
{
	struct sweep sweep = {.port = port, .owner = owner, .stays = stays, .ctx = ctx};
	struct nl_cache *links;
	int error = get_links(port, &links);

	if (error)
		return error;
	for_each(links, sweep_one, &sweep);
	nl_cache_free(links);
	return sweep.removed;
}
