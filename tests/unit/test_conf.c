/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: what a good file means, how it travels, and what the host lacks. What each bad
 * file is told is in test_conf_bad.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "shared/conf.h"

#include "tests/unit/conf_texts.h"

static void an_ordinary_file_is_read_as_it_is_meant(void **state)
{
	static const char text[] = HEAD
		"control_group = \"ops\"; log_facility = \"local0\"; log_level = \"debug\";\n"
		"checks = ( { name = \"nginx\"; process = \"/run/nginx.pid\"; interval = 0.5;\n"
		"             fall = 2; rise = 3; weight = -20; init_fail = true; },\n"
		"           { name = \"http\"; script = \"/bin/check 'a b' --x=\\\"y z\\\"\";\n"
		"             interval = 2; timeout = \"1500ms\"; user = \"nobody\"; } );\n"
		"vrrp = (\n"
		"  { name = \"VI_1\"; interface = { web1 = \"eth0\"; web2 = \"ens3\"; };\n"
		"    virtual_router_id = 51; version = 2; advert_int = 2;\n"
		"    priority = { web1 = 100; web2 = 90; };\n"
		"    auth_type = \"PASS\"; auth_pass = \"1111\";\n"
		"    virtual_ipaddress = [ \"198.51.100.200/24\", \"203.0.113.9\" ];\n"
		"    nopreempt = true; track = [ \"nginx\", \"http weight -15\" ];\n"
		"    stop_wait = \"2s\"; garp_master_delay = 2; garp_master_refresh = \"1m\";\n"
		"    notify = \"/etc/tandem/notify.sh\"; notify_master = \"/bin/m x\";\n"
		"    notify_user = \"nobody\"; notify_timeout = 5; min_ttl = 250; },\n"
		"  { name = \"VI_2\"; interface = \"eth0\"; virtual_router_id = 52;\n"
		"    priority = { web1 = 90; web2 = 100; }; multicast = true;\n"
		"    mcast_src_ip = { web1 = \"198.51.100.11\"; web2 = \"198.51.100.12\"; };\n"
		"    track = ( { check = \"nginx\"; weight = 30; } );\n"
		"    virtual_ipaddress = ( \"198.51.100.201/24\" ); preempt_delay = 3; } );\n"
		"mirrors = ( { name = \"nginx\"; paths = [ \"/etc/nginx\", \"/etc/letsencrypt\" "
		"];\n"
		"  exclude = [ \"*.swp\", \"/etc/nginx/node.d/\" ]; validate = \"nginx -t\";\n"
		"  reload = \"systemctl reload nginx\"; resync = \"15m\"; reload_timeout = 9;\n"
		"  pid_file = \"/run/n.pid\"; error_log = \"/var/log/n.log\"; } );\n";
	char *said;
	struct conf *c = parse_good(text, &said);
	const struct conf_vrrp *v;
	char ip[IP_TEXT_MAX];

	(void)state;
	assert_string_equal(said, "");
	free(said);
	assert_string_equal(c->cluster, "edge");
	assert_string_equal(c->control_group, "ops");
	assert_int_equal(c->log_facility, LOG_LOCAL0);
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_int_equal(c->nodes_count, 2);
	assert_int_equal(c->nodes[1].link_port, 8427);
	assert_int_equal(c->nodes[1].pins_count, 1);
	assert_int_equal(c->nodes[1].pins[0][0], 1);
	assert_int_equal(c->checks_count, 2);
	assert_int_equal(c->checks[0].interval_us, 500000);
	assert_int_equal(c->checks[0].fall, 2);
	assert_int_equal(c->checks[0].rise, 3);
	assert_true(c->checks[0].init_fail);
	assert_int_equal(c->checks[1].kind, CONF_CHECK_SCRIPT);
	assert_int_equal(c->checks[1].timeout_us, 1500000);
	assert_int_equal(c->checks[1].script.argc, 3);
	assert_string_equal(c->checks[1].script.argv[1], "a b");
	assert_string_equal(c->checks[1].script.argv[2], "--x=y z");
	assert_null(c->checks[1].script.argv[3]);
	assert_string_equal(c->checks[1].script.user, "nobody");
	v = &c->vrrps[0];
	assert_string_equal(v->interfaces[0], "eth0");
	assert_string_equal(v->interfaces[1], "ens3");
	assert_int_equal(v->advert_int_us, 2000000);
	assert_int_equal(v->priorities[1], 90);
	assert_true(v->auth_pass);
	assert_memory_equal(v->auth_data, "1111\0\0\0\0", 8);
	assert_int_equal(v->vips_count, 2);
	assert_int_equal(v->vips[0].prefix.prefix_len, 24);
	assert_int_equal(v->vips[1].prefix.prefix_len, 32);
	assert_string_equal(ip_format(&v->vips[1].prefix.addr, ip), "203.0.113.9");
	assert_int_equal(v->tracks_count, 2);
	assert_int_equal(v->tracks[0].weight, -20);
	assert_int_equal(v->tracks[1].check, 1);
	assert_int_equal(v->tracks[1].weight, -15);
	assert_int_equal(v->stop_wait_us, 2000000);
	assert_int_equal(v->ttl_min[1], 250);
	assert_int_equal(v->notify_timeout_us, 5000000);
	assert_string_equal(v->hooks[CONF_HOOK_ANY].argv[0], "/etc/tandem/notify.sh");
	assert_string_equal(v->hooks[CONF_HOOK_MASTER].user, "nobody");
	assert_null(v->hooks[CONF_HOOK_FAULT].argv);
	v = &c->vrrps[1];
	assert_int_equal(v->version, 3);
	assert_int_equal(v->advert_int_us, 300000);
	assert_true(v->multicast);
	assert_string_equal(ip_format(&v->sources[1], ip), "198.51.100.12");
	assert_string_equal(v->interfaces[1], "eth0");
	assert_int_equal(v->tracks[0].weight, 30);
	assert_int_equal(v->preempt_delay_us, 3000000);
	assert_int_equal(c->mirrors[0].paths_count, 2);
	assert_int_equal(c->mirrors[0].excludes_count, 2);
	assert_string_equal(c->mirrors[0].excludes[1], "/etc/nginx/node.d/");
	assert_string_equal(c->mirrors[0].validate.argv[1], "-t");
	assert_int_equal(c->mirrors[0].resync_us, 900000000);
	assert_int_equal(c->mirrors[0].reload_timeout_us, 9000000);
	assert_string_equal(c->mirrors[0].pid_file, "/run/n.pid");
	assert_int_equal(conf_node_index(c, "web2"), 1);
	assert_int_equal(conf_vrrp_index(c, "VI_2"), 1);
	assert_int_equal(conf_check_index(c, "http"), 1);
	assert_int_equal(conf_mirror_index(c, "none"), -1);
	assert_int_equal(c->self, -1);
	assert_int_equal(conf_set_self(c, "web3"), -ENOENT);
	assert_int_equal(conf_set_self(c, "web2"), 0);
	assert_int_equal(c->self, 1);
	conf_free(c);
}

