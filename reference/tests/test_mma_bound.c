/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The bound of the matrix classes (BOUND.md, "Matrix units") against chunk kernels that
 * round where backends do. */
#include "bound_case.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <omp.h>

#include "mma_kernel.h"

#define CASES 10500

static const struct {
    gdn_numeric_class numeric_class;
    gdn_dtype operand;
    const char *name;
} CLASSES[] = {
    {GDN_CLASS_BF16_MMA, GDN_BF16, "bf16-mma"},
    {GDN_CLASS_FP16_MMA, GDN_FP16, "fp16-mma"},
    {GDN_CLASS_TF32_MMA, GDN_FP32, "tf32-mma"},
};
#define CLASS_COUNT (sizeof CLASSES / sizeof CLASSES[0])

/* fp16 operands end at 65504; a kernel that overflows there is out of what is granted. */
static bound_recipe draw(uint64_t seed, size_t numeric_class) {
    bound_recipe r = bound_recipe_draw(seed, seed % 4 == 0);
    r.chunk_class = CLASSES[numeric_class].numeric_class;
    r.dtype = seed % 3 == 0 ? GDN_FP32 : r.dtype;
    r.state_dtype = seed % 5 == 0 ? GDN_FP32 : r.state_dtype;
    r.value = fmin(r.value, 10.0);
    r.state = fmin(r.state, 10.0);
    r.length += seed % 16 == 0 ? 100 : 0; /* chunks of 128, and a second one */
    return r;
}

static void test_no_chunk_kernel_exceeds_a_limit(void **state) {
    (void)state;
    double largest[CLASS_COUNT][16][2] = {0};
    int exceeded = 0;
    assert_in_range(MMA_STYLE_COUNT, 1, 16);
    for (uint64_t seed = 0; seed < CASES; seed++) {
        const size_t class = seed % CLASS_COUNT;
        const bound_recipe recipe = draw(seed, class);
        bound_case c;
        bound_case_begin(&c, &recipe, seed);
        /* Two of the kernels a case, so that each meets a quarter of them. */
        for (int i = (int)(seed / CLASS_COUNT) % 4; i < MMA_STYLE_COUNT; i += 4) {
            kernel_style style = MMA_STYLES[i];
            style.operand = CLASSES[class].operand;
            style.sums = SUMS_FP32;
            const bound_shares s = bound_case_judge(&c, &style);
            double *row = largest[class][i];
            row[0] = recipe.dtype == GDN_FP32 ? fmax(row[0], s.out) : row[0];
            row[1] = recipe.state_dtype == GDN_FP32 ? fmax(row[1], s.state) : row[1];
            if (!(s.out <= 1.0) || !(s.state <= 1.0)) {
                exceeded++;
                print_error("%s %s, seed %llu: %.3g of an output's limit, %.3g of a "
                            "state's\n",
                            CLASSES[class].name, style.name, (unsigned long long)seed,
                            s.out, s.state);
            }
        }
        bound_case_end(&c);
    }
    for (size_t class = 0; class < CLASS_COUNT; class ++) {
        double most = 0.0;
        for (int i = 0; i < MMA_STYLE_COUNT; i++) {
            print_message("%s %-12s o fp32 %.3f, S fp32 %.3f\n", CLASSES[class].name,
                          MMA_STYLES[i].name, largest[class][i][0], largest[class][i][1]);
            most = fmax(most, fmax(largest[class][i][0], largest[class][i][1]));
        }
        assert_true(most >= 0.01 &&
                    most <= 1.0); /* what nothing comes near judges nothing */
    }
    assert_int_equal(exceeded, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_chunk_kernel_exceeds_a_limit),
    };
    omp_set_num_threads(1); /* thousands of calls, each too small to share */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
