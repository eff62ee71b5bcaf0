/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wall_clock: loaded before a program (LD_PRELOAD), moves the wall clock that the program sees by
 * as many seconds as the file says that WALL_CLOCK names, and no other clock, and no timer, as when
 * somebody sets the machine's. (libfaketime moves the deadlines of timerfds as well, whichever
 * clock they are of, and so stops or spins a loop that the wall clock is nothing to.)
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long moved_by_s(void)
{
	const char *path = getenv("WALL_CLOCK");
	char text[32];
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t size;

	if (fd < 0)
		return 0;
	size = read(fd, text, sizeof text - 1);
	close(fd);
	text[size > 0 ? size : 0] = '\0';
	return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	const int result = (int)syscall(SYS_clock_gettime, clock, ts);

	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ts->tv_sec += moved_by_s();
	return result;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *ret_seconds)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (ret_seconds)
		*ret_seconds = ts.tv_sec;
	return ts.tv_sec;
}
