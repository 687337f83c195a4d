/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to vectors/: the two halves of building a problem. */
#ifndef GDN_PROBLEM_TENSORS_H
#define GDN_PROBLEM_TENSORS_H

#include "plan.h"
#include "problem.h"

#define GDN_MAX_TENSORS 24

/* Shapes, strides and scalars of every argument that the case passes. */
typedef struct gdn_shapes {
    gdn_tensor tensors[GDN_MAX_TENSORS];
    size_t n_tensors;
    gdn_scalar scalars[GDN_MAX_SCALARS];
    size_t n_scalars;
} gdn_shapes;

void gdn_shapes_of(gdn_shapes *shapes, const gdn_case *test, const gdn_plan *plan);

/* The same for ops of draft verification. */
void gdn_verify_shapes_of(gdn_shapes *shapes, const gdn_case *test);
gdn_status gdn_verify_fill(gdn_problem *problem, gdn_error *err);

/* Golden outputs by one evaluation of the reference, whatever the case's dye. */
GDN_NODISCARD gdn_status gdnp_golden_evaluate(gdn_golden *golden,
                                              const gdn_problem *problem, gdn_error *err);

/* Fills index tensors and values of a laid-out arena. */
gdn_status gdn_fill_problem(gdn_problem *problem, const gdn_plan *plan, gdn_error *err);

#endif
