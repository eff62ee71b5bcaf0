/* SPDX-License-Identifier: Apache-2.0 */
/* Two links in one process, on loopback, with their keepers' ends; and clients that misbehave. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/conf.h"
#include "shared/ip.h"
#include "shared/log.h"
#include "shared/loop.h"
#include "shared/msg.h"
#include "shared/wire.h"
#include "syncd/identity.h"
#include "syncd/link.h"
#include "syncd/link_client.h"
#include "syncd/session_wire.h"
#include "syncd/tls.h"

#define WAIT_US (60 * 1000000ull)
#define FRAMES_KEPT 8

enum { WEB1, WEB2, STRANGER, KEYS };
static const char *const names[KEYS] = {"web1", "web2", "stranger"};
static const char *const addresses[KEYS] = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};
static struct identity *identities[KEYS];
static uint8_t pins[KEYS][IDENTITY_PIN_BYTES];
static char dir[64];
static struct loop *loop;

/* One node: its link and what its keeper heard. */
struct node {
	int key;
	struct link *link;
	struct link_client *client;
	bool bare; /* the keeper is a channel alone, which can be paused */
	struct msg_channel *runner, *keeper;
	int listen_fd;
	uint16_t port;
	uint32_t conn; /* 0: none */
	int ups, downs, rtts;
	uint8_t binding[LINK_BINDING_BYTES];
	char peer[64], tls[128], down_reason[1024], trouble_node[64], trouble[1024];
	/* frames */
	int frames, sendable;
	uint64_t bytes;
	struct session_frame last;
	uint8_t last_payload[SESSION_PAYLOAD_BYTES_MAX];
	uint64_t next_token;
	bool disordered;
};
static struct node nodes[2];

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* Turns the loop until the condition holds; a test that waits in vain fails here. */
#define wait_for(condition)                                                                        \
	do {                                                                                       \
		uint64_t wait_until_us = now_us() + WAIT_US;                                       \
		while (!(condition)) {                                                             \
			if (now_us() > wait_until_us)                                              \
				fail_msg("waited in vain for: %s", #condition);                    \
			assert_true(loop_turn(loop, now_us() + 20000) >= 0);                       \
		}                                                                                  \
	} while (0)

/* ---- the keepers' ends ---- */

static void on_up(void *ctx, uint32_t conn, const char *node, const char *address, const char *tls,
		  const uint8_t *binding)
{
	struct node *n = ctx;

	n->ups++;
	n->conn = conn;
	snprintf(n->peer, sizeof(n->peer), "%s %s", node, address);
	snprintf(n->tls, sizeof(n->tls), "%s", tls);
	memcpy(n->binding, binding, sizeof(n->binding));
}

static void on_down(void *ctx, uint32_t conn, const char *reason)
{
	struct node *n = ctx;

	n->downs++;
	if (n->conn == conn)
		n->conn = 0;
	snprintf(n->down_reason, sizeof(n->down_reason), "%s", reason);
}

static void on_trouble(void *ctx, const char *node, const char *text)
{
	struct node *n = ctx;

	snprintf(n->trouble_node, sizeof(n->trouble_node), "%s", node);
	snprintf(n->trouble, sizeof(n->trouble), "%s", text);
}

static void on_frame(void *ctx, uint32_t conn, uint8_t type, const uint8_t *payload, size_t size)
{
	struct node *n = ctx;

	(void)conn;
	n->frames++;
	n->bytes += size;
	memcpy(n->last_payload, payload, size);
	if (session_wire_decode(type, n->last_payload, size, &n->last) != SESSION_OK)
		n->disordered = true;
	if (type == SESSION_CONTENT) {
		if (n->last.content.transfer != n->next_token + 1)
			n->disordered = true;
		n->next_token = n->last.content.transfer;
	}
}

static void on_sendable(void *ctx, uint32_t conn)
{
	(void)conn;
	((struct node *)ctx)->sendable++;
}

static void on_rtt(void *ctx, uint32_t conn, uint64_t rtt_us)
{
	(void)conn;
	assert_true(rtt_us < WAIT_US);
	((struct node *)ctx)->rtts++;
}

static void on_closed(void *ctx, int reason)
{
	(void)ctx;
	(void)reason;
}

static void no_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	(void)ctx;
	(void)type;
	(void)payload;
	(void)size;
	if (fd >= 0)
		close(fd);
}

