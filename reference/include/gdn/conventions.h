/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What backends disagree on. The recurrence is one; a backend is a value of this struct,
 * and so is a bug: most real GDN bugs are one of these fields obeyed wrongly. Profiles
 * (suites/profiles/) set the fields, deviations (deviation.h) set them wrongly, the
 * reference honours all of them, and nothing else in the project knows a backend by name.
 */
#ifndef GDN_CONVENTIONS_H
#define GDN_CONVENTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gdn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Columns of the fused projections (contract vllm_xpu 2.1).
typedef enum gdn_qkvz_layout {
    GDN_QKVZ_INTERLEAVED, ///< a group a key head: [q k v.. z..], [b.. a..]; Qwen3-Next
    GDN_QKVZ_SEPARATE,    ///< [q of all heads, k, v, z], [b, a]; Qwen3.5
} gdn_qkvz_layout;

/// Memory order of one head's state; S is K x V in the mathematics.
typedef enum gdn_state_order {
    GDN_STATE_VK, ///< [.., V, K]: K contiguous
    GDN_STATE_KV, ///< [.., K, V]: V contiguous
} gdn_state_order;

/// Whether the state memory is read and written in its declared order.
typedef enum gdn_state_access {
    GDN_ACCESS_DECLARED,
    GDN_ACCESS_TRANSPOSED, ///< slip: the head's block taken for the other order
} gdn_state_access;

/// Key head of value head hv, with r = HV / HK.
typedef enum gdn_head_map {
    GDN_HEADS_GROUPED, ///< hv div r
    GDN_HEADS_TILED,   ///< hv mod HK (ggml)
} gdn_head_map;

/// What speculative decode keeps of the conv inputs (contract vllm_xpu 3.2 and 3.3).
typedef enum gdn_conv_window {
    GDN_CONV_SNAPSHOT, ///< A: W-1 rows in the slot of each draft column
    GDN_CONV_SLIDING,  ///< B: one line of W-2+Q rows in the slot of column 0
} gdn_conv_window;

/// Column of its slot row that a speculative sequence starts from.
typedef enum gdn_spec_column {
    GDN_SPEC_ACCEPTED_MINUS_ONE, ///< max(accepted - 1, 0): the count holds the bonus token
    GDN_SPEC_ACCEPTED,           ///< slip: the count taken for an index
    GDN_SPEC_FIRST,              ///< slip: column 0 always
} gdn_spec_column;

/// Where the decay stands in one token's step.
typedef enum gdn_decay_order {
    GDN_DECAY_BEFORE_READ,  ///< S = a S, then the delta reads S
    GDN_DECAY_AFTER_READ,   ///< slip: the delta reads S before the decay
    GDN_DECAY_AFTER_UPDATE, ///< slip: the new outer product decays too
} gdn_decay_order;

/// Which state the output reads.
typedef enum gdn_output_state {
    GDN_OUTPUT_UPDATED, ///< o = S^T q after the update
    GDN_OUTPUT_DECAYED, ///< slip: before it
} gdn_output_state;

/// Whether the start state and the conv history reach the computation.
typedef enum gdn_history {
    GDN_HISTORY_HONOURED, ///< as has_initial_state says
    GDN_HISTORY_IGNORED,  ///< slip: every sequence starts from zero
} gdn_history;

/// Whether an intermediate value passes through storage.
typedef enum gdn_rounding {
    GDN_ROUND_NONE,    ///< kept in the arithmetic's own precision
    GDN_ROUND_STORAGE, ///< rounded to the activation type T
} gdn_rounding;

/// How often the carried state passes through its storage type within a call.
typedef enum gdn_state_carry {
    GDN_CARRY_CALL,  ///< never: rounded copies leave, the carried value stays
    GDN_CARRY_CHUNK, ///< after every 64 tokens of a sequence
    GDN_CARRY_TOKEN, ///< after every token
} gdn_state_carry;

typedef enum gdn_activation { GDN_ACTIVATION_SILU, GDN_ACTIVATION_NONE } gdn_activation;

typedef enum gdn_delta_beta {
    GDN_BETA_APPLIED,
    GDN_BETA_OMITTED, ///< slip
} gdn_delta_beta;

/// Revision of vLLM's GDN metadata builder (contract vllm_cpu_and_metadata 3.1, 3.2).
typedef enum gdn_metadata_rules {
    GDN_METADATA_EARLY, ///< decodes stay decodes beside spec rows; empty rows are prefills
    GDN_METADATA_MID,   ///< decodes beside spec rows become prefills; empty rows uncounted
    GDN_METADATA_LATE,  ///< as mid, and a fresh one-token prompt is a prefill
} gdn_metadata_rules;

