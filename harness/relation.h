/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Cases with a relation (vectors/related.h): all their calls through an executor, and each
 * output held against the same output of an earlier call. No golden value is compared.
 *
 * Two calls that both keep their limits are at most the sum of the two limits apart, and
 * what the exact results differ by where the profile rounds differently on two paths:
 *
 *     |a - b| <= limit a + limit b + |golden a - golden b|
 *
 * A call that continues from states which a device has computed starts from rows that are
 * off by N in 2-norm: N = least limit of the row's elements + u_store ||S||. The step is a
 * contraction (reference/BOUND.md), so N adds to every element of that row of the state
 * after it, and ||q|| N to its output, with ||q|| <= K^-1/2 (1 + 2^-8), keys and queries
 * being normalised and rounded at most to bf16. Tensors of copies must be equal. */
#ifndef GDN_RELATION_H
#define GDN_RELATION_H

#include "executor.h"
#include "floor_limit.h"
#include "related.h"

typedef struct gdn_relation_call {
    gdn_golden golden;
    gdn_floor_limit **floors; ///< [outputs][heads]; NULL where an output has no floor
    double *carried;          ///< [sequences][value heads][V]: N
} gdn_relation_call;

typedef struct gdn_relation_case {
    gdn_related related;
    gdn_relation_call *calls; ///< as many as related has
} gdn_relation_case;

/// Builds all calls with limits. If GDN_OK is returned the caller destroys it; the case must
/// outlive it.
GDN_NODISCARD gdn_status gdn_relation_create(gdn_relation_case *relation,
                                             const gdn_case *test, gdn_error *err);

/// Runs and judges. `*ran` false: a call did not come through, and `result` says why.
/// Otherwise it has tensors, stray bytes, a verdict and the message of the first call that
/// disagrees. May be called again, for another device.
GDN_NODISCARD gdn_status gdn_relation_judge(gdn_relation_case *relation,
                                            const gdn_executor *executor, bool *ran,
                                            gdn_case_result *result, gdn_error *err);

/// Accepts a zeroed one.
void gdn_relation_destroy(gdn_relation_case *relation);

#endif
