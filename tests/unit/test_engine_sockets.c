/* SPDX-License-Identifier: Apache-2.0 */
/* When the engine reads adverts: at once while they are few, together while they are many. Time
 * stands still here unless it is moved on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/engine_private.h"

#define VRID 51
#define BEGIN_US 1000000 /* some time */
#define DISTANCE_US 10	 /* of two adverts in a burst */

static struct {
	uint64_t now_us;
	int wire; /* what is written here, the socket receives */
	int looks, judged;
} world;

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	(void)clock;
	*ret_time = (struct timespec){.tv_sec = (time_t)(world.now_us / 1000000),
				      .tv_nsec = (long)(world.now_us % 1000000) * 1000};
	return 0;
}

/* ---- what the sockets reach for ---- */

int vrrp_sock_open(const struct vrrp_sock_options *options, int *ret_fd)
{
	int ends[2];

	(void)options;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
			 0);
	world.wire = ends[0];
	*ret_fd = ends[1];
	return 0;
}

int vrrp_sock_hear(int fd, enum ip_family family, const struct vrrp_sock_vrids *vrids)
{
	(void)fd;
	(void)family;
	(void)vrids;
	return 0;
}

int vrrp_sock_receive(int fd, struct vrrp_sock_packet packets[VRRP_SOCK_BATCH])
{
	int count = 0;

	world.looks++;
	while (count < VRRP_SOCK_BATCH) {
		struct vrrp_sock_packet *packet = &packets[count];
		const ssize_t size = recv(fd, packet->room, sizeof packet->room, 0);

		if (size < 0)
			break;
		packet->payload = packet->room;
		packet->size = (size_t)size;
		count++;
	}
	return count;
}

void engine_packets_judge(struct engine_router *router, const struct vrrp_sock_packet *packet,
			  uint64_t arrival)
{
	(void)router;
	(void)packet;
	(void)arrival;
	world.judged++;
}

bool engine_look(struct engine *engine)
{
	(void)engine;
	return true;
}

void engine_tell(struct engine *engine, enum engine_msg type, const struct wire_writer *w, int fd)
{
	(void)engine;
	(void)type;
	(void)w;
	(void)fd;
}

void engine_tell_number(struct engine *engine, enum engine_msg type, uint32_t number)
{
	(void)engine;
	(void)type;
	(void)number;
}

/* ---- one router that listens ---- */

static struct engine engine;
static struct engine_router router;

static int set_up(void **state)
{
	static char interface[] = "eth0";
	static struct conf_vrrp conf = {.vrid = VRID};

	(void)state;
	memset(&world, 0, sizeof world);
	world.now_us = BEGIN_US;
	memset(&engine, 0, sizeof engine);
	assert_int_equal(loop_new(&engine.loop), 0);
	engine.next_socket_id = 1;
	conf.interfaces[0] = interface;
	router = (struct engine_router){.engine = &engine, .conf = &conf};
	router.wire.nodes[0].family = IP_V4;
	assert_int_equal(engine_sockets_join(&router, 0), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	engine_sockets_part(&router);
	close(world.wire);
	loop_free(engine.loop);
	return 0;
}

static void an_advert_comes(uint64_t later_us)
{
	static const uint8_t bytes[8] = {[VRRP_SOCK_VRID_AT] = VRID};

	world.now_us += later_us;
	assert_int_equal(send(world.wire, bytes, sizeof bytes, 0), sizeof bytes);
}

/* Whatever is due now, and no more: returns how many adverts were judged. */
static int turn(void)
{
	const int before = world.judged;

	assert_int_equal(loop_turn(engine.loop, world.now_us), 0);
	return world.judged - before;
}

/* Until the socket rests, with one advert waiting in it. */
static void a_burst_begins(void)
{
	do {
		assert_true(world.judged < 100);
		an_advert_comes(DISTANCE_US);
	} while (turn());
	assert_true(world.judged > 1);
}

static void few_adverts_are_judged_as_they_come(void **state)
{
	(void)state;
	/* Of 200 routers at 0.1 s, one by one. */
	for (int i = 0; i < 1000; i++) {
		an_advert_comes(500);
		assert_int_equal(turn(), 1);
	}
}

static void a_burst_is_taken_together(void **state)
{
	int looks;

	(void)state;
	a_burst_begins();
	looks = world.looks;
	for (int i = 1; i < 50; i++) {
		an_advert_comes(DISTANCE_US);
		assert_int_equal(turn(), 0);
	}
	assert_int_equal(world.looks, looks);
	world.now_us += 1000;
	assert_int_equal(turn(), 50);
}

static void a_look_that_finds_nothing_ends_the_rest(void **state)
{
	(void)state;
	a_burst_begins();
	for (int i = 0; i < 20; i++) {
		world.now_us += 1000;
		assert_int_equal(turn(), 1);
		an_advert_comes(DISTANCE_US);
		assert_int_equal(turn(), 0);
	}
	world.now_us += 1000;
	assert_int_equal(turn(), 1);
	world.now_us += 1000;
	assert_int_equal(turn(), 0);
	world.now_us += 4000;
	few_adverts_are_judged_as_they_come(state);
}

/* A6. */
static void a_deadline_hears_what_waits_in_a_socket_that_rests(void **state)
{
	int before;

	(void)state;
	a_burst_begins();
	before = world.judged;
	world.now_us += DISTANCE_US;
	loop_refresh_us(engine.loop);
	assert_true(engine_sockets_drain(router.socket));
	assert_int_equal(world.judged, before + 1);
	assert_false(engine_sockets_drain(router.socket));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(few_adverts_are_judged_as_they_come, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_burst_is_taken_together, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_look_that_finds_nothing_ends_the_rest, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_deadline_hears_what_waits_in_a_socket_that_rests,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
