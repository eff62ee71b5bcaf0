/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_vrrp: the `vrrp` entries.
 */
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

#define SECOND_US 1000000u
#define CENTISECOND_US 10000u
#define ADVERT_V2_MAX_US (255u * SECOND_US)
#define ADVERT_V3_MAX_US (4095u * CENTISECOND_US)
#define ADVERT_V3_DEFAULT_US (30u * CENTISECOND_US)

static const char *const known[] = {
	"name",
	"interface",
	"virtual_router_id",
	"version",
	"priority",
	"advert_int",
	"down_timer_adverts",
	"nopreempt",
	"preempt_delay",
	"stop_wait",
	"multicast",
	"mcast_src_ip",
	"mcast_dst_ip",
	"unicast_src_ip",
	"auth_type",
	"auth_pass",
	"auth_pass_file",
	"virtual_ipaddress",
	"virtual_ipaddress_excluded",
	"virtual_routes",
	"accept",
	"use_vmac",
	"vmac_xmit_base",
	"track",
	"unicast_peer",
	"min_ttl",
	"max_ttl",
	"garp_master_delay",
	"garp_master_repeat",
	"garp_master_refresh",
	"garp_master_refresh_repeat",
	"garp_lower_prio_delay",
	"garp_lower_prio_repeat",
	"notify_master",
	"notify_backup",
	"notify_fault",
	"notify_stop",
	"notify",
	"notify_timeout",
	"notify_user",
	"smtp_alert",
	NULL,
};

/* Words of keepalived whose meaning has another place here. */
static const struct conf_hint hints[] = {
	{"state", "remove it: the priorities decide who starts as master"},
	{"vrid", "the setting is called virtual_router_id"},
	{"authentication", "write auth_type = \"PASS\"; auth_pass = \"...\"; with version = 2"},
	{"track_script", "write track = [ \"NAME\" ];"},
	{"track_process",
	 "write track = [ \"NAME\" ]; with a check that has process_name = \"...\""},
	{"track_interface",
	 "write track = [ \"NAME\" ]; with a check that has interface = \"...\""},
	{"track_file", "write track = [ \"NAME\" ]; with a check that has file = \"...\""},
	{"preempt", "remove it: preempting is the rule unless nopreempt = true"},
	{"no_accept", "write accept = false;"},
	{"virtual_ipaddresses", "the setting is called virtual_ipaddress"},
	{NULL, NULL},
};

static void read_priorities(const struct conf_scope *scope, const struct conf *conf,
			    struct conf_vrrp *vrrp)
{
	static const char example[] = "priority = { web1 = 100; web2 = 90; };";
	config_setting_t *by_node[CONF_NODES_MAX];
	int taking_part = 0;

	if (!conf_get(scope, "priority")) {
		conf_required(scope, "priority", example);
		return;
	}
	if (!conf_read_per_node(scope, "priority", conf, example, by_node))
		return;
	for (int i = 0; i < conf->nodes_count; i++) {
		const char *node = conf->nodes[i].name;
		struct conf_scope group = {.reader = scope->reader,
					   .group = conf_get(scope, "priority")};

		if (!node)
			continue;
		conf_place(&group, "%s.priority", scope->path);
		if (!by_node[i]) {
			conf_error(scope, "priority", conf_say("names none for node %s", node),
				   conf_say("add %s = N; with N from 1 to 255, or 0 if that node "
					    "takes no part",
					    node));
			taking_part++; /* one complaint is enough */
			continue;
		}
		if (!conf_read_int(&group, node, 0, 255, &vrrp->priorities[i]) ||
		    vrrp->priorities[i] > 0)
			taking_part++;
	}
	if (taking_part == 0 && conf->nodes_count > 0)
		conf_error(scope, "priority", conf_say("no node takes part: all are 0"),
			   conf_say("give at least one node 1 to 255"));
}

