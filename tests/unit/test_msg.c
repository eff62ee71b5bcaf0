/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/msg.h"

#define QUEUE_BYTES_MAX (4 * MSG_PAYLOAD_BYTES_MAX)

/* One end, and what has come in on it. */
struct side {
	struct msg_channel *channel;
	int messages, closes, drains;
	int reason;
	uint16_t type;
	size_t size;
	uint8_t payload[MSG_PAYLOAD_BYTES_MAX];
	int fd;
	bool free_in_message, free_in_closed, pause_in_message;
};

struct pair {
	struct loop *loop;
	int fds[2]; /* for tests that speak by hand; side[1] may have none */
	struct side side[2];
};

static void note_message(void *ctx, uint16_t type, const uint8_t *payload, size_t size, int fd)
{
	struct side *side = ctx;

	side->messages++;
	side->type = type;
	side->size = size;
	memcpy(side->payload, payload, size);
	if (side->fd >= 0)
		close(side->fd);
	side->fd = fd;
	if (side->free_in_message)
		side->channel = msg_channel_free(side->channel);
	if (side->pause_in_message)
		msg_pause(side->channel, 1);
}

static void note_closed(void *ctx, int reason)
{
	struct side *side = ctx;

	side->closes++;
	side->reason = reason;
	if (side->free_in_closed)
		side->channel = msg_channel_free(side->channel);
}

static void note_drained(void *ctx)
{
	((struct side *)ctx)->drains++;
}

static void open_side(struct pair *pair, int i)
{
	const struct msg_handlers handlers = {.on_message = note_message,
					      .on_closed = note_closed,
					      .on_drained = note_drained,
					      .ctx = &pair->side[i]};

	assert_int_equal(msg_channel_new(pair->loop, pair->fds[i], QUEUE_BYTES_MAX, &handlers,
					 &pair->side[i].channel),
			 0);
	pair->fds[i] = -1;
}

/* Side 0 is a channel; side 1 is still a bare descriptor. */
static int set_up(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	if (!pair || loop_new(&pair->loop) < 0 || msg_pair(pair->fds) < 0)
		return -1;
	pair->side[0].fd = pair->side[1].fd = -1;
	open_side(pair, 0);
	*state = pair;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *pair = *state;

	for (int i = 0; i < 2; i++) {
		msg_channel_free(pair->side[i].channel);
		if (pair->fds[i] >= 0)
			close(pair->fds[i]);
		if (pair->side[i].fd >= 0)
			close(pair->side[i].fd);
	}
	loop_free(pair->loop);
	free(pair);
	return 0;
}

static void turn_until(struct pair *pair, const int *count, int wanted)
{
	for (int turns = 0; *count < wanted; turns++) {
		assert_true(turns < 10000);
		assert_int_equal(loop_turn(pair->loop, loop_now_us(pair->loop) + 20000000), 0);
	}
}

static void a_message_arrives_as_it_was_sent(void **state)
{
	struct pair *pair = *state;

	open_side(pair, 1);
	assert_int_equal(msg_send(pair->side[0].channel, 0xabcd, "hello", 5, -1), 0);
	turn_until(pair, &pair->side[1].messages, 1);
	assert_int_equal(pair->side[1].type, 0xabcd);
	assert_int_equal(pair->side[1].size, 5);
	assert_memory_equal(pair->side[1].payload, "hello", 5);
	assert_int_equal(pair->side[1].fd, -1);
}

static void an_empty_payload_is_a_message(void **state)
{
	struct pair *pair = *state;

	open_side(pair, 1);
	assert_int_equal(msg_send(pair->side[0].channel, 7, NULL, 0, -1), 0);
	turn_until(pair, &pair->side[1].messages, 1);
	assert_int_equal(pair->side[1].type, 7);
	assert_int_equal(pair->side[1].size, 0);
	assert_int_equal(pair->side[1].closes, 0);
}

