/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent_estate.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/address.h"
#include "agent/agent_claims.h"
#include "agent/engine_msg.h"
#include "agent/netmon.h"
#include "agent/no_accept.h"
#include "agent/route.h"
#include "agent/vmac.h"
#include "agent/vrrp_fsm.h"
#include "agent/vrrp_sock.h"
#include "shared/log.h"

/* A record as it came: unpacked it has room for more wills than there ever are, times hundreds. */
struct entry {
	uint32_t id, socket;
	uint64_t last_advert_us;
	size_t size;
	uint8_t bytes[];
};

struct agent_estate {
	const char *run_dir;
	struct address_port *port;
	struct agent_claims claims; /* as in the file */
	struct agent_claims
		allowed; /* what the snapshots name: an engine can have added no other */
	struct route_port *routes;
	struct vmac_port *vmacs;
	bool equipped;			  /* there may be interfaces of ours */
	struct no_accept_port *no_accept; /* NULL until a snapshot has come */
	struct entry *entries[ENGINE_ROUTERS_MAX];
	int count;
	struct agent_estate_socket sockets[ENGINE_ROUTERS_MAX];
	int sockets_count;
	int send_fds[2]; /* IPv4, IPv6; -1: this host has none of it */
	char handed_over[ENGINE_ROUTERS_MAX][CONF_NAME_BYTES_MAX + 1]; /* outlives the entries */
	int handed_over_count;
};

int agent_estate_new(const char *run_dir, struct agent_estate **ret_estate)
{
	struct agent_estate *estate = calloc(1, sizeof *estate);
	int error;

	if (!estate)
		return -ENOMEM;
	estate->run_dir = run_dir;
	estate->send_fds[0] = estate->send_fds[1] = -1;
	error = address_port_new(&estate->port);
	if (!error)
		error = vrrp_sock_open_sender(IP_V4, &estate->send_fds[0]);
	if (!error && vrrp_sock_open_sender(IP_V6, &estate->send_fds[1]))
		estate->send_fds[1] = -1; /* a host may be without IPv6 */
	if (!error)
		error = route_port_new(&estate->routes);
	if (!error)
		error = vmac_port_new(&estate->vmacs);
	if (!error)
		error = agent_claims_read(&estate->claims, run_dir);
	if (error) {
		agent_estate_free(estate);
		return error;
	}
	*ret_estate = estate;
	return 0;
}

struct agent_estate *agent_estate_free(struct agent_estate *estate)
{
	if (!estate)
		return NULL;
	for (int i = 0; i < estate->count; i++)
		free(estate->entries[i]);
	for (int i = 0; i < estate->sockets_count; i++)
		close(estate->sockets[i].fd);
	for (int i = 0; i < 2; i++)
		if (estate->send_fds[i] >= 0)
			close(estate->send_fds[i]);
	address_port_free(estate->port);
	route_port_free(estate->routes);
	vmac_port_free(estate->vmacs);
	no_accept_port_free(estate->no_accept);
	agent_claims_release(&estate->claims);
	agent_claims_release(&estate->allowed);
	free(estate);
	return NULL;
}

/* The interface on which this node serves router v, or NULL if it takes no part. */
static const char *own_interface(const struct conf *conf, const struct conf_vrrp *v)
{
	return v->priorities[conf->self] ? v->interfaces[conf->self] : NULL;
}

struct look {
	const struct agent_estate *estate; /* what its records name stays */
	const struct agent_claims *claims;
	const struct conf *conf;
	struct agent_claims *present; /* collects, instead of removing */
	bool keeps_protocol;
};

static bool is_recorded(const struct agent_estate *estate, int ifindex,
			const struct ip_prefix *prefix)
{
	for (int i = 0; i < estate->count; i++) {
		const struct agent_record *record = agent_estate_at(estate, i);

		for (int j = 0; j < record->addresses_count; j++)
			if (record->addresses[j].ifindex == ifindex &&
			    record->addresses[j].prefix.prefix_len == prefix->prefix_len &&
			    ip_equal(&record->addresses[j].prefix.addr, &prefix->addr))
				return true;
	}
	return false;
}

