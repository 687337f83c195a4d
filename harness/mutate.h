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

/// Kills after which a deviation is not run any more, and tokens of the largest case tried.
#define GDN_MUTATE_KILLS  2
#define GDN_MUTATE_TOKENS 257

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
    size_t kills;
    size_t visible;                  ///< cases in which it is visible; a kill counts as one
    char *killers[GDN_MUTATE_KILLS]; ///< case ids, the cheapest first
} gdn_mutant;

typedef struct gdn_kill_matrix {
    gdn_mutant *mutants;
    size_t n_mutants;
    size_t cases; ///< cases that were needed
    char **ids;   ///< of all cases planned, the cheapest first
    size_t n_ids;
    uint8_t *sights;     ///< gdn_sight by case and mutant, n_ids * n_mutants
    const char **proofs; ///< same shape: why a deviation cannot be seen, or NULL
} gdn_kill_matrix;

typedef struct gdn_mutate_options {
    double full_work;        ///< cases of at most this work meet every deviation (doctor.h)
    bool in_class;           ///< judge by the limits of `class`, not of the profiles' own
    gdn_numeric_class class; ///< of everything
    /// If not NULL, called after each kill, with the arena as the deviation left it.
    gdn_status (*on_kill)(void *context, const gdn_problem *problem,
                          const gdn_golden *golden, const gdn_deviation *deviation,
                          gdn_error *err);
    /// If not NULL, called once for each of those, with the arena as before the call.
    gdn_status (*on_case)(void *context, const gdn_problem *problem,
                          const gdn_golden *golden, gdn_error *err);
    void *context; ///< of both
} gdn_mutate_options;

/// Runs `count` deviations over the suites. A proof of invisibility that the golden values
/// contradict is GDN_ERR_BLIND. If GDN_OK is returned the caller destroys the matrix.
GDN_NODISCARD gdn_status gdn_mutate(gdn_kill_matrix *matrix,
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
