/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Convolutions under conventions that change their arguments: each row breaks one rule, or
 * none, and expects the whole message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "call_bench.h"

static void test_axes_and_weights(void **state) {
    (void)state;
    static const row ROWS[] = {
        {CONV, "conv_state_order=ds",
         "conv_state: expected size 6 (conv channels) in dimension 1 but found 5"},
        {CONV, "conv_state_order=ds conv_state.1=6 conv_state.2=5", NULL},
        {CONV, "conv_state_order=ds conv_state.1=6 conv_state.2=2",
         "conv_state: expected at least 3 rows a slot but found 2"},
        {CONV, "conv_weight=wc",
         "weight: expected size 6 (conv channels) in dimension 1 but found 4"},
        {CONV, "conv_weight=wc weight.0=4 weight.1=6", NULL},
        {ATTENTION, "conv_weight=wc conv_weights.0=4 conv_weights.1=52", NULL},
        {ATTENTION, "conv_state_order=ds conv_state.1=52 conv_state.2=5", NULL},
        {ATTENTION, "conv_state_order=ds",
         "conv_state: expected size 52 (conv channels) in dimension 1 but found 5"},
    };
    CHECK_ROWS(ROWS);
}

static void test_packed_weights(void **state) {
    (void)state;
    static const row ROWS[] = {
        {CONV, "conv_weight=vnni",
         "weight: expected a multiple of 32 channels and an even number of taps but found "
         "6 "
         "and 4"},
        {ATTENTION, "conv_weight=vnni",
         "conv_weights: expected a multiple of 32 channels and an even number of taps but "
         "found 52 and 4"},
        {CONV, "conv_weight=vnni x.1=64 weight.0=64 bias.0=64 conv_state.2=64 out.1=64",
         NULL},
        {PACK, "weight.0=48 packed.0=48",
         "weight: expected a multiple of 32 channels and an even number of taps but found "
         "48 and 4"},
        {PACK, "weight.1=3 packed.1=3",
         "weight: expected a multiple of 32 channels and an even number of taps but found "
         "64 and 3"},
        {PACK, "packed.0=32",
         "packed: expected size 64 (conv channels) in dimension 0 but found 32"},
        {PACK, "packed:fp16", "packed: expected type bf16 but found fp16"},
        {PACK, "-packed", "packed: expected a tensor but found none"},
        {PACK, "weight.1=2 packed.1=2", NULL},
    };
    CHECK_ROWS(ROWS);
}

static void test_room_between_packed_rows(void **state) {
    (void)state;
    bench b;
    gdn_error err = {0};
    bench_init(&b, PACK);
    b.tensors[0].stride[0] = 8;
    assert_int_equal(gdn_call_check(&b.call, &err), GDN_ERR_ARG);
    assert_string_equal(err.message,
                        "weight: expected dense memory but found strides 8 and 1");
}

static void test_rows_kept(void **state) {
    (void)state;
    static const row ROWS[] = {
        {CONV, "conv_history=taps conv_anchor=last conv_state.1=4", NULL},
        {CONV, "conv_history=taps conv_anchor=last conv_state.1=3",
         "conv_state: expected at least 4 rows a slot but found 3"},
        /* Neither a rolling line nor windows need room for drafts. */
        {VERIFY_CONV, "conv_state.1=3", NULL},
        {VERIFY_CONV, "conv_state.1=2",
         "conv_state: expected at least 3 rows a slot but found 2"},
        {VERIFY_CONV,
         "conv_window=rolling conv_anchor=last conv_state.1=3 -intermediate_conv_window",
         NULL},
    };
    CHECK_ROWS(ROWS);
}

