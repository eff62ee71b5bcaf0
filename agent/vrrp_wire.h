/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrrp_wire: bytes of a VRRP advertisement to values and back. Pure.
 *
 * VRRPv2 as RFC 3768 has it, with the simple-text authentication of RFC 2338 section 5.3.6, because
 * running pairs use it; VRRPv3 as RFC 9568 has it. One struct vrrp_wire_conf says what one virtual
 * router here expects. Decoding answers with a verdict, a different one for each way to be wrong,
 * and a verdict has a grade:
 *
 *   VRRP_GRADE_ACCEPTED  an advert of this router; its address list may differ (that is said, and
 *                        tolerated: refusing it splits a pair while one node is reconfigured)
 *   VRRP_GRADE_MISMATCH  a configured peer, at least one address in common, and another password,
 *                        interval (v2) or version: it is alive, so the state machine gets it as an
 *                        advert; and it is counted and shown as a mistake in somebody's file
 *   VRRP_GRADE_REFUSED   counted under its verdict and source, otherwise without effect
 *   VRRP_GRADE_NOT_OURS  another virtual router's, or our own come back: not even counted
 *
 * Use: keep one vrrp_wire_conf for each instance; ask vrrp_wire_vrid() which instance a packet may
 * be for; vrrp_wire_decode(); if vrrp_wire_usable(verdict) make a VRRP_EV_ADVERT of it.
 */
#ifndef TANDEM_VRRP_WIRE_H
#define TANDEM_VRRP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/ip.h"

#define VRRP_PROTOCOL 112
#define VRRP_TTL 255	  /* RFC 9568 section 5.1.1.3 */
#define VRRP_NODES_MAX 16 /* nodes of one virtual router, ourselves included */
#define VRRP_VIPS_MAX 64  /* addresses that we advertise; a peer may name 255 */
#define VRRP_AUTH_BYTES 8
#define VRRP_PRIORITY_OWNER 255
#define VRRP_PRIORITY_LEAVE 0 /* "I stop": backups wait skew time only */
/* Header, 255 IPv6 addresses, authentication data: no advert is longer. */
#define VRRP_WIRE_BYTES_MAX (8 + 255 * 16 + VRRP_AUTH_BYTES)

/* The two readings of RFC 5798's checksum for IPv4. keepalived's default is the pseudo header; RFC
 * 9568 section 5.2.8 and many vendors say without. IPv6 always has it, v2 never does. */
enum vrrp_checksum { VRRP_CHECKSUM_PSEUDO, VRRP_CHECKSUM_PLAIN };

enum vrrp_verdict {
	VRRP_OK,
	VRRP_OTHER_ADDRESSES,  /* accepted: another list of addresses, even a wholly other one */
	VRRP_OTHER_PASSWORD,   /* mismatch: v2 authentication data */
	VRRP_OTHER_AUTH_TYPE,  /* mismatch: v2 authentication type, 1 (PASS) or 0 (none) */
	VRRP_OTHER_INTERVAL,   /* mismatch: v2 advertisement interval */
	VRRP_OTHER_VERSION,    /* mismatch: 2 here and 3 there or the reverse */
	VRRP_TOO_SHORT,	       /* shorter than a header */
	VRRP_BAD_VERSION,      /* neither 2 nor 3 */
	VRRP_BAD_TYPE,	       /* not 1, ADVERTISEMENT */
	VRRP_BAD_VRID,	       /* 0 */
	VRRP_BAD_TTL,	       /* out of its limits: not from this link */
	VRRP_NO_ADDRESSES,     /* an address count of 0 */
	VRRP_BAD_LENGTH,       /* not what the address count says */
	VRRP_BAD_CHECKSUM,     /* by neither reading */
	VRRP_UNKNOWN_SOURCE,   /* not one of the nodes */
	VRRP_BAD_AUTH_TYPE,    /* neither none nor PASS (2 is AH), or strangers' addresses too */
	VRRP_BAD_INTERVAL,     /* 0 */
	VRRP_STRANGE_PASSWORD, /* like OTHER_*, without an address in common */
	VRRP_STRANGE_AUTH_TYPE,
	VRRP_STRANGE_INTERVAL,
	VRRP_STRANGE_VERSION,
	VRRP_OTHER_VRID,   /* not ours */
	VRRP_OTHER_FAMILY, /* not ours: IPv6 for an IPv4 router or the reverse */
	VRRP_OWN_PACKET,   /* not ours: our own advert come back */
	VRRP_VERDICTS
};

