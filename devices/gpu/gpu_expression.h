/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Small integer expressions of kernel packages: numbers, names, + - * / %, comparisons (1
 * or 0), parentheses, and the functions cdiv(a,b), min(a,b), max(a,b), size(tensor,axis),
 * stride(tensor,axis), has(tensor). */
#ifndef GDN_GPU_EXPRESSION_H
#define GDN_GPU_EXPRESSION_H

#include "gdn/call.h"

/// Names that a package defines, each by an expression over those before it.
typedef struct gpu_definition {
    const char *name;
    int64_t value;
} gpu_definition;

typedef struct gpu_scope {
    const gdn_call *call; ///< its scalars are names too
    const gpu_definition *definitions;
    size_t n_definitions;
} gpu_scope;

/// GDN_ERR_ARG names the expression, the place in it and what was expected there; so do
/// division by zero and values beyond 64 bits.
GDN_NODISCARD gdn_status gpu_evaluate(int64_t *value, const char *text,
                                      const gpu_scope *scope, gdn_error *err);

#endif
