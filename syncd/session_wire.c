/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/session_wire.h"

#include <assert.h>
#include <string.h>

#include "shared/wire.h"

/* Reading goes on after a failure (zeros come), so the first thing that was wrong is kept. */
struct decoder {
	struct wire_reader r;
	enum session_verdict verdict;
};

static void refuse(struct decoder *d, enum session_verdict verdict)
{
	if (d->verdict == SESSION_OK)
		d->verdict = wire_reader_ok(&d->r) ? verdict : SESSION_TOO_SHORT;
}

static bool get_flag(struct decoder *d)
{
	uint8_t value = wire_get_u8(&d->r);

	if (value > 1)
		refuse(d, SESSION_BAD_FLAG);
	return value == 1;
}

static uint8_t get_slot(struct decoder *d)
{
	uint8_t slot = wire_get_u8(&d->r);

	if (slot >= SESSION_MIRRORS_MAX)
		refuse(d, SESSION_BAD_SLOT);
	return slot;
}

static uint32_t get_transfer(struct decoder *d)
{
	uint32_t transfer = wire_get_u32(&d->r);

	if (transfer == 0)
		refuse(d, SESSION_BAD_TRANSFER);
	return transfer;
}

static bool name_char(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return true;
	return !first && ((c >= '0' && c <= '9') || c == '_' || c == '-');
}

/* A name as in tandem.conf, or with any printable ASCII (a software version, a cluster's name). */
static void get_name(struct decoder *d, char ret_name[SESSION_NAME_BYTES_MAX + 1], bool strict)
{
	size_t size = wire_get_u16(&d->r);
	const char *bytes = (const char *)wire_get_slice(&d->r, size);

	memset(ret_name, 0, SESSION_NAME_BYTES_MAX + 1);
	if (!wire_reader_ok(&d->r) || size > SESSION_NAME_BYTES_MAX) {
		refuse(d, SESSION_NAME_TOO_LONG);
		return;
	}
	if (size == 0) {
		refuse(d, SESSION_BAD_NAME);
		return;
	}
	for (size_t i = 0; i < size; i++) {
		if (strict ? !name_char(bytes[i], i == 0) : bytes[i] < 0x20 || bytes[i] > 0x7e) {
			refuse(d, SESSION_BAD_NAME);
			return;
		}
	}
	memcpy(ret_name, bytes, size);
}

static struct session_string get_text(struct decoder *d, size_t size_max)
{
	struct session_string text = {0};

	text.size = wire_get_u16(&d->r);
	text.bytes = (const char *)wire_get_slice(&d->r, text.size);
	if (!wire_reader_ok(&d->r) || text.size > size_max) {
		refuse(d, SESSION_TEXT_TOO_LONG);
		text.size = 0;
	} else if (text.size && memchr(text.bytes, 0, text.size)) {
		refuse(d, SESSION_TEXT_TOO_LONG);
	}
	return text;
}

/* Empty (the mirror's own roots) or absolute. Whether it lies under a mirrored path is for the tree
 * to say. */
static struct session_string get_path(struct decoder *d, bool component)
{
	struct session_string path = {0};

	path.size = wire_get_u16(&d->r);
	path.bytes = (const char *)wire_get_slice(&d->r, path.size);
	if (!wire_reader_ok(&d->r) || path.size > SESSION_PATH_BYTES_MAX) {
		refuse(d, SESSION_PATH_TOO_LONG);
		path.size = 0;
		return path;
	}
	if (path.size && memchr(path.bytes, 0, path.size))
		refuse(d, SESSION_BAD_PATH);
	else if (!component && path.size && path.bytes[0] != '/')
		refuse(d, SESSION_BAD_PATH);
	return path;
}

static const uint8_t *get_header(struct decoder *d, size_t *ret_size)
{
	const uint8_t *header;

	*ret_size = wire_get_u16(&d->r);
	header = wire_get_slice(&d->r, *ret_size);
	if (!wire_reader_ok(&d->r) || *ret_size > SESSION_HEADER_BYTES_MAX)
		refuse(d, SESSION_HEADER_TOO_LONG);
	else if (*ret_size == 0)
		refuse(d, SESSION_EMPTY_HEADER);
	return header;
}

