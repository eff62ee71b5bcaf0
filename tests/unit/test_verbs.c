/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of tandem, each called as main() calls it, against daemons that say what a test wants
 * them to say: a child serves the two control sockets from a table of answers.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl/verbs.h"
#include "shared/ctl.h"

static char dir[64];
static char config[96];
static struct verb_args args;
static char out[65536], err[65536];

struct answers {
	const char *socket; /* "agent" or "syncd" */
	const char *progress;
	const char *answer; /* JSON with single quotes */
};

static void on_request(void *ctx, struct ctl_client *client, const char *command,
		       const json_t *request)
{
	const struct answers *a = ctx;
	char *text = strdup(a->answer);
	json_t *answer;

	(void)command;
	if (a->progress)
		ctl_progress(client, json_pack("{s:s}", "progress", a->progress));
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	answer = json_loads(text, 0, NULL);
	/* What was asked comes back, so that a test can see it. */
	json_object_set(answer, "asked", (json_t *)request);
	ctl_answer(client, answer);
	free(text);
}

/* Serves until it is killed. The sockets are there when this returns. */
static pid_t serve(const struct answers *list, int count)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct loop *loop;
		struct ctl_server *server;
		char path[96];
		int fd;

		/* A test that fails leaves nobody behind who would hold its pipes open. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || loop_new(&loop) < 0)
			_exit(1);
		for (int i = 0; i < count; i++) {
			snprintf(path, sizeof path, "%s/%s.sock", dir, list[i].socket);
			if (ctl_listen(path, NULL, &fd) < 0 ||
			    ctl_server_new(loop, fd, on_request, NULL, (void *)&list[i], &server) <
				    0)
				_exit(1);
		}
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		loop_run(loop);
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void stop(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void capture(int fd, char *room, size_t size)
{
	off_t end = lseek(fd, 0, SEEK_END);

	assert_true(end >= 0 && (size_t)end < size);
	assert_int_equal(pread(fd, room, (size_t)end, 0), end);
	room[end] = '\0';
	close(fd);
}

/* Runs a verb with what it prints going to out and err. */
static int call(int (*verb)(const struct verb_args *), int words_count, const char *const *words)
{
	int saved[2] = {dup(1), dup(2)};
	int files[2] = {open(dir, O_TMPFILE | O_RDWR, 0600), open(dir, O_TMPFILE | O_RDWR, 0600)};
	int r;

	args.words = words;
	args.words_count = words_count;
	assert_true(files[0] >= 0 && files[1] >= 0);
	fflush(NULL);
	dup2(files[0], 1);
	dup2(files[1], 2);
	r = verb(&args);
	fflush(NULL);
	dup2(saved[0], 1);
	dup2(saved[1], 2);
	close(saved[0]);
	close(saved[1]);
	capture(files[0], out, sizeof out);
	capture(files[1], err, sizeof err);
	return r;
}

#define WORDS(...)                                                                                 \
	(int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)), (const char *const[])  \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

static void configure(const char *more)
{
	FILE *file = fopen(config, "w");

	assert_non_null(file);
	fprintf(file,
		"cluster = \"edge\"; nodes = ( { name = \"web1\"; address = \"198.51.100.1\"; },\n"
		"{ name = \"web2\"; address = \"198.51.100.2\"; } );\n%s",
		more);
	fclose(file);
	assert_int_equal(chmod(config, 0600), 0);
}

#define VRRP                                                                                       \
	"vrrp = ( { name = \"V\"; interface = \"lo\"; virtual_router_id = 1; priority = { web1 = " \
	"2; "                                                                                      \
	"web2 = 1; }; virtual_ipaddress = [ \"198.51.100.9\" ]; } );"

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/tandem-c-verbs.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(config, sizeof config, "%s/tandem.conf", dir);
	args = (struct verb_args){
		.run_dir = dir, .state_dir = dir, .config = config, .node = "web1"};
	configure("");
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"tandem.conf", "agent.sock", "syncd.sock", "node.key"};
	char path[96];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(dir), 0);
	return 0;
}

