/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lives of keeper and link. The two share a channel whose ends the runner has handed out: when
 * the keeper ends the link is begun anew too, when the link ends the keeper gets another.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "shared/log.h"
#include "shared/notify.h"
#include "shared/priv.h"
#include "shared/wire.h"
#include "syncd/identity.h"
#include "syncd/keeper.h"
#include "syncd/keeper_msg.h"
#include "syncd/link.h"
#include "syncd/runner_private.h"

#define RESTART_FIRST_US (100 * 1000ull) /* doubles with each death in a row */
#define RESTART_LAST_US (5 * 1000000ull)
#define RESTART_CALM_US (60 * 1000000ull)

/* In a child: it has nothing of the runner's but what it is to keep, and ends with it. */
static void enter_child(const char *name, pid_t parent, int *keep, size_t keep_count)
{
	/* Before the descriptors go, syslog's among them. */
	closelog();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		_exit(EXIT_FAILURE);
	log_set_process(name);
	priv_close_fds(keep, keep_count);
}

static void child_gone(struct runner_child *child)
{
	if (child->watch)
		child->watch = loop_child_remove(child->watch);
	child->channel = msg_channel_free(child->channel);
	child->pid = 0;
}

void runner_kill_child(struct runner_child *child)
{
	if (child->pid == 0)
		return;
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	child_gone(child);
}

static void note_death(struct runner *runner, struct runner_child *child, const char *name,
		       int status)
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

void runner_finish_if_done(struct runner *runner)
{
	if (runner->phase == RUNNER_STOPPING && runner->keeper.pid == 0 && runner->link.pid == 0)
		loop_quit(runner->loop, runner->status);
}

static void on_keeper_end(void *ctx, pid_t pid, int status)
{
	struct runner *runner = ctx;

	(void)pid;
	runner->keeper.watch = NULL;
	child_gone(&runner->keeper);
	runner_commands_abandon(runner->commands);
	loop_timer_set(runner->patience, LOOP_NEVER_US);
	/* The link's channel ended with the keeper; both begin anew. */
	runner_kill_child(&runner->link);
	switch (runner->phase) {
	case RUNNER_STOPPING:
		runner_finish_if_done(runner);
		return;
	case RUNNER_RELOADING:
		runner_take_next(runner);
		runner->keeper.delay_us = runner->link.delay_us = 0;
		runner_start_missing(runner);
		return;
	case RUNNER_RUNNING:
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
	child_gone(&runner->link);
	if (runner->phase == RUNNER_STOPPING) {
		runner_finish_if_done(runner);
		return;
	}
	if (runner->phase == RUNNER_RELOADING || runner->keeper.pid == 0)
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
		runner_reload(runner, true, ticket);
		return;
	case KEEPER_MSG_TRY:
		ticket = wire_get_u32(&r);
		if (!wire_reader_done(&r))
			break;
		runner_try(runner, ticket);
		return;
	default:
		break;
	}
	log_err("the keeper says something that makes no sense (message %u); it is ended", type);
	kill(runner->keeper.pid, SIGKILL);
}

static int adopt(struct runner *runner, struct runner_child *child, pid_t pid, int fd,
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
		runner_kill_child(child);
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

		enter_child("link", parent, keep, sizeof keep / sizeof *keep);
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

		enter_child("keeper", parent, keep, sizeof keep / sizeof *keep);
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

void runner_start_missing(void *ctx)
{
	struct runner *runner = ctx;
	int pair[2];
	int r;

	loop_timer_set(runner->restart, LOOP_NEVER_US);
	if (runner->phase != RUNNER_RUNNING)
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
