/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tandem status`: any state of a cluster as the daemons tell it, and what a person gets to read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/screen.h"
#include "ctl/verbs.h"

/* JSON with single quotes, to be readable here. */
static json_t *parse(const char *text)
{
	char *copy = strdup(text);
	json_error_t error;
	json_t *object;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	object = json_loads(copy, 0, &error);
	if (!object)
		fail_msg("%s at %d in %s", error.text, error.position, copy);
	free(copy);
	return object;
}

static char *render(const struct screen_input *input, int *ret_exit)
{
	struct screen screen;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	screen_judge(input, &screen);
	screen_print(&screen, out);
	fclose(out);
	*ret_exit = screen.exit;
	screen_release(&screen);
	return text;
}

static void expect(const char *agent_text, const char *syncd_text, int code, const char *wanted)
{
	json_t *agent = agent_text ? parse(agent_text) : NULL;
	json_t *syncd = syncd_text ? parse(syncd_text) : NULL;
	struct screen_input input = {.agent = agent,
				     .syncd = syncd,
				     .agent_why = "tandem-agent does not run here",
				     .syncd_why = "tandem-syncd does not run here"};
	int found;
	char *text = render(&input, &found);

	assert_string_equal(text, wanted);
	assert_int_equal(found, code);
	free(text);
	json_decref(agent);
	json_decref(syncd);
}

#define AGENT(instances, checks)                                                                   \
	"{'ok':true,'version':1,'program':'tandem-agent','node':'web1','cluster':'edge','"         \
	"snapshot':1,"                                                                             \
	"'instances':[" instances "],'checks':[" checks "]}"
#define INSTANCE(name, state, prio, sick, vip, peer, more)                                         \
	"{'name':'" name "','state':'" state                                                       \
	"','cause':'link-down','since_us':5000000,'priority':100,"                                 \
	"'effective_priority':" prio ",'sick':" sick ",'addresses':['" vip "'],'peers':[" peer     \
	"]," more "'refused':[],'hook':null}"
#define PEER(state, prio)                                                                          \
	"{'node':'web2','address':'198.51.100.2','priority':" prio ",'state':'" state              \
	"','age_us':1000}"
#define SELF_MASTER                                                                                \
	"'master':{'address':'198.51.100.1','node':'web1','priority':100,'age_us':1000},"
#define PEER_MASTER                                                                                \
	"'master':{'address':'198.51.100.2','node':'web2','priority':100,'age_us':1000},"

#define SYNCD(peers, mirrors)                                                                      \
	"{'ok':true,'version':1,'program':'tandem-syncd','node':'web1','cluster':'edge','"         \
	"snapshot':1,"                                                                             \
	"'peers':[" peers "],'mirrors':[" mirrors "]}"
#define LINK_UP                                                                                    \
	"{'node':'web2','address':'198.51.100.2','connected':true,'age_us':259200000000,'rtt_us':" \
	"300,"                                                                                     \
	"'tls':'TLSv1.3 TLS_AES_256_GCM_SHA384','error':null}"
#define LINK_DOWN                                                                                  \
	"{'node':'web2','address':'198.51.100.2','connected':false,'age_us':12000000,'rtt_us':"    \
	"null,"                                                                                    \
	"'tls':null,'error':'connection refused'}"
#define MIRROR(state, reason, nodes, more)                                                         \
	"{'name':'nginx','state':'" state "','reason':" reason ",'generation':41,'id':'00',"       \
	"'author':'web1','files':62,'age_us':12000000,'nodes':[" nodes "]" more "}"
#define NODE1 "{'node':'web1','state':'in-step','generation':41,'reason':null,'latency_us':null}"
#define NODE2(state, generation, reason, latency)                                                  \
	"{'node':'web2','state':'" state "','generation':" generation ",'reason':" reason          \
	",'latency_us':" latency ",'age_us':1}"

static void a_healthy_pair_fills_the_screen_of_the_design(void **state)
{
	(void)state;
	expect(AGENT(INSTANCE("VI_1", "MASTER", "100", "false", "198.51.100.200/24",
			      PEER("SILENT", "90"),
			      SELF_MASTER) "," INSTANCE("VI_2", "BACKUP", "90", "false",
							"198.51.100.201/24", PEER("MASTER", "100"),
							PEER_MASTER),
		     ""),
	       SYNCD(LINK_UP,
		     MIRROR("in-step", "null", NODE1 "," NODE2("in-step", "41", "null", "38000"),
			    ",'rescued':0")),
	       VERB_OK,
	       "edge: healthy                                           "
	       "link web1\xe2\x80\x93web2: up 3 d, 0.3 ms, TLS 1.3\n"
	       "            web1 (this node)      web2\n"
	       "VI_1        MASTER  prio 100      BACKUP  prio 90       198.51.100.200/24\n"
	       "VI_2        BACKUP  prio 90       MASTER  prio 100      198.51.100.201/24\n"
	       "nginx       generation 41         in step               62 files, changed 12 s ago "
	       "on "
	       "web1, live on web2 after 38 ms\n");
}

static void a_refused_generation_is_shown_with_the_servers_own_words(void **state)
{
	(void)state;
	expect(NULL,
	       SYNCD(LINK_UP, MIRROR("in-step", "null",
				     NODE2("refused", "40",
					   "'validate failed: exit 1\\nnginx: [emerg] no "
					   "certificate\\nnginx: test "
					   "failed\\n'",
					   "null"),
				     "")),
	       VERB_FAILED,
	       "edge: failed                                             "
	       "link web1\xe2\x80\x93web2: up 3 d, 0.3 ms, TLS 1.3\n"
	       "            web1 (this node)      web2\n"
	       "nginx       generation 41         generation 40 refused  62 files, changed 12 s "
	       "ago on "
	       "web1\n"
	       "\n"
	       "tandem-agent does not run here\n"
	       "nginx: refused on web2 (generation 40):\n"
	       "    validate failed: exit 1\n"
	       "    nginx: [emerg] no certificate\n"
	       "    nginx: test failed\n");
}

static void what_a_script_prints_cannot_command_the_terminal(void **state)
{
	(void)state;
	expect(NULL, SYNCD("", MIRROR("invalid", "'a\\u001b[2Jb\\u0007\\u009bc\\td'", NODE1, "")),
	       VERB_FAILED,
	       "edge: failed\n"
	       "            web1 (this node)\n"
	       "nginx       generation 41 invalid  62 files, changed 12 s ago on web1\n"
	       "\n"
	       "tandem-agent does not run here\n"
	       "nginx: invalid here: a\\x1b[2Jb\\x07\\x9bc d\n");
}

static void a_conflict_names_the_two_next_steps(void **state)
{
	(void)state;
	expect(AGENT("", ""),
	       SYNCD(LINK_UP, MIRROR("conflict", "'site.conf was changed here and on web2'", NODE1,
				     ",'rescued':2")),
	       VERB_FAILED,
	       "edge: failed                                              "
	       "link web1\xe2\x80\x93web2: up 3 d, 0.3 ms, TLS 1.3\n"
	       "            web1 (this node)        web2\n"
	       "nginx       generation 41 conflict  -                     62 files, changed 12 s "
	       "ago on "
	       "web1\n"
	       "\n"
	       "nginx: conflict here: site.conf was changed here and on web2\n"
	       "nginx: `tandem conflicts nginx` shows both sides, `tandem sync --from NODE nginx` "
	       "takes "
	       "one\n"
	       "nginx: 2 edits were kept aside; `tandem conflicts nginx` names them\n");
}

/* The findings alone, one a line, and the exit status. */
static void expect_findings(const char *agent_text, const char *syncd_text, int code,
			    const char *wanted)
{
	json_t *agent = parse(agent_text), *syncd = parse(syncd_text);
	struct screen_input input = {.agent = agent, .syncd = syncd};
	struct screen screen;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	screen_judge(&input, &screen);
	for (int i = 0; i < screen.findings_count; i++)
		fprintf(out, "%d %s\n", screen.findings[i].exit, screen.findings[i].text);
	fclose(out);
	assert_string_equal(text, wanted);
	assert_int_equal(screen.exit, code);
	screen_release(&screen);
	free(text);
	json_decref(agent);
	json_decref(syncd);
}

#define QUIET SYNCD(LINK_UP, "")

static void another_nodes_maintenance_is_shown(void **state)
{
	(void)state;
	expect(AGENT(INSTANCE("VI_1", "MASTER", "100", "false", "198.51.100.200/24",
			      PEER("SILENT", "90"), SELF_MASTER),
		     ""),
	       SYNCD("{'node':'web2','address':'198.51.100.2','connected':true,'age_us':"
		     "259200000000,'rtt_us':300,'tls':'TLSv1.3','error':null,'maintenance':true}",
		     ""),
	       VERB_PENDING,
	       "edge: pending                                                  "
	       "link web1\xe2\x80\x93web2: up 3 d, 0.3 ms, TLS 1.3\n"
	       "            web1 (this node)      web2\n"
	       "VI_1        MASTER  prio 100      BACKUP  prio 90 maintenance  198.51.100.200/24\n"
	       "\n"
	       "web2: in maintenance, and takes an address only where no other node answers\n");
}

static void a_lost_link_is_no_contact(void **state)
{
	(void)state;
	expect_findings(AGENT("", ""), SYNCD(LINK_DOWN, ""), VERB_NO_CONTACT,
			"3 web2: no link for 12 s: connection refused\n");
	expect_findings(AGENT("", ""),
			SYNCD("{'node':'web2','connected':false,'age_us':null,'error':null}", ""),
			VERB_NO_CONTACT, "3 web2: no link yet\n");
}

static void a_mirror_that_waits_is_pending_and_says_for_what(void **state)
{
	(void)state;
	expect_findings(AGENT("", ""),
			SYNCD(LINK_UP, MIRROR("waiting", "'an edit here is not published yet'",
					      NODE2("pending", "40", "null", "null"), "")),
			VERB_PENDING,
			"1 nginx: waiting here: an edit here is not published yet\n"
			"1 nginx: pending on web2 (generation 40)\n");
}

static void what_failed_comes_before_what_is_not_seen(void **state)
{
	(void)state;
	expect_findings(AGENT("", ""),
			SYNCD(LINK_DOWN, MIRROR("degraded", "'no inotify watches left'",
						NODE2("unknown", "40", "null", "null"), "")),
			VERB_FAILED,
			"3 web2: no link for 12 s: connection refused\n"
			"2 nginx: degraded here: no inotify watches left\n"
			"3 nginx: unknown on web2 (generation 40)\n");
}

static void each_trouble_of_an_instance_is_said(void **state)
{
	(void)state;
	expect_findings(
		AGENT(INSTANCE("VI_1", "FAULT", "100", "false", "198.51.100.200/24", PEER("MASTER", "90"), "'trouble':'eth0 is not there',") "," INSTANCE(
			      "VI_2", "MASTER", "80", "true", "198.51.100.201/24",
			      PEER("MASTER", "90"),
			      SELF_MASTER) "," INSTANCE("VI_3", "BACKUP", "100", "false",
							"198.51.100.202/24", PEER("SILENT", "90"),
							"'master':null,") "," INSTANCE("VI_4",
										       "INIT",
										       "100",
										       "false",
										       "198.51.100."
										       "203/24",
										       PEER("SILEN"
											    "T",
											    "90"),
										       ""),
		      "{'name':'nginx','state':'failed','detail':'no process "
		      "17','since_us':5000000},"
		      "{'name':'http','state':'unknown','detail':'','since_us':1},"
		      "{'name':'disk','state':'ok','detail':'','since_us':1}"),
		QUIET, VERB_FAILED,
		"2 VI_1: FAULT here: link-down\n"
		"2 VI_1: eth0 is not there\n"
		"2 VI_2: sick here: priority 80 instead of 100\n"
		"2 VI_2: two masters: web2 says that it is one as well; is VRRP (IP protocol 112) "
		"let "
		"through in both directions?\n"
		"1 VI_3: nobody is heard as master\n"
		"1 VI_4: is starting: link-down\n"
		"2 check nginx: failed for 5 s: no process 17\n"
		"1 check http: has no result yet\n");
}

static void the_last_advert_of_the_old_master_is_no_claim(void **state)
{
	static const char claim[] =
		"{'node':'web1','cluster':'edge','instances':[{'name':'VI_1','state':'MASTER',"
		"'effective_priority':90,'since_us':%s,'addresses':[],'peers':[{'node':'web2','"
		"priority':"
		"100,'state':'MASTER','age_us':%s}]}]}";
	char text[512];

	(void)state;
	/* Heard before this node took over. */
	snprintf(text, sizeof text, claim, "3000000", "3500000");
	expect_findings(text, QUIET, VERB_OK, "");
	/* Heard since, and both have had the time to settle it. */
	snprintf(text, sizeof text, claim, "3000000", "100000");
	expect_findings(
		text, QUIET, VERB_FAILED,
		"2 VI_1: two masters: web2 says that it is one as well; is VRRP (IP protocol 112) "
		"let through in both directions?\n");
	/* At this moment they are settling it. */
	snprintf(text, sizeof text, claim, "1000000", "100000");
	expect_findings(text, QUIET, VERB_OK, "");
}

#define REFUSING(refused, hook)                                                                    \
	AGENT("{'name':'VI_1','vrid':51,'state':'MASTER','effective_priority':100,'sick':false,'"  \
	      "addresses':"                                                                        \
	      "[],"                                                                                \
	      "'peers':[]," SELF_MASTER "'refused':[" refused "],'hook':" hook "}",                \
	      "")

static void refused_adverts_are_counted_under_their_reason(void **state)
{
	(void)state;
	expect_findings(
		REFUSING(
			"{'verdict':'bad-auth','source':'198.51.100.2','node':'web2','refused':"
			"true,"
			"'count':12,'age_us':3000000,'text':'another password'},"
			"{'verdict':'unknown-source','source':'198.51.100.66','node':null,'refused'"
			":true,"
			"'count':1,'age_us':3000000,'text':'not one of the nodes'},"
			"{'verdict':'other-list','source':'198.51.100.2','node':'web2','refused':"
			"false,"
			"'count':2,'age_us':3000000,'text':'another list of addresses'},"
			"{'verdict':'bad-ttl','source':'198.51.100.2','node':'web2','refused':true,"
			"'count':5,'age_us':300000000,'text':'a TTL below 255'},"
			"{'verdict':'others','source':null,'node':null,'refused':true,'count':7,"
			"'age_us':null,'text':'from more sources than are counted one by one'},"
			"{'verdict':'none','source':'198.51.100.2','node':'web2','refused':true,"
			"'count':0,'age_us':1,'text':'never'}",
			"null"),
		QUIET, VERB_FAILED,
		"2 VI_1: 12 adverts from 198.51.100.2 (web2) refused, the last one of age 3 s: "
		"another "
		"password (bad-auth)\n"
		"0 VI_1: another router uses VRID 51: 198.51.100.66 is none of the nodes, and has "
		"sent 1 advert, the last one 3 s ago\n"
		"0 VI_1: 2 adverts from 198.51.100.2 (web2) taken in spite of a difference, the "
		"last one of "
		"age 3 s: another list of addresses (other-list)\n"
		"0 VI_1: 5 adverts from 198.51.100.2 (web2) refused, the last one of age 5 min: a "
		"TTL below "
		"255 (bad-ttl)\n"
		"0 VI_1: 7 adverts from several sources refused: from more sources than are "
		"counted one by "
		"one (others)\n");
}

static void a_holder_that_ranks_low_is_told(void **state)
{
	(void)state;
	expect_findings(AGENT(INSTANCE("VI_1", "BACKUP", "90", "false", "198.51.100.200/24",
				       "{'node':'web2','priority':1,'configured_priority':100,"
				       "'state':'MASTER','sick':true,'age_us':1000}",
				       PEER_MASTER),
			      ""),
			QUIET, VERB_PENDING,
			"1 VI_1: web2 holds it, and ranks as 1 instead of 100: it is in "
			"maintenance, or a check has failed; `tandem status` there says why\n");
	/* The last advert of the one before us. */
	expect_findings(AGENT(INSTANCE("VI_1", "MASTER", "90", "false", "198.51.100.200/24",
				       "{'node':'web2','priority':80,'configured_priority':100,"
				       "'state':'MASTER','sick':true,'age_us':6000000}",
				       SELF_MASTER),
			      ""),
			QUIET, VERB_OK, "");
}

static void an_address_in_use_elsewhere_is_named_with_its_holder(void **state)
{
	(void)state;
	expect(AGENT(INSTANCE("VI_1", "MASTER", "100", "false", "198.51.100.200/24", "",
			      SELF_MASTER
			      "'in_use':[{'address':'198.51.100.200','mac':'02:00:00:00:00:07',"
			      "'held':true,'count':3,'age_us':12000000},"
			      "{'address':'198.51.100.200','mac':'02:00:00:00:00:08',"
			      "'held':true,'count':1,'age_us':80000000},"
			      "{'address':'198.51.100.201','mac':'02:00:00:00:00:07',"
			      "'held':false,'count':1,'age_us':600000000}],"),
		     ""),
	       NULL, VERB_FAILED,
	       "edge: failed\n"
	       "            web1 (this node)\n"
	       "VI_1        MASTER  prio 100      198.51.100.200/24\n"
	       "\n"
	       "VI_1: 198.51.100.200 is in use elsewhere: 02:00:00:00:00:07 said so 12 s ago\n"
	       "VI_1: 198.51.100.200 is in use elsewhere: 02:00:00:00:00:08 said so 80 s ago\n"
	       "VI_1: nobody was heard 10 min ago, and yet 02:00:00:00:00:07 had 198.51.100.201; "
	       "is VRRP (IP protocol 112) let through?\n"
	       "tandem-syncd does not run here\n");
}

static void a_hook_that_failed_is_told_with_its_words_and_not_judged(void **state)
{
	(void)state;
	expect_findings(REFUSING("",
				 "{'last':'notify_master','state':'MASTER','outcome':'exit 3','ok':"
				 "false,'age_us':1500000,'output':'no such host\\n'}"),
			QUIET, VERB_OK,
			"0 VI_1: notify_master (MASTER) failed 2 s ago: exit 3\nno such host\n\n");
	expect_findings(REFUSING("",
				 "{'last':'notify','state':'MASTER','outcome':'exit 0','ok':true,"
				 "'age_us':1,'output':'fine'}"),
			QUIET, VERB_OK, "");
	/* A later one that went well does not hide it; of what it said the end; not for ever. */
	expect_findings(
		REFUSING("", "{'last':'notify','state':'MASTER','outcome':'exit 0','ok':true,"
			     "'age_us':1,'output':''},'hook_failed':{'last':'notify_master',"
			     "'state':'MASTER','outcome':'exit 3','exit':3,'ok':false,'took_us':"
			     "20000000,'age_us':1500000,'output':'1\\n2\\n3\\n4\\n5\\n6\\n'}"),
		QUIET, VERB_OK,
		"0 VI_1: notify_master (MASTER) failed 2 s ago: exit 3 after 20 s\n"
		"2\n3\n4\n5\n6\n\n");
	expect_findings(REFUSING("",
				 "{'last':'notify','state':'MASTER','outcome':'exit 1','ok':false,"
				 "'age_us':700000000,'output':''}"),
			QUIET, VERB_OK, "");
}

static void alarms_are_told_for_a_while_and_those_that_hold_on_are_judged(void **state)
{
	(void)state;
	expect_findings(REFUSING("", "null,'alarms':["
				     "{'alarm':'address-lost','text':'put back','count':3,"
				     "'age_us':5000000},"
				     "{'alarm':'contention','text':'two','count':1,'age_us':"
				     "700000000}]"),
			QUIET, VERB_OK, "0 VI_1: put back (5 s ago; 3 times in all)\n");
	expect_findings(REFUSING("", "null,'alarms':["
				     "{'alarm':'put-back-limited','text':'again and again',"
				     "'count':1,'age_us':5000000}]"),
			QUIET, VERB_FAILED, "2 VI_1: again and again (5 s ago)\n");
	expect_findings(REFUSING("", "null,'alarms':["
				     "{'alarm':'put-back-limited','text':'again and again',"
				     "'count':1,'age_us':65000000}]"),
			QUIET, VERB_OK, "0 VI_1: again and again (65 s ago)\n");
}

static void a_check_that_is_well_again_says_what_it_was(void **state)
{
	(void)state;
	expect_findings(
		AGENT("", "{'name':'web','kind':'script','state':'ok','detail':'exit 0','age_us':1,"
			  "'since_us':1,'failures':2,'last_failure':{'age_us':12000000,'detail':"
			  "'exit 1: no answer'}},"
			  "{'name':'old','kind':'script','state':'ok','detail':'exit 0','age_us':1,"
			  "'since_us':1,'failures':1,'last_failure':{'age_us':700000000,'detail':"
			  "'exit 1'}}"),
		QUIET, VERB_OK,
		"0 check web: is well; failed 2 times, last 12 s ago: exit 1: no answer\n");
}

static void timers_that_were_late_are_told(void **state)
{
	(void)state;
	expect_findings("{'ok':true,'node':'web1','cluster':'edge','instances':[],'checks':[],"
			"'late':{'count':2,'by_us':60000,'age_us':3000000,'worst_by_us':412000,"
			"'worst_age_us':9000000}}",
			QUIET, VERB_OK,
			"0 tandem-agent: timers fired late 2 times, by up to 412 ms, the last time "
			"3 s ago: it was not let run, or had too much to do\n");
}

static void nonsense_from_a_daemon_does_no_harm(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{'instances':3,'peers':'x','mirrors':null}",
		"{'instances':[1,null,{}],'peers':[[],{}],'mirrors':[{},7],'checks':[{}]}",
		"{'node':'web1','instances':[{'name':5,'state':null,'peers':[{}],'refused':[{}],'"
		"hook':{},"
		"'addresses':[null,3]}],'mirrors':[{'nodes':[{},{'node':9}]}]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		json_t *object = parse(texts[i]);
		struct screen_input input = {.agent = object, .syncd = object};
		int code;
		char *text = render(&input, &code);

		assert_true(strlen(text) > 0);
		free(text);
		json_decref(object);
	}
}

static struct conf *configuration(const char *more)
{
	char text[2048];
	struct conf_problems problems = {0};
	struct conf *conf = NULL;

	snprintf(text, sizeof text,
		 "cluster = \"edge\"; nodes = ( { name = \"web2\"; address = \"198.51.100.2\"; },\n"
		 "{ name = \"web1\"; address = \"198.51.100.1\"; } ); %s",
		 more);
	assert_int_equal(conf_parse(text, strlen(text), &problems, &conf), 0);
	conf_problems_release(&problems);
	return conf;
}

static void a_daemon_that_the_file_needs_not_is_not_missed(void **state)
{
	struct conf *conf = configuration("mirrors = ( { name = \"m\"; paths = [ \"/srv\" ]; } );");
	json_t *syncd = parse(QUIET);
	struct screen_input input = {.syncd = syncd, .conf = conf};
	int code;
	char *text = render(&input, &code);

	(void)state;
	assert_int_equal(code, VERB_OK);
	free(text);
	input.syncd = NULL;
	text = render(&input, &code);
	assert_int_equal(code, VERB_NO_CONTACT);
	free(text);
	json_decref(syncd);
	conf_free(conf);
}

static void nodes_stand_in_the_order_of_the_file(void **state)
{
	struct conf *conf = configuration("");
	json_t *syncd = parse(QUIET);
	struct screen_input input = {.syncd = syncd, .conf = conf};
	int code;
	char *text = render(&input, &code);

	(void)state;
	assert_non_null(strstr(text, "            web2                  web1 (this node)\n"));
	free(text);
	json_decref(syncd);
	conf_free(conf);
}

static void an_older_or_another_configuration_is_named(void **state)
{
	struct conf *conf = configuration("");
	json_t *agent = parse("{'node':'web1','cluster':'edge','config_hash':'00'}");
	json_t *syncd =
		parse("{'node':'web1','cluster':'edge','config_hash':'11','peers':[{'node':'web2',"
		      "'connected':true,'config_hash':'22'}]}");
	struct screen_input input = {.agent = agent, .syncd = syncd, .conf = conf};
	struct screen screen;

	(void)state;
	screen_judge(&input, &screen);
	assert_int_equal(screen.exit, VERB_PENDING);
	assert_int_equal(screen.findings_count, 3);
	assert_string_equal(screen.findings[0].text,
			    "web2: has another tandem.conf; it must be the same on every node");
	assert_string_equal(screen.findings[1].text,
			    "tandem-agent runs on an older tandem.conf; `tandem "
			    "check`, then `tandem reload`");
	screen_release(&screen);
	json_decref(agent);
	json_decref(syncd);
	conf_free(conf);
}

