/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/proof.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/process.h"

#define TAIL_BYTES_MAX (64 * 1024)
#define POLL_FIRST_US 1000u
#define POLL_LATER_US 10000u
#define POLL_FIRST_FOR_US 300000u
/* A reading takes this long if nobody has measured it. */
#define PARSE_US 20000u

struct who {
	pid_t pid;
	uint64_t start_ticks; /* a number used again is another process */
};

/* What was written to an error log since the commit. */
struct log {
	int fd; /* -1: none */
	ino_t ino;
	off_t at;
};

struct proof {
	char *pid_file, *error_log;
	uint64_t parse_us;
	uint64_t began_us, deadline_us;
	uint64_t reloaded_us; /* 0: the command is still running */

	struct who master; /* pid 0: none */
	bool was_idle;	   /* it read nothing when the commit was complete */
	struct who before[PROOF_WORKERS_MAX];
	int before_count;

	uint64_t first_us;  /* when a new worker was seen first */
	uint64_t latest_us; /* when the latest of them was seen first */
	struct who fresh[PROOF_WORKERS_MAX];
	int fresh_count;
	int clear_count; /* those of fresh that cannot stem from an earlier reading */

	struct log log;
	struct log rotated; /* nginx writes to it still, until it is told to open the new one */
	char text[PROOF_TEXT_BYTES];
};

static pid_t read_pid_file(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long pid;

	if (fd < 0)
		return 0;

	ssize_t n = read(fd, text, sizeof text - 1);

	close(fd);
	if (n <= 0)
		return 0;
	pid = strtol(text, NULL, 10);
	return pid > 1 && pid < (1 << 22) ? (pid_t)pid : 0;
}

/* Who it is, and its parent. One that has ended and waits to be reaped does nothing any more. */
static bool look_at(pid_t pid, struct who *ret_who, pid_t *ret_parent)
{
	struct process process;

	if (process_read(pid, &process) < 0 || process.state == 'Z' || process.state == 'X')
		return false;
	*ret_who = (struct who){.pid = pid, .start_ticks = process.start_ticks};
	if (ret_parent)
		*ret_parent = process.parent;
	return true;
}

static int add_child(struct who *list, int count, pid_t pid, pid_t master)
{
	struct who who;
	pid_t parent;

	if (count < PROOF_WORKERS_MAX && look_at(pid, &who, &parent) && parent == master)
		list[count++] = who;
	return count;
}

/* The kernel lists a thread's children where it was built to (CONFIG_PROC_CHILDREN); otherwise
 * every process is asked for its parent. */
static int children_of(pid_t master, struct who list[PROOF_WORKERS_MAX])
{
	char path[64];
	int count = 0;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)master, (int)master);
	FILE *file = fopen(path, "re");

	if (file != NULL) {
		int pid;

		while (fscanf(file, "%d", &pid) == 1)
			count = add_child(list, count, (pid_t)pid, master);
		fclose(file);
		return count;
	}
	if (access("/proc/self/task", F_OK) < 0 || access("/proc/thread-self/children", F_OK) == 0)
		return 0; /* the master has gone, or there is no /proc */

	DIR *dir = opendir("/proc");

	if (dir == NULL)
		return 0;
	for (struct dirent *d; (d = readdir(dir)) != NULL;)
		if (isdigit((unsigned char)d->d_name[0]))
			count = add_child(list, count, (pid_t)atoi(d->d_name), master);
	closedir(dir);
	return count;
}

static bool contains(const struct who *list, int count, const struct who *who)
{
	for (int i = 0; i < count; i++)
		if (list[i].pid == who->pid && list[i].start_ticks == who->start_ticks)
			return true;
	return false;
}

/* A worker calls itself one when it has been set up; until then it carries its master's name, and
 * once it has been told to leave it says so. */
static bool is_working(pid_t pid)
{
	char path[64], text[128] = "";
	int fd;

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;

	ssize_t n = read(fd, text, sizeof text - 1);

	close(fd);
	return n > 0 && strstr(text, "worker process") != NULL &&
	       strstr(text, "shutting down") == NULL;
}

