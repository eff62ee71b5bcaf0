/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem show: one node's version of a file, as the replicator holds it, byte by byte on stdout.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ask.h"

static int write_base64(const char *text)
{
	size_t size = strlen(text);
	unsigned char *bytes = malloc(size + 1);
	int padding = size >= 2 ? (text[size - 1] == '=') + (text[size - 2] == '=') : 0;
	int n;

	if (!bytes)
		return VERB_FAILED;
	n = size <= INT32_MAX ? EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)size) : -1;
	if (n >= padding)
		fwrite(bytes, 1, (size_t)(n - padding), stdout);
	free(bytes);
	return n < 0 ? VERB_FAILED : VERB_OK;
}

int verb_show(const struct verb_args *args)
{
	char why[ASK_WHY_ROOM];
	json_t *request = json_pack("{s:s, s:s, s:s, s:s}", "command", "show", "mirror",
				    args->words[0], "node", args->words[1], "path", args->words[2]);
	json_t *answer = NULL;
	const json_t *content;
	int r;

	if (!request) {
		fprintf(stderr, "tandem: the names must be UTF-8\n");
		return VERB_USAGE;
	}
	if (args->rescued)
		json_object_set_new(request, "rescued", json_true());
	r = ask(args, ASK_SYNCD, request, ASK_QUICK_US, &answer, why);
	if (r != VERB_OK) {
		ask_complain(why);
		json_decref(answer);
		return r;
	}
	fprintf(stderr, "%s: %s, mode %s, owner %s:%s\n", args->words[2],
		ask_text(answer, "type", "?"), ask_text(answer, "mode", "?"),
		ask_text(answer, "owner", "?"), ask_text(answer, "group", "?"));
	content = json_object_get(answer, "text");
	if (json_is_string(content))
		fwrite(json_string_value(content), 1, json_string_length(content), stdout);
	else if (json_object_get(answer, "base64"))
		r = write_base64(ask_text(answer, "base64", ""));
	else if (json_object_get(answer, "target"))
		printf("-> %s\n", ask_text(answer, "target", "?"));
	json_decref(answer);
	if (fflush(stdout) != 0)
		return VERB_FAILED;
	return r;
}
