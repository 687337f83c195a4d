/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mpfr.h>

static const gdn_random STREAM = {.seed = 42, .stream = 7};

/* Known answers published with the Random123 library (kat_vectors). */
static void philox_gives_the_published_answers(void **unused) {
    (void)unused;
    static const struct {
        uint32_t counter[4];
        uint32_t key[2];
        uint32_t answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint32_t out[4];
        gdn_philox4x32(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].answer, sizeof out);
    }
}

/* Stored vectors depend on this assignment: it can never change. */
static void an_element_is_word_i_mod_4_of_block_i_div_4(void **unused) {
    (void)unused;
    const gdn_random random = {.seed = UINT64_C(0x299f31d0a4093822),
                               .stream = UINT64_C(0x0370734413198a2e)};
    const uint64_t block = UINT64_C(0x05a308d3243f6a88);
    const uint32_t counter[4] = {0x243f6a88, 0x05a308d3, 0x13198a2e, 0x03707344};
    const uint32_t key[2] = {0xa4093822, 0x299f31d0};
    uint32_t out[4];
    gdn_philox4x32(counter, key, out);
    for (uint64_t word = 0; word < 4; word++) {
        assert_int_equal(gdn_random_bits(&random, 4 * block + word), out[word]);
    }
}

static void seeds_and_streams_are_unrelated(void **unused) {
    (void)unused;
    const gdn_random others[] = {{.seed = 43, .stream = 7},
                                 {.seed = 42, .stream = 8},
                                 {.seed = 7, .stream = 42},
                                 {.seed = 42 + (UINT64_C(1) << 32), .stream = 7},
                                 {.seed = 42, .stream = 7 + (UINT64_C(1) << 32)}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        int equal_bits = 0;
        for (uint64_t n = 0; n < 1000; n++) {
            uint32_t same = ~(gdn_random_bits(&STREAM, n) ^ gdn_random_bits(&others[i], n));
            for (; same != 0; same &= same - 1) {
                equal_bits++;
            }
        }
        /* 32000 fair coins, 6 standard deviations of 89. */
        assert_in_range(equal_bits, 16000 - 540, 16000 + 540);
    }
}

static void uniforms_are_bits_plus_a_half_inside_the_open_interval(void **unused) {
    (void)unused;
    enum { COUNT = 1000000, BINS = 64 };
    int bins[BINS] = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        const double u = gdn_random_uniform(&STREAM, i);
        assert_true(u > 0 && u < 1);
        assert_true(u * 0x1p32 - 0.5 == (double)gdn_random_bits(&STREAM, i));
        bins[(int)(u * BINS)]++;
    }
    double chi2 = 0;
    for (int b = 0; b < BINS; b++) {
        const double excess = bins[b] - (double)COUNT / BINS;
        chi2 += excess * excess / ((double)COUNT / BINS);
    }
    /* 63 degrees of freedom: mean 63, standard deviation 11.2. */
    assert_true(chi2 > 25 && chi2 < 120);
}

static void integers_below_n_are_the_scaled_bits_and_equally_frequent(void **unused) {
    (void)unused;
    enum { COUNT = 100000 };
    int counts[10] = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        const uint32_t value = gdn_random_below(&STREAM, i, 10);
        assert_in_range(value, 0, 9);
        assert_int_equal(value, (uint64_t)gdn_random_bits(&STREAM, i) * 10 >> 32);
        counts[value]++;
        assert_int_equal(gdn_random_below(&STREAM, i, 1), 0);
        assert_true(gdn_random_below(&STREAM, i, UINT32_MAX) < UINT32_MAX);
    }
    for (int v = 0; v < 10; v++) {
        /* 6 standard deviations of 95. */
        assert_in_range(counts[v], COUNT / 10 - 570, COUNT / 10 + 570);
    }
}

/* Distribution function of the normal by MPFR, in the tail that does not cancel. */
static double lower_tail(double z, mpfr_t work) {
    mpfr_set_d(work, -z, MPFR_RNDN);
    mpfr_t root;
    mpfr_init2(root, 80);
    mpfr_sqrt_ui(root, 2, MPFR_RNDN);
    mpfr_div(work, work, root, MPFR_RNDN);
    mpfr_erfc(work, work, MPFR_RNDN);
    mpfr_clear(root);
    return mpfr_get_d(work, MPFR_RNDN) / 2;
}

static void assert_is_quantile(double z, double u, mpfr_t work) {
    const double tail = u < 0.5 ? u : 1 - u;
    const double reached = lower_tail(u < 0.5 ? z : -z, work);
    /* AS 241 promises about 1e-7 of z; in the far tail that is |z|^2 as much of u. */
    assert_true(fabs(reached - tail) <= 1e-6 * (tail < 0.01 ? 5 * tail : 1));
}

static void normals_are_quantiles_of_their_uniforms(void **unused) {
    (void)unused;
    mpfr_t work;
    mpfr_init2(work, 80);
    for (uint64_t i = 0; i < 50000; i++) {
        assert_is_quantile(gdn_random_normal(&STREAM, i), gdn_random_uniform(&STREAM, i),
                           work);
    }
    mpfr_clear(work);
    mpfr_free_cache();
}

