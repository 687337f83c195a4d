/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Small heads that fill no vector register, every storage type, every op, both windows and
 * layouts, sequences of all kinds, and two long ones: what a build may do otherwise in one
 * token, it does in thousands. A change here changes reference.digests. */
#include "digest_calls.h"

#define SHAPE(...)                                                                         \
    .rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                     \
    .shape = {__VA_ARGS__}
#define INTS(...)                                                                          \
    .ints = (const int[]) {                                                                \
        __VA_ARGS__                                                                        \
    }
#define NORMAL(spread)    .scale = (spread)
#define FROM(how, spread) .fill = (how), .scale = (spread)

/* W 4, C 11, three prompts of which the second starts from zero. */
#define CONV_TENSORS(T)                                                                    \
    {                                                                                      \
        {"x", T, SHAPE(17, 11), NORMAL(2.0)}, {"weight", T, SHAPE(11, 4), NORMAL(0.7)},    \
            {"bias", T, SHAPE(11), NORMAL(0.5)},                                           \
            {"conv_state", T, SHAPE(5, 3, 11), NORMAL(1.0)},                               \
            {"query_start_loc", GDN_I32, SHAPE(4), INTS(0, 5, 6, 15)},                     \
            {"state_indices", GDN_I32, SHAPE(3), INTS(4, 0, 2)},                           \
            {"has_initial_state", GDN_BOOL, SHAPE(3), INTS(1, 0, 1)}, {                    \
            "out", T, SHAPE(17, 11)                                                        \
        }                                                                                  \
    }

#define SPEC_CONV_TENSORS                                                                  \
    {                                                                                      \
        {"x", GDN_FP32, SHAPE(8, 9), NORMAL(2.0)},                                         \
            {"weight", GDN_FP32, SHAPE(9, 4), NORMAL(0.7)},                                \
            {"conv_state", GDN_FP32, SHAPE(10, 5, 9), NORMAL(1.0)},                        \
            {"query_start_loc", GDN_I32, SHAPE(4), INTS(0, 3, 5, 8)},                      \
            {"state_indices", GDN_I32, SHAPE(3, 3), INTS(6, 1, 2, 4, 3, 5, 9, 7, 0)},      \
            {"num_accepted_tokens", GDN_I32, SHAPE(3), INTS(0, 3, 2)}, {                   \
            "out", GDN_FP32, SHAPE(8, 9)                                                   \
        }                                                                                  \
    }

/* The spread crosses the softplus threshold of 20. */
#define GATING_TENSORS(T)                                                                  \
    {                                                                                      \
        {"A_log", GDN_FP32, SHAPE(7), NORMAL(2.0)}, {"dt_bias", T, SHAPE(7), NORMAL(3.0)}, \
            {"a", T, SHAPE(40, 7), NORMAL(12.0)}, {"b", T, SHAPE(40, 7), NORMAL(6.0)},     \
            {"g", GDN_FP32, SHAPE(40, 7)}, {                                               \
            "beta", GDN_FP32, SHAPE(40, 7)                                                 \
        }                                                                                  \
    }

/* HK 2, HV 4, K 24, V 11; lengths 1, 70 and 130 cross the chunks of state_carry. */
#define DELTA_TENSORS(T, ST, ...)                                                          \
    {                                                                                      \
        {"q", T, SHAPE(201, 2, 24), NORMAL(1.0)},                                          \
            {"k", T, SHAPE(201, 2, 24), NORMAL(1.0)},                                      \
            {"v", T, SHAPE(201, 4, 11), NORMAL(1.0)},                                      \
            {"g", GDN_FP32, SHAPE(201, 4), FROM(FILL_DECAY, 0.1)},                         \
            {"beta", GDN_FP32, SHAPE(201, 4), FROM(FILL_BETA, 1.5)},                       \
            {"ssm_state", ST, SHAPE(4, 4, __VA_ARGS__), NORMAL(0.5)},                      \
            {"query_start_loc", GDN_I32, SHAPE(4), INTS(0, 1, 71, 201)},                   \
            {"state_indices", GDN_I32, SHAPE(3), INTS(3, 0, 1)},                           \
            {"has_initial_state", GDN_BOOL, SHAPE(3), INTS(1, 0, 1)}, {                    \
            "out", T, SHAPE(201, 4, 11)                                                    \
        }                                                                                  \
    }

/* HK 2, HV 4, K 12, V 10: C 88, projections of 128 and 8 columns. A fresh prompt of 11
 * tokens, a decode, spec sequences of 3, 2 and 3 tokens; rows scattered, two of padding. */
