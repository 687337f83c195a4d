/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A guest: gdn_gating as somebody might bring it to Level Zero, bf16 only, dense rows only.
 * gating.spv is this file by the command that devices/kernels/CMakeLists.txt has for
 * kernels.cl. */
static float bf16(const __global ushort *x, int i) {
    return as_float((uint)x[i] << 16);
}

__kernel void gating(const __global ushort *a, const __global ushort *b,
                     const __global float *A_log, const __global ushort *dt_bias,
                     __global float *g, __global float *beta, int rows, int heads,
                     float threshold) {
    const int item = (int)get_global_id(0);
    if (item >= rows * heads) {
        return;
    }
    const float x = bf16(a, item) + bf16(dt_bias, item % heads);
    const float softplus = x > threshold ? x
                           : x > 0.0f    ? x + log1p(exp(-x))
                                         : log1p(exp(x));
    g[item] = -exp(A_log[item % heads]) * softplus;
    beta[item] = 1.0f / (1.0f + exp(-bf16(b, item)));
}
