/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a group asks of its members, cell by cell: the members' states are set by hand.
 * test_group_fsm.c has whole nodes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/group_fsm.h"

static struct vrrp_fsm a, b, c;
static struct group_fsm group;
static struct group_member members[3];

static void begin(enum vrrp_state of_a, enum vrrp_state of_b, enum vrrp_state of_c)
{
	struct vrrp_fsm *const all[] = {&a, &b, &c};
	const enum vrrp_state states[] = {of_a, of_b, of_c};

	group_fsm_init(&group);
	for (int i = 0; i < 3; i++) {
		memset(all[i], 0, sizeof(*all[i]));
		all[i]->conf.nodes_count = 3;
		all[i]->conf.grouped = true;
		all[i]->state = states[i];
		all[i]->master = all[i]->left_node = -1;
		all[i]->leave_end_us = VRRP_NEVER_US;
		members[i].fsm = all[i];
	}
}

/* As letters: - nothing, T take, Y yield, H hand over, L left. */
static const char *judge(void)
{
	static char text[4];
	const enum vrrp_state before = group.state;
	const bool changed = group_fsm_judge(&group, members, 3);

	assert_int_equal(changed, group.state != before);
	for (int i = 0; i < 3; i++)
		text[i] = "-TYHL"[members[i].todo];
	return text;
}

static void all_take_over_once_all_want_to_or_hold(void **state)
{
	(void)state;
	begin(VRRP_BACKUP, VRRP_BACKUP, VRRP_BACKUP);
	assert_string_equal(judge(), "---");
	assert_int_equal(group.state, VRRP_BACKUP);
	a.wants = b.wants = true;
	assert_string_equal(judge(), "---");
	c.wants = true;
	assert_string_equal(judge(), "TTT");
	a.state = VRRP_MASTER;
	assert_string_equal(judge(), "-TT");
	a.state = VRRP_BACKUP;
	a.wants = false;
	assert_string_equal(judge(), "---");
	a.state = VRRP_LEAVING;
	assert_string_equal(judge(), "---");
	/* All hold: nobody wants anything. */
	begin(VRRP_MASTER, VRRP_MASTER, VRRP_MASTER);
	assert_string_equal(judge(), "---");
	assert_int_equal(group.state, VRRP_MASTER);
	/* What it wanted once says nothing of a MASTER. */
	a.wants = true;
	assert_string_equal(judge(), "---");
}

static void a_group_that_has_not_begun_asks_for_nothing(void **state)
{
	(void)state;
	begin(VRRP_BACKUP, VRRP_BACKUP, VRRP_INIT);
	a.wants = b.wants = c.wants = true;
	assert_string_equal(judge(), "---");
	assert_int_equal(group.state, VRRP_INIT);
	begin(VRRP_BACKUP, VRRP_BACKUP, VRRP_BACKUP);
	a.wants = b.wants = c.wants = true;
	members[2].fsm = NULL;
	assert_string_equal(judge(), "---");
	assert_int_equal(group.state, VRRP_INIT);
}

static void the_others_let_go_with_the_one_that_does(void **state)
{
	(void)state;
	begin(VRRP_MASTER, VRRP_MASTER, VRRP_MASTER);
	judge();
	b.state = VRRP_BACKUP;
	assert_string_equal(judge(), "Y-Y");
	assert_int_equal(group.state, VRRP_BACKUP);
	/* They have, and it is over: who takes over later has nothing to do with it. */
	a.state = c.state = VRRP_BACKUP;
	assert_string_equal(judge(), "---");
	c.state = VRRP_MASTER;
	assert_string_equal(judge(), "---");
	/* A dead interface takes all with it, whatever was before. */
	begin(VRRP_FAULT, VRRP_MASTER, VRRP_BACKUP);
	assert_string_equal(judge(), "-Y-");
	assert_int_equal(group.state, VRRP_FAULT);
	assert_string_equal(judge(), "-Y-");
	/* And so does a member whose engine came back too late. */
	begin(VRRP_MASTER, VRRP_MASTER, VRRP_INIT);
	judge();
	c.state = VRRP_BACKUP;
	c.cause = VRRP_CAUSE_AWAY;
	assert_string_equal(judge(), "YY-");
	begin(VRRP_BACKUP, VRRP_MASTER, VRRP_MASTER);
	a.cause = VRRP_CAUSE_AWAY;
	assert_string_equal(judge(), "-YY");
	begin(VRRP_LEAVING, VRRP_MASTER, VRRP_BACKUP);
	a.cause = VRRP_CAUSE_AWAY;
	c.cause = VRRP_CAUSE_START;
	assert_string_equal(judge(), "---");
	/* A take-over that has reached the first of them is none that ends. */
	begin(VRRP_MASTER, VRRP_BACKUP, VRRP_BACKUP);
	assert_string_equal(judge(), "---");
}