static void what_is_left_out_has_its_default(void **state)
{
	char *said;
	struct conf *c = parse_good(HEAD TRACKED("script = \"/bin/true\"; weight = -20;")
					    MIRROR("paths = [ \"/etc/nginx\" ];"),
				    &said);

	(void)state;
	assert_string_equal(said, "");
	free(said);
	assert_string_equal(c->control_group, "tandem-admin");
	assert_int_equal(c->log_facility, LOG_DAEMON);
	assert_int_equal(c->log_level, LOG_INFO);
	assert_int_equal(c->checks[0].interval_us, 1000000);
	assert_int_equal(c->checks[0].timeout_us, 1000000);
	assert_int_equal(c->checks[0].fall, 1);
	assert_int_equal(c->checks[0].rise, 1);
	assert_null(c->checks[0].script.user);
	assert_int_equal(c->vrrps[0].version, 3);
	assert_int_equal(c->vrrps[0].advert_int_us, 300000);
	assert_int_equal(c->vrrps[0].stop_wait_us, 3000000);
	assert_int_equal(c->vrrps[0].garp.master_delay_us, 1000000);
	assert_int_equal(c->vrrps[0].garp.refresh_us, 60000000);
	assert_int_equal(c->vrrps[0].ttl_min[0], 255);
	assert_int_equal(c->vrrps[0].notify_timeout_us, 60000000);
	assert_false(c->vrrps[0].multicast);
	assert_int_equal(c->mirrors[0].validate_timeout_us, 30000000);
	assert_int_equal(c->mirrors[0].reload_timeout_us, 30000000);
	assert_int_equal(c->mirrors[0].resync_us, 900000000);
	assert_string_equal(c->mirrors[0].pid_file, "/run/nginx.pid");
	assert_string_equal(c->mirrors[0].error_log, "/var/log/nginx/error.log");
	assert_null(c->mirrors[0].validate.argv);
	conf_free(c);
}