static void find_master(struct proof *p)
{
	pid_t pid = read_pid_file(p->pid_file);
	struct who found;

	if (pid == 0 || !look_at(pid, &found, NULL))
		found = (struct who){0};
	if (found.pid == p->master.pid && found.start_ticks == p->master.start_ticks)
		return;
	/* Another master (a restart, an upgraded binary): all its workers are new. */
	if (p->master.pid != 0)
		p->before_count = 0;
	p->was_idle = false;
	p->master = found;
}

/* A master waits for signals in sigsuspend, and nowhere else for long: what it reads, it reads
 * between two of these. One that has a signal pending is not waiting any more. Where the kernel
 * does not tell, the answer is no. */
static bool is_idle(pid_t master)
{
	char path[64], text[64] = "";
	int fd;

	snprintf(path, sizeof path, "/proc/%d/syscall", (int)master);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;

	ssize_t n = read(fd, text, sizeof text - 1);

	close(fd);
	return n > 0 && isdigit((unsigned char)text[0]) &&
	       strtol(text, NULL, 10) == SYS_rt_sigsuspend;
}

static void note_log(struct proof *p)
{
	struct stat st;

	p->log.fd = open(p->error_log, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (p->log.fd >= 0 && fstat(p->log.fd, &st) == 0 && S_ISREG(st.st_mode)) {
		p->log.ino = st.st_ino;
		p->log.at = st.st_size;
		return;
	}
	if (p->log.fd >= 0)
		close(p->log.fd);
	p->log.fd = -1;
}

int proof_begin(const struct proof_options *options, uint64_t now_us, struct proof **ret_proof)
{
	struct proof *p = calloc(1, sizeof *p);

	if (p == NULL)
		return -ENOMEM;
	p->log.fd = p->rotated.fd = -1;
	p->pid_file = strdup(options->pid_file);
	p->error_log = strdup(options->error_log);
	if (p->pid_file == NULL || p->error_log == NULL) {
		proof_free(p);
		return -ENOMEM;
	}
	p->parse_us = options->parse_us ? options->parse_us : PARSE_US;
	p->began_us = now_us;
	p->deadline_us = now_us + options->timeout_us;
	find_master(p);
	if (p->master.pid != 0) {
		/* In this order: a reading that begins after this look has all of the commit, and
		 * its workers are not yet there. */
		p->was_idle = is_idle(p->master.pid);
		p->before_count = children_of(p->master.pid, p->before);
	}
	note_log(p);
	*ret_proof = p;
	return 0;
}

struct proof *proof_free(struct proof *p)
{
	if (p == NULL)
		return NULL;
	if (p->log.fd >= 0)
		close(p->log.fd);
	if (p->rotated.fd >= 0)
		close(p->rotated.fd);
	free(p->pid_file);
	free(p->error_log);
	free(p);
	return NULL;
}

bool proof_running(const struct proof *p)
{
	return p->master.pid != 0;
}

void proof_reloaded(struct proof *p, uint64_t now_us)
{
	if (p->reloaded_us == 0)
		p->reloaded_us = now_us;
}

uint64_t proof_poll_gap_us(const struct proof *p, uint64_t now_us)
{
	/* When workers came up does not matter here, and before the command has ended there is no
	 * answer yet: it has the processor to itself. */
	if (p->was_idle && p->reloaded_us == 0)
		return POLL_LATER_US;
	return now_us - p->began_us < POLL_FIRST_FOR_US ? POLL_FIRST_US : POLL_LATER_US;
}

const char *proof_text(const struct proof *p)
{
	return p->text;
}

/* "2026/11/20 12:00:00 [emerg] 1234#1234: bind() to ...": said by the master or one of its own? A
 * `nginx -t` that somebody runs beside us writes into the same log under its own number. */
static bool is_ours(const struct proof *p, const char *line)
{
	const char *at = strstr(line, "[emerg] ");
	struct who all[PROOF_WORKERS_MAX];
	pid_t pid;

	if (at == NULL)
		return false;
	pid = (pid_t)atoi(at + strlen("[emerg] "));
	if (pid == p->master.pid)
		return true;
	for (int i = 0; i < p->fresh_count; i++)
		if (p->fresh[i].pid == pid)
			return true;

	int count = p->master.pid ? children_of(p->master.pid, all) : 0;

	for (int i = 0; i < count; i++)
		if (all[i].pid == pid)
			return true;
	return false;
}

static void append_text(struct proof *p, const char *line)
{
	size_t used = strlen(p->text);

	snprintf(p->text + used, sizeof p->text - used, "%s%s", used ? "\n" : "", line);
}

static bool complained_in(struct proof *p, struct log *log)
{
	static char buffer[TAIL_BYTES_MAX + 1];
	bool found = false;
	ssize_t n = log->fd < 0 ? 0 : pread(log->fd, buffer, TAIL_BYTES_MAX, log->at);

	if (n <= 0)
		return false;
	buffer[n] = '\0';

	/* Whole lines alone; the rest is read again when it is complete. */
	char *end = strrchr(buffer, '\n');

	if (end == NULL && n < TAIL_BYTES_MAX)
		return false;
	if (end != NULL) {
		*end = '\0';
		log->at += end - buffer + 1;
	} else {
		log->at += n;
	}
	char *save = NULL;

	for (char *line = strtok_r(buffer, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (is_ours(p, line)) {
			append_text(p, line);
			found = true;
		}
	return found;
}

/* Only what was written since the commit. A log that was rotated meanwhile is read on, and the new
 * one from its beginning: which of them nginx writes to just then cannot be known. */
static bool has_complained(struct proof *p)
{
	bool found = complained_in(p, &p->rotated);
	struct stat st;

	found |= complained_in(p, &p->log); /* read on, whatever the other says */
	if (stat(p->error_log, &st) == 0 && S_ISREG(st.st_mode) &&
	    (p->log.fd < 0 || st.st_ino != p->log.ino)) {
		int fd = open(p->error_log, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

		if (fd >= 0) {
			if (p->rotated.fd >= 0)
				close(p->rotated.fd);
			p->rotated = p->log;
			p->log = (struct log){.fd = fd, .ino = st.st_ino};
			found |= complained_in(p, &p->log);
		}
	}
	return found;
}

/* How many of the new workers are at work now. */
static int look_for_workers(struct proof *p, uint64_t now_us)
{
	struct who all[PROOF_WORKERS_MAX];
	int count = children_of(p->master.pid, all);
	int working = 0;

	for (int i = 0; i < count; i++) {
		if (contains(p->before, p->before_count, &all[i]) || !is_working(all[i].pid))
			continue;
		working++;
		if (contains(p->fresh, p->fresh_count, &all[i]) ||
		    p->fresh_count == PROOF_WORKERS_MAX)
			continue;
		p->fresh[p->fresh_count++] = all[i];
		if (p->first_us == 0)
			p->first_us = now_us;
		p->latest_us = now_us;
		/* What the master had begun to read before the commit was complete is up by
		 * began + parse. Later ones have read the commit, and so have all of a master that
		 * was reading nothing then. */
		if (p->was_idle || now_us > p->began_us + p->parse_us)
			p->clear_count++;
	}
	return working;
}

enum proof_verdict proof_poll(struct proof *p, uint64_t now_us)
{
	struct who before = p->master;

	find_master(p);
	if (p->master.pid == 0 && before.pid == 0 && p->reloaded_us == 0)
		return PROOF_NOT_RUNNING;
	if (has_complained(p))
		return PROOF_FAILED;

	int working = p->master.pid ? look_for_workers(p, now_us) : 0;

	if (working > 0 && p->reloaded_us != 0) {
		uint64_t quiet_since_us =
			p->latest_us > p->reloaded_us ? p->latest_us : p->reloaded_us;

		if (p->clear_count > 0 || now_us > quiet_since_us + 2 * p->parse_us) {
			/* One more look at the log: the complaint of a worker that just came up
			 * is written before it calls itself one. */
			return has_complained(p) ? PROOF_FAILED : PROOF_LOADED;
		}
	}
	if (now_us < p->deadline_us)
		return PROOF_WAITING;
	if (p->master.pid == 0)
		append_text(p, "nginx has ended during the reload");
	else if (p->fresh_count > 0)
		append_text(p, "nginx started new workers, but they did not stay");
	else
		append_text(p, "nginx has no new worker process: it has not reloaded (is pid_file "
			       "that of its master, and master_process on?)");
	return PROOF_FAILED;
}
