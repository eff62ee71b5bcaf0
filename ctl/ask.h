/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask: one question to one of the two daemons, and in plain words why there is no answer.
 */
#ifndef TANDEM_ASK_H
#define TANDEM_ASK_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "ctl/verbs.h"
#include "shared/ctl.h"

enum ask_daemon { ASK_AGENT, ASK_SYNCD };

#define ASK_WHY_ROOM 8192	/* a command's own words may be in it */
#define ASK_QUICK_US 5000000u	/* status: at once, or something is wrong */
#define ASK_RELOAD_US 60000000u /* a keeper may be hashing what has changed */
#define ASK_LONG_US 300000000u	/* sync: between two lines of progress */

/* Takes the reference of request. VERB_OK: *ret_answer is the answer, the caller's. VERB_FAILED:
 * the daemon says no (*ret_answer is there as well); VERB_NO_CONTACT: nobody answers. why gets a
 * sentence with the next step. Progress goes to stderr. */
int ask(const struct verb_args *args, enum ask_daemon daemon, json_t *request,
	unsigned long timeout_us, json_t **ret_answer, char why[ASK_WHY_ROOM]);

/* The same in two steps, so that both daemons are asked before anybody waits: who stops waiting
 * leaves nothing half asked for. After some seconds it is said on stderr what is waited for and how
 * long at most, with aside: what becomes of it if nobody waits. NULL: nothing is said. timeout_us
 * counts from the first step. */
struct asking {
	enum ask_daemon daemon;
	const char *aside;
	uint64_t began_us, timeout_us;
	struct ctl_question *question; /* NULL: it could not be asked, see error */
	int error;
	char path[4096];
};

void ask_begin(const struct verb_args *args, enum ask_daemon daemon, json_t *request,
	       unsigned long timeout_us, const char *aside, struct asking *ret_asking);
int ask_end(struct asking *asking, json_t **ret_answer, char why[ASK_WHY_ROOM]);

const char *ask_name(enum ask_daemon daemon); /* "tandem-agent" */

/* Prints text without what a terminal would obey; each line after the first is indented. */
void ask_print(FILE *out, const char *text, int indent);
/* Says it on stderr: why there is no answer. */
void ask_complain(const char *why);
/* The string below key, or otherwise. */
const char *ask_text(const json_t *object, const char *key, const char *otherwise);
/* The number below key, or -1. */
json_int_t ask_number(const json_t *object, const char *key);

#endif