static void the_json_form_carries_the_verdict_and_both_answers(void **state)
{
	json_t *agent = parse(AGENT("", "")), *syncd = parse(SYNCD(LINK_DOWN, "")), *object;
	struct screen_input input = {.agent = agent, .syncd = syncd};
	struct screen screen;

	(void)state;
	screen_judge(&input, &screen);
	object = screen_json(&screen);
	assert_non_null(object);
	assert_int_equal(json_integer_value(json_object_get(object, "version")), 1);
	assert_int_equal(json_integer_value(json_object_get(object, "exit")), VERB_NO_CONTACT);
	assert_string_equal(json_string_value(json_object_get(object, "summary")), "no contact");
	assert_int_equal(json_array_size(json_object_get(object, "findings")), 1);
	assert_true(json_equal(json_object_get(object, "syncd"), syncd));
	json_decref(object);
	screen_release(&screen);
	json_decref(agent);
	json_decref(syncd);
}

static void ages_are_written_as_people_say_them(void **state)
{
	static const struct {
		json_int_t us;
		const char *text;
	} table[] = {
		{-1, "an unknown time"}, {0, "0.0 ms"},	       {300, "0.3 ms"},
		{38000, "38 ms"},	 {1500000, "2 s"},     {119000000, "119 s"},
		{180000000, "3 min"},	 {18000000000, "5 h"}, {259200000000, "3 d"},
	};
	char room[32];

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_string_equal(screen_age(table[i].us, room), table[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_healthy_pair_fills_the_screen_of_the_design),
		cmocka_unit_test(a_refused_generation_is_shown_with_the_servers_own_words),
		cmocka_unit_test(what_a_script_prints_cannot_command_the_terminal),
		cmocka_unit_test(a_conflict_names_the_two_next_steps),
		cmocka_unit_test(another_nodes_maintenance_is_shown),
		cmocka_unit_test(a_lost_link_is_no_contact),
		cmocka_unit_test(a_mirror_that_waits_is_pending_and_says_for_what),
		cmocka_unit_test(what_failed_comes_before_what_is_not_seen),
		cmocka_unit_test(each_trouble_of_an_instance_is_said),
		cmocka_unit_test(the_last_advert_of_the_old_master_is_no_claim),
		cmocka_unit_test(refused_adverts_are_counted_under_their_reason),
		cmocka_unit_test(a_holder_that_ranks_low_is_told),
		cmocka_unit_test(an_address_in_use_elsewhere_is_named_with_its_holder),
		cmocka_unit_test(a_hook_that_failed_is_told_with_its_words_and_not_judged),
		cmocka_unit_test(alarms_are_told_for_a_while_and_those_that_hold_on_are_judged),
		cmocka_unit_test(a_check_that_is_well_again_says_what_it_was),
		cmocka_unit_test(timers_that_were_late_are_told),
		cmocka_unit_test(nonsense_from_a_daemon_does_no_harm),
		cmocka_unit_test(a_daemon_that_the_file_needs_not_is_not_missed),
		cmocka_unit_test(nodes_stand_in_the_order_of_the_file),
		cmocka_unit_test(an_older_or_another_configuration_is_named),
		cmocka_unit_test(the_json_form_carries_the_verdict_and_both_answers),
		cmocka_unit_test(ages_are_written_as_people_say_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
