/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What a run will do: the suites' cases that the glob selects, each once, and the vector
 * files that hold their golden values. */
#ifndef GDN_PLAN_CASES_H
#define GDN_PLAN_CASES_H

#include "data_paths.h"
#include "expand.h"
#include "vector_file.h"

typedef struct gdn_planned_case {
    const gdn_case *test;      ///< borrowed from the suite
    size_t suite;              ///< index
    gdn_vector_reader *reader; ///< borrowed; NULL: golden values are computed
} gdn_planned_case;

typedef struct gdn_case_plan {
    gdn_suite *suites;
    size_t n_suites;
    gdn_vector_reader **readers; ///< the vector files that golden values may come from
    size_t n_readers;
    gdn_planned_case *cases;
    size_t n_cases;
    char digest[65]; ///< over the manifests in use; "" if there is none
} gdn_case_plan;

/// Loads suites, by their names or, with a slash in it, by the path of a suite file, and
/// opens vector files. A suite that does not exist, a glob that selects
/// nothing and a `vectors` folder without a suite's file are errors. If GDN_OK is returned
/// the caller destroys the plan.
GDN_NODISCARD gdn_status gdn_case_plan_create(gdn_case_plan *plan,
                                              const char *const *suites, const char *glob,
                                              const char *vectors, const gdn_paths *paths,
                                              gdn_error *err);

/// Accepts a zeroed plan.
void gdn_case_plan_destroy(gdn_case_plan *plan);

#endif
