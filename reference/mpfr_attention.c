/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The shadow's fused op: the column formulas of contract vllm_xpu 2.1 over the stages. */
#include "mpfr_shadow.h"

#include <stdlib.h>
#include <string.h>

typedef struct fused {
    const gdn_call *call;
    gdn_shadow_output *outputs;
    const gdnp_shadow_group *group;
    int64_t HK, HV, r, K, V; /* symbols of the contract */
    int64_t longest;
    mpfr_ptr numbers;
    uint8_t *ties; /* of q, k and v of one head */
    int64_t tied;
} fused;

/* First column of a head's part in the projections. */
typedef struct columns {
    int64_t q, k, v, z, b, a;
} columns;

static columns columns_of(const fused *f, int64_t h, int64_t hv) {
    const int64_t own =
        hv / f->r; /* the group that hv lies in, whatever key head it reads */
    const int64_t j = hv % f->r;
    if (f->call->conventions->qkvz_layout == GDN_QKVZ_INTERLEAVED) {
        const int64_t G = 2 * f->K + 2 * f->r * f->V;
        return (columns){
            .q = h * G,
            .k = h * G + f->K,
            .v = own * G + 2 * f->K + j * f->V,
            .z = own * G + 2 * f->K + f->r * f->V + j * f->V,
            .b = own * 2 * f->r + j,
            .a = own * 2 * f->r + f->r + j,
        };
    }
    return (columns){
        .q = h * f->K,
        .k = f->HK * f->K + h * f->K,
        .v = 2 * f->HK * f->K + hv * f->V,
        .z = 2 * f->HK * f->K + f->HV * f->V + hv * f->V,
        .b = hv,
        .a = f->HV + hv,
    };
}

/* `dim` adjacent channels into y [length][dim]. */
static void convolve(fused *f, int64_t n, int64_t column, int64_t channel, int64_t dim,
                     mpfr_ptr y, uint8_t *tie) {
    for (int64_t d = 0; d < dim; d++) {
        const gdnp_shadow_conv conv = {
            .group = f->group,
            .n = n,
            .x = gdn_call_tensor(f->call, "projected_states_qkvz"),
            .weight = gdn_call_tensor(f->call, "conv_weights"),
            .bias = gdn_call_tensor(f->call, "conv_bias"),
            .state = gdn_call_tensor(f->call, "conv_state"),
            .column = column + d,
            .channel = channel + d,
            .rounded = f->call->conventions->conv_output == GDN_ROUND_STORAGE,
            .state_out = gdnp_shadow_sink_of(f->call, f->outputs, "conv_state"),
        };
        f->tied += gdnp_shadow_conv_run(&conv, y + d, tie + d, dim, f->numbers);
    }
}

static void copy_z(const fused *f, const gdnp_shadow_head *head, int64_t column) {
    const gdn_tensor *qkvz = gdn_call_tensor(f->call, "projected_states_qkvz");
    const gdnp_shadow_sink z = gdnp_shadow_sink_of(f->call, f->outputs, "z");
    for (int64_t t = 0; t < head->length; t++) {
        const int64_t row = gdnp_shadow_row(head->group, head->n, t);
        for (int64_t d = 0; d < head->v_dim; d++) {
            gdnp_shadow_copy(&z, (const int64_t[]){row, head->value_head, d},
                             gdnp_shadow_element(qkvz, (const int64_t[]){row, column + d}));
        }
    }
}

static void eval_gates(fused *f, const gdnp_shadow_head *head, const columns *at) {
    const gdn_conventions *conventions = f->call->conventions;
    /* Chunk kernels take beta from gdn_gating, the others make it for themselves. */
    const int roundings =
        f->group->chunked
            ? gdnp_shadow_staged_roundings(conventions, head->value_head, f->HV)
            : gdnp_shadow_made_roundings(conventions, f->group->accepted);
    const gdn_tensor *ba = gdn_call_tensor(f->call, "projected_states_ba");
    const double A_log =
        gdnp_shadow_element(gdn_call_tensor(f->call, "A_log"), &head->value_head);
    const double dt_bias =
        gdnp_shadow_element(gdn_call_tensor(f->call, "dt_bias"), &head->value_head);
    for (int64_t t = 0; t < head->length; t++) {
        const int64_t row = gdnp_shadow_row(head->group, head->n, t);
        const double b = gdnp_shadow_element(ba, (const int64_t[]){row, at->b});
        gdnp_shadow_gate(conventions, A_log, dt_bias,
                         gdnp_shadow_element(ba, (const int64_t[]){row, at->a}), b,
                         head->decay + t, head->beta + t);
        mpfr_exp(head->decay + t, head->decay + t, MPFR_RNDN);
        head->beta_tie[t] = gdnp_shadow_round_beta(roundings, ba->dtype, b, head->beta + t);
        f->tied += head->beta_tie[t];
    }
}

