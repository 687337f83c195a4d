/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The op table: names, access and judgement of every argument. */
#include "gdn/call.h"

#include <string.h>

#include "gdn/verify.h"

#define IN(n)                                                                              \
    { .name = (n), .access = GDN_IN, .judgement = GDN_JUDGE_INPUT }
#define OPTIONAL(n)                                                                        \
    { .name = (n), .access = GDN_IN, .optional = true, .judgement = GDN_JUDGE_INPUT }
#define EXACT(n, a)                                                                        \
    { .name = (n), .access = (a), .judgement = GDN_JUDGE_EXACT }
#define BUFFER(n)                                                                          \
    { .name = (n), .access = GDN_INOUT, .optional = true, .judgement = GDN_JUDGE_BOUNDED }
#define BOUNDED(n, a)                                                                      \
    { .name = (n), .access = (a), .judgement = GDN_JUDGE_BOUNDED }

static const gdn_argument CAUSAL_CONV1D[] = {
    IN("x"),
    IN("weight"),
    OPTIONAL("bias"),
    EXACT("conv_state", GDN_INOUT),
    IN("query_start_loc"),
    IN("state_indices"),
    OPTIONAL("has_initial_state"),
    OPTIONAL("num_accepted_tokens"),
    OPTIONAL("intermediate_indices"),
    OPTIONAL("parent_token"),
    BOUNDED("out", GDN_OUT),
    {.name = "intermediate_conv_window",
     .access = GDN_OUT,
     .optional = true,
     .judgement = GDN_JUDGE_EXACT},
};

static const gdn_argument GDN_GATING[] = {
    IN("A_log"), IN("dt_bias"),         IN("a"),
    IN("b"),     BOUNDED("g", GDN_OUT), BOUNDED("beta", GDN_OUT),
};

static const gdn_argument GATED_DELTA_RULE[] = {
    IN("q"),
    IN("k"),
    IN("v"),
    OPTIONAL("g"),
    OPTIONAL("beta"),
    OPTIONAL("A_log"),
    OPTIONAL("dt_bias"),
    OPTIONAL("a"),
    OPTIONAL("b"),
    BOUNDED("ssm_state", GDN_INOUT),
    IN("query_start_loc"),
    IN("state_indices"),
    OPTIONAL("has_initial_state"),
    OPTIONAL("num_accepted_tokens"),
    BUFFER("intermediate_state"),
    OPTIONAL("intermediate_indices"),
    OPTIONAL("parent_token"),
    BOUNDED("out", GDN_OUT),
};

static const gdn_argument GDN_ATTENTION[] = {
    BOUNDED("core_attn_out", GDN_OUT),
    EXACT("z", GDN_OUT),
    IN("projected_states_qkvz"),
    IN("projected_states_ba"),
    EXACT("conv_state", GDN_INOUT),
    BOUNDED("ssm_state", GDN_INOUT),
    IN("conv_weights"),
    OPTIONAL("conv_bias"),
    IN("A_log"),
    IN("dt_bias"),
    OPTIONAL("has_initial_state"),
    OPTIONAL("non_spec_query_start_loc"),
    OPTIONAL("non_spec_token_indx"),
    OPTIONAL("non_spec_state_indices_tensor"),
    OPTIONAL("spec_query_start_loc"),
    OPTIONAL("spec_token_indx"),
    OPTIONAL("spec_state_indices_tensor"),
    OPTIONAL("num_accepted_tokens"),
};

static const gdn_argument GDN_METADATA[] = {
    IN("query_start_loc"),
    IN("seq_lens"),
    IN("block_table"),
    OPTIONAL("num_decode_draft_tokens"),
    OPTIONAL("num_accepted_tokens"),
    EXACT("counts", GDN_OUT),
    EXACT("has_initial_state", GDN_OUT),
    EXACT("spec_query_start_loc", GDN_OUT),
    EXACT("non_spec_query_start_loc", GDN_OUT),
    EXACT("spec_state_indices_tensor", GDN_OUT),
    EXACT("non_spec_state_indices_tensor", GDN_OUT),
    EXACT("spec_token_indx", GDN_OUT),
    EXACT("non_spec_token_indx", GDN_OUT),
    EXACT("spec_num_accepted_tokens", GDN_OUT),
};

