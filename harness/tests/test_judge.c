/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The judge on one element (the table at the head of judge.c) and on a whole arena, right
 * and damaged in one place. */
#include "judge.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void test_special_values_are_decided_by_table(void **state) {
    (void)state;
    static const struct {
        double golden, found, limit;
        gdn_dtype storage;
        bool ok;
    } ROWS[] = {
        {NAN, NAN, 1.0, GDN_FP32, true},
        {NAN, 0.0, 1.0, GDN_FP32, false},
        {NAN, INFINITY, 1.0, GDN_FP32, false},
        {0.0, NAN, 1.0, GDN_FP32, false},
        {1.0, NAN, INFINITY, GDN_FP32, false}, /* no limit is wide enough for NaN */
        {INFINITY, NAN, 1.0, GDN_FP32, false},
        {INFINITY, INFINITY, 1.0, GDN_FP32, true},
        {INFINITY, -INFINITY, 1.0, GDN_FP32, false},
        {INFINITY, FLT_MAX, 1.0, GDN_FP32, false},
        {1.0, INFINITY, 1.0, GDN_FP32, false},
        {65519.0, INFINITY, 0.5, GDN_FP16, false}, /* 65519.5 still rounds to 65504 */
        {65519.0, INFINITY, 2.0, GDN_FP16, true},
        {65519.0, -INFINITY, 2.0, GDN_FP16, false},
        {-65519.0, -INFINITY, 2.0, GDN_FP16, true},
        {0.0, -0.0, 0.0, GDN_FP32, true},
        {-0.0, 0.0, 0.0, GDN_FP32, true},
        {0.0, 0.0, 0.0, GDN_FP32, true},
        {0.0, 1e-30, 0.0, GDN_FP32, false}, /* golden 0: the limit is absolute */
        {0.0, 1e-30, 1e-30, GDN_FP32, true},
        {1e-40, 0.0, 2e-40, GDN_FP32, true}, /* denormals are numbers like others */
        {1e-40, 0.0, 1e-41, GDN_FP32, false},
        {1.0, 1.5, 0.5, GDN_FP32, true}, /* the limit itself is inside */
        {1.0, 0x1.8000000000001p+0, 0.5, GDN_FP32, false},
        {1.0, 1.0, NAN, GDN_FP32, false}, /* a broken limit accepts nothing */
        {1.0, 1.5, NAN, GDN_FP32, false},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        double budget = -1.0;
        const bool ok = gdn_judge_element(ROWS[i].golden, ROWS[i].found, ROWS[i].limit,
                                          ROWS[i].storage, &budget);
        if (ok != ROWS[i].ok || (ok ? !(budget <= 1.0) : !(budget > 1.0))) {
            fail_msg("row %zu: golden %g, found %g, limit %g gave %s, budget %g", i,
                     ROWS[i].golden, ROWS[i].found, ROWS[i].limit, ok ? "right" : "wrong",
                     budget);
        }
    }
}

/* 1024 tokens, head 0 forgets weakly: the bound alone accepts what is tested with it. */
static const char LONG_CASE[] =
    "{\"op\": \"gated_delta_rule\", \"profile\": \"vllm-xpu\", \"batch\": \"pre1x1024\","
    " \"num_k_heads\": 2, \"num_v_heads\": 4, \"head_k_dim\": 32, \"head_v_dim\": 32,"
    " \"fill\": \"model\"}";

static const char CASE[] =
    "{\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu\", \"batch\": "
    "\"spec1x2+pre1x5+dec1\","
    " \"num_k_heads\": 2, \"num_v_heads\": 4, \"head_k_dim\": 8, \"head_v_dim\": 6,"
    " \"pad_rows\": 2, \"page_bytes\": 8192}";

typedef struct bench {
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
} bench;

