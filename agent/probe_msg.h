/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe_msg: what the prober, the engine and the runner say to each other (over shared/msg).
 *
 * The engine sends each probe whole, so that the prober needs no configuration: what parses a
 * stranger's bytes never sees the file with its passwords. The prober answers with an outcome and a
 * sentence; the engine takes neither on trust. Whatever does not fit ends the channel.
 *
 * Between the runner and the prober there is one channel; between the engine and the prober another
 * one, of which the runner makes a new pair whenever one of the two has been started.
 */
#ifndef TANDEM_PROBE_MSG_H
#define TANDEM_PROBE_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/engine_msg.h"
#include "shared/conf.h"
#include "shared/wire.h"

#define PROBE_WORDS_BYTES_MAX 255
/* What may wait for a side that does not read. */
#define PROBE_MSG_QUEUE_BYTES (256 * 1024)
/* Of a probe message, the largest one. */
#define PROBE_MSG_BYTES_MAX 8192
#define PROBER_BEAT_US 500000
#define PROBER_SILENCE_US 2000000 /* without a beat for so long it is killed */

enum probe_msg {
	/* runner to prober */
	PROBE_MSG_ENGINE = 128, /* the descriptor beside it: the channel to the engine */
	/* prober to runner */
	PROBE_MSG_BEAT,
	/* engine to prober */
	PROBE_MSG_RUN,	/* struct probe_request */
	PROBE_MSG_DROP, /* u32 run: nobody waits for it any more */
	PROBE_MSG_MAIL, /* struct probe_mail; one at a time */
	/* prober to engine */
	PROBE_MSG_DONE, /* struct probe_answer, of a probe or a mail */
};

struct probe_request {
	uint32_t run; /* not 0 */
	bool http;
	uint64_t timeout_us;
	char target[CONF_PROBE_TARGET_BYTES_MAX + 1];
	struct conf_status statuses[CONF_STATUSES_MAX];
	int statuses_count;
	char body[CONF_PROBE_BODY_BYTES_MAX + 1]; /* "": any */
	int redirects;
	bool verify;
};

#define PROBE_MAIL_SUBJECT_BYTES_MAX 223
#define PROBE_MAIL_TEXT_BYTES_MAX 1023
#define PROBE_MAIL_TALK_US 60000000 /* from the connection on, until the server has taken it */

struct probe_mail {
	uint32_t run;
	uint64_t connect_timeout_us;
	uint64_t wall_s; /* of what it tells, since 1970 */
	char node[CONF_NAME_BYTES_MAX + 1];
	char server[CONF_MAIL_ADDRESS_BYTES_MAX + 9];
	char helo[CONF_MAIL_ADDRESS_BYTES_MAX + 1]; /* "": the host's name */
	char from[CONF_MAIL_ADDRESS_BYTES_MAX + 1]; /* "": tandem@ the host's name */
	char to[CONF_MAIL_RECIPIENTS_MAX][CONF_MAIL_ADDRESS_BYTES_MAX + 1];
	int to_count;
	char subject[PROBE_MAIL_SUBJECT_BYTES_MAX + 1]; /* printable ASCII */
	char text[PROBE_MAIL_TEXT_BYTES_MAX + 1];	/* the same, and newlines */
};

struct probe_answer {
	uint32_t run;
	enum engine_check_outcome outcome;
	char words[PROBE_WORDS_BYTES_MAX + 1]; /* printable ASCII */
};

void probe_request_put(struct wire_writer *w, uint32_t run, uint64_t timeout_us,
		       const struct conf_probe *probe);
/* False: it is none. */
bool probe_request_get(struct wire_reader *r, struct probe_request *ret_request);
/* What is not printable ASCII in subject and text becomes '?'. */
void probe_mail_put(struct wire_writer *w, uint32_t run, const struct conf_mail *conf,
		    const char *node, uint64_t wall_s, const char *subject, const char *text);
bool probe_mail_get(struct wire_reader *r, struct probe_mail *ret_mail);
/* Words beyond their ceiling are cut, other characters than printable ASCII become '?'. */
void probe_answer_put(struct wire_writer *w, uint32_t run, enum engine_check_outcome outcome,
		      const char *words);
bool probe_answer_get(struct wire_reader *r, struct probe_answer *ret_answer);

#endif
