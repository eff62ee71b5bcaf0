/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrrp_sock: the raw socket of one virtual router (IP protocol 112, IPv4 or IPv6).
 *
 * A port. A multicast socket is bound to its interface and joins 224.0.0.18, or ff02::12, there; a
 * unicast one is bound to the node's own source address, whose family is the socket's. The kernel
 * hands over only adverts that carry the router's VRID: everything else that may be wrong with them
 * is judged, and counted, above. The socket may be used by a process that did not open it, also
 * after that one has died: what arrived meanwhile is still queued.
 */
#ifndef TANDEM_VRRP_SOCK_H
#define TANDEM_VRRP_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/ip.h"

/* More than any advert: 255 IPv6 addresses are 4,096 bytes, and before IPv4's stands a header. */
#define VRRP_SOCK_PACKET_BYTES_MAX 4352

struct vrrp_sock_options {
	int ifindex;
	const char *ifname;
	int vrid;
	bool multicast;
	struct ip_addr source; /* unicast: bound to; multicast: sent from */
};

struct vrrp_sock_packet {
	struct ip_addr source, destination;
	uint8_t ttl; /* the hop limit, where it is IPv6 */
	int ifindex;
	bool has_stamp;
	int64_t wall_us;	/* the kernel's stamp, CLOCK_REALTIME */
	uint32_t dropped;	/* packets the socket's full queue has lost so far */
	const uint8_t *payload; /* what follows the IP header(s); lies in room */
	size_t size;
	uint8_t room[VRRP_SOCK_PACKET_BYTES_MAX];
};

extern const struct ip_addr vrrp_sock_group_v4, vrrp_sock_group_v6;

/* -EADDRNOTAVAIL: the source address is not on this host (yet). -ENODEV: nor is the interface. */
int vrrp_sock_open(const struct vrrp_sock_options *options, int *ret_fd);
/* Never blocks. -EAGAIN: the queue is empty. -EBADMSG: not even an IP header; read on. */
int vrrp_sock_receive(int fd, struct vrrp_sock_packet *ret_packet);
/* Never blocks. ifindex 0: as the host routes to the destination; not possible for a link-local
 * source. The payload is sent as it is, its checksum being the sender's business in both families:
 * what the kernel verified by itself (IPV6_CHECKSUM) would be dropped without a name. */
int vrrp_sock_send(int fd, int ifindex, const struct ip_addr *source,
		   const struct ip_addr *destination, const void *payload, size_t size);

#endif
