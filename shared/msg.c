/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/msg.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* So many messages a turn, so that one busy channel does not starve the other sources. */
#define MESSAGES_PER_TURN 16
#define TYPE_BYTES 2
/* Room for more descriptors than are allowed, so that too many are seen, and closed, as such. */
#define FDS_ROOM 4
/* So that the largest message always fits into an empty socket (the kernel counts its own overhead
 * too, and doubles this). */
#define SOCKET_BUFFER_BYTES (4 * MSG_PAYLOAD_BYTES_MAX)

struct queued {
	struct queued *next;
	int fd; /* our own duplicate, or -1 */
	size_t size;
	uint8_t bytes[]; /* type and payload, as sent */
};

struct msg_channel {
	struct loop *loop;
	struct loop_fd
		*source; /* NULL while paused after the other side has left, and once closed */
	int fd;
	struct msg_handlers handlers;
	size_t queue_bytes_max;
	size_t queue_bytes;
	struct queued *queue, **queue_tail;
	bool paused;
	bool unwritable; /* the other side takes nothing any more; what it sent may still be here */
	bool reset;	 /* it left without reading all that we sent */
	bool closed;	 /* on_closed has been called */
	bool in_callback;
	bool freed; /* within a callback; the memory goes when it has returned */
	uint8_t buffer[TYPE_BYTES + MSG_PAYLOAD_BYTES_MAX];
};

static void on_ready(void *ctx, int fd, uint32_t events);

int msg_pair(int ret_fds[2])
{
	int fds[2], size = SOCKET_BUFFER_BYTES;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		(void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

static uint32_t wanted_events(const struct msg_channel *channel)
{
	uint32_t events = 0;

	if (!channel->paused)
		events |= EPOLLIN;
	if (channel->queue)
		events |= EPOLLOUT;
	return events;
}

static void update_events(struct msg_channel *channel)
{
	if (channel->source)
		(void)loop_fd_events(channel->source, wanted_events(channel));
}

static void drop_queue(struct msg_channel *channel)
{
	while (channel->queue) {
		struct queued *first = channel->queue;

		channel->queue = first->next;
		if (first->fd >= 0)
			close(first->fd);
		free(first);
	}
	channel->queue_tail = &channel->queue;
	channel->queue_bytes = 0;
}

int msg_channel_new(struct loop *loop, int fd, size_t queue_bytes_max,
		    const struct msg_handlers *handlers, struct msg_channel **ret_channel)
{
	struct msg_channel *channel = calloc(1, sizeof(*channel));
	int r;

	if (!channel)
		return -ENOMEM;
	channel->loop = loop;
	channel->fd = fd;
	channel->handlers = *handlers;
	channel->queue_bytes_max = queue_bytes_max;
	channel->queue_tail = &channel->queue;
	r = loop_fd_add(loop, fd, EPOLLIN, on_ready, channel, &channel->source);
	if (r < 0) {
		free(channel);
		return r;
	}
	*ret_channel = channel;
	return 0;
}

struct msg_channel *msg_channel_free(struct msg_channel *channel)
{
	if (!channel || channel->freed)
		return NULL;
	channel->source = loop_fd_remove(channel->source);
	drop_queue(channel);
	close(channel->fd);
	channel->fd = -1;
	channel->freed = true;
	if (!channel->in_callback)
		free(channel);
	return NULL;
}

/* From here on until it is freed the channel is silent. */
static void close_channel(struct msg_channel *channel, int reason)
{
	if (channel->closed || channel->freed)
		return;
	channel->closed = true;
	channel->unwritable = true;
	channel->source = loop_fd_remove(channel->source);
	drop_queue(channel);
	channel->handlers.on_closed(channel->handlers.ctx, reason);
}

/* 0, or a negative errno (-EAGAIN: not now). */
static int send_now(struct msg_channel *channel, const struct iovec *parts, size_t parts_count,
		    int fd)
{
	union {
		struct cmsghdr header;
		uint8_t room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = parts_count};
	ssize_t n;

	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.room);
	}
	do
		n = sendmsg(channel->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	/* ENOBUFS and ETOOMANYREFS (descriptors in flight) pass, as a full socket does. */
	if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
		return -EAGAIN;
	return errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
}

/* What waits can no longer be sent; what the other side sent before it left is still read, and the
 * end of it closes the channel. */
static void give_up_sending(struct msg_channel *channel)
{
	channel->unwritable = true;
	drop_queue(channel);
	update_events(channel);
}

int msg_send(struct msg_channel *channel, uint16_t type, const void *payload, size_t size, int fd)
{
	uint8_t head[TYPE_BYTES] = {(uint8_t)(type >> 8), (uint8_t)type};
	struct iovec parts[2] = {{.iov_base = head, .iov_len = sizeof(head)},
				 {.iov_base = (void *)(uintptr_t)payload, .iov_len = size}};
	struct queued *item;
	int r;

	if (size > MSG_PAYLOAD_BYTES_MAX)
		return -EMSGSIZE;
	if (channel->unwritable || channel->freed)
		return -EPIPE;
	if (!channel->queue) {
		r = send_now(channel, parts, size > 0 ? 2 : 1, fd);
		if (r == -EPIPE)
			give_up_sending(channel);
		if (r != -EAGAIN)
			return r;
	}
	if (TYPE_BYTES + size > channel->queue_bytes_max - channel->queue_bytes)
		return -ENOBUFS;
	item = malloc(sizeof(*item) + TYPE_BYTES + size);
	if (!item)
		return -ENOMEM;
	*item = (struct queued){.fd = -1, .size = TYPE_BYTES + size};
	memcpy(item->bytes, head, TYPE_BYTES);
	if (size > 0)
		memcpy(item->bytes + TYPE_BYTES, payload, size);
	if (fd >= 0) {
		item->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (item->fd < 0) {
			r = -errno;
			free(item);
			return r;
		}
	}
	*channel->queue_tail = item;
	channel->queue_tail = &item->next;
	channel->queue_bytes += item->size;
	update_events(channel);
	return 0;
}

size_t msg_queued_bytes(const struct msg_channel *channel)
{
	return channel->queue_bytes;
}

void msg_pause(struct msg_channel *channel, int paused)
{
	if (channel->paused == (paused != 0) || channel->closed || channel->freed)
		return;
	channel->paused = paused != 0;
	if (channel->source) {
		update_events(channel);
	} else if (!channel->paused) {
		int r = loop_fd_add(channel->loop, channel->fd, wanted_events(channel), on_ready,
				    channel, &channel->source);

		if (r < 0)
			close_channel(channel, r);
	}
}

static void flush(struct msg_channel *channel)
{
	bool had = channel->queue != NULL;

	while (channel->queue) {
		struct queued *first = channel->queue;
		struct iovec part = {.iov_base = first->bytes, .iov_len = first->size};
		int r = send_now(channel, &part, 1, first->fd);

		if (r == -EAGAIN)
			break;
		if (r == -EPIPE) {
			give_up_sending(channel);
			return;
		}
		if (r < 0) {
			close_channel(channel, r);
			return;
		}
		channel->queue = first->next;
		if (!channel->queue)
			channel->queue_tail = &channel->queue;
		channel->queue_bytes -= first->size;
		if (first->fd >= 0)
			close(first->fd);
		free(first);
	}
	if (had && !channel->queue) {
		update_events(channel);
		if (channel->handlers.on_drained)
			channel->handlers.on_drained(channel->handlers.ctx);
	}
}

/* The descriptors beside a message; the ones past the first are closed here. Returns how many. */
static int take_fds(struct msghdr *message, int *ret_fd)
{
	int count = 0;

	*ret_fd = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (count++ == 0)
				*ret_fd = fd;
			else
				close(fd);
		}
	}
	return count;
}

