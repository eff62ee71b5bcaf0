/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manual pages: clean, and complete. What settings there are is asked of the parser itself, so
 * that a setting without a paragraph cannot be added. Run from the root of the tree.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/conf_texts.h"

static void the_pages_have_no_fault_that_mandoc_finds(void **state)
{
	int status;

	(void)state;
	status = system("command -v mandoc >/dev/null");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("mandoc is not there: make deps installs it");
	status = system("mandoc -T lint -W warning docs/man/*.[1-8]");
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The setting that the parser does not know; the message lists those that it does. */
#define UNKNOWN "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1;"

static int expect_described(const char *page, const char *text)
{
	struct conf_problems problems = {0};
	struct conf *conf = NULL;
	int described = 0;

	assert_int_equal(conf_parse(text, strlen(text), &problems, &conf), -EINVAL);
	for (int i = 0; i < problems.count; i++) {
		static const char intro[] = "known here: ";
		char *cure = problems.items[i].cure;
		char *name;

		if (strncmp(cure, intro, strlen(intro)) != 0)
			continue;
		for (name = strtok(cure + strlen(intro), ", "); name; name = strtok(NULL, ", ")) {
			char heading[128];

			snprintf(heading, sizeof heading, "\n.It Ic %s No = ", name);
			if (!strstr(page, heading))
				fail_msg("tandem.conf(5) does not describe %s", name);
			described++;
		}
	}
	conf_problems_release(&problems);
	return described;
}

static void every_setting_that_is_accepted_is_described(void **state)
{
	FILE *file = fopen("docs/man/tandem.conf.5", "r");
	char *page = calloc(1, 65536);
	int described = 0;

	(void)state;
	if (!file)
		fail_msg("docs/man/tandem.conf.5: %s; run this from the root of the tree",
			 strerror(errno));
	assert_true(fread(page, 1, 65535, file) > 0);
	fclose(file);
	described += expect_described(page, UNKNOWN);
	described += expect_described(page, "nodes = ( { " UNKNOWN " } );");
	described += expect_described(page, "checks = ( { " UNKNOWN " } );");
	described += expect_described(page, "vrrp = ( { " UNKNOWN " } );");
	described += expect_described(page, "groups = ( { " UNKNOWN " } );");
	described += expect_described(page, "mirrors = ( { " UNKNOWN " } );");
	assert_true(described >= 50);
	free(page);
	printf("figure: %d settings, each described\n", described);
}

/* What follows .Bd -literal below EXAMPLES is a file that works. */
static void the_example_of_the_page_is_a_good_file(void **state)
{
	FILE *file = fopen("docs/man/tandem.conf.5", "r");
	char *page = calloc(1, 65536), *start, *end, *said;

	(void)state;
	assert_non_null(file);
	assert_true(fread(page, 1, 65535, file) > 0);
	fclose(file);
	start = strstr(page, ".Sh EXAMPLES\n.Bd -literal\n");
	assert_non_null(start);
	start += strlen(".Sh EXAMPLES\n.Bd -literal\n");
	end = strstr(start, "\n.Ed");
	assert_non_null(end);
	*end = '\0';
	conf_free(parse_good(start, &said));
	assert_string_equal(said, "");
	free(said);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_pages_have_no_fault_that_mandoc_finds),
		cmocka_unit_test(every_setting_that_is_accepted_is_described),
		cmocka_unit_test(the_example_of_the_page_is_a_good_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
