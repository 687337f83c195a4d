/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Storage types and their roundings. Every conversion rounds to nearest, ties to even,
 * directly from FP64 (never by way of FP32, which would round twice), keeps denormals, and
 * overflows to infinity as IEEE 754 does. */
#ifndef GDN_DTYPE_H
#define GDN_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Values are part of the worker protocol; they are never renumbered.
typedef enum gdn_dtype {
    GDN_FP64 = 0,
    GDN_FP32 = 1,
    GDN_FP16 = 2,
    GDN_BF16 = 3,
    GDN_I64 = 4,
    GDN_I32 = 5,
    GDN_BOOL = 6, ///< one byte, 0 or 1
    GDN_DTYPE_COUNT
} gdn_dtype;

/// Bytes of one element (8, 4, 2, 2, 8, 4, 1).
size_t gdn_dtype_size(gdn_dtype dtype);

/// "fp64", "fp32", "fp16", "bf16", "i64", "i32", "bool".
const char *gdn_dtype_name(gdn_dtype dtype);

/// Finds a type by gdn_dtype_name(); false if there is none, `*dtype` then untouched.
bool gdn_dtype_from_name(const char *name, gdn_dtype *dtype);

/// True for fp64, fp32, fp16 and bf16.
bool gdn_dtype_is_float(gdn_dtype dtype);

/// Unit roundoff u of a float type: 2^-53, 2^-24, 2^-11, 2^-8. Relative error of one
/// rounding of a value in the normal range.
double gdn_dtype_unit_roundoff(gdn_dtype dtype);

/// Half of the smallest subnormal: the absolute error of one rounding near zero.
double gdn_dtype_underflow(gdn_dtype dtype);

/// Largest finite value.
double gdn_dtype_max(gdn_dtype dtype);

/// Distance from |value| to the next larger number of the type (the ulp in which errors are
/// counted). NaN and infinity give NaN.
double gdn_dtype_ulp(double value, gdn_dtype dtype);

/// Bits of the rounded value. NaN becomes a quiet NaN of the same sign.
uint16_t gdn_bf16_from_double(double value);
uint16_t gdn_fp16_from_double(double value);
double gdn_bf16_to_double(uint16_t bits);
double gdn_fp16_to_double(uint16_t bits);

/// The value rounded to `dtype` and widened back; exact for GDN_FP64.
double gdn_round_to(double value, gdn_dtype dtype);

/// Reads element `index` (counted in elements of `dtype`) of a buffer as FP64; bool gives 0
/// or 1. i64 values beyond 2^53 are rounded: index tensors go through gdn_load_int().
double gdn_load(const void *data, gdn_dtype dtype, int64_t index);
int64_t gdn_load_int(const void *data, gdn_dtype dtype, int64_t index);

/// Stores a value rounded to `dtype`; integers by truncation of an exactly integral value.
void gdn_store(void *data, gdn_dtype dtype, int64_t index, double value);

/// Runs of `count` elements, `stride` elements apart; the same roundings, hoisted out of
/// the element loop because rows of states and activations go through here by the hundred
/// million.
void gdn_load_run(double *out, const void *data, gdn_dtype dtype, int64_t index,
                  int64_t stride, int64_t count);
void gdn_store_run(void *data, gdn_dtype dtype, int64_t index, int64_t stride,
                   const double *values, int64_t count);

#ifdef __cplusplus
}
#endif

#endif
