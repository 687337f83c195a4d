/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* `run --perf`: what a case that passed costs on the device. */
#ifndef GDN_PERF_H
#define GDN_PERF_H

#include "problem.h"
#include "session.h"

/// Most timed runs of a case.
#define GDN_PERF_MOST_RUNS 1000

/// Runs the case `runs` times more, each time from its own inputs, after one to warm up, and
/// fills result->perf. The buffers of the last run are judged: where they no longer pass, or
/// the device gave up, the verdict is a fail with that message.
GDN_NODISCARD gdn_status gdn_perf_measure(gdn_case_result *result, gdn_session *session,
                                          gdn_problem *problem, const gdn_golden *golden,
                                          int runs, gdn_error *err);

#endif
