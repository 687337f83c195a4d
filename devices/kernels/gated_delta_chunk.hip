/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Chunked prefill on matrix units: bf16 operands, fp32 sums, fp32 state. With s_i the sum of
 * log decays up to token i of a chunk of 64 and S the state before it (FLA's order of
 * operations; contract aiter_fla_flashinfer_ggml 0):
 *
 *     A_ij = beta_i exp(s_i - s_j) k_i.k_j (j < i)     T = (1 + A)^-1
 *     w = T (beta exp(s) k)     u = T (beta v)     P_ij = exp(s_i - s_j) q_i.k_j (j <= i)
 *     v' = u - w S     o_i = exp(s_i) q_i S + P v'     S = exp(s_n) S + k^T (exp(s_n - s) v')
 *
 * The first two lines need no state: gk_chunk_prepare does all chunks at once. gk_chunk
 * follows a sequence through the third. Every product but those of the inverse takes its
 * operands rounded to bf16. */
#include "common.hip"

/* ---- A product of tiles of 16 x 16, by a warp ---- */

#define GK_TILE 16

#if defined(GDN_CUDA)
#define GK_MATRIX_UNITS
#define GK_FRAGMENT 8 /* elements a lane holds of each operand, and of the sum */
#elif defined(GDN_HIP)
#if defined(__gfx90a__) || defined(__gfx940__) || defined(__gfx941__) || defined(__gfx942__)
#define GK_MATRIX_UNITS
#endif
#define GK_FRAGMENT 4
#else
#define GK_MATRIX_UNITS /* tests: the sums, without the units */
#define GK_FRAGMENT     (GK_TILE * GK_TILE / GDN_WARP)
#endif

#if defined(GK_MATRIX_UNITS)

typedef struct gk_tile {
    float sum[GK_FRAGMENT];
} gk_tile;

#if defined(GDN_CUDA)
/* mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16"), twice for 16 columns. */
static __device__ inline int gk_tile_row(int i) {
    return (int)(threadIdx.x % 32) / 4 + (i / 2 % 2) * 8;
}

static __device__ inline int gk_tile_column(int i) {
    return i / 4 * 8 + (int)(threadIdx.x % 4) * 2 + i % 2;
}

static __device__ inline unsigned gk_pair(float low, float high) {
    return gk_float_to_bf16(low) | (unsigned)gk_float_to_bf16(high) << 16;
}

template <typename A, typename B>
static __device__ inline void gk_multiply_tile(gk_tile &tile, int first, const A &a,
                                               const B &b) {
    const int group = (int)(threadIdx.x % 32) / 4, pair = (int)(threadIdx.x % 4) * 2;
    unsigned left[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = group + i % 2 * 8, k = first + pair + i / 2 * 8;
        left[i] = gk_pair(a(row, k), a(row, k + 1));
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int column = half * 8 + group, k = first + pair;
        const unsigned right[2] = {gk_pair(b(k, column), b(k + 1, column)),
                                   gk_pair(b(k + 8, column), b(k + 9, column))};
        float *sum = tile.sum + 4 * half;
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
            : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]),
              "r"(right[1]));
    }
}
#elif defined(GDN_HIP)
/* v_mfma_f32_16x16x16bf16_1k: lane l has k = 4 (l / 16).. of row or column l % 16. */
typedef short gk_short4 __attribute__((ext_vector_type(4)));
typedef float gk_float4 __attribute__((ext_vector_type(4)));

static __device__ inline int gk_tile_row(int i) {
    return (int)(threadIdx.x % 64) / 16 * 4 + i;
}

static __device__ inline int gk_tile_column(int i) {
    (void)i;
    return (int)(threadIdx.x % 16);
}

