/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/netmon.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "agent/address.h"
#include "agent/netlink.h"
#include "shared/log.h"

/* Room for a burst of some thousand messages; past it the kernel says ENOBUFS and we dump again. */
#define RECEIVE_BYTES (1024 * 1024)
#define LINKS_MAX 4096
#define ADDRESSES_MAX 65536

struct netmon {
	struct loop *loop;
	struct netmon_handlers handlers;
	bool started; /* handlers are called from now on */
	bool reading;
	struct nl_sock *events;
	struct nl_sock *dumps; /* apart from the events, so that answers and news never mix */
	struct loop_fd *source;
	struct netmon_link *links;
	bool *link_seen; /* during a dump */
	int links_count, links_room;
	struct netmon_address *addresses;
	bool *address_seen;
	int addresses_count, addresses_room;
};

bool netmon_keeps_protocol(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > 5 || (major == 5 && minor >= 18);
}

/* Makes room for one more in a pair of parallel arrays. */
static int grow(void **items, bool **seen, int count, int *room, size_t item_bytes, int max)
{
	int wanted = *room ? *room * 2 : 16;
	void *more;
	bool *more_seen;

	if (count < *room)
		return 0;
	if (count >= max)
		return -E2BIG;
	more = reallocarray(*items, (size_t)wanted, item_bytes);
	if (!more)
		return -ENOMEM;
	*items = more;
	more_seen = reallocarray(*seen, (size_t)wanted, sizeof **seen);
	if (!more_seen)
		return -ENOMEM;
	*seen = more_seen;
	*room = wanted;
	return 0;
}

static int link_index(const struct netmon *nm, int ifindex)
{
	for (int i = 0; i < nm->links_count; i++)
		if (nm->links[i].ifindex == ifindex)
			return i;
	return -1;
}

static void tell_link(struct netmon *nm, const struct netmon_link *link, bool gone)
{
	struct netmon_link copy = *link;

	if (nm->started && nm->handlers.on_link)
		nm->handlers.on_link(nm->handlers.ctx, &copy, gone);
}

static void tell_address(struct netmon *nm, const struct netmon_address *address, bool gone)
{
	struct netmon_address copy = *address;

	if (nm->started && nm->handlers.on_address)
		nm->handlers.on_address(nm->handlers.ctx, &copy, gone);
}

static void link_remove(struct netmon *nm, int at)
{
	struct netmon_link link = nm->links[at];

	nm->links_count--;
	nm->links[at] = nm->links[nm->links_count];
	nm->link_seen[at] = nm->link_seen[nm->links_count];
	tell_link(nm, &link, true);
}

static void address_forget(struct netmon *nm, int at)
{
	struct netmon_address address = nm->addresses[at];

	/* The order is the kernel's: the first address of an interface is its usual source. */
	nm->addresses_count--;
	memmove(nm->addresses + at, nm->addresses + at + 1,
		(size_t)(nm->addresses_count - at) * sizeof *nm->addresses);
	memmove(nm->address_seen + at, nm->address_seen + at + 1,
		(size_t)(nm->addresses_count - at) * sizeof *nm->address_seen);
	tell_address(nm, &address, true);
}

