/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/engine.h"

#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "agent/announce.h"
#include "agent/engine_confine.h"
#include "agent/engine_private.h"
#include "agent/route.h"
#include "shared/confine.h"
#include "shared/log.h"

#define BEAT_US_MIN 33000
#define BEAT_US_MAX 100000
#define SECOND_US 1000000
#define REPORT_US 60000000 /* refused adverts are logged so often */
#define LATE_US 50000	   /* a timer that fires later than this is told of */
#define PAUSE_US_MIN 50000 /* of the whole host: less is the clocks' own unrest */

uint64_t engine_beat_us(const struct conf *conf)
{
	uint64_t beat_us = BEAT_US_MAX;

	for (int i = 0; i < conf->vrrps_count; i++)
		if (conf->vrrps[i].priorities[conf->self] &&
		    conf->vrrps[i].advert_int_us / 2 < beat_us)
			beat_us = conf->vrrps[i].advert_int_us / 2;
	return beat_us < BEAT_US_MIN ? BEAT_US_MIN : beat_us;
}

static int64_t clock_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

bool engine_look(struct engine *engine)
{
	const uint64_t now_us = loop_now_us(engine->loop);

	/* A second look would find the clocks still that the first one has seen move. */
	if (engine->look_us != now_us)
		engine->still = arrival_look(&engine->arrival, clock_us(CLOCK_MONOTONIC),
					     clock_us(CLOCK_REALTIME));
	engine->look_us = now_us;
	return engine->still;
}

void engine_tell(struct engine *engine, enum engine_msg type, const struct wire_writer *w, int fd)
{
	int error;

	if (!engine->channel)
		return;
	assert(!w || wire_writer_ok(w));
	error = msg_send(engine->channel, (uint16_t)type, w ? w->data : NULL, w ? w->at : 0, fd);
	if (error && error != -EPIPE)
		log_err("a message to the runner is lost (%s)", strerror(-error));
}

void engine_tell_number(struct engine *engine, enum engine_msg type, uint32_t number)
{
	uint8_t bytes[4];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, number);
	engine_tell(engine, type, &w, -1);
}

/* ---- beats ---- */

void engine_timer_fires(struct engine *engine, uint64_t due_us)
{
	struct engine_late *late = &engine->late;
	const uint64_t now_us = loop_now_us(engine->loop);
	const uint64_t by_us = now_us > due_us ? now_us - due_us : 0;

	if (by_us < LATE_US)
		return;
	late->count += late->last_us != now_us; /* one turn serves many */
	if (late->last_us != now_us || by_us > late->by_us)
		late->by_us = by_us;
	late->last_us = now_us;
	if (by_us >= late->worst_by_us) {
		late->worst_by_us = by_us;
		late->worst_us = now_us;
	}
	if (late->told_us && now_us - late->told_us < REPORT_US)
		return;
	late->told_us = now_us;
	log_warn("timers fire %llu ms late: this process was not let run, or had too much to do",
		 (unsigned long long)by_us / 1000);
}

/* Suspended, or paused with its container: CLOCK_MONOTONIC stood still meanwhile, and only the
 * clock that counts sleep too shows it. */
static void notice_pause(struct engine *engine)
{
	int64_t offset_us = clock_us(CLOCK_BOOTTIME) - clock_us(CLOCK_MONOTONIC);
	int64_t pause_us = offset_us - engine->boot_offset_us;

	engine->boot_offset_us = offset_us;
	if (pause_us < PAUSE_US_MIN)
		return;
	log_warn("this host was away for %lld ms", (long long)pause_us / 1000);
	for (struct engine_router *router = engine->routers; router; router = router->next)
		if (router->started && !router->stopped)
			engine_router_away(router, (uint64_t)pause_us);
}

