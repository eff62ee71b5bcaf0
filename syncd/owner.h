/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner: names of users and groups to numbers and back, from the host's databases, remembered for a
 * while: a scan asks for thousands of files that belong to three accounts.
 *
 * Not pure: reads the account databases. One for each process; owner_forget() at each reload and
 * full scan, so that a new account is noticed.
 */
#ifndef TANDEM_SYNCD_OWNER_H
#define TANDEM_SYNCD_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "syncd/entry.h"

/* The name, or "" where the number has none (or one longer than ENTRY_OWNER_BYTES_MAX). Valid until
 * the next call for another number. */
const char *owner_user_name(uint32_t uid);
const char *owner_group_name(uint32_t gid);
/* What an entry means on this host: its name's number, or its own number where the name is "" or
 * unknown here (then *ret_unknown, which may be NULL, says so). */
uint32_t owner_uid(const struct entry *entry, bool *ret_unknown);
uint32_t owner_gid(const struct entry *entry, bool *ret_unknown);
/* Asks the databases anew from now on. */
void owner_forget(void);

#endif