/* A problem whose arena holds the right answer: golden values rounded into place. */
static int setup_case(void **state, const char *text) {
    bench *b = calloc(1, sizeof *b);
    gdn_error err = {0};
    json_t *json = json_loads(text, 0, NULL);
    if (gdn_case_from_json(&b->test, json, GDN_PROFILE_DIR, &err) != GDN_OK ||
        gdn_problem_create(&b->problem, &b->test, &err) != GDN_OK ||
        gdn_golden_create(&b->golden, &b->problem, &err) != GDN_OK) {
        print_error("%s\n", err.message);
        return -1;
    }
    json_decref(json);
    for (size_t i = 0; i < b->golden.n_outputs; i++) {
        const gdn_expected *e = &b->golden.outputs[i];
        const size_t size = gdn_dtype_size(e->tensor->dtype);
        for (int64_t row = 0; row < e->n_rows; row++) {
            const int64_t at = e->rows[row] * e->tensor->stride[0];
            const int64_t flat = row * e->row_count;
            if (e->bits) {
                memcpy((uint8_t *)e->tensor->data + (size_t)at * size,
                       (const uint8_t *)e->bits + (size_t)flat * size,
                       (size_t)e->row_count * size);
            }
            for (int64_t k = 0; e->golden && k < e->row_count; k++) {
                gdn_store(e->tensor->data, e->tensor->dtype, at + k, e->golden[flat + k]);
            }
        }
    }
    *state = b;
    return 0;
}

static int setup(void **state) {
    return setup_case(state, CASE);
}

static int setup_long(void **state) {
    return setup_case(state, LONG_CASE);
}

static int teardown(void **state) {
    bench *b = *state;
    gdn_golden_destroy(&b->golden);
    gdn_problem_destroy(&b->problem);
    gdn_case_destroy(&b->test);
    free(b);
    return 0;
}

static void judge(bench *b, gdn_case_result *result) {
    *result = (gdn_case_result){0};
    gdn_error err = {0};
    assert_int_equal(gdn_judge_case(&b->problem, &b->golden, result, &err), GDN_OK);
}

/* Expects a failure whose message has `text` in it. */
static void expect_failure(bench *b, const char *text) {
    gdn_case_result result;
    judge(b, &result);
    assert_int_equal(result.verdict, GDN_FAIL);
    if (!strstr(result.message, text)) {
        fail_msg("expected \"%s\" in \"%s\"", text, result.message);
    }
    gdn_case_result_destroy(&result);
}

static void test_right_answer_passes(void **state) {
    gdn_case_result result;
    judge(*state, &result);
    assert_int_equal(result.verdict, GDN_PASS);
    assert_int_equal(result.n_tensors, 4);
    assert_null(result.message);
    for (size_t i = 0; i < result.n_tensors; i++) {
        assert_true(result.tensors[i].budget <= 1.0);
        assert_true(result.tensors[i].compared > 0);
        assert_true(result.tensors[i].upstream_ok);
    }
    gdn_case_result_destroy(&result);
}

static void test_one_element_beyond_its_limit_is_found_and_named(void **state) {
    bench *b = *state;
    const gdn_tensor *core = gdn_arena_tensor(&b->problem.arena, "core_attn_out");
    const int64_t at = gdn_tensor_offset(core, (int64_t[]){3, 1, 4});
    const double right = gdn_load(core->data, core->dtype, at);
    gdn_store(core->data, core->dtype, at, right + 4 * gdn_dtype_ulp(right, core->dtype));
    expect_failure(b, "core_attn_out[3,1,4]");
}

static void test_one_nan_is_found(void **state) {
    bench *b = *state;
    const gdn_tensor *core = gdn_arena_tensor(&b->problem.arena, "core_attn_out");
    gdn_store(core->data, core->dtype, 7, NAN);
    expect_failure(b, "core_attn_out");
}

static void test_one_flipped_bit_of_a_copy_is_found(void **state) {
    bench *b = *state;
    const gdn_tensor *z = gdn_arena_tensor(&b->problem.arena, "z");
    ((uint16_t *)z->data)[5] ^= 1;
    expect_failure(b, "z: 1 of");
}

