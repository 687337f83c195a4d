/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The figures by which suites, judge and diagnosis are scored, over known deviations. */
#ifndef GDN_SCORE_H
#define GDN_SCORE_H

#include "mutate.h"
#include "suspects.h"

/// Cases of at most so much work (tokens times state elements) meet every deviation; larger
/// ones are tried until each deviation has its two kills.
#define GDN_SCORE_FULL_WORK 4e4

/// Cases of a suite that may fail to show a deviation by the limits of a class before that
/// class gives it up there.
#define GDN_SCORE_TRIES 24

/// Names that diagnoses gave to failing (deviation, case) pairs.
typedef struct gdn_score_names {
    size_t pairs;
    size_t first;                  ///< the right name is the first
    size_t alone;                  ///< and no other is named with it
    size_t among;                  ///< the right name is not the first, but named
    size_t silent;                 ///< nothing is named
    size_t wrong;                  ///< only others are named
    size_t correct, correct_named; ///< right answers, and those that were blamed
    double slowest;                ///< processor seconds, on one core
    char *slowest_id;
    char **misses; ///< "deviation on case: what was said", of all that are not first
    size_t n_misses;
} gdn_score_names;

/// What became of the pairs of one kill matrix.
typedef struct gdn_score_pairs {
    size_t by_sight[GDN_SIGHT_COUNT];
    size_t proved;  ///< of those without effect: a proof says why, and was checked
    size_t granted; ///< not tried, for a proof says that there is no effect
} gdn_score_pairs;

typedef struct gdn_score_diagnose {
    const gdn_deviation *more; ///< deviations from a file
    size_t n_more;
    gdn_score_names names;
    const gdn_deviation **seen; ///< in cases of more than GDN_SCORE_FULL_WORK
    size_t n_seen;
} gdn_score_diagnose;

/// Of larger cases than those, a suite's first failure by each deviation is diagnosed, if
/// the case has at most so much work, and memory.
#define GDN_SCORE_DIAGNOSED_WORK  2e6
#define GDN_SCORE_DIAGNOSED_BYTES (8 << 20)

void gdn_score_count(gdn_score_pairs *pairs, const gdn_kill_matrix *matrix);

void gdn_score_add_pairs(gdn_score_pairs *into, const gdn_score_pairs *pairs);

/// For gdn_mutate_options.on_kill; `context` is a gdn_score_diagnose.
GDN_NODISCARD gdn_status gdn_score_kill(void *context, const gdn_problem *problem,
                                        const gdn_golden *golden,
                                        const gdn_deviation *deviation, gdn_error *err);

/// The same for gdn_mutate_options.on_case: the right answer, rounded to storage, must be
/// blamed on nobody.
GDN_NODISCARD gdn_status gdn_score_right(void *context, const gdn_problem *problem,
                                         const gdn_golden *golden, gdn_error *err);

/// Takes the names over: `names` is zeroed.
GDN_NODISCARD gdn_status gdn_score_add_names(gdn_score_names *into, gdn_score_names *names,
                                             gdn_error *err);

/// Accepts a zeroed one.
void gdn_score_diagnose_destroy(gdn_score_diagnose *score);

/// Accepts zeroed names.
void gdn_score_names_destroy(gdn_score_names *names);

/// The classes that suites are scored in beside the profiles' own limits, and the names of
/// both, "profile" first.
extern const gdn_numeric_class GDN_SCORE_CLASSES[GDN_MUTATE_LIMITS - 1];
extern const char *const GDN_SCORE_LIMITS[GDN_MUTATE_LIMITS];

#endif
