/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health_fsm: results of checks to health, and health to the priority of a virtual router. Pure.
 *
 * One struct health_fsm for each check of a node; several virtual routers may track it, each with
 * its own weight. health_fsm_result() says whether the state changed; if so the shell asks
 * health_fsm_rank() again for every router that tracks the check and hands the answer to its
 * vrrp_fsm as VRRP_EV_HEALTH.
 *
 * A check begins undetermined and its first result decides, whatever fall and rise are (keepalived
 * does the same). With init_fail it begins as failed and needs its `rise` like any failed one. What
 * cannot be executed, and what does not end in time, has failed: a missing check is never a passed
 * one.
 *
 * What has failed may be restarted. The address moves first, and the restart runs beside it; with
 * restart_first the check stays well while the first restart runs, and fails if that did not help.
 * While it stays failed it is restarted again, with a wait that doubles, and so often at most.
 *
 * A check whose weight is 0 decides alone: failed, the router is sick and ranks lowest, priority 1,
 * but goes on holding while nobody else takes over. While any tracked check has not reported the
 * router is undetermined: it does not take an address from anybody who is heard. It does not wait
 * for ever either: where nobody is heard, the state machine's undetermined_wait_us bounds it (see
 * vrrp_fsm.h), because a node whose health is unknown is better than none.
 */
#ifndef TANDEM_HEALTH_FSM_H
#define TANDEM_HEALTH_FSM_H

#include <stdbool.h>
#include <stdint.h>

#define HEALTH_TRACKS_MAX 16
#define HEALTH_WEIGHT_MAX 253
/* A value of a file that takes so much is a failure that decides alone; one that gives more gives
 * no more than this (keepalived's limits). */
#define HEALTH_VALUE_MAX 254
#define HEALTH_RANK_LOWEST 1

enum health_result {
	HEALTH_OK,
	HEALTH_FAILED,
	HEALTH_TIMED_OUT,    /* did not end in time: failed */
	HEALTH_NOT_EXECUTED, /* could not be started at all: failed */
	HEALTH_RESULTS
};

enum health_state { HEALTH_UNDETERMINED, HEALTH_UP, HEALTH_DOWN, HEALTH_STATES };

/* Between two restarts; doubled with each further one, up to the longest. */
#define HEALTH_RESTART_WAIT_US 10000000
#define HEALTH_RESTART_WAIT_MAX_US 300000000
/* So long without a restart, and well, and all are allowed again. */
#define HEALTH_RESTART_FORGET_US 600000000

struct health_conf {
	int fall; /* results in a row, 1 or more */
	int rise;
	bool init_fail;
	uint64_t grace_us;  /* a failure counts once it has lasted so long */
	int restarts_max;   /* 0: there is no command to restart what has failed */
	bool restart_first; /* restart, and only then call it failed */
};

struct health_fsm {
	struct health_conf conf;
	enum health_state state;
	enum health_result last;	  /* meaningless before the first one */
	int streak;			  /* results in a row that speak against state */
	uint64_t streak_us;		  /* when the first of them came */
	uint64_t since_us;		  /* of state */
	uint64_t last_us;		  /* of last; 0: none yet */
	uint64_t results[HEALTH_RESULTS]; /* how many of each */
	bool restart_due;		  /* the command is to be run now */
	bool restarting;		  /* it runs */
	bool restart_tried;		  /* for this failure, with restart_first */
	int restarts;			  /* that are not forgotten */
	uint64_t restart_us;		  /* the last one */
};

void health_fsm_init(struct health_fsm *fsm, const struct health_conf *conf, uint64_t now_us);
/* A reload: what is known stays known. */
void health_fsm_reconfigure(struct health_fsm *fsm, const struct health_conf *conf);
/* Returns true if fsm->state changed. */
bool health_fsm_result(struct health_fsm *fsm, enum health_result result, uint64_t now_us);
/* When a failure that waits for the end of its grace should be looked at again; UINT64_MAX: none
 * does. */
uint64_t health_fsm_grace_end_us(const struct health_fsm *fsm);
/* After each result, once the routers know of it: true if the restart command is to be started now.
 * The shell starts it, and says health_fsm_restarted() when it has ended, however it ended. */
bool health_fsm_restart(struct health_fsm *fsm, uint64_t now_us);
void health_fsm_restarted(struct health_fsm *fsm, uint64_t now_us);
/* Failed, and restarted as often as allowed. */
bool health_fsm_given_up(const struct health_fsm *fsm);

struct health_track {
	enum health_state state;
	int weight;   /* -253..253 */
	bool reverse; /* well counts as failed and failed as well; a value counts against */
	bool valued;  /* of a file: value times weight is added while the state is up */
	int32_t value;
};

struct health_rank {
	uint8_t priority;  /* effective: 1..254, or 255 for an owner */
	bool sick;	   /* less than when all checks are up */
	bool undetermined; /* a tracked check has not reported yet */
};

/* priority: as configured, 1..255. Weights below 0 are subtracted while their check is down,
 * weights above 0 are added unless it is down (an undetermined check counts as up). A value is
 * multiplied with its weight; with weight 0 any value but 0 is a failure that decides alone, and so
 * are a product of -254 or less and a file that cannot be read. The sum is clamped to 1..254; 255
 * ignores weights other than 0. Sick is what falls below what all nodes expect of a healthy one,
 * in which values have no part (see health_fsm_full_priority()).
 */
struct health_rank health_fsm_rank(uint8_t priority, const struct health_track *tracks, int count);
/* The priority that a node advertises when nothing ails it: the configured one and every weight
 * above 0. What an advert is measured against to know whether its sender is sick. */
uint8_t health_fsm_full_priority(uint8_t priority, const int *weights, int count);

const char *health_fsm_state_name(enum health_state state); /* "ok", "failed", "unknown" */
const char *
health_fsm_result_name(enum health_result result); /* "ok", "failed", "timed-out", ... */

#endif