static void on_beat_timer(void *ctx)
{
	struct engine *engine = ctx;
	static uint8_t bytes[16 + ENGINE_ROUTERS_MAX * 12];
	struct wire_writer w;
	unsigned count = 0;

	if (engine->beat_due_us)
		engine_timer_fires(engine, engine->beat_due_us);
	notice_pause(engine);
	engine_look(engine);
	for (const struct engine_router *router = engine->routers; router; router = router->next)
		count += router->fsm.state == VRRP_MASTER;
	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u64(&w, loop_now_us(engine->loop));
	wire_put_u16(&w, (uint16_t)count);
	for (const struct engine_router *router = engine->routers; router; router = router->next) {
		if (router->fsm.state != VRRP_MASTER)
			continue;
		wire_put_u32(&w, router->id);
		wire_put_u64(&w, router->fsm.sent_us);
	}
	engine_tell(engine, ENGINE_MSG_BEAT, &w, -1);
	engine->beat_due_us =
		loop_now_us(engine->loop) + engine_beat_us(engine->snapshot->conf.conf);
	loop_timer_set(engine->beat_timer, engine->beat_due_us);
}

/* The server knows who may come from when it was made; a reload may have named another group. */
static void renew_ctl(struct engine *engine)
{
	for (int i = 0; i < CTL_CLIENTS_MAX; i++)
		if (engine->waiters[i].client)
			return;
	if (engine->move.client)
		return;
	if (!engine->ctl_due)
		return;
	engine->ctl_due = false;
	engine->ctl = ctl_server_free(engine->ctl);
	if (ctl_server_new(engine->loop, engine->listen_fd, engine_on_request,
			   engine_on_client_gone, engine, &engine->ctl)) {
		log_err("the control socket cannot be served; trying again");
		engine->ctl_due = true;
	}
}

static void on_second(void *ctx)
{
	struct engine *engine = ctx;
	uint64_t now_us = loop_now_us(engine->loop);
	bool report = now_us - engine->reported_us >= REPORT_US;

	for (struct engine_router *router = engine->routers; router; router = router->next) {
		engine_vips_renew(router);
		engine_packets_greet(router);
		engine_vmac_second(router);
		if (report)
			engine_packets_report(router);
	}
	engine_rivals_second(engine);
	if (report)
		engine->reported_us = now_us;
	renew_ctl(engine);
	loop_timer_set(engine->second_timer, now_us + SECOND_US);
}

/* ---- routers come and go ---- */

void engine_soon(struct engine *engine)
{
	loop_timer_set(engine->soon_timer, loop_now_us(engine->loop));
}

static void say_left(struct engine *engine)
{
	if (!engine->leaving || engine->routers || engine->left_said)
		return;
	engine->left_said = true;
	if (engine->runner_gone)
		loop_quit(engine->loop, 1);
	else
		engine_tell(engine, ENGINE_MSG_LEFT, NULL, -1); /* it answers by closing */
}

static void reap(struct engine *engine)
{
	bool older = false;

	for (struct engine_router **link = &engine->routers; *link;) {
		struct engine_router *router = *link;

		if (router->stopped) {
			*link = router->next;
			engine_tell_number(engine, ENGINE_MSG_FORGET, router->id);
			engine_router_free(router);
			continue;
		}
		older = older || router->snapshot != engine->snapshot;
		link = &router->next;
	}
	if (!older && engine->snapshot)
		engine_tell_number(engine, ENGINE_MSG_RELEASE, engine->snapshot->conf.number);
	say_left(engine);
}

static void on_soon(void *ctx)
{
	struct engine *engine = ctx;
	bool look = engine->look_due, stopped = false;

	engine->look_due = false;
	if (look)
		engine_checks_look(engine);
	for (struct engine_router *router = engine->routers; router; router = router->next) {
		if (look)
			engine_router_look(router);
		if (router->address_lost && router->started && !router->stopped) {
			router->address_lost = false;
			engine_router_event(router, VRRP_EV_ADDRESS_LOST);
		}
		if (router->health_due && router->started && !router->stopped)
			engine_router_health(router);
		stopped = stopped || router->stopped;
	}
	if (stopped)
		reap(engine);
	engine_moves_look(engine);
}

