/* SPDX-License-Identifier: Apache-2.0 */
/* Runs as root: half of what a runner does cannot be seen otherwise. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/run.h"

#define SECOND_US UINT64_C(1000000)

struct seen {
	int calls;
	struct run_result result;
	char output[RUN_OUTPUT_BYTES_MAX + 1];
	char described[128];
};

static void note(void *ctx, const struct run_result *result)
{
	struct seen *seen = ctx;

	seen->calls++;
	seen->result = *result;
	memcpy(seen->output, result->output, result->output_size + 1);
	run_describe(result, seen->described, sizeof(seen->described));
}

static int set_up(void **state)
{
	return loop_new((struct loop **)state);
}

static int tear_down(void **state)
{
	loop_free(*state);
	return 0;
}

static void turn_until(struct loop *loop, const int *count)
{
	uint64_t limit_us = loop_refresh_us(loop) + 60 * SECOND_US;

	while (*count == 0) {
		assert_true(loop_now_us(loop) < limit_us);
		assert_int_equal(loop_turn(loop, limit_us), 0);
	}
}

static struct run *start(struct loop *loop, const char *const *argv, struct run_options options,
			 struct seen *seen)
{
	struct conf_command command = {.argv = (char **)(uintptr_t)argv};
	struct run *run = NULL;

	while (argv[command.argc])
		command.argc++;
	if (options.command)
		command.user = options.command->user;
	options.command = &command;
	assert_int_equal(run_start(loop, &options, note, seen, &run), 0);
	return run;
}

static void complete(struct loop *loop, const char *const *argv, struct run_options options,
		     struct seen *seen)
{
	*seen = (struct seen){0};
	(void)start(loop, argv, options, seen);
	turn_until(loop, &seen->calls);
}

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHELL(script) ARGV("/bin/sh", "-c", script)

static void a_command_runs_and_its_output_is_kept(void **state)
{
	struct seen seen;

	complete(*state, SHELL("echo out; echo err >&2"), (struct run_options){0}, &seen);
	assert_true(run_succeeded(&seen.result));
	assert_string_equal(seen.output, "out\nerr\n");
	assert_string_equal(seen.described, "exit 0");
}

static void an_exit_code_is_a_failure_with_its_number(void **state)
{
	struct seen seen;

	complete(*state, SHELL("exit 3"), (struct run_options){0}, &seen);
	assert_false(run_succeeded(&seen.result));
	assert_string_equal(seen.described, "exit 3");
}

static void a_signal_is_a_failure_with_its_name(void **state)
{
	struct seen seen;

	complete(*state, SHELL("kill -SEGV $$"), (struct run_options){0}, &seen);
	assert_false(run_succeeded(&seen.result));
	assert_string_equal(seen.described, "killed by SIGSEGV");
	complete(*state, SHELL("kill -33 $$ || kill -34 $$"), (struct run_options){0}, &seen);
	assert_false(run_succeeded(&seen.result));
	assert_non_null(strstr(seen.described, "killed by signal 3"));
}

static void what_cannot_be_executed_says_why(void **state)
{
	struct seen seen;

	complete(*state, ARGV("/nonexistent/tandem-test"), (struct run_options){0}, &seen);
	assert_int_equal(seen.result.exec_errno, ENOENT);
	assert_false(run_succeeded(&seen.result));
	assert_string_equal(seen.described, "cannot be executed: No such file or directory");
	complete(*state, ARGV("tandem-test-that-is-nowhere"), (struct run_options){0}, &seen);
	assert_int_equal(seen.result.exec_errno, ENOENT);
	complete(*state, ARGV("/etc/passwd"), (struct run_options){0}, &seen);
	assert_int_equal(seen.result.exec_errno, EACCES);
}

static void a_file_without_an_interpreter_line_is_not_given_to_a_shell(void **state)
{
	char path[] = "/tmp/tandem-test-run-XXXXXX";
	struct seen seen;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "echo hello\n", 11), 11);
	assert_int_equal(fchmod(fd, 0755), 0);
	close(fd);
	complete(*state, ARGV(path), (struct run_options){0}, &seen);
	unlink(path);
	assert_int_equal(seen.result.exec_errno, ENOEXEC);
	assert_string_equal(seen.output, "");
}

static void a_name_without_a_slash_is_looked_for_in_path(void **state)
{
	struct seen seen;

	complete(*state, ARGV("true"), (struct run_options){0}, &seen);
	assert_true(run_succeeded(&seen.result));
}

static void extra_arguments_are_appended(void **state)
{
	static const char *const extra[] = {"INSTANCE", "VI_1", "MASTER", "100", NULL};
	struct seen seen;

	complete(*state, ARGV("/bin/echo", "a b"), (struct run_options){.extra_argv = extra},
		 &seen);
	assert_string_equal(seen.output, "a b INSTANCE VI_1 MASTER 100\n");
}

static void only_the_last_bytes_of_output_are_kept(void **state)
{
	struct seen seen;

	complete(*state, SHELL("seq 1 30000; echo the end"), (struct run_options){0}, &seen);
	assert_true(run_succeeded(&seen.result));
	assert_int_equal(seen.result.output_size, RUN_OUTPUT_BYTES_MAX);
	assert_string_equal(seen.output + RUN_OUTPUT_BYTES_MAX - 14, "30000\nthe end\n");
	assert_int_equal(strlen(seen.output), RUN_OUTPUT_BYTES_MAX);
}

/* Runs a shell to its time limit, which it does not reach before it has come to `touch $1`: the
 * limit is a timer of the loop, and the loop does not turn until the file is there. What the shell
 * has written by then is read first. */
