/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl_call: the client's side of the control sockets, blocking, for the command line; and text that
 * comes from anywhere made fit for JSON.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "shared/ctl.h"

/* The bytes of a well-formed UTF-8 sequence at p (RFC 3629), or 0. */
static size_t utf8_size(const unsigned char *p, size_t left)
{
	size_t size;
	unsigned low = 0x80, high = 0xbf;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		size = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		size = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		size = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (size > left || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

json_t *ctl_text(const char *text, size_t size)
{
	/* Each byte becomes three at most: U+FFFD. */
	char *out = malloc(size * 3 + 1);
	size_t out_size = 0;
	json_t *string;

	if (!out)
		return NULL;
	for (size_t i = 0; i < size;) {
		size_t n = utf8_size((const unsigned char *)text + i, size - i);

		if (n == 0 || (n == 1 && text[i] == '\0')) {
			memcpy(out + out_size, "\xef\xbf\xbd", 3);
			out_size += 3;
			i++;
		} else {
			memcpy(out + out_size, text + i, n);
			out_size += n;
			i += n;
		}
	}
	string = json_stringn_nocheck(out, out_size);
	free(out);
	return string;
}

/* Waits for fd until deadline_us. */
static int wait_for(int fd, short events, uint64_t deadline_us)
{
	for (;;) {
		uint64_t now = loop_clock_us();
		struct pollfd poll_fd = {.fd = fd, .events = events};
		int n;

		if (now >= deadline_us)
			return -ETIMEDOUT;
		n = poll(&poll_fd, 1, (int)((deadline_us - now) / 1000u) + 1);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int connect_to(const char *path, uint64_t deadline_us, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	while (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
		if (errno == EINTR)
			continue;
		r = -errno;
		/* A full backlog; poll(2) cannot wait for room in it. */
		if (r == -EAGAIN && loop_clock_us() < deadline_us) {
			nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
			continue;
		}
		close(fd);
		return r == -EAGAIN ? -ETIMEDOUT : r;
	}
	*ret_fd = fd;
	return 0;
}

static int send_line(int fd, const char *text, uint64_t deadline_us)
{
	size_t size = strlen(text) + 1, done = 0;

	while (done < size) {
		/* The newline takes the place of the terminator. */
		ssize_t n = done < size - 1 ? send(fd, text + done, size - 1 - done, MSG_NOSIGNAL)
					    : send(fd, "\n", 1, MSG_NOSIGNAL);
		int r;

		if (n >= 0) {
			done += (size_t)n;
		} else if (errno == EAGAIN) {
			r = wait_for(fd, POLLOUT, deadline_us);
			if (r < 0)
				return r;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

struct reader {
	int fd;
	char *data;
	size_t size, room;
	size_t line; /* bytes of the line handed out last, its newline included */
};

/* Gives one line, terminated, valid until the next call. */
static int read_line(struct reader *reader, uint64_t deadline_us, char **ret_line)
{
	reader->size -= reader->line;
	if (reader->size > 0)
		memmove(reader->data, reader->data + reader->line, reader->size);
	reader->line = 0;
	for (;;) {
		char *end = reader->size ? memchr(reader->data, '\n', reader->size) : NULL;
		ssize_t n;
		int r;

		if (end) {
			*end = '\0';
			reader->line = (size_t)(end - reader->data) + 1;
			*ret_line = reader->data;
			return 0;
		}
		if (reader->size >= CTL_ANSWER_BYTES_MAX)
			return -EPROTO;
		if (reader->size == reader->room) {
			size_t room = reader->room ? reader->room * 2 : 16384;
			char *data = realloc(reader->data, room);

			if (!data)
				return -ENOMEM;
			reader->data = data;
			reader->room = room;
		}
		n = recv(reader->fd, reader->data + reader->size, reader->room - reader->size, 0);
		if (n > 0) {
			reader->size += (size_t)n;
		} else if (n == 0) {
			return -ECONNRESET;
		} else if (errno == EAGAIN) {
			r = wait_for(reader->fd, POLLIN, deadline_us);
			if (r < 0)
				return r;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
}

struct ctl_question {
	struct reader reader;
};

int ctl_ask(const char *socket_path, json_t *request, uint64_t timeout_us,
	    struct ctl_question **ret_question)
{
	const uint64_t deadline_us = loop_clock_us() + timeout_us;
	struct ctl_question *question;
	char *text = json_dumps(request, JSON_COMPACT);
	int r = -ENOMEM;

	json_decref(request);
	if (!text)
		return -EINVAL;
	question = calloc(1, sizeof *question);
	if (!question)
		goto out;
	question->reader.fd = -1;
	r = connect_to(socket_path, deadline_us, &question->reader.fd);
	if (r < 0)
		goto out;
	r = send_line(question->reader.fd, text, deadline_us);
	/* A server that refuses closes at once, and has left its reason to be read. */
	if (r == -EPIPE || r == -ECONNRESET)
		r = 0;
out:
	if (r == 0)
		*ret_question = question;
	else
		ctl_question_free(question);
	free(text);
	return r;
}

int ctl_await(struct ctl_question *question, uint64_t timeout_us, ctl_progress_fn progress,
	      void *ctx, json_t **ret_answer)
{
	for (;;) {
		char *line = NULL;
		json_t *object;
		int r = read_line(&question->reader, loop_clock_us() + timeout_us, &line);

		if (r < 0)
			return r;
		object = json_loads(line, 0, NULL);
		if (!json_is_object(object)) {
			json_decref(object);
			return -EPROTO;
		}
		if (json_object_get(object, "ok")) {
			*ret_answer = object;
			return 0;
		}
		if (progress)
			progress(ctx, object);
		json_decref(object);
	}
}

struct ctl_question *ctl_question_free(struct ctl_question *question)
{
	if (!question)
		return NULL;
	if (question->reader.fd >= 0)
		close(question->reader.fd);
	free(question->reader.data);
	free(question);
	return NULL;
}

int ctl_call(const char *socket_path, json_t *request, uint64_t timeout_us,
	     ctl_progress_fn progress, void *ctx, json_t **ret_answer)
{
	struct ctl_question *question = NULL;
	int r = ctl_ask(socket_path, request, timeout_us, &question);

	if (r == 0)
		r = ctl_await(question, timeout_us, progress, ctx, ret_answer);
	ctl_question_free(question);
	return r;
}
