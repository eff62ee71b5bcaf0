/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/agent_hooks.h"
#include "shared/log.h"

struct world {
	struct loop *loop;
	struct agent_hooks *hooks;
	struct agent_snapshot *snapshot;
	char dir[64];
	char seen[8192]; /* what was reported at the end of a command, one a line */
	int running;
};

static void on_report(void *ctx, const struct agent_hook_report *report)
{
	struct world *world = ctx;

	assert_string_equal(report->router, "VI_1");
	if (!strcmp(report->outcome, "running")) {
		world->running++;
		return;
	}
	world->running--;
	/* What a program reads, and what a person does. */
	if (!strncmp(report->outcome, "exit ", 5))
		assert_int_equal(report->exit, atoi(report->outcome + 5));
	else
		assert_int_equal(report->exit, -1);
	assert_true(report->took_us > 0 || report->exit < 0);
	assert_true(strlen(world->seen) + 256 < sizeof world->seen);
	sprintf(world->seen + strlen(world->seen), "%s %s %s %s|%.60s\n", report->hook,
		report->state, report->ok ? "ok" : "failed", report->outcome, report->output);
}

static void write_script(const struct world *world, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", world->dir, name);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, 0755), 0);
}

static void begin(struct world *world, const char *settings)
{
	struct log_options quiet = {.ident = "test", .level = LOG_EMERG};
	struct conf_snapshot conf = {.number = 1, .fd = -1};
	struct conf_problems problems = {0};
	char text[4096];

	memset(world, 0, sizeof *world);
	log_open(&quiet);
	strcpy(world->dir, "/tmp/tandem-hooks-XXXXXX");
	assert_non_null(mkdtemp(world->dir));
	assert_int_equal(chdir(world->dir), 0);
	snprintf(text, sizeof text,
		 "cluster = \"c\"; nodes = ( { name = \"a\"; address = \"198.51.100.1\"; },"
		 " { name = \"b\"; address = \"198.51.100.2\"; } );"
		 "vrrp = ( { name = \"VI_1\"; interface = \"eth0\"; virtual_router_id = 1;"
		 " priority = { a = 100; b = 90; }; virtual_ipaddress = [ \"198.51.100.9/24\" ];"
		 " %s } );",
		 settings);
	for (char *at; (at = strstr(text, "DIR/"));) {
		char rest[4096];

		strcpy(rest, at + 3);
		snprintf(at, sizeof text - (size_t)(at - text), "%s%s", world->dir, rest);
	}
	if (conf_parse(text, strlen(text), &problems, &conf.conf)) {
		conf_problems_print(&problems, "text", stderr);
		fail();
	}
	conf_problems_release(&problems);
	assert_int_equal(conf_set_self(conf.conf, "a"), 0);
	world->snapshot = agent_snapshot_new(&conf);
	assert_non_null(world->snapshot);
	assert_int_equal(loop_new(&world->loop), 0);
	assert_int_equal(agent_hooks_new(world->loop, on_report, world, &world->hooks), 0);
}

static void queue(struct world *world, enum engine_hook_state state)
{
	agent_hooks_queue(world->hooks, world->snapshot, 0, state, 100);
	assert_true(world->running <= 1);
}

static void run_out(struct world *world)
{
	while (!agent_hooks_idle(world->hooks)) {
		assert_true(loop_turn(world->loop, LOOP_NEVER_US) >= 0);
		assert_true(world->running <= 1); /* one at a time */
	}
}

/* Until the command that runs has ended, which the loop, not turning, does not know yet: a time
 * limit is a timer of the loop, and an end that has been comes before it. */
static void wait_for_end_of_command(void)
{
	siginfo_t info;

	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
}

static void end(struct world *world)
{
	char command[128];

	agent_hooks_free(world->hooks);
	agent_snapshot_drop(world->snapshot);
	loop_free(world->loop);
	snprintf(command, sizeof command, "rm -rf %s", world->dir);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(system(command), 0);
}

static void the_specific_hook_comes_first_and_only_the_generic_one_has_arguments(void **state)
{
	struct world world;

	(void)state;
	begin(&world, "notify = \"DIR/any\"; notify_master = \"DIR/master word\";");
	write_script(&world, "any", "#!/bin/sh\necho \"$# $*\"\n");
	write_script(&world, "master", "#!/bin/sh\necho \"$# $*\"\n");
	queue(&world, ENGINE_HOOK_MASTER);
	run_out(&world);
	assert_string_equal(world.seen, "notify_master MASTER ok exit 0|1 word\n\n"
					"notify MASTER ok exit 0|4 INSTANCE VI_1 MASTER 100\n\n");
	end(&world);
}

