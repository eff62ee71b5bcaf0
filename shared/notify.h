/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify: the daemon's half of sd_notify(3), spoken by hand: one datagram to $NOTIFY_SOCKET.
 *
 * Only the main process of a daemon (its runner) calls this: the units say NotifyAccess=main.
 */
#ifndef TANDEM_NOTIFY_H
#define TANDEM_NOTIFY_H

#include <stdint.h>

/* state: "READY=1", "STOPPING=1", "RELOADING=1", "WATCHDOG=1", "STATUS=...", or several with
 * newlines between. Nothing happens where no service manager listens; a failure is not an error.
 * "RELOADING=1" is given the MONOTONIC_USEC that newer managers ask for beside it. Never blocks. */
void notify_service(const char *state);

/* Microseconds within which the manager wants the next "WATCHDOG=1" (WATCHDOG_USEC, if it is meant
 * for this process); 0 if it wants none. Half of it is the customary interval. */
uint64_t notify_watchdog_us(void);

#endif
