/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Expressions of kernel packages: C's precedence, names, tensors, and refusals that name
 * the place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gpu_expression.h"

static const gdn_tensor TENSORS[] = {
    {.name = "a", .rank = 2, .shape = {7, 6}, .stride = {48, 1}}};
static const gdn_scalar SCALARS[] = {{"num_spec", 3}};
static const gdn_call CALL = {
    .tensors = TENSORS, .n_tensors = 1, .scalars = SCALARS, .n_scalars = 1};
static const gpu_definition DEFINITIONS[] = {{"HV", 32}, {"V", 128}, {"_x1", 5}};
static const gpu_scope SCOPE = {
    .call = &CALL, .definitions = DEFINITIONS, .n_definitions = 3};

static void assert_value(const char *text, int64_t expected) {
    gdn_error err = {0};
    int64_t value = -12345;
    if (gpu_evaluate(&value, text, &SCOPE, &err) != GDN_OK || value != expected) {
        fail_msg("%s: %lld, not %lld %s", text, (long long)value, (long long)expected,
                 err.message);
    }
}

static void assert_refused(const char *text, const char *reason) {
    gdn_error err = {0};
    int64_t value;
    assert_int_equal(gpu_evaluate(&value, text, &SCOPE, &err), GDN_ERR_ARG);
    if (!strstr(err.message, reason)) {
        fail_msg("%s: \"%s\" lacks \"%s\"", text, err.message, reason);
    }
}

static void operators_bind_as_in_c(void **state) {
    (void)state;
    assert_value("1 + 2 * 3", 7);
    assert_value("(1 + 2) * 3", 9);
    assert_value("20 - 5 - 3", 12);
    assert_value("100 / 7 % 4 * 2", 4);
    assert_value("1 + 1 == 2", 1);
    assert_value("3 * 2 <= 5", 0);
    assert_value("5 >= 5", 1);
    assert_value("4 != 4", 0);
    assert_value("2 < 3", 1);
    assert_value("(2 > 3) + 1", 1);
    assert_value("  9223372036854775807 ", INT64_MAX);
}

static void functions_and_names(void **state) {
    (void)state;
    assert_value("HV*cdiv(V,48)", 96);
    assert_value("cdiv(0, 4)", 0);
    assert_value("cdiv(8,4)", 2);
    assert_value("min(V, HV) + max(1, 2)", 34);
    assert_value("size(a,0) * stride(a, 0) + size(a,1)", 342);
    assert_value("has(a) * 10 + has(bias)", 10);
    assert_value("num_spec + _x1", 8);
}

static void refusals_name_the_place(void **state) {
    (void)state;
    assert_refused("", "a number, a name or \"(\" at character 1");
    assert_refused("1 +", "at character 4");
    assert_refused("1 2", "the end at character 3");
    assert_refused("(1", "\")\"");
    assert_refused("NN * 2", "a defined name or a scalar of the call at character 1");
    assert_refused("1 / 0", "a divisor of 1 or more");
    assert_refused("5 % (1 - 1)", "a divisor of 1 or more");
    assert_refused("9223372036854775808", "63 bits");
    assert_refused("9223372036854775807 + 1", "63 bits");
    assert_refused("4611686018427387904 * 2", "63 bits");
    assert_refused("size(a,2)", "an axis");
    assert_refused("stride(bias,0)", "a tensor of the call");
    assert_refused("cdiv(1,0)", "cdiv");
    assert_refused("pow(1,2)", "cdiv, min, max, size, stride or has");
    char deep[200];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    assert_refused(deep, "fewer nested parentheses");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_bind_as_in_c),
        cmocka_unit_test(functions_and_names),
        cmocka_unit_test(refusals_name_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
