/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf: from the text to struct conf: the top level and the nodes.
 */
#include <errno.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "shared/conf_private.h"
#include "shared/log.h"

#define LINK_PORT_DEFAULT 8427
#define CONTROL_GROUP_DEFAULT "tandem-admin"

/* "SHA256:" and 32 bytes in base64 without padding: 43 characters, the last of which carries four
 * bits. */
static bool pin_parse(const char *text, uint8_t ret_pin[CONF_PIN_BYTES])
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	int held = 0;
	size_t size = 0;

	if (strncmp(text, "SHA256:", 7) != 0)
		return false;
	text += 7;
	if (strlen(text) == 44 && text[43] == '=')
		; /* as openssl prints it */
	else if (strlen(text) != 43)
		return false;
	for (int i = 0; i < 43; i++) {
		const char *at = text[i] ? strchr(alphabet, text[i]) : NULL;

		if (!at)
			return false;
		bits = (bits << 6 | (uint32_t)(at - alphabet)) & 0xffffff;
		held += 6;
		if (held >= 8) {
			held -= 8;
			ret_pin[size++] = (uint8_t)(bits >> held);
		}
	}
	/* Two bits are left over; one spelling for one pin. */
	return size == CONF_PIN_BYTES && (bits & 0x3) == 0;
}

static void read_pin(const struct conf_scope *scope, config_setting_t *setting,
		     struct conf_node *node)
{
	if (config_setting_type(setting) != CONFIG_TYPE_STRING) {
		conf_wrong_type(scope, "key", setting, "text", "key = \"SHA256:...\";");
		return;
	}
	if (!pin_parse(config_setting_get_string(setting), node->pins[node->pins_count])) {
		conf_error(
			scope, "key",
			conf_say("\"%.80s\" is not the pin of a key",
				 config_setting_get_string(setting)),
			conf_say("copy the line that `tandem keygen` prints on that node: SHA256: "
				 "and 43 characters"));
		return;
	}
	for (int i = 0; i < node->pins_count; i++) {
		if (memcmp(node->pins[i], node->pins[node->pins_count], CONF_PIN_BYTES) == 0) {
			conf_error(scope, "key", conf_say("names the same key twice"),
				   conf_say("keep one of the two"));
			return;
		}
	}
	node->pins_count++;
}

static void read_key(const struct conf_scope *scope, struct conf_node *node)
{
	config_setting_t *setting = conf_get(scope, "key");

	if (!setting)
		return;
	if (config_setting_type(setting) == CONFIG_TYPE_STRING) {
		read_pin(scope, setting, node);
		return;
	}
	setting = conf_read_list(
		scope, "key", CONF_KEYS_PER_NODE_MAX,
		"key = \"SHA256:...\"; or key = [ \"SHA256:...\", \"SHA256:...\" ];");
	for (int i = 0; setting && i < config_setting_length(setting); i++)
		read_pin(scope, config_setting_get_elem(setting, (unsigned)i), node);
}

static void read_nodes(const struct conf_scope *top, struct conf *conf, int link_port)
{
	static const char *const known[] = {"name", "address", "key", "link_port", NULL};
	static const char example[] =
		"nodes = ( { name = \"web1\"; address = \"198.51.100.1\"; } );";
	config_setting_t *list;

	if (!conf_get(top, "nodes")) {
		conf_required(top, "nodes", example);
		return;
	}
	list = conf_read_list(top, "nodes", CONF_NODES_MAX, example);
	for (int i = 0; list && i < config_setting_length(list); i++) {
		config_setting_t *setting = config_setting_get_elem(list, (unsigned)i);
		struct conf_node *node = &conf->nodes[conf->nodes_count];
		struct conf_scope scope;
		int port = link_port;

		if (!conf_scope_open(top, "nodes", setting, i, &scope))
			continue;
		conf_scope_known(&scope, known, NULL);
		node->line = conf_line(setting);
		conf_read_name(&scope, "name", &node->name);
		if (!conf_get(&scope, "address"))
			conf_required(&scope, "address", "address = \"198.51.100.1\";");
		else
			conf_read_address(&scope, "address", &node->address);
		conf_read_int(&scope, "link_port", 1, 65535, &port);
		node->link_port = (uint16_t)port;
		read_key(&scope, node);
		conf->nodes_count++;
	}
}

