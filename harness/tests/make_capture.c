/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Plays the production that was recorded: runs the reference with a deviation ("none": as
 * it should be) on a case and writes the call as a captured file.
 *
 *     make_capture SUITE CASE_ID DEVIATION FILE [case]
 *
 * With `case` the file says which case it is and has the outputs only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "captured.h"
#include "data_paths.h"
#include "expand.h"
#include "gdn/deviation.h"

#define MOST 64

static gdn_status run_bent(gdn_problem *problem, const char *deviation, gdn_error *err) {
    gdn_conventions bent = problem->test->conventions;
    gdn_output outputs[MOST] = {0};
    gdn_call call = problem->call;
    if (strcmp(deviation, "none") != 0) {
        const gdn_deviation *row = gdn_deviation_find(deviation);
        if (!row) {
            return gdn_error_set(err, GDN_ERR_ARG, "no deviation %s", deviation);
        }
        GDN_TRY(gdn_deviation_apply(row, &bent, err));
    }
    call.conventions = &bent;
    for (size_t i = 0; i < call.n_tensors; i++) {
        outputs[i].value = call.tensors[i];
    }
    return gdn_reference_run(&call, outputs, err);
}

static gdn_status save(const gdn_problem *problem, const char *path, bool as_case,
                       gdn_error *err) {
    static char names[2 * MOST][80];
    gdn_tensor tensors[2 * MOST];
    size_t count = 0;
    const gdn_arena *arena = &problem->arena;
    for (size_t i = 0; i < arena->n_tensors; i++) {
        const gdn_tensor *t = &arena->tensors[i];
        const gdn_access access = gdn_op_argument(problem->test->op, t->name)->access;
        if (!as_case) {
            snprintf(names[count], sizeof names[0], "input/%s", t->name);
            tensors[count] = *t;
            tensors[count].data = arena->image + ((uint8_t *)t->data - arena->base);
            tensors[count].name = names[count];
            count++;
        }
        if (access != GDN_IN) {
            snprintf(names[count], sizeof names[0], "output/%s", t->name);
            tensors[count] = *t;
            tensors[count].name = names[count];
            count++;
        }
    }
    json_t *scalars = json_object();
    for (size_t i = 0; i < problem->n_scalars; i++) {
        json_object_set_new(scalars, problem->scalars[i].name,
                            json_integer(problem->scalars[i].value));
    }
    json_t *about = as_case ? json_pack("{s:i, s:o}", "schema", 1, "case",
                                        gdn_case_to_json(problem->test))
                            : json_pack("{s:i, s:s, s:s, s:O}", "schema", 1, "op",
                                        gdn_op_get(problem->test->op)->name, "profile",
                                        problem->test->profile, "scalars", scalars);
    const gdn_status status = gdn_bundle_write(path, tensors, count, about, err);
    json_decref(about);
    json_decref(scalars);
    return status;
}

static gdn_status capture(const gdn_suite *suite, char **argv, bool as_case,
                          gdn_error *err) {
    for (size_t i = 0; i < suite->n_cases; i++) {
        if (strcmp(suite->cases[i].id, argv[2]) != 0) {
            continue;
        }
        gdn_problem problem;
        GDN_TRY(gdn_problem_create(&problem, &suite->cases[i], err));
        gdn_status status = run_bent(&problem, argv[3], err);
        if (status == GDN_OK) {
            status = save(&problem, argv[4], as_case, err);
        }
        gdn_problem_destroy(&problem);
        return status;
    }
    return gdn_error_set(err, GDN_ERR_ARG, "no case %s", argv[2]);
}

int main(int argc, char **argv) {
    gdn_error err = {0};
    gdn_paths paths;
    gdn_suite suite;
    if (argc < 5) {
        fprintf(stderr, "usage: make_capture SUITE CASE_ID DEVIATION FILE [case]\n");
        return 2;
    }
    gdn_status status = gdn_paths_find(&paths, &err);
    if (status == GDN_OK) {
        status = gdn_suite_load(&suite, paths.suites, paths.profiles, argv[1], &err);
    }
    if (status == GDN_OK) {
        status = capture(&suite, argv, argc > 5, &err);
        gdn_suite_destroy(&suite);
    }
    if (status != GDN_OK) {
        fprintf(stderr, "%s\n", err.message);
    }
    return status == GDN_OK ? 0 : 1;
}
