/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the file says of a virtual router, in the words of the cores.
 */
#include <string.h>

#include "agent/engine_private.h"

/* An advert has room for one family, that of its source; the others move along unsaid. */
static void add_vips(const struct conf_vrrp *v, bool link_local, struct vrrp_wire_conf *wire)
{
	for (int i = 0; i < v->vips_count; i++)
		if (!v->vips[i].excluded && v->vips[i].prefix.addr.family == v->family &&
		    ip_is_link_local(&v->vips[i].prefix.addr) == link_local)
			wire->vips[wire->vips_count++] = v->vips[i].prefix.addr;
}

/* Of a stranger, who is refused anyway, the widest of the limits says best what he is. */
static void limit_ttl(struct vrrp_wire_conf *wire, int node, int min, int max)
{
	wire->ttls[node] = (struct vrrp_ttl){.min = (uint8_t)min, .max = (uint8_t)max};
	if (min < wire->ttl_min)
		wire->ttl_min = min;
}

void engine_router_wire_conf(const struct agent_snapshot *snapshot, const struct conf_vrrp *v,
			     struct vrrp_wire_conf *ret_wire)
{
	const struct conf *conf = snapshot->conf.conf;

	*ret_wire = (struct vrrp_wire_conf){
		.version = (uint8_t)v->version,
		.vrid = (uint8_t)v->vrid,
		.family = (uint8_t)v->family,
		.auth_pass = v->auth_pass,
		.advert_int_cs = (uint32_t)(v->advert_int_us / 10000),
		.ttl_min = VRRP_TTL,
		.self = conf->self,
		.nodes_count = conf->nodes_count + v->peers_count,
	};
	memcpy(ret_wire->auth_data, v->auth_data, sizeof ret_wire->auth_data);
	for (int i = 0; i < conf->nodes_count; i++) {
		if (v->priorities[i])
			ret_wire->nodes[i] = *engine_node_source(snapshot, v, i);
		limit_ttl(ret_wire, i, v->ttl_min[i], v->ttl_max[i]);
	}
	/* Behind the nodes come the peers that are none. */
	for (int i = 0; i < v->peers_count; i++) {
		ret_wire->nodes[conf->nodes_count + i] = v->peers[i].address;
		limit_ttl(ret_wire, conf->nodes_count + i, v->peers[i].ttl_min,
			  v->peers[i].ttl_max);
	}
	/* RFC 9568 section 5.2.9: a link-local address comes first, where there is one. */
	add_vips(v, true, ret_wire);
	add_vips(v, false, ret_wire);
}

static uint64_t slowest_check_us(const struct agent_snapshot *snapshot, const struct conf_vrrp *v)
{
	uint64_t slowest_us = 0;

	for (int i = 0; i < v->tracks_count; i++) {
		const struct conf_check *check = &snapshot->conf.conf->checks[v->tracks[i].check];
		uint64_t us = check->interval_us +
			      (check->kind == CONF_CHECK_SCRIPT ? check->timeout_us : 0);

		if (us > slowest_us)
			slowest_us = us;
	}
	return slowest_us;
}

static uint64_t group_skew_us(const struct conf *conf, int group)
{
	uint64_t longest_us = 0;

	for (int i = 0; group >= 0 && i < conf->groups[group].members_count; i++) {
		const struct conf_vrrp *v = &conf->vrrps[conf->groups[group].members[i]];
		uint64_t skew_us = vrrp_fsm_skew_us((uint8_t)v->version, 1, v->advert_int_us);

		if (skew_us > longest_us)
			longest_us = skew_us;
	}
	return longest_us;
}

void engine_router_fsm_conf(const struct agent_snapshot *snapshot, const struct conf_vrrp *v,
			    const struct vrrp_wire_conf *wire, struct vrrp_conf *ret_conf)
{
	const struct conf *conf = snapshot->conf.conf;
	int weights[CONF_TRACKS_MAX], weights_count = 0;

	*ret_conf = (struct vrrp_conf){
		.version = (uint8_t)v->version,
		.advert_int_us = v->advert_int_us,
		.down_adverts = (uint8_t)v->down_adverts,
		.self = conf->self,
		.nodes_count = conf->nodes_count + v->peers_count,
		.grouped = v->group >= 0,
		.group_skew_us = group_skew_us(conf, v->group),
		.nopreempt = v->nopreempt,
		.preempt_delay_us = v->preempt_delay_us,
		.stop_wait_us = v->stop_wait_us,
		.undetermined_wait_us = slowest_check_us(snapshot, v),
		.garp_master_delay_us = v->garp.master_delay_us,
		.garp_master_refresh_us = v->garp.refresh_us,
		.garp_lower_prio_delay_us = v->garp.lower_prio_delay_us,
	};
	/* The number in a file is no part of what the others may expect. */
	for (int i = 0; i < v->tracks_count; i++)
		if (conf->checks[v->tracks[i].check].kind != CONF_CHECK_FILE)
			weights[weights_count++] = v->tracks[i].weight;
	for (int i = 0; i < conf->nodes_count; i++) {
		if (!v->priorities[i])
			continue;
		ret_conf->nodes[i] = (struct vrrp_node){
			.address = wire->nodes[i],
			.priority = health_fsm_full_priority((uint8_t)v->priorities[i], weights,
							     weights_count),
			/* Who takes no part in replication is not tandem: see conf.h. */
			.foreign = conf->nodes[i].pins_count == 0,
		};
	}
	for (int i = 0; i < v->peers_count; i++)
		ret_conf->nodes[conf->nodes_count + i] = (struct vrrp_node){
			.address = v->peers[i].address,
			.priority = v->peers[i].priority ? (uint8_t)v->peers[i].priority
							 : VRRP_PRIORITY_OWNER - 1,
			.foreign = true,
			.unsaid = v->peers[i].priority == 0,
		};
}
