/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The error bound of BOUND.md against kernels that use the freedoms it grants. */
#include "bound_case.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <omp.h>

#include "delta_kernel.h"
#include "gdn/exact.h"
#include "gdn/random.h"

#define CASES  5500 /* of each op */
#define STYLES 32   /* at most */

/* Storage that rounds like the arithmetic shows what the arithmetic uses of a limit; 16-bit
 * storage is nearly all rounding. */
enum { OUT_FP32, OUT_16, STATE_FP32, STATE_16, COLUMNS };

typedef struct table {
    double largest[STYLES][COLUMNS];
    int exceeded;
} table;

static void note(table *t, int style, const bound_recipe *r, bound_shares s) {
    double *out = &t->largest[style][r->dtype == GDN_FP32 ? OUT_FP32 : OUT_16];
    double *state = &t->largest[style][r->state_dtype == GDN_FP32 ? STATE_FP32 : STATE_16];
    *out = fmax(*out, s.out);
    *state = fmax(*state, s.state);
}

static void judge_recipe(table *t, const bound_recipe *recipe, uint64_t seed) {
    bound_case c;
    bound_case_begin(&c, recipe, seed);
    for (int i = 0; i < KERNEL_STYLE_COUNT; i++) {
        const bound_shares s = bound_case_judge(&c, &KERNEL_STYLES[i]);
        note(t, i, recipe, s);
        if (!(s.out <= 1.0) || !(s.state <= 1.0)) {
            t->exceeded++;
            print_error("%s, seed %llu, %s: %.3g of an output's limit, %.3g of a state's\n",
                        recipe->attention ? "attention" : "delta rule",
                        (unsigned long long)seed, KERNEL_STYLES[i].name, s.out, s.state);
        }
    }
    bound_case_end(&c);
}

static void check_op(bool attention) {
    table t = {0};
    assert_in_range(KERNEL_STYLE_COUNT, 1, STYLES);
    for (uint64_t seed = 0; seed < CASES; seed++) {
        const bound_recipe recipe = bound_recipe_draw(seed, attention);
        judge_recipe(&t, &recipe, seed);
    }
    print_message("largest shares in %d cases   o fp32    o 16  S fp32    S 16\n", CASES);
    for (int i = 0; i < KERNEL_STYLE_COUNT; i++) {
        const double *row = t.largest[i];
        print_message("%-27s %7.3f %7.3f %7.3f %7.3f\n", KERNEL_STYLES[i].name,
                      row[OUT_FP32], row[OUT_16], row[STATE_FP32], row[STATE_16]);
        for (int j = 0; j < COLUMNS; j++) {
            assert_true(row[j] >=
                        0.01); /* a bound that nothing comes near judges nothing */
        }
    }
    assert_int_equal(t.exceeded, 0);
}

static void test_no_kernel_exceeds_a_limit_of_the_delta_rule(void **state) {
    (void)state;
    check_op(false);
}

static void test_no_kernel_exceeds_a_limit_of_attention(void **state) {
    (void)state;
    check_op(true);
}

/* Draws, changed in what the test is about. */
static bound_recipe drawn(uint64_t seed, bool attention) {
    bound_recipe r = bound_recipe_draw(seed, attention);
    r.keys = KEYS_NORMAL;
    r.value = 1.0;
    r.state = 0.5;
    r.starts = true;
    return r;
}

/* The largest share of the chosen column; what the case is about must come near its
 * limit. */
static void expect_inside(const table *t, int column, double at_least) {
    double largest = 0.0;
    for (int i = 0; i < KERNEL_STYLE_COUNT; i++) {
        largest = fmax(largest, t->largest[i][column]);
    }
    print_message("largest share %.3f\n", largest);
    assert_int_equal(t->exceeded, 0);
    assert_true(largest >= at_least);
}

static void test_fp16_outputs_of_strongly_forgetting_heads(void **state) {
    (void)state;
    table t = {0};
    for (uint64_t seed = 0; seed < 100; seed++) {
        bound_recipe r = drawn(seed, seed % 2 == 0);
        r.dtype = GDN_FP16;
        r.rate = 15.0;
        r.A_log = 3.0;
        r.a = 0.0;
        r.logit = -9.0; /* updates near fp16's subnormals */
        r.value = 1e-2;
        judge_recipe(&t, &r, seed);
    }
    expect_inside(&t, OUT_16, 0.9);
}