static void complete_from_mark(struct loop *loop, const char *script, uint64_t timeout_us,
			       struct seen *seen)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	char dir[] = "/tmp/tandem-test-run-XXXXXX", mark[64];
	uint64_t limit_us = loop_refresh_us(loop) + 60 * SECOND_US;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(mark, sizeof(mark), "%s/mark", dir);
	*seen = (struct seen){0};
	(void)start(loop, ARGV("/bin/sh", "-c", script, "sh", mark),
		    (struct run_options){.timeout_us = timeout_us}, seen);
	while (access(mark, F_OK) < 0) {
		assert_true(loop_refresh_us(loop) < limit_us);
		nanosleep(&pause, NULL);
	}
	turn_until(loop, &seen->calls);
	assert_int_equal(unlink(mark), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void the_time_limit_ends_a_command(void **state)
{
	struct seen seen;

	complete_from_mark(*state, "echo before; touch $1; sleep 600", SECOND_US / 5, &seen);
	assert_true(seen.result.timed_out);
	assert_false(run_succeeded(&seen.result));
	assert_string_equal(seen.output, "before\n");
	assert_string_equal(seen.described, "timed out after 0.2 s");
	assert_true(seen.result.duration_us >= SECOND_US / 5);
	/* It was asked to end, and had no need to be killed. */
	assert_true(WIFSIGNALED(seen.result.wait_status));
	assert_int_equal(WTERMSIG(seen.result.wait_status), SIGTERM);
}

static void who_ignores_sigterm_is_killed(void **state)
{
	struct seen seen;

	complete_from_mark(*state, "trap '' TERM; touch $1; while :; do sleep 1; done",
			   SECOND_US / 10, &seen);
	assert_true(seen.result.timed_out);
	assert_true(WIFSIGNALED(seen.result.wait_status));
	assert_int_equal(WTERMSIG(seen.result.wait_status), SIGKILL);
	assert_true(seen.result.duration_us >= 2 * SECOND_US);
}

static pid_t background_pid(const char *output)
{
	pid_t pid = (pid_t)strtol(output, NULL, 10);

	assert_true(pid > 1);
	return pid;
}

static int is_alive(pid_t pid)
{
	char path[64], line[256] = "";
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	(void)fclose(f);
	return line[0] != '\0' && !strstr(line, ") Z ");
}

static void wait_until_gone(pid_t pid)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; is_alive(pid); i++) {
		assert_true(i < 60000);
		nanosleep(&pause, NULL);
	}
}

