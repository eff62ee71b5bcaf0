/* SPDX-License-Identifier: Apache-2.0 */
/* Words that people bring from keepalived: that they are read, and what wrong ones are told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conf_texts.h"

/* What the file in line 4 and following is told; "" if it is good. */
static void expect_said(const char *text, const char *expected)
{
	struct conf_problems problems = {0};
	struct conf *conf = NULL;
	char *said;

	if (conf_parse(text, strlen(text), &problems, &conf) == 0)
		conf_free(conf);
	said = problems_text(&problems);
	assert_string_equal(said, expected);
	free(said);
	conf_problems_release(&problems);
}

static void three_adverts_may_be_missing_unless_the_file_says_otherwise(void **state)
{
	struct conf *c = parse_good(HEAD VRRP(""), NULL);

	(void)state;
	assert_int_equal(c->vrrps[0].down_adverts, 3);
	conf_free(c);
	c = parse_good(HEAD VRRP("down_timer_adverts = 100;"), NULL);
	assert_int_equal(c->vrrps[0].down_adverts, 100);
	conf_free(c);
	expect_said(HEAD VRRP("down_timer_adverts = 101;"),
		    "f:7: vrrp.VI_1.down_timer_adverts: 101 is out of range; 1 to 100 are "
		    "possible\n");
	expect_said(HEAD VRRP("down_timer_adverts = 1;"),
		    "f:7: warning: vrrp.VI_1.down_timer_adverts: one advert that is lost or a "
		    "little late makes two masters; write 2 or more, or leave it out: it is 3 "
		    "then\n");
}

static void the_start_up_delay_is_one_for_all(void **state)
{
	struct conf *c = parse_good(HEAD "vrrp_startup_delay = 2.5;\n" VRRP(""), NULL);

	(void)state;
	assert_int_equal(c->startup_delay_us, 2500000);
	conf_free(c);
	expect_said(HEAD "vrrp_startup_delay = \"2h\";\n" VRRP(""),
		    "f:4: vrrp_startup_delay: \"2h\" is out of range; 0s to 1h are possible\n");
	expect_said(HEAD "startup_delay = 1;\n" VRRP(""),
		    "f:4: startup_delay: unknown setting; did you mean vrrp_startup_delay?\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_adverts_may_be_missing_unless_the_file_says_otherwise),
		cmocka_unit_test(the_start_up_delay_is_one_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
