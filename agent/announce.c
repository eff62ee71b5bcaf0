/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/announce.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define ICMPV6 58
#define NEIGHBOR_SOLICIT 135
#define NEIGHBOR_ADVERT 136
#define FLAG_ROUTER 0x80
#define FLAG_OVERRIDE 0x20
#define OPTION_SOURCE_MAC 1
#define OPTION_TARGET_MAC 2

struct ethernet {
	uint8_t destination[6], source[6];
	uint16_t type;
} __attribute__((packed));

/* ARP for IPv4 over Ethernet as it is on the wire (RFC 826). */
struct arp_packet {
	struct ethernet ethernet;
	uint16_t hardware_type, protocol_type;
	uint8_t hardware_size, protocol_size;
	uint16_t operation;
	uint8_t sender_mac[6], sender_ip[4];
	uint8_t target_mac[6], target_ip[4];
} __attribute__((packed));

/* A neighbour advertisement (RFC 4861 section 4.4) with its one option, in IPv6; a solicitation
 * (section 4.3) has the same form, and no flags. */
struct na_packet {
	struct ethernet ethernet;
	uint8_t version_class_flow[4];
	uint16_t payload_size;
	uint8_t next_header, hop_limit;
	uint8_t source[16], destination[16];
	uint8_t type, code;
	uint16_t checksum;
	uint8_t flags, reserved[3];
	uint8_t target[16];
	uint8_t option, option_words;
	uint8_t mac[6];
} __attribute__((packed));

#define NA_ICMP_AT offsetof(struct na_packet, type)
#define NA_ICMP_BYTES (sizeof(struct na_packet) - NA_ICMP_AT)