static void test_bf16_state_stored_at_each_token(void **state) {
    (void)state;
    table t = {0};
    for (uint64_t seed = 0; seed < 100; seed++) {
        bound_recipe r = drawn(seed, seed % 2 == 0);
        r.dtype = GDN_FP32; /* or the rounding of o would be all one sees */
        r.state_dtype = GDN_BF16;
        r.carry = GDN_CARRY_TOKEN;
        r.rate = 1e-4;
        r.A_log = -8.0;
        r.length = 40;
        judge_recipe(&t, &r, seed);
    }
    expect_inside(&t, OUT_FP32, 0.01);
}

/* Weak gates: the addition in log(1 + exp(x)) is the largest error of all, and with a small
 * beta nothing else moves the state. */
static void test_softplus_by_log_of_a_sum_with_a_small_beta(void **state) {
    (void)state;
    table t = {0};
    for (uint64_t seed = 0; seed < 100; seed++) {
        bound_recipe r = drawn(seed, true);
        r.dtype = GDN_FP32;
        r.state_dtype = GDN_FP32;
        r.carry = GDN_CARRY_CALL;
        r.A_log = 0.0;
        r.a = -14.0;
        r.logit = -14.0;
        judge_recipe(&t, &r, seed);
    }
    expect_inside(&t, STATE_FP32, 0.05);
}

/* Bit patterns of 1 in bf16, and of numbers in its binade. */
enum { BF16_ONE = 0x3f80, BINADE = 0x80 };

/* A weight in [1, 2) and an x in [1/16, 4) whose SiLU the style rounds to another bf16 than
 * the exact value: it is within the style's error of a boundary. */
static bool find_flip(const kernel_style *style, double *weight, double *x) {
    for (int i = 0; i < 6 * BINADE * BINADE; i++) {
        *weight = gdn_bf16_to_double((uint16_t)(BF16_ONE + i % BINADE));
        *x = gdn_bf16_to_double((uint16_t)(BF16_ONE - 4 * BINADE + i / BINADE));
        const double y = (double)kernel_silu(style, (float)(*weight * *x));
        if (gdn_round_to(y, GDN_BF16) != gdn_round_to(gdn_silu(*weight * *x), GDN_BF16)) {
            return true;
        }
    }
    return false;
}

/* Each v has a y on a rounding boundary: the state moves by bf16 ulps of it, and the limit
 * allows that and hardly more. */
static void test_one_flipped_bf16_y(void **state) {
    (void)state;
    const kernel_style style = {.name = "flip", .math = EXP_HIGH};
    double w, x;
    assert_true(find_flip(&style, &w, &x));
    bound_recipe r = drawn(3, true);
    r.dtype = GDN_BF16;
    r.state_dtype = GDN_FP32;
    r.length = 1;
    r.k_dim = 2;
    r.heads = 1;
    r.bias = false;
    r.starts = false;
    bound_case c;
    bound_case_begin(&c, &r, 3);
    gdn_tensor *weight = op_tensor(&c.bench, "conv_weights");
    gdn_tensor *input = op_tensor(&c.bench, "projected_states_qkvz");
    for (int64_t i = 2 * r.k_dim; i < 2 * r.k_dim + r.v_dim; i++) {
        gdn_store(weight->data, GDN_BF16, i * r.taps + r.taps - 1, w);
        gdn_store(input->data, GDN_BF16, i, x);
    }
    op_run(&c.bench);
    const bound_shares s = bound_case_judge(&c, &style);
    print_message("silu(%g) flips: %.3f of the state's limit\n", w * x, s.state);
    assert_true(s.state > 0.5 && s.state <= 1.0);
    bound_case_end(&c);
}

/* exp2(g log2 e) errs by |g| units, and a decay of 1e-41 may be zero or not. */
static void test_decays_far_below_one_of_a_large_state(void **state) {
    (void)state;
    table t = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        bound_recipe r = drawn(seed, seed % 4 == 0);
        r.dtype = GDN_FP32;
        r.state_dtype = GDN_FP32;
        r.length = 1 + (int64_t)(seed % 3);
        r.rate = seed % 2 ? 30.0 : 95.0;
        r.A_log = 3.0;
        r.a = 2.0;
        r.value = 0.0;
        r.state = 1e3;
        judge_recipe(&t, &r, seed);
    }
    expect_inside(&t, STATE_FP32, 0.3);
}

