/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Profiles that say what a kernel ships although it is wrong: a device that does the same
 * is as expected, and still no pass. */
#ifndef GDN_SHIPPED_H
#define GDN_SHIPPED_H

#include "problem.h"

/// Whether the golden values of this problem show a known defect of its profile: with the
/// defect mended they are others. `text` then names it. Runs the reference, so before a
/// device changes the arena; `golden` is the problem's own.
GDN_NODISCARD gdn_status gdn_shipped_defect(const gdn_problem *problem,
                                            const gdn_golden *golden, bool *shown,
                                            char *text, size_t size, gdn_error *err);

#endif
