/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch: from the words of the command line to a verb.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/dispatch.h"

const struct option verb_options[] = {
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"run-dir", required_argument, NULL, OPTION_RUN_DIR},
	{"state-dir", required_argument, NULL, OPTION_STATE_DIR},
	{"config", required_argument, NULL, OPTION_CONFIG},
	{"node", required_argument, NULL, OPTION_NODE},
	{"json", no_argument, NULL, OPTION_JSON},
	{"watch", no_argument, NULL, OPTION_WATCH},
	{"from", required_argument, NULL, OPTION_FROM},
	{"rescued", no_argument, NULL, OPTION_RESCUED},
	{"all", no_argument, NULL, OPTION_ALL},
	{"lift", no_argument, NULL, OPTION_LIFT},
	{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
	{NULL, 0, NULL, 0},
};

const struct verb verbs[] = {
	{"status", verb_status, OPTION_JSON | OPTION_WATCH, 0, 0, "status [--json] [--watch]",
	 "who holds the addresses, and is every node in step"},
	{"check", verb_check, 0, 0, 1, "check [FILE]",
	 "look through tandem.conf, and at this host with its eyes"},
	{"reload", verb_reload, OPTION_DRY_RUN | OPTION_JSON, 0, 0, "reload [--dry-run [--json]]",
	 "let both daemons read tandem.conf again, or say what would change"},
	{"handover", verb_handover, OPTION_ALL | OPTION_LIFT | OPTION_JSON, 0, 1,
	 "handover [--lift] INSTANCE|--all", "let another node hold the addresses"},
	{"maintenance", verb_maintenance, OPTION_JSON, 1, 1, "maintenance on|off",
	 "give up the addresses for as long as others answer"},
	{"metrics", verb_metrics, 0, 0, 0, "metrics", "the same as numbers, for monitoring"},
	{"sync", verb_sync, OPTION_FROM, 0, 1, "sync [--from NODE] [MIRROR]",
	 "compare with the peers now; --from settles a conflict"},
	{"conflicts", verb_conflicts, OPTION_JSON, 0, 1, "conflicts [--json] [MIRROR]",
	 "what is held because two nodes disagree"},
	{"show", verb_show, OPTION_RESCUED, 3, 3, "show [--rescued] MIRROR NODE PATH",
	 "print one node's version of a file"},
	{"keygen", verb_keygen, 0, 0, 0, "keygen", "make this node's key and print its pin"},
	{0},
};

static void print_help(FILE *out)
{
	fputs("usage: tandem [OPTION...] VERB [ARGUMENT...]\n\n", out);
	for (size_t i = 0; verbs[i].name; i++)
		fprintf(out, "  %-34s %s\n", verbs[i].usage, verbs[i].summary);
	fputs("  version, help\n\n"
	      "  --config FILE    /etc/tandem/tandem.conf\n"
	      "  --run-dir DIR    /run/tandem, where the control sockets are\n"
	      "  --state-dir DIR  /var/lib/tandem, where the key is\n"
	      "  --node NAME      which node this is, if its addresses do not say\n\n"
	      "exit status: 0 well, 1 pending, 2 failed, 3 no contact, 64 wrong usage; see "
	      "tandem(8)\n",
	      out);
}

static const char *option_name(int option)
{
	for (const struct option *o = verb_options; o->name; o++)
		if (o->val == option)
			return o->name;
	return "?";
}

static int wrong_options(const struct verb *verb, int given)
{
	for (int option = 1; option <= given; option <<= 1) {
		if (!(given & option & ~(verb->options | OPTIONS_ALL_VERBS)))
			continue;
		fprintf(stderr, "tandem: %s takes no --%s; usage: tandem %s\n", verb->name,
			option_name(option), verb->usage);
		return VERB_USAGE;
	}
	return VERB_OK;
}

int verb_dispatch(int argc, char **argv)
{
	struct verb_args args = {
		.run_dir = "/run/tandem",
		.state_dir = "/var/lib/tandem",
		.config = "/etc/tandem/tandem.conf",
	};
	const struct verb *verb = NULL;
	const char *word;
	int given = 0;

	if (argc > 1 && strcmp(argv[1], "complete") == 0)
		return complete(argc - 2, argv + 2, &args);
	optind = 0; /* from the beginning, also when a test calls this again */
	for (;;) {
		int option = getopt_long(argc, argv, "", verb_options, NULL);

		if (option < 0)
			break;
		if (option == '?') {
			fprintf(stderr, "tandem: `tandem help` shows what there is\n");
			return VERB_USAGE;
		}
		given |= option;
		switch (option) {
		case OPTION_RUN_DIR:
			args.run_dir = optarg;
			break;
		case OPTION_STATE_DIR:
			args.state_dir = optarg;
			break;
		case OPTION_CONFIG:
			args.config = optarg;
			break;
		case OPTION_NODE:
			args.node = optarg;
			break;
		case OPTION_FROM:
			args.from = optarg;
			break;
		}
	}
	args.json = given & OPTION_JSON;
	args.watch = given & OPTION_WATCH;
	args.rescued = given & OPTION_RESCUED;
	args.all = given & OPTION_ALL;
	args.lift = given & OPTION_LIFT;
	args.dry_run = given & OPTION_DRY_RUN;
	word = optind < argc ? argv[optind] : NULL;
	if (given & OPTION_VERSION || (word && strcmp(word, "version") == 0)) {
		printf("tandem %s\n", TANDEM_VERSION);
		return VERB_OK;
	}
	if (given & OPTION_HELP || (word && strcmp(word, "help") == 0)) {
		print_help(stdout);
		return VERB_OK;
	}
	if (!word) {
		print_help(stderr);
		return VERB_USAGE;
	}
	for (size_t i = 0; verbs[i].name; i++)
		if (strcmp(verbs[i].name, word) == 0)
			verb = &verbs[i];
	if (!verb) {
		fprintf(stderr,
			"tandem: there is no verb \"%s\"; `tandem help` shows what there is\n",
			word);
		return VERB_USAGE;
	}
	if (wrong_options(verb, given) != VERB_OK)
		return VERB_USAGE;
	args.words = (const char *const *)argv + optind + 1;
	args.words_count = argc - optind - 1;
	if (args.words_count < verb->words_min || args.words_count > verb->words_max) {
		fprintf(stderr, "tandem: too %s arguments; usage: tandem %s\n",
			args.words_count < verb->words_min ? "few" : "many", verb->usage);
		return VERB_USAGE;
	}
	return verb->run(&args);
}
