/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Fused multiply-adds and nothing else. CMake compiles this file once for each instruction
 * set and names the table BENCH_PEAK_SYMBOL. */
#include "bench_peak.h"

#include "delta_kernel.h"

#include "delta_lanes.h"

/* Where the sums start; volatile, or a compiler that sees two equal sums keeps one. */
static const volatile double STARTS[BENCH_PEAK_FMAS] = {0.0, 0.1, 0.2, 0.3, 0.4, 0.5,
                                                        0.6, 0.7, 0.8, 0.9, 1.0, 1.1};

/* Enough sums that none waits for itself (two pipes of 4 or 5 cycles), few enough for 16
 * registers. They are separate variables: an array might live in memory. */
static double run(int64_t steps) {
    const lane x = lane_set(0.999999);
    const lane y = lane_set(1e-6);
    lane a = lane_set(STARTS[0]), b = lane_set(STARTS[1]), c = lane_set(STARTS[2]);
    lane d = lane_set(STARTS[3]), e = lane_set(STARTS[4]), f = lane_set(STARTS[5]);
    lane g = lane_set(STARTS[6]), h = lane_set(STARTS[7]), i = lane_set(STARTS[8]);
    lane j = lane_set(STARTS[9]), k = lane_set(STARTS[10]), l = lane_set(STARTS[11]);
    for (int64_t step = 0; step < steps; step++) {
        a = lane_fma(a, x, y);
        b = lane_fma(b, x, y);
        c = lane_fma(c, x, y);
        d = lane_fma(d, x, y);
        e = lane_fma(e, x, y);
        f = lane_fma(f, x, y);
        g = lane_fma(g, x, y);
        h = lane_fma(h, x, y);
        i = lane_fma(i, x, y);
        j = lane_fma(j, x, y);
        k = lane_fma(k, x, y);
        l = lane_fma(l, x, y);
    }
    const lane low = lane_add(lane_add(lane_add(a, b), lane_add(c, d)),
                              lane_add(lane_add(e, f), lane_add(g, h)));
    const lane sum = lane_add(low, lane_add(lane_add(i, j), lane_add(k, l)));
    double out[GDN_LANE_WIDTH];
    lane_store(out, sum);
    return out[0];
}

extern const bench_peak BENCH_PEAK_SYMBOL;
const bench_peak BENCH_PEAK_SYMBOL = {
    .name = GDN_KERNEL_NAME, .width = GDN_LANE_WIDTH, .run = run};