static void link_message(struct netmon *nm, struct nlmsghdr *header)
{
	struct nlattr *attrs[IFLA_MAX + 1];
	struct ifinfomsg *info = nlmsg_data(header);
	struct netmon_link link = {0};
	int at;

	/* Bridge ports and the like also come as RTM_NEWLINK, of another family. */
	if (nlmsg_parse(header, sizeof *info, attrs, IFLA_MAX, NULL) ||
	    info->ifi_family != AF_UNSPEC)
		return;
	at = link_index(nm, info->ifi_index);
	if (header->nlmsg_type == RTM_DELLINK) {
		if (at >= 0)
			link_remove(nm, at);
		return;
	}
	link.ifindex = info->ifi_index;
	link.up = (info->ifi_flags & IFF_UP) && (info->ifi_flags & IFF_RUNNING);
	if (attrs[IFLA_IFNAME])
		nla_strlcpy(link.name, attrs[IFLA_IFNAME], sizeof link.name);
	if (info->ifi_type == ARPHRD_ETHER && attrs[IFLA_ADDRESS] &&
	    nla_len(attrs[IFLA_ADDRESS]) == (int)sizeof link.mac) {
		memcpy(link.mac, nla_data(attrs[IFLA_ADDRESS]), sizeof link.mac);
		link.has_mac = true;
	}
	if (at >= 0 && strcmp(nm->links[at].name, link.name) != 0) {
		link_remove(nm, at); /* renamed: gone under the old name */
		at = -1;
	}
	if (at < 0) {
		if (grow((void **)&nm->links, &nm->link_seen, nm->links_count, &nm->links_room,
			 sizeof *nm->links, LINKS_MAX)) {
			log_err("more than %d interfaces, or no memory: %s is not watched",
				LINKS_MAX, link.name);
			return;
		}
		at = nm->links_count++;
	} else if (nm->links[at].up == link.up && nm->links[at].has_mac == link.has_mac &&
		   !memcmp(nm->links[at].mac, link.mac, sizeof link.mac)) {
		nm->link_seen[at] = true;
		return; /* statistics and the like: nothing that anybody here asks for */
	}
	nm->links[at] = link;
	nm->link_seen[at] = true;
	tell_link(nm, &link, false);
}

static int address_index(const struct netmon *nm, const struct netmon_address *wanted)
{
	for (int i = 0; i < nm->addresses_count; i++)
		if (nm->addresses[i].ifindex == wanted->ifindex &&
		    nm->addresses[i].prefix.prefix_len == wanted->prefix.prefix_len &&
		    ip_equal(&nm->addresses[i].prefix.addr, &wanted->prefix.addr))
			return i;
	return -1;
}

/* An IPv6 address cannot be used before duplicate address detection is through with it (two seconds
 * after the link came up), and not at all if that found another host. The kernel says when it is.
 */
static bool is_ready(const struct ifaddrmsg *info, struct nlattr *flags_attr)
{
	uint32_t flags = info->ifa_flags;

	if (flags_attr && nla_len(flags_attr) >= (int)sizeof flags)
		flags = nla_get_u32(flags_attr);
	return !(flags & IFA_F_DADFAILED) &&
	       (!(flags & IFA_F_TENTATIVE) || (flags & IFA_F_OPTIMISTIC));
}

static void address_message(struct netmon *nm, struct nlmsghdr *header)
{
	struct nlattr *attrs[IFA_PROTO + 1];
	struct ifaddrmsg *info = nlmsg_data(header);
	struct netmon_address address = {0};
	struct nlattr *local;
	int at;

	if (nlmsg_parse(header, sizeof *info, attrs, IFA_PROTO, NULL) ||
	    (info->ifa_family != AF_INET && info->ifa_family != AF_INET6))
		return;
	address.ifindex = (int)info->ifa_index;
	address.prefix.addr.family = info->ifa_family == AF_INET6 ? IP_V6 : IP_V4;
	local = attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS];
	if (!local || nla_len(local) != (int)ip_size(&address.prefix.addr))
		return;
	memcpy(address.prefix.addr.bytes, nla_data(local), ip_size(&address.prefix.addr));
	address.prefix.prefix_len = info->ifa_prefixlen;
	if (attrs[IFA_PROTO] && nla_len(attrs[IFA_PROTO]) >= 1)
		address.protocol = nla_get_u8(attrs[IFA_PROTO]);
	at = address_index(nm, &address);
	if (header->nlmsg_type == RTM_DELADDR || !is_ready(info, attrs[IFA_FLAGS])) {
		if (at >= 0)
			address_forget(nm, at);
		return;
	}
	if (at >= 0) { /* a lifetime was renewed */
		nm->addresses[at].protocol = address.protocol;
		nm->address_seen[at] = true;
		return;
	}
	if (grow((void **)&nm->addresses, &nm->address_seen, nm->addresses_count,
		 &nm->addresses_room, sizeof *nm->addresses, ADDRESSES_MAX)) {
		log_err("more than %d addresses, or no memory: one of interface %d is not watched",
			ADDRESSES_MAX, address.ifindex);
		return;
	}
	nm->addresses[nm->addresses_count] = address;
	nm->address_seen[nm->addresses_count] = true;
	nm->addresses_count++;
	tell_address(nm, &address, false);
}

