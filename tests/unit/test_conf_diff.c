/* SPDX-License-Identifier: Apache-2.0 */
/* What two readings of the file say differently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/conf_diff.h"

#define NODES                                                                                      \
	"cluster = \"edge\"; nodes = ( { name = \"web1\"; address = \"198.51.100.1\"; }, "         \
	"{ name = \"web2\"; address = \"198.51.100.2\"; } );\n"
#define ROUTER(name, vrid, vip, more)                                                              \
	"{ name = \"" name "\"; interface = \"eth0\"; virtual_router_id = " vrid                   \
	"; priority = { web1 = 100; web2 = 90; }; virtual_ipaddress = [ \"" vip "\" ]; " more "}"
#define VI_1 ROUTER("VI_1", "51", "198.51.100.200/24", "")
#define VI_2 ROUTER("VI_2", "52", "198.51.100.201/24", "")

static const char *secret; /* in the file for it; NULL: there is none. Another one each time. */
static char secret_path[64];

static void write_secret(void)
{
	FILE *file;

	if (!secret)
		return;
	file = fopen(secret_path, "we");
	assert_non_null(file);
	fputs(secret, file);
	fclose(file);
	assert_int_equal(chmod(secret_path, 0600), 0);
	secret = "two";
}

static void load(const char *text, struct conf_snapshot *ret_snapshot)
{
	struct conf_problems problems = {0};
	char path[] = "/tmp/test_conf_diff_XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	r = conf_snapshot_load(path, "web1", 1, &problems, ret_snapshot);
	if (r)
		conf_problems_print(&problems, path, stderr);
	unlink(path);
	assert_int_equal(r, 0);
	write_secret();
	assert_int_equal(conf_snapshot_add_secrets(ret_snapshot, &problems), 0);
	if (*secret_path)
		unlink(secret_path);
	conf_problems_release(&problems);
}

/* As lines: "changed vrrp VI_1: priority.web1 100 -> 110". */
static void expect(const char *before, const char *after, const char *wanted)
{
	struct conf_snapshot from, to;
	json_t *changes, *change, *setting;
	size_t i, k, size;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);

	load(before, &from);
	load(after, &to);
	assert_int_equal(conf_diff(&from, &to, &changes), 0);
	json_array_foreach (changes, i, change)
		json_array_foreach (json_object_get(change, "settings"), k, setting) {
			const char *was = json_string_value(json_object_get(setting, "before"));
			const char *is = json_string_value(json_object_get(setting, "after"));

			fprintf(out, "%s %s %s: %s %s -> %s\n",
				json_string_value(json_object_get(change, "change")),
				json_string_value(json_object_get(change, "section")),
				json_string_value(json_object_get(change, "name")),
				json_string_value(json_object_get(setting, "setting")),
				was ? was : "-", is ? is : "-");
		}
	fclose(out);
	assert_string_equal(text, wanted);
	free(text);
	json_decref(changes);
	conf_snapshot_release(&from);
	conf_snapshot_release(&to);
}

static void a_file_does_not_differ_from_itself(void **state)
{
	(void)state;
	expect(NODES "vrrp = ( " VI_1 " );", NODES "vrrp = ( " VI_1 " );", "");
	/* Nor for blanks, comments, the order of settings, and how a number is written. */
	expect(NODES "log_level = \"info\"; checks = ( { name = \"a\"; process = \"/run/a.pid\"; "
		     "interval = 1; } );",
	       "# new\n" NODES "checks = (\n { interval = 1.0; name = \"a\";\nprocess = "
	       "\"/run/a.pid\"; } ); log_level = \"info\";",
	       "");
}