static void test_nan_written_over_poison_of_a_slot_is_found(void **state) {
    bench *b = *state;
    const gdn_tensor *conv = gdn_arena_tensor(&b->problem.arena, "conv_state");
    const gdn_tensor *slots =
        gdn_arena_tensor(&b->problem.arena, "non_spec_state_indices_tensor");
    /* The last row of a slot lies beyond the window of a sequence without drafts. */
    const int64_t row = conv->shape[1] - 1;
    const int64_t at =
        gdn_tensor_offset(conv, (int64_t[]){gdn_tensor_int(slots, 0, 0), row, 0});
    assert_int_equal(((uint16_t *)conv->data)[at], GDN_POISON_WORD);
    ((uint16_t *)conv->data)[at] = 0xffff;
    expect_failure(b, "conv_state: 1 of");
}

static void test_unwritten_output_is_called_poison(void **state) {
    bench *b = *state;
    const gdn_tensor *core = gdn_arena_tensor(&b->problem.arena, "core_attn_out");
    ((uint16_t *)core->data)[0] = GDN_POISON_WORD;
    expect_failure(b, "poison");
}

static void expect_stray(bench *b, const char *tensor, int64_t offset_bytes,
                         const char *text) {
    uint8_t *byte =
        (uint8_t *)gdn_arena_tensor(&b->problem.arena, tensor)->data + offset_bytes;
    *byte ^= 0x40;
    expect_failure(b, text);
    *byte ^= 0x40;
}

static void test_stray_writes_are_found_where_they_lie(void **state) {
    bench *b = *state;
    const gdn_tensor *core = gdn_arena_tensor(&b->problem.arena, "core_attn_out");
    const gdn_tensor *pool = gdn_arena_tensor(&b->problem.arena, "ssm_state");
    const int64_t size = (int64_t)gdn_dtype_size(core->dtype);
    expect_stray(b, "core_attn_out", -1, "guard");
    expect_stray(b, "core_attn_out", gdn_tensor_count(core) * size, "guard");
    expect_stray(b, "core_attn_out", 8 * core->stride[0] * size, "core_attn_out[8,0,0]");
    expect_stray(b, "projected_states_qkvz", 10, "projected_states_qkvz[0,5]");
    expect_stray(b, "ssm_state", 0, "ssm_state[0,0,0,0]");
    expect_stray(b, "ssm_state", gdn_tensor_row_count(pool) * 4, "gap");
}

static void test_all_zero_output_fails_where_upstream_would_pass_it(void **state) {
    bench *b = *state;
    const gdn_tensor *core = gdn_arena_tensor(&b->problem.arena, "core_attn_out");
    memset(core->data, 0, (size_t)(8 * core->stride[0]) * gdn_dtype_size(core->dtype));
    expect_failure(b, "core_attn_out");
}

static void test_a_state_off_by_one_in_ten_thousand_fails(void **state) {
    bench *b = *state;
    const gdn_tensor *pool = gdn_arena_tensor(&b->problem.arena, "ssm_state");
    const gdn_expected *e = &b->golden.outputs[0];
    assert_string_equal(e->tensor->name, "ssm_state");
    double largest = 0.0;
    for (int64_t i = 0; i < 32 * 32; i++) { /* head 0 */
        const double off = 1e-4 * e->golden[i];
        largest = fmax(largest, fabs(off) / (double)e->limit[i]);
        gdn_store(pool->data, pool->dtype, e->rows[0] * pool->stride[0] + i,
                  e->golden[i] + off);
    }
    assert_true(largest < 1.0); /* within the bound */
    expect_failure(b, "ssm_state");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special_values_are_decided_by_table),
        cmocka_unit_test_setup_teardown(test_right_answer_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_one_element_beyond_its_limit_is_found_and_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_nan_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_flipped_bit_of_a_copy_is_found, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_nan_written_over_poison_of_a_slot_is_found,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_unwritten_output_is_called_poison, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_stray_writes_are_found_where_they_lie, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_state_off_by_one_in_ten_thousand_fails,
                                        setup_long, teardown),
        cmocka_unit_test_setup_teardown(
            test_all_zero_output_fails_where_upstream_would_pass_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
