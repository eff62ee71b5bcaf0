/* SPDX-License-Identifier: Apache-2.0 */
/* Maintenance is a file that is there or not. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/agent_maintenance.h"

static void maintenance_is_remembered_until_it_ends(void **state)
{
	char dir[] = "/tmp/tandem-maintenance-XXXXXX", below[64], file[96];
	bool on = true;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(below, sizeof below, "%s/state", dir);
	snprintf(file, sizeof file, "%s/maintenance", below);
	assert_int_equal(agent_maintenance_read(below, &on), 0); /* no directory yet */
	assert_false(on);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(agent_maintenance_write(below, true), 0);
		assert_int_equal(agent_maintenance_read(below, &on), 0);
		assert_true(on);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(agent_maintenance_write(below, false), 0);
		assert_int_equal(agent_maintenance_read(below, &on), 0);
		assert_false(on);
	}
	assert_int_equal(access(file, F_OK), -1);
	assert_int_equal(rmdir(below), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void what_cannot_be_written_is_an_error(void **state)
{
	bool on = true;

	(void)state;
	assert_int_equal(agent_maintenance_write("/proc/self/status/x", true), -ENOTDIR);
	assert_int_equal(agent_maintenance_read("/proc/self/status", &on), -ENOTDIR);
	assert_false(on);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maintenance_is_remembered_until_it_ends),
		cmocka_unit_test(what_cannot_be_written_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
