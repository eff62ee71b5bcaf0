/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen: the table of `tandem status`.
 *
 * Node names, instance and mirror names are ASCII (shared/conf), so that bytes are columns; what
 * comes from elsewhere stands last in its line.
 */
#include "ctl/screen.h"

#include <string.h>

#include "ctl/ask.h"

#define CELL_BYTES_MAX 96

struct table {
	const struct screen *screen;
	int name_width;
	int width[SCREEN_NODES_MAX];
};

static const json_t *node_of(const json_t *list, const char *node)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (strcmp(ask_text(item, "node", ""), node) == 0)
			return item;
	return NULL;
}

static bool is_self(const struct screen *screen, const char *node)
{
	return screen->self && strcmp(screen->self, node) == 0;
}

static void head_cell(const struct screen *screen, int n, char cell[CELL_BYTES_MAX])
{
	snprintf(cell, CELL_BYTES_MAX, "%s%s", screen->nodes[n],
		 is_self(screen, screen->nodes[n]) ? " (this node)" : "");
}

/* What this node is by itself, and what the others say in their adverts. A backup keeps silent, and
 * so does a dead node: BACKUP stands where the replicator's link shows that the node is there. */
static void instance_cell(const struct screen *screen, const json_t *instance, int n,
			  char cell[CELL_BYTES_MAX])
{
	const char *node = screen->nodes[n];
	const json_t *peer;
	const char *state;
	json_int_t priority;

	if (is_self(screen, node)) {
		state = ask_text(instance, "state", "?");
		priority = ask_number(instance, "effective_priority");
		snprintf(cell, CELL_BYTES_MAX, "%-7s prio %lld%s", state, (long long)priority,
			 json_is_true(json_object_get(screen->input->agent, "maintenance"))
				 ? " maintenance"
			 : json_is_true(json_object_get(instance, "sick")) ? " sick"
									   : "");
		return;
	}
	peer = node_of(json_object_get(instance, "peers"), node);
	if (!peer) {
		snprintf(cell, CELL_BYTES_MAX, "-");
		return;
	}
	state = screen_peer_state(instance, peer);
	if (strcmp(state, "SILENT") == 0) {
		const json_t *link = node_of(json_object_get(screen->input->syncd, "peers"), node);

		state = json_is_true(json_object_get(link, "connected")) ? "BACKUP" : "silent";
	}
	priority = ask_number(peer, "priority");
	if (priority >= 0)
		snprintf(cell, CELL_BYTES_MAX, "%-7s prio %lld%s", state, (long long)priority,
			 screen_in_maintenance(screen, node) ? " maintenance"
			 : strcmp(state, "MASTER") == 0 &&
					 json_is_true(json_object_get(peer, "sick"))
				 ? " sick"
				 : "");
	else
		snprintf(cell, CELL_BYTES_MAX, "%s", state);
}

static void mirror_cell(const struct screen *screen, const json_t *mirror, int n,
			char cell[CELL_BYTES_MAX])
{
	const char *node = screen->nodes[n];
	const json_t *entry = node_of(json_object_get(mirror, "nodes"), node);
	bool self = is_self(screen, node);
	const char *state = self ? ask_text(mirror, "state", "?") : ask_text(entry, "state", "-");
	json_int_t generation = ask_number(self ? mirror : entry, "generation");

	if (strcmp(state, "in-step") == 0)
		state = "in step";
	/* Where all is well the number stands once, with this node. */
	if (generation >= 0 && (self || strcmp(state, "in step") != 0))
		snprintf(cell, CELL_BYTES_MAX, "generation %lld%s%s", (long long)generation,
			 strcmp(state, "in step") == 0 ? "" : " ",
			 strcmp(state, "in step") == 0 ? "" : state);
	else
		snprintf(cell, CELL_BYTES_MAX, "%s", state);
}

static void widen(int *width, const char *text)
{
	int size = (int)strlen(text);

	if (size > *width)
		*width = size;
}

static void measure(struct table *table)
{
	const struct screen *screen = table->screen;
	char cell[CELL_BYTES_MAX];
	json_t *item;
	size_t i;

	table->name_width = 10;
	for (int n = 0; n < screen->nodes_count; n++) {
		table->width[n] = 20;
		head_cell(screen, n, cell);
		widen(&table->width[n], cell);
	}
	json_array_foreach (json_object_get(screen->input->agent, "instances"), i, item) {
		widen(&table->name_width, ask_text(item, "name", "?"));
		for (int n = 0; n < screen->nodes_count; n++) {
			instance_cell(screen, item, n, cell);
			widen(&table->width[n], cell);
		}
	}
	json_array_foreach (json_object_get(screen->input->syncd, "mirrors"), i, item) {
		widen(&table->name_width, ask_text(item, "name", "?"));
		for (int n = 0; n < screen->nodes_count; n++) {
			mirror_cell(screen, item, n, cell);
			widen(&table->width[n], cell);
		}
	}
}

