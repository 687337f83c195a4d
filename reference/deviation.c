/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/deviation.h"

#include <string.h>

#define RESULTS "core_attn_out out ssm_state intermediate_state"

#define ROW(n, f, v, t, s, e, ...)                                                         \
    {                                                                                      \
        .name = (n), .field = (f), .value = (v), .touches = (t), .symptom = (s),           \
        .evidence = (e), __VA_ARGS__                                                       \
    }

static const gdn_deviation DEVIATIONS[] = {
    ROW("wrong_layout", "qkvz_layout", NULL, RESULTS " z conv_state",
        "every head but the first receives columns of other heads",
        "vllm#40711, fixed in vllm#42880: GSM8K 0.92 to 0", ),
    ROW("state_transposed", "state_access", "transposed", RESULTS,
        "the start state is read, and the final one written, as its transpose",
        "sgl-kernel-npu#640, vllm#40956; contract vllm_xpu 2.5", ),
    ROW("accepted_off_by_one", "spec_column", "accepted", RESULTS " conv_state",
        "speculative sequences continue from one draft too far",
        "contract vllm_xpu 3.1; vllm#56419", ),
    ROW("accepted_ignored", "spec_column", "first", RESULTS " conv_state",
        "speculative sequences continue from the first column whatever was accepted",
        "contract vllm_xpu 3.1", ),
    ROW("conv_window_other", "conv_window", NULL, RESULTS " conv_state elsewhere",
        "draft snapshots where a sliding line is due, or the reverse",
        "vllm-xpu-kernels#544", .idle_field = "spec_state", .idle_values = "buffer"),
    ROW("decay_after_read", "decay_order", "after_read", RESULTS,
        "the delta is computed against the undecayed state",
        "contract vllm_xpu 4.4: survives upstream's 5e-2 on outputs", ),
    ROW("decay_after_update", "decay_order", "after_update", RESULTS,
        "the newest outer product decays with the old state",
        "contract aiter_fla_flashinfer_ggml section 0", ),
    ROW("output_before_update", "output_state", "decayed", "core_attn_out out",
        "the output misses the current token",
        "contract aiter_fla_flashinfer_ggml section 0", ),
    ROW("history_ignored", "history", "ignored",
        RESULTS " conv_state intermediate_conv_window",
        "every sequence starts from zero, conv history included",
        "contract vllm_xpu 4.1: upstream's decodes never load a state", ),
    ROW("beta_omitted", "delta_beta", "omitted", RESULTS,
        "the delta is applied in full, whatever beta says",
        "contract vllm_xpu section 6", ),
    ROW("heads_tiled", "head_map", NULL, RESULTS,
        "value heads read key head hv mod HK instead of hv div r",
        "contract vllm_xpu 2.4; ggml's map", ),
    ROW("activation_missing", "activation", NULL, RESULTS,
        "the convolution's output is used without SiLU",
        "contract vllm_cpu_and_metadata 1.8: \"swish\" taken for none", ),
    ROW("q_unscaled", "slip", "q_unscaled", "core_attn_out out",
        "outputs are sqrt(K) too large, states right",
        "contract vllm_cpu_and_metadata section 5, numerics", ),
    ROW("k_scaled", "slip", "k_scaled", RESULTS,
        "keys carry the scale that belongs to the query", "contract vllm_xpu section 6", ),
    ROW("l2norm_missing", "slip", "l2norm_missing", RESULTS,
        "queries and keys enter unnormalised",
        "contract aiter_fla_flashinfer_ggml section 2, axis L2", ),
    ROW("l2norm_mean", "slip", "l2norm_mean", RESULTS,
        "the norm is taken over the mean of squares: sqrt(K) too large",
        "contract vllm_cpu_and_metadata section 5, numerics", ),
    ROW("dt_bias_missing", "slip", "dt_bias_missing", RESULTS " g",
        "heads forget at the rate of a alone", "contract vllm_xpu 2.4", ),
    ROW("gate_bf16", "slip", "gate_bf16", RESULTS, "the log decay passes through bf16",
        "vllm#42076: gsm8k 0", ),
    ROW("beta_bf16", "slip", "beta_bf16", RESULTS, "beta passes through bf16",
        "vllm#53877; contract vllm_xpu 4.4", ),
    ROW("ab_swapped", "slip", "ab_swapped", "core_attn_out ssm_state",
        "the decay is made from b and beta from a", "contract vllm_xpu 2.1", ),
    ROW("qk_swapped", "slip", "qk_swapped", "core_attn_out ssm_state",
        "queries and keys change places",
        "contract vllm_cpu_and_metadata section 4: equal q and k in upstream tests", ),
    ROW("z_from_v", "slip", "z_from_v", "z", "z is a copy of the value columns",
        "contract vllm_xpu 2.1, 2.2", ),
    ROW("taps_reversed", "slip", "taps_reversed", RESULTS,
        "the oldest input meets the newest tap", "contract vllm_xpu section 6", ),
    ROW("bias_missing", "slip", "bias_missing", RESULTS, "the convolution has no bias",
        "contract vllm_xpu section 6", ),
    ROW("flags_shifted", "slip", "flags_shifted", RESULTS " conv_state",
        "has_initial_state is read one sequence further",
        "contract vllm_cpu_and_metadata section 5: taken unfiltered", ),
    ROW("tokens_unindexed", "slip", "tokens_unindexed", RESULTS " z conv_state elsewhere",
        "tokens are taken from rows in order, whatever the index says",
        "vllm#51812; contract vllm_xpu 2.8", ),
    ROW("gates_unindexed", "slip", "gates_unindexed", RESULTS,
        "tokens are taken by the index, but their a and b from rows in order",
        "vllm#51812; contract vllm_cpu_and_metadata section 5", ),
    ROW("gate_base2", "slip", "gate_base2", RESULTS " intermediate_state",
        "the decay is 2^g instead of e^g",
        "contract aiter_fla_flashinfer_ggml section 5: exp2 without log2(e)", ),
    ROW("state_rounded", "slip", "state_rounded", RESULTS,
        "the carried state is rounded to bf16 after every token",
        "contract vllm_xpu 4.4", ),
    ROW("state_truncated", "slip", "state_truncated", RESULTS,
        "the state is forgotten after every 64 tokens", "Infatoshi/kernelbench.com#7", ),
    ROW("last_column_only", "slip", "last_column_only", "ssm_state intermediate_state",
        "only the last draft column receives its state",
        "contract vllm_xpu 3.2: the comment against the code", ),
    ROW("conv_axes_swapped", "slip", "conv_axes_swapped",
        RESULTS " conv_state intermediate_conv_window",
        "rows and channels of a conv slot change places",
        "contract sglang_npu 0.3; contract vllm_cpu_and_metadata section 5: "
        "permuted channels", ),
    ROW("conv_anchor_other", "conv_anchor", NULL,
        RESULTS " conv_state intermediate_conv_window",
        "the first rows of a wide conv line are taken for the last ones, or the "
        "reverse",
        "contract sglang_npu 1.5, 2.4; contract aiter_fla_flashinfer_ggml section 5", ),
    ROW("conv_slot_unindexed", "slip", "conv_slot_unindexed",
        RESULTS " conv_state elsewhere",
        "the conv state is written to slot b of the batch instead of state_indices[b]",
        "contract vllm_cpu_and_metadata 1.6 and section 5", ),
    ROW("conv_products_other", "conv_product", NULL, RESULTS,
        "each weight times its input is rounded where it should not be, or the reverse",
        "contract vllm_cpu_and_metadata 2.1; contract aiter_fla_flashinfer_ggml A5", ),
    ROW("weight_taken_for_plain", "slip", "weight_taken_for_plain", RESULTS,
        "a packed or [W,C] conv weight is read as [C,W]",
        "contract vllm_cpu_and_metadata 1.5, 1.8", .idle_field = "conv_weight",
        .idle_values = "cw"),
    ROW("weight_packed_twice", "slip", "weight_packed_twice", "packed",
        "the conv weight is packed a second time",
        "contract vllm_cpu_and_metadata 1.5: packing twice scrambles",
        .idle_field = "conv_weight", .idle_values = "cw wc"),
    ROW("verify_from_first", "slip", "verify_from_first", RESULTS,
        "verification takes the first rows of a conv line for its history",
        "sglang#38622; contract sglang_npu 2.4, 2.6", .idle_field = "spec_state",
        .idle_values = "slots"),
    ROW("tree_ignored", "slip", "tree_ignored",
        "out intermediate_conv_window intermediate_state",
        "drafts of a tree are convolved, and computed, as a chain",
        "contract sglang_npu 2.6: parent links ignored, silently wrong in eager mode",
        .idle_field = "spec_state", .idle_values = "slots"),
    ROW("window_too_early", "slip", "window_too_early", "conv_state",
        "beside others that have a state, a fresh sequence stores its conv "
        "window W-1 tokens too early",
        "contract sglang_npu 1.5, 13.2", ),
    ROW("line_shifted", "slip", "line_shifted", "conv_state",
        "a plain decode moves on all rows of a wide conv line",
        "contract vllm_cpu_and_metadata 1.7: later rows untouched", ),
    ROW("bias_missing_in_decode", "slip", "bias_missing_in_decode", RESULTS,
        "decodes are convolved without the bias",
        "contract sglang_npu 2.1: bias accepted and ignored", ),
    ROW("gate_form_other", "gate_input", NULL, "out ssm_state intermediate_state",
        "the decay is taken for its logarithm, or the reverse",
        "contract aiter_fla_flashinfer_ggml section 5: alpha given to FLA or "
        "ggml grows e^alpha", ),
    ROW("sigmoid_other", "beta_input", NULL, "out ssm_state intermediate_state",
        "the sigmoid of beta is applied twice, or never",
        "contract sglang_npu 3.2: the classic porting bug", ),
    ROW("beta_rounding_other", "beta_rounding", NULL, RESULTS " intermediate_state",
        "beta passes through T where it must not, or is kept where it must",
        "contract aiter_fla_flashinfer_ggml 1B; vllm_cpu_and_metadata 1.0", ),
    ROW("beta_row0", "slip", "beta_row0", RESULTS " intermediate_state",
        "every row of the batch takes the beta of row 0",
        "contract vllm_cpu_and_metadata 1.2: bug of G0 and G1", ),
    ROW("eps_elsewhere", "l2norm_form", NULL, RESULTS " intermediate_state",
        "eps of the norm stands outside the root, or inside where it should not",
        "contract sglang_npu 0.5 and 13.4", ),
    ROW("eps_other", "l2norm_eps", "1e-05", RESULTS " intermediate_state",
        "eps of the norm is 1e-5, or 1e-6 where it should be 1e-5",
        "contract vllm_cpu_and_metadata 1.0: CPU 1e-5, GPU 1e-6", .instead = "1e-06"),
    ROW("chunk_qk_other", "chunk_qk", NULL, RESULTS,
        "keys and queries of prefills are rounded to T, or kept where they are rounded",
        "contract aiter_fla_flashinfer_ggml section 5, numerics", ),
    ROW("softplus_beta_other", "softplus_beta", "1", RESULTS " g intermediate_state",
        "softplus is computed with beta 1, or with 2 where it is 1",
        "contract vllm_cpu_and_metadata section 5: any value but 1 has no effect",
        .instead = "2"),
    ROW("state_unrounded", "state_carry", "call", RESULTS " intermediate_state",
        "the carried state keeps what its storage rounds off, or loses what it "
        "should keep",
        "contract sglang_npu section 4: rounded between tokens", .instead = "token"),
    ROW("buffer_by_slot", "slip", "buffer_by_slot", "intermediate_state elsewhere",
        "intermediate states are stored by pool slot instead of request",
        "flashinfer#3145; contract aiter_fla_flashinfer_ggml section 5",
        .idle_field = "spec_state", .idle_values = "slots"),
    ROW("pool_advanced", "slip", "pool_advanced", "elsewhere",
        "verify advances the pool that it should only read",
        "contract aiter_fla_flashinfer_ggml section 5: disable_state_update",
        .idle_field = "spec_state", .idle_values = "slots"),
    ROW("pad_in_slot0", "slip", "pad_in_slot0", RESULTS " conv_state elsewhere",
        "a padded sequence reads and writes slot 0",
        "contract aiter_fla_flashinfer_ggml 1D: NULLSLOT0", .idle_field = "pad_sequences",
        .idle_values = "refused"),
    ROW("pad_in_last_slot", "slip", "pad_in_last", RESULTS " conv_state elsewhere",
        "a padded sequence reads and writes the last slot",
        "contract sglang_npu 2.1: a negative index wraps", .idle_field = "pad_sequences",
        .idle_values = "refused"),
    ROW("pad_untouched", "pad_sequences", "skipped", "core_attn_out out elsewhere",
        "output rows of padding are left as they were, or zeroed where they should be",
        "contract aiter_fla_flashinfer_ggml section 5, T-A4", .instead = "zeroed",
        .idle_field = "pad_sequences", .idle_values = "refused"),
    ROW("pad_rows_other", "pad_rows", NULL, "core_attn_out z elsewhere",
        "rows behind the tokens keep garbage where zeros are due, or the reverse",
        "contract aiter_fla_flashinfer_ggml A5: relied upon by the next op", ),
    ROW("stray_slot0", "stray_write", "slot0",
        "ssm_state conv_state intermediate_state intermediate_conv_window elsewhere",
        "one element of slot 0 is overwritten although no sequence owns it",
        "vllm#50021; contract vllm_xpu 3.6: padded rows mapped to slot 0", ),
    ROW("stray_guard", "stray_write", "guard", "elsewhere",
        "one element past the end of the main output is overwritten",
        "vllm-xpu-kernels#437, #439", ),
#include "verify_deviations.def"
};

