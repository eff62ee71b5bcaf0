/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/settle.h"

#include <string.h>

void settle_init(struct settle *s)
{
	memset(s, 0, sizeof *s);
	s->deadline_us = SETTLE_NEVER_US;
}

static uint64_t max_us(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min_us(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t quiet_us(const struct settle *s)
{
	uint64_t quiet = s->gentle ? SETTLE_QUIET_WRITTEN_US : SETTLE_QUIET_ATOMIC_US;

	for (uint32_t i = 1; i < s->changes && quiet < SETTLE_QUIET_MAX_US; i++)
		quiet *= 2;
	return min_us(quiet, SETTLE_QUIET_MAX_US);
}

/* The next publication keeps its distance from the one before: what changes meanwhile rides along
 * instead of costing a reload of its own. */
static uint64_t after_gap(const struct settle *s, uint64_t deadline_us)
{
	if (s->published_us == 0)
		return deadline_us;
	return max_us(deadline_us, s->published_us + SETTLE_PUBLISH_GAP_US);
}

static void start(struct settle *s, uint64_t now_us)
{
	s->restless = true;
	s->gentle = false;
	s->changes = 0;
	s->first_us = now_us;
	s->counted_us = 0;
	s->open_us = 0;
}

static void count(struct settle *s, uint64_t now_us)
{
	if (s->changes == 0 || now_us - s->counted_us > SETTLE_ONE_CHANGE_US)
		s->changes++;
	s->counted_us = now_us;
}

void settle_change(struct settle *s, enum settle_kind kind, uint64_t now_us)
{
	if (!s->restless)
		start(s, now_us);
	switch (kind) {
	case SETTLE_OPEN:
		s->open_us = now_us + SETTLE_QUIET_OPEN_US;
		break;
	case SETTLE_WRITTEN:
		s->open_us = 0;
		s->gentle = true;
		count(s, now_us);
		break;
	case SETTLE_REPLACED:
		/* Write beside, rename over: the writing and the rename are one atomic save,
		 * however long the writer synced in between. */
		s->open_us = 0;
		if (s->changes <= 1) {
			s->changes = 1;
			s->gentle = false;
			s->counted_us = now_us;
		} else {
			count(s, now_us);
		}
		break;
	case SETTLE_ATOMIC:
		count(s, now_us);
		break;
	}
	s->scanned = false;
	s->deadline_us = after_gap(s, min_us(max_us(now_us + quiet_us(s), s->open_us),
					     s->first_us + SETTLE_WAIT_MAX_US));
}

void settle_want(struct settle *s, uint64_t now_us)
{
	if (s->restless)
		return;
	start(s, now_us);
	s->scanned = false;
	s->deadline_us = now_us;
}

uint64_t settle_deadline(const struct settle *s)
{
	return s->restless ? s->deadline_us : SETTLE_NEVER_US;
}

enum settle_verdict settle_scanned(struct settle *s,
				   const uint8_t fingerprint[SETTLE_FINGERPRINT_BYTES],
				   uint64_t now_us)
{
	/* A tree that never rests is taken as it is: every file was whole when it was read, and
	 * `validate` judges the set. */
	bool patience_is_over = now_us >= s->first_us + SETTLE_WAIT_MAX_US;
	bool equal = s->scanned && memcmp(s->fingerprint, fingerprint, sizeof s->fingerprint) == 0;

	if (equal || patience_is_over) {
		s->deadline_us = SETTLE_NEVER_US;
		return SETTLE_SETTLED;
	}
	memcpy(s->fingerprint, fingerprint, sizeof s->fingerprint);
	s->scanned = true;
	s->deadline_us = s->gentle ? now_us + quiet_us(s) / 2 : now_us;
	return SETTLE_AGAIN;
}

void settle_published(struct settle *s, uint64_t now_us)
{
	s->published_us = now_us;
	if (s->restless)
		s->deadline_us = after_gap(s, s->deadline_us);
}

void settle_clear(struct settle *s)
{
	s->restless = false;
	s->scanned = false;
	s->deadline_us = SETTLE_NEVER_US;
}
