/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "bench_peak.h"

#include "delta_kernel.h"

#include <string.h>

extern const bench_peak bench_peak_portable;
#if defined(__x86_64__)
extern const bench_peak bench_peak_avx2;
extern const bench_peak bench_peak_avx512;
#endif

const bench_peak *bench_peak_get(const char *name) {
    /* What runs the recurrence runs this too: the kernels' own choice decides. */
    const gdnp_delta_kernel *kernel = gdnp_delta_kernel_get(name);
    static const bench_peak *const PEAKS[] = {
        &bench_peak_portable,
#if defined(__x86_64__)
        &bench_peak_avx2,
        &bench_peak_avx512,
#endif
    };
    for (size_t i = 0; kernel && i < sizeof PEAKS / sizeof PEAKS[0]; i++) {
        if (strcmp(PEAKS[i]->name, kernel->name) == 0) {
            return PEAKS[i];
        }
    }
    return NULL;
}

uint64_t bench_clock_chain(int64_t steps) {
    /* Through memory, so that no compiler can fold the chain. */
    volatile uint64_t source[] = {1, UINT64_C(0x9e3779b97f4a7c15)};
    uint64_t x = source[0];
    const uint64_t operand = source[1];
    for (int64_t i = 0; i < steps; i++) {
        x = (x ^ operand) + operand;
    }
    return x;
}

void bench_triad(double *a, const double *b, const double *c, int64_t count) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        a[i] = b[i] + 3.0 * c[i];
    }
}
