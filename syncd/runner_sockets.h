/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runner_sockets: the two sockets of tandem-syncd that need rights to be made: the control socket
 * and the one that the link listens on. Made by the runner, served by its children; made again
 * where a new configuration wants others.
 */
#ifndef TANDEM_RUNNER_SOCKETS_H
#define TANDEM_RUNNER_SOCKETS_H

#include "shared/conf.h"

struct runner_sockets {
	char control_path[4096];
	int control_fd; /* -1: not made */
	char *control_group;
	int listen_fd; /* -1: not made */
	struct ip_addr listen_address;
	uint16_t listen_port;
};

void runner_sockets_init(struct runner_sockets *sockets, const char *run_dir);
/* Makes what is not there as conf wants it. -errno, and what is wrong has been logged. */
int runner_sockets_make(struct runner_sockets *sockets, const struct conf *conf);
/* The same at start: waits a while for a predecessor that is only just ending. Blocks. */
int runner_sockets_make_first(struct runner_sockets *sockets, const struct conf *conf);
/* Closes them and takes the control socket's name away. */
void runner_sockets_release(struct runner_sockets *sockets);

#endif
