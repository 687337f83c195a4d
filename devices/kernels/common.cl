/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the kernels in OpenCL C share: memory, storage types, index tensors, sequences,
 * columns, functions. OpenCL C 1.2, fp32 only, no sub-groups, no extension: what every
 * OpenCL device and every Level Zero driver takes. The files have no #include of their own,
 * because devices without SPIR-V get them as texts one after the other (kernels.cl has the
 * order).
 *
 * The functions below are ours, not the device's: those may err by 3 ulp and more, and
 * would make a device's results those of its compiler's library. */

/* A product and a sum are two roundings, on every device. */
#pragma OPENCL FP_CONTRACT OFF

/* Numbers of gdn/dtype.h. */
enum { GK_FP32 = 1, GK_FP16 = 2, GK_BF16 = 3, GK_I64 = 4, GK_I32 = 5, GK_BOOL = 6 };

/* The two blocks of memory. Every kernel gets them behind its struct. */
typedef struct gk_memory {
    __global char *arena, *scratch;
} gk_memory;

static __global char *gk_at(const gk_memory *m, ulong place) {
    const ulong offset = place & ~(GK_IN_ARENA | GK_IN_SCRATCH);
    return (place & GK_IN_SCRATCH ? m->scratch : m->arena) + offset;
}

static __global float *gk_floats_at(const gk_memory *m, gk_floats place) {
    return (__global float *)gk_at(m, place);
}

/* A double's value from its bits, for devices without doubles; exact where fp32 can be, and
 * cut off below fp32's normal numbers, which no convention has. */
static float gk_real_value(gk_real bits) {
    const int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    const uint sign = (uint)(bits >> 63) << 31;
    if (exponent < -126) {
        return as_float(sign);
    }
    if (exponent > 127) {
        return as_float(sign | 0x7f800000u);
    }
    const uint kept = (uint)(bits >> 29) & 0x7fffffu;
    const uint dropped = (uint)bits & 0x1fffffffu;
    const uint up = dropped > 0x10000000u || (dropped == 0x10000000u && (kept & 1u));
    return as_float((sign | (uint)(exponent + 127) << 23 | kept) + up);
}

/* ---- Storage. To nearest, ties to even; subnormals are kept; NaN stays NaN ---- */

static float gk_bf16_to_float(ushort bits) {
    return as_float((uint)bits << 16);
}

static ushort gk_float_to_bf16(float value) {
    const uint bits = as_uint(value);
    const uint rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    /* Rounding might carry a NaN's payload away into infinity. */
    return (ushort)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u : rounded);
}

static float gk_fp16_to_float(ushort half_bits) {
    const uint sign = (uint)(half_bits & 0x8000u) << 16, rest = half_bits & 0x7fffu;
    if (rest >= 0x7c00u) {
        return as_float(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    }
    /* Subnormals have the value of their bits as an integer, times 2^-24: exact. */
    const float value =
        rest < 0x400u ? (float)rest * 0x1p-24f : as_float((rest << 13) + 0x38000000u);
    return as_float(as_uint(value) | sign);
}

static ushort gk_float_to_fp16(float value) {
    const uint bits = as_uint(value), sign = bits >> 16 & 0x8000u,
               rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) {
        return (ushort)(sign | 0x7e00u | (rest >> 13 & 0x3ffu));
    }
    if (rest >= 0x477ff000u) { /* 65520, half way to what would be 65536 */
        return (ushort)(sign | 0x7c00u);
    }
    if (rest >= 0x38800000u) { /* 2^-14: normal */
        return (ushort)(sign | ((rest + 0xfffu + (rest >> 13 & 1u) - 0x38000000u) >> 13));
    }
    if (rest < 0x33000000u) { /* 2^-25 */
        return (ushort)sign;
    }
    const uint whole = (rest & 0x7fffffu) | 0x800000u, shift = 126u - (rest >> 23);
    const uint kept = whole >> shift, middle = 1u << (shift - 1u);
    const uint dropped = whole & ((1u << shift) - 1u);
    const uint up = dropped > middle || (dropped == middle && (kept & 1u));
    return (ushort)(sign | (kept + up));
}

static float gk_get(const __global char *data, long at, int dtype) {
    if (dtype == GK_BF16) {
        return gk_bf16_to_float(((const __global ushort *)data)[at]);
    }
    if (dtype == GK_FP16) {
        return gk_fp16_to_float(((const __global ushort *)data)[at]);
    }
    return ((const __global float *)data)[at];
}

static void gk_put(__global char *data, long at, int dtype, float value) {
    if (dtype == GK_BF16) {
        ((__global ushort *)data)[at] = gk_float_to_bf16(value);
    } else if (dtype == GK_FP16) {
        ((__global ushort *)data)[at] = gk_float_to_fp16(value);
    } else {
        ((__global float *)data)[at] = value;
    }
}

