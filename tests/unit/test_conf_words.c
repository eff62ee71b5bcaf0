/* SPDX-License-Identifier: Apache-2.0 */
/* Words that people bring from keepalived: that they are read, and what wrong ones are told. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/conf_texts.h"

static void three_adverts_may_be_missing_unless_the_file_says_otherwise(void **state)
{
	struct conf *c = parse_good(HEAD VRRP(""), NULL);

	(void)state;
	assert_int_equal(c->vrrps[0].down_adverts, 3);
	conf_free(c);
	c = parse_good(HEAD VRRP("down_timer_adverts = 100;"), NULL);
	assert_int_equal(c->vrrps[0].down_adverts, 100);
	conf_free(c);
	expect_said(HEAD VRRP("down_timer_adverts = 101;"),
		    "f:7: vrrp.VI_1.down_timer_adverts: 101 is out of range; 1 to 100 are "
		    "possible\n");
	expect_said(HEAD VRRP("down_timer_adverts = 1;"),
		    "f:7: warning: vrrp.VI_1.down_timer_adverts: one advert that is lost or a "
		    "little late makes two masters; write 2 or more\n");
}

static void the_start_up_delay_is_one_for_all(void **state)
{
	struct conf *c = parse_good(HEAD "vrrp_startup_delay = 2.5;\n" VRRP(""), NULL);

	(void)state;
	assert_int_equal(c->startup_delay_us, 2500000);
	conf_free(c);
	expect_said(HEAD "vrrp_startup_delay = \"2h\";\n" VRRP(""),
		    "f:4: vrrp_startup_delay: \"2h\" is out of range; 0s to 1h are possible\n");
	expect_said(HEAD "startup_delay = 1;\n" VRRP(""),
		    "f:4: startup_delay: unknown setting; did you mean vrrp_startup_delay?\n");
}

static void announcements_follow_the_top_level_unless_an_instance_differs(void **state)
{
	struct conf *c = parse_good(HEAD VRRP(""), NULL);
	const struct conf_garp *garp = &c->vrrps[0].garp;

	(void)state;
	assert_int_equal(garp->master_delay_us, 1000000);
	assert_int_equal(garp->master_repeat, 1);
	assert_int_equal(garp->refresh_us, 60000000);
	assert_int_equal(garp->refresh_repeat, 1);
	assert_int_equal(garp->lower_prio_delay_us, 1000000);
	assert_int_equal(garp->lower_prio_repeat, 1);
	assert_int_equal(c->garp_interval_us, 0);
	conf_free(c);
	c = parse_good(HEAD "vrrp_garp_master_delay = 5; vrrp_garp_master_repeat = 5;\n"
			    "vrrp_garp_master_refresh = 30; vrrp_garp_master_refresh_repeat = 2;\n"
			    "vrrp_garp_interval = 0.001; vrrp_gna_interval = \"250us\";\n" VRRP(
				    "garp_master_repeat = 3; garp_lower_prio_delay = 10;"),
		       NULL);
	garp = &c->vrrps[0].garp;
	assert_int_equal(garp->master_delay_us, 5000000);
	assert_int_equal(garp->master_repeat, 3);
	assert_int_equal(garp->refresh_us, 30000000);
	assert_int_equal(garp->refresh_repeat, 2);
	assert_int_equal(garp->lower_prio_delay_us, 10000000);
	assert_int_equal(garp->lower_prio_repeat, 3);
	assert_int_equal(c->garp_interval_us, 1000);
	assert_int_equal(c->gna_interval_us, 250);
	conf_free(c);
	c = parse_good(HEAD "vrrp_garp_lower_prio_delay = 0;\n" VRRP(
			       "garp_lower_prio_repeat = 0; garp_master_refresh = 0;"),
		       NULL);
	garp = &c->vrrps[0].garp;
	assert_int_equal(garp->lower_prio_delay_us, 0);
	assert_int_equal(garp->lower_prio_repeat, 0);
	assert_int_equal(garp->refresh_us, 0);
	conf_free(c);
	expect_said(HEAD "vrrp_garp_master_repeat = 0;\n" VRRP("garp_master_refresh_repeat = 101;"),
		    "f:4: vrrp_garp_master_repeat: 0 is out of range; 1 to 100 are possible\n"
		    "f:8: vrrp.VI_1.garp_master_refresh_repeat: 101 is out of range; 1 to 100 are "
		    "possible\n");
	expect_said(HEAD "vrrp_garp_interval = 2;\n" VRRP("garp_lower_prio_delay = \"2h\";"),
		    "f:4: vrrp_garp_interval: 2 s is out of range; 0s to 1s are possible\n"
		    "f:8: vrrp.VI_1.garp_lower_prio_delay: \"2h\" is out of range; 0s to 1h are "
		    "possible\n");
}

static void version_and_patience_may_stand_at_the_top(void **state)
{
	struct conf *c =
		parse_good(HEAD "vrrp_version = 2; vrrp_down_timer_adverts = 4;\n" VRRP(""), NULL);

	(void)state;
	assert_int_equal(c->vrrps[0].version, 2);
	assert_int_equal(c->vrrps[0].advert_int_us, 1000000);
	assert_int_equal(c->vrrps[0].down_adverts, 4);
	conf_free(c);
	c = parse_good(HEAD "vrrp_version = 2; vrrp_down_timer_adverts = 4;\n" VRRP(
			       "version = 3; down_timer_adverts = 2;"),
		       NULL);
	assert_int_equal(c->vrrps[0].version, 3);
	assert_int_equal(c->vrrps[0].advert_int_us, 300000);
	assert_int_equal(c->vrrps[0].down_adverts, 2);
	conf_free(c);
}

static void one_account_may_run_all_scripts_and_hooks(void **state)
{
	struct conf *c = parse_good(
		HEAD
		"script_user = \"watch\";\n"
		"checks = ( { name = \"a\"; script = \"/bin/a\"; },\n"
		"  { name = \"b\"; script = \"/bin/b\"; user = \"other\"; restart = \"/bin/r\"; "
		"} );\n" VRRP(
			"track = [ \"a\", \"b\" ]; notify = \"/bin/n\";") "groups = ( { name = "
									  "\"g\"; members = [ "
									  "\"VI_1\" ];\n"
									  "  notify_master = "
									  "\"/bin/g\"; notify_user "
									  "= \"root\"; } );\n",
		NULL);

	(void)state;
	assert_string_equal(c->checks[0].script.user, "watch");
	assert_string_equal(c->checks[1].script.user, "other");
	assert_null(c->checks[1].restart.user);
	assert_string_equal(c->vrrps[0].hooks[CONF_HOOK_ANY].user, "watch");
	assert_string_equal(c->groups[0].hooks[CONF_HOOK_MASTER].user, "root");
	conf_free(c);
	expect_said(HEAD "script_user = \"a b\";\n" VRRP(""),
		    "f:4: script_user: \"a b\" is not the name of an account; write one user name; "
		    "its groups come with it\n");
}

static void a_group_alerts_as_the_top_level_says_unless_it_differs(void **state)
{
#define GROUP(more) "groups = ( { name = \"g\"; members = [ \"VI_1\", \"VI_2\" ]; " more " } );\n"
#define TWO                                                                                        \
	"vrrp = ( { name = \"VI_1\"; interface = \"eth0\"; virtual_router_id = 51;\n"              \
	"  priority = { web1 = 100; web2 = 90; }; virtual_ipaddress = [ \"198.51.100.200/24\" ]; " \
	"},\n"                                                                                     \
	"  { name = \"VI_2\"; interface = \"eth0\"; virtual_router_id = 52;\n"                     \
	"  priority = { web1 = 100; web2 = 90; }; virtual_ipaddress = [ \"198.51.100.201/24\" ]; " \
	"} );\n"
#define TO "notification_email = [ \"root\" ];\n"
	struct conf *c;

	(void)state;
	c = parse_good(HEAD TWO GROUP(""), NULL);
	assert_false(c->groups[0].smtp_alert);
	conf_free(c);
	c = parse_good(HEAD TO "smtp_alert = true;\n" TWO GROUP(""), NULL);
	assert_true(c->groups[0].smtp_alert);
	conf_free(c);
	c = parse_good(HEAD TO "smtp_alert = true;\n" TWO GROUP("smtp_alert = false;"), NULL);
	assert_false(c->groups[0].smtp_alert);
	conf_free(c);
	/* Somebody is written to: nothing to be warned of. */
	expect_said(HEAD TO TWO GROUP("smtp_alert = true;"), "");
	expect_said(HEAD TWO GROUP("smtp_alert = true;"),
		    "f:8: warning: groups.g.smtp_alert: there is nobody to write to; add "
		    "notification_email = [ \"admin@example.org\" ]; at the top level\n");
}

