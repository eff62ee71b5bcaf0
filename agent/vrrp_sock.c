/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/vrrp_sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define VRRP_PROTOCOL 112
#define RECEIVE_BYTES (256 * 1024) /* minutes of a busy network, while nobody reads */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29 /* Linux 4.20; glibc 2.36 does not name it */
#endif

const struct ip_addr vrrp_sock_group_v4 = {.family = IP_V4, .bytes = {224, 0, 0, 18}};
const struct ip_addr vrrp_sock_group_v6 = {.family = IP_V6, .bytes = {0xff, 0x02, [15] = 0x12}};

static int attach(int fd, struct sock_filter *code, size_t count)
{
	struct sock_fprog program = {.len = (unsigned short)count, .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* Only our VRID. An IPv4 raw socket sees the IP header at offset 0 (MSH gives its length), an IPv6
 * one what follows it. The TTL and the version are not looked at here, so that a wrong one can be
 * counted under its name. */
static int filter_vrid(int fd, bool is_v6, int vrid)
{
	struct sock_filter v4[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 1),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)vrid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter v6[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)vrid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	return is_v6 ? attach(fd, v6, COUNT_OF(v6)) : attach(fd, v4, COUNT_OF(v4));
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

	if (set(fd, IPPROTO_IP, IP_PKTINFO, 1) || set(fd, IPPROTO_IP, IP_TTL, 255) ||
	    set(fd, IPPROTO_IP, IP_TOS, 0xc0) ||
	    /* Otherwise groups that other sockets of the host joined are delivered here too. */
	    set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0))
		return -errno;
	memcpy(&group.imr_multiaddr, vrrp_sock_group_v4.bytes, 4);
	if (options->multicast &&
	    (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &group, sizeof group) ||
	     set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 255) ||
	     set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0) ||
	     setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group)))
		return -errno;
	return 0;
}

static int prepare_v6(int fd, const struct vrrp_sock_options *options)
{
	struct ipv6_mreq group = {.ipv6mr_interface = (unsigned)options->ifindex};

	if (set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) ||
	    set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) ||
	    set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255) ||
	    set(fd, IPPROTO_IPV6, IPV6_TCLASS, 0xc0) ||
	    set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0))
		return -errno;
	memcpy(&group.ipv6mr_multiaddr, vrrp_sock_group_v6.bytes, 16);
	if (options->multicast &&
	    (set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, options->ifindex) ||
	     set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255) ||
	     set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0) ||
	     setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group)))
		return -errno;
	return 0;
}

static int prepare(int fd, const struct vrrp_sock_options *options)
{
	const bool is_v6 = options->source.family == IP_V6;
	struct sockaddr_storage at;
	socklen_t size;
	int error;

	/* The filter comes first: nothing foreign may be in the queue. */
	if (filter_vrid(fd, is_v6, options->vrid) ||
	    set(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BYTES) ||
	    set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1) || set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1) ||
	    set(fd, SOL_SOCKET, SO_PRIORITY, 6))
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

int vrrp_sock_receive(int fd, struct vrrp_sock_packet *packet)
{
	union {
		char bytes[256];
		struct cmsghdr align;
	} control;
	struct sockaddr_storage from = {0};
	struct iovec part = {.iov_base = packet->room, .iov_len = sizeof packet->room};
	struct msghdr header = {
		.msg_name = &from,
		.msg_namelen = sizeof from,
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	ssize_t size = recvmsg(fd, &header, 0);

	if (size < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	packet->has_stamp = false;
	packet->wall_us = 0;
	packet->ifindex = 0;
	packet->dropped = 0;
	packet->ttl = 0;
	memset(&packet->destination, 0, sizeof packet->destination);
	if (!addr_of(&from, &packet->source) || (header.msg_flags & MSG_TRUNC))
		return -EBADMSG;
	packet->payload = packet->room;
	packet->size = (size_t)size;
	if (packet->source.family == IP_V4 && !open_v4(packet))
		return -EBADMSG;
	read_control(&header, packet);
	return packet->destination.family == IP_NONE ? -EBADMSG : 0;
}

int vrrp_sock_send(int fd, int ifindex, const struct ip_addr *source,
		   const struct ip_addr *destination, const void *payload, size_t size)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct sockaddr_storage to;
	struct iovec part = {.iov_base = (void *)(uintptr_t)payload, .iov_len = size};
	struct msghdr header = {
		.msg_name = &to,
		.msg_namelen = sockaddr_of(destination, ifindex, &to),
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
	};
	struct cmsghdr *c = &control.align;

	/* The source address is in the checksum of version 3: the kernel must not choose another.
	 */
	if (source->family == IP_V6) {
		struct in6_pktinfo info = {.ipi6_ifindex = (unsigned)ifindex};

		memcpy(&info.ipi6_addr, source->bytes, 16);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof info);
		header.msg_controllen = CMSG_SPACE(sizeof info);
		memcpy(CMSG_DATA(c), &info, sizeof info);
	} else {
		struct in_pktinfo info = {.ipi_ifindex = ifindex};

		memcpy(&info.ipi_spec_dst, source->bytes, 4);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof info);
		header.msg_controllen = CMSG_SPACE(sizeof info);
		memcpy(CMSG_DATA(c), &info, sizeof info);
	}
	if (sendmsg(fd, &header, MSG_DONTWAIT) < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return 0;
}
