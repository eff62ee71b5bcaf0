/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl: the server side of the control sockets. The client's side is ctl_call.c.
 *
 * Nothing is called from within another call: what a handler's answer sets free (the next request
 * of the same connection, a connection that has to go) waits for the server's timer in the next
 * turn, so that a client that a handler holds stays valid until on_gone says otherwise.
 */
#include "shared/ctl.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define STALL_US 10000000u /* a client that reads nothing for so long is dropped */

struct ctl_client {
	struct ctl_server *server;
	int fd;
	struct loop_fd *source;
	char *in; /* CTL_LINE_BYTES_MAX + 1 bytes */
	size_t in_size;
	char *out;
	size_t out_size, out_at;
	uint64_t stall_us; /* LOOP_NEVER_US while nothing waits to be sent */
	bool busy;	   /* a handler owes an answer */
	bool closing;	   /* goes when what waits has been sent */
	bool hung_up;	   /* sends no more */
	bool dead;
};

struct ctl_server {
	struct loop *loop;
	struct loop_fd *source;
	struct loop_timer *timer;
	ctl_request_fn on_request;
	ctl_gone_fn on_gone;
	void *ctx;
	uid_t owner; /* of the socket */
	gid_t group; /* (gid_t)-1: nobody but the owner and root */
	struct ctl_client *clients[CTL_CLIENTS_MAX];
};

static int fill_address(const char *path, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof ret_address->sun_path)
		return -ENAMETOOLONG;
	memcpy(ret_address->sun_path, path, strlen(path) + 1);
	return 0;
}

