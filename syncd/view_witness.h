/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_witness: whether a command opened anything below the mirrored paths of its view.
 *
 * A fanotify mark on the view's mounts sees every open at no cost. Where a container forbids
 * fanotify, inotify watches on every directory of the view stand in. Made by the process that
 * starts the command, set up by its child before exec (both share the queue), asked by the parent
 * when the command has ended.
 *
 * Who closes such a queue waits in the kernel until nobody can be looking at its marks, which takes
 * 15 ms and more; unless they went some time before. So the marks go at once, with
 * witness_retire(), and the queue later, when it delays nobody.
 */
#ifndef TANDEM_VIEW_WITNESS_H
#define TANDEM_VIEW_WITNESS_H

#include <stdbool.h>

#define WITNESS_DIRECTORIES_MAX 20000

struct witness {
	int fd;
	bool by_inotify;
};

/* -errno. */
int witness_init(struct witness *witness);
void witness_release(struct witness *witness);
/* In the child, last before it enters the view: path is a mount of the view's own. -errno. */
int witness_mark(const struct witness *witness, const char *path);
/* Once, after the command has ended. */
bool witness_saw(const struct witness *witness);
/* It is not asked again. */
void witness_retire(const struct witness *witness);

#endif
