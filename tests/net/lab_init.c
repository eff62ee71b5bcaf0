/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab_init: makes a host of the laboratory (tests/net/lab.py) and is its process 1.
 *
 *   lab_init SCRIPT     SCRIPT is run by sh inside the new host, to make its mounts
 *
 * The host has network, mount, process, IPC and name spaces of its own. Process 1 says "ready" once
 * they stand, holds them open, and reaps what is orphaned in them. When it is killed the kernel
 * kills every process of the host with it, and the interfaces and mounts go too: that is both the
 * laboratory's power switch and its clean-up. It dies with the process that started it.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "lab_init: %s: %s\n", what, strerror(errno));
	return 1;
}

static int be_process_one(const char *script)
{
	sigset_t children;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "tdm-init");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail("cannot make the mounts private (in a chroot: bind it onto itself "
			    "before entering it, mount --bind DIR DIR)");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return fail("cannot mount /proc");
	if (system(script) != 0)
		return 1;
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	if (write(STDOUT_FILENO, "ready\n", 6) != 6)
		return 1;
	close(STDOUT_FILENO);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		sigwaitinfo(&children, NULL);
	}
}

int main(int argc, char **argv)
{
	pid_t one;

	if (argc != 2)
		return 2;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID) < 0)
		return fail("new namespaces");
	one = fork();
	if (one < 0)
		return fail("fork");
	if (one == 0)
		_exit(be_process_one(argv[1]));
	prctl(PR_SET_NAME, "tdm-parent");
	close(STDOUT_FILENO);
	while (waitpid(one, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}
