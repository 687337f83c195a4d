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
#include "gdn/verify_conventions.h"

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

/// What speculative decode keeps of the conv inputs (contracts vllm_xpu 3.2 and 3.3,
/// sglang_npu 2.0 and 2.6).
typedef enum gdn_conv_window {
    GDN_CONV_SNAPSHOT, ///< A: W-1 rows in the slot of each draft column
    GDN_CONV_SLIDING,  ///< B: one line of W-2+Q rows in the slot of column 0
    GDN_CONV_ROLLING,  ///< history in the line's last W-1 rows; all R rows roll on by Q
    GDN_CONV_WINDOWS,  ///< W-1 rows a slot; the window after each token in a tensor of its
                       ///< own
} gdn_conv_window;

/// Axes of the conv state pool.
typedef enum gdn_conv_state_order {
    GDN_CONV_STATE_SD, ///< [S,R,C]: channels contiguous
    GDN_CONV_STATE_DS, ///< [S,C,R]: rows contiguous
} gdn_conv_state_order;

/// Which rows of a line that is longer than the history hold it outside of speculation.
typedef enum gdn_conv_anchor {
    GDN_CONV_FIRST, ///< rows 0 .. W-2; those behind are left alone
    GDN_CONV_LAST,  ///< the last W-1 rows; those before are left alone
} gdn_conv_anchor;

/// Rows of history that are kept. A step needs W-1.
typedef enum gdn_conv_history {
    GDN_CONV_KEEPS_WINDOW, ///< W-1
    GDN_CONV_KEEPS_TAPS,   ///< W: the oldest one is kept and never used (FLA)
} gdn_conv_history;

/// Memory order of the conv weight.
typedef enum gdn_conv_weight {
    GDN_WEIGHT_CW,   ///< [C,W]
    GDN_WEIGHT_WC,   ///< [W,C]
    GDN_WEIGHT_VNNI, ///< [C,W] whose memory is [C/32][W/2][32][2]: conv_weight_pack's
                     ///< result
} gdn_conv_weight;

/// What a speculative sequence starts from, and where its states go.
typedef enum gdn_spec_state {
    GDN_SPEC_SLOTS,  ///< a slot of the pool for each draft column
    GDN_SPEC_BUFFER, ///< the pool is read only; a row of intermediate_state a column
} gdn_spec_state;

/// Rows of the intermediate tensors that sequence i of B owns.
typedef enum gdn_buffer_rows {
    GDN_BUFFER_BY_REQUEST, ///< i Q .. i Q + Q-1
    GDN_BUFFER_BY_INDEX,   ///< Q adjacent rows of any request's place
} gdn_buffer_rows;

/// What the tensor `g` holds.
typedef enum gdn_gate_input {
    GDN_GATE_LOG,   ///< the log decay, g <= 0
    GDN_GATE_DECAY, ///< the decay itself, exp(g)
} gdn_gate_input;

/// What the tensor `beta` of gated_delta_rule holds.
typedef enum gdn_beta_input {
    GDN_BETA_VALUE,  ///< sigmoid applied
    GDN_BETA_LOGITS, ///< sigmoid due
} gdn_beta_input;

/// Storage type of the tensor `beta`, and rounding of a beta that passes between stages.
typedef enum gdn_beta_storage {
    GDN_BETA_FP32,
    GDN_BETA_ACTIVATION, ///< T
} gdn_beta_storage;

/// Rounding of a beta that an op makes from its logits for itself: gated_delta_rule, and
/// gdn_attention in sequences that its chunk kernel does not get. Those of the chunk kernel
/// come from gdn_gating, by beta_storage and beta_tail.
typedef enum gdn_beta_rounding {
    GDN_BETA_UNROUNDED,
    GDN_BETA_ROUNDED, ///< to T, once
    /// To T after each of exp(-b), 1 + exp(-b) and the quotient, in sequences that are not
    /// speculative (contract vllm_cpu_and_metadata 1.0, derived and confirmed in section
    /// 6).
    GDN_BETA_THRICE_IN_DECODE,
} gdn_beta_rounding;

/// Rounding of the heads of gdn_gating behind the last 32 that fill a vector.
typedef enum gdn_beta_tail {
    GDN_TAIL_AS_OTHERS,
    GDN_TAIL_THRICE, ///< to T after each step, as above
} gdn_beta_tail;

/// Where eps of the l2 norm stands, and what it does.
typedef enum gdn_l2norm_form {
    GDN_L2NORM_INSIDE,  ///< x / sqrt(sum + eps)
    GDN_L2NORM_OUTSIDE, ///< x / (sqrt(sum) + eps)
    GDN_L2NORM_MAX,     ///< x / max(sqrt(sum), eps)
} gdn_l2norm_form;

/// Rounding of normalised keys and queries in chunked sequences.
typedef enum gdn_chunk_qk {
    GDN_CHUNK_QK_NONE,
    GDN_CHUNK_QK_STORAGE, ///< k and q to T, then the scale
    GDN_CHUNK_QK_SCALED,  ///< k to T; q scaled, then to T
} gdn_chunk_qk;

/// Which operand of a chunk's contribution to the state, sum_j exp(G_C - G_j) k_j v'_j^T, the
/// decay is multiplied into, and rounded with, where products run on matrix units. With
/// correlated keys the errors of keys weigh several times those of values. Moves no value, only
/// the noise floor.
typedef enum gdn_chunk_decay {
    GDN_CHUNK_DECAY_VALUES, ///< v': FLA and what descends from it
    GDN_CHUNK_DECAY_KEYS,   ///< k (contract vllm_cpu_and_metadata 1.4, step 8)
} gdn_chunk_decay;

