/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runner_commands: validate and reload, for the keeper, by place.
 *
 * Takes KEEPER_MSG_RUN, looks the command up in the snapshot, starts it (validate in a view), and
 * answers with RUNNER_MSG_DONE. At most RUNNER_COMMANDS_MAX run at a time, more are answered with
 * "not judged".
 */
#ifndef TANDEM_RUNNER_COMMANDS_H
#define TANDEM_RUNNER_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/conf.h"
#include "shared/loop.h"
#include "shared/msg.h"

#define RUNNER_COMMANDS_MAX (2 * CONF_MIRRORS_MAX)

struct runner_commands;

/* scratch: an existing directory in which views are built; copied. */
int runner_commands_new(struct loop *loop, const char *scratch,
			struct runner_commands **ret_commands);
struct runner_commands *runner_commands_free(struct runner_commands *commands);
/* false: the message makes no sense, and its sender is broken. */
bool runner_commands_take(struct runner_commands *commands, const struct conf_snapshot *snapshot,
			  struct msg_channel *channel, const uint8_t *payload, size_t size);
/* The keeper has gone: kills what runs, answers nothing. */
void runner_commands_abandon(struct runner_commands *commands);

#endif
