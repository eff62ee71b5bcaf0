/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen_judge: what there is to say about a cluster, and how bad it is.
 *
 * The daemons' answers are read as a stranger's: a missing key is an unknown, never a crash.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/screen.h"

/* 2 failed, then 3 no contact (what is failed is known, what is not seen may be worse), then 1. */
static int rank(int code)
{
	return code == VERB_FAILED ? 3 : code == VERB_NO_CONTACT ? 2 : code == VERB_PENDING ? 1 : 0;
}

__attribute__((format(printf, 3, 4))) static void find(struct screen *screen, int code,
						       const char *format, ...)
{
	va_list args;
	char *text = NULL;

	if (rank(code) > rank(screen->exit))
		screen->exit = code;
	if (screen->findings_count == SCREEN_FINDINGS_MAX)
		return;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (text)
		screen->findings[screen->findings_count++] =
			(struct screen_finding){.exit = code, .text = text};
}

static void add_node(struct screen *screen, const char *name)
{
	for (int i = 0; i < screen->nodes_count; i++)
		if (strcmp(screen->nodes[i], name) == 0)
			return;
	if (screen->nodes_count < SCREEN_NODES_MAX)
		screen->nodes[screen->nodes_count++] = name;
}

/* In the order of the file; without one, this node first and the others as they are told. */
static void name_nodes(struct screen *screen)
{
	const struct screen_input *input = screen->input;
	json_t *instance, *peer;
	size_t i, k;

	for (int n = 0; input->conf && n < input->conf->nodes_count; n++)
		add_node(screen, input->conf->nodes[n].name);
	if (screen->self)
		add_node(screen, screen->self);
	json_array_foreach (json_object_get(input->agent, "instances"), i, instance)
		json_array_foreach (json_object_get(instance, "peers"), k, peer)
			if (ask_text(peer, "node", NULL))
				add_node(screen, ask_text(peer, "node", NULL));
	json_array_foreach (json_object_get(input->syncd, "peers"), i, peer)
		if (ask_text(peer, "node", NULL))
			add_node(screen, ask_text(peer, "node", NULL));
}

/* A node whose place is empty or unknown is called by its address. */
static const char *who(const json_t *object, const char *key, const char *address_key)
{
	const char *name = ask_text(object, key, NULL);

	return name && *name ? name : ask_text(object, address_key, "somebody unknown");
}

/* What is over for as long as this is told no more. */
#define TOLD_US 600000000

/* The last lines of what a command said: where it failed stands there. */
static const char *last_lines(const char *text, int count)
{
	const char *end = text + strlen(text), *at = end;

	while (at > text && (at[-1] != '\n' || at == end || --count > 0))
		at--;
	return at;
}

#define HOOK_LINES 5

static void judge_hook(struct screen *screen, const char *name, const json_t *object)
{
	const json_t *hook = json_object_get(object, "hook_failed");
	const char *output;
	json_int_t us;
	char age[32], took[32];

	/* One that went well since then has not mended it: it was another one, or another call. */
	if (!json_is_object(hook))
		hook = json_object_get(object, "hook");
	us = ask_number(hook, "age_us");
	if (!json_is_object(hook) || !json_is_false(json_object_get(hook, "ok")) || us > TOLD_US)
		return;
	output = last_lines(ask_text(hook, "output", ""), HOOK_LINES);
	screen_age(ask_number(hook, "took_us"), took);
	/* The address is where it should be: what a script makes of that is told, not judged. */
	find(screen, VERB_OK, "%s: %s (%s) failed %s ago: %s%s%s%s%s", name,
	     ask_text(hook, "last", "hook"), ask_text(hook, "state", "?"), screen_age(us, age),
	     ask_text(hook, "outcome", "?"), ask_number(hook, "took_us") > 0 ? " after " : "",
	     ask_number(hook, "took_us") > 0 ? took : "", *output ? "\n" : "", output);
}

/* Older than this, what was refused is history: told, no longer judged. */
#define REFUSED_RECENT_US 60000000