static float gk_load(const gk_memory *m, const gk_view *view, long at) {
    return gk_get(gk_at(m, view->data), at, (int)view->dtype);
}

static void gk_store(const gk_memory *m, const gk_view *view, long at, float value) {
    gk_put(gk_at(m, view->data), at, (int)view->dtype, value);
}

/* Through storage and back. */
static float gk_round(float value, int dtype) {
    if (dtype == GK_BF16) {
        return gk_bf16_to_float(gk_float_to_bf16(value));
    }
    return dtype == GK_FP16 ? gk_fp16_to_float(gk_float_to_fp16(value)) : value;
}

/* Bits of one element: what is copied must not pass through arithmetic. */
static uint gk_load_bits(const gk_memory *m, const gk_view *view, long at) {
    const __global char *data = gk_at(m, view->data);
    return view->dtype == GK_FP32 ? ((const __global uint *)data)[at]
                                  : ((const __global ushort *)data)[at];
}

static void gk_store_bits(const gk_memory *m, const gk_view *view, long at, uint bits) {
    __global char *data = gk_at(m, view->data);
    if (view->dtype == GK_FP32) {
        ((__global uint *)data)[at] = bits;
    } else {
        ((__global ushort *)data)[at] = (ushort)bits;
    }
}

/* ---- Index tensors ---- */

static long gk_int(const gk_memory *m, const gk_view *view, long i, long j) {
    const long at = i * view->stride[0] + j * view->stride[1];
    const __global char *data = gk_at(m, view->data);
    switch ((int)view->dtype) {
    case GK_I64:
        return ((const __global long *)data)[at];
    case GK_I32:
        return ((const __global int *)data)[at];
    default:
        return ((const __global uchar *)data)[at];
    }
}

static void gk_put_int(const gk_memory *m, const gk_view *view, long i, long j,
                       long value) {
    __global char *data = gk_at(m, view->data);
    const long at = i * view->stride[0] + j * view->stride[1];
    switch ((int)view->dtype) {
    case GK_I64:
        ((__global long *)data)[at] = value;
        break;
    case GK_I32:
        ((__global int *)data)[at] = (int)value;
        break;
    default:
        ((__global uchar *)data)[at] = (uchar)value;
        break;
    }
}

typedef struct gk_sequence {
    int index;
    int padded; /* names no slot */
    long first; /* local number of its first token */
    long length;
    long load_slot;  /* of the start state; -1: zero */
    long load_place; /* intermediate row of the start state; -1: none */
    long conv_slot;  /* the history: rows from conv_row of this slot; -1: zero */
    long conv_row;
} gk_sequence;

static gk_sequence gk_sequence_at(const gk_memory *m, const gk_group *group, int index) {
    gk_sequence s;
    s.index = index;
    s.first = gk_int(m, &group->starts, index, 0);
    s.length = gk_int(m, &group->starts, index + 1, 0) - s.first;
    s.load_slot = s.load_place = s.conv_slot = -1;
    s.conv_row = 0;
    s.padded = 0;
    if (s.length <= 0) {
        return s; /* padding: its slots may name nothing */
    }
    s.padded = group->pads != GK_PADS_UNKNOWN &&
               gk_int(m, &group->slots, index, 0) == group->pad_slot;
    if (s.padded) {
        return s;
    }
    /* The count holds the bonus token; 0 is tolerated as 1. */
    const long accepted = group->accepted.data ? gk_int(m, &group->accepted, index, 0) : 0;
    const long column = accepted > 0 ? accepted - 1 : 0;
    if (group->places.data) {
        s.load_slot = s.conv_slot = gk_int(m, &group->slots, index, 0);
        s.load_place = column > 0 ? gk_int(m, &group->places, index, column) : -1;
    } else if (group->accepted.data) {
        s.load_slot = gk_int(m, &group->slots, index, column);
        s.conv_slot = group->sliding ? gk_int(m, &group->slots, index, 0) : s.load_slot;
        s.conv_row = group->sliding ? column : 0;
    } else if (!group->initial.data || gk_int(m, &group->initial, index, 0) != 0) {
        s.load_slot = s.conv_slot = gk_int(m, &group->slots, index, 0);
    }
    return s;
}

/* The slot that receives the state after token t (the only one if not speculative). */
static long gk_slot(const gk_memory *m, const gk_group *group, int index, long t) {
    return gk_int(m, &group->slots, index,
                  group->accepted.data && !group->places.data ? t : 0);
}

/* Padding that nothing is computed for. */
static int gk_is_idle(const gk_group *group, const gk_sequence *s) {
    return s->padded && group->pads != GK_PADS_FROM_ZERO;
}