static void the_largest_payload_passes_and_one_more_byte_does_not(void **state)
{
	struct pair *pair = *state;
	static uint8_t bytes[MSG_PAYLOAD_BYTES_MAX + 1];

	open_side(pair, 1);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	assert_int_equal(msg_send(pair->side[0].channel, 1, bytes, MSG_PAYLOAD_BYTES_MAX + 1, -1),
			 -EMSGSIZE);
	assert_int_equal(msg_send(pair->side[0].channel, 1, bytes, MSG_PAYLOAD_BYTES_MAX, -1), 0);
	turn_until(pair, &pair->side[1].messages, 1);
	assert_int_equal(pair->side[1].size, MSG_PAYLOAD_BYTES_MAX);
	assert_memory_equal(pair->side[1].payload, bytes, MSG_PAYLOAD_BYTES_MAX);
}

static void a_descriptor_travels_and_closes_on_exec(void **state)
{
	struct pair *pair = *state;
	struct stat sent, received;
	int fd = open("/dev/null", O_RDONLY);

	open_side(pair, 1);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &sent), 0);
	assert_int_equal(msg_send(pair->side[0].channel, 1, "x", 1, fd), 0);
	close(fd);
	turn_until(pair, &pair->side[1].messages, 1);
	assert_true(pair->side[1].fd >= 0);
	assert_int_equal(fstat(pair->side[1].fd, &received), 0);
	assert_true(sent.st_rdev == received.st_rdev && sent.st_ino == received.st_ino);
	assert_int_equal(fcntl(pair->side[1].fd, F_GETFD), FD_CLOEXEC);
}

/* Fills the socket and the queue behind it; returns how many messages that took. */
static int fill(struct pair *pair, int fd)
{
	static const uint8_t bytes[30000];
	int sent = 0, r;

	while ((r = msg_send(pair->side[0].channel, (uint16_t)sent, bytes, sizeof(bytes), fd)) == 0)
		assert_true(++sent < 1000);
	assert_int_equal(r, -ENOBUFS);
	return sent;
}

static void a_full_queue_is_an_answer_and_loses_nothing(void **state)
{
	struct pair *pair = *state;
	int sent = fill(pair, -1);

	assert_true(msg_queued_bytes(pair->side[0].channel) > 0);
	assert_true(msg_queued_bytes(pair->side[0].channel) <= QUEUE_BYTES_MAX);
	open_side(pair, 1);
	turn_until(pair, &pair->side[1].messages, sent);
	/* In order, none twice, and the sender hears that it may go on. */
	assert_int_equal(pair->side[1].type, sent - 1);
	turn_until(pair, &pair->side[0].drains, 1);
	assert_int_equal(msg_queued_bytes(pair->side[0].channel), 0);
	assert_int_equal(pair->side[0].drains, 1);
	assert_int_equal(msg_send(pair->side[0].channel, 9, "x", 1, -1), 0);
	turn_until(pair, &pair->side[1].messages, sent + 1);
	assert_int_equal(pair->side[1].type, 9);
}

static void a_queued_descriptor_is_kept_by_the_channel(void **state)
{
	struct pair *pair = *state;
	int fd = open("/dev/null", O_RDONLY), sent;

	assert_true(fd >= 0);
	sent = fill(pair, fd);
	close(fd);
	open_side(pair, 1);
	turn_until(pair, &pair->side[1].messages, sent);
	assert_true(pair->side[1].fd >= 0);
}

static void what_waits_is_freed_with_the_channel(void **state)
{
	struct pair *pair = *state;
	int fd = open("/dev/null", O_RDONLY);

	assert_true(fd >= 0);
	(void)fill(pair, fd);
	close(fd);
	/* The rest is the leak check's and tear_down's. */
}

