/* SPDX-License-Identifier: Apache-2.0 */
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

static struct session_event event(enum session_event_kind kind)
{
	return (struct session_event){.kind = kind, .now_us = now};
}

static void step(const struct session_event *ev)
{
	session_fsm_step(&fsm, ev, &out);
}

static void frame_in(const struct session_frame *frame)
{
	struct session_event ev = event(SESSION_EV_FRAME);

	ev.frame = frame;
	step(&ev);
}

static void tick(void)
{
	struct session_event ev = event(SESSION_EV_TICK);

	step(&ev);
}

/* The n-th action of a kind; NULL. */
static const struct session_action *find(enum session_action_kind kind)
{
	for (int i = 0; i < out.count; i++) {
		if (out.items[i].kind == kind)
			return &out.items[i];
	}
	return NULL;
}

static const struct session_frame *sent(uint8_t type)
{
	for (int i = 0; i < out.count; i++) {
		if (out.items[i].kind == SESSION_ACT_SEND && out.items[i].frame->type == type)
			return out.items[i].frame;
	}
	return NULL;
}

static void assert_closed(const char *expected)
{
	const struct session_action *close = find(SESSION_ACT_CLOSE);

	assert_non_null(close);
	if (!strstr(close->reason, expected))
		fail_msg("closed with: %s", close->reason);
	assert_int_equal(fsm.state, SESSION_CLOSING);
}

static void id_of(uint8_t *id, int n)
{
	memset(id, n, SESSION_HASH_BYTES);
}

/* Two mirrors here; "nginx" and "certs". */
static int setup(void **state)
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

static void up(void)
{
	struct session_event ev = event(SESSION_EV_UP);

	memset(ev.signed_by, 7, sizeof(ev.signed_by));
	step(&ev);
}

static void down(void)
{
	struct session_event ev = event(SESSION_EV_DOWN);

	step(&ev);
}

/* The peer has them the other way round, and defines "certs" so. */
static void hello(int certs_definition)
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

static void open_session(void)
{
	up();
	hello(2);
	assert_int_equal(fsm.state, SESSION_OPEN);
}

/* Our head n of "nginx", and the relation to the peer's. */
static void heads(int n, enum session_relation relation, bool made_here)
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

static void send_done(uint32_t transfer)
{
	struct session_event ev = event(SESSION_EV_SENT);

	ev.transfer = transfer;
	step(&ev);
}

static void result_in(int n, enum session_outcome outcome)
{
	struct session_frame frame = {.type = SESSION_RESULT};

	frame.result.slot = PEER_NGINX;
	id_of(frame.result.id, n);
	frame.result.outcome = (uint8_t)outcome;
	frame_in(&frame);
}

static void offer_in(uint32_t transfer, uint32_t entries)
{
	struct session_frame frame = {.type = SESSION_OFFER};

	frame.offer.slot = PEER_NGINX;
	frame.offer.transfer = transfer;
	frame.offer.header = header;
	frame.offer.header_size = sizeof(header);
	frame.offer.entries_count = entries;
	frame_in(&frame);
}

static void entries_in(uint32_t transfer, uint16_t count)
{
	struct session_frame frame = {.type = SESSION_ENTRIES};

	frame.entries.slot = PEER_NGINX;
	frame.entries.transfer = transfer;
	frame.entries.count = count;
	frame_in(&frame);
}

static void content_in(uint32_t transfer)
{
	struct session_frame frame = {.type = SESSION_CONTENT};

	frame.content.slot = PEER_NGINX;
	frame.content.transfer = transfer;
	frame_in(&frame);
}

static void end_in(uint32_t transfer)
{
	struct session_frame frame = {.type = SESSION_END};

	frame.end.slot = PEER_NGINX;
	frame.end.transfer = transfer;
	frame_in(&frame);
}

static void need_in(uint32_t transfer, enum session_need kind)
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

/* R-S1 */

static void hello_is_the_first_word(void **state)
{
	(void)state;
	up();
	assert_int_equal(out.count, 1);
	assert_non_null(sent(SESSION_HELLO));
	assert_int_equal(sent(SESSION_HELLO)->hello.mirrors_count, 2);
	assert_string_equal(sent(SESSION_HELLO)->hello.mirrors[1].name, "certs");
	for (int i = 0; i < SESSION_SIGNED_BYTES; i++)
		assert_int_equal(sent(SESSION_HELLO)->hello.signed_by[i], 7);
}