int announce_open(int *ret_fd)
{
	/* Protocol 0: the kernel delivers nothing to this socket. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int put_on_wire(int fd, int ifindex, uint16_t type, const void *packet, size_t size)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(type),
		.sll_ifindex = ifindex,
		.sll_hatype = htons(ARPHRD_ETHER),
		.sll_halen = 6,
	};

	memcpy(to.sll_addr, ((const struct ethernet *)packet)->destination, 6);
	if (sendto(fd, packet, size, 0, (struct sockaddr *)&to, sizeof to) < 0)
		return -errno;
	return 0;
}

/* RFC 9568 section 7.3, for IPv4. */
static bool is_virtual(const uint8_t mac[6])
{
	static const uint8_t start[] = {0x00, 0x00, 0x5e, 0x00, 0x01};

	return !memcmp(mac, start, sizeof start);
}

/* To all: who has addr? From nobody yet, as a probe is (RFC 5227 section 2.1.1). */
static struct arp_packet arp_request(const uint8_t mac[6], const struct ip_addr *addr)
{
	struct arp_packet packet = {
		.ethernet = {.destination = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
			     .type = htons(ETH_P_ARP)},
		.hardware_type = htons(ARPHRD_ETHER),
		.protocol_type = htons(ETH_P_IP),
		.hardware_size = 6,
		.protocol_size = 4,
		.operation = htons(ARPOP_REQUEST),
	};

	memcpy(packet.ethernet.source, mac, sizeof packet.ethernet.source);
	memcpy(packet.sender_mac, mac, sizeof packet.sender_mac);
	memcpy(packet.target_ip, addr->bytes, sizeof packet.target_ip);
	return packet;
}

static int send_arp(int fd, int ifindex, const uint8_t mac[6], const struct ip_addr *addr)
{
	struct arp_packet packet = arp_request(mac, addr);

	memcpy(packet.sender_ip, addr->bytes, sizeof packet.sender_ip);
	if (is_virtual(mac)) {
		packet.operation = htons(ARPOP_REPLY);
		memcpy(packet.target_mac, mac, sizeof packet.target_mac);
	}
	return put_on_wire(fd, ifindex, ETH_P_ARP, &packet, sizeof packet);
}

static uint32_t sum_words(uint32_t sum, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	return sum;
}

/* RFC 4443 section 2.3: the pseudo header is addresses, length and protocol. */
static uint16_t checksum_of(const struct na_packet *packet)
{
	uint32_t sum = sum_words(ICMPV6 + NA_ICMP_BYTES, packet->source, 32);

	sum = sum_words(sum, (const uint8_t *)packet + NA_ICMP_AT, NA_ICMP_BYTES);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static int send_na(int fd, int ifindex, const uint8_t mac[6], const struct ip_addr *addr)
{
	struct na_packet packet = {
		/* RFC 2464 section 7: where ff02::1 goes on Ethernet. */
		.ethernet = {.destination = {0x33, 0x33, [5] = 1}, .type = htons(ETH_P_IPV6)},
		.version_class_flow = {0x60},
		.payload_size = htons(NA_ICMP_BYTES),
		.next_header = ICMPV6,
		.hop_limit = 255,
		.destination = {0xff, 0x02, [15] = 1},
		.type = NEIGHBOR_ADVERT,
		/* RFC 9568 section 6.4.2: router, not solicited, override. */
		.flags = FLAG_ROUTER | FLAG_OVERRIDE,
		.option = OPTION_TARGET_MAC,
		.option_words = 1,
	};

	memcpy(packet.ethernet.source, mac, sizeof packet.ethernet.source);
	memcpy(packet.source, addr->bytes, sizeof packet.source);
	memcpy(packet.target, addr->bytes, sizeof packet.target);
	memcpy(packet.mac, mac, sizeof packet.mac);
	packet.checksum = checksum_of(&packet);
	return put_on_wire(fd, ifindex, ETH_P_IPV6, &packet, sizeof packet);
}

int announce_send(int fd, int ifindex, const uint8_t mac[6], const struct ip_addr *addr)
{
	switch (addr->family) {
	case IP_V4:
		return send_arp(fd, ifindex, mac, addr);
	case IP_V6:
		return send_na(fd, ifindex, mac, addr);
	default:
		return -EAFNOSUPPORT;
	}
}

static int ask_arp(int fd, int ifindex, const uint8_t mac[6], const struct ip_addr *addr)
{
	struct arp_packet packet = arp_request(mac, addr);

	return put_on_wire(fd, ifindex, ETH_P_ARP, &packet, sizeof packet);
}

/* To the solicited-node group of the address (RFC 4291 section 2.7.1), which its holder is in. */
static int ask_ns(int fd, int ifindex, const uint8_t mac[6], const struct ip_addr *source,
		  const struct ip_addr *addr)
{
	struct na_packet packet = {
		.ethernet = {.destination = {0x33, 0x33, 0xff}, .type = htons(ETH_P_IPV6)},
		.version_class_flow = {0x60},
		.payload_size = htons(NA_ICMP_BYTES),
		.next_header = ICMPV6,
		.hop_limit = 255,
		.destination = {0xff, 0x02, [11] = 1, [12] = 0xff},
		.type = NEIGHBOR_SOLICIT,
		.option = OPTION_SOURCE_MAC,
		.option_words = 1,
	};

	memcpy(packet.ethernet.destination + 3, addr->bytes + 13, 3);
	memcpy(packet.ethernet.source, mac, sizeof packet.ethernet.source);
	memcpy(packet.source, source->bytes, sizeof packet.source);
	memcpy(packet.destination + 13, addr->bytes + 13, 3);
	memcpy(packet.target, addr->bytes, sizeof packet.target);
	memcpy(packet.mac, mac, sizeof packet.mac);
	packet.checksum = checksum_of(&packet);
	return put_on_wire(fd, ifindex, ETH_P_IPV6, &packet, sizeof packet);
}

int announce_ask(int fd, int ifindex, const uint8_t mac[6], const struct ip_addr *source,
		 const struct ip_addr *addr)
{
	switch (addr->family) {
	case IP_V4:
		return ask_arp(fd, ifindex, mac, addr);
	case IP_V6:
		return ask_ns(fd, ifindex, mac, source, addr);
	default:
		return -EAFNOSUPPORT;
	}
}

int announce_listen(int ifindex, enum ip_family family, int *ret_fd)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(family == IP_V6 ? ETH_P_IPV6 : ETH_P_ARP),
		.sll_ifindex = ifindex,
	};
	/* Made without a protocol and bound once: changing a running socket's protocol waits for
	 * a grace period of the whole kernel. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;
	const int on = 1;

	if (fd < 0)
		return -errno;
	error = announce_hear(fd, family, false);
	/* Hundreds of announcements of our own may leave by this interface at once. */
	if (!error && setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on))
		error = -errno;
	if (!error && bind(fd, (struct sockaddr *)&at, sizeof at))
		error = -errno;
	if (error) {
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

int announce_hear(int fd, enum ip_family family, bool hear)
{
	struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, 0xffff)};
	/* Of all IPv6 that comes in: ICMPv6 right behind the header, a neighbour advertisement. */
	struct sock_filter adverts[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct na_packet, next_header)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMPV6, 0, 3),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NA_ICMP_AT),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NEIGHBOR_ADVERT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = COUNT_OF(nothing), .filter = nothing};

	if (hear && family == IP_V6)
		program = (struct sock_fprog){.len = COUNT_OF(adverts), .filter = adverts};
	else if (hear)
		program = (struct sock_fprog){.len = COUNT_OF(all), .filter = all};
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
		return -errno;
	return 0;
}

