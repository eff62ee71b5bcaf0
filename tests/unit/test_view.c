/* SPDX-License-Identifier: Apache-2.0 */
/* As root, with the distribution's nginx: what `validate` sees, and that the host sees nothing of
 * it. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/run.h"
#include "syncd/ignore.h"
#include "syncd/view.h"

#define SECOND_US UINT64_C(1000000)
#define GENERATION "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct fixture {
	struct loop *loop;
	char top[32], etc[48], scratch[48], log[48];
	const char *paths[1];
	int calls;
	bool succeeded, used;
	int exec_errno;
	char output[RUN_OUTPUT_BYTES_MAX + 1], error[512];
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

__attribute__((format(printf, 3, 4))) static const char *
put(const struct fixture *f, const char *name, const char *format, ...)
{
	static char path[PATH_MAX];
	va_list args;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", f->top, name);
	file = fopen(path, "we");
	assert_non_null(file);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	assert_int_equal(fclose(file), 0);
	return path;
}

static void make_dir(const struct fixture *f, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", f->top, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static bool exists(const struct fixture *f, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof path, "%s/%s", f->top, name);
	return lstat(path, &st) == 0;
}

static void fill(const struct fixture *f)
{
	make_dir(f, "etc");
	make_dir(f, "etc/conf.d");
	make_dir(f, "scratch");
	make_dir(f, "log");
	put(f, "etc/nginx.conf",
	    "pid %s/nginx.pid;\nerror_log %s/error.log;\nevents {}\nhttp {\n"
	    "access_log %s/access.log;\nclient_body_temp_path %s/body;\n"
	    "include %s/conf.d/*.conf;\n}\n",
	    f->log, f->log, f->log, f->log, f->etc);
	put(f, "etc/conf.d/site.conf", "server { listen 127.0.0.1:18080; }\n");
}

static struct fixture *new_fixture(void)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->top, "/tmp/tandem-view-XXXXXX");
	if (loop_new(&f->loop) < 0 || mkdtemp(f->top) == NULL)
		return NULL;
	snprintf(f->etc, sizeof f->etc, "%s/etc", f->top);
	snprintf(f->scratch, sizeof f->scratch, "%s/scratch", f->top);
	snprintf(f->log, sizeof f->log, "%s/log", f->top);
	f->paths[0] = f->etc;
	return f;
}

static int set_up(void **state)
{
	struct fixture *f = new_fixture();

	if (f == NULL)
		return -1;
	fill(f);
	*state = f;
	return 0;
}

/* As in a container: the mirrored path lies on an overlay. In a mount namespace that this process
 * has from here on; the mounts go with what they are on. */