static void anything_before_hello_ends_the_session(void **state)
{
	(void)state;
	up();
	offer_in(1, 0);
	assert_closed("OFFER frame from web2 refused: it comes before HELLO");
}

static void a_second_hello_ends_the_session(void **state)
{
	(void)state;
	open_session();
	hello(2);
	assert_closed("there was one before");
}

static void no_hello_in_five_seconds_ends_the_session(void **state)
{
	(void)state;
	up();
	assert_int_equal(session_fsm_deadline(&fsm), now + SESSION_HELLO_WAIT_US);
	now += SESSION_HELLO_WAIT_US;
	tick();
	assert_closed("web2 did not say hello within 5 s");
}

static void mirrors_are_matched_by_name_and_heads_follow(void **state)
{
	(void)state;
	up();
	hello(2);
	assert_int_equal(out.items[0].kind, SESSION_ACT_OPEN);
	assert_int_equal(fsm.mirrors[0].state, SESSION_MIRROR_SHARED);
	assert_int_equal(fsm.mirrors[0].peer_slot, PEER_NGINX);
	assert_int_equal(fsm.mirrors[1].peer_slot, PEER_CERTS);
	assert_non_null(find(SESSION_ACT_SEND_HEAD));
	assert_int_equal(out.count, 1 + 2 + 2);
}

static void mirrors_that_are_defined_differently_exchange_nothing(void **state)
{
	struct session_frame frame = {.type = SESSION_SYNC_REQUEST};
	struct session_event ev;

	(void)state;
	up();
	hello(77);
	assert_int_equal(fsm.mirrors[1].state, SESSION_MIRROR_DEFINITION_DIFFERS);
	assert_int_equal(out.count, 1 + 2 + 1); /* one HEAD */
	ev = event(SESSION_EV_HEADS);
	ev.mirror = 1;
	ev.heads.local_present = ev.heads.offerable = ev.heads.made_here = true;
	ev.heads.relation = SESSION_LOCAL_AHEAD;
	step(&ev);
	assert_int_equal(out.count, 0);
	ev = event(SESSION_EV_SCANNED);
	ev.mirror = 1;
	step(&ev);
	assert_int_equal(out.count, 0);
	/* And who speaks of it all the same is wrong. */
	frame.sync_request.slot = PEER_CERTS;
	frame_in(&frame);
	assert_closed("it names a mirror that the two nodes do not share");
}

static void a_frame_that_cannot_be_decoded_is_named_with_its_verdict(void **state)
{
	struct session_event ev;

	(void)state;
	open_session();
	ev = event(SESSION_EV_BAD_FRAME);
	ev.frame_type = SESSION_RESULT;
	ev.verdict = SESSION_BAD_OUTCOME;
	step(&ev);
	assert_closed("RESULT frame from web2 refused: an outcome that this version does not know "
		      "(bad-outcome)");
}

/* Offering */

static void an_edit_is_offered_at_once_with_the_base(void **state)
{
	const struct session_action *transfer;

	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	transfer = find(SESSION_ACT_TRANSFER);
	assert_non_null(transfer);
	assert_int_equal(transfer->transfer, 1);
	assert_int_equal(transfer->id[0], 5);
	assert_true(transfer->has_base);
	assert_int_equal(transfer->base[0], 99);
}

static void what_the_peer_has_is_not_offered(void **state)
{
	static const enum session_relation none[] = {SESSION_SAME, SESSION_PEER_AHEAD,
						     SESSION_RELATION_UNKNOWN};
	static const enum session_relation some[] = {SESSION_LOCAL_AHEAD, SESSION_CONCURRENT,
						     SESSION_UNRELATED};

	for (size_t i = 0; i < 3; i++) {
		setup(state);
		open_session();
		heads(5, none[i], true);
		assert_null(find(SESSION_ACT_TRANSFER));
		setup(state);
		open_session();
		heads(5, some[i], true);
		assert_non_null(find(SESSION_ACT_TRANSFER));
	}
}

