/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Storage types to and from the fp32 that the device computes in. Rounding is to nearest,
 * ties to even; subnormals are kept; NaN stays NaN. */
#ifndef GDN_CPU_CONVERT_H
#define GDN_CPU_CONVERT_H

#include "gdn/tensor.h"

/* `count` elements, `stride` apart, from element `at` of a buffer of fp32, fp16 or bf16. */
void cpu_load(float *out, const void *data, gdn_dtype dtype, int64_t at, int64_t stride,
              int64_t count);
void cpu_store(void *data, gdn_dtype dtype, int64_t at, int64_t stride, const float *values,
               int64_t count);

/* One element. */
float cpu_load_one(const void *data, gdn_dtype dtype, int64_t at);

/* Values through storage and back, in place. */
void cpu_round(float *values, gdn_dtype dtype, int64_t count);

/* Bits of elements of `size` bytes (2 or 4), strides in elements. */
void cpu_copy(void *out, int64_t out_at, int64_t out_stride, const void *in, int64_t in_at,
              int64_t in_stride, int64_t count, size_t size);

#endif
