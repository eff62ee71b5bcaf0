/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrrp_fsm: one virtual router. Pure: no clock, sockets, allocation, logging or globals.
 *
 *   vrrp_fsm_init(fsm, conf)
 *   step VRRP_EV_LINK (is the interface up?), VRRP_EV_HEALTH (what is my rank?), then
 *   step VRRP_EV_START, or VRRP_EV_RESUME after an engine that died while MASTER
 *   for ever: wait until vrrp_fsm_deadline(); drain the sockets, one VRRP_EV_ADVERT for each usable
 *   advert; if the deadline has still passed, VRRP_EV_TIMER
 *   step VRRP_EV_STOP; go on until VRRP_DO_STOPPED
 *
 * Each step fills a bounded, ordered list of actions that the shell carries out in that order
 * before it steps again. What fails comes back as an event (VRRP_EV_SEND_FAILED,
 * VRRP_EV_HOLD_FAILED) before any other event. All times are monotonic microseconds; ev->now_us
 * never goes back.
 *
 * The order matters (invariant A6): the shell drains every queued advert before it fires a
 * deadline, and an advert is judged by its arrival_us, so that a process that was starved does not
 * take over from a master that was heard in time.
 *
 * What RFC 9568 (v2: RFC 3768) leaves out, and where this departs from it:
 * - A peer is sick when it advertises less than conf.nodes[].priority. nopreempt protects only
 *   holders that are not sick; whoever has a strictly higher effective priority takes from a sick
 *   one after its own skew time.
 * - A MASTER that has been silent for longer than the others would wait lets go before it does
 *   anything else (VRRP_CAUSE_AWAY).
 * - LEAVING: the addresses are held until a successor is seen, with a bound. Who leaves for a
 *   handover and finds no successor goes on as MASTER, without having let go.
 * - After a handover the node treats the router as if it were nopreempt, until it is lifted or the
 *   successor has failed. In maintenance it is sick by will: it ranks as 1, whatever its checks
 * say.
 * - A sick MASTER resigns towards a foreign peer (one that knows nothing of sickness): one priority
 *   0, silence for as long as the slowest peer waits, and the addresses stay until it is heard.
 *
 * conf and statistics are structs of their own; pointers in events are borrowed for the call.
 */
#ifndef TANDEM_VRRP_FSM_H
#define TANDEM_VRRP_FSM_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/vrrp_wire.h"

#define VRRP_NEVER_US UINT64_MAX
#define VRRP_ACTIONS_MAX 16

/* The one repeat of a priority 0; within 10 ms. */
#define VRRP_LEAVE_REPEAT_US 5000
/* From a successor's advert to its announcement: 2.5 to 11 ms were measured. */
#define VRRP_LEAVE_GRACE_US 50000
/* Beyond the slowest peer's skew time. */
#define VRRP_LEAVE_MARGIN_US 100000
/* An advert so soon after its sender's priority 0 was overtaken by it on the way; half an interval
 * where that is shorter. */
#define VRRP_OVERTAKEN_US 25000
/* A first advert of priority 1 so soon after a priority 0 is the leaver's last word. */
#define VRRP_LAST_WORD_US 10000000
/* Between answers to a lower-priority master; half an interval where that is shorter. */
#define VRRP_ANSWER_GAP_US 20000
/* Lost addresses are put back so often at once, and then once in so many microseconds. */
#define VRRP_PUT_BACKS_MAX 5
#define VRRP_PUT_BACK_GAP_US 12000000
/* After the kernel refused the addresses. */
#define VRRP_HOLD_RETRY_US 10000000
/* Then a backup that could not send may preempt again. */
#define VRRP_MUTE_FORGET_US 60000000
/* Master-downs until a sick master resigns again; doubled each time, so often at most. */
#define VRRP_RESIGN_BACKOFF_DOWNS 10
#define VRRP_RESIGN_DOUBLINGS_MAX 10
/* What a node in maintenance advertises: anybody who is not outranks it. */
#define VRRP_MAINTENANCE_PRIORITY 1
/* Announcements 20, 50 and 200 ms after a contention was won, and once more after
 * garp_lower_prio_delay. */
#define VRRP_CONTENTION_ANNOUNCES 4
/* Two such series within so long at most, whatever the delay. */
#define VRRP_CONTENTION_GAP_US 1000000
/* Who took over for silence and hears that somebody held all along says so often that he did. */
#define VRRP_YIELD_ADVERTS 3

enum vrrp_state {
	VRRP_INIT,
	VRRP_BACKUP,
	VRRP_MASTER,
	VRRP_LEAVING, /* stops or hands over: holds the addresses until somebody else has them */
	VRRP_FAULT,   /* the interface is down, or the kernel refused the addresses */
	VRRP_STATES
};

