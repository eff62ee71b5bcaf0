/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/announce.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ARP for IPv4 over Ethernet as it is on the wire (RFC 826). */
struct arp_packet {
	uint8_t destination[6], source[6];
	uint16_t ether_type;
	uint16_t hardware_type, protocol_type;
	uint8_t hardware_size, protocol_size;
	uint16_t operation;
	uint8_t sender_mac[6], sender_ip[4];
	uint8_t target_mac[6], target_ip[4];
} __attribute__((packed));

int announce_open(int *ret_fd)
{
	/* Protocol 0: the kernel delivers nothing to this socket. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int announce_send(int fd, int ifindex, const uint8_t mac[6], const struct ip_addr *addr)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ARP),
		.sll_ifindex = ifindex,
		.sll_hatype = htons(ARPHRD_ETHER),
		.sll_halen = 6,
	};
	struct arp_packet packet = {
		.ether_type = htons(ETH_P_ARP),
		.hardware_type = htons(ARPHRD_ETHER),
		.protocol_type = htons(ETH_P_IP),
		.hardware_size = 6,
		.protocol_size = 4,
		.operation = htons(ARPOP_REQUEST),
	};

	if (addr->family != IP_V4)
		return -EAFNOSUPPORT;
	memset(packet.destination, 0xff, sizeof packet.destination);
	memset(to.sll_addr, 0xff, 6);
	memcpy(packet.source, mac, sizeof packet.source);
	memcpy(packet.sender_mac, mac, sizeof packet.sender_mac);
	memcpy(packet.sender_ip, addr->bytes, sizeof packet.sender_ip);
	memcpy(packet.target_ip, addr->bytes, sizeof packet.target_ip);
	if (sendto(fd, &packet, sizeof packet, 0, (struct sockaddr *)&to, sizeof to) < 0)
		return -errno;
	return 0;
}

int announce_listen(int ifindex, int *ret_fd)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ARP),
		.sll_ifindex = ifindex,
	};
	/* Made without a protocol and bound once: changing a running socket's protocol waits for
	 * a grace period of the whole kernel. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

	if (fd < 0)
		return -errno;
	error = announce_hear(fd, false);
	if (!error && bind(fd, (struct sockaddr *)&at, sizeof at))
		error = -errno;
	if (error) {
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

int announce_hear(int fd, bool hear)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, hear ? 0xffff : 0)};
	struct sock_fprog program = {.len = 1, .filter = code};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
		return -errno;
	return 0;
}

int announce_receive(int fd, const uint8_t own_mac[6], struct ip_addr *ret_addr)
{
	struct arp_packet packet;
	struct sockaddr_ll from;
	socklen_t from_size = sizeof from;
	static const uint8_t no_ip[4];
	ssize_t size =
		recvfrom(fd, &packet, sizeof packet, 0, (struct sockaddr *)&from, &from_size);

	if (size < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	if ((size_t)size < sizeof packet || from.sll_pkttype == PACKET_OUTGOING ||
	    packet.hardware_type != htons(ARPHRD_ETHER) ||
	    packet.protocol_type != htons(ETH_P_IP) || packet.hardware_size != 6 ||
	    packet.protocol_size != 4 || !memcmp(packet.sender_ip, no_ip, sizeof no_ip) ||
	    !memcmp(packet.sender_mac, own_mac, sizeof packet.sender_mac))
		return -EBADMSG;
	memset(ret_addr, 0, sizeof *ret_addr);
	ret_addr->family = IP_V4;
	memcpy(ret_addr->bytes, packet.sender_ip, sizeof packet.sender_ip);
	return 0;
}