/* ---- peers ---- */

static void peers_may_stand_outside_the_list_of_nodes(void **state)
{
	struct conf *c = parse_good(
		HEAD VRRP("unicast_peer = ( \"198.51.100.3\", { address = \"198.51.100.4\"; "
			  "priority = 80; min_ttl = 250; max_ttl = 254; } );"
			  "min_ttl = { web1 = 254; web2 = 250; }; max_ttl = 254;"),
		NULL);
	const struct conf_vrrp *v = &c->vrrps[0];
	char text[IP_TEXT_MAX];

	(void)state;
	assert_int_equal(v->peers_count, 2);
	assert_string_equal(ip_format(&v->peers[0].address, text), "198.51.100.3");
	assert_int_equal(v->peers[0].priority, 0);
	assert_int_equal(v->peers[0].ttl_min, 255);
	assert_string_equal(ip_format(&v->peers[1].address, text), "198.51.100.4");
	assert_int_equal(v->peers[1].priority, 80);
	assert_int_equal(v->peers[1].ttl_min, 250);
	assert_int_equal(v->peers[1].ttl_max, 254);
	assert_int_equal(v->ttl_min[1], 250);
	assert_int_equal(v->ttl_max[1], 254);
	conf_free(c);
}

static void wrong_peers_are_told_what_would_be_right(void **state)
{
	static const struct {
		const char *settings, *said;
	} cells[] = {
		{"unicast_peer = [ \"web3\" ];",
		 "f:7: vrrp.VI_1.unicast_peer: \"web3\" is not an address; write unicast_peer = [ "
		 "\"198.51.100.3\" ];, and what else there is to say of it in a group: ( { "
		 "address = \"198.51.100.3\"; min_ttl = 254; } )\n"},
		{"unicast_peer = [ \"198.51.100.2\" ];",
		 "f:7: vrrp.VI_1.unicast_peer: 198.51.100.2 is where the adverts of node web2 come "
		 "from; remove it: the nodes are peers without being named\n"},
		{"unicast_peer = [ \"198.51.100.3\", \"198.51.100.3\" ];",
		 "f:7: vrrp.VI_1.unicast_peer: names 198.51.100.3 twice; keep one of the two\n"},
		{"unicast_peer = [ \"2001:db8::3\" ];",
		 "f:7: vrrp.VI_1.unicast_peer: 2001:db8::3 is no IPv4 address, and adverts go over "
		 "IPv4; write the address that the peer's adverts come from\n"},
		{"multicast = true; unicast_peer = [ \"198.51.100.3\" ];",
		 "f:7: vrrp.VI_1.unicast_peer: has no meaning with multicast = true; leave "
		 "multicast out, or name the peer in nodes, without a key\n"},
		{"unicast_peer = ( { min_ttl = 3; } );",
		 "f:7: vrrp.VI_1.unicast_peer[0].address: is missing; add address = "
		 "\"198.51.100.3\";\n"},
		{"unicast_peer = ( { address = \"198.51.100.3\"; min_ttl = 5; max_ttl = 4; } );",
		 "f:7: vrrp.VI_1.unicast_peer[0].max_ttl: adverts of 198.51.100.3 can have no TTL "
		 "from 5 to 4; write a max_ttl that is not below min_ttl\n"},
		{"max_ttl = 254;",
		 "f:7: vrrp.VI_1.max_ttl: adverts of web1 can have no TTL from 255 to 254; write a "
		 "max_ttl that is not below min_ttl\n"},
		{"min_ttl = { web3 = 1; };",
		 "f:7: vrrp.VI_1.min_ttl.web3: no node has this name; did you mean web1?\n"},
		{"min_ttl = 0;",
		 "f:7: vrrp.VI_1.min_ttl: 0 is out of range; 1 to 255 are possible\n"},
	};
	char text[4096];

	(void)state;
	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
		snprintf(text, sizeof text, HEAD VRRP("%s"), cells[i].settings);
		expect_said(text, cells[i].said);
	}
	/* 2 nodes and 15 peers. */
	snprintf(text, sizeof text, "%s", HEAD VRRP("unicast_peer = ["));
	text[strlen(text) - strlen(" } );\n")] = '\0';
	for (int i = 0; i < 15; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s \"198.51.100.%d\"",
			 i ? "," : "", 3 + i);
	snprintf(text + strlen(text), sizeof text - strlen(text), " ]; } );\n");
	expect_said(text, "f:7: vrrp.VI_1.unicast_peer: 15 peers and 2 nodes are too many; 16 "
			  "together are possible\n");
}