static void keygen_prints_the_pin_and_never_overwrites(void **state)
{
	char pin[64], path[96];
	struct stat before, after;

	(void)state;
	assert_int_equal(call(verb_keygen, 0, NULL), VERB_OK);
	assert_int_equal(strlen(out), 7 + 43 + 1);
	assert_memory_equal(out, "SHA256:", 7);
	assert_non_null(strstr(err, "key = \"SHA256:"));
	strcpy(pin, out);
	snprintf(path, sizeof path, "%s/node.key", dir);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(before.st_mode & 0777, 0600);
	assert_int_equal(call(verb_keygen, 0, NULL), VERB_PENDING);
	assert_string_equal(out, pin);
	assert_non_null(strstr(err, "is there already and is kept"));
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_size, after.st_size);
}

/* What keygen prints is what the configuration takes. */
static void the_pin_that_keygen_prints_is_a_good_key(void **state)
{
	(void)state;
	assert_int_equal(call(verb_keygen, 0, NULL), VERB_OK);
	out[strlen(out) - 1] = '\0';
	{
		FILE *file = fopen(config, "w");

		assert_non_null(file);
		fprintf(file,
			"cluster = \"edge\"; nodes = ( { name = \"web1\"; address = "
			"\"198.51.100.1\"; key "
			"= \"%s\"; }, { name = \"web2\"; address = \"198.51.100.2\"; } );",
			out);
		fclose(file);
	}
	assert_int_equal(call(verb_check, 0, NULL), VERB_OK);
}

static void check_has_a_status_for_good_doubtful_and_wrong(void **state)
{
	char missing[96];

	(void)state;
	assert_int_equal(call(verb_check, 0, NULL), VERB_OK);
	assert_non_null(
		strstr(out, "good for node web1: 2 nodes, 0 checks, 0 virtual routers, 0 mirrors; "
			    "0 warnings\n"));
	configure("checks = ( { name = \"c\"; script = \"/bin/true\"; } );");
	assert_int_equal(call(verb_check, 0, NULL), VERB_PENDING);
	assert_non_null(strstr(out, ":3: warning: checks.c: no vrrp entry tracks this check"));
	assert_non_null(strstr(out, "1 check, 0 virtual routers, 0 mirrors; 1 warning\n"));
	configure("link_port = 0;");
	assert_int_equal(call(verb_check, WORDS(config)), VERB_FAILED);
	assert_non_null(strstr(out, ":3: link_port: 0 is out of range; 1 to 65535 are possible\n"));
	assert_non_null(strstr(err, "1 error, 0 warnings\n"));
	snprintf(missing, sizeof missing, "%s/none.conf", dir);
	assert_int_equal(call(verb_check, WORDS(missing)), VERB_FAILED);
	assert_non_null(strstr(err, "none.conf: No such file or directory; write one"));
}

static void check_warns_of_a_password_that_everybody_can_read(void **state)
{
	(void)state;
	configure(
		"vrrp = ( { name = \"V\"; interface = \"lo\"; virtual_router_id = 1; version = 2;\n"
		"priority = { web1 = 2; web2 = 1; }; virtual_ipaddress = [ \"198.51.100.9\" ];\n"
		"auth_type = \"PASS\"; auth_pass = \"hunter2\"; } );");
	call(verb_check, 0, NULL);
	assert_null(strstr(out, "everybody can read"));
	assert_int_equal(chmod(config, 0644), 0);
	assert_int_equal(call(verb_check, 0, NULL), VERB_PENDING);
	assert_non_null(strstr(out, "everybody can read the auth_pass in it; chmod 640"));
	assert_null(strstr(out, "hunter2"));
}

static void status_without_daemons_names_the_next_step(void **state)
{
	(void)state;
	configure(VRRP);
	assert_int_equal(call(verb_status, 0, NULL), VERB_NO_CONTACT);
	assert_non_null(strstr(out, "edge: no contact\n"));
	assert_non_null(strstr(out, "tandem-agent does not run here (nobody answers at "));
	assert_non_null(strstr(out, "start it: systemctl start tandem-agent\n"));
	/* The file mirrors nothing. */
	assert_null(strstr(out, "tandem-syncd"));
}

