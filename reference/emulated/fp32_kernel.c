/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "fp32_kernel.h"

#include "mma_kernel.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define UNIT      0x1p-24
#define TOKENS    64 /* longest chunk */
#define SEGMENT   64 /* tokens between two stores of a state carried in chunks */
#define LOG2_E    1.44269504F
#define THRESHOLD 20.0F

const kernel_style KERNEL_STYLES[] = {
    {.name = "forward", .order = SUM_FORWARD},
    {.name = "forward fma base2", .order = SUM_FORWARD, .fma = true, .math = EXP_BASE2},
    {.name = "backward, log(1+e)",
     .order = SUM_BACKWARD,
     .softplus = SOFTPLUS_LOG,
     .two_sided_sigmoid = true},
    {.name = "pairwise, division",
     .order = SUM_PAIRWISE,
     .divide_by_root = true,
     .softplus = SOFTPLUS_STABLE},
    {.name = "lanes fma flush high",
     .order = SUM_LANES,
     .fma = true,
     .flush = true,
     .math = EXP_HIGH,
     .softplus = SOFTPLUS_LOG},
    {.name = "lanes flush low, fold",
     .order = SUM_LANES,
     .flush = true,
     .math = EXP_LOW,
     .decay_behind_sum = true,
     .beta_first = true},
    {.name = "raw k q, beta first",
     .order = SUM_PAIRWISE,
     .fma = true,
     .math = EXP_BASE2,
     .norms_behind_sums = true,
     .beta_first = true,
     .decay_behind_sum = true,
     .softplus = SOFTPLUS_LOG},
    {.name = "output from update",
     .order = SUM_FORWARD,
     .math = EXP_HIGH,
     .output_from_update = true,
     .norms_behind_sums = true},
    {.name = "chunk 4", .order = SUM_FORWARD, .chunk = 4},
    {.name = "chunk 8 fma low",
     .order = SUM_PAIRWISE,
     .fma = true,
     .chunk = 8,
     .math = EXP_LOW,
     .softplus = SOFTPLUS_LOG},
    {.name = "chunk 16 flush base2",
     .order = SUM_LANES,
     .flush = true,
     .chunk = 16,
     .math = EXP_BASE2},
    {.name = "chunk 64 high",
     .order = SUM_BACKWARD,
     .chunk = 64,
     .math = EXP_HIGH,
     .softplus = SOFTPLUS_STABLE},
};
const int KERNEL_STYLE_COUNT = (int)(sizeof KERNEL_STYLES / sizeof KERNEL_STYLES[0]);

static float flushed(const kernel_style *s, float x) {
    return s->flush && fabsf(x) < FLT_MIN ? copysignf(0.0F, x) : x;
}

static float mul(const kernel_style *s, float a, float b) {
    return flushed(s, a * b);
}

static float add(const kernel_style *s, float a, float b) {
    return flushed(s, a + b);
}

static float mad(const kernel_style *s, float a, float b, float c) {
    return s->fma ? flushed(s, fmaf(a, b, c)) : add(s, mul(s, a, b), c);
}

static float pairwise(const kernel_style *s, const float *x, const float *y, int64_t n) {
    if (n == 1) {
        return mul(s, x[0], y[0]);
    }
    const int64_t half = n / 2;
    return add(s, pairwise(s, x, y, half), pairwise(s, x + half, y + half, n - half));
}

static float dot(const kernel_style *s, const float *x, const float *y, int64_t n) {
    float sum[4] = {0.0F};
    switch (s->order) {
    case SUM_PAIRWISE:
        return pairwise(s, x, y, n);
    case SUM_LANES:
        for (int64_t i = 0; i < n; i++) {
            sum[i % 4] = mad(s, x[i], y[i], sum[i % 4]);
        }
        return add(s, add(s, sum[0], sum[1]), add(s, sum[2], sum[3]));
    case SUM_BACKWARD:
        for (int64_t i = n - 1; i >= 0; i--) {
            sum[0] = mad(s, x[i], y[i], sum[0]);
        }
        break;
    case SUM_FORWARD:
        for (int64_t i = 0; i < n; i++) {
            sum[0] = mad(s, x[i], y[i], sum[0]);
        }
        break;
    }
    return sum[0];
}

