/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_read: single settings out of libconfig's tree, with their type, range and form.
 *
 * libconfig's own getters convert between types and give 0 where they cannot (interval = 1 read as
 * a float is 0.0): nothing here calls one before it has looked at the type.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

int conf_line(const config_setting_t *setting)
{
	return (int)config_setting_source_line(setting);
}

static const char *type_name_of(int type)
{
	switch (type) {
	case CONFIG_TYPE_GROUP:
		return "a group { }";
	case CONFIG_TYPE_LIST:
		return "a list ( )";
	case CONFIG_TYPE_ARRAY:
		return "an array [ ]";
	case CONFIG_TYPE_STRING:
		return "text";
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return "a whole number";
	case CONFIG_TYPE_FLOAT:
		return "a number with a fraction";
	case CONFIG_TYPE_BOOL:
		return "true or false";
	default:
		return "nothing";
	}
}

const char *conf_type_name(const config_setting_t *setting)
{
	return type_name_of(config_setting_type(setting));
}

config_setting_t *conf_get(const struct conf_scope *scope, const char *name)
{
	return config_setting_get_member(scope->group, name);
}

void conf_wrong_type(const struct conf_scope *scope, const char *name,
		     const config_setting_t *setting, const char *wanted, const char *example)
{
	conf_error(scope, name,
		   conf_say("is %s where %s should be", conf_type_name(setting), wanted),
		   conf_say("write %s", example));
}

void conf_required(const struct conf_scope *scope, const char *name, const char *example)
{
	conf_error(scope, name, conf_say("is missing"), conf_say("add %s", example));
}

void conf_scope_known(const struct conf_scope *scope, const char *const *known,
		      const struct conf_hint *hints)
{
	int count = config_setting_length(scope->group);

	for (int i = 0; i < count; i++) {
		config_setting_t *setting = config_setting_get_elem(scope->group, (unsigned)i);
		const char *name = config_setting_name(setting);
		const char *nearest;
		char *cure = NULL;
		bool found = false;

		for (int k = 0; known[k] && !found; k++)
			found = strcmp(known[k], name) == 0;
		if (found)
			continue;
		for (int h = 0; hints && hints[h].name && !cure; h++)
			if (strcmp(hints[h].name, name) == 0)
				cure = conf_say("%s", hints[h].cure);
		if (!cure && hints && conf_is_foreign(name))
			cure = conf_say("remove it: keepalived needs it, and KEEPALIVED.md says why "
					"nothing here does");
		nearest = conf_nearest(name, known);
		if (!cure)
			cure = nearest ? conf_say("did you mean %s?", nearest)
				       : conf_list_names(known);
		conf_error(scope, name, conf_say("unknown setting"), cure);
	}
}

void conf_place(struct conf_scope *scope, const char *format, ...)
{
	va_list args;

	/* Cut where a name is longer than any that is known: it is for reading only. */
	va_start(args, format);
	vsnprintf(scope->path, sizeof scope->path, format, args);
	va_end(args);
}

bool conf_scope_open(const struct conf_scope *parent, const char *name, config_setting_t *setting,
		     int index, struct conf_scope *ret_scope)
{
	struct conf_scope scope = {.reader = parent->reader, .group = setting};
	const char *own = NULL;

	if (config_setting_type(setting) == CONFIG_TYPE_GROUP)
		config_setting_lookup_string(setting, "name", &own);
	if (own && conf_name_is_good(own))
		conf_place(&scope, "%s%s%s.%s", parent->path, parent->path[0] ? "." : "", name,
			   own);
	else if (index >= 0)
		conf_place(&scope, "%s%s%s[%d]", parent->path, parent->path[0] ? "." : "", name,
			   index);
	else
		conf_place(&scope, "%s%s%s", parent->path, parent->path[0] ? "." : "", name);
	if (config_setting_type(setting) != CONFIG_TYPE_GROUP) {
		conf_add(parent->reader, CONF_ERROR, conf_line(setting), scope.path,
			 conf_say("is %s where a group { } should be", conf_type_name(setting)),
			 conf_say("write %s = ( { name = \"...\"; } );", name));
		return false;
	}
	*ret_scope = scope;
	return true;
}

