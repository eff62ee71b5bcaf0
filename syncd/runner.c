/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/runner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "shared/conf.h"
#include "shared/durable.h"
#include "shared/log.h"
#include "shared/loop.h"
#include "shared/msg.h"
#include "shared/notify.h"
#include "shared/priv.h"
#include "shared/wire.h"
#include "syncd/identity.h"
#include "syncd/keeper.h"
#include "syncd/keeper_msg.h"
#include "syncd/link.h"
#include "syncd/runner_commands.h"
#include "syncd/runner_sockets.h"

#define STOP_WAIT_US (20 * 1000000ull)	 /* for what the keeper has begun */
#define RESTART_FIRST_US (100 * 1000ull) /* doubles with each death in a row */
#define RESTART_LAST_US (5 * 1000000ull)
#define RESTART_CALM_US (60 * 1000000ull)
#define KEEPER_SILENCE_US (300 * 1000000ull) /* hashing a large tree takes a while */

enum phase {
	RUNNING,
	RELOADING, /* the keeper is finishing; `next` is what comes */
	STOPPING,
};

struct child {
	pid_t pid; /* 0: none */
	struct loop_child *watch;
	struct msg_channel *channel;
	uint64_t started_us;
	uint64_t delay_us; /* before the next start */
};

struct runner {
	const struct runner_options *options;
	struct loop *loop;
	enum phase phase;
	struct conf_snapshot snapshot;
	struct conf_snapshot next; /* RELOADING */
	uint32_t numbers;

	struct runner_sockets sockets;
	struct child keeper, link;
	struct runner_commands *commands;
	struct loop_timer *restart;  /* of whatever is missing */
	struct loop_timer *patience; /* with a keeper that is to leave */
	struct loop_timer *watchdog;
	uint64_t beat_us;
	bool ready_said;
	int status;
};

static void start_missing(void *ctx);

/* ---- configuration ---- */

static void say_problems(const struct conf_problems *problems, const char *path)
{
	for (int i = 0; i < problems->count; i++) {
		const struct conf_problem *p = &problems->items[i];

		log_at(p->severity == CONF_ERROR ? LOG_ERR : LOG_WARNING, "%s:%d: %s%s%s; %s", path,
		       p->line, p->setting, *p->setting ? ": " : "", p->cause, p->cure);
	}
}

/* The snapshot, or a sentence that says what is wrong with the file (all of it has been logged). */
static int load(struct runner *runner, struct conf_snapshot *ret_snapshot, char *text, size_t room)
{
	struct conf_problems problems = {0};
	const char *path = runner->options->config_path;
	int r = conf_snapshot_load(path, runner->options->node, ++runner->numbers, &problems,
				   ret_snapshot);

	say_problems(&problems, path);
	if (r < 0 && problems.errors > 0) {
		const struct conf_problem *p = problems.items;

		while (p->severity != CONF_ERROR)
			p++;
		snprintf(text, room, "%s:%d: %s%s%s; %s%s", path, p->line, p->setting,
			 *p->setting ? ": " : "", p->cause, p->cure,
			 problems.errors > 1 ? " (and more: see the log)" : "");
	} else if (r < 0) {
		snprintf(text, room, "%s cannot be read: %s", path, strerror(-r));
		log_err("%s", text);
	}
	conf_problems_release(&problems);
	return r;
}

/* ---- children ---- */

static bool is_kept(int fd, const int *keep, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (keep[i] == fd)
			return true;
	return fd <= 2;
}

/* What a child must not have: the runner's own sockets, and those of the other child. */
static void close_all_but(const int *keep, size_t count)
{
	DIR *dir = opendir("/proc/self/fd");

	if (dir == NULL)
		_exit(EXIT_FAILURE);
	for (struct dirent *d; (d = readdir(dir)) != NULL;) {
		int fd = atoi(d->d_name);

		if (d->d_name[0] != '.' && fd != dirfd(dir) && !is_kept(fd, keep, count))
			close(fd);
	}
	closedir(dir);
}

