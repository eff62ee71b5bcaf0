/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf: the typed configuration of a cluster, the same file on every node.
 *
 * The runner of each daemon reads the file once and checks it whole; what it hands to the other
 * processes is a numbered snapshot: the text in a sealed memory file, and the node's name. Every
 * process makes its own struct conf from the snapshot with conf_parse(), so that "place 3 of
 * snapshot 7" names one and the same command everywhere, whatever the file on disk says by then.
 *
 * conf_parse() looks at the text alone: no clock, no file system, no network. What depends on this
 * host (interfaces, hooks that can be executed, addresses) is looked at by conf_host_check().
 *
 * All strings and arrays belong to the struct conf and go with it. Times are microseconds.
 */
#ifndef TANDEM_CONF_H
#define TANDEM_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "shared/ip.h"

#define CONF_NODES_MAX 16
#define CONF_KEYS_PER_NODE_MAX 2   /* the second one is there while a key is being replaced */
#define CONF_CHECKS_MAX 64
#define CONF_VRRP_MAX 512
#define CONF_VIPS_MAX 64	   /* addresses of one instance; one advert must hold them */
#define CONF_TRACKS_MAX 16
#define CONF_PEERS_MAX (CONF_NODES_MAX - 1) /* with the nodes CONF_NODES_MAX at most */
#define CONF_GROUPS_MAX 64
#define CONF_MEMBERS_MAX 32	   /* virtual routers of one group */
#define CONF_ROUTES_MAX 64
#define CONF_MIRRORS_MAX 16
#define CONF_PATHS_MAX 32
#define CONF_EXCLUDES_MAX 64
#define CONF_ARGV_MAX 64
#define CONF_NAME_BYTES_MAX 63
#define CONF_TEXT_BYTES_MAX (1024 * 1024)
#define CONF_PIN_BYTES 32
#define CONF_IFNAME_BYTES 16
#define CONF_MAIL_RECIPIENTS_MAX 16
#define CONF_MAIL_ADDRESS_BYTES_MAX 254
#define CONF_STATUSES_MAX 16 /* of one http check */
#define CONF_PROBE_TARGET_BYTES_MAX 1023
#define CONF_PROBE_BODY_BYTES_MAX 1024
#define CONF_COMM_BYTES 15	   /* of a process's name, as the kernel keeps it */
#define CONF_QUORUM_MAX 32

/* A program with its arguments, split once at the blanks (single and double quotes group, no shell
 * ever sees it), and who runs it. argv is NULL when the setting is absent. */
struct conf_command {
	char **argv; /* NULL-terminated */
	int argc;
	char *user;  /* NULL: root */
	char *text;  /* as written, for messages */
	int line;
};

struct conf_node {
	char *name;
	struct ip_addr address;
	uint16_t link_port; /* TCP port of tandem-syncd there */
	uint8_t pins[CONF_KEYS_PER_NODE_MAX][CONF_PIN_BYTES]; /* SHA-256 of the SPKI */
	int pins_count; /* 0: the node takes no part in replication (a keepalived peer, say) */
	int line;
};

enum conf_check_kind {
	CONF_CHECK_PROCESS,   /* by its pid file */
	CONF_CHECK_NAMED,     /* processes by their name */
	CONF_CHECK_SCRIPT,
	CONF_CHECK_INTERFACE, /* without a weight its failure is the router's own: FAULT */
	CONF_CHECK_FILE,      /* a number, which the weight multiplies */
	CONF_CHECK_INSTANCE,  /* the state of another virtual router of this node */
	CONF_CHECK_HTTP,
	CONF_CHECK_TCP,
	CONF_CHECK_KINDS
};

/* Which states of the other router are well. */
enum conf_instance_state {
	CONF_INSTANCE_ALIVE, /* any but FAULT */
	CONF_INSTANCE_MASTER,
	CONF_INSTANCE_BACKUP,
};

struct conf_status {
	int first, last; /* of HTTP, 100..599 */
};

/* What the prober asks. target NULL: nothing. */
struct conf_probe {
	bool http;    /* otherwise: does something accept a TCP connection? */
	char *target; /* the URL; of TCP "HOST:PORT", an IPv6 address in brackets */
	struct conf_status statuses[CONF_STATUSES_MAX];
	int statuses_count;
	char *body;    /* must occur in the answer's body; NULL: any will do */
	int redirects; /* so many are followed */
	bool verify;   /* the certificate of an https server */
};

