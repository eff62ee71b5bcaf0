/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen: what `tandem status` says, made from the two daemons' status objects alone: no socket, no
 * clock, no terminal, so that a test can hold any state of a cluster in front of it.
 *
 * screen_judge() finds what there is to say and how bad it is; screen_print() draws the table and
 * the findings; screen_json() gives the same as one object (tandem(8) documents it).
 */
#ifndef TANDEM_SCREEN_H
#define TANDEM_SCREEN_H

#include <jansson.h>
#include <stdio.h>

#include "shared/conf.h"

struct screen_input {
	const json_t *agent, *syncd;	   /* status answers; NULL: no answer */
	const char *agent_why, *syncd_why; /* why there is none */
	const struct conf *conf;	   /* the file as it is on disk; NULL: it cannot be used */
	const char *conf_why;		   /* why not */
};

/* The wire is asked every half a minute for our addresses; what was not answered twice is over. */
#define SCREEN_IN_USE_US 75000000
#define SCREEN_FINDINGS_MAX 256
#define SCREEN_NODES_MAX CONF_NODES_MAX

struct screen_finding {
	int exit;   /* enum verb_exit: how bad it is by itself */
	char *text; /* a sentence; what follows a newline is quoted words */
};

struct screen {
	const struct screen_input *input;
	const char *cluster, *self; /* borrowed from the input */
	const char *nodes[SCREEN_NODES_MAX];
	int nodes_count;
	struct screen_finding findings[SCREEN_FINDINGS_MAX];
	int findings_count;
	int exit; /* enum verb_exit, of the whole */
};

/* input is borrowed until screen_release(). */
void screen_judge(const struct screen_input *input, struct screen *ret_screen);
void screen_release(struct screen *screen);
void screen_print(const struct screen *screen, FILE *out);
json_t *screen_json(const struct screen *screen);

/* What a peer says of itself in its adverts: "MASTER", "LEFT", "SILENT". While this node is master,
 * an advert from before that is the old master's last, and no claim. */
const char *screen_peer_state(const json_t *instance, const json_t *peer);
/* Has that other node said so, over the replicator's link? */
bool screen_in_maintenance(const struct screen *screen, const char *node);
/* "12 s", "3 min", "5 h", "3 d"; "0.3 ms" for what is short. */
const char *screen_age(json_int_t us, char room[32]);
/* "healthy", "pending", "failed", "no contact". */
const char *screen_word(int exit);

#endif
