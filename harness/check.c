/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "captured.h"
#include "doctor.h"
#include "judge.h"
#include "worker_process.h"

/* The arena is as the call left it. */
static gdn_status judge(gdn_captured *captured, const gdn_golden *golden,
                        gdn_case_result *result, gdn_error *err) {
    gdn_doctor doctor = {0};
    gdn_captured_apply(captured, golden);
    gdn_status status = gdn_judge_case(&captured->problem, golden, result, err);
    if (status == GDN_OK && result->verdict == GDN_FAIL) {
        status = gdn_doctor_see(&doctor, &captured->problem, golden, result, err);
    }
    gdn_doctor_destroy(&doctor);
    return status;
}

gdn_status gdn_check_file(gdn_case_result *result, const char *path, const gdn_paths *paths,
                          gdn_error *err) {
    gdn_captured captured;
    gdn_golden golden = {0};
    const double start = gdnp_now();
    *result = (gdn_case_result){.verdict = GDN_SKIP, .kernel_seconds = -1.0};
    GDN_TRY(gdn_captured_load(&captured, path, paths->profiles, err));
    gdn_status status = gdn_golden_create(&golden, &captured.problem, err);
    result->id = strdup(captured.test.id);
    if (asprintf(&result->replay, "gdn-conform check '%s'", path) < 0) {
        result->replay = NULL;
    }
    if (status == GDN_OK && (!result->id || !result->replay)) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for a result");
    }
    if (status == GDN_OK) {
        status = judge(&captured, &golden, result, err);
    }
    if (status != GDN_OK) {
        gdn_error_context(err, "%s", path);
    }
    gdn_golden_destroy(&golden);
    gdn_captured_destroy(&captured);
    result->total_seconds = gdnp_now() - start;
    return status;
}
