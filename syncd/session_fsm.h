/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_fsm: what to say next to one peer, for all mirrors. Pure: no clock, sockets, allocation,
 * logging or globals. The keeper has one for each peer; the invariants R-S* are in
 * docs/INVARIANTS.md.
 *
 * The core counts, orders and waits; it looks at no generation and no tree. The shell (the keeper)
 * tells it what relation two heads have, and does what the actions say, in their order:
 *
 *   peer up:     UP -> HELLO out; HELLO in -> MIRROR actions, HEAD out for each mirror (that the
 *                peer's keeper has signed its HELLO is seen to by the shell, before the core hears
 * it) their head:  FRAME(HEAD) -> PEER_HEAD action -> shell decodes it, answers with HEADS event
 *   our change:  HEADS event (with the relation to the peer's head) -> HEAD out, TRANSFER action
 *   transfer:    TRANSFER -> shell sends OFFER, ENTRIES, CONTENT, END with that number as the
 *                link's credit allows, then SENT; NEED in -> TRANSFER without base, or CONTENTS
 *   receiving:   RECEIVE actions hand over OFFER, ENTRIES, CONTENT, END; at END (or earlier) the
 *                shell answers NEED_MANIFEST, NEED_OBJECTS, or RESULT (RECEIVED first, then what
 *                became of it, as often as there is news)
 *   resync:      SCANNED event -> VERIFY out; what is equal -> VERIFIED, what is not -> DESCEND
 *
 * One transfer for each mirror in each direction is outstanding at a time; a newer head waits for
 * it, and only the newest does. A generation that the peer gave a final answer to is not offered
 * again until there is another, or SYNC.
 *
 * Events and the frames in them are borrowed for the call. Actions point into the event's frame or
 * into the core and hold until its next step.
 */
#ifndef TANDEM_SESSION_FSM_H
#define TANDEM_SESSION_FSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/session_wire.h"

#define SESSION_NEVER_US UINT64_MAX
#define SESSION_HELLO_WAIT_US (5 * 1000000ull)
/* Nothing heard of an outstanding transfer or question for so long: the session ends. */
#define SESSION_SILENCE_US (30 * 1000000ull)
/* What was made elsewhere is passed on only after its maker had time to bring it himself. */
#define SESSION_RELAY_DELAY_US (1 * 1000000ull)
/* The peer has what we lack and does not bring it: ask. */
#define SESSION_WANT_DELAY_US (10 * 1000000ull)
#define SESSION_REASON_ROOM 600

enum session_state {
	SESSION_DOWN,	  /* no connection */
	SESSION_GREETING, /* HELLO sent, theirs awaited */
	SESSION_OPEN,
	SESSION_CLOSING, /* CLOSE was said; DOWN is awaited */
	SESSION_STATES
};

enum session_mirror_state {
	SESSION_MIRROR_UNKNOWN, /* no HELLO yet */
	SESSION_MIRROR_SHARED,
	SESSION_MIRROR_ABSENT,		   /* the peer has no mirror of this name */
	SESSION_MIRROR_DEFINITION_DIFFERS, /* nothing is exchanged */
	SESSION_MIRROR_STATES
};

/* Of this node's head to the peer's, as syncd/merge finds it. */
enum session_relation {
	SESSION_RELATION_UNKNOWN, /* the peer's head is not known yet */
	SESSION_SAME,		  /* the same generation, or neither has one */
	SESSION_LOCAL_AHEAD,	  /* the peer's is an ancestor, or it has none */
	SESSION_PEER_AHEAD,
	SESSION_CONCURRENT,
	SESSION_UNRELATED, /* no common past, or diverged */
};

enum session_event_kind {
	SESSION_EV_UP, /* the link has the peer; both welcomes were exchanged. .signed_by for HELLO
			*/
	SESSION_EV_DOWN,
	SESSION_EV_FRAME,     /* decoded; .frame */
	SESSION_EV_BAD_FRAME, /* it could not be decoded; .verdict, .frame_type */
	SESSION_EV_HEADS,     /* .heads: this node's head or what is known of the peer's changed */
	SESSION_EV_SENT,      /* the shell has sent END of .mirror's .transfer */
	SESSION_EV_SEND_FAILED, /* the shell gave .transfer up: .text says why (CANCEL goes out) */
	SESSION_EV_NEED_MANIFEST, /* .mirror, .transfer: base's manifest is not held here */
	SESSION_EV_NEED_OBJECTS,  /* .mirror, .transfer, .hashes, .hashes_count */
	SESSION_EV_RESULT,	  /* .mirror, .id, .outcome, .text: for a generation of this peer */
	SESSION_EV_WANT,	  /* .mirror, .id: fetch it from this peer */
	SESSION_EV_SCANNED,	/* .mirror, .id (head), .tree: a full scan of the live tree ended */
	SESSION_EV_WALK_ASK,	/* .mirror, .path, .after: one question of a descent */
	SESSION_EV_WALK_ANSWER, /* .frame: a WALK_ANSWER that the shell made; .slot is filled in */
	SESSION_EV_SYNC,	/* .mirror: a person asks; refusals are forgotten on both sides */
	SESSION_EV_NODE,	/* .maintenance of this node, at the start and when it changes */
	SESSION_EV_TICK,	/* session_fsm_deadline() has come */
	SESSION_EVENTS
};

struct session_heads {
	bool local_present, peer_present;
	uint8_t local_id[SESSION_HASH_BYTES];
	uint8_t peer_id[SESSION_HASH_BYTES];
	enum session_relation relation;
	bool made_here; /* local_id has this node as its author: offered without delay */
	bool offerable; /* false: it is not validated, and stays here until it is */
	bool has_base;	/* the newest generation held here that the peer is known to hold */
	uint8_t base[SESSION_HASH_BYTES];
	bool peer_held; /* peer_id is in the store, or was refused: no need to ask for it */
};

struct session_event {
	enum session_event_kind kind;
	uint64_t now_us; /* monotonic */
	int mirror;	 /* own index */
	uint32_t transfer;
	uint8_t id[SESSION_HASH_BYTES];
	uint8_t tree[SESSION_HASH_BYTES];
	uint8_t signed_by[SESSION_SIGNED_BYTES];
	enum session_outcome outcome;
	struct session_string text;
	struct session_string path, after;
	const uint8_t *hashes;
	size_t hashes_count; /* past SESSION_NEED_HASHES_MAX the rest is left for the next round */
	const struct session_frame *frame;
	struct session_heads heads;
	enum session_verdict verdict;
	uint8_t frame_type;
	bool maintenance;
};

enum session_action_kind {
	SESSION_ACT_SEND,      /* encode .frame and send it */
	SESSION_ACT_SEND_HEAD, /* a HEAD of .mirror with .slot; the shell fills the header in */
	SESSION_ACT_MIRROR,    /* .mirror_state of .mirror is known */
	SESSION_ACT_OPEN,      /* HELLO was exchanged: .frame is the peer's */
	SESSION_ACT_PEER_HEAD, /* .frame is a HEAD: the shell answers with HEADS */
	SESSION_ACT_TRANSFER,  /* .mirror, .slot, .transfer, .id, .has_base, .base */
	SESSION_ACT_CONTENTS,  /* .mirror, .slot, .transfer: the objects in .frame (a NEED), END */
	SESSION_ACT_STOP_SENDING,   /* .mirror, .transfer: nothing more of it is to be sent */
	SESSION_ACT_RECEIVE,	    /* .mirror, .frame: OFFER, ENTRIES, CONTENT or END */
	SESSION_ACT_STOP_RECEIVING, /* .mirror: throw away what came; .frame may be a CANCEL */
	SESSION_ACT_REPORT,	    /* .mirror, .frame is a RESULT: of a generation that we sent */
	SESSION_ACT_VERIFIED,	    /* .mirror, .id: both live trees are equal to it */
	SESSION_ACT_DESCEND,	/* .mirror: same head, other live tree; the shell starts WALK_ASK */
	SESSION_ACT_WALK_ASKED, /* .mirror, .frame: the shell answers with WALK_ANSWER */
	SESSION_ACT_WALK_ANSWERED, /* .mirror, .frame */
	SESSION_ACT_SYNC,	   /* .mirror: the peer asks: forget refusals, scan, verify */
	SESSION_ACT_PEER_NODE,	   /* .frame is a NODE */
	SESSION_ACT_CLOSE,	   /* .reason: the link says BYE and closes */
	SESSION_ACTIONS
};

struct session_action {
	enum session_action_kind kind;
	int mirror;
	uint8_t slot; /* own slot of the mirror, for the frames that the shell builds */
	uint32_t transfer;
	uint8_t id[SESSION_HASH_BYTES];
	bool has_base;
	uint8_t base[SESSION_HASH_BYTES];
	enum session_mirror_state mirror_state;
	const struct session_frame *frame;
	const char *reason;
};

/* The most that one step can ask for: a HELLO brings a MIRROR and a HEAD for each mirror, DOWN two
 * STOPs for each. Asserted. */
#define SESSION_ACTIONS_MAX (4 * SESSION_MIRRORS_MAX + 8)

struct session_actions {
	int count;
	struct session_action items[SESSION_ACTIONS_MAX];
	/* Frames that the core makes itself; SEND actions point here. */
	int frames_count;
	struct session_frame frames[SESSION_MIRRORS_MAX + 4];
};

enum session_tx_state { SESSION_TX_IDLE, SESSION_TX_SENDING, SESSION_TX_AWAITING };
enum session_rx_state {
	SESSION_RX_IDLE,
	SESSION_RX_RECEIVING,
	SESSION_RX_DECIDING,
	SESSION_RX_NEEDING
};

struct session_conf_mirror {
	char name[SESSION_NAME_BYTES_MAX + 1];
	uint8_t definition[SESSION_HASH_BYTES];
};

struct session_conf {
	char peer[SESSION_NAME_BYTES_MAX + 1]; /* for reasons */
	char software[SESSION_NAME_BYTES_MAX + 1];
	uint8_t config_hash[SESSION_HASH_BYTES];
	int mirrors_count;
	struct session_conf_mirror mirrors[SESSION_MIRRORS_MAX];
};

/* Of one mirror: run state. */
struct session_mirror {
	enum session_mirror_state state;
	uint8_t peer_slot;
	struct session_heads heads;
	bool heads_known;
	uint64_t relay_us; /* when a head that was not made here may be offered */
	uint64_t want_us;  /* when to ask for the peer's head */
	/* the last offered generation that has an answer */
	bool answered;
	uint8_t answered_id[SESSION_HASH_BYTES];
	enum session_outcome answered_outcome;
	/* outgoing */
	enum session_tx_state tx;
	uint32_t tx_transfer;
	uint8_t tx_id[SESSION_HASH_BYTES];
	bool tx_wanted; /* the present one answers a WANT */
	bool tx_has_base;
	uint64_t tx_silence_us;
	/* a WANT that waits for its turn */
	bool wanted;
	bool wanted_has_base;
	uint8_t wanted_id[SESSION_HASH_BYTES];
	uint8_t wanted_base[SESSION_HASH_BYTES];
	/* incoming */
	enum session_rx_state rx;
	uint32_t rx_transfer;
	uint32_t rx_entries_left;
	uint64_t rx_silence_us;
	bool asked; /* our WANT is out */
	uint8_t asked_id[SESSION_HASH_BYTES];
	uint64_t asked_silence_us;
	/* resync */
	bool scanned;
	uint8_t scanned_id[SESSION_HASH_BYTES];
	uint8_t scanned_tree[SESSION_HASH_BYTES];
	uint32_t walk; /* number of our question that is out; 0: none */
	uint32_t walk_next;
	uint64_t walk_silence_us;
};

struct session_fsm {
	struct session_conf conf;
	enum session_state state;
	uint64_t hello_deadline_us;
	uint32_t transfer_next;
	bool maintenance; /* of this node */
	struct session_mirror mirrors[SESSION_MIRRORS_MAX];
	char reason[SESSION_REASON_ROOM];
};

void session_fsm_init(struct session_fsm *fsm, const struct session_conf *conf);
/* Asserts on events that the shell may not make (a transfer number it was never given, a mirror
 * that does not exist); whatever a *peer* says is answered. Events for a connection that has gone
 * meanwhile (SENT after DOWN, say) are ignored. */
void session_fsm_step(struct session_fsm *fsm, const struct session_event *ev,
		      struct session_actions *out);
/* Monotonic us at which TICK is due, or SESSION_NEVER_US. */
uint64_t session_fsm_deadline(const struct session_fsm *fsm);

const char *session_state_name(enum session_state state);
const char *session_mirror_state_name(enum session_mirror_state state);
const char *session_event_name(enum session_event_kind kind);
const char *session_action_name(enum session_action_kind kind);

#endif