/* One sequence's key head and all value heads that read it. */
static void run_key_head(fused *f, int64_t n, int64_t h) {
    const int64_t room = f->longest;
    gdnp_shadow_head head = {
        .group = f->group,
        .n = n,
        .length = gdnp_shadow_length(f->group, n),
        .k_dim = f->K,
        .v_dim = f->V,
        .state = gdn_call_tensor(f->call, "ssm_state"),
        .state_out = gdnp_shadow_sink_of(f->call, f->outputs, "ssm_state"),
        .out = gdnp_shadow_sink_of(f->call, f->outputs, "core_attn_out"),
    };
    gdnp_shadow_place(&head, room, f->numbers + GDNP_CONV_WORK, f->ties);
    for (int64_t hv = 0; hv < f->HV; hv++) {
        if (gdnp_shadow_key_head(f->call->conventions, hv, f->HK, f->HV) == h) {
            head.value_head = hv;
            copy_z(f, &head, columns_of(f, h, hv).z);
        }
    }
    const bool zeroed = f->call->conventions->pad_sequences == GDN_PAD_ZEROED ||
                        f->call->conventions->pad_rows == GDN_PAD_ROWS_ZEROED;
    if (gdnp_shadow_skip(f->group, n, f->HV, f->V, zeroed, &head.out)) {
        return;
    }
    gdnp_shadow_keys how = {.l2norm = true,
                            .storage = gdn_call_tensor(f->call, "core_attn_out")->dtype};
    const columns keys = columns_of(f, h, 0);
    convolve(f, n, keys.q, h * f->K, f->K, head.q, head.q_tie);
    convolve(f, n, keys.k, f->HK * f->K + h * f->K, f->K, head.k, head.k_tie);
    f->tied += gdnp_shadow_normalise(&head, head.k, how, head.k_tie, f->numbers);
    how.scale = true;
    f->tied += gdnp_shadow_normalise(&head, head.q, how, head.q_tie, f->numbers);
    for (int64_t hv = 0; hv < f->HV; hv++) {
        if (gdnp_shadow_key_head(f->call->conventions, hv, f->HK, f->HV) != h) {
            continue;
        }
        const columns at = columns_of(f, h, hv);
        head.value_head = hv;
        convolve(f, n, at.v, 2 * f->HK * f->K + hv * f->V, f->V, head.v, head.v_tie);
        eval_gates(f, &head, &at);
        f->tied += gdnp_shadow_recur(&head, f->numbers);
    }
}

static gdn_status run_group(fused *f, const gdnp_shadow_group *group, gdn_error *err) {
    f->group = group;
    f->longest = 1;
    for (int64_t n = 0; n < gdnp_shadow_count(group); n++) {
        const int64_t length = gdnp_shadow_length(group, n);
        f->longest = length > f->longest ? length : f->longest;
    }
    gdn_status status = GDN_OK;
    f->numbers =
        gdnp_reals_create(gdnp_shadow_numbers(f->longest, f->K, f->V) + GDNP_CONV_WORK);
    f->ties = calloc((size_t)gdnp_shadow_ties(f->longest, f->K, f->V), 1);
    if (!f->numbers || !f->ties) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for the shadow of a head");
        goto cleanup;
    }
    for (int64_t n = 0; n < gdnp_shadow_count(group); n++) {
        for (int64_t h = 0; h < f->HK; h++) {
            run_key_head(f, n, h);
        }
    }

cleanup:
    free(f->numbers);
    free(f->ties);
    return status;
}

/* Rows that no sequence owns. */
static void zero_behind(const fused *f) {
    static const char *const NAMES[] = {"core_attn_out", "z"};
    const bool zeroed = f->call->conventions->pad_rows == GDN_PAD_ROWS_ZEROED;
    for (int o = 0; zeroed && o < 2; o++) {
        const gdnp_shadow_sink sink = gdnp_shadow_sink_of(f->call, f->outputs, NAMES[o]);
        const int64_t rows = sink.tensor ? sink.tensor->shape[0] : 0;
        for (int64_t row = gdn_call_scalar(f->call, "num_actual_tokens", 0); row < rows;
             row++) {
            for (int64_t i = 0; i < f->HV * f->V; i++) {
                gdnp_shadow_copy(&sink, (const int64_t[]){row, i / f->V, i % f->V}, 0.0);
            }
        }
    }
}

gdn_status gdnp_shadow_attention(const gdn_call *call, gdn_shadow_output *outputs,
                                 int64_t *ties, gdn_error *err) {
    const int64_t tp = gdn_call_scalar(call, "tp_size", 1);
    fused f = {
        .call = call,
        .outputs = outputs,
        .HK = gdn_call_scalar(call, "num_k_heads", 0) / tp,
        .HV = gdn_call_scalar(call, "num_v_heads", 0) / tp,
        .K = gdn_call_scalar(call, "head_k_dim", 0),
        .V = gdn_call_scalar(call, "head_v_dim", 0),
    };
    f.r = f.HV / f.HK;
    const gdnp_shadow_group spec = {
        .conventions = call->conventions,
        .starts = gdn_call_tensor(call, "spec_query_start_loc"),
        .rows = gdn_call_tensor(call, "spec_token_indx"),
        .slots = gdn_call_tensor(call, "spec_state_indices_tensor"),
        .accepted = gdn_call_tensor(call, "num_accepted_tokens"),
    };
    zero_behind(&f);
    const gdnp_shadow_group plain = {
        .chunked = gdn_call_scalar(call, "num_prefills", 0) > 0,
        .conventions = call->conventions,
        .starts = gdn_call_tensor(call, "non_spec_query_start_loc"),
        .rows = gdn_call_tensor(call, "non_spec_token_indx"),
        .slots = gdn_call_tensor(call, "non_spec_state_indices_tensor"),
        .has_initial = gdn_call_tensor(call, "has_initial_state"),
    };
    if (gdn_call_scalar(call, "num_spec_decodes", 0) > 0) {
        GDN_TRY(run_group(&f, &spec, err));
    }
    if (gdn_call_scalar(call, "num_prefills", 0) + gdn_call_scalar(call, "num_decodes", 0) >
        0) {
        GDN_TRY(run_group(&f, &plain, err));
    }
    *ties = f.tied;
    return GDN_OK;
}
