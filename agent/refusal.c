/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/refusal.h"

#include <string.h>

static struct refusal *find(struct refusals *refusals, enum vrrp_verdict verdict,
			    const struct ip_addr *source)
{
	for (int i = 0; i < refusals->count; i++)
		if (refusals->list[i].verdict == verdict &&
		    ip_equal(&refusals->list[i].source, source))
			return &refusals->list[i];
	return NULL;
}

/* A free place, or the one that was silent the longest, if that is long enough. */
static struct refusal *find_place(struct refusals *refusals, uint64_t now_us)
{
	struct refusal *oldest = &refusals->list[0];

	if (refusals->count < REFUSALS_MAX)
		return &refusals->list[refusals->count++];
	for (int i = 1; i < refusals->count; i++)
		if (refusals->list[i].last_us < oldest->last_us)
			oldest = &refusals->list[i];
	return now_us - oldest->last_us >= REFUSAL_OLD_US ? oldest : NULL;
}

bool refusal_note(struct refusals *refusals, enum vrrp_verdict verdict,
		  const struct ip_addr *source, int node, uint64_t now_us)
{
	struct refusal *refusal = find(refusals, verdict, source);
	bool first = !refusal;

	if (first) {
		refusal = find_place(refusals, now_us);
		if (!refusal) {
			refusals->others++;
			return false;
		}
		memset(refusal, 0, sizeof *refusal);
		refusal->verdict = verdict;
		refusal->source = *source;
	}
	refusal->node = node;
	refusal->count++;
	refusal->last_us = now_us;
	return first;
}
