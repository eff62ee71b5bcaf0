/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who else has our addresses. Before an address is taken because nobody is heard, the wire is asked
 * for it, and as long as it is held again and again; and whatever names another hardware address
 * for it meanwhile is heard. What is found out is told and changes nothing: a node that refused to
 * serve beside a host with a stolen address would make the theft complete.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/announce.h"
#include "agent/engine_private.h"
#include "shared/log.h"

/* Three questions within 60 ms (a shorter interval: within it) before the time to take over. */
#define ASKS 3
#define ASK_LEAD_US 60000
/* Then, while it is held. */
#define ASK_AGAIN_US 30000000
/* Two that take over at once, or one after the other, both have the address for a while. */
#define SETTLED_US 1000000
/* Past so many claims within a second the rest of it is not listened to. */
#define CLAIMS_PER_SECOND_MAX 64
#define TELL_AGAIN_US 60000000

/* The ARP or the neighbour advertisements of one interface, as far as they name our addresses. */
struct engine_ear {
	struct engine_ear *next;
	struct engine *engine;
	int ifindex, fd;
	enum ip_family family;
	struct loop_fd *source;
	int heard; /* within this second */
};

static uint64_t now_us(const struct engine_router *router)
{
	return loop_now_us(router->engine->loop);
}

static const struct netmon_link *link_of(const struct engine_router *router,
					 const struct conf_vip *vip)
{
	const char *name = conf_vip_network(router->conf, vip, router->wire.self);

	return name ? netmon_link_by_name(router->engine->netmon, name) : NULL;
}

/* ---- when ---- */

/* Would it take over because nobody is heard? Who takes from somebody knows who has the address. */
static bool finds_nobody(const struct vrrp_fsm *fsm)
{
	return fsm->state == VRRP_BACKUP && !fsm->master_left &&
	       fsm->take_base_us == VRRP_NEVER_US && fsm->preempt_since_us == VRRP_NEVER_US;
}

/* When the questions before the next take-over begin, or NEVER. */
static uint64_t series_us(const struct engine_router *router, uint64_t *ret_lead_us)
{
	const struct vrrp_fsm *fsm = &router->fsm;
	const uint64_t deadline_us = vrrp_fsm_deadline(fsm);
	const uint64_t lead_us =
		fsm->master_int_us < ASK_LEAD_US ? fsm->master_int_us : ASK_LEAD_US;

	*ret_lead_us = lead_us;
	if (!finds_nobody(fsm) || deadline_us == VRRP_NEVER_US)
		return VRRP_NEVER_US;
	return deadline_us > lead_us ? deadline_us - lead_us : 0;
}

/* ---- what is heard ---- */

static const char *mac_text(const uint8_t mac[6], char text[18])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
	return text;
}

/* The entry for the two; a new one takes the place of the oldest. */
static struct engine_rival *rival_of(struct engine_router *router, const struct ip_addr *addr,
				     const uint8_t mac[6])
{
	struct engine_rival *oldest = &router->rivals[0];

	for (int i = 0; i < router->rivals_count; i++) {
		struct engine_rival *rival = &router->rivals[i];

		if (ip_equal(&rival->addr, addr) && !memcmp(rival->mac, mac, sizeof rival->mac))
			return rival;
		if (rival->last_us < oldest->last_us)
			oldest = rival;
	}
	if (router->rivals_count < ENGINE_RIVALS_MAX)
		oldest = &router->rivals[router->rivals_count++];
	*oldest = (struct engine_rival){.addr = *addr};
	memcpy(oldest->mac, mac, sizeof oldest->mac);
	return oldest;
}

static void note(struct engine_router *router, const struct ip_addr *addr, const uint8_t mac[6])
{
	const bool held = router->fsm.state == VRRP_MASTER;
	struct engine_rival *rival = rival_of(router, addr, mac);
	char text[IP_TEXT_MAX], whose[18];

	rival->held = held;
	rival->count++;
	rival->last_us = now_us(router);
	if (rival->told_us && rival->last_us - rival->told_us < TELL_AGAIN_US)
		return;
	rival->told_us = rival->last_us;
	log_warn(
		held ? "%s: %s is in use elsewhere: %s says that it has it"
		     : "%s: nobody is heard, and %s is in use: %s says that it has it; is VRRP (IP "
		       "protocol 112) let through?",
		router->conf->name, ip_format(addr, text), mac_text(mac, whose));
}

/* A backup that hears nobody and has asked; a master that has had the addresses for a while. */
static bool listens(const struct engine_router *router)
{
	uint64_t lead_us;

	if (router->fsm.state == VRRP_MASTER)
		return now_us(router) - router->fsm.since_us >= SETTLED_US;
	return router->asked_us >= series_us(router, &lead_us);
}

static void on_claim(void *ctx, int fd, uint32_t events)
{
	struct engine_ear *ear = ctx;
	struct engine *engine = ear->engine;
	static const uint8_t nobody[6];
	struct ip_addr addr;
	uint8_t mac[6];
	int error;

	(void)events;
	while ((error = announce_receive(fd, nobody, &addr, mac)) == 0 || error == -EBADMSG) {
		if (++ear->heard > CLAIMS_PER_SECOND_MAX) {
			(void)announce_hear(fd, ear->family, false);
			return;
		}
		if (error || netmon_is_own_mac(engine->netmon, mac))
			continue;
		for (struct engine_router *router = engine->routers; router; router = router->next)
			for (int i = 0; i < router->conf->vips_count && listens(router); i++)
				if (ip_equal(&router->conf->vips[i].prefix.addr, &addr))
					note(router, &addr, mac);
	}
}

