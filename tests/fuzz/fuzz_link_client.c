/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a link that somebody else controls says to the keeper, which is root: a row of messages (u16
 * length, then the bytes as they lie on the channel, type first). What means nothing ends the
 * channel; until then each connection comes up once, is spoken of only while it is there, and goes
 * down once; and no text is longer than its room.
 *
 * runs: 50000
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/conf.h"
#include "shared/loop.h"
#include "shared/msg.h"
#include "syncd/link.h"
#include "syncd/link_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static struct link_client *client;
static uint32_t up[LINK_CLIENT_CONNECTIONS_MAX];
static int ups, closes;

static int place_of(uint32_t conn)
{
	for (int i = 0; i < ups; i++)
		if (up[i] == conn)
			return i;
	return -1;
}

static void on_up(void *ctx, uint32_t conn, const char *node, const char *address, const char *tls,
		  const uint8_t *binding)
{
	static uint8_t copy[LINK_BINDING_BYTES];

	(void)ctx;
	memcpy(copy, binding, sizeof copy);
	CHECK(conn && place_of(conn) < 0 && ups < LINK_CLIENT_CONNECTIONS_MAX);
	CHECK(strlen(node) <= CONF_NAME_BYTES_MAX && strlen(address) < IP_TEXT_MAX &&
	      strlen(tls) < 128);
	up[ups++] = conn;
}

static void on_down(void *ctx, uint32_t conn, const char *reason)
{
	const int place = place_of(conn);

	(void)ctx;
	CHECK(place >= 0 && strlen(reason) < LINK_ERROR_BYTES_MAX);
	up[place] = up[--ups];
	CHECK(link_client_room(client, conn) == 0);
}

static void on_trouble(void *ctx, const char *node, const char *text)
{
	(void)ctx;
	CHECK(strlen(node) <= CONF_NAME_BYTES_MAX && strlen(text) < LINK_ERROR_BYTES_MAX);
}

/* The keeper answers as long as there is room, and then a little more. */
static void on_frame(void *ctx, uint32_t conn, uint8_t type, const uint8_t *payload, size_t size)
{
	const struct session_frame end = {.type = SESSION_END, .end = {.transfer = type}};

	(void)ctx;
	(void)payload;
	CHECK(place_of(conn) >= 0 && size <= SESSION_PAYLOAD_BYTES_MAX);
	(void)link_client_room(client, conn);
	for (int i = 0; i < 3; i++)
		CHECK(link_client_send(client, conn, &end) != -EINVAL);
	if (type == 0)
		link_client_close(client, conn, "that was enough");
}

static void on_sendable(void *ctx, uint32_t conn)
{
	(void)ctx;
	CHECK(place_of(conn) >= 0);
	CHECK(link_client_room(client, conn) >= SESSION_PAYLOAD_BYTES_MAX);
}

static void on_rtt(void *ctx, uint32_t conn, uint64_t rtt_us)
{
	(void)ctx;
	(void)rtt_us;
	CHECK(place_of(conn) >= 0);
}

static void on_closed(void *ctx, int reason)
{
	(void)ctx;
	(void)reason;
	CHECK(ups == 0); /* all have gone down before */
	closes++;
}

/* What is on its way in both directions is read. */
static void turn(struct loop *loop, int link_end)
{
	static uint8_t message[MSG_PAYLOAD_BYTES_MAX + 2];

	CHECK(loop_turn(loop, 0) >= 0);
	while (recv(link_end, message, sizeof message, MSG_DONTWAIT) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct link_client_handlers handlers = {
		.on_up = on_up,
		.on_down = on_down,
		.on_trouble = on_trouble,
		.on_frame = on_frame,
		.on_sendable = on_sendable,
		.on_rtt = on_rtt,
		.on_closed = on_closed,
	};
	struct loop *loop;
	int ends[2];

	ups = closes = 0;
	CHECK(loop_new(&loop) == 0 && msg_pair(ends) == 0);
	CHECK(link_client_new(loop, ends[0], &handlers, &client) == 0);
	for (size_t at = 0; at + 2 <= size && !closes;) {
		size_t bytes = (size_t)data[at] << 8 | data[at + 1];

		at += 2;
		if (bytes > size - at)
			bytes = size - at;
		CHECK(send(ends[1], data + at, bytes, MSG_NOSIGNAL) == (ssize_t)bytes);
		turn(loop, ends[1]);
		at += bytes;
	}
	close(ends[1]);
	for (int i = 0; i < 3 && !closes; i++)
		CHECK(loop_turn(loop, 0) >= 0);
	CHECK(closes == 1 && ups == 0);
	client = link_client_free(client);
	loop_free(loop);
	return 0;
}
