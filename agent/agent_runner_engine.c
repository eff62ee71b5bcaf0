/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent_maintenance.h"
#include "agent/agent_runner_private.h"
#include "agent/health_fsm.h"
#include "shared/log.h"
#include "shared/notify.h"
#include "shared/process.h"

#define DEATH_WINDOW_US 60000000
#define RESTART_WAIT_US 1000000 /* doubles with each further death in the window */
#define RESTART_DOUBLINGS_MAX 4
#define BEAT_BEHIND_MAX 10    /* limits without a beat, whatever the excuse */
#define FIRST_BEAT_US 2000000 /* of an engine that starts as new */
#define LOOK_AGAIN_US 10000   /* at an engine that does not beat and may not be to blame */
#define LATE_US 10000	      /* of our own timer: we were away ourselves */
#define HUNG_TICKS 3	      /* of its own time, without a beat */

void agent_runner_send(struct agent_runner *r, enum runner_msg type, const struct wire_writer *w,
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
	if (r->excused)
		log_warn("the engine beats again, after %llu ms",
			 (unsigned long long)(now_us - r->beat_us) / 1000);
	r->excused = false;
	r->was_late = false;
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
		/* It may have stood in the way of its heir's. */
		if (agent_estate_strip(r->estate, agent_runner_conf(r)) > 0)
			agent_estate_equip(r->estate, agent_runner_conf(r));
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
	case ENGINE_MSG_SOCKET_GONE:
		number = wire_get_u32(&in);
		good = wire_reader_done(&in);
		if (good)
			agent_estate_socket_gone(r->estate, number);
		break;
	case ENGINE_MSG_HEALTH:
		wire_get_string_into(&in, name, sizeof name);
		number = wire_get_u8(&in);
		good = wire_reader_done(&in) && number < HEALTH_STATES;
		if (good)
			remember_health(r, name, (uint8_t)number);
		break;
	case ENGINE_MSG_CHECK_RUN:
		good = agent_runner_start_check(r, &in);
		break;
	case ENGINE_MSG_GROUP_HOOK_RUN:
		good = agent_runner_queue_group_hook(r, &in);
		break;
	case ENGINE_MSG_RESTART_RUN:
		good = agent_runner_start_restart(r, &in);
		break;
	case ENGINE_MSG_HOOK_RUN:
		good = agent_runner_queue_hook(r, &in);
		break;
	case ENGINE_MSG_RELOAD:
		number = wire_get_u32(&in);
		good = wire_reader_done(&in);
		if (good)
			agent_runner_reload(r, number);
		break;
	case ENGINE_MSG_TRY:
		number = wire_get_u32(&in);
		good = wire_reader_done(&in);
		if (good)
			agent_runner_try(r, number);
		break;
	case ENGINE_MSG_RELEASE:
		number = wire_get_u32(&in);
		good = wire_reader_done(&in);
		if (good)
			agent_runner_release_before(r, number);
		break;
	case ENGINE_MSG_VMAC:
		good = agent_runner_make_vmac(r, &in);
		break;
	case ENGINE_MSG_MAINTENANCE:
		good = agent_runner_set_maintenance(r, &in);
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

/* A silent engine that sleeps or is stopped hangs, and so does one that spends its time in its own
 * code. One that is starved of the processor, or waits in the kernel for the lock of all network
 * configuration (the teardown of somebody's containers holds it, and the wait is a sleep or a
 * spin), is as well as ever: a kill would end it no sooner than the wait, and then the address
 * would go. */
static bool is_hung(struct agent_runner *r)
{
	struct process engine;

	if (process_read(r->engine, &engine) || !strchr("RD", engine.state))
		return true;
	if (!r->excused)
		r->excused_ticks = engine.user_ticks;
	return engine.user_ticks - r->excused_ticks >= HUNG_TICKS;
}

void agent_runner_on_beat_timer(void *ctx)
{
	struct agent_runner *r = ctx;
	uint64_t silent_us = loop_now_us(r->loop) - r->beat_us;
	bool for_long = silent_us >= BEAT_BEHIND_MAX * r->beat_limit_us;

	if (!r->engine)
		return;
	/* Whoever stopped this process for a while has most likely stopped that one too, and it is
	 * a matter of luck who runs first afterwards. */
	if (silent_us > r->beat_limit_us + LATE_US && !r->was_late && !r->excused) {
		r->was_late = true;
		loop_timer_set(r->beat_timer,
			       loop_now_us(r->loop) + r->beat_limit_us / ENGINE_BEATS_MISSED_MAX);
		return;
	}
	/* It may be this process that was late. As long as a turn still brings messages, what is
	 * queued has not been read, and the beat may be among it; but not for ever. */
	if (r->messages_doubt != r->messages && !for_long) {
		r->messages_doubt = r->messages;
		loop_timer_set(r->beat_timer, loop_now_us(r->loop));
		return;
	}
	if (!for_long && !is_hung(r)) {
		if (!r->excused)
			log_warn("the engine has not beaten for %llu ms: it waits for the kernel",
				 (unsigned long long)silent_us / 1000);
		r->excused = true;
		loop_timer_set(r->beat_timer, loop_now_us(r->loop) + LOOK_AGAIN_US);
		return;
	}
	log_err("the engine has not beaten for %llu ms: it is killed",
		(unsigned long long)silent_us / 1000);
	kill(r->engine, SIGKILL);
}

static int group_of(const struct conf *conf, const struct agent_record *record)
{
	int place = conf_vrrp_index(conf, record->name);

	return place < 0 ? -1 : conf->vrrps[place].group;
}

/* Takes off and sends what a new engine cannot go on with. Those that move together go on together
 * or not at all (invariant A27). Returns how many routers are kept. */
static int settle_estate(struct agent_runner *r, bool may_resume)
{
	const struct conf *conf = agent_runner_conf(r);
	bool goes_on[ENGINE_ROUTERS_MAX], broken[CONF_GROUPS_MAX] = {false};
	uint64_t now_us = loop_refresh_us(r->loop);

	for (int i = 0; i < agent_estate_count(r->estate); i++) {
		const struct agent_record *record = agent_estate_at(r->estate, i);
		int group = group_of(conf, record);

		goes_on[i] = may_resume && agent_estate_can_resume(record, conf, now_us);
		if (group >= 0 && record->addresses_count > 0 && !goes_on[i])
			broken[group] = true;
	}
	for (int i = agent_estate_count(r->estate) - 1; i >= 0; i--) {
		int group = group_of(conf, agent_estate_at(r->estate, i));

		if (!goes_on[i] || (group >= 0 && broken[group]))
			agent_estate_execute(r->estate, i);
	}
	agent_estate_trim(r->estate);
	return agent_estate_count(r->estate);
}

static bool too_many_deaths(struct agent_runner *r, uint64_t now_us)
{
	r->deaths_us[r->deaths_count++ % AGENT_RUNNER_DEATHS_MAX] = now_us;
	return r->deaths_count >= AGENT_RUNNER_DEATHS_MAX &&
	       now_us - r->deaths_us[r->deaths_count % AGENT_RUNNER_DEATHS_MAX] < DEATH_WINDOW_US;
}

void agent_runner_finish(struct agent_runner *r)
{
	settle_estate(r, false);
	agent_runner_sweep(r, agent_runner_conf(r));
	agent_estate_strip(r->estate, NULL);
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
	for (int i = 0; i < CONF_CHECKS_MAX; i++) {
		r->checks[i].run = run_abandon(r->checks[i].run);
		/* A restart goes on: half of one is worse than none. */
		r->restarts[i].id = 0;
	}
	if (r->leaving) {
		if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status))
			log_err("the engine (process %d) ended while it left: %s", (int)pid, how);
		agent_runner_finish(r);
		return;
	}
	spent = too_many_deaths(r, now_us);
	log_err("the engine (process %d) ended: %s", (int)pid, how);
	if (settle_estate(r, !spent)) {
		agent_runner_start_engine(r, true);
		return;
	}
	r->restart_doublings = spent ? r->restart_doublings + 1 : 0;
	if (r->restart_doublings > RESTART_DOUBLINGS_MAX)
		r->restart_doublings = RESTART_DOUBLINGS_MAX;
	if (!spent) {
		agent_runner_start_engine(r, false);
		return;
	}
	log_err("the engine has died %d times within %d s: nothing is gone on with, a new one "
		"starts in %llu s",
		AGENT_RUNNER_DEATHS_MAX, DEATH_WINDOW_US / 1000000,
		(unsigned long long)(RESTART_WAIT_US << (r->restart_doublings - 1)) / 1000000);
	loop_timer_set(r->restart_timer,
		       now_us + ((uint64_t)RESTART_WAIT_US << (r->restart_doublings - 1)));
}

