/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What a suite can see: how far golden values move, in limits, when an input changes. A
 * field whose change moves nothing is a field in which every bug passes: a state under a
 * decay of exp(-20), a bias that no case has. */
#ifndef GDN_VISIBILITY_H
#define GDN_VISIBILITY_H

#include "data_paths.h"
#include "problem.h"

/// Limits that a change must move some output by to count.
#define GDN_VISIBLE_LIMITS 2.0

/// Largest distance of two sets of golden values of one call, in limits of the first;
/// infinity if an exact output or the set of written rows differs, 0 if not a bit does.
double gdn_golden_distance(const gdn_golden *right, const gdn_golden *other);

/// One input of one op over the cases of a suite.
typedef struct gdn_visible_field {
    gdn_op op;
    const char *name; ///< of the tensor
    size_t cases;     ///< that have it
    size_t visible;   ///< in which a change of it is visible
    /// Median over those cases of the largest movement, in limits: for floats by a change
    /// of all elements by 1/128 and by about a quarter; for indices and flags, of an entry
    /// or two, there is only the large one.
    double small, large;
    double *movements[2]; ///< of the cases, while they are collected
} gdn_visible_field;

typedef struct gdn_visibility {
    gdn_visible_field *fields;
    size_t n_fields;
    size_t cases; ///< looked at: all up to `most_tokens` tokens
} gdn_visibility;

/// Changes every input of every case of the suites in turn, in the order of the suites; an
/// input that was visible in `enough` cases (0: no end) is left alone from then on. If
/// GDN_OK is returned the caller destroys the result.
GDN_NODISCARD gdn_status gdn_visibility_measure(gdn_visibility *visibility,
                                                const char *const *suites,
                                                int64_t most_tokens, size_t enough,
                                                const gdn_paths *paths, gdn_error *err);

/// Accepts a zeroed one.
void gdn_visibility_destroy(gdn_visibility *visibility);

#endif
