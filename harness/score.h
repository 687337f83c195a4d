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

/// Names that diagnoses gave to failing (deviation, case) pairs.
typedef struct gdn_score_names {
    size_t pairs;
    size_t first;                  ///< the right name is the first
    size_t alone;                  ///< and no other is named with it
    size_t among;                  ///< the right name is not the first, but named
    size_t silent;                 ///< nothing is named
    size_t wrong;                  ///< only others are named
    size_t correct, correct_named; ///< right answers, and those that were blamed
    double slowest;                ///< seconds
    char *slowest_id;
    char **misses; ///< "deviation on case: what was said", of all that are not first
    size_t n_misses;
} gdn_score_names;

/// What became of the pairs of one kill matrix.
typedef struct gdn_score_pairs {
    size_t by_sight[GDN_SIGHT_COUNT];
    size_t proved; ///< of those without effect: a proof says why
} gdn_score_pairs;

typedef struct gdn_score_diagnose {
    const gdn_deviation *more; ///< deviations from a file
    size_t n_more;
    gdn_score_names names;
} gdn_score_diagnose;

void gdn_score_count(gdn_score_pairs *pairs, const gdn_kill_matrix *matrix);

/// For gdn_mutate_options.on_kill; `context` is a gdn_score_diagnose.
GDN_NODISCARD gdn_status gdn_score_kill(void *context, const gdn_problem *problem,
                                        const gdn_golden *golden,
                                        const gdn_deviation *deviation, gdn_error *err);

/// The same for gdn_mutate_options.on_case: the right answer, rounded to storage, must be
/// blamed on nobody.
GDN_NODISCARD gdn_status gdn_score_right(void *context, const gdn_problem *problem,
                                         const gdn_golden *golden, gdn_error *err);

void gdn_score_destroy(gdn_score_diagnose *score);

/// Whether limits of the class are anything but those of fp32 in this build.
GDN_NODISCARD gdn_status gdn_score_has_class(gdn_numeric_class class, const char *profiles,
                                             bool *has, gdn_error *err);

#endif