static void test_buffered_arguments(void **state) {
    (void)state;
    static const row ROWS[] = {
        {VERIFY_CONV, "-num_accepted_tokens", NULL},
        {VERIFY_CONV, "-parent_token -intermediate_conv_window", NULL},
        {VERIFY_CONV,
         "spec_state=slots -num_accepted_tokens -parent_token -intermediate_conv_window",
         "intermediate_indices: expected none under spec_state \"slots\" but found one"},
        {VERIFY_CONV, "-intermediate_indices -num_accepted_tokens",
         "intermediate_indices: expected a tensor beside parent_token under spec_state "
         "\"buffer\" but found none"},
        {VERIFY_CONV, "-intermediate_indices -parent_token -num_accepted_tokens",
         "intermediate_indices: expected a tensor beside intermediate_conv_window under "
         "spec_state \"buffer\" but found none"},
        {VERIFY_CONV, "-intermediate_indices -parent_token -intermediate_conv_window",
         "intermediate_indices: expected a tensor beside num_accepted_tokens under "
         "spec_state \"buffer\" but found none"},
        {VERIFY_CONV, "conv_window=rolling conv_anchor=last",
         "intermediate_conv_window: expected none but for conv_window \"windows\" but "
         "found "
         "one"},
        {VERIFY_CONV, "intermediate_conv_window.1=4",
         "intermediate_conv_window: expected 3 rows (taps - 1) but found 4"},
        {VERIFY_CONV, "intermediate_conv_window.2=5",
         "intermediate_conv_window: expected size 6 (conv channels) in dimension 2 but "
         "found 5"},
        {VERIFY_CONV, "intermediate_indices.1=5",
         "parent_token: expected size 5 (columns) in dimension 1 but found 4"},
        {VERIFY_CONV, "intermediate_conv_window:fp32",
         "intermediate_conv_window: expected type bf16 but found fp32"},
        {ATTENTION, "spec_state=buffer conv_window=windows",
         "num_spec_decodes: expected 0 beside spec_state \"buffer\", for which this op has "
         "no arguments, but found 2"},
    };
    CHECK_ROWS(ROWS);
}

static void test_intermediate_rows(void **state) {
    (void)state;
    static const row ROWS[] = {
        {VERIFY_CONV, "intermediate_indices[1]=9",
         "intermediate_indices[0,1]: expected 0 to 8 but found 9"},
        {VERIFY_CONV, "intermediate_indices[5]=-1",
         "intermediate_indices[1,1]: expected 0 to 8 but found -1"},
        {VERIFY_CONV, "intermediate_indices[7]=5",
         "intermediate_indices[1,3]: expected a row that nobody else names but found 5"},
        {VERIFY_CONV, "intermediate_indices[1]=5", NULL},
        {VERIFY_CONV, "query_start_loc[1]=5 query_start_loc[2]=7",
         "query_start_loc[1]: expected 0 to 4 (sequences of 0 to 4 tokens in 8 rows) but "
         "found 5"},
        {VERIFY_CONV, "state_indices[1]=6",
         "state_indices[1]: expected a slot that nobody else names but found 6"},
    };
    CHECK_ROWS(ROWS);
}

static void test_trees(void **state) {
    (void)state;
    static const row ROWS[] = {
        /* The root's entry is not read, nor those of tokens that are not there. */
        {VERIFY_CONV, "parent_token[0]=0 parent_token[7]=-7", NULL},
        {VERIFY_CONV, "parent_token[1]=-2",
         "parent_token[0,1]: expected -1 (no parent) or a token but found -2"},
        {VERIFY_CONV, "parent_token[2]=-1",
         "parent_token[0,2]: expected 0 to 1 (a token before its child) but found -1"},
        {VERIFY_CONV, "parent_token[1]=2",
         "parent_token[0,1]: expected 0 to 0 (a token before its child) but found 2"},
        {VERIFY_CONV, "parent_token[1]=3",
         "parent_token[0,1]: expected a tree (its links make a cycle) but found 3"},
        {VERIFY_CONV, "parent_token[2]=2",
         "parent_token[0,2]: expected a tree (its links make a cycle) but found 2"},
        {VERIFY_CONV, "parent_token[6]=5",
         "parent_token[1,2]: expected 0 to 1 (a token before its child) but found 5"},
    };
    CHECK_ROWS(ROWS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_axes_and_weights),
        cmocka_unit_test(test_packed_weights),
        cmocka_unit_test(test_room_between_packed_rows),
        cmocka_unit_test(test_rows_kept),
        cmocka_unit_test(test_buffered_arguments),
        cmocka_unit_test(test_intermediate_rows),
        cmocka_unit_test(test_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
