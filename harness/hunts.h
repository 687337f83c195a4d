/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What each case of a suite hunts: the deviations that it kills, committed beside the suite
 * (suites/hunts/SUITE.json) and held to. Made by `mutate --full --json`:
 *
 *   {"schema": 1, "suite": S, "deviations": [names], "visible": N,
 *    "hunts": {case id: [deviations that it kills]}}
 *
 * A case that no longer kills what it hunts, or a smaller number of visible pairs among
 * those cases and deviations, is a judge that sees less: a limit has widened. Cases and
 * deviations that the file does not know yet are not held to anything. */
#ifndef GDN_HUNTS_H
#define GDN_HUNTS_H

#include <jansson.h>

#include "mutate.h"

/// New reference: the file of a full matrix.
json_t *gdn_hunts_json(const gdn_kill_matrix *matrix, const char *suite);

/// Compares a full matrix with the suite's file, if there is one. `*holds` false: `losses`
/// (new text, one line each; the caller frees it) says what was lost.
GDN_NODISCARD gdn_status gdn_hunts_check(const gdn_kill_matrix *matrix, const char *suite,
                                         const gdn_paths *paths, bool *holds, char **losses,
                                         gdn_error *err);

/// How many deviations case `row` of a full matrix kills that fewer than GDN_MUTATE_KILLS
/// others kill; 0: nothing would be lost without it, as far as these deviations go.
size_t gdn_hunts_needed(const gdn_kill_matrix *matrix, size_t row);

#endif
