/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/conf.h"
#include "syncd/identity.h"

static char dir[64], state[96], path[160], why[IDENTITY_WHY_ROOM];

static int setup(void **unused)
{
	(void)unused;
	strcpy(dir, "/tmp/test_identity.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(state, sizeof(state), "%s/state", dir);
	snprintf(path, sizeof(path), "%s/" IDENTITY_FILE, state);
	return 0;
}

static int teardown(void **unused)
{
	(void)unused;
	unlink(path);
	rmdir(state);
	return rmdir(dir);
}

static void a_new_key_is_for_its_owner_alone_and_can_be_loaded(void **unused)
{
	uint8_t made[IDENTITY_PIN_BYTES], loaded[IDENTITY_PIN_BYTES];
	struct identity *identity = NULL;
	struct stat st;

	(void)unused;
	assert_int_equal(identity_make(state, false, made, why), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(state, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(identity_load(state, &identity, why), 0);
	identity_pin(identity, loaded);
	assert_memory_equal(made, loaded, IDENTITY_PIN_BYTES);
	identity_free(identity);
}

static void a_key_that_is_there_is_left_alone(void **unused)
{
	uint8_t first[IDENTITY_PIN_BYTES], second[IDENTITY_PIN_BYTES];

	(void)unused;
	assert_int_equal(identity_make(state, false, first, why), 0);
	assert_int_equal(identity_make(state, false, second, why), -EEXIST);
	assert_non_null(strstr(why, "there is a key already"));
	assert_int_equal(identity_make(state, true, second, why), 0);
	assert_memory_not_equal(first, second, IDENTITY_PIN_BYTES);
}

static void a_missing_key_names_the_command(void **unused)
{
	struct identity *identity;

	(void)unused;
	assert_int_equal(mkdir(state, 0700), 0);
	assert_int_equal(identity_load(state, &identity, why), -ENOENT);
	assert_non_null(strstr(why, "tandem keygen"));
}

static void a_key_that_others_can_read_is_refused(void **unused)
{
	uint8_t pin[IDENTITY_PIN_BYTES];
	struct identity *identity;

	(void)unused;
	assert_int_equal(identity_make(state, false, pin, why), 0);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(identity_load(state, &identity, why), -EPERM);
	assert_non_null(strstr(why, "chmod 600"));
}

static void write_file(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, 0600), 0);
}

static void what_is_no_ed25519_key_is_refused(void **unused)
{
	struct identity *identity;
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	FILE *file;

	(void)unused;
	assert_int_equal(mkdir(state, 0700), 0);
	write_file("no key at all\n");
	assert_int_equal(identity_load(state, &identity, why), -EKEYREJECTED);
	assert_non_null(strstr(why, "Ed25519"));
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
	assert_int_equal(identity_load(state, &identity, why), -EKEYREJECTED);
	/* One with a password is refused, and nobody is asked for it. */
	EVP_PKEY_free(key);
	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(
		PEM_write_PKCS8PrivateKey(file, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL),
		1);
	fclose(file);
	assert_int_equal(identity_load(state, &identity, why), -EKEYREJECTED);
	EVP_PKEY_free(key);
}

/* The pin is what `openssl pkey -pubout -outform DER | sha256sum` says. */
static void the_pin_is_the_hash_of_the_public_key_info(void **unused)
{
	uint8_t pin[IDENTITY_PIN_BYTES];
	char command[512], hex[65], expected[65];
	FILE *pipe;

	(void)unused;
	assert_int_equal(identity_make(state, false, pin, why), 0);
	snprintf(command, sizeof(command),
		 "openssl pkey -in %s -pubout -outform DER | openssl dgst -sha256 -r", path);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_int_equal(fread(expected, 1, 64, pipe), 64);
	expected[64] = '\0';
	pclose(pipe);
	for (int i = 0; i < IDENTITY_PIN_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", pin[i]);
	assert_string_equal(hex, expected);
}

/* As tandem.conf reads a node's key. */
static bool conf_reads(const char *pin, uint8_t ret_pin[IDENTITY_PIN_BYTES])
{
	struct conf_problems problems = {0};
	struct conf *conf = NULL;
	char text[256];
	bool good;

	snprintf(text, sizeof(text),
		 "cluster = \"e\"; nodes = ( { name = \"a\"; address = \"198.51.100.1\"; "
		 "key = \"%s\"; } );",
		 pin);
	good = conf_parse(text, strlen(text), &problems, &conf) == 0;
	if (good)
		memcpy(ret_pin, conf->nodes[0].pins[0], IDENTITY_PIN_BYTES);
	conf_free(conf);
	conf_problems_release(&problems);
	return good;
}

static void a_pin_is_written_as_the_configuration_reads_it(void **unused)
{
	static const char *const bad[] = {
		"",
		"SHA256:",
		"sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		"SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh",
		"SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9", /* spare bits */
		"SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdH 8",
		"SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdH_8",
		" SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
	};
	uint8_t pin[IDENTITY_PIN_BYTES], again[IDENTITY_PIN_BYTES];
	char text[IDENTITY_PIN_TEXT_ROOM];

	(void)unused;
	for (int i = 0; i < IDENTITY_PIN_BYTES; i++)
		pin[i] = (uint8_t)i;
	identity_pin_format(pin, text);
	assert_string_equal(text, "SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
	assert_true(conf_reads(text, again));
	assert_memory_equal(pin, again, IDENTITY_PIN_BYTES);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(conf_reads(bad[i], again));
}

static void a_signature_holds_for_its_id_and_a_pinned_key_alone(void **unused)
{
	uint8_t pins[2][IDENTITY_PIN_BYTES], id[32] = {1, 2, 3}, signed_by[IDENTITY_SIGNED_BYTES];
	uint8_t other_pin[1][IDENTITY_PIN_BYTES] = {{0}}, signer[IDENTITY_PIN_BYTES];
	struct identity *identity = NULL;

	(void)unused;
	assert_int_equal(identity_make(state, false, pins[1], why), 0);
	memset(pins[0], 7, sizeof(pins[0]));
	assert_int_equal(identity_load(state, &identity, why), 0);
	assert_int_equal(identity_sign(identity, IDENTITY_GENERATION, id, signed_by), 0);
	assert_true(
		identity_verify((const uint8_t(*)[32])pins, 2, IDENTITY_GENERATION, id, signed_by));
	identity_signer_pin(signed_by, signer);
	assert_memory_equal(signer, pins[1], IDENTITY_PIN_BYTES);
	/* Good signature, but nobody knows the key. */
	assert_false(identity_verify((const uint8_t(*)[32])other_pin, 1, IDENTITY_GENERATION, id,
				     signed_by));
	assert_false(
		identity_verify((const uint8_t(*)[32])pins, 0, IDENTITY_GENERATION, id, signed_by));
	id[31] ^= 1;
	assert_false(
		identity_verify((const uint8_t(*)[32])pins, 2, IDENTITY_GENERATION, id, signed_by));
	id[31] ^= 1;
	for (size_t i = 0; i < IDENTITY_SIGNED_BYTES; i++) {
		signed_by[i] ^= 0x40;
		assert_false(identity_verify((const uint8_t(*)[32])pins, 2, IDENTITY_GENERATION, id,
					     signed_by));
		signed_by[i] ^= 0x40;
	}
	assert_true(
		identity_verify((const uint8_t(*)[32])pins, 2, IDENTITY_GENERATION, id, signed_by));
	identity_free(identity);
}

static void a_signature_of_a_connection_is_none_of_a_generation(void **unused)
{
	uint8_t pins[1][IDENTITY_PIN_BYTES], id[32] = {1, 2, 3}, signed_by[IDENTITY_SIGNED_BYTES];
	struct identity *identity = NULL;

	(void)unused;
	assert_int_equal(identity_make(state, false, pins[0], why), 0);
	assert_int_equal(identity_load(state, &identity, why), 0);
	assert_int_equal(identity_sign(identity, IDENTITY_CONNECTION, id, signed_by), 0);
	assert_true(
		identity_verify((const uint8_t(*)[32])pins, 1, IDENTITY_CONNECTION, id, signed_by));
	assert_false(
		identity_verify((const uint8_t(*)[32])pins, 1, IDENTITY_GENERATION, id, signed_by));
	assert_int_equal(identity_sign(identity, IDENTITY_GENERATION, id, signed_by), 0);
	assert_false(
		identity_verify((const uint8_t(*)[32])pins, 1, IDENTITY_CONNECTION, id, signed_by));
	identity_free(identity);
}

static void what_the_link_gets_is_new_each_time_and_not_the_node_key(void **unused)
{
	uint8_t pin[IDENTITY_PIN_BYTES], one[IDENTITY_CREDENTIALS_BYTES_MAX];
	uint8_t two[IDENTITY_CREDENTIALS_BYTES_MAX];
	struct identity *identity = NULL;
	size_t one_size = 0, two_size = 0;
	FILE *file;
	EVP_PKEY *key;
	uint8_t raw[32];
	size_t raw_size = sizeof(raw);

	(void)unused;
	assert_int_equal(identity_make(state, false, pin, why), 0);
	assert_int_equal(identity_load(state, &identity, why), 0);
	assert_int_equal(identity_issue_link(identity, "web1", one, &one_size), 0);
	assert_int_equal(identity_issue_link(identity, "web1", two, &two_size), 0);
	assert_true(one_size > 100);
	assert_memory_not_equal(one, two, 64);
	/* The secret bytes of the node key are nowhere in it. */
	file = fopen(path, "r");
	assert_non_null(file);
	key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	assert_int_equal(EVP_PKEY_get_raw_private_key(key, raw, &raw_size), 1);
	assert_null(memmem(one, one_size, raw, raw_size));
	assert_null(memmem(two, two_size, raw, raw_size));
	EVP_PKEY_free(key);
	identity_free(identity);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_new_key_is_for_its_owner_alone_and_can_be_loaded,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_key_that_is_there_is_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_key_names_the_command, setup, teardown),
		cmocka_unit_test_setup_teardown(a_key_that_others_can_read_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_is_no_ed25519_key_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(the_pin_is_the_hash_of_the_public_key_info, setup,
						teardown),
		cmocka_unit_test(a_pin_is_written_as_the_configuration_reads_it),
		cmocka_unit_test_setup_teardown(a_signature_holds_for_its_id_and_a_pinned_key_alone,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_signature_of_a_connection_is_none_of_a_generation,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_the_link_gets_is_new_each_time_and_not_the_node_key, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
