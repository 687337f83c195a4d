/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Between pattern.c and pattern_values.c. */
#ifndef GDN_PATTERN_VALUES_H
#define GDN_PATTERN_VALUES_H

#include <stdio.h>

#include "problem.h"

/// Appends what the wrong values of one output are to the right ones: a constant factor,
/// the transposed state, the rank of the residual; nothing if none of it holds.
void gdn_pattern_values(const gdn_problem *problem, const gdn_expected *expected,
                        FILE *out);

#endif
