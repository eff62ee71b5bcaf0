/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/address.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <stdlib.h>
#include <string.h>

#include "agent/netlink.h"
#include "shared/log.h"

/* What one host can reasonably carry; a longer table is swept in several rounds. */
#define SWEEP_MAX 1024
#define KIN_MAX 64 /* addresses of one subnet on one interface */

struct address_port {
	struct nl_sock *socket;
};

int address_port_new(struct address_port **ret_port)
{
	struct address_port *port = calloc(1, sizeof *port);
	int error;

	if (!port)
		return -ENOMEM;
	error = netlink_open(&port->socket);
	if (error) {
		address_port_free(port);
		return error;
	}
	*ret_port = port;
	return 0;
}

struct address_port *address_port_free(struct address_port *port)
{
	if (!port)
		return NULL;
	nl_socket_free(port->socket);
	free(port);
	return NULL;
}

static int set_options(struct rtnl_addr *address, const struct address_options *options)
{
	struct nl_addr *broadcast;
	int error = 0;

	rtnl_addr_set_scope(address, options->scope);
	if (*options->label)
		error = netlink_errno(rtnl_addr_set_label(address, options->label));
	if (error || options->broadcast.family != IP_V4)
		return error;
	broadcast = nl_addr_build(AF_INET, options->broadcast.bytes, 4);
	if (!broadcast)
		return -ENOMEM;
	error = netlink_errno(rtnl_addr_set_broadcast(address, broadcast));
	nl_addr_put(broadcast);
	return error;
}

static int make(int ifindex, const struct ip_prefix *prefix, uint32_t lifetime_s,
		struct rtnl_addr **ret_address)
{
	struct rtnl_addr *address;
	struct nl_addr *local;
	int error = 0;

	const bool is_v6 = prefix->addr.family == IP_V6;
	const size_t size = ip_size(&prefix->addr);
	unsigned flags = 0;

	if (!size || prefix->prefix_len > size * 8)
		return -EAFNOSUPPORT;
	address = rtnl_addr_alloc();
	local = nl_addr_build(is_v6 ? AF_INET6 : AF_INET, prefix->addr.bytes, size);
	if (!address || !local) {
		error = -ENOMEM;
		goto out;
	}
	nl_addr_set_prefixlen(local, prefix->prefix_len);
	rtnl_addr_set_ifindex(address, ifindex);
	error = netlink_errno(rtnl_addr_set_local(address, local));
	if (error)
		goto out;
	rtnl_addr_set_scope(address, RT_SCOPE_UNIVERSE);
	if (prefix->prefix_len == size * 8)
		flags |= IFA_F_NOPREFIXROUTE;
	/* Duplicate address detection would keep it silent for two seconds, and for good as long as
	 * the holder before us has not let go. */
	if (is_v6)
		flags |= IFA_F_NODAD;
	if (flags)
		rtnl_addr_set_flags(address, flags);
	if (lifetime_s != ADDRESS_FOREVER_S) {
		rtnl_addr_set_valid_lifetime(address, lifetime_s);
		/* Deprecated: never chosen as the source of what the host itself begins, which
		 * would end when the address moves. What arrives for it is served as ever. */
		rtnl_addr_set_preferred_lifetime(address, is_v6 ? 0 : lifetime_s);
	}
	*ret_address = address;
	address = NULL;
out:
	nl_addr_put(local);
	rtnl_addr_put(address);
	return error;
}

static int add(struct address_port *port, int ifindex, const struct ip_prefix *prefix,
	       const struct address_options *options, uint32_t lifetime_s, int flags)
{
	struct rtnl_addr *address;
	struct nl_msg *msg = NULL;
	int error = make(ifindex, prefix, lifetime_s, &address);

	if (error)
		return error;
	if (prefix->addr.family == IP_V4)
		error = set_options(address, options);
	if (!error)
		error = netlink_errno(rtnl_addr_build_add_request(address, flags, &msg));
	rtnl_addr_put(address);
	if (error)
		return error;
	/* libnl 3.7 has no setter for this attribute. */
	error = netlink_errno(nla_put_u8(msg, IFA_PROTO, ADDRESS_PROTOCOL));
	if (error) {
		nlmsg_free(msg);
		return error;
	}
	return netlink_errno(nl_send_sync(port->socket, msg));
}

