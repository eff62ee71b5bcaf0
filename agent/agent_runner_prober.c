/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prober's life. There is one while the configuration has something for it; whenever it or the
 * engine is a new one, both get an end of a new channel between them.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent_runner_private.h"
#include "agent/probe_msg.h"
#include "agent/prober.h"
#include "shared/log.h"

#define USER_NAME "tandem-probe"
#define PROGRAM "tandem-prober"
#define RESTART_WAIT_US 100000 /* doubles with each prober that does not live for long */
#define RESTART_DOUBLINGS_MAX 6
#define LONG_LIFE_US 10000000

static void start(struct agent_runner *r);

static void wait_for_beat(struct runner_prober *p, uint64_t now_us)
{
	p->doubted = false;
	loop_timer_set(p->beat_timer, now_us + PROBER_SILENCE_US);
}

static void on_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct agent_runner *r = ctx;

	(void)payload;
	if (fd >= 0)
		close(fd);
	if (type == PROBE_MSG_BEAT && size == 0 && fd < 0) {
		wait_for_beat(&r->prober, loop_now_us(r->loop));
		return;
	}
	log_err("the prober sent a message that means nothing (type %u): it is stopped", type);
	kill(r->prober.pid, SIGKILL);
}

/* Its end is told by its pidfd. */
static void on_closed(void *ctx, int reason)
{
	struct agent_runner *r = ctx;

	if (reason && reason != -ECONNRESET && r->prober.pid) {
		log_err("the prober's channel broke: %s", strerror(-reason));
		kill(r->prober.pid, SIGKILL);
	}
}

static void on_beat_timer(void *ctx)
{
	struct agent_runner *r = ctx;

	/* It may be this process that was late: what is queued is read before it counts. */
	if (!r->prober.doubted) {
		r->prober.doubted = true;
		loop_timer_set(r->prober.beat_timer, loop_now_us(r->loop));
		return;
	}
	log_err("the prober has not beaten for %d ms: it is killed", PROBER_SILENCE_US / 1000);
	kill(r->prober.pid, SIGKILL);
}

static void on_end(void *ctx, pid_t pid, int wait_status)
{
	struct agent_runner *r = ctx;
	struct runner_prober *p = &r->prober;
	const struct run_result result = {.wait_status = wait_status};
	uint64_t now_us = loop_now_us(r->loop);
	char how[64];

	run_describe(&result, how, sizeof how);
	p->child = loop_child_remove(p->child);
	p->channel = msg_channel_free(p->channel);
	p->pid = 0;
	loop_timer_set(p->beat_timer, LOOP_NEVER_US);
	if (now_us - p->started_us >= LONG_LIFE_US)
		p->doublings = 0;
	log_err("the prober (process %d) ended: %s; another one starts", (int)pid, how);
	loop_timer_set(p->restart_timer,
		       p->doublings ? now_us + ((uint64_t)RESTART_WAIT_US << p->doublings)
				    : now_us);
	if (p->doublings < RESTART_DOUBLINGS_MAX)
		p->doublings++;
}

static void on_restart_timer(void *ctx)
{
	start(ctx);
}

/* Beside this program, as in a build folder, or where `make install` puts it. */
static const char *find_program(char *room, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", room, size - sizeof "/" PROGRAM);
	char *slash;

	if (length > 0) {
		room[length] = '\0';
		slash = strrchr(room, '/');
		memcpy(slash ? slash : room, "/" PROGRAM, sizeof "/" PROGRAM);
		if (!access(room, X_OK))
			return room;
	}
	return TANDEM_LIBEXECDIR "/" PROGRAM;
}

