/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "case_facets.h"
#include "limited.h"
#include "text.h"

typedef void (*put_text)(FILE *out, const char *text);

static void put_html(FILE *out, const char *text) {
    gdn_put_html(out, text, false);
}

static void expect(put_text put, const char *text, const char *expected) {
    char *found = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&found, &size);
    put(out, text);
    fclose(out);
    assert_string_equal(found, expected);
    free(found);
}

static void a_terminal_gets_no_escape_and_no_line(void **state) {
    (void)state;
    expect(gdn_put_plain, "a\x1b[31m\nb\r\x7f", "a\\x1b[31m\\nb\\x0d\\x7f");
    /* The same commands as C1 characters, and text turned around. */
    expect(gdn_put_plain,
           "\xc2\x9b"
           "2J \xe2\x80\xae"
           "gpj",
           "\\x9b2J \\u{202e}gpj");
}

static void bytes_that_are_no_utf8_are_shown(void **state) {
    (void)state;
    expect(gdn_put_plain, "\xff \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xc3",
           "\\xff \\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xc3");
    expect(gdn_put_plain, "h\xc3\xa4lt \xf0\x9f\x90\x9e", "h\xc3\xa4lt \xf0\x9f\x90\x9e");
}

static void html_has_no_markup_of_strangers(void **state) {
    (void)state;
    expect(put_html, "<script>alert('x')</script>&\"",
           "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;");
    expect(put_html, "a\nb", "a\\nb");
}

static void markdown_has_no_markup_of_strangers(void **state) {
    (void)state;
    expect(
        gdn_put_markdown, "a|b`c`<i>*d*_e_[f](g)@h",
        "a&#124;b&#96;c&#96;&#60;i&#62;&#42;d&#42;&#95;e&#95;&#91;f&#93;&#40;g&#41;&#64;h");
}

static void csv_has_no_formula_and_no_broken_row(void **state) {
    (void)state;
    expect(gdn_put_csv, "a\"b\nc", "\"a\"\"b\\nc\"");
    expect(gdn_put_csv, "=1+1", "\"'=1+1\"");
}

static void what_does_not_fit_is_counted(void **state) {
    (void)state;
    char *found = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&found, &size);
    gdn_limited limited;
    gdn_limited_start(&limited, out, 1000);
    for (int i = 0; i < 200; i++) {
        fprintf(gdn_limited_line(&limited), "line %03d\n", i);
        gdn_limited_end(&limited);
    }
    gdn_limited_finish(&limited);
    fclose(out);
    assert_true(size <= 1000);
    /* 1000 bytes less 200 for the last line are 88 lines of 9. */
    assert_non_null(strstr(found, "line 087\n"));
    assert_null(strstr(found, "line 088\n"));
    assert_non_null(strstr(found, "112 more lines"));
    free(found);
}

static void an_id_tells_its_facets(void **state) {
    (void)state;
    gdn_case_facets f;
    gdn_case_facets_read(&f, "gdn_attention/vllm-xpu@b/qwen3-next-tp1/"
                             "mixed-spec4x3+pre2x65+dec5/bf16+fp32/int-pad3-n0");
    assert_string_equal(f.op, "gdn_attention");
    assert_string_equal(f.profile, "vllm-xpu@b");
    assert_string_equal(f.mix, "mixed");
    assert_string_equal(f.batch, "spec4x3+pre2x65+dec5");
    assert_string_equal(f.types, "bf16+fp32");
    assert_string_equal(f.layout, "int");
    assert_int_equal(f.longest, 65);
    gdn_case_facets_read(&f, "nonsense");
    assert_string_equal(f.op, "nonsense");
    assert_string_equal(f.types, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_terminal_gets_no_escape_and_no_line),
        cmocka_unit_test(bytes_that_are_no_utf8_are_shown),
        cmocka_unit_test(html_has_no_markup_of_strangers),
        cmocka_unit_test(markdown_has_no_markup_of_strangers),
        cmocka_unit_test(csv_has_no_formula_and_no_broken_row),
        cmocka_unit_test(what_does_not_fit_is_counted),
        cmocka_unit_test(an_id_tells_its_facets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
