/* SPDX-License-Identifier: Apache-2.0 */
/* A session: its beginning and its end, what is asked for, what is proven. */
#include "tests/unit/session_fixture.h"

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
