/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem reload --dry-run: what a reload would change, as the daemons themselves say: each holds
 * the file against what it runs with.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"

struct trial {
	json_t *answer; /* NULL: none */
	char why[ASK_WHY_ROOM];
	int exit;
};

static void begin(const struct verb_args *args, enum ask_daemon daemon, struct asking *ret_asking)
{
	/* A command of its own: a daemon that does not know it does nothing. */
	ask_begin(args, daemon, json_pack("{s:s}", "command", "reload-dry-run"), ASK_RELOAD_US,
		  args->json ? NULL : "a dry run changes nothing", ret_asking);
}

static void end(struct asking *asking, bool needed, struct trial *ret_trial)
{
	*ret_trial = (struct trial){0};
	ret_trial->exit = ask_end(asking, &ret_trial->answer, ret_trial->why);
	if (ret_trial->exit == VERB_NO_CONTACT && !needed)
		ret_trial->exit = VERB_OK;
}

/* The instance, or the mirror, of that name. */
static const json_t *effect_on(const json_t *answer, const char *list, const char *name)
{
	json_t *item;
	size_t i;

	json_array_foreach (json_object_get(answer, list), i, item)
		if (strcmp(ask_text(item, "name", ""), name) == 0)
			return item;
	return NULL;
}

static void print_effect(const json_t *effect)
{
	const char *what = ask_text(effect, "effect", "");
	const char *state = ask_text(effect, "state", NULL);
	bool leaves = json_is_true(json_object_get(effect, "leaves_master"));

	if (strcmp(what, "kept") == 0 && state)
		printf("; stays %s", state);
	else if (strcmp(what, "restarted") == 0)
		fputs("; is given up and starts anew", stdout);
	else if (strcmp(what, "redefined") == 0)
		fputs("; nothing is exchanged until the other nodes have the same", stdout);
	if (leaves)
		fputs(", and leaves MASTER", stdout);
}

static void print_setting(const json_t *setting)
{
	const char *before = ask_text(setting, "before", NULL);
	const char *after = ask_text(setting, "after", NULL);

	printf("        %s: ", ask_text(setting, "setting", "?"));
	if (before)
		ask_print(stdout, before, 12);
	if (before && after)
		fputs(" -> ", stdout);
	if (after)
		ask_print(stdout, after, 12);
	fputs(!before  ? " (was not written)\n"
	      : !after ? " (is not written any more)\n"
		       : "\n",
	      stdout);
}

static void print_change(const json_t *answer, const json_t *change)
{
	const char *section = ask_text(change, "section", "");
	const char *name = ask_text(change, "name", "");
	const char *what = ask_text(change, "change", "?");
	const char *list = strcmp(section, "vrrp") == 0	     ? "instances"
			   : strcmp(section, "mirrors") == 0 ? "mirrors"
							     : "";
	json_t *setting;
	size_t i;

	printf("    %s%s%s: %s", *section ? section : "the file's own settings", *name ? " " : "",
	       name, what);
	print_effect(effect_on(answer, list, name));
	fputc('\n', stdout);
	/* What is gone was read before. */
	if (strcmp(what, "removed") != 0)
		json_array_foreach (json_object_get(change, "settings"), i, setting)
			print_setting(setting);
}

/* A router may have to start anew for what stands elsewhere, as a node's own place does. */
static void print_unnamed(const json_t *answer)
{
	json_t *instance, *change;
	size_t i, k;

	json_array_foreach (json_object_get(answer, "instances"), i, instance) {
		bool named = strcmp(ask_text(instance, "effect", ""), "kept") == 0;

		json_array_foreach (json_object_get(answer, "changes"), k, change)
			named = named || (strcmp(ask_text(change, "section", ""), "vrrp") == 0 &&
					  strcmp(ask_text(change, "name", ""),
						 ask_text(instance, "name", "?")) == 0);
		if (named)
			continue;
		printf("    vrrp %s: not changed itself", ask_text(instance, "name", "?"));
		print_effect(instance);
		fputc('\n', stdout);
	}
}

static bool leaves_master(const json_t *answer)
{
	json_t *instance;
	size_t i;

	json_array_foreach (json_object_get(answer, "instances"), i, instance)
		if (json_is_true(json_object_get(instance, "leaves_master")))
			return true;
	return false;
}

static void print_trial(enum ask_daemon daemon, const struct trial *trial)
{
	const json_t *answer = trial->answer;
	const char *problems = ask_text(answer, "problems", "");
	json_t *change;
	size_t i;

	if (trial->exit != VERB_OK) {
		fprintf(stderr, "%s%s", trial->exit == VERB_FAILED ? ask_name(daemon) : "tandem",
			trial->exit == VERB_FAILED ? " would keep the old configuration: " : ": ");
		ask_print(stderr, trial->why, 4);
		fputc('\n', stderr);
		return;
	}
	if (!answer)
		return;
	ask_print(stderr, problems, 0);
	if (json_array_size(json_object_get(answer, "changes")) == 0) {
		printf("%s: nothing would change\n", ask_name(daemon));
		return;
	}
	printf("%s: would change\n", ask_name(daemon));
	json_array_foreach (json_object_get(answer, "changes"), i, change)
		print_change(answer, change);
	print_unnamed(answer);
}

static json_t *object_of(const struct trial *trial)
{
	if (trial->exit == VERB_NO_CONTACT || !trial->answer)
		return json_null();
	return json_incref(trial->answer);
}

int verb_reload_dry_run(const struct verb_args *args, bool agent_needed, bool syncd_needed)
{
	struct asking ask_agent, ask_syncd;
	struct trial agent, syncd;
	json_t *object;
	int r;

	begin(args, ASK_AGENT, &ask_agent);
	begin(args, ASK_SYNCD, &ask_syncd);
	end(&ask_agent, agent_needed, &agent);
	end(&ask_syncd, syncd_needed, &syncd);
	if (agent.exit == VERB_FAILED || syncd.exit == VERB_FAILED)
		r = VERB_FAILED;
	else if (agent.exit != VERB_OK || syncd.exit != VERB_OK)
		r = VERB_NO_CONTACT;
	else
		r = leaves_master(agent.answer) ? VERB_PENDING : VERB_OK;
	if (args->json) {
		object = json_pack("{s:b s:i s:s s:i s:o s:o}", "ok", r != VERB_FAILED, "version",
				   1, "program", "tandem", "exit", r, "agent", object_of(&agent),
				   "syncd", object_of(&syncd));
		json_dumpf(object, stdout, JSON_INDENT(2));
		fputc('\n', stdout);
		json_decref(object);
	} else {
		print_trial(ASK_AGENT, &agent);
		print_trial(ASK_SYNCD, &syncd);
	}
	json_decref(agent.answer);
	json_decref(syncd.answer);
	return r;
}