static void the_multicast_group_is_the_rfcs_unless_another_is_named(void **state)
{
#define SIX "mcast_src_ip = { web1 = \"fe80::1\"; web2 = \"fe80::2\"; };"
	static const struct {
		const char *top, *settings, *group;
	} cells[] = {
		{"", "multicast = true;", "224.0.0.18"},
		{"", "multicast = true; " SIX, "ff02::12"},
		{"", "multicast = true; mcast_dst_ip = \"239.1.2.3\";", "239.1.2.3"},
		{"", "multicast = true; mcast_dst_ip = \"ff02::112\"; " SIX, "ff02::112"},
		{"vrrp_mcast_group4 = \"239.9.9.9\";", "multicast = true;", "239.9.9.9"},
		{"vrrp_mcast_group6 = \"ff02::99\";", "multicast = true; " SIX, "ff02::99"},
	};
	char text[4096], said[IP_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
		struct conf *c;

		snprintf(text, sizeof text,
			 HEAD "%s\n"
			      "vrrp = ( { name = \"VI_1\"; interface = \"eth0\"; "
			      "virtual_router_id = 51; priority = { web1 = 100; web2 = 90; }; "
			      "virtual_ipaddress = [ \"198.51.100.200/24\", "
			      "\"2001:db8::200/64\" ]; %s } );\n",
			 cells[i].top, cells[i].settings);
		c = parse_good(text, NULL);
		assert_string_equal(ip_format(&c->vrrps[0].mcast_group, said), cells[i].group);
		conf_free(c);
	}
	expect_said(
		HEAD VRRP("mcast_dst_ip = \"239.1.2.3\";"),
		"f:7: vrrp.VI_1.mcast_dst_ip: has no meaning without multicast; add multicast = "
		"true; or remove it\n");
	expect_said(HEAD VRRP("multicast = true; mcast_dst_ip = \"ff02::12\";"),
		    "f:7: vrrp.VI_1.mcast_dst_ip: ff02::12 is no multicast address of IPv4; write "
		    "one from 224.0.0.0 to 239.255.255.255, or leave it out: it is 224.0.0.18 "
		    "then\n");
	expect_said(
		HEAD "vrrp_mcast_group6 = \"fe80::1\";\n" VRRP(""),
		"f:4: vrrp_mcast_group6: fe80::1 is no multicast address of IPv6; write one such "
		"as \"ff02::12\", which it is if it is left out\n");
}

