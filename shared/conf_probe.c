/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_probe: what the prober is to ask: the TCP and HTTP(S) part of a check.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

#define STATUS_MIN 100
#define STATUS_MAX 599
#define REDIRECTS_MAX 10
#define TCP_EXAMPLE "tcp = \"127.0.0.1:80\";"
#define HTTP_EXAMPLE "http = \"http://127.0.0.1/healthz\";"
#define STATUS_EXAMPLE "http_status = [ \"200-299\", \"404\" ];"

/* Digits alone, 1 to 65535, to the end of size bytes. */
static bool port_is_good(const char *text, size_t size)
{
	long port = 0;

	if (size == 0 || size > 5)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (!isdigit((unsigned char)text[i]))
			return false;
		port = port * 10 + (text[i] - '0');
	}
	return port >= 1 && port <= 65535;
}

static bool host_is_good(const char *text, size_t size)
{
	if (size == 0 || size > 253)
		return false;
	for (size_t i = 0; i < size; i++)
		if (!isascii((unsigned char)text[i]) ||
		    !(isalnum((unsigned char)text[i]) || strchr("._-", text[i])))
			return false;
	return true;
}

/* "[2001:db8::1]" at the start of text: its size with the brackets, 0 if there is none. */
static size_t bracketed(const char *text, size_t size)
{
	const char *end = memchr(text, ']', size);
	char inner[IP_TEXT_MAX];
	struct ip_addr addr;
	size_t inner_size;

	if (text[0] != '[' || !end)
		return 0;
	inner_size = (size_t)(end - text) - 1;
	if (inner_size >= sizeof inner)
		return 0;
	memcpy(inner, text + 1, inner_size);
	inner[inner_size] = '\0';
	if (!ip_parse(inner, &addr) || addr.family != IP_V6)
		return 0;
	return inner_size + 2;
}

/* "HOST", "HOST:PORT", "[IPV6]:PORT". NULL if it is one. */
static const char *authority_fault(const char *text, size_t size, bool port_wanted)
{
	size_t host = size > 0 && text[0] == '[' ? bracketed(text, size) : 0;

	if (size > 0 && text[0] == '[' && host == 0)
		return "has no IPv6 address in its brackets";
	if (host == 0) {
		const char *colon = memchr(text, ':', size);

		host = colon ? (size_t)(colon - text) : size;
		if (!host_is_good(text, host))
			return "names no host";
	}
	if (host == size)
		return port_wanted ? "names no port" : NULL;
	if (text[host] != ':' || !port_is_good(text + host + 1, size - host - 1))
		return "has no port from 1 to 65535 behind its host";
	return NULL;
}

bool conf_host_port_is_good(const char *text, bool port_wanted)
{
	return authority_fault(text, strlen(text), port_wanted) == NULL;
}

static const char *url_fault(const char *url)
{
	const char *authority;
	size_t size;

	if (strlen(url) > CONF_PROBE_TARGET_BYTES_MAX)
		return "is longer than 1023 bytes";
	for (const char *p = url; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 127)
			return "has a blank or another character in it that a URL writes as %XX";
	if (strncmp(url, "http://", 7) == 0)
		authority = url + 7;
	else if (strncmp(url, "https://", 8) == 0)
		authority = url + 8;
	else
		return "begins neither with http:// nor with https://";
	size = strcspn(authority, "/?#");
	if (memchr(authority, '@', size))
		return "has a user or a password in it, which everybody could see in the status";
	return authority_fault(authority, size, false);
}

/* "200" or "200-299". */
static bool parse_status(const char *text, struct conf_status *ret_status)
{
	int first, last, used = 0;

	if (strspn(text, "0123456789-") != strlen(text) || strlen(text) > 7)
		return false;
	if (sscanf(text, "%3d%n", &first, &used) != 1 || used != 3)
		return false;
	last = first;
	text += used;
	if (*text && (sscanf(text, "-%3d%n", &last, &used) != 1 || used != 4 || text[used]))
		return false;
	if (first < STATUS_MIN || last > STATUS_MAX || first > last)
		return false;
	*ret_status = (struct conf_status){.first = first, .last = last};
	return true;
}

