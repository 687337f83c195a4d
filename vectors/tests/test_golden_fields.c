/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* That the conventions of the recurrence and its gates are real: each changes golden
 * values. */
#include "problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

/* Goldens of a case in one number; addition does not care for order. */
static uint64_t fingerprint(const gdn_golden *golden) {
    uint64_t sum = 0;
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        for (int64_t j = 0; j < e->n_rows; j++) {
            sum += (uint64_t)(e->rows[j] + 1) * 0x9e3779b97f4a7c15U * (i + 1);
        }
        for (int64_t j = 0; e->golden && j < e->n_rows * e->row_count; j++) {
            uint64_t bits;
            memcpy(&bits, &e->golden[j], sizeof bits);
            sum += bits * (2 * (uint64_t)j + 3);
        }
    }
    return sum;
}

static uint64_t golden_with(const char *text, const char *field, const char *value) {
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_int_equal(gdn_case_from_json(&test, json, GDN_TEST_PROFILE_DIR, NULL), GDN_OK);
    json_decref(json);
    assert_int_equal(gdn_conventions_set(&test.conventions, field, value, NULL), GDN_OK);
    assert_int_equal(gdn_problem_create(&problem, &test, NULL), GDN_OK);
    assert_int_equal(gdn_golden_create(&golden, &problem, NULL), GDN_OK);
    const uint64_t sum = fingerprint(&golden);
    gdn_golden_destroy(&golden);
    gdn_problem_destroy(&problem);
    gdn_case_destroy(&test);
    return sum;
}

#define RULE(profile, batch, more)                                                         \
    "{\"op\":\"gated_delta_rule\",\"profile\":\"bench@" profile "\",\"batch\":\"" batch    \
    "\",\"num_k_heads\":2,\"num_v_heads\":4,\"head_k_dim\":8,\"head_v_dim\":6" more "}"
#define FUSED(batch)                                                                       \
    "{\"op\":\"gdn_attention\",\"profile\":\"bench@slots\",\"batch\":\"" batch             \
    "\",\"num_k_heads\":1,\"num_v_heads\":33,\"head_k_dim\":8,\"head_v_dim\":6,\"pad_"     \
    "rows\":2}"

/* Every convention of the recurrence and its gates means something: between any two of its
 * values the golden values of some case differ. */
static void test_every_field_changes_golden_values(void **state) {
    (void)state;
    static const struct {
        const char *field, *values[4], *text;
    } ROWS[] = {
        {"gate_input", {"log", "decay"}, RULE("slots", "dec2", "")},
        {"beta_input", {"value", "logits"}, RULE("slots", "dec2", "")},
        {"beta_storage", {"fp32", "activation"}, RULE("slots", "dec2", "")},
        {"beta_rounding",
         {"none", "once", "thrice_in_decode"},
         RULE("slots", "dec4", ",\"gates\":\"fused\"")},
        {"beta_tail", {"as_others", "thrice"}, FUSED("pre2x9")},
        {"l2norm_form", {"inside", "outside", "max"}, RULE("slots", "dec2", "")},
        {"chunk_qk", {"none", "storage", "scaled"}, RULE("slots", "pre1x9", "")},
        {"pad_sequences",
         {"skipped", "zeroed", "from_zero"},
         RULE("slots", "dec2+pad3", "")},
        {"pad_rows", {"kept", "zeroed"}, FUSED("dec2+pad2")},
        {"buffer_rows", {"by_request", "by_index"}, RULE("buffer", "spec4x3", "")},
        {"state_carry",
         {"call", "chunk", "token"},
         RULE("slots", "pre1x70", ",\"state_dtype\":\"bf16\"")},
        {"state_carry",
         {"call", "chunk", "kernel"},
         RULE("slots", "pre1x70", ",\"state_dtype\":\"bf16\",\"chunked\":false")},
        {"softplus_beta", {"1", "2"}, RULE("slots", "dec2", ",\"gates\":\"fused\"")},
        {"l2norm_eps", {"1e-6", "1e-5"}, RULE("slots", "dec2", "")},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        for (int a = 0; a < 4 && ROWS[i].values[a]; a++) {
            for (int b = 0; b < a; b++) {
                if (golden_with(ROWS[i].text, ROWS[i].field, ROWS[i].values[a]) ==
                    golden_with(ROWS[i].text, ROWS[i].field, ROWS[i].values[b])) {
                    fail_msg("%s: \"%s\" and \"%s\" give the same values", ROWS[i].field,
                             ROWS[i].values[a], ROWS[i].values[b]);
                }
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_changes_golden_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
