/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a word may become. The verbs' own usage says what they take: a placeholder in capitals is a
 * name or a path, words with bars between them are meant as they are.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/dispatch.h"

#define PROMPT_US 1000000 /* nobody waits longer for a name */

static void offer(const char *candidate, const char *begun)
{
	if (strncmp(candidate, begun, strlen(begun)) == 0)
		puts(candidate);
}

/* ---- names, as the daemons tell them ---- */

static json_t *status_of(const struct verb_args *args, enum ask_daemon daemon)
{
	char why[ASK_WHY_ROOM];
	json_t *answer = NULL;

	if (ask(args, daemon, json_pack("{s:s}", "command", "status"), PROMPT_US, &answer, why) ==
	    VERB_OK)
		return answer;
	json_decref(answer);
	return NULL;
}

static void offer_each(const json_t *list, const char *key, const char *begun)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (ask_text(item, key, NULL))
			offer(ask_text(item, key, ""), begun);
}

static void offer_list(const struct verb_args *args, enum ask_daemon daemon, const char *list,
		       const char *begun)
{
	json_t *status = status_of(args, daemon);

	offer_each(json_object_get(status, list), "name", begun);
	json_decref(status);
}

/* Those that take part in an instance, or in replication; a shell drops what comes twice. */
static void offer_nodes(const struct verb_args *args, const char *begun)
{
	json_t *agent = status_of(args, ASK_AGENT), *syncd = status_of(args, ASK_SYNCD), *instance;
	const char *self = ask_text(agent ? agent : syncd, "node", NULL);
	size_t i;

	if (self)
		offer(self, begun);
	json_array_foreach (json_object_get(agent, "instances"), i, instance)
		offer_each(json_object_get(instance, "peers"), "node", begun);
	offer_each(json_object_get(syncd, "peers"), "node", begun);
	json_decref(agent);
	json_decref(syncd);
}

/* A word of a usage: "INSTANCE|--all", "on|off", "[MIRROR]". */
static void offer_kind(const struct verb_args *args, const char *kind, const char *begun)
{
	char text[64], *rest = text;

	snprintf(text, sizeof text, "%s", kind + strspn(kind, "["));
	text[strcspn(text, "] ")] = '\0';
	for (const char *word; (word = strsep(&rest, "|"));) {
		if (strcmp(word, "INSTANCE") == 0)
			offer_list(args, ASK_AGENT, "instances", begun);
		else if (strcmp(word, "MIRROR") == 0)
			offer_list(args, ASK_SYNCD, "mirrors", begun);
		else if (strcmp(word, "NODE") == 0)
			offer_nodes(args, begun);
		else if (isupper((unsigned char)*word)) /* FILE, PATH */
			puts(":file");
		else if (strncmp(word, "--", 2) != 0 || *begun == '-')
			offer(word, begun);
	}
}

/* ---- verbs and options ---- */

static const struct option *option_of(const char *word)
{
	for (const struct option *option = verb_options; option->name; option++)
		if (strcmp(option->name, word + 2) == 0)
			return option;
	return NULL;
}

static void offer_options(const struct verb *verb, const char *begun)
{
	for (const struct option *option = verb_options; option->name; option++) {
		char word[32];

		if (verb && !(option->val & (verb->options | OPTIONS_ALL_VERBS)))
			continue;
		snprintf(word, sizeof word, "--%s", option->name);
		offer(word, begun);
	}
}

static void offer_value(const struct verb_args *args, int option, const char *begun)
{
	switch (option) {
	case OPTION_RUN_DIR:
	case OPTION_STATE_DIR:
		puts(":dir");
		break;
	case OPTION_NODE:
	case OPTION_FROM:
		offer_nodes(args, begun);
		break;
	default:
		puts(":file");
	}
}

/* Word number `place` of a verb, its options not counted: an option's value stands within the same
 * bracket. NULL: it takes no more. */
static const char *kind_at(const struct verb *verb, int place)
{
	const char *at = verb->usage + strcspn(verb->usage, " ");
	bool value = false;

	for (at += strspn(at, " "); *at; at += strcspn(at, " "), at += strspn(at, " ")) {
		const char *bare = at + strspn(at, "[");
		const bool closed = at[strcspn(at, " ") - 1] == ']';

		if (strncmp(bare, "--", 2) == 0) {
			value = !closed;
			continue;
		}
		if (!value && place-- == 0)
			return at;
		value = false;
	}
	return NULL;
}

static const struct verb *verb_of(const char *word)
{
	for (const struct verb *verb = verbs; verb->name; verb++)
		if (strcmp(verb->name, word) == 0)
			return verb;
	return NULL;
}

int complete(int count, char *const *words, struct verb_args *args)
{
	const char *begun = count ? words[count - 1] : "", *kind;
	const struct option *open = NULL; /* the word before is one that takes a value */
	const struct verb *verb = NULL;
	int place = 0;

	for (int i = 0; i < count - 1; i++) {
		if (open) {
			if (open->val == OPTION_RUN_DIR)
				args->run_dir = words[i];
			open = NULL;
		} else if (strncmp(words[i], "--", 2) == 0) {
			open = option_of(words[i]);
			if (open && open->has_arg != required_argument)
				open = NULL;
		} else if (!verb) {
			verb = verb_of(words[i]);
			if (!verb)
				return VERB_OK;
		} else {
			place++;
		}
	}
	if (open) {
		offer_value(args, open->val, begun);
		return VERB_OK;
	}
	if (*begun == '-')
		offer_options(verb, begun);
	for (const struct verb *any = verbs; !verb && any->name; any++)
		offer(any->name, begun);
	kind = verb ? kind_at(verb, place) : NULL;
	if (kind && *begun != '-')
		offer_kind(args, kind, begun);
	return VERB_OK;
}
