/* SPDX-License-Identifier: Apache-2.0 */
/* The process: messages to and from the keeper and the runner, the configuration, start and end. */
#include "syncd/link.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/confine.h"
#include "shared/log.h"
#include "shared/wire.h"
#include "syncd/link_confine.h"
#include "syncd/link_private.h"

/* The same words about the same stranger are said once in so long. */
#define STRANGER_REPEAT_US (60 * 1000000ull)

/* ---- to the keeper ---- */

static void leave(struct link *link)
{
	link->gone = true;
	loop_quit(link->loop, 0);
}

static void resume_all(struct link *link)
{
	for (struct link_conn *conn = link->conns; conn && !link->paused; conn = conn->next)
		link_conn_resume(conn);
}

static void tell(struct link *link, uint16_t type, const struct wire_writer *w)
{
	int rc;

	assert(wire_writer_ok(w));
	if (link->gone)
		return;
	rc = msg_send(link->keeper, type, w->data, w->at, -1);
	if (rc < 0) {
		/* The queue is bounded and the peers are not read past its mark: this is the end of
		 * the keeper, or our own mistake. */
		log_err("cannot reach the keeper: %s", strerror(-rc));
		leave(link);
		return;
	}
	if (!link->paused && msg_queued_bytes(link->keeper) > LINK_KEEPER_QUEUE_HIGH) {
		link->paused = true;
		for (struct link_conn *conn = link->conns; conn; conn = conn->next)
			link_conn_update(conn);
	}
}

static void put_text(struct wire_writer *w, const char *text)
{
	wire_put_string(w, text, strlen(text));
}

void link_tell_frame(struct link_conn *conn, uint8_t type, const uint8_t *payload, size_t size)
{
	uint8_t message[5 + SESSION_PAYLOAD_BYTES_MAX];
	struct wire_writer w;

	wire_writer_init(&w, message, sizeof(message));
	wire_put_u32(&w, conn->number);
	wire_put_u8(&w, type);
	wire_put_bytes(&w, payload, size);
	tell(conn->link, LINK_MSG_FRAME, &w);
}

void link_tell_credit(struct link_conn *conn, size_t bytes)
{
	uint8_t message[8];
	struct wire_writer w;

	wire_writer_init(&w, message, sizeof(message));
	wire_put_u32(&w, conn->number);
	wire_put_u32(&w, (uint32_t)bytes);
	tell(conn->link, LINK_MSG_CREDIT, &w);
}

void link_tell_rtt(struct link_conn *conn, uint64_t rtt_us)
{
	uint8_t message[12];
	struct wire_writer w;

	wire_writer_init(&w, message, sizeof(message));
	wire_put_u32(&w, conn->number);
	wire_put_u64(&w, rtt_us);
	tell(conn->link, LINK_MSG_RTT, &w);
}

_Static_assert(LINK_BINDING_BYTES == TLS_BINDING_BYTES, "passed on as it is");

void link_tell_up(struct link_conn *conn)
{
	uint8_t message[512];
	char tls[96];
	uint8_t binding[LINK_BINDING_BYTES] = {0};
	struct wire_writer w;

	/* Without one no signature fits, and the peer's keeper will say so. */
	(void)tls_binding(conn->tls, binding);
	wire_writer_init(&w, message, sizeof(message));
	wire_put_u32(&w, conn->number);
	put_text(&w, link_node_of(conn)->name);
	put_text(&w, conn->address_text);
	put_text(&w, tls_describe(conn->tls, tls, sizeof(tls)));
	wire_put_u32(&w, LINK_CREDIT_BYTES);
	wire_put_bytes(&w, binding, sizeof(binding));
	tell(conn->link, LINK_MSG_UP, &w);
}

void link_tell_down(struct link_conn *conn, const char *reason)
{
	uint8_t message[LINK_ERROR_BYTES_MAX + 16];
	struct wire_writer w;

	wire_writer_init(&w, message, sizeof(message));
	wire_put_u32(&w, conn->number);
	put_text(&w, reason);
	tell(conn->link, LINK_MSG_DOWN, &w);
}

