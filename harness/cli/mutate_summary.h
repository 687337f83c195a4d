/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to cmd_mutate.c: `mutate --summary`. */
#ifndef GDN_MUTATE_SUMMARY_H
#define GDN_MUTATE_SUMMARY_H

#include <stdio.h>

#include "score.h"

/// Scores each suite by itself ("all": every one), prints the figures and returns the exit
/// code. `from_file`: the deviations are no rows of the table, so diagnoses have to suspect
/// them too.
int gdn_mutate_summary(const char *const *suites, const gdn_deviation *deviations,
                       size_t count, bool from_file, const gdn_paths *paths);

/// One line on what became of the pairs of a matrix.
void gdn_mutate_print_pairs(const gdn_score_pairs *pairs, FILE *out);

#endif
