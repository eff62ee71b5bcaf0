/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shared/wire.h"
#include "syncd/session_wire.h"

static uint8_t bytes[SESSION_PAYLOAD_BYTES_MAX + 64];
static uint8_t header[SESSION_HEADER_BYTES_MAX];
static uint8_t data[SESSION_CHUNK_BYTES_MAX];

static struct session_string string(const char *text)
{
	return (struct session_string){text, strlen(text)};
}

static void fill(uint8_t *at, size_t size, uint8_t from)
{
	for (size_t i = 0; i < size; i++)
		at[i] = (uint8_t)(from + i);
}

/* Frames of every type, as large as each may be where that matters. */
static int frames(struct session_frame list[32])
{
	struct session_frame *f = list;

	memset(list, 0, sizeof(*list) * 32);
	fill(header, sizeof(header), 1);
	fill(data, sizeof(data), 7);
	f->type = SESSION_WELCOME;
	f->welcome.version = SESSION_PROTOCOL_VERSION;
	strcpy(f->welcome.cluster, "edge");
	strcpy(f++->welcome.node, "web1");
	f->type = SESSION_PING;
	f++->ping.token = 0x1122334455667788;
	f->type = SESSION_PONG;
	f++->ping.token = UINT64_MAX;
	f->type = SESSION_BYE;
	f++->bye.reason = string("enough");
	f->type = SESSION_HELLO;
	fill(f->hello.config_hash, 32, 3);
	fill(f->hello.signed_by, SESSION_SIGNED_BYTES, 9);
	strcpy(f->hello.software, "0.1.0");
	f->hello.mirrors_count = SESSION_MIRRORS_MAX;
	for (int i = 0; i < SESSION_MIRRORS_MAX; i++) {
		memset(f->hello.mirrors[i].name, 'a' + i, SESSION_NAME_BYTES_MAX);
		fill(f->hello.mirrors[i].definition, 32, (uint8_t)i);
	}
	f++;
	f->type = SESSION_HELLO;
	strcpy(f++->hello.software, "no mirrors");
	f->type = SESSION_HEAD;
	f++->head.slot = 3;
	f->type = SESSION_HEAD;
	f->head.slot = SESSION_MIRRORS_MAX - 1;
	f->head.present = true;
	f->head.header = header;
	f->head.header_size = SESSION_HEADER_BYTES_MAX;
	fill(f++->head.signed_by, SESSION_SIGNED_BYTES, 9);
	f->type = SESSION_OFFER;
	f->offer.slot = 1;
	f->offer.transfer = 7;
	f->offer.header = header;
	f->offer.header_size = 100;
	f->offer.has_base = true;
	fill(f->offer.base, 32, 5);
	f->offer.entries_count = 2 * SESSION_ENTRIES_MAX;
	f->offer.tree_count = SESSION_ENTRIES_MAX;
	f++->offer.tree_bytes = 1ull << 40;
	f->type = SESSION_OFFER;
	f->offer.transfer = UINT32_MAX;
	f->offer.header = header;
	f++->offer.header_size = 1;
	f->type = SESSION_ENTRIES;
	f->entries.transfer = 1;
	f->entries.count = 65535;
	f->entries.bytes = data;
	f++->entries.size = SESSION_CHUNK_BYTES_MAX;
	f->type = SESSION_CONTENT;
	f->content.transfer = 2;
	fill(f->content.object, 32, 11);
	f->content.object_size = SESSION_OBJECT_BYTES_MAX;
	f->content.encoding = SESSION_DELTA;
	fill(f->content.base, 32, 12);
	f->content.encoded_size = SESSION_OBJECT_BYTES_MAX;
	f->content.offset = SESSION_OBJECT_BYTES_MAX - SESSION_CHUNK_BYTES_MAX;
	f->content.bytes = data;
	f++->content.size = SESSION_CHUNK_BYTES_MAX;
	f->type = SESSION_CONTENT;
	f->content.transfer = 2;
	f++->content.encoding = SESSION_RAW; /* an empty file */
	f->type = SESSION_END;
	f->end.slot = 15;
	f++->end.transfer = 3;
	f->type = SESSION_NEED;
	f->need.transfer = 4;
	f++->need.kind = SESSION_NEED_MANIFEST;
	f->type = SESSION_NEED;
	f->need.transfer = 4;
	f->need.kind = SESSION_NEED_OBJECTS;
	f->need.count = SESSION_NEED_HASHES_MAX;
	f++->need.hashes = data;
	f->type = SESSION_CANCEL;
	f->cancel.transfer = 5;
	f++->cancel.reason = string("the generation is gone");
	f->type = SESSION_WANT;
	fill(f->want.id, 32, 13);
	f->want.has_base = true;
	fill(f++->want.base, 32, 14);
	f->type = SESSION_WANT;
	fill(f++->want.id, 32, 13);
	f->type = SESSION_RESULT;
	fill(f->result.id, 32, 15);
	f->result.outcome = SESSION_REFUSED;
	f++->result.text = string("nginx: [emerg] unknown directive \"listn\" in a.conf:1");
	f->type = SESSION_VERIFY;
	f->verify.answer = true;
	fill(f->verify.id, 32, 16);
	fill(f++->verify.tree, 32, 17);
	f->type = SESSION_WALK_ASK;
	f->walk_ask.walk = 1;
	f->walk_ask.path = string("/etc/nginx/conf.d");
	f++->walk_ask.after = string("z.conf");
	f->type = SESSION_WALK_ASK;
	f++->walk_ask.walk = 2;
	f->type = SESSION_WALK_ANSWER;
	f->walk_answer.walk = 3;
	f->walk_answer.path = string("/etc/nginx");
	f++->walk_answer.bytes = data; /* an empty directory */
	f->type = SESSION_SYNC_REQUEST;
	f++->sync_request.slot = 2;
	f->type = SESSION_NODE;
	f++->node.maintenance = true;
	return (int)(f - list);
}

