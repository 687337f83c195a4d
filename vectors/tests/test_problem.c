/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Problems and their golden outputs: the numbers of a case belong to tokens, heads and
 * sequences, so layout, row order, paging and alignment change none of them; and what no
 * correct backend reads is poison that never reaches a golden value. */
#include "problem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

typedef struct bench {
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
} bench;

static const char BASE[] =
    "{\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu@b\", \"num_k_heads\": 2,"
    " \"num_v_heads\": 6, \"head_k_dim\": 8, \"head_v_dim\": 5, \"fill\": \"model\","
    " \"batch\": \"pre2x9+dec2+spec2x3\"}";

/* The base case with members of `changes` (an object) set. */
static void make(bench *b, const char *changes) {
    gdn_error err = {0};
    json_t *json = json_loads(BASE, 0, NULL);
    json_t *more = json_loads(changes, 0, NULL);
    assert_non_null(more);
    json_object_update(json, more);
    if (gdn_case_from_json(&b->test, json, GDN_PROFILE_DIR, &err) != GDN_OK ||
        gdn_problem_create(&b->problem, &b->test, &err) != GDN_OK ||
        gdn_golden_create(&b->golden, &b->problem, &err) != GDN_OK) {
        fail_msg("%s: %s", changes, err.message);
    }
    json_decref(more);
    json_decref(json);
}

static void destroy(bench *b) {
    gdn_golden_destroy(&b->golden);
    gdn_problem_destroy(&b->problem);
    gdn_case_destroy(&b->test);
}

static const gdn_expected *expected(const bench *b, const char *name) {
    for (size_t i = 0; i < b->golden.n_outputs; i++) {
        if (strcmp(b->golden.outputs[i].tensor->name, name) == 0) {
            return &b->golden.outputs[i];
        }
    }
    fail_msg("no output %s", name);
    return NULL;
}

/* Row of local token t (non-spec sequences first). */
static int64_t row_of(bench *b, int64_t t) {
    const gdn_tensor *non_spec = gdn_arena_tensor(&b->problem.arena, "non_spec_token_indx");
    const gdn_tensor *spec = gdn_arena_tensor(&b->problem.arena, "spec_token_indx");
    const int64_t first = non_spec ? non_spec->shape[0] : 0;
    return t < first ? gdn_tensor_int(non_spec, t, 0) : gdn_tensor_int(spec, t - first, 0);
}

/* Golden outputs of every token are the same bits in both cases. */
static void assert_same_tokens(bench *a, bench *b) {
    const gdn_expected *x = expected(a, "core_attn_out");
    const gdn_expected *y = expected(b, "core_attn_out");
    assert_int_equal(x->n_rows, y->n_rows);
    for (int64_t t = 0; t < x->n_rows; t++) {
        const size_t bytes = (size_t)x->row_count * sizeof(double);
        /* All rows are written, so that index and row agree. */
        assert_int_equal(x->rows[t], t);
        assert_memory_equal(x->golden + row_of(a, t) * x->row_count,
                            y->golden + row_of(b, t) * y->row_count, bytes);
        assert_memory_equal(x->limit + row_of(a, t) * x->row_count,
                            y->limit + row_of(b, t) * y->row_count, bytes / 2);
    }
}

static void expect_same_numbers(const char *change) {
    bench a = {0}, b = {0};
    make(&a, "{}");
    make(&b, change);
    assert_string_not_equal(a.test.id, b.test.id);
    assert_same_tokens(&a, &b);
    destroy(&a);
    destroy(&b);
}

static void test_both_column_layouts_have_the_same_golden_bits(void **state) {
    (void)state;
    expect_same_numbers("{\"qkvz_layout\": \"separate\"}");
}

static void test_row_order_moves_tokens_and_changes_none(void **state) {
    (void)state;
    expect_same_numbers("{\"order\": \"interleaved\"}");
    expect_same_numbers("{\"order\": \"scattered\"}");
}

static void test_pages_padding_and_alignment_change_no_number(void **state) {
    (void)state;
    expect_same_numbers("{\"page_bytes\": 65536}");
    expect_same_numbers("{\"pad_rows\": 3}");
    expect_same_numbers("{\"misaligned\": true}");
}

static void test_conv_window_changes_states_but_no_output(void **state) {
    (void)state;
    expect_same_numbers("{\"profile\": \"vllm-xpu@a\"}");
}

static void test_no_poison_reaches_a_golden_value(void **state) {
    (void)state;
    static const char *const CHANGES[] = {
        "{\"pad_rows\": 2}",
        "{\"profile\": \"vllm-xpu@a\", \"seed\": 3}",
        "{\"initial\": \"none\", \"order\": \"scattered\", \"seed\": 1}",
        "{\"batch\": \"rag3x4+pre1x2\", \"seed\": 2}",
    };
    for (size_t i = 0; i < sizeof CHANGES / sizeof CHANGES[0]; i++) {
        bench b = {0};
        make(&b, CHANGES[i]);
        for (size_t n = 0; n < b.golden.n_outputs; n++) {
            const gdn_expected *e = &b.golden.outputs[n];
            for (int64_t j = 0; e->golden && j < e->n_rows * e->row_count; j++) {
                assert_true(isfinite(e->golden[j]));
                assert_true(isfinite(e->limit[j]) && e->limit[j] > 0.0F);
            }
        }
        destroy(&b);
    }
}

static void test_what_nobody_reads_is_poison(void **state) {
    (void)state;
    bench b = {0};
    make(&b, "{\"pad_rows\": 2, \"initial\": \"none\", \"batch\": \"pre2x9+spec1x3\"}");
    const gdn_tensor *qkvz = gdn_arena_tensor(&b.problem.arena, "projected_states_qkvz");
    const gdn_tensor *pool = gdn_arena_tensor(&b.problem.arena, "ssm_state");
    const gdn_tensor *slots =
        gdn_arena_tensor(&b.problem.arena, "spec_state_indices_tensor");
    const gdn_tensor *accepted = gdn_arena_tensor(&b.problem.arena, "num_accepted_tokens");
    for (int64_t i = 0; i < qkvz->shape[1]; i++) {
        assert_true(isnan(gdn_load(qkvz->data, qkvz->dtype, 21 * qkvz->stride[0] + i)));
        assert_true(!isnan(gdn_load(qkvz->data, qkvz->dtype, 20 * qkvz->stride[0] + i)));
    }
    const int64_t count = gdn_tensor_int(accepted, 0, 0);
    const int64_t live = gdn_tensor_int(slots, 0, count > 0 ? count - 1 : 0);
    for (int64_t slot = 0; slot < pool->shape[0]; slot++) {
        const double first = gdn_load(pool->data, pool->dtype, slot * pool->stride[0]);
        assert_true((isnan(first) != 0) == (slot != live));
    }
    destroy(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_column_layouts_have_the_same_golden_bits),
        cmocka_unit_test(test_row_order_moves_tokens_and_changes_none),
        cmocka_unit_test(test_pages_padding_and_alignment_change_no_number),
        cmocka_unit_test(test_conv_window_changes_states_but_no_output),
        cmocka_unit_test(test_no_poison_reaches_a_golden_value),
        cmocka_unit_test(test_what_nobody_reads_is_poison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
