/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent_estate.h"
#include "agent/agent_hooks.h"
#include "agent/agent_snapshot.h"
#include "agent/engine.h"
#include "agent/engine_msg.h"
#include "agent/health_fsm.h"
#include "shared/ctl.h"
#include "shared/durable.h"
#include "shared/log.h"
#include "shared/msg.h"
#include "shared/notify.h"
#include "shared/priv.h"
#include "shared/run.h"
#include "shared/wire.h"

#define SOCKET_NAME "agent.sock"
#define LOCK_NAME "agent.lock"
#define USER_NAME "tandem-agent"
#define DEATH_WINDOW_US 60000000 /* so many deaths in so long, and nothing is gone on with */
#define DEATHS_MAX 3
#define RESTART_WAIT_US 1000000 /* doubles with each further death in the window */
#define RESTART_DOUBLINGS_MAX 4
#define BEAT_BEHIND_MAX 10    /* limits without a beat, whatever else it sends */
#define FIRST_BEAT_US 2000000 /* of an engine that starts as new */
#define FIND_NODE_US 1000000  /* between two looks for this host's address */
#define LEAVE_MARGIN_US 3000000
#define TEXT_BYTES_MAX 16384 /* of a reload's problems, as told on the control socket */

struct check_run {
	struct agent_runner *runner;
	struct run *run; /* NULL: free */
	uint32_t id;
};

struct agent_runner {
	struct agent_options options;
	struct loop *loop;
	struct agent_estate *estate;
	struct agent_hooks *hooks;
	struct agent_snapshot *snapshots[8]; /* oldest first; the last one counts */
	int snapshots_count;
	uint32_t next_number;
	char node[CONF_NAME_BYTES_MAX + 1]; /* once found it stays */
	int lock_fd, listen_fd;
	struct priv_user user;

	pid_t engine; /* 0: none */
	struct loop_child *engine_child;
	struct msg_channel *channel;
	struct loop_timer *beat_timer;
	uint64_t beat_us;	 /* when the last beat was heard */
	uint64_t beat_limit_us;	 /* silence that is too long */
	uint64_t messages;	 /* that the engine has sent */
	uint64_t messages_doubt; /* as many when the limit had passed; 0: it has not */
	bool ready;		 /* READY=1 was said */
	uint64_t watchdog_us, watchdog_told_us;
	uint64_t deaths_us[DEATHS_MAX]; /* the latest, as a ring */
	unsigned deaths_count;
	int restart_doublings;
	struct loop_timer *restart_timer;
	struct check_run checks[CONF_CHECKS_MAX];
	struct {
		char name[CONF_NAME_BYTES_MAX + 1];
		uint8_t state;
	} health[CONF_CHECKS_MAX];
	int health_count;

	bool leaving; /* SIGTERM has come */
	bool left;    /* and the engine has gone */
	struct loop_timer *leave_timer;
};

static struct agent_snapshot *current(const struct agent_runner *r)
{
	return r->snapshots[r->snapshots_count - 1];
}

static const struct conf *current_conf(const struct agent_runner *r)
{
	return current(r)->conf.conf;
}

static void send_engine(struct agent_runner *r, enum runner_msg type, const struct wire_writer *w,
			int fd)
{
	int error;

	if (!r->channel)
		return;
	error = w && !wire_writer_ok(w) ? -EMSGSIZE
					: msg_send(r->channel, (uint16_t)type, w ? w->data : NULL,
						   w ? w->at : 0, fd);
	if (error && error != -EPIPE)
		log_err("a message to the engine is lost (%s)", strerror(-error));
}

/* ---- the configuration ---- */

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

static void apply_logging(const struct agent_runner *r, const struct conf *conf)
{
	struct log_options log = {
		.ident = "tandem-agent",
		.to_syslog = !r->options.foreground && !getenv("JOURNAL_STREAM") &&
			     !isatty(STDERR_FILENO),
		.facility = conf->log_facility,
		.level = conf->log_level,
	};

	log_open(&log);
}

/* Only while no engine runs. */
static void sweep(struct agent_runner *r, const struct conf *conf)
{
	int removed = agent_estate_sweep(r->estate, conf);

	if (removed > 0)
		log_warn("%d addresses that were left behind have been removed", removed);
	else if (removed < 0)
		log_err("addresses left behind cannot be looked for: %s", strerror(-removed));
}

