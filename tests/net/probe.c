/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: what a client sees, measured.
 *
 *   probe answer NAME PORT              answers every UDP datagram with NAME
 *   probe ask ADDRESS PORT INTERVAL_US  sends a UDP request each interval
 *   probe get ADDRESS PORT INTERVAL_US [HOST]
 *                                       opens a new HTTP connection each interval
 *   probe watch ADDRESS                 says when this host gains and loses the address
 *   probe mixed ADDRESS PORT COUNT      asks for v0000.test ... on one connection after another,
 * and says for how long one configuration showed two generations
 *
 * `ask`, `get` and `mixed` say "running" at the first answer, run until SIGTERM or SIGINT, and then
 * print one line of JSON; `mixed` says meanwhile which generation is the newest that it has seen.
 * A gap is the longest time in which no answer arrived. All times are CLOCK_MONOTONIC microseconds,
 * the same clock for every process of the laboratory. It runs at a real-time priority where it may,
 * so that a busy machine is not taken for a silent server.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NAME_BYTES 32
#define NAMES_MAX 16
#define CHANGES_MAX 1024
#define CONNECTIONS_MAX 1024
#define ANSWER_BYTES_MAX 4096
#define CONNECTION_TIMEOUT_US 5000000

static volatile sig_atomic_t stopping;

static void on_stop(int signo)
{
	(void)signo;
	stopping = 1;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void fail(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void be_punctual(void)
{
	struct sched_param priority = {.sched_priority = 2};

	/* Where the cgroup forbids it the figures are a little worse, never better. */
	(void)sched_setscheduler(0, SCHED_RR, &priority);
	(void)mlockall(MCL_CURRENT | MCL_FUTURE);
}

/* IPv4 in IPv6's form, so that one socket serves both families. */
static struct sockaddr_in6 mapped_address_of(const char *text, const char *port)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6,
				       .sin6_port = htons((uint16_t)atoi(port))};
	char mapped[64];

	snprintf(mapped, sizeof mapped, "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
	if (inet_pton(AF_INET6, mapped, &address.sin6_addr) != 1) {
		fprintf(stderr, "probe: %s is not an address\n", text);
		exit(2);
	}
	return address;
}

static struct sockaddr_in address_of(const char *text, const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)atoi(port))};

	if (inet_pton(AF_INET, text, &address.sin_addr) != 1) {
		fprintf(stderr, "probe: %s is not an IPv4 address\n", text);
		exit(2);
	}
	return address;
}

/* What the client has seen so far. */
struct view {
	uint64_t sent, answered;
	uint64_t last_us; /* of the latest answer; 0: none yet */
	uint64_t gap_us, gap_from_us, gap_to_us;
	int names_count, changes_count;
	struct {
		char name[NAME_BYTES];
		uint64_t answered;
	} names[NAMES_MAX];
	struct {
		uint64_t at_us;
		int name;
	} changes[CHANGES_MAX];
};

static void view_gap(struct view *view, uint64_t at_us)
{
	if (view->last_us != 0 && at_us - view->last_us > view->gap_us) {
		view->gap_us = at_us - view->last_us;
		view->gap_from_us = view->last_us;
		view->gap_to_us = at_us;
	}
}

static void view_answer(struct view *view, const char *name, uint64_t at_us)
{
	int n = 0;

	if (view->last_us == 0) {
		puts("running");
		fflush(stdout);
		at_us = now_us();
	}
	view_gap(view, at_us);
	view->last_us = at_us;
	view->answered++;
	while (n < view->names_count && strcmp(view->names[n].name, name) != 0)
		n++;
	if (n == view->names_count) {
		if (n == NAMES_MAX)
			return;
		snprintf(view->names[n].name, NAME_BYTES, "%s", name);
		view->names_count++;
	}
	view->names[n].answered++;
	if (view->changes_count < CHANGES_MAX &&
	    (view->changes_count == 0 || view->changes[view->changes_count - 1].name != n)) {
		view->changes[view->changes_count].at_us = at_us;
		view->changes[view->changes_count].name = n;
		view->changes_count++;
	}
}

