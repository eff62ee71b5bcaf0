/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_wire: bytes <-> session frames. Pure. session_wire.c reads, session_wire_put.c writes,
 * and session_words.c says in words what the numbers mean.
 *
 * The link carries frames of a type (u8) and a payload; this is the payload of each type that the
 * keepers exchange, with a named verdict for each way to be wrong. docs/PROTOCOL.md lists every
 * frame with its fields. WELCOME, PING, PONG and BYE are spoken by the links themselves.
 *
 * What a decoded frame points to lies in the payload and is borrowed as long as that is. Manifest
 * entries and generation headers are opaque here (syncd/tree and syncd/generation know them); their
 * sizes are bounded here.
 *
 * A mirror is named by its slot: the place that it has in the *sender's* HELLO. A transfer is named
 * by a number that its sender counts up from 1 in each session; what belongs to an older transfer
 * than the present one is late, not wrong.
 */
#ifndef TANDEM_SESSION_WIRE_H
#define TANDEM_SESSION_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SESSION_PROTOCOL_VERSION 1
/* Of one frame, without the length and the type. Fits a message between link and keeper. */
#define SESSION_PAYLOAD_BYTES_MAX (60 * 1024)
#define SESSION_HASH_BYTES 32
#define SESSION_SIGNED_BYTES 96	      /* IDENTITY_SIGNED_BYTES: public key and signature */
#define SESSION_MIRRORS_MAX 16	      /* CONF_MIRRORS_MAX */
#define SESSION_NAME_BYTES_MAX 63     /* CONF_NAME_BYTES_MAX */
#define SESSION_HEADER_BYTES_MAX 8192 /* one generation header; 64 vector components fit */
#define SESSION_TEXT_BYTES_MAX 4096   /* nginx's own words */
#define SESSION_REASON_BYTES_MAX 512  /* of a BYE or a CANCEL */
#define SESSION_PATH_BYTES_MAX 4096
#define SESSION_NEED_HASHES_MAX 1024 /* in one NEED; what is still missing is asked for again */
#define SESSION_ENTRIES_MAX 200000   /* of one manifest */
#define SESSION_OBJECT_BYTES_MAX (4ull * 1024 * 1024 * 1024)
/* Payload bytes that a CONTENT or ENTRIES frame has for its data at most. */
#define SESSION_CHUNK_BYTES_MAX (56 * 1024)

enum session_frame_type {
	/* between the links */
	SESSION_WELCOME = 1,
	SESSION_PING = 2,
	SESSION_PONG = 3,
	SESSION_BYE = 4,
	/* between the keepers */
	SESSION_HELLO = 16,
	SESSION_HEAD = 17,
	SESSION_OFFER = 18,
	SESSION_ENTRIES = 19,
	SESSION_CONTENT = 20,
	SESSION_END = 21,
	SESSION_NEED = 22,
	SESSION_CANCEL = 23,
	SESSION_WANT = 24,
	SESSION_RESULT = 25,
	SESSION_VERIFY = 26,
	SESSION_WALK_ASK = 27,
	SESSION_WALK_ANSWER = 28,
	SESSION_SYNC_REQUEST = 29,
	SESSION_NODE = 30,
};

enum session_verdict {
	SESSION_OK = 0,
	SESSION_BAD_TYPE,	/* a frame type that this version does not know */
	SESSION_TOO_SHORT,	/* a field reaches past the end */
	SESSION_TRAILING_BYTES, /* bytes after the last field */
	SESSION_TOO_LARGE,	/* the payload is longer than SESSION_PAYLOAD_BYTES_MAX */
	SESSION_BAD_VERSION,	/* another protocol version */
	SESSION_BAD_NAME,	/* a name with characters that names do not have, or empty */
	SESSION_NAME_TOO_LONG,
	SESSION_DUPLICATE_NAME, /* two mirrors of one name */
	SESSION_TOO_MANY_MIRRORS,
	SESSION_BAD_SLOT,     /* a slot past SESSION_MIRRORS_MAX */
	SESSION_BAD_FLAG,     /* a flag byte that is neither 0 nor 1, or a reserved one */
	SESSION_BAD_TRANSFER, /* transfer number 0 */
	SESSION_HEADER_TOO_LONG,
	SESSION_EMPTY_HEADER,
	SESSION_TOO_MANY_ENTRIES,
	SESSION_EMPTY_CHUNK,
	SESSION_BAD_ENCODING, /* a content encoding that this version does not know */
	SESSION_OBJECT_TOO_LARGE,
	SESSION_CHUNK_OUT_OF_BOUNDS, /* offset and length reach past the announced size */
	SESSION_BAD_NEED,	     /* unknown kind, or no hash, or too many of them */
	SESSION_BAD_OUTCOME,
	SESSION_TEXT_TOO_LONG,
	SESSION_BAD_PATH, /* not absolute, or with a NUL */
	SESSION_PATH_TOO_LONG,
	SESSION_BAD_ENTRY_TYPE,
	SESSION_VERDICTS
};