static const gdn_argument CONV_WEIGHT_PACK[] = {
    IN("weight"),
    EXACT("packed", GDN_OUT),
};

#define OP(op_name, table, text, ...)                                                      \
    {                                                                                      \
        .name = (op_name), .what = (text), .arguments = (table),                           \
        .n_arguments = sizeof(table) / sizeof((table)[0]),                                 \
        .scalars = (const char *const[]) {                                                 \
            __VA_ARGS__ NULL                                                               \
        }                                                                                  \
    }

static const gdn_op_info OPS[GDN_OP_VERIFY_DRAFT_TOKENS] = {
    [GDN_OP_CAUSAL_CONV1D] = OP("causal_conv1d", CAUSAL_CONV1D,
                                "depthwise causal convolution with activation", ),
    [GDN_OP_GDN_GATING] = OP("gdn_gating", GDN_GATING, "log decay and beta from a and b", ),
    [GDN_OP_GATED_DELTA_RULE] =
        OP("gated_delta_rule", GATED_DELTA_RULE, "the recurrence over a state pool",
           "use_qk_l2norm", "chunked", ),
    [GDN_OP_GDN_ATTENTION] =
        OP("gdn_attention", GDN_ATTENTION, "projections to core output, all fused",
           "num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim", "num_prefills",
           "num_decodes", "num_spec_decodes", "num_actual_tokens", "tp_size",
           "reorder_input", ),
    [GDN_OP_GDN_METADATA] =
        OP("gdn_metadata", GDN_METADATA, "request batch to index tensors", "num_spec",
           "pad_requests", ),
    [GDN_OP_CONV_WEIGHT_PACK] = OP("conv_weight_pack", CONV_WEIGHT_PACK,
                                   "conv weight to the order of matrix units", ),
};

const gdn_op_info *gdn_op_get(gdn_op op) {
    return gdn_op_is_verify(op) ? gdn_verify_op_get(op) : &OPS[op];
}

bool gdn_op_from_name(const char *name, gdn_op *op) {
    for (int i = 0; i < GDN_OP_COUNT; i++) {
        if (strcmp(gdn_op_get((gdn_op)i)->name, name) == 0) {
            *op = (gdn_op)i;
            return true;
        }
    }
    return false;
}

const gdn_argument *gdn_op_argument(gdn_op op, const char *name) {
    const gdn_op_info *info = gdn_op_get(op);
    for (size_t i = 0; i < info->n_arguments; i++) {
        if (strcmp(info->arguments[i].name, name) == 0) {
            return &info->arguments[i];
        }
    }
    return NULL;
}

const gdn_tensor *gdn_call_tensor(const gdn_call *call, const char *name) {
    for (size_t i = 0; i < call->n_tensors; i++) {
        if (strcmp(call->tensors[i].name, name) == 0) {
            return &call->tensors[i];
        }
    }
    return NULL;
}

bool gdn_call_is_speculative(const gdn_call *call) {
    if (call->op != GDN_OP_CAUSAL_CONV1D && call->op != GDN_OP_GATED_DELTA_RULE) {
        return false;
    }
    const bool buffer = call->conventions->spec_state == GDN_SPEC_BUFFER;
    return gdn_call_tensor(call, buffer ? "intermediate_indices" : "num_accepted_tokens");
}

int64_t gdn_call_scalar(const gdn_call *call, const char *name, int64_t otherwise) {
    for (size_t i = 0; i < call->n_scalars; i++) {
        if (strcmp(call->scalars[i].name, name) == 0) {
            return call->scalars[i].value;
        }
    }
    return otherwise;
}