bool conf_read_string(const struct conf_scope *scope, const char *name, const char *example,
		      char **ret_text)
{
	config_setting_t *setting = conf_get(scope, name);
	char *text;

	if (!setting)
		return false;
	if (config_setting_type(setting) != CONFIG_TYPE_STRING) {
		conf_wrong_type(scope, name, setting, "text", example);
		return false;
	}
	if (config_setting_get_string(setting)[0] == '\0') {
		conf_error(scope, name, conf_say("is empty"),
			   conf_say("write %s, or leave the setting out", example));
		return false;
	}
	text = conf_copy(scope->reader, config_setting_get_string(setting));
	if (!text)
		return false;
	free(*ret_text);
	*ret_text = text;
	return true;
}

bool conf_read_int(const struct conf_scope *scope, const char *name, int min, int max, int *ret)
{
	config_setting_t *setting = conf_get(scope, name);
	long long value;

	if (!setting)
		return false;
	if (config_setting_type(setting) != CONFIG_TYPE_INT &&
	    config_setting_type(setting) != CONFIG_TYPE_INT64) {
		conf_error(
			scope, name,
			conf_say("is %s where a whole number should be", conf_type_name(setting)),
			conf_say("write %s = N; with N from %d to %d", name, min, max));
		return false;
	}
	value = config_setting_get_int64(setting);
	if (value < min || value > max) {
		conf_error(scope, name,
			   value >= INT32_MAX
				   ? conf_say("a number beyond 2147483646 is out of range")
			   : value <= INT32_MIN
				   ? conf_say("a number below -2147483647 is out of range")
				   : conf_say("%lld is out of range", value),
			   conf_say("%d to %d are possible", min, max));
		return false;
	}
	*ret = (int)value;
	return true;
}

bool conf_read_bool(const struct conf_scope *scope, const char *name, bool *ret)
{
	config_setting_t *setting = conf_get(scope, name);

	if (!setting)
		return false;
	if (config_setting_type(setting) != CONFIG_TYPE_BOOL) {
		conf_error(scope, name,
			   conf_say("is %s where true or false should be", conf_type_name(setting)),
			   conf_say("write %s = true; or %s = false;", name, name));
		return false;
	}
	*ret = config_setting_get_bool(setting);
	return true;
}

static const struct {
	const char *name;
	double us;
} units[] = {
	{"us", 1},     {"ms", 1e3},   {"s", 1e6},	  {"m", 60e6},
	{"min", 60e6}, {"h", 3600e6}, {"d", 24 * 3600e6},
};

/* "0.5s", "15m": digits with at most one dot, then a unit. Negative if it is none of that. */
static double parse_duration_us(const char *text)
{
	size_t digits = strspn(text, "0123456789.");
	char number[32];
	const char *unit;

	if (digits == 0 || digits >= sizeof number || strcspn(text, "0123456789") > 1)
		return -1;
	memcpy(number, text, digits);
	number[digits] = '\0';
	if (strchr(number, '.') != strrchr(number, '.'))
		return -1;
	unit = text + digits;
	while (*unit == ' ')
		unit++;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strcmp(units[i].name, unit) == 0)
			return strtod(number, NULL) * units[i].us;
	return -1;
}

/* The shortest form in which people write it, for messages. */
static const char *show_duration(uint64_t us, char room[32])
{
	if (us != 0 && us % 3600000000u == 0)
		snprintf(room, 32, "%lluh", (unsigned long long)(us / 3600000000u));
	else if (us % 1000000u == 0)
		snprintf(room, 32, "%llus", (unsigned long long)(us / 1000000u));
	else
		snprintf(room, 32, "%llums", (unsigned long long)(us / 1000u));
	return room;
}

