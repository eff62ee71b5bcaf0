/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "shared/sanitizer.h"

#define OPEN_TO_WRITE (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_TMPFILE)

/* O_TMPFILE includes O_DIRECTORY, which readers of directories set. */
#define READ_ONLY_MASK ((uint64_t)(OPEN_TO_WRITE & ~O_DIRECTORY))

static const struct confine_row common[] = {
	/* memory, never both to write to and to execute */
	{"brk", 0, 0, 0},
	{"mmap", 2, PROT_EXEC, 0},
	{"mmap", 2, PROT_WRITE, 0},
	{"mmap2", 2, PROT_EXEC, 0},
	{"mmap2", 2, PROT_WRITE, 0},
	{"mprotect", 2, PROT_EXEC, 0},
	{"mremap", 0, 0, 0},
	{"munmap", 0, 0, 0},
	{"madvise", 0, 0, 0},
	/* files, for reading */
	{"open", 1, READ_ONLY_MASK, 0},
	{"openat", 2, READ_ONLY_MASK, 0},
	{"access", 0, 0, 0},
	{"faccessat", 0, 0, 0},
	{"faccessat2", 0, 0, 0},
	{"fstat", 0, 0, 0},
	{"fstat64", 0, 0, 0},
	{"stat", 0, 0, 0},
	{"stat64", 0, 0, 0},
	{"lstat", 0, 0, 0},
	{"newfstatat", 0, 0, 0},
	{"fstatat64", 0, 0, 0},
	{"statx", 0, 0, 0},
	{"readlink", 0, 0, 0},
	{"readlinkat", 0, 0, 0},
	{"getdents64", 0, 0, 0},
	{"lseek", 0, 0, 0},
	{"_llseek", 0, 0, 0},
	/* descriptors */
	{"read", 0, 0, 0},
	{"readv", 0, 0, 0},
	{"pread64", 0, 0, 0},
	{"write", 0, 0, 0},
	{"writev", 0, 0, 0},
	{"close", 0, 0, 0},
	{"dup", 0, 0, 0},
	{"fcntl", 0, 0, 0},
	{"fcntl64", 0, 0, 0},
	{"epoll_create1", 0, 0, 0},
	{"epoll_ctl", 0, 0, 0},
	{"epoll_wait", 0, 0, 0},
	{"epoll_pwait", 0, 0, 0},
	{"poll", 0, 0, 0},
	{"ppoll", 0, 0, 0},
	{"timerfd_create", 0, 0, 0},
	{"timerfd_settime", 0, 0, 0},
	{"timerfd_settime64", 0, 0, 0},
	{"signalfd4", 0, 0, 0},
	/* sockets that are there; which may be made is the process's own matter */
	{"accept4", 0, 0, 0},
	{"bind", 0, 0, 0},
	{"connect", 0, 0, 0},
	{"getpeername", 0, 0, 0},
	{"getsockname", 0, 0, 0},
	{"getsockopt", 0, 0, 0},
	{"setsockopt", 0, 0, 0},
	{"recvfrom", 0, 0, 0},
	{"recvmsg", 0, 0, 0},
	{"sendto", 0, 0, 0},
	{"sendmsg", 0, 0, 0},
	{"sendmmsg", 0, 0, 0},
	{"shutdown", 0, 0, 0},
	{"socket", 0, CONFINE_EXACTLY, AF_UNIX /* the log */},
	/* time, chance and itself */
	{"clock_gettime", 0, 0, 0},
	{"clock_gettime64", 0, 0, 0},
	{"gettimeofday", 0, 0, 0},
	{"time", 0, 0, 0},
	{"getrandom", 0, 0, 0},
	{"getpid", 0, 0, 0},
	{"gettid", 0, 0, 0},
	{"getppid", 0, 0, 0},
	{"getuid", 0, 0, 0},
	{"geteuid", 0, 0, 0},
	{"getgid", 0, 0, 0},
	{"getegid", 0, 0, 0},
	{"futex", 0, 0, 0},
	{"futex_time64", 0, 0, 0},
	{"sched_yield", 0, 0, 0},
	{"restart_syscall", 0, 0, 0},
	{"rt_sigaction", 0, 0, 0},
	{"rt_sigprocmask", 0, 0, 0},
	{"rt_sigreturn", 0, 0, 0},
	{"sigreturn", 0, 0, 0},
	/* an assert that fails, and the end */
	{"tgkill", 2, CONFINE_EXACTLY, SIGABRT},
	{"tkill", 1, CONFINE_EXACTLY, SIGABRT},
	{"exit", 0, 0, 0},
	{"exit_group", 0, 0, 0},
};

/* What the sanitizers' runtime does beside: the leak check at exit traces its own process from a
 * second one. */
