/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The 16-bit types are checked against their definition: a pattern is decoded with ldexp(),
 * and a value is rounded by searching all patterns for its two neighbours. FP32 is checked
 * against MPFR. */
#include "gdn/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <mpfr.h>

typedef struct format {
    gdn_dtype dtype;
    int fraction_bits;
    int bias;
    unsigned infinity;
    uint16_t (*narrow)(double);
    double (*widen)(uint16_t);
} format;

static const format FORMATS[] = {
    {GDN_FP16, 10, 15, 0x7c00, gdn_fp16_from_double, gdn_fp16_to_double},
    {GDN_BF16, 7, 127, 0x7f80, gdn_bf16_from_double, gdn_bf16_to_double},
};
enum { N_FORMATS = sizeof FORMATS / sizeof FORMATS[0] };

static const gdn_dtype FLOATS[] = {GDN_FP64, GDN_FP32, GDN_FP16, GDN_BF16};

/* The pattern of infinity decodes to the power of two that would follow the largest number,
 * which is what rounding at the upper end is about. */
static double decode(const format *f, unsigned magnitude) {
    const int field = (int)(magnitude >> f->fraction_bits);
    const int fraction = (int)(magnitude & ((1U << f->fraction_bits) - 1));
    const int hidden = field > 0 ? 1 << f->fraction_bits : 0;
    const int exponent = field > 0 ? field : 1;
    return ldexp((double)(hidden + fraction), exponent - f->bias - f->fraction_bits);
}

