/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which build of delta_kernel.c this machine runs. */
#include "delta_kernel.h"

#include <stdlib.h>
#include <string.h>

#include "gdn/nearest.h"

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

gdn_status gdnp_delta_kernel_choose(const gdnp_delta_kernel **kernel, gdn_error *err) {
    static const char *const NAMES[] = {"scalar", "avx2", "avx512", "neon", NULL};
    const char *name = getenv("GDN_REFERENCE_KERNEL");
    if ((*kernel = gdnp_delta_kernel_get(name)) != NULL) {
        return GDN_OK;
    }
    for (size_t i = 0; NAMES[i]; i++) {
        if (strcmp(NAMES[i], name) == 0) {
            return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                                 "GDN_REFERENCE_KERNEL: this machine or this build has no "
                                 "kernel \"%s\"",
                                 name);
        }
    }
    return gdn_error_unknown(err, GDN_ERR_ARG, "GDN_REFERENCE_KERNEL", name, NAMES);
}