static void every_frame_survives_the_round_trip(void **state)
{
	struct session_frame list[32], got;
	static uint8_t again[SESSION_PAYLOAD_BYTES_MAX];
	int count = frames(list);

	(void)state;
	for (int i = 0; i < count; i++) {
		size_t size = session_wire_encode(&list[i], bytes, sizeof(bytes)), size_again;

		assert_true(size > 0);
		assert_int_equal(session_wire_decode(list[i].type, bytes, size, &got), SESSION_OK);
		assert_int_equal(got.type, list[i].type);
		size_again = session_wire_encode(&got, again, sizeof(again));
		assert_int_equal(size_again, size);
		assert_memory_equal(again, bytes, size);
	}
}

static void fields_come_back_as_they_were(void **state)
{
	struct session_frame list[32], got;
	int count = frames(list);
	size_t size;

	(void)state;
	for (int i = 0; i < count; i++) {
		size = session_wire_encode(&list[i], bytes, sizeof(bytes));
		assert_int_equal(session_wire_decode(list[i].type, bytes, size, &got), SESSION_OK);
		switch (list[i].type) {
		case SESSION_OFFER:
			assert_int_equal(got.offer.transfer, list[i].offer.transfer);
			assert_int_equal(got.offer.tree_bytes, list[i].offer.tree_bytes);
			assert_int_equal(got.offer.has_base, list[i].offer.has_base);
			assert_memory_equal(got.offer.header, list[i].offer.header,
					    list[i].offer.header_size);
			break;
		case SESSION_CONTENT:
			assert_int_equal(got.content.offset, list[i].content.offset);
			assert_int_equal(got.content.size, list[i].content.size);
			break;
		case SESSION_RESULT:
			assert_int_equal(got.result.outcome, SESSION_REFUSED);
			assert_int_equal(got.result.text.size, list[i].result.text.size);
			assert_memory_equal(got.result.text.bytes, list[i].result.text.bytes,
					    got.result.text.size);
			break;
		case SESSION_WALK_ASK:
			assert_int_equal(got.walk_ask.path.size, list[i].walk_ask.path.size);
			assert_int_equal(got.walk_ask.after.size, list[i].walk_ask.after.size);
			break;
		default:
			break;
		}
	}
}

