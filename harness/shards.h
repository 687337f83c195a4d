/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Sharing the cases of a run among machines. */
#ifndef GDN_SHARDS_H
#define GDN_SHARDS_H

#include "plan_cases.h"

/// What a case costs on the cpu device, golden values included: an estimate in
/// milliseconds of one core, from its shape alone, so that it is the same everywhere.
double gdn_case_cost(const gdn_case *test);

/// The tag "slow".
#define GDN_SLOW_COST 200.0

#define GDN_MOST_SHARDS 4096

/// Keeps shard `index` of `count` (1-based): the costliest case first, each to the shard
/// with the least work so far, so that no shard exceeds the average by more than one case.
/// Depends on the plan alone. GDN_ERR_ARG if the shard is empty.
GDN_NODISCARD gdn_status gdn_plan_keep_shard(gdn_case_plan *plan, int index, int count,
                                             gdn_error *err);

#endif
