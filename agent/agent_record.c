/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent_record.h"

#include <string.h>

#include "shared/wire.h"

static void put_ip(struct wire_writer *w, const struct ip_addr *addr)
{
	wire_put_u8(w, addr->family);
	wire_put_bytes(w, addr->bytes, sizeof addr->bytes);
}

static bool get_ip(struct wire_reader *r, struct ip_addr *addr)
{
	addr->family = wire_get_u8(r);
	wire_get_bytes(r, addr->bytes, sizeof addr->bytes);
	return addr->family == IP_NONE || addr->family == IP_V4 || addr->family == IP_V6;
}

size_t agent_record_encode(const struct agent_record *record, void *bytes, size_t room)
{
	struct wire_writer w;

	wire_writer_init(&w, bytes, room);
	wire_put_u32(&w, record->id);
	wire_put_string(&w, record->name, strlen(record->name));
	wire_put_string(&w, record->interface, strlen(record->interface));
	wire_put_u8(&w, record->vrid);
	wire_put_u8(&w, record->version);
	wire_put_u8(&w, record->state);
	wire_put_u8(&w, record->priority);
	wire_put_u8(&w, record->handed_over);
	wire_put_string(&w, record->vmac, strlen(record->vmac));
	wire_put_u32(&w, record->socket);
	wire_put_u64(&w, record->advert_int_us);
	wire_put_u64(&w, record->last_advert_us);
	wire_put_u64(&w, record->since_us);
	wire_put_u16(&w, (uint16_t)record->addresses_count);
	for (int i = 0; i < record->addresses_count; i++) {
		wire_put_u32(&w, (uint32_t)record->addresses[i].ifindex);
		put_ip(&w, &record->addresses[i].prefix.addr);
		wire_put_u8(&w, record->addresses[i].prefix.prefix_len);
	}
	put_ip(&w, &record->source);
	wire_put_u32(&w, (uint32_t)record->ifindex);
	wire_put_u16(&w, (uint16_t)record->wills_count);
	for (int i = 0; i < record->wills_count; i++) {
		put_ip(&w, &record->wills[i].destination);
		wire_put_u16(&w, record->wills[i].size);
		wire_put_bytes(&w, record->wills[i].bytes, record->wills[i].size);
	}
	return wire_writer_ok(&w) ? w.at : 0;
}

bool agent_record_decode(const void *bytes, size_t size, struct agent_record *record)
{
	struct wire_reader r;
	uint8_t flag;
	bool good = true;

	memset(record, 0, sizeof *record);
	wire_reader_init(&r, bytes, size);
	record->id = wire_get_u32(&r);
	wire_get_string_into(&r, record->name, sizeof record->name);
	wire_get_string_into(&r, record->interface, sizeof record->interface);
	record->vrid = wire_get_u8(&r);
	record->version = wire_get_u8(&r);
	record->state = wire_get_u8(&r);
	record->priority = wire_get_u8(&r);
	flag = wire_get_u8(&r);
	record->handed_over = flag != 0;
	good = flag <= 1;
	wire_get_string_into(&r, record->vmac, sizeof record->vmac);
	record->socket = wire_get_u32(&r);
	record->advert_int_us = wire_get_u64(&r);
	record->last_advert_us = wire_get_u64(&r);
	record->since_us = wire_get_u64(&r);
	record->addresses_count = wire_get_u16(&r);
	if (record->addresses_count > CONF_VIPS_MAX)
		return false;
	for (int i = 0; i < record->addresses_count; i++) {
		struct agent_record_address *address = &record->addresses[i];

		address->ifindex = (int32_t)wire_get_u32(&r);
		good = get_ip(&r, &address->prefix.addr) && address->ifindex > 0 && good;
		address->prefix.prefix_len = wire_get_u8(&r);
		if (address->prefix.prefix_len > ip_size(&address->prefix.addr) * 8)
			good = false;
	}
	good = get_ip(&r, &record->source) && good;
	record->ifindex = (int32_t)wire_get_u32(&r);
	record->wills_count = wire_get_u16(&r);
	if (record->wills_count > CONF_NODES_MAX)
		return false;
	for (int i = 0; i < record->wills_count; i++) {
		struct agent_record_will *will = &record->wills[i];

		good = get_ip(&r, &will->destination) && good;
		will->size = wire_get_u16(&r);
		if (will->size > sizeof will->bytes)
			return false;
		wire_get_bytes(&r, will->bytes, will->size);
	}
	return good && record->ifindex >= 0 && wire_reader_done(&r);
}