/* The rest of the payload. */
static const uint8_t *get_rest(struct decoder *d, size_t *ret_size)
{
	*ret_size = wire_left(&d->r);
	return wire_get_slice(&d->r, *ret_size);
}

static void decode_welcome(struct decoder *d, struct session_welcome *welcome)
{
	welcome->version = wire_get_u16(&d->r);
	/* A later version may say more, in another form: that it is another is all that counts. */
	if (wire_reader_ok(&d->r) && welcome->version != SESSION_PROTOCOL_VERSION) {
		refuse(d, SESSION_BAD_VERSION);
		return;
	}
	get_name(d, welcome->cluster, false);
	get_name(d, welcome->node, true);
}

static void decode_hello(struct decoder *d, struct session_hello *hello)
{
	wire_get_bytes(&d->r, hello->config_hash, SESSION_HASH_BYTES);
	get_name(d, hello->software, false);
	hello->mirrors_count = wire_get_u8(&d->r);
	if (hello->mirrors_count > SESSION_MIRRORS_MAX) {
		refuse(d, SESSION_TOO_MANY_MIRRORS);
		return;
	}
	for (int i = 0; i < hello->mirrors_count && d->verdict == SESSION_OK; i++) {
		struct session_hello_mirror *mirror = &hello->mirrors[i];

		get_name(d, mirror->name, true);
		wire_get_bytes(&d->r, mirror->definition, SESSION_HASH_BYTES);
		for (int j = 0; j < i; j++) {
			if (memcmp(mirror->name, hello->mirrors[j].name, sizeof(mirror->name)) == 0)
				refuse(d, SESSION_DUPLICATE_NAME);
		}
	}
	wire_get_bytes(&d->r, hello->signed_by, SESSION_SIGNED_BYTES);
}

static void decode_head(struct decoder *d, struct session_head *head)
{
	head->slot = get_slot(d);
	head->present = get_flag(d);
	if (!head->present)
		return;
	head->header = get_header(d, &head->header_size);
	wire_get_bytes(&d->r, head->signed_by, SESSION_SIGNED_BYTES);
}

static void decode_offer(struct decoder *d, struct session_offer *offer)
{
	offer->slot = get_slot(d);
	offer->transfer = get_transfer(d);
	offer->header = get_header(d, &offer->header_size);
	wire_get_bytes(&d->r, offer->signed_by, SESSION_SIGNED_BYTES);
	offer->has_base = get_flag(d);
	if (offer->has_base)
		wire_get_bytes(&d->r, offer->base, SESSION_HASH_BYTES);
	offer->entries_count = wire_get_u32(&d->r);
	offer->tree_count = wire_get_u32(&d->r);
	offer->tree_bytes = wire_get_u64(&d->r);
	/* Changes may be removals of all that was and additions of all that is. */
	if (offer->entries_count > 2 * SESSION_ENTRIES_MAX ||
	    offer->tree_count > SESSION_ENTRIES_MAX)
		refuse(d, SESSION_TOO_MANY_ENTRIES);
}

static void decode_entries(struct decoder *d, struct session_entries *entries)
{
	entries->slot = get_slot(d);
	entries->transfer = get_transfer(d);
	entries->count = wire_get_u16(&d->r);
	entries->bytes = get_rest(d, &entries->size);
	if (entries->count == 0 || entries->size == 0)
		refuse(d, SESSION_EMPTY_CHUNK);
}

