/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What stands beside the recurrence: the gates, the norms, z, rows of padding. */
#include "common.hip"

/* g = -exp(A_log) softplus(a + dt_bias), beta = sigmoid(b). One thread a gate. */
extern "C" __global__ void __launch_bounds__(256) gk_gating(const gk_gating_args args) {
    const long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long row = item / args.heads;
    const int head = (int)(item % args.heads);
    if (row >= args.rows) {
        return;
    }
    const float a = gk_load(args.a, row * args.a.stride[0] +
                                        gk_a_column(args.layout, head) * args.a.stride[1]);
    const float b = gk_load(args.b, row * args.b.stride[0] +
                                        gk_b_column(args.layout, head) * args.b.stride[1]);
    const float x = a + gk_load(args.dt_bias, head * args.dt_bias.stride[0]);
    const float scale = (float)args.softplus_beta, scaled = scale * x;
    float softplus = x;
    if (scaled <= (float)args.softplus_threshold) {
        softplus = scaled > 0.0f ? x + log1pf(expf(-scaled)) / scale
                                 : log1pf(expf(scaled)) / scale;
    }
    /* In double: fp32 would overflow from A_log = 88.8 on, where softplus can still bring
     * the product back. */
    const double rate = exp((double)gk_load(args.A_log, head * args.A_log.stride[0]));
    gk_store(args.g, row * args.g.stride[0] + head * args.g.stride[1],
             (float)(-rate * (double)softplus));
    const bool tail = head >= args.heads / 32 * 32;
    gk_store(args.beta, row * args.beta.stride[0] + head * args.beta.stride[1],
             gk_beta(b, tail ? args.tail_roundings : args.roundings, (int)args.b.dtype));
}

/* What memory can do at best, for comparison. */
extern "C" __global__ void __launch_bounds__(256) gk_copy(const gk_copy_args args) {
    typedef struct __attribute__((aligned(16))) {
        unsigned word[4];
    } gk_words;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
         i < args.bytes / 16; i += step) {
        ((gk_words *)args.to)[i] = ((const gk_words *)args.from)[i];
    }
}

/* Block x: a row, counted from the first. */
extern "C" __global__ void __launch_bounds__(256) gk_zero(const gk_zero_args args) {
    const long long row = args.first + (long long)blockIdx.x;
    for (int i = (int)threadIdx.x; i < args.heads * args.dim; i += (int)blockDim.x) {
        gk_store(args.out,
                 row * args.out.stride[0] + i / args.dim * args.out.stride[1] +
                     i % args.dim * args.out.stride[2],
                 0.0f);
    }
}

/* Block x: a local token. */
extern "C" __global__ void __launch_bounds__(256) gk_copy_z(const gk_copy_z_args args) {
    if (gk_find_sequence(args.group, blockIdx.x) < 0) {
        return;
    }
    const long long row = gk_row(args.group, blockIdx.x);
    const int count = args.layout.value_heads * args.layout.v_dim;
    for (int i = (int)threadIdx.x; i < count; i += (int)blockDim.x) {
        const int head = i / args.layout.v_dim, v = i % args.layout.v_dim;
        const int column = gk_z_column(args.layout, head) + v;
        gk_store_bits(
            args.z, row * args.z.stride[0] + head * args.z.stride[1] + v * args.z.stride[2],
            gk_load_bits(args.x, row * args.x.stride[0] + column * args.x.stride[1]));
    }
}

/* Sums of squares in double: they neither overflow nor lose anything next to the fp32
 * recurrence, for a cost that does not show. */
static __device__ inline double gk_inverse_norm(const gk_normalise_args &args,
                                                const gk_view &x, long long at) {
    const int lane = (int)threadIdx.x % GDN_WARP;
    double sum = 0.0;
    for (int d = lane; d < args.k_dim; d += GDN_WARP) {
        const double value = (double)gk_load(x, at + d * x.stride[2]);
        sum += value * value;
    }
    sum = gk_sum_lanes_double(sum);
    switch (args.norm) {
    case GK_NORM_INSIDE:
        return 1.0 / sqrt(sum + args.epsilon);
    case GK_NORM_OUTSIDE:
        return 1.0 / (sqrt(sum) + args.epsilon);
    case GK_NORM_MAX:
        return 1.0 / fmax(sqrt(sum), args.epsilon);
    default:
        return 1.0;
    }
}

/* The scaled query; where it is rounded first, the product is fp32's own. */
static __device__ inline float gk_query(const gk_normalise_args &args, double q,
                                        double factor, double scale) {
    switch (args.rounding) {
    case GK_QK_STORAGE:
        return (float)((double)gk_round((float)(q * factor), args.storage) * scale);
    case GK_QK_SCALED:
        return gk_round((float)(q * (scale * factor)), args.storage);
    default:
        return (float)(q * (scale * factor));
    }
}

/* q and k as the recurrence takes them: divided by their norms, q scaled by K^-1/2. Block
 * x: a local token; its warps share the key heads. */
extern "C" __global__ void __launch_bounds__(256)
    gk_normalise(const gk_normalise_args args) {
    if (gk_find_sequence(args.group, blockIdx.x) < 0) {
        return;
    }
    const long long row = gk_row(args.group, blockIdx.x);
    const int lane = (int)threadIdx.x % GDN_WARP, warps = (int)blockDim.x / GDN_WARP;
    const double scale = 1.0 / sqrt((double)args.k_dim);
    for (int head = (int)threadIdx.x / GDN_WARP; head < args.heads; head += warps) {
        const long long q_at = row * args.q.stride[0] + head * args.q.stride[1];
        const long long k_at = row * args.k.stride[0] + head * args.k.stride[1];
        const double q_factor = gk_inverse_norm(args, args.q, q_at);
        const double k_factor = gk_inverse_norm(args, args.k, k_at);
        const long long out = (row * args.heads + head) * args.k_dim;
        for (int d = lane; d < args.k_dim; d += GDN_WARP) {
            const float q = gk_load(args.q, q_at + d * args.q.stride[2]);
            const float k = gk_load(args.k, k_at + d * args.k.stride[2]);
            args.q_out[out + d] = gk_query(args, (double)q, q_factor, scale);
            args.k_out[out + d] =
                gk_round((float)((double)k * k_factor),
                         args.rounding == GK_QK_UNROUNDED ? 0 : args.storage);
        }
    }
}
