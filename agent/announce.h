/* SPDX-License-Identifier: Apache-2.0 */
/*
 * announce: tells a network where an address now lives, and hears who else says so.
 *
 * A port around AF_PACKET. IPv4 is announced with gratuitous ARP in the request form (sender and
 * target address equal, target hardware address zero): the form that Linux clients take at once,
 * whatever the age of their entry; the reply form with a broadcast target is ignored by a young
 * one. IPv6 is announced with an unsolicited neighbour advertisement to all nodes that overrides.
 */
#ifndef TANDEM_ANNOUNCE_H
#define TANDEM_ANNOUNCE_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/ip.h"

/* One socket sends on any interface; it never receives. */
int announce_open(int *ret_fd);
/* A negative errno: -ENETDOWN, -ENODEV, -ENOBUFS ... as the kernel says. */
int announce_send(int fd, int ifindex, const uint8_t mac[6], const struct ip_addr *addr);

/* A socket for the interface's ARP (IP_V4) or neighbour advertisements (IP_V6); it hears nothing
 * until announce_hear(), which must be told the same family. Closing one waits for a
 * grace period of the kernel, 10 ms and more: so it is kept, and its ears are opened and shut. */
int announce_listen(int ifindex, enum ip_family family, int *ret_fd);
int announce_hear(int fd, enum ip_family family, bool hear);
/* Takes one packet. 0: *ret_addr is what another station than own_mac says to have. -EAGAIN:
 * nothing is queued. -EBADMSG: a packet that says nothing; ask again. */
int announce_receive(int fd, const uint8_t own_mac[6], struct ip_addr *ret_addr);

#endif
