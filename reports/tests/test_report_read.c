/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "forms.h"
#include "report_fixture.h"

static void expect_error(const char *text, const char *message) {
    gdn_run_result run;
    gdn_error err = {0};
    assert_int_equal(read_bytes(&run, text, strlen(text), &err), GDN_ERR_FORMAT);
    if (!strstr(err.message, message)) {
        fail_msg("expected \"%s\" in \"%s\"", message, err.message);
    }
    assert_memory_equal(err.message, "r.json: ", 8);
    assert_null(strpbrk(err.message, "\n\x1b"));
    assert_null(run.cases);
}

#define TWO                                                                                \
    REPORT_OF("1", "2", VERDICTS("1", "1"),                                                \
              CASE_OF("a/b", "pass", "") "," CASE_OF("a/c", "fail", ""))

static void a_report_is_read(void **state) {
    (void)state;
    gdn_run_result run;
    gdn_error err = {0};
    assert_int_equal(read_bytes(&run, TWO, strlen(TWO), &err), GDN_OK);
    assert_int_equal(run.n_cases, 2);
    assert_string_equal(run.device, "cpu");
    assert_string_equal(run.cases[1].id, "a/c");
    assert_int_equal(run.cases[1].verdict, GDN_FAIL);
    assert_true(run.cases[0].kernel_seconds < 0.0);
    gdn_run_result_destroy(&run);
}

static void every_beginning_of_a_report_is_refused(void **state) {
    (void)state;
    for (size_t size = 1; size < strlen(TWO); size++) {
        gdn_run_result run;
        gdn_error err = {0};
        assert_int_equal(read_bytes(&run, TWO, size, &err), GDN_ERR_FORMAT);
        assert_null(strchr(err.message, '\n'));
    }
    expect_error("{\"schema\": 1, \"cases\": [", "truncated");
}

static void a_newer_schema_is_named_wherever_it_stands(void **state) {
    (void)state;
    expect_error(REPORT_OF("2", "1", VERDICTS("1", "0"), CASE_OF("a", "pass", "")),
                 "$.schema: 2 is newer than 1");
    /* Behind cases that this program can't read. */
    expect_error("{\"cases\": [{\"new\": 1}], \"schema\": 7}", "7 is newer than 1");
}

static void numbers_that_json_does_not_have_are_refused(void **state) {
    (void)state;
    expect_error(
        REPORT_OF("1", "1", VERDICTS("1", "0"), CASE_OF("a", "pass", ", \"x\": NaN")),
        "$.cases[0]: invalid token near 'NaN'");
    expect_error(
        REPORT_OF("1", "1", VERDICTS("1", "0"), CASE_OF("a", "pass", ", \"x\": 1e999")),
        "overflow");
}

static void ids_that_stand_twice_are_refused_and_shown_harmless(void **state) {
    (void)state;
    expect_error(REPORT_OF("1", "2", VERDICTS("2", "0"),
                           CASE_OF("a\\u001b[2J\\n", "pass",
                                   "") "," CASE_OF("a\\u001b[2J\\n", "pass", "")),
                 "$.cases[1].id: \"a\\x1b[2J\\n\" was there before");
}

static void verdicts_must_add_up(void **state) {
    (void)state;
    expect_error(REPORT_OF("1", "1", VERDICTS("0", "1"), CASE_OF("a", "pass", "")),
                 "$.verdicts.pass: expected 1");
    expect_error(REPORT_OF("1", "3", VERDICTS("1", "0"), CASE_OF("a", "pass", "")),
                 "$.planned: expected 1");
    expect_error("{\"schema\": 1}", "no member \"device\"");
}

