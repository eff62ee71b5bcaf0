/* SPDX-License-Identifier: Apache-2.0 */
/* tandem-agent: who holds the service addresses? */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent_runner.h"

static void usage(FILE *out)
{
	fputs("usage: tandem-agent [--config FILE] [--node NAME] [--run-dir DIR] [--state-dir "
	      "DIR]\n"
	      "                    [--foreground] [--check]\n"
	      "       tandem-agent --version | --help\n"
	      "\n"
	      "Holds the service addresses of this node (VRRP). Stays in the foreground; SIGHUP\n"
	      "reloads the file, SIGTERM hands the addresses over and stops.\n"
	      "\n"
	      "  --config FILE    default /etc/tandem/tandem.conf\n"
	      "  --node NAME      which node of the file this is; default: found by its addresses\n"
	      "  --run-dir DIR    default /run/tandem\n"
	      "  --state-dir DIR  default /var/lib/tandem\n"
	      "  --foreground     log to standard error\n"
	      "  --check          check the file, print every problem, and exit\n",
	      out);
}

int main(int argc, char **argv)
{
	enum {
		OPT_CONFIG = 256,
		OPT_NODE,
		OPT_RUN_DIR,
		OPT_STATE_DIR,
		OPT_FOREGROUND,
		OPT_CHECK,
		OPT_VERSION,
		OPT_HELP
	};
	static const struct option longs[] = {
		{"config", required_argument, NULL, OPT_CONFIG},
		{"node", required_argument, NULL, OPT_NODE},
		{"run-dir", required_argument, NULL, OPT_RUN_DIR},
		{"state-dir", required_argument, NULL, OPT_STATE_DIR},
		{"foreground", no_argument, NULL, OPT_FOREGROUND},
		{"check", no_argument, NULL, OPT_CHECK},
		{"version", no_argument, NULL, OPT_VERSION},
		{"help", no_argument, NULL, OPT_HELP},
		{NULL, 0, NULL, 0},
	};
	struct agent_options options = {
		.config = "/etc/tandem/tandem.conf",
		.run_dir = "/run/tandem",
		.state_dir = "/var/lib/tandem",
	};
	bool check = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (opt) {
		case OPT_CONFIG:
			options.config = optarg;
			break;
		case OPT_NODE:
			options.node = optarg;
			break;
		case OPT_RUN_DIR:
			options.run_dir = optarg;
			break;
		case OPT_STATE_DIR:
			options.state_dir = optarg;
			break;
		case OPT_FOREGROUND:
			options.foreground = true;
			break;
		case OPT_CHECK:
			check = true;
			break;
		case OPT_VERSION:
			puts("tandem-agent " TANDEM_VERSION);
			return 0;
		case OPT_HELP:
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "tandem-agent: what is \"%s\"?\n", argv[optind]);
		usage(stderr);
		return 2;
	}
	return check ? agent_runner_check(&options) : agent_runner_main(&options);
}