#define ATTENTION_TENSORS(T, ST)                                                           \
    {                                                                                      \
        {"core_attn_out", T, SHAPE(22, 4, 10)}, {"z", T, SHAPE(22, 4, 10)},                \
            {"projected_states_qkvz", T, SHAPE(22, 128), NORMAL(1.0)},                     \
            {"projected_states_ba", T, SHAPE(22, 8), NORMAL(1.5)},                         \
            {"conv_state", T, SHAPE(14, 5, 88), NORMAL(1.0)},                              \
            {"ssm_state", ST, SHAPE(14, 4, 10, 12), NORMAL(0.5)},                          \
            {"conv_weights", T, SHAPE(88, 4), NORMAL(0.7)},                                \
            {"conv_bias", T, SHAPE(88), NORMAL(0.3)},                                      \
            {"A_log", GDN_FP32, SHAPE(4), NORMAL(1.0)},                                    \
            {"dt_bias", T, SHAPE(4), NORMAL(1.0)},                                         \
            {"has_initial_state", GDN_BOOL, SHAPE(2), INTS(0, 1)},                         \
            {"non_spec_query_start_loc", GDN_I32, SHAPE(3), INTS(0, 11, 12)},              \
            {"non_spec_token_indx", GDN_I32, SHAPE(12),                                    \
             INTS(3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0)},                                \
            {"non_spec_state_indices_tensor", GDN_I32, SHAPE(2), INTS(13, 4)},             \
            {"spec_query_start_loc", GDN_I32, SHAPE(4), INTS(0, 3, 5, 8)},                 \
            {"spec_token_indx", GDN_I32, SHAPE(8), INTS(19, 1, 14, 16, 2, 18, 15, 17)},    \
            {"spec_state_indices_tensor", GDN_I32, SHAPE(3, 3),                            \
             INTS(0, 1, 2, 7, 3, 5, 12, 9, 10)},                                           \
        {                                                                                  \
            "num_accepted_tokens", GDN_I32, SHAPE(3), INTS(2, 0, 3)                        \
        }                                                                                  \
    }
#define ATTENTION_SCALARS                                                                  \
    {                                                                                      \
        {"num_k_heads", 4}, {"num_v_heads", 8}, {"head_k_dim", 12}, {"head_v_dim", 10},    \
            {"num_prefills", 1}, {"num_decodes", 1}, {"num_spec_decodes", 3},              \
            {"num_actual_tokens", 20}, {"tp_size", 2}, {                                   \
            "reorder_input", 0                                                             \
        }                                                                                  \
    }

