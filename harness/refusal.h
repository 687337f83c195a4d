/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Calls that are wrong on purpose (vectors/refuse.h), and what a device does with them. */
#ifndef GDN_REFUSAL_H
#define GDN_REFUSAL_H

#include "problem.h"
#include "result.h"
#include "session.h"

/// Whether the case asks for a refusal: its call is one that gdn_call_check() refuses. `why`
/// receives the words.
bool gdn_refusal_is_due(const gdn_problem *problem, gdn_error *why);

/// Hands the call over. A device refuses it by declining with a reason or by answering an
/// error of status 1 (argument), 4 (format) or 7 (unsupported) and leaving the arena alone:
/// pass. Taking it silently is a fail where the profile says that its backend validates,
/// and else a finding, GDN_XFAIL; an error of another status is a fault of the device. A
/// crash or a hang is one as ever.
GDN_NODISCARD gdn_status gdn_refusal_run(gdn_session *session, const gdn_problem *problem,
                                         const gdn_error *why, gdn_case_result *result,
                                         gdn_error *err);

#endif