static void status_asks_both_and_prints_one_object_with_json(void **state)
{
	static const struct answers list[] = {
		{"agent", NULL,
		 "{'ok':true,'node':'web1','cluster':'edge','instances':[],'checks':[]}"},
		{"syncd", NULL,
		 "{'ok':true,'node':'web1','cluster':'edge','peers':[],'mirrors':[]}"},
	};
	pid_t pid = serve(list, 2);
	json_t *object;

	(void)state;
	assert_int_equal(call(verb_status, 0, NULL), VERB_OK);
	assert_non_null(strstr(out, "edge: healthy\n"));
	args.json = true;
	assert_int_equal(call(verb_status, 0, NULL), VERB_OK);
	object = json_loads(out, 0, NULL);
	assert_non_null(object);
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(json_object_get(object, "syncd"), "asked"), "command")),
		"status");
	json_decref(object);
	stop(pid);
}

static void sync_asks_for_what_was_named_and_shows_what_came_of_it(void **state)
{
	static const struct answers list[] = {
		{"syncd", "web2 is asked",
		 "{'ok':true,'mirrors':[{'name':'nginx','outcome':'settled','generation':42,'text':"
		 "'live and loaded'}]}"},
	};
	pid_t pid = serve(list, 1);

	(void)state;
	args.from = "web2";
	assert_int_equal(call(verb_sync, WORDS("nginx")), VERB_OK);
	assert_string_equal(out, "nginx: live and loaded (generation 42)\n");
	assert_string_equal(err, "web2 is asked\n");
	stop(pid);
}

static void what_a_daemon_refuses_is_a_failure_with_its_words(void **state)
{
	static const struct answers list[] = {
		{"syncd", NULL,
		 "{'ok':false,'code':'no-such-mirror','error':'there is no mirror \\u001bx'}"},
	};
	pid_t pid = serve(list, 1);

	(void)state;
	assert_int_equal(call(verb_sync, WORDS("x")), VERB_FAILED);
	assert_string_equal(err, "tandem: there is no mirror \\x1bx\n");
	assert_int_equal(call(verb_conflicts, 0, NULL), VERB_FAILED);
	assert_int_equal(call(verb_show, WORDS("a", "b", "/c")), VERB_FAILED);
	stop(pid);
}

static void conflicts_lists_paths_and_the_two_next_steps(void **state)
{
	static const struct answers list[] = {
		{"syncd", NULL,
		 "{'ok':true,'node':'web1','conflicts':[{'mirror':'nginx','node':'web2','kind':'"
		 "conflict',"
		 "'local':{'generation':7,'id':'00','author':'web1'},'remote':{'generation':8,'id':"
		 "'01',"
		 "'author':''},'since':'2026-11-20T12:00:00Z','text':'both changed one "
		 "file','paths':"
		 "[{'path':'/etc/nginx/"
		 "a','local':'file','remote':null}]}],'rescued':[{'mirror':'nginx',"
		 "'path':'/etc/nginx/b','since':'2026-11-20T12:00:01Z'}]}"},
	};
	pid_t pid = serve(list, 1);

	(void)state;
	assert_int_equal(call(verb_conflicts, 0, NULL), VERB_FAILED);
	assert_string_equal(
		out, "nginx: conflict with web2 since 2026-11-20T12:00:00Z: both changed one file\n"
		     "    here:    generation 7 by web1\n"
		     "    there:   generation 8\n"
		     "    /etc/nginx/a  (here: file, on web2: nothing)\n"
		     "    see both: tandem show nginx NODE PATH\n"
		     "    take one: tandem sync --from NODE nginx\n"
		     "nginx: an edit to /etc/nginx/b was kept aside at 2026-11-20T12:00:01Z: "
		     "tandem show "
		     "--rescued nginx web1 /etc/nginx/b\n");
	stop(pid);
}

