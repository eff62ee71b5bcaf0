/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_record: what the engine leaves with the runner of one virtual router, so that its death
 * harms nobody. Pure: a value, and its bytes.
 *
 * From a record the runner can take off what the engine had added, tell the others that nobody
 * holds the addresses any more (the last will), and start an engine that goes on as Master.
 */
#ifndef TANDEM_AGENT_RECORD_H
#define TANDEM_AGENT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/conf.h"
#include "shared/ip.h"

#define AGENT_RECORD_WILL_BYTES_MAX 1040 /* an advert with CONF_VIPS_MAX IPv6 addresses is 1032 */
#define AGENT_RECORD_BYTES_MAX 20480

struct agent_record_address {
	int32_t ifindex;
	struct ip_prefix prefix; /* as it was added, which need not be as it is configured */
};

/* One advert with priority 0, ready to send; each destination has a checksum of its own. */
struct agent_record_will {
	struct ip_addr destination;
	uint16_t size;
	uint8_t bytes[AGENT_RECORD_WILL_BYTES_MAX];
};

struct agent_record {
	uint32_t id; /* the engine's own number for the router */
	char name[CONF_NAME_BYTES_MAX + 1];
	char interface[CONF_IFNAME_BYTES];
	uint8_t vrid;
	uint8_t version;
	uint8_t state;		      /* enum vrrp_state */
	uint8_t priority;	      /* as last advertised */
	bool handed_over;	      /* and not lifted */
	char vmac[CONF_IFNAME_BYTES]; /* its own interface; "": none */
	uint32_t socket;	      /* that hears its adverts; 0: none */
	uint64_t advert_int_us;
	uint64_t last_advert_us; /* monotonic; 0: none yet */
	uint64_t since_us;	 /* monotonic: when the state was entered */
	struct agent_record_address addresses[CONF_VIPS_MAX]; /* those that we added */
	int addresses_count;
	struct ip_addr source; /* of the last will */
	int32_t ifindex;       /* it leaves by; 0: as the host routes */
	struct agent_record_will wills[CONF_NODES_MAX];
	int wills_count; /* 0: none is needed (not Master) */
};

/* Returns the number of bytes, 0 if room is too small. */
size_t agent_record_encode(const struct agent_record *record, void *bytes, size_t room);
/* False: these bytes are not a record; *ret_record is then undefined. */
bool agent_record_decode(const void *bytes, size_t size, struct agent_record *ret_record);

#endif
