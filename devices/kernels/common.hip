/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the kernels share: storage types, index tensors, sequences, columns, lanes.
 *
 * The source is HIP C++ that NVRTC takes too: no #include but our own, since run-time
 * compilers come without headers. The adapter defines GDN_HIP or GDN_CUDA, and GDN_WARP,
 * the lanes that run in step: 32, or 64 on AMD's CDNA. With neither, what the two differ in
 * comes from elsewhere (gpu/tests/emulated_lanes.h). */
#ifndef GDN_COMMON_HIP
#define GDN_COMMON_HIP

#include "kernel_args.h"

#if defined(GDN_HIP)
#define gk_shuffle_xor(value, mask) __shfl_xor(value, mask)
#define gk_shuffle(value, lane)     __shfl(value, lane)
#elif defined(GDN_CUDA)
#define gk_shuffle_xor(value, mask) __shfl_xor_sync(0xffffffffu, value, mask)
#define gk_shuffle(value, lane)     __shfl_sync(0xffffffffu, value, lane)
#endif

/* Numbers of gdn/dtype.h. */
enum { GK_FP32 = 1, GK_FP16 = 2, GK_BF16 = 3, GK_I64 = 4, GK_I32 = 5, GK_BOOL = 6 };

/* ---- Storage. To nearest, ties to even; subnormals are kept; NaN stays NaN ---- */

static __device__ inline float gk_bf16_to_float(unsigned short bits) {
    return __uint_as_float((unsigned)bits << 16);
}

static __device__ inline unsigned short gk_float_to_bf16(float value) {
    const unsigned bits = __float_as_uint(value);
    const unsigned rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    /* Rounding might carry a NaN's payload away into infinity. */
    return (unsigned short)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u
                                                               : rounded);
}

/* fp16 by the hardware's conversions, which round to nearest and keep subnormals. */
#if defined(GDN_HIP)
static __device__ inline float gk_fp16_to_float(unsigned short bits) {
    _Float16 half;
    __builtin_memcpy(&half, &bits, sizeof half);
    return (float)half;
}

static __device__ inline unsigned short gk_float_to_fp16(float value) {
    const _Float16 half = (_Float16)value;
    unsigned short bits;
    __builtin_memcpy(&bits, &half, sizeof bits);
    return bits;
}
#elif defined(GDN_CUDA)
static __device__ inline float gk_fp16_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

