/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent_maintenance.h"
#include "agent/agent_runner_private.h"
#include "shared/ctl.h"
#include "shared/durable.h"
#include "shared/log.h"
#include "shared/notify.h"

#define LOCK_NAME "agent.lock"
#define LISTEN_TRIES 50
#define LISTEN_GAP_NS 20000000
#define USER_NAME "tandem-agent"
#define LEAVE_MARGIN_US 3000000 /* beyond stop_wait, until a leaving engine is killed */

static void on_reload_signal(void *ctx, const struct signalfd_siginfo *info)
{
	struct agent_runner *r = ctx;

	(void)info;
	if (!r->leaving)
		agent_runner_reload(r, 0);
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
		agent_runner_finish(r);
		return;
	}
	agent_runner_send(r, RUNNER_MSG_LEAVE, NULL, -1);
	loop_timer_set(r->leave_timer, loop_now_us(r->loop) +
					       longest_stop_us(agent_runner_conf(r)) +
					       LEAVE_MARGIN_US);
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
	error = agent_maintenance_read(r->options.state_dir, &r->maintenance);
	if (error)
		log_err("%s: whether this is maintenance cannot be read: %s", r->options.state_dir,
			strerror(-error));
	else if (r->maintenance)
		log_warn("in maintenance: addresses are held only where no other node answers");
	error = agent_estate_new(r->options.run_dir, &r->estate);
	if (!error)
		error = agent_runner_load_first(r);
	if (error)
		return error;
	agent_runner_logging(r, agent_runner_conf(r));
	if (stand_in)
		log_info("there is no account %s: the engine runs as number %u", USER_NAME,
			 (unsigned)r->user.uid);
	snprintf(path, sizeof path, "%s/" AGENT_RUNNER_SOCKET, r->options.run_dir);
	/* The lock is ours, so whoever still listens is the engine of an agent that was killed, on
	 * its way out. */
	for (int tries = 0; tries < LISTEN_TRIES; tries++) {
		error = ctl_listen(path, agent_runner_conf(r)->control_group, &r->listen_fd);
		if (error != -EADDRINUSE)
			break;
		nanosleep(&(struct timespec){.tv_nsec = LISTEN_GAP_NS}, NULL);
	}
	if (error)
		log_err("%s: %s", path, strerror(-error));
	return error;
}

static void release(struct agent_runner *r)
{
	char path[4096];

	agent_hooks_free(r->hooks);
	for (int i = 0; i < CONF_CHECKS_MAX; i++)
		run_abandon(r->restarts[i].run);
	loop_timer_free(r->beat_timer);
	loop_timer_free(r->restart_timer);
	loop_timer_free(r->leave_timer);
	agent_runner_prober_release(r);
	loop_child_remove(r->engine_child);
	if (r->listen_fd >= 0) {
		snprintf(path, sizeof path, "%s/" AGENT_RUNNER_SOCKET, r->options.run_dir);
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
	agent_runner_logging(r, &before);
	error = prepare(r);
	if (error)
		goto out;
	error = loop_new(&r->loop);
	if (!error)
		error = loop_timer_new(r->loop, agent_runner_on_beat_timer, r, &r->beat_timer);
	if (!error)
		error = loop_timer_new(r->loop, agent_runner_on_restart_timer, r,
				       &r->restart_timer);
	if (!error)
		error = loop_timer_new(r->loop, on_leave_timer, r, &r->leave_timer);
	if (!error)
		error = agent_hooks_new(r->loop, agent_runner_on_hook, r, &r->hooks);
	if (!error)
		error = agent_runner_prober_init(r);
	if (!error)
		error = add_signals(r);
	if (error) {
		log_err("cannot start: %s", strerror(-error));
		goto out;
	}
	r->began_us = loop_now_us(r->loop);
	r->watchdog_us = notify_watchdog_us();
	log_notice("tandem-agent %s starts as %s of %s", TANDEM_VERSION, r->node,
		   agent_runner_conf(r)->cluster);
	agent_runner_start_engine(r, false);
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

	if (!error) {
		conf_host_check(snapshot.conf, &problems);
		conf_read_secrets(snapshot.conf, &problems);
	}
	if (error && !problems.errors)
		fprintf(stderr, "%s: %s\n", options->config, strerror(-error));
	conf_problems_print(&problems, options->config, stderr);
	error = error || problems.errors ? 1 : 0;
	conf_snapshot_release(&snapshot);
	conf_problems_release(&problems);
	return error;
}
