/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prober_confine: the system calls that the prober makes once it is in its place: those of libcurl,
 * of the TLS library below it, and of the libc's resolver, which runs in threads.
 */
#ifndef TANDEM_PROBER_CONFINE_H
#define TANDEM_PROBER_CONFINE_H

/* To be called when the prober is no longer root, after libcurl has been set up and before it has
 * spoken with anybody. A negative errno: see confine_enter(). */
int prober_confine(void);

#endif
