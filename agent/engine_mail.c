/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mail to people, of changes of state. The engine keeps the queue, the prober sends: one mail at a
 * time and in order, tried again with growing waits, and given up in the end. A full queue drops
 * the oldest, which says least. Nothing here waits for anything.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/engine_private.h"
#include "agent/probe_msg.h"
#include "shared/log.h"

#define RETRY_US 1000000ull
#define RETRY_US_MAX 300000000ull
#define TRIES_MAX 12 /* about half an hour */
#define ANSWER_MARGIN_US 5000000

static struct engine_mail *first(struct engine_mails *mails)
{
	return &mails->list[mails->first];
}

static const struct conf_mail *conf_of(const struct engine *engine)
{
	return &engine->snapshot->conf.conf->mail;
}

static void ask(struct engine *engine)
{
	struct engine_mails *mails = &engine->mails;
	struct engine_mail *mail = first(mails);
	uint8_t bytes[PROBE_MSG_BYTES_MAX];
	struct wire_writer w;

	/* The next prober is asked; nobody, if a reload has taken the last recipient away. */
	if (!engine->prober || !conf_of(engine)->to_count)
		return;
	wire_writer_init(&w, bytes, sizeof bytes);
	probe_mail_put(&w, mails->run, conf_of(engine), engine->snapshot->conf.node, mail->wall_s,
		       mail->subject, mail->text);
	if (wire_writer_ok(&w))
		(void)msg_send(engine->prober, PROBE_MSG_MAIL, w.data, w.at, -1);
}

static void send_first(struct engine *engine)
{
	struct engine_mails *mails = &engine->mails;

	if (!mails->count || mails->run)
		return;
	if (!conf_of(engine)->to_count) {
		/* The file has nobody any more to write to. */
		mails->count = 0;
		return;
	}
	mails->run = engine->next_run++;
	if (!mails->run)
		mails->run = engine->next_run++;
	loop_timer_set(mails->timer, loop_now_us(engine->loop) +
					     conf_of(engine)->connect_timeout_us +
					     PROBE_MAIL_TALK_US + ANSWER_MARGIN_US);
	ask(engine);
}

static void forget_first(struct engine_mails *mails)
{
	mails->first = (mails->first + 1) % ENGINE_MAILS_MAX;
	mails->count--;
	mails->tries = 0;
}

void engine_mail_done(struct engine *engine, bool good, const char *words)
{
	struct engine_mails *mails = &engine->mails;
	uint64_t wait_us;

	mails->run = 0;
	loop_timer_set(mails->timer, LOOP_NEVER_US);
	if (good) {
		log_info("mail sent: %s", first(mails)->subject);
		mails->sent++;
		mails->error[0] = '\0';
		forget_first(mails);
		send_first(engine);
		return;
	}
	if (strcmp(mails->error, words) != 0)
		log_warn("mail cannot be sent: %s", words);
	snprintf(mails->error, sizeof mails->error, "%s", words);
	if (++mails->tries >= TRIES_MAX) {
		log_err("mail given up: %s", first(mails)->subject);
		mails->dropped++;
		forget_first(mails);
	}
	wait_us = RETRY_US << (mails->tries ? mails->tries - 1 : 0);
	loop_timer_set(mails->timer, loop_now_us(engine->loop) +
					     (wait_us < RETRY_US_MAX ? wait_us : RETRY_US_MAX));
}

/* Time to try again; or what was asked for has not been answered. */
static void on_timer(void *ctx)
{
	struct engine *engine = ctx;

	if (engine->mails.run)
		engine_mail_done(engine, false,
				 engine->prober ? "the prober does not answer"
						: "the prober does not run");
	else
		send_first(engine);
}

int engine_mail_init(struct engine *engine)
{
	return loop_timer_new(engine->loop, on_timer, engine, &engine->mails.timer);
}

void engine_mail_connected(struct engine *engine)
{
	if (engine->mails.run)
		ask(engine);
	else
		send_first(engine);
}

static bool is_wanted(const struct conf_mail *mail, enum vrrp_state to)
{
	return mail->to_count &&
	       (to == VRRP_MASTER || to == VRRP_BACKUP || (to == VRRP_FAULT && !mail->no_faults));
}

/* The next mail, with its subject: what `name` is now. */
static struct engine_mail *append(struct engine *engine, const struct conf_snapshot *snapshot,
				  const char *name, enum vrrp_state to)
{
	struct engine_mails *mails = &engine->mails;
	struct engine_mail *mail;
	struct timespec wall;

	if (mails->count == ENGINE_MAILS_MAX) {
		mails->dropped++;
		/* The one that is under way stays, and the latest gives way. */
		if (mails->run)
			mails->count--;
		else
			forget_first(mails);
	}
	mail = &mails->list[(mails->first + mails->count++) % ENGINE_MAILS_MAX];
	clock_gettime(CLOCK_REALTIME, &wall);
	mail->wall_s = (uint64_t)wall.tv_sec;
	snprintf(mail->subject, sizeof mail->subject, "[%s/%s] %s is %s",
		 snapshot->conf->cluster ? snapshot->conf->cluster : "tandem", snapshot->node, name,
		 vrrp_fsm_state_name(to));
	return mail;
}

void engine_mail_transition(struct engine_router *router, const struct vrrp_action *action)
{
	const struct conf_snapshot *snapshot = &router->snapshot->conf;
	const enum vrrp_state to = action->u.transition.to;
	char address[IP_TEXT_MAX];
	struct engine_mail *mail;

	/* Nobody but the engine noticed that there was another one. */
	if (!router->conf->smtp_alert || !is_wanted(&snapshot->conf->mail, to) ||
	    action->u.transition.cause == VRRP_CAUSE_RESUMED)
		return;
	mail = append(router->engine, snapshot, router->conf->name, to);
	snprintf(mail->text, sizeof mail->text,
		 "%s on %s: %s -> %s\nCause: %s\nPriority: %d\nFirst address: %s\n%s%s%s",
		 router->conf->name, snapshot->node, vrrp_fsm_state_name(action->u.transition.from),
		 vrrp_fsm_state_name(to), vrrp_fsm_cause_name(action->u.transition.cause),
		 router->fsm.priority, ip_format(&router->conf->vips[0].prefix.addr, address),
		 *router->trouble ? "Trouble: " : "", router->trouble,
		 *router->trouble ? "\n" : "");
	send_first(router->engine);
}

void engine_mail_group(struct engine *engine, int place, enum vrrp_state from, enum vrrp_state to)
{
	const struct conf_snapshot *snapshot = &engine->snapshot->conf;
	const struct conf_group *group = &snapshot->conf->groups[place];
	struct engine_mail *mail;
	size_t at;

	/* From INIT to MASTER: as above. */
	if (!group->smtp_alert || !is_wanted(&snapshot->conf->mail, to) ||
	    (from == VRRP_INIT && to == VRRP_MASTER))
		return;
	mail = append(engine, snapshot, group->name, to);
	snprintf(mail->text, sizeof mail->text, "Group %s on %s: %s -> %s\nMembers:", group->name,
		 snapshot->node, vrrp_fsm_state_name(from), vrrp_fsm_state_name(to));
	for (int i = 0; i < group->members_count; i++) {
		at = strlen(mail->text);
		snprintf(mail->text + at, sizeof mail->text - at, " %s",
			 snapshot->conf->vrrps[group->members[i]].name);
	}
	at = strlen(mail->text);
	snprintf(mail->text + at, sizeof mail->text - at, "\n");
	send_first(engine);
}
