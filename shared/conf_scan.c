/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_scan: the raw text, before libconfig sees it.
 *
 * libconfig 1.5 says "syntax error" and a line, leaks what it had read until then, wraps numbers
 * that do not fit in silence, joins two texts that lack a comma between them, and follows
 * @include. So the text is read here first, by the same grammar, only stricter: what passes here
 * libconfig accepts. The scanner's rules (what is a number, where a comment ends, which escapes a
 * string knows) are libconfig's own.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/conf_private.h"

enum token {
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_STRING,
	TOKEN_INTEGER,
	TOKEN_FLOAT,
	TOKEN_BOOL,
	TOKEN_SIGN,   /* one of = : ; , { } [ ] ( ) */
	TOKEN_BROKEN, /* already said why */
	TOKEN_OTHER
};

struct scan {
	struct conf_reader *reader;
	char *text;
	size_t at; /* behind the current token */
	int line;  /* at `at` */
	/* the current token */
	enum token token;
	size_t token_at;
	int token_line;
	/* the one before */
	enum token last;
	size_t last_end;
	int last_line;
	char path[CONF_PATH_BYTES_MAX];
	bool secret; /* the value must not be shown */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '*';
}

static bool is_name_part(char c)
{
	return is_name_start(c) || is_digit(c) || c == '-' || c == '_';
}

static void fail_at(struct scan *s, int line, char *cause, char *cure)
{
	conf_add(s->reader, CONF_ERROR, line, s->path, cause, cure);
	s->token = TOKEN_BROKEN;
}

static bool fail(struct scan *s, char *cause, char *cure)
{
	/* One syntax error: what follows it would be guesswork. */
	if (s->token == TOKEN_BROKEN) {
		free(cause);
		free(cure);
		return false;
	}
	fail_at(s, s->token_line, cause, cure);
	return false;
}

/* The current token as it stands in the file, for a message; bounded, never a secret. */
static const char *shown(const struct scan *s, char room[48])
{
	size_t size = s->at - s->token_at;

	if (s->token == TOKEN_END)
		return "the end of the file";
	if (s->secret)
		return "this value";
	if (size > 40)
		size = 40;
	room[0] = '\'';
	memcpy(room + 1, s->text + s->token_at, size);
	room[size + 1] = '\'';
	room[size + 2] = '\0';
	return room;
}

static void skip_blanks(struct scan *s)
{
	for (;;) {
		const char *p = s->text + s->at;

		if (*p == '\n') {
			s->line++;
			s->at++;
		} else if (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\f') {
			s->at++;
		} else if (*p == '#' || (p[0] == '/' && p[1] == '/')) {
			while (s->text[s->at] != '\0' && s->text[s->at] != '\n')
				s->at++;
		} else if (p[0] == '/' && p[1] == '*') {
			int line = s->line;

			s->at += 2;
			while (!(s->text[s->at] == '*' && s->text[s->at + 1] == '/')) {
				if (s->text[s->at] == '\0') {
					fail_at(s, line, conf_say("a comment that is never closed"),
						conf_say("end it with */"));
					return;
				}
				if (s->text[s->at] == '\n')
					s->line++;
				s->at++;
			}
			s->at += 2;
		} else {
			return;
		}
	}
}

static void scan_string(struct scan *s)
{
	s->token = TOKEN_STRING;
	s->at++;
	for (;;) {
		char c = s->text[s->at];

		if (c == '\0' || c == '\n') {
			fail_at(s, s->token_line,
				conf_say("a text without its closing quote in the same line"),
				conf_say("add the missing \""));
			return;
		}
		if (c == '"') {
			s->at++;
			return;
		}
		if (c == '\\' && s->text[s->at + 1] != '\0' && s->text[s->at + 1] != '\n') {
			const char *hex = s->text + s->at + 2;

			/* The byte would end the string for every reader behind us. */
			if ((s->text[s->at + 1] == 'x' || s->text[s->at + 1] == 'X') &&
			    hex[0] == '0' && hex[1] == '0') {
				fail_at(s, s->token_line, conf_say("a text with a zero byte in it"),
					conf_say("remove the \\x00"));
				return;
			}
			s->at++;
		} else if ((unsigned char)c < 0x20 && c != '\t') {
			fail_at(s, s->token_line, conf_say("a text with a control character in it"),
				conf_say("remove it"));
			return;
		}
		s->at++;
	}
}

