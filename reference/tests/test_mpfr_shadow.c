/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The shadow itself: its roundings, its digits, and what it leaves undecided. Its numbers
 * are tested by the contracts' goldens (test_contract_golden.c), its agreement with the
 * reference by vectors/tests/test_certify.c. */
#include "shadow_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/random.h"
#include "mpfr_shadow.h"

static void test_roundings_are_those_of_the_storage_types(void **state) {
    (void)state;
    static const gdn_dtype TYPES[] = {GDN_FP32, GDN_FP16, GDN_BF16};
    const gdn_random random = {.seed = 1, .stream = 1};
    mpfr_ptr work = gdnp_reals_create(2);
    for (uint64_t i = 0; i < 60000; i++) {
        /* All exponents from below the subnormals to beyond overflow; few significant bits
         * in every second number, so that ties are common. */
        const int exponent = (int)gdn_random_below(&random, 2 * i, 320) - 160;
        const double bits = gdn_random_bits(&random, 2 * i + 1);
        const double x =
            ldexp(i % 2 ? bits : floor(bits / 0x1p22), exponent) * (i % 3 ? 1 : -1);
        for (int t = 0; t < 3; t++) {
            mpfr_set_d(work, x, MPFR_RNDN);
            gdnp_real_round(work, TYPES[t], work + 1);
            const double found = mpfr_get_d(work, MPFR_RNDN);
            const double expected = gdn_round_to(x, TYPES[t]);
            if (memcmp(&found, &expected, sizeof found) != 0) {
                fail_msg("%a to %s: expected %a but found %a", x, gdn_dtype_name(TYPES[t]),
                         expected, found);
            }
        }
    }
    free(work);
}

static void test_boundaries_are_seen_within_the_margin(void **state) {
    (void)state;
    /* 1 + 2^-8 lies between the bf16 numbers 1 and 1 + 2^-7. */
    static const struct {
        double x;
        bool tie;
    } ROWS[] = {{1 + 0x1p-8, true},
                {1 + 0x1p-8 + 0x1p-41, true},
                {1 + 0x1p-8 - 0x1p-41, true},
                {1 + 0x1p-8 + 0x1p-39, false},
                {1 + 0x1p-8 - 0x1p-39, false},
                {1.0, false},
                {0.0, false}};
    mpfr_ptr work = gdnp_reals_create(2);
    mpfr_set_d(work + 1, 0x1p-40, MPFR_RNDN);
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        mpfr_set_d(work, ROWS[i].x, MPFR_RNDN);
        assert_int_equal(gdnp_real_round(work, GDN_BF16, work + 1), ROWS[i].tie);
    }
    mpfr_set_d(work, 1 + 0x1p-52, MPFR_RNDN);
    assert_false(gdnp_real_round(work, GDN_FP64, work + 1));
    assert_true(mpfr_cmp_d(work, 1 + 0x1p-52) == 0);
    free(work);
}

static void test_high_and_low_hold_105_bits(void **state) {
    (void)state;
    op_bench b;
    shadow_bench s;
    op_begin(&b, GDN_OP_GDN_GATING);
    op_add(&b, "A_log", GDN_FP32, 1, 0, 0, 0);
    op_add(&b, "dt_bias", GDN_FP32, 1, 0, 0, 0);
    op_normal(op_add(&b, "a", GDN_FP32, 100, 1, 0, 0), 1, 1, 3.0);
    op_normal(op_add(&b, "b", GDN_FP32, 100, 1, 0, 0), 1, 2, 3.0);
    op_add(&b, "g", GDN_FP32, 100, 1, 0, 0);
    op_add(&b, "beta", GDN_FP32, 100, 1, 0, 0);
    shadow_begin(&s, &b);
    const gdn_shadow_output *beta = &s.outputs[op_tensor(&b, "beta") - b.tensors];
    mpfr_t exact;
    mpfr_init2(exact, 300);
    for (int64_t i = 0; i < 100; i++) {
        mpfr_set_d(exact, -gdn_load(op_tensor(&b, "b")->data, GDN_FP32, i), MPFR_RNDN);
        mpfr_exp(exact, exact, MPFR_RNDN);
        mpfr_add_ui(exact, exact, 1, MPFR_RNDN);
        mpfr_ui_div(exact, 1, exact, MPFR_RNDN);
        assert_true(mpfr_get_d(exact, MPFR_RNDN) == beta->high[i]);
        mpfr_sub_d(exact, exact, beta->high[i], MPFR_RNDN);
        mpfr_sub_d(exact, exact, beta->low[i], MPFR_RNDN);
        assert_true(fabs(mpfr_get_d(exact, MPFR_RNDN)) <= 0x1p-105 * beta->high[i]);
    }
    mpfr_clear(exact);
    shadow_end(&s, &b);
}

