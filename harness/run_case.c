/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "run_case.h"

#include <string.h>

#include "bisect.h"
#include "case_map.h"
#include "judge.h"
#include "loop.h"
#include "perf.h"
#include "refusal.h"
#include "relation.h"
#include "sampling.h"
#include "shipped.h"
#include "worker_process.h"

static gdn_status prepare(const gdn_planned_case *planned, gdn_problem *problem,
                          gdn_golden *golden, gdn_error *err) {
    if (planned->reader) {
        return gdn_vector_reader_load(planned->reader, planned->test, problem, golden, err);
    }
    *golden = (gdn_golden){0};
    return gdn_problem_create(problem, planned->test, err);
}

/* The first failing cases get maps; while nothing fails, the one nearest to its limit. */
static bool wants_maps(gdn_run_result *run, const gdn_case_result *result) {
    size_t failing = 0;
    gdn_case_result *best = NULL;
    for (size_t i = 0; i < run->n_cases; i++) {
        gdn_case_result *c = &run->cases[i];
        if (c->n_maps > 0) {
            failing += c->verdict != GDN_PASS;
            best = c->verdict == GDN_PASS ? c : best;
        }
    }
    if (result->verdict == GDN_FAIL) {
        return failing < GDN_MAPPED_CASES;
    }
    if (best && gdn_case_budget(result) > gdn_case_budget(best)) {
        gdn_case_drop_maps(best);
        return true;
    }
    return !best && failing == 0;
}

static gdn_status run_relation(const gdn_planned_case *planned, gdn_session *session,
                               gdn_case_result *result, gdn_error *err) {
    const gdn_executor device = gdn_session_executor(session);
    const double start = gdnp_now();
    gdn_relation_case relation;
    bool ran = false;
    GDN_TRY(gdn_relation_create(&relation, planned->test, err));
    gdn_golden_mix(&relation.calls[0].golden, result->digest);
    const gdn_status status = gdn_relation_judge(&relation, &device, &ran, result, err);
    gdn_relation_destroy(&relation);
    result->total_seconds = gdnp_now() - start;
    return status;
}

/* As many cases as are diagnosed in full. */
static bool wants_bisection(const gdn_run_result *run) {
    size_t found = 0;
    for (size_t i = 0; i < run->n_cases; i++) {
        found += run->cases[i].first_wrong != NULL;
    }
    return found < GDN_DOCTOR_SEARCHES;
}

gdn_status gdn_run_case(const gdn_planned_case *planned, gdn_session *session,
                        gdn_doctor *doctor, gdn_run_result *run, gdn_case_result *result,
                        gdn_error *err) {
    if (planned->test->relation != GDN_RELATION_NONE) {
        return run_relation(planned, session, result, err);
    }
    gdn_problem problem = {0};
    gdn_golden golden = {0};
    const double start = gdnp_now();
    gdn_status status = prepare(planned, &problem, &golden, err);
    bool supported = false;
    bool ran = false;
    bool defect = false;
    char shipped[512];
    gdn_error why = {0};
    result->golden_stored = planned->reader != NULL;
    if (status == GDN_OK && gdn_refusal_is_due(&problem, &why)) {
        status = gdn_refusal_run(session, &problem, &why, result, err);
        gdn_problem_destroy(&problem);
        result->total_seconds = gdnp_now() - start;
        return status;
    }
    if (status == GDN_OK) {
        status = gdn_session_supports(session, &problem, &supported, result, err);
    }
    /* The golden values come first: the reference reads its inputs from the arena, which
     * the device may damage. */
    if (status == GDN_OK && supported && !planned->reader) {
        status = gdn_golden_create(&golden, &problem, err);
    }
    if (status == GDN_OK && supported) {
        gdn_golden_mix(&golden, result->digest);
        status =
            gdn_shipped_defect(&problem, &golden, &defect, shipped, sizeof shipped, err);
    }
    const bool loops = planned->test->verify.steps > 0;
    if (status == GDN_OK && supported && loops) {
        const gdn_executor executor = gdn_session_executor(session);
        const gdn_loop_options options = {session->profiles, true, doctor};
        status = gdn_loop_run(planned->test, &executor, &options, result, err);
    } else if (status == GDN_OK && supported && gdn_case_is_sampled(planned->test)) {
        const gdn_executor executor = gdn_session_executor(session);
        status = gdn_sampling_run(&problem, &executor, result, err);
    } else if (status == GDN_OK && supported) {
        status = gdn_session_run(session, &problem, &ran, result, err);
    }
    if (status == GDN_OK && ran) {
        status = gdn_judge_case(&problem, &golden, result, err);
        if (status == GDN_OK && result->verdict == GDN_PASS && defect) {
            result->verdict = GDN_XFAIL;
            result->message = strdup(shipped);
        }
    }
    if (status == GDN_OK && ran && session->perf > 0 && result->verdict == GDN_PASS) {
        status = gdn_perf_measure(result, session, &problem, &golden, session->perf, err);
    }
    if (status == GDN_OK && ran && doctor && result->verdict == GDN_FAIL) {
        status = gdn_doctor_see(doctor, &problem, &golden, result, err);
        const gdn_executor device = gdn_session_executor(session);
        if (status == GDN_OK && !session->lost && wants_bisection(run)) {
            status = gdn_bisect(planned->test, &device, result, err);
        }
    }
    if (status == GDN_OK && ran && wants_maps(run, result)) {
        status = gdn_case_maps(result, &problem, &golden, err);
    }
    gdn_golden_destroy(&golden);
    gdn_problem_destroy(&problem);
    result->total_seconds = gdnp_now() - start;
    return status;
}
