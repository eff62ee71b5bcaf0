/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem metrics: what both daemons of this node say of themselves, as monitoring systems read it
 * (OpenMetrics, in the part of it that Prometheus' older text form shares). An instance of VRRP is
 * labelled vrrp_instance, since "instance" is the host that is asked.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/screen.h"

static void family(const char *name, const char *type, const char *help)
{
	printf("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_value(const char *text)
{
	for (const char *p = text; *p; p++) {
		if (*p == '\\' || *p == '"')
			printf("\\%c", *p);
		else if (*p == '\n')
			fputs("\\n", stdout);
		else
			putchar(*p);
	}
}

/* One label, or two: name of the second NULL. */
static void sample(const char *name, const char *label, const char *value, const char *second,
		   const char *second_value, double number)
{
	printf("%s{%s=\"", name, label);
	print_value(value);
	if (second) {
		printf("\",%s=\"", second);
		print_value(second_value);
	}
	printf("\"} %.10g\n", number);
}

/* A number, or a truth, below key of each object of the list. us: in seconds. */
static void each(const json_t *list, const char *metric, const char *type, const char *label,
		 const char *name_key, const char *key, bool us, const char *help)
{
	json_t *item;
	size_t i;

	family(metric, type, help);
	json_array_foreach (list, i, item) {
		const json_t *value = json_object_get(item, key);

		if (json_is_boolean(value))
			sample(metric, label, ask_text(item, name_key, "?"), NULL, NULL,
			       json_is_true(value));
		else if (json_is_number(value))
			sample(metric, label, ask_text(item, name_key, "?"), NULL, NULL,
			       json_number_value(value) / (us ? 1e6 : 1));
	}
}

/* One sample for each state there is, 1 for the one that it is in. */
static void states(const json_t *list, const char *metric, const char *label,
		   const char *const *names, const char *help)
{
	json_t *item;
	size_t i;

	family(metric, "gauge", help);
	json_array_foreach (list, i, item)
		for (const char *const *name = names; *name; name++)
			sample(metric, label, ask_text(item, "name", "?"), "state", *name,
			       strcmp(ask_text(item, "state", ""), *name) == 0);
}

static void counters(const json_t *instances)
{
	static const char *const table[][2] = {
		{"adverts_sent", "Adverts sent since the engine started."},
		{"adverts_received", "Usable adverts received."},
		{"priority_zero_sent", "Adverts of priority 0 sent."},
		{"priority_zero_received", "Adverts of priority 0 received."},
		{"mismatches_received", "Adverts of a peer that is configured differently."},
		{"send_failures", "Adverts that could not be sent."},
		{"announces", "Announcements of the addresses (gratuitous ARP)."},
		{"became_master", "Take-overs by this node."},
		{"contentions", "Times that another master of lower rank was heard."},
		{"resignations", "Times that this node resigned because it was sick."},
		{"put_backs", "Times that removed addresses were put back."},
	};
	char metric[64];
	json_t *item;
	size_t i;

	for (size_t k = 0; k < sizeof table / sizeof table[0]; k++) {
		snprintf(metric, sizeof metric, "tandem_vrrp_%s_total", table[k][0]);
		family(metric, "counter", table[k][1]);
		json_array_foreach (instances, i, item) {
			const json_t *of = json_object_get(item, "counters");

			if (ask_number(of, table[k][0]) >= 0)
				sample(metric, "vrrp_instance", ask_text(item, "name", "?"), NULL,
				       NULL, (double)ask_number(of, table[k][0]));
		}
	}
}

static void refused(const json_t *instances)
{
	json_t *item, *entry;
	size_t i, k;

	family("tandem_vrrp_adverts_refused_total", "counter",
	       "Adverts that were not quite right, by verdict and source.");
	json_array_foreach (instances, i, item) {
		json_array_foreach (json_object_get(item, "refused"), k, entry) {
			fputs("tandem_vrrp_adverts_refused_total{vrrp_instance=\"", stdout);
			print_value(ask_text(item, "name", "?"));
			fputs("\",verdict=\"", stdout);
			print_value(ask_text(entry, "verdict", "?"));
			fputs("\",source=\"", stdout);
			print_value(ask_text(entry, "source", "other"));
			printf("\"} %lld\n", (long long)ask_number(entry, "count"));
		}
	}
}

static void alarms(const json_t *instances)
{
	json_t *item, *entry;
	size_t i, k;

	family("tandem_vrrp_alarms_total", "counter", "What has happened to it, by kind.");
	json_array_foreach (instances, i, item)
		json_array_foreach (json_object_get(item, "alarms"), k, entry)
			sample("tandem_vrrp_alarms_total", "vrrp_instance",
			       ask_text(item, "name", "?"), "alarm", ask_text(entry, "alarm", "?"),
			       (double)ask_number(entry, "count"));
}

/* By instance alone: how many hardware addresses there will be nobody can know. */
static void rivals(const json_t *instances)
{
	json_t *item, *entry;
	size_t i, k;

	family("tandem_vrrp_address_rivals", "gauge",
	       "Other hosts that were heard to have one of the addresses, in the last 75 s.");
	json_array_foreach (instances, i, item) {
		int count = 0;

		json_array_foreach (json_object_get(item, "in_use"), k, entry)
			count += json_is_true(json_object_get(entry, "held")) &&
				 ask_number(entry, "age_us") < SCREEN_IN_USE_US;
		sample("tandem_vrrp_address_rivals", "vrrp_instance", ask_text(item, "name", "?"),
		       NULL, NULL, count);
	}
}

static void hooks(const json_t *instances)
{
	static const char *const table[][3] = {
		{"tandem_hook_good", "ok", "1 if the last notify command went well, or runs."},
		{"tandem_hook_duration_seconds", "took_us", "How long it took."},
	};
	json_t *item;
	size_t i;

	for (size_t k = 0; k < sizeof table / sizeof table[0]; k++) {
		family(table[k][0], "gauge", table[k][2]);
		json_array_foreach (instances, i, item) {
			const json_t *value =
				json_object_get(json_object_get(item, "hook"), table[k][1]);

			if (json_is_boolean(value) || json_is_number(value))
				sample(table[k][0], "vrrp_instance", ask_text(item, "name", "?"),
				       NULL, NULL,
				       json_is_number(value) ? json_number_value(value) / 1e6
							     : json_is_true(value));
		}
	}
}

static void late_timers(const json_t *late)
{
	family("tandem_late_timers_total", "counter",
	       "Times that timers of the engine fired more than 50 ms late.");
	printf("tandem_late_timers_total %lld\n",
	       json_is_object(late) ? (long long)ask_number(late, "count") : 0);
	family("tandem_late_timers_worst_seconds", "gauge", "How late at the worst.");
	printf("tandem_late_timers_worst_seconds %.10g\n",
	       json_is_object(late) ? (double)ask_number(late, "worst_by_us") / 1e6 : 0);
}

static void print_agent(const json_t *agent)
{
	static const char *const vrrp[] = {"INIT", "BACKUP", "MASTER", "LEAVING", "FAULT", NULL};
	static const char *const check[] = {"ok", "failed", "unknown", NULL};
	const json_t *list = json_object_get(agent, "instances");

	family("tandem_maintenance", "gauge", "1 while this node is in maintenance.");
	printf("tandem_maintenance %d\n", json_is_true(json_object_get(agent, "maintenance")));
	states(list, "tandem_vrrp_state", "vrrp_instance", vrrp,
	       "1 for the state that the instance is in; addresses are held in MASTER and "
	       "LEAVING.");
	each(list, "tandem_vrrp_state_age_seconds", "gauge", "vrrp_instance", "name", "since_us",
	     true, "For how long it has been in that state.");
	each(list, "tandem_vrrp_priority", "gauge", "vrrp_instance", "name", "priority", false,
	     "Configured priority of this node.");
	each(list, "tandem_vrrp_effective_priority", "gauge", "vrrp_instance", "name",
	     "effective_priority", false, "Priority by the checks.");
	each(list, "tandem_vrrp_sick", "gauge", "vrrp_instance", "name", "sick", false,
	     "1 if it advertises less than when nothing ails it.");
	each(list, "tandem_vrrp_handed_over", "gauge", "vrrp_instance", "name", "handed_over",
	     false, "1 after a handover that was not lifted.");
	each(list, "tandem_vrrp_transitions_total", "counter", "vrrp_instance", "name",
	     "transitions", false, "Transitions since the engine started.");
	counters(list);
	refused(list);
	alarms(list);
	rivals(list);
	hooks(list);
	late_timers(json_object_get(agent, "late"));
	states(json_object_get(agent, "checks"), "tandem_check_state", "check", check,
	       "1 for the state that the check is in.");
	each(json_object_get(agent, "checks"), "tandem_check_failures_total", "counter", "check",
	     "name", "failures", false, "Results that were failures.");
}

static void print_syncd(const json_t *syncd)
{
	static const char *const mirror[] = {"in-step",	 "starting", "pending",	 "waiting",
					     "invalid",	 "refused",  "conflict", "diverged",
					     "degraded", NULL};
	const json_t *peers = json_object_get(syncd, "peers");
	const json_t *list = json_object_get(syncd, "mirrors");

	each(peers, "tandem_peer_connected", "gauge", "node", "node", "connected", false,
	     "1 while the link to the node is up.");
	each(peers, "tandem_peer_rtt_seconds", "gauge", "node", "node", "rtt_us", true,
	     "Round trip over the link.");
	states(list, "tandem_mirror_state", "mirror", mirror,
	       "1 for the state that the mirror is in.");
	each(list, "tandem_mirror_generation", "gauge", "mirror", "name", "generation", false,
	     "Number of the generation that is live here.");
	each(list, "tandem_mirror_files", "gauge", "mirror", "name", "files", false,
	     "Files in it.");
	each(list, "tandem_mirror_size_bytes", "gauge", "mirror", "name", "bytes", false,
	     "Bytes in them.");
	each(list, "tandem_mirror_rescued_edits", "gauge", "mirror", "name", "rescued", false,
	     "Edits that were kept aside.");
}

int verb_metrics(const struct verb_args *args)
{
	char why[2][ASK_WHY_ROOM];
	json_t *answers[2] = {NULL, NULL};
	bool up[2];

	for (int i = 0; i < 2; i++)
		up[i] = ask(args, i ? ASK_SYNCD : ASK_AGENT,
			    json_pack("{s:s}", "command", "status"), ASK_QUICK_US, &answers[i],
			    why[i]) == VERB_OK;
	family("tandem_up", "gauge", "1 if the daemon answers.");
	for (int i = 0; i < 2; i++)
		sample("tandem_up", "program", ask_name(i ? ASK_SYNCD : ASK_AGENT), NULL, NULL,
		       up[i]);
	if (up[0])
		print_agent(answers[0]);
	if (up[1])
		print_syncd(answers[1]);
	puts("# EOF");
	json_decref(answers[0]);
	json_decref(answers[1]);
	if (up[0] || up[1])
		return VERB_OK;
	fprintf(stderr, "tandem: %s\n", why[0]);
	return VERB_NO_CONTACT;
}
