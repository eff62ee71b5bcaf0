/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent_runner_private.h"
#include "shared/log.h"
#include "shared/notify.h"

#define FIND_NODE_US 1000000 /* between two looks for this host's address */
#define TEXT_BYTES_MAX 16384 /* of a reload's problems, as told on the control socket */

struct agent_snapshot *agent_runner_snapshot(const struct agent_runner *r)
{
	return r->snapshots[r->snapshots_count - 1];
}

const struct conf *agent_runner_conf(const struct agent_runner *r)
{
	return agent_runner_snapshot(r)->conf.conf;
}

static void log_problems(const struct conf_problems *problems, const char *file)
{
	for (int i = 0; i < problems->count; i++) {
		const struct conf_problem *p = &problems->items[i];

		log_at(p->severity == CONF_ERROR ? LOG_ERR : LOG_WARNING, "%s:%d: %s%s%s%s%s", file,
		       p->line, p->setting, *p->setting ? ": " : "", p->cause, *p->cure ? "; " : "",
		       p->cure);
	}
	if (problems->dropped)
		log_err("%s: and %d more", file, problems->dropped);
}

static void tell_problems(const struct conf_problems *problems, const char *file, int error,
			  char *text, size_t room)
{
	FILE *out = fmemopen(text, room, "w");

	text[0] = '\0';
	if (!out)
		return;
	if (!problems->errors && error)
		fprintf(out, "%s: %s\n", file, strerror(-error));
	conf_problems_print(problems, file, out);
	fclose(out);
	text[room - 1] = '\0';
}

/* A sentence with the next step; with a wrong file every error of it, one a line. */
static void tell_error(const struct conf_problems *problems, const char *file, int error,
		       char *text, size_t room)
{
	FILE *out = fmemopen(text, room, "w");
	const char *between = "";

	text[0] = '\0';
	if (!out)
		return;
	if (error == -EBUSY)
		fputs("routers of earlier files have not left yet; reload again in some seconds",
		      out);
	else if (error && !problems->errors)
		fprintf(out, "%s: %s", file, strerror(-error));
	for (int i = 0; error && i < problems->count; i++) {
		const struct conf_problem *p = &problems->items[i];

		if (p->severity != CONF_ERROR)
			continue;
		fprintf(out, "%s%s:%d: %s%s%s%s%s", between, file, p->line, p->setting,
			*p->setting ? ": " : "", p->cause, *p->cure ? "; " : "", p->cure);
		between = "\n";
	}
	fclose(out);
	text[room - 1] = '\0';
}

struct log_options agent_runner_log_options(const struct agent_runner *r, const struct conf *conf)
{
	return (struct log_options){
		.ident = "tandem-agent",
		.to_syslog = !r->options.foreground && !getenv("JOURNAL_STREAM") &&
			     !isatty(STDERR_FILENO),
		.facility = conf->log_facility,
		.level = conf->log_level,
	};
}

void agent_runner_logging(const struct agent_runner *r, const struct conf *conf)
{
	const struct log_options log = agent_runner_log_options(r, conf);

	log_open(&log);
}

/* Only while no engine runs. */
void agent_runner_sweep(struct agent_runner *r, const struct conf *conf)
{
	int removed = agent_estate_sweep(r->estate, conf);

	if (removed > 0)
		log_warn("%d addresses that were left behind have been removed", removed);
	else if (removed < 0)
		log_err("addresses left behind cannot be looked for: %s", strerror(-removed));
}

static int read_and_check(struct agent_runner *r, struct conf_problems *problems,
			  struct conf_snapshot *ret_loaded)
{
	int error;

	if (r->snapshots_count == AGENT_RUNNER_SNAPSHOTS_MAX)
		return -EBUSY; /* routers of that many older files still leave */
	error = conf_snapshot_load(r->options.config, *r->node ? r->node : r->options.node,
				   r->next_number, problems, ret_loaded);
	if (error)
		return error;
	conf_host_check(ret_loaded->conf, problems);
	error = conf_snapshot_add_secrets(ret_loaded, problems);
	if (!error && !problems->errors)
		return 0;
	conf_snapshot_release(ret_loaded);
	return error ? error : -EINVAL;
}

/* Loads and checks the file; on success it is the last snapshot. */
static int load(struct agent_runner *r, struct conf_problems *problems)
{
	struct conf_snapshot loaded;
	struct agent_snapshot *snapshot;
	int error = read_and_check(r, problems, &loaded);

	if (error)
		return error;
	snapshot = agent_snapshot_new(&loaded);
	if (!snapshot) {
		conf_snapshot_release(&loaded);
		return -ENOMEM;
	}
	/* What an earlier run left is known by its claims, which the new ones replace. */
	if (!r->snapshots_count)
		agent_runner_sweep(r, loaded.conf);
	error = agent_estate_claim(r->estate, loaded.conf, r->snapshots_count > 0);
	if (error) {
		log_err("%s/addresses cannot be written: %s", r->options.run_dir, strerror(-error));
		agent_snapshot_drop(snapshot);
		return error;
	}
	r->snapshots[r->snapshots_count++] = snapshot;
	r->next_number++;
	snprintf(r->node, sizeof r->node, "%s", loaded.node);
	return 0;
}

