/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The diagnoses of one run, within bounds: failing cases share what was found, few of them
 * are searched in full, and none that would take long. Bounds count work, not seconds, so
 * that a report does not depend on the machine. */
#ifndef GDN_DOCTOR_H
#define GDN_DOCTOR_H

#include "diagnose.h"
#include "result.h"

/// Full searches a run, and tokens times state elements of the largest case searched: 257
/// tokens of 32 heads of 128 x 128 with some to spare.
#define GDN_DOCTOR_SEARCHES 16
#define GDN_DOCTOR_WORK     2e8

#define GDN_DOCTOR_HINTS 4

typedef struct gdn_doctor {
    char *hints[GDN_DOCTOR_HINTS]; ///< names that earlier cases were diagnosed with
    size_t n_hints;
    size_t searches;
} gdn_doctor;

/// Fills the diagnosis of a failing case from what the device left in the arena, or leaves
/// it empty if that is beyond the bounds.
GDN_NODISCARD gdn_status gdn_doctor_see(gdn_doctor *doctor, const gdn_problem *problem,
                                        const gdn_golden *golden, gdn_case_result *result,
                                        gdn_error *err);

/// Work of one evaluation of the reference, as above.
double gdn_doctor_work(const gdn_case *test);

/// Accepts a zeroed doctor.
void gdn_doctor_destroy(gdn_doctor *doctor);

/// A line for each diagnosis with the number of failing cases that have it, if any.
void gdn_doctor_summary(const gdn_run_result *run, FILE *out);

#endif