static void no_conflicts_is_said_and_is_success(void **state)
{
	static const struct answers list[] = {
		{"syncd", NULL, "{'ok':true,'conflicts':[],'rescued':[]}"},
	};
	pid_t pid = serve(list, 1);

	(void)state;
	assert_int_equal(call(verb_conflicts, 0, NULL), VERB_OK);
	assert_string_equal(out, "no conflicts\n");
	stop(pid);
}

static void show_prints_the_bytes_as_they_are(void **state)
{
	static const struct answers text = {"syncd", NULL,
					    "{'ok':true,'type':'file','mode':'0644','owner':'root',"
					    "'group':'root','text':'a\\nb'}"};
	static const struct answers bytes = {"syncd", NULL,
					     "{'ok':true,'type':'file','mode':'0644','owner':'root'"
					     ",'group':'root','base64':'/wAB'}"};
	static const struct answers padded = {"syncd", NULL,
					      "{'ok':true,'type':'file','mode':'0644','owner':'"
					      "root','group':'root','base64':'/w=='}"};
	pid_t pid = serve(&text, 1);

	(void)state;
	assert_int_equal(call(verb_show, WORDS("nginx", "web2", "/etc/nginx/a")), VERB_OK);
	assert_string_equal(out, "a\nb");
	assert_string_equal(err, "/etc/nginx/a: file, mode 0644, owner root:root\n");
	stop(pid);
	pid = serve(&bytes, 1);
	assert_int_equal(call(verb_show, WORDS("nginx", "web2", "/etc/nginx/a")), VERB_OK);
	assert_memory_equal(out, "\xff\0\x01\0", 4);
	stop(pid);
	pid = serve(&padded, 1);
	assert_int_equal(call(verb_show, WORDS("nginx", "web2", "/etc/nginx/a")), VERB_OK);
	assert_memory_equal(out, "\xff\0", 2);
	stop(pid);
}

static void handover_says_who_has_the_addresses(void **state)
{
	const struct answers agent = {
		.socket = "agent",
		.answer = "{'ok': true, 'maintenance': false, 'instances': ["
			  "{'name': 'VI_1', 'outcome': 'handed-over', 'state': 'BACKUP', "
			  "'master': 'web2', 'took_us': 201000},"
			  "{'name': 'VI_2', 'outcome': 'not-held', 'state': 'BACKUP', "
			  "'master': 'web2', 'took_us': null}]}"};
	pid_t pid = serve(&agent, 1);

	(void)state;
	args.all = true;
	assert_int_equal(call(verb_handover, 0, NULL), VERB_OK);
	assert_string_equal(out, "VI_1: web2 has it, after 201 ms\n"
				 "VI_2: was not held here; web2 has it\n");
	assert_int_equal(call(verb_handover, WORDS("VI_1")), VERB_USAGE);
	args.all = false;
	assert_int_equal(call(verb_handover, 0, NULL), VERB_USAGE);
	args.json = args.lift = true;
	assert_int_equal(call(verb_handover, WORDS("VI_1")), VERB_OK);
	assert_non_null(strstr(out, "\"instance\": \"VI_1\""));
	assert_non_null(strstr(out, "\"lift\": true"));
	args.json = args.lift = false;
	stop(pid);
	assert_int_equal(call(verb_handover, WORDS("VI_1")), VERB_NO_CONTACT);
}

static void nobody_who_answers_is_a_failure_of_a_handover_and_not_of_maintenance(void **state)
{
	const struct answers agent = {
		.socket = "agent",
		.answer = "{'ok': true, 'maintenance': true, 'instances': ["
			  "{'name': 'VI_1', 'outcome': 'nobody-answered', 'state': 'MASTER', "
			  "'master': 'web1', 'took_us': 1096000}]}"};
	pid_t pid = serve(&agent, 1);

	(void)state;
	assert_int_equal(call(verb_handover, WORDS("VI_1")), VERB_FAILED);
	assert_string_equal(out, "VI_1: no other node answered: web1 still holds it\n");
	assert_int_equal(call(verb_maintenance, WORDS("on")), VERB_PENDING);
	assert_non_null(strstr(out, "maintenance is on"));
	assert_int_equal(call(verb_maintenance, WORDS("perhaps")), VERB_USAGE);
	stop(pid);
}

