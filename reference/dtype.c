/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Roundings between FP64 and the storage types. What depends on a type's name or size only
 * is in tensor.c. The 16-bit conversions select among results that are all computed, so
 * that loops over them vectorise. */
#include "gdn/dtype.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define FP64_FRACTION_BITS 52
#define FP64_BIAS          1023
#define FP64_MAGNITUDE     UINT64_C(0x7fffffffffffffff)

#define FP16_FRACTION_BITS 10
#define FP16_BIAS          15
#define BF16_FRACTION_BITS 7
#define BF16_BIAS          127

static const struct {
    double unit_roundoff;
    double underflow;
    double max;
    int bias;
} FLOATS[] = {
    /* Half of 2^-1074 is no FP64 number; an error bound may only be too large. */
    [GDN_FP64] = {0x1p-53, 0x1p-1074, 0x1.fffffffffffffp1023, FP64_BIAS},
    [GDN_FP32] = {0x1p-24, 0x1p-150, 0x1.fffffep127, 127},
    [GDN_FP16] = {0x1p-11, 0x1p-25, 0x1.ffcp15, FP16_BIAS},
    [GDN_BF16] = {0x1p-8, 0x1p-134, 0x1.fep127, BF16_BIAS},
};

static inline uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

double gdn_dtype_unit_roundoff(gdn_dtype dtype) {
    assert(gdn_dtype_is_float(dtype));
    return FLOATS[dtype].unit_roundoff;
}

double gdn_dtype_underflow(gdn_dtype dtype) {
    assert(gdn_dtype_is_float(dtype));
    return FLOATS[dtype].underflow;
}

double gdn_dtype_max(gdn_dtype dtype) {
    assert(gdn_dtype_is_float(dtype));
    return FLOATS[dtype].max;
}

double gdn_dtype_ulp(double value, gdn_dtype dtype) {
    assert(gdn_dtype_is_float(dtype));
    if (!isfinite(value)) {
        return NAN;
    }
    /* Subnormals are as far apart as the smallest normals. Errors of values that the type
     * cannot reach are counted in its largest ulp. */
    const uint64_t lowest = (uint64_t)(FP64_BIAS + 1 - FLOATS[dtype].bias);
    const uint64_t highest = (uint64_t)(FP64_BIAS + FLOATS[dtype].bias);
    uint64_t exponent = (bits_of(value) & FP64_MAGNITUDE) >> FP64_FRACTION_BITS;
    exponent = exponent < lowest ? lowest : exponent > highest ? highest : exponent;
    return from_bits(exponent << FP64_FRACTION_BITS) * (2 * FLOATS[dtype].unit_roundoff);
}

/* Rounds to a 16-bit float of `fraction_bits` and `bias`. Normal results: half a unit, less
 * one bit if the kept part is even, is added to FP64's own bits, and a carry rightly
 * reaches the exponent, up to that of infinity. Subnormal results: adding the power of two
 * whose ulp is the type's smallest number lets the FPU round, and leaves that multiple in
 * the low bits of the sum. */
static inline uint16_t narrow(double value, int fraction_bits, int bias) {
    const int dropped = FP64_FRACTION_BITS - fraction_bits;
    const uint64_t lowest = (uint64_t)(FP64_BIAS + 1 - bias) << FP64_FRACTION_BITS;
    const uint64_t anchor = lowest + ((uint64_t)dropped << FP64_FRACTION_BITS);
    const double beyond = from_bits((uint64_t)(FP64_BIAS + 1 + bias) << FP64_FRACTION_BITS);
    const uint64_t infinity = (uint64_t)(2 * bias + 1) << fraction_bits;

    const uint64_t bits = bits_of(value);
    const uint64_t magnitude = bits & FP64_MAGNITUDE;
    const double absolute = from_bits(magnitude);
    const uint64_t half_down = (UINT64_C(1) << (dropped - 1)) - 1;
    const uint64_t even = magnitude + half_down + ((magnitude >> dropped) & 1);
    const uint64_t normal =
        (even >> dropped) - ((uint64_t)(FP64_BIAS - bias) << fraction_bits);
    const uint64_t subnormal = bits_of(absolute + from_bits(anchor)) - anchor;
    uint64_t result = absolute < from_bits(lowest) ? subnormal : normal;
    result = absolute >= beyond ? infinity : result;
    result = isnan(value) ? infinity | UINT64_C(1) << (fraction_bits - 1) : result;
    return (uint16_t)(result | (bits >> 48 & 0x8000));
}

static inline uint16_t bf16_from_double(double value) {
    return narrow(value, BF16_FRACTION_BITS, BF16_BIAS);
}

static inline uint16_t fp16_from_double(double value) {
    return narrow(value, FP16_FRACTION_BITS, FP16_BIAS);
}

static inline double bf16_to_double(uint16_t bits) {
    return (double)float_from_bits((uint32_t)bits << 16);
}

/* An FP16 number is an integer below 2^11 times a power of two. The all-ones exponent goes
 * the same way, which leaves its fraction where FP32 has it, and then becomes all ones. */
