/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe_judge: whether an HTTP answer is the one that is wanted. Pure.
 *
 *   probe_judge_init(), then for each piece of the body probe_judge_body() until it says that it
 *   has seen enough, then probe_judge_verdict().
 *
 * What is looked for is found across the borders of the pieces too. Only the first
 * PROBE_BODY_BYTES_MAX bytes count, however long the body is: a server under test, or whoever
 * answers in its place, decides neither how much memory nor how much time a check takes.
 */
#ifndef TANDEM_PROBE_JUDGE_H
#define TANDEM_PROBE_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/conf.h"

#define PROBE_BODY_BYTES_MAX 65536

enum probe_verdict { PROBE_GOOD, PROBE_STATUS_WRONG, PROBE_BODY_LACKS, PROBE_VERDICTS };

struct probe_judge {
	const struct conf_status *statuses; /* borrowed */
	int statuses_count;
	const char *wanted; /* borrowed; NULL: any body will do */
	size_t wanted_size;
	size_t seen; /* bytes of the body */
	bool found;
	/* The last bytes of what came before, and what has just come. */
	size_t held;
	uint8_t window[2 * CONF_PROBE_BODY_BYTES_MAX];
};

/* wanted_size: at most CONF_PROBE_BODY_BYTES_MAX; 0: any body will do. */
void probe_judge_init(struct probe_judge *judge, const struct conf_status *statuses,
		      int statuses_count, const char *wanted, size_t wanted_size);
/* True if no more of the body can change the verdict. */
bool probe_judge_body(struct probe_judge *judge, const void *data, size_t size);
bool probe_judge_status_is_good(const struct probe_judge *judge, long status);
enum probe_verdict probe_judge_verdict(const struct probe_judge *judge, long status);

#endif
