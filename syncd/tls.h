/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls: one end of a TLS 1.3 connection, as bytes in and bytes out; no socket, no loop.
 *
 *   cipher bytes from the socket -> tls_feed(); tls_handshake() or tls_read(); tls_drain() ->
 * socket
 *
 * TLS 1.3 alone, no tickets, no resumption, ALPN "tandem/1". Both sides show two certificates: an
 * ephemeral key's, issued by the node key, and the node key's own. The other side takes them if the
 * SHA-256 of the second one's SubjectPublicKeyInfo is a pin that the caller knows (the caller
 * compares, in constant time), and the first is signed by it. Dates are never looked at: a host
 * with a wrong clock must be able to join.
 *
 * A TLS 1.3 client is "connected" before the server has looked at its certificate: only bytes from
 * the peer's application prove it. The link's WELCOME is that.
 */
#ifndef TANDEM_TLS_H
#define TANDEM_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "syncd/identity.h"

#define TLS_ALPN "tandem/1"
#define TLS_WHY_ROOM 512
#define TLS_BINDING_BYTES 32

struct tls_context; /* credentials of this process */
struct tls;	    /* one connection */

/* credentials: as identity_issue_link() made them. -EKEYREJECTED: they are not. */
int tls_context_new(const uint8_t *credentials, size_t size, struct tls_context **ret_context);
/* Connections made from it may outlive it. */
struct tls_context *tls_context_free(struct tls_context *context);

/* Whether the peer may come in; pin is the one it has shown. The place to remember who it is. */
typedef bool (*tls_pin_fn)(void *ctx, const uint8_t pin[IDENTITY_PIN_BYTES]);

enum tls_role { TLS_DIALS, TLS_LISTENS };

int tls_new(struct tls_context *context, enum tls_role role, tls_pin_fn on_pin, void *ctx,
	    struct tls **ret_tls);
struct tls *tls_free(struct tls *tls);

/* All of bytes is taken, or -ENOMEM. */
int tls_feed(struct tls *tls, const void *bytes, size_t size);
/* What is to go to the socket: how much there is; copies up to room of it. */
size_t tls_pending(const struct tls *tls);
size_t tls_drain(struct tls *tls, void *bytes, size_t room);

/* 0: done. -EAGAIN: more bytes are needed. -EPROTO: failed, tls_why() says how; drain once more,
 * for the alert. */
int tls_handshake(struct tls *tls);
/* Bytes of plain text, -EAGAIN, 0 (the peer has closed in order), -EPROTO (tls_why()). */
ssize_t tls_read(struct tls *tls, void *bytes, size_t room);
/* All of it, or -EPROTO. Memory grows by it until drained: the caller bounds that. */
int tls_write(struct tls *tls, const void *bytes, size_t size);
void tls_close(struct tls *tls); /* queues close_notify */

/* Was the failure that on_pin said no, and to which pin? */
bool tls_unknown_pin(const struct tls *tls, uint8_t ret_pin[IDENTITY_PIN_BYTES]);
/* A plain sentence's part: "it does not speak TLS", "it refused our key: ..." */
const char *tls_why(const struct tls *tls);
/* After the handshake: 32 bytes that both ends of this connection have, and nobody has of any other
 * (RFC 9266, tls-exporter). -EPROTO: there is none. */
int tls_binding(struct tls *tls, uint8_t ret_binding[TLS_BINDING_BYTES]);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384" */
const char *tls_describe(const struct tls *tls, char *text, size_t room);

#endif
