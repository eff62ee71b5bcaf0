/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle: when a tree that changes is quiet enough to be looked at, and when what was seen may be
 * published. Pure: a core.
 *
 * A save is rarely one event and a package upgrade is thousands. The quiet time starts at
 * SETTLE_QUIET_ATOMIC_US after one atomic save (a rename), doubles with every further change up to
 * SETTLE_QUIET_MAX_US, and is over SETTLE_WAIT_MAX_US after the first change, whatever happens.
 * Then the tree is scanned until two scans agree (a file that is being written in place is caught
 * half-way by a single one), and the publication waits until SETTLE_PUBLISH_GAP_US after the one
 * before, so that a burst is one reload.
 *
 *   settle_init();
 *   settle_change() for every burst of events;
 *   at settle_deadline(): scan, then settle_scanned(), which says what to do with the result;
 *   settle_clear() when a settled tree has been taken over (a ring from then on is a new change),
 *   and settle_published() when it was published.
 */
#ifndef TANDEM_SETTLE_H
#define TANDEM_SETTLE_H

#include <stdbool.h>
#include <stdint.h>

#define SETTLE_NEVER_US UINT64_MAX
#define SETTLE_QUIET_ATOMIC_US 10000u
#define SETTLE_QUIET_WRITTEN_US 50000u /* a file written in place and closed again */
#define SETTLE_QUIET_OPEN_US 500000u   /* somebody has it open and writes */
#define SETTLE_QUIET_MAX_US 2000000u
#define SETTLE_WAIT_MAX_US 30000000u
#define SETTLE_PUBLISH_GAP_US 1000000u
/* Events closer together than this are one change: a rename over a file is five of them. */
#define SETTLE_ONE_CHANGE_US 3000u
#define SETTLE_FINGERPRINT_BYTES 32

enum settle_kind {
	SETTLE_OPEN,	 /* a file is being written; no change yet, but one to wait for */
	SETTLE_WRITTEN,	 /* written in place, and closed */
	SETTLE_REPLACED, /* what was written was a temporary file and has just been renamed away */
	SETTLE_ATOMIC,	 /* renamed into place, deleted, linked, another mode or owner */
};

enum settle_verdict {
	SETTLE_AGAIN,	/* scan once more at settle_deadline() */
	SETTLE_SETTLED, /* this scan may be judged and published */
};

struct settle {
	bool restless;
	bool scanned;	       /* fingerprint is of a scan since the last change */
	bool gentle;	       /* a file was written in place: the second scan keeps its distance */
	uint32_t changes;      /* counted since it was quiet */
	uint64_t first_us;     /* of the events since it was quiet */
	uint64_t counted_us;   /* when the latest counted change was last heard of */
	uint64_t open_us;      /* until then a writer may go on; 0: none */
	uint64_t deadline_us;  /* of the next scan */
	uint64_t published_us; /* 0: never */
	uint8_t fingerprint[SETTLE_FINGERPRINT_BYTES];
};

void settle_init(struct settle *s);
/* Something rang. */
void settle_change(struct settle *s, enum settle_kind kind, uint64_t now_us);
/* A scan is wanted although no event came: start, resync, a lost watch. */
void settle_want(struct settle *s, uint64_t now_us);
/* When to scan next, or SETTLE_NEVER_US. */
uint64_t settle_deadline(const struct settle *s);
/* fingerprint: of everything the scan saw, stat identities included. */
enum settle_verdict settle_scanned(struct settle *s,
				   const uint8_t fingerprint[SETTLE_FINGERPRINT_BYTES],
				   uint64_t now_us);
void settle_published(struct settle *s, uint64_t now_us);
void settle_clear(struct settle *s);

#endif
