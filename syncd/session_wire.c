/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/session_wire.h"

#include <assert.h>
#include <string.h>

#include "shared/wire.h"

_Static_assert(SESSION_PAYLOAD_BYTES_MAX > SESSION_CHUNK_BYTES_MAX + 256, "a chunk has its fields");
_Static_assert(SESSION_PAYLOAD_BYTES_MAX > SESSION_NEED_HASHES_MAX * SESSION_HASH_BYTES + 64,
	       "a whole NEED fits");
_Static_assert(SESSION_PAYLOAD_BYTES_MAX >
		       SESSION_MIRRORS_MAX * (2 + SESSION_NAME_BYTES_MAX + 32) + 256,
	       "a whole HELLO fits");

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
	default:
		return 0;
	}
	return wire_writer_ok(w) ? w->at : 0;
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

static const struct {
	const char *name, *text;
} verdicts[SESSION_VERDICTS] = {
	[SESSION_OK] = {"ok", "nothing is wrong"},
	[SESSION_BAD_TYPE] = {"bad-type", "a frame of a type that this version does not know"},
	[SESSION_TOO_SHORT] = {"too-short", "a field reaches past the end of the frame"},
	[SESSION_TRAILING_BYTES] = {"trailing-bytes", "the frame goes on after its last field"},
	[SESSION_TOO_LARGE] = {"too-large", "the frame is longer than the 61440 bytes allowed"},
	[SESSION_BAD_VERSION] = {"bad-version", "it speaks another version of the protocol"},
	[SESSION_BAD_NAME] = {"bad-name",
			      "a name is empty or has characters that names do not have"},
	[SESSION_NAME_TOO_LONG] = {"name-too-long", "a name is longer than 63 bytes"},
	[SESSION_DUPLICATE_NAME] = {"duplicate-name", "two mirrors have the same name"},
	[SESSION_TOO_MANY_MIRRORS] = {"too-many-mirrors", "there are more than 16 mirrors"},
	[SESSION_BAD_SLOT] = {"bad-slot", "a mirror's place is past the 16 that there can be"},
	[SESSION_BAD_FLAG] = {"bad-flag", "a flag is neither 0 nor 1"},
	[SESSION_BAD_TRANSFER] = {"bad-transfer", "a transfer or a question has the number 0"},
	[SESSION_HEADER_TOO_LONG] = {"header-too-long",
				     "a generation's header is longer than 8192 bytes"},
	[SESSION_EMPTY_HEADER] = {"empty-header", "a generation's header is empty"},
	[SESSION_TOO_MANY_ENTRIES] = {"too-many-entries",
				      "a tree with more than 200000 entries is announced"},
	[SESSION_EMPTY_CHUNK] = {"empty-chunk", "a piece without anything in it"},
	[SESSION_BAD_ENCODING] = {"bad-encoding", "content in an encoding that this version does "
						  "not know"},
	[SESSION_OBJECT_TOO_LARGE] = {"object-too-large",
				      "content is larger than 4 GiB, or than its own announcement"},
	[SESSION_CHUNK_OUT_OF_BOUNDS] = {"chunk-out-of-bounds",
					 "a piece reaches past the announced size"},
	[SESSION_BAD_NEED] = {"bad-need",
			      "a NEED of an unknown kind, or with no or too many hashes"},
	[SESSION_BAD_OUTCOME] = {"bad-outcome", "an outcome that this version does not know"},
	[SESSION_TEXT_TOO_LONG] = {"text-too-long", "a text is too long, or has a NUL in it"},
	[SESSION_BAD_PATH] = {"bad-path", "a path is empty, not absolute, or has a NUL in it"},
	[SESSION_PATH_TOO_LONG] = {"path-too-long", "a path is longer than 4096 bytes"},
	[SESSION_BAD_ENTRY_TYPE] = {"bad-entry-type", "an entry is no directory, file or link"},
};

const char *session_verdict_name(enum session_verdict verdict)
{
	return (unsigned)verdict < SESSION_VERDICTS ? verdicts[verdict].name : "?";
}

const char *session_verdict_text(enum session_verdict verdict)
{
	return (unsigned)verdict < SESSION_VERDICTS ? verdicts[verdict].text : "?";
}

static const char *const frame_names[] = {
	[SESSION_WELCOME] = "WELCOME",
	[SESSION_PING] = "PING",
	[SESSION_PONG] = "PONG",
	[SESSION_BYE] = "BYE",
	[SESSION_HELLO] = "HELLO",
	[SESSION_HEAD] = "HEAD",
	[SESSION_OFFER] = "OFFER",
	[SESSION_ENTRIES] = "ENTRIES",
	[SESSION_CONTENT] = "CONTENT",
	[SESSION_END] = "END",
	[SESSION_NEED] = "NEED",
	[SESSION_CANCEL] = "CANCEL",
	[SESSION_WANT] = "WANT",
	[SESSION_RESULT] = "RESULT",
	[SESSION_VERIFY] = "VERIFY",
	[SESSION_WALK_ASK] = "WALK_ASK",
	[SESSION_WALK_ANSWER] = "WALK_ANSWER",
	[SESSION_SYNC_REQUEST] = "SYNC_REQUEST",
};

const char *session_frame_name(uint8_t type)
{
	if (type >= sizeof(frame_names) / sizeof(frame_names[0]) || !frame_names[type])
		return "?";
	return frame_names[type];
}

static const char *const outcome_names[SESSION_OUTCOMES] = {
	[SESSION_RECEIVED] = "received", [SESSION_STAGED] = "staged",
	[SESSION_LIVE] = "live",	 [SESSION_LOADED] = "loaded",
	[SESSION_REFUSED] = "refused",	 [SESSION_WAITING] = "waiting",
	[SESSION_CONFLICT] = "conflict", [SESSION_DIVERGED] = "diverged",
	[SESSION_FAILED] = "failed",	 [SESSION_SUPERSEDED] = "superseded",
	[SESSION_ABSENT] = "absent",
};

const char *session_outcome_name(enum session_outcome outcome)
{
	return (unsigned)outcome < SESSION_OUTCOMES ? outcome_names[outcome] : "?";
}

bool session_outcome_final(enum session_outcome outcome)
{
	switch (outcome) {
	case SESSION_RECEIVED:
	case SESSION_STAGED:
	case SESSION_WAITING:
		return false;
	case SESSION_LIVE:
	case SESSION_LOADED:
	case SESSION_REFUSED:
	case SESSION_CONFLICT:
	case SESSION_DIVERGED:
	case SESSION_FAILED:
	case SESSION_SUPERSEDED:
	case SESSION_ABSENT:
	case SESSION_OUTCOMES:
		break;
	}
	return true;
}
