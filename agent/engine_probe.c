/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's side of the prober. A probe that has been asked for has its time limit here too: a
 * prober that is dead, hangs or lies costs a check no more than its timeout and a little, and then
 * the check has failed, by name. One that was killed is replaced in less, and asked again.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/engine_private.h"
#include "agent/probe_msg.h"
#include "shared/log.h"

#define ANSWER_MARGIN_US                                                                           \
	500000 /* beyond the check's timeout: libcurl's own is the one that counts */

static void ask(struct engine_check *check)
{
	struct engine *engine = check->engine;
	uint8_t bytes[PROBE_MSG_BYTES_MAX];
	struct wire_writer w;

	if (!engine->prober)
		return; /* the next one is asked, if it comes in time */
	wire_writer_init(&w, bytes, sizeof bytes);
	probe_request_put(&w, check->run, check->conf->timeout_us, &check->conf->probe);
	/* What does not get through (its queue is full: it hangs) is not answered. */
	if (wire_writer_ok(&w))
		(void)msg_send(engine->prober, PROBE_MSG_RUN, w.data, w.at, -1);
}

void engine_probe_start(struct engine_check *check)
{
	struct engine *engine = check->engine;

	if (check->run)
		return;
	check->run = engine->next_run++;
	if (!check->run)
		check->run = engine->next_run++;
	loop_timer_set(check->guard,
		       loop_now_us(engine->loop) + check->conf->timeout_us + ANSWER_MARGIN_US);
	ask(check);
}

void engine_probe_drop(struct engine_check *check)
{
	struct engine *engine = check->engine;
	uint8_t bytes[4];
	struct wire_writer w;

	loop_timer_set(check->guard, LOOP_NEVER_US);
	if (check->run && engine->prober) {
		wire_writer_init(&w, bytes, sizeof bytes);
		wire_put_u32(&w, check->run);
		(void)msg_send(engine->prober, PROBE_MSG_DROP, w.data, w.at, -1);
	}
	check->run = 0;
}

void engine_probe_on_guard(void *ctx)
{
	struct engine_check *check = ctx;
	const char *words =
		check->engine->prober ? "the prober does not answer" : "the prober does not run";

	engine_probe_drop(check);
	engine_check_done(check, ENGINE_CHECK_NOT_EXECUTED, words);
}

static void on_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct engine *engine = ctx;
	struct probe_answer answer;
	struct wire_reader in;

	if (fd >= 0)
		close(fd);
	wire_reader_init(&in, payload, size);
	if (fd >= 0 || type != PROBE_MSG_DONE || !probe_answer_get(&in, &answer)) {
		log_err("the prober sent a message that means nothing (type %u): it is not heard "
			"any more",
			type);
		engine->prober = msg_channel_free(engine->prober);
		return;
	}
	if (answer.run == engine->mails.run) {
		engine_mail_done(engine, answer.outcome == ENGINE_CHECK_OK, answer.words);
		return;
	}
	/* The check may have gone, or have made up its mind, meanwhile. */
	for (struct engine_check *check = engine->checks; check; check = check->next) {
		if (check->run == answer.run && check->conf->probe.target) {
			loop_timer_set(check->guard, LOOP_NEVER_US);
			engine_check_done(check, answer.outcome, answer.words);
			break;
		}
	}
}

static void on_closed(void *ctx, int reason)
{
	struct engine *engine = ctx;

	(void)reason; /* why it ended is the runner's to know and to say */
	engine->prober = msg_channel_free(engine->prober);
}

bool engine_probe_connect(struct engine *engine, int fd)
{
	const struct msg_handlers handlers = {
		.on_message = on_message, .on_closed = on_closed, .ctx = engine};

	engine->prober = msg_channel_free(engine->prober);
	if (fd < 0)
		return false;
	if (msg_channel_new(engine->loop, fd, PROBE_MSG_QUEUE_BYTES, &handlers, &engine->prober)) {
		close(fd);
		return false;
	}
	for (struct engine_check *check = engine->checks; check; check = check->next)
		if (check->run && check->conf->probe.target)
			ask(check);
	engine_mail_connected(engine);
	return true;
}
