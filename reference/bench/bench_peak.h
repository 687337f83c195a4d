/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the machine could do: fma in each instruction set, its clock, its memory. */
#ifndef GDN_BENCH_PEAK_H
#define GDN_BENCH_PEAK_H

#include <stdint.h>

/* bench_peak.c compiled for one instruction set, named as in delta_lanes.h. */
typedef struct bench_peak {
    const char *name;
    int width; /* FP64 lanes of one fma */
    /* `steps` times BENCH_PEAK_FMAS fma; returns something that depends on all of them. */
    double (*run)(int64_t steps);
} bench_peak;

#define BENCH_PEAK_FMAS 12

/* The widest that this machine runs, or the one of that name, NULL if it has none. */
const bench_peak *bench_peak_get(const char *name);

/* Integer operations that wait for each other, one core cycle apiece on every core known:
 * 2 * steps cycles. Returns their result. */
uint64_t bench_clock_chain(int64_t steps);

/* a = b + s c over `count` elements, on all threads of the team. */
void bench_triad(double *a, const double *b, const double *c, int64_t count);

#endif
