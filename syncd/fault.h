/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: what went wrong in the world, in plain words: the place, the cause, the cure.
 *
 * The ports of the replicator return a negative errno and, where the caller gives one, fill a
 * fault beside it. Nobody parses the text: it is for the log, for status and for the author.
 */
#ifndef TANDEM_SYNCD_FAULT_H
#define TANDEM_SYNCD_FAULT_H

#define FAULT_TEXT_MAX 1024

struct fault {
	char text[FAULT_TEXT_MAX]; /* "" until something fails */
};

/* Writes the words and returns error, so that a caller can `return fault_set(fault, -errno, ...)`.
 * fault may be NULL. An error whose cure is known (ENOSPC, EDQUOT, EROFS, EMFILE) has it added. */
__attribute__((format(printf, 3, 4))) int fault_set(struct fault *fault, int error,
						    const char *format, ...);

#endif