bool conf_read_duration(const struct conf_scope *scope, const char *name, uint64_t min_us,
			uint64_t max_us, uint64_t *ret_us)
{
	config_setting_t *setting = conf_get(scope, name);
	char low[32], high[32];
	double us;

	if (!setting)
		return false;
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		us = (double)config_setting_get_int64(setting) * 1e6;
		break;
	case CONFIG_TYPE_FLOAT:
		us = config_setting_get_float(setting) * 1e6;
		break;
	case CONFIG_TYPE_STRING:
		us = parse_duration_us(config_setting_get_string(setting));
		if (us < 0) {
			conf_error(scope, name,
				   conf_say("\"%s\" is not a time",
					    config_setting_get_string(setting)),
				   conf_say("write seconds as a number, or a number and a unit: "
					    "\"10ms\" \"1s\" \"15m\" \"2h\""));
			return false;
		}
		break;
	default:
		conf_error(scope, name,
			   conf_say("is %s where a time should be", conf_type_name(setting)),
			   conf_say("write seconds as a number, or a number and a unit: "
				    "\"10ms\" \"1s\" \"15m\" \"2h\""));
		return false;
	}
	/* Written so that it also holds for what no comparison holds for. */
	if (!(us >= (double)min_us - 0.5 && us <= (double)max_us + 0.5)) {
		conf_error(scope, name,
			   config_setting_type(setting) == CONFIG_TYPE_STRING
				   ? conf_say("\"%s\" is out of range",
					      config_setting_get_string(setting))
				   : conf_say("%s%.10g s is out of range",
					      us >= INT32_MAX * 1e6 ? "more than " : "", us / 1e6),
			   conf_say("%s to %s are possible", show_duration(min_us, low),
				    show_duration(max_us, high)));
		return false;
	}
	*ret_us = us < 0 ? 0 : (uint64_t)(us + 0.5);
	return true;
}

bool conf_name_is_good(const char *name)
{
	size_t size = strlen(name);

	if (size == 0 || size > CONF_NAME_BYTES_MAX)
		return false;
	if (!isascii((unsigned char)name[0]) || !isalpha((unsigned char)name[0]))
		return false;
	for (const char *p = name; *p; p++)
		if (!isascii((unsigned char)*p) ||
		    !(isalnum((unsigned char)*p) || *p == '-' || *p == '_'))
			return false;
	return true;
}

bool conf_read_name(const struct conf_scope *scope, const char *name, char **ret_text)
{
	char *text = NULL;
	char example[CONF_NAME_BYTES_MAX + 16];

	snprintf(example, sizeof example, "%s = \"...\";", name);
	if (!conf_get(scope, name)) {
		conf_required(scope, name, example);
		return false;
	}
	if (!conf_read_string(scope, name, example, &text))
		return false;
	if (!conf_name_is_good(text)) {
		conf_error(scope, name, conf_say("\"%.80s\" is not a name", text),
			   conf_say("a letter, then letters, digits, - and _, at most %d of them",
				    CONF_NAME_BYTES_MAX));
		free(text);
		return false;
	}
	free(*ret_text);
	*ret_text = text;
	return true;
}

const char *conf_path_fault(const char *path)
{
	if (path[0] != '/')
		return "is not an absolute path";
	if (strlen(path) >= 4096)
		return "is longer than 4095 bytes";
	for (const char *p = path; *p; p++) {
		if (*p != '/')
			continue;
		if (p[1] == '/')
			return "has // in it";
		if (p[1] == '.' && (p[2] == '/' || p[2] == '\0'))
			return "has /. in it";
		if (p[1] == '.' && p[2] == '.' && (p[3] == '/' || p[3] == '\0'))
			return "has /.. in it";
		if (p[1] == '\0' && p != path)
			return "ends with /";
	}
	return NULL;
}

bool conf_path_contains(const char *outer, const char *inner)
{
	size_t size = strlen(outer);

	if (strcmp(outer, "/") == 0)
		return inner[0] == '/';
	return strncmp(outer, inner, size) == 0 && (inner[size] == '\0' || inner[size] == '/');
}

