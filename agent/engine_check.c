/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/engine_private.h"
#include "shared/log.h"
#include "shared/process.h"

/* A process that was seen to die is looked for so often, until the check has made up its mind: what
 * is certain need not wait for the next interval, and a binary upgrade writes its pid file in less.
 */
#define RECHECK_US 20000
/* A pid file older than the process that it names, by more than a clock may err. */
#define STALE_SLACK_NS 2000000000u

struct pid_file {
	int pid;
	uint64_t mtime_ns, inode;
};

static void on_timer(void *ctx);

static struct health_conf health_conf_of(const struct conf_check *conf)
{
	return (struct health_conf){
		.fall = conf->fall,
		.rise = conf->rise,
		.init_fail = conf->init_fail,
		.grace_us = conf->grace_us,
		.restarts_max = conf->restart.argv ? conf->restart_limit : 0,
		.restart_first = conf->restart_first,
	};
}

int engine_check_new(struct engine *engine, struct agent_snapshot *snapshot, int place,
		     struct engine_check **ret_check)
{
	struct engine_check *check = calloc(1, sizeof *check);
	struct health_conf conf;
	int error;

	if (!check)
		return -ENOMEM;
	error = loop_timer_new(engine->loop, on_timer, check, &check->timer);
	if (!error)
		error = loop_timer_new(engine->loop, engine_probe_on_guard, check, &check->guard);
	if (error) {
		loop_timer_free(check->timer);
		free(check);
		return error;
	}
	check->engine = engine;
	check->pidfd = -1;
	check->snapshot = agent_snapshot_hold(snapshot);
	check->place = place;
	check->conf = &snapshot->conf.conf->checks[place];
	conf = health_conf_of(check->conf);
	health_fsm_init(&check->health, &conf, loop_now_us(engine->loop));
	if (check->conf->kind == CONF_CHECK_NAMED)
		error = engine_named_new(check, &check->named);
	else if (check->conf->kind == CONF_CHECK_FILE)
		error = engine_file_new(check, &check->file);
	if (error) {
		engine_check_free(check);
		return error;
	}
	*ret_check = check;
	return 0;
}

static void forget_process(struct engine_check *check)
{
	check->source = loop_fd_remove(check->source);
	if (check->pidfd >= 0)
		close(check->pidfd);
	check->pidfd = -1;
}

struct engine_check *engine_check_free(struct engine_check *check)
{
	if (!check)
		return NULL;
	forget_process(check);
	engine_named_free(check->named);
	engine_file_free(check->file);
	if (check->conf->probe.target)
		engine_probe_drop(check);
	loop_timer_free(check->timer);
	loop_timer_free(check->guard);
	free(check->failed_words);
	agent_snapshot_drop(check->snapshot);
	free(check);
	return NULL;
}

