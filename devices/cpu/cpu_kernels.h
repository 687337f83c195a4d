/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The loops that take the time, in one version for each instruction set. */
#ifndef GDN_CPU_KERNELS_H
#define GDN_CPU_KERNELS_H

#include <stdint.h>

/* Rows that kernels walk along are padded to whole multiples of this many columns. Columns
 * never mix, so what stands in the padding does not matter. */
#define CPU_COLUMNS 32

/* One token of the recurrence for one value head, with the state stored [K][ld]. */
typedef struct cpu_step {
    int64_t k_dim, columns, ld;
    float *state;
    const float *k, *q; /* [K], normalised and scaled */
    const float *v;     /* [columns] */
    float *out;         /* [columns] */
    float decay, beta;
} cpu_step;

typedef struct cpu_kernels {
    const char *isa;

    /* c[m][n] += a[m][k] * b[k][n] with rows lda, ldb, ldc apart; n is a multiple of
     * CPU_COLUMNS / 2. The products are summed apart from c, then added to it. */
    void (*multiply)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                     const float *b, int64_t ldb, float *c, int64_t ldc);

    void (*step)(const cpu_step *step);
} cpu_kernels;

/* The widest version that this processor runs. */
const cpu_kernels *cpu_kernels_best(void);

#endif
