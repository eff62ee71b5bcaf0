/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msg: framed messages between the processes of one daemon, over a SOCK_SEQPACKET pair.
 *
 * A message is a u16 type and up to MSG_PAYLOAD_BYTES_MAX bytes of payload, with at most one
 * descriptor beside it. The receiver checks it as if it came from a stranger: what is too short,
 * too long or truncated closes the channel. Sending never blocks: what the socket does not take is
 * queued up to a ceiling that the caller names, and a full queue is an answer, not a loss.
 */
#ifndef TANDEM_MSG_H
#define TANDEM_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "shared/loop.h"

#define MSG_PAYLOAD_BYTES_MAX 65536

struct msg_channel;

/* payload is borrowed for the call. fd is -1, or the receiver's from now on. */
typedef void (*msg_fn)(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd);
/* The other side is gone, or broke the framing (reason: negative errno, 0 for an orderly end). The
 * channel is still there and must be freed by its owner; no further call comes from it. */
typedef void (*msg_closed_fn)(void *ctx, int reason);
/* The queue has emptied after msg_send() had to queue. May be NULL. */
typedef void (*msg_drained_fn)(void *ctx);

/* Two connected, non-blocking, close-on-exec ends. */
int msg_pair(int ret_fds[2]);

struct msg_handlers {
	msg_fn on_message;
	msg_closed_fn on_closed;
	msg_drained_fn on_drained;
	void *ctx;
};

/* Takes over fd. queue_bytes_max bounds what waits to be sent. */
int msg_channel_new(struct loop *loop, int fd, size_t queue_bytes_max,
		    const struct msg_handlers *handlers, struct msg_channel **ret_channel);
struct msg_channel *msg_channel_free(struct msg_channel *channel);

/* fd: -1, or a descriptor to pass (duplicated; the caller keeps its own).
 * -ENOBUFS: the queue is full, nothing was sent. -EMSGSIZE: payload too large. -EPIPE: closed. */
int msg_send(struct msg_channel *channel, uint16_t type, const void *payload, size_t size, int fd);
/* Bytes that wait in the queue. */
size_t msg_queued_bytes(const struct msg_channel *channel);
/* Stops (and starts again) reading from the channel: back-pressure. */
void msg_pause(struct msg_channel *channel, int paused);

#endif
