/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_private: what the rooms of session_fsm share: session_fsm.c (states, events of the
 * shell), session_frames.c (frames of the peer), session_act.c (actions). Pure. Nobody else
 * includes it.
 */
#ifndef TANDEM_SESSION_PRIVATE_H
#define TANDEM_SESSION_PRIVATE_H

#include "syncd/session_fsm.h"

bool session_same_id(const uint8_t *a, const uint8_t *b);
void session_copy_id(uint8_t *to, const uint8_t *from);

/* The next action, zeroed but for kind, mirror and slot. */
struct session_action *session_act(struct session_actions *out, enum session_action_kind kind,
				   int mirror);
void session_act_frame(struct session_actions *out, enum session_action_kind kind, int mirror,
		       const struct session_frame *frame);
/* A SEND of a new frame, to be filled in. */
struct session_frame *session_act_send(struct session_actions *out, int mirror, uint8_t type);
void session_send_want(struct session_fsm *fsm, int i, const uint8_t *id, uint64_t now_us,
		       struct session_actions *out);
void session_send_verify(struct session_fsm *fsm, int i, bool answer, struct session_actions *out);

/* Ways to end it: fsm->reason says why. */
void session_close_for(struct session_fsm *fsm, uint8_t type, const char *why,
		       struct session_actions *out);
void session_close_bad(struct session_fsm *fsm, const struct session_event *ev,
		       struct session_actions *out);
void session_close_silent(struct session_fsm *fsm, const char *what, const char *limit, int mirror,
			  struct session_actions *out);

/* R-S3: a head that the peer lacks, may have, and has not answered for. */
bool session_offer_due(const struct session_mirror *m);
/* The peer has something that is not held here, and nothing of it is on the way. */
bool session_want_due(const struct session_mirror *m);
void session_start_transfer(struct session_fsm *fsm, int i, const uint8_t *id, bool wanted,
			    bool has_base, const uint8_t *base, struct session_actions *out);
/* Whatever may go out now, goes. */
void session_consider(struct session_fsm *fsm, int i, uint64_t now_us, struct session_actions *out);

/* In SESSION_OPEN. */
void session_step_frame(struct session_fsm *fsm, const struct session_event *ev,
			struct session_actions *out);

#endif
