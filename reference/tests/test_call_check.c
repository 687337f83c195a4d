/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Names, types, shapes and scalars: a valid call of each op passes, and each row breaks one
 * rule and expects the whole message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "call_bench.h"

static void test_valid_calls_pass(void **state) {
    (void)state;
    for (size_t i = 0; i < VALID_CALLS; i++) {
        check_rows(&(row){(valid_name)i, "", NULL}, 1);
    }
}

static void test_names(void **state) {
    (void)state;
    static const row ROWS[] = {
        {CONV, "bias!",
         "extra: expected an argument of causal_conv1d but found an unknown name"},
        {DELTA, "+k", "k: expected one tensor but found a second one"},
        {GATING, "-dt_bias", "dt_bias: expected a tensor but found none"},
        {ATTENTION, "-z", "z: expected a tensor but found none"},
        {METADATA, "-counts", "counts: expected a tensor but found none"},
        {DELTA, "-use_qk_l2norm", "use_qk_l2norm: expected one scalar but found 0"},
        {DELTA, "+use_qk_l2norm", "use_qk_l2norm: expected one scalar but found 2"},
        {METADATA, "+num_spec num_spec!",
         "extra: expected an argument of gdn_metadata but found an unknown name"},
        {DELTA, "use_qk_l2norm=2", "use_qk_l2norm: expected 0 to 1 but found 2"},
        {CONV, "-bias -has_initial_state", NULL},
        {DELTA, "-has_initial_state", NULL},
        {ATTENTION, "-conv_bias -has_initial_state", NULL},
    };
    CHECK_ROWS(ROWS);
}

static void test_types(void **state) {
    (void)state;
    static const row ROWS[] = {
        {CONV, "x:i32", "x: expected a float type but found i32"},
        {CONV, "weight:fp16", "weight: expected type bf16 but found fp16"},
        {CONV, "conv_state:fp32", "conv_state: expected type bf16 but found fp32"},
        {CONV, "query_start_loc:i64", "query_start_loc: expected type i32 but found i64"},
        {CONV, "has_initial_state:i32",
         "has_initial_state: expected type bool but found i32"},
        {GATING, "A_log:bf16", "A_log: expected type fp32 but found bf16"},
        {GATING, "dt_bias:fp32", "dt_bias: expected type bf16 but found fp32"},
        {GATING, "beta:bf16", "beta: expected type fp32 but found bf16"},
        {DELTA, "g:fp64", "g: expected type fp32 but found fp64"},
        {DELTA, "ssm_state:bool", "ssm_state: expected a float type but found bool"},
        {DELTA, "out:fp32", "out: expected type bf16 but found fp32"},
        {DELTA, "ssm_state:fp32", NULL},
        {ATTENTION, "projected_states_ba:fp32",
         "projected_states_ba: expected type bf16 but found fp32"},
        {ATTENTION, "spec_token_indx:i64",
         "spec_token_indx: expected type i32 but found i64"},
        {METADATA, "counts:i64", "counts: expected type i32 but found i64"},
        {METADATA, "has_initial_state:i32",
         "has_initial_state: expected type bool but found i32"},
        {GATING, "a:7", "a: expected a type but found number 7"},
        {GATING, "a:-1", "a: expected a type but found number -1"},
    };
    CHECK_ROWS(ROWS);
}

static void test_shapes(void **state) {
    (void)state;
    static const row ROWS[] = {
        {CONV, "x/3", "x: expected rank 2 but found 3"},
        {CONV, "weight.0=5",
         "weight: expected size 6 (conv channels) in dimension 0 but found 5"},
        {CONV, "weight.1=0",
         "weight: expected size at least 1 (taps) in dimension 1 but found 0"},
        {CONV, "bias.0=7",
         "bias: expected size 6 (conv channels) in dimension 0 but found 7"},
        {CONV, "query_start_loc.0=3",
         "query_start_loc: expected size 4 (sequences + 1) in dimension 0 but found 3"},
        {CONV, "out.0=8", "out: expected size 9 (rows) in dimension 0 but found 8"},
        {CONV, "x.0=-1", "x: expected size 0 to 2147483647 in dimension 0 but found -1"},
        {CONV, "conv_state.0=2147483648",
         "conv_state: expected size 0 to 2147483647 in dimension 0 but found 2147483648"},
        {GATING, "a.0=2147483647 b.0=2147483647 g.0=2147483647 beta.0=2147483647", NULL},
        {SPEC_CONV, "state_indices/1", "state_indices: expected rank 2 but found 1"},
        {SPEC_CONV, "-num_accepted_tokens", "state_indices: expected rank 1 but found 2"},
        {SPEC_CONV, "num_accepted_tokens.0=3",
         "num_accepted_tokens: expected size 2 (sequences) in dimension 0 but found 3"},
        {GATING, "b.0=4", "b: expected size 5 (rows) in dimension 0 but found 4"},
        {GATING, "A_log.0=3",
         "A_log: expected size 4 (value heads) in dimension 0 but found 3"},
        {DELTA, "k.1=3", "k: expected size 2 (key heads) in dimension 1 but found 3"},
        {DELTA, "beta.1=5",
         "beta: expected size 6 (value heads) in dimension 1 but found 5"},
        {DELTA, "state_order=kv",
         "ssm_state: expected size 8 (key head dim) in dimension 2 but found 5"},
        {DELTA, "state_order=kv ssm_state.2=8 ssm_state.3=5", NULL},
        {DELTA, "has_initial_state.0=1",
         "has_initial_state: expected size 2 (sequences) in dimension 0 but found 1"},
        {METADATA, "seq_lens.0=0",
         "seq_lens: expected size at least 1 (requests) in dimension 0 but found 0"},
        {METADATA, "block_table.1=2",
         "block_table: expected size at least 3 (columns) in dimension 1 but found 2"},
        {METADATA, "counts.0=13",
         "counts: expected size 14 (counts) in dimension 0 but found 13"},
        {METADATA, "spec_query_start_loc.0=6",
         "spec_query_start_loc: expected size 7 (padded requests + 1) in dimension 0 but "
         "found 6"},
        {METADATA, "spec_state_indices_tensor.1=2",
         "spec_state_indices_tensor: expected size 3 (columns) in dimension 1 but found 2"},
        {METADATA, "non_spec_token_indx.0=8",
         "non_spec_token_indx: expected size 9 (rows) in dimension 0 but found 8"},
    };
    CHECK_ROWS(ROWS);
}

