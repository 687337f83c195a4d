/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the user's files say to the verdicts of a run: known failures and the ratchet. */
#ifndef GDN_RUN_POLICY_H
#define GDN_RUN_POLICY_H

#include "known_failures.h"
#include "ratchet.h"

typedef struct gdn_run_policy {
    gdn_known_list known; ///< empty without a file
    gdn_ratchet ratchet;  ///< zeroed without a file
    bool retry_known;     ///< launch known crashes and hangs, each in a worker of its own
    size_t stale;         ///< entries of the ratchet with other golden values
} gdn_run_policy;

/// How a case is to be launched.
typedef enum gdn_launch {
    GDN_LAUNCH,
    GDN_LAUNCH_QUARANTINED, ///< in a session of its own, whose loss loses nothing
    GDN_LAUNCH_NEVER,
} gdn_launch;

/// Reads the files; NULL: there is none. `device` as on the command line. If GDN_OK is
/// returned the caller destroys the policy.
GDN_NODISCARD gdn_status gdn_run_policy_open(gdn_run_policy *policy, const char *known,
                                             const char *ratchet, const char *device,
                                             bool retry_known, gdn_error *err);

/// Accepts a zeroed policy.
void gdn_run_policy_destroy(gdn_run_policy *policy);

gdn_launch gdn_run_policy_launch(const gdn_run_policy *policy, const char *id);

/// The last word on a case, after judge and diagnosis.
GDN_NODISCARD gdn_status gdn_run_policy_settle(gdn_run_policy *policy, bool launched,
                                               gdn_case_result *result, gdn_error *err);

/// Notes in the run what is wrong with the files themselves.
GDN_NODISCARD gdn_status gdn_run_policy_complain(const gdn_run_policy *policy,
                                                 gdn_run_result *run, gdn_error *err);

#endif
