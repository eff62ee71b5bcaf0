/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Longer lines are cut, with "..." at the end. */
#define LINE_BYTES_MAX 2048
#define SYSLOG_PATH "/dev/log"

/* The one global of a process beside its main: a line must be possible from everywhere. A process
 * logs from one thread. */
static struct {
	struct log_options options;
	const char *process;
	bool journal;
	int syslog_fd;
	unsigned long lost; /* lines that the log did not take */
} state = {.options = {.ident = "tandem", .facility = LOG_DAEMON, .level = LOG_INFO},
	   .syslog_fd = -1};

static const struct name {
	const char *name;
	int value;
} facilities[] =
	{
		{"auth", LOG_AUTH},	{"authpriv", LOG_AUTHPRIV}, {"cron", LOG_CRON},
		{"daemon", LOG_DAEMON}, {"ftp", LOG_FTP},	    {"kern", LOG_KERN},
		{"lpr", LOG_LPR},	{"mail", LOG_MAIL},	    {"news", LOG_NEWS},
		{"syslog", LOG_SYSLOG}, {"user", LOG_USER},	    {"uucp", LOG_UUCP},
		{"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1},	    {"local2", LOG_LOCAL2},
		{"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},	    {"local5", LOG_LOCAL5},
		{"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},	    {NULL, 0},
},
  levels[] = {
	  {"emerg", LOG_EMERG},
	  {"alert", LOG_ALERT},
	  {"crit", LOG_CRIT},
	  {"err", LOG_ERR},
	  {"error", LOG_ERR},
	  {"warning", LOG_WARNING},
	  {"warn", LOG_WARNING},
	  {"notice", LOG_NOTICE},
	  {"info", LOG_INFO},
	  {"debug", LOG_DEBUG},
	  {NULL, 0},
};

static int find_name(const struct name *names, const char *name, int *ret_value)
{
	for (; names->name; names++) {
		if (strcmp(names->name, name) == 0) {
			*ret_value = names->value;
			return 0;
		}
	}
	return -EINVAL;
}

int log_facility_from_name(const char *name, int *ret_facility)
{
	return find_name(facilities, name, ret_facility);
}

int log_level_from_name(const char *name, int *ret_level)
{
	return find_name(levels, name, ret_level);
}

/* syslog(3) waits while the daemon behind /dev/log hangs; a process that holds addresses must not.
 * So the datagram is sent by hand, and lost rather than waited for. Opened before a process gives
 * up its rights, and again when the daemon was restarted. */
static void syslog_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SYSLOG_PATH};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (state.syslog_fd >= 0)
		close(state.syslog_fd);
	state.syslog_fd = -1;
	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return;
	}
	state.syslog_fd = fd;
}

void log_open(const struct log_options *options)
{
	state.options = *options;
	state.journal = getenv("JOURNAL_STREAM") != NULL;
	if (options->to_syslog) {
		syslog_connect();
	} else if (state.syslog_fd >= 0) {
		close(state.syslog_fd);
		state.syslog_fd = -1;
	}
}

void log_set_process(const char *name)
{
	state.process = name;
}

void log_set_level(int level)
{
	state.options.level = level;
}

bool log_wants(int level)
{
	return level <= state.options.level;
}

