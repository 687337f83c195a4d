/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Suites: JSON files that say which cases there are (suites/suites/suite.schema.json).
 *
 *   {"schema": 1, "suite": "smoke", "summary": "..", "seconds": 10, "include": ["other"],
 *    "groups": [{
 *      "summary": "..",
 *      "base":    {members of every case of the group},
 *      "axes":    {"dtype": ["bf16", "fp16"], "shape": [{members set together}, ..]},
 *      "cover":   "pairs" (default) or "all",
 *      "exclude": [{"dtype": "fp16", "batch": ["pre1x1", "dec1"]}, ..],
 *      "cases":   [{members of one more case}, ..]}]}
 *
 * A value of an axis is the member of the axis's name, or an object of members; it
 * overrides the base. An exclude forbids the rows that have all its members (a list: any of
 * its values). Includes come first; a case that two included suites share is there once. */
#ifndef GDN_EXPAND_H
#define GDN_EXPAND_H

#include "case.h"
#include "gdn/nearest.h"

#define GDN_SUITE_SCHEMA 1

/// Cases that one group may expand to.
#define GDN_SUITE_MOST 4096

typedef struct gdn_suite {
    char *name;
    char *summary;
    double
        seconds; ///< what a run on the cpu device may take on a small machine; 0: no word
    gdn_case *cases; ///< in the order of the file, includes first; ids are unique
    size_t n_cases;
} gdn_suite;

/// Reads <suites_dir>/<name>.json and expands it; "all" is the union of every file there. A
/// suite that does not exist is GDN_ERR_ARG and names the nearest one; anything wrong in a
/// file, cases included, is GDN_ERR_FORMAT with file and JSON path. If GDN_OK is returned
/// the caller destroys the suite.
GDN_NODISCARD gdn_status gdn_suite_load(gdn_suite *suite, const char *suites_dir,
                                        const char *profiles_dir, const char *name,
                                        gdn_error *err);

/// Accepts a zeroed suite.
void gdn_suite_destroy(gdn_suite *suite);

/// Names of the suite files, ascending, without "all". If GDN_OK is returned the caller
/// destroys the names.
GDN_NODISCARD gdn_status gdn_suite_names(gdn_names *names, const char *suites_dir,
                                         gdn_error *err);

#endif
