/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "mutate_trial.h"

#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "invisible.h"
#include "loop.h"
#include "plan_cases.h"
#include "sampling.h"

/* Work of a case, in state elements touched: what decides which case is tried first. */
static double cost_of(const gdn_case *test) {
    return (double)(1 + gdn_case_tokens(test)) * (double)test->num_v_heads /
           (double)test->tp_size * (double)test->head_k_dim * (double)test->head_v_dim;
}

static int by_cost(const void *a, const void *b) {
    const gdn_planned_case *x = a, *y = b;
    const double difference = cost_of(x->test) - cost_of(y->test);
    return difference != 0.0 ? (difference > 0.0) - (difference < 0.0)
                             : strcmp(x->test->id, y->test->id);
}

/* What no deviation can be proved invisible in: many calls, none of them the case's own. */
static bool is_compound(const gdn_case *test) {
    return test->relation != GDN_RELATION_NONE || gdnp_trial_is_series(test);
}

static bool concerns(const gdn_deviation *deviation, const gdn_case *test) {
    return gdn_case_is_sampled(test) ? gdn_sampling_concerns(deviation, test)
           : test->verify.steps > 0  ? gdn_loop_concerns(deviation, test->op)
                                     : gdn_deviation_concerns(deviation, test->op);
}

static bool is_settled(const gdnp_search *s, size_t limits, size_t at) {
    const gdn_mutant *mutant = &s->matrices[limits].mutants[at];
    const size_t blind = mutant->tried - mutant->visible;
    return mutant->kills >= GDN_MUTATE_KILLS || mutant->idle || mutant->proof ||
           (limits > 0 && s->options->tries > 0 && mutant->kills == 0 &&
            blind >= s->options->tries);
}

/* Whether some limits still want kills of a deviation. */
static bool is_wanted(const gdnp_search *s, size_t at) {
    for (size_t i = 0; i < s->n_limits; i++) {
        if (!is_settled(s, i, at)) {
            return true;
        }
    }
    return false;
}

/* Whether a case that need not meet every deviation has to be made at all. */
static bool can_show_any(const gdnp_search *s, size_t row, const gdn_case *test) {
    const gdn_kill_matrix *own = s->matrices;
    for (size_t at = 0; at < own->n_mutants; at++) {
        const gdn_deviation *deviation = own->mutants[at].deviation;
        if (is_wanted(s, at) && !own->proofs[row * own->n_mutants + at] &&
            concerns(deviation, test) &&
            !gdn_deviation_is_idle(deviation, &test->conventions)) {
            return true;
        }
    }
    return false;
}

/* Sets aside what no case of the plan has a place for, and what none can show, so that
 * nothing waits for it. */
static void set_aside(gdn_kill_matrix *matrix, const gdn_case_plan *plan) {
    for (size_t at = 0; at < matrix->n_mutants; at++) {
        gdn_mutant *mutant = &matrix->mutants[at];
        bool proved = true;
        mutant->idle = plan->n_cases > 0;
        for (size_t row = 0; row < plan->n_cases; row++) {
            const gdn_case *test = plan->cases[row].test;
            if (!concerns(mutant->deviation, test) ||
                gdn_deviation_is_idle(mutant->deviation, &test->conventions)) {
                continue;
            }
            const char *proof =
                is_compound(test) ? NULL : gdn_invisible_proof(mutant->deviation, test);
            matrix->proofs[row * matrix->n_mutants + at] = proof;
            proved = proved && proof;
            mutant->proof = mutant->idle ? proof : mutant->proof;
            mutant->idle = false;
        }
        mutant->proof = proved ? mutant->proof : NULL;
    }
}

static gdn_status check_proof(const char *proof, gdn_sight sight, gdn_error *err) {
    return !proof || sight == GDN_SIGHT_NONE
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_BLIND,
                               "expected no effect, because %s, but found one", proof);
}

static bool concerns_case(const gdn_deviation *deviation, const gdn_case_plan *plan) {
    for (size_t i = 0; i < plan->n_cases; i++) {
        if (concerns(deviation, plan->cases[i].test)) {
            return true;
        }
    }
    return false;
}