static void the_time_limit_ends_what_the_command_has_started(void **state)
{
	struct seen seen;

	complete_from_mark(
		*state,
		"sh -c 'trap \"\" TERM; echo $$; touch $0; while :; do sleep 1; done' $1 "
		"& wait",
		SECOND_US / 5, &seen);
	assert_true(seen.result.timed_out);
	wait_until_gone(background_pid(seen.output));
}

static void a_background_process_is_not_waited_for_and_not_harmed(void **state)
{
	struct loop *loop = *state;
	char path[] = "/tmp/tandem-test-run-XXXXXX", fifo[64], script[256], told[16] = "";
	const struct timespec pause = {.tv_nsec = 1000000};
	int fd = mkstemp(path), go;
	struct seen seen;
	pid_t pid;

	assert_true(fd >= 0);
	(void)snprintf(fifo, sizeof(fifo), "%s.go", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	/* It is let go when the command has ended, writes into the pipe, and lives to tell the
	 * tale. */
	(void)snprintf(script, sizeof(script), "(read go <%s; echo late; echo lived >%s) & echo $!",
		       fifo, path);
	complete(loop, SHELL(script), (struct run_options){.timeout_us = 50 * SECOND_US}, &seen);
	assert_true(run_succeeded(&seen.result));
	pid = background_pid(seen.output);
	assert_true(is_alive(pid));
	go = open(fifo, O_RDWR | O_CLOEXEC);
	assert_true(go >= 0);
	assert_int_equal(write(go, "go\n", 3), 3);
	for (int i = 0; read(fd, told, sizeof(told) - 1) <= 0; i++) {
		assert_true(i < 60000);
		assert_int_equal(loop_turn(loop, 0), 0);
		nanosleep(&pause, NULL);
	}
	assert_string_equal(told, "lived\n");
	wait_until_gone(pid);
	/* The end of its pipe gives back what was kept for it. */
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_turn(loop, 0), 0);
	close(go);
	close(fd);
	unlink(fifo);
	unlink(path);
}

static int open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* LINGERING_MAX of shared/run.c. */
static void past_the_ceiling_the_oldest_background_pipe_is_given_up(void **state)
{
	struct loop *loop = *state;
	int before = open_descriptors();
	pid_t pids[33];
	struct seen seen;

	for (int i = 0; i < 33; i++) {
		complete(loop, SHELL("sleep 600 & echo $!"), (struct run_options){0}, &seen);
		pids[i] = background_pid(seen.output);
	}
	assert_int_equal(open_descriptors(), before + 32);
	for (int i = 0; i < 33; i++) {
		assert_int_equal(kill(pids[i], SIGKILL), 0);
		wait_until_gone(pids[i]);
	}
	for (int i = 0; open_descriptors() > before; i++) {
		assert_true(i < 1000);
		assert_int_equal(loop_turn(loop, 0), 0);
	}
}

static void an_abandoned_run_is_killed_and_silent(void **state)
{
	struct loop *loop = *state;
	struct seen seen = {0};
	struct run *run = start(loop, SHELL("sleep 600"), (struct run_options){0}, &seen);
	pid_t pid = run_pid(run);

	assert_null(run_abandon(run));
	wait_until_gone(pid);
	/* The loop reaps it. */
	for (int i = 0; kill(pid, 0) == 0; i++) {
		assert_true(i < 60000);
		assert_int_equal(loop_turn(loop, loop_refresh_us(loop) + 1000), 0);
	}
	assert_int_equal(errno, ESRCH);
	assert_int_equal(seen.calls, 0);
}

static void abandon_in_its_own_callback(void *ctx, const struct run_result *result)
{
	struct run **run = ctx;

	(void)result;
	*run = run_abandon(*run);
}