/* 3u and the rounding itself: what 2 ulp may come to. */
static float granted(const kernel_style *s, double exact) {
    const double side = s->math == EXP_HIGH ? 3.0 : s->math == EXP_LOW ? -3.0 : 0.0;
    return flushed(s, (float)(exact * (1.0 + side * UNIT)));
}

static float power(const kernel_style *s, float x) {
    switch (s->math) {
    case EXP_LIBRARY:
        return flushed(s, expf(x));
    case EXP_BASE2:
        return flushed(s, exp2f(mul(s, x, LOG2_E)));
    default:
        return granted(s, exp2((double)mul(s, x, LOG2_E)));
    }
}

/* power(x) of a sum that has more bits than fp32 (devices/cpu does the same). */
static float power_of_sum(const kernel_style *s, double x) {
    const float high = (float)x;
    const float e = power(s, high);
    return mad(s, e, (float)(x - (double)high), e);
}

float kernel_sigmoid(const kernel_style *s, float x) {
    if (s->two_sided_sigmoid && x < 0.0F) {
        const float e = power(s, x);
        return flushed(s, e / add(s, 1.0F, e));
    }
    return flushed(s, 1.0F / add(s, 1.0F, power(s, -x)));
}

static float stored(float x, gdn_dtype storage) {
    return (float)gdn_round_to((double)x, storage);
}

float kernel_sigmoid_thrice(const kernel_style *s, gdn_dtype storage, float x) {
    const float e = stored(power(s, -x), storage);
    return stored(1.0F / stored(add(s, 1.0F, e), storage), storage);
}

float kernel_silu(const kernel_style *s, float x) {
    return s->two_sided_sigmoid ? mul(s, x, kernel_sigmoid(s, x))
                                : flushed(s, x / add(s, 1.0F, power(s, -x)));
}

static float softplus(const kernel_style *s, float x) {
    if (x > THRESHOLD) {
        return x;
    }
    switch (s->softplus) {
    case SOFTPLUS_LOG1P:
        return granted(s, log1p((double)power(s, x)));
    case SOFTPLUS_LOG:
        return granted(s, log((double)add(s, 1.0F, power(s, x))));
    case SOFTPLUS_STABLE:
        break;
    }
    return add(s, fmaxf(x, 0.0F), granted(s, log1p((double)power(s, -fabsf(x)))));
}

float kernel_gate(const kernel_style *s, float A_log, float dt_bias, float a) {
    return -mul(s, power(s, A_log), softplus(s, add(s, a, dt_bias)));
}

float kernel_conv(const kernel_style *s, const float *w, const float *x, int64_t taps,
                  float bias) {
    float read[MOST_TAPS] = {0.0F};
    for (int64_t i = 0; i < taps; i++) {
        read[i] = flushed(s, x[i]);
    }
    if (s->order == SUM_FORWARD) {
        float sum = bias;
        for (int64_t i = 0; i < taps; i++) {
            sum = mad(s, w[i], read[i], sum);
        }
        return sum;
    }
    return add(s, dot(s, w, read, taps), bias);
}

