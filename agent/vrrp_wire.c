/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/vrrp_wire.h"

#include <assert.h>
#include <string.h>

#include "shared/wire.h"

#define HEADER_BYTES 8
#define TYPE_ADVERTISEMENT 1
#define CHECKSUM_AT 6
#define AUTH_NONE 0
#define AUTH_PASS 1

/* RFC 1071: the sum of 16-bit words. Of an odd size there is nothing: addresses and the header are
 * even, and a message of another length than its count says is refused before. */
static uint32_t sum_words(uint32_t sum, const uint8_t *data, size_t size)
{
	assert(size % 2 == 0);
	for (size_t i = 0; i < size; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* RFC 9568 section 5.2.8: addresses, the message's length, the protocol's number. The layouts of
 * IPv4 and IPv6 differ, their sums do not. */
static uint32_t sum_pseudo_header(const struct ip_addr *source, const struct ip_addr *destination,
				  size_t size)
{
	uint32_t sum = VRRP_PROTOCOL + (uint32_t)size;

	sum = sum_words(sum, source->bytes, ip_size(source));
	return sum_words(sum, destination->bytes, ip_size(destination));
}

uint8_t vrrp_wire_vrid(const uint8_t *payload, size_t size)
{
	return size < HEADER_BYTES ? 0 : payload[1];
}

static int find_node(const struct vrrp_wire_conf *conf, const struct ip_addr *source)
{
	for (int i = 0; i < conf->nodes_count; i++)
		if (conf->nodes[i].family != IP_NONE && ip_equal(&conf->nodes[i], source))
			return i;
	return -1;
}

static bool names(const struct ip_addr *list, int count, const struct ip_addr *addr)
{
	for (int i = 0; i < count; i++)
		if (ip_equal(&list[i], addr))
			return true;
	return false;
}

static bool any_common_address(const struct vrrp_wire_conf *conf, const struct vrrp_advert *advert)
{
	for (int i = 0; i < conf->vips_count; i++)
		if (names(advert->addresses, advert->addresses_count, &conf->vips[i]))
			return true;
	return false;
}

/* As sets: keepalived compares them so too, and the order means nothing. */
static bool same_addresses(const struct vrrp_wire_conf *conf, const struct vrrp_advert *advert)
{
	for (int i = 0; i < conf->vips_count; i++)
		if (!names(advert->addresses, advert->addresses_count, &conf->vips[i]))
			return false;
	for (int i = 0; i < advert->addresses_count; i++)
		if (!names(conf->vips, conf->vips_count, &advert->addresses[i]))
			return false;
	return true;
}

static bool checksum_holds(const struct vrrp_packet *packet, struct vrrp_advert *advert)
{
	const uint32_t sum = sum_words(0, packet->payload, packet->size);
	const uint32_t pseudo =
		sum_pseudo_header(&packet->source, &packet->destination, packet->size);

	/* The sum over a message that carries its own checksum is all ones. */
	if (advert->version == 3 && fold(sum + pseudo) == 0xffff) {
		advert->checksum = VRRP_CHECKSUM_PSEUDO;
		return true;
	}
	if (advert->version == 3 && packet->source.family == IP_V6)
		return false;
	advert->checksum = VRRP_CHECKSUM_PLAIN;
	return fold(sum) == 0xffff;
}

/* What the sender got wrong in its file, most telling first. strange: it has no address in common
 * with us, so that it may just as well be another router that took our VRID. */
static enum vrrp_verdict judge_parameters(const struct vrrp_wire_conf *conf,
					  const struct vrrp_advert *advert)
{
	const bool strange = !any_common_address(conf, advert);

	if (advert->version != conf->version)
		return strange ? VRRP_STRANGE_VERSION : VRRP_OTHER_VERSION;
	if (conf->version == 2) {
		const uint8_t auth_type = conf->auth_pass ? AUTH_PASS : AUTH_NONE;

		if (advert->auth_type > AUTH_PASS)
			return VRRP_BAD_AUTH_TYPE;
		if (advert->auth_type != auth_type)
			return strange ? VRRP_STRANGE_AUTH_TYPE : VRRP_OTHER_AUTH_TYPE;
		if (conf->auth_pass &&
		    memcmp(advert->auth_data, conf->auth_data, VRRP_AUTH_BYTES) != 0)
			return strange ? VRRP_STRANGE_PASSWORD : VRRP_OTHER_PASSWORD;
		if (advert->advert_int_cs != conf->advert_int_cs)
			return strange ? VRRP_STRANGE_INTERVAL : VRRP_OTHER_INTERVAL;
	}
	/* All else is right, so it is this router, be the list as it may: while a reload has
	 * reached one node only, refusing it would make two masters. */
	return same_addresses(conf, advert) ? VRRP_OK : VRRP_OTHER_ADDRESSES;
}

/* RFC 9568 section 7.1 wants 255; a keepalived's unicast, or a router on the way, may have less. */
static bool ttl_fits(const struct vrrp_wire_conf *conf, int node, int ttl)
{
	const struct vrrp_ttl limits = node >= 0 ? conf->ttls[node] : (struct vrrp_ttl){0};

	return ttl >= (limits.min ? limits.min : conf->ttl_min) &&
	       (!limits.max || ttl <= limits.max);
}

enum vrrp_verdict vrrp_wire_decode(const struct vrrp_wire_conf *conf,
				   const struct vrrp_packet *packet, struct vrrp_advert *ret_advert)
{
	struct vrrp_advert *advert = ret_advert;
	struct wire_reader r;
	size_t size;
	uint8_t first;
	int count;

	/* Not the addresses: they are 4 KiB and counted. */
	memset(advert, 0, offsetof(struct vrrp_advert, addresses));
	advert->node = find_node(conf, &packet->source);
	advert->family = packet->source.family;
	wire_reader_init(&r, packet->payload, packet->size);
	first = wire_get_u8(&r);
	advert->version = first >> 4;
	advert->vrid = wire_get_u8(&r);
	advert->priority = wire_get_u8(&r);
	count = wire_get_u8(&r);
	if (packet->size < HEADER_BYTES)
		return VRRP_TOO_SHORT;
	/* RFC 9568 section 7.1, in an order that answers "is it ours?" as early as can be. */
	if (advert->vrid != 0 && advert->vrid != conf->vrid)
		return VRRP_OTHER_VRID;
	if (packet->source.family != conf->family || packet->destination.family != conf->family)
		return VRRP_OTHER_FAMILY;
	if (advert->node == conf->self)
		return VRRP_OWN_PACKET;
	if (advert->version != 2 && advert->version != 3)
		return VRRP_BAD_VERSION;
	if ((first & 0x0f) != TYPE_ADVERTISEMENT)
		return VRRP_BAD_TYPE;
	if (advert->vrid == 0)
		return VRRP_BAD_VRID;
	if (!ttl_fits(conf, advert->node, packet->ttl))
		return VRRP_BAD_TTL;
	if (count == 0)
		return VRRP_NO_ADDRESSES;
	size = HEADER_BYTES + (size_t)count * ip_size(&packet->source);
	if (advert->version == 2)
		size += VRRP_AUTH_BYTES; /* there whatever the type is, RFC 3768 section 5.3.10 */
	/* VRRPv2 knows no IPv6. */
	if (packet->size != size || (advert->version == 2 && conf->family != IP_V4))
		return VRRP_BAD_LENGTH;
	if (!checksum_holds(packet, advert))
		return VRRP_BAD_CHECKSUM;

	if (advert->version == 2) {
		advert->auth_type = wire_get_u8(&r);
		advert->advert_int_cs = wire_get_u8(&r) * 100u;
	} else {
		advert->advert_int_cs = wire_get_u16(&r) & 0x0fff; /* four bits are reserved */
	}
	(void)wire_get_u16(&r); /* the checksum */
	for (int i = 0; i < count; i++) {
		struct ip_addr *addr = &advert->addresses[i];

		memset(addr, 0, sizeof(*addr));
		addr->family = conf->family;
		wire_get_bytes(&r, addr->bytes, ip_size(addr));
	}
	advert->addresses_count = count;
	if (advert->version == 2)
		wire_get_bytes(&r, advert->auth_data, VRRP_AUTH_BYTES);
	assert(wire_reader_done(&r));

	if (advert->node < 0)
		return VRRP_UNKNOWN_SOURCE;
	if (advert->advert_int_cs == 0)
		return VRRP_BAD_INTERVAL;
	return judge_parameters(conf, advert);
}

size_t vrrp_wire_encode_advert(const struct vrrp_advert *advert, const struct ip_addr *source,
			       const struct ip_addr *destination, uint8_t *ret_data, size_t room)
{
	struct wire_writer w;
	uint32_t sum;
	uint16_t checksum;

	assert(advert->version == 2 || advert->version == 3);
	assert(advert->addresses_count >= 1 && advert->addresses_count <= 255);
	wire_writer_init(&w, ret_data, room);
	wire_put_u8(&w, (uint8_t)(advert->version << 4 | TYPE_ADVERTISEMENT));
	wire_put_u8(&w, advert->vrid);
	wire_put_u8(&w, advert->priority);
	wire_put_u8(&w, (uint8_t)advert->addresses_count);
	if (advert->version == 2) {
		assert(advert->advert_int_cs % 100 == 0 && advert->advert_int_cs <= 25500);
		wire_put_u8(&w, advert->auth_type);
		wire_put_u8(&w, (uint8_t)(advert->advert_int_cs / 100));
	} else {
		assert(advert->advert_int_cs <= 0x0fff);
		wire_put_u16(&w, (uint16_t)advert->advert_int_cs);
	}
	wire_put_u16(&w, 0);
	for (int i = 0; i < advert->addresses_count; i++)
		wire_put_bytes(&w, advert->addresses[i].bytes, ip_size(&advert->addresses[i]));
	if (advert->version == 2)
		wire_put_bytes(&w, advert->auth_data, VRRP_AUTH_BYTES);
	if (!wire_writer_ok(&w))
		return 0;
	sum = sum_words(0, ret_data, w.at);
	if (advert->version == 3 &&
	    (advert->checksum == VRRP_CHECKSUM_PSEUDO || advert->family == IP_V6))
		sum += sum_pseudo_header(source, destination, w.at);
	checksum = (uint16_t)~fold(sum);
	ret_data[CHECKSUM_AT] = (uint8_t)(checksum >> 8);
	ret_data[CHECKSUM_AT + 1] = (uint8_t)checksum;
	return w.at;
}

size_t vrrp_wire_encode(const struct vrrp_wire_conf *conf, uint8_t priority,
			enum vrrp_checksum checksum, const struct ip_addr *destination,
			uint8_t *ret_data, size_t room)
{
	struct vrrp_advert advert;

	memset(&advert, 0, offsetof(struct vrrp_advert, addresses));
	advert.version = conf->version;
	advert.vrid = conf->vrid;
	advert.priority = priority;
	advert.family = conf->family;
	advert.checksum = checksum;
	advert.advert_int_cs = conf->advert_int_cs;
	if (conf->version == 2 && conf->auth_pass) {
		advert.auth_type = AUTH_PASS;
		memcpy(advert.auth_data, conf->auth_data, VRRP_AUTH_BYTES);
	}
	advert.addresses_count = conf->vips_count;
	memcpy(advert.addresses, conf->vips, (size_t)conf->vips_count * sizeof(conf->vips[0]));
	return vrrp_wire_encode_advert(&advert, &conf->nodes[conf->self], destination, ret_data,
				       room);
}

enum vrrp_grade vrrp_wire_grade(enum vrrp_verdict verdict)
{
	switch (verdict) {
	case VRRP_OK:
	case VRRP_OTHER_ADDRESSES:
		return VRRP_GRADE_ACCEPTED;
	case VRRP_OTHER_PASSWORD:
	case VRRP_OTHER_AUTH_TYPE:
	case VRRP_OTHER_INTERVAL:
	case VRRP_OTHER_VERSION:
		return VRRP_GRADE_MISMATCH;
	case VRRP_OTHER_VRID:
	case VRRP_OTHER_FAMILY:
	case VRRP_OWN_PACKET:
		return VRRP_GRADE_NOT_OURS;
	default:
		assert((unsigned)verdict < VRRP_VERDICTS);
		return VRRP_GRADE_REFUSED;
	}
}

bool vrrp_wire_usable(enum vrrp_verdict verdict)
{
	return vrrp_wire_grade(verdict) <= VRRP_GRADE_MISMATCH;
}

const char *vrrp_wire_verdict_name(enum vrrp_verdict verdict)
{
	static const char names_of[VRRP_VERDICTS][24] = {
		[VRRP_OK] = "ok",
		[VRRP_OTHER_ADDRESSES] = "other-addresses",
		[VRRP_OTHER_PASSWORD] = "other-password",
		[VRRP_OTHER_AUTH_TYPE] = "other-auth-type",
		[VRRP_OTHER_INTERVAL] = "other-interval",
		[VRRP_OTHER_VERSION] = "other-version",
		[VRRP_TOO_SHORT] = "too-short",
		[VRRP_BAD_VERSION] = "bad-version",
		[VRRP_BAD_TYPE] = "bad-type",
		[VRRP_BAD_VRID] = "bad-vrid",
		[VRRP_BAD_TTL] = "bad-ttl",
		[VRRP_NO_ADDRESSES] = "no-addresses",
		[VRRP_BAD_LENGTH] = "bad-length",
		[VRRP_BAD_CHECKSUM] = "bad-checksum",
		[VRRP_UNKNOWN_SOURCE] = "unknown-source",
		[VRRP_BAD_AUTH_TYPE] = "bad-auth-type",
		[VRRP_BAD_INTERVAL] = "bad-interval",
		[VRRP_STRANGE_PASSWORD] = "strange-password",
		[VRRP_STRANGE_AUTH_TYPE] = "strange-auth-type",
		[VRRP_STRANGE_INTERVAL] = "strange-interval",
		[VRRP_STRANGE_VERSION] = "strange-version",
		[VRRP_OTHER_VRID] = "other-vrid",
		[VRRP_OTHER_FAMILY] = "other-family",
		[VRRP_OWN_PACKET] = "own-packet",
	};

	assert((unsigned)verdict < VRRP_VERDICTS);
	return names_of[verdict];
}

const char *vrrp_wire_verdict_text(enum vrrp_verdict verdict)
{
	static const char texts[VRRP_VERDICTS][120] = {
		[VRRP_OK] = "an advert of this router",
		[VRRP_OTHER_ADDRESSES] =
			"accepted, but its list of virtual addresses is another one",
		[VRRP_OTHER_PASSWORD] = "a configured peer with another password",
		[VRRP_OTHER_AUTH_TYPE] = "a configured peer, and only one side has a password",
		[VRRP_OTHER_INTERVAL] = "a configured peer with another advertisement interval",
		[VRRP_OTHER_VERSION] = "a configured peer that speaks another version of VRRP",
		[VRRP_TOO_SHORT] = "shorter than a VRRP header",
		[VRRP_BAD_VERSION] = "a version of VRRP that is neither 2 nor 3",
		[VRRP_BAD_TYPE] = "not an advertisement",
		[VRRP_BAD_VRID] = "the virtual router id is 0",
		[VRRP_BAD_TTL] =
			"its TTL is out of limits: it crossed a router, or the sender is wrong",
		[VRRP_NO_ADDRESSES] = "it names no virtual address",
		[VRRP_BAD_LENGTH] = "its length is not what its address count says",
		[VRRP_BAD_CHECKSUM] = "the checksum is wrong, with and without the pseudo header",
		[VRRP_UNKNOWN_SOURCE] = "the sender is none of the configured nodes",
		[VRRP_BAD_AUTH_TYPE] = "an authentication type that is neither none nor a password",
		[VRRP_BAD_INTERVAL] = "its advertisement interval is 0",
		[VRRP_STRANGE_PASSWORD] = "a configured node with another password and no virtual "
					  "address in common",
		[VRRP_STRANGE_AUTH_TYPE] =
			"a configured node with another kind of authentication and no "
			"virtual address in common",
		[VRRP_STRANGE_INTERVAL] = "a configured node with another interval and no virtual "
					  "address in common",
		[VRRP_STRANGE_VERSION] =
			"a configured node with another version and no virtual address "
			"in common",
		[VRRP_OTHER_VRID] = "another virtual router's",
		[VRRP_OTHER_FAMILY] = "of the other address family",
		[VRRP_OWN_PACKET] = "our own advert come back",
	};

	assert((unsigned)verdict < VRRP_VERDICTS);
	return texts[verdict];
}