static void enter_child(struct runner *runner, const char *name, pid_t parent)
{
	/* Before the descriptors go, syslog's among them. */
	closelog();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		_exit(EXIT_FAILURE);
	log_set_process(name);
	(void)runner;
}

static void child_gone(struct runner *runner, struct child *child)
{
	if (child->watch)
		child->watch = loop_child_remove(child->watch);
	child->channel = msg_channel_free(child->channel);
	child->pid = 0;
	(void)runner;
}

static void kill_child(struct runner *runner, struct child *child)
{
	if (child->pid == 0)
		return;
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	child_gone(runner, child);
}

static void note_death(struct runner *runner, struct child *child, const char *name, int status)
{
	uint64_t now_us = loop_now_us(runner->loop);

	if (now_us - child->started_us > RESTART_CALM_US)
		child->delay_us = RESTART_FIRST_US;
	else if (child->delay_us < RESTART_LAST_US)
		child->delay_us = child->delay_us ? child->delay_us * 2 : RESTART_FIRST_US;
	if (WIFSIGNALED(status))
		log_err("the %s was killed by SIG%s; it is started again", name,
			sigabbrev_np(WTERMSIG(status)));
	else
		log_err("the %s left with status %d; it is started again", name,
			WEXITSTATUS(status));
}

static void plan_restart(struct runner *runner, uint64_t delay_us)
{
	uint64_t at_us = loop_now_us(runner->loop) + delay_us;

	if (at_us < loop_timer_deadline_us(runner->restart))
		loop_timer_set(runner->restart, at_us);
}

static void finish_if_done(struct runner *runner)
{
	if (runner->phase == STOPPING && runner->keeper.pid == 0 && runner->link.pid == 0)
		loop_quit(runner->loop, runner->status);
}

static void on_keeper_end(void *ctx, pid_t pid, int status)
{
	struct runner *runner = ctx;

	(void)pid;
	runner->keeper.watch = NULL;
	child_gone(runner, &runner->keeper);
	runner_commands_abandon(runner->commands);
	loop_timer_set(runner->patience, LOOP_NEVER_US);
	/* The link's channel ended with the keeper; both begin anew. */
	kill_child(runner, &runner->link);
	switch (runner->phase) {
	case STOPPING:
		finish_if_done(runner);
		return;
	case RELOADING:
		conf_snapshot_release(&runner->snapshot);
		runner->snapshot = runner->next;
		runner->next = (struct conf_snapshot){.fd = -1};
		runner->phase = RUNNING;
		runner->keeper.delay_us = runner->link.delay_us = 0;
		start_missing(runner);
		return;
	case RUNNING:
		note_death(runner, &runner->keeper, "keeper", status);
		plan_restart(runner, runner->keeper.delay_us);
		return;
	}
}

static void on_link_end(void *ctx, pid_t pid, int status)
{
	struct runner *runner = ctx;

	(void)pid;
	runner->link.watch = NULL;
	child_gone(runner, &runner->link);
	if (runner->phase == STOPPING) {
		finish_if_done(runner);
		return;
	}
	if (runner->phase == RELOADING || runner->keeper.pid == 0)
		return; /* comes back with the keeper */
	note_death(runner, &runner->link, "link", status);
	plan_restart(runner, runner->link.delay_us);
}

static void on_link_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	/* The link has nothing to say to the runner, and it faces the network. */
	struct runner *runner = ctx;

	(void)payload;
	(void)size;
	if (fd >= 0)
		close(fd);
	log_err("the link says something that it may not (message %u); it is ended", type);
	kill(runner->link.pid, SIGKILL);
}

static void on_channel_closed(void *ctx, int reason)
{
	(void)ctx;
	(void)reason; /* the end of the process says more, and comes at once */
}

static void reload(struct runner *runner, bool has_ticket, uint32_t ticket);
static void try_file(struct runner *runner, uint32_t ticket);