/* libconfig reads an integer with atoi() or strtoul() and keeps the low 32 bits. No setting needs
 * more than 31, so that a number beyond becomes the largest one in place, before anything can wrap:
 * every reader finds that out of its range, and says what the range is. */
static void clamp_integer(struct scan *s)
{
	char *digits = s->text + s->token_at;
	bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
	bool negative = *digits == '-';
	const char *limit = hex ? "7fffffff" : negative ? "2147483648" : "2147483647";
	size_t size, zeros;

	if (hex)
		digits += 2;
	else if (*digits == '-' || *digits == '+')
		digits++;
	size = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");
	zeros = strspn(digits, "0");
	if (size - zeros < strlen(limit) || (size - zeros == strlen(limit) &&
					     strncasecmp(digits + zeros, limit, size - zeros) <= 0))
		return;
	memset(digits, '0', size);
	memcpy(digits + size - strlen(limit), limit, strlen(limit));
}

static bool scan_number(struct scan *s)
{
	const char *start = s->text + s->at;
	const char *p = start;
	bool is_signed = *p == '-' || *p == '+';
	size_t before, after = 0;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X') &&
	    strspn(p + 2, "0123456789abcdefABCDEF")) {
		p += 2 + strspn(p + 2, "0123456789abcdefABCDEF");
		goto integer;
	}
	if (is_signed)
		p++;
	before = strspn(p, "0123456789");
	p += before;
	if (*p == '.') {
		after = strspn(p + 1, "0123456789");
		/* libconfig takes a lone "." as a number; nobody means that. */
		if (before + after == 0)
			return false;
		p += 1 + after;
	} else if (before == 0) {
		return false;
	} else if (!((*p == 'e' || *p == 'E') && is_signed)) {
		goto integer;
	}
	if (*p == 'e' || *p == 'E') {
		const char *e = p + 1;

		if (*e == '-' || *e == '+')
			e++;
		if (is_digit(*e))
			p = e + strspn(e, "0123456789");
		else if (p[-1] != '.' && !memchr(start, '.', (size_t)(p - start)))
			goto integer;
	}
	s->at += (size_t)(p - start);
	s->token = TOKEN_FLOAT;
	return true;
integer:
	if (*p == 'L')
		p += p[1] == 'L' ? 2 : 1;
	s->at += (size_t)(p - start);
	s->token = TOKEN_INTEGER;
	clamp_integer(s);
	return true;
}

static void next(struct scan *s)
{
	char c;

	if (s->token == TOKEN_BROKEN)
		return;
	s->last = s->token;
	s->last_end = s->at;
	s->last_line = s->line;
	skip_blanks(s);
	if (s->token == TOKEN_BROKEN)
		return;
	s->token_at = s->at;
	s->token_line = s->line;
	c = s->text[s->at];
	if (c == '\0') {
		s->token = TOKEN_END;
		s->token_line = s->last_line;
	} else if (c == '"') {
		scan_string(s);
	} else if (is_name_start(c)) {
		size_t size;

		while (is_name_part(s->text[s->at]))
			s->at++;
		size = s->at - s->token_at;
		s->token = TOKEN_NAME;
		if ((size == 4 && strncasecmp(s->text + s->token_at, "true", 4) == 0) ||
		    (size == 5 && strncasecmp(s->text + s->token_at, "false", 5) == 0))
			s->token = TOKEN_BOOL;
	} else if ((is_digit(c) || c == '-' || c == '+' || c == '.') && scan_number(s)) {
		return;
	} else if (strchr("=:;,{}[]()", c)) {
		s->at++;
		s->token = TOKEN_SIGN;
	} else {
		/* A whole character of UTF-8, so that a message shows it as it is. */
		s->at++;
		while (((unsigned char)s->text[s->at] & 0xc0) == 0x80)
			s->at++;
		s->token = TOKEN_OTHER;
	}
}

