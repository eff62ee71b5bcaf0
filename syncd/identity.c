/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/identity.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/durable.h"
#include "shared/wire.h"

#define KEY_FILE_BYTES_MAX 4096

/* What is signed is this and the id: a signature of a generation can be nothing else. The
 * certificates that the same key signs begin with 0x30, an ASN.1 sequence. */
static const char *const prefixes[] = {
	[IDENTITY_GENERATION] = "tandem generation 1\n",
	[IDENTITY_CONNECTION] = "tandem connection 1\n",
};
#define SIGNED_TEXT_BYTES_MAX (20 + 32)

/* The DER of an Ed25519 SubjectPublicKeyInfo (RFC 8410 section 4) before its 32 bytes of key. */
static const uint8_t spki_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
				      0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

struct identity {
	EVP_PKEY *key;
	uint8_t public[IDENTITY_PUBLIC_BYTES];
};

static void pin_of_public(const uint8_t public[IDENTITY_PUBLIC_BYTES],
			  uint8_t ret_pin[IDENTITY_PIN_BYTES])
{
	uint8_t spki[sizeof(spki_prefix) + IDENTITY_PUBLIC_BYTES];

	memcpy(spki, spki_prefix, sizeof(spki_prefix));
	memcpy(spki + sizeof(spki_prefix), public, IDENTITY_PUBLIC_BYTES);
	SHA256(spki, sizeof(spki), ret_pin);
}

static int public_of_key(EVP_PKEY *key, uint8_t ret_public[IDENTITY_PUBLIC_BYTES])
{
	size_t size = IDENTITY_PUBLIC_BYTES;

	if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 ||
	    EVP_PKEY_get_raw_public_key(key, ret_public, &size) != 1 ||
	    size != IDENTITY_PUBLIC_BYTES)
		return -EKEYREJECTED;
	return 0;
}

static EVP_PKEY *new_key(void)
{
	return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static int open_state_dir(const char *state_dir, char *why)
{
	int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		fd = -errno;
		snprintf(why, IDENTITY_WHY_ROOM, "%s: cannot be opened: %s; is --state-dir right?",
			 state_dir, strerror(-fd));
	}
	return fd;
}

static int write_key(int dirfd, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	char *pem = NULL;
	long size;
	int rc = -ENOMEM;

	if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
		size = BIO_get_mem_data(bio, &pem);
		rc = durable_write(dirfd, IDENTITY_FILE, pem, (size_t)size, 0600);
	}
	BIO_free(bio);
	return rc;
}