static void what_was_made_elsewhere_waits_for_its_maker(void **state)
{
	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, false);
	assert_null(find(SESSION_ACT_TRANSFER));
	assert_int_equal(session_fsm_deadline(&fsm), now + SESSION_RELAY_DELAY_US);
	now += SESSION_RELAY_DELAY_US;
	tick();
	assert_non_null(find(SESSION_ACT_TRANSFER));
}

static void the_newest_head_follows_the_outstanding_transfer(void **state)
{
	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	heads(6, SESSION_LOCAL_AHEAD, true);
	assert_null(find(SESSION_ACT_TRANSFER)); /* R-S2 */
	assert_non_null(find(SESSION_ACT_SEND_HEAD));
	heads(7, SESSION_LOCAL_AHEAD, true);
	send_done(1);
	assert_null(find(SESSION_ACT_TRANSFER));
	result_in(5, SESSION_RECEIVED);
	assert_non_null(find(SESSION_ACT_REPORT));
	assert_non_null(find(SESSION_ACT_TRANSFER));
	assert_int_equal(find(SESSION_ACT_TRANSFER)->id[0], 7); /* R-S4: 6 is never sent */
}

static void a_refused_generation_is_not_offered_again(void **state)
{
	struct session_event ev;

	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	send_done(1);
	result_in(5, SESSION_REFUSED);
	heads(5, SESSION_LOCAL_AHEAD, true);
	assert_null(find(SESSION_ACT_TRANSFER));
	/* Neither in the next session ... */
	down();
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	assert_null(find(SESSION_ACT_TRANSFER));
	/* ... until a person asks. */
	ev = event(SESSION_EV_SYNC);
	step(&ev);
	assert_non_null(sent(SESSION_SYNC_REQUEST));
	assert_non_null(find(SESSION_ACT_TRANSFER));
}

static void a_person_there_may_ask_as_well(void **state)
{
	struct session_frame frame = {.type = SESSION_SYNC_REQUEST};

	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	send_done(1);
	result_in(5, SESSION_CONFLICT);
	frame.sync_request.slot = PEER_NGINX;
	frame_in(&frame);
	assert_non_null(find(SESSION_ACT_SYNC));
	assert_non_null(find(SESSION_ACT_TRANSFER));
}

static void an_answer_that_was_not_the_last_is_asked_for_again_after_a_reconnect(void **state)
{
	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	send_done(1);
	result_in(5, SESSION_RECEIVED);
	heads(5, SESSION_LOCAL_AHEAD, true);
	assert_null(find(SESSION_ACT_TRANSFER));
	down();
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	assert_non_null(find(SESSION_ACT_TRANSFER));
}

static void verify_in(int n, int tree, bool answer)
{
	struct session_frame frame = {.type = SESSION_VERIFY};

	frame.verify.slot = PEER_NGINX;
	frame.verify.answer = answer;
	id_of(frame.verify.id, n);
	id_of(frame.verify.tree, tree);
	frame_in(&frame);
}

static void what_failed_there_is_tried_again_at_the_next_resync(void **state)
{
	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	send_done(1);
	result_in(5, SESSION_FAILED);
	assert_null(find(SESSION_ACT_TRANSFER));
	verify_in(4, 4, false);
	assert_non_null(find(SESSION_ACT_TRANSFER));
	/* But what was refused is not. */
	send_done(2);
	result_in(5, SESSION_REFUSED);
	verify_in(4, 4, false);
	assert_null(find(SESSION_ACT_TRANSFER));
}

static void an_early_answer_stops_the_sending(void **state)
{
	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	result_in(5, SESSION_SUPERSEDED);
	assert_non_null(find(SESSION_ACT_STOP_SENDING));
	assert_int_equal(find(SESSION_ACT_STOP_SENDING)->transfer, 1);
	send_done(1); /* too late, and no matter */
	assert_int_equal(fsm.mirrors[0].tx, SESSION_TX_IDLE);
}

static void a_peer_without_the_base_gets_the_whole(void **state)
{
	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	need_in(1, SESSION_NEED_MANIFEST);
	assert_int_equal(out.items[0].kind, SESSION_ACT_STOP_SENDING);
	assert_int_equal(out.items[1].kind, SESSION_ACT_TRANSFER);
	assert_int_equal(out.items[1].transfer, 2);
	assert_false(out.items[1].has_base);
	need_in(2, SESSION_NEED_MANIFEST);
	assert_closed("the offer had no base that could be missing");
}