/* Found by search: where stream 0 of seed 0 has all bits clear, and all bits set. */
static void the_extreme_uniforms_give_finite_opposite_normals(void **unused) {
    (void)unused;
    const gdn_random random = {0};
    const uint64_t lowest = UINT64_C(5992377491);
    const uint64_t highest = UINT64_C(6153212237);
    assert_int_equal(gdn_random_bits(&random, lowest), 0);
    assert_int_equal(gdn_random_bits(&random, highest), UINT32_MAX);
    mpfr_t work;
    mpfr_init2(work, 80);
    const double z = gdn_random_normal(&random, lowest);
    assert_is_quantile(z, 0x1p-33, work);
    assert_true(gdn_random_normal(&random, highest) == -z);
    mpfr_clear(work);
    mpfr_free_cache();
}

static void normals_have_the_moments_of_the_normal(void **unused) {
    (void)unused;
    enum { COUNT = 1000000 };
    double *z = malloc(COUNT * sizeof *z);
    assert_non_null(z);
    gdn_random_normals(&STREAM, 0, COUNT, z);
    double moment[5] = {0};
    for (int i = 0; i < COUNT; i++) {
        double power = 1;
        for (int m = 1; m <= 4; m++) {
            power *= z[i];
            moment[m] += power / COUNT;
        }
    }
    free(z);
    /* 6 standard deviations: the variances of z, z^2, z^3, z^4 are 1, 2, 15, 96. */
    assert_true(fabs(moment[1]) < 0.006);
    assert_true(fabs(moment[2] - 1) < 0.0085);
    assert_true(fabs(moment[3]) < 0.0233);
    assert_true(fabs(moment[4] - 3) < 0.0588);
}

/* Bits, not closeness: these values are in every stored vector. The expected ones were
 * computed apart, in Python with a 50-digit logarithm; the hash is FNV-1a over the
 * little-endian bytes of the first 4096. */
static void normals_are_the_same_bits_everywhere(void **unused) {
    (void)unused;
    assert_true(gdn_random_normal(&STREAM, 0) == -0x1.e7348a969fd4cp-3);
    assert_true(gdn_random_normal(&STREAM, 1) == 0x1.420fdc83e216cp+0);
    assert_true(gdn_random_normal(&STREAM, 24) == -0x1.b7ca84b5e4b73p+1);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint64_t i = 0; i < 4096; i++) {
        const double normal = gdn_random_normal(&STREAM, i);
        uint64_t bits;
        memcpy(&bits, &normal, sizeof bits);
        for (int shift = 0; shift < 64; shift += 8) {
            hash = (hash ^ (bits >> shift & 0xff)) * UINT64_C(0x100000001b3);
        }
    }
    assert_true(hash == UINT64_C(0x1e067c1223c15d14));
}

static void a_run_of_normals_equals_single_ones_from_any_start(void **unused) {
    (void)unused;
    double run[70];
    for (uint64_t first = 0; first < 9; first++) {
        for (uint64_t count = 0; count < 68; count++) {
            run[count] = 1234;
            gdn_random_normals(&STREAM, first, count, run);
            for (uint64_t i = 0; i < count; i++) {
                assert_true(run[i] == gdn_random_normal(&STREAM, first + i));
            }
            assert_true(run[count] == 1234);
        }
    }
}

static void a_permutation_holds_every_number_once(void **unused) {
    (void)unused;
    enum { MOST = 300 };
    uint32_t out[MOST];
    for (uint32_t n = 0; n <= MOST; n++) {
        bool seen[MOST] = {false};
        gdn_random_permutation(&STREAM, n, out);
        for (uint32_t i = 0; i < n; i++) {
            assert_true(out[i] < n);
            assert_false(seen[out[i]]);
            seen[out[i]] = true;
        }
    }
}

static void all_permutations_of_four_are_equally_frequent(void **unused) {
    (void)unused;
    enum { COUNT = 48000 };
    int counts[256] = {0};
    for (uint64_t stream = 0; stream < COUNT; stream++) {
        const gdn_random random = {.seed = 1, .stream = stream};
        uint32_t p[4];
        gdn_random_permutation(&random, 4, p);
        counts[p[0] << 6 | p[1] << 4 | p[2] << 2 | p[3]]++;
    }
    int found = 0;
    for (int i = 0; i < 256; i++) {
        if (counts[i] > 0) {
            found++;
            /* 6 standard deviations of 44. */
            assert_in_range(counts[i], 2000 - 264, 2000 + 264);
        }
    }
    assert_int_equal(found, 24);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(an_element_is_word_i_mod_4_of_block_i_div_4),
        cmocka_unit_test(seeds_and_streams_are_unrelated),
        cmocka_unit_test(uniforms_are_bits_plus_a_half_inside_the_open_interval),
        cmocka_unit_test(integers_below_n_are_the_scaled_bits_and_equally_frequent),
        cmocka_unit_test(normals_are_quantiles_of_their_uniforms),
        cmocka_unit_test(the_extreme_uniforms_give_finite_opposite_normals),
        cmocka_unit_test(normals_have_the_moments_of_the_normal),
        cmocka_unit_test(normals_are_the_same_bits_everywhere),
        cmocka_unit_test(a_run_of_normals_equals_single_ones_from_any_start),
        cmocka_unit_test(a_permutation_holds_every_number_once),
        cmocka_unit_test(all_permutations_of_four_are_equally_frequent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
