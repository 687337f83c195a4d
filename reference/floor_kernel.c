/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "floor_kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK GDNP_FLOOR_CHUNK

bool gdnp_floor_chunk_create(gdnp_floor_chunk *c) {
    const int64_t keys = CHUNK * c->k_dim, values = CHUNK * c->v_dim;
    const int64_t state = c->k_dim * c->v_dim;
    const int64_t work = 3 * keys + values + state + 3 * CHUNK * CHUNK;
    float *memory =
        calloc((size_t)(state + 2 * keys + 2 * values + 3 * CHUNK + work), sizeof *memory);
    if (!memory) {
        return false;
    }
    c->state = memory;
    c->k = c->state + state;
    c->q = c->k + keys;
    c->v = c->q + keys;
    c->o = c->v + values;
    c->g = c->o + values;
    c->decay = c->g + CHUNK;
    c->beta = c->decay + CHUNK;
    c->work = c->beta + CHUNK;
    return true;
}

void gdnp_floor_chunk_destroy(gdnp_floor_chunk *c) {
    free(c->state);
    c->state = NULL;
}

/* In double: 2^n times a Taylor series on |r| <= ln 2 / 2, whose next term is 4e-11. */
float gdnp_floor_exp(float x) {
    if (!(x > -150.0F)) {
        return isnan(x) ? x : 0.0F; /* below fp32's subnormals */
    }
    const double n = floor((double)x * 0x1.71547652b82fep+0 + 0.5);
    const double r = fma(n, -0x1.62e42fefa39efp-1, (double)x);
    double sum = 1.0 / 362880.0;
    static const double FACTORS[] = {1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0,
                                     1.0 / 120.0,   1.0 / 24.0,   1.0 / 6.0,
                                     0.5,           1.0,          1.0};
    for (size_t i = 0; i < sizeof FACTORS / sizeof FACTORS[0]; i++) {
        sum = fma(sum, r, FACTORS[i]);
    }
    return (float)ldexp(sum, (int)n);
}

/* To nearest, ties to even, at `bits` significand bits less than fp32's. */
static inline float round_bits(float x, unsigned bits) {
    uint32_t word;
    memcpy(&word, &x, sizeof word);
    const uint32_t half = (UINT32_C(1) << (bits - 1)) - 1 + ((word >> bits) & 1);
    word = (word + half) & ~((UINT32_C(1) << bits) - 1);
    memcpy(&x, &word, sizeof x);
    return x;
}

float gdnp_floor_operand(gdn_numeric_class operands, float x) {
    if (!isfinite(x)) {
        return x;
    }
    switch (operands) {
    case GDN_CLASS_BF16_MMA:
        return round_bits(x, 16);
    case GDN_CLASS_TF32_MMA:
        return round_bits(x, 13);
    case GDN_CLASS_FP16_MMA:
        if (fabsf(x) < 0x1p-14F) { /* subnormals: multiples of 2^-24 */
            return (x + 0x1.8p-1F) - 0x1.8p-1F;
        }
        x = round_bits(x, 13);
        return fabsf(x) > 65504.0F ? copysignf(INFINITY, x) : x;
    case GDN_CLASS_FP32:
    case GDN_CLASS_FP64:
        break;
    }
    return x;
}

static void round_operands(gdn_numeric_class operands, float *out, const float *x,
                           int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        out[i] = gdnp_floor_operand(operands, x[i]);
    }
}

/* y += factor x, a product and a sum rounded each. */
static inline void add_row(float *restrict y, float factor, const float *restrict x,
                           int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        y[i] += factor * x[i];
    }
}

