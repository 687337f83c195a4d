/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The numbers that the contracts give by hand, from the FP64 reference and from its 113-bit
 * shadow alike. Sources: contract sglang_npu section 13 (gating, convolution, verify
 * window, recurrence) and contract aiter_fla_flashinfer_ggml A5 (columns). The recurrence's
 * other golden, with its wrong variants, is in test_hand_golden.c. */
#include "shadow_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>

/* Goldens are given to 16 digits, of numbers up to 25. */
#define EXACT 1e-14

static void test_gating(void **state) {
    (void)state;
    /* A_log, a, dt_bias, b, softplus's beta and threshold, and g, beta */
    static const double ROWS[][8] = {
        {0.5, 1.25, -0.75, -0.5, 1, 20, -1.6059814431171742, 0.3775406687981454},
        {0, 25, 0, 2, 1, 20, -25, 0.8807970779778823}, /* above the threshold of 20 */
        {-1, -30, 0.5, 0, 1, 20, -5.675685232632285e-14, 0.5},
        {1, 8, 1, 1, 0.5, 15, -24.524598224266175, 0.7310585786300049},
        {1, 40, 1, 1, 0.5, 15, -111.44955496682086, 0.7310585786300049},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        const double *r = ROWS[i];
        op_bench b;
        shadow_bench s;
        op_begin(&b, GDN_OP_GDN_GATING);
        b.conventions.softplus_beta = r[4];
        b.conventions.softplus_threshold = r[5];
        op_set(op_add(&b, "A_log", GDN_FP32, 1, 0, 0, 0), &r[0], 1);
        op_set(op_add(&b, "a", GDN_FP32, 1, 1, 0, 0), &r[1], 1);
        op_set(op_add(&b, "dt_bias", GDN_FP32, 1, 0, 0, 0), &r[2], 1);
        op_set(op_add(&b, "b", GDN_FP32, 1, 1, 0, 0), &r[3], 1);
        op_add(&b, "g", GDN_FP32, 1, 1, 0, 0);
        op_add(&b, "beta", GDN_FP32, 1, 1, 0, 0);
        shadow_begin(&s, &b);
        shadow_expect(&s, &b, "g", 0, r[6], 1e-15 * fabs(r[6]));
        shadow_expect(&s, &b, "beta", 0, r[7], 1e-15);
        shadow_end(&s, &b);
    }
}

/* W = 4, one channel. */
static void begin_conv(op_bench *b, gdn_activation activation, int slots, int rows,
                       int tokens) {
    op_begin(b, GDN_OP_CAUSAL_CONV1D);
    b->conventions.activation = activation;
    op_set(op_add(b, "weight", GDN_FP64, 1, 4, 0, 0), (double[]){.1, .2, .3, .4}, 4);
    op_set(op_add(b, "bias", GDN_FP64, 1, 0, 0, 0), (double[]){.05}, 1);
    op_add(b, "conv_state", GDN_FP64, slots, rows, 1, 0);
    op_add(b, "x", GDN_FP64, tokens, 1, 0, 0);
    op_add(b, "out", GDN_FP64, tokens, 1, 0, 0);
}

static void expect_all(const shadow_bench *s, op_bench *b, const char *name,
                       const double *expected, int count) {
    for (int i = 0; i < count; i++) {
        shadow_expect(s, b, name, i, expected[i], EXACT);
    }
}

/* A with a state, B and C without: C's length exceeds the window, B's does not. */
static void test_conv_of_a_mixed_batch(void **state) {
    (void)state;
    static const double Y[] = {3.05, 4.05, 2.45, 4.65, 3.25, 6.05, 8.35, 10.05, 11.05};
    static const double STATES[] = {3, 4, 5, 0, 6, 7, 10, 11, 12};
    op_bench b;
    shadow_bench s;
    begin_conv(&b, GDN_ACTIVATION_NONE, 3, 3, 9);
    op_set(op_tensor(&b, "conv_state"), (double[]){1, 2, 3, NAN, NAN, NAN, 90, 91, 92}, 9);
    op_set(op_tensor(&b, "x"), (double[]){4, 5, 6, 7, 8, 9, 10, 11, 12}, 9);
    op_set_ints(op_add(&b, "query_start_loc", GDN_I32, 4, 0, 0, 0), (int[]){0, 2, 4, 9}, 4);
    op_set_ints(op_add(&b, "state_indices", GDN_I32, 3, 0, 0, 0), (int[]){0, 1, 2}, 3);
    op_set_ints(op_add(&b, "has_initial_state", GDN_BOOL, 3, 0, 0, 0), (int[]){1, 0, 0}, 3);
    shadow_begin(&s, &b);
    expect_all(&s, &b, "out", Y, 9);
    expect_all(&s, &b, "conv_state", STATES, 9);
    shadow_end(&s, &b);
}