static void metrics_tell_both_daemons_in_numbers(void **state)
{
	const struct answers both[] = {
		{.socket = "agent",
		 .answer = "{'ok': true, 'maintenance': false, 'instances': [{'name': 'VI_1', "
			   "'state': 'MASTER', 'since_us': 1500000, 'priority': 100, 'sick': true, "
			   "'counters': {'adverts_sent': 7}, 'refused': [{'verdict': 'bad-pass', "
			   "'source': '198.51.100.9', 'count': 3}], 'alarms': [{'alarm': "
			   "'address-lost', 'count': 2}], 'in_use': [{'held': true, 'age_us': 1}, "
			   "{'held': true, 'age_us': 80000000}], 'hook': {'ok': true, 'took_us': "
			   "250000}}], 'late': {'count': 4, 'worst_by_us': 60000}, "
			   "'checks': [{'name': 'nginx', 'state': 'failed', 'failures': 5}]}"},
		{.socket = "syncd",
		 .answer = "{'ok': true, 'peers': [{'node': 'web2', 'connected': true, 'rtt_us': "
			   "300}], 'mirrors': [{'name': 'nginx', 'state': 'in-step', 'generation': "
			   "41, 'bytes': null}]}"}};
	static const char *const lines[] = {
		"# TYPE tandem_up gauge\ntandem_up{program=\"tandem-agent\"} 1\n",
		"\ntandem_maintenance 0\n",
		"\ntandem_vrrp_state{vrrp_instance=\"VI_1\",state=\"BACKUP\"} 0\n"
		"tandem_vrrp_state{vrrp_instance=\"VI_1\",state=\"MASTER\"} 1\n",
		"\ntandem_vrrp_state_age_seconds{vrrp_instance=\"VI_1\"} 1.5\n",
		"\ntandem_vrrp_sick{vrrp_instance=\"VI_1\"} 1\n",
		"\ntandem_vrrp_adverts_sent_total{vrrp_instance=\"VI_1\"} 7\n",
		"\ntandem_vrrp_adverts_refused_total{vrrp_instance=\"VI_1\",verdict=\"bad-pass\","
		"source=\"198.51.100.9\"} 3\n",
		"\ntandem_vrrp_alarms_total{vrrp_instance=\"VI_1\",alarm=\"address-lost\"} 2\n",
		"\ntandem_vrrp_address_rivals{vrrp_instance=\"VI_1\"} 1\n",
		"\ntandem_hook_good{vrrp_instance=\"VI_1\"} 1\n",
		"\ntandem_hook_duration_seconds{vrrp_instance=\"VI_1\"} 0.25\n",
		"\ntandem_late_timers_total 4\n",
		"\ntandem_late_timers_worst_seconds 0.06\n",
		"\ntandem_check_failures_total{check=\"nginx\"} 5\n",
		"\ntandem_check_state{check=\"nginx\",state=\"failed\"} 1\n",
		"\ntandem_peer_rtt_seconds{node=\"web2\"} 0.0003\n",
		"\ntandem_mirror_state{mirror=\"nginx\",state=\"in-step\"} 1\n",
		"\ntandem_mirror_generation{mirror=\"nginx\"} 41\n",
	};
	pid_t pid = serve(both, 2);

	(void)state;
	assert_int_equal(call(verb_metrics, 0, NULL), VERB_OK);
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		assert_non_null(strstr(out, lines[i]));
	assert_null(strstr(out, "tandem_mirror_size_bytes{")); /* null is no number */
	assert_string_equal(out + strlen(out) - 6, "# EOF\n");
	stop(pid);
	assert_int_equal(call(verb_metrics, 0, NULL), VERB_NO_CONTACT);
	assert_non_null(strstr(out, "\ntandem_up{program=\"tandem-syncd\"} 0\n"));
}

