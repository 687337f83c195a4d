/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which build of delta_kernel.c this machine runs. */
#include "delta_kernel.h"

#include <string.h>

extern const gdnp_delta_kernel gdnp_delta_kernel_scalar;
#if defined(__x86_64__)
extern const gdnp_delta_kernel gdnp_delta_kernel_avx2;
extern const gdnp_delta_kernel gdnp_delta_kernel_avx512;
#elif defined(__aarch64__)
extern const gdnp_delta_kernel gdnp_delta_kernel_neon;
#endif

const gdnp_delta_kernel *gdnp_delta_kernel_get(const char *name) {
    const gdnp_delta_kernel *runnable[3];
    int count = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
        runnable[count++] = &gdnp_delta_kernel_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        runnable[count++] = &gdnp_delta_kernel_avx2;
    }
    runnable[count++] = &gdnp_delta_kernel_scalar;
#elif defined(__aarch64__)
    runnable[count++] = &gdnp_delta_kernel_neon;
#else
    runnable[count++] = &gdnp_delta_kernel_scalar;
#endif
    if (!name) {
        return runnable[0];
    }
    for (int i = 0; i < count; i++) {
        if (strcmp(runnable[i]->name, name) == 0) {
            return runnable[i];
        }
    }
    return NULL;
}