static void every_cut_of_every_frame_is_refused(void **state)
{
	struct session_frame list[32], got;
	int count = frames(list);

	(void)state;
	for (int i = 0; i < count; i++) {
		size_t size = session_wire_encode(&list[i], bytes, sizeof(bytes));
		/* Frames that end in "the rest" are whole with the first byte of it. */
		size_t from = list[i].type == SESSION_ENTRIES ? 8 : size;

		if (list[i].type == SESSION_CONTENT && list[i].content.size > 0)
			from = size - list[i].content.size + 1;
		for (size_t cut = 0; cut < from; cut++) {
			/* In memory of its own, so that the sanitizer sees a read past the end. */
			uint8_t *copy = test_malloc(cut ? cut : 1);

			memcpy(copy, bytes, cut);
			assert_int_not_equal(session_wire_decode(list[i].type, copy, cut, &got),
					     SESSION_OK);
			test_free(copy);
		}
	}
}

static void bytes_after_the_last_field_are_refused(void **state)
{
	struct session_frame list[32], got;
	int count = frames(list);

	(void)state;
	for (int i = 0; i < count; i++) {
		size_t size = session_wire_encode(&list[i], bytes, sizeof(bytes));

		if (list[i].type == SESSION_ENTRIES || list[i].type == SESSION_CONTENT)
			continue; /* those end with "the rest" */
		bytes[size] = 0;
		assert_int_equal(session_wire_decode(list[i].type, bytes, size + 1, &got),
				 SESSION_TRAILING_BYTES);
	}
}

/* One writer for what the encoder itself would not write. */
static struct wire_writer w;

static struct wire_writer *start(void)
{
	wire_writer_init(&w, bytes, sizeof(bytes));
	return &w;
}

static enum session_verdict judge(uint8_t type)
{
	struct session_frame got;

	assert_true(wire_writer_ok(&w));
	return session_wire_decode(type, bytes, w.at, &got);
}

static void put_zeros(size_t size)
{
	static const uint8_t zeros[SESSION_HEADER_BYTES_MAX + 8];

	wire_put_bytes(&w, zeros, size);
}

static void put_text(const char *text)
{
	wire_put_string(&w, text, strlen(text));
}

static void an_unknown_type_is_named(void **state)
{
	(void)state;
	start();
	assert_int_equal(judge(0), SESSION_BAD_TYPE);
	assert_int_equal(judge(15), SESSION_BAD_TYPE);
	assert_int_equal(judge(31), SESSION_BAD_TYPE);
	assert_int_equal(judge(255), SESSION_BAD_TYPE);
}

static void a_payload_past_the_limit_is_named(void **state)
{
	struct session_frame got;

	(void)state;
	assert_int_equal(
		session_wire_decode(SESSION_ENTRIES, bytes, SESSION_PAYLOAD_BYTES_MAX + 1, &got),
		SESSION_TOO_LARGE);
}

static void another_version_is_named_whatever_follows(void **state)
{
	(void)state;
	start();
	wire_put_u16(&w, SESSION_PROTOCOL_VERSION + 1);
	put_zeros(3);
	assert_int_equal(judge(SESSION_WELCOME), SESSION_BAD_VERSION);
}

static void names_are_checked(void **state)
{
	static const char *const bad[] = {"", "1web", "-web", "we b", "web/1", "w\x80"};
	char long_name[SESSION_NAME_BYTES_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start();
		wire_put_u16(&w, SESSION_PROTOCOL_VERSION);
		put_text("edge");
		put_text(bad[i]);
		assert_int_equal(judge(SESSION_WELCOME), SESSION_BAD_NAME);
	}
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	start();
	wire_put_u16(&w, SESSION_PROTOCOL_VERSION);
	put_text("edge");
	put_text(long_name);
	assert_int_equal(judge(SESSION_WELCOME), SESSION_NAME_TOO_LONG);
}

static void mirrors_of_a_hello_are_checked(void **state)
{
	(void)state;
	start();
	put_zeros(32);
	put_text("0.1.0");
	wire_put_u8(&w, SESSION_MIRRORS_MAX + 1);
	assert_int_equal(judge(SESSION_HELLO), SESSION_TOO_MANY_MIRRORS);
	start();
	put_zeros(32);
	put_text("0.1.0");
	wire_put_u8(&w, 2);
	for (int i = 0; i < 2; i++) {
		put_text("nginx");
		put_zeros(32);
	}
	assert_int_equal(judge(SESSION_HELLO), SESSION_DUPLICATE_NAME);
}

