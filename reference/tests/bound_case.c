/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "bound_case.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/random.h"

/* A stream of draws. */
typedef struct dice {
    gdn_random random;
    uint64_t next;
} dice;

static uint32_t below(dice *d, uint32_t n) {
    return gdn_random_below(&d->random, d->next++, n);
}

static double one_of(dice *d, const double *values, size_t count) {
    return values[below(d, (uint32_t)count)];
}
#define ONE_OF(d, ...)                                                                     \
    one_of(d, (const double[]){__VA_ARGS__},                                               \
           sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

bound_recipe bound_recipe_draw(uint64_t seed, bool attention) {
    static const gdn_dtype types[] = {GDN_FP32, GDN_BF16, GDN_FP16};
    dice d = {.random = {.seed = seed, .stream = 77}};
    bound_recipe r = {
        .attention = attention,
        .length = 1 + below(&d, 40),
        .k_dim = 2 + below(&d, 47),
        .v_dim = 1 + below(&d, 8),
        .heads = 1 + below(&d, 2),
        .taps = 2 + below(&d, 3),
        .dtype = types[below(&d, 3)],
        .state_dtype = types[below(&d, 3)],
        .carry = (gdn_state_carry)below(&d, 3),
        .keys = (key_fill)below(&d, KEY_FILLS),
        .l2norm = below(&d, 4) != 0,
        .bias = below(&d, 2),
        .starts = below(&d, 4) != 0,
        .key_norm = ONE_OF(&d, 0.3, 1, 1.3),
        .value = ONE_OF(&d, 1, 1, 0, 1e-6, 1e3),
        .state = ONE_OF(&d, 0.5, 0.5, 1e-6, 1e3),
        .equal_values = below(&d, 4) == 0,
        .rate = ONE_OF(&d, 0, 1e-4, 0.1, 5, 30, 95),
        .logit = ONE_OF(&d, 0, 0, -12, -60, 12, 120),
        .A_log = ONE_OF(&d, 0, 0, -8, 3),
        .a = ONE_OF(&d, 0, 0, -14, 10, 22),
        .form = (gdn_l2norm_form)below(&d, 3),
        .eps = ONE_OF(&d, 1e-6, 1e-6, 1e-3, 1e-12),
    };
    if (attention && below(&d, 2)) {
        r.beta_storage = GDN_BETA_ACTIVATION;
        r.beta_tail = (gdn_beta_tail)below(&d, 2);
    }
    if (r.carry == GDN_CARRY_CHUNK && below(&d, 4) == 0) {
        r.length += 64; /* a store within the sequence */
    }
    return r;
}

static double normal(dice *d) {
    return gdn_random_normal(&d->random, d->next++);
}

/* One key (or query) of a sequence whose first is `first`. */
static void fill_key(dice *d, key_fill fill, const double *first, double *x, int64_t n) {
    const int64_t hot = below(d, (uint32_t)n);
    for (int64_t i = 0; i < n; i++) {
        const double z = normal(d);
        switch (fill) {
        case KEYS_NEAR_PARALLEL:
            x[i] = first[i] + 1e-3 * z;
            break;
        case KEYS_EQUAL:
            x[i] = first[i];
            break;
        case KEYS_ONE_HOT:
            x[i] = i == hot ? 3.0 : 0.0;
            break;
        case KEYS_ZERO:
            x[i] = 0.0;
            break;
        case KEYS_SMALL:
            x[i] = 1e-4 * z;
            break;
        case KEYS_SUBNORMAL:
            x[i] = 0x1p-133 * z;
            break;
        default:
            x[i] = z;
        }
    }
}

static void set_norm(double *x, int64_t n, double norm) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    for (int64_t i = 0; i < n && sum > 0.0; i++) {
        x[i] *= norm / sqrt(sum);
    }
}

