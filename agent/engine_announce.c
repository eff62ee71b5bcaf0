/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core wants announced, as often as the file says, and no faster than it allows.
 *
 * Without vrrp_garp_interval everything goes out at once. With it each interface has a lane for
 * each family: one packet, and the next after the gap, whichever router it belongs to. What waits
 * is counted beside each address and nowhere else, so that it goes with the address; and it is
 * dropped once the router is no MASTER any more, or has resigned (A3).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/announce.h"
#include "agent/engine_private.h"
#include "shared/log.h"

struct engine_lane {
	struct engine_lane *next;
	int ifindex;
	enum ip_family family;
	uint64_t free_us; /* when the next packet may go */
};

static uint64_t gap_us(const struct engine *engine, enum ip_family family)
{
	const struct conf *conf = engine->snapshot->conf.conf;

	return family == IP_V6 ? conf->gna_interval_us : conf->garp_interval_us;
}

static bool may_announce(const struct engine_router *router)
{
	return router->fsm.state == VRRP_MASTER && router->fsm.resigned_until_us == VRRP_NEVER_US;
}

/* 0: it is sent, or there is nobody to tell. */
static int send_one(const struct engine_router *router, const struct engine_held *held)
{
	const struct netmon_link *link =
		netmon_link_by_index(router->engine->netmon, held->ifindex);
	int error;

	/* Where there is no Ethernet, nobody asks who has an address. */
	if (!link || !link->has_mac)
		return 0;
	error = announce_send(router->engine->announce_fd, link->ifindex, link->mac,
			      &held->prefix.addr);
	if (error)
		log_warn("%s: its addresses cannot be announced on %s: %s", router->conf->name,
			 link->name, strerror(-error));
	return error;
}

static struct engine_lane *lane_of(struct engine *engine, const struct engine_held *held)
{
	const enum ip_family family = (enum ip_family)held->prefix.addr.family;
	struct engine_lane *lane;

	for (lane = engine->lanes; lane; lane = lane->next)
		if (lane->ifindex == held->ifindex && lane->family == family)
			return lane;
	lane = calloc(1, sizeof *lane);
	if (!lane)
		return NULL;
	lane->ifindex = held->ifindex;
	lane->family = family;
	lane->next = engine->lanes;
	engine->lanes = lane;
	return lane;
}

/* The address of the lane that has most to say, so that all are announced once before one is
 * announced twice; NULL: none has anything. */
static struct engine_held *next_of(struct engine *engine, const struct engine_lane *lane,
				   struct engine_router **ret_router)
{
	struct engine_held *best = NULL;

	for (struct engine_router *router = engine->routers; router; router = router->next) {
		for (int i = 0; i < router->held_count; i++) {
			struct engine_held *held = &router->held[i];

			if (!held->to_announce || held->ifindex != lane->ifindex ||
			    held->prefix.addr.family != lane->family)
				continue;
			if (!may_announce(router)) {
				held->to_announce = 0;
			} else if (!best || held->to_announce > best->to_announce) {
				best = held;
				*ret_router = router;
			}
		}
	}
	return best;
}

/* Sends what is due on every lane. */
static void go_on(void *ctx)
{
	struct engine *engine = ctx;
	const uint64_t now_us = loop_now_us(engine->loop);
	uint64_t wake_us = LOOP_NEVER_US;

	for (struct engine_lane *lane = engine->lanes; lane; lane = lane->next) {
		const uint64_t step_us = gap_us(engine, lane->family);
		struct engine_router *router;
		struct engine_held *held;

		/* Late: it goes on from here, and does not catch up in a burst. */
		while ((held = next_of(engine, lane, &router)) && lane->free_us <= now_us) {
			held->to_announce--;
			if (send_one(router, held))
				held->to_announce = 0;
			lane->free_us = now_us + step_us;
		}
		if (held && lane->free_us < wake_us)
			wake_us = lane->free_us;
	}
	loop_timer_set(engine->announce_timer, wake_us);
}

void engine_announce(struct engine_router *router, enum vrrp_announce which)
{
	struct engine *engine = router->engine;
	const struct conf_garp *garp = &router->conf->garp;
	const int times = which == VRRP_ANNOUNCE_MASTER	   ? garp->master_repeat
			  : which == VRRP_ANNOUNCE_REFRESH ? garp->refresh_repeat
							   : garp->lower_prio_repeat;
	bool waits = false;

	for (int n = 0; n < times; n++) {
		for (int i = 0; i < router->held_count; i++) {
			struct engine_held *held = &router->held[i];

			if (!engine_vips_wanted(router, held))
				continue;
			if (gap_us(engine, (enum ip_family)held->prefix.addr.family) == 0 ||
			    !lane_of(engine, held)) {
				if (send_one(router, held))
					return;
			} else {
				if (held->to_announce < times)
					held->to_announce = times;
				waits = true;
			}
		}
	}
	if (waits)
		go_on(engine);
}

int engine_announce_init(struct engine *engine)
{
	return loop_timer_new(engine->loop, go_on, engine, &engine->announce_timer);
}

void engine_announce_forget(struct engine *engine, int ifindex)
{
	for (struct engine_lane **link = &engine->lanes; *link;) {
		struct engine_lane *lane = *link;

		if (ifindex && lane->ifindex != ifindex) {
			link = &lane->next;
			continue;
		}
		*link = lane->next;
		free(lane);
	}
}
