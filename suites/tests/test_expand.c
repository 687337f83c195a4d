/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* From suite files to cases: what expands to what, and every refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "expand.h"
#include "scratch.h"

#define SUITE(name) "{'schema': 1, 'suite': '" name "', 'summary': 's', "
#define BASE                                                                               \
    "'summary': 's', 'base': {'op': 'gdn_attention', 'profile': 'vllm-xpu@b', "            \
    "'num_k_heads': 2, 'num_v_heads': 4, 'head_k_dim': 8, 'head_v_dim': 8, 'batch': "      \
    "'dec1'}"
#define ONE_CASE "'groups': [{" BASE ", 'cases': [{}]}]}"

static int make_folder(void **state) {
    scratch *s = malloc(sizeof *s);
    scratch_create(s);
    *state = s;
    return 0;
}

static int remove_folder(void **state) {
    scratch_destroy(*state);
    free(*state);
    return 0;
}

static gdn_suite load(const scratch *s, const char *name) {
    gdn_error err = {0};
    gdn_suite suite;
    if (gdn_suite_load(&suite, s->dir, GDN_PROFILE_DIR, name, &err) != GDN_OK) {
        fail_msg("%s: %s", name, err.message);
    }
    return suite;
}

/* The parts of all ids after the batch, in order, separated by blanks. */
static void check_flags(const gdn_suite *suite, const char *expected) {
    char text[1024] = "";
    for (size_t i = 0; i < suite->n_cases; i++) {
        const char *dtype = strstr(suite->cases[i].id, "-w4/");
        dtype = dtype ? dtype : strstr(suite->cases[i].id, "-tp2/");
        assert_non_null(dtype);
        const size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? " " : "",
                 strchr(dtype, '/') + 1);
    }
    assert_string_equal(text, expected);
}

static void test_all_rows(void **state) {
    const scratch *s = *state;
    scratch_write(s, "t.json",
                  SUITE("t") "'groups': [{" BASE ", 'cover': 'all', 'axes': {"
                             "'batch': ['dec1', 'pre1x2'], "
                             "'types': [{'dtype': 'fp16', 'seed': 1}, {'dtype': 'fp32'}]}, "
                             "'cases': [{'seed': 9}, {'batch': 'dec3'}]}]}");
    gdn_suite suite = load(s, "t");
    assert_string_equal(suite.name, "t");
    assert_string_equal(suite.summary, "s");
    check_flags(&suite, "decode-dec1/fp16+fp32/int-n1 decode-dec1/fp32+fp32/int-n0 "
                        "prefill-pre1x2/fp16+fp32/int-n1 prefill-pre1x2/fp32+fp32/int-n0 "
                        "decode-dec1/bf16+fp32/int-n9 decode-dec3/bf16+fp32/int-n0");
    gdn_suite_destroy(&suite);
    gdn_suite_destroy(&suite);
}

static void test_excludes(void **state) {
    const scratch *s = *state;
    /* the second exclude meets seed 1 by the axis and seed 0 by the base */
    scratch_write(s, "t.json",
                  SUITE("t") "'groups': [{" BASE ", 'cover': 'all', 'axes': {"
                             "'batch': ['dec1', 'dec2', 'dec3'], "
                             "'types': [{'dtype': 'fp16'}, {'dtype': 'fp32', 'seed': 1}]}, "
                             "'exclude': [{'batch': ['dec1', 'dec3'], 'dtype': 'fp16'}, "
                             "{'batch': 'dec2', 'seed': 1}]}]}");
    gdn_suite suite = load(s, "t");
    check_flags(&suite, "decode-dec1/fp32+fp32/int-n1 decode-dec2/fp16+fp32/int-n0 "
                        "decode-dec3/fp32+fp32/int-n1");
    gdn_suite_destroy(&suite);
}

