/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Log decay and beta (contract vllm_xpu 2.4):
 *
 *     g = -exp(A_log) softplus(a + dt_bias)        beta = 1 / (1 + exp(-b)) */
#include "gdn/exact.h"
#include "ops.h"

#include <math.h>

#define LN2 0.69314718055994531

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
    const double scale = conventions->softplus_beta;
    const double rate = gdn_exp(A_log);
    const double sp = gdn_softplus(x, scale, conventions->softplus_threshold);
    /* softplus written as log(1 + exp(x)) errs absolutely: u from the addition, exp's error
     * weighted by the derivative, then x's own rounding (|x| sigmoid(x) < sp + 0.28) and
     * the log's, both relative to sp. */
    double sp_error = fp.unit * (1.3 + (conventions->exp_error + 1.0) * sp) +
                      gdnp_exp_error(conventions, x) * gdn_sigmoid(x);
    if (scale != 1.0) {
        /* The same of scale x over scale, with two roundings more. */
        const double y = scale * x;
        const double slope = gdn_sigmoid(y);
        sp_error = fp.unit * (1.3 / scale + (conventions->exp_error + 2.0) * sp) +
                   (gdnp_exp_error(conventions, y) + fabs(y) * fp.unit) * slope / scale;
    }
    /* An approximate log errs absolutely near 1, where its result is below ln 2. */
    sp_error += fp.unit * conventions->log_error * fmax(sp, LN2 / scale);
    const double g = -rate * sp;
    gdnp_gate gate = {
        .g = g,
        .g_error = rate * sp_error +
                   fabs(g) * (gdnp_exp_error(conventions, A_log) + fp.unit) +
                   fp.tiny * (1.0 + sp + rate),
    };
    gdnp_gate_set_beta(&gate, conventions, GDNP_BETA_EXACT, GDN_FP64, b);
    return gate;
}

gdnp_beta_form gdnp_beta_made(const gdn_conventions *conventions, bool spec) {
    switch (conventions->beta_rounding) {
    case GDN_BETA_ROUNDED:
        return GDNP_BETA_ONCE;
    case GDN_BETA_THRICE_IN_DECODE:
        return spec ? GDNP_BETA_EXACT : GDNP_BETA_THRICE;
    case GDN_BETA_UNROUNDED:
        break;
    }
    return GDNP_BETA_EXACT;
}

gdnp_beta_form gdnp_beta_staged(const gdn_conventions *conventions, int64_t hv,
                                int64_t heads) {
    if (conventions->beta_tail == GDN_TAIL_THRICE && hv >= heads - heads % 32) {
        return GDNP_BETA_THRICE;
    }
    return conventions->beta_storage == GDN_BETA_ACTIVATION ? GDNP_BETA_ONCE
                                                            : GDNP_BETA_EXACT;
}

/* Rounded value and the ends of what a backend may have in its place. */
typedef struct beta_range {
    double low, value, high;
} beta_range;

/* Every step is monotonic, so the ends of an interval go to the ends of its image. The
 * addition of storage values rounds like any other's or is decided far from a boundary; the
 * quotient errs by what the profile grants to a sigmoid beyond its exp. */
static beta_range round_thrice(const gdn_conventions *conventions, gdn_dtype storage,
                               double b) {
    const gdnp_arithmetic fp = gdnp_arithmetic_of(conventions);
    const double over = fmax(conventions->sigmoid_error - conventions->exp_error, 1.0);
    const double power = gdn_exp(-b);
    const double error = power * gdnp_exp_error(conventions, b) + fp.tiny;
    const double powers[] = {power + error, power, fmax(power - error, 0.0)};
    double beta[3];
    for (int i = 0; i < 3; i++) {
        const double e = gdn_round_to(powers[i], storage);
        const double sum = gdn_round_to(1.0 + e, storage);
        const double quotient = 1.0 / sum;
        beta[i] = gdn_round_to(quotient * (1.0 + (i - 1) * over * fp.unit), storage);
    }
    return (beta_range){beta[0], beta[1], beta[2]};
}

