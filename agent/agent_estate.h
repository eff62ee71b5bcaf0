/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_estate: what an engine leaves behind, kept by the runner.
 *
 * Three things: the records and sockets of its virtual routers, while it lives; the last wills,
 * that are carried out when it dies; and a file "addresses" in the run directory, with every
 * address that we may add, written before an engine may add it. From that file, and from the
 * kernel's mark (see address.h), a start after a crash knows which addresses are ours, and no
 * address of anybody else is ever touched: one that was there before is not in the file, and does
 * not carry the mark. Interfaces of ours carry a mark of their own (see vmac.h).
 *
 *   agent_estate_new(), agent_estate_sweep() once, agent_estate_claim() for each snapshot before an
 *   engine sees it; then the engine's messages as they come.
 */
#ifndef TANDEM_AGENT_ESTATE_H
#define TANDEM_AGENT_ESTATE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/agent_record.h"
#include "shared/conf.h"

struct agent_estate;

struct agent_estate_socket {
	uint32_t id;
	int fd;
};

/* run_dir is borrowed for ever. Reads the file of an earlier run; a wrong one is logged and taken
 * as empty. */
int agent_estate_new(const char *run_dir, struct agent_estate **ret_estate);
struct agent_estate *agent_estate_free(struct agent_estate *estate);

/* Takes off every address of ours that no record names (an engine may die between adding one and
 * saying so); only when no engine runs. Returns how many, or -errno. */
int agent_estate_sweep(struct agent_estate *estate, const struct conf *conf);
/* Says durably that an engine may add the addresses of conf. keep_old: those of the snapshots
 * before it may still be there as well. */
int agent_estate_claim(struct agent_estate *estate, const struct conf *conf, bool keep_old);

/* Makes the interfaces of their own that routers of conf have, and drops what comes for addresses
 * that are not to be served, before an engine sees it. */
void agent_estate_equip(struct agent_estate *estate, const struct conf *conf);
/* That of one router. False: ret_words say why not. */
bool agent_estate_equip_one(struct agent_estate *estate, const struct conf *conf, int place,
			    char *ret_words, size_t room);
/* Takes those away that neither conf nor a record names; conf NULL: all of them. Returns how many,
 * or a negative errno. */
int agent_estate_strip(struct agent_estate *estate, const struct conf *conf);

/* From the engine. -EPROTO: not a record; -ENOSPC: more routers than can be; -ENOMEM. */
int agent_estate_record(struct agent_estate *estate, const uint8_t *bytes, size_t size);
/* The router has come to its end: nothing of it is left to do. */
void agent_estate_forget(struct agent_estate *estate, uint32_t id);
/* A socket that hears adverts, for as many routers as name it in their records. Takes fd over. */
void agent_estate_socket(struct agent_estate *estate, uint32_t id, int fd);
void agent_estate_socket_gone(struct agent_estate *estate, uint32_t id);
/* When it sent its last advert, monotonic. */
void agent_estate_advert(struct agent_estate *estate, uint32_t id, uint64_t last_advert_us);

/* Can a new engine with conf go on as Master where this one stopped? Its last advert must be
 * younger than two intervals, and conf must name the same router. */
bool agent_estate_can_resume(const struct agent_record *record, const struct conf *conf,
			     uint64_t now_us);
/* The routers that somebody handed over, by name: they are not taken back, whoever runs the engine.
 * NULL: there are no more of them. */
const char *agent_estate_handed_over(const struct agent_estate *estate, int at);
/* Closes the sockets that no record names. */
void agent_estate_trim(struct agent_estate *estate);
/* NULL: there are no more. */
const struct agent_estate_socket *agent_estate_socket_at(const struct agent_estate *estate, int at);
int agent_estate_count(const struct agent_estate *estate);
/* Large: borrowed until the next call. */
const struct agent_record *agent_estate_at(const struct agent_estate *estate, int at);
/* Takes the addresses off, sends the last wills, and forgets the router: the entry that was the
 * last one is now at this place. */
void agent_estate_execute(struct agent_estate *estate, int at);

#endif
