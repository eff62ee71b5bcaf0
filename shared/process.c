/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int process_read(pid_t pid, struct process *ret_process)
{
	char path[32], text[1024], *open_at, *close_at, state;
	unsigned long long user_ticks, start_ticks;
	ssize_t size;
	int fd, parent;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size = read(fd, text, sizeof text - 1);
	close(fd);
	if (size <= 0)
		return -ESRCH;
	text[size] = '\0';
	/* The name in parentheses may hold anything, so it ends at the last one. */
	open_at = strchr(text, '(');
	close_at = strrchr(text, ')');
	if (!open_at || !close_at || close_at < open_at)
		return -EPROTO;
	*close_at = '\0';
	/* State and parent are the fields 3 and 4, user time and start are 14 and 22. */
	if (sscanf(close_at + 1,
		   " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %*u %*d %*d %*d %*d %*d %*d "
		   "%llu",
		   &state, &parent, &user_ticks, &start_ticks) != 4)
		return -EPROTO;
	*ret_process = (struct process){.pid = pid,
					.parent = (pid_t)parent,
					.state = state,
					.user_ticks = user_ticks,
					.start_ticks = start_ticks};
	snprintf(ret_process->comm, sizeof ret_process->comm, "%s", open_at + 1);
	return 0;
}
