/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_private: what the files of the engine share (engine*.c); nobody else includes this.
 *
 *   engine.c             start, snapshots, beats, the end
 *   engine_talk.c        the runner's messages, and the control socket's requests
 *   engine_router.c      one virtual router: its events, its actions
 *   engine_router_conf.c what the file says of it, for the cores
 *   engine_sockets.c     the sockets that hear adverts, and whose they are
 *   engine_packets.c     its adverts: what comes in, what goes out
 *   engine_routes.c      its routes
 *   engine_vmac.c        its own interface, where it has one
 *   engine_rivals.c      who else has its addresses
 *   engine_vips.c        its addresses, and the wire on which others announce them
 *   engine_announce.c    what we announce
 *   engine_check.c       one check: its life, pid files, scripts, interfaces, other routers
 *   engine_group.c       routers that move together
 *   engine_named.c       a check's processes by their name
 *   engine_file.c        a check's file with a number
 *   engine_probe.c       what checks ask of the prober
 *   engine_moves.c       handover and maintenance
 *   engine_trial.c       what a reload would do
 *   engine_mail.c        mail to people
 *   engine_status.c      what `status` answers
 */
#ifndef TANDEM_ENGINE_PRIVATE_H
#define TANDEM_ENGINE_PRIVATE_H

#include "agent/address.h"
#include "agent/agent_record.h"
#include "agent/agent_snapshot.h"
#include "agent/arrival.h"
#include "agent/engine.h"
#include "agent/engine_msg.h"
#include "agent/group_fsm.h"
#include "agent/health_fsm.h"
#include "agent/netmon.h"
#include "agent/refusal.h"
#include "agent/vrrp_fsm.h"
#include "agent/vrrp_sock.h"
#include "shared/ctl.h"
#include "shared/loop.h"
#include "shared/msg.h"
#include "shared/wire.h"

#define ENGINE_DETAIL_BYTES 512
#define ENGINE_OUTPUT_BYTES 4097
/* Those that are wanted, and those of the file before that are still to be removed. */
#define ENGINE_HELD_MAX (2 * CONF_VIPS_MAX)
/* At once, and twice more: a switch may need a moment before it forwards on a new link. */
#define ENGINE_GREETINGS 3

struct engine_held {
	int ifindex;
	struct ip_prefix prefix; /* as it is on the interface */
	bool ours;		 /* we added it; otherwise it was there and is never removed */
	bool announced;		 /* by somebody else, since the watch began */
	int to_announce;	 /* packets that wait; see engine_announce.c */
};

/* Announcements are heard with one socket for each interface and family (ARP, neighbour
 * advertisements). A router whose addresses need more goes by its successor's advert. */
#define ENGINE_EARS_MAX 8

/* Hears the announcements of one interface and family, while somebody watches. */
struct engine_listener {
	struct engine_listener *next;
	struct engine *engine;
	int ifindex, fd;
	enum ip_family family;
	struct loop_fd *source;
	int watchers;
};

/* Somebody else says that he has one of a router's addresses. */
#define ENGINE_RIVALS_MAX 8
struct engine_rival {
	struct ip_addr addr;
	uint8_t mac[6];
	bool held; /* by us as well, when it was heard last; otherwise we were about to take it */
	uint64_t count, last_us;
	uint64_t told_us; /* in the log; 0: not yet */
};

struct engine_alarm {
	uint64_t count, last_us;
};

#define ENGINE_VRIDS 256

/* Hears the adverts of all routers that multicast on one interface, or that send from one address,
 * and deals them out. */
