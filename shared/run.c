/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/run.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_DELAY_US (2 * 1000 * 1000)
/* How long after the command's end its output may still come from what it left running. */
#define OUTPUT_DELAY_US (100 * 1000)
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define GROUPS_MAX 1024
/* See lingering. */
#define LINGERING_MAX 32

struct run {
	struct loop *loop;
	struct loop_child *child; /* NULL once it has ended */
	struct loop_fd *output;	  /* NULL once nobody can write any more */
	struct loop_timer *timer; /* time limit, then SIGKILL, then the end of the output */
	int output_fd, errno_fd;
	pid_t pid;
	uint64_t started_us;
	struct run_result result;
	bool told; /* fn was called, or will not be */
	bool in_callback;
	run_done_fn fn;
	void *ctx;
	struct run *next; /* in lingering */
	uint64_t written; /* bytes of output so far; the ring holds the last of them */
	char ring[RUN_OUTPUT_BYTES_MAX];
	char text[RUN_OUTPUT_BYTES_MAX + 1];
};

/* Runs that their owners have done with and that still hold something: a killed process that has
 * to be reaped, or a pipe that a background process (started by a hook, say) may write to, which it
 * would not survive if nobody read. The oldest gives way past LINGERING_MAX. */
static struct run *lingering;

static void release(struct run *run)
{
	run->child = loop_child_remove(run->child);
	run->output = loop_fd_remove(run->output);
	run->timer = loop_timer_free(run->timer);
	if (run->output_fd >= 0)
		close(run->output_fd);
	if (run->errno_fd >= 0)
		close(run->errno_fd);
	free(run);
}

static void linger(struct run *run)
{
	struct run **link, **oldest = NULL;
	int count = 0;

	run->timer = loop_timer_free(run->timer);
	if (!run->child && !run->output) {
		release(run);
		return;
	}
	for (link = &lingering; *link; link = &(*link)->next) {
		if ((*link)->loop != run->loop)
			continue;
		if (!oldest)
			oldest = link;
		count++;
	}
	run->next = NULL;
	*link = run;
	if (count >= LINGERING_MAX) {
		struct run *first = *oldest;

		*oldest = first->next;
		release(first);
	}
}

static void linger_check(struct run *run)
{
	struct run **link = &lingering;

	if (run->child || run->output)
		return;
	while (*link != run)
		link = &(*link)->next;
	*link = run->next;
	release(run);
}

/* The child leads a group of its own once it has got as far as setsid(2). */
static void kill_group(const struct run *run, int signo)
{
	if (kill(-run->pid, signo) < 0 && errno == ESRCH && run->child)
		(void)kill(run->pid, signo);
}

static void finish(struct run *run)
{
	size_t size =
		run->written < RUN_OUTPUT_BYTES_MAX ? (size_t)run->written : RUN_OUTPUT_BYTES_MAX;
	int exec_errno = 0;

	for (size_t i = 0; i < size; i++)
		run->text[i] = run->ring[(run->written - size + i) % RUN_OUTPUT_BYTES_MAX];
	run->text[size] = '\0';
	run->result.output = run->text;
	run->result.output_size = size;
	/* It is empty if the program was executed: exec closed it. */
	if (read(run->errno_fd, &exec_errno, sizeof(exec_errno)) == sizeof(exec_errno))
		run->result.exec_errno = exec_errno;
	close(run->errno_fd);
	run->errno_fd = -1;
	run->told = run->in_callback = true;
	run->fn(run->ctx, &run->result);
	run->in_callback = false;
	linger(run);
}

/* False: nothing more now. */
static bool read_output(struct run *run)
{
	char bytes[RUN_OUTPUT_BYTES_MAX];
	ssize_t n = read(run->output_fd, bytes, sizeof(bytes));

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		run->output = loop_fd_remove(run->output);
		return false;
	}
	for (ssize_t i = 0; i < n; i++)
		run->ring[run->written++ % RUN_OUTPUT_BYTES_MAX] = bytes[i];
	return true;
}