static void judge_refused(struct screen *screen, const char *name, const json_t *instance)
{
	json_t *refused;
	size_t i;
	char age[32];

	json_array_foreach (json_object_get(instance, "refused"), i, refused) {
		const char *text = ask_text(refused, "text", "");
		const char *node = ask_text(refused, "node", "");
		json_int_t count = ask_number(refused, "count");
		json_int_t us = ask_number(refused, "age_us");
		bool dropped = !json_is_false(json_object_get(refused, "refused"));
		/* A stranger's adverts only alarm; a peer's that are dropped keep a pair apart. */
		bool apart = dropped && *node && us >= 0 && us < REFUSED_RECENT_US;

		if (count == 0)
			continue;
		if (!*node && strcmp(ask_text(refused, "verdict", ""), "unknown-source") == 0) {
			find(screen, VERB_OK,
			     "%s: another router uses VRID %lld: %s is none of the nodes, and has "
			     "sent %lld advert%s, the last one %s ago",
			     name, (long long)ask_number(instance, "vrid"),
			     ask_text(refused, "source", "?"), (long long)count,
			     count == 1 ? "" : "s", screen_age(us, age));
			continue;
		}
		find(screen, apart ? VERB_FAILED : VERB_OK,
		     "%s: %lld advert%s from %s%s%s%s %s%s%s: %s (%s)", name, (long long)count,
		     count == 1 ? "" : "s", ask_text(refused, "source", "several sources"),
		     *node ? " (" : "", node, *node ? ")" : "",
		     dropped ? "refused" : "taken in spite of a difference",
		     us >= 0 ? ", the last one of age " : "", us >= 0 ? screen_age(us, age) : "",
		     *text ? text : "no reason was given", ask_text(refused, "verdict", "?"));
	}
}

static void judge_in_use(struct screen *screen, const char *name, const json_t *instance)
{
	json_t *rival;
	size_t i;
	char age[32];

	json_array_foreach (json_object_get(instance, "in_use"), i, rival) {
		const char *address = ask_text(rival, "address", "?");
		const char *mac = ask_text(rival, "mac", "?");
		json_int_t us = ask_number(rival, "age_us");
		bool held = json_is_true(json_object_get(rival, "held"));

		if (held)
			find(screen, us < SCREEN_IN_USE_US ? VERB_FAILED : VERB_OK,
			     "%s: %s is in use elsewhere: %s said so %s ago", name, address, mac,
			     screen_age(us, age));
		else
			find(screen, VERB_OK,
			     "%s: nobody was heard %s ago, and yet %s had %s; is VRRP (IP protocol "
			     "112) let through?",
			     name, screen_age(us, age), mac, address);
	}
}

/* Said in the log when it happened; here for a while after it. Two of them say what holds on. */
static void judge_alarms(struct screen *screen, const char *name, const json_t *instance)
{
	json_t *alarm;
	size_t i;
	char age[32], times[48];

	json_array_foreach (json_object_get(instance, "alarms"), i, alarm) {
		const char *which = ask_text(alarm, "alarm", "");
		json_int_t count = ask_number(alarm, "count"), us = ask_number(alarm, "age_us");
		bool lasts =
			strcmp(which, "put-back-limited") == 0 || strcmp(which, "send-failed") == 0;

		if (us < 0 || us > TOLD_US)
			continue;
		if (count > 1)
			snprintf(times, sizeof times, "; %lld times in all", (long long)count);
		find(screen, lasts && us < REFUSED_RECENT_US ? VERB_FAILED : VERB_OK,
		     "%s: %s (%s ago%s)", name, ask_text(alarm, "text", which), screen_age(us, age),
		     count > 1 ? times : "");
	}
}

const char *screen_peer_state(const json_t *instance, const json_t *peer)
{
	const char *state = ask_text(peer, "state", "unknown");

	if (strcmp(ask_text(instance, "state", ""), "MASTER") == 0 &&
	    strcmp(state, "MASTER") == 0 &&
	    ask_number(peer, "age_us") >= ask_number(instance, "since_us"))
		return "SILENT";
	return state;
}

bool screen_in_maintenance(const struct screen *screen, const char *node)
{
	json_t *peer;
	size_t i;

	json_array_foreach (json_object_get(screen->input->syncd, "peers"), i, peer)
		if (strcmp(ask_text(peer, "node", ""), node) == 0)
			return json_is_true(json_object_get(peer, "maintenance"));
	return false;
}

/* What ails it that node knows; here its adverts are all that is heard. A node in maintenance, and
 * one with a check that decides alone, rank as 1. */
static void judge_sick_holder(struct screen *screen, const char *name, const json_t *instance)
{
	json_t *peer;
	size_t i;

	json_array_foreach (json_object_get(instance, "peers"), i, peer) {
		json_int_t priority = ask_number(peer, "priority");

		if (strcmp(screen_peer_state(instance, peer), "MASTER") == 0 &&
		    json_is_true(json_object_get(peer, "sick")) &&
		    !screen_in_maintenance(screen, ask_text(peer, "node", "")))
			find(screen, VERB_PENDING,
			     "%s: %s holds it, and ranks as %lld instead of %lld: %s; `tandem "
			     "status` there says why",
			     name, who(peer, "node", "address"), (long long)priority,
			     (long long)ask_number(peer, "configured_priority"),
			     priority == 1 ? "it is in maintenance, or a check has failed"
					   : "a check has failed");
	}
}

