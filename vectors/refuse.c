/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "refuse.h"

#include <stdio.h>
#include <string.h>

#include "case_internal.h"
#include "gdn/nearest.h"

static const char *const FAULTS[] = {"accepted_beyond_columns", "slot_out_of_range",
                                     "falling_cu_seqlens",      "wrong_index_dtype",
                                     "non_contiguous",          "absent:NAME",
                                     "absent:NAME+NAME",        NULL};

#define ABSENT "absent:"

/* The first of `names` that the call has. */
static gdn_tensor *first_of(gdn_problem *problem, const char *const *names) {
    gdn_tensor *tensor = NULL;
    for (size_t i = 0; !tensor && names[i]; i++) {
        tensor = gdn_arena_tensor(&problem->arena, names[i]);
    }
    return tensor;
}

static gdn_tensor *slots_of(gdn_problem *problem) {
    static const char *const names[] = {"state_indices", "non_spec_state_indices_tensor",
                                        "spec_state_indices_tensor", NULL};
    return first_of(problem, names);
}

static gdn_status lacks(const gdn_problem *problem, const char *what, gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_ARG,
                         "refuse: expected a call that has %s, but found \"%s\"", what,
                         problem->test->refuse);
}

static gdn_status spoil_accepted(gdn_problem *problem, gdn_error *err) {
    gdn_tensor *accepted = gdn_arena_tensor(&problem->arena, "num_accepted_tokens");
    if (!accepted) {
        return lacks(problem, "accepted counts", err);
    }
    ((int32_t *)accepted->data)[accepted->shape[0] - 1] =
        (int32_t)(problem->test->columns + 1);
    return GDN_OK;
}

static gdn_status spoil_slot(gdn_problem *problem, gdn_error *err) {
    static const char *const pools[] = {"ssm_state", "conv_state", NULL};
    gdn_tensor *slots = slots_of(problem);
    const gdn_tensor *pool = first_of(problem, pools);
    if (!slots || !pool) {
        return lacks(problem, "state indices", err);
    }
    ((int32_t *)slots->data)[0] = (int32_t)pool->shape[0];
    return GDN_OK;
}

static gdn_status spoil_starts(gdn_problem *problem, gdn_error *err) {
    static const char *const names[] = {"query_start_loc", "non_spec_query_start_loc",
                                        "spec_query_start_loc", NULL};
    gdn_tensor *starts = first_of(problem, names);
    if (!starts || starts->shape[0] < 3) {
        return lacks(problem, "two sequences", err);
    }
    int32_t *start = starts->data;
    start[1] = start[2] + 1;
    return GDN_OK;
}

static gdn_status spoil_dtype(gdn_problem *problem, gdn_error *err) {
    gdn_tensor *slots = slots_of(problem);
    if (!slots) {
        return lacks(problem, "state indices", err);
    }
    slots->dtype = GDN_I64; /* reaches into the guard behind them, no further */
    return GDN_OK;
}

static gdn_status spoil_strides(gdn_problem *problem, gdn_error *err) {
    static const char *const names[] = {"x", "v", "projected_states_qkvz", "a", NULL};
    gdn_tensor *input = first_of(problem, names);
    if (!input) {
        return lacks(problem, "an input of two dimensions", err);
    }
    const int last = input->rank - 1;
    input->stride[last] = input->shape[last - 1];
    input->stride[last - 1] = 1;
    return GDN_OK;
}

/* Takes one argument out of the call; its bytes stay where they are. */
static gdn_status remove_argument(gdn_problem *problem, const char *name, size_t length,
                                  gdn_error *err) {
    gdn_arena *arena = &problem->arena;
    for (size_t i = 0; i < arena->n_tensors; i++) {
        if (strlen(arena->tensors[i].name) == length &&
            strncmp(arena->tensors[i].name, name, length) == 0) {
            memmove(&arena->tensors[i], &arena->tensors[i + 1],
                    (arena->n_tensors - i - 1) * sizeof *arena->tensors);
            problem->call.n_tensors = --arena->n_tensors;
            return GDN_OK;
        }
    }
    return lacks(problem, "every argument that is to be absent", err);
}

static gdn_status spoil_arguments(gdn_problem *problem, gdn_error *err) {
    const char *name = problem->test->refuse + strlen(ABSENT);
    const size_t length = strcspn(name, "+");
    GDN_TRY(remove_argument(problem, name, length, err));
    return name[length] == '+'
               ? remove_argument(problem, name + length + 1, strlen(name + length + 1), err)
               : GDN_OK;
}

gdn_status gdnp_refuse_check(const gdn_case *test, gdn_error *err) {
    if (!test->refuse) {
        return GDN_OK;
    }
    if (test->relation) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "refuse: expected none, because the case has a relation, but "
                             "found \"%.80s\"",
                             test->refuse);
    }
    if (strncmp(test->refuse, ABSENT, strlen(ABSENT)) == 0) {
        const char *name = test->refuse + strlen(ABSENT);
        char first[64];
        snprintf(first, sizeof first, "%.*s", (int)strcspn(name, "+"), name);
        const char *second = strchr(name, '+');
        if (!gdn_op_argument(test->op, first) ||
            (second && !gdn_op_argument(test->op, second + 1))) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "refuse: expected arguments of %s but found \"%.80s\"",
                                 gdn_op_get(test->op)->name, test->refuse);
        }
        return GDN_OK;
    }
    for (size_t i = 0; FAULTS[i]; i++) {
        if (strcmp(FAULTS[i], test->refuse) == 0) {
            return GDN_OK;
        }
    }
    return gdn_error_unknown(err, GDN_ERR_ARG, "refuse", test->refuse, FAULTS);
}

gdn_status gdnp_refuse_apply(gdn_problem *problem, gdn_error *err) {
    static gdn_status (*const spoil[])(gdn_problem *, gdn_error *) = {
        spoil_accepted, spoil_slot, spoil_starts, spoil_dtype, spoil_strides};
    for (size_t i = 0; i < sizeof spoil / sizeof spoil[0]; i++) {
        if (strcmp(FAULTS[i], problem->test->refuse) == 0) {
            return spoil[i](problem, err);
        }
    }
    return spoil_arguments(problem, err);
}