static void slots_flags_and_transfers_are_checked(void **state)
{
	(void)state;
	start();
	wire_put_u8(&w, SESSION_MIRRORS_MAX);
	assert_int_equal(judge(SESSION_SYNC_REQUEST), SESSION_BAD_SLOT);
	start();
	wire_put_u8(&w, 0);
	wire_put_u8(&w, 2);
	assert_int_equal(judge(SESSION_HEAD), SESSION_BAD_FLAG);
	start();
	wire_put_u8(&w, 0);
	wire_put_u32(&w, 0);
	assert_int_equal(judge(SESSION_END), SESSION_BAD_TRANSFER);
}

static void headers_are_bounded(void **state)
{
	(void)state;
	start();
	wire_put_u8(&w, 0);
	wire_put_u8(&w, 1);
	wire_put_u16(&w, SESSION_HEADER_BYTES_MAX + 1);
	put_zeros(SESSION_HEADER_BYTES_MAX + 1);
	put_zeros(SESSION_SIGNED_BYTES);
	assert_int_equal(judge(SESSION_HEAD), SESSION_HEADER_TOO_LONG);
	start();
	wire_put_u8(&w, 0);
	wire_put_u8(&w, 1);
	wire_put_u16(&w, 0);
	put_zeros(SESSION_SIGNED_BYTES);
	assert_int_equal(judge(SESSION_HEAD), SESSION_EMPTY_HEADER);
}

static void offer(uint32_t entries, uint32_t tree)
{
	start();
	wire_put_u8(&w, 0);
	wire_put_u32(&w, 1);
	wire_put_u16(&w, 1);
	put_zeros(1 + SESSION_SIGNED_BYTES);
	wire_put_u8(&w, 0);
	wire_put_u32(&w, entries);
	wire_put_u32(&w, tree);
	wire_put_u64(&w, 0);
}

static void trees_are_bounded(void **state)
{
	(void)state;
	offer(2 * SESSION_ENTRIES_MAX, SESSION_ENTRIES_MAX);
	assert_int_equal(judge(SESSION_OFFER), SESSION_OK);
	offer(2 * SESSION_ENTRIES_MAX + 1, 1);
	assert_int_equal(judge(SESSION_OFFER), SESSION_TOO_MANY_ENTRIES);
	offer(1, SESSION_ENTRIES_MAX + 1);
	assert_int_equal(judge(SESSION_OFFER), SESSION_TOO_MANY_ENTRIES);
}

static void empty_pieces_are_refused(void **state)
{
	(void)state;
	start();
	wire_put_u8(&w, 0);
	wire_put_u32(&w, 1);
	wire_put_u16(&w, 1);
	assert_int_equal(judge(SESSION_ENTRIES), SESSION_EMPTY_CHUNK);
}

static void content(uint8_t encoding, uint64_t size, uint64_t encoded, uint64_t offset,
		    size_t piece)
{
	start();
	wire_put_u8(&w, 0);
	wire_put_u32(&w, 1);
	put_zeros(32);
	wire_put_u64(&w, size);
	wire_put_u8(&w, encoding);
	if (encoding == SESSION_DELTA)
		put_zeros(32);
	wire_put_u64(&w, encoded);
	wire_put_u64(&w, offset);
	put_zeros(piece);
}

static void contents_are_checked(void **state)
{
	(void)state;
	content(SESSION_ENCODINGS, 100, 10, 0, 10);
	assert_int_equal(judge(SESSION_CONTENT), SESSION_BAD_ENCODING);
	content(SESSION_ZSTD, SESSION_OBJECT_BYTES_MAX + 1, 10, 0, 10);
	assert_int_equal(judge(SESSION_CONTENT), SESSION_OBJECT_TOO_LARGE);
	/* An encoding that is longer than the object is not the smallest. */
	content(SESSION_ZSTD, 10, 11, 0, 11);
	assert_int_equal(judge(SESSION_CONTENT), SESSION_OBJECT_TOO_LARGE);
	content(SESSION_RAW, 10, 9, 0, 9);
	assert_int_equal(judge(SESSION_CONTENT), SESSION_OBJECT_TOO_LARGE);
	content(SESSION_ZSTD, 100, 10, 0, 0);
	assert_int_equal(judge(SESSION_CONTENT), SESSION_EMPTY_CHUNK);
	content(SESSION_ZSTD, 100, 10, 1, 10);
	assert_int_equal(judge(SESSION_CONTENT), SESSION_CHUNK_OUT_OF_BOUNDS);
	content(SESSION_ZSTD, 100, 10, UINT64_MAX, 10);
	assert_int_equal(judge(SESSION_CONTENT), SESSION_CHUNK_OUT_OF_BOUNDS);
	content(SESSION_DELTA, 100, 10, 5, 5);
	assert_int_equal(judge(SESSION_CONTENT), SESSION_OK);
}