static void hooks_run_one_after_another_in_the_order_of_the_transitions(void **state)
{
	struct world world;

	(void)state;
	/* The first one is the slowest: whatever overlapped it would write before it. */
	begin(&world, "notify = \"DIR/any\";");
	write_script(&world, "any",
		     "#!/bin/sh\ncd ${0%/*}\n[ $3 = BACKUP ] && [ ! -e late ] && sleep 0.3\n"
		     "touch late\necho $3 >> order\n");
	queue(&world, ENGINE_HOOK_BACKUP);
	queue(&world, ENGINE_HOOK_MASTER);
	queue(&world, ENGINE_HOOK_FAULT);
	queue(&world, ENGINE_HOOK_BACKUP);
	queue(&world, ENGINE_HOOK_STOP);
	run_out(&world);
	assert_int_equal(system("[ \"$(cat order | tr '\\n' ' ')\" = "
				"'BACKUP MASTER FAULT BACKUP STOP ' ]"),
			 0);
	end(&world);
}

static void the_same_state_twice_is_told_once(void **state)
{
	struct world world;

	(void)state;
	begin(&world, "notify = \"DIR/any\";");
	write_script(&world, "any", "#!/bin/sh\n:\n");
	queue(&world, ENGINE_HOOK_BACKUP);
	queue(&world, ENGINE_HOOK_BACKUP); /* an engine that started anew */
	run_out(&world);
	assert_string_equal(world.seen, "notify BACKUP ok exit 0|\n");
	end(&world);
}

static void a_failing_hook_and_one_that_cannot_be_executed_stop_nothing(void **state)
{
	struct world world;

	(void)state;
	begin(&world, "notify = \"DIR/any\"; notify_backup = \"DIR/absent\";");
	write_script(&world, "any", "#!/bin/sh\necho what a pity >&2\nexit 3\n");
	queue(&world, ENGINE_HOOK_BACKUP);
	queue(&world, ENGINE_HOOK_MASTER);
	run_out(&world);
	assert_non_null(strstr(world.seen, "notify_backup BACKUP failed cannot be executed"));
	assert_non_null(strstr(world.seen, "notify BACKUP failed exit 3|what a pity\n"));
	assert_non_null(strstr(world.seen, "notify MASTER failed exit 3|what a pity\n"));
	end(&world);
}

static void a_hook_that_does_not_end_is_ended(void **state)
{
	struct world world;

	(void)state;
	begin(&world, "notify = \"DIR/any\"; notify_timeout = 1;");
	write_script(&world, "any", "#!/bin/sh\n[ $3 = BACKUP ] && exec sleep 600\nexit 0\n");
	queue(&world, ENGINE_HOOK_BACKUP);
	queue(&world, ENGINE_HOOK_MASTER);
	while (!strstr(world.seen, "notify BACKUP"))
		assert_true(loop_turn(world.loop, LOOP_NEVER_US) >= 0);
	wait_for_end_of_command();
	run_out(&world);
	assert_non_null(strstr(world.seen, "notify BACKUP failed timed out"));
	assert_non_null(strstr(world.seen, "notify MASTER ok exit 0"));
	end(&world);
}

static void what_waits_is_bounded_and_the_oldest_gives_way(void **state)
{
	struct world world;

	(void)state;
	begin(&world, "notify = \"DIR/any\";");
	write_script(&world, "any",
		     "#!/bin/sh\ncd ${0%/*}\n[ -e go ] || sleep 0.2\ntouch go\n"
		     "echo $4 >> order\n");
	for (int i = 0; i < AGENT_HOOKS_WAITING_MAX + 21; i++)
		agent_hooks_queue(world.hooks, world.snapshot, 0,
				  i % 2 ? ENGINE_HOOK_MASTER : ENGINE_HOOK_BACKUP, i + 1);
	run_out(&world);
	/* The one that ran, and the last of those that waited. */
	assert_int_equal(system("[ $(head -n 1 order) = 1 ] && [ $(sed -n 2p order) = 22 ] &&"
				" [ $(tail -n 1 order) = 85 ] && [ $(wc -l < order) = 65 ]"),
			 0);
	end(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			the_specific_hook_comes_first_and_only_the_generic_one_has_arguments),
		cmocka_unit_test(hooks_run_one_after_another_in_the_order_of_the_transitions),
		cmocka_unit_test(the_same_state_twice_is_told_once),
		cmocka_unit_test(a_failing_hook_and_one_that_cannot_be_executed_stop_nothing),
		cmocka_unit_test(a_hook_that_does_not_end_is_ended),
		cmocka_unit_test(what_waits_is_bounded_and_the_oldest_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