static void test_betas_that_may_be_zero_before_large_values(void **state) {
    (void)state;
    table t = {0};
    for (uint64_t seed = 0; seed < 100; seed++) {
        bound_recipe r = drawn(seed, seed % 2 == 0);
        r.dtype = GDN_BF16;
        r.state_dtype = GDN_FP32;
        r.logit = -89.0;
        r.value = 1e20;
        r.starts = false;
        judge_recipe(&t, &r, seed);
    }
    expect_inside(&t, STATE_FP32, 0.1);
}

/* Equal keys and beta near 1: what a chunk adds up is far larger than the state it
 * makes. */
static void test_chunks_whose_updates_cancel(void **state) {
    (void)state;
    table t = {0};
    for (uint64_t seed = 0; seed < 60; seed++) {
        bound_recipe r = drawn(seed, false);
        r.keys = seed % 2 ? KEYS_EQUAL : KEYS_NEAR_PARALLEL;
        r.dtype = GDN_FP32;
        r.state_dtype = GDN_FP32;
        r.carry = GDN_CARRY_CALL;
        r.length = 128;
        r.logit = 12.0;
        r.rate = 1e-4;
        judge_recipe(&t, &r, seed);
    }
    expect_inside(&t, OUT_FP32, 0.01);
}

/* BOUND.md, "Chunks": sums of g in fp32 need a term that the limits do not have. */
static void test_gates_summed_in_fp32_exceed_a_limit(void **state) {
    (void)state;
    kernel_style style = {.name = "fp32 sums", .chunk = 64, .sums = SUMS_FP32};
    double plain = 0.0, exact = 0.0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        bound_recipe r = drawn(seed, false);
        r.dtype = GDN_FP32;
        r.carry = GDN_CARRY_CALL;
        r.length = 64;
        r.rate = 5.0;
        r.l2norm = true;
        bound_case c;
        bound_case_begin(&c, &r, seed);
        style.sums = SUMS_FP32;
        plain = fmax(plain, bound_case_judge(&c, &style).out);
        style.sums = SUMS_DOUBLE;
        exact = fmax(exact, bound_case_judge(&c, &style).out);
        bound_case_end(&c);
    }
    print_message("largest share with sums in fp32 %.3f, in double %.3f\n", plain, exact);
    assert_true(exact <= 1.0);
    assert_true(plain > 1.0);
}

/* The recursion alone, at another u: every operation of a kernel rounded to bf16, operands
 * exact in it. First order is enough for 8 bits too, over a few tokens. */
enum { COARSE_KEYS = 12, COARSE_TOKENS = 6 };

static double coarse(double x) {
    return gdn_round_to(x, GDN_BF16);
}

typedef struct coarse_run {
    double k[COARSE_TOKENS * COARSE_KEYS], q[COARSE_TOKENS * COARSE_KEYS];
    double v[COARSE_TOKENS];
    double state[COARSE_KEYS]; /* one row */
    gdnp_token tokens[COARSE_TOKENS];
} coarse_run;

static double row_norm(const double *x) {
    double sum = 0.0;
    for (int i = 0; i < COARSE_KEYS; i++) {
        sum += x[i] * x[i];
    }
    return sqrt(sum);
}

static void coarse_draw(coarse_run *r, uint64_t seed) {
    const gdn_random random = {.seed = seed, .stream = 7};
    uint64_t next = 0;
    for (int i = 0; i < COARSE_TOKENS * COARSE_KEYS; i++) {
        r->k[i] = coarse(0.28 * gdn_random_normal(&random, next++)); /* norms near 1 */
        r->q[i] = coarse(0.3 * gdn_random_normal(&random, next++));
    }
    for (int t = 0; t < COARSE_TOKENS; t++) {
        r->v[t] = coarse(gdn_random_normal(&random, next++));
        const double decay = gdn_random_uniform(&random, next++);
        const double beta = gdn_random_uniform(&random, next++);
        r->tokens[t] = (gdnp_token){
            .decay = coarse(decay),
            .beta = coarse(beta),
            .k_norm = row_norm(r->k + t * COARSE_KEYS),
            .q_norm = row_norm(r->q + t * COARSE_KEYS),
        };
    }
    for (int i = 0; i < COARSE_KEYS; i++) {
        r->state[i] = coarse(gdn_random_normal(&random, next++));
    }
}

