/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "invisible.h"

#include <string.h>

#define CONV1D    (1U << GDN_OP_CAUSAL_CONV1D)
#define GATING    (1U << GDN_OP_GDN_GATING)
#define DELTA     (1U << GDN_OP_GATED_DELTA_RULE)
#define ATTENTION (1U << GDN_OP_GDN_ATTENTION)
#define METADATA  (1U << GDN_OP_GDN_METADATA)

static int64_t key_heads(const gdn_case *test) {
    return test->num_k_heads / test->tp_size;
}

static bool has_spec(const gdn_case *test) {
    return test->columns > 0;
}

static bool one_key_head(const gdn_case *test) {
    return key_heads(test) == 1;
}

static bool one_map(const gdn_case *test) {
    return key_heads(test) == 1 || test->num_v_heads == test->num_k_heads;
}

static bool one_column(const gdn_case *test) {
    return test->columns <= 1;
}

static bool no_bias(const gdn_case *test) {
    return !test->conv_bias;
}

static bool grouped(const gdn_case *test) {
    return test->order == GDN_ROWS_GROUPED && !has_spec(test);
}

static bool equal_flags(const gdn_case *test) {
    int yes = 0, no = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].kind != GDN_SEQ_SPEC) {
            yes += test->sequences[i].has_initial_state;
            no += !test->sequences[i].has_initial_state;
        }
    }
    return test->initial == GDN_INITIAL_ABSENT || yes == 0 || no == 0;
}

static bool all_from_zero(const gdn_case *test) {
    return !has_spec(test) && test->initial == GDN_INITIAL_NONE;
}

static bool short_sequences(const gdn_case *test) {
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].length > 63) {
            return false;
        }
    }
    return true;
}

/* The recurrence gets its gates ready made. */
static bool given_gates(const gdn_case *test) {
    return test->gates == GDN_GATES_GIVEN;
}

static bool always(const gdn_case *test) {
    (void)test;
    return true;
}

/* `value` NULL: every value of the field. `ops`: where the reason holds. */
static const struct {
    const char *field, *value;
    unsigned ops;
    bool (*holds)(const gdn_case *test);
    const char *proof;
} PROOFS[] = {
    {"qkvz_layout", NULL, CONV1D | GATING | DELTA | METADATA, always,
     "the op has no projections"},
    {"qkvz_layout", NULL, ATTENTION, one_key_head,
     "one key head on the rank: a group holds all heads, so both layouts are one"},
    {"head_map", NULL, CONV1D | GATING | METADATA, always, "the op joins no heads"},
    {"head_map", NULL, DELTA | ATTENTION, one_map,
     "one key head, or a value head for each: both maps are one"},
    {"state_access", NULL, CONV1D | GATING | METADATA, always, "the op has no state"},
    {"spec_column", NULL, GATING | METADATA, always, "the op has no state"},
    {"spec_column", NULL, CONV1D | DELTA | ATTENTION, one_column,
     "at most one draft column"},
    {"conv_window", NULL, GATING | DELTA | METADATA, always, "the op has no convolution"},
    {"conv_window", NULL, CONV1D | ATTENTION, one_column, "at most one draft column"},
    {"decay_order", NULL, CONV1D | GATING | METADATA, always, "the op has no recurrence"},
    {"output_state", NULL, CONV1D | GATING | METADATA, always, "the op has no recurrence"},
    {"delta_beta", NULL, CONV1D | GATING | METADATA, always, "the op has no recurrence"},
    {"history", NULL, GATING | METADATA, always, "the op has no history"},
    {"history", NULL, CONV1D | DELTA | ATTENTION, all_from_zero,
     "every sequence starts from zero"},
    {"activation", NULL, GATING | DELTA | METADATA, always, "the op has no convolution"},
    {"slip", "q_unscaled", CONV1D | GATING | METADATA, always, "the op has no queries"},
    {"slip", "k_scaled", CONV1D | GATING | METADATA, always, "the op has no keys"},
    {"slip", "l2norm_missing", CONV1D | GATING | METADATA, always, "the op has no keys"},
    {"slip", "l2norm_mean", CONV1D | GATING | METADATA, always, "the op has no keys"},
    {"slip", "dt_bias_missing", CONV1D | METADATA, always, "the op has no gates"},
    {"slip", "dt_bias_missing", DELTA, given_gates, "the gates come ready made"},
    {"slip", "gate_bf16", CONV1D | METADATA, always, "the op has no gates"},
    {"slip", "beta_bf16", CONV1D | METADATA, always, "the op has no gates"},
    {"slip", "ab_swapped", CONV1D | METADATA, always, "the op has no a and b"},
    {"slip", "ab_swapped", DELTA, given_gates, "the gates come ready made"},
    {"slip", "qk_swapped", CONV1D | GATING | METADATA, always, "the op has no queries"},
    {"slip", "z_from_v", CONV1D | GATING | DELTA | METADATA, always, "the op has no z"},
    {"slip", "taps_reversed", GATING | DELTA | METADATA, always,
     "the op has no convolution"},
    {"slip", "bias_missing", GATING | DELTA | METADATA, always,
     "the op has no convolution"},
    {"slip", "bias_missing", CONV1D | ATTENTION, no_bias, "the convolution has no bias"},
    {"slip", "flags_shifted", GATING | METADATA, always, "the op has no flags"},
    {"slip", "flags_shifted", CONV1D | DELTA | ATTENTION, equal_flags,
     "all flags are the same"},
    {"slip", "tokens_unindexed", CONV1D | GATING | DELTA | METADATA, always,
     "the op has no token index"},
    {"slip", "tokens_unindexed", ATTENTION, grouped, "tokens lie in order"},
    {"slip", "state_rounded", CONV1D | GATING | METADATA, always, "the op has no state"},
    {"slip", "state_truncated", CONV1D | GATING | METADATA, always, "the op has no state"},
    {"slip", "state_truncated", DELTA | ATTENTION, short_sequences,
     "no sequence has 64 tokens"},
    {"slip", "last_column_only", CONV1D | GATING | METADATA, always, "the op has no state"},
    {"slip", "last_column_only", DELTA | ATTENTION, one_column, "at most one draft column"},
    {"stray_write", "slot0", GATING | METADATA, always, "the op has no pool"},
};

const char *gdn_invisible_proof(const gdn_deviation *deviation, const gdn_case *test) {
    for (size_t i = 0; i < sizeof PROOFS / sizeof PROOFS[0]; i++) {
        if (strcmp(PROOFS[i].field, deviation->field) == 0 &&
            (!PROOFS[i].value ||
             (deviation->value && strcmp(PROOFS[i].value, deviation->value) == 0)) &&
            (PROOFS[i].ops & (1U << test->op)) != 0 && PROOFS[i].holds(test)) {
            return PROOFS[i].proof;
        }
    }
    return NULL;
}
