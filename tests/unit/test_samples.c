/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The samples in conf/ are what people start from: each is read without a complaint, and each
 * script does what it says. Run from the root of the tree.
 */
#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/conf_texts.h"

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, CONF_TEXT_BYTES_MAX);

	if (!file)
		fail_msg("%s: %s; run this from the root of the tree", path, strerror(errno));
	assert_non_null(text);
	assert_true(fread(text, 1, CONF_TEXT_BYTES_MAX - 1, file) > 0);
	fclose(file);
	return text;
}

static void every_sample_is_read_without_a_complaint(void **state)
{
	glob_t found;
	int read = 0;

	(void)state;
	assert_int_equal(glob("conf/*.conf", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char *text, *said;

		if (strcmp(found.gl_pathv[i], "conf/rsyslog-tandem.conf") == 0)
			continue;
		text = read_file(found.gl_pathv[i]);
		conf_free(parse_good(text, &said));
		if (*said)
			fail_msg("%s: %s", found.gl_pathv[i], said);
		free(said);
		free(text);
		read++;
	}
	assert_true(read >= 3);
	globfree(&found);
}

/* The scripts that the samples name are in conf/ as well. */
static void every_script_that_a_sample_names_is_a_sample(void **state)
{
	glob_t found;
	int scripts = 0;

	(void)state;
	assert_int_equal(glob("conf/*.conf", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char *text = read_file(found.gl_pathv[i]);

		for (char *at = text; (at = strstr(at, "\"/etc/tandem/")) != NULL;) {
			char path[128];
			size_t size;

			at += strlen("\"/etc/tandem/");
			size = strcspn(at, "\" ");
			snprintf(path, sizeof path, "conf/%.*s", (int)size, at);
			if (access(path, X_OK) != 0)
				fail_msg("%s names %s, which is not here", found.gl_pathv[i], path);
			scripts++;
		}
		free(text);
	}
	assert_true(scripts > 0);
	globfree(&found);
}

static int run(const char *command)
{
	int status = system(command);

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void the_notify_script_takes_every_state(void **state)
{
	(void)state;
	assert_int_equal(run("for s in MASTER BACKUP FAULT STOP OTHER; do "
			     "PATH=/nonexistent /bin/sh conf/notify.sh INSTANCE VI_1 $s 100 "
			     "|| exit 1; done | grep -c VI_1 | grep -qx 5"),
			 0);
}

static void the_check_script_tells_a_live_process_from_a_dead_one(void **state)
{
	char path[] = "/tmp/tandem-c-check.XXXXXX";
	char command[256];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_true(dprintf(fd, "%d\n", (int)getpid()) > 0);
	snprintf(command, sizeof command, "CHECK_NGINX_RESTART= conf/check_nginx.sh %s", path);
	assert_int_equal(run(command), 0);
	/* A process that is certainly gone: our own child, reaped. */
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	{
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_true(dprintf(fd, "%d\n", (int)pid) > 0);
	}
	snprintf(command, sizeof command, "CHECK_NGINX_RESTART= conf/check_nginx.sh %s >/dev/null",
		 path);
	assert_int_equal(run(command), 1);
	/* A restart that works counts, one that does not help does not. */
	snprintf(command, sizeof command,
		 "CHECK_NGINX_RESTART='cp %s.new %s' conf/check_nginx.sh %s >/dev/null", path, path,
		 path);
	assert_int_equal(run(command), 1);
	{
		char next[64];
		FILE *file;

		snprintf(next, sizeof next, "%s.new", path);
		file = fopen(next, "w");
		assert_non_null(file);
		fprintf(file, "%d\n", (int)getpid());
		fclose(file);
		assert_int_equal(run(command), 0);
		unlink(next);
	}
	close(fd);
	unlink(path);
	snprintf(command, sizeof command, "CHECK_NGINX_RESTART= conf/check_nginx.sh %s >/dev/null",
		 path);
	assert_int_equal(run(command), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_sample_is_read_without_a_complaint),
		cmocka_unit_test(every_script_that_a_sample_names_is_a_sample),
		cmocka_unit_test(the_notify_script_takes_every_state),
		cmocka_unit_test(the_check_script_tells_a_live_process_from_a_dead_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
