/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delta: how the content of one object travels: as it is, compressed (zstd), or as an librsync
 * delta against an object that the receiver holds; whatever is smallest.
 *
 * The signature for a delta is computed here, at the sender, from the base object; it never
 * travels. What is decoded is bounded by the announced size and proven by its SHA-256: librsync is
 * no trust boundary. Memory is bounded whatever the sizes; large results go to an unlinked file.
 *
 * Blocking: some 100 MB/s for deltas and 300 MB/s for zstd. Past DELTA_BASE_BYTES_MAX no delta is
 * tried. Descriptors are read with pread from offset 0 and stay the caller's.
 */
#ifndef TANDEM_DELTA_H
#define TANDEM_DELTA_H

#include <stdint.h>

#include "syncd/session_wire.h"

#define DELTA_BASE_BYTES_MAX (64ull * 1024 * 1024)
#define DELTA_WHOLE_RAW_MAX 64 /* not worth a header: sent as they are */

struct delta_encoded {
	enum session_encoding encoding;
	int fd;	       /* the caller's from now on; read it with pread: it may share its offset */
	uint64_t size; /* of what is in fd */
};

enum delta_verdict {
	DELTA_OK = 0,
	DELTA_MALFORMED, /* not what its encoding says */
	DELTA_TOO_LONG,	 /* more comes out than was announced: a bomb */
	DELTA_TOO_SHORT,
	DELTA_WRONG_HASH,
	DELTA_NO_BASE, /* a delta without its base */
	DELTA_VERDICTS
};

/* Turns librsync's own messages off. Once in a process, before the rest. */
void delta_init(void);
/* base_fd -1: no base. tmp_dirfd: where an unlinked file may grow; -1: memory. 0 or -errno. */
int delta_encode(int base_fd, int new_fd, int tmp_dirfd, struct delta_encoded *ret_encoded);
/* Writes what comes out to out_fd (from its present offset on). A positive enum delta_verdict or
 * 0, or -errno. On anything but 0 what is in out_fd must be thrown away. */
int delta_decode(enum session_encoding encoding, int base_fd, int in_fd, int out_fd,
		 uint64_t object_size, const uint8_t object[SESSION_HASH_BYTES]);
const char *delta_verdict_text(enum delta_verdict verdict);

#endif