/* Why a transition was made. */
enum vrrp_cause {
	VRRP_CAUSE_NONE,
	VRRP_CAUSE_START,
	VRRP_CAUSE_OWNER,	/* priority 255 */
	VRRP_CAUSE_MASTER_DOWN, /* nobody was heard for master-down */
	VRRP_CAUSE_MASTER_LEFT, /* priority 0 was heard */
	VRRP_CAUSE_PREEMPT,	/* from a healthy holder of lower priority */
	VRRP_CAUSE_SICK_HOLDER, /* from a sick holder of lower priority */
	VRRP_CAUSE_RESUMED,	/* the engine was restarted in time */
	VRRP_CAUSE_HIGHER_PRIORITY,
	VRRP_CAUSE_HIGHER_ADDRESS, /* equal priority, RFC 9568 section 6.4.3 */
	VRRP_CAUSE_RESIGNED,	   /* a successor was heard after we resigned */
	VRRP_CAUSE_MUTE,	   /* another master is heard, and our adverts cannot be sent */
	VRRP_CAUSE_AWAY,	   /* we were silent for longer than the others wait */
	VRRP_CAUSE_LINK_DOWN,
	VRRP_CAUSE_LINK_UP,
	VRRP_CAUSE_HOLD_FAILED, /* the kernel refused the addresses */
	VRRP_CAUSE_HOLD_RETRY,
	VRRP_CAUSE_STOP,
	VRRP_CAUSE_HANDOVER,	 /* somebody asked for it */
	VRRP_CAUSE_MAINTENANCE,	 /* somebody declared it */
	VRRP_CAUSE_ANNOUNCED,	 /* LEAVING ends: the successor announced the addresses */
	VRRP_CAUSE_SUCCESSOR,	 /* LEAVING ends: the successor's advert is 50 ms old */
	VRRP_CAUSE_GROUP,	 /* another member of the group moved */
	VRRP_CAUSE_NO_SUCCESSOR, /* LEAVING ends: the wait is over, or there is no peer */
	VRRP_CAUSES
};

struct vrrp_node {
	struct ip_addr address; /* the source of its adverts, which breaks ties */
	uint8_t priority;	/* what it advertises when nothing ails it (see
				 * health_fsm_full_priority); 0: takes no part */
	bool foreign;		/* knows nothing of sickness: not tandem */
	bool unsaid;		/* its priority is not in the file, and priority the quickest that
				 * it may have: it is never taken for sick */
};

struct vrrp_conf {
	uint8_t version;
	uint64_t advert_int_us;
	uint8_t down_adverts; /* so many are missed before somebody takes over */
	int self;	      /* index into nodes */
	int nodes_count;
	struct vrrp_node nodes[VRRP_NODES_MAX];
	bool grouped;		/* one of several that move together: see group_fsm.h */
	uint64_t group_skew_us; /* the longest skew time at priority 1 of all of them; 0: not
				   grouped */
	bool nopreempt;
	uint64_t preempt_delay_us;
	uint64_t stop_wait_us;		 /* the longest wait in LEAVING */
	uint64_t undetermined_wait_us;	 /* how long checks that have not reported may keep a
					  * router from an address that nobody holds: as long as
					  * the slowest tracked check may take */
	uint64_t garp_master_delay_us;	 /* the second announcement */
	uint64_t garp_master_refresh_us; /* 0: never */
	uint64_t garp_lower_prio_delay_us; /* the last one after a contention; 0: none so late */
};

enum vrrp_event_type {
	VRRP_EV_LINK,	/* link */
	VRRP_EV_HEALTH, /* health: rank of this node, at the start and whenever it changes */
	VRRP_EV_START,	/* start */
	VRRP_EV_RESUME, /* resume: instead of START; the addresses are still there */
	VRRP_EV_ADVERT, /* advert: a usable one */
	VRRP_EV_TIMER,
	VRRP_EV_STOP,
	VRRP_EV_HANDOVER,     /* handover: give it to somebody else, or lift that; before START: it
			       * was given away before this engine */
	VRRP_EV_MAINTENANCE,  /* maintenance: on or off; before START if it is on */
	VRRP_EV_AWAY,	      /* away: the shell knows of a pause that now_us does not show */
	VRRP_EV_ADDRESS_LOST, /* somebody removed one of the addresses */
	VRRP_EV_HOLD_FAILED,  /* VRRP_DO_HOLD did not work */
	VRRP_EV_SEND_FAILED,  /* VRRP_DO_SEND did not work, to no destination */
	VRRP_EV_ANNOUNCED,    /* a foreign announcement of the last of the addresses was seen */
	VRRP_EV_CONF,	      /* conf: the file changed; what identifies the router (version, VRID,
			       * interface, self) did not: for that stop one and start another */
	VRRP_EV_GROUP_TAKE,   /* grouped: every member wants to take over, or is MASTER */
	VRRP_EV_GROUP_YIELD,  /* grouped, yield: another member is MASTER no more */
	VRRP_EV_GROUP_LEFT,   /* grouped, left: another member heard this node's priority 0 */
	VRRP_EVENTS
};

