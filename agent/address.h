/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address: puts service addresses on an interface and takes them off again.
 *
 * A port around rtnetlink (libnl-route-3). Every address that goes through here carries the mark
 * ADDRESS_PROTOCOL (IFA_PROTO, kept and shown by kernels from 5.18 on) and a lifetime: if
 * everything of ours is killed at once, the kernel takes the address off by itself. Calls block for
 * some tens of microseconds; none of them retries.
 *
 * Used by the engine, and by the runner when there is no engine.
 */
#ifndef TANDEM_ADDRESS_H
#define TANDEM_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/ip.h"

#define ADDRESS_PROTOCOL 0x54 /* 'T'; beyond those that the kernel and routing daemons use */
#define ADDRESS_FOREVER_S UINT32_MAX

struct address_port;

/* What IPv4 addresses may have beside their prefix. */
struct address_options {
	char label[16];		  /* "": the interface's name */
	uint8_t scope;		  /* enum rt_scope_t */
	struct ip_addr broadcast; /* IP_NONE: none */
};

/* -ENOMEM, or what the kernel says of the socket. */
int address_port_new(struct address_port **ret_port);
struct address_port *address_port_free(struct address_port *port); /* NULL is fine; returns NULL */

/* Adds, without a prefix route if prefix is a host's own; IPv6 without duplicate address detection,
 * and deprecated, so that nothing leaves the host from it unasked. lifetime_s: the kernel removes
 * it after so many seconds without address_renew(); ADDRESS_FOREVER_S: never. -EEXIST: it is there
 * already (under this prefix length); other negative errnos as the kernel says. */
int address_add(struct address_port *port, int ifindex, const struct ip_prefix *prefix,
		const struct address_options *options, uint32_t lifetime_s);
/* Makes it live on for lifetime_s from now; adds it if it has gone. */
int address_renew(struct address_port *port, int ifindex, const struct ip_prefix *prefix,
		  const struct address_options *options, uint32_t lifetime_s);
/* -EADDRNOTAVAIL: it was not there. Whatever options it was added with. Addresses that the kernel
 * takes along, because this one was the first of their subnet, are put back as they were. */
int address_remove(struct address_port *port, int ifindex, const struct ip_prefix *prefix);

/* Takes off every address that mine() says yes to, for a host where no engine runs; returns how
 * many, or a negative errno if the kernel's table cannot be read. A failing removal is logged. */
typedef bool (*address_mine_fn)(void *ctx, int ifindex, const struct ip_prefix *prefix,
				uint8_t protocol);
int address_sweep(struct address_port *port, address_mine_fn mine, void *ctx);

#endif
