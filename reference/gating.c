/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Log decay and beta (contract vllm_xpu 2.4):
 *
 *     g = -exp(A_log) softplus(a + dt_bias)        beta = 1 / (1 + exp(-b)) */
#include "gdn/exact.h"
#include "ops.h"

#include <math.h>

double gdnp_exp_error(const gdn_conventions *conventions, double x) {
    return (conventions->exp_error + 1.25 * fabs(x)) * gdnp_arithmetic_of(conventions).unit;
}

double gdnp_sigmoid_error(const gdn_conventions *conventions, double x) {
    /* The profile's figure holds what exp errs by at 0. */
    return (conventions->sigmoid_error + 1.25 * fabs(x) * gdn_sigmoid(-x)) *
           gdnp_arithmetic_of(conventions).unit;
}

gdnp_gate gdnp_gate_eval(const gdn_conventions *conventions, double A_log, double dt_bias,
                         double a, double b) {
    const gdnp_arithmetic fp = gdnp_arithmetic_of(conventions);
    const double x = conventions->slip == GDN_SLIP_DT_BIAS_MISSING ? a : a + dt_bias;
    const double rate = gdn_exp(A_log);
    const double sp = gdn_softplus(x, conventions->softplus_threshold);
    /* softplus written as log(1 + exp(x)) errs absolutely: u from the addition, exp's error
     * weighted by the derivative, then x's own rounding (|x| sigmoid(x) < sp + 0.28) and
     * the log's, both relative to sp. */
    const double sp_error = fp.unit * (1.3 + (conventions->exp_error + 1.0) * sp) +
                            gdnp_exp_error(conventions, x) * gdn_sigmoid(x);
    const double g = -rate * sp;
    return (gdnp_gate){
        .g = g,
        .beta = gdn_sigmoid(b),
        .g_error = rate * sp_error +
                   fabs(g) * (gdnp_exp_error(conventions, A_log) + fp.unit) +
                   fp.tiny * (1.0 + sp + rate),
        .beta_error = gdnp_sigmoid_error(conventions, b),
    };
}

void gdnp_token_set_gate(gdnp_token *token, const gdn_conventions *conventions,
                         const gdnp_gate *gate) {
    const bool coarse_g = conventions->slip == GDN_SLIP_GATE_BF16;
    const bool coarse_beta = conventions->slip == GDN_SLIP_BETA_BF16;
    token->decay = gdn_exp(coarse_g ? gdn_round_to(gate->g, GDN_BF16) : gate->g);
    token->decay_error = gate->g_error + gdnp_exp_error(conventions, gate->g);
    token->beta = coarse_beta ? gdn_round_to(gate->beta, GDN_BF16) : gate->beta;
    token->beta_error = gate->beta_error;
}

gdn_status gdn_reference_gating(const gdn_call *call, gdn_output *outputs, gdn_error *err) {
    (void)err;
    const gdn_tensor *A_log = gdn_call_tensor(call, "A_log");
    const gdn_tensor *dt_bias = gdn_call_tensor(call, "dt_bias");
    const gdn_tensor *a = gdn_call_tensor(call, "a");
    const gdn_tensor *b = gdn_call_tensor(call, "b");
    gdn_output *g_out = gdnp_output(call, outputs, "g");
    gdn_output *beta_out = gdnp_output(call, outputs, "beta");
    const int64_t rows = a->shape[0];
    const int64_t heads = a->shape[1];
    const double tiny = gdnp_arithmetic_of(call->conventions).tiny;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows * heads; i++) {
        const int64_t row = i / heads;
        const int64_t h = i % heads;
        const gdnp_gate gate = gdnp_gate_eval(
            call->conventions, gdn_load(A_log->data, A_log->dtype, h * A_log->stride[0]),
            gdn_load(dt_bias->data, dt_bias->dtype, h * dt_bias->stride[0]),
            gdn_load(a->data, a->dtype, row * a->stride[0] + h * a->stride[1]),
            gdn_load(b->data, b->dtype, row * b->stride[0] + h * b->stride[1]));
        const double beta_error = gate.beta * gate.beta_error;
        if (g_out) {
            const int64_t at = row * g_out->value.stride[0] + h * g_out->value.stride[1];
            gdnp_store_bounded(g_out, at, 1, i, &gate.g, &gate.g_error, 1, GDN_FP32, tiny);
        }
        if (beta_out) {
            const int64_t at =
                row * beta_out->value.stride[0] + h * beta_out->value.stride[1];
            gdnp_store_bounded(beta_out, at, 1, i, &gate.beta, &beta_error, 1, GDN_FP32,
                               tiny);
        }
    }
    for (int64_t row = 0; row < rows; row++) {
        gdnp_mark_row(g_out, row);
        gdnp_mark_row(beta_out, row);
    }
    return GDN_OK;
}
