/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_defaults: what holds for all virtual routers, under the names that keepalived's global_defs
 * have for it.
 */
#include "shared/conf_private.h"

#define SECOND_US 1000000u

void conf_read_defaults(const struct conf_scope *top, struct conf *conf)
{
	conf_read_duration(top, "vrrp_startup_delay", 0, 3600ull * SECOND_US,
			   &conf->startup_delay_us);
}
