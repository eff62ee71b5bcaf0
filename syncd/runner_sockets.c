/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/runner_sockets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shared/ctl.h"
#include "shared/log.h"
#include "syncd/link.h"

#define START_TRIES 50
#define START_GAP_NS 100000000

void runner_sockets_init(struct runner_sockets *sockets, const char *run_dir)
{
	*sockets = (struct runner_sockets){.control_fd = -1, .listen_fd = -1};
	snprintf(sockets->control_path, sizeof sockets->control_path, "%s/syncd.sock", run_dir);
}

/* quiet: an address in use is not said, as it is tried again. */
static int make_control(struct runner_sockets *sockets, const struct conf *conf, bool quiet)
{
	int fd;
	int r;

	if (sockets->control_fd >= 0 && strcmp(sockets->control_group, conf->control_group) == 0)
		return 0;
	r = ctl_listen(sockets->control_path, conf->control_group, &fd);
	if (r < 0 && !(quiet && r == -EADDRINUSE))
		log_err("%s: cannot be made: %s%s", sockets->control_path, strerror(-r),
			r == -EADDRINUSE ? "; is another tandem-syncd running in this directory?"
					 : "");
	if (r < 0)
		return r;
	if (sockets->control_fd >= 0)
		close(sockets->control_fd);
	sockets->control_fd = fd;
	free(sockets->control_group);
	sockets->control_group = strdup(conf->control_group);
	return sockets->control_group ? 0 : -ENOMEM;
}

static int make_listener(struct runner_sockets *sockets, const struct conf *conf, bool quiet)
{
	const struct conf_node *self = &conf->nodes[conf->self];
	char why[512];
	int fd;
	int r;

	if (sockets->listen_fd >= 0 && ip_equal(&sockets->listen_address, &self->address) &&
	    sockets->listen_port == self->link_port)
		return 0;
	r = link_listen(&self->address, self->link_port, &fd, why, sizeof why);
	if (r < 0 && !(quiet && r == -EADDRINUSE))
		log_err("%s", why);
	if (r < 0)
		return r;
	if (sockets->listen_fd >= 0)
		close(sockets->listen_fd);
	sockets->listen_fd = fd;
	sockets->listen_address = self->address;
	sockets->listen_port = self->link_port;
	return 0;
}

/* At start, a runner that was killed may have left a keeper or link behind that is only just being
 * ended by the kernel (it cannot be interrupted while it waits for the disk). */
int runner_sockets_make_first(struct runner_sockets *sockets, const struct conf *conf)
{
	struct timespec gap = {.tv_nsec = START_GAP_NS};
	int r = 0;

	for (int i = 0; i < START_TRIES; i++) {
		bool last = i == START_TRIES - 1;

		r = make_control(sockets, conf, !last);
		if (r == 0)
			r = make_listener(sockets, conf, !last);
		if (r != -EADDRINUSE)
			return r;
		if (!last)
			nanosleep(&gap, NULL);
	}
	return r;
}

int runner_sockets_make(struct runner_sockets *sockets, const struct conf *conf)
{
	int r = make_control(sockets, conf, false);

	return r < 0 ? r : make_listener(sockets, conf, false);
}

void runner_sockets_release(struct runner_sockets *sockets)
{
	if (sockets->control_fd >= 0) {
		close(sockets->control_fd);
		unlink(sockets->control_path);
	}
	if (sockets->listen_fd >= 0)
		close(sockets->listen_fd);
	free(sockets->control_group);
}
