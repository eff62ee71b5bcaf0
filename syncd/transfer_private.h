/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer_private: what both ends of a transfer know: the bytes of one change in ENTRIES are a u8
 * below, then an entry as syncd/entry encodes it, or the string of a path.
 */
#ifndef TANDEM_TRANSFER_PRIVATE_H
#define TANDEM_TRANSFER_PRIVATE_H

enum transfer_change { TRANSFER_REMOVE = 0, TRANSFER_PUT = 1 };

#endif
