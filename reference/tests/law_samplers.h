/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Samplers made of the ops: the harness draws (counter-based), the op decides, an outcome
 * is counted. Each states the closed form of the law that it must emit. */
#ifndef GDN_LAW_SAMPLERS_H
#define GDN_LAW_SAMPLERS_H

#include "gdn/law.h"
#include "verify_bench.h"

typedef struct law_case {
    const char *name;
    const char *conventions; /* "field=value" words of the verify section */
    gdn_law_sampler sampler;
    int64_t n; /* outcomes */
    double law[64];
} law_case;

/* Correct samplers, lossless and lossy, each with its own law. */
extern const law_case LAWS[];
extern const size_t N_LAWS;

/* The same with a slip; the law is that of the correct sampler, which they do not emit. */
extern const law_case WRONG[];
extern const size_t N_WRONG;

/* Draws a law directly, without an op. `context` is const double[64], summing to 1. */
void sample_directly(void *context, uint64_t seed, int64_t first, int64_t trials,
                     int64_t *counts);

#endif
