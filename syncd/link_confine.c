/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/link_confine.h"

#include <sys/socket.h>

#include "shared/confine.h"

/* It dials; the sockets that it accepts on come from the runner. TLS is memory alone. */
static const struct confine_row rows[] = {
	{"socket", 0, CONFINE_EXACTLY, AF_INET},
	{"socket", 0, CONFINE_EXACTLY, AF_INET6},
};

int link_confine(void)
{
	return confine_enter(rows, sizeof rows / sizeof *rows);
}