static void test_pairs(void **state) {
    const scratch *s = *state;
    scratch_write(s, "t.json",
                  SUITE("t") "'groups': [{" BASE ", 'axes': {"
                             "'pad_rows': [0, 1], 'conv_bias': [false, true], "
                             "'fill': ['normal', 'model']}}]}");
    gdn_suite suite = load(s, "t");
    assert_true(suite.n_cases >= 4 && suite.n_cases < 8);
    gdn_suite_destroy(&suite);
}

static void test_includes(void **state) {
    const scratch *s = *state;
    scratch_write(s, "low.json",
                  SUITE("low") "'groups': [{" BASE ", 'cases': [{}, {'seed': 1}]}]}");
    scratch_write(s, "twin.json",
                  SUITE("twin") "'groups': [{" BASE
                                ", 'cases': [{'seed': 1}, {'seed': 2}]}]}");
    scratch_write(s, "mid.json",
                  SUITE("mid") "'include': ['low'], 'groups': [{" BASE
                               ", 'cases': [{'seed': 3}]}]}");
    scratch_write(s, "top.json", SUITE("top") "'include': ['mid', 'low', 'twin']}");
    gdn_suite suite = load(s, "top");
    check_flags(&suite, "decode-dec1/bf16+fp32/int-n0 decode-dec1/bf16+fp32/int-n1 "
                        "decode-dec1/bf16+fp32/int-n3 decode-dec1/bf16+fp32/int-n2");
    gdn_suite_destroy(&suite);
    suite = load(s, "all");
    assert_int_equal(suite.n_cases, 4);
    assert_string_equal(suite.name, "all");
    gdn_suite_destroy(&suite);
    gdn_names names;
    assert_int_equal(gdn_suite_names(&names, s->dir, NULL), GDN_OK);
    assert_int_equal(names.count, 4);
    assert_string_equal(names.items[0], "low");
    assert_string_equal(names.items[3], "twin");
    assert_null(names.items[4]);
    gdn_names_destroy(&names);
}

#define AXES(text) SUITE("t") "'groups': [{" BASE ", 'axes': " text "}]}"