/* Loads and checks the file; on success it is the last snapshot. */
static int load(struct agent_runner *r, struct conf_problems *problems)
{
	struct conf_snapshot loaded;
	struct agent_snapshot *snapshot;
	int error;

	if (r->snapshots_count == (int)(sizeof r->snapshots / sizeof *r->snapshots))
		return -EBUSY; /* routers of that many older files still leave */
	error = conf_snapshot_load(r->options.config, *r->node ? r->node : r->options.node,
				   r->next_number, problems, &loaded);
	if (error)
		return error;
	conf_host_check(loaded.conf, problems);
	if (problems->errors) {
		conf_snapshot_release(&loaded);
		return -EINVAL;
	}
	snapshot = agent_snapshot_new(&loaded);
	if (!snapshot) {
		conf_snapshot_release(&loaded);
		return -ENOMEM;
	}
	/* What an earlier run left is known by its claims, which the new ones replace. */
	if (!r->snapshots_count)
		sweep(r, loaded.conf);
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
static int load_first(struct agent_runner *r)
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

static void send_snapshot(struct agent_runner *r)
{
	uint8_t bytes[128];
	struct wire_writer w;
	const struct conf_snapshot *conf = &current(r)->conf;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, conf->number);
	wire_put_string(&w, conf->node, strlen(conf->node));
	send_engine(r, RUNNER_MSG_SNAPSHOT, &w, conf->fd);
	r->beat_limit_us = ENGINE_BEATS_MISSED_MAX * engine_beat_us(conf->conf);
}

static void set_socket_group(const struct agent_runner *r)
{
	char path[4096];
	const struct group *group = getgrnam(current_conf(r)->control_group);

	snprintf(path, sizeof path, "%s/" SOCKET_NAME, r->options.run_dir);
	if (chown(path, 0, group ? group->gr_gid : 0) || chmod(path, group ? 0660 : 0600))
		log_err("%s: its group cannot be set: %s", path, strerror(errno));
}

static void reload(struct agent_runner *r, uint32_t request)
{
	struct conf_problems problems = {0};
	static char text[TEXT_BYTES_MAX], why[TEXT_BYTES_MAX];
	uint8_t bytes[sizeof text + sizeof why + 16];
	struct wire_writer w;
	int error;

	notify_service("RELOADING=1");
	error = load(r, &problems);
	log_problems(&problems, r->options.config);
	tell_problems(&problems, r->options.config, error, text, sizeof text);
	tell_error(&problems, r->options.config, error, why, sizeof why);
	if (error) {
		log_err("%s: not reloaded, the configuration before it goes on%s%s",
			r->options.config, problems.errors ? "" : ": ",
			problems.errors ? "" : strerror(-error));
	} else {
		log_notice("%s: reloaded (snapshot %u)", r->options.config,
			   current(r)->conf.number);
		apply_logging(r, current_conf(r));
		set_socket_group(r);
		send_snapshot(r);
	}
	conf_problems_release(&problems);
	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, request);
	wire_put_u8(&w, !error		  ? RUNNER_RELOADED
			: error == -EBUSY ? RUNNER_RELOAD_BUSY
					  : RUNNER_RELOAD_WRONG);
	wire_put_string(&w, why, strlen(why));
	wire_put_string(&w, text, strlen(text));
	send_engine(r, RUNNER_MSG_RELOAD_DONE, &w, -1);
	notify_service("READY=1");
}

/* Older snapshots than number serve nobody any more; hooks that wait hold theirs themselves. */
static void release_before(struct agent_runner *r, uint32_t number)
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
	if (kept == 1 && agent_estate_claim(r->estate, current_conf(r), false))
		log_warn("%s/addresses cannot be written: it names more than it should",
			 r->options.run_dir);
}

static struct agent_snapshot *snapshot_numbered(const struct agent_runner *r, uint32_t number)
{
	for (int i = 0; i < r->snapshots_count; i++)
		if (r->snapshots[i]->conf.number == number)
			return r->snapshots[i];
	return NULL;
}

/* ---- commands ---- */

static void on_hook_report(void *ctx, const struct agent_hook_report *report)
{
	struct agent_runner *r = ctx;
	uint8_t bytes[RUN_OUTPUT_BYTES_MAX + 1024];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_string(&w, report->router, strlen(report->router));
	wire_put_string(&w, report->hook, strlen(report->hook));
	wire_put_string(&w, report->state, strlen(report->state));
	wire_put_u8(&w, report->ok);
	wire_put_u64(&w, report->at_us);
	wire_put_string(&w, report->outcome, strlen(report->outcome));
	wire_put_string(&w, report->output, strlen(report->output));
	send_engine(r, RUNNER_MSG_HOOK_DONE, &w, -1);
	if (r->left && agent_hooks_idle(r->hooks))
		loop_quit(r->loop, 0);
}