/* In the child, which never comes back from here. */
static _Noreturn void become_prober(const struct agent_runner *r, int channel_fd)
{
	const struct log_options log = agent_runner_log_options(r, agent_runner_conf(r));
	char argument[64], room[4096], name[] = PROGRAM;
	char *argv[] = {name, argument, NULL};
	const char *program = find_program(room, sizeof room);
	int keep = PROBER_CHANNEL_FD;
	sigset_t none;

	/* dup2() of a descriptor onto itself would leave it to be closed. */
	if (channel_fd == PROBER_CHANNEL_FD)
		channel_fd = dup(channel_fd);
	if (dup2(channel_fd, PROBER_CHANNEL_FD) < 0)
		_exit(1);
	priv_close_fds(&keep, 1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(argument, sizeof argument, PROBER_ARGUMENT, (unsigned)r->prober.user.uid,
		 (unsigned)r->prober.user.gid, (unsigned)log.to_syslog, log.facility, log.level);
	execv(program, argv);
	log_err("%s cannot be executed: %s; install it whole again", program, strerror(errno));
	_exit(127);
}

static int fork_prober(struct agent_runner *r)
{
	const struct msg_handlers handlers = {
		.on_message = on_message, .on_closed = on_closed, .ctx = r};
	struct runner_prober *p = &r->prober;
	pid_t pid = agent_runner_fork(r, become_prober, PROBE_MSG_QUEUE_BYTES, &handlers, on_end,
				      &p->channel, &p->child);

	if (pid < 0)
		return pid;
	p->pid = pid;
	return 0;
}

static void start(struct agent_runner *r)
{
	struct runner_prober *p = &r->prober;
	bool stand_in;
	int error = priv_user_find(USER_NAME, &p->user, &stand_in);

	if (error)
		log_err("no account %s and no number to stand in for it: %s", USER_NAME,
			strerror(-error));
	else if (stand_in && !p->started_us)
		log_info("there is no account %s: the prober runs as number %u", USER_NAME,
			 (unsigned)p->user.uid);
	if (!error)
		error = fork_prober(r);
	if (error) {
		log_err("no prober can be started: %s; trying again", strerror(-error));
		loop_timer_set(p->restart_timer,
			       loop_now_us(r->loop) + (RESTART_WAIT_US << RESTART_DOUBLINGS_MAX));
		return;
	}
	p->started_us = loop_refresh_us(r->loop);
	wait_for_beat(p, p->started_us);
	agent_runner_prober_connect(r);
}

int agent_runner_prober_init(struct agent_runner *r)
{
	int error = loop_timer_new(r->loop, on_beat_timer, r, &r->prober.beat_timer);

	return error ? error
		     : loop_timer_new(r->loop, on_restart_timer, r, &r->prober.restart_timer);
}

void agent_runner_prober_connect(struct agent_runner *r)
{
	int fds[2], error;

	if (!r->prober.channel || !r->channel)
		return;
	error = msg_pair(fds);
	if (!error) {
		error = msg_send(r->prober.channel, PROBE_MSG_ENGINE, NULL, 0, fds[0]);
		if (!error)
			agent_runner_send(r, RUNNER_MSG_PROBER, NULL, fds[1]);
		close(fds[0]);
		close(fds[1]);
	}
	if (error)
		log_err("the engine and the prober cannot be brought together: %s",
			strerror(-error));
}

void agent_runner_prober_stop(struct agent_runner *r)
{
	struct runner_prober *p = &r->prober;

	loop_timer_set(p->restart_timer, LOOP_NEVER_US);
	loop_timer_set(p->beat_timer, LOOP_NEVER_US);
	if (!p->pid)
		return;
	/* It has nothing to put in order. */
	p->child = loop_child_remove(p->child);
	p->channel = msg_channel_free(p->channel);
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	p->pid = 0;
	p->doublings = 0;
}

void agent_runner_prober_apply(struct agent_runner *r)
{
	if (!conf_wants_prober(agent_runner_conf(r)))
		agent_runner_prober_stop(r);
	else if (!r->prober.pid && loop_timer_deadline_us(r->prober.restart_timer) == LOOP_NEVER_US)
		start(r);
}

void agent_runner_prober_release(struct agent_runner *r)
{
	if (!r->prober.restart_timer)
		return;
	agent_runner_prober_stop(r);
	loop_timer_free(r->prober.beat_timer);
	loop_timer_free(r->prober.restart_timer);
}