/* Of an IPv6 address the last word is looked at here, and all of it by whoever receives. */
static uint32_t word_of(const struct ip_addr *addr)
{
	const uint8_t *at = addr->bytes + ip_size(addr) - 4;

	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

int announce_hear_of(int fd, enum ip_family family, const struct ip_addr *addrs, int count)
{
	struct sock_filter rows[2 * ANNOUNCE_HEAR_MAX + 8];
	struct sock_fprog program = {.filter = rows};
	const bool six = family == IP_V6;

	if (count > ANNOUNCE_HEAR_MAX)
		return announce_hear(fd, family, true);
	if (six) {
		const struct sock_filter adverts[] = {
			BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct na_packet, next_header)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMPV6, 1, 0),
			BPF_STMT(BPF_RET | BPF_K, 0),
			BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NA_ICMP_AT),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NEIGHBOR_ADVERT, 1, 0),
			BPF_STMT(BPF_RET | BPF_K, 0),
		};

		memcpy(rows, adverts, sizeof adverts);
		program.len = COUNT_OF(adverts);
	}
	rows[program.len++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, six ? offsetof(struct na_packet, target) + 12
					      : offsetof(struct arp_packet, sender_ip));
	for (int i = 0; i < count; i++) {
		rows[program.len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
								   word_of(&addrs[i]), 0, 1);
		rows[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0xffff);
	}
	rows[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
		return -errno;
	return 0;
}

static bool read_arp(const struct arp_packet *packet, const uint8_t own_mac[6],
		     struct ip_addr *ret_addr)
{
	static const uint8_t no_ip[4];

	if (packet->hardware_type != htons(ARPHRD_ETHER) ||
	    packet->protocol_type != htons(ETH_P_IP) || packet->hardware_size != 6 ||
	    packet->protocol_size != 4 || !memcmp(packet->sender_ip, no_ip, sizeof no_ip) ||
	    !memcmp(packet->sender_mac, own_mac, sizeof packet->sender_mac))
		return false;
	ret_addr->family = IP_V4;
	memcpy(ret_addr->bytes, packet->sender_ip, sizeof packet->sender_ip);
	return true;
}

/* Without its option an advertisement moves nothing, so that it announces nothing. The hop limit
 * shows that no router has brought it (RFC 4861 section 7.1.2). */
static bool read_na(const struct na_packet *packet, const uint8_t own_mac[6],
		    struct ip_addr *ret_addr)
{
	if (packet->next_header != ICMPV6 || packet->hop_limit != 255 ||
	    packet->type != NEIGHBOR_ADVERT || packet->code != 0 ||
	    packet->option != OPTION_TARGET_MAC || packet->option_words != 1 ||
	    !memcmp(packet->mac, own_mac, sizeof packet->mac))
		return false;
	ret_addr->family = IP_V6;
	memcpy(ret_addr->bytes, packet->target, sizeof packet->target);
	return true;
}

int announce_receive(int fd, const uint8_t own_mac[6], struct ip_addr *ret_addr, uint8_t ret_mac[6])
{
	union {
		struct ethernet ethernet;
		struct arp_packet arp;
		struct na_packet na;
	} packet;
	struct ip_addr addr = {0};
	struct sockaddr_ll from = {0};
	socklen_t from_size = sizeof from;
	ssize_t size =
		recvfrom(fd, &packet, sizeof packet, 0, (struct sockaddr *)&from, &from_size);
	bool good;

	if (size < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	if (from.sll_pkttype == PACKET_OUTGOING || (size_t)size < sizeof packet.ethernet)
		return -EBADMSG;
	if (packet.ethernet.type == htons(ETH_P_ARP))
		good = (size_t)size >= sizeof packet.arp && read_arp(&packet.arp, own_mac, &addr);
	else
		good = packet.ethernet.type == htons(ETH_P_IPV6) &&
		       (size_t)size >= sizeof packet.na && read_na(&packet.na, own_mac, &addr);
	if (!good)
		return -EBADMSG;
	*ret_addr = addr;
	if (ret_mac)
		memcpy(ret_mac, addr.family == IP_V4 ? packet.arp.sender_mac : packet.na.mac, 6);
	return 0;
}