static bool is_mine(void *ctx, int ifindex, const struct ip_prefix *prefix, uint8_t protocol)
{
	const struct look *look = ctx;
	char ifname[IF_NAMESIZE];

	if (!if_indextoname((unsigned)ifindex, ifname))
		return false;
	/* With the mark, the mark decides; and the file or the configuration says that it is this
	 * agent's and not that of another cluster on the same host. */
	if (look->keeps_protocol && protocol != ADDRESS_PROTOCOL)
		return false;
	if (is_recorded(look->estate, ifindex, prefix))
		return false;
	if (agent_claims_has(look->claims, ifname, &prefix->addr))
		return true;
	if (!look->keeps_protocol)
		return false;
	for (int i = 0; i < look->conf->vrrps_count; i++) {
		const struct conf_vrrp *v = &look->conf->vrrps[i];

		for (int j = 0; j < v->vips_count; j++) {
			const char *interface =
				conf_vip_interface(v, &v->vips[j], look->conf->self);

			if (interface && !strcmp(interface, ifname) &&
			    ip_equal(&v->vips[j].prefix.addr, &prefix->addr))
				return true;
		}
	}
	return false;
}

/* Those that are not ours do not go: see route.h. */
static void remove_routes(struct agent_estate *estate, const struct conf *conf,
			  const struct conf_vrrp *v)
{
	for (int i = 0; i < v->routes_count; i++) {
		const char *interface = conf_route_interface(v, &v->routes[i], conf->self);
		int error = interface ? route_remove(estate->routes, (int)if_nametoindex(interface),
						     &v->routes[i])
				      : 0;

		if (error && error != -ESRCH && error != -ENODEV)
			log_err("%s: a route on %s cannot be removed: %s", v->name, interface,
				strerror(-error));
	}
}

static bool has_record(const struct agent_estate *estate, const char *name)
{
	for (int i = 0; i < estate->count; i++)
		if (!strcmp(agent_estate_at(estate, i)->name, name))
			return true;
	return false;
}

int agent_estate_sweep(struct agent_estate *estate, const struct conf *conf)
{
	struct look look = {.estate = estate,
			    .claims = &estate->claims,
			    .conf = conf,
			    .keeps_protocol = netmon_keeps_protocol()};

	estate->equipped = true; /* perhaps by an earlier run */
	agent_estate_strip(estate, conf);
	for (int i = 0; i < conf->vrrps_count; i++)
		if (!has_record(estate, conf->vrrps[i].name))
			remove_routes(estate, conf, &conf->vrrps[i]);
	return address_sweep(estate->port, is_mine, &look);
}

/* Only looks: never says yes, so that nothing is removed. */
static bool note_present(void *ctx, int ifindex, const struct ip_prefix *prefix, uint8_t protocol)
{
	struct look *look = ctx;
	char ifname[IF_NAMESIZE];

	if ((!look->keeps_protocol || protocol != ADDRESS_PROTOCOL) &&
	    if_indextoname((unsigned)ifindex, ifname) &&
	    agent_claims_add(look->present, ifname, &prefix->addr))
		log_warn("too many addresses on this host to remember them all");
	return false;
}

