/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_defaults: what holds for all virtual routers, under the names that keepalived's global_defs
 * have for it; and what an instance may say otherwise.
 */
#include <stdlib.h>

#include "shared/conf_private.h"

#define SECOND_US 1000000u
#define HOUR_US (3600ull * SECOND_US)

/* At the top level the name begins with "vrrp_". */
static const char *named(const char *prefix, const char *name, char room[64])
{
	snprintf(room, 64, "%s%s", prefix, name);
	return room;
}

static void read_garp(const struct conf_scope *scope, const char *prefix, struct conf_garp *garp)
{
	char name[64];
	bool delay, repeat;

	delay = conf_read_duration(scope, named(prefix, "garp_master_delay", name), 0, HOUR_US,
				   &garp->master_delay_us);
	repeat = conf_read_int(scope, named(prefix, "garp_master_repeat", name), 1, 100,
			       &garp->master_repeat);
	conf_read_duration(scope, named(prefix, "garp_master_refresh", name), 0, 24 * HOUR_US,
			   &garp->refresh_us);
	conf_read_int(scope, named(prefix, "garp_master_refresh_repeat", name), 1, 100,
		      &garp->refresh_repeat);
	/* They follow those of the master, as in keepalived. */
	if (delay)
		garp->lower_prio_delay_us = garp->master_delay_us;
	if (repeat)
		garp->lower_prio_repeat = garp->master_repeat;
	conf_read_duration(scope, named(prefix, "garp_lower_prio_delay", name), 0, HOUR_US,
			   &garp->lower_prio_delay_us);
	conf_read_int(scope, named(prefix, "garp_lower_prio_repeat", name), 0, 100,
		      &garp->lower_prio_repeat);
}

void conf_read_garp(const struct conf_scope *scope, struct conf_garp *garp)
{
	read_garp(scope, "", garp);
}

void conf_read_group(const struct conf_scope *scope, const char *name, enum ip_family family,
		     struct ip_addr *ret_addr)
{
	struct ip_addr addr;
	char text[IP_TEXT_MAX];

	if (!conf_read_address(scope, name, &addr))
		return;
	if (addr.family != family ||
	    (family == IP_V4 ? addr.bytes[0] >> 4 != 0xe : addr.bytes[0] != 0xff)) {
		conf_error(scope, name,
			   conf_say("%s is no multicast address of IPv%d", ip_format(&addr, text),
				    family),
			   family == IP_V4
				   ? conf_say("write one from 224.0.0.0 to 239.255.255.255, "
					      "or leave it out: it is 224.0.0.18 then")
				   : conf_say("write one such as \"ff02::12\", which it is "
					      "if it is left out"));
		return;
	}
	*ret_addr = addr;
}

void conf_read_down_adverts(const struct conf_scope *scope, const char *name, int *ret)
{
	if (conf_read_int(scope, name, 1, 100, ret) && *ret == 1)
		conf_warning(scope, name,
			     conf_say("one advert that is lost or a little late makes two masters"),
			     conf_say("write 2 or more"));
}

void conf_defaults_release(struct conf_vrrp_defaults *defaults)
{
	free(defaults->script_user);
}

void conf_read_defaults(const struct conf_scope *top, struct conf *conf)
{
	struct conf_vrrp_defaults *defaults = &conf->defaults;

	*defaults = (struct conf_vrrp_defaults){
		.version = 3,
		.down_adverts = 3,
		.garp = {.master_delay_us = SECOND_US,
			 .master_repeat = 1,
			 .refresh_us = 60 * SECOND_US,
			 .refresh_repeat = 1,
			 .lower_prio_delay_us = SECOND_US,
			 .lower_prio_repeat = 1},
		/* RFC 9568 sections 5.1.1.2 and 5.1.2.2. */
		.group_v4 = {.family = IP_V4, .bytes = {224, 0, 0, 18}},
		.group_v6 = {.family = IP_V6, .bytes = {0xff, 0x02, [15] = 0x12}},
	};
	conf_read_int(top, "vrrp_version", 2, 3, &defaults->version);
	conf_read_user(top, "script_user", &defaults->script_user);
	conf_read_group(top, "vrrp_mcast_group4", IP_V4, &defaults->group_v4);
	conf_read_group(top, "vrrp_mcast_group6", IP_V6, &defaults->group_v6);
	conf_read_down_adverts(top, "vrrp_down_timer_adverts", &defaults->down_adverts);
	read_garp(top, "vrrp_", &defaults->garp);
	conf_read_duration(top, "vrrp_startup_delay", 0, HOUR_US, &conf->startup_delay_us);
	conf_read_duration(top, "vrrp_garp_interval", 0, SECOND_US, &conf->garp_interval_us);
	conf_read_duration(top, "vrrp_gna_interval", 0, SECOND_US, &conf->gna_interval_us);
}