static void read_advert_int(const struct conf_scope *scope, struct conf_vrrp *vrrp)
{
	uint64_t us = vrrp->version == 2 ? SECOND_US : ADVERT_V3_DEFAULT_US;
	bool given;

	given = vrrp->version == 2
			? conf_read_duration(scope, "advert_int", 1, UINT32_MAX * 1000ull, &us)
			: conf_read_duration(scope, "advert_int", CENTISECOND_US, ADVERT_V3_MAX_US,
					     &us);
	vrrp->advert_int_us = us;
	if (!given)
		return;
	if (vrrp->version == 2 && us % SECOND_US != 0)
		conf_error(
			scope, "advert_int",
			conf_say("version 2 counts in whole seconds, and this is %g s",
				 (double)us / SECOND_US),
			conf_say(
				"write 1 to 255, or use version = 3 on every router of the group"));
	else if (vrrp->version == 2 && us > ADVERT_V2_MAX_US)
		conf_error(scope, "advert_int",
			   conf_say("%g s is out of range", (double)us / SECOND_US),
			   conf_say("version 2 takes whole seconds from 1 to 255"));
	else if (vrrp->version == 3 && us % CENTISECOND_US != 0)
		conf_error(scope, "advert_int",
			   conf_say("version 3 counts in hundredths of a second, and this is %g s",
				    (double)us / SECOND_US),
			   conf_say("write 0.01 to 40.95 with at most two decimals"));
}

/* Adverts go from one source address to another, so that all of them are of one family. */
static void read_family(const struct conf_scope *scope, const struct conf *conf,
			struct conf_vrrp *vrrp, const char *name)
{
	const char *first = NULL;

	vrrp->family = IP_V4;
	for (int i = 0; i < conf->nodes_count; i++) {
		const struct conf_node *node = &conf->nodes[i];
		const bool given = vrrp->sources[i].family != IP_NONE;
		const struct ip_addr *source = given ? &vrrp->sources[i] : &node->address;

		if (vrrp->priorities[i] == 0 || source->family == IP_NONE || !node->name)
			continue;
		if (!first)
			vrrp->family = source->family;
		else if (vrrp->family != (enum ip_family)source->family)
			conf_error(scope, name,
				   conf_say("the adverts of %s come from an IPv%d address, those "
					    "of %s from an IPv%d one",
					    first, vrrp->family, node->name, source->family),
				   conf_say("name an address of one family for each node"));
		/* RFC 9568 section 5.1.2.1: multicast comes from the link-local address. */
		if (vrrp->multicast && source->family == IP_V6 && !ip_is_link_local(source)) {
			conf_error(scope, name,
				   conf_say("adverts to ff02::12 come from a link-local address, "
					    "and that of %s is not said",
					    node->name),
				   conf_say("write mcast_src_ip = { ... }; with what `ip -6 addr "
					    "show scope link` shows on each node"));
			return;
		}
		first = first ? first : node->name;
	}
	if (vrrp->family == IP_V6 && vrrp->version == 2)
		conf_error(scope, "version", conf_say("version 2 knows no IPv6"),
			   conf_say("write version = 3; or have the adverts go over IPv4, with %s",
				    name));
}

static void read_sources(const struct conf_scope *scope, const struct conf *conf,
			 struct conf_vrrp *vrrp)
{
	const char *name = vrrp->multicast ? "mcast_src_ip" : "unicast_src_ip";
	const char *other = vrrp->multicast ? "unicast_src_ip" : "mcast_src_ip";
	char example[96];
	config_setting_t *by_node[CONF_NODES_MAX] = {0};
	struct conf_scope group;

