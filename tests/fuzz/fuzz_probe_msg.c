/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the prober and the engine say to each other: a probe (first byte 0), a mail (1), an answer
 * (2). What is taken keeps its promises (no line can be added to a mail's head, no control
 * character reaches a status) and is put back byte for byte.
 *
 * runs: 100000
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/probe_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static void check_clean(const char *text, bool lines)
{
	for (const char *p = text; *p; p++)
		CHECK((*p >= ' ' && *p <= '~') || (lines && *p == '\n'));
}

static void one_request(struct wire_reader *r, struct wire_writer *w)
{
	struct probe_request q;
	struct conf_probe probe = {0};

	if (!probe_request_get(r, &q))
		return;
	CHECK(q.run && q.timeout_us && strlen(q.target) <= CONF_PROBE_TARGET_BYTES_MAX);
	probe.http = q.http;
	probe.target = q.target;
	memcpy(probe.statuses, q.statuses, sizeof probe.statuses);
	probe.statuses_count = q.statuses_count;
	probe.body = q.body;
	probe.redirects = q.redirects;
	probe.verify = q.verify;
	probe_request_put(w, q.run, q.timeout_us, &probe);
}

static void one_mail(struct wire_reader *r, struct wire_writer *w)
{
	static struct probe_mail mail;
	struct conf_mail conf = {0};

	if (!probe_mail_get(r, &mail))
		return;
	check_clean(mail.node, false);
	check_clean(mail.server, false);
	check_clean(mail.helo, false);
	check_clean(mail.from, false);
	check_clean(mail.subject, false);
	check_clean(mail.text, true);
	CHECK(mail.to_count >= 1 && mail.to_count <= CONF_MAIL_RECIPIENTS_MAX);
	conf.connect_timeout_us = mail.connect_timeout_us;
	conf.server = mail.server;
	conf.helo = mail.helo;
	conf.from = mail.from;
	conf.to_count = mail.to_count;
	for (int i = 0; i < mail.to_count; i++) {
		check_clean(mail.to[i], false);
		conf.to[i] = mail.to[i];
	}
	probe_mail_put(w, mail.run, &conf, mail.node, mail.wall_s, mail.subject, mail.text);
}

static void one_answer(struct wire_reader *r, struct wire_writer *w)
{
	struct probe_answer answer;

	if (!probe_answer_get(r, &answer))
		return;
	check_clean(answer.words, false);
	CHECK(answer.run && answer.outcome < ENGINE_CHECK_OUTCOMES);
	probe_answer_put(w, answer.run, answer.outcome, answer.words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(struct wire_reader *,
				     struct wire_writer *) = {one_request, one_mail, one_answer};
	static uint8_t again[PROBE_MSG_BYTES_MAX];
	struct wire_reader r;
	struct wire_writer w;

	if (size < 1 || size > sizeof again || data[0] >= sizeof kinds / sizeof *kinds)
		return 0;
	wire_reader_init(&r, data + 1, size - 1);
	wire_writer_init(&w, again, sizeof again);
	kinds[data[0]](&r, &w);
	CHECK(wire_writer_ok(&w));
	if (w.at) /* it was taken */
		CHECK(w.at == size - 1 && !memcmp(again, data + 1, w.at));
	return 0;
}