template <typename A, typename B>
static __device__ inline void gk_multiply_tile(gk_tile &tile, int first, const A &a,
                                               const B &b) {
    const int line = (int)(threadIdx.x % 16), k = first + (int)(threadIdx.x % 64) / 16 * 4;
    gk_short4 left, right;
    gk_float4 sum;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        left[i] = (short)gk_float_to_bf16(a(line, k + i));
        right[i] = (short)gk_float_to_bf16(b(k + i, line));
        sum[i] = tile.sum[i];
    }
    sum = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(left, right, sum, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        tile.sum[i] = sum[i];
    }
}
#else
static __device__ inline int gk_tile_row(int i) {
    return ((int)threadIdx.x % GDN_WARP * GK_FRAGMENT + i) / GK_TILE;
}

static __device__ inline int gk_tile_column(int i) {
    return ((int)threadIdx.x % GDN_WARP * GK_FRAGMENT + i) % GK_TILE;
}

template <typename A, typename B>
static __device__ inline void gk_multiply_tile(gk_tile &tile, int first, const A &a,
                                               const B &b) {
    for (int i = 0; i < GK_FRAGMENT; i++) {
        for (int k = first; k < first + GK_TILE; k++) {
            tile.sum[i] += gk_round(a(gk_tile_row(i), k), GK_BF16) *
                           gk_round(b(k, gk_tile_column(i)), GK_BF16);
        }
    }
}
#endif

/* sum over k < depth of a(row, k) b(k, column); both are asked up to a multiple of 16. */
template <typename A, typename B>
static __device__ inline gk_tile gk_product(int depth, const A &a, const B &b) {
    gk_tile tile = {};
    for (int first = 0; first < depth; first += GK_TILE) {
        gk_multiply_tile(tile, first, a, b);
    }
    return tile;
}

/* ---- Chunks ---- */

/* What the threads of a block know of a chunk. */
typedef struct gk_chunk_view {
    int first, count; /* local tokens */
    int head, key_head;
} gk_chunk_view;

static __device__ inline gk_chunk_view
gk_chunk_at(const gk_delta_args &args, const gk_sequence &s, int from, int head) {
    gk_chunk_view c;
    c.first = s.first + from;
    c.count = s.length - from < GK_CHUNK ? s.length - from : GK_CHUNK;
    c.head = head;
    c.key_head =
        args.tiled ? head % args.key_heads : head / (args.value_heads / args.key_heads);
    return c;
}

static __device__ inline float gk_key(const gk_delta_args &args, const gk_chunk_view &c,
                                      const float *x, int token, int d) {
    return token < c.count && d < args.k_dim
               ? x[(gk_row(args.group, c.first + token) * args.key_heads + c.key_head) *
                       args.k_dim +
                   d]
               : 0.0f;
}

/* Element of a [local token][value head][width] matrix of bf16 numbers. */
static __device__ inline unsigned short *gk_half(const gk_delta_args &args,
                                                 const gk_chunk_view &c, char *matrix,
                                                 int token, int width) {
    return (unsigned short *)matrix +
           ((long long)(c.first + token) * args.value_heads + c.head) * width;
}

/* Log decay and beta of a token; nothing behind the last. Below exp's range any number is as
 * good as another, and the sum of 64 stays finite. */
static __device__ inline void gk_gates_of(const gk_delta_args &args, const gk_chunk_view &c,
                                          int token, float *g, float *beta) {
    *g = *beta = 0.0f;
    if (token < c.count) {
        const long long row = gk_row(args.group, c.first + token);
        const float x = gk_load(args.g, row * args.g.stride[0] + c.head * args.g.stride[1]);
        const float b =
            gk_load(args.beta, row * args.beta.stride[0] + c.head * args.beta.stride[1]);
        const float log_decay = args.decays_given ? logf(x) : x;
        *g = log_decay < -1e4f ? -1e4f : log_decay;
        *beta = args.beta_is_logits ? gk_beta(b, args.roundings, args.storage) : b;
    }
}

#define GK_LINE (GK_CHUNK + 1) /* apart from a power of two: shared memory has banks */

/* Inverts 1 + A into T, in fp32: blocks of 16 by substitution, then T21 = -T22 (A21 T11) of
 * blocks that double. A's lower blocks are used up. */
