/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/engine_private.h"
#include "shared/log.h"

/* A queue of this length is judged in one go before a deadline may fire; the socket's buffer holds
 * no more. */
#define DRAIN_MAX 16384

/* A Master of hundreds of routers sends for all of them in one go, which takes it milliseconds:
 * each advert wakes us before the next one is out, and waking up costs more than all else here. So
 * a socket that has woken us more than WAKES_MAX times in WAKES_SPAN_US is not waited for any more
 * but looked at every REST_US, until a look finds nothing. Few routers never come to that. */
#define WAKES_MAX 8
#define WAKES_SPAN_US 4000
#define REST_US 1000

static void rest(struct engine_socket *socket)
{
	loop_timer_set(socket->rest_timer, loop_now_us(socket->engine->loop) + REST_US);
}

/* Invariant A6 holds meanwhile: a deadline that fires drains the socket, resting or not, and an
 * advert's age is counted from its stamp. */
static void on_rested(void *ctx)
{
	struct engine_socket *socket = ctx;

	if (engine_sockets_drain(socket) || loop_fd_events(socket->source, EPOLLIN))
		rest(socket);
}

static void on_readable(void *ctx, int fd, uint32_t events)
{
	struct engine_socket *socket = ctx;
	const uint64_t now_us = loop_now_us(socket->engine->loop);

	(void)fd;
	(void)events;
	if (now_us - socket->wakes_since_us >= WAKES_SPAN_US) {
		socket->wakes_since_us = now_us;
		socket->wakes = 0;
	}
	if (++socket->wakes > WAKES_MAX && !loop_fd_events(socket->source, 0))
		rest(socket);
	engine_sockets_drain(socket);
}

static void set_vrids(const struct engine_socket *socket)
{
	struct vrrp_sock_vrids vrids = {0};
	int error;

	for (int vrid = 0; vrid < ENGINE_VRIDS; vrid++)
		if (socket->routers[vrid])
			vrids.words[vrid / 32] |= UINT32_C(1) << vrid % 32;
	error = vrrp_sock_hear(socket->fd, socket->at.family, &vrids);
	if (error)
		log_err("adverts on %s cannot be told apart: %s", socket->ifname, strerror(-error));
}

/* Whoever multicasts to a group on an interface shares; and whoever sends from one address. */
static bool fits(const struct engine_socket *socket, const struct engine_router *router)
{
	const struct ip_addr *source = &router->wire.nodes[router->wire.self];

	if (socket->multicast != router->conf->multicast)
		return false;
	return socket->multicast
		       ? socket->ifindex == router->ifindex &&
				 ip_equal(&socket->group, &router->conf->mcast_group)
		       : ip_equal(&socket->at, source) &&
				 (!ip_is_link_local(source) || socket->ifindex == router->ifindex);
}

static struct engine_socket *make(struct engine_router *router, uint32_t id)
{
	struct engine_socket *socket = calloc(1, sizeof *socket);

	if (!socket)
		return NULL;
	socket->engine = router->engine;
	socket->id = id;
	socket->multicast = router->conf->multicast;
	socket->group = router->conf->mcast_group;
	socket->ifindex = router->ifindex;
	socket->at = router->wire.nodes[router->wire.self];
	snprintf(socket->ifname, sizeof socket->ifname, "%s",
		 router->conf->interfaces[router->wire.self]);
	return socket;
}

/* Takes fd over, also on failure. */
static int attach(struct engine_socket *socket, int fd)
{
	struct engine *engine = socket->engine;
	struct wire_writer w;
	uint8_t bytes[4];
	int error = loop_timer_new(engine->loop, on_rested, socket, &socket->rest_timer);

	if (!error)
		error = loop_fd_add(engine->loop, fd, EPOLLIN, on_readable, socket,
				    &socket->source);
	if (error) {
		loop_timer_free(socket->rest_timer);
		close(fd);
		free(socket);
		return error;
	}
	socket->fd = fd;
	socket->next = engine->sockets;
	engine->sockets = socket;
	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, socket->id);
	engine_tell(engine, ENGINE_MSG_SOCKET, &w, fd);
	return 0;
}

/* One that a dead engine left; -1: there is none. What it holds came at any time since then. */
static int take_left(struct engine *engine, uint32_t id)
{
	for (int i = 0; id && i < engine->left_count; i++) {
		int fd = engine->left[i].fd;

		if (engine->left[i].id == id) {
			engine->left[i].fd = -1;
			return fd;
		}
	}
	return -1;
}

static int find_or_open(struct engine_router *router, uint32_t left,
			struct engine_socket **ret_socket)
{
	struct engine *engine = router->engine;
	struct engine_socket *socket;
	int fd, error;

