/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/probe_curl.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/probe_judge.h"
#include "shared/log.h"

struct watch {
	struct probe_curl *port;
	struct loop_fd *source;
};

struct probe_curl {
	struct loop *loop;
	struct loop_timer *timer;
	CURLM *multi;
};

struct probe_job {
	struct probe_curl *port;
	CURL *easy;
	probe_done_fn fn;
	void *ctx;
	struct probe_request request;
	struct probe_judge judge;
	size_t headers; /* bytes */
	bool enough;	/* we ended it */
	char error[CURL_ERROR_SIZE];
	/* a mail */
	bool is_mail;
	struct curl_slist *to;
	char *message;
	size_t message_size, message_at;
};

static void free_job(struct probe_job *job)
{
	curl_easy_cleanup(job->easy);
	curl_slist_free_all(job->to);
	free(job->message);
	free(job);
}

struct probe_job *probe_curl_abandon(struct probe_job *job)
{
	if (!job)
		return NULL;
	curl_multi_remove_handle(job->port->multi, job->easy);
	free_job(job);
	return NULL;
}

/* ---- what becomes of it ---- */

static double ms(curl_off_t us)
{
	return (double)us / 1000;
}

static const char *show_statuses(const struct probe_request *q, char *text, size_t room)
{
	size_t at = 0;

	text[0] = '\0';
	for (int i = 0; i < q->statuses_count && at < room; i++) {
		const struct conf_status *s = &q->statuses[i];
		int n = s->first == s->last
				? snprintf(text + at, room - at, "%s%d", i ? ", " : "", s->first)
				: snprintf(text + at, room - at, "%s%d-%d", i ? ", " : "", s->first,
					   s->last);

		at += n > 0 ? (size_t)n : 0;
	}
	return text;
}

static enum engine_check_outcome judge_http(const struct probe_job *job, char *words, size_t room)
{
	long status = 0;
	curl_off_t took_us = 0;
	char wanted[96];

	curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(job->easy, CURLINFO_TOTAL_TIME_T, &took_us);
	switch (probe_judge_verdict(&job->judge, status)) {
	case PROBE_GOOD:
		snprintf(words, room, "%.100s answered %ld after %.1f ms", job->request.target,
			 status, ms(took_us));
		return ENGINE_CHECK_OK;
	case PROBE_STATUS_WRONG:
		snprintf(words, room, "%.100s answered %ld; good are %s", job->request.target,
			 status, show_statuses(&job->request, wanted, sizeof wanted));
		return ENGINE_CHECK_FAILED;
	case PROBE_BODY_LACKS:
		snprintf(words, room, "%.80s answered %ld without \"%.60s\" in its first %zu bytes",
			 job->request.target, status, job->request.body, job->judge.seen);
		return ENGINE_CHECK_FAILED;
	case PROBE_VERDICTS:
		break;
	}
	abort();
}

static enum engine_check_outcome judge(const struct probe_job *job, CURLcode code, char *words,
				       size_t room)
{
	const struct probe_request *q = &job->request;
	curl_off_t took_us = 0;

	if (job->is_mail) {
		snprintf(words, room, "%.100s: %.120s", q->target,
			 code == CURLE_OK ? "taken"
			 : job->error[0]  ? job->error
					  : curl_easy_strerror(code));
		return code == CURLE_OK ? ENGINE_CHECK_OK : ENGINE_CHECK_FAILED;
	}
	curl_easy_getinfo(job->easy, CURLINFO_TOTAL_TIME_T, &took_us);
	if (code == CURLE_OPERATION_TIMEDOUT) {
		snprintf(words, room, "%.100s: no %s within %g s", q->target,
			 q->http ? "whole answer" : "connection", (double)q->timeout_us / 1e6);
		return ENGINE_CHECK_TIMED_OUT;
	}
	if (job->headers > PROBE_HEADERS_BYTES_MAX) {
		snprintf(words, room, "%.100s: more than %d bytes of headers", q->target,
			 PROBE_HEADERS_BYTES_MAX);
		return ENGINE_CHECK_FAILED;
	}
	if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && job->enough)) {
		snprintf(words, room, "%.100s: %.120s", q->target,
			 job->error[0] ? job->error : curl_easy_strerror(code));
		return ENGINE_CHECK_FAILED;
	}
	if (q->http)
		return judge_http(job, words, room);
	snprintf(words, room, "%.100s accepted a connection after %.1f ms", q->target, ms(took_us));
	return ENGINE_CHECK_OK;
}

/* Jobs that have come to their end; a callback may start and abandon others meanwhile. */
static void reap(struct probe_curl *port)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(port->multi, &left))) {
		struct probe_job *job = NULL;
		CURLcode code = msg->data.result;
		enum engine_check_outcome outcome;
		char words[PROBE_WORDS_BYTES_MAX + 1];

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&job);
		outcome = judge(job, code, words, sizeof words);
		curl_multi_remove_handle(port->multi, job->easy);
		job->fn(job->ctx, outcome, words);
		free_job(job);
	}
}

