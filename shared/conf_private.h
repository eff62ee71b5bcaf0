/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_private: what the parts of conf share among themselves; nobody else includes it.
 *
 * The text goes through four steps, each of which can trust the one before:
 *   conf_scan    our own look at the raw text: one syntax error with its cure, names
 *                given twice; clamps the numbers that libconfig would wrap in silence;
 *   libconfig    builds the tree; it never sees a text that conf_scan refused (it leaks then);
 *   conf_read    takes single settings out of the tree: type, range, form, unknown names;
 *   conf_rules   what holds between settings.
 *
 * Problems are added as they are found and sorted by line at the end. A reader that runs out of
 * memory remembers it, and goes on with what it has; conf_parse() then says -ENOMEM.
 */
#ifndef TANDEM_CONF_PRIVATE_H
#define TANDEM_CONF_PRIVATE_H

#include <libconfig.h>

#include "shared/conf.h"

#define CONF_PATH_BYTES_MAX 192
#define CONF_DEPTH_MAX 8       /* of nested groups and lists; the deepest legal file has 4 */
#define CONF_SETTINGS_MAX 64   /* names in one group; more than any group knows */
#define CONF_ELEMENTS_MAX 1024 /* of one list */

struct conf_reader {
	struct conf_problems *problems;
	bool out_of_memory;
};

/* A group of settings while it is being read. */
struct conf_scope {
	struct conf_reader *reader;
	config_setting_t *group;
	char path[CONF_PATH_BYTES_MAX]; /* "vrrp.VI_1"; "" at the top */
};

/* A word that people bring from keepalived, and what to write here instead. */
struct conf_hint {
	const char *name;
	const char *cure;
};

/* Formatted text, malloc'ed; control characters become '?'. NULL when out of memory. */
__attribute__((format(printf, 1, 2))) char *conf_say(const char *format, ...);
/* Both take over cause and cure. */
void conf_add(struct conf_reader *reader, enum conf_severity severity, int line,
	      const char *setting, char *cause, char *cure);
/* setting names the place below scope (NULL: the scope itself, in its own line). */
void conf_error(const struct conf_scope *scope, const char *name, char *cause, char *cure);
void conf_warning(const struct conf_scope *scope, const char *name, char *cause, char *cure);
/* Stable, by line. */
void conf_problems_sort(struct conf_problems *problems);

/* False if there was a syntax error. text is terminated; a number that does not fit into 32 bits is
 * replaced in place by the largest one, or the smallest. */
bool conf_scan(struct conf_reader *reader, char *text);

/* Opens a group below parent: element index of list parent_name, or (index -1) member name. */
bool conf_scope_open(const struct conf_scope *parent, const char *name, config_setting_t *setting,
		     int index, struct conf_scope *ret_scope);
/* Sets the name by which messages call the scope. */
__attribute__((format(printf, 2, 3))) void conf_place(struct conf_scope *scope, const char *format,
						      ...);
/* Complains about each setting that is not in known (NULL-terminated). hints: NULL where nobody
 * would bring words of keepalived. */
void conf_scope_known(const struct conf_scope *scope, const char *const *known,
		      const struct conf_hint *hints);
int conf_line(const config_setting_t *setting);
const char *conf_type_name(const config_setting_t *setting);
config_setting_t *conf_get(const struct conf_scope *scope, const char *name);
/* The type is not what it should be: names both. example shows a right one. */
void conf_wrong_type(const struct conf_scope *scope, const char *name,
		     const config_setting_t *setting, const char *wanted, const char *example);
void conf_required(const struct conf_scope *scope, const char *name, const char *example);

/* Each leaves *ret as it was if the setting is absent (returns false, no problem) or wrong (false,
 * with a problem). Strings are the caller's. */
bool conf_read_string(const struct conf_scope *scope, const char *name, const char *example,
		      char **ret_text);
bool conf_read_int(const struct conf_scope *scope, const char *name, int min, int max, int *ret);
bool conf_read_bool(const struct conf_scope *scope, const char *name, bool *ret);
/* Seconds as a number, or text with a unit: "10ms", "1s", "15m", "2h". Microseconds. */
bool conf_read_duration(const struct conf_scope *scope, const char *name, uint64_t min_us,
			uint64_t max_us, uint64_t *ret_us);
/* [A-Za-z][A-Za-z0-9_-]*, at most CONF_NAME_BYTES_MAX; a missing one is a problem. */
bool conf_read_name(const struct conf_scope *scope, const char *name, char **ret_text);
/* Absolute, in normal form. */
bool conf_read_path(const struct conf_scope *scope, const char *name, char **ret_text);
bool conf_read_command(const struct conf_scope *scope, const char *name,
		       struct conf_command *ret_command);
