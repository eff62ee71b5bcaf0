/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netmon: what the kernel says of interfaces and addresses, as a table that follows it.
 *
 * A port around rtnetlink (libnl-3). It dumps once, then listens; when the kernel says that it had
 * to drop messages, it dumps again and reports the differences, so that nothing is missed. It
 * belongs to one loop and knows the network namespace it was made in. Records that it hands out are
 * borrowed until the next turn of the loop. An IPv6 address is there as soon as it can be used,
 * after duplicate address detection.
 *
 * Handlers are called from the loop and from netmon_catch_up(), never from within netmon_new():
 * read the table after that.
 */
#ifndef TANDEM_NETMON_H
#define TANDEM_NETMON_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/ip.h"
#include "shared/loop.h"

struct netmon;

struct netmon_link {
	int ifindex;
	char name[IFNAMSIZ];
	bool up; /* administratively up, and its carrier is there */
	uint8_t mac[6];
	bool has_mac; /* an Ethernet address, so that ARP makes sense */
};

struct netmon_address {
	int ifindex;
	struct ip_prefix prefix; /* the local address, and the length of its subnet */
	uint8_t protocol;	 /* IFA_PROTO; 0 where the kernel does not keep it (before 5.18) */
};

struct netmon_handlers {
	/* gone: the interface does not exist any more (or no longer under this name). */
	void (*on_link)(void *ctx, const struct netmon_link *link, bool gone);
	void (*on_address)(void *ctx, const struct netmon_address *address, bool gone);
	void *ctx;
};

/* A negative errno if the kernel refuses the socket or the first dump. */
int netmon_new(struct loop *loop, const struct netmon_handlers *handlers,
	       struct netmon **ret_netmon);
struct netmon *netmon_free(struct netmon *netmon); /* NULL is fine; returns NULL */

/* Takes in what is already queued, calling the handlers: after changes of one's own, so that the
 * table has them. */
void netmon_catch_up(struct netmon *netmon);

/* NULL: there is none, or the kernel has not told of it yet. */
const struct netmon_link *netmon_link_by_index(const struct netmon *netmon, int ifindex);
const struct netmon_link *netmon_link_by_name(const struct netmon *netmon, const char *name);
/* The entry for exactly this local address, whatever its prefix; one with the protocol mark is
 * preferred. ifindex 0: any interface. NULL: there is none. */
const struct netmon_address *netmon_address_find(const struct netmon *netmon, int ifindex,
						 const struct ip_addr *addr);
/* Does another address of the interface have addr within its subnet? */
bool netmon_has_subnet(const struct netmon *netmon, int ifindex, const struct ip_addr *addr);
/* Is there an address that carries no mark of ours and would have the same subnet route as prefix?
 */
bool netmon_has_kin(const struct netmon *netmon, int ifindex, const struct ip_prefix *prefix);
/* The interface's first IPv4 address that carries no mark of ours, as a source for multicast. */
bool netmon_own_address(const struct netmon *netmon, int ifindex, struct ip_addr *ret_addr);

/* The interface's link-local address (IPv6). */
bool netmon_link_local(const struct netmon *netmon, int ifindex, struct ip_addr *ret_addr);
/* Does one of this host's interfaces have this hardware address? */
bool netmon_is_own_mac(const struct netmon *netmon, const uint8_t mac[6]);

/* Does this kernel keep IFA_PROTO, the mark by which an address is known as ours? */
bool netmon_keeps_protocol(void);

#endif
