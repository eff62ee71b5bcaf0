/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <zstd.h>

#include "syncd/delta.h"

static uint64_t random_state = 1;

static uint8_t random_byte(void)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint8_t)(random_state >> 56);
}

static int file_of(const void *bytes, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, size, 0), size);
	return fd;
}

static int empty(void)
{
	return file_of("", 0);
}

/* A vhost file of about so many bytes; one line is different for each mark. */
static char *vhosts(size_t size, const char *mark, size_t *ret_size)
{
	char *text = malloc(size + 512);
	size_t at = 0;
	int i = 0;

	assert_non_null(text);
	for (; at < size; i++)
		at += (size_t)sprintf(text + at,
				      "server { listen 80; server_name host%d.example; %s"
				      "location / { root /srv/%d; } }\n",
				      i, i == 20 ? mark : "", i * 7919 % 1009);
	*ret_size = at;
	return text;
}

/* Encodes, decodes, compares; returns the encoded size. */
static uint64_t there_and_back(int base_fd, const void *bytes, size_t size,
			       enum session_encoding expected)
{
	int new_fd = file_of(bytes, size), out_fd = empty();
	struct delta_encoded encoded;
	uint8_t hash[32], *got = malloc(size + 1);

	assert_non_null(got);
	SHA256(bytes, size, hash);
	assert_int_equal(delta_encode(base_fd, new_fd, -1, &encoded), 0);
	assert_int_equal(encoded.encoding, expected);
	assert_true(encoded.size <= size);
	assert_int_equal(delta_decode(encoded.encoding, base_fd, encoded.fd, out_fd, size, hash),
			 0);
	assert_int_equal(pread(out_fd, got, size + 1, 0), size);
	assert_memory_equal(got, bytes, size);
	free(got);
	close(encoded.fd);
	close(new_fd);
	close(out_fd);
	return encoded.size;
}

static void a_small_edit_travels_as_a_small_delta(void **state)
{
	size_t old_size, new_size;
	char *old = vhosts(64 * 1024, "", &old_size);
	char *new = vhosts(64 * 1024, "client_max_body_size 8m; ", &new_size);
	int base_fd = file_of(old, old_size);
	uint64_t size = there_and_back(base_fd, new, new_size, SESSION_DELTA);

	(void)state;
	printf("figure: one line inserted into 64 KiB travels as %llu bytes\n",
	       (unsigned long long)size);
	assert_true(size < 600);
	close(base_fd);
	free(old);
	free(new);
}

static void without_a_base_text_is_compressed(void **state)
{
	size_t size;
	char *text = vhosts(64 * 1024, "", &size);

	(void)state;
	assert_true(there_and_back(-1, text, size, SESSION_ZSTD) < size / 4);
	free(text);
}

static void a_base_that_does_not_help_is_not_used(void **state)
{
	size_t size;
	char *text = vhosts(16 * 1024, "", &size);
	uint8_t noise[4096];
	int base_fd;

	(void)state;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = random_byte();
	base_fd = file_of(noise, sizeof(noise));
	there_and_back(base_fd, text, size, SESSION_ZSTD);
	close(base_fd);
	free(text);
}

static void noise_and_crumbs_travel_as_they_are(void **state)
{
	uint8_t noise[100000];

	(void)state;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = random_byte();
	there_and_back(-1, noise, sizeof(noise), SESSION_RAW);
	there_and_back(-1, "", 0, SESSION_RAW);
	there_and_back(-1, "daemon off;\n", 12, SESSION_RAW);
}

static void any_pair_of_contents_survives(void **state)
{
	static uint8_t base[200000], new[200000];

	(void)state;
	for (int round = 0; round < 200; round++) {
		size_t base_size = (size_t)(random_byte() * random_byte() * 3),
		       new_size = (size_t)(random_byte() * random_byte() * 3);
		int base_fd, new_fd, out_fd = empty();
		struct delta_encoded encoded;
		uint8_t hash[32];

		for (size_t i = 0; i < base_size; i++)
			base[i] = random_byte() & 0x0f;
		for (size_t i = 0; i < new_size; i++)
			new[i] = base_size &&random_byte() > 2 ? base[(i + 17) % base_size]
							       : random_byte();
		base_fd = file_of(base, base_size);
		new_fd = file_of(new, new_size);
		SHA256(new, new_size, hash);
		assert_int_equal(delta_encode(base_fd, new_fd, -1, &encoded), 0);
		assert_int_equal(
			delta_decode(encoded.encoding, base_fd, encoded.fd, out_fd, new_size, hash),
			0);
		close(encoded.fd);
		close(base_fd);
		close(new_fd);
		close(out_fd);
	}
}

