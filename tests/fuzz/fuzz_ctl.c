/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client writes to a control socket, over a real one: the first byte says in which portions
 * it comes and whether the client is there to the end, the rest is what it says. Each complete line
 * gets one answer that is a JSON object with "ok", in whatever order answers are ready, and a
 * client that leaves is forgotten.
 *
 * runs: 10000
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/ctl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static char folder[] = "/tmp/tandem-fuzz-ctl-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static struct loop *loop;
static struct ctl_client *held; /* its answer comes later */
static size_t taken, gone;

static void clean_up(void)
{
	unlink(address.sun_path);
	rmdir(folder);
}

static void on_request(void *ctx, struct ctl_client *client, const char *command,
		       const json_t *request)
{
	(void)ctx;
	CHECK(json_is_object(request) && command);
	CHECK(json_string_value(json_object_get(request, "command")) == command);
	switch (command[0]) {
	case 'h':
		CHECK(!held); /* one request at a time */
		held = client;
		taken++;
		break;
	case 'p':
		ctl_progress(client, json_pack("{s:s}", "progress", command));
		ctl_answer(client, json_object());
		break;
	case 'f':
		ctl_fail(client, "unknown", "there is no command %s", command);
		break;
	default:
		ctl_answer(client, json_pack("{s:O}", "request", request));
	}
}

static void on_gone(void *ctx, struct ctl_client *client)
{
	(void)ctx;
	CHECK(client == held);
	held = NULL;
	gone++;
}

static void set_up(void)
{
	struct ctl_server *server;
	int listen_fd;

	CHECK(mkdtemp(folder));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
	CHECK(atexit(clean_up) == 0);
	CHECK(loop_new(&loop) == 0);
	CHECK(ctl_listen(address.sun_path, NULL, &listen_fd) == 0);
	CHECK(ctl_server_new(loop, listen_fd, on_request, on_gone, NULL, &server) == 0);
}

/* Everything that can happen without more from the client. */
static void turn(void)
{
	for (int i = 0; i < 4; i++)
		CHECK(loop_turn(loop, 0) >= 0);
}

/* Returns how many answers came; false in *ret_open at the end of the connection. */
static size_t read_answers(int fd, char *line, size_t *ret_at, int *ret_open)
{
	size_t answers = 0;
	ssize_t n;
	char c;

	while ((n = read(fd, &c, 1)) == 1) {
		json_t *answer;

		CHECK(*ret_at < CTL_LINE_BYTES_MAX * 8);
		if (c != '\n') {
			line[(*ret_at)++] = c;
			continue;
		}
		answer = json_loadb(line, *ret_at, JSON_REJECT_DUPLICATES, NULL);
		CHECK(json_is_object(answer));
		if (!json_object_get(answer, "progress")) {
			CHECK(json_is_boolean(json_object_get(answer, "ok")));
			answers++;
		}
		json_decref(answer);
		*ret_at = 0;
	}
	*ret_open = n < 0 && (errno == EAGAIN || errno == EINTR);
	return answers;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char line[CTL_LINE_BYTES_MAX * 8];
	size_t portion, lines = 0, answers = 0, at = 0, sent = 1;
	int fd, stays, open = 1;

	if (size < 2 || size > CTL_LINE_BYTES_MAX / 2)
		return 0;
	if (!loop)
		set_up();
	portion = (size_t)1 << data[0] % 14;
	stays = data[0] < 0x80;
	taken = gone = 0;
	for (size_t i = 1; i < size; i++)
		lines += data[i] == '\n';
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	while (sent < size) {
		const size_t left = size - sent;
		const ssize_t n =
			send(fd, data + sent, left < portion ? left : portion, MSG_NOSIGNAL);

		CHECK(n > 0 || errno == EAGAIN);
		/* Nothing more is read before the answer, and it comes when the client has gone. */
		if (n < 0 && held && !stays)
			break;
		sent += n > 0 ? (size_t)n : 0;
		turn();
		answers += read_answers(fd, line, &at, &open);
		CHECK(open); /* nothing that is said ends the connection */
		if (held && stays) {
			struct ctl_client *client = held;

			held = NULL;
			ctl_answer(client, json_object());
			turn();
		}
	}
	if (!stays) {
		close(fd);
		for (int i = 0; i < 8; i++)
			turn();
		/* Whoever holds a request of a client that has gone hears of it, or answers. */
		if (held) {
			ctl_answer(held, json_object());
			held = NULL;
		}
		turn();
		CHECK(gone <= taken);
		return 0;
	}
	CHECK(shutdown(fd, SHUT_WR) == 0);
	for (int i = 0; open; i++) {
		CHECK(i < 100000);
		turn();
		if (held) {
			struct ctl_client *client = held;

			held = NULL;
			ctl_answer(client, json_object());
		}
		answers += read_answers(fd, line, &at, &open);
	}
	CHECK(answers == lines && at == 0);
	close(fd);
	turn();
	return 0;
}