static void reload_passes_by_a_daemon_that_has_nothing_to_do(void **state)
{
	static const struct answers good = {"agent", NULL, "{'ok':true,'snapshot':3}"};
	static const struct answers wrong = {
		"agent", NULL, "{'ok':false,'code':'wrong-configuration','error':'f:3: x: y; z'}"};
	pid_t pid = serve(&good, 1);

	(void)state;
	configure(VRRP);
	assert_int_equal(call(verb_reload, 0, NULL), VERB_OK);
	assert_string_equal(out, "tandem-agent: reloaded, snapshot 3\n");
	assert_string_equal(err, "");
	configure(VRRP "mirrors = ( { name = \"m\"; paths = [ \"/srv\" ]; } );");
	assert_int_equal(call(verb_reload, 0, NULL), VERB_NO_CONTACT);
	assert_non_null(strstr(err, "tandem-syncd does not run here"));
	stop(pid);
	pid = serve(&wrong, 1);
	assert_int_equal(call(verb_reload, 0, NULL), VERB_FAILED);
	assert_non_null(strstr(err, "tandem-agent keeps the old configuration: f:3: x: y; z\n"));
	stop(pid);
}

/* ---- daemons that take their time ---- */

struct slow {
	int asked;		 /* gets a letter for each request */
	struct ctl_client *held; /* until SIGUSR1 */
	bool holds;
	char letter;
};

static void on_slow_request(void *ctx, struct ctl_client *client, const char *command,
			    const json_t *request)
{
	struct slow *slow = ctx;

	(void)command;
	(void)request;
	if (slow->holds)
		slow->held = client;
	else
		ctl_answer(client, json_pack("{s:b s:i}", "ok", 1, "snapshot", 2));
	if (write(slow->asked, &slow->letter, 1) != 1)
		_exit(1);
}

static void on_release(void *ctx, const struct signalfd_siginfo *info)
{
	struct slow *slow = ctx;

	(void)info;
	ctl_answer(slow->held, json_pack("{s:b s:i}", "ok", 1, "snapshot", 7));
}

/* An agent and a syncd, of which one answers only when told to; *ret_asked is read from. */
static pid_t serve_slowly(char held, int *ret_asked)
{
	int asked[2], ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(asked), 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		static struct slow slow[] = {{.letter = 'a'}, {.letter = 's'}};
		struct ctl_server *server;
		struct loop_signal *signals;
		struct loop *loop;
		char path[96];
		int fd;

		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || loop_new(&loop) < 0)
			_exit(1);
		for (int i = 0; i < 2; i++) {
			slow[i].asked = asked[1];
			slow[i].holds = slow[i].letter == held;
			snprintf(path, sizeof path, "%s/%s.sock", dir, i ? "syncd" : "agent");
			if (ctl_listen(path, NULL, &fd) < 0 ||
			    ctl_server_new(loop, fd, on_slow_request, NULL, &slow[i], &server) < 0)
				_exit(1);
			if (slow[i].holds &&
			    loop_signal_add(loop, SIGUSR1, on_release, &slow[i], &signals) < 0)
				_exit(1);
		}
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		loop_run(loop);
		_exit(0);
	}
	close(ready[1]);
	close(asked[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*ret_asked = asked[0];
	return pid;
}

/* In a process of its own, since it waits; *ret_said is what it says on both, as it comes. */
static pid_t start_reload(int *ret_said)
{
	int said[2], status;
	pid_t pid;

	assert_int_equal(pipe(said), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* Who runs in the background inherits that it is ignored. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || signal(SIGINT, SIG_DFL) == SIG_ERR)
			_exit(99);
		dup2(said[1], 1);
		dup2(said[1], 2);
		args.words_count = 0;
		status = verb_reload(&args);
		fflush(NULL);
		_exit(status);
	}
	close(said[1]);
	*ret_said = said[0];
	return pid;
}