static bool at_sign(const struct scan *s, char sign)
{
	return s->token == TOKEN_SIGN && s->text[s->token_at] == sign;
}

static bool starts_with(const struct scan *s, const char *word)
{
	return strncmp(s->text + s->token_at, word, strlen(word)) == 0;
}

static bool touches_last(const struct scan *s)
{
	return s->last_end == s->token_at;
}

/* The token cannot stand here at all: the mistakes that are made again and again. */
static bool fail_common(struct scan *s)
{
	if (s->token == TOKEN_BROKEN)
		return true;
	if (s->token == TOKEN_OTHER && starts_with(s, "@")) {
		fail(s, conf_say("@include is not accepted"),
		     conf_say("write everything into this one file, which is the same on every "
			      "node"));
		return true;
	}
	if (s->token == TOKEN_OTHER && starts_with(s, "!")) {
		fail(s, conf_say("'!' does not begin a comment here"), conf_say("use # or //"));
		return true;
	}
	if (s->token == TOKEN_OTHER && starts_with(s, "'")) {
		fail(s, conf_say("a single quote"),
		     conf_say("text stands in double quotes: \"...\""));
		return true;
	}
	if (s->token == TOKEN_OTHER &&
	    (starts_with(s, "\xe2\x80\x9c") || starts_with(s, "\xe2\x80\x9d") ||
	     starts_with(s, "\xe2\x80\x98") || starts_with(s, "\xe2\x80\x99") ||
	     starts_with(s, "\xef\xbc\x82"))) {
		fail(s, conf_say("a typographic quote"), conf_say("use the plain double quote \""));
		return true;
	}
	return false;
}

static bool scan_value(struct scan *s, int depth);

static bool scan_settings(struct scan *s, int depth, int opened_line)
{
	struct {
		size_t at, size;
	} names[CONF_SETTINGS_MAX];
	int count = 0;
	size_t path_size = strlen(s->path);
	char room[48];

	for (;;) {
		size_t name_at, name_size, room_left;
		const char *name;

		if (depth == 0 && s->token == TOKEN_END)
			return true;
		if (depth > 0 && at_sign(s, '}'))
			return true;
		if (fail_common(s))
			return false;
		if (s->token == TOKEN_END)
			return fail(s, conf_say("the file ends inside a group"),
				    conf_say("close the { of line %d with }", opened_line));
		if (s->token == TOKEN_NAME && touches_last(s) &&
		    (s->last == TOKEN_INTEGER || s->last == TOKEN_FLOAT))
			return fail(s, conf_say("a number with letters behind it"),
				    conf_say("a value with a unit stands in quotes: \"10ms\""));
		if ((s->token == TOKEN_FLOAT || s->token == TOKEN_INTEGER) && touches_last(s) &&
		    s->last == TOKEN_FLOAT)
			return fail(s, conf_say("an address without quotes"),
				    conf_say("addresses are text: \"198.51.100.1\""));
		if (s->token == TOKEN_STRING && s->last == TOKEN_STRING)
			return fail(s, conf_say("two texts one after the other"),
				    conf_say("a ';' or ',' is missing between them"));
		if (s->token == TOKEN_OTHER && starts_with(s, "/") && s->last == TOKEN_INTEGER)
			return fail(s, conf_say("an address without quotes"),
				    conf_say("addresses are text: \"198.51.100.1/24\""));
		if ((s->token == TOKEN_INTEGER || s->token == TOKEN_FLOAT) && count == 0)
			return fail(s,
				    conf_say("%s where a setting's name should be", shown(s, room)),
				    conf_say("names begin with a letter: web1"));
		if (at_sign(s, '}') || at_sign(s, ')') || at_sign(s, ']'))
			return fail(s, conf_say("%s closes nothing", shown(s, room)),
				    opened_line
					    ? conf_say("close the { of line %d first", opened_line)
					    : conf_say("remove it, or add what it should close"));
		if (s->token != TOKEN_NAME)
			return fail(s,
				    conf_say("%s where a setting's name should be", shown(s, room)),
				    conf_say("settings are written name = value;"));
		name_at = s->token_at;
		name_size = s->at - s->token_at;
		name = s->text + name_at;
		for (int i = 0; i < count; i++)
			if (names[i].size == name_size &&
			    memcmp(s->text + names[i].at, name, name_size) == 0)
				return fail(s, conf_say("%s is set twice", shown(s, room)),
					    conf_say("keep one of the two lines"));
		if (count == CONF_SETTINGS_MAX)
			return fail(
				s,
				conf_say("more than %d settings in one group", CONF_SETTINGS_MAX),
				conf_say("a group knows fewer than that"));
		names[count].at = name_at;
		names[count].size = name_size;
		count++;
		room_left = sizeof s->path - path_size - 2;
		if (name_size < room_left) {
			if (path_size)
				s->path[path_size] = '.';
			memcpy(s->path + path_size + (path_size ? 1 : 0), name, name_size);
			s->path[path_size + (path_size ? 1 : 0) + name_size] = '\0';
		}
		s->secret = name_size == 9 && memcmp(name, "auth_pass", 9) == 0;
		next(s);
		if (fail_common(s))
			return false;
		if (!at_sign(s, '=') && !at_sign(s, ':')) {
			if (touches_last(s) && s->text[s->token_at] == '.')
				return fail(
					s, conf_say("a dot in the name %.*s", (int)name_size, name),
					conf_say("names are letters, digits, - and _"));
			if (touches_last(s) && s->text[s->token_at] == '_')
				return fail(s, conf_say("a name that begins with _"),
					    conf_say("names begin with a letter"));
			return fail(s,
				    conf_say("%s behind the name %.*s, where = should be",
					     shown(s, room), (int)name_size, name),
				    conf_say("settings are written name = value;"));
		}
		next(s);
		if (!scan_value(s, depth))
			return false;
		s->secret = false;
		s->path[path_size] = '\0';
		if (at_sign(s, ';') || at_sign(s, ','))
			next(s);
	}
}

