/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "floor_limit.h"
#include "judge.h"

/* What is_foretold() takes for near and wide. */
#define MUCH_NEARER 16.0
#define NEARER      (4.0 / 3.0)
#define WIDER       2.0

/* The call on other memory than the arena's: the image, or a copy of it to run in. */
typedef struct elsewhere {
    gdn_problem problem;
    gdn_tensor *tensors;
} elsewhere;

static gdn_status elsewhere_create(elsewhere *e, const gdn_problem *problem,
                                   uint8_t *memory, const gdn_conventions *conventions,
                                   gdn_error *err) {
    const size_t n = problem->call.n_tensors;
    *e = (elsewhere){.problem = *problem, .tensors = calloc(n + 1, sizeof *e->tensors)};
    if (!e->tensors) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu tensors", n);
    }
    for (size_t i = 0; i < n; i++) {
        e->tensors[i] = problem->call.tensors[i];
        e->tensors[i].data = memory + ((uint8_t *)e->tensors[i].data - problem->arena.base);
    }
    e->problem.call.conventions = conventions;
    e->problem.call.tensors = e->tensors;
    e->problem.call.arena = memory;
    return GDN_OK;
}

const void *gdn_fit_found(const gdn_arena *arena, const gdn_tensor *t) {
    const uint8_t *data = t->data;
    const bool in_image = data >= arena->image && data < arena->image + arena->bytes;
    return in_image ? arena->base + (data - arena->image) : data;
}

/* Limits of one output, the smaller of two each. */
static bool lower_limits(const gdn_expected *e, float *limits) {
    const int64_t heads = e->floors ? e->tensor->shape[1] : 1;
    const int64_t width = heads > 0 ? e->row_count / heads : 0;
    gdn_floor_limit *floors = calloc((size_t)heads + 1, sizeof *floors);
    for (int64_t h = 0; floors && h < heads; h++) {
        floors[h] = gdn_floor_limit_of(e->floors ? &e->floors[h] : NULL);
    }
    for (int64_t flat = 0; floors && flat < e->n_rows * e->row_count; flat++) {
        const double operand = e->operand ? (double)e->operand[flat] : 0.0;
        const double floor = gdn_floor_element(&floors[flat % e->row_count / width],
                                               e->golden[flat], operand, e->tensor->dtype);
        limits[flat] = floor < (double)e->limit[flat] ? (float)floor : e->limit[flat];
    }
    free(floors);
    return floors != NULL;
}

gdn_status gdn_fit_golden_create(gdn_golden *judged, const gdn_golden *golden,
                                 gdn_error *err) {
    *judged = (gdn_golden){.outputs = calloc(golden->n_outputs + 1, sizeof(gdn_expected))};
    bool room = judged->outputs != NULL;
    for (size_t i = 0; room && i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        judged->outputs[i] = *e;
        judged->outputs[i].limit = NULL;
        judged->n_outputs++;
        if (e->limit) {
            const size_t count = (size_t)(e->n_rows * e->row_count);
            float *limits = malloc((count + 1) * sizeof *limits);
            judged->outputs[i].limit = limits;
            room = limits && lower_limits(e, limits);
        }
    }
    if (!room) {
        gdn_fit_golden_destroy(judged);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for limits");
    }
    return GDN_OK;
}

void gdn_fit_golden_destroy(gdn_golden *judged) {
    for (size_t i = 0; i < judged->n_outputs; i++) {
        free(judged->outputs[i].limit);
    }
    free(judged->outputs);
    *judged = (gdn_golden){0};
}

static bool is_poison(const uint8_t *bytes, size_t size) {
    const uint16_t word = GDN_POISON_WORD;
    for (size_t k = 0; k + 1 < size; k += 2) {
        if (memcmp(bytes + k, &word, sizeof word) != 0) {
            return false;
        }
    }
    return size >= sizeof word;
}

/* The rules of judge.c for one element. */
bool gdn_fit_wrong(const gdn_problem *problem, const gdn_expected *e, int64_t index,
                   int64_t i, double *budget) {
    const gdn_tensor *t = e->tensor;
    const void *found = gdn_fit_found(&problem->arena, t);
    const int64_t at = e->rows[index] * t->stride[0] + i;
    const int64_t flat = index * e->row_count + i;
    if (e->judgement == GDN_JUDGE_BOUNDED) {
        return !gdn_judge_element(e->golden[flat], gdn_load(found, t->dtype, at),
                                  (double)e->limit[flat], t->dtype, budget);
    }
    const size_t size = gdn_dtype_size(t->dtype);
    const uint8_t *right = (const uint8_t *)e->bits + (size_t)flat * size;
    const uint8_t *bytes = (const uint8_t *)found + (size_t)at * size;
    const bool same = memcmp(right, bytes, size) == 0 ||
                      (isnan(gdn_load(e->bits, t->dtype, flat)) &&
                       isnan(gdn_load(found, t->dtype, at)) && !is_poison(right, size));
    *budget = same ? 0.0 : INFINITY;
    return !same;
}

