/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One call of one op: what the reference computes, what a device runs, what travels to a
 * worker. Symbols as in the contracts: HK and HV heads of this rank, r = HV/HK, K, V head
 * dims, W conv taps, C = 2*HK*K + HV*V conv channels, N rows, B non-spec and D spec
 * sequences, Q = drafts + 1 columns, S cache slots, R >= W-1 conv rows a slot, T the
 * activation type, ST the state's. All index tensors are i32.
 *
 * causal_conv1d      x [N,C] T, weight [C,W] or [W,C] T (conv_weight), bias? [C] T,
 *                    conv_state! [S,R,C] or [S,C,R] T (conv_state_order),
 *                    query_start_loc [B+1], state_indices [B] or [B,Q],
 *                    has_initial_state? [B] bool, num_accepted_tokens? [B],
 *                    intermediate_indices? [B,Q], parent_token? [B,Q] -> out [N,C] T,
 *                    intermediate_conv_window? [I,W-1,C] or [I,C,W-1] T
 * gdn_gating         A_log [HV] fp32, dt_bias [HV] T, a [N,HV] T, b [N,HV] T
 *                    -> g [N,HV] fp32 (log decay), beta [N,HV] fp32 or T (beta_storage)
 * gated_delta_rule   q, k [N,HK,K] T, v [N,HV,V] T; gates ready-made: g [N,HV] fp32 (log or
 *                    decay: gate_input), beta [N,HV] fp32 or T (beta_storage; value or
 *                    logits: beta_input); or made inside: A_log, dt_bias [HV], a, b [N,HV]
 *                    as in gdn_gating; ssm_state! [S,HV,V,K] or [S,HV,K,V] ST,
 *                    query_start_loc [B+1], state_indices [B] or [B,Q],
 *                    has_initial_state? [B], num_accepted_tokens? [B],
 *                    intermediate_state!? [I,HV,V,K] or [I,HV,K,V] ST,
 *                    intermediate_indices? [B,Q], parent_token? [B,Q] -> out [N,HV,V] T;
 *                    scalars: use_qk_l2norm, chunked (whether the backend's chunk kernel
 *                    gets the batch; absent: 0)
 * gdn_attention      the 29 arguments of contract vllm_xpu section 1, by their names
 * gdn_metadata       request batch to index tensors (contract vllm_cpu_and_metadata 3):
 *                    query_start_loc [M+1], seq_lens [M], block_table [M,>=Q],
 *                    num_decode_draft_tokens? [M] (absent: no speculation configured),
 *                    num_accepted_tokens? [M]; scalars num_spec = Q-1 and pad_requests = P
 *                    (0: no graph padding) -> with M' = max(M, P):
 *                    counts [14], has_initial_state [M] bool, spec_query_start_loc [M'+1],
 *                    non_spec_query_start_loc [M'+1], spec_state_indices_tensor [M',Q],
 *                    non_spec_state_indices_tensor [M'], spec_token_indx [tokens],
 *                    non_spec_token_indx [tokens], spec_num_accepted_tokens [M'].
 *                    counts = num_prefills, num_prefill_tokens, num_decodes,
 *                    num_decode_tokens, num_spec_decodes, num_spec_decode_tokens, then the
 *                    number of valid rows of the eight tensors after it, in that order (0:
 *                    empty, or None). Rows beyond the valid ones stay untouched.
 *
 * conv_weight_pack   weight [C,W] T -> packed [C,W] T, the memory that conv_weight "vnni"
 *                    means; W even, C a multiple of 32
 *
 * A call with num_accepted_tokens is speculative: state_indices is then [B,Q], the sequence
 * starts from column c = max(accepted-1, 0) and stores its state after every token.
 *
 * Under spec_state "buffer" a call with intermediate_indices is the speculative one:
 * state_indices is [B], the pool is read only, the state after token t goes to row
 * intermediate_indices[b,t] of intermediate_state. It starts from slot state_indices[b] if
 * c is 0 or num_accepted_tokens absent, else from row intermediate_indices[b,c] as it was
 * before the call. With parent_token, token t > 0 continues from what token
 * parent_token[b,t] < t has stored, rounded to ST (contract sglang_npu 4.1); entry 0, and
 * those of tokens that the sequence has not, mean nothing.
 *
 * causal_conv1d then starts from its slot whatever num_accepted_tokens says, and a node of
 * a tree sees its ancestors and behind the root the history. Row intermediate_indices[b,t]
 * of intermediate_conv_window (conv_window "windows") takes the W-1 inputs that end with
 * token t; conv_state takes the last tokens in index order all the same (contract
 * sglang_npu 2.6).
 *
 * Where pad_sequences is not "refused", a sequence whose state_indices entry (of column 0)
 * is pad_slot_id is padding: its other columns, flags and intermediate rows mean
 * nothing. */
#ifndef GDN_CALL_H
#define GDN_CALL_H

#include "gdn/conventions.h"
#include "gdn/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gdn_op {
    GDN_OP_CAUSAL_CONV1D,
    GDN_OP_GDN_GATING,
    GDN_OP_GATED_DELTA_RULE,
    GDN_OP_GDN_ATTENTION,
    GDN_OP_GDN_METADATA,
    GDN_OP_CONV_WEIGHT_PACK,
    /* Draft verification: gdn/verify.h says what their arguments are. */
    GDN_OP_VERIFY_DRAFT_TOKENS,
    GDN_OP_TOP_P_CANDIDATES,
    GDN_OP_ADJUST_BATCH,
    GDN_OP_GATHER_NEXT_TOKEN,
    GDN_OP_BUILD_SAMPLING_PARAMS,
    GDN_OP_SPECULATE_VERIFY,
    GDN_OP_UNIFIED_UPDATE_MODEL_STATUS,
    GDN_OP_NAIVE_UPDATE_MODEL_STATUS,
    GDN_OP_REJECTION_SAMPLE,
    GDN_OP_VERIFY_TREE_GREEDY,
    GDN_OP_TREE_SPECULATIVE_SAMPLING,
    GDN_OP_CHAIN_SPECULATIVE_SAMPLING,
    GDN_OP_BUILD_TREE,
    GDN_OP_STATE_COMMIT,
    GDN_OP_COUNT
} gdn_op;

typedef enum gdn_access { GDN_IN, GDN_INOUT, GDN_OUT } gdn_access;

/// How an output is judged.
typedef enum gdn_judgement {
    GDN_JUDGE_INPUT, ///< not an output: must not change
    GDN_JUDGE_EXACT, ///< copies and integers: equal bits (a copied NaN may change payload)
    GDN_JUDGE_BOUNDED, ///< within the limit that travels with the golden value
} gdn_judgement;

typedef struct gdn_argument {
    const char *name;
    gdn_access access;
    bool optional;
    gdn_judgement judgement;
    /* Ops of draft verification only: one letter a dimension (gdn/verify.h), NULL
     * elsewhere. */
    const char *shape;
    gdn_dtype dtype; ///< GDN_DTYPE_COUNT: any float, the same for all of these arguments
} gdn_argument;

typedef struct gdn_op_info {
    const char *name;
    const char *what; ///< one line
    const gdn_argument *arguments;
    size_t n_arguments;
    const char *const *scalars; ///< names, NULL-terminated
} gdn_op_info;

const gdn_op_info *gdn_op_get(gdn_op op);

/// True for the ops of draft verification, whose results are integers and copies.
static inline bool gdn_op_is_verify(gdn_op op) {
    return op >= GDN_OP_VERIFY_DRAFT_TOKENS && op < GDN_OP_COUNT;
}

/// False if no op has this name.
bool gdn_op_from_name(const char *name, gdn_op *op);

/// NULL if the op has no such argument.
const gdn_argument *gdn_op_argument(gdn_op op, const char *name);

typedef struct gdn_scalar {
    const char *name;
    int64_t value;
} gdn_scalar;

/// Everything is borrowed for the duration of the call. Tensors stand in any order; an
/// absent optional argument has no entry. All tensors lie inside [arena, arena+arena_bytes)
/// on the host: an adapter with its own memory copies that block there, runs on the same
/// offsets, and copies it back whole, so that stray writes come back too.
typedef struct gdn_call {
    uint32_t struct_size;
    gdn_op op;
    const gdn_conventions *conventions;
    const gdn_tensor *tensors;
    size_t n_tensors;
    const gdn_scalar *scalars;
    size_t n_scalars;
    void *arena;
    size_t arena_bytes;
} gdn_call;

/// Whether a call of causal_conv1d or gated_delta_rule is speculative (see above).
bool gdn_call_is_speculative(const gdn_call *call);

/// NULL if the argument is absent from this call.
const gdn_tensor *gdn_call_tensor(const gdn_call *call, const char *name);

/// Value of a scalar, or `otherwise` if the call has none of that name.
int64_t gdn_call_scalar(const gdn_call *call, const char *name, int64_t otherwise);

/// Checks ranks, shapes, types, index ranges and counts of a call against its op, the way a
/// careful backend would: HV % HK, tp division, slots in [0,S), accepted in [0,Q], rising
/// query starts, distinct slots, conv rows. GDN_ERR_ARG names the argument, the value and
/// what was expected. Reads index tensors, never values. Reference and case builder rely on
/// it.
GDN_NODISCARD gdn_status gdn_call_check(const gdn_call *call, gdn_error *err);

#ifdef __cplusplus
}
#endif

#endif
