/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit that ends at every system call in turn: R8, R9, R10, R11.
 *
 * A child commits under ptrace and is killed as it enters its n-th system call, for every n until
 * it gets through. Then another one recovers, itself killed at some call of its own in half of the
 * rounds, and one more that is let through. Afterwards the tree is the old one or the new one,
 * whole, the head says which, and nothing is left in the stage. The same with a local edit that the
 * commit meets: then the tree is the old one or the new one, with exactly that edit. And an edit
 * that is saved between two system calls of a commit, for every two.
 */
#include "tests/unit/syncd_fixture.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define MIRROR "nginx"

/* In memory: what ends is the process, not the power, so nothing that fsync does can be seen. */
static char top[64];
static struct node web1;
static struct tree *old_tree, *new_tree; /* edits are none of theirs */
static uint8_t old_id[32], new_id[32];

static void sh(const char *dir, const char *script)
{
	char command[4096];
	snprintf(command, sizeof command, "cd '%s' && %s", dir, script);
	assert_int_equal(system(command), 0);
}

static void make_old(const char *dir)
{
	sh(dir,
	   "mkdir -p conf.d sub && echo main > nginx.conf && echo a > conf.d/a && "
	   "echo b > conf.d/b && echo x > sub/x && ln -s a l && echo f > type && chmod 640 type");
}

static void make_new(const char *dir)
{
	sh(dir,
	   "echo main2 > nginx.conf && echo a2 > conf.d/a && rm conf.d/b && echo c > conf.d/c && "
	   "rm -r sub && mkdir fresh && echo y > fresh/y && ln -sfn b l && rm type && mkdir type "
	   "&& "
	   "echo in > type/in && chmod 0711 conf.d && chown 1:1 conf.d");
}

/* Each round starts from a copy of this: files, state, database. */
static void make_template(void)
{
	struct node copy;
	node_init_in(&web1, "web1", top);
	make_old(web1.path);
	old_tree = node_scan(&web1);
	node_author(&web1, MIRROR, old_tree, true, old_id);
	copy = web1;
	snprintf(copy.path, sizeof copy.path, "%s/copy", web1.dir);
	char command[1024];
	snprintf(command, sizeof command, "cp -a '%s' '%s'", web1.path, copy.path);
	assert_int_equal(system(command), 0);
	make_new(copy.path);
	new_tree = node_scan_as(&copy, web1.path);
	run_rm(copy.path);
	node_author(&web1, MIRROR, new_tree, false, new_id);
	node_close(&web1);
	snprintf(command, sizeof command, "cp -a '%s' '%s/template'", web1.dir, top);
	assert_int_equal(system(command), 0);
}

static void reset(const char *edited)
{
	char command[1024];
	snprintf(command, sizeof command, "rm -rf '%s' && cp -a '%s/template' '%s'", web1.dir, top,
		 web1.dir);
	assert_int_equal(system(command), 0);
	if (edited)
		save_text(node_at(&web1, edited), "mine\n");
}

/* ---- what the children do ---- */

/* The live tree as the template's scan saw it; a copy has other inodes, so the sights are taken
 * again, but not of what is edited: the commit must find out. */
static struct tree *known_live(const char *edited)
{
	struct tree *scanned = node_scan(&web1), *known = NULL;
	struct entry fix;
	const struct entry *was =
		edited ? tree_find(old_tree, node_at(&web1, edited), strlen(node_at(&web1, edited)))
		       : NULL;
	if (!edited)
		return scanned;
	if (was) {
		fix = *was;
		memset(&fix.seen, 0, sizeof fix.seen);
		assert_int_equal(tree_apply(scanned, NULL, 0, &fix, 1, &known), 0);
	} else {
		const char *path = node_at(&web1, edited);
		assert_int_equal(tree_apply(scanned, &path, 1, NULL, 0, &known), 0);
	}
	tree_free(scanned);
	assert_memory_equal(known->hash, old_tree->hash, 32);
	return known;
}