/* sim_session seed 55: it was sent the older head whole, and the newer one after it. */
static void a_peer_without_the_base_gets_the_newest_head(void **state)
{
	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	heads(6, SESSION_LOCAL_AHEAD, true);
	need_in(1, SESSION_NEED_MANIFEST);
	assert_int_equal(find(SESSION_ACT_TRANSFER)->id[0], 6);
	assert_false(find(SESSION_ACT_TRANSFER)->has_base);
}

static void a_peer_without_objects_gets_them(void **state)
{
	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	send_done(1);
	need_in(1, SESSION_NEED_OBJECTS);
	assert_non_null(find(SESSION_ACT_CONTENTS));
	assert_int_equal(find(SESSION_ACT_CONTENTS)->frame->need.count, 1);
	assert_int_equal(fsm.mirrors[0].tx, SESSION_TX_SENDING);
	need_in(1, SESSION_NEED_OBJECTS);
	assert_closed("the transfer has not ended yet");
}

static void a_need_for_nothing_ends_the_session_and_a_late_one_does_not(void **state)
{
	(void)state;
	open_session();
	need_in(1, SESSION_NEED_OBJECTS);
	assert_int_equal(out.count, 0);
	heads(5, SESSION_LOCAL_AHEAD, true);
	need_in(2, SESSION_NEED_OBJECTS);
	assert_closed("there was no such offer");
}

static void a_transfer_without_an_answer_ends_the_session(void **state)
{
	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	assert_int_equal(session_fsm_deadline(&fsm), SESSION_NEVER_US); /* as slow as it may be */
	send_done(1);
	now += SESSION_SILENCE_US;
	assert_int_equal(session_fsm_deadline(&fsm), now);
	tick();
	assert_closed("web2 did not answer a transfer for mirror nginx within 30 s");
}

static void what_cannot_be_read_here_is_called_off(void **state)
{
	struct session_event ev;

	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	ev = event(SESSION_EV_SEND_FAILED);
	ev.transfer = 1;
	ev.text = (struct session_string){"no such object", 14};
	step(&ev);
	assert_non_null(sent(SESSION_CANCEL));
	assert_null(find(SESSION_ACT_TRANSFER)); /* not at once again */
	heads(6, SESSION_LOCAL_AHEAD, true);
	assert_non_null(find(SESSION_ACT_TRANSFER));
}

/* Receiving */

static void a_transfer_comes_in_order(void **state)
{
	(void)state;
	open_session();
	offer_in(1, 3);
	assert_int_equal(find(SESSION_ACT_RECEIVE)->mirror, 0);
	entries_in(1, 2);
	assert_non_null(find(SESSION_ACT_RECEIVE));
	entries_in(1, 1);
	content_in(1);
	assert_non_null(find(SESSION_ACT_RECEIVE));
	end_in(1);
	assert_non_null(find(SESSION_ACT_RECEIVE));
	assert_int_equal(fsm.mirrors[0].rx, SESSION_RX_DECIDING);
}

static void transfers_out_of_order_end_the_session(void **state)
{
	setup(state);
	open_session();
	entries_in(1, 1);
	assert_closed("ENTRIES frame from web2 refused: it belongs to no offer");
	setup(state);
	open_session();
	offer_in(1, 3);
	entries_in(1, 4);
	assert_closed("more entries come than were announced");
	setup(state);
	open_session();
	offer_in(1, 3);
	content_in(1);
	assert_closed("it comes before the last of the entries");
	setup(state);
	open_session();
	offer_in(1, 3);
	entries_in(1, 2);
	end_in(1);
	assert_closed("fewer entries came than were announced");
	setup(state);
	open_session();
	offer_in(1, 0);
	end_in(1);
	content_in(1);
	assert_closed("its transfer has ended");
	setup(state);
	open_session();
	offer_in(2, 0);
	offer_in(2, 0);
	assert_closed("its transfer number was used before");
}

