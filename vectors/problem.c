/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "problem.h"

#include <string.h>

#include "dye.h"
#include "problem_tensors.h"
#include "refuse.h"

static gdn_status lay_out(gdn_problem *problem, const gdn_case *test,
                          const gdn_tensor *tensors, size_t n_tensors,
                          const gdn_scalar *scalars, size_t n_scalars, gdn_error *err) {
    GDN_TRY(gdn_arena_create(&problem->arena, tensors, n_tensors, test->misaligned, err));
    if (n_scalars > 0) {
        memcpy(problem->scalars, scalars, n_scalars * sizeof *scalars);
    }
    problem->n_scalars = n_scalars;
    problem->call = (gdn_call){
        .struct_size = sizeof(gdn_call),
        .op = test->op,
        .conventions = &test->conventions,
        .tensors = problem->arena.tensors,
        .n_tensors = problem->arena.n_tensors,
        .scalars = problem->scalars,
        .n_scalars = problem->n_scalars,
        .arena = problem->arena.base,
        .arena_bytes = problem->arena.bytes,
    };
    return GDN_OK;
}

static gdn_status create(gdn_problem *problem, const gdn_case *test, bool fill,
                         gdn_error *err) {
    *problem = (gdn_problem){.test = test};
    gdn_plan plan;
    GDN_TRY(gdn_plan_create(&plan, test, err));
    gdn_shapes shapes;
    if (gdn_op_is_verify(test->op)) {
        gdn_verify_shapes_of(&shapes, test);
    } else {
        gdn_shapes_of(&shapes, test, &plan);
    }
    gdn_status status = lay_out(problem, test, shapes.tensors, shapes.n_tensors,
                                shapes.scalars, shapes.n_scalars, err);
    if (status == GDN_OK && fill) {
        status = gdn_op_is_verify(test->op) ? gdn_verify_fill(problem, err)
                                            : gdn_fill_problem(problem, &plan, err);
        if (status == GDN_OK && test->refuse) {
            status = gdnp_refuse_apply(problem, err);
        }
        if (status == GDN_OK && test->dye == GDN_DYE_UNREAD) {
            gdnp_dye_unread(&problem->arena);
        }
        if (status == GDN_OK) {
            status = gdn_arena_freeze(&problem->arena, err);
        }
    }
    gdn_plan_destroy(&plan);
    if (status != GDN_OK) {
        gdn_problem_destroy(problem);
        gdn_error_context(err, "%s", test->id);
    }
    return status;
}

gdn_status gdn_problem_create(gdn_problem *problem, const gdn_case *test, gdn_error *err) {
    return create(problem, test, true, err);
}

gdn_status gdn_problem_create_empty(gdn_problem *problem, const gdn_case *test,
                                    gdn_error *err) {
    return create(problem, test, false, err);
}

gdn_status gdn_problem_create_shaped(gdn_problem *problem, const gdn_case *test,
                                     const gdn_tensor *tensors, size_t n_tensors,
                                     gdn_error *err) {
    *problem = (gdn_problem){.test = test};
    return lay_out(problem, test, tensors, n_tensors, NULL, 0, err);
}

void gdn_problem_set_int(gdn_problem *problem, const char *name, int64_t at,
                         int64_t value) {
    const gdn_tensor *t = gdn_arena_tensor(&problem->arena, name);
    if (!t) {
        return;
    }
    if (t->dtype == GDN_I64) {
        ((int64_t *)t->data)[at] = value;
    } else if (t->dtype == GDN_I32) {
        ((int32_t *)t->data)[at] = (int32_t)value;
    } else {
        ((uint8_t *)t->data)[at] = value != 0;
    }
}

void gdn_problem_destroy(gdn_problem *problem) {
    gdn_arena_destroy(&problem->arena);
    *problem = (gdn_problem){0};
}