/* ---- auth_pass_file ---- */

#define PASSWORD "test_conf_words.password"
#define PASS(more) VRRP("version = 2; auth_type = \"PASS\"; " more)

static char secret_path[256], secret_text[1024];

static void write_secret(const char *content, size_t size, mode_t mode)
{
	int fd;

	snprintf(secret_path, sizeof secret_path, "%s/" PASSWORD ".%d",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
	unlink(secret_path);
	fd = open(secret_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, size), size);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	snprintf(secret_text, sizeof secret_text, HEAD PASS("auth_pass_file = \"%s\";"),
		 secret_path);
}

/* What reading it says, with its path as "FILE"; "" if all is well. */
static const char *secret_said(struct conf **ret_conf)
{
	static char text[1024];
	struct conf_problems problems = {0};
	struct conf *c = parse_good(secret_text, NULL);
	char *said, *at;

	assert_int_equal(conf_set_self(c, "web1"), 0);
	conf_read_secrets(c, &problems);
	said = problems_text(&problems);
	text[0] = '\0';
	for (const char *from = said; *from;) {
		at = strstr(from, secret_path);
		snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s%s",
			 at ? (int)(at - from) : (int)strlen(from), from, at ? "FILE" : "");
		from = at ? at + strlen(secret_path) : from + strlen(from);
	}
	free(said);
	conf_problems_release(&problems);
	unlink(secret_path);
	if (ret_conf)
		*ret_conf = c;
	else
		conf_free(c);
	return text;
}

