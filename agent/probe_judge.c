/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/probe_judge.h"

#include <assert.h>
#include <string.h>

void probe_judge_init(struct probe_judge *judge, const struct conf_status *statuses,
		      int statuses_count, const char *wanted, size_t wanted_size)
{
	assert(wanted_size <= CONF_PROBE_BODY_BYTES_MAX);
	memset(judge, 0, sizeof *judge);
	judge->statuses = statuses;
	judge->statuses_count = statuses_count;
	judge->wanted = wanted;
	judge->wanted_size = wanted_size;
	judge->found = wanted_size == 0;
}

bool probe_judge_body(struct probe_judge *judge, const void *data, size_t size)
{
	const uint8_t *at = data;

	while (size > 0 && judge->seen < PROBE_BODY_BYTES_MAX) {
		size_t piece = sizeof judge->window - judge->held;

		if (piece > size)
			piece = size;
		if (piece > PROBE_BODY_BYTES_MAX - judge->seen)
			piece = PROBE_BODY_BYTES_MAX - judge->seen;
		judge->seen += piece;
		if (!judge->found) {
			size_t kept = judge->wanted_size - 1;

			memcpy(judge->window + judge->held, at, piece);
			judge->held += piece;
			judge->found = memmem(judge->window, judge->held, judge->wanted,
					      judge->wanted_size) != NULL;
			if (kept > judge->held)
				kept = judge->held;
			memmove(judge->window, judge->window + judge->held - kept, kept);
			judge->held = kept;
		}
		at += piece;
		size -= piece;
	}
	return judge->seen == PROBE_BODY_BYTES_MAX || (judge->found && judge->wanted_size > 0);
}

bool probe_judge_status_is_good(const struct probe_judge *judge, long status)
{
	for (int i = 0; i < judge->statuses_count; i++)
		if (status >= judge->statuses[i].first && status <= judge->statuses[i].last)
			return true;
	return false;
}

enum probe_verdict probe_judge_verdict(const struct probe_judge *judge, long status)
{
	if (!probe_judge_status_is_good(judge, status))
		return PROBE_STATUS_WRONG;
	return judge->found ? PROBE_GOOD : PROBE_BODY_LACKS;
}