/* Reads one message and hands it on. False: nothing more to read now. */
static bool receive(struct msg_channel *channel)
{
	union {
		struct cmsghdr header;
		uint8_t room[CMSG_SPACE(FDS_ROOM * sizeof(int))];
	} control;
	struct iovec part = {.iov_base = channel->buffer, .iov_len = sizeof(channel->buffer)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control.room)};
	ssize_t n = recvmsg(channel->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd, fds;

	if (n < 0) {
		if (errno == EAGAIN)
			return false;
		if (errno == EINTR)
			return true;
		if (errno == ECONNRESET) {
			/* Said once, before what is still to be read. */
			channel->reset = true;
			return true;
		}
		close_channel(channel, -errno);
		return false;
	}
	fds = take_fds(&message, &fd);
	if (n == 0 && fds == 0) {
		close_channel(channel, channel->reset ? -ECONNRESET : 0);
		return false;
	}
	if (n < TYPE_BYTES || fds > 1 || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		if (fd >= 0)
			close(fd);
		close_channel(channel, -EPROTO);
		return false;
	}
	channel->handlers.on_message(channel->handlers.ctx,
				     (uint16_t)(channel->buffer[0] << 8 | channel->buffer[1]),
				     channel->buffer + TYPE_BYTES, (size_t)n - TYPE_BYTES, fd);
	return true;
}

static void on_ready(void *ctx, int fd, uint32_t events)
{
	struct msg_channel *channel = ctx;

	(void)fd;
	channel->in_callback = true;
	if (events & EPOLLOUT)
		flush(channel);
	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		if (channel->paused || channel->closed || channel->freed || !receive(channel))
			break;
	}
	/* epoll reports a hang-up whether it is asked for or not; while nobody reads, that would
	 * be a loop without end. It is watched again when reading goes on. */
	if (channel->paused && (events & (EPOLLHUP | EPOLLERR)) && !channel->freed &&
	    !channel->closed) {
		give_up_sending(channel);
		channel->source = loop_fd_remove(channel->source);
	}
	channel->in_callback = false;
	if (channel->freed)
		free(channel);
}