static void on_keeper_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct runner *runner = ctx;
	struct wire_reader r;
	uint32_t ticket;

	if (fd >= 0)
		close(fd);
	runner->beat_us = loop_now_us(runner->loop);
	wire_reader_init(&r, payload, size);
	switch (type) {
	case KEEPER_MSG_READY:
		if (!runner->ready_said)
			notify_service("READY=1");
		runner->ready_said = true;
		return;
	case KEEPER_MSG_BEAT:
		return;
	case KEEPER_MSG_RUN:
		if (runner_commands_take(runner->commands, &runner->snapshot,
					 runner->keeper.channel, payload, size))
			return;
		break;
	case KEEPER_MSG_RELOAD:
		ticket = wire_get_u32(&r);
		if (!wire_reader_done(&r))
			break;
		reload(runner, true, ticket);
		return;
	case KEEPER_MSG_TRY:
		ticket = wire_get_u32(&r);
		if (!wire_reader_done(&r))
			break;
		try_file(runner, ticket);
		return;
	default:
		break;
	}
	log_err("the keeper says something that makes no sense (message %u); it is ended", type);
	kill(runner->keeper.pid, SIGKILL);
}

static int adopt(struct runner *runner, struct child *child, pid_t pid, int fd,
		 loop_child_fn on_end, msg_fn on_message)
{
	struct msg_handlers handlers = {
		.on_message = on_message,
		.on_closed = on_channel_closed,
		.ctx = runner,
	};
	int r;

	child->pid = pid;
	child->started_us = loop_refresh_us(runner->loop);
	r = loop_child_add(runner->loop, pid, on_end, runner, &child->watch);
	if (r == 0)
		r = msg_channel_new(runner->loop, fd, KEEPER_MSG_QUEUE_BYTES, &handlers,
				    &child->channel);
	else
		close(fd);
	if (r < 0) {
		log_err("cannot watch a child: %s", strerror(-r));
		kill_child(runner, child);
	}
	return r;
}

static int start_link(struct runner *runner, int keeper_fd)
{
	const struct conf *conf = runner->snapshot.conf;
	struct identity *identity = NULL;
	uint8_t credentials[IDENTITY_CREDENTIALS_BYTES_MAX];
	char why[IDENTITY_WHY_ROOM];
	size_t size = 0;
	struct priv_user user;
	bool stand_in;
	pid_t parent = getpid();
	int pair[2] = {-1, -1};
	pid_t pid = -1;
	int r = identity_load(runner->options->state_dir, &identity, why);

	if (r < 0) {
		log_err("%s", why);
		goto out;
	}
	r = identity_issue_link(identity, conf->nodes[conf->self].name, credentials, &size);
	/* The link gets a key that lives as long as it does, the runner keeps none. */
	identity = identity_free(identity);
	if (r < 0) {
		log_err("cannot make a key for the link: %s", strerror(-r));
		goto out;
	}
	r = priv_user_find("tandem-syncd", &user, &stand_in);
	if (r == 0)
		r = msg_pair(pair);
	if (r < 0) {
		log_err("cannot start the link: %s", strerror(-r));
		goto out;
	}
	pid = fork();
	if (pid == 0) {
		int keep[] = {keeper_fd, pair[1], runner->sockets.listen_fd};
		struct link_options options = {
			.conf = conf,
			.credentials = credentials,
			.credentials_size = size,
			.keeper_fd = keeper_fd,
			.runner_fd = pair[1],
			.listen_fd = runner->sockets.listen_fd,
			.seed = (uint64_t)loop_now_us(runner->loop) ^ (uint64_t)getpid() << 32,
		};

		enter_child(runner, "link", parent);
		close_all_but(keep, 3);
		_exit(link_main(&options, &user));
	}
	explicit_bzero(credentials, sizeof credentials);
	if (pid < 0) {
		r = -errno;
		log_err("cannot start the link: %s", strerror(-r));
		goto out;
	}
	r = adopt(runner, &runner->link, pid, pair[0], on_link_end, on_link_message);
	pair[0] = -1;
out:
	if (pair[0] >= 0)
		close(pair[0]);
	if (pair[1] >= 0)
		close(pair[1]);
	return r;
}

