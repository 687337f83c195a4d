/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to reference/: what the ops of draft verification share. Integers never pass
 * through doubles: token ids and seeds may be larger than 2^53. */
#ifndef GDNP_VERIFY_H
#define GDNP_VERIFY_H

#include "gdn/verify.h"
#include "ops.h"

/* The values of the call's inputs; shapes are right. GDN_ERR_ARG names what is not. */
GDN_NODISCARD gdn_status gdnp_verify_check(const gdn_call *call, gdn_error *err);

/* The op of the call. */
GDN_NODISCARD gdn_status gdnp_verify_run(const gdn_call *call, gdn_output *outputs,
                                         gdn_error *err);

/* Runs an op with draws of its own in place of the call's. */
GDN_NODISCARD gdn_status gdnp_verify_draw(const gdn_call *call, gdn_output *outputs,
                                          void (*run)(const gdn_call *, gdn_output *),
                                          gdn_error *err);

void gdnp_verify_draft_tokens(const gdn_call *call, gdn_output *outputs);
void gdnp_top_p_candidates(const gdn_call *call, gdn_output *outputs);
void gdnp_adjust_batch(const gdn_call *call, gdn_output *outputs);
void gdnp_gather_next_token(const gdn_call *call, gdn_output *outputs);
void gdnp_build_sampling_params(const gdn_call *call, gdn_output *outputs);
void gdnp_speculate_verify(const gdn_call *call, gdn_output *outputs);
void gdnp_unified_update(const gdn_call *call, gdn_output *outputs);
void gdnp_naive_update(const gdn_call *call, gdn_output *outputs);
void gdnp_rejection_sample(const gdn_call *call, gdn_output *outputs);
void gdnp_verify_tree_greedy(const gdn_call *call, gdn_output *outputs);
void gdnp_tree_sampling(const gdn_call *call, gdn_output *outputs);
void gdnp_chain_sampling(const gdn_call *call, gdn_output *outputs);
void gdnp_build_tree(const gdn_call *call, gdn_output *outputs);
void gdnp_state_commit(const gdn_call *call, gdn_output *outputs);

static inline const gdn_tensor *gdnp_in(const gdn_call *call, const char *name) {
    return gdn_call_tensor(call, name);
}

/* Element of an integer tensor of rank 1 or 2. */
static inline int64_t gdnp_int(const gdn_tensor *t, int64_t i, int64_t j) {
    return gdn_tensor_int(t, i, j);
}

/* Element of a float tensor of rank 1 to 3. */
double gdnp_real(const gdn_tensor *t, int64_t i, int64_t j, int64_t k);

/* Writes an integer and marks its row; accepts NULL. */
void gdnp_put_int(gdn_output *output, int64_t i, int64_t j, int64_t value);

/* Copies `count` elements of the last dimension, bit by bit, and marks row `row`. */
void gdnp_put_bits(gdn_output *output, int64_t row, int64_t at, const gdn_tensor *from,
                   int64_t from_at, int64_t count);

/* Whether `token` ends a sequence. */
bool gdnp_is_end(const gdn_tensor *end_tokens, const gdn_verify_conventions *v,
                 int64_t token);

/* The top-p draw from a candidate row (contract 2.2, FINAL): the first k of `length` whose
 * running fp32 sum reaches u * scale, else candidate 0. */
int64_t gdnp_draw_candidate(const gdn_tensor *ids, const gdn_tensor *scores, int64_t row,
                            int64_t length, float u, float top_p,
                            gdn_verify_draw_scale rule);

/* Inverse CDF over `count` weights in fp32: the first whose running sum exceeds u * total.
 * None: the last with a positive weight, or, if all are 0, the last. */
typedef double (*gdnp_weight)(const void *law, int64_t i);
int64_t gdnp_draw_weights(gdnp_weight weight, const void *law, int64_t count, double u,
                          const gdn_verify_conventions *v);

/* Most columns of a slot: drafts + 1. */
#define GDNP_MOST_STEP_TOKENS 1024

static inline int64_t gdnp_min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

#endif