int address_add(struct address_port *port, int ifindex, const struct ip_prefix *prefix,
		const struct address_options *options, uint32_t lifetime_s)
{
	return add(port, ifindex, prefix, options, lifetime_s, NLM_F_CREATE | NLM_F_EXCL);
}

int address_renew(struct address_port *port, int ifindex, const struct ip_prefix *prefix,
		  const struct address_options *options, uint32_t lifetime_s)
{
	return add(port, ifindex, prefix, options, lifetime_s, NLM_F_CREATE | NLM_F_REPLACE);
}

/* ---- removal ---- */

/* The addresses that came after one, in its subnet: without promote_secondaries the kernel removes
 * them with it. As the kernel described them, to be said again. */
struct kin {
	int ifindex;
	const struct ip_prefix *prefix;
	struct nlmsghdr *messages[KIN_MAX];
	int count;
};

static int on_kin(struct nl_msg *msg, void *ctx)
{
	struct kin *kin = ctx;
	struct nlmsghdr *header = nlmsg_hdr(msg);
	struct nlattr *attrs[IFA_MAX + 1];
	struct ifaddrmsg *info = nlmsg_data(header);
	struct ip_prefix prefix = {.addr.family = IP_V4};

	if (header->nlmsg_type != RTM_NEWADDR ||
	    nlmsg_parse(header, sizeof *info, attrs, IFA_MAX, NULL) ||
	    info->ifa_family != AF_INET || (int)info->ifa_index != kin->ifindex ||
	    !(info->ifa_flags & IFA_F_SECONDARY) || !attrs[IFA_LOCAL] ||
	    nla_len(attrs[IFA_LOCAL]) != 4 || kin->count == KIN_MAX)
		return NL_OK;
	memcpy(prefix.addr.bytes, nla_data(attrs[IFA_LOCAL]), 4);
	prefix.prefix_len = info->ifa_prefixlen;
	if (prefix.prefix_len != kin->prefix->prefix_len ||
	    !ip_in_prefix(&prefix.addr, kin->prefix) || ip_equal(&prefix.addr, &kin->prefix->addr))
		return NL_OK;
	kin->messages[kin->count] = malloc(header->nlmsg_len);
	if (kin->messages[kin->count])
		memcpy(kin->messages[kin->count++], header, header->nlmsg_len);
	return NL_OK;
}

static void look_for_kin(struct address_port *port, struct kin *kin)
{
	struct ifaddrmsg request = {.ifa_family = AF_INET};

	nl_socket_modify_cb(port->socket, NL_CB_VALID, NL_CB_CUSTOM, on_kin, kin);
	if (nl_send_simple(port->socket, RTM_GETADDR, NLM_F_DUMP, &request, sizeof request) >= 0)
		(void)nl_recvmsgs_default(port->socket);
	nl_socket_modify_cb(port->socket, NL_CB_VALID, NL_CB_DEFAULT, NULL, NULL);
}

/* In their order, so that the first of them is the first again. One that was not taken along, since
 * the kernel promotes it, or that is back by now, is there already. */
static void put_back(struct address_port *port, struct kin *kin, bool removed)
{
	for (int i = 0; i < kin->count; i++) {
		struct nl_msg *msg = removed ? nlmsg_convert(kin->messages[i]) : NULL;
		int error = removed ? -ENOMEM : 0;

		free(kin->messages[i]);
		if (msg) {
			struct nlmsghdr *header = nlmsg_hdr(msg);

			header->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
			header->nlmsg_pid = 0;
			header->nlmsg_seq = 0;
			error = netlink_errno(nl_send_sync(port->socket, msg));
		}
		if (error && error != -EEXIST)
			log_err("an address that was there before went with one of ours, and "
				"cannot be put back: %s",
				strerror(-error));
	}
}

