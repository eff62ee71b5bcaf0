/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process: what the kernel says of a process (/proc/PID/stat, proc(5)). A tick is a hundredth of a
 * second (sysconf(_SC_CLK_TCK)), whatever the kernel counts in.
 */
#ifndef TANDEM_PROCESS_H
#define TANDEM_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

struct process {
	pid_t pid, parent;
	char state;	      /* R, S, D, T, Z, ... */
	uint64_t user_ticks;  /* spent in its own code, that of its threads included */
	uint64_t start_ticks; /* since boot: a number used again is another process */
	char comm[64];	      /* the kernel's own threads have longer names than 15 bytes */
};

/* -ENOENT, -ESRCH: there is none; -EPROTO: the kernel says what nobody has seen before. */
int process_read(pid_t pid, struct process *ret_process);

#endif
