/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_claims: sets of addresses, each on an interface, and the file that remembers one of them:
 * what this agent may have added, written before it adds it, so that a start after a crash knows
 * which addresses are its own.
 *
 * A set begins as {0}, and agent_claims_release() makes it that again.
 */
#ifndef TANDEM_AGENT_CLAIMS_H
#define TANDEM_AGENT_CLAIMS_H

#include <net/if.h>
#include <stdbool.h>

#include "shared/conf.h"
#include "shared/ip.h"

#define AGENT_CLAIMS_FILE "addresses" /* in the run directory */
#define AGENT_CLAIMS_MAX (2 * CONF_VRRP_MAX * CONF_VIPS_MAX)

struct agent_claim {
	char ifname[IF_NAMESIZE];
	struct ip_addr addr;
};

struct agent_claims {
	struct agent_claim *items;
	int count, room;
};

bool agent_claims_has(const struct agent_claims *claims, const char *ifname,
		      const struct ip_addr *addr);
/* 0 also if it was in it; -ENOSPC: AGENT_CLAIMS_MAX are; -ENOMEM. */
int agent_claims_add(struct agent_claims *claims, const char *ifname, const struct ip_addr *addr);
void agent_claims_release(struct agent_claims *claims);

/* Adds what the file names. One of before this boot counts as empty, and so does one that is not
 * there or, after a word in the log, cannot be read. -errno: no run directory, no memory. */
int agent_claims_read(struct agent_claims *claims, const char *run_dir);
/* Replaces the file durably; -errno. */
int agent_claims_write(const struct agent_claims *claims, const char *run_dir);

#endif
