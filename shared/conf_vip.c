/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_vip: `virtual_ipaddress` and `virtual_ipaddress_excluded` of a `vrrp` entry.
 */
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

static const char *const known[] = {"address", "dev", "label", "scope", "broadcast", NULL};

/* Words of keepalived (and of ip(8)) whose meaning has another place here. */
static const struct conf_hint hints[] = {
	{"brd", "the setting is called broadcast"},
	{"interface", "the setting is called dev"},
	{"noprefixroute", "remove it: where the interface has the subnet, none is added"},
	{"nodad", "remove it: IPv6 addresses are added without duplicate address detection"},
	{"no_track", "remove it: an address that somebody removes is put back"},
	{NULL, NULL},
};

void conf_vip_release(struct conf_vip *vip)
{
	for (int i = 0; vip->devs && i < CONF_NODES_MAX; i++)
		free(vip->devs[i]);
	free(vip->devs);
}

const char *conf_vip_interface(const struct conf_vrrp *vrrp, const struct conf_vip *vip, int node)
{
	if (vrrp->priorities[node] == 0)
		return NULL;
	if (conf_vip_on_vmac(vrrp, vip))
		return vrrp->vmac;
	return conf_vip_network(vrrp, vip, node);
}

const char *conf_vip_network(const struct conf_vrrp *vrrp, const struct conf_vip *vip, int node)
{
	if (vrrp->priorities[node] == 0)
		return NULL;
	return vip->devs ? vip->devs[node] : vrrp->interfaces[node];
}

bool conf_vip_on_vmac(const struct conf_vrrp *vrrp, const struct conf_vip *vip)
{
	return *vrrp->vmac && !vip->devs;
}

/* An address that no host can serve, by itself or within its own prefix; NULL if it is fine. */
static const char *vip_fault(const struct ip_addr *addr)
{
	static const uint8_t zeros[16];

	if (addr->family == IP_V6) {
		if (addr->bytes[0] == 0xff)
			return "is a multicast address";
		if (memcmp(addr->bytes, zeros, 15) == 0 && addr->bytes[15] <= 1)
			return addr->bytes[15] ? "is a loopback address"
					       : "is not an address of a host";
		if (memcmp(addr->bytes, zeros, 10) == 0 && addr->bytes[10] == 0xff &&
		    addr->bytes[11] == 0xff)
			return "is an IPv4 address in IPv6's clothes";
		return NULL;
	}
	if (addr->bytes[0] == 0)
		return "is not an address of a host";
	if (addr->bytes[0] == 127)
		return "is a loopback address";
	if (addr->bytes[0] >= 240)
		return "is not an address of a host";
	if (addr->bytes[0] >= 224)
		return "is a multicast address";
	return NULL;
}

static bool read_prefix(const struct conf_scope *scope, const char *name, const char *text,
			struct ip_prefix *ret_prefix)
{
	const char *fault;

	if (!ip_parse_prefix(text, ret_prefix)) {
		conf_error(scope, name,
			   conf_say("\"%.80s\" is not an address with a prefix length", text),
			   strpbrk(text, " \t")
				   ? conf_say("what belongs to it stands apart: ( { address = "
					      "\"198.51.100.200/24\"; dev = \"eth1\"; } )")
				   : conf_say("write one such as \"198.51.100.200/24\""));
		return false;
	}
	fault = vip_fault(&ret_prefix->addr);
	if (!fault && ret_prefix->prefix_len > 0)
		return true;
	conf_error(scope, name,
		   conf_say("\"%.80s\" %s", text, fault ? fault : "has the prefix length 0"),
		   conf_say("write a free address of the interface's subnet"));
	return false;
}

static void read_label(const struct conf_scope *group, struct conf_vip *vip)
{
	char *label = NULL;

	if (!conf_read_string(group, "label", "label = \"eth0:1\";", &label))
		return;
	if (label[0] == '\0' || strlen(label) >= sizeof vip->label || strpbrk(label, "/ \t"))
		conf_error(group, "label", conf_say("\"%.80s\" is not a label", label),
			   conf_say("write 1 to 15 characters such as \"eth0:1\""));
	else
		memcpy(vip->label, label, strlen(label) + 1);
	free(label);
}

static void read_scope(const struct conf_scope *group, struct conf_vip *vip)
{
	static const struct {
		const char *name;
		uint8_t scope;
	} scopes[] = {
		{"global", RT_SCOPE_UNIVERSE},
		{"site", RT_SCOPE_SITE},
		{"link", RT_SCOPE_LINK},
		{"host", RT_SCOPE_HOST},
	};
	char *text = NULL;
	bool found = false;

	if (!conf_read_string(group, "scope", "scope = \"link\";", &text))
		return;
	for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
		if (strcmp(text, scopes[i].name) != 0)
			continue;
		vip->scope = scopes[i].scope;
		found = true;
	}
	if (!found)
		conf_error(group, "scope", conf_say("\"%.80s\" is not a scope", text),
			   conf_say("write \"global\", \"site\", \"link\" or \"host\""));
	free(text);
}

/* "+": the last address of the subnet, as ip(8) has it. */
static void read_broadcast(const struct conf_scope *group, struct conf_vip *vip)
{
	config_setting_t *setting = conf_get(group, "broadcast");
	const struct ip_prefix *prefix = &vip->prefix;

	if (!setting)
		return;
	if (config_setting_type(setting) != CONFIG_TYPE_STRING ||
	    strcmp(config_setting_get_string(setting), "+") != 0) {
		if (conf_read_address(group, "broadcast", &vip->broadcast) &&
		    vip->broadcast.family != IP_V4)
			conf_error(group, "broadcast", conf_say("is an IPv6 address"),
				   conf_say("IPv6 has no broadcast: remove it"));
		return;
	}
	vip->broadcast = prefix->addr;
	for (unsigned bit = prefix->prefix_len; bit < 32; bit++)
		vip->broadcast.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
}