static void decode_content(struct decoder *d, struct session_content *content)
{
	content->slot = get_slot(d);
	content->transfer = get_transfer(d);
	wire_get_bytes(&d->r, content->object, SESSION_HASH_BYTES);
	content->object_size = wire_get_u64(&d->r);
	content->encoding = wire_get_u8(&d->r);
	if (content->encoding >= SESSION_ENCODINGS)
		refuse(d, SESSION_BAD_ENCODING);
	if (content->encoding == SESSION_DELTA)
		wire_get_bytes(&d->r, content->base, SESSION_HASH_BYTES);
	content->encoded_size = wire_get_u64(&d->r);
	content->offset = wire_get_u64(&d->r);
	content->bytes = get_rest(d, &content->size);
	/* The sender takes what is smallest, and raw is always possible: an encoding that is larger
	 * than the object is not an honest one. */
	if (content->object_size > SESSION_OBJECT_BYTES_MAX ||
	    content->encoded_size > content->object_size ||
	    (content->encoding == SESSION_RAW && content->encoded_size != content->object_size))
		refuse(d, SESSION_OBJECT_TOO_LARGE);
	if (content->size == 0 && content->encoded_size != 0)
		refuse(d, SESSION_EMPTY_CHUNK);
	if (content->offset > content->encoded_size ||
	    content->size > content->encoded_size - content->offset)
		refuse(d, SESSION_CHUNK_OUT_OF_BOUNDS);
}

static void decode_need(struct decoder *d, struct session_need_frame *need)
{
	need->slot = get_slot(d);
	need->transfer = get_transfer(d);
	need->kind = wire_get_u8(&d->r);
	need->count = wire_get_u16(&d->r);
	if (need->kind >= SESSION_NEEDS || need->count > SESSION_NEED_HASHES_MAX ||
	    (need->kind == SESSION_NEED_OBJECTS) != (need->count > 0)) {
		refuse(d, SESSION_BAD_NEED);
		return;
	}
	need->hashes = wire_get_slice(&d->r, (size_t)need->count * SESSION_HASH_BYTES);
}

static void decode_result(struct decoder *d, struct session_result *result)
{
	result->slot = get_slot(d);
	wire_get_bytes(&d->r, result->id, SESSION_HASH_BYTES);
	result->outcome = wire_get_u8(&d->r);
	if (result->outcome >= SESSION_OUTCOMES)
		refuse(d, SESSION_BAD_OUTCOME);
	result->text = get_text(d, SESSION_TEXT_BYTES_MAX);
}

/* One entry of a walk answer; sizes 0..255 for a name, as a file system has them, and whole paths
 * for the mirror's roots. */
static bool get_walk_entry(struct decoder *d, struct session_walk_entry *entry)
{
	uint8_t type = wire_get_u8(&d->r);

	if (type > SESSION_WALK_SYMLINK) {
		refuse(d, SESSION_BAD_ENTRY_TYPE);
		return false;
	}
	entry->type = type;
	wire_get_bytes(&d->r, entry->hash, SESSION_HASH_BYTES);
	entry->name = get_path(d, true);
	if (entry->name.size == 0)
		refuse(d, SESSION_BAD_PATH);
	if (!wire_reader_ok(&d->r))
		refuse(d, SESSION_TOO_SHORT);
	return d->verdict == SESSION_OK;
}

static void decode_walk_answer(struct decoder *d, struct session_walk_answer *answer)
{
	struct session_walk_entry entry;

	answer->slot = get_slot(d);
	answer->walk = get_transfer(d);
	answer->path = get_path(d, false);
	answer->more = get_flag(d);
	answer->count = wire_get_u16(&d->r);
	answer->bytes = get_rest(d, &answer->size);
	if (d->verdict != SESSION_OK || !wire_reader_ok(&d->r))
		return;
	/* Every entry is looked at now, so that session_walk_next() has nothing left to refuse. */
	struct decoder inner = {.verdict = SESSION_OK};

	wire_reader_init(&inner.r, answer->bytes, answer->size);
	for (uint16_t i = 0; i < answer->count; i++) {
		if (!get_walk_entry(&inner, &entry))
			break;
	}
	if (inner.verdict != SESSION_OK)
		d->verdict = inner.verdict;
	else if (!wire_reader_done(&inner.r))
		d->verdict = SESSION_TRAILING_BYTES;
	else if (answer->more && answer->count == 0)
		d->verdict = SESSION_EMPTY_CHUNK;
}

