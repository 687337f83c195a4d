/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "fit_heads.h"

#include <math.h>
#include <stdlib.h>

#include "judge.h"

/* The reference's golden values lie on the image of the inputs; the judge reads the arena. */
static void judge_the_arena(gdn_golden *golden, const gdn_problem *problem,
                            const gdn_tensor *tensors) {
    for (size_t i = 0; i < golden->n_outputs; i++) {
        gdn_expected *e = &golden->outputs[i];
        e->tensor = &problem->call.tensors[e->tensor - tensors];
    }
}

/* Squares of errors, in limits of the right conventions, over the tensors that fail. */
static double measure_energy(const gdn_golden *right, const gdn_golden *bent,
                             const gdn_case_result *failed) {
    double energy = 0.0;
    for (size_t k = 0; k < right->n_outputs; k++) {
        const gdn_expected *r = &right->outputs[k], *b = &bent->outputs[k];
        if (failed->tensors[k].ok || !r->golden) {
            continue;
        }
        if (r->n_rows != b->n_rows) {
            return INFINITY;
        }
        for (int64_t i = 0; i < r->n_rows * r->row_count; i++) {
            const int64_t at = r->rows[i / r->row_count] * r->tensor->stride[0];
            const double found =
                gdn_load(r->tensor->data, r->tensor->dtype, at + i % r->row_count);
            const double error = (found - b->golden[i]) / (double)r->limit[i];
            energy += isfinite(error) ? error * error : 0.0;
        }
    }
    return energy;
}

static gdn_status compare(gdn_heads_fit *fit, const gdn_problem *problem,
                          const gdn_golden *right, const gdn_golden *bent,
                          const gdn_case_result *failed, gdn_error *err) {
    gdn_case_result result = {0};
    const gdn_status status = gdn_judge_case(problem, bent, &result, err);
    fit->passes = status == GDN_OK && result.verdict == GDN_PASS;
    fit->energy = measure_energy(right, bent, failed);
    gdn_case_result_destroy(&result);
    return status;
}

gdn_status gdn_heads_fit_measure(gdn_heads_fit *fit, const gdn_problem *problem,
                                 const gdn_golden *right,
                                 const gdn_conventions *conventions,
                                 const gdn_case_result *failed, gdn_error *err) {
    const size_t n = problem->call.n_tensors;
    gdn_problem inputs = *problem;
    gdn_golden bent = {0};
    gdn_error cause = {0};
    *fit = (gdn_heads_fit){.energy = INFINITY};
    gdn_tensor *tensors = calloc(n + 1, sizeof *tensors);
    if (!tensors) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu tensors", n);
    }
    for (size_t i = 0; i < n; i++) {
        tensors[i] = problem->call.tensors[i];
        tensors[i].data =
            problem->arena.image + ((uint8_t *)tensors[i].data - problem->arena.base);
    }
    inputs.call.conventions = conventions;
    inputs.call.tensors = tensors;
    inputs.call.arena = problem->arena.image;
    gdn_status status = gdn_golden_create(&bent, &inputs, &cause);
    if (status == GDN_OK) {
        fit->applies = true;
        judge_the_arena(&bent, problem, tensors);
        status = compare(fit, problem, right, &bent, failed, &cause);
        gdn_golden_destroy(&bent);
    } else if (status == GDN_ERR_ARG) {
        status = GDN_OK; /* a shape, or a field, that this call cannot have */
    }
    free(tensors);
    return status == GDN_OK ? GDN_OK : gdn_error_set(err, status, "%s", cause.message);
}
