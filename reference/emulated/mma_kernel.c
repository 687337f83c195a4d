/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "mma_kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 16

const kernel_style MMA_STYLES[] = {
    {.name = "fla 16", .order = SUM_FORWARD, .mma = MMA_FLA, .chunk = 16},
    {.name = "fla 64", .order = SUM_LANES, .mma = MMA_FLA, .chunk = 64, .math = EXP_BASE2},
    {.name = "aiter 64", .order = SUM_PAIRWISE, .mma = MMA_AITER, .chunk = 64, .fma = true},
    {.name = "xe2 64", .order = SUM_LANES, .mma = MMA_XE2, .chunk = 64, .math = EXP_BASE2},
    {.name = "cpu 64", .order = SUM_FORWARD, .mma = MMA_CPU, .chunk = 64},
    {.name = "cpu 32 high",
     .order = SUM_FORWARD,
     .mma = MMA_CPU,
     .chunk = 32,
     .math = EXP_HIGH},
    {.name = "xe2 128", .order = SUM_PAIRWISE, .mma = MMA_XE2, .chunk = 128, .flush = true},
    {.name = "fla 128", .order = SUM_BACKWARD, .mma = MMA_FLA, .chunk = 128},
};
const int MMA_STYLE_COUNT = (int)(sizeof MMA_STYLES / sizeof MMA_STYLES[0]);

/* An operand. `operand` GDN_FP32 stands for tf32: 11 significant bits, fp32's exponents. */
static float operand(const kernel_style *s, double x) {
    if (s->operand != GDN_FP32) {
        return (float)gdn_round_to((double)(float)x, s->operand);
    }
    int exponent;
    const double part = frexp((double)(float)x, &exponent);
    return isfinite(x) ? (float)ldexp(nearbyint(ldexp(part, 11)), exponent - 11) : (float)x;
}

/* sum_i x_i y_i with strides; sixteen at a time. */
static float product(const float *x, int64_t x_stride, const float *y, int64_t y_stride,
                     int64_t count) {
    float sum = 0.0F;
    for (int64_t first = 0; first < count; first += BLOCK) {
        double part = 0.0;
        for (int64_t i = first; i < count && i < first + BLOCK; i++) {
            part += (double)x[i * x_stride] * (double)y[i * y_stride];
        }
        sum = (float)((double)sum + part);
    }
    return sum;
}

typedef struct chunk {
    const kernel_style *s;
    const kernel_head *h;
    int64_t n, kd, vd;
    const float *beta;
    float sums[MMA_TOKENS];
    float A[MMA_TOKENS][MMA_TOKENS], T[MMA_TOKENS][MMA_TOKENS], P[MMA_TOKENS][MMA_TOKENS];
    float *k, *q, *w; /* [n][kd] */
    float *u;         /* [n][vd] */
    float *state;     /* [vd][kd], operand */
    float *column;    /* [n] */
} chunk;

static float power(float x) {
    return (float)exp((double)x);
}

static void find_scores(chunk *c) {
    const kernel_style *s = c->s;
    float *row = calloc((size_t)c->kd, sizeof *row);
    for (int64_t i = 0; i < c->n; i++) {
        for (int64_t d = 0; d < c->kd; d++) {
            row[d] = s->mma == MMA_AITER
                         ? operand(s, (double)(c->k[i * c->kd + d] * c->beta[i]))
                         : c->k[i * c->kd + d];
        }
        for (int64_t j = 0; j <= i; j++) {
            const float decay = power(c->sums[i] - c->sums[j]);
            const float *key = c->k + j * c->kd;
            const float p = product(c->q + i * c->kd, 1, key, 1, c->kd) * decay;
            float a = product(row, 1, key, 1, c->kd) * decay;
            a = s->mma == MMA_AITER ? a : a * c->beta[i];
            c->P[i][j] = operand(s, (double)p);
            c->A[i][j] = s->mma == MMA_XE2 || s->mma == MMA_CPU ? operand(s, (double)a) : a;
        }
    }
    free(row);
}

/* Rows [first, first + n) of the inverse of the diagonal block there. */
static void invert_block(chunk *c, int64_t first, int64_t n) {
    for (int64_t j = first; j < first + n; j++) {
        for (int64_t i = j; i < first + n; i++) {
            float sum = i == j ? 1.0F : 0.0F;
            for (int64_t l = j; l < i; l++) {
                sum -= c->A[i][l] * c->T[l][j];
            }
            c->T[i][j] = sum;
        }
    }
}

/* T21 = -T22 (A21 T11), blocks doubling; `rounded`: blocks and products are operands. */
static void merge_blocks(chunk *c, int64_t size, bool rounded) {
    static _Thread_local float half[MMA_TOKENS][MMA_TOKENS];
    for (int64_t first = 0; first + size < c->n; first += 2 * size) {
        const int64_t middle = first + size;
        const int64_t rows = c->n - middle < size ? c->n - middle : size;
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < size; j++) {
                const float x = product(&c->A[middle + i][first], 1,
                                        &c->T[first][first + j], MMA_TOKENS, size);
                half[i][j] = rounded ? operand(c->s, (double)x) : x;
            }
        }
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < size; j++) {
                const float x =
                    -product(&c->T[middle + i][middle], 1, &half[0][j], MMA_TOKENS, rows);
                c->T[middle + i][first + j] = rounded ? operand(c->s, (double)x) : x;
            }
        }
    }
}