static void tell_check(struct agent_runner *r, uint32_t id, enum engine_check_outcome outcome,
		       const char *words)
{
	uint8_t bytes[1024];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, id);
	wire_put_u8(&w, (uint8_t)outcome);
	wire_put_string(&w, words, strlen(words));
	send_engine(r, RUNNER_MSG_CHECK_DONE, &w, -1);
}

static void on_check_done(void *ctx, const struct run_result *result)
{
	struct check_run *check = ctx;
	enum engine_check_outcome outcome = ENGINE_CHECK_FAILED;
	char words[512], text[128];
	size_t size;

	check->run = NULL;
	run_describe(result, text, sizeof text);
	/* The last words of the script say best what it found. */
	snprintf(words, sizeof words, "%s%s%.300s", text, result->output_size ? ": " : "",
		 result->output + (result->output_size > 300 ? result->output_size - 300 : 0));
	for (size = strlen(words); size && words[size - 1] == '\n'; size--)
		words[size - 1] = '\0';
	if (run_succeeded(result))
		outcome = ENGINE_CHECK_OK;
	else if (result->timed_out)
		outcome = ENGINE_CHECK_TIMED_OUT;
	else if (result->exec_errno)
		outcome = ENGINE_CHECK_NOT_EXECUTED;
	tell_check(check->runner, check->id, outcome, words);
}

static bool start_check(struct agent_runner *r, struct wire_reader *in)
{
	const struct agent_snapshot *snapshot = snapshot_numbered(r, wire_get_u32(in));
	int place = wire_get_u16(in);
	uint32_t id = wire_get_u32(in);
	const struct conf_check *conf;
	struct check_run *check = NULL;
	struct run_options options = {0};
	int error;

	if (!wire_reader_done(in) || !snapshot || place >= snapshot->conf.conf->checks_count)
		return false;
	conf = &snapshot->conf.conf->checks[place];
	if (conf->kind != CONF_CHECK_SCRIPT)
		return false;
	for (int i = 0; i < CONF_CHECKS_MAX && !check; i++)
		if (!r->checks[i].run)
			check = &r->checks[i];
	if (!check) {
		tell_check(r, id, ENGINE_CHECK_NOT_EXECUTED, "too many check scripts run");
		return true;
	}
	options.command = &conf->script;
	options.timeout_us = conf->timeout_us;
	check->runner = r;
	check->id = id;
	error = run_start(r->loop, &options, on_check_done, check, &check->run);
	if (error) {
		check->run = NULL;
		tell_check(r, id, ENGINE_CHECK_NOT_EXECUTED,
			   error == -ESRCH ? "its user does not exist" : strerror(-error));
	}
	return true;
}

static bool queue_hook(struct agent_runner *r, struct wire_reader *in)
{
	struct agent_snapshot *snapshot = snapshot_numbered(r, wire_get_u32(in));
	int place = wire_get_u16(in);
	unsigned state = wire_get_u8(in);
	int priority = wire_get_u8(in);

	if (!wire_reader_done(in) || !snapshot || place >= snapshot->conf.conf->vrrps_count ||
	    state >= ENGINE_HOOK_STATES)
		return false;
	agent_hooks_queue(r->hooks, snapshot, place, (enum engine_hook_state)state, priority);
	return true;
}

/* ---- the engine's life ---- */

static void start_engine(struct agent_runner *r, bool resume);

static void remember_health(struct agent_runner *r, const char *name, uint8_t state)
{
	int i;

	for (i = 0; i < r->health_count; i++)
		if (!strcmp(r->health[i].name, name))
			break;
	if (i == CONF_CHECKS_MAX)
		return;
	if (i == r->health_count)
		r->health_count++;
	snprintf(r->health[i].name, sizeof r->health[i].name, "%s", name);
	r->health[i].state = state;
}

