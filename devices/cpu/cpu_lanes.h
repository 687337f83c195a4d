/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The kernels for one vector width; included by cpu_kernels.c once for each, with LANES,
 * TARGET and NAME(x) defined. No include guard: it is a template. */

typedef float NAME(vec) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* A tile of up to four rows by two vectors: `rows` is a constant in each call, and the sums
 * of a full tile take half of 16 registers. Long sums are cut into runs of RUN products,
 * which keeps their rounding errors as small as those of the fewer additions that a chunk
 * makes elsewhere. */
static inline TARGET __attribute__((always_inline)) void
NAME(tile)(int rows, int64_t k, const float *restrict a, int64_t lda,
           const float *restrict b, int64_t ldb, float *restrict c, int64_t ldc) {
    NAME(vec) total[4][2] = {{{0}}};
    for (int64_t run = 0; run < k; run += RUN) {
        const int64_t end = run + RUN < k ? run + RUN : k;
        NAME(vec) sum[4][2] = {{{0}}};
        for (int64_t p = run; p < end; p++) {
            const NAME(vec) b0 = *(const NAME(vec) *)(b + p * ldb);
            const NAME(vec) b1 = *(const NAME(vec) *)(b + p * ldb + LANES);
            for (int i = 0; i < rows; i++) {
                sum[i][0] += a[i * lda + p] * b0;
                sum[i][1] += a[i * lda + p] * b1;
            }
        }
        for (int i = 0; i < rows; i++) {
            total[i][0] += sum[i][0];
            total[i][1] += sum[i][1];
        }
    }
    for (int i = 0; i < rows; i++) {
        *(NAME(vec) *)(c + i * ldc) += total[i][0];
        *(NAME(vec) *)(c + i * ldc + LANES) += total[i][1];
    }
}

/* Columns outside, so that a strip of b stays in the first cache for all rows of a. */
static TARGET void NAME(multiply)(int64_t m, int64_t n, int64_t k, const float *a,
                                  int64_t lda, const float *b, int64_t ldb, float *c,
                                  int64_t ldc) {
    for (int64_t j = 0; j < n; j += 2 * LANES) {
        int64_t i = 0;
        for (; i + 4 <= m; i += 4) {
            NAME(tile)(4, k, a + i * lda, lda, b + j, ldb, c + i * ldc + j, ldc);
        }
        switch (m - i) {
        case 3:
            NAME(tile)(3, k, a + i * lda, lda, b + j, ldb, c + i * ldc + j, ldc);
            break;
        case 2:
            NAME(tile)(2, k, a + i * lda, lda, b + j, ldb, c + i * ldc + j, ldc);
            break;
        case 1:
            NAME(tile)(1, k, a + i * lda, lda, b + j, ldb, c + i * ldc + j, ldc);
            break;
        default:
            break;
        }
    }
}

/* Decay and read in one pass over the state, update and output in the next; four vectors of
 * columns at a time, so that the state's strip is still cached in the second pass. */
static TARGET void NAME(step)(const cpu_step *s) {
    for (int64_t j = 0; j < s->columns; j += 4 * LANES) {
        float *restrict state = s->state + j;
        NAME(vec) read[4] = {{0}}, delta[4], out[4] = {{0}};
        for (int64_t i = 0; i < s->k_dim; i++) {
            for (int n = 0; n < 4; n++) {
                NAME(vec) *at = (NAME(vec) *)(state + i * s->ld + n * LANES);
                const NAME(vec) decayed = s->decay * *at;
                *at = decayed;
                read[n] += decayed * s->k[i];
            }
        }
        for (int n = 0; n < 4; n++) {
            delta[n] = s->beta * (*(const NAME(vec) *)(s->v + j + n * LANES) - read[n]);
        }
        for (int64_t i = 0; i < s->k_dim; i++) {
            for (int n = 0; n < 4; n++) {
                NAME(vec) *at = (NAME(vec) *)(state + i * s->ld + n * LANES);
                const NAME(vec) updated = *at + s->k[i] * delta[n];
                *at = updated;
                out[n] += updated * s->q[i];
            }
        }
        for (int n = 0; n < 4; n++) {
            *(NAME(vec) *)(s->out + j + n * LANES) = out[n];
        }
    }
}

static const cpu_kernels NAME(kernels) = {
    .isa = ISA,
    .multiply = NAME(multiply),
    .step = NAME(step),
};

#undef LANES
#undef TARGET
#undef NAME
#undef ISA