bool conf_read_user(const struct conf_scope *scope, const char *name, char **ret_text);
bool conf_read_address(const struct conf_scope *scope, const char *name, struct ip_addr *ret_addr);
/* An array or list, 1..max elements; NULL if absent or wrong. */
config_setting_t *conf_read_list(const struct conf_scope *scope, const char *name, int max,
				 const char *example);
/* A group keyed by node name: fills by_node; unknown names are problems. False if absent or not a
 * group. */
bool conf_read_per_node(const struct conf_scope *scope, const char *name, const struct conf *conf,
			const char *example, config_setting_t *by_node[CONF_NODES_MAX]);

char *conf_copy(struct conf_reader *reader, const char *text); /* NULL: out of memory, remembered */
void conf_command_release(struct conf_command *command);
void conf_check_release(struct conf_check *check);
/* A name for all nodes, or one for each: fills interfaces; needed says which nodes must have one
 * (NULL: all). */
void conf_read_interfaces(const struct conf_scope *scope, const char *name, const struct conf *conf,
			  const int *needed, char *interfaces[CONF_NODES_MAX]);
bool conf_name_is_good(const char *name);
/* Is it a word of keepalived that has no setting here? */
bool conf_is_foreign(const char *name);
/* NULL if path is absolute and in normal form, otherwise what is wrong with it. */
const char *conf_path_fault(const char *path);
/* inner is outer, or lies below it. */
bool conf_path_contains(const char *outer, const char *inner);
/* The nearest of names, or NULL if none is near. */
const char *conf_nearest(const char *name, const char *const *names);
/* "known here: a, b, c"; malloc'ed. */
char *conf_list_names(const char *const *names);

/* The parts of the file. */
void conf_read_checks(const struct conf_scope *top, struct conf *conf);
void conf_read_tracks(const struct conf_scope *scope, const struct conf *conf,
		      struct conf_track *tracks, int *ret_count);
void conf_read_hooks(const struct conf_scope *scope, const struct conf *conf,
		     struct conf_command hooks[CONF_HOOKS], uint64_t *ret_timeout_us);
/* Once the vrrp entries are known: gives the members of each group all of its tracks. */
void conf_read_groups(const struct conf_scope *top, struct conf *conf);
void conf_group_release(struct conf_group *group);
/* Once the vrrp entries are known: the checks that name one. */
void conf_link_checks(const struct conf_scope *top, struct conf *conf);
/* tcp, or http and what belongs to it; neither is there: the probe stays empty. */
void conf_read_probe(const struct conf_scope *scope, struct conf_probe *ret_probe);
void conf_probe_release(struct conf_probe *probe);
void conf_read_vips(const struct conf_scope *scope, const struct conf *conf,
		    struct conf_vrrp *vrrp);
/* After the sources. */
void conf_read_peers(const struct conf_scope *scope, const struct conf *conf,
		     struct conf_vrrp *vrrp);
/* Once its family is known. */
void conf_read_vmac(const struct conf_scope *scope, struct conf_vrrp *vrrp);
void conf_read_routes(const struct conf_scope *scope, const struct conf *conf,
		      struct conf_vrrp *vrrp);
void conf_route_release(struct conf_route *route);
void conf_vip_release(struct conf_vip *vip);
/* Before the vrrp entries: what holds for all of them. */
void conf_defaults_release(struct conf_vrrp_defaults *defaults);
void conf_read_defaults(const struct conf_scope *top, struct conf *conf);
/* The garp settings of an instance. */
/* Leaves *ret_addr as it was if the setting is absent or wrong. */
void conf_read_group(const struct conf_scope *scope, const char *name, enum ip_family family,
		     struct ip_addr *ret_addr);
void conf_read_down_adverts(const struct conf_scope *scope, const char *name, int *ret);
void conf_read_garp(const struct conf_scope *scope, struct conf_garp *garp);
/* Before the vrrp entries; the rules after them. */
void conf_read_mail(const struct conf_scope *top, struct conf *conf);
void conf_mail_rules(const struct conf_scope *top, const struct conf *conf);
void conf_mail_release(struct conf_mail *mail);
/* Of an instance or a group; *ret_alert is what the top level says. */
void conf_read_alert(const struct conf_scope *scope, const struct conf *conf, bool *ret_alert);
bool conf_host_port_is_good(const char *text, bool port_wanted);
void conf_read_vrrps(const struct conf_scope *top, struct conf *conf);
void conf_read_mirrors(const struct conf_scope *top, struct conf *conf);
void conf_rules(struct conf_reader *reader, const struct conf *conf);

#endif
