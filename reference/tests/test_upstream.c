/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What upstream's tests would say, and how a profile says which test that is. */
#include "gdn/profile.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

static const gdn_upstream ALLCLOSE = {.metric = GDN_UPSTREAM_ALLCLOSE, .equal_nan = true};
static const gdn_upstream RATIO = {
    .metric = GDN_UPSTREAM_RMS_RATIO, .ratio = 0.005, .atol = 1e-6};
static const gdn_upstream NMSE = {.metric = GDN_UPSTREAM_NMSE, .ratio = 1e-7};

static void test_each_metric_at_its_edge(void **state) {
    (void)state;
    const struct {
        const gdn_upstream *policy;
        gdn_upstream_sums sums;
        bool accepts;
    } ROWS[] = {
        {&ALLCLOSE, {.close = true, .largest = 9.0}, true},
        {&ALLCLOSE, {.close = false}, false},
        {&ALLCLOSE, {.close = true, .nan_pairs = true}, true},
        {&ALLCLOSE, {.close = true, .special_wrong = true}, false},
        {&RATIO, {.nan_pairs = true}, false}, /* FLA: NaN on either side fails */
        {&RATIO,
         {.largest = 1.0,
          .error_square = 4 * 0.0049 * 0.0049,
          .golden_square = 4,
          .count = 4},
         true},
        {&RATIO,
         {.largest = 1.0,
          .error_square = 4 * 0.0051 * 0.0051,
          .golden_square = 4,
          .count = 4},
         false},
        {&RATIO, {.largest = 1e-6, .error_square = 1e-12, .count = 1}, true}, /* by atol */
        {&NMSE, {.error_square = 0.99e-7, .found_square = 1.0}, true},
        {&NMSE, {.error_square = 1.01e-7, .found_square = 1.0}, false},
        /* Normalised by what the device wrote: all zeros fail, any error over them too. */
        {&NMSE, {.error_square = 1.0, .found_square = 0.0, .golden_square = 1.0}, false},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        if (gdn_upstream_accepts(ROWS[i].policy, &ROWS[i].sums) != ROWS[i].accepts) {
            fail_msg("row %zu", i);
        }
    }
}

static gdn_status read(const char *text, gdn_upstream *outputs, gdn_upstream *states,
                       gdn_error *err) {
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    *err = (gdn_error){0};
    const gdn_status status =
        gdn_upstream_from_json(outputs, states, root, "f.json: $", err);
    json_decref(root);
    return status;
}

static void test_states_may_have_numbers_of_their_own(void **state) {
    (void)state;
    gdn_upstream o, s;
    gdn_error err;
    assert_int_equal(read("{\"upstream\": {\"metric\": \"allclose\", \"atol\": 0.01, "
                          "\"rtol\": 0.02, \"state\": {\"rtol\": 0.001}}}",
                          &o, &s, &err),
                     GDN_OK);
    assert_true(o.atol == 0.01 && o.rtol == 0.02 && !o.equal_nan);
    assert_true(s.atol == 0.01 && s.rtol == 0.001);
}

static void test_a_profile_without_one_has_the_widest(void **state) {
    (void)state;
    gdn_upstream o, s;
    gdn_error err;
    assert_int_equal(read("{}", &o, &s, &err), GDN_OK);
    assert_true(o.metric == GDN_UPSTREAM_ALLCLOSE && o.atol == 5e-2 && o.rtol == 5e-2);
    assert_true(o.equal_nan && s.equal_nan && s.atol == 5e-2);
}

static void test_bad_input_names_its_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } ROWS[] = {
        {"{\"upstream\": 3}", "f.json: $.upstream"},
        {"{\"upstream\": {\"metric\": \"nmsee\"}}", "$.upstream.metric"},
        {"{\"upstream\": {\"metric\": \"nmse\", \"ratio\": -1}}", "$.upstream.ratio"},
        {"{\"upstream\": {\"metric\": \"nmse\", \"ratoi\": 1}}", "ratoi"},
        {"{\"upstream\": {\"metric\": \"nmse\", \"equal_nan\": 1}}",
         "$.upstream.equal_nan"},
        {"{\"upstream\": {\"metric\": \"nmse\", \"state\": {\"metric\": 1}}}",
         "$.upstream.state"},
        {"{\"upstream\": {}}", "$.upstream"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        gdn_upstream o, s;
        gdn_error err;
        assert_int_equal(read(ROWS[i].text, &o, &s, &err), GDN_ERR_FORMAT);
        if (!strstr(err.message, ROWS[i].message)) {
            fail_msg("%s: %s", ROWS[i].text, err.message);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_metric_at_its_edge),
        cmocka_unit_test(test_states_may_have_numbers_of_their_own),
        cmocka_unit_test(test_a_profile_without_one_has_the_widest),
        cmocka_unit_test(test_bad_input_names_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