int address_remove(struct address_port *port, int ifindex, const struct ip_prefix *prefix)
{
	struct kin kin = {.ifindex = ifindex, .prefix = prefix};
	struct rtnl_addr *address;
	int error = make(ifindex, prefix, ADDRESS_FOREVER_S, &address);

	if (error)
		return error;
	if (prefix->addr.family == IP_V4 && prefix->prefix_len < 32)
		look_for_kin(port, &kin);
	error = netlink_errno(rtnl_addr_delete(port->socket, address, 0));
	rtnl_addr_put(address);
	put_back(port, &kin, !error);
	return error;
}

/* ---- sweep ---- */

struct sweep {
	address_mine_fn mine;
	void *ctx;
	struct {
		int ifindex;
		struct ip_prefix prefix;
	} found[SWEEP_MAX];
	int count;
	bool more;
};

static int on_address(struct nl_msg *msg, void *ctx)
{
	struct sweep *sweep = ctx;
	struct nlmsghdr *header = nlmsg_hdr(msg);
	struct nlattr *attrs[IFA_PROTO + 1];
	struct ifaddrmsg *info = nlmsg_data(header);
	struct ip_prefix prefix = {0};
	struct nlattr *local;
	uint8_t protocol = 0;

	if (header->nlmsg_type != RTM_NEWADDR ||
	    nlmsg_parse(header, sizeof *info, attrs, IFA_PROTO, NULL) ||
	    (info->ifa_family != AF_INET && info->ifa_family != AF_INET6))
		return NL_OK;
	prefix.addr.family = info->ifa_family == AF_INET6 ? IP_V6 : IP_V4;
	local = attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS];
	if (!local || nla_len(local) != (int)ip_size(&prefix.addr))
		return NL_OK;
	memcpy(prefix.addr.bytes, nla_data(local), ip_size(&prefix.addr));
	prefix.prefix_len = info->ifa_prefixlen;
	if (attrs[IFA_PROTO] && nla_len(attrs[IFA_PROTO]) >= 1)
		protocol = nla_get_u8(attrs[IFA_PROTO]);
	if (!sweep->mine(sweep->ctx, (int)info->ifa_index, &prefix, protocol))
		return NL_OK;
	if (sweep->count == SWEEP_MAX) {
		sweep->more = true;
		return NL_OK;
	}
	sweep->found[sweep->count].ifindex = (int)info->ifa_index;
	sweep->found[sweep->count].prefix = prefix;
	sweep->count++;
	return NL_OK;
}

static int dump(struct address_port *port, struct sweep *sweep)
{
	struct ifaddrmsg request = {.ifa_family = AF_UNSPEC};
	int error = -EINTR;

	nl_socket_modify_cb(port->socket, NL_CB_VALID, NL_CB_CUSTOM, on_address, sweep);
	for (int i = 0; i < 10 && error == -EINTR; i++) {
		sweep->count = 0;
		sweep->more = false;
		error = nl_send_simple(port->socket, RTM_GETADDR, NLM_F_DUMP, &request,
				       sizeof request);
		if (error >= 0)
			error = nl_recvmsgs_default(port->socket);
		error = error < 0 ? netlink_errno(error) : 0;
	}
	nl_socket_modify_cb(port->socket, NL_CB_VALID, NL_CB_DEFAULT, NULL, NULL);
	return error;
}

int address_sweep(struct address_port *port, address_mine_fn mine, void *ctx)
{
	struct sweep *sweep = calloc(1, sizeof *sweep);
	int removed = 0, before, error;

	if (!sweep)
		return -ENOMEM;
	sweep->mine = mine;
	sweep->ctx = ctx;
	do {
		error = dump(port, sweep);
		if (error)
			break;
		before = removed;
		for (int i = 0; i < sweep->count; i++) {
			char text[IP_TEXT_MAX], name[IF_NAMESIZE] = "?";
			int result = address_remove(port, sweep->found[i].ifindex,
						    &sweep->found[i].prefix);

			if_indextoname((unsigned)sweep->found[i].ifindex, name);
			if (!result)
				removed++;
			else if (result != -EADDRNOTAVAIL && result != -ENODEV)
				log_err("%s on %s cannot be removed: %s",
					ip_format(&sweep->found[i].prefix.addr, text), name,
					strerror(-result));
		}
	} while (sweep->more && removed > before);
	free(sweep);
	return error ? error : removed;
}