static int set_up_on_overlay(void **state)
{
	struct fixture *f = new_fixture();
	char lower[64], options[256];

	if (f == NULL || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tandem", f->top, "tmpfs", 0, NULL) < 0)
		return -1;
	snprintf(lower, sizeof lower, "%s/lower", f->top);
	make_dir(f, "lower");
	make_dir(f, "upper");
	make_dir(f, "work");
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower,
		 f->top, f->top);
	if (mount("tandem", f->top, "overlay", 0, options) < 0)
		return -1;
	fill(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	loop_free(f->loop);
	nftw(f->top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static int tear_down_overlay(void **state)
{
	struct fixture *f = *state;

	if (umount2(f->top, MNT_DETACH) < 0 || umount2(f->top, MNT_DETACH) < 0)
		return -1;
	return tear_down(state);
}

/* Makes the stage's own folders and returns the name of one below them. */
static const char *staged(const struct fixture *f, const char *name)
{
	static char path[PATH_MAX];
	static const char *const folders[] = {"",
					      "/" GENERATION,
					      "/" GENERATION "/new",
					      "/" GENERATION "/gone",
					      "/" GENERATION "/new/conf.d",
					      "/" GENERATION "/gone/conf.d"};

	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		snprintf(path, sizeof path, "etc/" IGNORE_STAGE_NAME "%s", folders[i]);
		if (!exists(f, path))
			make_dir(f, path);
	}
	snprintf(path, sizeof path, "etc/" IGNORE_STAGE_NAME "/" GENERATION "/%s", name);
	return path;
}

static void note(void *ctx, const struct run_result *result)
{
	struct fixture *f = ctx;

	f->calls++;
	f->succeeded = run_succeeded(result);
	f->exec_errno = result->exec_errno;
	memcpy(f->output, result->output, result->output_size + 1);
}

static void run_in_view(struct fixture *f, const char *generation, const char *const *argv)
{
	struct view_options options = {.scratch = f->scratch,
				       .paths = f->paths,
				       .paths_count = 1,
				       .generation_hex = generation};
	struct conf_command command = {.argv = (char **)(uintptr_t)argv};
	struct run_options run = {
		.command = &command, .timeout_us = 120 * SECOND_US, .prepare = view_prepare};
	struct view *view;
	struct run *running;
	uint64_t limit_us = loop_refresh_us(f->loop) + 150 * SECOND_US;

	while (argv[command.argc])
		command.argc++;
	assert_int_equal(view_new(&options, &view), 0);
	run.prepare_ctx = view;
	f->calls = 0;
	assert_int_equal(run_start(f->loop, &run, note, f, &running), 0);
	while (f->calls == 0) {
		assert_true(loop_now_us(f->loop) < limit_us);
		assert_int_equal(loop_turn(f->loop, limit_us), 0);
	}
	f->used = view_was_used(view);
	snprintf(f->error, sizeof f->error, "%s", view_error(view));
	assert_string_equal(f->error, "");
	assert_int_equal(f->exec_errno, 0);
	view_retire(view);
	view_free(view);
}

static void test_nginx(struct fixture *f, const char *generation)
{
	char conf[64];
	const char *argv[] = {"nginx", "-t", "-c", conf, NULL};

	snprintf(conf, sizeof conf, "%s/nginx.conf", f->etc);
	run_in_view(f, generation, argv);
}

static void sh(struct fixture *f, const char *generation, const char *script)
{
	const char *argv[] = {"sh", "-c", script, "sh", f->top, NULL};

	run_in_view(f, generation, argv);
}

static void a_valid_tree_passes_and_leaves_no_trace_on_the_host(void **state)
{
	struct fixture *f = *state;

	test_nginx(f, NULL);
	assert_true(f->succeeded);
	assert_true(f->used);
	/* A plain `nginx -t` would have made all of these. */
	assert_false(exists(f, "log/nginx.pid"));
	assert_false(exists(f, "log/error.log"));
	assert_false(exists(f, "log/access.log"));
	assert_false(exists(f, "log/body"));
	assert_false(exists(f, "scratch/root"));
}

static void a_broken_tree_is_refused_in_nginxs_words(void **state)
{
	struct fixture *f = *state;

	put(f, "etc/conf.d/site.conf", "server { listen 127.0.0.1:18080; nonsense on; }\n");
	test_nginx(f, NULL);
	assert_false(f->succeeded);
	assert_non_null(strstr(f->output, "unknown directive \"nonsense\""));
}

static void the_stage_is_judged_and_the_live_tree_is_not(void **state)
{
	struct fixture *f = *state;

	put(f, staged(f, "new/conf.d/site.conf"), "server { nonsense on; }\n");
	test_nginx(f, NULL);
	assert_true(f->succeeded);
	test_nginx(f, GENERATION);
	assert_false(f->succeeded);
	assert_non_null(strstr(f->output, "conf.d/site.conf:1"));
	/* The other way round: the stage cures what is broken live. */
	put(f, "etc/conf.d/site.conf", "server { nonsense on; }\n");
	put(f, staged(f, "new/conf.d/site.conf"), "server { listen 127.0.0.1:18080; }\n");
	test_nginx(f, NULL);
	assert_false(f->succeeded);
	test_nginx(f, GENERATION);
	assert_true(f->succeeded);
	assert_true(f->used);
}

static void what_is_staged_as_gone_is_not_there(void **state)
{
	struct fixture *f = *state;

	put(f, "etc/conf.d/bad.conf", "nonsense;\n");
	put(f, staged(f, "gone/conf.d/bad.conf"), "%s", "");
	test_nginx(f, GENERATION);
	assert_true(f->succeeded);
	sh(f, GENERATION, "test ! -e $1/etc/conf.d/bad.conf && test -e $1/etc/conf.d/site.conf");
	assert_true(f->succeeded);
	assert_true(exists(f, "etc/conf.d/bad.conf"));
}

static void a_path_that_changes_its_type_is_shown_as_what_it_will_be(void **state)
{
	struct fixture *f = *state;

	/* A directory becomes a file: gone and new. */
	put(f, staged(f, "gone/conf.d/site.conf"), "%s", "");
	put(f, "etc/" IGNORE_STAGE_NAME "/" GENERATION "/new/nginx.conf", "%s", "whole\n");
	make_dir(f, "etc/thing");
	put(f, "etc/thing/inside", "%s", "x");
	put(f, staged(f, "gone/thing"), "%s", "");
	put(f, staged(f, "new/thing"), "%s", "a file\n");
	sh(f, GENERATION,
	   "test \"$(cat $1/etc/thing)\" = 'a file' && test \"$(cat $1/etc/nginx.conf)\" = whole");
	assert_true(f->succeeded);
}

static void a_new_directory_and_an_absolute_link_into_it_work(void **state)
{
	struct fixture *f = *state;
	char link[PATH_MAX], target[PATH_MAX];

	(void)staged(f, "new");
	make_dir(f, "etc/" IGNORE_STAGE_NAME "/" GENERATION "/new/available");
	put(f, staged(f, "new/available/a.conf"), "%s", "server { listen 127.0.0.1:18081; }\n");
	snprintf(link, sizeof link, "%s/%s", f->top, staged(f, "new/conf.d/a.conf"));
	snprintf(target, sizeof target, "%s/available/a.conf", f->etc);
	assert_int_equal(symlink(target, link), 0);
	test_nginx(f, GENERATION);
	assert_true(f->succeeded);
}

static void what_a_command_writes_is_thrown_away_wherever_it_writes(void **state)
{
	struct fixture *f = *state;
	char run_file[64], script[512];

	snprintf(run_file, sizeof run_file, "/run/tandem-view-test-%d", (int)getpid());
	snprintf(script, sizeof script,
		 "echo x >$1/etc/new && echo x >$1/etc/nginx.conf && rm $1/etc/conf.d/site.conf && "
		 "echo x >%s && echo x >/dev/null",
		 run_file);
	sh(f, NULL, script);
	assert_true(f->succeeded);
	assert_false(exists(f, "etc/new"));
	assert_true(exists(f, "etc/conf.d/site.conf"));
	assert_int_equal(access(run_file, F_OK), -1);
	test_nginx(f, NULL);
	assert_true(f->succeeded);
}

static void a_command_that_looks_elsewhere_has_not_validated(void **state)
{
	struct fixture *f = *state;
	const char *argv[] = {"true", NULL};

	run_in_view(f, NULL, argv);
	assert_true(f->succeeded);
	assert_false(f->used);
	sh(f, NULL, "ls / >/dev/null");
	assert_false(f->used);
	sh(f, NULL, "ls $1/etc >/dev/null");
	assert_true(f->used);
}

static void a_path_that_is_new_is_shown_from_the_directory_above_it(void **state)
{
	struct fixture *f = *state;
	char stage[PATH_MAX], path[PATH_MAX];

	snprintf(path, sizeof path, "%s/letsencrypt", f->top);
	f->paths[0] = path;
	make_dir(f, IGNORE_STAGE_NAME);
	make_dir(f, IGNORE_STAGE_NAME "/" GENERATION);
	make_dir(f, IGNORE_STAGE_NAME "/" GENERATION "/new");
	make_dir(f, IGNORE_STAGE_NAME "/" GENERATION "/new/letsencrypt");
	snprintf(stage, sizeof stage, IGNORE_STAGE_NAME "/" GENERATION "/new/letsencrypt/cert.pem");
	put(f, stage, "%s", "a certificate\n");
	sh(f, GENERATION, "test \"$(cat $1/letsencrypt/cert.pem)\" = 'a certificate'");
	assert_true(f->succeeded);
	assert_true(f->used);
	assert_false(exists(f, "letsencrypt"));
	sh(f, GENERATION, "true");
	assert_false(f->used);
}

static void an_address_that_is_not_here_is_explained(void **state)
{
	struct fixture *f = *state;
	int fd = open("/proc/sys/net/ipv4/ip_nonlocal_bind", O_RDONLY | O_CLOEXEC);
	char allowed = '?';
	const char *words;

	assert_int_equal(read(fd, &allowed, 1), 1);
	close(fd);
	put(f, "etc/conf.d/site.conf", "server { listen 198.51.100.200:18080; }\n");
	test_nginx(f, NULL);
	assert_int_equal(f->succeeded, allowed == '1');
	words = view_explain(f->succeeded ? "bind() to 198.51.100.200:18080 failed (99: Cannot "
					    "assign requested address)"
					  : f->output);
	assert_non_null(words);
	assert_non_null(strstr(words, "net.ipv4.ip_nonlocal_bind=1"));
	assert_null(view_explain("unknown directive"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define ON_OVERLAY(name)                                                                           \
	{                                                                                          \
#name "_on_an_overlay", name, set_up_on_overlay, tear_down_overlay, NULL           \
	}
	const struct CMUnitTest tests[] = {
		TEST(a_valid_tree_passes_and_leaves_no_trace_on_the_host),
		TEST(a_broken_tree_is_refused_in_nginxs_words),
		TEST(the_stage_is_judged_and_the_live_tree_is_not),
		TEST(what_is_staged_as_gone_is_not_there),
		TEST(a_path_that_changes_its_type_is_shown_as_what_it_will_be),
		TEST(a_new_directory_and_an_absolute_link_into_it_work),
		TEST(what_a_command_writes_is_thrown_away_wherever_it_writes),
		TEST(a_command_that_looks_elsewhere_has_not_validated),
		TEST(a_path_that_is_new_is_shown_from_the_directory_above_it),
		TEST(an_address_that_is_not_here_is_explained),
		ON_OVERLAY(a_valid_tree_passes_and_leaves_no_trace_on_the_host),
		ON_OVERLAY(a_broken_tree_is_refused_in_nginxs_words),
		ON_OVERLAY(the_stage_is_judged_and_the_live_tree_is_not),
		ON_OVERLAY(what_is_staged_as_gone_is_not_there),
		ON_OVERLAY(a_path_that_changes_its_type_is_shown_as_what_it_will_be),
		ON_OVERLAY(a_new_directory_and_an_absolute_link_into_it_work),
		ON_OVERLAY(what_a_command_writes_is_thrown_away_wherever_it_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
