/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ask.h"

#include <errno.h>
#include <string.h>

#define PATIENCE_US 3000000u /* then a person wants to know what is waited for */

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

void ask_complain(const char *why)
{
	fputs("tandem: ", stderr);
	ask_print(stderr, why, 4);
	fputc('\n', stderr);
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

void ask_begin(const struct verb_args *args, enum ask_daemon daemon, json_t *request,
	       unsigned long timeout_us, const char *aside, struct asking *ret_asking)
{
	*ret_asking = (struct asking){.daemon = daemon,
				      .aside = aside,
				      .began_us = loop_clock_us(),
				      .timeout_us = timeout_us};
	snprintf(ret_asking->path, sizeof ret_asking->path, "%s/%s.sock", args->run_dir,
		 daemon == ASK_AGENT ? "agent" : "syncd");
	ret_asking->error = ctl_ask(ret_asking->path, request, timeout_us, &ret_asking->question);
}

/* What is left of after_us since it was asked. */
static uint64_t left_us(const struct asking *asking, uint64_t after_us)
{
	const uint64_t end_us = asking->began_us + after_us, now = loop_clock_us();

	return end_us > now ? end_us - now : 0;
}

static int await(const struct asking *asking, json_t **ret_answer)
{
	int r;

	if (!asking->question)
		return asking->error;
	if (!asking->aside)
		return ctl_await(asking->question, asking->timeout_us, on_progress, NULL,
				 ret_answer);
	r = ctl_await(asking->question, left_us(asking, PATIENCE_US), on_progress, NULL,
		      ret_answer);
	if (r != -ETIMEDOUT)
		return r;
	fprintf(stderr, "%s does not answer yet; waiting another %llu s at most (%s)\n",
		ask_name(asking->daemon),
		(unsigned long long)(left_us(asking, asking->timeout_us) + 999999) / 1000000u,
		asking->aside);
	return ctl_await(asking->question, left_us(asking, asking->timeout_us), on_progress, NULL,
			 ret_answer);
}

static void explain(const struct asking *asking, int error, char why[ASK_WHY_ROOM])
{
	const char *name = ask_name(asking->daemon);

	if (error == -ENOENT || error == -ECONNREFUSED)
		snprintf(
			why, ASK_WHY_ROOM,
			"%s does not run here (nobody answers at %s); start it: systemctl start %s",
			name, asking->path, name);
	else if (error == -EACCES || error == -EPERM)
		snprintf(why, ASK_WHY_ROOM,
			 "%s may not be opened; be root, or a member of the control group",
			 asking->path);
	else if (error == -ETIMEDOUT)
		snprintf(
			why, ASK_WHY_ROOM,
			"%s does not answer within %llu s; look into its log: journalctl -u %s%s%s",
			name, (unsigned long long)asking->timeout_us / 1000000u, name,
			asking->aside ? "; " : "", asking->aside ? asking->aside : "");
	else if (error == -ENAMETOOLONG)
		snprintf(why, ASK_WHY_ROOM, "%s is too long for a socket; use a shorter --run-dir",
			 asking->path);
	else
		snprintf(why, ASK_WHY_ROOM,
			 "%s broke off (%s); look into its log: journalctl -u %s", name,
			 strerror(-error), name);
}

int ask_end(struct asking *asking, json_t **ret_answer, char why[ASK_WHY_ROOM])
{
	json_t *answer = NULL;
	int error = await(asking, &answer);

	asking->question = ctl_question_free(asking->question);
	if (error) {
		explain(asking, error, why);
		return VERB_NO_CONTACT;
	}
	*ret_answer = answer;
	if (json_is_true(json_object_get(answer, "ok")))
		return VERB_OK;
	snprintf(why, ASK_WHY_ROOM, "%s", ask_text(answer, "error", "no reason was given"));
	return VERB_FAILED;
}

int ask(const struct verb_args *args, enum ask_daemon daemon, json_t *request,
	unsigned long timeout_us, json_t **ret_answer, char why[ASK_WHY_ROOM])
{
	struct asking asking;

	ask_begin(args, daemon, request, timeout_us, NULL, &asking);
	return ask_end(&asking, ret_answer, why);
}
