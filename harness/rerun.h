/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One case on a device, with everything that a diagnosis needs afterwards. */
#ifndef GDN_RERUN_H
#define GDN_RERUN_H

#include "problem.h"
#include "session.h"

typedef struct gdn_rerun {
    gdn_problem problem; ///< its arena as the device left it
    gdn_golden golden;
    gdn_case_result result; ///< verdict, message, tensors; id and replay are not set
    bool judged;            ///< the outputs were compared
} gdn_rerun;

/// Builds the case, computes its golden values, runs the device and judges it. What the
/// device does is in `result`. If GDN_OK is returned the caller destroys the rerun; `test`
/// must outlive it.
GDN_NODISCARD gdn_status gdn_rerun_create(gdn_rerun *rerun, gdn_session *session,
                                          const gdn_case *test, gdn_error *err);

/// Accepts a zeroed rerun.
void gdn_rerun_destroy(gdn_rerun *rerun);

#endif
