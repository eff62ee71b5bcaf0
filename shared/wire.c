/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/wire.h"

#include <assert.h>
#include <string.h>

void wire_reader_init(struct wire_reader *r, const void *data, size_t size)
{
	*r = (struct wire_reader){.data = data, .size = size};
}

bool wire_reader_ok(const struct wire_reader *r)
{
	return !r->failed;
}

bool wire_reader_done(const struct wire_reader *r)
{
	return !r->failed && r->at == r->size;
}

size_t wire_left(const struct wire_reader *r)
{
	assert(r->at <= r->size);
	return r->failed ? 0 : r->size - r->at;
}

const uint8_t *wire_get_slice(struct wire_reader *r, size_t size)
{
	const uint8_t *slice;

	/* Compared with what is left, never added to `at`: a size near SIZE_MAX must not wrap. */
	if (r->failed || size > r->size - r->at) {
		r->failed = true;
		return NULL;
	}
	/* An empty buffer may be NULL, to which nothing may be added, not even 0. */
	slice = r->data ? r->data + r->at : (const uint8_t *)"";
	r->at += size;
	return slice;
}

static uint64_t get_number(struct wire_reader *r, size_t size)
{
	const uint8_t *bytes = wire_get_slice(r, size);
	uint64_t value = 0;

	if (!bytes)
		return 0;
	for (size_t i = 0; i < size; i++)
		value = value << 8 | bytes[i];
	return value;
}

uint8_t wire_get_u8(struct wire_reader *r)
{
	return (uint8_t)get_number(r, 1);
}

uint16_t wire_get_u16(struct wire_reader *r)
{
	return (uint16_t)get_number(r, 2);
}

uint32_t wire_get_u32(struct wire_reader *r)
{
	return (uint32_t)get_number(r, 4);
}

uint64_t wire_get_u64(struct wire_reader *r)
{
	return get_number(r, 8);
}

void wire_get_bytes(struct wire_reader *r, void *ret_bytes, size_t size)
{
	const uint8_t *bytes = wire_get_slice(r, size);

	if (size == 0)
		return;
	if (bytes)
		memcpy(ret_bytes, bytes, size);
	else
		memset(ret_bytes, 0, size);
}

const char *wire_get_string(struct wire_reader *r, size_t *ret_size)
{
	struct wire_reader before = *r;
	size_t size = wire_get_u16(r);
	const uint8_t *bytes = wire_get_slice(r, size);

	*ret_size = 0;
	if (!bytes || (size > 0 && memchr(bytes, 0, size))) {
		/* A failed read moves nothing, the length before it included. */
		r->at = before.at;
		r->failed = true;
		return NULL;
	}
	*ret_size = size;
	return (const char *)bytes;
}

void wire_get_string_into(struct wire_reader *r, char *ret_string, size_t room)
{
	struct wire_reader before = *r;
	size_t size = 0;
	const char *string = wire_get_string(r, &size);

	assert(room > 0);
	if (string && size >= room) {
		r->at = before.at;
		r->failed = true;
		string = NULL;
	}
	if (!string)
		size = 0;
	if (size > 0)
		memcpy(ret_string, string, size);
	memset(ret_string + size, 0, room - size);
}

void wire_writer_init(struct wire_writer *w, void *data, size_t size)
{
	*w = (struct wire_writer){.data = data, .size = size};
}

bool wire_writer_ok(const struct wire_writer *w)
{
	return !w->failed;
}

static uint8_t *put(struct wire_writer *w, size_t size)
{
	uint8_t *place;

	if (w->failed || size > w->size - w->at) {
		w->failed = true;
		return NULL;
	}
	place = size > 0 ? w->data + w->at : w->data;
	w->at += size;
	return place;
}

static void put_number(struct wire_writer *w, uint64_t value, size_t size)
{
	uint8_t *place = put(w, size);

	if (!place)
		return;
	for (size_t i = size; i-- > 0; value >>= 8)
		place[i] = (uint8_t)value;
}

void wire_put_u8(struct wire_writer *w, uint8_t value)
{
	put_number(w, value, 1);
}

void wire_put_u16(struct wire_writer *w, uint16_t value)
{
	put_number(w, value, 2);
}

void wire_put_u32(struct wire_writer *w, uint32_t value)
{
	put_number(w, value, 4);
}

void wire_put_u64(struct wire_writer *w, uint64_t value)
{
	put_number(w, value, 8);
}

void wire_put_bytes(struct wire_writer *w, const void *bytes, size_t size)
{
	uint8_t *place = put(w, size);

	if (place && size > 0)
		memcpy(place, bytes, size);
}

void wire_put_string(struct wire_writer *w, const char *string, size_t size)
{
	/* As a whole or not at all, as every other call here. */
	if (size > UINT16_MAX || w->failed || size + 2 > w->size - w->at) {
		w->failed = true;
		return;
	}
	wire_put_u16(w, (uint16_t)size);
	wire_put_bytes(w, string, size);
}