/* libconfig refuses an array whose elements differ in type, and any aggregate within. */
static bool scan_elements(struct scan *s, int depth, char close)
{
	int opened_line = s->token_line;
	size_t path_size = strlen(s->path);
	enum token first = TOKEN_END;
	char open = s->text[s->token_at];
	char room[48];

	next(s);
	if (at_sign(s, close)) {
		next(s);
		return true;
	}
	for (int count = 0;; count++) {
		char element[16];

		if (count == CONF_ELEMENTS_MAX)
			return fail(s, conf_say("more than %d elements", CONF_ELEMENTS_MAX),
				    conf_say("no list takes that many"));
		if (path_size + sizeof element < sizeof s->path) {
			char *tail = s->path + path_size;
			int n = count, digits = 1;

			for (int v = n; v >= 10; v /= 10)
				digits++;
			tail[0] = '[';
			for (int i = digits; i > 0; i--, n /= 10)
				tail[i] = (char)('0' + n % 10);
			tail[digits + 1] = ']';
			tail[digits + 2] = '\0';
		}
		if (count > 0 && at_sign(s, close)) {
			s->path[path_size] = '\0';
			return fail(s, conf_say("a comma before the closing %s", shown(s, room)),
				    conf_say("remove the last comma"));
		}
		if (close == ']') {
			if (at_sign(s, '{') || at_sign(s, '[') || at_sign(s, '('))
				return fail(s, conf_say("a group or list inside [ ]"),
					    conf_say("write ( ) around groups"));
			if (count == 0)
				first = s->token;
			else if (s->token != first &&
				 (s->token == TOKEN_STRING || s->token == TOKEN_INTEGER ||
				  s->token == TOKEN_FLOAT || s->token == TOKEN_BOOL))
				return fail(s, conf_say("elements of different types inside [ ]"),
					    conf_say("give all the same type, or write ( )"));
		}
		if (!scan_value(s, depth))
			return false;
		s->path[path_size] = '\0';
		if (at_sign(s, close)) {
			next(s);
			return true;
		}
		if (fail_common(s))
			return false;
		if (s->token == TOKEN_END)
			return fail(s, conf_say("the file ends inside a list"),
				    conf_say("close the %c of line %d with %c", open, opened_line,
					     close));
		if (s->token == TOKEN_NAME && touches_last(s) &&
		    (s->last == TOKEN_INTEGER || s->last == TOKEN_FLOAT))
			return fail(s, conf_say("a number with letters behind it"),
				    conf_say("a value with a unit stands in quotes: \"10ms\""));
		if ((s->token == TOKEN_FLOAT || s->token == TOKEN_INTEGER ||
		     (s->token == TOKEN_OTHER && starts_with(s, "/"))) &&
		    touches_last(s))
			return fail(s, conf_say("an address without quotes"),
				    conf_say("addresses are text: \"198.51.100.1/24\""));
		if (at_sign(s, ';'))
			return fail(s, conf_say("';' inside %c %c", open, close),
				    conf_say("elements are separated by commas"));
		if (!at_sign(s, ','))
			return fail(
				s,
				conf_say("%s where a comma or %c should be", shown(s, room), close),
				conf_say("elements are separated by commas; the %c of line %d "
					 "is closed with %c",
					 open, opened_line, close));
		next(s);
	}
}

