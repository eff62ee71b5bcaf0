/* SPDX-License-Identifier: Apache-2.0 */
/* Each look at a changed process is a look from within a child; runs as root. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/priv.h"

static const char *status_file(void)
{
	static char text[8192];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* Runs check in a child; it returns the line of what was wrong, or 0. */
static void in_a_child(int (*check)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		int line = check();

		/* In two bytes, as an exit status has only one. */
		if (line != 0)
			(void)fprintf(stderr, "the check in line %d failed\n", line);
		_exit(line != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int drop_with_two_capabilities(void)
{
	static const struct priv_user user = {.uid = 60600, .gid = 60601};
	const char *status;
	int signo = 0, fd;

	if (priv_drop(&user, UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_RAW) != 0)
		return __LINE__;
	status = status_file();
	if (!strstr(status, "Uid:\t60600\t60600\t60600\t60600\n") ||
	    !strstr(status, "Gid:\t60601\t60601\t60601\t60601\n") ||
	    !strstr(status, "Groups:\t \n"))
		return __LINE__;
	if (!strstr(status, "CapInh:\t0000000000000000\n") ||
	    !strstr(status, "CapPrm:\t0000000000003000\n") ||
	    !strstr(status, "CapEff:\t0000000000003000\n") ||
	    !strstr(status, "CapBnd:\t0000000000003000\n") ||
	    !strstr(status, "CapAmb:\t0000000000000000\n"))
		return __LINE__;
	if (!strstr(status, "NoNewPrivs:\t1\n"))
		return __LINE__;
	if (prctl(PR_GET_PDEATHSIG, &signo) < 0 || signo != SIGKILL)
		return __LINE__;
	if (setresuid(0, 0, 0) == 0)
		return __LINE__;
	fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 112);
	return fd < 0 ? __LINE__ : 0;
}

static int drop_everything(void)
{
	static const struct priv_user user = {.uid = 60600, .gid = 60601};

	if (priv_drop(&user, 0) != 0)
		return __LINE__;
	if (!strstr(status_file(), "CapPrm:\t0000000000000000\n") ||
	    !strstr(status_file(), "CapBnd:\t0000000000000000\n"))
		return __LINE__;
	if (socket(AF_INET, SOCK_RAW, 112) >= 0 || errno != EPERM)
		return __LINE__;
	return open("/etc/shadow", O_RDONLY) >= 0 ? __LINE__ : 0;
}

static int drop_when_not_root(void)
{
	static const struct priv_user first = {.uid = 60600, .gid = 60601};
	static const struct priv_user second = {.uid = 60602, .gid = 60603};

	if (priv_drop(&first, 0) != 0)
		return __LINE__;
	return priv_drop(&second, 0) == -EPERM ? 0 : __LINE__;
}

static void a_process_keeps_what_it_was_left_and_nothing_else(void **state)
{
	(void)state;
	in_a_child(drop_with_two_capabilities);
	in_a_child(drop_everything);
}

static void without_root_the_change_is_refused(void **state)
{
	(void)state;
	in_a_child(drop_when_not_root);
}

static void a_dropped_process_dies_with_its_parent(void **state)
{
	int fds[2], byte;
	pid_t middle;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	middle = fork();
	assert_true(middle >= 0);
	if (middle == 0) {
		int ready[2];
		char c;

		if (pipe(ready) < 0)
			_exit(1);
		if (fork() == 0) {
			static const struct priv_user user = {.uid = 60600, .gid = 60600};

			if (priv_drop(&user, 0) == 0 && write(ready[1], "x", 1) == 1)
				pause();
			_exit(1);
		}
		if (read(ready[0], &c, 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(waitpid(middle, NULL, 0), middle);
	/* The pipe ends when nobody holds its other end any more. */
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
}

static int take_realtime(void)
{
	int r = priv_realtime();
	pid_t pid;
	int status;

	if (r == -EPERM)
		return 0; /* the cgroup forbids it: the answer that the header names */
	if (r != 0 || sched_getscheduler(0) != (SCHED_RR | SCHED_RESET_ON_FORK))
		return __LINE__;
	pid = fork();
	if (pid == 0)
		_exit(sched_getscheduler(0) == SCHED_OTHER ? 0 : 1);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		return __LINE__;
	return 0;
}

static void realtime_is_not_inherited(void **state)
{
	(void)state;
	in_a_child(take_realtime);
}

static int lock_drop_and_allocate(void)
{
	static const struct priv_user user = {.uid = 60600, .gid = 60600};

	if (priv_lock_memory() != 0 || priv_drop(&user, 0) != 0)
		return __LINE__;
	/* Past any usual RLIMIT_MEMLOCK, in small and large pieces. */
	for (int i = 0; i < 64; i++) {
		char *p = malloc(1024 * 1024);

		if (!p)
			return __LINE__;
		memset(p, i, 1024 * 1024);
	}
	for (int i = 0; i < 16384; i++) {
		char *p = malloc(1024);

		if (!p)
			return __LINE__;
		memset(p, i, 1024);
	}
	return 0;
}

static void memory_can_be_had_after_locking_and_dropping(void **state)
{
	(void)state;
	in_a_child(lock_drop_and_allocate);
}

static int close_all_but_two(void)
{
	int fds[8], keep[4];

	for (int i = 0; i < 8; i++) {
		fds[i] = open("/dev/null", O_RDONLY);
		if (fds[i] < 0)
			return __LINE__;
	}
	keep[0] = fds[6];
	keep[1] = -1;
	keep[2] = fds[2];
	keep[3] = fds[6];
	priv_close_fds(keep, 4);
	for (int i = 0; i < 8; i++) {
		if ((fcntl(fds[i], F_GETFD) >= 0) != (i == 2 || i == 6))
			return __LINE__;
	}
	return fcntl(2, F_GETFD) < 0 ? __LINE__ : 0;
}

static void descriptors_are_closed_but_for_those_named(void **state)
{
	(void)state;
	in_a_child(close_all_but_two);
}

static void accounts_are_found_or_stood_in_for(void **state)
{
	struct priv_user root = {.uid = 1}, agent, syncd, again;
	bool stand_in = true;

	(void)state;
	assert_int_equal(priv_user_find("root", &root, &stand_in), 0);
	assert_false(stand_in);
	assert_int_equal(root.uid, 0);
	assert_int_equal(priv_user_find("tandem-agent", &agent, &stand_in), 0);
	assert_int_equal(priv_user_find("tandem-syncd", &syncd, &stand_in), 0);
	assert_int_equal(priv_user_find("tandem-syncd", &again, &stand_in), 0);
	assert_int_not_equal(agent.uid, 0);
	assert_int_not_equal(syncd.uid, 0);
	assert_int_not_equal(agent.uid, syncd.uid);
	assert_int_equal(syncd.uid, again.uid);
	assert_int_equal(priv_user_find("tandem-test-nobody", &again, &stand_in), -ENOENT);
}

static void this_kernel_will_do(void **state)
{
	char text[256] = "x";

	(void)state;
	assert_int_equal(priv_kernel_check(text, sizeof(text)), 0);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_keeps_what_it_was_left_and_nothing_else),
		cmocka_unit_test(without_root_the_change_is_refused),
		cmocka_unit_test(a_dropped_process_dies_with_its_parent),
		cmocka_unit_test(realtime_is_not_inherited),
		cmocka_unit_test(memory_can_be_had_after_locking_and_dropping),
		cmocka_unit_test(descriptors_are_closed_but_for_those_named),
		cmocka_unit_test(accounts_are_found_or_stood_in_for),
		cmocka_unit_test(this_kernel_will_do),
	};

	if (getuid() != 0) {
		(void)fputs("test_priv changes users and so needs root: sudo make check\n", stderr);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
