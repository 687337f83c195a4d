/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The words of HIP C++ that the kernels use, for a host compiler: a kernel's threads are
 * fibers of one processor, and a shared array is a static one, since blocks run one after
 * the other. What fibers must do together goes through gk_lanes_meet. */
#ifndef GDN_EMULATED_LANES_H
#define GDN_EMULATED_LANES_H

#include <math.h>
#include <string.h>

#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(...)

typedef struct gk_indices {
    unsigned x, y, z;
} gk_indices;

extern gk_indices threadIdx, blockIdx, blockDim, gridDim;

/* Waits until every lane of the warp has brought its `bytes` <= 64 bytes, and returns those
 * of lane 0, with those of the others at GK_LANE_BYTES behind each other; good until the
 * lane's next but one meeting. Lanes that meet elsewhere or have left end the process. */
#define GK_LANE_BYTES 64
const char *gk_lanes_meet(const void *mine, size_t bytes);

void __syncthreads(void);

template <typename T> static inline T gk_shuffle(T value, int lane) {
    T got;
    memcpy(&got, gk_lanes_meet(&value, sizeof value) + (size_t)lane * GK_LANE_BYTES,
           sizeof got);
    return got;
}

template <typename T> static inline T gk_shuffle_xor(T value, int mask) {
    return gk_shuffle(value, (int)(threadIdx.x % GDN_WARP) ^ mask);
}

static inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* fp16 as the processors convert it. */
float gk_fp16_to_float(unsigned short bits);
unsigned short gk_float_to_fp16(float value);

#endif