/* A socket that nobody serves is a leftover of a crash; any other thing in the way is not ours. */
static int remove_dead(const char *path, const struct sockaddr_un *address)
{
	struct stat st;
	int fd, r = 0;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN)
		r = -EADDRINUSE;
	else if (errno != ECONNREFUSED)
		r = -errno;
	close(fd);
	if (r == 0 && unlink(path) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

int ctl_listen(const char *path, const char *group, int *ret_fd)
{
	struct sockaddr_un address;
	const struct group *entry;
	mode_t mask;
	int r, fd;

	r = fill_address(path, &address);
	if (r < 0)
		return r;
	r = remove_dead(path, &address);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Closed to all others from its first moment. */
	mask = umask(0177);
	r = bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		goto fail;
	entry = group ? getgrnam(group) : NULL;
	if (entry && chown(path, (uid_t)-1, entry->gr_gid) == 0 && chmod(path, 0660) < 0) {
		r = -errno;
		goto fail;
	}
	if (listen(fd, CTL_CLIENTS_MAX) < 0) {
		r = -errno;
		goto fail;
	}
	*ret_fd = fd;
	return 0;
fail:
	close(fd);
	return r;
}

static bool is_member(int fd, gid_t group)
{
	gid_t groups[256];
	socklen_t size = sizeof groups;

	/* As they were when the peer connected, without asking a name service. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof groups[0]; i++)
		if (groups[i] == group)
			return true;
	return false;
}

static bool is_permitted(const struct ctl_server *server, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == server->owner)
		return true;
	if (server->group == (gid_t)-1)
		return false;
	return peer.gid == server->group || is_member(fd, server->group);
}

static void wake(struct ctl_server *server, uint64_t deadline_us)
{
	if (deadline_us < loop_timer_deadline_us(server->timer))
		loop_timer_set(server->timer, deadline_us);
}

/* Stops all traffic now; its owner hears of it, and it is freed, in the next turn. */
static void client_kill(struct ctl_client *client)
{
	if (client->dead)
		return;
	client->dead = true;
	client->source = loop_fd_remove(client->source);
	close(client->fd);
	client->fd = -1;
	wake(client->server, 0);
}

static struct ctl_client *client_free(struct ctl_client *client)
{
	if (!client)
		return NULL;
	if (client->source)
		loop_fd_remove(client->source);
	if (client->fd >= 0)
		close(client->fd);
	free(client->in);
	free(client->out);
	free(client);
	return NULL;
}

static void update_events(struct ctl_client *client)
{
	uint32_t events = 0;

	if (client->dead)
		return;
	/* One request at a time: what follows stays in the socket. */
	if (!client->busy && !client->closing && !client->hung_up)
		events |= EPOLLIN;
	if (client->out_at < client->out_size)
		events |= EPOLLOUT;
	if (loop_fd_events(client->source, events) < 0)
		client_kill(client);
}

static void client_flush(struct ctl_client *client)
{
	while (client->out_at < client->out_size) {
		ssize_t n = send(client->fd, client->out + client->out_at,
				 client->out_size - client->out_at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			client_kill(client);
			return;
		}
		client->out_at += (size_t)n;
		client->stall_us = loop_now_us(client->server->loop) + STALL_US;
	}
	if (client->out_at == client->out_size) {
		free(client->out);
		client->out = NULL;
		client->out_at = client->out_size = 0;
		client->stall_us = LOOP_NEVER_US;
		if (client->closing || (client->hung_up && !client->busy && client->in_size == 0)) {
			client_kill(client);
			return;
		}
	} else {
		if (client->stall_us == LOOP_NEVER_US)
			client->stall_us = loop_now_us(client->server->loop) + STALL_US;
		wake(client->server, client->stall_us);
	}
	update_events(client);
}

/* Queues text and a newline. The ceiling holds for all that waits, so that a client that asks and
 * never reads costs no more than one largest answer. */
static void client_send(struct ctl_client *client, const char *text)
{
	size_t size = strlen(text) + 1;
	size_t waiting = client->out_size - client->out_at;
	char *out;

	if (client->dead)
		return;
	if (waiting + size > CTL_ANSWER_BYTES_MAX + CTL_LINE_BYTES_MAX) {
		client_kill(client);
		return;
	}
	out = malloc(waiting + size);
	if (!out) {
		client_kill(client);
		return;
	}
	if (waiting)
		memcpy(out, client->out + client->out_at, waiting);
	memcpy(out + waiting, text, size - 1);
	out[waiting + size - 1] = '\n';
	free(client->out);
	client->out = out;
	client->out_at = 0;
	client->out_size = waiting + size;
	client_flush(client);
}

static void client_send_object(struct ctl_client *client, const json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	if (!text)
		client_send(client,
			    "{\"ok\":false,\"code\":\"internal\",\"error\":\"the answer could "
			    "not be put together; see the daemon's log\"}");
	else if (strlen(text) >= CTL_ANSWER_BYTES_MAX)
		client_send(client,
			    "{\"ok\":false,\"code\":\"too-large\",\"error\":\"the answer is "
			    "larger than a control socket carries; ask for less\"}");
	else
		client_send(client, text);
	free(text);
}

void ctl_progress(struct ctl_client *client, json_t *object)
{
	if (object && !client->dead)
		client_send_object(client, object);
	json_decref(object);
}

void ctl_answer(struct ctl_client *client, json_t *object)
{
	assert(client->busy);
	client->busy = false;
	if (object && !json_object_get(object, "ok"))
		json_object_set_new(object, "ok", json_true());
	client_send_object(client, object);
	json_decref(object);
	if (!client->dead)
		update_events(client);
	/* The next request may be in the buffer already. */
	if (client->in_size > 0 || client->dead || client->hung_up)
		wake(client->server, 0);
}

void ctl_fail(struct ctl_client *client, const char *code, const char *format, ...)
{
	va_list args;
	char *text = NULL;
	int size;

	va_start(args, format);
	size = vasprintf(&text, format, args);
	va_end(args);
	ctl_answer(client, json_pack("{s:b, s:s, s:o}", "ok", 0, "code", code, "error",
				     size < 0 ? json_string("out of memory")
					      : ctl_text(text, (size_t)size)));
	if (size >= 0)
		free(text);
}

/* One line; the newline is not part of it. */
static void client_request(struct ctl_client *client, const char *line, size_t size)
{
	struct ctl_server *server = client->server;
	json_error_t error;
	json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);
	const char *command = json_string_value(json_object_get(request, "command"));

	client->busy = true;
	if (!request)
		ctl_fail(client, "bad-request", "the request is not JSON: %s", error.text);
	else if (!command)
		ctl_fail(client, "bad-request",
			 "the request is not an object with a \"command\"; see docs/PROTOCOL.md");
	else
		server->on_request(server->ctx, client, command, request);
	json_decref(request);
}

static void client_lines(struct ctl_client *client)
{
	while (!client->busy && !client->closing && !client->dead && client->in_size > 0) {
		char *end = memchr(client->in, '\n', client->in_size);
		char *line;
		size_t size;

		if (!end && client->in_size <= CTL_LINE_BYTES_MAX) {
			/* What is left of a line whose sender has gone will never be whole. */
			if (client->hung_up)
				client->in_size = 0;
			break;
		}
		if (!end) {
			client->closing = true;
			client_send(client,
				    "{\"ok\":false,\"code\":\"too-long\",\"error\":\"a request "
				    "of more than 65536 bytes\"}");
			return;
		}
		size = (size_t)(end - client->in);
		line = malloc(size + 1);
		if (!line) {
			client_kill(client);
			return;
		}
		memcpy(line, client->in, size);
		client->in_size -= size + 1;
		memmove(client->in, end + 1, client->in_size);
		client_request(client, line, size);
		free(line);
	}
	if (client->dead)
		return;
	if (client->hung_up && !client->busy && client->in_size == 0 &&
	    client->out_at == client->out_size)
		client_kill(client);
	else
		update_events(client);
}

static void client_event(void *ctx, int fd, uint32_t events)
{
	struct ctl_client *client = ctx;
	ssize_t n;

	if (events & EPOLLOUT) {
		client_flush(client);
		if (client->dead)
			return;
	}
	if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN)) {
		client_kill(client);
		return;
	}
	if (!(events & EPOLLIN) || client->busy || client->closing)
		return;
	n = recv(fd, client->in + client->in_size, CTL_LINE_BYTES_MAX + 1 - client->in_size, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		client_kill(client);
		return;
	}
	if (n == 0)
		client->hung_up = true; /* may still read its answers */
	client->in_size += (size_t)n;
	client_lines(client);
}

