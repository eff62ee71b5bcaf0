/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proof: that nginx runs with what was committed, rather than that it was told to.
 *
 * `nginx -s reload` and `kill -HUP` succeed when the signal is sent. The master then reads the
 * files, and if it does not like them it says so in its error log and keeps its old workers. So a
 * reload is done when the master has workers that it had not when the commit was complete, and
 * neither it nor they have logged an [emerg].
 *
 * Somebody else's reload may have read half of the commit, and its workers come first. There are
 * none if the master was waiting for a signal when the commit was complete. If it was not (or the
 * kernel does not tell), they can be told apart by time alone: what the master began to read before
 * the commit is up within one reading (parse_us) after it. Workers that come up earlier than that
 * after the commit, while our own reload could not have been read yet, count only if no others
 * follow.
 *
 *   proof_begin() when the commit is complete and before the reload is started;
 *   proof_reloaded() when the reload command has ended;
 *   proof_poll() every proof_poll_gap_us() until it says something else than PROOF_WAITING.
 */
#ifndef TANDEM_PROOF_H
#define TANDEM_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROOF_TEXT_BYTES 4096
#define PROOF_WORKERS_MAX 1024

enum proof_verdict {
	PROOF_WAITING,
	PROOF_LOADED,	   /* new workers, and no complaint */
	PROOF_NOT_RUNNING, /* there is no master: live, not loaded */
	PROOF_FAILED,	   /* proof_text() says why, in nginx's own words if it had any */
};

struct proof;

struct proof_options {
	const char *pid_file;
	const char *error_log;
	uint64_t parse_us;   /* how long nginx takes to read the tree, at most; 0: not known */
	uint64_t timeout_us; /* from proof_begin() */
};

/* Notes the master and the children that it has now. */
int proof_begin(const struct proof_options *options, uint64_t now_us, struct proof **ret_proof);
struct proof *proof_free(struct proof *proof);
/* There is a master to reload. */
bool proof_running(const struct proof *proof);
void proof_reloaded(struct proof *proof, uint64_t now_us);
enum proof_verdict proof_poll(struct proof *proof, uint64_t now_us);
/* A few milliseconds at first, longer the longer it takes. */
uint64_t proof_poll_gap_us(const struct proof *proof, uint64_t now_us);
/* Terminated; "" unless PROOF_FAILED. */
const char *proof_text(const struct proof *proof);

#endif
