/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer sends as an object's content. The first byte says how it claims to be encoded and
 * whether there is a base, the next two which size was announced, the rest is what came. Whatever
 * it is, no byte past the announced size is written (R-S13), there is one verdict, and only what
 * has the announced hash is taken. Then the rest travels as new content, and arrives.
 *
 * runs: 20000
 */
#include <openssl/sha.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "syncd/delta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

#define BASE_BYTES 3000 /* more than one block of a signature */

static int base_fd = -1, in_fd, out_fd;

static void set_up(void)
{
	uint8_t base[BASE_BYTES];

	for (size_t i = 0; i < sizeof base; i++)
		base[i] = (uint8_t)(i * i >> 3);
	delta_init();
	base_fd = memfd_create("base", MFD_CLOEXEC);
	in_fd = memfd_create("in", MFD_CLOEXEC);
	out_fd = memfd_create("out", MFD_CLOEXEC);
	CHECK(base_fd >= 0 && in_fd >= 0 && out_fd >= 0);
	CHECK(write(base_fd, base, sizeof base) == sizeof base);
}

static void fill(const uint8_t *data, size_t size)
{
	CHECK(!ftruncate(in_fd, 0));
	CHECK(pwrite(in_fd, data, size, 0) == (ssize_t)size);
}

static size_t written(void)
{
	struct stat st;

	CHECK(!fstat(out_fd, &st));
	return (size_t)st.st_size;
}

static int decode(enum session_encoding encoding, int base, int from, size_t announced,
		  const uint8_t hash[SESSION_HASH_BYTES])
{
	int verdict;

	CHECK(!ftruncate(out_fd, 0) && lseek(out_fd, 0, SEEK_SET) == 0);
	verdict = delta_decode(encoding, base, from, out_fd, announced, hash);
	CHECK(verdict >= 0 && verdict < DELTA_VERDICTS);
	CHECK(written() <= announced);
	return verdict;
}

static void arrive(const uint8_t *data, size_t size, int base)
{
	uint8_t hash[SESSION_HASH_BYTES], byte;
	struct delta_encoded encoded;

	fill(data, size);
	SHA256(data, size, hash);
	CHECK(delta_encode(base, in_fd, -1, &encoded) == 0);
	CHECK(encoded.size <= size || size == 0);
	CHECK(decode(encoded.encoding, base, encoded.fd, size, hash) == DELTA_OK);
	CHECK(written() == size);
	if (size) {
		CHECK(pread(out_fd, &byte, 1, (off_t)size - 1) == 1 && byte == data[size - 1]);
		CHECK(decode(encoded.encoding, base, encoded.fd, size - 1, hash) != DELTA_OK);
	}
	close(encoded.fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t no_hash[SESSION_HASH_BYTES];
	static uint8_t out[UINT16_MAX];
	uint8_t hash[SESSION_HASH_BYTES];
	enum session_encoding encoding;
	size_t announced;
	int base;

	if (size < 3)
		return 0;
	if (base_fd < 0)
		set_up();
	encoding = (enum session_encoding)(data[0] % 3);
	base = data[0] & 0x80 ? -1 : base_fd;
	announced = (size_t)data[1] << 8 | data[2];
	data += 3;
	size -= 3;
	fill(data, size);
	if (decode(encoding, base, in_fd, announced, no_hash) == DELTA_WRONG_HASH) {
		/* All but the hash was right. */
		CHECK(written() == announced);
		CHECK(pread(out_fd, out, announced, 0) == (ssize_t)announced);
		SHA256(out, announced, hash);
		CHECK(decode(encoding, base, in_fd, announced, hash) == DELTA_OK);
	}
	arrive(data, size, base);
	return 0;
}
