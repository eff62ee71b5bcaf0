/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem reload: both daemons read tandem.conf again. A daemon that finds it wrong keeps what it
 * has; what it found is printed as `tandem check` would.
 */
#include <stdio.h>

#include "ctl/ask.h"
#include "shared/conf.h"

static int reload(const struct verb_args *args, enum ask_daemon daemon, bool needed)
{
	char why[ASK_WHY_ROOM];
	json_t *answer = NULL;
	int r = ask(args, daemon, json_pack("{s:s}", "command", "reload"), ASK_LONG_US, &answer,
		    why);

	if (r == VERB_OK) {
		const char *text = ask_text(answer, "snapshot", NULL);

		if (text)
			printf("%s: reloaded, snapshot %s\n", ask_name(daemon), text);
		else
			printf("%s: reloaded, snapshot %lld\n", ask_name(daemon),
			       (long long)ask_number(answer, "snapshot"));
	} else if (r == VERB_NO_CONTACT && !needed) {
		r = VERB_OK;
	} else {
		fprintf(stderr, "%s%s", r == VERB_FAILED ? ask_name(daemon) : "tandem",
			r == VERB_FAILED ? " keeps the old configuration: " : ": ");
		ask_print(stderr, why, 4);
		fputc('\n', stderr);
	}
	json_decref(answer);
	return r;
}

int verb_reload(const struct verb_args *args)
{
	struct conf_problems problems = {0};
	struct conf_snapshot snapshot = {.fd = -1};
	bool agent_needed = true, syncd_needed = true;
	int agent, syncd, r;

	if (args->json && !args->dry_run) {
		fputs("tandem: reload takes --json with --dry-run only\n", stderr);
		return VERB_USAGE;
	}

	/* A daemon that the file gives nothing to do need not run. Here the file is only looked at;
	 * what is wrong with it the daemons say, since theirs is the reading that counts. */
	r = conf_snapshot_load(args->config, args->node, 1, &problems, &snapshot);
	if (r == 0) {
		agent_needed = snapshot.conf->vrrps_count > 0;
		syncd_needed = snapshot.conf->mirrors_count > 0;
	}
	if (args->dry_run) {
		conf_snapshot_release(&snapshot);
		conf_problems_release(&problems);
		return verb_reload_dry_run(args, agent_needed, syncd_needed);
	}
	agent = reload(args, ASK_AGENT, agent_needed);
	syncd = reload(args, ASK_SYNCD, syncd_needed);
	if (r < 0 && agent == VERB_NO_CONTACT && syncd == VERB_NO_CONTACT)
		conf_problems_print(&problems, args->config, stderr);
	conf_snapshot_release(&snapshot);
	conf_problems_release(&problems);
	if (agent == VERB_FAILED || syncd == VERB_FAILED)
		return VERB_FAILED;
	return agent != VERB_OK ? agent : syncd;
}
