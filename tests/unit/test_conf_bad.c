/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each wrong configuration is told: whole texts, with the exact lines that come out.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conf_texts.h"

/* Every line that comes out, in full. */
static const struct bad {
	const char *text;
	const char *said;
} bad[] = {
	/* The grammar: one error, where it is, and its cure. */
	{"cluster = edge;", "f:1: cluster: 'edge' without quotes; text stands in double quotes: "
			    "\"edge\"\n"},
	{"cluster \"edge\";",
	 "f:1: cluster: '\"edge\"' behind the name cluster, where = should be; "
	 "settings are written name = value;\n"},
	{"cluster = 'edge';",
	 "f:1: cluster: a single quote; text stands in double quotes: \"...\"\n"},
	{"cluster = \xe2\x80\x9c"
	 "edge\xe2\x80\x9d;",
	 "f:1: cluster: a typographic quote; use the plain double quote \"\n"},
	{"cluster = \"edge;\nx = 1;",
	 "f:1: cluster: a text without its closing quote in the same line; "
	 "add the missing \"\n"},
	{"cluster = \"e\";\nnodes = ( 1, 2, );",
	 "f:2: nodes: a comma before the closing ')'; remove the last comma\n"},
	{"a = [ \"/a\" \"/b\" ];",
	 "f:1: a[0]: two texts one after the other; a ',' or ';' is missing "
	 "between them\n"},
	{"a = [ \"/a\", 1 ];",
	 "f:1: a[1]: elements of different types inside [ ]; give all the same "
	 "type, or write ( )\n"},
	{"a = [ { b = 1; } ];", "f:1: a[0]: a group or list inside [ ]; write ( ) around groups\n"},
	{"a = ( 1; 2 );", "f:1: a: ';' inside ( ); elements are separated by commas\n"},
	{"a = ( { b = 1; } { b = 2; } );", "f:1: a: '{' where a comma or ) should be; elements are "
					   "separated by commas; the ( of line 1 "
					   "is closed with )\n"},
	{"vrrp = ( { nopreempt = yes; } );",
	 "f:1: vrrp[0].nopreempt: 'yes' is not a value; write true\n"},
	{"a = { b = off; };", "f:1: a.b: 'off' is not a value; write false\n"},
	{"priority = { web1.example.com = 100; };",
	 "f:1: priority.web1: a dot in the name web1; names are letters, digits, - and _\n"},
	{"priority = { 10-node = 100; };", "f:1: priority: '10' where a setting's name should be; "
					   "names begin with a letter: web1\n"},
	{"a = 10ms;", "f:1: a number with letters behind it; a value with a unit stands in quotes: "
		      "\"10ms\"\n"},
	{"a = 198.51.100.1;",
	 "f:1: an address without quotes; addresses are text: \"198.51.100.1\"\n"},
	{"a = [ 198.51.100.200/24 ];",
	 "f:1: a: an address without quotes; addresses are text: \"198.51.100.1/24\"\n"},
	{"a = /etc/nginx;",
	 "f:1: a: a path without quotes; text stands in double quotes: \"/...\"\n"},
	{"! comment\n", "f:1: '!' does not begin a comment here; use # or //\n"},
	{"# fine\n\n@include \"other.conf\"\n", "f:3: @include is not accepted; write everything "
						"into this one file, which is the same on every "
						"node\n"},
	{"a = 1;\n\na = 2;", "f:3: 'a' is set twice; keep one of the two lines\n"},
	{"a = { b = 1;\n c = 2;\n",
	 "f:2: a: the file ends inside a group; close the { of line 1 with }\n"},
	{"a = ( 1,\n 2\n", "f:2: a: the file ends inside a list; close the ( of line 1 with )\n"},
	{"a = 1; }", "f:1: '}' closes nothing; remove it, or add what it should close\n"},
	{"a = ;", "f:1: a: ';' where a value should be; settings are written name = value;\n"},
	{"/* a = 1;", "f:1: a comment that is never closed; end it with */\n"},
	{"a = \"x\\x00y\";", "f:1: a: a text with a zero byte in it; remove the \\x00\n"},
	{"a=((((((((((1))))))))));", "f:1: a[0][0][0][0][0][0][0][0]: groups nested more than 8 "
				     "deep; no setting is that deep\n"},
	{"_a = 1;",
	 "f:1: '_' where a setting's name should be; settings are written name = value;\n"},
	{"vrrp_instance VI_1 {\n",
	 "f:1: vrrp_instance: 'VI_1' behind the name vrrp_instance, where = "
	 "should be; settings are written name = value;\n"},
	{"auth_pass = secret;",
	 "f:1: auth_pass: this value without quotes; text stands in double quotes\n"},
	{"auth_pass secret;",
	 "f:1: auth_pass: this value behind the name auth_pass, where = should be; "
	 "settings are written name = value;\n"},

	/* The top and the nodes. */
	{"", "f: cluster: is missing; add cluster = \"...\";\n"
	     "f: nodes: is missing; add nodes = ( { name = \"web1\"; address = \"198.51.100.1\"; } "
	     ");\n"},
	{HEAD "clutser = 3;", "f:4: clutser: unknown setting; did you mean cluster?\n"},
	{HEAD "global_defs = { };", "f:4: global_defs: unknown setting; there is no such block "
				    "here; its settings stand at the top "
				    "level\n"},
	{HEAD "link_port = 99999999999;",
	 "f:4: link_port: a number beyond 2147483646 is out of range; 1 to 65535 are possible\n"},
	{HEAD "link_port = 4294967297;",
	 "f:4: link_port: a number beyond 2147483646 is out of range; 1 to 65535 are possible\n"},
	{HEAD "link_port = 0xFFFFFFFFFF;",
	 "f:4: link_port: a number beyond 2147483646 is out of range; 1 to 65535 are possible\n"},
	{HEAD "link_port = 0;", "f:4: link_port: 0 is out of range; 1 to 65535 are possible\n"},
	{HEAD "link_port = 1.0;",
	 "f:4: link_port: is a number with a fraction where a whole number should "
	 "be; write link_port = N; with N from 1 to 65535\n"},
	{HEAD "log_facility = \"locale\";",
	 "f:4: log_facility: \"locale\" is not a facility; daemon, user, "
	 "local0 to local7 are among those of syslog(3)\n"},
	{HEAD "log_level = 3;",
	 "f:4: log_level: is a whole number where text should be; write log_level = "
	 "\"info\";\n"},
	{"cluster = \"web.example\"; nodes = ( { name = \"web1\"; address = \"198.51.100.1\"; },\n"
	 "{ name = \"web1\"; address = \"198.51.100.1\"; } );",
	 "f:1: cluster: \"web.example\" is not a name; a letter, then letters, digits, - and _, at "
	 "most "
	 "63 of them\n"
	 "f:2: nodes.web1.name: the name stands in line 1 already; give one of the two another "
	 "name\n"
	 "f:2: nodes.web1.address: 198.51.100.1 is the address of web1 already; each node has an "
	 "address "
	 "of its own\n"},
	{"cluster = \"e\"; nodes = ( { name = \"a\"; address = \"198.51.100.1/24\"; key = "
	 "\"SHA256:abc\"; },\n"
	 "{ adress = \"198.51.100.2\"; name = \"b\"; link_port = 70000; }, 3 );",
	 "f:1: nodes.a.address: \"198.51.100.1/24\" is not an address; leave out the prefix "
	 "length\n"
	 "f:1: nodes.a.key: \"SHA256:abc\" is not the pin of a key; copy the line that `tandem "
	 "keygen` "
	 "prints on that node: SHA256: and 43 characters\n"
	 "f:2: nodes.b.adress: unknown setting; did you mean address?\n"
	 "f:2: nodes.b.address: is missing; add address = \"198.51.100.1\";\n"
	 "f:2: nodes.b.link_port: 70000 is out of range; 1 to 65535 are possible\n"
	 "f:2: nodes[2]: is a whole number where a group { } should be; write nodes = ( { name = "
	 "\"...\"; } );\n"},
	{"cluster = \"e\"; nodes = ( { name = \"a\"; address = \"198.51.100.1\"; key = \"" PIN1
	 "\"; },\n"
	 "{ name = \"b\"; address = \"198.51.100.2\"; key = \"" PIN1 "\"; } );",
	 "f:2: nodes.b.key: is the key of a already; run `tandem keygen` on each node; never copy "
	 "node.key\n"},

	/* Checks. */
	{HEAD TRACKED(""),
	 "f:4: checks.nginx: has neither process nor script nor any other kind of "
	 "check; give it process = \"/run/nginx.pid\"; or script = "
	 "\"/path/to/program\"; or one of process_name, http, tcp, interface, "
	 "file and instance\n"},
	{HEAD TRACKED("process = \"/run/nginx.pid\"; script = \"/bin/true\";"),
	 "f:4: checks.nginx.script: has both process and script; keep one of the two; a router may "
	 "track several checks\n"},
	{HEAD VRRP("") "groups = ( { name = \"VI_1\"; members = [ \"VI_1\", \"VI_1\", \"VI_2\" ]; "
		       "},\n"
		       "{ name = \"g\"; group = [ \"VI_1\" ]; } );",
	 "f:8: groups.VI_1.name: \"VI_1\" is the name of another group or instance; give each its "
	 "own\n"
	 "f:8: groups.VI_1.members: VI_1 is in a group already; an instance belongs to one group, "
	 "once\n"
	 "f:8: groups.VI_1.members: there is no vrrp entry \"VI_2\"; write the name of one that is "
	 "there\n"
	 "f:9: groups.g.group: unknown setting; the setting is called members\n"
	 "f:9: groups.g.members: is missing; add members = [ \"VI_1\", \"VI_2\" ];\n"},
	{HEAD "vrrp = ( { name = \"a\"; interface = \"eth0\"; virtual_router_id = 51;\n"
	      "priority = { web1 = 100; web2 = 90; }; nopreempt = true;\n"
	      "virtual_ipaddress = [ \"198.51.100.200/24\" ]; },\n"
	      "{ name = \"b\"; interface = \"eth1\"; virtual_router_id = 51;\n"
	      "priority = { web1 = 90; web2 = 100; };\n"
	      "virtual_ipaddress = [ \"203.0.113.200/24\" ]; },\n"
	      "{ name = \"c\"; interface = \"eth2\"; virtual_router_id = 51;\n"
	      "priority = { web1 = 255; web2 = 100; };\n"
	      "virtual_ipaddress = [ \"203.0.113.201/24\" ]; } );\n"
	      "groups = ( { name = \"g\"; members = [ \"a\", \"b\" ]; },\n"
	      "{ name = \"h\"; members = [ \"c\" ]; } );",
	 "f:13: groups.g.members: a and b have other priorities on web1; give all members of a "
	 "group the same ones\n"
	 "f:13: groups.g.members: nopreempt of a and b differ; give all members of a group the "
	 "same "
	 "one\n"
	 "f:14: warning: groups.h.members: names one instance only; add the others that move with "
	 "it\n"
	 "f:14: groups.h.members: c has priority 255, and an owner waits for nobody; give it 254 "
	 "or "
	 "less\n"},
	{HEAD TRACKED("process_name = \"/usr/sbin/nginx\"; quorum = 33;"),
	 "f:4: checks.nginx.process_name: \"/usr/sbin/nginx\" is not the name of a process; write "
	 "the name alone, as `ps -e` shows it, without a path\n"
	 "f:4: checks.nginx.quorum: 33 is out of range; 1 to 32 are possible\n"},
	{HEAD TRACKED("process = \"/run/x\"; quorum = 2; state = \"MASTER\";"),
	 "f:4: checks.nginx.quorum: has no meaning for a process check; remove it; it belongs to "
	 "checks with process_name\n"
	 "f:4: checks.nginx.state: has no meaning for a process check; remove it; it belongs to "
	 "checks with instance\n"},
	{HEAD TRACKED("interface = { web1 = \"eth1\"; }; fall = 2;"),
	 "f:4: checks.nginx.fall: has no meaning for a check with interface; remove it; it belongs "
	 "to checks that look again and again\n"
	 "f:4: checks.nginx.interface: names none for node web2; add web2 = \"eth0\";\n"},
	{HEAD TRACKED("instance = \"VI_2\";"),
	 "f:4: checks.nginx.instance: there is no vrrp entry \"VI_2\"; write the name of one that "
	 "is there\n"},
	{HEAD TRACKED("instance = \"VI_1\"; state = \"DOWN\";"),
	 "f:4: checks.nginx.state: \"DOWN\" is no state to be checked; write \"MASTER\" or "
	 "\"BACKUP\", or remove it: then any but FAULT is well\n"
	 "f:5: vrrp.VI_1.track: the check \"nginx\" leads back to this instance; let one instance "
	 "depend on the other, and not both; to move together they belong into one group\n"},
	{HEAD TRACKED("process = \"nginx\";"),
	 "f:4: checks.nginx.process: \"nginx\" is not an absolute "
	 "path; write the whole path from / on, without //, . and "
	 "..\n"},
	{HEAD TRACKED("process = \"/run/nginx.pid\"; timeout = 3;"),
	 "f:4: checks.nginx.timeout: has no meaning for a process check; remove it; it belongs to "
	 "script, http and tcp checks\n"},
	{HEAD TRACKED("process = \"/run/x\"; restart_first = true;"),
	 "f:4: checks.nginx.restart_first: has no meaning without restart; add restart = "
	 "\"systemctl restart nginx\"; or remove it\n"},
	{HEAD TRACKED("file = \"/run/x\"; restart = \"/bin/true\"; grace = 1;"),
	 "f:4: checks.nginx.grace: has no meaning for a check with file; remove it; it belongs to "
	 "checks that look again and again\n"
	 "f:4: checks.nginx.restart: has no meaning for a check with file; remove it; it belongs "
	 "to "
	 "checks that look again and again\n"},
	{HEAD TRACKED("script = \"killall -0 nginx || exit 1\";"),
	 "f:4: checks.nginx.script: holds shell syntax (||), and no shell runs it; put it into a "
	 "script, "
	 "or write /bin/sh -c '...'\n"},
	{HEAD TRACKED("script = \"bin/check.sh\";"),
	 "f:4: checks.nginx.script: the program \"bin/check.sh\" is not an absolute path; write "
	 "its whole "
	 "path from / on\n"},
	{HEAD TRACKED("script = \"/bin/sh -c 'exit\";"),
	 "f:4: checks.nginx.script: \"/bin/sh -c 'exit\" has a quote that is never closed; write "
	 "the "
	 "program and its arguments, at most 63 words\n"},
	{HEAD TRACKED("script = \"/bin/true\"; user = \"nobody nogroup\";"),
	 "f:4: checks.nginx.user: \"nobody nogroup\" is not the name of an account; write one user "
	 "name; "
	 "its groups come with it\n"},
	{HEAD TRACKED("script = \"/bin/true\"; interval = \"fast\";"),
	 "f:4: checks.nginx.interval: \"fast\" is not a time; write seconds as a number, or a "
	 "number and a "
	 "unit: \"10ms\" \"1s\" \"15m\" \"2h\"\n"},
	{HEAD TRACKED("script = \"/bin/true\"; interval = 0;"),
	 "f:4: checks.nginx.interval: 0 s is out of range; 10ms to 1h are possible\n"},
	{HEAD TRACKED("script = \"/bin/true\"; interval = 4294967297;"),
	 "f:4: checks.nginx.interval: more than 2147483647 s is out of range; 10ms to 1h are "
	 "possible\n"},
	{HEAD TRACKED("script = \"/bin/true\"; interval = +1e999;"),
	 "f:4: checks.nginx.interval: more than inf s is out of range; 10ms to 1h are possible\n"},
	{HEAD TRACKED("script = \"/bin/true\"; interval = true;"),
	 "f:4: checks.nginx.interval: is true or false where a time should be; write seconds as a "
	 "number, "
	 "or a number and a unit: \"10ms\" \"1s\" \"15m\" \"2h\"\n"},
	{HEAD TRACKED("script = \"/bin/true\"; weight = -254; fall = 0; rise = \"2\";"),
	 "f:4: checks.nginx.fall: 0 is out of range; 1 to 255 are possible\n"
	 "f:4: checks.nginx.rise: is text where a whole number should be; write rise = N; with N "
	 "from 1 to "
	 "255\n"
	 "f:4: checks.nginx.weight: -254 is out of range; -253 to 253 are possible\n"},

	/* Instances. */
	{HEAD "vrrp = ( { name = \"VI_1\"; state = \"MASTER\"; virtual_routerid = 51; } );",
	 "f:4: vrrp.VI_1.state: unknown setting; remove it: the priorities decide who starts as "
	 "master\n"
	 "f:4: vrrp.VI_1.virtual_routerid: unknown setting; did you mean virtual_router_id?\n"
	 "f:4: vrrp.VI_1.virtual_router_id: is missing; add virtual_router_id = N; with N from 1 "
	 "to 255, "
	 "the same on every router\n"
	 "f:4: vrrp.VI_1.priority: is missing; add priority = { web1 = 100; web2 = 90; };\n"
	 "f:4: vrrp.VI_1.interface: is missing; add interface = \"eth0\";\n"
	 "f:4: vrrp.VI_1.virtual_ipaddress: is missing; add virtual_ipaddress = [ "
	 "\"198.51.100.200/24\" "
	 "];\n"},
	{HEAD "vrrp = ( { name = \"V\"; interface = \"a-very-long-interface\"; virtual_router_id = "
	      "256;\n"
	      "priority = { web1 = 256; web3 = 90; };\n"
	      "virtual_ipaddress = [ \"198.51.100.200/33\" ]; } );",
	 "f:4: vrrp.V.virtual_router_id: 256 is out of range; 1 to 255 are possible\n"
	 "f:4: vrrp.V.interface: \"a-very-long-interface\" is not the name of an interface; `ip "
	 "link` shows "
	 "them; they have 1 to 15 characters\n"
	 "f:5: vrrp.V.priority.web3: no node has this name; did you mean web1?\n"
	 "f:5: vrrp.V.priority.web1: 256 is out of range; 0 to 255 are possible\n"
	 "f:5: vrrp.V.priority: names none for node web2; add web2 = N; with N from 1 to 255, or 0 "
	 "if that "
	 "node takes no part\n"
	 "f:6: vrrp.V.virtual_ipaddress: \"198.51.100.200/33\" is not an address with a prefix "
	 "length; "
	 "write one such as \"198.51.100.200/24\"\n"},
	{HEAD "vrrp = ( { name = \"V\"; interface = { web1 = \"eth0\"; }; virtual_router_id = 1;\n"
	      "priority = 100; virtual_ipaddress = \"198.51.100.200/24\"; } );",
	 "f:5: vrrp.V.priority: is a whole number where a group with a value for each node should "
	 "be; "
	 "write priority = { web1 = 100; web2 = 90; };\n"
	 "f:5: vrrp.V.virtual_ipaddress: is text where a list should be; write virtual_ipaddress = "
	 "[ "
	 "\"198.51.100.200/24\" ];\n"},
	{HEAD
	 "vrrp = ( { name = \"V\"; interface = { web1 = \"eth0\"; }; virtual_router_id = 1;\n"
	 "priority = { web1 = 0; web2 = 0; }; virtual_ipaddress = [ \"198.51.100.200\" ]; } );",
	 "f:5: vrrp.V.priority: no node takes part: all are 0; give at least one node 1 to 255\n"},
	{HEAD
	 "vrrp = ( { name = \"V\"; interface = { web1 = \"eth0\"; }; virtual_router_id = 1;\n"
	 "priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ \"198.51.100.200\" ]; } );",
	 "f:4: vrrp.V.interface: names none for node web2; add web2 = \"eth0\";\n"},
	{HEAD VRRP("version = 4;"),
	 "f:7: vrrp.VI_1.version: 4 is out of range; 2 to 3 are possible\n"},
	{HEAD VRRP("version = 2; advert_int = 0.3;"),
	 "f:7: vrrp.VI_1.advert_int: version 2 counts in whole seconds, and this is 0.3 s; write 1 "
	 "to 255, "
	 "or use version = 3 on every router of the group\n"},
	{HEAD VRRP("version = 2; advert_int = 256;"),
	 "f:7: vrrp.VI_1.advert_int: 256 s is out of range; version 2 takes whole seconds from 1 "
	 "to 255\n"},
	{HEAD VRRP("advert_int = 0.305;"), "f:7: vrrp.VI_1.advert_int: version 3 counts in "
					   "hundredths of a second, and this is 0.305 s; "
					   "write 0.01 to 40.95 with at most two decimals\n"},
	{HEAD VRRP("advert_int = 41;"),
	 "f:7: vrrp.VI_1.advert_int: 41 s is out of range; 10ms to 40950ms are possible\n"},
	{HEAD VRRP("advert_int = \"0.001ms\";"),
	 "f:7: vrrp.VI_1.advert_int: \"0.001ms\" is out of range; 10ms to 40950ms are possible\n"},
	{HEAD VRRP("auth_type = \"PASS\"; auth_pass = \"1111\";"),
	 "f:7: vrrp.VI_1.auth_type: version 3 has no authentication (RFC 9568, 9); remove it, or "
	 "write "
	 "version = 2; on every router of the group\n"},
	{HEAD VRRP("version = 2; auth_type = \"AH\"; auth_pass = \"1111\";"),
	 "f:7: vrrp.VI_1.auth_type: \"AH\" is not supported; write \"PASS\", or remove it: VRRP "
	 "has no "
	 "authentication worth the name\n"},
	{HEAD VRRP("version = 2; auth_pass = \"1111\";"),
	 "f:7: vrrp.VI_1.auth_pass: without auth_type; add auth_type = \"PASS\";\n"},
	{HEAD VRRP("version = 2; auth_type = \"PASS\";"),
	 "f:7: vrrp.VI_1.auth_type: \"PASS\" without auth_pass; add auth_pass = \"...\"; with the "
	 "group's "
	 "password\n"},
	{HEAD VRRP("version = 2; auth_type = \"PASS\"; auth_pass = 1111;"),
	 "f:7: vrrp.VI_1.auth_pass: is a whole number where text should be; write auth_pass = "
	 "\"...\";\n"},
	{HEAD VRRP("mcast_src_ip = { web1 = \"198.51.100.1\"; web2 = \"198.51.100.2\"; };"),
	 "f:7: vrrp.VI_1.mcast_src_ip: has no meaning with multicast = false; write "
	 "unicast_src_ip, or add "
	 "multicast = true;\n"},
	{HEAD VRRP("unicast_src_ip = { web1 = \"198.51.100.1\"; };"),
	 "f:7: vrrp.VI_1.unicast_src_ip: names none for node web2; add web2 = \"...\";\n"},
	{HEAD VRRP("unicast_src_ip = { web1 = \"198.51.100.1\"; web2 = \"2001:db8::2\"; };"),
	 "f:7: vrrp.VI_1.unicast_src_ip: the adverts of web1 come from an IPv4 address, those of "
	 "web2 from an IPv6 one; name an address of one family for each node\n"},
	{HEAD VRRP("unicast_src_ip = { web1 = \"2001:db8::1\"; web2 = \"2001:db8::2\"; };"),
	 "f:6: vrrp.VI_1.virtual_ipaddress: names no IPv6 address, and the adverts, which go over "
	 "IPv6, can name no other; add one, or have the adverts go over IPv4 with "
	 "unicast_src_ip\n"},
	{HEAD "vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 1; version = 2;\n"
	      "priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ \"2001:db8::9/64\" ];\n"
	      "unicast_src_ip = { web1 = \"2001:db8::1\"; web2 = \"2001:db8::2\"; }; } );",
	 "f:4: vrrp.V.version: version 2 knows no IPv6; write version = 3; or have the adverts go "
	 "over IPv4, with unicast_src_ip\n"},
	{HEAD
	 "vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 1; multicast = true;\n"
	 "priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ \"2001:db8::9/64\" ];\n"
	 "mcast_src_ip = { web1 = \"2001:db8::1\"; web2 = \"fe80::2\"; }; } );",
	 "f:6: vrrp.V.mcast_src_ip: adverts to ff02::12 come from a link-local address, and that "
	 "of web1 is not said; write mcast_src_ip = { ... }; with what `ip -6 addr show scope "
	 "link` shows on each node\n"},
	{HEAD
	 "vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 1;\n"
	 "priority = { web1 = 2; web2 = 1; };\n"
	 "virtual_ipaddress = [ \"198.51.100.9/24\", \"ff02::12\", \"::1\", \"::\",\n"
	 "\"::ffff:198.51.100.8\", \"2001:db8::/64\", \"2001:db8::ffff:ffff:ffff:ffff/64\" ]; } );",
	 "f:4: warning: vrrp.V.virtual_ipaddress: 2001:db8::/64 is the routers' anycast address of "
	 "its own subnet; use another address, or the right prefix length\n"
	 "f:6: vrrp.V.virtual_ipaddress: \"ff02::12\" is a multicast address; write a free address "
	 "of the interface's subnet\n"
	 "f:6: vrrp.V.virtual_ipaddress: \"::1\" is a loopback address; write a free address of "
	 "the interface's subnet\n"
	 "f:6: vrrp.V.virtual_ipaddress: \"::\" is not an address of a host; write a free address "
	 "of the interface's subnet\n"
	 "f:6: vrrp.V.virtual_ipaddress: \"::ffff:198.51.100.8\" is an IPv4 address in IPv6's "
	 "clothes; write a free address of the interface's subnet\n"},
	{HEAD VRRP("virtual_routes = ( { via = \"198.51.100.9\"; },\n"
		   "{ destination = \"203.0.113.1/24\"; },\n"
		   "{ destination = \"203.0.113.0/24\"; via = \"2001:db8::1\"; table = 0; },\n"
		   "{ destination = \"everything\"; gw = \"198.51.100.9\"; } );"),
	 "f:7: vrrp.VI_1.virtual_routes[0].destination: is missing; add destination = "
	 "\"203.0.113.0/24\"; or \"default\";\n"
	 "f:8: vrrp.VI_1.virtual_routes[1].destination: \"203.0.113.1/24\" has bits beyond its "
	 "prefix length; write the network's first address, or /32 for one host\n"
	 "f:9: vrrp.VI_1.virtual_routes[2].table: 0 is out of range; 1 to "
	 "2147483647 are possible\n"
	 "f:9: vrrp.VI_1.virtual_routes[2].via: is an IPv6 address, and the destination an IPv4 "
	 "one; write one of the same family\n"
	 "f:10: vrrp.VI_1.virtual_routes[3].gw: unknown setting; the setting is called via\n"
	 "f:10: vrrp.VI_1.virtual_routes[3].destination: \"everything\" is not a network with its "
	 "prefix length; write destination = \"203.0.113.0/24\"; or \"default\";\n"},
	{HEAD VRRP("track = [ \"ngnix\" ];") CHECK("process = \"/run/x\";"),
	 "f:7: vrrp.VI_1.track: there is no check \"ngnix\"; did you mean nginx?\n"
	 "f:8: warning: checks.nginx: no vrrp entry tracks this check, so that it moves nothing; "
	 "add track "
	 "= [ \"nginx\" ]; to the instances that depend on it\n"},
	{HEAD VRRP("track = [ \"nginx\", \"nginx weight -20\", \"nginx wait 3\" ];")
		 CHECK("process = \"/run/x\";"),
	 "f:7: vrrp.VI_1.track: names the check \"nginx\" twice; keep one of the two\n"
	 "f:7: vrrp.VI_1.track: \"nginx wait 3\" is not a check's name, or a name, the word weight "
	 "and a "
	 "number from -253 to 253 (and perhaps reverse); write track = [ \"nginx\", \"other weight "
	 "-20\" ];\n"},
	{HEAD VRRP("notify_mastr = \"/bin/true\";"),
	 "f:7: vrrp.VI_1.notify_mastr: unknown setting; did you mean notify_master?\n"},
	{HEAD VRRP("notify_master = \"\xe2\x80\x9c/bin/true\xe2\x80\x9d\"; notify_fault = \"\";"),
	 "f:7: vrrp.VI_1.notify_master: the program \"\xe2\x80\x9c/bin/true\xe2\x80\x9d\" is not "
	 "an "
	 "absolute path; write its whole path from / on\n"
	 "f:7: vrrp.VI_1.notify_fault: is empty; write notify_fault = \"/path/to/program "
	 "argument\";, or "
	 "leave the setting out\n"},
	{HEAD "vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 1;\n"
	      "priority = { web1 = 2; web2 = 1; };\n"
	      "virtual_ipaddress = [ \"198.51.100.1\", \"224.0.0.18\", \"0.0.0.0\", "
	      "\"2001:db8::5/64\",\n"
	      "\"198.51.100.9\", \"198.51.100.9/24\", \"198.51.100.7/24 dev eth0\" ]; } );",
	 "f:4: vrrp.V.virtual_ipaddress: 198.51.100.1 is the address of node web1 itself; use an "
	 "address "
	 "of its own for the service, or priority 255 on its owner\n"
	 "f:6: vrrp.V.virtual_ipaddress: \"224.0.0.18\" is a multicast address; write a free "
	 "address of the "
	 "interface's subnet\n"
	 "f:6: vrrp.V.virtual_ipaddress: \"0.0.0.0\" is not an address of a host; write a free "
	 "address of "
	 "the interface's subnet\n"
	 "f:6: vrrp.V.virtual_ipaddress: \"198.51.100.9/24\" stands twice; keep one of the two\n"
	 "f:6: vrrp.V.virtual_ipaddress: \"198.51.100.7/24 dev eth0\" is not an address with a "
	 "prefix "
	 "length; what belongs to it stands apart: ( { address = \"198.51.100.200/24\"; dev = "
	 "\"eth1\"; } )\n"},
	{HEAD "vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 1;\n"
	      "priority = { web1 = 2; web2 = 1; };\n"
	      "virtual_ipaddress = ( { address = \"198.51.100.9\"; brd = \"+\"; },\n"
	      "{ address = \"2001:db8::9/64\"; label = \"x\"; },\n"
	      "{ dev = \"eth1\"; },\n"
	      "{ address = \"198.51.100.10\"; scope = \"inner\"; label = \"a b\"; },\n"
	      "{ address = \"198.51.100.11\"; dev = { web1 = \"eth1\"; }; } );\n"
	      "virtual_ipaddress_excluded = [ \"198.51.100.9/24\" ]; } );",
	 "f:6: vrrp.V.virtual_ipaddress[0].brd: unknown setting; the setting is called "
	 "broadcast\n"
	 "f:7: vrrp.V.virtual_ipaddress[1].label: an IPv6 address has no label; remove it\n"
	 "f:8: vrrp.V.virtual_ipaddress[2].address: is missing; add address = "
	 "\"198.51.100.200/24\";\n"
	 "f:9: vrrp.V.virtual_ipaddress[3].label: \"a b\" is not a label; write 1 to 15 "
	 "characters such as \"eth0:1\"\n"
	 "f:9: vrrp.V.virtual_ipaddress[3].scope: \"inner\" is not a scope; write \"global\", "
	 "\"site\", \"link\" or \"host\"\n"
	 "f:10: vrrp.V.virtual_ipaddress[4].dev: names none for node web2; add web2 = "
	 "\"eth0\";\n"
	 "f:11: vrrp.V.virtual_ipaddress_excluded: \"198.51.100.9/24\" stands twice; keep one of "
	 "the two\n"},
	{HEAD
	 "vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 1;\n"
	 "priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ \"198.51.100.9\" ]; },\n"
	 "{ name = \"V\"; interface = { web1 = \"eth1\"; web2 = \"eth0\"; }; virtual_router_id = "
	 "1;\n"
	 "priority = { web1 = 1; web2 = 2; }; virtual_ipaddress = [ \"198.51.100.9/24\" ]; } );",
	 "f:6: vrrp.V.name: the name stands in line 4 already; give one of the two another name\n"
	 "f:6: vrrp.V.virtual_router_id: 1 is taken by V on eth0 of web2; use another number from "
	 "1 to "
	 "255\n"
	 "f:6: vrrp.V.virtual_ipaddress: 198.51.100.9 stands in V already; an address belongs to "
	 "one "
	 "instance\n"},

	/* Mirrors. */
	{HEAD MIRROR(""),
	 "f:4: mirrors.nginx.paths: is missing; add paths = [ \"/etc/nginx\" ];\n"},
	{HEAD MIRROR("paths = [ \"/\", \"/etc\", \"/etc/tandem\", \"/root/x\", \"/proc\", "
		     "\"etc/nginx\",\n"
		     "\"/etc/nginx/\", \"/etc/../etc\", \"/var/lib/tandem/objects\" ];"),
	 "f:4: mirrors.nginx.paths: / cannot be mirrored: it contains /etc/tandem; name the "
	 "directories of "
	 "what you serve, such as /etc/nginx\n"
	 "f:4: mirrors.nginx.paths: /etc cannot be mirrored: it contains /etc/tandem; name the "
	 "directories "
	 "of what you serve, such as /etc/nginx\n"
	 "f:4: mirrors.nginx.paths: /etc/tandem cannot be mirrored; name the directories of what "
	 "you "
	 "serve, such as /etc/nginx\n"
	 "f:4: mirrors.nginx.paths: /root/x cannot be mirrored: it lies in /root; name the "
	 "directories of "
	 "what you serve, such as /etc/nginx\n"
	 "f:4: mirrors.nginx.paths: /proc cannot be mirrored; name the directories of what you "
	 "serve, such "
	 "as /etc/nginx\n"
	 "f:4: mirrors.nginx.paths: \"etc/nginx\" is not an absolute path; write the whole path of "
	 "a "
	 "directory from / on, without //, . and .. and without a / at its end\n"
	 "f:4: mirrors.nginx.paths: \"/etc/nginx/\" ends with /; write the whole path of a "
	 "directory from / "
	 "on, without //, . and .. and without a / at its end\n"
	 "f:4: mirrors.nginx.paths: \"/etc/../etc\" has /.. in it; write the whole path of a "
	 "directory from "
	 "/ on, without //, . and .. and without a / at its end\n"
	 "f:4: mirrors.nginx.paths: /var/lib/tandem/objects cannot be mirrored: it lies in "
	 "/var/lib/tandem; name the directories of what you serve, such as /etc/nginx\n"},
	{HEAD MIRROR("paths = [ \"/srv/a\", \"/srv/a/b\", \"/srv/a\" ];"),
	 "f:4: mirrors.nginx.paths: /srv/a and /srv/a/b lie one in the other; a file belongs to "
	 "one path of "
	 "one mirror\n"
	 "f:4: mirrors.nginx.paths: /srv/a is mirrored twice; a file belongs to one path of one "
	 "mirror\n"
	 "f:4: mirrors.nginx.paths: /srv/a/b and /srv/a lie one in the other; a file belongs to "
	 "one path of "
	 "one mirror\n"},
	{HEAD "mirrors = ( { name = \"a\"; paths = [ \"/srv\" ]; },\n"
	      "{ name = \"b\"; paths = [ \"/srv/www\", \"/srv2\" ]; } );",
	 "f:5: mirrors.b.paths: /srv and /srv/www lie one in the other; a file belongs to one path "
	 "of one "
	 "mirror\n"},
	{HEAD MIRROR(
		 "paths = [ \"/srv\" ]; exclude = [ \"a/b\", \"/etc/x\", \"/srv\", \"*.swp\" ];"),
	 "f:4: mirrors.nginx.exclude: \"a/b\" is neither a name nor an absolute path; write a "
	 "pattern for "
	 "names such as \"*.swp\", or a path below a mirrored one, with / at its end for a "
	 "directory\n"
	 "f:4: mirrors.nginx.exclude: \"/etc/x\" lies below none of the mirrored paths; write a "
	 "pattern for "
	 "names such as \"*.swp\", or a path below a mirrored one, with / at its end for a "
	 "directory\n"
	 "f:4: mirrors.nginx.exclude: \"/srv\" lies below none of the mirrored paths; write a "
	 "pattern for "
	 "names such as \"*.swp\", or a path below a mirrored one, with / at its end for a "
	 "directory\n"},
	{HEAD MIRROR("paths = [ \"/srv\" ]; conflict = \"winner\"; publish = \"auto\";"),
	 "f:4: mirrors.nginx.conflict: unknown setting; known here: name, paths, exclude, "
	 "validate, reload, "
	 "validate_timeout, reload_timeout, resync, pid_file, error_log\n"
	 "f:4: mirrors.nginx.publish: unknown setting; known here: name, paths, exclude, validate, "
	 "reload, "
	 "validate_timeout, reload_timeout, resync, pid_file, error_log\n"},
	{HEAD MIRROR("paths = [ ]; resync = \"0s\";"),
	 "f:4: mirrors.nginx.paths: is empty; write paths = [ \"/etc/nginx\" ];, or leave the "
	 "setting "
	 "out\n"
	 "f:4: mirrors.nginx.resync: \"0s\" is out of range; 1s to 168h are possible\n"},
	{HEAD MIRROR("paths = [ \"/srv\" ]; validate = \"\";"),
	 "f:4: mirrors.nginx.validate: is empty; write validate = \"/path/to/program argument\";, "
	 "or leave "
	 "the setting out\n"},
};

