/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem status: asks both daemons of this node and draws what they say (ctl/screen).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/screen.h"

struct look {
	struct conf_snapshot snapshot;
	char conf_why[1024], agent_why[ASK_WHY_ROOM], syncd_why[ASK_WHY_ROOM];
	json_t *agent, *syncd;
};

/* The file tells the order of the nodes, and which daemons there should be. A member of the control
 * group may not be able to read it, and sees the status all the same. */
static void read_conf(const struct verb_args *args, struct look *look)
{
	struct conf_problems problems = {0};
	int r = conf_snapshot_load(args->config, args->node, 1, &problems, &look->snapshot);

	if (r < 0) {
		look->snapshot = (struct conf_snapshot){.fd = -1};
		if (problems.errors)
			snprintf(look->conf_why, sizeof look->conf_why,
				 "%s: %d error%s; `tandem check` names them", args->config,
				 problems.errors, problems.errors == 1 ? "" : "s");
		else if (r != -EACCES)
			snprintf(look->conf_why, sizeof look->conf_why, "%s: %s", args->config,
				 strerror(-r));
	}
	conf_problems_release(&problems);
}

static const json_t *ask_status(const struct verb_args *args, enum ask_daemon daemon,
				json_t **ret_answer, char why[ASK_WHY_ROOM])
{
	int r = ask(args, daemon, json_pack("{s:s}", "command", "status"), ASK_QUICK_US, ret_answer,
		    why);

	return r == VERB_OK ? *ret_answer : NULL;
}

static int look_once(const struct verb_args *args, bool clear)
{
	struct look look = {.snapshot.fd = -1};
	struct screen_input input;
	struct screen screen;
	json_t *object;
	int r;

	read_conf(args, &look);
	input = (struct screen_input){
		.agent = ask_status(args, ASK_AGENT, &look.agent, look.agent_why),
		.syncd = ask_status(args, ASK_SYNCD, &look.syncd, look.syncd_why),
		.agent_why = look.agent_why,
		.syncd_why = look.syncd_why,
		.conf = look.snapshot.conf,
		.conf_why = look.conf_why[0] ? look.conf_why : NULL,
	};
	screen_judge(&input, &screen);
	if (args->json) {
		object = screen_json(&screen);
		json_dumpf(object, stdout, args->watch ? JSON_COMPACT : JSON_INDENT(2));
		fputc('\n', stdout);
		json_decref(object);
	} else {
		if (clear)
			fputs("\033[H\033[J", stdout);
		screen_print(&screen, stdout);
	}
	fflush(stdout);
	r = screen.exit;
	screen_release(&screen);
	json_decref(look.agent);
	json_decref(look.syncd);
	conf_snapshot_release(&look.snapshot);
	return r;
}

int verb_status(const struct verb_args *args)
{
	bool clear = !args->json && isatty(STDOUT_FILENO);
	int r;

	for (;;) {
		r = look_once(args, args->watch && clear);
		/* Ended by ^C, or by the reader of a pipe that has seen enough. */
		if (!args->watch || ferror(stdout))
			return r;
		nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
	}
}
