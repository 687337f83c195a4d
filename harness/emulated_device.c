/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "emulated_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct device {
    const gdn_call *call;
    const gdn_conventions *conventions;
    const kernel_style *style;
    const gdn_tensor *q, *k, *v, *state, *out; /* q, k, v of gated_delta_rule */
    const gdn_tensor *x, *ba;                  /* of gdn_attention */
    const gdn_tensor *starts, *slots, *initial, *rows;
    int64_t key_heads, heads, k_dim, v_dim;
    bool chunked, l2norm;
} device;

bool gdnp_emulated_supports(const gdn_case *test) {
    const gdn_conventions *c = &test->conventions;
    if (test->columns > 0 || test->gates != GDN_GATES_GIVEN) {
        return false;
    }
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].padded) {
            return false;
        }
    }
    const bool plain_conv =
        c->conv_state_order == GDN_CONV_STATE_SD && c->conv_anchor == GDN_CONV_FIRST &&
        c->conv_history == GDN_CONV_KEEPS_WINDOW && c->conv_weight == GDN_WEIGHT_CW &&
        c->conv_product == GDN_ROUND_NONE && c->conv_output == GDN_ROUND_STORAGE &&
        c->beta_rounding == GDN_BETA_UNROUNDED && c->beta_storage == GDN_BETA_FP32;
    return test->op == GDN_OP_GATED_DELTA_RULE ||
           (test->op == GDN_OP_GDN_ATTENTION && plain_conv);
}

static float at(const gdn_tensor *t, int64_t i, int64_t j, int64_t k) {
    const int64_t index[] = {i, j, k, 0};
    return (float)gdn_load(t->data, t->dtype, gdn_tensor_offset(t, index));
}

static int64_t row_of(const device *d, int64_t token) {
    return d->rows ? gdn_tensor_int(d->rows, token, 0) : token;
}

