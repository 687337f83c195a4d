/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to devices/cpu: the device, its ops, and what they share about calls. */
#ifndef GDN_CPU_H
#define GDN_CPU_H

#include "cpu_kernels.h"
#include "gdn/device.h"

struct gdn_device {
    int threads; /* 0: as many as OpenMP likes */
    const cpu_kernels *kernels;
    char hardware[128];
    char build[256];
};

/* One op. `check` reads shapes, types and scalars only (tensor data may be NULL) and
 * answers GDN_ERR_UNSUPPORTED for what the device does not do, GDN_ERR_ARG for what no
 * device could; `run` is called after it and checks what index tensors hold. */
typedef struct cpu_op {
    gdn_status (*check)(const gdn_call *call, gdn_error *err);
    gdn_status (*run)(gdn_device *device, const gdn_call *call, gdn_error *err);
} cpu_op;

extern const cpu_op cpu_causal_conv1d;
extern const cpu_op cpu_gdn_gating;
extern const cpu_op cpu_gated_delta_rule;
extern const cpu_op cpu_gdn_attention;
extern const cpu_op cpu_gdn_metadata;
extern const cpu_op cpu_conv_weight_pack;

/* Sets of types that an argument may have. */
#define CPU_TYPE(dtype) (1U << (dtype))
#define CPU_FLOATS      (CPU_TYPE(GDN_FP32) | CPU_TYPE(GDN_FP16) | CPU_TYPE(GDN_BF16))
#define CPU_INTEGERS    (CPU_TYPE(GDN_I32) | CPU_TYPE(GDN_I64))

/* The argument of that name has one of the types and this shape (-1: any size). An absent
 * one is accepted if the op calls it optional. */
gdn_status cpu_expect(const gdn_call *call, const char *name, unsigned types, int rank,
                      const int64_t *shape, gdn_error *err);

/* At least one of everything: a head, a key dimension, a tap. */
gdn_status cpu_expect_positive(const char *name, int64_t value, gdn_error *err);

/* Shape of the state pool in the order of the conventions, its slots left open. */
void cpu_state_shape(const gdn_conventions *conventions, int64_t heads, int64_t k_dim,
                     int64_t v_dim, int64_t shape[4]);

/* Threads for `items` independent pieces of work of a call. */
int cpu_threads(const gdn_device *device, const gdn_call *call, int64_t items);

/* Zeroed memory for each of `threads`, `floats` apart, on cache line boundaries; NULL when
 * there is none. The caller frees it. */
float *cpu_scratch_create(int threads, size_t floats);

/* `floats` rounded up so that what follows in scratch memory is aligned. */
static inline size_t cpu_aligned(int64_t floats) {
    return ((size_t)floats + 15) / 16 * 16;
}

#endif
