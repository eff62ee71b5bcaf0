/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem handover, tandem maintenance: somebody else shall hold the addresses. Both wait until the
 * successor answers, and say who has them.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"

static int tell(const json_t *instance, bool maintenance)
{
	const char *name = ask_text(instance, "name", "?");
	const char *outcome = ask_text(instance, "outcome", "?");
	const char *master = ask_text(instance, "master", NULL);
	const json_int_t took_us = ask_number(instance, "took_us");

	printf("%s: ", name);
	if (strcmp(outcome, "nobody-answered") == 0) {
		printf("no other node answered: %s still holds it\n",
		       master ? master : "this node");
		return maintenance ? VERB_PENDING : VERB_FAILED;
	}
	if (strcmp(outcome, "handed-over") == 0 && took_us >= 0)
		printf("%s has it, after %.0f ms\n", master ? master : "another node",
		       (double)took_us / 1e3);
	else if (strcmp(outcome, "lifted") == 0)
		printf("the ordinary rule again; %s%s\n", master ? master : "nobody is heard",
		       master ? " has it" : "");
	else
		printf("was not held here; %s%s\n", master ? master : "nobody is heard",
		       master ? " has it" : "");
	return VERB_OK;
}

static int move(const struct verb_args *args, json_t *request, bool maintenance)
{
	char why[ASK_WHY_ROOM];
	json_t *answer = NULL, *instance;
	size_t i;
	int worst = VERB_OK;
	int r = ask(args, ASK_AGENT, request, ASK_LONG_US, &answer, why);

	if (r != VERB_OK) {
		ask_complain(why);
		json_decref(answer);
		return r;
	}
	if (args->json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		fputc('\n', stdout);
	}
	json_array_foreach (json_object_get(answer, "instances"), i, instance) {
		const char *outcome = ask_text(instance, "outcome", "?");

		if (!args->json)
			r = tell(instance, maintenance);
		else if (strcmp(outcome, "nobody-answered") == 0)
			r = maintenance ? VERB_PENDING : VERB_FAILED;
		if (r != VERB_OK)
			worst = r;
	}
	json_decref(answer);
	return worst;
}

int verb_handover(const struct verb_args *args)
{
	json_t *request;

	if (args->all == (args->words_count > 0)) {
		fputs("tandem: name one instance, or say --all; usage: tandem handover [--lift] "
		      "INSTANCE|--all\n",
		      stderr);
		return VERB_USAGE;
	}
	request = json_pack("{s:s s:b}", "command", "handover", "lift", args->lift);
	if (args->words_count)
		json_object_set_new(request, "instance", json_string(args->words[0]));
	return move(args, request, false);
}

int verb_maintenance(const struct verb_args *args)
{
	const bool on = strcmp(args->words[0], "on") == 0;
	int r;

	if (!on && strcmp(args->words[0], "off") != 0) {
		fputs("tandem: usage: tandem maintenance on|off\n", stderr);
		return VERB_USAGE;
	}
	r = move(args, json_pack("{s:s s:b}", "command", "maintenance", "on", on), true);
	if ((r == VERB_OK || r == VERB_PENDING) && !args->json)
		printf("maintenance is %s\n", on ? "on: this node takes an address only where no "
						   "other answers"
						 : "off");
	return r;
}
