/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan: from what lies below a mirror's paths to a tree.
 *
 * Every entry is looked at (statx); what looks exactly as it did last time keeps its entry, what
 * does not is read, hashed, and its content put into the object store. So a change is found by what
 * is there, whatever an event said. Not pure: blocks on the disk, in the keeper.
 *
 * What cannot be mirrored (a socket, a device, a file that cannot be read) is not left out in
 * silence: it is a problem with its path and a cure, and a tree with problems is not published.
 *
 * Where the caller knows that nothing below a directory has changed (watch_may_differ()), what the
 * last scan found there is taken over, and nothing of it is touched: an edit in a tree of 20,000
 * files costs what its directory costs.
 *
 * A sight can be trusted only when it is older than the clock that stamps files ticks: until then
 * the entry is stored without one, and is read again by the next scan.
 */
#ifndef TANDEM_SCAN_H
#define TANDEM_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/fault.h"
#include "syncd/ignore.h"
#include "syncd/objects.h"
#include "syncd/tree.h"

#define SCAN_PROBLEMS_MAX 8 /* that are kept; more are counted */
#define SCAN_PROBLEM_TEXT_MAX 512
#define SCAN_YOUNG_NS 20000000 /* two ticks of the coarsest kernel clock */
#define SCAN_FINGERPRINT_BYTES 32

struct scan_options {
	const char *const *paths;
	int paths_count;
	const struct ignore *ignore;
	struct objects *objects;
	const struct tree *previous; /* what the last scan (or commit) found; NULL: nothing known */
	bool distrust;		     /* read every file, whatever it looks like */
	/* Whether something at or below this directory may have changed since `previous`; NULL: it
	 * may everywhere. */
	bool (*may_differ)(const void *ctx, const char *path, size_t path_size);
	const void *may_differ_ctx;
};

struct scan_result {
	struct tree *tree;			     /* sealed; the caller's */
	uint8_t fingerprint[SCAN_FINGERPRINT_BYTES]; /* of all that there is, sights included */
	size_t files_read;
	size_t young;  /* entries without a sight: another scan, soon, would give them one */
	bool unstable; /* something changed while it was read: look again */
	char unstable_path[ENTRY_PATH_BYTES_MAX + 1];
	size_t paths_missing;
	size_t problems_count;
	char problems[SCAN_PROBLEMS_MAX][SCAN_PROBLEM_TEXT_MAX];
};

/* 0, or a negative errno and the fault: the disk failed, nothing is known. */
int scan_run(const struct scan_options *options, struct scan_result *ret_result,
	     struct fault *fault);
void scan_result_release(struct scan_result *result);

#endif
