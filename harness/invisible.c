/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "invisible.h"

#include <string.h>

#include "plan.h"

#define PACK      (1U << GDN_OP_CONV_WEIGHT_PACK)
#define CONV1D    (1U << GDN_OP_CAUSAL_CONV1D)
#define GATING    (1U << GDN_OP_GDN_GATING)
#define DELTA     (1U << GDN_OP_GATED_DELTA_RULE)
#define ATTENTION (1U << GDN_OP_GDN_ATTENTION)

/* Ops that read a field, or in which a slip can be made; each with what others lack. */
static const struct {
    const char *field, *value; /* NULL: every value */
    unsigned ops;
    const char *proof; /* of the other ops */
} READERS[] = {
    {"qkvz_layout", NULL, ATTENTION, "the op has no projections"},
    {"head_map", NULL, DELTA | ATTENTION, "the op joins no heads"},
    {"state_access", NULL, DELTA | ATTENTION, "the op has no state"},
    {"spec_column", NULL, CONV1D | DELTA | ATTENTION, "the op has no state"},
    {"conv_window", NULL, CONV1D | ATTENTION, "the op has no convolution"},
    {"conv_anchor", NULL, CONV1D | ATTENTION, "the op has no convolution"},
    {"conv_product", NULL, CONV1D | ATTENTION, "the op has no convolution"},
    {"activation", NULL, CONV1D | ATTENTION, "the op has no convolution"},
    {"decay_order", NULL, DELTA | ATTENTION, "the op has no recurrence"},
    {"output_state", NULL, DELTA | ATTENTION, "the op has no recurrence"},
    {"delta_beta", NULL, DELTA | ATTENTION, "the op has no recurrence"},
    {"history", NULL, CONV1D | DELTA | ATTENTION, "the op has no history"},
    {"state_carry", NULL, DELTA | ATTENTION, "the op has no state"},
    {"gate_input", NULL, DELTA, "the op takes no ready gates"},
    {"beta_input", NULL, DELTA, "the op takes no ready beta"},
    {"beta_rounding", NULL, DELTA | ATTENTION, "the op makes no beta for itself"},
    {"l2norm_form", NULL, DELTA | ATTENTION, "the op has no keys"},
    {"l2norm_eps", NULL, DELTA | ATTENTION, "the op has no keys"},
    {"chunk_qk", NULL, DELTA | ATTENTION, "the op has no keys"},
    {"softplus_beta", NULL, GATING | DELTA | ATTENTION, "the op has no gates"},
    {"pad_sequences", NULL, DELTA | ATTENTION, "padding has no rows in the op's outputs"},
    {"pad_rows", NULL, ATTENTION, "rows of the op's outputs are all tokens"},
    {"stray_write", "slot0", CONV1D | DELTA | ATTENTION, "the op has no pool"},
    {"slip", "q_unscaled", DELTA | ATTENTION, "the op has no queries"},
    {"slip", "k_scaled", DELTA | ATTENTION, "the op has no keys"},
    {"slip", "l2norm_missing", DELTA | ATTENTION, "the op has no keys"},
    {"slip", "l2norm_mean", DELTA | ATTENTION, "the op has no keys"},
    {"slip", "dt_bias_missing", GATING | DELTA | ATTENTION, "the op has no gates"},
    {"slip", "gate_bf16", DELTA | ATTENTION, "the op hands no gates to a recurrence"},
    {"slip", "beta_bf16", DELTA | ATTENTION, "the op hands no beta to a recurrence"},
    {"slip", "ab_swapped", ATTENTION, "a and b do not come side by side"},
    {"slip", "qk_swapped", ATTENTION, "q and k do not come side by side"},
    {"slip", "z_from_v", ATTENTION, "the op has no z"},
    {"slip", "taps_reversed", CONV1D | ATTENTION, "the op has no convolution"},
    {"slip", "bias_missing", CONV1D | ATTENTION, "the op has no convolution"},
    {"slip", "bias_missing_in_decode", CONV1D | ATTENTION, "the op has no convolution"},
    {"slip", "flags_shifted", CONV1D | DELTA | ATTENTION, "the op has no flags"},
    {"slip", "tokens_unindexed", ATTENTION, "the op has no token index"},
    {"slip", "gates_unindexed", ATTENTION, "the op has no token index"},
    {"slip", "gate_base2", DELTA | ATTENTION, "the op hands no gates to a recurrence"},
    {"slip", "state_rounded", DELTA | ATTENTION, "the op has no state"},
    {"slip", "state_truncated", DELTA | ATTENTION, "the op has no state"},
    {"slip", "last_column_only", DELTA | ATTENTION, "the op has no state"},
    {"slip", "conv_axes_swapped", CONV1D | ATTENTION, "the op has no convolution"},
    {"slip", "conv_slot_unindexed", CONV1D | ATTENTION, "the op has no convolution"},
    {"slip", "weight_taken_for_plain", CONV1D | ATTENTION, "the op has no convolution"},
    {"slip", "weight_packed_twice", PACK, "the op packs no weight"},
    {"slip", "verify_from_first", CONV1D, "the op has no convolution with a buffer"},
    {"slip", "tree_ignored", CONV1D | DELTA, "the op takes no tree"},
    {"slip", "window_too_early", CONV1D | ATTENTION, "the op has no convolution"},
    {"slip", "line_shifted", CONV1D | ATTENTION, "the op has no convolution"},
    {"slip", "beta_row0", DELTA | ATTENTION, "the op reads each beta where it writes it"},
    {"slip", "buffer_by_slot", DELTA, "the op has no intermediate states"},
    {"slip", "pool_advanced", DELTA, "the op has no intermediate states"},
    {"slip", "pad_in_slot0", DELTA | ATTENTION, "the op skips padding"},
    {"slip", "pad_in_last", DELTA | ATTENTION, "the op skips padding"},
};