static void test_attention_shapes(void **state) {
    (void)state;
    static const row ROWS[] = {
        {ATTENTION, "core_attn_out.0=9",
         "core_attn_out: expected size at least 10 (num_actual_tokens) in dimension 0 but "
         "found 9"},
        {ATTENTION, "core_attn_out.2=8",
         "core_attn_out: expected size 5 (value head dim) in dimension 2 but found 8"},
        {ATTENTION, "z.1=8", "z: expected size 4 (value heads) in dimension 1 but found 8"},
        {ATTENTION, "projected_states_qkvz.1=52",
         "projected_states_qkvz: expected size 72 (qkvz columns) in dimension 1 but found "
         "52"},
        {ATTENTION, "projected_states_ba.1=16",
         "projected_states_ba: expected size 8 (ba columns) in dimension 1 but found 16"},
        {ATTENTION, "conv_state.2=72",
         "conv_state: expected size 52 (conv channels) in dimension 2 but found 72"},
        {ATTENTION, "ssm_state.0=8",
         "ssm_state: expected size 9 (slots) in dimension 0 but found 8"},
        {ATTENTION, "conv_weights.0=72",
         "conv_weights: expected size 52 (conv channels) in dimension 0 but found 72"},
        {ATTENTION, "dt_bias.0=8",
         "dt_bias: expected size 4 (value heads) in dimension 0 but found 8"},
        {ATTENTION, "non_spec_state_indices_tensor.0=3",
         "non_spec_state_indices_tensor: expected size 2 (sequences) in dimension 0 but "
         "found 3"},
        {ATTENTION, "spec_state_indices_tensor.0=1",
         "spec_state_indices_tensor: expected size 2 (spec sequences) in dimension 0 but "
         "found 1"},
        {ATTENTION, "num_decodes=2",
         "has_initial_state: expected size 3 (sequences) in dimension 0 but found 2"},
        {ATTENTION, "num_spec_decodes=1",
         "spec_query_start_loc: expected size 2 (spec sequences + 1) in dimension 0 but "
         "found 3"},
        {ATTENTION, "state_order=kv",
         "ssm_state: expected size 8 (key head dim) in dimension 2 but found 5"},
    };
    CHECK_ROWS(ROWS);
}

static void test_attention_scalars(void **state) {
    (void)state;
    static const row ROWS[] = {
        {ATTENTION, "tp_size=3",
         "num_k_heads: expected a multiple of tp_size (3) but found 4"},
        {ATTENTION, "tp_size=4 num_v_heads=6",
         "num_v_heads: expected a multiple of tp_size (4) but found 6"},
        {ATTENTION, "num_v_heads=6",
         "num_v_heads: expected a multiple of num_k_heads (4) but found 6"},
        {ATTENTION, "tp_size=0", "tp_size: expected 1 to 65536 but found 0"},
        {ATTENTION, "head_k_dim=65537", "head_k_dim: expected 1 to 65536 but found 65537"},
        {ATTENTION, "num_prefills=-1",
         "num_prefills: expected 0 to 2147483647 but found -1"},
        {ATTENTION, "reorder_input=2", "reorder_input: expected 0 to 1 but found 2"},
        {ATTENTION, "num_actual_tokens=11",
         "projected_states_ba: expected size at least 11 (num_actual_tokens) in dimension "
         "0 but found 10"},
        {ATTENTION, "reorder_input=1", NULL},
        {METADATA, "num_spec=-1", "num_spec: expected 0 to 65536 but found -1"},
    };
    CHECK_ROWS(ROWS);
}

