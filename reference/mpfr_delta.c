/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The shadow's recurrence, formulas of contract vllm_xpu 2.5; intermediate states and trees
 * of contract sglang_npu 4.1 and 5.1. */
#include "mpfr_shadow.h"

#include <stdlib.h>
#include <string.h>

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
    const int64_t place = gdnp_shadow_load_place(head->group, head->n);
    const gdn_tensor *state = place < 0 ? head->state : head->intermediate;
    const int64_t slot = place < 0 ? gdnp_shadow_load_slot(head->group, head->n) : place;
    for (int64_t i = 0; i < head->k_dim; i++) {
        const state_index index = state_at(head, slot, v, i);
        mpfr_set_d(row + i, slot < 0 ? 0.0 : gdnp_shadow_element(state, index.at),
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
    for (int64_t i = 0; i < head->k_dim; i++) {
        mpfr_mul(row + i, row + i, head->decay + t, MPFR_RNDN);
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
    for (int64_t i = 0; i < count; i++) {
        if (tie[t * count + i]) {
            return true;
        }
    }
    return false;
}

/* Whether the state passes through its storage behind token t of its sequence. Arithmetic
 * that is no finer than the storage has nothing to round. */
static bool is_stored(const gdnp_shadow_head *head, int64_t t) {
    const gdnp_shadow_group *group = head->group;
    const gdn_conventions *conventions = group->conventions;
    const gdn_numeric_class arithmetic =
        group->chunked ? conventions->chunk_class : conventions->numeric_class;
    const gdn_dtype storage = head->state->dtype;
    const bool finer = arithmetic == GDN_CLASS_FP64
                           ? storage != GDN_FP64
                           : storage == GDN_BF16 || storage == GDN_FP16;
    const bool chunk_ends = (t + 1) % 64 == 0;
    bool due = group->parents != NULL;
    switch (conventions->state_carry) {
    case GDN_CARRY_CALL:
        break;
    case GDN_CARRY_CHUNK:
        due = due || chunk_ends;
        break;
    case GDN_CARRY_TOKEN:
        due = true;
        break;
    case GDN_CARRY_KERNEL:
        due = !group->chunked || chunk_ends;
        break;
    }
    return finer && due;
}

/* Rounds a row whose elements FP64 has to within some roundings of the largest number that
 * went into it; returns whether one of them stands at a boundary. */
static int64_t store_row(const gdnp_shadow_head *head, mpfr_ptr row, mpfr_srcptr delta,
                         mpfr_ptr margin) {
    mpfr_abs(margin, delta, MPFR_RNDN);
    for (int64_t i = 0; i < head->k_dim; i++) {
        if (mpfr_cmpabs(row + i, margin) > 0) {
            mpfr_abs(margin, row + i, MPFR_RNDN);
        }
    }
    mpfr_mul_d(margin, margin, 8.0 * ((double)head->k_dim + 16.0) * GDNP_FP64_UNIT,
               MPFR_RNDN);
    int64_t ties = 0;
    for (int64_t i = 0; i < head->k_dim; i++) {
        ties += gdnp_real_round(row + i, head->state->dtype, margin);
    }
    return ties;
}

/* Where a token's state goes: a slot of the pool, or an intermediate row. */
static void put_row(const gdnp_shadow_head *head, int64_t t, int64_t v, mpfr_srcptr row,
                    bool undecided) {
    const bool buffer = head->group->places != NULL;
    const int64_t at = gdnp_shadow_store_slot(head->group, head->n, t);
    for (int64_t i = 0; at >= 0 && i < head->k_dim; i++) {
        const state_index index = state_at(head, at, v, i);
        gdnp_shadow_put(buffer ? &head->intermediate_out : &head->state_out, index.at,
                        row + i, undecided);
    }
}

static void copy_row(mpfr_ptr to, mpfr_srcptr from, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        mpfr_set(to + i, from + i, MPFR_RNDN);
    }
}

int64_t gdnp_shadow_recur(const gdnp_shadow_head *head, mpfr_ptr work) {
    const bool tree = head->group->parents != NULL;
    mpfr_ptr row = work + 3;
    int64_t ties = 0;
    for (int64_t v = 0; v < head->v_dim; v++) {
        /* A key, value or state that may have been another stays in the state. */
        bool undecided = false;
        load_row(head, v, row);
        for (int64_t t = 0; t < head->length; t++) {
            if (tree && t > 0) {
                const int64_t parent = gdn_tensor_int(head->group->parents, head->n, t);
                copy_row(row, head->kept + parent * head->k_dim, head->k_dim);
                undecided = head->kept_tie[parent];
            }
            step(head, t, v, row, work);
            undecided = undecided || head->beta_tie[t] ||
                        any_tie(head->k_tie, t, head->k_dim) ||
                        head->v_tie[t * head->v_dim + v];
            const int64_t global = gdnp_shadow_row(head->group, head->n, t);
            gdnp_shadow_put(&head->out, (const int64_t[]){global, head->value_head, v},
                            work + 2, undecided || any_tie(head->q_tie, t, head->k_dim));
            put_row(head, t, v, row, undecided);
            if (is_stored(head, t)) {
                const int64_t near = store_row(head, row, work + 1, work);
                undecided = undecided || near > 0;
                ties += near;
            }
            if (tree) {
                copy_row(head->kept + t * head->k_dim, row, head->k_dim);
                head->kept_tie[t] = undecided;
            }
        }
    }
    return ties;
}

int64_t gdnp_shadow_numbers(int64_t length, int64_t k_dim, int64_t v_dim) {
    return length * (3 * k_dim + v_dim + 2) + k_dim + 3;
}

int64_t gdnp_shadow_ties(int64_t length, int64_t k_dim, int64_t v_dim) {
    return length * (2 * k_dim + v_dim + 2);
}

void gdnp_shadow_place(gdnp_shadow_head *head, int64_t length, mpfr_ptr numbers,
                       uint8_t *ties) {
    head->k = numbers + head->k_dim + 3;
    head->q = head->k + length * head->k_dim;
    head->v = head->q + length * head->k_dim;
    head->decay = head->v + length * head->v_dim;
    head->beta = head->decay + length;
    head->kept = head->beta + length;
    head->k_tie = ties;
    head->q_tie = head->k_tie + length * head->k_dim;
    head->v_tie = head->q_tie + length * head->k_dim;
    head->beta_tie = head->v_tie + length * head->v_dim;
    head->kept_tie = head->beta_tie + length;
}

bool gdnp_shadow_skip(const gdnp_shadow_group *group, int64_t n, int64_t heads, int64_t dim,
                      bool zeroed, const gdnp_shadow_sink *out) {
    if (!gdnp_shadow_is_padding(group, n) ||
        group->conventions->pad_sequences == GDN_PAD_FROM_ZERO) {
        return false;
    }
    for (int64_t t = 0; zeroed && t < gdnp_shadow_length(group, n); t++) {
        for (int64_t i = 0; i < heads * dim; i++) {
            const int64_t row = gdnp_shadow_row(group, n, t);
            gdnp_shadow_copy(out, (const int64_t[]){row, i / dim, i % dim}, 0.0);
        }
    }
    return true;
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

/* Decay and beta of each token: from g and beta, or from what gdn_gating takes. */
static int64_t load_gates(const gdn_call *call, const gdnp_shadow_head *head) {
    const gdn_conventions *conventions = call->conventions;
    const gdn_tensor *g = gdn_call_tensor(call, "g");
    const bool speculative = head->group->accepted || head->group->places;
    const bool log = !g || conventions->gate_input == GDN_GATE_LOG;
    const bool logits = !g || conventions->beta_input == GDN_BETA_LOGITS;
    const int roundings = logits ? gdnp_shadow_made_roundings(conventions, speculative) : 0;
    int64_t ties = 0;
    for (int64_t t = 0; t < head->length; t++) {
        const int64_t index[] = {gdnp_shadow_row(head->group, head->n, t),
                                 head->value_head};
        const double b =
            gdnp_shadow_element(gdn_call_tensor(call, g ? "beta" : "b"), index);
        mpfr_ptr decay = head->decay + t, beta = head->beta + t;
        if (g) {
            mpfr_set_d(decay, gdnp_shadow_element(g, index), MPFR_RNDN);
            mpfr_set_d(beta, b, MPFR_RNDN);
            if (logits) {
                gdnp_real_sigmoid(beta, beta);
            }
        } else {
            const gdn_tensor *A_log = gdn_call_tensor(call, "A_log");
            const gdn_tensor *dt_bias = gdn_call_tensor(call, "dt_bias");
            gdnp_shadow_gate(conventions, gdnp_shadow_element(A_log, index + 1),
                             gdnp_shadow_element(dt_bias, index + 1),
                             gdnp_shadow_element(gdn_call_tensor(call, "a"), index), b,
                             decay, beta);
        }
        if (log) {
            mpfr_exp(decay, decay, MPFR_RNDN);
        }
        head->beta_tie[t] =
            gdnp_shadow_round_beta(roundings, gdn_call_tensor(call, "v")->dtype, b, beta);
        ties += head->beta_tie[t];
    }
    return ties;
}

/* One value head of one sequence; `numbers` and `ties` have room for all that it needs. */
static int64_t run_head(const gdn_call *call, gdn_shadow_output *outputs,
                        const gdnp_shadow_group *group, int64_t n, int64_t hv,
                        mpfr_ptr numbers, uint8_t *ties) {
    const gdn_tensor *q = gdn_call_tensor(call, "q");
    const gdn_tensor *v = gdn_call_tensor(call, "v");
    const int64_t length = gdnp_shadow_length(group, n);
    const int64_t h = gdnp_shadow_key_head(call->conventions, hv, q->shape[1], v->shape[1]);
    gdnp_shadow_keys how = {.l2norm = gdn_call_scalar(call, "use_qk_l2norm", 1) != 0,
                            .storage = q->dtype};
    gdnp_shadow_head head = {
        .group = group,
        .n = n,
        .length = length,
        .k_dim = q->shape[2],
        .v_dim = v->shape[2],
        .value_head = hv,
        .state = gdn_call_tensor(call, "ssm_state"),
        .intermediate = gdn_call_tensor(call, "intermediate_state"),
        .state_out = gdnp_shadow_sink_of(call, outputs, "ssm_state"),
        .intermediate_out = gdnp_shadow_sink_of(call, outputs, "intermediate_state"),
        .out = gdnp_shadow_sink_of(call, outputs, "out"),
    };
    memset(ties, 0, (size_t)gdnp_shadow_ties(length, head.k_dim, head.v_dim));
    gdnp_shadow_place(&head, length, numbers, ties);
    load_operand(head.k, gdn_call_tensor(call, "k"), &head, h);
    load_operand(head.q, q, &head, h);
    load_operand(head.v, v, &head, hv);
    int64_t tied = load_gates(call, &head);
    tied += gdnp_shadow_normalise(&head, head.k, how, head.k_tie, numbers);
    how.scale = true;
    tied += gdnp_shadow_normalise(&head, head.q, how, head.q_tie, numbers);
    return tied + gdnp_shadow_recur(&head, numbers);
}

gdn_status gdnp_shadow_delta_rule(const gdn_call *call, gdn_shadow_output *outputs,
                                  int64_t *ties, gdn_error *err) {
    const gdn_tensor *q = gdn_call_tensor(call, "q");
    const gdn_tensor *v = gdn_call_tensor(call, "v");
    const gdnp_shadow_sink out = gdnp_shadow_sink_of(call, outputs, "out");
    const bool zeroed = call->conventions->pad_sequences == GDN_PAD_ZEROED;
    const gdnp_shadow_group group = {
        .conventions = call->conventions,
        .starts = gdn_call_tensor(call, "query_start_loc"),
        .slots = gdn_call_tensor(call, "state_indices"),
        .has_initial = gdn_call_tensor(call, "has_initial_state"),
        .accepted = gdn_call_tensor(call, "num_accepted_tokens"),
        .places = gdn_call_tensor(call, "intermediate_indices"),
        .parents = gdn_call_tensor(call, "parent_token"),
        .chunked = gdn_call_scalar(call, "chunked", 0) != 0,
    };
    const int64_t rows = q->shape[0];
    mpfr_ptr numbers =
        gdnp_reals_create(gdnp_shadow_numbers(rows, q->shape[2], v->shape[2]));
    uint8_t *marks = malloc((size_t)gdnp_shadow_ties(rows, q->shape[2], v->shape[2]) + 1);
    gdn_status status = GDN_OK;
    if (!numbers || !marks) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for the shadow of a head");
        goto cleanup;
    }
    for (int64_t n = 0; n < gdnp_shadow_count(&group); n++) {
        if (gdnp_shadow_skip(&group, n, v->shape[1], v->shape[2], zeroed, &out)) {
            continue;
        }
        for (int64_t hv = 0; hv < v->shape[1]; hv++) {
            *ties += run_head(call, outputs, &group, n, hv, numbers, marks);
        }
    }

cleanup:
    free(numbers);
    free(marks);
    return status;
}
