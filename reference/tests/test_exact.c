/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Every result is compared bit for bit with MPFR in FP64's own format (53 bits, its range
 * of exponents, gradual underflow), which is not the way that exact.c asks MPFR. That file
 * is included because its error bounds, on which all else rests, are not public: a bound
 * that is too small shows in one argument of 10^5 and would escape any comparison of
 * results. */
#include "../exact.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct function {
    const char *name;
    double (*exact)(double);
    mpfr_operation *mpfr;
} function;

static const function EXP = {"exp", gdn_exp, mpfr_exp};
static const function LOG = {"log", gdn_log, mpfr_log};
static const function LOG1P = {"log1p", gdn_log1p, mpfr_log1p};
static const function EXPM1 = {"expm1", gdn_expm1, mpfr_expm1};

enum { ARGUMENTS = 40000 };

static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

/* xorshift64 (G. Marsaglia, 2003). */
static uint64_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static double random_between(double low, double high) {
    return low + (high - low) * ((double)(next_random() >> 11) * 0x1p-53);
}

/* Either sign, logarithmically even in magnitude. */
static double random_between_powers(int low, int high) {
    const double magnitude =
        ldexp(random_between(1, 2), low + (int)(next_random() % (uint64_t)(high - low)));
    return next_random() % 2 == 0 ? magnitude : -magnitude;
}

static double rounded_by_mpfr(mpfr_operation *operation, double x) {
    const mpfr_exp_t emin = mpfr_get_emin();
    const mpfr_exp_t emax = mpfr_get_emax();
    mpfr_t value;
    mpfr_init2(value, 53);
    mpfr_set_emin(-1073);
    mpfr_set_emax(1024);
    mpfr_set_d(value, x, MPFR_RNDN);
    const int ternary = operation(value, value, MPFR_RNDN);
    mpfr_subnormalize(value, ternary, MPFR_RNDN);
    const double result = mpfr_get_d(value, MPFR_RNDN);
    mpfr_set_emin(emin);
    mpfr_set_emax(emax);
    mpfr_clear(value);
    return result;
}

static void check(const function *f, double x) {
    const double found = f->exact(x);
    const double expected = rounded_by_mpfr(f->mpfr, x);
    if (isnan(expected) ? !isnan(found) : bits_of(found) != bits_of(expected)) {
        fail_msg("%s(%a): expected %a but found %a", f->name, x, expected, found);
    }
}

static void check_around(const function *f, double x) {
    check(f, nextafter(x, -INFINITY));
    check(f, x);
    check(f, nextafter(x, INFINITY));
}

static void check_specials(const function *f) {
    const double magnitudes[] = {0.0,      0x1p-1074, DBL_MIN, 0x1p-55, 0x1p-54, 0x1p-53,
                                 0x1p-52,  0x1p-9,    0x1p-8,  0x1p-6,  0.5,     1.0,
                                 2.0,      38.0,      708.0,   709.79,  745.14,  0x1p53,
                                 0x1p1000, DBL_MAX,   INFINITY};
    for (size_t i = 0; i < sizeof magnitudes / sizeof magnitudes[0]; i++) {
        check_around(f, magnitudes[i]);
        check_around(f, -magnitudes[i]);
    }
    check(f, NAN);
    check(f, -NAN);
}

static void check_any_bits(const function *f) {
    for (int i = 0; i < ARGUMENTS; i++) {
        check(f, from_bits(next_random()));
    }
}

/* Must be the first test: the tables are filled while all threads wait for them. */
enum { THREADS = 8, THREAD_ARGUMENTS = 64 };
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *evaluate(void *out) {
    double *results = out;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < THREAD_ARGUMENTS; i++) {
        results[2 * i] = gdn_exp(0.37 * i - 10);
        results[2 * i + 1] = gdn_log(0.37 * i + 0.1);
    }
    return NULL;
}

