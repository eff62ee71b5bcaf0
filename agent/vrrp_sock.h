/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrrp_sock: raw sockets for adverts (IP protocol 112, IPv4 or IPv6).
 *
 * A port. One socket receives for all virtual routers of an interface and family: each further one
 * would cost the kernel a copy of every advert, on the sender's time where both are on one machine.
 * A multicast socket is bound to its interface and joins its group there; a unicast one is bound to
 * the node's own source address, whose family is the socket's. The kernel hands over only adverts
 * that carry a wanted VRID: everything else that may be wrong with them is judged, and counted,
 * above. The socket may be used by a process that did not open it, also after that one has died:
 * what arrived meanwhile is still queued.
 *
 * Another one, that never receives, sends on every interface and from every address.
 */
#ifndef TANDEM_VRRP_SOCK_H
#define TANDEM_VRRP_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/ip.h"

/* More than any advert: 255 IPv6 addresses are 4,096 bytes, and before IPv4's stands a header. */
#define VRRP_SOCK_PACKET_BYTES_MAX 4352
#define VRRP_SOCK_BATCH 8   /* packets that one call takes */
#define VRRP_SOCK_VRID_AT 1 /* of the payload, in both versions */

struct vrrp_sock_options {
	int ifindex;
	const char *ifname;
	bool multicast;
	struct ip_addr group;  /* multicast: joined */
	struct ip_addr source; /* unicast: bound to; multicast: its family counts */
};

/* One bit for each: a router identifier has a byte. */
struct vrrp_sock_vrids {
	uint32_t words[8];
};

struct vrrp_sock_packet {
	struct ip_addr source, destination;
	uint8_t ttl; /* the hop limit, where it is IPv6 */
	int ifindex;
	bool has_stamp;
	int64_t wall_us;	/* the kernel's stamp, CLOCK_REALTIME */
	uint32_t dropped;	/* packets the socket's full queue has lost so far */
	const uint8_t *payload; /* what follows the IP header(s), in room; NULL: there is none */
	size_t size;
	uint8_t room[VRRP_SOCK_PACKET_BYTES_MAX];
};

/* Hears nothing yet. -EADDRNOTAVAIL: the source address is not on this host (yet). -ENODEV: nor is
 * the interface. */
int vrrp_sock_open(const struct vrrp_sock_options *options, int *ret_fd);
/* From now on the adverts with these VRIDs, and no others. */
int vrrp_sock_hear(int fd, enum ip_family family, const struct vrrp_sock_vrids *vrids);
/* Never blocks. Returns how many packets were taken, 0 to VRRP_SOCK_BATCH: fewer than that, and the
 * queue is empty. A negative errno says nothing of the socket: ENETDOWN and the like. */
int vrrp_sock_receive(int fd, struct vrrp_sock_packet packets[VRRP_SOCK_BATCH]);

/* One for each family. A negative errno: this host has none of it, or the right is missing. */
int vrrp_sock_open_sender(enum ip_family family, int *ret_fd);
/* Never blocks. ifindex 0: as the host routes to the destination; not possible for a link-local
 * source. The payload is sent as it is, its checksum being the caller's business in both families.
 */
int vrrp_sock_send(int fd, int ifindex, const struct ip_addr *source,
		   const struct ip_addr *destination, const void *payload, size_t size);

#endif