/* At boot the address that says which node this is may come later than the agent. */
int agent_runner_load_first(struct agent_runner *r)
{
	bool said = false;

	for (;;) {
		struct conf_problems problems = {0};
		int error = load(r, &problems);
		bool waits = error == -ENOENT && problems.errors == 1 && !r->options.node;

		if (!waits || !said)
			log_problems(&problems, r->options.config);
		if (error && !problems.errors)
			log_err("%s: %s", r->options.config, strerror(-error));
		conf_problems_release(&problems);
		if (!waits)
			return error;
		if (!said)
			log_warn("waiting for an address that says which node this is");
		said = true;
		usleep(FIND_NODE_US);
	}
}

void agent_runner_send_snapshot(struct agent_runner *r)
{
	uint8_t bytes[128];
	struct wire_writer w;
	const struct conf_snapshot *conf = &agent_runner_snapshot(r)->conf;

	agent_estate_equip(r->estate, conf->conf);
	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, conf->number);
	wire_put_string(&w, conf->node, strlen(conf->node));
	agent_runner_send(r, RUNNER_MSG_SNAPSHOT, &w, conf->fd);
	r->beat_limit_us = ENGINE_BEATS_MISSED_MAX * engine_beat_us(conf->conf);
}

static void set_socket_group(const struct agent_runner *r)
{
	char path[4096];
	const struct group *group = getgrnam(agent_runner_conf(r)->control_group);

	snprintf(path, sizeof path, "%s/" AGENT_RUNNER_SOCKET, r->options.run_dir);
	if (chown(path, 0, group ? group->gr_gid : 0) || chmod(path, group ? 0660 : 0600))
		log_err("%s: its group cannot be set: %s", path, strerror(errno));
}

/* What became of reading the file. node: NULL, or a further field; then with fd. */
static void tell_outcome(struct agent_runner *r, enum runner_msg type, uint32_t request, int error,
			 const struct conf_problems *problems, const char *node, int fd)
{
	static char text[TEXT_BYTES_MAX], why[TEXT_BYTES_MAX];
	static uint8_t bytes[sizeof text + sizeof why + 128];
	struct wire_writer w;

	tell_problems(problems, r->options.config, error, text, sizeof text);
	tell_error(problems, r->options.config, error, why, sizeof why);
	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, request);
	wire_put_u8(&w, !error		  ? RUNNER_RELOADED
			: error == -EBUSY ? RUNNER_RELOAD_BUSY
					  : RUNNER_RELOAD_WRONG);
	wire_put_string(&w, why, strlen(why));
	wire_put_string(&w, text, strlen(text));
	if (node)
		wire_put_string(&w, node, strlen(node));
	agent_runner_send(r, type, &w, fd);
}

void agent_runner_reload(struct agent_runner *r, uint32_t request)
{
	struct conf_problems problems = {0};
	int error;

	notify_service("RELOADING=1");
	error = load(r, &problems);
	log_problems(&problems, r->options.config);
	if (error) {
		log_err("%s: not reloaded, the configuration before it goes on%s%s",
			r->options.config, problems.errors ? "" : ": ",
			problems.errors ? "" : strerror(-error));
	} else {
		log_notice("%s: reloaded (snapshot %u)", r->options.config,
			   agent_runner_snapshot(r)->conf.number);
		agent_runner_logging(r, agent_runner_conf(r));
		set_socket_group(r);
		agent_runner_prober_apply(r);
		agent_runner_send_snapshot(r);
	}
	tell_outcome(r, RUNNER_MSG_RELOAD_DONE, request, error, &problems, NULL, -1);
	conf_problems_release(&problems);
	notify_service("READY=1");
}

void agent_runner_try(struct agent_runner *r, uint32_t request)
{
	struct conf_problems problems = {0};
	struct conf_snapshot loaded = {.fd = -1};
	int error = read_and_check(r, &problems, &loaded);

	tell_outcome(r, RUNNER_MSG_TRIED, request, error, &problems, loaded.node, loaded.fd);
	conf_problems_release(&problems);
	conf_snapshot_release(&loaded);
}

/* Older snapshots than number serve nobody any more; hooks that wait hold theirs themselves. */
void agent_runner_release_before(struct agent_runner *r, uint32_t number)
{
	int kept = 0;

	for (int i = 0; i < r->snapshots_count; i++) {
		if (r->snapshots[i]->conf.number < number && i < r->snapshots_count - 1)
			agent_snapshot_drop(r->snapshots[i]);
		else
			r->snapshots[kept++] = r->snapshots[i];
	}
	if (kept == r->snapshots_count)
		return;
	r->snapshots_count = kept;
	if (kept == 1 && agent_estate_claim(r->estate, agent_runner_conf(r), false))
		log_warn("%s/addresses cannot be written: it names more than it should",
			 r->options.run_dir);
}

struct agent_snapshot *agent_runner_numbered(const struct agent_runner *r, uint32_t number)
{
	for (int i = 0; i < r->snapshots_count; i++)
		if (r->snapshots[i]->conf.number == number)
			return r->snapshots[i];
	return NULL;
}
