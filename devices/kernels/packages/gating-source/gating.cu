/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A guest: gdn_gating as somebody might bring it, bf16 only, dense rows only. */
static __device__ float bf16(const unsigned short *x, int i) {
    return __uint_as_float((unsigned)x[i] << 16);
}

extern "C" __global__ void gating(const unsigned short *a, const unsigned short *b,
                                  const float *A_log, const unsigned short *dt_bias,
                                  float *g, float *beta, int rows, int heads,
                                  float threshold) {
    const int item = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (item >= rows * heads) {
        return;
    }
    const float x = bf16(a, item) + bf16(dt_bias, item % heads);
    const float softplus = x > threshold ? x
                           : x > 0.0f    ? x + log1pf(expf(-x))
                                         : log1pf(expf(x));
    const double rate = exp((double)A_log[item % heads]);
    g[item] = (float)(-rate * (double)softplus);
    beta[item] = 1.0f / (1.0f + expf(-bf16(b, item)));
}
