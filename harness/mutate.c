/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "mutate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "judge.h"
#include "plan_cases.h"

/* How far beyond its limit an exact result must be to count as visible. */
#define VISIBLE_LIMITS 2.0

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

/* Runs the reference, bent, into the arena, as the sim device does. */
static gdn_status run_bent(const gdn_problem *problem, const gdn_conventions *bent,
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

/* True if the exact result of the bent conventions is visibly elsewhere. Stray writes have
 * no
 * exact result of their own; they are visible where they are killed. */
static gdn_status is_visible(const gdn_problem *problem, const gdn_golden *golden,
                             const gdn_conventions *bent, bool *visible, gdn_error *err) {
    gdn_problem other = *problem;
    other.call.conventions = bent;
    gdn_golden wrong;
    GDN_TRY(gdn_golden_create(&wrong, &other, err));
    for (size_t i = 0; !*visible && i < golden->n_outputs; i++) {
        const gdn_expected *right = &golden->outputs[i];
        const gdn_expected *bad = &wrong.outputs[i];
        const int64_t count = right->n_rows * right->row_count;
        if (right->n_rows != bad->n_rows ||
            memcmp(right->rows, bad->rows, (size_t)right->n_rows * sizeof *right->rows)) {
            *visible = true;
        } else if (right->bits) {
            *visible = memcmp(right->bits, bad->bits,
                              (size_t)count * gdn_dtype_size(right->tensor->dtype)) != 0;
        }
        for (int64_t j = 0; !*visible && right->golden && j < count; j++) {
            const double error = fabs(bad->golden[j] - right->golden[j]);
            *visible = !(error <= VISIBLE_LIMITS * (double)right->limit[j]);
        }
    }
    gdn_golden_destroy(&wrong);
    return GDN_OK;
}

static gdn_status try_mutant(gdn_mutant *mutant, gdn_problem *problem,
                             const gdn_golden *golden, gdn_error *err) {
    if (gdn_deviation_is_idle(mutant->deviation, &problem->test->conventions)) {
        return GDN_OK;
    }
    gdn_conventions bent = problem->test->conventions;
    GDN_TRY(gdn_deviation_apply(mutant->deviation, &bent, err));
    gdn_arena_restore(&problem->arena);
    GDN_TRY(run_bent(problem, &bent, err));
    gdn_case_result result = {0};
    const gdn_status status = gdn_judge_case(problem, golden, &result, err);
    const bool killed = status == GDN_OK && result.verdict == GDN_FAIL;
    gdn_case_result_destroy(&result);
    GDN_TRY(status);
    gdn_arena_restore(&problem->arena);
    mutant->tried++;
    bool visible = killed;
    if (killed) {
        mutant->killers[mutant->kills++] = strdup(problem->test->id);
    } else {
        GDN_TRY(is_visible(problem, golden, &bent, &visible, err));
    }
    mutant->visible += visible;
    return GDN_OK;
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

static bool concerns_case(const gdn_deviation *deviation, const gdn_case_plan *plan) {
    for (size_t i = 0; i < plan->n_cases; i++) {
        if (gdn_deviation_concerns(deviation, plan->cases[i].test->op)) {
            return true;
        }
    }
    return false;
}

static gdn_status try_case(gdn_kill_matrix *matrix, const gdn_case *test, gdn_error *err) {
    gdn_problem problem;
    gdn_golden golden;
    GDN_TRY(gdn_problem_create(&problem, test, err));
    gdn_status status = gdn_golden_create(&golden, &problem, err);
    for (size_t i = 0; status == GDN_OK && i < matrix->n_mutants; i++) {
        if (matrix->mutants[i].kills < GDN_MUTATE_KILLS &&
            gdn_deviation_concerns(matrix->mutants[i].deviation, test->op)) {
            status = try_mutant(&matrix->mutants[i], &problem, &golden, err);
            if (status != GDN_OK) {
                gdn_error_context(err, "%s", matrix->mutants[i].deviation->name);
            }
        }
    }
    if (golden.outputs) {
        gdn_golden_destroy(&golden);
    }
    gdn_problem_destroy(&problem);
    matrix->cases++;
    return status;
}

gdn_status gdn_mutate(gdn_kill_matrix *matrix, const gdn_deviation *deviations,
                      size_t count, const char *const *suites, const gdn_paths *paths,
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
        qsort(plan.cases, plan.n_cases, sizeof *plan.cases, by_cost);
        find_idle(matrix, &plan);
    }
    for (size_t i = 0; status == GDN_OK && i < plan.n_cases && !all_killed(matrix); i++) {
        if (gdn_case_tokens(plan.cases[i].test) <= GDN_MUTATE_TOKENS) {
            status = try_case(matrix, plan.cases[i].test, err);
        }
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
    free(matrix->mutants);
    *matrix = (gdn_kill_matrix){0};
}
