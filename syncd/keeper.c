/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/wire.h"
#include "syncd/delta.h"
#include "syncd/keeper_private.h"

const char *keeper_self(const struct keeper *k)
{
	return k->conf->nodes[k->conf->self].name;
}

void id_text(const uint8_t *id, char text[13])
{
	for (int i = 0; i < 6; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

void held_release(struct held *held)
{
	held->tree = tree_free(held->tree);
	held->present = false;
}

void held_copy(struct held *to, const struct held *from)
{
	struct tree *tree = from->tree ? tree_ref(from->tree) : NULL;

	held_release(to);
	*to = *from;
	to->tree = tree;
}

/* ---- the runner ---- */

void keeper_run(struct mirror *m, enum keeper_command command, const uint8_t *staged_id,
		answer_fn fn)
{
	struct keeper *k = m->keeper;
	uint8_t payload[64];
	uint8_t nothing[GENERATION_ID_BYTES] = {0};
	struct wire_writer w;
	int r;

	m->ticket = ++k->tickets;
	m->on_answer = fn;
	wire_writer_init(&w, payload, sizeof payload);
	wire_put_u32(&w, m->ticket);
	wire_put_u32(&w, k->options->snapshot->number);
	wire_put_u8(&w, (uint8_t)m->index);
	wire_put_u8(&w, (uint8_t)command);
	wire_put_u8(&w, staged_id != NULL);
	wire_put_bytes(&w, staged_id ? staged_id : nothing, sizeof nothing);
	r = msg_send(k->runner, KEEPER_MSG_RUN, payload, w.at, -1);
	if (r < 0) {
		/* Without its runner the keeper is at its end; this process leaves with it. */
		log_err("cannot reach the runner: %s", strerror(-r));
		loop_quit(k->loop, EXIT_FAILURE);
	}
}

static void on_done(struct keeper *k, struct wire_reader *r)
{
	char text[KEEPER_TEXT_MAX + 1];
	uint32_t ticket = wire_get_u32(r);
	uint8_t answer = wire_get_u8(r);
	uint64_t own_us = wire_get_u64(r);

	wire_get_string_into(r, text, sizeof text);
	if (!wire_reader_done(r) || answer >= KEEPER_ANSWERS) {
		log_err("the runner answers something that makes no sense");
		return;
	}
	for (int i = 0; i < k->mirrors_count; i++) {
		struct mirror *m = &k->mirrors[i];

		if (m->on_answer != NULL && m->ticket == ticket) {
			answer_fn fn = m->on_answer;

			m->on_answer = NULL;
			fn(m, (enum keeper_answer)answer, own_us, text);
			return;
		}
	}
}

static void leave_if_idle(struct keeper *k)
{
	if (!k->stopping)
		return;
	for (int i = 0; i < k->mirrors_count; i++)
		if (k->mirrors[i].job.kind != JOB_NONE)
			return;
	loop_quit(k->loop, EXIT_SUCCESS);
}

static void on_reloaded(struct keeper *k, struct wire_reader *r)
{
	char text[KEEPER_TEXT_MAX + 1];
	uint32_t ticket = wire_get_u32(r);
	uint8_t ok = wire_get_u8(r);

	wire_get_string_into(r, text, sizeof text);
	if (!wire_reader_done(r) || k->reload_client == NULL || ticket != k->reload_ticket)
		return;
	if (ok)
		ctl_answer(k->reload_client, json_pack("{s:b, s:I}", "ok", 1, "snapshot",
						       (json_int_t)strtoull(text, NULL, 10)));
	else
		ctl_fail(k->reload_client, "wrong-configuration", "%s", text);
	k->reload_client = NULL;
}

static int open_link(struct keeper *k, int fd)
{
	struct link_client_handlers handlers = peer_handlers;

	handlers.ctx = k;
	k->link = link_client_free(k->link);
	return link_client_new(k->loop, fd, &handlers, &k->link);
}

static void on_runner_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct keeper *k = ctx;
	struct wire_reader r;

	wire_reader_init(&r, payload, size);
	switch (type) {
	case RUNNER_MSG_DONE:
		on_done(k, &r);
		break;
	case RUNNER_MSG_RELOADED:
		on_reloaded(k, &r);
		break;
	case RUNNER_MSG_TRIED:
		trial_done(k, &r, fd);
		fd = -1;
		break;
	case RUNNER_MSG_LINK:
		if (fd >= 0 && open_link(k, fd) < 0)
			log_err("cannot talk to the new link");
		fd = -1;
		break;
	case RUNNER_MSG_STOP:
		k->stopping = true;
		loop_timer_set(k->beat, loop_now_us(k->loop));
		break;
	default:
		log_err("the runner says something that is not known (message %u)", type);
	}
	if (fd >= 0)
		close(fd);
	leave_if_idle(k);
}

static void on_runner_closed(void *ctx, int reason)
{
	struct keeper *k = ctx;

	(void)reason;
	loop_quit(k->loop, EXIT_FAILURE);
}

/* It is the agent's, which writes it down and speaks with nobody but in adverts. */
static void look_for_maintenance(struct keeper *k)
{
	struct session_event event = {.kind = SESSION_EV_NODE};
	char path[4096];

	snprintf(path, sizeof path, "%s/maintenance", k->options->state_dir);
	event.maintenance = access(path, F_OK) == 0;
	if (event.maintenance == k->maintenance)
		return;
	k->maintenance = event.maintenance;
	for (int i = 0; i < k->peers_count; i++)
		peer_event(&k->peers[i], &event);
}

static void on_beat(void *ctx)
{
	struct keeper *k = ctx;

	/* The loop runs and recovery is done. The first look at the trees may take a while, and
	 * the agent, which is ordered after this daemon, must not wait for a disk. */
	(void)msg_send(k->runner, k->ready_said ? KEEPER_MSG_BEAT : KEEPER_MSG_READY, NULL, 0, -1);
	k->ready_said = true;
	look_for_maintenance(k);
	leave_if_idle(k);
	/* While it is to stop, it looks more often whether it may. */
	loop_timer_set(k->beat, loop_now_us(k->loop) + (k->stopping ? 20000 : KEEPER_BEAT_US));
}

/* ---- start ---- */

static int open_state(const char *state_dir, struct store **ret_store, struct objects **ret_objects)
{
	struct fault fault = {""};
	int r = store_open(state_dir, ret_store, &fault);

	if (r != 0) {
		log_err("%s", fault.text);
		return r;
	}
	r = objects_open(state_dir, ret_objects, &fault);
	if (r < 0)
		log_err("%s", fault.text);
	return r;
}

struct journals {
	char names[CONF_MIRRORS_MAX * 2][64];
	int count;
};

static void note_journal(void *ctx, const char *mirror)
{
	struct journals *journals = ctx;

	if (journals->count < CONF_MIRRORS_MAX * 2)
		snprintf(journals->names[journals->count++], 64, "%s", mirror);
}

/* What an earlier process began is completed or undone before anything is looked at. */
static int recover(struct store *store, struct objects *objects)
{
	struct journals journals = {0};
	int r = store_journals(store, note_journal, &journals);

	for (int i = 0; r == 0 && i < journals.count; i++) {
		struct commit_result result = {0};
		struct fault fault = {""};

		r = commit_recover(store, objects, journals.names[i], &result, &fault);
		if (r < 0)
			log_err("mirror %s: cannot recover: %s", journals.names[i], fault.text);
		else
			log_notice("mirror %s: recovered an interrupted commit: %s%s%s",
				   journals.names[i], commit_outcome_name(result.outcome),
				   *fault.text ? ": " : "", fault.text);
		commit_result_release(&result);
	}
	return r;
}

int keeper_recover(const char *state_dir)
{
	struct store *store = NULL;
	struct objects *objects = NULL;
	struct fault fault = {""};
	int r = store_open(state_dir, &store, &fault);

	log_set_process("recover");
	if (r == STORE_LOCKED) {
		/* A running keeper has recovered before it did anything else. */
		log_info("nothing to recover: tandem-syncd is running");
		return EXIT_SUCCESS;
	}
	if (r != 0) {
		log_err("%s", fault.text);
		return EXIT_FAILURE;
	}
	r = objects_open(state_dir, &objects, &fault);
	if (r < 0)
		log_err("%s", fault.text);
	else
		r = recover(store, objects);
	objects_free(objects);
	store_free(store);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int start(struct keeper *k)
{
	struct msg_handlers runner = {
		.on_message = on_runner_message, .on_closed = on_runner_closed, .ctx = k};
	char why[IDENTITY_WHY_ROOM];
	int r = loop_new(&k->loop);

	if (r == 0)
		r = msg_channel_new(k->loop, k->options->runner_fd, KEEPER_MSG_QUEUE_BYTES, &runner,
				    &k->runner);
	if (r == 0)
		r = open_link(k, k->options->link_fd);
	if (r < 0) {
		log_err("cannot start: %s", strerror(-r));
		return r;
	}
	r = k->conf->mirrors_count == 0 ? 0
					: identity_load(k->options->state_dir, &k->identity, why);
	if (r < 0) {
		log_err("%s", why);
		return r;
	}
	r = open_state(k->options->state_dir, &k->store, &k->objects);
	if (r != 0)
		return r < 0 ? r : -EINVAL;
	r = recover(k->store, k->objects);
	if (r < 0)
		return r;
	k->started_us = loop_refresh_us(k->loop);
	for (int i = 0; i < k->conf->mirrors_count; i++) {
		r = mirror_init(k, i);
		if (r < 0)
			return r;
	}
	for (int i = 0; i < k->conf->nodes_count; i++) {
		if (i == k->conf->self || k->conf->nodes[i].pins_count == 0)
			continue;
		r = peer_init(k, i);
		if (r < 0)
			return r;
	}
	r = ctl_server_new(k->loop, k->options->control_fd, command_request, command_gone, k,
			   &k->server);
	if (r == 0)
		r = loop_timer_new(k->loop, on_beat, k, &k->beat);
	if (r < 0)
		log_err("cannot start: %s", strerror(-r));
	else
		on_beat(k);
	return r;
}

static void stop(struct keeper *k)
{
	k->server = ctl_server_free(k->server);
	for (int i = 0; i < k->peers_count; i++)
		peer_release(&k->peers[i]);
	for (int i = 0; i < k->mirrors_count; i++)
		mirror_release(&k->mirrors[i]);
	k->link = link_client_free(k->link);
	k->runner = msg_channel_free(k->runner);
	k->objects = objects_free(k->objects);
	k->store = store_free(k->store);
	k->identity = identity_free(k->identity);
	k->beat = loop_timer_free(k->beat);
	k->loop = loop_free(k->loop);
}

int keeper_main(const struct keeper_options *options)
{
	struct keeper *k = calloc(1, sizeof *k);
	int r;

	if (k == NULL)
		return EXIT_FAILURE;
	k->options = options;
	k->conf = options->snapshot->conf;
	delta_init();
	r = start(k);
	r = r < 0 ? EXIT_FAILURE : loop_run(k->loop);
	stop(k);
	free(k);
	return r < 0 ? EXIT_FAILURE : r;
}