int agent_estate_claim(struct agent_estate *estate, const struct conf *conf, bool keep_old)
{
	struct agent_claims present = {0}, claims = {0}, allowed = {0};
	const struct agent_claims *old = &estate->claims;
	struct look look = {.present = &present, .keeps_protocol = netmon_keeps_protocol()};
	int error = address_sweep(estate->port, note_present, &look);

	if (error > 0)
		error = 0;
	for (int i = 0; keep_old && i < old->count && !error; i++)
		error = agent_claims_add(&claims, old->items[i].ifname, &old->items[i].addr);
	for (int i = 0; keep_old && i < estate->allowed.count && !error; i++)
		error = agent_claims_add(&allowed, estate->allowed.items[i].ifname,
					 &estate->allowed.items[i].addr);
	for (int i = 0; i < conf->vrrps_count; i++) {
		const struct conf_vrrp *v = &conf->vrrps[i];

		for (int j = 0; j < v->vips_count && !error; j++) {
			const char *interface = conf_vip_interface(v, &v->vips[j], conf->self);

			if (!interface)
				continue;
			error = agent_claims_add(&allowed, interface, &v->vips[j].prefix.addr);
			/* Somebody else's already, and not ours from before: where the kernel
			 * keeps no mark, a later start could not tell it from ours. */
			if (!look.keeps_protocol &&
			    agent_claims_has(&present, interface, &v->vips[j].prefix.addr) &&
			    !agent_claims_has(old, interface, &v->vips[j].prefix.addr))
				continue;
			if (!error)
				error = agent_claims_add(&claims, interface,
							 &v->vips[j].prefix.addr);
		}
	}
	if (!error)
		error = agent_claims_write(&claims, estate->run_dir);
	agent_claims_release(&present);
	if (error) { /* the old claims stand */
		agent_claims_release(&claims);
		agent_claims_release(&allowed);
		return error;
	}
	agent_claims_release(&estate->claims);
	agent_claims_release(&estate->allowed);
	estate->claims = claims;
	estate->allowed = allowed;
	return 0;
}

/* -1: there is none. */
static int find(const struct agent_estate *estate, uint32_t id)
{
	for (int i = 0; i < estate->count; i++)
		if (estate->entries[i]->id == id)
			return i;
	return -1;
}

static void drop(struct agent_estate *estate, int at)
{
	free(estate->entries[at]);
	estate->entries[at] = estate->entries[--estate->count];
}

/* In the place of the one before, if there is one. */
static int keep(struct agent_estate *estate, const struct agent_record *record,
		const uint8_t *bytes, size_t size)
{
	int at = find(estate, record->id);
	struct entry *entry;

	if (at < 0 && estate->count == ENGINE_ROUTERS_MAX)
		return -ENOSPC;
	entry = malloc(sizeof *entry + size);
	if (!entry)
		return -ENOMEM;
	entry->id = record->id;
	entry->socket = record->socket;
	entry->last_advert_us = record->last_advert_us;
	entry->size = size;
	memcpy(entry->bytes, bytes, size);
	if (at < 0)
		at = estate->count++;
	else
		free(estate->entries[at]);
	estate->entries[at] = entry;
	return 0;
}

static void note_handed_over(struct agent_estate *estate, const char *name, bool so)
{
	int at = 0;

	while (at < estate->handed_over_count && strcmp(estate->handed_over[at], name) != 0)
		at++;
	if (so == (at < estate->handed_over_count))
		return;
	if (so && at < ENGINE_ROUTERS_MAX)
		strcpy(estate->handed_over[estate->handed_over_count++], name);
	else if (!so)
		memmove(estate->handed_over[at], estate->handed_over[--estate->handed_over_count],
			sizeof estate->handed_over[at]);
}

int agent_estate_record(struct agent_estate *estate, const uint8_t *bytes, size_t size)
{
	static struct agent_record record;
	int error;

	if (!agent_record_decode(bytes, size, &record))
		return -EPROTO;
	/* The engine may be in a stranger's hands: only what it may add can be taken off. */
	for (int i = 0; i < record.addresses_count; i++) {
		const struct ip_addr *addr = &record.addresses[i].prefix.addr;
		char ifname[IF_NAMESIZE];

		if (!if_indextoname((unsigned)record.addresses[i].ifindex, ifname))
			continue; /* it went with its interface */
		if (!agent_claims_has(&estate->allowed, ifname, addr))
			return -EPROTO;
		if (agent_claims_has(&estate->claims, ifname, addr))
			continue;
		/* It was somebody else's when the file was written, and is ours by now. */
		if (agent_claims_add(&estate->claims, ifname, addr) ||
		    agent_claims_write(&estate->claims, estate->run_dir))
			log_err("%s/%s cannot be written: after a crash %s may stay where it is",
				estate->run_dir, AGENT_CLAIMS_FILE, ifname);
	}
	error = keep(estate, &record, bytes, size);
	if (error)
		return error;
	note_handed_over(estate, record.name, record.handed_over);
	return 0;
}

