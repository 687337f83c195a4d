/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Draws that the device makes itself, from the seed of each request: SplitMix64 (G. Steele,
 * D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), run as
 * a hash of seed, purpose and place. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu_verify.h"

enum { MOST_TENSORS = 32 };

static uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* In (0, 1), of 23 bits, so that fp32 holds it. */
static double toss(uint64_t seed, uint64_t purpose, uint64_t place) {
    const uint64_t bits = mix(mix(mix(seed) ^ purpose) ^ place) >> 41;
    return ((double)bits + 0.5) / 8388608.0;
}

/* Purpose of a tensor that holds draws; 0: it holds none. */
static uint64_t purpose_of(const char *name) {
    static const char *const NAMES[] = {"u", "uniform", "uniform_samples",
                                        "uniform_samples_for_final_sampling",
                                        "exponential"};
    for (uint64_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (strcmp(NAMES[i], name) == 0) {
            return i + 1;
        }
    }
    return 0;
}

static void draw_all(const gdn_call *call, gdn_tensor *t, uint64_t purpose) {
    const gdn_tensor *seeds = cpu_arg(call, "seed");
    const gdn_tensor *ends =
        strcmp(t->name, "uniform") == 0 ? cpu_arg(call, "cu_num_draft_tokens") : NULL;
    const int64_t requests = seeds->shape[0], width = gdn_tensor_count(t) / requests;
    int64_t first = 0;
    for (int64_t b = 0; b < requests; b++) {
        const int64_t end = ends ? cpu_int(ends, b) : first + width;
        for (int64_t i = first; i < end; i++) {
            double x = toss((uint64_t)cpu_int(seeds, b), purpose, (uint64_t)(i - first));
            x = purpose == 5 ? -log(x) : x;
            if (t->dtype == GDN_FP64) {
                ((double *)t->data)[i] = x;
            } else {
                ((float *)t->data)[i] = (float)x;
            }
        }
        first = end;
    }
}

gdn_status cpu_verify_drawn(gdn_device *device, const gdn_call *call, cpu_verify_op run,
                            gdn_error *err) {
    gdn_tensor tensors[MOST_TENSORS];
    void *own[MOST_TENSORS] = {NULL};
    gdn_call drawn = *call;
    gdn_status status = GDN_OK;
    if (call->conventions->verify.draws == GDN_DRAWS_INJECTED) {
        return run(device, call, err);
    }
    for (size_t i = 0; status == GDN_OK && i < call->n_tensors; i++) {
        const uint64_t purpose = purpose_of(call->tensors[i].name);
        tensors[i] = call->tensors[i];
        if (purpose == 0) {
            continue;
        }
        own[i] = malloc((size_t)gdn_tensor_count(&tensors[i]) * sizeof(double) + 1);
        tensors[i].data = own[i];
        if (own[i]) {
            draw_all(call, &tensors[i], purpose);
        } else {
            status = gdn_error_set(err, GDN_ERR_OOM, "no memory for draws");
        }
    }
    drawn.tensors = tensors;
    if (status == GDN_OK) {
        status = run(device, &drawn, err);
    }
    for (size_t i = 0; i < call->n_tensors; i++) {
        free(own[i]);
    }
    return status;
}