static void on_output(void *ctx, int fd, uint32_t events)
{
	struct run *run = ctx;

	(void)fd;
	(void)events;
	/* Once a turn: who writes without end must not stop the rest of the process. */
	(void)read_output(run);
	if (run->told)
		linger_check(run);
	else if (!run->child && !run->output)
		finish(run);
}

static void on_end(void *ctx, pid_t pid, int wait_status)
{
	struct run *run = ctx;

	(void)pid;
	run->child = loop_child_remove(run->child);
	if (run->told) {
		linger_check(run);
		return;
	}
	run->result.wait_status = wait_status;
	run->result.duration_us = loop_now_us(run->loop) - run->started_us;
	loop_timer_set(run->timer, LOOP_NEVER_US);
	if (run->result.timed_out)
		kill_group(run, SIGKILL); /* what it had started goes as well */
	/* The pipe holds no more than 1 MiB; whatever else is written, this ends. */
	for (int i = 0; i < 256 && run->output && read_output(run); i++)
		;
	if (run->output)
		loop_timer_set(run->timer, loop_now_us(run->loop) + OUTPUT_DELAY_US);
	else
		finish(run);
}

static void on_timer(void *ctx)
{
	struct run *run = ctx;

	if (!run->child) {
		finish(run);
	} else if (!run->result.timed_out) {
		run->result.timed_out = true;
		kill_group(run, SIGTERM);
		loop_timer_set(run->timer, loop_now_us(run->loop) + KILL_DELAY_US);
	} else {
		kill_group(run, SIGKILL);
	}
}

/* ---- what is made ready before the fork: a child should not have to allocate ---- */

struct launch {
	char **argv;
	char **envp;
	char path_default[sizeof("PATH=" DEFAULT_PATH)];
	bool change_user;
	uid_t uid;
	gid_t gid;
	gid_t groups[GROUPS_MAX];
	int groups_count;
	const struct run_options *options;
	int output_fd, errno_fd; /* the child's ends */
};

static bool is_dropped(const char *variable)
{
	static const char *const names[] = {"IFS=", "LD_", "NOTIFY_SOCKET=", "WATCHDOG_"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	}
	return false;
}

static int make_vectors(struct launch *launch)
{
	const struct run_options *options = launch->options;
	size_t count = 0, extra = 0, at = 0;
	bool has_path = false;

	while (options->extra_argv && options->extra_argv[extra])
		extra++;
	launch->argv = calloc((size_t)options->command->argc + extra + 1, sizeof(*launch->argv));
	for (char **e = environ; e && *e; e++)
		count++;
	launch->envp = calloc(count + 2, sizeof(*launch->envp));
	if (!launch->argv || !launch->envp)
		return -ENOMEM;
	for (int i = 0; i < options->command->argc; i++)
		launch->argv[at++] = options->command->argv[i];
	for (size_t i = 0; i < extra; i++)
		launch->argv[at++] = (char *)(uintptr_t)options->extra_argv[i];
	at = 0;
	for (char **e = environ; e && *e; e++) {
		if (is_dropped(*e))
			continue;
		has_path = has_path || strncmp(*e, "PATH=", 5) == 0;
		launch->envp[at++] = *e;
	}
	if (!has_path) {
		memcpy(launch->path_default, "PATH=" DEFAULT_PATH, sizeof(launch->path_default));
		launch->envp[at++] = launch->path_default;
	}
	return 0;
}

static int find_user(struct launch *launch)
{
	const char *name = launch->options->command->user;
	const struct passwd *account;

	if (!name)
		return 0;
	errno = 0;
	account = getpwnam(name);
	if (!account)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ESRCH;
	launch->change_user = true;
	launch->uid = account->pw_uid;
	launch->gid = account->pw_gid;
	launch->groups_count = GROUPS_MAX;
	if (getgrouplist(name, account->pw_gid, launch->groups, &launch->groups_count) < 0)
		return -E2BIG;
	return 0;
}

/* ---- the child ---- */

static int move_up(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 10);
}

/* All zeros is SIG_DFL without flags. By system call, since glibc's sigaction() refuses the two
 * signals that it keeps for itself, and its posix_spawn() (which make uses) leaves just these
 * ignored. */