/* One deviation in one case, where it is wanted. */
static gdn_status meet(gdnp_trial *t, size_t at, bool full, gdn_error *err) {
    const gdn_case *test = t->test;
    const gdn_deviation *deviation = t->of->matrices->mutants[at].deviation;
    bool wanted[GDN_MUTATE_LIMITS] = {false};
    gdn_sight sights[GDN_MUTATE_LIMITS] = {GDN_SIGHT_UNTRIED};
    if (!(full || is_wanted(t->of, at)) || !concerns(deviation, test) ||
        gdn_deviation_is_idle(deviation, &test->conventions)) {
        return GDN_OK;
    }
    const gdn_kill_matrix *own = t->of->matrices;
    const char *proof = own->proofs[t->row * own->n_mutants + at];
    for (size_t i = 0; i < t->of->n_limits; i++) {
        wanted[i] = full || !is_settled(t->of, i, at);
    }
    if (proof && !full) {
        return GDN_OK;
    }
    gdn_status status = gdnp_trial_meet(t, at, wanted, sights, err);
    for (size_t i = 0; status == GDN_OK && i < t->of->n_limits; i++) {
        status = check_proof(wanted[i] ? proof : NULL, sights[t->same[i]], err);
    }
    return status;
}

static gdn_status try_case(const gdnp_search *s, size_t row, const gdn_case *test,
                           gdn_error *err) {
    const bool full = s->matrices->full[row];
    gdnp_trial t;
    GDN_TRY(gdnp_trial_create(&t, s, row, test, err));
    gdn_status status = full ? gdnp_trial_greet(&t, err) : GDN_OK;
    for (size_t at = 0; status == GDN_OK && at < s->matrices->n_mutants; at++) {
        status = meet(&t, at, full, err);
        if (status != GDN_OK) {
            gdn_error_context(err, "%s on %s", s->matrices->mutants[at].deviation->name,
                              test->id);
        }
    }
    gdnp_trial_destroy(&t);
    for (size_t i = 0; i < s->n_limits; i++) {
        s->matrices[i].cases++;
    }
    return status;
}

static bool is_listed(const char *const *ids, const char *id) {
    for (size_t i = 0; ids[i]; i++) {
        if (strcmp(ids[i], id) == 0) {
            return true;
        }
    }
    return false;
}

static bool alike(const gdn_case *a, const gdn_case *b) {
    bool prefills[2] = {false, false};
    for (int k = 0; k < 2; k++) {
        const gdn_case *test = k == 0 ? a : b;
        for (size_t i = 0; i < test->n_sequences; i++) {
            prefills[k] |= test->sequences[i].kind == GDN_SEQ_PREFILL;
        }
    }
    return a->op == b->op && (a->columns > 0) == (b->columns > 0) &&
           prefills[0] == prefills[1];
}

/* Which cases, from the cheapest on, meet every deviation. */
static void choose_full(bool *full, const gdn_case_plan *plan,
                        const gdn_mutate_options *options) {
    for (size_t i = 0; i < plan->n_cases; i++) {
        const gdn_case *test = plan->cases[i].test;
        const bool series = gdnp_trial_is_series(test); /* many calls are work */
        full[i] = gdn_doctor_work(test) <= options->full_work &&
                  (!series || options->full_work > 0.0);
        if (options->watched) {
            full[i] = full[i] || is_listed(options->watched, test->id);
        } else if (options->examples) {
            bool first = true;
            for (size_t k = 0; first && k < i; k++) {
                first = !alike(plan->cases[k].test, test);
            }
            full[i] = full[i] || first;
        }
    }
}

/* The cases of the plan that are small enough, the cheapest first. */
static gdn_status list_cases(gdn_kill_matrix *matrix, const gdn_case_plan *plan,
                             const gdn_mutate_options *options, gdn_error *err) {
    const size_t n = plan->n_cases;
    matrix->ids = calloc(n + 1, sizeof *matrix->ids);
    matrix->full = calloc(n + 1, sizeof *matrix->full);
    matrix->sights = calloc(n * matrix->n_mutants + 1, sizeof *matrix->sights);
    matrix->proofs = calloc(n * matrix->n_mutants + 1, sizeof *matrix->proofs);
    bool room = matrix->ids && matrix->full && matrix->sights && matrix->proofs;
    for (; room && matrix->n_ids < n; matrix->n_ids++) {
        matrix->ids[matrix->n_ids] = strdup(plan->cases[matrix->n_ids].test->id);
        room = matrix->ids[matrix->n_ids] != NULL;
    }
    if (!room) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu cases", n);
    }
    choose_full(matrix->full, plan, options);
    return GDN_OK;
}

