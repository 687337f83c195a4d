/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Ops that draw for themselves (verify.draws internal): every draw is a function of the
 * request's seed, and takes the place of the tensor that holds it otherwise. */
#include <stdlib.h>
#include <string.h>

#include "gdn/exact.h"
#include "gdn/random.h"
#include "verify.h"

enum { MOST_TENSORS = 32 };

static const char *const DRAWS[] = {"u", "uniform", "exponential", "uniform_samples",
                                    "uniform_samples_for_final_sampling"};

enum { N_DRAWS = sizeof DRAWS / sizeof DRAWS[0], EXPONENTIAL = 2, BY_DRAFT = 1 };

static bool is_draw(const char *name, int *kind) {
    for (*kind = 0; *kind < N_DRAWS; ++*kind) {
        if (strcmp(name, DRAWS[*kind]) == 0) {
            return true;
        }
    }
    return false;
}

/* Draw `at` of request `b`. */
static double draw(const gdn_call *call, int kind, int64_t b, int64_t at) {
    const gdn_verify_slip slip = call->conventions->verify.slip;
    const gdn_tensor *seeds = gdnp_in(call, "seed");
    const int64_t seed = slip == GDN_VERIFY_SLIP_SEED_FIXED    ? b
                         : slip == GDN_VERIFY_SLIP_SEED_SHARED ? gdnp_int(seeds, 0, 0)
                                                               : gdnp_int(seeds, b, 0);
    const gdn_random random = {.seed = (uint64_t)seed, .stream = (uint64_t)kind};
    double u = gdn_random_uniform(&random, (uint64_t)at);
    if (slip == GDN_VERIFY_SLIP_SEED_LINEAR) {
        /* a generator that has not been run in: a step a seed */
        const uint32_t line = (uint32_t)seed * 55000000U + (uint32_t)(at + kind) * 97U;
        u = ((double)line + 0.5) / 4294967296.0;
    }
    return kind == EXPONENTIAL ? -gdn_log(u) : u;
}

static void fill(const gdn_call *call, gdn_tensor *t, int kind) {
    const gdn_tensor *ends = gdnp_in(call, "cu_num_draft_tokens");
    const int64_t count = gdn_tensor_count(t);
    const int64_t requests = gdnp_in(call, "seed")->shape[0];
    for (int64_t i = 0, b = 0, first = 0; i < count; i++) {
        const int64_t width = count / requests;
        if (kind == BY_DRAFT) {
            while (i >= gdnp_int(ends, b, 0)) {
                first = gdnp_int(ends, b++, 0);
            }
        } else {
            b = i / width;
            first = b * width;
        }
        gdn_store(t->data, t->dtype, i, draw(call, kind, b, i - first));
    }
}

gdn_status gdnp_verify_draw(const gdn_call *call, gdn_output *outputs,
                            void (*run)(const gdn_call *, gdn_output *), gdn_error *err) {
    gdn_tensor tensors[MOST_TENSORS];
    void *own[MOST_TENSORS] = {NULL};
    gdn_call drawn = *call;
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < call->n_tensors; i++) {
        int kind;
        tensors[i] = call->tensors[i];
        if (!is_draw(tensors[i].name, &kind)) {
            continue;
        }
        own[i] = malloc((size_t)gdn_tensor_count(&tensors[i]) * sizeof(double) + 1);
        tensors[i] = gdn_tensor_dense(tensors[i].name, own[i], tensors[i].dtype,
                                      tensors[i].rank, tensors[i].shape);
        if (own[i]) {
            fill(call, &tensors[i], kind);
        } else {
            status = gdn_error_set(err, GDN_ERR_OOM, "no memory for draws");
        }
    }
    drawn.tensors = tensors;
    if (status == GDN_OK) {
        run(&drawn, outputs);
    }
    for (size_t i = 0; i < call->n_tensors; i++) {
        free(own[i]);
    }
    return status;
}