static bool on_beat(struct agent_runner *r, struct wire_reader *in)
{
	uint64_t now_us = loop_now_us(r->loop);
	unsigned count;

	wire_get_u64(in);
	count = wire_get_u16(in);
	for (unsigned i = 0; i < count; i++) {
		uint32_t id = wire_get_u32(in);
		uint64_t last_advert_us = wire_get_u64(in);

		if (wire_reader_ok(in))
			agent_estate_advert(r->estate, id, last_advert_us);
	}
	if (!wire_reader_done(in))
		return false;
	r->beat_us = now_us;
	r->messages_doubt = 0;
	loop_timer_set(r->beat_timer, now_us + r->beat_limit_us);
	if (!r->ready) {
		r->ready = true;
		notify_service("READY=1");
	}
	/* The service manager's watchdog is fed by the engine's beat and nothing else. */
	if (r->watchdog_us && now_us - r->watchdog_told_us >= r->watchdog_us / 4) {
		r->watchdog_told_us = now_us;
		notify_service("WATCHDOG=1");
	}
	return true;
}

static void on_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct agent_runner *r = ctx;
	struct wire_reader in;
	char name[CONF_NAME_BYTES_MAX + 1];
	uint32_t number;
	bool good = false;

	r->messages++;
	wire_reader_init(&in, payload, size);
	switch ((enum engine_msg)type) {
	case ENGINE_MSG_BEAT:
		good = on_beat(r, &in);
		break;
	case ENGINE_MSG_RECORD:
		good = !agent_estate_record(r->estate, payload, size);
		break;
	case ENGINE_MSG_FORGET:
		agent_estate_forget(r->estate, wire_get_u32(&in));
		good = wire_reader_done(&in);
		break;
	case ENGINE_MSG_SOCKET:
		number = wire_get_u32(&in);
		good = wire_reader_done(&in) && fd >= 0;
		if (good) {
			agent_estate_socket(r->estate, number, fd);
			fd = -1;
		}
		break;
	case ENGINE_MSG_HEALTH:
		wire_get_string_into(&in, name, sizeof name);
		number = wire_get_u8(&in);
		good = wire_reader_done(&in) && number < HEALTH_STATES;
		if (good)
			remember_health(r, name, (uint8_t)number);
		break;
	case ENGINE_MSG_CHECK_RUN:
		good = start_check(r, &in);
		break;
	case ENGINE_MSG_HOOK_RUN:
		good = queue_hook(r, &in);
		break;
	case ENGINE_MSG_RELOAD:
		number = wire_get_u32(&in);
		good = wire_reader_done(&in);
		if (good)
			reload(r, number);
		break;
	case ENGINE_MSG_RELEASE:
		number = wire_get_u32(&in);
		good = wire_reader_done(&in);
		if (good)
			release_before(r, number);
		break;
	case ENGINE_MSG_LEFT:
		good = wire_reader_done(&in) && r->leaving;
		if (good) { /* it ends when it sees this, and beats no more */
			r->channel = msg_channel_free(r->channel);
			loop_timer_set(r->beat_timer, LOOP_NEVER_US);
		}
		break;
	}
	if (fd >= 0)
		close(fd);
	if (!good) {
		log_err("the engine sent a message that means nothing (type %u): it is stopped",
			type);
		kill(r->engine, SIGKILL);
	}
}

/* The end of the engine is told by its pidfd; what it sent before it has been read by then. */
static void on_closed(void *ctx, int reason)
{
	struct agent_runner *r = ctx;

	/* A reset is what death leaves of a channel: something was still unread. */
	if (reason && reason != -ECONNRESET && r->engine) {
		log_err("the engine's channel broke: %s", strerror(-reason));
		kill(r->engine, SIGKILL);
	}
}

static void on_beat_timer(void *ctx)
{
	struct agent_runner *r = ctx;

	if (!r->engine)
		return;
	/* It may be this process that was late. As long as a turn still brings messages, what is
	 * queued has not been read, and the beat may be among it; but not for ever. */
	if (r->messages_doubt != r->messages &&
	    loop_now_us(r->loop) - r->beat_us < BEAT_BEHIND_MAX * r->beat_limit_us) {
		r->messages_doubt = r->messages;
		loop_timer_set(r->beat_timer, loop_now_us(r->loop));
		return;
	}
	log_err("the engine has not beaten for %llu ms: it is killed",
		(unsigned long long)(loop_now_us(r->loop) - r->beat_us) / 1000);
	kill(r->engine, SIGKILL);
}

