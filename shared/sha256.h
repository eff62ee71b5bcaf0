/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sha256: the SHA-256 of a text, by FIPS 180-4. Pure.
 *
 * For what everybody may know and no stranger hands in: the identity of a configuration. Where
 * trust hangs on a hash (objects, generations, keys) OpenSSL makes it. For this one alone it would
 * be three and a half megabytes in each process of the agent, whose engine locks all that it has.
 */
#ifndef TANDEM_SHA256_H
#define TANDEM_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

void sha256(const void *data, size_t size, uint8_t ret_hash[SHA256_BYTES]);

#endif
