/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/loop.h"

#define SECOND_US UINT64_C(1000000)

static uint64_t clock_us(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return (uint64_t)ts.tv_sec * SECOND_US + (uint64_t)ts.tv_nsec / 1000;
}

static int set_up(void **state)
{
	return loop_new((struct loop **)state);
}

static int tear_down(void **state)
{
	loop_free(*state);
	return 0;
}

/* Turns until *count has reached wanted; a failure, not a wait for ever, if it does not. */
static void turn_until(struct loop *loop, const int *count, int wanted)
{
	uint64_t limit_us = clock_us() + 60 * SECOND_US;

	while (*count < wanted) {
		assert_true(clock_us() < limit_us);
		assert_int_equal(loop_turn(loop, limit_us), 0);
	}
}

static void count_up(void *ctx)
{
	++*(int *)ctx;
}

/* ---- timers ---- */

struct late {
	struct loop *loop;
	struct loop_timer *timer;
	uint64_t deadline_us;
	uint64_t worst_us;
	int fired;
};

static void look_at_clock(void *ctx)
{
	struct late *late = ctx;
	uint64_t now_us = clock_us();

	assert_true(loop_now_us(late->loop) >= late->deadline_us);
	assert_true(now_us >= late->deadline_us);
	if (now_us - late->deadline_us > late->worst_us)
		late->worst_us = now_us - late->deadline_us;
	assert_true(loop_timer_deadline_us(late->timer) == LOOP_NEVER_US);
	if (++late->fired < 200) {
		late->deadline_us = now_us + 137;
		loop_timer_set(late->timer, late->deadline_us);
	}
}

static void a_timer_never_fires_early(void **state)
{
	struct late late = {.loop = *state, .deadline_us = clock_us() + 100};

	assert_int_equal(loop_timer_new(late.loop, look_at_clock, &late, &late.timer), 0);
	loop_timer_set(late.timer, late.deadline_us);
	turn_until(late.loop, &late.fired, 200);
	printf("figure: latest of 200 timers: %llu us after its deadline\n",
	       (unsigned long long)late.worst_us);
	loop_timer_free(late.timer);
}

static char fired_order[64];

static void note_order(void *ctx)
{
	strncat(fired_order, ctx, sizeof(fired_order) - strlen(fired_order) - 1);
}

static void timers_fire_in_the_order_of_their_deadlines(void **state)
{
	struct loop *loop = *state;
	struct loop_timer *timers[5];
	static const char *const names[] = {"a", "b", "c", "d", "e"};
	static const unsigned int offsets[] = {300, 100, 200, 100, 50};
	uint64_t base_us = clock_us();

	fired_order[0] = '\0';
	for (int i = 0; i < 5; i++) {
		assert_int_equal(
			loop_timer_new(loop, note_order, (void *)(uintptr_t)names[i], &timers[i]),
			0);
		loop_timer_set(timers[i], base_us + offsets[i]);
	}
	while (clock_us() < base_us + 400)
		;
	assert_int_equal(loop_turn(loop, 0), 0);
	/* b and d have the same deadline: the one that was set first is first. */
	assert_string_equal(fired_order, "ebdca");
	for (int i = 0; i < 5; i++)
		loop_timer_free(timers[i]);
}

struct again {
	struct loop *loop;
	struct loop_timer *timer;
	int fired;
};

static void set_into_the_past(void *ctx)
{
	struct again *again = ctx;

	again->fired++;
	loop_timer_set(again->timer, 1);
}

static void a_deadline_in_the_past_waits_for_the_next_turn(void **state)
{
	struct again again = {.loop = *state};

	assert_int_equal(loop_timer_new(again.loop, set_into_the_past, &again, &again.timer), 0);
	loop_timer_set(again.timer, 0);
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(loop_turn(again.loop, LOOP_NEVER_US), 0);
		assert_int_equal(again.fired, i);
	}
	loop_timer_free(again.timer);
}

static void an_unset_timer_is_silent(void **state)
{
	struct loop *loop = *state;
	struct loop_timer *timer, *other;
	int fired = 0, other_fired = 0;

	assert_int_equal(loop_timer_new(loop, count_up, &fired, &timer), 0);
	assert_int_equal(loop_timer_new(loop, count_up, &other_fired, &other), 0);
	loop_timer_set(timer, clock_us() + 100);
	loop_timer_set(timer, LOOP_NEVER_US);
	loop_timer_set(other, clock_us() + 1000);
	turn_until(loop, &other_fired, 1);
	assert_int_equal(fired, 0);
	loop_timer_free(timer);
	loop_timer_free(other);
}

struct frees {
	struct loop_timer *timers[3];
	int fired;
};

