/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem conflicts: what is held because two nodes disagree, and edits that were kept aside.
 */
#include <stdio.h>

#include "ctl/ask.h"

static void print_side(const char *whose, const json_t *side)
{
	printf("    %-8s generation %lld", whose, (long long)ask_number(side, "generation"));
	if (*ask_text(side, "author", ""))
		printf(" by %s", ask_text(side, "author", ""));
	fputc('\n', stdout);
}

static void print_conflict(const json_t *conflict)
{
	const char *mirror = ask_text(conflict, "mirror", "?");
	const char *node = ask_text(conflict, "node", "?");
	json_t *path;
	size_t i;

	printf("%s: %s with %s since %s: ", mirror, ask_text(conflict, "kind", "conflict"), node,
	       ask_text(conflict, "since", "an unknown time"));
	ask_print(stdout, ask_text(conflict, "text", ""), 4);
	fputc('\n', stdout);
	print_side("here:", json_object_get(conflict, "local"));
	print_side("there:", json_object_get(conflict, "remote"));
	json_array_foreach (json_object_get(conflict, "paths"), i, path) {
		printf("    ");
		ask_print(stdout, ask_text(path, "path", "?"), 4);
		printf("  (here: %s, on %s: %s)\n", ask_text(path, "local", "nothing"), node,
		       ask_text(path, "remote", "nothing"));
	}
	printf("    see both: tandem show %s NODE PATH\n", mirror);
	printf("    take one: tandem sync --from NODE %s\n", mirror);
}

int verb_conflicts(const struct verb_args *args)
{
	char why[ASK_WHY_ROOM];
	json_t *request = json_pack("{s:s}", "command", "conflicts");
	json_t *answer = NULL, *conflicts, *item;
	size_t i;
	int r;

	if (args->words_count)
		json_object_set_new(request, "mirror", json_string(args->words[0]));
	r = ask(args, ASK_SYNCD, request, ASK_QUICK_US, &answer, why);
	if (args->json && answer) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		fputc('\n', stdout);
	}
	if (r != VERB_OK) {
		ask_complain(why);
		json_decref(answer);
		return r;
	}
	conflicts = json_object_get(answer, "conflicts");
	r = json_array_size(conflicts) ? VERB_FAILED : VERB_OK;
	if (!args->json) {
		json_array_foreach (conflicts, i, item)
			print_conflict(item);
		json_array_foreach (json_object_get(answer, "rescued"), i, item) {
			printf("%s: an edit to ", ask_text(item, "mirror", "?"));
			ask_print(stdout, ask_text(item, "path", "?"), 4);
			printf(" was kept aside at %s: tandem show --rescued %s %s ",
			       ask_text(item, "since", "an unknown time"),
			       ask_text(item, "mirror", "?"), ask_text(answer, "node", "NODE"));
			ask_print(stdout, ask_text(item, "path", "?"), 4);
			fputc('\n', stdout);
		}
		if (r == VERB_OK && json_array_size(json_object_get(answer, "rescued")) == 0)
			puts("no conflicts");
	}
	json_decref(answer);
	return r;
}
