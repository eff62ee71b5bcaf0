/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is a row of frames (u8 type, u16 length, payload), as a peer might send them. What
 * decodes must encode to the very same bytes; and all of it goes into a session, which may refuse
 * it but must not break.
 *
 * runs: 200000
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shared/wire.h"
#include "syncd/session_fsm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static void round_trip(const struct session_frame *frame, const uint8_t *payload, size_t size)
{
	static uint8_t again[SESSION_PAYLOAD_BYTES_MAX];

	CHECK(session_wire_encode(frame, again, sizeof(again)) == size);
	CHECK(memcmp(again, payload, size) == 0);
	if (frame->type == SESSION_WALK_ANSWER) {
		struct session_walk_entry entry;
		size_t at = 0;
		unsigned count = 0;

		while (session_walk_next(&frame->walk_answer, &at, &entry))
			count++;
		CHECK(count == frame->walk_answer.count && at == frame->walk_answer.size);
	}
}

/* As a keeper would: what the actions ask for is done, or fails. */
static void answer(struct session_fsm *fsm, const struct session_actions *out, uint64_t now_us)
{
	static struct session_actions next;

	for (int i = 0; i < out->count; i++) {
		const struct session_action *a = &out->items[i];
		struct session_event ev = {.now_us = now_us, .mirror = a->mirror};

		if (a->kind == SESSION_ACT_SEND) {
			static uint8_t payload[SESSION_PAYLOAD_BYTES_MAX];

			CHECK(session_wire_encode(a->frame, payload, sizeof(payload)) > 0);
		} else if (a->kind == SESSION_ACT_TRANSFER || a->kind == SESSION_ACT_CONTENTS) {
			ev.kind = now_us % 3 ? SESSION_EV_SENT : SESSION_EV_SEND_FAILED;
			ev.transfer = a->transfer;
			session_fsm_step(fsm, &ev, &next);
		} else if (a->kind == SESSION_ACT_RECEIVE && a->frame->type == SESSION_END) {
			static const uint8_t hashes[SESSION_HASH_BYTES];

			ev.kind = now_us % 2 ? SESSION_EV_RESULT : SESSION_EV_NEED_OBJECTS;
			ev.transfer = a->frame->end.transfer;
			ev.hashes = hashes;
			ev.hashes_count = 1;
			session_fsm_step(fsm, &ev, &next);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct session_fsm fsm;
	static struct session_actions out;
	struct session_conf conf = {.peer = "web2", .software = "fuzz", .mirrors_count = 2};
	struct session_event ev = {.kind = SESSION_EV_UP, .now_us = 1000000};
	struct session_hello hello = {.software = "fuzz", .mirrors_count = 2};
	struct session_frame frame = {.type = SESSION_HELLO};
	struct wire_reader r;

	memcpy(conf.mirrors[0].name, "a", 2);
	memcpy(conf.mirrors[1].name, "b", 2);
	memcpy(hello.mirrors[0].name, "b", 2);
	memcpy(hello.mirrors[1].name, "a", 2);
	session_fsm_init(&fsm, &conf);
	session_fsm_step(&fsm, &ev, &out);
	frame.hello = hello;
	ev.kind = SESSION_EV_FRAME;
	ev.frame = &frame;
	session_fsm_step(&fsm, &ev, &out);
	ev = (struct session_event){.kind = SESSION_EV_HEADS, .now_us = 1000000};
	ev.heads.local_present = ev.heads.offerable = ev.heads.made_here = true;
	ev.heads.relation = SESSION_LOCAL_AHEAD;
	ev.heads.has_base = true;
	session_fsm_step(&fsm, &ev, &out);

	wire_reader_init(&r, data, size);
	for (uint64_t now_us = 1000001; wire_left(&r) > 0 && fsm.state == SESSION_OPEN; now_us++) {
		uint8_t type = wire_get_u8(&r);
		size_t payload_size = wire_get_u16(&r);
		const uint8_t *payload;
		enum session_verdict verdict;

		if (payload_size > wire_left(&r))
			payload_size = wire_left(&r);
		payload = wire_get_slice(&r, payload_size);
		if (!wire_reader_ok(&r))
			break;
		verdict = session_wire_decode(type, payload, payload_size, &frame);
		CHECK(verdict < SESSION_VERDICTS);
		ev = (struct session_event){.now_us = now_us};
		if (verdict == SESSION_OK) {
			round_trip(&frame, payload, payload_size);
			ev.kind = SESSION_EV_FRAME;
			ev.frame = &frame;
		} else {
			ev.kind = SESSION_EV_BAD_FRAME;
			ev.verdict = verdict;
			ev.frame_type = type;
		}
		session_fsm_step(&fsm, &ev, &out);
		answer(&fsm, &out, now_us);
		if (fsm.state != SESSION_OPEN)
			break;
		if (type % 5 == 0) {
			ev = (struct session_event){.kind = SESSION_EV_TICK, .now_us = now_us};
			session_fsm_step(&fsm, &ev, &out);
			CHECK(session_fsm_deadline(&fsm) > now_us);
		}
	}
	ev = (struct session_event){.kind = SESSION_EV_DOWN, .now_us = 2000000};
	session_fsm_step(&fsm, &ev, &out);
	CHECK(session_fsm_deadline(&fsm) == SESSION_NEVER_US);
	return 0;
}
