/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Whatever runs a problem: a device behind a session, the reference under other
 * conventions, an emulated kernel. For judges that need several calls in one case. */
#ifndef GDN_EXECUTOR_H
#define GDN_EXECUTOR_H

#include "problem.h"
#include "result.h"

typedef struct gdn_executor {
    /// Runs the problem whose inputs are in its arena. `*ran`: the outputs are there too;
    /// otherwise `result` has a verdict (unsupported, fail, crash, hang, skip) and its
    /// message. What else goes wrong is the harness.
    gdn_status (*run)(void *context, const gdn_problem *problem, bool *ran,
                      gdn_case_result *result, gdn_error *err);
    /// Starts to run the problem on the same device beside what run() is given, again and
    /// again, from another worker; NULL ends it. NULL: this executor has no second queue.
    gdn_status (*load)(void *context, const gdn_problem *problem, gdn_error *err);
    void *context;
} gdn_executor;

#endif
