/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/runner.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "shared/durable.h"
#include "shared/log.h"
#include "shared/notify.h"
#include "shared/priv.h"
#include "shared/wire.h"
#include "syncd/identity.h"
#include "syncd/keeper_msg.h"
#include "syncd/runner_private.h"

#define STOP_WAIT_US (20 * 1000000ull)	     /* for what the keeper has begun */
#define KEEPER_SILENCE_US (300 * 1000000ull) /* hashing a large tree takes a while */

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

void runner_try(struct runner *runner, uint32_t ticket)
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

void runner_take_next(struct runner *runner)
{
	conf_snapshot_release(&runner->snapshot);
	runner->snapshot = runner->next;
	runner->next = (struct conf_snapshot){.fd = -1};
	runner->phase = RUNNER_RUNNING;
}

void runner_reload(struct runner *runner, bool has_ticket, uint32_t ticket)
{
	char text[KEEPER_MSG_TEXT_MAX] = "";
	struct conf_snapshot next;
	char number[32];

	if (runner->phase != RUNNER_RUNNING) {
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
	runner->phase = RUNNER_RELOADING;
	runner->ready_said = false;
	log_set_level(next.conf->log_level);
	if (runner->keeper.pid == 0) {
		runner_take_next(runner);
		runner_start_missing(runner);
		return;
	}
	ask_to_leave(runner);
}

static void on_hangup(void *ctx, const struct signalfd_siginfo *info)
{
	(void)info;
	runner_reload(ctx, false, 0);
}

static void on_terminate(void *ctx, const struct signalfd_siginfo *info)
{
	struct runner *runner = ctx;

	(void)info;
	if (runner->phase == RUNNER_STOPPING)
		return;
	notify_service("STOPPING=1");
	log_info("stopping");
	runner->phase = RUNNER_STOPPING;
	loop_timer_set(runner->restart, LOOP_NEVER_US);
	if (runner->keeper.pid == 0) {
		runner_kill_child(&runner->link);
		runner_finish_if_done(runner);
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
		r = loop_timer_new(runner.loop, runner_start_missing, &runner, &runner.restart);
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
		runner_start_missing(&runner);
		on_watchdog(&runner);
		r = loop_run(runner.loop);
	} else {
		log_err("cannot start: %s", strerror(-r));
		r = EXIT_FAILURE;
	}
	runner_kill_child(&runner.keeper);
	runner_kill_child(&runner.link);
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
