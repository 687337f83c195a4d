/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Covering arrays: few rows, one value an axis each, in which every allowed pair of values
 * of two axes occurs. Deterministic: the same axes give the same rows, because rows are
 * cases with ids that people refer to. */
#ifndef GDN_PAIRWISE_H
#define GDN_PAIRWISE_H

#include <stdbool.h>
#include <stddef.h>

#include "gdn/status.h"

/// Values of all axes are numbered through: value v of axis a is number
/// sizes[0] + .. + sizes[a-1] + v.
typedef struct gdn_axes {
    const size_t *sizes; ///< values of each axis, at least 1
    size_t n_axes;
    /// One flag a value and exclude, exclude by exclude: a row is forbidden if, for some
    /// exclude, the flags of all its values are set. NULL without excludes.
    const bool *excludes;
    size_t n_excludes;
} gdn_axes;

typedef struct gdn_rows {
    size_t *values; ///< n_rows * n_axes
    size_t n_rows;
    size_t capacity; ///< rows that `values` has room for
} gdn_rows;

/// Rows in which every pair of values that some allowed row has occurs. GDN_ERR_ARG if no
/// row is allowed. If GDN_OK is returned the caller destroys the rows.
GDN_NODISCARD gdn_status gdn_rows_pairs(gdn_rows *rows, const gdn_axes *axes,
                                        gdn_error *err);

/// All allowed rows, the last axis fastest; GDN_ERR_ARG beyond `most`.
GDN_NODISCARD gdn_status gdn_rows_all(gdn_rows *rows, const gdn_axes *axes, size_t most,
                                      gdn_error *err);

/// Accepts zeroed rows.
void gdn_rows_destroy(gdn_rows *rows);

#endif