struct conf_check {
	char *name;
	enum conf_check_kind kind;
	char *process;		     /* path of a pid file */
	char *process_name;	     /* at most CONF_COMM_BYTES count, as in the kernel */
	int quorum;		     /* so many processes of that name must run */
	struct conf_probe probe;     /* HTTP, TCP; or beside a process: both must be well */
	struct conf_command script;
	char *interfaces[CONF_NODES_MAX]; /* by node; one name for all fills every place */
	char *file;
	char *instance;
	int vrrp;		     /* index of instance into conf.vrrps; -1: none */
	enum conf_instance_state instance_state;
	uint64_t interval_us;
	uint64_t timeout_us;	     /* script, http, tcp; the interval unless given */
	int fall, rise;
	int weight;		     /* -253..253; 0: failing is sick with rank 0 */
	bool reverse;		     /* routers take well for failed, and failed for well */
	bool init_fail;		     /* starts as failed instead of undetermined */
	uint64_t grace_us;	     /* a failure counts once it has lasted so long */
	struct conf_command restart; /* what brings back what has failed; argv NULL: nothing */
	bool restart_first;	     /* before it counts as failed */
	int restart_limit;	     /* so often at most */
	uint64_t restart_timeout_us;
	int line;
};

struct conf_track {
	int check;  /* index into conf.checks */
	int weight; /* the check's own, unless the instance gives another */
	bool reverse; /* likewise */
};

enum conf_hook {
	CONF_HOOK_MASTER,
	CONF_HOOK_BACKUP,
	CONF_HOOK_FAULT,
	CONF_HOOK_STOP,
	CONF_HOOK_ANY, /* `notify`: four arguments are added */
	CONF_HOOKS
};

/* One service address. */
struct conf_vip {
	struct ip_prefix prefix;
	bool excluded;		     /* moves with the others, and is not advertised */
	char **devs;		     /* by node; NULL: the instance's interface */
	char label[CONF_IFNAME_BYTES]; /* IPv4; "": the interface's name */
	uint8_t scope;		     /* IPv4; enum rt_scope_t */
	struct ip_addr broadcast;    /* IPv4; IP_NONE: none */
};

/* A route that is there as long as the addresses are. */
struct conf_route {
	struct ip_prefix destination;
	struct ip_addr via, src; /* IP_NONE: on the link; as the kernel chooses */
	char **devs;		 /* by node; NULL: the instance's interface */
	uint32_t table;
	uint32_t metric; /* 0: the kernel's default */
};

/* Another router of the group, that is no node. */
struct conf_peer {
	struct ip_addr address; /* of its adverts */
	int priority;		/* when nothing ails it; 0: not known */
	int ttl_min, ttl_max;
};

/* How the addresses are announced: gratuitous ARP, unsolicited neighbour advertisements. */
struct conf_garp {
	uint64_t master_delay_us; /* the second announcement; 0: none */
	int master_repeat;	  /* packets for each address, of both */
	uint64_t refresh_us;	  /* again and again; 0: never */
	int refresh_repeat;
	uint64_t lower_prio_delay_us; /* the last one after a contention; 0: none so late */
	int lower_prio_repeat;
};