static void reset_signals(void)
{
	const uint64_t action[8] = {0};

	for (int signo = 1; signo <= 64; signo++)
		(void)syscall(SYS_rt_sigaction, signo, action, NULL, (size_t)(64 / 8));
}

/* execvp(3) would hand a file without "#!" to a shell; nothing here reaches one. */
static int execute(char **argv, char **envp)
{
	const char *path = DEFAULT_PATH;
	int result = ENOENT;

	if (strchr(argv[0], '/')) {
		execve(argv[0], argv, envp);
		return errno;
	}
	for (char **e = envp; *e; e++) {
		if (strncmp(*e, "PATH=", 5) == 0)
			path = *e + 5;
	}
	while (*path) {
		char file[4096];
		size_t size = strcspn(path, ":");
		int n = snprintf(file, sizeof(file), "%.*s/%s", (int)size, path, argv[0]);

		/* An empty entry would mean the current directory: not for root. */
		if (size > 0 && *path == '/' && n > 0 && (size_t)n < sizeof(file)) {
			execve(file, argv, envp);
			if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
				return errno;
			if (errno == EACCES)
				result = EACCES;
		}
		path += size;
		path += *path == ':';
	}
	return result;
}

/* Returns only if something failed, with its errno. */
static int become(const struct launch *launch, int *errno_fd)
{
	struct sched_param normal = {0};
	int output = move_up(launch->output_fd), null, r;
	sigset_t none;

	*errno_fd = move_up(launch->errno_fd);
	null = move_up(open("/dev/null", O_RDONLY | O_CLOEXEC));
	if (output < 0 || *errno_fd < 0 || null < 0)
		return errno;
	reset_signals();
	if (setsid() < 0)
		return errno;
	/* The system calls themselves: musl's functions of these names always say ENOSYS. */
	if (syscall(SYS_sched_getscheduler, 0) != SCHED_OTHER)
		(void)syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &normal);
	if (dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
		return errno;
	if (launch->options->prepare) {
		/* Still with the descriptors it may need; those without close-on-exec go below. */
		r = launch->options->prepare(launch->options->prepare_ctx);
		if (r != 0)
			return r;
	}
	if (dup3(*errno_fd, 3, O_CLOEXEC) < 0)
		return errno;
	*errno_fd = 3;
	if (syscall(SYS_close_range, 4, ~0U, 0) < 0)
		return errno;
	(void)umask(022);
	if (chdir("/") < 0)
		return errno;
	if (launch->change_user && (setgroups((size_t)launch->groups_count, launch->groups) < 0 ||
				    setresgid(launch->gid, launch->gid, launch->gid) < 0 ||
				    setresuid(launch->uid, launch->uid, launch->uid) < 0))
		return errno;
	/* Cleared by the change of ids, so after it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return errno;
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	return execute(launch->argv, launch->envp);
}

static _Noreturn void child(const struct launch *launch, pid_t parent)
{
	int errno_fd = launch->errno_fd;
	int r = getppid() == parent ? become(launch, &errno_fd) : ESRCH;

	if (write(errno_fd, &r, sizeof(r)) < 0)
		_exit(126);
	_exit(127);
}

/* ---- starting and ending ---- */

static int fork_child(struct run *run, struct launch *launch)
{
	int output[2], failure[2];
	sigset_t all, before;
	pid_t parent = getpid();
	int r;

	if (pipe2(output, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(failure, O_CLOEXEC) < 0) {
		r = -errno;
		close(output[0]);
		close(output[1]);
		return r;
	}
	run->output_fd = output[0];
	run->errno_fd = failure[0];
	launch->output_fd = output[1];
	launch->errno_fd = failure[1];
	/* Our ends alone: who writes to its stdout expects it to block. */
	(void)fcntl(run->output_fd, F_SETFL, O_NONBLOCK);
	(void)fcntl(run->errno_fd, F_SETFL, O_NONBLOCK);
	/* No handler of ours may run in the child. */
	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	run->pid = fork();
	r = -errno;
	if (run->pid == 0)
		child(launch, parent);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	close(launch->output_fd);
	close(launch->errno_fd);
	return run->pid < 0 ? r : 0;
}

int run_start(struct loop *loop, const struct run_options *options, run_done_fn fn, void *ctx,
	      struct run **ret_run)
{
	struct launch *launch = calloc(1, sizeof(*launch));
	struct run *run = calloc(1, sizeof(*run));
	bool forked = false;
	int r = -ENOMEM;

	assert(options->command->argc > 0 && options->command->argv[0]);
	if (!launch || !run)
		goto out;
	run->loop = loop;
	run->fn = fn;
	run->ctx = ctx;
	run->output_fd = run->errno_fd = -1;
	run->result.timeout_us = options->timeout_us;
	launch->options = options;
	r = find_user(launch);
	if (r == 0)
		r = make_vectors(launch);
	if (r == 0)
		r = loop_timer_new(loop, on_timer, run, &run->timer);
	if (r == 0)
		r = fork_child(run, launch);
	if (r < 0)
		goto out;
	forked = true;
	run->started_us = loop_refresh_us(loop);
	r = loop_child_add(loop, run->pid, on_end, run, &run->child);
	if (r == 0)
		r = loop_fd_add(loop, run->output_fd, EPOLLIN, on_output, run, &run->output);
	if (r < 0)
		goto out;
	if (options->timeout_us > 0)
		loop_timer_set(run->timer, run->started_us + options->timeout_us);
	*ret_run = run;
	run = NULL;
out:
	if (run && forked) {
		(void)kill(run->pid, SIGKILL);
		(void)waitpid(run->pid, NULL, 0);
	}
	if (run)
		release(run);
	if (launch) {
		free(launch->argv);
		free(launch->envp);
	}
	free(launch);
	return r;
}

struct run *run_abandon(struct run *run)
{
	if (!run || run->in_callback)
		return NULL;
	kill_group(run, SIGKILL);
	run->told = true;
	run->output = loop_fd_remove(run->output);
	linger(run);
	return NULL;
}

pid_t run_pid(const struct run *run)
{
	return run->pid;
}

bool run_succeeded(const struct run_result *result)
{
	return result->exec_errno == 0 && !result->timed_out && WIFEXITED(result->wait_status) &&
	       WEXITSTATUS(result->wait_status) == 0;
}

/* sigabbrev_np(3) is glibc's alone. */
static const char *signal_name(int signo)
{
	static const char *const names[] = {
		[SIGHUP] = "SIGHUP",   [SIGINT] = "SIGINT",   [SIGQUIT] = "SIGQUIT",
		[SIGILL] = "SIGILL",   [SIGTRAP] = "SIGTRAP", [SIGABRT] = "SIGABRT",
		[SIGBUS] = "SIGBUS",   [SIGFPE] = "SIGFPE",   [SIGKILL] = "SIGKILL",
		[SIGUSR1] = "SIGUSR1", [SIGSEGV] = "SIGSEGV", [SIGUSR2] = "SIGUSR2",
		[SIGPIPE] = "SIGPIPE", [SIGALRM] = "SIGALRM", [SIGTERM] = "SIGTERM",
		[SIGXCPU] = "SIGXCPU", [SIGXFSZ] = "SIGXFSZ", [SIGSYS] = "SIGSYS",
	};

	return signo > 0 && (size_t)signo < sizeof(names) / sizeof(names[0]) ? names[signo] : NULL;
}

const char *run_describe(const struct run_result *result, char *text, size_t room)
{
	int status = result->wait_status;

	if (result->exec_errno != 0) {
		(void)snprintf(text, room, "cannot be executed: %s", strerror(result->exec_errno));
	} else if (result->timed_out) {
		(void)snprintf(text, room, "timed out after %g s",
			       (double)(result->timeout_us / 1000) / 1000);
	} else if (WIFEXITED(status)) {
		(void)snprintf(text, room, "exit %d", WEXITSTATUS(status));
	} else if (WIFSIGNALED(status)) {
		const char *name = signal_name(WTERMSIG(status));

		if (name)
			(void)snprintf(text, room, "killed by %s", name);
		else
			(void)snprintf(text, room, "killed by signal %d", WTERMSIG(status));
	} else {
		(void)snprintf(text, room, "ended in a way that could not be seen");
	}
	return text;
}
