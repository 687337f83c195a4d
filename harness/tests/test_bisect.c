/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A state that goes wrong at one token, in one head and some lanes, is found there by runs on
 * prefixes, whatever the token; a device that is right, or that dies, gives no word. */
#include "bisect.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

#include "mutate.h"

typedef struct fault {
    int64_t token, head, lanes; ///< the state's lanes 0 .. lanes-1 are off from then on
    int runs, dies_at;          ///< no answer from this run on; -1: never
} fault;

static gdn_status run_faulty(void *context, const gdn_problem *problem, bool *ran,
                             gdn_case_result *result, gdn_error *err) {
    fault *f = context;
    const gdn_conventions right = *problem->call.conventions;
    const gdn_tensor *state = gdn_call_tensor(&problem->call, "ssm_state");
    const gdn_tensor *slots = gdn_call_tensor(&problem->call, "state_indices");
    (void)result;
    *ran = f->dies_at < 0 || f->runs < f->dies_at;
    f->runs++;
    GDN_TRY(gdn_mutate_run(problem, &right, err));
    if (problem->test->sequences[0].length > f->token) {
        for (int64_t v = 0; v < f->lanes; v++) {
            const int64_t at[] = {gdn_tensor_int(slots, 0, 0), f->head, v, 1};
            const int64_t place = gdn_tensor_offset(state, at);
            gdn_store(state->data, state->dtype, place,
                      gdn_load(state->data, state->dtype, place) + 0.5);
        }
    }
    return GDN_OK;
}

static gdn_case_result bisect(fault *f) {
    static const char CASE[] =
        "{\"op\": \"gated_delta_rule\", \"profile\": \"vllm-xpu\", \"batch\": "
        "\"pre1x70+pre1x9\", \"num_k_heads\": 2, \"num_v_heads\": 4, \"head_k_dim\": 8, "
        "\"head_v_dim\": 6}";
    json_t *json = json_loads(CASE, 0, NULL);
    gdn_case test;
    gdn_error err = {0};
    gdn_case_result result = {0};
    const gdn_executor executor = {.run = run_faulty, .context = f};
    assert_int_equal(gdn_case_from_json(&test, json, GDN_PROFILE_DIR, &err), GDN_OK);
    json_decref(json);
    f->runs = 0;
    if (gdn_bisect(&test, &executor, &result, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    gdn_case_destroy(&test);
    return result;
}

static void test_first_token_is_found(void **state) {
    (void)state;
    for (int64_t token = 0; token < 70; token += 3) {
        fault f = {
            .token = token, .head = token % 4, .lanes = 1 + token % 6, .dies_at = -1};
        char expected[128];
        snprintf(expected, sizeof expected,
                 "first wrong token %lld of sequence 0: ssm_state, head %lld, lanes 0-%lld",
                 (long long)token, (long long)f.head, (long long)f.lanes - 1);
        gdn_case_result result = bisect(&f);
        assert_non_null(result.first_wrong);
        assert_string_equal(result.first_wrong, expected);
        assert_true(f.runs <= 8); /* log2 of 70, and one */
        gdn_case_result_destroy(&result);
    }
}

static void test_no_word(void **state) {
    (void)state;
    fault right = {.token = 1000, .dies_at = -1};
    gdn_case_result result = bisect(&right);
    assert_null(result.first_wrong);
    fault dies = {.token = 20, .lanes = 1, .dies_at = 2};
    result = bisect(&dies);
    assert_null(result.first_wrong);
    assert_int_equal(dies.runs, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_token_is_found),
        cmocka_unit_test(test_no_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
