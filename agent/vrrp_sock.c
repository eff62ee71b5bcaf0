/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/vrrp_sock.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define VRRP_PROTOCOL 112
/* Some 10,000 adverts: of 250 routers at 0.1 s, all that come while nobody reads for four seconds.
 */
#define RECEIVE_BYTES (4 * 1024 * 1024)
#define TOS 0xc0 /* internetwork control */
#define TTL 255
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29 /* Linux 4.20; glibc 2.36 does not name it */
#endif

static int attach(int fd, struct sock_filter *code, size_t count)
{
	struct sock_fprog program = {.len = (unsigned short)count, .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* Puts into the accumulator, in which the VRID is, the word of the set that has its bit, and then
 * that bit. X is the VRID's place within the word. */
static size_t add_lookup(struct sock_filter *code, const struct vrrp_sock_vrids *vrids)
{
	const uint8_t words = COUNT_OF(vrids->words);
	size_t at = 0;

	for (uint8_t word = 0; word < words; word++) {
		/* Each of these is three long; what follows them comes behind the last one. */
		const uint32_t rest = (uint32_t)(words - 1 - word) * 3;

		code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, word, 0, 2);
		code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, vrids->words[word]);
		code[at++] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, rest);
	}
	code[at++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_RSH | BPF_X, 0);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 1);
	return at;
}

/* An IPv4 raw socket sees the IP header at offset 0 (MSH gives its length), an IPv6 one what
 * follows it. The TTL and the version are not looked at here, so that a wrong one can be counted
 * under its name. */
int vrrp_sock_hear(int fd, enum ip_family family, const struct vrrp_sock_vrids *vrids)
{
	const uint16_t vrid_at = BPF_LD | BPF_B | (family == IP_V6 ? BPF_ABS : BPF_IND);
	struct sock_filter code[64];
	size_t at = 0;

	if (family == IP_V4)
		code[at++] = (struct sock_filter)BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0);
	code[at++] = (struct sock_filter)BPF_STMT(vrid_at, VRRP_SOCK_VRID_AT);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_ST, 0);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 31);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_MISC | BPF_TAX, 0);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_MEM, 0);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 5);
	at += add_lookup(code + at, vrids);
	code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0xffff);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	assert(at <= COUNT_OF(code));
	return attach(fd, code, at) ? -errno : 0;
}

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof value);
}

/* ifindex matters where an address is one of a link: fe80::/10, ff02::/16. */
static socklen_t sockaddr_of(const struct ip_addr *addr, int ifindex,
			     struct sockaddr_storage *ret_sockaddr)
{
	memset(ret_sockaddr, 0, sizeof *ret_sockaddr);
	if (addr->family == IP_V6) {
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

		memcpy(&in6.sin6_addr, addr->bytes, 16);
		if (ip_is_link_local(addr) || addr->bytes[0] == 0xff)
			in6.sin6_scope_id = (uint32_t)ifindex;
		memcpy(ret_sockaddr, &in6, sizeof in6);
		return sizeof in6;
	} else {
		struct sockaddr_in in = {.sin_family = AF_INET};

		memcpy(&in.sin_addr, addr->bytes, 4);
		memcpy(ret_sockaddr, &in, sizeof in);
		return sizeof in;
	}
}

static bool addr_of(const struct sockaddr_storage *from, struct ip_addr *ret_addr)
{
	memset(ret_addr, 0, sizeof *ret_addr);
	if (from->ss_family == AF_INET6) {
		ret_addr->family = IP_V6;
		memcpy(ret_addr->bytes, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
		return true;
	}
	ret_addr->family = IP_V4;
	memcpy(ret_addr->bytes, &((const struct sockaddr_in *)from)->sin_addr, 4);
	return from->ss_family == AF_INET;
}

static int prepare_v4(int fd, const struct vrrp_sock_options *options)
{
	struct ip_mreqn group = {.imr_ifindex = options->ifindex};

	if (set(fd, IPPROTO_IP, IP_PKTINFO, 1) ||
	    /* Otherwise groups that other sockets of the host joined are delivered here too. */
	    set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0))
		return -errno;
	memcpy(&group.imr_multiaddr, options->group.bytes, 4);
	if (options->multicast &&
	    setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group))
		return -errno;
	return 0;
}

