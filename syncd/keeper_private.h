/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_private: what the keeper's rooms share. Nobody else includes this.
 *
 * One struct mirror for each mirror of the configuration, one struct peer for each other node that
 * takes part. A mirror does one thing at a time (its job): author a local change, or apply a
 * generation. Whatever ends a job, a scan, or brings news of a peer calls mirror_next(), which
 * decides what is next; nothing else starts a job.
 */
#ifndef TANDEM_KEEPER_PRIVATE_H
#define TANDEM_KEEPER_PRIVATE_H

#include <jansson.h>

#include "shared/conf.h"
#include "shared/ctl.h"
#include "shared/log.h"
#include "shared/loop.h"
#include "shared/msg.h"
#include "shared/wire.h"
#include "syncd/commit.h"
#include "syncd/generation.h"
#include "syncd/identity.h"
#include "syncd/ignore.h"
#include "syncd/keeper.h"
#include "syncd/keeper_msg.h"
#include "syncd/link.h"
#include "syncd/link_client.h"
#include "syncd/merge.h"
#include "syncd/objects.h"
#include "syncd/proof.h"
#include "syncd/scan.h"
#include "syncd/session_fsm.h"
#include "syncd/settle.h"
#include "syncd/stage.h"
#include "syncd/store.h"
#include "syncd/transfer.h"
#include "syncd/tree.h"
#include "syncd/walk.h"
#include "syncd/watch.h"

#define KEEPER_TEXT_MAX KEEPER_MSG_TEXT_MAX
#define KEEPER_HISTORY 64			 /* generations that are kept */
#define KEEPER_SWEEP_US (60 * 1000000ull)	 /* an editor may hold a displaced file so long */
#define KEEPER_DEGRADED_SCAN_US (2 * 1000000ull) /* where directories could not be watched */
#define KEEPER_BEAT_US (1000000ull)
#define KEEPER_RIPE_US (50000ull)
#define KEEPER_RETRY_US (5 * 1000000ull) /* after the disk failed */

enum mark {
	MARK_DETECTED,
	MARK_PUBLISHED,
	MARK_SHIPPED,
	MARK_VALIDATED,
	MARK_LIVE,
	MARK_LOADED,
	MARK_VERIFIED,
	MARKS
};

/* One stage of the way, as last reached. */
struct stage_mark {
	bool set;
	uint64_t lamport;
	uint64_t at_us;
};

/* A generation with what is needed to pass it on. */
struct held {
	bool present;
	uint8_t id[GENERATION_ID_BYTES];
	struct generation header;
	char signer[GENERATION_NODE_BYTES_MAX + 1];
	uint8_t signed_by[IDENTITY_SIGNED_BYTES];
	struct tree *tree; /* NULL where only the header is known (a peer's head) */
};

struct keeper;
struct mirror;

/* ---- a job ---- */

enum job_kind { JOB_NONE, JOB_AUTHOR, JOB_APPLY, JOB_LOAD };

enum apply_reason {
	APPLY_FORWARD, /* a peer's head, in our future */
	APPLY_MERGE,   /* of our head and a peer's */
	APPLY_SETTLE,  /* a person said which side is right */
};

enum load_outcome {
	LOAD_DONE,	  /* nginx runs with it */
	LOAD_NOT_WANTED,  /* nothing is configured to be reloaded */
	LOAD_NOT_RUNNING, /* live, not loaded */
	LOAD_FAILED,	  /* text has nginx's words */
};
typedef void (*load_fn)(struct mirror *m, enum load_outcome outcome, const char *text);
typedef void (*answer_fn)(struct mirror *m, enum keeper_answer answer, uint64_t own_us,
			  const char *text);

struct load {
	struct proof *proof;
	struct loop_timer *timer;
	load_fn fn; /* NULL: idle */
};

