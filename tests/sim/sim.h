/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: what the simulators have in common: chance that comes from the seed alone, the end of a run
 * that broke an invariant, and the command line.
 *
 *   int main(int argc, char **argv)
 *   {
 *           const struct sim_run run = sim_run(argc, argv, &world.now_us, SEEDS, schedule);
 *           printf("figure: ... %.0f schedules/s\n", ..., run.per_second);
 *   }
 *
 * Each simulator is one program with one world, so what they share is static too.
 */
#ifndef TANDEM_SIM_H
#define TANDEM_SIM_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
	const char *program;	/* as it was called */
	const uint64_t *now_us; /* the world's clock */
	uint64_t seed;		/* of the history that runs */
	uint64_t state;		/* of chance */
	bool trace;
} sim;

/* ---- chance: splitmix64, so that a seed names a history on every machine ---- */

static inline uint64_t draw(void)
{
	uint64_t z = sim.state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* 0 .. n - 1; 0 if n is 0. */
static inline uint64_t below(uint64_t n)
{
	return n ? draw() % n : 0;
}

static inline bool chance(int percent)
{
	return below(100) < (uint64_t)percent;
}

/* ---- what a history says of itself ---- */

/* A line of the trace. */
__attribute__((format(printf, 1, 2))) static inline void tell(const char *format, ...)
{
	va_list args;

	if (!sim.trace)
		return;
	printf("%12" PRIu64 " ", *sim.now_us);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

/* An invariant of docs/INVARIANTS.md does not hold: says so, and how to see it again. */
__attribute__((format(printf, 2, 3), noreturn)) static inline void fail(const char *invariant,
									const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: invariant %s broken at %" PRIu64 " us of seed %" PRIu64 ": ",
		sim.program, invariant, *sim.now_us, sim.seed);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nreplay: %s --seed %" PRIu64 " --trace\n", sim.program, sim.seed);
	exit(1);
}

/* ---- the command line ---- */

struct sim_run {
	uint64_t seeds;
	double per_second;
};

/* usage: PROGRAM [--seeds N] [--seed S] [--trace]
 * Runs the histories of so many seeds, from 1 on, or that of one seed. */
static inline struct sim_run sim_run(int argc, char **argv, const uint64_t *now_us, uint64_t seeds,
				     void (*schedule)(void))
{
	uint64_t first = 1;
	struct timespec began, ended;
	double seconds;

	sim.program = argv[0];
	sim.now_us = now_us;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--trace")) {
			sim.trace = true;
		} else if (!strcmp(argv[i], "--seeds") && i + 1 < argc) {
			seeds = strtoull(argv[++i], NULL, 10);
		} else if (!strcmp(argv[i], "--seed") && i + 1 < argc) {
			first = strtoull(argv[++i], NULL, 10);
			seeds = 1;
		} else {
			fprintf(stderr, "usage: %s [--seeds N] [--seed S] [--trace]\n", argv[0]);
			exit(2);
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (uint64_t n = 0; n < seeds; n++) {
		sim.seed = sim.state = first + n;
		schedule();
	}
	clock_gettime(CLOCK_MONOTONIC, &ended);
	seconds = (double)(ended.tv_sec - began.tv_sec) +
		  (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
	return (struct sim_run){.seeds = seeds,
				.per_second = (double)seeds / (seconds > 0 ? seconds : 1e-9)};
}

#endif