static void server_turn(void *ctx)
{
	struct ctl_server *server = ctx;
	uint64_t next_us = LOOP_NEVER_US;

	for (int i = 0; i < CTL_CLIENTS_MAX; i++) {
		struct ctl_client *client = server->clients[i];

		if (!client)
			continue;
		if (!client->dead && client->stall_us <= loop_now_us(server->loop))
			client_kill(client);
		if (!client->dead && !client->busy)
			client_lines(client);
		if (client->dead) {
			server->clients[i] = NULL;
			if (client->busy && server->on_gone)
				server->on_gone(server->ctx, client);
			client_free(client);
		} else if (client->stall_us < next_us) {
			next_us = client->stall_us;
		}
	}
	wake(server, next_us);
}

/* Best effort: the socket's buffer of a new connection is empty. */
static void refuse(int fd, const char *text)
{
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
	close(fd);
}

static void server_accept(void *ctx, int listen_fd, uint32_t events)
{
	struct ctl_server *server = ctx;
	struct ctl_client *client;
	int fd, place = 0;

	(void)events;
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (!is_permitted(server, fd)) {
		refuse(fd, "{\"ok\":false,\"code\":\"denied\",\"error\":\"this needs root, or "
			   "membership of the control group\"}\n");
		return;
	}
	while (place < CTL_CLIENTS_MAX && server->clients[place])
		place++;
	client = place < CTL_CLIENTS_MAX ? calloc(1, sizeof *client) : NULL;
	if (!client) {
		refuse(fd, "{\"ok\":false,\"code\":\"busy\",\"error\":\"too many clients are "
			   "connected; "
			   "try again\"}\n");
		return;
	}
	client->server = server;
	client->fd = fd;
	client->stall_us = LOOP_NEVER_US;
	client->in = malloc(CTL_LINE_BYTES_MAX + 1);
	if (!client->in ||
	    loop_fd_add(server->loop, fd, EPOLLIN, client_event, client, &client->source) < 0) {
		client_free(client);
		return;
	}
	server->clients[place] = client;
}

int ctl_server_new(struct loop *loop, int listen_fd, ctl_request_fn on_request, ctl_gone_fn on_gone,
		   void *ctx, struct ctl_server **ret_server)
{
	struct ctl_server *server = calloc(1, sizeof *server);
	struct sockaddr_un address = {0};
	socklen_t size = sizeof address - 1;
	struct stat st;
	int r;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->on_request = on_request;
	server->on_gone = on_gone;
	server->ctx = ctx;
	server->owner = 0;
	server->group = (gid_t)-1;
	/* ctl_listen() wrote down in the socket's owner, group and mode who may come. */
	if (getsockname(listen_fd, (struct sockaddr *)&address, &size) == 0 &&
	    stat(address.sun_path, &st) == 0) {
		server->owner = st.st_uid;
		if (st.st_mode & S_IWGRP)
			server->group = st.st_gid;
	}
	r = loop_timer_new(loop, server_turn, server, &server->timer);
	if (r < 0)
		goto fail;
	r = loop_fd_add(loop, listen_fd, EPOLLIN, server_accept, server, &server->source);
	if (r < 0)
		goto fail;
	*ret_server = server;
	return 0;
fail:
	ctl_server_free(server);
	return r;
}

struct ctl_server *ctl_server_free(struct ctl_server *server)
{
	if (!server)
		return NULL;
	for (int i = 0; i < CTL_CLIENTS_MAX; i++)
		client_free(server->clients[i]);
	if (server->source)
		loop_fd_remove(server->source);
	if (server->timer)
		loop_timer_free(server->timer);
	free(server);
	return NULL;
}
