/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The fused op: split the projections by their column layout, convolve, gate, recur
 * (contract vllm_xpu sections 2 and 3). */
#include "ops.h"

/* Sizes and the tensors that every task reads; symbols as in the contract. */
typedef struct attention {
    const gdn_call *call;
    const gdn_conventions *conventions;
    const gdn_tensor *qkvz, *ba;
    int64_t key_heads, value_heads, r, k_dim, v_dim;
    gdn_output *core, *z, *conv_state, *ssm_state;
    gdnp_batch batch;
} attention;

/* First columns of key head h and value head hv, column formulas of contract vllm_xpu 2.1.
 */
static int64_t group_width(const attention *a) {
    return 2 * a->k_dim + 2 * a->r * a->v_dim;
}

static int64_t q_column(const attention *a, int64_t h) {
    return a->conventions->qkvz_layout == GDN_QKVZ_INTERLEAVED ? h * group_width(a)
                                                               : h * a->k_dim;
}

static int64_t k_column(const attention *a, int64_t h) {
    return a->conventions->qkvz_layout == GDN_QKVZ_INTERLEAVED
               ? h * group_width(a) + a->k_dim
               : (a->key_heads + h) * a->k_dim;
}

static int64_t v_column(const attention *a, int64_t hv) {
    return a->conventions->qkvz_layout == GDN_QKVZ_INTERLEAVED
               ? hv / a->r * group_width(a) + 2 * a->k_dim + hv % a->r * a->v_dim
               : 2 * a->key_heads * a->k_dim + hv * a->v_dim;
}

static int64_t z_column(const attention *a, int64_t hv) {
    if (a->conventions->slip == GDN_SLIP_Z_FROM_V) {
        return v_column(a, hv);
    }
    const bool interleaved = a->conventions->qkvz_layout == GDN_QKVZ_INTERLEAVED;
    return v_column(a, hv) + (interleaved ? a->r : a->value_heads) * a->v_dim;
}

static int64_t b_column(const attention *a, int64_t hv) {
    return a->conventions->qkvz_layout == GDN_QKVZ_INTERLEAVED
               ? hv / a->r * 2 * a->r + hv % a->r
               : hv;
}

static int64_t a_column(const attention *a, int64_t hv) {
    const bool interleaved = a->conventions->qkvz_layout == GDN_QKVZ_INTERLEAVED;
    return b_column(a, hv) + (interleaved ? a->r : a->value_heads);
}

/* Convolves `channels` adjacent channels, which sit at `column` of the projections. */
static gdn_status convolve(const attention *a, const gdnp_sequence *s, int64_t column,
                           int64_t channel, int64_t channels, double *y, double *y_error,
                           gdn_error *err) {
    const gdnp_conv conv = {
        .conventions = a->conventions,
        .sequence = s,
        .x = a->qkvz,
        .column = column,
        .weight = gdn_call_tensor(a->call, "conv_weights"),
        .bias = gdn_call_tensor(a->call, "conv_bias"),
        .state = gdn_call_tensor(a->call, "conv_state"),
        .channel = channel,
        .channels = channels,
        .y = y,
        .y_error = y_error,
        .state_out = s->padded ? NULL : a->conv_state,
    };
    return gdnp_conv_run(&conv, err);
}

static void copy_z(const attention *a, const gdnp_sequence *s, int64_t hv, double *run) {
    const gdn_tensor *out = &a->z->value;
    for (int64_t t = 0; t < s->length; t++) {
        gdn_load_run(run, a->qkvz->data, a->qkvz->dtype,
                     s->rows[t] * a->qkvz->stride[0] + z_column(a, hv) * a->qkvz->stride[1],
                     a->qkvz->stride[1], a->v_dim);
        gdn_store_run(out->data, out->dtype,
                      s->rows[t] * out->stride[0] + hv * out->stride[1], out->stride[2],
                      run, a->v_dim);
    }
}

static double load_ba(const attention *a, int64_t row, int64_t column) {
    return gdn_load(a->ba->data, a->ba->dtype,
                    row * a->ba->stride[0] + column * a->ba->stride[1]);
}