/// Stray writes, so that guards and foreign slots are proved to be watched.
typedef enum gdn_stray_write {
    GDN_STRAY_NONE,
    GDN_STRAY_SLOT0, ///< slip: one element of slot 0 of every state pool
    GDN_STRAY_GUARD, ///< slip: one element past the end of the main output
} gdn_stray_write;

/// Single slips, each at one place of one op. Rows of the deviation table say what they are.
typedef enum gdn_slip {
    GDN_SLIP_NONE,
    GDN_SLIP_Q_UNSCALED,
    GDN_SLIP_K_SCALED,
    GDN_SLIP_L2NORM_MISSING,
    GDN_SLIP_L2NORM_MEAN,
    GDN_SLIP_DT_BIAS_MISSING,
    GDN_SLIP_GATE_BF16,
    GDN_SLIP_BETA_BF16,
    GDN_SLIP_AB_SWAPPED,
    GDN_SLIP_QK_SWAPPED,
    GDN_SLIP_Z_FROM_V,
    GDN_SLIP_TAPS_REVERSED,
    GDN_SLIP_BIAS_MISSING,
    GDN_SLIP_FLAGS_SHIFTED,
    GDN_SLIP_TOKENS_UNINDEXED,
    GDN_SLIP_STATE_ROUNDED,
    GDN_SLIP_STATE_TRUNCATED,
    GDN_SLIP_LAST_COLUMN_ONLY,
} gdn_slip;

/// Arithmetic in which a backend of the profile computes; sets u in every limit.
typedef enum gdn_numeric_class {
    GDN_CLASS_FP32,
    GDN_CLASS_FP64, ///< for checks of the reference against itself
} gdn_numeric_class;

typedef struct gdn_conventions {
    gdn_qkvz_layout qkvz_layout;
    gdn_state_order state_order;
    gdn_state_access state_access;
    gdn_head_map head_map;
    gdn_conv_window conv_window;
    gdn_spec_column spec_column;
    gdn_decay_order decay_order;
    gdn_output_state output_state;
    gdn_history history;
    gdn_delta_beta delta_beta;
    gdn_activation activation;
    gdn_rounding conv_output; ///< y after SiLU
    gdn_state_carry state_carry;
    gdn_metadata_rules metadata_rules;
    gdn_stray_write stray_write;
    gdn_slip slip;
    gdn_numeric_class numeric_class;
    int pad_slot_id;           ///< what gdn_metadata writes into padded state rows: -1 or 0
    double l2norm_eps;         ///< added to the sum of squares, inside the root
    double softplus_threshold; ///< softplus(x) = x above it
    /* Relative errors that the profile grants to a backend's intrinsics, in units of the
     * class's u; limits are built from them (bound.h). */
    double exp_error;
    double rsqrt_error;
    double sigmoid_error;
} gdn_conventions;

typedef enum gdn_field_kind {
    GDN_FIELD_ENUM,
    GDN_FIELD_INT,
    GDN_FIELD_REAL
} gdn_field_kind;

/// One row of the field table: how text (JSON, options, deviation files) reaches the
/// struct.
typedef struct gdn_convention_field {
    const char *name;
    gdn_field_kind kind;
    size_t offset;
    const char *const *values; ///< enum names in order of their numbers, NULL-terminated
    int correct; ///< enums: values from this number on are slips; no profile may use them
    double low, high; ///< ints and reals: closed range
    const char *what; ///< one line for `list` and for error messages
} gdn_convention_field;

/// The table, one row a field of gdn_conventions, in its order.
const gdn_convention_field *gdn_convention_fields(size_t *count);

/// NULL if there is no such field.
const gdn_convention_field *gdn_convention_field_find(const char *name);

/// vLLM XPU's native path with sliding windows: the base that profiles are written against.
gdn_conventions gdn_conventions_default(void);

/// Sets one field from text. GDN_ERR_ARG names the field, the value and what is allowed.
GDN_NODISCARD gdn_status gdn_conventions_set(gdn_conventions *conventions,
                                             const char *field, const char *value,
                                             gdn_error *err);

/// Writes one field as text ("interleaved", "1e-06"); returns the length as snprintf does.
int gdn_conventions_get(const gdn_conventions *conventions,
                        const gdn_convention_field *field, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