/* Length of the well-formed, printable UTF-8 sequence at text (RFC 3629); 0 if there is none. */
static size_t printable_size(const char *text, size_t left)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t size;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f;
	size = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
	       : (s[0] & 0xf0) == 0xe0	      ? 3
	       : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
					      : 0;
	if (size == 0 || size > left)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((s[0] == 0xc2 && s[1] < 0xa0) || /* control characters again */
	    (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return size;
}

/* Copies text so that it is one line of printable characters, whatever it is made of. */
static size_t clean(const char *text, size_t size, char *line, size_t room)
{
	static const char digits[] = "0123456789abcdef";
	static const char cut[] = "...";
	size_t at = 0;

	for (size_t i = 0; i < size;) {
		size_t take = printable_size(text + i, size - i);
		size_t need = take ? take : 4;

		if (at + need + sizeof(cut) > room) {
			memcpy(line + at, cut, sizeof(cut) - 1);
			at += sizeof(cut) - 1;
			break;
		}
		if (take) {
			memcpy(line + at, text + i, take);
			i += take;
		} else {
			unsigned char c = (unsigned char)text[i++];

			memcpy(line + at, "\\x", 2);
			line[at + 2] = digits[c >> 4];
			line[at + 3] = digits[c & 15];
		}
		at += need;
	}
	line[at] = '\0';
	return at;
}

/* A pipe, terminal or socket that nobody reads must not stop this process either. */
static bool write_stderr(const char *line, size_t size)
{
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t n = send(STDERR_FILENO, line, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno == ENOTSOCK) {
		/* Regular files always poll as writable; a pipe does when PIPE_BUF fits in. */
		if (poll(&ready, 1, 0) != 1 || ready.revents & (POLLERR | POLLHUP))
			return false; /* full, or nobody reads: no SIGPIPE for a log line */
		n = write(STDERR_FILENO, line, size);
	}
	return n == (ssize_t)size;
}

/* 1: sent; 0: it takes nothing now; -1: nobody is there. */
static int write_syslog(const char *line, size_t size)
{
	for (int try = 0; try < 2; try++) {
		if (state.syslog_fd < 0)
			syslog_connect();
		if (state.syslog_fd < 0)
			break;
		if (send(state.syslog_fd, line, size, MSG_NOSIGNAL) >= 0)
			return 1;
		if (errno == EAGAIN)
			return 0;
		/* It was restarted: once more, with what is there now. */
		close(state.syslog_fd);
		state.syslog_fd = -1;
	}
	return -1;
}

static bool write_line(int level, const char *text, size_t size)
{
	char head[160], line[LINE_BYTES_MAX + sizeof(head)], stamp[40] = "";
	struct timespec now = {0};
	struct tm tm;
	int n;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)localtime_r(&now.tv_sec, &tm);
	if (state.options.to_syslog) {
		(void)strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", &tm);
		n = snprintf(head, sizeof(head), "<%d>%s %s[%d]: ", state.options.facility | level,
			     stamp, state.options.ident, (int)getpid());
	} else if (state.journal) {
		/* journald knows time, program and pid itself; sd-daemon(3). */
		n = snprintf(head, sizeof(head), "<%d>", level);
	} else {
		(void)strftime(stamp, sizeof(stamp), "%H:%M:%S", &tm);
		n = snprintf(head, sizeof(head), "%s.%03ld %s: ", stamp, now.tv_nsec / 1000000,
			     state.options.ident);
	}
	if (n > 0 && (size_t)n < sizeof(head) && state.process)
		n += snprintf(head + n, sizeof(head) - (size_t)n, "%s: ", state.process);
	if (n < 0 || (size_t)n >= sizeof(head))
		n = 0;
	memcpy(line, head, (size_t)n);
	memcpy(line + n, text, size);
	size += (size_t)n;
	if (state.options.to_syslog) {
		int r = write_syslog(line, size);

		if (r >= 0)
			return r > 0;
	}
	line[size++] = '\n';
	return write_stderr(line, size);
}

void log_at(int level, const char *format, ...)
{
	char raw[LINE_BYTES_MAX], text[LINE_BYTES_MAX];
	int saved_errno = errno, n;
	size_t size;
	va_list args;

	if (!log_wants(level))
		return;
	va_start(args, format);
	n = vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	if (n < 0)
		return;
	size = clean(raw, (size_t)n < sizeof(raw) ? (size_t)n : sizeof(raw) - 1, text,
		     sizeof(text) - 1);
	if (state.lost > 0) {
		char sorry[80];
		int len = snprintf(sorry, sizeof(sorry), "the log did not take %lu lines",
				   state.lost);

		if (write_line(LOG_WARNING, sorry, (size_t)len))
			state.lost = 0;
	}
	if (!write_line(level, text, size))
		state.lost++;
	errno = saved_errno;
}
