/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_snapshot: a configuration snapshot that is kept for as long as something names a place in
 * it: the engine that works by it, a hook that waits.
 */
#ifndef TANDEM_AGENT_SNAPSHOT_H
#define TANDEM_AGENT_SNAPSHOT_H

#include "shared/conf.h"

struct agent_snapshot {
	struct conf_snapshot conf; /* owned */
	int references;
};

/* Takes over *conf; one reference, the caller's. NULL: no memory, conf is then still the caller's.
 */
struct agent_snapshot *agent_snapshot_new(struct conf_snapshot *conf);
/* One reference more, and one less; the last one frees it. */
struct agent_snapshot *agent_snapshot_hold(struct agent_snapshot *snapshot);
struct agent_snapshot *agent_snapshot_drop(struct agent_snapshot *snapshot); /* returns NULL */

#endif
