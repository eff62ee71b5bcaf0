/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_check: the `checks` entries.
 */
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

#define SECOND_US 1000000u

static const char *const known[] = {
	"name",		 "process",	   "process_name",    "quorum",	   "script",  "interface",
	"file",		 "instance",	   "state",	      "interval",  "timeout", "fall",
	"rise",		 "weight",	   "reverse",	      "init_fail", "grace",   "restart",
	"restart_first", "restart_limit",  "restart_timeout", "user",	   "http",    "http_status",
	"http_body",	 "http_redirects", "http_verify",     "tcp",	   NULL,
};

static const struct conf_hint hints[] = {
	{"track_interface", "the setting is called interface"},
	{"full_command", "the name of the process alone is compared: use process_name"},
	{NULL, NULL},
};

/* The setting that says what kind of check it is: exactly one of them. */
static const char *const kinds[CONF_CHECK_KINDS] = {
	[CONF_CHECK_PROCESS] = "process", [CONF_CHECK_NAMED] = "process_name",
	[CONF_CHECK_SCRIPT] = "script",	  [CONF_CHECK_INTERFACE] = "interface",
	[CONF_CHECK_FILE] = "file",	  [CONF_CHECK_INSTANCE] = "instance",
	[CONF_CHECK_HTTP] = "http",	  [CONF_CHECK_TCP] = "tcp",
};

#define KIND(k) (1u << CONF_CHECK_##k)
#define PROCESSES (KIND(PROCESS) | KIND(NAMED))
#define PROBES (KIND(HTTP) | KIND(TCP))

/* What belongs to some kinds only. */
static const struct {
	const char *setting;
	unsigned kinds;
	const char *where;
} particular[] = {
	{"timeout", KIND(SCRIPT) | PROBES, "script, http and tcp checks"},
	{"http_status", KIND(HTTP), "http checks"},
	{"http_body", KIND(HTTP), "http checks"},
	{"http_redirects", KIND(HTTP), "http checks"},
	{"http_verify", KIND(HTTP), "http checks"},
	{"user", KIND(SCRIPT), "script checks"},
	{"quorum", KIND(NAMED), "checks with process_name"},
	{"state", KIND(INSTANCE), "checks with instance"},
	{"interval", KIND(PROCESS) | KIND(NAMED) | KIND(SCRIPT) | PROBES | KIND(FILE),
	 "checks that look again and again; this kind is told by the kernel or the agent"},
	{"fall", KIND(PROCESS) | KIND(NAMED) | KIND(SCRIPT) | PROBES,
	 "checks that look again and again"},
	{"rise", KIND(PROCESS) | KIND(NAMED) | KIND(SCRIPT) | PROBES,
	 "checks that look again and again"},
	{"grace", KIND(PROCESS) | KIND(NAMED) | KIND(SCRIPT) | PROBES,
	 "checks that look again and again"},
	{"restart", KIND(PROCESS) | KIND(NAMED) | KIND(SCRIPT) | PROBES,
	 "checks that look again and again"},
	{"init_fail", KIND(PROCESS) | KIND(NAMED) | KIND(SCRIPT) | PROBES,
	 "checks that look again and again"},
};

const char *conf_check_kind_name(enum conf_check_kind kind)
{
	return kinds[kind];
}

void conf_check_release(struct conf_check *check)
{
	free(check->name);
	free(check->process);
	free(check->process_name);
	conf_command_release(&check->script);
	conf_command_release(&check->restart);
	for (int i = 0; i < CONF_NODES_MAX; i++)
		free(check->interfaces[i]);
	free(check->file);
	free(check->instance);
	conf_probe_release(&check->probe);
}

void conf_read_interfaces(const struct conf_scope *scope, const char *name, const struct conf *conf,
			  const int *needed, char *interfaces[CONF_NODES_MAX])
{
	char example[96], shortest[48];
	config_setting_t *setting = conf_get(scope, name);
	config_setting_t *by_node[CONF_NODES_MAX];
	bool same = setting && config_setting_type(setting) == CONFIG_TYPE_STRING;

	snprintf(example, sizeof example, "%s = \"eth0\"; or %s = { web1 = \"eth0\"; };", name,
		 name);
	snprintf(shortest, sizeof shortest, "%s = \"eth0\";", name);
	if (!setting) {
		conf_required(scope, name, shortest);
		return;
	}
	if (!same && !conf_read_per_node(scope, name, conf, example, by_node))
		return;
	for (int i = 0; i < conf->nodes_count; i++) {
		config_setting_t *value = same ? setting : by_node[i];
		const char *text;

		if (!value) {
			if (!needed || needed[i] > 0)
				conf_error(scope, name,
					   conf_say("names none for node %s", conf->nodes[i].name),
					   conf_say("add %s = \"eth0\";", conf->nodes[i].name));
			continue;
		}
		if (config_setting_type(value) != CONFIG_TYPE_STRING) {
			conf_wrong_type(scope, name, value, "text", example);
			continue;
		}
		text = config_setting_get_string(value);
		if (text[0] == '\0' || strlen(text) >= CONF_IFNAME_BYTES ||
		    strpbrk(text, "/ \t:") || strcmp(text, ".") == 0 || strcmp(text, "..") == 0) {
			conf_error(scope, name,
				   conf_say("\"%.80s\" is not the name of an interface", text),
				   conf_say("`ip link` shows them; they have 1 to %d characters",
					    CONF_IFNAME_BYTES - 1));
			if (same)
				return;
			continue;
		}
		interfaces[i] = conf_copy(scope->reader, text);
	}
}