static void read_top(const struct conf_scope *top, struct conf *conf)
{
	static const char *const known[] = {"cluster",
					    "nodes",
					    "link_port",
					    "control_group",
					    "log_facility",
					    "log_level",
					    "checks",
					    "vrrp",
					    "groups",
					    "mirrors",
					    "notification_email",
					    "notification_email_from",
					    "smtp_server",
					    "smtp_helo_name",
					    "smtp_connect_timeout",
					    "smtp_alert",
					    "no_email_faults",
					    "script_user",
					    "vrrp_startup_delay",
					    "vrrp_version",
					    "vrrp_mcast_group4",
					    "vrrp_mcast_group6",
					    "vrrp_down_timer_adverts",
					    "vrrp_garp_master_delay",
					    "vrrp_garp_master_repeat",
					    "vrrp_garp_master_refresh",
					    "vrrp_garp_master_refresh_repeat",
					    "vrrp_garp_lower_prio_delay",
					    "vrrp_garp_lower_prio_repeat",
					    "vrrp_garp_interval",
					    "vrrp_gna_interval",
					    NULL};
	static const struct conf_hint hints[] = {
		{"global_defs", "there is no such block here; its settings stand at the top level"},
		{"vrrp_instance", "write vrrp = ( { name = \"VI_1\"; ... } );"},
		{"vrrp_sync_group", "write groups = ( { name = \"...\"; members = [ ... ]; } );"},
		{"vrrp_script", "write checks = ( { name = \"...\"; script = \"...\"; } );"},
		{"router_id", "the name of the node in nodes takes its place; remove it"},
		{NULL, NULL},
	};
	int link_port = LINK_PORT_DEFAULT;
	char *text = NULL;

	conf_scope_known(top, known, hints);
	conf_read_name(top, "cluster", &conf->cluster);
	conf_read_int(top, "link_port", 1, 65535, &link_port);
	conf->control_group = conf_copy(top->reader, CONTROL_GROUP_DEFAULT);
	conf_read_user(top, "control_group", &conf->control_group);
	conf->log_facility = LOG_DAEMON;
	conf->log_level = LOG_INFO;
	if (conf_read_string(top, "log_facility", "log_facility = \"local0\";", &text) &&
	    log_facility_from_name(text, &conf->log_facility) != 0)
		conf_error(top, "log_facility", conf_say("\"%.40s\" is not a facility", text),
			   conf_say("daemon, user, local0 to local7 are among those of syslog(3)"));
	free(text);
	text = NULL;
	if (conf_read_string(top, "log_level", "log_level = \"info\";", &text) &&
	    log_level_from_name(text, &conf->log_level) != 0)
		conf_error(top, "log_level", conf_say("\"%.40s\" is not a level", text),
			   conf_say("err, warning, notice, info and debug are possible"));
	free(text);
	read_nodes(top, conf, link_port);
	conf_read_defaults(top, conf);
	conf_read_checks(top, conf);
	conf_read_mail(top, conf);
	conf_read_vrrps(top, conf);
	conf_read_groups(top, conf);
	conf_mail_rules(top, conf);
	conf_link_checks(top, conf);
	conf_read_mirrors(top, conf);
	conf_rules(top->reader, conf);
}

/* What libconfig would never see, or see differently: before anything else. */
static bool text_is_sane(struct conf_reader *reader, const char *text, size_t size)
{
	int line = 1;

	if (size > CONF_TEXT_BYTES_MAX) {
		conf_add(reader, CONF_ERROR, 0, "", conf_say("the file has %zu bytes", size),
			 conf_say("at most %d are read", CONF_TEXT_BYTES_MAX));
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '\n')
			line++;
		if (text[i] == '\0') {
			conf_add(reader, CONF_ERROR, line, "",
				 conf_say("there is a zero byte in the file"),
				 conf_say("is this the right file? It should be plain text"));
			return false;
		}
	}
	return true;
}

/* The file's identity, which peers compare. No trust hangs on it, and it is all the hashing that
 * tandem-agent does: for this alone OpenSSL would be 3 MiB in each of its processes. */
static void hash_text(const char *text, size_t size, uint8_t ret_hash[SHA256_DIGEST_LENGTH])
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, (const uint8_t *)text, size);
	SHA256Final(ret_hash, &ctx);
}

int conf_parse(const char *text, size_t size, struct conf_problems *problems,
	       struct conf **ret_conf)
{
	struct conf_reader reader = {.problems = problems};
	int errors_before = problems->errors;
	struct conf *conf = NULL;
	char *copy = NULL;
	config_t config;
	int r = -ENOMEM;

