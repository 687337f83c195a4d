/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/deviation.h"

#include <string.h>

#define RESULTS "core_attn_out out ssm_state"

static const gdn_deviation DEVIATIONS[] = {
    {
        .name = "wrong_layout",
        .symptom = "every head but the first receives columns of other heads",
        .evidence = "vllm#40711, fixed in vllm#42880: GSM8K 0.92 to 0",
        .field = "qkvz_layout",
        .touches = RESULTS " z conv_state",
    },
    {
        .name = "state_transposed",
        .symptom = "the start state is read, and the final one written, as its transpose",
        .evidence = "sgl-kernel-npu#640, vllm#40956; contract vllm_xpu 2.5",
        .field = "state_access",
        .value = "transposed",
        .touches = RESULTS,
    },
    {
        .name = "accepted_off_by_one",
        .symptom = "speculative sequences continue from one draft too far",
        .evidence = "contract vllm_xpu 3.1; vllm#56419",
        .field = "spec_column",
        .value = "accepted",
        .touches = RESULTS " conv_state",
    },
    {
        .name = "accepted_ignored",
        .symptom =
            "speculative sequences continue from the first column whatever was accepted",
        .evidence = "contract vllm_xpu 3.1",
        .field = "spec_column",
        .value = "first",
        .touches = RESULTS " conv_state",
    },
    {
        .name = "conv_window_other",
        .symptom = "draft snapshots where a sliding line is due, or the reverse",
        .evidence = "vllm-xpu-kernels#544",
        .field = "conv_window",
        .touches = RESULTS " conv_state elsewhere",
    },
    {
        .name = "decay_after_read",
        .symptom = "the delta is computed against the undecayed state",
        .evidence = "contract vllm_xpu 4.4: survives upstream's 5e-2 on outputs",
        .field = "decay_order",
        .value = "after_read",
        .touches = RESULTS,
    },
    {
        .name = "decay_after_update",
        .symptom = "the newest outer product decays with the old state",
        .evidence = "contract aiter_fla_flashinfer_ggml section 0",
        .field = "decay_order",
        .value = "after_update",
        .touches = RESULTS,
    },
    {
        .name = "output_before_update",
        .symptom = "the output misses the current token",
        .evidence = "contract aiter_fla_flashinfer_ggml section 0",
        .field = "output_state",
        .value = "decayed",
        .touches = "core_attn_out out",
    },
    {
        .name = "history_ignored",
        .symptom = "every sequence starts from zero, conv history included",
        .evidence = "contract vllm_xpu 4.1: upstream's decodes never load a state",
        .field = "history",
        .value = "ignored",
        .touches = RESULTS " conv_state",
    },
    {
        .name = "beta_omitted",
        .symptom = "the delta is applied in full, whatever beta says",
        .evidence = "contract vllm_xpu section 6",
        .field = "delta_beta",
        .value = "omitted",
        .touches = RESULTS,
    },
    {
        .name = "heads_tiled",
        .symptom = "value heads read key head hv mod HK instead of hv div r",
        .evidence = "contract vllm_xpu 2.4; ggml's map",
        .field = "head_map",
        .touches = RESULTS,
    },
    {
        .name = "activation_missing",
        .symptom = "the convolution's output is used without SiLU",
        .evidence = "contract vllm_cpu_and_metadata 1.8: \"swish\" taken for none",
        .field = "activation",
        .touches = RESULTS,
    },
    {
        .name = "q_unscaled",
        .symptom = "outputs are sqrt(K) too large, states right",
        .evidence = "contract vllm_cpu_and_metadata section 5, numerics",
        .field = "slip",
        .value = "q_unscaled",
        .touches = "core_attn_out out",
    },
    {
        .name = "k_scaled",
        .symptom = "keys carry the scale that belongs to the query",
        .evidence = "contract vllm_xpu section 6",
        .field = "slip",
        .value = "k_scaled",
        .touches = RESULTS,
    },
    {
        .name = "l2norm_missing",
        .symptom = "queries and keys enter unnormalised",
        .evidence = "contract aiter_fla_flashinfer_ggml section 2, axis L2",
        .field = "slip",
        .value = "l2norm_missing",
        .touches = RESULTS,
    },
    {
        .name = "l2norm_mean",
        .symptom = "the norm is taken over the mean of squares: sqrt(K) too large",
        .evidence = "contract vllm_cpu_and_metadata section 5, numerics",
        .field = "slip",
        .value = "l2norm_mean",
        .touches = RESULTS,
    },
    {
        .name = "dt_bias_missing",
        .symptom = "heads forget at the rate of a alone",
        .evidence = "contract vllm_xpu 2.4",
        .field = "slip",
        .value = "dt_bias_missing",
        .touches = RESULTS " g",
    },
    {
        .name = "gate_bf16",
        .symptom = "the log decay passes through bf16",
        .evidence = "vllm#42076: gsm8k 0",
        .field = "slip",
        .value = "gate_bf16",
        .touches = RESULTS,
    },
    {
        .name = "beta_bf16",
        .symptom = "beta passes through bf16",
        .evidence = "vllm#53877; contract vllm_xpu 4.4",
        .field = "slip",
        .value = "beta_bf16",
        .touches = RESULTS,
    },
    {
        .name = "ab_swapped",
        .symptom = "the decay is made from b and beta from a",
        .evidence = "contract vllm_xpu 2.1",
        .field = "slip",
        .value = "ab_swapped",
        .touches = "core_attn_out ssm_state",
    },
    {
        .name = "qk_swapped",
        .symptom = "queries and keys change places",
        .evidence =
            "contract vllm_cpu_and_metadata section 4: equal q and k in upstream tests",
        .field = "slip",
        .value = "qk_swapped",
        .touches = "core_attn_out ssm_state",
    },
    {
        .name = "z_from_v",
        .symptom = "z is a copy of the value columns",
        .evidence = "contract vllm_xpu 2.1, 2.2",
        .field = "slip",
        .value = "z_from_v",
        .touches = "z",
    },
    {
        .name = "taps_reversed",
        .symptom = "the oldest input meets the newest tap",
        .evidence = "contract vllm_xpu section 6",
        .field = "slip",
        .value = "taps_reversed",
        .touches = RESULTS,
    },
    {
        .name = "bias_missing",
        .symptom = "the convolution has no bias",
        .evidence = "contract vllm_xpu section 6",
        .field = "slip",
        .value = "bias_missing",
        .touches = RESULTS,
    },
    {
        .name = "flags_shifted",
        .symptom = "has_initial_state is read one sequence further",
        .evidence = "contract vllm_cpu_and_metadata section 5: taken unfiltered",
        .field = "slip",
        .value = "flags_shifted",
        .touches = RESULTS " conv_state",
    },
    {
        .name = "tokens_unindexed",
        .symptom = "tokens are taken from rows in order, whatever the index says",
        .evidence = "vllm#51812; contract vllm_xpu 2.8",
        .field = "slip",
        .value = "tokens_unindexed",
        .touches = RESULTS " z conv_state elsewhere",
    },
    {
        .name = "state_rounded",
        .symptom = "the carried state is rounded to bf16 after every token",
        .evidence = "contract vllm_xpu 4.4",
        .field = "slip",
        .value = "state_rounded",
        .touches = RESULTS,
    },
    {
        .name = "state_truncated",
        .symptom = "the state is forgotten after every 64 tokens",
        .evidence = "Infatoshi/kernelbench.com#7",
        .field = "slip",
        .value = "state_truncated",
        .touches = RESULTS,
    },
    {
        .name = "last_column_only",
        .symptom = "only the last draft column receives its state",
        .evidence = "contract vllm_xpu 3.2: the comment against the code",
        .field = "slip",
        .value = "last_column_only",
        .touches = "ssm_state",
    },
    {
        .name = "conv_axes_swapped",
        .symptom = "rows and channels of a conv slot change places",
        .evidence = "contract sglang_npu 0.3; contract vllm_cpu_and_metadata section 5: "
                    "permuted channels",
        .field = "slip",
        .value = "conv_axes_swapped",
        .touches = RESULTS " conv_state intermediate_conv_window",
    },
    {
        .name = "conv_anchor_other",
        .symptom = "the first rows of a wide conv line are taken for the last ones, or the "
                   "reverse",
        .evidence =
            "contract sglang_npu 1.5, 2.4; contract aiter_fla_flashinfer_ggml section 5",
        .field = "conv_anchor",
        .touches = RESULTS " conv_state",
    },
    {
        .name = "conv_slot_unindexed",
        .symptom =
            "the conv state is written to slot b of the batch instead of state_indices[b]",
        .evidence = "contract vllm_cpu_and_metadata 1.6 and section 5",
        .field = "slip",
        .value = "conv_slot_unindexed",
        .touches = "conv_state elsewhere",
    },
    {
        .name = "conv_products_other",
        .symptom =
            "each weight times its input is rounded where it should not be, or the reverse",
        .evidence =
            "contract vllm_cpu_and_metadata 2.1; contract aiter_fla_flashinfer_ggml A5",
        .field = "conv_product",
        .touches = RESULTS,
    },
    {
        .name = "weight_taken_for_plain",
        .symptom = "a packed or [W,C] conv weight is read as [C,W]",
        .evidence = "contract vllm_cpu_and_metadata 1.5, 1.8",
        .field = "slip",
        .value = "weight_taken_for_plain",
        .touches = RESULTS,
        .idle_field = "conv_weight",
        .idle_values = "cw",
    },
    {
        .name = "weight_packed_twice",
        .symptom = "the conv weight is packed a second time",
        .evidence = "contract vllm_cpu_and_metadata 1.5: packing twice scrambles",
        .field = "slip",
        .value = "weight_packed_twice",
        .touches = "packed",
        .idle_field = "conv_weight",
        .idle_values = "cw wc",
    },
    {
        .name = "verify_from_first",
        .symptom = "verification takes the first rows of a conv line for its history",
        .evidence = "sglang#38622; contract sglang_npu 2.4, 2.6",
        .field = "slip",
        .value = "verify_from_first",
        .touches = RESULTS,
        .idle_field = "spec_state",
        .idle_values = "slots",
    },
    {
        .name = "tree_ignored",
        .symptom = "draft tokens of a tree are convolved as a chain",
        .evidence = "contract sglang_npu 2.6: parent links ignored",
        .field = "slip",
        .value = "tree_ignored",
        .touches = RESULTS " intermediate_conv_window",
        .idle_field = "spec_state",
        .idle_values = "slots",
    },
    {
        .name = "window_too_early",
        .symptom = "beside others that have a state, a fresh sequence stores its conv "
                   "window W-1 tokens too early",
        .evidence = "contract sglang_npu 1.5, 13.2",
        .field = "slip",
        .value = "window_too_early",
        .touches = "conv_state",
    },
    {
        .name = "line_shifted",
        .symptom = "a plain decode moves on all rows of a wide conv line",
        .evidence = "contract vllm_cpu_and_metadata 1.7: later rows untouched",
        .field = "slip",
        .value = "line_shifted",
        .touches = "conv_state",
    },
    {
        .name = "bias_missing_in_decode",
        .symptom = "decodes are convolved without the bias",
        .evidence = "contract sglang_npu 2.1: bias accepted and ignored",
        .field = "slip",
        .value = "bias_missing_in_decode",
        .touches = RESULTS,
    },
    {
        .name = "stray_slot0",
        .symptom = "one element of slot 0 is overwritten although no sequence owns it",
        .evidence = "vllm#50021; contract vllm_xpu 3.6: padded rows mapped to slot 0",
        .field = "stray_write",
        .value = "slot0",
        .touches = "ssm_state conv_state elsewhere",
    },
    {
        .name = "stray_guard",
        .symptom = "one element past the end of the main output is overwritten",
        .evidence = "vllm-xpu-kernels#437, #439",
        .field = "stray_write",
        .value = "guard",
        .touches = "elsewhere",
    },
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

gdn_status gdn_deviation_apply(const gdn_deviation *deviation, gdn_conventions *conventions,
                               gdn_error *err) {
    if (deviation->value) {
        return gdn_conventions_set(conventions, deviation->field, deviation->value, err);
    }
    const gdn_convention_field *field = gdn_convention_field_find(deviation->field);
    char now[64];
    gdn_conventions_get(conventions, field, now, sizeof now);
    const char *other = field->values[strcmp(field->values[0], now) == 0 ? 1 : 0];
    return gdn_conventions_set(conventions, deviation->field, other, err);
}