/* Says why there is no connection, once as long as it is the same. */
void link_tell_trouble(struct link *link, struct link_node *node, const char *name,
		       const char *text)
{
	uint8_t message[LINK_ERROR_BYTES_MAX + CONF_NAME_BYTES_MAX + 16];
	uint64_t now_us = loop_now_us(link->loop);
	struct wire_writer w;

	if (node) {
		if (strcmp(node->trouble, text) == 0)
			return;
		snprintf(node->trouble, sizeof(node->trouble), "%s", text);
		log_warn("%s: %s", node->name, text);
	} else {
		if (strcmp(link->stranger, text) == 0 &&
		    now_us < link->stranger_us + STRANGER_REPEAT_US)
			return;
		snprintf(link->stranger, sizeof(link->stranger), "%s", text);
		link->stranger_us = now_us;
		log_warn("refused a connection: %s", text);
	}
	wire_writer_init(&w, message, sizeof(message));
	put_text(&w, name);
	put_text(&w, text);
	tell(link, LINK_MSG_TROUBLE, &w);
}

/* ---- the configuration ---- */

static int take_node(struct link *link, const struct conf *conf, int i)
{
	const struct conf_node *from = &conf->nodes[i], *self = &conf->nodes[conf->self];
	struct link_node *node = &link->nodes[link->nodes_count];
	int rc;

	/* Without a key a node takes no part: it is a keepalived peer, say. */
	if (i == conf->self || from->pins_count == 0)
		return 0;
	snprintf(node->name, sizeof(node->name), "%s", from->name);
	node->link = link;
	node->address = from->address;
	node->port = from->link_port;
	node->pins_count = from->pins_count;
	memcpy(node->pins, from->pins, sizeof(node->pins));
	node->dials = conf->self < i && self->pins_count > 0;
	node->backoff_us = LINK_BACKOFF_FIRST_US;
	rc = loop_timer_new(link->loop, link_on_dial_timer, node, &node->timer);
	if (rc == 0)
		link->nodes_count++;
	return rc;
}

static int take_conf(struct link *link, const struct conf *conf)
{
	const struct conf_node *self = &conf->nodes[conf->self];

	snprintf(link->cluster, sizeof(link->cluster), "%s", conf->cluster);
	snprintf(link->self, sizeof(link->self), "%s", self->name);
	link->self_address = self->address;
	for (int i = 0; i < conf->nodes_count; i++) {
		int rc = take_node(link, conf, i);

		if (rc < 0)
			return rc;
	}
	for (int i = 0; i < link->nodes_count; i++) {
		if (link->nodes[i].dials)
			link_dial(link, &link->nodes[i]);
	}
	return 0;
}

/* ---- messages ---- */

static struct link_conn *conn_by_number(struct link *link, uint32_t number)
{
	for (struct link_conn *conn = link->conns; conn; conn = conn->next) {
		if (conn->state == LINK_UP && conn->number == number)
			return conn;
	}
	return NULL;
}

static void on_keeper_frame(struct link_conn *conn, struct wire_reader *r)
{
	uint8_t type = wire_get_u8(r);
	size_t size = wire_left(r);
	const uint8_t *payload = wire_get_slice(r, size);

	if (!wire_reader_ok(r) || size > SESSION_PAYLOAD_BYTES_MAX || type <= SESSION_BYE ||
	    conn->unreturned + size + LINK_FRAME_COST > LINK_CREDIT_BYTES) {
		log_err("the keeper sends what it may not (frame type %u, %zu bytes)", type, size);
		link_conn_close(conn, "internal error");
		return;
	}
	conn->unreturned += size + LINK_FRAME_COST;
	link_conn_send(conn, type, payload, size);
}

static void on_keeper(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct link *link = ctx;
	struct wire_reader r;
	struct link_conn *conn;
	char reason[SESSION_REASON_BYTES_MAX + 1];
	const char *text;
	size_t text_size;

	if (fd >= 0)
		close(fd);
	wire_reader_init(&r, payload, size);
	conn = conn_by_number(link, wire_get_u32(&r));
	if (!wire_reader_ok(&r) || !conn)
		return; /* it has gone, and the keeper is about to hear that */
	switch (type) {
	case LINK_MSG_FRAME:
		on_keeper_frame(conn, &r);
		break;
	case LINK_MSG_CLOSE:
		text = wire_get_string(&r, &text_size);
		if (!text)
			return;
		snprintf(reason, sizeof(reason), "%.*s", (int)text_size, text);
		link_conn_close(conn, reason);
		break;
	default:
		log_err("unknown message %u from the keeper", type);
	}
}