static void the_first_call_may_come_from_many_threads(void **unused) {
    (void)unused;
    static double results[THREADS][2 * THREAD_ARGUMENTS];
    pthread_t threads[THREADS];
    pthread_mutex_lock(&gate);
    for (int t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_create(&threads[t], NULL, evaluate, results[t]), 0);
    }
    pthread_mutex_unlock(&gate);
    for (int t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < THREAD_ARGUMENTS; i++) {
            assert_true(results[t][2 * i] == rounded_by_mpfr(mpfr_exp, 0.37 * i - 10));
            assert_true(results[t][2 * i + 1] == rounded_by_mpfr(mpfr_log, 0.37 * i + 0.1));
        }
    }
}

static void exp_is_correctly_rounded(void **unused) {
    (void)unused;
    check_specials(&EXP);
    check_any_bits(&EXP);
    for (int i = 0; i < ARGUMENTS; i++) {
        check(&EXP, random_between(-708, 708));
        check(&EXP, random_between(-20, 20));
        check(&EXP, random_between_powers(-60, 0));
        check(&EXP, random_between(-746, -707)); /* subnormal results, and 0 */
        check(&EXP, random_between(709.7, 709.8));
        /* Arguments halfway between two steps of the reduction, where r is largest. */
        check_around(&EXP, ((double)(i - ARGUMENTS / 2) + 0.5) / tables.steps_per_unit);
    }
}

static void log_is_correctly_rounded(void **unused) {
    (void)unused;
    check_specials(&LOG);
    check_any_bits(&LOG);
    for (int i = 0; i < ARGUMENTS; i++) {
        check(&LOG, random_between(0.5, 2));
        check(&LOG, random_between(0.99, 1.01));
        check(&LOG, 1 + random_between_powers(-53, -7));
        check(&LOG, fabs(random_between_powers(-1074, -1022)));
        check(&LOG, fabs(random_between_powers(-1074, 1023)));
    }
    for (uint64_t cell = 0; cell <= CELLS; cell++) {
        check_around(&LOG, from_bits(LOG_START_BITS + (cell << 44)));
        check_around(&LOG, from_bits(LOG_START_BITS + (cell << 44)) * 0x1p700);
    }
}

static void log1p_is_correctly_rounded(void **unused) {
    (void)unused;
    check_specials(&LOG1P);
    check_any_bits(&LOG1P);
    for (int i = 0; i < ARGUMENTS; i++) {
        check(&LOG1P, random_between(-1, 1));
        check(&LOG1P, random_between(-0.01, 0.01));
        check(&LOG1P, random_between_powers(-60, 0));
        check(&LOG1P, fabs(random_between_powers(-1074, 1023)));
        check(&LOG1P, -1 + fabs(random_between_powers(-53, -1)));
    }
}

static void expm1_is_correctly_rounded(void **unused) {
    (void)unused;
    check_specials(&EXPM1);
    check_any_bits(&EXPM1);
    for (int i = 0; i < ARGUMENTS; i++) {
        check(&EXPM1, random_between(-1, 1));
        check(&EXPM1, random_between(-0.02, 0.02));
        check(&EXPM1, random_between(-40, 40));
        check(&EXPM1, random_between(-708, 709.79));
        check(&EXPM1, random_between_powers(-60, 0));
    }
}

static double distance_from_boundary(const function *f, double x) {
    mpfr_t value;
    mpfr_init2(value, 200);
    mpfr_set_d(value, x, MPFR_RNDN);
    f->mpfr(value, value, MPFR_RNDN);
    mpfr_mul_2si(value, value, 54 - mpfr_get_exp(value), MPFR_RNDN);
    mpfr_frac(value, value, MPFR_RNDN);
    const double part = fabs(mpfr_get_d(value, MPFR_RNDN));
    mpfr_clear(value);
    return part < 0.5 ? part : 1 - part;
}

