/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Sizes, rows and slots of a case: everything about its index tensors, before any value. */
#ifndef GDN_PLAN_H
#define GDN_PLAN_H

#include "case.h"

typedef struct gdn_plan {
    int64_t key_heads, value_heads, r, channels; ///< of this rank
    int64_t non_spec, spec;                      ///< sequences
    int64_t non_spec_tokens, tokens, rows;       ///< rows: padding included
    int64_t columns;          ///< slots a sequence, 1 without speculation
    int64_t slots, conv_rows; ///< of the state pools
    bool indexed;             ///< rows differ from the local token order
    int64_t *token_rows;      ///< [tokens]: row of each token; local order, non-spec first
    int64_t *token_items;     ///< [tokens]: whose numbers each has, in the same order
    int64_t *sequence_slots;  ///< [sequences][columns]; non-spec ones, and those whose
                              ///< states go to a buffer, use column 0
    int64_t places;           ///< of intermediate tensors: Q adjacent rows each; 0: none
    int64_t *sequence_places; ///< [spec]: first intermediate row of a spec sequence
} gdn_plan;

/// If GDN_OK is returned the caller destroys the plan.
GDN_NODISCARD gdn_status gdn_plan_create(gdn_plan *plan, const gdn_case *test,
                                         gdn_error *err);

void gdn_plan_destroy(gdn_plan *plan);

/// Rows of conv history that a slot keeps, and the least rows of a slot.
int64_t gdn_plan_conv_kept(const gdn_case *test);
int64_t gdn_plan_conv_rows(const gdn_case *test);

/// Column that a speculative sequence starts from: max(accepted - 1, 0).
int64_t gdn_plan_start_column(const gdn_sequence *sequence);

#endif
