/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "mpfr_shadow.h"

/* What exp, log1p and what stands around them cost beside an addition, measured. */
#define TRANSCENDENTAL 100.0

static double conv_cost(const gdn_call *call, const char *name, double rows) {
    const gdn_tensor *weight = gdn_call_tensor(call, name);
    const int wc = call->conventions->conv_weight == GDN_WEIGHT_WC;
    return rows * (double)weight->shape[wc] *
           (4.0 * (double)weight->shape[1 - wc] + TRANSCENDENTAL);
}

/* Decay, read, update and output: seven operations on each element of the state. */
static double delta_cost(double rows, double heads, double k_dim, double v_dim) {
    return rows * heads * (7.0 * k_dim * v_dim + TRANSCENDENTAL);
}

double gdn_shadow_cost(const gdn_call *call) {
    const gdn_tensor *first = NULL;
    switch (call->op) {
    case GDN_OP_CAUSAL_CONV1D:
        first = gdn_call_tensor(call, "x");
        return conv_cost(call, "weight", (double)first->shape[0]);
    case GDN_OP_GDN_GATING:
        return 4.0 * TRANSCENDENTAL * (double)gdn_tensor_count(gdn_call_tensor(call, "a"));
    case GDN_OP_GATED_DELTA_RULE:
        first = gdn_call_tensor(call, "v");
        return delta_cost((double)first->shape[0], (double)first->shape[1],
                          (double)gdn_call_tensor(call, "k")->shape[2],
                          (double)first->shape[2]);
    case GDN_OP_GDN_ATTENTION: {
        const double rows = (double)gdn_call_scalar(call, "num_actual_tokens", 0);
        const double heads = (double)(gdn_call_scalar(call, "num_v_heads", 0) /
                                      gdn_call_scalar(call, "tp_size", 1));
        return conv_cost(call, "conv_weights", rows) +
               delta_cost(rows, heads, (double)gdn_call_scalar(call, "head_k_dim", 0),
                          (double)gdn_call_scalar(call, "head_v_dim", 0)) +
               4.0 * TRANSCENDENTAL * rows * heads;
    }
    default:
        break;
    }
    return 0.0;
}

gdn_status gdn_shadow_run(const gdn_call *call, gdn_shadow_output *outputs, int64_t *ties,
                          gdn_error *err) {
    GDN_TRY(gdn_call_check(call, err));
    *ties = 0;
    switch (call->op) {
    case GDN_OP_CAUSAL_CONV1D:
        return gdnp_shadow_causal_conv1d(call, outputs, err);
    case GDN_OP_GDN_GATING:
        return gdnp_shadow_gating(call, outputs, err);
    case GDN_OP_GATED_DELTA_RULE:
        return gdnp_shadow_delta_rule(call, outputs, ties, err);
    case GDN_OP_GDN_ATTENTION:
        return gdnp_shadow_attention(call, outputs, ties, err);
    default:
        break;
    }
    return gdn_error_set(err, GDN_ERR_ARG, "%s computes no floats: it has no shadow",
                         gdn_op_get(call->op)->name);
}
