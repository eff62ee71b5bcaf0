/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/prober_confine.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "shared/confine.h"

#define NEW_NAMESPACES                                                                             \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	 CLONE_NEWPID | CLONE_NEWNET)

static const struct confine_row rows[] = {
	/* Whom it asks. Not AF_NETLINK: the resolver would like to know the machine's addresses,
	 * and does without. */
	{"socket", 0, CONFINE_EXACTLY, AF_INET},
	{"socket", 0, CONFINE_EXACTLY, AF_INET6},
	{"ioctl", 1, CONFINE_EXACTLY, FIONREAD},
	/* a name is resolved by a thread, which wakes the loop when it has done so */
	{"clone", 0, CLONE_THREAD | NEW_NAMESPACES, CLONE_THREAD},
	{"set_robust_list", 0, 0, 0},
	{"rseq", 0, 0, 0},
	{"sched_getaffinity", 0, 0, 0},
	{"socketpair", 0, CONFINE_EXACTLY, AF_UNIX},
	{"pipe2", 0, 0, 0},
	{"eventfd2", 0, 0, 0},
	/* the host's name, in a mail */
	{"uname", 0, 0, 0},
};

int prober_confine(void)
{
	return confine_enter(rows, sizeof rows / sizeof *rows);
}
