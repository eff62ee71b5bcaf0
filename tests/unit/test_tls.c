/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/wire.h"
#include "syncd/identity.h"
#include "syncd/tls.h"

/* Two nodes and a stranger. */
enum { WEB1, WEB2, STRANGER, NODES };
static struct identity *identities[NODES];
static uint8_t pins[NODES][IDENTITY_PIN_BYTES];
static struct tls_context *contexts[NODES];
static char dir[64];

static int group_setup(void **state)
{
	static const char *const names[NODES] = {"web1", "web2", "stranger"};
	uint8_t credentials[IDENTITY_CREDENTIALS_BYTES_MAX];
	char path[128], why[IDENTITY_WHY_ROOM];
	size_t size;

	(void)state;
	strcpy(dir, "/tmp/test_tls.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	for (int i = 0; i < NODES; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (identity_make(path, false, pins[i], why) < 0 ||
		    identity_load(path, &identities[i], why) < 0 ||
		    identity_issue_link(identities[i], names[i], credentials, &size) < 0 ||
		    tls_context_new(credentials, size, &contexts[i]) < 0)
			return -1;
	}
	return 0;
}

static int group_teardown(void **state)
{
	char command[128];

	(void)state;
	for (int i = 0; i < NODES; i++) {
		tls_context_free(contexts[i]);
		identity_free(identities[i]);
	}
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static bool pin_is(void *ctx, const uint8_t pin[IDENTITY_PIN_BYTES])
{
	return memcmp(ctx, pin, IDENTITY_PIN_BYTES) == 0;
}

/* Moves bytes until neither side has any; returns what the handshakes said last. */
static void pump(struct tls *a, struct tls *b)
{
	uint8_t bytes[4096];
	size_t size;

	do {
		size = tls_drain(a, bytes, sizeof(bytes));
		assert_int_equal(tls_feed(b, bytes, size), 0);
		size += tls_drain(b, bytes, sizeof(bytes));
		if (size > 0)
			assert_int_equal(tls_feed(a, bytes, size), 0);
	} while (size > 0 || tls_pending(a) || tls_pending(b));
}

static void shake(struct tls *client, struct tls *server, int *ret_client, int *ret_server)
{
	*ret_client = *ret_server = -EAGAIN;
	for (int i = 0; i < 6; i++) {
		uint8_t bytes[8192];
		size_t size;

		if (*ret_client == -EAGAIN)
			*ret_client = tls_handshake(client);
		while ((size = tls_drain(client, bytes, sizeof(bytes))) > 0)
			assert_int_equal(tls_feed(server, bytes, size), 0);
		if (*ret_server == -EAGAIN)
			*ret_server = tls_handshake(server);
		while ((size = tls_drain(server, bytes, sizeof(bytes))) > 0)
			assert_int_equal(tls_feed(client, bytes, size), 0);
	}
}

static void connect_two(int client_node, int server_node, int client_expects, int server_expects,
			struct tls **client, struct tls **server, int *ret_client, int *ret_server)
{
	assert_int_equal(
		tls_new(contexts[client_node], TLS_DIALS, pin_is, pins[client_expects], client), 0);
	assert_int_equal(
		tls_new(contexts[server_node], TLS_LISTENS, pin_is, pins[server_expects], server),
		0);
	shake(*client, *server, ret_client, ret_server);
}

static void nodes_that_know_each_other_talk(void **state)
{
	struct tls *client, *server;
	char bytes[64], text[96];
	int client_rc, server_rc;

	(void)state;
	connect_two(WEB1, WEB2, WEB2, WEB1, &client, &server, &client_rc, &server_rc);
	assert_int_equal(client_rc, 0);
	assert_int_equal(server_rc, 0);
	assert_int_equal(tls_write(client, "hello", 5), 0);
	assert_int_equal(tls_write(server, "world", 5), 0);
	uint8_t cipher[4096];
	size_t size = tls_drain(client, cipher, sizeof(cipher));

	tls_feed(server, cipher, size);
	size = tls_drain(server, cipher, sizeof(cipher));
	tls_feed(client, cipher, size);
	assert_int_equal(tls_read(server, bytes, sizeof(bytes)), 5);
	assert_memory_equal(bytes, "hello", 5);
	assert_int_equal(tls_read(client, bytes, sizeof(bytes)), 5);
	assert_memory_equal(bytes, "world", 5);
	assert_int_equal(tls_read(client, bytes, sizeof(bytes)), -EAGAIN);
	assert_non_null(strstr(tls_describe(client, text, sizeof(text)), "TLSv1.3"));
	/* An orderly end is told from a broken one. */
	tls_close(client);
	size = tls_drain(client, cipher, sizeof(cipher));
	tls_feed(server, cipher, size);
	assert_int_equal(tls_read(server, bytes, sizeof(bytes)), 0);
	tls_free(client);
	tls_free(server);
}

static void both_ends_have_one_binding_and_each_connection_another(void **state)
{
	uint8_t bindings[2][2][TLS_BINDING_BYTES];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct tls *client, *server;
		int client_rc, server_rc;

		connect_two(WEB1, WEB2, WEB2, WEB1, &client, &server, &client_rc, &server_rc);
		assert_int_equal(client_rc, 0);
		assert_int_equal(server_rc, 0);
		assert_int_equal(tls_binding(client, bindings[i][0]), 0);
		assert_int_equal(tls_binding(server, bindings[i][1]), 0);
		assert_memory_equal(bindings[i][0], bindings[i][1], TLS_BINDING_BYTES);
		tls_free(client);
		tls_free(server);
	}
	assert_memory_not_equal(bindings[0][0], bindings[1][0], TLS_BINDING_BYTES);
}

