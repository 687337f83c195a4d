/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The ops that are one stage each. */
#include <string.h>

#include "gpu_plan.h"
#include "gpu_vendor.h"

/* The types that the kernels read values from. Index tensors may be of any integer type. */
static gdn_status check_types(const gdn_call *call, gdn_error *err) {
    for (size_t i = 0; i < call->n_tensors; i++) {
        const gdn_tensor *tensor = &call->tensors[i];
        /* The coins of rejection_sample alone are doubles, in kernels that have them. */
        if (tensor->dtype == GDN_FP64 && call->op != GDN_OP_REJECTION_SAMPLE) {
            return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                                 "%s: these kernels do not take %s", tensor->name,
                                 gdn_dtype_name(tensor->dtype));
        }
        if (tensor->rank > 4) {
            return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                                 "%s: these kernels take at most 4 dimensions but found %d",
                                 tensor->name, tensor->rank);
        }
    }
    return GDN_OK;
}

/* Speculative sequences whose states go to a buffer have one slot, which starts them. */
static bool is_buffered(const gdn_call *call) {
    return call->conventions->spec_state == GDN_SPEC_BUFFER &&
           gdn_call_is_speculative(call);
}

static gk_group group_of(const gpu_plan *plan, const gdn_call *call, int64_t rows) {
    const bool conv = call->op == GDN_OP_CAUSAL_CONV1D, buffered = is_buffered(call);
    gk_group group = {
        .starts = gpu_view(plan, call, "query_start_loc"),
        .slots = gpu_view(plan, call, "state_indices"),
        .count = (int)(gdn_call_tensor(call, "query_start_loc")->shape[0] - 1),
        .capacity = (int)rows,
    };
    if (buffered) {
        group.places = gpu_view(plan, call, "intermediate_indices");
        group.parents = gpu_view(plan, call, "parent_token");
    }
    /* A buffered conv starts from its slot whatever was accepted. */
    if (!buffered || !conv) {
        group.initial = gpu_view(plan, call, "has_initial_state");
        group.accepted = gpu_view(plan, call, "num_accepted_tokens");
    }
    gpu_group_conventions(&group, call->conventions, !conv);
    return group;
}

static gdn_status plan_conv(gpu_plan *plan, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *x = gdn_call_tensor(call, "x");
    const gdn_tensor *weight = gdn_call_tensor(call, "weight");
    gk_conv_args args = {
        .x = gpu_view(plan, call, "x"),
        .weight = gpu_view(plan, call, "weight"),
        .bias = gpu_view(plan, call, "bias"),
        .state = gpu_view(plan, call, "conv_state"),
        .out = gpu_view(plan, call, "out"),
        .group = group_of(plan, call, x->shape[0]),
        .layout = {.plain = 1},
        .channels = (int)x->shape[1],
    };
    if (is_buffered(call)) {
        args.windows = gpu_view(plan, call, "intermediate_conv_window");
    }
    gpu_conv_conventions(&args, call->conventions, weight,
                         gdn_call_tensor(call, "conv_state"));
    return gpu_plan_conv(plan, &args, err);
}

static gdn_status plan_pack(gpu_plan *plan, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *weight = gdn_call_tensor(call, "weight");
    const gk_pack_args args = {
        .weight = gpu_view(plan, call, "weight"),
        .packed = gpu_view(plan, call, "packed"),
        .channels = (int)weight->shape[0],
        .taps = (int)weight->shape[1],
    };
    return gpu_plan_pack(plan, &args, err);
}

static gk_gating_args gates_of(const gpu_plan *plan, const gdn_call *call) {
    const gdn_tensor *a = gdn_call_tensor(call, "a");
    gk_gating_args args = {
        .a = gpu_view(plan, call, "a"),
        .b = gpu_view(plan, call, "b"),
        .A_log = gpu_view(plan, call, "A_log"),
        .dt_bias = gpu_view(plan, call, "dt_bias"),
        .layout = {.plain = 1},
        .rows = (int)a->shape[0],
        .heads = (int)a->shape[1],
    };
    gpu_gating_conventions(&args, call->conventions);
    return args;
}

static gdn_status plan_gating(gpu_plan *plan, const gdn_call *call, gdn_error *err) {
    gk_gating_args args = gates_of(plan, call);
    args.g = gpu_view(plan, call, "g");
    args.beta = gpu_view(plan, call, "beta");
    return gpu_plan_gating(plan, &args, err);
}

/* Makes the gates of a delta rule that was given what they are made from. */
static gdn_status make_gates(gpu_plan *plan, const gdn_call *call, gk_delta_args *delta,
                             gdn_error *err) {
    gk_gating_args args = gates_of(plan, call);
    args.g = gpu_scratch(plan, args.rows, args.heads);
    args.beta = gpu_scratch(plan, args.rows, args.heads);
    args.roundings = args.tail_roundings = delta->roundings;
    delta->g = args.g;
    delta->beta = args.beta;
    delta->decays_given = delta->beta_is_logits = 0;
    return gpu_plan_gating(plan, &args, err);
}

