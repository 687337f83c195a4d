/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The recurrence, token by token. A warp (or wavefront) owns ROWS adjacent value rows of
 * one head of one sequence from the first token to the last: lane l keeps the elements l,
 * l + GDN_WARP.. of each row in registers, reads and output are sums over lanes, and no
 * warp waits for another. */
#include "common.hip"

#define GK_WARPS 4

/* ROWS by the lane loads that cover K: what a lane keeps must stay in registers. */
#define GK_ROWS(parts) ((parts) > 4 ? 4 : 8)

/* Decode waits for memory: many blocks at once on a multiprocessor hide that better than
 * the registers they give up (H200, 256 sequences: 58 % of copy bandwidth against 44 %).
 * HIP's number counts wavefronts of a SIMD, and its compilers need no telling. */
#if defined(GDN_HIP)
#define GK_RESIDENT 1
#else
#define GK_RESIDENT 7
#endif

/* Tokens after which a state that is carried by chunks passes through storage. */
#define GK_CHUNK 64

template <int DTYPE, int PARTS>
static __device__ inline void gk_load_rows(const gk_delta_args &args, long long at, int v0,
                                           float state[GK_ROWS(PARTS)][PARTS]) {
    const int lane = (int)threadIdx.x % GDN_WARP;
#pragma unroll
    for (int r = 0; r < GK_ROWS(PARTS); r++) {
        const long long row = at + (v0 + r) * args.state.stride[2];
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            const int k = p * GDN_WARP + lane;
            state[r][p] =
                v0 + r < args.v_dim && k < args.k_dim
                    ? gk_get<DTYPE>(args.state.data, row + k * args.state.stride[3])
                    : 0.0f;
        }
    }
}

template <int DTYPE, int PARTS>
static __device__ inline void gk_store_rows(const gk_delta_args &args, long long at, int v0,
                                            const float state[GK_ROWS(PARTS)][PARTS]) {
    const int lane = (int)threadIdx.x % GDN_WARP;
#pragma unroll
    for (int r = 0; r < GK_ROWS(PARTS); r++) {
        const long long row = at + (v0 + r) * args.state.stride[2];
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            const int k = p * GDN_WARP + lane;
            if (v0 + r < args.v_dim && k < args.k_dim) {
                gk_put<DTYPE>(args.state.data, row + k * args.state.stride[3], state[r][p]);
            }
        }
    }
}

template <int DTYPE, int PARTS>
static __device__ inline void gk_round_rows(float state[GK_ROWS(PARTS)][PARTS]) {
#pragma unroll
    for (int r = 0; r < GK_ROWS(PARTS); r++) {
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            state[r][p] = gk_round(state[r][p], DTYPE);
        }
    }
}

template <int PARTS>
static __device__ inline void gk_load_keys(const float *x, long long at, int k_dim,
                                           float out[PARTS]) {
    const int lane = (int)threadIdx.x % GDN_WARP;
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
        const int k = p * GDN_WARP + lane;
        out[p] = k < k_dim ? x[at + k] : 0.0f;
    }
}

/* One token: decay, read, delta, update, output. Lane r has row r of `v` and result. */
template <int PARTS>
static __device__ inline float gk_step(float state[GK_ROWS(PARTS)][PARTS],
                                       const float q[PARTS], const float k[PARTS], float v,
                                       float decay, float beta) {
    const int lane = (int)threadIdx.x % GDN_WARP;
    float read[GK_ROWS(PARTS)], result = 0.0f;
#pragma unroll
    for (int r = 0; r < GK_ROWS(PARTS); r++) {
        float sum = 0.0f;
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            state[r][p] *= decay;
            sum += state[r][p] * k[p];
        }
        read[r] = sum;
    }
#pragma unroll
    for (int r = 0; r < GK_ROWS(PARTS); r++) {
        const float delta = beta * (gk_shuffle(v, r) - gk_sum_lanes(read[r]));
        float sum = 0.0f;
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            state[r][p] += delta * k[p];
            sum += state[r][p] * q[p];
        }
        read[r] = sum;
    }