static void each_bad_file_is_told_what_is_wrong_and_what_is_right(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct conf_problems problems = {0};
		struct conf *conf = NULL;
		int r = conf_parse(bad[i].text, strlen(bad[i].text), &problems, &conf);
		char *said = problems_text(&problems);

		if (r != -EINVAL || strcmp(said, bad[i].said) != 0)
			fail_msg("%d from\n%s\nsaid:\n%s\nshould be:\n%s", r, bad[i].text, said,
				 bad[i].said);
		assert_null(conf);
		assert_true(problems.errors > 0);
		free(said);
		conf_problems_release(&problems);
	}
	printf("figure: %zu bad files, each with its exact message\n", sizeof bad / sizeof bad[0]);
}

static const struct bad doubtful[] = {
	{"cluster = \"e\"; nodes = ( { name = \"a\"; address = \"198.51.100.1\"; } );",
	 "f:1: warning: nodes: there is one node only, and nobody to take over; add the second "
	 "one\n"},
	{HEAD VRRP("version = 2; auth_type = \"PASS\"; auth_pass = \"abcdefghijklmn\";"),
	 "f:7: warning: vrrp.VI_1.auth_pass: is longer than 8 bytes, and VRRP carries 8; the first "
	 "8 are "
	 "used, as keepalived does; write 8 or fewer\n"},
	{HEAD CHECK("process = \"/run/x\"; weight = -5;") VRRP("track = [ \"nginx\" ];"),
	 "f:5: warning: vrrp.VI_1.track: the check \"nginx\" can never cause a failover: its "
	 "weight -5 does "
	 "not outweigh the difference between web1 (100) and web2 (90); use a weight beyond 10, or "
	 "0\n"},
	{HEAD CHECK("process = \"/run/x\"; weight = 10;") VRRP("track = [ \"nginx\" ];"),
	 "f:5: warning: vrrp.VI_1.track: the check \"nginx\" can never cause a failover: its "
	 "weight 10 does "
	 "not outweigh the difference between web1 (100) and web2 (90); use a weight beyond 10, or "
	 "0\n"},
	{HEAD "vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 1;\n"
	      "priority = { web1 = 100; web2 = 100; };\n"
	      "virtual_ipaddress = [ \"198.51.100.255/24\", \"203.0.113.0/24\" ]; } );",
	 "f:4: warning: vrrp.V.priority: web1 and web2 have the same priority 100, so that the "
	 "higher "
	 "address decides; give each node its own\n"
	 "f:4: warning: vrrp.V.virtual_ipaddress: 198.51.100.255/24 is the broadcast address of "
	 "its own "
	 "subnet; use another address, or the right prefix length\n"
	 "f:4: warning: vrrp.V.virtual_ipaddress: 203.0.113.0/24 is the network address of its own "
	 "subnet; "
	 "use another address, or the right prefix length\n"},
	{HEAD VRRP("nopreempt = true; preempt_delay = 5;"),
	 "f:4: warning: vrrp.VI_1.preempt_delay: a healthy holder is never preempted with "
	 "nopreempt = "
	 "true, so that there is nothing to delay; keep one of the two\n"},
	{HEAD VRRP("notify_user = \"nobody\";"),
	 "f:7: warning: vrrp.VI_1.notify_user: has no effect, as there is no notify_master, "
	 "notify_backup, "
	 "notify_fault, notify_stop or notify; add one of them, or remove it\n"},
	{HEAD MIRROR("paths = [ \"/etc/nginx\" ]; reload = \"/etc/nginx/reload.sh\";"),
	 "f:4: warning: mirrors.nginx.reload: nothing validates a change before it goes live; add "
	 "validate "
	 "= \"nginx -t\";\n"
	 "f:4: warning: mirrors.nginx.reload: /etc/nginx/reload.sh lies inside the mirrored path "
	 "/etc/nginx: whoever may change it on one node has it run on all; keep it outside, in "
	 "/etc/tandem "
	 "for example\n"},
	{"cluster = \"e\"; nodes = ( { name = \"a\"; address = \"198.51.100.1\"; },\n"
	 "{ name = \"b\"; address = \"198.51.100.2\"; key = \"" PIN1
	 "\"; } );\n" MIRROR("paths = [ \"/srv\" ];"),
	 "f:3: warning: mirrors: only one of the nodes has a key, so that nothing is mirrored; run "
	 "`tandem "
	 "keygen` on each node, and add key = \"SHA256:...\"; to it\n"},
};

static void what_is_legal_and_still_wrong_is_a_warning(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof doubtful / sizeof doubtful[0]; i++) {
		conf_free(parse_good(doubtful[i].text, NULL));
		expect_said(doubtful[i].text, doubtful[i].said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_bad_file_is_told_what_is_wrong_and_what_is_right),
		cmocka_unit_test(what_is_legal_and_still_wrong_is_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