static int64_t count_apart(const uint8_t *a, const uint8_t *b, size_t from, size_t to) {
    int64_t apart = 0;
    if (from < to && memcmp(a + from, b + from, to - from) != 0) {
        for (size_t i = from; i < to; i++) {
            apart += a[i] != b[i];
        }
    }
    return apart;
}

/* Bytes outside the rows of `golden` in which two blocks of memory differ. */
static int64_t count_stray(const gdn_problem *problem, const gdn_golden *golden,
                           const uint8_t *a, const uint8_t *b) {
    const gdn_arena *arena = &problem->arena;
    size_t position = 0;
    int64_t apart = 0;
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        const size_t size = gdn_dtype_size(e->tensor->dtype);
        const size_t base =
            (size_t)((const uint8_t *)gdn_fit_found(arena, e->tensor) - arena->base);
        for (int64_t index = 0; index < e->n_rows; index++) {
            const size_t row =
                base + (size_t)(e->rows[index] * e->tensor->stride[0]) * size;
            apart += count_apart(a, b, position, row);
            position = row + (size_t)e->row_count * size;
        }
    }
    return apart + count_apart(a, b, position, arena->bytes);
}

static bool same_rows(const gdn_golden *a, const gdn_golden *b) {
    for (size_t i = 0; i < a->n_outputs; i++) {
        const gdn_expected *x = &a->outputs[i], *y = &b->outputs[i];
        if (x->n_rows != y->n_rows ||
            memcmp(x->rows, y->rows, (size_t)x->n_rows * sizeof *x->rows) != 0) {
            return false;
        }
    }
    return true;
}

void gdn_wrong_count(gdn_wrong *wrong, const gdn_problem *problem,
                     const gdn_golden *golden) {
    *wrong = (gdn_wrong){
        .stray = count_stray(problem, golden, problem->arena.base, problem->arena.image)};
    for (size_t k = 0; k < golden->n_outputs; k++) {
        const gdn_expected *e = &golden->outputs[k];
        for (int64_t index = 0; index < e->n_rows; index++) {
            for (int64_t i = 0; i < e->row_count; i++) {
                double budget;
                wrong->elements[k] += gdn_fit_wrong(problem, e, index, i, &budget);
            }
        }
    }
}

/* The bent reference as a device would run: in place. */
static gdn_status run_in_place(uint8_t **memory, const gdn_problem *problem,
                               const gdn_conventions *conventions, gdn_error *err) {
    const gdn_arena *arena = &problem->arena;
    elsewhere there = {0};
    gdn_output *outputs = calloc(problem->call.n_tensors + 1, sizeof *outputs);
    *memory = malloc(arena->bytes);
    gdn_status status = outputs && *memory
                            ? elsewhere_create(&there, problem, *memory, conventions, err)
                            : gdn_error_set(err, GDN_ERR_OOM, "no memory for an arena");
    if (status == GDN_OK) {
        memcpy(*memory, arena->image, arena->bytes);
        for (size_t i = 0; i < problem->call.n_tensors; i++) {
            outputs[i].value = there.tensors[i];
        }
        status = gdn_reference_run(&there.problem.call, outputs, err);
    }
    free(there.tensors);
    free(outputs);
    return status;
}

/* Compares the outputs. `simulated` (NULL: not run) excuses elements that hold its very
 * bytes. True if something is wrong where the device wrote nothing, or where a bug's
 * arithmetic leaves no limit (the logarithm of a negative number, a negative decay). */
static bool compare_outputs(gdn_fit *fit, const gdn_problem *problem,
                            const gdn_golden *golden, const uint8_t *simulated) {
    bool undecided = false;
    for (size_t k = 0; k < golden->n_outputs; k++) {
        const gdn_expected *e = &golden->outputs[k];
        const uint8_t *found = gdn_fit_found(&problem->arena, e->tensor);
        const uint8_t *before = problem->arena.image + (found - problem->arena.base);
        const uint8_t *other = simulated ? simulated + (found - problem->arena.base) : NULL;
        const size_t size = gdn_dtype_size(e->tensor->dtype);
        for (int64_t index = 0; index < e->n_rows; index++) {
            const int64_t row = e->rows[index] * e->tensor->stride[0];
            for (int64_t i = 0; i < e->row_count; i++) {
                double budget = 0.0;
                const size_t at = (size_t)(row + i) * size;
                fit->compared++;
                const bool wrong = gdn_fit_wrong(problem, e, index, i, &budget);
                if (wrong && other && memcmp(found + at, other + at, size) == 0) {
                    continue;
                }
                fit->wrong += wrong;
                undecided = undecided ||
                            (wrong &&
                             (memcmp(found + at, before + at, size) == 0 ||
                              (e->limit && !(e->limit[index * e->row_count + i] >= 0.0F))));
                fit->residual += !wrong                             ? 0.0
                                 : budget >= 0.0 && budget < 0x1p30 ? log2(1.0 + budget)
                                                                    : GDN_FIT_MOST;
            }
        }
    }
    return undecided;
}

/* The row of `golden` that output `k` of another golden has as `row`, or -1. */
static int64_t find_row(const gdn_expected *e, int64_t row, int64_t *from) {
    while (*from < e->n_rows && e->rows[*from] < row) {
        ++*from;
    }
    return *from < e->n_rows && e->rows[*from] == row ? *from : -1;
}