/* Factor of one row, or the row divided by its root and 1. */
static float norm_factor(const kernel_style *s, const kernel_head *h, float *x) {
    if (!h->l2norm) {
        return 1.0F;
    }
    const float squares = dot(s, x, x, h->k_dim), eps = (float)h->eps;
    if (h->form == GDN_L2NORM_OUTSIDE || (h->form == GDN_L2NORM_MAX && s->divide_by_root)) {
        const float root = sqrtf(squares);
        const float norm = h->form == GDN_L2NORM_MAX ? fmaxf(root, eps) : add(s, root, eps);
        for (int64_t i = 0; i < h->k_dim && s->divide_by_root; i++) {
            x[i] = flushed(s, x[i] / norm);
        }
        return s->divide_by_root ? 1.0F : granted(s, 1.0 / (double)norm);
    }
    /* "max" as ggml has it: the reciprocal root of max(sum, eps^2). */
    const float sum =
        h->form == GDN_L2NORM_MAX ? fmaxf(squares, eps * eps) : add(s, squares, eps);
    if (s->divide_by_root) {
        for (int64_t i = 0; i < h->k_dim; i++) {
            x[i] = flushed(s, x[i] / sqrtf(sum));
        }
        return 1.0F;
    }
    return s->math == EXP_HIGH || s->math == EXP_LOW ? granted(s, 1.0 / sqrt((double)sum))
                                                     : 1.0F / sqrtf(sum);
}

/* Factors that are still to be applied to this token's k and q. */
typedef struct factors {
    float k, q;
} factors;

static factors normalise(const kernel_style *s, const kernel_head *h, int64_t t) {
    if (h->ready) {
        return (factors){.k = 1.0F, .q = 1.0F};
    }
    float *k = h->k + t * h->k_dim, *q = h->q + t * h->k_dim;
    const float scale = 1.0F / sqrtf((float)h->k_dim);
    factors f = {.k = norm_factor(s, h, k), .q = mul(s, norm_factor(s, h, q), scale)};
    if (s->norms_behind_sums) {
        return f;
    }
    for (int64_t i = 0; i < h->k_dim; i++) {
        k[i] = mul(s, k[i], f.k);
        q[i] = mul(s, q[i], f.q);
    }
    return (factors){.k = 1.0F, .q = 1.0F};
}

static void step(const kernel_style *s, const kernel_head *h, int64_t t, factors f) {
    const int64_t n = h->k_dim;
    const float *k = h->k + t * n, *q = h->q + t * n;
    const float a = power(s, h->g[t]), beta = h->beta[t];
    for (int64_t r = 0; r < h->v_dim; r++) {
        float *S = h->state + r * n;
        for (int64_t i = 0; i < n && !s->decay_behind_sum; i++) {
            S[i] = mul(s, a, S[i]);
        }
        const float late = s->decay_behind_sum ? a : 1.0F;
        const float m = mul(s, mul(s, late, dot(s, S, k, n)), f.k);
        const float v = h->v[t * h->v_dim + r];
        const float d = s->beta_first ? add(s, mul(s, beta, v), -mul(s, beta, m))
                                      : mul(s, beta, add(s, v, -m));
        const float dk = mul(s, d, f.k);
        float o = mul(s, late, dot(s, S, q, n));
        o = mad(s, dk, dot(s, k, q, n), o);
        for (int64_t i = 0; i < n; i++) {
            S[i] = s->decay_behind_sum ? mad(s, late, S[i], mul(s, dk, k[i]))
                                       : mad(s, dk, k[i], S[i]);
        }
        o = s->output_from_update ? o : dot(s, S, q, n);
        h->out[t * h->v_dim + r] = mul(s, o, f.q);
    }
}

/* Of one chunk, for j <= i: exp(G_i), exp(G_n - G_j), and exp(G_i - G_j) times
 * beta_i k_i.k_j and times q_i.k_j. */
typedef struct triangles {
    float start[TOKENS], end[TOKENS];
    float kk[TOKENS][TOKENS], qk[TOKENS][TOKENS];
} triangles;

static void find_triangles(const kernel_style *s, const kernel_head *h, int64_t first,
                           int64_t n, triangles *d) {
    const int64_t kd = h->k_dim;
    const float *k = h->k + first * kd, *q = h->q + first * kd;
    double sum[TOKENS] = {0.0};
    for (int64_t i = 0; i < n; i++) {
        const double before = i > 0 ? sum[i - 1] : 0.0;
        const float g = h->g[first + i];
        sum[i] =
            s->sums == SUMS_DOUBLE ? before + (double)g : (double)add(s, (float)before, g);
    }
    for (int64_t i = 0; i < n; i++) {
        d->start[i] = power_of_sum(s, sum[i]);
        d->end[i] = power_of_sum(s, sum[n - 1] - sum[i]);
        for (int64_t j = 0; j <= i; j++) {
            const float decay = power_of_sum(s, sum[i] - sum[j]);
            d->kk[i][j] = mul(s, h->beta[first + i],
                              mul(s, decay, dot(s, k + i * kd, k + j * kd, kd)));
            d->qk[i][j] = mul(s, decay, dot(s, q + i * kd, k + j * kd, kd));
        }
    }
}