static void on_link(void *ctx, const struct netmon_link *link, bool gone)
{
	struct engine *engine = ctx;

	log_debug("interface %s: %s", link->name, gone ? "gone" : link->up ? "up" : "down");
	if (gone) {
		engine_vips_forget(engine, link->ifindex);
		engine_rivals_forget(engine, link->ifindex);
		engine_announce_forget(engine, link->ifindex);
	}
	engine->look_due = true;
	engine_soon(engine);
}

static void on_address(void *ctx, const struct netmon_address *address, bool gone)
{
	struct engine *engine = ctx;

	if (gone)
		for (struct engine_router *router = engine->routers; router; router = router->next)
			engine_vips_gone(router, address);
	/* A source address may have come or gone; our own service addresses are none. */
	if (address->protocol != ADDRESS_PROTOCOL) {
		engine->look_due = true;
		engine_soon(engine);
	}
}

/* What an engine before this one left of the router. */
static struct agent_record *take_record(struct engine *engine, const char *name)
{
	for (int i = 0; i < engine->records_count; i++) {
		struct agent_record *record = engine->records[i];

		if (!record || strcmp(record->name, name) != 0)
			continue;
		engine->records[i] = NULL;
		return record;
	}
	return NULL;
}

static int start_router(struct engine *engine, int place)
{
	const char *name = engine->snapshot->conf.conf->vrrps[place].name;
	struct engine_router *router, **link;
	struct agent_record *record;
	int error = engine_router_new(engine, engine->snapshot, place, &router);

	if (error)
		return error;
	for (link = &engine->routers; *link; link = &(*link)->next)
		;
	*link = router;
	record = take_record(engine, name);
	if (record)
		router->id = record->id;
	engine_router_start(router, record);
	free(record);
	return 0;
}

static int start_check(struct engine *engine, int place, struct engine_check **link)
{
	const char *name = engine->snapshot->conf.conf->checks[place].name;
	struct engine_check *check;
	int error = engine_check_new(engine, engine->snapshot, place, &check);

	if (error)
		return error;
	check->next = *link;
	*link = check;
	/* What was known before a restart of the engine stays known. */
	for (int i = 0; i < engine->health_count && !engine->started; i++)
		if (!strcmp(engine->health[i].name, name) &&
		    engine->health[i].state != HEALTH_UNDETERMINED)
			health_fsm_result(&check->health,
					  engine->health[i].state == HEALTH_UP ? HEALTH_OK
									       : HEALTH_FAILED,
					  loop_now_us(engine->loop));
	engine_check_start(check);
	return 0;
}

static int apply_checks(struct engine *engine)
{
	const struct conf *conf = engine->snapshot->conf.conf;
	struct engine_check *old = engine->checks, **link = &engine->checks;
	int error = 0;

	/* In the order of the file; those that stay the same go on. */
	engine->checks = NULL;
	for (int i = 0; i < conf->checks_count && !error; i++) {
		struct engine_check **at = &old;

		while (*at && !engine_check_is(*at, &conf->checks[i]))
			at = &(*at)->next;
		if (*at) {
			struct engine_check *check = *at;

			*at = check->next;
			check->next = NULL;
			*link = check;
			engine_check_reload(check, engine->snapshot, i);
		} else {
			error = start_check(engine, i, link);
		}
		if (*link)
			link = &(*link)->next;
	}
	while (old) {
		struct engine_check *next = old->next;

		engine_check_free(old);
		old = next;
	}
	return error;
}

static bool is_running(const struct engine *engine, int place)
{
	for (const struct engine_router *router = engine->routers; router; router = router->next)
		if (router->snapshot == engine->snapshot && router->place == place &&
		    !router->leaving)
			return true;
	return false;
}

