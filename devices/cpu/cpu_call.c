/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the ops share: checks of arguments, threads and memory. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

gdn_status cpu_expect(const gdn_call *call, const char *name, unsigned types, int rank,
                      const int64_t *shape, gdn_error *err) {
    const gdn_tensor *tensor = gdn_call_tensor(call, name);
    if (!tensor) {
        if (gdn_op_argument(call->op, name)->optional) {
            return GDN_OK;
        }
        return gdn_error_set(err, GDN_ERR_ARG, "%s: the call lacks it", name);
    }
    if (!(types & CPU_TYPE(tensor->dtype))) {
        char taken[64] = "";
        for (int i = 0; i < GDN_DTYPE_COUNT; i++) {
            if (types & CPU_TYPE(i)) {
                const size_t used = strlen(taken);
                snprintf(taken + used, sizeof taken - used, "%s%s", used > 0 ? " or " : "",
                         gdn_dtype_name((gdn_dtype)i));
            }
        }
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "%s: this device takes %s here but found %s", name, taken,
                             gdn_dtype_name(tensor->dtype));
    }
    return gdn_tensor_expect(tensor, rank, shape, err);
}

gdn_status cpu_expect_positive(const char *name, int64_t value, gdn_error *err) {
    if (value >= 1) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_ARG, "%s: expected 1 or more but found %lld", name,
                         (long long)value);
}

void cpu_state_shape(const gdn_conventions *conventions, int64_t heads, int64_t k_dim,
                     int64_t v_dim, int64_t shape[4]) {
    const bool vk = conventions->state_order == GDN_STATE_VK;
    shape[0] = -1;
    shape[1] = heads;
    shape[2] = vk ? v_dim : k_dim;
    shape[3] = vk ? k_dim : v_dim;
}

/* Bytes of a call from which a team of threads is worth its start, unless options ask for
 * one: on a busy machine a small call waits for the team longer than it computes. */
#define WORTH_THREADS ((size_t)1 << 19)

int cpu_threads(const gdn_device *device, const gdn_call *call, int64_t items) {
    if (device->threads == 0 && call->arena_bytes < WORTH_THREADS) {
        return 1;
    }
    const int threads = device->threads > 0 ? device->threads : omp_get_max_threads();
    return items < threads ? (items > 0 ? (int)items : 1) : threads;
}

float *cpu_scratch_create(int threads, size_t floats) {
    const size_t bytes = (size_t)threads * cpu_aligned((int64_t)floats) * sizeof(float);
    float *scratch = aligned_alloc(64, bytes > 0 ? bytes : 64);
    if (scratch) {
        memset(scratch, 0, bytes);
    }
    return scratch;
}
