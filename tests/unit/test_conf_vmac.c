/* SPDX-License-Identifier: Apache-2.0 */
/* Interfaces with a router's own hardware address: their names, and what lives on them. And whether
 * addresses are served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conf_texts.h"

#define OVER_IPV6                                                                                  \
	"vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 51; "                  \
	"priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ \"2001:db8::9/64\" ]; "         \
	"unicast_src_ip = { web1 = \"2001:db8::1\"; web2 = \"2001:db8::2\"; }; use_vmac = true; "  \
	"} );"
#define TWO(first, second)                                                                         \
	"vrrp = ( { name = \"A\"; interface = \"eth0\"; virtual_router_id = 51; " first            \
	"priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ \"198.51.100.9/24\" ]; }, "     \
	"{ name = \"B\"; interface = \"eth1\"; virtual_router_id = 51; " second                    \
	"priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ \"198.51.100.10/24\" ]; } );"

static void its_name_says_the_router_identifier_unless_another_is_given(void **state)
{
	static const struct {
		const char *text, *vmac;
		uint8_t mac[6];
	} cells[] = {
		{HEAD VRRP(""), "", {0, 0, 0x5e, 0, 1, 51}},
		{HEAD VRRP("use_vmac = false;"), "", {0, 0, 0x5e, 0, 1, 51}},
		{HEAD VRRP("use_vmac = true;"), "vrrp.51", {0, 0, 0x5e, 0, 1, 51}},
		{HEAD VRRP("use_vmac = \"vip0\";"), "vip0", {0, 0, 0x5e, 0, 1, 51}},
		{HEAD OVER_IPV6, "vrrp6.51", {0, 0, 0x5e, 0, 2, 51}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
		struct conf *c = parse_good(cells[i].text, NULL);
		uint8_t mac[6];

		assert_string_equal(c->vrrps[0].vmac, cells[i].vmac);
		conf_vmac_mac(&c->vrrps[0], mac);
		assert_memory_equal(mac, cells[i].mac, sizeof mac);
		conf_free(c);
	}
}

static void addresses_live_on_it_unless_they_have_one_of_their_own(void **state)
{
	struct conf *c = parse_good(
		HEAD "vrrp = ( { name = \"V\"; interface = \"eth0\"; virtual_router_id = 7; "
		     "use_vmac = true; vmac_xmit_base = true; multicast = true; "
		     "priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = ( "
		     "\"198.51.100.9/24\", { address = \"203.0.113.9/24\"; dev = \"eth1\"; } ); "
		     "} );",
		NULL);
	const struct conf_vrrp *v = &c->vrrps[0];

	(void)state;
	assert_true(v->vmac_xmit_base);
	assert_true(conf_vip_on_vmac(v, &v->vips[0]));
	assert_string_equal(conf_vip_interface(v, &v->vips[0], 0), "vrrp.7");
	assert_string_equal(conf_vip_network(v, &v->vips[0], 0), "eth0");
	assert_false(conf_vip_on_vmac(v, &v->vips[1]));
	assert_string_equal(conf_vip_interface(v, &v->vips[1], 0), "eth1");
	assert_string_equal(conf_vip_network(v, &v->vips[1], 0), "eth1");
	conf_free(c);
}

static void what_is_wrong_with_it_is_told(void **state)
{
	(void)state;
	expect_said(HEAD VRRP("use_vmac = 51;"),
		    "f:7: vrrp.VI_1.use_vmac: is a whole number where true, or a name for the "
		    "interface should be; write use_vmac = true; or use_vmac = \"vrrp.51\";\n");
	expect_said(HEAD VRRP("use_vmac = \"\";"),
		    "f:7: vrrp.VI_1.use_vmac: \"\" is not a name for an interface; 1 to 15 of a-z, "
		    "A-Z, 0-9, dot, dash and underscore\n");
	expect_said(
		HEAD VRRP("use_vmac = \"../all\";"),
		"f:7: vrrp.VI_1.use_vmac: \"../all\" is not a name for an interface; 1 to 15 of "
		"a-z, A-Z, 0-9, dot, dash and underscore\n");
	expect_said(
		HEAD VRRP("use_vmac = \"sixteen-letters-\";"),
		"f:7: vrrp.VI_1.use_vmac: \"sixteen-letters-\" is not a name for an interface; 1 "
		"to 15 of a-z, A-Z, 0-9, dot, dash and underscore\n");
	expect_said(HEAD VRRP("use_vmac = \"eth0\";"),
		    "f:7: vrrp.VI_1.use_vmac: \"eth0\" is the interface below it; give it another "
		    "name, or write use_vmac = true;\n");
	expect_said(HEAD VRRP("vmac_xmit_base = true;"),
		    "f:7: warning: vrrp.VI_1.vmac_xmit_base: has no effect without use_vmac; write "
		    "use_vmac = true; or use_vmac = \"vrrp.51\";\n");
}

static void addresses_are_served_unless_the_file_says_otherwise(void **state)
{
	struct conf *c = parse_good(HEAD VRRP(""), NULL);

	(void)state;
	assert_true(c->vrrps[0].accept);
	conf_free(c);
	c = parse_good(HEAD VRRP("accept = false;"), NULL);
	assert_false(c->vrrps[0].accept);
	conf_free(c);
	expect_said(HEAD VRRP("no_accept = true;"), "f:7: vrrp.VI_1.no_accept: unknown setting; "
						    "write accept = false;\n");
}

static void two_routers_cannot_share_one(void **state)
{
	(void)state;
	expect_said(HEAD TWO("use_vmac = true;", "use_vmac = true;"),
		    "f:4: vrrp.B.use_vmac: vrrp.51 on web1 is that of A already; give one of the "
		    "two another name: use_vmac = \"NAME\";\n");
	expect_said(HEAD TWO("use_vmac = true;", "use_vmac = \"other\";"), "");
	expect_said(HEAD TWO("", "use_vmac = true;"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_name_says_the_router_identifier_unless_another_is_given),
		cmocka_unit_test(addresses_live_on_it_unless_they_have_one_of_their_own),
		cmocka_unit_test(what_is_wrong_with_it_is_told),
		cmocka_unit_test(two_routers_cannot_share_one),
		cmocka_unit_test(addresses_are_served_unless_the_file_says_otherwise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
