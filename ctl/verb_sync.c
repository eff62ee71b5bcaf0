/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem sync: look at everything again and compare with the peers; with --from NODE, that node's
 * version wins.
 */
#include <stdio.h>

#include "ctl/ask.h"

int verb_sync(const struct verb_args *args)
{
	char why[ASK_WHY_ROOM];
	json_t *request = json_pack("{s:s}", "command", "sync");
	json_t *answer = NULL, *mirror;
	size_t i;
	int r;

	if (args->words_count)
		json_object_set_new(request, "mirror", json_string(args->words[0]));
	if (args->from)
		json_object_set_new(request, "from", json_string(args->from));
	r = ask(args, ASK_SYNCD, request, ASK_LONG_US, &answer, why);
	if (r != VERB_OK) {
		ask_complain(why);
		json_decref(answer);
		return r;
	}
	json_array_foreach (json_object_get(answer, "mirrors"), i, mirror) {
		json_int_t generation = ask_number(mirror, "generation");

		printf("%s: ", ask_text(mirror, "name", "?"));
		ask_print(stdout, ask_text(mirror, "text", ask_text(mirror, "outcome", "done")), 4);
		if (generation >= 0)
			printf(" (generation %lld)", (long long)generation);
		fputc('\n', stdout);
	}
	json_decref(answer);
	return VERB_OK;
}