	config_init(&config);
	if (!text_is_sane(&reader, text, size)) {
		r = -EINVAL;
		goto out;
	}
	/* With a newline at its end: libconfig's comments need one. */
	copy = malloc(size + 2);
	conf = calloc(1, sizeof *conf);
	if (!copy || !conf)
		goto out;
	memcpy(copy, text, size);
	memcpy(copy + size, "\n", 2);
	conf->self = -1;
	r = -EINVAL;
	if (!conf_scan(&reader, copy))
		goto out;
	if (!config_read_string(&config, copy)) {
		conf_add(&reader, CONF_ERROR, config_error_line(&config), "",
			 conf_say("%s", config_error_text(&config)),
			 conf_say("settings are written name = value;"));
		goto out;
	}
	hash_text(text, size, conf->hash);
	read_top(&(struct conf_scope){.reader = &reader, .group = config_root_setting(&config)},
		 conf);
out:
	free(copy);
	config_destroy(&config);
	conf_problems_sort(problems);
	if (reader.out_of_memory)
		r = -ENOMEM;
	else if (r == -EINVAL && problems->errors == errors_before)
		r = 0;
	if (r == 0)
		*ret_conf = conf;
	else
		conf_free(conf);
	return r;
}

static void vrrp_release(struct conf_vrrp *vrrp)
{
	free(vrrp->name);
	for (int i = 0; i < CONF_NODES_MAX; i++)
		free(vrrp->interfaces[i]);
	for (int i = 0; i < vrrp->vips_count; i++)
		conf_vip_release(&vrrp->vips[i]);
	free(vrrp->vips);
	for (int i = 0; i < vrrp->routes_count; i++)
		conf_route_release(&vrrp->routes[i]);
	free(vrrp->routes);
	for (int i = 0; i < CONF_HOOKS; i++)
		conf_command_release(&vrrp->hooks[i]);
	free(vrrp->auth_pass_file);
	explicit_bzero(vrrp->auth_data, sizeof vrrp->auth_data);
}

static void mirror_release(struct conf_mirror *mirror)
{
	free(mirror->name);
	for (int i = 0; i < mirror->paths_count; i++)
		free(mirror->paths[i]);
	for (int i = 0; i < mirror->excludes_count; i++)
		free(mirror->excludes[i]);
	conf_command_release(&mirror->validate);
	conf_command_release(&mirror->reload);
	free(mirror->pid_file);
	free(mirror->error_log);
}

struct conf *conf_free(struct conf *conf)
{
	if (!conf)
		return NULL;
	for (int i = 0; i < conf->nodes_count; i++)
		free(conf->nodes[i].name);
	for (int i = 0; i < conf->checks_count; i++) {
		conf_check_release(&conf->checks[i]);
	}
	for (int i = 0; i < conf->vrrps_count; i++)
		vrrp_release(&conf->vrrps[i]);
	for (int i = 0; i < conf->mirrors_count; i++)
		mirror_release(&conf->mirrors[i]);
	for (int i = 0; i < conf->groups_count; i++)
		conf_group_release(&conf->groups[i]);
	free(conf->groups);
	conf_mail_release(&conf->mail);
	conf_defaults_release(&conf->defaults);
	free(conf->checks);
	free(conf->vrrps);
	free(conf->mirrors);
	free(conf->cluster);
	free(conf->control_group);
	free(conf);
	return NULL;
}

/* Names may still be missing while a wrong file is read. */
static bool same_name(const char *a, const char *b)
{
	return a && strcmp(a, b) == 0;
}

int conf_check_index(const struct conf *conf, const char *name)
{
	for (int i = 0; i < conf->checks_count; i++)
		if (same_name(conf->checks[i].name, name))
			return i;
	return -1;
}

int conf_group_index(const struct conf *conf, const char *name)
{
	for (int i = 0; i < conf->groups_count; i++)
		if (same_name(conf->groups[i].name, name))
			return i;
	return -1;
}

int conf_vrrp_index(const struct conf *conf, const char *name)
{
	for (int i = 0; i < conf->vrrps_count; i++)
		if (same_name(conf->vrrps[i].name, name))
			return i;
	return -1;
}

int conf_mirror_index(const struct conf *conf, const char *name)
{
	for (int i = 0; i < conf->mirrors_count; i++)
		if (same_name(conf->mirrors[i].name, name))
			return i;
	return -1;
}

int conf_node_index(const struct conf *conf, const char *name)
{
	for (int i = 0; i < conf->nodes_count; i++)
		if (same_name(conf->nodes[i].name, name))
			return i;
	return -1;
}

int conf_set_self(struct conf *conf, const char *name)
{
	int index = conf_node_index(conf, name);

	if (index < 0)
		return -ENOENT;
	conf->self = index;
	return 0;
}