static void read_process_name(const struct conf_scope *scope, struct conf_check *check)
{
	conf_read_string(scope, "process_name", "process_name = \"nginx\";", &check->process_name);
	if (!check->process_name)
		return;
	if (check->process_name[0] == '\0' || strchr(check->process_name, '/')) {
		conf_error(scope, "process_name",
			   conf_say("\"%.80s\" is not the name of a process", check->process_name),
			   conf_say("write the name alone, as `ps -e` shows it, without a path"));
		return;
	}
	if (strlen(check->process_name) > CONF_COMM_BYTES)
		conf_warning(scope, "process_name",
			     conf_say("is longer than the %d bytes that the kernel keeps of a "
				      "process's name",
				      CONF_COMM_BYTES),
			     conf_say("write \"%.15s\", which is what is compared",
				      check->process_name));
}

static void read_state(const struct conf_scope *scope, struct conf_check *check)
{
	char *text = NULL;

	conf_read_string(scope, "state", "state = \"MASTER\";", &text);
	if (text && strcmp(text, "MASTER") == 0)
		check->instance_state = CONF_INSTANCE_MASTER;
	else if (text && strcmp(text, "BACKUP") == 0)
		check->instance_state = CONF_INSTANCE_BACKUP;
	else if (text)
		conf_error(scope, "state", conf_say("\"%.20s\" is no state to be checked", text),
			   conf_say("write \"MASTER\" or \"BACKUP\", or remove it: then any but "
				    "FAULT is well"));
	free(text);
}

static void read_restart(const struct conf_scope *scope, struct conf_check *check)
{
	static const char *const with_restart[] = {"restart_first", "restart_limit",
						   "restart_timeout", NULL};

	conf_read_duration(scope, "grace", 0, 3600u * SECOND_US, &check->grace_us);
	conf_read_command(scope, "restart", &check->restart);
	conf_read_bool(scope, "restart_first", &check->restart_first);
	conf_read_int(scope, "restart_limit", 1, 1000, &check->restart_limit);
	conf_read_duration(scope, "restart_timeout", SECOND_US / 10, 3600u * SECOND_US,
			   &check->restart_timeout_us);
	for (int k = 0; with_restart[k] && !conf_get(scope, "restart"); k++)
		if (conf_get(scope, with_restart[k]))
			conf_error(scope, with_restart[k],
				   conf_say("has no meaning without restart"),
				   conf_say("add restart = \"systemctl restart nginx\"; or remove "
					    "it"));
}

/* The kind, by the one setting that says it. */
static void read_kind(const struct conf_scope *scope, struct conf_check *check)
{
	unsigned present = 0;
	int first = -1;

	for (int k = 0; k < CONF_CHECK_KINDS; k++) {
		if (!conf_get(scope, kinds[k]))
			continue;
		/* Two kinds make one check where a process must both run and answer. */
		if (first >= 0 && !((1u << k & PROBES) != 0 && present == 1u << first &&
				    (present & PROCESSES) != 0)) {
			conf_error(scope, kinds[k],
				   conf_say("has both %s and %s", kinds[first], kinds[k]),
				   conf_say("keep one of the two; a router may track several "
					    "checks"));
			return;
		}
		present |= 1u << k;
		if (first < 0)
			first = k;
	}
	if (first < 0) {
		conf_error(scope, NULL,
			   conf_say("has neither process nor script nor any other kind of check"),
			   conf_say("give it process = \"/run/nginx.pid\"; or script = "
				    "\"/path/to/program\"; or one of process_name, http, tcp, "
				    "interface, file and instance"));
		return;
	}
	check->kind = (enum conf_check_kind)first;
	for (size_t p = 0; p < sizeof particular / sizeof *particular; p++)
		if (!(particular[p].kinds & present) && conf_get(scope, particular[p].setting))
			conf_error(scope, particular[p].setting,
				   first == CONF_CHECK_PROCESS
					   ? conf_say("has no meaning for a process check")
					   : conf_say("has no meaning for a check with %s",
						      kinds[first]),
				   conf_say("remove it; it belongs to %s", particular[p].where));
}

