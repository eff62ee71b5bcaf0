/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/health_fsm.h"

#include <assert.h>
#include <string.h>

void health_fsm_init(struct health_fsm *fsm, const struct health_conf *conf, uint64_t now_us)
{
	assert(conf->fall >= 1 && conf->rise >= 1);
	memset(fsm, 0, sizeof(*fsm));
	fsm->conf = *conf;
	fsm->state = conf->init_fail ? HEALTH_DOWN : HEALTH_UNDETERMINED;
	fsm->since_us = now_us;
}

void health_fsm_reconfigure(struct health_fsm *fsm, const struct health_conf *conf)
{
	assert(conf->fall >= 1 && conf->rise >= 1);
	/* init_fail speaks of the start alone, and this is none. */
	fsm->conf = *conf;
}

static bool may_restart(const struct health_fsm *fsm, uint64_t now_us)
{
	uint64_t wait_us = HEALTH_RESTART_WAIT_US;

	if (fsm->restarting || fsm->restarts >= fsm->conf.restarts_max)
		return false;
	for (int i = 1; i < fsm->restarts && wait_us < HEALTH_RESTART_WAIT_MAX_US; i++)
		wait_us *= 2;
	if (wait_us > HEALTH_RESTART_WAIT_MAX_US)
		wait_us = HEALTH_RESTART_WAIT_MAX_US;
	return !fsm->restarts || now_us >= fsm->restart_us + wait_us;
}

bool health_fsm_result(struct health_fsm *fsm, enum health_result result, uint64_t now_us)
{
	const enum health_state says = result == HEALTH_OK ? HEALTH_UP : HEALTH_DOWN;
	int needed = 1;

	assert((unsigned)result < HEALTH_RESULTS);
	fsm->last = result;
	fsm->last_us = now_us;
	fsm->results[result]++;
	fsm->restart_due = false;
	if (says == HEALTH_UP && now_us >= fsm->restart_us + HEALTH_RESTART_FORGET_US)
		fsm->restarts = 0;
	if (says == fsm->state) {
		fsm->streak = 0;
		if (says == HEALTH_UP)
			fsm->restart_tried = false;
		fsm->restart_due = says == HEALTH_DOWN && may_restart(fsm, now_us);
		return false;
	}
	switch (fsm->state) {
	case HEALTH_UNDETERMINED:
		break; /* the first result decides */
	case HEALTH_UP:
		needed = fsm->conf.fall;
		break;
	case HEALTH_DOWN:
		needed = fsm->conf.rise;
		break;
	case HEALTH_STATES:
		assert(!"a state");
	}
	if (!fsm->streak++)
		fsm->streak_us = now_us;
	if (fsm->streak < needed)
		return false;
	if (fsm->state == HEALTH_UP) {
		if (fsm->conf.grace_us && now_us < fsm->streak_us + fsm->conf.grace_us)
			return false;
		if (fsm->conf.restart_first && fsm->restarting)
			return false;
		if (fsm->conf.restart_first && !fsm->restart_tried && may_restart(fsm, now_us)) {
			fsm->restart_due = true;
			return false;
		}
	}
	fsm->state = says;
	fsm->streak = 0;
	fsm->since_us = now_us;
	fsm->restart_tried = false;
	fsm->restart_due = says == HEALTH_DOWN && may_restart(fsm, now_us);
	return true;
}

uint64_t health_fsm_grace_end_us(const struct health_fsm *fsm)
{
	if (fsm->state != HEALTH_UP || fsm->streak < fsm->conf.fall || fsm->restarting)
		return UINT64_MAX;
	return fsm->streak_us + fsm->conf.grace_us;
}

bool health_fsm_restart(struct health_fsm *fsm, uint64_t now_us)
{
	if (!fsm->restart_due)
		return false;
	fsm->restart_due = false;
	fsm->restarting = true;
	fsm->restart_tried = true;
	fsm->restarts++;
	fsm->restart_us = now_us;
	return true;
}

void health_fsm_restarted(struct health_fsm *fsm, uint64_t now_us)
{
	fsm->restarting = false;
	/* The wait is for what it did, not for how long it took. */
	fsm->restart_us = now_us;
	/* What was found before says nothing of what runs now. */
	fsm->streak = 0;
}

bool health_fsm_given_up(const struct health_fsm *fsm)
{
	return fsm->state == HEALTH_DOWN && fsm->conf.restarts_max && !fsm->restarting &&
	       fsm->restarts >= fsm->conf.restarts_max;
}

static uint8_t clamp(int priority)
{
	if (priority < HEALTH_RANK_LOWEST)
		return HEALTH_RANK_LOWEST;
	return priority > 254 ? 254 : (uint8_t)priority;
}

/* What the number in a file adds; false if it decides alone. */
static bool weigh_value(const struct health_track *track, int *sum)
{
	int64_t product = (int64_t)track->value * track->weight;

	if (track->weight == 0)
		return (track->value != 0) == track->reverse;
	if (track->reverse)
		product = -product;
	if (product <= -HEALTH_VALUE_MAX)
		return false;
	*sum += product > HEALTH_VALUE_MAX ? HEALTH_VALUE_MAX : (int)product;
	return true;
}

struct health_rank health_fsm_rank(uint8_t priority, const struct health_track *tracks, int count)
{
	struct health_rank rank = {.priority = priority};
	int sum = priority, full = priority;
	bool lowest = false;

	assert(priority > 0 && count >= 0 && count <= HEALTH_TRACKS_MAX);
	for (int i = 0; i < count; i++) {
		const enum health_state bad = tracks[i].reverse ? HEALTH_UP : HEALTH_DOWN;
		const bool down = tracks[i].state == bad;

		if (tracks[i].state == HEALTH_UNDETERMINED)
			rank.undetermined = true;
		if (tracks[i].valued) {
			if (tracks[i].state == HEALTH_DOWN ||
			    (tracks[i].state == HEALTH_UP && !weigh_value(&tracks[i], &sum)))
				lowest = true;
		} else if (tracks[i].weight > 0) {
			full += tracks[i].weight;
			sum += down ? 0 : tracks[i].weight;
		} else if (tracks[i].weight < 0) {
			sum += down ? tracks[i].weight : 0;
		} else if (down) {
			lowest = true;
		}
	}
	/* The owner of the addresses (RFC 9568 section 6.1) does not let itself be weighed. */
	if (priority != 255)
		rank.priority = clamp(sum);
	if (lowest)
		rank.priority = HEALTH_RANK_LOWEST;
	rank.sick = rank.priority < clamp(full);
	return rank;
}

uint8_t health_fsm_full_priority(uint8_t priority, const int *weights, int count)
{
	int full = priority;

	assert(priority > 0 && count >= 0 && count <= HEALTH_TRACKS_MAX);
	if (priority == 255)
		return priority;
	for (int i = 0; i < count; i++)
		full += weights[i] > 0 ? weights[i] : 0;
	return clamp(full);
}

const char *health_fsm_state_name(enum health_state state)
{
	static const char names[HEALTH_STATES][8] = {"unknown", "ok", "failed"};

	assert((unsigned)state < HEALTH_STATES);
	return names[state];
}

const char *health_fsm_result_name(enum health_result result)
{
	static const char names[HEALTH_RESULTS][16] = {"ok", "failed", "timed-out", "not-executed"};

	assert((unsigned)result < HEALTH_RESULTS);
	return names[result];
}
