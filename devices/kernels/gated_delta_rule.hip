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
#define GK_RESIDENT(parts) 1
#else
#define GK_RESIDENT(parts) ((parts) > 4 ? 5 : 7)
#endif

/* One head's state in a slot of the pool or in a row of the buffer. */
typedef struct gk_block {
    char *data;
    int v_stride, k_stride;
} gk_block;

static __device__ inline gk_block gk_block_of(const gk_view &pool, long long slot,
                                              int head) {
    gk_block block;
    block.data = pool.data + (slot * pool.stride[0] + head * pool.stride[1]) *
                                 (pool.dtype == GK_FP32 ? 4 : 2);
    block.v_stride = (int)pool.stride[2];
    block.k_stride = (int)pool.stride[3];
    return block;
}

template <int DTYPE, int PARTS>
static __device__ inline void gk_load_rows(const gk_delta_args &args, const gk_block &from,
                                           int v0, float state[GK_ROWS(PARTS)][PARTS]) {
    const int lane = (int)threadIdx.x % GDN_WARP;
#pragma unroll
    for (int r = 0; r < GK_ROWS(PARTS); r++) {
        const int row = (v0 + r) * from.v_stride;
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            const int k = p * GDN_WARP + lane;
            state[r][p] = v0 + r < args.v_dim && k < args.k_dim
                              ? gk_get<DTYPE>(from.data, row + k * from.k_stride)
                              : 0.0f;
        }
    }
}

template <int DTYPE, int PARTS>
static __device__ inline void gk_store_rows(const gk_delta_args &args, const gk_block &to,
                                            int v0,
                                            const float state[GK_ROWS(PARTS)][PARTS]) {
    const int lane = (int)threadIdx.x % GDN_WARP;
#pragma unroll
    for (int r = 0; r < GK_ROWS(PARTS); r++) {
        const int row = (v0 + r) * to.v_stride;
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            const int k = p * GDN_WARP + lane;
            if (v0 + r < args.v_dim && k < args.k_dim) {
                gk_put<DTYPE>(to.data, row + k * to.k_stride, state[r][p]);
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

/* What token t continues from, if it is not the state at hand. False: there is none. */
static __device__ inline bool gk_source(const gk_delta_args &args, const gk_sequence &s,
                                        int t, int head, gk_block *from) {
    long long place = -1;
    if (t > 0) {
        if (!args.group.parents.data || s.padded) {
            return false;
        }
        /* What the same lanes have stored. */
        place = gk_int(args.group.places, s.index, gk_int(args.group.parents, s.index, t));
    } else {
        place = s.load_place;
    }
    if (place >= 0) {
        *from = gk_block_of(args.buffer, place, head);
        return true;
    }
    *from = gk_block_of(args.state, s.load_slot, head);
    return s.load_slot >= 0;
}

/* Where the state goes after token t of a speculative sequence, or the last of another.
 * False: nowhere. */
static __device__ inline bool gk_target(const gk_delta_args &args, const gk_sequence &s,
                                        int t, int head, gk_block *to) {
    const bool placed = args.group.places.data != 0;
    if (s.padded || (!placed && !args.group.accepted.data && t < s.length - 1)) {
        return false;
    }
    *to = placed ? gk_block_of(args.buffer, gk_int(args.group.places, s.index, t), head)
                 : gk_block_of(args.state, gk_slot(args.group, s.index, t), head);
    return true;
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
    const bool has_row = lane < GK_ROWS(PARTS) && v0 + lane < args.v_dim;
    if (gk_is_idle(args.group, s)) {
        if (args.zero_pads && has_row) {
            gk_zero_output(args, s, head, v0 + lane);
        }
        return;
    }
    const int key_head =
        args.tiled ? head % args.key_heads : head / (args.value_heads / args.key_heads);

    float state[GK_ROWS(PARTS)][PARTS] = {};
    for (int t = 0; t < s.length; t++) {
        gk_block block;
        if (gk_source(args, s, t, head, &block)) {
            gk_load_rows<DTYPE, PARTS>(args, block, v0, state);
        }
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
        const float out = gk_step<PARTS>(
            state, q, k, v, args.decays_given ? g : expf(g),
            args.beta_is_logits ? gk_beta(b, args.roundings, args.storage) : b);
        if (has_row) {
            gk_store(args.out,
                     row * args.out.stride[0] + head * args.out.stride[1] +
                         (v0 + lane) * args.out.stride[2],
                     out);
        }
        if (gk_target(args, s, t, head, &block)) {
            gk_store_rows<DTYPE, PARTS>(args, block, v0, state);
        }
        if (args.carry == GK_CARRY_TOKEN ||
            (args.carry == GK_CARRY_CHUNK && t % GK_CHUNK == GK_CHUNK - 1)) {
            gk_round_rows<DTYPE, PARTS>(state);
        }
    }
}

/* A kernel for each type of the state and each number of lane loads that cover K. */
#define GK_DELTA(type, parts)                                                              \
    extern "C" __global__ void __launch_bounds__(GK_WARPS *GDN_WARP, GK_RESIDENT(parts))   \
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
