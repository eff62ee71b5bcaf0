/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: bounds-checked reading and writing of bytes, network byte order. Pure.
 *
 * Both sides carry one sticky failure: read or write on, then ask once with wire_*_ok(). A failed
 * read returns zeros and moves nothing. Nothing allocates; a reader borrows the buffer, and so do
 * the slices it hands out.
 */
#ifndef TANDEM_WIRE_H
#define TANDEM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_reader {
	const uint8_t *data;
	size_t size;
	size_t at;
	bool failed;
};

struct wire_writer {
	uint8_t *data;
	size_t size;
	size_t at;
	bool failed;
};

void wire_reader_init(struct wire_reader *r, const void *data, size_t size);
bool wire_reader_ok(const struct wire_reader *r);   /* nothing was read past the end */
bool wire_reader_done(const struct wire_reader *r); /* ok, and every byte was read */
size_t wire_left(const struct wire_reader *r);
uint8_t wire_get_u8(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
/* Copies size bytes; zeros on failure. */
void wire_get_bytes(struct wire_reader *r, void *ret_bytes, size_t size);
/* Borrows size bytes; NULL on failure (and for size 0 a pointer that must not be read). */
const uint8_t *wire_get_slice(struct wire_reader *r, size_t size);
/* A u16 length, then that many bytes without NUL among them; borrowed, not terminated. */
const char *wire_get_string(struct wire_reader *r, size_t *ret_size);
/* The same, copied into a buffer of room bytes and terminated; too long is a failure. */
void wire_get_string_into(struct wire_reader *r, char *ret_string, size_t room);

void wire_writer_init(struct wire_writer *w, void *data, size_t size);
bool wire_writer_ok(const struct wire_writer *w);
void wire_put_u8(struct wire_writer *w, uint8_t value);
void wire_put_u16(struct wire_writer *w, uint16_t value);
void wire_put_u32(struct wire_writer *w, uint32_t value);
void wire_put_u64(struct wire_writer *w, uint64_t value);
void wire_put_bytes(struct wire_writer *w, const void *bytes, size_t size);
/* A u16 length and the bytes; longer than 65,535 is a failure. */
void wire_put_string(struct wire_writer *w, const char *string, size_t size);

#endif
