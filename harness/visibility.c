/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "visibility.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan_cases.h"

double gdn_golden_distance(const gdn_golden *right, const gdn_golden *other) {
    double distance = 0.0;
    for (size_t k = 0; k < right->n_outputs; k++) {
        const gdn_expected *r = &right->outputs[k], *o = &other->outputs[k];
        const int64_t count = r->n_rows * r->row_count;
        if (r->n_rows != o->n_rows ||
            memcmp(r->rows, o->rows, (size_t)r->n_rows * sizeof *r->rows) != 0 ||
            (r->bits && memcmp(r->bits, o->bits,
                               (size_t)count * gdn_dtype_size(r->tensor->dtype)) != 0)) {
            return INFINITY;
        }
        for (int64_t i = 0; r->golden && i < count; i++) {
            const double error = fabs(o->golden[i] - r->golden[i]);
            const bool same = error == 0.0 || (isnan(o->golden[i]) && isnan(r->golden[i]));
            const double limits = same ? 0.0 : error / (double)r->limit[i];
            distance = limits <= distance ? distance : isnan(limits) ? INFINITY : limits;
        }
    }
    return distance;
}

/* Changes of an input; each returns false if there is nothing to change. */
typedef bool (*change)(gdn_tensor *t);

static bool change_values(gdn_tensor *t, double factor, double offset) {
    bool changed = false;
    for (int64_t flat = 0; flat < gdn_tensor_count(t); flat++) {
        const int64_t at = gdn_tensor_flat_offset(t, flat);
        const double value = gdn_load(t->data, t->dtype, at);
        if (!isnan(value)) { /* poison stays poison */
            gdn_store(t->data, t->dtype, at, factor * value + offset);
            changed = true;
        }
    }
    return changed;
}

/* 1/128 is one step of bf16 or two. */
static bool change_slightly(gdn_tensor *t) {
    return change_values(t, 1.0 + 0x1p-7, 0.0);
}

/* The offset reaches what is 0. */
static bool change_much(gdn_tensor *t) {
    return change_values(t, 1.25, 0.125);
}

static void set_entry(gdn_tensor *t, int64_t flat, int64_t value) {
    const int64_t at = gdn_tensor_flat_offset(t, flat);
    if (t->dtype == GDN_BOOL) {
        ((uint8_t *)t->data)[at] = value != 0;
    } else if (t->dtype == GDN_I32) {
        ((int32_t *)t->data)[at] = (int32_t)value;
    } else {
        ((int64_t *)t->data)[at] = value;
    }
}

static int64_t get_entry(const gdn_tensor *t, int64_t flat) {
    const int64_t at = gdn_tensor_flat_offset(t, flat);
    return t->dtype == GDN_BOOL  ? ((const uint8_t *)t->data)[at]
           : t->dtype == GDN_I32 ? ((const int32_t *)t->data)[at]
                                 : ((const int64_t *)t->data)[at];
}

static bool swap_ends(gdn_tensor *t) {
    const int64_t last = gdn_tensor_count(t) - 1;
    if (last < 1 || get_entry(t, 0) == get_entry(t, last)) {
        return false;
    }
    const int64_t first = get_entry(t, 0);
    set_entry(t, 0, get_entry(t, last));
    set_entry(t, last, first);
    return true;
}

static bool flip_first(gdn_tensor *t) {
    if (gdn_tensor_count(t) < 1) {
        return false;
    }
    const int64_t first = get_entry(t, 0);
    set_entry(t, 0, t->dtype == GDN_BOOL ? !first : first == 0 ? 2 : first - 1);
    return true;
}

/* A boundary between two sequences, or the second of a list. */
static bool move_second(gdn_tensor *t, int64_t by) {
    if (gdn_tensor_count(t) < 3) {
        return false;
    }
    set_entry(t, 1, get_entry(t, 1) + by);
    return true;
}

static bool raise_second(gdn_tensor *t) {
    return move_second(t, 1);
}

static bool lower_second(gdn_tensor *t) {
    return move_second(t, -1);
}

static bool raise_last(gdn_tensor *t) {
    const int64_t last = gdn_tensor_count(t) - 1;
    if (last < 0 || t->dtype == GDN_BOOL) {
        return false;
    }
    set_entry(t, last, get_entry(t, last) + 1);
    return true;
}

/* Largest movement by one of the changes that the call survives. */
static gdn_status try_changes(gdn_problem *problem, const gdn_golden *golden,
                              gdn_tensor *tensor, const change *changes, size_t count,
                              double *movement, gdn_error *err) {
    *movement = -1.0;
    for (size_t i = 0; i < count; i++) {
        gdn_golden moved = {0};
        gdn_error cause = {0};
        const gdn_status status =
            changes[i](tensor) ? gdn_golden_create(&moved, problem, &cause) : GDN_ERR_ARG;
        if (status == GDN_OK) {
            *movement = fmax(*movement, gdn_golden_distance(golden, &moved));
            gdn_golden_destroy(&moved);
        }
        gdn_arena_restore(&problem->arena);
        if (status != GDN_OK && status != GDN_ERR_ARG) {
            return gdn_error_set(err, status, "%s", cause.message);
        }
    }
    return GDN_OK;
}

