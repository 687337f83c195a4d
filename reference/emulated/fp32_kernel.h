/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Kernels as backends write them, in fp32, for the test of the error bound: one head, slow,
 * with every freedom that BOUND.md grants as a switch. IEEE arithmetic at 24 bits, so what
 * runs here is what an emulation in MPFR at that precision would give. */
#ifndef GDN_FP32_KERNEL_H
#define GDN_FP32_KERNEL_H

#include "gdn/conventions.h"
#include "gdn/dtype.h"

typedef enum sum_order { SUM_FORWARD, SUM_BACKWARD, SUM_PAIRWISE, SUM_LANES } sum_order;

#define MOST_TAPS 4

/* The last two are within a rounding of the error that the default conventions grant, 4u,
 * each result to the same side. */
typedef enum intrinsics {
    EXP_LIBRARY,
    EXP_BASE2, /* exp2(x log2 e) in fp32, as GPUs do */
    EXP_HIGH,
    EXP_LOW,
} intrinsics;

typedef enum softplus_form { SOFTPLUS_LOG1P, SOFTPLUS_LOG, SOFTPLUS_STABLE } softplus_form;

/* How a chunk gets exp(G_i - G_j): sums G in double, or in fp32. */
typedef enum gate_sums { SUMS_DOUBLE, SUMS_FP32 } gate_sums;

/* Where a chunk kernel on matrix units rounds (contracts: FLA F1, AITER A4, vllm_xpu 2.6,
 * vllm_cpu_and_metadata 1.4). */
typedef enum mma_form { MMA_NONE, MMA_FLA, MMA_AITER, MMA_XE2, MMA_CPU } mma_form;

typedef struct kernel_style {
    const char *name;
    sum_order order;
    bool fma;
    bool flush;              /* subnormal operands and results are zeros */
    bool decay_behind_sum;   /* m = a (S k) and S = a S + d k */
    bool beta_first;         /* d = beta v - beta m */
    bool norms_behind_sums;  /* k and q stay raw: m, d and o are scaled */
    bool divide_by_root;     /* x / sqrt(s), not x * (1 / sqrt(s)) */
    bool output_from_update; /* o = S' q + (k.q) d, read before the update */
    bool two_sided_sigmoid;  /* exp(x) / (1 + exp(x)) for x < 0 */
    intrinsics math;
    softplus_form softplus;
    int chunk; /* tokens solved together by forward substitution; 0: token by token */
    gate_sums sums;
    mma_form mma;
    gdn_dtype operand; /* of matrix products; GDN_FP32 for tf32 */
} kernel_style;

extern const kernel_style KERNEL_STYLES[];
extern const int KERNEL_STYLE_COUNT;

/* One value head of one sequence; everything as the kernel reads it. */
typedef struct kernel_head {
    int64_t length, k_dim, v_dim;
    float *q, *k;   /* [length][k_dim], raw */
    float *v, *out; /* [length][v_dim] */
    float *g, *beta;
    float *state; /* [v_dim][k_dim], start and end */
    bool ready;   /* q and k are already normalised and scaled */
    bool l2norm;
    gdn_l2norm_form form;
    double eps;
    gdn_state_carry carry;
    gdn_dtype state_dtype;
} kernel_head;

/* Runs the head; q and k are normalised in place unless the style leaves them raw. */
void kernel_run(const kernel_style *style, kernel_head *head);

float kernel_sigmoid(const kernel_style *style, float x);
/* The same with each of its three steps rounded to storage. */
float kernel_sigmoid_thrice(const kernel_style *style, gdn_dtype storage, float x);
float kernel_silu(const kernel_style *style, float x);
float kernel_gate(const kernel_style *style, float A_log, float dt_bias, float a);

/* sum w x + bias over `taps`, MOST_TAPS at most. */
float kernel_conv(const kernel_style *style, const float *w, const float *x, int64_t taps,
                  float bias);

#endif