/* ---- libcurl on the loop ---- */

static void on_ready(void *ctx, int fd, uint32_t events)
{
	struct watch *watch = ctx;
	struct probe_curl *port = watch->port; /* the watch may go in the call */
	int running, mask = 0;

	if (events & (EPOLLIN | EPOLLHUP))
		mask |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (events & EPOLLERR)
		mask |= CURL_CSELECT_ERR;
	curl_multi_socket_action(port->multi, fd, mask, &running);
	reap(port);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct probe_curl *port = ctx;
	struct watch *watch = socket_ctx;
	uint32_t events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watch) {
			loop_fd_remove(watch->source);
			free(watch);
		}
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	if (watch)
		return loop_fd_events(watch->source, events) ? -1 : 0;
	watch = calloc(1, sizeof *watch);
	if (!watch)
		return -1;
	watch->port = port;
	if (loop_fd_add(port->loop, fd, events, on_ready, watch, &watch->source)) {
		free(watch);
		return -1;
	}
	curl_multi_assign(port->multi, fd, watch);
	return 0;
}

static void on_timer(void *ctx)
{
	struct probe_curl *port = ctx;
	int running;

	curl_multi_socket_action(port->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	reap(port);
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *ctx)
{
	struct probe_curl *port = ctx;

	(void)multi;
	loop_timer_set(port->timer,
		       timeout_ms < 0 ? LOOP_NEVER_US
				      : loop_refresh_us(port->loop) + (uint64_t)timeout_ms * 1000);
	return 0;
}

int probe_curl_new(struct loop *loop, struct probe_curl **ret_port)
{
	struct probe_curl *port;
	int error;

	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return -ENOMEM;
	port = calloc(1, sizeof *port);
	if (!port)
		return -ENOMEM;
	port->loop = loop;
	error = loop_timer_new(loop, on_timer, port, &port->timer);
	port->multi = error ? NULL : curl_multi_init();
	if (!port->multi) {
		probe_curl_free(port);
		return error ? error : -ENOMEM;
	}
	curl_multi_setopt(port->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(port->multi, CURLMOPT_SOCKETDATA, port);
	curl_multi_setopt(port->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	curl_multi_setopt(port->multi, CURLMOPT_TIMERDATA, port);
	*ret_port = port;
	return 0;
}

struct probe_curl *probe_curl_free(struct probe_curl *port)
{
	if (!port)
		return NULL;
	if (port->multi)
		curl_multi_cleanup(port->multi);
	loop_timer_free(port->timer);
	free(port);
	curl_global_cleanup();
	return NULL;
}

/* ---- one job ---- */

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct probe_job *job = ctx;

	(void)data;
	job->headers += size * count;
	return job->headers > PROBE_HEADERS_BYTES_MAX ? 0 : size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct probe_job *job = ctx;
	long status = 0;

	curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &status);
	job->enough = probe_judge_body(&job->judge, data, size * count) ||
		      !probe_judge_status_is_good(&job->judge, status);
	return job->enough ? 0 : size * count;
}

static bool set_protocols(CURL *easy, bool is_mail)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	return !curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, is_mail ? "smtp" : "http,https") &&
	       !curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
	const long both = CURLPROTO_HTTP | CURLPROTO_HTTPS;

	return !curl_easy_setopt(easy, CURLOPT_PROTOCOLS, is_mail ? CURLPROTO_SMTP : both) &&
	       !curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS, both);
#endif
}

static bool set_common(struct probe_job *job, uint64_t timeout_us)
{
	CURL *easy = job->easy;
	long timeout_ms = (long)((timeout_us + 999) / 1000);

	return !curl_easy_setopt(easy, CURLOPT_PRIVATE, (char *)job) &&
	       !curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, job->error) &&
	       !curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms) &&
	       !curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms) &&
	       /* An empty text, unlike none, keeps libcurl from asking the environment. */
	       !curl_easy_setopt(easy, CURLOPT_PROXY, "") &&
	       !curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") &&
	       !curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L) &&
	       set_protocols(easy, job->is_mail);
}

static bool set_http(struct probe_job *job)
{
	const struct probe_request *q = &job->request;
	CURL *easy = job->easy;
	long verify = q->verify;

	return !curl_easy_setopt(easy, CURLOPT_URL, q->target) &&
	       !curl_easy_setopt(easy, CURLOPT_USERAGENT, "tandem/" TANDEM_VERSION) &&
	       !curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
	       !curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, q->redirects > 0 ? 1L : 0L) &&
	       !curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)q->redirects) &&
	       !curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, verify) &&
	       !curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, verify ? 2L : 0L) &&
	       !curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) &&
	       !curl_easy_setopt(easy, CURLOPT_HEADERDATA, job) &&
	       !curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) &&
	       !curl_easy_setopt(easy, CURLOPT_WRITEDATA, job);
}

