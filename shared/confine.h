/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine: the port around seccomp. A process that faces the network says in a table which system
 * calls it makes, and makes no others from then on.
 *
 * Three answers: a call that the table has is made. One that nobody who is well ever makes here (a
 * program is started, a file system mounted, another process traced, an owner changed ...) kills
 * the process: something else is in control of it. Any other is answered with ENOSYS, so that a
 * libc newer than the table falls back on what it used to do instead of dying.
 */
#ifndef TANDEM_CONFINE_H
#define TANDEM_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One row: the call is made if, of its argument number `arg`, the bits in `mask` are `value`. A
 * mask of 0 does not look at arguments. Several rows for one call: one that fits is enough. */
struct confine_row {
	const char *call; /* its name in section 2 of the manual */
	unsigned int arg;
	uint64_t mask, value;
};

#define CONFINE_EXACTLY UINT64_MAX /* as a mask: the argument is value */

/* What every such process needs: memory, descriptors that it has, time, its own end; files for
 * reading alone, and nothing that it could write to and execute. Then the rows. For good, and for
 * every thread that it makes from then on; it has one alone when it calls this. A call that this
 * kernel or machine does not have is passed over; -ENOENT if a row names one that nobody knows. A
 * negative errno: the process must not go on, unless confine_is_missing(). */
int confine_enter(const struct confine_row *rows, size_t count);

/* Whether the error says that this kernel has no filters. Its user is then all that confines the
 * process, and it says so. */
bool confine_is_missing(int error);

#endif