/* Results that lie within 2^-20 of half an ulp of a number or a midpoint, where only a
 * bound that holds, or MPFR, leads to the right side. The first of exp and of log are the
 * worst in FP64 (V. Lefevre and J.-M. Muller, ARITH-15, 2001); the others come from a
 * random search. */
static void hard_arguments_are_rounded_correctly(void **unused) {
    (void)unused;
    static const struct {
        const function *function;
        double argument;
    } hard[] = {
        {&EXP, 0x1.9e9cbbfd6080bp-31},   {&EXP, -0x1.0272379e7e934p+3},
        {&EXP, 0x1.4e1b99fb3a4eep+2},    {&EXP, -0x1.49bd9a4026c6p-5},
        {&EXP, -0x1.19566e0cc4bd2p-2},   {&EXP, 0x1.b9d10af6d007ap-2},
        {&EXP, 0x1.740550aa61b21p-10},   {&LOG, 0x1.62a88613629b6p+678},
        {&LOG, 0x1.4e1f3ddd77c5cp+0},    {&LOG, 0x1.000eec3b47f12p+0},
        {&LOG, 0x1.006b2b6e1a12bp+0},    {&LOG, 0x1.cc6bfbd2560f2p+1},
        {&LOG1P, -0x1.7c149fde7a6e8p-2}, {&LOG1P, 0x1.4faffa9de085bp+1},
        {&LOG1P, 0x1.27c5954e266ddp-12}, {&LOG1P, -0x1.a3cf7ceda89ep-9},
        {&LOG1P, 0x1.9dcf9d596c219p+57}, {&LOG1P, 0x1.a887293aceb51p-49},
        {&EXPM1, -0x1.8cde8ccf30473p-7}, {&EXPM1, -0x1.f644c0fce6cf8p-7},
        {&EXPM1, -0x1.7a28c8207bp-5},    {&EXPM1, 0x1.7872f3634ea28p-4},
        {&EXPM1, 0x1.6d031a8fc91e2p-2},  {&EXPM1, -0x1.02c38b8437178p+2},
    };
    for (size_t i = 0; i < sizeof hard / sizeof hard[0]; i++) {
        assert_true(distance_from_boundary(hard[i].function, hard[i].argument) < 0x1p-20);
        check(hard[i].function, hard[i].argument);
    }
}

/* Rounding a small argument x moves exp(x) by |x| times half an ulp at most: the logarithms
 * of midpoints are arguments as hard as one likes. */
static void exp_of_the_logarithm_of_a_midpoint_is_rounded_correctly(void **unused) {
    (void)unused;
    mpfr_t midpoint;
    mpfr_init2(midpoint, 120);
    for (int i = 0; i < ARGUMENTS; i++) {
        const double near_one = 1 + random_between_powers(-50, -12);
        mpfr_set_d(midpoint, near_one, MPFR_RNDN);
        mpfr_add_d(midpoint, midpoint, near_one < 1 ? 0x1p-54 : 0x1p-53, MPFR_RNDN);
        mpfr_log(midpoint, midpoint, MPFR_RNDN);
        check(&EXP, mpfr_get_d(midpoint, MPFR_RNDN));
    }
    mpfr_clear(midpoint);
}

/* Error of hi + lo in units of the bound that comes with it; `scale` is a power of two. */
static double used_bound(const function *f, double x, near_value value, double scale) {
    mpfr_t error;
    mpfr_init2(error, 200);
    mpfr_set_d(error, x, MPFR_RNDN);
    f->mpfr(error, error, MPFR_RNDN);
    mpfr_div_d(error, error, scale, MPFR_RNDN);
    mpfr_sub_d(error, error, value.hi, MPFR_RNDN);
    mpfr_sub_d(error, error, value.lo, MPFR_RNDN);
    mpfr_div_d(error, error, value.err, MPFR_RNDN);
    const double used = fabs(mpfr_get_d(error, MPFR_RNDN));
    mpfr_clear(error);
    return used;
}

/* The shares of the bounds that the derivations in exact.c leave to the approximations; the
 * rest is for is_decided() and for terms of higher order. */
