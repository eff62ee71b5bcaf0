/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl: the control sockets. One JSON object a line in each direction (docs/PROTOCOL.md).
 *
 * A request has "command" and its arguments; the answer has "ok": true and the command's own keys,
 * or "ok": false with "error" (a sentence with the next step) and "code". A long command may first
 * send lines with "progress". The server side serves a daemon's loop; peers are root or members of
 * the control group, by SO_PEERCRED. Lines are bounded, clients are counted, a client that does not
 * read is dropped.
 */
#ifndef TANDEM_CTL_H
#define TANDEM_CTL_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/loop.h"

#define CTL_LINE_BYTES_MAX (64 * 1024) /* of a request */
#define CTL_ANSWER_BYTES_MAX (4 * 1024 * 1024)
#define CTL_CLIENTS_MAX 32

struct ctl_server;
struct ctl_client; /* on the server's side; gone once it was answered or has left */

/* request is borrowed for the call and is an object with a string "command". The handler answers
 * now, or keeps client and answers later; if the client leaves first, on_gone is called and client
 * must not be used again. */
typedef void (*ctl_request_fn)(void *ctx, struct ctl_client *client, const char *command,
			       const json_t *request);
typedef void (*ctl_gone_fn)(void *ctx, struct ctl_client *client);

/* Makes path (replacing a dead socket), 0660 root:group; a group that does not exist means 0600.
 * Returns a listening descriptor that a less privileged process may serve. */
int ctl_listen(const char *path, const char *group, int *ret_fd);

int ctl_server_new(struct loop *loop, int listen_fd, ctl_request_fn on_request, ctl_gone_fn on_gone,
		   void *ctx, struct ctl_server **ret_server);
/* Does not close listen_fd; on_gone is not called. Not from within a handler. */
struct ctl_server *ctl_server_free(struct ctl_server *server);

/* Each takes the reference. ctl_answer ends the request; the connection may send another. */
void ctl_progress(struct ctl_client *client, json_t *object);
void ctl_answer(struct ctl_client *client, json_t *object);
__attribute__((format(printf, 3, 4))) void ctl_fail(struct ctl_client *client, const char *code,
						    const char *format, ...);

/* A JSON string from any bytes: what is not UTF-8 (a script's words, a file's name) becomes U+FFFD,
 * where json_string() would give NULL and take the whole answer with it. */
json_t *ctl_text(const char *text, size_t size);

/* Client side, blocking, for the command line: asks, then waits for the answer, as often as that is
 * wanted, then frees. A question that was asked is served whether anybody waits for it or not.
 * ctl_ask() takes the reference of request; -ECONNREFUSED/-ENOENT: no daemon there; -ETIMEDOUT.
 * ctl_await(): timeout_us bounds each line; progress may be NULL. 0: *ret_answer is the final
 * object, the caller's. -ETIMEDOUT: there is none yet. -EPROTO, -ECONNRESET: there will be none. */
typedef void (*ctl_progress_fn)(void *ctx, const json_t *object);
struct ctl_question;
int ctl_ask(const char *socket_path, json_t *request, uint64_t timeout_us,
	    struct ctl_question **ret_question);
int ctl_await(struct ctl_question *question, uint64_t timeout_us, ctl_progress_fn progress,
	      void *ctx, json_t **ret_answer);
struct ctl_question *ctl_question_free(struct ctl_question *question);
/* All of it in one. */
int ctl_call(const char *socket_path, json_t *request, uint64_t timeout_us,
	     ctl_progress_fn progress, void *ctx, json_t **ret_answer);

#endif