struct job {
	enum job_kind kind;
	uint64_t detected_us; /* of the edit, where it was made here */
	uint64_t parse_us;    /* what validate took: how long nginx reads this tree */

	/* JOB_AUTHOR: what was seen; JOB_APPLY: what is to be live */
	struct tree *tree;
	struct held target;
	enum apply_reason reason;
	int source; /* peer whose head this answers; -1: none */
	uint8_t source_id[GENERATION_ID_BYTES];
	bool forced; /* a person wants it: an unpublished edit here gives way (and is kept aside) */
	struct stage *stage;
	struct held before; /* for the way back */
	struct tree *live_before;
	char words[KEEPER_TEXT_MAX]; /* why it goes back */
};

/* ---- one peer's side of one mirror ---- */

struct peer_mirror {
	enum session_mirror_state state;
	struct held head; /* without tree */
	bool head_known;  /* a HEAD came in this session (it may say: none) */

	/* what we decided last, so that nothing is decided twice */
	bool decided;
	uint8_t decided_remote[GENERATION_ID_BYTES];
	uint8_t decided_local[GENERATION_ID_BYTES];
	enum merge_local decided_state;

	/* what is true of the peer's head here */
	enum merge_verdict verdict;
	bool refused, conflict, waiting;
	char reason[KEEPER_TEXT_MAX];

	/* what the peer said last of a generation of ours */
	bool reported;
	uint8_t report_id[GENERATION_ID_BYTES];
	enum session_outcome report;
	char report_text[KEEPER_TEXT_MAX];
	uint64_t report_us;
	uint64_t latency_us; /* 0: not known */
	char drift[256];     /* "" or what a descent found to differ */

	/* sending */
	struct transfer_tx *tx;
	uint32_t tx_transfer;
	/* receiving */
	struct transfer_rx *rx;
	uint32_t rx_transfer;
	struct held rx_held;
	/* Whole, as rx_held with its tree; not in the store yet: see peer_keep_received(). */
	bool received;
	struct walk *walk;
};

/* An event that came up while the session was being stepped. */
struct queued_event {
	struct session_event event;
	struct queued_event *next;
	char *text, *path, *after;
	uint8_t *hashes;
};

struct peer {
	struct keeper *keeper;
	int index; /* of keeper->peers */
	int node;  /* of conf->nodes */
	const char *name;
	bool connected;
	uint32_t conn;
	uint64_t since_us; /* connected or not since; 0: never */
	uint64_t rtt_us;
	char address[128], tls[64];
	char error[1025];
	bool greeted;
	bool maintenance; /* as it said in this session */
	uint8_t config_hash[32];
	uint8_t binding[LINK_BINDING_BYTES]; /* of this connection: what HELLO signs */
	struct session_fsm fsm;
	struct session_actions actions;
	bool stepping;
	struct queued_event *queue, **queue_end;
	struct loop_timer *timer;
	struct loop_timer *pump; /* a transfer that let others run */
	struct peer_mirror mirrors[CONF_MIRRORS_MAX];
};

/* ---- one mirror ---- */

struct mirror {
	struct keeper *keeper;
	int index;
	const struct conf_mirror *conf;
	const char *const *paths;
	uint8_t definition[ENTRY_HASH_BYTES];
	struct ignore ignore;
	struct watch *watch;
	struct settle settle;
	struct loop_timer *timer;  /* settle's deadline */
	struct loop_timer *resync; /* full resync */
	struct loop_timer *sweep;
	bool resync_due;	 /* the next scan is a full one, and is compared with the peers */
	bool distrust_due;	 /* and reads every file */
	uint64_t first_event_us; /* of the unpublished change; 0: none */
	uint64_t ripe_us;	 /* when what was too young for a sight can have one; 0: nothing */

