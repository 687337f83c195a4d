/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the wrong elements of a failing case have in common, where no known bug explains
 * them. */
#ifndef GDN_PATTERN_H
#define GDN_PATTERN_H

#include "problem.h"

/// New text, one line: for each wrong output the sequences, tokens, heads and lanes that
/// are wrong (and t mod 16, 32, 64 where that says more), a constant factor, agreement with
/// the transposed state, the rank of a state's residual; then where stray bytes lie. NULL
/// if there is no memory.
char *gdn_pattern_text(const gdn_problem *problem, const gdn_golden *golden);

#endif
