/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runner: the parent process of tandem-syncd.
 *
 * Root; parses the configuration once and hands out numbered snapshots; makes the sockets that need
 * rights; forks keeper and link and restarts them; runs `validate` and `reload` of the snapshot's
 * mirrors, named by place (keeper_msg.h), validate inside a view (view.h). It parses nothing that a
 * stranger sends and opens neither the store nor a mirrored file.
 *
 * A configuration never changes under a keeper: on reload the new file is checked whole, then the
 * keeper finishes what it has begun and leaves, and keeper and link start again with the new
 * snapshot. A wrong file changes nothing.
 */
#ifndef TANDEM_RUNNER_H
#define TANDEM_RUNNER_H

struct runner_options {
	const char *config_path;
	const char *node; /* NULL: found by its addresses */
	const char *run_dir;
	const char *state_dir;
	int log_to_syslog;
};

/* Until SIGTERM or SIGINT. Returns the exit status. */
int runner_main(const struct runner_options *options);

#endif
