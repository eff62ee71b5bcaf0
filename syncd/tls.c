/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/wire.h"

struct tls_context {
	SSL_CTX *ctx;
};

struct tls {
	SSL *ssl;
	BIO *in, *out; /* the SSL's own */
	tls_pin_fn on_pin;
	void *ctx;
	bool unknown_pin;
	bool bad_chain;
	uint8_t pin[IDENTITY_PIN_BYTES];
	char why[TLS_WHY_ROOM];
};

/* ALPN's form: a length before each name. */
static const unsigned char alpn[] = "\x08" TLS_ALPN;
#define ALPN_BYTES (sizeof(alpn) - 1)

static struct tls *tls_of(SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

/* SHA-256 of the DER SubjectPublicKeyInfo, the algorithm included. */
static bool pin_of(X509 *cert, uint8_t ret_pin[IDENTITY_PIN_BYTES])
{
	unsigned char *der = NULL;
	int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

	if (size <= 0)
		return false;
	SHA256(der, (size_t)size, ret_pin);
	OPENSSL_free(der);
	return true;
}

static bool is_ed25519(X509 *cert)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);

	return key && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519;
}

/* In place of OpenSSL's whole verification, so that dates, names, purposes and the system's trust
 * store are never looked at: exactly two certificates, the second one's key pinned, the first one
 * signed by it. */