#pragma unroll
    for (int r = 0; r < GK_ROWS(PARTS); r++) {
        const float out = gk_sum_lanes(read[r]);
        result = lane == r ? out : result;
    }
    return result;
}

/* Block x: sequence, block y: value head, block z: GK_WARPS * GK_ROWS value rows. */
template <int DTYPE, int PARTS>
static __device__ void gk_delta_of(const gk_delta_args &args) {
    const gk_sequence s = gk_sequence_at(args.group, (int)blockIdx.x);
    const int warp = (int)threadIdx.x / GDN_WARP, lane = (int)threadIdx.x % GDN_WARP;
    const int head = (int)blockIdx.y;
    const int v0 = ((int)blockIdx.z * GK_WARPS + warp) * GK_ROWS(PARTS);
    if (s.length <= 0 || v0 >= args.v_dim) {
        return; /* whole warps, so that no lane waits for one that left */
    }
    const int key_head =
        args.tiled ? head % args.key_heads : head / (args.value_heads / args.key_heads);
    const long long head_at = head * args.state.stride[1];
    const bool spec = args.group.accepted.data != 0;
    const bool has_row = lane < GK_ROWS(PARTS) && v0 + lane < args.v_dim;

    float state[GK_ROWS(PARTS)][PARTS] = {};
    if (s.load_slot >= 0) {
        gk_load_rows<DTYPE, PARTS>(args, s.load_slot * args.state.stride[0] + head_at, v0,
                                   state);
    }
    for (long long t = 0; t < s.length; t++) {
        const long long row = gk_row(args.group, s.first + t);
        const long long key_at = (row * args.key_heads + key_head) * args.k_dim;
        float q[PARTS], k[PARTS], v = 0.0f;
        gk_load_keys<PARTS>(args.q, key_at, args.k_dim, q);
        gk_load_keys<PARTS>(args.k, key_at, args.k_dim, k);
        if (has_row) {
            v = gk_load(args.v, row * args.v.stride[0] + head * args.v.stride[1] +
                                    (v0 + lane) * args.v.stride[2]);
        }
        const float g = gk_load(args.g, row * args.g.stride[0] + head * args.g.stride[1]);
        const float b =
            gk_load(args.beta, row * args.beta.stride[0] + head * args.beta.stride[1]);
        const float out = gk_step<PARTS>(state, q, k, v, expf(g),
                                         args.beta_is_logits ? gk_sigmoid(b) : b);
        if (has_row) {
            gk_store(args.out,
                     row * args.out.stride[0] + head * args.out.stride[1] +
                         (v0 + lane) * args.out.stride[2],
                     out);
        }
        if (spec) {
            gk_store_rows<DTYPE, PARTS>(
                args, gk_slot(args.group, s.index, t) * args.state.stride[0] + head_at, v0,
                state);
        }
        if (args.carry == GK_CARRY_TOKEN ||
            (args.carry == GK_CARRY_CHUNK && t % GK_CHUNK == GK_CHUNK - 1)) {
            gk_round_rows<DTYPE, PARTS>(state);
        }
    }
    if (!spec) {
        gk_store_rows<DTYPE, PARTS>(
            args, gk_slot(args.group, s.index, 0) * args.state.stride[0] + head_at, v0,
            state);
    }
}

/* A kernel for each type of the state and each number of lane loads that cover K. */
#define GK_DELTA(type, parts)                                                              \
    extern "C" __global__ void __launch_bounds__(GK_WARPS *GDN_WARP, GK_RESIDENT)          \
        gk_delta_##type##_##parts(const gk_delta_args args) {                              \
        gk_delta_of<GK_##type, parts>(args);                                               \
    }
#define GK_DELTA_TYPES(parts)                                                              \
    GK_DELTA(FP32, parts)                                                                  \
    GK_DELTA(FP16, parts)                                                                  \
    GK_DELTA(BF16, parts)

GK_DELTA_TYPES(1)
GK_DELTA_TYPES(2)
GK_DELTA_TYPES(4)
#if GDN_WARP == 32
GK_DELTA_TYPES(8)
#endif
