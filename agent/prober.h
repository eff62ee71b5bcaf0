/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prober: the process that speaks with strangers: TCP and HTTP(S) checks, mail.
 *
 * It runs as a user of its own without any capability, knows nothing of the configuration, holds
 * nothing that is worth having, and may be killed at any moment: the runner starts another, the
 * engine asks again. It beats to the runner, which kills one that hangs.
 */
#ifndef TANDEM_PROBER_H
#define TANDEM_PROBER_H

#include "shared/priv.h"

/* How the runner starts the program: its end of the channel, and one argument. */
#define PROBER_CHANNEL_FD 3
#define PROBER_ARGUMENT "%u:%u:%u:%d:%d" /* uid, gid, to syslog?, facility, level */

struct prober_start {
	int channel_fd;	       /* to the runner */
	struct priv_user user; /* to become; uid 0: stay root (tests of the prober alone) */
};

/* Runs until the runner goes away. Takes over the descriptor. The exit status. */
int prober_main(const struct prober_start *start);

#endif
