/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The shadow's gates and recurrence, formulas of contract vllm_xpu 2.4 and 2.5. */
#include "mpfr_shadow.h"

#include <stdlib.h>

void gdnp_shadow_gate(const gdn_conventions *conventions, double A_log, double dt_bias,
                      double a, double b, mpfr_ptr g, mpfr_ptr beta) {
    mpfr_set_d(beta, a, MPFR_RNDN);
    mpfr_add_d(beta, beta, dt_bias, MPFR_RNDN);
    gdnp_real_softplus(g, beta, conventions->softplus_threshold);
    mpfr_set_d(beta, A_log, MPFR_RNDN);
    mpfr_exp(beta, beta, MPFR_RNDN);
    mpfr_mul(g, g, beta, MPFR_RNDN);
    mpfr_neg(g, g, MPFR_RNDN);
    mpfr_set_d(beta, b, MPFR_RNDN);
    gdnp_real_sigmoid(beta, beta);
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
            gdnp_shadow_gate(call->conventions,
                             gdnp_shadow_element(gdn_call_tensor(call, "A_log"), &h),
                             gdnp_shadow_element(gdn_call_tensor(call, "dt_bias"), &h),
                             gdnp_shadow_element(a, index), gdnp_shadow_element(b, index),
                             work, work + 1);
            gdnp_shadow_put(&g_out, index, work, false);
            gdnp_shadow_put(&beta_out, index, work + 1, false);
        }
    }
    free(work);
    return GDN_OK;
}

void gdnp_shadow_normalise(const gdnp_shadow_head *head, mpfr_ptr x, bool l2norm,
                           bool scale, mpfr_ptr work) {
    mpfr_ptr sum = work, square = work + 1;
    for (int64_t t = 0; t < head->length; t++) {
        mpfr_ptr row = x + t * head->k_dim;
        mpfr_set_ui(sum, 1, MPFR_RNDN);
        if (l2norm) {
            mpfr_set_d(sum, head->group->conventions->l2norm_eps, MPFR_RNDN);
            for (int64_t i = 0; i < head->k_dim; i++) {
                mpfr_sqr(square, row + i, MPFR_RNDN);
                mpfr_add(sum, sum, square, MPFR_RNDN);
            }
        }
        if (scale) {
            mpfr_mul_si(sum, sum, (long)head->k_dim, MPFR_RNDN);
        }
        mpfr_sqrt(sum, sum, MPFR_RNDN);
        for (int64_t i = 0; i < head->k_dim; i++) {
            mpfr_div(row + i, row + i, sum, MPFR_RNDN);
        }
    }
}

/* Index of state element (v, k) of this head in a slot. */
typedef struct state_index {
    int64_t at[4];
} state_index;

static state_index state_at(const gdnp_shadow_head *head, int64_t slot, int64_t v,
                            int64_t k) {
    const bool vk = head->group->conventions->state_order == GDN_STATE_VK;
    return (state_index){{slot, head->value_head, vk ? v : k, vk ? k : v}};
}

static void load_row(const gdnp_shadow_head *head, int64_t v, mpfr_ptr row) {
    const int64_t slot = gdnp_shadow_load_slot(head->group, head->n);
    for (int64_t i = 0; i < head->k_dim; i++) {
        const state_index index = state_at(head, slot, v, i);
        mpfr_set_d(row + i, slot < 0 ? 0.0 : gdnp_shadow_element(head->state, index.at),
                   MPFR_RNDN);
    }
}

/* sum of x y over the keys */
static void dot(mpfr_ptr out, mpfr_srcptr x, mpfr_srcptr y, int64_t count, mpfr_ptr term) {
    mpfr_set_zero(out, 1);
    for (int64_t i = 0; i < count; i++) {
        mpfr_mul(term, x + i, y + i, MPFR_RNDN);
        mpfr_add(out, out, term, MPFR_RNDN);
    }
}

/* One token: M <- a M, m = M k, d = beta (v - m), M <- M + d k^T, o = M q, for one row of
 * M. */
static void step(const gdnp_shadow_head *head, int64_t t, int64_t v, mpfr_ptr row,
                 mpfr_ptr work) {
    mpfr_ptr term = work, delta = work + 1, o = work + 2;
    mpfr_srcptr k = head->k + t * head->k_dim;
    mpfr_exp(delta, head->g + t, MPFR_RNDN);
    for (int64_t i = 0; i < head->k_dim; i++) {
        mpfr_mul(row + i, row + i, delta, MPFR_RNDN);
    }
    dot(delta, row, k, head->k_dim, term);
    mpfr_sub(delta, head->v + t * head->v_dim + v, delta, MPFR_RNDN);
    mpfr_mul(delta, delta, head->beta + t, MPFR_RNDN);
    for (int64_t i = 0; i < head->k_dim; i++) {
        mpfr_mul(term, delta, k + i, MPFR_RNDN);
        mpfr_add(row + i, row + i, term, MPFR_RNDN);
    }
    dot(o, row, head->q + t * head->k_dim, head->k_dim, term);
}

/* Whether any of a token's keys or queries stands at a boundary. */
static bool any_tie(const uint8_t *tie, int64_t t, int64_t count) {
    for (int64_t i = 0; tie && i < count; i++) {
        if (tie[t * count + i]) {
            return true;
        }
    }
    return false;
}

