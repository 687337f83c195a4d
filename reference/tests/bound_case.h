/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Random small calls for the test of the error bound, and an fp32 kernel run on them. */
#ifndef GDN_BOUND_CASE_H
#define GDN_BOUND_CASE_H

#include "fp32_kernel.h"
#include "op_bench.h"

/* One sequence in slot 1 of 2; one key head. */
typedef struct bound_case {
    op_bench bench;
    int64_t length, k_dim, v_dim, heads, taps;
    bool starts; /* from slot 1, not from zero */
} bound_case;

typedef enum key_fill {
    KEYS_NORMAL,
    KEYS_NEAR_PARALLEL,
    KEYS_EQUAL,
    KEYS_ONE_HOT,
    KEYS_ZERO,
    KEYS_SMALL,
    KEYS_SUBNORMAL,
    KEY_FILLS,
} key_fill;

/* What a case is made of. `logit` is that of beta, and `rate` the size of g, in
 * gated_delta_rule; in gdn_attention they move b and a, and A_log is about `A_log`. */
typedef struct bound_recipe {
    bool attention;
    int64_t length, k_dim, v_dim, heads, taps;
    gdn_dtype dtype, state_dtype;
    gdn_state_carry carry;
    gdn_numeric_class chunk_class; /* of the recurrence; others are fp32 */
    key_fill keys;
    bool l2norm, bias, starts;
    double key_norm;     /* without l2norm */
    double value, state; /* sizes */
    bool equal_values;
    double rate, logit, A_log, a;
    gdn_l2norm_form form;
    double eps;
    gdn_beta_storage beta_storage; /* of attention: rounded between the stages, */
    gdn_beta_tail beta_tail;       /* thrice or once */
} bound_recipe;

bound_recipe bound_recipe_draw(uint64_t seed, bool attention);
void bound_case_begin(bound_case *c, const bound_recipe *recipe, uint64_t seed);
void bound_case_end(bound_case *c);

/* The largest |kernel - golden| / limit of the output and of the state. */
typedef struct bound_shares {
    double out, state;
} bound_shares;

bound_shares bound_case_judge(const bound_case *c, const kernel_style *style);

#endif