static void without_a_handshake_there_is_no_binding(void **state)
{
	uint8_t binding[TLS_BINDING_BYTES];
	struct tls *client;

	(void)state;
	assert_int_equal(tls_new(contexts[WEB1], TLS_DIALS, pin_is, pins[WEB2], &client), 0);
	assert_int_equal(tls_binding(client, binding), -EPROTO);
	tls_free(client);
}

static void the_dialler_refuses_a_key_that_it_does_not_know(void **state)
{
	struct tls *client, *server;
	uint8_t seen[IDENTITY_PIN_BYTES];
	char text[IDENTITY_PIN_TEXT_ROOM];
	int client_rc, server_rc;

	(void)state;
	connect_two(WEB1, STRANGER, WEB2, WEB1, &client, &server, &client_rc, &server_rc);
	assert_int_equal(client_rc, -EPROTO);
	assert_true(tls_unknown_pin(client, seen));
	assert_memory_equal(seen, pins[STRANGER], IDENTITY_PIN_BYTES);
	identity_pin_format(seen, text);
	assert_non_null(strstr(tls_why(client), text));
	/* And the other side learns it. */
	assert_int_equal(server_rc, -EPROTO);
	assert_non_null(strstr(tls_why(server), "does not know the key of this node"));
	tls_free(client);
	tls_free(server);
}

static void a_rejected_dialler_learns_it_at_its_first_read(void **state)
{
	struct tls *client, *server;
	char bytes[64];
	int client_rc, server_rc;

	(void)state;
	connect_two(STRANGER, WEB2, WEB2, WEB1, &client, &server, &client_rc, &server_rc);
	/* TLS 1.3: to the client all looks well. */
	assert_int_equal(client_rc, 0);
	assert_int_equal(server_rc, -EPROTO);
	assert_int_equal(tls_read(client, bytes, sizeof(bytes)), -EPROTO);
	assert_non_null(strstr(tls_why(client), "does not know the key of this node"));
	assert_non_null(strstr(tls_why(client), "tandem keygen"));
	tls_free(client);
	tls_free(server);
}

/* The parts of credentials: key, leaf, node certificate. */
struct parts {
	const uint8_t *der[3];
	size_t size[3];
};

static void take_apart(const uint8_t *credentials, size_t size, struct parts *parts)
{
	struct wire_reader r;

	wire_reader_init(&r, credentials, size);
	for (int i = 0; i < 3; i++) {
		parts->size[i] = wire_get_u16(&r);
		parts->der[i] = wire_get_slice(&r, parts->size[i]);
	}
	assert_true(wire_reader_done(&r));
}

