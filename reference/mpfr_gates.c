/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The shadow's gates, keys and queries: formulas of contract vllm_xpu 2.4 and of the
 * variant table of contract aiter_fla_flashinfer_ggml section 2; beta's three roundings of
 * contract vllm_cpu_and_metadata 1.0. */
#include "mpfr_shadow.h"

#include <stdlib.h>

void gdnp_shadow_gate(const gdn_conventions *conventions, double A_log, double dt_bias,
                      double a, double b, mpfr_ptr g, mpfr_ptr beta) {
    mpfr_set_d(beta, a, MPFR_RNDN);
    mpfr_add_d(beta, beta, dt_bias, MPFR_RNDN);
    gdnp_real_softplus(g, beta, conventions->softplus_beta,
                       conventions->softplus_threshold);
    mpfr_set_d(beta, A_log, MPFR_RNDN);
    mpfr_exp(beta, beta, MPFR_RNDN);
    mpfr_mul(g, g, beta, MPFR_RNDN);
    mpfr_neg(g, g, MPFR_RNDN);
    mpfr_set_d(beta, b, MPFR_RNDN);
    gdnp_real_sigmoid(beta, beta);
}

int gdnp_shadow_made_roundings(const gdn_conventions *conventions, bool speculative) {
    if (conventions->beta_rounding == GDN_BETA_THRICE_IN_DECODE) {
        return speculative ? 0 : 3;
    }
    return conventions->beta_rounding == GDN_BETA_ROUNDED ? 1 : 0;
}

int gdnp_shadow_staged_roundings(const gdn_conventions *conventions, int64_t hv,
                                 int64_t heads) {
    if (conventions->beta_tail == GDN_TAIL_THRICE && hv / 32 == heads / 32) {
        return 3;
    }
    return conventions->beta_storage == GDN_BETA_ACTIVATION ? 1 : 0;
}

/* Rounds x, which FP64 has to within `units` of its roundings. */
static bool round_near(mpfr_ptr x, gdn_dtype storage, double units) {
    MPFR_DECL_INIT(margin, GDNP_SHADOW_BITS);
    mpfr_abs(margin, x, MPFR_RNDN);
    mpfr_mul_d(margin, margin, units * GDNP_FP64_UNIT, MPFR_RNDN);
    return gdnp_real_round(x, storage, margin);
}

bool gdnp_shadow_round_beta(int roundings, gdn_dtype storage, double b, mpfr_ptr beta) {
    if (roundings == 0) {
        return false;
    }
    if (roundings == 1) {
        return round_near(beta, storage, 8.0);
    }
    mpfr_set_d(beta, -b, MPFR_RNDN);
    mpfr_exp(beta, beta, MPFR_RNDN);
    bool tie = round_near(beta, storage, 4.0);
    mpfr_add_ui(beta, beta, 1, MPFR_RNDN);
    /* A sum of storage values is exact in FP64 or far from a boundary; where it stands on
     * one, both computations see it there. */
    round_near(beta, storage, 0.0);
    mpfr_ui_div(beta, 1, beta, MPFR_RNDN);
    tie = round_near(beta, storage, 4.0) || tie;
    return tie;
}

gdn_status gdnp_shadow_gating(const gdn_call *call, gdn_shadow_output *outputs,
                              gdn_error *err) {
    const gdn_tensor *a = gdn_call_tensor(call, "a");
    const gdn_tensor *b = gdn_call_tensor(call, "b");
    const gdnp_shadow_sink g_out = gdnp_shadow_sink_of(call, outputs, "g");
    const gdnp_shadow_sink beta_out = gdnp_shadow_sink_of(call, outputs, "beta");
    mpfr_ptr work = gdnp_reals_create(2);
    if (!work) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the shadow of a gate");
    }
    for (int64_t row = 0; row < a->shape[0]; row++) {
        for (int64_t h = 0; h < a->shape[1]; h++) {
            const int64_t index[] = {row, h};
            const double logit = gdnp_shadow_element(b, index);
            gdnp_shadow_gate(call->conventions,
                             gdnp_shadow_element(gdn_call_tensor(call, "A_log"), &h),
                             gdnp_shadow_element(gdn_call_tensor(call, "dt_bias"), &h),
                             gdnp_shadow_element(a, index), logit, work, work + 1);
            /* The op's one rounding is that of its output, which golden values lack. */
            const int roundings =
                gdnp_shadow_staged_roundings(call->conventions, h, a->shape[1]);
            const bool tie =
                gdnp_shadow_round_beta(roundings == 3 ? 3 : 0, b->dtype, logit, work + 1);
            gdnp_shadow_put(&g_out, index, work, false);
            gdnp_shadow_put(&beta_out, index, work + 1, tie);
        }
    }
    free(work);
    return GDN_OK;
}

/* n of x / n, from the sum of squares. */
static void find_norm(mpfr_ptr n, const gdn_conventions *conventions) {
    const double eps = conventions->l2norm_eps;
    if (conventions->l2norm_form == GDN_L2NORM_INSIDE) {
        mpfr_add_d(n, n, eps, MPFR_RNDN);
        mpfr_sqrt(n, n, MPFR_RNDN);
        return;
    }
    mpfr_sqrt(n, n, MPFR_RNDN);
    if (conventions->l2norm_form == GDN_L2NORM_OUTSIDE) {
        mpfr_add_d(n, n, eps, MPFR_RNDN);
    } else if (mpfr_cmp_d(n, eps) < 0 && !mpfr_nan_p(n)) {
        mpfr_set_d(n, eps, MPFR_RNDN);
    }
}

int64_t gdnp_shadow_normalise(const gdnp_shadow_head *head, mpfr_ptr x,
                              gdnp_shadow_keys how, uint8_t *tie, mpfr_ptr work) {
    const gdn_conventions *conventions = head->group->conventions;
    const gdn_chunk_qk rounding =
        head->group->chunked ? conventions->chunk_qk : GDN_CHUNK_QK_NONE;
    /* The sum's roundings are halved by the root; the others are a handful. */
    const double units = (double)head->k_dim + 64.0;
    mpfr_ptr norm = work, square = work + 1;
    int64_t ties = 0;
    for (int64_t t = 0; t < head->length; t++) {
        mpfr_ptr row = x + t * head->k_dim;
        mpfr_set_ui(norm, 1, MPFR_RNDN);
        if (how.l2norm) {
            mpfr_set_zero(norm, 1);
            for (int64_t i = 0; i < head->k_dim; i++) {
                mpfr_sqr(square, row + i, MPFR_RNDN);
                mpfr_add(norm, norm, square, MPFR_RNDN);
            }
            find_norm(norm, conventions);
        }
        mpfr_set_si(square, how.scale ? (long)head->k_dim : 1, MPFR_RNDN);
        mpfr_sqrt(square, square, MPFR_RNDN);
        for (int64_t i = 0; i < head->k_dim; i++) {
            bool near = false;
            mpfr_div(row + i, row + i, norm, MPFR_RNDN);
            if (rounding == GDN_CHUNK_QK_STORAGE) {
                near = round_near(row + i, how.storage, units);
            }
            mpfr_div(row + i, row + i, square, MPFR_RNDN);
            if (rounding == GDN_CHUNK_QK_SCALED) {
                near = round_near(row + i, how.storage, units);
            }
            if (near) {
                tie[t * head->k_dim + i] = 1;
                ties++;
            }
        }
    }
    return ties;
}
