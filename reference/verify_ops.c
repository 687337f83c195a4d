/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The op table of draft verification: names, access, types and shapes. */
#include "gdn/verify.h"

#include <string.h>

#define ANY GDN_DTYPE_COUNT

#define IN(n, t, s)                                                                        \
    { .name = (n), .access = GDN_IN, .dtype = (t), .shape = (s) }
#define MAYBE(n, t, s)                                                                     \
    { .name = (n), .access = GDN_IN, .optional = true, .dtype = (t), .shape = (s) }
#define OUT(n, t, s)                                                                       \
    {                                                                                      \
        .name = (n), .access = GDN_OUT, .judgement = GDN_JUDGE_EXACT, .dtype = (t),        \
        .shape = (s)                                                                       \
    }
#define INOUT(n, t, s)                                                                     \
    {                                                                                      \
        .name = (n), .access = GDN_INOUT, .judgement = GDN_JUDGE_EXACT, .dtype = (t),      \
        .shape = (s)                                                                       \
    }
#define MAYBE_OUT(n, t, s)                                                                 \
    {                                                                                      \
        .name = (n), .access = GDN_INOUT, .optional = true, .judgement = GDN_JUDGE_EXACT,  \
        .dtype = (t), .shape = (s)                                                         \
    }

static const gdn_argument VERIFY_DRAFT_TOKENS[] = {
    INOUT("step_output_ids", GDN_I64, "BS"),
    INOUT("step_output_len", GDN_I32, "B"),
    IN("step_input_ids", GDN_I64, "BS"),
    MAYBE("target_tokens", GDN_I64, "T"),
    MAYBE("candidate_ids", GDN_I64, "TC"),
    MAYBE("candidate_scores", GDN_FP32, "TC"),
    MAYBE("candidate_lens", GDN_I32, "T"),
    IN("topp", GDN_FP32, "B"),
    IN("stop_flags", GDN_BOOL, "B"),
    IN("seq_lens_encoder", GDN_I32, "B"),
    IN("seq_lens_this_time", GDN_I32, "R"),
    IN("end_tokens", GDN_I64, "E"),
    IN("is_block_step", GDN_BOOL, "B"),
    IN("cu_seqlens_q_output", GDN_I32, "r"),
    IN("reasoning_status", GDN_I32, "B"),
    MAYBE("max_dec_len", GDN_I64, "B"),
    MAYBE("step_idx", GDN_I64, "B"),
    IN("u", GDN_FP32, "B"),
    MAYBE("seed", GDN_I64, "B"),
};

static const gdn_argument TOP_P_CANDIDATES[] = {
    IN("probs", ANY, "TV"),
    IN("top_p", ANY, "B"),
    IN("batch_id_per_token_output", GDN_I32, "T"),
    OUT("verify_scores", ANY, "TC"),
    OUT("verify_tokens", GDN_I64, "TC"),
    OUT("actual_candidate_lens", GDN_I32, "T"),
};

static const gdn_argument ADJUST_BATCH[] = {
    IN("x", ANY, "NX"),
    IN("encoder_seq_lod", GDN_I32, "f"),
    IN("decoder_seq_lod", GDN_I32, "k"),
    IN("encoder_batch_map", GDN_I32, "F"),
    IN("decoder_batch_map", GDN_I32, "K"),
    OUT("out", ANY, "NX"),
};

static const gdn_argument GATHER_NEXT_TOKEN[] = {
    IN("x", ANY, "NX"),
    IN("encoder_seq_lod", GDN_I32, "f"),
    IN("decoder_seq_lod", GDN_I32, "k"),
    IN("encoder_batch_map", GDN_I32, "F"),
    IN("decoder_batch_map", GDN_I32, "K"),
    OUT("out", ANY, "OX"),
};

static const gdn_argument BUILD_SAMPLING_PARAMS[] = {
    IN("top_p", GDN_FP32, "B"),         IN("top_k", GDN_I64, "B"),
    INOUT("infer_seed", GDN_I64, "B"),  IN("cu_seqlens_q_output", GDN_I32, "b"),
    OUT("top_p_padded", GDN_FP32, "T"), OUT("top_k_padded", GDN_I64, "T"),
    OUT("topp_seed", GDN_I64, "T"),
};

static const gdn_argument SPECULATE_VERIFY[] = {
    MAYBE("sampled_token_ids", GDN_I64, "T"),
    INOUT("accept_tokens", GDN_I64, "BS"),
    INOUT("accept_num", GDN_I32, "B"),
    INOUT("step_idx", GDN_I64, "B"),
    INOUT("stop_flags", GDN_BOOL, "B"),
    IN("seq_lens_encoder", GDN_I32, "B"),
    IN("draft_tokens", GDN_I64, "BS"),
    IN("seq_lens_this_time", GDN_I32, "R"),
    IN("verify_tokens", GDN_I64, "TC"),
    IN("verify_scores", GDN_FP32, "TC"),
    IN("max_dec_len", GDN_I64, "B"),
    IN("end_tokens", GDN_I64, "E"),
    IN("is_block_step", GDN_BOOL, "B"),
    IN("cu_seqlens_q_output", GDN_I32, "r"),
    IN("actual_candidate_len", GDN_I32, "T"),
    IN("topp", GDN_FP32, "B"),
    IN("u", GDN_FP32, "B"),
};

