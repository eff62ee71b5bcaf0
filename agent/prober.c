/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/prober.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/probe_curl.h"
#include "agent/probe_msg.h"
#include "agent/prober_confine.h"
#include "shared/confine.h"
#include "shared/log.h"
#include "shared/loop.h"
#include "shared/msg.h"

#define PROBES_MAX (2 * CONF_CHECKS_MAX) /* at a time: a reload may drop some and start others */
#define FDS_MAX 512

struct probe {
	struct prober *prober;
	struct probe_job *job; /* NULL: free */
	uint32_t run;
};

struct prober {
	struct loop *loop;
	struct probe_curl *curl;
	struct msg_channel *runner, *engine;
	struct loop_timer *beat_timer;
	struct probe probes[PROBES_MAX];
};

static void drop_all(struct prober *prober)
{
	for (int i = 0; i < PROBES_MAX; i++)
		prober->probes[i].job = probe_curl_abandon(prober->probes[i].job);
}

static void answer(struct prober *prober, uint32_t run, enum engine_check_outcome outcome,
		   const char *words)
{
	uint8_t bytes[PROBE_WORDS_BYTES_MAX + 16];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	probe_answer_put(&w, run, outcome, words);
	/* What is lost here the engine counts as not answered. */
	(void)msg_send(prober->engine, PROBE_MSG_DONE, w.data, w.at, -1);
}

static void on_probe_done(void *ctx, enum engine_check_outcome outcome, const char *words)
{
	struct probe *probe = ctx;

	probe->job = NULL;
	answer(probe->prober, probe->run, outcome, words);
}

static struct probe *free_probe(struct prober *prober, uint32_t run)
{
	for (int i = 0; i < PROBES_MAX; i++) {
		struct probe *probe = &prober->probes[i];

		if (probe->job)
			continue;
		probe->prober = prober;
		probe->run = run;
		return probe;
	}
	answer(prober, run, ENGINE_CHECK_NOT_EXECUTED, "too many probes run");
	return NULL;
}

static bool start_mail(struct prober *prober, struct wire_reader *in)
{
	static struct probe_mail mail;
	struct probe *probe;
	int error;

	if (!probe_mail_get(in, &mail))
		return false;
	probe = free_probe(prober, mail.run);
	if (!probe)
		return true;
	error = probe_curl_mail(prober->curl, &mail, on_probe_done, probe, &probe->job);
	if (error)
		answer(prober, mail.run, ENGINE_CHECK_NOT_EXECUTED, strerror(-error));
	return true;
}

static bool start_probe(struct prober *prober, struct wire_reader *in)
{
	struct probe_request request;
	struct probe *probe;
	int error;

	if (!probe_request_get(in, &request))
		return false;
	probe = free_probe(prober, request.run);
	if (!probe)
		return true;
	error = probe_curl_check(prober->curl, &request, on_probe_done, probe, &probe->job);
	if (error)
		answer(prober, request.run, ENGINE_CHECK_NOT_EXECUTED, strerror(-error));
	return true;
}

static bool drop_probe(struct prober *prober, struct wire_reader *in)
{
	uint32_t run = wire_get_u32(in);

	if (!wire_reader_done(in))
		return false;
	for (int i = 0; i < PROBES_MAX; i++)
		if (prober->probes[i].job && prober->probes[i].run == run)
			prober->probes[i].job = probe_curl_abandon(prober->probes[i].job);
	return true;
}

/* ---- the engine ---- */

static void on_engine_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct prober *prober = ctx;
	struct wire_reader in;
	bool good = false;

	wire_reader_init(&in, payload, size);
	if (type == PROBE_MSG_RUN)
		good = start_probe(prober, &in);
	else if (type == PROBE_MSG_MAIL)
		good = start_mail(prober, &in);
	else if (type == PROBE_MSG_DROP)
		good = drop_probe(prober, &in);
	if (fd >= 0)
		close(fd);
	if (!good) {
		log_err("the engine sent a message that means nothing (type %u)", type);
		loop_quit(prober->loop, 1);
	}
}

/* Nobody waits for what still runs. Another engine comes through the runner. */
static void on_engine_closed(void *ctx, int reason)
{
	struct prober *prober = ctx;

	(void)reason;
	drop_all(prober);
}

/* ---- the runner ---- */

static bool take_engine(struct prober *prober, int fd)
{
	const struct msg_handlers handlers = {
		.on_message = on_engine_message, .on_closed = on_engine_closed, .ctx = prober};

	drop_all(prober);
	prober->engine = msg_channel_free(prober->engine);
	if (msg_channel_new(prober->loop, fd, PROBE_MSG_QUEUE_BYTES, &handlers, &prober->engine)) {
		close(fd);
		return false;
	}
	return true;
}

static void on_runner_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct prober *prober = ctx;

	(void)payload;
	if (type == PROBE_MSG_ENGINE && size == 0 && fd >= 0 && take_engine(prober, fd))
		return;
	log_err("the runner sent a message that means nothing (type %u)", type);
	loop_quit(prober->loop, 1);
}

static void on_runner_closed(void *ctx, int reason)
{
	struct prober *prober = ctx;

	(void)reason;
	loop_quit(prober->loop, 0);
}

static void on_beat_timer(void *ctx)
{
	struct prober *prober = ctx;

	(void)msg_send(prober->runner, PROBE_MSG_BEAT, NULL, 0, -1);
	loop_timer_set(prober->beat_timer, loop_now_us(prober->loop) + PROBER_BEAT_US);
}

static int settle_in(const struct prober_start *start)
{
	const struct rlimit fds = {.rlim_cur = FDS_MAX, .rlim_max = FDS_MAX};

	if (setrlimit(RLIMIT_NOFILE, &fds))
		return -errno;
	return start->user.uid ? priv_drop(&start->user, 0) : 0;
}

static int confine(void)
{
	int error = prober_confine();

	if (!confine_is_missing(error))
		return error;
	log_warn("this kernel has no seccomp filters: the prober is confined by its user alone");
	return 0;
}

int prober_main(const struct prober_start *start)
{
	static struct prober prober;
	const struct msg_handlers handlers = {
		.on_message = on_runner_message, .on_closed = on_runner_closed, .ctx = &prober};
	int status, error;

	/* A terminal's Ctrl-C goes to the runner as well, which ends this process with itself. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	error = settle_in(start);
	if (!error)
		error = loop_new(&prober.loop);
	if (!error)
		error = loop_timer_new(prober.loop, on_beat_timer, &prober, &prober.beat_timer);
	if (!error)
		error = probe_curl_new(prober.loop, &prober.curl);
	/* libcurl and OpenSSL have read their own files and loaded what they load. */
	if (!error)
		error = confine();
	if (!error)
		error = msg_channel_new(prober.loop, start->channel_fd, PROBE_MSG_QUEUE_BYTES,
					&handlers, &prober.runner);
	if (error) {
		log_err("the prober cannot start: %s", strerror(-error));
		return 1;
	}
	on_beat_timer(&prober);
	status = loop_run(prober.loop);
	drop_all(&prober);
	probe_curl_free(prober.curl);
	msg_channel_free(prober.engine);
	msg_channel_free(prober.runner);
	loop_timer_free(prober.beat_timer);
	loop_free(prober.loop);
	return status < 0 ? 1 : status;
}
