/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_confine: the system calls that the link makes once it is in its place.
 */
#ifndef TANDEM_LINK_CONFINE_H
#define TANDEM_LINK_CONFINE_H

/* To be called when the link is no longer root, and before it hears a stranger. A negative errno:
 * see confine_enter(). */
int link_confine(void);

#endif
