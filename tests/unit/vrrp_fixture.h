/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vrrp_fixture: one virtual router in a test, event by event. Node 0 is 198.51.100.1 and so on;
 * self is node 0 unless a test says otherwise. Times are absolute microseconds from T0 on.
 */
#ifndef TANDEM_VRRP_FIXTURE_H
#define TANDEM_VRRP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/vrrp_shape.h"

#define T0 UINT64_C(100000000)
#define SECOND UINT64_C(1000000)
#define NEVER VRRP_NEVER_US

static struct vrrp_conf conf;
static struct vrrp_fsm fsm;
static struct vrrp_actions actions;

static inline void configure(uint8_t version, uint64_t advert_int_us, int nodes,
			     const uint8_t *priorities)
{
	memset(&conf, 0, sizeof(conf));
	conf.version = version;
	conf.advert_int_us = advert_int_us;
	conf.down_adverts = 3;
	conf.nodes_count = nodes;
	for (int i = 0; i < nodes; i++) {
		conf.nodes[i].address = (struct ip_addr){.family = IP_V4,
							 .bytes = {198, 51, 100, (uint8_t)(i + 1)}};
		conf.nodes[i].priority = priorities[i];
	}
	conf.stop_wait_us = 3 * SECOND;
	conf.undetermined_wait_us = 10 * SECOND;
	conf.garp_master_delay_us = SECOND;
	conf.garp_master_refresh_us = 10 * SECOND;
	conf.garp_lower_prio_delay_us = SECOND;
}

/* Version 3, one second, priorities 100 (self), 90 and 80. */
static inline void configure_three(void)
{
	static const uint8_t priorities[] = {100, 90, 80};

	configure(3, SECOND, 3, priorities);
}

static inline void step(struct vrrp_event ev, uint64_t now_us)
{
	struct vrrp_fsm before;
	const char *wrong;

	ev.now_us = now_us;
	memcpy(&before, &fsm, sizeof(before));
	vrrp_fsm_step(&fsm, &ev, &actions);
	wrong = vrrp_shape_broken(&before, &fsm, &ev, &actions);
	if (wrong)
		fail_msg("%s", wrong);
}

static inline void simple(enum vrrp_event_type type, uint64_t now_us)
{
	step((struct vrrp_event){.type = type}, now_us);
}

static inline void timer(uint64_t now_us)
{
	simple(VRRP_EV_TIMER, now_us);
}

static inline void link_is(bool up, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_LINK};

	ev.u.link.up = up;
	step(ev, now_us);
}

static inline void health_is(uint8_t priority, bool undetermined, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_HEALTH};

	ev.u.health.priority = priority;
	ev.u.health.undetermined = undetermined;
	step(ev, now_us);
}

static inline void maintenance_is(bool on, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_MAINTENANCE};

	ev.u.maintenance.on = on;
	step(ev, now_us);
}

static inline void hand_over(bool lift, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_HANDOVER};

	ev.u.handover.lift = lift;
	step(ev, now_us);
}

static inline void reload(const struct vrrp_conf *with, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_CONF};

	ev.u.conf.conf = with;
	step(ev, now_us);
}

static inline void hear_at(int node, uint8_t priority, uint64_t arrival_us, uint64_t now_us)
{
	struct vrrp_event ev = {.type = VRRP_EV_ADVERT};

	ev.u.advert.arrival_us = arrival_us;
	ev.u.advert.node = node;
	ev.u.advert.priority = priority;
	ev.u.advert.advert_int_us = conf.advert_int_us;
	step(ev, now_us);
}

static inline void hear(int node, uint8_t priority, uint64_t now_us)
{
	hear_at(node, priority, now_us, now_us);
}

static inline void start(void)
{
	vrrp_fsm_init(&fsm, &conf);
	link_is(true, T0);
	simple(VRRP_EV_START, T0);
}

/* As letters: S<priority> send, H hold, R release, A announce, W watch, U unwatch,
 * T<state>/<cause> transition, !<alarm>, . stopped. */
static inline const char *did(void)
{
	static char text[256];
	size_t at = 0;

	text[0] = '\0';
	for (int i = 0; i < actions.count; i++) {
		const struct vrrp_action *action = &actions.list[i];
		char one[32] = "";

		switch (action->type) {
		case VRRP_DO_SEND:
			snprintf(one, sizeof(one), "S%d", action->u.priority);
			break;
		case VRRP_DO_HOLD:
			snprintf(one, sizeof(one), "H");
			break;
		case VRRP_DO_RELEASE:
			snprintf(one, sizeof(one), "R");
			break;
		case VRRP_DO_ANNOUNCE:
			snprintf(one, sizeof(one), "A");
			break;
		case VRRP_DO_WATCH:
			snprintf(one, sizeof(one), "W");
			break;
		case VRRP_DO_UNWATCH:
			snprintf(one, sizeof(one), "U");
			break;
		case VRRP_DO_TRANSITION:
			snprintf(one, sizeof(one), "T%s/%s",
				 vrrp_fsm_state_name(action->u.transition.to),
				 vrrp_fsm_cause_name(action->u.transition.cause));
			break;
		case VRRP_DO_ALARM:
			snprintf(one, sizeof(one), "!%d", (int)action->u.alarm);
			break;
		case VRRP_DO_STOPPED:
			snprintf(one, sizeof(one), ".");
			break;
		case VRRP_ACTION_TYPES:
			break;
		}
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? " " : "", one);
	}
	return text;
}

#define expect_did(text) assert_string_equal(did(), text)
#define expect_deadline(us) assert_true(vrrp_fsm_deadline(&fsm) == (us))

/* MASTER for master-down; returns when. */
static inline uint64_t become_master(void)
{
	uint64_t now_us;

	start();
	now_us = vrrp_fsm_deadline(&fsm);
	timer(now_us);
	assert_int_equal(fsm.state, VRRP_MASTER);
	return now_us;
}

/* Goes on as MASTER, on time, until now_us. */
static inline void keep_on(uint64_t now_us)
{
	while (vrrp_fsm_deadline(&fsm) <= now_us)
		timer(vrrp_fsm_deadline(&fsm));
}

static inline uint64_t begin_leaving(void)
{
	uint64_t now_us;

	configure_three();
	now_us = become_master() + 100000;
	simple(VRRP_EV_STOP, now_us);
	expect_did("S0 W TLEAVING/stop");
	assert_true(vrrp_fsm_holds(&fsm));
	return now_us;
}

#endif
