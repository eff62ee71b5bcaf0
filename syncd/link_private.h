/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_private: what link.c (the process: configuration, listening, dialling, messages) and
 * link_conn.c (one connection: TLS, frames, keepalive) share. Nobody else includes it.
 */
#ifndef TANDEM_LINK_PRIVATE_H
#define TANDEM_LINK_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/conf.h"
#include "shared/loop.h"
#include "shared/msg.h"
#include "syncd/link.h"
#include "syncd/session_wire.h"
#include "syncd/tls.h"

#define LINK_LENGTH_BYTES 4
#define LINK_FRAME_BYTES_MAX (LINK_LENGTH_BYTES + 1 + SESSION_PAYLOAD_BYTES_MAX)
/* Before WELCOME nobody has a reason to say more. */
#define LINK_FIRST_BYTES_MAX (LINK_LENGTH_BYTES + 1 + 640)
#define LINK_CLOSING_US (1 * 1000000ull)
/* So much may wait for the keeper before the peers are no longer read. */
#define LINK_KEEPER_QUEUE_HIGH (256 * 1024)
#define LINK_KEEPER_QUEUE_MAX (8 * 1024 * 1024)

enum link_conn_state {
	LINK_CONNECTING, /* TCP */
	LINK_HANDSHAKE,	 /* TLS */
	LINK_WELCOME,	 /* our WELCOME is out, theirs awaited */
	LINK_UP,
	LINK_CLOSING /* the last bytes go out; nothing is heard any more */
};

struct link_conn {
	struct link *link;
	struct link_conn *next;
	enum link_conn_state state;
	bool dialed;
	bool dead;	 /* freed by link_conn_sweep() */
	int node;	 /* index into link->nodes; -1 until known */
	uint32_t number; /* while UP */
	int fd;
	struct loop_fd *source;
	struct loop_timer *timer;
	struct tls *tls;
	struct ip_addr address;
	char address_text[IP_TEXT_MAX];
	bool pinned; /* pin has been shown, and is in the file */
	uint8_t pin[IDENTITY_PIN_BYTES];
	/* plain bytes of the frame that is coming in */
	uint8_t *in;
	size_t in_size;
	/* cipher bytes that the socket did not take yet */
	uint8_t *out;
	size_t out_at, out_size;
	size_t unreturned;    /* credit that the keeper has spent and not got back */
	uint64_t deadline_us; /* of the handshake, or of the closing */
	uint64_t up_us, heard_us, ping_us;
	uint64_t ping_token, ping_sent_us;
};

struct link_node {
	struct link *link;
	char name[CONF_NAME_BYTES_MAX + 1];
	struct ip_addr address;
	uint16_t port;
	int pins_count;
	uint8_t pins[CONF_KEYS_PER_NODE_MAX][CONF_PIN_BYTES];
	bool dials;		  /* it is on us to connect */
	struct link_conn *conn;	  /* UP, or NULL */
	struct link_conn *dial;	  /* on its way, or NULL */
	struct loop_timer *timer; /* the next try */
	uint64_t backoff_us;
	char trouble[LINK_ERROR_BYTES_MAX];
};

struct link {
	struct loop *loop;
	struct tls_context *tls;
	struct msg_channel *keeper, *runner;
	int listen_fd;
	struct loop_fd *listener;
	struct loop_timer *listen_timer, *sweep_timer;
	char cluster[SESSION_NAME_BYTES_MAX + 1];
	char self[CONF_NAME_BYTES_MAX + 1];
	struct ip_addr self_address;
	struct link_node nodes[CONF_NODES_MAX];
	int nodes_count;
	struct link_conn *conns;
	uint32_t number_next;
	uint64_t random;
	bool paused; /* the keeper is behind */
	bool gone;   /* the keeper or the runner has gone */
	char stranger[LINK_ERROR_BYTES_MAX];
	uint64_t stranger_us;
};

/* link.c: what the keeper is told. */
void link_tell_up(struct link_conn *conn);
void link_tell_down(struct link_conn *conn, const char *reason);
/* Says why there is no connection, once as long as it is the same. node may be NULL. */
void link_tell_trouble(struct link *link, struct link_node *node, const char *name,
		       const char *text);
void link_tell_frame(struct link_conn *conn, uint8_t type, const uint8_t *payload, size_t size);
void link_tell_credit(struct link_conn *conn, size_t bytes);
void link_tell_rtt(struct link_conn *conn, uint64_t rtt_us);

/* link_peers.c */
struct link_node *link_node_of(struct link_conn *conn);	       /* NULL: not known */
int link_find_node(const struct link *link, const char *name); /* -1: there is none */
/* Some node other than this one has the pin. */
bool link_knows_pin(const struct link *link, const uint8_t pin[IDENTITY_PIN_BYTES]);
bool link_node_has_pin(const struct link_node *node, const uint8_t pin[IDENTITY_PIN_BYTES]);
/* The connection has become UP: the older one of that node goes, the keeper is told. */
void link_conn_is_up(struct link_conn *conn);
/* Called once for each connection as it stops being CONNECTING .. UP; reason is a sentence. */
void link_conn_is_down(struct link_conn *conn, const char *reason);
/* A connection is dead: it is freed in the next turn. */
void link_sweep_soon(struct link *link);
void link_on_sweep(void *ctx);
void link_dial(struct link *link, struct link_node *node); /* unless there is a connection */
void link_on_dial_timer(void *ctx);			   /* ctx: the node */
/* Takes over fd; -1: no listener. */
int link_set_listener(struct link *link, int fd);
void link_on_listen_timer(void *ctx);

/* link_conn.c */
/* Takes over fd, connected or connecting. */
int link_conn_new(struct link *link, int fd, int node, const struct ip_addr *address,
		  struct link_conn **ret_conn);
/* Encodes, encrypts and sends what the socket takes. */
void link_conn_send(struct link_conn *conn, uint8_t type, const uint8_t *payload, size_t size);
/* Says BYE with reason if the peer can hear it, and goes on to CLOSING. */
void link_conn_close(struct link_conn *conn, const char *reason);
/* At once, and nobody is told. */
void link_conn_drop(struct link_conn *conn);
/* Goes on reading after a pause. */
void link_conn_resume(struct link_conn *conn);
void link_conn_update(struct link_conn *conn);
void link_conn_free(struct link_conn *conn);
void link_conn_flush(struct link_conn *conn);

#endif
