/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch: the tables of verbs and options, which the command line is read by (dispatch.c) and
 * completed by (complete.c).
 */
#ifndef TANDEM_DISPATCH_H
#define TANDEM_DISPATCH_H

#include <getopt.h>

#include "ctl/verbs.h"

enum {
	OPTION_HELP = 1 << 0,
	OPTION_VERSION = 1 << 1,
	OPTION_RUN_DIR = 1 << 2,
	OPTION_STATE_DIR = 1 << 3,
	OPTION_CONFIG = 1 << 4,
	OPTION_NODE = 1 << 5,
	OPTION_JSON = 1 << 6,
	OPTION_WATCH = 1 << 7,
	OPTION_FROM = 1 << 8,
	OPTION_RESCUED = 1 << 9,
	OPTION_ALL = 1 << 10,
	OPTION_LIFT = 1 << 11,
	OPTION_DRY_RUN = 1 << 12,
	/* Where things are: for all verbs, whether they look there or not. */
	OPTIONS_PLACES = OPTION_RUN_DIR | OPTION_STATE_DIR | OPTION_CONFIG | OPTION_NODE,
	OPTIONS_ALL_VERBS = OPTION_HELP | OPTION_VERSION | OPTIONS_PLACES
};

struct verb {
	const char *name;
	int (*run)(const struct verb_args *args);
	int options; /* of those above; besides OPTIONS_ALL_VERBS */
	int words_min, words_max;
	const char *usage; /* what it takes, as people write it: its words are read by complete() */
	const char *summary;
};

extern const struct option verb_options[]; /* their val is one of the above */
extern const struct verb verbs[];	   /* up to one without a name */

/* For a shell: prints what the last of the words, which may be empty, may become, one a line.
 * ":file" and ":dir": any path. args: what holds unless the words say otherwise. */
int complete(int count, char *const *words, struct verb_args *args);

#endif
