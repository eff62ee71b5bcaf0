/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ask.h"

#include <errno.h>
#include <string.h>

#include "shared/ctl.h"

const char *ask_name(enum ask_daemon daemon)
{
	return daemon == ASK_AGENT ? "tandem-agent" : "tandem-syncd";
}

void ask_print(FILE *out, const char *text, int indent)
{
	for (const char *p = text; *p; p++) {
		if (*p == '\n' && p[1] != '\0')
			fprintf(out, "\n%*s", indent, "");
		else if (*p == '\n' || *p == '\r')
			continue;
		else if (*p == '\t')
			fputc(' ', out);
		else if ((unsigned char)*p < 0x20 || *p == 0x7f)
			fprintf(out, "\\x%02x", (unsigned)(unsigned char)*p);
		/* U+0080 to U+009f are control characters as well. */
		else if ((unsigned char)*p == 0xc2 && (unsigned char)p[1] >= 0x80 &&
			 (unsigned char)p[1] < 0xa0)
			fprintf(out, "\\x%02x", (unsigned)(unsigned char)*++p);
		else
			fputc(*p, out);
	}
}

const char *ask_text(const json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : otherwise;
}

json_int_t ask_number(const json_t *object, const char *key)
{
	const json_t *number = json_object_get(object, key);

	return json_is_number(number) ? (json_int_t)json_number_value(number) : -1;
}

static void on_progress(void *ctx, const json_t *object)
{
	const char *text = ask_text(object, "progress", NULL);

	(void)ctx;
	if (!text)
		return;
	ask_print(stderr, text, 4);
	fputc('\n', stderr);
}

int ask(const struct verb_args *args, enum ask_daemon daemon, json_t *request,
	unsigned long timeout_us, json_t **ret_answer, char why[ASK_WHY_ROOM])
{
	char path[4096];
	json_t *answer = NULL;
	int r;

	snprintf(path, sizeof path, "%s/%s.sock", args->run_dir,
		 daemon == ASK_AGENT ? "agent" : "syncd");
	r = ctl_call(path, request, timeout_us, on_progress, NULL, &answer);
	if (r == 0) {
		*ret_answer = answer;
		if (json_is_true(json_object_get(answer, "ok")))
			return VERB_OK;
		snprintf(why, ASK_WHY_ROOM, "%s", ask_text(answer, "error", "no reason was given"));
		return VERB_FAILED;
	}
	if (r == -ENOENT || r == -ECONNREFUSED)
		snprintf(
			why, ASK_WHY_ROOM,
			"%s does not run here (nobody answers at %s); start it: systemctl start %s",
			ask_name(daemon), path, ask_name(daemon));
	else if (r == -EACCES || r == -EPERM)
		snprintf(why, ASK_WHY_ROOM,
			 "%s may not be opened; be root, or a member of the control group", path);
	else if (r == -ETIMEDOUT)
		snprintf(why, ASK_WHY_ROOM,
			 "%s does not answer within %lu s; look into its log: journalctl -u %s",
			 ask_name(daemon), timeout_us / 1000000u, ask_name(daemon));
	else if (r == -ENAMETOOLONG)
		snprintf(why, ASK_WHY_ROOM, "%s is too long for a socket; use a shorter --run-dir",
			 path);
	else
		snprintf(why, ASK_WHY_ROOM,
			 "%s broke off (%s); look into its log: journalctl -u %s", ask_name(daemon),
			 strerror(-r), ask_name(daemon));
	return VERB_NO_CONTACT;
}
