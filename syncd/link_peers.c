/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets and peers: who is dialled, who is let in, what becomes of a connection. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/log.h"
#include "syncd/link_private.h"

#define LISTEN_BACKLOG 64
#define ACCEPTS_PER_TURN 16
#define LISTEN_PAUSE_US (1 * 1000000ull)
/* A connection that did not last is no reason to try again as fast as the first time. */
#define STEADY_US (5 * 1000000ull)
/* The kernel gives an abandoned connection up; a silent one that we still hold is noticed by
 * LINK_DEAD_US. It must not be shorter: while the keeper at the other end is busy the window there
 * is closed, and this counts that too. */
#define USER_TIMEOUT_MS 60000

static void dial_soon(struct link *link, struct link_node *node);

/* ---- sockets ---- */

static socklen_t sockaddr_of(const struct ip_addr *address, uint16_t port,
			     struct sockaddr_storage *ret_sockaddr)
{
	memset(ret_sockaddr, 0, sizeof(*ret_sockaddr));
	if (address->family == IP_V6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_sockaddr;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, address->bytes, 16);
		return sizeof(*in6);
	}
	struct sockaddr_in *in = (struct sockaddr_in *)ret_sockaddr;

	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	memcpy(&in->sin_addr, address->bytes, 4);
	return sizeof(*in);
}

static void address_of(const struct sockaddr_storage *sockaddr, struct ip_addr *ret_address)
{
	memset(ret_address, 0, sizeof(*ret_address));
	if (sockaddr->ss_family == AF_INET6) {
		ret_address->family = IP_V6;
		memcpy(ret_address->bytes, &((const struct sockaddr_in6 *)sockaddr)->sin6_addr, 16);
	} else {
		ret_address->family = IP_V4;
		memcpy(ret_address->bytes, &((const struct sockaddr_in *)sockaddr)->sin_addr, 4);
	}
}

