/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmac: the interfaces that carry a virtual router's own hardware address (macvlan).
 *
 * A port around rtnetlink (libnl-route-3), for the runner: taking an interface away waits for the
 * kernel, 10 ms and more. What is ours says so in its alias (`ip link` shows it), with what the
 * interface below it was like before: so it can be told from anybody else's after any crash, and
 * what was changed is put back with the last of them.
 *
 * They are made in bridge mode, as a private one would swallow every multicast packet that comes
 * from the other holder of the same hardware address: its adverts. They have no IPv6 address of
 * their own and listen to no router, so that they say nothing until an address is put on them.
 */
#ifndef TANDEM_VMAC_H
#define TANDEM_VMAC_H

#include <stdbool.h>
#include <stdint.h>

struct vmac_port;

struct vmac {
	const char *name;   /* of the interface */
	const char *parent; /* the interface below it */
	uint8_t mac[6];
	const char *owner;  /* whose it is: a word that the same agent says after a restart */
	const char *router; /* its name in the configuration */
};

/* -ENOMEM, or what the kernel says of the socket. */
int vmac_port_new(struct vmac_port **ret_port);
struct vmac_port *vmac_port_free(struct vmac_port *port); /* NULL is fine; returns NULL */

/* Afterwards it is there and up; one that was as it should be is left alone. -ENODEV: there is no
 * parent. -EEXIST: somebody else's interface has that name. -EBUSY: another one has the address. */
int vmac_make(struct vmac_port *port, const struct vmac *vmac);
/* Takes away all of the owner's that stays() says no to (NULL: all); returns how many, or a
 * negative errno. A failure of one is logged. */
typedef bool (*vmac_stays_fn)(void *ctx, const char *name);
int vmac_sweep(struct vmac_port *port, const char *owner, vmac_stays_fn stays, void *ctx);

#endif
