/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A vector register of FP64 lanes in the instruction set that a file is compiled for. */
#ifndef GDN_DELTA_LANES_H
#define GDN_DELTA_LANES_H

#include <math.h>
#include <stdint.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define GDN_KERNEL_SYMBOL gdnp_delta_kernel_avx512
#define GDN_KERNEL_NAME   "avx512"
#define GDN_LANE_WIDTH    8
typedef __m512d lane;
static inline lane lane_set(double x) {
    return _mm512_set1_pd(x);
}
static inline lane lane_load(const double *p) {
    return _mm512_loadu_pd(p);
}
static inline void lane_store(double *p, lane x) {
    _mm512_storeu_pd(p, x);
}
static inline lane lane_add(lane a, lane b) {
    return _mm512_add_pd(a, b);
}
static inline lane lane_sub(lane a, lane b) {
    return _mm512_sub_pd(a, b);
}
static inline lane lane_mul(lane a, lane b) {
    return _mm512_mul_pd(a, b);
}
static inline lane lane_fma(lane a, lane b, lane c) {
    return _mm512_fmadd_pd(a, b, c);
}
static inline lane lane_abs(lane a) {
    return _mm512_abs_pd(a);
}
static inline lane lane_sqrt(lane a) {
    return _mm512_sqrt_pd(a);
}
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define GDN_KERNEL_SYMBOL gdnp_delta_kernel_avx2
#define GDN_KERNEL_NAME   "avx2"
#define GDN_LANE_WIDTH    4
typedef __m256d lane;
static inline lane lane_set(double x) {
    return _mm256_set1_pd(x);
}
static inline lane lane_load(const double *p) {
    return _mm256_loadu_pd(p);
}
static inline void lane_store(double *p, lane x) {
    _mm256_storeu_pd(p, x);
}
static inline lane lane_add(lane a, lane b) {
    return _mm256_add_pd(a, b);
}
static inline lane lane_sub(lane a, lane b) {
    return _mm256_sub_pd(a, b);
}
static inline lane lane_mul(lane a, lane b) {
    return _mm256_mul_pd(a, b);
}
static inline lane lane_fma(lane a, lane b, lane c) {
    return _mm256_fmadd_pd(a, b, c);
}
static inline lane lane_abs(lane a) {
    return _mm256_and_pd(a, _mm256_castsi256_pd(_mm256_set1_epi64x(INT64_MAX)));
}
static inline lane lane_sqrt(lane a) {
    return _mm256_sqrt_pd(a);
}
#elif defined(__aarch64__)
#include <arm_neon.h>
#define GDN_KERNEL_SYMBOL gdnp_delta_kernel_neon
#define GDN_KERNEL_NAME   "neon"
#define GDN_LANE_WIDTH    2
typedef float64x2_t lane;
static inline lane lane_set(double x) {
    return vdupq_n_f64(x);
}
static inline lane lane_load(const double *p) {
    return vld1q_f64(p);
}
static inline void lane_store(double *p, lane x) {
    vst1q_f64(p, x);
}
static inline lane lane_add(lane a, lane b) {
    return vaddq_f64(a, b);
}
static inline lane lane_sub(lane a, lane b) {
    return vsubq_f64(a, b);
}
static inline lane lane_mul(lane a, lane b) {
    return vmulq_f64(a, b);
}
static inline lane lane_fma(lane a, lane b, lane c) {
    return vfmaq_f64(c, a, b);
}
static inline lane lane_abs(lane a) {
    return vabsq_f64(a);
}
static inline lane lane_sqrt(lane a) {
    return vsqrtq_f64(a);
}
#else
#define GDN_KERNEL_SYMBOL gdnp_delta_kernel_scalar
#define GDN_KERNEL_NAME   "scalar"
#define GDN_LANE_WIDTH    1
typedef double lane;
static inline lane lane_set(double x) {
    return x;
}
static inline lane lane_load(const double *p) {
    return *p;
}
static inline void lane_store(double *p, lane x) {
    *p = x;
}
static inline lane lane_add(lane a, lane b) {
    return a + b;
}
static inline lane lane_sub(lane a, lane b) {
    return a - b;
}
static inline lane lane_mul(lane a, lane b) {
    return a * b;
}
static inline lane lane_fma(lane a, lane b, lane c) {
    return fma(a, b, c);
}
static inline lane lane_abs(lane a) {
    return fabs(a);
}
static inline lane lane_sqrt(lane a) {
    return sqrt(a);
}
#endif

#endif