/* While it is the runner that holds a new engine back, it feeds the watchdog itself. */
void agent_runner_on_restart_timer(void *ctx)
{
	struct agent_runner *r = ctx;

	if (r->leaving)
		return;
	if (r->watchdog_us)
		notify_service("WATCHDOG=1");
	agent_runner_start_engine(r, false);
}

static void hand_over_records(struct agent_runner *r)
{
	static uint8_t bytes[AGENT_RECORD_BYTES_MAX];
	const struct agent_estate_socket *socket;

	for (int i = 0; i < agent_estate_count(r->estate); i++) {
		struct wire_writer w;
		size_t size =
			agent_record_encode(agent_estate_at(r->estate, i), bytes, sizeof bytes);

		wire_writer_init(&w, bytes, sizeof bytes);
		w.at = size;
		agent_runner_send(r, RUNNER_MSG_RECORD, &w, -1);
	}
	for (int i = 0; (socket = agent_estate_socket_at(r->estate, i)); i++) {
		struct wire_writer w;

		wire_writer_init(&w, bytes, sizeof bytes);
		wire_put_u32(&w, socket->id);
		agent_runner_send(r, RUNNER_MSG_SOCKET, &w, socket->fd);
	}
	for (int i = 0; i < r->health_count; i++) {
		struct wire_writer w;

		wire_writer_init(&w, bytes, sizeof bytes);
		wire_put_string(&w, r->health[i].name, strlen(r->health[i].name));
		wire_put_u8(&w, r->health[i].state);
		agent_runner_send(r, RUNNER_MSG_HEALTH, &w, -1);
	}
}