static gdn_status plan_delta_rule(gpu_plan *plan, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *q = gdn_call_tensor(call, "q"), *v = gdn_call_tensor(call, "v");
    const int64_t rows = q->shape[0], keys = q->shape[1] * q->shape[2];
    const bool norm = gdn_call_scalar(call, "use_qk_l2norm", 1) != 0;
    const bool chunked = gdn_call_scalar(call, "chunked", 0) != 0;
    const bool gated = gdn_call_tensor(call, "g") && gdn_call_tensor(call, "beta");
    gk_normalise_args normalise = {
        .q = gpu_view(plan, call, "q"),
        .k = gpu_view(plan, call, "k"),
        .q_out = (float *)gpu_scratch(plan, rows, keys).data,
        .k_out = (float *)gpu_scratch(plan, rows, keys).data,
        .group = group_of(plan, call, rows),
        .heads = (int)q->shape[1],
        .k_dim = (int)q->shape[2],
        .storage = (int)q->dtype,
    };
    gk_delta_args delta = {
        .q = normalise.q_out,
        .k = normalise.k_out,
        .v = gpu_view(plan, call, "v"),
        .out = gpu_view(plan, call, "out"),
        .g = gpu_view(plan, call, "g"),
        .beta = gpu_view(plan, call, "beta"),
        .state = gpu_view(plan, call, "ssm_state"),
        .buffer = gpu_view(plan, call, "intermediate_state"),
        .group = normalise.group,
        .key_heads = (int)q->shape[1],
        .value_heads = (int)v->shape[1],
        .k_dim = (int)q->shape[2],
        .v_dim = (int)v->shape[2],
        .decays_given = call->conventions->gate_input == GDN_GATE_DECAY,
        .beta_is_logits = call->conventions->beta_input == GDN_BETA_LOGITS,
        .roundings = gpu_beta_roundings(call->conventions, gdn_call_is_speculative(call)),
        .storage = (int)v->dtype,
    };
    gpu_normalise_conventions(&normalise, call->conventions, norm, chunked);
    gpu_delta_conventions(&delta, call->conventions, chunked);
    if (!gated) {
        GDN_TRY(make_gates(plan, call, &delta, err));
    }
    GDN_TRY(gpu_plan_normalise(plan, &normalise, err));
    return gpu_plan_recurrence(plan, &delta, call->conventions,
                               chunked && !gdn_call_is_speculative(call), err);
}

static gdn_status plan_metadata(gpu_plan *plan, const gdn_call *call, gdn_error *err) {
    static const char *const NAMES[GK_METADATA_OUTPUTS] = {
        [GK_HAS_INITIAL] = "has_initial_state",
        [GK_SPEC_STARTS] = "spec_query_start_loc",
        [GK_STARTS] = "non_spec_query_start_loc",
        [GK_SPEC_STATES] = "spec_state_indices_tensor",
        [GK_STATES] = "non_spec_state_indices_tensor",
        [GK_SPEC_TOKENS] = "spec_token_indx",
        [GK_TOKENS] = "non_spec_token_indx",
        [GK_ACCEPTED] = "spec_num_accepted_tokens",
    };
    gk_metadata_args args = {
        .starts = gpu_view(plan, call, "query_start_loc"),
        .seq_lens = gpu_view(plan, call, "seq_lens"),
        .blocks = gpu_view(plan, call, "block_table"),
        .drafts = gpu_view(plan, call, "num_decode_draft_tokens"),
        .accepted = gpu_view(plan, call, "num_accepted_tokens"),
        .counts = gpu_view(plan, call, "counts"),
        .count = (int)(gdn_call_tensor(call, "query_start_loc")->shape[0] - 1),
        .columns = (int)gdn_call_scalar(call, "num_spec", 0) + 1,
        .padded = (int)gdn_call_scalar(call, "pad_requests", 0),
        .rules = call->conventions->metadata_rules == GDN_METADATA_EARLY ? GK_RULES_EARLY
                 : call->conventions->metadata_rules == GDN_METADATA_MID ? GK_RULES_MID
                                                                         : GK_RULES_LATE,
        .pad_slot = call->conventions->pad_slot_id,
    };
    for (int i = 0; i < GK_METADATA_OUTPUTS; i++) {
        args.out[i] = gpu_view(plan, call, NAMES[i]);
    }
    return gpu_plan_add(plan, "gk_metadata", 1, 1, 1, 1, &args, sizeof args, err);
}

gdn_status gpu_plan_build(gpu_plan *plan, const gdn_call *call, gdn_error *err) {
    plan->count = 0;
    plan->scratch_bytes = 0;
    plan->host_arena = call->arena;
    GDN_TRY(check_types(call, err));
    switch (call->op) {
    case GDN_OP_CAUSAL_CONV1D:
        return plan_conv(plan, call, err);
    case GDN_OP_CONV_WEIGHT_PACK:
        return plan_pack(plan, call, err);
    case GDN_OP_GDN_GATING:
        return plan_gating(plan, call, err);
    case GDN_OP_GATED_DELTA_RULE:
        return plan_delta_rule(plan, call, err);
    case GDN_OP_GDN_ATTENTION:
        return gpu_plan_attention(plan, call, err);
    case GDN_OP_GDN_METADATA:
        return plan_metadata(plan, call, err);
    case GDN_OP_VERIFY_DRAFT_TOKENS:
        return gpu_plan_verify(plan, call, err);
    case GDN_OP_REJECTION_SAMPLE:
        return gpu_plan_rejection(plan, call, err);
    default:
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED, "%s: this device has no kernel",
                             gdn_op_get(call->op)->name);
    }
}