enum session_verdict session_wire_decode(uint8_t type, const void *payload, size_t size,
					 struct session_frame *ret_frame)
{
	struct decoder d = {.verdict = SESSION_OK};
	struct session_frame *f = ret_frame;

	memset(f, 0, sizeof(*f));
	f->type = type;
	if (size > SESSION_PAYLOAD_BYTES_MAX)
		return SESSION_TOO_LARGE;
	wire_reader_init(&d.r, payload, size);
	switch (type) {
	case SESSION_WELCOME:
		decode_welcome(&d, &f->welcome);
		break;
	case SESSION_PING:
	case SESSION_PONG:
		f->ping.token = wire_get_u64(&d.r);
		break;
	case SESSION_BYE:
		f->bye.reason = get_text(&d, SESSION_REASON_BYTES_MAX);
		break;
	case SESSION_HELLO:
		decode_hello(&d, &f->hello);
		break;
	case SESSION_HEAD:
		decode_head(&d, &f->head);
		break;
	case SESSION_OFFER:
		decode_offer(&d, &f->offer);
		break;
	case SESSION_ENTRIES:
		decode_entries(&d, &f->entries);
		break;
	case SESSION_CONTENT:
		decode_content(&d, &f->content);
		break;
	case SESSION_END:
		f->end.slot = get_slot(&d);
		f->end.transfer = get_transfer(&d);
		break;
	case SESSION_NEED:
		decode_need(&d, &f->need);
		break;
	case SESSION_CANCEL:
		f->cancel.slot = get_slot(&d);
		f->cancel.transfer = get_transfer(&d);
		f->cancel.reason = get_text(&d, SESSION_REASON_BYTES_MAX);
		break;
	case SESSION_WANT:
		f->want.slot = get_slot(&d);
		wire_get_bytes(&d.r, f->want.id, SESSION_HASH_BYTES);
		f->want.has_base = get_flag(&d);
		if (f->want.has_base)
			wire_get_bytes(&d.r, f->want.base, SESSION_HASH_BYTES);
		break;
	case SESSION_RESULT:
		decode_result(&d, &f->result);
		break;
	case SESSION_VERIFY:
		f->verify.slot = get_slot(&d);
		f->verify.answer = get_flag(&d);
		wire_get_bytes(&d.r, f->verify.id, SESSION_HASH_BYTES);
		wire_get_bytes(&d.r, f->verify.tree, SESSION_HASH_BYTES);
		break;
	case SESSION_WALK_ASK:
		f->walk_ask.slot = get_slot(&d);
		f->walk_ask.walk = get_transfer(&d);
		f->walk_ask.path = get_path(&d, false);
		f->walk_ask.after = get_path(&d, true);
		break;
	case SESSION_WALK_ANSWER:
		decode_walk_answer(&d, &f->walk_answer);
		break;
	case SESSION_SYNC_REQUEST:
		f->sync_request.slot = get_slot(&d);
		break;
	case SESSION_NODE:
		f->node.maintenance = get_flag(&d);
		break;
	default:
		return SESSION_BAD_TYPE;
	}
	if (d.verdict != SESSION_OK)
		return d.verdict;
	if (!wire_reader_ok(&d.r))
		return SESSION_TOO_SHORT;
	if (!wire_reader_done(&d.r))
		return SESSION_TRAILING_BYTES;
	return SESSION_OK;
}

bool session_walk_next(const struct session_walk_answer *answer, size_t *at,
		       struct session_walk_entry *ret_entry)
{
	struct decoder d = {.verdict = SESSION_OK};

	if (*at >= answer->size)
		return false;
	wire_reader_init(&d.r, answer->bytes + *at, answer->size - *at);
	if (!get_walk_entry(&d, ret_entry))
		return false;
	*at += d.r.at;
	return true;
}
