/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "agent/announce.h"
#include "agent/engine_private.h"
#include "shared/log.h"

const struct ip_addr *engine_node_source(const struct agent_snapshot *snapshot,
					 const struct conf_vrrp *conf, int node)
{
	if (conf->sources[node].family != IP_NONE)
		return &conf->sources[node];
	return &snapshot->conf.conf->nodes[node].address;
}

const char *engine_node_name(const struct engine_router *router, int node, char room[IP_TEXT_MAX])
{
	const struct conf *conf = router->snapshot->conf.conf;

	return node < conf->nodes_count ? conf->nodes[node].name
					: ip_format(&router->wire.nodes[node], room);
}

int engine_packets_init(struct engine *engine)
{
	int error = vrrp_sock_open_sender(IP_V4, &engine->send_fds[0]);

	if (!error)
		error = vrrp_sock_open_sender(IP_V6, &engine->send_fds[1]);
	/* A host may be without IPv6. */
	return error == -EAFNOSUPPORT && engine->send_fds[0] >= 0 ? 0 : error;
}

/* A peer sends to the hardware address that it knows: of the node that was here before this one, or
 * none, while its kernel waits a second between two questions. Until it learns better, its adverts
 * go nowhere, and this node would take it for dead. */
void engine_packets_greet(struct engine_router *router)
{
	const struct netmon *netmon = router->engine->netmon;
	const struct netmon_address *source;
	const struct netmon_link *link;

	if (!router->greetings || router->conf->multicast || !router->socket)
		return;
	router->greetings--;
	source = netmon_address_find(netmon, 0, &router->wire.nodes[router->wire.self]);
	link = source ? netmon_link_by_index(netmon, source->ifindex) : NULL;
	if (link && link->has_mac &&
	    announce_send(router->engine->announce_fd, link->ifindex, link->mac,
			  &source->prefix.addr))
		router->greetings++; /* once more, then */
}

static void note(struct engine_router *router, enum vrrp_verdict verdict,
		 const struct ip_addr *source, int node)
{
	char text[IP_TEXT_MAX];

	/* The first of its kind at once, then counts per interval. */
	if (refusal_note(&router->refusals, verdict, source, node,
			 loop_now_us(router->engine->loop)))
		log_warn("%s: an advert from %s is %s (%s): %s", router->conf->name,
			 ip_format(source, text),
			 vrrp_wire_grade(verdict) == VRRP_GRADE_REFUSED ? "refused" : "odd",
			 vrrp_wire_verdict_name(verdict), vrrp_wire_verdict_text(verdict));
}

void engine_packets_judge(struct engine_router *router, const struct vrrp_sock_packet *packet,
			  uint64_t arrival)
{
	static struct vrrp_advert advert; /* large; one thread */
	const struct vrrp_packet in = {
		.source = packet->source,
		.destination = packet->destination,
		.ttl = packet->ttl,
		.payload = packet->payload,
		.size = packet->size,
	};
	enum vrrp_verdict verdict;
	struct vrrp_event ev = {.type = VRRP_EV_ADVERT};

	verdict = vrrp_wire_decode(&router->wire, &in, &advert);
	if (vrrp_wire_grade(verdict) == VRRP_GRADE_NOT_OURS)
		return;
	if (verdict != VRRP_OK)
		note(router, verdict, &packet->source, advert.node);
	if (!vrrp_wire_usable(verdict) || !router->started)
		return;
	if (advert.version == 3)
		router->habits[advert.node] = router->habit = advert.checksum;
	ev.now_us = loop_now_us(router->engine->loop);
	ev.u.advert.arrival_us = arrival;
	ev.u.advert.node = advert.node;
	ev.u.advert.priority = advert.priority;
	ev.u.advert.advert_int_us = (uint64_t)advert.advert_int_cs * 10000;
	ev.u.advert.verdict = verdict;
	engine_router_step(router, &ev);
}

static size_t encode(const struct engine_router *router, uint8_t priority, int node,
		     const struct ip_addr *destination, uint8_t *data, size_t room)
{
	enum vrrp_checksum checksum = node < 0 ? router->habit : router->habits[node];

	return vrrp_wire_encode(&router->wire, priority, checksum, destination, data, room);
}

/* 0: as the host routes. A link-local address means something on its link alone. */
static int leaves_by(const struct engine_router *router)
{
	if (router->conf->multicast)
		return engine_vmac_leaves_by(router);
	return ip_is_link_local(&router->wire.nodes[router->wire.self]) ? router->ifindex : 0;
}

/* The next destination after *at (start with -1), or NULL. *at is the node, or -1 for the group. */
static const struct ip_addr *next_destination(const struct engine_router *router, int *at,
					      bool *done)
{
	if (router->conf->multicast) {
		if (*done)
			return NULL;
		*done = true;
		*at = -1;
		return &router->conf->mcast_group;
	}
	for (int node = *at + 1; node < router->wire.nodes_count; node++) {
		if (node == router->wire.self || router->wire.nodes[node].family == IP_NONE)
			continue;
		*at = node;
		return &router->wire.nodes[node];
	}
	return NULL;
}

void engine_packets_send(struct engine_router *router, uint8_t priority)
{
	static uint8_t data[VRRP_WIRE_BYTES_MAX];
	const int fd = router->engine->send_fds[router->wire.family == IP_V6];
	const struct ip_addr *destination;
	int at = -1, sent = 0, failed = 0, error = 0;
	bool done = false;

	while ((destination = next_destination(router, &at, &done))) {
		size_t size = encode(router, priority, at, destination, data, sizeof data);

		error = !router->socket ? -ENETDOWN : size ? 0 : -EMSGSIZE;
		if (!error)
			error = vrrp_sock_send(fd, leaves_by(router),
					       &router->wire.nodes[router->wire.self], destination,
					       data, size);
		if (error) {
			failed++;
			router->send_errno = -error;
		} else {
			sent++;
		}
	}
	if (failed && !sent)
		router->send_failed = true;
}

void engine_packets_wills(const struct engine_router *router, struct agent_record *record)
{
	const struct ip_addr *destination;
	int at = -1;
	bool done = false;

	record->source = router->wire.nodes[router->wire.self];
	record->ifindex = leaves_by(router);
	record->wills_count = 0;
	while ((destination = next_destination(router, &at, &done)) &&
	       record->wills_count < CONF_NODES_MAX) {
		struct agent_record_will *will = &record->wills[record->wills_count];

		will->destination = *destination;
		will->size = (uint16_t)encode(router, VRRP_PRIORITY_LEAVE, at, destination,
					      will->bytes, sizeof will->bytes);
		if (will->size)
			record->wills_count++;
	}
}

void engine_packets_report(struct engine_router *router)
{
	struct refusals *refusals = &router->refusals;

	for (int i = 0; i < refusals->count; i++) {
		struct refusal *refusal = &refusals->list[i];
		char text[IP_TEXT_MAX];

		/* The first one was logged when it came. */
		if (!refusal->told)
			refusal->told = 1;
		if (refusal->count > refusal->told)
			log_warn("%s: %llu more adverts from %s: %s", router->conf->name,
				 (unsigned long long)(refusal->count - refusal->told),
				 ip_format(&refusal->source, text),
				 vrrp_wire_verdict_name(refusal->verdict));
		refusal->told = refusal->count;
	}
	if (refusals->others > refusals->others_told)
		log_warn("%s: %llu adverts refused from further sources", router->conf->name,
			 (unsigned long long)(refusals->others - refusals->others_told));
	refusals->others_told = refusals->others;
}
