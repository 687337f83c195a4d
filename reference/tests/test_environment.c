/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The reference refuses to compute where its bits would not be the reference's. */
#include "op_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fenv.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "delta_kernel.h"

#if defined(__x86_64__)
#include <xmmintrin.h>

#define FTZ 0x8000U
#define DAZ 0x0040U

static unsigned get_modes(void) {
    return _mm_getcsr();
}

static void set_modes(unsigned modes) {
    _mm_setcsr(modes);
}
#elif defined(__aarch64__)
/* FPCR.FZ flushes operands and results alike. */
#define FTZ (1U << 24)
#define DAZ FTZ

static unsigned get_modes(void) {
    uint64_t modes;
    __asm__ volatile("mrs %0, fpcr" : "=r"(modes));
    return (unsigned)modes;
}

static void set_modes(unsigned modes) {
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)modes));
}
#endif

/* Both algorithms, asked while the modes are wrong. */
typedef struct answer {
    gdn_status status, chunked;
    gdn_error err;
} answer;

static answer ask(op_bench *b) {
    answer a = {.err = {0}};
    a.status = gdn_reference_run(&b->call, b->outputs, &a.err);
    a.chunked = gdn_reference_run_chunked(&b->call, b->outputs, NULL);
    return a;
}

static void begin(op_bench *b) {
    const delta_shape shape = {1, 2, 8, 8, GDN_FP32, GDN_FP32, 0.1, 0.0};
    op_delta(b, &shape, (const int[]){5}, 1, 1);
}

static void expect_refused(const answer *a, const char *text) {
    assert_int_equal(a->status, GDN_ERR_ARG);
    assert_int_equal(a->chunked, GDN_ERR_ARG);
    assert_non_null(strstr(a->err.message, text));
}

static void test_other_rounding_modes_are_refused(void **state) {
    (void)state;
    const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    op_bench b;
    begin(&b);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fesetround(modes[i]), 0);
        const answer a = ask(&b);
        fesetround(FE_TONEAREST);
        expect_refused(&a, "expected rounding to nearest");
    }
    op_run(&b);
    op_end(&b);
}

static void test_flushed_denormals_are_refused(void **state) {
    (void)state;
#ifdef FTZ
    const unsigned flags[] = {FTZ, DAZ, FTZ | DAZ};
    const unsigned clean = get_modes();
    op_bench b;
    begin(&b);
    for (int i = 0; i < 3; i++) {
        set_modes(clean | flags[i]);
        const answer a = ask(&b);
        set_modes(clean);
        expect_refused(&a, "expected denormals to be kept");
    }
    op_run(&b);
    op_end(&b);
#else
    skip();
#endif
}

/* A pool's threads keep the modes that a caller has long put right in its own. */
static void test_another_threads_modes_are_seen(void **state) {
    (void)state;
#ifdef FTZ
    op_bench b;
    begin(&b);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(2);
    int helpers = 0;
#pragma omp parallel reduction(+ : helpers)
    if (omp_get_thread_num() != 0) {
        set_modes(get_modes() | FTZ);
        helpers++;
    }
    const answer a = ask(&b);
#pragma omp parallel
    if (omp_get_thread_num() != 0) {
        set_modes(get_modes() & ~FTZ);
    }
    assert_int_equal(helpers, 1);
    assert_int_equal(a.status, GDN_ERR_ARG);
    assert_non_null(strstr(a.err.message, "expected denormals to be kept"));
    assert_int_equal(a.chunked, GDN_OK); /* it runs on the caller's thread alone */
    op_run(&b);
    omp_set_num_threads(threads);
    op_end(&b);
#else
    skip();
#endif
}

static void test_kernel_names_that_are_not_here_are_refused(void **state) {
    (void)state;
#if defined(__x86_64__)
    const char *elsewhere = "neon";
#else
    const char *elsewhere = "avx2";
#endif
    op_bench b;
    begin(&b);
    setenv("GDN_REFERENCE_KERNEL", "axv2", 1);
    gdn_error err = {0};
    assert_int_equal(gdn_reference_run(&b.call, b.outputs, &err), GDN_ERR_ARG);
    assert_string_equal(err.message, "GDN_REFERENCE_KERNEL: expected one of scalar, avx2, "
                                     "avx512, neon but found \"axv2\" (did you mean "
                                     "\"avx2\"?)");
    setenv("GDN_REFERENCE_KERNEL", elsewhere, 1);
    err = (gdn_error){0};
    assert_int_equal(gdn_reference_run(&b.call, b.outputs, &err), GDN_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, elsewhere));
    unsetenv("GDN_REFERENCE_KERNEL");
    op_run(&b);
    op_end(&b);
}

static void test_the_named_kernel_is_taken(void **state) {
    (void)state;
    static const char *const NAMES[] = {"scalar", "avx2", "avx512", "neon"};
    int taken = 0;
    for (int i = 0; i < 4; i++) {
        const gdnp_delta_kernel *kernel = NULL;
        setenv("GDN_REFERENCE_KERNEL", NAMES[i], 1);
        if (gdnp_delta_kernel_choose(&kernel, NULL) == GDN_OK) {
            assert_string_equal(kernel->name, NAMES[i]);
            taken++;
        }
    }
    unsetenv("GDN_REFERENCE_KERNEL");
    assert_true(taken > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_rounding_modes_are_refused),
        cmocka_unit_test(test_flushed_denormals_are_refused),
        cmocka_unit_test(test_another_threads_modes_are_seen),
        cmocka_unit_test(test_kernel_names_that_are_not_here_are_refused),
        cmocka_unit_test(test_the_named_kernel_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
