/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine leaves with the runner, which acts on it as root when the engine is dead: what is
 * taken for a record is within its bounds and encodes to the same bytes.
 *
 * runs: 100000
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct agent_record record;
	static uint8_t again[AGENT_RECORD_BYTES_MAX];

	if (!agent_record_decode(data, size, &record))
		return 0;
	CHECK(size <= sizeof again);
	CHECK(memchr(record.name, 0, sizeof record.name));
	CHECK(memchr(record.interface, 0, sizeof record.interface));
	CHECK(record.addresses_count >= 0 && record.addresses_count <= CONF_VIPS_MAX);
	for (int i = 0; i < record.addresses_count; i++) {
		const struct agent_record_address *a = &record.addresses[i];

		CHECK(a->ifindex > 0);
		CHECK(a->prefix.prefix_len <= ip_size(&a->prefix.addr) * 8);
	}
	CHECK(record.wills_count >= 0 && record.wills_count <= CONF_NODES_MAX);
	for (int i = 0; i < record.wills_count; i++)
		CHECK(record.wills[i].size <= sizeof record.wills[i].bytes);
	CHECK(agent_record_encode(&record, again, sizeof again) == size);
	CHECK(!memcmp(again, data, size));
	return 0;
}