	struct held head;
	struct tree *live;   /* as last scanned or committed */
	struct tree *stored; /* what store_live_get() would give */
	enum merge_local local;
	bool invalid_judged; /* `validate` (or the reload) said no to invalid_tree */
	uint8_t invalid_tree[ENTRY_HASH_BYTES];
	char reason[KEEPER_TEXT_MAX];	/* why local is INVALID */
	char trouble[FAULT_TEXT_MAX];	/* a scan or the disk failed */
	bool looked;			/* at least one scan was judged */
	char unloaded[KEEPER_TEXT_MAX]; /* why the head is live and not loaded; "" if loaded */
	bool forced;			/* `sync`: decide everything again */

	struct job job;
	struct load load;
	uint32_t ticket;
	answer_fn on_answer;

	struct stage_mark marks[MARKS];
	uint8_t edit_id[GENERATION_ID_BYTES];  /* made here last, and when its edit was noticed: for
						  how */
	uint64_t edit_us;		       /* long it took until the others had it */
	uint64_t head_since_us;		       /* 0: before this run */
	uint8_t compared[GENERATION_ID_BYTES]; /* the head that the peers were last told to compare
						*/

	int settle_from; /* the node that a `sync --from` named, until it is settled; -1: none */
};

/* A `sync --from` on its way: answered when every mirror of it is settled. */
struct settling {
	int pending;		   /* mirrors */
	struct ctl_client *client; /* NULL: it has left; the mirrors go on */
	json_t *mirrors;	   /* outcomes so far */
	char code[32];		   /* "": none has failed */
	char error[KEEPER_TEXT_MAX];
};

struct keeper {
	const struct keeper_options *options;
	const struct conf *conf;
	struct loop *loop;
	struct store *store;
	struct objects *objects;
	struct identity *identity;
	struct msg_channel *runner;
	struct link_client *link;
	struct ctl_server *server;
	struct loop_timer *beat;
	uint32_t tickets;
	bool ready_said, stopping;
	bool maintenance; /* this node; the peers' people are told */
	uint64_t started_us;

	struct mirror mirrors[CONF_MIRRORS_MAX];
	int mirrors_count;
	struct peer peers[CONF_NODES_MAX];
	int peers_count;

	struct settling settling;
	struct ctl_client *reload_client;
	uint32_t reload_ticket;
};

/* ---- keeper.c ---- */
const char *keeper_self(const struct keeper *k);
/* Asks the runner for a command of the mirror; fn is called once with the answer. */
void keeper_run(struct mirror *m, enum keeper_command command, const uint8_t *staged_id,
		answer_fn fn);
void held_release(struct held *held);
void held_copy(struct held *to, const struct held *from); /* the tree is shared */
void id_text(const uint8_t *id, char text[13]);		  /* the first twelve digits, for logs */

/* ---- keeper_trial.c ---- */
/* The runner has read the file, for a reload that is only looked at. Takes over fd. */
void trial_done(struct keeper *k, struct wire_reader *r, int fd);

/* ---- keeper_mirror.c ---- */
/* Takes away what earlier commits left in the stages. */
int mirror_sweep(struct mirror *m, enum stage_sweep_which which, const uint8_t *id,
		 struct fault *fault);
int mirror_init(struct keeper *k, int index);
void mirror_release(struct mirror *m);
/* What is to be done now. */
void mirror_next(struct mirror *m);
void mirror_mark(struct mirror *m, enum mark mark, uint64_t lamport);
/* The head is another: peers hear of it. */
void mirror_head_changed(struct mirror *m);
/* A full look, soon. */
void mirror_resync(struct mirror *m, bool distrust);
/* Scans at once; the caller releases the result. */
int mirror_scan(struct mirror *m, bool distrust, struct scan_result *ret_result);
/* The live tree is what this scan found, for the last time that it is looked at for one change:
 * what does not ring from now on need not be looked at. Not between the two scans that have to
 * agree, nor before what was validated has been found unchanged: these look again. */
