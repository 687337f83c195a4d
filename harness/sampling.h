/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Devices whose draws are their own: what they emit over many calls, against the law that
 * it must have (gdn/law.h), and whether their draws hang together over slots, calls and
 * neighbouring seeds. */
#ifndef GDN_SAMPLING_H
#define GDN_SAMPLING_H

#include "executor.h"
#include "gdn/deviation.h"

/// Runs a case of scenario law or seeds. `problem` is the case's; its arena is written.
/// `result` gets GDN_PASS, GDN_FAIL with a message, or the verdict of a call that did not
/// come through.
GDN_NODISCARD gdn_status gdn_sampling_run(gdn_problem *problem,
                                          const gdn_executor *executor,
                                          gdn_case_result *result, gdn_error *err);

/// Whether such a case is there to catch the row.
bool gdn_sampling_concerns(const gdn_deviation *deviation, const gdn_case *test);

#endif