static void every_approximation_keeps_its_error_bound(void **unused) {
    (void)unused;
    for (int i = 0; i < ARGUMENTS; i++) {
        const double ranges[] = {708, 40, 1, 0x1p-8};
        for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
            const double x = random_between(-ranges[r], ranges[r]);
            double scale;
            const near_value power = exp_near(x, &scale);
            assert_true(used_bound(&EXP, x, power, scale) < 0.55);
            if (fabs(x) >= 0x1p-6) {
                assert_true(used_bound(&EXPM1, x, power_less_one(x), 1) < 0.7);
            }
        }
        const double small = random_between_powers(-54, -6);
        assert_true(used_bound(&EXPM1, small, expm1_series(small), 1) < 0.6);
        const double near_zero = random_between_powers(-54, -9);
        assert_true(used_bound(&LOG1P, near_zero, log_near(0, 0, near_zero), 1) < 0.7);
        const double near_one = random_between(0.99, 1.01);
        assert_true(used_bound(&LOG, near_one, log_reduced(near_one, 0, 0), 1) < 0.7);
        const double any = fabs(random_between_powers(-1022, 1023));
        assert_true(used_bound(&LOG, any, log_reduced(any, 0, 0), 1) < 0.7);
        const double positive = fabs(random_between_powers(-8, 70));
        double low;
        const double sum = two_sum(1, positive, &low);
        assert_true(used_bound(&LOG1P, positive, log_reduced(sum, low, 0), 1) < 0.7);
    }
}

static void fewer_than_one_argument_in_a_thousand_needs_mpfr(void **unused) {
    (void)unused;
    enum { COUNT = 200000, WAYS = 6 };
    int undecided[WAYS] = {0};
    for (int i = 0; i < COUNT; i++) {
        double scale;
        const near_value values[WAYS] = {
            exp_near(random_between(-20, 20), &scale),
            expm1_series(random_between(-0x1p-6, 0x1p-6)),
            power_less_one(random_between(0x1p-6, 1)),
            log_reduced(random_between(0.99, 1.01), 0, 0),
            log_reduced(1 + random_between_powers(-30, -10), 0, 0),
            log_reduced(fabs(random_between_powers(-1022, 1023)), 0, 0),
        };
        for (int w = 0; w < WAYS; w++) {
            double rounded;
            undecided[w] += !is_decided(values[w], &rounded);
        }
    }
    for (int w = 0; w < WAYS; w++) {
        assert_in_range(undecided[w], 0, COUNT / 1000);
    }
}

static void sigmoid_and_silu_keep_their_order_of_operations(void **unused) {
    (void)unused;
    for (int i = 0; i < ARGUMENTS; i++) {
        const double x = random_between(-750, 750);
        assert_true(gdn_sigmoid(x) == 1 / (1 + gdn_exp(-x)));
        assert_true(gdn_silu(x) == x / (1 + gdn_exp(-x)));
    }
}

/* Three roundings of u each, with what lies beyond first order. */
static void sigmoid_silu_and_softplus_are_accurate(void **unused) {
    (void)unused;
    mpfr_t power;
    mpfr_t value;
    mpfr_inits2(100, power, value, (mpfr_ptr)0);
    for (int i = 0; i < ARGUMENTS; i++) {
        const double x = random_between(-700, 700) * (i % 2 == 0 ? 1 : 0.02);
        mpfr_set_d(power, x, MPFR_RNDN);
        mpfr_exp(power, power, MPFR_RNDN);
        mpfr_log1p(value, power, MPFR_RNDN);
        const double softplus = mpfr_get_d(value, MPFR_RNDN);
        assert_true(fabs(gdn_softplus(x, 1, 1e4) - softplus) <= 0x4p-53 * softplus);
        mpfr_add_ui(value, power, 1, MPFR_RNDN);
        mpfr_div(value, power, value, MPFR_RNDN);
        const double sigmoid = mpfr_get_d(value, MPFR_RNDN);
        assert_true(fabs(gdn_sigmoid(x) - sigmoid) <= 0x4p-53 * sigmoid);
        assert_true(fabs(gdn_silu(x) - x * sigmoid) <= 0x5p-53 * fabs(x * sigmoid));
    }
    mpfr_clears(power, value, (mpfr_ptr)0);
}

