/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_diff: what two readings of the file say differently, setting by setting, in the file's own
 * words.
 *
 * The texts are compared and not the typed configurations, so that every setting is seen, also one
 * that is added to tandem tomorrow. What is written otherwise and means the same is a difference of
 * the texts and is shown; whether it disturbs anything the daemons say themselves.
 */
#ifndef TANDEM_CONF_DIFF_H
#define TANDEM_CONF_DIFF_H

#include <jansson.h>

#include "shared/conf.h"

/* *ret_changes is an array of objects, in the order of the newer file, what is gone last:
 *
 *   { "section": "vrrp", "name": "VI_1", "change": "changed", "settings": [
 *     { "setting": "priority.web1", "before": "100", "after": "110" } ] }
 *
 * change is "added", "removed" or "changed". The settings of the top are one object with the
 * section "" and the name "". before and after are null where the setting is not written; passwords
 * are named and not told. -ENOMEM; -EINVAL if one of them is not a text that conf_parse() has taken. */
int conf_diff(const struct conf_snapshot *from, const struct conf_snapshot *to,
	      json_t **ret_changes);

#endif