const digest_call DIGEST_CALLS[] = {
    {"conv-fp16", GDN_OP_CAUSAL_CONV1D, "", CONV_TENSORS(GDN_FP16), {{0}}},
    {"conv-bf16-y-stored",
     GDN_OP_CAUSAL_CONV1D,
     "conv_output=storage",
     CONV_TENSORS(GDN_BF16),
     {{0}}},
    {"conv-spec-window-a",
     GDN_OP_CAUSAL_CONV1D,
     "conv_window=snapshot",
     SPEC_CONV_TENSORS,
     {{0}}},
    {"conv-spec-window-b",
     GDN_OP_CAUSAL_CONV1D,
     "conv_window=sliding",
     SPEC_CONV_TENSORS,
     {{0}}},
    {"gating-fp32", GDN_OP_GDN_GATING, "", GATING_TENSORS(GDN_FP32), {{0}}},
    {"gating-bf16", GDN_OP_GDN_GATING, "", GATING_TENSORS(GDN_BF16), {{0}}},
    {"delta-bf16",
     GDN_OP_GATED_DELTA_RULE,
     "",
     DELTA_TENSORS(GDN_BF16, GDN_FP32, 11, 24),
     {{"use_qk_l2norm", 1}}},
    {"delta-fp16-kv-chunk-carry",
     GDN_OP_GATED_DELTA_RULE,
     "state_order=kv state_carry=chunk head_map=tiled",
     DELTA_TENSORS(GDN_FP16, GDN_FP16, 24, 11),
     {{"use_qk_l2norm", 1}}},
    {"attention-window-a-bf16", GDN_OP_GDN_ATTENTION,
     "conv_window=snapshot qkvz_layout=interleaved conv_output=storage",
     ATTENTION_TENSORS(GDN_BF16, GDN_FP32), ATTENTION_SCALARS},
    {"attention-window-b-fp32", GDN_OP_GDN_ATTENTION,
     "conv_window=sliding qkvz_layout=separate state_carry=token",
     ATTENTION_TENSORS(GDN_FP32, GDN_BF16), ATTENTION_SCALARS},
    /* Two drafts at most: a prompt, a decode, a spec row, a padding request; P 6. */
    {"metadata",
     GDN_OP_GDN_METADATA,
     "metadata_rules=late",
     {{"query_start_loc", GDN_I32, SHAPE(5), INTS(0, 5, 6, 9, 9)},
      {"seq_lens", GDN_I32, SHAPE(4), INTS(5, 7, 20, 0)},
      {"block_table", GDN_I32, SHAPE(4, 3),
       INTS(1, -1, -1, 2, -1, -1, 3, 4, 5, -1, -1, -1)},
      {"num_decode_draft_tokens", GDN_I32, SHAPE(4), INTS(-1, -1, 2, -1)},
      {"num_accepted_tokens", GDN_I32, SHAPE(4), INTS(1, 1, 3, 1)},
      {"counts", GDN_I32, SHAPE(14)},
      {"has_initial_state", GDN_BOOL, SHAPE(4)},
      {"spec_query_start_loc", GDN_I32, SHAPE(7)},
      {"non_spec_query_start_loc", GDN_I32, SHAPE(7)},
      {"spec_state_indices_tensor", GDN_I32, SHAPE(6, 3)},
      {"non_spec_state_indices_tensor", GDN_I32, SHAPE(6)},
      {"spec_token_indx", GDN_I32, SHAPE(9)},
      {"non_spec_token_indx", GDN_I32, SHAPE(9)},
      {"spec_num_accepted_tokens", GDN_I32, SHAPE(6)}},
     {{"num_spec", 2}, {"pad_requests", 6}}},
    /* Weak decay: an early token's bits still count in the last. */
    {"delta-long",
     GDN_OP_GATED_DELTA_RULE,
     "",
     {{"q", GDN_BF16, SHAPE(4096, 1, 16), NORMAL(1.0)},
      {"k", GDN_BF16, SHAPE(4096, 1, 16), NORMAL(1.0)},
      {"v", GDN_BF16, SHAPE(4096, 2, 9), NORMAL(1.0)},
      {"g", GDN_FP32, SHAPE(4096, 2), FROM(FILL_DECAY, 1e-3)},
      {"beta", GDN_FP32, SHAPE(4096, 2), FROM(FILL_BETA, 1.0)},
      {"ssm_state", GDN_FP32, SHAPE(1, 2, 9, 16), NORMAL(0.5)},
      {"query_start_loc", GDN_I32, SHAPE(2), INTS(0, 4096)},
      {"state_indices", GDN_I32, SHAPE(1), INTS(0)},
      {"out", GDN_BF16, SHAPE(4096, 2, 9)}},
     {{"use_qk_l2norm", 1}}},
    /* HK 1, HV 2, K 16, V 8: C 48, projections of 64 and 4 columns. */
    {"attention-long",
     GDN_OP_GDN_ATTENTION,
     "",
     {{"core_attn_out", GDN_BF16, SHAPE(2048, 2, 8)},
      {"z", GDN_BF16, SHAPE(2048, 2, 8)},
      {"projected_states_qkvz", GDN_BF16, SHAPE(2048, 64), NORMAL(1.0)},
      {"projected_states_ba", GDN_BF16, SHAPE(2048, 4), NORMAL(1.0)},
      {"conv_state", GDN_BF16, SHAPE(2, 3, 48), NORMAL(1.0)},
      {"ssm_state", GDN_FP32, SHAPE(2, 2, 8, 16), NORMAL(0.5)},
      {"conv_weights", GDN_BF16, SHAPE(48, 4), NORMAL(0.7)},
      {"A_log", GDN_FP32, SHAPE(2), NORMAL(1.0)},
      {"dt_bias", GDN_BF16, SHAPE(2), NORMAL(1.0)},
      {"has_initial_state", GDN_BOOL, SHAPE(1), INTS(1)},
      {"non_spec_query_start_loc", GDN_I32, SHAPE(2), INTS(0, 2048)},
      {"non_spec_state_indices_tensor", GDN_I32, SHAPE(1), INTS(1)}},
     {{"num_k_heads", 1},
      {"num_v_heads", 2},
      {"head_k_dim", 16},
      {"head_v_dim", 8},
      {"num_prefills", 1},
      {"num_decodes", 0},
      {"num_spec_decodes", 0},
      {"num_actual_tokens", 2048},
      {"tp_size", 1},
      {"reorder_input", 0}}},
    {0},
};
