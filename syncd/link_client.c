/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/link_client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/conf.h"
#include "shared/ip.h"
#include "shared/msg.h"
#include "shared/wire.h"
#include "syncd/link.h"

#define CHANNEL_QUEUE_BYTES (LINK_CLIENT_CONNECTIONS_MAX * LINK_CREDIT_BYTES)

/* A small frame that waits for credit. */
struct waiting {
	struct waiting *next;
	size_t size; /* of the payload */
	uint8_t message[];
};

struct connection {
	uint32_t number; /* 0: this place is free */
	size_t credit;
	bool starved; /* on_sendable is owed */
	size_t queue_bytes;
	struct waiting *queue, **queue_tail;
};

struct link_client {
	struct msg_channel *channel;
	struct link_client_handlers handlers;
	bool closed;
	bool in_callback, freed;
	struct connection connections[LINK_CLIENT_CONNECTIONS_MAX];
};

#define MESSAGE_HEAD_BYTES 5

static struct connection *find(const struct link_client *client, uint32_t number)
{
	if (number == 0)
		return NULL;
	for (int i = 0; i < LINK_CLIENT_CONNECTIONS_MAX; i++) {
		if (client->connections[i].number == number)
			return (struct connection *)&client->connections[i];
	}
	return NULL;
}

static void forget(struct connection *connection)
{
	while (connection->queue) {
		struct waiting *first = connection->queue;

		connection->queue = first->next;
		free(first);
	}
	memset(connection, 0, sizeof(*connection));
}

/* The link faces the network: what it says wrong ends it, and the runner starts a new one. */
static void broken(struct link_client *client, int reason)
{
	if (client->closed)
		return;
	client->closed = true;
	for (int i = 0; i < LINK_CLIENT_CONNECTIONS_MAX; i++) {
		struct connection *connection = &client->connections[i];
		uint32_t number = connection->number;

		if (number == 0)
			continue;
		forget(connection);
		if (!client->freed)
			client->handlers.on_down(client->handlers.ctx, number,
						 "the link process has ended");
	}
	if (!client->freed)
		client->handlers.on_closed(client->handlers.ctx, reason);
}

/* message: number, type, payload. */
static int send_message(struct link_client *client, struct connection *connection,
			const uint8_t *message, size_t payload_size)
{
	int rc = msg_send(client->channel, LINK_MSG_FRAME, message,
			  MESSAGE_HEAD_BYTES + payload_size, -1);

	if (rc == 0)
		connection->credit -= payload_size + LINK_FRAME_COST;
	return rc;
}

static bool affordable(const struct connection *connection, size_t payload_size)
{
	return connection->credit >= payload_size + LINK_FRAME_COST;
}

static int enqueue(struct connection *connection, const uint8_t *message, size_t payload_size)
{
	struct waiting *waiting;

	if (connection->queue_bytes + payload_size > LINK_CLIENT_QUEUE_BYTES)
		return -ENOBUFS;
	waiting = malloc(sizeof(*waiting) + MESSAGE_HEAD_BYTES + payload_size);
	if (!waiting)
		return -ENOMEM;
	waiting->next = NULL;
	waiting->size = payload_size;
	memcpy(waiting->message, message, MESSAGE_HEAD_BYTES + payload_size);
	if (!connection->queue)
		connection->queue_tail = &connection->queue;
	*connection->queue_tail = waiting;
	connection->queue_tail = &waiting->next;
	connection->queue_bytes += payload_size;
	return 0;
}

int link_client_send(struct link_client *client, uint32_t conn, const struct session_frame *frame)
{
	uint8_t message[MESSAGE_HEAD_BYTES + SESSION_PAYLOAD_BYTES_MAX];
	struct connection *connection = find(client, conn);
	struct wire_writer w;
	size_t size;

	if (!connection || client->closed)
		return -ENOTCONN;
	wire_writer_init(&w, message, MESSAGE_HEAD_BYTES);
	wire_put_u32(&w, conn);
	wire_put_u8(&w, frame->type);
	size = session_wire_encode(frame, message + MESSAGE_HEAD_BYTES, SESSION_PAYLOAD_BYTES_MAX);
	if (size == 0)
		return -EINVAL;
	/* Frames keep their order. */
	if (connection->queue || !affordable(connection, size))
		return enqueue(connection, message, size);
	return send_message(client, connection, message, size);
}

size_t link_client_room(const struct link_client *client, uint32_t conn)
{
	struct connection *connection = find(client, conn);

	if (!connection || client->closed)
		return 0;
	if (connection->queue || connection->credit < SESSION_PAYLOAD_BYTES_MAX + LINK_FRAME_COST) {
		connection->starved = true;
		return 0;
	}
	return connection->credit - LINK_FRAME_COST;
}

int link_client_close(struct link_client *client, uint32_t conn, const char *reason)
{
	uint8_t message[8 + SESSION_REASON_BYTES_MAX];
	size_t size = strnlen(reason, SESSION_REASON_BYTES_MAX);
	struct wire_writer w;

	if (!find(client, conn) || client->closed)
		return -ENOTCONN;
	wire_writer_init(&w, message, sizeof(message));
	wire_put_u32(&w, conn);
	wire_put_string(&w, reason, size);
	assert(wire_writer_ok(&w));
	return msg_send(client->channel, LINK_MSG_CLOSE, w.data, w.at, -1);
}

/* ---- what the link says ---- */

