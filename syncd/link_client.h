/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_client: the keeper's end of the channel to the link. Checks what the link says (it faces the
 * network), keeps each connection's credit, and queues a bounded rest of small frames.
 *
 * Bulk data (ENTRIES, CONTENT) is sent only while link_client_room() has room for it; on_sendable
 * says when it has again. Small frames are queued past the credit, up to LINK_CLIENT_QUEUE_BYTES;
 * what comes after that is -ENOBUFS, and the caller closes the connection.
 */
#ifndef TANDEM_LINK_CLIENT_H
#define TANDEM_LINK_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "shared/loop.h"
#include "syncd/session_wire.h"

#define LINK_CLIENT_QUEUE_BYTES (1024 * 1024)
#define LINK_CLIENT_CONNECTIONS_MAX 32

struct link_client;

/* Strings and payloads are borrowed for the call. */
struct link_client_handlers {
	/* binding: LINK_BINDING_BYTES that the peer's keeper gets as well. */
	void (*on_up)(void *ctx, uint32_t conn, const char *node, const char *address,
		      const char *tls, const uint8_t *binding);
	void (*on_down)(void *ctx, uint32_t conn, const char *reason);
	/* There is no connection to node ("": to whom is not known), and this is why. */
	void (*on_trouble)(void *ctx, const char *node, const char *text);
	void (*on_frame)(void *ctx, uint32_t conn, uint8_t type, const uint8_t *payload,
			 size_t size);
	void (*on_sendable)(void *ctx, uint32_t conn);
	void (*on_rtt)(void *ctx, uint32_t conn, uint64_t rtt_us);
	/* The link is gone or broke the framing; -errno or 0. The runner restarts both. */
	void (*on_closed)(void *ctx, int reason);
	void *ctx;
};

/* Takes over fd. */
int link_client_new(struct loop *loop, int fd, const struct link_client_handlers *handlers,
		    struct link_client **ret_client);
struct link_client *link_client_free(struct link_client *client);

/* Encodes and sends. -ENOTCONN: that connection has gone (ignore it: on_down came or comes).
 * -ENOBUFS. */
int link_client_send(struct link_client *client, uint32_t conn, const struct session_frame *frame);
/* Bytes of payload that go out at once. Bulk is sent while it is >= SESSION_PAYLOAD_BYTES_MAX. */
size_t link_client_room(const struct link_client *client, uint32_t conn);
int link_client_close(struct link_client *client, uint32_t conn, const char *reason);

#endif