struct conf_vrrp {
	char *name;
	char *interfaces[CONF_NODES_MAX];     /* by node; one name for all fills every place */
	int vrid;			      /* 1..255 */
	int version;			      /* 2 or 3 */
	uint64_t advert_int_us;		      /* v2: whole seconds; v3: whole centiseconds */
	int down_adverts;		      /* so many are missed before a take-over, 1..100 */
	int priorities[CONF_NODES_MAX];	      /* 1..255; 0: this node takes no part */
	bool nopreempt;
	bool smtp_alert;		      /* a mail at each change of state */
	uint64_t preempt_delay_us;
	uint64_t stop_wait_us;		      /* longest wait in LEAVING */
	bool multicast;
	struct ip_addr mcast_group;		/* where adverts go, if multicast */
	struct ip_addr sources[CONF_NODES_MAX]; /* mcast_src_ip / unicast_src_ip; IP_NONE: the
						 * node's address if unicast, else the interface's
						 * first */
	enum ip_family family;	      /* of the sources, and so of what is advertised */
	char vmac[CONF_IFNAME_BYTES]; /* the interface with its own hardware address; "": none */
	bool accept;		      /* serve the addresses, or only hold them */
	bool vmac_xmit_base;	      /* its adverts leave by the interface below that one */
	bool auth_pass;
	char *auth_pass_file; /* NULL: auth_data is as written */
	uint8_t auth_data[8]; /* zero padded, as on the wire; of a file: zero
			       * until conf_read_secrets() */
	struct conf_vip *vips; /* CONF_VIPS_MAX at most */
	int vips_count;
	struct conf_route *routes;
	int routes_count;
	struct conf_track tracks[CONF_TRACKS_MAX];
	int tracks_count;
	struct conf_garp garp;
	int ttl_min[CONF_NODES_MAX]; /* of their adverts; 255 unless configured */
	int ttl_max[CONF_NODES_MAX];
	struct conf_peer peers[CONF_PEERS_MAX];
	int peers_count;
	struct conf_command hooks[CONF_HOOKS];
	uint64_t notify_timeout_us;
	int group;			      /* index into conf.groups; -1: none */
	int line;
};

/* What a router has unless it says otherwise. */
struct conf_vrrp_defaults {
	int version;
	int down_adverts;
	struct conf_garp garp;
	struct ip_addr group_v4, group_v6;
	char *script_user; /* of scripts and hooks; NULL: root */
};

/* Virtual routers that move together. Its members' tracks are its own and all of theirs. */
struct conf_group {
	char *name;
	int members[CONF_MEMBERS_MAX]; /* indices into conf.vrrps */
	int members_count;
	struct conf_track tracks[CONF_TRACKS_MAX];
	int tracks_count;
	struct conf_command hooks[CONF_HOOKS];
	uint64_t notify_timeout_us;
	bool smtp_alert; /* a mail at each change of its state */
	int line;
};

struct conf_mail {
	char *to[CONF_MAIL_RECIPIENTS_MAX];
	int to_count;		     /* 0: no mail */
	char *from;		     /* NULL: tandem@ and the node's host name */
	char *server;		     /* "HOST:PORT" */
	char *helo;		     /* NULL: the host's name */
	uint64_t connect_timeout_us;
	bool alert;		     /* what smtp_alert of an instance is unless given */
	bool no_faults;		     /* no mail of FAULT */
};

struct conf_mirror {
	char *name;
	char *paths[CONF_PATHS_MAX];	      /* absolute, normal form, directories, none in another */
	int paths_count;
	char *excludes[CONF_EXCLUDES_MAX];    /* "*.swp" by name, "/abs/dir/" by path */
	int excludes_count;
	struct conf_command validate;	      /* argv NULL: nothing validates */
	struct conf_command reload;	      /* argv NULL: nothing is reloaded */
	uint64_t validate_timeout_us;
	uint64_t reload_timeout_us;	      /* until the proof as well */
	uint64_t resync_us;
	char *pid_file;			      /* nginx's master; default /run/nginx.pid */
	char *error_log;		      /* where nginx says why; default /var/log/nginx/error.log */
	int line;
};

struct conf {
	char *cluster;
	char *control_group;		      /* default "tandem-admin" */
	int log_facility;		      /* LOG_DAEMON unless given */
	int log_level;			      /* LOG_INFO unless given */
	struct conf_node nodes[CONF_NODES_MAX];
	int nodes_count;
	struct conf_check *checks;
	int checks_count;
	struct conf_vrrp *vrrps;
	int vrrps_count;
	struct conf_group *groups;
	int groups_count;
	uint64_t startup_delay_us; /* no take-over before, from the agent's start */
	/* Between two packets of all routers on one interface. */
	uint64_t garp_interval_us, gna_interval_us;
	struct conf_vrrp_defaults defaults;
	struct conf_mail mail;
	struct conf_mirror *mirrors;
	int mirrors_count;
	int self;			      /* index into nodes, -1 until conf_set_self() */
	uint8_t hash[32];		      /* SHA-256 of the text */
};

/* What is wrong with a file: every semantic error of it, in the order of the lines. A warning is
 * legal and still wrong; it does not make conf_parse() fail. */
