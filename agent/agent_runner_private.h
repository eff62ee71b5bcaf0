/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_runner_private: what the files of the agent's runner share; nobody else includes this.
 *
 *   agent_runner.c          start, signals, the end
 *   agent_runner_conf.c     the configuration and its snapshots
 *   agent_runner_engine.c   the engine's life
 *   agent_runner_commands.c what it asks for
 *   agent_runner_prober.c   the prober's life
 */
#ifndef TANDEM_AGENT_RUNNER_PRIVATE_H
#define TANDEM_AGENT_RUNNER_PRIVATE_H

#include "agent/agent_estate.h"
#include "agent/agent_hooks.h"
#include "agent/agent_runner.h"
#include "agent/agent_snapshot.h"
#include "agent/engine.h"
#include "agent/engine_msg.h"
#include "shared/log.h"
#include "shared/loop.h"
#include "shared/msg.h"
#include "shared/priv.h"
#include "shared/run.h"
#include "shared/wire.h"

#define AGENT_RUNNER_SOCKET "agent.sock"
#define AGENT_RUNNER_SNAPSHOTS_MAX 8 /* in use at one time: routers of older ones still leave */
#define AGENT_RUNNER_DEATHS_MAX 3    /* of engines within a minute, and nothing is gone on with */

struct check_run {
	struct agent_runner *runner;
	struct run *run; /* NULL: free */
	uint32_t id;
	char name[CONF_NAME_BYTES_MAX + 1]; /* of a restart: its check */
};

struct runner_prober {
	struct priv_user user;
	pid_t pid; /* 0: none */
	struct loop_child *child;
	struct msg_channel *channel;
	struct loop_timer *beat_timer, *restart_timer;
	bool doubted;	     /* its beat is overdue, and one more turn is waited for */
	uint64_t started_us; /* 0: never */
	int doublings;
};

struct agent_runner {
	struct agent_options options;
	struct loop *loop;
	struct agent_estate *estate;
	struct agent_hooks *hooks;
	struct agent_snapshot
		*snapshots[AGENT_RUNNER_SNAPSHOTS_MAX]; /* oldest first; the last one counts */
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
	bool was_late;		 /* we were away, and gave it another beat */
	bool excused;		 /* it is silent, and does not hang as far as can be seen */
	uint64_t excused_ticks;	 /* of its own time that it had spent by then */
	uint64_t began_us;	 /* the agent, not its engine */
	bool ready;		 /* READY=1 was said */
	uint64_t watchdog_us, watchdog_told_us;
	uint64_t deaths_us[AGENT_RUNNER_DEATHS_MAX]; /* the latest, as a ring */
	unsigned deaths_count;
	int restart_doublings;
	struct loop_timer *restart_timer;
	struct check_run checks[CONF_CHECKS_MAX];
	struct check_run restarts[CONF_CHECKS_MAX]; /* id 0: of an engine that has gone */
	struct {
		char name[CONF_NAME_BYTES_MAX + 1];
		uint8_t state;
	} health[CONF_CHECKS_MAX];
	int health_count;

	struct runner_prober prober;

	bool maintenance; /* as the file in the state directory says */
	bool leaving;	  /* SIGTERM has come */
	bool left;	  /* and the engine has gone */
	struct loop_timer *leave_timer;
};

/* agent_runner_conf.c */
struct agent_snapshot *
agent_runner_snapshot(const struct agent_runner *r); /* the one that counts */
const struct conf *agent_runner_conf(const struct agent_runner *r);
struct agent_snapshot *agent_runner_numbered(const struct agent_runner *r, uint32_t number);
struct log_options agent_runner_log_options(const struct agent_runner *r, const struct conf *conf);
void agent_runner_logging(const struct agent_runner *r, const struct conf *conf);
/* Takes off addresses of ours that are left; only while no engine runs. */
void agent_runner_sweep(struct agent_runner *r, const struct conf *conf);
/* Waits for the address that says which node this is. */
int agent_runner_load_first(struct agent_runner *r);
/* request: whom to answer on the control socket; 0: nobody. */
void agent_runner_reload(struct agent_runner *r, uint32_t request);
/* Reads and checks the file as a reload would, and tells the engine what it says. */
void agent_runner_try(struct agent_runner *r, uint32_t request);
void agent_runner_send_snapshot(struct agent_runner *r);
/* Older snapshots than number serve nobody any more. */
void agent_runner_release_before(struct agent_runner *r, uint32_t number);

/* agent_runner_engine.c */
void agent_runner_send(struct agent_runner *r, enum runner_msg type, const struct wire_writer *w,
		       int fd);
/* In a child, with its end of the channel to the runner; never comes back. */
typedef void (*agent_become_fn)(const struct agent_runner *r, int channel_fd);
/* Forks a process that becomes what it is told, watches it, and returns its pid; or a negative
 * errno, with nothing left of it. */
pid_t agent_runner_fork(struct agent_runner *r, agent_become_fn become, size_t queue_bytes,
			const struct msg_handlers *handlers, loop_child_fn on_end,
			struct msg_channel **ret_channel, struct loop_child **ret_child);
/* resume: the records go with it. */
void agent_runner_start_engine(struct agent_runner *r, bool resume);
/* No engine runs any more, and none shall. */
void agent_runner_finish(struct agent_runner *r);
void agent_runner_on_beat_timer(void *ctx);
void agent_runner_on_restart_timer(void *ctx);

/* agent_runner_commands.c: false: the message means nothing. */
bool agent_runner_start_check(struct agent_runner *r, struct wire_reader *in);
bool agent_runner_start_restart(struct agent_runner *r, struct wire_reader *in);
bool agent_runner_queue_hook(struct agent_runner *r, struct wire_reader *in);
bool agent_runner_queue_group_hook(struct agent_runner *r, struct wire_reader *in);
bool agent_runner_make_vmac(struct agent_runner *r, struct wire_reader *in);
bool agent_runner_set_maintenance(struct agent_runner *r, struct wire_reader *in);
/* request: whom the engine shall answer; 0: nobody. */
void agent_runner_tell_maintenance(struct agent_runner *r, uint32_t request, const char *error);
void agent_runner_on_hook(void *ctx, const struct agent_hook_report *report);

/* agent_runner_prober.c */
int agent_runner_prober_init(struct agent_runner *r);
/* Starts or stops it, as the snapshot that counts wants it. */
void agent_runner_prober_apply(struct agent_runner *r);
/* Gives it and the engine a channel; nothing if one of the two is missing. */
void agent_runner_prober_connect(struct agent_runner *r);
void agent_runner_prober_stop(struct agent_runner *r);
void agent_runner_prober_release(struct agent_runner *r);

#endif
