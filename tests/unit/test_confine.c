/* SPDX-License-Identifier: Apache-2.0 */
/* What a confined process can no longer do, and what it still can: each act is tried by a process
 * of its own under the table of the engine, of the prober, and of the link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/engine_confine.h"
#include "agent/prober_confine.h"
#include "shared/confine.h"
#include "shared/sanitizer.h"
#include "syncd/link_confine.h"

/* The acts: each is made with a system call that would succeed, or fail for another reason, if
 * nothing stood in its way. They return what the call returned. */

static long start_a_program(void)
{
	char *argv[] = {(char *)"true", NULL};

	return execve("/bin/true", argv, NULL);
}

static long start_a_program_by_descriptor(void)
{
	char *argv[] = {(char *)"true", NULL};

	return syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, NULL, 0);
}

static long mount_a_file_system(void)
{
	return mount("none", "/nowhere", "tmpfs", 0, NULL);
}

static long leave_the_root(void)
{
	return chroot("/");
}

static long make_a_namespace(void)
{
	return syscall(SYS_unshare, CLONE_NEWUTS);
}

static long enter_a_namespace(void)
{
	return syscall(SYS_setns, -1, 0);
}

static long become_somebody_else(void)
{
	return syscall(SYS_setuid, getuid());
}

static long take_capabilities(void)
{
	return syscall(SYS_capset, NULL, NULL);
}

static long set_the_clock(void)
{
	return syscall(SYS_clock_settime, -1, NULL);
}

static long load_a_module(void)
{
	return syscall(SYS_finit_module, -1, "", 0);
}

static long load_a_bpf_program(void)
{
	return syscall(SYS_bpf, -1, NULL, 0);
}

static long read_another_process(void)
{
	return syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0);
}

static long remove_a_file(void)
{
	return syscall(SYS_unlinkat, AT_FDCWD, "/nowhere/file", 0);
}

static long rename_a_file(void)
{
	return syscall(SYS_renameat2, AT_FDCWD, "/nowhere/a", AT_FDCWD, "/nowhere/b", 0);
}

static long change_a_mode(void)
{
	return syscall(SYS_fchmodat, AT_FDCWD, "/nowhere/file", 0777);
}

static long change_an_owner(void)
{
	return syscall(SYS_fchownat, AT_FDCWD, "/nowhere/file", 0, 0, 0);
}

static long make_a_directory(void)
{
	return syscall(SYS_mkdirat, AT_FDCWD, "/nowhere/directory", 0700);
}

