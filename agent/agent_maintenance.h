/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_maintenance: whether this node is in maintenance, kept over restarts: a file in the state
 * directory that is there or not. The runner's; root alone writes it.
 */
#ifndef TANDEM_AGENT_MAINTENANCE_H
#define TANDEM_AGENT_MAINTENANCE_H

#include <stdbool.h>

/* 0, or -errno if it cannot be known; *ret_on is then false. */
int agent_maintenance_read(const char *state_dir, bool *ret_on);
/* Durable when it returns 0. Makes the directory. -errno: it is as it was. */
int agent_maintenance_write(const char *state_dir, bool on);

#endif