struct engine_check *engine_check_find(const struct engine *engine, const char *name)
{
	for (struct engine_check *check = engine->checks; check; check = check->next)
		if (!strcmp(check->conf->name, name))
			return check;
	return NULL;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool same_probe(const struct conf_probe *a, const struct conf_probe *b)
{
	if (!same_text(a->target, b->target) || !same_text(a->body, b->body) ||
	    a->http != b->http || a->redirects != b->redirects || a->verify != b->verify ||
	    a->statuses_count != b->statuses_count)
		return false;
	for (int i = 0; i < a->statuses_count; i++)
		if (a->statuses[i].first != b->statuses[i].first ||
		    a->statuses[i].last != b->statuses[i].last)
			return false;
	return true;
}

bool engine_check_is(const struct engine_check *check, const struct conf_check *conf)
{
	const int self = check->snapshot->conf.conf->self;

	return check->conf->kind == conf->kind && same_text(check->conf->name, conf->name) &&
	       same_text(check->conf->process, conf->process) &&
	       same_text(check->conf->process_name, conf->process_name) &&
	       check->conf->quorum == conf->quorum &&
	       same_text(check->conf->interfaces[self], conf->interfaces[self]) &&
	       same_text(check->conf->file, conf->file) &&
	       same_text(check->conf->instance, conf->instance) &&
	       check->conf->instance_state == conf->instance_state &&
	       same_text(check->conf->script.text, conf->script.text) &&
	       same_text(check->conf->script.user, conf->script.user) &&
	       same_probe(&check->conf->probe, &conf->probe);
}

void engine_check_reload(struct engine_check *check, struct agent_snapshot *snapshot, int place)
{
	struct agent_snapshot *old = check->snapshot;
	struct health_conf conf;
	uint64_t next_us = loop_timer_deadline_us(check->timer);
	uint64_t latest_us;

	check->snapshot = agent_snapshot_hold(snapshot);
	check->place = place;
	check->conf = &snapshot->conf.conf->checks[place];
	conf = health_conf_of(check->conf);
	health_fsm_reconfigure(&check->health, &conf);
	latest_us = loop_now_us(check->engine->loop) + check->conf->interval_us;
	if (next_us != LOOP_NEVER_US && next_us > latest_us)
		loop_timer_set(check->timer, latest_us);
	agent_snapshot_drop(old);
}

bool engine_check_is_fault(const struct engine_router *router, const struct conf_track *track)
{
	const struct conf *conf = router->snapshot->conf.conf;

	return conf->checks[track->check].kind == CONF_CHECK_INTERFACE && track->weight == 0;
}

const struct engine_check *engine_check_fault(const struct engine_router *router)
{
	for (int i = 0; i < router->conf->tracks_count; i++) {
		const struct conf_track *track = &router->conf->tracks[i];
		const struct engine_check *check;

		if (!engine_check_is_fault(router, track))
			continue;
		check = engine_check_find(router->engine,
					  router->snapshot->conf.conf->checks[track->check].name);
		if (check && check->health.state == (track->reverse ? HEALTH_UP : HEALTH_DOWN))
			return check;
	}
	return NULL;
}

void engine_check_weigh(struct engine_check *check)
{
	struct engine *engine = check->engine;

	if (engine->applying)
		return;
	for (struct engine_router *router = engine->routers; router; router = router->next) {
		if (!router->started || router->stopped ||
		    !engine_router_tracks(router, check->conf->name))
			continue;
		/* Not at once: the router whose state the check follows is in the middle of a
		 * step, and a router that looks may well be the same one. */
		if (check->conf->kind == CONF_CHECK_INTERFACE) {
			engine->look_due = true;
			engine_soon(engine);
		}
		if (check->conf->kind == CONF_CHECK_INSTANCE) {
			router->health_due = true;
			engine_soon(engine);
		} else {
			engine_router_health(router);
		}
	}
}

static uint32_t next_run(struct engine *engine)
{
	if (++engine->next_run == 0)
		engine->next_run = 1; /* 0 is none */
	return engine->next_run;
}

/* What is to be run of the check, by its place in the snapshot. */
static void ask_run(struct engine_check *check, enum engine_msg type, uint32_t run)
{
	uint8_t bytes[16];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, check->snapshot->conf.number);
	wire_put_u16(&w, (uint16_t)check->place);
	wire_put_u32(&w, run);
	engine_tell(check->engine, type, &w, -1);
}

static void restart_if_due(struct engine_check *check)
{
	struct engine *engine = check->engine;

	if (engine->runner_gone || engine->leaving ||
	    !health_fsm_restart(&check->health, loop_now_us(engine->loop)))
		return;
	log_notice("check %s: restart %d of %d%s", check->conf->name, check->health.restarts,
		   check->conf->restart_limit,
		   check->health.state == HEALTH_UP ? ", before it counts as failed" : "");
	check->restart_run = next_run(engine);
	ask_run(check, ENGINE_MSG_RESTART_RUN, check->restart_run);
}

void engine_check_restarted(struct engine_check *check, bool good, const char *words)
{
	check->restart_run = 0;
	check->restart_good = good;
	snprintf(check->restart_words, sizeof check->restart_words, "%s", words);
	health_fsm_restarted(&check->health, loop_now_us(check->engine->loop));
	if (health_fsm_given_up(&check->health))
		log_warn("check %s: that was the last restart for now (restart_limit = %d)",
			 check->conf->name, check->conf->restart_limit);
	on_timer(check); /* did it help? */
}

/* A check that is well again says no more why it was not. */
static void note_failure(struct engine_check *check)
{
	check->failures++;
	check->failed_us = loop_now_us(check->engine->loop);
	if (!check->failed_words)
		check->failed_words = malloc(sizeof check->detail);
	if (check->failed_words)
		memcpy(check->failed_words, check->detail, sizeof check->detail);
}