/* Adds to text until it contains what is waited for. */
static void read_until(int fd, char *text, size_t room, const char *what)
{
	size_t size = strlen(text);

	while (!strstr(text, what)) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&poll_fd, 1, 60000) != 1)
			fail_msg("not within a minute: %s; but: %s", what, text);
		n = read(fd, text + size, room - size - 1);
		if (n <= 0)
			fail_msg("never came: %s; but: %s", what, text);
		size += (size_t)n;
		text[size] = '\0';
	}
}

static void a_reload_that_takes_long_says_what_is_waited_for_and_how_long(void **state)
{
	char said[4096] = "", letters[16] = "";
	int asked, words, status;
	pid_t server = serve_slowly('s', &asked), reload;

	(void)state;
	configure(VRRP "mirrors = ( { name = \"m\"; paths = [ \"/srv\" ]; } );");
	reload = start_reload(&words);
	read_until(asked, letters, sizeof letters, "s");
	read_until(words, said, sizeof said, "\n");
	if (strncmp(said, "tandem-syncd does not answer yet; waiting another ", 50) != 0 ||
	    !strstr(said, " s at most (it reloads when it goes on, whether anybody waits or not)"))
		fail_msg("it said: %s", said);
	kill(server, SIGUSR1);
	assert_int_equal(waitpid(reload, &status, 0), reload);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == VERB_OK);
	read_until(words, said, sizeof said, "tandem-syncd: reloaded, snapshot 7\n");
	assert_non_null(strstr(said, "tandem-agent: reloaded, snapshot 2\n"));
	close(words);
	close(asked);
	stop(server);
}

static void a_reload_that_is_broken_off_has_asked_both_daemons(void **state)
{
	static const char holders[] = {'a', 's'};

	(void)state;
	configure(VRRP "mirrors = ( { name = \"m\"; paths = [ \"/srv\" ]; } );");
	for (size_t i = 0; i < sizeof holders; i++) {
		char letters[16] = "";
		int asked, words, status;
		pid_t server = serve_slowly(holders[i], &asked), reload = start_reload(&words);

		/* Before the one that holds has answered. */
		read_until(asked, letters, sizeof letters, "a");
		read_until(asked, letters, sizeof letters, "s");
		kill(reload, SIGINT);
		assert_int_equal(waitpid(reload, &status, 0), reload);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
		close(words);
		close(asked);
		stop(server);
	}
}

static char *line[16];

static int call_line(const struct verb_args *unused)
{
	int count = 0;

	(void)unused;
	while (line[count])
		count++;
	return verb_dispatch(count, line);
}

/* The whole command line, each word writable as main() gets it. */
static int call_words(const char *text)
{
	char copy[256];
	int count = 0;

	snprintf(copy, sizeof copy, "%s", text);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		line[count++] = word;
	line[count] = NULL;
	return call(call_line, 0, NULL);
}

static void a_dry_run_prints_each_change_and_has_a_status_for_what_moves(void **state)
{
	static const struct answers mild = {
		"agent", "reload-dry-run",
		"{'ok':true,'snapshot':3,'problems':'','instances':[{'name':'V','state':'MASTER',"
		"'effect':'kept','leaves_master':false}],'changes':[{'section':'','name':'',"
		"'change':'changed','settings':[{'setting':'log_level','before':null,'after':"
		"'debug'},{'setting':'control_group','before':'adm','after':null}]},"
		"{'section':'vrrp','name':'V','change':'changed','settings':[{'setting':'advert_"
		"int','before':'1','after':'0.5'}]}]}"};
	static const struct answers harsh = {
		"agent", "reload-dry-run",
		"{'ok':true,'snapshot':3,'problems':'','instances':[{'name':'V','state':'MASTER',"
		"'effect':'restarted','leaves_master':true}],'changes':[{'section':'nodes','name':"
		"'','change':'changed','settings':[{'setting':'order','before':'a','after':'b'}]}]"
		"}"};
	pid_t pid = serve(&mild, 1);

	(void)state;
	configure(VRRP);
	args.dry_run = true;
	assert_int_equal(call(verb_reload, 0, NULL), VERB_OK);
	assert_string_equal(out, "tandem-agent: would change\n"
				 "    the file's own settings: changed\n"
				 "        log_level: debug (was not written)\n"
				 "        control_group: adm (is not written any more)\n"
				 "    vrrp V: changed; stays MASTER\n"
				 "        advert_int: 1 -> 0.5\n");
	stop(pid);
	pid = serve(&harsh, 1);
	assert_int_equal(call(verb_reload, 0, NULL), VERB_PENDING);
	assert_string_equal(out, "tandem-agent: would change\n"
				 "    nodes: changed\n"
				 "        order: a -> b\n"
				 "    vrrp V: not changed itself; is given up and starts anew, and "
				 "leaves MASTER\n");
	args.json = true;
	assert_int_equal(call(verb_reload, 0, NULL), VERB_PENDING);
	assert_non_null(strstr(out, "\"exit\": 1"));
	stop(pid);
	assert_int_equal(call(verb_reload, 0, NULL), VERB_NO_CONTACT);
	assert_int_equal(call_words("tandem reload --json"), VERB_USAGE);
}

