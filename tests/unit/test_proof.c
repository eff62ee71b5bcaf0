/* SPDX-License-Identifier: Apache-2.0 */
/* With the distribution's nginx, run from a directory of its own and listening on a socket in it.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/proof.h"

#define SECOND_US UINT64_C(1000000)
#define PARSE_US 30000u

struct fixture {
	char top[32], conf[48], pid_file[48], error_log[48];
	char fifo[48]; /* a log that nobody reads, in one test */
	pid_t master;
	struct proof *proof;
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND_US + (uint64_t)ts.tv_nsec / 1000;
}

static void write_conf(const struct fixture *f, const char *extra)
{
	FILE *file = fopen(f->conf, "we");

	assert_non_null(file);
	fprintf(file,
		"daemon off;\npid %s;\nerror_log %s;\nworker_processes 1;\nevents {}\nhttp {\n"
		"access_log off;\nclient_body_temp_path %s/body;\nproxy_temp_path %s/proxy;\n"
		"fastcgi_temp_path %s/fastcgi;\nuwsgi_temp_path %s/uwsgi;\nscgi_temp_path "
		"%s/scgi;\n"
		"server { listen unix:%s/sock; }\n%s\n}\n",
		f->pid_file, f->error_log, f->top, f->top, f->top, f->top, f->top, f->top, extra);
	assert_int_equal(fclose(file), 0);
}

static struct proof *begin(const struct fixture *f, uint64_t timeout_us)
{
	struct proof_options options = {.pid_file = f->pid_file,
					.error_log = f->error_log,
					.parse_us = PARSE_US,
					.timeout_us = timeout_us};
	struct proof *proof;

	assert_int_equal(proof_begin(&options, now_us(), &proof), 0);
	return proof;
}

static enum proof_verdict wait_verdict(struct proof *proof)
{
	uint64_t limit_us = now_us() + 90 * SECOND_US;
	enum proof_verdict verdict;

	while ((verdict = proof_poll(proof, now_us())) == PROOF_WAITING) {
		uint64_t gap_us = proof_poll_gap_us(proof, now_us());
		struct timespec gap = {.tv_nsec = (long)gap_us * 1000};

		assert_true(now_us() < limit_us);
		nanosleep(&gap, NULL);
	}
	return verdict;
}

static void start_nginx(struct fixture *f)
{
	struct stat st;
	uint64_t limit_us = now_us() + 90 * SECOND_US;
	pid_t parent = getpid();

	f->master = fork();
	if (f->master == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			execlp("nginx", "nginx", "-c", f->conf, (char *)NULL);
		_exit(127);
	}
	while (stat(f->pid_file, &st) < 0 || st.st_size == 0) {
		struct timespec gap = {.tv_nsec = 1000000};

		assert_true(now_us() < limit_us);
		assert_int_equal(waitpid(f->master, NULL, WNOHANG), 0);
		nanosleep(&gap, NULL);
	}
	/* Its first workers, so that the next ones are new. */
	struct proof *proof = begin(f, 60 * SECOND_US);

	proof_free(proof);
	for (int workers = 0; workers < 1;) {
		char path[64];
		FILE *file;
		int pid;

		assert_true(now_us() < limit_us);
		snprintf(path, sizeof path, "/proc/%d/task/%d/children", f->master, f->master);
		file = fopen(path, "re");
		assert_non_null(file);
		workers = 0;
		while (fscanf(file, "%d", &pid) == 1)
			workers++;
		fclose(file);
	}
}