static float norm_of(const device *d, const float *x) {
    double sum = 0.0; /* a wider accumulator is as right as any order */
    const double eps = d->conventions->l2norm_eps;
    for (int64_t i = 0; i < d->k_dim; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    switch (d->conventions->l2norm_form) {
    case GDN_L2NORM_OUTSIDE:
        return sqrtf((float)sum) + (float)eps;
    case GDN_L2NORM_MAX:
        return fmaxf(sqrtf((float)sum), (float)eps);
    case GDN_L2NORM_INSIDE:
        break;
    }
    return sqrtf((float)(sum + eps));
}

/* One row of k or q to what the recurrence reads, with the profile's roundings. */
static void finish_key(const device *d, float *x, bool query) {
    const float scale = query ? 1.0F / sqrtf((float)d->k_dim) : 1.0F;
    const gdn_chunk_qk rounding = d->chunked ? d->conventions->chunk_qk : GDN_CHUNK_QK_NONE;
    const gdn_dtype storage = d->out->dtype;
    const float norm = d->l2norm ? norm_of(d, x) : 1.0F;
    for (int64_t i = 0; i < d->k_dim; i++) {
        float y = x[i] / norm;
        switch (rounding) {
        case GDN_CHUNK_QK_STORAGE:
            y = (float)gdn_round_to((double)y, storage) * scale;
            break;
        case GDN_CHUNK_QK_SCALED:
            y = (float)gdn_round_to((double)(y * scale), storage);
            break;
        case GDN_CHUNK_QK_NONE:
            y *= scale;
            break;
        }
        x[i] = y;
    }
}

/* beta from its logit, with the roundings of the profile. */
static float make_beta(const device *d, float logit, gdn_dtype storage) {
    switch (d->conventions->beta_rounding) {
    case GDN_BETA_ROUNDED:
        return (float)gdn_round_to((double)kernel_sigmoid(d->style, logit), storage);
    case GDN_BETA_THRICE_IN_DECODE: {
        const double e = gdn_round_to(exp(-(double)logit), storage);
        const double sum = gdn_round_to(1.0 + e, storage);
        return (float)gdn_round_to((double)(float)(1.0 / sum), storage);
    }
    case GDN_BETA_UNROUNDED:
        break;
    }
    return kernel_sigmoid(d->style, logit);
}

static void load_delta(const device *d, int64_t first, int64_t key_head, int64_t head,
                       kernel_head *h) {
    const gdn_tensor *g = gdn_call_tensor(d->call, "g");
    const gdn_tensor *beta = gdn_call_tensor(d->call, "beta");
    for (int64_t t = 0; t < h->length; t++) {
        const int64_t row = row_of(d, first + t);
        for (int64_t i = 0; i < d->k_dim; i++) {
            h->q[t * d->k_dim + i] = at(d->q, row, key_head, i);
            h->k[t * d->k_dim + i] = at(d->k, row, key_head, i);
        }
        for (int64_t i = 0; i < d->v_dim; i++) {
            h->v[t * d->v_dim + i] = at(d->v, row, head, i);
        }
        h->g[t] = at(g, row, head, 0);
        if (d->conventions->gate_input == GDN_GATE_DECAY) {
            h->g[t] = (float)log((double)h->g[t] + 1e-10);
        }
        h->beta[t] = at(beta, row, head, 0);
        if (d->conventions->beta_input == GDN_BETA_LOGITS) {
            h->beta[t] = make_beta(d, h->beta[t], d->v->dtype);
        }
    }
}

/* y of one channel of one token. `conv` is the channel in weight and state, `column` that
 * in x. */
static float convolve(const device *d, int64_t sequence, int64_t first, int64_t t,
                      int64_t conv, int64_t column) {
    const gdn_tensor *weight = gdn_call_tensor(d->call, "conv_weights");
    const gdn_tensor *bias = gdn_call_tensor(d->call, "conv_bias");
    const gdn_tensor *lines = gdn_call_tensor(d->call, "conv_state");
    const int64_t taps = weight->shape[1];
    const bool starts = !d->initial || gdn_tensor_int(d->initial, sequence, 0) != 0;
    float w[MOST_TAPS], window[MOST_TAPS];
    for (int64_t j = 0; j < taps; j++) {
        const int64_t from = t + j - (taps - 1);
        w[j] = at(weight, conv, j, 0);
        window[j] = from >= 0 ? at(d->x, row_of(d, first + from), column, 0)
                    : starts  ? at(lines, gdn_tensor_int(d->slots, sequence, 0),
                                   from + taps - 1, conv)
                              : 0.0F;
    }
    const float sum =
        kernel_conv(d->style, w, window, taps, bias ? at(bias, conv, 0, 0) : 0);
    const float y = d->conventions->activation == GDN_ACTIVATION_SILU
                        ? kernel_silu(d->style, sum)
                        : sum;
    return (float)gdn_round_to((double)y, d->x->dtype);
}

static void load_attention(const device *d, int64_t sequence, int64_t first,
                           int64_t key_head, int64_t head, kernel_head *h) {
    const int64_t r = d->heads / d->key_heads;
    const int64_t j =
        d->conventions->head_map == GDN_HEADS_GROUPED ? head % r : head / d->key_heads;
    const bool grouped = d->conventions->qkvz_layout == GDN_QKVZ_INTERLEAVED;
    const int64_t width = 2 * d->k_dim + 2 * r * d->v_dim;
    const int64_t q = grouped ? key_head * width : key_head * d->k_dim;
    const int64_t k = grouped ? q + d->k_dim : (d->key_heads + key_head) * d->k_dim;
    const int64_t all_keys = 2 * d->key_heads * d->k_dim;
    const int64_t v = grouped ? key_head * width + 2 * d->k_dim + j * d->v_dim
                              : all_keys + head * d->v_dim;
    const int64_t b = grouped ? key_head * 2 * r + j : head;
    const int64_t a = b + (grouped ? r : d->heads);
    for (int64_t t = 0; t < h->length; t++) {
        for (int64_t i = 0; i < d->k_dim; i++) {
            h->q[t * d->k_dim + i] =
                convolve(d, sequence, first, t, key_head * d->k_dim + i, q + i);
            h->k[t * d->k_dim + i] = convolve(
                d, sequence, first, t, (d->key_heads + key_head) * d->k_dim + i, k + i);
        }
        for (int64_t i = 0; i < d->v_dim; i++) {
            h->v[t * d->v_dim + i] =
                convolve(d, sequence, first, t, all_keys + head * d->v_dim + i, v + i);
        }
        const int64_t row = row_of(d, first + t);
        h->beta[t] = make_beta(d, at(d->ba, row, b, 0), d->ba->dtype);
        h->g[t] = kernel_gate(d->style, at(gdn_call_tensor(d->call, "A_log"), head, 0, 0),
                              at(gdn_call_tensor(d->call, "dt_bias"), head, 0, 0),
                              at(d->ba, row, a, 0));
    }
}

static int64_t state_at(const device *d, int64_t slot, int64_t head, int64_t row,
                        int64_t column) {
    const bool vk = d->conventions->state_order == GDN_STATE_VK;
    const int64_t index[] = {slot, head, vk ? row : column, vk ? column : row};
    return gdn_tensor_offset(d->state, index);
}

static void run_head(const device *d, int64_t sequence, int64_t head, kernel_head *h) {
    const int64_t first = gdn_tensor_int(d->starts, sequence, 0);
    const int64_t r = d->heads / d->key_heads;
    const int64_t key_head =
        d->conventions->head_map == GDN_HEADS_GROUPED ? head / r : head % d->key_heads;
    const int64_t slot = gdn_tensor_int(d->slots, sequence, 0);
    const bool starts = !d->initial || gdn_tensor_int(d->initial, sequence, 0) != 0;
    if (d->x) {
        load_attention(d, sequence, first, key_head, head, h);
    } else {
        load_delta(d, first, key_head, head, h);
    }
    for (int64_t t = 0; t < h->length; t++) {
        finish_key(d, h->k + t * d->k_dim, false);
        finish_key(d, h->q + t * d->k_dim, true);
    }
    const gdn_tensor *S = d->state;
    for (int64_t i = 0; i < d->v_dim * d->k_dim; i++) {
        const int64_t place = state_at(d, slot, head, i / d->k_dim, i % d->k_dim);
        h->state[i] = starts ? (float)gdn_load(S->data, S->dtype, place) : 0.0F;
    }
    kernel_run(d->style, h);
    for (int64_t i = 0; i < d->v_dim * d->k_dim; i++) {
        gdn_store(S->data, S->dtype, state_at(d, slot, head, i / d->k_dim, i % d->k_dim),
                  (double)h->state[i]);
    }
    for (int64_t i = 0; i < h->length * d->v_dim; i++) {
        const int64_t index[] = {row_of(d, first + i / d->v_dim), head, i % d->v_dim};
        gdn_store(d->out->data, d->out->dtype, gdn_tensor_offset(d->out, index),
                  (double)h->out[i]);
    }
}

static gdn_state_carry carry_of(const device *d) {
    const gdn_state_carry carry = d->conventions->state_carry;
    return carry != GDN_CARRY_KERNEL ? carry
           : d->chunked              ? GDN_CARRY_CHUNK
                                     : GDN_CARRY_TOKEN;
}

static void run_sequence(const device *d, int64_t sequence) {
    const int64_t length =
        gdn_tensor_int(d->starts, sequence + 1, 0) - gdn_tensor_int(d->starts, sequence, 0);
    const int64_t keys = length * d->k_dim, values = length * d->v_dim;
    const int64_t size = d->v_dim * d->k_dim;
    float *memory =
        calloc((size_t)(2 * keys + 2 * values + 2 * length + size + 1), sizeof *memory);
    kernel_head h = {.length = length,
                     .k_dim = d->k_dim,
                     .v_dim = d->v_dim,
                     .ready = true,
                     .carry = carry_of(d),
                     .state_dtype = d->state->dtype};
    h.q = memory;
    h.k = h.q + keys;
    h.v = h.k + keys;
    h.out = h.v + values;
    h.g = h.out + values;
    h.beta = h.g + length;
    h.state = h.beta + length;
    for (int64_t head = 0; memory && head < d->heads; head++) {
        run_head(d, sequence, head, &h);
    }
    free(memory);
}

static void copy_exact(const gdn_golden *golden) {
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        const size_t size = gdn_dtype_size(e->tensor->dtype);
        for (int64_t row = 0; e->bits && row < e->n_rows; row++) {
            memcpy((uint8_t *)e->tensor->data +
                       (size_t)(e->rows[row] * e->tensor->stride[0]) * size,
                   (const uint8_t *)e->bits + (size_t)(row * e->row_count) * size,
                   (size_t)e->row_count * size);
        }
    }
}