static void a_wrong_command_line_is_64_and_says_what_would_be_right(void **state)
{
	static const struct {
		const char *words, *said;
	} table[] = {
		{"tandem", "usage: tandem [OPTION...] VERB"},
		{"tandem fly", "there is no verb \"fly\"; `tandem help` shows what there is\n"},
		{"tandem sync --json",
		 "sync takes no --json; usage: tandem sync [--from NODE] [MIRROR]\n"},
		{"tandem sync a b", "too many arguments; usage: tandem sync"},
		{"tandem show nginx", "too few arguments; usage: tandem show"},
		{"tandem status --frm x", "`tandem help` shows what there is\n"},
		{"tandem keygen --watch", "keygen takes no --watch; usage: tandem keygen\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_int_equal(call_words(table[i].words), VERB_USAGE);
		assert_string_equal(out, "");
		assert_non_null(strstr(err, table[i].said));
	}
}

static void options_may_stand_on_either_side_of_the_verb(void **state)
{
	char words[256];

	(void)state;
	snprintf(words, sizeof words, "tandem --config %s check --node web1", config);
	assert_int_equal(call_words(words), VERB_OK);
	snprintf(words, sizeof words, "tandem check %s --node web3", config);
	assert_int_equal(call_words(words), VERB_FAILED);
	assert_non_null(strstr(out, "there is no node \"web3\"; known here: web1, web2\n"));
	assert_int_equal(call_words("tandem help"), VERB_OK);
	assert_non_null(strstr(out, "exit status: 0 well"));
	assert_int_equal(call_words("tandem --version"), VERB_OK);
	assert_string_equal(out, "tandem " TANDEM_VERSION "\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keygen_prints_the_pin_and_never_overwrites),
		TEST(the_pin_that_keygen_prints_is_a_good_key),
		TEST(check_has_a_status_for_good_doubtful_and_wrong),
		TEST(check_warns_of_a_password_that_everybody_can_read),
		TEST(status_without_daemons_names_the_next_step),
		TEST(status_asks_both_and_prints_one_object_with_json),
		TEST(sync_asks_for_what_was_named_and_shows_what_came_of_it),
		TEST(what_a_daemon_refuses_is_a_failure_with_its_words),
		TEST(conflicts_lists_paths_and_the_two_next_steps),
		TEST(no_conflicts_is_said_and_is_success),
		TEST(show_prints_the_bytes_as_they_are),
		TEST(a_dry_run_prints_each_change_and_has_a_status_for_what_moves),
		TEST(a_wrong_command_line_is_64_and_says_what_would_be_right),
		TEST(options_may_stand_on_either_side_of_the_verb),
		TEST(handover_says_who_has_the_addresses),
		TEST(nobody_who_answers_is_a_failure_of_a_handover_and_not_of_maintenance),
		TEST(metrics_tell_both_daemons_in_numbers),
		TEST(reload_passes_by_a_daemon_that_has_nothing_to_do),
		TEST(a_reload_that_takes_long_says_what_is_waited_for_and_how_long),
		TEST(a_reload_that_is_broken_off_has_asked_both_daemons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
