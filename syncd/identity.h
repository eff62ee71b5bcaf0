/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity: this node's key, and what it signs.
 *
 * The node key is an Ed25519 key in STATE/node.key (PEM, PKCS#8, 0600 root). Its pin is the SHA-256
 * of the DER SubjectPublicKeyInfo, written SHA256:BASE64 as in tandem.conf. It signs three kinds of
 * things, which cannot be taken for each other: generations and connections (each under a prefix of
 * its own), and the certificate of a key that lives as long as one link process. The link never has
 * the node key.
 *
 * Blocking file access; -errno where the world failed. why, where there is one, gets a sentence
 * with place, cause and cure. Nothing here logs.
 */
#ifndef TANDEM_IDENTITY_H
#define TANDEM_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDENTITY_FILE "node.key"
#define IDENTITY_PIN_BYTES 32
#define IDENTITY_PIN_TEXT_ROOM 52 /* "SHA256:", 43 characters, NUL */
#define IDENTITY_PUBLIC_BYTES 32
#define IDENTITY_SIGNED_BYTES 96 /* public key, signature */
#define IDENTITY_CREDENTIALS_BYTES_MAX 4096
#define IDENTITY_WHY_ROOM 512

struct identity;

/* Makes the state directory (0700) and the key. -EEXIST: there is one, and it is left alone unless
 * replace. ret_pin is set on success. */
int identity_make(const char *state_dir, bool replace, uint8_t ret_pin[IDENTITY_PIN_BYTES],
		  char why[IDENTITY_WHY_ROOM]);
/* -ENOENT: no key yet (`tandem keygen`). -EPERM: others can read it. -EKEYREJECTED: not an Ed25519
 * key in PEM. */
int identity_load(const char *state_dir, struct identity **ret_identity,
		  char why[IDENTITY_WHY_ROOM]);
struct identity *identity_free(struct identity *identity); /* wipes it */
void identity_pin(const struct identity *identity, uint8_t ret_pin[IDENTITY_PIN_BYTES]);

/* "SHA256:0J5a..." */
void identity_pin_format(const uint8_t pin[IDENTITY_PIN_BYTES], char text[IDENTITY_PIN_TEXT_ROOM]);

enum identity_kind {
	IDENTITY_GENERATION, /* its id */
	IDENTITY_CONNECTION, /* its binding (tls_binding()): whose keeper is at this end */
};
/* Signs an id of that kind: public key and signature, as it is stored and travels. */
int identity_sign(const struct identity *identity, enum identity_kind kind, const uint8_t id[32],
		  uint8_t ret_signed[IDENTITY_SIGNED_BYTES]);
/* True if signed_by is a signature of id, of that kind, by a key whose pin is one of pins (compared
 * in constant time). Needs no identity: any process may ask. */
bool identity_verify(const uint8_t (*pins)[IDENTITY_PIN_BYTES], int pins_count,
		     enum identity_kind kind, const uint8_t id[32],
		     const uint8_t signed_by[IDENTITY_SIGNED_BYTES]);
/* The pin of the key in signed_by, for messages. */
void identity_signer_pin(const uint8_t signed_by[IDENTITY_SIGNED_BYTES],
			 uint8_t ret_pin[IDENTITY_PIN_BYTES]);

/* What one link process shows: a fresh Ed25519 key, its certificate by the node key, and the node
 * key's own certificate, in the form that tls_context_new() takes. Secret: wipe it after use
 * (OPENSSL_cleanse or explicit_bzero). */
int identity_issue_link(const struct identity *identity, const char *node,
			uint8_t ret_credentials[IDENTITY_CREDENTIALS_BYTES_MAX], size_t *ret_size);

#endif
