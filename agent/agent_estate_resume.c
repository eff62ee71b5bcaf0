/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a configuration name the very router that a dead engine was Master of? A reload may have
 * made it another one in the moment of the death; then it is given up, as the engine would have
 * done.
 */
#include <string.h>

#include "agent/agent_estate.h"
#include "agent/vrrp_fsm.h"

static bool is_multicast(const struct ip_addr *addr)
{
	return addr->family == IP_V4 ? addr->bytes[0] >> 4 == 0xe : addr->bytes[0] == 0xff;
}

/* To the same group, or to the peers: the last will is addressed like the adverts. The socket that
 * is left has joined the old group. */
static bool speaks_to(const struct agent_record *record, const struct conf_vrrp *v)
{
	const struct ip_addr *to = record->wills_count > 0 ? &record->wills[0].destination : NULL;

	if (v->multicast)
		return to && ip_equal(to, &v->mcast_group);
	return !to || !is_multicast(to);
}

bool agent_estate_can_resume(const struct agent_record *record, const struct conf *conf,
			     uint64_t now_us)
{
	int place = conf_vrrp_index(conf, record->name);
	const struct conf_vrrp *v;

	if (record->state != VRRP_MASTER || !record->socket || !record->last_advert_us ||
	    now_us - record->last_advert_us >= 2 * record->advert_int_us || place < 0)
		return false;
	v = &conf->vrrps[place];
	return v->priorities[conf->self] && !strcmp(v->interfaces[conf->self], record->interface) &&
	       v->vrid == record->vrid && v->version == record->version &&
	       !strcmp(v->vmac, record->vmac) && v->family == record->source.family &&
	       speaks_to(record, v);
}
