/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The table of bench_reference. */
#ifndef GDN_BENCH_PRINT_H
#define GDN_BENCH_PRINT_H

#include "bench_peak.h"

#include <stdbool.h>

#define BENCH_ROUNDS 32

/* One thing measured, with one thread and with all. */
typedef struct bench_row {
    const char *name, *detail, *unit;
    void (*run)(void *context); /* on the threads that OpenMP is set to */
    void *context;
    double work;            /* of one run (of one thread's, if each_thread) */
    bool each_thread;       /* every thread does all of it */
    const bench_peak *peak; /* what to compare with, or NULL */
    /* 1e9 a second: of the thread's CPU time, and of wall time with one thread and all. */
    double rate[BENCH_ROUNDS], wall[2][BENCH_ROUNDS];
    double share[BENCH_ROUNDS]; /* of the peak, with one thread */
} bench_row;

void bench_print(const bench_row *rows, int n, int threads, int rounds);

#endif