/* `x` [rows][stride], keys in its first columns. */
static void fill_keys(dice *d, const bound_recipe *r, gdn_tensor *x, int64_t column,
                      key_fill fill) {
    double first[64], key[64];
    fill_key(d, KEYS_NORMAL, NULL, first, r->k_dim);
    for (int64_t t = 0; t < x->shape[0]; t++) {
        fill_key(d, fill, first, key, r->k_dim);
        if (!r->attention && !r->l2norm) {
            set_norm(key, r->k_dim, r->key_norm);
        }
        gdn_store_run(x->data, x->dtype, t * x->stride[0] + column, 1, key, r->k_dim);
    }
}

static void fill_values(dice *d, const bound_recipe *r, gdn_tensor *x, int64_t column,
                        int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        double value = r->value * normal(d);
        for (int64_t t = 0; t < x->shape[0]; t++) {
            gdn_store(x->data, x->dtype, t * x->stride[0] + column + i, value);
            value = r->equal_values ? value : r->value * normal(d);
        }
    }
}

static void begin_delta(op_bench *b, dice *d, const bound_recipe *r) {
    op_begin(b, GDN_OP_GATED_DELTA_RULE);
    gdn_tensor *q = op_add(b, "q", r->dtype, r->length, 1, r->k_dim, 0);
    gdn_tensor *k = op_add(b, "k", r->dtype, r->length, 1, r->k_dim, 0);
    gdn_tensor *v = op_add(b, "v", r->dtype, r->length, r->heads, r->v_dim, 0);
    gdn_tensor *g = op_add(b, "g", GDN_FP32, r->length, r->heads, 0, 0);
    gdn_tensor *beta = op_add(b, "beta", GDN_FP32, r->length, r->heads, 0, 0);
    const key_fill queries[] = {KEYS_NORMAL, KEYS_NORMAL, r->keys};
    fill_keys(d, r, q, 0, queries[below(d, 3)]);
    fill_keys(d, r, k, 0, r->keys);
    fill_values(d, r, v, 0, r->heads * r->v_dim);
    for (int64_t i = 0; i < r->length * r->heads; i++) {
        gdn_store(g->data, g->dtype, i, -r->rate * fabs(normal(d)));
        gdn_store(beta->data, beta->dtype, i, 1.0 / (1.0 + exp(-r->logit - normal(d))));
    }
    op_add(b, "ssm_state", r->state_dtype, 2, r->heads, r->v_dim, r->k_dim);
    op_set_ints(op_add(b, "query_start_loc", GDN_I32, 2, 0, 0, 0),
                (int[]){0, (int)r->length}, 2);
    op_set_ints(op_add(b, "state_indices", GDN_I32, 1, 0, 0, 0), (int[]){1}, 1);
    op_set_ints(op_add(b, "has_initial_state", GDN_BOOL, 1, 0, 0, 0),
                (int[]){r->starts ? 1 : 0}, 1);
    op_add(b, "out", r->dtype, r->length, r->heads, r->v_dim, 0);
    op_scalar(b, "use_qk_l2norm", r->l2norm);
    op_scalar(b, "chunked", r->chunk_class != GDN_CLASS_FP32);
    op_want(b, "out", GDN_FP64, true);
}