static void eval_gates(const attention *a, const gdnp_sequence *s, int64_t hv,
                       gdnp_token *tokens) {
    const gdn_tensor *A_log = gdn_call_tensor(a->call, "A_log");
    const gdn_tensor *dt_bias = gdn_call_tensor(a->call, "dt_bias");
    const double rate = gdn_load(A_log->data, A_log->dtype, hv * A_log->stride[0]);
    const double bias = gdn_load(dt_bias->data, dt_bias->dtype, hv * dt_bias->stride[0]);
    /* Chunk kernels take beta from gdn_gating, the others make it for themselves. */
    const gdnp_beta_form form = s->chunked
                                    ? gdnp_beta_staged(a->conventions, hv, a->value_heads)
                                    : gdnp_beta_made(a->conventions, s->spec);
    const bool row0 = a->conventions->slip == GDN_SLIP_BETA_ROW0;
    const bool unindexed = a->conventions->slip == GDN_SLIP_GATES_UNINDEXED;
    for (int64_t t = 0; t < s->length; t++) {
        const int64_t row = unindexed ? s->first + t : s->rows[t];
        double in_a = load_ba(a, row, a_column(a, hv));
        double in_b = load_ba(a, row0 ? 0 : row, b_column(a, hv));
        if (a->conventions->slip == GDN_SLIP_AB_SWAPPED) {
            const double swapped = in_a;
            in_a = in_b;
            in_b = swapped;
        }
        gdnp_gate gate = gdnp_gate_eval(a->conventions, rate, bias, in_a, in_b);
        gdnp_gate_set_beta(&gate, a->conventions, form, a->ba->dtype, in_b);
        gdnp_token_set_gate(&tokens[t], a->conventions, &gate);
    }
}

static gdn_status run_value_head(const attention *a, const gdnp_sequence *s, int64_t hv,
                                 const gdnp_keys *keys, double *v, double *v_error,
                                 gdn_error *err) {
    const int64_t channel = 2 * a->key_heads * a->k_dim + hv * a->v_dim;
    GDN_TRY(convolve(a, s, v_column(a, hv), channel, a->v_dim, v, v_error, err));
    eval_gates(a, s, hv, keys->tokens);
    const gdnp_head head = {
        .conventions = a->conventions,
        .sequence = s,
        .keys = keys,
        .v = v,
        .v_error = v_error,
        .v_dim = a->v_dim,
        .head = hv,
        .state = gdn_call_tensor(a->call, "ssm_state"),
        .out_storage = a->qkvz->dtype,
        .state_out = a->ssm_state,
        .out = a->core,
    };
    return gdnp_head_run(&head, err);
}

/* Everything that hangs on one key head of one sequence: its q and k channels and the r
 * value heads that read them. Tasks share no channel, head or slot. */
static gdn_status run_key_head(const attention *a, const gdnp_sequence *s, int64_t h,
                               gdnp_workspace *w, gdn_error *err) {
    GDN_TRY(gdnp_workspace_resize(w, s->length, a->k_dim, a->v_dim, err));
    for (int64_t j = 0; a->z && j < a->r; j++) {
        copy_z(a, s, gdnp_value_head(a->conventions, h, j, a->key_heads, a->r), w->values);
    }
    if (s->padded && a->conventions->pad_sequences != GDN_PAD_FROM_ZERO) {
        return GDN_OK;
    }
    const bool limits =
        (a->core && a->core->limit) || (a->ssm_state && a->ssm_state->limit);
    const int64_t k_count = s->length * a->k_dim;
    const int64_t v_count = s->length * a->v_dim;
    GDN_TRY(gdnp_workspace_resize(w, s->length, a->k_dim, 2 * k_count + 2 * v_count, err));
    const gdnp_keys *keys = &w->keys;
    double *k_error = limits ? w->values : NULL;
    double *q_error = limits ? w->values + k_count : NULL;
    double *v = w->values + 2 * k_count;
    double *v_error = limits ? v + v_count : NULL;
    GDN_TRY(convolve(a, s, q_column(a, h), h * a->k_dim, a->k_dim, keys->q, q_error, err));
    GDN_TRY(convolve(a, s, k_column(a, h), (a->key_heads + h) * a->k_dim, a->k_dim, keys->k,
                     k_error, err));
    if (a->conventions->slip == GDN_SLIP_QK_SWAPPED) {
        double *swapped = w->keys.k;
        w->keys.k = w->keys.q;
        w->keys.q = swapped;
    }
    const gdnp_key_form form = {
        .l2norm = true, .chunked = s->chunked, .storage = a->qkvz->dtype};
    gdnp_keys_normalise(&w->keys, a->conventions, form, k_error, q_error);
    for (int64_t j = 0; j < a->r; j++) {
        const int64_t hv = gdnp_value_head(a->conventions, h, j, a->key_heads, a->r);
        GDN_TRY(run_value_head(a, s, hv, keys, v, v_error, err));
    }
    return GDN_OK;
}

