/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shards.h"
#include "tags.h"

static void load(gdn_case_plan *plan, const char *suite) {
    gdn_paths paths = {.suites = GDN_SUITE_DIR, .profiles = GDN_PROFILE_DIR};
    snprintf(paths.vectors, sizeof paths.vectors, "/nonexistent");
    const char *suites[] = {suite, NULL};
    gdn_error err = {0};
    assert_int_equal(gdn_case_plan_create(plan, suites, NULL, NULL, &paths, &err), GDN_OK);
}

static size_t keep(const char *expression) {
    gdn_case_plan plan;
    load(&plan, "smoke");
    gdn_error err = {0};
    assert_int_equal(gdn_plan_keep_tagged(&plan, expression, &err), GDN_OK);
    const size_t kept = plan.n_cases;
    gdn_case_plan_destroy(&plan);
    return kept;
}

static void and_binds_closer_than_or(void **state) {
    (void)state;
    const size_t spec = keep("spec"), decode = keep("decode"), bf16 = keep("bf16");
    const size_t spec_bf16 = keep("spec & bf16"), all = keep("smoke");
    assert_true(spec > 0 && decode > 0 && spec_bf16 > 0 && spec_bf16 < spec);
    assert_int_equal(keep("decode | spec & bf16"), decode + spec_bf16);
    assert_int_equal(keep("(decode | spec) & bf16"), keep("decode & bf16") + spec_bf16);
    assert_int_equal(keep("!spec"), all - spec);
    assert_int_equal(keep("!!spec"), spec);
    assert_int_equal(keep("!(spec | bf16)"), all - spec - bf16 + spec_bf16);
    assert_int_equal(keep("spec & !spec"), 0);
    assert_int_equal(keep("vllm-xpu@a") + keep("vllm-xpu@b"), keep("vllm-xpu@?"));
    assert_int_equal(keep("vllm-xpu") + keep("!vllm-xpu"), all);
    assert_true(keep("pad?") > 0);
}

static void expect_refused(const char *expression, const char *message) {
    gdn_case_plan plan;
    load(&plan, "smoke");
    gdn_error err = {0};
    assert_int_equal(gdn_plan_keep_tagged(&plan, expression, &err), GDN_ERR_ARG);
    if (!strstr(err.message, message)) {
        fail_msg("expected \"%s\" in \"%s\"", message, err.message);
    }
    gdn_case_plan_destroy(&plan);
}

static void what_is_no_expression_is_refused(void **state) {
    (void)state;
    expect_refused("", "expected a tag");
    expect_refused("spec &", "expected a tag");
    expect_refused("(spec", "expected ')'");
    expect_refused("spec decode", "expected '&', '|' or the end");
    expect_refused("spec, decode", "expected '&', '|' or the end");
    expect_refused("spce", "did you mean \"spec\"?");
    expect_refused("decode | spce", "did you mean \"spec\"?");
    char deep[400];
    memset(deep, '!', sizeof deep);
    strcpy(deep + sizeof deep - 5, "spec");
    expect_refused(deep, "fewer nested parts");
}

/* Every case in one shard, the heaviest shard no more than one case above the mean. */
static void shards_share_out_every_case_and_equal_work(void **state) {
    (void)state;
    gdn_case_plan whole;
    load(&whole, "qwen3-next");
    double total = 0.0, largest = 0.0;
    for (size_t i = 0; i < whole.n_cases; i++) {
        const double cost = gdn_case_cost(whole.cases[i].test);
        total += cost;
        largest = cost > largest ? cost : largest;
    }
    for (int count = 1; count <= 7; count += 3) {
        size_t cases = 0, place = 0;
        char *seen = calloc(whole.n_cases, 1);
        for (int index = 1; index <= count; index++) {
            gdn_error err = {0};
            gdn_case_plan plan = whole;
            plan.cases = malloc(whole.n_cases * sizeof *plan.cases);
            assert_non_null(plan.cases);
            memcpy(plan.cases, whole.cases, whole.n_cases * sizeof *plan.cases);
            assert_int_equal(gdn_plan_keep_shard(&plan, index, count, &err), GDN_OK);
            double work = 0.0;
            place = 0;
            for (size_t i = 0; i < plan.n_cases; i++) {
                work += gdn_case_cost(plan.cases[i].test);
                while (strcmp(whole.cases[place].test->id, plan.cases[i].test->id) != 0) {
                    place++; /* the order of the plan stays */
                    assert_true(place < whole.n_cases);
                }
                assert_int_equal(seen[place]++, 0);
            }
            cases += plan.n_cases;
            assert_true(work <= total / count + largest);
            free(plan.cases);
        }
        assert_int_equal(cases, whole.n_cases);
        free(seen);
    }
    gdn_case_plan_destroy(&whole);
}

static void a_shard_without_cases_is_refused(void **state) {
    (void)state;
    gdn_case_plan plan;
    load(&plan, "smoke");
    gdn_plan_keep_glob(&plan, "gdn_gating/*");
    const int count = (int)plan.n_cases + 1;
    assert_true(count > 1);
    gdn_error err = {0};
    assert_int_equal(gdn_plan_keep_shard(&plan, count, count, &err), GDN_ERR_ARG);
    gdn_case_plan_destroy(&plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(and_binds_closer_than_or),
        cmocka_unit_test(what_is_no_expression_is_refused),
        cmocka_unit_test(shards_share_out_every_case_and_equal_work),
        cmocka_unit_test(a_shard_without_cases_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
