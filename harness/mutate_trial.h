/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to mutate.c: one case of the kill matrix, which deviations meet one by one. */
#ifndef GDNP_MUTATE_TRIAL_H
#define GDNP_MUTATE_TRIAL_H

#include "mutate.h"
#include "relation.h"

/* One search: its matrices, each by limits of its own. */
typedef struct gdnp_search {
    gdn_kill_matrix *matrices;
    size_t n_limits;
    const gdn_mutate_options *options;
    const char *profiles; /* folder */
} gdnp_search;

/* One case of it. Golden values are made when they are needed first, and once for limits
 * that are the same in this case. A relation is judged by the profiles' own limits alone;
 * problem and golden values are then borrowed from its first call. A loop has neither. */
typedef struct gdnp_trial {
    const gdnp_search *of;
    const gdn_case *test;
    size_t row;
    gdn_relation_case relation;
    gdn_problem problem;
    gdn_conventions conventions[GDN_MUTATE_LIMITS];
    gdn_golden golden[GDN_MUTATE_LIMITS];
    size_t same[GDN_MUTATE_LIMITS]; /* the first limits that are these */
} gdnp_trial;

/* Many calls: a loop of steps, or samples that a law is held against. */
bool gdnp_trial_is_series(const gdn_case *test);

/* If GDN_OK is returned the caller destroys the trial. */
GDN_NODISCARD gdn_status gdnp_trial_create(gdnp_trial *trial, const gdnp_search *of,
                                           size_t row, const gdn_case *test,
                                           gdn_error *err);
void gdnp_trial_destroy(gdnp_trial *trial);

/* The hook on_case, with the right golden values. */
GDN_NODISCARD gdn_status gdnp_trial_greet(gdnp_trial *trial, gdn_error *err);

/* One deviation by every set of limits that wants it, written into the matrices. `sights`
 * come as GDN_SIGHT_UNTRIED; that of limits i is in sights[trial->same[i]]. */
GDN_NODISCARD gdn_status gdnp_trial_meet(gdnp_trial *trial, size_t mutant,
                                         const bool *wanted, gdn_sight *sights,
                                         gdn_error *err);

#endif
