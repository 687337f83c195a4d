/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The ops of draft verification: which drafted tokens stand (contract draft_verification;
 * sglang_npu 7 to 10). Arguments carry the upstream names; `u`, `uniform...`, `exponential`
 * and `coins` are draws that upstream makes itself and that are inputs here, so that every
 * op is a function. Shapes go by letters, lower case for one more:
 *   B slots or requests  R live slots, R <= B  S columns of a slot  T target rows
 *   C candidates  E end tokens  V vocabulary  N drafts of all requests  J drafts + 1
 *   D nodes of a tree  M columns of a path  P = B*D  G = D-1  Q parents  H history
 *   Y mask elements  L layers  I state slots  Z scratch requests  A steps  X row elements
 *   W window rows  F, K encoder and decoder slots  O output rows  U = 1
 * reference/VERIFY.md says what each op does and which reading of the contract was taken.
 *
 * verify_draft_tokens slot-wise: TOPP, GREEDY, TARGET_MATCH (contract 2) top_p_candidates
 * the C most probable tokens and their nucleus (contract 4) adjust_batch token rows of
 * prefills first, then of decodes (contract 6) gather_next_token the rows that predict a
 * next token (contract 6) build_sampling_params one row of sampling parameters a target row
 * (contract 5.2) speculate_verify verification and status update in one, legacy (contract
 * 3) unified_update_model_status, naive_update_model_status (contract 5.3) rejection_sample
 * vLLM's, token-wise and block-wise (contract 7, 9) verify_tree_greedy,
 * tree_speculative_sampling, chain_speculative_sampling, build_tree sglang's (contract 8)
 * state_commit which states are live after verification (sglang_npu 7) */
#ifndef GDN_VERIFY_H
#define GDN_VERIFY_H

#include "gdn/call.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `seed` is there under verify.draws internal only: one number a request, from which an op
 * that can makes its draws; no two calls of a test have the same. */

/// verify_strategy of verify_draft_tokens.
enum { GDN_STRATEGY_TOPP, GDN_STRATEGY_GREEDY, GDN_STRATEGY_TARGET_MATCH };

/// compare of speculate_verify: what a draft is held against.
enum { GDN_COMPARE_CANDIDATES, GDN_COMPARE_BEST, GDN_COMPARE_SAMPLED };

/// method of rejection_sample.
enum {
    GDN_REJECT_STANDARD,  ///< token by token (1.1)
    GDN_REJECT_BLOCK,     ///< the conventions' block rule (1.7)
    GDN_REJECT_MATCH,     ///< vLLM's "strict": against pre-sampled targets (1.3)
    GDN_REJECT_SYNTHETIC, ///< at given rates (7.2, 8)
    GDN_REJECT_ENTROPY,   ///< ascend's lowered uniforms (9, 4)
};

/// tree_mask_mode of build_tree.
enum { GDN_MASK_FULL, GDN_MASK_QUERY, GDN_MASK_PACKED };

/// `op` is one of draft verification.
const gdn_op_info *gdn_verify_op_get(gdn_op op);

/// Smallest and largest value of a scalar of these ops; false if none has this name.
bool gdn_verify_scalar_range(const char *name, int64_t *low, int64_t *high);

/// Sizes by letter.
typedef struct gdn_verify_sizes {
    int64_t of['Z' + 1]; ///< -1: not known
} gdn_verify_sizes;

/// Checks types and shapes of a call whose names are right and learns its sizes; tensors
/// may have no data. GDN_ERR_ARG names the argument, what was expected and what was found.
GDN_NODISCARD gdn_status gdn_verify_check_shapes(const gdn_call *call,
                                                 gdn_verify_sizes *sizes, gdn_error *err);

#ifdef __cplusplus
}
#endif

#endif
