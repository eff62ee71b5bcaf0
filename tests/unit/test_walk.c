/* SPDX-License-Identifier: Apache-2.0 */
/* The descent: where two trees differ, found by asking. */
#include "syncd/walk.h"
#include "tests/unit/transfer_fixture.h"

static struct walk *descend(struct tree *own, struct tree *theirs, int *ret_questions)
{
	static uint8_t bytes[SESSION_CHUNK_BYTES_MAX];
	struct session_frame ask = {.type = SESSION_WALK_ASK}, answer;
	struct walk *walk;

	*ret_questions = 0;
	assert_int_equal(walk_new(own, &walk), 0);
	ask.walk_ask.walk = 1;
	while (walk_question(walk, &ask.walk_ask.path, &ask.walk_ask.after)) {
		static uint8_t payload[SESSION_PAYLOAD_BYTES_MAX];
		struct session_frame got;
		size_t size;

		++*ret_questions;
		walk_answer(theirs, &ask.walk_ask, bytes,
			    room < sizeof(bytes) ? room : sizeof(bytes), &answer);
		size = session_wire_encode(&answer, payload, sizeof(payload));
		assert_true(size > 0);
		assert_int_equal(session_wire_decode(SESSION_WALK_ANSWER, payload, size, &got),
				 SESSION_OK);
		assert_int_equal(walk_take(walk, &got.walk_answer), 0);
		assert_true(*ret_questions < 10000);
	}
	return walk;
}

static void two_trees(struct tree **own, struct tree **theirs)
{
	char path[64], text[32];

	*own = begin();
	*theirs = begin();
	for (int i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "/etc/nginx/conf.d/%03d.conf", i);
		snprintf(text, sizeof(text), "# %d\n", i);
		if (i != 17)
			add_file(*own, NULL, path, text);
		if (i != 250)
			add_file(*theirs, NULL, path, i == 100 ? "# other\n" : text);
	}
	add(*own, ENTRY_DIR, "/etc/nginx/same", NULL, 0, 0755);
	add(*theirs, ENTRY_DIR, "/etc/nginx/same", NULL, 0, 0755);
	add_file(*own, NULL, "/etc/nginx/same/a", "a");
	add_file(*theirs, NULL, "/etc/nginx/same/a", "a");
	add(*own, ENTRY_DIR, "/etc/nginx/owner", NULL, 0, 0755);
	add(*theirs, ENTRY_DIR, "/etc/nginx/owner", NULL, 0, 0700);
	add_file(*own, NULL, "/etc/nginx/owner/a", "a");
	add_file(*theirs, NULL, "/etc/nginx/owner/a", "a");
	finish(*own);
	finish(*theirs);
}

static bool names_path(struct walk *walk, const char *path)
{
	size_t count, total;
	const char *const *found = walk_paths(walk, &count, &total);

	for (size_t i = 0; i < count; i++) {
		if (strcmp(found[i], path) == 0)
			return true;
	}
	return false;
}

static void a_descent_finds_exactly_what_differs(void **state)
{
	struct tree *own, *theirs;
	size_t count, total, small[] = {SIZE_MAX, 400, 120};
	int questions;

	(void)state;
	two_trees(&own, &theirs);
	/* Also when an answer holds only some names. */
	for (size_t i = 0; i < 3; i++) {
		struct walk *walk;

		room = small[i];
		walk = descend(own, theirs, &questions);
		(void)walk_paths(walk, &count, &total);
		assert_int_equal(total, 4);
		assert_true(names_path(walk, "/etc/nginx/conf.d/017.conf"));
		assert_true(names_path(walk, "/etc/nginx/conf.d/100.conf"));
		assert_true(names_path(walk, "/etc/nginx/conf.d/250.conf"));
		assert_true(names_path(walk, "/etc/nginx/owner"));
		if (i == 0)
			/* The roots, /etc/nginx, conf.d, owner; not "same". */
			assert_int_equal(questions, 4);
		walk_free(walk);
	}
	tree_free(own);
	tree_free(theirs);
}

static void equal_trees_take_one_question(void **state)
{
	struct tree *own = common_base();
	size_t count, total;
	int questions;
	struct walk *walk = descend(own, own, &questions);

	(void)state;
	(void)walk_paths(walk, &count, &total);
	assert_int_equal(total, 0);
	assert_int_equal(questions, 1);
	walk_free(walk);
	tree_free(own);
}

static void answers_that_go_backwards_end_the_descent(void **state)
{
	struct session_walk_entry entry = {.type = SESSION_WALK_FILE};
	struct session_walk_answer answer = {.walk = 1, .count = 2};
	struct tree *own = common_base();
	uint8_t bytes[512];
	struct walk *walk;
	size_t at = 0;

	(void)state;
	assert_int_equal(walk_new(own, &walk), 0);
	entry.name = (struct session_string){"/b", 2};
	assert_true(session_walk_put(bytes, sizeof(bytes), &at, &entry));
	entry.name = (struct session_string){"/a", 2};
	assert_true(session_walk_put(bytes, sizeof(bytes), &at, &entry));
	answer.bytes = bytes;
	answer.size = at;
	answer.path = (struct session_string){"", 0};
	assert_int_equal(walk_take(walk, &answer), -EBADMSG);
	walk_free(walk);
	/* And an answer to another question. */
	assert_int_equal(walk_new(own, &walk), 0);
	answer.path = (struct session_string){"/etc", 4};
	assert_int_equal(walk_take(walk, &answer), -EBADMSG);
	walk_free(walk);
	tree_free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_descent_finds_exactly_what_differs),
		test(equal_trees_take_one_question),
		test(answers_that_go_backwards_end_the_descent),
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
