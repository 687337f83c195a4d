/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* gdn_attention: the stages one after the other, for the speculative sequences and for the
 * others, with fp32 buffers of whole rows between them. Slots and rows of the two are
 * disjoint, so their order does not show. */
#include "gpu_plan.h"

typedef struct attention {
    const gdn_call *call;
    gk_layout layout;
    int rows; /* num_actual_tokens */
    int channels;
    gk_view y;       /* [rows, channels] */
    gk_view q, k;    /* [rows, key heads * k_dim] */
    gk_view g, beta; /* [rows, value heads] */
    bool chunked;    /* sequences that are not speculative are for a chunk kernel */
} attention;

static int rows_of(const gdn_call *call, const char *name) {
    const gdn_tensor *tensor = gdn_call_tensor(call, name);
    return tensor ? (int)tensor->shape[0] : 0;
}

static gk_group non_spec_group(const gpu_plan *plan, const attention *at) {
    const gdn_call *call = at->call;
    const bool listed = gdn_call_tensor(call, "non_spec_token_indx") != NULL;
    gk_group group = {
        .starts = gpu_view(plan, call, "non_spec_query_start_loc"),
        .tokens = gpu_view(plan, call, "non_spec_token_indx"),
        .slots = gpu_view(plan, call, "non_spec_state_indices_tensor"),
        .initial = gpu_view(plan, call, "has_initial_state"),
        .count = rows_of(call, "non_spec_query_start_loc") - 1,
        .capacity = listed ? rows_of(call, "non_spec_token_indx") : at->rows,
    };
    gpu_group_conventions(&group, call->conventions, true);
    return group;
}

static gk_group spec_group(const gpu_plan *plan, const attention *at) {
    const gdn_call *call = at->call;
    gk_group group = {
        .starts = gpu_view(plan, call, "spec_query_start_loc"),
        .tokens = gpu_view(plan, call, "spec_token_indx"),
        .slots = gpu_view(plan, call, "spec_state_indices_tensor"),
        .accepted = gpu_view(plan, call, "num_accepted_tokens"),
        .count = rows_of(call, "spec_query_start_loc") - 1,
        .capacity = rows_of(call, "spec_token_indx"),
    };
    gpu_group_conventions(&group, call->conventions, true);
    return group;
}

static gdn_status add_conv(gpu_plan *plan, const attention *at, const gk_group *group,
                           gdn_error *err) {
    const gdn_call *call = at->call;
    gk_conv_args args = {
        .x = gpu_view(plan, call, "projected_states_qkvz"),
        .weight = gpu_view(plan, call, "conv_weights"),
        .bias = gpu_view(plan, call, "conv_bias"),
        .state = gpu_view(plan, call, "conv_state"),
        .out = at->y,
        .group = *group,
        .layout = at->layout,
        .channels = at->channels,
    };
    args.round =
        call->conventions->conv_output == GDN_ROUND_STORAGE ? (int)args.x.dtype : 0;
    gpu_conv_conventions(&args, call->conventions, gdn_call_tensor(call, "conv_weights"),
                         gdn_call_tensor(call, "conv_state"));
    return gpu_plan_conv(plan, &args, err);
}

/* `heads` of `dim` channels from `first` on, of every row of y. */
static gk_view channels_of(const attention *at, int first, int dim) {
    gk_view view = at->y;
    view.data += (size_t)first * sizeof(float);
    view.stride[1] = dim;
    view.stride[2] = 1;
    return view;
}

static gdn_status add_recurrence(gpu_plan *plan, const attention *at, const gk_group *group,
                                 gdn_error *err) {
    const gdn_call *call = at->call;
    const gk_layout *l = &at->layout;
    const int keys = l->key_heads * l->k_dim;
    const bool chunked = at->chunked && !group->accepted.data;
    gk_normalise_args normalise = {
        .q = channels_of(at, 0, l->k_dim),
        .k = channels_of(at, keys, l->k_dim),
        .q_out = (float *)at->q.data,
        .k_out = (float *)at->k.data,
        .group = *group,
        .heads = l->key_heads,
        .k_dim = l->k_dim,
        .storage = (int)gdn_call_tensor(call, "projected_states_qkvz")->dtype,
    };
    gk_delta_args delta = {
        .q = normalise.q_out,
        .k = normalise.k_out,
        .v = channels_of(at, 2 * keys, l->v_dim),
        .out = gpu_view(plan, call, "core_attn_out"),
        .g = at->g,
        .beta = at->beta,
        .state = gpu_view(plan, call, "ssm_state"),
        .group = *group,
        .key_heads = l->key_heads,
        .value_heads = l->value_heads,
        .k_dim = l->k_dim,
        .v_dim = l->v_dim,
    };
    gpu_normalise_conventions(&normalise, call->conventions, true, chunked);
    gpu_delta_conventions(&delta, call->conventions, chunked);
    delta.zero_pads |= call->conventions->pad_rows == GDN_PAD_ROWS_ZEROED;
    GDN_TRY(gpu_plan_normalise(plan, &normalise, err));
    return gpu_plan_recurrence(plan, &delta, call->conventions, chunked, err);
}