/* Three tokens, one head, K = V = 2, no activation, bf16; channels q0 q1 k0 k1 v0 v1. The
 * weights pass the token through and add 2^-8 of the one before. In `channel`, if not
 * negative, token 1 is at a rounding boundary. */
static void begin_ties(op_bench *b, int channel) {
    static const int64_t SCALARS[] = {1, 1, 2, 2, 1, 0, 0, 3, 1, 0};
    static const char *const NAMES[] = {
        "num_k_heads",  "num_v_heads",  "head_k_dim",       "head_v_dim",
        "num_prefills", "num_decodes",  "num_spec_decodes", "num_actual_tokens",
        "tp_size",      "reorder_input"};
    op_begin(b, GDN_OP_GDN_ATTENTION);
    b->conventions.activation = GDN_ACTIVATION_NONE;
    double x[3 * 8], weights[12];
    for (int i = 0; i < 3 * 8; i++) {
        x[i] = 1.5; /* 1.5 + 2^-8 of 1.5 is no boundary */
    }
    for (int c = 0; c < 6; c++) {
        weights[2 * c] = 0x1p-8;
        weights[2 * c + 1] = 1.0;
    }
    if (channel >= 0) {
        x[channel] = 1.0;
        x[8 + channel] = 1.0; /* token 1 has 1 + 2^-8, a boundary */
        x[16 + channel] = 2.0;
    }
    op_set(op_add(b, "projected_states_qkvz", GDN_BF16, 3, 8, 0, 0), x, 24);
    op_add(b, "projected_states_ba", GDN_BF16, 3, 2, 0, 0);
    op_add(b, "conv_state", GDN_BF16, 1, 1, 6, 0);
    op_add(b, "ssm_state", GDN_FP32, 1, 1, 2, 2);
    op_set(op_add(b, "conv_weights", GDN_BF16, 6, 2, 0, 0), weights, 12);
    op_add(b, "A_log", GDN_FP32, 1, 0, 0, 0);
    op_add(b, "dt_bias", GDN_BF16, 1, 0, 0, 0);
    op_set_ints(op_add(b, "non_spec_query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, 3},
                2);
    op_add(b, "non_spec_state_indices_tensor", GDN_I32, 1, 0, 0, 0);
    op_add(b, "core_attn_out", GDN_BF16, 3, 1, 2, 0);
    op_add(b, "z", GDN_BF16, 3, 1, 2, 0);
    for (size_t i = 0; i < sizeof SCALARS / sizeof SCALARS[0]; i++) {
        op_scalar(b, NAMES[i], SCALARS[i]);
    }
}

/* Undecided outputs [token][v] and states [v][k] as bit masks, lowest first. */
static void expect_undecided(int channel, int ties, int out, int states) {
    op_bench b;
    shadow_bench s;
    begin_ties(&b, channel);
    shadow_begin(&s, &b);
    assert_int_equal(s.ties, ties);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(shadow_mark(&s, &b, "core_attn_out", i) == GDN_SHADOW_UNDECIDED,
                         out >> i & 1);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(shadow_mark(&s, &b, "ssm_state", i) == GDN_SHADOW_UNDECIDED,
                         states >> i & 1);
    }
    shadow_end(&s, &b);
}

static void test_ties_leave_undecided_what_hangs_on_them(void **state) {
    (void)state;
    expect_undecided(-1, 0, 0, 0);
    expect_undecided(0, 1, 3 << 2, 0);                   /* q: the outputs of its token */
    expect_undecided(3, 1, 15 << 2, 15);                 /* k: that token and all after */
    expect_undecided(4, 1, 1 << 2 | 1 << 4, 1 | 1 << 1); /* v0: its row alone */
    expect_undecided(5, 1, 2 << 2 | 2 << 4, 1 << 2 | 1 << 3);
}

static void test_integer_op_has_no_shadow(void **state) {
    (void)state;
    gdn_conventions conventions = gdn_conventions_default();
    gdn_call call = {.op = GDN_OP_GDN_METADATA, .conventions = &conventions};
    assert_true(gdn_shadow_cost(&call) == 0.0);
    int64_t ties;
    gdn_error err = {0};
    assert_int_equal(gdn_shadow_run(&call, NULL, &ties, &err), GDN_ERR_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roundings_are_those_of_the_storage_types),
        cmocka_unit_test(test_boundaries_are_seen_within_the_margin),
        cmocka_unit_test(test_high_and_low_hold_105_bits),
        cmocka_unit_test(test_ties_leave_undecided_what_hangs_on_them),
        cmocka_unit_test(test_integer_op_has_no_shadow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