/* A connection and nothing more. The URL is only a way to write down where to. */
static bool set_tcp(struct probe_job *job)
{
	char url[sizeof job->request.target + 8];

	snprintf(url, sizeof url, "http://%s", job->request.target);
	return !curl_easy_setopt(job->easy, CURLOPT_URL, url) &&
	       !curl_easy_setopt(job->easy, CURLOPT_CONNECT_ONLY, 1L);
}

int probe_curl_check(struct probe_curl *port, const struct probe_request *request, probe_done_fn fn,
		     void *ctx, struct probe_job **ret_job)
{
	struct probe_job *job = calloc(1, sizeof *job);

	if (!job)
		return -ENOMEM;
	*job = (struct probe_job){.port = port, .fn = fn, .ctx = ctx, .request = *request};
	probe_judge_init(&job->judge, job->request.statuses, job->request.statuses_count,
			 job->request.body, strlen(job->request.body));
	job->easy = curl_easy_init();
	if (!job->easy) {
		free(job);
		return -ENOMEM;
	}
	if (!set_common(job, request->timeout_us) || !(request->http ? set_http : set_tcp)(job) ||
	    curl_multi_add_handle(port->multi, job->easy)) {
		free_job(job);
		return -ENOMEM;
	}
	*ret_job = job;
	return 0;
}

/* ---- a mail ---- */

static size_t on_read(char *data, size_t size, size_t count, void *ctx)
{
	struct probe_job *job = ctx;
	size_t left = job->message_size - job->message_at;
	size_t piece = size * count < left ? size * count : left;

	memcpy(data, job->message + job->message_at, piece);
	job->message_at += piece;
	return piece;
}

/* The message as RFC 5322 wants it. libcurl sees to the dots. */
static int write_message(struct probe_job *job, const struct probe_mail *mail, const char *from,
			 const char *host)
{
	FILE *out = open_memstream(&job->message, &job->message_size);
	time_t when = (time_t)mail->wall_s;
	struct tm tm;
	char date[64];

	if (!out)
		return -ENOMEM;
	gmtime_r(&when, &tm);
	strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &tm);
	fprintf(out, "Date: %s\r\nFrom: tandem on %s <%s>\r\nTo: ", date, mail->node, from);
	for (int i = 0; i < mail->to_count; i++)
		fprintf(out, "%s<%s>", i ? ",\r\n\t" : "", mail->to[i]);
	/* The same mail, tried again, has the same one. */
	fprintf(out, "\r\nMessage-ID: <%llx.%x.%s@%s>\r\nSubject: %s\r\n",
		(unsigned long long)mail->wall_s, mail->run, mail->node, host, mail->subject);
	fprintf(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
		     "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
	for (const char *p = mail->text; *p; p++)
		if (*p == '\n')
			fputs("\r\n", out);
		else
			fputc(*p, out);
	return fclose(out) ? -ENOMEM : 0;
}

static bool set_mail(struct probe_job *job, const struct probe_mail *mail)
{
	CURL *easy = job->easy;
	char url[sizeof mail->server + sizeof mail->helo + 16], host[256] = "localhost";
	char from[sizeof host + 16];

	if (gethostname(host, sizeof host - 1))
		snprintf(host, sizeof host, "localhost");
	snprintf(url, sizeof url, "smtp://%s/%s", mail->server, mail->helo[0] ? mail->helo : host);
	snprintf(from, sizeof from, "%s%s", mail->from[0] ? "" : "tandem@",
		 mail->from[0] ? mail->from : host);
	for (int i = 0; i < mail->to_count; i++) {
		struct curl_slist *longer = curl_slist_append(job->to, mail->to[i]);

		if (!longer)
			return false;
		job->to = longer;
	}
	return !write_message(job, mail, from, host) && !curl_easy_setopt(easy, CURLOPT_URL, url) &&
	       !curl_easy_setopt(easy, CURLOPT_MAIL_FROM, from) &&
	       !curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, job->to) &&
	       !curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read) &&
	       !curl_easy_setopt(easy, CURLOPT_READDATA, job) &&
	       !curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
				 (long)((mail->connect_timeout_us + 999) / 1000));
}

int probe_curl_mail(struct probe_curl *port, const struct probe_mail *mail, probe_done_fn fn,
		    void *ctx, struct probe_job **ret_job)
{
	struct probe_job *job = calloc(1, sizeof *job);

	if (!job)
		return -ENOMEM;
	*job = (struct probe_job){.port = port, .fn = fn, .ctx = ctx, .is_mail = true};
	snprintf(job->request.target, sizeof job->request.target, "%s", mail->server);
	job->easy = curl_easy_init();
	if (!job->easy) {
		free(job);
		return -ENOMEM;
	}
	if (!set_common(job, mail->connect_timeout_us + PROBE_MAIL_TALK_US) ||
	    !set_mail(job, mail) || curl_multi_add_handle(port->multi, job->easy)) {
		free_job(job);
		return -ENOMEM;
	}
	*ret_job = job;
	return 0;
}
