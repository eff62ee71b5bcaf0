/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a VRRP message (invariant A23): one verdict each, nothing read past the end, and
 * what is usable encodes to a message that decodes to the same values.
 *
 * The first byte draws what is expected; the rest is the message.
 *
 * runs: 200000
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/vrrp_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vrrp_wire_conf draw_conf(uint8_t drawn)
{
	struct vrrp_wire_conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.version = drawn & 1 ? 3 : 2;
	conf.vrid = 51;
	conf.family = conf.version == 3 && (drawn & 2) ? IP_V6 : IP_V4;
	conf.auth_pass = conf.version == 2 && (drawn & 4);
	memcpy(conf.auth_data, conf.auth_pass ? "s3cret12" : "\0\0\0\0\0\0\0", 8);
	conf.advert_int_cs = 100;
	conf.self = 1;
	conf.nodes_count = 2;
	conf.vips_count = 1;
	ip_parse(conf.family == IP_V4 ? "198.51.100.1" : "fe80::1", &conf.nodes[0]);
	ip_parse(conf.family == IP_V4 ? "198.51.100.2" : "fe80::2", &conf.nodes[1]);
	ip_parse(conf.family == IP_V4 ? "198.51.100.100" : "fe80::100", &conf.vips[0]);
	return conf;
}

/* Without this nearly every input would end at the checksum. */
static void seal(uint8_t *message, size_t size)
{
	uint32_t sum = 0;

	if (size < 8)
		return;
	message[6] = message[7] = 0;
	for (size_t i = 0; i < size; i++)
		sum += i % 2 ? message[i] : (uint32_t)message[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	message[6] = (uint8_t)(~sum >> 8);
	message[7] = (uint8_t)~sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *message;

	static struct vrrp_advert advert, again;
	static uint8_t bytes[VRRP_WIRE_BYTES_MAX];
	struct vrrp_wire_conf conf;
	struct vrrp_packet packet;
	enum vrrp_verdict verdict;
	size_t written;

	if (size == 0)
		return 0;
	conf = draw_conf(data[0]);
	message = malloc(
		size > 1 ? size - 1
			 : 1); /* its own, so that a read past the end is one past an allocation */
	if (!message)
		return 0;
	memcpy(message, data + 1, size - 1);
	if (data[0] & 8)
		seal(message, size - 1);
	packet = (struct vrrp_packet){.source = conf.nodes[0],
				      .destination = conf.nodes[1],
				      .ttl = VRRP_TTL,
				      .payload = message,
				      .size = size - 1};
	verdict = vrrp_wire_decode(&conf, &packet, &advert);
	assert((unsigned)verdict < VRRP_VERDICTS);
	assert(vrrp_wire_verdict_name(verdict)[0] && vrrp_wire_verdict_text(verdict)[0]);
	if (!vrrp_wire_usable(verdict)) {
		free(message);
		return 0;
	}
	assert(advert.node == 0 && advert.vrid == conf.vrid && advert.addresses_count > 0);
	assert(vrrp_wire_vrid(packet.payload, packet.size) == conf.vrid);
	written = vrrp_wire_encode_advert(&advert, &packet.source, &packet.destination, bytes,
					  sizeof(bytes));
	assert(written == packet.size);
	free(message);
	packet.payload = bytes;
	assert(vrrp_wire_decode(&conf, &packet, &again) == verdict);
	assert(again.priority == advert.priority && again.advert_int_cs == advert.advert_int_cs);
	assert(again.version == advert.version && again.auth_type == advert.auth_type);
	assert(again.addresses_count == advert.addresses_count);
	assert(!memcmp(again.auth_data, advert.auth_data, VRRP_AUTH_BYTES));
	assert(!memcmp(again.addresses, advert.addresses,
		       (size_t)advert.addresses_count * sizeof(advert.addresses[0])));
	return 0;
}
