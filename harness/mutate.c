/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "mutate.h"

#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "invisible.h"
#include "judge.h"
#include "loop.h"
#include "plan_cases.h"
#include "relation.h"
#include "sampling.h"
#include "visibility.h"

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

gdn_status gdn_mutate_run(const gdn_problem *problem, const gdn_conventions *bent,
                          gdn_error *err) {
    gdn_call call = problem->call;
    call.conventions = bent;
    gdn_output *outputs = calloc(call.n_tensors, sizeof *outputs);
    if (!outputs) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for outputs");
    }
    for (size_t i = 0; i < call.n_tensors; i++) {
        outputs[i].value = call.tensors[i];
    }
    const gdn_status status = gdn_reference_run(&call, outputs, err);
    free(outputs);
    return status;
}

/* What the exact result of the bent conventions shows. Stray writes have no exact result of
 * their own; they are seen where they are killed. */
static gdn_status look(const gdn_problem *problem, const gdn_golden *golden,
                       const gdn_conventions *bent, gdn_sight *sight, gdn_error *err) {
    gdn_problem other = *problem;
    other.call.conventions = bent;
    gdn_golden wrong;
    GDN_TRY(gdn_golden_create(&wrong, &other, err));
    const double distance = gdn_golden_distance(golden, &wrong);
    gdn_golden_destroy(&wrong);
    *sight = distance > GDN_VISIBLE_LIMITS ? GDN_SIGHT_SURVIVES
             : distance > 0.0              ? GDN_SIGHT_SLIGHT
                                           : GDN_SIGHT_NONE;
    return GDN_OK;
}

/* A case as it meets every deviation. `relation` NULL: an ordinary one. */
typedef struct trial {
    gdn_problem *problem; ///< of a relation its first call
    const gdn_golden *golden;
    gdn_relation_case *relation;
    const char *profiles;
} trial;

static gdn_status run_bent(void *context, const gdn_problem *problem, bool *ran,
                           gdn_case_result *result, gdn_error *err) {
    (void)result;
    *ran = true;
    return gdn_mutate_run(problem, context, err);
}

static gdn_status run_reference(void *context, const gdn_problem *problem, bool *ran,
                                gdn_case_result *result, gdn_error *err) {
    gdn_conventions bent = *problem->call.conventions;
    if (context) {
        GDN_TRY(gdn_deviation_apply(context, &bent, err));
    }
    return run_bent(&bent, problem, ran, result, err);
}

gdn_executor gdn_mutate_executor(const gdn_deviation *deviation) {
    return (gdn_executor){.run = run_reference, .context = (void *)(uintptr_t)deviation};
}

static gdn_status judge_bent(const trial *t, gdn_conventions *bent, gdn_case_result *result,
                             gdn_error *err) {
    if (t->relation) {
        const gdn_executor executor = {.run = run_bent, .context = bent};
        bool ran;
        return gdn_relation_judge(t->relation, &executor, &ran, result, err);
    }
    gdn_arena_restore(&t->problem->arena);
    GDN_TRY(gdn_mutate_run(t->problem, bent, err));
    return gdn_judge_case(t->problem, t->golden, result, err);
}

static void note_sight(gdn_mutant *mutant, const gdn_case *test, gdn_sight sight) {
    if (sight == GDN_SIGHT_KILLED && mutant->kills++ < GDN_MUTATE_KILLS) {
        mutant->killers[mutant->kills - 1] = strdup(test->id);
    }
    mutant->visible += sight >= GDN_SIGHT_SURVIVES;
}

static gdn_status try_mutant(gdn_mutant *mutant, const trial *t,
                             const gdn_mutate_options *options, gdn_sight *sight,
                             gdn_error *err) {
    gdn_problem *problem = t->problem;
    const gdn_golden *golden = t->golden;
    gdn_conventions bent = problem->test->conventions;
    GDN_TRY(gdn_deviation_apply(mutant->deviation, &bent, err));
    gdn_case_result result = {0};
    gdn_status status = judge_bent(t, &bent, &result, err);
    const bool killed = status == GDN_OK && result.verdict == GDN_FAIL;
    gdn_case_result_destroy(&result);
    if (killed && options->on_kill && !t->relation) {
        status =
            options->on_kill(options->context, problem, golden, mutant->deviation, err);
    }
    GDN_TRY(status);
    gdn_arena_restore(&problem->arena);
    mutant->tried++;
    *sight = GDN_SIGHT_KILLED;
    if (!killed) {
        GDN_TRY(look(problem, golden, &bent, sight, err));
    }
    note_sight(mutant, problem->test, *sight);
    return GDN_OK;
}

