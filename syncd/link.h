/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link: the courier of tandem-syncd: TLS connections to the peers, frames, reconnects. It runs in a
 * process of its own as user tandem-syncd with no capability, never touches a disk, signs nothing,
 * and looks into no frame but its own (WELCOME, PING, PONG, BYE).
 *
 * Of two nodes the one with the lower place in the file dials; a newer connection of a peer
 * replaces the older one. On the wire each frame is a u32 length (of what follows), a u8 type, and
 * the payload.
 *
 * To the keeper (shared/msg over keeper_fd; link_client.h is the other end): a connection is named
 * by a number that is never used again. Each PEER_UP comes with credit; each FRAME that the keeper
 * sends costs its payload plus LINK_FRAME_COST, and comes back as CREDIT once it is on the socket:
 * so a slow peer holds back what is for it and nothing else. What the peers send is read only while
 * the keeper takes it.
 *
 * A link has one configuration: after a reload the runner makes another one. When the runner's
 * (runner_fd) or the keeper's end closes, it leaves.
 */
#ifndef TANDEM_LINK_H
#define TANDEM_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/conf.h"
#include "shared/ip.h"
#include "shared/loop.h"
#include "shared/priv.h"
#include "syncd/session_wire.h"

#define LINK_CREDIT_BYTES (1024 * 1024)
#define LINK_FRAME_COST 16
#define LINK_BINDING_BYTES 32 /* TLS_BINDING_BYTES */
#define LINK_PENDING_MAX 32   /* connections that have not shown a key yet */
#define LINK_PENDING_PER_SOURCE_MAX 8
#define LINK_HANDSHAKE_US (5 * 1000000ull)
#define LINK_PING_US (1 * 1000000ull)
#define LINK_DEAD_US (5 * 1000000ull) /* nothing heard for so long: the path is dead */
#define LINK_BACKOFF_FIRST_US (100 * 1000ull)
#define LINK_BACKOFF_LAST_US (5 * 1000000ull)
#define LINK_ERROR_BYTES_MAX 1024

/* Messages link -> keeper. Fields in shared/wire form, in this order. */
enum link_message {
	LINK_MSG_UP = 1,      /* u32 conn, string node, string address, string tls, u32 credit, 32
			       * bytes: the binding of the TLS connection */
	LINK_MSG_DOWN = 2,    /* u32 conn, string reason */
	LINK_MSG_TROUBLE = 3, /* string node ("" if no node is known), string text: no connection */
	LINK_MSG_FRAME = 4,   /* u32 conn, u8 type, payload; both directions */
	LINK_MSG_CREDIT = 5,  /* u32 conn, u32 bytes */
	LINK_MSG_RTT = 6,     /* u32 conn, u64 rtt_us */
	/* keeper -> link */
	LINK_MSG_CLOSE = 16, /* u32 conn, string reason: BYE, then closed; DOWN follows */
};

struct link;

struct link_options {
	const struct conf *conf;    /* borrowed for the call; self is set */
	const uint8_t *credentials; /* identity_issue_link(); borrowed for the call */
	size_t credentials_size;
	int keeper_fd; /* taken over */
	int runner_fd; /* taken over; -1: none (tests) */
	int listen_fd; /* taken over; -1: only dials */
	uint64_t seed; /* of the back-off's jitter */
};

/* Listens on a node's address, also while the address is not there yet. Root for ports < 1024; call
 * it before the drop. why gets a sentence. */
int link_listen(const struct ip_addr *address, uint16_t port, int *ret_fd, char *why, size_t room);

/* -errno: it cannot work, and the process had better end. */
int link_new(struct loop *loop, const struct link_options *options, struct link **ret_link);
struct link *link_free(struct link *link);

/* The process: loop, drop to user (NULL: stay, for tests), run until told to leave. Returns the
 * exit status. The caller has forked and closed what the link must not have. */
int link_main(const struct link_options *options, const struct priv_user *user);

#endif