static void what_comes_after_an_early_answer_is_late_not_wrong(void **state)
{
	struct session_event ev;

	(void)state;
	open_session();
	offer_in(1, 3);
	ev = event(SESSION_EV_RESULT);
	ev.transfer = 1;
	ev.outcome = SESSION_SUPERSEDED;
	step(&ev);
	assert_non_null(sent(SESSION_RESULT));
	entries_in(1, 3);
	assert_int_equal(out.count, 0);
	end_in(1);
	assert_int_equal(out.count, 0);
}

static void later_news_does_not_end_the_transfer_that_is_coming(void **state)
{
	struct session_event ev;

	(void)state;
	open_session();
	offer_in(1, 3);
	ev = event(SESSION_EV_RESULT);
	ev.outcome = SESSION_LOADED; /* of an older generation: transfer 0 */
	step(&ev);
	assert_non_null(sent(SESSION_RESULT));
	entries_in(1, 3);
	assert_non_null(find(SESSION_ACT_RECEIVE));
}

static void objects_that_are_missing_are_asked_for_in_bounded_rounds(void **state)
{
	static const uint8_t hashes[(SESSION_NEED_HASHES_MAX + 5) * SESSION_HASH_BYTES];
	struct session_event ev;

	(void)state;
	open_session();
	offer_in(1, 0);
	end_in(1);
	ev = event(SESSION_EV_NEED_OBJECTS);
	ev.transfer = 1;
	ev.hashes = hashes;
	ev.hashes_count = SESSION_NEED_HASHES_MAX + 5;
	step(&ev);
	assert_int_equal(sent(SESSION_NEED)->need.count, SESSION_NEED_HASHES_MAX);
	content_in(1);
	assert_non_null(find(SESSION_ACT_RECEIVE));
	end_in(1);
	assert_int_equal(fsm.mirrors[0].rx, SESSION_RX_DECIDING);
}

static void a_missing_base_asks_for_a_new_offer(void **state)
{
	struct session_event ev;

	(void)state;
	open_session();
	offer_in(1, 2);
	ev = event(SESSION_EV_NEED_MANIFEST);
	ev.transfer = 1;
	step(&ev);
	assert_int_equal(sent(SESSION_NEED)->need.kind, SESSION_NEED_MANIFEST);
	entries_in(1, 2); /* was on its way */
	assert_int_equal(out.count, 0);
	offer_in(2, 2);
	assert_non_null(find(SESSION_ACT_RECEIVE));
}

static void a_transfer_that_stops_in_the_middle_ends_the_session(void **state)
{
	(void)state;
	open_session();
	offer_in(1, 3);
	now += SESSION_SILENCE_US - 1;
	entries_in(1, 1);
	now += SESSION_SILENCE_US - 1;
	tick();
	assert_int_equal(fsm.state, SESSION_OPEN);
	now += 1;
	tick();
	assert_closed("web2 did not go on with a transfer for mirror nginx within 30 s");
}

static void a_cancelled_transfer_is_thrown_away(void **state)
{
	struct session_frame frame = {.type = SESSION_CANCEL};

	(void)state;
	open_session();
	offer_in(1, 3);
	frame.cancel.slot = PEER_NGINX;
	frame.cancel.transfer = 1;
	frame_in(&frame);
	assert_non_null(find(SESSION_ACT_STOP_RECEIVING));
	frame_in(&frame);
	assert_int_equal(out.count, 0);
}

static void a_lost_connection_throws_half_transfers_away(void **state)
{
	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	offer_in(1, 3);
	down();
	assert_non_null(find(SESSION_ACT_STOP_SENDING));
	assert_non_null(find(SESSION_ACT_STOP_RECEIVING));
	assert_int_equal(session_fsm_deadline(&fsm), SESSION_NEVER_US);
	/* Numbers begin anew. */
	open_session();
	offer_in(1, 0);
	assert_non_null(find(SESSION_ACT_RECEIVE));
}

/* Asking */

static void peer_has(int n, bool held)
{
	struct session_event ev = event(SESSION_EV_HEADS);

	ev.heads.peer_present = true;
	id_of(ev.heads.peer_id, n);
	ev.heads.peer_held = held;
	ev.heads.relation = SESSION_PEER_AHEAD;
	step(&ev);
}

