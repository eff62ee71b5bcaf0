/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/probe_msg.h"

#include <string.h>

#define TIMEOUT_US_MAX (3600ull * 1000000)

static bool is_printable(char c)
{
	return c >= ' ' && c <= '~';
}

void probe_request_put(struct wire_writer *w, uint32_t run, uint64_t timeout_us,
		       const struct conf_probe *probe)
{
	wire_put_u32(w, run);
	wire_put_u8(w, probe->http);
	wire_put_u64(w, timeout_us);
	wire_put_string(w, probe->target, strlen(probe->target));
	wire_put_u8(w, (uint8_t)probe->statuses_count);
	for (int i = 0; i < probe->statuses_count; i++) {
		wire_put_u16(w, (uint16_t)probe->statuses[i].first);
		wire_put_u16(w, (uint16_t)probe->statuses[i].last);
	}
	wire_put_string(w, probe->body ? probe->body : "", probe->body ? strlen(probe->body) : 0);
	wire_put_u8(w, (uint8_t)probe->redirects);
	wire_put_u8(w, probe->verify);
}

bool probe_request_get(struct wire_reader *r, struct probe_request *ret_request)
{
	struct probe_request *q = ret_request;
	unsigned http, verify;

	memset(q, 0, sizeof *q);
	q->run = wire_get_u32(r);
	http = wire_get_u8(r);
	q->timeout_us = wire_get_u64(r);
	wire_get_string_into(r, q->target, sizeof q->target);
	q->statuses_count = wire_get_u8(r);
	if (q->statuses_count > CONF_STATUSES_MAX)
		return false;
	for (int i = 0; i < q->statuses_count; i++) {
		q->statuses[i].first = wire_get_u16(r);
		q->statuses[i].last = wire_get_u16(r);
	}
	wire_get_string_into(r, q->body, sizeof q->body);
	q->redirects = wire_get_u8(r);
	verify = wire_get_u8(r);
	q->http = http == 1;
	q->verify = verify == 1;
	return wire_reader_done(r) && q->run && http <= 1 && verify <= 1 && q->timeout_us > 0 &&
	       q->timeout_us <= TIMEOUT_US_MAX && q->target[0] &&
	       (q->statuses_count > 0) == q->http;
}

static void put_text(struct wire_writer *w, const char *text)
{
	wire_put_string(w, text ? text : "", text ? strlen(text) : 0);
}

static void put_clean(struct wire_writer *w, const char *text, size_t size_max, bool lines)
{
	char clean[PROBE_MAIL_TEXT_BYTES_MAX];
	size_t size = strnlen(text, size_max);

	for (size_t i = 0; i < size; i++)
		clean[i] = is_printable(text[i]) || (lines && text[i] == '\n') ? text[i] : '?';
	wire_put_string(w, clean, size);
}

void probe_mail_put(struct wire_writer *w, uint32_t run, const struct conf_mail *conf,
		    const char *node, uint64_t wall_s, const char *subject, const char *text)
{
	wire_put_u32(w, run);
	wire_put_u64(w, conf->connect_timeout_us);
	wire_put_u64(w, wall_s);
	put_text(w, node);
	put_text(w, conf->server);
	put_text(w, conf->helo);
	put_text(w, conf->from);
	wire_put_u8(w, (uint8_t)conf->to_count);
	for (int i = 0; i < conf->to_count; i++)
		put_text(w, conf->to[i]);
	put_clean(w, subject, PROBE_MAIL_SUBJECT_BYTES_MAX, false);
	put_clean(w, text, PROBE_MAIL_TEXT_BYTES_MAX, true);
}

/* No line can be added to a header, nor a command to the conversation. */
static bool is_clean(const char *text, bool lines)
{
	for (const char *p = text; *p; p++)
		if (!is_printable(*p) && !(lines && *p == '\n'))
			return false;
	return true;
}

bool probe_mail_get(struct wire_reader *r, struct probe_mail *ret_mail)
{
	struct probe_mail *m = ret_mail;
	bool clean;

	memset(m, 0, sizeof *m);
	m->run = wire_get_u32(r);
	m->connect_timeout_us = wire_get_u64(r);
	m->wall_s = wire_get_u64(r);
	wire_get_string_into(r, m->node, sizeof m->node);
	wire_get_string_into(r, m->server, sizeof m->server);
	wire_get_string_into(r, m->helo, sizeof m->helo);
	wire_get_string_into(r, m->from, sizeof m->from);
	m->to_count = wire_get_u8(r);
	if (m->to_count < 1 || m->to_count > CONF_MAIL_RECIPIENTS_MAX)
		return false;
	clean = is_clean(m->node, false) && is_clean(m->server, false) &&
		is_clean(m->helo, false) && is_clean(m->from, false);
	for (int i = 0; i < m->to_count; i++) {
		wire_get_string_into(r, m->to[i], sizeof m->to[i]);
		clean = clean && m->to[i][0] && is_clean(m->to[i], false);
	}
	wire_get_string_into(r, m->subject, sizeof m->subject);
	wire_get_string_into(r, m->text, sizeof m->text);
	return wire_reader_done(r) && clean && is_clean(m->subject, false) &&
	       is_clean(m->text, true) && m->run && m->server[0] && m->connect_timeout_us > 0 &&
	       m->connect_timeout_us <= TIMEOUT_US_MAX && m->wall_s < UINT64_C(1) << 40;
}

void probe_answer_put(struct wire_writer *w, uint32_t run, enum engine_check_outcome outcome,
		      const char *words)
{
	char clean[PROBE_WORDS_BYTES_MAX];
	size_t size = strnlen(words, sizeof clean);

	for (size_t i = 0; i < size; i++)
		clean[i] = is_printable(words[i]) ? words[i] : '?';
	wire_put_u32(w, run);
	wire_put_u8(w, (uint8_t)outcome);
	wire_put_string(w, clean, size);
}

bool probe_answer_get(struct wire_reader *r, struct probe_answer *ret_answer)
{
	unsigned outcome;

	memset(ret_answer, 0, sizeof *ret_answer);
	ret_answer->run = wire_get_u32(r);
	outcome = wire_get_u8(r);
	wire_get_string_into(r, ret_answer->words, sizeof ret_answer->words);
	if (!wire_reader_done(r) || !ret_answer->run || outcome >= ENGINE_CHECK_OUTCOMES)
		return false;
	for (const char *p = ret_answer->words; *p; p++)
		if (!is_printable(*p))
			return false;
	ret_answer->outcome = (enum engine_check_outcome)outcome;
	return true;
}
