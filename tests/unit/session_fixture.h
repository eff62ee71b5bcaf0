/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_fixture: one end of a session in a test, event by event. It has the mirrors "nginx" and
 * "certs", its peer web2 the same two the other way round.
 */
#ifndef TANDEM_SESSION_FIXTURE_H
#define TANDEM_SESSION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/session_fsm.h"

#define S 1000000ull

static struct session_fsm fsm;
static struct session_actions out;
static uint64_t now;
static const uint8_t header[4] = "head";

static inline struct session_event event(enum session_event_kind kind)
{
	return (struct session_event){.kind = kind, .now_us = now};
}

static inline void step(const struct session_event *ev)
{
	session_fsm_step(&fsm, ev, &out);
}

static inline void frame_in(const struct session_frame *frame)
{
	struct session_event ev = event(SESSION_EV_FRAME);

	ev.frame = frame;
	step(&ev);
}

static inline void tick(void)
{
	struct session_event ev = event(SESSION_EV_TICK);

	step(&ev);
}

/* The first action of that kind; NULL: there is none. */
static inline const struct session_action *find(enum session_action_kind kind)
{
	for (int i = 0; i < out.count; i++) {
		if (out.items[i].kind == kind)
			return &out.items[i];
	}
	return NULL;
}

static inline const struct session_frame *sent(uint8_t type)
{
	for (int i = 0; i < out.count; i++) {
		if (out.items[i].kind == SESSION_ACT_SEND && out.items[i].frame->type == type)
			return out.items[i].frame;
	}
	return NULL;
}

static inline void assert_closed(const char *expected)
{
	const struct session_action *close = find(SESSION_ACT_CLOSE);

	assert_non_null(close);
	if (!strstr(close->reason, expected))
		fail_msg("closed with: %s", close->reason);
	assert_int_equal(fsm.state, SESSION_CLOSING);
}

static inline void id_of(uint8_t *id, int n)
{
	memset(id, n, SESSION_HASH_BYTES);
}

/* Two mirrors here; "nginx" and "certs". */
static inline int setup(void **state)
{
	struct session_conf conf = {.mirrors_count = 2};

	(void)state;
	now = 100 * S;
	strcpy(conf.peer, "web2");
	strcpy(conf.software, "0.1.0");
	strcpy(conf.mirrors[0].name, "nginx");
	strcpy(conf.mirrors[1].name, "certs");
	id_of(conf.mirrors[0].definition, 1);
	id_of(conf.mirrors[1].definition, 2);
	session_fsm_init(&fsm, &conf);
	return 0;
}

static inline void up(void)
{
	struct session_event ev = event(SESSION_EV_UP);

	memset(ev.signed_by, 7, sizeof(ev.signed_by));
	step(&ev);
}

static inline void down(void)
{
	struct session_event ev = event(SESSION_EV_DOWN);

	step(&ev);
}

/* The peer has them the other way round, and defines "certs" so. */
static inline void hello(int certs_definition)
{
	struct session_frame frame = {.type = SESSION_HELLO};

	strcpy(frame.hello.software, "0.1.0");
	frame.hello.mirrors_count = 2;
	strcpy(frame.hello.mirrors[0].name, "certs");
	id_of(frame.hello.mirrors[0].definition, certs_definition);
	strcpy(frame.hello.mirrors[1].name, "nginx");
	id_of(frame.hello.mirrors[1].definition, 1);
	frame_in(&frame);
}

#define PEER_NGINX 1 /* the peer's slots */
#define PEER_CERTS 0

static inline void open_session(void)
{
	up();
	hello(2);
	assert_int_equal(fsm.state, SESSION_OPEN);
}

/* Our head n of "nginx", and the relation to the peer's. */
static inline void heads(int n, enum session_relation relation, bool made_here)
{
	struct session_event ev = event(SESSION_EV_HEADS);

	ev.heads.local_present = n > 0;
	id_of(ev.heads.local_id, n);
	ev.heads.relation = relation;
	ev.heads.made_here = made_here;
	ev.heads.offerable = true;
	ev.heads.has_base = true;
	id_of(ev.heads.base, 99);
	step(&ev);
}

static inline void send_done(uint32_t transfer)
{
	struct session_event ev = event(SESSION_EV_SENT);

	ev.transfer = transfer;
	step(&ev);
}

static inline void result_in(int n, enum session_outcome outcome)
{
	struct session_frame frame = {.type = SESSION_RESULT};

	frame.result.slot = PEER_NGINX;
	id_of(frame.result.id, n);
	frame.result.outcome = (uint8_t)outcome;
	frame_in(&frame);
}

static inline void offer_in(uint32_t transfer, uint32_t entries)
{
	struct session_frame frame = {.type = SESSION_OFFER};

	frame.offer.slot = PEER_NGINX;
	frame.offer.transfer = transfer;
	frame.offer.header = header;
	frame.offer.header_size = sizeof(header);
	frame.offer.entries_count = entries;
	frame_in(&frame);
}

static inline void entries_in(uint32_t transfer, uint16_t count)
{
	struct session_frame frame = {.type = SESSION_ENTRIES};

	frame.entries.slot = PEER_NGINX;
	frame.entries.transfer = transfer;
	frame.entries.count = count;
	frame_in(&frame);
}

static inline void content_in(uint32_t transfer)
{
	struct session_frame frame = {.type = SESSION_CONTENT};

	frame.content.slot = PEER_NGINX;
	frame.content.transfer = transfer;
	frame_in(&frame);
}

static inline void end_in(uint32_t transfer)
{
	struct session_frame frame = {.type = SESSION_END};

	frame.end.slot = PEER_NGINX;
	frame.end.transfer = transfer;
	frame_in(&frame);
}

static inline void need_in(uint32_t transfer, enum session_need kind)
{
	static const uint8_t hash[SESSION_HASH_BYTES];
	struct session_frame frame = {.type = SESSION_NEED};

	frame.need.slot = PEER_NGINX;
	frame.need.transfer = transfer;
	frame.need.kind = (uint8_t)kind;
	frame.need.count = kind == SESSION_NEED_OBJECTS;
	frame.need.hashes = hash;
	frame_in(&frame);
}

static inline void verify_in(int n, int tree, bool answer)
{
	struct session_frame frame = {.type = SESSION_VERIFY};

	frame.verify.slot = PEER_NGINX;
	frame.verify.answer = answer;
	id_of(frame.verify.id, n);
	id_of(frame.verify.tree, tree);
	frame_in(&frame);
}

#define test(name) cmocka_unit_test_setup(name, setup)

#endif