static void what_the_peer_does_not_bring_is_asked_for(void **state)
{
	struct session_frame absent = {.type = SESSION_RESULT};

	(void)state;
	open_session();
	peer_has(9, false);
	now += SESSION_WANT_DELAY_US;
	assert_int_equal(session_fsm_deadline(&fsm), now);
	tick();
	assert_non_null(sent(SESSION_WANT));
	assert_int_equal(sent(SESSION_WANT)->want.id[0], 9);
	tick();
	assert_int_equal(out.count, 0); /* once */
	/* It has not got it after all: asked again, later. */
	absent.result.slot = PEER_NGINX;
	id_of(absent.result.id, 9);
	absent.result.outcome = SESSION_ABSENT;
	frame_in(&absent);
	assert_int_equal(session_fsm_deadline(&fsm), now + SESSION_WANT_DELAY_US);
}

static void what_is_held_or_refused_here_is_not_asked_for(void **state)
{
	(void)state;
	open_session();
	peer_has(9, true);
	assert_int_equal(session_fsm_deadline(&fsm), SESSION_NEVER_US);
}

static void an_offer_answers_the_question(void **state)
{
	(void)state;
	open_session();
	peer_has(9, false);
	now += SESSION_WANT_DELAY_US;
	tick();
	assert_true(fsm.mirrors[0].asked);
	offer_in(1, 0);
	assert_false(fsm.mirrors[0].asked);
	end_in(1);
	assert_int_equal(session_fsm_deadline(&fsm), SESSION_NEVER_US);
}

static void a_question_without_an_answer_ends_the_session(void **state)
{
	(void)state;
	open_session();
	peer_has(9, false);
	now += SESSION_WANT_DELAY_US;
	tick();
	now += SESSION_SILENCE_US;
	tick();
	assert_closed(
		"web2 did not bring the generation that was wanted for mirror nginx within 30 s");
}

static void while_another_transfer_comes_a_question_has_time(void **state)
{
	struct session_event ev;

	(void)state;
	open_session();
	offer_in(1, 1);
	ev = event(SESSION_EV_WANT);
	id_of(ev.id, 3);
	step(&ev);
	assert_non_null(sent(SESSION_WANT));
	for (int i = 0; i < 4; i++) {
		now += SESSION_SILENCE_US / 2;
		fsm.mirrors[0].rx_silence_us = now + SESSION_SILENCE_US; /* it goes on coming */
		tick();
		assert_int_equal(fsm.state, SESSION_OPEN);
		assert_true(session_fsm_deadline(&fsm) > now); /* R-S10 */
	}
}

static void want_in(int n)
{
	struct session_frame frame = {.type = SESSION_WANT};

	frame.want.slot = PEER_NGINX;
	id_of(frame.want.id, n);
	frame_in(&frame);
}

static void what_the_peer_asks_for_is_sent_in_its_turn(void **state)
{
	struct session_event ev;

	(void)state;
	open_session();
	heads(5, SESSION_LOCAL_AHEAD, true);
	want_in(3);
	assert_null(find(SESSION_ACT_TRANSFER));
	send_done(1);
	result_in(5, SESSION_RECEIVED);
	assert_int_equal(find(SESSION_ACT_TRANSFER)->id[0], 3);
	/* It is not held here. */
	ev = event(SESSION_EV_SEND_FAILED);
	ev.transfer = 2;
	ev.text = (struct session_string){"not held", 8};
	step(&ev);
	assert_int_equal(sent(SESSION_RESULT)->result.outcome, SESSION_ABSENT);
}

/* Resync */

static void scanned(int n, int tree)
{
	struct session_event ev = event(SESSION_EV_SCANNED);

	id_of(ev.id, n);
	id_of(ev.tree, tree);
	step(&ev);
}

static void equal_trees_are_proven_by_one_hash(void **state)
{
	(void)state;
	open_session();
	scanned(5, 50);
	assert_non_null(sent(SESSION_VERIFY));
	assert_false(sent(SESSION_VERIFY)->verify.answer);
	verify_in(5, 50, true);
	assert_non_null(find(SESSION_ACT_VERIFIED));
	assert_int_equal(out.count, 1);
	/* Asked, it answers as well. */
	verify_in(5, 50, false);
	assert_non_null(sent(SESSION_VERIFY));
	assert_true(sent(SESSION_VERIFY)->verify.answer);
	assert_non_null(find(SESSION_ACT_VERIFIED));
}

