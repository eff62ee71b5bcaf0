/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void notify_service(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timespec now = {0};
	char text[512];
	size_t size;
	int fd, n;

	if (!path || (path[0] != '/' && path[0] != '@'))
		return;
	size = strlen(path);
	if (size >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, size);
	if (path[0] == '@')
		address.sun_path[0] = '\0'; /* an abstract name, which has no terminator */
	/* Type=notify-reload pairs the RELOADING=1 with the READY=1 after it by this number. */
	if (strstr(state, "RELOADING=1")) {
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		n = snprintf(text, sizeof(text), "%s\nMONOTONIC_USEC=%lld", state,
			     (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	} else {
		n = snprintf(text, sizeof(text), "%s", state);
	}
	if (n < 0 || (size_t)n >= sizeof(text))
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, text, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&address,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
	close(fd);
}

static uint64_t read_number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	unsigned long long value;

	if (!text || *text < '0' || *text > '9')
		return 0;
	value = strtoull(text, &end, 10);
	return *end == '\0' ? value : 0;
}

uint64_t notify_watchdog_us(void)
{
	uint64_t pid = read_number("WATCHDOG_PID");

	/* Inherited by a child, the variable is not meant for it. */
	if (pid != 0 && pid != (uint64_t)getpid())
		return 0;
	return read_number("WATCHDOG_USEC");
}