static inline double fp16_to_double(uint16_t bits) {
    const uint32_t magnitude = bits & 0x7fff;
    const uint32_t field = magnitude >> FP16_FRACTION_BITS;
    const uint32_t exponent = field == 0 ? 1 : field;
    const uint32_t significand = magnitude - ((exponent - 1) << FP16_FRACTION_BITS);
    const float power = float_from_bits((exponent + (127 - 25)) << 23);
    const uint32_t special = field == 31 ? UINT32_C(0x7f800000) : 0;
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    const float absolute = (float)(int32_t)significand * power;
    return (double)float_from_bits(float_bits(absolute) | special | sign);
}

uint16_t gdn_bf16_from_double(double value) {
    return bf16_from_double(value);
}

uint16_t gdn_fp16_from_double(double value) {
    return fp16_from_double(value);
}

double gdn_bf16_to_double(uint16_t bits) {
    return bf16_to_double(bits);
}

double gdn_fp16_to_double(uint16_t bits) {
    return fp16_to_double(bits);
}

double gdn_round_to(double value, gdn_dtype dtype) {
    switch (dtype) {
    case GDN_FP32:
        return (double)(float)value;
    case GDN_FP16:
        return fp16_to_double(fp16_from_double(value));
    case GDN_BF16:
        return bf16_to_double(bf16_from_double(value));
    default:
        assert(dtype == GDN_FP64);
        return value;
    }
}

double gdn_load(const void *data, gdn_dtype dtype, int64_t index) {
    switch (dtype) {
    case GDN_FP64:
        return ((const double *)data)[index];
    case GDN_FP32:
        return (double)((const float *)data)[index];
    case GDN_FP16:
        return fp16_to_double(((const uint16_t *)data)[index]);
    case GDN_BF16:
        return bf16_to_double(((const uint16_t *)data)[index]);
    default:
        return (double)gdn_load_int(data, dtype, index);
    }
}

int64_t gdn_load_int(const void *data, gdn_dtype dtype, int64_t index) {
    switch (dtype) {
    case GDN_I64:
        return ((const int64_t *)data)[index];
    case GDN_I32:
        return ((const int32_t *)data)[index];
    default:
        assert(dtype == GDN_BOOL);
        return ((const uint8_t *)data)[index] != 0;
    }
}

void gdn_store(void *data, gdn_dtype dtype, int64_t index, double value) {
    switch (dtype) {
    case GDN_FP64:
        ((double *)data)[index] = value;
        return;
    case GDN_FP32:
        ((float *)data)[index] = (float)value;
        return;
    case GDN_FP16:
        ((uint16_t *)data)[index] = fp16_from_double(value);
        return;
    case GDN_BF16:
        ((uint16_t *)data)[index] = bf16_from_double(value);
        return;
    case GDN_I64:
        ((int64_t *)data)[index] = (int64_t)value;
        return;
    case GDN_I32:
        ((int32_t *)data)[index] = (int32_t)value;
        return;
    default:
        assert(dtype == GDN_BOOL);
        ((uint8_t *)data)[index] = value != 0;
    }
}

void gdn_load_run(double *out, const void *data, gdn_dtype dtype, int64_t index,
                  int64_t stride, int64_t count) {
    switch (dtype) {
    case GDN_FP64: {
        const double *from = (const double *)data + index;
        for (int64_t i = 0; i < count; i++) {
            out[i] = from[i * stride];
        }
        return;
    }
    case GDN_FP32: {
        const float *from = (const float *)data + index;
        for (int64_t i = 0; i < count; i++) {
            out[i] = (double)from[i * stride];
        }
        return;
    }
    case GDN_FP16: {
        const uint16_t *from = (const uint16_t *)data + index;
        for (int64_t i = 0; i < count; i++) {
            out[i] = fp16_to_double(from[i * stride]);
        }
        return;
    }
    case GDN_BF16: {
        const uint16_t *from = (const uint16_t *)data + index;
        for (int64_t i = 0; i < count; i++) {
            out[i] = bf16_to_double(from[i * stride]);
        }
        return;
    }
    default:
        for (int64_t i = 0; i < count; i++) {
            out[i] = (double)gdn_load_int(data, dtype, index + i * stride);
        }
    }
}

void gdn_store_run(void *data, gdn_dtype dtype, int64_t index, int64_t stride,
                   const double *values, int64_t count) {
    switch (dtype) {
    case GDN_FP64: {
        double *to = (double *)data + index;
        for (int64_t i = 0; i < count; i++) {
            to[i * stride] = values[i];
        }
        return;
    }
    case GDN_FP32: {
        float *to = (float *)data + index;
        for (int64_t i = 0; i < count; i++) {
            to[i * stride] = (float)values[i];
        }
        return;
    }
    case GDN_FP16: {
        uint16_t *to = (uint16_t *)data + index;
        for (int64_t i = 0; i < count; i++) {
            to[i * stride] = fp16_from_double(values[i]);
        }
        return;
    }
    case GDN_BF16: {
        uint16_t *to = (uint16_t *)data + index;
        for (int64_t i = 0; i < count; i++) {
            to[i * stride] = bf16_from_double(values[i]);
        }
        return;
    }
    default:
        for (int64_t i = 0; i < count; i++) {
            gdn_store(data, dtype, index + i * stride, values[i]);
        }
    }
}
