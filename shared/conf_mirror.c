/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_mirror: the `mirrors` entries.
 */
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

#define SECOND_US 1000000u
#define STATE_DIR_DEFAULT "/var/lib/tandem"
#define RUN_DIR_DEFAULT "/run/tandem"

/* What no peer may ever write: it would own the host, or cut the branch that replication sits on.
 * A path is refused if it is one of these, lies below one, or contains one. */
static const char *const forbidden[] = {
	"/etc/tandem", "/etc/systemd", "/root",	     STATE_DIR_DEFAULT, RUN_DIR_DEFAULT,
	"/proc",       "/sys",	       "/dev",	     "/boot",		"/etc/passwd",
	"/etc/shadow", "/etc/ssh",     "/etc/pam.d", "/etc/sudoers.d",	NULL,
};

static const char *path_forbidden(const char *path)
{
	for (int i = 0; forbidden[i]; i++)
		if (conf_path_contains(path, forbidden[i]) ||
		    conf_path_contains(forbidden[i], path))
			return forbidden[i];
	return NULL;
}

static void read_paths(const struct conf_scope *scope, struct conf_mirror *mirror)
{
	static const char example[] = "paths = [ \"/etc/nginx\" ];";
	config_setting_t *list;

	if (!conf_get(scope, "paths")) {
		conf_required(scope, "paths", example);
		return;
	}
	list = conf_read_list(scope, "paths", CONF_PATHS_MAX, example);
	for (int i = 0; list && i < config_setting_length(list); i++) {
		config_setting_t *value = config_setting_get_elem(list, (unsigned)i);
		const char *text, *fault, *bad;

		if (config_setting_type(value) != CONFIG_TYPE_STRING) {
			conf_wrong_type(scope, "paths", value, "text", example);
			continue;
		}
		text = config_setting_get_string(value);
		fault = conf_path_fault(text);
		if (fault) {
			conf_error(
				scope, "paths", conf_say("\"%.200s\" %s", text, fault),
				conf_say("write the whole path of a directory from / on, without "
					 "//, . and .. and without a / at its end"));
			continue;
		}
		bad = path_forbidden(text);
		if (bad) {
			conf_error(scope, "paths",
				   strcmp(bad, text) == 0 ? conf_say("%s cannot be mirrored", text)
				   : conf_path_contains(text, bad)
					   ? conf_say("%.200s cannot be mirrored: it contains %s",
						      text, bad)
					   : conf_say("%.200s cannot be mirrored: it lies in %s",
						      text, bad),
				   conf_say("name the directories of what you serve, such as "
					    "/etc/nginx"));
			continue;
		}
		mirror->paths[mirror->paths_count] = conf_copy(scope->reader, text);
		if (mirror->paths[mirror->paths_count])
			mirror->paths_count++;
	}
}

static void read_excludes(const struct conf_scope *scope, struct conf_mirror *mirror)
{
	static const char example[] = "exclude = [ \"*.swp\", \"/etc/nginx/node.d/\" ];";
	config_setting_t *list = conf_read_list(scope, "exclude", CONF_EXCLUDES_MAX, example);

	for (int i = 0; list && i < config_setting_length(list); i++) {
		config_setting_t *value = config_setting_get_elem(list, (unsigned)i);
		const char *text, *fault = NULL;
		char *copy;
		size_t size;

		if (config_setting_type(value) != CONFIG_TYPE_STRING) {
			conf_wrong_type(scope, "exclude", value, "text", example);
			continue;
		}
		text = config_setting_get_string(value);
		copy = conf_copy(scope->reader, text);
		if (!copy)
			continue;
		size = strlen(copy);
		if (size == 0) {
			fault = "is empty";
		} else if (copy[0] == '/') {
			/* A path below one of the mirrored ones; a directory ends with /. */
			if (size > 1 && copy[size - 1] == '/')
				copy[size - 1] = '\0';
			fault = conf_path_fault(copy);
			if (!fault && mirror->paths_count > 0) {
				bool inside = false;

				for (int k = 0; k < mirror->paths_count; k++)
					inside |= conf_path_contains(mirror->paths[k], copy) &&
						  strcmp(mirror->paths[k], copy) != 0;
				if (!inside)
					fault = "lies below none of the mirrored paths";
			}
		} else if (strchr(copy, '/')) {
			fault = "is neither a name nor an absolute path";
		}
		free(copy);
		if (fault) {
			conf_error(
				scope, "exclude", conf_say("\"%.200s\" %s", text, fault),
				conf_say(
					"write a pattern for names such as \"*.swp\", or a path "
					"below a mirrored one, with / at its end for a directory"));
			continue;
		}
		mirror->excludes[mirror->excludes_count] = conf_copy(scope->reader, text);
		if (mirror->excludes[mirror->excludes_count])
			mirror->excludes_count++;
	}
}

void conf_read_mirrors(const struct conf_scope *top, struct conf *conf)
{
	static const char *const known[] = {
		"name",		  "paths",  "exclude",	"validate",  "reload", "validate_timeout",
		"reload_timeout", "resync", "pid_file", "error_log", NULL};
	static const char example[] =
		"mirrors = ( { name = \"nginx\"; paths = [ \"/etc/nginx\" ]; } );";
	config_setting_t *list = conf_read_list(top, "mirrors", CONF_MIRRORS_MAX, example);

	if (!list)
		return;
	conf->mirrors = calloc((size_t)config_setting_length(list), sizeof *conf->mirrors);
	if (!conf->mirrors) {
		top->reader->out_of_memory = true;
		return;
	}
	for (int i = 0; i < config_setting_length(list); i++) {
		config_setting_t *setting = config_setting_get_elem(list, (unsigned)i);
		struct conf_mirror *mirror = &conf->mirrors[conf->mirrors_count];
		struct conf_scope scope;

		if (!conf_scope_open(top, "mirrors", setting, i, &scope))
			continue;
		conf->mirrors_count++;
		*mirror = (struct conf_mirror){
			.validate_timeout_us = 30 * SECOND_US,
			.reload_timeout_us = 30 * SECOND_US,
			.resync_us = 900ull * SECOND_US,
			.pid_file = conf_copy(top->reader, "/run/nginx.pid"),
			.error_log = conf_copy(top->reader, "/var/log/nginx/error.log"),
			.line = conf_line(setting),
		};
		conf_scope_known(&scope, known, NULL);
		conf_read_name(&scope, "name", &mirror->name);
		read_paths(&scope, mirror);
		read_excludes(&scope, mirror);
		conf_read_command(&scope, "validate", &mirror->validate);
		conf_read_command(&scope, "reload", &mirror->reload);
		conf_read_duration(&scope, "validate_timeout", SECOND_US / 10, 3600ull * SECOND_US,
				   &mirror->validate_timeout_us);
		conf_read_duration(&scope, "reload_timeout", SECOND_US / 10, 3600ull * SECOND_US,
				   &mirror->reload_timeout_us);
		conf_read_duration(&scope, "resync", SECOND_US, 7ull * 86400 * SECOND_US,
				   &mirror->resync_us);
		conf_read_path(&scope, "pid_file", &mirror->pid_file);
		conf_read_path(&scope, "error_log", &mirror->error_log);
		if (!conf_get(&scope, "validate") && conf_get(&scope, "reload"))
			conf_warning(&scope, "reload",
				     conf_say("nothing validates a change before it goes live"),
				     conf_say("add validate = \"nginx -t\";"));
	}
}
