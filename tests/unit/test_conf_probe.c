/* SPDX-License-Identifier: Apache-2.0 */
/* TCP and HTTP checks: what is read, and what each wrong one is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conf_texts.h"

static void an_http_check_is_read_whole(void **state)
{
	char *said;
	struct conf *c = parse_good(
		HEAD TRACKED("http = \"https://www.example.org:8443/healthz?full\"; timeout = 0.5; "
			     "http_status = [ \"200\", \"300-399\" ]; http_body = \"is well\"; "
			     "http_redirects = 2; http_verify = true; fall = 3;"),
		&said);
	const struct conf_probe *probe = &c->checks[0].probe;

	(void)state;
	assert_string_equal(said, "");
	assert_int_equal(c->checks[0].kind, CONF_CHECK_HTTP);
	assert_int_equal(c->checks[0].timeout_us, 500000);
	assert_true(probe->http);
	assert_string_equal(probe->target, "https://www.example.org:8443/healthz?full");
	assert_int_equal(probe->statuses_count, 2);
	assert_int_equal(probe->statuses[0].first, 200);
	assert_int_equal(probe->statuses[0].last, 200);
	assert_int_equal(probe->statuses[1].last, 399);
	assert_string_equal(probe->body, "is well");
	assert_int_equal(probe->redirects, 2);
	assert_true(probe->verify);
	assert_true(conf_wants_prober(c));
	free(said);
	conf_free(c);
}

static void what_is_not_said_has_a_default(void **state)
{
	struct conf *c = parse_good(HEAD TRACKED("http = \"http://[2001:db8::1]:80\";"), NULL);
	const struct conf_probe *probe = &c->checks[0].probe;

	(void)state;
	assert_int_equal(probe->statuses_count, 1);
	assert_int_equal(probe->statuses[0].first, 200);
	assert_int_equal(probe->statuses[0].last, 399);
	assert_null(probe->body);
	assert_int_equal(probe->redirects, 0);
	assert_false(probe->verify);
	assert_int_equal(c->checks[0].timeout_us, 1000000);
	conf_free(c);
	c = parse_good(HEAD TRACKED("http = \"http://a/\"; http_status = 204;"), NULL);
	assert_int_equal(c->checks[0].probe.statuses[0].first, 204);
	assert_int_equal(c->checks[0].probe.statuses[0].last, 204);
	conf_free(c);
}

static void a_tcp_check_is_a_host_and_a_port(void **state)
{
	static const char *const good[] = {"127.0.0.1:80", "[::1]:443", "localhost:65535",
					   "web-1.example.org:1"};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char text[1024];
		struct conf *c;

		snprintf(text, sizeof text, HEAD TRACKED("tcp = \"%s\";"), good[i]);
		c = parse_good(text, NULL);
		assert_int_equal(c->checks[0].kind, CONF_CHECK_TCP);
		assert_false(c->checks[0].probe.http);
		assert_string_equal(c->checks[0].probe.target, good[i]);
		conf_free(c);
	}
}

static void a_process_and_a_probe_make_one_check(void **state)
{
	struct conf *c = parse_good(HEAD TRACKED("process = \"/run/nginx.pid\"; timeout = 2; "
						 "http = \"http://127.0.0.1/healthz\";"),
				    NULL);

	(void)state;
	assert_int_equal(c->checks[0].kind, CONF_CHECK_PROCESS);
	assert_non_null(c->checks[0].probe.target);
	assert_true(conf_wants_prober(c));
	conf_free(c);
	c = parse_good(HEAD TRACKED("process = \"/run/nginx.pid\";"), NULL);
	assert_false(conf_wants_prober(c));
	conf_free(c);
}

#define EXAMPLE "write http = \"http://127.0.0.1/healthz\";\n"

static const struct bad {
	const char *settings, *said;
} bad[] = {
	{"http = \"127.0.0.1/healthz\";",
	 "http: \"127.0.0.1/healthz\" begins neither with http:// nor with https://; " EXAMPLE},
	{"http = \"http:///x\";", "http: \"http:///x\" names no host; " EXAMPLE},
	{"http = \"http://a:0/\";",
	 "http: \"http://a:0/\" has no port from 1 to 65535 behind its host; " EXAMPLE},
	{"http = \"http://a:65536/\";",
	 "http: \"http://a:65536/\" has no port from 1 to 65535 behind its host; " EXAMPLE},
	{"http = \"http://[::g]/\";",
	 "http: \"http://[::g]/\" has no IPv6 address in its brackets; " EXAMPLE},
	{"http = \"http://me:secret@a/\";",
	 "http: \"http://me:secret@a/\" has a user or a password in it, which everybody could see "
	 "in the status; " EXAMPLE},
	{"http = \"http://a/b c\";", "http: \"http://a/b c\" has a blank or another character in "
				     "it that a URL writes as %XX; " EXAMPLE},
	{"http = \"http://a/\"; tcp = \"a:80\";",
	 "tcp: has both http and tcp; keep one of the two; a router may track several checks\n"},
	{"http = \"http://a/\"; http_status = 99;",
	 "http_status: 99 is out of range; 100 to 599 are possible\n"},
	{"http = \"http://a/\"; http_status = \"299-200\";",
	 "http_status: \"299-200\" is neither a status nor a range of them; write \"200\" or "
	 "\"200-299\", with numbers from 100 to 599\n"},
	{"http = \"http://a/\"; http_status = [ \"200-\" ];",
	 "http_status: \"200-\" is neither a status nor a range of them; write \"200\" or "
	 "\"200-299\", with numbers from 100 to 599\n"},
	{"http = \"http://a/\"; http_status = true;",
	 "http_status: is true or false where a list should be; write "
	 "http_status = [ \"200-299\", \"404\" ];\n"},
	{"http = \"http://a/\"; http_redirects = 11;",
	 "http_redirects: 11 is out of range; 0 to 10 are possible\n"},
	{"tcp = \"127.0.0.1\";", "tcp: \"127.0.0.1\" names no port; write tcp = \"127.0.0.1:80\"; "
				 "with the host or its address, and the port\n"},
	{"tcp = \"127.0.0.1:http\";",
	 "tcp: \"127.0.0.1:http\" has no port from 1 to 65535 behind its host; write tcp = "
	 "\"127.0.0.1:80\"; with the host or its address, and the port\n"},
	{"tcp = \"a:80\"; http_body = \"x\";",
	 "http_body: has no meaning for a check with tcp; remove it; it belongs to http checks\n"},
	{"tcp = \"a:80\"; user = \"nobody\";",
	 "user: has no meaning for a check with tcp; remove it; it belongs to script checks\n"},
	{"tcp = \"a:80\"; script = \"/bin/true\";",
	 "tcp: has both script and tcp; keep one of the two; a router may track several checks\n"},
	{"process = \"/run/x\"; http = \"http://a/\"; tcp = \"a:80\";",
	 "tcp: has both process and tcp; keep one of the two; a router may track several checks\n"},
};

static void each_wrong_check_is_told_what_would_be_right(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char text[2048], wanted[1024];

		snprintf(text, sizeof text, HEAD TRACKED("%s"), bad[i].settings);
		snprintf(wanted, sizeof wanted, "f:4: checks.nginx.%s", bad[i].said);
		expect_said(text, wanted);
	}
}

static void a_certificate_that_is_not_there_cannot_be_verified(void **state)
{
	(void)state;
	expect_said(HEAD TRACKED("http = \"http://a/\"; http_verify = true;"),
		    "f:4: warning: checks.nginx.http_verify: has no effect, as the "
		    "URL is not one of https; write https:// there, or remove it\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_http_check_is_read_whole),
		cmocka_unit_test(what_is_not_said_has_a_default),
		cmocka_unit_test(a_tcp_check_is_a_host_and_a_port),
		cmocka_unit_test(a_process_and_a_probe_make_one_check),
		cmocka_unit_test(each_wrong_check_is_told_what_would_be_right),
		cmocka_unit_test(a_certificate_that_is_not_there_cannot_be_verified),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
