/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/conf_diff.h"

#include <errno.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/ctl.h"

#define NAME_BYTES_MAX 256 /* "virtual_ipaddress.dev.web1"; deeper ones are cut */
#define HIDDEN "(hidden)"

/* ---- a setting as text ---- */

/* Not a file that has it. (An URL with a password is refused when the file is read.) */
static bool is_secret(const char *name)
{
	const size_t size = strlen(name);

	return strstr(name, "pass") && (size < 5 || strcmp(name + size - 5, "_file") != 0);
}

static void write_value(const config_setting_t *setting, const char *name, FILE *out)
{
	const int count = config_setting_length(setting), type = config_setting_type(setting);
	const char *text;

	switch (type) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		fprintf(out, "%lld", config_setting_get_int64(setting));
		break;
	case CONFIG_TYPE_FLOAT:
		fprintf(out, "%g", config_setting_get_float(setting));
		break;
	case CONFIG_TYPE_BOOL:
		fputs(config_setting_get_bool(setting) ? "true" : "false", out);
		break;
	case CONFIG_TYPE_STRING:
		text = config_setting_get_string(setting);
		if (is_secret(name))
			fputs(HIDDEN, out);
		else
			fprintf(out, "\"%s\"", text);
		break;
	default: /* array, list, group */
		fputs(type == CONFIG_TYPE_ARRAY ? "[" : type == CONFIG_TYPE_LIST ? "(" : "{", out);
		for (int i = 0; i < count; i++) {
			const config_setting_t *inner =
				config_setting_get_elem(setting, (unsigned)i);
			const char *its = config_setting_name(inner);

			fputs(i && type != CONFIG_TYPE_GROUP ? ", " : " ", out);
			if (its)
				fprintf(out, "%s = ", its);
			write_value(inner, its ? its : name, out);
			if (type == CONFIG_TYPE_GROUP)
				fputc(';', out);
		}
		fputs(type == CONFIG_TYPE_ARRAY	 ? " ]"
		      : type == CONFIG_TYPE_LIST ? " )"
						 : " }",
		      out);
	}
}