static void print_instance(const struct table *table, const json_t *instance, FILE *out)
{
	const struct screen *screen = table->screen;
	char cell[CELL_BYTES_MAX];
	json_t *address;
	size_t i;

	fprintf(out, "%-*s  ", table->name_width, ask_text(instance, "name", "?"));
	for (int n = 0; n < screen->nodes_count; n++) {
		instance_cell(screen, instance, n, cell);
		fprintf(out, "%-*s  ", table->width[n], cell);
	}
	json_array_foreach (json_object_get(instance, "addresses"), i, address) {
		fputs(i ? " " : "", out);
		/* Either the text alone, or an object that says more of it. */
		ask_print(out,
			  json_is_string(address) ? json_string_value(address)
						  : ask_text(address, "address", "?"),
			  0);
	}
	fputc('\n', out);
}

static void print_mirror(const struct table *table, const json_t *mirror, FILE *out)
{
	const struct screen *screen = table->screen;
	const char *author = ask_text(mirror, "author", NULL);
	char cell[CELL_BYTES_MAX], age[32];
	json_t *node;
	size_t i;

	fprintf(out, "%-*s  ", table->name_width, ask_text(mirror, "name", "?"));
	for (int n = 0; n < screen->nodes_count; n++) {
		mirror_cell(screen, mirror, n, cell);
		fprintf(out, "%-*s  ", table->width[n], cell);
	}
	if (ask_number(mirror, "files") >= 0)
		fprintf(out, "%lld files", (long long)ask_number(mirror, "files"));
	if (ask_number(mirror, "age_us") >= 0) {
		fprintf(out, ", changed %s ago", screen_age(ask_number(mirror, "age_us"), age));
		if (author)
			fprintf(out, " %s %s", *author ? "on" : "by a", *author ? author : "merge");
	}
	json_array_foreach (json_object_get(mirror, "nodes"), i, node)
		if (ask_number(node, "latency_us") >= 0 &&
		    !is_self(screen, ask_text(node, "node", "?")))
			fprintf(out, ", live on %s after %s", ask_text(node, "node", "?"),
				screen_age(ask_number(node, "latency_us"), age));
	fputc('\n', out);
}

/* "TLSv1.3 TLS_AES_256_GCM_SHA384": its first word, as people write it. The rest is in --json. */
static void print_tls(const char *text, FILE *out)
{
	char word[32];

	snprintf(word, sizeof word, "%.*s", (int)strcspn(text, " "), text);
	if (word[0] == '\0')
		return;
	fputs(", ", out);
	if (strncmp(word, "TLSv", 4) == 0)
		fprintf(out, "TLS %s", word + 4);
	else
		ask_print(out, text, 0);
}

static void print_head(const struct table *table, FILE *out)
{
	const struct screen *screen = table->screen;
	char cell[CELL_BYTES_MAX], age[32], rtt[32];
	int column = fprintf(out, "%s: %s", screen->cluster, screen_word(screen->exit));
	int wanted = table->name_width + 2;
	json_t *peer;
	size_t i;

	for (int n = 0; n < screen->nodes_count; n++)
		wanted += table->width[n] + 2;
	json_array_foreach (json_object_get(screen->input->syncd, "peers"), i, peer) {
		bool connected = json_is_true(json_object_get(peer, "connected"));
		json_int_t us = ask_number(peer, "age_us");

		if (i)
			fputc('\n', out);
		fprintf(out, "%*slink %s\xe2\x80\x93%s: ",
			i		  ? wanted
			: wanted > column ? wanted - column
					  : 2,
			"", screen->self ? screen->self : "?", ask_text(peer, "node", "?"));
		fprintf(out, "%s", connected ? "up" : "down");
		if (us >= 0)
			fprintf(out, " %s", screen_age(us, age));
		if (connected && ask_number(peer, "rtt_us") > 0)
			fprintf(out, ", %s", screen_age(ask_number(peer, "rtt_us"), rtt));
		if (connected)
			print_tls(ask_text(peer, "tls", ""), out);
	}
	fputc('\n', out);
	if (screen->nodes_count == 0)
		return;
	fprintf(out, "%-*s", table->name_width + 2, "");
	for (int n = 0; n < screen->nodes_count; n++) {
		head_cell(screen, n, cell);
		fprintf(out, "%-*s", n + 1 < screen->nodes_count ? table->width[n] + 2 : 0, cell);
	}
	fputc('\n', out);
}

void screen_print(const struct screen *screen, FILE *out)
{
	struct table table = {.screen = screen};
	json_t *item;
	size_t i;

	measure(&table);
	print_head(&table, out);
	json_array_foreach (json_object_get(screen->input->agent, "instances"), i, item)
		print_instance(&table, item, out);
	json_array_foreach (json_object_get(screen->input->syncd, "mirrors"), i, item)
		print_mirror(&table, item, out);
	if (screen->findings_count)
		fputc('\n', out);
	for (int f = 0; f < screen->findings_count; f++) {
		ask_print(out, screen->findings[f].text, 4);
		fputc('\n', out);
	}
}