static gdn_visible_field *find_field(gdn_visibility *v, gdn_op op, const char *name) {
    for (size_t i = 0; i < v->n_fields; i++) {
        if (v->fields[i].op == op && strcmp(v->fields[i].name, name) == 0) {
            return &v->fields[i];
        }
    }
    return NULL;
}

static gdn_status note(gdn_visible_field *field, double small, double large,
                       gdn_error *err) {
    const double movements[2] = {small, large};
    for (int i = 0; i < 2; i++) {
        double *more = realloc(field->movements[i], (field->cases + 1) * sizeof(double));
        if (!more) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for a case");
        }
        field->movements[i] = more;
        more[field->cases] = movements[i];
    }
    field->cases++;
    field->visible += fmax(small, large) > GDN_VISIBLE_LIMITS;
    return GDN_OK;
}

static gdn_status measure_case(gdn_visibility *v, const gdn_case *test, size_t enough,
                               gdn_error *err) {
    static const change SMALL[] = {change_slightly};
    static const change LARGE[] = {change_much};
    static const change INDEX[] = {swap_ends, flip_first, raise_second, lower_second,
                                   raise_last};
    gdn_problem problem;
    gdn_golden golden = {0};
    GDN_TRY(gdn_problem_create(&problem, test, err));
    gdn_status status = gdn_golden_create(&golden, &problem, err);
    for (size_t i = 0; status == GDN_OK && i < problem.arena.n_tensors; i++) {
        gdn_tensor *tensor = &problem.arena.tensors[i];
        gdn_visible_field *field = find_field(v, test->op, tensor->name);
        const bool index = tensor->dtype == GDN_I32 || tensor->dtype == GDN_I64 ||
                           tensor->dtype == GDN_BOOL;
        double small = -1.0, large = -1.0;
        if (!field || gdn_tensor_count(tensor) == 0 ||
            (enough > 0 && field->visible >= enough)) {
            continue;
        }
        if (!index) {
            status = try_changes(&problem, &golden, tensor, SMALL, 1, &small, err);
        }
        if (status == GDN_OK) {
            status = try_changes(&problem, &golden, tensor, index ? INDEX : LARGE,
                                 index ? sizeof INDEX / sizeof INDEX[0] : 1, &large, err);
        }
        if (status == GDN_OK) {
            status = note(field, small, large, err);
        }
    }
    gdn_golden_destroy(&golden);
    gdn_problem_destroy(&problem);
    v->cases++;
    return status;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void conclude(gdn_visible_field *field) {
    double *medians[2] = {&field->small, &field->large};
    for (int i = 0; i < 2; i++) {
        if (field->cases > 0) {
            qsort(field->movements[i], field->cases, sizeof(double), by_size);
            *medians[i] = field->movements[i][field->cases / 2];
        }
        free(field->movements[i]);
        field->movements[i] = NULL;
    }
}

/* Every input of every op that the plan has cases of. */
static gdn_status add_fields(gdn_visibility *v, const gdn_case_plan *plan, gdn_error *err) {
    size_t most = 0;
    for (int op = 0; op < GDN_OP_COUNT; op++) {
        most += gdn_op_get((gdn_op)op)->n_arguments;
    }
    v->fields = calloc(most + 1, sizeof *v->fields);
    if (!v->fields) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for fields");
    }
    for (int op = 0; op < GDN_OP_COUNT; op++) {
        bool has = false;
        for (size_t i = 0; i < plan->n_cases; i++) {
            has = has || plan->cases[i].test->op == (gdn_op)op;
        }
        const gdn_op_info *info = gdn_op_get((gdn_op)op);
        for (size_t i = 0; has && i < info->n_arguments; i++) {
            if (info->arguments[i].access != GDN_OUT) {
                v->fields[v->n_fields++] =
                    (gdn_visible_field){.op = (gdn_op)op, .name = info->arguments[i].name};
            }
        }
    }
    return GDN_OK;
}

gdn_status gdn_visibility_measure(gdn_visibility *v, const char *const *suites,
                                  int64_t most_tokens, size_t enough,
                                  const gdn_paths *paths, gdn_error *err) {
    *v = (gdn_visibility){0};
    gdn_case_plan plan = {0};
    gdn_status status = gdn_case_plan_create(&plan, suites, NULL, NULL, paths, err);
    if (status == GDN_OK) {
        status = add_fields(v, &plan, err);
    }
    for (size_t i = 0; status == GDN_OK && i < plan.n_cases; i++) {
        if (gdn_case_tokens(plan.cases[i].test) <= most_tokens) {
            status = measure_case(v, plan.cases[i].test, enough, err);
        }
    }
    for (size_t i = 0; i < v->n_fields; i++) {
        conclude(&v->fields[i]);
    }
    gdn_case_plan_destroy(&plan);
    if (status != GDN_OK) {
        gdn_visibility_destroy(v);
    }
    return status;
}

void gdn_visibility_destroy(gdn_visibility *v) {
    for (size_t i = 0; i < v->n_fields; i++) {
        free(v->fields[i].movements[0]);
        free(v->fields[i].movements[1]);
    }
    free(v->fields);
    *v = (gdn_visibility){0};
}
