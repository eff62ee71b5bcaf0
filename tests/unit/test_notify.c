/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/notify.h"

static char text[512];

static int listen_at(const char *name, size_t size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, name, size);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
			 0);
	return fd;
}

static const char *receive(int fd)
{
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void the_manager_hears_the_state(void **state)
{
	char path[] = "/tmp/tandem-test-notify-XXXXXX", name[64];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	(void)snprintf(name, sizeof(name), "%s/socket", path);
	fd = listen_at(name, strlen(name) + 1);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	notify_service("READY=1\nSTATUS=serving");
	assert_string_equal(receive(fd), "READY=1\nSTATUS=serving");
	notify_service("RELOADING=1");
	assert_int_equal(strncmp(receive(fd), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
	assert_true(strtoull(text + 27, NULL, 10) > 0);
	/* It hangs: we do not. */
	for (int i = 0; i < 10000; i++)
		notify_service("WATCHDOG=1");
	close(fd);
	unlink(name);
	rmdir(path);
	notify_service("READY=1");
	unsetenv("NOTIFY_SOCKET");
}

static void an_abstract_socket_is_reached(void **state)
{
	char name[64], variable[64];
	int fd, n;

	(void)state;
	n = snprintf(name, sizeof(name), "%ctandem-test-notify-%d", '\0', (int)getpid());
	(void)snprintf(variable, sizeof(variable), "@%s", name + 1);
	fd = listen_at(name, (size_t)n);
	assert_int_equal(setenv("NOTIFY_SOCKET", variable, 1), 0);
	notify_service("STOPPING=1");
	assert_string_equal(receive(fd), "STOPPING=1");
	unsetenv("NOTIFY_SOCKET");
	close(fd);
}

static void without_a_manager_nothing_happens(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	notify_service("READY=1");
	assert_int_equal(setenv("NOTIFY_SOCKET", "relative", 1), 0);
	notify_service("READY=1");
	unsetenv("NOTIFY_SOCKET");
}

static void the_watchdog_counts_only_if_it_is_meant_for_us(void **state)
{
	char pid[32];

	(void)state;
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	assert_true(notify_watchdog_us() == 0);
	assert_int_equal(setenv("WATCHDOG_USEC", "3000000", 1), 0);
	assert_true(notify_watchdog_us() == 3000000);
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
	assert_true(notify_watchdog_us() == 3000000);
	assert_int_equal(setenv("WATCHDOG_PID", "1", 1), 0);
	assert_true(notify_watchdog_us() == 0);
	assert_int_equal(setenv("WATCHDOG_USEC", "3s", 1), 0);
	unsetenv("WATCHDOG_PID");
	assert_true(notify_watchdog_us() == 0);
	unsetenv("WATCHDOG_USEC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_manager_hears_the_state),
		cmocka_unit_test(an_abstract_socket_is_reached),
		cmocka_unit_test(without_a_manager_nothing_happens),
		cmocka_unit_test(the_watchdog_counts_only_if_it_is_meant_for_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