static bool on_up(struct link_client *client, struct wire_reader *r)
{
	char node[CONF_NAME_BYTES_MAX + 1], address[IP_TEXT_MAX], tls[128];
	uint8_t binding[LINK_BINDING_BYTES];
	struct connection *connection = NULL;
	uint32_t number = wire_get_u32(r), credit;

	wire_get_string_into(r, node, sizeof(node));
	wire_get_string_into(r, address, sizeof(address));
	wire_get_string_into(r, tls, sizeof(tls));
	credit = wire_get_u32(r);
	wire_get_bytes(r, binding, sizeof(binding));
	if (!wire_reader_done(r) || number == 0 || find(client, number) ||
	    credit > LINK_CREDIT_BYTES)
		return false;
	for (int i = 0; i < LINK_CLIENT_CONNECTIONS_MAX && !connection; i++) {
		if (client->connections[i].number == 0)
			connection = &client->connections[i];
	}
	if (!connection)
		return false;
	connection->number = number;
	connection->credit = credit;
	client->handlers.on_up(client->handlers.ctx, number, node, address, tls, binding);
	return true;
}

static bool on_down(struct link_client *client, struct wire_reader *r)
{
	char reason[LINK_ERROR_BYTES_MAX];
	uint32_t number = wire_get_u32(r);
	struct connection *connection = find(client, number);

	wire_get_string_into(r, reason, sizeof(reason));
	if (!wire_reader_done(r) || !connection)
		return false;
	forget(connection);
	client->handlers.on_down(client->handlers.ctx, number, reason);
	return true;
}

static bool on_trouble(struct link_client *client, struct wire_reader *r)
{
	char node[CONF_NAME_BYTES_MAX + 1], text[LINK_ERROR_BYTES_MAX];

	wire_get_string_into(r, node, sizeof(node));
	wire_get_string_into(r, text, sizeof(text));
	if (!wire_reader_done(r))
		return false;
	client->handlers.on_trouble(client->handlers.ctx, node, text);
	return true;
}

static bool on_frame(struct link_client *client, struct wire_reader *r)
{
	uint32_t number = wire_get_u32(r);
	uint8_t type = wire_get_u8(r);
	size_t size = wire_left(r);
	const uint8_t *payload = wire_get_slice(r, size);

	if (!wire_reader_ok(r) || size > SESSION_PAYLOAD_BYTES_MAX || !find(client, number))
		return false;
	client->handlers.on_frame(client->handlers.ctx, number, type, payload, size);
	return true;
}

static bool on_credit(struct link_client *client, struct wire_reader *r)
{
	uint32_t number = wire_get_u32(r), bytes = wire_get_u32(r);
	struct connection *connection = find(client, number);

	if (!wire_reader_done(r) || !connection || bytes > LINK_CREDIT_BYTES - connection->credit)
		return false;
	connection->credit += bytes;
	while (connection->queue && affordable(connection, connection->queue->size)) {
		struct waiting *first = connection->queue;

		if (send_message(client, connection, first->message, first->size) < 0)
			return true; /* the channel is at its end; on_closed comes */
		connection->queue = first->next;
		connection->queue_bytes -= first->size;
		free(first);
	}
	if (connection->starved && !connection->queue &&
	    connection->credit >= SESSION_PAYLOAD_BYTES_MAX + LINK_FRAME_COST) {
		connection->starved = false;
		client->handlers.on_sendable(client->handlers.ctx, number);
	}
	return true;
}

static bool on_rtt(struct link_client *client, struct wire_reader *r)
{
	uint32_t number = wire_get_u32(r);
	uint64_t rtt_us = wire_get_u64(r);

	if (!wire_reader_done(r) || !find(client, number))
		return false;
	client->handlers.on_rtt(client->handlers.ctx, number, rtt_us);
	return true;
}

static void on_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct link_client *client = ctx;
	struct wire_reader r;
	bool good = false;

	if (fd >= 0)
		close(fd);
	if (client->closed)
		return;
	client->in_callback = true;
	wire_reader_init(&r, payload, size);
	switch (type) {
	case LINK_MSG_UP:
		good = on_up(client, &r);
		break;
	case LINK_MSG_DOWN:
		good = on_down(client, &r);
		break;
	case LINK_MSG_TROUBLE:
		good = on_trouble(client, &r);
		break;
	case LINK_MSG_FRAME:
		good = on_frame(client, &r);
		break;
	case LINK_MSG_CREDIT:
		good = on_credit(client, &r);
		break;
	case LINK_MSG_RTT:
		good = on_rtt(client, &r);
		break;
	default:
		break;
	}
	if (!good)
		broken(client, -EPROTO);
	client->in_callback = false;
	if (client->freed)
		free(client);
}

static void on_closed(void *ctx, int reason)
{
	struct link_client *client = ctx;

	client->in_callback = true;
	broken(client, reason);
	client->in_callback = false;
	if (client->freed)
		free(client);
}

int link_client_new(struct loop *loop, int fd, const struct link_client_handlers *handlers,
		    struct link_client **ret_client)
{
	struct link_client *client = calloc(1, sizeof(*client));
	struct msg_handlers own = {.on_message = on_message, .on_closed = on_closed, .ctx = client};
	int rc;

	if (!client) {
		close(fd);
		return -ENOMEM;
	}
	client->handlers = *handlers;
	rc = msg_channel_new(loop, fd, CHANNEL_QUEUE_BYTES, &own, &client->channel);
	if (rc < 0) {
		free(client);
		return rc;
	}
	*ret_client = client;
	return 0;
}

struct link_client *link_client_free(struct link_client *client)
{
	if (!client || client->freed)
		return NULL;
	client->freed = true;
	client->closed = true;
	for (int i = 0; i < LINK_CLIENT_CONNECTIONS_MAX; i++)
		forget(&client->connections[i]);
	client->channel = msg_channel_free(client->channel);
	if (!client->in_callback)
		free(client);
	return NULL;
}
