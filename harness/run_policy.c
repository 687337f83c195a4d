/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "run_policy.h"

#include <stdlib.h>

gdn_status gdn_run_policy_open(gdn_run_policy *policy, const char *known,
                               const char *ratchet, const char *device, bool retry_known,
                               gdn_error *err) {
    *policy = (gdn_run_policy){.retry_known = retry_known};
    gdn_status status = known ? gdn_known_load(&policy->known, known, NULL, err) : GDN_OK;
    if (status == GDN_OK && ratchet) {
        status = gdn_ratchet_load(&policy->ratchet, ratchet, err);
        if (status == GDN_OK) {
            status = gdn_ratchet_check_device(&policy->ratchet, device, err);
        }
    }
    if (status != GDN_OK) {
        gdn_run_policy_destroy(policy);
    }
    return status;
}

void gdn_run_policy_destroy(gdn_run_policy *policy) {
    gdn_known_destroy(&policy->known);
    gdn_ratchet_destroy(&policy->ratchet);
}

gdn_launch gdn_run_policy_launch(const gdn_run_policy *policy, const char *id) {
    const gdn_known_failure *entry = gdn_known_find(&policy->known, id);
    if (!entry || !gdn_known_keeps_back(entry)) {
        return GDN_LAUNCH;
    }
    return policy->retry_known ? GDN_LAUNCH_QUARANTINED : GDN_LAUNCH_NEVER;
}

gdn_status gdn_run_policy_settle(gdn_run_policy *policy, bool launched,
                                 gdn_case_result *result, gdn_error *err) {
    if (policy->ratchet.root) {
        GDN_TRY(gdn_ratchet_settle(&policy->ratchet, result, &policy->stale, err));
    }
    const gdn_known_failure *entry = gdn_known_find(&policy->known, result->id);
    return entry ? gdn_known_settle(&policy->known, entry, launched, result, err) : GDN_OK;
}

gdn_status gdn_run_policy_complain(const gdn_run_policy *policy, gdn_run_result *run,
                                   gdn_error *err) {
    char *known = gdn_known_complaint(&policy->known);
    int written = 0;
    if (policy->stale > 0) {
        written = asprintf(&run->complaint,
                           "%s%s%s: %zu entries are of other golden values and hold "
                           "nothing; gdn-conform ratchet renews them",
                           known ? known : "", known ? "; " : "", policy->ratchet.path,
                           policy->stale);
        free(known);
    } else {
        run->complaint = known;
    }
    return written >= 0 ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a text");
}
