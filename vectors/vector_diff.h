/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What a regeneration changed, as numbers. Digests say that values differ; this says by how
 * much, in ulps and in limits, so that a change of every golden file can be reviewed. */
#ifndef GDN_VECTOR_DIFF_H
#define GDN_VECTOR_DIFF_H

#include "vector_file.h"

typedef enum gdn_case_change {
    GDN_CASE_GONE,   ///< ids are never reused, so this one has ended
    GDN_CASE_ADDED,  ///< only the new file has it
    GDN_CASE_INPUTS, ///< other inputs: golden values cannot be compared
    GDN_CASE_GOLDEN, ///< the same inputs; `tensors` and `note` say what differs
} gdn_case_change;

/// One output that differs. Numbers are over the rows that both files have.
typedef struct gdn_tensor_diff {
    char *name;
    const char *reason; ///< why nothing was compared; NULL if it was
    gdn_dtype dtype;
    int64_t rows_gone, rows_added;
    int64_t elements;
    int64_t changed; ///< other bits
    double ulps;     ///< largest change in ulps of the old value in `dtype`; integers: in 1
    bool bounded;    ///< has limits
    double limits;   ///< bounded: largest change / the old limit
    int64_t limits_changed;
    double limits_factor; ///< largest ratio of an old and a new limit, >= 1
    int rank;
    int64_t index[GDN_MAX_RANK]; ///< of the largest change (in limits if bounded)
    double before, after;
} gdn_tensor_diff;

typedef struct gdn_case_diff {
    char *id;
    gdn_case_change change;
    char *note; ///< inputs: their names; golden: what else differs, or NULL
    gdn_tensor_diff *tensors;
    size_t n_tensors;
} gdn_case_diff;

typedef struct gdn_vector_diff {
    size_t in_both, equal; ///< cases
    gdn_case_diff *cases;  ///< those that differ, ascending ids
    size_t n_cases;
} gdn_vector_diff;

/// Compares what two readers hold; NULL stands for a file that does not exist. Only
/// datasets whose digests differ are read. If GDN_OK is returned the caller destroys the
/// diff.
GDN_NODISCARD gdn_status gdn_vector_diff_create(gdn_vector_diff *diff,
                                                const gdn_vector_reader *before,
                                                const gdn_vector_reader *after,
                                                gdn_error *err);

/// Accepts a zeroed diff.
void gdn_vector_diff_destroy(gdn_vector_diff *diff);

#endif
