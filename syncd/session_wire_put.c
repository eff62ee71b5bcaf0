/* SPDX-License-Identifier: Apache-2.0 */
/* Frames into bytes; session_wire.c is the way back, and trusts nobody. */
#include <assert.h>
#include <string.h>

#include "shared/wire.h"
#include "syncd/session_wire.h"

_Static_assert(SESSION_PAYLOAD_BYTES_MAX > SESSION_CHUNK_BYTES_MAX + 256, "a chunk has its fields");
_Static_assert(SESSION_PAYLOAD_BYTES_MAX > SESSION_NEED_HASHES_MAX * SESSION_HASH_BYTES + 64,
	       "a whole NEED fits");
_Static_assert(SESSION_PAYLOAD_BYTES_MAX > SESSION_MIRRORS_MAX * (2 + SESSION_NAME_BYTES_MAX + 32) +
						   SESSION_SIGNED_BYTES + 256,
	       "a whole HELLO fits");

static size_t name_size(const char *name)
{
	const char *end = memchr(name, 0, SESSION_NAME_BYTES_MAX + 1);

	assert(end != NULL);
	return (size_t)(end - name);
}

static void put_name(struct wire_writer *w, const char *name)
{
	wire_put_string(w, name, name_size(name));
}

static void put_flag(struct wire_writer *w, bool flag)
{
	wire_put_u8(w, flag ? 1 : 0);
}

static void put_header(struct wire_writer *w, const uint8_t *header, size_t size)
{
	if (size == 0 || size > SESSION_HEADER_BYTES_MAX)
		w->failed = true;
	wire_put_string(w, (const char *)header, size);
}

/* What is too long is cut: words for people, the beginning says most. */
static void put_text(struct wire_writer *w, struct session_string text, size_t size_max)
{
	wire_put_string(w, text.bytes, text.size < size_max ? text.size : size_max);
}

static void encode_hello(struct wire_writer *w, const struct session_hello *hello)
{
	wire_put_bytes(w, hello->config_hash, SESSION_HASH_BYTES);
	put_name(w, hello->software);
	wire_put_u8(w, hello->mirrors_count);
	assert(hello->mirrors_count <= SESSION_MIRRORS_MAX);
	for (int i = 0; i < hello->mirrors_count; i++) {
		put_name(w, hello->mirrors[i].name);
		wire_put_bytes(w, hello->mirrors[i].definition, SESSION_HASH_BYTES);
	}
	wire_put_bytes(w, hello->signed_by, SESSION_SIGNED_BYTES);
}

static void encode_offer(struct wire_writer *w, const struct session_offer *offer)
{
	wire_put_u8(w, offer->slot);
	wire_put_u32(w, offer->transfer);
	put_header(w, offer->header, offer->header_size);
	wire_put_bytes(w, offer->signed_by, SESSION_SIGNED_BYTES);
	put_flag(w, offer->has_base);
	if (offer->has_base)
		wire_put_bytes(w, offer->base, SESSION_HASH_BYTES);
	wire_put_u32(w, offer->entries_count);
	wire_put_u32(w, offer->tree_count);
	wire_put_u64(w, offer->tree_bytes);
}

static void encode_content(struct wire_writer *w, const struct session_content *content)
{
	wire_put_u8(w, content->slot);
	wire_put_u32(w, content->transfer);
	wire_put_bytes(w, content->object, SESSION_HASH_BYTES);
	wire_put_u64(w, content->object_size);
	wire_put_u8(w, content->encoding);
	if (content->encoding == SESSION_DELTA)
		wire_put_bytes(w, content->base, SESSION_HASH_BYTES);
	wire_put_u64(w, content->encoded_size);
	wire_put_u64(w, content->offset);
	wire_put_bytes(w, content->bytes, content->size);
}

static void encode_need(struct wire_writer *w, const struct session_need_frame *need)
{
	wire_put_u8(w, need->slot);
	wire_put_u32(w, need->transfer);
	wire_put_u8(w, need->kind);
	wire_put_u16(w, need->count);
	wire_put_bytes(w, need->hashes, (size_t)need->count * SESSION_HASH_BYTES);
}

