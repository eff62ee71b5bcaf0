/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "shared/sanitizer.h"

/* Neither an account's nor systemd's: 60578 to 61183 is unassigned in its table of ids, and it lies
 * within the 65,536 ids that a container usually has. */
#define STAND_IN_FIRST 60600
#define STAND_IN_STEP 8
#define STAND_IN_TRIES 64

static const char *const stand_in_names[STAND_IN_STEP] = {"tandem-agent", "tandem-syncd",
							  "tandem-probe"};

static bool id_is_used(uid_t id)
{
	return getpwuid(id) || getgrgid(id);
}

int priv_user_find(const char *name, struct priv_user *ret_user, bool *ret_stand_in)
{
	const struct passwd *account;

	errno = 0;
	account = getpwnam(name);
	if (account) {
		*ret_user = (struct priv_user){.uid = account->pw_uid, .gid = account->pw_gid};
		*ret_stand_in = false;
		return 0;
	}
	/* "No such account" has many faces; a lookup that could not be made has these, and then it
	 * is not known that nobody owns a stand-in. */
	if (errno == EIO || errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EINTR)
		return -errno;
	for (unsigned int i = 0; i < STAND_IN_STEP && stand_in_names[i]; i++) {
		if (strcmp(stand_in_names[i], name) != 0)
			continue;
		for (unsigned int try = 0; try < STAND_IN_TRIES; try++) {
			uid_t id = STAND_IN_FIRST + try * STAND_IN_STEP + i;

			if (id_is_used(id))
				continue;
			*ret_user = (struct priv_user){.uid = id, .gid = id};
			*ret_stand_in = true;
			return 0;
		}
	}
	return -ENOENT;
}

static int set_capabilities(uint64_t keep)
{
	cap_t caps = cap_init();
	int r = 0;

	if (!caps)
		return -ENOMEM;
	for (cap_value_t cap = 0; cap <= CAP_LAST_CAP; cap++) {
		if (!(keep & (UINT64_C(1) << cap)))
			continue;
		if (cap_set_flag(caps, CAP_PERMITTED, 1, &cap, CAP_SET) < 0 ||
		    cap_set_flag(caps, CAP_EFFECTIVE, 1, &cap, CAP_SET) < 0)
			r = -errno;
	}
	if (r == 0 && cap_set_proc(caps) < 0)
		r = -errno;
	cap_free(caps);
	return r;
}

int priv_drop(const struct priv_user *user, uint64_t keep)
{
	pid_t parent = getppid();
	uid_t real, effective, saved;
	int r;

	/* While CAP_SETPCAP is still there. The kernel may know more of them than our headers. */
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (cap < 64 && keep & (UINT64_C(1) << cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	}
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
	    setresgid(user->gid, user->gid, user->gid) < 0 ||
	    setresuid(user->uid, user->uid, user->uid) < 0 ||
	    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return -errno;
	r = set_capabilities(keep);
	if (r < 0)
		return r;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
#ifdef UNDER_SANITIZER
	/* The leak check at exit traces its own process, which setresuid(2) has just forbidden. */
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
#endif
	/* The change of ids has cleared whatever was asked for before it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	if (getppid() != parent)
		return -ESRCH; /* it died before it could be said */
	if (getresuid(&real, &effective, &saved) < 0 || real != user->uid ||
	    effective != user->uid || saved != user->uid)
		return -EPERM;
	if (user->uid != 0 && setresuid(0, 0, 0) == 0)
		return -EPERM;
	return 0;
}

int priv_realtime(void)
{
	struct sched_param param = {.sched_priority = sched_get_priority_min(SCHED_RR)};

	/* The system call itself: musl's function of that name always says ENOSYS. */
	return syscall(SYS_sched_setscheduler, 0, SCHED_RR | SCHED_RESET_ON_FORK, &param) < 0
		       ? -errno
		       : 0;
}

/* A locked stack that has to grow later may not be allowed to (see below), which is SIGSEGV. */
static void touch_stack(void)
{
	volatile char stack[512 * 1024];

	for (size_t i = 0; i < sizeof(stack); i += 1024)
		stack[i] = 0;
}

int priv_lock_memory(void)
{
	const struct rlimit unlimited = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
	int flags = MCL_CURRENT | MCL_FUTURE;

	touch_stack();
	/* Once CAP_IPC_LOCK is gone, the limit counts: with MCL_FUTURE every allocation past it
	 * would fail. Where it cannot be raised (a container without CAP_SYS_RESOURCE), what is
	 * here now is locked and what comes later is not. */
	if (setrlimit(RLIMIT_MEMLOCK, &unlimited) < 0) {
		if (errno != EPERM)
			return -errno;
		flags = MCL_CURRENT;
	}
	return mlockall(flags) < 0 ? -errno : 0;
}

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

void priv_close_fds(int *keep, size_t keep_count)
{
	unsigned int first = 3;

	qsort(keep, keep_count, sizeof(*keep), compare_ints);
	for (size_t i = 0; i < keep_count; i++) {
		unsigned int fd = (unsigned int)keep[i];

		if (keep[i] < 3 || fd < first)
			continue;
		if (fd > first)
			(void)syscall(SYS_close_range, first, fd - 1, 0);
		first = fd + 1;
	}
	(void)syscall(SYS_close_range, first, ~0U, 0);
}

int priv_kernel_check(char *text, size_t room)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC | O_DIRECTORY};
	struct utsname name;
	unsigned int major = 0, minor = 0;
	const char *missing = NULL;
	long fd;

	if (room > 0)
		text[0] = '\0';
	if (uname(&name) < 0)
		return -errno;
	if (sscanf(name.release, "%u.%u", &major, &minor) != 2 || major < 5 ||
	    (major == 5 && minor < 10)) {
		(void)snprintf(
			text, room,
			"tandem needs Linux 5.10 or newer and this host runs %s; boot a newer "
			"kernel",
			name.release);
		return -ENOSYS;
	}
	fd = syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
	if (fd >= 0)
		close((int)fd);
	else if (errno == ENOSYS || errno == EPERM)
		missing = "openat2";
	fd = syscall(SYS_pidfd_open, getpid(), 0);
	if (fd >= 0)
		close((int)fd);
	else
		missing = "pidfd_open";
	if (missing) {
		(void)snprintf(text, room,
			       "the system call %s is not to be had on this host (Linux %s); a "
			       "container's seccomp profile must let it through",
			       missing, name.release);
		return -ENOSYS;
	}
	return 0;
}
