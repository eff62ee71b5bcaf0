/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem-prober: what tandem-agent starts to speak with strangers; not for people.
 *
 * A program of its own, unlike the engine: it begins with an empty memory, in which nothing of the
 * configuration was ever, and libcurl with the thirty libraries behind it is not in the processes
 * that hold the addresses, one of which locks its memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/prober.h"
#include "shared/log.h"

int main(int argc, char **argv)
{
	struct prober_start start = {.channel_fd = PROBER_CHANNEL_FD};
	struct log_options log = {.ident = "tandem-agent"};
	unsigned uid, gid, to_syslog;

	if (argc != 2 || sscanf(argv[1], PROBER_ARGUMENT, &uid, &gid, &to_syslog, &log.facility,
				&log.level) != 5) {
		fputs("tandem-prober is started by tandem-agent\n", stderr);
		return 2;
	}
	start.user = (struct priv_user){.uid = uid, .gid = gid};
	log.to_syslog = to_syslog;
	log_open(&log);
	log_set_process("prober");
	return prober_main(&start);
}
