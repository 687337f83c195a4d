/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which part of the space of shapes and conventions some cases cover. */
#ifndef GDN_COVERAGE_H
#define GDN_COVERAGE_H

#include <jansson.h>
#include <stdio.h>

#include "case.h"

/// An object of dimensions, each an object from value to number of cases. Values that a
/// dimension could have and that no case has stand there with 0: all values of an
/// enumeration that a profile may choose, all ops, types and flags.
typedef struct gdn_coverage {
    json_t *dimensions;
    size_t cases;
} gdn_coverage;

/// If GDN_OK is returned the caller destroys the coverage.
GDN_NODISCARD gdn_status gdn_coverage_start(gdn_coverage *coverage, gdn_error *err);

GDN_NODISCARD gdn_status gdn_coverage_add(gdn_coverage *coverage, const gdn_case *test,
                                          gdn_error *err);

/// A line a dimension: values with their counts, then those that never occur.
void gdn_coverage_print(const gdn_coverage *coverage, FILE *out);

void gdn_coverage_destroy(gdn_coverage *coverage);

#endif
