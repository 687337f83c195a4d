/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which cases of a plan a run takes: by glob, by tags, by shard.
 *
 * A tag is a part of the case's id (op, profile with and without variant, model, mix, both
 * types, flags such as "pad3"), the suite that it comes from, or one of
 *     ragged    a batch of speculative sequences of several lengths
 *     long      a sequence of more than 1024 tokens
 *     slow      estimated to take more than GDN_SLOW_COST (shards.h)
 * An expression joins tags, or globs of them, by '&', '|', '!' and parentheses; '&' binds
 * closer than '|': "spec & !slow", "pad* | (ragged & bf16)". */
#ifndef GDN_TAGS_H
#define GDN_TAGS_H

#include "plan_cases.h"

/// Keeps the cases for which the expression holds. A tag that no case of the plan has, and
/// that is none of the words above, and an expression that can't be read are GDN_ERR_ARG.
GDN_NODISCARD gdn_status gdn_plan_keep_tagged(gdn_case_plan *plan, const char *expression,
                                              gdn_error *err);

/// Keeps the cases whose id matches.
void gdn_plan_keep_glob(gdn_case_plan *plan, const char *glob);

#endif