enum vrrp_grade {
	VRRP_GRADE_ACCEPTED,
	VRRP_GRADE_MISMATCH,
	VRRP_GRADE_REFUSED,
	VRRP_GRADE_NOT_OURS
};

/* What one virtual router expects, and (version to addresses) what it sends. */
struct vrrp_wire_conf {
	uint8_t version; /* 2 or 3 */
	uint8_t vrid;	 /* 1..255 */
	uint8_t family;	 /* enum ip_family: of the source addresses and of the virtual ones */
	bool auth_pass;	 /* v2 only */
	uint8_t auth_data[VRRP_AUTH_BYTES];
	uint32_t advert_int_cs; /* centiseconds; v2: a multiple of 100 up to 25500, v3: 1..4095 */
	int ttl_min;		/* 255 unless configured; 0: any */
	struct vrrp_ttl {
		uint8_t min, max; /* 0: ttl_min, and any */
	} ttls[VRRP_NODES_MAX];	  /* of single nodes */
	int self;		/* index into nodes */
	int nodes_count;
	struct ip_addr nodes[VRRP_NODES_MAX]; /* source address of each; IP_NONE: takes no part */
	int vips_count;
	struct ip_addr vips[VRRP_VIPS_MAX]; /* as advertised, in the order of the file */
};

/* A received packet: what the IP header says, and the VRRP message behind it. payload is borrowed.
 */
struct vrrp_packet {
	struct ip_addr source;
	struct ip_addr destination;
	int ttl;
	const uint8_t *payload;
	size_t size;
};

struct vrrp_advert {
	uint8_t version;
	uint8_t vrid;
	uint8_t priority;
	uint8_t family;
	uint8_t auth_type; /* v2: 0 none, 1 PASS, 2 AH */
	uint8_t auth_data[VRRP_AUTH_BYTES];
	uint32_t advert_int_cs;	     /* v2: seconds * 100 */
	enum vrrp_checksum checksum; /* v3: the reading that held */
	int node;		     /* sender, index into vrrp_wire_conf.nodes; -1 if unknown */
	int addresses_count;
	struct ip_addr addresses[255];
};

/* The VRID of a message, or 0 if it is too short to have one. */
uint8_t vrrp_wire_vrid(const uint8_t *payload, size_t size);

/* Fills *ret_advert as far as the message could be read (a refused one may be partly zero) and
 * answers what it is. */
enum vrrp_verdict vrrp_wire_decode(const struct vrrp_wire_conf *conf,
				   const struct vrrp_packet *packet,
				   struct vrrp_advert *ret_advert);

/* Our own advert with this priority. checksum matters to v3 over IPv4 alone, where source and
 * destination are what the IP header will say. Returns the bytes written, 0 if room is too small.
 */
size_t vrrp_wire_encode(const struct vrrp_wire_conf *conf, uint8_t priority,
			enum vrrp_checksum checksum, const struct ip_addr *destination,
			uint8_t *ret_data, size_t room);
/* Any advert, for tests and tools; source and destination as above. */
size_t vrrp_wire_encode_advert(const struct vrrp_advert *advert, const struct ip_addr *source,
			       const struct ip_addr *destination, uint8_t *ret_data, size_t room);

enum vrrp_grade vrrp_wire_grade(enum vrrp_verdict verdict);
/* Accepted or a mismatch: the state machine must know of it. */
bool vrrp_wire_usable(enum vrrp_verdict verdict);
/* "bad-checksum": for counters and status. */
const char *vrrp_wire_verdict_name(enum vrrp_verdict verdict);
/* "the checksum is wrong, with and without the pseudo header": for people. */
const char *vrrp_wire_verdict_text(enum vrrp_verdict verdict);

#endif