static void test_conv_with_silu(void **state) {
    (void)state;
    static const double Y[] = {2.9120867058759727, 3.9806476650713027};
    op_bench b;
    shadow_bench s;
    begin_conv(&b, GDN_ACTIVATION_SILU, 1, 3, 2);
    op_set(op_tensor(&b, "conv_state"), (double[]){1, 2, 3}, 3);
    op_set(op_tensor(&b, "x"), (double[]){4, 5}, 2);
    op_set_ints(op_add(&b, "query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, 2}, 2);
    op_set_ints(op_add(&b, "state_indices", GDN_I32, 1, 0, 0, 0), (int[]){0}, 1);
    shadow_begin(&s, &b);
    expect_all(&s, &b, "out", Y, 2);
    shadow_end(&s, &b);
}

/* S = 4 draft tokens over a line of L = 6 rows whose last three are the history: all four
 * tokens of the step before were accepted. */
static void test_verify_window(void **state) {
    (void)state;
    op_bench b;
    shadow_bench s;
    begin_conv(&b, GDN_ACTIVATION_NONE, 4, 6, 4);
    op_set(op_tensor(&b, "conv_state"), (double[]){-2, -1, 0, 1, 2, 3}, 6);
    op_set(op_tensor(&b, "x"), (double[]){4, 5, 6, 7}, 4);
    op_set_ints(op_add(&b, "query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, 4}, 2);
    op_set_ints(op_add(&b, "state_indices", GDN_I32, 1, 4, 0, 0), (int[]){0, 1, 2, 3}, 4);
    op_set_ints(op_add(&b, "num_accepted_tokens", GDN_I32, 1, 0, 0, 0), (int[]){4}, 1);
    shadow_begin(&s, &b);
    expect_all(&s, &b, "out", (double[]){3.05, 4.05, 5.05, 6.05}, 4);
    expect_all(&s, &b, "conv_state", (double[]){2, 3, 4, 5, 6, 7}, 6);
    shadow_end(&s, &b);
}

/* The two steps of the contract with logits of beta, so that the numbers hold to the last
 * digit, and what the op makes of eps. */
static void begin_two_steps(op_bench *b, gdn_l2norm_form form, double eps) {
    op_begin(b, GDN_OP_GATED_DELTA_RULE);
    b->conventions.l2norm_form = form;
    b->conventions.l2norm_eps = eps;
    b->conventions.beta_input = GDN_BETA_LOGITS;
    b->conventions.beta_storage = GDN_BETA_ACTIVATION;
    op_set(op_add(b, "q", GDN_FP64, 2, 1, 2, 0), (double[]){3, 4, 1, -1}, 4);
    op_set(op_add(b, "k", GDN_FP64, 2, 1, 2, 0), (double[]){1, 2, 0, 2}, 4);
    op_set(op_add(b, "v", GDN_FP64, 2, 1, 2, 0), (double[]){1, -1, .5, 2}, 4);
    op_set(op_add(b, "g", GDN_FP32, 2, 1, 0, 0), (double[]){-.25, -.5}, 2);
    op_set(op_add(b, "beta", GDN_FP64, 2, 1, 0, 0), (double[]){.3, -.2}, 2);
    op_set(op_add(b, "ssm_state", GDN_FP64, 1, 1, 2, 2), (double[]){.5, -.25, 1, .75}, 4);
    op_set_ints(op_add(b, "query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, 2}, 2);
    op_set_ints(op_add(b, "state_indices", GDN_I32, 1, 0, 0, 0), (int[]){0}, 1);
    op_add(b, "out", GDN_FP64, 2, 1, 2, 0);
    op_scalar(b, "use_qk_l2norm", 1);
}

static void test_two_steps_wherever_eps_stands(void **state) {
    (void)state;
    static const struct {
        gdn_l2norm_form form;
        double eps, out[4];
    } ROWS[] = {
        {GDN_L2NORM_INSIDE,
         1e-6,
         {0.45470976478427055, -0.08678287613157823, 0.03025055771527929,
          -0.2968526427921613}},
        {GDN_L2NORM_OUTSIDE,
         1e-6,
         {0.45470954417609155, -0.08678248010572073, 0.0302505561144841,
          -0.2968523070698357}},
        {GDN_L2NORM_INSIDE,
         0,
         {0.4547098138424882, -0.08678298742666068, 0.030250561324484476,
          -0.2968527840167815}},
        {GDN_L2NORM_MAX,
         1e-6, /* keys of ordinary size: no eps at all */
         {0.4547098138424882, -0.08678298742666068, 0.030250561324484476,
          -0.2968527840167815}},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        op_bench b;
        shadow_bench s;
        begin_two_steps(&b, ROWS[i].form, ROWS[i].eps);
        shadow_begin(&s, &b);
        expect_all(&s, &b, "out", ROWS[i].out, 4);
        shadow_end(&s, &b);
    }
}

/* contract aiter_fla_flashinfer_ggml section 0, its gate as the decay: every step is exact
 * in binary. The contract's state is [K][V]. */
static void test_a_given_decay_is_exact(void **state) {
    (void)state;
    op_bench b;
    shadow_bench s;
    op_begin(&b, GDN_OP_GATED_DELTA_RULE);
    b.conventions.gate_input = GDN_GATE_DECAY;
    b.conventions.state_order = GDN_STATE_KV;
    /* The op's scale is 1/sqrt(2), which q undoes but for a rounding. */
    const double q = sqrt(2.0);
    op_set(op_add(&b, "q", GDN_FP64, 1, 1, 2, 0), (double[]){q, q}, 2);
    op_set(op_add(&b, "k", GDN_FP64, 1, 1, 2, 0), (double[]){1, 0}, 2);
    op_set(op_add(&b, "v", GDN_FP64, 1, 1, 2, 0), (double[]){5, 6}, 2);
    op_set(op_add(&b, "g", GDN_FP32, 1, 1, 0, 0), (double[]){0.5}, 1);
    op_set(op_add(&b, "beta", GDN_FP32, 1, 1, 0, 0), (double[]){0.5}, 1);
    op_set(op_add(&b, "ssm_state", GDN_FP32, 1, 1, 2, 2), (double[]){1, 2, 3, 4}, 4);
    op_set_ints(op_add(&b, "query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, 1}, 2);
    op_set_ints(op_add(&b, "state_indices", GDN_I32, 1, 0, 0, 0), (int[]){0}, 1);
    op_add(&b, "out", GDN_FP64, 1, 1, 2, 0);
    op_scalar(&b, "use_qk_l2norm", 0);
    shadow_begin(&s, &b);
    static const double STATE[] = {2.75, 3.5, 1.5, 2};
    for (int i = 0; i < 4; i++) {
        shadow_expect(&s, &b, "ssm_state", i, STATE[i], 0.0);
    }
    expect_all(&s, &b, "out", (double[]){4.25, 5.5}, 2);
    shadow_end(&s, &b);
}

/* The op takes beta in fp32, so outputs agree to its rounding: 5e-8 still tells eps inside
 * the root from no eps and from eps outside (2e-7 apart in o0). */
static void test_two_steps_of_the_recurrence(void **state) {
    (void)state;
    static const double OUT[] = {0.45470976478427055, -0.08678287613157823,
                                 0.03025055771527929, -0.2968526427921613};
    static const double STATE[] = {0.3920000795057328, 0.33149894894989723,
                                   0.1808760610334291, 0.7745814950440546};
    op_bench b;
    shadow_bench s;
    op_begin(&b, GDN_OP_GATED_DELTA_RULE);
    op_set(op_add(&b, "q", GDN_FP32, 2, 1, 2, 0), (double[]){3, 4, 1, -1}, 4);
    op_set(op_add(&b, "k", GDN_FP32, 2, 1, 2, 0), (double[]){1, 2, 0, 2}, 4);
    op_set(op_add(&b, "v", GDN_FP32, 2, 1, 2, 0), (double[]){1, -1, .5, 2}, 4);
    op_set(op_add(&b, "g", GDN_FP32, 2, 1, 0, 0), (double[]){-.25, -.5}, 2);
    op_set(op_add(&b, "beta", GDN_FP32, 2, 1, 0, 0),
           (double[]){1 / (1 + exp(-.3)), 1 / (1 + exp(.2))}, 2);
    op_set(op_add(&b, "ssm_state", GDN_FP32, 1, 1, 2, 2), (double[]){.5, -.25, 1, .75}, 4);
    op_set_ints(op_add(&b, "query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, 2}, 2);
    op_set_ints(op_add(&b, "state_indices", GDN_I32, 1, 0, 0, 0), (int[]){0}, 1);
    op_add(&b, "out", GDN_FP32, 2, 1, 2, 0);
    op_scalar(&b, "use_qk_l2norm", 1);
    shadow_begin(&s, &b);
    for (int i = 0; i < 4; i++) {
        shadow_expect(&s, &b, "out", i, OUT[i], 5e-8);
        shadow_expect(&s, &b, "ssm_state", i, STATE[i], 5e-8);
    }
    shadow_end(&s, &b);
}

/* One decoded token with nk = 2, nv = 4, hk = 2, hv = 3. Columns of the projections hold
 * their own numbers, so that conv state and z show which column a channel reads. */
#define CHANNELS 20
#define QKVZ     32

static void begin_columns(op_bench *b, const char *layout, bool initial, const double *ba) {
    static const int64_t SCALARS[] = {2, 4, 2, 3, 0, 1, 0, 1, 1};
    static const char *const NAMES[] = {
        "num_k_heads",      "num_v_heads",       "head_k_dim",
        "head_v_dim",       "num_prefills",      "num_decodes",
        "num_spec_decodes", "num_actual_tokens", "tp_size"};
    op_begin(b, GDN_OP_GDN_ATTENTION);
    assert_int_equal(gdn_conventions_set(&b->conventions, "qkvz_layout", layout, NULL),
                     GDN_OK);
    double columns[QKVZ], ones[4 * CHANNELS];
    for (int i = 0; i < QKVZ; i++) {
        columns[i] = i;
    }
    for (int i = 0; i < 4 * CHANNELS; i++) {
        ones[i] = 1.0;
    }
    op_set(op_add(b, "projected_states_qkvz", GDN_BF16, 1, QKVZ, 0, 0), columns, QKVZ);
    op_set(op_add(b, "projected_states_ba", GDN_BF16, 1, 8, 0, 0), ba, 8);
    op_add(b, "conv_state", GDN_BF16, 1, 3, CHANNELS, 0);
    op_set(op_add(b, "ssm_state", GDN_FP32, 1, 4, 3, 2), ones, 24);
    op_set(op_add(b, "conv_weights", GDN_BF16, CHANNELS, 4, 0, 0), ones, 4 * CHANNELS);
    op_add(b, "A_log", GDN_FP32, 4, 0, 0, 0);
    op_add(b, "dt_bias", GDN_BF16, 4, 0, 0, 0);
    op_set_ints(op_add(b, "has_initial_state", GDN_BOOL, 1, 0, 0, 0), (int[]){initial}, 1);
    op_set_ints(op_add(b, "non_spec_query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, 1},
                2);
    op_add(b, "non_spec_state_indices_tensor", GDN_I32, 1, 0, 0, 0);
    op_add(b, "core_attn_out", GDN_BF16, 1, 4, 3, 0);
    op_add(b, "z", GDN_BF16, 1, 4, 3, 0);
    for (size_t i = 0; i < sizeof SCALARS / sizeof SCALARS[0]; i++) {
        op_scalar(b, NAMES[i], SCALARS[i]);
    }
    op_scalar(b, "reorder_input", b->conventions.qkvz_layout == GDN_QKVZ_SEPARATE);
}

static void expect_columns(const char *layout, const int (*channels)[2], int n_channels,
                           const int (*z)[2], int n_z) {
    op_bench b;
    shadow_bench s;
    begin_columns(&b, layout, false, (double[8]){0});
    shadow_begin(&s, &b);
    for (int i = 0; i < n_channels; i++) {
        shadow_expect(&s, &b, "conv_state", 2 * CHANNELS + channels[i][0], channels[i][1],
                      0.0);
    }
    for (int i = 0; i < n_z; i++) {
        shadow_expect(&s, &b, "z", z[i][0], z[i][1], 0.0);
    }
    shadow_end(&s, &b);
}

static void test_interleaved_columns(void **state) {
    (void)state;
    static const int CONV[][2] = {{2, 16}, {4, 2}, {6, 18}, {8, 4}, {14, 20}};
    static const int Z[][2] = {{0, 10}, {6, 26}};
    expect_columns("interleaved", CONV, 5, Z, 2);
}

/* Flat: channel f is column f, z begins at 2 nk hk + nv hv. */
static void test_separate_columns(void **state) {
    (void)state;
    static const int CONV[][2] = {{0, 0}, {2, 2}, {4, 4}, {8, 8}, {19, 19}};
    static const int Z[][2] = {{0, 20}, {6, 26}, {11, 31}};
    expect_columns("separate", CONV, 5, Z, 3);
}

/* Which value heads answer to a change of one ba column, as a bit mask that both
 * computations must agree on. Without a start state the decay is invisible. */
static int heads_that_answer(const char *layout, bool initial, int column) {
    double ba[8] = {0};
    op_bench plain, changed;
    shadow_bench plain_shadow, changed_shadow;
    begin_columns(&plain, layout, initial, ba);
    ba[column] = 1.0;
    begin_columns(&changed, layout, initial, ba);
    shadow_begin(&plain_shadow, &plain);
    shadow_begin(&changed_shadow, &changed);
    int reference = 0, shadow = 0;
    for (int i = 0; i < 24; i++) {
        const int head = 1 << i / 6;
        if (shadow_reference(&plain, "ssm_state", i) !=
            shadow_reference(&changed, "ssm_state", i)) {
            reference |= head;
        }
        if (shadow_value(&plain_shadow, &plain, "ssm_state", i) !=
            shadow_value(&changed_shadow, &changed, "ssm_state", i)) {
            shadow |= head;
        }
    }
    assert_int_equal(reference, shadow);
    shadow_end(&plain_shadow, &plain);
    shadow_end(&changed_shadow, &changed);
    return reference;
}

static void test_gate_columns(void **state) {
    (void)state;
    assert_int_equal(heads_that_answer("interleaved", false, 4), 1 << 2); /* b2 */
    assert_int_equal(heads_that_answer("interleaved", true, 2), 1 << 0);  /* a0 */
    assert_int_equal(heads_that_answer("interleaved", false, 2), 0);
    assert_int_equal(heads_that_answer("interleaved", true, 6), 1 << 2); /* a2 */
    assert_int_equal(heads_that_answer("interleaved", false, 6), 0);
    assert_int_equal(heads_that_answer("separate", false, 2), 1 << 2);
    assert_int_equal(heads_that_answer("separate", true, 6), 1 << 2);
    assert_int_equal(heads_that_answer("separate", false, 6), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gating),
        cmocka_unit_test(test_conv_of_a_mixed_batch),
        cmocka_unit_test(test_conv_with_silu),
        cmocka_unit_test(test_verify_window),
        cmocka_unit_test(test_two_steps_of_the_recurrence),
        cmocka_unit_test(test_two_steps_wherever_eps_stands),
        cmocka_unit_test(test_a_given_decay_is_exact),
        cmocka_unit_test(test_interleaved_columns),
        cmocka_unit_test(test_separate_columns),
        cmocka_unit_test(test_gate_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