static const struct {
    const char *text;
    gdn_status status;
    const char *first, *second;
} REFUSALS[] = {
    {SUITE("t") "'groups': [", GDN_ERR_FORMAT, "t.json:1:", ""},
    {SUITE("u") ONE_CASE, GDN_ERR_FORMAT, "t.json: $.suite", "\"u\""},
    {"{'schema': 2, 'suite': 't'}", GDN_ERR_FORMAT, "$.schema", "newer"},
    {"{'schema': '1', 'suite': 't'}", GDN_ERR_FORMAT, "$.schema", "\"1\""},
    {SUITE("t") "'grups': []}", GDN_ERR_FORMAT, "$: member name",
     "did you mean \"groups\""},
    {"{'schema': 1, 'suite': 't', 'groups': []}", GDN_ERR_FORMAT, "$.summary", "nothing"},
    {SUITE("t") "'groups': {}}", GDN_ERR_FORMAT, "$.groups: expected a list", "{}"},
    {"{'schema': 1, 'suite': 't', 'summary': ''}", GDN_ERR_FORMAT, "$.groups", "nothing"},
    {SUITE("t") "'groups': []}", GDN_ERR_FORMAT, "expected cases", "none"},
    {SUITE("t") "'groups': [7]}", GDN_ERR_FORMAT, "$.groups[0]: expected an object", "7"},
    {SUITE("t") "'groups': [{'summary': ''}]}", GDN_ERR_FORMAT, "$.groups[0]", "neither"},
    {SUITE("t") "'groups': [{'cases': [{}]}]}", GDN_ERR_FORMAT, "$.groups[0].summary", ""},
    {SUITE("t") "'groups': [{'summary': '', 'base': []}]}", GDN_ERR_FORMAT,
     "$.groups[0].base: expected an object", "[]"},
    {SUITE("t") "'groups': [{" BASE ", 'cases': []}]}", GDN_ERR_FORMAT, "$.groups[0].cases",
     "[]"},
    {SUITE("t") "'groups': [{" BASE ", 'cases': [{}, 3]}]}", GDN_ERR_FORMAT,
     "$.groups[0].cases[1]: expected an object", "3"},
    /* axes */
    {AXES("[]"), GDN_ERR_FORMAT, "$.groups[0].axes: expected", "[]"},
    {AXES("{'batch': 'dec1'}"), GDN_ERR_FORMAT, "axes.batch: expected a list", "dec1"},
    {AXES("{'batch': []}"), GDN_ERR_FORMAT, "axes.batch: expected a list", "[]"},
    {AXES("{'batch': ['dec1', ['dec2']]}"), GDN_ERR_FORMAT, "axes.batch[1]", "[\"dec2\"]"},
    {AXES("{'batch': ['dec1', 'dec1']}"), GDN_ERR_FORMAT, "axes.batch[1]",
     "each value once"},
    {AXES("{'seed': [1, 2], 'more': [{'pad_rows': 1, 'seed': 3}]}"), GDN_ERR_FORMAT,
     "axes.more", "axis \"seed\" sets too"},
    {AXES("{'more': [{'seed': 3}], 'seed': [1, 2]}"), GDN_ERR_FORMAT, "axes.seed",
     "axis \"more\" sets too"},
    {AXES("{'seed': [1, 2]}, 'cover': 'some'"), GDN_ERR_FORMAT, "cover: expected", "some"},
    {AXES("{'colour': ['red']}"), GDN_ERR_FORMAT, "\"colour\"", "$.groups[0]"},
    /* excludes */
    {AXES("{'seed': [1, 2]}, 'exclude': {}"), GDN_ERR_FORMAT, "exclude: expected a list",
     ""},
    {AXES("{'seed': [1, 2]}, 'exclude': [{}]"), GDN_ERR_FORMAT, "exclude[0]: expected", ""},
    {AXES("{'seed': [1, 2]}, 'exclude': [{'seed': 3}]"), GDN_ERR_FORMAT,
     "exclude[0].seed: expected a value that the group has", "3"},
    {AXES("{'seed': [1, 2]}, 'exclude': [{'sed': 1}]"), GDN_ERR_FORMAT, "exclude[0].sed",
     "1"},
    {AXES("{'seed': [1, 2]}, 'exclude': [{'seed': [1, 2]}]"), GDN_ERR_FORMAT, "$.groups[0]",
     "leave no case"},
    {AXES("{'seed': [1, 2], 'pad_rows': [0, 1]}, 'exclude': [{'seed': 2}]"), GDN_ERR_FORMAT,
     "axes.seed[1]", "the excludes leave"},
    /* cases */
    {SUITE("t") "'groups': [{" BASE ", 'cases': [{'dtype': 'fp61'}]}]}", GDN_ERR_FORMAT,
     "t.json: $.groups[0].cases[0]: dtype: expected one of fp32", "did you mean \"fp16\""},
    {AXES("{'dtype': ['bf16', 'half']}"), GDN_ERR_FORMAT, "$.groups[0]: dtype: expected",
     "in case {\"op\":\"gdn_attention\""},
    {AXES("{'profile': ['vllm-xpu@z']}"), GDN_ERR_FORMAT, "variant of profile vllm-xpu",
     "\"z\""},
    {SUITE("t") "'groups': [{" BASE ", 'cases': [{}]}, {" BASE
                ", 'cases': [{'seed': 0}]}]}",
     GDN_ERR_FORMAT, "$.groups[1].cases[0]: expected ids to be unique",
     "groups[0].cases[0] has too"},
    {AXES("{'seed': [1, 2]}, 'cases': [{'seed': 2}]"), GDN_ERR_FORMAT, "ids to be unique",
     "n2"},
    /* includes */
    {SUITE("t") "'include': 'low'}", GDN_ERR_FORMAT, "$.include: expected a list", "low"},
    {SUITE("t") "'include': [1]}", GDN_ERR_FORMAT, "$.include[0]", "1"},
    {SUITE("t") "'include': ['lowe']}", GDN_ERR_FORMAT,
     "$.include[0]: suite: expected one of", "did you mean \"low\""},
    {SUITE("t") "'include': ['loop']}", GDN_ERR_FORMAT, "suite t", "circle of includes"},
    {SUITE("t") "'include': ['low'], " ONE_CASE, GDN_ERR_FORMAT,
     "t.json: $.groups[0].cases[0]: expected ids to be unique", "low.json: $.groups[0]"},
};