size_t session_wire_encode(const struct session_frame *f, void *payload, size_t room)
{
	struct wire_writer writer, *w = &writer;

	if (room > SESSION_PAYLOAD_BYTES_MAX)
		room = SESSION_PAYLOAD_BYTES_MAX;
	wire_writer_init(w, payload, room);
	switch (f->type) {
	case SESSION_WELCOME:
		wire_put_u16(w, f->welcome.version);
		put_name(w, f->welcome.cluster);
		put_name(w, f->welcome.node);
		break;
	case SESSION_PING:
	case SESSION_PONG:
		wire_put_u64(w, f->ping.token);
		break;
	case SESSION_BYE:
		put_text(w, f->bye.reason, SESSION_REASON_BYTES_MAX);
		break;
	case SESSION_HELLO:
		encode_hello(w, &f->hello);
		break;
	case SESSION_HEAD:
		wire_put_u8(w, f->head.slot);
		put_flag(w, f->head.present);
		if (f->head.present) {
			put_header(w, f->head.header, f->head.header_size);
			wire_put_bytes(w, f->head.signed_by, SESSION_SIGNED_BYTES);
		}
		break;
	case SESSION_OFFER:
		encode_offer(w, &f->offer);
		break;
	case SESSION_ENTRIES:
		wire_put_u8(w, f->entries.slot);
		wire_put_u32(w, f->entries.transfer);
		wire_put_u16(w, f->entries.count);
		wire_put_bytes(w, f->entries.bytes, f->entries.size);
		break;
	case SESSION_CONTENT:
		encode_content(w, &f->content);
		break;
	case SESSION_END:
		wire_put_u8(w, f->end.slot);
		wire_put_u32(w, f->end.transfer);
		break;
	case SESSION_NEED:
		encode_need(w, &f->need);
		break;
	case SESSION_CANCEL:
		wire_put_u8(w, f->cancel.slot);
		wire_put_u32(w, f->cancel.transfer);
		put_text(w, f->cancel.reason, SESSION_REASON_BYTES_MAX);
		break;
	case SESSION_WANT:
		wire_put_u8(w, f->want.slot);
		wire_put_bytes(w, f->want.id, SESSION_HASH_BYTES);
		put_flag(w, f->want.has_base);
		if (f->want.has_base)
			wire_put_bytes(w, f->want.base, SESSION_HASH_BYTES);
		break;
	case SESSION_RESULT:
		wire_put_u8(w, f->result.slot);
		wire_put_bytes(w, f->result.id, SESSION_HASH_BYTES);
		wire_put_u8(w, f->result.outcome);
		put_text(w, f->result.text, SESSION_TEXT_BYTES_MAX);
		break;
	case SESSION_VERIFY:
		wire_put_u8(w, f->verify.slot);
		put_flag(w, f->verify.answer);
		wire_put_bytes(w, f->verify.id, SESSION_HASH_BYTES);
		wire_put_bytes(w, f->verify.tree, SESSION_HASH_BYTES);
		break;
	case SESSION_WALK_ASK:
		wire_put_u8(w, f->walk_ask.slot);
		wire_put_u32(w, f->walk_ask.walk);
		wire_put_string(w, f->walk_ask.path.bytes, f->walk_ask.path.size);
		wire_put_string(w, f->walk_ask.after.bytes, f->walk_ask.after.size);
		break;
	case SESSION_WALK_ANSWER:
		wire_put_u8(w, f->walk_answer.slot);
		wire_put_u32(w, f->walk_answer.walk);
		wire_put_string(w, f->walk_answer.path.bytes, f->walk_answer.path.size);
		put_flag(w, f->walk_answer.more);
		wire_put_u16(w, f->walk_answer.count);
		wire_put_bytes(w, f->walk_answer.bytes, f->walk_answer.size);
		break;
	case SESSION_SYNC_REQUEST:
		wire_put_u8(w, f->sync_request.slot);
		break;
	case SESSION_NODE:
		put_flag(w, f->node.maintenance);
		break;
	default:
		return 0;
	}
	return wire_writer_ok(w) ? w->at : 0;
}

bool session_walk_put(uint8_t *bytes, size_t room, size_t *at,
		      const struct session_walk_entry *entry)
{
	struct wire_writer w;

	assert(*at <= room);
	wire_writer_init(&w, bytes + *at, room - *at);
	wire_put_u8(&w, (uint8_t)entry->type);
	wire_put_bytes(&w, entry->hash, SESSION_HASH_BYTES);
	wire_put_string(&w, entry->name.bytes, entry->name.size);
	if (!wire_writer_ok(&w))
		return false;
	*at += w.at;
	return true;
}