static void round_inverse(chunk *c) {
    for (int64_t i = 0; i < c->n; i++) {
        for (int64_t j = 0; j <= i; j++) {
            c->T[i][j] = operand(c->s, (double)c->T[i][j]);
        }
    }
}

static void invert(chunk *c) {
    memset(c->T, 0, sizeof c->T);
    if (c->s->mma == MMA_CPU) { /* each row is rounded before the next ones use it */
        for (int64_t i = 0; i < c->n; i++) {
            for (int64_t j = 0; j < i; j++) {
                float sum = 0.0F;
                for (int64_t l = j; l < i; l++) {
                    sum -= c->A[i][l] * c->T[l][j];
                }
                c->T[i][j] = operand(c->s, (double)sum);
            }
            c->T[i][i] = 1.0F;
        }
        return;
    }
    for (int64_t first = 0; first < c->n; first += BLOCK) {
        invert_block(c, first, c->n - first < BLOCK ? c->n - first : BLOCK);
    }
    const bool rounded = c->s->mma == MMA_XE2;
    if (rounded) {
        round_inverse(c);
    }
    for (int64_t size = BLOCK; size < c->n; size *= 2) {
        merge_blocks(c, size, rounded);
    }
    round_inverse(c);
}

/* out_i = sum_j T_ij factor_j x_j of one column x with a stride. */
static void apply(chunk *c, const float *factor, const float *x, int64_t stride,
                  float *out) {
    float row[MMA_TOKENS];
    const bool folded = c->s->mma == MMA_XE2; /* the factor belongs to T */
    for (int64_t j = 0; j < c->n; j++) {
        const float value = x[j * stride];
        c->column[j] = operand(c->s, (double)(folded ? value : value * factor[j]));
    }
    for (int64_t i = 0; i < c->n; i++) {
        for (int64_t j = 0; j <= i; j++) {
            row[j] = folded ? operand(c->s, (double)(c->T[i][j] * factor[j])) : c->T[i][j];
        }
        out[i * stride] = operand(c->s, (double)product(row, 1, c->column, 1, i + 1));
    }
}

/* One row of the state: v', the outputs, the state after the chunk. */
static void run_row(chunk *c, int64_t first, int64_t row) {
    const kernel_style *s = c->s;
    const bool early = s->mma == MMA_XE2 || s->mma == MMA_CPU;
    float v[MMA_TOKENS];
    float *exact = c->h->state + row * c->kd;
    float *state = c->state + row * c->kd;
    float *q = calloc((size_t)c->kd, sizeof *q);
    for (int64_t i = 0; i < c->n; i++) {
        const float start = power(c->sums[i]);
        const float m = product(c->w + i * c->kd, 1, state, 1, c->kd);
        v[i] = operand(s, (double)(c->u[i * c->vd + row] - m));
        for (int64_t d = 0; d < c->kd; d++) {
            const float x = c->q[i * c->kd + d];
            q[d] = early ? operand(s, (double)(x * start)) : x;
        }
        const float o = product(q, 1, state, 1, c->kd);
        c->h->out[(first + i) * c->vd + row] =
            (early ? o : o * start) + product(c->P[i], 1, v, 1, i + 1);
    }
    const float end = c->sums[c->n - 1];
    float left[MMA_TOKENS];
    for (int64_t i = 0; i < c->n; i++) {
        left[i] =
            s->mma == MMA_CPU ? v[i] : operand(s, (double)(v[i] * power(end - c->sums[i])));
    }
    for (int64_t d = 0; d < c->kd; d++) {
        for (int64_t i = 0; i < c->n; i++) {
            const float x = c->k[i * c->kd + d];
            c->column[i] =
                s->mma == MMA_CPU ? operand(s, (double)(x * power(end - c->sums[i]))) : x;
        }
        exact[d] = power(end) * exact[d] + product(c->column, 1, left, 1, c->n);
    }
    free(q);
}

void mma_chunk(const kernel_style *s, const kernel_head *h, int64_t first, int64_t n) {
    const int64_t keys = n * h->k_dim, values = n * h->v_dim, size = h->v_dim * h->k_dim;
    chunk *c = calloc(1, sizeof *c);
    float *memory = calloc((size_t)(3 * keys + values + size + n), sizeof *memory);
    float factor[MMA_TOKENS], sum = 0.0F;
    *c = (chunk){.s = s, .h = h, .n = n, .kd = h->k_dim, .vd = h->v_dim};
    c->beta = h->beta + first;
    c->k = memory;
    c->q = c->k + keys;
    c->w = c->q + keys;
    c->u = c->w + keys;
    c->state = c->u + values;
    c->column = c->state + size;
    for (int64_t i = 0; i < keys; i++) {
        c->k[i] = operand(s, (double)h->k[first * h->k_dim + i]);
        c->q[i] = operand(s, (double)h->q[first * h->k_dim + i]);
    }
    for (int64_t i = 0; i < size; i++) {
        c->state[i] = operand(s, (double)h->state[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        sum += h->g[first + i];
        c->sums[i] = sum;
        factor[i] = c->beta[i] * power(sum);
    }
    find_scores(c);
    invert(c);
    for (int64_t d = 0; d < c->kd; d++) {
        apply(c, factor, c->k + d, c->kd, c->w + d);
    }
    for (int64_t d = 0; d < c->vd; d++) {
        apply(c, c->beta, h->v + first * c->vd + d, c->vd, c->u + d);
    }
    for (int64_t row = 0; row < c->vd; row++) {
        run_row(c, first, row);
    }
    free(memory);
    free(c);
}
