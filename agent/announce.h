/* SPDX-License-Identifier: Apache-2.0 */
/*
 * announce: tells a network where an address now lives, asks who else has it, and hears who says
 * so.
 *
 * A port around AF_PACKET. IPv4 is announced with gratuitous ARP in the request form (sender and
 * target address equal, target hardware address zero): the form that Linux clients take at once,
 * whatever the age of their entry; the reply form with a broadcast target is ignored by a young
 * one. Where the hardware address is the virtual router's, it is the reply form with itself as the
 * target: a request would be answered by the holder before us, who has the same address, and the
 * switch would send all to him again. IPv6 is announced with an unsolicited neighbour advertisement
 * to all nodes that overrides.
 *
 * A question changes nobody's cache: for IPv4 the probe of RFC 5227 section 2.1.1, for IPv6 a
 * neighbour solicitation from a link-local address, which no duplicate address detection minds.
 * Functions return 0 or a negative errno, -ENETDOWN, -ENODEV, -ENOBUFS ... as the kernel says.
 */
#ifndef TANDEM_ANNOUNCE_H
#define TANDEM_ANNOUNCE_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/ip.h"

/* One socket sends on any interface; it never receives. */
int announce_open(int *ret_fd);
/* Says once that addr lives at mac, on that interface. */
int announce_send(int fd, int ifindex, const uint8_t mac[6], const struct ip_addr *addr);

/* Asks who has addr; for IPv6 from source, a link-local address of the interface. The answer comes
 * to whoever listens. */
int announce_ask(int fd, int ifindex, const uint8_t mac[6], const struct ip_addr *source,
		 const struct ip_addr *addr);

/* A socket for the interface's ARP (IP_V4) or neighbour advertisements (IP_V6); it hears nothing
 * until announce_hear(), which must be told the same family. Closing one waits for a
 * grace period of the kernel, 10 ms and more: so it is kept, and its ears are opened and shut. */
int announce_listen(int ifindex, enum ip_family family, int *ret_fd);
/* hear: all that is said from now on; otherwise nothing any more. */
int announce_hear(int fd, enum ip_family family, bool hear);
/* Hears what is said of these addresses alone; of more than ANNOUNCE_HEAR_MAX, of all. */
int announce_hear_of(int fd, enum ip_family family, const struct ip_addr *addrs, int count);
#define ANNOUNCE_HEAR_MAX 256 /* a longer filter can be more than a socket may have */
/* Takes one packet. 0: *ret_addr is what another station than own_mac says to have, ret_mac (may be
 * NULL) who says so. -EAGAIN: nothing is queued. -EBADMSG: a packet that says nothing; ask again.
 */
int announce_receive(int fd, const uint8_t own_mac[6], struct ip_addr *ret_addr,
		     uint8_t ret_mac[6]);

#endif
