/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, both sides over a real socket: the server on a loop in this thread, a client
 * in another. A turn of the loop ends when something happened; nothing waits for a time.
 */
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/ctl.h"

struct fixture {
	char dir[64];
	char path[96];
	struct loop *loop;
	struct ctl_server *server;
	int listen_fd;
	struct ctl_client *held;
	int requests, gone;
};

static void on_request(void *ctx, struct ctl_client *client, const char *command,
		       const json_t *request)
{
	struct fixture *f = ctx;

	f->requests++;
	if (strcmp(command, "echo") == 0) {
		ctl_answer(client, json_pack("{s:O?}", "text", json_object_get(request, "text")));
	} else if (strcmp(command, "hold") == 0) {
		f->held = client;
	} else if (strcmp(command, "steps") == 0) {
		ctl_progress(client, json_pack("{s:s}", "progress", "one"));
		ctl_progress(client, json_pack("{s:s}", "progress", "two"));
		ctl_answer(client, json_object());
	} else if (strcmp(command, "large") == 0) {
		char *text = malloc(CTL_ANSWER_BYTES_MAX);

		assert_non_null(text);
		memset(text, 'x', CTL_ANSWER_BYTES_MAX - 1000);
		ctl_answer(client, json_pack("{s:s#}", "text", text, CTL_ANSWER_BYTES_MAX - 1000));
		free(text);
	} else if (strcmp(command, "too-large") == 0) {
		char *text = malloc(CTL_ANSWER_BYTES_MAX);

		assert_non_null(text);
		memset(text, 'x', CTL_ANSWER_BYTES_MAX);
		ctl_answer(client, json_pack("{s:s#}", "text", text, CTL_ANSWER_BYTES_MAX));
		free(text);
	} else if (strcmp(command, "broken") == 0) {
		ctl_answer(client, NULL);
	} else {
		ctl_fail(client, "unknown", "there is no command %s", command);
	}
}

