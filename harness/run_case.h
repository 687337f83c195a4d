/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One case of a run, whatever its kind: golden values, a relation, a refusal, a loop. */
#ifndef GDN_RUN_CASE_H
#define GDN_RUN_CASE_H

#include "doctor.h"
#include "plan_cases.h"
#include "session.h"

/// Inputs, device, golden values, comparison. What fails here is the harness; what the
/// device does is in the result. `doctor` NULL: failures are not looked into; `run` has the
/// results so far, which bound how many are.
GDN_NODISCARD gdn_status gdn_run_case(const gdn_planned_case *planned, gdn_session *session,
                                      gdn_doctor *doctor, gdn_run_result *run,
                                      gdn_case_result *result, gdn_error *err);

#endif