static unsigned nearest_by_search(const format *f, double value) {
    const unsigned sign = signbit(value) ? 0x8000 : 0;
    const double magnitude = fabs(value);
    unsigned low = 0;
    unsigned high = f->infinity;
    if (magnitude >= decode(f, high)) {
        return sign | high;
    }
    while (high - low > 1) {
        const unsigned middle = (low + high) / 2;
        if (decode(f, middle) <= magnitude) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const double midpoint = (decode(f, low) + decode(f, high)) / 2;
    if (magnitude != midpoint) {
        return sign | (magnitude < midpoint ? low : high);
    }
    return sign | (low % 2 == 0 ? low : high);
}

static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

/* xorshift64 (G. Marsaglia, 2003). */
static uint64_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static double from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double random_between_powers(int low, int high) {
    const int exponent = low + (int)(next_random() % (uint64_t)(high - low));
    const double magnitude = ldexp(1.0 + (double)(next_random() >> 12) * 0x1p-52, exponent);
    return next_random() % 2 == 0 ? magnitude : -magnitude;
}

static void every_pattern_widens_to_its_value_and_narrows_back(void **unused) {
    (void)unused;
    for (size_t i = 0; i < N_FORMATS; i++) {
        const format *f = &FORMATS[i];
        for (unsigned pattern = 0; pattern <= 0xffff; pattern++) {
            const unsigned magnitude = pattern & 0x7fff;
            const double wide = f->widen((uint16_t)pattern);
            assert_int_equal(signbit(wide) != 0, pattern >> 15);
            if (magnitude > f->infinity) {
                assert_true(isnan(wide));
                continue;
            }
            assert_true(fabs(wide) ==
                        (magnitude == f->infinity ? INFINITY : decode(f, magnitude)));
            assert_int_equal(f->narrow(wide), pattern);
        }
    }
}

static void nan_narrows_to_a_quiet_nan_of_its_sign(void **unused) {
    (void)unused;
    const uint64_t payloads[] = {0x7ff8000000000000, 0x7ff0000000000001, 0x7fffffffffffffff,
                                 0x7ff7ff7ff7ff7ff7};
    for (size_t i = 0; i < N_FORMATS; i++) {
        const format *f = &FORMATS[i];
        const unsigned quiet = f->infinity | 1U << (f->fraction_bits - 1);
        for (size_t j = 0; j < sizeof payloads / sizeof payloads[0]; j++) {
            assert_int_equal(f->narrow(from_bits(payloads[j])) & (0x8000 | quiet), quiet);
            assert_int_equal(f->narrow(from_bits(payloads[j] | UINT64_C(1) << 63)) &
                                 (0x8000 | quiet),
                             0x8000 | quiet);
            assert_true(isnan(gdn_round_to(from_bits(payloads[j]), GDN_FP32)));
        }
        for (unsigned pattern = f->infinity + 1; pattern < 0x8000; pattern++) {
            assert_int_equal(f->narrow(f->widen((uint16_t)pattern)) & quiet, quiet);
        }
    }
}

static void midpoints_go_to_even_and_their_neighbours_to_the_nearer(void **unused) {
    (void)unused;
    for (size_t i = 0; i < N_FORMATS; i++) {
        const format *f = &FORMATS[i];
        for (unsigned low = 0; low < f->infinity; low++) {
            const double midpoint = (decode(f, low) + decode(f, low + 1)) / 2;
            const unsigned even = low + low % 2;
            assert_int_equal(f->narrow(midpoint), even);
            assert_int_equal(f->narrow(-midpoint), 0x8000 | even);
            assert_int_equal(f->narrow(nextafter(midpoint, 0)), low);
            assert_int_equal(f->narrow(-nextafter(midpoint, 0)), 0x8000 | low);
            assert_int_equal(f->narrow(nextafter(midpoint, INFINITY)), low + 1);
            assert_int_equal(f->narrow(-nextafter(midpoint, INFINITY)), 0x8000 | (low + 1));
        }
    }
}

static void narrowing_agrees_with_a_search_over_all_patterns(void **unused) {
    (void)unused;
    for (size_t i = 0; i < N_FORMATS; i++) {
        const format *f = &FORMATS[i];
        for (int n = 0; n < 500000; n++) {
            const double value =
                random_between_powers(-f->bias - f->fraction_bits - 3, f->bias + 3);
            assert_int_equal(f->narrow(value), nearest_by_search(f, value));
        }
        for (int n = 0; n < 500000; n++) {
            const double value = from_bits(next_random());
            if (!isnan(value)) {
                assert_int_equal(f->narrow(value), nearest_by_search(f, value));
            }
        }
    }
}

/* By way of FP32 these values would first fall on a midpoint. */
static void narrowing_rounds_once(void **unused) {
    (void)unused;
    assert_true(gdn_round_to(1 + 0x1p-8 + 0x1p-40, GDN_BF16) == 1 + 0x1p-7);
    assert_true(gdn_round_to(1 + 0x3p-8 - 0x1p-40, GDN_BF16) == 1 + 0x1p-7);
    assert_true(gdn_round_to(1 + 0x1p-11 + 0x1p-40, GDN_FP16) == 1 + 0x1p-10);
    assert_true(gdn_round_to(1 + 0x3p-11 - 0x1p-40, GDN_FP16) == 1 + 0x1p-10);
    assert_true(gdn_round_to(0x1p-134 + 0x1p-160, GDN_BF16) == 0x1p-133);
}

static void fp32_rounding_agrees_with_mpfr(void **unused) {
    (void)unused;
    const mpfr_exp_t emin = mpfr_get_emin();
    const mpfr_exp_t emax = mpfr_get_emax();
    mpfr_t rounded;
    mpfr_init2(rounded, 24);
    mpfr_set_emin(-148);
    mpfr_set_emax(128);
    for (int n = 0; n < 500000; n++) {
        double value = random_between_powers(-155, 131);
        if (n % 4 == 0) { /* a midpoint of normal numbers */
            value = from_bits((bits_of(value) & ~UINT64_C(0x1fffffff)) | 0x10000000);
        }
        const int ternary = mpfr_set_d(rounded, value, MPFR_RNDN);
        mpfr_subnormalize(rounded, ternary, MPFR_RNDN);
        assert_true(gdn_round_to(value, GDN_FP32) == mpfr_get_d(rounded, MPFR_RNDN));
    }
    mpfr_clear(rounded);
    mpfr_set_emin(emin);
    mpfr_set_emax(emax);
    mpfr_free_cache();
}

static void fp64_is_never_rounded(void **unused) {
    (void)unused;
    for (int n = 0; n < 1000; n++) {
        const double value = random_between_powers(-1000, 1000);
        assert_true(gdn_round_to(value, GDN_FP64) == value);
    }
}

static void unit_roundoff_is_half_the_gap_above_one(void **unused) {
    (void)unused;
    for (size_t i = 0; i < 4; i++) {
        const double u = gdn_dtype_unit_roundoff(FLOATS[i]);
        assert_true(gdn_dtype_ulp(1, FLOATS[i]) == 2 * u);
        assert_true(gdn_round_to(1 + 2 * u, FLOATS[i]) == 1 + 2 * u);
        assert_true(gdn_round_to(1 + u, FLOATS[i]) == 1);
        if (FLOATS[i] != GDN_FP64) {
            assert_true(gdn_round_to(nextafter(1 + u, 2), FLOATS[i]) == 1 + 2 * u);
        }
    }
    assert_true(gdn_dtype_unit_roundoff(GDN_FP64) == 0x1p-53);
    assert_true(gdn_dtype_unit_roundoff(GDN_FP32) == 0x1p-24);
    assert_true(gdn_dtype_unit_roundoff(GDN_FP16) == 0x1p-11);
    assert_true(gdn_dtype_unit_roundoff(GDN_BF16) == 0x1p-8);
}

static void underflow_is_the_largest_value_that_vanishes(void **unused) {
    (void)unused;
    for (size_t i = 1; i < 4; i++) {
        const double eta = gdn_dtype_underflow(FLOATS[i]);
        assert_true(gdn_round_to(eta, FLOATS[i]) == 0);
        assert_true(gdn_round_to(nextafter(eta, 1), FLOATS[i]) == 2 * eta);
    }
    assert_true(gdn_dtype_underflow(GDN_FP64) >= 0x1p-1074);
}

static void max_is_the_last_number_before_infinity(void **unused) {
    (void)unused;
    for (size_t i = 0; i < 4; i++) {
        const double max = gdn_dtype_max(FLOATS[i]);
        const double half = gdn_dtype_ulp(max, FLOATS[i]) / 2;
        assert_true(isfinite(max));
        assert_true(gdn_round_to(max, FLOATS[i]) == max);
        assert_true(gdn_round_to(max + half, FLOATS[i]) == INFINITY);
        if (FLOATS[i] != GDN_FP64) {
            assert_true(gdn_round_to(nextafter(max + half, 0), FLOATS[i]) == max);
        }
    }
}

static void ulp_is_the_gap_to_the_next_larger_number(void **unused) {
    (void)unused;
    for (size_t i = 0; i < N_FORMATS; i++) {
        const format *f = &FORMATS[i];
        for (unsigned pattern = 0; pattern < f->infinity; pattern++) {
            const double value = decode(f, pattern);
            const double gap = decode(f, pattern + 1) - value;
            assert_true(gdn_dtype_ulp(value, f->dtype) == gap);
            assert_true(gdn_dtype_ulp(-value, f->dtype) == gap);
            assert_true(gdn_dtype_ulp(value + gap * 0.99, f->dtype) == gap);
        }
        assert_true(gdn_dtype_ulp(1e300, f->dtype) ==
                    gdn_dtype_ulp(gdn_dtype_max(f->dtype), f->dtype));
    }
    for (int n = 0; n < 100000; n++) {
        const double wide = fabs(random_between_powers(-1074, 1023));
        assert_true(gdn_dtype_ulp(wide, GDN_FP64) == nextafter(wide, INFINITY) - wide);
        const float single = (float)random_between_powers(-149, 127);
        assert_true(gdn_dtype_ulp((double)single, GDN_FP32) ==
                    (double)nextafterf(fabsf(single), INFINITY) - (double)fabsf(single));
    }
    assert_true(isnan(gdn_dtype_ulp(NAN, GDN_BF16)));
    assert_true(isnan(gdn_dtype_ulp(-INFINITY, GDN_FP64)));
}

static void integers_load_and_store_exactly(void **unused) {
    (void)unused;
    int64_t wide[2] = {0, 0};
    int32_t narrow[2] = {0, 0};
    uint8_t truth[3] = {0, 0, 7};
    gdn_store(wide, GDN_I64, 1, -0x1p53);
    assert_int_equal(wide[1], -(INT64_C(1) << 53));
    wide[1] = INT64_MAX;
    assert_int_equal(gdn_load_int(wide, GDN_I64, 1), INT64_MAX);
    gdn_store(narrow, GDN_I32, 1, -2147483648.0);
    assert_int_equal(narrow[1], INT32_MIN);
    assert_int_equal(gdn_load_int(narrow, GDN_I32, 1), INT32_MIN);
    assert_true(gdn_load(narrow, GDN_I32, 1) == -2147483648.0);
    gdn_store(truth, GDN_BOOL, 1, 1);
    assert_int_equal(truth[1], 1);
    assert_int_equal(gdn_load_int(truth, GDN_BOOL, 0), 0);
    assert_int_equal(gdn_load_int(truth, GDN_BOOL, 2), 1);
    assert_true(gdn_load(truth, GDN_BOOL, 2) == 1);
    gdn_store(truth, GDN_BOOL, 2, 0);
    assert_int_equal(truth[2], 0);
}

/* A run of every type and several strides does what single loads and stores do, and touches
 * nothing between its elements. */
static void runs_equal_single_loads_and_stores(void **unused) {
    (void)unused;
    enum { COUNT = 67, FIRST = 250, ROOM = 720 };
    const int64_t strides[] = {1, 2, 3, 7, -3};
    _Alignas(8) unsigned char run[ROOM * 8];
    _Alignas(8) unsigned char single[ROOM * 8];
    double values[COUNT];
    double loaded[COUNT];
    for (int d = 0; d < GDN_DTYPE_COUNT; d++) {
        const gdn_dtype dtype = (gdn_dtype)d;
        for (size_t s = 0; s < sizeof strides / sizeof strides[0]; s++) {
            memset(run, 0x5a, sizeof run);
            memset(single, 0x5a, sizeof single);
            for (int i = 0; i < COUNT; i++) {
                values[i] = gdn_dtype_is_float(dtype) ? random_between_powers(-30, 20)
                                                      : (double)(next_random() % 2);
                gdn_store(single, dtype, FIRST + i * strides[s], values[i]);
            }
            gdn_store_run(run, dtype, FIRST, strides[s], values, COUNT);
            assert_memory_equal(run, single, sizeof run);
            gdn_load_run(loaded, run, dtype, FIRST, strides[s], COUNT);
            for (int i = 0; i < COUNT; i++) {
                assert_true(loaded[i] == gdn_load(run, dtype, FIRST + i * strides[s]));
                assert_true(loaded[i] == (gdn_dtype_is_float(dtype)
                                              ? gdn_round_to(values[i], dtype)
                                              : values[i]));
            }
        }
    }
}

static void runs_convert_every_sixteen_bit_pattern(void **unused) {
    (void)unused;
    static uint16_t patterns[1 << 16];
    static uint16_t back[1 << 16];
    static double wide[1 << 16];
    for (unsigned i = 0; i <= 0xffff; i++) {
        patterns[i] = (uint16_t)i;
    }
    for (size_t i = 0; i < N_FORMATS; i++) {
        const format *f = &FORMATS[i];
        gdn_load_run(wide, patterns, f->dtype, 0, 1, 1 << 16);
        gdn_store_run(back, f->dtype, 0, 1, wide, 1 << 16);
        for (unsigned p = 0; p <= 0xffff; p++) {
            if ((p & 0x7fff) > f->infinity) {
                assert_true(isnan(wide[p]));
            } else {
                assert_int_equal(back[p], p);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_widens_to_its_value_and_narrows_back),
        cmocka_unit_test(nan_narrows_to_a_quiet_nan_of_its_sign),
        cmocka_unit_test(midpoints_go_to_even_and_their_neighbours_to_the_nearer),
        cmocka_unit_test(narrowing_agrees_with_a_search_over_all_patterns),
        cmocka_unit_test(narrowing_rounds_once),
        cmocka_unit_test(fp32_rounding_agrees_with_mpfr),
        cmocka_unit_test(fp64_is_never_rounded),
        cmocka_unit_test(unit_roundoff_is_half_the_gap_above_one),
        cmocka_unit_test(underflow_is_the_largest_value_that_vanishes),
        cmocka_unit_test(max_is_the_last_number_before_infinity),
        cmocka_unit_test(ulp_is_the_gap_to_the_next_larger_number),
        cmocka_unit_test(integers_load_and_store_exactly),
        cmocka_unit_test(runs_equal_single_loads_and_stores),
        cmocka_unit_test(runs_convert_every_sixteen_bit_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
