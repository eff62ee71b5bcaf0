/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/loop.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A turn takes so many ready sources; what is ready beyond them comes first in the next one. */
#define EVENTS_PER_TURN 64

#ifndef P_PIDFD
#define P_PIDFD 3 /* linux/wait.h since 5.4 */
#endif

enum source_kind {
	SOURCE_FD,
	SOURCE_TIMERFD,
	SOURCE_SIGNALFD,
	SOURCE_CHILD,
	SOURCE_TIMER,
	SOURCE_SIGNAL
};

/* What every source begins with; epoll's data points here. A source that is removed while a turn
 * runs is only marked: events that this turn has already fetched may still point to it. */
struct source {
	struct loop *loop;
	struct source *next_removed;
	enum source_kind kind;
	bool removed;
};

struct loop_fd {
	struct source source;
	int fd;
	loop_fd_fn fn;
	void *ctx;
};

/* A timer is in the heap, in the list of those that this turn will call, or in neither. */
#define HEAP_NOWHERE SIZE_MAX
struct loop_timer {
	struct source source;
	uint64_t deadline_us;
	uint64_t order; /* of two equal deadlines, the one set first is called first */
	size_t heap_index;
	struct loop_timer *next_due, **due_link;
	loop_timer_fn fn;
	void *ctx;
};

struct loop_signal {
	struct source source;
	int signo;
	struct loop_signal *next, **link;
	loop_signal_fn fn;
	void *ctx;
};

struct loop_child {
	struct source source;
	pid_t pid;
	int pidfd; /* -1 once it has ended */
	loop_child_fn fn;
	void *ctx;
};

struct loop {
	/* A forked child shares the epoll instance and the timerfd with its parent. It may free
	 * what it has inherited, but must not reach through to them: see is_ours(). */
	pid_t owner;
	int epoll_fd;
	int timer_fd;
	int signal_fd; /* -1 until the first signal is added */
	struct source timer_source;
	struct source signal_source;
	uint64_t now_us;
	uint64_t armed_us; /* what timer_fd stands at */
	uint64_t next_order;
	struct loop_timer **heap;
	size_t heap_size, heap_room;
	size_t timers_count; /* all that exist: the heap has room for them, so that setting one
			      * cannot fail */
	struct loop_timer *due;
	struct loop_signal *signals;
	sigset_t signal_set;
	struct source *removed;
	bool in_turn;
	bool quit;
	int quit_status;
};

uint64_t loop_clock_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static bool is_ours(const struct loop *loop)
{
	return loop->owner == getpid();
}

