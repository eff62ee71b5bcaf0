/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_msg: what the agent's two processes say to each other (over shared/msg).
 *
 * The engine never names a command, only its place in a numbered snapshot; the runner looks it up
 * in the text that it has itself read from the disk. Payloads are written with shared/wire; each
 * line below gives the fields in order. "string" is a u16 length and the bytes.
 *
 * Start of an engine: SNAPSHOT, then for each router that shall go on RECORD, for each socket that
 * one of these names SOCKET, for each check that had an opinion HEALTH, for each router that was
 * handed over HANDED_OVER; then START.
 */
#ifndef TANDEM_ENGINE_MSG_H
#define TANDEM_ENGINE_MSG_H

/* What the engine says. */
enum engine_msg {
	ENGINE_MSG_BEAT = 1,  /* u64 monotonic us, u16 n, n x (u32 router id, u64 last advert us) */
	ENGINE_MSG_RECORD,    /* agent_record */
	ENGINE_MSG_FORGET,    /* u32 router id: its record is void */
	ENGINE_MSG_SOCKET,    /* u32 socket id; the descriptor beside it */
	ENGINE_MSG_SOCKET_GONE, /* u32 socket id */
	ENGINE_MSG_HEALTH,    /* string check name, u8 health */
	ENGINE_MSG_CHECK_RUN, /* u32 snapshot, u16 place, u32 run */
	ENGINE_MSG_HOOK_RUN,  /* u32 snapshot, u16 place, u8 enum engine_hook_state, u8 priority */
	ENGINE_MSG_RELOAD,    /* u32 request: somebody asks on the control socket */
	ENGINE_MSG_TRY,	      /* u32 request: read the file, change nothing; then TRIED */
	ENGINE_MSG_RELEASE,   /* u32 snapshot: older ones than this are not needed any more */
	ENGINE_MSG_GROUP_HOOK_RUN, /* u32 snapshot, u16 place, u8 enum engine_hook_state */
	ENGINE_MSG_RESTART_RUN,	   /* u32 snapshot, u16 place, u32 run: a check's restart command */
	ENGINE_MSG_MAINTENANCE,	   /* u32 request, u8 on: write it down, then say so */
	ENGINE_MSG_VMAC, /* u32 router id, u32 snapshot, u16 place: the router's own interface is
			  * missing */
	ENGINE_MSG_LEFT, /* every router has stopped, nothing is held: the answer to LEAVE */
};

/* What the runner says. */
enum runner_msg {
	RUNNER_MSG_SNAPSHOT = 64, /* u32 number, string node; the descriptor beside it */
	RUNNER_MSG_RECORD,	  /* agent_record of a router that shall go on */
	RUNNER_MSG_SOCKET,	  /* u32 socket id as in the records; the descriptor beside it */
	RUNNER_MSG_HEALTH,	  /* string check name, u8 health */
	RUNNER_MSG_START,	  /* u64 monotonic us: when the agent began */
	RUNNER_MSG_CHECK_DONE,	  /* u32 run, u8 enum engine_check_outcome, string words */
	RUNNER_MSG_HOOK_DONE,	  /* string router, string hook, string state, u8 ok, u16 exit code,
				   * u64 us that it took, u64 ended us, string words, string output */
	RUNNER_MSG_RELOAD_DONE,	  /* u32 request (0: a signal), u8 ok, string error
				   * ("" if ok), string problems */
	RUNNER_MSG_TRIED,	  /* the same, string node; if ok the text's descriptor beside it */
	RUNNER_MSG_RESTART_DONE,  /* u32 run, u8 ok, string words */
	RUNNER_MSG_MAINTENANCE,	  /* u32 request (0: at the start), u8 on, string error ("" if it is
				   * written down; else it is as it was) */
	RUNNER_MSG_HANDED_OVER,	  /* string router: before START */
	RUNNER_MSG_VMAC_DONE,	  /* u32 router id, string error ("": it is there) */
	RUNNER_MSG_LEAVE,	  /* stop: hand over, then LEFT */
	RUNNER_MSG_PROBER, /* the descriptor beside it: a channel to the prober (probe_msg.h) */
};

enum runner_reload { RUNNER_RELOADED, RUNNER_RELOAD_WRONG, RUNNER_RELOAD_BUSY };

enum engine_hook_state {
	ENGINE_HOOK_MASTER,
	ENGINE_HOOK_BACKUP,
	ENGINE_HOOK_FAULT,
	ENGINE_HOOK_STOP,
	ENGINE_HOOK_STATES
};

#define ENGINE_HOOK_NO_EXIT 0xffff /* it runs, was killed, or never started */

enum engine_check_outcome {
	ENGINE_CHECK_OK,
	ENGINE_CHECK_FAILED,
	ENGINE_CHECK_TIMED_OUT,
	ENGINE_CHECK_NOT_EXECUTED,
	ENGINE_CHECK_OUTCOMES
};

/* Router ids in use at one time: those of the snapshot, and those that still leave. */
#define ENGINE_ROUTERS_MAX (2 * CONF_VRRP_MAX)
/* What may wait for a side that does not read: some thousand messages. */
#define ENGINE_MSG_QUEUE_BYTES (4 * 1024 * 1024)

#endif