/* Row of a local token in the activation tensors. */
static long gk_row(const gk_memory *m, const gk_group *group, long number) {
    return group->tokens.data ? gk_int(m, &group->tokens, number, 0) : number;
}

/* The sequence of a local token: the last that starts at or before it, which passes over
 * empty ones. -1 if the token lies behind all sequences, or before them. */
static int gk_find_sequence(const gk_memory *m, const gk_group *group, long number) {
    int low = -1, high = group->count;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (gk_int(m, &group->starts, middle, 0) <= number) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low >= 0 && number < gk_int(m, &group->starts, low + 1, 0) ? low : -1;
}

/* ---- Columns of the projections ---- */

static int gk_group_width(const gk_layout *l) {
    return 2 * l->k_dim + 2 * (l->value_heads / l->key_heads) * l->v_dim;
}

/* Channels are [q|k|v] whatever the layout of the columns. */
static int gk_channel_column(const gk_layout *l, int channel) {
    if (l->plain || l->separate) {
        return channel;
    }
    const int keys = l->key_heads * l->k_dim, width = gk_group_width(l);
    if (channel < 2 * keys) {
        const int k_part = channel >= keys;
        const int c = channel - (k_part ? keys : 0);
        return c / l->k_dim * width + (k_part ? l->k_dim : 0) + c % l->k_dim;
    }
    const int c = channel - 2 * keys, ratio = l->value_heads / l->key_heads;
    const int head = c / l->v_dim;
    return head / ratio * width + 2 * l->k_dim + head % ratio * l->v_dim + c % l->v_dim;
}

static int gk_z_column(const gk_layout *l, int head) {
    const int ratio = l->value_heads / l->key_heads;
    return l->separate ? 2 * l->key_heads * l->k_dim + (l->value_heads + head) * l->v_dim
                       : head / ratio * gk_group_width(l) + 2 * l->k_dim +
                             (ratio + head % ratio) * l->v_dim;
}

static int gk_b_column(const gk_layout *l, int head) {
    const int ratio = l->plain ? 1 : l->value_heads / l->key_heads;
    return l->plain || l->separate ? head : head / ratio * 2 * ratio + head % ratio;
}

static int gk_a_column(const gk_layout *l, int head) {
    if (l->plain) {
        return head;
    }
    return l->separate ? l->value_heads + head
                       : gk_b_column(l, head) + l->value_heads / l->key_heads;
}

/* ---- Functions, good to about an ulp over the whole range ---- */

/* x = n ln2 + r with |r| < 0.35; the leading part of ln2 times n is exact. The polynomial
 * is Taylor's up to r^7: what is left out is below 2^-28. */
static float gk_exp(float x) {
    if (x > 89.0f) {
        return as_float(0x7f800000u);
    }
    if (x < -104.0f) {
        return 0.0f;
    }
    if (x != x) {
        return x;
    }
    const float n = rint(x * 0x1.715476p0f);
    const float r = (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
    const float p =
        r * r *
        (0.5f +
         r * (0x1.555556p-3f +
              r * (0x1.555556p-5f +
                   r * (0x1.111112p-7f + r * (0x1.6c16c2p-10f + r * 0x1.a01a02p-13f)))));
    const float e = 1.0f + (r + p);
    /* In two steps: 2^n may be no fp32 number where the result is one. */
    const int whole = (int)n, part = whole / 2;
    return e * as_float((uint)(part + 127) << 23) *
           as_float((uint)(whole - part + 127) << 23);
}

/* log(1 + y) of 0 <= y <= 1, as 2 artanh(y / (2 + y)): relative to the result also where y
 * is small. */
static float gk_log1p(float y) {
    const float s = y / (2.0f + y), z = s * s;
    const float p =
        z * (0x1.555556p-2f +
             z * (0x1.99999ap-3f +
                  z * (0x1.24924ap-3f +
                       z * (0x1.c71c72p-4f + z * (0x1.745d18p-4f + z * 0x1.3b13b2p-4f)))));
    return 2.0f * (s + s * p);
}

static float gk_sigmoid(float x) {
    const float e = gk_exp(-fabs(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* sigmoid(b), rounded to b's type `roundings` times: 0, 1, or 3, after each step. */
static float gk_beta(float b, int roundings, int dtype) {
    if (roundings < 3) {
        return gk_round(gk_sigmoid(b), roundings == 1 ? dtype : 0);
    }
    return gk_round(1.0f / gk_round(1.0f + gk_round(gk_exp(-b), dtype), dtype), dtype);
}

static float gk_silu(float x) {
    if (x < -80.0f) { /* exp(x) is subnormal before x exp(x) is; its root is not */
        const float root = gk_exp(0.5f * x);
        return x < -150.0f ? -0.0f : x * root * root;
    }
    return x * gk_sigmoid(x);
}