static __device__ void gk_invert(float (*A)[GK_LINE], float (*T)[GK_LINE]) {
    const int thread = (int)threadIdx.x, threads = (int)blockDim.x;
    for (int i = thread; i < GK_CHUNK * GK_CHUNK; i += threads) {
        T[i / GK_CHUNK][i % GK_CHUNK] = 0.0f;
    }
    __syncthreads();
    if (thread < GK_CHUNK) {
        for (int i = thread; i < thread / GK_TILE * GK_TILE + GK_TILE; i++) {
            float sum = i == thread ? 1.0f : 0.0f;
            for (int l = thread; l < i; l++) {
                sum -= A[i][l] * T[l][thread];
            }
            T[i][thread] = sum;
        }
    }
    __syncthreads();
    for (int size = GK_TILE; size < GK_CHUNK; size *= 2) {
        const int pairs = GK_CHUNK / (2 * size), elements = pairs * size * size;
        float part[GK_CHUNK * GK_CHUNK / 4 / (4 * 32)]; /* of 2 x 16 x 16, or of 32 x 32 */
        for (int step = 0; step < 2; step++) {
#pragma unroll
            for (int e = 0; e < 8; e++) {
                const int item = e * threads + thread, rest = item % (size * size);
                const int first = item / (size * size) * 2 * size;
                const int i = first + size + rest / size, j = first + rest % size;
                float sum = 0.0f;
                for (int l = 0; item < elements && l < size; l++) {
                    sum += step == 0 ? A[i][first + l] * T[first + l][j]
                                     : T[i][first + size + l] * A[first + size + l][j];
                }
                part[e] = sum;
            }
            __syncthreads();
#pragma unroll
            for (int e = 0; e < 8; e++) {
                const int item = e * threads + thread, rest = item % (size * size);
                const int first = item / (size * size) * 2 * size;
                const int i = first + size + rest / size, j = first + rest % size;
                if (item < elements && step == 0) {
                    A[i][j] = part[e];
                } else if (item < elements) {
                    T[i][j] = -part[e];
                }
            }
            __syncthreads();
        }
    }
}

/* Block x: a local token, of which those that begin a chunk are worked on; block y: a value
 * head. Four warps. */
