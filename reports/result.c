/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "result.h"

#include <math.h>
#include <stdlib.h>

const char *gdn_verdict_name(gdn_verdict verdict) {
    static const char *const NAMES[GDN_VERDICT_COUNT] = {
        [GDN_PASS] = "pass",   [GDN_FAIL] = "fail", [GDN_XFAIL] = "xfail",
        [GDN_XPASS] = "xpass", [GDN_SKIP] = "skip", [GDN_UNSUPPORTED] = "unsupported",
        [GDN_CRASH] = "crash", [GDN_HANG] = "hang",
    };
    return NAMES[verdict];
}

void gdn_run_tally(const gdn_run_result *run, size_t tally[GDN_VERDICT_COUNT]) {
    for (int v = 0; v < GDN_VERDICT_COUNT; v++) {
        tally[v] = 0;
    }
    for (size_t i = 0; i < run->n_cases; i++) {
        tally[run->cases[i].verdict]++;
    }
}

int gdn_run_exit_code(const gdn_run_result *run, const char **why) {
    size_t tally[GDN_VERDICT_COUNT];
    gdn_run_tally(run, tally);
    if (run->harness_error) {
        *why = "the harness failed";
        return 3;
    }
    if (run->device_lost) {
        *why = "the device was lost";
        return 4;
    }
    if (run->n_cases != run->planned) {
        *why = "verdicts do not add up to the planned cases";
        return 3;
    }
    const size_t ran = run->n_cases - tally[GDN_SKIP] - tally[GDN_UNSUPPORTED];
    if (ran == 0) {
        *why = "no case ran";
        return 3;
    }
    if (tally[GDN_FAIL] + tally[GDN_XPASS] + tally[GDN_CRASH] + tally[GDN_HANG] > 0) {
        *why = "cases failed";
        return 1;
    }
    if (tally[GDN_UNSUPPORTED] > 0) {
        *why = "the device declined cases";
        return 1;
    }
    *why = tally[GDN_XFAIL] > 0 ? "every case passed or shows a known defect"
                                : "every case passed";
    return 0;
}

const gdn_tensor_result *gdn_case_worst(const gdn_case_result *result) {
    const gdn_tensor_result *worst = NULL;
    for (size_t i = 0; i < result->n_tensors; i++) {
        const gdn_tensor_result *t = &result->tensors[i];
        if (!t->ok) {
            return t;
        }
        if (!worst || t->budget > worst->budget) {
            worst = t;
        }
    }
    return worst;
}

int gdn_case_headline(const gdn_case_result *result, char *text, size_t size) {
    const gdn_tensor_result *t = gdn_case_worst(result);
    if (!t || t->ok) {
        if (result->stray_bytes > 0) {
            return snprintf(text, size, "%lld stray bytes, the first at %s",
                            (long long)result->stray_bytes, result->stray_first);
        }
        return snprintf(text, size, "%s", result->message ? result->message : "");
    }
    if (t->special.unwritten > 0) {
        return snprintf(text, size,
                        "%s: %lld of %lld elements hold poison, never written or computed "
                        "from memory that nobody owns, the first %s",
                        t->name, (long long)t->special.unwritten, (long long)t->compared,
                        t->first_bad);
    }
    if (t->judgement == GDN_JUDGE_EXACT) {
        return snprintf(text, size,
                        "%s: %lld of %lld elements are no exact copy, the first %s"
                        " (%.9g, expected %.9g)",
                        t->name, (long long)t->failed, (long long)t->compared, t->first_bad,
                        t->found, t->golden);
    }
    return snprintf(text, size,
                    "%s: %lld of %lld beyond the limit, worst %s: %.9g, expected "
                    "%.9g +- %.3g (budget %.3g)",
                    t->name, (long long)t->failed, (long long)t->compared, t->worst,
                    t->found, t->golden, t->limit, t->budget);
}

void gdn_case_result_destroy(gdn_case_result *result) {
    free(result->id);
    free(result->message);
    free(result->replay);
    free(result->output);
    *result = (gdn_case_result){0};
}

void gdn_run_result_destroy(gdn_run_result *run) {
    for (size_t i = 0; i < run->n_cases; i++) {
        gdn_case_result_destroy(&run->cases[i]);
    }
    free(run->cases);
    free(run->device);
    free(run->hardware);
    free(run->driver);
    free(run->build);
    free(run->suites);
    free(run->vectors);
    free(run->vectors_digest);
    free(run->lost_reason);
    free(run->harness_error);
    *run = (gdn_run_result){0};
}
