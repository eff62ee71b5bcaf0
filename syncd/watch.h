/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch: inotify as a doorbell.
 *
 * An event says only that something below a mirrored path may have changed; what did is found by
 * a scan. So names, order and cookies of events do not matter, and everything that inotify can
 * lose (a full queue, a replaced or unmounted directory, a limit reached) is one and the same
 * answer: look again. Directories alone are watched, the one above each path too (a path that is
 * replaced), and the mount table (a path that is mounted over gives no event).
 *
 * The order that closes the new-subdirectory race: a watch is added first, then the directory is
 * read; the caller scans after it was rung.
 *
 * Which directories may have changed is kept, so that a scan of a large tree need not look at all
 * of it. Only for plain events of files is it one directory; whatever moves, makes or removes a
 * directory, and whatever inotify loses, may have changed everything.
 *
 *   watch_new(), then one scan;
 *   on_ring: settle_change() or, if everything may have changed, a scan soon;
 *   watch_rearm() before every full scan: watches follow inodes, paths may have moved on.
 */
#ifndef TANDEM_WATCH_H
#define TANDEM_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/loop.h"
#include "syncd/ignore.h"
#include "syncd/settle.h"

#define WATCH_DIRECTORIES_MAX 200000
#define WATCH_DEPTH_MAX 128  /* as deep as anything that can be mirrored */
#define WATCH_CHANGED_MAX 64 /* directories that are told apart; more are all of them */

struct watch;

/* Once for each event that matters. The caller scans all of the mirror when it is quiet. */
typedef void (*watch_fn)(void *ctx, enum settle_kind kind);

/* Borrows paths and ignore for its life. Succeeds also where nothing can be watched, see
 * watch_degraded(). */
int watch_new(struct loop *loop, const char *const *paths, int paths_count,
	      const struct ignore *ignore, watch_fn fn, void *ctx, struct watch **ret_watch);
struct watch *watch_free(struct watch *watch);
/* Walks the paths again; adds what is not watched yet, forgets what is gone. */
void watch_rearm(struct watch *watch);
/* Whether something at or below this directory may have changed since watch_looked(). true for what
 * is not watched. */
bool watch_may_differ(const struct watch *watch, const char *path, size_t path_size);
/* The tree was scanned after the last event that was taken, and what the scan found is known. */
void watch_looked(struct watch *watch);
/* Everything may have changed. */
void watch_doubt(struct watch *watch);
/* NULL while every directory is watched; otherwise a sentence with the cure. The caller scans by
 * time then. */
const char *watch_degraded(const struct watch *watch);
size_t watch_directories(const struct watch *watch);

#endif
