/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe_curl: the port around libcurl, for the prober alone: many transfers at a time on one loop.
 *
 * A job is started, and its function is called once, with what became of it; or it is abandoned.
 * Every job has a time limit. Nothing that a server sends decides how much is read or kept. Each
 * probe makes a connection of its own: that one can be made is what is asked. No proxy is used,
 * whatever the environment says, no cookie, no file with passwords, nothing but HTTP and HTTPS;
 * and SMTP for mail.
 */
#ifndef TANDEM_PROBE_CURL_H
#define TANDEM_PROBE_CURL_H

#include "agent/probe_msg.h"
#include "shared/loop.h"

#define PROBE_HEADERS_BYTES_MAX 65536 /* of all answers of one probe, those with redirects too */

struct probe_curl;
struct probe_job;

/* Called once, not from within the call that started the job; it is freed afterwards. */
typedef void (*probe_done_fn)(void *ctx, enum engine_check_outcome outcome, const char *words);

/* -ENOMEM. */
int probe_curl_new(struct loop *loop, struct probe_curl **ret_port);
/* Jobs must have been abandoned. */
struct probe_curl *probe_curl_free(struct probe_curl *port);

/* Start a job; what is asked is copied. -ENOMEM: there is none, and fn is not called. */
int probe_curl_check(struct probe_curl *port, const struct probe_request *request, probe_done_fn fn,
		     void *ctx, struct probe_job **ret_job);
int probe_curl_mail(struct probe_curl *port, const struct probe_mail *mail, probe_done_fn fn,
		    void *ctx, struct probe_job **ret_job);
struct probe_job *probe_curl_abandon(struct probe_job *job); /* NULL is fine; returns NULL */

#endif