int link_listen(const struct ip_addr *address, uint16_t port, int *ret_fd, char *why, size_t room)
{
	struct sockaddr_storage sockaddr;
	socklen_t size = sockaddr_of(address, port, &sockaddr);
	char text[IP_TEXT_MAX];
	int one = 1, rc = 0;
	int fd = socket(sockaddr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		rc = -errno;
	else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		 /* At boot the interface may be later than we are. */
		 (sockaddr.ss_family == AF_INET
			  ? setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one))
			  : setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one))) < 0 ||
		 bind(fd, (const struct sockaddr *)&sockaddr, size) < 0 ||
		 listen(fd, LISTEN_BACKLOG) < 0)
		rc = -errno;
	if (rc < 0) {
		snprintf(why, room, "cannot listen on %s port %u: %s%s", ip_format(address, text),
			 port, strerror(-rc),
			 rc == -EADDRINUSE
				 ? "; is another tandem-syncd running? (link_port names the port)"
				 : "");
		if (fd >= 0)
			close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

static void tune(int fd)
{
	int one = 1, timeout_ms = USER_TIMEOUT_MS;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

/* ---- nodes ---- */

struct link_node *link_node_of(struct link_conn *conn)
{
	return conn->node >= 0 ? &conn->link->nodes[conn->node] : NULL;
}

int link_find_node(const struct link *link, const char *name)
{
	for (int i = 0; i < link->nodes_count; i++) {
		if (strcmp(link->nodes[i].name, name) == 0)
			return i;
	}
	return -1;
}

bool link_node_has_pin(const struct link_node *node, const uint8_t pin[IDENTITY_PIN_BYTES])
{
	bool found = false;

	for (int i = 0; i < node->pins_count; i++)
		found |= CRYPTO_memcmp(node->pins[i], pin, IDENTITY_PIN_BYTES) == 0;
	return found;
}

bool link_knows_pin(const struct link *link, const uint8_t pin[IDENTITY_PIN_BYTES])
{
	bool found = false;

	for (int i = 0; i < link->nodes_count; i++)
		found |= link_node_has_pin(&link->nodes[i], pin);
	return found;
}

/* Who came, by the key that he has proven; otherwise who he may be, by his address. For messages.
 */
static struct link_node *node_guess(struct link *link, const struct link_conn *conn)
{
	for (int i = 0; i < link->nodes_count; i++) {
		if (conn->pinned ? link_node_has_pin(&link->nodes[i], conn->pin)
				 : ip_equal(&link->nodes[i].address, &conn->address))
			return &link->nodes[i];
	}
	return NULL;
}

/* ---- what becomes of connections ---- */

void link_conn_is_up(struct link_conn *conn)
{
	struct link_node *node = link_node_of(conn);

	if (node->dial == conn)
		node->dial = NULL;
	/* The peer opened a new one: whatever the old one still looks like, it has no use for it.
	 */
	if (node->conn)
		link_conn_close(node->conn, "replaced by a newer connection");
	node->conn = conn;
	node->trouble[0] = '\0';
	loop_timer_set(node->timer, LOOP_NEVER_US);
	conn->number = conn->link->number_next++;
	log_info("%s: connected (%s)", node->name, conn->address_text);
	link_tell_up(conn);
}

void link_conn_is_down(struct link_conn *conn, const char *reason)
{
	struct link *link = conn->link;
	struct link_node *node = link_node_of(conn);
	char text[LINK_ERROR_BYTES_MAX];

	if (conn->state == LINK_UP) {
		bool steady = loop_now_us(link->loop) >= conn->up_us + STEADY_US;

		log_info("%s: connection lost: %s", node->name, reason);
		link_tell_down(conn, reason);
		if (node->conn == conn)
			node->conn = NULL;
		if (steady)
			node->backoff_us = LINK_BACKOFF_FIRST_US;
		if (!node->conn)
			dial_soon(link, node);
		return;
	}
	if (conn->dialed) {
		if (node->dial == conn)
			node->dial = NULL;
		link_tell_trouble(link, node, node->name, reason);
		if (!node->conn)
			dial_soon(link, node);
		return;
	}
	/* Somebody came and was not let in, or went again. A node that is connected has no trouble:
	 * then it is another one, or a connection that it has given up. */
	node = node_guess(link, conn);
	if (node && conn->pinned && node->conn)
		snprintf(text, sizeof(text), "%s (%s): %s", conn->address_text, node->name, reason);
	else if (node && !conn->pinned)
		snprintf(text, sizeof(text), "%s (%s?): %s", conn->address_text, node->name,
			 reason);
	else
		snprintf(text, sizeof(text), "%s: %s", conn->address_text, reason);
	if (node && node->conn)
		node = NULL;
	link_tell_trouble(link, node, node ? node->name : "", text);
}

void link_sweep_soon(struct link *link)
{
	loop_timer_set(link->sweep_timer, loop_now_us(link->loop));
}

void link_on_sweep(void *ctx)
{
	struct link *link = ctx;

	for (struct link_conn **at = &link->conns; *at;) {
		struct link_conn *conn = *at;

		if (conn->dead) {
			*at = conn->next;
			link_conn_free(conn);
		} else {
			at = &conn->next;
		}
	}
}

/* ---- dialling ---- */

/* splitmix64: one seed names the whole history of delays. */
static uint64_t next_random(struct link *link)
{
	uint64_t z = link->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Three quarters to five quarters of the back-off, so that nodes that lost each other in the same
 * moment do not meet again and again in the same moment. */
static void dial_soon(struct link *link, struct link_node *node)
{
	uint64_t delay_us = node->backoff_us * 3 / 4 + next_random(link) % (node->backoff_us / 2);

	if (!node->dials || link->gone || node->dial)
		return;
	loop_timer_set(node->timer, loop_now_us(link->loop) + delay_us);
	node->backoff_us *= 2;
	if (node->backoff_us > LINK_BACKOFF_LAST_US)
		node->backoff_us = LINK_BACKOFF_LAST_US;
}

static int dial_socket(struct link *link, const struct link_node *node)
{
	struct sockaddr_storage own, peer;
	socklen_t own_size = sockaddr_of(&link->self_address, 0, &own);
	socklen_t peer_size = sockaddr_of(&node->address, node->port, &peer);
	int one = 1, rc = 0;
	int fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	tune(fd);
	/* From the address that the file names for this node, never from a service address that may
	 * move away. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if ((own.ss_family == peer.ss_family &&
	     bind(fd, (const struct sockaddr *)&own, own_size) < 0) ||
	    (connect(fd, (const struct sockaddr *)&peer, peer_size) < 0 && errno != EINPROGRESS))
		rc = -errno;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

void link_dial(struct link *link, struct link_node *node)
{
	char text[LINK_ERROR_BYTES_MAX], address[IP_TEXT_MAX];
	int fd, rc;

	if (link->gone || node->dial || node->conn)
		return;
	fd = dial_socket(link, node);
	rc = fd < 0 ? fd
		    : link_conn_new(link, fd, (int)(node - link->nodes), &node->address,
				    &node->dial);
	if (rc < 0) {
		snprintf(text, sizeof(text), "cannot connect to %s port %u: %s%s",
			 ip_format(&node->address, address), node->port, strerror(-rc),
			 rc == -EADDRNOTAVAIL ? "; this node's own address is not there yet" : "");
		link_tell_trouble(link, node, node->name, text);
		dial_soon(link, node);
	}
}

void link_on_dial_timer(void *ctx)
{
	struct link_node *node = ctx;

	link_dial(node->link, node);
}

/* ---- listening ---- */

void link_on_listen_timer(void *ctx)
{
	struct link *link = ctx;

	if (link->listener)
		(void)loop_fd_events(link->listener, EPOLLIN);
}

static void on_accept(void *ctx, int listen_fd, uint32_t events)
{
	struct link *link = ctx;
	char text[IP_TEXT_MAX], words[160];

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage sockaddr;
		socklen_t size = sizeof(sockaddr);
		struct ip_addr address;
		struct link_conn *conn;
		int pending = 0, from_there = 0;
		int fd = accept4(listen_fd, (struct sockaddr *)&sockaddr, &size,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			    errno == ENOBUFS) {
				/* It would be reported again at once, and again. */
				log_warn("cannot accept a connection: %s; trying again in 1 s",
					 strerror(errno));
				(void)loop_fd_events(link->listener, 0);
				loop_timer_set(link->listen_timer,
					       loop_now_us(link->loop) + LISTEN_PAUSE_US);
			}
			return;
		}
		address_of(&sockaddr, &address);
		for (conn = link->conns; conn; conn = conn->next) {
			if (conn->dialed || conn->state == LINK_UP)
				continue;
			pending++;
			from_there += ip_equal(&conn->address, &address);
		}
		if (pending >= LINK_PENDING_MAX || from_there >= LINK_PENDING_PER_SOURCE_MAX) {
			close(fd);
			snprintf(words, sizeof(words),
				 "%s: more than %d connections that have not shown a key",
				 ip_format(&address, text),
				 from_there >= LINK_PENDING_PER_SOURCE_MAX
					 ? LINK_PENDING_PER_SOURCE_MAX
					 : LINK_PENDING_MAX);
			link_tell_trouble(link, NULL, "", words);
			continue;
		}
		tune(fd);
		if (link_conn_new(link, fd, -1, &address, &conn) < 0)
			log_warn("cannot take a connection from %s: out of memory",
				 ip_format(&address, text));
	}
}

int link_set_listener(struct link *link, int fd)
{
	link->listen_fd = fd;
	return fd < 0 ? 0 : loop_fd_add(link->loop, fd, EPOLLIN, on_accept, link, &link->listener);
}
