/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_peer: where the adverts of a `vrrp` entry go, and from whom it takes them: the multicast
 * group, routers that are no nodes of this file, and how far away each may be.
 */
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

#define TTL_MAX 255

static const char *const known[] = {"address", "priority", "min_ttl", "max_ttl", NULL};

/* A number for all nodes, or one for each that shall have another than 255. */
static void read_ttls(const struct conf_scope *scope, const char *name, const struct conf *conf,
		      int ttls[CONF_NODES_MAX])
{
	char example[96];
	config_setting_t *setting = conf_get(scope, name);
	config_setting_t *by_node[CONF_NODES_MAX];
	struct conf_scope group = {.reader = scope->reader, .group = setting};
	int ttl = TTL_MAX;

	if (!setting || config_setting_type(setting) != CONFIG_TYPE_GROUP) {
		conf_read_int(scope, name, 1, TTL_MAX, &ttl);
		for (int i = 0; i < CONF_NODES_MAX; i++)
			ttls[i] = ttl;
		return;
	}
	snprintf(example, sizeof example, "%s = { web1 = 254; };", name);
	conf_place(&group, "%s.%s", scope->path, name);
	if (!conf_read_per_node(scope, name, conf, example, by_node))
		return;
	for (int i = 0; i < CONF_NODES_MAX; i++) {
		ttls[i] = TTL_MAX;
		if (i < conf->nodes_count && by_node[i])
			conf_read_int(&group, conf->nodes[i].name, 1, TTL_MAX, &ttls[i]);
	}
}

static void check_limits(const struct conf_scope *scope, const char *who, int min, int max)
{
	if (min > max)
		conf_error(scope, "max_ttl",
			   conf_say("adverts of %s can have no TTL from %d to %d", who, min, max),
			   conf_say("write a max_ttl that is not below min_ttl"));
}

/* Its address must be one that adverts can come from, and nobody else's. */
static void check_address(const struct conf_scope *scope, const struct conf *conf,
			  const struct conf_vrrp *vrrp, const struct conf_peer *peer)
{
	char text[IP_TEXT_MAX];

	ip_format(&peer->address, text);
	if (vrrp->family != (enum ip_family)peer->address.family)
		conf_error(scope, "unicast_peer",
			   conf_say("%s is no IPv%d address, and adverts go over IPv%d", text,
				    vrrp->family, vrrp->family),
			   conf_say("write the address that the peer's adverts come from"));
	for (int i = 0; i < conf->nodes_count; i++)
		if (vrrp->priorities[i] > 0 &&
		    ip_equal(&peer->address, vrrp->sources[i].family != IP_NONE
						     ? &vrrp->sources[i]
						     : &conf->nodes[i].address))
			conf_error(scope, "unicast_peer",
				   conf_say("%s is where the adverts of node %s come from", text,
					    conf->nodes[i].name ? conf->nodes[i].name : "?"),
				   conf_say("remove it: the nodes are peers without being named"));
	for (const struct conf_peer *other = vrrp->peers; other < peer; other++)
		if (ip_equal(&other->address, &peer->address))
			conf_error(scope, "unicast_peer", conf_say("names %s twice", text),
				   conf_say("keep one of the two"));
}

static bool read_peer(const struct conf_scope *scope, config_setting_t *value, int index,
		      struct conf_peer *peer)
{
	static const char example[] = "unicast_peer = [ \"198.51.100.3\" ];";
	struct conf_scope group;
	char text[IP_TEXT_MAX];

	*peer = (struct conf_peer){.ttl_min = TTL_MAX, .ttl_max = TTL_MAX};
	if (config_setting_type(value) == CONFIG_TYPE_STRING) {
		if (ip_parse(config_setting_get_string(value), &peer->address))
			return true;
		conf_error(
			scope, "unicast_peer",
			conf_say("\"%.80s\" is not an address", config_setting_get_string(value)),
			conf_say("write %s, and what else there is to say of it in a group: ( { "
				 "address = \"198.51.100.3\"; min_ttl = 254; } )",
				 example));
		return false;
	}
	if (config_setting_type(value) != CONFIG_TYPE_GROUP) {
		conf_wrong_type(scope, "unicast_peer", value, "an address", example);
		return false;
	}
	if (!conf_scope_open(scope, "unicast_peer", value, index, &group))
		return false;
	conf_scope_known(&group, known, NULL);
	if (!conf_get(&group, "address"))
		conf_required(&group, "address", "address = \"198.51.100.3\";");
	conf_read_int(&group, "priority", 1, 255, &peer->priority);
	conf_read_int(&group, "min_ttl", 1, TTL_MAX, &peer->ttl_min);
	conf_read_int(&group, "max_ttl", 1, TTL_MAX, &peer->ttl_max);
	if (!conf_read_address(&group, "address", &peer->address))
		return false;
	check_limits(&group, ip_format(&peer->address, text), peer->ttl_min, peer->ttl_max);
	return true;
}

static void read_peers(const struct conf_scope *scope, const struct conf *conf,
		       struct conf_vrrp *vrrp)
{
	config_setting_t *list = conf_read_list(scope, "unicast_peer", CONF_PEERS_MAX,
						"unicast_peer = [ \"198.51.100.3\" ];");

	if (list && vrrp->multicast) {
		conf_error(scope, "unicast_peer", conf_say("has no meaning with multicast = true"),
			   conf_say("leave multicast out, or name the peer in nodes, without a "
				    "key"));
		return;
	}
	for (int i = 0; list && i < config_setting_length(list); i++) {
		struct conf_peer *peer = &vrrp->peers[vrrp->peers_count];

		if (!read_peer(scope, config_setting_get_elem(list, (unsigned)i), i, peer))
			continue;
		check_address(scope, conf, vrrp, peer);
		vrrp->peers_count++;
	}
	if (conf->nodes_count + vrrp->peers_count > CONF_NODES_MAX)
		conf_error(scope, "unicast_peer",
			   conf_say("%d peers and %d nodes are too many", vrrp->peers_count,
				    conf->nodes_count),
			   conf_say("%d together are possible", CONF_NODES_MAX));
}

static void read_group(const struct conf_scope *scope, const struct conf *conf,
		       struct conf_vrrp *vrrp)
{
	if (vrrp->multicast) {
		vrrp->mcast_group =
			vrrp->family == IP_V6 ? conf->defaults.group_v6 : conf->defaults.group_v4;
		conf_read_group(scope, "mcast_dst_ip", vrrp->family, &vrrp->mcast_group);
	} else if (conf_get(scope, "mcast_dst_ip")) {
		conf_error(scope, "mcast_dst_ip", conf_say("has no meaning without multicast"),
			   conf_say("add multicast = true; or remove it"));
	}
}

void conf_read_peers(const struct conf_scope *scope, const struct conf *conf,
		     struct conf_vrrp *vrrp)
{
	read_group(scope, conf, vrrp);
	read_ttls(scope, "min_ttl", conf, vrrp->ttl_min);
	read_ttls(scope, "max_ttl", conf, vrrp->ttl_max);
	for (int i = 0; i < conf->nodes_count; i++) {
		if (vrrp->ttl_min[i] <= vrrp->ttl_max[i] || !conf->nodes[i].name)
			continue;
		check_limits(scope, conf->nodes[i].name, vrrp->ttl_min[i], vrrp->ttl_max[i]);
		break; /* a number is the same for all of them */
	}
	read_peers(scope, conf, vrrp);
}