struct engine_socket {
	struct engine_socket *next;
	struct engine *engine;
	uint32_t id; /* towards the runner */
	bool multicast;
	int ifindex;
	char ifname[CONF_IFNAME_BYTES];
	struct ip_addr group; /* multicast: joined */
	struct ip_addr at;    /* unicast: bound to; multicast: its family counts */
	int fd;
	struct loop_fd *source;
	struct loop_timer *rest_timer; /* set: it is not waited for, but looked at then */
	uint64_t wakes_since_us;
	int wakes;	   /* since then, adverts have woken us so often */
	uint64_t empty_us; /* when it was last seen empty */
	bool emptied;	   /* it has been, since it was opened */
	uint32_t dropped;  /* by its full queue */
	struct vrrp_sock_packet batch[VRRP_SOCK_BATCH];
	int batch_at, batch_count; /* the next one to be judged; how many were taken */
	struct engine_router *routers[ENGINE_VRIDS]; /* by VRID; several by next_heard */
	int users;
};

struct engine_hook {
	char name[32], state[16], outcome[160];
	char output[ENGINE_OUTPUT_BYTES];
	bool ok;
	int exit; /* ENGINE_HOOK_NO_EXIT: none */
	uint64_t took_us, at_us;
};

struct engine_router {
	struct engine_router *next;
	struct engine *engine;
	uint32_t id; /* towards the runner */
	struct agent_snapshot *snapshot;
	int place;
	const struct conf_vrrp *conf; /* in snapshot */
	struct vrrp_fsm fsm;
	struct vrrp_wire_conf wire;
	struct loop_timer *timer;
	uint64_t due_us; /* of the timer */

	/* The interface and the socket. */
	int ifindex; /* 0: there is none */
	uint8_t mac[6];
	bool has_mac;
	int vmac_ifindex;	      /* 0: it has no interface of its own, or that is not there */
	uint64_t vmac_asked_us;	      /* when the runner was asked for it; 0: never */
	char vmac_trouble[128];	      /* why it could not be made; "" */
	bool looked, usable;	      /* by itself,whatever its group is like */
	bool link_up;		      /* as the core was told */
	char trouble[160];	      /* why not; "" if nothing is wrong */
	struct engine_socket *socket; /* NULL: not open */
	struct engine_router *next_heard;
	enum vrrp_checksum habits[VRRP_NODES_MAX];
	enum vrrp_checksum habit; /* of whoever was heard last */
	struct refusals refusals;
	int send_errno;
	int greetings; /* that are still to be sent, one a second */

	/* The addresses. */
	struct engine_held held[ENGINE_HELD_MAX];
	int held_count;
	uint64_t renewed_us;
	bool routes_held; /* the routes were put in, since the addresses are held */
	struct engine_listener *watches[ENGINE_EARS_MAX]; /* NULL: not watching */
	struct engine_rival rivals[ENGINE_RIVALS_MAX];
	int rivals_count;
	uint64_t asked_us; /* when the wire was asked for them */
	int asks;	   /* of the present series */

	/* What befell while actions were carried out; told to the core after them. */
	bool stepping, send_failed, hold_failed, address_lost, announced;
	bool record_due, health_due;
	bool started;
	bool leaving; /* out of the configuration, or the agent stops */
	bool moved;   /* it held the addresses when a handover was asked for */
	bool stopped;
	struct engine_hook *hook, *hook_failed; /* the last one; the last that failed; or NULL */
	struct engine_alarm alarms[VRRP_ALARMS];
};

struct engine_check {
	struct engine_check *next;
	struct engine *engine;
	struct agent_snapshot *snapshot;
	int place;
	const struct conf_check *conf; /* in snapshot */
	struct health_fsm health;
	struct loop_timer *timer;
	char detail[ENGINE_DETAIL_BYTES];
	uint64_t failures;
	uint64_t failed_us; /* the last one; 0: none */
	char *failed_words; /* what it said; NULL: none */
	/* script, http, tcp */
	uint32_t run; /* 0: none */
	/* http, tcp */
	struct loop_timer *guard; /* until when the prober must have answered */
	/* its restart command */
	uint32_t restart_run; /* 0: none runs */
	bool restart_good;
	char restart_words[ENGINE_DETAIL_BYTES]; /* how the last one ended; "": none has */
	/* file */
	struct engine_file *file;
	int32_t value;
	/* process_name */
	struct engine_named *named;
	/* process */
	int pidfd; /* -1: none is watched */
	struct loop_fd *source;
	int pid;
	uint64_t pid_start; /* of the process, in ticks since boot */
	uint64_t file_mtime_ns, file_inode;
};

