/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Every byte of the arena that is no output must be what it was. */
#ifndef GDN_STRAY_H
#define GDN_STRAY_H

#include "problem.h"
#include "result.h"

/// Counts the bytes that changed outside the rows of `golden`, and names the first.
void gdn_judge_stray(const gdn_problem *problem, const gdn_golden *golden,
                     gdn_case_result *result);

#endif