/* How the content of an object travels (delta.h makes and reads them). */
enum session_encoding { SESSION_RAW = 0, SESSION_ZSTD = 1, SESSION_DELTA = 2, SESSION_ENCODINGS };

/* What became of a generation. RECEIVED and STAGED are on the way; WAITING lasts until a local edit
 * is published; the others are final for this generation. */
enum session_outcome {
	SESSION_RECEIVED = 0, /* whole and durable here; a base for deltas from now on */
	SESSION_STAGED = 1,   /* validated here, about to go live */
	SESSION_LIVE = 2,     /* committed; not (yet) proven to be loaded, text says why */
	SESSION_LOADED = 3,   /* nginx runs with it */
	SESSION_REFUSED = 4,  /* validate failed here: text has its words */
	SESSION_WAITING = 5,  /* an unpublished edit here comes first: text names it */
	SESSION_CONFLICT = 6,
	SESSION_DIVERGED = 7,
	SESSION_FAILED = 8,	/* not content's fault: disk full, reload failed, rolled back ... */
	SESSION_SUPERSEDED = 9, /* this node has it or a descendant of it as its head already */
	SESSION_ABSENT = 10,	/* answer to a WANT: not held here */
	SESSION_OUTCOMES
};

enum session_need { SESSION_NEED_MANIFEST = 0, SESSION_NEED_OBJECTS = 1, SESSION_NEEDS };

enum session_walk_type { SESSION_WALK_DIR = 0, SESSION_WALK_FILE = 1, SESSION_WALK_SYMLINK = 2 };

struct session_string {
	const char *bytes; /* borrowed, not terminated, no NUL among them */
	size_t size;
};

struct session_hello_mirror {
	char name[SESSION_NAME_BYTES_MAX + 1];
	uint8_t definition[SESSION_HASH_BYTES];
};

/* Once, first. */
struct session_hello {
	uint8_t config_hash[SESSION_HASH_BYTES];
	char software[SESSION_NAME_BYTES_MAX + 1];
	uint8_t mirrors_count;
	struct session_hello_mirror mirrors[SESSION_MIRRORS_MAX];
	uint8_t signed_by[SESSION_SIGNED_BYTES]; /* by the node's key, of this very connection */
};

/* What the sender has live; after HELLO for each mirror, then at each change. */
struct session_head {
	uint8_t slot;
	bool present;	       /* false: the sender has no generation yet; nothing follows */
	const uint8_t *header; /* canonical generation header */
	size_t header_size;
	uint8_t signed_by[SESSION_SIGNED_BYTES];
};

/* Announces one generation; ENTRIES, CONTENT and END of the same transfer follow. */
struct session_offer {
	uint8_t slot;
	uint32_t transfer;
	const uint8_t *header;
	size_t header_size;
	uint8_t signed_by[SESSION_SIGNED_BYTES];
	bool has_base;			  /* entries are changes against base's manifest */
	uint8_t base[SESSION_HASH_BYTES]; /* a generation id */
	uint32_t entries_count;		  /* that will be sent */
	uint32_t tree_count;		  /* of the whole tree */
	uint64_t tree_bytes;		  /* sum of its files */
};

struct session_entries {
	uint8_t slot;
	uint32_t transfer;
	uint16_t count;	      /* entries in bytes */
	const uint8_t *bytes; /* as syncd/tree encodes changes */
	size_t size;
};

/* A piece of one object. Pieces of one object follow each other without a gap. */
struct session_content {
	uint8_t slot;
	uint32_t transfer;
	uint8_t object[SESSION_HASH_BYTES];
	uint64_t object_size;		  /* decoded */
	uint8_t encoding;		  /* enum session_encoding */
	uint8_t base[SESSION_HASH_BYTES]; /* an object's hash; SESSION_DELTA only */
	uint64_t encoded_size;		  /* of all pieces */
	uint64_t offset;		  /* of this piece, among the encoded bytes */
	const uint8_t *bytes;
	size_t size; /* 0 only if encoded_size is 0 */
};