/* The one request that moves something. */
struct engine_move {
	struct ctl_client *client;	    /* NULL: none, or it has gone */
	char name[CONF_NAME_BYTES_MAX + 1]; /* "": all */
	bool lift;
	bool awaits_runner;
	uint32_t request;
	uint64_t asked_us;
};

#define ENGINE_MAILS_MAX 32

struct engine_mail {
	uint64_t wall_s;
	char subject[224];
	char text[512];
};

struct engine_mails {
	struct engine_mail list[ENGINE_MAILS_MAX]; /* a ring */
	int first, count;
	uint32_t run;		  /* of the first one, which is under way; 0: none is */
	int tries;		  /* of the first one, that failed */
	struct loop_timer *timer; /* to try again; or until when the prober must have answered */
	uint64_t sent, dropped;
	char error[256]; /* of the last try; "": it went well */
};

/* Routers that move together. */
struct engine_group {
	char name[CONF_NAME_BYTES_MAX + 1];
	struct group_fsm fsm;
	bool judging;
	struct engine_hook *hook, *hook_failed;
};

/* Timers that fired late: starvation, of this process or of the whole host. */
struct engine_late {
	uint64_t count, last_us; /* turns of the loop; when the last one was */
	uint64_t by_us;		 /* in it */
	uint64_t worst_us, worst_by_us;
	uint64_t told_us; /* in the log; 0: not yet */
};

struct engine_waiter {
	struct ctl_client *client; /* NULL: free */
	uint32_t request;
};

struct engine {
	struct loop *loop;
	struct msg_channel *channel;
	struct msg_channel *prober; /* NULL: none */
	struct engine_mails mails;
	struct netmon *netmon;
	struct address_port *addresses;
	struct route_port *routes;
	int announce_fd;
	struct ctl_server *ctl;
	bool ctl_due; /* to be made anew */
	int listen_fd;
	struct arrival arrival;
	uint64_t look_us;		 /* when the clocks were last looked at */
	bool still;			 /* and what was seen */
	int64_t boot_offset_us;		 /* CLOCK_BOOTTIME minus monotonic */
	struct agent_snapshot *snapshot; /* NULL until the first one */
	struct engine_router *routers;
	struct engine_check *checks;
	struct engine_listener *listeners;
	struct engine_ear *ears;
	struct engine_socket *sockets;
	int send_fds[2];	   /* IPv4, IPv6; -1: this host has none of it */
	struct engine_lane *lanes; /* see engine_announce.c */
	struct loop_timer *announce_timer;
	struct engine_group groups[CONF_GROUPS_MAX]; /* as in the last snapshot */
	uint32_t next_router_id, next_socket_id, next_run, next_request;
	struct loop_timer *beat_timer, *second_timer;
	struct loop_timer *soon_timer; /* what must not happen within a step: see engine_soon() */
	bool look_due;		       /* interfaces or addresses have changed */
	uint64_t beat_due_us;	       /* 0: not yet */
	uint64_t reported_us;
	struct engine_waiter waiters[CTL_CLIENTS_MAX];
	struct engine_move move;
	bool maintenance;
	bool started;  /* START has come */
	bool applying; /* a snapshot: routers learn of their checks when all is in place */
	bool leaving;  /* LEAVE, or the runner is gone */
	bool runner_gone;
	bool left_said;
	uint64_t started_us;	 /* this engine */
	uint64_t agent_began_us; /* its first one */
	struct engine_late late;
	/* What an engine before this one left, until START. */
	struct agent_record *records[ENGINE_ROUTERS_MAX];
	int records_count;
	struct {
		uint32_t id;
		int fd; /* -1: taken */
	} left[ENGINE_ROUTERS_MAX];
	int left_count;
	struct {
		char name[CONF_NAME_BYTES_MAX + 1];
		uint8_t state;
	} health[CONF_CHECKS_MAX];
	int health_count;
	char handed_over[ENGINE_ROUTERS_MAX][CONF_NAME_BYTES_MAX + 1];
	int handed_over_count;
};

