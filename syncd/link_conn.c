/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/log.h"
#include "shared/wire.h"
#include "syncd/link_private.h"

#define OUT_BYTES (64 * 1024)
/* Reads of one connection in one turn, so that the others get theirs. */
#define READS_PER_TURN 8

static void on_ready(void *ctx, int fd, uint32_t events);
static void on_timer(void *ctx);

static bool hears(const struct link_conn *conn)
{
	return conn->state == LINK_WELCOME || conn->state == LINK_UP;
}

static void set_timer(struct link_conn *conn)
{
	uint64_t at_us = conn->deadline_us;

	if (conn->state == LINK_UP) {
		at_us = conn->ping_us;
		if (!conn->link->paused && conn->heard_us + LINK_DEAD_US < at_us)
			at_us = conn->heard_us + LINK_DEAD_US;
	}
	loop_timer_set(conn->timer, at_us);
}

/* What epoll is to say about this connection. */
void link_conn_update(struct link_conn *conn)
{
	uint32_t events = 0;

	if (!conn->source)
		return;
	if (conn->state == LINK_CONNECTING)
		events = EPOLLOUT;
	else if (conn->state == LINK_CLOSING || !conn->link->paused || conn->state != LINK_UP)
		events = EPOLLIN;
	if (conn->state != LINK_CONNECTING &&
	    (conn->out_size > conn->out_at || tls_pending(conn->tls) > 0))
		events |= EPOLLOUT;
	(void)loop_fd_events(conn->source, events);
}

static void finish(struct link_conn *conn)
{
	conn->source = loop_fd_remove(conn->source);
	loop_timer_set(conn->timer, LOOP_NEVER_US);
	conn->dead = true;
	link_sweep_soon(conn->link);
}

/* The connection is no use any more. What there is to say last (an alert, a BYE) still goes out:
 * closed at once with bytes unread, the kernel would send a reset that overtakes it. */
static void become_closing(struct link_conn *conn, const char *reason)
{
	bool connected = conn->state != LINK_CONNECTING;

	if (conn->state == LINK_CLOSING || conn->dead)
		return;
	link_conn_is_down(conn, reason);
	conn->state = LINK_CLOSING;
	conn->deadline_us = loop_now_us(conn->link->loop) + LINK_CLOSING_US;
	if (!connected) {
		finish(conn);
		return;
	}
	set_timer(conn);
	link_conn_flush(conn);
}

/* The socket itself has failed: there is nobody to say anything to. */
static void broken(struct link_conn *conn, const char *reason)
{
	if (conn->state != LINK_CLOSING)
		link_conn_is_down(conn, reason);
	conn->state = LINK_CLOSING;
	finish(conn);
}

static void broken_errno(struct link_conn *conn, int error)
{
	char text[128];

	snprintf(text, sizeof(text), "the connection broke off: %s", strerror(error));
	broken(conn, text);
}

void link_conn_flush(struct link_conn *conn)
{
	size_t written = 0;

	while (!conn->dead && conn->state != LINK_CONNECTING) {
		ssize_t n;

		if (conn->out_at == conn->out_size) {
			conn->out_at = 0;
			conn->out_size = tls_drain(conn->tls, conn->out, OUT_BYTES);
			if (conn->out_size == 0)
				break;
		}
		n = send(conn->fd, conn->out + conn->out_at, conn->out_size - conn->out_at,
			 MSG_NOSIGNAL);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN)
				break;
			broken_errno(conn, errno);
			return;
		}
		conn->out_at += (size_t)n;
		written += (size_t)n;
	}
	/* Records are longer than what the keeper has paid for: so this never gives back too early
	 * by more than their overhead, and all of it once all is out. */
	if (conn->state == LINK_UP && conn->unreturned > 0) {
		bool all = conn->out_at == conn->out_size && tls_pending(conn->tls) == 0;
		size_t credit = all || written > conn->unreturned ? conn->unreturned : written;

		conn->unreturned -= credit;
		if (credit > 0)
			link_tell_credit(conn, credit);
	}
	if (conn->state == LINK_CLOSING && conn->out_at == conn->out_size &&
	    tls_pending(conn->tls) == 0)
		(void)shutdown(conn->fd, SHUT_WR);
	link_conn_update(conn);
}