struct vrrp_event {
	enum vrrp_event_type type;
	uint64_t now_us;
	union {
		struct {
			uint64_t quiet_until_us; /* start-up delay: until then it listens only */
		} start;
		struct {
			bool up;
		} link;
		struct {
			uint8_t priority; /* effective, 1..255 */
			bool undetermined;
		} health;
		struct {
			uint64_t last_advert_us;
			uint8_t priority; /* as last advertised; kept until health is determined */
		} resume;
		struct {
			uint64_t arrival_us;
			int node; /* index into conf.nodes, not self */
			uint8_t priority;
			uint64_t advert_int_us;
			enum vrrp_verdict verdict;
		} advert;
		struct {
			bool lift;
		} handover;
		struct {
			bool on;
		} maintenance;
		struct {
			int node;
		} left;
		struct {
			bool handed_over;
		} yield;
		struct {
			uint64_t pause_us;
		} away;
		struct {
			const struct vrrp_conf *conf;
			bool vips_changed;
		} conf;
	} u;
};

enum vrrp_alarm {
	VRRP_ALARM_ADDRESS_LOST,     /* and put back at once */
	VRRP_ALARM_PUT_BACK_LIMITED, /* lost again and again: put back later */
	VRRP_ALARM_SEND_FAILED,	     /* adverts cannot be sent (said once until one can) */
	VRRP_ALARM_CONTENTION,	     /* another master of lower rank is heard (once a contention) */
	VRRP_ALARM_RESIGNED, /* sick: a priority 0 was sent so that a foreign peer takes over */
	VRRP_ALARM_DOUBT,    /* the deadline was seen so late that silence proves nothing */
	VRRP_ALARMS
};

/* What an announcement is for: the file says how many packets each kind has. */
enum vrrp_announce {
	VRRP_ANNOUNCE_MASTER,	  /* the addresses are here now; and once more a little later */
	VRRP_ANNOUNCE_REFRESH,	  /* and still are */
	VRRP_ANNOUNCE_CONTENTION, /* a master of lower rank was heard */
	VRRP_ANNOUNCES
};

enum vrrp_action_type {
	VRRP_DO_SEND,	  /* priority: one advert to each destination */
	VRRP_DO_HOLD,	  /* make the interface have exactly the configured addresses */
	VRRP_DO_RELEASE,  /* remove all of them */
	VRRP_DO_ANNOUNCE, /* announce: gratuitous ARPs for each address */
	VRRP_DO_WATCH,	  /* watch the wire for a foreign announcement of the last address */
	VRRP_DO_UNWATCH,
	VRRP_DO_TRANSITION, /* transition: log it, queue the hooks */
	VRRP_DO_ALARM,	    /* alarm */
	VRRP_DO_STOPPED,    /* last action after VRRP_EV_STOP */
	VRRP_ACTION_TYPES
};

struct vrrp_action {
	enum vrrp_action_type type;
	union {
		uint8_t priority;
		enum vrrp_alarm alarm;
		enum vrrp_announce announce;
		struct {
			enum vrrp_state from, to;
			enum vrrp_cause cause;
			int node; /* whose advert caused it, or -1 */
		} transition;
	} u;
};

struct vrrp_actions {
	int count;
	struct vrrp_action list[VRRP_ACTIONS_MAX];
};

/* What is known of a peer; for decisions and for status. */
struct vrrp_peer {
	bool heard;
	uint64_t heard_us; /* arrival of its last advert */
	uint8_t priority;  /* as it said; 0: it left */
	bool last_word;	   /* its one advert of priority 1 after leaving was heard */
	uint64_t advert_int_us;
	enum vrrp_verdict verdict;
};

struct vrrp_stats {
	uint64_t adverts_sent;
	uint64_t adverts_received;
	uint64_t priority_zero_sent;
	uint64_t priority_zero_received;
	uint64_t mismatches_received;
	uint64_t send_failures;
	uint64_t announces;
	uint64_t became_master;
	uint64_t transitions;
	uint64_t contentions;
	uint64_t resignations;
	uint64_t put_backs;
};

/* Visible for tests, status and the simulator; only vrrp_fsm_*() write to it. Deadlines are
 * VRRP_NEVER_US when unset. */
struct vrrp_fsm {
	struct vrrp_conf conf;
	struct vrrp_stats stats;
	enum vrrp_state state;
	enum vrrp_cause cause; /* of being in state */
	uint64_t since_us;     /* of state */

	uint64_t now_us; /* of the last step */