/* The difference between what runs and the snapshot: what stays, what leaves, what is new. */
static int apply_routers(struct engine *engine)
{
	const struct conf *conf = engine->snapshot->conf.conf;
	int error = 0;

	for (struct engine_router *router = engine->routers; router; router = router->next) {
		int place = conf_vrrp_index(conf, router->conf->name);

		if (router->leaving)
			continue;
		if (place >= 0 && engine_router_is(router, engine->snapshot, place)) {
			engine_router_reload(router, engine->snapshot, place);
		} else {
			log_notice("%s: no longer so in the configuration: it is given up",
				   router->conf->name);
			engine_router_stop(router);
		}
	}
	for (int i = 0; i < conf->vrrps_count && !error; i++)
		if (conf->vrrps[i].priorities[conf->self] && !is_running(engine, i))
			error = start_router(engine, i);
	engine_soon(engine);
	reap(engine);
	return error;
}

void engine_apply(struct engine *engine)
{
	int error;

	/* What the runner has made for this configuration. */
	netmon_catch_up(engine->netmon);
	engine->applying = true;
	error = apply_checks(engine);
	engine_groups_apply(engine);
	engine->applying = false;
	if (!error)
		error = apply_routers(engine);
	engine_rivals_refit(engine);
	log_set_level(engine->snapshot->conf.conf->log_level);
	if (error) {
		/* The runner starts another engine with this same snapshot. */
		log_err("the configuration cannot be applied: %s", strerror(-error));
		loop_quit(engine->loop, 1);
	}
}

void engine_leave(struct engine *engine)
{
	engine->leaving = true;
	for (struct engine_router *router = engine->routers; router; router = router->next)
		engine_router_stop(router);
	reap(engine);
}

uint64_t engine_quiet_until_us(const struct engine *engine)
{
	return engine->agent_began_us + engine->snapshot->conf.conf->startup_delay_us;
}

/* An agent that has seen its configuration: from here on there are routers. */
bool engine_begin(struct engine *engine)
{
	if (engine->started || !engine->snapshot)
		return false;
	if (engine_quiet_until_us(engine) > loop_now_us(engine->loop))
		log_notice("no address is taken over for %g s (vrrp_startup_delay)",
			   (double)(engine_quiet_until_us(engine) - loop_now_us(engine->loop)) /
				   SECOND_US);
	engine_apply(engine);
	engine->started = true;
	for (int i = 0; i < engine->records_count; i++) {
		/* The runner has looked whether they fit, so none should be left over. */
		if (engine->records[i])
			log_err("%s: nobody goes on with it", engine->records[i]->name);
		free(engine->records[i]);
	}
	engine->records_count = 0;
	engine_sockets_disown(engine);
	on_beat_timer(engine);
	on_second(engine);
	return true;
}

static void on_stop_signal(void *ctx, const struct signalfd_siginfo *info)
{
	struct engine *engine = ctx;

	(void)info;
	/* The runner's death sends it; and whoever stops the engine alone gets a clean end too. */
	if (engine->leaving)
		return;
	log_warn("the engine alone was told to stop");
	engine->runner_gone = true;
	engine_leave(engine);
}

/* ---- start and end ---- */

/* Everything that only root may do, and then no longer root. */
static int settle_in(const struct engine_start *start)
{
	const uint64_t keep = UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_RAW;
	int error = priv_realtime();

	if (error)
		log_warn("no real-time priority (%s): under load adverts may be late",
			 strerror(-error));
	error = priv_lock_memory();
	if (error)
		log_warn("memory cannot be locked (%s): under memory pressure adverts may be late",
			 strerror(-error));
	if (start->user.uid) {
		error = priv_drop(&start->user, keep);
		if (error)
			return error;
	}
	/* Not SIGKILL: if the runner dies, the addresses are handed over in order. */
	if (start->user.uid && prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0))
		return -errno;
	error = engine_confine();
	if (confine_is_missing(error)) {
		log_warn("this kernel has no seccomp filters: the engine is confined by its user "
			 "alone");
		error = 0;
	}
	return error;
}