static int prepare_v6(int fd, const struct vrrp_sock_options *options)
{
	struct ipv6_mreq group = {.ipv6mr_interface = (unsigned)options->ifindex};

	if (set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) ||
	    set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) ||
	    set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0))
		return -errno;
	memcpy(&group.ipv6mr_multiaddr, options->group.bytes, 16);
	if (options->multicast &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group))
		return -errno;
	return 0;
}

static int prepare(int fd, const struct vrrp_sock_options *options)
{
	const bool is_v6 = options->source.family == IP_V6;
	struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sockaddr_storage at;
	socklen_t size;
	int error;

	/* The filter comes first: nothing foreign may be in the queue. */
	if (attach(fd, nothing, COUNT_OF(nothing)) ||
	    (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES) &&
	     set(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BYTES)) ||
	    set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1) || set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1))
		return -errno;
	if (options->multicast && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, options->ifname,
					     (socklen_t)strlen(options->ifname)))
		return -errno;
	error = is_v6 ? prepare_v6(fd, options) : prepare_v4(fd, options);
	if (error || options->multicast)
		return error;
	size = sockaddr_of(&options->source, options->ifindex, &at);
	return bind(fd, (struct sockaddr *)&at, size) ? -errno : 0;
}

int vrrp_sock_open(const struct vrrp_sock_options *options, int *ret_fd)
{
	int fd, error;

	if (options->source.family != IP_V4 && options->source.family != IP_V6)
		return -EAFNOSUPPORT;
	fd = socket(options->source.family == IP_V6 ? AF_INET6 : AF_INET,
		    SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, VRRP_PROTOCOL);
	if (fd < 0)
		return -errno;
	error = prepare(fd, options);
	if (error) {
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

static void read_control(struct msghdr *header, struct vrrp_sock_packet *packet)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec stamp;

			memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
			packet->wall_us = (int64_t)stamp.tv_sec * 1000000 + stamp.tv_nsec / 1000;
			packet->has_stamp = true;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&packet->dropped, CMSG_DATA(c), sizeof packet->dropped);
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof info);
			packet->ifindex = info.ipi_ifindex;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof info);
			packet->ifindex = (int)info.ipi6_ifindex;
			packet->destination.family = IP_V6;
			memcpy(packet->destination.bytes, &info.ipi6_addr, 16);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT) {
			int hops;

			memcpy(&hops, CMSG_DATA(c), sizeof hops);
			packet->ttl = (uint8_t)hops;
		}
	}
}

/* Takes the IPv4 header off. False: there is none. */
static bool open_v4(struct vrrp_sock_packet *packet)
{
	const uint8_t *room = packet->room;
	size_t header_size = (size_t)(room[0] & 0x0f) * 4;

	if (packet->size < 20 || room[0] >> 4 != 4 || header_size < 20 ||
	    header_size > packet->size)
		return false;
	packet->ttl = room[8];
	packet->destination.family = IP_V4;
	memcpy(packet->source.bytes, room + 12, 4);
	memcpy(packet->destination.bytes, room + 16, 4);
	packet->payload += header_size;
	packet->size -= header_size;
	return true;
}

/* What recvmmsg(2) has filled in, taken apart. */
static void open_packet(struct msghdr *header, size_t size, struct vrrp_sock_packet *packet)
{
	packet->has_stamp = false;
	packet->wall_us = 0;
	packet->ifindex = 0;
	packet->dropped = 0;
	packet->ttl = 0;
	memset(&packet->destination, 0, sizeof packet->destination);
	packet->payload = packet->room;
	packet->size = size;
	if (!addr_of(header->msg_name, &packet->source) || (header->msg_flags & MSG_TRUNC) ||
	    (packet->source.family == IP_V4 && !open_v4(packet))) {
		packet->payload = NULL;
		return;
	}
	read_control(header, packet);
	if (packet->destination.family == IP_NONE)
		packet->payload = NULL;
}

