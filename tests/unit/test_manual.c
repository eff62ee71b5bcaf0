/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manual pages, and the table for users of keepalived: clean, and complete. What settings there
 * are is asked of the parser itself, so that a setting without a paragraph cannot be added. Run
 * from the root of the tree.
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

/* ---- docs/KEEPALIVED.md ---- */

/* Groups of settings, as the table calls them, and a text that has the parser list what it knows.
 */
static const struct {
	const char *prefix, *text;
} groups_of_settings[] = {
	{"", UNKNOWN},
	{"nodes.", "nodes = ( { " UNKNOWN " } );"},
	{"checks.", "checks = ( { " UNKNOWN " } );"},
	{"vrrp.", "vrrp = ( { " UNKNOWN " } );"},
	{"vrrp.virtual_ipaddress.", "vrrp = ( { virtual_ipaddress = ( { " UNKNOWN " } ); } );"},
	{"vrrp.virtual_routes.", "vrrp = ( { virtual_routes = ( { " UNKNOWN " } ); } );"},
	{"vrrp.unicast_peer.", "vrrp = ( { unicast_peer = ( { " UNKNOWN " } ); } );"},
	{"vrrp.track.", "vrrp = ( { track = ( { " UNKNOWN " } ); } );"},
	{"groups.", "groups = ( { " UNKNOWN " } );"},
	{"mirrors.", "mirrors = ( { " UNKNOWN " } );"},
};

/* "|name|name|..." with their prefixes. */
static void list_settings(char *list, size_t room)
{
	for (size_t g = 0; g < sizeof groups_of_settings / sizeof *groups_of_settings; g++) {
		const char *text = groups_of_settings[g].text;
		struct conf_problems problems = {0};
		struct conf *conf = NULL;
		bool listed = false;

		assert_int_equal(conf_parse(text, strlen(text), &problems, &conf), -EINVAL);
		for (int i = 0; i < problems.count; i++) {
			static const char intro[] = "known here: ";
			char *cure = problems.items[i].cure;

			if (strncmp(cure, intro, strlen(intro)) != 0)
				continue;
			listed = true;
			for (char *name = strtok(cure + strlen(intro), ", "); name;
			     name = strtok(NULL, ", "))
				snprintf(list + strlen(list), room - strlen(list), "|%s%s|",
					 groups_of_settings[g].prefix, name);
		}
		if (!listed)
			fail_msg("the parser does not say what \"%s\" knows", text);
		conf_problems_release(&problems);
	}
	assert_true(strlen(list) < room - 1);
}

/* Every `name` of the text from..end is a setting; how many there are. Of a note only those that
 * look like one. */
static int expect_settings(const char *list, const char *from, const char *end, bool note)
{
	int count = 0;

	while ((from = memchr(from, '`', (size_t)(end - from)))) {
		const char *name = ++from;
		char wanted[128];

		from = memchr(from, '`', (size_t)(end - from));
		assert_non_null(from);
		snprintf(wanted, sizeof wanted, "|%.*s|", (int)(from - name), name);
		if (note && strncmp(name, "vrrp.", 5) != 0 && strncmp(name, "checks.", 7) != 0 &&
		    strncmp(name, "groups.", 7) != 0) {
			from++;
			continue;
		}
		if (!strstr(list, wanted))
			fail_msg("docs/KEEPALIVED.md names %.*s, which is no setting",
				 (int)(from - name), name);
		from++;
		count++;
	}
	return count;
}

/* What the parser says of each plain word of keepalived's in from..end is no guess. */
static int expect_hints(const char *group, const char *from, const char *end)
{
	int count = 0;

	while ((from = memchr(from, '`', (size_t)(end - from)))) {
		const char *name = ++from;
		struct conf_problems problems = {0};
		struct conf *conf = NULL;
		char text[256], setting[128];
		int size;

		from = memchr(from, '`', (size_t)(end - from));
		assert_non_null(from);
		size = (int)(from++ - name);
		if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != (size_t)size)
			continue;
		snprintf(text, sizeof text, "%s%.*s = 1;%s", group ? group : "", size, name,
			 group ? " } );" : "");
		snprintf(setting, sizeof setting, "%.*s", size, name);
		assert_int_equal(conf_parse(text, strlen(text), &problems, &conf), -EINVAL);
		for (int i = 0; i < problems.count; i++) {
			const struct conf_problem *problem = &problems.items[i];

			if (strcmp(problem->cause, "unknown setting") != 0 ||
			    !strstr(problem->setting, setting))
				continue;
			if (strncmp(problem->cure, "known here", 10) == 0 ||
			    strncmp(problem->cure, "did you mean", 12) == 0)
				fail_msg("whoever brings %s from keepalived is told: %s", setting,
					 problem->cure);
			count++;
		}
		conf_problems_release(&problems);
	}
	return count;
}

static void every_setting_in_the_table_for_users_of_keepalived_exists(void **state)
{
	FILE *file = fopen("docs/KEEPALIVED.md", "r");
	static char list[16384];
	char line[4096];
	const char *group = NULL;
	int keywords = 0, settings = 0, without = 0, hints = 0;

	(void)state;
	assert_non_null(file);
	list_settings(list, sizeof list);
	while (fgets(line, sizeof line, file)) {
		char *second, *third, *end;
		int named;

		if (strncmp(line, "## ", 3) == 0)
			group = strncmp(line + 3, "global_defs", 11) == 0   ? NULL
				: strncmp(line + 3, "vrrp_script", 11) == 0 ? "checks = ( { "
				: strncmp(line + 3, "vrrp_sync", 9) == 0    ? "groups = ( { "
									    : "vrrp = ( { ";
		if (strncmp(line, "| `", 3) != 0)
			continue;
		second = strstr(line, " | ");
		third = second ? strstr(second + 3, " | ") : NULL;
		end = third ? strrchr(third + 2, '|') : NULL;
		if (!end)
			fail_msg("a row of docs/KEEPALIVED.md has not three columns: %s", line);
		keywords++;
		named = expect_settings(list, second + 3, third, false);
		expect_settings(list, third, end, true);
		settings += named;
		if (named)
			continue;
		/* Then it says why there is none. */
		assert_int_equal(strncmp(second + 3, "–", strlen("–")), 0);
		if (end - third < 10)
			fail_msg("docs/KEEPALIVED.md does not say why: %s", line);
		without++;
		hints += expect_hints(group, line, second);
	}
	fclose(file);
	assert_true(keywords >= 100 && settings >= 80);
	printf("figure: %d rows of keepalived's keywords: %d settings, %d rows that need none, "
	       "with "
	       "%d hints\n",
	       keywords, settings, without, hints);
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
		cmocka_unit_test(every_setting_in_the_table_for_users_of_keepalived_exists),
		cmocka_unit_test(the_example_of_the_page_is_a_good_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