static const struct confine_row sanitizers[] = {
#ifdef UNDER_SANITIZER
	{"clone", 0, 0, 0},	 {"wait4", 0, 0, 0},	   {"ptrace", 0, 0, 0},
	{"prctl", 0, 0, 0},	 {"sigaltstack", 0, 0, 0}, {"kill", 0, 0, 0},
	{"mmap", 0, 0, 0},	 {"mprotect", 0, 0, 0},	   {"getrlimit", 0, 0, 0},
	{"prlimit64", 0, 0, 0},	 {"sysinfo", 0, 0, 0},	   {"sched_getaffinity", 0, 0, 0},
	{"rseq", 0, 0, 0},	 {"getcwd", 0, 0, 0},	   {"set_robust_list", 0, 0, 0},
	{"getdents", 0, 0, 0},	 {"tgkill", 0, 0, 0},	   {"arch_prctl", 0, 0, 0},
	{"membarrier", 0, 0, 0},
#else
	{"getpid", 0, 0, 0}, /* a table cannot be empty */
#endif
};

static const char *const deadly[] = {
	/* another program, another process */
	"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev",
	"pidfd_getfd", "process_madvise", "kcmp",
	/* another view of the system */
	"mount", "umount", "umount2", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
	"mount_setattr", "pivot_root", "chroot", "unshare", "setns", "swapon", "swapoff",
	/* the kernel, and the machine */
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "add_key", "request_key",
	"keyctl", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname",
	"setdomainname", "quotactl", "acct", "iopl", "ioperm", "open_by_handle_at", "syslog",
	/* somebody else */
	"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups",
	"setfsuid", "setfsgid", "capset", "personality",
	/* what lies in the file system */
	"creat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat",
	"symlink", "symlinkat", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "chmod", "fchmod",
	"fchmodat", "chown", "fchown", "lchown", "fchownat", "truncate", "setxattr", "lsetxattr",
	"fsetxattr", "removexattr", "lremovexattr", "fremovexattr"};

/* A process, that is; what a thread gets is a matter of the rows. (clone3 hides its flags from any
 * table, so it gets ENOSYS, and a libc then falls back on clone.) */
static const struct confine_row deadly_rows[] = {{"clone", 0, CLONE_THREAD, 0}};

static int add_row(scmp_filter_ctx filter, uint32_t action, const struct confine_row *row)
{
	const int call = seccomp_syscall_resolve_name(row->call);
	const struct scmp_arg_cmp compare = {.arg = row->arg,
					     .op = SCMP_CMP_MASKED_EQ,
					     .datum_a = row->mask,
					     .datum_b = row->value};

	if (call == __NR_SCMP_ERROR)
		return -ENOENT;
	if (call < 0) /* another machine's */
		return 0;
	return seccomp_rule_add_array(filter, action, call, row->mask ? 1 : 0, &compare);
}

static int add_rows(scmp_filter_ctx filter, const struct confine_row *rows, size_t count)
{
	int error = 0;

	for (size_t i = 0; !error && i < count; i++)
		error = add_row(filter, SCMP_ACT_ALLOW, &rows[i]);
	return error;
}

static bool sanitizers_need(const char *call)
{
	for (size_t i = 0; i < sizeof sanitizers / sizeof *sanitizers; i++)
		if (!strcmp(sanitizers[i].call, call))
			return true;
	return false;
}

static int add_deadly(scmp_filter_ctx filter)
{
	int error = 0;

	for (size_t i = 0; !error && i < sizeof deadly_rows / sizeof *deadly_rows; i++)
		if (!sanitizers_need(deadly_rows[i].call))
			error = add_row(filter, SCMP_ACT_KILL_PROCESS, &deadly_rows[i]);
	for (size_t i = 0; !error && i < sizeof deadly / sizeof *deadly; i++) {
		const struct confine_row row = {.call = deadly[i]};

		if (sanitizers_need(row.call))
			continue;
		error = add_row(filter, SCMP_ACT_KILL_PROCESS, &row);
		/* An older libseccomp may not know all of them: those get ENOSYS. */
		if (error == -ENOENT)
			error = 0;
	}
	return error;
}

bool confine_is_missing(int error)
{
	return error == -EINVAL || error == -ENOSYS || error == -ECANCELED;
}

int confine_enter(const struct confine_row *rows, size_t count)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int error;

	if (!filter)
		return -ENOMEM;
	/* Calls of another kind (32 bits on 64) have other numbers: killed. */
	error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!error)
		error = add_rows(filter, common, sizeof common / sizeof *common);
	if (!error)
		error = add_rows(filter, sanitizers, sizeof sanitizers / sizeof *sanitizers);
	if (!error)
		error = add_rows(filter, rows, count);
	if (!error)
		error = add_deadly(filter);
	if (!error)
		error = seccomp_load(filter);
	seccomp_release(filter);
	return error;
}