static void begin_attention(op_bench *b, dice *d, const bound_recipe *r) {
    const int64_t values = r->heads * r->v_dim, channels = 2 * r->k_dim + values;
    op_begin(b, GDN_OP_GDN_ATTENTION);
    op_add(b, "core_attn_out", r->dtype, r->length, r->heads, r->v_dim, 0);
    op_add(b, "z", r->dtype, r->length, r->heads, r->v_dim, 0);
    gdn_tensor *x =
        op_add(b, "projected_states_qkvz", r->dtype, r->length, channels + values, 0, 0);
    gdn_tensor *ba =
        op_add(b, "projected_states_ba", r->dtype, r->length, 2 * r->heads, 0, 0);
    fill_keys(d, r, x, 0, below(d, 2) ? KEYS_NORMAL : r->keys);
    fill_keys(d, r, x, r->k_dim, r->keys);
    fill_values(d, r, x, 2 * r->k_dim, 2 * values);
    for (int64_t t = 0; t < r->length; t++) {
        for (int64_t h = 0; h < r->heads; h++) {
            const int64_t at = t * 2 * r->heads + h;
            gdn_store(ba->data, r->dtype, at, r->logit + normal(d));
            gdn_store(ba->data, r->dtype, at + r->heads, r->a + normal(d));
        }
    }
    gdn_tensor *lines = op_add(b, "conv_state", r->dtype, 2, r->taps - 1, channels, 0);
    gdn_tensor *weight = op_add(b, "conv_weights", r->dtype, channels, r->taps, 0, 0);
    op_normal(lines, d->random.seed, 1, r->keys == KEYS_ZERO ? 0.0 : 1.0);
    op_normal(weight, d->random.seed, 2, ONE_OF(d, 0.5, 0.5, 4));
    if (r->bias) {
        op_normal(op_add(b, "conv_bias", r->dtype, channels, 0, 0, 0), d->random.seed, 3,
                  0.5);
    }
    gdn_tensor *A_log = op_add(b, "A_log", GDN_FP32, r->heads, 0, 0, 0);
    op_normal(op_add(b, "dt_bias", r->dtype, r->heads, 0, 0, 0), d->random.seed, 4, 1.0);
    for (int64_t h = 0; h < r->heads; h++) {
        gdn_store(A_log->data, GDN_FP32, h, r->A_log + 0.3 * normal(d));
    }
    op_add(b, "ssm_state", r->state_dtype, 2, r->heads, r->v_dim, r->k_dim);
    op_set_ints(op_add(b, "non_spec_query_start_loc", GDN_I32, 2, 0, 0, 0),
                (int[]){0, (int)r->length}, 2);
    op_set_ints(op_add(b, "non_spec_state_indices_tensor", GDN_I32, 1, 0, 0, 0), (int[]){1},
                1);
    op_set_ints(op_add(b, "has_initial_state", GDN_BOOL, 1, 0, 0, 0),
                (int[]){r->starts ? 1 : 0}, 1);
    const gdn_scalar scalars[] = {{"num_k_heads", 1},
                                  {"num_v_heads", r->heads},
                                  {"head_k_dim", r->k_dim},
                                  {"head_v_dim", r->v_dim},
                                  {"num_prefills", 1},
                                  {"num_decodes", 0},
                                  {"num_spec_decodes", 0},
                                  {"tp_size", 1},
                                  {"num_actual_tokens", r->length},
                                  {"reorder_input", 0}};
    for (size_t i = 0; i < sizeof scalars / sizeof scalars[0]; i++) {
        op_scalar(b, scalars[i].name, scalars[i].value);
    }
    op_want(b, "core_attn_out", GDN_FP64, true);
}

void bound_case_begin(bound_case *c, const bound_recipe *r, uint64_t seed) {
    dice d = {.random = {.seed = seed, .stream = 78}};
    *c = (bound_case){.length = r->length,
                      .k_dim = r->k_dim,
                      .v_dim = r->v_dim,
                      .heads = r->heads,
                      .taps = r->taps,
                      .starts = r->starts};
    if (r->attention) {
        begin_attention(&c->bench, &d, r);
    } else {
        begin_delta(&c->bench, &d, r);
    }
    c->bench.conventions.state_carry = r->carry;
    c->bench.conventions.l2norm_form = r->form;
    c->bench.conventions.l2norm_eps = r->eps;
    c->bench.conventions.beta_storage = r->attention ? r->beta_storage : GDN_BETA_FP32;
    c->bench.conventions.beta_tail = r->attention ? r->beta_tail : GDN_TAIL_AS_OTHERS;
    c->bench.conventions.chunk_class = r->chunk_class;
    op_normal(op_tensor(&c->bench, "ssm_state"), seed, 5, r->state);
    op_want(&c->bench, "ssm_state", GDN_FP64, true);
    op_run(&c->bench);
}

void bound_case_end(bound_case *c) {
    op_end(&c->bench);
}