static void a_run_may_be_abandoned_in_its_own_callback(void **state)
{
	struct loop *loop = *state;
	char *argv[] = {(char[]){"/bin/true"}, NULL};
	struct conf_command command = {.argv = argv, .argc = 1};
	struct run_options options = {.command = &command};
	struct run *run;

	assert_int_equal(run_start(loop, &options, abandon_in_its_own_callback, &run, &run), 0);
	for (int i = 0; run; i++) {
		assert_true(i < 6000);
		assert_int_equal(loop_turn(loop, loop_refresh_us(loop) + 10000), 0);
	}
}

static void a_command_runs_as_its_user_with_that_users_groups(void **state)
{
	struct conf_command as = {.user = (char[]){"nobody"}};
	const struct passwd *account = getpwnam("nobody");
	char expected[64];
	struct seen seen;

	assert_non_null(account);
	(void)snprintf(expected, sizeof(expected), "%u %u\n", account->pw_uid, account->pw_gid);
	complete(*state, SHELL("echo $(id -u) $(id -G)"), (struct run_options){.command = &as},
		 &seen);
	assert_true(run_succeeded(&seen.result));
	assert_string_equal(seen.output, expected);
}

static void an_unknown_user_is_an_error(void **state)
{
	char *argv[] = {(char[]){"/bin/true"}, NULL};
	struct conf_command command = {
		.argv = argv, .argc = 1, .user = (char[]){"tandem-test-nobody-of-that-name"}};
	struct run_options options = {.command = &command};
	struct seen seen = {0};
	struct run *run = NULL;

	assert_int_equal(run_start(*state, &options, note, &seen, &run), -ESRCH);
	assert_null(run);
}

static void the_environment_is_cleaned(void **state)
{
	struct seen seen;

	assert_int_equal(setenv("NOTIFY_SOCKET", "/run/x", 1), 0);
	assert_int_equal(setenv("WATCHDOG_USEC", "1", 1), 0);
	assert_int_equal(setenv("LD_TANDEM_TEST", "1", 1), 0);
	assert_int_equal(setenv("IFS", "x", 1), 0);
	assert_int_equal(setenv("TANDEM_TEST", "stays", 1), 0);
	complete(*state, ARGV("/usr/bin/env"), (struct run_options){0}, &seen);
	assert_non_null(strstr(seen.output, "TANDEM_TEST=stays\n"));
	assert_non_null(strstr(seen.output, "PATH="));
	assert_null(strstr(seen.output, "NOTIFY_SOCKET"));
	assert_null(strstr(seen.output, "WATCHDOG_USEC"));
	assert_null(strstr(seen.output, "LD_TANDEM_TEST"));
	assert_null(strstr(seen.output, "IFS="));
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("LD_TANDEM_TEST");
	unsetenv("IFS");
	unsetenv("TANDEM_TEST");
}

static void a_command_starts_with_a_clean_slate(void **state)
{
	/* The kernel's struct: the handler comes first. */
	const uint64_t ignored[8] = {(uint64_t)(uintptr_t)SIG_IGN};
	const struct sched_param realtime = {.sched_priority = 1}, normal = {0};
	struct seen seen;
	sigset_t blocked, before;
	int leak = open("/dev/null", O_RDONLY); /* without close-on-exec */

	assert_true(leak >= 0);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, &before), 0);
	assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	/* As who was started by posix_spawn(3) has it; sigaction(3) cannot. */
	assert_int_equal(syscall(SYS_rt_sigaction, 33, ignored, NULL, (size_t)8), 0);
	if (sched_setscheduler(0, SCHED_RR, &realtime) < 0)
		assert_int_equal(errno,
				 EPERM); /* the cgroup forbids it: then there is less to see */
	complete(*state,
		 SHELL("grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l; "
		       "awk '{ print \"policy\", $41, \"session\", ($6 != 0) }' /proc/self/stat; "
		       "readlink /proc/$$/fd/0; pwd; umask"),
		 (struct run_options){0}, &seen);
	(void)sched_setscheduler(0, SCHED_OTHER, &normal);
	assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
	close(leak);
	assert_true(run_succeeded(&seen.result));
	assert_non_null(strstr(seen.output, "SigBlk:\t0000000000000000\n"));
	assert_non_null(strstr(seen.output, "SigIgn:\t0000000000000000\n"));
	assert_non_null(strstr(seen.output, "\n4\n")); /* 0, 1, 2, and the one that ls opens */
	assert_non_null(strstr(seen.output, "policy 0 session 1\n"));
	assert_non_null(strstr(seen.output, "/dev/null\n/\n0022\n"));
}