static void child_commits(const char *edited)
{
	struct commit_result result;
	node_open(&web1);
	struct tree *from = known_live(edited);
	assert_int_equal(store_live_set(web1.store, MIRROR, from), 0);
	struct stage *stage = node_stage(&web1, from, new_tree, new_id);
	raise(SIGSTOP); /* from here on every call counts */
	int rc = commit_run(web1.store, MIRROR, stage, &result, &web1.fault);
	_exit(rc != 0 ? 3 : result.outcome == COMMIT_LIVE ? 0 : 1);
}

static void child_recovers(const char *edited)
{
	struct commit_result result;
	(void)edited;
	node_open(&web1);
	raise(SIGSTOP);
	int rc = commit_recover(web1.store, web1.objects, MIRROR, &result, &web1.fault);
	if (rc != 0)
		fprintf(stderr, "recovery: %s\n", web1.fault.text);
	_exit(rc != 0 ? 3 : 0);
}

/* ---- killing ---- */

/* A child that stands at its mark. */
static pid_t start_traced(void (*child)(const char *edited), const char *edited)
{
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(9);
		child(edited);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
		fail_msg("the child has not come to the mark (status %x)", (unsigned)status);
	return pid;
}

/* Goes on to the next stop. A call stops twice, going in and coming out. Killed going in, it does
 * not happen, so that coming out of one and going into the next are the same point. Returns -1, or
 * the exit status of a child that has ended. */
static int next_stop(pid_t pid)
{
	int status;
	assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
		fail_msg("the child died by itself (status %x)", (unsigned)status);
	return -1;
}

/* Runs the child and kills it as it enters its calls_max-th system call after the mark. Returns its
 * exit status, or -1 if it was killed. */
