/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The gates' functions in fp32, from libm's and good to a few ulp over the whole range: the
 * exponential is always taken of what cannot overflow. */
#ifndef GDN_CPU_MATH_H
#define GDN_CPU_MATH_H

#include <math.h>

static inline float cpu_sigmoid(float x) {
    const float e = expf(-fabsf(x));
    return (x < 0.0F ? e : 1.0F) / (1.0F + e);
}

/* silu(x) below CPU_SILU_TAIL, where exp(x) loses bits to underflow before x*exp(x) does,
 * and its root does not. */
#define CPU_SILU_TAIL (-80.0F)

static inline float cpu_silu_tail(float x) {
    const float root = expf(0.5F * x);
    return x < -150.0F ? -0.0F : x * root * root;
}

static inline float cpu_softplus(float x, double threshold) {
    if ((double)x > threshold) {
        return x;
    }
    return x > 0.0F ? x + log1pf(expf(-x)) : log1pf(expf(x));
}

/* exp(A_log), the rate of a head's decay. In double: fp32 would overflow from A_log = 88.8
 * on, where softplus can still bring the product back. */
static inline double cpu_decay_rate(float A_log) {
    return exp((double)A_log);
}

#endif
