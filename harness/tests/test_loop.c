/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Loops of the suite with few steps: the reference says what plain decoding says, and a
 * fault in a stage is named with its first wrong step and call. Many steps, and every
 * deviation, are the suite's own tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "expand.h"
#include "loop.h"
#include "mutate.h"

enum { STEPS = 24 };

static gdn_suite suite;

static int load(void **state) {
    gdn_error err = {0};
    (void)state;
    if (gdn_suite_load(&suite, GDN_SUITE_DIR, GDN_PROFILE_DIR, "spec-loop", &err) !=
        GDN_OK) {
        print_error("%s\n", err.message);
        return 1;
    }
    for (size_t i = 0; i < suite.n_cases; i++) {
        suite.cases[i].verify.steps = STEPS;
    }
    return 0;
}

static int unload(void **state) {
    (void)state;
    gdn_suite_destroy(&suite);
    return 0;
}

static gdn_case_result run(const gdn_case *test, const char *deviation) {
    const gdn_executor executor =
        gdn_mutate_executor(deviation ? gdn_deviation_find(deviation) : NULL);
    gdn_doctor doctor = {0};
    const gdn_loop_options options = {GDN_PROFILE_DIR, true, &doctor};
    gdn_case_result result = {.kernel_seconds = -1.0};
    gdn_error err = {0};
    if (gdn_loop_run(test, &executor, &options, &result, &err) != GDN_OK) {
        fail_msg("%s: %s", test->id, err.message);
    }
    gdn_doctor_destroy(&doctor);
    return result;
}

static void test_reference_loops(void **state) {
    (void)state;
    for (size_t i = 0; i < suite.n_cases; i++) {
        gdn_case_result result = run(&suite.cases[i], NULL);
        if (result.verdict != GDN_PASS) {
            fail_msg("%s: %s", suite.cases[i].id, result.message);
        }
        gdn_case_result_destroy(&result);
    }
}

static const gdn_case *find(const char *profile, gdn_op op) {
    for (size_t i = 0; i < suite.n_cases; i++) {
        const gdn_case *test = &suite.cases[i];
        if (strcmp(test->profile, profile) == 0 && test->op == op &&
            test->verify.scenario == GDN_SCENARIO_MIXED) {
            return test;
        }
    }
    fail_msg("no loop of %s", profile);
    return NULL;
}

/* A fault in each stage: what found it, and the call that made it. */
static void test_faults_are_named(void **state) {
    static const struct {
        const char *deviation, *profile;
        gdn_op verifier;
        const char *call;
    } FAULTS[] = {
        {"accepted_off_by_one", "vllm-v1", GDN_OP_REJECTION_SAMPLE,
         "step 0, causal_conv1d"},
        {"last_column_only", "sglang", GDN_OP_VERIFY_TREE_GREEDY,
         "step 0, gated_delta_rule"},
        {"verify_from_first", "sglang-npu@verify", GDN_OP_VERIFY_TREE_GREEDY,
         "step 0, causal_conv1d"},
        {"draft_shifted", "fastdeploy-xpu@b", GDN_OP_VERIFY_DRAFT_TOKENS,
         "verify_draft_tokens"},
        {"bonus_missing", "vllm-mrv2", GDN_OP_REJECTION_SAMPLE, "rejection_sample"},
        {"count_with_bonus", "sglang", GDN_OP_VERIFY_TREE_GREEDY,
         "step 0, verify_tree_greedy: accept_token_num"},
        {"commit_off_by_one", "fastdeploy-gpu@new", GDN_OP_VERIFY_DRAFT_TOKENS,
         "step 0, state_commit: live_slots"},
        {"commit_stale", "sglang-npu@verify", GDN_OP_VERIFY_TREE_GREEDY,
         "step 0, state_commit: conv_states"},
        {"commit_stale", "sglang", GDN_OP_TREE_SPECULATIVE_SAMPLING,
         "step 0, state_commit: conv_states"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof FAULTS / sizeof FAULTS[0]; i++) {
        gdn_case_result result =
            run(find(FAULTS[i].profile, FAULTS[i].verifier), FAULTS[i].deviation);
        assert_int_equal(result.verdict, GDN_FAIL);
        if (strncmp(result.message, "first wrong step ", 17) != 0 ||
            !strstr(result.message, FAULTS[i].call) ||
            !strstr(result.message, "; first wrong call: ")) {
            fail_msg("%s: %s", FAULTS[i].deviation, result.message);
        }
        if (!result.diagnosis.deviation ||
            strcmp(result.diagnosis.deviation, FAULTS[i].deviation) != 0) {
            fail_msg("%s: diagnosed %s", FAULTS[i].deviation,
                     result.diagnosis.text ? result.diagnosis.text : "nothing");
        }
        print_message("%-20s %.70s\n", FAULTS[i].deviation, result.message);
        gdn_case_result_destroy(&result);
    }
}

/* A device that declines an op of the step is not judged at all. */
static gdn_status declines(void *context, const gdn_problem *problem, bool *ran,
                           gdn_case_result *result, gdn_error *err) {
    const gdn_executor *reference = context;
    if (problem->call.op == GDN_OP_STATE_COMMIT) {
        *ran = false;
        result->verdict = GDN_UNSUPPORTED;
        result->message = strdup("no commits here");
        return GDN_OK;
    }
    return reference->run(reference->context, problem, ran, result, err);
}

static void test_declined_stage(void **state) {
    gdn_executor reference = gdn_mutate_executor(NULL);
    const gdn_executor executor = {.run = declines, .context = &reference};
    const gdn_loop_options options = {GDN_PROFILE_DIR, true, NULL};
    gdn_case_result result = {0};
    (void)state;
    assert_int_equal(gdn_loop_run(&suite.cases[0], &executor, &options, &result, NULL),
                     GDN_OK);
    assert_int_equal(result.verdict, GDN_UNSUPPORTED);
    gdn_case_result_destroy(&result);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_loops),
        cmocka_unit_test(test_faults_are_named),
        cmocka_unit_test(test_declined_stage),
    };
    return cmocka_run_group_tests_name("loop", tests, load, unload);
}