void mirror_looked(struct mirror *m, const struct scan_result *result);
void mirror_set_live(struct mirror *m, struct tree *tree); /* takes the reference */
/* The store knows the live tree as it is now. */
int mirror_store_live(struct mirror *m);
void job_clear(struct mirror *m);
/* Makes held the head, in one transaction with the live tree. */
int mirror_record(struct mirror *m, const struct held *held, bool loaded, struct fault *fault);
int held_load(struct keeper *k, const char *mirror, const uint8_t *id, bool with_tree,
	      struct held *ret_held);
int held_sign(struct keeper *k, struct held *held);

/* ---- keeper_load.c ---- */
/* Reload and proof of what is live now; fn is called once, perhaps at once. */
void load_start(struct mirror *m, uint64_t parse_us, load_fn fn);
void load_stop(struct mirror *m);

/* ---- keeper_author.c ---- */
/* A settled tree that is not the head's. Takes the reference. */
void author_start(struct mirror *m, struct tree *tree);
/* A signed generation by this node with this tree; its parents are the head and other (may be
 * NULL). */
int author_make(struct mirror *m, const struct held *other, struct tree *tree,
		struct held *ret_held);

/* ---- keeper_apply.c ---- */
/* target (with tree) becomes live, or a reason is told. Copies target. */
void apply_start(struct mirror *m, const struct held *target, enum apply_reason reason,
		 struct peer *source, bool forced);
/* After a start: the head is live, but nobody knows whether nginx has loaded it. */
void apply_load_head(struct mirror *m);

/* ---- keeper_decide.c ---- */
/* Looks at the peer's head. true: a job was started. */
bool decide(struct mirror *m, struct peer *p);
/* The words for "waits for an unpublished edit". */
void decide_describe_edit(struct mirror *m, char *text, size_t room);

/* ---- keeper_settle.c ---- */
/* `sync --from`, once the mirror is idle: starts it, or says at once what came of it. */
void settle_start(struct mirror *m);
/* outcome: "settled", "in-step"; or code: why it failed. One of them is NULL. */
void settle_end(struct mirror *m, const char *outcome, const char *code, const char *text);

/* ---- keeper_peer.c, keeper_heads.c, keeper_transfer.c ---- */
int peer_init(struct keeper *k, int node);
void peer_release(struct peer *p);
extern const struct link_client_handlers peer_handlers; /* ctx: the keeper */
struct peer *peer_of_node(struct keeper *k, int node);
/* Tells every session what our head is. */
void peers_tell_head(struct mirror *m);
void peer_tell_heads(struct peer *p, struct mirror *m);
void peers_tell_scanned(struct mirror *m);
void peers_ask_sync(struct mirror *m);
/* What became of a peer's generation here. */
void peer_tell(struct peer *p, struct mirror *m, const uint8_t *id, enum session_outcome outcome,
	       const char *text);
void peer_event(struct peer *p, struct session_event *event);
bool peer_take_header(struct peer *p, struct mirror *m, const uint8_t *bytes, size_t size,
		      const uint8_t *signed_by, struct held *ret_held, char *text, size_t room);
void peer_start_sending(struct peer *p, const struct session_action *action);
void peer_send_contents(struct peer *p, const struct session_action *action);
void peer_pump(struct peer *p);
void peer_stop_sending(struct peer *p, int mirror);
void peer_receive(struct peer *p, const struct session_action *action);
void peer_stop_receiving(struct peer *p, int mirror);
/* What has been received of this mirror goes into the store, and the peer hears that it is there. A
 * generation that can be made live at once is shown to `validate` first, and kept while that runs.
 * false: it could not be kept, and the peer has been told why. */
bool peer_keep_received(struct peer *p, struct mirror *m);

/* ---- keeper_status.c, keeper_command.c ---- */
json_t *status_make(struct keeper *k);
void command_request(void *ctx, struct ctl_client *client, const char *command,
		     const json_t *request);
void command_gone(void *ctx, struct ctl_client *client);

#endif
