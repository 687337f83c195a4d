/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What cases of a suite hunt: the deviations that they kill, committed beside the suite
 * (suites/hunts/SUITE.json) and held to. Made by `mutate --hunts`:
 *
 *   {"schema": 2, "suite": S, "deviations": [names],
 *    "visible": {"profile": N, class: N, ...}, "unseen": {class: [deviations]},
 *    "hunts": {case id: [deviations that it kills]}}
 *
 * The cases are those that meet every deviation: the small ones, and of suites that have no
 * small ones the cheapest of each kind. `visible` counts pairs of them and the deviations,
 * by the profiles' own limits and by those of each class; `unseen` are deviations that no
 * case of the whole suite shows. A case that no longer kills what it hunts, fewer visible
 * pairs, or one more deviation unseen is a judge that sees less: a limit has widened. Cases
 * and deviations that the file does not know yet are not held to anything. */
#ifndef GDN_HUNTS_H
#define GDN_HUNTS_H

#include <jansson.h>

#include "mutate.h"

/// Limits of the profiles and of classes, in the order of the matrices.
typedef struct gdn_hunts_limits {
    const gdn_kill_matrix *matrices;
    const char *const *names; ///< "profile", "fp32" ..
    size_t count;
} gdn_hunts_limits;

/// New reference: the file.
json_t *gdn_hunts_json(const gdn_hunts_limits *limits, const char *suite);

/// The cases that the suite's file names, for gdn_mutate_options.watched: NULL if there is
/// no file, else NULL at the end; the caller frees both it and its texts with
/// gdn_hunts_free_watched().
GDN_NODISCARD gdn_status gdn_hunts_watched(char ***ids, const char *suite,
                                           const gdn_paths *paths, gdn_error *err);

/// Accepts NULL.
void gdn_hunts_free_watched(char **ids);

/// Compares with the suite's file, if there is one. `*holds` false: `losses` (new text, one
/// line each; the caller frees it) says what was lost.
GDN_NODISCARD gdn_status gdn_hunts_check(const gdn_hunts_limits *limits, const char *suite,
                                         const gdn_paths *paths, bool *holds, char **losses,
                                         gdn_error *err);

/// How many deviations case `row` of a full matrix kills that fewer than GDN_MUTATE_KILLS
/// others kill; 0: nothing would be lost without it, as far as these deviations go.
size_t gdn_hunts_needed(const gdn_kill_matrix *matrix, size_t row);

#endif