static bool scan_value(struct scan *s, int depth)
{
	char room[48];

	if (fail_common(s))
		return false;
	switch (s->token) {
	case TOKEN_STRING:
		next(s);
		/* libconfig would join them, and a list would be one element short in silence. */
		if (s->token == TOKEN_STRING)
			return fail(s, conf_say("two texts one after the other"),
				    conf_say("a ',' or ';' is missing between them"));
		return s->token != TOKEN_BROKEN;
	case TOKEN_INTEGER:
	case TOKEN_FLOAT:
	case TOKEN_BOOL:
		next(s);
		return s->token != TOKEN_BROKEN;
	case TOKEN_NAME: {
		size_t size = s->at - s->token_at;
		const char *word = s->text + s->token_at;

		if ((size == 3 && strncasecmp(word, "yes", 3) == 0) ||
		    (size == 2 && strncasecmp(word, "on", 2) == 0))
			return fail(s, conf_say("%s is not a value", shown(s, room)),
				    conf_say("write true"));
		if ((size == 2 && strncasecmp(word, "no", 2) == 0) ||
		    (size == 3 && strncasecmp(word, "off", 3) == 0))
			return fail(s, conf_say("%s is not a value", shown(s, room)),
				    conf_say("write false"));
		return fail(s, conf_say("%s without quotes", shown(s, room)),
			    s->secret ? conf_say("text stands in double quotes")
				      : conf_say("text stands in double quotes: \"%.*s\"",
						 (int)(size > 40 ? 40 : size), word));
	}
	case TOKEN_SIGN:
		if (!at_sign(s, '{') && !at_sign(s, '[') && !at_sign(s, '('))
			break;
		if (depth + 1 > CONF_DEPTH_MAX)
			return fail(s, conf_say("groups nested more than %d deep", CONF_DEPTH_MAX),
				    conf_say("no setting is that deep"));
		if (at_sign(s, '{')) {
			int line = s->token_line;

			next(s);
			if (!scan_settings(s, depth + 1, line))
				return false;
			next(s);
			return s->token != TOKEN_BROKEN;
		}
		return scan_elements(s, depth + 1, at_sign(s, '[') ? ']' : ')') &&
		       s->token != TOKEN_BROKEN;
	case TOKEN_OTHER:
		if (starts_with(s, "/"))
			return fail(s, conf_say("a path without quotes"),
				    conf_say("text stands in double quotes: \"/...\""));
		break;
	case TOKEN_END:
	case TOKEN_BROKEN:
		break;
	}
	return fail(s, conf_say("%s where a value should be", shown(s, room)),
		    conf_say("settings are written name = value;"));
}

bool conf_scan(struct conf_reader *reader, char *text)
{
	struct scan s = {.reader = reader, .text = text, .line = 1, .token = TOKEN_END};

	next(&s);
	return scan_settings(&s, 0, 0);
}
