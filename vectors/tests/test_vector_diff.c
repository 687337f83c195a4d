/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A change that was made by hand is reported as the numbers that it was made with, and
 * nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "vector_diff.h"
#include "vector_fixture.h"

static gdn_expected *output(fixture *all, int test, const char *name) {
    gdn_golden *golden = &all->goldens[test];
    for (size_t i = 0; i < golden->n_outputs; i++) {
        if (strcmp(golden->outputs[i].tensor->name, name) == 0) {
            return &golden->outputs[i];
        }
    }
    fail_msg("no output %s", name);
    return NULL;
}

static gdn_vector_reader *open_reader(const fixture *all, const char *suite) {
    gdn_error err = {0};
    gdn_vector_reader *reader = NULL;
    if (gdn_vector_reader_open(&reader, all->dir, suite, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    return reader;
}

static gdn_vector_diff compare(const fixture *all) {
    gdn_vector_reader *before = open_reader(all, "old"), *after = open_reader(all, "new");
    gdn_vector_diff diff;
    gdn_error err = {0};
    if (gdn_vector_diff_create(&diff, before, after, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    gdn_vector_reader_close(before);
    gdn_vector_reader_close(after);
    return diff;
}

static void assert_near(double found, double expected, double allowed) {
    if (!(fabs(found - expected) <= allowed)) {
        fail_msg("%.17g is not within %g of %.17g", found, allowed, expected);
    }
}

/* The one output of the one case that differs. */
static const gdn_tensor_diff *only_tensor(const gdn_vector_diff *diff, const fixture *all,
                                          int test, const char *name) {
    assert_int_equal(diff->n_cases, 1);
    assert_int_equal(diff->in_both, FIXTURE_CASES);
    assert_int_equal(diff->equal, FIXTURE_CASES - 1);
    assert_int_equal(diff->cases[0].change, GDN_CASE_GOLDEN);
    assert_string_equal(diff->cases[0].id, all->tests[test].id);
    assert_null(diff->cases[0].note);
    assert_int_equal(diff->cases[0].n_tensors, 1);
    assert_string_equal(diff->cases[0].tensors[0].name, name);
    return &diff->cases[0].tensors[0];
}

static void test_equal_files_differ_in_nothing(void **state) {
    const fixture *all = *state;
    fixture_write(all, all->dir, "old");
    fixture_write(all, all->dir, "new");
    gdn_vector_diff diff = compare(all);
    assert_int_equal(diff.n_cases, 0);
    assert_int_equal(diff.in_both, FIXTURE_CASES);
    assert_int_equal(diff.equal, FIXTURE_CASES);
    gdn_vector_diff_destroy(&diff);
}

static void test_changes_are_told_in_ulps_and_limits_with_their_place(void **state) {
    fixture *all = *state;
    fixture_write(all, all->dir, "old");
    gdn_expected *out = output(all, FIXTURE_CONV, "out");
    const int64_t near = 3, far = 2 * out->row_count + 5, third = 7;
    const double near_was = out->golden[near], far_was = out->golden[far];
    const float limit_was = out->limit[third];
    out->golden[near] = nextafter(nextafter(near_was, INFINITY), INFINITY);
    out->golden[far] = far_was + 0.25 * (double)out->limit[far];
    out->limit[third] = limit_was / 2;
    const double far_is = out->golden[far];
    fixture_write(all, all->dir, "new");
    out->golden[near] = near_was;
    out->golden[far] = far_was;
    out->limit[third] = limit_was;

    gdn_vector_diff diff = compare(all);
    const gdn_tensor_diff *t = only_tensor(&diff, all, FIXTURE_CONV, "out");
    assert_null(t->reason);
    assert_int_equal(t->dtype, GDN_FP64);
    assert_true(t->bounded);
    assert_int_equal(t->elements, out->n_rows * out->row_count);
    assert_int_equal(t->changed, 2);
    assert_near(t->limits, 0.25, 1e-6);
    int exponent;
    frexp(far_was, &exponent);
    assert_near(t->ulps, fabs(far_is - far_was) / ldexp(1.0, exponent - 53), 0.5);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->index[0], out->rows[2]);
    assert_int_equal(t->index[1], 5);
    assert_true(t->before == far_was && t->after == far_is);
    assert_int_equal(t->limits_changed, 1);
    assert_near(t->limits_factor, 2.0, 1e-6);
    assert_int_equal(t->rows_gone + t->rows_added, 0);
    gdn_vector_diff_destroy(&diff);
}

static void test_one_ulp_is_one_ulp(void **state) {
    fixture *all = *state;
    fixture_write(all, all->dir, "old");
    gdn_expected *out = output(all, FIXTURE_CONV, "out");
    const double was = out->golden[0];
    out->golden[0] = nextafter(was, 2 * was);
    fixture_write(all, all->dir, "new");
    out->golden[0] = was;
    gdn_vector_diff diff = compare(all);
    const gdn_tensor_diff *t = only_tensor(&diff, all, FIXTURE_CONV, "out");
    assert_int_equal(t->changed, 1);
    assert_true(t->ulps == 1.0);
    gdn_vector_diff_destroy(&diff);
}

static void test_no_number_is_infinitely_far(void **state) {
    fixture *all = *state;
    fixture_write(all, all->dir, "old");
    gdn_expected *out = output(all, FIXTURE_CONV, "out");
    const double was = out->golden[1];
    out->golden[1] = NAN;
    fixture_write(all, all->dir, "new");
    out->golden[1] = was;
    gdn_vector_diff diff = compare(all);
    const gdn_tensor_diff *t = only_tensor(&diff, all, FIXTURE_CONV, "out");
    assert_int_equal(t->changed, 1);
    assert_true(isinf(t->ulps) && isinf(t->limits));
    assert_true(t->before == was && isnan(t->after));
    gdn_vector_diff_destroy(&diff);
}

static void test_integers_and_storage_types_have_their_own_unit(void **state) {
    fixture *all = *state;
    fixture_write(all, all->dir, "old");
    int32_t *counts = output(all, FIXTURE_METADATA, "counts")->bits;
    counts[2] += 3;
    fixture_write(all, all->dir, "new");
    counts[2] -= 3;
    gdn_vector_diff diff = compare(all);
    const gdn_tensor_diff *t = only_tensor(&diff, all, FIXTURE_METADATA, "counts");
    assert_false(t->bounded);
    assert_int_equal(t->dtype, GDN_I32);
    assert_int_equal(t->changed, 1);
    assert_true(t->ulps == 3.0);
    assert_int_equal(t->index[0], 2);
    gdn_vector_diff_destroy(&diff);

    uint16_t *z = output(all, FIXTURE_ATTENTION, "z")->bits;
    z[65] ^= 1; /* the last bit of a bf16 */
    fixture_write(all, all->dir, "new");
    z[65] ^= 1;
    diff = compare(all);
    t = only_tensor(&diff, all, FIXTURE_ATTENTION, "z");
    assert_int_equal(t->dtype, GDN_BF16);
    assert_int_equal(t->changed, 1);
    assert_true(t->ulps == 1.0);
    assert_int_equal(t->index[1], 1);
    assert_int_equal(t->index[2], 1);
    gdn_vector_diff_destroy(&diff);
}

static void test_rows_that_are_no_longer_written_are_counted(void **state) {
    fixture *all = *state;
    gdn_expected *out = output(all, FIXTURE_ATTENTION, "core_attn_out");
    fixture_write(all, all->dir, "old");
    out->n_rows--;
    fixture_write(all, all->dir, "new");
    gdn_vector_diff diff = compare(all);
    const gdn_tensor_diff *t = only_tensor(&diff, all, FIXTURE_ATTENTION, "core_attn_out");
    assert_int_equal(t->rows_gone, 1);
    assert_int_equal(t->rows_added, 0);
    assert_int_equal(t->elements, out->n_rows * out->row_count);
    assert_int_equal(t->changed + t->limits_changed, 0);
    gdn_vector_diff_destroy(&diff);
    out->n_rows++;
}

static void test_cases_with_other_inputs_are_not_compared(void **state) {
    fixture *all = *state;
    fixture_write(all, all->dir, "old");
    const gdn_arena *arena = &all->problems[FIXTURE_CONV].arena;
    const gdn_tensor *x = gdn_call_tensor(&all->problems[FIXTURE_CONV].call, "x");
    gdn_expected *out = output(all, FIXTURE_CONV, "out");
    uint8_t *byte = (uint8_t *)arena->image + ((uint8_t *)x->data - (uint8_t *)arena->base);
    const double was = out->golden[0];
    *byte ^= 1;
    out->golden[0] = was + 1.0;
    fixture_write(all, all->dir, "new");
    *byte ^= 1;
    out->golden[0] = was;
    gdn_vector_diff diff = compare(all);
    assert_int_equal(diff.n_cases, 1);
    assert_int_equal(diff.cases[0].change, GDN_CASE_INPUTS);
    assert_string_equal(diff.cases[0].note, "x");
    assert_int_equal(diff.cases[0].n_tensors, 0);
    gdn_vector_diff_destroy(&diff);
}

static void test_digests_alone_tell_only_that_they_differ(void **state) {
    fixture *all = *state;
    fixture_write(all, all->dir, "old");
    gdn_expected *g = output(all, FIXTURE_LARGE, "g");
    const double was = g->golden[0];
    g->golden[0] = was + 1.0;
    fixture_write(all, all->dir, "new");
    g->golden[0] = was;
    gdn_vector_diff diff = compare(all);
    const gdn_tensor_diff *t = only_tensor(&diff, all, FIXTURE_LARGE, "g");
    assert_string_equal(t->reason, "digests differ; the values are not stored");
    gdn_vector_diff_destroy(&diff);
}

static void test_a_reused_id_and_another_profile_are_told(void **state) {
    fixture *all = *state;
    fixture_write(all, all->dir, "old");
    gdn_case *test = &all->tests[FIXTURE_CONV];
    const double was = test->conventions.exp_error;
    test->seed += 8; /* the id stays: it was made when the case was parsed */
    test->conventions.exp_error = was + 1;
    fixture_write(all, all->dir, "new");
    test->seed -= 8;
    test->conventions.exp_error = was;
    gdn_vector_diff diff = compare(all);
    assert_int_equal(diff.n_cases, 1);
    assert_int_equal(diff.cases[0].change, GDN_CASE_GOLDEN);
    assert_string_equal(diff.cases[0].note,
                        "the id names another case (seed: expected 0 but found 8); the "
                        "profile has changed");
    assert_int_equal(diff.cases[0].n_tensors, 0);
    gdn_vector_diff_destroy(&diff);
}

static void test_gone_and_added_cases_are_named(void **state) {
    fixture *all = *state;
    const char *const suites[] = {"old", "new"};
    for (int side = 0; side < 2; side++) {
        gdn_error err = {0};
        gdn_vector_writer *writer = NULL;
        assert_int_equal(gdn_vector_writer_create(&writer, all->dir, suites[side], &err),
                         0);
        for (int i = side; i < side + 2; i++) {
            assert_int_equal(gdn_vector_writer_add(writer, &all->problems[i],
                                                   &all->goldens[i], &all->certificates[i],
                                                   &err),
                             0);
        }
        assert_int_equal(gdn_vector_writer_commit(writer, &err), 0);
    }
    gdn_vector_diff diff = compare(all);
    assert_int_equal(diff.in_both, 1);
    assert_int_equal(diff.equal, 1);
    assert_int_equal(diff.n_cases, 2);
    assert_string_equal(diff.cases[0].id, all->tests[FIXTURE_ATTENTION].id);
    assert_int_equal(diff.cases[0].change, GDN_CASE_GONE);
    assert_string_equal(diff.cases[1].id, all->tests[FIXTURE_METADATA].id);
    assert_int_equal(diff.cases[1].change, GDN_CASE_ADDED);
    gdn_vector_diff_destroy(&diff);

    gdn_vector_reader *reader = open_reader(all, "new");
    gdn_error err = {0};
    assert_int_equal(gdn_vector_diff_create(&diff, NULL, reader, &err), GDN_OK);
    assert_int_equal(diff.n_cases, 2);
    assert_int_equal(diff.cases[0].change, GDN_CASE_ADDED);
    gdn_vector_diff_destroy(&diff);
    gdn_vector_reader_close(reader);
}

#define TEST(name)                                                                         \
    cmocka_unit_test_setup_teardown(name, fixture_new_dir, fixture_remove_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_equal_files_differ_in_nothing),
        TEST(test_changes_are_told_in_ulps_and_limits_with_their_place),
        TEST(test_one_ulp_is_one_ulp),
        TEST(test_no_number_is_infinitely_far),
        TEST(test_integers_and_storage_types_have_their_own_unit),
        TEST(test_rows_that_are_no_longer_written_are_counted),
        TEST(test_cases_with_other_inputs_are_not_compared),
        TEST(test_digests_alone_tell_only_that_they_differ),
        TEST(test_a_reused_id_and_another_profile_are_told),
        TEST(test_gone_and_added_cases_are_named),
    };
    return cmocka_run_group_tests(tests, fixture_create, fixture_destroy);
}
