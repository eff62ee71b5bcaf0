/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_problem: what is wrong with a file, gathered, ordered and printed.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

char *conf_say(const char *format, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	for (char *p = text; p && *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return text;
}

char *conf_copy(struct conf_reader *reader, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		reader->out_of_memory = true;
	return copy;
}

void conf_add(struct conf_reader *reader, enum conf_severity severity, int line,
	      const char *setting, char *cause, char *cure)
{
	struct conf_problems *p = reader->problems;
	char *place = strdup(setting);

	if (severity == CONF_ERROR)
		p->errors++;
	if (!cause || !cure || !place) {
		reader->out_of_memory = true;
		goto drop;
	}
	if (p->count == CONF_PROBLEMS_MAX) {
		p->dropped++;
		goto drop;
	}
	if (!p->items) {
		p->items = calloc(CONF_PROBLEMS_MAX, sizeof *p->items);
		if (!p->items) {
			reader->out_of_memory = true;
			goto drop;
		}
	}
	p->items[p->count++] = (struct conf_problem){
		.severity = severity,
		.line = line,
		.setting = place,
		.cause = cause,
		.cure = cure,
	};
	return;
drop:
	free(place);
	free(cause);
	free(cure);
}

static void add_at(const struct conf_scope *scope, enum conf_severity severity, const char *name,
		   char *cause, char *cure)
{
	char path[CONF_PATH_BYTES_MAX + CONF_NAME_BYTES_MAX + 2];
	config_setting_t *setting = name ? config_setting_get_member(scope->group, name) : NULL;

	snprintf(path, sizeof path, "%s%s%s", scope->path, name && scope->path[0] ? "." : "",
		 name ? name : "");
	conf_add(scope->reader, severity, conf_line(setting ? setting : scope->group), path, cause,
		 cure);
}

void conf_error(const struct conf_scope *scope, const char *name, char *cause, char *cure)
{
	add_at(scope, CONF_ERROR, name, cause, cure);
}

void conf_warning(const struct conf_scope *scope, const char *name, char *cause, char *cure)
{
	add_at(scope, CONF_WARNING, name, cause, cure);
}

void conf_problems_sort(struct conf_problems *problems)
{
	/* Insertion: few, and mostly in order already. */
	for (int i = 1; i < problems->count; i++) {
		struct conf_problem item = problems->items[i];
		int at = i;

		while (at > 0 && problems->items[at - 1].line > item.line) {
			problems->items[at] = problems->items[at - 1];
			at--;
		}
		problems->items[at] = item;
	}
}

void conf_problems_release(struct conf_problems *problems)
{
	for (int i = 0; i < problems->count; i++) {
		free(problems->items[i].setting);
		free(problems->items[i].cause);
		free(problems->items[i].cure);
	}
	free(problems->items);
	*problems = (struct conf_problems){0};
}

void conf_problems_print(const struct conf_problems *problems, const char *file, FILE *out)
{
	for (int i = 0; i < problems->count; i++) {
		const struct conf_problem *p = &problems->items[i];

		fprintf(out, "%s:", file);
		if (p->line > 0)
			fprintf(out, "%d:", p->line);
		fprintf(out, " %s%s%s%s; %s\n", p->severity == CONF_WARNING ? "warning: " : "",
			p->setting, p->setting[0] ? ": " : "", p->cause, p->cure);
	}
	if (problems->dropped)
		fprintf(out, "%s: and %d more\n", file, problems->dropped);
}

/* Damerau-Levenshtein distance (a swap of neighbours counts one), case ignored; long words are of
 * no interest. */
static int distance(const char *a, const char *b)
{
	enum { ROOM = 40 };
	int d[ROOM + 1][ROOM + 1];
	int n = (int)strlen(a), m = (int)strlen(b);

	if (n > ROOM || m > ROOM)
		return ROOM;
	for (int i = 0; i <= n; i++)
		d[i][0] = i;
	for (int j = 0; j <= m; j++)
		d[0][j] = j;
	for (int i = 1; i <= n; i++) {
		for (int j = 1; j <= m; j++) {
			int x = tolower((unsigned char)a[i - 1]),
			    y = tolower((unsigned char)b[j - 1]);
			int best = d[i - 1][j - 1] + (x != y);

			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
			    y == tolower((unsigned char)a[i - 2]) && d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	}
	return d[n][m];
}

const char *conf_nearest(const char *name, const char *const *names)
{
	const char *nearest = NULL;
	int nearest_distance = (int)strlen(name) / 3 + 1;

	for (; *names; names++) {
		int away = distance(name, *names);

		if (away < nearest_distance || (away == nearest_distance && !nearest)) {
			nearest = *names;
			nearest_distance = away;
		}
	}
	return nearest;
}

char *conf_list_names(const char *const *names)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fputs("known here: ", out);
	for (int i = 0; names[i]; i++)
		fprintf(out, "%s%s", i ? ", " : "", names[i]);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
