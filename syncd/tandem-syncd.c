/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/conf.h"
#include "shared/log.h"
#include "syncd/keeper.h"
#include "syncd/runner.h"

static void print_help(FILE *out)
{
	fputs("usage: tandem-syncd [options]\n"
	      "keeps the mirrored paths of this node and its peers the same\n"
	      "\n"
	      "  --config FILE     the cluster's configuration (/etc/tandem/tandem.conf)\n"
	      "  --node NAME       which node of it this is (found by its addresses)\n"
	      "  --run-dir DIR     control socket and scratch space (/run/tandem)\n"
	      "  --state-dir DIR   node key, history, journal (/var/lib/tandem)\n"
	      "  --foreground      log to stderr\n"
	      "  --check           say what is wrong with the configuration, and leave\n"
	      "  --recover         complete or undo what was being committed when the host went "
	      "down,\n"
	      "                    and leave: to be run before nginx starts\n"
	      "  --version, --help\n",
	      out);
}

static int check(const char *path, const char *node)
{
	struct conf_problems problems = {0};
	struct conf_snapshot snapshot;
	int r = conf_snapshot_load(path, node, 1, &problems, &snapshot);

	if (r == 0)
		conf_host_check(snapshot.conf, &problems);
	conf_problems_print(&problems, path, stderr);
	if (r < 0 && problems.errors == 0)
		fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(-r));
	if (r == 0)
		conf_snapshot_release(&snapshot);
	r = r < 0 || problems.errors > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	conf_problems_release(&problems);
	return r;
}

int main(int argc, char **argv)
{
	enum { CONFIG = 256, NODE, RUN_DIR, STATE_DIR, FOREGROUND, CHECK, RECOVER, VERSION, HELP };
	static const struct option longs[] = {
		{"config", required_argument, NULL, CONFIG},
		{"node", required_argument, NULL, NODE},
		{"run-dir", required_argument, NULL, RUN_DIR},
		{"state-dir", required_argument, NULL, STATE_DIR},
		{"foreground", no_argument, NULL, FOREGROUND},
		{"check", no_argument, NULL, CHECK},
		{"recover", no_argument, NULL, RECOVER},
		{"version", no_argument, NULL, VERSION},
		{"help", no_argument, NULL, HELP},
		{0},
	};
	struct runner_options options = {
		.config_path = "/etc/tandem/tandem.conf",
		.run_dir = "/run/tandem",
		.state_dir = "/var/lib/tandem",
	};
	bool foreground = false, wants_check = false, wants_recovery = false;
	struct log_options log = {
		.ident = "tandem-syncd", .facility = LOG_DAEMON, .level = LOG_INFO};

	for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		switch (c) {
		case CONFIG:
			options.config_path = optarg;
			break;
		case NODE:
			options.node = optarg;
			break;
		case RUN_DIR:
			options.run_dir = optarg;
			break;
		case STATE_DIR:
			options.state_dir = optarg;
			break;
		case FOREGROUND:
			foreground = true;
			break;
		case CHECK:
			wants_check = true;
			break;
		case RECOVER:
			wants_recovery = true;
			break;
		case VERSION:
			puts("tandem-syncd " TANDEM_VERSION);
			return EXIT_SUCCESS;
		case HELP:
			print_help(stdout);
			return EXIT_SUCCESS;
		default:
			print_help(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "tandem-syncd: unexpected argument \"%s\"; see --help\n",
			argv[optind]);
		return 2;
	}
	if (wants_check)
		return check(options.config_path, options.node);

	log.to_syslog = !foreground && getenv("JOURNAL_STREAM") == NULL && !isatty(STDERR_FILENO);
	options.log_to_syslog = log.to_syslog;
	log_open(&log);
	if (geteuid() != 0) {
		fprintf(stderr,
			"tandem-syncd: must be started by root (it gives up what each part does "
			"not need): use sudo, or the service\n");
		return EXIT_FAILURE;
	}
	if (wants_recovery)
		return keeper_recover(options.state_dir);
	return runner_main(&options);
}