/* Advances r->state by token t in bf16 and returns o. */
static double coarse_step(coarse_run *r, int t) {
    const double *k = r->k + t * COARSE_KEYS, *q = r->q + t * COARSE_KEYS;
    double m = 0.0, o = 0.0;
    for (int i = 0; i < COARSE_KEYS; i++) {
        r->state[i] = coarse(r->tokens[t].decay * r->state[i]);
        m = coarse(m + coarse(r->state[i] * k[i]));
    }
    const double d = coarse(r->tokens[t].beta * coarse(r->v[t] - m));
    for (int i = 0; i < COARSE_KEYS; i++) {
        r->state[i] = coarse(r->state[i] + coarse(d * k[i]));
        o = coarse(o + coarse(r->state[i] * q[i]));
    }
    return o;
}

static void test_the_recursion_holds_for_bf16_arithmetic(void **unused) {
    (void)unused;
    const gdnp_delta_kernel *kernel = gdnp_delta_kernel_get(NULL);
    double largest = 0.0;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        coarse_run r;
        coarse_draw(&r, seed);
        double state[COARSE_KEYS * 64] = {0.0}, v[COARSE_TOKENS * 64] = {0.0};
        double v_error[COARSE_TOKENS * 64] = {0.0}, o[COARSE_TOKENS * 64];
        double o_error[COARSE_TOKENS * 64], error[64] = {0.0};
        double norm[64] = {row_norm(r.state)}, mass[64] = {row_norm(r.state)};
        for (int i = 0; i < COARSE_KEYS; i++) {
            state[i * kernel->lanes] = r.state[i];
        }
        for (int t = 0; t < COARSE_TOKENS; t++) {
            v[t * kernel->lanes] = r.v[t];
        }
        const gdnp_delta_block block = {
            .length = COARSE_TOKENS,
            .k_dim = COARSE_KEYS,
            .k = r.k,
            .q = r.q,
            .tokens = r.tokens,
            .stride = kernel->lanes,
            .v = v,
            .v_error = v_error,
            .o = o,
            .o_error = o_error,
            .state = state,
            .row_error = error,
            .row_norm = norm,
            .row_mass = mass,
            .unit = 0x1p-8,
        };
        kernel->run(&block);
        for (int t = 0; t < COARSE_TOKENS; t++) {
            const int at = t * kernel->lanes;
            largest = fmax(largest, fabs(coarse_step(&r, t) - o[at]) / o_error[at]);
        }
        double distance[COARSE_KEYS];
        for (int i = 0; i < COARSE_KEYS; i++) {
            distance[i] = r.state[i] - state[i * kernel->lanes];
        }
        largest = fmax(largest, row_norm(distance) / error[0]);
    }
    print_message("largest share of the recursion at u = 2^-8: %.3f\n", largest);
    assert_true(largest >= 0.01 && largest <= 1.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_kernel_exceeds_a_limit_of_the_delta_rule),
        cmocka_unit_test(test_no_kernel_exceeds_a_limit_of_attention),
        cmocka_unit_test(test_fp16_outputs_of_strongly_forgetting_heads),
        cmocka_unit_test(test_bf16_state_stored_at_each_token),
        cmocka_unit_test(test_softplus_by_log_of_a_sum_with_a_small_beta),
        cmocka_unit_test(test_one_flipped_bf16_y),
        cmocka_unit_test(test_decays_far_below_one_of_a_large_state),
        cmocka_unit_test(test_betas_that_may_be_zero_before_large_values),
        cmocka_unit_test(test_chunks_whose_updates_cancel),
        cmocka_unit_test(test_gates_summed_in_fp32_exceed_a_limit),
        cmocka_unit_test(test_the_recursion_holds_for_bf16_arithmetic),
    };
    omp_set_num_threads(1); /* thousands of calls, each too small to share */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
