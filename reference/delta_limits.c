/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "delta_limits.h"

#include <math.h>
#include <string.h>

/* Steps of a scan over the longest chunk: log2 GDNP_SPAN. A sum one by one counts as one,
 * for its roundings are shared by the tokens behind it (BOUND.md, "Chunks"). */
#define SCAN_DEPTH 7.0

gdnp_span gdnp_span_advance(double *memory, int64_t rows, int64_t token, int64_t count,
                            const gdnp_token *tokens, const double *row_norm, double unit) {
    const gdnp_span span = {.rows = rows,
                            .reach = memory,
                            .flow = memory + rows,
                            .load = memory + 2 * rows,
                            .gate_error = memory + 3 * rows + 1};
    double *gate_sum = memory + 3 * rows;
    if (token % GDNP_SPAN == 0) {
        memcpy(span.reach, row_norm, (size_t)rows * sizeof *span.reach);
        memset(span.flow, 0, (size_t)rows * sizeof *span.flow);
        memset(span.load, 0, (size_t)rows * sizeof *span.load);
        *gate_sum = 0.0;
    }
    for (int64_t t = 0; t < count; t++) {
        *gate_sum += tokens[t].g;
        span.gate_error[t] = 2.0 * SCAN_DEPTH * unit * fabs(*gate_sum);
    }
    return span;
}

const gdnp_token *gdnp_tokens_masked(const gdnp_token *tokens, int64_t count,
                                     unsigned terms, gdnp_token *copies) {
    if (terms == GDN_TERM_ALL) {
        return tokens;
    }
    for (int64_t t = 0; t < count; t++) {
        gdnp_token *token = &copies[t];
        *token = tokens[t];
        token->decay_error *= (terms & GDN_TERM_DECAY) != 0;
        token->beta_error *= (terms & GDN_TERM_BETA) != 0;
        token->k_error *= (terms & GDN_TERM_K) != 0;
        token->q_error *= (terms & GDN_TERM_Q) != 0;
        token->k_floor *= (terms & GDN_TERM_SUBNORMALS) != 0;
        token->q_floor *= (terms & GDN_TERM_SUBNORMALS) != 0;
    }
    return copies;
}