static int run_killed(void (*child)(const char *edited), const char *edited, unsigned calls_max,
		      unsigned *ret_calls)
{
	int status;
	unsigned stops = 0;
	pid_t pid = start_traced(child, edited);
	while (stops < calls_max) {
		status = next_stop(pid);
		if (status >= 0) {
			*ret_calls = stops;
			return status;
		}
		stops++;
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	*ret_calls = stops;
	return -1;
}

/* ---- what must hold afterwards ---- */

static int count_differences(const struct tree *wanted, const struct tree *live, const char *but)
{
	struct tree_diff diff;
	struct tree_change change;
	int count = 0;
	tree_diff_init(&diff, wanted, live);
	while (tree_diff_next(&diff, &change)) {
		const char *path = change.from ? change.from->path : change.to->path;
		if (!but || strcmp(path, node_at(&web1, but)) != 0)
			count++;
	}
	return count;
}

/* Returns whether the new generation is the one that is live. */
static bool check(unsigned round, const char *edited)
{
	struct store_journal journal;
	uint8_t head[32];
	struct stat st;
	node_open(&web1);
	assert_int_equal(store_journal_get(web1.store, MIRROR, &journal), -ENOENT);
	struct tree *live = node_scan(&web1), *known;
	assert_int_equal(store_head_get(web1.store, MIRROR, head), 0);
	bool is_new = memcmp(head, new_id, 32) == 0;
	/* R9, R11. */
	int differences = count_differences(is_new ? new_tree : old_tree, live, edited);
	if (differences != 0)
		fail_msg("round %u: %d paths are not as the %s generation has them", round,
			 differences, is_new ? "new" : "old");
	/* R10. */
	if (edited && !has_text(node_at(&web1, edited), "mine\n"))
		fail_msg("round %u: the edit is lost", round);
	/* R12: what is stored as live is what the head says. */
	assert_int_equal(store_live_get(web1.store, MIRROR, &known), 0);
	assert_memory_equal(known->hash, (is_new ? new_tree : old_tree)->hash, 32);
	assert_int_equal(stage_sweep(web1.paths, 1, STAGE_SWEEP_ALL, NULL, web1.objects, NULL, NULL,
				     &web1.fault),
			 0);
	assert_int_equal(lstat(node_at(&web1, ENTRY_STAGE_NAME), &st), -1);
	tree_free(known);
	tree_free(live);
	node_close(&web1);
	return is_new;
}

static void end_everywhere(const char *edited, int expected, unsigned step)
{
	unsigned killed_at = 1, calls, rounds = 0, seed = 1, old_count = 0, new_count = 0;
	int status;
	for (;; killed_at += step, rounds++) {
		reset(edited);
		status = run_killed(child_commits, edited, killed_at, &calls);
		if (status >= 0)
			break;
		/* Every other time the recovery is ended as well, somewhere. */
		if (rounds % 2) {
			unsigned there;
			seed = seed * 1103515245 + 12345;
			(void)run_killed(child_recovers, edited, 1 + (seed >> 16) % 300, &there);
		}
		assert_int_equal(run_killed(child_recovers, edited, UINT32_MAX, &calls), 0);
		bool is_new = check(killed_at, edited);
		new_count += is_new;
		old_count += !is_new;
		assert_false(edited && is_new);
	}
	assert_int_equal(status, expected);
	assert_int_equal(check(killed_at, edited), edited == NULL);
	/* Before the journal is written nothing has happened; after it, recovery completes. */
	assert_true(old_count > 5);
	assert_int_equal(new_count > rounds / 2, edited == NULL);
	assert_true(rounds > 20);
	printf("figure: ended at %u points of a commit%s, recovered whole each time\n", rounds,
	       edited ? " that meets a local edit" : "");
}

static void an_end_at_any_call_leaves_a_whole_tree(void **state)
{
	(void)state;
	end_everywhere(NULL, 0, 2);
}

static void an_end_at_any_call_keeps_a_local_edit(void **state)
{
	(void)state;
	end_everywhere("conf.d/a", 1, 4);
	end_everywhere("conf.d/b", 1, 10);
	end_everywhere("conf.d/c", 1, 10);
}

/* ---- an editor that saves at every call in turn ---- */

/* Returns what the commit came to, or -1 if it was over before the edit. */
static int commit_with_edit_at(unsigned stops, const char *edited)
{
	int status = -1;
	pid_t pid = start_traced(child_commits, NULL);
	for (unsigned i = 0; i < stops && status < 0; i++)
		status = next_stop(pid);
	if (status >= 0)
		return -1;
	save_text(node_at(&web1, edited), "mine\n");
	while (status < 0)
		status = next_stop(pid);
	return status;
}

static void an_edit_at_any_call_of_a_commit_is_kept(void **state)
{
	/* One that is replaced, one that goes, one that comes. */
	static const char *const edited[] = {"conf.d/a", "conf.d/b", "conf.d/c"};
	unsigned live_count = 0, edited_count = 0;
	(void)state;
	for (unsigned at = 1;; at += 2) {
		const char *path = edited[at / 2 % 3];
		reset(NULL);
		int status = commit_with_edit_at(at, path);
		if (status < 0)
			break;
		assert_in_range(status, 0, 1);
		assert_int_equal(check(at, path), status == 0);
		live_count += status == 0;
		edited_count += status == 1;
	}
	/* Whoever comes before the commit has looked is in its way, the others are not. */
	assert_true(live_count > 10 && edited_count > 10);
	printf("figure: edited at %u calls of a commit, each edit kept: %u before it (and it went "
	       "back), %u after it\n",
	       live_count + edited_count, edited_count, live_count);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(top, "/dev/shm/tandem-crash-XXXXXX");
	assert_non_null(mkdtemp(top));
	make_template();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tree_free(old_tree);
	tree_free(new_tree);
	run_rm(top);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_end_at_any_call_leaves_a_whole_tree),
		cmocka_unit_test(an_end_at_any_call_keeps_a_local_edit),
		cmocka_unit_test(an_edit_at_any_call_of_a_commit_is_kept),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
