/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "result.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *gdn_verdict_name(gdn_verdict verdict) {
    static const char *const NAMES[GDN_VERDICT_COUNT] = {
        [GDN_PASS] = "pass",   [GDN_FAIL] = "fail", [GDN_XFAIL] = "xfail",
        [GDN_XPASS] = "xpass", [GDN_SKIP] = "skip", [GDN_UNSUPPORTED] = "unsupported",
        [GDN_CRASH] = "crash", [GDN_HANG] = "hang",
    };
    return NAMES[verdict];
}

const char *gdn_limit_kind_name(gdn_limit_kind kind) {
    static const char *const NAMES[] = {
        [GDN_LIMIT_EXACT] = "exact",
        [GDN_LIMIT_BOUND] = "bound",
        [GDN_LIMIT_FLOOR_LARGEST] = "floor_largest",
        [GDN_LIMIT_FLOOR_RMS] = "floor_rms",
        [GDN_LIMIT_ROUNDED] = "rounded",
        [GDN_LIMIT_LATTICE] = "lattice",
    };
    return NAMES[kind];
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
    if (run->complaint) {
        *why = "the known failures or the ratchet are out of date";
        return 1;
    }
    for (size_t i = 0; i < run->n_numerics; i++) {
        if (!run->numerics[i].ok) {
            *why = "the device's arithmetic is not what the profile claims";
            return 1;
        }
    }
    if (tally[GDN_UNSUPPORTED] > 0) {
        *why = "the device declined cases";
        return 1;
    }
    *why =
        tally[GDN_XFAIL] > 0 ? "every case passed or failed as known" : "every case passed";
    return 0;
}

bool gdn_verdict_from_name(const char *name, gdn_verdict *verdict) {
    for (int v = 0; v < GDN_VERDICT_COUNT; v++) {
        if (strcmp(gdn_verdict_name((gdn_verdict)v), name) == 0) {
            *verdict = (gdn_verdict)v;
            return true;
        }
    }
    return false;
}

bool gdn_verdict_is_red(gdn_verdict verdict) {
    return verdict == GDN_FAIL || verdict == GDN_XPASS || verdict == GDN_CRASH ||
           verdict == GDN_HANG;
}

bool gdn_verdict_ran(gdn_verdict verdict) {
    return verdict != GDN_SKIP && verdict != GDN_UNSUPPORTED;
}

double gdn_case_budget(const gdn_case_result *result) {
    double budget = -1.0;
    for (size_t i = 0; i < result->n_tensors; i++) {
        budget = fmax(budget, result->tensors[i].budget);
    }
    return budget;
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

gdn_claim_sum gdn_run_claim(const gdn_run_result *run, gdn_claim_axis axis) {
    gdn_claim_sum sum = {.cases = 0};
    for (size_t i = 0; i < run->n_cases; i++) {
        const gdn_case_claim *claim = &run->cases[i].claim;
        if (!claim->seen || claim->axis != axis) {
            continue;
        }
        const bool yes = claim->claimed == GDN_CLAIMS_YES;
        sum.cases++;
        sum.claimed += yes;
        sum.differ += !claim->held;
        if (!claim->held) {
            sum.first = sum.first ? sum.first : &run->cases[i];
            sum.refuted = sum.refuted || !yes ? sum.refuted : &run->cases[i];
        }
    }
    return sum;
}

const char *gdn_claim_outcome(const gdn_claim_sum *sum) {
    return sum->refuted ? "refuted" : sum->claimed > 0 ? "held" : "not claimed";
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
    if (t->failed == 0) {
        const bool rms = t->pool.kind == GDN_LIMIT_FLOOR_RMS;
        return snprintf(text, size,
                        "%s: no element is beyond its limit, but %s of head %lld: %.3g, "
                        "at most %.3g (budget %.3g, %s)",
                        t->name,
                        rms ? "the root mean square error"
                            : "elements other than the rounded golden value",
                        (long long)t->pool.head, t->pool.found, t->pool.limit,
                        t->pool.budget, gdn_limit_kind_name(t->pool.kind));
    }
    return snprintf(text, size,
                    "%s: %lld of %lld beyond the limit, worst %s: %.9g, expected "
                    "%.9g +- %.3g (budget %.3g, %s)",
                    t->name, (long long)t->failed, (long long)t->compared, t->worst,
                    t->found, t->golden, t->limit, t->budget,
                    gdn_limit_kind_name(t->binding));
}

void gdn_case_result_destroy(gdn_case_result *result) {
    free(result->id);
    free(result->message);
    free(result->replay);
    free(result->output);
    free(result->diagnosis.verdict);
    free(result->diagnosis.deviation);
    free(result->diagnosis.text);
    free(result->known);
    free(result->first_wrong);
    free(result->returned);
    free(result->ratchet.reason);
    for (size_t i = 0; i < result->n_maps; i++) {
        free(result->maps[i].budget);
    }
    *result = (gdn_case_result){0};
}

void gdn_run_result_destroy(gdn_run_result *run) {
    for (size_t i = 0; i < run->n_cases; i++) {
        gdn_case_result_destroy(&run->cases[i]);
    }
    for (size_t i = 0; i < run->n_profiles; i++) {
        free(run->profiles[i].name);
    }
    free(run->profiles);
    free(run->numerics);
    free(run->cases);
    free(run->device);
    free(run->hardware);
    free(run->driver);
    free(run->build);
    free(run->suites);
    free(run->vectors);
    free(run->vectors_digest);
    free(run->lost_reason);
    free(run->complaint);
    free(run->harness_error);
    *run = (gdn_run_result){0};
}