static void test_attention_presence(void **state) {
    (void)state;
    static const row ROWS[] = {
        {ATTENTION, "-non_spec_query_start_loc",
         "non_spec_query_start_loc: expected a tensor for 2 sequences but found none"},
        {ATTENTION, "-non_spec_state_indices_tensor",
         "non_spec_state_indices_tensor: expected a tensor for 2 sequences but found none"},
        {ATTENTION, "-non_spec_token_indx",
         "non_spec_token_indx: expected a tensor for 2 sequences but found none"},
        {ATTENTION, "-spec_query_start_loc",
         "spec_query_start_loc: expected a tensor for 2 sequences but found none"},
        {ATTENTION, "-spec_token_indx",
         "spec_token_indx: expected a tensor for 2 sequences but found none"},
        {ATTENTION, "-spec_state_indices_tensor",
         "spec_state_indices_tensor: expected a tensor for 2 sequences but found none"},
        {ATTENTION, "-num_accepted_tokens",
         "num_accepted_tokens: expected a tensor for 2 sequences but found none"},
    };
    CHECK_ROWS(ROWS);
}

static void test_rows_and_heads(void **state) {
    (void)state;
    static const row ROWS[] = {
        /* A spec sequence needs W-2+Q rows where windows slide, W-1 elsewhere. */
        {SPEC_CONV, "conv_state.1=4",
         "conv_state: expected at least 5 rows a slot but found 4"},
        {SPEC_CONV, "conv_state.1=3 conv_window=snapshot", NULL},
        {SPEC_CONV, "conv_state.1=2 conv_window=snapshot",
         "conv_state: expected at least 3 rows a slot but found 2"},
        {CONV, "conv_state.1=3", NULL},
        {CONV, "conv_state.1=2", "conv_state: expected at least 3 rows a slot but found 2"},
        {ATTENTION, "conv_state.1=4",
         "conv_state: expected at least 5 rows a slot but found 4"},
        {ATTENTION, "conv_state.1=3 conv_window=snapshot", NULL},
        {DELTA, "q.1=4 k.1=4", "v: expected a multiple of 4 heads (q) but found 6"},
        {DELTA, "q.1=0",
         "q: expected size at least 1 (key heads) in dimension 1 but found 0"},
    };
    CHECK_ROWS(ROWS);
}

/* Each group may be absent, and so may both: then nothing runs. */
#define NO_SPEC                                                                            \
    "num_spec_decodes=0 -spec_query_start_loc -spec_token_indx "                           \
    "-spec_state_indices_tensor "                                                          \
    "-num_accepted_tokens "
#define NO_NON_SPEC                                                                        \
    "num_prefills=0 num_decodes=0 -has_initial_state -non_spec_query_start_loc "           \
    "-non_spec_token_indx -non_spec_state_indices_tensor "

static void test_attention_groups(void **state) {
    (void)state;
    static const row ROWS[] = {
        {ATTENTION, NO_SPEC, NULL},
        {ATTENTION, NO_NON_SPEC, NULL},
        {ATTENTION, NO_SPEC NO_NON_SPEC "num_actual_tokens=0", NULL},
        {ATTENTION, NO_SPEC "conv_state.1=3", NULL},
        {ATTENTION, NO_SPEC "conv_state.1=2",
         "conv_state: expected at least 3 rows a slot but found 2"},
        /* A group that is not there has no sequences left over either. */
        {ATTENTION, "num_spec_decodes=0",
         "spec_query_start_loc: expected size 1 (spec sequences + 1) in dimension 0 but "
         "found 3"},
        /* Without token indices the non-spec rows are all rows. */
        {ATTENTION, NO_SPEC "-non_spec_token_indx",
         "non_spec_query_start_loc[2]: expected 10 (num_actual_tokens) but found 5"},
        {ATTENTION, NO_SPEC "-non_spec_token_indx num_actual_tokens=5", NULL},
    };
    CHECK_ROWS(ROWS);
}

static void test_operation_and_conventions(void **state) {
    (void)state;
    bench b;
    gdn_error err = {0};
    bench_init(&b, GATING);
    b.call.op = GDN_OP_COUNT;
    assert_int_equal(gdn_call_check(&b.call, &err), GDN_ERR_ARG);
    assert_string_equal(err.message, "op: expected 0 to 19 but found 20");
    err = (gdn_error){0};
    bench_init(&b, GATING);
    b.call.conventions = NULL;
    assert_int_equal(gdn_call_check(&b.call, &err), GDN_ERR_ARG);
    assert_string_equal(err.message, "conventions: expected some but found none");
    err = (gdn_error){0};
    bench_init(&b, GATING);
    b.tensors[2].name = NULL;
    assert_int_equal(gdn_call_check(&b.call, &err), GDN_ERR_ARG);
    assert_string_equal(
        err.message,
        "(unnamed tensor): expected an argument of gdn_gating but found an unknown name");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_calls_pass),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_attention_shapes),
        cmocka_unit_test(test_attention_scalars),
        cmocka_unit_test(test_attention_presence),
        cmocka_unit_test(test_rows_and_heads),
        cmocka_unit_test(test_attention_groups),
        cmocka_unit_test(test_operation_and_conventions),
    };
    return cmocka_run_group_tests_name("call_check", tests, NULL, NULL);
}