/* malloc'ed; NULL: out of memory, or there is no such setting. */
static char *text_of(const config_setting_t *setting)
{
	char *text = NULL;
	size_t size;
	FILE *out = setting ? open_memstream(&text, &size) : NULL;

	if (!out)
		return NULL;
	write_value(setting, config_setting_name(setting), out);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- two settings ---- */

static const config_setting_t *member(const config_setting_t *group, const char *name)
{
	return group ? config_setting_get_member(group, name) : NULL;
}

static bool is_group(const config_setting_t *setting)
{
	return setting && config_setting_is_group(setting);
}

static bool is_number(const config_setting_t *setting)
{
	return config_setting_is_number(setting) != CONFIG_FALSE;
}

/* 1 and 1.0 are the same. Nothing was calculated, so that equal means equal. */
static bool equal_numbers(const config_setting_t *a, const config_setting_t *b)
{
	const bool whole = config_setting_type(a) != CONFIG_TYPE_FLOAT &&
			   config_setting_type(b) != CONFIG_TYPE_FLOAT;
	const double x = config_setting_type(a) == CONFIG_TYPE_FLOAT
				 ? config_setting_get_float(a)
				 : (double)config_setting_get_int64(a);
	const double y = config_setting_type(b) == CONFIG_TYPE_FLOAT
				 ? config_setting_get_float(b)
				 : (double)config_setting_get_int64(b);

	if (whole)
		return config_setting_get_int64(a) == config_setting_get_int64(b);
	return x <= y && x >= y;
}

/* By what is in them, secrets too. */
static bool equal(const config_setting_t *a, const config_setting_t *b)
{
	const int count = config_setting_length(a), type = config_setting_type(a);

	if (is_number(a) && is_number(b))
		return equal_numbers(a, b);
	if (type != config_setting_type(b) || count != config_setting_length(b))
		return false;
	if (type == CONFIG_TYPE_BOOL)
		return config_setting_get_bool(a) == config_setting_get_bool(b);
	if (type == CONFIG_TYPE_STRING)
		return !strcmp(config_setting_get_string(a), config_setting_get_string(b));
	for (int i = 0; i < count; i++) {
		const config_setting_t *inner = config_setting_get_elem(a, (unsigned)i);
		const char *name = config_setting_name(inner);
		const config_setting_t *other =
			name ? member(b, name) : config_setting_get_elem(b, (unsigned)i);

		if (!other || !equal(inner, other))
			return false;
	}
	return true;
}

static int add_setting(json_t *list, const char *name, const config_setting_t *before,
		       const config_setting_t *after)
{
	char *old = text_of(before), *new = text_of(after);
	int error = (before && !old) || (after && !new) ? -ENOMEM : 0;

	if (!error)
		json_array_append_new(
			list, json_pack("{s:s s:o s:o}", "setting", name, "before",
					old ? ctl_text(old, strlen(old)) : json_null(), "after",
					new ? ctl_text(new, strlen(new)) : json_null()));
	free(old);
	free(new);
	return error;
}

static int compare(json_t *list, const char *prefix, const config_setting_t *before,
		   const config_setting_t *after, bool top);

/* One setting of a group: what is a group itself is told member by member. */
static int compare_one(json_t *list, const char *prefix, const char *name,
		       const config_setting_t *before, const config_setting_t *after)
{
	char whole[NAME_BYTES_MAX];

	snprintf(whole, sizeof whole, "%s%s%s", prefix, *prefix ? "." : "", name);
	if ((!before || is_group(before)) && (!after || is_group(after)))
		return compare(list, whole, before, after, false);
	if (before && after && equal(before, after))
		return 0;
	return add_setting(list, whole, before, after);
}

/* A list of groups, at the top: a section, which is compared entry by entry. */
static bool is_section(const config_setting_t *setting)
{
	return setting && config_setting_is_list(setting) && config_setting_length(setting) > 0 &&
	       is_group(config_setting_get_elem(setting, 0));
}

static int compare(json_t *list, const char *prefix, const config_setting_t *before,
		   const config_setting_t *after, bool top)
{
	int error = 0;

	for (int i = 0; after && i < config_setting_length(after) && !error; i++) {
		const config_setting_t *new = config_setting_get_elem(after, (unsigned)i);
		const char *name = config_setting_name(new);
		const config_setting_t *old = member(before, name);

		if (!(top && (is_section(new) || is_section(old))))
			error = compare_one(list, prefix, name, old, new);
	}
	for (int i = 0; before && i < config_setting_length(before) && !error; i++) {
		const config_setting_t *old = config_setting_get_elem(before, (unsigned)i);
		const char *name = config_setting_name(old);

		if (!member(after, name) && !(top && is_section(old)))
			error = compare_one(list, prefix, name, old, NULL);
	}
	return error;
}

/* ---- entries of a section ---- */

static int add_entry(json_t *changes, const char *section, const char *name,
		     const config_setting_t *before, const config_setting_t *after)
{
	json_t *settings = json_array();
	int error = compare(settings, "", before, after, !*section);

	if (error || !json_array_size(settings)) {
		json_decref(settings);
		return error;
	}
	json_array_append_new(changes, json_pack("{s:s s:s s:s s:o}", "section", section, "name",
						 name, "change",
						 !before  ? "added"
						 : !after ? "removed"
							  : "changed",
						 "settings", settings));
	return 0;
}

static const char *name_of(const config_setting_t *entry)
{
	const char *name = NULL;

	return config_setting_lookup_string(entry, "name", &name) ? name : "";
}

static const config_setting_t *entry_of(const config_setting_t *section, const char *name)
{
	for (int i = 0; section && i < config_setting_length(section); i++) {
		const config_setting_t *entry = config_setting_get_elem(section, (unsigned)i);

		if (!strcmp(name_of(entry), name))
			return entry;
	}
	return NULL;
}

/* The names of those entries that the other one has as well. */
static json_t *common_names(const config_setting_t *section, const config_setting_t *other)
{
	json_t *names = json_array();

	for (int i = 0; section && other && i < config_setting_length(section); i++) {
		const char *name = name_of(config_setting_get_elem(section, (unsigned)i));

		if (entry_of(other, name))
			json_array_append_new(names, json_string(name));
	}
	return names;
}

/* Where the order of the entries means something: to the link, and to a node's own place. */
static void add_order(json_t *changes, const config_setting_t *before,
		      const config_setting_t *after)
{
	json_t *was = common_names(before, after), *is = common_names(after, before);
	char *was_text = json_dumps(was, 0), *is_text = json_dumps(is, 0);

	if (!json_equal(was, is) && was_text && is_text)
		json_array_append_new(changes, json_pack("{s:s s:s s:s s:[{s:s s:s s:s}]}",
							 "section", "nodes", "name", "", "change",
							 "changed", "settings", "setting", "order",
							 "before", was_text, "after", is_text));
	free(was_text);
	free(is_text);
	json_decref(was);
	json_decref(is);
}

static int compare_section(json_t *changes, const char *section, const config_setting_t *before,
			   const config_setting_t *after)
{
	int error = 0;

	for (int i = 0; after && i < config_setting_length(after) && !error; i++) {
		const config_setting_t *entry = config_setting_get_elem(after, (unsigned)i);
		const char *name = name_of(entry);

		error = add_entry(changes, section, name, entry_of(before, name), entry);
	}
	for (int i = 0; before && i < config_setting_length(before) && !error; i++) {
		const config_setting_t *entry = config_setting_get_elem(before, (unsigned)i);
		const char *name = name_of(entry);

		if (!entry_of(after, name))
			error = add_entry(changes, section, name, entry, NULL);
	}
	if (!error && !strcmp(section, "nodes"))
		add_order(changes, before, after);
	return error;
}

static int compare_files(json_t *changes, const config_setting_t *before,
			 const config_setting_t *after)
{
	int error = add_entry(changes, "", "", before, after);

	for (int i = 0; i < config_setting_length(after) && !error; i++) {
		const config_setting_t *new = config_setting_get_elem(after, (unsigned)i);
		const char *name = config_setting_name(new);

		if (is_section(new) || is_section(member(before, name)))
			error = compare_section(changes, name, member(before, name), new);
	}
	for (int i = 0; i < config_setting_length(before) && !error; i++) {
		const config_setting_t *old = config_setting_get_elem(before, (unsigned)i);
		const char *name = config_setting_name(old);

		if (is_section(old) && !member(after, name))
			error = compare_section(changes, name, old, NULL);
	}
	return error;
}

/* ---- two snapshots ---- */

/* The settings of an entry that changed; made if it has not changed otherwise. */
static json_t *settings_of(json_t *changes, const char *section, const char *name)
{
	json_t *change, *settings;
	size_t i;

	json_array_foreach (changes, i, change)
		if (!strcmp(json_string_value(json_object_get(change, "section")), section) &&
		    !strcmp(json_string_value(json_object_get(change, "name")), name))
			return json_object_get(change, "settings");
	settings = json_array();
	json_array_append_new(changes, json_pack("{s:s s:s s:s s:o}", "section", section, "name",
						 name, "change", "changed", "settings", settings));
	return settings;
}

/* A file with a password has the same name, and says something else. */
static void add_secrets(json_t *changes, const struct conf *from, const struct conf *to)
{
	for (int i = 0; i < to->vrrps_count; i++) {
		const struct conf_vrrp *new = &to->vrrps[i], *old;
		int at = conf_vrrp_index(from, new->name);

		if (at < 0)
			continue;
		old = &from->vrrps[at];
		if (new->auth_pass_file && old->auth_pass_file &&
		    !strcmp(new->auth_pass_file, old->auth_pass_file) &&
		    memcmp(new->auth_data, old->auth_data, sizeof new->auth_data) != 0)
			json_array_append_new(settings_of(changes, "vrrp", new->name),
					      json_pack("{s:s s:s s:s}", "setting",
							"what stands in auth_pass_file", "before",
							HIDDEN, "after", HIDDEN));
	}
}

static int read_config(const struct conf_snapshot *snapshot, config_t *config)
{
	struct stat st;
	char *text;
	int r;

	if (fstat(snapshot->fd, &st) || st.st_size > 2 * CONF_TEXT_BYTES_MAX)
		return -EINVAL; /* passwords stand behind the text */
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	r = pread(snapshot->fd, text, (size_t)st.st_size, 0) == st.st_size &&
			    config_read_string(config, text) == CONFIG_TRUE
		    ? 0
		    : -EINVAL;
	explicit_bzero(text, (size_t)st.st_size);
	free(text);
	return r;
}

int conf_diff(const struct conf_snapshot *from, const struct conf_snapshot *to,
	      json_t **ret_changes)
{
	config_t before, after;
	json_t *changes = json_array();
	int error;

	config_init(&before);
	config_init(&after);
	error = read_config(from, &before);
	if (!error)
		error = read_config(to, &after);
	if (!error)
		error = compare_files(changes, config_root_setting(&before),
				      config_root_setting(&after));
	config_destroy(&before);
	config_destroy(&after);
	if (!error)
		add_secrets(changes, from->conf, to->conf);
	if (error)
		json_decref(changes);
	else
		*ret_changes = changes;
	return error;
}
