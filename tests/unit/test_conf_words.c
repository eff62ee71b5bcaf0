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
		    "little late makes two masters; write 2 or more\n");
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

static void announcements_follow_the_top_level_unless_an_instance_differs(void **state)
{
	struct conf *c = parse_good(HEAD VRRP(""), NULL);
	const struct conf_garp *garp = &c->vrrps[0].garp;

	(void)state;
	assert_int_equal(garp->master_delay_us, 1000000);
	assert_int_equal(garp->master_repeat, 1);
	assert_int_equal(garp->refresh_us, 60000000);
	assert_int_equal(garp->refresh_repeat, 1);
	assert_int_equal(garp->lower_prio_delay_us, 1000000);
	assert_int_equal(garp->lower_prio_repeat, 1);
	assert_int_equal(c->garp_interval_us, 0);
	conf_free(c);
	c = parse_good(HEAD "vrrp_garp_master_delay = 5; vrrp_garp_master_repeat = 5;\n"
			    "vrrp_garp_master_refresh = 30; vrrp_garp_master_refresh_repeat = 2;\n"
			    "vrrp_garp_interval = 0.001; vrrp_gna_interval = \"250us\";\n" VRRP(
				    "garp_master_repeat = 3; garp_lower_prio_delay = 10;"),
		       NULL);
	garp = &c->vrrps[0].garp;
	assert_int_equal(garp->master_delay_us, 5000000);
	assert_int_equal(garp->master_repeat, 3);
	assert_int_equal(garp->refresh_us, 30000000);
	assert_int_equal(garp->refresh_repeat, 2);
	assert_int_equal(garp->lower_prio_delay_us, 10000000);
	assert_int_equal(garp->lower_prio_repeat, 3);
	assert_int_equal(c->garp_interval_us, 1000);
	assert_int_equal(c->gna_interval_us, 250);
	conf_free(c);
	c = parse_good(HEAD "vrrp_garp_lower_prio_delay = 0;\n" VRRP(
			       "garp_lower_prio_repeat = 0; garp_master_refresh = 0;"),
		       NULL);
	garp = &c->vrrps[0].garp;
	assert_int_equal(garp->lower_prio_delay_us, 0);
	assert_int_equal(garp->lower_prio_repeat, 0);
	assert_int_equal(garp->refresh_us, 0);
	conf_free(c);
	expect_said(HEAD "vrrp_garp_master_repeat = 0;\n" VRRP("garp_master_refresh_repeat = 101;"),
		    "f:4: vrrp_garp_master_repeat: 0 is out of range; 1 to 100 are possible\n"
		    "f:8: vrrp.VI_1.garp_master_refresh_repeat: 101 is out of range; 1 to 100 are "
		    "possible\n");
	expect_said(HEAD "vrrp_garp_interval = 2;\n" VRRP("garp_lower_prio_delay = \"2h\";"),
		    "f:4: vrrp_garp_interval: 2 s is out of range; 0s to 1s are possible\n"
		    "f:8: vrrp.VI_1.garp_lower_prio_delay: \"2h\" is out of range; 0s to 1h are "
		    "possible\n");
}

static void version_and_patience_may_stand_at_the_top(void **state)
{
	struct conf *c =
		parse_good(HEAD "vrrp_version = 2; vrrp_down_timer_adverts = 4;\n" VRRP(""), NULL);

	(void)state;
	assert_int_equal(c->vrrps[0].version, 2);
	assert_int_equal(c->vrrps[0].advert_int_us, 1000000);
	assert_int_equal(c->vrrps[0].down_adverts, 4);
	conf_free(c);
	c = parse_good(HEAD "vrrp_version = 2; vrrp_down_timer_adverts = 4;\n" VRRP(
			       "version = 3; down_timer_adverts = 2;"),
		       NULL);
	assert_int_equal(c->vrrps[0].version, 3);
	assert_int_equal(c->vrrps[0].advert_int_us, 300000);
	assert_int_equal(c->vrrps[0].down_adverts, 2);
	conf_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_adverts_may_be_missing_unless_the_file_says_otherwise),
		cmocka_unit_test(announcements_follow_the_top_level_unless_an_instance_differs),
		cmocka_unit_test(version_and_patience_may_stand_at_the_top),
		cmocka_unit_test(the_start_up_delay_is_one_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
