/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One NaN in one place of an ordinary case: what it reaches shows what a kernel read. The
 * reference says where it must arrive, since NaN propagates by IEEE 754; everything else is
 * held to the limits of the case without it.
 *
 * A chunk kernel on matrix units multiplies tokens before the dye by 0, and 0 NaN is NaN. So
 * outputs of a chunked sequence may be NaN from the start of the chunk on in the head and
 * lane that it reaches later, never in another sequence, head group or lane.
 *
 * Arithmetic without NaNs gets a huge number instead (`huge`): then nothing is said of what
 * it reaches, and everything else is judged. */
#ifndef GDN_DYE_H
#define GDN_DYE_H

#include "fill.h"
#include "problem.h"

/// Tokens of the longest chunk that kernels have; chunks begin with their sequence.
#define GDN_DYE_CHUNK 128

/// Whether the case has a value for its dye.
bool gdn_dye_fits(const gdn_case *test);

/// Overwrites what gdn_fill_values() made where the case's dye lies.
void gdnp_dye_values(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
                     int64_t heads, int64_t count, double *out);

/// Poison becomes a huge finite number in all four float types, for dye `unread`.
void gdnp_dye_unread(gdn_arena *arena);

/// Golden outputs of a case with a dye that is not `unread`.
GDN_NODISCARD gdn_status gdnp_dye_golden(gdn_golden *golden, const gdn_problem *problem,
                                         gdn_error *err);

/// Elements that may be NaN although their golden value is none: one flag an element of
/// golden, NULL if there are none or no memory. The caller frees them.
bool *gdn_dye_spread(const gdn_problem *problem, const gdn_expected *expected);

#endif