static bool is_series(const gdn_case *test) {
    return test->verify.steps > 0 || gdn_case_is_sampled(test);
}

/* Many calls show what a deviation does to their tokens; what they do not kill they do not
 * see. */
static gdn_status try_series(gdn_mutant *mutant, const trial *t, gdn_sight *sight,
                             gdn_error *err) {
    const gdn_case *test = t->problem->test;
    const gdn_executor executor = gdn_mutate_executor(mutant->deviation);
    const gdn_loop_options options = {.profiles = t->profiles};
    gdn_case_result result = {0};
    const gdn_status status = gdn_case_is_sampled(test)
                                  ? gdn_sampling_run(t->problem, &executor, &result, err)
                                  : gdn_loop_run(test, &executor, &options, &result, err);
    *sight = result.verdict == GDN_FAIL ? GDN_SIGHT_KILLED : GDN_SIGHT_NONE;
    gdn_case_result_destroy(&result);
    mutant->tried++;
    note_sight(mutant, test, *sight);
    return status;
}

static bool concerns(const gdn_deviation *deviation, const gdn_case *test) {
    return gdn_case_is_sampled(test) ? gdn_sampling_concerns(deviation, test)
           : test->verify.steps > 0  ? gdn_loop_concerns(deviation, test->op)
                                     : gdn_deviation_concerns(deviation, test->op);
}

static bool meets_all(const gdn_case *test, const gdn_mutate_options *options) {
    /* Many calls are work, whatever the recurrence has. */
    return gdn_doctor_work(test) <= options->full_work &&
           (!is_series(test) || options->full_work > 0.0);
}

static bool all_killed(const gdn_kill_matrix *matrix) {
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        if (matrix->mutants[i].kills < GDN_MUTATE_KILLS && !matrix->mutants[i].idle) {
            return false;
        }
    }
    return true;
}

/* Sets aside what no case of the plan has a place for, so that nothing waits for it. */
static void find_idle(gdn_kill_matrix *matrix, const gdn_case_plan *plan) {
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        gdn_mutant *m = &matrix->mutants[i];
        m->idle = plan->n_cases > 0;
        for (size_t c = 0; m->idle && c < plan->n_cases; c++) {
            m->idle =
                gdn_deviation_is_idle(m->deviation, &plan->cases[c].test->conventions);
        }
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

/* Every deviation that still wants a case on this one. */
static gdn_status try_mutants(gdn_kill_matrix *matrix, size_t row, const trial *t,
                              const gdn_mutate_options *options, gdn_error *err) {
    const gdn_case *test = t->problem->test;
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        gdn_mutant *mutant = &matrix->mutants[i];
        if ((mutant->kills >= GDN_MUTATE_KILLS && !meets_all(test, options)) ||
            !concerns(mutant->deviation, test) ||
            gdn_deviation_is_idle(mutant->deviation, &test->conventions)) {
            continue;
        }
        const size_t at = row * matrix->n_mutants + i;
        gdn_sight sight = GDN_SIGHT_UNTRIED;
        gdn_status status = is_series(test) ? try_series(mutant, t, &sight, err)
                                            : try_mutant(mutant, t, options, &sight, err);
        if (status == GDN_OK) {
            matrix->sights[at] = (uint8_t)sight;
            matrix->proofs[at] =
                t->relation ? NULL : gdn_invisible_proof(mutant->deviation, test);
            status = check_proof(matrix->proofs[at], sight, err);
        }
        if (status != GDN_OK) {
            gdn_error_context(err, "%s on %s", mutant->deviation->name, test->id);
            return status;
        }
    }
    return GDN_OK;
}