static void take_result(struct engine_check *check, enum health_result what)
{
	struct engine *engine = check->engine;
	enum health_state before = check->health.state;
	uint8_t bytes[CONF_NAME_BYTES_MAX + 8];
	struct wire_writer w;

	if (!health_fsm_result(&check->health, what, loop_now_us(engine->loop)))
		return;
	log_notice("check %s: %s -> %s: %s", check->conf->name, health_fsm_state_name(before),
		   health_fsm_state_name(check->health.state), check->detail);
	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_string(&w, check->conf->name, strlen(check->conf->name));
	wire_put_u8(&w, (uint8_t)check->health.state);
	engine_tell(engine, ENGINE_MSG_HEALTH, &w, -1);
	engine_check_weigh(check);
}

void engine_check_result(struct engine_check *check, enum health_result what)
{
	uint64_t end_us;

	if (what != HEALTH_OK)
		note_failure(check);
	/* The routers know before the restart is asked for: the address moves first. */
	take_result(check, what);
	restart_if_due(check);
	end_us = health_fsm_grace_end_us(&check->health);
	if (end_us > loop_now_us(check->engine->loop) &&
	    end_us < loop_timer_deadline_us(check->timer))
		loop_timer_set(check->timer, end_us);
}

/* ---- a process, by its pid file ---- */