void gdnp_gate_set_beta(gdnp_gate *gate, const gdn_conventions *conventions,
                        gdnp_beta_form form, gdn_dtype storage, double b) {
    const double beta = gdn_sigmoid(b);
    const double error = gdnp_sigmoid_error(conventions, b);
    gate->beta = beta;
    gate->beta_error = error;
    if (form == GDNP_BETA_EXACT) {
        return;
    }
    const double absolute = beta * error + gdnp_arithmetic_of(conventions).tiny;
    beta_range r = {.low = gdn_round_to(fmax(beta - absolute, 0.0), storage),
                    .value = gdn_round_to(beta, storage),
                    .high = gdn_round_to(beta + absolute, storage)};
    if (form == GDNP_BETA_THRICE) {
        r = round_thrice(conventions, storage, b);
    }
    /* Relative, for the recurrence; where 0 is as right as the least number, the latter. */
    gate->beta = r.value == 0.0 ? r.high : r.value;
    gate->beta_error = gate->beta == 0.0
                           ? 0.0
                           : fmax(r.high - gate->beta, gate->beta - r.low) / gate->beta;
    gate->beta_input = gate->beta_error;
}

void gdnp_token_set_gate(gdnp_token *token, const gdn_conventions *conventions,
                         const gdnp_gate *gate) {
    const bool coarse_g = conventions->slip == GDN_SLIP_GATE_BF16;
    const bool coarse_beta = conventions->slip == GDN_SLIP_BETA_BF16;
    token->g = gate->g;
    const double exponent = coarse_g ? gdn_round_to(gate->g, GDN_BF16) : gate->g;
    const bool base2 = conventions->slip == GDN_SLIP_GATE_BASE2;
    token->decay = gdn_exp(base2 ? exponent * 0x1.62e42fefa39efp-1 : exponent); /* ln 2 */
    token->decay_error = gate->g_error + gdnp_exp_error(conventions, gate->g);
    token->beta = coarse_beta ? gdn_round_to(gate->beta, GDN_BF16) : gate->beta;
    token->beta_error = gate->beta_error;
    token->beta_input = gate->beta_input;
}

void gdnp_token_set_decay(gdnp_token *token, const gdn_conventions *conventions,
                          double decay, bool chunked) {
    token->decay = decay;
    token->decay_error = 0.0;
    token->g = gdn_log(decay + 1e-10);
    if (chunked && decay > 0.0) {
        /* A chunk kernel takes the logarithm, adds, and takes exp of differences. 1e-10 is
         * what FlashInfer adds before the logarithm (BOUND.md, "Gates"). */
        const double g = gdn_log(decay);
        const double unit = gdnp_arithmetic_of(conventions).unit;
        token->decay_error = gdnp_exp_error(conventions, g) +
                             (conventions->exp_error + 1.0) * unit * fabs(g) +
                             1e-10 / decay;
    }
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
    const gdn_dtype beta_type = gdn_call_tensor(call, "beta")->dtype;
#pragma omp parallel for schedule(static) if (gdnp_is_large(call))
    for (int64_t i = 0; i < rows * heads; i++) {
        const int64_t row = i / heads;
        const int64_t h = i % heads;
        const double logit =
            gdn_load(b->data, b->dtype, row * b->stride[0] + h * b->stride[1]);
        gdnp_gate gate = gdnp_gate_eval(
            call->conventions, gdn_load(A_log->data, A_log->dtype, h * A_log->stride[0]),
            gdn_load(dt_bias->data, dt_bias->dtype, h * dt_bias->stride[0]),
            gdn_load(a->data, a->dtype, row * a->stride[0] + h * a->stride[1]), logit);
        /* One rounding is that of the store: golden values stay exact. */
        if (gdnp_beta_staged(call->conventions, h, heads) == GDNP_BETA_THRICE) {
            gdnp_gate_set_beta(&gate, call->conventions, GDNP_BETA_THRICE, b->dtype, logit);
        }
        const double g_error = gdnp_terms(g_out) & GDN_TERM_ROUNDINGS ? gate.g_error : 0.0;
        const double beta_error =
            gdnp_terms(beta_out) & GDN_TERM_ROUNDINGS ? gate.beta * gate.beta_error : 0.0;
        if (g_out) {
            const int64_t at = row * g_out->value.stride[0] + h * g_out->value.stride[1];
            gdnp_store_bounded(g_out, at, 1, i, &gate.g, &g_error, 1, GDN_FP32, tiny);
        }
        if (beta_out) {
            const int64_t at =
                row * beta_out->value.stride[0] + h * beta_out->value.stride[1];
            gdnp_store_bounded(beta_out, at, 1, i, &gate.beta, &beta_error, 1, beta_type,
                               tiny);
        }
    }
    for (int64_t row = 0; row < rows; row++) {
        gdnp_mark_row(g_out, row);
        gdnp_mark_row(beta_out, row);
    }
    return GDN_OK;
}
