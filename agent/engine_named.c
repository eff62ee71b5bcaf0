/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes by their name, as the kernel keeps it (comm). As many as the quorum asks for are
 * watched through pidfds, so that the death of one is known at once; only when too few of them are
 * left is /proc searched, and again at each interval while too few are found. So a check that is
 * well costs a few small reads an interval, however many processes the host runs.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/engine_private.h"
#include "shared/log.h"

struct watched {
	int pid, pidfd;
	struct loop_fd *source; /* NULL: only looked at */
};

struct engine_named {
	struct engine_check *check;
	char comm[CONF_COMM_BYTES + 1];
	struct watched list[CONF_QUORUM_MAX];
	int count;
};

int engine_named_new(struct engine_check *check, struct engine_named **ret_named)
{
	struct engine_named *named = calloc(1, sizeof *named);

	if (!named)
		return -ENOMEM;
	named->check = check;
	snprintf(named->comm, sizeof named->comm, "%s", check->conf->process_name);
	*ret_named = named;
	return 0;
}

static void forget(struct engine_named *named, int at)
{
	loop_fd_remove(named->list[at].source);
	close(named->list[at].pidfd);
	named->list[at] = named->list[--named->count];
}

struct engine_named *engine_named_free(struct engine_named *named)
{
	while (named && named->count)
		forget(named, named->count - 1);
	free(named);
	return NULL;
}

static bool has_name(const struct engine_named *named, int pid)
{
	char path[32], comm[32];
	ssize_t size;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	size = read(fd, comm, sizeof comm - 1);
	close(fd);
	if (size > 0 && comm[size - 1] == '\n')
		size--;
	return size == (ssize_t)strlen(named->comm) && !memcmp(comm, named->comm, (size_t)size);
}

static void on_end(void *ctx, int fd, uint32_t events)
{
	struct engine_named *named = ctx;

	(void)events;
	for (int i = 0; i < named->count; i++) {
		if (named->list[i].pidfd != fd)
			continue;
		log_info("check %s: process %d (%s) has ended", named->check->conf->name,
			 named->list[i].pid, named->comm);
		forget(named, i);
		break;
	}
	engine_check_start(named->check);
}

static void watch(struct engine_named *named, int pid)
{
	struct watched *new = &named->list[named->count];
	int error;

	for (int i = 0; i < named->count; i++)
		if (named->list[i].pid == pid)
			return;
	*new = (struct watched){.pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
	if (new->pidfd < 0)
		return;
	/* The descriptor came first: what it refers to has the name, or has ended. */
	if (!has_name(named, pid) || engine_check_ended(new->pidfd)) {
		close(new->pidfd);
		return;
	}
	named->count++;
	error = loop_fd_add(named->check->engine->loop, new->pidfd, EPOLLIN, on_end, named,
			    &new->source);
	if (error)
		log_warn("check %s: process %d cannot be watched (%s), only looked at",
			 named->check->conf->name, pid, strerror(-error));
}

static int search(struct engine_named *named)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (!proc)
		return -errno;
	while (named->count < named->check->conf->quorum && (entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0])) {
			int pid = atoi(entry->d_name);

			if (pid > 0 && has_name(named, pid))
				watch(named, pid);
		}
	closedir(proc);
	return 0;
}

enum health_result engine_named_look(struct engine_named *named)
{
	struct engine_check *check = named->check;
	int wanted = check->conf->quorum, error = 0;

	/* An exec gives a process another name, and no descriptor tells. */
	for (int i = named->count - 1; i >= 0; i--)
		if (engine_check_ended(named->list[i].pidfd) ||
		    !has_name(named, named->list[i].pid))
			forget(named, i);
	if (named->count < wanted)
		error = search(named);
	if (error) {
		snprintf(check->detail, sizeof check->detail, "/proc: %s", strerror(-error));
		return HEALTH_NOT_EXECUTED;
	}
	if (named->count >= wanted && wanted == 1)
		snprintf(check->detail, sizeof check->detail, "process %d (%s)", named->list[0].pid,
			 named->comm);
	else if (named->count >= wanted)
		snprintf(check->detail, sizeof check->detail, "at least %d processes %s", wanted,
			 named->comm);
	else if (wanted == 1)
		snprintf(check->detail, sizeof check->detail, "there is no process %s",
			 named->comm);
	else
		snprintf(check->detail, sizeof check->detail, "%d processes %s instead of %d",
			 named->count, named->comm, wanted);
	return named->count >= wanted ? HEALTH_OK : HEALTH_FAILED;
}