	for (socket = engine->sockets; socket && !fits(socket, router); socket = socket->next)
		;
	*ret_socket = socket;
	if (socket)
		return 0;
	fd = take_left(engine, left);
	*ret_socket = socket = make(router, fd >= 0 ? left : engine->next_socket_id++);
	if (!socket) {
		if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	if (fd < 0) {
		const struct vrrp_sock_options options = {.ifindex = socket->ifindex,
							  .ifname = socket->ifname,
							  .multicast = socket->multicast,
							  .group = socket->group,
							  .source = socket->at};

		error = vrrp_sock_open(&options, &fd);
		if (error) {
			free(socket);
			return error;
		}
		socket->empty_us = loop_now_us(engine->loop);
	}
	return attach(socket, fd);
}

int engine_sockets_join(struct engine_router *router, uint32_t left)
{
	struct engine_socket *socket;
	int error;

	engine_sockets_part(router);
	error = find_or_open(router, left, &socket);
	if (error)
		return error;
	router->socket = socket;
	router->next_heard = socket->routers[router->conf->vrid];
	socket->routers[router->conf->vrid] = router;
	socket->users++;
	if (!router->next_heard)
		set_vrids(socket);
	router->record_due = true;
	return 0;
}

static void free_socket(struct engine_socket *socket)
{
	struct engine_socket **link = &socket->engine->sockets;

	while (*link != socket)
		link = &(*link)->next;
	*link = socket->next;
	engine_tell_number(socket->engine, ENGINE_MSG_SOCKET_GONE, socket->id);
	loop_fd_remove(socket->source);
	loop_timer_free(socket->rest_timer);
	close(socket->fd);
	free(socket);
}

void engine_sockets_part(struct engine_router *router)
{
	struct engine_socket *socket = router->socket;
	struct engine_router **link;

	if (!socket)
		return;
	for (link = &socket->routers[router->conf->vrid]; *link != router;
	     link = &(*link)->next_heard)
		;
	*link = router->next_heard;
	router->next_heard = NULL;
	router->socket = NULL;
	if (--socket->users == 0)
		free_socket(socket);
	else if (!socket->routers[router->conf->vrid])
		set_vrids(socket);
}

bool engine_sockets_inherit(struct engine *engine, uint32_t id, int fd)
{
	if (engine->started || engine->left_count == ENGINE_ROUTERS_MAX)
		return false;
	engine->left[engine->left_count].id = id;
	engine->left[engine->left_count++].fd = fd;
	if (id >= engine->next_socket_id)
		engine->next_socket_id = id + 1;
	return true;
}

void engine_sockets_disown(struct engine *engine)
{
	for (int i = 0; i < engine->left_count; i++) {
		if (engine->left[i].fd < 0)
			continue;
		engine_tell_number(engine, ENGINE_MSG_SOCKET_GONE, engine->left[i].id);
		close(engine->left[i].fd);
	}
	engine->left_count = 0;
}

/* Two routers with one VRID may be there during a reload, one of them on its way out. */
static void deal_out(struct engine_socket *socket, const struct vrrp_sock_packet *packet,
		     uint64_t arrival)
{
	struct engine_router *router, *next;

	/* Queued before the socket was bound to its interface. */
	if (socket->multicast && packet->ifindex && packet->ifindex != socket->ifindex)
		return;
	if (packet->size < VRRP_SOCK_VRID_AT + 1)
		return; /* the filter has looked at it */
	for (router = socket->routers[packet->payload[VRRP_SOCK_VRID_AT]]; router; router = next) {
		next = router->next_heard;
		engine_packets_judge(router, packet, arrival);
	}
}

static void take(struct engine_socket *socket, const struct vrrp_sock_packet *packet, bool still,
		 uint64_t now_us)
{
	if (!packet->payload)
		return;
	if (packet->dropped > socket->dropped) {
		log_warn("%s: %u adverts were lost: more came than could be read", socket->ifname,
			 packet->dropped - socket->dropped);
		socket->dropped = packet->dropped;
	}
	deal_out(socket, packet,
		 arrival_us(&socket->engine->arrival, still && packet->has_stamp, packet->wall_us,
			    socket->empty_us, now_us));
}

/* False: nothing is queued. */
static bool refill(struct engine_socket *socket, uint64_t now_us)
{
	/* A call that could not fill the batch has left nothing behind. */
	const bool ask = socket->batch_count == 0 || socket->batch_count == VRRP_SOCK_BATCH;
	int count = ask ? vrrp_sock_receive(socket->fd, socket->batch) : 0;

	socket->batch_at = 0;
	socket->batch_count = count > 0 ? count : 0;
	if (count < 0)
		/* ENETDOWN and the like are told once and say nothing of the socket. */
		log_debug("%s: receiving: %s", socket->ifname, strerror(-count));
	if (count == 0) {
		socket->empty_us = now_us;
		socket->emptied = true;
	}
	return count > 0;
}

/* Of many routers that are due in one turn the first drains for all: what comes after that, comes
 * after the moment that this turn is about. And what one packet causes may lead here again, for
 * another member of its router's group: that goes on with what has been taken, in order. */
bool engine_sockets_drain(struct engine_socket *socket)
{
	const uint64_t now_us = loop_now_us(socket->engine->loop);
	const bool still = engine_look(socket->engine);
	int taken = 0;

	while (!socket->emptied || socket->empty_us != now_us) {
		if (socket->batch_at == socket->batch_count &&
		    (taken >= DRAIN_MAX || !refill(socket, now_us)))
			break;
		taken++;
		take(socket, &socket->batch[socket->batch_at++], still, now_us);
	}
	return taken > 0;
}
