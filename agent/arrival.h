/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arrival: when a packet really came, on the monotonic clock. Pure: both clocks are arguments.
 *
 * The kernel stamps packets with the wall clock (SO_TIMESTAMPNS is CLOCK_REALTIME), and everything
 * here counts on the monotonic one. The difference of the two tells one from the other, but only
 * while nobody sets the wall clock: so it is compared with the difference of a moment ago. And
 * whatever the clocks say, a packet came after the moment at which its socket was last found empty,
 * and not in the future.
 */
#ifndef TANDEM_ARRIVAL_H
#define TANDEM_ARRIVAL_H

#include <stdbool.h>
#include <stdint.h>

/* Slewing moves the wall clock by 500 ppm at most: 50 us between two looks 100 ms apart. */
#define ARRIVAL_DRIFT_US_MAX 1000

struct arrival {
	int64_t offset_us; /* monotonic minus wall clock, at the last look */
	bool known;
};

/* A look at both clocks, read as close together as can be. At least every some hundred
 * milliseconds, and once before each batch of arrival_us(). Returns whether the offset stood
 * still since the last look; if it did not, stamps from before this look are worth nothing. */
bool arrival_look(struct arrival *arrival, int64_t monotonic_us, int64_t wall_us);

/* The monotonic time of arrival of a packet stamped wall_us, at a moment when the last
 * arrival_look() said still; empty_us is when the socket was last seen empty. An offset that
 * moved makes it now_us. */
uint64_t arrival_us(const struct arrival *arrival, bool still, int64_t wall_us, uint64_t empty_us,
		    uint64_t now_us);

#endif