static void test_refusals(void **state) {
    const scratch *s = *state;
    scratch_write(s, "low.json", SUITE("low") ONE_CASE);
    scratch_write(s, "loop.json", SUITE("loop") "'include': ['t']}");
    for (size_t i = 0; i < sizeof REFUSALS / sizeof REFUSALS[0]; i++) {
        gdn_suite suite;
        gdn_error err = {0};
        scratch_write(s, "t.json", REFUSALS[i].text);
        const gdn_status status =
            gdn_suite_load(&suite, s->dir, GDN_PROFILE_DIR, "t", &err);
        if (status != REFUSALS[i].status || !strstr(err.message, REFUSALS[i].first) ||
            !strstr(err.message, REFUSALS[i].second) || strchr(err.message, '\n')) {
            fail_msg("%s: %s: %s", REFUSALS[i].text, gdn_status_name(status), err.message);
        }
        assert_null(suite.cases);
        assert_null(suite.name);
    }
}

static void test_names_that_do_not_exist(void **state) {
    const scratch *s = *state;
    scratch_write(s, "smoke.json", SUITE("smoke") ONE_CASE);
    scratch_write(s, "suite.schema.json", "{}");
    static const char *const wrong[] = {"smok", "smokee", "suite.schema", "../x/smoke", ""};
    gdn_suite suite;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        gdn_error err = {0};
        assert_int_equal(gdn_suite_load(&suite, s->dir, GDN_PROFILE_DIR, wrong[i], &err),
                         GDN_ERR_ARG);
        assert_non_null(strstr(err.message, "suite: expected one of smoke but found"));
        assert_int_equal(strstr(err.message, "did you mean \"smoke\"?") != NULL, i < 2);
    }
    gdn_error err = {0};
    assert_int_equal(gdn_suite_load(&suite, "/nonexistent", GDN_PROFILE_DIR, "smoke", &err),
                     GDN_ERR_IO);
    assert_non_null(strstr(err.message, "/nonexistent"));
    err = (gdn_error){0};
    assert_int_equal(gdn_suite_load(&suite, s->dir, "/nonexistent", "smoke", &err),
                     GDN_ERR_IO);
    assert_non_null(strstr(err.message, "smoke.json: $.groups[0].cases[0]: /nonexistent"));
}

static void test_too_many(void **state) {
    const scratch *s = *state;
    char text[4096] = AXES("{'seed': [0");
    text[strlen(text) - strlen("}]}")] = '\0';
    for (int i = 1; i < 80; i++) {
        const size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, ", %d", i);
    }
    strcat(text, "], 'pad_rows': [0");
    for (int i = 1; i < 60; i++) {
        const size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, ", %d", i);
    }
    strcat(text, "]}, 'cover': 'all'}]}");
    scratch_write(s, "t.json", text);
    gdn_suite suite;
    gdn_error err = {0};
    assert_int_equal(gdn_suite_load(&suite, s->dir, GDN_PROFILE_DIR, "t", &err),
                     GDN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "$.groups[0]: expected at most 4096 cases"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_rows, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_excludes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_pairs, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_includes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_refusals, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_names_that_do_not_exist, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_too_many, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
