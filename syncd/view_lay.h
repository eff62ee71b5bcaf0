/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_lay: lays a stage into a view by copying, where the kernel does not lay it on top.
 *
 * The kernel stacks two overlays and no third. Where the mirrored path lies on an overlay already
 * (/ of a container), the view over it is the second, and the stage has to be copied into that:
 * what changes goes into the view's own upper layer, in memory, and only what was staged is copied.
 * Runs in the child.
 */
#ifndef TANDEM_VIEW_LAY_H
#define TANDEM_VIEW_LAY_H

#include <stddef.h>

/* Removes from target_fd what gone/ of the stage names, then puts what new/ holds there, with
 * owner, mode and times. 0, or a positive errno, and the name that it failed at. */
int view_lay(int stage_fd, int target_fd, char *ret_name, size_t room);

#endif
