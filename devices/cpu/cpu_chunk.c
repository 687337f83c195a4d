/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The chunk form of the gated delta rule. With G_i the sum of log decays up to token i of
 * the chunk and S the state before it, the updates u_i = beta_i (v_i - (decayed S_i)^T k_i)
 * solve the unit lower triangular system
 *
 *     u_i = beta_i (v_i - exp(G_i) S^T k_i) - sum_{j<i} beta_i exp(G_i-G_j) (k_i.k_j) u_j
 *
 * and give o_i = exp(G_i) S^T q_i + sum_{j<=i} exp(G_i-G_j) (q_i.k_j) u_j and the new state
 * exp(G_n) S + sum_j exp(G_n-G_j) k_j u_j^T. Decays are exponentials of differences, never
 * quotients of exponentials, which overflow. Sums run over j <= i only, not over a masked
 * square, so that a NaN does not reach the tokens before it by way of 0 * NaN. */
#include "cpu_delta.h"

#include <math.h>
#include <string.h>

/* Rows of a triangle that are solved together; those before them come by matrix product. */
enum { BLOCK = 4 };

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void transpose_keys(cpu_delta *d, int64_t n) {
    for (int64_t t = 0; t < n; t++) {
        for (int64_t k = 0; k < d->k_dim; k++) {
            d->keys[k * CPU_LD_TOKENS + t] = d->k[t * d->k_dim + k];
        }
    }
}

/* out[i][j] = x_i . k_j for j <= i, and some more columns up to a whole vector. */
static void dot_keys(cpu_delta *d, const float *x, float *out, int64_t n) {
    const int64_t strip = CPU_COLUMNS / 2;
    memset(out, 0, (size_t)(n * CPU_LD_TOKENS) * sizeof *out);
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = smaller(BLOCK, n - i);
        d->kernels->multiply(m, (i + m + strip - 1) / strip * strip, d->k_dim,
                             x + i * d->k_dim, d->k_dim, d->keys, CPU_LD_TOKENS,
                             out + i * CPU_LD_TOKENS, CPU_LD_TOKENS);
    }
}

/* exp(x) to an ulp of fp32 although x has more bits than fp32: rounding x alone would cost
 * |x| half ulps, where the recurrence's product of decays costs one a token. */
static float decay_of(double x) {
    const float high = (float)x;
    const float e = expf(high);
    return x < 0.0 ? e + e * (float)(x - (double)high) : e;
}

/* Applies decays and betas to the triangles; start[i] = exp(G_i), end[j] = exp(G_n - G_j).
 * The sums G are kept in double: their differences must be good even where |G_i| is in the
 * thousands. */
static void decay(cpu_delta *d, int64_t n, float *start, float *end) {
    double sum[CPU_SEGMENT];
    double total = 0.0;
    for (int64_t i = 0; i < n; i++) {
        /* exp() of it is zero in any case; -infinity would make NaN of a difference. */
        const float g = d->g[i] < -1e4F ? -1e4F : d->g[i];
        total += (double)g;
        sum[i] = total;
        start[i] = decay_of(total);
    }
    for (int64_t i = 0; i < n; i++) {
        float *kk = d->kk + i * CPU_LD_TOKENS, *qk = d->qk + i * CPU_LD_TOKENS;
        for (int64_t j = 0; j < i; j++) {
            const float factor = decay_of(sum[i] - sum[j]);
            kk[j] *= -d->beta[i] * factor;
            qk[j] *= factor;
        }
        end[i] = decay_of(total - sum[i]);
    }
}

/* rows[i] += sum over j of matrix[i][j] * d->u[j], for j < i, or j <= i if `diagonal`. When
 * `rows` is d->u itself this is the forward substitution. */
static void add_lower(cpu_delta *d, const float *matrix, bool diagonal, float *rows,
                      int64_t n) {
    for (int64_t i0 = 0; i0 < n; i0 += BLOCK) {
        const int64_t m = smaller(BLOCK, n - i0);
        if (i0 > 0) {
            d->kernels->multiply(m, d->columns, i0, matrix + i0 * CPU_LD_TOKENS,
                                 CPU_LD_TOKENS, d->u, d->ld, rows + i0 * d->ld, d->ld);
        }
        for (int64_t i = i0; i < i0 + m; i++) {
            for (int64_t j = i0; j < i + (diagonal ? 1 : 0); j++) {
                const float factor = matrix[i * CPU_LD_TOKENS + j];
                for (int64_t v = 0; v < d->v_dim; v++) {
                    rows[i * d->ld + v] += factor * d->u[j * d->ld + v];
                }
            }
        }
    }
}

static void scale_rows(cpu_delta *d, float *rows, const float *factors, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t v = 0; v < d->v_dim; v++) {
            rows[i * d->ld + v] *= factors[i];
        }
    }
}

/* out = x S, x being q or k. */
static void read_state(cpu_delta *d, const float *x, float *out, int64_t n) {
    memset(out, 0, (size_t)(n * d->ld) * sizeof *out);
    d->kernels->multiply(n, d->columns, d->k_dim, x, d->k_dim, d->state, d->ld, out, d->ld);
}

void cpu_delta_chunk(cpu_delta *d, int64_t count) {
    float start[CPU_SEGMENT], end[CPU_SEGMENT];
    transpose_keys(d, count);
    dot_keys(d, d->k, d->kk, count);
    dot_keys(d, d->q, d->qk, count);
    decay(d, count, start, end);

    read_state(d, d->k, d->u, count);
    for (int64_t i = 0; i < count; i++) {
        for (int64_t v = 0; v < d->v_dim; v++) {
            const int64_t at = i * d->ld + v;
            d->u[at] = d->beta[i] * (d->v[at] - start[i] * d->u[at]);
        }
    }
    add_lower(d, d->kk, false, d->u, count);

    read_state(d, d->q, d->out, count);
    scale_rows(d, d->out, start, count);
    add_lower(d, d->qk, true, d->out, count);

    scale_rows(d, d->u, end, count);
    for (int64_t k = 0; k < d->k_dim; k++) {
        for (int64_t v = 0; v < d->v_dim; v++) {
            d->state[k * d->ld + v] *= start[count - 1];
        }
    }
    d->kernels->multiply(d->k_dim, d->columns, count, d->keys, CPU_LD_TOKENS, d->u, d->ld,
                         d->state, d->ld);
}
