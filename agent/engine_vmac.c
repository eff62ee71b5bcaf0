/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interface of a router's own, with its virtual hardware address. The runner makes it before
 * the engine sees the configuration; here it is only looked for, and asked for again where it is
 * missing because the one below it came late or somebody has removed it.
 */
#include <stdio.h>
#include <string.h>

#include "agent/engine_private.h"
#include "shared/log.h"

/* Between two times that the runner is asked. */
#define ASK_AGAIN_US 3000000

static void ask(struct engine_router *router)
{
	const uint64_t now_us = loop_now_us(router->engine->loop);
	uint8_t bytes[16];
	struct wire_writer w;

	if (router->vmac_asked_us && now_us - router->vmac_asked_us < ASK_AGAIN_US)
		return;
	router->vmac_asked_us = now_us;
	wire_writer_init(&w, bytes, sizeof bytes);
	wire_put_u32(&w, router->id);
	wire_put_u32(&w, router->snapshot->conf.number);
	wire_put_u16(&w, (uint16_t)router->place);
	engine_tell(router->engine, ENGINE_MSG_VMAC, &w, -1);
}

bool engine_vmac_look(struct engine_router *router)
{
	const struct netmon_link *link;
	uint8_t mac[6];

	if (!*router->conf->vmac)
		return true;
	conf_vmac_mac(router->conf, mac);
	link = netmon_link_by_name(router->engine->netmon, router->conf->vmac);
	router->vmac_ifindex = 0;
	if (link && link->up && link->has_mac && !memcmp(link->mac, mac, sizeof mac)) {
		router->vmac_ifindex = link->ifindex;
		router->vmac_trouble[0] = '\0';
		return true;
	}
	ask(router);
	return false;
}

void engine_vmac_second(struct engine_router *router)
{
	/* Asks again; what comes of it is seen as news of an interface. */
	if (router->started && !router->stopped && router->ifindex && !router->vmac_ifindex)
		(void)engine_vmac_look(router);
}

bool engine_vmac_done(struct engine *engine, struct wire_reader *in)
{
	const uint32_t id = wire_get_u32(in);
	char words[sizeof engine->routers->vmac_trouble];

	wire_get_string_into(in, words, sizeof words);
	if (!wire_reader_done(in))
		return false;
	for (struct engine_router *router = engine->routers; router; router = router->next) {
		if (router->id != id)
			continue;
		snprintf(router->vmac_trouble, sizeof router->vmac_trouble, "%s", words);
		engine->look_due = true;
		engine_soon(engine);
	}
	return true;
}

/* While it holds the addresses; before and after, what is sent must not tell the switch that the
 * virtual hardware address lives here. */
int engine_vmac_leaves_by(const struct engine_router *router)
{
	return *router->conf->vmac && !router->conf->vmac_xmit_base && router->vmac_ifindex &&
			       vrrp_fsm_holds(&router->fsm)
		       ? router->vmac_ifindex
		       : router->ifindex;
}