int identity_make(const char *state_dir, bool replace, uint8_t ret_pin[IDENTITY_PIN_BYTES],
		  char why[IDENTITY_WHY_ROOM])
{
	uint8_t public[IDENTITY_PUBLIC_BYTES];
	EVP_PKEY *key = NULL;
	struct stat st;
	int dirfd, rc;

	rc = durable_mkdir(state_dir, 0700);
	if (rc < 0) {
		snprintf(why, IDENTITY_WHY_ROOM, "%s: cannot be made: %s; run it as root",
			 state_dir, strerror(-rc));
		return rc;
	}
	dirfd = open_state_dir(state_dir, why);
	if (dirfd < 0)
		return dirfd;
	if (fstatat(dirfd, IDENTITY_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 && !replace) {
		snprintf(why, IDENTITY_WHY_ROOM,
			 "%s/%s: there is a key already; a new one would make this node a stranger "
			 "to its peers until their files name it",
			 state_dir, IDENTITY_FILE);
		close(dirfd);
		return -EEXIST;
	}
	key = new_key();
	rc = key ? public_of_key(key, public) : -ENOMEM;
	if (rc == 0)
		rc = write_key(dirfd, key);
	if (rc == 0)
		pin_of_public(public, ret_pin);
	else
		snprintf(why, IDENTITY_WHY_ROOM, "%s/%s: cannot be written: %s", state_dir,
			 IDENTITY_FILE, strerror(-rc));
	EVP_PKEY_free(key);
	close(dirfd);
	return rc;
}

/* -EPERM if others than the owner can read or write it, or the owner is another than us. */
static int check_mode(int dirfd, const char *state_dir, char *why)
{
	struct stat st;
	int rc = 0;

	if (fstatat(dirfd, IDENTITY_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		rc = -errno;
		if (rc == -ENOENT)
			snprintf(why, IDENTITY_WHY_ROOM,
				 "%s/%s: this node has no key yet; run `tandem keygen` and put its "
				 "line into nodes in tandem.conf on every node",
				 state_dir, IDENTITY_FILE);
		else
			snprintf(why, IDENTITY_WHY_ROOM, "%s/%s: %s", state_dir, IDENTITY_FILE,
				 strerror(-rc));
	} else if (!S_ISREG(st.st_mode) || (st.st_mode & 077) || st.st_uid != geteuid()) {
		snprintf(why, IDENTITY_WHY_ROOM,
			 "%s/%s: must be a file that its owner alone can read; run `chown %u "
			 "%s/%s && chmod 600 %s/%s`",
			 state_dir, IDENTITY_FILE, (unsigned)geteuid(), state_dir, IDENTITY_FILE,
			 state_dir, IDENTITY_FILE);
		rc = -EPERM;
	}
	return rc;
}

int identity_load(const char *state_dir, struct identity **ret_identity,
		  char why[IDENTITY_WHY_ROOM])
{
	struct identity *identity = NULL;
	char *pem = NULL;
	size_t size = 0;
	BIO *bio = NULL;
	int dirfd, rc;

	dirfd = open_state_dir(state_dir, why);
	if (dirfd < 0)
		return dirfd;
	rc = check_mode(dirfd, state_dir, why);
	if (rc < 0)
		goto out;
	rc = durable_read(dirfd, IDENTITY_FILE, KEY_FILE_BYTES_MAX, &pem, &size);
	if (rc < 0) {
		snprintf(why, IDENTITY_WHY_ROOM, "%s/%s: cannot be read: %s", state_dir,
			 IDENTITY_FILE, strerror(-rc));
		goto out;
	}
	identity = calloc(1, sizeof(*identity));
	bio = BIO_new_mem_buf(pem, (int)size);
	rc = -ENOMEM;
	if (!identity || !bio)
		goto out;
	/* No callback for a password: an encrypted key is refused, never asked about. */
	identity->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
	rc = identity->key ? public_of_key(identity->key, identity->public) : -EKEYREJECTED;
	if (rc < 0)
		snprintf(why, IDENTITY_WHY_ROOM,
			 "%s/%s: is not an unencrypted Ed25519 key in PEM; put the right file "
			 "back, or "
			 "remove it and run `tandem keygen`",
			 state_dir, IDENTITY_FILE);
out:
	BIO_free(bio);
	if (pem)
		OPENSSL_cleanse(pem, size);
	free(pem);
	close(dirfd);
	if (rc < 0)
		identity = identity_free(identity);
	else
		*ret_identity = identity;
	return rc;
}

struct identity *identity_free(struct identity *identity)
{
	if (identity) {
		EVP_PKEY_free(identity->key); /* OpenSSL wipes private keys */
		free(identity);
	}
	return NULL;
}

void identity_pin(const struct identity *identity, uint8_t ret_pin[IDENTITY_PIN_BYTES])
{
	pin_of_public(identity->public, ret_pin);
}

void identity_pin_format(const uint8_t pin[IDENTITY_PIN_BYTES], char text[IDENTITY_PIN_TEXT_ROOM])
{
	unsigned char base64[48];
	int size = EVP_EncodeBlock(base64, pin, IDENTITY_PIN_BYTES);

	/* 32 bytes make 43 characters and one '=', which is left away as ssh does. */
	assert(size == 44);
	memcpy(text, "SHA256:", 7);
	memcpy(text + 7, base64, 43);
	text[50] = '\0';
}

static size_t signed_text(enum identity_kind kind, const uint8_t id[32],
			  uint8_t text[SIGNED_TEXT_BYTES_MAX])
{
	size_t size = strlen(prefixes[kind]);

	memcpy(text, prefixes[kind], size);
	memcpy(text + size, id, 32);
	return size + 32;
}

int identity_sign(const struct identity *identity, enum identity_kind kind, const uint8_t id[32],
		  uint8_t ret_signed[IDENTITY_SIGNED_BYTES])
{
	uint8_t text[SIGNED_TEXT_BYTES_MAX];
	size_t text_size = signed_text(kind, id, text), size = 64;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int rc = -ENOMEM;

	memcpy(ret_signed, identity->public, IDENTITY_PUBLIC_BYTES);
	if (md && EVP_DigestSignInit(md, NULL, NULL, NULL, identity->key) == 1 &&
	    EVP_DigestSign(md, ret_signed + IDENTITY_PUBLIC_BYTES, &size, text, text_size) == 1 &&
	    size == 64)
		rc = 0;
	EVP_MD_CTX_free(md);
	return rc;
}

bool identity_verify(const uint8_t (*pins)[IDENTITY_PIN_BYTES], int pins_count,
		     enum identity_kind kind, const uint8_t id[32],
		     const uint8_t signed_by[IDENTITY_SIGNED_BYTES])
{
	uint8_t text[SIGNED_TEXT_BYTES_MAX], pin[IDENTITY_PIN_BYTES];
	size_t text_size = signed_text(kind, id, text);
	EVP_MD_CTX *md;
	EVP_PKEY *key;
	bool known = false, good;

	pin_of_public(signed_by, pin);
	for (int i = 0; i < pins_count; i++)
		known |= CRYPTO_memcmp(pin, pins[i], IDENTITY_PIN_BYTES) == 0;
	if (!known)
		return false;
	key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, signed_by, IDENTITY_PUBLIC_BYTES);
	md = EVP_MD_CTX_new();
	good = key && md && EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) == 1 &&
	       EVP_DigestVerify(md, signed_by + IDENTITY_PUBLIC_BYTES, 64, text, text_size) == 1;
	EVP_MD_CTX_free(md);
	EVP_PKEY_free(key);
	return good;
}

