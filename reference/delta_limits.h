/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the limits of the recurrence need besides the inner loop: which sources count, and
 * the terms of matrix units, which start anew with each span of tokens. */
#ifndef GDN_DELTA_LIMITS_H
#define GDN_DELTA_LIMITS_H

#include "ops.h"

/* Tokens after which the terms of matrix units start anew: the longest chunk that they hold
 * for. Shorter ones must divide it. */
#define GDNP_SPAN 128

/* Arrays for the inner loop, [rows] and [count]; all NULL without matrix units. */
typedef struct gdnp_span {
    int64_t rows;
    double *reach, *flow, *load;
    double *gate_error;
} gdnp_span;

/* Size in doubles of the memory of a span; `most` is the longest run of tokens. */
#define GDNP_SPAN_DOUBLES(rows, most) (3 * (rows) + (most) + 1)

/* The span at token `token` of a sequence, which is to advance by `count` tokens; runs do
 * not cross the end of a span. At the start of one, R is ||S|| and X and Z are 0. `unit` is
 * that of the sums of g, which kernels on matrix units keep in fp32. */
gdnp_span gdnp_span_advance(double *memory, int64_t rows, int64_t token, int64_t count,
                            const gdnp_token *tokens, const double *row_norm, double unit);

/* `tokens` themselves if all sources count, else copies without the errors that do not. */
const gdnp_token *gdnp_tokens_masked(const gdnp_token *tokens, int64_t count,
                                     unsigned terms, gdnp_token *copies);

#endif