	/* Ourselves. */
	bool link_up;
	bool undetermined;
	uint64_t undetermined_until_us;
	uint64_t quiet_until_us; /* start-up delay: takes over from nobody before that */
	uint8_t rank;	  /* by the checks */
	uint8_t priority; /* effective: the rank, unless in maintenance */
	bool maintenance;
	bool handed_over;   /* and not lifted: takes from no healthy holder */
	bool priority_kept; /* from before a resume, until health is determined */
	bool sending;	    /* an advert went out and no failure has come back */
	bool mute;	    /* the last advert failed */
	uint64_t mute_until_us;

	/* BACKUP. The deadlines are kept without skew time, which follows the priority. */
	int master;		/* node that is obeyed; -1: none */
	uint64_t master_int_us; /* its interval, RFC 9568 Active_Adver_Interval */
	uint64_t down_base_us;	/* master-down without skew; arrival of a priority 0 */
	bool master_left;	/* a priority 0 was heard and nothing since */
	int left_node;		/* whose; -1: none */
	bool wants;		/* grouped: would take over if the others did */
	enum vrrp_cause wants_cause;
	int wants_node;
	uint64_t take_base_us;	   /* since when a sick holder of lower priority is heard */
	uint64_t preempt_since_us; /* since when a healthy one is */
	bool doubted;		   /* a late deadline was extended once */

	/* MASTER. */
	uint64_t evidence_us;	    /* adverts that arrived before this say nothing any more */
	uint64_t advert_us;	    /* next advert */
	uint64_t sent_us;	    /* last advert with a priority above 0 */
	uint64_t answer_us;	    /* no answer to a lower-priority master before this */
	uint64_t announce_us;	    /* next announcement: second, or refresh */
	bool announced_once;	    /* and not yet a second time */
	uint64_t contend_from_us;   /* when the contention was seen whose announcements are due */
	uint64_t contend_before_us; /* and the one before it */
	int contend_step;	    /* next of them; VRRP_CONTENTION_ANNOUNCES: none */
	uint64_t contend_last_us;   /* last advert of a lower-priority master */
	uint64_t put_back_us;	    /* lost addresses wait until then */
	uint64_t put_back_full_us;  /* when the allowance of put-backs is whole again */
	uint64_t resigned_until_us; /* silent until then; NEVER: not resigned */
	uint64_t resign_again_us;
	int resign_doublings;

	/* LEAVING. */
	bool returns; /* to BACKUP or MASTER: it does not stop */
	uint64_t repeat_us;
	uint64_t release_us;
	uint64_t leave_end_us;	    /* without a successor */
	int successor;		    /* first other master heard, or -1 */
	uint8_t successor_priority; /* as it said; 0: none was heard */

	/* FAULT. */
	uint64_t retry_us; /* NEVER unless the kernel refused the addresses */

	struct vrrp_peer peers[VRRP_NODES_MAX];
};

void vrrp_fsm_init(struct vrrp_fsm *fsm, const struct vrrp_conf *conf); /* copies conf */
void vrrp_fsm_step(struct vrrp_fsm *fsm, const struct vrrp_event *ev, struct vrrp_actions *out);
/* When VRRP_EV_TIMER is due, or VRRP_NEVER_US. */
uint64_t vrrp_fsm_deadline(const struct vrrp_fsm *fsm);

/* Held iff MASTER or LEAVING (invariant A1). */
bool vrrp_fsm_holds(const struct vrrp_fsm *fsm);
/* Advertises less than when nothing ails it. */
bool vrrp_fsm_sick(const struct vrrp_fsm *fsm);
/* The node whose adverts are obeyed (BACKUP), ourselves (MASTER, LEAVING), or -1. */
int vrrp_fsm_master(const struct vrrp_fsm *fsm);
/* How long the quickest peer waits after our last advert before it takes over; NEVER without peers.
 */
uint64_t vrrp_fsm_others_wait_us(const struct vrrp_fsm *fsm);

/* RFC 9568 section 6.1 (v3: scaled by the interval) and RFC 3768 section 6.1 (v2: not scaled);
 * master-down is that of a node of this priority behind a master with that interval. */
uint64_t vrrp_fsm_skew_us(uint8_t version, uint8_t priority, uint64_t advert_int_us);
uint64_t vrrp_fsm_master_down_us(const struct vrrp_conf *conf, uint8_t priority,
				 uint64_t advert_int_us);

const char *vrrp_fsm_state_name(enum vrrp_state state); /* "MASTER" */
const char *vrrp_fsm_cause_name(enum vrrp_cause cause); /* "master-down" */
const char *vrrp_fsm_alarm_name(enum vrrp_alarm alarm); /* "address-lost" */
const char *vrrp_fsm_alarm_text(enum vrrp_alarm alarm); /* a sentence */
const char *vrrp_fsm_event_name(enum vrrp_event_type type);
const char *vrrp_fsm_action_name(enum vrrp_action_type type);

#endif