/* Takes off and sends what a new engine cannot go on with. Returns how many routers are kept. */
static int settle_estate(struct agent_runner *r, bool may_resume)
{
	uint64_t now_us = loop_refresh_us(r->loop);

	for (int i = agent_estate_count(r->estate) - 1; i >= 0; i--)
		if (!may_resume || !agent_estate_can_resume(agent_estate_at(r->estate, i),
							    current_conf(r), now_us))
			agent_estate_execute(r->estate, i);
	return agent_estate_count(r->estate);
}

static bool too_many_deaths(struct agent_runner *r, uint64_t now_us)
{
	r->deaths_us[r->deaths_count++ % DEATHS_MAX] = now_us;
	return r->deaths_count >= DEATHS_MAX &&
	       now_us - r->deaths_us[r->deaths_count % DEATHS_MAX] < DEATH_WINDOW_US;
}

static void finish_leaving(struct agent_runner *r)
{
	settle_estate(r, false);
	sweep(r, current_conf(r));
	r->left = true;
	if (agent_hooks_idle(r->hooks))
		loop_quit(r->loop, 0);
}

static void on_engine_end(void *ctx, pid_t pid, int wait_status)
{
	struct agent_runner *r = ctx;
	const struct run_result result = {.wait_status = wait_status};
	uint64_t now_us = loop_now_us(r->loop);
	char how[64];
	bool spent;

	run_describe(&result, how, sizeof how);
	r->engine_child = loop_child_remove(r->engine_child);
	r->engine = 0;
	r->channel = msg_channel_free(r->channel);
	loop_timer_set(r->beat_timer, LOOP_NEVER_US);
	for (int i = 0; i < CONF_CHECKS_MAX; i++)
		r->checks[i].run = run_abandon(r->checks[i].run);
	if (r->leaving) {
		if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status))
			log_err("the engine (process %d) ended while it left: %s", (int)pid, how);
		finish_leaving(r);
		return;
	}
	spent = too_many_deaths(r, now_us);
	log_err("the engine (process %d) ended: %s", (int)pid, how);
	if (settle_estate(r, !spent)) {
		start_engine(r, true);
		return;
	}
	r->restart_doublings = spent ? r->restart_doublings + 1 : 0;
	if (r->restart_doublings > RESTART_DOUBLINGS_MAX)
		r->restart_doublings = RESTART_DOUBLINGS_MAX;
	if (!spent) {
		start_engine(r, false);
		return;
	}
	log_err("the engine has died %d times within %d s: nothing is gone on with, a new one "
		"starts in %llu s",
		DEATHS_MAX, DEATH_WINDOW_US / 1000000,
		(unsigned long long)(RESTART_WAIT_US << (r->restart_doublings - 1)) / 1000000);
	loop_timer_set(r->restart_timer,
		       now_us + ((uint64_t)RESTART_WAIT_US << (r->restart_doublings - 1)));
}

/* While it is the runner that holds a new engine back, it feeds the watchdog itself. */
static void on_restart_timer(void *ctx)
{
	struct agent_runner *r = ctx;

	if (r->leaving)
		return;
	if (r->watchdog_us)
		notify_service("WATCHDOG=1");
	start_engine(r, false);
}

static void hand_over_records(struct agent_runner *r)
{
	static uint8_t bytes[AGENT_RECORD_BYTES_MAX];

	for (int i = 0; i < agent_estate_count(r->estate); i++) {
		const struct agent_estate_entry *entry = agent_estate_at(r->estate, i);
		struct wire_writer w;
		size_t size = agent_record_encode(&entry->record, bytes, sizeof bytes);

		wire_writer_init(&w, bytes, sizeof bytes);
		w.at = size;
		send_engine(r, RUNNER_MSG_RECORD, &w, -1);
		w.at = 0;
		wire_put_u32(&w, entry->record.id);
		send_engine(r, RUNNER_MSG_SOCKET, &w, entry->socket_fd);
	}
	for (int i = 0; i < r->health_count; i++) {
		struct wire_writer w;

		wire_writer_init(&w, bytes, sizeof bytes);
		wire_put_string(&w, r->health[i].name, strlen(r->health[i].name));
		wire_put_u8(&w, r->health[i].state);
		send_engine(r, RUNNER_MSG_HEALTH, &w, -1);
	}
}

