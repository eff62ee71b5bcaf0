/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "shared/sha256.h"

static void it_hashes_as_the_standard_s_examples_do(void **state)
{
	/* FIPS 180-4's examples, and nothing at all. */
	static const struct {
		const char *text;
		uint8_t hash[SHA256_BYTES];
	} examples[] = {
		{"", {0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4,
		      0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
		      0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55}},
		{"abc", {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
			 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
			 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad}},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		 {0x24, 0x8d, 0x6a, 0x61, 0xd2, 0x06, 0x38, 0xb8, 0xe5, 0xc0, 0x26,
		  0x93, 0x0c, 0x3e, 0x60, 0x39, 0xa3, 0x3c, 0xe4, 0x59, 0x64, 0xff,
		  0x21, 0x67, 0xf6, 0xec, 0xed, 0xd4, 0x19, 0xdb, 0x06, 0xc1}},
	};
	uint8_t hash[SHA256_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		sha256(examples[i].text, strlen(examples[i].text), hash);
		assert_memory_equal(hash, examples[i].hash, sizeof hash);
	}
}

static void it_hashes_texts_of_any_length_as_openssl_does(void **state)
{
	static uint8_t text[1000];

	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (uint8_t)(i * 131 + i / 7);
	for (size_t size = 0; size <= sizeof text; size++) {
		uint8_t ours[SHA256_BYTES], theirs[SHA256_BYTES];

		sha256(text, size, ours);
		assert_int_equal(EVP_Digest(text, size, theirs, NULL, EVP_sha256(), NULL), 1);
		assert_memory_equal(ours, theirs, sizeof ours);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_hashes_as_the_standard_s_examples_do),
		cmocka_unit_test(it_hashes_texts_of_any_length_as_openssl_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
