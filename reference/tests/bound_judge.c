/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* An fp32 kernel on a bound_case: reads the call's tensors, stores as a backend would. */
#include "bound_case.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* NULL if the call has no such tensor. */
static const gdn_tensor *find(const bound_case *c, const char *name) {
    return gdn_call_tensor(&c->bench.call, name);
}

static float at(const gdn_tensor *x, int64_t index) {
    return x ? (float)gdn_load(x->data, x->dtype, index) : 0.0F;
}

static void read_delta(const bound_case *c, int64_t head, kernel_head *h) {
    for (int64_t i = 0; i < c->length * c->k_dim; i++) {
        h->q[i] = at(find(c, "q"), i);
        h->k[i] = at(find(c, "k"), i);
    }
    for (int64_t t = 0; t < c->length; t++) {
        const int64_t row = t * c->heads + head;
        h->g[t] = at(find(c, "g"), row);
        h->beta[t] = at(find(c, "beta"), row);
        for (int64_t i = 0; i < c->v_dim; i++) {
            h->v[t * c->v_dim + i] = at(find(c, "v"), row * c->v_dim + i);
        }
    }
}

/* y of `count` channels from `first`, which is also their first column: one key head. */
static void convolve(const bound_case *c, const kernel_style *style, int64_t first,
                     int64_t count, float *y) {
    const gdn_tensor *x = find(c, "projected_states_qkvz");
    const gdn_tensor *lines = find(c, "conv_state");
    const gdn_tensor *weight = find(c, "conv_weights");
    const int64_t past = c->taps - 1, channels = weight->shape[0];
    for (int64_t t = 0; t < c->length; t++) {
        for (int64_t i = first; i < first + count; i++) {
            float w[MOST_TAPS], window[MOST_TAPS];
            for (int64_t j = 0; j < c->taps; j++) {
                const int64_t from = t + j - past;
                w[j] = at(weight, i * c->taps + j);
                window[j] = from >= 0   ? at(x, from * x->shape[1] + i)
                            : c->starts ? at(lines, (past + from + past) * channels + i)
                                        : 0.0F;
            }
            const float sum =
                kernel_conv(style, w, window, c->taps, at(find(c, "conv_bias"), i));
            y[t * count + i - first] =
                (float)gdn_round_to((double)kernel_silu(style, sum), x->dtype);
        }
    }
}

static void read_attention(const bound_case *c, const kernel_style *style, int64_t head,
                           kernel_head *h) {
    const gdn_tensor *ba = find(c, "projected_states_ba");
    convolve(c, style, 0, c->k_dim, h->q);
    convolve(c, style, c->k_dim, c->k_dim, h->k);
    convolve(c, style, 2 * c->k_dim + head * c->v_dim, c->v_dim, h->v);
    for (int64_t t = 0; t < c->length; t++) {
        const gdn_conventions *conventions = &c->bench.conventions;
        const float b = at(ba, t * 2 * c->heads + head);
        h->beta[t] = kernel_sigmoid(style, b);
        if (conventions->beta_tail == GDN_TAIL_THRICE) {
            h->beta[t] = kernel_sigmoid_thrice(style, ba->dtype, b);
        } else if (conventions->beta_storage == GDN_BETA_ACTIVATION) {
            h->beta[t] = (float)gdn_round_to((double)h->beta[t], ba->dtype);
        }
        h->g[t] =
            kernel_gate(style, at(find(c, "A_log"), head), at(find(c, "dt_bias"), head),
                        at(ba, t * 2 * c->heads + c->heads + head));
    }
}

/* |found - golden| in limits; a NaN anywhere fails. */
static double share(const gdn_output *golden, int64_t index, float found,
                    gdn_dtype storage) {
    const double stored = gdn_round_to((double)found, storage);
    const double expected = ((const double *)golden->value.data)[index];
    const double result = fabs(stored - expected) / (double)golden->limit[index];
    assert_true(result >= 0.0 && isfinite(golden->limit[index]));
    return result;
}

static bound_shares judge_head(const bound_case *c, int64_t head, const kernel_head *h) {
    const bool attention = c->bench.call.op == GDN_OP_GDN_ATTENTION;
    const gdn_tensor *o = find(c, attention ? "core_attn_out" : "out");
    const gdn_tensor *S = find(c, "ssm_state");
    bound_shares s = {0};
    for (int64_t i = 0; i < c->length * c->v_dim; i++) {
        const int64_t index = (i / c->v_dim * c->heads + head) * c->v_dim + i % c->v_dim;
        s.out = fmax(s.out, share(&c->bench.outputs[o - c->bench.tensors], index, h->out[i],
                                  o->dtype));
    }
    const int64_t size = c->v_dim * c->k_dim;
    for (int64_t i = 0; i < size; i++) {
        s.state = fmax(s.state, share(&c->bench.outputs[S - c->bench.tensors],
                                      (c->heads + head) * size + i, h->state[i], S->dtype));
    }
    return s;
}

bound_shares bound_case_judge(const bound_case *c, const kernel_style *style) {
    const int64_t keys = c->length * c->k_dim, values = c->length * c->v_dim;
    const int64_t size = c->v_dim * c->k_dim;
    float *memory =
        calloc((size_t)(2 * keys + 2 * values + 2 * c->length + size), sizeof *memory);
    assert_non_null(memory);
    kernel_head h = {.length = c->length, .k_dim = c->k_dim, .v_dim = c->v_dim};
    h.q = memory;
    h.k = h.q + keys;
    h.v = h.k + keys;
    h.out = h.v + values;
    h.g = h.out + values;
    h.beta = h.g + c->length;
    h.state = h.beta + c->length;
    h.l2norm = gdn_call_scalar(&c->bench.call, "use_qk_l2norm", 1) != 0;
    h.eps = c->bench.conventions.l2norm_eps;
    h.form = c->bench.conventions.l2norm_form;
    h.carry = c->bench.conventions.state_carry;
    h.state_dtype = find(c, "ssm_state")->dtype;
    bound_shares largest = {0};
    for (int64_t head = 0; head < c->heads; head++) {
        if (c->bench.call.op == GDN_OP_GDN_ATTENTION) {
            read_attention(c, style, head, &h);
        } else {
            read_delta(c, head, &h);
        }
        for (int64_t i = 0; i < size; i++) {
            h.state[i] =
                c->starts ? at(find(c, "ssm_state"), (c->heads + head) * size + i) : 0.0F;
        }
        kernel_run(style, &h);
        const bound_shares s = judge_head(c, head, &h);
        largest.out = fmax(largest.out, s.out);
        largest.state = fmax(largest.state, s.state);
    }
    free(memory);
    return largest;
}
