/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine and the prober say to each other: back and forth, and everything that is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/probe_msg.h"

static size_t put_request(uint8_t *bytes, size_t room, uint64_t timeout_us,
			  const struct conf_probe *probe)
{
	struct wire_writer w;

	wire_writer_init(&w, bytes, room);
	probe_request_put(&w, 7, timeout_us, probe);
	assert_true(wire_writer_ok(&w));
	return w.at;
}

static bool get_request(const uint8_t *bytes, size_t size, struct probe_request *ret_request)
{
	struct wire_reader r;

	wire_reader_init(&r, bytes, size);
	return probe_request_get(&r, ret_request);
}

static char target[] = "http://127.0.0.1/healthz", word[] = "is well", port[] = "[::1]:80";

static const struct conf_probe http = {
	.http = true,
	.target = target,
	.statuses = {{200, 299}, {404, 404}},
	.statuses_count = 2,
	.body = word,
	.redirects = 3,
	.verify = true,
};
static const struct conf_probe tcp = {.target = port};

static void a_request_comes_out_as_it_went_in(void **state)
{
	uint8_t bytes[PROBE_MSG_BYTES_MAX];
	struct probe_request q;

	(void)state;
	assert_true(get_request(bytes, put_request(bytes, sizeof bytes, 1500000, &http), &q));
	assert_int_equal(q.run, 7);
	assert_true(q.http);
	assert_int_equal(q.timeout_us, 1500000);
	assert_string_equal(q.target, target);
	assert_int_equal(q.statuses_count, 2);
	assert_int_equal(q.statuses[1].first, 404);
	assert_int_equal(q.statuses[0].last, 299);
	assert_string_equal(q.body, word);
	assert_int_equal(q.redirects, 3);
	assert_true(q.verify);
	assert_true(get_request(bytes, put_request(bytes, sizeof bytes, 1, &tcp), &q));
	assert_false(q.http);
	assert_string_equal(q.target, port);
	assert_string_equal(q.body, "");
}

static void the_largest_request_fits_into_a_message(void **state)
{
	static char long_target[CONF_PROBE_TARGET_BYTES_MAX + 1],
		long_body[CONF_PROBE_BODY_BYTES_MAX + 1];
	uint8_t bytes[PROBE_MSG_BYTES_MAX];
	struct conf_probe largest = http;
	struct probe_request q;

	(void)state;
	memset(long_target, 't', sizeof long_target - 1);
	memset(long_body, 'b', sizeof long_body - 1);
	largest.target = long_target;
	largest.body = long_body;
	largest.statuses_count = CONF_STATUSES_MAX;
	assert_true(get_request(bytes, put_request(bytes, sizeof bytes, 1, &largest), &q));
	assert_string_equal(q.target, long_target);
	assert_string_equal(q.body, long_body);
}

static void a_request_cut_short_or_too_long_is_none(void **state)
{
	uint8_t bytes[PROBE_MSG_BYTES_MAX] = {0};
	size_t size = put_request(bytes, sizeof bytes, 1, &http);
	struct probe_request q;

	(void)state;
	for (size_t cut = 0; cut < size; cut++)
		assert_false(get_request(bytes, cut, &q));
	assert_false(get_request(bytes, size + 1, &q));
}

static void a_request_without_sense_is_none(void **state)
{
	uint8_t bytes[PROBE_MSG_BYTES_MAX];
	struct conf_probe bad = http;
	char nothing[] = "";
	struct probe_request q;
	size_t size;

	(void)state;
	assert_false(get_request(bytes, put_request(bytes, sizeof bytes, 0, &http), &q));
	assert_false(get_request(bytes, put_request(bytes, sizeof bytes, UINT64_MAX, &http), &q));
	bad.target = nothing;
	assert_false(get_request(bytes, put_request(bytes, sizeof bytes, 1, &bad), &q));
	bad = http;
	bad.statuses_count = 0; /* nothing would be good */
	assert_false(get_request(bytes, put_request(bytes, sizeof bytes, 1, &bad), &q));
	size = put_request(bytes, sizeof bytes, 1, &http);
	bytes[4] = 2; /* neither tcp nor http */
	assert_false(get_request(bytes, size, &q));
	size = put_request(bytes, sizeof bytes, 1, &http);
	memset(bytes, 0, 4); /* run 0 */
	assert_false(get_request(bytes, size, &q));
}

static bool answer(const char *words, enum engine_check_outcome outcome,
		   struct probe_answer *ret_answer)
{
	uint8_t bytes[PROBE_WORDS_BYTES_MAX + 16];
	struct wire_writer w;
	struct wire_reader r;

	wire_writer_init(&w, bytes, sizeof bytes);
	probe_answer_put(&w, 9, outcome, words);
	assert_true(wire_writer_ok(&w));
	wire_reader_init(&r, bytes, w.at);
	return probe_answer_get(&r, ret_answer);
}

static void an_answer_says_what_a_stranger_said_in_printable_words(void **state)
{
	char words[1000];
	struct probe_answer a;

	(void)state;
	assert_true(answer("answered 500", ENGINE_CHECK_FAILED, &a));
	assert_int_equal(a.run, 9);
	assert_int_equal(a.outcome, ENGINE_CHECK_FAILED);
	assert_string_equal(a.words, "answered 500");
	assert_true(answer("\x1b[31m\nerror:\xff\x7f", ENGINE_CHECK_OK, &a));
	assert_string_equal(a.words, "?[31m?error:??");
	memset(words, 'w', sizeof words - 1);
	words[sizeof words - 1] = '\0';
	assert_true(answer(words, ENGINE_CHECK_OK, &a));
	assert_int_equal(strlen(a.words), PROBE_WORDS_BYTES_MAX);
}