static const gdn_argument UNIFIED_UPDATE_MODEL_STATUS[] = {
    INOUT("step_output_ids", GDN_I64, "BS"), INOUT("step_output_len", GDN_I32, "B"),
    INOUT("stop_flags", GDN_BOOL, "B"),      INOUT("seq_lens_this_time", GDN_I32, "B"),
    INOUT("seq_lens_encoder", GDN_I32, "B"), INOUT("seq_lens_decoder", GDN_I32, "B"),
    INOUT("step_input_ids", GDN_I64, "BS"),  INOUT("token_ids_all", GDN_I64, "BH"),
    INOUT("step_idx", GDN_I64, "B"),         IN("prompt_lens", GDN_I64, "B"),
    IN("is_paused", GDN_BOOL, "B"),          IN("end_tokens", GDN_I64, "E"),
    IN("max_dec_len", GDN_I64, "B"),         INOUT("mask_rollback", GDN_I32, "B"),
    OUT("has_running", GDN_BOOL, "U"),
};

static const gdn_argument NAIVE_UPDATE_MODEL_STATUS[] = {
    INOUT("accept_tokens", GDN_I64, "BS"),
    INOUT("accept_num", GDN_I32, "B"),
    INOUT("seq_lens_this_time", GDN_I32, "B"),
    IN("next_tokens", GDN_I64, "T"),
    IN("cu_seqlens_q_output", GDN_I32, "b"),
    IN("stop_flags", GDN_BOOL, "B"),
    IN("is_paused", GDN_BOOL, "B"),
};

static const gdn_argument REJECTION_SAMPLE[] = {
    OUT("output_token_ids", GDN_I32, "BJ"),
    OUT("num_sampled", GDN_I32, "B"),
    IN("cu_num_draft_tokens", GDN_I32, "B"),
    IN("draft_token_ids", GDN_I32, "N"),
    MAYBE("draft_probs", GDN_FP32, "NV"),
    IN("target_probs", GDN_FP32, "NV"),
    MAYBE("target_tokens", GDN_I32, "N"),
    IN("bonus_token_ids", GDN_I32, "B"),
    IN("is_greedy", GDN_BOOL, "B"),
    IN("uniform", GDN_FP64, "N"),
    IN("exponential", GDN_FP32, "BV"),
    MAYBE("acceptance_rates", GDN_FP32, "S"),
    MAYBE("seed", GDN_I64, "B"),
};

#define TREE                                                                               \
    INOUT("predicts", GDN_I32, "P"), INOUT("accept_index", GDN_I32, "BM"),                 \
        OUT("accept_token_num", GDN_I32, "B"), IN("candidates", GDN_I64, "BD"),            \
        IN("retrive_index", GDN_I64, "BD")
#define LINKS                                                                              \
    IN("retrive_next_token", GDN_I64, "BD"), IN("retrive_next_sibling", GDN_I64, "BD")
#define COINS                                                                              \
    IN("uniform_samples", GDN_FP32, "BD"),                                                 \
        IN("uniform_samples_for_final_sampling", GDN_FP32, "B"),                           \
        IN("target_probs", GDN_FP32, "BDV"), MAYBE("seed", GDN_I64, "B")

static const gdn_argument VERIFY_TREE_GREEDY[] = {
    TREE,
    LINKS,
    IN("target_predict", GDN_I64, "BD"),
};

static const gdn_argument TREE_SPECULATIVE_SAMPLING[] = {
    TREE,
    LINKS,
    COINS,
    INOUT("draft_probs", GDN_FP32, "BDV"),
    IN("threshold_single", GDN_FP32, "U"),
    IN("threshold_acc", GDN_FP32, "U"),
};

static const gdn_argument CHAIN_SPECULATIVE_SAMPLING[] = {
    TREE,
    COINS,
    IN("draft_probs", GDN_FP32, "BGV"),
};

static const gdn_argument BUILD_TREE[] = {
    IN("parent_list", GDN_I64, "BQ"),
    IN("selected_index", GDN_I64, "BG"),
    IN("verified_seq_len", GDN_I64, "B"),
    MAYBE_OUT("tree_mask", GDN_BOOL, "Y"),
    MAYBE_OUT("packed_mask", GDN_I32, "P"),
    OUT("positions", GDN_I64, "P"),
    OUT("retrive_index", GDN_I64, "BD"),
    INOUT("retrive_next_token", GDN_I64, "BD"),
    INOUT("retrive_next_sibling", GDN_I64, "BD"),
};

