/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the judge says of a wrong integer: which token, head, lane or state it is a copy of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "judge.h"
#include "lattice.h"

enum { HEADS = 4, V = 16, K = 64, TOKENS = 12 };

typedef struct bench {
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
} bench;

/* A case with every output as a right device leaves it. */
static void make(bench *b) {
    gdn_error err = {0};
    json_t *json = json_loads(
        "{\"op\": \"gated_delta_rule\", \"profile\": \"vllm-xpu@b\", \"batch\": \"pre2x6\","
        " \"fill\": \"lattice\", \"num_k_heads\": 2, \"num_v_heads\": 4, \"head_k_dim\": "
        "64,"
        " \"head_v_dim\": 16, \"initial\": \"all\"}",
        0, NULL);
    if (gdn_case_from_json(&b->test, json, GDN_PROFILE_DIR, &err) != GDN_OK ||
        gdn_problem_create(&b->problem, &b->test, &err) != GDN_OK ||
        gdn_golden_create(&b->golden, &b->problem, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    json_decref(json);
    for (size_t i = 0; i < b->golden.n_outputs; i++) {
        const gdn_expected *e = &b->golden.outputs[i];
        for (int64_t k = 0; k < e->n_rows * e->row_count; k++) {
            const int64_t at =
                e->rows[k / e->row_count] * e->tensor->stride[0] + k % e->row_count;
            gdn_store(e->tensor->data, e->tensor->dtype, at, e->golden[k]);
        }
    }
}

static void destroy(bench *b) {
    gdn_golden_destroy(&b->golden);
    gdn_problem_destroy(&b->problem);
    gdn_case_destroy(&b->test);
}

static void expect(bench *b, gdn_verdict verdict, const char *words) {
    gdn_case_result result = {0};
    gdn_error err = {0};
    assert_int_equal(gdn_judge_case(&b->problem, &b->golden, &result, &err), GDN_OK);
    assert_int_equal(result.verdict, verdict);
    if (words && !strstr(result.message, words)) {
        fail_msg("expected \"%s\" in: %s", words, result.message);
    }
    gdn_case_result_destroy(&result);
}

static const gdn_tensor *tensor(bench *b, const char *name) {
    return gdn_arena_tensor(&b->problem.arena, name);
}

static void put_out(bench *b, int64_t token, int64_t head, int64_t lane, double integer) {
    const gdn_tensor *out = tensor(b, "out");
    gdn_store(out->data, out->dtype, (token * HEADS + head) * V + lane, integer / sqrt(K));
}

/* The first token whose output is its own v, in every lane. */
static int64_t own_token(const bench *b, int64_t head) {
    const gdn_expected *e = &b->golden.outputs[b->golden.n_outputs - 1];
    assert_string_equal(e->tensor->name, "out");
    for (int64_t t = 0; t < TOKENS; t++) {
        int64_t same = 0;
        for (int64_t lane = 0; lane < V; lane++) {
            same += e->golden[(t * HEADS + head) * V + lane] * sqrt(K) ==
                    gdn_lattice_v(&b->test, t, head, lane);
        }
        if (same == V) {
            return t;
        }
    }
    fail_msg("no token reads what it wrote");
    return -1;
}

static void test_right_integers_pass(void **state) {
    (void)state;
    bench b = {0};
    make(&b);
    expect(&b, GDN_PASS, NULL);
    destroy(&b);
}

static void test_another_head_is_named(void **state) {
    (void)state;
    bench b = {0};
    char words[160];
    make(&b);
    const int64_t t = own_token(&b, 2);
    for (int64_t lane = 0; lane < V; lane++) {
        put_out(&b, t, 2, lane, gdn_lattice_v(&b.test, t, 0, lane));
    }
    snprintf(
        words, sizeof words,
        "expected v of token %d of sequence %d, head 2, found v of token %d of sequence "
        "%d, head 0",
        (int)t % 6, (int)t / 6, (int)t % 6, (int)t / 6);
    expect(&b, GDN_FAIL, words);
    destroy(&b);
}

static void test_another_token_is_named(void **state) {
    (void)state;
    bench b = {0};
    make(&b);
    const int64_t t = own_token(&b, 1);
    for (int64_t lane = 8; lane < V; lane++) {
        put_out(&b, t, 1, lane, gdn_lattice_v(&b.test, 7, 1, lane));
    }
    expect(&b, GDN_FAIL, "found v of token 1 of sequence 1, head 1 (8 lanes)");
    destroy(&b);
}

static void test_a_lost_update_is_the_start_state(void **state) {
    (void)state;
    bench b = {0};
    make(&b);
    const int64_t t = own_token(&b, 2);
    const gdn_tensor *k = tensor(&b, "k");
    int64_t key = 0;
    while (gdn_load(k->data, k->dtype, (t * 2 + 1) * K + key) == 0.0) {
        key++;
    }
    for (int64_t lane = 0; lane < V; lane++) {
        double row[K];
        gdn_fill_values(&b.test, GDN_FIELD_STATE, t / 6, 2 * V + lane, HEADS * V, K, row);
        put_out(&b, t, 2, lane, row[key]);
    }
    char words[96];
    snprintf(words, sizeof words,
             "found the start state of sequence %d, head 2, key lane %d", (int)t / 6,
             (int)key);
    expect(&b, GDN_FAIL, words);
    destroy(&b);
}

static void test_moved_lanes_and_sums_are_named(void **state) {
    (void)state;
    bench b = {0};
    make(&b);
    const int64_t t = own_token(&b, 0);
    for (int64_t lane = 0; lane < V; lane++) {
        put_out(&b, t, 0, lane, gdn_lattice_v(&b.test, t, 0, (lane + 4) % V));
    }
    expect(&b, GDN_FAIL, "lane 4 of the same line stands in lane 0");
    for (int64_t lane = 0; lane < V; lane++) {
        put_out(&b, t, 0, lane,
                gdn_lattice_v(&b.test, t, 0, lane) + gdn_lattice_v(&b.test, 7, 0, lane));
    }
    expect(&b, GDN_FAIL, "found that and v of token 1 of sequence 1, head 0");
    destroy(&b);
}

/* 1/32 is the limit, on either side. */
static void test_near_integers(void **state) {
    (void)state;
    bench b = {0};
    make(&b);
    const gdn_tensor *pool = tensor(&b, "ssm_state");
    const gdn_expected *e = NULL;
    for (size_t i = 0; i < b.golden.n_outputs; i++) {
        e = strcmp(b.golden.outputs[i].tensor->name, "ssm_state") ? e
                                                                  : &b.golden.outputs[i];
    }
    const int64_t at = e->rows[0] * pool->stride[0];
    gdn_store(pool->data, pool->dtype, at, e->golden[0] + 0.031);
    expect(&b, GDN_PASS, NULL);
    gdn_store(pool->data, pool->dtype, at, e->golden[0] - 0.032);
    expect(&b, GDN_FAIL, "lattice");
    gdn_store(pool->data, pool->dtype, at, e->golden[0] + 0.5);
    expect(&b, GDN_FAIL, "no integer, so more than an index is wrong");
    destroy(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_integers_pass),
        cmocka_unit_test(test_another_head_is_named),
        cmocka_unit_test(test_another_token_is_named),
        cmocka_unit_test(test_a_lost_update_is_the_start_state),
        cmocka_unit_test(test_moved_lanes_and_sums_are_named),
        cmocka_unit_test(test_near_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
