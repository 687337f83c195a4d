/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "rerun.h"

#include "judge.h"

gdn_status gdn_rerun_create(gdn_rerun *rerun, gdn_session *session, const gdn_case *test,
                            gdn_error *err) {
    bool supported = false;
    *rerun = (gdn_rerun){.result = {.verdict = GDN_SKIP, .kernel_seconds = -1.0}};
    GDN_TRY(gdn_problem_create(&rerun->problem, test, err));
    gdn_status status =
        gdn_session_supports(session, &rerun->problem, &supported, &rerun->result, err);
    if (status == GDN_OK && supported) {
        status = gdn_golden_create(&rerun->golden, &rerun->problem, err);
    }
    if (status == GDN_OK && supported) {
        status =
            gdn_session_run(session, &rerun->problem, &rerun->judged, &rerun->result, err);
    }
    if (status == GDN_OK && rerun->judged) {
        status = gdn_judge_case(&rerun->problem, &rerun->golden, &rerun->result, err);
    }
    if (status != GDN_OK) {
        gdn_rerun_destroy(rerun);
    }
    return status;
}

void gdn_rerun_destroy(gdn_rerun *rerun) {
    gdn_golden_destroy(&rerun->golden);
    gdn_problem_destroy(&rerun->problem);
    gdn_case_result_destroy(&rerun->result);
    *rerun = (gdn_rerun){.problem.arena.fd = -1};
}
