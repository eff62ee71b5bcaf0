/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/arrival.h"

bool arrival_look(struct arrival *arrival, int64_t monotonic_us, int64_t wall_us)
{
	int64_t offset_us = monotonic_us - wall_us;
	int64_t moved_us = offset_us - arrival->offset_us;
	bool still = arrival->known && moved_us <= ARRIVAL_DRIFT_US_MAX &&
		     moved_us >= -ARRIVAL_DRIFT_US_MAX;

	arrival->offset_us = offset_us;
	arrival->known = true;
	return still;
}

uint64_t arrival_us(const struct arrival *arrival, bool still, int64_t wall_us, uint64_t empty_us,
		    uint64_t now_us)
{
	int64_t at_us;

	if (!still || !arrival->known)
		return now_us;
	at_us = wall_us + arrival->offset_us;
	if (at_us < 0 || (uint64_t)at_us < empty_us)
		return empty_us < now_us ? empty_us : now_us;
	return (uint64_t)at_us < now_us ? (uint64_t)at_us : now_us;
}