/* Calls that are refused compute nothing, dyes are judged by where a NaN goes and by no
 * value, and pages of a gigabyte cost more to go over, once a deviation, than they show. */
static bool is_scored(const gdn_case *test) {
    return gdn_case_tokens(test) <= GDN_MUTATE_TOKENS && !test->refuse &&
           test->dye == GDN_DYE_NONE && test->page_bytes < GDN_MUTATE_PAGE &&
           test->row_bytes < GDN_MUTATE_PAGE;
}

static void sort_plan(gdn_case_plan *plan) {
    size_t n = 0;
    qsort(plan->cases, plan->n_cases, sizeof *plan->cases, by_cost);
    for (size_t i = 0; i < plan->n_cases; i++) {
        if (is_scored(plan->cases[i].test)) {
            plan->cases[n++] = plan->cases[i];
        }
    }
    plan->n_cases = n;
}

static gdn_status matrix_create(gdn_kill_matrix *matrix, const gdn_deviation *deviations,
                                size_t count, const gdn_case_plan *plan,
                                const gdn_mutate_options *options, gdn_error *err) {
    *matrix = (gdn_kill_matrix){.mutants = calloc(count + 1, sizeof *matrix->mutants)};
    if (!matrix->mutants) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu deviations", count);
    }
    for (size_t i = 0; i < count; i++) {
        if (concerns_case(&deviations[i], plan)) {
            matrix->mutants[matrix->n_mutants++].deviation = &deviations[i];
        }
    }
    GDN_TRY(list_cases(matrix, plan, options, err));
    set_aside(matrix, plan);
    return GDN_OK;
}

gdn_status gdn_mutate(gdn_kill_matrix *matrices, const gdn_deviation *deviations,
                      size_t count, const char *const *suites,
                      const gdn_mutate_options *options, const gdn_paths *paths,
                      gdn_error *err) {
    const gdnp_search s = {.matrices = matrices,
                           .n_limits = 1 + options->n_classes,
                           .options = options,
                           .profiles = paths->profiles};
    gdn_case_plan plan = {0};
    gdn_status status = GDN_OK;
    memset(matrices, 0, s.n_limits * sizeof *matrices);
#pragma omp critical(gdn_mutate_plan) /* HDF5 takes one thread at a time */
    status = gdn_case_plan_create(&plan, suites, NULL, NULL, paths, err);
    if (status == GDN_OK) {
        sort_plan(&plan);
    }
    for (size_t i = 0; status == GDN_OK && i < s.n_limits; i++) {
        status = matrix_create(&matrices[i], deviations, count, &plan, options, err);
    }
    for (size_t i = 0; status == GDN_OK && i < plan.n_cases; i++) {
        if (matrices->full[i] || can_show_any(&s, i, plan.cases[i].test)) {
            status = try_case(&s, i, plan.cases[i].test, err);
        }
    }
#pragma omp critical(gdn_mutate_plan)
    gdn_case_plan_destroy(&plan);
    for (size_t i = 0; status != GDN_OK && i < s.n_limits; i++) {
        gdn_kill_matrix_destroy(&matrices[i]);
    }
    return status;
}

void gdn_kill_matrix_destroy(gdn_kill_matrix *matrix) {
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        for (size_t k = 0; k < GDN_MUTATE_KILLS; k++) {
            free(matrix->mutants[i].killers[k]);
        }
    }
    for (size_t i = 0; i < matrix->n_ids; i++) {
        free(matrix->ids[i]);
    }
    free(matrix->ids);
    free(matrix->full);
    free(matrix->sights);
    free(matrix->proofs);
    free(matrix->mutants);
    *matrix = (gdn_kill_matrix){0};
}