/* ---- ears ---- */

/* All of the interface, held here or not: so that it changes with the file alone. */
static int fit(struct engine_ear *ear)
{
	struct ip_addr addrs[ANNOUNCE_HEAR_MAX + 1];
	int count = 0;

	for (const struct engine_router *router = ear->engine->routers; router;
	     router = router->next) {
		for (int i = 0; i < router->conf->vips_count && count <= ANNOUNCE_HEAR_MAX; i++) {
			const struct conf_vip *vip = &router->conf->vips[i];
			const struct netmon_link *link = link_of(router, vip);

			if (vip->prefix.addr.family == ear->family && link &&
			    link->ifindex == ear->ifindex)
				addrs[count++] = vip->prefix.addr;
		}
	}
	return announce_hear_of(ear->fd, ear->family, addrs, count);
}

static int ear_on(struct engine *engine, int ifindex, enum ip_family family)
{
	struct engine_ear *ear;
	int error;

	for (ear = engine->ears; ear; ear = ear->next)
		if (ear->ifindex == ifindex && ear->family == family)
			return 0;
	ear = calloc(1, sizeof *ear);
	if (!ear)
		return -ENOMEM;
	ear->engine = engine;
	ear->ifindex = ifindex;
	ear->family = family;
	error = announce_listen(ifindex, family, &ear->fd);
	if (!error) {
		error = loop_fd_add(engine->loop, ear->fd, EPOLLIN, on_claim, ear, &ear->source);
		if (!error)
			error = fit(ear);
		if (error) {
			loop_fd_remove(ear->source);
			close(ear->fd);
		}
	}
	if (error) {
		free(ear);
		return error;
	}
	ear->next = engine->ears;
	engine->ears = ear;
	return 0;
}

void engine_rivals_refit(struct engine *engine)
{
	for (struct engine_ear *ear = engine->ears; ear; ear = ear->next)
		(void)fit(ear);
}

void engine_rivals_second(struct engine *engine)
{
	for (struct engine_ear *ear = engine->ears; ear; ear = ear->next) {
		if (ear->heard > CLAIMS_PER_SECOND_MAX)
			(void)fit(ear);
		ear->heard = 0;
	}
}

void engine_rivals_forget(struct engine *engine, int ifindex)
{
	for (struct engine_ear **link = &engine->ears; *link;) {
		struct engine_ear *ear = *link;

		if (ifindex && ear->ifindex != ifindex) {
			link = &ear->next;
			continue;
		}
		*link = ear->next;
		loop_fd_remove(ear->source);
		close(ear->fd);
		free(ear);
	}
}

/* ---- questions ---- */

uint64_t engine_rivals_due_us(const struct engine_router *router)
{
	uint64_t lead_us, begin_us;

	if (!router->started || router->stopped)
		return VRRP_NEVER_US;
	if (router->fsm.state == VRRP_MASTER)
		return router->asked_us < router->fsm.since_us ? router->fsm.since_us + SETTLED_US
							       : router->asked_us + ASK_AGAIN_US;
	begin_us = series_us(router, &lead_us);
	if (begin_us == VRRP_NEVER_US || router->asked_us < begin_us)
		return begin_us;
	return router->asks < ASKS ? router->asked_us + lead_us / ASKS : VRRP_NEVER_US;
}

static void ask(struct engine_router *router, const struct conf_vip *vip)
{
	struct engine *engine = router->engine;
	const struct netmon_link *link = link_of(router, vip);
	const struct ip_addr *addr = &vip->prefix.addr;
	struct ip_addr source = {0};

	/* Where there is no Ethernet, nobody answers. */
	if (!link || !link->has_mac ||
	    (addr->family == IP_V6 && !netmon_link_local(engine->netmon, link->ifindex, &source)))
		return;
	if (!ear_on(engine, link->ifindex, (enum ip_family)addr->family))
		(void)announce_ask(engine->announce_fd, link->ifindex, link->mac, &source, addr);
}

void engine_rivals_ask(struct engine_router *router)
{
	uint64_t lead_us;

	if (router->asked_us < series_us(router, &lead_us))
		router->asks = 0;
	router->asks++;
	router->asked_us = now_us(router);
	for (int i = 0; i < router->conf->vips_count; i++)
		ask(router, &router->conf->vips[i]);
}

/* ---- status ---- */

json_t *engine_rivals_status(const struct engine_router *router)
{
	json_t *list = json_array();

	for (int i = 0; i < router->rivals_count; i++) {
		const struct engine_rival *rival = &router->rivals[i];
		char text[IP_TEXT_MAX], mac[18];

		json_array_append_new(list,
				      json_pack("{s:s s:s s:b s:I s:I}", "address",
						ip_format(&rival->addr, text), "mac",
						mac_text(rival->mac, mac), "held", rival->held,
						"count", (json_int_t)rival->count, "age_us",
						(json_int_t)(now_us(router) - rival->last_us)));
	}
	return list;
}