static void numbers_never_give_nan_and_nan_always_does(void **unused) {
    (void)unused;
    for (int i = 0; i < 10 * ARGUMENTS; i++) {
        const double x = from_bits(next_random());
        const double thresholds[] = {20, 0, 1000, INFINITY};
        assert_int_equal(isnan(gdn_sigmoid(x)) != 0, isnan(x) != 0);
        assert_int_equal(isnan(gdn_silu(x)) != 0, isnan(x) != 0);
        assert_int_equal(isnan(gdn_softplus(x, 1, thresholds[i % 4])) != 0, isnan(x) != 0);
    }
    assert_true(isnan(gdn_sigmoid(NAN)) && isnan(gdn_silu(NAN)));
    assert_true(isnan(gdn_softplus(NAN, 1, 20)));
}

static void sigmoid_silu_and_softplus_are_right_at_the_ends(void **unused) {
    (void)unused;
    const double large[] = {40, 750, DBL_MAX, INFINITY};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        assert_true(gdn_sigmoid(large[i]) == 1);
        assert_true(gdn_silu(large[i]) == large[i]);
        assert_true(gdn_softplus(large[i], 1, 20) == large[i]);
        assert_true(gdn_softplus(large[i], 1, INFINITY) == large[i]);
    }
    for (size_t i = 1; i < sizeof large / sizeof large[0]; i++) {
        assert_true(gdn_sigmoid(-large[i]) == 0);
        assert_true(bits_of(gdn_silu(-large[i])) == bits_of(-0.0));
        assert_true(gdn_softplus(-large[i], 1, 20) == 0);
    }
    assert_true(gdn_sigmoid(0.0) == 0.5 && gdn_sigmoid(-0.0) == 0.5);
    assert_true(bits_of(gdn_silu(0.0)) == bits_of(0.0));
    assert_true(bits_of(gdn_silu(-0.0)) == bits_of(-0.0));
    assert_true(gdn_softplus(0, 1, 20) == gdn_log(2));
}

static void softplus_is_the_identity_above_its_threshold_only(void **unused) {
    (void)unused;
    assert_true(gdn_softplus(20, 1, 20) == gdn_log1p(gdn_exp(20)));
    assert_true(gdn_softplus(20, 1, 20) > 20);
    assert_true(gdn_softplus(nextafter(20, 21), 1, 20) == nextafter(20, 21));
    assert_true(gdn_softplus(1, 1, 0) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_call_may_come_from_many_threads),
        cmocka_unit_test(exp_is_correctly_rounded),
        cmocka_unit_test(log_is_correctly_rounded),
        cmocka_unit_test(log1p_is_correctly_rounded),
        cmocka_unit_test(expm1_is_correctly_rounded),
        cmocka_unit_test(hard_arguments_are_rounded_correctly),
        cmocka_unit_test(exp_of_the_logarithm_of_a_midpoint_is_rounded_correctly),
        cmocka_unit_test(every_approximation_keeps_its_error_bound),
        cmocka_unit_test(fewer_than_one_argument_in_a_thousand_needs_mpfr),
        cmocka_unit_test(sigmoid_and_silu_keep_their_order_of_operations),
        cmocka_unit_test(sigmoid_silu_and_softplus_are_accurate),
        cmocka_unit_test(numbers_never_give_nan_and_nan_always_does),
        cmocka_unit_test(sigmoid_silu_and_softplus_are_right_at_the_ends),
        cmocka_unit_test(softplus_is_the_identity_above_its_threshold_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