static void need(uint8_t kind, uint16_t count)
{
	start();
	wire_put_u8(&w, 0);
	wire_put_u32(&w, 1);
	wire_put_u8(&w, kind);
	wire_put_u16(&w, count);
	for (int i = 0; i < count; i++)
		put_zeros(32);
}

static void needs_are_checked(void **state)
{
	(void)state;
	need(SESSION_NEEDS, 0);
	assert_int_equal(judge(SESSION_NEED), SESSION_BAD_NEED);
	need(SESSION_NEED_OBJECTS, 0);
	assert_int_equal(judge(SESSION_NEED), SESSION_BAD_NEED);
	need(SESSION_NEED_MANIFEST, 1);
	assert_int_equal(judge(SESSION_NEED), SESSION_BAD_NEED);
	need(SESSION_NEED_OBJECTS, SESSION_NEED_HASHES_MAX + 1);
	assert_int_equal(judge(SESSION_NEED), SESSION_BAD_NEED);
}

static void result(uint8_t outcome, size_t text_size, const char *text)
{
	start();
	wire_put_u8(&w, 0);
	put_zeros(32);
	wire_put_u8(&w, outcome);
	wire_put_string(&w, text, text_size);
}

static void results_are_checked(void **state)
{
	static char text[SESSION_TEXT_BYTES_MAX + 1];

	(void)state;
	memset(text, 'x', sizeof(text));
	result(SESSION_OUTCOMES, 1, text);
	assert_int_equal(judge(SESSION_RESULT), SESSION_BAD_OUTCOME);
	result(SESSION_LIVE, sizeof(text), text);
	assert_int_equal(judge(SESSION_RESULT), SESSION_TEXT_TOO_LONG);
	result(SESSION_LIVE, 3, "a\0b");
	assert_int_equal(judge(SESSION_RESULT), SESSION_TEXT_TOO_LONG);
}

static void ask(const char *path, size_t size)
{
	start();
	wire_put_u8(&w, 0);
	wire_put_u32(&w, 1);
	wire_put_string(&w, path, size);
	wire_put_string(&w, "", 0);
}

static void paths_are_checked(void **state)
{
	static char path[SESSION_PATH_BYTES_MAX + 1];

	(void)state;
	ask("etc/nginx", 9);
	assert_int_equal(judge(SESSION_WALK_ASK), SESSION_BAD_PATH);
	ask("/etc\0x", 6);
	assert_int_equal(judge(SESSION_WALK_ASK), SESSION_BAD_PATH);
	memset(path, '/', sizeof(path));
	ask(path, sizeof(path));
	assert_int_equal(judge(SESSION_WALK_ASK), SESSION_PATH_TOO_LONG);
}

