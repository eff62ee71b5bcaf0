/* SPDX-License-Identifier: Apache-2.0 */
/* A session's transfers: what is offered and when, and in which order it has to come. */
#include "tests/unit/session_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
