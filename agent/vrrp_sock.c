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

/* Only our VRID. An IPv4 raw socket sees the IP header at offset 0; MSH gives its length. The TTL
 * and the version are not looked at here, so that a wrong one can be counted under its name. */
static int filter_vrid(int fd, int vrid)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 1),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)vrid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = COUNT_OF(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof value);
}

static void sockaddr_of(const struct ip_addr *addr, struct sockaddr_in *ret_sockaddr)
{
	memset(ret_sockaddr, 0, sizeof *ret_sockaddr);
	ret_sockaddr->sin_family = AF_INET;
	memcpy(&ret_sockaddr->sin_addr, addr->bytes, 4);
}

static int prepare(int fd, const struct vrrp_sock_options *options)
{
	/* The filter comes first: nothing foreign may be in the queue. */
	if (filter_vrid(fd, options->vrid) || set(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BYTES) ||
	    set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1) || set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1) ||
	    set(fd, SOL_SOCKET, SO_PRIORITY, 6) || set(fd, IPPROTO_IP, IP_RECVTTL, 1) ||
	    set(fd, IPPROTO_IP, IP_PKTINFO, 1) || set(fd, IPPROTO_IP, IP_TTL, 255) ||
	    set(fd, IPPROTO_IP, IP_TOS, 0xc0) ||
	    /* Otherwise groups that other sockets of the host joined are delivered here too. */
	    set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0))
		return -errno;
	if (options->multicast) {
		struct ip_mreqn group = {.imr_ifindex = options->ifindex};

		group.imr_multiaddr.s_addr = htonl(0xe0000012); /* 224.0.0.18 */
		if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, options->ifname,
			       (socklen_t)strlen(options->ifname)) ||
		    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &group, sizeof group) ||
		    set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 255) ||
		    set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0) ||
		    setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group))
			return -errno;
	} else {
		struct sockaddr_in at;

		sockaddr_of(&options->source, &at);
		if (bind(fd, (struct sockaddr *)&at, sizeof at))
			return -errno;
	}
	return 0;
}

int vrrp_sock_open(const struct vrrp_sock_options *options, int *ret_fd)
{
	int fd, error;

	if (options->source.family != IP_V4)
		return -EAFNOSUPPORT;
	fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, VRRP_PROTOCOL);
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
		}
	}
}

int vrrp_sock_receive(int fd, struct vrrp_sock_packet *packet)
{
	union {
		char bytes[256];
		struct cmsghdr align;
	} control;
	struct iovec part = {.iov_base = packet->room, .iov_len = sizeof packet->room};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	size_t header_size;
	ssize_t size = recvmsg(fd, &header, 0);

	if (size < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	packet->has_stamp = false;
	packet->wall_us = 0;
	packet->ifindex = 0;
	packet->dropped = 0;
	if (size < 20 || (header.msg_flags & MSG_TRUNC))
		return -EBADMSG;
	header_size = (size_t)(packet->room[0] & 0x0f) * 4;
	if (packet->room[0] >> 4 != 4 || header_size < 20 || header_size > (size_t)size)
		return -EBADMSG;
	memset(&packet->source, 0, sizeof packet->source);
	memset(&packet->destination, 0, sizeof packet->destination);
	packet->source.family = packet->destination.family = IP_V4;
	packet->ttl = packet->room[8];
	memcpy(packet->source.bytes, packet->room + 12, 4);
	memcpy(packet->destination.bytes, packet->room + 16, 4);
	packet->payload = packet->room + header_size;
	packet->size = (size_t)size - header_size;
	read_control(&header, packet);
	return 0;
}

int vrrp_sock_send(int fd, int ifindex, const struct ip_addr *source,
		   const struct ip_addr *destination, const void *payload, size_t size)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct in_pktinfo info = {.ipi_ifindex = ifindex};
	struct sockaddr_in to;
	struct iovec part = {.iov_base = (void *)(uintptr_t)payload, .iov_len = size};
	struct msghdr header = {
		.msg_name = &to,
		.msg_namelen = sizeof to,
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&header);

	/* The source address is in the checksum of version 3: the kernel must not choose another.
	 */
	memcpy(&info.ipi_spec_dst, source->bytes, 4);
	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof info);
	memcpy(CMSG_DATA(c), &info, sizeof info);
	sockaddr_of(destination, &to);
	if (sendmsg(fd, &header, MSG_DONTWAIT) < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return 0;
}