static int verify_chain(X509_STORE_CTX *store, void *arg)
{
	int index = SSL_get_ex_data_X509_STORE_CTX_idx();
	struct tls *tls = tls_of(X509_STORE_CTX_get_ex_data(store, index));
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(store);
	X509 *leaf, *node;

	(void)arg;
	X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
	tls->bad_chain = true;
	if (!chain || sk_X509_num(chain) != 2)
		return 0;
	leaf = sk_X509_value(chain, 0);
	node = sk_X509_value(chain, 1);
	if (!is_ed25519(leaf) || !is_ed25519(node) || !pin_of(node, tls->pin))
		return 0;
	/* The signature first: a pin that merely stands there proves nothing, and must not be
	 * named in a message as one that tried. */
	if (X509_verify(leaf, X509_get0_pubkey(node)) != 1)
		return 0;
	tls->bad_chain = false;
	if (!tls->on_pin(tls->ctx, tls->pin)) {
		tls->unknown_pin = true;
		return 0;
	}
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size,
		       const unsigned char *in, unsigned in_size, void *arg)
{
	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto((unsigned char **)out, out_size, alpn, ALPN_BYTES, in, in_size) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

static int use_credentials(SSL_CTX *ctx, const uint8_t *credentials, size_t size)
{
	const uint8_t *der[3];
	size_t sizes[3];
	struct wire_reader r;
	const unsigned char *at;
	X509 *leaf = NULL, *node = NULL;
	EVP_PKEY *key = NULL;
	int rc = -EKEYREJECTED;

	wire_reader_init(&r, credentials, size);
	for (int i = 0; i < 3; i++) {
		sizes[i] = wire_get_u16(&r);
		der[i] = wire_get_slice(&r, sizes[i]);
	}
	if (!wire_reader_done(&r))
		return rc;
	at = der[0];
	key = d2i_AutoPrivateKey(NULL, &at, (long)sizes[0]);
	at = der[1];
	leaf = d2i_X509(NULL, &at, (long)sizes[1]);
	at = der[2];
	node = d2i_X509(NULL, &at, (long)sizes[2]);
	if (key && leaf && node && SSL_CTX_use_certificate(ctx, leaf) == 1 &&
	    SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1 &&
	    SSL_CTX_add1_chain_cert(ctx, node) == 1)
		rc = 0;
	EVP_PKEY_free(key);
	X509_free(leaf);
	X509_free(node);
	return rc;
}

int tls_context_new(const uint8_t *credentials, size_t size, struct tls_context **ret_context)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	int rc = -ENOMEM;

	if (!context)
		return rc;
	context->ctx = SSL_CTX_new(TLS_method());
	if (!context->ctx || SSL_CTX_set_min_proto_version(context->ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(context->ctx, TLS1_3_VERSION) != 1)
		goto fail;
	/* A resumed session would skip the pins, so that a revoked one lived on. */
	SSL_CTX_set_options(context->ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_num_tickets(context->ctx, 0);
	SSL_CTX_set_session_cache_mode(context->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context->ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(context->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(context->ctx, verify_chain, NULL);
	/* Otherwise OpenSSL would build the chain that we send from the system's store. */
	SSL_CTX_set_mode(context->ctx, SSL_MODE_NO_AUTO_CHAIN);
	/* Two small certificates: whoever sends more before being known is not heard out. */
	SSL_CTX_set_max_cert_list(context->ctx, 16 * 1024);
	SSL_CTX_set_alpn_select_cb(context->ctx, select_alpn, NULL);
	if (SSL_CTX_set_alpn_protos(context->ctx, alpn, ALPN_BYTES) != 0)
		goto fail;
	rc = use_credentials(context->ctx, credentials, size);
	if (rc < 0)
		goto fail;
	*ret_context = context;
	return 0;
fail:
	tls_context_free(context);
	ERR_clear_error();
	return rc;
}

struct tls_context *tls_context_free(struct tls_context *context)
{
	if (context)
		SSL_CTX_free(context->ctx);
	free(context);
	return NULL;
}

int tls_new(struct tls_context *context, enum tls_role role, tls_pin_fn on_pin, void *ctx,
	    struct tls **ret_tls)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return -ENOMEM;
	tls->on_pin = on_pin;
	tls->ctx = ctx;
	tls->ssl = SSL_new(context->ctx);
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	if (!tls->ssl || !tls->in || !tls->out) {
		BIO_free(tls->in);
		BIO_free(tls->out);
		tls->in = tls->out = NULL;
		tls_free(tls);
		return -ENOMEM;
	}
	/* Empty is "later", not "the end". */
	BIO_set_mem_eof_return(tls->in, -1);
	BIO_set_mem_eof_return(tls->out, -1);
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	SSL_set_app_data(tls->ssl, tls);
	if (role == TLS_DIALS)
		SSL_set_connect_state(tls->ssl);
	else
		SSL_set_accept_state(tls->ssl);
	*ret_tls = tls;
	return 0;
}

struct tls *tls_free(struct tls *tls)
{
	if (tls)
		SSL_free(tls->ssl);
	free(tls);
	return NULL;
}

int tls_feed(struct tls *tls, const void *bytes, size_t size)
{
	size_t written = 0;

	if (size == 0)
		return 0;
	if (BIO_write_ex(tls->in, bytes, size, &written) != 1 || written != size)
		return -ENOMEM;
	return 0;
}

size_t tls_pending(const struct tls *tls)
{
	return BIO_ctrl_pending(tls->out);
}

size_t tls_drain(struct tls *tls, void *bytes, size_t room)
{
	size_t size = 0;

	if (BIO_read_ex(tls->out, bytes, room, &size) != 1)
		return 0;
	return size;
}

/* The alerts that a peer of ours sends, by what a person can do about them. */
static const char *alert_text(int reason)
{
	switch (reason) {
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		return "it does not know the key of this node; put this node's line (`tandem "
		       "keygen` prints it) into its tandem.conf and reload it";
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		return "it does not speak TLS 1.3";
	case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
		return "it does not speak tandem's protocol";
	default:
		return NULL;
	}
}

static void explain(struct tls *tls)
{
	unsigned long error = ERR_peek_last_error(), first = ERR_peek_error();
	int reason = ERR_GET_REASON(first);
	const char *text = NULL;
	char pin[IDENTITY_PIN_TEXT_ROOM];

	if (tls->unknown_pin) {
		identity_pin_format(tls->pin, pin);
		snprintf(tls->why, sizeof(tls->why), "its key is not the one in the file: %s", pin);
	} else if (tls->bad_chain) {
		snprintf(tls->why, sizeof(tls->why),
			 "its certificates are not a tandem node's (two, the first issued by the "
			 "second)");
	} else if (ERR_GET_LIB(first) != ERR_LIB_SSL) {
		ERR_error_string_n(error, pin, sizeof(pin));
		snprintf(tls->why, sizeof(tls->why), "TLS failed: %s",
			 error ? ERR_reason_error_string(error) : "the connection broke off");
	} else if ((text = alert_text(reason))) {
		snprintf(tls->why, sizeof(tls->why), "%s", text);
	} else if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_WRONG_SSL_VERSION ||
		   reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION) {
		snprintf(tls->why, sizeof(tls->why), "it does not speak TLS 1.3");
	} else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
		   reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_PACKET_LENGTH_TOO_LONG ||
		   reason == SSL_R_BAD_RECORD_TYPE) {
		snprintf(tls->why, sizeof(tls->why), "it does not speak TLS");
	} else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
		snprintf(tls->why, sizeof(tls->why), "it has shown no key");
	} else if (reason == SSL_R_NO_APPLICATION_PROTOCOL) {
		snprintf(tls->why, sizeof(tls->why), "it does not speak tandem's protocol");
	} else {
		const char *words = ERR_reason_error_string(first);

		snprintf(tls->why, sizeof(tls->why), "TLS failed: %s", words ? words : "no reason");
	}
	ERR_clear_error();
}

