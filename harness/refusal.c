/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "refusal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stray.h"

bool gdn_refusal_is_due(const gdn_problem *problem, gdn_error *why) {
    return problem->test->refuse && gdn_call_check(&problem->call, why) != GDN_OK;
}

static void settle(gdn_case_result *result, gdn_verdict verdict, const char *text) {
    char *message = text ? strdup(text) : NULL; /* it may hold the old one */
    free(result->message);
    result->message = message;
    result->verdict = verdict;
}

/* Whether an error's number says that the call was wrong, not that the device is. */
static bool is_refusal(gdn_status status) {
    return status == GDN_ERR_ARG || status == GDN_ERR_FORMAT ||
           status == GDN_ERR_UNSUPPORTED;
}

/* A device that refuses has touched nothing. */
static void judge_refused(const gdn_problem *problem, gdn_case_result *result) {
    const gdn_golden nothing = {0};
    char text[256];
    gdn_judge_stray(problem, &nothing, result);
    if (result->stray_bytes == 0) {
        settle(result, GDN_PASS, NULL);
        return;
    }
    snprintf(text, sizeof text, "refused, but %lld bytes were written, the first at %s",
             (long long)result->stray_bytes, result->stray_first);
    settle(result, GDN_FAIL, text);
}

static void judge_accepted(const gdn_problem *problem, const gdn_error *why,
                           gdn_case_result *result) {
    const bool claimed = problem->test->validates;
    char text[sizeof why->message + 128];
    snprintf(text, sizeof text, "%s: a wrong call was accepted silently: %s",
             claimed ? "the profile says that its backend validates" : "finding",
             why->message);
    settle(result, claimed ? GDN_FAIL : GDN_XFAIL, text);
}

static void judge_error(const gdn_session *session, const gdn_problem *problem,
                        gdn_case_result *result) {
    if (is_refusal(session->answered)) {
        judge_refused(problem, result);
        return;
    }
    char text[512];
    snprintf(text, sizeof text, "status %d is a fault, and no refusal of the call: %.400s",
             (int)session->answered, result->message ? result->message : "");
    settle(result, GDN_FAIL, text);
}

gdn_status gdn_refusal_run(gdn_session *session, const gdn_problem *problem,
                           const gdn_error *why, gdn_case_result *result, gdn_error *err) {
    bool supported = false, ran = false;
    GDN_TRY(gdn_session_supports(session, problem, &supported, result, err));
    if (supported) {
        GDN_TRY(gdn_session_run(session, problem, &ran, result, err));
    }
    if (ran) {
        judge_accepted(problem, why, result);
    } else if (result->verdict == GDN_UNSUPPORTED) {
        judge_refused(problem, result);
    } else if (result->verdict == GDN_FAIL) {
        judge_error(session, problem, result);
    }
    return GDN_OK;
}
