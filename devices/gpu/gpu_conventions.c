/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <string.h>

#include "gpu_plan.h"

/* What the kernels implement beside each field's default. Fields that are not here must
 * have their default. */
typedef struct implemented {
    const char *field;
    unsigned values; /* bit v: value v of an enum; ANY: all numbers */
} implemented;

#define VALUE(v) (1U << (v))
#define ANY      0U

static const implemented IMPLEMENTED[] = {
    {"qkvz_layout", VALUE(GDN_QKVZ_INTERLEAVED) | VALUE(GDN_QKVZ_SEPARATE)},
    {"state_order", VALUE(GDN_STATE_VK) | VALUE(GDN_STATE_KV)},
    {"head_map", VALUE(GDN_HEADS_GROUPED) | VALUE(GDN_HEADS_TILED)},
    {"conv_window", VALUE(GDN_CONV_SNAPSHOT) | VALUE(GDN_CONV_SLIDING) |
                        VALUE(GDN_CONV_ROLLING) | VALUE(GDN_CONV_WINDOWS)},
    {"conv_state_order", VALUE(GDN_CONV_STATE_SD) | VALUE(GDN_CONV_STATE_DS)},
    {"conv_anchor", VALUE(GDN_CONV_FIRST) | VALUE(GDN_CONV_LAST)},
    {"conv_history", VALUE(GDN_CONV_KEEPS_WINDOW) | VALUE(GDN_CONV_KEEPS_TAPS)},
    {"conv_weight", VALUE(GDN_WEIGHT_CW) | VALUE(GDN_WEIGHT_WC) | VALUE(GDN_WEIGHT_VNNI)},
    {"conv_product", VALUE(GDN_ROUND_NONE) | VALUE(GDN_ROUND_STORAGE)},
    {"spec_state", VALUE(GDN_SPEC_SLOTS) | VALUE(GDN_SPEC_BUFFER)},
    {"buffer_rows", VALUE(GDN_BUFFER_BY_REQUEST) | VALUE(GDN_BUFFER_BY_INDEX)},
    {"gate_input", VALUE(GDN_GATE_LOG) | VALUE(GDN_GATE_DECAY)},
    {"beta_input", VALUE(GDN_BETA_VALUE) | VALUE(GDN_BETA_LOGITS)},
    {"beta_storage", VALUE(GDN_BETA_FP32) | VALUE(GDN_BETA_ACTIVATION)},
    {"beta_rounding", VALUE(GDN_BETA_UNROUNDED) | VALUE(GDN_BETA_ROUNDED) |
                          VALUE(GDN_BETA_THRICE_IN_DECODE)},
    {"beta_tail", VALUE(GDN_TAIL_AS_OTHERS) | VALUE(GDN_TAIL_THRICE)},
    {"l2norm_form",
     VALUE(GDN_L2NORM_INSIDE) | VALUE(GDN_L2NORM_OUTSIDE) | VALUE(GDN_L2NORM_MAX)},
    {"chunk_qk",
     VALUE(GDN_CHUNK_QK_NONE) | VALUE(GDN_CHUNK_QK_STORAGE) | VALUE(GDN_CHUNK_QK_SCALED)},
    {"pad_sequences", VALUE(GDN_PAD_REFUSED) | VALUE(GDN_PAD_SKIPPED) |
                          VALUE(GDN_PAD_ZEROED) | VALUE(GDN_PAD_FROM_ZERO)},
    {"pad_rows", VALUE(GDN_PAD_ROWS_KEPT) | VALUE(GDN_PAD_ROWS_ZEROED)},
    {"activation", VALUE(GDN_ACTIVATION_SILU) | VALUE(GDN_ACTIVATION_NONE)},
    {"conv_output", VALUE(GDN_ROUND_NONE) | VALUE(GDN_ROUND_STORAGE)},
    {"state_carry", VALUE(GDN_CARRY_CALL) | VALUE(GDN_CARRY_CHUNK) |
                        VALUE(GDN_CARRY_TOKEN) | VALUE(GDN_CARRY_KERNEL)},
    {"metadata_rules",
     VALUE(GDN_METADATA_EARLY) | VALUE(GDN_METADATA_MID) | VALUE(GDN_METADATA_LATE)},
    /* The arithmetic of a profile's backend, by which limits are set: fp32 everywhere is
     * within the limits of every coarser class of the chunks. */
    {"chunk_class", VALUE(GDN_CLASS_FP32) | VALUE(GDN_CLASS_TF32_MMA) |
                        VALUE(GDN_CLASS_FP16_MMA) | VALUE(GDN_CLASS_BF16_MMA)},
    {"chunk_decay", ANY}, /* as the class */
    {"pad_slot_id", ANY},
    {"l2norm_eps", ANY},
    {"softplus_beta", ANY},
    {"softplus_threshold", ANY},
    /* What is granted to intrinsics; these kernels' are within every profile's grant, or
     * its verdict says so. */
    {"exp_error", ANY},
    {"log_error", ANY},
    {"rsqrt_error", ANY},
    {"sigmoid_error", ANY},
};

static const implemented *find(const char *field) {
    for (size_t i = 0; i < sizeof IMPLEMENTED / sizeof IMPLEMENTED[0]; i++) {
        if (strcmp(IMPLEMENTED[i].field, field) == 0) {
            return &IMPLEMENTED[i];
        }
    }
    return NULL;
}

static bool is_implemented(const gdn_convention_field *field,
                           const gdn_conventions *conventions,
                           const gdn_conventions *otherwise) {
    const void *value = (const char *)conventions + field->offset;
    const void *usual = (const char *)otherwise + field->offset;
    const implemented *row = find(field->name);
    if (row && row->values == ANY) {
        return true;
    }
    switch (field->kind) {
    case GDN_FIELD_ENUM: {
        const int number = *(const int *)value;
        return row ? number >= 0 && number < 32 && (row->values >> number & 1U)
                   : number == *(const int *)usual;
    }
    case GDN_FIELD_INT:
        return *(const int *)value == *(const int *)usual;
    case GDN_FIELD_REAL:
        return *(const double *)value == *(const double *)usual;
    }
    return false;
}

gdn_status gpu_check_conventions(const gdn_conventions *conventions, gdn_error *why) {
    const gdn_conventions otherwise = gdn_conventions_default();
    size_t count = 0;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    for (size_t i = 0; i < count; i++) {
        if (!is_implemented(&fields[i], conventions, &otherwise)) {
            char value[64];
            gdn_conventions_get(conventions, &fields[i], value, sizeof value);
            return gdn_error_set(why, GDN_ERR_UNSUPPORTED,
                                 "%s: these kernels do not implement \"%s\"",
                                 fields[i].name, value);
        }
    }
    return GDN_OK;
}
