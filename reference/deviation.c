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
