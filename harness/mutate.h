/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The kill matrix: which cases of a suite see which known bug. Every deviation runs, in
 * this process, through the reference in place of a device, and the judge decides as it
 * does for a device. A deviation is visible in a case if some element of its exact result
 * is more than two limits from the right one; a suite must kill every deviation that its
 * ops can show. Deviations of ops that no case has are left out. */
#ifndef GDN_MUTATE_H
#define GDN_MUTATE_H

#include "data_paths.h"
#include "executor.h"
#include "gdn/deviation.h"
#include "problem.h"

/// Kills after which a deviation is not run any more, tokens of the largest case tried, and
/// bytes that the page of a pool or a row stays below.
#define GDN_MUTATE_KILLS  2
#define GDN_MUTATE_TOKENS 257
#define GDN_MUTATE_PAGE   (16 << 20)

/// What a deviation does in a case.
typedef enum gdn_sight {
    GDN_SIGHT_UNTRIED,
    GDN_SIGHT_NONE,     ///< the golden values are the same to the bit
    GDN_SIGHT_SLIGHT,   ///< they move by at most two limits, and the judge passes it
    GDN_SIGHT_SURVIVES, ///< they move by more, and the judge passes it: a hole
    GDN_SIGHT_KILLED,
    GDN_SIGHT_COUNT
} gdn_sight;

typedef struct gdn_mutant {
    const gdn_deviation *deviation; ///< borrowed
    size_t tried;                   ///< cases run
    bool idle;                      ///< the conventions of no case have a place for it
    const char *proof; ///< why no case can show it (of the first one), else NULL
    size_t kills;
    size_t visible;                  ///< cases in which it is visible; a kill counts as one
    char *killers[GDN_MUTATE_KILLS]; ///< case ids, the cheapest first
} gdn_mutant;

/// By one set of limits.
typedef struct gdn_kill_matrix {
    gdn_mutant *mutants;
    size_t n_mutants;
    size_t cases; ///< cases that were needed
    char **ids;   ///< of all cases planned, the cheapest first
    size_t n_ids;
    bool *full;          ///< by case: meets every deviation
    uint8_t *sights;     ///< gdn_sight by case and mutant, n_ids * n_mutants
    const char **proofs; ///< same shape: why a deviation cannot be seen, or NULL
} gdn_kill_matrix;

/// Sets of limits in one search: the profiles' own, and of classes.
#define GDN_MUTATE_LIMITS 5

typedef struct gdn_mutate_options {
    double full_work; ///< cases of at most this work meet every deviation (doctor.h)
    /// So do these (ids; NULL at the end), or, where it is NULL and `examples` is set, the
    /// cheapest case of each op with and without prefills and drafts.
    const char *const *watched;
    bool examples;
    /// A class gives a deviation up when that many cases did not show it by its limits; 0:
    /// never. The profiles' own limits never do.
    size_t tries;
    const gdn_numeric_class *classes; ///< whose limits everything is judged by too
    size_t n_classes;
    /// If not NULL, called after each kill by the profiles' own limits, with the arena as
    /// the deviation left it.
    gdn_status (*on_kill)(void *context, const gdn_problem *problem,
                          const gdn_golden *golden, const gdn_deviation *deviation,
                          gdn_error *err);
    /// If not NULL, called once for each case that meets every deviation, with the arena as
    /// before the call.
    gdn_status (*on_case)(void *context, const gdn_problem *problem,
                          const gdn_golden *golden, gdn_error *err);
    void *context; ///< of both
} gdn_mutate_options;

/// Runs `count` deviations over the suites. `matrices` are 1 + n_classes: by the profiles'
/// own limits, and by those of each class. A deviation with a proof of invisibility
/// (invisible.h) is run only on cases that meet every one; if golden values contradict the
/// proof there, that is GDN_ERR_BLIND, and elsewhere the proof is taken for granted. If
/// GDN_OK is returned the caller destroys the matrices.
GDN_NODISCARD gdn_status gdn_mutate(gdn_kill_matrix *matrices,
                                    const gdn_deviation *deviations, size_t count,
                                    const char *const *suites,
                                    const gdn_mutate_options *options,
                                    const gdn_paths *paths, gdn_error *err);

/// Runs the reference under other conventions in place, as the sim device does. The arena
/// is as the caller left it.
GDN_NODISCARD gdn_status gdn_mutate_run(const gdn_problem *problem,
                                        const gdn_conventions *bent, gdn_error *err);

/// The reference in this process under a deviation; NULL: as it should be. Takes every
/// problem.
gdn_executor gdn_mutate_executor(const gdn_deviation *deviation);

/// Accepts a zeroed matrix.
void gdn_kill_matrix_destroy(gdn_kill_matrix *matrix);

#endif
