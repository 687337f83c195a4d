/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The kill matrix: which cases of a suite see which known bug. Every deviation runs, in
 * this
 * process, through the reference in place of a device, and the judge decides as it does for
 * a device. A deviation is visible in a case if some element of its exact result is more
 * than two limits from the right one; a suite must kill every deviation that its ops can
 * show. Deviations of ops that no case has are left out. */
#ifndef GDN_MUTATE_H
#define GDN_MUTATE_H

#include "data_paths.h"
#include "gdn/deviation.h"

/// Kills after which a deviation is not run any more, and tokens of the largest case tried.
#define GDN_MUTATE_KILLS  2
#define GDN_MUTATE_TOKENS 257

typedef struct gdn_mutant {
    const gdn_deviation *deviation; ///< borrowed
    size_t tried;                   ///< cases run
    bool idle;                      ///< the conventions of no case have a place for it
    size_t kills;
    size_t visible;                  ///< cases in which it is visible; a kill counts as one
    char *killers[GDN_MUTATE_KILLS]; ///< case ids, the cheapest first
} gdn_mutant;

typedef struct gdn_kill_matrix {
    gdn_mutant *mutants;
    size_t n_mutants;
    size_t cases; ///< cases that were needed
} gdn_kill_matrix;

/// Runs `count` deviations over the suites. If GDN_OK is returned the caller destroys the
/// matrix.
GDN_NODISCARD gdn_status gdn_mutate(gdn_kill_matrix *matrix,
                                    const gdn_deviation *deviations, size_t count,
                                    const char *const *suites, const gdn_paths *paths,
                                    gdn_error *err);

/// Accepts a zeroed matrix.
void gdn_kill_matrix_destroy(gdn_kill_matrix *matrix);

#endif