/// What becomes of a sequence whose state index is a pad id.
typedef enum gdn_pad_sequences {
    GDN_PAD_REFUSED,   ///< not allowed in a call
    GDN_PAD_SKIPPED,   ///< no output row, no state is written
    GDN_PAD_ZEROED,    ///< output rows are 0, no state is written
    GDN_PAD_FROM_ZERO, ///< computed from a zero state, no state is written
} gdn_pad_sequences;

/// Rows of gdn_attention's outputs that belong to no sequence, or to a skipped one.
typedef enum gdn_pad_rows {
    GDN_PAD_ROWS_KEPT,
    GDN_PAD_ROWS_ZEROED,
} gdn_pad_rows;

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
    GDN_CARRY_CALL,   ///< never: rounded copies leave, the carried value stays
    GDN_CARRY_CHUNK,  ///< after every 64 tokens of a sequence
    GDN_CARRY_TOKEN,  ///< after every token
    GDN_CARRY_KERNEL, ///< after every 64 tokens of chunked sequences, every token of others
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

/// Single slips, each at one place of one op. Rows of the deviation table say what they
/// are.
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
    GDN_SLIP_TREE_IGNORED,
    GDN_SLIP_BUFFER_BY_SLOT,
    GDN_SLIP_POOL_ADVANCED,
    GDN_SLIP_PAD_IN_SLOT0,
    GDN_SLIP_PAD_IN_LAST,
    GDN_SLIP_BETA_ROW0,
    GDN_SLIP_CONV_AXES_SWAPPED,
    GDN_SLIP_CONV_SLOT_UNINDEXED,
    GDN_SLIP_WEIGHT_TAKEN_FOR_PLAIN,
    GDN_SLIP_WEIGHT_PACKED_TWICE,
    GDN_SLIP_VERIFY_FROM_FIRST,
    GDN_SLIP_WINDOW_TOO_EARLY,
    GDN_SLIP_LINE_SHIFTED,
    GDN_SLIP_BIAS_MISSING_IN_DECODE,
    GDN_SLIP_GATES_UNINDEXED,
    GDN_SLIP_GATE_BASE2,
} gdn_slip;

/// Arithmetic in which a backend of the profile computes; sets u in every limit. The matrix
/// classes round the operands of matrix products and add in fp32.
typedef enum gdn_numeric_class {
    GDN_CLASS_FP32,
    GDN_CLASS_FP64, ///< for checks of the reference against itself
    GDN_CLASS_TF32_MMA,
    GDN_CLASS_FP16_MMA,
    GDN_CLASS_BF16_MMA,
} gdn_numeric_class;

typedef struct gdn_conventions {
    gdn_qkvz_layout qkvz_layout;
    gdn_state_order state_order;
    gdn_state_access state_access;
    gdn_head_map head_map;
    gdn_conv_window conv_window;
    gdn_conv_state_order conv_state_order;
    gdn_conv_anchor conv_anchor;
    gdn_conv_history conv_history;
    gdn_conv_weight conv_weight;
    gdn_rounding conv_product; ///< each weight times its input, before the sum
    gdn_spec_state spec_state;
    gdn_buffer_rows buffer_rows;
    gdn_gate_input gate_input;
    gdn_beta_input beta_input;
    gdn_beta_storage beta_storage;
    gdn_beta_rounding beta_rounding;
    gdn_beta_tail beta_tail;
    gdn_l2norm_form l2norm_form;
    gdn_chunk_qk chunk_qk;
    gdn_chunk_decay chunk_decay;
    gdn_pad_sequences pad_sequences;
    gdn_pad_rows pad_rows;
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
    gdn_numeric_class numeric_class; ///< of everything but chunked sequences
    gdn_numeric_class chunk_class;   ///< of the recurrence in chunked sequences
    int pad_slot_id;   ///< state index of padding: what gdn_metadata writes, what ops see
    double l2norm_eps; ///< see gdn_l2norm_form
    double softplus_beta;      ///< softplus(x) = log(1 + exp(beta x)) / beta
    double softplus_threshold; ///< softplus(x) = x where beta x is above it
    /* Relative errors that the profile grants to a backend's intrinsics, in units of the
     * class's u; limits are built from them (bound.h). */
    double exp_error;
    double
        log_error; ///< of softplus's log; absolute, times ln 2, where the log is below that
    double rsqrt_error;
    double sigmoid_error;
    gdn_verify_conventions verify; ///< of draft verification; its fields have a table apart
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
    int correct;               ///< enums: values from this number on are wrong
    int shipped; ///< enums: wrong values below this one are defects that some kernel ships;
                 ///< a profile may use them, and slips, which are all the others, never
    double low, high; ///< ints and reals: closed range
    const char *what; ///< one line for `list` and for error messages
} gdn_convention_field;

/// The table, one row a field of gdn_conventions, in its order.
const gdn_convention_field *gdn_convention_fields(size_t *count);

/// The fields of gdn_conventions.verify, "verify.window" and so on.
const gdn_convention_field *gdn_verify_fields(size_t *count);
const gdn_convention_field *gdn_verify_field_find(const char *name);

/// The first field of verification whose value is wrong; NULL if all are right.
const gdn_convention_field *gdn_conventions_defect(const gdn_conventions *conventions);

/// Of both tables; NULL if there is no such field.
const gdn_convention_field *gdn_convention_field_find(const char *name);

/// vLLM XPU's native path with sliding windows: the base that profiles are written against.
gdn_conventions gdn_conventions_default(void);

/// Fields that contradict each other: GDN_ERR_ARG names both, their values and what is
/// allowed.
GDN_NODISCARD gdn_status gdn_conventions_check(const gdn_conventions *conventions,
                                               gdn_error *err);

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