static void view_print(struct view *view)
{
	view_gap(view, now_us()); /* a gap that lasts until the end is one */
	printf("{\"sent\": %llu, \"answered\": %llu, \"gap_us\": %llu, \"gap_from_us\": %llu, "
	       "\"gap_to_us\": %llu, \"by\": {",
	       (unsigned long long)view->sent, (unsigned long long)view->answered,
	       (unsigned long long)view->gap_us, (unsigned long long)view->gap_from_us,
	       (unsigned long long)view->gap_to_us);
	for (int n = 0; n < view->names_count; n++)
		printf("%s\"%s\": %llu", n ? ", " : "", view->names[n].name,
		       (unsigned long long)view->names[n].answered);
	printf("}, \"changes\": [");
	for (int n = 0; n < view->changes_count; n++)
		printf("%s[%llu, \"%s\"]", n ? ", " : "",
		       (unsigned long long)view->changes[n].at_us,
		       view->names[view->changes[n].name].name);
	puts("]}");
}

/* A name as it may stand in JSON and in a table; what a server sends is not trusted. */
static void copy_name(char *name, const char *from, size_t size)
{
	size_t n = 0;

	while (n < size && n < NAME_BYTES - 1 && from[n] > ' ' && from[n] < 127 && from[n] != '"' &&
	       from[n] != '\\') {
		name[n] = from[n];
		n++;
	}
	name[n] = '\0';
}

static int answer(const char *name, const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)atoi(port))};
	int on = 1, off = 0, fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char datagram[64], control[256];

	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
		fail("cannot answer");
	be_punctual();
	puts("running");
	fflush(stdout);
	while (!stopping) {
		struct sockaddr_in6 from;
		struct iovec part = {datagram, sizeof datagram - NAME_BYTES};
		struct msghdr message = {.msg_name = &from,
					 .msg_namelen = sizeof from,
					 .msg_iov = &part,
					 .msg_iovlen = 1,
					 .msg_control = control,
					 .msg_controllen = sizeof control};
		ssize_t size = recvmsg(fd, &message, 0);
		struct cmsghdr *header;

		if (size < 0)
			continue;
		/* The answer leaves from the address that was asked. */
		header = CMSG_FIRSTHDR(&message);
		if (header != NULL && header->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(header), sizeof info);
			info.ipi6_ifindex = 0;
			memcpy(CMSG_DATA(header), &info, sizeof info);
			message.msg_controllen = CMSG_SPACE(sizeof info);
		}
		memset(datagram + size, 0, NAME_BYTES);
		strncpy(datagram + size, name, NAME_BYTES - 1);
		part.iov_len = (size_t)size + NAME_BYTES;
		(void)sendmsg(fd, &message, 0);
	}
	return 0;
}

static int ask(const char *to, const char *port, uint64_t interval_us)
{
	static struct view view;
	struct sockaddr_in6 address = mapped_address_of(to, port);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	uint64_t next_us;

	if (fd < 0)
		fail("socket");
	be_punctual();
	next_us = now_us();
	while (!stopping) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		uint64_t at_us = now_us();
		struct timespec wait = {0, 0};
		char datagram[64], name[NAME_BYTES];
		ssize_t size;

		if (at_us >= next_us) {
			view.sent++;
			(void)sendto(fd, &view.sent, sizeof view.sent, 0,
				     (struct sockaddr *)&address, sizeof address);
			next_us += interval_us;
			if (next_us < at_us)
				next_us = at_us + interval_us;
			continue;
		}
		wait.tv_nsec = (long)((next_us - at_us) * 1000);
		if (ppoll(&ready, 1, &wait, NULL) <= 0)
			continue;
		size = recv(fd, datagram, sizeof datagram, 0);
		if (size < (ssize_t)sizeof view.sent + NAME_BYTES)
			continue;
		copy_name(name, datagram + sizeof view.sent, NAME_BYTES);
		view_answer(&view, name, now_us());
	}
	view_print(&view);
	return 0;
}

/* One HTTP exchange in flight. */
struct connection {
	int fd; /* -1: free */
	bool asked;
	uint64_t begun_us;
	size_t size;
	char answer[ANSWER_BYTES_MAX];
};

static void connection_end(struct connection *connection)
{
	struct linger at_once = {1, 0};

	/* A reset leaves no port waiting: thousands a minute would run out of them. */
	setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	close(connection->fd);
	connection->fd = -1;
}

static bool connection_begin(struct connection *connection, const struct sockaddr_in *address,
			     int epoll_fd, uint64_t at_us)
{
	struct epoll_event event = {.events = EPOLLOUT | EPOLLIN, .data = {.ptr = connection}};

	connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connection->fd < 0)
		return false;
	connection->asked = false;
	connection->begun_us = at_us;
	connection->size = 0;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) < 0 ||
	    (connect(connection->fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
	     errno != EINPROGRESS)) {
		connection_end(connection);
		return false;
	}
	return true;
}