	if (conf_get(scope, other))
		conf_error(scope, other,
			   conf_say("has no meaning with multicast = %s",
				    vrrp->multicast ? "true" : "false"),
			   vrrp->multicast
				   ? conf_say("write mcast_src_ip, or leave multicast out")
				   : conf_say("write unicast_src_ip, or add multicast = true;"));
	snprintf(example, sizeof example,
		 "%s = { web1 = \"198.51.100.1\"; web2 = \"198.51.100.2\"; };", name);
	if (conf_read_per_node(scope, name, conf, example, by_node)) {
		group = (struct conf_scope){.reader = scope->reader,
					    .group = conf_get(scope, name)};
		conf_place(&group, "%s.%s", scope->path, name);
		for (int i = 0; i < conf->nodes_count; i++) {
			if (!by_node[i]) {
				if (vrrp->priorities[i] > 0 && conf->nodes[i].name)
					conf_error(
						scope, name,
						conf_say("names none for node %s",
							 conf->nodes[i].name),
						conf_say("add %s = \"...\";", conf->nodes[i].name));
				continue;
			}
			conf_read_address(&group, conf->nodes[i].name, &vrrp->sources[i]);
		}
	}
	read_family(scope, conf, vrrp, name);
}

static void read_auth(const struct conf_scope *scope, struct conf_vrrp *vrrp)
{
	char *type = NULL, *pass = NULL;
	bool has_type = conf_get(scope, "auth_type") != NULL;
	bool has_pass = conf_get(scope, "auth_pass") != NULL;
	bool has_file = conf_get(scope, "auth_pass_file") != NULL;
	const char *where = has_file && !has_pass ? "auth_pass_file" : "auth_pass";

	conf_read_string(scope, "auth_type", "auth_type = \"PASS\";", &type);
	conf_read_string(scope, "auth_pass", "auth_pass = \"...\";", &pass);
	conf_read_path(scope, "auth_pass_file", &vrrp->auth_pass_file);
	if (type && strcmp(type, "PASS") != 0)
		conf_error(
			scope, "auth_type", conf_say("\"%.20s\" is not supported", type),
			conf_say("write \"PASS\", or remove it: VRRP has no authentication worth "
				 "the name"));
	else if (has_type && !has_pass && !has_file)
		conf_error(scope, "auth_type", conf_say("\"PASS\" without auth_pass"),
			   conf_say("add auth_pass = \"...\"; with the group's password"));
	else if ((has_pass || has_file) && !has_type)
		conf_error(scope, where, conf_say("without auth_type"),
			   conf_say("add auth_type = \"PASS\";"));
	else if (has_pass && has_file)
		conf_error(scope, "auth_pass_file", conf_say("beside auth_pass"),
			   conf_say("keep one of the two"));
	else if (has_type && vrrp->version == 3)
		conf_error(
			scope, "auth_type",
			conf_say("version 3 has no authentication (RFC 9568, 9)"),
			conf_say("remove it, or write version = 2; on every router of the group"));
	if (pass && strlen(pass) > sizeof vrrp->auth_data)
		conf_warning(
			scope, "auth_pass", conf_say("is longer than 8 bytes, and VRRP carries 8"),
			conf_say("the first 8 are used, as keepalived does; write 8 or fewer"));
	vrrp->auth_pass = type && (pass || vrrp->auth_pass_file);
	if (type && pass)
		memcpy(vrrp->auth_data, pass, strnlen(pass, sizeof vrrp->auth_data));
	if (pass)
		explicit_bzero(pass, strlen(pass));
	free(pass);
	free(type);
}

/* What a word of `track` says beyond the check's name. */
struct track_words {
	bool weighted, turned;
	int weight;
	bool reverse;
};

/* "nginx", "nginx weight -20" or "nginx weight -20 reverse", as keepalived's track_script has it.
 */
static bool split_track(const char *text, char name[CONF_NAME_BYTES_MAX + 1],
			struct track_words *ret_words)
{
	size_t size = strcspn(text, " \t");
	struct track_words words = {0};
	char *end;
	long weight;

	if (size == 0 || size > CONF_NAME_BYTES_MAX)
		return false;
	memcpy(name, text, size);
	name[size] = '\0';
	text += size + strspn(text + size, " \t");
	if (strncmp(text, "weight", 6) == 0 && (text[6] == ' ' || text[6] == '\t')) {
		text += 6 + strspn(text + 6, " \t");
		weight = strtol(text, &end, 10);
		if (end == text || weight < -253 || weight > 253)
			return false;
		words.weighted = true;
		words.weight = (int)weight;
		text = end + strspn(end, " \t");
	}
	if (strcmp(text, "reverse") == 0 || strcmp(text, "noreverse") == 0) {
		words.turned = true;
		words.reverse = text[0] == 'r';
		text = "";
	}
	*ret_words = words;
	return *text == '\0';
}