static const gdn_argument STATE_COMMIT[] = {
    INOUT("ssm_states", GDN_FP32, "LIX"),   IN("intermediate", GDN_FP32, "LZAX"),
    INOUT("conv_states", GDN_BF16, "LIWC"), MAYBE("intermediate_conv", GDN_BF16, "LZAWC"),
    IN("slot_table", GDN_I32, "BA"),        IN("src_indices", GDN_I32, "B"),
    IN("last_steps", GDN_I32, "B"),         INOUT("live_slots", GDN_I32, "B"),
};

#define OP(op_name, table, text, ...)                                                      \
    {                                                                                      \
        .name = (op_name), .what = (text), .arguments = (table),                           \
        .n_arguments = sizeof(table) / sizeof((table)[0]),                                 \
        .scalars = (const char *const[]) {                                                 \
            __VA_ARGS__ NULL                                                               \
        }                                                                                  \
    }

static const gdn_op_info OPS[GDN_OP_COUNT - GDN_OP_VERIFY_DRAFT_TOKENS] = {
    OP("verify_draft_tokens", VERIFY_DRAFT_TOKENS, "which drafts of each slot stand",
       "verify_window", "verify_strategy", "reject_all", "accept_all", ),
    OP("top_p_candidates", TOP_P_CANDIDATES, "most probable tokens and their nucleus", ),
    OP("adjust_batch", ADJUST_BATCH, "token rows of prefills first, then of decodes", ),
    OP("gather_next_token", GATHER_NEXT_TOKEN, "rows that predict a next token",
       "is_speculative", "max_bsz", ),
    OP("build_sampling_params", BUILD_SAMPLING_PARAMS,
       "sampling parameters of each target row", "increment_value", ),
    OP("speculate_verify", SPECULATE_VERIFY, "legacy: verification with status update",
       "verify_window", "enable_topp", "benchmark_mode", "accept_all_drafts", "compare",
       "prefill_one_step_stop", ),
    OP("unified_update_model_status", UNIFIED_UPDATE_MODEL_STATUS,
       "verified tokens into the state of each slot", "real_bsz", "max_model_len",
       "is_naive_mode", "prefill_one_step_stop", ),
    OP("naive_update_model_status", NAIVE_UPDATE_MODEL_STATUS,
       "sampled tokens into the state of each slot", ),
    OP("rejection_sample", REJECTION_SAMPLE, "accepted drafts, then a residual or bonus",
       "method", ),
    OP("verify_tree_greedy", VERIFY_TREE_GREEDY, "the path that the argmax takes", ),
    OP("tree_speculative_sampling", TREE_SPECULATIVE_SAMPLING,
       "a sampled path through a tree of drafts", ),
    OP("chain_speculative_sampling", CHAIN_SPECULATIVE_SAMPLING,
       "a sampled path along a chain of drafts", "block", ),
    OP("build_tree", BUILD_TREE, "links, positions and mask of a draft tree", "topk",
       "depth", "tree_mask_mode", ),
    OP("state_commit", STATE_COMMIT, "states of accepted tokens become the live ones", ),
};

static const struct {
    const char *name;
    int64_t low, high;
} SCALARS[] = {
    {"verify_window", 0, 65536},
    {"verify_strategy", GDN_STRATEGY_TOPP, GDN_STRATEGY_TARGET_MATCH},
    {"reject_all", 0, 1},
    {"accept_all", 0, 1},
    {"is_speculative", 0, 1},
    {"max_bsz", 0, 65536},
    {"increment_value", 0, INT32_MAX},
    {"enable_topp", 0, 1},
    {"benchmark_mode", 0, 1},
    {"accept_all_drafts", 0, 1},
    {"compare", GDN_COMPARE_CANDIDATES, GDN_COMPARE_SAMPLED},
    {"prefill_one_step_stop", 0, 1},
    {"real_bsz", 0, 65536},
    {"max_model_len", 1, INT32_MAX},
    {"is_naive_mode", 0, 1},
    {"method", GDN_REJECT_STANDARD, GDN_REJECT_ENTROPY},
    {"block", 0, 1},
    {"topk", 1, 65536},
    {"depth", 1, 65536},
    {"tree_mask_mode", GDN_MASK_FULL, GDN_MASK_PACKED},
};

const gdn_op_info *gdn_verify_op_get(gdn_op op) {
    return &OPS[op - GDN_OP_VERIFY_DRAFT_TOKENS];
}

bool gdn_verify_scalar_range(const char *name, int64_t *low, int64_t *high) {
    for (size_t i = 0; i < sizeof SCALARS / sizeof SCALARS[0]; i++) {
        if (strcmp(SCALARS[i].name, name) == 0) {
            *low = SCALARS[i].low;
            *high = SCALARS[i].high;
            return true;
        }
    }
    return false;
}
