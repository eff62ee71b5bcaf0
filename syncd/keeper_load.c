/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_load: makes nginx run with what is live, and sees to it that it does.
 */
#include <errno.h>
#include <string.h>

#include "syncd/keeper_private.h"

static void finish(struct mirror *m, enum load_outcome outcome, const char *text)
{
	load_fn fn = m->load.fn;
	char words[KEEPER_TEXT_MAX];

	/* text may lie in the proof, which goes now. */
	snprintf(words, sizeof words, "%s", text);
	load_stop(m);
	fn(m, outcome, words);
}

static void poll_proof(void *ctx)
{
	struct mirror *m = ctx;
	uint64_t now_us = loop_refresh_us(m->keeper->loop);

	switch (proof_poll(m->load.proof, now_us)) {
	case PROOF_WAITING:
		loop_timer_set(m->load.timer, now_us + proof_poll_gap_us(m->load.proof, now_us));
		return;
	case PROOF_LOADED:
		finish(m, LOAD_DONE, "");
		return;
	case PROOF_NOT_RUNNING:
		finish(m, LOAD_NOT_RUNNING, "nginx is not running");
		return;
	case PROOF_FAILED:
		finish(m, LOAD_FAILED, proof_text(m->load.proof));
		return;
	}
}

static void on_reload_done(struct mirror *m, enum keeper_answer answer, uint64_t own_us,
			   const char *text)
{
	(void)own_us;
	if (m->load.proof == NULL)
		return;
	if (answer != KEEPER_PASSED) {
		finish(m, LOAD_FAILED, text);
		return;
	}
	proof_reloaded(m->load.proof, loop_refresh_us(m->keeper->loop));
	poll_proof(m);
}

void load_start(struct mirror *m, uint64_t parse_us, load_fn fn)
{
	struct keeper *k = m->keeper;
	uint64_t now_us = loop_refresh_us(k->loop);
	struct proof_options options = {
		.pid_file = m->conf->pid_file,
		.error_log = m->conf->error_log,
		.parse_us = parse_us,
		.timeout_us = m->conf->reload_timeout_us,
	};
	int r;

	m->load.fn = fn;
	if (m->conf->reload.argv == NULL) {
		finish(m, LOAD_NOT_WANTED, "no `reload` is configured");
		return;
	}
	r = proof_begin(&options, now_us, &m->load.proof);
	if (r == 0 && !proof_running(m->load.proof)) {
		/* Whether it runs is not ours to change. */
		finish(m, LOAD_NOT_RUNNING, "nginx is not running");
		return;
	}
	if (r == 0)
		r = loop_timer_new(k->loop, poll_proof, m, &m->load.timer);
	if (r < 0) {
		finish(m, LOAD_FAILED, strerror(-r));
		return;
	}
	keeper_run(m, KEEPER_RELOAD_COMMAND, NULL, on_reload_done);
	loop_timer_set(m->load.timer, now_us + proof_poll_gap_us(m->load.proof, now_us));
}

void load_stop(struct mirror *m)
{
	m->load.proof = proof_free(m->load.proof);
	if (m->load.timer)
		m->load.timer = loop_timer_free(m->load.timer);
	m->load.fn = NULL;
}