/* For all actual rows, whoever owns them: each group's, with the rounding that it wants. */
static gdn_status add_gates(gpu_plan *plan, const attention *at, bool speculative,
                            gdn_error *err) {
    const gdn_call *call = at->call;
    gk_gating_args args = {
        .a = gpu_view(plan, call, "projected_states_ba"),
        .b = gpu_view(plan, call, "projected_states_ba"),
        .A_log = gpu_view(plan, call, "A_log"),
        .dt_bias = gpu_view(plan, call, "dt_bias"),
        .g = at->g,
        .beta = at->beta,
        .layout = at->layout,
        .rows = at->rows,
        .heads = at->layout.value_heads,
    };
    gpu_gating_conventions(&args, call->conventions);
    if (speculative || !at->chunked) {
        args.roundings = args.tail_roundings =
            gpu_beta_roundings(call->conventions, speculative);
    }
    return gpu_plan_gating(plan, &args, err);
}

static gdn_status add_group(gpu_plan *plan, const attention *at, const gk_group *group,
                            gdn_error *err) {
    const gk_copy_z_args copy = {
        .x = gpu_view(plan, at->call, "projected_states_qkvz"),
        .z = gpu_view(plan, at->call, "z"),
        .group = *group,
        .layout = at->layout,
    };
    GDN_TRY(add_gates(plan, at, group->accepted.data != NULL, err));
    GDN_TRY(add_conv(plan, at, group, err));
    GDN_TRY(gpu_plan_add(plan, "gk_copy_z", group->capacity, 1, 1, 256, &copy, sizeof copy,
                         err));
    return add_recurrence(plan, at, group, err);
}

/* Rows behind the tokens. */
static gdn_status add_zeros(gpu_plan *plan, const attention *at, const char *name,
                            gdn_error *err) {
    const gk_zero_args args = {
        .out = gpu_view(plan, at->call, name),
        .first = at->rows,
        .rows = rows_of(at->call, name),
        .heads = at->layout.value_heads,
        .dim = at->layout.v_dim,
    };
    return gpu_plan_zero(plan, &args, err);
}

static gdn_status read_sizes(attention *at, gdn_error *err) {
    const gdn_call *call = at->call;
    const int64_t tp = gdn_call_scalar(call, "tp_size", 1);
    const int64_t key_heads = gdn_call_scalar(call, "num_k_heads", 0);
    const int64_t value_heads = gdn_call_scalar(call, "num_v_heads", 0);
    const bool separate = call->conventions->qkvz_layout == GDN_QKVZ_SEPARATE;
    if (tp < 1 || key_heads < tp || key_heads % tp != 0 || value_heads % key_heads != 0) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "heads: expected num_k_heads a multiple of tp_size and "
                             "num_v_heads one of num_k_heads but found %lld and %lld at "
                             "tp_size %lld",
                             (long long)key_heads, (long long)value_heads, (long long)tp);
    }
    /* Scalar and convention say the same; nobody could tell which is wrong. */
    if ((gdn_call_scalar(call, "reorder_input", separate) != 0) != separate) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "reorder_input: expected %d with this qkvz_layout but found %d", separate,
            !separate);
    }
    at->layout = (gk_layout){
        .key_heads = (int)(key_heads / tp),
        .value_heads = (int)(value_heads / tp),
        .k_dim = (int)gdn_call_scalar(call, "head_k_dim", 0),
        .v_dim = (int)gdn_call_scalar(call, "head_v_dim", 0),
        .separate = separate,
    };
    at->rows = (int)gdn_call_scalar(call, "num_actual_tokens", 0);
    at->chunked = gdn_call_scalar(call, "num_prefills", 0) > 0;
    at->channels = 2 * at->layout.key_heads * at->layout.k_dim +
                   at->layout.value_heads * at->layout.v_dim;
    return GDN_OK;
}

gdn_status gpu_plan_attention(gpu_plan *plan, const gdn_call *call, gdn_error *err) {
    attention at = {.call = call};
    GDN_TRY(read_sizes(&at, err));
    const int keys = at.layout.key_heads * at.layout.k_dim;
    at.y = gpu_scratch(plan, at.rows, at.channels);
    at.q = gpu_scratch(plan, at.rows, keys);
    at.k = gpu_scratch(plan, at.rows, keys);
    at.g = gpu_scratch(plan, at.rows, at.layout.value_heads);
    at.beta = gpu_scratch(plan, at.rows, at.layout.value_heads);
    /* What is active follows from counts and token lists: contract vllm_xpu 1. */
    const gk_group spec = spec_group(plan, &at), others = non_spec_group(plan, &at);
    const bool some_spec =
        gdn_call_scalar(call, "num_spec_decodes", 0) > 0 && spec.capacity > 0;
    const bool some_others = (gdn_call_scalar(call, "num_prefills", 0) > 0 ||
                              gdn_call_scalar(call, "num_decodes", 0) > 0) &&
                             others.capacity > 0;
    if (call->conventions->pad_rows == GDN_PAD_ROWS_ZEROED) {
        GDN_TRY(add_zeros(plan, &at, "core_attn_out", err));
        GDN_TRY(add_zeros(plan, &at, "z", err));
    }
    if (some_spec) {
        GDN_TRY(add_group(plan, &at, &spec, err));
    }
    return some_others ? add_group(plan, &at, &others, err) : GDN_OK;
}