void conf_read_checks(const struct conf_scope *top, struct conf *conf)
{
	static const char example[] =
		"checks = ( { name = \"nginx\"; process = \"/run/nginx.pid\"; } );";
	config_setting_t *list = conf_read_list(top, "checks", CONF_CHECKS_MAX, example);

	if (!list)
		return;
	conf->checks = calloc((size_t)config_setting_length(list), sizeof *conf->checks);
	if (!conf->checks) {
		top->reader->out_of_memory = true;
		return;
	}
	for (int i = 0; i < config_setting_length(list); i++) {
		config_setting_t *setting = config_setting_get_elem(list, (unsigned)i);
		struct conf_check *check = &conf->checks[conf->checks_count];
		struct conf_scope scope;

		if (!conf_scope_open(top, "checks", setting, i, &scope))
			continue;
		conf_scope_known(&scope, known, hints);
		conf->checks_count++;
		*check = (struct conf_check){.interval_us = SECOND_US,
					     .fall = 1,
					     .rise = 1,
					     .quorum = 1,
					     .restart_limit = 5,
					     .restart_timeout_us = 60 * SECOND_US,
					     .vrrp = -1,
					     .line = conf_line(setting)};
		conf_read_name(&scope, "name", &check->name);
		read_kind(&scope, check);
		conf_read_path(&scope, "process", &check->process);
		read_process_name(&scope, check);
		conf_read_int(&scope, "quorum", 1, CONF_QUORUM_MAX, &check->quorum);
		conf_read_probe(&scope, &check->probe);
		conf_read_command(&scope, "script", &check->script);
		if (check->kind == CONF_CHECK_INTERFACE)
			conf_read_interfaces(&scope, "interface", conf, NULL, check->interfaces);
		conf_read_path(&scope, "file", &check->file);
		if (check->kind == CONF_CHECK_FILE)
			check->weight = 1; /* as keepalived has it */
		if (conf_get(&scope, "instance"))
			conf_read_string(&scope, "instance", "instance = \"VI_1\";",
					 &check->instance);
		read_state(&scope, check);
		conf_read_duration(&scope, "interval", 10000, 3600u * SECOND_US,
				   &check->interval_us);
		check->timeout_us = check->interval_us;
		conf_read_duration(&scope, "timeout", 10000, 3600u * SECOND_US, &check->timeout_us);
		conf_read_int(&scope, "fall", 1, 255, &check->fall);
		conf_read_int(&scope, "rise", 1, 255, &check->rise);
		conf_read_int(&scope, "weight", -253, 253, &check->weight);
		conf_read_bool(&scope, "reverse", &check->reverse);
		conf_read_bool(&scope, "init_fail", &check->init_fail);
		if (check->script.argv && conf->defaults.script_user)
			check->script.user = conf_copy(scope.reader, conf->defaults.script_user);
		conf_read_user(&scope, "user", &check->script.user);
		read_restart(&scope, check);
	}
}

/* Does the router depend on `wanted` through checks of other routers? */
static bool leads_to(const struct conf *conf, int from, int wanted, int depth)
{
	if (from == wanted)
		return true;
	for (int t = 0; depth < CONF_CHECKS_MAX && t < conf->vrrps[from].tracks_count; t++) {
		const struct conf_check *check = &conf->checks[conf->vrrps[from].tracks[t].check];

		if (check->vrrp >= 0 && leads_to(conf, check->vrrp, wanted, depth + 1))
			return true;
	}
	return false;
}

void conf_link_checks(const struct conf_scope *top, struct conf *conf)
{
	for (int i = 0; i < conf->checks_count; i++) {
		struct conf_check *check = &conf->checks[i];
		struct conf_scope place = {.reader = top->reader};

		if (!check->instance)
			continue;
		conf_place(&place, "checks.%s.instance", check->name ? check->name : "?");
		check->vrrp = conf_vrrp_index(conf, check->instance);
		if (check->vrrp < 0)
			conf_add(top->reader, CONF_ERROR, check->line, place.path,
				 conf_say("there is no vrrp entry \"%.80s\"", check->instance),
				 conf_say("write the name of one that is there"));
	}
	/* Two routers that wait for each other would never come to rest. */
	for (int v = 0; v < conf->vrrps_count; v++)
		for (int t = 0; t < conf->vrrps[v].tracks_count; t++) {
			const struct conf_check *check =
				&conf->checks[conf->vrrps[v].tracks[t].check];
			struct conf_scope place = {.reader = top->reader};

			if (check->vrrp < 0 || !leads_to(conf, check->vrrp, v, 0))
				continue;
			conf_place(&place, "vrrp.%s.track",
				   conf->vrrps[v].name ? conf->vrrps[v].name : "?");
			conf_add(top->reader, CONF_ERROR, conf->vrrps[v].line, place.path,
				 conf_say("the check \"%s\" leads back to this instance",
					  check->name ? check->name : "?"),
				 conf_say("let one instance depend on the other, and not both; to "
					  "move together they belong into one group"));
		}
}