static void large_contents_use_a_file_and_little_memory(void **state)
{
	size_t size = 24 * 1024 * 1024;
	uint8_t *bytes = malloc(size);
	char dir[] = "/tmp/test_delta.XXXXXX";
	int dirfd, base_fd, new_fd, out_fd = empty();
	struct delta_encoded encoded;
	struct timespec from, to;
	uint8_t hash[32];

	(void)state;
	assert_non_null(bytes);
	assert_non_null(mkdtemp(dir));
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < size; i++)
		bytes[i] = random_byte();
	base_fd = file_of(bytes, size);
	memset(bytes + size / 2, 'x', 4096);
	new_fd = file_of(bytes, size);
	SHA256(bytes, size, hash);
	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_int_equal(delta_encode(base_fd, new_fd, dirfd, &encoded), 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("figure: delta of 24 MiB with 4 KiB changed: %llu bytes, %.0f ms\n",
	       (unsigned long long)encoded.size,
	       (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
	assert_int_equal(encoded.encoding, SESSION_DELTA);
	assert_true(encoded.size < 64 * 1024);
	assert_int_equal(delta_decode(encoded.encoding, base_fd, encoded.fd, out_fd, size, hash),
			 0);
	close(encoded.fd);
	close(base_fd);
	close(new_fd);
	close(out_fd);
	close(dirfd);
	assert_int_equal(rmdir(dir), 0); /* nothing with a name was left in it */
	free(bytes);
}

static int decode(enum session_encoding encoding, int base_fd, const void *bytes, size_t size,
		  uint64_t announced, const uint8_t *hash, uint64_t *ret_written)
{
	int in_fd = file_of(bytes, size), out_fd = empty(), rc;

	rc = delta_decode(encoding, base_fd, in_fd, out_fd, announced, hash);
	if (ret_written)
		*ret_written = (uint64_t)lseek(out_fd, 0, SEEK_END);
	close(in_fd);
	close(out_fd);
	return rc;
}

static void a_compressed_bomb_stops_at_the_announced_size(void **state)
{
	size_t size = 64 * 1024 * 1024;
	char *zeros = calloc(1, size), bomb[16384];
	size_t bomb_size = ZSTD_compress(bomb, sizeof(bomb), zeros, size, 1);
	uint8_t hash[32] = {0};
	uint64_t written;

	(void)state;
	assert_false(ZSTD_isError(bomb_size));
	assert_int_equal(decode(SESSION_ZSTD, -1, bomb, bomb_size, 5000, hash, &written),
			 DELTA_TOO_LONG);
	assert_true(written <= 5000);
	free(zeros);
}

static void a_frame_that_asks_for_a_huge_window_is_refused(void **state)
{
	/* Magic, no single segment, window descriptor 0xf8 = 2^41 bytes, one raw block of 1. */
	static const uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x09, 0x00, 0x00, 'x'};
	uint8_t hash[32] = {0};

	(void)state;
	assert_int_equal(decode(SESSION_ZSTD, -1, frame, sizeof(frame), 1, hash, NULL),
			 DELTA_MALFORMED);
}

/* RS_DELTA_MAGIC, then COPY commands of the whole base, thousands of them: some bytes that would
 * become gigabytes. */
static void a_delta_bomb_stops_at_the_announced_size(void **state)
{
	static uint8_t base[65536], bomb[4 + 5 * 20000 + 1];
	uint8_t hash[32] = {0};
	uint64_t written;
	size_t at = 0;
	int base_fd = file_of(base, sizeof(base));

	(void)state;
	memcpy(bomb, "rs\x02\x36", 4);
	at = 4;
	for (int i = 0; i < 20000; i++) {
		bomb[at++] = 0x46; /* RS_OP_COPY_N1_N2: one byte of offset, two of length */
		bomb[at++] = 0;
		bomb[at++] = 0xff;
		bomb[at++] = 0xff;
	}
	bomb[at++] = 0;
	assert_int_equal(decode(SESSION_DELTA, base_fd, bomb, at, 100000, hash, &written),
			 DELTA_TOO_LONG);
	assert_true(written <= 100000);
	close(base_fd);
}

static void a_delta_that_reaches_past_its_base_is_refused(void **state)
{
	static const uint8_t delta[] = {'r', 's', 0x02, 0x36, 0x46, 200, 0xff, 0xff, 0};
	uint8_t hash[32] = {0};
	int base_fd = file_of("short", 5);

	(void)state;
	assert_int_equal(decode(SESSION_DELTA, base_fd, delta, sizeof(delta), 100000, hash, NULL),
			 DELTA_MALFORMED);
	close(base_fd);
}

static void what_is_not_in_its_encoding_is_malformed(void **state)
{
	uint8_t noise[300], hash[32] = {0};
	int base_fd = file_of("base", 4);

	(void)state;
	for (int round = 0; round < 500; round++) {
		size_t size = (size_t)random_byte() + 1;

		for (size_t i = 0; i < size; i++)
			noise[i] = random_byte();
		if (round % 2)
			memcpy(noise, "rs\x02\x36", 4);
		assert_int_not_equal(decode(SESSION_DELTA, base_fd, noise, size, 100, hash, NULL),
				     0);
		assert_int_equal(decode(SESSION_ZSTD, -1, noise, size, 100, hash, NULL),
				 DELTA_MALFORMED);
	}
	close(base_fd);
}

static void every_cut_of_an_encoding_is_refused(void **state)
{
	size_t old_size, new_size;
	char *old = vhosts(4096, "", &old_size), *new = vhosts(4096, "autoindex on; ", &new_size);
	int base_fd = file_of(old, old_size), new_fd = file_of(new, new_size);
	struct delta_encoded encoded[2];
	uint8_t bytes[4096], hash[32];

	(void)state;
	SHA256((const uint8_t *)new, new_size, hash);
	assert_int_equal(delta_encode(base_fd, new_fd, -1, &encoded[0]), 0);
	assert_int_equal(delta_encode(-1, new_fd, -1, &encoded[1]), 0);
	assert_int_equal(encoded[0].encoding, SESSION_DELTA);
	assert_int_equal(encoded[1].encoding, SESSION_ZSTD);
	for (int i = 0; i < 2; i++) {
		size_t size = encoded[i].size;

		assert_true(size < sizeof(bytes));
		assert_int_equal(pread(encoded[i].fd, bytes, sizeof(bytes), 0), size);
		for (size_t cut = 0; cut < size; cut++)
			assert_true(decode(encoded[i].encoding, base_fd, bytes, cut, new_size, hash,
					   NULL) > 0);
		bytes[size] = 0;
		assert_int_equal(
			decode(encoded[i].encoding, base_fd, bytes, size + 1, new_size, hash, NULL),
			DELTA_MALFORMED);
		assert_int_equal(
			decode(encoded[i].encoding, base_fd, bytes, size, new_size + 1, hash, NULL),
			DELTA_TOO_SHORT);
		assert_int_equal(
			decode(encoded[i].encoding, base_fd, bytes, size, new_size - 1, hash, NULL),
			DELTA_TOO_LONG);
		hash[0] ^= 1;
		assert_int_equal(
			decode(encoded[i].encoding, base_fd, bytes, size, new_size, hash, NULL),
			DELTA_WRONG_HASH);
		hash[0] ^= 1;
		close(encoded[i].fd);
	}
	close(base_fd);
	close(new_fd);
	free(old);
	free(new);
}

static void a_delta_without_its_base_says_so(void **state)
{
	uint8_t hash[32] = {0};

	(void)state;
	assert_int_equal(decode(SESSION_DELTA, -1, "x", 1, 1, hash, NULL), DELTA_NO_BASE);
}

static int quiet(void **state)
{
	(void)state;
	delta_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_edit_travels_as_a_small_delta),
		cmocka_unit_test(without_a_base_text_is_compressed),
		cmocka_unit_test(a_base_that_does_not_help_is_not_used),
		cmocka_unit_test(noise_and_crumbs_travel_as_they_are),
		cmocka_unit_test(any_pair_of_contents_survives),
		cmocka_unit_test(large_contents_use_a_file_and_little_memory),
		cmocka_unit_test(a_compressed_bomb_stops_at_the_announced_size),
		cmocka_unit_test(a_frame_that_asks_for_a_huge_window_is_refused),
		cmocka_unit_test(a_delta_bomb_stops_at_the_announced_size),
		cmocka_unit_test(a_delta_that_reaches_past_its_base_is_refused),
		cmocka_unit_test(what_is_not_in_its_encoding_is_malformed),
		cmocka_unit_test(every_cut_of_an_encoding_is_refused),
		cmocka_unit_test(a_delta_without_its_base_says_so),
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