static void free_all_timers(void *ctx)
{
	struct frees *frees = ctx;

	frees->fired++;
	for (int i = 0; i < 3; i++)
		frees->timers[i] = loop_timer_free(frees->timers[i]);
}

static void a_timer_callback_may_free_every_timer(void **state)
{
	struct loop *loop = *state;
	struct frees frees = {0};

	for (int i = 0; i < 3; i++) {
		assert_int_equal(loop_timer_new(loop, free_all_timers, &frees, &frees.timers[i]),
				 0);
		loop_timer_set(frees.timers[i], 1);
	}
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(frees.fired, 1);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(frees.fired, 1);
}

/* The heap against the plainest possible model: an array that is searched. */
#define MODEL_TIMERS 40
struct model {
	struct loop_timer *timer;
	uint64_t deadline_us;
	int fired;
};

static void model_fired(void *ctx)
{
	struct model *m = ctx;

	m->fired++;
	assert_true(m->deadline_us != LOOP_NEVER_US);
	m->deadline_us = LOOP_NEVER_US;
}

static void many_timers_behave_as_a_plain_list_would(void **state)
{
	struct loop *loop = *state;
	struct model models[MODEL_TIMERS];
	uint64_t seed = 4711;

	for (int i = 0; i < MODEL_TIMERS; i++) {
		models[i] = (struct model){.deadline_us = LOOP_NEVER_US};
		assert_int_equal(loop_timer_new(loop, model_fired, &models[i], &models[i].timer),
				 0);
	}
	for (int round = 0; round < 3000; round++) {
		uint64_t now_us;

		for (int k = 0; k < 4; k++) {
			struct model *m;
			uint64_t choice;

			seed = seed * 6364136223846793005U + 1442695040888963407U;
			m = &models[(seed >> 33) % MODEL_TIMERS];
			choice = (seed >> 20) % 8;
			m->deadline_us = choice == 0   ? LOOP_NEVER_US
					 : choice == 1 ? 0
						       : loop_now_us(loop) + (seed >> 40) % 50;
			loop_timer_set(m->timer, m->deadline_us);
		}
		assert_int_equal(loop_turn(loop, 0), 0);
		now_us = loop_now_us(loop);
		for (int i = 0; i < MODEL_TIMERS; i++) {
			/* What was due has fired, and says so. */
			assert_true(models[i].deadline_us > now_us);
			assert_true(loop_timer_deadline_us(models[i].timer) ==
				    models[i].deadline_us);
		}
	}
	for (int i = 0; i < MODEL_TIMERS; i++)
		loop_timer_free(models[i].timer);
}

/* ---- descriptors ---- */

struct end {
	struct loop_fd *source;
	struct end *other;
	int calls;
};

static void remove_both(void *ctx, int fd, uint32_t events)
{
	struct end *end = ctx;

	(void)fd;
	assert_true(events & EPOLLIN);
	end->calls++;
	end->source = loop_fd_remove(end->source);
	end->other->source = loop_fd_remove(end->other->source);
}

static void a_source_removed_in_a_turn_is_not_called_in_it(void **state)
{
	struct loop *loop = *state;
	struct end ends[2] = {{.other = &ends[1]}, {.other = &ends[0]}};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(write(fds[0], "x", 1), 1);
	assert_int_equal(write(fds[1], "x", 1), 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			loop_fd_add(loop, fds[i], EPOLLIN, remove_both, &ends[i], &ends[i].source),
			0);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(ends[0].calls + ends[1].calls, 1);
	close(fds[0]);
	close(fds[1]);
}

struct order {
	struct loop *loop;
	struct loop_timer *timer;
	int fired;
};

static void move_deadline(void *ctx, int fd, uint32_t events)
{
	struct order *order = ctx;
	char byte;

	(void)events;
	assert_int_equal(read(fd, &byte, 1), 1);
	loop_timer_set(order->timer, LOOP_NEVER_US);
}

static void order_fired(void *ctx)
{
	((struct order *)ctx)->fired++;
}

static void what_has_arrived_is_seen_before_a_passed_deadline_fires(void **state)
{
	struct order order = {.loop = *state};
	struct loop_fd *source;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(loop_timer_new(order.loop, order_fired, &order, &order.timer), 0);
	assert_int_equal(loop_fd_add(order.loop, fds[0], EPOLLIN, move_deadline, &order, &source),
			 0);
	loop_timer_set(order.timer, 1);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(loop_turn(order.loop, 0), 0);
	assert_int_equal(order.fired, 0);
	loop_fd_remove(source);
	loop_timer_free(order.timer);
	close(fds[0]);
	close(fds[1]);
}