void gdnp_shadow_recur(const gdnp_shadow_head *head, mpfr_ptr work) {
    mpfr_ptr row = work + 3;
    for (int64_t v = 0; v < head->v_dim; v++) {
        /* A key or value that may have been another stays in the state. */
        bool undecided = false;
        load_row(head, v, row);
        for (int64_t t = 0; t < head->length; t++) {
            step(head, t, v, row, work);
            undecided = undecided || any_tie(head->k_tie, t, head->k_dim) ||
                        (head->v_tie && head->v_tie[t * head->v_dim + v]);
            const int64_t global = gdnp_shadow_row(head->group, head->n, t);
            gdnp_shadow_put(&head->out, (const int64_t[]){global, head->value_head, v},
                            work + 2, undecided || any_tie(head->q_tie, t, head->k_dim));
            const int64_t slot = gdnp_shadow_store_slot(head->group, head->n, t);
            for (int64_t i = 0; slot >= 0 && i < head->k_dim; i++) {
                const state_index index = state_at(head, slot, v, i);
                gdnp_shadow_put(&head->state_out, index.at, row + i, undecided);
            }
        }
    }
}

static void load_operand(mpfr_ptr out, const gdn_tensor *tensor,
                         const gdnp_shadow_head *head, int64_t h) {
    const int64_t dim = tensor->shape[2];
    for (int64_t t = 0; t < head->length; t++) {
        const int64_t row = gdnp_shadow_row(head->group, head->n, t);
        for (int64_t i = 0; i < dim; i++) {
            mpfr_set_d(out + t * dim + i,
                       gdnp_shadow_element(tensor, (const int64_t[]){row, h, i}),
                       MPFR_RNDN);
        }
    }
}

static void load_gates(const gdn_call *call, const gdnp_shadow_head *head) {
    for (int64_t t = 0; t < head->length; t++) {
        const int64_t index[] = {gdnp_shadow_row(head->group, head->n, t),
                                 head->value_head};
        mpfr_set_d(head->g + t, gdnp_shadow_element(gdn_call_tensor(call, "g"), index),
                   MPFR_RNDN);
        mpfr_set_d(head->beta + t,
                   gdnp_shadow_element(gdn_call_tensor(call, "beta"), index), MPFR_RNDN);
    }
}

/* One value head of one sequence; `numbers` has room for all that it needs. */
static void run_head(const gdn_call *call, gdn_shadow_output *outputs,
                     const gdnp_shadow_group *group, int64_t n, int64_t hv,
                     mpfr_ptr numbers) {
    const gdn_tensor *q = gdn_call_tensor(call, "q");
    const gdn_tensor *v = gdn_call_tensor(call, "v");
    const int64_t length = gdnp_shadow_length(group, n);
    const int64_t k_dim = q->shape[2];
    const int64_t h = gdnp_shadow_key_head(call->conventions, hv, q->shape[1], v->shape[1]);
    const bool l2norm = gdn_call_scalar(call, "use_qk_l2norm", 1) != 0;
    mpfr_ptr work = numbers;
    gdnp_shadow_head head = {
        .group = group,
        .n = n,
        .length = length,
        .k_dim = k_dim,
        .v_dim = v->shape[2],
        .value_head = hv,
        .state = gdn_call_tensor(call, "ssm_state"),
        .state_out = gdnp_shadow_sink_of(call, outputs, "ssm_state"),
        .out = gdnp_shadow_sink_of(call, outputs, "out"),
    };
    head.k = work + k_dim + 3;
    head.q = head.k + length * k_dim;
    head.v = head.q + length * k_dim;
    head.g = head.v + length * head.v_dim;
    head.beta = head.g + length;
    load_operand(head.k, gdn_call_tensor(call, "k"), &head, h);
    load_operand(head.q, q, &head, h);
    load_operand(head.v, v, &head, hv);
    load_gates(call, &head);
    gdnp_shadow_normalise(&head, head.k, l2norm, false, work);
    gdnp_shadow_normalise(&head, head.q, l2norm, true, work);
    gdnp_shadow_recur(&head, work);
}

gdn_status gdnp_shadow_delta_rule(const gdn_call *call, gdn_shadow_output *outputs,
                                  gdn_error *err) {
    const gdn_tensor *q = gdn_call_tensor(call, "q");
    const gdn_tensor *v = gdn_call_tensor(call, "v");
    const gdnp_shadow_group group = {
        .conventions = call->conventions,
        .starts = gdn_call_tensor(call, "query_start_loc"),
        .slots = gdn_call_tensor(call, "state_indices"),
        .has_initial = gdn_call_tensor(call, "has_initial_state"),
        .accepted = gdn_call_tensor(call, "num_accepted_tokens"),
    };
    const int64_t rows = q->shape[0];
    mpfr_ptr numbers =
        gdnp_reals_create(rows * (2 * q->shape[2] + v->shape[2] + 2) + q->shape[2] + 3);
    if (!numbers) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the shadow of a head");
    }
    for (int64_t n = 0; n < gdnp_shadow_count(&group); n++) {
        for (int64_t hv = 0; hv < v->shape[1]; hv++) {
            run_head(call, outputs, &group, n, hv, numbers);
        }
    }
    free(numbers);
    return GDN_OK;
}