static gdn_status try_case(gdn_kill_matrix *matrix, size_t row, const gdn_case *planned,
                           const gdn_mutate_options *options, const char *profiles,
                           gdn_error *err) {
    gdn_problem problem = {0};
    gdn_golden golden = {0};
    gdn_relation_case relation = {.calls = NULL};
    gdn_case test = *planned; /* its members stay the planned case's */
    gdn_status status;
    trial t = {.problem = &problem, .golden = &golden, .profiles = profiles};
    if (options->in_class) {
        test.conventions.numeric_class = test.conventions.chunk_class = options->class;
    }
    if (test.relation != GDN_RELATION_NONE) {
        GDN_TRY(gdn_relation_create(&relation, &test, err));
        t = (trial){.problem = &relation.related.calls[0].problem,
                    .golden = &relation.calls[0].golden,
                    .relation = &relation};
        status = GDN_OK;
    } else {
        GDN_TRY(gdn_problem_create(&problem, &test, err));
        status = gdn_golden_create(&golden, &problem, err);
        if (status == GDN_OK && options->on_case && meets_all(&test, options)) {
            status = options->on_case(options->context, &problem, &golden, err);
        }
    }
    if (status == GDN_OK) {
        status = try_mutants(matrix, row, &t, options, err);
    }
    gdn_golden_destroy(&golden);
    gdn_problem_destroy(&problem);
    gdn_relation_destroy(&relation);
    matrix->cases++;
    return status;
}

/* The cases of the plan that are small enough, the cheapest first. */
static gdn_status list_cases(gdn_kill_matrix *matrix, gdn_case_plan *plan, gdn_error *err) {
    size_t n = 0;
    qsort(plan->cases, plan->n_cases, sizeof *plan->cases, by_cost);
    for (size_t i = 0; i < plan->n_cases; i++) {
        if (gdn_case_tokens(plan->cases[i].test) <= GDN_MUTATE_TOKENS) {
            plan->cases[n++] = plan->cases[i];
        }
    }
    plan->n_cases = n;
    matrix->ids = calloc(n + 1, sizeof *matrix->ids);
    matrix->sights = calloc(n * matrix->n_mutants + 1, sizeof *matrix->sights);
    matrix->proofs = calloc(n * matrix->n_mutants + 1, sizeof *matrix->proofs);
    bool room = matrix->ids && matrix->sights && matrix->proofs;
    for (; room && matrix->n_ids < n; matrix->n_ids++) {
        matrix->ids[matrix->n_ids] = strdup(plan->cases[matrix->n_ids].test->id);
        room = matrix->ids[matrix->n_ids] != NULL;
    }
    return room ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu cases", n);
}

gdn_status gdn_mutate(gdn_kill_matrix *matrix, const gdn_deviation *deviations,
                      size_t count, const char *const *suites,
                      const gdn_mutate_options *options, const gdn_paths *paths,
                      gdn_error *err) {
    *matrix = (gdn_kill_matrix){.mutants = calloc(count + 1, sizeof *matrix->mutants)};
    if (!matrix->mutants) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu deviations", count);
    }
    gdn_case_plan plan = {0};
    gdn_status status = gdn_case_plan_create(&plan, suites, NULL, NULL, paths, err);
    for (size_t i = 0; status == GDN_OK && i < count; i++) {
        if (concerns_case(&deviations[i], &plan)) {
            matrix->mutants[matrix->n_mutants++].deviation = &deviations[i];
        }
    }
    if (status == GDN_OK) {
        status = list_cases(matrix, &plan, err);
        find_idle(matrix, &plan);
    }
    for (size_t i = 0; status == GDN_OK && i < plan.n_cases; i++) {
        if (all_killed(matrix) && !meets_all(plan.cases[i].test, options)) {
            continue;
        }
        status = try_case(matrix, i, plan.cases[i].test, options, paths->profiles, err);
    }
    gdn_case_plan_destroy(&plan);
    if (status != GDN_OK) {
        gdn_kill_matrix_destroy(matrix);
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
    free(matrix->sights);
    free(matrix->proofs);
    free(matrix->mutants);
    *matrix = (gdn_kill_matrix){0};
}
