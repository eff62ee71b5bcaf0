/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_group: the `groups` entries: virtual routers that move together.
 */
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

#define SECOND_US 1000000u

static const char *const known[] = {
	"name",		  "members",	  "track",	 "notify_master",
	"notify_backup",  "notify_fault", "notify_stop", "notify",
	"notify_timeout", "notify_user",  "smtp_alert",	 NULL,
};

static const struct conf_hint hints[] = {
	{"group", "the setting is called members"},
	{"track_script", "write track = [ \"NAME\" ];"},
	{"sync_group_tracking_weight", "remove it: weights work in groups"},
	{NULL, NULL},
};

void conf_group_release(struct conf_group *group)
{
	free(group->name);
	for (int i = 0; i < CONF_HOOKS; i++)
		conf_command_release(&group->hooks[i]);
}

static void read_members(const struct conf_scope *scope, struct conf *conf,
			 struct conf_group *group)
{
	static const char example[] = "members = [ \"VI_1\", \"VI_2\" ];";
	config_setting_t *list;

	if (!conf_get(scope, "members")) {
		conf_required(scope, "members", example);
		return;
	}
	list = conf_read_list(scope, "members", CONF_MEMBERS_MAX, example);
	for (int i = 0; list && i < config_setting_length(list); i++) {
		config_setting_t *value = config_setting_get_elem(list, (unsigned)i);
		const char *text;
		int place;

		if (config_setting_type(value) != CONFIG_TYPE_STRING) {
			conf_wrong_type(scope, "members", value, "the name of a vrrp entry",
					example);
			continue;
		}
		text = config_setting_get_string(value);
		place = conf_vrrp_index(conf, text);
		if (place < 0) {
			conf_error(scope, "members",
				   conf_say("there is no vrrp entry \"%.80s\"", text),
				   conf_say("write the name of one that is there"));
			continue;
		}
		if (conf->vrrps[place].group >= 0) {
			conf_error(scope, "members",
				   conf_say("%s is in a group already", conf->vrrps[place].name),
				   conf_say("an instance belongs to one group, once"));
			continue;
		}
		conf->vrrps[place].group = (int)(group - conf->groups);
		group->members[group->members_count++] = place;
	}
	if (list && group->members_count == 1 && config_setting_length(list) == 1)
		conf_warning(scope, "members", conf_say("names one instance only"),
			     conf_say("add the others that move with it"));
}

static void add_track(const struct conf_scope *scope, struct conf_group *group,
		      const struct conf_track *track)
{
	for (int i = 0; i < group->tracks_count; i++)
		if (group->tracks[i].check == track->check)
			return;
	if (group->tracks_count == CONF_TRACKS_MAX) {
		conf_error(scope, "members",
			   conf_say("track more than %d checks together", CONF_TRACKS_MAX),
			   conf_say("what one of them depends on, all do: track fewer"));
		return;
	}
	group->tracks[group->tracks_count++] = *track;
}

/* They rank alike everywhere, or they could not move together: the file says so, and so do the
 * checks, each of which counts for all. */
static void join(const struct conf_scope *scope, struct conf *conf, struct conf_group *group)
{
	const struct conf_vrrp *first;

	if (!group->members_count)
		return;
	first = &conf->vrrps[group->members[0]];
	for (int i = 0; i < group->members_count; i++) {
		const struct conf_vrrp *member = &conf->vrrps[group->members[i]];

		for (int t = 0; t < member->tracks_count; t++)
			add_track(scope, group, &member->tracks[t]);
		for (int n = 0; n < conf->nodes_count; n++) {
			if (member->priorities[n] != first->priorities[n]) {
				conf_error(scope, "members",
					   conf_say("%s and %s have other priorities on %s",
						    first->name ? first->name : "?",
						    member->name ? member->name : "?",
						    conf->nodes[n].name ? conf->nodes[n].name
									: "a node"),
					   conf_say("give all members of a group the same ones"));
				break;
			}
			if (member->priorities[n] == 255) {
				conf_error(scope, "members",
					   conf_say("%s has priority 255, and an owner waits for "
						    "nobody",
						    member->name ? member->name : "?"),
					   conf_say("give it 254 or less"));
				break;
			}
		}
		if (member->nopreempt != first->nopreempt)
			conf_error(scope, "members",
				   conf_say("nopreempt of %s and %s differ",
					    first->name ? first->name : "?",
					    member->name ? member->name : "?"),
				   conf_say("give all members of a group the same one"));
	}
	for (int i = 0; i < group->members_count; i++) {
		struct conf_vrrp *member = &conf->vrrps[group->members[i]];

		memcpy(member->tracks, group->tracks, sizeof member->tracks);
		member->tracks_count = group->tracks_count;
	}
}

void conf_read_groups(const struct conf_scope *top, struct conf *conf)
{
	static const char example[] =
		"groups = ( { name = \"edge\"; members = [ \"VI_1\", \"VI_2\" ]; } );";
	config_setting_t *list = conf_read_list(top, "groups", CONF_GROUPS_MAX, example);

	if (!list)
		return;
	conf->groups = calloc((size_t)config_setting_length(list), sizeof *conf->groups);
	if (!conf->groups) {
		top->reader->out_of_memory = true;
		return;
	}
	for (int i = 0; i < config_setting_length(list); i++) {
		config_setting_t *setting = config_setting_get_elem(list, (unsigned)i);
		struct conf_group *group = &conf->groups[conf->groups_count];
		struct conf_scope scope;

		if (!conf_scope_open(top, "groups", setting, i, &scope))
			continue;
		conf_scope_known(&scope, known, hints);
		group->notify_timeout_us = 60 * SECOND_US;
		group->line = conf_line(setting);
		if (conf_read_name(&scope, "name", &group->name) &&
		    (conf_group_index(conf, group->name) >= 0 ||
		     conf_vrrp_index(conf, group->name) >= 0))
			conf_error(&scope, "name",
				   conf_say("\"%s\" is the name of another group or instance",
					    group->name),
				   conf_say("give each its own"));
		conf->groups_count++;
		conf_read_tracks(&scope, conf, group->tracks, &group->tracks_count);
		read_members(&scope, conf, group);
		conf_read_alert(&scope, conf, &group->smtp_alert);
		conf_read_hooks(&scope, conf, group->hooks, &group->notify_timeout_us);
		join(&scope, conf, group);
	}
}