/* Two that claim the addresses at once settle it with the next adverts; longer is trouble. */
#define CONTENTION_US 2000000

static void judge_instance(struct screen *screen, const json_t *instance)
{
	const bool maintenance = json_is_true(json_object_get(screen->input->agent, "maintenance"));
	const char *name = ask_text(instance, "name", "?");
	const char *state = ask_text(instance, "state", "?");
	const char *cause = ask_text(instance, "cause", NULL);
	const json_t *master = json_object_get(instance, "master");
	json_t *peer;
	size_t i;

	if (strcmp(state, "FAULT") == 0)
		find(screen, VERB_FAILED, "%s: FAULT here: %s", name,
		     cause ? cause : "no cause is known");
	else if (strcmp(state, "INIT") == 0)
		find(screen, VERB_PENDING, "%s: is starting: %s", name,
		     cause ? cause : "no cause is known");
	else if (strcmp(state, "LEAVING") == 0)
		find(screen, VERB_PENDING, "%s: is leaving: %s", name,
		     cause ? cause : "no cause is known");
	else if (strcmp(state, "BACKUP") == 0 && !json_is_object(master))
		find(screen, VERB_PENDING, "%s: nobody is heard as master", name);
	/* Who is in maintenance is sick by will; that is told once, for the whole node. */
	if (json_is_true(json_object_get(instance, "sick")) && !maintenance)
		find(screen, VERB_FAILED, "%s: sick here: priority %lld instead of %lld", name,
		     (long long)ask_number(instance, "effective_priority"),
		     (long long)ask_number(instance, "priority"));
	if (json_is_true(json_object_get(instance, "handed_over")))
		find(screen, VERB_OK,
		     "%s: was handed over, and is not taken back from a healthy holder; `tandem "
		     "handover --lift %s` ends that",
		     name, name);
	if (ask_text(instance, "trouble", NULL))
		find(screen, VERB_FAILED, "%s: %s", name, ask_text(instance, "trouble", ""));
	json_array_foreach (json_object_get(instance, "peers"), i, peer)
		if (strcmp(state, "MASTER") == 0 &&
		    ask_number(instance, "since_us") >= CONTENTION_US &&
		    strcmp(screen_peer_state(instance, peer), "MASTER") == 0)
			find(screen, VERB_FAILED,
			     "%s: two masters: %s says that it is one as well; is VRRP (IP "
			     "protocol 112) "
			     "let through in both directions?",
			     name, who(peer, "node", "address"));
	judge_sick_holder(screen, name, instance);
	judge_refused(screen, name, instance);
	judge_in_use(screen, name, instance);
	judge_alarms(screen, name, instance);
	judge_hook(screen, name, instance);
}

static void judge_check(struct screen *screen, const json_t *check)
{
	const char *name = ask_text(check, "name", "?");
	const char *state = ask_text(check, "state", "unknown");
	const char *detail = ask_text(check, "detail", "");
	const json_t *failure = json_object_get(check, "last_failure");
	json_int_t count = ask_number(check, "failures"), us = ask_number(failure, "age_us");
	char age[32];

	if (strcmp(state, "failed") == 0)
		find(screen, VERB_FAILED, "check %s: failed for %s%s%s", name,
		     screen_age(ask_number(check, "since_us"), age), *detail ? ": " : "", detail);
	else if (strcmp(state, "unknown") == 0)
		find(screen, VERB_PENDING, "check %s: has no result yet", name);
	else if (json_is_object(failure) && us >= 0 && us < TOLD_US)
		find(screen, VERB_OK, "check %s: is well; failed %lld time%s, %s %s ago: %s", name,
		     (long long)count, count == 1 ? "" : "s", count == 1 ? "which was" : "last",
		     screen_age(us, age), ask_text(failure, "detail", "?"));
}

static void judge_late(struct screen *screen, const json_t *late)
{
	json_int_t count = ask_number(late, "count"), us = ask_number(late, "age_us");
	char by[32], age[32];

	if (!json_is_object(late) || us < 0 || us > TOLD_US)
		return;
	find(screen, VERB_OK,
	     "tandem-agent: timers fired late %lld time%s, by up to %s, the last time %s ago: it "
	     "was not let run, or had too much to do",
	     (long long)count, count == 1 ? "" : "s",
	     screen_age(ask_number(late, "worst_by_us"), by), screen_age(us, age));
}

