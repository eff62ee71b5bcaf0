/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_mail: who is told by mail of a change of state, and through which server.
 */
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

#define SECOND_US 1000000u
#define PORT_DEFAULT ":25"

/* One that can stand in an SMTP command and in a header without quotes or surprises. */
static bool address_is_good(const char *text)
{
	size_t size = strlen(text);

	if (size == 0 || size > CONF_MAIL_ADDRESS_BYTES_MAX || text[0] == '-' || text[0] == '@')
		return false;
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p >= 127 || strchr("<>()[]\\,;:\"", *p))
			return false;
	return true;
}

static void bad_address(const struct conf_scope *top, const char *name, const char *text)
{
	conf_error(top, name, conf_say("\"%.80s\" is not a mail address", text),
		   conf_say("write the address alone, without a name or < >: "
			    "\"admin@example.org\""));
}

static void read_recipients(const struct conf_scope *top, struct conf_mail *mail)
{
	static const char example[] = "notification_email = [ \"admin@example.org\" ];";
	config_setting_t *list = conf_get(top, "notification_email");

	if (!list)
		return;
	list = conf_read_list(top, "notification_email", CONF_MAIL_RECIPIENTS_MAX, example);
	for (int i = 0; list && i < config_setting_length(list); i++) {
		config_setting_t *value = config_setting_get_elem(list, (unsigned)i);

		if (config_setting_type(value) != CONFIG_TYPE_STRING)
			conf_wrong_type(top, "notification_email", value, "text", example);
		else if (!address_is_good(config_setting_get_string(value)))
			bad_address(top, "notification_email", config_setting_get_string(value));
		else
			mail->to[mail->to_count++] =
				conf_copy(top->reader, config_setting_get_string(value));
	}
}

static void read_server(const struct conf_scope *top, struct conf_mail *mail)
{
	static const char example[] = "smtp_server = \"127.0.0.1:25\";";
	char *text = NULL;

	if (!conf_read_string(top, "smtp_server", example, &text))
		text = conf_copy(top->reader, "127.0.0.1");
	if (!text)
		return;
	if (conf_host_port_is_good(text, true))
		mail->server = conf_copy(top->reader, text);
	else if (conf_host_port_is_good(text, false))
		mail->server = conf_say("%s" PORT_DEFAULT, text);
	else
		conf_error(top, "smtp_server",
			   conf_say("\"%.80s\" is not a host, or a host and a port", text),
			   conf_say("write %s, an IPv6 address in [ ]", example));
	free(text);
}

void conf_read_mail(const struct conf_scope *top, struct conf *conf)
{
	static const char *const others[] = {"notification_email_from",
					     "smtp_server",
					     "smtp_helo_name",
					     "smtp_connect_timeout",
					     "smtp_alert",
					     "no_email_faults",
					     NULL};
	struct conf_mail *mail = &conf->mail;

	mail->connect_timeout_us = 30 * SECOND_US;
	read_recipients(top, mail);
	if (conf_read_string(top, "notification_email_from",
			     "notification_email_from = \"tandem@example.org\";", &mail->from) &&
	    !address_is_good(mail->from))
		bad_address(top, "notification_email_from", mail->from);
	read_server(top, mail);
	if (conf_read_string(top, "smtp_helo_name", "smtp_helo_name = \"web1.example.org\";",
			     &mail->helo) &&
	    (!conf_host_port_is_good(mail->helo, false) || strpbrk(mail->helo, ":[")))
		conf_error(top, "smtp_helo_name",
			   conf_say("\"%.80s\" is not the name of a host", mail->helo),
			   conf_say("write one such as \"web1.example.org\""));
	conf_read_duration(top, "smtp_connect_timeout", SECOND_US / 10, 600u * SECOND_US,
			   &mail->connect_timeout_us);
	conf_read_bool(top, "smtp_alert", &mail->alert);
	conf_read_bool(top, "no_email_faults", &mail->no_faults);
	for (int i = 0; others[i]; i++)
		if (!conf_get(top, "notification_email") && conf_get(top, others[i]))
			conf_warning(top, others[i],
				     conf_say("has no effect without notification_email"),
				     conf_say("add notification_email = [ \"admin@example.org\" "
					      "]; or remove it"));
}

void conf_read_alert(const struct conf_scope *scope, const struct conf *conf, bool *ret_alert)
{
	*ret_alert = conf->mail.alert;
	if (conf_read_bool(scope, "smtp_alert", ret_alert) && *ret_alert &&
	    conf->mail.to_count == 0)
		conf_warning(scope, "smtp_alert", conf_say("there is nobody to write to"),
			     conf_say("add notification_email = [ \"admin@example.org\" "
				      "]; at the top level"));
}

void conf_mail_rules(const struct conf_scope *top, const struct conf *conf)
{
	bool any = false;

	for (int i = 0; i < conf->vrrps_count; i++)
		any |= conf->vrrps[i].smtp_alert;
	for (int i = 0; i < conf->groups_count; i++)
		any |= conf->groups[i].smtp_alert;
	if (conf_get(top, "notification_email") && !any)
		conf_warning(top, "notification_email",
			     conf_say("nobody is ever written to, as no instance has smtp_alert"),
			     conf_say("add smtp_alert = true; here for all of them, or to those "
				      "that matter"));
}

void conf_mail_release(struct conf_mail *mail)
{
	for (int i = 0; i < mail->to_count; i++)
		free(mail->to[i]);
	free(mail->from);
	free(mail->server);
	free(mail->helo);
}