static __device__ inline unsigned short gk_float_to_fp16(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

template <int DTYPE> static __device__ inline float gk_get(const char *data, long long at) {
    if (DTYPE == GK_BF16) {
        return gk_bf16_to_float(((const unsigned short *)data)[at]);
    }
    if (DTYPE == GK_FP16) {
        return gk_fp16_to_float(((const unsigned short *)data)[at]);
    }
    return ((const float *)data)[at];
}

template <int DTYPE>
static __device__ inline void gk_put(char *data, long long at, float value) {
    if (DTYPE == GK_BF16) {
        ((unsigned short *)data)[at] = gk_float_to_bf16(value);
    } else if (DTYPE == GK_FP16) {
        ((unsigned short *)data)[at] = gk_float_to_fp16(value);
    } else {
        ((float *)data)[at] = value;
    }
}

static __device__ inline float gk_load(const gk_view &view, long long at) {
    switch ((int)view.dtype) {
    case GK_BF16:
        return gk_get<GK_BF16>(view.data, at);
    case GK_FP16:
        return gk_get<GK_FP16>(view.data, at);
    default:
        return gk_get<GK_FP32>(view.data, at);
    }
}

static __device__ inline void gk_store(const gk_view &view, long long at, float value) {
    switch ((int)view.dtype) {
    case GK_BF16:
        gk_put<GK_BF16>(view.data, at, value);
        break;
    case GK_FP16:
        gk_put<GK_FP16>(view.data, at, value);
        break;
    default:
        gk_put<GK_FP32>(view.data, at, value);
        break;
    }
}

/* Through storage and back. */
static __device__ inline float gk_round(float value, int dtype) {
    switch (dtype) {
    case GK_BF16:
        return gk_bf16_to_float(gk_float_to_bf16(value));
    case GK_FP16:
        return gk_fp16_to_float(gk_float_to_fp16(value));
    default:
        return value;
    }
}

/* Bits of one element: what is copied must not pass through arithmetic. */
static __device__ inline unsigned gk_load_bits(const gk_view &view, long long at) {
    return view.dtype == GK_FP32 ? ((const unsigned *)view.data)[at]
                                 : ((const unsigned short *)view.data)[at];
}

static __device__ inline void gk_store_bits(const gk_view &view, long long at,
                                            unsigned bits) {
    if (view.dtype == GK_FP32) {
        ((unsigned *)view.data)[at] = bits;
    } else {
        ((unsigned short *)view.data)[at] = (unsigned short)bits;
    }
}

/* Tokens of a chunk. */
#define GK_CHUNK 64

/* ---- Index tensors ---- */

static __device__ inline long long gk_int(const gk_view &view, long long i, long long j) {
    const long long at = i * view.stride[0] + j * view.stride[1];
    switch ((int)view.dtype) {
    case GK_I64:
        return ((const long long *)view.data)[at];
    case GK_I32:
        return ((const int *)view.data)[at];
    default:
        return ((const unsigned char *)view.data)[at];
    }
}

static __device__ inline void gk_put_int(const gk_view &view, long long i, long long j,
                                         long long value) {
    const long long at = i * view.stride[0] + j * view.stride[1];
    switch ((int)view.dtype) {
    case GK_I64:
        ((long long *)view.data)[at] = value;
        break;
    case GK_I32:
        ((int *)view.data)[at] = (int)value;
        break;
    default:
        ((unsigned char *)view.data)[at] = (unsigned char)value;
        break;
    }
}

typedef struct gk_sequence {
    int index;
    bool padded; /* names no slot */
    int first;   /* local number of its first token */
    int length;
    long long load_slot;  /* of the start state; -1: zero */
    long long load_place; /* intermediate row of the start state; -1: none */
    long long conv_slot;  /* the history: rows from conv_row of this slot; -1: zero */
    long long conv_row;
} gk_sequence;

static __device__ inline gk_sequence gk_sequence_at(const gk_group &group, int index) {
    gk_sequence s;
    s.index = index;
    s.first = (int)gk_int(group.starts, index, 0);
    s.length = (int)gk_int(group.starts, index + 1, 0) - s.first;
    s.load_slot = s.load_place = s.conv_slot = -1;
    s.conv_row = 0;
    s.padded = false;
    if (s.length <= 0) {
        return s; /* padding: its slots may name nothing */
    }
    s.padded =
        group.pads != GK_PADS_UNKNOWN && gk_int(group.slots, index, 0) == group.pad_slot;
    if (s.padded) {
        return s;
    }
    /* The count holds the bonus token; 0 is tolerated as 1. */
    const long long accepted = group.accepted.data ? gk_int(group.accepted, index, 0) : 0;
    const long long column = accepted > 0 ? accepted - 1 : 0;
    if (group.places.data) {
        s.load_slot = s.conv_slot = gk_int(group.slots, index, 0);
        s.load_place = column > 0 ? gk_int(group.places, index, column) : -1;
    } else if (group.accepted.data) {
        s.load_slot = gk_int(group.slots, index, column);
        s.conv_slot = group.sliding ? gk_int(group.slots, index, 0) : s.load_slot;
        s.conv_row = group.sliding ? column : 0;
    } else if (!group.initial.data || gk_int(group.initial, index, 0) != 0) {
        s.load_slot = s.conv_slot = gk_int(group.slots, index, 0);
    }
    return s;
}

/* The slot that receives the state after token t (the only one if not speculative). */
static __device__ inline long long gk_slot(const gk_group &group, int index, long long t) {
    return gk_int(group.slots, index, group.accepted.data && !group.places.data ? t : 0);
}

/* Padding that nothing is computed for. */
static __device__ inline bool gk_is_idle(const gk_group &group, const gk_sequence &s) {
    return s.padded && group.pads != GK_PADS_FROM_ZERO;
}

/* Row of a local token in the activation tensors. */
static __device__ inline long long gk_row(const gk_group &group, long long local) {
    return group.tokens.data ? gk_int(group.tokens, local, 0) : local;
}

/* The sequence of a local token: the last that starts at or before it, which passes over
 * empty ones. -1 if the token lies behind all sequences, or before them. */
static __device__ inline int gk_find_sequence(const gk_group &group, long long local) {
    int low = -1, high = group.count;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (gk_int(group.starts, middle, 0) <= local) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low >= 0 && local < gk_int(group.starts, low + 1, 0) ? low : -1;
}

/* Output rows of idle padding, one value row of a head. */
static __device__ inline void gk_zero_output(const gk_delta_args &args,
                                             const gk_sequence &s, int head, int v) {
    for (int t = 0; t < s.length; t++) {
        gk_store(args.out,
                 gk_row(args.group, s.first + t) * args.out.stride[0] +
                     head * args.out.stride[1] + v * args.out.stride[2],
                 0.0f);
    }
}

/* ---- Columns of the projections ---- */

static __device__ inline int gk_group_width(const gk_layout &l) {
    return 2 * l.k_dim + 2 * (l.value_heads / l.key_heads) * l.v_dim;
}

/* Channels are [q|k|v] whatever the layout of the columns. */
static __device__ inline int gk_channel_column(const gk_layout &l, int channel) {
    if (l.plain || l.separate) {
        return channel;
    }
    const int keys = l.key_heads * l.k_dim, width = gk_group_width(l);
    if (channel < 2 * keys) {
        const int k_part = channel >= keys;
        const int c = channel - (k_part ? keys : 0);
        return c / l.k_dim * width + (k_part ? l.k_dim : 0) + c % l.k_dim;
    }
    const int c = channel - 2 * keys, ratio = l.value_heads / l.key_heads;
    const int head = c / l.v_dim;
    return head / ratio * width + 2 * l.k_dim + head % ratio * l.v_dim + c % l.v_dim;
}

static __device__ inline int gk_z_column(const gk_layout &l, int head) {
    const int ratio = l.value_heads / l.key_heads;
    return l.separate ? 2 * l.key_heads * l.k_dim + (l.value_heads + head) * l.v_dim
                      : head / ratio * gk_group_width(l) + 2 * l.k_dim +
                            (ratio + head % ratio) * l.v_dim;
}

static __device__ inline int gk_b_column(const gk_layout &l, int head) {
    const int ratio = l.plain ? 1 : l.value_heads / l.key_heads;
    return l.plain || l.separate ? head : head / ratio * 2 * ratio + head % ratio;
}

static __device__ inline int gk_a_column(const gk_layout &l, int head) {
    if (l.plain) {
        return head;
    }
    return l.separate ? l.value_heads + head
                      : gk_b_column(l, head) + l.value_heads / l.key_heads;
}

/* ---- Functions, good to a few ulp over the whole range: the exponential is always taken
 * of what cannot overflow ---- */

static __device__ inline float gk_sigmoid(float x) {
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* sigmoid(b), rounded to b's type `roundings` times: 0, 1, or 3, after each step. */
static __device__ inline float gk_beta(float b, int roundings, int dtype) {
    if (roundings < 3) {
        return gk_round(gk_sigmoid(b), roundings == 1 ? dtype : 0);
    }
    return gk_round(1.0f / gk_round(1.0f + gk_round(expf(-b), dtype), dtype), dtype);
}

static __device__ inline float gk_silu(float x) {
    if (x < -80.0f) { /* exp(x) is subnormal before x exp(x) is; its root is not */
        const float root = expf(0.5f * x);
        return x < -150.0f ? -0.0f : x * root * root;
    }
    return x * gk_sigmoid(x);
}

/* ---- Lanes ---- */

static __device__ inline float gk_sum_lanes(float value) {
    for (int mask = GDN_WARP / 2; mask > 0; mask /= 2) {
        value += gk_shuffle_xor(value, mask);
    }
    return value;
}

static __device__ inline double gk_sum_lanes_double(double value) {
    for (int mask = GDN_WARP / 2; mask > 0; mask /= 2) {
        value += gk_shuffle_xor(value, mask);
    }
    return value;
}

#endif
