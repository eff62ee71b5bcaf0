/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/process.h"

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* comm: NULL if any will do. */
static void wait_for(pid_t pid, char state, const char *comm, struct process *ret_process)
{
	for (int i = 0; i < 6000; i++) {
		assert_int_equal(process_read(pid, ret_process), 0);
		if (ret_process->state == state && (!comm || !strcmp(ret_process->comm, comm)))
			return;
		pause_ms(10);
	}
	fail_msg("it is %s in state %c, not %c", ret_process->comm, ret_process->state, state);
}

/* A child that ends with the test. */
static pid_t start(void (*body)(void))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		body();
		_exit(0);
	}
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void sleep_on(void)
{
	pause();
}

static void take_an_odd_name(void)
{
	prctl(PR_SET_NAME, "a) R 1 (b");
	pause();
}

/* Whoever has called vfork(2) waits in the kernel until the child is done with its memory. It may
 * be ended while the child is not yet bound to it. */
static void lend_the_memory(void)
{
	pid_t self = getpid(), pid = vfork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == self)
			pause();
		_exit(0);
	}
}

static void the_name_may_hold_brackets_and_blanks(void **state)
{
	pid_t pid = start(take_an_odd_name);
	struct process process;

	(void)state;
	wait_for(pid, 'S', "a) R 1 (b", &process);
	assert_int_equal(process.pid, pid);
	assert_int_equal(process.parent, getpid());
	end(pid);
}

static void spin(void)
{
	for (volatile unsigned i = 0;; i++)
		;
}

static void time_spent_in_its_own_code_is_counted(void **state)
{
	pid_t spinner = start(spin), sleeper = start(sleep_on);
	struct process process = {0};

	(void)state;
	for (int i = 0; i < 6000 && process.user_ticks < 3; i++) {
		pause_ms(10);
		assert_int_equal(process_read(spinner, &process), 0);
	}
	assert_true(process.user_ticks >= 3);
	assert_int_equal(process_read(sleeper, &process), 0);
	assert_true(process.user_ticks < 3);
	end(spinner);
	end(sleeper);
}

static void a_later_process_starts_no_earlier(void **state)
{
	struct process self, child;
	pid_t pid = start(sleep_on);

	(void)state;
	assert_int_equal(process_read(getpid(), &self), 0);
	assert_int_equal(process_read(pid, &child), 0);
	assert_true(self.start_ticks > 0);
	assert_true(child.start_ticks >= self.start_ticks);
	end(pid);
}

static void what_has_gone_is_not_there(void **state)
{
	pid_t pid = start(sleep_on);
	struct process process;

	(void)state;
	end(pid);
	assert_int_equal(process_read(pid, &process), -ENOENT);
}

static void who_sleeps_and_who_is_stopped_are_told_apart(void **state)
{
	pid_t pid = start(sleep_on);
	struct process process;

	(void)state;
	wait_for(pid, 'S', NULL, &process);
	kill(pid, SIGSTOP);
	wait_for(pid, 'T', NULL, &process);
	end(pid);
}

static void who_waits_in_the_kernel_is_known(void **state)
{
	pid_t pid = start(lend_the_memory);
	struct process process;

	(void)state;
	wait_for(pid, 'D', NULL, &process);
	end(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_name_may_hold_brackets_and_blanks),
		cmocka_unit_test(time_spent_in_its_own_code_is_counted),
		cmocka_unit_test(a_later_process_starts_no_earlier),
		cmocka_unit_test(what_has_gone_is_not_there),
		cmocka_unit_test(who_sleeps_and_who_is_stopped_are_told_apart),
		cmocka_unit_test(who_waits_in_the_kernel_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