static int64_t key_heads(const gdn_case *test) {
    return test->num_k_heads / test->tp_size;
}

static bool has_spec(const gdn_case *test) {
    return test->columns > 0;
}

static bool no_spec(const gdn_case *test) {
    return !has_spec(test);
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

static bool no_tree(const gdn_case *test) {
    return test->tree == GDN_TREE_NONE;
}

static bool one_token(const gdn_case *test) {
    return gdn_case_tokens(test) == 1;
}

/* Sequences without drafts: how many of them hold for `has`. */
static size_t count_plain(const gdn_case *test, bool (*has)(const gdn_sequence *s)) {
    size_t n = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        n += test->sequences[i].kind != GDN_SEQ_SPEC && has(&test->sequences[i]);
    }
    return n;
}

static bool is_any(const gdn_sequence *s) {
    (void)s;
    return true;
}

static bool is_prefill(const gdn_sequence *s) {
    return s->kind == GDN_SEQ_PREFILL;
}

static bool is_padded(const gdn_sequence *s) {
    return s->padded;
}

static bool is_one_token(const gdn_sequence *s) {
    return s->length == 1;
}

static bool continues(const gdn_sequence *s) {
    return s->has_initial_state;
}

static bool is_fresh(const gdn_sequence *s) {
    return !s->has_initial_state;
}

static bool is_fresh_request(const gdn_sequence *s) {
    return !s->has_initial_state && !s->padded;
}

static bool only_spec(const gdn_case *test) {
    return count_plain(test, is_any) == 0;
}

static bool grouped(const gdn_case *test) {
    const bool one_group = !has_spec(test) || only_spec(test);
    return (test->order == GDN_ROWS_GROUPED && one_group) ||
           (test->order != GDN_ROWS_SCATTERED && test->n_sequences == 1);
}

static bool no_padding(const gdn_case *test) {
    return count_plain(test, is_padded) == 0;
}

static bool no_single_tokens(const gdn_case *test) {
    return count_plain(test, is_one_token) == 0;
}

static bool equal_flags(const gdn_case *test) {
    return test->initial == GDN_INITIAL_ABSENT || count_plain(test, continues) == 0 ||
           count_plain(test, is_fresh) == 0;
}

