/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The FPU's modes, told from what it computes and not from its control registers, so that
 * the same lines serve every machine. */
#include "environment.h"

#include <float.h>

enum { ROUNDS_OTHERWISE = 1, FLUSHES_DENORMALS = 2 };

/* Volatile, lest the compiler computes in its own environment. */
static unsigned find_flaws(void) {
    const volatile double one = 1.0, tiny = 0x1p-60;
    const volatile double least = DBL_MIN, denormal = 0x1p-1074;
    const volatile double above = one + tiny, below = one - tiny;
    const volatile double halved = least * 0.5, scaled = denormal * 0x1p1000;
    unsigned flaws = 0;
    if (above != 1.0 || below != 1.0) {
        flaws |= ROUNDS_OTHERWISE;
    }
    /* A denormal result (FTZ), a denormal operand (DAZ). */
    if (halved * 0x1p1000 == 0.0 || scaled == 0.0) {
        flaws |= FLUSHES_DENORMALS;
    }
    return flaws;
}

gdn_status gdnp_environment_check(bool threads, gdn_error *err) {
    /* Modes belong to a thread, and a pool's thread keeps those of the moment when it was
     * started: each one answers for itself, and the caller first, lest a pool is started in
     * the modes that he is about to put right. */
    unsigned flaws = find_flaws();
    if (flaws == 0 && threads) {
#pragma omp parallel reduction(| : flaws)
        flaws |= find_flaws();
    }
    if (flaws & ROUNDS_OTHERWISE) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "expected rounding to nearest but found another rounding mode "
                             "in a thread of this process (see fesetround)");
    }
    if (flaws & FLUSHES_DENORMALS) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "expected denormals to be kept but found a thread of this "
                             "process that flushes them to zero (FTZ or DAZ is set, as "
                             "linking with -ffast-math does)");
    }
    return GDN_OK;
}
