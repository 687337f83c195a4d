/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "cpu_convert.h"

#include <string.h>

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float bf16_load(uint16_t bits) {
    return float_of((uint32_t)bits << 16);
}

static inline uint16_t bf16_store(float value) {
    const uint32_t bits = bits_of(value);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    /* Rounding could carry a NaN's payload away into infinity. */
    const uint32_t quiet = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

static inline float fp16_load(uint16_t bits) {
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    const uint32_t exponent = bits >> 10 & 0x1f;
    const uint32_t fraction = bits & 0x3ff;
    const uint32_t normal = (exponent + 112) << 23 | fraction << 13;
    const uint32_t special = UINT32_C(0x7f800000) | fraction << 13;
    const uint32_t subnormal = bits_of((float)(int32_t)fraction * 0x1p-24F);
    const uint32_t finite = exponent == 0 ? subnormal : normal;
    return float_of(sign | (exponent == 0x1f ? special : finite));
}

static inline uint16_t fp16_store(float value) {
    const uint32_t sign = bits_of(value) >> 16 & 0x8000;
    const uint32_t bits = bits_of(value) & 0x7fffffff;
    /* From 65520 on values are nearer to 2^16 than to 65504. */
    const uint32_t large =
        bits > 0x7f800000 ? 0x7e00 | (bits >> 13 & 0x3ff)
        : bits > 0x477fefff
            ? UINT32_C(0x7c00)
            : (bits + 0xfff + (bits >> 13 & 1) - (UINT32_C(112) << 23)) >> 13;
    /* Below 2^-14 the ulp is 2^-24, that of 0.5 in fp32: the addition rounds. */
    const uint32_t small = bits_of(float_of(bits) + 0.5F) - bits_of(0.5F);
    return (uint16_t)(sign | (bits < 0x38800000 ? small : large));
}

/* Unit strides get a loop of their own: those are vectorised. */
#define LOAD_RUN(convert, type)                                                            \
    do {                                                                                   \
        const type *source = (const type *)data + at;                                      \
        if (stride == 1) {                                                                 \
            for (int64_t i = 0; i < count; i++) {                                          \
                out[i] = convert(source[i]);                                               \
            }                                                                              \
        } else {                                                                           \
            for (int64_t i = 0; i < count; i++) {                                          \
                out[i] = convert(source[i * stride]);                                      \
            }                                                                              \
        }                                                                                  \
    } while (0)

#define STORE_RUN(convert, type)                                                           \
    do {                                                                                   \
        type *target = (type *)data + at;                                                  \
        if (stride == 1) {                                                                 \
            for (int64_t i = 0; i < count; i++) {                                          \
                target[i] = convert(values[i]);                                            \
            }                                                                              \
        } else {                                                                           \
            for (int64_t i = 0; i < count; i++) {                                          \
                target[i * stride] = convert(values[i]);                                   \
            }                                                                              \
        }                                                                                  \
    } while (0)

void cpu_load(float *restrict out, const void *restrict data, gdn_dtype dtype, int64_t at,
              int64_t stride, int64_t count) {
    switch (dtype) {
    case GDN_BF16:
        LOAD_RUN(bf16_load, uint16_t);
        break;
    case GDN_FP16:
        LOAD_RUN(fp16_load, uint16_t);
        break;
    default:
        LOAD_RUN(, float);
        break;
    }
}

void cpu_store(void *restrict data, gdn_dtype dtype, int64_t at, int64_t stride,
               const float *restrict values, int64_t count) {
    switch (dtype) {
    case GDN_BF16:
        STORE_RUN(bf16_store, uint16_t);
        break;
    case GDN_FP16:
        STORE_RUN(fp16_store, uint16_t);
        break;
    default:
        STORE_RUN(, float);
        break;
    }
}

float cpu_load_one(const void *data, gdn_dtype dtype, int64_t at) {
    float value;
    cpu_load(&value, data, dtype, at, 1, 1);
    return value;
}

void cpu_round(float *values, gdn_dtype dtype, int64_t count) {
    if (dtype == GDN_BF16) {
        for (int64_t i = 0; i < count; i++) {
            values[i] = bf16_load(bf16_store(values[i]));
        }
    } else if (dtype == GDN_FP16) {
        for (int64_t i = 0; i < count; i++) {
            values[i] = fp16_load(fp16_store(values[i]));
        }
    }
}

void cpu_copy(void *out, int64_t out_at, int64_t out_stride, const void *in, int64_t in_at,
              int64_t in_stride, int64_t count, size_t size) {
    uint8_t *target = (uint8_t *)out + out_at * (int64_t)size;
    const uint8_t *source = (const uint8_t *)in + in_at * (int64_t)size;
    if (out_stride == 1 && in_stride == 1) {
        memcpy(target, source, (size_t)count * size);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        memcpy(target + i * out_stride * (int64_t)size,
               source + i * in_stride * (int64_t)size, size);
    }
}