static gdn_status add_groups(attention *a, gdn_error *err) {
    const gdn_call *call = a->call;
    const int64_t non_spec =
        gdn_call_scalar(call, "num_prefills", 0) + gdn_call_scalar(call, "num_decodes", 0);
    if (gdn_call_scalar(call, "num_spec_decodes", 0) > 0) {
        GDN_TRY(gdnp_batch_add(&a->batch, a->conventions,
                               gdn_call_tensor(call, "spec_query_start_loc"),
                               gdn_call_tensor(call, "spec_token_indx"),
                               gdn_call_tensor(call, "spec_state_indices_tensor"), NULL,
                               gdn_call_tensor(call, "num_accepted_tokens"), err));
    }
    if (non_spec > 0) {
        GDN_TRY(gdnp_batch_add(&a->batch, a->conventions,
                               gdn_call_tensor(call, "non_spec_query_start_loc"),
                               gdn_call_tensor(call, "non_spec_token_indx"),
                               gdn_call_tensor(call, "non_spec_state_indices_tensor"),
                               gdn_call_tensor(call, "has_initial_state"), NULL, err));
    }
    for (int64_t i = 0; i < a->batch.count; i++) {
        gdnp_sequence *s = &a->batch.sequences[i];
        s->chunked = !s->spec && gdn_call_scalar(call, "num_prefills", 0) > 0;
    }
    gdnp_batch_stray(&a->batch, a->conventions,
                     gdn_call_tensor(call, "ssm_state")->shape[0]);
    return GDN_OK;
}

/* Rows that the op writes. Those of padding that is not computed, and those that no
 * sequence owns, are zeros or not written at all. */
static void mark(const attention *a) {
    const gdnp_batch *batch = &a->batch;
    const bool zeroed = a->conventions->pad_rows == GDN_PAD_ROWS_ZEROED;
    gdnp_batch_mark(batch, a->conventions, a->core, a->conv_state, a->ssm_state);
    gdnp_batch_mark(batch, a->conventions, a->z, NULL, NULL);
    gdnp_mark_padding(batch, a->z);
    if (a->conventions->pad_sequences == GDN_PAD_FROM_ZERO) {
        gdnp_mark_padding(batch, a->core);
    } else if (zeroed || a->conventions->pad_sequences == GDN_PAD_ZEROED) {
        for (int64_t i = 0; i < batch->count; i++) {
            const gdnp_sequence *s = &batch->sequences[i];
            for (int64_t t = 0; t < s->length && s->padded; t++) {
                gdnp_zero_row(a->core, s->rows[t]);
            }
        }
    }
    gdn_output *const outputs[] = {a->core, a->z};
    const int64_t actual = gdn_call_scalar(a->call, "num_actual_tokens", 0);
    for (int o = 0; zeroed && o < 2; o++) {
        for (int64_t row = actual; outputs[o] && row < outputs[o]->value.shape[0]; row++) {
            gdnp_zero_row(outputs[o], row);
        }
    }
}

gdn_status gdn_reference_attention(const gdn_call *call, gdn_output *outputs,
                                   gdn_error *err) {
    const int64_t tp = gdn_call_scalar(call, "tp_size", 1);
    attention a = {
        .call = call,
        .conventions = call->conventions,
        .qkvz = gdn_call_tensor(call, "projected_states_qkvz"),
        .ba = gdn_call_tensor(call, "projected_states_ba"),
        .key_heads = gdn_call_scalar(call, "num_k_heads", 0) / tp,
        .value_heads = gdn_call_scalar(call, "num_v_heads", 0) / tp,
        .k_dim = gdn_call_scalar(call, "head_k_dim", 0),
        .v_dim = gdn_call_scalar(call, "head_v_dim", 0),
        .core = gdnp_output(call, outputs, "core_attn_out"),
        .z = gdnp_output(call, outputs, "z"),
        .conv_state = gdnp_output(call, outputs, "conv_state"),
        .ssm_state = gdnp_output(call, outputs, "ssm_state"),
    };
    a.r = a.value_heads / a.key_heads;
    gdn_status status = add_groups(&a, err);
    if (status == GDN_OK) {
        mark(&a);
#pragma omp parallel if (gdnp_is_large(call))
        {
            gdnp_workspace w = {0};
#pragma omp for schedule(dynamic) nowait
            for (int64_t i = 0; i < a.batch.count * a.key_heads; i++) {
                gdn_error local = {0};
                if (run_key_head(&a, &a.batch.sequences[i / a.key_heads], i % a.key_heads,
                                 &w, &local) != GDN_OK) {
#pragma omp critical(gdn_reference_error)
                    status = gdn_error_set(err, local.status, "%s", local.message);
                }
            }
            gdnp_workspace_destroy(&w);
        }
    }
    gdnp_batch_destroy(&a.batch);
    return status;
}