static void tell_handed_over(struct agent_runner *r)
{
	const char *name;

	for (int i = 0; (name = agent_estate_handed_over(r->estate, i)); i++) {
		uint8_t bytes[CONF_NAME_BYTES_MAX + 8];
		struct wire_writer w;

		wire_writer_init(&w, bytes, sizeof bytes);
		wire_put_string(&w, name, strlen(name));
		agent_runner_send(r, RUNNER_MSG_HANDED_OVER, &w, -1);
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
	agent_runner_logging(r, agent_runner_conf(r));
	_exit(engine_main(&start));
}

pid_t agent_runner_fork(struct agent_runner *r, agent_become_fn become, size_t queue_bytes,
			const struct msg_handlers *handlers, loop_child_fn on_end,
			struct msg_channel **ret_channel, struct loop_child **ret_child)
{
	struct msg_channel *channel = NULL;
	int fds[2], error = msg_pair(fds);
	pid_t pid;

	if (error)
		return error;
	pid = fork();
	if (!pid)
		become(r, fds[1]);
	if (pid < 0)
		error = -errno;
	close(fds[1]);
	if (!error)
		error = msg_channel_new(r->loop, fds[0], queue_bytes, handlers, &channel);
	if (error)
		close(fds[0]);
	else
		error = loop_child_add(r->loop, pid, on_end, r, ret_child);
	if (!error) {
		*ret_channel = channel;
		return pid;
	}
	msg_channel_free(channel);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return error;
}

static int fork_engine(struct agent_runner *r)
{
	const struct msg_handlers handlers = {
		.on_message = on_message, .on_closed = on_closed, .ctx = r};
	pid_t pid = agent_runner_fork(r, become_engine, ENGINE_MSG_QUEUE_BYTES, &handlers,
				      on_engine_end, &r->channel, &r->engine_child);

	if (pid < 0)
		return pid;
	r->engine = pid;
	return 0;
}

static void tell_start(struct agent_runner *r)
{
	uint8_t bytes[8];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u64(&w, r->began_us);
	agent_runner_send(r, RUNNER_MSG_START, &w, -1);
}

void agent_runner_start_engine(struct agent_runner *r, bool resume)
{
	uint64_t now_us;
	int error;

	agent_runner_sweep(r, agent_runner_conf(r));
	if (!resume)
		r->health_count = 0;
	error = fork_engine(r);
	if (error) {
		log_err("no engine can be started: %s; trying again in a second", strerror(-error));
		settle_estate(r, false);
		loop_timer_set(r->restart_timer, loop_now_us(r->loop) + RESTART_WAIT_US);
		return;
	}
	agent_runner_release_before(r, agent_runner_snapshot(r)->conf.number);
	agent_runner_send_snapshot(r);
	if (resume)
		hand_over_records(r);
	tell_handed_over(r);
	/* Before its checks begin. */
	if (r->prober.pid)
		agent_runner_prober_connect(r);
	else
		agent_runner_prober_apply(r);
	if (r->maintenance)
		agent_runner_tell_maintenance(r, 0, "");
	/* From now on the new engine's records count. */
	tell_start(r);
	agent_hooks_repeat(r->hooks);
	now_us = loop_refresh_us(r->loop);
	r->beat_us = now_us;
	r->excused = false;
	r->was_late = false;
	r->messages_doubt = 0;
	r->messages = 1; /* so that the first look at a silent engine is not the last */
	loop_timer_set(r->beat_timer, now_us + (resume ? r->beat_limit_us : FIRST_BEAT_US));
}