static void on_keeper_drained(void *ctx)
{
	struct link *link = ctx;

	if (!link->paused)
		return;
	link->paused = false;
	resume_all(link);
}

static void on_keeper_closed(void *ctx, int reason)
{
	struct link *link = ctx;

	(void)reason;
	leave(link);
}

/* Its end of the channel is all that is wanted of it. */
static void on_runner(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	(void)ctx;
	(void)payload;
	(void)size;
	if (fd >= 0)
		close(fd);
	log_err("unknown message %u from the runner", type);
}

static void on_runner_closed(void *ctx, int reason)
{
	struct link *link = ctx;

	(void)reason;
	leave(link);
}

/* ---- the whole ---- */

int link_new(struct loop *loop, const struct link_options *options, struct link **ret_link)
{
	struct msg_handlers keeper = {.on_message = on_keeper,
				      .on_closed = on_keeper_closed,
				      .on_drained = on_keeper_drained};
	struct msg_handlers runner = {.on_message = on_runner, .on_closed = on_runner_closed};
	struct link *link = calloc(1, sizeof(*link));
	int rc = -ENOMEM;

	if (!link)
		return rc;
	link->loop = loop;
	link->listen_fd = -1;
	link->number_next = 1;
	link->random = options->seed;
	keeper.ctx = runner.ctx = link;
	rc = tls_context_new(options->credentials, options->credentials_size, &link->tls);
	if (rc < 0)
		goto fail;
	rc = loop_timer_new(loop, link_on_listen_timer, link, &link->listen_timer);
	if (rc == 0)
		rc = loop_timer_new(loop, link_on_sweep, link, &link->sweep_timer);
	if (rc == 0)
		rc = msg_channel_new(loop, options->keeper_fd, LINK_KEEPER_QUEUE_MAX, &keeper,
				     &link->keeper);
	if (rc == 0 && options->runner_fd >= 0)
		rc = msg_channel_new(loop, options->runner_fd, LINK_KEEPER_QUEUE_HIGH, &runner,
				     &link->runner);
	if (rc == 0)
		rc = link_set_listener(link, options->listen_fd);
	if (rc == 0)
		rc = take_conf(link, options->conf);
	if (rc < 0)
		goto fail;
	*ret_link = link;
	return 0;
fail:
	link_free(link);
	return rc;
}

struct link *link_free(struct link *link)
{
	if (!link)
		return NULL;
	link->gone = true;
	while (link->conns) {
		struct link_conn *conn = link->conns;

		link_conn_close(conn, "tandem-syncd is stopping there");
		link->conns = conn->next;
		link_conn_free(conn);
	}
	for (int i = 0; i < link->nodes_count; i++)
		loop_timer_free(link->nodes[i].timer);
	msg_channel_free(link->runner);
	msg_channel_free(link->keeper);
	loop_fd_remove(link->listener);
	if (link->listen_fd >= 0)
		close(link->listen_fd);
	loop_timer_free(link->listen_timer);
	loop_timer_free(link->sweep_timer);
	tls_context_free(link->tls);
	free(link);
	return NULL;
}

/* Nobody with a privilege, and then nobody who could do more than speak. */
static int settle_in(const struct priv_user *user)
{
	int rc = priv_drop(user, 0);

	if (rc < 0) {
		log_err("cannot become the user of the link: %s", strerror(-rc));
		return rc;
	}
	rc = link_confine();
	if (confine_is_missing(rc)) {
		log_warn("this kernel has no seccomp filters: the link is confined by its user "
			 "alone");
		rc = 0;
	} else if (rc < 0) {
		log_err("cannot confine the link: %s", strerror(-rc));
	}
	return rc;
}

int link_main(const struct link_options *options, const struct priv_user *user)
{
	struct loop *loop = NULL;
	struct link *link = NULL;
	sigset_t none;
	int rc;

	log_set_process("link");
	/* What the runner blocks for its own loop is ours to die of, but for the keyboard's signal,
	 * which goes to all at once: the runner says when to leave. */
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	rc = loop_new(&loop);
	/* Before the drop: OpenSSL reads its own configuration now, and never again. */
	if (rc == 0)
		rc = link_new(loop, options, &link);
	if (rc < 0)
		log_err("cannot start: %s", strerror(-rc));
	else if (user)
		rc = settle_in(user);
	if (rc == 0)
		rc = loop_run(loop);
	link_free(link);
	loop_free(loop);
	return rc == 0 ? 0 : 1;
}
