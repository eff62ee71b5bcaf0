/* SPDX-License-Identifier: Apache-2.0 */
/*
 * no_accept: drops what comes for addresses that are held and not served (RFC 9568 section 6.1,
 * Accept_Mode).
 *
 * A port around nf_tables (libnftnl), for the runner. One table, "tandem_CLUSTER", with one chain
 * where packets for this host come in; what the kernel needs to find neighbours passes, and what
 * comes from the host itself. The table belongs to this process: the kernel takes it away with it,
 * however it ends. (Before Linux 5.12 it outlives a crash, until a start with such addresses.)
 */
#ifndef TANDEM_NO_ACCEPT_H
#define TANDEM_NO_ACCEPT_H

#include "shared/ip.h"

struct no_accept_port;

/* name: of the cluster. Touches nothing yet. */
int no_accept_port_new(const char *name, struct no_accept_port **ret_port);
/* Takes the table away; NULL is fine; returns NULL. */
struct no_accept_port *no_accept_port_free(struct no_accept_port *port);

/* From now on these and no others, in one step. A negative errno: it is as it was. */
int no_accept_set(struct no_accept_port *port, const struct ip_addr *addrs, int count);

#endif
