/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the input as a series of calls to a reader over the input itself, and then writes what was
 * read: what a reader accepts, a writer puts back byte for byte.
 * runs: 200000
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shared/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static void step(struct wire_reader *r, struct wire_writer *w, uint8_t call)
{
	size_t at = r->at, size = 0;
	bool failed = r->failed;
	char string[16];
	const char *borrowed;
	const uint8_t *slice;
	uint64_t value;

	switch (call % 8) {
	case 0:
		value = wire_get_u8(r);
		if (wire_reader_ok(r))
			wire_put_u8(w, (uint8_t)value);
		else
			CHECK(value == 0);
		break;
	case 1:
		value = wire_get_u16(r);
		if (wire_reader_ok(r))
			wire_put_u16(w, (uint16_t)value);
		else
			CHECK(value == 0);
		break;
	case 2:
		value = wire_get_u32(r);
		if (wire_reader_ok(r))
			wire_put_u32(w, (uint32_t)value);
		else
			CHECK(value == 0);
		break;
	case 3:
		value = wire_get_u64(r);
		if (wire_reader_ok(r))
			wire_put_u64(w, value);
		else
			CHECK(value == 0);
		break;
	case 4:
		slice = wire_get_slice(r, call / 8);
		if (wire_reader_ok(r))
			wire_put_bytes(w, slice, call / 8);
		else
			CHECK(!slice);
		break;
	case 5:
		borrowed = wire_get_string(r, &size);
		if (wire_reader_ok(r)) {
			CHECK(size == 0 || !memchr(borrowed, 0, size));
			wire_put_string(w, borrowed, size);
		} else {
			CHECK(!borrowed && size == 0);
		}
		break;
	case 6:
		wire_get_string_into(r, string, sizeof(string));
		CHECK(memchr(string, 0, sizeof(string)));
		if (wire_reader_ok(r))
			wire_put_string(w, string, strlen(string));
		else
			CHECK(string[0] == '\0');
		break;
	case 7:
		/* Sizes that would wrap. */
		CHECK(!wire_get_slice(r, SIZE_MAX - call / 8));
		break;
	}
	CHECK(r->at <= r->size);
	/* A failure sticks, and moves nothing. */
	CHECK(!failed || r->failed);
	CHECK(!r->failed || r->at == at);
	CHECK(wire_left(r) == (r->failed ? 0 : r->size - r->at));
	CHECK(wire_reader_done(r) == (!r->failed && r->at == r->size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_reader r;
	struct wire_writer w;
	size_t calls, room;
	uint8_t *copy;

	if (size < 2)
		return 0;
	/* How many of the first bytes name calls, and how much less room the writer has. */
	calls = data[0] % size;
	room = data[1] % 4 == 0 && size > 8 ? size - 8 : size;
	copy = malloc(room ? room : 1);
	CHECK(copy);
	wire_reader_init(&r, data, size);
	wire_writer_init(&w, copy, room);
	for (size_t i = 0; i < calls; i++) {
		step(&r, &w, data[1 + i % (size - 1)]);
		CHECK(w.at <= w.size);
		if (wire_writer_ok(&w) && wire_reader_ok(&r))
			CHECK(w.at == r.at);
	}
	CHECK(memcmp(copy, data, w.at) == 0);
	free(copy);
	return 0;
}