static int read_pid_file(struct engine_check *check, struct pid_file *ret_file)
{
	/* Not blocking, for who puts a fifo there; no more than a number is ever read. */
	int fd = open(check->conf->process, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char text[32], *end;
	struct stat st;
	ssize_t size;
	long pid;

	if (fd < 0) {
		snprintf(check->detail, sizeof check->detail, "%s: %s", check->conf->process,
			 strerror(errno));
		return -1;
	}
	size = read(fd, text, sizeof text - 1);
	if (fstat(fd, &st) || size < 0) {
		snprintf(check->detail, sizeof check->detail, "%s: %s", check->conf->process,
			 strerror(errno));
		close(fd);
		return -1;
	}
	close(fd);
	text[size] = '\0';
	errno = 0;
	pid = strtol(text, &end, 10);
	while (*end == '\n' || *end == ' ' || *end == '\r' || *end == '\t')
		end++;
	if (end == text || *end || errno || pid < 1 || pid > INT32_MAX) {
		snprintf(check->detail, sizeof check->detail, "%s holds no process number",
			 check->conf->process);
		return -1;
	}
	ret_file->pid = (int)pid;
	ret_file->inode = (uint64_t)st.st_ino;
	ret_file->mtime_ns =
		(uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
	return 0;
}

/* nginx and /run/nginx.pid, php-fpm8.2 and /run/php/php8.2-fpm.pid. */
static bool names_resemble(const char *path, const char *comm)
{
	const char *base = strrchr(path, '/');
	char head[4] = {0};

	base = base ? base + 1 : path;
	memcpy(head, comm, strnlen(comm, 3));
	return strstr(base, head) != NULL;
}

/* Did the process start after its pid file was written? Only the wall clock can tell, and somebody
 * may have set it since, so this alone proves nothing. */
static bool is_younger(const struct pid_file *file, const struct process *process)
{
	struct timespec wall, boot;
	long ticks_per_s = sysconf(_SC_CLK_TCK);
	int64_t age_ns, started_ns;

	if (ticks_per_s <= 0 || clock_gettime(CLOCK_REALTIME, &wall) ||
	    clock_gettime(CLOCK_BOOTTIME, &boot))
		return false;
	age_ns = boot.tv_sec * 1000000000ll + boot.tv_nsec -
		 (int64_t)(process->start_ticks * (1000000000u / (uint64_t)ticks_per_s));
	started_ns = wall.tv_sec * 1000000000ll + wall.tv_nsec - age_ns;
	return started_ns > (int64_t)(file->mtime_ns + STALE_SLACK_NS);
}

bool engine_check_ended(int pidfd)
{
	struct pollfd ready = {.fd = pidfd, .events = POLLIN};

	return poll(&ready, 1, 0) == 1;
}

/* Is this number somebody else's by now? Where we have seen the process before: the same file, and
 * another start. Otherwise: younger than the file, and of another name. */
static bool is_stale(const struct engine_check *check, const struct pid_file *file,
		     const struct process *process)
{
	if (check->pid == file->pid && check->file_inode == file->inode &&
	    check->file_mtime_ns == file->mtime_ns)
		return check->pid_start != process->start_ticks;
	return is_younger(file, process) && !names_resemble(check->conf->process, process->comm);
}

static void on_process_end(void *ctx, int fd, uint32_t events);

static enum health_result look_at_process(struct engine_check *check)
{
	struct pid_file file;
	struct process process;
	int pidfd, error;

	if (read_pid_file(check, &file)) {
		forget_process(check);
		return HEALTH_FAILED;
	}
	if (check->pidfd >= 0 && check->pid == file.pid && !engine_check_ended(check->pidfd))
		return HEALTH_OK;
	forget_process(check);
	pidfd = (int)syscall(SYS_pidfd_open, file.pid, 0);
	if (pidfd < 0) {
		snprintf(check->detail, sizeof check->detail, "%s names process %d: %s",
			 check->conf->process, file.pid,
			 errno == ESRCH ? "there is none" : strerror(errno));
		return HEALTH_FAILED;
	}
	error = process_read(file.pid, &process);
	/* The descriptor came first: what it refers to is what was just read about, or has ended.
	 */
	if (error || engine_check_ended(pidfd)) {
		snprintf(check->detail, sizeof check->detail, "%s names process %d: it has ended",
			 check->conf->process, file.pid);
		close(pidfd);
		return HEALTH_FAILED;
	}
	if (is_stale(check, &file, &process)) {
		snprintf(check->detail, sizeof check->detail,
			 "%s is older than process %d (%s), which it names", check->conf->process,
			 file.pid, process.comm);
		close(pidfd);
		return HEALTH_FAILED;
	}
	check->pidfd = pidfd;
	check->pid = file.pid;
	check->pid_start = process.start_ticks;
	check->file_inode = file.inode;
	check->file_mtime_ns = file.mtime_ns;
	error = loop_fd_add(check->engine->loop, pidfd, EPOLLIN, on_process_end, check,
			    &check->source);
	if (error)
		log_warn("check %s: process %d cannot be watched (%s), only looked at",
			 check->conf->name, file.pid, strerror(-error));
	snprintf(check->detail, sizeof check->detail, "process %d (%s)", file.pid, process.comm);
	return HEALTH_OK;
}

/* Looks, and says when to look again. */
static void run_process_check(struct engine_check *check)
{
	uint64_t now_us = loop_now_us(check->engine->loop);
	uint64_t wait_us = check->conf->interval_us;
	enum health_result what = check->conf->kind == CONF_CHECK_NAMED
					  ? engine_named_look(check->named)
					  : look_at_process(check);

	loop_timer_set(check->timer, now_us + wait_us);
	if (check->conf->probe.target && what == HEALTH_OK) {
		engine_probe_start(check); /* both must be well */
		return;
	}
	if (check->conf->probe.target)
		engine_probe_drop(check); /* whatever it answers now */
	engine_check_result(check, what);
	/* Failed, and not yet counted as failed: it was seen to die. */
	if (what != HEALTH_OK && check->health.state == HEALTH_UP &&
	    check->health.streak < check->conf->fall && !check->health.restarting &&
	    RECHECK_US < wait_us)
		loop_timer_set(check->timer, now_us + RECHECK_US);
}

static void on_process_end(void *ctx, int fd, uint32_t events)
{
	struct engine_check *check = ctx;

	(void)fd;
	(void)events;
	log_info("check %s: process %d has ended", check->conf->name, check->pid);
	run_process_check(check);
}

/* ---- a script, through the runner ---- */

static void run_script_check(struct engine_check *check)
{
	struct engine *engine = check->engine;

	loop_timer_set(check->timer, loop_now_us(engine->loop) + check->conf->interval_us);
	if (check->run || engine->runner_gone)
		return; /* the one before has not ended: its time limit will see to it */
	check->run = next_run(engine);
	ask_run(check, ENGINE_MSG_CHECK_RUN, check->run);
}

void engine_check_done(struct engine_check *check, enum engine_check_outcome outcome,
		       const char *words)
{
	static const enum health_result results[ENGINE_CHECK_OUTCOMES] = {
		[ENGINE_CHECK_OK] = HEALTH_OK,
		[ENGINE_CHECK_FAILED] = HEALTH_FAILED,
		[ENGINE_CHECK_TIMED_OUT] = HEALTH_TIMED_OUT,
		[ENGINE_CHECK_NOT_EXECUTED] = HEALTH_NOT_EXECUTED,
	};

	check->run = 0;
	snprintf(check->detail, sizeof check->detail, "%s", words);
	engine_check_result(check, results[outcome]);
}

/* ---- a number in a file ---- */

static void run_file_check(struct engine_check *check)
{
	const int32_t before = check->value;
	const enum health_state state = check->health.state;
	enum health_result what = engine_file_look(check->file);

	/* Where the kernel tells of no change (NFS, /proc), looking again has to do. */
	loop_timer_set(check->timer, loop_now_us(check->engine->loop) + check->conf->interval_us);
	engine_check_result(check, what);
	if (check->value == before)
		return;
	log_notice("check %s: %s", check->conf->name, check->detail);
	if (check->health.state == state)
		engine_check_weigh(check);
}

/* ---- an interface ---- */

static void run_interface_check(struct engine_check *check)
{
	const char *name = check->conf->interfaces[check->snapshot->conf.conf->self];
	const struct netmon_link *link = netmon_link_by_name(check->engine->netmon, name);
	const bool up = link && link->up;

	snprintf(check->detail, sizeof check->detail, "interface %s %s", name,
		 up	? "is up"
		 : link ? "is down"
			: "does not exist");
	engine_check_result(check, up ? HEALTH_OK : HEALTH_FAILED);
}

void engine_checks_look(struct engine *engine)
{
	for (struct engine_check *check = engine->checks; check; check = check->next)
		if (check->conf->kind == CONF_CHECK_INTERFACE)
			run_interface_check(check);
}

/* ---- another router ---- */

static bool is_well(enum conf_instance_state wanted, enum vrrp_state state)
{
	switch (wanted) {
	case CONF_INSTANCE_MASTER:
		return state == VRRP_MASTER;
	case CONF_INSTANCE_BACKUP:
		return state == VRRP_BACKUP;
	case CONF_INSTANCE_ALIVE:
		break;
	}
	return state != VRRP_FAULT;
}

static void judge_state(struct engine_check *check, enum vrrp_state state)
{
	snprintf(check->detail, sizeof check->detail, "%s is %s", check->conf->instance,
		 vrrp_fsm_state_name(state));
	engine_check_result(check, is_well(check->conf->instance_state, state) ? HEALTH_OK
									       : HEALTH_FAILED);
}

void engine_checks_state(struct engine *engine, const struct engine_router *router)
{
	/* On its way out it says nothing of what will be in its place. */
	if (router->leaving)
		return;
	for (struct engine_check *check = engine->checks; check; check = check->next)
		if (check->conf->kind == CONF_CHECK_INSTANCE &&
		    !strcmp(check->conf->instance, router->conf->name))
			judge_state(check, router->fsm.state);
}

static void run_instance_check(struct engine_check *check)
{
	const struct conf *conf = check->snapshot->conf.conf;

	for (const struct engine_router *router = check->engine->routers; router;
	     router = router->next)
		if (!router->leaving && router->fsm.state != VRRP_INIT &&
		    !strcmp(check->conf->instance, router->conf->name)) {
			judge_state(check, router->fsm.state);
			return;
		}
	if (conf->vrrps[check->conf->vrrp].priorities[conf->self])
		return; /* it has not begun: its first state is told */
	snprintf(check->detail, sizeof check->detail, "%s does not take part on this node",
		 check->conf->instance);
	engine_check_result(check, HEALTH_FAILED);
}

/* ---- any ---- */

static void on_timer(void *ctx)
{
	struct engine_check *check = ctx;

	switch (check->conf->kind) {
	case CONF_CHECK_PROCESS:
	case CONF_CHECK_NAMED:
		run_process_check(check);
		break;
	case CONF_CHECK_SCRIPT:
		run_script_check(check);
		break;
	case CONF_CHECK_INTERFACE:
		run_interface_check(check);
		break;
	case CONF_CHECK_FILE:
		run_file_check(check);
		break;
	case CONF_CHECK_INSTANCE:
		run_instance_check(check);
		break;
	case CONF_CHECK_HTTP:
	case CONF_CHECK_TCP:
		loop_timer_set(check->timer,
			       loop_now_us(check->engine->loop) + check->conf->interval_us);
		engine_probe_start(check);
		break;
	case CONF_CHECK_KINDS:
		assert(!"a kind of check");
	}
}

void engine_check_start(struct engine_check *check)
{
	on_timer(check);
}