static void on_gone(void *ctx, struct ctl_client *client)
{
	struct fixture *f = ctx;

	assert_ptr_equal(client, f->held);
	f->held = NULL;
	f->gone++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	strcpy(f->dir, "/tmp/tandem-c-ctl.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/a.sock", f->dir);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(ctl_listen(f->path, NULL, &f->listen_fd), 0);
	assert_int_equal(ctl_server_new(f->loop, f->listen_fd, on_request, on_gone, f, &f->server),
			 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ctl_server_free(f->server);
	loop_free(f->loop);
	close(f->listen_fd);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

struct call {
	const char *path;
	json_t *request;
	json_t *answer;
	int result;
	char progress[64];
	int done_fd;
	atomic_bool done;
};

static void on_progress(void *ctx, const json_t *object)
{
	struct call *call = ctx;

	strcat(call->progress, json_string_value(json_object_get(object, "progress")));
	strcat(call->progress, " ");
}

static void *call_thread(void *arg)
{
	struct call *call = arg;

	call->result =
		ctl_call(call->path, call->request, 60000000, on_progress, call, &call->answer);
	call->done = true;
	assert_int_equal(eventfd_write(call->done_fd, 1), 0);
	return NULL;
}

static void on_done(void *ctx, int fd, uint32_t events)
{
	eventfd_t value;

	(void)ctx;
	(void)events;
	assert_int_equal(eventfd_read(fd, &value), 0);
}

static json_t *call_server(struct fixture *f, json_t *request, struct call *ret_call)
{
	struct call call = {
		.path = f->path, .request = request, .done_fd = eventfd(0, EFD_CLOEXEC)};
	struct loop_fd *source;
	pthread_t thread;

	assert_int_equal(loop_fd_add(f->loop, call.done_fd, EPOLLIN, on_done, NULL, &source), 0);
	assert_int_equal(pthread_create(&thread, NULL, call_thread, &call), 0);
	while (!call.done)
		assert_true(loop_turn(f->loop, LOOP_NEVER_US) >= 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	loop_fd_remove(source);
	close(call.done_fd);
	assert_int_equal(call.result, 0);
	if (ret_call)
		*ret_call = call;
	return call.answer;
}

static const char *text_of(json_t *answer, const char *key)
{
	return json_string_value(json_object_get(answer, key));
}

static void an_answer_says_ok_and_carries_its_keys(void **state)
{
	json_t *answer = call_server(
		*state, json_pack("{s:s, s:s}", "command", "echo", "text", "hello"), NULL);

	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_string_equal(text_of(answer, "text"), "hello");
	json_decref(answer);
}

static void progress_comes_before_the_answer(void **state)
{
	struct call call;
	json_t *answer = call_server(*state, json_pack("{s:s}", "command", "steps"), &call);

	assert_string_equal(call.progress, "one two ");
	json_decref(answer);
}

static void an_unknown_command_is_refused_in_words(void **state)
{
	json_t *answer = call_server(*state, json_pack("{s:s}", "command", "fly"), NULL);

	assert_true(json_is_false(json_object_get(answer, "ok")));
	assert_string_equal(text_of(answer, "code"), "unknown");
	assert_string_equal(text_of(answer, "error"), "there is no command fly");
	json_decref(answer);
}

static void a_request_without_a_command_is_refused(void **state)
{
	struct fixture *f = *state;
	json_t *answer = call_server(f, json_pack("{s:i}", "command", 3), NULL);

	assert_string_equal(text_of(answer, "code"), "bad-request");
	assert_int_equal(f->requests, 0);
	json_decref(answer);
}

static void the_largest_answer_arrives_whole(void **state)
{
	json_t *answer = call_server(*state, json_pack("{s:s}", "command", "large"), NULL);

	assert_int_equal(json_string_length(json_object_get(answer, "text")),
			 CTL_ANSWER_BYTES_MAX - 1000);
	json_decref(answer);
}

static void an_answer_past_the_ceiling_is_replaced_by_an_error(void **state)
{
	json_t *answer = call_server(*state, json_pack("{s:s}", "command", "too-large"), NULL);

	assert_string_equal(text_of(answer, "code"), "too-large");
	json_decref(answer);
}

static void an_answer_that_could_not_be_built_is_an_error(void **state)
{
	json_t *answer = call_server(*state, json_pack("{s:s}", "command", "broken"), NULL);

	assert_string_equal(text_of(answer, "code"), "internal");
	json_decref(answer);
}

/* A raw connection, to say what ctl_call() never would. */
static int dial(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, f->path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void say(int fd, const char *text, size_t size)
{
	assert_int_equal(send(fd, text, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Turns the loop until fd gives a whole line, or the end of the stream ("" is returned). */
static const char *hear(struct fixture *f, int fd, char *line, size_t room)
{
	size_t size = 0;

	for (;;) {
		ssize_t n = recv(fd, line + size, 1, MSG_DONTWAIT);

		if (n == 1 && line[size] == '\n') {
			line[size] = '\0';
			return line;
		}
		if (n == 1) {
			size++;
			assert_true(size < room);
		} else if (n == 0 || errno == ECONNRESET) {
			return "";
		} else {
			assert_int_equal(errno, EAGAIN);
			assert_true(loop_turn(f->loop, LOOP_NEVER_US) >= 0);
		}
	}
}

static void requests_in_one_packet_are_answered_in_turn(void **state)
{
	struct fixture *f = *state;
	static const char two[] = "{\"command\":\"echo\",\"text\":\"a\"}\n"
				  "{\"command\":\"echo\",\"text\":\"b\"}\n";
	char line[256];
	int fd = dial(f);

	say(fd, two, strlen(two));
	assert_string_equal(hear(f, fd, line, sizeof line), "{\"text\":\"a\",\"ok\":true}");
	assert_string_equal(hear(f, fd, line, sizeof line), "{\"text\":\"b\",\"ok\":true}");
	close(fd);
}

static void the_second_request_waits_until_the_first_is_answered(void **state)
{
	struct fixture *f = *state;
	static const char two[] = "{\"command\":\"hold\"}\n{\"command\":\"echo\",\"text\":\"b\"}\n";
	char line[256];
	int fd = dial(f);

	say(fd, two, strlen(two));
	while (!f->held)
		assert_true(loop_turn(f->loop, LOOP_NEVER_US) >= 0);
	assert_int_equal(f->requests, 1);
	ctl_answer(f->held, json_pack("{s:s}", "text", "held"));
	f->held = NULL;
	assert_string_equal(hear(f, fd, line, sizeof line), "{\"text\":\"held\",\"ok\":true}");
	assert_string_equal(hear(f, fd, line, sizeof line), "{\"text\":\"b\",\"ok\":true}");
	close(fd);
}

static void a_client_that_sends_no_more_still_gets_its_answer(void **state)
{
	struct fixture *f = *state;
	char line[256];
	int fd = dial(f);

	say(fd, "{\"command\":\"hold\"}\n", 19);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	while (!f->held)
		assert_true(loop_turn(f->loop, LOOP_NEVER_US) >= 0);
	ctl_answer(f->held, json_object());
	assert_string_equal(hear(f, fd, line, sizeof line), "{\"ok\":true}");
	assert_string_equal(hear(f, fd, line, sizeof line), "");
	close(fd);
}

static void a_client_that_leaves_while_it_waits_is_reported_gone(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":\"hold\"}\n", 19);
	while (!f->held)
		assert_true(loop_turn(f->loop, LOOP_NEVER_US) >= 0);
	close(fd);
	while (f->gone == 0)
		assert_true(loop_turn(f->loop, LOOP_NEVER_US) >= 0);
	assert_null(f->held);
}

static void a_line_past_the_ceiling_is_refused_and_the_client_dropped(void **state)
{
	struct fixture *f = *state;
	char *text = malloc(CTL_LINE_BYTES_MAX + 1);
	char line[256];
	int fd = dial(f);

	assert_non_null(text);
	memset(text, ' ', CTL_LINE_BYTES_MAX + 1);
	say(fd, text, CTL_LINE_BYTES_MAX + 1);
	assert_non_null(strstr(hear(f, fd, line, sizeof line), "too-long"));
	assert_string_equal(hear(f, fd, line, sizeof line), "");
	close(fd);
	free(text);
}

static void what_is_not_json_is_refused_and_the_connection_goes_on(void **state)
{
	struct fixture *f = *state;
	char line[256];
	int fd = dial(f);

	say(fd, "status\n", 7);
	assert_non_null(strstr(hear(f, fd, line, sizeof line), "bad-request"));
	say(fd, "{\"command\":\"echo\"}\n", 19);
	assert_non_null(strstr(hear(f, fd, line, sizeof line), "\"ok\":true"));
	close(fd);
}

static void a_client_too_many_is_told_to_come_again(void **state)
{
	struct fixture *f = *state;
	int fds[CTL_CLIENTS_MAX + 1];
	char line[256];
	json_t *answer;

	for (int i = 0; i < CTL_CLIENTS_MAX; i++) {
		fds[i] = dial(f);
		say(fds[i], "{\"command\":\"echo\"}\n", 19);
		assert_non_null(strstr(hear(f, fds[i], line, sizeof line), "true"));
	}
	fds[CTL_CLIENTS_MAX] = dial(f);
	assert_non_null(strstr(hear(f, fds[CTL_CLIENTS_MAX], line, sizeof line), "busy"));
	for (int i = 0; i <= CTL_CLIENTS_MAX; i++)
		close(fds[i]);
	/* Their places are free again, once the server has seen them go. */
	for (int turns = 0; turns < CTL_CLIENTS_MAX; turns++)
		assert_int_equal(loop_turn(f->loop, 0), 0);
	answer = call_server(f, json_pack("{s:s}", "command", "echo"), NULL);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
}

static void a_client_that_never_reads_is_dropped_at_the_ceiling(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);
	char byte[4096];
	size_t total = 0;
	ssize_t n;

	for (int i = 0; i < 3; i++)
		say(fd, "{\"command\":\"large\"}\n", 20);
	while (f->requests < 2)
		assert_true(loop_turn(f->loop, LOOP_NEVER_US) >= 0);
	/* Two answers did not fit; the third request is never looked at, others are served. */
	json_decref(call_server(f, json_pack("{s:s}", "command", "echo"), NULL));
	assert_int_equal(f->requests, 3);
	while ((n = recv(fd, byte, sizeof byte, MSG_DONTWAIT)) > 0)
		total += (size_t)n;
	assert_true(n == 0 || errno == ECONNRESET);
	assert_true(total < CTL_ANSWER_BYTES_MAX);
	close(fd);
}

/* Runs in a child as uid 12345 with one more group; 0: served, 1: denied, 2: could not connect. */
static int as_stranger(struct fixture *f, gid_t group)
{
	int status;
	pid_t pid;

	assert_int_equal(chmod(f->dir, 0755), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		json_t *answer = NULL;
		int r;

		if (setgroups(1, &group) < 0 || setgid(12345) < 0 || setuid(12345) < 0)
			_exit(9);
		r = ctl_call(f->path, json_pack("{s:s}", "command", "echo"), 60000000, NULL, NULL,
			     &answer);
		if (r == -EACCES)
			_exit(2);
		_exit(r == 0 ? !json_is_true(json_object_get(answer, "ok")) : 8);
	}
	for (;;) {
		pid_t ended = waitpid(pid, &status, WNOHANG);

		assert_true(ended >= 0);
		if (ended == pid)
			break;
		assert_true(loop_turn(f->loop, loop_refresh_us(f->loop) + 1000) >= 0);
	}
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void serve_anew(struct fixture *f, const char *group, mode_t mode)
{
	ctl_server_free(f->server);
	close(f->listen_fd);
	assert_int_equal(ctl_listen(f->path, group, &f->listen_fd), 0);
	if (mode)
		assert_int_equal(chmod(f->path, mode), 0);
	assert_int_equal(ctl_server_new(f->loop, f->listen_fd, on_request, on_gone, f, &f->server),
			 0);
}

static void strangers_cannot_reach_a_socket_without_a_group(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(as_stranger(f, 54321), 2);
}

static void strangers_are_denied_even_where_the_mode_lets_them_in(void **state)
{
	struct fixture *f = *state;

	serve_anew(f, NULL, 0606);
	assert_int_equal(as_stranger(f, 54321), 1);
}

static void members_of_the_group_are_served_by_a_supplementary_group(void **state)
{
	struct fixture *f = *state;
	const struct group *group = getgrnam("daemon");
	struct stat st;
	gid_t gid;

	assert_non_null(group);
	gid = group->gr_gid;
	serve_anew(f, "daemon", 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(st.st_gid, gid);
	assert_int_equal(as_stranger(f, gid), 0);
	assert_int_equal(as_stranger(f, gid + 1), 2);
}

static void a_group_that_does_not_exist_leaves_root_alone(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	serve_anew(f, "tandem-no-such-group", 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_dead_socket_is_replaced_and_a_live_one_is_not(void **state)
{
	struct fixture *f = *state;
	int fd;

	assert_int_equal(ctl_listen(f->path, NULL, &fd), -EADDRINUSE);
	ctl_server_free(f->server);
	close(f->listen_fd);
	assert_int_equal(ctl_listen(f->path, NULL, &f->listen_fd), 0);
	assert_int_equal(ctl_server_new(f->loop, f->listen_fd, on_request, on_gone, f, &f->server),
			 0);
}

static void a_file_in_the_way_is_left_alone(void **state)
{
	struct fixture *f = *state;
	char path[128];
	FILE *file;
	int fd;

	snprintf(path, sizeof path, "%s/file", f->dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(ctl_listen(path, NULL, &fd), -EEXIST);
	assert_int_equal(unlink(path), 0);
}

static void a_call_to_nobody_names_what_is_missing(void **state)
{
	struct fixture *f = *state;
	json_t *answer = NULL;
	char path[128];

	snprintf(path, sizeof path, "%s/none.sock", f->dir);
	assert_int_equal(ctl_call(path, json_object(), 1000000, NULL, NULL, &answer), -ENOENT);
	ctl_server_free(f->server);
	f->server = NULL;
	close(f->listen_fd);
	assert_int_equal(ctl_call(f->path, json_object(), 1000000, NULL, NULL, &answer),
			 -ECONNREFUSED);
	f->listen_fd = -1;
}

static void a_daemon_that_does_not_answer_is_a_timeout(void **state)
{
	struct fixture *f = *state;
	json_t *answer = NULL;

	/* The loop does not turn. */
	assert_int_equal(ctl_call(f->path, json_pack("{s:s}", "command", "echo"), 50000, NULL, NULL,
				  &answer),
			 -ETIMEDOUT);
}

static void an_answer_that_is_not_there_yet_can_be_waited_for_again(void **state)
{
	struct fixture *f = *state;
	struct ctl_question *question = NULL;
	json_t *answer = NULL;

	assert_int_equal(
		ctl_ask(f->path, json_pack("{s:s}", "command", "echo"), 20000000, &question), 0);
	for (uint64_t timeout_us = 0; timeout_us < 2; timeout_us++)
		assert_int_equal(ctl_await(question, timeout_us, NULL, NULL, &answer), -ETIMEDOUT);
	/* Accepted, then read and answered. */
	while (ctl_await(question, 0, NULL, NULL, &answer) == -ETIMEDOUT)
		assert_true(loop_turn(f->loop, LOOP_NEVER_US) >= 0);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
	assert_null(ctl_question_free(question));
	assert_null(ctl_question_free(NULL));
}

static void any_bytes_become_json_text(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *text;
	} table[] = {
		{"plain", 5, "plain"},
		{"\xe4\xbd\xa0", 3, "\xe4\xbd\xa0"},
		{"\xc4\xe3", 2, "\xef\xbf\xbd\xef\xbf\xbd"}, /* GBK */
		{"a\0b", 3,
		 "a\xef\xbf\xbd"
		 "b"},
		{"\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
		{"\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80"},
		{"\xf0\x9f\x98", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* cut */
		{"\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd"},		     /* overlong */
		{"\xff", 1, "\xef\xbf\xbd"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		json_t *string = ctl_text(table[i].bytes, table[i].size);
		char *dump = json_dumps(string, JSON_ENCODE_ANY);

		assert_non_null(dump);
		assert_string_equal(json_string_value(string), table[i].text);
		free(dump);
		json_decref(string);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_answer_says_ok_and_carries_its_keys),
		TEST(progress_comes_before_the_answer),
		TEST(an_unknown_command_is_refused_in_words),
		TEST(a_request_without_a_command_is_refused),
		TEST(the_largest_answer_arrives_whole),
		TEST(an_answer_past_the_ceiling_is_replaced_by_an_error),
		TEST(an_answer_that_could_not_be_built_is_an_error),
		TEST(requests_in_one_packet_are_answered_in_turn),
		TEST(the_second_request_waits_until_the_first_is_answered),
		TEST(a_client_that_sends_no_more_still_gets_its_answer),
		TEST(a_client_that_leaves_while_it_waits_is_reported_gone),
		TEST(a_line_past_the_ceiling_is_refused_and_the_client_dropped),
		TEST(what_is_not_json_is_refused_and_the_connection_goes_on),
		TEST(a_client_too_many_is_told_to_come_again),
		TEST(a_client_that_never_reads_is_dropped_at_the_ceiling),
		TEST(strangers_cannot_reach_a_socket_without_a_group),
		TEST(strangers_are_denied_even_where_the_mode_lets_them_in),
		TEST(members_of_the_group_are_served_by_a_supplementary_group),
		TEST(a_group_that_does_not_exist_leaves_root_alone),
		TEST(a_dead_socket_is_replaced_and_a_live_one_is_not),
		TEST(a_file_in_the_way_is_left_alone),
		TEST(a_call_to_nobody_names_what_is_missing),
		TEST(a_daemon_that_does_not_answer_is_a_timeout),
		TEST(an_answer_that_is_not_there_yet_can_be_waited_for_again),
		cmocka_unit_test(any_bytes_become_json_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
