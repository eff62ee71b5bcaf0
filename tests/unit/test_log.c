/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/log.h"

/* What went to stderr; the ends that stand in for it. */
static int saved_stderr = -1, read_end = -1, write_end = -1;
static char text[16384];

static void use_stderr(int fds[2])
{
	(void)fflush(stderr);
	saved_stderr = dup(2);
	assert_true(saved_stderr >= 0);
	read_end = fds[0];
	write_end = fds[1];
	assert_int_equal(dup2(write_end, 2), 2);
	close(write_end);
}

static void use_pipe(void)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	use_stderr(fds);
}

static const char *take(void)
{
	ssize_t n = read(read_end, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static int tear_down(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	if (saved_stderr >= 0) {
		dup2(saved_stderr, 2);
		close(saved_stderr);
		saved_stderr = -1;
	}
	if (read_end >= 0)
		close(read_end);
	read_end = -1;
	log_set_process(NULL);
	return 0;
}

static void open_log(int level)
{
	const struct log_options options = {
		.ident = "tandem-test", .facility = LOG_DAEMON, .level = level};

	log_open(&options);
}

/* The rest of a line behind its time stamp, "HH:MM:SS.mmm ". */
static const char *after_stamp(const char *line)
{
	int h, m, s, ms, at = 0;

	if (sscanf(line, "%2d:%2d:%2d.%3d %n", &h, &m, &s, &ms, &at) != 4 || at != 13)
		fail_msg("no time stamp: %s", line);
	return line + at;
}

static void a_line_has_time_program_and_process(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	use_pipe();
	open_log(LOG_INFO);
	log_info("VI_1: %s -> %s", "BACKUP", "MASTER");
	assert_string_equal(after_stamp(take()), "tandem-test: VI_1: BACKUP -> MASTER\n");
	log_set_process("engine");
	log_info("x");
	assert_string_equal(after_stamp(take()), "tandem-test: engine: x\n");
}

static void the_journal_gets_priorities(void **state)
{
	(void)state;
	assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
	use_pipe();
	open_log(LOG_DEBUG);
	log_set_process("keeper");
	log_err("a");
	log_warn("b");
	log_notice("c");
	log_info("d");
	log_debug("e");
	assert_string_equal(take(), "<3>keeper: a\n<4>keeper: b\n<5>keeper: c\n<6>keeper: d\n"
				    "<7>keeper: e\n");
}

static void less_urgent_lines_than_the_level_are_dropped(void **state)
{
	(void)state;
	use_pipe();
	open_log(LOG_NOTICE);
	assert_false(log_wants(LOG_INFO));
	assert_true(log_wants(LOG_NOTICE));
	log_info("not this");
	assert_string_equal(take(), "");
	log_set_level(LOG_INFO);
	log_info("but this");
	assert_non_null(strstr(take(), "but this\n"));
}

static void an_argument_cannot_forge_a_line(void **state)
{
	(void)state;
	assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
	use_pipe();
	open_log(LOG_INFO);
	log_info("it said: %s", "fine\n<0>all is lost\t\x1b[31m\x7f\r");
	assert_string_equal(take(),
			    "<6>it said: fine\\x0a<0>all is lost\\x09\\x1b[31m\\x7f\\x0d\n");
}

static void utf8_stays_and_what_is_none_is_escaped(void **state)
{
	(void)state;
	assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
	use_pipe();
	open_log(LOG_INFO);
	log_info("%s", "M\xc3\xbcller \xe2\x86\x92 \xf0\x9f\x8c\x8d");
	assert_string_equal(take(), "<6>M\xc3\xbcller \xe2\x86\x92 \xf0\x9f\x8c\x8d\n");
	/* Latin-1, overlong, surrogate, C1 control, cut short. */
	log_info("%s", "\xfc \xc0\xaf \xed\xa0\x80 \xc2\x9b \xe2\x86");
	assert_string_equal(take(), "<6>\\xfc \\xc0\\xaf \\xed\\xa0\\x80 \\xc2\\x9b \\xe2\\x86\n");
}

static void a_long_line_is_cut(void **state)
{
	char *longest = malloc(10001);

	(void)state;
	assert_non_null(longest);
	memset(longest, 'a', 10000);
	longest[10000] = '\0';
	assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
	use_pipe();
	open_log(LOG_INFO);
	log_info("%s", longest);
	(void)take();
	assert_in_range(strlen(text), 1900, 2100);
	assert_string_equal(text + strlen(text) - 6, "aa...\n");
	free(longest);
}

static void errno_is_left_alone(void **state)
{
	(void)state;
	use_pipe();
	open_log(LOG_INFO);
	errno = ENOTUNIQ;
	log_info("x");
	assert_int_equal(errno, ENOTUNIQ);
}

static void fill_and_drain(const char *kind)
{
	int lines = 0;

	open_log(LOG_INFO);
	/* Nobody reads; this must come back all the same, and say later what it lost. */
	for (int i = 0; i < 20000; i++)
		log_info("line %d of many that nobody reads through this %s", i, kind);
	while (strlen(take()) > 0) {
		for (const char *c = text; *c; c++)
			lines += *c == '\n';
	}
	assert_in_range(lines, 1, 19999);
	log_info("after");
	(void)take();
	assert_non_null(strstr(text, "the log did not take "));
	assert_non_null(strstr(text, ": after\n"));
	log_info("again");
	assert_null(strstr(take(), "did not take"));
}

static void a_full_pipe_does_not_stop_the_process(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	use_pipe();
	fill_and_drain("pipe");
}

static void a_full_socket_does_not_stop_the_process(void **state)
{
	int fds[2];

	(void)state;
	unsetenv("JOURNAL_STREAM");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	use_stderr(fds);
	fill_and_drain("socket");
}

static void a_closed_reader_does_not_kill_the_process(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fds[2];

		if (pipe(fds) < 0 || dup2(fds[1], 2) < 0)
			_exit(1);
		close(fds[0]);
		close(fds[1]);
		open_log(LOG_INFO);
		log_info("into the void");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- syslog: in a mount namespace with a /dev of its own ---- */

static int listen_at_dev_log(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)unlink("/dev/log");
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return fd;
}

static const char *receive(int fd)
{
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* Returns the line of the check that failed, or 0. */
static int speak_to_syslog(void)
{
	const struct log_options options = {.ident = "tandem-test",
					    .to_syslog = true,
					    .facility = LOG_LOCAL3,
					    .level = LOG_INFO};
	char expected[64];
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tandem-test", "/dev", "tmpfs", 0, NULL) < 0)
		return __LINE__;
	fd = listen_at_dev_log();
	if (fd < 0)
		return __LINE__;
	log_open(&options);
	log_warn("one\ntwo");
	(void)snprintf(expected, sizeof(expected), " tandem-test[%d]: one\\x0atwo", (int)getpid());
	receive(fd);
	/* RFC 3164: facility 19 times 8 and severity 4, then "Mmm dd hh:mm:ss". */
	if (strncmp(text, "<156>", 5) != 0 || strlen(text) < 21 || text[8] != ' ' ||
	    strcmp(text + 20, expected) != 0)
		return __LINE__;
	/* The daemon is restarted. */
	close(fd);
	fd = listen_at_dev_log();
	log_info("three");
	if (!strstr(receive(fd), ": three"))
		return __LINE__;
	/* It hangs: nothing waits for it. */
	for (int i = 0; i < 20000; i++)
		log_info("line %d", i);
	while (*receive(fd))
		;
	log_info("four");
	if (!strstr(receive(fd), "the log did not take "))
		return __LINE__;
	if (!strstr(receive(fd), ": four"))
		return __LINE__;
	/* It is gone: better on stderr than nowhere. */
	close(fd);
	(void)unlink("/dev/log");
	log_info("five");
	return 0;
}

static void syslog_is_spoken_to_without_waiting(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	use_pipe();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(speak_to_syslog() % 256);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != 0)
		fail_msg("the check in line %d (modulo 256; needs root)", WEXITSTATUS(status));
	assert_non_null(strstr(take(), "five"));
}

static void names_of_facilities_and_levels_are_known(void **state)
{
	int value = -1;

	(void)state;
	assert_int_equal(log_facility_from_name("local0", &value), 0);
	assert_int_equal(value, LOG_LOCAL0);
	assert_int_equal(log_facility_from_name("daemon", &value), 0);
	assert_int_equal(value, LOG_DAEMON);
	assert_int_equal(log_facility_from_name("local8", &value), -EINVAL);
	assert_int_equal(value, LOG_DAEMON);
	assert_int_equal(log_level_from_name("info", &value), 0);
	assert_int_equal(value, LOG_INFO);
	assert_int_equal(log_level_from_name("warning", &value), 0);
	assert_int_equal(value, LOG_WARNING);
	assert_int_equal(log_level_from_name("INFO", &value), -EINVAL);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_has_time_program_and_process),
		TEST(the_journal_gets_priorities),
		TEST(less_urgent_lines_than_the_level_are_dropped),
		TEST(an_argument_cannot_forge_a_line),
		TEST(utf8_stays_and_what_is_none_is_escaped),
		TEST(a_long_line_is_cut),
		TEST(errno_is_left_alone),
		TEST(a_full_pipe_does_not_stop_the_process),
		TEST(a_full_socket_does_not_stop_the_process),
		TEST(a_closed_reader_does_not_kill_the_process),
		TEST(syslog_is_spoken_to_without_waiting),
		TEST(names_of_facilities_and_levels_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
