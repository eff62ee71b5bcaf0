/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a configuration: refused with a reason, or a struct conf that keeps its promises. A
 * problem never holds a control character, whatever the text held.
 * runs: 30000
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shared/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static void check_command(const struct conf_command *command)
{
	if (!command->argv)
		return;
	CHECK(command->argc > 0 && command->argc < CONF_ARGV_MAX);
	CHECK(command->argv[command->argc] == NULL && command->argv[0][0] != '\0');
	CHECK(command->text && command->line > 0);
}

static void check_conf(const struct conf *conf)
{
	CHECK(conf->cluster && conf->control_group && conf->self == -1);
	CHECK(conf->nodes_count > 0 && conf->nodes_count <= CONF_NODES_MAX);
	for (int i = 0; i < conf->nodes_count; i++) {
		CHECK(conf->nodes[i].name && strlen(conf->nodes[i].name) <= CONF_NAME_BYTES_MAX);
		CHECK(conf->nodes[i].address.family != IP_NONE && conf->nodes[i].link_port > 0);
		CHECK(conf_node_index(conf, conf->nodes[i].name) == i);
	}
	for (int i = 0; i < conf->checks_count; i++) {
		const struct conf_check *c = &conf->checks[i];

		CHECK(c->name && c->interval_us >= 10000 && c->timeout_us >= 10000);
		CHECK(c->fall >= 1 && c->rise >= 1 && abs(c->weight) <= 253);
		CHECK((c->kind == CONF_CHECK_PROCESS) == (c->process != NULL));
		CHECK((c->kind == CONF_CHECK_NAMED) == (c->process_name != NULL));
		CHECK((c->kind == CONF_CHECK_SCRIPT) == (c->script.argv != NULL));
		CHECK((c->kind == CONF_CHECK_INTERFACE) == (c->interfaces[0] != NULL));
		CHECK((c->kind == CONF_CHECK_FILE) == (c->file != NULL));
		CHECK((c->kind == CONF_CHECK_INSTANCE) == (c->vrrp >= 0));
		check_command(&c->script);
	}
	for (int i = 0; i < conf->vrrps_count; i++) {
		const struct conf_vrrp *v = &conf->vrrps[i];

		CHECK(v->name && v->vrid >= 1 && v->vrid <= 255);
		CHECK(v->version == 2
			      ? v->advert_int_us % 1000000 == 0 && v->advert_int_us > 0 &&
					v->advert_int_us <= 255000000
			      : v->version == 3 && v->advert_int_us % 10000 == 0 &&
					v->advert_int_us >= 10000 && v->advert_int_us <= 40950000);
		CHECK(v->vips_count >= 1 && v->vips_count <= CONF_VIPS_MAX);
		CHECK(v->tracks_count <= CONF_TRACKS_MAX);
		CHECK(!v->auth_pass || v->version == 2);
		for (int n = 0; n < conf->nodes_count; n++)
			CHECK(v->priorities[n] == 0 ||
			      (v->interfaces[n] && v->priorities[n] <= 255));
		for (int h = 0; h < CONF_HOOKS; h++)
			check_command(&v->hooks[h]);
		for (int t = 0; t < v->tracks_count; t++)
			CHECK(v->tracks[t].check < conf->checks_count);
	}
	for (int i = 0; i < conf->mirrors_count; i++) {
		const struct conf_mirror *m = &conf->mirrors[i];

		CHECK(m->name && m->paths_count >= 1 && m->pid_file && m->error_log);
		for (int p = 0; p < m->paths_count; p++)
			CHECK(m->paths[p][0] == '/' && strcmp(m->paths[p], "/") != 0 &&
			      !strstr(m->paths[p], "/../") && strcmp(m->paths[p], "/etc") != 0 &&
			      strcmp(m->paths[p], "/etc/tandem") != 0);
		check_command(&m->validate);
		check_command(&m->reload);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_problems problems = {0};
	struct conf *conf = NULL;
	int r = conf_parse((const char *)data, size, &problems, &conf);

	CHECK(r == 0 ? conf && problems.errors == 0 : !conf && problems.errors > 0);
	CHECK(problems.count <= CONF_PROBLEMS_MAX);
	for (int i = 0; i < problems.count; i++) {
		const struct conf_problem *p = &problems.items[i];

		CHECK(*p->cause && *p->cure);
		CHECK(i == 0 || p->line >= p[-1].line);
		for (const char *c = p->cause; *c; c++)
			CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
	}
	if (conf)
		check_conf(conf);
	conf_free(conf);
	conf_problems_release(&problems);
	return 0;
}