static int watch(struct loop *loop, int fd, uint32_t events, struct source *source)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void unwatch(struct loop *loop, int fd)
{
	if (is_ours(loop))
		(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void bury(struct source *source)
{
	source->removed = true;
	if (source->loop->in_turn) {
		source->next_removed = source->loop->removed;
		source->loop->removed = source;
	} else {
		free(source);
	}
}

static void free_removed(struct loop *loop)
{
	while (loop->removed) {
		struct source *source = loop->removed;

		loop->removed = source->next_removed;
		free(source);
	}
}

/* ---- the heap of deadlines ---- */

static bool is_before(const struct loop_timer *a, const struct loop_timer *b)
{
	if (a->deadline_us != b->deadline_us)
		return a->deadline_us < b->deadline_us;
	return a->order < b->order;
}

static void heap_place(struct loop *loop, size_t index, struct loop_timer *timer)
{
	loop->heap[index] = timer;
	timer->heap_index = index;
}

static void heap_up(struct loop *loop, size_t index, struct loop_timer *timer)
{
	while (index > 0 && is_before(timer, loop->heap[(index - 1) / 2])) {
		heap_place(loop, index, loop->heap[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	heap_place(loop, index, timer);
}

static void heap_down(struct loop *loop, size_t index, struct loop_timer *timer)
{
	for (;;) {
		size_t child = 2 * index + 1;

		if (child >= loop->heap_size)
			break;
		if (child + 1 < loop->heap_size &&
		    is_before(loop->heap[child + 1], loop->heap[child]))
			child++;
		if (!is_before(loop->heap[child], timer))
			break;
		heap_place(loop, index, loop->heap[child]);
		index = child;
	}
	heap_place(loop, index, timer);
}

static void heap_take(struct loop *loop, struct loop_timer *timer)
{
	size_t index = timer->heap_index;
	struct loop_timer *last = loop->heap[--loop->heap_size];

	timer->heap_index = HEAP_NOWHERE;
	if (last == timer)
		return;
	if (index > 0 && is_before(last, loop->heap[(index - 1) / 2]))
		heap_up(loop, index, last);
	else
		heap_down(loop, index, last);
}

static void due_take(struct loop_timer *timer)
{
	*timer->due_link = timer->next_due;
	if (timer->next_due)
		timer->next_due->due_link = timer->due_link;
	timer->due_link = NULL;
}

static void timer_unset(struct loop_timer *timer)
{
	if (timer->heap_index != HEAP_NOWHERE)
		heap_take(timer->source.loop, timer);
	if (timer->due_link)
		due_take(timer);
	timer->deadline_us = LOOP_NEVER_US;
}

/* ---- the loop ---- */

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return -ENOMEM;
	loop->owner = getpid();
	loop->timer_fd = loop->signal_fd = -1;
	loop->armed_us = LOOP_NEVER_US;
	sigemptyset(&loop->signal_set);
	loop->timer_source = (struct source){.loop = loop, .kind = SOURCE_TIMERFD};
	loop->signal_source = (struct source){.loop = loop, .kind = SOURCE_SIGNALFD};
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r = -errno;
	if (loop->epoll_fd < 0)
		goto fail;
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	r = -errno;
	if (loop->timer_fd < 0)
		goto fail;
	r = watch(loop, loop->timer_fd, EPOLLIN, &loop->timer_source);
	if (r < 0)
		goto fail;
	loop->now_us = loop_clock_us();
	*ret_loop = loop;
	return 0;
fail:
	loop_free(loop);
	return r;
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	/* A child that was forked from within a callback never returns to that turn. */
	assert(!loop->in_turn || !is_ours(loop));
	free_removed(loop);
	if (loop->signal_fd >= 0)
		close(loop->signal_fd);
	if (loop->timer_fd >= 0)
		close(loop->timer_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	free(loop->heap);
	free(loop);
	return NULL;
}

uint64_t loop_now_us(const struct loop *loop)
{
	return loop->now_us;
}

uint64_t loop_refresh_us(struct loop *loop)
{
	loop->now_us = loop_clock_us();
	return loop->now_us;
}

int loop_fd_add(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *ctx,
		struct loop_fd **ret_source)
{
	struct loop_fd *source = calloc(1, sizeof(*source));
	int r;

	if (!source)
		return -ENOMEM;
	*source = (struct loop_fd){
		.source = {.loop = loop, .kind = SOURCE_FD}, .fd = fd, .fn = fn, .ctx = ctx};
	r = watch(loop, fd, events, &source->source);
	if (r < 0) {
		free(source);
		return r;
	}
	*ret_source = source;
	return 0;
}

int loop_fd_events(struct loop_fd *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = &source->source};

	return epoll_ctl(source->source.loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0
		       ? -errno
		       : 0;
}

struct loop_fd *loop_fd_remove(struct loop_fd *source)
{
	if (!source)
		return NULL;
	unwatch(source->source.loop, source->fd);
	bury(&source->source);
	return NULL;
}

int loop_timer_new(struct loop *loop, loop_timer_fn fn, void *ctx, struct loop_timer **ret_timer)
{
	struct loop_timer *timer;

	if (loop->timers_count == loop->heap_room) {
		size_t room = loop->heap_room ? 2 * loop->heap_room : 16;
		struct loop_timer **heap = realloc(loop->heap, room * sizeof(*heap));

		if (!heap)
			return -ENOMEM;
		loop->heap = heap;
		loop->heap_room = room;
	}
	timer = calloc(1, sizeof(*timer));
	if (!timer)
		return -ENOMEM;
	*timer = (struct loop_timer){.source = {.loop = loop, .kind = SOURCE_TIMER},
				     .deadline_us = LOOP_NEVER_US,
				     .heap_index = HEAP_NOWHERE,
				     .fn = fn,
				     .ctx = ctx};
	loop->timers_count++;
	*ret_timer = timer;
	return 0;
}

void loop_timer_set(struct loop_timer *timer, uint64_t deadline_us)
{
	struct loop *loop = timer->source.loop;

	assert(!timer->source.removed);
	timer_unset(timer);
	if (deadline_us == LOOP_NEVER_US)
		return;
	timer->deadline_us = deadline_us;
	timer->order = loop->next_order++;
	heap_up(loop, loop->heap_size++, timer);
}

uint64_t loop_timer_deadline_us(const struct loop_timer *timer)
{
	return timer->deadline_us;
}

struct loop_timer *loop_timer_free(struct loop_timer *timer)
{
	if (!timer)
		return NULL;
	timer_unset(timer);
	timer->source.loop->timers_count--;
	bury(&timer->source);
	return NULL;
}

int loop_signal_add(struct loop *loop, int signo, loop_signal_fn fn, void *ctx,
		    struct loop_signal **ret_source)
{
	struct loop_signal *source;
	sigset_t set = loop->signal_set, one;
	int fd, r;

	if (sigaddset(&set, signo) < 0)
		return -errno;
	source = calloc(1, sizeof(*source));
	if (!source)
		return -ENOMEM;
	sigemptyset(&one);
	sigaddset(&one, signo);
	/* Blocked before the descriptor looks at it: in between it would take its default action.
	 */
	if (sigprocmask(SIG_BLOCK, &one, NULL) < 0) {
		r = -errno;
		goto fail;
	}
	fd = signalfd(loop->signal_fd, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) {
		r = -errno;
		goto fail;
	}
	if (loop->signal_fd < 0) {
		r = watch(loop, fd, EPOLLIN, &loop->signal_source);
		if (r < 0) {
			close(fd);
			goto fail;
		}
		loop->signal_fd = fd;
	}
	loop->signal_set = set;
	*source = (struct loop_signal){.source = {.loop = loop, .kind = SOURCE_SIGNAL},
				       .signo = signo,
				       .next = loop->signals,
				       .link = &loop->signals,
				       .fn = fn,
				       .ctx = ctx};
	if (source->next)
		source->next->link = &source->next;
	loop->signals = source;
	*ret_source = source;
	return 0;
fail:
	free(source);
	return r;
}

/* The signal stays blocked: one that is on its way must not kill the process now. */
struct loop_signal *loop_signal_remove(struct loop_signal *source)
{
	struct loop *loop;
	bool wanted = false;

	if (!source)
		return NULL;
	loop = source->source.loop;
	*source->link = source->next;
	if (source->next)
		source->next->link = source->link;
	for (struct loop_signal *other = loop->signals; other; other = other->next)
		wanted = wanted || other->signo == source->signo;
	if (!wanted) {
		sigdelset(&loop->signal_set, source->signo);
		if (is_ours(loop))
			(void)signalfd(loop->signal_fd, &loop->signal_set,
				       SFD_CLOEXEC | SFD_NONBLOCK);
	}
	bury(&source->source);
	return NULL;
}

int loop_child_add(struct loop *loop, pid_t pid, loop_child_fn fn, void *ctx,
		   struct loop_child **ret_source)
{
	struct loop_child *source = calloc(1, sizeof(*source));
	int r;

	if (!source)
		return -ENOMEM;
	*source = (struct loop_child){
		.source = {.loop = loop, .kind = SOURCE_CHILD}, .pid = pid, .fn = fn, .ctx = ctx};
	/* Close-on-exec from birth. */
	source->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	r = -errno;
	if (source->pidfd < 0)
		goto fail;
	r = watch(loop, source->pidfd, EPOLLIN, &source->source);
	if (r < 0)
		goto fail;
	*ret_source = source;
	return 0;
fail:
	if (source->pidfd >= 0)
		close(source->pidfd);
	free(source);
	return r;
}

static void child_close(struct loop_child *source)
{
	if (source->pidfd < 0)
		return;
	unwatch(source->source.loop, source->pidfd);
	close(source->pidfd);
	source->pidfd = -1;
}

struct loop_child *loop_child_remove(struct loop_child *source)
{
	if (!source)
		return NULL;
	child_close(source);
	bury(&source->source);
	return NULL;
}

/* ---- one turn ---- */

static void dispatch_child(struct loop_child *source)
{
	siginfo_t info = {0};
	int wait_status = -1;

	if (waitid(P_PIDFD, (id_t)source->pidfd, &info, WEXITED | WNOHANG) == 0) {
		if (info.si_pid == 0)
			return; /* not yet */
		/* waitid(2) takes apart what waitpid(2) gives; put together again. */
		if (info.si_code == CLD_EXITED)
			wait_status = (info.si_status & 0xff) << 8;
		else
			wait_status =
				(info.si_status & 0x7f) | (info.si_code == CLD_DUMPED ? 0x80 : 0);
	}
	child_close(source);
	source->fn(source->ctx, source->pid, wait_status);
}

static void dispatch_signals(struct loop *loop)
{
	struct signalfd_siginfo info;

	while (!loop->quit && read(loop->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		/* Called from the list as it is now; whoever is removed meanwhile is not called,
		 * and its place in the list is still readable until the turn ends. */
		struct loop_signal *next;

		for (struct loop_signal *signal = loop->signals; signal; signal = next) {
			next = signal->next;
			if (!signal->source.removed && signal->signo == (int)info.ssi_signo)
				signal->fn(signal->ctx, &info);
		}
	}
}

static void dispatch_timers(struct loop *loop)
{
	struct loop_timer **tail = &loop->due;

	/* Taken out first: a timer that a callback sets into the past waits for the next turn, so
	 * that descriptors are looked at in between. */
	assert(!loop->due);
	while (loop->heap_size > 0 && loop->heap[0]->deadline_us <= loop->now_us) {
		struct loop_timer *timer = loop->heap[0];

		heap_take(loop, timer);
		timer->next_due = NULL;
		timer->due_link = tail;
		*tail = timer;
		tail = &timer->next_due;
	}
	while (loop->due) {
		struct loop_timer *timer = loop->due;

		if (loop->quit) {
			/* Not called after all; it keeps its deadline. */
			uint64_t deadline_us = timer->deadline_us;

			loop_timer_set(timer, deadline_us);
			continue;
		}
		timer_unset(timer);
		timer->fn(timer->ctx);
	}
}

static void arm(struct loop *loop, uint64_t deadline_us)
{
	struct itimerspec spec = {0};

	if (deadline_us == loop->armed_us)
		return;
	if (deadline_us != LOOP_NEVER_US) {
		spec.it_value.tv_sec = (time_t)(deadline_us / 1000000);
		spec.it_value.tv_nsec = (long)(deadline_us % 1000000) * 1000;
	}
	if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0)
		loop->armed_us = deadline_us;
}

static int run_turn(struct loop *loop, uint64_t wait_until_us)
{
	struct epoll_event events[EVENTS_PER_TURN];
	uint64_t deadline_us = wait_until_us;
	int count;

	assert(is_ours(loop) && !loop->in_turn);
	if (loop->heap_size > 0 && loop->heap[0]->deadline_us < deadline_us)
		deadline_us = loop->heap[0]->deadline_us;
	/* A deadline that has passed needs no timer (and 0 would disarm it). */
	if (deadline_us > loop->now_us)
		arm(loop, deadline_us);
	count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN,
			   deadline_us > loop->now_us ? -1 : 0);
	if (count < 0 && errno != EINTR)
		return -errno;
	loop->now_us = loop_clock_us();
	loop->in_turn = true;
	/* Descriptors before timers: what has already arrived may move a deadline that has passed
	 * while this process was not running. */
	for (int i = 0; i < count && !loop->quit; i++) {
		struct source *source = events[i].data.ptr;
		uint64_t expirations;

		if (source->removed)
			continue;
		switch (source->kind) {
		case SOURCE_FD: {
			struct loop_fd *fd = (struct loop_fd *)source;

			fd->fn(fd->ctx, fd->fd, events[i].events);
			break;
		}
		case SOURCE_TIMERFD:
			if (read(loop->timer_fd, &expirations, sizeof(expirations)) > 0)
				loop->armed_us = LOOP_NEVER_US;
			break;
		case SOURCE_SIGNALFD:
			dispatch_signals(loop);
			break;
		case SOURCE_CHILD:
			dispatch_child((struct loop_child *)source);
			break;
		case SOURCE_TIMER:
		case SOURCE_SIGNAL:
			assert(!"never given to epoll");
		}
	}
	if (!loop->quit)
		dispatch_timers(loop);
	loop->in_turn = false;
	free_removed(loop);
	return 0;
}

int loop_turn(struct loop *loop, uint64_t wait_until_us)
{
	loop->quit = false;
	return run_turn(loop, wait_until_us);
}

int loop_run(struct loop *loop)
{
	/* A loop_quit() from before this call counts: what was set up may already have failed. */
	while (!loop->quit) {
		int r = run_turn(loop, LOOP_NEVER_US);

		if (r < 0)
			return r;
	}
	loop->quit = false;
	return loop->quit_status;
}

void loop_quit(struct loop *loop, int status)
{
	loop->quit = true;
	loop->quit_status = status;
}