static const uint8_t no_binding[LINK_BINDING_BYTES];

static void on_bare(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	assert_int_equal(fd, -1);
	if (type == LINK_MSG_UP)
		on_up(ctx, 1, "web1", addresses[0], "", no_binding);
	if (type == LINK_MSG_DOWN)
		on_down(ctx, 1, "");
	if (type == LINK_MSG_FRAME)
		on_frame(ctx, 1, payload[4], payload + 5, size - 5);
}

/* ---- configuration ---- */

/* pins_of[i]: whose key the file names for node i. */
static struct conf_snapshot snapshot_of(const char *cluster, const int pins_of[2], int self)
{
	struct conf_problems problems = {0};
	struct conf_snapshot snapshot;
	char path[128], text[2][IDENTITY_PIN_TEXT_ROOM];
	static uint32_t number;
	FILE *file;
	int rc;

	snprintf(path, sizeof(path), "%s/tandem.conf", dir);
	file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 0; i < 2; i++)
		identity_pin_format(pins[pins_of[i]], text[i]);
	fprintf(file,
		"cluster = \"%s\";\nnodes = (\n"
		"  { name = \"web1\"; address = \"127.0.0.1\"; key = \"%s\"; link_port = %u; },\n"
		"  { name = \"web2\"; address = \"127.0.0.2\"; key = \"%s\"; link_port = %u; "
		"}\n);\n"
		"mirrors = ( { name = \"nginx\"; paths = [ \"/srv/mirror\" ]; } );\n",
		cluster, text[0], nodes[0].port, text[1], nodes[1].port);
	fclose(file);
	rc = conf_snapshot_load(path, names[self], ++number, &problems, &snapshot);
	if (rc < 0)
		conf_problems_print(&problems, path, stderr);
	assert_int_equal(rc, 0);
	conf_problems_release(&problems);
	return snapshot;
}

static void listen_at(int i)
{
	struct ip_addr address;
	struct sockaddr_in in;
	socklen_t size = sizeof(in);
	char why[256];

	assert_true(ip_parse(addresses[i], &address));
	assert_int_equal(link_listen(&address, 0, &nodes[i].listen_fd, why, sizeof(why)), 0);
	assert_int_equal(getsockname(nodes[i].listen_fd, (struct sockaddr *)&in, &size), 0);
	nodes[i].port = ntohs(in.sin_port);
}

static void start_node(int i, int key, const char *cluster, const int pins_of[2])
{
	static const struct link_client_handlers template = {
		.on_up = on_up,
		.on_down = on_down,
		.on_trouble = on_trouble,
		.on_frame = on_frame,
		.on_sendable = on_sendable,
		.on_rtt = on_rtt,
		.on_closed = on_closed,
	};
	struct link_client_handlers handlers = template;
	struct msg_handlers runner = {.on_message = no_message, .on_closed = on_closed};
	uint8_t credentials[IDENTITY_CREDENTIALS_BYTES_MAX];
	struct conf_snapshot snapshot = snapshot_of(cluster, pins_of, i);
	struct link_options options = {.conf = snapshot.conf, .credentials = credentials};
	int keeper[2], runner_fds[2];

	assert_int_equal(msg_pair(keeper), 0);
	assert_int_equal(msg_pair(runner_fds), 0);
	assert_int_equal(identity_issue_link(identities[key], names[key], credentials,
					     &options.credentials_size),
			 0);
	options.keeper_fd = keeper[1];
	options.runner_fd = runner_fds[1];
	options.listen_fd = nodes[i].listen_fd;
	options.seed = (uint64_t)i + 1;
	nodes[i].key = key;
	handlers.ctx = &nodes[i];
	if (nodes[i].bare) {
		struct msg_handlers own = {.on_message = on_bare, .on_closed = on_closed};

		own.ctx = &nodes[i];
		assert_int_equal(msg_channel_new(loop, keeper[0], 65536, &own, &nodes[i].keeper),
				 0);
	} else {
		assert_int_equal(link_client_new(loop, keeper[0], &handlers, &nodes[i].client), 0);
	}
	assert_int_equal(msg_channel_new(loop, runner_fds[0], 65536, &runner, &nodes[i].runner), 0);
	assert_int_equal(link_new(loop, &options, &nodes[i].link), 0);
	conf_snapshot_release(&snapshot);
}