static void an_answer_that_no_prober_of_ours_gives_is_none(void **state)
{
	static const struct {
		uint8_t bytes[16];
		size_t size;
	} table[] = {
		{{0}, 0},
		{{0, 0, 0, 9, 0, 0}, 6},			     /* cut short */
		{{0, 0, 0, 9, 0, 0, 1}, 7},			     /* no word */
		{{0, 0, 0, 9, 0, 0, 1, 'x', 'x'}, 9},		     /* more than it says */
		{{0, 0, 0, 0, 0, 0, 1, 'x'}, 8},		     /* of nothing */
		{{0, 0, 0, 9, ENGINE_CHECK_OUTCOMES, 0, 1, 'x'}, 8}, /* an unknown outcome */
		{{0, 0, 0, 9, 0, 0, 1, '\n'}, 8},		     /* not printable */
		{{0, 0, 0, 9, 0, 0, 1, 0x80}, 8},
	};
	struct probe_answer a;
	struct wire_reader r;

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		wire_reader_init(&r, table[i].bytes, table[i].size);
		assert_false(probe_answer_get(&r, &a));
	}
}

static char server[] = "127.0.0.1:25", admin[] = "admin@example.org", from[] = "a@example.org";

static bool mail(const struct conf_mail *conf, const char *subject, const char *text,
		 struct probe_mail *ret_mail)
{
	uint8_t bytes[PROBE_MSG_BYTES_MAX];
	struct wire_writer w;
	struct wire_reader r;

	wire_writer_init(&w, bytes, sizeof bytes);
	probe_mail_put(&w, 5, conf, "web1", 1000000000, subject, text);
	assert_true(wire_writer_ok(&w));
	for (size_t cut = 0; cut < w.at; cut++) {
		wire_reader_init(&r, bytes, cut);
		assert_false(probe_mail_get(&r, ret_mail));
	}
	wire_reader_init(&r, bytes, w.at);
	return probe_mail_get(&r, ret_mail);
}

static void a_mail_comes_out_as_it_went_in_and_clean(void **state)
{
	const struct conf_mail conf = {.to = {admin, from},
				       .to_count = 2,
				       .server = server,
				       .connect_timeout_us = 30000000};
	struct probe_mail m;

	(void)state;
	assert_true(mail(&conf, "VI_1\r\nBcc: x", "one\ntwo\x1b\r\n.\n", &m));
	assert_int_equal(m.run, 5);
	assert_int_equal(m.to_count, 2);
	assert_string_equal(m.to[1], from);
	assert_string_equal(m.from, "");
	assert_string_equal(m.helo, "");
	assert_string_equal(m.node, "web1");
	/* No line more in the header than there should be. */
	assert_string_equal(m.subject, "VI_1??Bcc: x");
	assert_string_equal(m.text, "one\ntwo??\n.\n");
}

static void the_largest_mail_fits_into_a_message(void **state)
{
	static char longest[CONF_MAIL_ADDRESS_BYTES_MAX + 1], subject[1000], text[5000];
	struct conf_mail conf = {.to_count = CONF_MAIL_RECIPIENTS_MAX,
				 .from = longest,
				 .helo = longest,
				 .server = longest,
				 .connect_timeout_us = 1};
	struct probe_mail m;

	(void)state;
	memset(longest, 'a', sizeof longest - 1);
	memset(subject, 's', sizeof subject - 1);
	memset(text, 't', sizeof text - 1);
	for (int i = 0; i < conf.to_count; i++)
		conf.to[i] = longest;
	assert_true(mail(&conf, subject, text, &m));
	assert_int_equal(strlen(m.subject), PROBE_MAIL_SUBJECT_BYTES_MAX);
	assert_int_equal(strlen(m.text), PROBE_MAIL_TEXT_BYTES_MAX);
}

static void a_mail_that_could_say_more_than_it_should_is_none(void **state)
{
	char evil[] = "a@example.org>\r\nRCPT TO:<b";
	struct conf_mail conf = {
		.to = {admin}, .to_count = 1, .server = server, .connect_timeout_us = 1};
	struct probe_mail m;

	(void)state;
	assert_true(mail(&conf, "s", "t", &m));
	conf.to[0] = evil;
	assert_false(mail(&conf, "s", "t", &m));
	conf.to[0] = admin;
	conf.from = evil;
	assert_false(mail(&conf, "s", "t", &m));
	conf.from = NULL;
	conf.helo = evil;
	assert_false(mail(&conf, "s", "t", &m));
	conf.helo = NULL;
	conf.to_count = 0;
	assert_false(mail(&conf, "s", "t", &m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_comes_out_as_it_went_in),
		cmocka_unit_test(the_largest_request_fits_into_a_message),
		cmocka_unit_test(a_request_cut_short_or_too_long_is_none),
		cmocka_unit_test(a_request_without_sense_is_none),
		cmocka_unit_test(an_answer_says_what_a_stranger_said_in_printable_words),
		cmocka_unit_test(an_answer_that_no_prober_of_ours_gives_is_none),
		cmocka_unit_test(a_mail_comes_out_as_it_went_in_and_clean),
		cmocka_unit_test(the_largest_mail_fits_into_a_message),
		cmocka_unit_test(a_mail_that_could_say_more_than_it_should_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
