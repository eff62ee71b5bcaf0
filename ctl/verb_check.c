/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem check: everything that is wrong with the file, and with this host in its light.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/verbs.h"
#include "shared/conf.h"

/* What the file says is for a few eyes only, if there is a password in it. */
static bool readable_by_all(const char *path, const struct conf *conf)
{
	struct stat st;
	bool secret = false;

	for (int i = 0; i < conf->vrrps_count; i++)
		secret |= conf->vrrps[i].auth_pass && !conf->vrrps[i].auth_pass_file;
	return secret && stat(path, &st) == 0 && (st.st_mode & S_IROTH);
}

static void print_count(int count, const char *noun, const char *end)
{
	printf("%d %s%s%s", count, noun, count == 1 ? "" : "s", end);
}

int verb_check(const struct verb_args *args)
{
	const char *path = args->words_count ? args->words[0] : args->config;
	struct conf_problems problems = {0};
	struct conf_snapshot snapshot = {.fd = -1};
	bool open = false;
	int r = conf_snapshot_load(path, args->node, 1, &problems, &snapshot);
	int warnings;

	if (r == 0) {
		conf_host_check(snapshot.conf, &problems);
		/* Nobody else may read them, and nobody else starts the agent. */
		if (geteuid() == 0)
			conf_read_secrets(snapshot.conf, &problems);
		r = problems.errors ? -EINVAL : 0;
		open = readable_by_all(path, snapshot.conf);
	}
	conf_problems_print(&problems, path, stdout);
	if (open)
		printf("%s: warning: everybody can read the auth_pass in it; chmod 640 %s\n", path,
		       path);
	warnings = problems.count - problems.errors + open;
	if (r < 0 && problems.errors == 0) {
		fprintf(stderr, "tandem: %s: %s; %s\n", path, strerror(-r),
			r == -ENOENT ? "write one: the samples are in /usr/share/doc/tandem"
				     : "is it the right file?");
	} else if (r < 0) {
		fprintf(stderr, "tandem: %s: %d error%s, %d warning%s\n", path, problems.errors,
			problems.errors == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
	} else {
		printf("%s: good for node %s: ", path, snapshot.node);
		print_count(snapshot.conf->nodes_count, "node", ", ");
		print_count(snapshot.conf->checks_count, "check", ", ");
		print_count(snapshot.conf->vrrps_count, "virtual router", ", ");
		print_count(snapshot.conf->mirrors_count, "mirror", "; ");
		print_count(warnings, "warning", "\n");
	}
	conf_snapshot_release(&snapshot);
	conf_problems_release(&problems);
	if (r < 0)
		return VERB_FAILED;
	return warnings ? VERB_PENDING : VERB_OK;
}