extern "C" __global__ void __launch_bounds__(4 * GDN_WARP)
    gk_chunk_prepare(const gk_chunk_args chunk) {
    __shared__ float A[GK_CHUNK][GK_LINE], T[GK_CHUNK][GK_LINE];
    __shared__ float sums[GK_CHUNK], betas[GK_CHUNK];
    const gk_delta_args &args = chunk.delta;
    const int index = gk_find_sequence(args.group, blockIdx.x);
    if (index < 0) {
        return;
    }
    const gk_sequence s = gk_sequence_at(args.group, index);
    const int from = (int)blockIdx.x - s.first;
    if (from % GK_CHUNK != 0 || gk_is_idle(args.group, s)) {
        return;
    }
    const gk_chunk_view c = gk_chunk_at(args, s, from, (int)blockIdx.y);
    const int thread = (int)threadIdx.x, warp = thread / GDN_WARP;
    if (thread < GK_CHUNK) {
        gk_gates_of(args, c, thread, &sums[thread], &betas[thread]);
    }
    __syncthreads();
    if (thread == 0) {
        for (int i = 1; i < GK_CHUNK; i++) {
            sums[i] += sums[i - 1];
        }
    }
    __syncthreads();
    if (thread < c.count) {
        chunk.sums[(long long)(c.first + thread) * args.value_heads + c.head] =
            sums[thread];
    }
    const auto key = [&](int i, int d) { return gk_key(args, c, args.k, i, d); };
    for (int item = warp; item < 16; item += 4) {
        const int i0 = item / 4 * GK_TILE, j0 = item % 4 * GK_TILE;
        const auto right = [&](int d, int j) { return key(j0 + j, d); };
        const gk_tile kk = gk_product(
            args.k_dim, [&](int i, int d) { return key(i0 + i, d); }, right);
        const gk_tile qk = gk_product(
            args.k_dim, [&](int i, int d) { return gk_key(args, c, args.q, i0 + i, d); },
            right);
#pragma unroll
        for (int e = 0; e < GK_FRAGMENT; e++) {
            const int i = i0 + gk_tile_row(e), j = j0 + gk_tile_column(e);
            const float decay = j <= i ? expf(sums[i] - sums[j]) : 0.0f;
            A[i][j] = j < i ? kk.sum[e] * decay * betas[i] : 0.0f;
            if (i < c.count) {
                gk_half(args, c, chunk.scores, i, GK_CHUNK)[j] =
                    gk_float_to_bf16(j <= i ? qk.sum[e] * decay : 0.0f);
            }
        }
    }
    __syncthreads();
    gk_invert(A, T);
    const int key_tiles = (args.k_dim + GK_TILE - 1) / GK_TILE;
    const int value_tiles = (args.v_dim + GK_TILE - 1) / GK_TILE;
    for (int item = warp; item < 4 * (key_tiles + value_tiles); item += 4) {
        const int i0 = item % 4 * GK_TILE, column = item / 4;
        const bool of_keys = column < key_tiles;
        const int d0 = (of_keys ? column : column - key_tiles) * GK_TILE;
        const gk_tile tile = gk_product(
            i0 + GK_TILE, [&](int i, int l) { return T[i0 + i][l]; },
            [&](int l, int d) {
                if (of_keys) {
                    return gk_round(key(l, d0 + d), GK_BF16) * betas[l] * expf(sums[l]);
                }
                return l < c.count && d0 + d < args.v_dim
                           ? betas[l] * gk_load(args.v, gk_row(args.group, c.first + l) *
                                                                args.v.stride[0] +
                                                            c.head * args.v.stride[1] +
                                                            (d0 + d) * args.v.stride[2])
                           : 0.0f;
            });
        const int width = of_keys ? args.k_dim : args.v_dim;
#pragma unroll
        for (int e = 0; e < GK_FRAGMENT; e++) {
            const int i = i0 + gk_tile_row(e), d = d0 + gk_tile_column(e);
            if (i < c.count && d < width) {
                gk_half(args, c, of_keys ? chunk.w : chunk.u, i, width)[d] =
                    gk_float_to_bf16(tile.sum[e]);
            }
        }
    }
}

#define GK_MAX_KEYS  256
#define GK_STATE_ROW (GK_TILE + 1)

/* One chunk of one head, for 16 value rows from v0 on; `state` is [k][v]. */
static __device__ void gk_chunk_step(const gk_chunk_args &chunk, const gk_chunk_view &c,
                                     int v0, float (*state)[GK_STATE_ROW],
                                     float (*values)[GK_STATE_ROW], float *sums) {
    const gk_delta_args &args = chunk.delta;
    const int thread = (int)threadIdx.x, warp = thread / GDN_WARP, i0 = warp * GK_TILE;
    if (thread < GK_CHUNK) {
        const int token = thread < c.count ? thread : c.count - 1;
        sums[thread] = chunk.sums[(long long)(c.first + token) * args.value_heads + c.head];
    }
    __syncthreads();
    const auto start = [&](int d, int v) { return d < args.k_dim ? state[d][v] : 0.0f; };
    const gk_tile read = gk_product(
        args.k_dim,
        [&](int i, int d) {
            return i0 + i < c.count && d < args.k_dim
                       ? gk_bf16_to_float(gk_half(args, c, chunk.w, i0 + i, args.k_dim)[d])
                       : 0.0f;
        },
        start);
    gk_tile out = gk_product(
        args.k_dim, [&](int i, int d) { return gk_key(args, c, args.q, i0 + i, d); },
        start);
#pragma unroll
    for (int e = 0; e < GK_FRAGMENT; e++) {
        const int i = i0 + gk_tile_row(e), v = gk_tile_column(e);
        float value = 0.0f;
        if (i < c.count && v0 + v < args.v_dim) {
            const float u =
                gk_bf16_to_float(gk_half(args, c, chunk.u, i, args.v_dim)[v0 + v]);
            value = gk_round(u - read.sum[e], GK_BF16);
        }
        values[i][v] = value;
        out.sum[e] *= expf(sums[i]);
    }
    __syncthreads();
    for (int first = 0; first <= i0; first += GK_TILE) {
        gk_multiply_tile(
            out, first,
            [&](int i, int j) {
                return i0 + i < c.count ? gk_bf16_to_float(gk_half(args, c, chunk.scores,
                                                                   i0 + i, GK_CHUNK)[j])
                                        : 0.0f;
            },
            [&](int j, int v) { return values[j][v]; });
    }
#pragma unroll
    for (int e = 0; e < GK_FRAGMENT; e++) {
        const int i = i0 + gk_tile_row(e), v = v0 + gk_tile_column(e);
        if (i < c.count && v < args.v_dim) {
            gk_store(args.out,
                     gk_row(args.group, c.first + i) * args.out.stride[0] +
                         c.head * args.out.stride[1] + v * args.out.stride[2],
                     out.sum[e]);
        }
    }
    const float last = sums[GK_CHUNK - 1];
    for (int d0 = warp * GK_TILE; d0 < args.k_dim; d0 += 4 * GK_TILE) {
        const gk_tile added = gk_product(
            GK_CHUNK, [&](int d, int j) { return gk_key(args, c, args.k, j, d0 + d); },
            [&](int j, int v) { return values[j][v] * expf(last - sums[j]); });
#pragma unroll
        for (int e = 0; e < GK_FRAGMENT; e++) {
            const int d = d0 + gk_tile_row(e), v = gk_tile_column(e);
            const float kept = expf(last) * state[d][v] + added.sum[e];
            state[d][v] = args.carry == GK_CARRY_CHUNK && c.count == GK_CHUNK
                              ? gk_round(kept, (int)args.state.dtype)
                              : kept;
        }
    }
    __syncthreads();
}