void gdnp_emulated_run(const gdn_problem *problem, const gdn_golden *golden,
                       const kernel_style *style) {
    const gdn_call *call = &problem->call;
    const gdn_case *test = problem->test;
    const bool attention = test->op == GDN_OP_GDN_ATTENTION;
    device d = {
        .call = call,
        .conventions = call->conventions,
        .style = style,
        .q = gdn_call_tensor(call, "q"),
        .k = gdn_call_tensor(call, "k"),
        .v = gdn_call_tensor(call, "v"),
        .state = gdn_call_tensor(call, "ssm_state"),
        .out = gdn_call_tensor(call, attention ? "core_attn_out" : "out"),
        .x = gdn_call_tensor(call, "projected_states_qkvz"),
        .ba = gdn_call_tensor(call, "projected_states_ba"),
        .starts = gdn_call_tensor(call, attention ? "non_spec_query_start_loc"
                                                  : "query_start_loc"),
        .slots = gdn_call_tensor(call, attention ? "non_spec_state_indices_tensor"
                                                 : "state_indices"),
        .initial = gdn_call_tensor(call, "has_initial_state"),
        .rows = attention ? gdn_call_tensor(call, "non_spec_token_indx") : NULL,
        .key_heads = test->num_k_heads / test->tp_size,
        .heads = test->num_v_heads / test->tp_size,
        .k_dim = test->head_k_dim,
        .v_dim = test->head_v_dim,
        .chunked = attention ? gdn_call_scalar(call, "num_prefills", 0) > 0
                             : gdn_call_scalar(call, "chunked", 0) != 0,
        .l2norm = gdn_call_scalar(call, "use_qk_l2norm", 1) != 0,
    };
    for (int64_t i = 0; i + 1 < d.starts->shape[0]; i++) {
        run_sequence(&d, i);
    }
    copy_exact(golden); /* the history was read before it moves on */
}
