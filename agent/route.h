/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route: puts the routes of a virtual router into the kernel's tables and takes them out again.
 *
 * A port around rtnetlink (libnl-route-3). Every route that goes through here is marked with
 * ROUTE_PROTOCOL, and the kernel is asked to remove a route with that mark only: one that somebody
 * else made, be it for the same destination, is never touched. So nothing needs to be remembered of
 * what was added: removing what is not there, or not ours, is harmless.
 *
 * Used by the engine, and by the runner when there is no engine.
 */
#ifndef TANDEM_ROUTE_H
#define TANDEM_ROUTE_H

#include "shared/conf.h"

#define ROUTE_PROTOCOL 0x54 /* as addresses are marked; beyond those of routing daemons */

struct route_port;

/* -ENOMEM, or what the kernel says of the socket. */
int route_port_new(struct route_port **ret_port);
struct route_port *route_port_free(struct route_port *port); /* NULL is fine; returns NULL */

/* ifindex: of the interface that route has on this node; 0 if there is none. -EEXIST: there is one
 * for this destination, ours or not. -ENODEV: there is no such interface. Others as the kernel
 * says. */
int route_add(struct route_port *port, int ifindex, const struct conf_route *route);
/* -ESRCH: it is not there, or not ours. */
int route_remove(struct route_port *port, int ifindex, const struct conf_route *route);

#endif
