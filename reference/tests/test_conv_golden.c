/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Convolutions under the conventions of the contracts, by hand, from the reference and from
 * its shadow: contract sglang_npu 13.2, 13.3 and 2.6, aiter_fla_flashinfer_ggml A5, A6 and
 * F4, vllm_cpu_and_metadata 1.5 to 1.7. One channel, W = 4, weights .1 .2 .3 .4, bias .05,
 * no activation, as in sglang_npu 13.2. */
#include "shadow_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#define EXACT 1e-14

static void set_field(op_bench *b, const char *field, const char *value) {
    assert_int_equal(gdn_conventions_set(&b->conventions, field, value, NULL), GDN_OK);
}

/* One channel, so both axis orders have the same bytes; `ds` says which shape. */
static void begin(op_bench *b, bool ds, int slots, int rows, int tokens) {
    op_begin(b, GDN_OP_CAUSAL_CONV1D);
    set_field(b, "activation", "none");
    set_field(b, "conv_state_order", ds ? "ds" : "sd");
    op_set(op_add(b, "weight", GDN_FP64, 1, 4, 0, 0), (double[]){.1, .2, .3, .4}, 4);
    op_set(op_add(b, "bias", GDN_FP64, 1, 0, 0, 0), (double[]){.05}, 1);
    op_add(b, "conv_state", GDN_FP64, slots, ds ? 1 : rows, ds ? rows : 1, 0);
    op_add(b, "x", GDN_FP64, tokens, 1, 0, 0);
    op_add(b, "out", GDN_FP64, tokens, 1, 0, 0);
}

