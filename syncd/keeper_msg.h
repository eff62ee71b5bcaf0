/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_msg: what the keeper and the runner say to each other (shared/msg). Names and bounds
 * alone; both sides check what they read.
 *
 * The keeper names a command by (snapshot, mirror, kind) and never by its text: the runner takes a
 * command line from nobody. A ticket ties an answer to its question.
 */
#ifndef TANDEM_KEEPER_MSG_H
#define TANDEM_KEEPER_MSG_H

#define KEEPER_MSG_QUEUE_BYTES (256 * 1024)
#define KEEPER_MSG_TEXT_MAX 4096

enum keeper_msg {
	/* keeper -> runner */
	KEEPER_MSG_READY = 1,  /* recovery is done and the keeper's loop turns */
	KEEPER_MSG_BEAT = 2,   /* the keeper's loop turns */
	KEEPER_MSG_RUN = 3,    /* u32 ticket, u32 snapshot, u8 mirror, u8 enum keeper_command, u8
				* staged,    32 bytes generation id (zeros unless staged) */
	KEEPER_MSG_RELOAD = 4, /* u32 ticket: read the configuration file again */
	KEEPER_MSG_TRY = 5,    /* u32 ticket: read it, and change nothing */
	/* runner -> keeper */
	RUNNER_MSG_DONE = 16, /* u32 ticket, u8 enum keeper_answer, u64 us that the command itself
			       * took, string text */
	RUNNER_MSG_RELOADED = 17, /* u32 ticket, u8 ok, string text */
	RUNNER_MSG_LINK = 18,	  /* a new channel to a new link process beside it */
	RUNNER_MSG_TRIED = 20,	  /* u32 ticket, u8 ok, string text, string node; if ok the file's
				   * text beside it */
	RUNNER_MSG_STOP = 19,	  /* finish what has begun, then leave with status 0 */
};

enum keeper_command { KEEPER_VALIDATE, KEEPER_RELOAD_COMMAND, KEEPER_COMMANDS };

enum keeper_answer {
	KEEPER_PASSED,
	KEEPER_FAILED,	   /* the command ran and said no: text has its words */
	KEEPER_NOT_JUDGED, /* it could not run, or did not look at the tree: text says why */
	KEEPER_ANSWERS
};

#endif