static long listen_to_the_kernel(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static long listen_to_the_wire(void)
{
	return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static long watch_files(void)
{
	return syscall(SYS_inotify_init1, 0);
}

static long follow_a_process(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0);
}

static long set_up_a_ring(void)
{
	return syscall(SYS_io_uring_setup, 0, NULL);
}

#ifndef UNDER_SANITIZER /* its runtime does both */
static long make_a_process(void)
{
	return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static long trace_a_process(void)
{
	return syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
}
#endif

static void *say_so(void *ctx)
{
	*(bool *)ctx = true;
	return NULL;
}

static long make_a_thread(void)
{
	pthread_t thread;
	bool ran = false;

	errno = pthread_create(&thread, NULL, say_so, &ran);
	if (errno)
		return -1;
	errno = pthread_join(thread, NULL);
	return errno == 0 && ran ? 0 : -1;
}

static long write_to_a_file(void)
{
	return open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static long write_to_and_read_a_file(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static long make_a_file(void)
{
	return open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static long make_a_file_by_the_new_call(void)
{
	return syscall(SYS_openat2, AT_FDCWD, "/dev/null", NULL, 0);
}

#ifndef UNDER_SANITIZER
static long end_another_process(void)
{
	return kill(getppid(), 0);
}

static long end_another_process_by_thread(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), 0);
}
#endif

static long make_a_bluetooth_socket(void)
{
	return socket(AF_BLUETOOTH, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static long make_a_vsock_socket(void)
{
	return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long make_an_alg_socket(void)
{
	return socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

static long listen_for_others(void)
{
	return listen(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 1);
}

#ifndef UNDER_SANITIZER
static long map_what_can_be_written_and_executed(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED
		       ? -1
		       : 0;
}

static long make_executable(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? 0 : mprotect(page, 4096, PROT_READ | PROT_EXEC);
}
#endif

/* Tries an act in a process of its own; returns the signal that ended it, or minus the errno that
 * it got, or 0 if it succeeded. */
static int tried(long (*act)(void), int (*confine)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (confine && confine() != 0)
			_exit(200);
		_exit(act() < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status);
	assert_int_not_equal(WEXITSTATUS(status), 200);
	return -WEXITSTATUS(status);
}

struct act {
	const char *name;
	long (*fn)(void);
};

#define ACT(fn)                                                                                    \
	{                                                                                          \
#fn, fn                                                                            \
	}

struct part {
	const char *name;
	int (*confine)(void);
};

#define PARTS 3

static const struct part parts[PARTS] = {
	{"engine", engine_confine}, {"prober", prober_confine}, {"link", link_confine}};

/* Each act, tried under one table, comes to the same end: see tried(). */
static void check_end(const struct part *part, const struct act *acts, size_t count, int end)
{
	for (size_t i = 0; i < count; i++) {
		const int came_to = tried(acts[i].fn, part->confine);

		if (came_to != end)
			fail_msg("the %s, %s: %d, not %d", part->name, acts[i].name, came_to, end);
	}
}

#define CHECK_END(part, acts, end) check_end(part, acts, sizeof(acts) / sizeof *(acts), end)

static void whoever_does_what_none_of_them_does_is_killed(void **state)
{
	static const struct act acts[] = {
		ACT(start_a_program),	   ACT(start_a_program_by_descriptor),
		ACT(mount_a_file_system),  ACT(leave_the_root),
		ACT(make_a_namespace),	   ACT(enter_a_namespace),
		ACT(become_somebody_else), ACT(take_capabilities),
		ACT(set_the_clock),	   ACT(load_a_module),
		ACT(load_a_bpf_program),   ACT(read_another_process),
		ACT(remove_a_file),	   ACT(rename_a_file),
		ACT(change_a_mode),	   ACT(change_an_owner),
		ACT(make_a_directory),	   ACT(set_up_a_ring),
#ifndef UNDER_SANITIZER
		ACT(make_a_process),	   ACT(trace_a_process),
#endif
	};

	(void)state;
	/* So that it is the table that is tested: without it nothing of this kills. */
	for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
		if (tried(acts[i].fn, NULL) > 0)
			fail_msg("%s ends an unconfined process", acts[i].name);
	for (int i = 0; i < PARTS; i++)
		CHECK_END(&parts[i], acts, SIGSYS);
}

static void what_none_of_them_has_a_use_for_fails(void **state)
{
	static const struct act acts[] = {
		ACT(write_to_a_file),
		ACT(write_to_and_read_a_file),
		ACT(make_a_file),
		ACT(make_a_file_by_the_new_call),
#ifndef UNDER_SANITIZER
		ACT(end_another_process_by_thread),
		ACT(end_another_process),
		ACT(map_what_can_be_written_and_executed),
		ACT(make_executable),
#endif
		ACT(make_a_bluetooth_socket),
		ACT(make_a_vsock_socket),
		ACT(make_an_alg_socket),
		ACT(listen_for_others),
	};

	(void)state;
	for (int i = 0; i < PARTS; i++)
		CHECK_END(&parts[i], acts, -ENOSYS);
}

static void what_one_of_them_does_the_others_cannot(void **state)
{
	static const struct act engines[] = {ACT(listen_to_the_kernel), ACT(listen_to_the_wire),
					     ACT(watch_files), ACT(follow_a_process)};
#ifndef UNDER_SANITIZER
	static const struct act probers[] = {ACT(make_a_thread)};
#endif

	(void)state;
	CHECK_END(&parts[0], engines, 0);
	CHECK_END(&parts[1], engines, -ENOSYS);
	CHECK_END(&parts[2], engines, -ENOSYS);
#ifndef UNDER_SANITIZER /* whose runtime makes threads */
	CHECK_END(&parts[0], probers, -ENOSYS);
	CHECK_END(&parts[2], probers, -ENOSYS);
#endif
}

static long read_a_file(void)
{
	char byte;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : read(fd, &byte, 1);
}

static long read_a_directory(void)
{
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

static long use_memory(void)
{
	char *bytes = malloc(1 << 24);

	if (!bytes)
		return -1;
	memset(bytes, 1, 1 << 24);
	free(bytes);
	return 0;
}

static long make_sockets(void)
{
	static const int families[] = {AF_INET, AF_INET6, AF_UNIX};

	for (size_t i = 0; i < sizeof families / sizeof *families; i++)
		if (socket(families[i], SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0 &&
		    errno != EAFNOSUPPORT) /* a kernel without IPv6 */
			return -1;
	return 0;
}

static void what_they_all_do_is_let_through(void **state)
{
	static const struct act acts[] = {ACT(read_a_file), ACT(read_a_directory), ACT(use_memory),
					  ACT(make_sockets)};

	(void)state;
	for (int i = 0; i < PARTS; i++)
		CHECK_END(&parts[i], acts, 0);
}

static void *resolve(void *ctx)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;

	*(int *)ctx = getaddrinfo("localhost", "80", &hints, &found);
	if (*(int *)ctx == 0)
		freeaddrinfo(found);
	return NULL;
}

/* As libcurl does it. */
static long resolve_a_name_in_a_thread(void)
{
	pthread_t thread;
	int error;

	errno = pthread_create(&thread, NULL, resolve, &error);
	if (errno)
		return -1;
	errno = pthread_join(thread, NULL);
	return errno == 0 && error == 0 ? 0 : -1;
}

static long say_the_name_of_the_host(void)
{
	struct utsname names;

	return uname(&names);
}

static void what_the_prober_does_beside_is_let_through(void **state)
{
	static const struct act acts[] = {ACT(make_a_thread), ACT(resolve_a_name_in_a_thread),
					  ACT(say_the_name_of_the_host)};

	(void)state;
	CHECK_END(&parts[1], acts, 0);
}

static long fail_an_assert(void)
{
	abort();
}

static void an_assert_that_fails_still_ends_it_as_one(void **state)
{
	static const struct act acts[] = {ACT(fail_an_assert)};

	(void)state;
	for (int i = 0; i < PARTS; i++)
		CHECK_END(&parts[i], acts, SIGABRT);
}

static int confine_wrongly(void)
{
	static const struct confine_row rows[] = {{"no_such_call", 0, 0, 0}};

	return confine_enter(rows, 1) == -ENOENT ? 0 : -1;
}

static long do_nothing(void)
{
	return 0;
}

static void a_row_that_names_no_call_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(tried(do_nothing, confine_wrongly), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whoever_does_what_none_of_them_does_is_killed),
		cmocka_unit_test(what_none_of_them_has_a_use_for_fails),
		cmocka_unit_test(what_one_of_them_does_the_others_cannot),
		cmocka_unit_test(what_they_all_do_is_let_through),
		cmocka_unit_test(what_the_prober_does_beside_is_let_through),
		cmocka_unit_test(an_assert_that_fails_still_ends_it_as_one),
		cmocka_unit_test(a_row_that_names_no_call_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