static void connection_step(struct connection *connection, struct view *view, uint32_t events,
			    int epoll_fd, const char *request)
{
	struct epoll_event reading = {.events = EPOLLIN, .data = {.ptr = connection}};
	ssize_t size;

	if (!connection->asked && (events & EPOLLOUT)) {
		connection->asked = true;
		epoll_ctl(epoll_fd, EPOLL_CTL_MOD, connection->fd, &reading);
		if (send(connection->fd, request, strlen(request), MSG_NOSIGNAL) < 0) {
			connection_end(connection);
			return;
		}
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	size = recv(connection->fd, connection->answer + connection->size,
		    sizeof connection->answer - 1 - connection->size, 0);
	if (size > 0 && connection->size + (size_t)size < sizeof connection->answer - 1) {
		connection->size += (size_t)size;
		return;
	}
	if (size < 0 && errno == EAGAIN)
		return;
	connection->answer[connection->size] = '\0';
	if (size >= 0 && strncmp(connection->answer, "HTTP/1.1 200 ", 13) == 0) {
		const char *node = strstr(connection->answer, "\r\nX-Node: ");
		char name[NAME_BYTES] = "unnamed";

		if (node != NULL)
			copy_name(name, node + 10, NAME_BYTES);
		view_answer(view, name, now_us());
	}
	connection_end(connection);
}

static int get(const char *to, const char *port, uint64_t interval_us, const char *host)
{
	static struct view view;
	static struct connection connections[CONNECTIONS_MAX];
	struct sockaddr_in address = address_of(to, port);
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	char request[256];
	uint64_t next_us;

	snprintf(request, sizeof request, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", host);
	for (int n = 0; n < CONNECTIONS_MAX; n++)
		connections[n].fd = -1;
	be_punctual();
	next_us = now_us();
	while (!stopping) {
		struct epoll_event events[64];
		uint64_t at_us = now_us();
		int count, timeout_ms;

		if (at_us >= next_us) {
			struct connection *free_one = NULL;

			for (int n = 0; n < CONNECTIONS_MAX; n++) {
				struct connection *c = &connections[n];

				if (c->fd >= 0 && at_us - c->begun_us > CONNECTION_TIMEOUT_US)
					connection_end(c);
				if (c->fd < 0)
					free_one = c;
			}
			view.sent++;
			if (free_one != NULL)
				connection_begin(free_one, &address, epoll_fd, at_us);
			next_us += interval_us;
			if (next_us < at_us)
				next_us = at_us + interval_us;
		}
		at_us = now_us();
		timeout_ms = at_us >= next_us ? 0 : (int)((next_us - at_us + 999) / 1000);
		count = epoll_wait(epoll_fd, events, 64, timeout_ms);
		for (int n = 0; n < count; n++)
			connection_step(events[n].data.ptr, &view, events[n].events, epoll_fd,
					request);
	}
	view_print(&view);
	return 0;
}

static int watch(const char *text)
{
	struct sockaddr_nl groups = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct in_addr wanted;
	char buffer[16384] __attribute__((aligned(8)));

	if (inet_pton(AF_INET, text, &wanted) != 1 || fd < 0 ||
	    bind(fd, (struct sockaddr *)&groups, sizeof groups) < 0)
		fail("cannot watch");
	puts("running");
	fflush(stdout);
	while (!stopping) {
		ssize_t size = recv(fd, buffer, sizeof buffer, 0);

		for (struct nlmsghdr *h = (struct nlmsghdr *)buffer;
		     size > 0 && NLMSG_OK(h, (size_t)size); h = NLMSG_NEXT(h, size)) {
			struct ifaddrmsg *address = NLMSG_DATA(h);
			long long left = (long long)IFA_PAYLOAD(h);

			if (h->nlmsg_type != RTM_NEWADDR && h->nlmsg_type != RTM_DELADDR)
				continue;
			for (struct rtattr *a = IFA_RTA(address); RTA_OK(a, left);
			     a = RTA_NEXT(a, left))
				if (a->rta_type == IFA_LOCAL &&
				    memcmp(RTA_DATA(a), &wanted, sizeof wanted) == 0)
					printf("[%llu, \"%s\"]\n", (unsigned long long)now_us(),
					       h->nlmsg_type == RTM_NEWADDR ? "gained" : "lost");
			fflush(stdout);
		}
	}
	return 0;
}

#define SAMPLE_MAX 64
/* Workers of two configurations answer side by side for a moment: one view that is not mixed does
 * not end it. */
#define MIX_ENDS_US 100000

/* One connection is served by one worker, and so by one configuration: ask it for a sample of the
 * virtual hosts, each of which answers with "generation N". Returns the lowest and highest N, or
 * false if the connection did not live through the whole sample (a worker that shuts down). */
static bool sample(const struct sockaddr_in *address, int count, long *ret_low, long *ret_high)
{
	static char answers[64 * 1024];
	char requests[SAMPLE_MAX * 128];
	int size = 0, found = 0, wanted = count < SAMPLE_MAX ? count : SAMPLE_MAX;
	struct timeval limit = {2, 0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t got = 0;
	long low = 0, high = 0;

	if (fd < 0)
		fail("socket");
	for (int n = 0; n < wanted; n++)
		size += snprintf(requests + size, sizeof requests - (size_t)size,
				 "GET / HTTP/1.1\r\nHost: v%04d.test\r\n%s\r\n",
				 wanted == 1 ? 0 : n * (count - 1) / (wanted - 1),
				 n == wanted - 1 ? "Connection: close\r\n" : "");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 &&
	    send(fd, requests, (size_t)size, MSG_NOSIGNAL) == size)
		for (;;) {
			ssize_t part = recv(fd, answers + got, sizeof answers - 1 - got, 0);

			if (part <= 0)
				break;
			got += (size_t)part;
		}
	close(fd);
	answers[got] = '\0';
	for (char *at = answers; (at = strstr(at, "\r\n\r\ngeneration ")) != NULL; at += 15) {
		long number = atol(at + 15);

		if (found == 0 || number < low)
			low = number;
		if (found == 0 || number > high)
			high = number;
		found++;
	}
	*ret_low = low;
	*ret_high = high;
	return found == wanted;
}

static int mixed(const char *to, const char *port, int count)
{
	struct sockaddr_in address = address_of(to, port);
	uint64_t samples = 0, broken = 0, mixes = 0, episodes = 0, since_us = 0, longest_us = 0;
	uint64_t longest_at_us = 0, last_us = 0;
	long newest = -1;

	while (!stopping) {
		long low, high;
		uint64_t at_us = now_us();

		if (!sample(&address, count, &low, &high)) {
			broken++;
			continue;
		}
		if (samples++ == 0) {
			puts("running");
			fflush(stdout);
		}
		if (high > newest) {
			newest = high;
			printf("newest %ld\n", newest);
			fflush(stdout);
		}
		if (low != high) {
			mixes++;
			last_us = at_us;
			if (since_us == 0) {
				since_us = at_us;
				episodes++;
			}
			if (now_us() - since_us > longest_us) {
				longest_us = now_us() - since_us;
				longest_at_us = since_us;
			}
		} else if (since_us != 0 && at_us - last_us > MIX_ENDS_US) {
			since_us = 0;
		}
	}
	printf("{\"samples\": %llu, \"broken\": %llu, \"mixed\": %llu, \"episodes\": %llu, "
	       "\"longest_us\": %llu, \"longest_at_us\": %llu, \"newest\": %ld}\n",
	       (unsigned long long)samples, (unsigned long long)broken, (unsigned long long)mixes,
	       (unsigned long long)episodes, (unsigned long long)longest_us,
	       (unsigned long long)longest_at_us, newest);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction stop = {.sa_handler = on_stop};

	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	if (argc == 4 && strcmp(argv[1], "answer") == 0)
		return answer(argv[2], argv[3]);
	if (argc == 5 && strcmp(argv[1], "ask") == 0)
		return ask(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	if ((argc == 5 || argc == 6) && strcmp(argv[1], "get") == 0)
		return get(argv[2], argv[3], strtoull(argv[4], NULL, 10),
			   argc == 6 ? argv[5] : "vip.test");
	if (argc == 3 && strcmp(argv[1], "watch") == 0)
		return watch(argv[2]);
	if (argc == 5 && strcmp(argv[1], "mixed") == 0)
		return mixed(argv[2], argv[3], atoi(argv[4]));
	fprintf(stderr, "usage: probe answer NAME PORT | ask ADDRESS PORT INTERVAL_US |\n"
			"       get ADDRESS PORT INTERVAL_US [HOST] | watch ADDRESS |\n"
			"       mixed ADDRESS PORT COUNT\n");
	return 2;
}