void agent_estate_forget(struct agent_estate *estate, uint32_t id)
{
	int at = find(estate, id);

	if (at < 0)
		return;
	note_handed_over(estate, agent_estate_at(estate, at)->name, false);
	drop(estate, at);
}

bool agent_estate_equip_one(struct agent_estate *estate, const struct conf *conf, int place,
			    char *ret_words, size_t room)
{
	const struct conf_vrrp *v = &conf->vrrps[place];
	struct vmac vmac = {.name = v->vmac,
			    .parent = own_interface(conf, v),
			    .owner = estate->run_dir,
			    .router = v->name};
	int error;

	if (!*v->vmac || !vmac.parent)
		return true;
	conf_vmac_mac(v, vmac.mac);
	error = vmac_make(estate->vmacs, &vmac);
	estate->equipped = true;
	if (error == -ENODEV)
		snprintf(ret_words, room, "there is no interface %s", vmac.parent);
	else if (error == -EEXIST)
		snprintf(ret_words, room, "an interface of that name is there, and not ours");
	else if (error == -EBUSY)
		snprintf(ret_words, room,
			 "another interface on %s has its hardware address: does another VRRP "
			 "daemon run?",
			 vmac.parent);
	else if (error)
		snprintf(ret_words, room, "%s", strerror(-error));
	return !error;
}

/* Who owns an address (priority 255) serves it in any case. */
static void shut(struct agent_estate *estate, const struct conf *conf)
{
	struct ip_addr *addrs =
		calloc((size_t)conf->vrrps_count * CONF_VIPS_MAX + 1, sizeof *addrs);
	int count = 0, error = addrs ? 0 : -ENOMEM;

	if (!error && !estate->no_accept)
		error = no_accept_port_new(conf->cluster, &estate->no_accept);
	for (int i = 0; i < conf->vrrps_count && !error; i++) {
		const struct conf_vrrp *v = &conf->vrrps[i];
		const int priority = v->priorities[conf->self];

		for (int j = 0; j < v->vips_count && !v->accept && priority && priority < 255; j++)
			addrs[count++] = v->vips[j].prefix.addr;
	}
	if (!error)
		error = no_accept_set(estate->no_accept, addrs, count);
	if (error)
		log_err("packets for addresses that are only held cannot be dropped: %s",
			strerror(-error));
	free(addrs);
}

void agent_estate_equip(struct agent_estate *estate, const struct conf *conf)
{
	shut(estate, conf);
	for (int i = 0; i < conf->vrrps_count; i++) {
		char words[128];

		/* The engine asks again, when it finds it missing. */
		if (!agent_estate_equip_one(estate, conf, i, words, sizeof words))
			log_warn("%s: its interface %s cannot be made: %s", conf->vrrps[i].name,
				 conf->vrrps[i].vmac, words);
	}
}

static bool stays(void *ctx, const char *name)
{
	const struct look *look = ctx;

	for (int i = 0; i < look->conf->vrrps_count; i++)
		if (own_interface(look->conf, &look->conf->vrrps[i]) &&
		    !strcmp(look->conf->vrrps[i].vmac, name))
			return true;
	for (int i = 0; i < look->estate->count; i++)
		if (!strcmp(agent_estate_at(look->estate, i)->vmac, name))
			return true;
	return false;
}