static void the_other_sides_end_is_told_once_after_its_last_message(void **state)
{
	struct pair *pair = *state;
	const uint8_t bytes[] = {0, 5, 'x'};

	assert_int_equal(send(pair->fds[1], bytes, sizeof(bytes), 0), sizeof(bytes));
	close(pair->fds[1]);
	pair->fds[1] = -1;
	turn_until(pair, &pair->side[0].closes, 1);
	assert_int_equal(pair->side[0].messages, 1);
	assert_int_equal(pair->side[0].type, 5);
	assert_int_equal(pair->side[0].reason, 0);
	assert_int_equal(loop_turn(pair->loop, 0), 0);
	assert_int_equal(pair->side[0].closes, 1);
	assert_int_equal(msg_send(pair->side[0].channel, 1, "x", 1, -1), -EPIPE);
}

static void an_end_with_our_messages_unread_says_so(void **state)
{
	struct pair *pair = *state;
	const uint8_t bytes[] = {0, 5, 'x'};

	assert_int_equal(msg_send(pair->side[0].channel, 1, "x", 1, -1), 0);
	assert_int_equal(send(pair->fds[1], bytes, sizeof(bytes), 0), sizeof(bytes));
	close(pair->fds[1]);
	pair->fds[1] = -1;
	turn_until(pair, &pair->side[0].closes, 1);
	assert_int_equal(pair->side[0].messages, 1);
	assert_int_equal(pair->side[0].reason, -ECONNRESET);
}

static void sending_to_nobody_is_an_error_not_a_signal(void **state)
{
	struct pair *pair = *state;

	close(pair->fds[1]);
	pair->fds[1] = -1;
	assert_int_equal(msg_send(pair->side[0].channel, 1, "x", 1, -1), -EPIPE);
	assert_int_equal(msg_send(pair->side[0].channel, 1, "x", 1, -1), -EPIPE);
	turn_until(pair, &pair->side[0].closes, 1);
}

static void assert_broken(struct pair *pair)
{
	turn_until(pair, &pair->side[0].closes, 1);
	assert_int_equal(pair->side[0].messages, 0);
	assert_int_equal(pair->side[0].reason, -EPROTO);
}

static void a_message_of_one_byte_closes_the_channel(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(send(pair->fds[1], "x", 1, 0), 1);
	assert_broken(pair);
}

static void a_message_that_is_too_long_closes_the_channel(void **state)
{
	struct pair *pair = *state;
	static const uint8_t bytes[2 + MSG_PAYLOAD_BYTES_MAX + 1];

	assert_int_equal(send(pair->fds[1], bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_broken(pair);
}

static int open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void send_descriptors(int fd, size_t count)
{
	union {
		struct cmsghdr header;
		uint8_t room[CMSG_SPACE(16 * sizeof(int))];
	} control = {0};
	uint8_t bytes[] = {0, 1, 'x'};
	struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};

	assert_true(count <= 16);
	message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
	for (size_t i = 0; i < count; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &fd, sizeof(fd));
	assert_int_equal(sendmsg(fd, &message, 0), sizeof(bytes));
}

static void two_descriptors_close_the_channel_and_are_closed(void **state)
{
	struct pair *pair = *state;
	int before = open_descriptors();

	send_descriptors(pair->fds[1], 2);
	assert_broken(pair);
	assert_int_equal(open_descriptors(), before);
}

static void more_descriptors_than_there_is_room_for_are_closed_too(void **state)
{
	struct pair *pair = *state;
	int before = open_descriptors();

	send_descriptors(pair->fds[1], 16);
	assert_broken(pair);
	assert_int_equal(open_descriptors(), before);
}

static void a_channel_may_be_freed_in_its_own_callbacks(void **state)
{
	struct pair *pair = *state;
	const uint8_t bytes[] = {0, 5, 'x'};

	pair->side[0].free_in_message = true;
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(pair->fds[1], bytes, sizeof(bytes), 0), sizeof(bytes));
	turn_until(pair, &pair->side[0].messages, 1);
	assert_null(pair->side[0].channel);
	assert_int_equal(loop_turn(pair->loop, 0), 0);
	assert_int_equal(pair->side[0].messages, 1);
	assert_int_equal(pair->side[0].closes, 0);
}