static void queue_frame(struct link_conn *conn, uint8_t type, const uint8_t *payload, size_t size)
{
	uint8_t head[LINK_LENGTH_BYTES + 1];
	struct wire_writer w;

	assert(size <= SESSION_PAYLOAD_BYTES_MAX);
	wire_writer_init(&w, head, sizeof(head));
	wire_put_u32(&w, (uint32_t)(size + 1));
	wire_put_u8(&w, type);
	if (tls_write(conn->tls, head, sizeof(head)) < 0 || tls_write(conn->tls, payload, size) < 0)
		broken(conn, tls_why(conn->tls));
}

void link_conn_send(struct link_conn *conn, uint8_t type, const uint8_t *payload, size_t size)
{
	if (conn->dead || conn->state == LINK_CLOSING)
		return;
	queue_frame(conn, type, payload, size);
	link_conn_flush(conn);
}

static void send_own(struct link_conn *conn, const struct session_frame *frame)
{
	uint8_t payload[1024];
	size_t size = session_wire_encode(frame, payload, sizeof(payload));

	assert(size > 0);
	link_conn_send(conn, frame->type, payload, size);
}

void link_conn_close(struct link_conn *conn, const char *reason)
{
	struct session_frame bye = {.type = SESSION_BYE};

	if (conn->dead || conn->state == LINK_CLOSING)
		return;
	if (hears(conn)) {
		bye.bye.reason = (struct session_string){reason, strlen(reason)};
		send_own(conn, &bye);
		if (!conn->dead)
			tls_close(conn->tls);
	}
	become_closing(conn, reason);
}

void link_conn_drop(struct link_conn *conn)
{
	if (conn->dead)
		return;
	conn->state = LINK_CLOSING;
	finish(conn);
}

/* ---- frames that come in ---- */

static void on_welcome(struct link_conn *conn, const struct session_welcome *welcome)
{
	struct link *link = conn->link;
	int node = link_find_node(link, welcome->node);
	char text[LINK_ERROR_BYTES_MAX];

	if (strcmp(welcome->cluster, link->cluster) != 0) {
		snprintf(text, sizeof(text),
			 "%s belongs to cluster %s, %s to cluster %s; the files must be the same",
			 welcome->node, welcome->cluster, link->self, link->cluster);
	} else if (node < 0) {
		snprintf(text, sizeof(text),
			 "%s has no node %s in its file; the files must be the same", link->self,
			 welcome->node);
	} else if (!link_node_has_pin(&link->nodes[node], conn->pin) ||
		   (conn->dialed && node != conn->node)) {
		/* A known key, but another node's. */
		snprintf(text, sizeof(text),
			 "a node calls itself %s and has another node's key; was node.key copied? "
			 "run `tandem keygen` there",
			 welcome->node);
	} else {
		conn->node = node;
		conn->state = LINK_UP;
		conn->up_us = conn->heard_us = loop_now_us(link->loop);
		conn->ping_us = conn->up_us;
		link_conn_is_up(conn);
		set_timer(conn);
		return;
	}
	link_conn_close(conn, text);
}

static void send_ping(struct link_conn *conn)
{
	struct session_frame ping = {.type = SESSION_PING};

	conn->ping_token++;
	conn->ping_sent_us = loop_now_us(conn->link->loop);
	ping.ping.token = conn->ping_token;
	send_own(conn, &ping);
}

static void on_own_frame(struct link_conn *conn, const struct session_frame *frame)
{
	struct session_frame pong = {.type = SESSION_PONG};
	char text[LINK_ERROR_BYTES_MAX];

	switch (frame->type) {
	case SESSION_BYE:
		snprintf(text, sizeof(text), "the other side ended it: %.*s",
			 (int)frame->bye.reason.size, frame->bye.reason.bytes);
		tls_close(conn->tls);
		become_closing(conn, text);
		break;
	case SESSION_PING:
		pong.ping.token = frame->ping.token;
		send_own(conn, &pong);
		break;
	case SESSION_PONG:
		/* An old one measures nothing. */
		if (frame->ping.token == conn->ping_token && conn->ping_sent_us != 0) {
			link_tell_rtt(conn, loop_now_us(conn->link->loop) - conn->ping_sent_us);
			conn->ping_sent_us = 0;
		}
		break;
	default:
		link_conn_close(conn, "WELCOME was said twice");
	}
}

