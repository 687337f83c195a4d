/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What a report keeps of a judged case besides its numbers: where the limit is used, and
 * which golden values it was judged by. */
#ifndef GDN_CASE_MAP_H
#define GDN_CASE_MAP_H

#include "problem.h"
#include "result.h"

/// Failing cases of a run that get maps; one that fails everywhere needs no thousand
/// pictures.
#define GDN_MAPPED_CASES 24

/// Adds up to two maps to a judged case, while the device's outputs are still in the arena:
/// tokens or slots x heads of the worst tensor, and the K x V plane of the worst head of
/// the worst state. Worst: the first that fails, else the one with the largest budget.
GDN_NODISCARD gdn_status gdn_case_maps(gdn_case_result *result, const gdn_problem *problem,
                                       const gdn_golden *golden, gdn_error *err);

/// Takes them away again.
void gdn_case_drop_maps(gdn_case_result *result);

/// 16 hex digits of a 64-bit mix of the golden values, limits, names and rows. Two runs
/// whose mixes agree were judged alike. It is no cryptographic digest, nobody gains by
/// forging it; it runs over every golden value of every run at memory speed.
void gdn_golden_mix(const gdn_golden *golden, char hex[17]);

#endif