/* One row of the state through one chunk, by forward substitution. */
static void chunk_row(const kernel_style *s, const kernel_head *h, int64_t first, int64_t n,
                      const triangles *d, int64_t row) {
    const int64_t kd = h->k_dim;
    const float *k = h->k + first * kd, *q = h->q + first * kd;
    float *S = h->state + row * kd;
    float u[TOKENS];
    for (int64_t i = 0; i < n; i++) {
        const float m = mul(s, d->start[i], dot(s, S, k + i * kd, kd));
        u[i] = mul(s, h->beta[first + i], add(s, h->v[(first + i) * h->v_dim + row], -m));
        float o = mul(s, d->start[i], dot(s, S, q + i * kd, kd));
        for (int64_t j = 0; j < i; j++) {
            u[i] = mad(s, -d->kk[i][j], u[j], u[i]);
        }
        for (int64_t j = 0; j <= i; j++) {
            o = mad(s, d->qk[i][j], u[j], o);
        }
        h->out[(first + i) * h->v_dim + row] = o;
    }
    for (int64_t c = 0; c < kd; c++) {
        float sum = mul(s, d->start[n - 1], S[c]);
        for (int64_t j = 0; j < n; j++) {
            sum = mad(s, mul(s, d->end[j], u[j]), k[j * kd + c], sum);
        }
        S[c] = sum;
    }
}

static void flush_inputs(const kernel_style *s, const kernel_head *h) {
    for (int64_t i = 0; i < h->length * h->k_dim; i++) {
        h->k[i] = flushed(s, h->k[i]);
        h->q[i] = flushed(s, h->q[i]);
    }
    for (int64_t i = 0; i < h->length * h->v_dim; i++) {
        h->v[i] = flushed(s, h->v[i]);
    }
    for (int64_t i = 0; i < h->v_dim * h->k_dim; i++) {
        h->state[i] = flushed(s, h->state[i]);
    }
}

static void carry_state(const kernel_head *h) {
    for (int64_t i = 0; i < h->v_dim * h->k_dim; i++) {
        h->state[i] = (float)gdn_round_to((double)h->state[i], h->state_dtype);
    }
}

void kernel_run(const kernel_style *style, kernel_head *head) {
    const bool chunked = style->chunk > 0 && head->carry != GDN_CARRY_TOKEN;
    const int64_t longest =
        head->carry == GDN_CARRY_CHUNK && style->chunk > SEGMENT ? SEGMENT : style->chunk;
    const int64_t most = chunked ? longest : 1;
    flush_inputs(style, head);
    for (int64_t first = 0, n; first < head->length; first += n) {
        n = head->length - first < most ? head->length - first : most;
        factors f = {0};
        for (int64_t t = first; t < first + n; t++) {
            f = normalise(style, head, t);
        }
        if (chunked && style->mma != MMA_NONE) {
            mma_chunk(style, head, first, n);
        } else if (chunked) {
            triangles d;
            find_triangles(style, head, first, n, &d);
            for (int64_t row = 0; row < head->v_dim; row++) {
                chunk_row(style, head, first, n, &d, row);
            }
        } else {
            step(style, head, first, f);
        }
        const bool segment = (first + n) % SEGMENT == 0;
        if (head->carry == GDN_CARRY_TOKEN ||
            (head->carry == GDN_CARRY_CHUNK && segment && first + n < head->length)) {
            carry_state(head);
        }
    }
}