/* engine.c */
void engine_tell(struct engine *engine, enum engine_msg type, const struct wire_writer *w, int fd);
/* Reads both clocks, once in a turn; true if stamps since the last look can be trusted. */
bool engine_look(struct engine *engine);
/* In the next turn: frees routers that have stopped, looks at interfaces that changed, tells
 * routers whose address was lost. */
void engine_soon(struct engine *engine);
void engine_tell_number(struct engine *engine, enum engine_msg type, uint32_t number);
/* Until when the start-up delay lasts, if it does; a time that is past otherwise. */
uint64_t engine_quiet_until_us(const struct engine *engine);
/* START has come. False: it makes no sense now. */
bool engine_begin(struct engine *engine);
/* engine->snapshot is another one now: makes what runs like it. */
void engine_apply(struct engine *engine);
void engine_leave(struct engine *engine);
/* A timer that was due then fires now. */
void engine_timer_fires(struct engine *engine, uint64_t due_us);

/* engine_talk.c */
void engine_on_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd);
void engine_on_closed(void *ctx, int reason);
void engine_on_request(void *ctx, struct ctl_client *client, const char *command,
		       const json_t *request);
void engine_on_client_gone(void *ctx, struct ctl_client *client);

/* Whoever waits for the runner's answer to that request; NULL: nobody (any more). */
struct ctl_client *engine_waiter_take(struct engine *engine, uint32_t request);
void engine_refuse_reload(struct ctl_client *client, unsigned outcome, const char *why,
			  size_t why_size, const char *problems, size_t size);

/* engine_router.c */
int engine_router_new(struct engine *engine, struct agent_snapshot *snapshot, int place,
		      struct engine_router **ret_router);
struct engine_router *engine_router_free(struct engine_router *router);
/* record: NULL, or what an engine left that was Master a moment ago. */
void engine_router_start(struct engine_router *router, const struct agent_record *record);
void engine_router_stop(struct engine_router *router);
/* Does place of snapshot describe this very router, if perhaps with other settings? */
bool engine_router_is(const struct engine_router *router, const struct agent_snapshot *snapshot,
		      int place);
void engine_router_reload(struct engine_router *router, struct agent_snapshot *snapshot, int place);
void engine_router_look(struct engine_router *router);	 /* interface, source address, socket */
void engine_router_health(struct engine_router *router); /* a tracked check has changed */
void engine_router_event(struct engine_router *router, enum vrrp_event_type type);
void engine_router_away(struct engine_router *router, uint64_t pause_us);
void engine_router_step(struct engine_router *router, const struct vrrp_event *ev);
bool engine_router_tracks(const struct engine_router *router, const char *check);

/* engine_router_conf.c */
void engine_router_wire_conf(const struct agent_snapshot *snapshot, const struct conf_vrrp *v,
			     struct vrrp_wire_conf *ret_wire);
/* wire: what the other has made of the same entry. */
void engine_router_fsm_conf(const struct agent_snapshot *snapshot, const struct conf_vrrp *v,
			    const struct vrrp_wire_conf *wire, struct vrrp_conf *ret_conf);

/* engine_sockets.c */
/* From now on the router's adverts are heard. left: 0, or the socket that the router's record
 * names: what came since an engine died waits in it. */