static void on_frame(struct link_conn *conn, uint8_t type, const uint8_t *payload, size_t size)
{
	struct session_frame frame;
	enum session_verdict verdict;
	char text[LINK_ERROR_BYTES_MAX];

	if (conn->state == LINK_UP && type > SESSION_BYE) {
		/* Not ours to look into. */
		link_tell_frame(conn, type, payload, size);
		return;
	}
	verdict = session_wire_decode(type, payload, size, &frame);
	if (verdict != SESSION_OK) {
		snprintf(text, sizeof(text), "%s frame refused: %s (%s)%s",
			 session_frame_name(type), session_verdict_text(verdict),
			 session_verdict_name(verdict),
			 verdict == SESSION_BAD_VERSION
				 ? "; install the same version of tandem on both"
				 : "");
		link_conn_close(conn, text);
	} else if (conn->state == LINK_UP) {
		on_own_frame(conn, &frame);
	} else if (type == SESSION_WELCOME) {
		on_welcome(conn, &frame.welcome);
	} else if (type == SESSION_BYE) {
		on_own_frame(conn, &frame);
	} else {
		snprintf(text, sizeof(text), "%s frame refused: it comes before WELCOME",
			 session_frame_name(type));
		link_conn_close(conn, text);
	}
}

/* Cuts what has come into frames. The length is judged before anything is kept for it. */
static void take_plain(struct link_conn *conn, const uint8_t *bytes, size_t size)
{
	while (size > 0 && hears(conn) && !conn->dead) {
		size_t room_max =
			conn->state == LINK_UP ? LINK_FRAME_BYTES_MAX : LINK_FIRST_BYTES_MAX;
		size_t want = LINK_LENGTH_BYTES, take;
		uint32_t length = 0;
		char text[160];

		if (conn->in_size >= LINK_LENGTH_BYTES) {
			struct wire_reader r;

			wire_reader_init(&r, conn->in, LINK_LENGTH_BYTES);
			length = wire_get_u32(&r);
			want = LINK_LENGTH_BYTES + (size_t)length;
		}
		take = want - conn->in_size < size ? want - conn->in_size : size;
		memcpy(conn->in + conn->in_size, bytes, take);
		conn->in_size += take;
		bytes += take;
		size -= take;
		if (conn->in_size == LINK_LENGTH_BYTES) {
			struct wire_reader r;

			wire_reader_init(&r, conn->in, LINK_LENGTH_BYTES);
			length = wire_get_u32(&r);
			if (length < 1) {
				link_conn_close(conn, "a frame without a type (empty-frame)");
				return;
			}
			if (length > room_max - LINK_LENGTH_BYTES) {
				snprintf(text, sizeof(text),
					 "a frame of %u bytes, more than the %zu allowed "
					 "(too-large)",
					 length, room_max - LINK_LENGTH_BYTES);
				link_conn_close(conn, text);
				return;
			}
			continue;
		}
		if (conn->in_size == want && want > LINK_LENGTH_BYTES) {
			conn->in_size = 0;
			on_frame(conn, conn->in[LINK_LENGTH_BYTES],
				 conn->in + LINK_LENGTH_BYTES + 1, length - 1);
		}
	}
}