int agent_estate_strip(struct agent_estate *estate, const struct conf *conf)
{
	struct look look = {.estate = estate, .conf = conf};
	int removed;

	if (!estate->equipped)
		return 0;
	removed = vmac_sweep(estate->vmacs, estate->run_dir, conf ? stays : NULL, &look);
	if (removed < 0)
		log_err("interfaces of ours cannot be looked for: %s", strerror(-removed));
	return removed;
}

static struct agent_estate_socket *find_socket(struct agent_estate *estate, uint32_t id)
{
	for (int i = 0; i < estate->sockets_count; i++)
		if (estate->sockets[i].id == id)
			return &estate->sockets[i];
	return NULL;
}

void agent_estate_socket(struct agent_estate *estate, uint32_t id, int fd)
{
	agent_estate_socket_gone(estate, id);
	if (estate->sockets_count == ENGINE_ROUTERS_MAX) {
		close(fd);
		return;
	}
	estate->sockets[estate->sockets_count++] = (struct agent_estate_socket){.id = id, .fd = fd};
}

void agent_estate_socket_gone(struct agent_estate *estate, uint32_t id)
{
	struct agent_estate_socket *socket = find_socket(estate, id);

	if (!socket)
		return;
	close(socket->fd);
	*socket = estate->sockets[--estate->sockets_count];
}

void agent_estate_trim(struct agent_estate *estate)
{
	for (int i = estate->sockets_count - 1; i >= 0; i--) {
		bool named = false;

		for (int j = 0; j < estate->count; j++)
			named = named || estate->entries[j]->socket == estate->sockets[i].id;
		if (!named)
			agent_estate_socket_gone(estate, estate->sockets[i].id);
	}
}

const struct agent_estate_socket *agent_estate_socket_at(const struct agent_estate *estate, int at)
{
	return at < estate->sockets_count ? &estate->sockets[at] : NULL;
}

void agent_estate_advert(struct agent_estate *estate, uint32_t id, uint64_t last_advert_us)
{
	int at = find(estate, id);

	if (at >= 0)
		estate->entries[at]->last_advert_us = last_advert_us;
}

const char *agent_estate_handed_over(const struct agent_estate *estate, int at)
{
	return at < estate->handed_over_count ? estate->handed_over[at] : NULL;
}

int agent_estate_count(const struct agent_estate *estate)
{
	return estate->count;
}

const struct agent_record *agent_estate_at(const struct agent_estate *estate, int at)
{
	static struct agent_record record;
	const struct entry *entry = estate->entries[at];
	bool good = agent_record_decode(entry->bytes, entry->size, &record);

	assert(good); /* it was when it came */
	record.last_advert_us = entry->last_advert_us;
	return &record;
}

void agent_estate_execute(struct agent_estate *estate, int at)
{
	const struct agent_record *record = agent_estate_at(estate, at);
	const int fd = estate->send_fds[record->source.family == IP_V6];
	int removed = 0, sent = 0;

	/* The addresses go first: whoever hears the will may take them at once. */
	for (int i = 0; i < record->addresses_count; i++) {
		const struct agent_record_address *address = &record->addresses[i];
		char text[IP_TEXT_MAX];
		int error = address_remove(estate->port, address->ifindex, &address->prefix);

		if (!error)
			removed++;
		else if (error != -EADDRNOTAVAIL && error != -ENODEV)
			log_err("%s: %s cannot be removed: %s", record->name,
				ip_format(&address->prefix.addr, text), strerror(-error));
	}
	for (int i = 0; i < record->wills_count; i++) {
		const struct agent_record_will *will = &record->wills[i];
		int error = vrrp_sock_send(fd, record->ifindex, &record->source, &will->destination,
					   will->bytes, will->size);

		if (!error)
			sent++;
		else
			log_warn("%s: the last will cannot be sent: %s", record->name,
				 strerror(-error));
	}
	if (removed || sent)
		log_warn("%s: the engine is gone: %d addresses removed, %d last wills sent",
			 record->name, removed, sent);
	drop(estate, at);
}
