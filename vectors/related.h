/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The calls that a relation asks for. Call 0 is the case itself; the others are made of the
 * same logical numbers (fill.h): tokens and start states keep theirs in whatever batch, row
 * and slot they stand. Each call says where an earlier one has the same outputs.
 *
 *   split              each sequence in two calls, the second from the states of the first
 *   permuted           the requests in the reverse order
 *   relabelled         other slots of the pools
 *   alone              one call a request
 *   batch_invariant    behind as many strangers; every other request only
 *   unpadded           without padded requests and rows
 *   scaled             v and start states times 8
 *   decode_is_prefill  a call a token
 *   mixed_is_separate  prefills, decodes and speculative sequences apart
 *   verify_is_decode   two speculative steps, the second after some accepted drafts, and
 *                      what decodes make of the tokens that stand
 *   repeated           the same call again
 *   heads_permuted     heads rotated; lanes_permuted: value dimensions reversed
 *   requeried          other queries: states must not care
 *   recalled           beta 1 and q = k: out is v K^-1/2, what the delta rule is for
 *   commuted           a and dt_bias, which are added, change places (one token)
 *   reused             the same call again, after one of other shape: what a device keeps
 *                      from call to call must fit the next one */
#ifndef GDN_RELATED_H
#define GDN_RELATED_H

#include "plan.h"
#include "problem.h"

/// What is the same in an earlier call; `call` < 0: nothing.
typedef struct gdn_same {
    int call;
    int64_t at; ///< token in its local order, sequence * columns + column, or row
} gdn_same;

/// A sequence of a call, and its ties to earlier ones.
typedef struct gdn_related_sequence {
    gdn_sequence sequence;
    int call, origin; ///< where it has the same outputs: call (-1: nowhere) and sequence
    int64_t token;    ///< token of that sequence that its own first token is
    int64_t column;   ///< column there that its column 0 is; GDN_NO_STATE, GDN_ALL_COLUMNS
    int from_call, from; ///< call and sequence whose states it starts from; -1: its own
} gdn_related_sequence;

#define GDN_NO_STATE    (-1)
#define GDN_ALL_COLUMNS (-2)

typedef struct gdn_related_call {
    gdn_case test; ///< borrows all texts of the case; owns `sequences`
    gdn_plan plan;
    gdn_problem problem;
    gdn_related_sequence *ties; ///< one a sequence
    int64_t *row_tokens;        ///< [plan.rows]: token in its local order, -1: padding
    gdn_same *tokens;           ///< [plan.tokens]
    gdn_same *states;           ///< [sequences * columns]
} gdn_related_call;

typedef struct gdn_related {
    gdn_relation relation;
    gdn_related_call *calls;
    size_t n_calls;
} gdn_related;

/// Builds every call of the case's relation with the inputs of its fill. A case that its
/// relation has no place in is GDN_ERR_ARG. If GDN_OK is returned the caller destroys it;
/// the case must outlive it.
GDN_NODISCARD gdn_status gdn_related_create(gdn_related *related, const gdn_case *test,
                                            gdn_error *err);

/// Accepts a zeroed one.
void gdn_related_destroy(gdn_related *related);

/// Puts the inputs of call `index` in place: those of the fill, and the states that it
/// continues from as the arenas of earlier calls have them now.
void gdn_related_prepare(gdn_related *related, size_t index);

/// Where an output row has the same values in an earlier call; `tensor` NULL: nowhere.
typedef struct gdn_same_row {
    int call;
    const gdn_tensor *tensor; ///< of that call
    int64_t row;
} gdn_same_row;

gdn_same_row gdn_related_row(const gdn_related *related, size_t index,
                             const gdn_tensor *tensor, int64_t row);

/// Whether an output has a row a token; else it has one a slot.
bool gdn_related_is_token(const gdn_tensor *tensor);

/// The element of that row whose value element `element` of this one has.
int64_t gdn_related_element(const gdn_case *test, const gdn_tensor *tensor,
                            int64_t element);

/// Sequence that an output row belongs to; -1: none.
int64_t gdn_related_owner(const gdn_related_call *call, const gdn_tensor *tensor,
                          int64_t row);

/// Row and tensor of the state that sequence `s` of a call has left, for one that continues
/// from it: NULL if it has none.
const gdn_tensor *gdn_related_state(const gdn_related_call *call, int64_t s, int64_t column,
                                    int64_t *row);

/// Private to vectors/: the calls behind the first, their sequences and ties.
GDN_NODISCARD gdn_status gdnp_related_calls(gdn_related *related, gdn_error *err);
GDN_NODISCARD gdn_status gdnp_related_add(gdn_related *related, const gdn_case *like,
                                          size_t room, gdn_related_call **call,
                                          gdn_error *err);

#endif