static int start_keeper(struct runner *runner, int link_fd)
{
	pid_t parent = getpid();
	int pair[2];
	pid_t pid;
	int r = msg_pair(pair);

	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0) {
		int keep[] = {link_fd, pair[1], runner->sockets.control_fd, runner->snapshot.fd};
		struct keeper_options options = {
			.snapshot = &runner->snapshot,
			.state_dir = runner->options->state_dir,
			.runner_fd = pair[1],
			.link_fd = link_fd,
			.control_fd = runner->sockets.control_fd,
		};

		enter_child(runner, "keeper", parent);
		close_all_but(keep, 4);
		_exit(keeper_main(&options));
	}
	close(pair[1]);
	if (pid < 0) {
		r = -errno;
		close(pair[0]);
		return r;
	}
	runner->beat_us = loop_now_us(runner->loop);
	return adopt(runner, &runner->keeper, pid, pair[0], on_keeper_end, on_keeper_message);
}

static void start_missing(void *ctx)
{
	struct runner *runner = ctx;
	int pair[2];
	int r;

	loop_timer_set(runner->restart, LOOP_NEVER_US);
	if (runner->phase != RUNNING)
		return;
	r = runner_sockets_make(&runner->sockets, runner->snapshot.conf);
	if (r == 0)
		r = msg_pair(pair);
	if (r < 0) {
		plan_restart(runner, RESTART_LAST_US);
		return;
	}
	if (runner->keeper.pid == 0) {
		r = start_keeper(runner, pair[0]);
	} else if (runner->link.pid == 0) {
		r = msg_send(runner->keeper.channel, RUNNER_MSG_LINK, NULL, 0, pair[0]);
		if (r < 0)
			kill(runner->keeper.pid, SIGKILL);
	}
	close(pair[0]);
	/* Without a mirror there is nothing to say to anybody, and no key is needed. */
	if (r == 0 && runner->link.pid == 0 && runner->snapshot.conf->mirrors_count > 0)
		r = start_link(runner, pair[1]);
	close(pair[1]);
	if (r < 0)
		plan_restart(runner, RESTART_LAST_US);
}

/* ---- reload, stop, watchdog ---- */

static void tell_reloaded(struct runner *runner, bool has_ticket, uint32_t ticket, bool ok,
			  const char *text)
{
	uint8_t payload[2 * KEEPER_MSG_TEXT_MAX];
	struct wire_writer w;

	if (!has_ticket || runner->keeper.channel == NULL)
		return;
	wire_writer_init(&w, payload, sizeof payload);
	wire_put_u32(&w, ticket);
	wire_put_u8(&w, ok);
	wire_put_string(&w, text, strlen(text));
	(void)msg_send(runner->keeper.channel, RUNNER_MSG_RELOADED, payload, w.at, -1);
}

static void on_patience_over(void *ctx)
{
	struct runner *runner = ctx;

	log_warn("the keeper does not end; it is killed, and recovers when it starts");
	if (runner->keeper.pid)
		kill(runner->keeper.pid, SIGKILL);
}

static void ask_to_leave(struct runner *runner)
{
	if (runner->keeper.pid == 0)
		return;
	if (msg_send(runner->keeper.channel, RUNNER_MSG_STOP, NULL, 0, -1) < 0)
		kill(runner->keeper.pid, SIGKILL);
	loop_timer_set(runner->patience, loop_now_us(runner->loop) + STOP_WAIT_US);
}

