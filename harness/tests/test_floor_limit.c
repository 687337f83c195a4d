/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The limits made of a noise floor: the table of chances against the integrals that it
 * comes from, and hand values. */
#include "floor_limit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>

#define CHANCE 1e-7
#define STEPS  20000

/* P(ratio of two root mean squares of n normal errors > f): with x = log of the ratio, the
 * density is sech(x)^n. */
static double chance_of_rms(double n, double f) {
    const double step = 30.0 / STEPS;
    double above = 0.0, all = 0.0;
    for (int i = 0; i < STEPS; i++) {
        const double x = (i + 0.5) * step;
        const double density = exp(-n * (x + log1p(exp(-2.0 * x)) - log(2.0)));
        all += 2.0 * density;
        above += x > log(f) ? density : 0.0;
    }
    return above / all;
}

/* P(m1 > f m2) for the largest of n magnitudes each: the sum over m2 of its probability and
 * that of m1 beyond f m2. */
static double chance_of_largest(double n, double f) {
    double chance = 0.0, before = 0.0;
    for (int i = 1; i <= STEPS; i++) {
        const double z = 1e-9 * pow(1e10, (double)i / STEPS);
        const double below = pow(erf(z / sqrt(2.0)), n);
        const double middle = f * z * pow(1e10, -0.5 / STEPS);
        chance += (below - before) * -expm1(n * log1p(-erfc(middle / sqrt(2.0))));
        before = below;
    }
    return chance;
}

static void test_the_table_of_chances_is_what_it_says(void **state) {
    (void)state;
    for (double n = 2.0; n <= 4096.0; n *= 2.0) {
        const double rms = gdn_floor_chance_of_rms(n);
        const double largest = gdn_floor_chance_of_largest(n);
        /* One digit more or less in the table's last place either way. */
        assert_true(chance_of_rms(n, 1.01 * rms) < CHANCE);
        assert_true(chance_of_rms(n, 0.98 * rms) > CHANCE);
        assert_true(chance_of_largest(n, 1.01 * largest) < CHANCE);
        assert_true(chance_of_largest(n, 0.98 * largest) > CHANCE);
    }
}

static void test_between_the_entries_the_chance_is_no_larger(void **state) {
    (void)state;
    for (double n = 3.0; n < 4096.0; n *= 2.0) {
        assert_true(chance_of_rms(n, gdn_floor_chance_of_rms(n)) < 1.3 * CHANCE);
        assert_true(chance_of_largest(n, gdn_floor_chance_of_largest(n)) < 1.3 * CHANCE);
    }
}

static void test_large_pools_have_the_stated_factors(void **state) {
    (void)state;
    const gdn_floor matrix = {.largest = 3.0, .rms = 1.0, .degrees = 1e5, .matrix = 1.0};
    const gdn_floor fp32 = {.largest = 3.0, .rms = 1.0, .degrees = 4096.0};
    const gdn_floor_limit m = gdn_floor_limit_of(&matrix), f = gdn_floor_limit_of(&fp32);
    assert_true(fabs(m.largest - 6.0) < 1e-9 && fabs(m.factor - 1.25) < 1e-9);
    assert_true(fabs(f.largest - 24.0) < 1e-9 && fabs(f.factor - 4.0) < 1e-9);
}

static void test_without_a_floor_nothing_is_limited(void **state) {
    (void)state;
    const gdn_floor none = {.largest = 1.0, .rms = 1.0};
    const gdn_floor_limit by_degrees = gdn_floor_limit_of(&none);
    const gdn_floor_limit by_absence = gdn_floor_limit_of(NULL);
    assert_false(by_degrees.any);
    assert_false(by_absence.any);
    assert_true(isinf(gdn_floor_element(&by_absence, 1.0, 0.0, GDN_FP32)));
}

static void test_few_errors_widen_a_limit_and_one_lifts_it(void **state) {
    (void)state;
    double before = INFINITY;
    for (double n = 1.0; n <= 4096.0; n *= 2.0) {
        const gdn_floor floor = {.largest = 1.0, .rms = 1.0, .degrees = n, .matrix = 1.0};
        const gdn_floor_limit limit = gdn_floor_limit_of(&floor);
        assert_true(limit.largest < before);
        before = limit.largest;
    }
    const gdn_floor one = {.largest = 1.0, .rms = 1.0, .degrees = 1.0, .matrix = 1.0};
    assert_true(gdn_floor_limit_of(&one).largest > 1e6);
}

/* 1,000 values in the middle between two bf16 numbers, and 1,000 on one: with an error far
 * below an ulp half of the first differ, and none of the second. */
static void test_the_share_counts_values_near_a_rounding_boundary(void **state) {
    (void)state;
    const gdn_floor_limit limit = {.any = true, .rms = 1e-6, .factor = 1.0};
    gdn_pool_sums middle = {0}, on = {0};
    for (int i = 0; i < 1000; i++) {
        const double x = 1.0 + 0x1p-7 * (i % 100);
        gdn_pool_add(&middle, &limit, x + 0x1p-8, x, 0.0, 1.0, GDN_BF16);
        gdn_pool_add(&on, &limit, x, x, 0.0, 1.0, GDN_BF16);
    }
    assert_true(fabs(middle.may_differ - 500.0) < 1e-6);
    assert_true(on.may_differ == 0.0);
    assert_int_equal(on.differ, 0);
    assert_true(middle.differ > 0 && middle.differ < 1000); /* ties go to even */
    /* Bernstein by hand: L = ln 10^7, t = L/3 + sqrt((L/3)^2 + 1000 L). */
    const double third = log(1e7) / 3.0;
    const double expected = 500.0 + third + sqrt(third * third + 1000.0 * log(1e7));
    assert_true(fabs(gdn_pool_differ_limit(&middle, GDN_BF16, 1.0) - expected) < 1e-2);
    assert_true(isinf(gdn_pool_differ_limit(&middle, GDN_FP32, 1.0)));
}

static void test_a_store_alone_is_within_the_root_mean_square(void **state) {
    (void)state;
    const gdn_floor_limit limit = {.any = true, .rms = 0.0, .factor = 1.25};
    gdn_pool_sums sums = {0};
    for (int i = 0; i < 4096; i++) {
        const double x = 1.0 + (i + 0.5) / 4096.0;
        gdn_pool_add(&sums, &limit, x, gdn_round_to(x, GDN_BF16), 0.0, 1.0, GDN_BF16);
    }
    const double rms = sqrt(sums.error_square / (double)sums.count);
    const double most = gdn_pool_rms_limit(&sums, &limit);
    assert_true(rms < most && rms > 0.75 * most);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_of_chances_is_what_it_says),
        cmocka_unit_test(test_between_the_entries_the_chance_is_no_larger),
        cmocka_unit_test(test_large_pools_have_the_stated_factors),
        cmocka_unit_test(test_without_a_floor_nothing_is_limited),
        cmocka_unit_test(test_few_errors_widen_a_limit_and_one_lifts_it),
        cmocka_unit_test(test_the_share_counts_values_near_a_rounding_boundary),
        cmocka_unit_test(test_a_store_alone_is_within_the_root_mean_square),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
