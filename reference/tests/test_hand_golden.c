/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The hand-computed golden of contract aiter_fla_flashinfer_ggml section 0, and the five
 * wrong variants that it tells apart. K = V = 2, decay 1/2, beta 1/2, S0 (K x V) =
 * [[1,2],[3,4]], k = [1,0], q = [1,1], v = [5,6]. The op scales q by K^-1/2, so outputs
 * are compared after
 * multiplication by sqrt(2); the decay enters as an fp32 log gate, hence 1e-7. */
#include "op_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>

static void run_variant(const char *field, const char *value, double o[2], double S[4]) {
    op_bench b;
    op_begin(&b, GDN_OP_GATED_DELTA_RULE);
    if (field) {
        assert_int_equal(gdn_conventions_set(&b.conventions, field, value, NULL), GDN_OK);
    }
    op_set(op_add(&b, "q", GDN_FP32, 1, 1, 2, 0), (double[]){1, 1}, 2);
    op_set(op_add(&b, "k", GDN_FP32, 1, 1, 2, 0), (double[]){1, 0}, 2);
    op_set(op_add(&b, "v", GDN_FP32, 1, 1, 2, 0), (double[]){5, 6}, 2);
    op_set(op_add(&b, "g", GDN_FP32, 1, 1, 0, 0), (double[]){-log(2.0)}, 1);
    op_set(op_add(&b, "beta", GDN_FP32, 1, 1, 0, 0), (double[]){0.5}, 1);
    /* V-major memory: S0 transposed. */
    op_set(op_add(&b, "ssm_state", GDN_FP32, 1, 1, 2, 2), (double[]){1, 3, 2, 4}, 4);
    op_set_ints(op_add(&b, "query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, 1}, 2);
    op_set_ints(op_add(&b, "state_indices", GDN_I32, 1, 0, 0, 0), (int[]){0}, 1);
    op_add(&b, "out", GDN_FP32, 1, 1, 2, 0);
    op_scalar(&b, "use_qk_l2norm", 0);
    op_want(&b, "out", GDN_FP64, true);
    op_want(&b, "ssm_state", GDN_FP64, true);
    op_run(&b);
    for (int i = 0; i < 2; i++) {
        o[i] = sqrt(2.0) * gdn_load(op_output(&b, "out")->value.data, GDN_FP64, i);
    }
    for (int i = 0; i < 4; i++) {
        S[i] = gdn_load(op_output(&b, "ssm_state")->value.data, GDN_FP64, i);
    }
    op_end(&b);
}

static void expect_output(const char *field, const char *value, double o0, double o1) {
    double o[2], S[4];
    run_variant(field, value, o, S);
    assert_float_equal(o[0], o0, 1e-7);
    assert_float_equal(o[1], o1, 1e-7);
}

static void test_hand_golden_comes_out(void **state) {
    (void)state;
    double o[2], S[4];
    run_variant(NULL, NULL, o, S);
    assert_float_equal(o[0], 4.25, 1e-7);
    assert_float_equal(o[1], 5.5, 1e-7);
    const double expected[] = {2.75, 1.5, 3.5, 2.0}; /* [[2.75,3.5],[1.5,2]], V-major */
    for (int i = 0; i < 4; i++) {
        assert_float_equal(S[i], expected[i], 1e-7);
    }
}

static void test_transposed_state_is_distinguished(void **state) {
    (void)state;
    expect_output("state_access", "transposed", 3.75, 5.75);
    expect_output("state_order", "kv", 3.75, 5.75);
}

static void test_delta_from_undecayed_state_is_distinguished(void **state) {
    (void)state;
    expect_output("decay_order", "after_read", 4.0, 5.0);
}

static void test_decay_after_update_is_distinguished(void **state) {
    (void)state;
    expect_output("decay_order", "after_update", 3.0, 4.0);
}

static void test_output_before_update_is_distinguished(void **state) {
    (void)state;
    expect_output("output_state", "decayed", 2.0, 3.0);
}

static void test_delta_without_beta_is_distinguished(void **state) {
    (void)state;
    expect_output("delta_beta", "omitted", 6.5, 8.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hand_golden_comes_out),
        cmocka_unit_test(test_transposed_state_is_distinguished),
        cmocka_unit_test(test_delta_from_undecayed_state_is_distinguished),
        cmocka_unit_test(test_decay_after_update_is_distinguished),
        cmocka_unit_test(test_output_before_update_is_distinguished),
        cmocka_unit_test(test_delta_without_beta_is_distinguished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