/* Whatever can be decrypted, until the keeper is behind. */
static void read_plain(struct link_conn *conn)
{
	uint8_t plain[16 * 1024];

	while (!conn->dead && hears(conn) && !(conn->link->paused && conn->state == LINK_UP)) {
		ssize_t n = tls_read(conn->tls, plain, sizeof(plain));

		if (n == -EAGAIN)
			return;
		if (n == 0) {
			become_closing(conn, "the other side closed the connection");
			return;
		}
		if (n < 0) {
			/* A rejected client learns it here: trap 1 of TLS 1.3. */
			become_closing(conn, tls_why(conn->tls));
			return;
		}
		conn->heard_us = loop_now_us(conn->link->loop);
		take_plain(conn, plain, (size_t)n);
	}
}

static void greet(struct link_conn *conn)
{
	struct session_frame welcome = {.type = SESSION_WELCOME};

	conn->state = LINK_WELCOME;
	welcome.welcome.version = SESSION_PROTOCOL_VERSION;
	snprintf(welcome.welcome.cluster, sizeof(welcome.welcome.cluster), "%s",
		 conn->link->cluster);
	snprintf(welcome.welcome.node, sizeof(welcome.welcome.node), "%s", conn->link->self);
	send_own(conn, &welcome);
}

static void advance(struct link_conn *conn)
{
	int rc;

	if (conn->state == LINK_HANDSHAKE) {
		uint8_t pin[IDENTITY_PIN_BYTES];
		char text[LINK_ERROR_BYTES_MAX], pin_text[IDENTITY_PIN_TEXT_ROOM];

		rc = tls_handshake(conn->tls);
		if (rc == -EAGAIN) {
			link_conn_flush(conn);
			return;
		}
		if (rc < 0) {
			if (tls_unknown_pin(conn->tls, pin)) {
				identity_pin_format(pin, pin_text);
				snprintf(text, sizeof(text),
					 "presented a key that is not in the file: %s; run `tandem "
					 "keygen` there and put its line into nodes",
					 pin_text);
				become_closing(conn, text);
			} else {
				become_closing(conn, tls_why(conn->tls));
			}
			return;
		}
		greet(conn);
	}
	read_plain(conn);
	link_conn_flush(conn);
}

void link_conn_resume(struct link_conn *conn)
{
	if (conn->dead)
		return;
	if (conn->state == LINK_UP) {
		/* Whoever was not listened to was not silent. */
		conn->heard_us = loop_now_us(conn->link->loop);
		read_plain(conn);
		if (conn->dead || conn->state == LINK_CLOSING)
			return;
		set_timer(conn);
	}
	link_conn_update(conn);
}

static void read_socket(struct link_conn *conn)
{
	uint8_t bytes[16 * 1024];

	for (int i = 0; i < READS_PER_TURN && !conn->dead; i++) {
		ssize_t n;

		if (conn->state == LINK_UP && conn->link->paused)
			return;
		n = recv(conn->fd, bytes, sizeof(bytes), 0);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				broken_errno(conn, errno);
			return;
		}
		if (n == 0) {
			broken(conn, conn->state == LINK_UP ? "the other side closed the connection"
							    : "the other side closed the "
							      "connection before saying who it is");
			return;
		}
		if (conn->state == LINK_CLOSING)
			continue; /* read and thrown away until the other side has closed too */
		if (tls_feed(conn->tls, bytes, (size_t)n) < 0) {
			broken(conn, "out of memory");
			return;
		}
		advance(conn);
		if ((size_t)n < sizeof(bytes))
			return;
	}
}

static void on_connected(struct link_conn *conn)
{
	int error = 0;
	socklen_t size = sizeof(error);
	char text[LINK_ERROR_BYTES_MAX];
	struct link_node *node = link_node_of(conn);

	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error != 0) {
		snprintf(text, sizeof(text), "cannot connect to %s port %u: %s%s",
			 conn->address_text, node ? node->port : 0, strerror(error),
			 error == ECONNREFUSED ? "; is tandem-syncd running there?"
			 : error == ETIMEDOUT || error == EHOSTUNREACH
				 ? "; is the host up, and does its firewall let the port through?"
				 : "");
		become_closing(conn, text);
		return;
	}
	conn->state = LINK_HANDSHAKE;
	advance(conn);
	if (!conn->dead)
		link_conn_update(conn);
}