/* The sender has sent what it wanted to send, or what NEED asked for. */
struct session_end {
	uint8_t slot;
	uint32_t transfer;
};

/* The receiver cannot go on without. slot is the receiver's own (as in all that it sends). */
struct session_need_frame {
	uint8_t slot;
	uint32_t transfer;
	uint8_t kind;	/* enum session_need; MANIFEST: send the offer again, without a base */
	uint16_t count; /* of hashes; 0 for MANIFEST */
	const uint8_t *hashes; /* count times SESSION_HASH_BYTES */
};

/* The sender gives the transfer up. */
struct session_cancel {
	uint8_t slot;
	uint32_t transfer;
	struct session_string reason;
};

struct session_want {
	uint8_t slot;
	uint8_t id[SESSION_HASH_BYTES];
	bool has_base; /* a generation that the asker holds */
	uint8_t base[SESSION_HASH_BYTES];
};

struct session_result {
	uint8_t slot;
	uint8_t id[SESSION_HASH_BYTES];
	uint8_t outcome; /* enum session_outcome */
	struct session_string text;
};

struct session_verify {
	uint8_t slot;
	bool answer;			  /* false: "tell me yours" */
	uint8_t id[SESSION_HASH_BYTES];	  /* head */
	uint8_t tree[SESSION_HASH_BYTES]; /* of the live tree, as scanned */
};

/* One directory of the live tree ("" asks for the mirror's own paths), from after a name on. */
struct session_walk_ask {
	uint8_t slot;
	uint32_t walk;
	struct session_string path;
	struct session_string after; /* "" from the start */
};

struct session_walk_answer {
	uint8_t slot;
	uint32_t walk;
	struct session_string path;
	bool more; /* ask again, after the last name */
	uint16_t count;
	const uint8_t *bytes; /* count entries: session_walk_next() */
	size_t size;
};

struct session_walk_entry {
	enum session_walk_type type;
	uint8_t hash[SESSION_HASH_BYTES]; /* of the directory with all below it, or of the entry */
	struct session_string name;
};

struct session_sync_request {
	uint8_t slot;
};

/* Of the node as a whole; until there is one, the flag is false. */
struct session_node {
	bool maintenance;
};

/* Link level. */
struct session_welcome {
	uint16_t version;
	char cluster[SESSION_NAME_BYTES_MAX + 1];
	char node[SESSION_NAME_BYTES_MAX + 1];
};

struct session_ping {
	uint64_t token; /* given back in the PONG */
};

struct session_bye {
	struct session_string reason;
};

struct session_frame {
	uint8_t type; /* enum session_frame_type; SESSION_PONG uses ping */
	union {
		struct session_welcome welcome;
		struct session_ping ping;
		struct session_bye bye;
		struct session_hello hello;
		struct session_head head;
		struct session_offer offer;
		struct session_entries entries;
		struct session_content content;
		struct session_end end;
		struct session_need_frame need;
		struct session_cancel cancel;
		struct session_want want;
		struct session_result result;
		struct session_verify verify;
		struct session_walk_ask walk_ask;
		struct session_walk_answer walk_answer;
		struct session_sync_request sync_request;
		struct session_node node;
	};
};

/* On any verdict but SESSION_OK *ret_frame is not to be used. */
enum session_verdict session_wire_decode(uint8_t type, const void *payload, size_t size,
					 struct session_frame *ret_frame);
/* Bytes of payload, or 0 if frame does not fit room or breaks a bound (our own mistake). A frame
 * without fields does not exist, so 0 is never a size. */
size_t session_wire_encode(const struct session_frame *frame, void *payload, size_t room);

/* Walk entries: decode checked them all, so these cannot fail but at the end (false). *at starts
 * at 0. */
bool session_walk_next(const struct session_walk_answer *answer, size_t *at,
		       struct session_walk_entry *ret_entry);
/* Appends one to bytes at *at; false if it does not fit room, and nothing is written. */
bool session_walk_put(uint8_t *bytes, size_t room, size_t *at,
		      const struct session_walk_entry *entry);

/* "bad-slot": for counters and messages. */
const char *session_verdict_name(enum session_verdict verdict);
/* A sentence's part: "a mirror's place is past the 16 that there can be". */
const char *session_verdict_text(enum session_verdict verdict);
const char *session_frame_name(uint8_t type);		/* "OFFER"; "?" if unknown */
const char *session_outcome_name(enum session_outcome); /* "refused" */
/* No more will be said of this generation: LIVE .. REFUSED, CONFLICT .. ABSENT. */
bool session_outcome_final(enum session_outcome outcome);

#endif
