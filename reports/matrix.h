/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The same cases on several devices, side by side. */
#ifndef GDN_MATRIX_H
#define GDN_MATRIX_H

#include "result.h"

typedef struct gdn_matrix_row {
    const char *id;                ///< borrowed
    const gdn_case_result **cells; ///< one a run; NULL: it has no such case
    bool comparable;               ///< the digests of all that have one agree
} gdn_matrix_row;

typedef struct gdn_matrix {
    const gdn_run_result *runs; ///< borrowed
    size_t n_runs;
    gdn_matrix_row *rows; ///< in the order of the first run that has them
    size_t n_rows;
    size_t comparable;             ///< rows in which two cells have equal digests
    const gdn_case_result **cells; ///< of all rows
} gdn_matrix;

/// If GDN_OK is returned the caller destroys the matrix, before the runs.
GDN_NODISCARD gdn_status gdn_matrix_create(gdn_matrix *matrix, const gdn_run_result *runs,
                                           size_t n_runs, gdn_error *err);

void gdn_matrix_destroy(gdn_matrix *matrix);

/// Rows on which the devices don't all agree, or that are wrong on one; then the sums.
void gdn_matrix_text(const gdn_matrix *matrix, FILE *out);
void gdn_matrix_markdown(const gdn_matrix *matrix, FILE *out);

/// New reference; every row.
json_t *gdn_matrix_json(const gdn_matrix *matrix);

#endif