static void on_ready(void *ctx, int fd, uint32_t events)
{
	struct link_conn *conn = ctx;

	(void)fd;
	if (conn->dead)
		return;
	if (conn->state == LINK_CONNECTING) {
		on_connected(conn);
		return;
	}
	/* Not read while the keeper is behind, but these two come all the same, and would at once
	 * again: whatever the socket still holds is worth nothing without its end. */
	if (conn->state == LINK_UP && conn->link->paused && (events & (EPOLLHUP | EPOLLERR))) {
		broken(conn, "the other side broke the connection off");
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_socket(conn);
	if (!conn->dead && (events & EPOLLOUT))
		link_conn_flush(conn);
	if (!conn->dead)
		link_conn_update(conn);
}

static void on_timer(void *ctx)
{
	struct link_conn *conn = ctx;
	uint64_t now_us = loop_now_us(conn->link->loop);

	if (conn->dead)
		return;
	switch (conn->state) {
	case LINK_CLOSING:
		finish(conn);
		return;
	case LINK_CONNECTING:
		become_closing(conn, "no answer within 5 s; is the host up, and does its firewall "
				     "let the port through?");
		return;
	case LINK_HANDSHAKE:
	case LINK_WELCOME:
		become_closing(conn, "did not say who it is within 5 s");
		return;
	case LINK_UP:
		break;
	}
	if (!conn->link->paused && now_us >= conn->heard_us + LINK_DEAD_US) {
		become_closing(conn, "nothing was heard for 5 s");
		return;
	}
	if (now_us >= conn->ping_us) {
		conn->ping_us = now_us + LINK_PING_US;
		send_ping(conn);
		if (conn->dead || conn->state == LINK_CLOSING)
			return;
	}
	set_timer(conn);
}

/* Called by TLS in the handshake. */
static bool on_pin(void *ctx, const uint8_t pin[IDENTITY_PIN_BYTES])
{
	struct link_conn *conn = ctx;

	memcpy(conn->pin, pin, IDENTITY_PIN_BYTES);
	conn->pinned = conn->dialed ? link_node_has_pin(&conn->link->nodes[conn->node], pin)
				    : link_knows_pin(conn->link, pin);
	return conn->pinned;
}

int link_conn_new(struct link *link, int fd, int node, const struct ip_addr *address,
		  struct link_conn **ret_conn)
{
	struct link_conn *conn = calloc(1, sizeof(*conn));
	int rc = -ENOMEM;

	if (!conn) {
		close(fd);
		return rc;
	}
	conn->link = link;
	conn->fd = fd;
	conn->node = node;
	conn->dialed = node >= 0;
	conn->state = conn->dialed ? LINK_CONNECTING : LINK_HANDSHAKE;
	conn->address = *address;
	ip_format(address, conn->address_text);
	conn->in = malloc(LINK_FRAME_BYTES_MAX);
	conn->out = malloc(OUT_BYTES);
	if (!conn->in || !conn->out)
		goto fail;
	rc = tls_new(link->tls, conn->dialed ? TLS_DIALS : TLS_LISTENS, on_pin, conn, &conn->tls);
	if (rc < 0)
		goto fail;
	rc = loop_timer_new(link->loop, on_timer, conn, &conn->timer);
	if (rc < 0)
		goto fail;
	rc = loop_fd_add(link->loop, fd, conn->dialed ? EPOLLOUT : EPOLLIN, on_ready, conn,
			 &conn->source);
	if (rc < 0)
		goto fail;
	conn->deadline_us = loop_now_us(link->loop) + LINK_HANDSHAKE_US;
	set_timer(conn);
	conn->next = link->conns;
	link->conns = conn;
	*ret_conn = conn;
	return 0;
fail:
	link_conn_free(conn);
	return rc;
}

void link_conn_free(struct link_conn *conn)
{
	loop_fd_remove(conn->source);
	loop_timer_free(conn->timer);
	tls_free(conn->tls);
	if (conn->in)
		explicit_bzero(conn->in, LINK_FRAME_BYTES_MAX);
	free(conn->in);
	free(conn->out);
	close(conn->fd);
	free(conn);
}
