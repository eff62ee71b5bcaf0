/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With which configuration a new engine goes on where a dead one stopped: the newest counts, and it
 * may have been given out in the very moment of the death.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/agent_estate.h"
#include "agent/vrrp_fsm.h"
#include "tests/unit/conf_texts.h"

#define NOW 1000000000
#define SECOND 1000000

static struct agent_record record;

static struct ip_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct ip_addr){.family = IP_V4, .bytes = {a, b, c, d}};
}

/* What an engine leaves of VI_1 as web1 has it. group: where its adverts go; IP_NONE: to web2. */
static void leave(struct ip_addr group)
{
	memset(&record, 0, sizeof record);
	strcpy(record.name, "VI_1");
	strcpy(record.interface, "eth0");
	record.vrid = 51;
	record.version = 3;
	record.state = VRRP_MASTER;
	record.priority = 100;
	record.socket = 1;
	record.advert_int_us = SECOND;
	record.last_advert_us = NOW - SECOND;
	record.source = v4(198, 51, 100, 1);
	record.wills_count = 1;
	record.wills[0].destination = group.family ? group : v4(198, 51, 100, 2);
}

static bool goes_on(const char *text)
{
	struct conf *conf = parse_good(text, NULL);
	bool can;

	assert_int_equal(conf_set_self(conf, "web1"), 0);
	can = agent_estate_can_resume(&record, conf, NOW);
	conf_free(conf);
	return can;
}

static void it_goes_on_where_the_file_names_the_same_router(void **state)
{
	(void)state;
	leave((struct ip_addr){0});
	assert_true(goes_on(HEAD VRRP("")));
	assert_true(goes_on(HEAD VRRP("advert_int = 2; nopreempt = true; stop_wait = \"1s\";")));
	record.wills_count = 0; /* the other node takes no part */
	assert_true(goes_on(HEAD VRRP("")));
	leave(v4(224, 0, 0, 18));
	assert_true(goes_on(HEAD VRRP("multicast = true;")));
	leave(v4(239, 1, 2, 3));
	assert_true(goes_on(HEAD "vrrp_mcast_group4 = \"239.1.2.3\";\n" VRRP("multicast = true;")));
}

static void it_does_not_go_on_where_a_reload_has_changed_where_the_adverts_go(void **state)
{
	(void)state;
	leave((struct ip_addr){0});
	assert_false(goes_on(HEAD VRRP("multicast = true;")));
	record.wills_count = 0;
	assert_false(goes_on(HEAD VRRP("multicast = true;")));
	leave(v4(224, 0, 0, 18));
	assert_false(goes_on(HEAD VRRP("")));
	assert_false(
		goes_on(HEAD "vrrp_mcast_group4 = \"239.1.2.3\";\n" VRRP("multicast = true;")));
	leave(v4(239, 1, 2, 3));
	assert_false(goes_on(HEAD VRRP("multicast = true;")));
	assert_false(goes_on(HEAD VRRP("")));
}

static void it_does_not_go_on_as_another_router(void **state)
{
	(void)state;
	leave((struct ip_addr){0});
	record.vrid = 52;
	assert_false(goes_on(HEAD VRRP("")));
	leave((struct ip_addr){0});
	record.version = 2;
	assert_false(goes_on(HEAD VRRP("")));
	leave((struct ip_addr){0});
	strcpy(record.interface, "eth1");
	assert_false(goes_on(HEAD VRRP("")));
	leave((struct ip_addr){0});
	strcpy(record.vmac, "vrrp.51");
	assert_false(goes_on(HEAD VRRP("")));
	leave((struct ip_addr){0});
	strcpy(record.name, "VI_2");
	assert_false(goes_on(HEAD VRRP("")));
	leave((struct ip_addr){0});
	record.source.family = IP_V6;
	assert_false(goes_on(HEAD VRRP("")));
}

static void it_does_not_go_on_when_others_may_have_taken_over(void **state)
{
	(void)state;
	leave((struct ip_addr){0});
	record.last_advert_us = NOW - 2 * SECOND + 1;
	assert_true(goes_on(HEAD VRRP("")));
	record.last_advert_us = NOW - 2 * SECOND;
	assert_false(goes_on(HEAD VRRP("")));
	record.last_advert_us = 0;
	assert_false(goes_on(HEAD VRRP("")));
	leave((struct ip_addr){0});
	record.state = VRRP_BACKUP;
	assert_false(goes_on(HEAD VRRP("")));
	leave((struct ip_addr){0});
	record.socket = 0;
	assert_false(goes_on(HEAD VRRP("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_goes_on_where_the_file_names_the_same_router),
		cmocka_unit_test(it_does_not_go_on_where_a_reload_has_changed_where_the_adverts_go),
		cmocka_unit_test(it_does_not_go_on_as_another_router),
		cmocka_unit_test(it_does_not_go_on_when_others_may_have_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