static void read_status(const struct conf_scope *scope, config_setting_t *value,
			struct conf_probe *probe)
{
	struct conf_status *status = &probe->statuses[probe->statuses_count];

	if (config_setting_type(value) == CONFIG_TYPE_INT) {
		int number = config_setting_get_int(value);

		if (number < STATUS_MIN || number > STATUS_MAX) {
			conf_error(scope, "http_status", conf_say("%d is out of range", number),
				   conf_say("%d to %d are possible", STATUS_MIN, STATUS_MAX));
			return;
		}
		*status = (struct conf_status){.first = number, .last = number};
	} else if (config_setting_type(value) != CONFIG_TYPE_STRING) {
		conf_wrong_type(scope, "http_status", value, "a status or a range of them",
				STATUS_EXAMPLE);
		return;
	} else if (!parse_status(config_setting_get_string(value), status)) {
		conf_error(scope, "http_status",
			   conf_say("\"%.40s\" is neither a status nor a range of them",
				    config_setting_get_string(value)),
			   conf_say("write \"200\" or \"200-299\", with numbers from %d to %d",
				    STATUS_MIN, STATUS_MAX));
		return;
	}
	probe->statuses_count++;
}

static void read_statuses(const struct conf_scope *scope, struct conf_probe *probe)
{
	config_setting_t *setting = conf_get(scope, "http_status");

	if (setting && (config_setting_type(setting) == CONFIG_TYPE_INT ||
			config_setting_type(setting) == CONFIG_TYPE_STRING)) {
		read_status(scope, setting, probe);
	} else if (setting) {
		setting = conf_read_list(scope, "http_status", CONF_STATUSES_MAX, STATUS_EXAMPLE);
		for (int i = 0; setting && i < config_setting_length(setting); i++)
			read_status(scope, config_setting_get_elem(setting, (unsigned)i), probe);
	}
	if (probe->statuses_count == 0)
		probe->statuses[probe->statuses_count++] =
			(struct conf_status){.first = 200, .last = 399};
}

static void read_http(const struct conf_scope *scope, struct conf_probe *probe)
{
	const char *fault;

	if (!conf_read_string(scope, "http", HTTP_EXAMPLE, &probe->target))
		return;
	probe->http = true;
	fault = url_fault(probe->target);
	if (fault)
		conf_error(scope, "http", conf_say("\"%.80s\" %s", probe->target, fault),
			   conf_say("write %s", HTTP_EXAMPLE));
	read_statuses(scope, probe);
	if (conf_read_string(scope, "http_body", "http_body = \"ok\";", &probe->body) &&
	    strlen(probe->body) > CONF_PROBE_BODY_BYTES_MAX)
		conf_error(scope, "http_body",
			   conf_say("is longer than %d bytes", CONF_PROBE_BODY_BYTES_MAX),
			   conf_say("a word that only a healthy answer has is enough"));
	conf_read_int(scope, "http_redirects", 0, REDIRECTS_MAX, &probe->redirects);
	if (conf_read_bool(scope, "http_verify", &probe->verify) && probe->verify && !fault &&
	    strncmp(probe->target, "https://", 8) != 0 && probe->redirects == 0)
		conf_warning(scope, "http_verify",
			     conf_say("has no effect, as the URL is not one of https"),
			     conf_say("write https:// there, or remove it"));
}

void conf_read_probe(const struct conf_scope *scope, struct conf_probe *ret_probe)
{
	const char *fault;

	if (conf_get(scope, "http")) {
		read_http(scope, ret_probe);
		return;
	}
	if (!conf_read_string(scope, "tcp", TCP_EXAMPLE, &ret_probe->target))
		return;
	fault = authority_fault(ret_probe->target, strlen(ret_probe->target), true);
	if (fault)
		conf_error(scope, "tcp", conf_say("\"%.80s\" %s", ret_probe->target, fault),
			   conf_say("write %s with the host or its address, and the port",
				    TCP_EXAMPLE));
}

void conf_probe_release(struct conf_probe *probe)
{
	free(probe->target);
	free(probe->body);
}

bool conf_wants_prober(const struct conf *conf)
{
	if (conf->mail.to_count > 0)
		return true;
	for (int i = 0; i < conf->checks_count; i++)
		if (conf->checks[i].probe.target)
			return true;
	return false;
}