static void each_setting_that_changed_is_named_with_both_values(void **state)
{
	(void)state;
	expect(NODES "vrrp = ( " VI_1 " );",
	       NODES "vrrp = ( { name = \"VI_1\"; interface = \"eth0\"; virtual_router_id = 51; "
		     "priority = { web1 = 110; web2 = 90; }; advert_int = 0.5; nopreempt = true; "
		     "virtual_ipaddress = [ \"198.51.100.200/24\", \"198.51.100.202/24\" ]; } );",
	       "changed vrrp VI_1: priority.web1 100 -> 110\n"
	       "changed vrrp VI_1: advert_int - -> 0.5\n"
	       "changed vrrp VI_1: nopreempt - -> true\n"
	       "changed vrrp VI_1: virtual_ipaddress [ \"198.51.100.200/24\" ] -> "
	       "[ \"198.51.100.200/24\", \"198.51.100.202/24\" ]\n");
	expect(NODES "log_level = \"info\";", NODES "control_group = \"adm\";",
	       "changed  : control_group - -> \"adm\"\n"
	       "changed  : log_level \"info\" -> -\n");
}

static void entries_come_and_go_by_their_names(void **state)
{
	static const char *const gone =
		"removed vrrp VI_2: name \"VI_2\" -> -\n"
		"removed vrrp VI_2: interface \"eth0\" -> -\n"
		"removed vrrp VI_2: virtual_router_id 52 -> -\n"
		"removed vrrp VI_2: priority.web1 100 -> -\n"
		"removed vrrp VI_2: priority.web2 90 -> -\n"
		"removed vrrp VI_2: virtual_ipaddress [ \"198.51.100.201/24\" ] -> -\n";

	(void)state;
	expect(NODES "vrrp = ( " VI_2 ", " VI_1 " );", NODES "vrrp = ( " VI_1 " );", gone);
	expect(NODES "vrrp = ( " VI_2 " );", NODES, gone);
	expect(NODES, NODES "checks = ( { name = \"a\"; process = \"/run/a.pid\"; } );",
	       "added checks a: name - -> \"a\"\n"
	       "added checks a: process - -> \"/run/a.pid\"\n");
	/* Their order means nothing, but for the nodes. */
	expect(NODES "vrrp = ( " VI_1 ", " VI_2 " );", NODES "vrrp = ( " VI_2 ", " VI_1 " );", "");
	expect(NODES,
	       "cluster = \"edge\"; nodes = ( { name = \"web2\"; address = \"198.51.100.2\"; }, "
	       "{ name = \"web1\"; address = \"198.51.100.1\"; } );\n",
	       "changed nodes : order [\"web1\", \"web2\"] -> [\"web2\", \"web1\"]\n");
}

static void passwords_are_named_and_not_told(void **state)
{
	char dir[] = "/tmp/tandem-conf-diff-XXXXXX", text[1024];

	(void)state;
	expect(NODES "vrrp = ( " ROUTER("VI_1", "51", "198.51.100.200/24",
					"version = 2; advert_int = 1; auth_type = \"PASS\"; "
					"auth_pass = \"one\"; ") " );",
	       NODES "vrrp = ( " ROUTER("VI_1", "51", "198.51.100.200/24",
					"version = 2; advert_int = 1; auth_type = \"PASS\"; "
					"auth_pass = \"two\"; ") " );",
	       "changed vrrp VI_1: auth_pass (hidden) -> (hidden)\n");
	/* In a file of its own: the name may be told, and what stands in it is compared. */
	assert_non_null(mkdtemp(dir));
	snprintf(secret_path, sizeof secret_path, "%s/pass", dir);
	snprintf(text, sizeof text,
		 NODES "vrrp = ( " ROUTER("VI_1", "51", "198.51.100.200/24",
					  "version = 2; advert_int = 1; auth_type = \"PASS\"; "
					  "auth_pass_file = \"%s\"; ") " );",
		 secret_path);
	secret = "one";
	expect(text, text,
	       "changed vrrp VI_1: what stands in auth_pass_file (hidden) -> (hidden)\n");
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_does_not_differ_from_itself),
		cmocka_unit_test(each_setting_that_changed_is_named_with_both_values),
		cmocka_unit_test(entries_come_and_go_by_their_names),
		cmocka_unit_test(passwords_are_named_and_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