bool conf_read_path(const struct conf_scope *scope, const char *name, char **ret_text)
{
	char *text = NULL;
	char example[CONF_NAME_BYTES_MAX + 16];
	const char *fault;

	snprintf(example, sizeof example, "%s = \"/...\";", name);
	if (!conf_read_string(scope, name, example, &text))
		return false;
	fault = conf_path_fault(text);
	if (fault) {
		conf_error(scope, name, conf_say("\"%.200s\" %s", text, fault),
			   conf_say("write the whole path from / on, without //, . and .."));
		free(text);
		return false;
	}
	free(*ret_text);
	*ret_text = text;
	return true;
}

void conf_command_release(struct conf_command *command)
{
	for (int i = 0; i < command->argc; i++)
		free(command->argv[i]);
	free(command->argv);
	free(command->user);
	free(command->text);
	*command = (struct conf_command){0};
}

/* Splits text at blanks into words; quotes group, a backslash takes the next character as it is.
 * NULL, or what is wrong. */
static const char *split_words(const char *text, char *words[CONF_ARGV_MAX], int *ret_count)
{
	int count = 0;
	const char *fault = NULL;
	char *word = malloc(strlen(text) + 1);

	if (!word)
		return "";
	while (!fault) {
		size_t size = 0;
		char quote = '\0';

		while (*text == ' ' || *text == '\t')
			text++;
		if (*text == '\0')
			break;
		for (; *text != '\0' && (quote || (*text != ' ' && *text != '\t')); text++) {
			if (quote && *text == quote) {
				quote = '\0';
			} else if (!quote && (*text == '"' || *text == '\'')) {
				quote = *text;
			} else {
				if (*text == '\\' && quote != '\'' && text[1] != '\0')
					text++;
				word[size++] = *text;
			}
		}
		word[size] = '\0';
		if (quote)
			fault = "has a quote that is never closed";
		else if (count == CONF_ARGV_MAX - 1)
			fault = "has too many words";
		else if (!(words[count] = strdup(word)))
			fault = "";
		else
			count++;
	}
	free(word);
	*ret_count = count;
	return fault;
}

/* Words that a shell would act upon, and that exec hands to the program as they are: the commonest
 * mistake in scripts of keepalived. */
static const char *shell_word(char *const *words, int count)
{
	static const char *const signs[] = {"|", "||", "&", "&&",   ";",
					    ">", ">>", "<", "2>&1", NULL};

	for (int i = 0; i < count; i++) {
		for (int k = 0; signs[k]; k++)
			if (strcmp(words[i], signs[k]) == 0)
				return signs[k];
		if (i == 0 && words[i][0] != '/' && strchr(words[i], '='))
			return "VAR=value";
		if (words[i][0] == '>' || strncmp(words[i], "2>", 2) == 0)
			return words[i];
	}
	return NULL;
}

bool conf_read_command(const struct conf_scope *scope, const char *name,
		       struct conf_command *ret_command)
{
	struct conf_command command = {0};
	char *words[CONF_ARGV_MAX];
	const char *fault, *sign;
	char example[CONF_NAME_BYTES_MAX + 32];

	snprintf(example, sizeof example, "%s = \"/path/to/program argument\";", name);
	if (!conf_read_string(scope, name, example, &command.text))
		return false;
	command.line = conf_line(conf_get(scope, name));
	fault = split_words(command.text, words, &command.argc);
	command.argv = calloc((size_t)command.argc + 1, sizeof *command.argv);
	if (!command.argv || (fault && fault[0] == '\0')) {
		scope->reader->out_of_memory = true;
		for (int i = 0; i < command.argc; i++)
			free(words[i]);
		command.argc = 0;
		goto fail;
	}
	memcpy(command.argv, words, (size_t)command.argc * sizeof *words);
	if (!fault && (command.argc == 0 || command.argv[0][0] == '\0'))
		fault = "names no program";
	if (fault) {
		conf_error(scope, name, conf_say("\"%.200s\" %s", command.text, fault),
			   conf_say("write the program and its arguments, at most %d words",
				    CONF_ARGV_MAX - 1));
		goto fail;
	}
	if (strchr(command.argv[0], '/') && conf_path_fault(command.argv[0])) {
		conf_error(scope, name,
			   conf_say("the program \"%.200s\" %s", command.argv[0],
				    conf_path_fault(command.argv[0])),
			   conf_say("write its whole path from / on"));
		goto fail;
	}
	sign = shell_word(command.argv, command.argc);
	if (sign) {
		conf_error(scope, name,
			   conf_say("holds shell syntax (%.40s), and no shell runs it", sign),
			   conf_say("put it into a script, or write /bin/sh -c '...'"));
		goto fail;
	}
	*ret_command = command;
	return true;
fail:
	conf_command_release(&command);
	return false;
}

