/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs: the command line is a table of verbs (dispatch.c), one file for each.
 *
 * A verb prints what it has to say on stdout, what went wrong on stderr, and returns the status
 * that the program exits with.
 */
#ifndef TANDEM_VERBS_H
#define TANDEM_VERBS_H

#include <jansson.h>
#include <stdbool.h>

/* Exit statuses; tandem(8) lists them. */
enum verb_exit {
	VERB_OK = 0,	     /* done; in step and healthy */
	VERB_PENDING = 1,    /* something is on its way; `check`: warnings only */
	VERB_FAILED = 2,     /* failed, refused, conflict or diverged; `check`: errors */
	VERB_NO_CONTACT = 3, /* a daemon or a peer does not answer */
	VERB_USAGE = 64	     /* the command line is wrong (EX_USAGE) */
};

struct verb_args {
	const char *run_dir;
	const char *state_dir;
	const char *config;
	const char *node; /* NULL: by address */
	const char *from; /* sync */
	bool json;
	bool watch;
	bool rescued;		  /* show */
	bool all, lift;		  /* handover */
	bool dry_run;		  /* reload */
	const char *const *words; /* after the verb */
	int words_count;
};

/* argv as main() has it; reorders it. */
int verb_dispatch(int argc, char **argv);

int verb_check(const struct verb_args *args);
int verb_conflicts(const struct verb_args *args);
int verb_handover(const struct verb_args *args);
int verb_keygen(const struct verb_args *args);
int verb_maintenance(const struct verb_args *args);
int verb_metrics(const struct verb_args *args);
int verb_reload(const struct verb_args *args);
/* Which daemons there should be is known. VERB_PENDING: an instance would leave MASTER. */
int verb_reload_dry_run(const struct verb_args *args, bool agent_needed, bool syncd_needed);
int verb_show(const struct verb_args *args);
int verb_status(const struct verb_args *args);
int verb_sync(const struct verb_args *args);

#endif