/* Block x: a sequence; block y: a value head; block z: 16 value rows. Four warps, each of
 * them with 16 tokens of a chunk. */
extern "C" __global__ void __launch_bounds__(4 * GDN_WARP)
    gk_chunk(const gk_chunk_args chunk) {
    __shared__ float state[GK_MAX_KEYS][GK_STATE_ROW], values[GK_CHUNK][GK_STATE_ROW];
    __shared__ float sums[GK_CHUNK];
    const gk_delta_args &args = chunk.delta;
    const gk_sequence s = gk_sequence_at(args.group, (int)blockIdx.x);
    const int head = (int)blockIdx.y, v0 = (int)blockIdx.z * GK_TILE;
    const int thread = (int)threadIdx.x;
    if (s.length <= 0) {
        return;
    }
    if (gk_is_idle(args.group, s)) {
        if (args.zero_pads && thread < GK_TILE && v0 + thread < args.v_dim) {
            gk_zero_output(args, s, head, v0 + thread);
        }
        return;
    }
    const gk_view &pool = args.state;
    for (int i = thread; i < GK_MAX_KEYS * GK_TILE; i += (int)blockDim.x) {
        const int d = i / GK_TILE, v = i % GK_TILE;
        const bool there = s.load_slot >= 0 && d < args.k_dim && v0 + v < args.v_dim;
        state[d][v] =
            there ? gk_load(pool, s.load_slot * pool.stride[0] + head * pool.stride[1] +
                                      (v0 + v) * pool.stride[2] + d * pool.stride[3])
                  : 0.0f;
    }
    __syncthreads();
    for (int from = 0; from < s.length; from += GK_CHUNK) {
        gk_chunk_step(chunk, gk_chunk_at(args, s, from, head), v0, state, values, sums);
    }
    const long long slot = s.padded ? -1 : gk_slot(args.group, s.index, 0);
    for (int i = thread; slot >= 0 && i < args.k_dim * GK_TILE; i += (int)blockDim.x) {
        const int d = i / GK_TILE, v = i % GK_TILE;
        if (v0 + v < args.v_dim) {
            gk_store(pool,
                     slot * pool.stride[0] + head * pool.stride[1] +
                         (v0 + v) * pool.stride[2] + d * pool.stride[3],
                     state[d][v]);
        }
    }
}

#endif