int engine_sockets_join(struct engine_router *router, uint32_t left);
void engine_sockets_part(struct engine_router *router);
/* Judges all that is queued. False: nothing was. */
bool engine_sockets_drain(struct engine_socket *socket);
/* Before START: takes over fd, which a dead engine left. False: too many. */
bool engine_sockets_inherit(struct engine *engine, uint32_t id, int fd);
/* Those that nobody went on with. */
void engine_sockets_disown(struct engine *engine);

/* engine_packets.c */
int engine_packets_init(struct engine *engine);
void engine_packets_judge(struct engine_router *router, const struct vrrp_sock_packet *packet,
			  uint64_t arrival);
/* Unicast: tells the neighbours where the source address lives, while greetings are left. */
void engine_packets_greet(struct engine_router *router);
void engine_packets_send(struct engine_router *router, uint8_t priority);
void engine_packets_wills(const struct engine_router *router, struct agent_record *record);
void engine_packets_report(struct engine_router *router); /* what was refused, to the log */
/* Of a peer that is no node: its address. */
const char *engine_node_name(const struct engine_router *router, int node, char room[IP_TEXT_MAX]);
const struct ip_addr *engine_node_source(const struct agent_snapshot *snapshot,
					 const struct conf_vrrp *conf, int node);

/* engine_vips.c */
void engine_vips_hold(struct engine_router *router);
void engine_vips_release(struct engine_router *router);
/* By the configuration that the router has now. */
bool engine_vips_wanted(const struct engine_router *router, const struct engine_held *held);
void engine_vips_watch(struct engine_router *router);
void engine_vips_unwatch(struct engine_router *router);
/* The interface has gone. 0: all of them, at the end. */
void engine_vips_forget(struct engine *engine, int ifindex);
/* The node may have got an address of its own where one of ours was the first of the subnet. */
void engine_vips_make_room(struct engine_router *router);
void engine_vips_renew(struct engine_router *router); /* once a second */
void engine_vips_adopt(struct engine_router *router, const struct agent_record *record);
void engine_vips_gone(struct engine_router *router, const struct netmon_address *address);

/* engine_rivals.c */
/* When engine_rivals_ask() is due, or VRRP_NEVER_US. */
uint64_t engine_rivals_due_us(const struct engine_router *router);
void engine_rivals_ask(struct engine_router *router);
void engine_rivals_refit(struct engine *engine);  /* the routers are others now */
void engine_rivals_second(struct engine *engine); /* once a second */
/* The interface has gone. 0: all of them, at the end. */
void engine_rivals_forget(struct engine *engine, int ifindex);
json_t *engine_rivals_status(const struct engine_router *router);

/* engine_announce.c */
int engine_announce_init(struct engine *engine);
void engine_announce(struct engine_router *router, enum vrrp_announce which);
/* The interface has gone. 0: all of them, at the end. */
void engine_announce_forget(struct engine *engine, int ifindex);

/* engine_group.c */
/* The snapshot is another one now. */
void engine_groups_apply(struct engine *engine);
/* After each step of a router: its group may have to follow. */
void engine_group_judge(struct engine_router *router);
/* The first other member that cannot run by itself; NULL: none. */
const struct engine_router *engine_group_fault(const struct engine_router *router);
/* Are they members of one group? */
bool engine_group_together(const struct engine_router *a, const struct engine_router *b);
/* Has it joined others that were handed over, and not lifted? */
bool engine_group_handed_over(const struct engine_router *router);
struct engine_group *engine_group_find(struct engine *engine, const char *name);
json_t *engine_group_status(const struct engine *engine, int place);

/* engine_vmac.c */
/* False: the router should have an interface of its own, and has none; the runner is asked. */
bool engine_vmac_look(struct engine_router *router);
void engine_vmac_second(struct engine_router *router);
/* The runner's answer. False: it means nothing. */
bool engine_vmac_done(struct engine *engine, struct wire_reader *in);
/* The interface for what the router multicasts. */
int engine_vmac_leaves_by(const struct engine_router *router);

