/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The figures of a noise floor from the errors of one head. */
#ifndef GDN_FLOOR_FIGURES_H
#define GDN_FLOOR_FIGURES_H

#include "problem.h"

/* Errors of one head as they are added, matrix by matrix: the rows of a matrix are
 * independent (value dimensions of a state, tokens of an output), its columns need not be.
 */
typedef struct gdnp_floor_sums {
    double largest, square, fourth, count;
    double degrees;
} gdnp_floor_sums;

/* Adds a matrix, dense; what is not finite counts as no error. GDN_ERR_OOM. */
gdn_status gdnp_floor_add(gdnp_floor_sums *sums, const double *errors, int64_t rows,
                          int64_t columns, gdn_error *err);

gdn_floor gdnp_floor_figures(const gdnp_floor_sums *sums, const gdn_pool *pool);

#endif