void conf_read_tracks(const struct conf_scope *scope, const struct conf *conf,
		      struct conf_track *tracks, int *ret_count)
{
	static const char example[] = "track = [ \"nginx\", \"other weight -20\" ];";
	static const char *const track_known[] = {"check", "weight", "reverse", NULL};
	config_setting_t *list = conf_read_list(scope, "track", CONF_TRACKS_MAX, example);

	for (int i = 0; list && i < config_setting_length(list); i++) {
		config_setting_t *value = config_setting_get_elem(list, (unsigned)i);
		char name[CONF_NAME_BYTES_MAX + 1] = "";
		const char *names[CONF_CHECKS_MAX + 1] = {0};
		const char *nearest;
		struct track_words words = {0};
		bool twice = false;
		int index;

		if (config_setting_type(value) == CONFIG_TYPE_GROUP) {
			struct conf_scope group;
			char *check = NULL;

			if (!conf_scope_open(scope, "track", value, i, &group))
				continue;
			conf_scope_known(&group, track_known, NULL);
			words.weighted = conf_read_int(&group, "weight", -253, 253, &words.weight);
			words.turned = conf_read_bool(&group, "reverse", &words.reverse);
			if (!conf_read_name(&group, "check", &check))
				continue;
			memcpy(name, check, strlen(check) + 1);
			free(check);
		} else if (config_setting_type(value) != CONFIG_TYPE_STRING) {
			conf_wrong_type(scope, "track", value, "the name of a check", example);
			continue;
		} else if (!split_track(config_setting_get_string(value), name, &words)) {
			conf_error(scope, "track",
				   conf_say("\"%.80s\" is not a check's name, or a name, the word "
					    "weight and a number from -253 to 253 (and perhaps "
					    "reverse)",
					    config_setting_get_string(value)),
				   conf_say("write %s", example));
			continue;
		}
		index = conf_check_index(conf, name);
		if (index < 0) {
			for (int k = 0, n = 0; k < conf->checks_count; k++)
				if (conf->checks[k].name)
					names[n++] = conf->checks[k].name;
			nearest = conf_nearest(name, names);
			conf_error(
				scope, "track", conf_say("there is no check \"%s\"", name),
				nearest ? conf_say("did you mean %s?", nearest)
					: conf_say("add one to checks, or remove the name here"));
			continue;
		}
		for (int k = 0; k < *ret_count; k++)
			twice |= tracks[k].check == index;
		if (twice) {
			conf_error(scope, "track", conf_say("names the check \"%s\" twice", name),
				   conf_say("keep one of the two"));
			continue;
		}
		tracks[(*ret_count)++] = (struct conf_track){
			.check = index,
			.weight = words.weighted ? words.weight : conf->checks[index].weight,
			.reverse = words.turned ? words.reverse : conf->checks[index].reverse,
		};
	}
}

void conf_read_hooks(const struct conf_scope *scope, const struct conf *conf,
		     struct conf_command hooks[CONF_HOOKS], uint64_t *ret_timeout_us)
{
	static const char *const names[CONF_HOOKS] = {
		[CONF_HOOK_MASTER] = "notify_master", [CONF_HOOK_BACKUP] = "notify_backup",
		[CONF_HOOK_FAULT] = "notify_fault",   [CONF_HOOK_STOP] = "notify_stop",
		[CONF_HOOK_ANY] = "notify",
	};
	char *user = NULL;
	bool any = false;