static void different_trees_of_one_head_are_descended_by_who_asked(void **state)
{
	(void)state;
	open_session();
	scanned(5, 50);
	verify_in(5, 51, false);
	assert_null(find(SESSION_ACT_DESCEND));
	verify_in(5, 51, true);
	assert_non_null(find(SESSION_ACT_DESCEND));
	/* Another head is another matter. */
	verify_in(6, 60, true);
	assert_int_equal(out.count, 0);
}

static void one_question_of_a_descent_is_out_at_a_time(void **state)
{
	struct session_frame answer = {.type = SESSION_WALK_ANSWER};
	struct session_event ev;

	(void)state;
	open_session();
	ev = event(SESSION_EV_WALK_ASK);
	ev.path = (struct session_string){"/etc", 4};
	step(&ev);
	answer.walk_answer.slot = PEER_NGINX;
	answer.walk_answer.walk = sent(SESSION_WALK_ASK)->walk_ask.walk;
	frame_in(&answer);
	assert_non_null(find(SESSION_ACT_WALK_ANSWERED));
	frame_in(&answer); /* once more: nobody asked */
	assert_int_equal(out.count, 0);
	step(&ev);
	now += SESSION_SILENCE_US;
	tick();
	assert_closed("web2 did not answer a question");
}

static void a_question_about_our_tree_is_answered_with_our_slot(void **state)
{
	struct session_frame frame = {.type = SESSION_WALK_ASK};
	struct session_event ev;

	(void)state;
	open_session();
	frame.walk_ask.slot = PEER_CERTS;
	frame.walk_ask.walk = 7;
	frame_in(&frame);
	assert_int_equal(find(SESSION_ACT_WALK_ASKED)->mirror, 1);
	memset(&frame, 0, sizeof(frame));
	frame.type = SESSION_WALK_ANSWER;
	frame.walk_answer.walk = 7;
	ev = event(SESSION_EV_WALK_ANSWER);
	ev.mirror = 1;
	ev.frame = &frame;
	step(&ev);
	assert_int_equal(sent(SESSION_WALK_ANSWER)->walk_answer.slot, 1);
}

/* R-S6, R-S9 */

static void without_a_connection_nothing_is_said(void **state)
{
	(void)state;
	heads(5, SESSION_LOCAL_AHEAD, true);
	assert_int_equal(out.count, 0);
	scanned(5, 50);
	assert_int_equal(out.count, 0);
	tick();
	assert_int_equal(out.count, 0);
	up();
	heads(6, SESSION_LOCAL_AHEAD, true);
	assert_int_equal(out.count, 0);
}

static void after_a_close_nothing_is_heard(void **state)
{
	(void)state;
	open_session();
	hello(2);
	assert_int_equal(fsm.state, SESSION_CLOSING);
	offer_in(1, 0);
	assert_int_equal(out.count, 0);
	heads(5, SESSION_LOCAL_AHEAD, true);
	assert_int_equal(out.count, 0);
	down();
	open_session();
}

/* A peer that says anything that can be decoded: answered, ignored or closed, never an assert. */
static void no_order_of_frames_breaks_it(void **state)
{
	static uint8_t payload[SESSION_PAYLOAD_BYTES_MAX];
	uint64_t random = 12345;
	int closed = 0;

	for (int round = 0; round < 300; round++) {
		setup(state);
		open_session();
		heads(5, SESSION_LOCAL_AHEAD, true);
		for (int i = 0; i < 200; i++) {
			struct session_frame frame;
			uint8_t type;
			size_t size;

			random = random * 6364136223846793005u + 1442695040888963407u;
			type = (uint8_t)(SESSION_HELLO + (random >> 40) % 14);
			/* Small numbers, so that many of them mean something. */
			size = (random >> 32) % 160;
			for (size_t k = 0; k < size; k++) {
				random = random * 6364136223846793005u + 1442695040888963407u;
				payload[k] = (random >> 60) < 11 ? 0 : (uint8_t)(random >> 50) % 4;
			}
			now += (random >> 33) % S;
			if (session_wire_decode(type, payload, size, &frame) == SESSION_OK)
				frame_in(&frame);
			if (i % 7 == 0)
				tick();
			if (i % 31 == 0)
				heads(5 + i % 3, SESSION_CONCURRENT, true);
			if (fsm.state == SESSION_CLOSING) {
				closed++;
				down();
				open_session();
			}
			assert_true(session_fsm_deadline(&fsm) > 0);
		}
	}
	assert_true(closed > 0);
}