static void release(struct engine *engine)
{
	for (struct engine_router *router = engine->routers, *next; router; router = next) {
		next = router->next;
		engine_router_free(router);
	}
	for (struct engine_check *check = engine->checks, *next; check; check = next) {
		next = check->next;
		engine_check_free(check);
	}
	engine_vips_forget(engine, 0);
	engine_rivals_forget(engine, 0);
	engine_announce_forget(engine, 0);
	ctl_server_free(engine->ctl);
	close(engine->listen_fd);
	netmon_free(engine->netmon);
	address_port_free(engine->addresses);
	route_port_free(engine->routes);
	if (engine->announce_fd >= 0)
		close(engine->announce_fd);
	for (int i = 0; i < 2; i++)
		if (engine->send_fds[i] >= 0)
			close(engine->send_fds[i]);
	loop_timer_free(engine->beat_timer);
	loop_timer_free(engine->second_timer);
	loop_timer_free(engine->soon_timer);
	loop_timer_free(engine->mails.timer);
	loop_timer_free(engine->announce_timer);
	msg_channel_free(engine->prober);
	msg_channel_free(engine->channel);
	agent_snapshot_drop(engine->snapshot);
}

static int set_up(struct engine *engine, const struct engine_start *start)
{
	const struct msg_handlers messages = {
		.on_message = engine_on_message, .on_closed = engine_on_closed, .ctx = engine};
	const struct netmon_handlers news = {
		.on_link = on_link, .on_address = on_address, .ctx = engine};
	struct loop_signal *signals;
	int error = loop_new(&engine->loop);

	if (!error)
		error = loop_timer_new(engine->loop, on_beat_timer, engine, &engine->beat_timer);
	if (!error)
		error = loop_timer_new(engine->loop, on_second, engine, &engine->second_timer);
	if (!error)
		error = loop_timer_new(engine->loop, on_soon, engine, &engine->soon_timer);
	if (!error)
		error = engine_mail_init(engine);
	if (!error)
		error = engine_announce_init(engine);
	if (!error)
		error = loop_signal_add(engine->loop, SIGTERM, on_stop_signal, engine, &signals);
	if (!error)
		error = netmon_new(engine->loop, &news, &engine->netmon);
	if (!error)
		error = address_port_new(&engine->addresses);
	if (!error)
		error = route_port_new(&engine->routes);
	if (!error)
		error = announce_open(&engine->announce_fd);
	if (!error)
		error = engine_packets_init(engine);
	if (!error)
		error = ctl_server_new(engine->loop, start->listen_fd, engine_on_request,
				       engine_on_client_gone, engine, &engine->ctl);
	if (!error)
		error = msg_channel_new(engine->loop, start->channel_fd, ENGINE_MSG_QUEUE_BYTES,
					&messages, &engine->channel);
	return error;
}

int engine_main(const struct engine_start *start)
{
	static struct engine engine;
	int status, error;

	/* A terminal's Ctrl-C goes to the runner as well, which asks for the orderly way. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	engine.listen_fd = start->listen_fd;
	engine.announce_fd = engine.send_fds[0] = engine.send_fds[1] = -1;
	engine.next_router_id = engine.next_socket_id = 1;
	engine.boot_offset_us = clock_us(CLOCK_BOOTTIME) - clock_us(CLOCK_MONOTONIC);
	error = settle_in(start);
	if (!error)
		error = set_up(&engine, start);
	if (error) {
		log_err("the engine cannot start: %s", strerror(-error));
		return 1;
	}
	engine.started_us = engine.reported_us = loop_now_us(engine.loop);
	engine_look(&engine);
	status = loop_run(engine.loop);
	release(&engine);
	loop_free(engine.loop);
	return status < 0 ? 1 : status;
}
