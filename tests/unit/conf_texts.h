/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_texts: pieces of configuration files that the tests of shared/conf are put together from.
 * Included after cmocka.h.
 */
#ifndef TANDEM_CONF_TEXTS_H
#define TANDEM_CONF_TEXTS_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/conf.h"

#define PIN1 "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define PIN2 "SHA256:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
/* Three lines, so that what a test adds begins in line 4. */
#define HEAD                                                                                       \
	"cluster = \"edge\";\n"                                                                    \
	"nodes = ( { name = \"web1\"; address = \"198.51.100.1\"; key = \"" PIN1 "\"; },\n"        \
	"          { name = \"web2\"; address = \"198.51.100.2\"; key = \"" PIN2 "\"; } );\n"
/* What every instance needs; a test adds the rest. */
#define VRRP(more)                                                                                 \
	"vrrp = ( { name = \"VI_1\"; interface = \"eth0\"; virtual_router_id = 51;\n"              \
	"  priority = { web1 = 100; web2 = 90; };\n"                                               \
	"  virtual_ipaddress = [ \"198.51.100.200/24\" ];\n"                                       \
	"  " more " } );\n"
#define CHECK(more) "checks = ( { name = \"nginx\"; " more " } );\n"
#define MIRROR(more) "mirrors = ( { name = \"nginx\"; " more " } );\n"
/* A check that is tracked, so that no other warning comes. */
#define TRACKED(more) CHECK(more) VRRP("track = [ \"nginx\" ];")

static inline char *problems_text(const struct conf_problems *problems)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	conf_problems_print(problems, "f", out);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* Parses text, which must be good (warnings are possible: *ret_text). */
static inline struct conf *parse_good(const char *text, char **ret_text)
{
	struct conf_problems problems = {0};
	struct conf *conf = NULL;
	int r = conf_parse(text, strlen(text), &problems, &conf);
	char *said = problems_text(&problems);

	if (r != 0)
		fail_msg("refused: %s", said);
	if (ret_text)
		*ret_text = said;
	else
		free(said);
	conf_problems_release(&problems);
	return conf;
}

/* What text, which may be wrong, is told; "": it is good. */
static inline void expect_said(const char *text, const char *expected)
{
	struct conf_problems problems = {0};
	struct conf *conf = NULL;
	int r = conf_parse(text, strlen(text), &problems, &conf);
	char *said = problems_text(&problems);

	assert_string_equal(said, expected);
	assert_int_equal(r, problems.errors ? -EINVAL : 0);
	free(said);
	conf_problems_release(&problems);
	conf_free(conf);
}

#endif