int vrrp_sock_receive(int fd, struct vrrp_sock_packet packets[VRRP_SOCK_BATCH])
{
	union {
		char bytes[256];
		struct cmsghdr align;
	} controls[VRRP_SOCK_BATCH];
	struct sockaddr_storage from[VRRP_SOCK_BATCH];
	struct iovec parts[VRRP_SOCK_BATCH];
	struct mmsghdr headers[VRRP_SOCK_BATCH];
	int count;

	for (int i = 0; i < VRRP_SOCK_BATCH; i++) {
		parts[i] = (struct iovec){.iov_base = packets[i].room,
					  .iov_len = sizeof packets[i].room};
		headers[i].msg_hdr = (struct msghdr){
			.msg_name = &from[i],
			.msg_namelen = sizeof from[i],
			.msg_iov = &parts[i],
			.msg_iovlen = 1,
			.msg_control = &controls[i],
			.msg_controllen = sizeof controls[i],
		};
	}
	count = recvmmsg(fd, headers, VRRP_SOCK_BATCH, MSG_DONTWAIT, NULL);
	if (count < 0)
		return errno == EWOULDBLOCK ? 0 : -errno;
	for (int i = 0; i < count; i++)
		open_packet(&headers[i].msg_hdr, headers[i].msg_len, &packets[i]);
	return count;
}

/* ---- sending ---- */

int vrrp_sock_open_sender(enum ip_family family, int *ret_fd)
{
	/* No packet has this protocol, so that nothing is ever received; and the IP header is ours,
	 * so that the source may be an address of another interface than the one it leaves by. */
	int fd = socket(family == IP_V6 ? AF_INET6 : AF_INET,
			SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	int error;

	if (fd < 0)
		return -errno;
	if (set(fd, SOL_SOCKET, SO_PRIORITY, 6) ||
	    (family == IP_V6 ? set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0) ||
				       set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
			     : set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0))) {
		error = -errno;
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

static void put_control(struct msghdr *header, int level, int type, const void *data, size_t size)
{
	struct cmsghdr *c = header->msg_control;

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(size);
	header->msg_controllen = CMSG_SPACE(size);
	memcpy(CMSG_DATA(c), data, size);
}

/* The kernel fills in length, identification and checksum. */
static size_t make_v4(const struct ip_addr *source, const struct ip_addr *destination,
		      struct iphdr *ret_ip)
{
	*ret_ip = (struct iphdr){
		.version = 4, .ihl = 5, .tos = TOS, .ttl = TTL, .protocol = VRRP_PROTOCOL};
	memcpy(&ret_ip->saddr, source->bytes, 4);
	memcpy(&ret_ip->daddr, destination->bytes, 4);
	return sizeof *ret_ip;
}

static size_t make_v6(const struct ip_addr *source, const struct ip_addr *destination,
		      size_t payload_size, struct ip6_hdr *ret_ip)
{
	memset(ret_ip, 0, sizeof *ret_ip);
	ret_ip->ip6_flow = htonl(UINT32_C(6) << 28 | (uint32_t)TOS << 20);
	ret_ip->ip6_plen = htons((uint16_t)payload_size);
	ret_ip->ip6_nxt = VRRP_PROTOCOL;
	ret_ip->ip6_hlim = TTL;
	memcpy(&ret_ip->ip6_src, source->bytes, 16);
	memcpy(&ret_ip->ip6_dst, destination->bytes, 16);
	return sizeof *ret_ip;
}

int vrrp_sock_send(int fd, int ifindex, const struct ip_addr *source,
		   const struct ip_addr *destination, const void *payload, size_t size)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	union {
		struct iphdr v4;
		struct ip6_hdr v6;
	} ip;
	struct sockaddr_storage to;
	struct iovec parts[] = {{.iov_base = &ip},
				{.iov_base = (void *)(uintptr_t)payload, .iov_len = size}};
	struct msghdr header = {
		.msg_name = &to,
		.msg_namelen = sockaddr_of(destination, ifindex, &to),
		.msg_iov = parts,
		.msg_iovlen = COUNT_OF(parts),
		.msg_control = &control,
	};

	/* The source again: so that the kernel looks for none, and refuses one that has left this
	 * host; not an IPv6 one, which may live on another interface than it leaves by. */
	if (source->family == IP_V6) {
		struct in6_pktinfo info = {.ipi6_ifindex = (unsigned)ifindex};

		memcpy(&info.ipi6_addr, source->bytes, 16);
		parts[0].iov_len = make_v6(source, destination, size, &ip.v6);
		put_control(&header, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
	} else {
		struct in_pktinfo info = {.ipi_ifindex = ifindex};

		memcpy(&info.ipi_spec_dst, source->bytes, 4);
		parts[0].iov_len = make_v4(source, destination, &ip.v4);
		put_control(&header, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
	}
	if (sendmsg(fd, &header, MSG_DONTWAIT) < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return 0;
}