static void a_command_leads_a_session_of_its_own(void **state)
{
	struct seen seen;
	int pid = 0, group = 0, session = 0;

	complete(*state, SHELL("cut -d ' ' -f 1,5,6 /proc/$$/stat"), (struct run_options){0},
		 &seen);
	assert_int_equal(sscanf(seen.output, "%d %d %d", &pid, &group, &session), 3);
	assert_int_equal(pid, group);
	assert_int_equal(pid, session);
	assert_int_not_equal(session, getsid(0));
}

static int prepare_fails(void *ctx)
{
	return *(int *)ctx;
}

static int prepare_says(void *ctx)
{
	return write(1, ctx, strlen(ctx)) < 0 ? errno : 0;
}

static void preparation_runs_before_and_can_refuse(void **state)
{
	struct seen seen;
	int code = ENOTUNIQ;

	complete(*state, ARGV("/bin/echo", "command"),
		 (struct run_options){.prepare = prepare_says,
				      .prepare_ctx = (void *)(uintptr_t) "prepared "},
		 &seen);
	assert_string_equal(seen.output, "prepared command\n");
	complete(*state, ARGV("/bin/echo", "command"),
		 (struct run_options){.prepare = prepare_fails, .prepare_ctx = &code}, &seen);
	assert_int_equal(seen.result.exec_errno, ENOTUNIQ);
	assert_string_equal(seen.output, "");
}

static void no_descriptor_is_left_behind(void **state)
{
	struct seen seen;
	int before;

	complete(*state, ARGV("/bin/true"), (struct run_options){0}, &seen);
	before = open_descriptors();
	for (int i = 0; i < 20; i++)
		complete(*state, i % 2 ? ARGV("/bin/true") : ARGV("/nonexistent"),
			 (struct run_options){.timeout_us = SECOND_US}, &seen);
	assert_int_equal(open_descriptors(), before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_command_runs_and_its_output_is_kept),
		TEST(an_exit_code_is_a_failure_with_its_number),
		TEST(a_signal_is_a_failure_with_its_name),
		TEST(what_cannot_be_executed_says_why),
		TEST(a_file_without_an_interpreter_line_is_not_given_to_a_shell),
		TEST(a_name_without_a_slash_is_looked_for_in_path),
		TEST(extra_arguments_are_appended),
		TEST(only_the_last_bytes_of_output_are_kept),
		TEST(the_time_limit_ends_a_command),
		TEST(who_ignores_sigterm_is_killed),
		TEST(the_time_limit_ends_what_the_command_has_started),
		TEST(a_background_process_is_not_waited_for_and_not_harmed),
		TEST(past_the_ceiling_the_oldest_background_pipe_is_given_up),
		TEST(an_abandoned_run_is_killed_and_silent),
		TEST(a_run_may_be_abandoned_in_its_own_callback),
		TEST(a_command_runs_as_its_user_with_that_users_groups),
		TEST(an_unknown_user_is_an_error),
		TEST(the_environment_is_cleaned),
		TEST(a_command_starts_with_a_clean_slate),
		TEST(a_command_leads_a_session_of_its_own),
		TEST(preparation_runs_before_and_can_refuse),
		TEST(no_descriptor_is_left_behind),
	};

	if (getuid() != 0) {
		(void)fputs("test_run changes users and so needs root: sudo make check\n", stderr);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