static void a_handover_of_one_is_one_of_all(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct vrrp_fsm *const all[] = {&a, &b, &c};

		begin(VRRP_MASTER, VRRP_MASTER, VRRP_MASTER);
		judge();
		all[i]->state = VRRP_LEAVING; /* it stops: that concerns it alone */
		assert_string_equal(judge(), "---");
		all[i]->handed_over = true;
		assert_string_equal(judge(), i == 0 ? "-HH" : i == 1 ? "H-H" : "HH-");
		/* Who found no successor does not begin again. */
		all[i]->since_us = 1000;
		all[(i + 1) % 3]->cause = VRRP_CAUSE_NO_SUCCESSOR;
		all[(i + 1) % 3]->since_us = 1000;
		assert_string_equal(judge(), i == 0 ? "--H" : i == 1 ? "H--" : "-H-");
		/* Unless that was another time (seed 38104 of sim_group). */
		all[(i + 1) % 3]->since_us = 999;
		assert_string_equal(judge(), i == 0 ? "-HH" : i == 1 ? "H-H" : "HH-");
		/* Of two that leave the first one tells when it began. */
		all[(i + 2) % 3]->state = VRRP_LEAVING;
		all[(i + 2) % 3]->handed_over = true;
		all[(i + 2) % 3]->since_us = 999;
		assert_string_equal(judge(), "---");
	}
	/* A MASTER that once handed over asks for nothing. */
	begin(VRRP_MASTER, VRRP_MASTER, VRRP_MASTER);
	a.handed_over = true;
	assert_string_equal(judge(), "---");
}

/* Seed 824 of sim_group: the successor's adverts got lost in one of the networks. */
static void who_found_no_successor_yields_when_another_member_found_it(void **state)
{
	(void)state;
	for (int handed_over = 0; handed_over < 2; handed_over++) {
		begin(VRRP_LEAVING, VRRP_LEAVING, VRRP_LEAVING);
		assert_string_equal(judge(), "---");
		a.state = VRRP_BACKUP;
		a.handed_over = handed_over;
		assert_string_equal(judge(), "---");
		assert_int_equal(group.state, VRRP_BACKUP);
		b.state = VRRP_MASTER;
		b.cause = VRRP_CAUSE_NO_SUCCESSOR;
		assert_string_equal(judge(), "-Y-");
		/* It is handed over as the others are (seed 26592). */
		assert_int_equal(members[1].handed_over, handed_over);
		b.state = VRRP_BACKUP;
		assert_string_equal(judge(), "---");
		c.state = VRRP_MASTER;
		assert_string_equal(judge(), "--Y");
	}
	/* All of them found none, one after the other: they stay. */
	begin(VRRP_LEAVING, VRRP_LEAVING, VRRP_LEAVING);
	judge();
	a.state = VRRP_MASTER;
	assert_string_equal(judge(), "---");
	b.state = c.state = VRRP_MASTER;
	assert_string_equal(judge(), "---");
	/* A reload that adds a member comes between: the others still go. */
	begin(VRRP_LEAVING, VRRP_LEAVING, VRRP_LEAVING);
	judge();
	b.state = VRRP_BACKUP;
	judge();
	members[2].fsm = NULL;
	assert_string_equal(judge(), "---");
	assert_int_equal(group.state, VRRP_INIT);
	members[2].fsm = &c;
	c.state = VRRP_BACKUP;
	a.state = VRRP_MASTER;
	assert_string_equal(judge(), "Y--");
	/* And a member that is new finds the others where they are. */
	begin(VRRP_MASTER, VRRP_MASTER, VRRP_INIT);
	judge();
	c.state = VRRP_BACKUP;
	assert_string_equal(judge(), "---");
	/* Whose group is taken over again meanwhile has come to no end. */
	begin(VRRP_LEAVING, VRRP_LEAVING, VRRP_LEAVING);
	judge();
	b.state = VRRP_BACKUP;
	judge();
	b.wants = true;
	a.state = c.state = VRRP_MASTER;
	assert_string_equal(judge(), "-T-");
	b.state = VRRP_MASTER;
	assert_string_equal(judge(), "---");
}