static int on_netlink(struct nl_msg *msg, void *ctx)
{
	struct netmon *nm = ctx;
	struct nlmsghdr *header = nlmsg_hdr(msg);

	switch (header->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		link_message(nm, header);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		address_message(nm, header);
		break;
	default:
		break;
	}
	return NL_OK;
}

static int dump_once(struct netmon *nm)
{
	struct ifinfomsg links = {.ifi_family = AF_UNSPEC};
	struct ifaddrmsg addresses = {.ifa_family = AF_UNSPEC};
	int error;

	if (nm->links_count)
		memset(nm->link_seen, 0, (size_t)nm->links_count * sizeof *nm->link_seen);
	if (nm->addresses_count)
		memset(nm->address_seen, 0, (size_t)nm->addresses_count * sizeof *nm->address_seen);
	error = nl_send_simple(nm->dumps, RTM_GETLINK, NLM_F_DUMP, &links, sizeof links);
	if (error >= 0)
		error = nl_recvmsgs_default(nm->dumps);
	if (error >= 0)
		error = nl_send_simple(nm->dumps, RTM_GETADDR, NLM_F_DUMP, &addresses,
				       sizeof addresses);
	if (error >= 0)
		error = nl_recvmsgs_default(nm->dumps);
	if (error < 0)
		return netlink_errno(error);
	for (int i = nm->addresses_count - 1; i >= 0; i--)
		if (!nm->address_seen[i])
			address_forget(nm, i);
	for (int i = nm->links_count - 1; i >= 0; i--)
		if (!nm->link_seen[i])
			link_remove(nm, i);
	return 0;
}

/* An interrupted dump (the table changed under it) is read again; a few times are plenty. */
static int dump(struct netmon *nm)
{
	int error = -EINTR;

	for (int i = 0; i < 10 && error == -EINTR; i++)
		error = dump_once(nm);
	return error;
}

void netmon_catch_up(struct netmon *nm)
{
	int error;

	if (nm->reading)
		return; /* a handler asks from within */
	nm->reading = true;
	do
		error = netlink_errno(nl_recvmsgs_default(nm->events));
	while (!error);
	nm->reading = false;
	if (error == -EAGAIN)
		return;
	/* The kernel dropped messages (or one was unreadable): the table is what it says now. */
	log_warn("netlink lost messages (%s): reading interfaces and addresses again",
		 strerror(-error));
	error = dump(nm);
	if (error)
		log_err("interfaces and addresses cannot be read: %s", strerror(-error));
}

static void on_readable(void *ctx, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	netmon_catch_up(ctx);
}

static int socket_new(struct netmon *nm, struct nl_sock **ret_socket)
{
	int error = netlink_open(ret_socket);

	if (!error)
		nl_socket_modify_cb(*ret_socket, NL_CB_VALID, NL_CB_CUSTOM, on_netlink, nm);
	return error;
}

int netmon_new(struct loop *loop, const struct netmon_handlers *handlers,
	       struct netmon **ret_netmon)
{
	struct netmon *nm = calloc(1, sizeof *nm);
	int error;

	if (!nm)
		return -ENOMEM;
	nm->loop = loop;
	nm->handlers = *handlers;
	error = socket_new(nm, &nm->dumps);
	if (!error)
		error = socket_new(nm, &nm->events);
	if (error)
		goto out;
	nl_socket_disable_seq_check(nm->events);
	nl_socket_set_buffer_size(nm->events, RECEIVE_BYTES, 0);
	error = netlink_errno(nl_socket_add_memberships(
		nm->events, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_NONE));
	if (!error)
		error = netlink_errno(nl_socket_set_nonblocking(nm->events));
	/* Listening comes before the dump, so that nothing falls between the two. */
	if (!error)
		error = dump(nm);
	if (!error)
		error = loop_fd_add(loop, nl_socket_get_fd(nm->events), EPOLLIN, on_readable, nm,
				    &nm->source);
	if (error)
		goto out;
	nm->started = true;
	*ret_netmon = nm;
	return 0;
out:
	netmon_free(nm);
	return error;
}