	if (conf->defaults.script_user)
		user = conf_copy(scope->reader, conf->defaults.script_user);
	conf_read_user(scope, "notify_user", &user);
	for (int i = 0; i < CONF_HOOKS; i++) {
		any |= conf_get(scope, names[i]) != NULL;
		if (conf_read_command(scope, names[i], &hooks[i]) && user)
			hooks[i].user = conf_copy(scope->reader, user);
	}
	free(user);
	conf_read_duration(scope, "notify_timeout", SECOND_US / 10, 3600ull * SECOND_US,
			   ret_timeout_us);
	if (!any && (conf_get(scope, "notify_user") || conf_get(scope, "notify_timeout")))
		conf_warning(scope,
			     conf_get(scope, "notify_user") ? "notify_user" : "notify_timeout",
			     conf_say("has no effect, as there is no notify_master, notify_backup, "
				      "notify_fault, notify_stop or notify"),
			     conf_say("add one of them, or remove it"));
}

void conf_read_vrrps(const struct conf_scope *top, struct conf *conf)
{
	static const char example[] = "vrrp = ( { name = \"VI_1\"; ... } );";
	config_setting_t *list = conf_read_list(top, "vrrp", CONF_VRRP_MAX, example);

	if (!list)
		return;
	conf->vrrps = calloc((size_t)config_setting_length(list), sizeof *conf->vrrps);
	if (!conf->vrrps) {
		top->reader->out_of_memory = true;
		return;
	}
	for (int i = 0; i < config_setting_length(list); i++) {
		config_setting_t *setting = config_setting_get_elem(list, (unsigned)i);
		struct conf_vrrp *vrrp = &conf->vrrps[conf->vrrps_count];
		struct conf_scope scope;

		if (!conf_scope_open(top, "vrrp", setting, i, &scope))
			continue;
		conf->vrrps_count++;
		*vrrp = (struct conf_vrrp){
			.version = conf->defaults.version,
			.down_adverts = conf->defaults.down_adverts,
			.garp = conf->defaults.garp,
			.stop_wait_us = 3 * SECOND_US,
			.accept = true,
			.notify_timeout_us = 60 * SECOND_US,
			.group = -1,
			.line = conf_line(setting),
		};
		conf_scope_known(&scope, known, hints);
		conf_read_name(&scope, "name", &vrrp->name);
		if (!conf_get(&scope, "virtual_router_id"))
			conf_required(&scope, "virtual_router_id",
				      "virtual_router_id = N; with N from "
				      "1 to 255, the same on every router");
		conf_read_int(&scope, "virtual_router_id", 1, 255, &vrrp->vrid);
		conf_read_int(&scope, "version", 2, 3, &vrrp->version);
		read_priorities(&scope, conf, vrrp);
		conf_read_interfaces(&scope, "interface", conf, vrrp->priorities, vrrp->interfaces);
		read_advert_int(&scope, vrrp);
		conf_read_down_adverts(&scope, "down_timer_adverts", &vrrp->down_adverts);
		conf_read_bool(&scope, "nopreempt", &vrrp->nopreempt);
		conf_read_alert(&scope, conf, &vrrp->smtp_alert);
		conf_read_duration(&scope, "preempt_delay", 0, 1000ull * SECOND_US,
				   &vrrp->preempt_delay_us);
		conf_read_duration(&scope, "stop_wait", 0, 60ull * SECOND_US, &vrrp->stop_wait_us);
		conf_read_bool(&scope, "multicast", &vrrp->multicast);
		read_sources(&scope, conf, vrrp);
		read_auth(&scope, vrrp);
		conf_read_bool(&scope, "accept", &vrrp->accept);
		conf_read_vmac(&scope, vrrp);
		conf_read_vips(&scope, conf, vrrp);
		conf_read_tracks(&scope, conf, vrrp->tracks, &vrrp->tracks_count);
		conf_read_routes(&scope, conf, vrrp);
		conf_read_peers(&scope, conf, vrrp);
		conf_read_garp(&scope, &vrrp->garp);
		conf_read_hooks(&scope, conf, vrrp->hooks, &vrrp->notify_timeout_us);
	}
}
