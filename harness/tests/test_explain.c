/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The terms of a limit: that they add up to what the judge uses, in every class, and that
 * each is what its source does by itself. */
#include "explain.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

static const char CASE[] =
    "{\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu\", \"batch\": \"pre1x70+dec1\","
    " \"num_k_heads\": 1, \"num_v_heads\": 2, \"head_k_dim\": 8, \"head_v_dim\": 6,"
    " \"state_dtype\": \"bf16\", \"fill\": \"model\"}";

typedef struct bench {
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
} bench;

static void begin(bench *b, gdn_numeric_class chunk_class, gdn_state_carry carry) {
    gdn_error err = {0};
    json_t *json = json_loads(CASE, 0, NULL);
    *b = (bench){0};
    assert_int_equal(gdn_case_from_json(&b->test, json, GDN_PROFILE_DIR, &err), GDN_OK);
    b->test.conventions.chunk_class = chunk_class;
    b->test.conventions.state_carry = carry;
    assert_int_equal(gdn_problem_create(&b->problem, &b->test, &err), GDN_OK);
    assert_int_equal(gdn_golden_create(&b->golden, &b->problem, &err), GDN_OK);
    json_decref(json);
}

static void end(bench *b) {
    gdn_golden_destroy(&b->golden);
    gdn_problem_destroy(&b->problem);
    gdn_case_destroy(&b->test);
}

static gdn_explanation explain(const bench *b, const char *element) {
    gdn_error err = {0};
    gdn_explanation e;
    if (gdn_explain(&e, &b->problem, &b->golden, element, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    return e;
}

static double term(const gdn_explanation *e, const char *name) {
    for (size_t i = 0; i < GDN_EXPLAIN_TERMS; i++) {
        if (strcmp(e->terms[i].name, name) == 0) {
            return e->terms[i].value;
        }
    }
    fail_msg("no term %s", name);
    return 0.0;
}

static void expect_sum(const gdn_explanation *e) {
    double sum = 0.0;
    for (size_t i = 0; i < GDN_EXPLAIN_TERMS; i++) {
        sum += e->terms[i].value;
    }
    /* Each limit is rounded up to fp32. */
    assert_true(fabs(sum - e->bound) <= 1e-6 * e->bound);
}

static void test_terms_add_up_to_the_limit_that_is_judged_by(void **state) {
    (void)state;
    static const gdn_numeric_class classes[] = {GDN_CLASS_FP32, GDN_CLASS_BF16_MMA,
                                                GDN_CLASS_FP16_MMA};
    static const gdn_state_carry carries[] = {GDN_CARRY_CALL, GDN_CARRY_CHUNK,
                                              GDN_CARRY_TOKEN};
    for (size_t i = 0; i < 9; i++) {
        bench b;
        begin(&b, classes[i % 3], carries[i / 3]);
        const gdn_explanation o = explain(&b, "core_attn_out[69,1,3]");
        expect_sum(&o);
        assert_true(term(&o, "store") > 0.0 && term(&o, "decay") > 0.0);
        assert_true((term(&o, "operands") > 0.0) == (i % 3 > 0));
        assert_true(gdn_explained_limit(&o) <= o.bound);
        assert_true((o.binding == GDN_LIMIT_BOUND) == (o.bound <= o.floor_element));
        end(&b);
    }
}

static void test_a_state_does_not_hang_on_the_query(void **state) {
    (void)state;
    bench b;
    begin(&b, GDN_CLASS_FP32, GDN_CARRY_CALL);
    char element[64];
    const gdn_expected *e = &b.golden.outputs[b.golden.n_outputs - 1];
    assert_string_equal(e->tensor->name, "ssm_state");
    snprintf(element, sizeof element, "ssm_state[%lld,0,2,4]", (long long)e->rows[0]);
    const gdn_explanation s = explain(&b, element);
    expect_sum(&s);
    assert_true(term(&s, "dq") == 0.0);
    assert_true(term(&s, "dk") > 0.0 && term(&s, "beta") > 0.0);
    end(&b);
}

/* One bf16 store of an exact value: half an ulp at most, by hand u (|x| + err) + eta. */
static void test_the_store_is_what_rounding_does(void **state) {
    (void)state;
    bench b;
    begin(&b, GDN_CLASS_FP32, GDN_CARRY_CALL);
    const gdn_explanation o = explain(&b, "core_attn_out[3,0,1]");
    const double error = o.bound - term(&o, "store");
    assert_true(fabs(term(&o, "store") - 0x1p-8 * fabs(o.golden)) <=
                0x1p-8 * error + 1e-6 * o.bound);
    end(&b);
}

static void test_what_cannot_be_explained_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *element, *message;
    } ROWS[] = {
        {"z[0,0,0]", "z is a copy"},
        {"cor_attn_out[0,0,0]", "did you mean"},
        {"core_attn_out[0,0]", "expected 3 indices in [] but found \"[0,0]\""},
        {"core_attn_out", "expected 3 indices"},
        {"core_attn_out[0,0,0]x", "unexpected \"x\""},
        {"core_attn_out[0,0,6]", "expected index 2 in [0,6) but found 6"},
        {"core_attn_out[0,-1,0]", "expected index 1 in [0,2) but found -1"},
        {"ssm_state[0,0,0,0]", "none that the op writes"},
    };
    bench b;
    begin(&b, GDN_CLASS_FP32, GDN_CARRY_CALL);
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        gdn_error err = {0};
        gdn_explanation e;
        assert_int_equal(gdn_explain(&e, &b.problem, &b.golden, ROWS[i].element, &err),
                         GDN_ERR_ARG);
        if (!strstr(err.message, ROWS[i].message)) {
            fail_msg("%s: %s", ROWS[i].element, err.message);
        }
    }
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terms_add_up_to_the_limit_that_is_judged_by),
        cmocka_unit_test(test_a_state_does_not_hang_on_the_query),
        cmocka_unit_test(test_the_store_is_what_rounding_does),
        cmocka_unit_test(test_what_cannot_be_explained_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
