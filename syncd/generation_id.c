/* SPDX-License-Identifier: Apache-2.0 */
/* Apart from generation.c, which is pure: a hash comes from a library. */
#include <assert.h>
#include <openssl/evp.h>

#include "syncd/generation.h"

void generation_id(const struct generation *generation, uint8_t ret_id[GENERATION_ID_BYTES])
{
	uint8_t encoded[GENERATION_ENCODED_BYTES_MAX];
	struct wire_writer writer;
	wire_writer_init(&writer, encoded, sizeof encoded);
	generation_encode(&writer, generation);
	assert(wire_writer_ok(&writer));
	unsigned size = GENERATION_ID_BYTES;
	/* Fails only without memory or without a default provider: nothing could go on then. */
	int ok = EVP_Digest(encoded, writer.at, ret_id, &size, EVP_sha256(), NULL);
	assert(ok == 1 && size == GENERATION_ID_BYTES);
}
