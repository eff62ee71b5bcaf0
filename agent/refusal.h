/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refusal: how many adverts of which source were not quite right, and why. Pure.
 *
 * A bounded table for one virtual router. When it is full of sources that were heard lately, what
 * further ones send is counted in one number: a flood of forged sources takes no memory.
 */
#ifndef TANDEM_REFUSAL_H
#define TANDEM_REFUSAL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/vrrp_wire.h"

#define REFUSALS_MAX 32
#define REFUSAL_OLD_US 600000000 /* a place whose source was silent for so long may be taken */

struct refusal {
	enum vrrp_verdict verdict;
	struct ip_addr source;
	int node; /* index into the configuration's nodes, or -1 */
	uint64_t count;
	uint64_t told; /* of count, in the log */
	uint64_t last_us;
};

struct refusals {
	struct refusal list[REFUSALS_MAX];
	int count;
	uint64_t others; /* from sources that found no place */
	uint64_t others_told;
};

/* Returns true if this is the first of its kind. */
bool refusal_note(struct refusals *refusals, enum vrrp_verdict verdict,
		  const struct ip_addr *source, int node, uint64_t now_us);

#endif
