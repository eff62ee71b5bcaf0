/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ignore: which names of a mirrored path are nobody's configuration.
 *
 * Two lists: what editors, package managers and copying tools leave behind (built in, the same on
 * every node of a version), and the mirror's own `exclude`. What is ignored is neither watched,
 * scanned, shipped nor deleted. Pure but for fnmatch(3), which keeps no state.
 *
 * A pattern without a slash is matched against the last component ("*.swp"); one that begins with
 * a slash against the whole path, and if it ends with a slash as well, against directories alone.
 */
#ifndef TANDEM_IGNORE_H
#define TANDEM_IGNORE_H

#include <stdbool.h>

#define IGNORE_STAGE_NAME ".tandem-stage"

/* Borrows the patterns. */
struct ignore {
	const char *const *excludes;
	int excludes_count;
};

/* path: absolute, normal form. Judges this one entry, not what lies above it: a walk does not
 * enter an ignored directory. */
bool ignore_entry(const struct ignore *ignore, const char *path, bool is_directory);

#endif