/* An element that is wrong by the right conventions is foretold where these say something
 * that their own limits keep apart from the right value: limits so wide that they hold both
 * explain nothing. Two exceptions. Where unnormalised keys let values explode, limits
 * explode faster; there the device must be as near as chance would not bring it. And where
 * a deviation is not much larger than a limit, the limits overlap without being wide; there
 * the golden value must have moved towards the device. */
static bool is_foretold(double right, double bent, double right_limit, double bent_limit,
                        double found) {
    const double from_right = fabs(found - right), from_bent = fabs(found - bent);
    return !(fabs(bent - right) <= bent_limit) || MUCH_NEARER * from_bent <= from_right ||
           (bent_limit <= WIDER * right_limit && NEARER * from_bent <= from_right);
}

static int64_t count_foretold(const gdn_problem *problem, const gdn_golden *right,
                              const gdn_golden *bent) {
    int64_t foretold = 0;
    for (size_t k = 0; k < right->n_outputs; k++) {
        const gdn_expected *e = &right->outputs[k];
        const gdn_expected *b = &bent->outputs[k];
        const void *found = gdn_fit_found(&problem->arena, e->tensor);
        int64_t from = 0;
        for (int64_t index = 0; index < e->n_rows; index++) {
            const int64_t other = find_row(b, e->rows[index], &from);
            const int64_t at = e->rows[index] * e->tensor->stride[0];
            for (int64_t i = 0; i < e->row_count; i++) {
                double budget;
                if (!gdn_fit_wrong(problem, e, index, i, &budget)) {
                    continue;
                }
                const int64_t flat = other * b->row_count + i;
                const int64_t own = index * e->row_count + i;
                foretold += other < 0 || !b->golden ||
                            is_foretold(e->golden[own], b->golden[flat],
                                        (double)e->limit[own], (double)b->limit[flat],
                                        gdn_load(found, e->tensor->dtype, at + i));
            }
        }
    }
    return foretold;
}

/* A run in place tells more than golden values: which rows stay as they were, what goes
 * astray, and what comes of slots that one sequence writes and another one reads. It is
 * worth its time where nothing was written, where bytes are astray, and where these
 * conventions are nearer to the device than the right ones. */
static gdn_status compare(gdn_fit *fit, const gdn_problem *problem, const gdn_golden *right,
                          const gdn_golden *bent, const gdn_conventions *conventions,
                          const gdn_fit *correct, gdn_error *err) {
    const gdn_arena *arena = &problem->arena;
    const bool undecided = compare_outputs(fit, problem, bent, NULL);
    const bool nearer = fit->wrong > 0 && correct && fit->residual < correct->residual;
    /* An arena with pages for slots is large: it is gone over once where the rows are the
     * same. */
    fit->astray =
        correct ? correct->astray : count_stray(problem, right, arena->base, arena->image);
    int64_t stray = same_rows(right, bent)
                        ? fit->astray
                        : count_stray(problem, bent, arena->base, arena->image);
    gdn_status status = GDN_OK;
    uint8_t *simulated = NULL;
    if (undecided || nearer || stray > 0 || conventions->stray_write != GDN_STRAY_NONE) {
        status = run_in_place(&simulated, problem, conventions, err);
    }
    if (status == GDN_OK && simulated) {
        fit->compared = fit->wrong = 0;
        fit->residual = 0.0;
        compare_outputs(fit, problem, bent, simulated);
        stray = count_stray(problem, bent, arena->base, simulated);
    }
    free(simulated);
    /* Bytes that are astray by the right conventions, and here are not. */
    fit->foretold = count_foretold(problem, right, bent) +
                    (fit->astray > stray ? fit->astray - stray : 0);
    fit->wrong += stray;
    fit->residual += GDN_FIT_MOST * (double)stray;
    return status;
}

gdn_status gdn_fit_measure(gdn_fit *fit, const gdn_problem *problem,
                           const gdn_golden *golden, const gdn_conventions *conventions,
                           const gdn_fit *correct, gdn_error *err) {
    elsewhere inputs = {0};
    gdn_golden bent = {0}, judged = {0};
    gdn_error cause = {0};
    *fit = (gdn_fit){0};
    GDN_TRY(elsewhere_create(&inputs, problem, problem->arena.image, conventions, err));
    gdn_status status = gdn_golden_create(&bent, &inputs.problem, &cause);
    if (status == GDN_OK) {
        fit->applies = true;
        status = gdn_fit_golden_create(&judged, &bent, &cause);
        if (status == GDN_OK) {
            status = compare(fit, problem, golden, &judged, conventions, correct, &cause);
        }
        gdn_fit_golden_destroy(&judged);
        gdn_golden_destroy(&bent);
    } else if (status == GDN_ERR_ARG) {
        status = GDN_OK; /* a shape, or a field, that this call cannot have */
    }
    free(inputs.tensors);
    return status == GDN_OK ? GDN_OK : gdn_error_set(err, status, "%s", cause.message);
}