/* Padding has no state, and stores nothing. */
static bool none_fresh_beside_others(const gdn_case *test) {
    return test->initial == GDN_INITIAL_ABSENT || count_plain(test, continues) == 0 ||
           count_plain(test, is_fresh_request) == 0;
}

static bool all_from_zero(const gdn_case *test) {
    return !has_spec(test) && test->initial == GDN_INITIAL_NONE;
}

/* A decay has nothing to act on. */
static bool nothing_decays(const gdn_case *test) {
    return all_from_zero(test) && count_plain(test, is_one_token) == test->n_sequences;
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

static bool fused_gates(const gdn_case *test) {
    return !given_gates(test);
}

static bool given_decay(const gdn_case *test) {
    return given_gates(test) && test->conventions.gate_input == GDN_GATE_DECAY;
}

/* Whether some sequence runs as chunks: those without drafts, in calls that have prefills. */
static bool is_chunked(const gdn_case *test) {
    return test->op == GDN_OP_GATED_DELTA_RULE ? test->chunked
                                               : count_plain(test, is_prefill) > 0;
}

static bool unchunked(const gdn_case *test) {
    return !is_chunked(test);
}

/* Every beta comes from somewhere else: a tensor, or for chunk kernels gdn_gating. */
static bool no_own_beta(const gdn_case *test) {
    return test->op == GDN_OP_GATED_DELTA_RULE
               ? given_gates(test) && test->conventions.beta_input == GDN_BETA_VALUE
               : is_chunked(test) && !has_spec(test);
}

/* Whether the betas that an op makes for itself are rounded to T. */
static bool own_beta_rounded(const gdn_case *test) {
    const gdn_beta_rounding rounding = test->conventions.beta_rounding;
    return rounding == GDN_BETA_ROUNDED ||
           (rounding == GDN_BETA_THRICE_IN_DECODE && !has_spec(test));
}

static bool beta_in_bf16(const gdn_case *test) {
    const bool stored = test->conventions.beta_storage == GDN_BETA_ACTIVATION;
    const bool staged = no_own_beta(test);
    const bool mixed = test->op == GDN_OP_GDN_ATTENTION && is_chunked(test) && !staged;
    return test->dtype == GDN_BF16 && (staged ? stored : own_beta_rounded(test)) &&
           (!mixed || stored);
}

static bool given_unit_keys(const gdn_case *test) {
    return !test->l2norm;
}

/* A state is rounded between tokens: one token has no such place, and in a tree each one
 * reads what its parent stored, whatever the profile says of chains. */
static bool rounded_alike(const gdn_case *test) {
    return (!has_spec(test) && count_plain(test, is_one_token) == test->n_sequences) ||
           (only_spec(test) && test->tree != GDN_TREE_NONE);
}

static bool fp32_state(const gdn_case *test) {
    return test->state_dtype == GDN_FP32;
}

/* Drafts continue from the first column, whatever the count. */
static bool uncounted(const gdn_case *test) {
    return test->accepted == GDN_ACCEPTED_ABSENT ||
           (test->op == GDN_OP_CAUSAL_CONV1D &&
            test->conventions.spec_state == GDN_SPEC_BUFFER);
}

static bool all_from_first(const gdn_case *test) {
    for (size_t i = 0; i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        if (s->kind == GDN_SEQ_SPEC && s->accepted > 1 && !uncounted(test)) {
            return false;
        }
    }
    return true;
}

/* A count that is taken for an index stays in the row: of all columns it is the last. */
static bool counts_are_indices(const gdn_case *test) {
    for (size_t i = 0; i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        if (s->kind == GDN_SEQ_SPEC && s->accepted > 0 && s->accepted < test->columns &&
            !uncounted(test)) {
            return false;
        }
    }
    return true;
}

static int64_t line_rows(const gdn_case *test) {
    const int64_t needed = gdn_plan_conv_rows(test);
    return test->conv_rows > needed ? test->conv_rows : needed;
}

static bool line_is_history(const gdn_case *test) {
    return line_rows(test) == gdn_plan_conv_kept(test);
}

static bool one_anchor(const gdn_case *test) {
    return line_is_history(test) || test->conventions.conv_window == GDN_CONV_ROLLING ||
           (only_spec(test) && test->conventions.spec_state == GDN_SPEC_SLOTS);
}

static bool nothing_shifts(const gdn_case *test) {
    return line_is_history(test) || only_spec(test) || test->initial == GDN_INITIAL_NONE;
}

static bool one_line_row(const gdn_case *test) {
    return line_rows(test) == 1;
}

/* What a step with drafts stores goes elsewhere, or rolls. */
static bool stores_drafts_only(const gdn_case *test) {
    return only_spec(test) && (test->conventions.spec_state == GDN_SPEC_SLOTS ||
                               test->conventions.conv_window == GDN_CONV_ROLLING);
}

static bool no_idle_rows(const gdn_case *test) {
    return test->pad_rows == 0 &&
           (no_padding(test) || test->conventions.pad_sequences != GDN_PAD_SKIPPED);
}

static bool zeroed_anyway(const gdn_case *test) {
    return test->conventions.pad_rows == GDN_PAD_ROWS_ZEROED &&
           test->conventions.pad_sequences != GDN_PAD_FROM_ZERO;
}

/* `value` NULL: every value of the field. `ops`: where the reason holds. */
static const struct {
    const char *field, *value;
    unsigned ops;
    bool (*holds)(const gdn_case *test);
    const char *proof;
} PROOFS[] = {
    {"qkvz_layout", NULL, ATTENTION, one_key_head,
     "one key head on the rank: a group holds all heads, so both layouts are one"},
    {"head_map", NULL, DELTA | ATTENTION, one_map,
     "one key head, or a value head for each: both maps are one"},
    {"spec_column", NULL, CONV1D | DELTA | ATTENTION, one_column,
     "at most one draft column"},
    {"spec_column", "first", CONV1D | DELTA | ATTENTION, all_from_first,
     "every draft continues from the first column"},
    {"spec_column", "accepted", CONV1D | DELTA | ATTENTION, counts_are_indices,
     "every count is 0, not passed, or of all columns"},
    {"conv_window", NULL, CONV1D | ATTENTION, one_column, "at most one draft column"},
    {"conv_anchor", NULL, CONV1D | ATTENTION, one_anchor,
     "no line is longer than its history, or it rolls"},
    {"decay_order", "after_read", DELTA | ATTENTION, nothing_decays,
     "one token from a zero state: nothing decays"},
    {"history", NULL, CONV1D | DELTA | ATTENTION, all_from_zero,
     "every sequence starts from zero"},
    {"state_carry", NULL, DELTA | ATTENTION, fp32_state,
     "an fp32 state is no coarser than the arithmetic"},
    {"state_carry", NULL, DELTA | ATTENTION, rounded_alike,
     "one token a sequence, or a tree, which reads what parents stored"},
    {"gate_input", NULL, DELTA, fused_gates, "the op makes its gates"},
    {"gate_input", NULL, DELTA, nothing_decays,
     "one token from a zero state: nothing decays"},
    {"beta_input", NULL, DELTA, fused_gates, "the op makes its beta"},
    {"beta_rounding", NULL, DELTA | ATTENTION, no_own_beta,
     "beta comes ready made, or from gdn_gating"},
    {"l2norm_form", NULL, DELTA, given_unit_keys, "keys come normalised"},
    {"l2norm_eps", NULL, DELTA, given_unit_keys, "keys come normalised"},
    {"chunk_qk", NULL, DELTA | ATTENTION, unchunked, "no sequence runs in chunks"},
    {"softplus_beta", NULL, DELTA, given_gates, "the gates come ready made"},
    {"softplus_beta", NULL, DELTA | ATTENTION, nothing_decays,
     "one token from a zero state: nothing decays"},
    {"pad_sequences", NULL, DELTA | ATTENTION, no_padding, "no sequence is padded"},
    {"pad_sequences", "skipped", ATTENTION, zeroed_anyway,
     "rows that nobody computes are zeroed either way"},
    {"pad_rows", NULL, ATTENTION, no_idle_rows, "every row belongs to a sequence"},
    {"slip", "l2norm_missing", DELTA, given_unit_keys, "keys come normalised"},
    {"slip", "l2norm_mean", DELTA, given_unit_keys, "keys come normalised"},
    {"slip", "dt_bias_missing", DELTA, given_gates, "the gates come ready made"},
    {"slip", "dt_bias_missing", DELTA | ATTENTION, nothing_decays,
     "one token from a zero state: nothing decays"},
    {"slip", "gate_bf16", DELTA, given_decay, "the decay comes ready made"},
    {"slip", "gate_bf16", DELTA | ATTENTION, nothing_decays,
     "one token from a zero state: nothing decays"},
    {"slip", "beta_bf16", DELTA | ATTENTION, beta_in_bf16, "beta is in bf16 as it is"},
    {"slip", "bias_missing", CONV1D | ATTENTION, no_bias, "the convolution has no bias"},
    {"slip", "bias_missing_in_decode", CONV1D | ATTENTION, no_bias,
     "the convolution has no bias"},
    {"slip", "bias_missing_in_decode", CONV1D | ATTENTION, no_single_tokens,
     "no sequence is a decode"},
    {"slip", "flags_shifted", CONV1D | DELTA | ATTENTION, equal_flags,
     "all flags are the same"},
    {"slip", "tokens_unindexed", ATTENTION, grouped, "tokens lie in order"},
    {"slip", "gates_unindexed", ATTENTION, grouped, "tokens lie in order"},
    {"slip", "gate_base2", DELTA, given_decay, "the decay comes ready made"},
    {"slip", "gate_base2", DELTA | ATTENTION, nothing_decays, "nothing decays"},
    {"slip", "state_truncated", DELTA | ATTENTION, short_sequences,
     "no sequence has 64 tokens"},
    {"slip", "last_column_only", DELTA | ATTENTION, one_column, "at most one draft column"},
    {"slip", "conv_axes_swapped", CONV1D | ATTENTION, one_line_row,
     "a conv line of one row has one order"},
    {"slip", "conv_slot_unindexed", CONV1D | ATTENTION, stores_drafts_only,
     "only drafts are stored, by slots of their own"},
    {"slip", "verify_from_first", CONV1D, no_spec, "there are no drafts"},
    {"slip", "verify_from_first", CONV1D, line_is_history,
     "no line is longer than its history"},
    {"slip", "tree_ignored", CONV1D | DELTA, no_tree, "drafts are a chain"},
    {"slip", "window_too_early", CONV1D | ATTENTION, none_fresh_beside_others,
     "no fresh sequence stands beside one that has a state"},
    {"slip", "line_shifted", CONV1D | ATTENTION, nothing_shifts,
     "no line that is longer than its history moves on"},
    {"slip", "beta_row0", DELTA | ATTENTION, one_token, "row 0 is the only token"},
    {"slip", "buffer_by_slot", DELTA, no_spec, "there are no drafts"},
    {"slip", "pool_advanced", DELTA, no_spec, "there are no drafts"},
    {"slip", "pad_in_slot0", DELTA | ATTENTION, no_padding, "no sequence is padded"},
    {"slip", "pad_in_last", DELTA | ATTENTION, no_padding, "no sequence is padded"},
};

static bool is_about(const char *field, const char *value, const gdn_deviation *d) {
    return strcmp(field, d->field) == 0 &&
           (!value || (d->value && strcmp(value, d->value) == 0));
}

const char *gdn_invisible_proof(const gdn_deviation *deviation, const gdn_case *test) {
    const unsigned op = 1U << test->op;
    for (size_t i = 0; i < sizeof READERS / sizeof READERS[0]; i++) {
        if (is_about(READERS[i].field, READERS[i].value, deviation) &&
            (READERS[i].ops & op) == 0) {
            return READERS[i].proof;
        }
    }
    for (size_t i = 0; i < sizeof PROOFS / sizeof PROOFS[0]; i++) {
        if (is_about(PROOFS[i].field, PROOFS[i].value, deviation) &&
            (PROOFS[i].ops & op) != 0 && PROOFS[i].holds(test)) {
            return PROOFS[i].proof;
        }
    }
    return NULL;
}