const gdn_deviation *gdn_deviations(size_t *count) {
    *count = sizeof DEVIATIONS / sizeof DEVIATIONS[0];
    return DEVIATIONS;
}

const gdn_deviation *gdn_deviation_find(const char *name) {
    for (size_t i = 0; i < sizeof DEVIATIONS / sizeof DEVIATIONS[0]; i++) {
        if (strcmp(DEVIATIONS[i].name, name) == 0) {
            return &DEVIATIONS[i];
        }
    }
    return NULL;
}

bool gdn_deviation_is_idle(const gdn_deviation *deviation,
                           const gdn_conventions *conventions) {
    if (!deviation->idle_field) {
        return false;
    }
    const gdn_convention_field *field = gdn_convention_field_find(deviation->idle_field);
    char now[64];
    const size_t length = (size_t)gdn_conventions_get(conventions, field, now, sizeof now);
    for (const char *at = deviation->idle_values; *at; at += *at == ' ') {
        const size_t n = strcspn(at, " ");
        if (n == length && memcmp(at, now, n) == 0) {
            return true;
        }
        at += n;
    }
    return false;
}

static bool has_word(const char *words, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = words; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
        if (strcspn(at, " ") == length && strncmp(at, word, length) == 0) {
            return true;
        }
    }
    return false;
}

bool gdn_deviation_concerns(const gdn_deviation *deviation, gdn_op op) {
    if (deviation->ops) {
        return has_word(deviation->ops, gdn_op_get(op)->name);
    }
    return gdn_op_is_verify(op) == (gdn_verify_field_find(deviation->field) != NULL);
}

gdn_status gdn_deviation_apply(const gdn_deviation *deviation, gdn_conventions *conventions,
                               gdn_error *err) {
    const gdn_convention_field *field = gdn_convention_field_find(deviation->field);
    char now[64];
    gdn_conventions_get(conventions, field, now, sizeof now);
    if (deviation->value) {
        const bool right = deviation->instead && strcmp(now, deviation->value) == 0;
        return gdn_conventions_set(conventions, deviation->field,
                                   right ? deviation->instead : deviation->value, err);
    }
    const char *other = field->values[strcmp(field->values[0], now) == 0 ? 1 : 0];
    return gdn_conventions_set(conventions, deviation->field, other, err);
}