static void what_is_no_report_is_refused(void **state) {
    (void)state;
    expect_error("[]", "a JSON object");
    expect_error("\x7f"
                 "ELF",
                 "a JSON object");
    expect_error(REPORT_OF("1", "1", VERDICTS("1", "0"), CASE_OF("a", "pass", "")) " x",
                 "behind the end");
    expect_error("{\"schema\": 1, \"schema\": 1}", "twice");
    expect_error("{\"cases\": ]", "expected an array");
    expect_error(REPORT_OF("1", "1", VERDICTS("1", "0"),
                           CASE_OF("a", "pass", ", \"maps\": [{\"tensor\": 3}]")),
                 "$.cases[0].maps[0].tensor");
}

/* What a file of any size may cost: a value is held whole, so it is limited. */
static void a_huge_value_is_refused_without_being_held(void **state) {
    (void)state;
    char *fill = malloc(GDN_REPORT_CASE_BYTES + 4096);
    assert_non_null(fill);
    const int head = sprintf(fill, "{\"schema\": 1, \"cases\": [{\"id\": \"");
    memset(fill + head, 'x', GDN_REPORT_CASE_BYTES + 100);
    strcpy(fill + head + GDN_REPORT_CASE_BYTES + 100, "\"}]}");
    expect_error(fill, "a value of more than");
    free(fill);
}

/* xorshift64*, Vigna 2016: the same damage on every machine. */
static uint64_t draw(uint64_t *seed) {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1du;
}

static size_t damage(char *text, size_t size, uint64_t *seed) {
    static const char *const TOKENS[] = {"{",       "}",    "[",     "]",  ",",
                                         "\"",      "NaN",  "1e999", "-1", "null",
                                         "\\u0000", "\xff", "cases"};
    const size_t at = draw(seed) % size;
    const char *token = TOKENS[draw(seed) % (sizeof TOKENS / sizeof TOKENS[0])];
    const size_t length = strlen(token);
    switch (draw(seed) % 4) {
    case 0: /* cut */
        return at + 1;
    case 1: /* a byte */
        text[at] = (char)draw(seed);
        return size;
    case 2: /* overwrite with a token */
        memcpy(text + at, token, length < size - at ? length : size - at);
        return size;
    default: /* take out some bytes */
        memmove(text + at, text + at + (size - at) / 8, size - at - (size - at) / 8);
        return size - (size - at) / 8;
    }
}

static void damaged_reports_are_refused_or_read_in_one_line(void **state) {
    (void)state;
    const char *path = GDN_EXAMPLES "/new.json";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *good = malloc(4 << 20);
    assert_non_null(good);
    const size_t size = fread(good, 1, 4 << 20, file);
    fclose(file);
    char *text = malloc(size + 1);
    assert_non_null(text);
    uint64_t seed = 20261120;
    size_t refused = 0;
    for (int round = 0; round < 400; round++) {
        memcpy(text, good, size);
        size_t left = size;
        for (uint64_t n = 1 + draw(&seed) % 3; n > 0 && left > 16; n--) {
            left = damage(text, left, &seed);
        }
        gdn_run_result run;
        gdn_error err = {0};
        if (read_bytes(&run, text, left, &err) != GDN_OK) {
            refused++;
            assert_null(strpbrk(err.message, "\n\x1b"));
        } else {
            FILE *sink = fopen("/dev/null", "w");
            gdn_report_html(&run, sink);
            gdn_report_csv(&run, sink);
            fclose(sink);
            gdn_run_result_destroy(&run);
        }
    }
    assert_in_range(refused, 100, 400);
    free(good);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_is_read),
        cmocka_unit_test(every_beginning_of_a_report_is_refused),
        cmocka_unit_test(a_newer_schema_is_named_wherever_it_stands),
        cmocka_unit_test(numbers_that_json_does_not_have_are_refused),
        cmocka_unit_test(ids_that_stand_twice_are_refused_and_shown_harmless),
        cmocka_unit_test(verdicts_must_add_up),
        cmocka_unit_test(what_is_no_report_is_refused),
        cmocka_unit_test(a_huge_value_is_refused_without_being_held),
        cmocka_unit_test(damaged_reports_are_refused_or_read_in_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