static void version_two_advertises_each_second_unless_told(void **state)
{
	struct conf *c = parse_good(HEAD VRRP("version = 2;"), NULL);

	(void)state;
	assert_int_equal(c->vrrps[0].advert_int_us, 1000000);
	conf_free(c);
}

static void times_are_numbers_or_text_with_a_unit(void **state)
{
	static const struct {
		const char *text;
		uint64_t us;
	} table[] = {
		{"1", 1000000},	      {"1.0", 1000000},	      {"0.3", 300000},
		{".5", 500000},	      {"010", 10000000},      {"\"10ms\"", 10000},
		{"\"1s\"", 1000000},  {"\"15m\"", 900000000}, {"\"1 h\"", 3600000000},
		{"\"0.5s\"", 500000}, {"\"20000us\"", 20000}, {"2L", 2000000},
		{"0x10", 16000000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		char text[2048];
		struct conf *c;

		snprintf(text, sizeof text, HEAD TRACKED("process = \"/run/x\"; interval = %s;"),
			 table[i].text);
		c = parse_good(text, NULL);
		assert_int_equal(c->checks[0].interval_us, table[i].us);
		conf_free(c);
	}
}

static void each_kind_of_check_is_read(void **state)
{
	struct conf *c = parse_good(
		HEAD "checks = ( { name = \"a\"; process_name = \"nginx\"; quorum = 3; },\n"
		     "{ name = \"b\"; interface = { web1 = \"eth1\"; web2 = \"eth2\"; }; },\n"
		     "{ name = \"c\"; file = \"/run/load\"; },\n"
		     "{ name = \"d\"; file = \"/run/load2\"; weight = 0; reverse = true; },\n"
		     "{ name = \"e\"; instance = \"VI_2\"; state = \"MASTER\"; },\n"
		     "{ name = \"f\"; instance = \"VI_2\"; weight = -20; } );\n"
		     "vrrp = ( { name = \"VI_1\"; interface = \"eth0\"; virtual_router_id = 51;\n"
		     "  priority = { web1 = 100; web2 = 90; };\n"
		     "  virtual_ipaddress = [ \"198.51.100.200/24\" ];\n"
		     "  track = [ \"a\", \"b weight 20 reverse\", \"c\", \"d noreverse\", "
		     "\"e\", \"f reverse\" ]; },\n"
		     "{ name = \"VI_2\"; interface = \"eth0\"; virtual_router_id = 52;\n"
		     "  priority = { web1 = 100; web2 = 90; };\n"
		     "  virtual_ipaddress = [ \"198.51.100.201/24\" ]; } );\n",
		NULL);
	const struct conf_track *tracks = c->vrrps[0].tracks;

	(void)state;
	assert_int_equal(c->checks[0].kind, CONF_CHECK_NAMED);
	assert_string_equal(c->checks[0].process_name, "nginx");
	assert_int_equal(c->checks[0].quorum, 3);
	assert_int_equal(c->checks[1].kind, CONF_CHECK_INTERFACE);
	assert_string_equal(c->checks[1].interfaces[1], "eth2");
	assert_int_equal(c->checks[2].kind, CONF_CHECK_FILE);
	assert_string_equal(c->checks[2].file, "/run/load");
	assert_int_equal(c->checks[4].kind, CONF_CHECK_INSTANCE);
	assert_int_equal(c->checks[4].vrrp, 1);
	assert_int_equal(c->checks[4].instance_state, CONF_INSTANCE_MASTER);
	assert_int_equal(c->checks[5].instance_state, CONF_INSTANCE_ALIVE);
	/* A file's number counts once unless something else is said. */
	assert_int_equal(tracks[2].weight, 1);
	assert_int_equal(tracks[3].weight, 0);
	assert_false(tracks[3].reverse);
	assert_int_equal(tracks[1].weight, 20);
	assert_true(tracks[1].reverse);
	assert_int_equal(tracks[5].weight, -20);
	assert_true(tracks[5].reverse);
	conf_free(c);
}

static void members_of_a_group_track_what_each_of_them_tracks(void **state)
{
	struct conf *c = parse_good(
		HEAD "checks = ( { name = \"a\"; process = \"/run/a\"; },\n"
		     "{ name = \"b\"; process = \"/run/b\"; },\n"
		     "{ name = \"c\"; process = \"/run/c\"; } );\n"
		     "vrrp = ( { name = \"VI_1\"; interface = \"eth0\"; virtual_router_id = 51;\n"
		     "  priority = { web1 = 100; web2 = 90; };\n"
		     "  virtual_ipaddress = [ \"198.51.100.200/24\" ]; track = [ \"a\" ]; },\n"
		     "{ name = \"VI_2\"; interface = \"eth1\"; virtual_router_id = 51;\n"
		     "  priority = { web1 = 100; web2 = 90; };\n"
		     "  virtual_ipaddress = [ \"203.0.113.200/24\" ];\n"
		     "  track = [ \"b weight -20\", \"c weight -5\" ]; } );\n"
		     "groups = ( { name = \"edge\"; members = [ \"VI_1\", \"VI_2\" ];\n"
		     "  track = [ \"c weight -30\" ]; notify = \"/bin/true\"; } );\n",
		NULL);

	(void)state;
	assert_int_equal(c->groups_count, 1);
	assert_int_equal(c->groups[0].members_count, 2);
	assert_string_equal(c->groups[0].hooks[CONF_HOOK_ANY].argv[0], "/bin/true");
	for (int v = 0; v < 2; v++) {
		assert_int_equal(c->vrrps[v].group, 0);
		assert_int_equal(c->vrrps[v].tracks_count, 3);
		assert_int_equal(c->vrrps[v].tracks[0].check, 2);
		/* What the group says of a check goes before what a member does. */
		assert_int_equal(c->vrrps[v].tracks[0].weight, -30);
		assert_int_equal(c->vrrps[v].tracks[1].check, 0);
		assert_int_equal(c->vrrps[v].tracks[2].weight, -20);
	}
	conf_free(c);
}

static void pins_are_read_bit_by_bit(void **state)
{
	static const uint8_t expected[] = {0x00, 0x10, 0x83, 0x10, 0x51, 0x87};
	struct conf *c = parse_good(
		"cluster = \"e\"; nodes = ( { name = \"a\"; address = \"2001:db8::1\"; key = [\n"
		"\"SHA256:ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopo\",\n"
		"\"SHA256:+/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\" ]; } );",
		NULL);

	(void)state;
	assert_int_equal(c->nodes[0].pins_count, 2);
	assert_memory_equal(c->nodes[0].pins[0], expected, sizeof expected);
	assert_int_equal(c->nodes[0].pins[1][0], 0xfb);
	assert_int_equal(c->nodes[0].pins[1][1], 0xf0);
	assert_int_equal(c->nodes[0].address.family, IP_V6);
	conf_free(c);
}

static void adverts_go_over_the_family_of_their_source(void **state)
{
	static const struct {
		const char *more;
		enum ip_family family;
	} cases[] = {
		{"", IP_V4},
		{"unicast_src_ip = { web1 = \"2001:db8::1\"; web2 = \"fe80::2\"; };", IP_V6},
		{"multicast = true;", IP_V4},
		{"multicast = true; mcast_src_ip = { web1 = \"fe80::1\"; web2 = \"fe80::2\"; };",
		 IP_V6},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[1024];
		struct conf *c;

		snprintf(text, sizeof text,
			 HEAD
			 "vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 1;"
			 " priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ "
			 "\"198.51.100.9/24\", \"2001:db8::9/64\", \"fe80::9/64\" ]; %s } );",
			 cases[i].more);
		c = parse_good(text, NULL);
		assert_int_equal(c->vrrps[0].family, cases[i].family);
		assert_int_equal(c->vrrps[0].vips_count, 3);
		assert_int_equal(c->vrrps[0].vips[1].prefix.addr.family, IP_V6);
		assert_int_equal(c->vrrps[0].vips[1].prefix.prefix_len, 64);
		conf_free(c);
	}
}

static void an_address_has_an_interface_a_label_a_scope_and_a_broadcast_address(void **state)
{
	struct conf *c = parse_good(
		HEAD "vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 1;"
		     " priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = ( "
		     "\"198.51.100.9/24\", { address = \"203.0.113.77/27\"; label = \"eth1:v\";"
		     " dev = { web1 = \"eth1\"; web2 = \"ens4\"; }; scope = \"link\";"
		     " broadcast = \"+\"; }, { address = \"203.0.113.5\"; dev = \"eth2\";"
		     " broadcast = \"203.0.113.7\"; } );"
		     " virtual_ipaddress_excluded = [ \"2001:db8::9/64\" ]; } );",
		NULL);
	const struct conf_vrrp *v = &c->vrrps[0];
	char ip[IP_TEXT_MAX];

	(void)state;
	assert_int_equal(v->vips_count, 4);
	assert_string_equal(conf_vip_interface(v, &v->vips[0], 1), "eth0");
	assert_string_equal(conf_vip_interface(v, &v->vips[1], 0), "eth1");
	assert_string_equal(conf_vip_interface(v, &v->vips[1], 1), "ens4");
	assert_string_equal(conf_vip_interface(v, &v->vips[2], 1), "eth2");
	assert_string_equal(v->vips[1].label, "eth1:v");
	assert_int_equal(v->vips[1].scope, 253);
	assert_string_equal(ip_format(&v->vips[1].broadcast, ip), "203.0.113.95");
	assert_string_equal(ip_format(&v->vips[2].broadcast, ip), "203.0.113.7");
	assert_int_equal(v->vips[0].broadcast.family, IP_NONE);
	assert_false(v->vips[2].excluded);
	assert_true(v->vips[3].excluded);
	conf_free(c);
}

static void a_node_of_priority_zero_takes_no_part(void **state)
{
	struct conf *c = parse_good(
		"cluster = \"e\"; nodes = ( { name = \"a\"; address = \"198.51.100.1\"; },\n"
		"{ name = \"b\"; address = \"198.51.100.2\"; },\n"
		"{ name = \"c\"; address = \"198.51.100.3\"; link_port = 99; } ); link_port = 7;\n"
		"vrrp = ( { name = \"V\"; virtual_router_id = 1; priority = { a = 2; b = 1; c = 0; "
		"};\n"
		"interface = { a = \"eth0\"; b = \"eth1\"; }; virtual_ipaddress = [ "
		"\"198.51.100.9\" ]; "
		"} );",
		NULL);

	(void)state;
	assert_int_equal(c->vrrps[0].priorities[2], 0);
	assert_null(c->vrrps[0].interfaces[2]);
	assert_int_equal(c->nodes[0].link_port, 7);
	assert_int_equal(c->nodes[2].link_port, 99);
	conf_free(c);
}

static void a_zero_byte_and_a_file_too_large_are_refused(void **state)
{
	struct conf_problems problems = {0};
	struct conf *conf = NULL;
	char *text = calloc(1, CONF_TEXT_BYTES_MAX + 1), *said;

	(void)state;
	assert_non_null(text);
	assert_int_equal(conf_parse("a\n\0b", 4, &problems, &conf), -EINVAL);
	assert_int_equal(conf_parse(text, CONF_TEXT_BYTES_MAX + 1, &problems, &conf), -EINVAL);
	said = problems_text(&problems);
	assert_string_equal(said,
			    "f: the file has 1048577 bytes; at most 1048576 are read\n"
			    "f:2: there is a zero byte in the file; is this the right file? It "
			    "should be plain text\n");
	free(said);
	free(text);
	conf_problems_release(&problems);
}

static void the_password_is_in_no_message(void **state)
{
	static const char *const texts[] = {
		"auth_pass = hunter22;",
		"auth_pass hunter22;",
		"auth_pass = 'hunter22';",
		HEAD VRRP("auth_pass = \"hunter22\";"),
		HEAD VRRP("auth_type = \"PASS\"; auth_pass = \"hunter22\";"),
		HEAD VRRP("version = 2; auth_type = \"PASS\"; auth_pass = \"hunter22hunter22\";"),
		HEAD VRRP("auth_pass = [ \"hunter22\" ];"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct conf_problems problems = {0};
		struct conf *conf = NULL;
		char *said;

		conf_parse(texts[i], strlen(texts[i]), &problems, &conf);
		said = problems_text(&problems);
		assert_true(problems.count > 0);
		assert_null(strstr(said, "hunter"));
		free(said);
		conf_problems_release(&problems);
		conf_free(conf);
	}
}

static void problems_past_the_ceiling_are_counted(void **state)
{
	struct conf_problems problems = {0};
	struct conf *conf = NULL;
	char *text = malloc(65536), *said;
	size_t size = (size_t)sprintf(text, "%s", HEAD "checks = (");

	(void)state;
	for (int i = 0; i < 60; i++)
		size += (size_t)sprintf(
			text + size,
			"%s{ name = \"c%d\"; process = 1; fall = 0; rise = 0; weight = "
			"999; interval = 0; }",
			i ? ",\n" : "", i);
	size += (size_t)sprintf(text + size, ");");
	assert_int_equal(conf_parse(text, size, &problems, &conf), -EINVAL);
	assert_int_equal(problems.count, CONF_PROBLEMS_MAX);
	assert_int_equal(problems.count + problems.dropped, 60 * 6);
	said = problems_text(&problems);
	assert_non_null(strstr(said, "f: and 104 more\n"));
	free(said);
	free(text);
	conf_problems_release(&problems);
}

/* A file with text, below a directory of its own. */
static char *write_file(const char *text)
{
	static char path[64];
	int fd;

	strcpy(path, "/tmp/tandem-c-conf.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	return path;
}

/* What `sha256sum tandem.conf` says, so that a person can compare it as well. */
static void the_identity_of_a_file_is_its_sha256(void **state)
{
	static const char text[] = HEAD VRRP("");
	uint8_t hash[32];
	struct conf *c = parse_good(text, NULL);

	(void)state;
	assert_int_equal(EVP_Digest(text, strlen(text), hash, NULL, EVP_sha256(), NULL), 1);
	assert_memory_equal(c->hash, hash, sizeof hash);
	conf_free(c);
}

static void a_snapshot_means_the_same_in_both_processes(void **state)
{
	struct conf_problems problems = {0};
	struct conf_snapshot sent, received;
	char *path = write_file(HEAD VRRP(""));

	(void)state;
	assert_int_equal(conf_snapshot_load(path, "web2", 7, &problems, &sent), 0);
	unlink(path);
	assert_int_equal(sent.conf->self, 1);
	assert_string_equal(sent.node, "web2");
	/* Nobody changes it any more. */
	assert_int_equal(write(sent.fd, "x", 1), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(conf_snapshot_receive(7, sent.node, dup(sent.fd), &received), 0);
	assert_int_equal(received.number, 7);
	assert_int_equal(received.conf->self, 1);
	assert_memory_equal(received.conf->hash, sent.conf->hash, sizeof sent.conf->hash);
	assert_string_equal(received.conf->vrrps[0].name, "VI_1");
	conf_snapshot_release(&received);
	conf_snapshot_release(&sent);
	conf_problems_release(&problems);
}

static void a_memory_file_that_is_not_sealed_is_refused(void **state)
{
	struct conf_snapshot snapshot;
	int fd = memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, HEAD, strlen(HEAD)), (ssize_t)strlen(HEAD));
	assert_int_equal(conf_snapshot_receive(1, "web1", fd, &snapshot), -EPROTO);
}

static void a_file_that_cannot_be_used_is_named_with_its_cure(void **state)
{
	struct conf_problems problems = {0};
	struct conf_snapshot snapshot = {.number = 3};
	char *path, *said;

	(void)state;
	assert_int_equal(conf_snapshot_load("/nonexistent/x", "a", 4, &problems, &snapshot),
			 -ENOENT);
	assert_int_equal(conf_snapshot_load("/etc", "a", 4, &problems, &snapshot), -EISDIR);
	assert_int_equal(conf_snapshot_load("/dev/zero", "a", 4, &problems, &snapshot), -EINVAL);
	path = write_file(HEAD);
	assert_int_equal(conf_snapshot_load(path, "web3", 4, &problems, &snapshot), -ENOENT);
	assert_int_equal(conf_snapshot_load(path, NULL, 4, &problems, &snapshot), -ENOENT);
	unlink(path);
	said = problems_text(&problems);
	assert_string_equal(
		said, "f: nodes: there is no node \"web3\"; known here: web1, web2\n"
		      "f: nodes: this host has the address of none of the nodes; give it one of "
		      "them, or say which node it is with --node NAME\n");
	assert_int_equal(snapshot.number, 3);
	free(said);
	conf_problems_release(&problems);
}

static void a_host_finds_itself_by_its_address(void **state)
{
	struct conf *c =
		parse_good("cluster = \"e\"; nodes = ( { name = \"a\"; address = "
			   "\"198.51.100.1\"; },\n{ name = \"b\"; address = \"127.0.0.1\"; } );",
			   NULL);

	(void)state;
	assert_int_equal(conf_find_self(c), 0);
	assert_int_equal(c->self, 1);
	conf_free(c);
}

static void the_host_is_told_what_it_lacks(void **state)
{
	char program[64], text[4096], *said;
	struct conf_problems problems = {0};
	struct conf *c;

	(void)state;
	strcpy(program, write_file("#!/bin/sh\n"));
	snprintf(text, sizeof text,
		 HEAD
		 "checks = ( { name = \"nginx\"; script = \"%s\"; } );\n"
		 "vrrp = ( { name = \"V\"; interface = \"tandem-none\"; virtual_router_id = 1;\n"
		 "priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ \"198.51.100.9\" ];\n"
		 "track = [ \"nginx\" ]; notify_master = \"/nonexistent/m\"; }, \n"
		 "{ name = \"L\"; interface = \"lo\"; virtual_router_id = 1; notify_user = "
		 "\"tandem-nobody\";\n"
		 "unicast_src_ip = { web1 = \"198.51.100.77\"; web2 = \"198.51.100.2\"; };\n"
		 "priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ \"198.51.100.8\" ];\n"
		 "notify = \"no-such-program-here x\"; notify_fault = \"/bin/true\"; } );\n"
		 "mirrors = ( { name = \"m\"; paths = [ \"/nonexistent\" ]; } );",
		 program);
	c = parse_good(text, NULL);
	assert_int_equal(conf_set_self(c, "web1"), 0);
	conf_host_check(c, &problems);
	said = problems_text(&problems);
	assert_int_equal(problems.errors, 0);
	snprintf(
		text, sizeof text,
		"f:4: warning: checks.nginx.script: %s cannot be executed: its mode does not allow "
		"it; "
		"chmod 755 %s\n"
		"f:5: warning: vrrp.V.interface: there is no interface tandem-none on this host; "
		"`ip "
		"link` shows what there is; the instance waits for it\n"
		"f:7: warning: vrrp.V.notify_master: /nonexistent/m cannot be executed: No such "
		"file or "
		"directory; put it there, or correct the path\n"
		"f:8: warning: vrrp.L.virtual_ipaddress: 198.51.100.8 lies outside the subnets of "
		"lo; "
		"check the address; hosts of the subnet reach it only through a route\n"
		"f:8: warning: vrrp.L.unicast_src_ip: this host has no address 198.51.100.77; `ip "
		"addr` "
		"shows what there is\n"
		"f:11: warning: vrrp.L.notify_fault: there is no account \"tandem-nobody\" to run "
		"it; make "
		"it, or name another\n"
		"f:11: warning: vrrp.L.notify: there is no account \"tandem-nobody\" to run it; "
		"make it, "
		"or name another\n"
		"f:11: warning: vrrp.L.notify: there is no program \"no-such-program-here\" in the "
		"PATH; "
		"install it, or write its whole path\n"
		"f:12: warning: mirrors.m.paths: /nonexistent: No such file or directory; make the "
		"directory; until then nothing of it is mirrored\n",
		program, program);
	assert_string_equal(said, text);
	free(said);
	conf_problems_release(&problems);

	/* Now it can be executed, and by others be written. */
	assert_int_equal(chmod(program, 0777), 0);
	conf_host_check(c, &problems);
	said = problems_text(&problems);
	snprintf(text, sizeof text, "root runs %s, and others than root may write %s;", program,
		 program);
	assert_non_null(strstr(said, text));
	free(said);
	conf_problems_release(&problems);
	conf_free(c);
	unlink(program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ordinary_file_is_read_as_it_is_meant),
		cmocka_unit_test(what_is_left_out_has_its_default),
		cmocka_unit_test(version_two_advertises_each_second_unless_told),
		cmocka_unit_test(times_are_numbers_or_text_with_a_unit),
		cmocka_unit_test(each_kind_of_check_is_read),
		cmocka_unit_test(members_of_a_group_track_what_each_of_them_tracks),
		cmocka_unit_test(pins_are_read_bit_by_bit),
		cmocka_unit_test(adverts_go_over_the_family_of_their_source),
		cmocka_unit_test(
			an_address_has_an_interface_a_label_a_scope_and_a_broadcast_address),
		cmocka_unit_test(a_node_of_priority_zero_takes_no_part),
		cmocka_unit_test(a_zero_byte_and_a_file_too_large_are_refused),
		cmocka_unit_test(the_password_is_in_no_message),
		cmocka_unit_test(problems_past_the_ceiling_are_counted),
		cmocka_unit_test(the_identity_of_a_file_is_its_sha256),
		cmocka_unit_test(a_snapshot_means_the_same_in_both_processes),
		cmocka_unit_test(a_memory_file_that_is_not_sealed_is_refused),
		cmocka_unit_test(a_file_that_cannot_be_used_is_named_with_its_cure),
		cmocka_unit_test(a_host_finds_itself_by_its_address),
		cmocka_unit_test(the_host_is_told_what_it_lacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