void identity_signer_pin(const uint8_t signed_by[IDENTITY_SIGNED_BYTES],
			 uint8_t ret_pin[IDENTITY_PIN_BYTES])
{
	pin_of_public(signed_by, ret_pin);
}

/* A certificate is only the form in which TLS 1.3 of OpenSSL 3.0 carries a key (raw public keys
 * came with 3.2). Nobody looks at its dates; they are wide for tools that do. */
static X509 *certify(EVP_PKEY *subject, const char *name, EVP_PKEY *issuer, const char *issuer_name)
{
	X509 *cert = X509_new();
	uint8_t serial[8];
	ASN1_INTEGER *number;
	uint64_t value = 0;

	if (!cert || RAND_bytes(serial, sizeof(serial)) != 1)
		goto fail;
	for (size_t i = 0; i < sizeof(serial); i++)
		value = value << 8 | serial[i];
	number = X509_get_serialNumber(cert);
	if (X509_set_version(cert, X509_VERSION_3) != 1 ||
	    ASN1_INTEGER_set_uint64(number, value >> 1 | 1) != 1 ||
	    !ASN1_TIME_set_string(X509_getm_notBefore(cert), "20000101000000Z") ||
	    !ASN1_TIME_set_string(X509_getm_notAfter(cert), "99991231235959Z") ||
	    X509_set_pubkey(cert, subject) != 1)
		goto fail;
	if (X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				       (const unsigned char *)name, -1, -1, 0) != 1 ||
	    X509_NAME_add_entry_by_txt(X509_get_issuer_name(cert), "CN", MBSTRING_ASC,
				       (const unsigned char *)issuer_name, -1, -1, 0) != 1)
		goto fail;
	if (X509_sign(cert, issuer, NULL) == 0)
		goto fail;
	return cert;
fail:
	X509_free(cert);
	return NULL;
}

/* u16 size and DER for each of: private key (PKCS#8), leaf, node certificate. */
static bool put_der(struct wire_writer *w, int size, uint8_t **der)
{
	if (size <= 0)
		return false;
	wire_put_u16(w, (uint16_t)size);
	wire_put_bytes(w, *der, (size_t)size);
	OPENSSL_clear_free(*der, (size_t)size);
	*der = NULL;
	return wire_writer_ok(w);
}

int identity_issue_link(const struct identity *identity, const char *node,
			uint8_t ret_credentials[IDENTITY_CREDENTIALS_BYTES_MAX], size_t *ret_size)
{
	EVP_PKEY *key = new_key();
	PKCS8_PRIV_KEY_INFO *info = key ? EVP_PKEY2PKCS8(key) : NULL;
	X509 *leaf = NULL, *own = NULL;
	char leaf_name[80];
	struct wire_writer w;
	uint8_t *der = NULL;
	int rc = -ENOMEM;

	/* X.520 limits a common name to 64 characters; node names have up to 63. */
	snprintf(leaf_name, sizeof(leaf_name), "%.59s link", node);
	if (!info)
		goto out;
	leaf = certify(key, leaf_name, identity->key, node);
	own = certify(identity->key, node, identity->key, node);
	if (!leaf || !own)
		goto out;
	wire_writer_init(&w, ret_credentials, IDENTITY_CREDENTIALS_BYTES_MAX);
	if (!put_der(&w, i2d_PKCS8_PRIV_KEY_INFO(info, &der), &der) ||
	    !put_der(&w, i2d_X509(leaf, &der), &der) || !put_der(&w, i2d_X509(own, &der), &der))
		goto out;
	*ret_size = w.at;
	rc = 0;
out:
	X509_free(own);
	X509_free(leaf);
	PKCS8_PRIV_KEY_INFO_free(info);
	EVP_PKEY_free(key);
	return rc;
}
