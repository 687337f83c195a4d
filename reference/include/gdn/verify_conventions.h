/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What backends disagree on when they verify drafts (contract draft_verification). In each
 * enum the first value is what a correct op does; "defect" marks what some kernel ships
 * although it is wrong, "slip" what nobody ships on purpose. A profile may choose defects,
 * to say what its kernel does as shipped; the report then never calls them a pass. */
#ifndef GDN_VERIFY_CONVENTIONS_H
#define GDN_VERIFY_CONVENTIONS_H

#ifdef __cplusplus
extern "C" {
#endif

/// Where a scan goes on after verify_window drafts were accepted in bulk.
typedef enum gdn_verify_window {
    GDN_WINDOW_RESUME,
    GDN_WINDOW_SKIP_ONE, ///< defect: one position is neither verified nor written (2.4)
} gdn_verify_window;

/// What step_output_len counts.
typedef enum gdn_verify_length {
    GDN_LENGTH_WRITTEN,
    GDN_LENGTH_ONE_MORE, ///< defect: one too many after a stop among the drafts (2.3, GPU)
    GDN_LENGTH_ACCEPTED, ///< slip: drafts without the final token
} gdn_verify_length;

/// Cells of step_output_ids that the op has nothing to write to.
typedef enum gdn_verify_padding {
    GDN_PADDING_MINUS_ONE,
    GDN_PADDING_UNTOUCHED,
    GDN_PADDING_ZERO, ///< slip
} gdn_verify_padding;

/// Slots whose length is cleared before anything else.
typedef enum gdn_verify_cleared {
    GDN_CLEARED_ALL,
    GDN_CLEARED_LIVE, ///< defect: slots beyond real_bsz keep stale lengths (XPU-A)
} gdn_verify_cleared;

/// Whether the op knows max_dec_len and step_idx. Read by who builds calls: the op follows
/// its arguments.
typedef enum gdn_verify_limits {
    GDN_LIMITS_GIVEN,
    GDN_LIMITS_ABSENT,
} gdn_verify_limits;

/// accept_all over a draft that is an end token.
typedef enum gdn_verify_forced_end {
    GDN_FORCED_END_STOPS,
    GDN_FORCED_END_TOKEN_5, ///< defect: replaced by the literal 5, and the scan goes on
    GDN_FORCED_END_GOES_ON, ///< slip: emitted, and the scan goes on
} gdn_verify_forced_end;

typedef enum gdn_verify_ends {
    GDN_ENDS_ALL,
    GDN_ENDS_FIRST_32, ///< defect: ids beyond the 32nd are ignored (XPU-B)
    GDN_ENDS_FIRST,    ///< slip: the first one only
} gdn_verify_ends;

/// Where the draws of an op come from.
typedef enum gdn_verify_draws {
    GDN_DRAWS_INJECTED, ///< they are arguments: the op is a function
    GDN_DRAWS_INTERNAL, ///< the op makes them, from `seed` if it can; what stands in those
                        ///< arguments means nothing, and results are judged by their law
} gdn_verify_draws;

/// What the uniform of a top-p draw is multiplied with.
typedef enum gdn_verify_draw_scale {
    GDN_DRAW_TOP_P,
    GDN_DRAW_CAPPED, ///< min(sum of scores, top_p); in speculate_verify only
    GDN_DRAW_ONE,    ///< slip: the plain uniform
} gdn_verify_draw_scale;

/// Whose uniform a slot of speculate_verify uses.
typedef enum gdn_verify_draw_index {
    GDN_DRAW_OF_SLOT,
    GDN_DRAW_OF_FIRST,    ///< defect: element 0 for every slot (legacy XPU)
    GDN_DRAW_OF_POSITION, ///< defect: element of the draft position (legacy CPU)
} gdn_verify_draw_index;

/// Length of a candidate row whose scores do not reach top_p.
typedef enum gdn_verify_short_mass {
    GDN_SHORT_ALL,
    GDN_SHORT_NONE,       ///< 0
    GDN_SHORT_ALL_AT_ONE, ///< 0, but all where top_p is 1
    GDN_SHORT_UNWRITTEN,  ///< defect: the length is left as it was (XPU)
} gdn_verify_short_mass;

typedef enum gdn_verify_nucleus {
    GDN_NUCLEUS_ONCE,
    GDN_NUCLEUS_FIRST_TWICE, ///< defect: the largest is added again (XPU big_n)
    GDN_NUCLEUS_EXCLUSIVE,   ///< slip: the crossing token is left out
} gdn_verify_nucleus;

/// Accounting of a bulk accept in speculate_verify.
typedef enum gdn_verify_bulk_count {
    GDN_BULK_STEPWISE,
    GDN_BULK_UPFRONT, ///< defect: counted before the tokens are looked at (3.2, 4)
} gdn_verify_bulk_count;

/// Where update_model_status puts generated tokens into the history.
typedef enum gdn_verify_history {
    GDN_HISTORY_BEHIND_PROMPT, ///< token k at prompt_len + k
    GDN_HISTORY_ONE_LATER,     ///< GPU: at prompt_len + k + 1
} gdn_verify_history;

typedef enum gdn_verify_seed_modulus {
    GDN_SEED_INT64, ///< 9223372036854775806
    GDN_SEED_INT32, ///< 2147483647, where the modulo is 32 bits wide
} gdn_verify_seed_modulus;

/// The test of a drawn draft, with p, q the laws and u the uniform.
typedef enum gdn_verify_accept {
    GDN_ACCEPT_RATIO,  ///< p/q >= u (vLLM v1)
    GDN_ACCEPT_STRICT, ///< p > u q
} gdn_verify_accept;

/// Rule by which blocks are verified.
typedef enum gdn_verify_block {
    GDN_BLOCK_SUN,           ///< contract 1.7
    GDN_BLOCK_PRODUCT_TORCH, ///< defect: min(ratio, 1) multiplied up (ascend, 9.5)
    GDN_BLOCK_PRODUCT_FUSED, ///< defect: min(product, 1) at each step (ascend, 9.5)
} gdn_verify_block;

/// The test of a tree node, with acc the mass of the siblings so far.
typedef enum gdn_verify_tree_accept {
    GDN_TREE_POSITIVE,    ///< p > 0 and (coin < acc / thr_acc or p >= thr_single)
    GDN_TREE_INCLUSIVE,   ///< coin <= acc / thr_acc or p >= thr_single
    GDN_TREE_FRESH_COINS, ///< slip: every sibling is tossed for with a coin of its own
} gdn_verify_tree_accept;

/// How a tree is walked.
typedef enum gdn_verify_tree_walk {
    GDN_TREE_LINKED,
    GDN_TREE_CHAIN,       ///< defect: node i follows node i-1, whatever the links say (NPU)
    GDN_TREE_FIRST_CHILD, ///< slip: siblings are never tried
} gdn_verify_tree_walk;

/// The scratch of rejected siblings (draft_probs).
typedef enum gdn_verify_scratch {
    GDN_SCRATCH_CLEARED, ///< by the op
    GDN_SCRATCH_TRUSTED, ///< by the caller
} gdn_verify_scratch;

/// An inverse CDF whose uniform lies beyond the total.
typedef enum gdn_verify_overshoot {
    GDN_OVERSHOOT_LAST_POSITIVE,
    GDN_OVERSHOOT_LAST_ID, ///< defect: id V-1, whatever its mass
} gdn_verify_overshoot;

/// What accept_token_num counts.
typedef enum gdn_verify_accept_count {
    GDN_COUNT_DRAFTS,
    GDN_COUNT_WITH_BONUS, ///< slip
} gdn_verify_accept_count;

/// Who sets tree links to -1 before they are written.
typedef enum gdn_verify_links {
    GDN_LINKS_CLEARED, ///< the op
    GDN_LINKS_TRUSTED, ///< the caller
} gdn_verify_links;

/// Rows of the query-only tree mask.
typedef enum gdn_verify_mask_rows {
    GDN_MASK_ROWS_DISTINCT,
    GDN_MASK_ROWS_COLLIDE, ///< defect: all rows of a request at one place (NPU)
} gdn_verify_mask_rows;

/// How the states of accepted tokens become the live ones.
typedef enum gdn_verify_commit {
    GDN_COMMIT_MOVE,  ///< snapshots are copied to the request's slot (sglang)
    GDN_COMMIT_INDEX, ///< the slot of the accepted column becomes the live one (vLLM)
} gdn_verify_commit;

/// The same for conv windows.
typedef enum gdn_verify_conv_commit {
    GDN_CONV_COMMIT_ROLLBACK, ///< rows move up by the rejected ones (sglang NPU)
    GDN_CONV_COMMIT_SCATTER,  ///< the window of the accepted step is copied (sglang GPU)
} gdn_verify_conv_commit;

/// Single slips. Rows of the deviation table say what they are.
typedef enum gdn_verify_slip {
    GDN_VERIFY_SLIP_NONE,
    GDN_VERIFY_SLIP_CONSTANT_DRAW,
    GDN_VERIFY_SLIP_REJECT_SAMPLES_TARGET,
    GDN_VERIFY_SLIP_DRAW_REUSED,
    GDN_VERIFY_SLIP_STARTS_INCLUSIVE,
    GDN_VERIFY_SLIP_DRAFT_SHIFTED,
    GDN_VERIFY_SLIP_LIMIT_LATE,
    GDN_VERIFY_SLIP_PREFILL_VERIFIED,
    GDN_VERIFY_SLIP_THINKING_VERIFIED,
    GDN_VERIFY_SLIP_PREFILL_ROW_FIRST,
    GDN_VERIFY_SLIP_SIBLINGS_DESCEND,
    GDN_VERIFY_SLIP_COIN_OF_LEVEL,
    GDN_VERIFY_SLIP_BONUS_MISSING,
    GDN_VERIFY_SLIP_COMMIT_OFF_BY_ONE,
    GDN_VERIFY_SLIP_COMMIT_STALE,
    GDN_VERIFY_SLIP_COMMIT_PADDED,
    GDN_VERIFY_SLIP_SEED_STRIDE_ONE,
    GDN_VERIFY_SLIP_DECODE_FIRST,
    GDN_VERIFY_SLIP_STEP_NOT_COUNTED,
    GDN_VERIFY_SLIP_TIES_TO_LARGER,
    GDN_VERIFY_SLIP_SEED_FIXED,
    GDN_VERIFY_SLIP_SEED_SHARED,
    GDN_VERIFY_SLIP_SEED_LINEAR,
} gdn_verify_slip;

typedef struct gdn_verify_conventions {
    gdn_verify_window window;
    gdn_verify_length length;
    gdn_verify_padding padding;
    gdn_verify_cleared cleared;
    gdn_verify_limits limits;
    gdn_verify_forced_end forced_end;
    gdn_verify_ends ends;
    gdn_verify_draws draws;
    gdn_verify_draw_scale draw_scale;
    gdn_verify_draw_scale legacy_scale;
    gdn_verify_draw_index legacy_draw;
    gdn_verify_short_mass short_mass;
    gdn_verify_nucleus nucleus;
    gdn_verify_bulk_count bulk_count;
    gdn_verify_history history_index;
    gdn_verify_seed_modulus seed_modulus;
    gdn_verify_accept accept;
    gdn_verify_block block;
    gdn_verify_tree_accept tree_accept;
    gdn_verify_tree_walk tree_walk;
    gdn_verify_scratch scratch;
    gdn_verify_overshoot overshoot;
    gdn_verify_accept_count accept_count;
    gdn_verify_links links;
    gdn_verify_mask_rows mask_rows;
    gdn_verify_commit commit;
    gdn_verify_conv_commit conv_commit;
    gdn_verify_slip slip;
    double entropy_alpha; ///< ascend's entropy_verify: u * min(exp(-alpha H), threshold)
    double entropy_threshold; ///< H in nats over the target law
} gdn_verify_conventions;

#ifdef __cplusplus
}
#endif

#endif