/* In the child, which never comes back from here. */
static _Noreturn void become_engine(const struct agent_runner *r, int channel_fd)
{
	struct engine_start start = {
		.channel_fd = channel_fd, .listen_fd = r->listen_fd, .user = r->user};
	int keep[] = {channel_fd, r->listen_fd};

	priv_close_fds(keep, sizeof keep / sizeof *keep);
	log_set_process("engine");
	apply_logging(r, current_conf(r));
	_exit(engine_main(&start));
}

static int fork_engine(struct agent_runner *r)
{
	const struct msg_handlers handlers = {
		.on_message = on_message, .on_closed = on_closed, .ctx = r};
	int fds[2], error = msg_pair(fds);
	pid_t pid;

	if (error)
		return error;
	pid = fork();
	if (!pid)
		become_engine(r, fds[1]);
	error = pid < 0 ? -errno : 0;
	close(fds[1]);
	if (!error)
		error = msg_channel_new(r->loop, fds[0], ENGINE_MSG_QUEUE_BYTES, &handlers,
					&r->channel);
	if (error) {
		close(fds[0]);
		r->channel = NULL;
	} else {
		error = loop_child_add(r->loop, pid, on_engine_end, r, &r->engine_child);
	}
	if (error) {
		r->channel = msg_channel_free(r->channel);
		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		return error;
	}
	r->engine = pid;
	return 0;
}

static void start_engine(struct agent_runner *r, bool resume)
{
	uint64_t now_us;
	int error;

	if (!resume) {
		sweep(r, current_conf(r));
		r->health_count = 0;
	}
	error = fork_engine(r);
	if (error) {
		log_err("no engine can be started: %s; trying again in a second", strerror(-error));
		settle_estate(r, false);
		loop_timer_set(r->restart_timer, loop_now_us(r->loop) + RESTART_WAIT_US);
		return;
	}
	release_before(r, current(r)->conf.number);
	send_snapshot(r);
	if (resume)
		hand_over_records(r);
	/* From now on the new engine's records count. */
	send_engine(r, RUNNER_MSG_START, NULL, -1);
	agent_hooks_repeat(r->hooks);
	now_us = loop_refresh_us(r->loop);
	r->beat_us = now_us;
	r->messages_doubt = 0;
	r->messages = 1; /* so that the first look at a silent engine is not the last */
	loop_timer_set(r->beat_timer, now_us + (resume ? r->beat_limit_us : FIRST_BEAT_US));
}

/* ---- signals, start and end ---- */

static void on_reload_signal(void *ctx, const struct signalfd_siginfo *info)
{
	struct agent_runner *r = ctx;

	(void)info;
	if (!r->leaving)
		reload(r, 0);
}

static uint64_t longest_stop_us(const struct conf *conf)
{
	uint64_t longest_us = 0;

	for (int i = 0; i < conf->vrrps_count; i++)
		if (conf->vrrps[i].stop_wait_us > longest_us)
			longest_us = conf->vrrps[i].stop_wait_us;
	return longest_us;
}

static void on_stop_signal(void *ctx, const struct signalfd_siginfo *info)
{
	struct agent_runner *r = ctx;

	if (r->leaving)
		return;
	r->leaving = true;
	log_notice("stopping (%s)", info->ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
	notify_service("STOPPING=1");
	loop_timer_set(r->restart_timer, LOOP_NEVER_US);
	if (!r->engine) {
		finish_leaving(r);
		return;
	}
	send_engine(r, RUNNER_MSG_LEAVE, NULL, -1);
	loop_timer_set(r->leave_timer,
		       loop_now_us(r->loop) + longest_stop_us(current_conf(r)) + LEAVE_MARGIN_US);
}

static void on_leave_timer(void *ctx)
{
	struct agent_runner *r = ctx;

	if (!r->engine)
		return; /* it is a notify command that takes so long */
	log_err("the engine has not left in time: it is killed");
	kill(r->engine, SIGKILL);
}

/* One agent for a run directory: a second one would take off the addresses of the first. */
static int lock_run_dir(struct agent_runner *r)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/" LOCK_NAME, r->options.run_dir);
	r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r->lock_fd < 0) {
		log_err("%s: %s", path, strerror(errno));
		return -errno;
	}
	if (flock(r->lock_fd, LOCK_EX | LOCK_NB)) {
		log_err("%s is locked: another tandem-agent runs with this run directory; stop it, "
			"or give --run-dir",
			path);
		return -EBUSY;
	}
	return 0;
}