bool conf_read_user(const struct conf_scope *scope, const char *name, char **ret_text)
{
	char *text = NULL;

	if (!conf_read_string(scope, name, "the name of an account", &text))
		return false;
	if (strlen(text) > 32 || text[strcspn(text, " \t:/")] != '\0') {
		conf_error(scope, name, conf_say("\"%.80s\" is not the name of an account", text),
			   conf_say("write one user name; its groups come with it"));
		free(text);
		return false;
	}
	free(*ret_text);
	*ret_text = text;
	return true;
}

bool conf_read_address(const struct conf_scope *scope, const char *name, struct ip_addr *ret_addr)
{
	char *text = NULL;
	bool good;

	if (!conf_read_string(scope, name, "an address such as \"198.51.100.1\"", &text))
		return false;
	good = ip_parse(text, ret_addr);
	if (!good)
		conf_error(scope, name, conf_say("\"%.80s\" is not an address", text),
			   strchr(text, '/') ? conf_say("leave out the prefix length")
					     : conf_say("write one such as \"198.51.100.1\""));
	free(text);
	return good;
}

config_setting_t *conf_read_list(const struct conf_scope *scope, const char *name, int max,
				 const char *example)
{
	config_setting_t *setting = conf_get(scope, name);

	if (!setting)
		return NULL;
	if (config_setting_type(setting) != CONFIG_TYPE_ARRAY &&
	    config_setting_type(setting) != CONFIG_TYPE_LIST) {
		conf_wrong_type(scope, name, setting, "a list", example);
		return NULL;
	}
	if (config_setting_length(setting) == 0) {
		conf_error(scope, name, conf_say("is empty"),
			   conf_say("write %s, or leave the setting out", example));
		return NULL;
	}
	if (config_setting_length(setting) > max) {
		conf_error(scope, name, conf_say("has %d elements", config_setting_length(setting)),
			   conf_say("at most %d are possible", max));
		return NULL;
	}
	return setting;
}

bool conf_read_per_node(const struct conf_scope *scope, const char *name, const struct conf *conf,
			const char *example, config_setting_t *by_node[CONF_NODES_MAX])
{
	config_setting_t *setting = conf_get(scope, name);
	const char *names[CONF_NODES_MAX + 1] = {0};
	struct conf_scope group;

	memset(by_node, 0, CONF_NODES_MAX * sizeof *by_node);
	if (!setting)
		return false;
	if (config_setting_type(setting) != CONFIG_TYPE_GROUP) {
		conf_wrong_type(scope, name, setting, "a group with a value for each node",
				example);
		return false;
	}
	group = (struct conf_scope){.reader = scope->reader, .group = setting};
	conf_place(&group, "%s.%s", scope->path, name);
	for (int i = 0, n = 0; i < conf->nodes_count; i++)
		if (conf->nodes[i].name)
			names[n++] = conf->nodes[i].name;
	for (int i = 0; i < config_setting_length(setting); i++) {
		config_setting_t *value = config_setting_get_elem(setting, (unsigned)i);
		const char *node = config_setting_name(value);
		int index = conf_node_index(conf, node);
		const char *nearest;

		if (index >= 0) {
			by_node[index] = value;
			continue;
		}
		/* With no good node at all every name here would be a second complaint. */
		if (!names[0])
			continue;
		nearest = conf_nearest(node, names);
		conf_error(&group, node, conf_say("no node has this name"),
			   nearest ? conf_say("did you mean %s?", nearest)
				   : conf_list_names(names));
	}
	return true;
}
