/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What a device left in the arena against what it had to leave there. */
#ifndef GDN_JUDGE_H
#define GDN_JUDGE_H

#include "problem.h"
#include "result.h"

/// One element by the table of special values (judge.c); `*budget` receives error / limit,
/// infinity where no limit applies.
bool gdn_judge_element(double golden, double found, double limit, gdn_dtype storage,
                       double *budget);

/// Fills the tensor results and the stray bytes of `result` from the arena as it is now,
/// and sets its verdict to GDN_PASS or GDN_FAIL with a message. The arena must be frozen.
GDN_NODISCARD gdn_status gdn_judge_case(const gdn_problem *problem,
                                        const gdn_golden *golden, gdn_case_result *result,
                                        gdn_error *err);

#endif