static void stop_node(int i)
{
	nodes[i].link = link_free(nodes[i].link);
	nodes[i].client = link_client_free(nodes[i].client);
	nodes[i].runner = msg_channel_free(nodes[i].runner);
	nodes[i].keeper = msg_channel_free(nodes[i].keeper);
}

static const int right_pins[2] = {WEB1, WEB2};

static void start_both(void)
{
	start_node(0, WEB1, "edge", right_pins);
	start_node(1, WEB2, "edge", right_pins);
}

static int setup(void **state)
{
	(void)state;
	memset(nodes, 0, sizeof(nodes));
	if (loop_new(&loop) < 0)
		return -1;
	listen_at(0);
	listen_at(1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		if (!nodes[i].link)
			close(nodes[i].listen_fd);
		stop_node(i);
	}
	loop = loop_free(loop);
	return 0;
}

static int group_setup(void **state)
{
	char path[128], why[IDENTITY_WHY_ROOM];

	(void)state;
	strcpy(dir, "/tmp/test_link.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	for (int i = 0; i < KEYS; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (identity_make(path, false, pins[i], why) < 0 ||
		    identity_load(path, &identities[i], why) < 0)
			return -1;
	}
	return 0;
}

static int group_teardown(void **state)
{
	char command[128];

	(void)state;
	for (int i = 0; i < KEYS; i++)
		identity_free(identities[i]);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* ---- a client that says what it likes ---- */

struct raw {
	int fd;
	struct tls *tls;
	struct tls_context *context;
	uint8_t in[2 * SESSION_PAYLOAD_BYTES_MAX];
	size_t in_size;
	bool ended;
};

static bool any_pin(void *ctx, const uint8_t pin[IDENTITY_PIN_BYTES])
{
	(void)ctx;
	(void)pin;
	return true;
}

static int raw_socket(int from, int to)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	inet_pton(AF_INET, addresses[from], &in.sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	inet_pton(AF_INET, addresses[to], &in.sin_addr);
	in.sin_port = htons(nodes[to].port);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* Moves what can be moved; plain bytes gather in raw->in. */
static void raw_pump(struct raw *raw)
{
	uint8_t bytes[16384];
	ssize_t n;
	size_t size;

	while ((size = tls_drain(raw->tls, bytes, sizeof(bytes))) > 0) {
		/* Small enough for the socket's buffer, all that these clients say. */
		if (send(raw->fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
			raw->ended = true;
	}
	while ((n = recv(raw->fd, bytes, sizeof(bytes), 0)) > 0)
		assert_int_equal(tls_feed(raw->tls, bytes, (size_t)n), 0);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		raw->ended = true;
}

static bool raw_shaken(struct raw *raw)
{
	int rc = tls_handshake(raw->tls);

	raw_pump(raw);
	return rc == 0;
}

static bool raw_read(struct raw *raw)
{
	ssize_t n;

	raw_pump(raw);
	n = tls_read(raw->tls, raw->in + raw->in_size, sizeof(raw->in) - raw->in_size);
	if (n > 0)
		raw->in_size += (size_t)n;
	return n > 0;
}

static struct raw raw;

static void raw_connect(int key, int to)
{
	uint8_t credentials[IDENTITY_CREDENTIALS_BYTES_MAX];
	size_t size;

	memset(&raw, 0, sizeof(raw));
	assert_int_equal(identity_issue_link(identities[key], names[key], credentials, &size), 0);
	assert_int_equal(tls_context_new(credentials, size, &raw.context), 0);
	assert_int_equal(tls_new(raw.context, TLS_DIALS, any_pin, NULL, &raw.tls), 0);
	raw.fd = raw_socket(key, to);
	wait_for(raw_shaken(&raw));
}

static void raw_end(void)
{
	tls_free(raw.tls);
	tls_context_free(raw.context);
	close(raw.fd);
	memset(&raw, 0, sizeof(raw));
}

static void raw_bytes(const void *bytes, size_t size)
{
	assert_int_equal(tls_write(raw.tls, bytes, size), 0);
	raw_pump(&raw);
}

static void raw_frame(uint8_t type, const void *payload, size_t size)
{
	uint8_t bytes[5 + 1024];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof(bytes));
	wire_put_u32(&w, (uint32_t)size + 1);
	wire_put_u8(&w, type);
	wire_put_bytes(&w, payload, size);
	assert_true(wire_writer_ok(&w));
	raw_bytes(bytes, w.at);
}

static void raw_welcome(const char *cluster, const char *node)
{
	struct session_frame frame = {.type = SESSION_WELCOME};
	uint8_t payload[256];
	size_t size;

	frame.welcome.version = SESSION_PROTOCOL_VERSION;
	snprintf(frame.welcome.cluster, sizeof(frame.welcome.cluster), "%s", cluster);
	snprintf(frame.welcome.node, sizeof(frame.welcome.node), "%s", node);
	size = session_wire_encode(&frame, payload, sizeof(payload));
	raw_frame(SESSION_WELCOME, payload, size);
}

/* Reads what there is; true if a frame of this type has come. Its texts lie in raw.in. */
static bool raw_has(uint8_t wanted, struct session_frame *ret_frame)
{
	(void)raw_read(&raw);
	for (size_t at = 0; at + 5 <= raw.in_size;) {
		struct wire_reader r;
		uint32_t length;
		uint8_t type;

		wire_reader_init(&r, raw.in + at, raw.in_size - at);
		length = wire_get_u32(&r);
		type = wire_get_u8(&r);
		if (at + 4 + length > raw.in_size)
			return false;
		if (type == wanted) {
			assert_int_equal(
				session_wire_decode(type, raw.in + at + 5, length - 1, ret_frame),
				SESSION_OK);
			return true;
		}
		at += 4 + length;
	}
	return false;
}

/* True if a BYE has come; checks what is in it. */
static bool raw_bye(const char *expected)
{
	struct session_frame frame;

	if (!raw_has(SESSION_BYE, &frame))
		return false;
	if (!memmem(frame.bye.reason.bytes, frame.bye.reason.size, expected, strlen(expected)))
		fail_msg("BYE says: %.*s", (int)frame.bye.reason.size, frame.bye.reason.bytes);
	return true;
}

/* What the keeper of web2 had heard of lost connections when a moment came: a timer in the order of
 * the loop's timers, so that it makes no difference when the test is given the processor. */
struct moment {
	struct loop_timer *timer;
	int downs; /* -1: it has not come yet */
};

static void on_moment(void *ctx)
{
	((struct moment *)ctx)->downs = nodes[1].downs;
}

static void set_moment(struct moment *moment, uint64_t at_us)
{
	moment->downs = -1;
	assert_int_equal(loop_timer_new(loop, on_moment, moment, &moment->timer), 0);
	loop_timer_set(moment->timer, at_us);
}

/* ---- tests ---- */

static void two_nodes_find_each_other(void **state)
{
	uint64_t from_us = now_us();

	(void)state;
	start_both();
	wait_for(nodes[0].conn && nodes[1].conn);
	printf("figure: two links connected after %.1f ms\n", (double)(now_us() - from_us) / 1e3);
	assert_string_equal(nodes[0].peer, "web2 127.0.0.2");
	assert_string_equal(nodes[1].peer, "web1 127.0.0.1");
	assert_non_null(strstr(nodes[0].tls, "TLSv1.3"));
	/* Both keepers have the same to sign. */
	assert_memory_equal(nodes[0].binding, nodes[1].binding, LINK_BINDING_BYTES);
	assert_memory_not_equal(nodes[0].binding, no_binding, LINK_BINDING_BYTES);
	wait_for(nodes[0].rtts > 0 && nodes[1].rtts > 0);
	assert_int_equal(nodes[0].ups, 1);
	assert_int_equal(nodes[1].ups, 1);
}

static void the_first_ping_goes_out_at_once(void **state)
{
	struct session_frame ping;
	uint64_t limit_us;

	(void)state;
	start_node(1, WEB2, "edge", right_pins);
	raw_connect(WEB1, 1);
	raw_welcome("edge", "web1");
	wait_for(nodes[1].conn);
	/* The loop does not turn any more: what has not been sent yet never will be. */
	limit_us = now_us() + WAIT_US;
	while (!raw_has(SESSION_PING, &ping)) {
		assert_true(now_us() < limit_us);
		assert_int_equal(usleep(1000), 0);
	}
	raw_end();
}

static void frames_arrive_as_they_were_sent(void **state)
{
	struct session_frame frame = {.type = SESSION_RESULT};

	(void)state;
	start_both();
	wait_for(nodes[0].conn && nodes[1].conn);
	frame.result.outcome = SESSION_LOADED;
	frame.result.text = (struct session_string){"fine", 4};
	assert_int_equal(link_client_send(nodes[1].client, nodes[1].conn, &frame), 0);
	wait_for(nodes[0].frames == 1);
	assert_int_equal(nodes[0].last.type, SESSION_RESULT);
	assert_int_equal(nodes[0].last.result.outcome, SESSION_LOADED);
	assert_memory_equal(nodes[0].last.result.text.bytes, "fine", 4);
	assert_int_equal(link_client_send(nodes[1].client, 12345, &frame), -ENOTCONN);
}

/* 32 MiB through one MiB of credit. */
static void bulk_flows_with_the_credit_and_keeps_its_order(void **state)
{
	static uint8_t data[SESSION_CHUNK_BYTES_MAX];
	struct session_frame frame = {.type = SESSION_CONTENT};
	uint64_t from_us;
	int total = 600, starved = 0;

	(void)state;
	start_both();
	wait_for(nodes[0].conn && nodes[1].conn);
	from_us = now_us();
	frame.content.encoding = SESSION_RAW;
	frame.content.object_size = frame.content.encoded_size = sizeof(data);
	frame.content.bytes = data;
	frame.content.size = sizeof(data);
	for (int i = 1; i <= total;) {
		if (link_client_room(nodes[0].client, nodes[0].conn) >= SESSION_PAYLOAD_BYTES_MAX) {
			frame.content.transfer = (uint32_t)i++;
			assert_int_equal(link_client_send(nodes[0].client, nodes[0].conn, &frame),
					 0);
			continue;
		}
		int before = nodes[0].sendable;

		starved++;
		wait_for(nodes[0].sendable > before || !nodes[0].conn);
		assert_int_not_equal(nodes[0].conn, 0);
	}
	wait_for(nodes[1].frames == total);
	printf("figure: link throughput, both ends and keepers on one core: %.0f MB/s\n",
	       (double)nodes[1].bytes / (double)(now_us() - from_us));
	assert_true(starved > 0);
	assert_false(nodes[1].disordered);
	assert_int_equal(nodes[0].downs, 0);
}

static void a_busy_keeper_holds_its_peer_back_and_is_not_taken_for_dead(void **state)
{
	static uint8_t data[SESSION_CHUNK_BYTES_MAX];
	struct session_frame frame = {.type = SESSION_CONTENT};
	uint64_t until_us;
	int sent = 0;

	(void)state;
	nodes[1].bare = true;
	start_both();
	wait_for(nodes[0].conn && nodes[1].conn);
	frame.content.encoding = SESSION_RAW;
	frame.content.object_size = frame.content.encoded_size = sizeof(data);
	frame.content.bytes = data;
	frame.content.size = sizeof(data);
	msg_pause(nodes[1].keeper, 1);
	/* Longer than a silent peer would be borne with. */
	until_us = now_us() + LINK_DEAD_US + 1000000;
	while (now_us() < until_us) {
		while (link_client_room(nodes[0].client, nodes[0].conn) >=
		       SESSION_PAYLOAD_BYTES_MAX) {
			frame.content.transfer = (uint32_t)++sent;
			assert_int_equal(link_client_send(nodes[0].client, nodes[0].conn, &frame),
					 0);
		}
		assert_true(loop_turn(loop, now_us() + 20000) >= 0);
	}
	/* What the sockets and the bounded queues between hold, and no more. */
	printf("figure: bytes on the way to a keeper that does not read: %.1f MiB\n",
	       (double)sent * sizeof(data) / 1048576);
	assert_true((uint64_t)sent * sizeof(data) < 24 * 1048576);
	assert_int_equal(nodes[0].downs + nodes[1].downs, 0);
	msg_pause(nodes[1].keeper, 0);
	wait_for(nodes[1].frames == sent);
	assert_false(nodes[1].disordered);
	wait_for(nodes[0].rtts > 0);
	assert_int_equal(nodes[0].downs + nodes[1].downs, 0);
}

static void small_frames_past_the_credit_wait_their_turn(void **state)
{
	static uint8_t data[SESSION_CHUNK_BYTES_MAX];
	struct session_frame frame = {.type = SESSION_CONTENT};
	uint32_t transfer = 0;
	int rc;

	(void)state;
	start_both();
	wait_for(nodes[0].conn && nodes[1].conn);
	frame.content.encoding = SESSION_RAW;
	frame.content.object_size = frame.content.encoded_size = sizeof(data);
	frame.content.bytes = data;
	frame.content.size = sizeof(data);
	/* Without a turn of the loop no credit comes back. */
	do {
		frame.content.transfer = ++transfer;
		rc = link_client_send(nodes[0].client, nodes[0].conn, &frame);
	} while (rc == 0);
	assert_int_equal(rc, -ENOBUFS);
	assert_true((uint64_t)transfer * sizeof(data) > LINK_CREDIT_BYTES);
	wait_for(nodes[1].frames == (int)transfer - 1);
	assert_false(nodes[1].disordered);
}

static void a_key_that_the_listener_does_not_know_is_named_on_both_sides(void **state)
{
	static const int strangers[2] = {WEB1, STRANGER};
	char pin[IDENTITY_PIN_TEXT_ROOM];

	(void)state;
	/* web1 dials with a key that web2's file does not name. */
	start_node(0, STRANGER, "edge", right_pins);
	start_node(1, WEB2, "edge", right_pins);
	(void)strangers;
	wait_for(nodes[0].trouble[0] && nodes[1].trouble[0]);
	assert_string_equal(nodes[0].trouble_node, "web2");
	assert_non_null(strstr(nodes[0].trouble, "does not know the key of this node"));
	identity_pin_format(pins[STRANGER], pin);
	assert_string_equal(nodes[1].trouble_node, "web1"); /* by its address */
	assert_non_null(strstr(nodes[1].trouble, "presented a key that is not in the file"));
	assert_non_null(strstr(nodes[1].trouble, pin));
	assert_non_null(strstr(nodes[1].trouble, "tandem keygen"));
	assert_int_equal(nodes[0].ups, 0);
	assert_int_equal(nodes[1].ups, 0);
}

static void a_key_that_the_dialler_does_not_know_is_named(void **state)
{
	char pin[IDENTITY_PIN_TEXT_ROOM];

	(void)state;
	start_node(0, WEB1, "edge", right_pins);
	start_node(1, STRANGER, "edge", right_pins);
	wait_for(nodes[0].trouble[0] && nodes[1].trouble[0]);
	identity_pin_format(pins[STRANGER], pin);
	assert_string_equal(nodes[0].trouble_node, "web2");
	assert_non_null(strstr(nodes[0].trouble, "presented a key that is not in the file"));
	assert_non_null(strstr(nodes[0].trouble, pin));
	assert_non_null(strstr(nodes[1].trouble, "does not know the key of this node"));
}

static void nobody_listening_is_named_and_tried_again(void **state)
{
	(void)state;
	close(nodes[1].listen_fd);
	start_node(0, WEB1, "edge", right_pins);
	wait_for(strstr(nodes[0].trouble, "Connection refused"));
	assert_non_null(strstr(nodes[0].trouble, "is tandem-syncd running there?"));
	/* The port is taken again: the back-off finds it. */
	struct ip_addr address;
	char why[256];

	assert_true(ip_parse(addresses[1], &address));
	assert_int_equal(
		link_listen(&address, nodes[1].port, &nodes[1].listen_fd, why, sizeof(why)), 0);
	start_node(1, WEB2, "edge", right_pins);
	wait_for(nodes[0].conn && nodes[1].conn);
}

static void another_cluster_is_refused_with_both_names(void **state)
{
	(void)state;
	start_node(0, WEB1, "edge", right_pins);
	start_node(1, WEB2, "core", right_pins);
	wait_for(strstr(nodes[0].trouble, "cluster") && strstr(nodes[1].trouble, "cluster"));
	assert_non_null(strstr(nodes[0].trouble, "core"));
	assert_non_null(strstr(nodes[1].trouble, "edge"));
}

static void a_frame_past_the_limit_is_refused_before_it_is_read(void **state)
{
	static const uint8_t length[4] = {0x00, 0x01, 0x86, 0xa0}; /* 100,000 */

	(void)state;
	start_node(1, WEB2, "edge", right_pins);
	raw_connect(WEB1, 1);
	raw_welcome("edge", "web1");
	wait_for(nodes[1].conn);
	raw_bytes(length, sizeof(length));
	wait_for(raw_bye("a frame of 100000 bytes, more than the 61441 allowed (too-large)"));
	wait_for(nodes[1].downs == 1);
	assert_non_null(strstr(nodes[1].down_reason, "a frame of 100000 bytes"));
	assert_int_equal(nodes[1].frames, 0);
	raw_end();
}

static void a_frame_without_a_type_is_refused(void **state)
{
	static const uint8_t length[4] = {0};

	(void)state;
	start_node(1, WEB2, "edge", right_pins);
	raw_connect(WEB1, 1);
	raw_welcome("edge", "web1");
	wait_for(nodes[1].conn);
	raw_bytes(length, sizeof(length));
	wait_for(raw_bye("a frame without a type (empty-frame)"));
	wait_for(nodes[1].downs == 1);
	raw_end();
}

static void a_malformed_frame_of_the_link_is_refused_by_name(void **state)
{
	(void)state;
	start_node(1, WEB2, "edge", right_pins);
	raw_connect(WEB1, 1);
	raw_welcome("edge", "web1");
	wait_for(nodes[1].conn);
	raw_frame(SESSION_PING, "abc", 3);
	wait_for(raw_bye("PING frame refused: a field reaches past the end of the frame "
			 "(too-short)"));
	wait_for(nodes[1].downs == 1);
	raw_end();
}

static void nothing_is_heard_before_welcome(void **state)
{
	(void)state;
	start_node(1, WEB2, "edge", right_pins);
	raw_connect(WEB1, 1);
	raw_frame(SESSION_PING, "12345678", 8);
	wait_for(raw_bye("PING frame refused: it comes before WELCOME"));
	raw_end();
	raw_connect(WEB1, 1);
	/* Also nothing large. */
	static const uint8_t length[4] = {0, 0, 0x10, 0};

	raw_bytes(length, sizeof(length));
	wait_for(raw_bye("(too-large)"));
	raw_end();
	assert_int_equal(nodes[1].ups, 0);
	/* Its key has told who it is, though it did not say so. */
	wait_for(strstr(nodes[1].trouble, "a frame of 4096 bytes"));
	assert_string_equal(nodes[1].trouble_node, "web1");
}

static void another_version_is_told_what_to_do(void **state)
{
	static const uint8_t version[2] = {0, SESSION_PROTOCOL_VERSION + 1};

	(void)state;
	start_node(1, WEB2, "edge", right_pins);
	raw_connect(WEB1, 1);
	raw_frame(SESSION_WELCOME, version, sizeof(version));
	wait_for(raw_bye("install the same version of tandem on both"));
	raw_end();
}

static void a_known_key_cannot_speak_for_another_node(void **state)
{
	(void)state;
	start_node(0, WEB1, "edge", right_pins);
	start_node(1, WEB2, "edge", right_pins);
	wait_for(nodes[0].conn && nodes[1].conn);
	/* web2's own key, calling itself web1, at web2. Its own pin is not one of its peers'. */
	raw_connect(WEB2, 0);
	raw_welcome("edge", "web1");
	wait_for(raw_bye("web1 has no node web1 in its file"));
	raw_end();
	assert_int_equal(nodes[0].ups, 1);
}

static void a_newer_connection_replaces_the_older(void **state)
{
	uint32_t first;
	int old_fd;
	struct tls *old_tls;
	struct tls_context *old_context;

	(void)state;
	start_node(1, WEB2, "edge", right_pins);
	raw_connect(WEB1, 1);
	raw_welcome("edge", "web1");
	wait_for(nodes[1].conn);
	first = nodes[1].conn;
	old_fd = raw.fd;
	old_tls = raw.tls;
	old_context = raw.context;
	raw_connect(WEB1, 1);
	raw_welcome("edge", "web1");
	wait_for(nodes[1].ups == 2);
	assert_int_equal(nodes[1].downs, 1);
	assert_string_equal(nodes[1].down_reason, "replaced by a newer connection");
	assert_int_not_equal(nodes[1].conn, first);
	raw_end();
	tls_free(old_tls);
	tls_context_free(old_context);
	close(old_fd);
}

static void a_peer_that_falls_silent_is_given_up(void **state)
{
	struct moment early, late;

	(void)state;
	start_node(1, WEB2, "edge", right_pins);
	raw_connect(WEB1, 1);
	/* WELCOME, the last that is heard, comes between these two. */
	set_moment(&early, now_us() + LINK_DEAD_US);
	raw_welcome("edge", "web1");
	wait_for(nodes[1].conn);
	set_moment(&late, now_us() + LINK_DEAD_US);
	wait_for(late.downs >= 0);
	assert_int_equal(early.downs, 0);
	/* The link knows, and its keeper hears of it in the next turns. */
	for (int turns = 0; turns < 3; turns++)
		assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(nodes[1].downs, 1);
	assert_string_equal(nodes[1].down_reason, "nothing was heard for 5 s");
	loop_timer_free(early.timer);
	loop_timer_free(late.timer);
	raw_end();
}

static void connections_that_show_no_key_are_counted_and_cut_off(void **state)
{
	int fds[LINK_PENDING_PER_SOURCE_MAX + 1];
	char byte;

	(void)state;
	start_node(1, WEB2, "edge", right_pins);
	for (int i = 0; i <= LINK_PENDING_PER_SOURCE_MAX; i++)
		fds[i] = raw_socket(STRANGER, 1);
	/* The one too many is closed at once, ... */
	wait_for(recv(fds[LINK_PENDING_PER_SOURCE_MAX], &byte, 1, 0) == 0);
	wait_for(strstr(nodes[1].trouble, "more than 8 connections"));
	/* ... a peer from another address still comes in, ... */
	raw_connect(WEB1, 1);
	raw_welcome("edge", "web1");
	wait_for(nodes[1].conn);
	raw_end();
	/* ... and the silent ones are gone when their time is over. */
	wait_for(recv(fds[0], &byte, 1, 0) == 0);
	for (int i = 0; i <= LINK_PENDING_PER_SOURCE_MAX; i++)
		close(fds[i]);
}

static void a_keeper_can_end_a_connection_with_a_reason(void **state)
{
	(void)state;
	start_both();
	wait_for(nodes[0].conn && nodes[1].conn);
	assert_int_equal(link_client_close(nodes[0].client, nodes[0].conn,
					   "OFFER frame from web2 refused: no reason"),
			 0);
	wait_for(nodes[0].downs == 1 && nodes[1].downs == 1);
	assert_string_equal(nodes[0].down_reason, "OFFER frame from web2 refused: no reason");
	assert_string_equal(nodes[1].down_reason,
			    "the other side ended it: OFFER frame from web2 refused: no reason");
	/* And they find each other again. */
	wait_for(nodes[0].ups == 2 && nodes[1].ups == 2);
}

static void a_node_that_stops_says_so(void **state)
{
	(void)state;
	start_both();
	wait_for(nodes[0].conn && nodes[1].conn);
	stop_node(1);
	nodes[1].listen_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	wait_for(nodes[0].downs == 1);
	assert_string_equal(nodes[0].down_reason,
			    "the other side ended it: tandem-syncd is stopping there");
}

static void a_port_that_is_taken_is_named(void **state)
{
	struct ip_addr address;
	char why[256];
	int fd;

	(void)state;
	assert_true(ip_parse(addresses[0], &address));
	assert_int_equal(link_listen(&address, nodes[0].port, &fd, why, sizeof(why)), -EADDRINUSE);
	assert_non_null(strstr(why, "is another tandem-syncd running?"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(two_nodes_find_each_other),
		test(the_first_ping_goes_out_at_once),
		test(frames_arrive_as_they_were_sent),
		test(bulk_flows_with_the_credit_and_keeps_its_order),
		test(a_busy_keeper_holds_its_peer_back_and_is_not_taken_for_dead),
		test(small_frames_past_the_credit_wait_their_turn),
		test(a_key_that_the_listener_does_not_know_is_named_on_both_sides),
		test(a_key_that_the_dialler_does_not_know_is_named),
		test(nobody_listening_is_named_and_tried_again),
		test(another_cluster_is_refused_with_both_names),
		test(a_frame_past_the_limit_is_refused_before_it_is_read),
		test(a_frame_without_a_type_is_refused),
		test(a_malformed_frame_of_the_link_is_refused_by_name),
		test(nothing_is_heard_before_welcome),
		test(another_version_is_told_what_to_do),
		test(a_known_key_cannot_speak_for_another_node),
		test(a_newer_connection_replaces_the_older),
		test(a_peer_that_falls_silent_is_given_up),
		test(connections_that_show_no_key_are_counted_and_cut_off),
		test(a_keeper_can_end_a_connection_with_a_reason),
		test(a_node_that_stops_says_so),
		test(a_port_that_is_taken_is_named),
	};
	const struct log_options log = {.ident = "test_link", .level = LOG_CRIT};

	log_open(&log);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
