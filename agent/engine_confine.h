/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_confine: the system calls that the engine makes once it is in its place.
 */
#ifndef TANDEM_ENGINE_CONFINE_H
#define TANDEM_ENGINE_CONFINE_H

/* To be called when the engine is no longer root, and before it reads anything that somebody else
 * has written. A negative errno: it must not go on. */
int engine_confine(void);

#endif