/* engine_routes.c */
void engine_routes_hold(struct engine_router *router);
void engine_routes_release(struct engine_router *router);
/* After a reload; before: the conf that was. */
void engine_routes_change(struct engine_router *router, const struct conf_vrrp *before);

/* engine_check.c */
int engine_check_new(struct engine *engine, struct agent_snapshot *snapshot, int place,
		     struct engine_check **ret_check);
struct engine_check *engine_check_free(struct engine_check *check);
bool engine_check_is(const struct engine_check *check, const struct conf_check *conf);
void engine_check_reload(struct engine_check *check, struct agent_snapshot *snapshot, int place);
void engine_check_start(struct engine_check *check);
void engine_check_done(struct engine_check *check, enum engine_check_outcome outcome,
		       const char *words);
void engine_check_restarted(struct engine_check *check, bool good, const char *words);
struct engine_check *engine_check_find(const struct engine *engine, const char *name);
/* Takes in what a look has found: tells the routers that track the check if anything changed for
 * them. check->detail says it in words. */
void engine_check_result(struct engine_check *check, enum health_result what);
/* The routers that track the check rank themselves anew. */
void engine_check_weigh(struct engine_check *check);
/* An interface may have changed: the checks of interfaces look. */
void engine_checks_look(struct engine *engine);
/* The router is in another state now. */
void engine_checks_state(struct engine *engine, const struct engine_router *router);
bool engine_check_ended(int pidfd);
/* Does its failure mean FAULT, and no rank? */
bool engine_check_is_fault(const struct engine_router *router, const struct conf_track *track);
/* Why a router that tracks checks without a weight of interfaces cannot run; NULL: it can. */
const struct engine_check *engine_check_fault(const struct engine_router *router);

/* engine_named.c */
int engine_named_new(struct engine_check *check, struct engine_named **ret_named);
struct engine_named *engine_named_free(struct engine_named *named);
enum health_result engine_named_look(struct engine_named *named);

/* engine_file.c */
int engine_file_new(struct engine_check *check, struct engine_file **ret_file);
struct engine_file *engine_file_free(struct engine_file *file);
/* Reads it, into check->value. */
enum health_result engine_file_look(struct engine_file *file);

/* engine_probe.c */
/* Takes over fd. False: it is none. */
bool engine_probe_connect(struct engine *engine, int fd);
/* engine_check_done() is called in a while, unless one runs already. */
void engine_probe_start(struct engine_check *check);
void engine_probe_drop(struct engine_check *check);
void engine_probe_on_guard(void *check);
/* engine_moves.c */
void engine_moves_handover(struct engine *engine, struct ctl_client *client, const json_t *request);
void engine_moves_maintenance(struct engine *engine, struct ctl_client *client,
			      const json_t *request);
/* The runner's answer, or what it knows at the start. False: it means nothing. */
bool engine_moves_written(struct engine *engine, struct wire_reader *in);
void engine_moves_tell(struct engine_router *router);	  /* whether this is maintenance */
void engine_moves_remember(struct engine_router *router); /* before its start */
void engine_moves_look(struct engine *engine);		  /* is what was asked for done? */

/* engine_trial.c */
/* The runner has read the file. Takes over fd. False: it means nothing. */
bool engine_trial_done(struct engine *engine, struct wire_reader *in, int fd);

/* engine_mail.c */
int engine_mail_init(struct engine *engine);
void engine_mail_transition(struct engine_router *router, const struct vrrp_action *action);
void engine_mail_group(struct engine *engine, int place, enum vrrp_state from, enum vrrp_state to);
/* There is a prober again. */
void engine_mail_connected(struct engine *engine);
void engine_mail_done(struct engine *engine, bool good, const char *words);

/* engine_status.c */
/* NULL: none has run. */
json_t *engine_hook_status(const struct engine *engine, const struct engine_hook *hook);
json_t *engine_status(const struct engine *engine);

#endif
