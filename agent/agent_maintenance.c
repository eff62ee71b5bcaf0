/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent_maintenance.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "shared/durable.h"

#define FILE_NAME "maintenance"
static const char text[] = "# While this file is here, tandem-agent holds addresses only where no "
			   "other node answers.\n# `tandem maintenance off` takes it away.\n";

int agent_maintenance_read(const char *state_dir, bool *ret_on)
{
	int dirfd = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC), error = 0;

	*ret_on = false;
	if (dirfd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (faccessat(dirfd, FILE_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		*ret_on = true;
	else if (errno != ENOENT)
		error = -errno;
	close(dirfd);
	return error;
}

int agent_maintenance_write(const char *state_dir, bool on)
{
	int error = durable_mkdir(state_dir, 0700), dirfd;

	if (error)
		return error;
	dirfd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return -errno;
	if (on)
		error = durable_write(dirfd, FILE_NAME, text, strlen(text), 0644);
	else if (unlinkat(dirfd, FILE_NAME, 0) == 0)
		error = durable_sync_dir(dirfd);
	else if (errno != ENOENT)
		error = -errno;
	close(dirfd);
	return error;
}
