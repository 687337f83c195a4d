/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What a call of production says about its batch. Private to vectors/. */
#ifndef GDN_CAPTURED_CASE_H
#define GDN_CAPTURED_CASE_H

#include "problem.h"

/// Fills sizes, types and sequences of a case from a call that gdn_call_check() has passed:
/// whoever reasons about a case (the diagnosis) needs them. Heads that the op does not name
/// count as one. The case owns what is allocated.
GDN_NODISCARD gdn_status gdnp_captured_describe(gdn_case *test, const gdn_call *call,
                                                gdn_error *err);

#endif