static int add_signals(struct agent_runner *r)
{
	struct loop_signal *source;
	int error = loop_signal_add(r->loop, SIGHUP, on_reload_signal, r, &source);

	if (!error)
		error = loop_signal_add(r->loop, SIGTERM, on_stop_signal, r, &source);
	if (!error)
		error = loop_signal_add(r->loop, SIGINT, on_stop_signal, r, &source);
	return error;
}

static int prepare(struct agent_runner *r)
{
	char text[256], path[4096];
	bool stand_in;
	int error = priv_kernel_check(text, sizeof text);

	if (error) {
		log_err("%s", text);
		return error;
	}
	if (geteuid() != 0) {
		log_err("tandem-agent must be started by root");
		return -EPERM;
	}
	error = durable_mkdir(r->options.run_dir, 0755);
	if (error) {
		log_err("%s: %s", r->options.run_dir, strerror(-error));
		return error;
	}
	error = lock_run_dir(r);
	if (error)
		return error;
	error = priv_user_find(USER_NAME, &r->user, &stand_in);
	if (error) {
		log_err("no account %s and no number to stand in for it: %s", USER_NAME,
			strerror(-error));
		return error;
	}
	error = agent_estate_new(r->options.run_dir, &r->estate);
	if (!error)
		error = load_first(r);
	if (error)
		return error;
	apply_logging(r, current_conf(r));
	if (stand_in)
		log_info("there is no account %s: the engine runs as number %u", USER_NAME,
			 (unsigned)r->user.uid);
	snprintf(path, sizeof path, "%s/" SOCKET_NAME, r->options.run_dir);
	error = ctl_listen(path, current_conf(r)->control_group, &r->listen_fd);
	if (error)
		log_err("%s: %s", path, strerror(-error));
	return error;
}

static void release(struct agent_runner *r)
{
	char path[4096];

	agent_hooks_free(r->hooks);
	loop_timer_free(r->beat_timer);
	loop_timer_free(r->restart_timer);
	loop_timer_free(r->leave_timer);
	loop_child_remove(r->engine_child);
	if (r->listen_fd >= 0) {
		snprintf(path, sizeof path, "%s/" SOCKET_NAME, r->options.run_dir);
		unlink(path);
		close(r->listen_fd);
	}
	agent_estate_free(r->estate);
	for (int i = 0; i < r->snapshots_count; i++)
		agent_snapshot_drop(r->snapshots[i]);
	if (r->lock_fd >= 0)
		close(r->lock_fd);
}

int agent_runner_main(const struct agent_options *options)
{
	static struct agent_runner runner;
	struct agent_runner *r = &runner;
	const struct conf before = {.log_facility = LOG_DAEMON, .log_level = LOG_INFO};
	int error;

	r->options = *options;
	r->lock_fd = r->listen_fd = -1;
	r->next_number = 1;
	apply_logging(r, &before);
	error = prepare(r);
	if (error)
		goto out;
	error = loop_new(&r->loop);
	if (!error)
		error = loop_timer_new(r->loop, on_beat_timer, r, &r->beat_timer);
	if (!error)
		error = loop_timer_new(r->loop, on_restart_timer, r, &r->restart_timer);
	if (!error)
		error = loop_timer_new(r->loop, on_leave_timer, r, &r->leave_timer);
	if (!error)
		error = agent_hooks_new(r->loop, on_hook_report, r, &r->hooks);
	if (!error)
		error = add_signals(r);
	if (error) {
		log_err("cannot start: %s", strerror(-error));
		goto out;
	}
	r->watchdog_us = notify_watchdog_us();
	log_notice("tandem-agent %s starts as %s of %s", TANDEM_VERSION, r->node,
		   current_conf(r)->cluster);
	start_engine(r, false);
	error = loop_run(r->loop);
	log_notice("stopped");
out:
	release(r);
	return error ? 1 : 0;
}

int agent_runner_check(const struct agent_options *options)
{
	struct conf_problems problems = {0};
	struct conf_snapshot snapshot = {.fd = -1};
	int error = conf_snapshot_load(options->config, options->node, 1, &problems, &snapshot);

	if (!error)
		conf_host_check(snapshot.conf, &problems);
	if (error && !problems.errors)
		fprintf(stderr, "%s: %s\n", options->config, strerror(-error));
	conf_problems_print(&problems, options->config, stderr);
	error = error || problems.errors ? 1 : 0;
	conf_snapshot_release(&snapshot);
	conf_problems_release(&problems);
	return error;
}