static float dot(const float *x, const float *y, int64_t count) {
    float sum = 0.0F;
    for (int64_t i = 0; i < count; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

void gdnp_floor_step(gdnp_floor_chunk *c) {
    const int64_t n = c->v_dim;
    const float decay = c->decay[0];
    float *d = c->work;
    memset(d, 0, (size_t)n * sizeof *d);
    for (int64_t i = 0; i < c->k_dim; i++) {
        float *row = c->state + i * n;
        for (int64_t r = 0; r < n; r++) {
            row[r] *= decay;
        }
        add_row(d, c->k[i], row, n);
    }
    for (int64_t r = 0; r < n; r++) {
        d[r] = c->beta[0] * (c->v[r] - d[r]);
    }
    memset(c->o, 0, (size_t)n * sizeof *c->o);
    for (int64_t i = 0; i < c->k_dim; i++) {
        float *row = c->state + i * n;
        add_row(row, c->k[i], d, n);
        add_row(c->o, c->q[i], row, n);
    }
}

/* exp as the profile grants it. */
static float power(const gdnp_floor_chunk *c, float x) {
    const float e = gdnp_floor_exp(x);
    return e + e * c->exp_error;
}

/* What one chunk works in. */
typedef struct wy {
    float sums[CHUNK];                  /* of g */
    float *k, *q;                       /* [length][k_dim], operands */
    float *w;                           /* [length][k_dim] */
    float *v;                           /* [length][v_dim]: u, then v' */
    float *state;                       /* [k_dim][v_dim], operand */
    float *inverse, *attention, *solve; /* [length][CHUNK] */
} wy;

static wy wy_of(const gdnp_floor_chunk *c) {
    const int64_t keys = CHUNK * c->k_dim, values = CHUNK * c->v_dim;
    wy w = {.k = c->work};
    w.q = w.k + keys;
    w.w = w.q + keys;
    w.v = w.w + keys;
    w.state = w.v + values;
    w.inverse = w.state + c->k_dim * c->v_dim;
    w.attention = w.inverse + CHUNK * CHUNK;
    w.solve = w.attention + CHUNK * CHUNK;
    return w;
}

/* (I + A)^-1 by forward substitution in fp32, then an operand; A itself is stored as one.
 * The masked scores q.k beside it. */
static void invert(const gdnp_floor_chunk *c, wy *w) {
    for (int64_t i = 0; i < c->length; i++) {
        float *row = w->solve + i * CHUNK;
        memset(row, 0, CHUNK * sizeof *row);
        row[i] = 1.0F;
        for (int64_t j = 0; j <= i; j++) {
            const float decay = power(c, w->sums[i] - w->sums[j]);
            const float *key = w->k + j * c->k_dim;
            const float score = dot(w->q + i * c->k_dim, key, c->k_dim) * decay;
            w->attention[i * CHUNK + j] = gdnp_floor_operand(c->operands, score);
            if (j < i) {
                const float a =
                    c->beta[i] * (dot(w->k + i * c->k_dim, key, c->k_dim) * decay);
                add_row(row, -gdnp_floor_operand(c->operands, a), w->solve + j * CHUNK,
                        j + 1);
            }
        }
    }
    round_operands(c->operands, w->inverse, w->solve, c->length * CHUNK);
}

/* out_i = sum_j inverse_ij factor_j x_j, operands and results rounded. `scratch` has room
 * for x. */
static void apply_inverse(const gdnp_floor_chunk *c, const wy *w, const float *factors,
                          const float *x, int64_t width, float *scratch, float *out) {
    for (int64_t j = 0; j < c->length; j++) {
        for (int64_t l = 0; l < width; l++) {
            scratch[j * width + l] =
                gdnp_floor_operand(c->operands, factors[j] * x[j * width + l]);
        }
    }
    for (int64_t i = 0; i < c->length; i++) {
        float *row = out + i * width;
        memset(row, 0, (size_t)width * sizeof *row);
        for (int64_t j = 0; j <= i; j++) {
            add_row(row, w->inverse[i * CHUNK + j], scratch + j * width, width);
        }
        round_operands(c->operands, row, row, width);
    }
}

/* v' = u - w S and o = exp(G) q S + P v', a token after the other. */
static void read_state(gdnp_floor_chunk *c, const wy *w) {
    const int64_t n = c->v_dim;
    for (int64_t t = 0; t < c->length; t++) {
        float *v = w->v + t * n, *o = c->o + t * n;
        float read[2][16];
        for (int64_t first = 0; first < n; first += 16) {
            const int64_t count = n - first < 16 ? n - first : 16;
            memset(read, 0, sizeof read);
            for (int64_t i = 0; i < c->k_dim; i++) {
                const float *row = w->state + i * n + first;
                add_row(read[0], w->w[t * c->k_dim + i], row, count);
                add_row(read[1], w->q[t * c->k_dim + i], row, count);
            }
            const float decay = power(c, w->sums[t]);
            for (int64_t r = 0; r < count; r++) {
                v[first + r] = gdnp_floor_operand(c->operands, v[first + r] - read[0][r]);
                o[first + r] = read[1][r] * decay;
            }
        }
        for (int64_t j = 0; j <= t; j++) {
            add_row(o, w->attention[t * CHUNK + j], w->v + j * n, n);
        }
    }
}

static void update_state(gdnp_floor_chunk *c, const wy *w) {
    const int64_t n = c->v_dim;
    const float total = w->sums[c->length - 1];
    const float decay = power(c, total);
    const bool keys = c->decays == GDN_CHUNK_DECAY_KEYS;
    float *decayed = keys ? w->k : w->v;
    const int64_t width = keys ? c->k_dim : n;
    for (int64_t t = 0; t < c->length; t++) {
        const float rest = power(c, total - w->sums[t]);
        for (int64_t r = 0; r < width; r++) {
            float *x = decayed + t * width + r;
            *x = gdnp_floor_operand(c->operands, *x * rest);
        }
    }
    for (int64_t i = 0; i < c->k_dim; i++) {
        float *row = c->state + i * n;
        for (int64_t r = 0; r < n; r++) {
            row[r] *= decay;
        }
        for (int64_t t = 0; t < c->length; t++) {
            add_row(row, w->k[t * c->k_dim + i], w->v + t * n, n);
        }
    }
}

void gdnp_floor_solve(gdnp_floor_chunk *c) {
    wy w = wy_of(c);
    float factors[CHUNK], sum = 0.0F;
    for (int64_t t = 0; t < c->length; t++) {
        sum += c->g[t];
        w.sums[t] = sum;
        factors[t] = c->beta[t] * power(c, sum);
    }
    round_operands(c->operands, w.k, c->k, c->length * c->k_dim);
    round_operands(c->operands, w.q, c->q, c->length * c->k_dim);
    round_operands(c->operands, w.state, c->state, c->k_dim * c->v_dim);
    invert(c, &w);
    /* The raw k and v are not needed again and make room. */
    apply_inverse(c, &w, factors, w.k, c->k_dim, c->k, w.w);
    apply_inverse(c, &w, c->beta, c->v, c->v_dim, c->v, w.v);
    read_state(c, &w);
    update_state(c, &w);
}
