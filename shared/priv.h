/* SPDX-License-Identifier: Apache-2.0 */
/*
 * priv: users, capabilities and scheduling of a process that gives up what it does not need.
 */
#ifndef TANDEM_PRIV_H
#define TANDEM_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct priv_user {
	uid_t uid;
	gid_t gid;
};

/* The account's ids. Where the host has no such account (a run from the build folder), unused
 * numeric ids stand in, a different one for each of our own accounts, and *ret_stand_in is true;
 * -ENOENT for any other name. */
int priv_user_find(const char *name, struct priv_user *ret_user, bool *ret_stand_in);
/* Changes to user for good, keeps the capabilities named in keep (bit = CAP_*; permitted,
 * effective, nothing inheritable, ambient empty), empties the bounding set otherwise, sets
 * no_new_privs, and asks to be killed by SIGKILL when the parent dies (set after the change of ids,
 * which clears it). A negative errno: the process is half changed and must _exit(). */
int priv_drop(const struct priv_user *user, uint64_t keep);
/* SCHED_RR at the lowest real-time priority, reset on fork. -EPERM where the cgroup forbids it. */
int priv_realtime(void);
/* mlockall and a stack touched beforehand; raises RLIMIT_MEMLOCK first, which needs to be root, so
 * before priv_drop(). Where the limit cannot be raised only what is mapped now is locked. Locks do
 * not pass to a forked child. */
int priv_lock_memory(void);
/* Closes every descriptor from 3 on but those in keep (sorted in place; -1 is passed over): what a
 * process forked from the runner does first with what it has inherited and does not need. */
void priv_close_fds(int *keep, size_t keep_count);
/* "5.10 or newer": checks openat2, pidfd_open and the kernel's version; -ENOSYS and a sentence. */
int priv_kernel_check(char *text, size_t room);

#endif