static size_t put_together(uint8_t *bytes, const struct parts *parts)
{
	struct wire_writer w;

	wire_writer_init(&w, bytes, IDENTITY_CREDENTIALS_BYTES_MAX);
	for (int i = 0; i < 3; i++) {
		wire_put_u16(&w, (uint16_t)parts->size[i]);
		wire_put_bytes(&w, parts->der[i], parts->size[i]);
	}
	assert_true(wire_writer_ok(&w));
	return w.at;
}

/* The public certificate of a node is no secret: who shows it beside a key of his own must not get
 * in with it. */
static void a_borrowed_node_certificate_opens_nothing(void **state)
{
	uint8_t web1[IDENTITY_CREDENTIALS_BYTES_MAX], stranger[IDENTITY_CREDENTIALS_BYTES_MAX];
	uint8_t mixed[IDENTITY_CREDENTIALS_BYTES_MAX];
	struct parts web1_parts, stranger_parts;
	struct tls_context *context;
	struct tls *client, *server;
	uint8_t seen[IDENTITY_PIN_BYTES];
	int client_rc, server_rc;
	size_t size;

	(void)state;
	assert_int_equal(identity_issue_link(identities[WEB1], "web1", web1, &size), 0);
	take_apart(web1, size, &web1_parts);
	assert_int_equal(identity_issue_link(identities[STRANGER], "web1", stranger, &size), 0);
	take_apart(stranger, size, &stranger_parts);
	stranger_parts.der[2] = web1_parts.der[2];
	stranger_parts.size[2] = web1_parts.size[2];
	size = put_together(mixed, &stranger_parts);
	assert_int_equal(tls_context_new(mixed, size, &context), 0);
	assert_int_equal(tls_new(context, TLS_DIALS, pin_is, pins[WEB2], &client), 0);
	assert_int_equal(tls_new(contexts[WEB2], TLS_LISTENS, pin_is, pins[WEB1], &server), 0);
	shake(client, server, &client_rc, &server_rc);
	assert_int_equal(server_rc, -EPROTO);
	assert_false(tls_unknown_pin(server, seen));
	assert_non_null(strstr(tls_why(server), "certificates are not a tandem node's"));
	tls_free(client);
	tls_free(server);
	tls_context_free(context);
}

static void certificates_that_have_long_expired_do_as_well(void **state)
{
	uint8_t credentials[IDENTITY_CREDENTIALS_BYTES_MAX], old[IDENTITY_CREDENTIALS_BYTES_MAX];
	struct tls_context *context;
	struct tls *client, *server;
	int client_rc, server_rc;
	struct parts parts;
	unsigned char *der = NULL;
	const unsigned char *at;
	EVP_PKEY *node_key;
	char path[160];
	FILE *file;
	size_t size;
	X509 *leaf;

	(void)state;
	/* The same leaf with dates in the last century, signed again by the node key. */
	assert_int_equal(identity_issue_link(identities[WEB1], "web1", credentials, &size), 0);
	take_apart(credentials, size, &parts);
	snprintf(path, sizeof(path), "%s/web1/" IDENTITY_FILE, dir);
	file = fopen(path, "r");
	assert_non_null(file);
	node_key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	at = parts.der[1];
	leaf = d2i_X509(NULL, &at, (long)parts.size[1]);
	ASN1_TIME_set_string(X509_getm_notBefore(leaf), "19900101000000Z");
	ASN1_TIME_set_string(X509_getm_notAfter(leaf), "19910101000000Z");
	assert_true(X509_sign(leaf, node_key, NULL) > 0);
	parts.size[1] = (size_t)i2d_X509(leaf, &der);
	parts.der[1] = der;
	size = put_together(old, &parts);
	assert_int_equal(tls_context_new(old, size, &context), 0);
	assert_int_equal(tls_new(context, TLS_DIALS, pin_is, pins[WEB2], &client), 0);
	assert_int_equal(tls_new(contexts[WEB2], TLS_LISTENS, pin_is, pins[WEB1], &server), 0);
	shake(client, server, &client_rc, &server_rc);
	assert_int_equal(client_rc, 0);
	assert_int_equal(server_rc, 0);
	tls_free(client);
	tls_free(server);
	tls_context_free(context);
	OPENSSL_free(der);
	X509_free(leaf);
	EVP_PKEY_free(node_key);
}

