/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "known_failures.h"

#define TODAY "2026-06-15"

static gdn_status load_text(gdn_known_list *list, const char *text, gdn_error *err) {
    char path[] = "/tmp/gdn-known-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    const gdn_status status = gdn_known_load(list, path, TODAY, err);
    unlink(path);
    return status;
}

#define ENTRY(device, cases, until, kind, rest)                                            \
    "{\"device\": \"" device "\", \"case\": \"" cases                                      \
    "\", \"issue\": \"#7\", \"until\": \"" until "\", \"kind\": \"" kind "\"" rest "}"
#define LIST(entries) "{\"schema\": 1, \"known_failures\": [" entries "]}"

static void load(gdn_known_list *list, const char *text) {
    gdn_error err = {0};
    if (load_text(list, text, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    gdn_case test = {.id = "op/a"};
    gdn_planned_case planned = {.test = &test};
    const gdn_case_plan plan = {.cases = &planned, .n_cases = 1};
    gdn_known_match(list, &plan, "hip:1", "Example 9000");
}

/* The verdict on op/a after the list has spoken. */
static gdn_verdict settle(const char *text, gdn_verdict verdict, double budget,
                          const char *deviation) {
    gdn_known_list list;
    load(&list, text);
    const gdn_known_failure *entry = gdn_known_find(&list, "op/a");
    assert_non_null(entry);
    gdn_case_result result = {.id = strdup("op/a"), .verdict = verdict, .n_tensors = 1};
    result.tensors[0] = (gdn_tensor_result){.budget = budget};
    if (deviation) {
        result.diagnosis.verdict = strdup("diagnosed");
        result.diagnosis.deviation = strdup(deviation);
    }
    gdn_error err = {0};
    const bool launched = !gdn_known_keeps_back(entry);
    assert_int_equal(gdn_known_settle(&list, entry, launched, &result, &err), GDN_OK);
    assert_string_equal(result.known, "#7");
    assert_non_null(strstr(result.message, "#7"));
    const gdn_verdict found = result.verdict;
    gdn_case_result_destroy(&result);
    gdn_known_destroy(&list);
    return found;
}

static void a_known_failure_is_expected(void **state) {
    (void)state;
    const char *wrong = LIST(ENTRY("hip*", "op/*", TODAY, "wrong", ""));
    assert_int_equal(settle(wrong, GDN_FAIL, 9.0, NULL), GDN_XFAIL);
    const char *declined = LIST(ENTRY("hip*", "op/*", TODAY, "unsupported", ""));
    assert_int_equal(settle(declined, GDN_UNSUPPORTED, 0.0, NULL), GDN_XFAIL);
}

static void a_pass_is_unexpected(void **state) {
    (void)state;
    assert_int_equal(
        settle(LIST(ENTRY("hip*", "op/*", TODAY, "wrong", "")), GDN_PASS, 0.5, NULL),
        GDN_XPASS);
}

static void another_kind_of_failure_stays_red(void **state) {
    (void)state;
    const char *wrong = LIST(ENTRY("hip*", "op/*", TODAY, "wrong", ""));
    assert_int_equal(settle(wrong, GDN_CRASH, 0.0, NULL), GDN_CRASH);
    assert_int_equal(settle(wrong, GDN_UNSUPPORTED, 0.0, NULL), GDN_UNSUPPORTED);
    const char *declined = LIST(ENTRY("hip*", "op/*", TODAY, "unsupported", ""));
    assert_int_equal(settle(declined, GDN_FAIL, 9.0, NULL), GDN_FAIL);
}

static void a_worse_error_stays_red(void **state) {
    (void)state;
    const char *text = LIST(ENTRY("hip*", "op/*", TODAY, "wrong", ", \"budget_max\": 100"));
    assert_int_equal(settle(text, GDN_FAIL, 100.0, NULL), GDN_XFAIL);
    assert_int_equal(settle(text, GDN_FAIL, 100.5, NULL), GDN_FAIL);
    assert_int_equal(settle(text, GDN_FAIL, (double)INFINITY, NULL), GDN_FAIL);
}

static void another_bug_stays_red(void **state) {
    (void)state;
    const char *text = LIST(
        ENTRY("hip*", "op/*", TODAY, "wrong", ", \"diagnosis\": \"state_transposed\""));
    assert_int_equal(settle(text, GDN_FAIL, 9.0, "state_transposed"), GDN_XFAIL);
    assert_int_equal(settle(text, GDN_FAIL, 9.0, "wrong_layout"), GDN_FAIL);
}

static void an_entry_past_its_date_is_red(void **state) {
    (void)state;
    const char *text = LIST(ENTRY("hip*", "op/*", "2026-06-14", "wrong", ""));
    assert_int_equal(settle(text, GDN_FAIL, 9.0, NULL), GDN_FAIL);
    assert_int_equal(settle(text, GDN_PASS, 0.1, NULL), GDN_XPASS);
    gdn_known_list list;
    load(&list, text);
    char *complaint = gdn_known_complaint(&list);
    assert_non_null(strstr(complaint, "was good until 2026-06-14"));
    free(complaint);
    gdn_known_destroy(&list);
}

static void known_crashes_and_hangs_are_not_launched(void **state) {
    (void)state;
    const char *hang = LIST(ENTRY("hip*", "op/*", TODAY, "hang", ""));
    assert_int_equal(settle(hang, GDN_SKIP, 0.0, NULL), GDN_XFAIL);
    const char *expired = LIST(ENTRY("hip*", "op/*", "2026-01-01", "crash", ""));
    assert_int_equal(settle(expired, GDN_SKIP, 0.0, NULL), GDN_FAIL);
}

static bool speaks_of(const char *device) {
    char text[256];
    snprintf(text, sizeof text, LIST(ENTRY("%s", "op/a", TODAY, "wrong", "")), device);
    gdn_known_list list;
    load(&list, text);
    const bool here = gdn_known_find(&list, "op/a") != NULL;
    gdn_known_destroy(&list);
    return here;
}

static void devices_are_globs_of_name_or_hardware(void **state) {
    (void)state;
    assert_true(speaks_of("hip:1"));
    assert_true(speaks_of("*9000"));
    assert_true(speaks_of("!cuda*"));
    assert_false(speaks_of("cuda*"));
    assert_false(speaks_of("!hip*"));
    assert_false(speaks_of("!*9000"));
}

static void an_entry_without_a_case_is_a_complaint(void **state) {
    (void)state;
    gdn_known_list list;
    load(&list, LIST(ENTRY("*", "op/b", TODAY, "wrong", "") "," ENTRY("cuda", "op/b", TODAY,
                                                                      "wrong", "")));
    char *complaint = gdn_known_complaint(&list);
    assert_non_null(strstr(complaint, "$.known_failures[0] (#7) matches no planned case"));
    assert_null(strstr(complaint, "[1]")); /* speaks of another device */
    free(complaint);
    gdn_known_destroy(&list);
    load(&list, LIST(ENTRY("*", "op/?", TODAY, "wrong", "")));
    assert_null(gdn_known_complaint(&list));
    gdn_known_destroy(&list);
}

static void expect_refused(const char *text, const char *message) {
    gdn_known_list list;
    gdn_error err = {0};
    assert_int_equal(load_text(&list, text, &err), GDN_ERR_FORMAT);
    if (!strstr(err.message, message)) {
        fail_msg("expected \"%s\" in \"%s\"", message, err.message);
    }
}

static void bad_lists_are_refused(void **state) {
    (void)state;
    expect_refused("[1]", "expected an object");
    expect_refused("{\"schema\": 2, \"known_failures\": []}", "$.schema: expected 1");
    expect_refused(LIST("{\"device\": \"*\"}"), "$.known_failures[0].case");
    expect_refused(LIST(ENTRY("*", "a", "soon", "wrong", "")), "2026-12-31");
    expect_refused(LIST(ENTRY("*", "a", "2026-13-01", "wrong", "")), "2026-13-01");
    expect_refused(LIST(ENTRY("*", "a", TODAY, "wrnog", "")), "did you mean \"wrong\"?");
    expect_refused(LIST(ENTRY("*", "a", TODAY, "crash", ", \"budget_max\": 2")),
                   "need the kind \"wrong\"");
    expect_refused(LIST(ENTRY("*", "a", TODAY, "wrong", ", \"budget_max\": 0.5")),
                   "a number above 1");
    expect_refused(LIST(ENTRY("*", "a", TODAY, "wrong", ", \"isue\": 1")), "issue");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_failure_is_expected),
        cmocka_unit_test(a_pass_is_unexpected),
        cmocka_unit_test(another_kind_of_failure_stays_red),
        cmocka_unit_test(a_worse_error_stays_red),
        cmocka_unit_test(another_bug_stays_red),
        cmocka_unit_test(an_entry_past_its_date_is_red),
        cmocka_unit_test(known_crashes_and_hangs_are_not_launched),
        cmocka_unit_test(devices_are_globs_of_name_or_hardware),
        cmocka_unit_test(an_entry_without_a_case_is_a_complaint),
        cmocka_unit_test(bad_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
