/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The cases of conv.json, whose profile has every convention of the convolution: what they
 * refuse, what they leave as poison, and that no convention is idle in them. */
#include "expand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "problem.h"

static gdn_suite suite;

static int load_suite(void **state) {
    (void)state;
    gdn_error err = {0};
    if (gdn_suite_load(&suite, GDN_CONV_DIR "/suites", GDN_CONV_DIR "/profiles", "conv",
                       &err) != GDN_OK) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static int destroy_suite(void **state) {
    (void)state;
    gdn_suite_destroy(&suite);
    return 0;
}

typedef struct bench {
    gdn_case test; /* a copy whose conventions may be changed; owns nothing */
    gdn_problem problem;
    gdn_golden golden;
} bench;

static bool make(bench *b, const gdn_case *test, const char *field, const char *value) {
    gdn_error err = {0};
    *b = (bench){.test = *test};
    if (field) {
        assert_int_equal(gdn_conventions_set(&b->test.conventions, field, value, &err),
                         GDN_OK);
        if (gdn_conventions_check(&b->test.conventions, &err) != GDN_OK) {
            return false;
        }
    }
    if (gdn_problem_create(&b->problem, &b->test, &err) != GDN_OK ||
        gdn_golden_create(&b->golden, &b->problem, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    return true;
}

static void destroy(bench *b) {
    gdn_golden_destroy(&b->golden);
    gdn_problem_destroy(&b->problem);
}

/* Whether some output has another shape, other rows or another value. */
static bool outputs_differ(const bench *a, const bench *b) {
    if (a->golden.n_outputs != b->golden.n_outputs) {
        return true;
    }
    for (size_t i = 0; i < a->golden.n_outputs; i++) {
        const gdn_expected *x = &a->golden.outputs[i], *y = &b->golden.outputs[i];
        if (x->n_rows != y->n_rows || x->row_count != y->row_count ||
            memcmp(x->tensor->shape, y->tensor->shape, sizeof x->tensor->shape) != 0 ||
            memcmp(x->rows, y->rows, (size_t)x->n_rows * sizeof *x->rows) != 0) {
            return true;
        }
        const size_t count = (size_t)(x->n_rows * x->row_count);
        const size_t size = x->bits ? gdn_dtype_size(x->tensor->dtype) : sizeof(double);
        if (memcmp(x->bits ? x->bits : x->golden, y->bits ? y->bits : (void *)y->golden,
                   count * size) != 0) {
            return true;
        }
    }
    return false;
}

/* Whether the weight has another shape or other bytes: values belong to taps and channels,
 * so an order that is obeyed on both sides changes no output. */
static bool weights_differ(const bench *a, const bench *b) {
    const gdn_tensor *x = gdn_call_tensor(&a->problem.call, "weight");
    const gdn_tensor *y = gdn_call_tensor(&b->problem.call, "weight");
    return x && y &&
           (x->shape[0] != y->shape[0] ||
            memcmp(x->data, y->data,
                   (size_t)gdn_tensor_count(x) * gdn_dtype_size(x->dtype)) != 0);
}

static void expect_telling(const char *field, const char *value) {
    for (size_t i = 0; i < suite.n_cases; i++) {
        const gdn_case *test = &suite.cases[i];
        bench right, other;
        if (test->op != GDN_OP_CAUSAL_CONV1D || !make(&other, test, field, value)) {
            continue;
        }
        make(&right, test, NULL, NULL);
        const bool differs = strcmp(field, "conv_weight") == 0
                                 ? weights_differ(&right, &other)
                                 : outputs_differ(&right, &other);
        destroy(&right);
        destroy(&other);
        if (differs) {
            return;
        }
    }
    fail_msg("%s \"%s\" changes no golden byte", field, value);
}

static void test_every_convention_tells(void **state) {
    (void)state;
    static const char *const FIELDS[] = {"conv_window",  "conv_state_order", "conv_anchor",
                                         "conv_history", "conv_weight",      "conv_product",
                                         "buffer_rows",  "activation"};
    for (size_t i = 0; i < sizeof FIELDS / sizeof FIELDS[0]; i++) {
        const gdn_convention_field *field = gdn_convention_field_find(FIELDS[i]);
        for (int v = 0; v < field->correct; v++) {
            expect_telling(FIELDS[i], field->values[v]);
        }
    }
}

/* Whatever is not read, rows of intermediate tensors among it, is NaN and reaches
 * nothing. */
static void test_no_poison_reaches_a_golden_value(void **state) {
    (void)state;
    size_t windows = 0, trees = 0;
    for (size_t i = 0; i < suite.n_cases; i++) {
        bench b;
        make(&b, &suite.cases[i], NULL, NULL);
        for (size_t n = 0; n < b.golden.n_outputs; n++) {
            const gdn_expected *e = &b.golden.outputs[n];
            for (int64_t j = 0; e->golden && j < e->n_rows * e->row_count; j++) {
                assert_true(isfinite(e->golden[j]));
            }
            if (strcmp(e->tensor->name, "intermediate_conv_window") == 0) {
                windows++;
                for (int64_t j = 0; j < e->n_rows * e->row_count; j++) {
                    assert_true(isfinite(gdn_load(e->bits, e->tensor->dtype, j)));
                }
                assert_int_equal(e->n_rows, gdn_case_tokens(&b.test));
                assert_true(e->n_rows < e->tensor->shape[0]);
                assert_true(isnan(gdn_load(e->tensor->data, e->tensor->dtype, 0)));
            }
        }
        trees += gdn_call_tensor(&b.problem.call, "parent_token") != NULL;
        destroy(&b);
    }
    assert_true(windows >= 10 && trees >= 10);
}

static const char *const REFUSALS[][2] = {
    {"{'tree': 'star', 'batch': 'dec2'}", "the batch has no speculative sequences"},
    {"{'tree': 'star', 'profile': 'conv@packed'}",
     "the profile gives each draft column a slot"},
    {"{'tree': 'oak'}", "tree"},
    {"{'accepted': 'full'}", "the profile's convolution takes no count"},
    {"{'conv_rows': 3}", "conv_rows: expected 0 or more than 3"},
    {"{'conv_rows': 4097}", "conv_rows: expected an integer in [0, 4096]"},
    {"{'profile': 'conv@packed', 'conv_width': 3}",
     "conv_width: expected a multiple of the packed taps 2 but found 3"},
    {"{'profile': 'conv@packed', 'head_v_dim': 8}",
     "conv channels of a rank: expected a multiple of the packed block of 32 but found 48"},
    {"{'op': 'conv_weight_pack'}",
     "batch: expected dec1 for conv_weight_pack, which knows no tokens, but found "
     "\"spec2x4\""},
    {"{'op': 'conv_weight_pack', 'batch': 'dec1', 'conv_bias': true}",
     "conv_weight_pack does not read it"},
    {"{'op': 'gdn_attention', 'profile': 'conv@windows'}",
     "batch: expected no speculative sequences for gdn_attention"},
};

static json_t *parse(const char *text) {
    char json[512];
    snprintf(json, sizeof json, "%s", text);
    for (char *c = json; *c; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    json_t *value = json_loads(json, 0, NULL);
    assert_non_null(value);
    return value;
}

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof REFUSALS / sizeof REFUSALS[0]; i++) {
        json_t *json = parse("{'op': 'causal_conv1d', 'profile': 'conv@windows', 'batch': "
                             "'spec2x4', 'num_k_heads': 1, 'num_v_heads': 2, 'head_k_dim': "
                             "16, 'head_v_dim': 16}");
        json_t *more = parse(REFUSALS[i][0]);
        json_object_update(json, more);
        gdn_case test;
        gdn_error err = {0};
        assert_int_equal(gdn_case_from_json(&test, json, GDN_CONV_DIR "/profiles", &err),
                         GDN_ERR_ARG);
        if (!strstr(err.message, REFUSALS[i][1])) {
            fail_msg("%s: %s", REFUSALS[i][0], err.message);
        }
        json_decref(more);
        json_decref(json);
    }
}

static void test_ids_tell_trees_and_rows(void **state) {
    (void)state;
    json_t *json = parse("{'op': 'causal_conv1d', 'profile': 'conv@windows', 'batch': "
                         "'spec2x4', 'num_k_heads': 1, 'num_v_heads': 2, 'head_k_dim': 16, "
                         "'head_v_dim': 16, 'tree': 'star', 'conv_rows': 9}");
    gdn_case test;
    gdn_error err = {0};
    assert_int_equal(gdn_case_from_json(&test, json, GDN_CONV_DIR "/profiles", &err),
                     GDN_OK);
    assert_string_equal(test.id, "causal_conv1d/conv@windows/custom-hk1-hv2-k16-v16-w4/"
                                 "spec-spec2x4/bf16+fp32/star-rows9-n0");
    json_t *written = gdn_case_to_json(&test);
    assert_string_equal(json_string_value(json_object_get(written, "tree")), "star");
    assert_int_equal(json_integer_value(json_object_get(written, "conv_rows")), 9);
    json_decref(written);
    gdn_case_destroy(&test);
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_convention_tells),
        cmocka_unit_test(test_no_poison_reaches_a_golden_value),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_ids_tell_trees_and_rows),
    };
    return cmocka_run_group_tests(tests, load_suite, destroy_suite);
}