/* What to do after a call that did not succeed: -EAGAIN, 0 for an orderly end, or -EPROTO. */
static int judge(struct tls *tls, int rc)
{
	switch (SSL_get_error(tls->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		explain(tls);
		return -EPROTO;
	}
}

int tls_handshake(struct tls *tls)
{
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(tls->ssl);
	if (rc == 1) {
		const unsigned char *protocol = NULL;
		unsigned size = 0;

		SSL_get0_alpn_selected(tls->ssl, &protocol, &size);
		if (size == ALPN_BYTES - 1 && memcmp(protocol, TLS_ALPN, size) == 0)
			return 0;
		snprintf(tls->why, sizeof(tls->why), "it does not speak tandem's protocol");
		return -EPROTO;
	}
	rc = judge(tls, rc);
	if (rc == 0) {
		snprintf(tls->why, sizeof(tls->why), "it closed the connection in the handshake");
		rc = -EPROTO;
	}
	return rc;
}

ssize_t tls_read(struct tls *tls, void *bytes, size_t room)
{
	size_t size = 0;
	int rc;

	ERR_clear_error();
	rc = SSL_read_ex(tls->ssl, bytes, room, &size);
	return rc == 1 ? (ssize_t)size : judge(tls, rc);
}

int tls_write(struct tls *tls, const void *bytes, size_t size)
{
	size_t written = 0;
	int rc;

	if (size == 0)
		return 0;
	ERR_clear_error();
	rc = SSL_write_ex(tls->ssl, bytes, size, &written);
	if (rc == 1) {
		/* A memory BIO takes all, and partial writes are off. */
		assert(written == size);
		return 0;
	}
	explain(tls);
	return -EPROTO;
}

void tls_close(struct tls *tls)
{
	ERR_clear_error();
	if (SSL_is_init_finished(tls->ssl))
		(void)SSL_shutdown(tls->ssl);
	ERR_clear_error();
}

bool tls_unknown_pin(const struct tls *tls, uint8_t ret_pin[IDENTITY_PIN_BYTES])
{
	if (tls->unknown_pin)
		memcpy(ret_pin, tls->pin, IDENTITY_PIN_BYTES);
	return tls->unknown_pin;
}

const char *tls_why(const struct tls *tls)
{
	return tls->why;
}

int tls_binding(struct tls *tls, uint8_t ret_binding[TLS_BINDING_BYTES])
{
	static const char label[] = "EXPORTER-Channel-Binding";
	int rc;

	ERR_clear_error();
	rc = SSL_export_keying_material(tls->ssl, ret_binding, TLS_BINDING_BYTES, label,
					sizeof(label) - 1, NULL, 0, 0);
	ERR_clear_error();
	return rc == 1 ? 0 : -EPROTO;
}

const char *tls_describe(const struct tls *tls, char *text, size_t room)
{
	snprintf(text, room, "%s %s", SSL_get_version(tls->ssl), SSL_get_cipher_name(tls->ssl));
	return text;
}