static void entries_of_an_answer_are_checked_before_they_are_used(void **state)
{
	struct session_walk_entry entry = {.type = SESSION_WALK_FILE, .name = string("a.conf")},
				  got;
	struct session_frame frame = {.type = SESSION_WALK_ANSWER}, decoded;
	uint8_t entries[256];
	size_t at = 0, size;

	(void)state;
	frame.walk_answer.walk = 1;
	frame.walk_answer.path = string("/etc");
	frame.walk_answer.bytes = entries;
	assert_true(session_walk_put(entries, sizeof(entries), &at, &entry));
	entry.name = string("b.conf");
	assert_true(session_walk_put(entries, sizeof(entries), &at, &entry));
	frame.walk_answer.count = 2;
	frame.walk_answer.size = at;
	size = session_wire_encode(&frame, bytes, sizeof(bytes));
	assert_int_equal(session_wire_decode(SESSION_WALK_ANSWER, bytes, size, &decoded),
			 SESSION_OK);
	at = 0;
	assert_true(session_walk_next(&decoded.walk_answer, &at, &got));
	assert_int_equal(got.name.size, 6);
	assert_true(session_walk_next(&decoded.walk_answer, &at, &got));
	assert_memory_equal(got.name.bytes, "b.conf", 6);
	assert_false(session_walk_next(&decoded.walk_answer, &at, &got));

	entries[0] = SESSION_WALK_SYMLINK + 1;
	size = session_wire_encode(&frame, bytes, sizeof(bytes));
	assert_int_equal(session_wire_decode(SESSION_WALK_ANSWER, bytes, size, &decoded),
			 SESSION_BAD_ENTRY_TYPE);
	entries[0] = SESSION_WALK_FILE;
	frame.walk_answer.count = 3;
	size = session_wire_encode(&frame, bytes, sizeof(bytes));
	assert_int_equal(session_wire_decode(SESSION_WALK_ANSWER, bytes, size, &decoded),
			 SESSION_TOO_SHORT);
	frame.walk_answer.count = 1;
	size = session_wire_encode(&frame, bytes, sizeof(bytes));
	assert_int_equal(session_wire_decode(SESSION_WALK_ANSWER, bytes, size, &decoded),
			 SESSION_TRAILING_BYTES);
	frame.walk_answer.count = 0;
	frame.walk_answer.size = 0;
	frame.walk_answer.more = true;
	size = session_wire_encode(&frame, bytes, sizeof(bytes));
	assert_int_equal(session_wire_decode(SESSION_WALK_ANSWER, bytes, size, &decoded),
			 SESSION_EMPTY_CHUNK);
}

static void what_does_not_fit_is_not_encoded(void **state)
{
	struct session_frame list[32];
	int count = frames(list);

	(void)state;
	for (int i = 0; i < count; i++) {
		size_t size = session_wire_encode(&list[i], bytes, sizeof(bytes));

		assert_int_equal(session_wire_encode(&list[i], bytes, size - 1), 0);
	}
}

static void long_words_are_cut_not_refused(void **state)
{
	static char text[2 * SESSION_TEXT_BYTES_MAX];
	struct session_frame frame = {.type = SESSION_RESULT}, got;
	size_t size;

	(void)state;
	memset(text, 'x', sizeof(text));
	frame.result.text = (struct session_string){text, sizeof(text)};
	size = session_wire_encode(&frame, bytes, sizeof(bytes));
	assert_int_equal(session_wire_decode(SESSION_RESULT, bytes, size, &got), SESSION_OK);
	assert_int_equal(got.result.text.size, SESSION_TEXT_BYTES_MAX);
}

static void every_verdict_frame_and_outcome_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i < SESSION_VERDICTS; i++) {
		assert_non_null(session_verdict_name((enum session_verdict)i));
		assert_non_null(session_verdict_text((enum session_verdict)i));
	}
	for (int i = 0; i < SESSION_OUTCOMES; i++)
		assert_non_null(session_outcome_name((enum session_outcome)i));
	assert_string_equal(session_frame_name(SESSION_OFFER), "OFFER");
	assert_string_equal(session_frame_name(5), "?");
	assert_string_equal(session_frame_name(200), "?");
	assert_false(session_outcome_final(SESSION_WAITING));
	assert_true(session_outcome_final(SESSION_REFUSED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_frame_survives_the_round_trip),
		cmocka_unit_test(fields_come_back_as_they_were),
		cmocka_unit_test(every_cut_of_every_frame_is_refused),
		cmocka_unit_test(bytes_after_the_last_field_are_refused),
		cmocka_unit_test(an_unknown_type_is_named),
		cmocka_unit_test(a_payload_past_the_limit_is_named),
		cmocka_unit_test(another_version_is_named_whatever_follows),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(mirrors_of_a_hello_are_checked),
		cmocka_unit_test(slots_flags_and_transfers_are_checked),
		cmocka_unit_test(headers_are_bounded),
		cmocka_unit_test(trees_are_bounded),
		cmocka_unit_test(empty_pieces_are_refused),
		cmocka_unit_test(contents_are_checked),
		cmocka_unit_test(needs_are_checked),
		cmocka_unit_test(results_are_checked),
		cmocka_unit_test(paths_are_checked),
		cmocka_unit_test(entries_of_an_answer_are_checked_before_they_are_used),
		cmocka_unit_test(what_does_not_fit_is_not_encoded),
		cmocka_unit_test(long_words_are_cut_not_refused),
		cmocka_unit_test(every_verdict_frame_and_outcome_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