static void stop_nginx(struct fixture *f)
{
	/* A master that opens it waits for a reader, and hears no signal meanwhile. */
	int reader = open(f->fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (f->master > 0) {
		kill(f->master, SIGTERM);
		waitpid(f->master, NULL, 0);
	}
	f->master = 0;
	if (reader >= 0)
		close(reader);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->top, "/tmp/tandem-proof-XXXXXX");
	if (mkdtemp(f->top) == NULL || chmod(f->top, 0755) < 0)
		return -1;
	snprintf(f->conf, sizeof f->conf, "%s/nginx.conf", f->top);
	snprintf(f->pid_file, sizeof f->pid_file, "%s/nginx.pid", f->top);
	snprintf(f->error_log, sizeof f->error_log, "%s/error.log", f->top);
	snprintf(f->fifo, sizeof f->fifo, "%s/fifo", f->top);
	write_conf(f, "");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	proof_free(f->proof);
	stop_nginx(f);
	nftw(f->top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void a_reload_is_proven_by_new_workers(void **state)
{
	struct fixture *f = *state;
	uint64_t at_us;

	start_nginx(f);
	f->proof = begin(f, 60 * SECOND_US);
	assert_true(proof_running(f->proof));
	assert_int_equal(proof_poll(f->proof, now_us()), PROOF_WAITING);
	at_us = now_us();
	assert_int_equal(kill(f->master, SIGHUP), 0);
	proof_reloaded(f->proof, now_us());
	assert_int_equal(wait_verdict(f->proof), PROOF_LOADED);
	printf("figure: HUP to proven new workers %llu ms\n",
	       (unsigned long long)((now_us() - at_us) / 1000));
}

static void a_second_reload_needs_newer_workers_still(void **state)
{
	struct fixture *f = *state;

	start_nginx(f);
	f->proof = begin(f, 60 * SECOND_US);
	kill(f->master, SIGHUP);
	proof_reloaded(f->proof, now_us());
	assert_int_equal(wait_verdict(f->proof), PROOF_LOADED);
	proof_free(f->proof);
	/* The workers of the first one are there, and prove nothing now. */
	f->proof = begin(f, SECOND_US / 5);
	proof_reloaded(f->proof, now_us());
	assert_int_equal(wait_verdict(f->proof), PROOF_FAILED);
	assert_non_null(strstr(proof_text(f->proof), "no new worker"));
}

static void a_tree_that_nginx_does_not_like_fails_in_its_words(void **state)
{
	struct fixture *f = *state;

	start_nginx(f);
	write_conf(f, "nonsense on;");
	f->proof = begin(f, 60 * SECOND_US);
	kill(f->master, SIGHUP);
	proof_reloaded(f->proof, now_us());
	assert_int_equal(wait_verdict(f->proof), PROOF_FAILED);
	assert_non_null(strstr(proof_text(f->proof), "[emerg]"));
	assert_non_null(strstr(proof_text(f->proof), "unknown directive \"nonsense\""));
}

static void an_old_complaint_in_the_log_is_not_held_against_it(void **state)
{
	struct fixture *f = *state;
	FILE *file;

	start_nginx(f);
	file = fopen(f->error_log, "ae");
	fprintf(file, "2026/11/20 12:00:00 [emerg] %d#%d: an old story\n", f->master, f->master);
	fclose(file);
	f->proof = begin(f, 60 * SECOND_US);
	/* And somebody's own nginx -t, meanwhile. */
	file = fopen(f->error_log, "ae");
	fprintf(file, "2026/11/20 12:00:00 [emerg] 1#1: somebody else's\n");
	fclose(file);
	kill(f->master, SIGHUP);
	proof_reloaded(f->proof, now_us());
	assert_int_equal(wait_verdict(f->proof), PROOF_LOADED);
}

static void a_rotated_log_is_read_on(void **state)
{
	struct fixture *f = *state;
	char old[64];

	start_nginx(f);
	write_conf(f, "nonsense on;");
	f->proof = begin(f, 60 * SECOND_US);
	snprintf(old, sizeof old, "%s.1", f->error_log);
	assert_int_equal(rename(f->error_log, old), 0);
	kill(f->master, SIGUSR1);
	kill(f->master, SIGHUP);
	proof_reloaded(f->proof, now_us());
	assert_int_equal(wait_verdict(f->proof), PROOF_FAILED);
	assert_non_null(strstr(proof_text(f->proof), "nonsense"));
}

static void what_is_said_into_the_old_log_beside_the_new_one_is_heard(void **state)
{
	struct fixture *f = *state;
	char old[64];
	int fd;

	start_nginx(f);
	write_conf(f, "nonsense on;");
	f->proof = begin(f, 60 * SECOND_US);
	/* As logrotate does it; nginx has not been told yet to open the new one. */
	snprintf(old, sizeof old, "%s.1", f->error_log);
	assert_int_equal(rename(f->error_log, old), 0);
	fd = open(f->error_log, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(proof_poll(f->proof, now_us()), PROOF_WAITING);
	kill(f->master, SIGHUP);
	proof_reloaded(f->proof, now_us());
	assert_int_equal(wait_verdict(f->proof), PROOF_FAILED);
	assert_non_null(strstr(proof_text(f->proof), "nonsense"));
}

static void without_a_master_it_is_not_running(void **state)
{
	struct fixture *f = *state;

	f->proof = begin(f, 60 * SECOND_US);
	assert_false(proof_running(f->proof));
	assert_int_equal(proof_poll(f->proof, now_us()), PROOF_NOT_RUNNING);
}

static void a_pid_file_of_a_dead_process_is_no_master(void **state)
{
	struct fixture *f = *state;
	FILE *file = fopen(f->pid_file, "we");
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	fprintf(file, "%d\n", pid);
	fclose(file);
	f->proof = begin(f, 60 * SECOND_US);
	assert_false(proof_running(f->proof));
}

/* Waits until the process sleeps in the system call. */
static void wait_in_call(pid_t pid, int call)
{
	uint64_t limit_us = now_us() + 90 * SECOND_US;
	char path[64], text[64];

	snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
	do {
		struct timespec gap = {.tv_nsec = 1000000};
		FILE *file = fopen(path, "re");

		assert_true(now_us() < limit_us);
		assert_non_null(file);
		text[0] = '\0';
		(void)!fgets(text, sizeof text, file);
		fclose(file);
		nanosleep(&gap, NULL);
	} while (!isdigit((unsigned char)text[0]) || atoi(text) != call);
}

static void workers_of_a_reload_that_began_before_do_not_count_at_once(void **state)
{
	struct fixture *f = *state;
	char server[160];
	uint64_t began_us;
	int log;

	start_nginx(f);
	/* Somebody else's, a moment before the commit is complete: it has read the files, and waits
	 * at a log that nobody reads. */
	assert_int_equal(mkfifo(f->fifo, 0600), 0);
	snprintf(server, sizeof server, "server { listen unix:%s/logs; access_log %s; }", f->top,
		 f->fifo);
	write_conf(f, server);
	kill(f->master, SIGHUP);
	wait_in_call(f->master, SYS_openat);
	began_us = now_us();
	f->proof = begin(f, 60 * SECOND_US);
	log = open(f->fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(log >= 0);
	kill(f->master, SIGHUP);
	proof_reloaded(f->proof, now_us());
	assert_int_equal(wait_verdict(f->proof), PROOF_LOADED);
	/* Not before a reading that began then would have been over. */
	assert_true(now_us() - began_us >= PARSE_US);
	close(log);
}

static void the_first_workers_of_a_master_that_read_nothing_count_at_once(void **state)
{
	struct fixture *f = *state;
	struct proof_options options = {.pid_file = f->pid_file,
					.error_log = f->error_log,
					/* They could count otherwise only long after that. */
					.parse_us = 3600 * SECOND_US,
					.timeout_us = 60 * SECOND_US};

	start_nginx(f);
	wait_in_call(f->master, SYS_rt_sigsuspend);
	assert_int_equal(proof_begin(&options, now_us(), &f->proof), 0);
	kill(f->master, SIGHUP);
	proof_reloaded(f->proof, now_us());
	assert_int_equal(wait_verdict(f->proof), PROOF_LOADED);
}

static void a_restart_counts_as_a_reload(void **state)
{
	struct fixture *f = *state;

	start_nginx(f);
	f->proof = begin(f, 60 * SECOND_US);
	stop_nginx(f);
	start_nginx(f);
	proof_reloaded(f->proof, now_us());
	assert_int_equal(wait_verdict(f->proof), PROOF_LOADED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_reload_is_proven_by_new_workers),
		TEST(a_second_reload_needs_newer_workers_still),
		TEST(a_tree_that_nginx_does_not_like_fails_in_its_words),
		TEST(an_old_complaint_in_the_log_is_not_held_against_it),
		TEST(a_rotated_log_is_read_on),
		TEST(what_is_said_into_the_old_log_beside_the_new_one_is_heard),
		TEST(without_a_master_it_is_not_running),
		TEST(a_pid_file_of_a_dead_process_is_no_master),
		TEST(workers_of_a_reload_that_began_before_do_not_count_at_once),
		TEST(the_first_workers_of_a_master_that_read_nothing_count_at_once),
		TEST(a_restart_counts_as_a_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