static void try_file(struct runner *runner, uint32_t ticket)
{
	char text[KEEPER_MSG_TEXT_MAX] = "";
	struct conf_snapshot next = {.fd = -1};
	uint8_t payload[2 * KEEPER_MSG_TEXT_MAX];
	bool ok = load(runner, &next, text, sizeof text) >= 0;
	struct wire_writer w;

	wire_writer_init(&w, payload, sizeof payload);
	wire_put_u32(&w, ticket);
	wire_put_u8(&w, ok);
	wire_put_string(&w, text, strlen(text));
	wire_put_string(&w, next.node, strlen(next.node));
	(void)msg_send(runner->keeper.channel, RUNNER_MSG_TRIED, payload, w.at, next.fd);
	conf_snapshot_release(&next);
}

static void reload(struct runner *runner, bool has_ticket, uint32_t ticket)
{
	char text[KEEPER_MSG_TEXT_MAX] = "";
	struct conf_snapshot next;
	char number[32];

	if (runner->phase != RUNNING) {
		tell_reloaded(runner, has_ticket, ticket, false,
			      "a reload or stop is already on its way");
		return;
	}
	notify_service("RELOADING=1");
	if (load(runner, &next, text, sizeof text) < 0) {
		log_err("reload: the configuration is wrong and stays as it was");
		tell_reloaded(runner, has_ticket, ticket, false, text);
		notify_service("READY=1");
		return;
	}
	snprintf(number, sizeof number, "%u", next.number);
	log_notice("reload: snapshot %s is read from %s", number, runner->options->config_path);
	tell_reloaded(runner, has_ticket, ticket, true, number);
	runner->next = next;
	runner->phase = RELOADING;
	runner->ready_said = false;
	log_set_level(next.conf->log_level);
	if (runner->keeper.pid == 0) {
		conf_snapshot_release(&runner->snapshot);
		runner->snapshot = runner->next;
		runner->phase = RUNNING;
		start_missing(runner);
		return;
	}
	ask_to_leave(runner);
}

static void on_hangup(void *ctx, const struct signalfd_siginfo *info)
{
	(void)info;
	reload(ctx, false, 0);
}

static void on_terminate(void *ctx, const struct signalfd_siginfo *info)
{
	struct runner *runner = ctx;

	(void)info;
	if (runner->phase == STOPPING)
		return;
	notify_service("STOPPING=1");
	log_info("stopping");
	runner->phase = STOPPING;
	loop_timer_set(runner->restart, LOOP_NEVER_US);
	if (runner->keeper.pid == 0) {
		kill_child(runner, &runner->link);
		finish_if_done(runner);
		return;
	}
	ask_to_leave(runner);
}

static void on_watchdog(void *ctx)
{
	struct runner *runner = ctx;
	uint64_t now_us = loop_now_us(runner->loop);
	uint64_t gap_us = notify_watchdog_us() / 2;

	if (runner->keeper.pid != 0 && now_us - runner->beat_us > KEEPER_SILENCE_US) {
		log_err("the keeper has been silent for five minutes; it is killed");
		kill(runner->keeper.pid, SIGKILL);
		runner->beat_us = now_us;
	} else {
		notify_service("WATCHDOG=1");
	}
	if (gap_us == 0 || gap_us > 10 * 1000000ull)
		gap_us = 10 * 1000000ull;
	loop_timer_set(runner->watchdog, now_us + gap_us);
}

/* The key must be there, and must be the one that the others expect: said at start, when somebody
 * looks, rather than by a peer that refuses. */
static int check_key(struct runner *runner)
{
	const struct conf *conf = runner->snapshot.conf;
	const struct conf_node *self = &conf->nodes[conf->self];
	struct identity *identity;
	uint8_t pin[IDENTITY_PIN_BYTES];
	char text[IDENTITY_PIN_TEXT_ROOM];
	char why[IDENTITY_WHY_ROOM];
	int r;

	if (conf->mirrors_count == 0) {
		log_notice("%s names no mirrors: there is nothing to do",
			   runner->options->config_path);
		return 0;
	}
	r = identity_load(runner->options->state_dir, &identity, why);
	if (r < 0) {
		log_err("%s", why);
		return r;
	}
	identity_pin(identity, pin);
	identity_free(identity);
	for (int i = 0; i < self->pins_count; i++)
		if (memcmp(self->pins[i], pin, sizeof pin) == 0)
			return 0;
	identity_pin_format(pin, text);
	log_warn("%s: nodes.%s.key is not the key of this node: put key = \"%s\"; there, on every "
		 "node "
		 "(the others will refuse this one until then)",
		 runner->options->config_path, self->name, text);
	return 0;
}

