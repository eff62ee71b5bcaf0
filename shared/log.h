/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: where a shell or a main says what happened. Cores never include this.
 *
 * Lines go to stderr (plain when it is a terminal, with a journald priority prefix "<N>" when
 * JOURNAL_STREAM is set) or to syslog with a facility. One line is one event, in plain words, with
 * its cause; never a key, a password or the content of a mirrored file. Control characters in an
 * argument are written as \xNN, so that what a peer or a script says cannot forge a line.
 */
#ifndef TANDEM_LOG_H
#define TANDEM_LOG_H

#include <stdbool.h>
#include <syslog.h>

struct log_options {
	const char *ident; /* program name, borrowed for ever */
	bool to_syslog;	   /* otherwise stderr */
	int facility;	   /* LOG_DAEMON, LOG_LOCAL0, ... */
	int level;	   /* LOG_ERR ... LOG_DEBUG; less urgent lines are dropped */
};

/* Before it lines go to stderr from LOG_INFO on. */
void log_open(const struct log_options *options);
/* A short name of the process ("engine", "keeper") that stands before each line; borrowed. */
void log_set_process(const char *name);
void log_set_level(int level);
bool log_wants(int level);

__attribute__((format(printf, 2, 3))) void log_at(int level, const char *format, ...);
#define log_err(...) log_at(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_at(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

/* "local0" -> LOG_LOCAL0; "info" -> LOG_INFO. -EINVAL for an unknown name. */
int log_facility_from_name(const char *name, int *ret_facility);
int log_level_from_name(const char *name, int *ret_level);

#endif