static void a_channel_may_be_freed_when_it_hears_of_the_end(void **state)
{
	struct pair *pair = *state;

	pair->side[0].free_in_closed = true;
	close(pair->fds[1]);
	pair->fds[1] = -1;
	turn_until(pair, &pair->side[0].closes, 1);
	assert_null(pair->side[0].channel);
	assert_int_equal(loop_turn(pair->loop, 0), 0);
}

static void one_channel_does_not_take_the_whole_turn(void **state)
{
	struct pair *pair = *state;
	const uint8_t bytes[] = {0, 5, 'x'};
	int sent = 0;

	while (send(pair->fds[1], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		sent++;
	assert_true(sent > 100);
	assert_int_equal(loop_turn(pair->loop, 0), 0);
	assert_in_range(pair->side[0].messages, 1, 64);
	turn_until(pair, &pair->side[0].messages, sent);
}

static void a_paused_channel_is_silent_and_loses_nothing(void **state)
{
	struct pair *pair = *state;
	const uint8_t bytes[] = {0, 5, 'x'};

	pair->side[0].pause_in_message = true;
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(pair->fds[1], bytes, sizeof(bytes), 0), sizeof(bytes));
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(loop_turn(pair->loop, 0), 0);
		assert_int_equal(loop_turn(pair->loop, 0), 0);
		assert_int_equal(pair->side[0].messages, i);
		msg_pause(pair->side[0].channel, 0);
	}
}

static void a_paused_channel_whose_peer_left_does_not_spin(void **state)
{
	struct pair *pair = *state;
	const uint8_t bytes[] = {0, 5, 'x'};
	uint64_t until_us;

	assert_int_equal(send(pair->fds[1], bytes, sizeof(bytes), 0), sizeof(bytes));
	msg_pause(pair->side[0].channel, 1);
	close(pair->fds[1]);
	pair->fds[1] = -1;
	/* The first turn sees the end; the second has nothing to see, and so comes back when its
	 * moment has come, not before. */
	assert_int_equal(loop_turn(pair->loop, 0), 0);
	until_us = loop_refresh_us(pair->loop) + 20000;
	assert_int_equal(loop_turn(pair->loop, until_us), 0);
	assert_true(loop_now_us(pair->loop) >= until_us);
	assert_int_equal(pair->side[0].messages + pair->side[0].closes, 0);
	/* And when it is wanted again, all comes in order. */
	msg_pause(pair->side[0].channel, 0);
	turn_until(pair, &pair->side[0].closes, 1);
	assert_int_equal(pair->side[0].messages, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_message_arrives_as_it_was_sent),
		TEST(an_empty_payload_is_a_message),
		TEST(the_largest_payload_passes_and_one_more_byte_does_not),
		TEST(a_descriptor_travels_and_closes_on_exec),
		TEST(a_full_queue_is_an_answer_and_loses_nothing),
		TEST(a_queued_descriptor_is_kept_by_the_channel),
		TEST(what_waits_is_freed_with_the_channel),
		TEST(the_other_sides_end_is_told_once_after_its_last_message),
		TEST(an_end_with_our_messages_unread_says_so),
		TEST(sending_to_nobody_is_an_error_not_a_signal),
		TEST(a_message_of_one_byte_closes_the_channel),
		TEST(a_message_that_is_too_long_closes_the_channel),
		TEST(two_descriptors_close_the_channel_and_are_closed),
		TEST(more_descriptors_than_there_is_room_for_are_closed_too),
		TEST(a_channel_may_be_freed_in_its_own_callbacks),
		TEST(a_channel_may_be_freed_when_it_hears_of_the_end),
		TEST(one_channel_does_not_take_the_whole_turn),
		TEST(a_paused_channel_is_silent_and_loses_nothing),
		TEST(a_paused_channel_whose_peer_left_does_not_spin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