int runner_main(const struct runner_options *options)
{
	struct runner runner = {
		.options = options,
		.next = {.fd = -1},
	};
	struct loop_signal *hangup = NULL, *terminate = NULL, *interrupt = NULL;
	char scratch[4096], text[KEEPER_MSG_TEXT_MAX];
	struct log_options log;
	int r;

	log_set_process("runner");
	if (load(&runner, &runner.snapshot, text, sizeof text) < 0)
		return EXIT_FAILURE;
	log = (struct log_options){
		.ident = "tandem-syncd",
		.to_syslog = options->log_to_syslog,
		.facility = runner.snapshot.conf->log_facility,
		.level = runner.snapshot.conf->log_level,
	};
	log_open(&log);
	log_set_process("runner");
	if (priv_kernel_check(text, sizeof text) < 0) {
		log_err("%s", text);
		return EXIT_FAILURE;
	}
	r = durable_mkdir(options->run_dir, 0755);
	if (r == 0)
		r = durable_mkdir(options->state_dir, 0700);
	snprintf(scratch, sizeof scratch, "%s/view", options->run_dir);
	if (r == 0)
		r = durable_mkdir(scratch, 0700);
	if (r < 0) {
		log_err("cannot make %s, %s or %s: %s", options->run_dir, options->state_dir,
			scratch, strerror(-r));
		return EXIT_FAILURE;
	}
	runner_sockets_init(&runner.sockets, options->run_dir);
	if (check_key(&runner) < 0)
		return EXIT_FAILURE;

	signal(SIGPIPE, SIG_IGN);
	r = loop_new(&runner.loop);
	if (r == 0)
		r = loop_timer_new(runner.loop, start_missing, &runner, &runner.restart);
	if (r == 0)
		r = loop_timer_new(runner.loop, on_patience_over, &runner, &runner.patience);
	if (r == 0)
		r = loop_timer_new(runner.loop, on_watchdog, &runner, &runner.watchdog);
	if (r == 0)
		r = loop_signal_add(runner.loop, SIGHUP, on_hangup, &runner, &hangup);
	if (r == 0)
		r = loop_signal_add(runner.loop, SIGTERM, on_terminate, &runner, &terminate);
	if (r == 0)
		r = loop_signal_add(runner.loop, SIGINT, on_terminate, &runner, &interrupt);
	if (r == 0)
		r = runner_commands_new(runner.loop, scratch, &runner.commands);
	if (r == 0)
		r = runner_sockets_make_first(&runner.sockets, runner.snapshot.conf);
	if (r == 0) {
		log_info("%s of cluster %s, snapshot %u", runner.snapshot.node,
			 runner.snapshot.conf->cluster, runner.snapshot.number);
		start_missing(&runner);
		on_watchdog(&runner);
		r = loop_run(runner.loop);
	} else {
		log_err("cannot start: %s", strerror(-r));
		r = EXIT_FAILURE;
	}
	kill_child(&runner, &runner.keeper);
	kill_child(&runner, &runner.link);
	runner.commands = runner_commands_free(runner.commands);
	if (interrupt)
		loop_signal_remove(interrupt);
	if (terminate)
		loop_signal_remove(terminate);
	if (hangup)
		loop_signal_remove(hangup);
	loop_timer_free(runner.watchdog);
	loop_timer_free(runner.patience);
	loop_timer_free(runner.restart);
	loop_free(runner.loop);
	runner_sockets_release(&runner.sockets);
	if (runner.next.conf)
		conf_snapshot_release(&runner.next);
	conf_snapshot_release(&runner.snapshot);
	return r < 0 ? EXIT_FAILURE : r;
}
