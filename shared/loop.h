/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop: one event loop over epoll, timerfd, signalfd and pidfd.
 *
 * Not pure: it is the place where a process reads the clock, once per turn. Everything that a
 * callback learns of time is loop_now_us(): monotonic microseconds, the same value for the whole
 * turn. There is one timerfd; a timer is only a deadline in it. Callbacks may add and remove any
 * source, their own included.
 *
 * Sources belong to whoever made them and are freed before the loop. A fired child source is still
 * its owner's to remove. Functions that can fail return a negative errno.
 *
 * A forked child shares the kernel's side of a loop with its parent: it may free the loop and the
 * sources that it has inherited, which leaves the parent's alone, and then makes its own; it must
 * not add to, change or run the inherited one.
 */
#ifndef TANDEM_LOOP_H
#define TANDEM_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#define LOOP_NEVER_US UINT64_MAX

struct loop;
struct loop_fd;
struct loop_timer;
struct loop_signal;
struct loop_child;

/* events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR as epoll reports them. */
typedef void (*loop_fd_fn)(void *ctx, int fd, uint32_t events);
/* Called at or after the deadline, never before it. The timer is unset when this is called. */
typedef void (*loop_timer_fn)(void *ctx);
typedef void (*loop_signal_fn)(void *ctx, const struct signalfd_siginfo *info);
/* wait_status as from waitpid(2); the child has been reaped. -1 if it was not our child. */
typedef void (*loop_child_fn)(void *ctx, pid_t pid, int wait_status);

int loop_new(struct loop **ret_loop);
struct loop *loop_free(struct loop *loop); /* NULL is fine; returns NULL */

/* Monotonic microseconds of this turn. */
uint64_t loop_now_us(const struct loop *loop);
/* The clock itself, for who has no loop. */
uint64_t loop_clock_us(void);
/* Reads the clock again within a turn: for work that takes long, such as a scan. */
uint64_t loop_refresh_us(struct loop *loop);

/* The descriptor stays the caller's and must outlive the source. */
int loop_fd_add(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *ctx,
		struct loop_fd **ret_source);
int loop_fd_events(struct loop_fd *source, uint32_t events);
struct loop_fd *loop_fd_remove(struct loop_fd *source);

int loop_timer_new(struct loop *loop, loop_timer_fn fn, void *ctx, struct loop_timer **ret_timer);
/* deadline_us: absolute, monotonic; LOOP_NEVER_US unsets. In the past: fires in the next turn. */
void loop_timer_set(struct loop_timer *timer, uint64_t deadline_us);
uint64_t loop_timer_deadline_us(const struct loop_timer *timer);
struct loop_timer *loop_timer_free(struct loop_timer *timer);

/* Blocks the signal for the process and reads it from the loop; it stays blocked when removed. */
int loop_signal_add(struct loop *loop, int signo, loop_signal_fn fn, void *ctx,
		    struct loop_signal **ret_source);
struct loop_signal *loop_signal_remove(struct loop_signal *source);

/* Watches any process through a pidfd; reaps it if it is our child. -ESRCH if there is none. */
int loop_child_add(struct loop *loop, pid_t pid, loop_child_fn fn, void *ctx,
		   struct loop_child **ret_source);
struct loop_child *loop_child_remove(struct loop_child *source);

/* Runs until loop_quit(), even one from before the call; returns the status given there, or a
 * negative errno. */
int loop_run(struct loop *loop);
/* One turn: waits at most until wait_until_us (monotonic; LOOP_NEVER_US: for ever). For tests. */
int loop_turn(struct loop *loop, uint64_t wait_until_us);
void loop_quit(struct loop *loop, int status);

#endif
