/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/engine_confine.h"

#include <sys/socket.h>

#include "shared/confine.h"

static const struct confine_row rows[] = {
	/* adverts, announcements, netlink; sockets are made anew when an interface comes back */
	{"socket", 0, CONFINE_EXACTLY, AF_INET},
	{"socket", 0, CONFINE_EXACTLY, AF_INET6},
	{"socket", 0, CONFINE_EXACTLY, AF_PACKET},
	{"socket", 0, CONFINE_EXACTLY, AF_NETLINK},
	{"recvmmsg", 0, 0, 0},
	/* checks of processes and of files */
	{"pidfd_open", 0, 0, 0},
	{"inotify_init1", 0, 0, 0},
	{"inotify_add_watch", 0, 0, 0},
	{"inotify_rm_watch", 0, 0, 0},
};

int engine_confine(void)
{
	return confine_enter(rows, sizeof rows / sizeof *rows);
}