/* A plain OpenSSL client that talks to one of ours. */
static void foreign_client(SSL_CTX *ctx, const char *expected)
{
	struct tls *server;
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	uint8_t bytes[8192];
	int rc = -EAGAIN;

	assert_int_equal(tls_new(contexts[WEB2], TLS_LISTENS, pin_is, pins[WEB1], &server), 0);
	SSL_set_bio(ssl, in, out);
	SSL_set_connect_state(ssl);
	for (int i = 0; i < 5 && rc == -EAGAIN; i++) {
		size_t size;
		int n;

		(void)SSL_do_handshake(ssl);
		while ((n = BIO_read(out, bytes, sizeof(bytes))) > 0)
			assert_int_equal(tls_feed(server, bytes, (size_t)n), 0);
		rc = tls_handshake(server);
		while ((size = tls_drain(server, bytes, sizeof(bytes))) > 0)
			BIO_write(in, bytes, (int)size);
	}
	assert_int_equal(rc, -EPROTO);
	assert_non_null(strstr(tls_why(server), expected));
	SSL_free(ssl);
	tls_free(server);
}

static void tls_1_2_is_refused(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	(void)state;
	SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	foreign_client(ctx, "does not speak TLS 1.3");
	SSL_CTX_free(ctx);
}

static void a_client_without_a_key_is_refused(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	(void)state;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x08tandem/1", 9);
	foreign_client(ctx, "it has shown no key");
	SSL_CTX_free(ctx);
}

static void another_protocol_over_tls_is_refused(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	(void)state;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x02h2", 3);
	foreign_client(ctx, "does not speak tandem's protocol");
	SSL_CTX_free(ctx);
}

static void what_is_not_tls_is_refused(void **state)
{
	static const char *const greetings[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
						"SSH-2.0-OpenSSH_9.2p1\r\n"};
	struct tls *server;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(tls_new(contexts[WEB2], TLS_LISTENS, pin_is, pins[WEB1], &server),
				 0);
		tls_feed(server, greetings[i], strlen(greetings[i]));
		assert_int_equal(tls_handshake(server), -EPROTO);
		assert_string_equal(tls_why(server), "it does not speak TLS");
		tls_free(server);
	}
}

static void damaged_credentials_make_no_context(void **state)
{
	uint8_t credentials[IDENTITY_CREDENTIALS_BYTES_MAX];
	struct tls_context *context;
	size_t size;

	(void)state;
	assert_int_equal(identity_issue_link(identities[WEB1], "web1", credentials, &size), 0);
	for (size_t cut = 0; cut < size; cut += 37)
		assert_int_equal(tls_context_new(credentials, cut, &context), -EKEYREJECTED);
}

static void a_handshake_is_quick(void **state)
{
	struct timespec from, to;
	struct tls *client, *server;
	int client_rc, server_rc;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < 100; i++) {
		connect_two(WEB1, WEB2, WEB2, WEB1, &client, &server, &client_rc, &server_rc);
		assert_int_equal(server_rc, 0);
		pump(client, server);
		tls_free(client);
		tls_free(server);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("figure: mutual handshake with both pins, both ends: %.2f ms\n",
	       ((double)(to.tv_sec - from.tv_sec) * 1e3 +
		(double)(to.tv_nsec - from.tv_nsec) / 1e6) /
		       100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_that_know_each_other_talk),
		cmocka_unit_test(the_dialler_refuses_a_key_that_it_does_not_know),
		cmocka_unit_test(a_rejected_dialler_learns_it_at_its_first_read),
		cmocka_unit_test(a_borrowed_node_certificate_opens_nothing),
		cmocka_unit_test(certificates_that_have_long_expired_do_as_well),
		cmocka_unit_test(tls_1_2_is_refused),
		cmocka_unit_test(a_client_without_a_key_is_refused),
		cmocka_unit_test(another_protocol_over_tls_is_refused),
		cmocka_unit_test(what_is_not_tls_is_refused),
		cmocka_unit_test(damaged_credentials_make_no_context),
		cmocka_unit_test(both_ends_have_one_binding_and_each_connection_another),
		cmocka_unit_test(without_a_handshake_there_is_no_binding),
		cmocka_unit_test(a_handshake_is_quick),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