struct netmon *netmon_free(struct netmon *nm)
{
	if (!nm)
		return NULL;
	loop_fd_remove(nm->source);
	nl_socket_free(nm->events);
	nl_socket_free(nm->dumps);
	free(nm->links);
	free(nm->link_seen);
	free(nm->addresses);
	free(nm->address_seen);
	free(nm);
	return NULL;
}

const struct netmon_link *netmon_link_by_index(const struct netmon *nm, int ifindex)
{
	int at = link_index(nm, ifindex);

	return at < 0 ? NULL : &nm->links[at];
}

const struct netmon_link *netmon_link_by_name(const struct netmon *nm, const char *name)
{
	for (int i = 0; i < nm->links_count; i++)
		if (!strcmp(nm->links[i].name, name))
			return &nm->links[i];
	return NULL;
}

const struct netmon_address *netmon_address_find(const struct netmon *nm, int ifindex,
						 const struct ip_addr *addr)
{
	const struct netmon_address *found = NULL;

	for (int i = 0; i < nm->addresses_count; i++) {
		const struct netmon_address *address = &nm->addresses[i];

		if ((ifindex && address->ifindex != ifindex) ||
		    !ip_equal(&address->prefix.addr, addr))
			continue;
		if (!found || address->protocol == ADDRESS_PROTOCOL)
			found = address;
	}
	return found;
}

bool netmon_has_subnet(const struct netmon *nm, int ifindex, const struct ip_addr *addr)
{
	for (int i = 0; i < nm->addresses_count; i++) {
		const struct netmon_address *address = &nm->addresses[i];

		if (address->ifindex == ifindex && !ip_equal(&address->prefix.addr, addr) &&
		    ip_in_prefix(addr, &address->prefix))
			return true;
	}
	return false;
}

bool netmon_has_kin(const struct netmon *nm, int ifindex, const struct ip_prefix *prefix)
{
	for (int i = 0; i < nm->addresses_count; i++) {
		const struct netmon_address *address = &nm->addresses[i];

		if (address->ifindex == ifindex && address->protocol != ADDRESS_PROTOCOL &&
		    address->prefix.prefix_len == prefix->prefix_len &&
		    ip_in_prefix(&address->prefix.addr, prefix) &&
		    !ip_equal(&address->prefix.addr, &prefix->addr))
			return true;
	}
	return false;
}

bool netmon_link_local(const struct netmon *nm, int ifindex, struct ip_addr *ret_addr)
{
	for (int i = 0; i < nm->addresses_count; i++) {
		const struct ip_addr *addr = &nm->addresses[i].prefix.addr;

		if (nm->addresses[i].ifindex != ifindex || addr->family != IP_V6 ||
		    !ip_is_link_local(addr) || nm->addresses[i].protocol == ADDRESS_PROTOCOL)
			continue;
		*ret_addr = *addr;
		return true;
	}
	return false;
}

bool netmon_is_own_mac(const struct netmon *nm, const uint8_t mac[6])
{
	for (int i = 0; i < nm->links_count; i++)
		if (nm->links[i].has_mac && !memcmp(nm->links[i].mac, mac, 6))
			return true;
	return false;
}

bool netmon_own_address(const struct netmon *nm, int ifindex, struct ip_addr *ret_addr)
{
	for (int i = 0; i < nm->addresses_count; i++) {
		if (nm->addresses[i].ifindex == ifindex &&
		    nm->addresses[i].prefix.addr.family == IP_V4 &&
		    nm->addresses[i].protocol != ADDRESS_PROTOCOL) {
			*ret_addr = nm->addresses[i].prefix.addr;
			return true;
		}
	}
	return false;
}
