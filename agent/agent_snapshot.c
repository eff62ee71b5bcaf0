/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent_snapshot.h"

#include <stdlib.h>

struct agent_snapshot *agent_snapshot_new(struct conf_snapshot *conf)
{
	struct agent_snapshot *snapshot = malloc(sizeof *snapshot);

	if (!snapshot)
		return NULL;
	snapshot->conf = *conf;
	snapshot->references = 1;
	return snapshot;
}

struct agent_snapshot *agent_snapshot_hold(struct agent_snapshot *snapshot)
{
	snapshot->references++;
	return snapshot;
}

struct agent_snapshot *agent_snapshot_drop(struct agent_snapshot *snapshot)
{
	if (snapshot && --snapshot->references == 0) {
		conf_snapshot_release(&snapshot->conf);
		free(snapshot);
	}
	return NULL;
}
