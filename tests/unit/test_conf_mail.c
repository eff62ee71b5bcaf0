/* SPDX-License-Identifier: Apache-2.0 */
/* Mail to people: what is read, and what each wrong setting is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conf_texts.h"

#define TO "notification_email = [ \"admin@example.org\" ];\n"

static void mail_settings_are_read_whole(void **state)
{
	char *said;
	struct conf *c = parse_good(
		HEAD
		"notification_email = [ \"admin@example.org\", \"root\" ];\n"
		"notification_email_from = \"tandem@example.org\";\n"
		"smtp_server = \"[2001:db8::25]:2525\"; smtp_helo_name = \"web1.example.org\";\n"
		"smtp_connect_timeout = 2; smtp_alert = true; no_email_faults = true;\n" VRRP(""),
		&said);

	(void)state;
	assert_string_equal(said, "");
	assert_int_equal(c->mail.to_count, 2);
	assert_string_equal(c->mail.to[0], "admin@example.org");
	assert_string_equal(c->mail.to[1], "root");
	assert_string_equal(c->mail.from, "tandem@example.org");
	assert_string_equal(c->mail.server, "[2001:db8::25]:2525");
	assert_string_equal(c->mail.helo, "web1.example.org");
	assert_int_equal(c->mail.connect_timeout_us, 2000000);
	assert_true(c->mail.no_faults);
	assert_true(c->vrrps[0].smtp_alert);
	assert_true(conf_wants_prober(c));
	free(said);
	conf_free(c);
}

static void the_defaults_are_those_of_keepalived(void **state)
{
	struct conf *c = parse_good(HEAD VRRP(""), NULL);

	(void)state;
	assert_int_equal(c->mail.to_count, 0);
	assert_null(c->mail.from);
	assert_string_equal(c->mail.server, "127.0.0.1:25");
	assert_int_equal(c->mail.connect_timeout_us, 30000000);
	assert_false(c->vrrps[0].smtp_alert);
	assert_false(conf_wants_prober(c));
	conf_free(c);
	c = parse_good(HEAD TO "smtp_server = \"mail.example.org\"; smtp_alert = true;\n" VRRP(
			       "smtp_alert = false;"),
		       NULL);
	assert_string_equal(c->mail.server, "mail.example.org:25");
	assert_false(c->vrrps[0].smtp_alert);
	conf_free(c);
}

/* In line 4. */
static const struct bad {
	const char *settings, *said;
} bad[] = {
	{"notification_email = [ \"A <a@example.org>\" ]; smtp_alert = true;",
	 "f:4: notification_email: \"A <a@example.org>\" is not a mail address; write the address "
	 "alone, without a name or < >: \"admin@example.org\"\n"},
	{"notification_email = [ \"a@example.org, b@example.org\" ]; smtp_alert = true;",
	 "f:4: notification_email: \"a@example.org, b@example.org\" is not a mail address; write "
	 "the address alone, without a name or < >: \"admin@example.org\"\n"},
	{"notification_email = \"a@example.org\"; smtp_alert = true;",
	 "f:4: notification_email: is text where a list should be; write notification_email = [ "
	 "\"admin@example.org\" ];\n"},
	{"notification_email = [ \"a\" ]; smtp_alert = true; notification_email_from = \"\\\"x\";",
	 "f:4: notification_email_from: \"\"x\" is not a mail address; write the address alone, "
	 "without a name or < >: \"admin@example.org\"\n"},
	{"notification_email = [ \"a\" ]; smtp_alert = true; smtp_server = \"127.0.0.1 25\";",
	 "f:4: smtp_server: \"127.0.0.1 25\" is not a host, or a host and a port; write "
	 "smtp_server = \"127.0.0.1:25\";, an IPv6 address in [ ]\n"},
	{"notification_email = [ \"a\" ]; smtp_alert = true; smtp_helo_name = \"a/b\";",
	 "f:4: smtp_helo_name: \"a/b\" is not the name of a host; write one such as "
	 "\"web1.example.org\"\n"},
	{"notification_email = [ \"a\" ]; smtp_alert = true; smtp_connect_timeout = 0;",
	 "f:4: smtp_connect_timeout: 0 s is out of range; 100ms to 600s are possible\n"},
};

static void each_wrong_mail_setting_is_told_what_would_be_right(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct conf_problems problems = {0};
		struct conf *conf = NULL;
		char text[2048], *said, *line;

		snprintf(text, sizeof text, HEAD "%s\n" VRRP(""), bad[i].settings);
		assert_int_equal(conf_parse(text, strlen(text), &problems, &conf), -EINVAL);
		said = problems_text(&problems);
		/* Warnings may follow. */
		line = strstr(said, bad[i].said);
		if (!line || problems.errors != 1)
			fail_msg("said: %swanted: %s", said, bad[i].said);
		free(said);
		conf_problems_release(&problems);
	}
}

static void what_can_have_no_effect_is_said(void **state)
{
	char *said;

	(void)state;
	conf_free(parse_good(HEAD TO VRRP(""), &said));
	assert_string_equal(said, "f:4: warning: notification_email: nobody is ever written to, as "
				  "no instance has smtp_alert; add smtp_alert = true; here for all "
				  "of them, or to those that matter\n");
	free(said);
	conf_free(parse_good(HEAD "smtp_server = \"a\";\n" VRRP("smtp_alert = true;"), &said));
	assert_non_null(strstr(said, "smtp_server: has no effect without notification_email"));
	assert_non_null(strstr(said, "vrrp.VI_1.smtp_alert: there is nobody to write to"));
	free(said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_settings_are_read_whole),
		cmocka_unit_test(the_defaults_are_those_of_keepalived),
		cmocka_unit_test(each_wrong_mail_setting_is_told_what_would_be_right),
		cmocka_unit_test(what_can_have_no_effect_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