/* One sequence of all tokens in slot 0. */
static void one_sequence(op_bench *b, int tokens) {
    op_set_ints(op_add(b, "query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, tokens}, 2);
    op_set_ints(op_add(b, "state_indices", GDN_I32, 1, 0, 0, 0), (int[]){0}, 1);
}

static void buffered(op_bench *b, int tokens, const int *rows, const int *parents) {
    set_field(b, "spec_state", "buffer");
    one_sequence(b, tokens);
    op_set_ints(op_add(b, "intermediate_indices", GDN_I32, 1, tokens, 0, 0), rows, tokens);
    if (parents) {
        op_set_ints(op_add(b, "parent_token", GDN_I32, 1, tokens, 0, 0), parents, tokens);
    }
}

static void expect_all(const shadow_bench *s, op_bench *b, const char *name,
                       const double *expected, int count) {
    for (int i = 0; i < count; i++) {
        shadow_expect(s, b, name, i, expected[i], EXACT);
    }
}

/* Bytes of an exact output that the shadow leaves alone: the reference has them still. */
static void expect_kept(op_bench *b, const char *name, const double *expected, int count) {
    for (int i = 0; i < count; i++) {
        const double found = shadow_reference(b, name, i);
        if (found != expected[i]) {
            fail_msg("%s[%d]: expected %g but found %g", name, i, expected[i], found);
        }
    }
}

/* sglang_npu 13.3: a line of 6 rows rolls on by the four tokens of a verify step. */
static void test_rolling_verify(void **state) {
    (void)state;
    op_bench b;
    shadow_bench s;
    begin(&b, false, 1, 6, 4);
    set_field(&b, "conv_window", "rolling");
    set_field(&b, "conv_anchor", "last");
    op_set(op_tensor(&b, "conv_state"), (double[]){-2, -1, 0, 1, 2, 3}, 6);
    op_set(op_tensor(&b, "x"), (double[]){4, 5, 6, 7}, 4);
    buffered(&b, 4, (int[]){0, 1, 2, 3}, NULL);
    /* Counts are for other conventions; this one starts from the line's end all the
     * same. */
    op_set_ints(op_add(&b, "num_accepted_tokens", GDN_I32, 1, 0, 0, 0), (int[]){2}, 1);
    shadow_begin(&s, &b);
    expect_all(&s, &b, "out", (double[]){3.05, 4.05, 5.05, 6.05}, 4);
    expect_all(&s, &b, "conv_state", (double[]){2, 3, 4, 5, 6, 7}, 6);
    shadow_end(&s, &b);
}

/* The same step with a window after each token: each is what rollback to it restores. */
static void test_windows_verify(void **state) {
    (void)state;
    op_bench b;
    shadow_bench s;
    begin(&b, true, 1, 6, 4);
    set_field(&b, "conv_window", "windows");
    set_field(&b, "conv_anchor", "last");
    op_set(op_tensor(&b, "conv_state"), (double[]){-2, -1, 0, 1, 2, 3}, 6);
    op_set(op_tensor(&b, "x"), (double[]){4, 5, 6, 7}, 4);
    buffered(&b, 4, (int[]){5, 6, 7, 8}, NULL);
    op_tensor(&b, "intermediate_indices");
    op_add(&b, "intermediate_conv_window", GDN_FP64, 9, 1, 3, 0);
    shadow_begin(&s, &b);
    expect_all(&s, &b, "out", (double[]){3.05, 4.05, 5.05, 6.05}, 4);
    expect_kept(&b, "conv_state", (double[]){-2, -1, 0, 5, 6, 7}, 6);
    static const double WINDOWS[] = {2, 3, 4, 3, 4, 5, 4, 5, 6, 5, 6, 7};
    for (int i = 0; i < 12; i++) {
        shadow_expect(&s, &b, "intermediate_conv_window", 15 + i, WINDOWS[i], 0);
    }
    for (int row = 0; row < 9; row++) {
        assert_int_equal(op_output(&b, "intermediate_conv_window")->written[row], row >= 5);
    }
    shadow_end(&s, &b);
}

/* sglang_npu 2.6: next = [1,3,-1,-1], sibling = [-1,2,-1,-1] make parents [-,0,0,1]. Token
 * 3 sees x3, x1, x0 and the newest history; its window is x0, x1, x3. */
static void test_tree_by_parent_links(void **state) {
    (void)state;
    for (int ds = 0; ds < 2; ds++) {
        op_bench b;
        shadow_bench s;
        begin(&b, ds, 1, 3, 4);
        set_field(&b, "conv_window", "windows");
        op_set(op_tensor(&b, "conv_state"), (double[]){1, 2, 3}, 3);
        op_set(op_tensor(&b, "x"), (double[]){10, 20, 30, 40}, 4);
        buffered(&b, 4, (int[]){0, 1, 2, 3}, (int[]){-1, 0, 0, 1});
        op_add(&b, "intermediate_conv_window", GDN_FP64, 4, ds ? 1 : 3, ds ? 3 : 1, 0);
        shadow_begin(&s, &b);
        expect_all(&s, &b, "out",
                   (double[]){.1 + .4 + .9 + 4 + .05, .2 + .6 + 3 + 8 + .05,
                              .2 + .6 + 3 + 12 + .05, .3 + 2 + 6 + 16 + .05},
                   4);
        expect_all(&s, &b, "intermediate_conv_window",
                   (double[]){2, 3, 10, 3, 10, 20, 3, 10, 30, 10, 20, 40}, 12);
        /* In index order, though 20, 30 and 40 lie on no path. */
        expect_all(&s, &b, "conv_state", (double[]){20, 30, 40}, 3);
        shadow_end(&s, &b);
    }
}

/* aiter A5 and A6: the Triton kernels use the first rows of a wide line, the HIP one the
 * last; the others keep their bytes. vllm_cpu_and_metadata 1.7 agrees with the former. */
static void test_decode_in_a_wide_line(void **state) {
    (void)state;
    for (int last = 0; last < 2; last++) {
        op_bench b;
        shadow_bench s;
        begin(&b, false, 1, 5, 1);
        set_field(&b, "conv_window", "windows");
        set_field(&b, "spec_state", "buffer");
        set_field(&b, "conv_anchor", last ? "last" : "first");
        op_set(op_tensor(&b, "conv_state"), (double[]){1, 2, 3, 4, 5}, 5);
        op_set(op_tensor(&b, "x"), (double[]){9}, 1);
        one_sequence(&b, 1);
        shadow_begin(&s, &b);
        shadow_expect(&s, &b, "out", 0,
                      last ? .3 + .8 + 1.5 + 3.6 + .05 : .1 + .4 + .9 + 3.6 + .05, EXACT);
        expect_kept(&b, "conv_state",
                    last ? (double[]){1, 2, 4, 5, 9} : (double[]){2, 3, 9, 4, 5}, 5);
        shadow_end(&s, &b);
    }
}

/* FLA (aiter_fla_flashinfer_ggml F4): cache slot w holds token T-W+w, the first of W is
 * never used; without a state the tokens stand behind zeros. */
static void test_as_many_rows_as_taps(void **state) {
    (void)state;
    op_bench b;
    shadow_bench s;
    begin(&b, true, 2, 4, 4);
    set_field(&b, "conv_window", "windows");
    set_field(&b, "conv_anchor", "last");
    set_field(&b, "spec_state", "buffer");
    set_field(&b, "conv_history", "taps");
    op_set(op_tensor(&b, "conv_state"), (double[]){77, 1, 2, 3, NAN, NAN, NAN, NAN}, 8);
    op_set(op_tensor(&b, "x"), (double[]){4, 5, 6, 7}, 4);
    op_set_ints(op_add(&b, "query_start_loc", GDN_I32, 3, 0, 0, 0), (int[]){0, 2, 4}, 3);
    op_set_ints(op_add(&b, "state_indices", GDN_I32, 2, 0, 0, 0), (int[]){0, 1}, 2);
    op_set_ints(op_add(&b, "has_initial_state", GDN_BOOL, 2, 0, 0, 0), (int[]){1, 0}, 2);
    shadow_begin(&s, &b);
    expect_all(&s, &b, "out", (double[]){3.05, 4.05, 2.45, 4.65}, 4);
    expect_all(&s, &b, "conv_state", (double[]){2, 3, 4, 5, 0, 0, 6, 7}, 8);
    shadow_end(&s, &b);
}

/* sglang_npu 13.2: what the mixed batch's kernel leaves in B and C, whose outputs are
 * right. */
static void test_known_wrong_states_of_a_mixed_batch(void **state) {
    (void)state;
    op_bench b;
    begin(&b, false, 3, 3, 9);
    set_field(&b, "slip", "window_too_early");
    op_set(op_tensor(&b, "conv_state"), (double[]){1, 2, 3, NAN, NAN, NAN, 90, 91, 92}, 9);
    op_set(op_tensor(&b, "x"), (double[]){4, 5, 6, 7, 8, 9, 10, 11, 12}, 9);
    op_set_ints(op_add(&b, "query_start_loc", GDN_I32, 4, 0, 0, 0), (int[]){0, 2, 4, 9}, 4);
    op_set_ints(op_add(&b, "state_indices", GDN_I32, 3, 0, 0, 0), (int[]){0, 1, 2}, 3);
    op_set_ints(op_add(&b, "has_initial_state", GDN_BOOL, 3, 0, 0, 0), (int[]){1, 0, 0}, 3);
    op_want(&b, "conv_state", GDN_FP64, false);
    op_run(&b);
    expect_kept(&b, "conv_state", (double[]){3, 4, 5, 0, 0, 0, 0, 8, 9}, 9);
    op_end(&b);
}

/* vllm_cpu_and_metadata 2.1: bf16 products are rounded before the fp32 sum. 1.0078125^2 is
 * 1.01568603515625, which bf16 holds as 1.015625. */
static void test_products_in_storage(void **state) {
    (void)state;
    const double x = 1.0078125;
    for (int rounded = 0; rounded < 2; rounded++) {
        op_bench b;
        shadow_bench s;
        op_begin(&b, GDN_OP_CAUSAL_CONV1D);
        set_field(&b, "activation", "none");
        set_field(&b, "conv_product", rounded ? "storage" : "none");
        op_set(op_add(&b, "weight", GDN_BF16, 1, 1, 0, 0), &x, 1);
        op_set(op_add(&b, "x", GDN_BF16, 1, 1, 0, 0), &x, 1);
        op_add(&b, "conv_state", GDN_BF16, 1, 1, 1, 0);
        op_add(&b, "out", GDN_BF16, 1, 1, 0, 0);
        one_sequence(&b, 1);
        shadow_begin(&s, &b);
        shadow_expect(&s, &b, "out", 0, rounded ? 1.015625 : 1.01568603515625, 0);
        shadow_end(&s, &b);
    }
}

/* vllm_cpu_and_metadata 1.5, its inverse: offset o holds channel 32 nb + n and tap 2 k2 + r
 * with nb = o/128, k2 = (o/64)%2, n = (o/2)%32, r = o%2. Bits, so NaNs keep their
 * payload. */
static void test_packed_weight(void **state) {
    (void)state;
    enum { C = 96, W = 4 };
    op_bench b;
    op_begin(&b, GDN_OP_CONV_WEIGHT_PACK);
    uint16_t *weight = op_add(&b, "weight", GDN_BF16, C, W, 0, 0)->data;
    op_add(&b, "packed", GDN_BF16, C, W, 0, 0);
    for (int i = 0; i < C * W; i++) {
        weight[i] = (uint16_t)(0x7f81 + 3 * i); /* NaNs first */
    }
    op_want(&b, "packed", GDN_BF16, false);
    op_run(&b);
    const uint16_t *packed = op_output(&b, "packed")->value.data;
    for (int o = 0; o < C * W; o++) {
        const int c = 32 * (o / 128) + o / 2 % 32, tap = 2 * (o / 64 % 2) + o % 2;
        assert_int_equal(packed[o], weight[c * W + tap]);
    }
    /* Packing twice scrambles: it is a slip, and another result. */
    uint16_t once[C * W];
    memcpy(once, packed, sizeof once);
    set_field(&b, "slip", "weight_packed_twice");
    op_run(&b);
    assert_memory_not_equal(once, packed, sizeof once);
    memcpy(weight, once, sizeof once);
    memcpy(once, packed, sizeof once);
    set_field(&b, "slip", "none");
    op_run(&b);
    assert_memory_equal(once, packed, sizeof once);
    op_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rolling_verify),
        cmocka_unit_test(test_windows_verify),
        cmocka_unit_test(test_tree_by_parent_links),
        cmocka_unit_test(test_decode_in_a_wide_line),
        cmocka_unit_test(test_as_many_rows_as_taps),
        cmocka_unit_test(test_known_wrong_states_of_a_mixed_batch),
        cmocka_unit_test(test_products_in_storage),
        cmocka_unit_test(test_packed_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