#define test(name) cmocka_unit_test_setup(name, setup)

static void maintenance_is_said_after_hello_and_when_it_changes(void **state)
{
	struct session_frame frame = {.type = SESSION_NODE};
	struct session_event ev = event(SESSION_EV_NODE);

	(void)state;
	ev.maintenance = true;
	step(&ev);
	assert_int_equal(out.count, 0);
	open_session();
	assert_true(sent(SESSION_NODE)->node.maintenance);
	step(&ev); /* no news */
	assert_int_equal(out.count, 0);
	ev.maintenance = false;
	step(&ev);
	assert_false(sent(SESSION_NODE)->node.maintenance);
	/* The next one hears of it where it is so, and of nothing else. */
	down();
	open_session();
	assert_null(sent(SESSION_NODE));
	frame.node.maintenance = true;
	frame_in(&frame);
	assert_true(find(SESSION_ACT_PEER_NODE)->frame->node.maintenance);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(hello_is_the_first_word),
		test(anything_before_hello_ends_the_session),
		test(a_second_hello_ends_the_session),
		test(no_hello_in_five_seconds_ends_the_session),
		test(mirrors_are_matched_by_name_and_heads_follow),
		test(mirrors_that_are_defined_differently_exchange_nothing),
		test(a_frame_that_cannot_be_decoded_is_named_with_its_verdict),
		test(an_edit_is_offered_at_once_with_the_base),
		test(what_the_peer_has_is_not_offered),
		test(what_was_made_elsewhere_waits_for_its_maker),
		test(the_newest_head_follows_the_outstanding_transfer),
		test(a_refused_generation_is_not_offered_again),
		test(a_person_there_may_ask_as_well),
		test(an_answer_that_was_not_the_last_is_asked_for_again_after_a_reconnect),
		test(what_failed_there_is_tried_again_at_the_next_resync),
		test(an_early_answer_stops_the_sending),
		test(a_peer_without_the_base_gets_the_whole),
		test(a_peer_without_the_base_gets_the_newest_head),
		test(a_peer_without_objects_gets_them),
		test(a_need_for_nothing_ends_the_session_and_a_late_one_does_not),
		test(a_transfer_without_an_answer_ends_the_session),
		test(what_cannot_be_read_here_is_called_off),
		test(a_transfer_comes_in_order),
		test(transfers_out_of_order_end_the_session),
		test(what_comes_after_an_early_answer_is_late_not_wrong),
		test(later_news_does_not_end_the_transfer_that_is_coming),
		test(objects_that_are_missing_are_asked_for_in_bounded_rounds),
		test(a_missing_base_asks_for_a_new_offer),
		test(a_transfer_that_stops_in_the_middle_ends_the_session),
		test(a_cancelled_transfer_is_thrown_away),
		test(a_lost_connection_throws_half_transfers_away),
		test(what_the_peer_does_not_bring_is_asked_for),
		test(what_is_held_or_refused_here_is_not_asked_for),
		test(an_offer_answers_the_question),
		test(a_question_without_an_answer_ends_the_session),
		test(while_another_transfer_comes_a_question_has_time),
		test(what_the_peer_asks_for_is_sent_in_its_turn),
		test(equal_trees_are_proven_by_one_hash),
		test(different_trees_of_one_head_are_descended_by_who_asked),
		test(one_question_of_a_descent_is_out_at_a_time),
		test(a_question_about_our_tree_is_answered_with_our_slot),
		test(maintenance_is_said_after_hello_and_when_it_changes),
		test(without_a_connection_nothing_is_said),
		test(after_a_close_nothing_is_heard),
		test(no_order_of_frames_breaks_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