/* A reload may make a group of what two nodes hold: c, or a, obeys the other one. */
static void of_two_that_hold_parts_the_lower_lets_go(void **state)
{
	static const struct {
		uint8_t own, its;
		struct ip_addr address; /* the other one's; ours is 198.51.100.2 */
		bool lets_go;
	} cells[] = {
		{100, 101, {IP_V4, {198, 51, 100, 1}}, true},
		{100, 99, {IP_V4, {198, 51, 100, 3}}, false},
		{100, 100, {IP_V4, {198, 51, 100, 3}}, true},
		{100, 100, {IP_V4, {198, 51, 100, 1}}, false},
		{100, 100, {IP_V4, {198, 51, 100, 2}}, false},
		{100, 100, {IP_V6, {0xfe, 0x80}}, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
		for (int first = 0; first < 2; first++) {
			struct vrrp_fsm *obeys = first ? &a : &c;

			begin(first ? VRRP_BACKUP : VRRP_MASTER, VRRP_MASTER,
			      first ? VRRP_MASTER : VRRP_BACKUP);
			obeys->cause = VRRP_CAUSE_HIGHER_PRIORITY;
			obeys->conf.self = 1;
			obeys->conf.nodes[1].address =
				(struct ip_addr){.family = IP_V4, .bytes = {198, 51, 100, 2}};
			obeys->priority = cells[i].own;
			obeys->master = 0;
			obeys->conf.nodes[0].address = cells[i].address;
			obeys->peers[0].priority = cells[i].its;
			assert_string_equal(judge(), !cells[i].lets_go ? "---"
						     : first	       ? "-YY"
								       : "YY-");
			/* Whom it heard once it does not obey. */
			obeys->state = VRRP_MASTER;
			assert_string_equal(judge(), "---");
			begin(VRRP_MASTER, VRRP_MASTER, VRRP_BACKUP);
			c.cause = VRRP_CAUSE_HIGHER_PRIORITY;
			assert_string_equal(judge(), "---");
		}
	}
}

/* a heard node 1 leave at 1000; b and c obey that node. */
static void leave(void)
{
	begin(VRRP_BACKUP, VRRP_BACKUP, VRRP_BACKUP);
	a.master_left = true;
	a.left_node = 1;
	a.peers[1].heard_us = 1000;
	b.master = c.master = 1;
	b.peers[1].heard_us = c.peers[1].heard_us = 999;
}

static void a_departure_is_told_to_who_obeys_that_node_and_has_not_heard_it_since(void **state)
{
	(void)state;
	leave();
	assert_string_equal(judge(), "-LL");
	assert_int_equal(members[1].left_node, 1);
	leave();
	b.peers[1].heard_us = 1000;
	c.peers[1].heard_us = 1001;
	assert_string_equal(judge(), "-L-");
	leave();
	b.master = 2;
	c.state = VRRP_MASTER;
	assert_string_equal(judge(), "---");
	/* A member with a shorter list of nodes cannot know who that is. */
	leave();
	b.conf.nodes_count = 1;
	c.conf.nodes_count = 2;
	assert_string_equal(judge(), "--L");
	/* A foreign node may have left one router alone. */
	leave();
	a.conf.nodes[1].foreign = true;
	assert_string_equal(judge(), "---");
	/* Nor is there anything to tell without a departure. */
	leave();
	a.master_left = false;
	assert_string_equal(judge(), "---");
	leave();
	a.left_node = -1;
	b.master = c.master = -1;
	assert_string_equal(judge(), "---");
	leave();
	a.state = VRRP_MASTER;
	assert_string_equal(judge(), "---");
	/* Not even to itself. */
	leave();
	a.master = 1;
	b.master = c.master = 0;
	assert_string_equal(judge(), "---");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_take_over_once_all_want_to_or_hold),
		cmocka_unit_test(a_group_that_has_not_begun_asks_for_nothing),
		cmocka_unit_test(the_others_let_go_with_the_one_that_does),
		cmocka_unit_test(a_handover_of_one_is_one_of_all),
		cmocka_unit_test(of_two_that_hold_parts_the_lower_lets_go),
		cmocka_unit_test(who_found_no_successor_yields_when_another_member_found_it),
		cmocka_unit_test(
			a_departure_is_told_to_who_obeys_that_node_and_has_not_heard_it_since),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