static void judge_agent(struct screen *screen)
{
	const struct screen_input *input = screen->input;
	json_t *item;
	size_t i;

	if (!input->agent) {
		if (!input->conf || input->conf->vrrps_count > 0)
			find(screen, VERB_NO_CONTACT, "%s",
			     input->agent_why ? input->agent_why : "tandem-agent does not answer");
		return;
	}
	if (json_is_true(json_object_get(input->agent, "maintenance")))
		find(screen, VERB_PENDING,
		     "%s: in maintenance, and takes an address only where no other node answers; "
		     "`tandem maintenance off` ends that",
		     screen->self ? screen->self : "this node");
	json_array_foreach (json_object_get(input->agent, "instances"), i, item)
		judge_instance(screen, item);
	json_array_foreach (json_object_get(input->agent, "groups"), i, item)
		judge_hook(screen, ask_text(item, "name", "?"), item);
	json_array_foreach (json_object_get(input->agent, "checks"), i, item)
		judge_check(screen, item);
	judge_late(screen, json_object_get(input->agent, "late"));
}

static int mirror_exit(const char *state)
{
	static const struct {
		const char *state;
		int code;
	} table[] = {
		{"in-step", VERB_OK},	      {"starting", VERB_PENDING}, {"pending", VERB_PENDING},
		{"waiting", VERB_PENDING},    {"invalid", VERB_FAILED},	  {"refused", VERB_FAILED},
		{"conflict", VERB_FAILED},    {"diverged", VERB_FAILED},  {"degraded", VERB_FAILED},
		{"unknown", VERB_NO_CONTACT},
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (strcmp(table[i].state, state) == 0)
			return table[i].code;
	return VERB_PENDING;
}

/* Command output reads best below the sentence; a short reason behind it. */
static const char *joint(const char *words)
{
	return strchr(words, '\n') ? "\n" : " ";
}

static void judge_mirror(struct screen *screen, const json_t *mirror)
{
	const char *name = ask_text(mirror, "name", "?");
	const char *state = ask_text(mirror, "state", "unknown");
	const char *reason = ask_text(mirror, "reason", "");
	json_t *node;
	size_t i;

	if (mirror_exit(state) != VERB_OK || *reason)
		find(screen, mirror_exit(state), "%s: %s here%s%s%s", name, state,
		     *reason ? ":" : "", *reason ? joint(reason) : "", reason);
	if (strcmp(state, "conflict") == 0 || strcmp(state, "diverged") == 0)
		find(screen, VERB_FAILED,
		     "%s: `tandem conflicts %s` shows both sides, `tandem sync --from NODE %s` "
		     "takes one",
		     name, name, name);
	json_array_foreach (json_object_get(mirror, "nodes"), i, node) {
		const char *who_is = ask_text(node, "node", "?");
		const char *its = ask_text(node, "state", "unknown");
		const char *words = ask_text(node, "reason", "");
		json_int_t generation = ask_number(node, "generation");
		char number[48] = "";

		if (screen->self && strcmp(who_is, screen->self) == 0)
			continue;
		if (mirror_exit(its) == VERB_OK && !*words)
			continue;
		if (generation >= 0)
			snprintf(number, sizeof number, " (generation %lld)",
				 (long long)generation);
		find(screen, mirror_exit(its), "%s: %s on %s%s%s%s%s", name, its, who_is, number,
		     *words ? ":" : "", *words ? joint(words) : "", words);
	}
	if (ask_number(mirror, "rescued") > 0)
		find(screen, VERB_OK, "%s: %lld edit%s kept aside; `tandem conflicts %s` names %s",
		     name, (long long)ask_number(mirror, "rescued"),
		     ask_number(mirror, "rescued") == 1 ? " was" : "s were", name,
		     ask_number(mirror, "rescued") == 1 ? "it" : "them");
}

static void judge_syncd(struct screen *screen)
{
	const struct screen_input *input = screen->input;
	const char *own = ask_text(input->syncd, "config_hash", "");
	json_t *item;
	size_t i;
	char age[32];

	if (!input->syncd) {
		if (!input->conf || input->conf->mirrors_count > 0)
			find(screen, VERB_NO_CONTACT, "%s",
			     input->syncd_why ? input->syncd_why : "tandem-syncd does not answer");
		return;
	}
	json_array_foreach (json_object_get(input->syncd, "peers"), i, item) {
		const char *node = ask_text(item, "node", "?");
		const char *error = ask_text(item, "error", "");
		const char *theirs = ask_text(item, "config_hash", own);

		if (!json_is_true(json_object_get(item, "connected"))) {
			json_int_t us = ask_number(item, "age_us");

			if (us >= 0)
				find(screen, VERB_NO_CONTACT, "%s: no link for %s%s%s", node,
				     screen_age(us, age), *error ? ": " : "", error);
			else
				find(screen, VERB_NO_CONTACT, "%s: no link yet%s%s", node,
				     *error ? ": " : "", error);
		} else if (strcmp(theirs, own) != 0) {
			find(screen, VERB_PENDING,
			     "%s: has another tandem.conf; it must be the same on every node",
			     node);
		}
		if (screen_in_maintenance(screen, node))
			find(screen, VERB_PENDING,
			     "%s: in maintenance, and takes an address only where no other node "
			     "answers",
			     node);
	}
	json_array_foreach (json_object_get(input->syncd, "mirrors"), i, item)
		judge_mirror(screen, item);
}

static void judge_conf(struct screen *screen)
{
	const struct screen_input *input = screen->input;
	const json_t *daemons[2] = {input->agent, input->syncd};
	char hash[65];

	if (!input->conf) {
		if (input->conf_why)
			find(screen, VERB_PENDING, "%s", input->conf_why);
		return;
	}
	for (int i = 0; i < 32; i++)
		snprintf(hash + 2 * i, 3, "%02x", input->conf->hash[i]);
	for (int i = 0; i < 2; i++)
		if (daemons[i] && strcmp(ask_text(daemons[i], "config_hash", hash), hash) != 0)
			find(screen, VERB_PENDING,
			     "%s runs on an older tandem.conf; `tandem check`, then `tandem "
			     "reload`",
			     ask_name(i == 0 ? ASK_AGENT : ASK_SYNCD));
}

void screen_judge(const struct screen_input *input, struct screen *ret_screen)
{
	const json_t *any = input->agent ? input->agent : input->syncd;

	*ret_screen = (struct screen){.input = input, .exit = VERB_OK};
	ret_screen->cluster = ask_text(any, "cluster", input->conf ? input->conf->cluster : "?");
	ret_screen->self = ask_text(any, "node", NULL);
	if (!ret_screen->self && input->conf && input->conf->self >= 0)
		ret_screen->self = input->conf->nodes[input->conf->self].name;
	name_nodes(ret_screen);
	judge_agent(ret_screen);
	judge_syncd(ret_screen);
	judge_conf(ret_screen);
}

void screen_release(struct screen *screen)
{
	for (int i = 0; i < screen->findings_count; i++)
		free(screen->findings[i].text);
	screen->findings_count = 0;
}

const char *screen_word(int code)
{
	switch (code) {
	case VERB_OK:
		return "healthy";
	case VERB_PENDING:
		return "pending";
	case VERB_FAILED:
		return "failed";
	default:
		return "no contact";
	}
}

const char *screen_age(json_int_t us, char room[32])
{
	double s = (double)us / 1e6;

	if (us < 0)
		snprintf(room, 32, "an unknown time");
	else if (us < 10000)
		snprintf(room, 32, "%.1f ms", s * 1e3);
	else if (us < 1000000)
		snprintf(room, 32, "%.0f ms", s * 1e3);
	else if (s < 120)
		snprintf(room, 32, "%.0f s", s);
	else if (s < 7200)
		snprintf(room, 32, "%.0f min", s / 60);
	else if (s < 2 * 86400)
		snprintf(room, 32, "%.0f h", s / 3600);
	else
		snprintf(room, 32, "%.0f d", s / 86400);
	return room;
}

json_t *screen_json(const struct screen *screen)
{
	const struct screen_input *input = screen->input;
	json_t *findings = json_array();

	for (int i = 0; i < screen->findings_count; i++)
		json_array_append_new(findings,
				      json_pack("{s:i, s:s}", "exit", screen->findings[i].exit,
						"text", screen->findings[i].text));
	return json_pack("{s:b, s:i, s:s, s:s?, s:s, s:i, s:s, s:o, s:O?, s:O?}", "ok", 1,
			 "version", 1, "program", "tandem", "node", screen->self, "cluster",
			 screen->cluster, "exit", screen->exit, "summary",
			 screen_word(screen->exit), "findings", findings, "agent", input->agent,
			 "syncd", input->syncd);
}