enum conf_severity { CONF_ERROR, CONF_WARNING };

struct conf_problem {
	enum conf_severity severity;
	int line;	 /* 0: the file as a whole */
	char *setting;	 /* "vrrp.VI_1.priority"; "" if none */
	char *cause;	 /* what is wrong */
	char *cure;	 /* what would be right */
};

struct conf_problems {
	struct conf_problem *items;
	int count;
	int errors;
	int dropped; /* past CONF_PROBLEMS_MAX */
};
#define CONF_PROBLEMS_MAX 256

void conf_problems_release(struct conf_problems *problems);
/* "FILE:LINE: SETTING: CAUSE; CURE", one a line. */
void conf_problems_print(const struct conf_problems *problems, const char *file, FILE *out);

/* 0: *ret_conf is a whole configuration (problems may hold warnings). -EINVAL: problems say why.
 * -ENOMEM. text need not be terminated. */
int conf_parse(const char *text, size_t size, struct conf_problems *problems,
	       struct conf **ret_conf);
struct conf *conf_free(struct conf *conf);

/* By name. -ENOENT: no such node. */
int conf_set_self(struct conf *conf, const char *name);
/* By this host's addresses (read from the kernel). -ENOENT: none of the nodes' addresses is here;
 * -EEXIST: addresses of two nodes are. Both leave conf as it was. */
int conf_find_self(struct conf *conf);
/* Adds what is wrong on this host: hooks that cannot be executed or that others may write, a VIP
 * outside the interface's subnet or equal to its broadcast or a node's address, ... */
void conf_host_check(const struct conf *conf, struct conf_problems *problems);
/* Reads the files that hold passwords of this node; errors are added. */
void conf_read_secrets(struct conf *conf, struct conf_problems *problems);

/* The setting that makes a check one of this kind: "process", "script", ... */
const char *conf_check_kind_name(enum conf_check_kind kind);
int conf_check_index(const struct conf *conf, const char *name);  /* -1: none */
int conf_vrrp_index(const struct conf *conf, const char *name);
int conf_group_index(const struct conf *conf, const char *name);
int conf_mirror_index(const struct conf *conf, const char *name);
int conf_node_index(const struct conf *conf, const char *name);
/* Where a route or an address lives on a node; NULL: the node takes no part. */
const char *conf_route_interface(const struct conf_vrrp *vrrp, const struct conf_route *route,
				 int node);
/* But for the interface. */
bool conf_route_equal(const struct conf_route *a, const struct conf_route *b);
const char *conf_vip_interface(const struct conf_vrrp *vrrp, const struct conf_vip *vip, int node);
/* And where it is announced, which differs where the router has an interface of its own. */
const char *conf_vip_network(const struct conf_vrrp *vrrp, const struct conf_vip *vip, int node);
/* Has it such an interface for this address? */
bool conf_vip_on_vmac(const struct conf_vrrp *vrrp, const struct conf_vip *vip);
/* The virtual router's own hardware address. */
void conf_vmac_mac(const struct conf_vrrp *vrrp, uint8_t ret_mac[6]);

/* Is there anything for a prober to do? */
bool conf_wants_prober(const struct conf *conf);

/* A snapshot: number, text, node name. */
struct conf_snapshot {
	uint32_t number;
	int fd; /* sealed memory file with the text, and passwords behind it */
	char node[CONF_NAME_BYTES_MAX + 1];
	struct conf *conf;
};

/* Reads and checks path whole and finds the node (node_name NULL: by address). On failure the old
 * snapshot is untouched and problems say why; -errno if the file cannot be read. */
int conf_snapshot_load(const char *path, const char *node_name, uint32_t number,
		       struct conf_problems *problems, struct conf_snapshot *ret_snapshot);
/* Puts the passwords that stand in files of their own into the snapshot, for those who receive it:
 * conf_read_secrets(), and a new fd. -errno: the snapshot is as it was. */
int conf_snapshot_add_secrets(struct conf_snapshot *snapshot, struct conf_problems *problems);
/* In the receiving process. Takes over fd. -EPROTO if the memory file is not sealed. */
int conf_snapshot_receive(uint32_t number, const char *node_name, int fd,
			  struct conf_snapshot *ret_snapshot);
void conf_snapshot_release(struct conf_snapshot *snapshot);

#endif