static void note_events(void *ctx, int fd, uint32_t events)
{
	(void)fd;
	*(uint32_t *)ctx |= events;
}

static void wanted_events_can_be_changed(void **state)
{
	struct loop *loop = *state;
	struct loop_fd *source;
	uint32_t seen = 0;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(loop_fd_add(loop, fds[0], EPOLLIN, note_events, &seen, &source), 0);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(seen, 0);
	assert_int_equal(loop_fd_events(source, EPOLLIN | EPOLLOUT), 0);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(seen, EPOLLOUT);
	seen = 0;
	assert_int_equal(loop_fd_events(source, EPOLLIN), 0);
	close(fds[1]);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_true(seen & EPOLLHUP);
	loop_fd_remove(source);
	close(fds[0]);
}

static void count_and_read(void *ctx, int fd, uint32_t events)
{
	char byte;

	(void)events;
	assert_int_equal(read(fd, &byte, 1), 1);
	++*(int *)ctx;
}

static void more_ready_sources_than_a_turn_takes_are_all_served(void **state)
{
	struct loop *loop = *state;
	struct loop_fd *sources[200];
	int fds[200][2], calls = 0;

	for (int i = 0; i < 200; i++) {
		assert_int_equal(pipe(fds[i]), 0);
		assert_int_equal(write(fds[i][1], "x", 1), 1);
		assert_int_equal(
			loop_fd_add(loop, fds[i][0], EPOLLIN, count_and_read, &calls, &sources[i]),
			0);
	}
	for (int turns = 0; turns < 4; turns++)
		assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(calls, 200);
	for (int i = 0; i < 200; i++) {
		loop_fd_remove(sources[i]);
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

static void a_descriptor_that_cannot_be_watched_is_an_error(void **state)
{
	struct loop_fd *source = NULL;

	assert_int_equal(loop_fd_add(*state, -1, EPOLLIN, note_events, NULL, &source), -EBADF);
	assert_null(source);
}

/* ---- signals, children ---- */

static void note_signal(void *ctx, const struct signalfd_siginfo *info)
{
	assert_int_equal(info->ssi_pid, getpid());
	*(int *)ctx += (int)info->ssi_signo;
}

static void signals_arrive_in_the_loop(void **state)
{
	struct loop *loop = *state;
	struct loop_signal *hup, *again, *term;
	int seen = 0;

	assert_int_equal(loop_signal_add(loop, SIGHUP, note_signal, &seen, &hup), 0);
	assert_int_equal(loop_signal_add(loop, SIGHUP, note_signal, &seen, &again), 0);
	assert_int_equal(loop_signal_add(loop, SIGTERM, note_signal, &seen, &term), 0);
	assert_int_equal(kill(getpid(), SIGHUP), 0);
	turn_until(loop, &seen, 2 * SIGHUP);
	assert_int_equal(seen, 2 * SIGHUP);
	again = loop_signal_remove(again);
	assert_int_equal(kill(getpid(), SIGTERM), 0);
	turn_until(loop, &seen, 2 * SIGHUP + SIGTERM);
	assert_int_equal(seen, 2 * SIGHUP + SIGTERM);
	loop_signal_remove(hup);
	loop_signal_remove(term);
}

struct ended {
	int count;
	int status;
	pid_t pid;
};

static void note_end(void *ctx, pid_t pid, int wait_status)
{
	struct ended *ended = ctx;

	ended->count++;
	ended->pid = pid;
	ended->status = wait_status;
}

static void a_childs_status_is_that_of_waitpid(void **state)
{
	struct loop *loop = *state;

	for (int i = 0; i < 2; i++) {
		struct loop_child *source;
		struct ended ended = {0};
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			if (i == 0)
				_exit(42);
			pause();
			_exit(0);
		}
		assert_int_equal(loop_child_add(loop, pid, note_end, &ended, &source), 0);
		if (i == 1)
			assert_int_equal(kill(pid, SIGKILL), 0);
		turn_until(loop, &ended.count, 1);
		assert_int_equal(ended.pid, pid);
		if (i == 0)
			assert_true(WIFEXITED(ended.status) && WEXITSTATUS(ended.status) == 42);
		else
			assert_true(WIFSIGNALED(ended.status) && WTERMSIG(ended.status) == SIGKILL);
		/* Reaped. */
		assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
		assert_int_equal(errno, ECHILD);
		loop_child_remove(source);
	}
}

static void a_stranger_can_be_watched(void **state)
{
	struct loop *loop = *state;
	struct loop_child *source;
	struct ended ended = {0};
	int fds[2];
	pid_t middle, stranger;

	/* A grandchild whose parent, not we, would be told of its end. */
	assert_int_equal(pipe(fds), 0);
	middle = fork();
	assert_true(middle >= 0);
	if (middle == 0) {
		pid_t pid = fork();

		if (pid == 0) {
			pause();
			_exit(0);
		}
		if (write(fds[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		waitpid(pid, NULL, 0);
		_exit(0);
	}
	assert_int_equal(read(fds[0], &stranger, sizeof(stranger)), sizeof(stranger));
	assert_int_equal(loop_child_add(loop, stranger, note_end, &ended, &source), 0);
	assert_int_equal(kill(stranger, SIGKILL), 0);
	turn_until(loop, &ended.count, 1);
	assert_int_equal(ended.status, -1);
	loop_child_remove(source);
	assert_int_equal(waitpid(middle, NULL, 0), middle);
	/* And it is gone now. */
	assert_int_equal(loop_child_add(loop, stranger, note_end, &ended, &source), -ESRCH);
	close(fds[0]);
	close(fds[1]);
}

static void a_forked_child_may_free_what_it_inherited(void **state)
{
	struct loop *loop = *state;
	struct loop_fd *source;
	struct loop_timer *timer;
	uint32_t seen = 0;
	int fds[2], status, fired = 0;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(loop_fd_add(loop, fds[0], EPOLLIN, note_events, &seen, &source), 0);
	assert_int_equal(loop_timer_new(loop, count_up, &fired, &timer), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		loop_fd_remove(source);
		loop_timer_free(timer);
		loop_free(loop);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	loop_timer_set(timer, clock_us() + 100);
	turn_until(loop, &fired, 1);
	assert_int_equal(seen, EPOLLIN);
	loop_fd_remove(source);
	loop_timer_free(timer);
	close(fds[0]);
	close(fds[1]);
}

/* ---- the turn ---- */

static void quit_with_seven(void *ctx)
{
	loop_quit(ctx, 7);
}

static void run_returns_what_quit_was_given(void **state)
{
	struct loop *loop = *state;
	struct loop_timer *timer;

	assert_int_equal(loop_timer_new(loop, quit_with_seven, loop, &timer), 0);
	loop_timer_set(timer, clock_us() + 100);
	assert_int_equal(loop_run(loop), 7);
	/* And once more, and when it was said beforehand. */
	loop_timer_set(timer, clock_us() + 100);
	assert_int_equal(loop_run(loop), 7);
	loop_quit(loop, 3);
	assert_int_equal(loop_run(loop), 3);
	loop_timer_free(timer);
}

static void after_quit_no_callback_follows(void **state)
{
	struct loop *loop = *state;
	struct loop_timer *timer, *later;
	int fired = 0;

	assert_int_equal(loop_timer_new(loop, quit_with_seven, loop, &timer), 0);
	assert_int_equal(loop_timer_new(loop, count_up, &fired, &later), 0);
	loop_timer_set(timer, 1);
	loop_timer_set(later, 2);
	assert_int_equal(loop_run(loop), 7);
	assert_int_equal(fired, 0);
	/* It was not lost either. */
	assert_true(loop_timer_deadline_us(later) == 2);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(fired, 1);
	loop_timer_free(timer);
	loop_timer_free(later);
}

static void a_turn_waits_until_it_is_told_to(void **state)
{
	struct loop *loop = *state;
	uint64_t until_us = clock_us() + 3000;

	assert_int_equal(loop_turn(loop, until_us), 0);
	assert_true(clock_us() >= until_us);
	assert_true(loop_now_us(loop) >= until_us);
	assert_true(loop_refresh_us(loop) >= until_us);
	/* A moment that has passed: no wait at all. */
	assert_int_equal(loop_turn(loop, 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_timer_never_fires_early),
		TEST(timers_fire_in_the_order_of_their_deadlines),
		TEST(a_deadline_in_the_past_waits_for_the_next_turn),
		TEST(an_unset_timer_is_silent),
		TEST(a_timer_callback_may_free_every_timer),
		TEST(many_timers_behave_as_a_plain_list_would),
		TEST(a_source_removed_in_a_turn_is_not_called_in_it),
		TEST(what_has_arrived_is_seen_before_a_passed_deadline_fires),
		TEST(wanted_events_can_be_changed),
		TEST(more_ready_sources_than_a_turn_takes_are_all_served),
		TEST(a_descriptor_that_cannot_be_watched_is_an_error),
		TEST(signals_arrive_in_the_loop),
		TEST(a_childs_status_is_that_of_waitpid),
		TEST(a_stranger_can_be_watched),
		TEST(a_forked_child_may_free_what_it_inherited),
		TEST(run_returns_what_quit_was_given),
		TEST(after_quit_no_callback_follows),
		TEST(a_turn_waits_until_it_is_told_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