static bool read_group(const struct conf_scope *scope, const struct conf *conf, const char *name,
		       config_setting_t *value, int index, const struct conf_vrrp *vrrp,
		       struct conf_vip *vip)
{
	static const char example[] = "address = \"198.51.100.200/24\";";
	static const char *const v4_only[] = {"label", "scope", "broadcast"};
	struct conf_scope group;
	char *text = NULL;
	bool good;

	if (!conf_scope_open(scope, name, value, index, &group))
		return false;
	conf_scope_known(&group, known, hints);
	if (!conf_get(&group, "address"))
		conf_required(&group, "address", example);
	good = conf_read_string(&group, "address", example, &text) &&
	       read_prefix(&group, "address", text, &vip->prefix);
	free(text);
	if (!good)
		return false;
	for (size_t i = 0; i < sizeof v4_only / sizeof *v4_only; i++)
		if (vip->prefix.addr.family == IP_V6 && conf_get(&group, v4_only[i])) {
			conf_error(&group, v4_only[i],
				   conf_say("an IPv6 address has no %s", v4_only[i]),
				   conf_say("remove it"));
			return true;
		}
	read_label(&group, vip);
	read_scope(&group, vip);
	read_broadcast(&group, vip);
	if (!conf_get(&group, "dev"))
		return true;
	vip->devs = calloc(CONF_NODES_MAX, sizeof *vip->devs);
	if (vip->devs)
		conf_read_interfaces(&group, "dev", conf, vrrp->priorities, vip->devs);
	else
		scope->reader->out_of_memory = true;
	return true;
}

static void add(const struct conf_scope *scope, struct conf_vrrp *vrrp, struct conf_vip *vip)
{
	struct conf_vip *more =
		reallocarray(vrrp->vips, (size_t)vrrp->vips_count + 1, sizeof *vrrp->vips);

	if (!more) {
		scope->reader->out_of_memory = true;
		conf_vip_release(vip);
		return;
	}
	vrrp->vips = more;
	vrrp->vips[vrrp->vips_count++] = *vip;
}

static void read_list(const struct conf_scope *scope, const struct conf *conf, const char *name,
		      bool excluded, struct conf_vrrp *vrrp)
{
	char example[96];
	config_setting_t *list;

	snprintf(example, sizeof example, "%s = [ \"198.51.100.200/24\" ];", name);
	list = conf_read_list(scope, name, CONF_VIPS_MAX, example);
	for (int i = 0; list && i < config_setting_length(list); i++) {
		config_setting_t *value = config_setting_get_elem(list, (unsigned)i);
		struct conf_vip vip = {.excluded = excluded};
		char text[IP_TEXT_MAX];
		bool good, twice = false;

		if (config_setting_type(value) == CONFIG_TYPE_GROUP) {
			good = read_group(scope, conf, name, value, i, vrrp, &vip);
		} else if (config_setting_type(value) == CONFIG_TYPE_STRING) {
			good = read_prefix(scope, name, config_setting_get_string(value),
					   &vip.prefix);
		} else {
			conf_wrong_type(scope, name, value, "text", example);
			good = false;
		}
		for (int k = 0; good && k < vrrp->vips_count; k++)
			twice |= ip_equal(&vrrp->vips[k].prefix.addr, &vip.prefix.addr);
		if (twice)
			conf_error(scope, name,
				   conf_say("\"%s/%d\" stands twice",
					    ip_format(&vip.prefix.addr, text),
					    vip.prefix.prefix_len),
				   conf_say("keep one of the two"));
		else if (good && vrrp->vips_count == CONF_VIPS_MAX)
			conf_error(scope, name,
				   conf_say("makes more than %d addresses of one instance",
					    CONF_VIPS_MAX),
				   conf_say("move some of them to another instance"));
		if (good && !twice && vrrp->vips_count < CONF_VIPS_MAX)
			add(scope, vrrp, &vip);
		else
			conf_vip_release(&vip);
	}
}

void conf_read_vips(const struct conf_scope *scope, const struct conf *conf, struct conf_vrrp *vrrp)
{
	bool advertised = false;

	if (!conf_get(scope, "virtual_ipaddress")) {
		conf_required(scope, "virtual_ipaddress",
			      "virtual_ipaddress = [ \"198.51.100.200/24\" ];");
		return;
	}
	read_list(scope, conf, "virtual_ipaddress", false, vrrp);
	for (int i = 0; i < vrrp->vips_count; i++)
		advertised |= (enum ip_family)vrrp->vips[i].prefix.addr.family == vrrp->family;
	if (vrrp->vips_count > 0 && !advertised)
		conf_error(scope, "virtual_ipaddress",
			   conf_say("names no IPv%d address, and the adverts, which go over IPv%d, "
				    "can name no other",
				    vrrp->family, vrrp->family),
			   conf_say("add one, or have the adverts go over IPv%d with %s",
				    vrrp->family == IP_V4 ? 6 : 4,
				    vrrp->multicast ? "mcast_src_ip" : "unicast_src_ip"));
	read_list(scope, conf, "virtual_ipaddress_excluded", true, vrrp);
}