static void a_password_may_stand_in_a_file_of_its_own(void **state)
{
	struct conf *c;

	(void)state;
	write_secret("s3cret\n", 7, 0640);
	assert_string_equal(secret_said(&c), "");
	assert_true(c->vrrps[0].auth_pass);
	assert_memory_equal(c->vrrps[0].auth_data, "s3cret\0\0", 8);
	conf_free(c);
	write_secret("123456789", 9, 0600);
	assert_string_equal(secret_said(&c), "");
	assert_memory_equal(c->vrrps[0].auth_data, "12345678", 8);
	conf_free(c);
}

static void a_password_that_others_can_read_is_refused(void **state)
{
	static const char where[] = "f:4: vrrp.VI_1.auth_pass_file: FILE ";
	static const struct {
		const char *content;
		size_t size;
		mode_t mode;
		const char *said;
	} cells[] = {
		{"s3cret\n", 7, 0604, "can be read or written by everybody; chmod 600 FILE\n"},
		{"s3cret\n", 7, 0602, "can be read or written by everybody; chmod 600 FILE\n"},
		{"s3cret\n", 7, 0620, "can be written by a group; chmod 600 FILE\n"},
		{"", 0, 0600,
		 "is empty; write the password into it, 1 to 8 bytes, on every node\n"},
		{"\n", 1, 0600,
		 "is empty; write the password into it, 1 to 8 bytes, on every node\n"},
		{"one\ntwo\n", 8, 0600,
		 "holds more than one line of text; write the password into it, 1 to 8 bytes, on "
		 "every node\n"},
		{"a\0b\n", 4, 0600,
		 "holds more than one line of text; write the password into it, 1 to 8 bytes, on "
		 "every node\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
		const char *said;

		write_secret(cells[i].content, cells[i].size, cells[i].mode);
		said = secret_said(NULL);
		assert_int_equal(strncmp(said, where, strlen(where)), 0);
		assert_string_equal(said + strlen(where), cells[i].said);
		assert_null(strstr(said, "s3cret"));
	}
	write_secret("x", 1, 0600);
	unlink(secret_path);
	assert_string_equal(secret_said(NULL),
			    "f:4: vrrp.VI_1.auth_pass_file: FILE: No such file or directory; write "
			    "the password into it, 1 to 8 bytes, on every node\n");
	assert_int_equal(mkdir(secret_path, 0700), 0);
	assert_string_equal(
		secret_said(NULL),
		"f:4: vrrp.VI_1.auth_pass_file: FILE is not a file; write the path of a "
		"file with one line, the password\n");
	assert_int_equal(rmdir(secret_path), 0);
}

static void a_password_needs_its_type_and_one_place(void **state)
{
	(void)state;
	expect_said(
		HEAD VRRP("version = 2; auth_pass_file = \"/p\";"),
		"f:7: vrrp.VI_1.auth_pass_file: without auth_type; add auth_type = \"PASS\";\n");
	expect_said(HEAD PASS("auth_pass = \"x\"; auth_pass_file = \"/p\";"),
		    "f:7: vrrp.VI_1.auth_pass_file: beside auth_pass; keep one of the two\n");
	expect_said(
		HEAD VRRP("auth_type = \"PASS\"; auth_pass_file = \"/p\";"),
		"f:7: vrrp.VI_1.auth_type: version 3 has no authentication (RFC 9568, 9); remove "
		"it, or write version = 2; on every router of the group\n");
	expect_said(HEAD PASS("auth_pass_file = \"p\";"),
		    "f:7: vrrp.VI_1.auth_pass_file: \"p\" is not an absolute path; write the whole "
		    "path from / on, without //, . and ..\n");
}

/* Sealed, and with the password only where it was asked for. */
static void a_snapshot_carries_the_passwords_of_files(void **state)
{
	struct conf_problems problems = {0};
	struct conf_snapshot sent, received;
	char path[300];
	FILE *file;

	(void)state;
	write_secret("s3cret\n", 7, 0600);
	snprintf(path, sizeof path, "%s.conf", secret_path);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(secret_text, file);
	fclose(file);
	assert_int_equal(conf_snapshot_load(path, "web2", 7, &problems, &sent), 0);
	assert_int_equal(conf_snapshot_receive(7, "web2", dup(sent.fd), &received), 0);
	assert_memory_equal(received.conf->vrrps[0].auth_data, "\0\0\0\0\0\0\0\0", 8);
	conf_snapshot_release(&received);
	assert_int_equal(conf_snapshot_add_secrets(&sent, &problems), 0);
	assert_int_equal(conf_snapshot_receive(7, "web2", dup(sent.fd), &received), 0);
	assert_memory_equal(received.conf->vrrps[0].auth_data, "s3cret\0\0", 8);
	assert_memory_equal(received.conf->hash, sent.conf->hash, sizeof sent.conf->hash);
	conf_snapshot_release(&received);
	/* One that cannot be read leaves the snapshot as it was. */
	assert_int_equal(chmod(secret_path, 0644), 0);
	assert_int_equal(conf_snapshot_add_secrets(&sent, &problems), -EINVAL);
	assert_int_equal(conf_snapshot_receive(7, "web2", dup(sent.fd), &received), 0);
	conf_snapshot_release(&received);
	conf_snapshot_release(&sent);
	conf_problems_release(&problems);
	unlink(secret_path);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_adverts_may_be_missing_unless_the_file_says_otherwise),
		cmocka_unit_test(one_account_may_run_all_scripts_and_hooks),
		cmocka_unit_test(a_group_alerts_as_the_top_level_says_unless_it_differs),
		cmocka_unit_test(the_multicast_group_is_the_rfcs_unless_another_is_named),
		cmocka_unit_test(peers_may_stand_outside_the_list_of_nodes),
		cmocka_unit_test(wrong_peers_are_told_what_would_be_right),
		cmocka_unit_test(a_password_may_stand_in_a_file_of_its_own),
		cmocka_unit_test(a_password_that_others_can_read_is_refused),
		cmocka_unit_test(a_password_needs_its_type_and_one_place),
		cmocka_unit_test(a_snapshot_carries_the_passwords_of_files),
		cmocka_unit_test(announcements_follow_the_top_level_unless_an_instance_differs),
		cmocka_unit_test(version_and_patience_may_stand_at_the_top),
		cmocka_unit_test(the_start_up_delay_is_one_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
