/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the limit of one element is made of. */
#ifndef GDN_EXPLAIN_H
#define GDN_EXPLAIN_H

#include "floor_limit.h"
#include "result.h"

#define GDN_EXPLAIN_TERMS 10

/// One source of error: by how much the bound grows when it is added to those before it.
/// Earlier tokens of the sequence are in it. The carried store may take away: a rounding
/// hides errors that do not reach its boundary.
typedef struct gdn_explain_term {
    const char *name, *what;
    double value;
} gdn_explain_term;

typedef struct gdn_explanation {
    char element[96]; ///< "core_attn_out[12,3,77]"
    gdn_dtype storage;
    double golden, rounded;
    gdn_explain_term terms[GDN_EXPLAIN_TERMS]; ///< add up to `bound`
    double bound;
    int64_t head;          ///< whose floor applies; -1: none does
    gdn_floor floor;       ///< as stored
    gdn_floor_limit limit; ///< made of it
    double operand;        ///< standard deviation of what comes with k, q and v
    double floor_element;  ///< infinity without a floor
    gdn_limit_kind binding;
} gdn_explanation;

/// Explains element "TENSOR[i,j,..]" of a bounded output of a frozen problem. An unknown
/// tensor, an index outside of it or in a row that the op does not write, and an exact
/// output are GDN_ERR_ARG.
GDN_NODISCARD gdn_status gdn_explain(gdn_explanation *e, const gdn_problem *problem,
                                     const gdn_golden *golden, const char *element,
                                     gdn_error *err);

/// The smaller of the two limits, by which the element is judged.
double gdn_explained_limit(const gdn_explanation *e);

#endif
