/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An Ethernet frame, as the socket that hears ARP and neighbour advertisements brings it: what is
 * taken names an address of its family, and never the word of this host itself.
 *
 * runs: 200000
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/announce.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

/* Where a packet has the hardware address that it speaks of. */
#define ARP_SENDER_AT 22
#define NA_OPTION_MAC_AT 80

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t own_mac[6] = {0x02, 0, 0x5e, 0, 0x53, 1};
	static int ends[2];
	struct ip_addr addr = {.family = IP_NONE};
	uint8_t mac[6];
	int result;

	if (!ends[1])
		CHECK(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
	CHECK(announce_receive(ends[1], own_mac, &addr, NULL) == -EAGAIN);
	if (size == 0)
		return 0;
	CHECK(send(ends[0], data, size, 0) == (ssize_t)size);
	result = announce_receive(ends[1], own_mac, &addr, mac);
	CHECK(result == 0 || result == -EBADMSG);
	if (result == 0) {
		/* The sender's hardware address stands in the packet, and it is not ours. */
		CHECK(addr.family == IP_V4 || addr.family == IP_V6);
		CHECK(!memcmp(mac, data + (addr.family == IP_V4 ? ARP_SENDER_AT : NA_OPTION_MAC_AT),
			      sizeof mac));
		CHECK(memcmp(mac, own_mac, sizeof mac));
	} else {
		CHECK(addr.family == IP_NONE);
	}
	return 0;
}
