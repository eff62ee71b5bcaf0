/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem reload: both daemons read tandem.conf again. A daemon that finds it wrong keeps what it
 * has; what it found is printed as `tandem check` would.
 */
#include <stdio.h>

#include "ctl/ask.h"
#include "shared/conf.h"

static void begin(const struct verb_args *args, enum ask_daemon daemon, struct asking *ret_asking)
{
	ask_begin(args, daemon, json_pack("{s:s}", "command", "reload"), ASK_RELOAD_US,
		  "it reloads when it goes on, whether anybody waits or not", ret_asking);
}

static int end(struct asking *asking, bool needed)
{
	const char *name = ask_name(asking->daemon);
	char why[ASK_WHY_ROOM];
	json_t *answer = NULL;
	int r = ask_end(asking, &answer, why);

	if (r == VERB_OK) {
		const char *text = ask_text(answer, "snapshot", NULL);

		if (text)
			printf("%s: reloaded, snapshot %s\n", name, text);
		else
			printf("%s: reloaded, snapshot %lld\n", name,
			       (long long)ask_number(answer, "snapshot"));
	} else if (r == VERB_NO_CONTACT && !needed) {
		r = VERB_OK;
	} else {
		fprintf(stderr, "%s%s", r == VERB_FAILED ? name : "tandem",
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
	struct asking ask_agent, ask_syncd;
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
	begin(args, ASK_AGENT, &ask_agent);
	begin(args, ASK_SYNCD, &ask_syncd);
	agent = end(&ask_agent, agent_needed);
	syncd = end(&ask_syncd, syncd_needed);
	if (r < 0 && agent == VERB_NO_CONTACT && syncd == VERB_NO_CONTACT)
		conf_problems_print(&problems, args->config, stderr);
	conf_snapshot_release(&snapshot);
	conf_problems_release(&problems);
	if (agent == VERB_FAILED || syncd == VERB_FAILED)
		return VERB_FAILED;
	return agent != VERB_OK ? agent : syncd;
}
